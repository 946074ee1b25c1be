/*
 * qcow2_snap: internal snapshots: the table, and walking whole trees of references.
 *
 * Orders (docs/block.md): create raises counts and clears COPIED before the new table is
 * visible; delete removes the entry before it lowers counts; apply builds a new L1 table
 * and switches to it by one header sector.
 */
#include <errno.h>
#include "block/qcow2_int.h"

enum { SNAP_FIXED = 40, MAX_EXTRA = 1024 };

static void snap_clear(Snap *p)
{
    g_free(p->id);
    g_free(p->name);
    g_free(p->extra);
}

void qcow2_snaps_free(Qcow2 *s)
{
    for (uint32_t i = 0; s->snaps && i < s->nb_snaps; i++)
        snap_clear(&s->snaps[i]);
    g_clear_pointer(&s->snaps, g_free);
}

static bool read_one(Qcow2 *s, Snap *p, uint64_t *at, GError **err)
{
    BlockNode *f = s->node->file;
    uint8_t h[SNAP_FIXED], x[24] = { 0 };
    uint32_t idl, nml, extra;
    int ret = block_pread(f, *at, h, sizeof h);

    if (ret)
        return err_set_errno(err, -ret, "Could not read the snapshot table");
    p->l1_off = ld64_be(h);
    p->l1_size = ld32_be(h + 8);
    idl = ld16_be(h + 12);
    nml = ld16_be(h + 14);
    p->sec = ld32_be(h + 16);
    p->nsec = ld32_be(h + 20);
    p->vm_clock = ld64_be(h + 24);
    p->vm_state_size = ld32_be(h + 32);
    extra = ld32_be(h + 36);
    if (extra > MAX_EXTRA)
        return err_set(err, "Snapshot entry has %u bytes of extra data; the limit is %d", extra, MAX_EXTRA);
    if (p->l1_size > QCOW2_MAX_L1 / 8 || (p->l1_off & (s->cluster_size - 1)) || p->l1_off > INT64_MAX - QCOW2_MAX_L1)
        return err_set(err, "Snapshot L1 table (offset %#" PRIx64 ", %u entries) is not valid", p->l1_off, p->l1_size);
    *at += SNAP_FIXED;
    p->disk_size = s->node->size;
    ret = block_pread(f, *at, x, MIN(extra, sizeof x));
    if (ret)
        return err_set_errno(err, -ret, "Could not read the snapshot table");
    if (extra >= 8)
        p->vm_state_size = ld64_be(x);
    if (extra >= 16) {
        p->disk_size = ld64_be(x + 8);
        p->has_disk_size = true;
    }
    if (extra >= 24) {
        p->icount = ld64_be(x + 16);
        p->has_icount = p->icount != UINT64_MAX;
    }
    if (extra > 24) {
        p->extra_len = extra - 24;
        p->extra = g_malloc0(p->extra_len);
        ret = block_pread(f, *at + 24, p->extra, p->extra_len);
    }
    *at += extra;
    p->id = g_malloc0(idl + 1);
    p->name = g_malloc0(nml + 1);
    ret = ret ? ret : block_pread(f, *at, p->id, idl);
    ret = ret ? ret : block_pread(f, *at + idl, p->name, nml);
    *at = (*at + idl + nml + 7) & ~7ULL;
    return ret ? err_set_errno(err, -ret, "Could not read the snapshot table") : true;
}

bool qcow2_snaps_read(Qcow2 *s, GError **err)
{
    uint64_t at = s->snap_off;

    s->snaps = g_new0(Snap, s->nb_snaps + 1);
    for (uint32_t i = 0; i < s->nb_snaps; i++) {
        if (!read_one(s, &s->snaps[i], &at, err) ||
            (at - s->snap_off > QCOW2_MAX_SNAP_TABLE && !err_set(err, "Snapshot table is too large"))) {
            for (uint32_t k = 0; k <= i; k++)
                snap_clear(&s->snaps[k]);
            g_clear_pointer(&s->snaps, g_free);
            s->nb_snaps = 0;
            return false;
        }
        at = (at + 7) & ~7ULL;
    }
    s->snap_bytes = at - s->snap_off;
    return true;
}

