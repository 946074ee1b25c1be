/*
 * qcow2_refcount: who owns which host cluster: reference counts, allocation, giving back.
 *
 * A region without a refcount block is all free, so its first cluster becomes the block
 * that describes it. Clusters whose pointer went away keep their count until a flush has
 * made that durable (qcow2_free_later); clusters never pointed at are undone at once.
 */
#include <errno.h>
#include "block/qcow2_int.h"
#include "util/log.h"

/* ---- metadata map: a cheap guard against images that point data at tables ---- */
static gpointer cluster_key(const Qcow2 *s, uint64_t off) { return (gpointer)(uintptr_t)((off >> s->cluster_bits) + 1); }

void qcow2_meta_add(Qcow2 *s, uint64_t off, uint64_t bytes)
{
    for (uint64_t o = off; o < off + bytes; o += s->cluster_size)
        g_hash_table_add(s->meta, cluster_key(s, o));
}

void qcow2_meta_del(Qcow2 *s, uint64_t off, uint64_t bytes)
{
    for (uint64_t o = off; o < off + bytes; o += s->cluster_size)
        g_hash_table_remove(s->meta, cluster_key(s, o));
}

bool qcow2_is_meta(Qcow2 *s, uint64_t off, uint64_t bytes)
{
    for (uint64_t o = off & ~(uint64_t)(s->cluster_size - 1); o < off + bytes; o += s->cluster_size)
        if (g_hash_table_contains(s->meta, cluster_key(s, o)))
            return true;
    return false;
}

int qcow2_damage(Qcow2 *s, const char *what, uint64_t off)
{
    if (!s->damaged) {
        log_warn("'%s': %s at host offset %#" PRIx64 ": image is corrupt; writing is refused until it is repaired",
                 s->node->filename, what, off);
        s->damaged = true;
        if (!s->node->read_only && s->version >= 3)
            qcow2_set_incompat(s, s->incompat | INC_CORRUPT);
    }
    return -EIO;
}

/* ---- counts inside a block ---- */
static uint64_t rb_get(const Qcow2 *s, const uint8_t *p, uint64_t i)
{
    switch (s->rc_order) {
    case 3: return p[i];
    case 4: return ld16_be(p + 2 * i);
    case 5: return ld32_be(p + 4 * i);
    case 6: return ld64_be(p + 8 * i);
    default: {
        unsigned bits = 1u << s->rc_order, per = 8 / bits;
        return p[i / per] >> (i % per * bits) & ((1u << bits) - 1);
    }
    }
}

static void rb_set(const Qcow2 *s, uint8_t *p, uint64_t i, uint64_t v)
{
    switch (s->rc_order) {
    case 3: p[i] = v; break;
    case 4: st16_be(p + 2 * i, v); break;
    case 5: st32_be(p + 4 * i, v); break;
    case 6: st64_be(p + 8 * i, v); break;
    default: {
        unsigned bits = 1u << s->rc_order, per = 8 / bits, sh = i % per * bits;
        p[i / per] = (p[i / per] & ~(((1u << bits) - 1) << sh)) | v << sh;
    }
    }
}

static uint64_t rc_max(const Qcow2 *s) { return s->rc_order == 6 ? UINT64_MAX : (1ULL << (1u << s->rc_order)) - 1; }

/* The block for a cluster; *t NULL when the region has none. */
static int block_for(Qcow2 *s, uint64_t cluster, Table **t)
{
    uint64_t i = cluster >> s->rb_bits, off;

    *t = NULL;
    if (i >= s->rt_size || !s->rt[i])
        return 0;
    off = s->rt[i] & ~RT_RESERVED;
    if ((s->rt[i] & RT_RESERVED) || (off & (s->cluster_size - 1)) || !off)
        return qcow2_damage(s, "bad refcount table entry", s->rt_off + i * 8);
    return qcow2_table_get(s, &s->rbc, off, t);
}

