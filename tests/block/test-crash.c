/*
 * test-crash: power cuts replayed from recorded writes, and one failing request at every place.
 *
 * After each the image must check without corruption, and every sector that was not touched
 * since the last successful flush must read as it did then.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/block/imgutil.h"
#include "util/bytes.h"

/* snaps: the work makes and deletes snapshots; hard: no dirty bit tells that marks are at odds (docs/block.md). */
static const struct Set { const char *format, *opts; unsigned mib; bool snaps, hard; } sets[] = {
    { "qcow2", "cluster_size=4k", 2, true }, { "qcow2", "cluster_size=512,refcount_bits=64", 2, true },
    { "qcow2", "cluster_size=64k", 2, true }, { "qcow2", "cluster_size=16k,extended_l2=on", 2, true },
    { "qcow2", "cluster_size=4k,lazy_refcounts=on,refcount_bits=1", 2 },
    { "qcow2", "cluster_size=4k,compat=0.10", 2, true, true },
    { "vdi", "static=off", 4 }, { "vpc", "subformat=dynamic,force_size=on", 6 }, { "vpc", "subformat=fixed,force_size=on", 2 },
    { "vhdx", "block_size=1M", 4 }, { "vmdk", "subformat=monolithicSparse", 4 }, { "raw", "preallocation=off", 2 },
};

/* What must hold at some moment: the content at the last flush and what changed since. */
typedef struct Promise { uint8_t *data; uint8_t *touched; } Promise;

static Promise promise_of(const Model *m, const uint8_t *touched)
{
    return (Promise) { g_memdup2(m->now, m->size), g_memdup2(touched, m->size / 512) };
}

static void promise_clear(Promise *p) { g_free(p->data); g_free(p->touched); }

/* Marks at odds with counts endanger nothing and settle by themselves; all else is corruption. */
static void note_bad(void *opaque, const char *text)
{
    if (g_str_has_prefix(text, "ERROR") && !strstr(text, "OFLAG_COPIED"))
        g_error("%s", text);
}

static void expect_promise(Scratch *t, const char *path, const struct Set *set, const Promise *p, const char *what)
{
    size_t disk = set->mib * (size_t)MiB;
    g_autofree char *spec = g_strdup_printf("driver=%s", set->format);
    g_autofree uint8_t *buf = g_malloc(disk);
    g_autoptr(GError) err = NULL;
    BlockNode *n = image_open(t, path, spec, BLOCK_NO_LOCK);
    BlockCheck res = { .note = note_bad };

    if (block_can_check(n)) {
        block_check(n, 0, &res, &err);
        g_assert_no_error(err);
        if (res.corruptions) {
            BlockCheck fix = { 0 }, again = { .note = note_bad };
            block_node_unref(n);
            n = image_open(t, path, spec, BLOCK_RDWR | BLOCK_NO_LOCK | BLOCK_NO_FLUSH);  /* a dirty image heals here */
            block_check(n, set->hard ? BLOCK_FIX_ERRORS : 0, &fix, &err);
            block_check(n, 0, &again, &err);
            g_assert_no_error(err);
            if (again.corruptions)
                g_error("%s: %" G_GUINT64_FORMAT " corruptions do not heal", what, again.corruptions);
        }
    }
    g_assert_cmpint(block_pread(n, 0, buf, disk), ==, 0);
    for (size_t s = 0; s < disk / 512; s++)
        if (!p->touched[s] && memcmp(buf + s * 512, p->data + s * 512, 512))
            g_error("%s: flushed sector %zu lost", what, s);
    block_node_unref(n);
}

/* One model step that notes which sectors it may have changed. */
static int step_noting(Model *m, BlockNode *n, uint8_t *touched, uint8_t *unsure)
{
    GRand *copy = g_rand_copy(m->rnd);
    uint32_t kind = g_rand_int_range(copy, 0, 100);
    uint64_t len = 512ULL * g_rand_int_range(copy, 1, kind < 50 ? 8 : 400);
    uint64_t off = 512ULL * g_rand_int_range(copy, 0, m->size / 512);

    g_rand_free(copy);
    len = MIN(len, m->size - off);
    memset(touched + off / 512, 1, len / 512);
    int ret = model_step(m, n);
    if (unsure)         /* what a failed write left behind is old or new until the next write */
        memset(unsure + off / 512, ret != 0, len / 512);
    return ret;
}

/* ---- recorder ---- */
typedef struct Disk { uint8_t *bytes; size_t len, cap; } Disk;

static void disk_write(Disk *d, uint64_t off, const uint8_t *p, size_t len)
{
    if (off + len > d->cap) {
        d->bytes = g_realloc(d->bytes, off + len + MiB);
        memset(d->bytes + d->cap, 0, off + len + MiB - d->cap);
        d->cap = off + len + MiB;
    }
    if (p)
        memcpy(d->bytes + off, p, len);
    else
        memset(d->bytes + off, 0, len);
    d->len = MAX(d->len, off + len);
}

