/*
 * vmdk: VMware disk images: a descriptor text and extents, sparse (KDMV), compressed or flat.
 *
 * Offsets in the format count 512-byte sectors, little-endian. Grain tables are loaded whole;
 * both copies are written. Extents named by a descriptor lie beside it: no folders in names.
 */
#include <errno.h>
#include <libdeflate.h>
#include "block/blockmap.h"
#include "block/vmdk_int.h"

#define BAD(...) return err_set(err, __VA_ARGS__)

static int vmdk_probe(const uint8_t *buf, size_t len)
{
    if (len >= 8 && !memcmp(buf, "KDMV", 4))
        return 100;
    for (size_t i = 0; i < len && i < 512; ) {      /* a descriptor: comments, then version= */
        const char *line = (const char *)buf + i;
        size_t n = 0;
        while (i + n < len && line[n] != '\n')
            n++;
        if (line[0] == '#' || n == 0 || line[0] == '\r') {
            i += n + 1;
            continue;
        }
        return n >= 9 && !memcmp(line, "version=", 8) && line[8] >= '1' && line[8] <= '3' ? 100 : 0;
    }
    return 0;
}

/* ---- descriptor ---- */
static char *desc_value(const char *text, const char *key)
{
    g_autofree char *re = g_strdup_printf("^[ \\t]*%s[ \\t]*=[ \\t]*\"?([^\"\\r\\n]*)", key);
    g_autoptr(GRegex) rx = g_regex_new(re, G_REGEX_MULTILINE | G_REGEX_RAW, 0, NULL);
    g_autoptr(GMatchInfo) mi = NULL;

    return g_regex_match(rx, text, 0, &mi) ? g_strstrip(g_match_info_fetch(mi, 1)) : NULL;
}

/* ---- sparse extents ---- */
static int sparse_store(BlockMap *b, const uint32_t *idx, unsigned n)
{
    Extent *e = b->opaque;
    uint8_t v[4];
    int ret = 0;

    for (unsigned i = 0; i < n && !ret; i++) {
        uint32_t t = idx[i] / e->gtes, k = idx[i] % e->gtes;
        st32_le(v, b->map[idx[i]]);
        ret = block_pwrite(b->file, e->gd[t] * 512ULL + 4 * k, v, 4);
        if (!ret && e->rgd && e->rgd[t])
            ret = block_pwrite(b->file, e->rgd[t] * 512ULL + 4 * k, v, 4);
    }
    return ret;
}

static const BlockMapOps sparse_ops = { .store = sparse_store };

static uint32_t *load_directory(BlockNode *file, uint64_t sector, uint32_t count, GError **err)
{
    uint32_t *d = (uint32_t *)blockmap_load(file, sector * 512, count, 4, err);

    for (uint32_t i = 0; d && i < count; i++)
        d[i] = le32toh(d[i]);
    return d;
}

static bool load_tables(Extent *e, uint32_t *map, uint32_t grains, uint32_t gd_count, bool zero_flag, GError **err)
{
    uint64_t flen = block_node_size(e->file), bytes = 4ULL * e->gtes;

    for (uint32_t t = 0; t < gd_count; ) {
        uint32_t run = 1, first = t * e->gtes, n;
        while (t + run < gd_count && run < 1024 && e->gd[t] && e->gd[t + run] == e->gd[t] + run * (bytes / 512) && bytes % 512 == 0)
            run++;
        n = MIN(run * e->gtes, grains - first);
        if (e->gd[t] && !range_ok(e->gd[t] * 512ULL, 4ULL * n, flen))
            BAD("grain table %u lies past the end of the file (sector %u)", t, e->gd[t]);
        int ret = e->gd[t] ? block_pread(e->file, e->gd[t] * 512ULL, map + first, 4ULL * n) : 0;
        if (ret)
            return err_set_errno(err, -ret, "Could not read grain table %u", t);
        for (uint32_t i = first; i < first + n; i++) {
            uint32_t v = e->gd[t] ? le32toh(map[i]) : 0;
            map[i] = v == 0 ? BM_NONE : v == 1 && zero_flag ? BM_ZERO : v;
            if (v >= BM_ZERO)
                BAD("grain %u has an impossible offset", i);
        }
        t += run;
    }
    return true;
}

