/*
 * qcow2_cache: cached tables, and the one place that writes metadata in a safe order.
 *
 * A flush copies everything dirty at one moment, under the lock, and writes the copy without
 * it: refcounts, barrier, refcount table, barrier, L2, barrier, L1, barrier. The copy is
 * consistent, so whatever prefix of it reaches the disk leaves at most leaked clusters.
 * A failed barrier is final (the file may have lost pages): nothing more is written then.
 */
#include <errno.h>
#include "block/qcow2_int.h"
#include "util/log.h"

void qcow2_cache_init(TableCache *c, unsigned max)
{
    *c = (TableCache) { .by_off = g_hash_table_new(g_int64_hash, g_int64_equal), .max = max };
}

static void lru_unlink(TableCache *c, Table *t)
{
    if (t->newer)
        t->newer->older = t->older;
    else
        c->newest = t->older;
    if (t->older)
        t->older->newer = t->newer;
    else
        c->oldest = t->newer;
}

static void lru_front(TableCache *c, Table *t)
{
    t->newer = NULL;
    t->older = c->newest;
    if (c->newest)
        c->newest->newer = t;
    else
        c->oldest = t;
    c->newest = t;
}

static void table_remove(TableCache *c, Table *t)
{
    if (t->dirty_hi > t->dirty_lo)
        c->dirty--;
    g_hash_table_remove(c->by_off, &t->off);
    lru_unlink(c, t);
    g_free(t->data);
    g_free(t);
}

void qcow2_cache_free(TableCache *c)
{
    while (c->newest)
        table_remove(c, c->newest);
    if (c->by_off)
        g_hash_table_unref(c->by_off);
    c->by_off = NULL;
}

void qcow2_cache_drop(TableCache *c, uint64_t off)
{
    Table *t = g_hash_table_lookup(c->by_off, &off);

    if (t && !t->pins)
        table_remove(c, t);
    else if (t && t->dirty_hi > t->dirty_lo) {
        t->dirty_lo = t->dirty_hi = 0;
        c->dirty--;
    }
}

/* Dirty and pinned tables stay: the cache may be larger than its limit for a while. */
static void make_room(TableCache *c)
{
    Table *t = c->oldest;

    while (t && g_hash_table_size(c->by_off) >= c->max) {
        Table *next = t->newer;
        if (!t->pins && t->dirty_hi == t->dirty_lo)
            table_remove(c, t);
        t = next;
    }
}

bool qcow2_cache_crowded(Qcow2 *s)
{
    return s->l2c.dirty > s->l2c.max / 2 || s->rbc.dirty > s->rbc.max / 2;
}

static Table *table_insert(Qcow2 *s, TableCache *c, uint64_t off)
{
    Table *t = g_new0(Table, 1);

    if (g_hash_table_size(c->by_off) >= c->max)
        make_room(c);
    t->off = off;
    t->data = g_try_malloc(s->cluster_size);
    if (!t->data) {
        g_free(t);
        return NULL;
    }
    g_hash_table_insert(c->by_off, &t->off, t);
    lru_front(c, t);
    return t;
}

int qcow2_table_get(Qcow2 *s, TableCache *c, uint64_t off, Table **out)
{
    Table *t = g_hash_table_lookup(c->by_off, &off);
    int ret;

    if (t) {
        if (c->newest != t) {
            lru_unlink(c, t);
            lru_front(c, t);
        }
        *out = t;
        return 0;
    }
    t = table_insert(s, c, off);
    if (!t)
        return -ENOMEM;
    ret = block_pread(s->node->file, off, t->data, s->cluster_size);
    if (ret) {
        table_remove(c, t);
        return ret;
    }
    *out = t;
    return 0;
}

