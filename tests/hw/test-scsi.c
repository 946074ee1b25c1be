/* test-scsi: disk commands through the bus, without an adapter. */
#include "hw/scsi/scsi.h"
#include "tests/hw/bench.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

enum { DISK = 1 << 20 };

typedef struct Ctx {
    Bench *b;
    BlockGraph *g;
    char *path;
    ScsiDisk *d;
    ScsiReq r;
    uint8_t data[8192];
    struct iovec iov;
    bool done;
} Ctx;

static Ctx *setup(const char *cls)
{
    Ctx *c = g_new0(Ctx, 1);
    g_autofree char *spec = NULL;
    GHashTable *opts;
    BlockDev *dev;
    int fd = g_file_open_tmp("quern-scsi-XXXXXX", &c->path, NULL);

    c->b = bench_new(NULL, NULL);
    c->g = block_graph_new(NULL);
    g_assert_cmpint(ftruncate(fd, DISK), ==, 0);
    close(fd);
    spec = g_strdup_printf("file=%s,format=raw,if=none,id=d0", c->path);
    opts = block_opts_parse(spec, NULL, NULL);
    dev = block_drive_add(c->g, opts, NULL);
    g_hash_table_unref(opts);
    bench_backend(c->b, "drive", "d0", dev);
    bench_add(c->b, "virtio-scsi-pci", NULL);
    c->d = container_of(bench_add(c->b, cls, "drive=d0,serial=S1"), ScsiDisk, dev);
    return c;
}

static void teardown(Ctx *c)
{
    bench_free(c->b);
    block_graph_free(c->g);
    g_unlink(c->path);
    g_free(c->path);
    g_free(c);
}

static void on_done(ScsiReq *r) { ((Ctx *)r->opaque)->done = true; }
static bool is_done(void *opaque) { return ((Ctx *)opaque)->done; }

static uint8_t run(Ctx *c, const uint8_t *cdb, unsigned len, size_t data_len)
{
    memset(&c->r, 0, sizeof c->r);
    memcpy(c->r.cdb, cdb, len);
    c->iov = (struct iovec) { c->data, data_len };
    c->r.disk = c->d;
    c->r.data = &c->iov;
    c->r.ndata = data_len ? 1 : 0;
    c->r.data_len = data_len;
    c->r.done = on_done;
    c->r.opaque = c;
    c->done = false;
    scsi_submit(&c->r);
    CHECK(bench_wait(c->b, is_done, c));
    return c->r.status;
}

static void attention_is_reported_once(void)
{
    static const uint8_t ready[6] = { 0 };
    Ctx *c = setup("scsi-hd");

    g_assert_cmpuint(run(c, ready, 6, 0), ==, SCSI_CHECK_CONDITION);
    g_assert_cmpuint(c->r.sense[2], ==, 6);
    g_assert_cmpuint(run(c, ready, 6, 0), ==, SCSI_GOOD);
    teardown(c);
}

static void write_then_read_returns_data(void)
{
    static const uint8_t ready[6] = { 0 }, write[10] = { 0x2a, 0, 0, 0, 0, 5, 0, 0, 2 }, read[16] = { 0x88, [9] = 5, [13] = 2 };
    Ctx *c = setup("scsi-hd");

    run(c, ready, 6, 0);
    memset(c->data, 0x5a, 1024);
    g_assert_cmpuint(run(c, write, 10, 1024), ==, SCSI_GOOD);
    memset(c->data, 0, 1024);
    g_assert_cmpuint(run(c, read, 16, 1024), ==, SCSI_GOOD);
    g_assert_cmpuint(c->r.moved, ==, 1024);
    for (int i = 0; i < 1024; i++)
        g_assert_cmpuint(c->data[i], ==, 0x5a);
    teardown(c);
}

static void addresses_beyond_the_end_are_refused(void)
{
    static const uint8_t ready[6] = { 0 }, read[10] = { 0x28, 0, 0, 0, 8, 0, 0, 0, 1 };
    static const uint8_t huge[16] = { 0x8a, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 };
    Ctx *c = setup("scsi-hd");

    run(c, ready, 6, 0);
    g_assert_cmpuint(run(c, read, 10, 512), ==, SCSI_CHECK_CONDITION);
    g_assert_cmpuint(c->r.sense[12], ==, 0x21);
    g_assert_cmpuint(run(c, huge, 16, 512), ==, SCSI_CHECK_CONDITION);
    teardown(c);
}

static void replies_are_cut_to_the_allocation(void)
{
    static const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 5 }, serial[6] = { 0x12, 1, 0x80, 0, 255 };
    Ctx *c = setup("scsi-cd");

    memset(c->data, 0xee, 64);
    g_assert_cmpuint(run(c, inquiry, 6, 64), ==, SCSI_GOOD);
    g_assert_cmpuint(c->r.moved, ==, 5);
    g_assert_cmpuint(c->data[0], ==, 5);
    g_assert_cmpuint(c->data[5], ==, 0xee);
    g_assert_cmpuint(run(c, serial, 6, 64), ==, SCSI_GOOD);
    g_assert_cmpmem(c->data + 4, 2, "S1", 2);
    teardown(c);
}

static void random_commands_are_survived(void)
{
    static const char *const kinds[] = { "scsi-hd", "scsi-cd" };

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        Ctx *c = setup(kinds[k]);

        for (int i = 0; i < 5000; i++) {
            uint8_t cdb[16];

            for (size_t j = 0; j < sizeof cdb; j++)
                cdb[j] = g_test_rand_int_range(0, 4) ? 0 : g_test_rand_int();
            cdb[0] = g_test_rand_int();
            run(c, cdb, sizeof cdb, g_test_rand_int_range(0, 3) * 2048);
        }
        teardown(c);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/attention_is_reported_once", attention_is_reported_once);
    g_test_add_func("/scsi/write_then_read_returns_data", write_then_read_returns_data);
    g_test_add_func("/scsi/addresses_beyond_the_end_are_refused", addresses_beyond_the_end_are_refused);
    g_test_add_func("/scsi/replies_are_cut_to_the_allocation", replies_are_cut_to_the_allocation);
    g_test_add_func("/scsi/random_commands_are_survived", random_commands_are_survived);
    return g_test_run();
}
