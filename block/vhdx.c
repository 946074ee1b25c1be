/*
 * vhdx: Hyper-V disk images, dynamic and fixed, from MS-VHDX 1.0.
 *
 * Little-endian. Two headers alternate; two region tables name the block table (BAT) and the
 * metadata. A new block's entry is one eight-byte write after the data is durable, so this
 * writer needs no log of its own; the logs of others are replayed. Differencing is refused.
 */
#include <errno.h>
#include "block/vhdx_int.h"

#define GUID(...) { __VA_ARGS__ }
const uint8_t vhdx_guid_bat[16] = GUID(0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42, 0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08);
const uint8_t vhdx_guid_meta[16] = GUID(0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b, 0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e);
const uint8_t vhdx_guid_param[16] = GUID(0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b);
const uint8_t vhdx_guid_size[16] = GUID(0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8);
const uint8_t vhdx_guid_page83[16] = GUID(0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46);
const uint8_t vhdx_guid_logical[16] = GUID(0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f);
const uint8_t vhdx_guid_physical[16] = GUID(0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56);
const uint8_t vhdx_guid_parent[16] = GUID(0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c);

#define BAD(...) return err_set(err, __VA_ARGS__)

static int vhdx_probe(const uint8_t *buf, size_t len) { return len >= 8 && !memcmp(buf, "vhdxfile", 8) ? 100 : 0; }

static bool read_headers(BlockNode *n, Vhdx *s, GError **err)
{
    uint8_t h[2][HD_SIZE];
    bool ok[2];
    uint64_t seq[2], off;
    uint32_t len;

    for (int i = 0; i < 2; i++) {
        ok[i] = !block_pread(n->file, VHDX_HEADER(i), h[i], HD_SIZE) && !memcmp(h[i], "head", 4) &&
                vhdx_sum(h[i], HD_SIZE, 4) == ld32_le(h[i] + 4) && ld16_le(h[i] + HD_VERSION) == 1;
        seq[i] = ld64_le(h[i] + HD_SEQ);
    }
    if (!ok[0] && !ok[1])
        BAD("no valid VHDX header");
    if (ok[0] && ok[1] && seq[0] == seq[1] && memcmp(h[0], h[1], HD_SIZE))
        BAD("both VHDX headers are current but differ");
    s->slot = ok[1] && (!ok[0] || seq[1] > seq[0]);
    memcpy(s->header, h[s->slot], HD_SIZE);
    len = ld32_le(s->header + HD_LOG_LEN);
    off = ld64_le(s->header + HD_LOG_OFF);
    if (ld16_le(s->header + HD_LOG_VERSION))
        BAD("unknown VHDX log version %u", ld16_le(s->header + HD_LOG_VERSION));
    if (len % MiB || off % MiB || (len && (off < MiB || off > INT64_MAX - len)))
        BAD("VHDX log at %" PRIu64 ", %u bytes, is not valid", off, len);
    return true;
}

static bool region_ok(uint64_t off, uint64_t len, uint64_t flen, GError **err)
{
    if (off < MiB || off % MiB || !len || len % MiB || !range_ok(off, len, MAX(flen, off + len)) || off >= flen)
        BAD("VHDX region at %" PRIu64 ", %" PRIu64 " bytes, is not valid", off, len);
    return true;
}

static bool read_regions(BlockNode *n, Vhdx *s, GError **err)
{
    g_autofree uint8_t *t = g_malloc(RT_SIZE);
    uint64_t flen = block_node_size(n->file);
    uint32_t count;
    int i;

    for (i = 0; i < 2; i++)
        if (!block_pread(n->file, VHDX_REGIONS(i), t, RT_SIZE) && !memcmp(t, "regi", 4) && vhdx_sum(t, RT_SIZE, 4) == ld32_le(t + 4))
            break;
    if (i == 2)
        BAD("no valid VHDX region table");
    count = ld32_le(t + 8);
    if (count > 2047)
        BAD("VHDX region table has %u entries", count);
    for (uint32_t k = 0; k < count; k++) {
        const uint8_t *e = t + 16 + 32 * (size_t)k;
        uint64_t off = ld64_le(e + 16), len = ld32_le(e + 24);
        bool bat = !memcmp(e, vhdx_guid_bat, 16), meta = !memcmp(e, vhdx_guid_meta, 16);
        if (!bat && !meta) {
            if (ld32_le(e + 28) & 1)
                BAD("unknown required VHDX region");
            continue;
        }
        if (!region_ok(off, len, flen, err))
            return false;
        if (bat ? s->bat_off : s->meta_off)
            BAD("VHDX region named twice");
        *(bat ? &s->bat_off : &s->meta_off) = off;
        *(bat ? &s->bat_len : &s->meta_len) = len;
    }
    if (!s->bat_off || !s->meta_off)
        BAD("VHDX image without BAT or metadata region");
    if (s->bat_off < s->meta_off + s->meta_len && s->meta_off < s->bat_off + s->bat_len)
        BAD("VHDX BAT and metadata regions overlap");
    return true;
}