void qcow2_table_touch(Qcow2 *s, TableCache *c, Table *t, uint32_t off, uint32_t len)
{
    uint32_t lo = off & ~511u, hi = MIN((off + len + 511) & ~511u, s->cluster_size);

    if (t->dirty_hi == t->dirty_lo) {
        t->dirty_lo = lo;
        t->dirty_hi = hi;
        c->dirty++;
    } else {
        t->dirty_lo = MIN(t->dirty_lo, lo);
        t->dirty_hi = MAX(t->dirty_hi, hi);
    }
}

Table *qcow2_table_new(Qcow2 *s, TableCache *c, uint64_t off)
{
    Table *t;

    qcow2_cache_drop(c, off);
    t = g_hash_table_lookup(c->by_off, &off);
    if (!t)
        t = table_insert(s, c, off);
    if (!t)
        return NULL;
    memset(t->data, 0, s->cluster_size);
    qcow2_table_touch(s, c, t, 0, s->cluster_size);
    return t;
}

/* ---- who may run ---- */
void qcow2_enter(Qcow2 *s)
{
    g_mutex_lock(&s->lock);
    while (s->exclusive)
        g_cond_wait(&s->cond, &s->lock);
    s->active++;
    g_mutex_unlock(&s->lock);
}

void qcow2_leave(Qcow2 *s)
{
    g_mutex_lock(&s->lock);
    if (--s->active == 0 && s->exclusive)
        g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
}

void qcow2_exclusive_begin(Qcow2 *s)
{
    g_mutex_lock(&s->lock);
    while (s->exclusive)
        g_cond_wait(&s->cond, &s->lock);
    s->exclusive = true;
    while (s->active)
        g_cond_wait(&s->cond, &s->lock);
    g_mutex_unlock(&s->lock);
}

void qcow2_exclusive_end(Qcow2 *s)
{
    g_mutex_lock(&s->lock);
    s->exclusive = false;
    g_cond_broadcast(&s->cond);
    g_mutex_unlock(&s->lock);
}

/* ---- flush ---- */
typedef struct Piece { Table *t; uint64_t off; uint32_t lo, hi; uint8_t *copy; } Piece;
typedef struct Batch { GArray *rb, *l2, *rt, *l1; } Batch;      /* of Piece */

static void collect_cache(TableCache *c, GArray *out)
{
    if (!c->dirty)
        return;
    for (Table *t = c->newest; t; t = t->older) {
        if (t->dirty_hi == t->dirty_lo)
            continue;
        Piece p = { t, t->off, t->dirty_lo, t->dirty_hi, g_memdup2(t->data + t->dirty_lo, t->dirty_hi - t->dirty_lo) };
        g_array_append_val(out, p);
        t->dirty_lo = t->dirty_hi = 0;
        t->pins++;
    }
    c->dirty = 0;
}

/* Sectors of a table of u64 kept in host order. */
static void collect_words(const uint64_t *words, uint32_t count, uint64_t base, uint8_t *dirty, bool *any, GArray *out)
{
    if (!*any)
        return;
    for (uint32_t sec = 0; sec * 64 < count; sec++) {
        if (!dirty[sec])
            continue;
        uint32_t n = MIN(count - sec * 64, 64);
        Piece p = { NULL, base, sec * 512, sec * 512 + n * 8, g_malloc(n * 8) };
        for (uint32_t i = 0; i < n; i++)
            st64_be(p.copy + 8 * i, words[sec * 64 + i]);
        g_array_append_val(out, p);
        dirty[sec] = 0;
    }
    *any = false;
}

static int write_pieces(Qcow2 *s, GArray *a)
{
    for (guint i = 0; i < a->len; i++) {
        Piece *p = &g_array_index(a, Piece, i);
        int ret = block_pwrite(s->node->file, p->off + p->lo, p->copy, p->hi - p->lo);
        if (ret)
            return ret;
    }
    return 0;
}

static int barrier(Qcow2 *s)
{
    int ret = block_flush(s->node->file);

    if (!ret && s->external)
        ret = block_flush(s->data_file);
    if (ret)
        s->failed = true;
    return ret;
}

