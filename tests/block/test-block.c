/*
 * test-block: drives over raw files: options, requests, errors, drain, media change, locks.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/filter.h"
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

/* Sixty-four requests of mixed size in flight on each engine. */
static void engines_move_the_same_bytes(Fix *f, gconstpointer data)
{
    static const char *const how[] = { "aio=threads", "aio=io_uring", "aio=io_uring,cache=none", "aio=native,cache=none" };

    for (size_t k = 0; k < G_N_ELEMENTS(how); k++) {
        g_autofree char *name = g_strdup_printf("e%zu", k), *p = make_file(f, name, 4 << 20);
        g_autofree char *spec = g_strdup_printf("file=%s,format=raw,id=e%zu,%s", p, k, how[k]);
        g_autoptr(GError) err = NULL;
        BlockDev *d = add(f, spec, &err);
        char *w, *r;
        Wait q[64], q2[64];

        g_assert_no_error(err);
        g_assert_cmpint(posix_memalign((void **)&w, 4096, 4 << 20), ==, 0);
        g_assert_cmpint(posix_memalign((void **)&r, 4096, 4 << 20), ==, 0);
        for (int i = 0; i < 4 << 20; i++)
            w[i] = i * 13 + i / 4096;
        for (int i = 0; i < 64; i++) {
            struct iovec io[2] = { { w + i * 65536, 4096 }, { w + i * 65536 + 4096, 61440 - (i % 3 ? 0 : 512) } };
            q[i] = (Wait) { 1, 0 };
            block_dev_writev(d, i * 65536, io, 2, 0, done, &q[i]);
        }
        block_dev_drain(d);
        for (int i = 0; i < 64; i++) {
            struct iovec io = { r + i * 65536, 65536 - (i % 3 ? 0 : 512) };
            q2[i] = (Wait) { 1, 0 };
            block_dev_readv(d, i * 65536, &io, 1, done, &q2[i]);
        }
        block_dev_drain(d);
        for (int i = 0; i < 64; i++) {
            g_assert_cmpint(q[i].ret | q2[i].ret, ==, 0);
            g_assert_cmpint(q[i].calls + q2[i].calls, ==, 2);
            g_assert_cmpint(memcmp(w + i * 65536, r + i * 65536, 65536 - (i % 3 ? 0 : 512)), ==, 0);
        }
        free(w);
        free(r);
    }
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

/* ENOSPC stops the machine; the request completes after resume, when there is room again. */
static void stop_policy_holds_until_resume(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 1 << 20);
    g_autofree char *spec = g_strdup_printf("driver=raw,id=d,file.driver=fault,file.file.filename=%s", p);
    g_autoptr(GError) err = NULL;
    BlockDev *d = add(f, spec, &err);
    FaultPlan plan = { .kinds = 1 << FILTER_WRITE, .at = 1, .errnum = ENOSPC, .sticky = true };
    char b[4096] = "x", c[4096] = "";
    struct iovec io = { b, sizeof b };
    Wait q = { 1, 0 };
    int events = 0;

    g_assert_no_error(err);
    block_graph_set_error_hook(f->g, hook, &events);
    block_fault_set(block_node_file(block_dev_node(d)), &plan);
    block_dev_writev(d, 8192, &io, 1, 0, done, &q);
    block_dev_drain(d);
    g_assert_cmpint(q.calls, ==, 0);
    g_assert_cmpint(events, ==, 100);
    g_assert_cmpuint(block_dev_in_flight(d), ==, 1);
    plan.at = 0;
    block_fault_set(block_node_file(block_dev_node(d)), &plan);
    block_graph_resume(f->g);
    block_dev_drain(d);
    g_assert_cmpint(q.calls, ==, 1);
    g_assert_cmpint(q.ret, ==, 0);
    g_assert_cmpint(block_dev_pread(d, 8192, c, sizeof c), ==, 0);
    g_assert_cmpmem(b, sizeof b, c, sizeof c);
}

