/* test-fdc: commands, DMA and FIFO transfers, formatting, change line and hostile sequences of the floppy controller. */
#include "tests/hw/bench.h"

#include "block/block.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { DOR = 0x3f2, MSR = 0x3f4, FIFO = 0x3f5, CHANGE = 0x3f7, SIZE = 1440 * 1024, BUFFER = 0x30000 };

typedef struct Ctx {
    Bench *b;
    BlockGraph *g;
    BlockDev *drive;
    char *path;
    uint8_t result[16];
    unsigned results;
} Ctx;

static uint8_t pattern(unsigned at) { return at / 512 * 7 + at; }

static Ctx setup(unsigned size, const char *more)
{
    Ctx c = { bench_new(NULL, NULL), block_graph_new(NULL), NULL, NULL, { 0 }, 0 };
    g_autofree char *spec = NULL;
    g_autofree uint8_t *data = g_malloc(size);
    GHashTable *opts;
    int fd = g_file_open_tmp("quern-fdc-XXXXXX", &c.path, NULL);

    for (unsigned i = 0; i < size; i++)
        data[i] = pattern(i);
    g_assert_cmpint(write(fd, data, size), ==, size);
    close(fd);
    spec = g_strdup_printf("file=%s,format=raw,if=none,id=f0%s", c.path, more);
    opts = block_opts_parse(spec, NULL, NULL);
    c.drive = block_drive_add(c.g, opts, NULL);
    g_hash_table_unref(opts);
    g_assert_nonnull(c.drive);
    bench_backend(c.b, "drive", "f0", c.drive);
    bench_add(c.b, "i8257", NULL);
    bench_add(c.b, "isa-fdc", NULL);
    bench_add(c.b, "floppy", "drive=f0");
    return c;
}

static void teardown(Ctx *c)
{
    bench_free(c->b);
    block_graph_free(c->g);
    g_unlink(c->path);
    g_free(c->path);
}

static void put(Ctx *c, const uint8_t *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(bench_in8(c->b, MSR) & 0xc0, ==, 0x80);
        bench_out8(c->b, FIFO, b[i]);
    }
}

static bool has_result(void *opaque) { return (bench_in8(opaque, MSR) & 0xf0) == 0xd0; }

static void get(Ctx *c)
{
    CHECK(bench_wait(c->b, has_result, c->b));
    for (c->results = 0; (bench_in8(c->b, MSR) & 0xd0) == 0xd0 && c->results < 16; c->results++)
        c->result[c->results] = bench_in8(c->b, FIFO);
}

#define COMMAND(c, ...) put(c, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

static void start(Ctx *c, bool dma, uint8_t rate)
{
    bench_out8(c->b, DOR, 0x08);
    CHECK(!bench_irq(c->b, 6));
    bench_out8(c->b, DOR, 0x1c);
    CHECK(bench_irq(c->b, 6));
    for (int i = 0; i < 4; i++) {
        COMMAND(c, 0x08);
        get(c);
        g_assert_cmpuint(c->results, ==, 2);
        g_assert_cmphex(c->result[0], ==, 0xc0 | i);
    }
    CHECK(!bench_irq(c->b, 6));
    bench_out8(c->b, CHANGE, rate);
    COMMAND(c, 0x03, 0xaf, dma ? 2 : 3);
}

static void program_dma(Ctx *c, bool to_memory, unsigned len)
{
    bench_out8(c->b, 0x0a, 6);
    bench_out8(c->b, 0x0b, (to_memory ? 0x44 : 0x48) | 2);
    bench_out8(c->b, 0x0c, 0);
    bench_out8(c->b, 0x04, BUFFER & 0xff);
    bench_out8(c->b, 0x04, BUFFER >> 8 & 0xff);
    bench_out8(c->b, 0x81, BUFFER >> 16);
    bench_out8(c->b, 0x05, (len - 1) & 0xff);
    bench_out8(c->b, 0x05, (len - 1) >> 8);
    bench_out8(c->b, 0x0a, 2);
}

static void same(Ctx *c, unsigned at, unsigned len)
{
    g_autofree uint8_t *got = g_malloc(len);

    bench_mem_read(c->b, BUFFER, got, len);
    for (unsigned i = 0; i < len; i++)
        g_assert_cmpuint(got[i], ==, pattern(at + i));
}

