/*
 * qcow2: opening and closing images of versions 2 and 3, and their header.
 *
 * Format: "qcow2 image format" specification. Every field is checked before use; an image
 * that cannot be opened for data still tells its header (BLOCK_NO_IO). Not here: encryption
 * (refused by name) and persistent bitmaps (kept, but no longer marked valid after a write).
 */
#include <errno.h>
#include "block/qcow2_int.h"
#include "util/log.h"

static int qcow2_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && ld32_be(buf) == QCOW2_MAGIC && ld32_be(buf + 4) >= 2 ? 100 : 0;
}

uint32_t qcow2_l1_needed(const Qcow2 *s, uint64_t size)
{
    unsigned bits = s->cluster_bits + s->l2_bits;

    return (size >> bits) + ((size & ((1ULL << bits) - 1)) != 0);
}

/* ---- header writes ---- */
int qcow2_header_write(Qcow2 *s, unsigned field, const void *data, size_t len)
{
    int ret = block_pwrite(s->node->file, field, data, len);

    return ret ? ret : block_flush(s->node->file);
}

int qcow2_set_incompat(Qcow2 *s, uint64_t bits)
{
    uint8_t b[8];
    int ret;

    st64_be(b, bits);
    ret = qcow2_header_write(s, H_INCOMPAT, b, 8);
    if (!ret)
        s->incompat = bits;
    return ret;
}

static void put_ext(GByteArray *a, uint32_t type, const void *data, uint32_t len)
{
    static const uint8_t zero[8];
    uint8_t h[8];

    st32_be(h, type);
    st32_be(h + 4, len);
    g_byte_array_append(a, h, 8);
    if (len)
        g_byte_array_append(a, data, len);
    if (len & 7)
        g_byte_array_append(a, zero, 8 - (len & 7));
}

static void put_features(GByteArray *a)
{
    static const struct { uint8_t type, bit; const char *name; } f[] = {
        { 0, 0, "dirty bit" }, { 0, 1, "corrupt bit" }, { 0, 2, "external data file" },
        { 0, 3, "compression type" }, { 0, 4, "extended L2 entries" }, { 1, 0, "lazy refcounts" },
        { 2, 0, "bitmaps" }, { 2, 1, "raw external data" },
    };
    uint8_t t[sizeof f / sizeof f[0] * 48] = { 0 };

    for (size_t i = 0; i < ARRAY_LEN(f); i++) {
        t[48 * i] = f[i].type;
        t[48 * i + 1] = f[i].bit;
        strcpy((char *)t + 48 * i + 2, f[i].name);
    }
    put_ext(a, EXT_FEATURES, t, sizeof t);
}

