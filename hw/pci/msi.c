/*
 * msi: message signalled interrupts of PCI devices: the MSI and MSI-X capabilities.
 *
 * PCI Local Bus 3.0, 6.8. A message is a 32-bit write to the interrupt router. Masked MSI-X
 * vectors collect in the pending bits and are sent when unmasked. Per-vector masking of plain
 * MSI is left out.
 */
#include "hw/pci/pci_int.h"

enum { CAP_MSI = 0x05, CAP_MSIX = 0x11 };
enum { MSI_FLAGS = 2, MSI_ADDR = 4, MSI_ADDR_HIGH = 8, MSI_DATA32 = 8, MSI_DATA64 = 12 };
enum { MSI_ENABLE = 1 << 0, MSI_64 = 1 << 7 };
enum { MSIX_FLAGS = 2, MSIX_TABLE = 4, MSIX_PBA = 8 };
enum { MSIX_MASK_ALL = 1 << 14, MSIX_ENABLE = 1 << 15 };
enum { ENTRY_SIZE = 16, ENTRY_DATA = 8, ENTRY_CONTROL = 12, ENTRY_MASKED = 1 };

bool pci_msi_init(PciDevice *pd, unsigned vectors, bool addr64, GError **err)
{
    unsigned log2 = 0;
    uint8_t cap;

    while (log2 < 5 && (1u << log2) < vectors)
        log2++;
    cap = pci_add_capability(pd, CAP_MSI, addr64 ? 14 : 10);
    if (!cap)
        return err_set(err, "%s: no room for an MSI capability", pd->dev.cls->name);
    pd->msi_cap = cap;
    st16_le(pd->config + cap + MSI_FLAGS, log2 << 1 | (addr64 ? MSI_64 : 0));
    st16_le(pd->wmask + cap + MSI_FLAGS, MSI_ENABLE | 7 << 4);
    st32_le(pd->wmask + cap + MSI_ADDR, 0xfffffffc);
    if (addr64)
        st32_le(pd->wmask + cap + MSI_ADDR_HIGH, 0xffffffff);
    st16_le(pd->wmask + cap + (addr64 ? MSI_DATA64 : MSI_DATA32), 0xffff);
    return true;
}

bool pci_msi_enabled(const PciDevice *pd)
{
    return pd->msi_cap && (pd->config[pd->msi_cap + MSI_FLAGS] & MSI_ENABLE);
}

void pci_msi_notify(PciDevice *pd, unsigned vector)
{
    const uint8_t *c = pd->config + pd->msi_cap;
    uint16_t flags = ld16_le(c + MSI_FLAGS);
    unsigned capable = flags >> 1 & 7, allowed = flags >> 4 & 7, n;
    uint64_t addr;
    uint16_t data;

    if (!pci_msi_enabled(pd) || !pci_bus_master(pd))
        return;
    n = 1u << MIN(allowed, capable);
    addr = ld32_le(c + MSI_ADDR);
    if (flags & MSI_64)
        addr |= (uint64_t)ld32_le(c + MSI_ADDR_HIGH) << 32;
    data = ld16_le(c + (flags & MSI_64 ? MSI_DATA64 : MSI_DATA32));
    data = (data & ~(n - 1)) | (vector & (n - 1));
    msi_send(pd->dev.machine, addr, data);
}

/* MSI-X. */

bool pci_msix_enabled(const PciDevice *pd)
{
    return pd->msix_cap && (ld16_le(pd->config + pd->msix_cap + MSIX_FLAGS) & MSIX_ENABLE);
}

static bool vector_masked(const PciDevice *pd, unsigned v)
{
    return (ld16_le(pd->config + pd->msix_cap + MSIX_FLAGS) & MSIX_MASK_ALL) ||
           (ld32_le(pd->msix_table + v * ENTRY_SIZE + ENTRY_CONTROL) & ENTRY_MASKED);
}

