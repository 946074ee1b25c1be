/* test-ide: task file, PIO, bus-master DMA, packet commands and hostile sequences of the PIIX IDE function. */
#include "tests/hw/bench.h"

#include "block/block.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { CMD = 0x1f0, CTL = 0x3f6, ST_BUSY = 0x80, ST_DRQ = 8, ST_ERR = 1, DISK = 4 * 1024 * 1024 };

typedef struct Ctx {
    Bench *b;
    BlockGraph *g;
    char *path;
} Ctx;

static Ctx setup(const char *cls)
{
    Ctx c = { bench_new(NULL, NULL), block_graph_new(NULL), NULL };
    g_autofree char *spec = NULL;
    g_autofree uint8_t *data = g_malloc(DISK);
    GHashTable *opts;
    BlockDev *dev;
    int fd = g_file_open_tmp("quern-ide-XXXXXX", &c.path, NULL);

    for (int i = 0; i < DISK; i++)
        data[i] = i / 512 + i;
    g_assert_cmpint(write(fd, data, DISK), ==, DISK);
    close(fd);
    spec = g_strdup_printf("file=%s,format=raw,if=none,id=d0", c.path);
    opts = block_opts_parse(spec, NULL, NULL);
    dev = block_drive_add(c.g, opts, NULL);
    g_hash_table_unref(opts);
    g_assert_nonnull(dev);
    bench_backend(c.b, "drive", "d0", dev);
    bench_add(c.b, "piix3-ide", NULL);
    bench_add(c.b, cls, "drive=d0");
    bench_pci_map(c.b, bench_dev(c.b, 0));
    return c;
}

static void teardown(Ctx *c)
{
    bench_free(c->b);
    block_graph_free(c->g);
    g_unlink(c->path);
    g_free(c->path);
}

static bool idle(void *opaque)
{
    return !(bench_in8(opaque, CTL) & ST_BUSY);
}

static uint8_t command(Bench *b, uint8_t cmd)
{
    bench_out8(b, CMD + 7, cmd);
    CHECK(bench_wait(b, idle, b));
    return bench_in8(b, CMD + 7);
}

static void set_lba(Bench *b, uint32_t lba, uint8_t count)
{
    bench_out8(b, CMD + 2, count);
    bench_out8(b, CMD + 3, lba);
    bench_out8(b, CMD + 4, lba >> 8);
    bench_out8(b, CMD + 5, lba >> 16);
    bench_out8(b, CMD + 6, 0xe0 | lba >> 24);
}

static void identify_tells_size_and_model(void)
{
    Ctx c = setup("ide-hd");
    uint16_t w[256];

    g_assert_cmphex(command(c.b, 0xec) & (ST_DRQ | ST_ERR), ==, ST_DRQ);
    for (int i = 0; i < 256; i++)
        w[i] = bench_in16(c.b, CMD);
    g_assert_cmpuint(w[60] | (uint32_t)w[61] << 16, ==, DISK / 512);
    g_assert_cmpuint(w[27], ==, 'Q' << 8 | 'U');
    CHECK(!(bench_in8(c.b, CMD + 7) & ST_DRQ));
    teardown(&c);
}

static void pio_write_then_read_returns_data(void)
{
    Ctx c = setup("ide-hd");

    set_lba(c.b, 100, 2);
    command(c.b, 0x30);
    for (int s = 0; s < 2; s++) {
        for (int i = 0; i < 256; i++)
            bench_out16(c.b, CMD, i + s);
        CHECK(bench_wait(c.b, idle, c.b));
    }
    CHECK(bench_irq(c.b, 14));
    set_lba(c.b, 100, 2);
    command(c.b, 0x20);
    for (int s = 0; s < 2; s++) {
        CHECK(bench_wait(c.b, idle, c.b));
        for (int i = 0; i < 256; i++)
            g_assert_cmpuint(bench_in16(c.b, CMD), ==, i + s);
    }
    teardown(&c);
}

static void read_past_end_is_an_error(void)
{
    Ctx c = setup("ide-hd");

    set_lba(c.b, DISK / 512 - 1, 2);
    CHECK(command(c.b, 0x20) & ST_ERR);
    set_lba(c.b, 0xfffffff, 0);
    CHECK(command(c.b, 0xc8) & ST_ERR);
    teardown(&c);
}

static bool dma_over(void *opaque)
{
    Ctx *c = opaque;

    return !(bench_in8(c->b, bench_bar(c->b, bench_dev(c->b, 0), 4) + 2) & 1);
}

static uint8_t dma(Ctx *c, uint8_t cmd, bool read)
{
    uint16_t bm = bench_bar(c->b, bench_dev(c->b, 0), 4);
    uint8_t st;

    bench_out32(c->b, bm + 4, 0x1000);
    bench_out8(c->b, bm + 2, 6);
    bench_out8(c->b, CMD + 7, cmd);
    bench_out8(c->b, bm, read ? 9 : 1);
    CHECK(bench_wait(c->b, dma_over, c));
    CHECK(bench_wait(c->b, idle, c->b));
    st = bench_in8(c->b, CMD + 7);
    bench_out8(c->b, bm, 0);
    return st;
}

