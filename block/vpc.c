/*
 * vpc: Virtual PC disk images (VHD), fixed and dynamic.
 *
 * Big-endian. A 512-byte footer ends the file; dynamic images carry a copy at 0, a header and
 * a table of 2 MiB blocks, each led by a sector bitmap. A new block takes the place of the
 * footer, which is written again behind it, before the table points there: the copy at 0 holds
 * meanwhile. Differencing images are refused.
 */
#include <errno.h>
#include "block/blockmap.h"

enum { F_FEATURES = 8, F_VERSION = 0x0c, F_DATA = 0x10, F_TIME = 0x18, F_CREATOR = 0x1c, F_CVER = 0x20, F_OS = 0x24,
       F_ORIG = 0x28, F_SIZE = 0x30, F_CYL = 0x38, F_HEADS = 0x3a, F_SECS = 0x3b, F_TYPE = 0x3c, F_SUM = 0x40, F_UUID = 0x44,
       FOOTER = 512, D_TABLE = 0x10, D_VERSION = 0x18, D_ENTRIES = 0x1c, D_BSIZE = 0x20, D_SUM = 0x24, DYN = 1024,
       TYPE_FIXED = 2, TYPE_DYNAMIC = 3, BLOCK = 2 << 20 };
#define CHS_MAX (65535ULL * 16 * 255)
#define VHD_MAX (2040ULL * 1024 * MiB)

typedef struct Vpc { BlockMap b; uint8_t footer[FOOTER]; uint64_t bat_off; bool fixed, force_size; } Vpc;

static int vpc_probe(const uint8_t *buf, size_t len)
{
    return len >= 8 && !memcmp(buf, "conectix", 8) ? 100 : 0;    /* fixed images must be named */
}

static uint32_t checksum(const uint8_t *p, size_t len, size_t at)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++)
        if (i < at || i >= at + 4)
            sum += p[i];
    return ~sum;
}

/* The CHS geometry of the specification's appendix for so many sectors. */
static bool geometry(uint64_t total, uint16_t *cyls, uint8_t *heads, uint8_t *secs)
{
    uint32_t cth;

    if (total > CHS_MAX)
        total = CHS_MAX;
    if (total >= 65535ULL * 16 * 63) {
        *secs = 255;
        *heads = 16;
        cth = total / *secs;
    } else {
        *secs = 17;
        cth = total / 17;
        *heads = MAX((cth + 1023) / 1024, 4);
        if (cth >= *heads * 1024u || *heads > 16) {
            *secs = 31;
            *heads = 16;
            cth = total / 31;
        }
        if (cth >= *heads * 1024u) {
            *secs = 63;
            *heads = 16;
            cth = total / 63;
        }
    }
    *cyls = cth / *heads;
    return true;
}

static int vpc_store(BlockMap *b, const uint32_t *idx, unsigned n)
{
    Vpc *s = b->opaque;
    uint8_t v[4];
    int ret = 0;

    for (unsigned i = 0; i < n && !ret; i++) {
        st32_be(v, b->map[idx[i]]);
        ret = block_pwrite(b->file, s->bat_off + 4ULL * idx[i], v, 4);
    }
    return ret;
}

static int vpc_appended(BlockMap *b, uint64_t host)
{
    Vpc *s = b->opaque;
    g_autofree uint8_t *bits = g_malloc(b->head);
    int ret;

    memset(bits, 0xff, b->head);
    ret = block_pwrite(b->file, host, bits, b->head);
    if (ret)
        return ret;
    g_mutex_lock(&b->lock);             /* or the next block could already lie there */
    ret = block_pwrite(b->file, b->end, s->footer, FOOTER);
    g_mutex_unlock(&b->lock);
    return ret;
}

static const BlockMapOps vpc_ops = { .store = vpc_store, .appended = vpc_appended };

#define BAD(...) return err_set(err, __VA_ARGS__)

static bool uses_current_size(const uint8_t *f, bool force, uint64_t chs)
{
    static const char *const creators[] = { "win ", "qem2", "d2v ", "CTXS", "tap" };

    for (size_t i = 0; i < ARRAY_LEN(creators); i++)
        if (!memcmp(f + F_CREATOR, creators[i], 4))
            return true;
    return force || chs == CHS_MAX;
}

