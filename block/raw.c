/*
 * raw: the file is the disk; optionally only a window of it (offset=, size=).
 */
#include <errno.h>
#include "block/block_int.h"

typedef struct RawNode { uint64_t offset; bool windowed; } RawNode;

static uint64_t raw_length(BlockNode *n)
{
    RawNode *r = n->priv;

    return r->windowed ? n->size : block_node_size(n->file) - MIN(r->offset, block_node_size(n->file));
}

static bool raw_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    uint64_t offset = 0, size = UINT64_MAX, have = block_node_size(n->file);

    if (!block_opts_take_u64(opts, "offset", &offset, err) || !block_opts_take_u64(opts, "size", &size, err))
        return false;
    if (offset > have || (size != UINT64_MAX && !range_ok(offset, size, have)))
        return err_set(err, "The window at offset %" PRIu64 " does not lie inside '%s' (%" PRIu64 " bytes)",
                       offset, n->filename, have);
    RawNode *r = g_new0(RawNode, 1);
    r->offset = offset;
    r->windowed = size != UINT64_MAX;
    n->size = r->windowed ? size : have - offset;
    n->priv = r;
    return true;
}

static int raw_close(BlockNode *n) { g_free(n->priv); return 0; }

static int raw_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    return block_read_vec(n->file, off + ((RawNode *)n->priv)->offset, bytes, v);
}

static int raw_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    return block_read_now(n->file, off + ((RawNode *)n->priv)->offset, bytes, v);
}

static int raw_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    if (flags & BLOCK_COMPRESSED)
        return -ENOTSUP;
    return block_write_vec(n->file, off + ((RawNode *)n->priv)->offset, bytes, v, 0);
}

static int raw_write_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    return block_pwrite_zeroes(n->file, off + ((RawNode *)n->priv)->offset, bytes, flags & ~BLOCK_FUA);
}

static int raw_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    return block_pdiscard(n->file, off + ((RawNode *)n->priv)->offset, bytes);
}

static int raw_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    uint64_t base = ((RawNode *)n->priv)->offset;

    return block_status(n->file, off + base, bytes, st);
}

static bool raw_resolve(BlockNode *n, uint64_t *off, uint64_t bytes, bool write)
{
    *off += ((RawNode *)n->priv)->offset;
    return true;
}

static bool raw_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    RawNode *r = n->priv;

    if (r->windowed)
        return err_set(err, "a raw node with size= cannot be resized");
    return block_truncate(n->file, size + r->offset, prealloc, err);
}

static const BlockCreateOption raw_create_options[] = {
    { "size", "Virtual disk size" },
    { "preallocation", "Preallocation mode (allowed values: off, falloc, full)" },
    { "nocow", "Turn off copy-on-write (valid only on btrfs)" },
    { NULL, NULL },
};

static bool raw_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err)
{
    g_autofree char *prealloc = NULL, *nocow = NULL;
    BlockNewFile f;
    uint64_t size;

    if (!block_create_size(opts, &size, err))
        return false;
    block_opts_take(opts, "nocow", &nocow);
    if (block_opts_take(opts, "preallocation", &prealloc) && strcmp(prealloc, "off") &&
        strcmp(prealloc, "falloc") && strcmp(prealloc, "full"))
        return err_set(err, "Invalid parameter '%s' for preallocation: use off, falloc or full", prealloc);
    g_string_append_printf(shown, "size=%" PRIu64, size);
    if (prealloc)
        g_string_append_printf(shown, " preallocation=%s", prealloc);
    if (!block_newfile_open(&f, filename, err))
        return false;
    return block_newfile_finish(&f, size, prealloc, err);
}

static bool raw_measure(GHashTable *opts, BlockNode *src, uint64_t size, BlockMeasure *m, GError **err)
{
    m->required = m->full = size;      /* the length of the file counts, holes or not */
    return true;
}

static const char *const raw_options[] = { "offset", "size", NULL };

const BlockDriver block_drv_raw = {
    .name = "raw", .kind = DRV_FORMAT, .options = raw_options, .open = raw_open, .close = raw_close,
    .read = raw_read, .read_now = raw_read_now, .write = raw_write, .write_zeroes = raw_write_zeroes, .discard = raw_discard,
    .status = raw_status, .length = raw_length, .truncate = raw_truncate, .resolve = raw_resolve,
    .create_options = raw_create_options, .create = raw_create, .measure = raw_measure,
};
