/*
 * qcow2_create: new images, and how large an image would become.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include "block/qcow2_int.h"

const BlockCreateOption qcow2_create_options[] = {
    { "backing_file", "File name of a base image" },
    { "backing_fmt", "Must be specified when backing_file is specified" },
    { "cluster_size", "qcow2 cluster size (512 to 2M)" },
    { "compat", "Compatibility level (v2 [0.10] or v3 [1.1])" },
    { "compression_type", "Compression method used for image cluster compression (zlib, zstd)" },
    { "data_file", "File name of an external data file" },
    { "data_file_raw", "The external data file must stay valid as a raw image" },
    { "encryption", "Encrypted images are not supported (off)" },
    { "extended_l2", "Extended L2 tables" },
    { "extent_size_hint", "Extent size hint for the image file, 0 to disable" },
    { "lazy_refcounts", "Postpone refcount updates" },
    { "nocow", "Turn off copy-on-write (valid only on btrfs)" },
    { "preallocation", "Preallocation mode (allowed values: off, metadata, falloc, full)" },
    { "refcount_bits", "Width of a reference count entry in bits" },
    { "size", "Virtual disk size" },
    { NULL, NULL },
};

typedef struct Spec {
    uint64_t size, cluster_size, refcount_bits;
    unsigned cluster_bits, rc_order;
    int version;
    bool lazy, ext_l2, data_raw;
    uint8_t comp;
    char *backing, *backing_fmt, *data_file, *prealloc, *compat, *data_raw_text;     /* as given */
} Spec;

static void spec_clear(Spec *p)
{
    g_free(p->backing);
    g_free(p->backing_fmt);
    g_free(p->data_file);
    g_free(p->prealloc);
    g_free(p->compat);
    g_free(p->data_raw_text);
}

static unsigned log2_of(uint64_t v) { return v ? 63 - __builtin_clzll(v) : 0; }

static bool spec_words(GHashTable *o, Spec *p, GError **err)
{
    g_autofree char *comp = NULL, *drop = NULL, *enc = NULL;

    p->version = 3;
    if (block_opts_take(o, "compat", &p->compat)) {
        if (g_str_equal(p->compat, "0.10") || g_str_equal(p->compat, "v2"))
            p->version = 2;
        else if (strcmp(p->compat, "1.1") && strcmp(p->compat, "v3"))
            return err_set(err, "Invalid compatibility level: '%s'", p->compat);
    }
    if (block_opts_take(o, "compression_type", &comp)) {
        if (strcmp(comp, "zlib") && strcmp(comp, "zstd"))
            return err_set(err, "Invalid parameter '%s' for compression_type: use zlib or zstd", comp);
        p->comp = g_str_equal(comp, "zstd");
    }
    block_opts_take(o, "nocow", &drop);
    block_opts_take(o, "extent_size_hint", &drop);
    if (block_opts_take(o, "encryption", &enc) && strcmp(enc, "off"))
        return err_set_code(err, ERR_UNSUPPORTED, "Encrypted qcow2 images are not supported");
    block_opts_take(o, "backing_file", &p->backing);
    block_opts_take(o, "backing_fmt", &p->backing_fmt);
    block_opts_take(o, "data_file", &p->data_file);
    if (p->backing && !*p->backing)
        g_clear_pointer(&p->backing, g_free);
    if (block_opts_take(o, "preallocation", &p->prealloc) && strcmp(p->prealloc, "off") &&
        strcmp(p->prealloc, "metadata") && strcmp(p->prealloc, "falloc") && strcmp(p->prealloc, "full"))
        return err_set(err, "Invalid parameter '%s' for preallocation: use off, metadata, falloc or full", p->prealloc);
    return true;
}

/* measure = true: no size needed, no file will be made. */
static bool spec_parse(GHashTable *o, Spec *p, bool measure, GError **err)
{
    p->cluster_size = 65536;
    p->refcount_bits = 16;
    if ((!measure && !block_create_size(o, &p->size, err)) || !spec_words(o, p, err) ||
        !block_opts_take_u64(o, "cluster_size", &p->cluster_size, err) ||
        !block_opts_take_u64(o, "refcount_bits", &p->refcount_bits, err) ||
        !block_opts_take_bool(o, "lazy_refcounts", &p->lazy, err) ||
        !block_opts_take_bool(o, "extended_l2", &p->ext_l2, err) ||
        !block_opts_take_bool(o, "data_file_raw", &p->data_raw, err))
        return false;
    p->cluster_bits = log2_of(p->cluster_size);
    p->rc_order = log2_of(p->refcount_bits);
    if (p->cluster_bits < 9 || p->cluster_bits > 21 || 1ULL << p->cluster_bits != p->cluster_size)
        return err_set(err, "Cluster size must be a power of two between 512 and 2048k");
    if (p->refcount_bits < 1 || p->refcount_bits > 64 || 1ULL << p->rc_order != p->refcount_bits)
        return err_set(err, "Refcount width must be a power of two and may not exceed 64 bits");
    if (p->version < 3 && p->rc_order != 4)
        return err_set(err, "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)");
    if (p->version < 3 && p->lazy)
        return err_set(err, "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or greater)");
    if (p->version < 3 && (p->comp || p->ext_l2 || p->data_file))
        return err_set(err, "%s only supported with compatibility level 1.1 and above (use version=v3 or greater)",
                       p->comp ? "Non-zlib compression type is" : p->ext_l2 ? "Extended L2 entries are" : "External data files are");
    if (p->ext_l2 && p->cluster_bits < 14)
        return err_set(err, "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes");
    if (p->data_raw && !p->data_file)
        return err_set(err, "data-file-raw requires data-file");
    if (p->data_raw && p->backing)
        return err_set(err, "Backing file and data-file-raw cannot be used at the same time");
    if (p->backing && strlen(p->backing) > 1023)
        return err_set(err, "Backing file name too long");
    if (p->backing && p->prealloc && strcmp(p->prealloc, "off") && !p->ext_l2)
        return err_set(err, "Backing file and preallocation can only be used at the same time if extended_l2 is enabled");
    return true;
}