GPtrArray *qcow2_snap_list(BlockNode *n)
{
    Qcow2 *s = n->priv;
    GPtrArray *a = g_ptr_array_new_with_free_func((GDestroyNotify)block_snapshot_free);

    for (uint32_t i = 0; i < s->nb_snaps; i++) {
        Snap *p = &s->snaps[i];
        BlockSnapshot *b = g_new0(BlockSnapshot, 1);
        *b = (BlockSnapshot) { g_strdup(p->id), g_strdup(p->name), p->vm_state_size, p->disk_size, p->vm_clock,
                               p->icount, p->sec, p->nsec, p->has_icount };
        g_ptr_array_add(a, b);
    }
    return a;
}

static int find(Qcow2 *s, const char *id)
{
    for (uint32_t i = 0; i < s->nb_snaps; i++)
        if (g_str_equal(s->snaps[i].id, id))
            return i;
    for (uint32_t i = 0; i < s->nb_snaps; i++)
        if (g_str_equal(s->snaps[i].name, id))
            return i;
    return -1;
}

/* ---- the table ---- */
static GByteArray *encode(Qcow2 *s, const Snap *snaps, uint32_t count)
{
    static const uint8_t zero[8];
    GByteArray *a = g_byte_array_new();

    for (uint32_t i = 0; i < count; i++) {
        const Snap *p = &snaps[i];
        uint8_t h[SNAP_FIXED + 24] = { 0 };
        uint32_t idl = strlen(p->id), nml = strlen(p->name);
        st64_be(h, p->l1_off);
        st32_be(h + 8, p->l1_size);
        st16_be(h + 12, idl);
        st16_be(h + 14, nml);
        st32_be(h + 16, p->sec);
        st32_be(h + 20, p->nsec);
        st64_be(h + 24, p->vm_clock);
        st32_be(h + 32, p->vm_state_size > UINT32_MAX ? 0 : p->vm_state_size);
        st32_be(h + 36, 24 + p->extra_len);
        st64_be(h + 40, p->vm_state_size);
        st64_be(h + 48, p->disk_size);
        st64_be(h + 56, p->has_icount ? p->icount : UINT64_MAX);
        g_byte_array_append(a, h, sizeof h);
        if (p->extra_len)
            g_byte_array_append(a, p->extra, p->extra_len);
        g_byte_array_append(a, (uint8_t *)p->id, idl);
        g_byte_array_append(a, (uint8_t *)p->name, nml);
        if (a->len & 7)
            g_byte_array_append(a, zero, 8 - (a->len & 7));
    }
    return a;
}

/* Writes a new table and switches the header to it; the old one is given back. Exclusive. */
static bool write_table(Qcow2 *s, const Snap *snaps, uint32_t count, GError **err)
{
    g_autoptr(GByteArray) a = encode(s, snaps, count);
    uint64_t n = (a->len + (uint64_t)s->cluster_size - 1) >> s->cluster_bits, off = 0;
    uint64_t old_off = s->snap_off, old_bytes = s->snap_bytes;
    uint8_t h[12];
    GArray *frees = NULL;
    int ret = 0;

    if (a->len > QCOW2_MAX_SNAP_TABLE)
        return err_set(err, "Snapshot table would be too large");
    if (count) {
        g_mutex_lock(&s->lock);
        ret = qcow2_alloc(s, &n, true, &off, NULL);
        g_mutex_unlock(&s->lock);
        if (ret)
            return err_set_errno(err, -ret, "Could not allocate the snapshot table");
        ret = block_pwrite(s->node->file, off, a->data, a->len);
    }
    ret = ret ? ret : qcow2_flush_meta(s, &frees);
    if (ret) {
        g_mutex_lock(&s->lock);
        if (count)
            qcow2_unalloc(s, off, n << s->cluster_bits);
        g_mutex_unlock(&s->lock);
        return err_set_errno(err, -ret, "Could not write the snapshot table");
    }
    if (frees)
        qcow2_release(s, frees);
    st32_be(h, count);
    st64_be(h + 4, off);
    ret = qcow2_header_write(s, H_NB_SNAP, h, sizeof h);
    if (ret) {
        s->failed = true;
        return err_set_errno(err, -ret, "Could not switch to the new snapshot table");
    }
    g_mutex_lock(&s->lock);
    if (old_bytes)
        qcow2_free_later(s, old_off, (old_bytes + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1), false);
    if (count)
        qcow2_meta_add(s, off, a->len);
    s->snap_off = off;
    s->snap_bytes = a->len;
    g_mutex_unlock(&s->lock);
    return true;
}