static void set_prd(Bench *b, unsigned n, uint32_t addr, uint16_t len, bool last)
{
    uint8_t e[8];

    st32_le(e, addr);
    st32_le(e + 4, len | (last ? 0x80000000u : 0));
    bench_mem_write(b, 0x1000 + 8 * n, e, 8);
}

static void dma_read_scatters_over_entries(void)
{
    Ctx c = setup("ide-hd");
    uint8_t got[4096];

    set_prd(c.b, 0, 0x20000, 512, false);
    set_prd(c.b, 1, 0x30000, 3584, true);
    set_lba(c.b, 8, 8);
    CHECK(!(dma(&c, 0xc8, true) & ST_ERR));
    bench_mem_read(c.b, 0x20000, got, 512);
    bench_mem_read(c.b, 0x30000, got + 512, 3584);
    for (int i = 0; i < 4096; i++)
        g_assert_cmpuint(got[i], ==, (uint8_t)((i + 4096) / 512 + i + 4096));
    teardown(&c);
}

static void dma_with_too_little_memory_is_an_error(void)
{
    Ctx c = setup("ide-hd");

    set_prd(c.b, 0, 0x20000, 512, true);
    set_lba(c.b, 8, 8);
    CHECK(dma(&c, 0xc8, true) & ST_ERR);
    teardown(&c);
}

static void packet(Ctx *c, const uint8_t p[12], uint16_t limit)
{
    bench_out8(c->b, CMD + 6, 0xa0);
    bench_out8(c->b, CMD + 1, 0);
    bench_out8(c->b, CMD + 4, limit);
    bench_out8(c->b, CMD + 5, limit >> 8);
    bench_out8(c->b, CMD + 7, 0xa0);
    for (int i = 0; i < 6; i++)
        bench_out16(c->b, CMD, ld16_le(p + 2 * i));
    CHECK(bench_wait(c->b, idle, c->b));
}

static void cd_reads_by_pio_in_parts(void)
{
    static const uint8_t ready[12] = { 0 }, read[12] = { 0x28, 0, 0, 0, 0, 3, 0, 0, 2 };
    Ctx c = setup("ide-cd");
    unsigned got = 0;

    packet(&c, ready, 8);
    packet(&c, read, 512);
    while (bench_in8(c.b, CMD + 7) & ST_DRQ) {
        unsigned n = bench_in8(c.b, CMD + 4) | bench_in8(c.b, CMD + 5) << 8;

        g_assert_cmpuint(n, ==, 512);
        for (unsigned i = 0; i < n; i += 2, got += 2) {
            unsigned at = 3 * 2048 + got;

            g_assert_cmphex(bench_in16(c.b, CMD), ==,
                            (uint8_t)(at / 512 + at) | (uint8_t)((at + 1) / 512 + at + 1) << 8);
        }
        CHECK(bench_wait(c.b, idle, c.b));
    }
    g_assert_cmpuint(got, ==, 4096);
    teardown(&c);
}

static void cd_state_survives_in_mid_transfer(void)
{
    static const uint8_t read[12] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 1 };
    Ctx c = setup("ide-cd");

    packet(&c, read, 2048);
    for (int i = 0; i < 100; i++)
        bench_in16(c.b, CMD);
    bench_roundtrip(c.b);
    g_assert_cmphex(bench_in16(c.b, CMD), ==, (uint8_t)(200 / 512 + 200) | (uint8_t)(201 / 512 + 201) << 8);
    teardown(&c);
}

static void random_register_traffic_is_survived(void)
{
    static const char *const kinds[] = { "ide-hd", "ide-cd" };

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        Ctx c = setup(kinds[k]);
        uint16_t bm = bench_bar(c.b, bench_dev(c.b, 0), 4);

        for (int i = 0; i < 20000; i++) {
            uint32_t r = g_test_rand_int();
            uint16_t port = r % 3 == 0 ? bm + (r >> 8) % 16 : r % 17 == 0 ? CTL : CMD + (r >> 8) % 8;

            switch (r >> 30) {
            case 0: bench_in8(c.b, port); break;
            case 1: bench_in32(c.b, port); break;
            case 2: bench_out32(c.b, port, g_test_rand_int()); break;
            default: bench_out8(c.b, port, g_test_rand_int());
            }
            if (i % 16 == 0)
                g_main_context_iteration(NULL, FALSE);
        }
        bench_reset(c.b);
        teardown(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/identify_tells_size_and_model", identify_tells_size_and_model);
    g_test_add_func("/ide/pio_write_then_read_returns_data", pio_write_then_read_returns_data);
    g_test_add_func("/ide/read_past_end_is_an_error", read_past_end_is_an_error);
    g_test_add_func("/ide/dma_read_scatters_over_entries", dma_read_scatters_over_entries);
    g_test_add_func("/ide/dma_with_too_little_memory_is_an_error", dma_with_too_little_memory_is_an_error);
    g_test_add_func("/ide/cd_reads_by_pio_in_parts", cd_reads_by_pio_in_parts);
    g_test_add_func("/ide/cd_state_survives_in_mid_transfer", cd_state_survives_in_mid_transfer);
    g_test_add_func("/ide/random_register_traffic_is_survived", random_register_traffic_is_survived);
    return g_test_run();
}
