/*
 * filter_io: filters users ask for: throttle (bandwidth and requests per second) and copy-on-read.
 */
#include <errno.h>
#include "block/block_int.h"
#include "block/graph_int.h"

/* ---- throttle ---- */
typedef struct Bucket { double rate, max, level; int64_t last_us; } Bucket;     /* level leaks at rate per second */
enum { T_BPS, T_BPS_RD, T_BPS_WR, T_IOPS, T_IOPS_RD, T_IOPS_WR, T_COUNT };
static const char *const throttle_keys[T_COUNT] = { "bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write" };

typedef struct Throttle { GMutex lock; Bucket b[T_COUNT]; } Throttle;

static bool take_limits(Throttle *t, GHashTable *opts, const char *prefix, GError **err)
{
    for (int i = 0; i < T_COUNT; i++) {
        g_autofree char *key = g_strdup_printf("%s%s", prefix, throttle_keys[i]), *max = g_strdup_printf("%s-max", key);
        uint64_t rate = 0, burst = 0;
        if (!block_opts_take_u64(opts, key, &rate, err) || !block_opts_take_u64(opts, max, &burst, err))
            return false;
        if (burst && !rate)
            return err_set(err, "%s needs %s", max, key);
        if (burst && burst < rate)
            return err_set(err, "%s must not be smaller than %s", max, key);
        if (rate)
            t->b[i] = (Bucket) { rate, burst ? burst : rate / 10.0, 0, 0 };
    }
    return true;
}

static bool throttle_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Throttle *t = g_new0(Throttle, 1);
    g_autofree char *group = NULL;

    block_opts_take(opts, "throttle-group", &group);
    if (!take_limits(t, opts, "limits.", err) || !take_limits(t, opts, "", err)) {
        g_free(t);
        return false;
    }
    g_mutex_init(&t->lock);
    n->priv = t;
    return true;
}

static int throttle_close(BlockNode *n)
{
    g_mutex_clear(&((Throttle *)n->priv)->lock);
    g_free(n->priv);
    return 0;
}

static int64_t charge(Bucket *b, double units, int64_t now)
{
    if (!b->rate)
        return 0;
    b->level = MAX(0, b->level - b->rate * (now - b->last_us) / 1e6);
    b->last_us = now;
    b->level += units;
    return b->level > b->max ? (int64_t)((b->level - b->max) / b->rate * 1e6) : 0;
}

/* Runs on a worker: sleeping here delays this request only. */
static void wait_turn(BlockNode *n, uint64_t bytes, bool write)
{
    Throttle *t = n->priv;
    int64_t now = g_get_monotonic_time(), wait = 0;

    g_mutex_lock(&t->lock);
    wait = MAX(wait, charge(&t->b[T_BPS], bytes, now));
    wait = MAX(wait, charge(&t->b[write ? T_BPS_WR : T_BPS_RD], bytes, now));
    wait = MAX(wait, charge(&t->b[T_IOPS], 1, now));
    wait = MAX(wait, charge(&t->b[write ? T_IOPS_WR : T_IOPS_RD], 1, now));
    g_mutex_unlock(&t->lock);
    if (wait)
        g_usleep(wait);
}

static int throttle_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    wait_turn(n, bytes, false);
    return block_read_vec(n->file, off, bytes, v);
}

static int throttle_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    wait_turn(n, bytes, true);
    return block_write_vec(n->file, off, bytes, v, flags);
}

static int throttle_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    wait_turn(n, bytes, true);
    return block_pwrite_zeroes(n->file, off, bytes, flags);
}

static int pass_discard(BlockNode *n, uint64_t off, uint64_t bytes) { return block_pdiscard(n->file, off, bytes); }
static int pass_flush(BlockNode *n) { return block_flush(n->file); }
static uint64_t pass_length(BlockNode *n) { return block_node_size(n->file); }

static int pass_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    return block_status_above(n->file, NULL, off, bytes, st, NULL);
}

static bool pass_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    return block_truncate(n->file, size, prealloc, err);
}

static const char *const throttle_options[] = { "throttle-group", "limits.bps-total", "limits.iops-total", NULL };

