/*
 * test-formats: random work against a model on vdi, vpc, vhdx and vmdk, and the two filters on crash safety.
 */
#include <string.h>
#include "block/vhdx_int.h"
#include "tests/block/imgutil.h"
#include "util/bytes.h"

static const struct { const char *format, *opts; } sets[] = {
    { "vdi", "" }, { "vdi", ",static=on" }, { "vpc", ",force_size=on" }, { "vpc", ",force_size=on,subformat=fixed" },
    { "vhdx", ",block_size=1M" }, { "vhdx", ",subformat=fixed" }, { "vmdk", "" }, { "vmdk", ",zeroed_grain=on" },
    { "vmdk", ",subformat=monolithicFlat" }, { "vmdk", ",subformat=twoGbMaxExtentSparse" }, { "raw", "" }, { "qcow2", ",cluster_size=4k" }, { "qcow2", ",extended_l2=on" },
};

static void random_work_matches_model(gconstpointer data)
{
    size_t k = GPOINTER_TO_SIZE(data);
    g_autofree char *opts = g_strdup_printf("size=9M%s", sets[k].opts), *spec = g_strdup_printf("driver=%s", sets[k].format);
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.vmdk", sets[k].format, opts);
    model_init(&m, 9 * MiB, k + 1);
    for (int round = 0; round < 4; round++) {
        BlockNode *n = image_open(&t, path, spec, BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH);
        for (int i = 0; i < 80; i++) {
            g_assert_cmpint(model_step(&m, n), ==, 0);
            if (i % 30 == 0)
                g_assert_cmpint(block_flush(n), ==, 0);
        }
        model_expect_same(&m, n);
        block_node_unref(n);
    }
    BlockNode *n = image_open(&t, path, spec, 0);
    model_expect_same(&m, n);
    block_node_unref(n);
    model_clear(&m);
    scratch_clear(&t);
}

static void vmdk_overlay_shows_its_parent(void)
{
    Scratch t;
    Model m;

    scratch_init(&t);
    g_autofree char *base = image_make(&t, "base.vmdk", "vmdk", "size=4M");
    model_init(&m, 4 * MiB, 3);
    BlockNode *n = image_open(&t, base, "driver=vmdk", BLOCK_RDWR | BLOCK_NO_FLUSH);
    for (int i = 0; i < 60; i++)
        model_step(&m, n);
    block_node_unref(n);
    g_autofree char *top = image_make(&t, "top.vmdk", "vmdk", "size=4M,backing_file=base.vmdk,backing_fmt=vmdk");
    n = image_open(&t, top, "driver=vmdk", BLOCK_RDWR | BLOCK_NO_FLUSH);
    model_expect_same(&m, n);
    for (int i = 0; i < 60; i++)
        g_assert_cmpint(model_step(&m, n), ==, 0);
    model_expect_same(&m, n);
    block_node_unref(n);
    model_clear(&m);
    scratch_clear(&t);
}

/* One whole log entry that restores the block table, and a torn one after it that must not count. */
static void put_log(uint8_t *log, uint64_t target, const uint8_t *sector, uint64_t file_len, uint64_t seq, bool torn)
{
    memcpy(log, "loge", 4);
    st32_le(log + 8, 8192);
    st32_le(log + 12, 0);               /* the tail: the first entry of the log */
    st64_le(log + 16, seq);
    st32_le(log + 24, 1);
    memset(log + 32, 0x5a, 16);
    st64_le(log + 48, file_len);
    st64_le(log + 56, file_len);
    memcpy(log + 64, "desc", 4);
    memcpy(log + 68, sector + 4092, 4);
    memcpy(log + 72, sector, 8);
    st64_le(log + 80, target);
    st64_le(log + 88, seq);
    memcpy(log + 4096, "data", 4);
    st32_le(log + 4100, seq >> 32);
    memcpy(log + 4104, sector + 8, 4084);
    st32_le(log + 8188, seq);
    st32_le(log + 4, vhdx_sum(log, 8192, 4));
    if (torn)
        log[5000] ^= 1;
}