bool qcow2_header_rewrite(Qcow2 *s, GError **err)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    BlockNode *n = s->node;
    uint8_t h[H_V3_SIZE] = { 0 };
    uint32_t hlen = s->version == 2 ? H_V2_SIZE : MAX(s->header_len, H_V3_SIZE);
    int ret = block_pread(n->file, 0, h, sizeof h);

    if (ret)
        return err_set_errno(err, -ret, "Could not read the header");
    st32_be(h + H_VERSION, s->version);
    st64_be(h + H_SIZE, n->size);
    st32_be(h + H_L1_SIZE, s->l1_size);
    st64_be(h + H_L1_OFF, s->l1_off);
    st64_be(h + H_RT_OFF, s->rt_off);
    st32_be(h + H_RT_CLUSTERS, (uint64_t)s->rt_size * 8 >> s->cluster_bits);
    st32_be(h + H_NB_SNAP, s->nb_snaps);
    st64_be(h + H_SNAP_OFF, s->snap_off);
    st64_be(h + H_INCOMPAT, s->incompat);
    st64_be(h + H_COMPAT, s->compat);
    st64_be(h + H_AUTOCLEAR, s->autoclear);
    st32_be(h + H_RC_ORDER, s->rc_order);
    st32_be(h + H_LENGTH, hlen);
    memset(h + H_COMP_TYPE, 0, 8);
    h[H_COMP_TYPE] = s->comp_type;
    g_byte_array_append(a, h, MIN(hlen, H_V3_SIZE));
    if (hlen > H_V3_SIZE)
        g_byte_array_append(a, s->extra_header, hlen - H_V3_SIZE);
    if (n->backing_name && n->backing_format)
        put_ext(a, EXT_BACKING_FMT, n->backing_format, strlen(n->backing_format));
    if (s->data_file_name)
        put_ext(a, EXT_DATA_FILE, s->data_file_name, strlen(s->data_file_name));
    guint names_at = a->len;
    for (guint i = 0; i < s->exts->len; i++) {
        Extension *e = &g_array_index(s->exts, Extension, i);
        put_ext(a, e->type, e->data, e->len);
    }
    if (s->version >= 3) {              /* only names for people: left out when the cluster is too small */
        g_autoptr(GByteArray) names = g_byte_array_new();
        put_features(names);
        if (a->len + names->len + 8 + (n->backing_name ? strlen(n->backing_name) : 0) <= s->cluster_size) {
            g_byte_array_append(names, a->data + names_at, a->len - names_at);
            g_byte_array_set_size(a, names_at);
            g_byte_array_append(a, names->data, names->len);
        }
    }
    put_ext(a, EXT_END, NULL, 0);
    st64_be(a->data + H_BACKING_OFF, n->backing_name ? a->len : 0);
    st32_be(a->data + H_BACKING_LEN, n->backing_name ? strlen(n->backing_name) : 0);
    if (n->backing_name)
        g_byte_array_append(a, (uint8_t *)n->backing_name, strlen(n->backing_name));
    if (a->len > s->cluster_size)
        return err_set(err, "The header does not fit into one cluster (%u of %u bytes)", a->len, s->cluster_size);
    ret = qcow2_header_write(s, 0, a->data, a->len);
    return ret ? err_set_errno(err, -ret, "Could not write the header") : true;
}

/* ---- reading the header ---- */
static bool refuse_features(uint64_t unknown, const uint8_t *table, uint32_t len, GError **err)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = NULL;
        if (!(unknown >> bit & 1))
            continue;
        for (uint32_t o = 0; table && o + 48 <= len && !name; o += 48)
            if (table[o] == 0 && table[o + 1] == bit)
                name = (const char *)table + o + 2;
        if (names->len)
            g_string_append(names, ", ");
        if (name)
            g_string_append_printf(names, "%.46s", name);
        else
            g_string_append_printf(names, "Unknown incompatible feature: %" PRIx64, (uint64_t)1 << bit);
    }
    return err_set_code(err, ERR_UNSUPPORTED, "Unsupported qcow2 feature(s): %s", names->str);
}

static bool keep_ext(Qcow2 *s, uint32_t type, const uint8_t *data, uint32_t len, GError **err)
{
    switch (type) {
    case EXT_BACKING_FMT:
        if (len > 1023)
            return err_set(err, "backing format name is too long (%u bytes)", len);
        g_free(s->node->backing_format);
        s->node->backing_format = g_strndup((char *)data, len);
        return true;
    case EXT_DATA_FILE:
        g_free(s->data_file_name);
        s->data_file_name = g_strndup((char *)data, len);
        return true;
    case EXT_FEATURES:
        return true;
    default: {
        Extension e = { type, len, g_memdup2(data, len) };
        g_array_append_val(s->exts, e);
        return true;
    }
    }
}

/* head holds the first cluster (or the whole file when shorter). */
static bool read_exts(Qcow2 *s, const uint8_t *head, uint32_t len, uint32_t start, uint32_t end, GError **err)
{
    const uint8_t *features = NULL;
    uint32_t flen = 0, o = start;
    uint64_t unknown = s->incompat & ~INC_KNOWN;

    end = MIN(end, len);
    while (o + 8 <= end) {
        uint32_t type = ld32_be(head + o), n = ld32_be(head + o + 4);
        o += 8;
        if (type == EXT_END)
            break;
        if (n > end - o)
            return err_set(err, "Header extension too large: type %#x, %u bytes at offset %u", type, n, o);
        if (type == EXT_FEATURES) {
            features = head + o;
            flen = n;
        }
        if (!keep_ext(s, type, head + o, n, err))
            return false;
        if (((uint64_t)n + 7) / 8 * 8 > end - o)
            break;
        o += (n + 7) & ~7u;
    }
    return !unknown || refuse_features(unknown, features, flen, err);
}