/* desc_off and desc_size say where an embedded descriptor lies. */
static bool open_sparse(BlockNode *n, Extent *e, uint64_t *desc_off, uint64_t *desc_size, unsigned nodeflags, GError **err)
{
    uint8_t h[S_HEADER];
    uint64_t flen = block_node_size(e->file), capacity, grain, gd_off, rgd_off, overhead;
    uint32_t flags, version, grains, gd_count;
    int ret = flen < S_HEADER ? -EINVAL : block_pread(e->file, 0, h, sizeof h);

    if (ret)
        return err_set_errno(err, -ret, "Could not read the VMDK header of '%s'", e->file->filename);
    if (!memcmp(h, "KDMV", 4) && ld64_le(h + S_GD) == UINT64_MAX) {     /* a stream: the true header is near the end */
        if (flen < 3 * 512 || (ret = block_pread(e->file, flen - 1024, h, sizeof h)))
            BAD("no room for the footer of '%s'", e->file->filename);
        if (memcmp(h, "KDMV", 4) || ld64_le(h + S_GD) == UINT64_MAX)
            BAD("the footer of '%s' is not valid", e->file->filename);
    }
    if (memcmp(h, "KDMV", 4))
        BAD("'%s' is no sparse VMDK extent", e->file->filename);
    version = ld32_le(h + S_VERSION);
    flags = ld32_le(h + S_FLAGS);
    capacity = ld64_le(h + S_CAPACITY);
    grain = ld64_le(h + S_GRAIN);
    e->gtes = ld32_le(h + S_GTES);
    rgd_off = ld64_le(h + S_RGD);
    gd_off = ld64_le(h + S_GD);
    overhead = ld64_le(h + S_OVERHEAD);
    e->compressed = flags & FL_COMPRESSED;
    e->markers = flags & FL_MARKERS;
    if (version > 3)
        BAD("Unsupported VMDK version %" PRIu32, version);
    if (version == 3 && !e->compressed && !n->read_only)
        BAD("VMDK version 3 must be read only");
    if ((flags & FL_NEWLINE) && memcmp(h + S_CHECK, "\n \r\n", 4))
        BAD("the newline test bytes of '%s' are damaged", e->file->filename);
    if (e->compressed && ld16_le(h + S_COMPRESS) != 1)
        BAD("Unsupported compression algorithm %u", ld16_le(h + S_COMPRESS));
    if (e->gtes == 0 || e->gtes > 512)
        BAD("L2 table size too big: %u entries", e->gtes);
    if (grain < 8 || (grain & (grain - 1)) || grain > 2097152)
        BAD("Invalid granularity: %" PRIu64 " sectors", grain);
    if (capacity > 1ULL << 44 || (capacity + grain - 1) / grain > 32u << 20)
        BAD("the extent is too large (%" PRIu64 " sectors)", capacity);
    grains = (capacity + grain - 1) / grain;
    gd_count = (grains + e->gtes - 1) / e->gtes;
    *desc_off = ld64_le(h + S_DESC_OFF) * 512;
    *desc_size = MIN(ld64_le(h + S_DESC_SIZE), 1 << 11) * 512;
    e->size = capacity * 512;
    e->grain = grain * 512;
    if (nodeflags & BLOCK_NO_IO)
        return true;
    e->gd = load_directory(e->file, gd_off, gd_count, err);
    if (!e->gd)
        return false;
    if (flags & FL_RGD)
        e->rgd = load_directory(e->file, rgd_off, gd_count, NULL);
    uint32_t *map = g_try_malloc0(4ULL * grains + 4);
    if (!map || !load_tables(e, map, grains, gd_count, flags & FL_ZERO_GRAIN, err)) {
        g_free(map);
        return false;
    }
    blockmap_init(&e->b, n, e->file, &sparse_ops, map, grains, e->grain, 512, MAX(flen, overhead * 512));
    if (!e->compressed)
        e->b.end = (e->b.end + e->grain - 1) / e->grain * e->grain;
    e->b.opaque = e;
    e->b.backing = true;
    if (!e->compressed && !(nodeflags & BLOCK_CHECK) && !blockmap_sane(&e->b, MAX(flen, 1), err))
        return false;
    return true;
}

