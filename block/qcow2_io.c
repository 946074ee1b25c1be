/*
 * qcow2_io: guest data: read, write with copy-on-write, zeroes, discard, status.
 *
 * A write that needs new clusters announces its guest clusters in in_flight, works without
 * the lock, and links the clusters into L2 when their data is written; others that touch
 * the same clusters wait. So the old mapping serves copy-on-write reads until then.
 */
#include <errno.h>
#include "block/qcow2_int.h"

/* ---- read ---- */
static int read_compressed(Qcow2 *s, uint64_t e, uint64_t in, uint64_t bytes, BlockVec v)
{
    uint64_t off, len;
    int ret;

    qcow2_comp_span(s, e, &off, &len);
    g_autofree uint8_t *src = g_try_malloc(len), *dst = g_try_malloc(s->cluster_size);
    if (!src || !dst)
        return -ENOMEM;
    ret = block_pread(s->node->file, off, src, len);
    if (!ret)
        ret = qcow2_inflate(s, src, len, dst);
    if (!ret)
        vec_copy_in(v, dst + in, bytes);
    return ret;
}

static int read_backing(Qcow2 *s, uint64_t off, uint64_t bytes, BlockVec v)
{
    BlockNode *b = s->node->backing;
    uint64_t size = b ? block_node_size(b) : 0, have = off < size ? MIN(bytes, size - off) : 0;
    int ret = have ? block_read_vec(b, off, have, v) : 0;

    if (!ret && have < bytes)
        vec_zero(vec_adv(v, have), bytes - have);
    return ret;
}

/* Caller entered. */
static int read_inner(Qcow2 *s, uint64_t off, uint64_t bytes, BlockVec v)
{
    while (bytes) {
        uint64_t entry, host, len;
        QType type;
        g_mutex_lock(&s->lock);
        int ret = qcow2_map(s, off, bytes, &type, &entry, &host, &len);
        g_mutex_unlock(&s->lock);
        if (ret)
            return ret;
        switch (type) {
        case Q_UNALLOC: ret = read_backing(s, off, len, v); break;
        case Q_ZERO:
        case Q_ZERO_ALLOC: vec_zero(v, len); break;
        case Q_NORMAL: ret = block_read_vec(s->data_file, host, len, v); break;
        case Q_COMPRESSED:
            len = MIN(len, s->cluster_size - (off & (s->cluster_size - 1)));
            ret = read_compressed(s, entry, off & (s->cluster_size - 1), len, v);
            break;
        }
        if (ret)
            return ret;
        off += len;
        bytes -= len;
        v = vec_adv(v, len);
    }
    return 0;
}

int qcow2_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    Qcow2 *s = n->priv;

    qcow2_enter(s);
    int ret = read_inner(s, off, bytes, v);
    qcow2_leave(s);
    return ret;
}

/* Lock held: would qcow2_map() find its table without reading? */
static bool table_cached(Qcow2 *s, uint64_t guest)
{
    uint64_t off = s->l1[guest >> (s->cluster_bits + s->l2_bits)] & OFF_MASK;

    return !off || g_hash_table_contains(s->l2c.by_off, &off);
}

static int read_run_now(Qcow2 *s, uint64_t off, uint64_t bytes, BlockVec v, uint64_t *len)
{
    BlockNode *back = s->node->backing;
    uint64_t entry, host;
    QType type;
    int ret = -EAGAIN;

    if (!g_mutex_trylock(&s->lock))
        return ret;
    if (table_cached(s, off))
        ret = qcow2_map(s, off, bytes, &type, &entry, &host, len);
    g_mutex_unlock(&s->lock);
    if (ret)
        return ret;
    if (type == Q_NORMAL)
        return block_read_now(s->data_file, host, *len, v);
    if (type == Q_COMPRESSED || (type == Q_UNALLOC && back && off + *len > block_node_size(back)))
        return -EAGAIN;
    if (type == Q_UNALLOC && back)
        return block_read_now(back, off, *len, v);
    vec_zero(v, *len);
    return 0;
}

