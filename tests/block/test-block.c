/*
 * test-block: drives over raw files: options, requests, errors, drain, media change, locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/image.h"

typedef struct Fix { char *dir; BlockGraph *g; } Fix;

static void set_up(Fix *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("quern-block-XXXXXX", NULL);
    f->g = block_graph_new(NULL);
}

static void tear_down(Fix *f, gconstpointer data)
{
    g_autofree char *cmd = g_strdup_printf("rm -rf '%s'", f->dir);

    block_graph_free(f->g);
    g_assert_cmpint(system(cmd), ==, 0);
    g_free(f->dir);
}

static char *path_of(Fix *f, const char *name) { return g_build_filename(f->dir, name, NULL); }

static char *make_file(Fix *f, const char *name, size_t size)
{
    char *p = path_of(f, name);
    int fd = g_creat(p, 0600);

    g_assert_cmpint(ftruncate(fd, size), ==, 0);
    close(fd);
    return p;
}

static BlockDev *add(Fix *f, const char *spec, GError **err)
{
    g_autoptr(GHashTable) o = block_opts_parse(spec, "file", NULL);

    return block_drive_add(f->g, o, err);
}

typedef struct Wait { int ret, calls; } Wait;
static void done(void *opaque, int ret) { Wait *w = opaque; w->ret = ret; w->calls++; }

static void spin(Wait *w)
{
    while (!w->calls)
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpint(w->calls, ==, 1);
}

static void drive_write_then_read_returns_same(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 1 << 20);
    g_autofree char *spec = g_strdup_printf("file=%s,format=raw,id=d0", p);
    g_autoptr(GError) err = NULL;
    BlockDev *d = add(f, spec, &err);
    char w[8192], r[8192];
    struct iovec wi[3] = { { w, 100 }, { w + 100, 4000 }, { w + 4100, 4092 } }, ri = { r, sizeof r };
    Wait q = { 1, 0 }, q2 = { 1, 0 }, q3 = { 1, 0 };

    g_assert_no_error(err);
    for (size_t i = 0; i < sizeof w; i++)
        w[i] = i * 7;
    block_dev_writev(d, 4096 + 3, wi, 3, 0, done, &q);
    spin(&q);
    g_assert_cmpint(q.ret, ==, 0);
    block_dev_readv(d, 4096 + 3, &ri, 1, done, &q2);
    g_assert_cmpint(q2.calls, ==, 0);
    spin(&q2);
    g_assert_cmpmem(w, sizeof w, r, sizeof r);
    block_dev_flush(d, done, &q3);
    block_dev_drain(d);
    g_assert_cmpint(q3.calls, ==, 1);
    g_assert_cmpint(q3.ret, ==, 0);
    g_assert_cmpuint(block_dev_stats(d)->ops[BLOCK_STAT_WRITE], ==, 1);
    g_assert_cmpuint(block_dev_size(d), ==, 1 << 20);
}

static void drive_range_past_end_is_einval(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 1 << 20);
    g_autofree char *spec = g_strdup_printf("file=%s,format=raw", p);
    BlockDev *d = add(f, spec, NULL);
    char b[512];
    struct iovec io = { b, 512 };
    Wait q = { 0, 0 };

    block_dev_readv(d, (1 << 20) - 1, &io, 1, done, &q);
    spin(&q);
    g_assert_cmpint(q.ret, ==, -EINVAL);
    Wait q2 = { 0, 0 };
    block_dev_writev(d, UINT64_MAX - 100, &io, 1, 0, done, &q2);
    spin(&q2);
    g_assert_cmpint(q2.ret, ==, -EINVAL);
}

static void drive_without_medium_answers_enomedium(Fix *f, gconstpointer data)
{
    BlockDev *d = add(f, "if=ide,media=cdrom", NULL);
    char b[512];
    struct iovec io = { b, 512 };
    Wait q = { 0, 0 };
    g_autofree char *p = make_file(f, "cd.iso", 4096);
    g_autoptr(GError) err = NULL;

    g_assert_cmpstr(block_dev_name(d), ==, "ide0-cd0");
    block_dev_readv(d, 0, &io, 1, done, &q);
    spin(&q);
    g_assert_cmpint(q.ret, ==, -ENOMEDIUM);
    g_assert_true(block_dev_change_medium(d, p, NULL, &err));
    g_assert_true(block_dev_read_only(d));
    g_assert_cmpuint(block_dev_size(d), ==, 4096);
    g_assert_true(block_dev_eject(d, false, &err));
    g_assert_false(block_dev_has_medium(d));
}

static void drive_unknown_option_suggests(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 4096);
    g_autofree char *spec = g_strdup_printf("file=%s,fromat=raw", p);
    g_autoptr(GError) err = NULL;

    g_assert_null(add(f, spec, &err));
    g_assert_nonnull(strstr(err->message, "'format'"));
}

static void drive_second_writer_is_refused(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 4096);
    g_autofree char *spec = g_strdup_printf("file=%s,format=raw,id=one", p);
    g_autofree char *spec2 = g_strdup_printf("file=%s,format=raw,id=two", p);
    g_autoptr(GError) err = NULL;
    BlockDev *d = add(f, spec, &err), *e;

    g_assert_true(block_dev_attach(d, NULL, NULL, "disk", &err));
    e = add(f, spec2, &err);
    g_assert_null(e);
    g_assert_nonnull(strstr(err->message, "Failed to get \"write\" lock"));
}

static void blockdev_json_node_serves_a_device(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 65536);
    g_autofree char *spec = g_strdup_printf("{\"driver\":\"raw\",\"node-name\":\"n0\",\"read-only\":true,"
        "\"file\":{\"driver\":\"file\",\"filename\":\"%s\",\"node-name\":\"f0\"}}", p);
    g_autoptr(GError) err = NULL;
    g_autoptr(GHashTable) o = block_opts_parse(spec, NULL, &err);

    g_assert_no_error(err);
    g_assert_true(block_blockdev_add(f->g, o, &err));
    BlockDev *d = block_dev_find(f->g, "n0", &err);
    g_assert_no_error(err);
    g_assert_true(block_dev_read_only(d));
    g_assert_nonnull(block_node_find(f->g, "f0"));
    g_assert_false(block_blockdev_del(f->g, "n0", &err));
    g_clear_error(&err);
    block_dev_delete(d);
    g_assert_true(block_blockdev_del(f->g, "n0", &err));
}

static void hook(void *opaque, const BlockErrorInfo *info) { *(int *)opaque += info->stop ? 100 : 1; }

static void write_refused_by_probed_raw_reports_error(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 65536);
    BlockDev *d = add(f, p, NULL);
    char b[512] = { 'Q', 'F', 'I', (char)0xfb, 0, 0, 0, 3 };
    struct iovec io = { b, 512 };
    Wait q = { 0, 0 };
    int events = 0;

    block_graph_set_error_hook(f->g, hook, &events);
    block_dev_writev(d, 0, &io, 1, 0, done, &q);
    spin(&q);
    g_assert_cmpint(q.ret, ==, -EPERM);
    g_assert_cmpint(events, ==, 1);
}

static void quiesce_holds_requests_until_released(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 65536);
    BlockDev *d = add(f, p, NULL);
    Wait q = { 1, 0 };

    block_graph_quiesce(f->g);
    block_dev_flush(d, done, &q);
    block_dev_drain(d);
    g_assert_cmpint(q.calls, ==, 0);
    block_graph_unquiesce(f->g);
    block_dev_drain(d);
    g_assert_cmpint(q.calls, ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(fn) g_test_add("/block/" #fn, Fix, NULL, set_up, fn, tear_down)
    T(drive_write_then_read_returns_same);
    T(drive_range_past_end_is_einval);
    T(drive_without_medium_answers_enomedium);
    T(drive_unknown_option_suggests);
    T(drive_second_writer_is_refused);
    T(blockdev_json_node_serves_a_device);
    T(quiesce_holds_requests_until_released);
    T(write_refused_by_probed_raw_reports_error);
    return g_test_run();
}