#define BAD(...) return err_set(err, __VA_ARGS__)

static bool read_fields(Qcow2 *s, const uint8_t *h, uint64_t file_len, GError **err)
{
    BlockNode *n = s->node;
    uint32_t l1_size = ld32_be(h + H_L1_SIZE), rt_clusters = ld32_be(h + H_RT_CLUSTERS);

    s->version = ld32_be(h + H_VERSION);
    if (ld32_be(h) != QCOW2_MAGIC)
        BAD("Image is not in qcow2 format");
    if (s->version < 2 || s->version > 3)
        BAD("Unsupported qcow2 version %d", s->version);
    s->cluster_bits = ld32_be(h + H_CLUSTER_BITS);
    if (s->cluster_bits < 9 || s->cluster_bits > 21)
        BAD("Unsupported cluster size: 2^%u", s->cluster_bits);
    s->cluster_size = n->cluster_size = 1u << s->cluster_bits;
    s->rc_order = 4;
    s->header_len = H_V2_SIZE;
    if (s->version >= 3) {
        s->incompat = ld64_be(h + H_INCOMPAT);
        s->compat = ld64_be(h + H_COMPAT);
        s->autoclear = ld64_be(h + H_AUTOCLEAR);
        s->rc_order = ld32_be(h + H_RC_ORDER);
        s->header_len = ld32_be(h + H_LENGTH);
        if (s->header_len < H_V3_MIN || s->header_len > s->cluster_size || (s->header_len & 7))
            BAD("qcow2 header length %u is not valid", s->header_len);
        if (s->header_len > H_COMP_TYPE)
            s->comp_type = h[H_COMP_TYPE];
        if (s->rc_order > 6)
            BAD("Reference count entry width too large; may not exceed 64 bits");
        if (s->comp_type > 1)
            BAD("unknown compression type: %u", s->comp_type);
        if (!s->comp_type != !(s->incompat & INC_COMP_TYPE))
            BAD("Compression type %u and its feature bit disagree", s->comp_type);
    }
    s->ext_l2 = s->incompat & INC_EXT_L2;
    if (s->ext_l2 && s->cluster_bits < 14)
        BAD("Extended L2 entries need clusters of at least 16 KiB");
    s->lazy = s->compat & COMPAT_LAZY;
    s->entry_size = s->ext_l2 ? 16 : 8;
    s->l2_bits = s->cluster_bits - (s->ext_l2 ? 4 : 3);
    s->rb_bits = s->cluster_bits + 3 - s->rc_order;
    s->sc_bits = s->ext_l2 ? s->cluster_bits - 5 : s->cluster_bits;
    s->sc_size = 1u << s->sc_bits;
    s->crypt = ld32_be(h + H_CRYPT);
    if (s->crypt > 2)
        BAD("Unsupported encryption method %u", s->crypt);
    n->size = ld64_be(h + H_SIZE);
    s->l1_size = l1_size;
    s->l1_off = ld64_be(h + H_L1_OFF);
    s->rt_off = ld64_be(h + H_RT_OFF);
    s->nb_snaps = ld32_be(h + H_NB_SNAP);
    s->snap_off = ld64_be(h + H_SNAP_OFF);
    if (n->size > INT64_MAX)
        BAD("Image size %#" PRIx64 " is too large", n->size);
    if (l1_size > QCOW2_MAX_L1 / 8)
        BAD("Active L1 table too large (%u entries)", l1_size);
    if ((n->size >> (s->cluster_bits + s->l2_bits)) > QCOW2_MAX_L1 / 8 || qcow2_l1_needed(s, n->size) > l1_size)
        BAD("L1 table is too small (%u entries)", l1_size);
    if ((s->l1_off & (s->cluster_size - 1)) || s->l1_off > INT64_MAX - QCOW2_MAX_L1 || (l1_size && s->l1_off > file_len) ||
        (l1_size && s->l1_off < s->cluster_size))
        BAD("Active L1 table offset %#" PRIx64 " is not valid", s->l1_off);
    if ((s->rt_off & (s->cluster_size - 1)) || s->rt_off > file_len || (rt_clusters && s->rt_off < s->cluster_size))
        BAD("Refcount table offset %#" PRIx64 " is not valid", s->rt_off);
    if ((uint64_t)rt_clusters << s->cluster_bits > QCOW2_MAX_RT)
        BAD("Reference count table too large (%u clusters)", rt_clusters);
    if (!rt_clusters && !(n->flags & (BLOCK_CHECK | BLOCK_NO_IO)))
        BAD("Image does not contain a reference count table");
    s->rt_size = (uint64_t)rt_clusters << (s->cluster_bits - 3);
    if (s->nb_snaps > QCOW2_MAX_SNAPS)
        BAD("Snapshot table too large (%u entries)", s->nb_snaps);
    if (s->nb_snaps && ((s->snap_off & (s->cluster_size - 1)) || s->snap_off > file_len))
        BAD("Snapshot table offset %#" PRIx64 " is not valid", s->snap_off);
    return true;
}