const BlockDriver block_drv_throttle = {
    .name = "throttle", .kind = DRV_FILTER, .options = throttle_options, .open = throttle_open, .close = throttle_close,
    .read = throttle_read, .write = throttle_write, .write_zeroes = throttle_zeroes, .discard = pass_discard,
    .flush = pass_flush, .length = pass_length, .status = pass_status, .truncate = pass_truncate,
};

/* ---- copy-on-read ---- */
typedef struct Cor { GMutex lock; GCond cond; unsigned writers; bool copying; } Cor;

static bool cor_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Cor *c = g_new0(Cor, 1);

    g_mutex_init(&c->lock);
    g_cond_init(&c->cond);
    n->priv = c;
    return true;
}

static int cor_close(BlockNode *n)
{
    Cor *c = n->priv;

    g_mutex_clear(&c->lock);
    g_cond_clear(&c->cond);
    g_free(c);
    return 0;
}

/* Guest writes and copies exclude each other, or a copy could put old data over new. */
static void cor_enter(Cor *c, bool copy)
{
    g_mutex_lock(&c->lock);
    while (c->copying || (copy && c->writers))
        g_cond_wait(&c->cond, &c->lock);
    if (copy)
        c->copying = true;
    else
        c->writers++;
    g_mutex_unlock(&c->lock);
}

static void cor_leave(Cor *c, bool copy)
{
    g_mutex_lock(&c->lock);
    if (copy)
        c->copying = false;
    else
        c->writers--;
    g_cond_broadcast(&c->cond);
    g_mutex_unlock(&c->lock);
}

static int copy_up(BlockNode *n, uint64_t off, uint64_t bytes)
{
    BlockNode *top = n->file;
    uint64_t unit = MAX(block_node_cluster_size(top), 65536), size = block_node_size(top);
    g_autofree uint8_t *buf = g_try_malloc(MIN(bytes, MiB) + 2 * unit);
    int ret = buf ? 0 : -ENOMEM;

    while (bytes && !ret) {
        BlockStatus st;
        ret = block_status(top, off, MIN(bytes, MiB), &st);
        if (!ret && !st.allocated) {
            uint64_t lo = off / unit * unit, hi = MIN((off + st.bytes + unit - 1) / unit * unit, size);
            ret = block_pread(top, lo, buf, hi - lo);
            if (!ret)
                ret = block_is_zero(buf, hi - lo) ? block_pwrite_zeroes(top, lo, hi - lo, 0)
                                                  : block_pwrite(top, lo, buf, hi - lo);
        }
        off += st.bytes;
        bytes -= ret ? bytes : st.bytes;
    }
    return ret;
}

static int cor_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    Cor *c = n->priv;
    BlockStatus st;
    uint64_t o = off;

    while (!n->read_only && o < off + bytes && !block_status(n->file, o, off + bytes - o, &st)) {
        if (!st.allocated) {
            cor_enter(c, true);
            (void)!copy_up(n, o, st.bytes);     /* a copy that fails costs speed, not data */
            cor_leave(c, true);
        }
        o += st.bytes;
    }
    return block_read_vec(n->file, off, bytes, v);
}

static int cor_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    cor_enter(n->priv, false);
    int ret = block_write_vec(n->file, off, bytes, v, flags);
    cor_leave(n->priv, false);
    return ret;
}

static int cor_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    cor_enter(n->priv, false);
    int ret = block_pwrite_zeroes(n->file, off, bytes, flags);
    cor_leave(n->priv, false);
    return ret;
}

const BlockDriver block_drv_cor = {
    .name = "copy-on-read", .kind = DRV_FILTER, .open = cor_open, .close = cor_close, .read = cor_read,
    .write = cor_write, .write_zeroes = cor_zeroes, .discard = pass_discard, .flush = pass_flush,
    .length = pass_length, .status = pass_status, .truncate = pass_truncate,
};

/* A filter put on a node that is open already; takes over file. */
BlockNode *block_filter_on(const BlockDriver *drv, BlockNode *file, GHashTable *opts, GError **err)
{
    BlockNode *n = block_node_new(file->graph, drv, file->filename, file->flags);

    n->file = file;
    n->read_only = file->read_only;
    if (drv->open(n, opts, file->flags, err))
        return n;
    n->drv = &block_drv_raw;            /* nothing of its own to close */
    block_node_unref(n);
    return NULL;
}