typedef struct Meta { uint64_t size; uint32_t block, flags, logical, physical; unsigned seen; } Meta;

static bool read_item(BlockNode *n, Vhdx *s, const uint8_t *e, Meta *m, GError **err)
{
    static const struct { const uint8_t *guid; uint32_t len; } items[] = {
        { vhdx_guid_param, 8 }, { vhdx_guid_size, 8 }, { vhdx_guid_logical, 4 }, { vhdx_guid_physical, 4 }, { vhdx_guid_page83, 16 } };
    uint32_t off = ld32_le(e + 16), len = ld32_le(e + 20);
    uint8_t v[16];
    size_t i;

    for (i = 0; i < ARRAY_LEN(items) && memcmp(items[i].guid, e, 16); i++)
        ;
    if (i == ARRAY_LEN(items)) {
        if (!memcmp(e, vhdx_guid_parent, 16))
            return err_set_code(err, ERR_UNSUPPORTED, "differencing VHDX images are not supported");
        if (ld32_le(e + 24) & 4)
            return err_set_code(err, ERR_UNSUPPORTED, "unknown required VHDX metadata item");
        return true;
    }
    if (m->seen & 1u << i)
        BAD("VHDX metadata item named twice");
    if (off < 64 * KiB || len < items[i].len || !range_ok(off, len, s->meta_len))
        BAD("VHDX metadata item at %u, %u bytes, is not valid", off, len);
    m->seen |= 1u << i;
    if (block_pread(n->file, s->meta_off + off, v, items[i].len))
        BAD("Could not read VHDX metadata");
    switch (i) {
    case 0: m->block = ld32_le(v); m->flags = ld32_le(v + 4); break;
    case 1: m->size = ld64_le(v); break;
    case 2: m->logical = ld32_le(v); break;
    case 3: m->physical = ld32_le(v); break;
    }
    return true;
}

static bool read_metadata(BlockNode *n, Vhdx *s, Meta *m, GError **err)
{
    uint8_t h[32];
    uint32_t count;

    if (block_pread(n->file, s->meta_off, h, 32) || memcmp(h, "metadata", 8))
        BAD("VHDX metadata table is not valid");
    count = ld16_le(h + 10);
    if (count > 2047)
        BAD("VHDX metadata table has %u entries", count);
    for (uint32_t k = 0; k < count; k++) {
        uint8_t e[32];
        if (block_pread(n->file, s->meta_off + 32 + 32 * k, e, 32))
            BAD("Could not read VHDX metadata");
        if (!read_item(n, s, e, m, err))
            return false;
    }
    if ((m->seen & 0xf) != 0xf)
        BAD("VHDX metadata lacks a required item");
    if (m->flags & 2)
        return err_set_code(err, ERR_UNSUPPORTED, "differencing VHDX images are not supported");
    if (m->block < MiB || m->block > 256 * MiB || (m->block & (m->block - 1)))
        BAD("VHDX block size %u is not valid", m->block);
    if ((m->logical != 512 && m->logical != 4096) || (m->physical != 512 && m->physical != 4096))
        BAD("VHDX sector size %u/%u is not valid", m->logical, m->physical);
    if (m->size > 64ULL * 1024 * GiB || m->size % m->logical)
        BAD("VHDX disk size %" PRIu64 " is not valid", m->size);
    return true;
}

