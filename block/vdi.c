/*
 * vdi: VirtualBox disk images, dynamic and static.
 *
 * Header at 0: text 64 bytes, then little-endian fields at the offsets below. A map of u32
 * block numbers follows: ffffffff none, fffffffe zero. Undo and differencing images are refused.
 */
#include <errno.h>
#include "block/blockmap.h"

enum { V_MAGIC = 0x40, V_VERSION = 0x44, V_HSIZE = 0x48, V_TYPE = 0x4c, V_MAP_OFF = 0x154, V_DATA_OFF = 0x158,
       V_SECTOR = 0x168, V_SIZE = 0x170, V_BSIZE = 0x178, V_BEXTRA = 0x17c, V_BLOCKS = 0x180, V_ALLOC = 0x184,
       V_UUID = 0x188, V_LINK = 0x1a8, V_PARENT = 0x1b8, V_END = 0x200 };
#define VDI_MAGIC 0xbeda107fu

typedef struct Vdi { BlockMap b; uint32_t map_off; bool is_static; } Vdi;

static int vdi_probe(const uint8_t *buf, size_t len)
{
    return len >= V_END && ld32_le(buf + V_MAGIC) == VDI_MAGIC ? 100 : 0;
}

static int vdi_store(BlockMap *b, const uint32_t *idx, unsigned n)
{
    Vdi *s = b->opaque;
    uint8_t v[4];
    int ret = 0;

    for (unsigned i = 0; i < n && !ret; i++) {
        st32_le(v, b->map[idx[i]]);
        ret = block_pwrite(b->file, s->map_off + 4ULL * idx[i], v, 4);
    }
    st32_le(v, (b->end - b->base) / b->unit);
    return ret ? ret : block_pwrite(b->file, V_ALLOC, v, 4);
}

static const BlockMapOps vdi_ops = { .store = vdi_store };

#define BAD(...) return err_set(err, __VA_ARGS__)
static bool check_header(const uint8_t *h, uint64_t flen, GError **err)
{
    static const uint8_t zero[16];
    uint64_t size = ld64_le(h + V_SIZE), blocks = ld32_le(h + V_BLOCKS);

    if (ld32_le(h + V_MAGIC) != VDI_MAGIC)
        BAD("Image not in VDI format (bad signature %08" PRIx32 ")", ld32_le(h + V_MAGIC));
    if (ld32_le(h + V_VERSION) != 0x00010001)
        BAD("unsupported VDI image (version %u.%u)", ld16_le(h + V_VERSION + 2), ld16_le(h + V_VERSION));
    if (ld32_le(h + V_TYPE) != 1 && ld32_le(h + V_TYPE) != 2)
        BAD("unsupported VDI image (type %u: undo or differencing)", ld32_le(h + V_TYPE));
    if (ld32_le(h + V_MAP_OFF) % 512 || ld32_le(h + V_DATA_OFF) % 512)
        BAD("unsupported VDI image (unaligned map or data offset)");
    if (ld32_le(h + V_SECTOR) != 512)
        BAD("unsupported VDI image (sector size %u is not 512)", ld32_le(h + V_SECTOR));
    if (ld32_le(h + V_BSIZE) != MiB || ld32_le(h + V_BEXTRA))
        BAD("unsupported VDI image (block size %u is not 1 MiB)", ld32_le(h + V_BSIZE));
    if (blocks > 0x3fffffff || size > blocks * MiB)
        BAD("unsupported VDI image (disk size %" PRIu64 ", image bitmap has room for %" PRIu64 ")", size, blocks * (uint64_t)MiB);
    if (memcmp(h + V_LINK, zero, 16) || memcmp(h + V_PARENT, zero, 16))
        BAD("unsupported VDI image (non-NULL link or parent UUID)");
    if (ld32_le(h + V_MAP_OFF) < V_END || (uint64_t)ld32_le(h + V_MAP_OFF) + 4 * blocks > ld32_le(h + V_DATA_OFF))
        BAD("unsupported VDI image (block map overlaps header or data)");
    return true;
}

static bool vdi_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    uint8_t h[V_END];
    uint64_t flen = block_node_size(n->file);
    int ret = flen < V_END ? -EINVAL : block_pread(n->file, 0, h, sizeof h);
    uint32_t *map, blocks;
    Vdi *s;

    if (ret)
        return err_set_errno(err, -ret, "Could not read the VDI header");
    if (!check_header(h, flen, err))
        return false;
    blocks = ld32_le(h + V_BLOCKS);
    n->size = (ld64_le(h + V_SIZE) + 511) & ~511ULL;
    n->cluster_size = MiB;
    map = (uint32_t *)blockmap_load(n->file, ld32_le(h + V_MAP_OFF), blocks, 4, err);
    if (!map)
        return false;
    for (uint32_t i = 0; i < blocks; i++)
        map[i] = le32toh(map[i]);
    s = g_new0(Vdi, 1);
    uint64_t data = ld32_le(h + V_DATA_OFF), end = MAX(data + (uint64_t)ld32_le(h + V_ALLOC) * MiB, flen);
    blockmap_init(&s->b, n, n->file, &vdi_ops, map, blocks, MiB, MiB, 0);
    s->b.base = data;
    s->b.end = data + (end - data + MiB - 1) / MiB * MiB;
    s->b.opaque = s;
    s->map_off = ld32_le(h + V_MAP_OFF);
    s->is_static = ld32_le(h + V_TYPE) == 2;
    n->priv = s;
    if (!(flags & (BLOCK_CHECK | BLOCK_NO_IO)) && !blockmap_sane(&s->b, MAX(flen, data + 1), err)) {
        blockmap_clear(&s->b);
        g_free(s);
        return false;
    }
    return true;
}