static bool read_backing_name(Qcow2 *s, const uint8_t *head, uint32_t len, uint32_t *ext_end, GError **err)
{
    uint64_t off = ld64_be(head + H_BACKING_OFF);
    uint32_t n = ld32_be(head + H_BACKING_LEN);

    *ext_end = s->cluster_size;
    if (!off)
        return true;
    if (n > 1023 || !range_ok(off, n, MIN(s->cluster_size, len)) || off < s->header_len)
        BAD("Backing file name: offset %" PRIu64 ", length %u is not valid", off, n);
    *ext_end = off;
    if (n)
        s->node->backing_name = g_strndup((const char *)head + off, n);
    return true;
}

static bool read_header(Qcow2 *s, GError **err)
{
    BlockNode *n = s->node;
    uint64_t file_len = block_node_size(n->file);
    uint8_t h[H_V3_SIZE] = { 0 };
    g_autofree uint8_t *head = NULL;
    uint32_t len, ext_end;
    int ret;

    if (file_len < H_V2_SIZE)
        BAD("Image is too short (%" PRIu64 " bytes) for a qcow2 header", file_len);
    ret = block_pread(n->file, 0, h, sizeof h);
    if (ret)
        return err_set_errno(err, -ret, "Could not read qcow2 header");
    if (!read_fields(s, h, file_len, err))
        return false;
    len = MIN(file_len, s->cluster_size);
    head = g_malloc0(s->cluster_size);
    ret = block_pread(n->file, 0, head, len);
    if (ret)
        return err_set_errno(err, -ret, "Could not read qcow2 header");
    if (s->header_len > len)
        BAD("qcow2 header length %u is past the end of the file", s->header_len);
    if (s->header_len > H_V3_SIZE)
        s->extra_header = g_memdup2(head + H_V3_SIZE, s->header_len - H_V3_SIZE);
    if (!read_backing_name(s, head, len, &ext_end, err) || !read_exts(s, head, len, s->header_len, ext_end, err))
        return false;
    s->external = s->incompat & INC_DATA_FILE;
    s->data_raw = s->external && (s->autoclear & AUTO_RAW_DATA);
    if (s->data_raw && n->backing_name)
        BAD("A raw external data file forbids a backing file");
    return true;
}

bool qcow2_l1_read(Qcow2 *s, uint64_t off, uint32_t entries, uint64_t **l1, GError **err)
{
    uint64_t *t = g_try_malloc0((size_t)entries * 8 + 8);
    int ret;

    if (!t)
        return err_set(err, "no memory for a table of %u entries", entries);
    ret = entries ? block_pread(s->node->file, off, t, (size_t)entries * 8) : 0;
    if (ret) {
        g_free(t);
        return err_set_errno(err, -ret, "Could not read the table at offset %" PRIu64, off);
    }
    for (uint32_t i = 0; i < entries; i++)
        t[i] = be64toh(t[i]);
    *l1 = t;
    return true;
}