static uint64_t bat_index(const Vhdx *s, uint32_t i) { return i + (uint64_t)(i / s->ratio); }

static int vhdx_store(BlockMap *b, const uint32_t *idx, unsigned n)
{
    Vhdx *s = b->opaque;
    uint8_t v[8];
    int ret = 0;

    for (unsigned i = 0; i < n && !ret; i++) {
        st64_le(v, (uint64_t)b->map[idx[i]] << 20 | 6);
        ret = block_pwrite(b->file, s->bat_off + 8 * bat_index(s, idx[i]), v, 8);
    }
    return ret;
}

static const BlockMapOps vhdx_ops = { .store = vhdx_store };

static bool load_bat(BlockNode *n, Vhdx *s, const Meta *m, unsigned flags, GError **err)
{
    uint64_t blocks = (m->size + m->block - 1) / m->block, entries, end, flen = block_node_size(n->file);
    uint64_t log_end = ld64_le(s->header + HD_LOG_OFF) + ld32_le(s->header + HD_LOG_LEN);

    s->logical = m->logical;
    s->ratio = (1ULL << 23) * m->logical / m->block;
    entries = blocks ? blocks + (blocks - 1) / s->ratio : 0;
    if (entries * 8 > s->bat_len)
        BAD("VHDX BAT is too short (%" PRIu64 " bytes for %" PRIu64 " entries)", s->bat_len, entries);
    g_autofree uint8_t *bat = blockmap_load(n->file, s->bat_off, entries, 8, err);
    if (!bat)
        return false;
    uint32_t *map = g_malloc(4 * blocks + 4);
    end = MAX(MAX(s->bat_off + s->bat_len, s->meta_off + s->meta_len), MAX(log_end, flen));
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t e = ld64_le(bat + 8 * bat_index(s, i)), off = e >> 20;
        unsigned state = e & 7;
        if (state == 4 || state == 7 || (e & 0xffff8) || (state == 6 && (off >= BM_ZERO || off < 1))) {
            g_free(map);
            BAD("VHDX BAT entry %" PRIu64 " (%#" PRIx64 ") is not valid", i, e);
        }
        map[i] = state == 6 ? off : state == 2 ? BM_ZERO : BM_NONE;
        uint64_t at = off << 20;
        if (state == 6 && ((at < s->bat_off + s->bat_len && s->bat_off < at + m->block) ||
                           (at < s->meta_off + s->meta_len && s->meta_off < at + m->block))) {
            g_free(map);
            BAD("VHDX block %" PRIu64 " lies on top of metadata", i);
        }
    }
    blockmap_init(&s->b, n, n->file, &vhdx_ops, map, blocks, m->block, MiB, end);
    s->b.opaque = s;
    if (!(flags & (BLOCK_CHECK | BLOCK_NO_IO)) && !blockmap_sane(&s->b, MAX(flen, 1), err)) {
        blockmap_clear(&s->b);
        return false;
    }
    return true;
}

static bool vhdx_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Vhdx *s = g_new0(Vhdx, 1);
    uint8_t id[8];
    Meta m = { 0 };
    bool ok = !block_pread(n->file, 0, id, 8) && !memcmp(id, "vhdxfile", 8);

    g_mutex_init(&s->head_lock);
    if (!ok)
        err_set(err, "Image is not in VHDX format");
    ok = ok && read_headers(n, s, err) && vhdx_log_replay(n, s, err) && read_regions(n, s, err) &&
         read_metadata(n, s, &m, err);
    n->size = m.size;
    n->cluster_size = m.block;
    n->priv = s;
    if (!ok || !load_bat(n, s, &m, flags, err)) {
        g_mutex_clear(&s->head_lock);
        g_free(s);
        return false;
    }
    return true;
}

/* The first change of a session gives the file and its data new identities. */
static int touch(BlockNode *n, Vhdx *s)
{
    int ret = 0;

    g_mutex_lock(&s->head_lock);
    if (!s->touched) {
        for (int i = 0; i < 32; i += 4)
            st32_le(s->header + HD_FILE_GUID + i, g_random_int());
        ret = vhdx_header_update(n->file, s);
        s->touched = ret == 0;
    }
    g_mutex_unlock(&s->head_lock);
    return ret;
}