int qcow2_refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *count)
{
    Table *t;
    int ret = block_for(s, cluster, &t);

    *count = !ret && t ? rb_get(s, t->data, cluster & ((1ULL << s->rb_bits) - 1)) : 0;
    return ret;
}

static void mark_rt(Qcow2 *s, uint64_t i)
{
    s->rt_dirty[i / 64] = 1;
    s->rt_any = true;
}

/* Caller checked that the region i (of rb entries) has no block and lies in the table. */
static int add_block(Qcow2 *s, uint64_t i)
{
    uint64_t off = i << (s->rb_bits + s->cluster_bits);
    Table *t;

    if (qcow2_is_meta(s, off, s->cluster_size))     /* the header, or a table nobody counted */
        return qcow2_damage(s, "metadata without refcounts", off);
    t = qcow2_table_new(s, &s->rbc, off);
    if (!t)
        return -ENOMEM;
    rb_set(s, t->data, 0, 1);
    s->rt[i] = off;
    mark_rt(s, i);
    qcow2_meta_add(s, off, s->cluster_size);
    s->high = MAX(s->high, (off >> s->cluster_bits) + 1);
    return 0;
}

/*
 * Lengthens the refcount table so that region i fits. New blocks and the new table fill the
 * start of region i; one header sector then switches over. Holds the lock throughout: rare.
 */
static int grow_table(Qcow2 *s, uint64_t i)
{
    uint64_t per = 1ULL << s->rb_bits, first = i << s->rb_bits, blocks = 1, tabs, entries;
    uint64_t new_entries = MAX(i + 1, (uint64_t)s->rt_size + s->rt_size / 2);
    g_autofree uint8_t *buf = NULL;
    uint8_t head[12];
    int ret;

    for (;;) {                          /* blocks and table describe each other: settle the sizes */
        entries = MAX(new_entries, i + blocks);
        tabs = (entries * 8 + s->cluster_size - 1) >> s->cluster_bits;
        uint64_t need = (blocks + tabs + per - 1) >> s->rb_bits;
        if (need <= blocks)
            break;
        blocks = need;
    }
    entries = tabs << (s->cluster_bits - 3);
    if (entries * 8 > QCOW2_MAX_RT)
        return -EFBIG;
    if (qcow2_is_meta(s, first << s->cluster_bits, (blocks + tabs) << s->cluster_bits))
        return qcow2_damage(s, "metadata without refcounts", first << s->cluster_bits);
    buf = g_try_malloc0((blocks + tabs) << s->cluster_bits);
    if (!buf)
        return -ENOMEM;
    for (uint64_t k = 0; k < blocks + tabs; k++)
        rb_set(s, buf + (k >> s->rb_bits << s->cluster_bits), k & (per - 1), 1);
    uint8_t *tab = buf + (blocks << s->cluster_bits);
    for (uint64_t k = 0; k < s->rt_size; k++)
        st64_be(tab + 8 * k, s->rt[k]);
    for (uint64_t k = 0; k < blocks; k++)
        st64_be(tab + 8 * (i + k), (first + k) << s->cluster_bits);
    ret = block_pwrite(s->node->file, first << s->cluster_bits, buf, (blocks + tabs) << s->cluster_bits);
    /* Entries made in this session may point at blocks still in RAM: those go first. */
    for (Table *t = s->rbc.newest; !ret && t; t = t->older)
        if (t->pins || t->dirty_hi > t->dirty_lo)
            ret = block_pwrite(s->node->file, t->off, t->data, s->cluster_size);
    if (ret)
        return ret;
    uint64_t new_off = (first + blocks) << s->cluster_bits, old_off = s->rt_off, old_bytes = (uint64_t)s->rt_size * 8;
    st64_be(head, new_off);
    st32_be(head + 8, tabs);
    ret = block_flush(s->node->file);
    if (ret) {
        s->failed = true;
        return ret;
    }
    ret = qcow2_header_write(s, H_RT_OFF, head, sizeof head);
    if (ret) {
        s->failed = true;               /* which table holds is unknown: nothing may move now */
        return ret;
    }
    s->rt = g_renew(uint64_t, s->rt, entries);
    memset(s->rt + s->rt_size, 0, (entries - s->rt_size) * 8);
    for (uint64_t k = 0; k < blocks; k++)
        s->rt[i + k] = (first + k) << s->cluster_bits;
    s->rt_dirty = g_realloc(s->rt_dirty, entries / 64 + 1);
    memset(s->rt_dirty, 0, entries / 64 + 1);
    s->rt_any = false;
    s->rt_size = entries;
    s->rt_off = new_off;
    s->high = MAX(s->high, first + blocks + tabs);
    qcow2_meta_add(s, first << s->cluster_bits, (blocks + tabs) << s->cluster_bits);
    qcow2_free_later(s, old_off, (old_bytes + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1), false);
    return 0;
}

