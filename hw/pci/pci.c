/*
 * pci: the PCI bus: slots, configuration space, BAR mapping, INTx, option ROMs.
 *
 * PCI Local Bus 3.0, chapter 6. A device is attached before its realize: the header is built
 * then, BARs and capabilities are added by realize. All under the machine lock.
 */
#include "hw/pci/pci_int.h"

#include "hw/core/wiring.h"
#include "softmmu/accel.h"

#include <inttypes.h>

static unsigned bar_offset(unsigned bar)
{
    return bar == PCI_ROM_BAR ? PCI_ROM_ADDRESS : PCI_BAR0 + 4 * bar;
}

static bool bar_is_io(const PciDevice *pd, unsigned bar)
{
    return pd->bar[bar].kind == PCI_BAR_IO;
}

static bool bar_is_64(const PciDevice *pd, unsigned bar)
{
    return pd->bar[bar].kind == PCI_BAR_MEM64 || pd->bar[bar].kind == PCI_BAR_MEM64_PREF;
}

/* Where the registers put this BAR; false: decoding is off or the address is impossible. */
static bool bar_address(const PciDevice *pd, unsigned bar, uint64_t *addr)
{
    const uint8_t *reg = pd->config + bar_offset(bar);
    uint16_t command = ld16_le(pd->config + PCI_COMMAND);
    uint64_t size = pd->bar[bar].size, base, limit;

    if (!(command & (bar_is_io(pd, bar) ? COMMAND_IO : COMMAND_MEM)))
        return false;
    base = bar_is_64(pd, bar) ? ld64_le(reg) : ld32_le(reg);
    if (bar == PCI_ROM_BAR && !(base & 1))
        return false;
    base &= ~(size - 1);
    limit = bar_is_io(pd, bar) ? 0xffff : bar_is_64(pd, bar) ? (1ULL << 52) - 1 : 0xffffffff;
    if (base == 0 || base > limit || size - 1 > limit - base)
        return false;
    if (!bar_is_io(pd, bar) && base + size - 1 == limit)    /* being sized: all ones */
        return false;
    *addr = base;
    return true;
}

void pci_update_mappings(PciDevice *pd)
{
    if (!pd->pci_bus)
        return;
    region_batch_begin();
    for (unsigned i = 0; i <= PCI_ROM_BAR; i++) {
        uint64_t addr = 0;
        bool on;

        if (!pd->bar[i].region)
            continue;
        on = bar_address(pd, i, &addr);
        if (on == pd->bar[i].is_mapped && (!on || addr == pd->bar[i].mapped))
            continue;
        if (pd->bar[i].is_mapped)
            region_del(pd->bar[i].region);
        pd->bar[i].is_mapped = on;
        pd->bar[i].mapped = addr;
        if (on)
            region_add(bar_is_io(pd, i) ? pd->pci_bus->io : pd->pci_bus->mem, pd->bar[i].region, addr, 1);
    }
    region_batch_end();
}

/* The pin is a function of the device's level and the command register. */
void pci_intx_update(PciDevice *pd)
{
    bool off = ld16_le(pd->config + PCI_COMMAND) & COMMAND_INTX_OFF;
    bool level = pd->intx_level && !off;
    PciBus *bus = pd->pci_bus;

    pd->config[PCI_STATUS] = (pd->config[PCI_STATUS] & ~STATUS_INTX) | (pd->intx_level ? STATUS_INTX : 0);
    if (level == pd->intx_driven || !bus || !pd->config[PCI_INT_PIN])
        return;
    pd->intx_driven = level;
    if (bus->set_irq)
        bus->set_irq(bus->set_irq_opaque, pd->devfn >> 3, (pd->config[PCI_INT_PIN] - 1) & 3, level);
}

void pci_set_intx(PciDevice *pd, int level)
{
    pd->intx_level = level != 0;
    pci_intx_update(pd);
}

void pci_set_irq(PciDevice *pd, int level)
{
    if (!pci_msi_enabled(pd)) {
        pci_set_intx(pd, level);
    } else if (!!level != pd->intx_level) {
        pd->intx_level = level != 0;
        if (level)
            pci_msi_notify(pd, 0);
    }
}