static int vhdx_flush(BlockNode *n) { return blockmap_flush(&((Vhdx *)n->priv)->b); }

static int vhdx_close(BlockNode *n)
{
    Vhdx *s = n->priv;
    int ret = n->read_only ? 0 : vhdx_flush(n);

    blockmap_clear(&s->b);
    g_mutex_clear(&s->head_lock);
    g_free(s);
    return ret;
}

static int vhdx_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    return blockmap_read(&((Vhdx *)n->priv)->b, off, bytes, v);
}

static int vhdx_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    Vhdx *s = n->priv;
    int ret = flags & BLOCK_COMPRESSED ? -ENOTSUP : touch(n, s);

    return ret ? ret : blockmap_write(&s->b, off, bytes, v);
}

static int vhdx_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    Vhdx *s = n->priv;
    int ret = touch(n, s);

    return ret ? ret : blockmap_zeroes(&s->b, off, bytes);
}

static int vhdx_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    return blockmap_status(&((Vhdx *)n->priv)->b, off, bytes, st);
}

static bool vhdx_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err)
{
    g_autoptr(GError) why = NULL;
    BlockMap *b = &((Vhdx *)n->priv)->b;

    if (!blockmap_sane(b, MAX(block_node_size(n->file), 1), &why)) {
        res->corruptions++;
        if (res->note)
            res->note(res->opaque, why->message);
    }
    return true;                        /* a log is replayed by opening for the repair */
}

/* ---- create ---- */
const BlockCreateOption vhdx_create_options[] = {
    { "block_size", "Block Size; min 1MB, max 256MB. 0 means auto-calculate based on image size." },
    { "block_state_zero", "Force use of payload blocks of type 'ZERO'" },
    { "log_size", "Log size; min 1MB." }, { "size", "Virtual disk size" },
    { "subformat", "VHDX format type, can be either 'dynamic' or 'fixed'" }, { NULL, NULL },
};

static void put_item(uint8_t *meta, int i, const uint8_t *guid, uint32_t off, uint32_t len, uint32_t bits)
{
    uint8_t *e = meta + 32 + 32 * i;

    memcpy(e, guid, 16);
    st32_le(e + 16, 64 * KiB + off);
    st32_le(e + 20, len);
    st32_le(e + 24, bits);
}

static bool write_head(BlockNewFile *f, uint64_t log_len, uint64_t meta_off, uint64_t bat_off, uint64_t bat_len, GError **err)
{
    g_autofree uint8_t *t = g_malloc0(RT_SIZE);
    uint8_t id[520] = "vhdxfile", h[HD_SIZE] = "head";
    bool ok;

    for (int i = 0; "quern"[i]; i++)
        id[8 + 2 * i] = "quern"[i];
    for (int i = 0; i < 32; i += 4)
        st32_le(h + HD_FILE_GUID + i, g_random_int());
    st16_le(h + HD_VERSION, 1);
    st32_le(h + HD_LOG_LEN, log_len);
    st64_le(h + HD_LOG_OFF, MiB);
    ok = block_newfile_write(f, 0, id, sizeof id, err);
    for (int i = 0; i < 2 && ok; i++) {
        st64_le(h + HD_SEQ, i + 1);
        st32_le(h + 4, vhdx_sum(h, HD_SIZE, 4));
        ok = block_newfile_write(f, VHDX_HEADER(i), h, HD_SIZE, err);
    }
    memcpy(t, "regi", 4);
    st32_le(t + 8, 2);
    memcpy(t + 16, vhdx_guid_bat, 16);
    st64_le(t + 32, bat_off);
    st32_le(t + 40, bat_len);
    st32_le(t + 44, 1);
    memcpy(t + 48, vhdx_guid_meta, 16);
    st64_le(t + 64, meta_off);
    st32_le(t + 72, MiB);
    st32_le(t + 76, 1);
    st32_le(t + 4, vhdx_sum(t, RT_SIZE, 4));
    for (int i = 0; i < 2 && ok; i++)
        ok = block_newfile_write(f, VHDX_REGIONS(i), t, RT_SIZE, err);
    return ok;
}

