/* test-virtio: rings, virtio-blk requests, virtio-net frames, and what a lying driver gets. */
#include "tests/hw/nicbench.h"

#include "block/block.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { COMMON = 0, ISR = 0x1000, CONFIG = 0x2000, NOTIFY = 0x3000, DESC = 0x10000, AVAIL = 0x11000, USED = 0x12000,
       BUF = 0x20000, QSIZE = 8, DISK = 1 << 20 };
enum { D_NEXT = 1, D_WRITE = 2, D_INDIRECT = 4 };

typedef struct Ctx {
    Bench *b;
    BlockGraph *g;
    char *path;
    uint64_t bar;
    uint16_t avail_idx;
} Ctx;

static void cw(Ctx *c, unsigned off, unsigned size, uint64_t v) { bench_st(c->b, c->bar + COMMON + off, size, v); }
static uint64_t cr(Ctx *c, unsigned off, unsigned size) { return bench_ld(c->b, c->bar + COMMON + off, size); }

static void start_driver(Ctx *c, uint64_t features)
{
    c->bar = bench_bar(c->b, bench_dev(c->b, 0), 4);
    cw(c, 0x14, 1, 0);
    cw(c, 0x14, 1, 1 | 2);
    for (int i = 0; i < 2; i++) {
        cw(c, 8, 4, i);
        cw(c, 12, 4, features >> (32 * i));
    }
    cw(c, 0x14, 1, 1 | 2 | 8);
    g_assert_cmpuint(cr(c, 0x14, 1) & 8, ==, 8);
}

static void start_queue(Ctx *c, unsigned n, uint32_t at)
{
    cw(c, 0x16, 2, n);
    cw(c, 0x18, 2, QSIZE);
    cw(c, 0x20, 4, DESC + at);
    cw(c, 0x28, 4, AVAIL + at);
    cw(c, 0x30, 4, USED + at);
    cw(c, 0x1c, 2, 1);
    g_assert_cmpuint(cr(c, 0x1c, 2), ==, 1);
}

static Ctx blk_setup(uint64_t features, const char *props)
{
    Ctx c = { bench_new(NULL, NULL), block_graph_new(NULL), NULL, 0, 0 };
    g_autofree char *spec = NULL, *all = NULL;
    GHashTable *opts;
    BlockDev *dev;
    int fd = g_file_open_tmp("quern-vio-XXXXXX", &c.path, NULL);

    g_assert_cmpint(ftruncate(fd, DISK), ==, 0);
    close(fd);
    spec = g_strdup_printf("file=%s,format=raw,if=none,id=d0", c.path);
    opts = block_opts_parse(spec, NULL, NULL);
    dev = block_drive_add(c.g, opts, NULL);
    g_hash_table_unref(opts);
    bench_backend(c.b, "drive", "d0", dev);
    all = g_strdup_printf("drive=d0%s", props);
    bench_add(c.b, "virtio-blk-pci", all);
    bench_pci_map(c.b, bench_dev(c.b, 0));
    start_driver(&c, features | 1ULL << 32);
    start_queue(&c, 0, 0);
    cw(&c, 0x14, 1, 1 | 2 | 8 | 4);
    return c;
}

static void teardown(Ctx *c)
{
    bench_free(c->b);
    if (c->g)
        block_graph_free(c->g);
    if (c->path)
        g_unlink(c->path);
    g_free(c->path);
}

static void desc(Ctx *c, uint32_t table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t d[16];

    st64_le(d, addr);
    st32_le(d + 8, len);
    st16_le(d + 12, flags);
    st16_le(d + 14, next);
    bench_mem_write(c->b, table + 16 * i, d, 16);
}

static void offer(Ctx *c, uint16_t head)
{
    uint8_t v[2];

    st16_le(v, head);
    bench_mem_write(c->b, AVAIL + 4 + 2 * (c->avail_idx % QSIZE), v, 2);
    st16_le(v, ++c->avail_idx);
    bench_mem_write(c->b, AVAIL + 2, v, 2);
    bench_st(c->b, c->bar + NOTIFY, 2, 0);
}

static uint16_t used_idx(Ctx *c)
{
    uint8_t v[2];

    bench_mem_read(c->b, USED + 2, v, 2);
    return ld16_le(v);
}

static bool all_used(void *opaque)
{
    Ctx *c = opaque;

    return used_idx(c) == c->avail_idx;
}

static void header(Ctx *c, uint32_t type, uint64_t sector)
{
    uint8_t h[16] = { 0 };

    st32_le(h, type);
    st64_le(h + 8, sector);
    bench_mem_write(c->b, BUF, h, 16);
}