uint32_t pci_device_config_read(PciDevice *pd, unsigned off, unsigned size)
{
    uint8_t raw[4] = { 0xff, 0xff, 0xff, 0xff };

    if (pd->config_window)
        pd->config_window(pd, off, size, false);
    if (range_ok(off, size, PCI_CONFIG_SIZE) && size <= 4)
        memcpy(raw, pd->config + off, size);
    return ld32_le(raw) & (size >= 4 ? 0xffffffff : (1u << size * 8) - 1);
}

void pci_device_config_write(PciDevice *pd, unsigned off, uint32_t val, unsigned size)
{
    const PciClass *pc = pd->dev.cls->bus_class;

    if (!range_ok(off, size, PCI_CONFIG_SIZE) || size > 4)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t byte = val >> i * 8, wmask = pd->wmask[off + i], *at = &pd->config[off + i];

        *at = (*at & ~wmask) | (byte & wmask);
        *at &= ~(byte & pd->w1cmask[off + i]);
    }
    trace(pci_config_write, "%s %02x.%x off=%#x val=%#x size=%u", pd->dev.cls->name, pd->devfn >> 3,
          pd->devfn & 7, off, val, size);
    if (off < PCI_ROM_ADDRESS + 4)
        pci_update_mappings(pd);
    if (off <= PCI_COMMAND + 1 && off + size > PCI_COMMAND)
        pci_intx_update(pd);
    pci_msi_config_written(pd, off, size);
    if (pc->config_written)
        pc->config_written(pd, off, size);
    if (pd->config_window)
        pd->config_window(pd, off, size, true);
}

static PciDevice *pci_lookup(PciBus *root, uint8_t bus, uint8_t devfn)
{
    return root && bus == root->number ? root->dev[devfn] : NULL;
}

uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, unsigned size)
{
    PciDevice *pd = pci_lookup(root, bus, devfn);

    return pd ? pci_device_config_read(pd, off, size) : size >= 4 ? 0xffffffff : (1u << size * 8) - 1;
}

void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, uint32_t val, unsigned size)
{
    PciDevice *pd = pci_lookup(root, bus, devfn);

    if (pd)
        pci_device_config_write(pd, off, val, size);
}

/* Realize-time helpers. */

void pci_bar(PciDevice *pd, unsigned bar, PciBarKind kind, Region *r)
{
    uint64_t size = r->size, low = kind == PCI_BAR_IO ? 1 : 0;
    uint8_t *reg = pd->config + bar_offset(bar), *wmask = pd->wmask + bar_offset(bar);

    g_assert(bar <= PCI_ROM_BAR && (size & (size - 1)) == 0 && size >= (kind == PCI_BAR_IO ? 4 : 16));
    pd->bar[bar].region = r;
    pd->bar[bar].kind = kind;
    pd->bar[bar].size = size;
    if (bar_is_64(pd, bar))
        low |= 4;
    if (kind == PCI_BAR_MEM32_PREF || kind == PCI_BAR_MEM64_PREF)
        low |= 8;
    st32_le(reg, low);
    st32_le(wmask, ~(uint32_t)(size - 1) | (bar == PCI_ROM_BAR ? 1 : 0));
    if (bar_is_64(pd, bar)) {
        st32_le(reg + 4, 0);
        st64_le(wmask, ~(size - 1));
    }
}

uint8_t pci_add_capability(PciDevice *pd, uint8_t id, uint8_t len)
{
    uint8_t off = pd->cap_end;

    if (off + len > PCI_CONFIG_SIZE || len < 2)
        return 0;
    pd->config[off] = id;
    pd->config[off + 1] = pd->config[PCI_CAP_POINTER];
    pd->config[PCI_CAP_POINTER] = off;
    pd->config[PCI_STATUS] |= STATUS_CAPS;
    pd->cap_end = (off + len + 3) & ~3;
    return off;
}

bool pci_dma_read(PciDevice *pd, uint64_t addr, void *buf, uint64_t len)
{
    if (!pci_bus_master(pd)) {
        memset(buf, 0, len);
        return false;
    }
    return dma_read(device_mem(&pd->dev), addr, buf, len);
}

bool pci_dma_write(PciDevice *pd, uint64_t addr, const void *buf, uint64_t len)
{
    return pci_bus_master(pd) && dma_write(device_mem(&pd->dev), addr, buf, len);
}