int qcow2_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    Qcow2 *s = n->priv;
    int ret = 0;

    if (!g_mutex_trylock(&s->lock))
        return -EAGAIN;
    if (s->exclusive) {
        g_mutex_unlock(&s->lock);
        return -EAGAIN;
    }
    s->active++;
    g_mutex_unlock(&s->lock);
    while (bytes && !ret) {
        uint64_t len = 0;
        ret = read_run_now(s, off, bytes, v, &len);
        off += len;
        bytes -= MIN(len, bytes);
        v = vec_adv(v, len);
    }
    qcow2_leave(s);
    return ret;
}

/* ---- write ---- */
static bool overlaps(Qcow2 *s, uint64_t start, uint64_t end)
{
    for (InFlight *f = s->in_flight; f; f = f->next)
        if (f->start < end && start < f->end)
            return true;
    return false;
}

static void in_flight_remove(Qcow2 *s, InFlight *f)
{
    InFlight **p = &s->in_flight;

    while (*p != f)
        p = &(*p)->next;
    *p = f->next;
    g_cond_broadcast(&s->cond);
}

static uint64_t cluster_floor(const Qcow2 *s, uint64_t x) { return x & ~(uint64_t)(s->cluster_size - 1); }

/* How many bytes from off can be written where they lie; 0 when the first need a cluster. */
static int inplace_run(Qcow2 *s, uint64_t off, uint64_t bytes, uint64_t *host, uint64_t *len)
{
    uint64_t span = 1ULL << (s->cluster_bits + s->l2_bits), done = 0;
    Table *t;
    int ret = qcow2_l2_load(s, off, &t);

    *len = 0;
    if (ret || !t || !(s->l1[off >> (s->cluster_bits + s->l2_bits)] & F_COPIED))
        return ret;
    bytes = MIN(bytes, span - (off & (span - 1)));
    while (done < bytes) {
        uint64_t g = off + done, in = g & (s->cluster_size - 1), e, b;
        uint64_t n = MIN(bytes - done, s->cluster_size - in);
        unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1);
        e = qcow2_l2e(s, t, i);
        b = qcow2_l2b(s, t, i);
        if (!(e & F_COPIED) || (e & F_COMPRESSED) || (done && (e & OFF_MASK) + in != *host + done) ||
            overlaps(s, cluster_floor(s, g), cluster_floor(s, g) + s->cluster_size))
            break;
        if (e & OFF_MASK & (s->cluster_size - 1))
            return qcow2_damage(s, "bad L2 entry", t->off + i * s->entry_size);
        bool fits = true;
        for (unsigned sc = in >> s->sc_bits; fits && sc <= (in + n - 1) >> s->sc_bits; sc++)
            fits = qcow2_classify(s, e, b, sc) == Q_NORMAL;
        if (!fits)
            break;
        if (!s->external && qcow2_is_meta(s, e & OFF_MASK, s->cluster_size))
            return qcow2_damage(s, "guest data on top of metadata", e & OFF_MASK);
        if (!done)
            *host = (e & OFF_MASK) + in;
        done += n;
    }
    *len = done;
    return 0;
}

typedef struct Alloc {
    InFlight fl;
    uint64_t host;              /* of fl.start */
    uint64_t n;                 /* clusters */
    uint64_t first_e, first_b, last_e, last_b;
    bool reuse, fresh;
} Alloc;

static bool entry_holds(const Qcow2 *s, uint64_t e) { return (e & F_COMPRESSED) || qcow2_entry_has(s, e); }