static uint8_t blk_rw(Ctx *c, bool write, uint64_t sector, uint32_t len)
{
    uint8_t status = 0xee;

    header(c, write, sector);
    bench_mem_write(c->b, BUF + 0x100, &status, 1);
    desc(c, DESC, 0, BUF, 16, D_NEXT, 1);
    desc(c, DESC, 1, BUF + 0x1000, len, D_NEXT | (write ? 0 : D_WRITE), 2);
    desc(c, DESC, 2, BUF + 0x100, 1, D_WRITE, 0);
    offer(c, 0);
    CHECK(bench_wait(c->b, all_used, c));
    bench_mem_read(c->b, BUF + 0x100, &status, 1);
    return status;
}

static void blk_write_then_read_returns_data(void)
{
    static const char *const variants[] = { "", ",disable-legacy=on" };

    for (size_t v = 0; v < ARRAY_LEN(variants); v++) {
        Ctx c = blk_setup(0, variants[v]);
        uint8_t out[4096], in[4096];

        for (int i = 0; i < 4096; i++)
            out[i] = i * 7;
        bench_mem_write(c.b, BUF + 0x1000, out, 4096);
        g_assert_cmpuint(blk_rw(&c, true, 16, 4096), ==, 0);
        bench_mem_write(c.b, BUF + 0x1000, in, 4096);
        g_assert_cmpuint(blk_rw(&c, false, 16, 4096), ==, 0);
        bench_mem_read(c.b, BUF + 0x1000, in, 4096);
        g_assert_cmpmem(in, 4096, out, 4096);
        CHECK(bench_intx(c.b, bench_dev(c.b, 0)));
        g_assert_cmpuint(bench_ld(c.b, c.bar + ISR, 1), ==, 1);
        CHECK(!bench_intx(c.b, bench_dev(c.b, 0)));
        teardown(&c);
    }
}

static void blk_request_outside_disk_fails(void)
{
    Ctx c = blk_setup(0, "");

    g_assert_cmpuint(blk_rw(&c, false, DISK / 512, 512), ==, 1);
    g_assert_cmpuint(blk_rw(&c, false, UINT64_MAX, 512), ==, 1);
    g_assert_cmpuint(blk_rw(&c, true, 0, 100), ==, 1);
    teardown(&c);
}

static void blk_indirect_works_and_state_survives(void)
{
    Ctx c = blk_setup(1ULL << 28, "");
    uint8_t status = 0xee;

    header(&c, 0, 0);
    desc(&c, 0x30000, 0, BUF, 16, D_NEXT, 1);
    desc(&c, 0x30000, 1, BUF + 0x1000, 512, D_NEXT | D_WRITE, 2);
    desc(&c, 0x30000, 2, BUF + 0x100, 1, D_WRITE, 0);
    desc(&c, DESC, 3, 0x30000, 48, D_INDIRECT, 0);
    bench_mem_write(c.b, BUF + 0x100, &status, 1);
    offer(&c, 3);
    CHECK(bench_wait(c.b, all_used, &c));
    bench_mem_read(c.b, BUF + 0x100, &status, 1);
    g_assert_cmpuint(status, ==, 0);
    bench_roundtrip(c.b);
    g_assert_cmpuint(blk_rw(&c, false, 0, 512), ==, 0);
    teardown(&c);
}

typedef void Lie(Ctx *c);
static void lie_loop(Ctx *c) { desc(c, DESC, 0, BUF, 16, D_NEXT, 0); offer(c, 0); }
static void lie_head(Ctx *c) { offer(c, 900); }
static void lie_next(Ctx *c) { desc(c, DESC, 0, BUF, 16, D_NEXT, 77); offer(c, 0); }
static void lie_zero(Ctx *c) { desc(c, DESC, 0, BUF, 0, 0, 0); offer(c, 0); }
static void lie_address(Ctx *c) { desc(c, DESC, 0, 0xfffffffffffff000ULL, 0xffffffff, 0, 0); offer(c, 0); }
static void lie_mmio(Ctx *c) { desc(c, DESC, 0, c->bar, 64, 0, 0); offer(c, 0); }
static void lie_jump(Ctx *c) { c->avail_idx += 100; offer(c, 0); }
static void lie_order(Ctx *c)
{
    desc(c, DESC, 0, BUF, 16, D_NEXT | D_WRITE, 1);
    desc(c, DESC, 1, BUF, 16, 0, 0);
    offer(c, 0);
}
static void lie_indirect(Ctx *c)
{
    desc(c, 0x30000, 0, 0x30000, 16, D_INDIRECT, 0);
    desc(c, DESC, 0, 0x30000, 16, D_INDIRECT, 0);
    offer(c, 0);
}
static void lie_indirect_length(Ctx *c) { desc(c, DESC, 0, 0x30000, 0xfffffff1, D_INDIRECT, 0); offer(c, 0); }
static void lie_short(Ctx *c) { desc(c, DESC, 0, BUF, 4, 0, 0); offer(c, 0); }