static void show(const Spec *p, GString *out)
{
    g_string_append_printf(out, "cluster_size=%" PRIu64 " extended_l2=%s", p->cluster_size, p->ext_l2 ? "on" : "off");
    if (p->prealloc)
        g_string_append_printf(out, " preallocation=%s", p->prealloc);
    g_string_append_printf(out, " compression_type=%s size=%" PRIu64, p->comp ? "zstd" : "zlib", p->size);
    if (p->compat)
        g_string_append_printf(out, " compat=%s", p->compat);
    if (p->backing)
        g_string_append_printf(out, " backing_file=%s", p->backing);
    if (p->backing_fmt)
        g_string_append_printf(out, " backing_fmt=%s", p->backing_fmt);
    if (p->data_file)
        g_string_append_printf(out, " data_file=%s", p->data_file);
    if (p->data_raw)
        g_string_append(out, " data_file_raw=on");
    g_string_append_printf(out, " lazy_refcounts=%s refcount_bits=%" PRIu64, p->lazy ? "on" : "off", p->refcount_bits);
}

/* Lays out header, refcount table, refcount blocks, L1; all counts are 1. */
static bool write_empty(const Spec *p, BlockNewFile *f, GError **err)
{
    unsigned cb = p->cluster_bits, l2b = cb - (p->ext_l2 ? 4 : 3);
    uint64_t cs = p->cluster_size, span = 1ULL << (cb + l2b), per_rb = 1ULL << (cb + 3 - p->rc_order);
    uint64_t l1 = (p->size + span - 1) / span, l1c = MAX((l1 * 8 + cs - 1) >> cb, 1), rbc = 1, rtc = 1, total;
    uint8_t h[H_V3_SIZE] = { 0 };
    bool ok;

    if (l1 * 8 > QCOW2_MAX_L1) {
        block_newfile_abandon(f);
        return err_set(err, "The image size is too large for this cluster size; try a larger cluster size");
    }
    for (;;) {
        total = 1 + rtc + rbc + l1c;
        uint64_t need = (total + per_rb - 1) / per_rb, need_rt = (need * 8 + cs - 1) >> cb;
        if (need <= rbc && need_rt <= rtc)
            break;
        rbc = MAX(rbc, need);
        rtc = MAX(rtc, need_rt);
    }
    st32_be(h + H_MAGIC, QCOW2_MAGIC);
    st32_be(h + H_VERSION, p->version);
    st32_be(h + H_CLUSTER_BITS, cb);
    st64_be(h + H_SIZE, p->size);
    st32_be(h + H_L1_SIZE, l1);
    st64_be(h + H_L1_OFF, (1 + rtc + rbc) << cb);
    st64_be(h + H_RT_OFF, 1ULL << cb);
    st32_be(h + H_RT_CLUSTERS, rtc);
    if (p->version >= 3) {
        st64_be(h + H_INCOMPAT, (p->ext_l2 ? INC_EXT_L2 : 0) | (p->comp ? INC_COMP_TYPE : 0) |
                (p->data_file ? INC_DATA_FILE : 0));
        st64_be(h + H_COMPAT, p->lazy ? COMPAT_LAZY : 0);
        st64_be(h + H_AUTOCLEAR, p->data_raw ? AUTO_RAW_DATA : 0);
        st32_be(h + H_RC_ORDER, p->rc_order);
        st32_be(h + H_LENGTH, H_V3_SIZE);
        h[H_COMP_TYPE] = p->comp;
    }
    ok = block_newfile_write(f, 0, h, p->version >= 3 ? H_V3_SIZE : H_V2_SIZE, err);
    g_autofree uint8_t *blk = g_malloc(cs);
    for (uint64_t b = 0; ok && b < rbc; b++) {
        uint8_t e[8];
        memset(blk, 0, cs);
        for (uint64_t k = 0; k < per_rb && b * per_rb + k < total; k++) {
            if (p->rc_order < 3)
                blk[k << p->rc_order >> 3] |= 1u << (k << p->rc_order & 7);
            else
                blk[((k + 1) << (p->rc_order - 3)) - 1] = 1;
        }
        st64_be(e, (1 + rtc + b) << cb);
        ok = block_newfile_write(f, (1ULL << cb) + 8 * b, e, 8, err) &&
             block_newfile_write(f, (1 + rtc + b) << cb, blk, cs, err);
    }
    return ok && block_newfile_finish(f, total << cb, NULL, err);
}