/* Chooses clusters for [off, off+*bytes) from the first on; shortens *bytes to what they hold. */
static int alloc_begin(Qcow2 *s, uint64_t off, uint64_t *bytes, Alloc *a)
{
    uint64_t start = cluster_floor(s, off), span = 1ULL << (s->cluster_bits + s->l2_bits), want = 0;
    uint64_t limit = MIN(off + *bytes, (off & ~(span - 1)) + span);
    Table *t;
    int ret = qcow2_l2_load(s, off, &t);

    if (ret)
        return ret;
    *a = (Alloc) { .fl = { start, start, NULL } };
    for (uint64_t g = start; g < limit && want < (64 * MiB >> s->cluster_bits) + 1; g += s->cluster_size) {
        unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1);
        uint64_t e = t ? qcow2_l2e(s, t, i) : 0, b = t ? qcow2_l2b(s, t, i) : 0;
        bool mine = t && (e & F_COPIED) && !(e & F_COMPRESSED) && entry_holds(s, e) &&
                    (s->l1[off >> (s->cluster_bits + s->l2_bits)] & F_COPIED);
        if (!want) {
            a->first_e = e;
            a->first_b = b;
            a->reuse = mine;
        } else if (a->reuse || mine || overlaps(s, g, g + s->cluster_size)) {
            break;
        }
        a->last_e = e;
        a->last_b = b;
        want++;
    }
    if (s->external) {
        a->host = start;
    } else if (a->reuse) {
        a->host = a->first_e & OFF_MASK;
        if ((a->host & (s->cluster_size - 1)) || qcow2_is_meta(s, a->host, s->cluster_size))
            return qcow2_damage(s, "guest data on top of metadata", a->host);
    } else {
        uint64_t got = want;
        ret = qcow2_alloc(s, &got, false, &a->host, &a->fresh);
        if (ret)
            return ret;
        if (got < want) {
            unsigned i = ((start >> s->cluster_bits) + got - 1) & ((1u << s->l2_bits) - 1);
            a->last_e = t ? qcow2_l2e(s, t, i) : 0;
            a->last_b = t ? qcow2_l2b(s, t, i) : 0;
        }
        want = got;
    }
    a->n = want;
    a->fl.end = start + (want << s->cluster_bits);
    *bytes = MIN(*bytes, a->fl.end - off);
    a->fl.next = s->in_flight;
    s->in_flight = &a->fl;
    return 0;
}

/* True when [off, off+len) surely reads as zero without looking at data. */
static bool reads_zero(Qcow2 *s, uint64_t off, uint64_t len)
{
    while (len) {
        uint64_t entry, host, run;
        QType type;
        g_mutex_lock(&s->lock);
        int ret = qcow2_map(s, off, len, &type, &entry, &host, &run);
        g_mutex_unlock(&s->lock);
        if (ret || type == Q_NORMAL || type == Q_COMPRESSED)
            return false;
        if (type == Q_UNALLOC && s->node->backing && off < block_node_size(s->node->backing))
            return false;
        off += run;
        len -= run;
    }
    return true;
}

/* Fills buf with what the guest sees at [off, off+len), also past the end of the disk. */
static int read_old(Qcow2 *s, uint64_t off, uint64_t len, uint8_t *buf)
{
    uint64_t size = s->node->size, have = off < size ? MIN(len, size - off) : 0;
    struct iovec io = { buf, len };

    memset(buf + have, 0, len - have);
    return have ? read_inner(s, off, have, (BlockVec) { &io, 1, 0 }) : 0;
}

/* The part of the edge cluster around the write that must be copied with it. */
static uint64_t edge_unit(const Qcow2 *s, uint64_t e, uint64_t b, bool reuse)
{
    if (!s->ext_l2 || (!reuse && entry_holds(s, e)))
        return s->cluster_size;
    return s->sc_size;
}