static int write_batch(Qcow2 *s, Batch *b)
{
    bool pointers = b->l2->len || b->l1->len;
    int ret = write_pieces(s, b->rb);

    if (!ret && (b->rt->len || pointers))
        ret = barrier(s);               /* refcounts and copied data before pointers */
    if (!ret && b->rt->len) {
        ret = write_pieces(s, b->rt);
        if (!ret && pointers)
            ret = barrier(s);
    }
    if (!ret)
        ret = write_pieces(s, b->l2);
    if (!ret && b->l1->len) {
        if (b->l2->len)
            ret = barrier(s);
        if (!ret)
            ret = write_pieces(s, b->l1);
    }
    return ret ? ret : barrier(s);
}

static void finish_cache(Qcow2 *s, TableCache *c, GArray *a, bool again)
{
    for (guint i = 0; i < a->len; i++) {
        Piece *p = &g_array_index(a, Piece, i);
        p->t->pins--;
        if (again)
            qcow2_table_touch(s, c, p->t, p->lo, p->hi - p->lo);
        g_free(p->copy);
    }
    g_array_free(a, TRUE);
}

static void finish_words(GArray *a, uint8_t *dirty, bool *any, bool again)
{
    for (guint i = 0; i < a->len; i++) {
        Piece *p = &g_array_index(a, Piece, i);
        if (again) {
            dirty[p->lo / 512] = 1;
            *any = true;
        }
        g_free(p->copy);
    }
    g_array_free(a, TRUE);
}

int qcow2_flush_meta(Qcow2 *s, GArray **frees)
{
    Batch b;
    int ret;

    *frees = NULL;
    g_mutex_lock(&s->flush_lock);
    if (s->failed) {
        g_mutex_unlock(&s->flush_lock);
        return -EIO;
    }
    GArray **all[] = { &b.rb, &b.l2, &b.rt, &b.l1 };
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        *all[i] = g_array_new(FALSE, FALSE, sizeof(Piece));
    g_mutex_lock(&s->lock);
    collect_cache(&s->rbc, b.rb);
    collect_cache(&s->l2c, b.l2);
    collect_words(s->rt, s->rt_size, s->rt_off, s->rt_dirty, &s->rt_any, b.rt);
    collect_words(s->l1, s->l1_size, s->l1_off, s->l1_dirty, &s->l1_any, b.l1);
    if (s->pending->len) {
        *frees = s->pending;
        s->pending = g_array_new(FALSE, FALSE, sizeof(FreeRun));
    }
    g_mutex_unlock(&s->lock);

    ret = write_batch(s, &b);

    g_mutex_lock(&s->lock);
    finish_cache(s, &s->rbc, b.rb, ret != 0);
    finish_cache(s, &s->l2c, b.l2, ret != 0);
    finish_words(b.rt, s->rt_dirty, &s->rt_any, ret != 0);
    finish_words(b.l1, s->l1_dirty, &s->l1_any, ret != 0);
    if (ret && *frees) {
        g_array_append_vals(s->pending, (*frees)->data, (*frees)->len);
        g_array_free(*frees, TRUE);
        *frees = NULL;
    }
    g_mutex_unlock(&s->lock);
    g_mutex_unlock(&s->flush_lock);
    return ret;
}

int qcow2_sync_exclusive(Qcow2 *s)
{
    GArray *frees;
    int ret;

    do {
        ret = qcow2_flush_meta(s, &frees);
        if (frees)
            qcow2_release(s, frees);
    } while (!ret && frees);
    return ret;
}

int qcow2_flush(BlockNode *n)
{
    Qcow2 *s = n->priv;
    GArray *frees = NULL;
    int ret;

    if (n->read_only)
        return 0;
    qcow2_enter(s);
    ret = qcow2_flush_meta(s, &frees);
    qcow2_leave(s);
    if (frees) {
        qcow2_exclusive_begin(s);
        qcow2_release(s, frees);
        qcow2_exclusive_end(s);
    }
    return ret;
}