bool pci_msix_message(const PciDevice *pd, unsigned v, uint64_t *addr, uint32_t *data)
{
    const uint8_t *entry = pd->msix_table + v * ENTRY_SIZE;

    if (v >= pd->msix_vectors || !pci_msix_enabled(pd) || vector_masked(pd, v) || !pci_bus_master(pd) ||
        (pd->msix_pba[v / 8] >> v % 8 & 1))
        return false;
    *addr = ld64_le(entry);
    *data = ld32_le(entry + ENTRY_DATA);
    return true;
}

void pci_msix_notify(PciDevice *pd, unsigned v)
{
    const uint8_t *entry;

    if (v >= pd->msix_vectors || !pci_msix_enabled(pd))
        return;
    if (vector_masked(pd, v) || !pci_bus_master(pd)) {
        pd->msix_pba[v / 8] |= 1 << v % 8;
        return;
    }
    pd->msix_pba[v / 8] &= ~(1 << v % 8);
    entry = pd->msix_table + v * ENTRY_SIZE;
    msi_send(pd->dev.machine, ld64_le(entry), ld32_le(entry + ENTRY_DATA));
}

/* Something was unmasked: send what waits. Bounded by the number of vectors. */
static void flush_pending(PciDevice *pd)
{
    for (unsigned v = 0; v < pd->msix_vectors; v++) {
        if ((pd->msix_pba[v / 8] >> v % 8 & 1) && !vector_masked(pd, v))
            pci_msix_notify(pd, v);
    }
}

static uint64_t table_read(void *opaque, uint64_t off, unsigned size)
{
    const PciDevice *pd = opaque;

    if (!range_ok(off, size, pd->msix_table_len))
        return 0;
    return size == 8 ? ld64_le(pd->msix_table + off) : ld32_le(pd->msix_table + off);
}

static void table_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    PciDevice *pd = opaque;
    unsigned v = off / ENTRY_SIZE;

    if (!range_ok(off, size, pd->msix_table_len))
        return;
    if (size == 8)
        st64_le(pd->msix_table + off, val);
    else
        st32_le(pd->msix_table + off, val);
    st32_le(pd->msix_table + v * ENTRY_SIZE + ENTRY_CONTROL,
            ld32_le(pd->msix_table + v * ENTRY_SIZE + ENTRY_CONTROL) & ENTRY_MASKED);
    st32_le(pd->msix_table + v * ENTRY_SIZE, ld32_le(pd->msix_table + v * ENTRY_SIZE) & ~3u);
    if (pci_msix_enabled(pd) && (pd->msix_pba[v / 8] >> v % 8 & 1) && !vector_masked(pd, v))
        pci_msix_notify(pd, v);
}

static uint64_t pba_read(void *opaque, uint64_t off, unsigned size)
{
    const PciDevice *pd = opaque;

    if (!range_ok(off, size, pd->msix_pba_len))
        return 0;
    return size == 8 ? ld64_le(pd->msix_pba + off) : ld32_le(pd->msix_pba + off);
}

static void pba_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    log_guest("write to the read-only MSI-X pending bits\n");
}

static const IoOps table_ops = { table_read, table_write, .min = 4, .max = 8 };
static const IoOps pba_ops = { pba_read, pba_write, .min = 4, .max = 8 };

static Region *own_bar(PciDevice *pd, unsigned bar, uint32_t table_bytes, uint32_t *pba_off)
{
    uint64_t half = 2 * KiB;

    while (half < table_bytes)
        half *= 2;
    *pba_off = half;
    region_init_container(&pd->msix_bar, "msix", 2 * half);
    pci_bar(pd, bar, PCI_BAR_MEM32, &pd->msix_bar);
    return &pd->msix_bar;
}

