/* test-pci: bus core: slots, BARs, INTx, MSI, MSI-X, bridges, DMA controller, and hostile configuration. */
#include "hw/isa/i8237.h"
#include "hw/pci/i440fx.h"
#include "tests/hw/bench.h"

#include "hw/acpi/piix4_pm.h"

/* A device of our own through the door every PCI device uses: it is the PIIX4 power function, as any
   other, for header tests; MSI and MSI-X are set up by hand on it. */
static PciDevice *probe(Bench *b)
{
    return pci_device(b->dev);
}

static void pci_header_reads_as_built_and_ids_are_read_only(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);

    g_assert_cmphex(bench_cfg_read(b, b->dev, 0, 4), ==, 0x71138086);
    bench_cfg_write(b, b->dev, 0, 0xffffffff, 4);
    g_assert_cmphex(bench_cfg_read(b, b->dev, 0, 4), ==, 0x71138086);
    g_assert_cmphex(bench_cfg_read(b, b->dev, 0x2c, 4), ==, 0x11001af4);
    g_assert_cmphex(bench_cfg_read(b, b->dev, 0xfe, 4) & 0xffff, ==, 0xffff);   /* leaves the space */
    bench_free(b);
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size) { return 0x5a; }
static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { }
static const IoOps io_ops = { io_read, io_write, .min = 1, .max = 4 };

static void pci_bar_is_sized_mapped_and_moved(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);
    static Region r;

    region_init_io(&r, "bar", &io_ops, NULL, 0x1000);
    pci_bar(probe(b), 0, PCI_BAR_MEM32, &r);
    bench_cfg_write(b, b->dev, 0x10, 0xffffffff, 4);
    g_assert_cmphex(bench_cfg_read(b, b->dev, 0x10, 4), ==, 0xfffff000);
    bench_cfg_write(b, b->dev, 0x10, 0xd0000000, 4);
    g_assert_cmphex(bench_ld(b, 0xd0000010, 1), ==, 0xff);
    bench_cfg_write(b, b->dev, 4, 2, 2);
    g_assert_cmphex(bench_ld(b, 0xd0000010, 1), ==, 0x5a);
    bench_cfg_write(b, b->dev, 0x10, 0xd8000000, 4);
    g_assert_cmphex(bench_ld(b, 0xd0000010, 1), ==, 0xff);
    g_assert_cmphex(bench_ld(b, 0xd8000010, 1), ==, 0x5a);
    bench_cfg_write(b, b->dev, 0x10, 0xfffff000, 4);    /* being sized: not decoded */
    g_assert_cmphex(bench_ld(b, 0xfffff010, 1), ==, 0xff);
    bench_cfg_write(b, b->dev, 0x10, 0, 4);
    bench_cfg_write(b, b->dev, 4, 0, 2);
    bench_free(b);
    region_destroy(&r);
}

static void pci_intx_follows_level_and_disable_bit(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);

    pci_set_intx(probe(b), 1);
    CHECK(bench_intx(b, b->dev));
    CHECK(bench_cfg_read(b, b->dev, 6, 2) & 8);
    bench_cfg_write(b, b->dev, 4, 1 << 10, 2);
    CHECK(!bench_intx(b, b->dev));
    CHECK(bench_cfg_read(b, b->dev, 6, 2) & 8);
    bench_cfg_write(b, b->dev, 4, 0, 2);
    CHECK(bench_intx(b, b->dev));
    pci_set_intx(probe(b), 0);
    CHECK(!bench_intx(b, b->dev));
    bench_free(b);
}

static void pci_msi_sends_only_when_enabled_and_mastering(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);
    PciDevice *pd = probe(b);
    g_autoptr(GError) err = NULL;
    BenchMsi *m;

    CHECK(pci_msi_init(pd, 4, true, &err));
    pci_msi_notify(pd, 1);
    bench_cfg_write(b, b->dev, pd->msi_cap + 4, 0xfee01004, 4);
    bench_cfg_write(b, b->dev, pd->msi_cap + 12, 0x4040, 2);
    bench_cfg_write(b, b->dev, pd->msi_cap + 2, 1 | 2 << 4, 2);
    pci_msi_notify(pd, 1);
    g_assert_cmpuint(b->msis->len, ==, 0);      /* not bus master */
    bench_cfg_write(b, b->dev, 4, 4, 2);
    pci_msi_notify(pd, 3);
    g_assert_cmpuint(b->msis->len, ==, 1);
    m = &g_array_index(b->msis, BenchMsi, 0);
    g_assert_cmphex(m->addr, ==, 0xfee01004);
    g_assert_cmphex(m->data, ==, 0x4043);
    bench_free(b);
}