/* ---- trees ---- */
static int ref_range(Qcow2 *s, uint64_t off, uint64_t len, int delta)
{
    uint64_t last = (off + len - 1) >> s->cluster_bits;

    for (uint64_t c = off >> s->cluster_bits; c <= last; c++) {
        int ret = qcow2_refcount_add(s, c, delta);
        if (ret)
            return ret;
    }
    return 0;
}

static int flush_if_crowded(Qcow2 *s)
{
    if (!qcow2_cache_crowded(s))
        return 0;
    g_mutex_unlock(&s->lock);
    int ret = qcow2_sync_exclusive(s);
    g_mutex_lock(&s->lock);
    return ret;
}

/* Adds delta to everything one L2 entry holds; what goes down waits for a flush. */
static int ref_entry(Qcow2 *s, uint64_t e, int delta)
{
    uint64_t off = e & OFF_MASK, len = s->cluster_size;

    if (e & F_COMPRESSED)
        qcow2_comp_span(s, e, &off, &len);
    else if (!off || s->external)
        return 0;
    if (delta > 0)
        return ref_range(s, off, len, 1);
    qcow2_free_later(s, off, len, true);
    return 0;
}

/* Walks all tables of l1. delta 1 or -1; a counted-down tree must not be reachable any more. */
static int ref_tree(Qcow2 *s, const uint64_t *l1, uint32_t l1_size, int delta)
{
    int ret = 0;

    for (uint32_t i = 0; i < l1_size && !ret; i++) {
        uint64_t off = l1[i] & OFF_MASK;
        Table *t;
        if (!off)
            continue;
        if (off & (s->cluster_size - 1))
            return qcow2_damage(s, "bad L1 entry", off);
        ret = flush_if_crowded(s);
        ret = ret ? ret : qcow2_table_get(s, &s->l2c, off, &t);
        if (ret)
            return ret;
        t->pins++;
        for (unsigned k = 0; k < 1u << s->l2_bits && !ret; k++)
            ret = ref_entry(s, qcow2_l2e(s, t, k), delta);
        t->pins--;
        if (!ret && delta > 0)
            ret = qcow2_refcount_add(s, off >> s->cluster_bits, 1);
        else if (!ret)
            qcow2_free_later(s, off, s->cluster_size, false);
    }
    return ret;
}

/* Sets or clears COPIED in the active tree according to the counts. */
static int fix_copied(Qcow2 *s)
{
    uint64_t count;
    int ret = 0;

    for (uint32_t i = 0; i < s->l1_size && !ret; i++) {
        uint64_t off = s->l1[i] & OFF_MASK;
        Table *t;
        if (!off)
            continue;
        ret = flush_if_crowded(s);
        ret = ret ? ret : qcow2_refcount_get(s, off >> s->cluster_bits, &count);
        if (ret)
            return ret;
        uint64_t want = off | (count == 1 ? F_COPIED : 0);
        if (s->l1[i] != want) {
            s->l1[i] = want;
            s->l1_dirty[i / 64] = 1;
            s->l1_any = true;
        }
        ret = qcow2_table_get(s, &s->l2c, off, &t);
        if (ret)
            return ret;
        t->pins++;
        for (unsigned k = 0; k < 1u << s->l2_bits && !ret; k++) {
            uint64_t e = qcow2_l2e(s, t, k);
            if ((e & F_COMPRESSED) || !(e & OFF_MASK) || s->external)
                continue;
            ret = qcow2_refcount_get(s, (e & OFF_MASK) >> s->cluster_bits, &count);
            uint64_t ne = (e & ~F_COPIED) | (count == 1 ? F_COPIED : 0);
            if (!ret && ne != e)
                qcow2_l2_set(s, t, k, ne, qcow2_l2b(s, t, k));
        }
        t->pins--;
    }
    return ret;
}

/* After references went: what is counted once now may be written in place again. */
static int settle_copied(Qcow2 *s)
{
    int ret = qcow2_sync_exclusive(s);

    if (ret)
        return ret;
    g_mutex_lock(&s->lock);
    ret = fix_copied(s);
    g_mutex_unlock(&s->lock);
    return ret ? ret : qcow2_sync_exclusive(s);
}

static bool usable(Qcow2 *s, GError **err)
{
    if (s->node->read_only)
        return err_set(err, "'%s' is read-only", s->node->filename);
    if (s->external)
        return err_set_code(err, ERR_UNSUPPORTED, "Images with an external data file have no internal snapshots");
    if (s->failed || s->damaged)
        return err_set(err, "'%s' had errors: no snapshot operations", s->node->filename);
    return true;
}