/* Makes sure the cluster's region has a block. */
static int ensure_block(Qcow2 *s, uint64_t cluster, Table **t)
{
    uint64_t i = cluster >> s->rb_bits;
    int ret;

    if (i >= s->rt_size) {
        ret = grow_table(s, i);
        if (ret)
            return ret;
    }
    if (!s->rt[i]) {
        ret = add_block(s, i);
        if (ret)
            return ret;
    }
    return block_for(s, cluster, t);
}

static void set_count(Qcow2 *s, Table *t, uint64_t cluster, uint64_t v)
{
    uint64_t i = cluster & ((1ULL << s->rb_bits) - 1);

    rb_set(s, t->data, i, v);
    qcow2_table_touch(s, &s->rbc, t, i << s->rc_order >> 3, MAX((1u << s->rc_order) / 8, 1));
}

int qcow2_refcount_add(Qcow2 *s, uint64_t cluster, int delta)
{
    Table *t;
    uint64_t old;
    int ret = block_for(s, cluster, &t);

    if (ret)
        return ret;
    if (!t)
        return qcow2_damage(s, "reference to a cluster without refcount", cluster << s->cluster_bits);
    old = rb_get(s, t->data, cluster & ((1ULL << s->rb_bits) - 1));
    if (delta < 0 && old == 0)
        return qcow2_damage(s, "refcount below zero", cluster << s->cluster_bits);
    if (delta > 0 && old == rc_max(s))
        return -EINVAL;
    set_count(s, t, cluster, old + delta);
    if (delta < 0 && old == 1) {
        s->hint = MIN(s->hint, cluster);
        qcow2_cache_drop(&s->l2c, cluster << s->cluster_bits);
    }
    return 0;
}

static int free_run(Qcow2 *s, uint64_t from, uint64_t want, uint64_t *start, uint64_t *len)
{
    uint64_t c = from, mask = (1ULL << s->rb_bits) - 1;

    *len = 0;
    for (;;) {
        Table *t;
        int ret = ensure_block(s, c, &t);
        if (ret)
            return *len ? 0 : ret;
        uint64_t end = (c | mask) + 1;
        for (; c < end; c++) {
            if (rb_get(s, t->data, c & mask)) {
                if (*len)
                    return 0;
                continue;
            }
            if (!*len)
                *start = c;
            if (++*len == want)
                return 0;
        }
        if (c >= (OFF_MASK >> s->cluster_bits))
            return -EFBIG;
    }
}

int qcow2_alloc(Qcow2 *s, uint64_t *n, bool exact, uint64_t *off, bool *fresh)
{
    uint64_t from = s->hint, start = 0, len = 0, want = *n;
    int ret;

    if (s->failed || s->damaged)
        return -EIO;
    for (;;) {
        ret = free_run(s, from, want, &start, &len);
        if (ret)
            return ret;
        if (from == s->hint)            /* everything before the first free cluster is taken */
            s->hint = from = start;
        if (len >= want || !exact)
            break;
        from = start + len;
    }
    if (qcow2_is_meta(s, start << s->cluster_bits, len << s->cluster_bits))
        return qcow2_damage(s, "metadata counted as free", start << s->cluster_bits);
    for (uint64_t i = 0; i < len; i++) {
        Table *t;
        ret = block_for(s, start + i, &t);
        if (ret || !t) {
            qcow2_unalloc(s, start << s->cluster_bits, i << s->cluster_bits);
            return ret ? ret : -EIO;
        }
        set_count(s, t, start + i, 1);
    }
    if (start == s->hint)
        s->hint = start + len;
    if (fresh)
        *fresh = s->zero_past_end && start >= s->high;
    s->high = MAX(s->high, start + len);
    *off = start << s->cluster_bits;
    *n = len;
    return 0;
}

