/* test-ahci: command slots, queued commands, packet commands, resets, hot plug and hostile tables of the AHCI controller. */
#include "tests/hw/bench.h"

#include "block/filter.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { DISK = 4 * 1024 * 1024, CLB = 0x10000, FB = 0x11000, TABLES = 0x20000, DATA = 0x100000,
       P = 0x100, P_CLB = P, P_FB = P + 8, P_IS = P + 0x10, P_IE = P + 0x14, P_CMD = P + 0x18, P_TFD = P + 0x20, P_SIG = P + 0x24,
       P_SSTS = P + 0x28, P_SCTL = P + 0x2c, P_SERR = P + 0x30, P_SACT = P + 0x34, P_CI = P + 0x38 };

typedef struct Ctx {
    Bench *b;
    BlockGraph *g;
    BlockDev *drive;
    char *path;
} Ctx;

static uint8_t pattern(unsigned at) { return at / 512 + at; }
static uint64_t reg(Ctx *c, unsigned off) { return bench_bar(c->b, bench_dev(c->b, 0), 5) + off; }
static uint32_t rd(Ctx *c, unsigned off) { return bench_ld(c->b, reg(c, off), 4); }
static void wr(Ctx *c, unsigned off, uint32_t v) { bench_st(c->b, reg(c, off), 4, v); }

static Ctx setup_spec(const char *cls, const char *more)
{
    Ctx c = { bench_new(NULL, NULL), block_graph_new(NULL), NULL, NULL };
    g_autofree char *spec = NULL;
    g_autofree uint8_t *data = g_malloc(DISK);
    GHashTable *opts;
    int fd = g_file_open_tmp("quern-ahci-XXXXXX", &c.path, NULL);

    for (int i = 0; i < DISK; i++)
        data[i] = pattern(i);
    g_assert_cmpint(write(fd, data, DISK), ==, DISK);
    close(fd);
    spec = strstr(more, "file.driver=") ? g_strdup_printf("file.file.filename=%s,format=raw,if=none,id=d0%s", c.path, more)
                                        : g_strdup_printf("file=%s,format=raw,if=none,id=d0%s", c.path, more);
    opts = block_opts_parse(spec, NULL, NULL);
    c.drive = block_drive_add(c.g, opts, NULL);
    g_hash_table_unref(opts);
    g_assert_nonnull(c.drive);
    bench_backend(c.b, "drive", "d0", c.drive);
    bench_add(c.b, "ich9-ahci", "id=ahci0");
    bench_add(c.b, cls, "drive=d0");
    bench_pci_map(c.b, bench_dev(c.b, 0));
    wr(&c, 4, 2);
    wr(&c, P_CLB, CLB);
    wr(&c, P_FB, FB);
    wr(&c, P_SERR, 0xffffffff);
    wr(&c, P_IE, 0xffffffff);
    wr(&c, P_CMD, rd(&c, P_CMD) | 0x10);
    wr(&c, P_CMD, rd(&c, P_CMD) | 1);
    return c;
}

static Ctx setup(const char *cls) { return setup_spec(cls, ""); }

static void teardown(Ctx *c)
{
    bench_free(c->b);
    block_graph_free(c->g);
    g_unlink(c->path);
    g_free(c->path);
}

static uint64_t table_of(unsigned slot) { return TABLES + 0x1000 * slot; }

/* Slot with n regions of `each` bytes from addr on, `gap` apart. */
static void build(Ctx *c, unsigned slot, uint8_t cmd, uint64_t lba, unsigned count, unsigned n, uint32_t each, uint64_t addr,
                  uint32_t gap)
{
    uint8_t h[32] = { 5, 0 }, f[20] = { 0x27, 0x80, cmd, 0, lba, lba >> 8, lba >> 16, 0x40, lba >> 24, lba >> 32, lba >> 40 }, e[16];

    if (cmd == 0x60 || cmd == 0x61) {
        f[3] = count;
        f[11] = count >> 8;
        f[12] = slot << 3;
    } else {
        f[12] = count;
        f[13] = count >> 8;
    }
    st16_le(h + 2, n);
    st64_le(h + 8, table_of(slot));
    bench_mem_write(c->b, CLB + 32 * slot, h, sizeof h);
    bench_mem_write(c->b, table_of(slot), f, sizeof f);
    for (unsigned i = 0; i < n; i++) {
        memset(e, 0, sizeof e);
        st64_le(e, addr + (uint64_t)i * gap);
        st32_le(e + 12, each - 1);
        bench_mem_write(c->b, table_of(slot) + 0x80 + 16 * i, e, sizeof e);
    }
}