static void broken_ring_stops_device_until_reset(void)
{
    static Lie *const lies[] = { lie_loop, lie_head, lie_next, lie_zero, lie_address, lie_mmio, lie_jump, lie_order,
                                 lie_indirect, lie_indirect_length, lie_short };

    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        Ctx c = blk_setup(1ULL << 28, "");

        lies[i](&c);
        g_assert_cmpuint(cr(&c, 0x14, 1) & 64, ==, 64);
        g_assert_cmpuint(used_idx(&c), ==, 0);
        start_driver(&c, 1ULL << 32);
        c.avail_idx = 0;
        bench_mem_write(c.b, AVAIL + 2, "\0", 2);
        start_queue(&c, 0, 0);
        cw(&c, 0x14, 1, 15);
        g_assert_cmpuint(blk_rw(&c, false, 0, 512), ==, 0);
        teardown(&c);
    }
}

static void queue_registers_are_frozen_while_enabled(void)
{
    Ctx c = blk_setup(0, "");

    cw(&c, 0x18, 2, 1024);
    cw(&c, 0x20, 4, 0xdeadbeef);
    g_assert_cmpuint(cr(&c, 0x18, 2), ==, QSIZE);
    g_assert_cmpuint(cr(&c, 0x20, 4), ==, DESC);
    g_assert_cmpuint(blk_rw(&c, false, 0, 512), ==, 0);
    teardown(&c);
}

static void packed_ring_completes_in_place(void)
{
    Ctx c = blk_setup(1ULL << 34, ",packed=on");
    uint8_t d[16], status = 0xee;

    header(&c, 0, 0);
    bench_mem_write(c.b, BUF + 0x100, &status, 1);
    desc(&c, DESC, 1, BUF + 0x1000, 512, 5, D_NEXT | D_WRITE | 0x80);   /* packed: id, then flags */
    desc(&c, DESC, 2, BUF + 0x100, 1, 5, D_WRITE | 0x80);
    desc(&c, DESC, 0, BUF, 16, 5, D_NEXT | 0x80);
    bench_st(c.b, c.bar + NOTIFY, 2, 0);
    for (int i = 0; i < 100; i++) {
        g_main_context_iteration(NULL, FALSE);
        g_usleep(1000);
    }
    bench_mem_read(c.b, DESC, d, 16);
    g_assert_cmphex(ld16_le(d + 14) & 0x8080, ==, 0x8080);
    g_assert_cmpuint(ld16_le(d + 12), ==, 5);
    g_assert_cmpuint(ld32_le(d + 8), ==, 513);
    teardown(&c);
}

/* What a driver may not do, and a state that can still be saved and loaded. */
static void ring_format_and_size_lies_are_refused_and_survive_a_load(void)
{
    Ctx c = blk_setup(0, ",packed=on");

    start_driver(&c, 1ULL << 32 | 1ULL << 34);
    cw(&c, 0x14, 1, 1 | 2);                                     /* FEATURES_OK taken back */
    cw(&c, 0x16, 2, 0);
    cw(&c, 0x18, 2, 5);                                         /* good for a packed ring only */
    cw(&c, 0x20, 4, DESC);
    cw(&c, 0x1c, 2, 1);
    g_assert_cmpuint(cr(&c, 0x1c, 2), ==, 1);
    cw(&c, 8, 4, 1);
    cw(&c, 12, 4, 1);                                           /* now split */
    g_assert_cmpuint(cr(&c, 0x14, 1) & 64, ==, 64);
    bench_roundtrip(c.b);
    start_driver(&c, 1ULL << 32);
    cw(&c, 0x16, 2, 0);
    cw(&c, 0x18, 2, 0xffff);
    bench_roundtrip(c.b);
    cw(&c, 0x1c, 2, 1);
    g_assert_cmpuint(cr(&c, 0x14, 1) & 64, ==, 64);
    teardown(&c);
}

