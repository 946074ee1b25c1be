/*
 * imgutil: images in a scratch folder, and a model of what a guest wrote.
 */
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/block/imgutil.h"

void scratch_init(Scratch *t)
{
    const char *base = g_getenv("TMPDIR") ? g_getenv("TMPDIR") : g_access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm";

    t->dir = g_mkdtemp(g_build_filename(base, "quern-img-XXXXXX", NULL));
    g_assert_nonnull(t->dir);
    t->g = block_graph_new(NULL);
}

void scratch_clear(Scratch *t)
{
    GDir *d = g_dir_open(t->dir, 0, NULL);

    block_graph_free(t->g);
    for (const char *name; (name = g_dir_read_name(d)); ) {
        g_autofree char *path = scratch_path(t, name);
        g_assert_cmpint(g_unlink(path), ==, 0);
    }
    g_dir_close(d);
    g_assert_cmpint(g_rmdir(t->dir), ==, 0);
    g_free(t->dir);
}

char *scratch_path(Scratch *t, const char *name) { return g_build_filename(t->dir, name, NULL); }

char *image_make(Scratch *t, const char *name, const char *format, const char *spec)
{
    char *path = scratch_path(t, name);
    g_autoptr(GError) err = NULL;
    g_autoptr(GHashTable) o = block_opts_parse(spec, NULL, &err);

    block_create(t->g, path, format, o, NULL, &err);
    g_assert_no_error(err);
    return path;
}

BlockNode *image_open(Scratch *t, const char *path, const char *spec, unsigned flags)
{
    g_autoptr(GError) err = NULL;
    g_auto(GStrv) parts = g_strsplit(spec, "%s", -1);
    g_autofree char *text = g_strjoinv(path, parts);
    g_autoptr(GHashTable) o = block_opts_parse(text, NULL, &err);
    BlockNode *n = block_open(t->g, strstr(spec, "%s") ? NULL : path, o, flags, &err);

    g_assert_no_error(err);
    return n;
}

void image_check(BlockNode *n, BlockCheck *res)
{
    g_autoptr(GError) err = NULL;

    *res = (BlockCheck) { 0 };
    block_check(n, 0, res, &err);
    g_assert_no_error(err);
}

static void print_note(void *opaque, const char *text) { g_test_message("%s", text); }

void image_expect_clean(Scratch *t, const char *path, const char *spec)
{
    g_autoptr(GError) err = NULL;
    BlockNode *n = image_open(t, path, spec, 0);
    BlockCheck res = { .note = print_note };

    block_check(n, 0, &res, &err);
    g_assert_no_error(err);
    g_assert_cmpuint(res.corruptions, ==, 0);
    g_assert_cmpuint(res.leaks, ==, 0);
    block_node_unref(n);
}

void model_init(Model *m, uint64_t size, uint32_t seed)
{
    *m = (Model) { g_malloc0(size), size, g_rand_new_with_seed(seed), true };
}

void model_clear(Model *m)
{
    g_free(m->now);
    g_rand_free(m->rnd);
}

int model_step(Model *m, BlockNode *n)
{
    uint32_t kind = g_rand_int_range(m->rnd, 0, 100);
    uint64_t max = kind < 50 ? 8 : 400, len = 512ULL * g_rand_int_range(m->rnd, 1, max);
    uint64_t off = 512ULL * g_rand_int_range(m->rnd, 0, m->size / 512);
    int ret;

    len = MIN(len, m->size - off);
    if (kind < 80 || !m->discards) {
        g_autofree uint8_t *buf = g_malloc(len);
        memset(buf, g_rand_int_range(m->rnd, 1, 256), len);
        buf[0] = kind;
        buf[len - 1] = len >> 9;
        ret = block_pwrite(n, off, buf, len);
        if (!ret)
            memcpy(m->now + off, buf, len);
    } else if (kind < 95) {
        ret = block_pwrite_zeroes(n, off, len, kind & 1 ? BLOCK_MAY_UNMAP : 0);
        if (!ret)
            memset(m->now + off, 0, len);
    } else {
        ret = block_pdiscard(n, off, len);
        if (!ret && block_pread(n, off, m->now + off, len))     /* what a discard leaves is free */
            g_assert_not_reached();
    }
    return ret;
}

void model_expect_same(Model *m, BlockNode *n)
{
    g_autofree uint8_t *buf = g_malloc(m->size);

    g_assert_cmpuint(block_node_size(n), ==, m->size);
    g_assert_cmpint(block_pread(n, 0, buf, m->size), ==, 0);
    for (uint64_t i = 0; i < m->size; i++)
        if (buf[i] != m->now[i])
            g_error("byte %" G_GUINT64_FORMAT " is %02x, not %02x", i, buf[i], m->now[i]);
}