void msi_send(Machine *m, uint64_t addr, uint32_t data)
{
    trace(msi_send, "addr=%#" PRIx64 " data=%#x", addr, data);
    if (irqchip_of(m))
        irqchip_of(m)->msi(m, addr, data);
    else if (m->board && m->board->msi)
        m->board->msi(m->board->msi_opaque, addr, data);
}

void pci_set_msi_target(Machine *m, void (*fn)(void *opaque, uint64_t addr, uint32_t data), void *opaque)
{
    board_get(m)->msi = fn;
    board_get(m)->msi_opaque = opaque;
}

/* Attaching. */

static bool parse_addr(const char *text, int *slot, int *fn)
{
    char *end;
    unsigned long s = strtoul(text, &end, 16), f = 0;

    if (end == text)
        return false;
    if (*end == '.') {
        const char *at = end + 1;

        f = strtoul(at, &end, 16);
        if (end == at)
            return false;
    }
    if (*end || s > 31 || f > 7)
        return false;
    *slot = s;
    *fn = f;
    return true;
}

static bool slot_is_free(const PciBus *bus, unsigned slot)
{
    for (unsigned f = 0; f < 8; f++) {
        if (bus->dev[slot << 3 | f])
            return false;
    }
    return true;
}

static bool choose_devfn(PciBus *bus, PciDevice *pd, GError **err)
{
    const char *name = pd->dev.cls->name;
    int slot = -1, fn = 0;

    if (pd->addr && !parse_addr(pd->addr, &slot, &fn))
        return err_set(err, "%s: addr '%s' is not SLOT or SLOT.FUNCTION (hexadecimal, 0-1f and 0-7)", name, pd->addr);
    for (int i = 0; slot < 0 && i < 32; i++) {
        if (slot_is_free(bus, i))
            slot = i;
    }
    if (slot < 0)
        return err_set(err, "no free slot on %s for %s", bus->bus->name, name);
    if (bus->dev[slot << 3 | fn])
        return err_set(err, "%s: %02x.%x on %s is already taken by %s", name, slot, fn, bus->bus->name,
                       bus->dev[slot << 3 | fn]->dev.cls->name);
    if (fn && bus->dev[slot << 3] && !(bus->dev[slot << 3]->config[PCI_HEADER_TYPE] & 0x80))
        return err_set(err, "%s: function 0 of slot %02x (%s) is not multifunction=on", name, slot,
                       bus->dev[slot << 3]->dev.cls->name);
    if (!fn && !pd->multifunction && !slot_is_free(bus, slot))
        return err_set(err, "%s: slot %02x has further functions, function 0 needs multifunction=on", name, slot);
    pd->devfn = slot << 3 | fn;
    return true;
}

static void build_header(PciDevice *pd)
{
    const PciClass *pc = pd->dev.cls->bus_class;
    uint8_t *c = pd->config, *w = pd->wmask;

    memset(c, 0, PCI_CONFIG_SIZE);
    st16_le(c + PCI_VENDOR, pc->vendor);
    st16_le(c + PCI_DEVICE, pc->device);
    c[PCI_REVISION] = pc->revision;
    c[PCI_CLASS] = pc->class_code;
    st16_le(c + PCI_CLASS + 1, pc->class_code >> 8);
    c[PCI_HEADER_TYPE] = pc->header_type | (pd->multifunction ? 0x80 : 0);
    if (pc->header_type == 0) {
        st16_le(c + PCI_SUBSYSTEM_VENDOR, pc->subsystem_vendor || pc->subsystem ? pc->subsystem_vendor : 0x1af4);
        st16_le(c + PCI_SUBSYSTEM, pc->subsystem_vendor || pc->subsystem ? pc->subsystem : 0x1100);
    }
    c[PCI_INT_PIN] = pc->intx ? 1 : 0;
    memset(w + PCI_HEADER_END, 0, PCI_CONFIG_SIZE - PCI_HEADER_END);
    st16_le(w + PCI_COMMAND, COMMAND_IO | COMMAND_MEM | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR | COMMAND_INTX_OFF);
    st16_le(pd->w1cmask + PCI_STATUS, STATUS_ERRORS);
    w[PCI_CACHE_LINE] = w[PCI_LATENCY] = w[PCI_INT_LINE] = 0xff;
    pd->cap_end = PCI_HEADER_END;
}