static bool over(void *opaque)
{
    Ctx *c = opaque;

    return (!rd(c, P_CI) && !rd(c, P_SACT)) || (rd(c, P_IS) & 1u << 30);
}

static bool run(Ctx *c, uint32_t slots)
{
    wr(c, P_CI, slots);
    CHECK(bench_wait(c->b, over, c));
    return !(rd(c, P_TFD) & 1);
}

static void same_as_disk(Ctx *c, uint64_t addr, unsigned at, unsigned len)
{
    g_autofree uint8_t *got = g_malloc(len);

    bench_mem_read(c->b, addr, got, len);
    for (unsigned i = 0; i < len; i++)
        g_assert_cmpuint(got[i], ==, pattern(at + i));
}

static void identify_comes_by_pio_with_ncq(void)
{
    Ctx c = setup("ide-hd");
    uint8_t w[512], fis[20];

    g_assert_cmphex(rd(&c, P_SIG), ==, 0x101);
    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 3);
    build(&c, 0, 0xec, 0, 0, 1, 512, DATA, 0);
    CHECK(run(&c, 1));
    CHECK(rd(&c, P_IS) & 2);
    CHECK(bench_intx(c.b, bench_dev(c.b, 0)));
    bench_mem_read(c.b, DATA, w, sizeof w);
    g_assert_cmpuint(ld32_le(w + 120), ==, DISK / 512);
    g_assert_cmphex(ld16_le(w + 152) & 0x100, ==, 0x100);
    bench_mem_read(c.b, FB + 0x20, fis, sizeof fis);
    g_assert_cmphex(fis[0], ==, 0x5f);
    g_assert_cmphex(fis[15] & 0x89, ==, 0);
    bench_mem_read(c.b, CLB + 4, w, 4);
    g_assert_cmpuint(ld32_le(w), ==, 512);
    teardown(&c);
}

static void dma_scatters_and_writes_come_back(void)
{
    Ctx c = setup("ide-hd");

    build(&c, 3, 0x25, 100, 8, 4, 1024, DATA, 0x3000);
    CHECK(run(&c, 1 << 3));
    for (int i = 0; i < 4; i++)
        same_as_disk(&c, DATA + 0x3000 * i, 100 * 512 + 1024 * i, 1024);
    CHECK(rd(&c, P_IS) & 1);
    build(&c, 1, 0x35, 7, 2, 1, 1024, DATA, 0);         /* sectors 100, 101 to 7, 8 */
    CHECK(run(&c, 1 << 1));
    build(&c, 2, 0x20, 7, 2, 1, 1024, DATA + 0x10000, 0);       /* and back by PIO */
    CHECK(run(&c, 1 << 2));
    same_as_disk(&c, DATA + 0x10000, 100 * 512, 1024);
    build(&c, 2, 0x34, 9, 2, 1, 1024, DATA, 0);
    CHECK(run(&c, 1 << 2));
    build(&c, 4, 0x60, 9, 2, 1, 1024, DATA + 0x20000, 0);
    wr(&c, P_SACT, 1 << 4);
    CHECK(run(&c, 1 << 4));
    same_as_disk(&c, DATA + 0x20000, 100 * 512, 1024);
    teardown(&c);
}