static void extent_free(Extent *e, BlockNode *own)
{
    blockmap_clear(&e->b);
    g_free(e->gd);
    g_free(e->rgd);
    g_free(e->type);
    g_free(e->name);
    if (e->file && e->file != own)
        block_node_unref(e->file);
    g_free(e);
}

static void vmdk_free(BlockNode *n, Vmdk *s)
{
    for (unsigned i = 0; i < s->count; i++)
        extent_free(s->ext[i], n->file);
    g_free(s->ext);
    g_free(s->create_type);
    g_mutex_clear(&s->cid_lock);
    g_free(s);
}

static Extent *add_extent(Vmdk *s)
{
    s->ext = g_renew(Extent *, s->ext, s->count + 1);
    return s->ext[s->count++] = g_new0(Extent, 1);
}

/* ---- extent lines of a descriptor ---- */
static bool open_line(BlockNode *n, Vmdk *s, char **w, bool embedded, unsigned flags, GError **err)
{
    uint64_t sectors = g_ascii_strtoull(w[2], NULL, 10), a, b, off = w[5] && *w[5] ? g_ascii_strtoull(w[5], NULL, 10) : 0;
    bool flat = g_str_equal(w[3], "FLAT") || g_str_equal(w[3], "VMFS"), zero = g_str_equal(w[3], "ZERO");
    Extent *e;

    if (embedded)
        return true;                    /* it is this very file */
    if (!flat && !zero && strcmp(w[3], "SPARSE"))
        BAD("Unsupported extent type '%s'", w[3]);
    if (!sectors || sectors > 1ULL << 44 || s->count >= 2048)
        BAD("extent line with %" PRIu64 " sectors (extent %u) is not valid", sectors, s->count);
    if (!zero && (!w[4] || !*w[4] || strchr(w[4], '/')))
        BAD("extent name '%s' must be a plain file name", w[4] ? w[4] : "");
    e = add_extent(s);
    e->start = n->size;
    e->size = sectors * 512;
    e->flat = flat;
    e->zero = zero;
    e->flat_off = off * 512;
    e->type = g_strdup(w[3]);
    e->name = block_resolve_name(n->filename, zero ? "" : w[4]);
    n->size += e->size;
    if ((flags & BLOCK_NO_IO) || zero)
        return true;
    e->file = block_open_child(n, w[4], flags, err);
    if (!e->file)
        return false;
    if (flat && !range_ok(e->flat_off, e->size, block_node_size(e->file)))
        BAD("'%s' is shorter than its extent line says", e->file->filename);
    if (!flat && !zero && !open_sparse(n, e, &a, &b, flags, err))
        return false;
    if (e->size != sectors * 512)
        BAD("'%s' has another size than its extent line", e->file->filename);
    e->b.guest_base = e->start;
    return true;
}

static bool parse_desc(BlockNode *n, Vmdk *s, const char *text, bool embedded, unsigned flags, GError **err)
{
    static const char *const types[] = { "monolithicSparse", "monolithicFlat", "twoGbMaxExtentSparse",
        "twoGbMaxExtentFlat", "streamOptimized", "vmfs", "vmfsSparse", NULL };
    g_autoptr(GRegex) rx = g_regex_new("^(RW|RDONLY|NOACCESS)[ \\t]+(\\d+)[ \\t]+([A-Z]+)(?:[ \\t]+\"([^\"\\r\\n]*)\")?(?:[ \\t]+(\\d+))?",
                                       G_REGEX_MULTILINE | G_REGEX_RAW, 0, NULL);
    g_autoptr(GMatchInfo) mi = NULL;
    g_autofree char *cid = desc_value(text, "CID"), *pcid = desc_value(text, "parentCID"), *hint = desc_value(text, "parentFileNameHint");

    s->create_type = desc_value(text, "createType");
    s->cid = cid ? g_ascii_strtoull(cid, NULL, 16) : 0;
    s->parent_cid = pcid ? g_ascii_strtoull(pcid, NULL, 16) : UINT32_MAX;
    if (!s->create_type)
        BAD("invalid VMDK image descriptor (no createType)");
    if (!g_strv_contains(types, s->create_type) || g_str_equal(s->create_type, "vmfsSparse"))
        BAD("Unsupported image type '%s'", s->create_type);
    if (hint && *hint && s->parent_cid != UINT32_MAX) {
        n->backing_name = g_strdup(hint);
        n->backing_format = g_strdup("vmdk");
    }
    g_regex_match(rx, text, 0, &mi);
    for (; g_match_info_matches(mi); g_match_info_next(mi, NULL)) {
        g_auto(GStrv) w = g_match_info_fetch_all(mi);
        char *six[6] = { NULL };
        for (int i = 0; i < 6 && w[i]; i++)
            six[i] = w[i];
        if (!open_line(n, s, six, embedded, flags, err))
            return false;
    }
    return true;
}