/* A missing default ROM is no error: the device works without. */
/*
 * Firmware runs a ROM image only for the device named in it (PCI Firmware 3.0, 5.1.2), and the usual
 * network ROMs name one of the ids a card may have: each image gets the ids of this card. The BIOS
 * image's checksum is mended in byte 6, which iPXE leaves for that.
 */
void pci_rom_set_ids(PciDevice *pd)
{
    uint8_t *rom = pd->rom ? pd->rom->host : NULL;
    uint64_t at = 0, len = pd->rom && !pd->romfile ? pd->rom->size : 0;

    while (range_ok(at, 0x20, len) && ld16_le(rom + at) == 0xaa55) {
        uint8_t *image = rom + at, *pcir;
        uint64_t off = ld16_le(image + 0x18), size;
        uint8_t change = 0;

        if (!range_ok(at + off, 0x18, len) || memcmp(image + off, "PCIR", 4))
            return;
        pcir = image + off;
        for (int i = 4; i < 8; i++) {
            change += pcir[i] - pd->config[i - 4];
            pcir[i] = pd->config[i - 4];
        }
        if (pcir[0x14] == 0)
            image[6] += change;
        size = ld16_le(pcir + 0x10) * 512ULL;
        if (!size || pcir[0x15] & 0x80)
            return;
        at += size;
    }
}

static bool load_rom(PciDevice *pd, GError **err)
{
    const PciClass *pc = pd->dev.cls->bus_class;
    const char *file = pd->romfile ? pd->romfile : pc->rom_file;
    Machine *m = pd->dev.machine;
    g_autoptr(GError) why = NULL;
    g_autoptr(GBytes) data = NULL;
    uint64_t size = 4 * KiB;

    if (!file || !*file || !pd->rombar)
        return true;
    data = firmware_load(m, file, 16 * MiB, &why);
    if (!data) {
        if (pd->romfile) {
            g_propagate_prefixed_error(err, g_steal_pointer(&why), "%s: ", pd->dev.cls->name);
            return false;
        }
        log_warn("%s has no option ROM: %s", pd->dev.cls->name, why->message);
        return true;
    }
    while (size < g_bytes_get_size(data))
        size *= 2;
    pd->rom = ram_block_new(file, size, err);
    if (!pd->rom)
        return false;
    memset(pd->rom->host, 0xff, size);
    memcpy(pd->rom->host, g_bytes_get_data(data, NULL), g_bytes_get_size(data));
    pci_rom_set_ids(pd);
    region_init_rom(&pd->rom_region, "option-rom", pd->rom, 0, size, NULL, NULL);
    pci_bar(pd, PCI_ROM_BAR, PCI_BAR_MEM32, &pd->rom_region);
    return true;
}

static bool pci_attach(Bus *b, Device *dev, GError **err)
{
    PciBus *bus = b->impl;
    PciDevice *pd = pci_device(dev);

    if (!choose_devfn(bus, pd, err))
        return false;
    pd->pci_bus = bus;
    build_header(pd);
    if (!load_rom(pd, err)) {
        pd->pci_bus = NULL;
        return false;
    }
    bus->dev[pd->devfn] = pd;
    return true;
}

static void pci_detach(Bus *b, Device *dev)
{
    PciBus *bus = b->impl;
    PciDevice *pd = pci_device(dev);

    pci_set_intx(pd, 0);
    st16_le(pd->config + PCI_COMMAND, 0);
    pci_update_mappings(pd);
    pci_msi_free(pd);
    if (pd->rom) {
        region_destroy(&pd->rom_region);
        ram_block_free(pd->rom);
        pd->rom = NULL;
    }
    memset(pd->bar, 0, sizeof pd->bar);
    if (bus->dev[pd->devfn] == pd)
        bus->dev[pd->devfn] = NULL;
    pd->pci_bus = NULL;
}