/*
 * Counts and COPIED marks cannot change in one write: between the two a check finds them at
 * odds, though no data is in danger. The dirty bit makes the next writer settle that.
 */
static bool fragile(Qcow2 *s, bool on, GError **err)
{
    int ret = 0;

    if (s->version >= 3 && !(s->incompat & INC_DIRTY) == on)
        ret = qcow2_set_incompat(s, s->incompat ^ INC_DIRTY);
    return ret ? err_set_errno(err, -ret, "Could not update the header") : true;
}

/* ---- create ---- */
static char *new_id(Qcow2 *s)
{
    uint64_t max = 0;

    for (uint32_t i = 0; i < s->nb_snaps; i++)
        max = MAX(max, g_ascii_strtoull(s->snaps[i].id, NULL, 10));
    return g_strdup_printf("%" PRIu64, max + 1);
}

static bool create_exclusive(Qcow2 *s, const char *name, GError **err)
{
    uint64_t bytes = MAX(((uint64_t)s->l1_size * 8 + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1), s->cluster_size);
    uint64_t n = bytes >> s->cluster_bits, off;
    gint64 now = g_get_real_time();
    int ret = qcow2_sync_exclusive(s);

    if (ret)
        return err_set_errno(err, -ret, "Could not flush");
    g_mutex_lock(&s->lock);
    ret = ref_tree(s, s->l1, s->l1_size, 1);
    if (!ret)
        ret = fix_copied(s);
    if (!ret)
        ret = qcow2_alloc(s, &n, true, &off, NULL);
    g_mutex_unlock(&s->lock);
    ret = ret ? ret : qcow2_sync_exclusive(s);
    if (ret)
        return err_set_errno(err, -ret, "Could not take references for the snapshot");
    g_autofree uint8_t *buf = g_malloc0(bytes);
    for (uint32_t i = 0; i < s->l1_size; i++)
        st64_be(buf + 8 * (size_t)i, s->l1[i]);
    ret = block_pwrite(s->node->file, off, buf, bytes);
    if (ret)
        return err_set_errno(err, -ret, "Could not write the snapshot's L1 table");
    Snap p = { .l1_off = off, .l1_size = s->l1_size, .disk_size = s->node->size, .has_disk_size = true,
               .sec = now / G_USEC_PER_SEC, .nsec = now % G_USEC_PER_SEC * 1000, .id = new_id(s),
               .name = g_strdup(name) };
    Snap *all = g_new0(Snap, s->nb_snaps + 2);
    memcpy(all, s->snaps, s->nb_snaps * sizeof *all);
    all[s->nb_snaps] = p;
    if (!write_table(s, all, s->nb_snaps + 1, err)) {
        snap_clear(&p);
        g_free(all);
        return false;
    }
    g_free(s->snaps);
    s->snaps = all;
    s->nb_snaps++;
    ret = qcow2_sync_exclusive(s);
    return ret ? err_set_errno(err, -ret, "Could not flush") : true;
}

static bool has_tables(const Qcow2 *s)
{
    for (uint32_t i = 0; i < s->l1_size; i++)
        if (s->l1[i])
            return true;
    return false;
}

bool qcow2_snap_create(BlockNode *n, const char *name, GError **err)
{
    Qcow2 *s = n->priv;
    bool ok;

    if (!usable(s, err))
        return false;
    if (s->nb_snaps >= QCOW2_MAX_SNAPS)
        return err_set(err, "The image has %u snapshots: no more fit", s->nb_snaps);
    if (s->rc_order == 0 && has_tables(s))
        return err_set(err, "An image with 1-bit refcounts cannot have snapshots of data");
    if (strlen(name) > 1023)
        return err_set(err, "The snapshot name is too long");
    qcow2_exclusive_begin(s);
    ok = fragile(s, true, err) && create_exclusive(s, name, err) && fragile(s, false, err);
    qcow2_exclusive_end(s);
    return ok;
}