bool pci_msix_init(PciDevice *pd, unsigned vectors, unsigned bar, Region *bar_region, uint32_t table_off,
                   uint32_t pba_off, GError **err)
{
    uint32_t table_bytes = vectors * ENTRY_SIZE, pba_bytes = (vectors + 63) / 64 * 8;
    uint8_t cap;

    if (vectors < 1 || vectors > 2048)
        return err_set(err, "%s: MSI-X has 1 to 2048 vectors, not %u", pd->dev.cls->name, vectors);
    cap = pci_add_capability(pd, CAP_MSIX, 12);
    if (!cap)
        return err_set(err, "%s: no room for an MSI-X capability", pd->dev.cls->name);
    if (!bar_region) {
        table_off = 0;
        bar_region = own_bar(pd, bar, table_bytes, &pba_off);
    }
    pd->msix_cap = cap;
    pd->msix_vectors = vectors;
    pd->msix_table_len = table_bytes;
    pd->msix_pba_len = pba_bytes;
    pd->msix_table = g_malloc0(table_bytes);
    pd->msix_pba = g_malloc0(pba_bytes);
    st16_le(pd->config + cap + MSIX_FLAGS, vectors - 1);
    st16_le(pd->wmask + cap + MSIX_FLAGS, MSIX_MASK_ALL | MSIX_ENABLE);
    st32_le(pd->config + cap + MSIX_TABLE, table_off | bar);
    st32_le(pd->config + cap + MSIX_PBA, pba_off | bar);
    region_init_io(&pd->msix_region, "msix-table", &table_ops, pd, table_bytes);
    region_init_io(&pd->msix_pba_region, "msix-pba", &pba_ops, pd, pba_bytes);
    region_add(bar_region, &pd->msix_region, table_off, 1);
    region_add(bar_region, &pd->msix_pba_region, pba_off, 1);
    pci_msi_reset(pd);
    return true;
}

void pci_msi_reset(PciDevice *pd)
{
    if (pd->msi_cap) {
        uint8_t *c = pd->config + pd->msi_cap, *w = pd->wmask + pd->msi_cap;
        unsigned len = c[MSI_FLAGS] & MSI_64 ? 14 : 10;

        for (unsigned i = MSI_FLAGS; i < len; i++)
            c[i] &= ~w[i];
    }
    if (pd->msix_cap) {
        pd->config[pd->msix_cap + MSIX_FLAGS + 1] &= ~((MSIX_MASK_ALL | MSIX_ENABLE) >> 8);
        memset(pd->msix_table, 0, pd->msix_table_len);
        memset(pd->msix_pba, 0, pd->msix_pba_len);
        for (unsigned v = 0; v < pd->msix_vectors; v++)
            pd->msix_table[v * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
    }
}

void pci_msi_config_written(PciDevice *pd, unsigned off, unsigned len)
{
    if (pd->msix_cap && off < pd->msix_cap + 4u && off + len > pd->msix_cap + 2u && pci_msix_enabled(pd))
        flush_pending(pd);
}

void pci_msi_free(PciDevice *pd)
{
    if (pd->msix_table) {
        region_destroy(&pd->msix_region);
        region_destroy(&pd->msix_pba_region);
        if (pd->msix_bar.name)
            region_destroy(&pd->msix_bar);
    }
    g_clear_pointer(&pd->msix_table, g_free);
    g_clear_pointer(&pd->msix_pba, g_free);
    pd->msix_table_len = pd->msix_pba_len = 0;
    pd->msix_vectors = 0;
    pd->msi_cap = pd->msix_cap = 0;
}

/* A stream may bring buffers of any length: keep the object sound, then refuse. */
bool pci_msi_state_ok(PciDevice *pd, GError **err)
{
    uint32_t table = pd->msix_vectors * ENTRY_SIZE, pba = (pd->msix_vectors + 63) / 64 * 8;

    if (pd->msix_table_len == table && pd->msix_pba_len == pba &&
        (!table || (pd->msix_table && pd->msix_pba)))
        return true;
    g_free(pd->msix_table);
    g_free(pd->msix_pba);
    pd->msix_table = table ? g_malloc0(table) : NULL;
    pd->msix_pba = pba ? g_malloc0(pba) : NULL;
    pd->msix_table_len = table;
    pd->msix_pba_len = pba;
    return err_set(err, "saved MSI-X table is not the one of this device");
}