static void disk_apply(Disk *d, const RecordEntry *e, GRand *tear)
{
    uint64_t lo = 0, hi = e->bytes;

    if (tear && e->bytes > 512 && g_rand_boolean(tear)) {       /* only some sectors made it */
        lo = 512ULL * g_rand_int_range(tear, 0, e->bytes / 512);
        hi = lo + 512 < e->bytes ? lo + 512ULL * g_rand_int_range(tear, 0, (e->bytes - lo) / 512) : e->bytes;
        if (g_rand_boolean(tear))
            lo = 0;
    }
    if (e->op == FILTER_WRITE && hi > lo)
        disk_write(d, e->off + lo, e->data + lo, hi - lo);
    else if (e->op == FILTER_ZERO || (e->op == FILTER_DISCARD && e->off < d->len))
        disk_write(d, e->off, NULL, e->op == FILTER_ZERO ? e->bytes : MIN(e->bytes, d->len - e->off));
    else if (e->op == FILTER_TRUNCATE && e->off > d->len)
        disk_write(d, e->off - 1, NULL, 1);
}

static void power_cut_keeps_flushed_data(gconstpointer data)
{
    const struct Set *set = &sets[GPOINTER_TO_SIZE(data)];
    size_t disk = set->mib * (size_t)MiB, sectors = disk / 512;
    g_autofree char *spec = g_strdup_printf("size=%zu,%s", disk, set->opts);
    g_autofree char *ospec = g_strdup_printf("driver=%s,file.driver=record,file.file.driver=file,file.file.filename=%%s", set->format);
    bool qcow2 = g_str_equal(set->format, "qcow2");
    int ops = g_test_slow() ? 300 : 60, cuts = g_test_slow() ? (qcow2 ? 4000 : 800) : qcow2 ? 150 : 40;
    g_autofree uint8_t *touched = g_malloc0(sectors);
    GArray *promises = g_array_new(FALSE, FALSE, sizeof(Promise));
    Scratch t;
    Model m;
    Disk start = { 0 };

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a", set->format, spec), *cut = scratch_path(&t, "cut");
    g_assert_true(g_file_get_contents(path, (char **)&start.bytes, &start.len, NULL));
    start.cap = start.len;
    model_init(&m, disk, 100 + GPOINTER_TO_SIZE(data));
    BlockNode *n = image_open(&t, path, ospec, BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH), *rec = block_node_file(n);
    Promise p0 = promise_of(&m, touched);
    g_array_append_val(promises, p0);
    for (int i = 0; i < ops; i++) {
        if (set->snaps && i % 50 == 30 && i < 200) {
            g_autofree char *name = g_strdup_printf("s%d", i);
            g_assert_true(block_snapshot_create(n, name, NULL));
        } else if (set->snaps && i % 50 == 45 && i < 200) {
            g_autofree char *name = g_strdup_printf("s%d", i - 15);
            g_assert_true(block_snapshot_delete(n, name, NULL));
        }
        g_assert_cmpint(step_noting(&m, n, touched, NULL), ==, 0);
        if (i % 7 == 6) {
            g_assert_cmpint(block_flush(n), ==, 0);
            memset(touched, 0, sectors);
        }
        Promise p = promise_of(&m, touched);
        g_array_append_val(promises, p);
        block_record_mark(rec, promises->len - 1);
    }
    GPtrArray *log = block_record_log(rec);
    GRand *r = g_rand_new_with_seed(GPOINTER_TO_SIZE(data));
    for (int c = 0; c < cuts; c++) {
        guint end = g_rand_int_range(r, 0, log->len + 1), flush = 0, mark = 0, next = promises->len - 1;
        Disk d = { g_memdup2(start.bytes, start.len), start.len, start.len };
        for (guint i = 0; i < end; i++) {
            RecordEntry *e = g_ptr_array_index(log, i);
            if (e->op == FILTER_FLUSH)
                flush = i;
            if (e->op == FILTER_READ)
                mark = e->off;
        }
        next = MIN(mark + 1, promises->len - 1);        /* the operation under way counts as touched */
        for (guint i = 0; i < end; i++) {
            RecordEntry *e = g_ptr_array_index(log, i);
            bool sure = i < flush || c % 3 == 0;        /* a third: exact prefixes */
            if (sure || g_rand_boolean(r))
                disk_apply(&d, e, sure ? NULL : r);
        }
        g_assert_true(g_file_set_contents(cut, (char *)d.bytes, d.len, NULL));
        /* Sectors touched by the operation under way are free; flushed ones as of the last mark. */
        Promise *a = &g_array_index(promises, Promise, mark), *b = &g_array_index(promises, Promise, next);
        Promise both = { a->data, g_memdup2(a->touched, sectors) };
        for (size_t s = 0; s < sectors; s++)
            both.touched[s] |= b->touched[s] | (memcmp(a->data + 512 * s, b->data + 512 * s, 512) != 0);
        g_autofree char *what = g_strdup_printf("%s %s cut %d at %u of %u", set->format, set->opts, c, end, log->len);
        if (getenv("CRASH_LOG")) {
            fprintf(stderr, "-- %s flush %u\n", what, flush);
            for (guint i = flush > 12 ? flush - 12 : 0; i < end; i++) {
                RecordEntry *e = g_ptr_array_index(log, i);
                fprintf(stderr, "%u op %d off %#lx len %#lx\n", i, e->op, (long)e->off, (long)e->bytes);
            }
        }
        expect_promise(&t, cut, set, &both, what);
        g_free(both.touched);
        g_free(d.bytes);
    }
    g_rand_free(r);
    block_node_unref(n);
    for (guint i = 0; i < promises->len; i++)
        promise_clear(&g_array_index(promises, Promise, i));
    g_array_free(promises, TRUE);
    g_free(start.bytes);
    model_clear(&m);
    scratch_clear(&t);
}

