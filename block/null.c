/*
 * null: a disk of any size without storage, for measurements (null-co, null-aio).
 */
#include "block/block_int.h"

typedef struct NullNode { bool read_zeroes; uint64_t latency_ns; } NullNode;

static bool null_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    NullNode s = { 0 };

    n->size = GiB;
    if (!block_opts_take_u64(opts, "size", &n->size, err) ||
        !block_opts_take_u64(opts, "latency-ns", &s.latency_ns, err) ||
        !block_opts_take_bool(opts, "read-zeroes", &s.read_zeroes, err))
        return false;
    n->priv = g_memdup2(&s, sizeof s);
    n->read_only = !(flags & BLOCK_RDWR);
    return true;
}

static int null_close(BlockNode *n) { g_free(n->priv); return 0; }

static int null_wait(BlockNode *n)
{
    NullNode *s = n->priv;

    if (s->latency_ns)
        g_usleep(s->latency_ns / 1000);
    return 0;
}

static int null_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    if (((NullNode *)n->priv)->read_zeroes)
        vec_zero(v, bytes);
    return null_wait(n);
}

static int null_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    return null_wait(n);
}

static int null_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags) { return null_wait(n); }
static int null_flush(BlockNode *n) { return null_wait(n); }

static bool null_at_once(const BlockNode *n) { return !((NullNode *)n->priv)->latency_ns; }

static int null_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    bool zero = ((NullNode *)n->priv)->read_zeroes;

    *st = (BlockStatus) { .bytes = bytes, .allocated = true, .zero = zero, .data = !zero };
    return 0;
}

#define NULL_OPS                                                                    \
    .kind = DRV_PROTOCOL, .open = null_open, .close = null_close, .read = null_read, \
    .write = null_write, .write_zeroes = null_zeroes, .flush = null_flush, .status = null_status, \
    .at_once = null_at_once

const BlockDriver block_drv_null_co = { .name = "null-co", NULL_OPS };
const BlockDriver block_drv_null_aio = { .name = "null-aio", NULL_OPS };