static void vhdx_log_is_replayed(void)
{
    Scratch t;
    char *img, buf[4096], want[4096];
    gsize len;
    uint8_t zero[4096] = { 0 };

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.vhdx", "vhdx", "size=4M,block_size=1M");
    BlockNode *n = image_open(&t, path, "driver=vhdx", BLOCK_RDWR | BLOCK_NO_FLUSH);
    memset(want, 0x33, sizeof want);
    g_assert_cmpint(block_pwrite(n, MiB + 4096, want, sizeof want), ==, 0);
    block_node_unref(n);
    g_assert_true(g_file_get_contents(path, &img, &len, NULL));
    uint8_t *p = (uint8_t *)img, *bat = p + 3 * MiB;
    put_log(p + MiB, 3 * MiB, bat, len, 7, false);
    put_log(p + MiB + 8192, 3 * MiB, zero, len, 8, true);
    memset(bat, 0, 4096);
    for (int i = 1; i < 3; i++) {
        memset(p + i * 64 * KiB + 48, 0x5a, 16);
        st32_le(p + i * 64 * KiB + 4, vhdx_sum(p + i * 64 * KiB, 4096, 4));
    }
    g_assert_true(g_file_set_contents(path, img, len, NULL));
    g_autoptr(GHashTable) o = block_opts_parse("driver=vhdx", NULL, NULL);
    g_autoptr(GError) err = NULL;
    g_assert_null(block_open(t.g, path, o, 0, &err));
    g_assert_nonnull(strstr(err->message, "log"));
    n = image_open(&t, path, "driver=vhdx", BLOCK_RDWR | BLOCK_NO_FLUSH);
    g_assert_cmpint(block_pread(n, MiB + 4096, buf, sizeof buf), ==, 0);
    g_assert_cmpmem(buf, sizeof buf, want, sizeof want);
    block_node_unref(n);
    n = image_open(&t, path, "driver=vhdx", 0);         /* the log is forgotten now */
    g_assert_cmpint(block_pread(n, MiB + 4096, buf, sizeof buf), ==, 0);
    g_assert_cmpmem(buf, sizeof buf, want, sizeof want);
    block_node_unref(n);
    g_free(img);
    scratch_clear(&t);
}

/* Every byte of the first sectors set to odd values: openers refuse or work, and never die. */
static void damaged_headers_are_survived(gconstpointer data)
{
    size_t k = GPOINTER_TO_SIZE(data);
    g_autofree char *opts = g_strdup_printf("size=4M%s", sets[k].opts), *spec = g_strdup_printf("driver=%s", sets[k].format);
    static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    Scratch t;
    gsize len;
    char *img, buf[4096];
    GRand *r = g_rand_new_with_seed(k);
    int rounds = g_test_slow() ? 20000 : 250;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a.vmdk", sets[k].format, opts), *bad = scratch_path(&t, "bad.vmdk");
    g_assert_true(g_file_get_contents(path, &img, &len, NULL));
    len = MIN(len, 6 * MiB);
    for (int i = 0; i < rounds; i++) {
        g_autofree char *copy = g_memdup2(img, len);
        for (int hits = g_rand_int_range(r, 1, 5); hits; hits--) {
            uint32_t zone = g_rand_int_range(r, 0, 3) ? 512 : MIN(len, 300 * KiB);
            copy[g_rand_int_range(r, 0, MIN(zone, len))] = values[g_rand_int_range(r, 0, 5)];
        }
        g_assert_true(g_file_set_contents(bad, copy, g_rand_int_range(r, 0, 8) ? len : g_rand_int_range(r, 0, len), NULL));
        g_autoptr(GHashTable) o = block_opts_parse(spec, NULL, NULL);
        g_autoptr(GError) err = NULL;
        BlockNode *n = block_open(t.g, bad, o, BLOCK_RDWR | BLOCK_NO_LOCK | BLOCK_NO_FLUSH, &err);
        g_assert_true(!n == !!err);
        if (!n)
            continue;
        BlockCheck res = { 0 };
        (void)!block_pread(n, 0, buf, MIN(sizeof buf, block_node_size(n)));
        (void)!block_pwrite(n, block_node_size(n) / 2, buf, MIN(sizeof buf, block_node_size(n) / 4));
        if (block_can_check(n))
            (void)!block_check(n, 0, &res, NULL);
        block_node_close(n, NULL);
    }
    g_rand_free(r);
    g_free(img);
    scratch_clear(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        g_autofree char *a = g_strdup_printf("/formats/random_work_matches_model/%s%s", sets[i].format, sets[i].opts);
        g_autofree char *b = g_strdup_printf("/formats/damaged_headers_are_survived/%s%s", sets[i].format, sets[i].opts);
        g_test_add_data_func(a, GSIZE_TO_POINTER(i), random_work_matches_model);
        if (strcmp(sets[i].format, "raw"))
            g_test_add_data_func(b, GSIZE_TO_POINTER(i), damaged_headers_are_survived);
    }
    g_test_add_func("/formats/vhdx_log_is_replayed", vhdx_log_is_replayed);
    g_test_add_func("/formats/vmdk_overlay_shows_its_parent", vmdk_overlay_shows_its_parent);
    return g_test_run();
}