static bool open_dynamic(BlockNode *n, Vpc *s, unsigned flags, GError **err)
{
    uint8_t d[DYN];
    uint64_t off = ld64_be(s->footer + F_DATA), flen = block_node_size(n->file), entries, end = 0;
    uint32_t bs, *map;
    int ret = range_ok(off, DYN, flen) ? block_pread(n->file, off, d, DYN) : -EINVAL;

    if (ret)
        return err_set_errno(err, -ret, "Could not read the dynamic disk header at %" PRIu64, off);
    if (memcmp(d, "cxsparse", 8))
        BAD("invalid dynamic disk header");
    if (checksum(d, DYN, D_SUM) != ld32_be(d + D_SUM) && !n->read_only)
        BAD("checksum of the dynamic disk header is wrong: open it read-only");
    bs = ld32_be(d + D_BSIZE);
    if (bs < 512 || (bs & (bs - 1)) || bs > 256 * MiB)
        BAD("Invalid block size %" PRIu32, bs);
    entries = ld32_be(d + D_ENTRIES);
    if (entries * bs < n->size)
        BAD("Page table too small (%" PRIu64 " entries)", entries);
    s->bat_off = ld64_be(d + D_TABLE);
    map = (uint32_t *)blockmap_load(n->file, s->bat_off, entries, 4, err);
    if (!map)
        return false;
    uint32_t head = (bs / 512 / 8 + 511) & ~511u;
    end = (s->bat_off + 4 * entries + 511) & ~511ULL;
    for (uint64_t i = 0; i < entries; i++) {
        map[i] = be32toh(map[i]);
        if (map[i] != BM_NONE)
            end = MAX(end, (uint64_t)map[i] * 512 + head + bs);
    }
    end = MAX(end, off + DYN);
    blockmap_init(&s->b, n, n->file, &vpc_ops, map, entries, bs, 512, end);
    s->b.head = head;
    s->b.opaque = s;
    s->b.fresh = false;                 /* the old footer lies where the next block goes */
    n->cluster_size = bs;
    if (flags & (BLOCK_CHECK | BLOCK_NO_IO))
        return true;
    for (uint64_t i = 0; i < entries; i++)
        if (map[i] == BM_ZERO || (map[i] != BM_NONE && (uint64_t)map[i] * 512 < MIN(off + DYN, s->bat_off))) {
            blockmap_clear(&s->b);
            BAD("block %" PRIu64 " lies on top of the header", i);
        }
    if (!blockmap_sane(&s->b, MAX(flen, 1), err)) {
        blockmap_clear(&s->b);
        return false;
    }
    return true;
}

static bool vpc_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    uint64_t flen = block_node_size(n->file), chs, cur;
    g_autofree char *calc = NULL;
    Vpc *s = g_new0(Vpc, 1);
    bool force, ok = false;

    block_opts_take(opts, "force_size_calc", &calc);
    int ret = flen < FOOTER ? -EINVAL : block_pread(n->file, 0, s->footer, FOOTER);
    if (!ret && memcmp(s->footer, "conectix", 8))
        ret = block_pread(n->file, flen - FOOTER, s->footer, FOOTER);
    const uint8_t *f = s->footer;
    if (ret)
        err_set_errno(err, -ret, "Could not read the VHD footer");
    else if (memcmp(f, "conectix", 8))
        err_set(err, "invalid VPC image");
    else if (checksum(f, FOOTER, F_SUM) != ld32_be(f + F_SUM) && !n->read_only)
        err_set(err, "checksum of the VHD footer is wrong: open it read-only");
    else if (ld32_be(f + F_TYPE) != TYPE_FIXED && ld32_be(f + F_TYPE) != TYPE_DYNAMIC)
        err_set_code(err, ERR_UNSUPPORTED, "VHD type %u (differencing) is not supported", ld32_be(f + F_TYPE));
    else
        ok = true;
    if (ok) {
        s->fixed = ld32_be(f + F_TYPE) == TYPE_FIXED;
        chs = 512ULL * ld16_be(f + F_CYL) * f[F_HEADS] * f[F_SECS];
        cur = ld64_be(f + F_SIZE);
        force = calc && g_str_equal(calc, "current_size");
        n->size = uses_current_size(f, force, chs / 512) ? cur : chs;
        if (s->fixed && n->size > flen - FOOTER)
            n->size = MIN(cur, flen - FOOTER);
        n->size &= ~511ULL;
        if (n->size > VHD_MAX)
            ok = err_set(err, "VHD size %" PRIu64 " is larger than 2040 GiB", n->size);
    }
    n->priv = s;
    if (!ok || (!s->fixed && !open_dynamic(n, s, flags, err))) {
        g_free(s);
        return false;
    }
    return true;
}

static int vpc_flush(BlockNode *n)
{
    Vpc *s = n->priv;

    return s->fixed ? block_flush(n->file) : blockmap_flush(&s->b);
}

static int vpc_close(BlockNode *n)
{
    Vpc *s = n->priv;
    int ret = n->read_only ? 0 : vpc_flush(n);

    blockmap_clear(&s->b);
    g_free(s);
    return ret;
}

static int vpc_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    Vpc *s = n->priv;

    return s->fixed ? block_read_vec(n->file, off, bytes, v) : blockmap_read(&s->b, off, bytes, v);
}

static int vpc_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    Vpc *s = n->priv;

    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    return s->fixed ? block_write_vec(n->file, off, bytes, v, 0) : blockmap_write(&s->b, off, bytes, v);
}

static int vpc_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    Vpc *s = n->priv;

    return s->fixed ? block_pwrite_zeroes(n->file, off, bytes, flags) : blockmap_zeroes(&s->b, off, bytes);
}

static int vpc_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    Vpc *s = n->priv;

    if (!s->fixed)
        return blockmap_status(&s->b, off, bytes, st);
    *st = (BlockStatus) { .bytes = bytes, .data = true, .allocated = true, .offset_valid = true, .offset = off,
                          .file = n->file, .recurse = true };
    return 0;
}