static int write_with_edges(Qcow2 *s, Alloc *a, uint64_t off, uint64_t bytes, BlockVec v)
{
    uint64_t end = off + bytes;
    uint64_t hu = edge_unit(s, a->first_e, a->first_b, a->reuse), tu = edge_unit(s, a->last_e, a->last_b, a->reuse);
    uint64_t h0 = off & ~(hu - 1), t1 = (end + tu - 1) & ~(tu - 1);
    g_autofree uint8_t *head = NULL, *tail = NULL;
    int ret = 0;

    if (h0 < off && !(a->fresh && reads_zero(s, h0, MIN(off, s->node->size) - h0))) {
        head = g_try_malloc(off - h0);
        ret = head ? read_old(s, h0, off - h0, head) : -ENOMEM;
    } else {
        h0 = off;
    }
    if (!ret && end < t1 && !(a->fresh && (end >= s->node->size || reads_zero(s, end, MIN(t1, s->node->size) - end)))) {
        tail = g_try_malloc(t1 - end);
        ret = tail ? read_old(s, end, t1 - end, tail) : -ENOMEM;
    } else if (!ret) {
        t1 = end;
    }
    if (ret)
        return ret;
    if (!head && !tail)
        return block_write_vec(s->data_file, a->host + (off - a->fl.start), bytes, v, 0);
    g_autofree struct iovec *io = g_new(struct iovec, v.niov + 2);
    size_t covered;
    int k = 0;
    if (head)
        io[k++] = (struct iovec) { head, off - h0 };
    k += vec_slice(v, bytes, io + k, v.niov, &covered);
    if (tail)
        io[k++] = (struct iovec) { tail, t1 - end };
    return block_write_vec(s->data_file, a->host + (h0 - a->fl.start), t1 - h0, (BlockVec) { io, k, 0 }, 0);
}

/* Bits of the subclusters that hold data now, of those touched by [lo, hi) of the cluster. */
static uint64_t new_bitmap(const Qcow2 *s, uint64_t old_e, uint64_t old_b, bool reuse, uint64_t lo, uint64_t hi)
{
    if (!s->ext_l2)
        return 0;
    if (!reuse && entry_holds(s, old_e)) {      /* whole cluster copied, if only at the edges */
        return 0xffffffff;
    }
    unsigned a = lo >> s->sc_bits, b = (hi - 1) >> s->sc_bits;
    uint64_t bits = ((b == 31 ? 0 : 1ULL << (b + 1)) - (1ULL << a)) & 0xffffffff;
    return (old_b | bits) & ~(bits << 32);
}

/* Lock held. Links the written clusters; on failure they are given back. */
static int alloc_link(Qcow2 *s, Alloc *a, uint64_t off, uint64_t bytes)
{
    Table *t;
    int ret = qcow2_l2_writable(s, a->fl.start, &t);

    if (ret)
        return ret;
    for (uint64_t k = 0; k < a->n; k++) {
        uint64_t g = a->fl.start + (k << s->cluster_bits);
        unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1);
        uint64_t old = qcow2_l2e(s, t, i), old_b = qcow2_l2b(s, t, i);
        uint64_t lo = MAX(off, g) - g, hi = MIN(off + bytes, g + s->cluster_size) - g;
        qcow2_l2_set(s, t, i, (a->host + (k << s->cluster_bits)) | F_COPIED,
                     new_bitmap(s, old, old_b, a->reuse, lo, hi));
        if (!a->reuse)
            qcow2_free_entry(s, old, false);
    }
    return 0;
}

/* One step of a write: returns with *bytes cut to what was done. */
static int write_step(Qcow2 *s, uint64_t off, uint64_t *bytes, BlockVec v)
{
    uint64_t host = 0, len;
    Alloc a;
    int ret;

    g_mutex_lock(&s->lock);
    while (overlaps(s, cluster_floor(s, off), cluster_floor(s, off) + s->cluster_size))
        g_cond_wait(&s->cond, &s->lock);
    if (s->damaged) {
        g_mutex_unlock(&s->lock);
        return -EIO;
    }
    ret = inplace_run(s, off, *bytes, &host, &len);
    if (ret || len) {
        g_mutex_unlock(&s->lock);
        *bytes = len;
        return ret ? ret : block_write_vec(s->data_file, host, len, v, 0);
    }
    ret = alloc_begin(s, off, bytes, &a);
    g_mutex_unlock(&s->lock);
    if (ret)
        return ret;
    ret = write_with_edges(s, &a, off, *bytes, v);
    g_mutex_lock(&s->lock);
    if (!ret)
        ret = alloc_link(s, &a, off, *bytes);
    if (ret && !a.reuse && !s->external)
        qcow2_unalloc(s, a.host, a.n << s->cluster_bits);
    in_flight_remove(s, &a.fl);
    g_mutex_unlock(&s->lock);
    return ret;
}