static void snapshot_drive_throws_writes_away(Fix *f, gconstpointer data)
{
    g_autofree char *p = make_file(f, "a", 1 << 20);
    g_autofree char *spec = g_strdup_printf("file=%s,format=raw,id=d,snapshot=on", p);
    g_autoptr(GError) err = NULL;
    BlockDev *d = add(f, spec, &err);
    char b[512] = "new", c[512] = "", *all;
    gsize len;

    g_assert_no_error(err);
    g_assert_false(block_dev_read_only(d));
    g_assert_cmpint(block_dev_pwrite(d, 1024, b, sizeof b), ==, 0);
    g_assert_cmpint(block_dev_pread(d, 1024, c, sizeof c), ==, 0);
    g_assert_cmpstr(c, ==, "new");
    g_assert_cmpuint(block_dev_size(d), ==, 1 << 20);
    block_dev_delete(d);
    g_assert_true(g_file_get_contents(p, &all, &len, NULL));
    g_assert_cmpint(all[1024], ==, 0);
    g_free(all);
}

static void throttled_and_copy_on_read_drives_work(Fix *f, gconstpointer data)
{
    g_autofree char *top = path_of(f, "top");
    g_autoptr(GHashTable) o = block_opts_parse("size=1M,backing_file=base,backing_fmt=raw", NULL, NULL);
    g_autofree char *spec = g_strdup_printf("file=%s,format=qcow2,id=d,copy-on-read=on,throttling.iops-total=10000,bps=1G", top);
    g_autoptr(GError) err = NULL;
    BlockStatus st;
    char c[4096];

    g_free(make_file(f, "base", 1 << 20));
    g_assert_true(block_create(f->g, top, "qcow2", o, NULL, &err));
    BlockDev *d = add(f, spec, &err);
    g_assert_no_error(err);
    g_assert_cmpint(block_dev_pread(d, 0, c, sizeof c), ==, 0);
    BlockNode *n = block_node_file(block_node_file(block_dev_node(d)));
    g_assert_cmpint(block_status(n, 0, 4096, &st), ==, 0);
    g_assert_true(st.allocated);
    g_assert_cmpint(block_status(n, 512 << 10, 4096, &st), ==, 0);
    g_assert_false(st.allocated);
}

/* Reads answered at once and reads by workers agree, through an overlay on raw. */
static void overlay_reads_agree(Fix *f, gconstpointer data)
{
    g_autofree char *base = make_file(f, "base", 1 << 20), *top = path_of(f, "top");
    g_autoptr(GHashTable) o = block_opts_parse("size=2M,backing_file=base,backing_fmt=raw,cluster_size=4k", NULL, NULL);
    g_autofree char *spec = g_strdup_printf("file=%s,format=qcow2,id=d", top);
    g_autoptr(GError) err = NULL;
    g_autofree char *img = g_malloc(1 << 20);
    GRand *r = g_rand_new_with_seed(6);

    for (int i = 0; i < 1 << 20; i++)
        img[i] = g_rand_int(r);
    g_assert_true(g_file_set_contents(base, img, 1 << 20, NULL));
    g_assert_true(block_create(f->g, top, "qcow2", o, NULL, &err));
    BlockDev *d = add(f, spec, &err);
    g_assert_no_error(err);
    for (int i = 0; i < 60; i++)
        g_assert_cmpint(block_dev_pwrite(d, g_rand_int_range(r, 0, 4000) * 512, img + i * 999, 3000), ==, 0);
    for (int i = 0; i < 500; i++) {
        uint64_t off = g_rand_int_range(r, 0, (2 << 20) - 40000);
        char a[40000], b[40000];
        size_t len = g_rand_int_range(r, 1, sizeof a);
        struct iovec io[2] = { { a, len / 3 }, { a + len / 3, len - len / 3 } };
        Wait q = { 1, 0 };
        block_dev_readv(d, off, io, 2, done, &q);
        block_dev_drain(d);
        g_assert_cmpint(q.ret, ==, 0);
        g_assert_cmpint(block_dev_pread(d, off, b, len), ==, 0);
        g_assert_cmpmem(a, len, b, len);
    }
    g_rand_free(r);
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
    T(overlay_reads_agree);
    T(engines_move_the_same_bytes);
    T(stop_policy_holds_until_resume);
    T(snapshot_drive_throws_writes_away);
    T(throttled_and_copy_on_read_drives_work);
    T(drive_without_medium_answers_enomedium);
    T(drive_unknown_option_suggests);
    T(drive_second_writer_is_refused);
    T(blockdev_json_node_serves_a_device);
    T(quiesce_holds_requests_until_released);
    T(write_refused_by_probed_raw_reports_error);
    return g_test_run();
}