static char *read_text(BlockNode *file, uint64_t off, uint64_t len, GError **err)
{
    char *t = g_malloc0(len + 1);
    int ret = block_pread(file, off, t, len);

    if (!ret)
        return t;
    g_free(t);
    err_set_errno(err, -ret, "Could not read the descriptor");
    return NULL;
}

static bool vmdk_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Vmdk *s = g_new0(Vmdk, 1);
    uint8_t magic[4] = { 0 };
    uint64_t off = 0, len = 0, flen = block_node_size(n->file);
    g_autofree char *text = NULL;
    bool ok = block_pread(n->file, 0, magic, 4) == 0;

    g_mutex_init(&s->cid_lock);
    n->size = 0;
    if (!ok) {
        err_set(err, "Could not read the VMDK header");
    } else if (!memcmp(magic, "KDMV", 4)) {
        Extent *e = add_extent(s);
        e->file = n->file;
        e->name = g_strdup(n->filename);
        ok = open_sparse(n, e, &off, &len, flags, err);
        n->size = e->size;
        n->cluster_size = e->grain;
        n->needs_compressed = e->compressed;
        s->desc_off = off;
        if (ok && off && len) {
            text = range_ok(off, 1, flen) ? read_text(n->file, off, MIN(len, flen - off), err) : NULL;
            ok = text ? parse_desc(n, s, text, true, flags, err) : !*err && err_set(err, "the descriptor lies past the end");
        }
    } else {
        ok = flen <= MiB ? (text = read_text(n->file, 0, flen, err)) != NULL : err_set(err, "the descriptor is too long");
        ok = ok && parse_desc(n, s, text, false, flags, err);
        if (ok && !s->count)
            ok = err_set(err, "the descriptor names no extents");
    }
    if (!ok) {
        vmdk_free(n, s);
        return false;
    }
    if (text) {
        const char *p = strstr(text, "CID=");
        s->cid_at = p ? s->desc_off + (p - text) + 4 : 0;
    }
    n->priv = s;
    return true;
}

/* ---- data ---- */
static Extent *extent_at(Vmdk *s, uint64_t off)
{
    for (unsigned i = 0; i < s->count; i++)
        if (off < s->ext[i]->start + s->ext[i]->size)
            return s->ext[i];
    return NULL;
}

static int read_grain(Extent *e, uint64_t off, uint64_t len, BlockVec v)
{
    uint32_t i = off / e->grain, in = off % e->grain, size, value;
    uint64_t host, flen = block_node_size(e->file);
    uint8_t h[12];
    size_t got;
    int ret;

    g_mutex_lock(&e->b.lock);
    value = e->b.map[i];
    g_mutex_unlock(&e->b.lock);
    if (value >= BM_ZERO)
        return blockmap_read(&e->b, off, len, v);
    host = value * 512ULL;
    ret = range_ok(host, 12, flen) ? block_pread(e->file, host, h, 12) : -EIO;
    if (ret)
        return ret;
    size = e->markers ? ld32_le(h + 8) : e->grain * 2;
    if (!size || size > 2 * e->grain)
        return -EIO;
    host += e->markers ? 12 : 0;
    size = MIN(size, flen - host);
    g_autofree uint8_t *in_buf = g_try_malloc(size), *out = g_try_malloc(e->grain);
    if (!in_buf || !out)
        return -ENOMEM;
    ret = block_pread(e->file, host, in_buf, size);
    if (ret)
        return ret;
    struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
    enum libdeflate_result r = libdeflate_zlib_decompress_ex(d, in_buf, size, out, e->grain, NULL, &got);
    libdeflate_free_decompressor(d);
    if (r != LIBDEFLATE_SUCCESS || in >= got)
        return -EIO;
    memset(out + got, 0, e->grain - got);
    vec_copy_in(v, out + in, len);
    return 0;
}