static const BlockCreateOption vpc_create_options[] = {
    { "force_size", "Force disk size calculation to use the actual size specified, rather than using the nearest CHS-based calculation" },
    { "size", "Virtual disk size" }, { "subformat", "Type of virtual hard disk format (dynamic or fixed)" }, { NULL, NULL },
};

static uint64_t fill_footer(uint8_t *f, uint64_t size, bool fixed, bool force)
{
    uint64_t sectors = size / 512, total = sectors;
    uint16_t cyls = 0;
    uint8_t heads = 0, secs = 0;

    if (!force)                         /* the smallest geometry that holds the size */
        for (int i = 0; i < 1000 && (uint64_t)cyls * heads * secs < sectors; i++)
            geometry(total + i, &cyls, &heads, &secs);
    else
        geometry(total, &cyls, &heads, &secs);
    if (!force && (uint64_t)cyls * heads * secs >= sectors)
        size = 512ULL * cyls * heads * secs;
    memcpy(f, "conectix", 8);
    st32_be(f + F_FEATURES, 2);
    st32_be(f + F_VERSION, 0x00010000);
    st64_be(f + F_DATA, fixed ? UINT64_MAX : FOOTER);
    st32_be(f + F_TIME, (uint32_t)(g_get_real_time() / G_USEC_PER_SEC - 946684800));
    memcpy(f + F_CREATOR, force ? "qem2" : "qemu", 4);
    st32_be(f + F_CVER, 0x00050003);
    memcpy(f + F_OS, "Wi2k", 4);
    st64_be(f + F_ORIG, size);
    st64_be(f + F_SIZE, size);
    st16_be(f + F_CYL, cyls);
    f[F_HEADS] = heads;
    f[F_SECS] = secs;
    st32_be(f + F_TYPE, fixed ? TYPE_FIXED : TYPE_DYNAMIC);
    for (int i = 0; i < 16; i += 4)
        st32_be(f + F_UUID + i, g_random_int());
    st32_be(f + F_SUM, checksum(f, FOOTER, F_SUM));
    return size;
}

static bool vpc_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    g_autofree char *sub = NULL;
    uint8_t f[FOOTER] = { 0 }, d[DYN] = { 0 };
    bool force = false, fixed, force_given = block_opts_get(opts, "force_size") != NULL;
    uint64_t size;
    BlockNewFile nf;

    if (!block_create_size(opts, &size, err) || !block_opts_take_bool(opts, "force_size", &force, err))
        return false;
    block_opts_take(opts, "subformat", &sub);
    if (sub && strcmp(sub, "dynamic") && strcmp(sub, "fixed"))
        return err_set(err, "Invalid subformat '%s': use dynamic or fixed", sub);
    fixed = sub && g_str_equal(sub, "fixed");
    if (size > VHD_MAX)
        return err_set(err, "VHD images hold at most 2040 GiB");
    g_string_append_printf(shown, "size=%" PRIu64, size);
    if (sub)
        g_string_append_printf(shown, " subformat=%s", sub);
    if (force_given)
        g_string_append_printf(shown, " force_size=%s", force ? "on" : "off");
    size = fill_footer(f, size, fixed, force || size / 512 > CHS_MAX);
    if (!block_newfile_open(&nf, filename, err))
        return false;
    if (fixed)
        return block_newfile_write(&nf, size, f, FOOTER, err) && block_newfile_finish(&nf, size + FOOTER, NULL, err);
    uint64_t entries = (size + BLOCK - 1) / BLOCK, bat = (entries * 4 + 511) & ~511ULL;
    memcpy(d, "cxsparse", 8);
    st64_be(d + 8, UINT64_MAX);
    st64_be(d + D_TABLE, FOOTER + DYN);
    st32_be(d + D_VERSION, 0x00010000);
    st32_be(d + D_ENTRIES, entries);
    st32_be(d + D_BSIZE, BLOCK);
    st32_be(d + D_SUM, checksum(d, DYN, D_SUM));
    g_autofree uint8_t *table = g_malloc(bat + 4);
    memset(table, 0xff, bat);
    return block_newfile_write(&nf, 0, f, FOOTER, err) && block_newfile_write(&nf, FOOTER, d, DYN, err) &&
           block_newfile_write(&nf, FOOTER + DYN, table, bat, err) &&
           block_newfile_write(&nf, FOOTER + DYN + bat, f, FOOTER, err) &&
           block_newfile_finish(&nf, FOOTER + DYN + bat + FOOTER, NULL, err);
}

static const char *const vpc_options[] = { "force_size_calc", NULL };

const BlockDriver block_drv_vpc = {
    .name = "vpc", .kind = DRV_FORMAT, .options = vpc_options, .probe = vpc_probe, .open = vpc_open,
    .close = vpc_close, .read = vpc_read, .write = vpc_write, .write_zeroes = vpc_zeroes, .flush = vpc_flush,
    .status = vpc_status, .create_options = vpc_create_options, .create = vpc_create,
};