static void unknown_commands_answer_80(void)
{
    Ctx c = setup(SIZE, "");

    start(&c, true, 0);
    COMMAND(&c, 0x10);
    get(&c);
    g_assert_cmphex(c.result[0], ==, 0x90);
    COMMAND(&c, 0x00);
    get(&c);
    g_assert_cmphex(c.result[0], ==, 0x80);
    COMMAND(&c, 0x08);
    get(&c);
    g_assert_cmphex(c.result[0], ==, 0x80);
    teardown(&c);
}

static void dma_reads_over_both_heads(void)
{
    Ctx c = setup(SIZE, "");

    start(&c, true, 0);
    program_dma(&c, true, 36 * 512);
    COMMAND(&c, 0xe6, 0, 2, 0, 1, 2, 18, 0x1b, 0xff);
    get(&c);
    g_assert_cmpuint(c.results, ==, 7);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0);
    g_assert_cmpuint(c.result[3], ==, 3);
    g_assert_cmpuint(c.result[5], ==, 1);
    same(&c, 2 * 36 * 512, 36 * 512);
    program_dma(&c, true, 4 * 512);             /* the track ends before the count */
    COMMAND(&c, 0x66, 4, 2, 1, 17, 2, 18, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0x40);
    g_assert_cmphex(c.result[1], ==, 0x80);
    teardown(&c);
}

static void dma_writes_come_back_by_fifo(void)
{
    Ctx c = setup(SIZE, "");
    uint8_t data[1024];

    start(&c, true, 0);
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = i * 3 + i / 256;
    bench_mem_write(c.b, BUFFER, data, sizeof data);
    program_dma(&c, false, sizeof data);
    COMMAND(&c, 0x45, 4, 10, 1, 5, 2, 18, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0);
    start(&c, false, 0);
    COMMAND(&c, 0x46, 4, 10, 1, 5, 2, 6, 0x1b, 0xff);
    for (unsigned i = 0; i < sizeof data; i++) {
        while ((bench_in8(c.b, MSR) & 0xe0) != 0xe0)
            g_main_context_iteration(NULL, FALSE);
        g_assert_cmpuint(bench_in8(c.b, FIFO), ==, data[i]);
        if (i == 700)
            bench_roundtrip(c.b);
    }
    get(&c);
    g_assert_cmphex(c.result[1], ==, 0x80);     /* nobody said TC */
    teardown(&c);
}

static void format_fills_the_track(void)
{
    Ctx c = setup(SIZE, "");
    uint8_t id[72], got[512];

    start(&c, true, 0);
    COMMAND(&c, 0x0f, 0, 7);
    COMMAND(&c, 0x08);
    get(&c);
    g_assert_cmphex(c.result[0], ==, 0x20);
    g_assert_cmpuint(c.result[1], ==, 7);
    for (int i = 0; i < 18; i++) {
        id[4 * i] = 7;
        id[4 * i + 1] = 0;
        id[4 * i + 2] = i + 1;
        id[4 * i + 3] = 2;
    }
    bench_mem_write(c.b, BUFFER, id, sizeof id);
    program_dma(&c, false, sizeof id);
    COMMAND(&c, 0x4d, 0, 2, 18, 0x6c, 0xf6);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0);
    for (int i = 0; i < 18; i++) {
        g_assert_cmpint(block_dev_pread(c.drive, (7 * 36 + i) * 512, got, 512), ==, 0);
        g_assert_cmphex(got[511], ==, 0xf6);
    }
    g_assert_cmpint(block_dev_pread(c.drive, (7 * 36 + 18) * 512, got, 512), ==, 0);
    g_assert_cmphex(got[3], ==, pattern((7 * 36 + 18) * 512 + 3));
    teardown(&c);
}

static void write_protection_and_rate_are_seen(void)
{
    Ctx c = setup(SIZE, ",readonly=on");

    start(&c, true, 0);
    program_dma(&c, false, 512);
    COMMAND(&c, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0x40);
    g_assert_cmphex(c.result[1], ==, 2);
    COMMAND(&c, 0x04, 0);
    get(&c);
    g_assert_cmphex(c.result[0] & 0x50, ==, 0x50);
    COMMAND(&c, 0x4a, 0);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0);
    bench_out8(c.b, CHANGE, 2);
    COMMAND(&c, 0x4a, 0);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0x40);
    teardown(&c);
}