static int write_inner(Qcow2 *s, uint64_t off, uint64_t bytes, BlockVec v)
{
    while (bytes) {
        uint64_t n = bytes;
        int ret = write_step(s, off, &n, v);
        if (ret)
            return ret;
        off += n;
        bytes -= n;
        v = vec_adv(v, n);
    }
    return 0;
}

/* ---- compressed write: one whole cluster (or the short last one) ---- */
static int link_compressed(Qcow2 *s, uint64_t off, const uint8_t *data, size_t len)
{
    uint64_t host, old;
    InFlight fl = { off, off + s->cluster_size, NULL };
    Table *t;
    int ret;

    g_mutex_lock(&s->lock);
    while (overlaps(s, fl.start, fl.end))
        g_cond_wait(&s->cond, &s->lock);
    ret = qcow2_alloc_bytes(s, len, &host);
    if (ret) {
        g_mutex_unlock(&s->lock);
        return ret;
    }
    fl.next = s->in_flight;
    s->in_flight = &fl;
    g_mutex_unlock(&s->lock);
    ret = block_pwrite(s->node->file, host, data, len);
    g_mutex_lock(&s->lock);
    if (!ret)
        ret = qcow2_l2_writable(s, off, &t);
    if (!ret) {
        unsigned i = off >> s->cluster_bits & ((1u << s->l2_bits) - 1), x = 62 - (s->cluster_bits - 8);
        uint64_t sectors = (host + len - 1) / 512 - host / 512;
        old = qcow2_l2e(s, t, i);
        qcow2_l2_set(s, t, i, F_COMPRESSED | sectors << x | host, 0);
        qcow2_free_entry(s, old, false);
    } else {
        qcow2_unalloc(s, host, len);
    }
    in_flight_remove(s, &fl);
    g_mutex_unlock(&s->lock);
    return ret;
}

static int write_compressed(Qcow2 *s, uint64_t off, uint64_t bytes, BlockVec v)
{
    g_autofree uint8_t *in = NULL, *out = NULL;
    uint64_t size = s->node->size;
    int ret = 0;

    if (s->external)
        return -ENOTSUP;
    if ((off & (s->cluster_size - 1)) || ((bytes & (s->cluster_size - 1)) && off + bytes != size))
        return -EINVAL;
    in = g_try_malloc(s->cluster_size);
    out = g_try_malloc(s->cluster_size);
    if (!in || !out)
        return -ENOMEM;
    while (bytes && !ret) {
        uint64_t n = MIN(bytes, s->cluster_size);
        vec_copy_out(v, in, n);
        memset(in + n, 0, s->cluster_size - n);
        size_t len = qcow2_deflate(s, in, out);
        if (len) {
            ret = link_compressed(s, off, out, len);
        } else {
            struct iovec io = { in, n };
            ret = write_inner(s, off, n, (BlockVec) { &io, 1, 0 });
        }
        off += n;
        bytes -= n;
        v = vec_adv(v, n);
    }
    return ret;
}

int qcow2_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    Qcow2 *s = n->priv;
    int ret = qcow2_cache_crowded(s) ? qcow2_flush(n) : 0;

    if (ret)
        return ret;
    qcow2_enter(s);
    ret = flags & BLOCK_COMPRESSED ? write_compressed(s, off, bytes, v) : write_inner(s, off, bytes, v);
    qcow2_leave(s);
    return ret;
}

/* ---- zeroes and discard, by whole clusters ---- */
typedef enum { ZAP_ZERO, ZAP_ZERO_UNMAP, ZAP_DISCARD } Zap;

