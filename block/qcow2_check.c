/*
 * qcow2_check: counts every reference, compares with the stored counts, and repairs.
 *
 * Memory is four bytes per host cluster. Findings are leaks (too high), corruptions (too low,
 * impossible entries, wrong COPIED marks). Repair lowers and raises counts in place; when the
 * refcount structures themselves are unusable, all are written anew at the end of the file.
 */
#include <errno.h>
#include "block/qcow2_int.h"

enum { MAX_CLUSTERS = 256 << 20 };

typedef struct Walk {
    Qcow2 *s;
    BlockCheck *res;
    uint32_t *cnt;
    uint64_t n;                 /* entries of cnt */
    bool rebuild;               /* stored counts cannot be kept */
    bool quiet;                 /* only count */
    bool count_old;             /* the present refcount structures count */
    uint64_t last_host;         /* for fragmentation */
} Walk;

static void note(Walk *w, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
static void note(Walk *w, const char *fmt, ...)
{
    va_list ap;

    if (!w->res->note || w->quiet)
        return;
    va_start(ap, fmt);
    g_autofree char *t = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    w->res->note(w->res->opaque, t);
}

static void corrupt(Walk *w) { if (!w->quiet) w->res->corruptions++; }

static bool reserve(Walk *w, uint64_t clusters)
{
    if (clusters <= w->n)
        return true;
    if (clusters > MAX_CLUSTERS)
        return false;
    uint64_t n = MIN(MAX(clusters, w->n + w->n / 2 + 1024), MAX_CLUSTERS);
    uint32_t *c = g_try_realloc(w->cnt, n * sizeof *c);
    if (!c)
        return false;
    memset(c + w->n, 0, (n - w->n) * sizeof *c);
    w->cnt = c;
    w->n = n;
    return true;
}

static void count(Walk *w, uint64_t off, uint64_t len)
{
    Qcow2 *s = w->s;
    uint64_t flen = block_node_size(s->node->file);

    if (!len)
        return;
    if (off > flen + (uint64_t)s->cluster_size * 64 && off > s->high << s->cluster_bits) {
        note(w, "ERROR: reference to %#" PRIx64 ", far past the end of the file", off);
        corrupt(w);
        return;
    }
    uint64_t last = (off + len - 1) >> s->cluster_bits;
    if (!reserve(w, last + 1)) {
        note(w, "ERROR: reference to %#" PRIx64 " is out of range", off);
        corrupt(w);
        return;
    }
    for (uint64_t c = off >> s->cluster_bits; c <= last; c++)
        if (w->cnt[c] < UINT32_MAX)
            w->cnt[c]++;
}

/* ---- walking ---- */
static void walk_entry(Walk *w, uint64_t e, uint64_t bitmap, uint64_t at, bool stats)
{
    Qcow2 *s = w->s;
    uint64_t off = e & OFF_MASK, len = s->cluster_size;

    if (e & F_COMPRESSED) {
        if (e & F_COPIED) {
            note(w, "ERROR: coffset=%#" PRIx64 ": copied flag must never be set for compressed clusters", at);
            corrupt(w);
        }
        qcow2_comp_span(s, e, &off, &len);
        count(w, off, len);
        if (stats) {
            w->res->compressed++;
            w->res->allocated++;
            w->res->fragmented++;
        }
        return;
    }
    if ((e & L2_STD_RESERVED) || (s->ext_l2 && (bitmap & bitmap >> 32 & 0xffffffff))) {
        note(w, "ERROR: L2 entry at %#" PRIx64 " has impossible bits (%#" PRIx64 ")", at, e);
        corrupt(w);
    }
    if (stats && qcow2_entry_has(s, e)) {
        w->res->allocated++;
        if (w->last_host && w->last_host + s->cluster_size != off)
            w->res->fragmented++;
        w->last_host = off;
    }
    if (s->external || !off)
        return;
    if (off & (s->cluster_size - 1)) {
        note(w, "ERROR offset=%" PRIx64 ": Cluster is not properly aligned; L2 entry corrupted.", off);
        corrupt(w);
        return;
    }
    count(w, off, s->cluster_size);
}

static int walk_tree(Walk *w, const uint64_t *l1, uint32_t l1_size, bool active)
{
    Qcow2 *s = w->s;
    g_autofree uint8_t *buf = g_try_malloc(s->cluster_size);
    int ret = buf ? 0 : -ENOMEM;

    for (uint32_t i = 0; i < l1_size && !ret; i++) {
        uint64_t off = l1[i] & OFF_MASK;
        if (!off)
            continue;
        if ((l1[i] & L1_RESERVED) || (off & (s->cluster_size - 1))) {
            note(w, "ERROR l2_offset=%" PRIx64 ": Table is not cluster aligned; L1 entry corrupted", off);
            corrupt(w);
            continue;
        }
        count(w, off, s->cluster_size);
        ret = block_pread(s->node->file, off, buf, s->cluster_size);
        w->last_host = 0;
        for (unsigned k = 0; !ret && k < 1u << s->l2_bits; k++) {
            const uint8_t *p = buf + (size_t)k * s->entry_size;
            uint64_t e = ld64_be(p), b = s->ext_l2 ? ld64_be(p + 8) : 0;
            if (e | b)
                walk_entry(w, e, b, off + k * s->entry_size, active && !w->quiet);
        }
    }
    return ret;
}

static int walk_bitmaps(Walk *w)
{
    Qcow2 *s = w->s;

    for (guint i = 0; i < s->exts->len; i++) {
        Extension *x = &g_array_index(s->exts, Extension, i);
        if (x->type != EXT_BITMAPS || x->len < 24)
            continue;
        uint32_t nb = ld32_be(x->data);
        uint64_t dlen = ld64_be(x->data + 8), doff = ld64_be(x->data + 16), o = 0;
        if (dlen > 64 * MiB || nb > 65535)
            continue;
        g_autofree uint8_t *dir = g_malloc0(dlen + 24);
        int ret = block_pread(s->node->file, doff, dir, dlen);
        if (ret)
            return ret;
        count(w, doff, dlen);
        for (uint32_t b = 0; b < nb && o + 24 <= dlen; b++) {
            uint64_t toff = ld64_be(dir + o);
            uint32_t ents = ld32_be(dir + o + 8), nlen = ld16_be(dir + o + 18), elen = ld32_be(dir + o + 20);
            o = (o + 24 + nlen + elen + 7) & ~7ULL;
            if (ents > 0x8000000 / 8)
                break;
            count(w, toff, (uint64_t)ents * 8);
            g_autofree uint8_t *t = g_malloc0((size_t)ents * 8 + 8);
            ret = block_pread(s->node->file, toff, t, (size_t)ents * 8);
            for (uint32_t k = 0; !ret && k < ents; k++)
                if (ld64_be(t + 8 * (size_t)k) & OFF_MASK)
                    count(w, ld64_be(t + 8 * (size_t)k) & OFF_MASK, s->cluster_size);
            if (ret)
                return ret;
        }
    }
    return 0;
}

static void walk_refcounts(Walk *w)
{
    Qcow2 *s = w->s;

    count(w, s->rt_off, (uint64_t)s->rt_size * 8);
    for (uint32_t i = 0; i < s->rt_size; i++) {
        uint64_t off = s->rt[i] & ~RT_RESERVED, c = off >> s->cluster_bits;
        if (!s->rt[i])
            continue;
        if ((s->rt[i] & RT_RESERVED) || (off & (s->cluster_size - 1)) ||
            off >= MAX(block_node_size(s->node->file), s->high << s->cluster_bits)) {
            note(w, "ERROR refcount block %u is not cluster aligned or outside the image; refcount table entry corrupted", i);
            corrupt(w);
            w->rebuild = true;
            continue;
        }
        count(w, off, s->cluster_size);
        if (c < w->n && w->cnt[c] != 1) {
            note(w, "ERROR refcount block %u refcount=%u", i, w->cnt[c]);
            corrupt(w);
            w->rebuild = true;
        }
    }
}

static int walk_all(Walk *w)
{
    Qcow2 *s = w->s;
    int ret;

    count(w, 0, s->cluster_size);
    count(w, s->l1_off, (uint64_t)s->l1_size * 8);
    ret = walk_tree(w, s->l1, s->l1_size, true);
    if (s->nb_snaps)
        count(w, s->snap_off, s->snap_bytes);
    for (uint32_t i = 0; i < s->nb_snaps && !ret; i++) {
        g_autofree uint64_t *l1 = NULL;
        g_autoptr(GError) e = NULL;
        if (!qcow2_l1_read(s, s->snaps[i].l1_off, s->snaps[i].l1_size, &l1, &e))
            return -EIO;
        count(w, s->snaps[i].l1_off, (uint64_t)s->snaps[i].l1_size * 8);
        ret = walk_tree(w, l1, s->snaps[i].l1_size, false);
    }
    ret = ret ? ret : walk_bitmaps(w);
    if (!ret && w->count_old)
        walk_refcounts(w);
    return ret;
}

/* ---- comparing and repairing ---- */
static int set_stored(Qcow2 *s, uint64_t c, uint64_t from, uint64_t to)
{
    int ret = 0;

    for (; from < to && !ret; from++)
        ret = qcow2_refcount_add(s, c, 1);
    for (; from > to && !ret; from--)
        ret = qcow2_refcount_add(s, c, -1);
    return ret;
}

static int compare_counts(Walk *w, unsigned fix)
{
    Qcow2 *s = w->s;
    /* Counts of a table can reach far past the end of the file: a damaged one must not keep us for hours. */
    uint64_t near = (block_node_size(s->node->file) >> s->cluster_bits) + (1 << 16);
    uint64_t top = MAX(w->n, MIN((uint64_t)s->rt_size << s->rb_bits, near)), end = 0;
    int ret = 0;

    for (uint64_t c = 0; c < top && !ret; c++) {
        uint64_t have, want = c < w->n ? w->cnt[c] : 0, i = c >> s->rb_bits;
        if ((i >= s->rt_size || !s->rt[i]) && c >= w->n) {
            c |= (1ULL << s->rb_bits) - 1;      /* a region without block: nothing stored */
            continue;
        }
        ret = qcow2_refcount_get(s, c, &have);
        if (ret)
            break;
        if (have || want)
            end = c + 1;
        if (have == want)
            continue;
        bool leak = have > want, fixed = false;
        if (fix & (leak ? BLOCK_FIX_LEAKS : BLOCK_FIX_ERRORS)) {
            if (i >= s->rt_size || !s->rt[i])
                w->rebuild = true;
            else
                fixed = set_stored(s, c, have, want) == 0;
        }
        note(w, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
             fixed ? "Repairing" : leak ? "Leaked" : "ERROR", c, have, want);
        if (leak) {
            w->res->leaks += !fixed;
            w->res->leaks_fixed += fixed;
        } else {
            w->res->corruptions += !fixed;
            w->res->corruptions_fixed += fixed;
        }
    }
    w->res->image_end = end << s->cluster_bits;
    return ret;
}

/* COPIED must be set exactly when the count is one. */
static int check_copied(Walk *w, bool fix)
{
    Qcow2 *s = w->s;
    int ret = 0;

    for (uint32_t i = 0; i < s->l1_size && !ret; i++) {
        uint64_t off = s->l1[i] & OFF_MASK, have;
        Table *t;
        if (!off || (off & (s->cluster_size - 1)))
            continue;
        ret = qcow2_refcount_get(s, off >> s->cluster_bits, &have);
        if (!ret && (have == 1) != !!(s->l1[i] & F_COPIED)) {
            note(w, "%s OFLAG_COPIED L2 cluster: l1_index=%u l1_entry=%" PRIx64 " refcount=%" PRIu64,
                 fix ? "Repairing" : "ERROR", i, s->l1[i], have);
            if (fix) {
                s->l1[i] ^= F_COPIED;
                s->l1_dirty[i / 64] = 1;
                s->l1_any = true;
                w->res->corruptions_fixed++;
            } else {
                w->res->corruptions++;
            }
        }
        ret = ret ? ret : qcow2_table_get(s, &s->l2c, off, &t);
        for (unsigned k = 0; !ret && k < 1u << s->l2_bits; k++) {
            uint64_t e = qcow2_l2e(s, t, k);
            if ((e & F_COMPRESSED) || !(e & OFF_MASK) || (e & OFF_MASK & (s->cluster_size - 1)) || s->external)
                continue;
            ret = qcow2_refcount_get(s, (e & OFF_MASK) >> s->cluster_bits, &have);
            if (ret || (have == 1) == !!(e & F_COPIED))
                continue;
            note(w, "%s OFLAG_COPIED data cluster: l2_entry=%" PRIx64 " refcount=%" PRIu64,
                 fix ? "Repairing" : "ERROR", e, have);
            if (fix) {
                qcow2_l2_set(s, t, k, e ^ F_COPIED, qcow2_l2b(s, t, k));
                w->res->corruptions_fixed++;
            } else {
                w->res->corruptions++;
            }
        }
    }
    return ret;
}

/* ---- writing all counts anew ---- */
static void put_count(uint8_t *p, unsigned order, uint64_t i, uint64_t v)
{
    if (order < 3)
        p[i << order >> 3] |= v << (i << order & 7);
    else if (order == 3)
        p[i] = v;
    else if (order == 4)
        st16_be(p + 2 * i, v);
    else if (order == 5)
        st32_be(p + 4 * i, v);
    else
        st64_be(p + 8 * i, v);
}

typedef struct Layout { uint64_t start, regions, blocks, tabs; unsigned order, rb_bits; } Layout;

static bool region_used(const Walk *w, const Layout *y, uint64_t r)
{
    uint64_t first = r << y->rb_bits, last = MIN(first + (1ULL << y->rb_bits), w->n);
    uint64_t own_end = y->start + y->blocks + y->tabs;

    if (first < own_end && y->start < first + (1ULL << y->rb_bits))
        return true;
    for (uint64_t c = first; c < last; c++)
        if (w->cnt[c])
            return true;
    return false;
}

static bool lay_out(Walk *w, Layout *y)
{
    Qcow2 *s = w->s;

    y->rb_bits = s->cluster_bits + 3 - y->order;
    y->start = MAX((block_node_size(s->node->file) + s->cluster_size - 1) >> s->cluster_bits, s->high);
    y->blocks = y->tabs = 1;
    for (int round = 0; round < 64; round++) {
        uint64_t end = y->start + y->blocks + y->tabs, used = 0;
        y->regions = (MAX(end, w->n) + (1ULL << y->rb_bits) - 1) >> y->rb_bits;
        uint64_t tabs = (y->regions * 8 + s->cluster_size - 1) >> s->cluster_bits;
        for (uint64_t r = 0; r < y->regions; r++)
            used += region_used(w, y, r);
        if (used <= y->blocks && tabs <= y->tabs)
            return y->tabs << s->cluster_bits <= QCOW2_MAX_RT;
        y->blocks = MAX(y->blocks, used);
        y->tabs = MAX(y->tabs, tabs);
    }
    return false;
}

static int write_layout(Walk *w, const Layout *y)
{
    Qcow2 *s = w->s;
    uint64_t per = 1ULL << y->rb_bits, own_end = y->start + y->blocks + y->tabs, b = 0;
    uint64_t max = y->order == 6 ? UINT64_MAX : (1ULL << (1u << y->order)) - 1;
    g_autofree uint8_t *blk = g_malloc(s->cluster_size), *tab = g_try_malloc0(y->tabs << s->cluster_bits);
    int ret = tab ? 0 : -ENOMEM;

    for (uint64_t r = 0; r < y->regions && !ret; r++) {
        if (!region_used(w, y, r))
            continue;
        memset(blk, 0, s->cluster_size);
        for (uint64_t k = 0; k < per && !ret; k++) {
            uint64_t c = r * per + k, v = c < w->n ? w->cnt[c] : 0;
            if (c >= y->start && c < own_end)
                v = b < y->blocks ? 1 : v;
            if (v > max)
                ret = -ERANGE;
            else if (v)
                put_count(blk, y->order, k, v);
        }
        st64_be(tab + 8 * r, (y->start + b) << s->cluster_bits);
        ret = ret ? ret : block_pwrite(s->node->file, (y->start + b) << s->cluster_bits, blk, s->cluster_size);
        b++;
    }
    ret = ret ? ret : block_pwrite(s->node->file, (y->start + y->blocks) << s->cluster_bits, tab, y->tabs << s->cluster_bits);
    return ret ? ret : block_flush(s->node->file);
}

/* Switches to freshly written counts. Exclusive section; cnt holds all but refcount structures. */
static int rebuild(Walk *w, unsigned order)
{
    Qcow2 *s = w->s;
    Layout y = { .order = order };
    uint8_t h[H_V3_MIN];
    g_autofree uint64_t *rt = NULL;
    int ret;

    if (!lay_out(w, &y))
        return -EFBIG;
    ret = write_layout(w, &y);
    ret = ret ? ret : block_pread(s->node->file, 0, h, sizeof h);
    if (ret)
        return ret;
    uint64_t rt_off = (y.start + y.blocks) << s->cluster_bits;
    st64_be(h + H_RT_OFF, rt_off);
    st32_be(h + H_RT_CLUSTERS, y.tabs);
    st32_be(h + H_RC_ORDER, order);
    ret = qcow2_header_write(s, H_RT_OFF, h + H_RT_OFF, (s->version >= 3 ? H_LENGTH : H_NB_SNAP) - H_RT_OFF);
    if (ret) {
        s->failed = true;
        return ret;
    }
    uint32_t entries = y.tabs << (s->cluster_bits - 3);
    if (!qcow2_l1_read(s, rt_off, entries, &rt, NULL))
        return -EIO;
    g_mutex_lock(&s->lock);
    while (s->rbc.newest)
        qcow2_cache_drop(&s->rbc, (s->rbc.newest->dirty_lo = s->rbc.newest->dirty_hi = 0, s->rbc.newest->off));
    s->rbc.dirty = 0;
    g_array_set_size(s->pending, 0);
    g_free(s->rt);
    g_free(s->rt_dirty);
    s->rt = g_steal_pointer(&rt);
    s->rt_dirty = g_malloc0(entries / 64 + 1);
    s->rt_any = false;
    s->rt_size = entries;
    s->rt_off = rt_off;
    s->rc_order = order;
    s->rb_bits = y.rb_bits;
    s->hint = 0;
    s->high = MAX(s->high, y.start + y.blocks + y.tabs);
    qcow2_meta_add(s, y.start << s->cluster_bits, (y.blocks + y.tabs) << s->cluster_bits);
    g_mutex_unlock(&s->lock);
    return 0;
}

static int recount_and_rebuild(Qcow2 *s, BlockCheck *res, unsigned order)
{
    Walk w = { .s = s, .res = res, .quiet = true };
    int ret = reserve(&w, MAX(block_node_size(s->node->file) >> s->cluster_bits, 1)) ? walk_all(&w) : -ENOMEM;

    ret = ret ? ret : rebuild(&w, order);
    g_free(w.cnt);
    return ret;
}

bool qcow2_rebuild_with_order(Qcow2 *s, unsigned order, GError **err)
{
    BlockCheck res = { 0 };
    int ret;

    qcow2_exclusive_begin(s);
    ret = qcow2_sync_exclusive(s);
    ret = ret ? ret : recount_and_rebuild(s, &res, order);
    qcow2_exclusive_end(s);
    if (ret == -ERANGE)
        return err_set(err, "Cannot decrease refcount entry width to %u bits: some clusters have more references", 1u << order);
    return ret ? err_set_errno(err, -ret, "Could not write new refcounts") : true;
}

static int clear_bits(Qcow2 *s, const BlockCheck *res, unsigned fix)
{
    uint64_t bits = s->incompat;

    if (s->version < 3 || !(fix & BLOCK_FIX_ERRORS) || res->corruptions || res->errors)
        return 0;
    bits &= ~(INC_DIRTY | INC_CORRUPT);
    if (bits == s->incompat)
        return 0;
    return qcow2_set_incompat(s, bits);
}

static int check_exclusive(Qcow2 *s, unsigned fix, BlockCheck *res)
{
    Walk w = { .s = s, .res = res, .count_old = true };
    int ret = s->node->read_only ? 0 : qcow2_sync_exclusive(s);

    if (!ret && !reserve(&w, MAX((block_node_size(s->node->file) + s->cluster_size - 1) >> s->cluster_bits, 1)))
        ret = -ENOMEM;
    ret = ret ? ret : walk_all(&w);
    if (!ret && !s->rt_size) {
        w.rebuild = true;
        res->corruptions++;
    }
    if (!ret && !w.rebuild)
        ret = compare_counts(&w, fix);
    if (!ret && w.rebuild && (fix & BLOCK_FIX_ERRORS)) {
        uint64_t bad = res->corruptions;
        note(&w, "Rebuilding refcount structure");
        ret = recount_and_rebuild(s, res, s->rc_order);
        res->corruptions_fixed += bad;
        res->corruptions -= bad;
        s->damaged = false;
    }
    g_mutex_lock(&s->lock);
    if (!ret && (!w.rebuild || (fix & BLOCK_FIX_ERRORS)))
        ret = check_copied(&w, fix & BLOCK_FIX_ERRORS);
    g_mutex_unlock(&s->lock);
    if (fix && !ret) {
        if (!res->corruptions)
            s->damaged = false;
        ret = qcow2_sync_exclusive(s);
        ret = ret ? ret : clear_bits(s, res, fix);
    }
    g_free(w.cnt);
    return ret;
}

bool qcow2_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err)
{
    Qcow2 *s = n->priv;
    int ret;

    if (fix && n->read_only)
        return err_set(err, "'%s' is read-only: it cannot be repaired", n->filename);
    res->total_clusters = (n->size + s->cluster_size - 1) >> s->cluster_bits;
    qcow2_exclusive_begin(s);
    ret = check_exclusive(s, fix, res);
    qcow2_exclusive_end(s);
    return ret ? err_set_errno(err, -ret, "Check failed") : true;
}
