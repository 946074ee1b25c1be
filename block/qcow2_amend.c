/*
 * qcow2_amend: changes to a whole image: size, backing file, options, emptying.
 */
#include <errno.h>
#include "block/qcow2_int.h"

/* ---- preallocation ---- */
static int write_real_zeroes(BlockNode *file, uint64_t off, uint64_t bytes)
{
    g_autofree uint8_t *zero = g_malloc0(MIN(bytes, MiB));
    int ret = 0;

    for (uint64_t o = 0; !ret && o < bytes; o += MiB)
        ret = block_pwrite(file, off + o, zero, MIN(MiB, bytes - o));
    return ret;
}

/* Host blocks for new clusters, as the mode asks; fresh ones read as zero already. */
static int fill_run(Qcow2 *s, uint64_t off, uint64_t bytes, bool fresh, const char *mode)
{
    int ret = 0;

    if (g_str_equal(mode, "full"))
        return write_real_zeroes(s->node->file, off, bytes);
    if (!fresh)                         /* a reused cluster: nobody may see its old bytes */
        ret = block_pwrite_zeroes(s->node->file, off, bytes, 0);
    return !ret && g_str_equal(mode, "falloc") ? block_reserve(s->node->file, off, bytes) : ret;
}

static int prealloc_table(Qcow2 *s, uint64_t g, uint64_t end, const char *mode)
{
    uint64_t span = 1ULL << (s->cluster_bits + s->l2_bits), stop = MIN(end, (g & ~(span - 1)) + span);
    Table *t;
    int ret = qcow2_l2_writable(s, g, &t);

    while (!ret && g < stop) {
        unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1);
        uint64_t off = g, n = 0, room = (stop - g + s->cluster_size - 1) >> s->cluster_bits;
        while (n < room && !(qcow2_l2e(s, t, i + n) & (OFF_MASK | F_COMPRESSED | F_COPIED)))
            n++;
        if (!n) {
            g += s->cluster_size;
            continue;
        }
        bool fresh = true;
        t->pins++;
        if (!s->external)
            ret = qcow2_alloc(s, &n, false, &off, &fresh);
        if (!ret && !s->external)
            ret = fill_run(s, off, n << s->cluster_bits, fresh, mode);
        t->pins--;
        for (uint64_t k = 0; !ret && k < n; k++)
            qcow2_l2_set(s, t, i + k, (off + (k << s->cluster_bits)) | F_COPIED, s->node->backing_name ? 0 : 0xffffffff);
        g += n << s->cluster_bits;
    }
    return ret;
}

bool qcow2_preallocate(BlockNode *n, uint64_t off, uint64_t size, const char *mode, GError **err)
{
    Qcow2 *s = n->priv;
    uint64_t span = 1ULL << (s->cluster_bits + s->l2_bits);

    off &= ~(uint64_t)(s->cluster_size - 1);
    while (off < size) {
        int ret = qcow2_cache_crowded(s) ? qcow2_flush(n) : 0;
        g_mutex_lock(&s->lock);
        ret = ret ? ret : prealloc_table(s, off, size, mode);
        g_mutex_unlock(&s->lock);
        if (ret)
            return err_set_errno(err, -ret, "Could not preallocate");
        off = (off & ~(span - 1)) + span;
    }
    int ret = qcow2_flush(n);
    if (!ret && !s->external && block_node_size(n->file) < s->high << s->cluster_bits)
        return block_truncate(n->file, s->high << s->cluster_bits, "off", err);
    return ret ? err_set_errno(err, -ret, "Could not preallocate") : true;
}

/* ---- size ---- */
static bool set_size(Qcow2 *s, uint64_t size, GError **err)
{
    uint32_t need = qcow2_l1_needed(s, size);
    uint8_t b[8];
    bool ok = true;
    int ret;

    if (need > s->l1_size) {
        g_autofree uint64_t *l1 = g_malloc0((size_t)need * 8);
        memcpy(l1, s->l1, (size_t)s->l1_size * 8);
        ret = qcow2_sync_exclusive(s);
        return ret ? err_set_errno(err, -ret, "Could not flush") : qcow2_l1_replace(s, l1, need, size, err);
    }
    st64_be(b, size);
    ret = qcow2_header_write(s, H_SIZE, b, 8);
    if (ret)
        return err_set_errno(err, -ret, "Failed to update the image size");
    s->node->size = size;
    return ok;
}

/* Clusters wholly past size lose their pointers. */
static int drop_tail(Qcow2 *s, uint64_t size, uint64_t old)
{
    uint64_t from = (size + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1);
    uint64_t span = 1ULL << (s->cluster_bits + s->l2_bits);
    int ret = 0;

    g_mutex_lock(&s->lock);
    for (uint64_t g = from; g < old && !ret; g = (g & ~(span - 1)) + span) {
        Table *t;
        ret = qcow2_l2_load(s, g, &t);
        if (ret || !t)
            continue;
        ret = qcow2_l2_writable(s, g, &t);
        for (unsigned i = g >> s->cluster_bits & ((1u << s->l2_bits) - 1); !ret && i < 1u << s->l2_bits; i++) {
            uint64_t e = qcow2_l2e(s, t, i);
            if (!e && !qcow2_l2b(s, t, i))
                continue;
            qcow2_l2_set(s, t, i, 0, 0);
            qcow2_free_entry(s, e, true);
        }
        if (!ret && qcow2_cache_crowded(s)) {
            g_mutex_unlock(&s->lock);
            ret = qcow2_sync_exclusive(s);
            g_mutex_lock(&s->lock);
        }
    }
    g_mutex_unlock(&s->lock);
    return ret ? ret : qcow2_sync_exclusive(s);
}