static void pci_msix_masks_and_pends(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);
    PciDevice *pd = probe(b);
    g_autoptr(GError) err = NULL;
    uint64_t at = 0xd0000000;

    CHECK(pci_msix_init(pd, 33, 1, NULL, 0, 0, &err));
    bench_cfg_write(b, b->dev, 0x14, at, 4);
    bench_cfg_write(b, b->dev, 4, 6, 2);
    bench_cfg_write(b, b->dev, pd->msix_cap + 2, 0x8000, 2);
    bench_st(b, at + 16 * 32, 4, 0xfee00000);
    bench_st(b, at + 16 * 32 + 8, 4, 0x77);
    pci_msix_notify(pd, 32);
    g_assert_cmpuint(b->msis->len, ==, 0);
    g_assert_cmphex(bench_ld(b, at + 0x800 + 4, 4), ==, 1);     /* pending bit 32 */
    bench_st(b, at + 16 * 32 + 12, 4, 0);
    g_assert_cmpuint(b->msis->len, ==, 1);
    g_assert_cmphex(bench_ld(b, at + 0x800 + 4, 4), ==, 0);
    pci_msix_notify(pd, 33);                    /* no such vector */
    g_assert_cmpuint(b->msis->len, ==, 1);
    bench_free(b);
}

/* CVE-2020-13754, CVE-2015-7549: every offset and size around table and pending bits. */
static void pci_msix_region_edges_are_safe(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);
    PciDevice *pd = probe(b);
    g_autoptr(GError) err = NULL;
    uint64_t at = 0xd0000000;

    CHECK(pci_msix_init(pd, 3, 1, NULL, 0, 0, &err));
    bench_cfg_write(b, b->dev, 0x14, at, 4);
    bench_cfg_write(b, b->dev, 4, 6, 2);
    bench_cfg_write(b, b->dev, pd->msix_cap + 2, 0x8000, 2);
    for (unsigned off = 0; off < 0x1000; off++) {
        for (unsigned size = 1; size <= 8; size *= 2) {
            bench_ld(b, at + off, size);
            bench_st(b, at + off, size, UINT64_MAX);
        }
    }
    bench_free(b);
}

static void pci_addresses_are_checked(void)
{
    static const char *const bad[] = { "addr=20", "addr=1.8", "addr=x", "addr=3.", "addr=-1" };
    Bench *b = bench_new("PIIX4_PM", "addr=5");

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(GError) err = NULL;

        CHECK(!device_create(b->m, "PIIX3", NULL, bad[i], &err));
        CHECK(err);
    }
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(GError) err = NULL;

        CHECK(!device_create(b->m, "PIIX3", NULL, i ? "addr=5.1" : "addr=5", &err));
        CHECK(strstr(err->message, i ? "multifunction" : "taken"));
    }
    bench_free(b);
}

static void pci_random_configuration_is_survived(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(3);
    Bench *b = bench_new("PIIX4_PM", NULL);
    PciDevice *pd = probe(b);
    g_autoptr(GError) err = NULL;

    CHECK(pci_msi_init(pd, 1, false, &err));
    CHECK(pci_msix_init(pd, 8, 2, NULL, 0, 0, &err));
    for (unsigned i = 0; i < 20000; i++) {
        unsigned size = 1u << g_rand_int_range(r, 0, 3);

        bench_cfg_write(b, b->dev, g_rand_int_range(r, 0, 256), g_rand_int(r), size);
        if (i % 16 == 0) {
            pci_msix_notify(pd, i % 9);
            pci_msi_notify(pd, i);
        }
    }
    bench_cfg_write(b, b->dev, 4, 0, 2);
    bench_free(b);
}

/* --- 8237 --- */