static void thirty_two_queued_reads_complete(void)
{
    Ctx c = setup("ide-hd");

    for (unsigned i = 0; i < 32; i++)
        build(&c, i, 0x60, 64 * i, 16, 2, 4096, DATA + 0x4000 * i, 4096);
    wr(&c, P_SACT, 0xffffffff);
    CHECK(run(&c, 0xffffffff));
    for (unsigned i = 0; i < 32; i++)
        same_as_disk(&c, DATA + 0x4000 * i, 64 * i * 512, 8192);
    CHECK(rd(&c, P_IS) & 8);
    teardown(&c);
}

static void failed_queued_command_is_in_the_log(void)
{
    Ctx c = setup("ide-hd");
    uint8_t log[512];

    build(&c, 5, 0x60, DISK / 512 - 1, 8, 1, 4096, DATA, 0);
    wr(&c, P_SACT, 1 << 5);
    CHECK(!run(&c, 1 << 5));
    CHECK(rd(&c, P_IS) & 1u << 30);
    g_assert_cmphex(rd(&c, P_SACT), ==, 1 << 5);
    wr(&c, P_CMD, rd(&c, P_CMD) & ~1u);
    g_assert_cmphex(rd(&c, P_SACT) | rd(&c, P_CI), ==, 0);
    CHECK(!(rd(&c, P_CMD) & 1 << 15));
    wr(&c, P_IS, 0xffffffff);
    wr(&c, P_CMD, rd(&c, P_CMD) | 1);
    build(&c, 0, 0x2f, 0x10, 1, 1, 512, DATA, 0);
    CHECK(run(&c, 1));
    bench_mem_read(c.b, DATA, log, sizeof log);
    g_assert_cmpuint(log[0], ==, 5);
    g_assert_cmphex(log[3], ==, 0x10);
    CHECK(run(&c, 1));
    bench_mem_read(c.b, DATA, log, 1);
    g_assert_cmphex(log[0], ==, 0x80);
    teardown(&c);
}

static void packet(Ctx *c, const uint8_t acmd[12], bool dma, uint32_t len)
{
    uint8_t h[2] = { 5 | 1 << 5, 0 }, f[] = { dma, 0, 0, 8 };

    build(c, 0, 0xa0, 0, 0, 2, len / 2, DATA, len / 2);
    bench_mem_write(c->b, CLB, h, 2);
    bench_mem_write(c->b, table_of(0) + 3, f, 1);
    bench_mem_write(c->b, table_of(0) + 5, f + 2, 2);
    bench_mem_write(c->b, table_of(0) + 0x40, acmd, 12);
}

static void cd_reads_by_dma_and_pio(void)
{
    static const uint8_t ready[12] = { 0 }, read[12] = { 0x28, 0, 0, 0, 0, 3, 0, 0, 4 };
    Ctx c = setup("ide-cd");

    g_assert_cmphex(rd(&c, P_SIG), ==, 0xeb140101);
    packet(&c, ready, false, 2048);
    run(&c, 1);
    for (int dma = 0; dma < 2; dma++) {
        packet(&c, read, dma, 8192);
        CHECK(run(&c, 1));
        same_as_disk(&c, DATA, 3 * 2048, 8192);
        bench_mem_write(c.b, DATA, ready, 12);
    }
    build(&c, 0, 0x25, 0, 1, 1, 512, DATA, 0);          /* not a command of a packet device */
    CHECK(!run(&c, 1));
    teardown(&c);
}

static void too_little_memory_is_an_error(void)
{
    Ctx c = setup("ide-hd");

    build(&c, 0, 0x25, 8, 8, 1, 2048 - 2, DATA, 0);
    CHECK(!run(&c, 1));
    wr(&c, P_CMD, rd(&c, P_CMD) & ~1u);
    wr(&c, P_IS, 0xffffffff);
    wr(&c, P_CMD, rd(&c, P_CMD) | 1);
    build(&c, 0, 0x60, 8, 8, 1, 0x1000, 0xfee00000, 0);         /* not memory */
    wr(&c, P_SACT, 1);
    CHECK(!run(&c, 1));
    teardown(&c);
}