/* Room for len bytes of compressed data, after the last piece if that cluster can go on. */
int qcow2_alloc_bytes(Qcow2 *s, uint32_t len, uint64_t *off)
{
    uint64_t one = 1, cl, count;
    uint32_t mask = s->cluster_size - 1;
    int ret;

    if (s->failed || s->damaged)
        return -EIO;
    uint32_t room = s->comp_next & mask ? s->cluster_size - (s->comp_next & mask) : 0;
    if (room) {
        ret = qcow2_refcount_get(s, s->comp_next >> s->cluster_bits, &count);
        if (ret)
            return ret;
        if (!count || count == rc_max(s))
            room = 0;
    }
    if (room >= len) {
        *off = s->comp_next;
        ret = qcow2_refcount_add(s, *off >> s->cluster_bits, 1);
        if (ret)
            return ret;
        s->comp_next += len;
        return 0;
    }
    ret = qcow2_alloc(s, &one, true, &cl, NULL);
    if (ret)
        return ret;
    if (room && cl == (s->comp_next | mask) + 1) {      /* the next cluster follows: span both */
        ret = qcow2_refcount_add(s, s->comp_next >> s->cluster_bits, 1);
        if (ret) {
            qcow2_unalloc(s, cl, s->cluster_size);
            return ret;
        }
        *off = s->comp_next;
    } else {
        *off = cl;
    }
    s->comp_next = *off + len;
    return 0;
}

void qcow2_unalloc(Qcow2 *s, uint64_t off, uint64_t bytes)
{
    uint64_t last;

    if (!bytes)
        return;
    last = (off + bytes - 1) >> s->cluster_bits;
    for (uint64_t c = off >> s->cluster_bits; c <= last; c++)
        (void)!qcow2_refcount_add(s, c, -1);
    if (s->comp_next && (s->comp_next - 1) >> s->cluster_bits <= last && s->comp_next > off)
        s->comp_next = 0;
}

void qcow2_free_later(Qcow2 *s, uint64_t off, uint64_t bytes, bool discard)
{
    FreeRun r = { off, bytes, discard };

    if (s->pending->len) {
        FreeRun *last = &g_array_index(s->pending, FreeRun, s->pending->len - 1);
        if (last->off + last->bytes == off && last->discard == discard && !((off | bytes) & (s->cluster_size - 1))) {
            last->bytes += bytes;
            return;
        }
    }
    g_array_append_val(s->pending, r);
}

/* Exclusive section: nobody reads what goes away. */
void qcow2_release(Qcow2 *s, GArray *frees)
{
    g_mutex_lock(&s->lock);
    for (guint i = 0; i < frees->len; i++) {
        FreeRun *r = &g_array_index(frees, FreeRun, i);
        uint64_t first = r->off >> s->cluster_bits, last = (r->off + r->bytes - 1) >> s->cluster_bits;
        for (uint64_t c = first; c <= last; c++) {
            uint64_t count;
            if (qcow2_refcount_add(s, c, -1) || qcow2_refcount_get(s, c, &count) || count)
                continue;
            qcow2_meta_del(s, c << s->cluster_bits, s->cluster_size);
            if (s->comp_next && (s->comp_next - 1) >> s->cluster_bits == c)
                s->comp_next = 0;
            if (r->discard)
                block_pdiscard(s->node->file, c << s->cluster_bits, s->cluster_size);
        }
    }
    g_mutex_unlock(&s->lock);
    g_array_free(frees, TRUE);
}