static void dma_moves_bytes_and_reports_terminal_count(void)
{
    Bench *b = bench_new("i8257", NULL);
    IsaDma *dma = isa_bus(b->m)->dma;
    uint8_t out[64], in[64];
    bool tc;

    for (unsigned i = 0; i < 64; i++)
        out[i] = i;
    bench_out8(b, 0x0c, 0);
    bench_out8(b, 0x04, 0x00);
    bench_out8(b, 0x04, 0x10);                  /* channel 2: 0x021000, 64 bytes */
    bench_out8(b, 0x05, 63);
    bench_out8(b, 0x05, 0);
    bench_out8(b, 0x81, 0x02);
    bench_out8(b, 0x0b, 0x46);
    bench_out8(b, 0x0a, 2);
    g_assert_cmpuint(isa_dma_to_memory(dma, 2, out, 40, &tc), ==, 40);
    CHECK(!tc);
    g_assert_cmpuint(isa_dma_to_memory(dma, 2, out + 40, 40, &tc), ==, 24);
    CHECK(tc);
    bench_mem_read(b, 0x21000, in, 64);
    CHECK(!memcmp(in, out, 64));
    g_assert_cmphex(bench_in8(b, 8) & 4, ==, 4);
    g_assert_cmpuint(isa_dma_to_memory(dma, 2, out, 40, &tc), ==, 0);
    bench_free(b);
}

/* Address wrap inside the page, all modes, masked channels, channel 4. */
static void dma_hostile_programming_stays_in_bounds(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(9);
    Bench *b = bench_new("i8257", NULL);
    IsaDma *dma = isa_bus(b->m)->dma;
    static uint8_t buf[4096];
    bool tc;

    for (unsigned i = 0; i < 20000; i++) {
        unsigned port = g_rand_int_range(r, 0, 64), ch = g_rand_int_range(r, 0, 9);

        bench_out8(b, port < 32 ? port & 15 : 0xc0 + (port & 31), g_rand_int(r));
        bench_out8(b, 0x80 + (port & 15), g_rand_int(r));
        if (i & 1)
            isa_dma_to_memory(dma, ch, buf, g_rand_int_range(r, 0, sizeof buf), &tc);
        else
            isa_dma_from_memory(dma, ch, buf, g_rand_int_range(r, 0, sizeof buf), &tc);
    }
    bench_free(b);
}

/* Cards come and go through the PIIX4's registers; a guest that ejects everything only loses what may go. */
static void hotplug_registers_announce_and_eject(void)
{
    Bench *b = bench_new(NULL, NULL);
    Device *pm = bench_add(b, "PIIX4_PM", NULL), *card;
    unsigned slot;

    piix4_pm_hotplug(pm, pci_root(b->m));
    b->m->state = RUN_RUNNING;
    card = device_create(b->m, "e1000", NULL, "id=c0", NULL);
    g_assert_nonnull(card);
    slot = pci_device(card)->devfn >> 3;
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE + 12), ==, 1u << slot);
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE), ==, 1u << slot);
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE), ==, 0);
    CHECK(bench_in8(b, PIIX4_GPE_BASE) & 1 << PIIX4_PCIHP_EVENT);
    CHECK(device_unplug_request(card, NULL));
    g_assert_nonnull(device_find(b->m, "c0"));
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE + 4), ==, 1u << slot);
    bench_out32(b, PIIX4_PCIHP_BASE + 8, ~(1u << slot));
    g_assert_nonnull(device_find(b->m, "c0"));
    bench_out32(b, PIIX4_PCIHP_BASE + 8, 0xffffffff);
    g_assert_null(device_find(b->m, "c0"));
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE + 4), ==, 0);
    bench_out32(b, PIIX4_PCIHP_BASE + 8, 0xffffffff);
    g_assert_cmphex(bench_in32(b, PIIX4_PCIHP_BASE + 12), ==, 0);
    g_assert_nonnull(pci_root(b->m)->dev[pci_device(pm)->devfn]);
    b->m->state = RUN_PRELAUNCH;
    bench_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/hw/pci/" #f, f)
    T(pci_header_reads_as_built_and_ids_are_read_only);
    T(pci_bar_is_sized_mapped_and_moved);
    T(pci_intx_follows_level_and_disable_bit);
    T(pci_msi_sends_only_when_enabled_and_mastering);
    T(pci_msix_masks_and_pends);
    T(pci_msix_region_edges_are_safe);
    T(pci_addresses_are_checked);
    T(pci_random_configuration_is_survived);
    T(dma_moves_bytes_and_reports_terminal_count);
    T(dma_hostile_programming_stays_in_bounds);
    T(hotplug_registers_announce_and_eject);
#undef T
    return g_test_run();
}