static bool zap_entry(Qcow2 *s, Zap how, uint64_t e, uint64_t b, uint64_t *ne, uint64_t *nb)
{
    bool backing = s->node->backing != NULL, holds = entry_holds(s, e);

    *nb = s->ext_l2 ? 0xffffffffULL << 32 : 0;
    *ne = s->ext_l2 ? 0 : F_ZERO;
    if (!backing && s->node->backing_name == NULL && !holds && !s->data_raw) {
        *ne = e;                        /* reads zero as it is */
        *nb = b;
        return false;
    }
    if (how == ZAP_ZERO && (e & F_COPIED) && !(e & F_COMPRESSED)) {
        *ne |= e;                       /* keeps its cluster */
        return false;
    }
    if (s->external && s->data_raw) {
        *ne |= (e & OFF_MASK) | (e & F_COPIED);
        return false;
    }
    if (how != ZAP_ZERO && !backing && s->node->backing_name == NULL)
        *ne = *nb = 0;
    return holds;
}

/* Lock held. Whole clusters inside one L2 table. */
static int zap_run(Qcow2 *s, Zap how, uint64_t off, uint64_t clusters)
{
    Table *t;
    bool discard = how != ZAP_ZERO;
    int ret;

    if (!s->node->backing && !s->node->backing_name) {
        ret = qcow2_l2_load(s, off, &t);
        if (ret || !t)
            return ret;                 /* nothing mapped there */
    }
    ret = qcow2_l2_writable(s, off, &t);
    for (uint64_t k = 0; !ret && k < clusters; k++) {
        uint64_t g = off + (k << s->cluster_bits), ne, nb;
        unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1);
        uint64_t e = qcow2_l2e(s, t, i), b = qcow2_l2b(s, t, i);
        while (overlaps(s, g, g + s->cluster_size)) {
            g_cond_wait(&s->cond, &s->lock);
            ret = qcow2_l2_writable(s, off, &t);
            if (ret)
                return ret;
            e = qcow2_l2e(s, t, i);
            b = qcow2_l2b(s, t, i);
        }
        bool drop = zap_entry(s, how, e, b, &ne, &nb);
        if (ne == e && nb == b)
            continue;
        qcow2_l2_set(s, t, i, ne, nb);
        if (drop)
            qcow2_free_entry(s, e, discard);
    }
    return ret;
}

static int zap(Qcow2 *s, Zap how, uint64_t off, uint64_t bytes)
{
    uint64_t span = 1ULL << (s->cluster_bits + s->l2_bits);
    int ret = 0;

    while (bytes && !ret) {
        uint64_t n = MIN(bytes, span - (off & (span - 1)));
        g_mutex_lock(&s->lock);
        ret = s->damaged || s->failed ? -EIO : zap_run(s, how, off, n >> s->cluster_bits);
        g_mutex_unlock(&s->lock);
        off += n;
        bytes -= n;
    }
    return ret;
}

/* Zeroes of a part of a cluster: nothing to do when it reads so already. */
static int zero_part(Qcow2 *s, uint64_t off, uint64_t bytes)
{
    if (!bytes || (!s->data_raw && reads_zero(s, off, bytes)))
        return 0;
    g_autofree uint8_t *zero = g_try_malloc0(bytes);
    struct iovec io = { zero, bytes };
    return zero ? write_inner(s, off, bytes, (BlockVec) { &io, 1, 0 }) : -ENOMEM;
}

static void whole_clusters(const Qcow2 *s, uint64_t off, uint64_t bytes, uint64_t *lo, uint64_t *hi)
{
    uint64_t end = off + bytes;

    *lo = cluster_floor(s, off + s->cluster_size - 1);
    *hi = end == s->node->size ? cluster_floor(s, end + s->cluster_size - 1) : cluster_floor(s, end);
    if (*lo >= *hi)
        *lo = *hi = 0;
}