/* RST#: everything the guest may write goes back to zero; then the device's own reset. */
static void pci_reset_child(Bus *b, Device *dev)
{
    PciDevice *pd = pci_device(dev);

    pci_set_intx(pd, 0);
    st16_le(pd->config + PCI_COMMAND, 0);
    st16_le(pd->config + PCI_STATUS, ld16_le(pd->config + PCI_STATUS) & ~STATUS_ERRORS);
    pd->config[PCI_CACHE_LINE] = pd->config[PCI_LATENCY] = pd->config[PCI_INT_LINE] = 0;
    for (unsigned i = 0; i <= PCI_ROM_BAR; i++) {
        uint8_t *reg = pd->config + bar_offset(i);

        if (!pd->bar[i].region)
            continue;
        st32_le(reg, ld32_le(reg) & (bar_is_io(pd, i) ? 3 : i == PCI_ROM_BAR ? 0 : 15));
        if (bar_is_64(pd, i))
            st32_le(reg + 4, 0);
    }
    pci_msi_reset(pd);
    pci_update_mappings(pd);
}

static void pci_bus_free(void *data)
{
    g_free(data);
}

PciBus *pci_bus_new(Machine *m, Device *owner, const char *name, Region *mem, Region *io)
{
    PciBus *bus = g_new0(PciBus, 1);

    bus->bus = bus_new(BUS_PCI, name, owner, m);
    bus->bus->impl = bus;
    bus->bus->attach = pci_attach;
    bus->bus->detach = pci_detach;
    bus->bus->reset_child = pci_reset_child;
    bus->mem = mem;
    bus->io = io;
    board_on_free(m, pci_bus_free, bus);
    if (!board_get(m)->pci)
        board_get(m)->pci = bus;
    return bus;
}

PciBus *pci_root(Machine *m)
{
    return m->board ? m->board->pci : NULL;
}

/* Saved state. */

static void pci_state_saving(void *opaque)
{
    PciDevice *pd = opaque;

    memcpy(pd->saved_config, pd->config, PCI_CONFIG_SIZE);
}

/* Only what a guest may write comes from the stream: the rest is what realize built. */
static bool pci_state_loaded(void *opaque, GError **err)
{
    PciDevice *pd = opaque;

    if (ld32_le(pd->saved_config) != ld32_le(pd->config))
        return err_set(err, "saved PCI device %08x is not the %08x of this machine",
                       ld32_le(pd->saved_config), ld32_le(pd->config));
    if (!pci_msi_state_ok(pd, err))
        return false;
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t mask = pd->wmask[i] | pd->w1cmask[i];

        pd->config[i] = (pd->config[i] & ~mask) | (pd->saved_config[i] & mask);
    }
    pci_update_mappings(pd);
    pci_intx_update(pd);
    return true;
}

const StateDesc pci_device_state = {
    .name = "pci", .version = 1, .saving = pci_state_saving, .loaded = pci_state_loaded,
    .fields = (const StateField[]) {
        STATE_BUF(PciDevice, saved_config), STATE_B(PciDevice, intx_level),
        STATE_PBUF(PciDevice, msix_table, msix_table_len, 2048 * 16),
        STATE_PBUF(PciDevice, msix_pba, msix_pba_len, 256), STATE_END },
};

char *pci_describe(Machine *m)
{
    GString *s = g_string_new(NULL);
    PciBus *bus = pci_root(m);

    for (unsigned i = 0; bus && i < 256; i++) {
        PciDevice *pd = bus->dev[i];

        if (!pd)
            continue;
        g_string_append_printf(s, "  Bus %2u, device %3u, function %u:\n    %s: PCI device %04x:%04x, class %02x%02x\n",
                               bus->number, i >> 3, i & 7, pd->dev.cls->desc, ld16_le(pd->config),
                               ld16_le(pd->config + 2), pd->config[11], pd->config[10]);
        if (pd->config[PCI_INT_PIN])
            g_string_append_printf(s, "      IRQ %u, pin %c\n", pd->config[PCI_INT_LINE],
                                   'A' + ((pd->config[PCI_INT_PIN] - 1) & 3));
        for (unsigned b = 0; b <= PCI_ROM_BAR; b++) {
            if (!pd->bar[b].region)
                continue;
            g_string_append_printf(s, "      BAR%u: %s of %#" PRIx64 " bytes", b,
                                   bar_is_io(pd, b) ? "I/O" : bar_is_64(pd, b) ? "64 bit memory" : "32 bit memory",
                                   pd->bar[b].size);
            if (pd->bar[b].is_mapped)
                g_string_append_printf(s, " at %#" PRIx64, pd->bar[b].mapped);
            g_string_append_c(s, '\n');
        }
    }
    return g_string_free(s, FALSE);
}