static void change_line_falls_with_a_step(void)
{
    Ctx c = setup(SIZE, "");

    start(&c, true, 0);
    CHECK(bench_in8(c.b, CHANGE) & 0x80);
    COMMAND(&c, 0x07, 0);
    CHECK(!(bench_in8(c.b, CHANGE) & 0x80));
    COMMAND(&c, 0x08);
    get(&c);
    CHECK(block_dev_eject(c.drive, false, NULL));
    CHECK(bench_in8(c.b, CHANGE) & 0x80);
    COMMAND(&c, 0x0f, 0, 1);
    CHECK(bench_in8(c.b, CHANGE) & 0x80);
    COMMAND(&c, 0x08);
    get(&c);
    program_dma(&c, true, 512);
    COMMAND(&c, 0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0x40);
    CHECK(block_dev_change_medium(c.drive, c.path, "raw", NULL));
    COMMAND(&c, 0x0f, 0, 0);
    CHECK(!(bench_in8(c.b, CHANGE) & 0x80));
    teardown(&c);
}

static void large_media_have_36_sectors(void)
{
    Ctx c = setup(2880 * 1024, "");

    start(&c, true, 3);
    program_dma(&c, true, 36 * 512);
    COMMAND(&c, 0x46, 4, 79, 1, 1, 2, 36, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[0] & 0xc0, ==, 0);
    same(&c, (79 * 72 + 36) * 512, 36 * 512);
    COMMAND(&c, 0x46, 4, 80, 1, 1, 2, 36, 0x1b, 0xff);
    get(&c);
    g_assert_cmphex(c.result[1], ==, 4);
    teardown(&c);
}

static void random_bytes_are_survived(void)
{
    static const uint8_t ops[] = { 3, 4, 0x45, 0xc5, 0x46, 0xe6, 7, 8, 0x4a, 0x4c, 0x4d, 0x0e, 0x0f, 0x12, 0x13, 0x14, 0x94, 0x56, 0x18,
                                   0x2e, 0x8e, 0x8f, 0xcf };
    Ctx c = setup(SIZE, "");

    for (int i = 0; i < 60000; i++) {
        uint32_t r = g_test_rand_int();

        switch (r % 8) {
        case 0: case 1: case 2: bench_out8(c.b, FIFO, r & 0x100 ? r >> 24 & 0x1f : g_test_rand_int()); break;
        case 3: case 4: bench_in8(c.b, FIFO); break;
        case 5: bench_out8(c.b, FIFO, ops[(r >> 8) % ARRAY_LEN(ops)]); break;
        case 6:
            if (!(r & 0xf00))
                program_dma(&c, r & 0x1000, 1 + (r >> 16));
            else
                bench_in8(c.b, MSR);
            break;
        default:
            if (!(r & 0xf00))
                bench_out8(c.b, 0x3f0 + (r >> 12) % 8, r >> 24);
            g_main_context_iteration(NULL, FALSE);
        }
        if (i % 5000 == 4999) {
            bench_roundtrip(c.b);
            bench_out8(c.b, DOR, 0);
            bench_out8(c.b, DOR, 0x1c);
        }
    }
    bench_reset(c.b);
    teardown(&c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fdc/unknown_commands_answer_80", unknown_commands_answer_80);
    g_test_add_func("/fdc/dma_reads_over_both_heads", dma_reads_over_both_heads);
    g_test_add_func("/fdc/dma_writes_come_back_by_fifo", dma_writes_come_back_by_fifo);
    g_test_add_func("/fdc/format_fills_the_track", format_fills_the_track);
    g_test_add_func("/fdc/write_protection_and_rate_are_seen", write_protection_and_rate_are_seen);
    g_test_add_func("/fdc/change_line_falls_with_a_step", change_line_falls_with_a_step);
    g_test_add_func("/fdc/large_media_have_36_sectors", large_media_have_36_sectors);
    g_test_add_func("/fdc/random_bytes_are_survived", random_bytes_are_survived);
    return g_test_run();
}