/* ---- faults ---- */
typedef struct Kind { unsigned kinds; int errnum; bool sticky, torn; } Kind;

/* Returns false when position at was past the end of the work. */
static bool fault_at(const struct Set *set, const Kind *k, uint64_t at)
{
    size_t disk = set->mib * (size_t)MiB, sectors = disk / 512;
    g_autofree char *spec = g_strdup_printf("size=%zu,%s", disk, set->opts);
    g_autofree char *ospec = g_strdup_printf("driver=%s,file.driver=fault,file.file.driver=file,file.file.filename=%%s", set->format);
    g_autofree uint8_t *touched = g_malloc0(sectors), *flushed = g_malloc0(disk), *unsure = g_malloc0(sectors);
    FaultPlan plan = { k->kinds, at, k->errnum, k->sticky, k->torn, 0 };
    Scratch t;
    Model m;
    bool reached;

    scratch_init(&t);
    g_autofree char *path = image_make(&t, "a", set->format, spec);
    model_init(&m, disk, 77);
    BlockNode *n = image_open(&t, path, ospec, BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH), *f = block_node_file(n);
    block_fault_set(f, &plan);
    for (int i = 0; i < 24; i++) {
        if (i == 9 && set->snaps)
            (void)!block_snapshot_create(n, "one", NULL);
        if (i == 18 && set->snaps)
            (void)!block_snapshot_delete(n, "one", NULL);
        step_noting(&m, n, touched, unsure);
        if (i % 4 == 3 && block_flush(n) == 0) {
            memcpy(flushed, m.now, disk);
            memcpy(touched, unsure, sectors);
        }
    }
    reached = block_fault_count(f) >= at;
    block_node_close(n, NULL);
    Promise p = { flushed, touched };
    g_autofree char *what = g_strdup_printf("%s %s kinds %u errno %d%s%s at %d", set->format, set->opts, k->kinds, k->errnum,
                                              k->sticky ? " sticky" : "", k->torn ? " torn" : "", (int)at);
    expect_promise(&t, path, set, &p, what);
    model_clear(&m);
    scratch_clear(&t);
    return reached;
}

static void one_failing_request_never_corrupts(gconstpointer data)
{
    static const Kind kinds[] = {
        { 1 << FILTER_WRITE, EIO, false, false }, { 1 << FILTER_WRITE, ENOSPC, true, false },
        { 1 << FILTER_WRITE, EIO, false, true }, { 1 << FILTER_FLUSH, EIO, false, false },
        { 1 << FILTER_FLUSH, EIO, true, false }, { 1 << FILTER_WRITE, EDQUOT, true, true },
        { 1 << FILTER_ZERO, EIO, false, false }, { 1 << FILTER_ZERO, ENOSPC, true, false },
        { 1 << FILTER_DISCARD, EIO, false, false }, { 1 << FILTER_DISCARD, EIO, true, false },
        { 1 << FILTER_TRUNCATE, EIO, false, false }, { 1 << FILTER_TRUNCATE, ENOSPC, true, false },
        { 1 << FILTER_WRITE | 1 << FILTER_ZERO | 1 << FILTER_FLUSH | 1 << FILTER_TRUNCATE, EIO, true, true },
    };
    const struct Set *set = &sets[GPOINTER_TO_SIZE(data)];
    int stride = g_test_slow() ? 1 : 4;

    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        for (uint64_t at = 1 + k % stride; fault_at(set, &kinds[k], at); at += stride)
            ;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    for (size_t i = 0; i < ARRAY_LEN(sets); i++) {
        g_autofree char *a = g_strdup_printf("/crash/power_cut_keeps_flushed_data/%s/%s", sets[i].format, sets[i].opts);
        g_autofree char *b = g_strdup_printf("/crash/one_failing_request_never_corrupts/%s/%s", sets[i].format, sets[i].opts);
        g_test_add_data_func(a, GSIZE_TO_POINTER(i), power_cut_keeps_flushed_data);
        g_test_add_data_func(b, GSIZE_TO_POINTER(i), one_failing_request_never_corrupts);
    }
    return g_test_run();
}
