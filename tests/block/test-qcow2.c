/*
 * test-qcow2: random work against a model on every option, snapshots, resize, repair.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
#include "tests/block/imgutil.h"
#include "util/bytes.h"

static const char *const option_sets[] = {
    "cluster_size=65536", "cluster_size=4096", "cluster_size=512", "cluster_size=2M",
    "cluster_size=16k,extended_l2=on", "cluster_size=64k,extended_l2=on", "lazy_refcounts=on,cluster_size=4k",
    "refcount_bits=1,cluster_size=4k", "refcount_bits=2,cluster_size=1k", "refcount_bits=8", "refcount_bits=32",
    "refcount_bits=64,cluster_size=512", "compat=0.10,cluster_size=4k", "cluster_size=4k,data_file=d.raw",
    "cluster_size=64k,data_file=d.raw,data_file_raw=on", "cluster_size=4k,preallocation=metadata",
};

static void random_work_matches_model(gconstpointer data)
{
    const char *opts = data;
    g_autofree char *spec = g_strdup_printf("size=6M,%s", opts);
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", spec);
    model_init(&m, 6 * MiB, g_str_hash(opts));
    for (int round = 0; round < 4; round++) {
        BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
        for (int i = 0; i < 150; i++) {
            g_assert_cmpint(model_step(&m, n), ==, 0);
            if (i % 40 == 0)
                g_assert_cmpint(block_flush(n), ==, 0);
        }
        model_expect_same(&m, n);
        block_node_unref(n);
        image_expect_clean(&t, path, "driver=qcow2");
    }
    model_clear(&m);
    scratch_clear(&t);
}

static void backing_shows_through_and_cow_keeps_it(void)
{
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *base = image_make(&t, "base.qcow2", "qcow2", "size=3M,cluster_size=4k");
    g_autofree char *top = image_make(&t, "top.qcow2", "qcow2", "size=5M,backing_file=base.qcow2,backing_fmt=qcow2,extended_l2=on");
    model_init(&m, 3 * MiB, 1);
    BlockNode *n = image_open(&t, base, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    for (int i = 0; i < 60; i++)
        model_step(&m, n);
    block_node_unref(n);
    m.now = g_realloc(m.now, 5 * MiB);
    memset(m.now + 3 * MiB, 0, 2 * MiB);
    m.size = 5 * MiB;
    n = image_open(&t, top, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    model_expect_same(&m, n);
    for (int i = 0; i < 200; i++)
        g_assert_cmpint(model_step(&m, n), ==, 0);
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, top, "driver=qcow2");
    model_clear(&m);
    scratch_clear(&t);
}

static void snapshots_keep_and_restore(gconstpointer data)
{
    g_autofree char *spec = g_strdup_printf("size=2M,%s", (const char *)data);
    g_autoptr(GError) err = NULL;
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", spec);
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    model_init(&m, 2 * MiB, 5);
    uint8_t *kept[4];
    for (int k = 0; k < 4; k++) {
        g_autofree char *name = g_strdup_printf("s%d", k);
        for (int i = 0; i < 25; i++)
            g_assert_cmpint(model_step(&m, n), ==, 0);
        kept[k] = g_memdup2(m.now, m.size);
        g_assert_true(block_snapshot_create(n, name, &err));
    }
    for (int i = 0; i < 25; i++)
        model_step(&m, n);
    model_expect_same(&m, n);
    g_assert_true(block_snapshot_delete(n, "s1", &err));
    g_assert_true(block_snapshot_apply(n, "s2", &err));
    memcpy(m.now, kept[2], m.size);
    model_expect_same(&m, n);
    for (int i = 0; i < 25; i++)
        model_step(&m, n);
    g_assert_true(block_snapshot_apply(n, "s0", &err));
    memcpy(m.now, kept[0], m.size);
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    for (int k = 0; k < 4; k += k == 0 ? 2 : 1) {
        g_autofree char *name = g_strdup_printf("s%d", k);
        g_assert_true(block_snapshot_delete(n, name, &err));
    }
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    for (int k = 0; k < 4; k++)
        g_free(kept[k]);
    model_clear(&m);
    scratch_clear(&t);
}

static void compressed_clusters_read_back(gconstpointer data)
{
    g_autofree char *spec = g_strdup_printf("size=4M,%s", (const char *)data);
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", spec);
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    model_init(&m, 4 * MiB, 9);
    for (uint64_t i = 0; i < m.size; i++)
        m.now[i] = i % 70000 < 30000 ? g_rand_int(m.rnd) : i >> 12;
    for (uint64_t o = 0; o < m.size; o += 256 * KiB)
        g_assert_cmpint(block_pwrite_flags(n, o, m.now + o, 256 * KiB, BLOCK_COMPRESSED), ==, 0);
    model_expect_same(&m, n);
    for (int i = 0; i < 100; i++)
        g_assert_cmpint(model_step(&m, n), ==, 0);
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    model_clear(&m);
    scratch_clear(&t);
}

static void resize_both_ways(void)
{
    Scratch t;
    Model m;
    g_autoptr(GError) err = NULL;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=1M,cluster_size=512");
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    model_init(&m, 1 * MiB, 3);
    for (int i = 0; i < 40; i++)
        model_step(&m, n);
    g_assert_true(block_truncate(n, 5 * MiB, NULL, &err));
    m.now = g_realloc(m.now, 5 * MiB);
    memset(m.now + MiB, 0, 4 * MiB);
    m.size = 5 * MiB;
    model_expect_same(&m, n);
    for (int i = 0; i < 100; i++)
        model_step(&m, n);
    m.size = 3 * MiB + 512;
    g_assert_true(block_truncate(n, m.size, NULL, &err));
    g_assert_true(block_truncate(n, 4 * MiB, NULL, &err));
    memset(m.now + m.size, 0, 4 * MiB - m.size);
    m.size = 4 * MiB;
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    model_clear(&m);
    scratch_clear(&t);
}

static void amend_refcount_width_and_version(void)
{
    Scratch t;
    Model m;
    g_autoptr(GError) err = NULL;
    static const char *const steps[] = { "refcount_bits=64", "refcount_bits=1", "refcount_bits=16", "compat=0.10",
                                         "compat=1.1", "lazy_refcounts=on", "size=8M" };

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=4M,cluster_size=4k");
    model_init(&m, 4 * MiB, 4);
    for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
        g_autoptr(GHashTable) o = block_opts_parse(steps[k], NULL, NULL);
        BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
        for (int i = 0; i < 30; i++)
            model_step(&m, n);
        block_amend(n, o, false, &err);
        g_assert_no_error(err);
        if (k + 1 < ARRAY_LEN(steps))
            model_expect_same(&m, n);
        block_node_unref(n);
        BlockNode *c = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
        BlockCheck fix = { 0 };
        g_assert_true(block_check(c, BLOCK_FIX_LEAKS, &fix, &err));
        g_assert_cmpuint(fix.corruptions, ==, 0);
        block_node_unref(c);
        image_expect_clean(&t, path, "driver=qcow2");
    }
    model_clear(&m);
    scratch_clear(&t);
}

/* Zeroes the refcount table pointerwise and raises a leak: repair brings all back. */
static void check_repairs_lost_refcounts(void)
{
    Scratch t;
    Model m;
    g_autoptr(GError) err = NULL;
    uint8_t junk[4096];

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=4M,cluster_size=4k");
    model_init(&m, 4 * MiB, 8);
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    for (int i = 0; i < 60; i++)
        model_step(&m, n);
    block_node_unref(n);
    for (int kind = 0; kind < 2; kind++) {
        int fd = open(path, O_RDWR);
        memset(junk, kind ? 0x5a : 0, sizeof junk);
        g_assert_cmpint(pwrite(fd, junk, sizeof junk, 4096 * (kind + 1)), ==, sizeof junk);     /* table, then block */
        close(fd);
        n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_CHECK);
        BlockCheck res = { 0 };
        block_check(n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &res, &err);
        g_assert_no_error(err);
        g_assert_cmpuint(res.corruptions, ==, 0);
        model_expect_same(&m, n);
        block_node_unref(n);
        image_expect_clean(&t, path, "driver=qcow2");
    }
    model_clear(&m);
    scratch_clear(&t);
}