static int vmdk_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    Vmdk *s = n->priv;
    int ret = 0;

    while (bytes && !ret) {
        Extent *e = extent_at(s, off);
        if (!e)
            return -EIO;
        uint64_t in = off - e->start, len = MIN(bytes, e->size - in);
        if (e->zero) {
            vec_zero(v, len);
        } else if (e->flat) {
            ret = block_read_vec(e->file, e->flat_off + in, len, v);
        } else if (e->compressed) {
            len = MIN(len, e->grain - in % e->grain);
            ret = read_grain(e, in, len, v);
        } else {
            ret = blockmap_read(&e->b, in, len, v);
        }
        off += len;
        bytes -= len;
        v = vec_adv(v, len);
    }
    return ret;
}

/* Streams: one grain after the other, never twice. */
static int write_grain(Extent *e, uint64_t off, uint64_t len, BlockVec v)
{
    uint32_t i = off / e->grain;
    size_t cap = libdeflate_zlib_compress_bound(NULL, e->grain), n;
    g_autofree uint8_t *in = g_try_malloc0(e->grain), *out = g_try_malloc0(cap + 1024);
    int ret;

    if (!in || !out)
        return -ENOMEM;
    if (off % e->grain || e->b.map[i] < BM_ZERO || !e->gd[i / e->gtes])
        return -EIO;
    vec_copy_out(v, in, len);
    struct libdeflate_compressor *c = libdeflate_alloc_compressor(6);
    n = c ? libdeflate_zlib_compress(c, in, e->grain, out + 12, cap) : 0;
    libdeflate_free_compressor(c);
    if (!n)
        return -EIO;
    st64_le(out, off / 512);
    st32_le(out + 8, n);
    n = (n + 12 + 511) & ~511u;
    g_mutex_lock(&e->b.lock);
    uint64_t host = e->b.end;
    e->b.end += n;
    g_mutex_unlock(&e->b.lock);
    ret = host / 512 >= BM_ZERO ? -EFBIG : block_pwrite(e->file, host, out, n);
    if (ret)
        return ret;
    g_mutex_lock(&e->b.lock);
    e->b.map[i] = host / 512;
    g_array_append_val(e->b.dirty, i);
    g_mutex_unlock(&e->b.lock);
    return 0;
}

/* The first write of a session gives the image a new identity: children notice. */
static int touch_cid(BlockNode *n)
{
    Vmdk *s = n->priv;
    char hex[9];
    int ret = 0;

    g_mutex_lock(&s->cid_lock);
    if (!s->cid_done && s->cid_at) {
        s->cid = g_random_int();
        g_snprintf(hex, sizeof hex, "%08x", s->cid);
        ret = block_pwrite(n->file, s->cid_at, hex, 8);
    }
    s->cid_done = ret == 0;
    g_mutex_unlock(&s->cid_lock);
    return ret;
}

static int vmdk_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    Vmdk *s = n->priv;
    int ret = touch_cid(n);

    while (bytes && !ret) {
        Extent *e = extent_at(s, off);
        if (!e || e->zero)
            return -EIO;
        uint64_t in = off - e->start, len = MIN(bytes, e->size - in);
        if (e->flat) {
            ret = flags & BLOCK_COMPRESSED ? -ENOTSUP : block_write_vec(e->file, e->flat_off + in, len, v, 0);
        } else if (e->compressed) {
            len = MIN(len, e->grain - in % e->grain);
            ret = write_grain(e, in, len, v);
        } else {
            len = MIN(len, (uint64_t)e->grain * e->gtes - in % ((uint64_t)e->grain * e->gtes));
            ret = flags & BLOCK_COMPRESSED ? -ENOTSUP : !e->gd[in / e->grain / e->gtes] ? -EIO : blockmap_write(&e->b, in, len, v);
        }
        off += len;
        bytes -= len;
        v = vec_adv(v, len);
    }
    return ret;
}