/* What needs an open image: names in the header, preallocation. */
static bool finish_image(BlockGraph *g, const char *filename, const Spec *p, GError **err)
{
    g_autoptr(GHashTable) o = block_opts_new();
    BlockNode *n;
    Qcow2 *s;
    bool ok;

    block_opts_set(o, "driver", "qcow2");
    n = block_open(g, filename, o, BLOCK_RDWR | BLOCK_NO_BACKING | BLOCK_NO_FLUSH |
                   (p->data_file ? BLOCK_NO_IO : 0), err);
    if (!n)
        return false;
    s = n->priv;
    n->backing_name = g_strdup(p->backing);
    n->backing_format = p->backing ? g_strdup(p->backing_fmt) : NULL;
    g_free(s->data_file_name);
    s->data_file_name = g_strdup(p->data_file);
    ok = qcow2_header_rewrite(s, err);
    if (p->data_file)           /* opened without tables: nothing more to write here */
        return (n->read_only = true) && block_node_close(n, ok ? err : NULL) && ok;
    if (ok && p->prealloc && strcmp(p->prealloc, "off"))
        ok = qcow2_preallocate(n, 0, p->size, p->prealloc, err);
    return block_node_close(n, ok ? err : NULL) && ok;
}

bool qcow2_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    Spec p = { 0 };
    BlockNewFile f;
    bool ok = spec_parse(opts, &p, false, err);

    if (ok)
        show(&p, shown);
    if (ok && p.data_file) {
        g_autofree char *path = block_resolve_name(filename, p.data_file), *size = g_strdup_printf("%" PRIu64, p.size);
        g_autoptr(GHashTable) o = block_opts_new();
        block_opts_set(o, "size", size);
        ok = block_create(g, path, "raw", o, NULL, err);
    }
    ok = ok && block_newfile_open(&f, filename, err);
    if (ok) {
        bool made = f.made;
        ok = write_empty(&p, &f, err) && finish_image(g, filename, &p, err);
        if (!ok && made)
            g_remove(filename);
    }
    spec_clear(&p);
    return ok;
}

/* ---- measure ---- */
static uint64_t up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

static uint64_t refcount_bytes(uint64_t clusters, uint64_t cs, unsigned order)
{
    uint64_t per = cs * 8 >> order, blocks = 0, table = 0, last;

    do {
        last = table + blocks;
        blocks = (clusters + table + blocks + per - 1) / per;
        table = (blocks + cs / 8 - 1) / (cs / 8);
    } while (table + blocks != last);
    return (blocks + table) * cs;
}

bool qcow2_measure(GHashTable *opts, BlockNode *src, uint64_t size, BlockMeasure *m, GError **err)
{
    Spec p = { 0 };
    uint64_t cs, data = 0, aligned, meta, nl2, esz;

    if (!spec_parse(opts, &p, true, err)) {
        spec_clear(&p);
        return false;
    }
    cs = p.cluster_size;
    esz = p.ext_l2 ? 16 : 8;
    aligned = up(size, cs);
    nl2 = up(aligned / cs, cs / esz);
    meta = cs + nl2 * esz + up(nl2 * esz / cs, cs / 8) * 8;
    if (nl2 * esz / cs * 8 > QCOW2_MAX_L1) {
        spec_clear(&p);
        return err_set(err, "The image size is too large (try using a larger cluster size)");
    }
    meta += refcount_bytes((meta + aligned) / cs, cs, p.rc_order);
    for (uint64_t off = 0; src && off < size; ) {
        BlockStatus st;
        int ret = block_status_above(src, NULL, off, size - off, &st, NULL);
        uint64_t n = st.bytes;
        if (ret) {
            spec_clear(&p);
            return err_set_errno(err, -ret, "Unable to get block status");
        }
        if (!st.zero && st.allocated && st.data) {
            n = up(off + n, cs) - off;
            data += off % cs + n;
        }
        off += n;
    }
    if (p.prealloc && (g_str_equal(p.prealloc, "full") || g_str_equal(p.prealloc, "falloc")))
        data = aligned;
    m->full = meta + aligned;
    m->has_bitmaps = src && src->drv == &block_drv_qcow2 && ((Qcow2 *)src->priv)->version >= 3;
    m->required = meta + data;
    spec_clear(&p);
    return true;
}