static void net_sends_and_receives(void)
{
    NicBench *w = nicbench_new("virtio-net-pci", 4);
    Ctx c = { .b = w->b };
    uint8_t frame[100] = { 255, 255, 255, 255, 255, 255, 1 }, got[112], v[2];

    start_driver(&c, 1ULL << 32);
    start_queue(&c, 0, 0x4000);
    start_queue(&c, 1, 0);
    cw(&c, 0x14, 1, 15);
    bench_mem_write(c.b, BUF + 12, frame, sizeof frame);
    desc(&c, DESC, 0, BUF, 12 + sizeof frame, 0, 0);
    offer(&c, 0);
    bench_st(c.b, c.bar + NOTIFY + 4, 2, 1);
    g_assert_cmpuint(w->frames, ==, 1);
    g_assert_cmpmem(w->last, w->len, frame, sizeof frame);
    g_assert_true(net_send(w->port, frame, sizeof frame));         /* no buffer yet: waits in the port */
    desc(&c, DESC + 0x4000, 0, 0x50000, 2048, D_WRITE, 0);
    st16_le(v, 0);
    bench_mem_write(c.b, AVAIL + 0x4000 + 4, v, 2);
    st16_le(v, 1);
    bench_mem_write(c.b, AVAIL + 0x4000 + 2, v, 2);
    bench_st(c.b, c.bar + NOTIFY, 2, 0);
    bench_mem_read(c.b, 0x50000, got, sizeof got);
    g_assert_cmpmem(got + 12, sizeof frame, frame, sizeof frame);
    nicbench_free(w);
}

/* The driver is asked by a bit and an interrupt, and says that it saw them (virtio 1.2, 5.1.6.5.4). */
static void net_driver_is_asked_to_announce_itself(void)
{
    enum { F_STATUS = 1 << 16, F_CTRL_VQ = 1 << 17, F_ANNOUNCE = 1 << 21, S_ANNOUNCE = 2, RARP = 0x8035 };
    static const NetAnnouncePlan once = { .rounds = 1 };
    NicBench *w = nicbench_new("virtio-net-pci", 4);
    Ctx c = { .b = w->b };
    uint8_t cmd[2] = { 3, 0 }, ack = 0xff;

    start_driver(&c, 1ULL << 32 | F_STATUS);
    cw(&c, 0x14, 1, 15);
    g_assert_true(net_announce(w->port->peer, &once));
    g_assert_cmphex(ld16_be(w->last + 12), ==, RARP);
    g_assert_cmpuint(bench_ld(c.b, c.bar + CONFIG + 6, 2) & S_ANNOUNCE, ==, 0);         /* it does not know how */
    start_driver(&c, 1ULL << 32 | F_STATUS | F_CTRL_VQ | F_ANNOUNCE);
    start_queue(&c, 2, 0);
    cw(&c, 0x14, 1, 15);
    g_assert_true(net_announce(w->port->peer, &once));
    g_assert_cmpuint(w->frames, ==, 2);
    g_assert_cmpuint(bench_ld(c.b, c.bar + CONFIG + 6, 2) & S_ANNOUNCE, ==, S_ANNOUNCE);
    bench_mem_write(c.b, BUF, cmd, sizeof cmd);
    bench_mem_write(c.b, BUF + 16, &ack, 1);
    desc(&c, DESC, 0, BUF, sizeof cmd, D_NEXT, 1);
    desc(&c, DESC, 1, BUF + 16, 1, D_WRITE, 0);
    offer(&c, 0);
    bench_st(c.b, c.bar + NOTIFY + 8, 2, 2);
    bench_mem_read(c.b, BUF + 16, &ack, 1);
    g_assert_cmpuint(ack, ==, 0);
    g_assert_cmpuint(bench_ld(c.b, c.bar + CONFIG + 6, 2) & S_ANNOUNCE, ==, 0);
    nicbench_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/blk_write_then_read_returns_data", blk_write_then_read_returns_data);
    g_test_add_func("/virtio/blk_request_outside_disk_fails", blk_request_outside_disk_fails);
    g_test_add_func("/virtio/blk_indirect_works_and_state_survives", blk_indirect_works_and_state_survives);
    g_test_add_func("/virtio/broken_ring_stops_device_until_reset", broken_ring_stops_device_until_reset);
    g_test_add_func("/virtio/queue_registers_are_frozen_while_enabled", queue_registers_are_frozen_while_enabled);
    g_test_add_func("/virtio/packed_ring_completes_in_place", packed_ring_completes_in_place);
    g_test_add_func("/virtio/ring_format_and_size_lies_are_refused_and_survive_a_load", ring_format_and_size_lies_are_refused_and_survive_a_load);
    g_test_add_func("/virtio/net_sends_and_receives", net_sends_and_receives);
    g_test_add_func("/virtio/net_driver_is_asked_to_announce_itself", net_driver_is_asked_to_announce_itself);
    return g_test_run();
}