int qcow2_write_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    Qcow2 *s = n->priv;
    uint64_t lo, hi;
    Zap how = flags & BLOCK_MAY_UNMAP ? ZAP_ZERO_UNMAP : ZAP_ZERO;
    int ret = qcow2_cache_crowded(s) ? qcow2_flush(n) : 0;

    if (ret)
        return ret;
    if (s->version < 3 && (n->backing_name || n->backing || how == ZAP_ZERO))
        return -ENOTSUP;
    whole_clusters(s, off, bytes, &lo, &hi);
    qcow2_enter(s);
    if (s->data_raw)
        ret = block_pwrite_zeroes(s->data_file, off, bytes, flags);
    if (lo == hi) {
        ret = ret ? ret : zero_part(s, off, bytes);
    } else {
        ret = ret ? ret : zero_part(s, off, lo - off);
        ret = ret ? ret : zap(s, how, lo, hi - lo);
        if (!ret && off + bytes > hi)
            ret = zero_part(s, hi, off + bytes - hi);
    }
    qcow2_leave(s);
    return ret;
}

int qcow2_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    Qcow2 *s = n->priv;
    uint64_t lo, hi;
    int ret;

    whole_clusters(s, off, bytes, &lo, &hi);
    if (lo == hi || (s->version < 3 && (n->backing || n->backing_name)))
        return 0;
    ret = qcow2_cache_crowded(s) ? qcow2_flush(n) : 0;
    if (ret)
        return ret;
    qcow2_enter(s);
    ret = zap(s, ZAP_DISCARD, lo, hi - lo);
    if (!ret && s->external)
        ret = block_pdiscard(s->data_file, lo, MIN(hi, n->size) - lo);
    qcow2_leave(s);
    return ret;
}

/* Lock held. Clearly more clusters than the file has blocks: then it pays to ask the file about holes. */
static bool sparse_below(Qcow2 *s)
{
    BlockNode *f = s->node->file;
    int64_t bytes = f->drv->allocated ? f->drv->allocated(f) : -1;
    uint64_t have = MAX(bytes, 0) >> s->cluster_bits, cutoff = MAX(have * 10 / 9, have + 2), used = 0, count;
    uint64_t clusters = (block_node_size(f) + s->cluster_size - 1) >> s->cluster_bits;

    if (s->sparse_below)
        return s->sparse_below > 0;
    for (uint64_t c = 0; bytes >= 0 && used < cutoff && c < clusters; c++)
        if (!qcow2_refcount_get(s, c, &count))
            used += count != 0;
    s->sparse_below = bytes >= 0 && used >= cutoff ? 1 : -1;
    return s->sparse_below > 0;
}

int qcow2_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    Qcow2 *s = n->priv;
    uint64_t entry, host, len;
    QType type;
    int ret;

    qcow2_enter(s);
    g_mutex_lock(&s->lock);
    ret = qcow2_map(s, off, bytes, &type, &entry, &host, &len);
    /* Neighbours of one kind without an offset make one answer. */
    bool lies = type == Q_NORMAL || type == Q_ZERO_ALLOC || (type == Q_UNALLOC && qcow2_entry_has(s, entry));
    while (!ret && !lies && len < bytes) {
        uint64_t e2, h2, l2;
        QType t2;
        if (qcow2_map(s, off + len, bytes - len, &t2, &e2, &h2, &l2) || t2 != type || (t2 == Q_UNALLOC && qcow2_entry_has(s, e2)))
            break;
        len += l2;
    }
    bool recurse = !ret && type == Q_NORMAL && sparse_below(s);
    g_mutex_unlock(&s->lock);
    qcow2_leave(s);
    if (ret)
        return ret;
    *st = (BlockStatus) { .bytes = len, .allocated = type != Q_UNALLOC,
                          .data = type == Q_NORMAL || type == Q_COMPRESSED,
                          .zero = type == Q_ZERO || type == Q_ZERO_ALLOC || (type == Q_UNALLOC && !n->backing),
                          .compressed = type == Q_COMPRESSED, .recurse = recurse };
    if (lies) {
        st->offset_valid = true;
        st->offset = host;
        st->file = s->data_file;
    }
    return 0;
}