bool qcow2_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    Qcow2 *s = n->priv;
    uint64_t old = n->size;
    bool ok;
    int ret = 0;

    if (size & 511)
        return err_set(err, "The new size must be a multiple of 512");
    if (s->failed || s->damaged)
        return err_set(err, "'%s' had errors: it cannot be resized", n->filename);
    if (s->nb_snaps && s->version < 3)
        return err_set_code(err, ERR_UNSUPPORTED, "Can't resize a version 2 image which has snapshots");
    if (qcow2_l1_needed(s, size) > QCOW2_MAX_L1 / 8 || size >> (s->cluster_bits + s->l2_bits) > QCOW2_MAX_L1 / 8)
        return err_set(err, "The image size is too large for cluster size %u", s->cluster_size);
    if (size < old && strcmp(prealloc, "off"))
        return err_set(err, "Preallocation can't be used for shrinking an image");
    qcow2_exclusive_begin(s);
    if (size < old)
        ret = drop_tail(s, size, old);
    ok = ret ? err_set_errno(err, -ret, "Failed to discard the end of the image") : set_size(s, size, err);
    qcow2_exclusive_end(s);
    if (ok && s->external)
        ok = block_truncate(s->data_file, size, g_str_equal(prealloc, "metadata") ? "off" : prealloc, err);
    if (!ok || size <= old)
        return ok;
    /* Bytes behind the old end: of its cluster, and of a longer backing file. */
    uint64_t edge = (old + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1);
    if (n->backing && block_node_size(n->backing) > old)
        edge = MIN(size, block_node_size(n->backing));
    edge = MIN(edge, size);
    if (edge > old)
        ret = block_pwrite_zeroes(n, old, edge - old, 0);
    if (ret)
        return err_set_errno(err, -ret, "Failed to zero the new area");
    if (strcmp(prealloc, "off") && !qcow2_preallocate(n, old, size, prealloc, err))
        return false;
    ret = qcow2_flush(n);
    return ret ? err_set_errno(err, -ret, "Could not flush") : true;
}

/* ---- header fields ---- */
bool qcow2_change_backing(BlockNode *n, const char *name, const char *format, GError **err)
{
    Qcow2 *s = n->priv;
    char *old_name = n->backing_name, *old_fmt = n->backing_format;

    if (name && strlen(name) > 1023)
        return err_set(err, "Backing file name too long");
    if (name && s->data_raw)
        return err_set(err, "Cannot set a backing file for images with a raw data file");
    n->backing_name = name && *name ? g_strdup(name) : NULL;
    n->backing_format = n->backing_name && format ? g_strdup(format) : NULL;
    if (!qcow2_header_rewrite(s, err)) {
        g_free(n->backing_name);
        g_free(n->backing_format);
        n->backing_name = old_name;
        n->backing_format = old_fmt;
        return false;
    }
    g_free(old_name);
    g_free(old_fmt);
    return true;
}

bool qcow2_make_empty(BlockNode *n, GError **err)
{
    Qcow2 *s = n->priv;
    g_autofree uint64_t *zero = g_malloc0((size_t)s->l1_size * 8 + 8);
    g_autofree uint64_t *old = g_memdup2(s->l1, MAX((size_t)s->l1_size * 8, 8));
    uint32_t size = s->l1_size;
    int ret;

    qcow2_exclusive_begin(s);
    ret = qcow2_sync_exclusive(s);
    if (ret || !qcow2_l1_replace(s, zero, size, n->size, err)) {
        qcow2_exclusive_end(s);
        return ret ? err_set_errno(err, -ret, "Could not flush") : false;
    }
    g_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < size && !ret; i++) {
        Table *t;
        uint64_t off = old[i] & OFF_MASK;
        if (!off || (off & (s->cluster_size - 1)))
            continue;
        ret = qcow2_table_get(s, &s->l2c, off, &t);
        for (unsigned k = 0; !ret && k < 1u << s->l2_bits; k++)
            qcow2_free_entry(s, qcow2_l2e(s, t, k), true);
        if (!ret)
            qcow2_free_later(s, off, s->cluster_size, true);
    }
    g_mutex_unlock(&s->lock);
    ret = ret ? ret : qcow2_sync_exclusive(s);
    qcow2_exclusive_end(s);
    return ret ? err_set_errno(err, -ret, "Could not free the old data") : true;
}