typedef struct Worker { BlockNode *n; int id; gint *bad; } Worker;

/* Each thread owns every eighth 4 KiB block, so neighbours share clusters. */
static void *hammer(void *opaque)
{
    Worker *w = opaque;
    uint8_t buf[4096], back[4096];
    GRand *r = g_rand_new_with_seed(w->id);
    uint8_t last[512] = { 0 };

    for (int i = 0; i < 600; i++) {
        int slot = g_rand_int_range(r, 0, 512);
        uint64_t off = (slot * 8ULL + w->id) * 4096;
        memset(buf, i, sizeof buf);
        if (i % 3) {
            if (block_pwrite(w->n, off, buf, 4096))
                g_atomic_int_inc(w->bad);
            last[slot] = i;
        } else {
            memset(buf, last[slot], sizeof buf);
            if (block_pread(w->n, off, back, 4096) || memcmp(buf, back, 4096))
                g_atomic_int_inc(w->bad);
        }
        if (i % 64 == 0 && block_flush(w->n))
            g_atomic_int_inc(w->bad);
    }
    g_rand_free(r);
    return NULL;
}

static void eight_threads_share_clusters(void)
{
    Scratch t;
    gint bad = 0;
    GThread *th[8];
    Worker w[8];

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=16M");
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
    for (int i = 0; i < 8; i++) {
        w[i] = (Worker) { n, i, &bad };
        th[i] = g_thread_new("hammer", hammer, &w[i]);
    }
    for (int i = 0; i < 8; i++)
        g_thread_join(th[i]);
    g_assert_cmpint(bad, ==, 0);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    scratch_clear(&t);
}