static void build_meta(Qcow2 *s)
{
    uint32_t mask = s->cluster_size - 1;
    enum { ENOUGH = 1 << 20 };

    s->meta = g_hash_table_new(NULL, NULL);
    qcow2_meta_add(s, 0, s->cluster_size);
    qcow2_meta_add(s, s->l1_off & ~(uint64_t)mask, (uint64_t)s->l1_size * 8);
    qcow2_meta_add(s, s->rt_off, (uint64_t)s->rt_size * 8);
    if (s->nb_snaps)
        qcow2_meta_add(s, s->snap_off, s->snap_bytes);
    for (uint32_t i = 0; i < s->rt_size && g_hash_table_size(s->meta) < ENOUGH; i++)
        if (s->rt[i] && !(s->rt[i] & mask))
            qcow2_meta_add(s, s->rt[i], s->cluster_size);
    for (uint32_t i = 0; i < s->l1_size && g_hash_table_size(s->meta) < ENOUGH; i++)
        if (s->l1[i] & OFF_MASK)
            qcow2_meta_add(s, s->l1[i] & OFF_MASK, s->cluster_size);
}

static bool read_tables(Qcow2 *s, GError **err)
{
    uint64_t flen = block_node_size(s->node->file);

    if (!qcow2_l1_read(s, s->l1_off, s->l1_size, &s->l1, err) ||
        !qcow2_l1_read(s, s->rt_off, s->rt_size, &s->rt, err))
        return false;
    s->l1_dirty = g_malloc0(s->l1_size / 64 + 1);
    s->rt_dirty = g_malloc0(s->rt_size / 64 + 1);
    s->high = (flen + s->cluster_size - 1) >> s->cluster_bits;
    s->zero_past_end = block_file_regular(s->node->file);
    build_meta(s);
    return true;
}

static bool open_data_file(Qcow2 *s, GHashTable *opts, unsigned flags, GError **err)
{
    g_autofree char *name = NULL;

    s->data_file = s->node->file;
    if (!s->external)
        return true;
    block_opts_take(opts, "data-file", &name);
    if (flags & BLOCK_NO_IO)
        return true;
    if (name) {
        BlockNode *d = block_node_find(s->node->graph, name);
        if (!d)
            return err_set_code(err, ERR_NOT_FOUND, "Cannot find node-name='%s'", name);
        s->data_file = block_node_ref(d);
        return true;
    }
    g_autofree char *path = NULL;
    if (!block_opts_take(opts, "data-file.filename", &path)) {
        if (!s->data_file_name)
            BAD("'data-file' is required for this image");
        path = g_strdup(s->data_file_name);
    }
    s->data_file = block_open_child(s->node, path, flags, err);
    if (!s->data_file) {
        s->data_file = s->node->file;
        return err_prefix(err, "external data file");
    }
    return true;
}

static void state_free(Qcow2 *s)
{
    if (s->external && s->data_file != s->node->file)
        block_node_unref(s->data_file);
    qcow2_cache_free(&s->l2c);
    qcow2_cache_free(&s->rbc);
    qcow2_codec_free(s);
    qcow2_snaps_free(s);
    for (guint i = 0; i < s->exts->len; i++)
        g_free(g_array_index(s->exts, Extension, i).data);
    g_array_free(s->exts, TRUE);
    g_array_free(s->pending, TRUE);
    if (s->meta)
        g_hash_table_unref(s->meta);
    g_free(s->l1);
    g_free(s->rt);
    g_free(s->l1_dirty);
    g_free(s->rt_dirty);
    g_free(s->extra_header);
    g_free(s->data_file_name);
    g_mutex_clear(&s->lock);
    g_mutex_clear(&s->flush_lock);
    g_cond_clear(&s->cond);
    g_free(s);
}