static void tables_that_are_not_memory_are_a_bus_error(void)
{
    Ctx c = setup("ide-hd");
    uint8_t h[32] = { 5 };

    st64_le(h + 8, 0xfee00000);
    bench_mem_write(c.b, CLB, h, sizeof h);
    wr(&c, P_CI, 1);
    CHECK(rd(&c, P_IS) & 1 << 29);
    teardown(&c);
}

static void resets_bring_the_signature(void)
{
    Ctx c = setup("ide-hd");
    uint8_t f[16] = { 0x27, 0 };

    wr(&c, P_SCTL, 0x301);
    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 0);
    wr(&c, P_SCTL, 0x300);
    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 3);
    CHECK(rd(&c, P_SERR) & 1 << 26);
    g_assert_cmphex(rd(&c, P_SIG), ==, 0x101);
    build(&c, 0, 0, 0, 0, 0, 0, 0, 0);
    f[15] = 4;
    bench_mem_write(c.b, table_of(0), f, 16);
    CHECK(run(&c, 1));
    f[15] = 0;
    bench_mem_write(c.b, table_of(0), f, 16);
    CHECK(run(&c, 1));
    g_assert_cmphex(rd(&c, P_TFD), ==, 0x150);
    wr(&c, 4, 3);
    g_assert_cmphex(rd(&c, 4), ==, 0x80000000);
    g_assert_cmphex(rd(&c, P_CLB), ==, 0);
    teardown(&c);
}

static void reset_with_requests_in_flight_is_clean(void)
{
    Ctx c = setup("ide-hd");

    for (int round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 32; i++)
            build(&c, i, i & 1 ? 0x61 : 0x60, 64 * i, 16, 2, 4096, DATA + 0x4000 * i, 4096);
        wr(&c, P_SACT, 0xffffffff);
        wr(&c, P_CI, 0xffffffff);
        if (round & 1) {
            wr(&c, P_SCTL, 0x301);
            wr(&c, P_SCTL, 0x300);
        }
        wr(&c, P_CMD, rd(&c, P_CMD) & ~1u);
        g_assert_cmphex(rd(&c, P_SACT) | rd(&c, P_CI), ==, 0);
        g_assert_cmpuint(block_dev_in_flight(c.drive), ==, 0);
        wr(&c, P_IS, 0xffffffff);
        wr(&c, P_SERR, 0xffffffff);
        wr(&c, P_CMD, rd(&c, P_CMD) | 1);
    }
    build(&c, 0, 0x25, 256, 8, 1, 4096, DATA, 0);
    CHECK(run(&c, 1));
    same_as_disk(&c, DATA, 256 * 512, 4096);
    teardown(&c);
}

static bool stopped;
static void on_error(void *opaque, const BlockErrorInfo *info) { stopped |= info->stop; }
static bool has_stopped(void *opaque) { return stopped; }

/* werror=stop: the write waits for cont, then it is there; the guest sees one good completion. */
static void stopped_write_goes_on_after_cont(void)
{
    static const uint8_t cmds[] = { 0x61, 0x35 };

    for (unsigned k = 0; k < ARRAY_LEN(cmds); k++) {
        Ctx c = setup_spec("ide-hd", ",werror=stop,file.driver=fault");
        FaultPlan plan = { .kinds = 1 << FILTER_WRITE, .at = 1, .errnum = EIO };
        uint8_t data[4096], got[4096];

        memset(data, 0x5a + k, sizeof data);
        bench_mem_write(c.b, DATA, data, sizeof data);
        block_graph_set_error_hook(c.g, on_error, NULL);
        block_fault_set(block_node_file(block_dev_node(c.drive)), &plan);
        stopped = false;
        build(&c, 3, cmds[k], 40, 8, 1, 4096, DATA, 0);
        if (cmds[k] == 0x61)
            wr(&c, P_SACT, 1 << 3);
        wr(&c, P_CI, 1 << 3);
        CHECK(bench_wait(c.b, has_stopped, NULL));
        CHECK(rd(&c, P_SACT) | rd(&c, P_CI));
        CHECK(!(rd(&c, P_IS) & 1u << 30));
        block_graph_resume(c.g);
        CHECK(bench_wait(c.b, over, &c));
        CHECK(!(rd(&c, P_TFD) & 1));
        g_assert_cmpint(block_dev_pread(c.drive, 40 * 512, got, sizeof got), ==, 0);
        CHECK(!memcmp(data, got, sizeof got));
        teardown(&c);
    }
}

