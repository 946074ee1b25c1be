/*
 * test-formats: random work against a model on vdi, vpc, vhdx and vmdk, and the two filters on crash safety.
 */
#include <string.h>
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
    g_test_add_func("/formats/vmdk_overlay_shows_its_parent", vmdk_overlay_shows_its_parent);
    return g_test_run();
}