static int vmdk_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    Vmdk *s = n->priv;
    int ret = touch_cid(n);

    while (bytes && !ret) {
        Extent *e = extent_at(s, off);
        if (!e || e->compressed)
            return -ENOTSUP;
        uint64_t in = off - e->start, len = MIN(bytes, e->size - in);
        ret = e->zero ? 0 : e->flat ? block_pwrite_zeroes(e->file, e->flat_off + in, len, flags)
                                    : blockmap_zeroes(&e->b, in, len);
        off += len;
        bytes -= len;
    }
    return ret;
}

static int vmdk_flush(BlockNode *n)
{
    Vmdk *s = n->priv;
    int ret = 0;

    for (unsigned i = 0; i < s->count && !ret; i++)
        if (s->ext[i]->file)
            ret = s->ext[i]->flat ? block_flush(s->ext[i]->file) : blockmap_flush(&s->ext[i]->b);
    return ret ? ret : block_flush(n->file);
}

static int vmdk_close(BlockNode *n)
{
    Vmdk *s = n->priv;
    bool no_io = n->flags & BLOCK_NO_IO;
    int ret = n->read_only || no_io ? 0 : vmdk_flush(n);

    vmdk_free(n, s);
    return ret;
}

static int vmdk_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    Extent *e = extent_at(n->priv, off);
    uint64_t in, len;
    int ret = 0;

    if (!e)
        return -EIO;
    in = off - e->start;
    len = MIN(bytes, e->size - in);
    if (e->flat || e->zero) {
        *st = (BlockStatus) { .bytes = len, .allocated = true, .data = e->flat, .zero = e->zero, .offset_valid = e->flat, .recurse = true,
                              .offset = e->flat_off + in, .file = e->file };
        return 0;
    }
    ret = blockmap_status(&e->b, in, len, st);
    if (e->compressed && st->data) {
        st->compressed = true;
        st->offset_valid = false;
        st->bytes = MIN(st->bytes, e->grain - in % e->grain);
    }
    return ret;
}

static bool vmdk_info(BlockNode *n, BlockInfo *info, GError **err)
{
    Vmdk *s = n->priv;
    g_autoptr(GString) t = g_string_new("[");

    info->specific_type = "vmdk";
    block_info_add(info, "cid", "%u", s->cid);
    block_info_add(info, "parent-cid", "%u", s->parent_cid);
    block_info_add(info, "create-type", "\"%s\"", s->create_type ? s->create_type : "");
    for (unsigned i = 0; i < s->count; i++) {
        Extent *e = s->ext[i];
        g_autofree char *name = block_json_quote(e->name);
        g_string_append_printf(t, "%s{%s\"virtual-size\": %" PRIu64 ", \"filename\": %s, ", i ? ", " : "",
                               e->compressed ? "\"compressed\": true, " : "", e->size, name);
        if (!e->flat)
            g_string_append_printf(t, "\"cluster-size\": %u, ", e->grain);
        g_string_append_printf(t, "\"format\": \"%s\"}", e->type ? e->type : "");
    }
    block_info_add(info, "extents", "%s]", t->str);
    return true;
}

static bool vmdk_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err)
{
    Vmdk *s = n->priv;

    if (fix)
        BAD("VMDK images cannot be repaired");
    for (unsigned i = 0; i < s->count; i++) {
        g_autoptr(GError) why = NULL;
        Extent *e = s->ext[i];
        if (e->flat || e->zero || e->compressed)
            continue;
        if (!blockmap_sane(&e->b, MAX(block_node_size(e->file), 1), &why)) {
            res->corruptions++;
            if (res->note)
                res->note(res->opaque, why->message);
        }
    }
    return true;
}

const BlockDriver block_drv_vmdk = {
    .name = "vmdk", .kind = DRV_FORMAT, .probe = vmdk_probe, .open = vmdk_open, .close = vmdk_close, .read = vmdk_read,
    .write = vmdk_write, .write_zeroes = vmdk_zeroes, .flush = vmdk_flush, .status = vmdk_status, .info = vmdk_info,
    .check = vmdk_check, .create_options = vmdk_create_options, .create = vmdk_create, .supports_backing = true, .compresses = true,
};