/* What a writer must settle before the first change. */
static bool prepare_write(Qcow2 *s, unsigned flags, GError **err)
{
    BlockNode *n = s->node;
    uint64_t keep = AUTO_RAW_DATA;
    uint8_t b[8];
    int ret;

    if ((s->incompat & INC_CORRUPT) && !(flags & BLOCK_CHECK))
        BAD("qcow2: Image is corrupt; cannot be opened read/write");
    if ((s->incompat & INC_DIRTY) && !(flags & BLOCK_CHECK)) {
        BlockCheck res = { 0 };
        if (!qcow2_check(n, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &res, err))
            return err_prefix(err, "Could not repair dirty image");
    }
    if (s->autoclear & ~keep && !(flags & BLOCK_CHECK)) {
        st64_be(b, s->autoclear & keep);
        ret = qcow2_header_write(s, H_AUTOCLEAR, b, 8);
        if (ret)
            return err_set_errno(err, -ret, "Could not clear autoclear feature bits");
        s->autoclear &= keep;
    }
    return true;
}

static void ignore_tuning(GHashTable *opts)
{
    static const char *const known[] = { "lazy-refcounts", "overlap-check", "overlap-check.template", "cache-size",
        "l2-cache-size", "l2-cache-entry-size", "refcount-cache-size", "cache-clean-interval",
        "pass-discard-request", "pass-discard-snapshot", "pass-discard-other", NULL };

    for (int i = 0; known[i]; i++)
        g_hash_table_remove(opts, known[i]);
}

static bool qcow2_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Qcow2 *s = g_new0(Qcow2, 1);

    n->priv = s;
    s->node = n;
    s->data_file = n->file;
    g_mutex_init(&s->lock);
    g_mutex_init(&s->flush_lock);
    g_cond_init(&s->cond);
    s->exts = g_array_new(FALSE, FALSE, sizeof(Extension));
    s->pending = g_array_new(FALSE, FALSE, sizeof(FreeRun));
    ignore_tuning(opts);
    if (!read_header(s, err))
        goto fail;
    if (s->crypt && !(flags & BLOCK_NO_IO)) {
        err_set_code(err, ERR_UNSUPPORTED, "Encrypted qcow2 images (method %s) are not supported",
                     s->crypt == 2 ? "luks" : "aes");
        goto fail;
    }
    qcow2_cache_init(&s->l2c, MAX(16, (32u << 20) >> s->cluster_bits));
    qcow2_cache_init(&s->rbc, MAX(8, (16u << 20) >> s->cluster_bits));
    if (!open_data_file(s, opts, flags, err))
        goto fail;
    if (!qcow2_snaps_read(s, err)) {
        if (!(flags & BLOCK_CHECK))
            goto fail;
        g_clear_error(err);
    }
    if (!(flags & BLOCK_NO_IO) &&
        (!read_tables(s, err) || (!n->read_only && !prepare_write(s, flags, err))))
        goto fail;
    return true;
fail:
    state_free(s);
    return false;
}

static int qcow2_close(BlockNode *n)
{
    Qcow2 *s = n->priv;
    int ret = 0;

    if (!n->read_only && s->rt) {
        qcow2_exclusive_begin(s);
        ret = s->failed ? -EIO : qcow2_sync_exclusive(s);
        qcow2_exclusive_end(s);
    }
    state_free(s);
    return ret;
}