/* A state saved with commands waiting starts them when the loaded machine runs. */
static void waiting_commands_survive_a_save(void)
{
    Ctx c = setup("ide-hd");

    block_graph_quiesce(c.g);
    for (unsigned i = 0; i < 4; i++)
        build(&c, i, 0x60, 64 * i, 16, 2, 4096, DATA + 0x4000 * i, 4096);
    wr(&c, P_SACT, 15);
    wr(&c, P_CI, 15);
    bench_roundtrip(c.b);
    block_graph_unquiesce(c.g);
    g_assert_cmphex(rd(&c, P_SACT), ==, 15);
    machine_emit(c.b->m, EVENT_RESUME, NULL);
    CHECK(bench_wait(c.b, over, &c));
    for (unsigned i = 0; i < 4; i++)
        same_as_disk(&c, DATA + 0x4000 * i, 64 * i * 512, 8192);
    teardown(&c);
}

static void messages_are_sent_for_each_event(void)
{
    Ctx c = setup("ide-hd");
    Device *d = bench_dev(c.b, 0);
    unsigned cap = bench_cfg_read(c.b, d, 0x34, 1);

    while (cap && bench_cfg_read(c.b, d, cap, 1) != 5)
        cap = bench_cfg_read(c.b, d, cap + 1, 1);
    g_assert_cmpuint(cap, !=, 0);
    wr(&c, P_IS, 0xffffffff);
    wr(&c, 8, 0xffffffff);
    bench_cfg_write(c.b, d, cap + 4, 0xfee01000, 4);
    bench_cfg_write(c.b, d, cap + 12, 0x41, 2);
    bench_cfg_write(c.b, d, cap + 2, 1, 2);
    for (unsigned i = 1; i <= 3; i++) {
        build(&c, 0, 0xe5, 0, 0, 0, 0, 0, 0);
        CHECK(run(&c, 1));
        g_assert_cmpuint(c.b->msis->len, ==, i);
        wr(&c, P_IS, rd(&c, P_IS));
        wr(&c, 8, 1);
    }
    build(&c, 0, 0xe5, 0, 0, 0, 0, 0, 0);
    CHECK(run(&c, 1));
    wr(&c, 8, 1);               /* the port still asks: one more message */
    g_assert_cmpuint(c.b->msis->len, ==, 5);
    teardown(&c);
}

static void plugging_changes_the_port(void)
{
    Ctx c = setup("ide-hd");

    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 3);
    for (unsigned i = 0; i < 32; i++)
        build(&c, i, 0x60, 64 * i, 16, 2, 4096, DATA + 0x4000 * i, 4096);
    wr(&c, P_SACT, 0xffffffff);
    wr(&c, P_CI, 0xffffffff);
    device_unplug(bench_dev(c.b, 1));
    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 0);
    CHECK(rd(&c, P_IS) & 1 << 6);
    wr(&c, P_SERR, 0xffffffff);
    CHECK(!(rd(&c, P_IS) & 1 << 6));
    g_assert_nonnull(device_create(c.b->m, "ide-hd", bus_find(c.b->m, "ahci0.0"), "drive=d0", NULL));
    g_assert_cmphex(rd(&c, P_SSTS) & 15, ==, 3);
    CHECK(rd(&c, P_IS) & 1 << 6);
    g_assert_cmphex(rd(&c, P_SIG), ==, 0x101);
    teardown(&c);
}