static int vdi_flush(BlockNode *n) { return blockmap_flush(&((Vdi *)n->priv)->b); }

static int vdi_close(BlockNode *n)
{
    Vdi *s = n->priv;
    int ret = n->read_only ? 0 : vdi_flush(n);

    blockmap_clear(&s->b);
    g_free(s);
    return ret;
}

static int vdi_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    return blockmap_read(&((Vdi *)n->priv)->b, off, bytes, v);
}

static int vdi_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    return flags & BLOCK_COMPRESSED ? -ENOTSUP : blockmap_write(&((Vdi *)n->priv)->b, off, bytes, v);
}

static int vdi_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    return blockmap_zeroes(&((Vdi *)n->priv)->b, off, bytes);
}

static int vdi_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    Vdi *s = n->priv;
    int ret = blockmap_status(&s->b, off, bytes, st);

    st->recurse = s->is_static;         /* its blocks may be holes of the file */
    return ret;
}

static bool vdi_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err)
{
    BlockMap *b = &((Vdi *)n->priv)->b;
    uint64_t flen = block_node_size(n->file);
    g_autoptr(GError) why = NULL;

    if (!blockmap_sane(b, MAX(flen, b->base + 1), &why)) {
        res->corruptions++;
        if (res->note)
            res->note(res->opaque, why->message);
    }
    if (fix)
        return err_set(err, "VDI images cannot be repaired");
    return true;
}

static const BlockCreateOption vdi_create_options[] = {
    { "preallocation", "Preallocation mode (allowed values: off, metadata)" }, { "size", "Virtual disk size" },
    { "static", "VDI static (pre-allocated) image" }, { NULL, NULL },
};

static void random_uuid(uint8_t *u)
{
    for (int i = 0; i < 16; i += 4)
        st32_le(u + i, g_random_int());
    u[6] = (u[6] & 0x0f) | 0x40;
    u[8] = (u[8] & 0x3f) | 0x80;
}

static bool vdi_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    uint8_t h[V_END] = { 0 };
    bool fixed = false;
    uint64_t size, blocks, map_bytes;
    g_autofree char *prealloc = NULL;
    BlockNewFile f;

    if (!block_create_size(opts, &size, err) || !block_opts_take_bool(opts, "static", &fixed, err))
        return false;
    block_opts_take(opts, "preallocation", &prealloc);
    bool asked = fixed;
    if (prealloc)
        fixed |= strcmp(prealloc, "off") != 0;
    blocks = (size + MiB - 1) / MiB;
    if (blocks * 4 > 64 * MiB)
        return err_set(err, "Unsupported VDI image size (size is %" PRIu64 ")", size);
    map_bytes = (blocks * 4 + 511) & ~511ULL;
    g_string_append_printf(shown, "size=%" PRIu64 " static=%s%s%s", size, asked ? "on" : "off",
                           prealloc ? " preallocation=" : "", prealloc ? prealloc : "");
    strcpy((char *)h, "<<< QEMU VM Virtual Disk Image >>>\n");
    st32_le(h + V_MAGIC, VDI_MAGIC);
    st32_le(h + V_VERSION, 0x00010001);
    st32_le(h + V_HSIZE, 0x180);
    st32_le(h + V_TYPE, fixed ? 2 : 1);
    st32_le(h + V_MAP_OFF, V_END);
    st32_le(h + V_DATA_OFF, V_END + map_bytes);
    st32_le(h + V_SECTOR, 512);
    st64_le(h + V_SIZE, size);
    st32_le(h + V_BSIZE, MiB);
    st32_le(h + V_BLOCKS, blocks);
    st32_le(h + V_ALLOC, fixed ? blocks : 0);
    random_uuid(h + V_UUID);
    random_uuid(h + V_UUID + 16);
    g_autofree uint8_t *map = g_malloc(map_bytes + 4);
    memset(map, 0xff, map_bytes);
    for (uint64_t i = 0; fixed && i < blocks; i++)
        st32_le(map + 4 * i, i);
    return block_newfile_open(&f, filename, err) && block_newfile_write(&f, 0, h, sizeof h, err) &&
           block_newfile_write(&f, V_END, map, map_bytes, err) &&
           block_newfile_finish(&f, V_END + map_bytes + (fixed ? blocks * MiB : 0), NULL, err);
}

const BlockDriver block_drv_vdi = {
    .name = "vdi", .kind = DRV_FORMAT, .probe = vdi_probe, .open = vdi_open, .close = vdi_close, .read = vdi_read,
    .write = vdi_write, .write_zeroes = vdi_zeroes, .flush = vdi_flush, .status = vdi_status, .check = vdi_check,
    .create_options = vdi_create_options, .create = vdi_create,
};