static bool write_meta(BlockNewFile *f, uint64_t meta_off, uint64_t size, uint32_t block, bool fixed, GError **err)
{
    g_autofree uint8_t *m = g_malloc0(64 * KiB + 64);
    uint8_t *v = m + 64 * KiB;

    memcpy(m, "metadata", 8);
    st16_le(m + 10, 5);
    put_item(m, 0, vhdx_guid_param, 0, 8, 4);
    put_item(m, 1, vhdx_guid_size, 8, 8, 6);
    put_item(m, 2, vhdx_guid_page83, 16, 16, 6);
    put_item(m, 3, vhdx_guid_logical, 32, 4, 6);
    put_item(m, 4, vhdx_guid_physical, 36, 4, 6);
    st32_le(v, block);
    st32_le(v + 4, fixed ? 1 : 0);
    st64_le(v + 8, size);
    for (int i = 0; i < 16; i += 4)
        st32_le(v + 16 + i, g_random_int());
    st32_le(v + 32, 512);
    st32_le(v + 36, 512);
    return block_newfile_write(f, meta_off, m, 64 * KiB + 64, err);
}

bool vhdx_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    uint64_t size, block = 0, log = MiB;
    g_autofree char *sub = g_strdup("dynamic");
    bool zero = true, zero_given = block_opts_get(opts, "block_state_zero") != NULL;
    BlockNewFile f;

    if (!block_create_size(opts, &size, err) || !block_opts_take_u64(opts, "block_size", &block, err) ||
        !block_opts_take_u64(opts, "log_size", &log, err) || !block_opts_take_bool(opts, "block_state_zero", &zero, err))
        return false;
    bool named = block_opts_take(opts, "subformat", &sub), fixed = g_str_equal(sub, "fixed");
    uint64_t asked = block;
    if (!fixed && strcmp(sub, "dynamic"))
        BAD("Invalid subformat '%s'", sub);
    if (!block)
        block = size > 32ULL * 1024 * GiB ? 64 * MiB : size > 100 * GiB ? 32 * MiB : size > GiB ? 16 * MiB : 8 * MiB;
    if (block < MiB || block > 256 * MiB || (block & (block - 1)))
        BAD("Block size must be a power of two between 1 MiB and 256 MiB");
    if (!log || log % MiB || log > 64 * MiB)
        BAD("Log size must be a multiple of 1 MB");
    if (size > 64ULL * 1024 * GiB)
        BAD("Image size too large; max of 64TB");
    uint64_t blocks = (size + block - 1) / block, ratio = (1ULL << 23) * 512 / block, meta_off = MiB + log, bat_off = meta_off + MiB;
    uint64_t entries = blocks ? blocks + (blocks - 1) / ratio : 0, bat_len = MAX((entries * 8 + MiB - 1) / MiB * MiB, MiB);
    uint64_t data = bat_off + bat_len;
    g_autofree uint8_t *bat = g_malloc0(bat_len);
    for (uint64_t i = 0; i < blocks && (fixed || zero); i++)
        st64_le(bat + 8 * (i + i / ratio), fixed ? (data + i * block) | 6 : 2);
    g_string_append_printf(shown, "size=%" PRIu64 " log_size=%" PRIu64 " block_size=%" PRIu64 "%s%s%s", size, log, asked,
                           named ? " subformat=" : "", named ? sub : "",
                           !zero_given ? "" : zero ? " block_state_zero=on" : " block_state_zero=off");
    return block_newfile_open(&f, filename, err) && write_head(&f, log, meta_off, bat_off, bat_len, err) &&
           write_meta(&f, meta_off, size, block, fixed, err) && block_newfile_write(&f, bat_off, bat, bat_len, err) &&
           block_newfile_finish(&f, data + (fixed ? blocks * block : 0), NULL, err);
}

const BlockDriver block_drv_vhdx = {
    .name = "vhdx", .kind = DRV_FORMAT, .probe = vhdx_probe, .open = vhdx_open, .close = vhdx_close, .read = vhdx_read,
    .write = vhdx_write, .write_zeroes = vhdx_zeroes, .flush = vhdx_flush, .status = vhdx_status, .check = vhdx_check,
    .create_options = vhdx_create_options, .create = vhdx_create,
};