/* ---- delete ---- */
static bool delete_exclusive(Qcow2 *s, int i, GError **err)
{
    g_autofree uint64_t *l1 = NULL;
    g_autofree Snap *rest = g_new0(Snap, s->nb_snaps + 1);
    Snap gone = s->snaps[i];
    int ret;

    if (!qcow2_l1_read(s, gone.l1_off, gone.l1_size, &l1, err))
        return false;
    memcpy(rest, s->snaps, i * sizeof *rest);
    memcpy(rest + i, s->snaps + i + 1, (s->nb_snaps - i - 1) * sizeof *rest);
    if (!write_table(s, rest, s->nb_snaps - 1, err))
        return false;
    g_free(s->snaps);
    s->snaps = g_steal_pointer(&rest);
    s->nb_snaps--;
    g_mutex_lock(&s->lock);
    ret = ref_tree(s, l1, gone.l1_size, -1);
    if (!ret && gone.l1_size)
        qcow2_free_later(s, gone.l1_off, ((uint64_t)gone.l1_size * 8 + s->cluster_size - 1) &
                         ~(uint64_t)(s->cluster_size - 1), false);
    g_mutex_unlock(&s->lock);
    ret = ret ? ret : settle_copied(s);
    snap_clear(&gone);
    return ret ? err_set_errno(err, -ret, "Could not drop the snapshot's references (clusters may be leaked)") : true;
}

static int find_or_complain(Qcow2 *s, const char *id, GError **err)
{
    int i = find(s, id);

    if (i < 0)
        err_set_code(err, ERR_NOT_FOUND, "Can't find the snapshot '%s'", id);
    return i;
}

/* op on the snapshot, with nobody else in the image. */
static bool change(BlockNode *n, const char *id, bool (*op)(Qcow2 *s, int i, GError **err), GError **err)
{
    Qcow2 *s = n->priv;
    int i = usable(s, err) ? find_or_complain(s, id, err) : -1;
    bool ok;

    if (i < 0)
        return false;
    qcow2_exclusive_begin(s);
    ok = fragile(s, true, err) && op(s, i, err) && fragile(s, false, err);
    qcow2_exclusive_end(s);
    return ok;
}

bool qcow2_snap_delete(BlockNode *n, const char *id, GError **err) { return change(n, id, delete_exclusive, err); }

/* ---- apply ---- */
static bool apply_exclusive(Qcow2 *s, int i, GError **err)
{
    const Snap *p = &s->snaps[i];
    g_autofree uint64_t *new_l1 = NULL, *old_l1 = NULL;
    uint32_t old_size = s->l1_size, size = MAX(p->l1_size, qcow2_l1_needed(s, p->disk_size));
    int ret = qcow2_sync_exclusive(s);

    if (ret)
        return err_set_errno(err, -ret, "Could not flush");
    if (!qcow2_l1_read(s, p->l1_off, p->l1_size, &new_l1, err))
        return false;
    new_l1 = g_realloc(new_l1, (size_t)size * 8 + 8);
    memset(new_l1 + p->l1_size, 0, (size_t)(size - p->l1_size) * 8);
    for (uint32_t k = 0; k < size; k++)
        new_l1[k] &= ~F_COPIED;
    old_l1 = g_memdup2(s->l1, MAX((size_t)old_size * 8, 8));
    g_mutex_lock(&s->lock);
    ret = ref_tree(s, new_l1, size, 1);
    g_mutex_unlock(&s->lock);
    if (ret)
        return err_set_errno(err, -ret, "Could not take references to the snapshot");
    if (!qcow2_l1_replace(s, new_l1, size, p->disk_size, err))
        return false;
    g_mutex_lock(&s->lock);
    ret = ref_tree(s, old_l1, old_size, -1);
    g_mutex_unlock(&s->lock);
    ret = ret ? ret : settle_copied(s);
    return ret ? err_set_errno(err, -ret, "Could not drop references (clusters may be leaked)") : true;
}

bool qcow2_snap_apply(BlockNode *n, const char *id, GError **err) { return change(n, id, apply_exclusive, err); }

bool qcow2_snap_load(BlockNode *n, const char *id, GError **err)
{
    Qcow2 *s = n->priv;
    int i = find_or_complain(s, id, err);
    uint64_t *l1;

    if (i < 0)
        return false;
    if (!n->read_only)
        return err_set(err, "Device is not readonly");
    Snap *p = &s->snaps[i];
    if (qcow2_l1_needed(s, p->disk_size) > p->l1_size)
        return err_set(err, "The snapshot's L1 table is too small for its disk size");
    if (!qcow2_l1_read(s, p->l1_off, p->l1_size, &l1, err))
        return false;
    qcow2_exclusive_begin(s);
    g_free(s->l1);
    s->l1 = l1;
    s->l1_size = p->l1_size;
    s->l1_off = p->l1_off;
    n->size = p->disk_size;
    qcow2_exclusive_end(s);
    return true;
}