bool qcow2_l1_replace(Qcow2 *s, uint64_t *l1, uint32_t l1_size, uint64_t disk_size, GError **err)
{
    uint64_t bytes = ((uint64_t)l1_size * 8 + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1);
    uint64_t n = MAX(bytes >> s->cluster_bits, 1), off, old_off = s->l1_off, old_size = s->l1_size;
    g_autofree uint8_t *buf = g_try_malloc0(n << s->cluster_bits);
    uint8_t h[24];
    GArray *frees;
    int ret;

    if (!buf)
        BAD("no memory for an L1 table of %u entries", l1_size);
    g_mutex_lock(&s->lock);
    ret = qcow2_alloc(s, &n, true, &off, NULL);
    g_mutex_unlock(&s->lock);
    if (ret)
        return err_set_errno(err, -ret, "Could not allocate an L1 table");
    for (uint32_t i = 0; i < l1_size; i++)
        st64_be(buf + 8 * (size_t)i, l1[i]);
    ret = block_pwrite(s->node->file, off, buf, n << s->cluster_bits);
    ret = ret ? ret : qcow2_flush_meta(s, &frees);
    if (ret) {
        g_mutex_lock(&s->lock);
        qcow2_unalloc(s, off, n << s->cluster_bits);
        g_mutex_unlock(&s->lock);
        return err_set_errno(err, -ret, "Could not write an L1 table");
    }
    if (frees)
        qcow2_release(s, frees);
    st64_be(h, disk_size);                      /* size, crypt method, L1 size, L1 offset: one sector */
    st32_be(h + 8, 0);
    st32_be(h + 12, l1_size);
    st64_be(h + 16, off);
    ret = qcow2_header_write(s, H_SIZE, h, sizeof h);
    if (ret) {
        s->failed = true;                       /* either table may be the one: touch none */
        return err_set_errno(err, -ret, "Could not switch to the new L1 table");
    }
    g_mutex_lock(&s->lock);
    g_free(s->l1);
    g_free(s->l1_dirty);
    s->l1 = g_memdup2(l1, MAX((size_t)l1_size * 8, 8));
    s->l1_dirty = g_malloc0(l1_size / 64 + 1);
    s->l1_any = false;
    s->l1_size = l1_size;
    s->l1_off = off;
    s->node->size = disk_size;
    qcow2_meta_add(s, off, n << s->cluster_bits);
    if (old_size)
        qcow2_free_later(s, old_off, (old_size * 8 + s->cluster_size - 1) & ~(uint64_t)(s->cluster_size - 1), false);
    g_mutex_unlock(&s->lock);
    return true;
}

static bool qcow2_info(BlockNode *n, BlockInfo *info, GError **err)
{
    Qcow2 *s = n->priv;
    bool v3 = s->version >= 3;

    info->dirty = s->incompat & INC_DIRTY;
    info->encrypted = s->crypt != 0;
    info->specific_type = "qcow2";
    block_info_add(info, "compat", "\"%s\"", v3 ? "1.1" : "0.10");
    block_info_add(info, "compression-type", "\"%s\"", s->comp_type ? "zstd" : "zlib");
    if (v3)
        block_info_add(info, "lazy-refcounts", s->lazy ? "true" : "false");
    block_info_add(info, "refcount-bits", "%u", 1u << s->rc_order);
    if (v3 && s->external && s->data_file_name) {
        g_autofree char *q = block_json_quote(s->data_file_name);
        block_info_add(info, "data-file", "%s", q);
    }
    if (v3 && s->external)
        block_info_add(info, "data-file-raw", s->data_raw ? "true" : "false");
    if (v3)
        block_info_add(info, "corrupt", s->incompat & INC_CORRUPT ? "true" : "false");
    if (v3)
        block_info_add(info, "extended-l2", s->ext_l2 ? "true" : "false");
    return true;
}

static const char *const qcow2_options[] = { "backing", "data-file", "lazy-refcounts", "cache-size", "l2-cache-size", NULL };

const BlockDriver block_drv_qcow2 = {
    .name = "qcow2", .kind = DRV_FORMAT, .options = qcow2_options, .probe = qcow2_probe, .open = qcow2_open,
    .close = qcow2_close, .read = qcow2_read, .read_now = qcow2_read_now, .write = qcow2_write, .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard, .flush = qcow2_flush, .status = qcow2_status, .truncate = qcow2_truncate,
    .info = qcow2_info, .check = qcow2_check, .create_options = qcow2_create_options, .create = qcow2_create,
    .measure = qcow2_measure, .snap_list = qcow2_snap_list, .snap_create = qcow2_snap_create,
    .snap_apply = qcow2_snap_apply, .snap_delete = qcow2_snap_delete, .snap_load = qcow2_snap_load,
    .change_backing = qcow2_change_backing, .amend = qcow2_amend, .make_empty = qcow2_make_empty,
    .supports_backing = true, .compresses = true,
};