/* Random tables and registers: nothing but errors may come of them. */
static void random_tables_are_survived(void)
{
    static const uint8_t ops[] = { 0x60, 0x61, 0x25, 0x35, 0x20, 0x30, 0xa0, 0xec, 0x06, 0x2f, 0xef, 0xb0, 0xc4, 0xc5, 0xa1, 0xea, 0x90 };
    static const char *const kinds[] = { "ide-hd", "ide-cd" };

    for (unsigned k = 0; k < 2; k++) {
        Ctx c = setup(kinds[k]);

        for (int round = 0; round < 1500; round++) {
            uint32_t mask = g_test_rand_int();

            for (unsigned i = 0; i < 32; i++) {
                uint32_t r = g_test_rand_int(), n = r % 40;
                uint8_t junk[2];

                if (!(mask >> i & 1))
                    continue;
                build(&c, i, ops[r % ARRAY_LEN(ops)], r >> 19 ? r >> 19 & 0x1fff : UINT64_MAX, r >> 8 & 0x3f, n,
                      1 + (g_test_rand_int() & (r & 64 ? 0x3ff : 0x3fffff)), g_test_rand_int() & (r & 32 ? 0xffffff : 0xffffffff),
                      r & 0xfff0);
                st16_le(junk, r >> 5);
                if (!(r & 0x700))
                    bench_mem_write(c.b, CLB + 32 * i, junk, 2);
                if (!(r & 0x3800))
                    bench_mem_write(c.b, table_of(i) + (r >> 24 & 0x7f), junk, 2);
            }
            wr(&c, P_SACT, mask & (uint32_t)g_test_rand_int());
            wr(&c, P_CI, mask);
            for (int i = 0; i < 3; i++)
                g_main_context_iteration(NULL, FALSE);
            if (rd(&c, P_IS) & 0x68000000 || round % 3 == 0)
                wr(&c, P_CMD, rd(&c, P_CMD) & ~1u);
            if (round % 64 == 0)
                wr(&c, P_SCTL, g_test_rand_int());
            if (round % 7 == 0)
                wr(&c, 0x100 + (g_test_rand_int() & 0x3fc), g_test_rand_int());
            wr(&c, P_SCTL, 0x300);
            wr(&c, P_CLB, CLB);
            wr(&c, P_CLB + 4, 0);
            wr(&c, P_FB, FB);
            wr(&c, P_IS, 0xffffffff);
            wr(&c, P_CMD, 0x11);
        }
        bench_reset(c.b);
        g_assert_cmpuint(block_dev_in_flight(c.drive), ==, 0);
        teardown(&c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahci/identify_comes_by_pio_with_ncq", identify_comes_by_pio_with_ncq);
    g_test_add_func("/ahci/dma_scatters_and_writes_come_back", dma_scatters_and_writes_come_back);
    g_test_add_func("/ahci/thirty_two_queued_reads_complete", thirty_two_queued_reads_complete);
    g_test_add_func("/ahci/failed_queued_command_is_in_the_log", failed_queued_command_is_in_the_log);
    g_test_add_func("/ahci/cd_reads_by_dma_and_pio", cd_reads_by_dma_and_pio);
    g_test_add_func("/ahci/too_little_memory_is_an_error", too_little_memory_is_an_error);
    g_test_add_func("/ahci/tables_that_are_not_memory_are_a_bus_error", tables_that_are_not_memory_are_a_bus_error);
    g_test_add_func("/ahci/resets_bring_the_signature", resets_bring_the_signature);
    g_test_add_func("/ahci/reset_with_requests_in_flight_is_clean", reset_with_requests_in_flight_is_clean);
    g_test_add_func("/ahci/stopped_write_goes_on_after_cont", stopped_write_goes_on_after_cont);
    g_test_add_func("/ahci/waiting_commands_survive_a_save", waiting_commands_survive_a_save);
    g_test_add_func("/ahci/messages_are_sent_for_each_event", messages_are_sent_for_each_event);
    g_test_add_func("/ahci/plugging_changes_the_port", plugging_changes_the_port);
    g_test_add_func("/ahci/random_tables_are_survived", random_tables_are_survived);
    return g_test_run();
}