/* Version 2 has no zero flag: such clusters become data or holes. */
static int expand_zeroes(BlockNode *n)
{
    g_autofree uint8_t *zero = g_malloc0(MiB);
    uint64_t off = 0;
    int ret = 0;

    while (off < n->size && !ret) {
        BlockStatus st;
        ret = block_status(n, off, MIN(n->size - off, MiB), &st);
        if (!ret && st.zero && st.allocated)
            ret = block_pwrite(n, off, zero, st.bytes);
        off += ret ? 0 : st.bytes;
    }
    return ret ? ret : qcow2_flush(n);
}

static bool change_version(Qcow2 *s, int version, GError **err)
{
    uint64_t compat = s->compat, incompat = s->incompat;
    int ret;

    if (version == s->version)
        return true;
    if (version == 2) {
        if (s->rc_order != 4)
            return err_set(err, "compat=0.10 requires refcount_bits=16");
        if (s->incompat & (INC_EXT_L2 | INC_COMP_TYPE | INC_DATA_FILE))
            return err_set(err, "Cannot downgrade an image with incompatible features set");
        if (s->nb_snaps)
            return err_set(err, "Cannot downgrade an image that has snapshots");
        ret = expand_zeroes(s->node);
        if (ret)
            return err_set_errno(err, -ret, "Failed to turn zero into data clusters");
        s->compat = s->incompat = s->autoclear = 0;
    }
    int old = s->version;
    s->version = version;
    s->header_len = version == 2 ? H_V2_SIZE : H_V3_SIZE;
    s->lazy = s->compat & COMPAT_LAZY;
    if (!qcow2_header_rewrite(s, err)) {
        s->version = old;
        s->compat = compat;
        s->incompat = incompat;
        return false;
    }
    return true;
}

bool qcow2_amend(BlockNode *n, GHashTable *opts, bool force, GError **err)
{
    Qcow2 *s = n->priv;
    g_autoptr(GHashTable) o = block_opts_copy(opts);
    g_autofree char *compat = NULL, *backing = NULL, *fmt = NULL, *dfile = NULL;
    uint64_t size = UINT64_MAX, bits = 1u << s->rc_order;
    bool lazy = s->lazy, lazy_given = block_opts_get(o, "lazy_refcounts") != NULL, raw = s->data_raw;
    int version = s->version;
    GHashTableIter it;
    gpointer k, v;

    if (!block_opts_take_u64(o, "size", &size, err) || !block_opts_take_u64(o, "refcount_bits", &bits, err) ||
        !block_opts_take_bool(o, "lazy_refcounts", &lazy, err) || !block_opts_take_bool(o, "data_file_raw", &raw, err))
        return false;
    if (block_opts_take(o, "compat", &compat))
        version = g_str_equal(compat, "0.10") || g_str_equal(compat, "v2") ? 2 :
                  g_str_equal(compat, "1.1") || g_str_equal(compat, "v3") ? 3 : 0;
    if (!version)
        return err_set(err, "Unknown compatibility level %s", compat);
    bool set_backing = block_opts_take(o, "backing_file", &backing), set_fmt = block_opts_take(o, "backing_fmt", &fmt);
    bool set_dfile = block_opts_take(o, "data_file", &dfile);
    g_hash_table_iter_init(&it, o);
    if (g_hash_table_iter_next(&it, &k, &v))
        return err_set(err, "Changing '%s' is not supported for qcow2", (char *)k);
    if (set_dfile && !s->external)
        return err_set(err, "data-file can only be set for images that use an external data file");
    if (raw != s->data_raw && raw)
        return err_set(err, "data-file-raw cannot be set on existing images");
    if (bits < 1 || bits > 64 || (bits & (bits - 1)))
        return err_set(err, "Refcount width must be a power of two and may not exceed 64 bits");
    if ((version < 3) && bits != 16)
        return err_set(err, "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)");
    if (version < 3 && !lazy_given)
        lazy = false;                   /* the older version has no such bit */
    if (lazy && version < 3)
        return err_set(err, "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)");
    if (version > s->version && !change_version(s, version, err))
        return false;
    if (bits != 1u << s->rc_order && !qcow2_rebuild_with_order(s, 63 - __builtin_clzll(bits), err))
        return false;
    if (set_backing || set_fmt) {
        const char *name = set_backing ? backing : n->backing_name;
        if (!qcow2_change_backing(n, name, set_fmt ? fmt : n->backing_format, err))
            return false;
    }
    if (set_dfile) {
        g_free(s->data_file_name);
        s->data_file_name = *dfile ? g_strdup(dfile) : NULL;
    }
    if (lazy != s->lazy || set_dfile || raw != s->data_raw) {
        s->lazy = lazy;
        s->compat = (s->compat & ~COMPAT_LAZY) | (lazy ? COMPAT_LAZY : 0);
        s->data_raw = raw;
        s->autoclear = (s->autoclear & ~AUTO_RAW_DATA) | (raw ? AUTO_RAW_DATA : 0);
        if (!qcow2_header_rewrite(s, err))
            return false;
    }
    if (size != UINT64_MAX && !block_truncate(n, size, "off", err))
        return false;
    return version >= s->version || change_version(s, version, err);
}