/* Found by fuzzing: without a block for the first region the header itself would become one. */
static void missing_first_refcount_block_refuses_writes(void)
{
    Scratch t;
    char buf[4096] = "x", zero[8] = "";

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=4M,cluster_size=4k");
    int fd = open(path, O_RDWR);
    g_assert_cmpint(pwrite(fd, zero, 8, 4096), ==, 8);
    close(fd);
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_NO_FLUSH);
    g_assert_cmpint(block_pwrite(n, 0, buf, sizeof buf), ==, -EIO);
    block_node_close(n, NULL);
    BlockCheck fix = { 0 };
    n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_CHECK | BLOCK_NO_FLUSH);
    g_assert_true(block_check(n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &fix, NULL));
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    scratch_clear(&t);
}

static void refcount_table_grows(void)
{
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.qcow2", "qcow2", "size=8M,cluster_size=512,refcount_bits=64");
    BlockNode *n = image_open(&t, path, "driver=qcow2", BLOCK_RDWR | BLOCK_NO_FLUSH);
    model_init(&m, 8 * MiB, 2);
    memset(m.now, 0x77, m.size);
    g_assert_cmpint(block_pwrite(n, 0, m.now, m.size), ==, 0);
    model_expect_same(&m, n);
    block_node_unref(n);
    image_expect_clean(&t, path, "driver=qcow2");
    model_clear(&m);
    scratch_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < ARRAY_LEN(option_sets); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/random_work_matches_model/%s", option_sets[i]);
        g_test_add_data_func(name, option_sets[i], random_work_matches_model);
    }
    g_test_add_func("/qcow2/backing_shows_through_and_cow_keeps_it", backing_shows_through_and_cow_keeps_it);
    g_test_add_data_func("/qcow2/snapshots_keep_and_restore/64k", "cluster_size=64k", snapshots_keep_and_restore);
    g_test_add_data_func("/qcow2/snapshots_keep_and_restore/512", "cluster_size=512", snapshots_keep_and_restore);
    g_test_add_data_func("/qcow2/snapshots_keep_and_restore/ext", "cluster_size=16k,extended_l2=on", snapshots_keep_and_restore);
    g_test_add_data_func("/qcow2/compressed_clusters_read_back/zlib", "cluster_size=64k", compressed_clusters_read_back);
    g_test_add_data_func("/qcow2/compressed_clusters_read_back/zstd", "compression_type=zstd,cluster_size=4k", compressed_clusters_read_back);
    g_test_add_data_func("/qcow2/compressed_clusters_read_back/2M", "cluster_size=256k,refcount_bits=1", compressed_clusters_read_back);
    g_test_add_func("/qcow2/resize_both_ways", resize_both_ways);
    g_test_add_func("/qcow2/amend_refcount_width_and_version", amend_refcount_width_and_version);
    g_test_add_func("/qcow2/check_repairs_lost_refcounts", check_repairs_lost_refcounts);
    g_test_add_func("/qcow2/eight_threads_share_clusters", eight_threads_share_clusters);
    g_test_add_func("/qcow2/missing_first_refcount_block_refuses_writes", missing_first_refcount_block_refuses_writes);
    g_test_add_func("/qcow2/refcount_table_grows", refcount_table_grows);
    return g_test_run();
}
