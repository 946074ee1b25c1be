/*
 * dev: drives as disk controllers see them: asynchronous requests over blocking nodes.
 *
 * Workers run requests; finished ones wait in one queue per graph, which a GSource empties
 * on the main context, or block_dev_drain() in its own thread. A request is popped singly
 * before its callback runs, so a callback may drain, submit or delete.
 */
#include <errno.h>
#include "block/block_int.h"
#include "block/dev_int.h"
#include "util/log.h"

static void dev_enter(const BlockDev *dev)
{
    if (dev->devs->context.enter)
        dev->devs->context.enter(dev->devs->context.opaque);
}

static void dev_leave(const BlockDev *dev)
{
    if (dev->devs->context.leave)
        dev->devs->context.leave(dev->devs->context.opaque);
}

/* ---- completion queue ---- */
static BlockReq *pop_finished(BlockDevs *ds, BlockDev *only)
{
    BlockReq *r = NULL;

    g_mutex_lock(&ds->lock);
    for (GList *l = ds->finished.head; l; l = l->next)
        if (!only || ((BlockReq *)l->data)->dev == only) {
            r = l->data;
            g_queue_delete_link(&ds->finished, l);
            break;
        }
    g_mutex_unlock(&ds->lock);
    return r;
}

void block_req_done(BlockReq *r, int ret)
{
    BlockDevs *ds = r->dev->devs;

    r->ret = ret;
    g_mutex_lock(&ds->lock);
    g_queue_push_tail(&ds->finished, r);
    if (ds->waiting)
        g_cond_broadcast(&ds->cond);
    if (ds->finished.length == 1)       /* else the source is awake already */
        g_source_set_ready_time(ds->source, 0);
    g_mutex_unlock(&ds->lock);
}

static int stat_of(const BlockReq *r)
{
    switch (r->type) {
    case REQ_READ: return BLOCK_STAT_READ;
    case REQ_FLUSH: return BLOCK_STAT_FLUSH;
    case REQ_DISCARD: return BLOCK_STAT_UNMAP;
    default: return BLOCK_STAT_WRITE;
    }
}

static void account(BlockReq *r)
{
    BlockStats *s = &r->dev->stats;
    int k = stat_of(r);

    if (r->ret) {
        s->failed[k]++;
        return;
    }
    s->ops[k]++;
    s->bytes[k] += r->bytes;
    s->total_ns[k] += (g_get_monotonic_time() - r->start_us) * 1000;
    if (k == BLOCK_STAT_WRITE)
        s->wr_highest = MAX(s->wr_highest, r->off + r->bytes);
}

typedef struct ToldError { BlockDevs *devs; BlockErrorInfo info; } ToldError;

static gboolean tell_error(gpointer opaque)
{
    ToldError *t = opaque;
    BlockDevs *main = t->devs;

    if (g_list_find(main->all, t->info.dev) && main->error_hook)
        main->error_hook(main->error_opaque, &t->info);
    return G_SOURCE_REMOVE;
}

/* The hook needs the machine lock: from a context of its own the news goes to the graph's loop. */
static void report_error(BlockDev *dev, const BlockErrorInfo *info)
{
    BlockDevs *main = dev->devs->main;
    GSource *source;
    ToldError *t;

    if (!main->error_hook)
        return;
    if (!dev->devs->context.enter) {
        main->error_hook(main->error_opaque, info);
        return;
    }
    t = g_new(ToldError, 1);
    *t = (ToldError) { main, *info };
    source = g_idle_source_new();
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, tell_error, t, g_free);
    g_source_attach(source, main->loop);
    g_source_unref(source);
}

/* True when the request is kept for block_graph_resume(). */
static bool apply_error_policy(BlockReq *r)
{
    BlockDev *dev = r->dev;
    bool is_read = r->type == REQ_READ;
    bool nospace = r->ret == -ENOSPC || r->ret == -EDQUOT;
    BlockErrPolicy p = is_read ? dev->rerror : dev->werror;
    BlockErrorInfo info = { dev, -r->ret, is_read, nospace, false };

    if (p == BLOCK_ERR_AUTO)
        p = is_read ? BLOCK_ERR_REPORT : BLOCK_ERR_ENOSPC;
    if (p == BLOCK_ERR_IGNORE) {
        r->ret = 0;
        return false;
    }
    info.stop = p == BLOCK_ERR_STOP || (p == BLOCK_ERR_ENOSPC && nospace);
    if (info.stop && !dev->devs->main->error_hook)
        info.stop = false;          /* nobody could resume it */
    if (info.stop)
        g_queue_push_tail(&dev->parked, r);
    report_error(dev, &info);
    return info.stop;
}

static void finish(BlockReq *r)
{
    BlockDev *dev = r->dev;

    dev->active--;
    if (r->ret < 0 && r->ret != -ECANCELED && r->ret != -ENOMEDIUM && r->ret != -EINVAL &&
        r->ret != -EROFS && !r->cancelled && apply_error_policy(r))
        return;
    account(r);
    dev->in_flight--;
    BlockDone *done = r->done;
    void *opaque = r->opaque;
    int ret = r->ret;
    block_node_unref(r->node);
    g_free(r->iov_heap);
    g_free(r);
    done(opaque, ret);
}

static gboolean source_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    BlockDevs *ds = ((DevSource *)source)->devs;
    BlockReq *r;
    int budget = 256;

    g_source_set_ready_time(source, -1);
    if (ds->context.enter)
        ds->context.enter(ds->context.opaque);
    while (budget-- > 0 && !g_source_is_destroyed(source) && (r = pop_finished(ds, NULL)))
        finish(r);
    if (ds->context.leave)
        ds->context.leave(ds->context.opaque);
    g_mutex_lock(&ds->lock);
    if (!g_queue_is_empty(&ds->finished))
        g_source_set_ready_time(source, 0);
    g_mutex_unlock(&ds->lock);
    return G_SOURCE_CONTINUE;
}

/* ---- running ---- */
static int run(BlockReq *r)
{
    BlockVec v = { r->iov, r->niov, 0 };
    unsigned f = (r->flags & BLOCK_REQ_FUA ? BLOCK_FUA : 0) | (r->flags & BLOCK_REQ_UNMAP ? BLOCK_MAY_UNMAP : 0);

    switch (r->type) {
    case REQ_READ: return block_read_vec(r->node, r->off, r->bytes, v);
    case REQ_WRITE: return block_write_vec(r->node, r->off, r->bytes, v, f);
    case REQ_FLUSH: return block_flush(r->node);
    case REQ_DISCARD: return block_pdiscard(r->node, r->off, r->bytes);
    case REQ_ZERO: return block_pwrite_zeroes(r->node, r->off, r->bytes, f);
    }
    return -EINVAL;
}

static void job(void *opaque)
{
    BlockReq *r = opaque;

    block_req_done(r, g_atomic_int_get(&r->cancelled) ? -ECANCELED : run(r));
}

void block_req_retry(BlockReq *r) { block_pool_push(block_graph_pool(r->dev->graph), job, r); }

static void start(BlockReq *r)
{
    BlockDev *dev = r->dev;

    if (dev->devs->main->quiesced) {
        g_queue_push_tail(&dev->held, r);
        return;
    }
    dev->active++;
    if (!r->node)
        block_req_done(r, -ENOMEDIUM);
    else if (r->type != REQ_FLUSH && !range_ok(r->off, r->bytes, block_node_size(r->node)))
        block_req_done(r, -EINVAL);
    else if (r->type != REQ_READ && r->type != REQ_FLUSH && r->node->read_only)
        block_req_done(r, -EROFS);
    else if (r->node->drv->at_once && r->node->drv->at_once(r->node))
        block_req_done(r, run(r));
    else if (!block_aio_submit(r))
        block_pool_push(block_graph_pool(dev->graph), job, r);
}

static BlockReq *submit(BlockDev *dev, ReqType type, uint64_t off, uint64_t bytes, const struct iovec *iov,
                        int niov, unsigned flags, BlockDone *done, void *opaque)
{
    BlockReq *r = g_new0(BlockReq, 1);

    r->dev = dev;
    r->type = type;
    r->off = off;
    r->bytes = bytes;
    r->flags = flags;
    r->done = done;
    r->opaque = opaque;
    r->node = block_node_ref(dev->node);
    r->start_us = g_get_monotonic_time();
    r->niov = niov;
    if (niov <= (int)ARRAY_LEN(r->iov_small)) {
        if (niov)
            memcpy(r->iov_small, iov, niov * sizeof *iov);
        r->iov = r->iov_small;
    } else {
        r->iov = r->iov_heap = g_memdup2(iov, niov * sizeof *iov);
    }
    if (!dev->wce && (type == REQ_WRITE || type == REQ_ZERO))
        r->flags |= BLOCK_REQ_FUA;
    dev->in_flight++;
    start(r);
    return r;
}

static uint64_t iov_bytes(const struct iovec *iov, int niov)
{
    uint64_t sum = 0;

    for (int i = 0; i < niov; i++)
        sum += iov[i].iov_len;
    return sum;
}

BlockReq *block_dev_readv(BlockDev *dev, uint64_t off, const struct iovec *iov, int niov, BlockDone *done, void *opaque)
{
    return submit(dev, REQ_READ, off, iov_bytes(iov, niov), iov, niov, 0, done, opaque);
}

BlockReq *block_dev_writev(BlockDev *dev, uint64_t off, const struct iovec *iov, int niov, unsigned flags,
                           BlockDone *done, void *opaque)
{
    return submit(dev, REQ_WRITE, off, iov_bytes(iov, niov), iov, niov, flags, done, opaque);
}

BlockReq *block_dev_flush(BlockDev *dev, BlockDone *done, void *opaque)
{
    return submit(dev, REQ_FLUSH, 0, 0, NULL, 0, 0, done, opaque);
}

BlockReq *block_dev_discard(BlockDev *dev, uint64_t off, uint64_t bytes, BlockDone *done, void *opaque)
{
    return submit(dev, REQ_DISCARD, off, bytes, NULL, 0, 0, done, opaque);
}

BlockReq *block_dev_write_zeroes(BlockDev *dev, uint64_t off, uint64_t bytes, unsigned flags, BlockDone *done,
                                 void *opaque)
{
    return submit(dev, REQ_ZERO, off, bytes, NULL, 0, flags, done, opaque);
}

static void drain(BlockDev *dev)
{
    BlockDevs *ds = dev->devs;

    while (dev->active) {
        BlockReq *r = pop_finished(ds, dev);
        if (r) {
            finish(r);
            continue;
        }
        g_mutex_lock(&ds->lock);
        bool mine = false;
        for (GList *l = ds->finished.head; l && !mine; l = l->next)
            mine = ((BlockReq *)l->data)->dev == dev;
        ds->waiting++;
        if (!mine)
            g_cond_wait(&ds->cond, &ds->lock);
        ds->waiting--;
        g_mutex_unlock(&ds->lock);
    }
}

void block_dev_drain(BlockDev *dev)
{
    dev_enter(dev);
    drain(dev);
    dev_leave(dev);
}

void block_dev_cancel_all(BlockDev *dev)
{
    BlockReq *r;

    dev_enter(dev);
    while ((r = g_queue_pop_head(&dev->parked)) || (r = g_queue_pop_head(&dev->held))) {
        dev->active++;
        r->cancelled = 1;
        block_req_done(r, -ECANCELED);
    }
    drain(dev);
    dev_leave(dev);
}

unsigned block_dev_in_flight(const BlockDev *dev) { return dev->in_flight; }

/* ---- blocking forms ---- */
int block_dev_pread(BlockDev *dev, uint64_t off, void *buf, size_t bytes)
{
    if (!dev->node)
        return -ENOMEDIUM;
    return range_ok(off, bytes, block_node_size(dev->node)) ? block_pread(dev->node, off, buf, bytes) : -EINVAL;
}

int block_dev_pwrite(BlockDev *dev, uint64_t off, const void *buf, size_t bytes)
{
    if (!dev->node)
        return -ENOMEDIUM;
    if (!range_ok(off, bytes, block_node_size(dev->node)))
        return -EINVAL;
    return block_pwrite_flags(dev->node, off, buf, bytes, dev->wce ? 0 : BLOCK_FUA);
}

int block_dev_flush_sync(BlockDev *dev)
{
    return dev->node ? block_flush(dev->node) : 0;
}

/* ---- properties ---- */
const char *block_dev_name(const BlockDev *dev) { return dev->name; }
const char *block_dev_device_id(const BlockDev *dev) { return dev->device_id ? dev->device_id : ""; }
BlockNode *block_dev_node(const BlockDev *dev) { return dev->node; }
bool block_dev_has_medium(const BlockDev *dev) { return dev->node != NULL; }
bool block_dev_read_only(const BlockDev *dev) { return dev->node ? dev->node->read_only : dev->want_read_only; }
uint64_t block_dev_size(const BlockDev *dev) { return dev->node ? block_node_size(dev->node) : 0; }
bool block_dev_wce(const BlockDev *dev) { return dev->wce; }
void block_dev_set_wce(BlockDev *dev, bool on) { dev->wce = on; }
const BlockStats *block_dev_stats(const BlockDev *dev) { return &dev->stats; }
const BlockPlace *block_drive_place(const BlockDev *dev) { return &dev->place; }
bool block_dev_attached(const BlockDev *dev) { return dev->attached; }

bool block_dev_can_discard(const BlockDev *dev)
{
    return dev->node && !dev->node->read_only && (dev->node->flags & BLOCK_UNMAP);
}

void block_dev_set_error_policy(BlockDev *dev, BlockErrPolicy rerror, BlockErrPolicy werror)
{
    if (rerror != BLOCK_ERR_AUTO)
        dev->rerror = rerror;
    if (werror != BLOCK_ERR_AUTO)
        dev->werror = werror;
}

bool block_dev_set_share_rw(BlockDev *dev, bool share, GError **err)
{
    dev->share_rw = share;
    return true;
}

bool block_dev_attach(BlockDev *dev, const BlockDevOps *ops, void *opaque, const char *device_id, GError **err)
{
    if (dev->attached)
        return err_set(err, "Drive '%s' is already in use by another device", dev->name);
    if (dev->node && !dev->share_rw && !block_file_claim(dev->node, 0, BLOCK_PERM_WRITE, err))
        return false;
    dev->attached = true;
    dev->ops = ops;
    dev->ops_opaque = opaque;
    g_free(dev->device_id);
    dev->device_id = g_strdup(device_id);
    return true;
}

void block_dev_detach(BlockDev *dev)
{
    block_dev_cancel_all(dev);
    dev->attached = false;
    dev->ops = NULL;
    g_clear_pointer(&dev->device_id, g_free);
}

/* ---- media ---- */
static void tell_tray(BlockDev *dev, bool open)
{
    BlockDevs *ds = dev->devs->main;

    if (ds->tray_hook)
        ds->tray_hook(ds->tray_opaque, dev, open);
}

static bool has_tray(const BlockDev *dev) { return dev->ops && dev->ops->tray_open; }
bool block_dev_tray_open(const BlockDev *dev) { return has_tray(dev) && dev->ops->tray_open(dev->ops_opaque); }

bool block_dev_locked(const BlockDev *dev)
{
    return dev->ops && dev->ops->medium_locked && dev->ops->medium_locked(dev->ops_opaque);
}

static void swap_medium(BlockDev *dev, BlockNode *node)
{
    BlockNode *old = dev->node;

    block_dev_drain(dev);
    if (old && dev->ops && dev->ops->media_changed)
        dev->ops->media_changed(dev->ops_opaque, false);
    block_dev_drain(dev);
    dev->node = node;
    block_node_unref(old);
    if (old && has_tray(dev))
        tell_tray(dev, true);
    if (node && dev->ops && dev->ops->media_changed)
        dev->ops->media_changed(dev->ops_opaque, true);
    if (node && has_tray(dev))
        tell_tray(dev, false);
}

static bool tray_free(BlockDev *dev, bool force, GError **err)
{
    if (force || !block_dev_locked(dev) || block_dev_tray_open(dev))
        return true;
    if (dev->ops->eject_request)
        dev->ops->eject_request(dev->ops_opaque, false);
    return err_set(err, "Device '%s' is locked and force was not specified, wait for tray to open and try again",
                   dev->name);
}

bool block_dev_change_medium(BlockDev *dev, const char *filename, const char *format, GError **err)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    unsigned flags = dev->open_flags & ~(dev->want_read_only ? BLOCK_RDWR : 0);
    BlockNode *n;

    if (dev->attached && dev->ops && !dev->ops->media_changed)
        return err_set(err, "Device '%s' is not removable", dev->name);
    if (!tray_free(dev, false, err))
        return false;
    if (format)
        block_opts_set(opts, "driver", format);
    n = block_open(dev->graph, filename, opts, flags | BLOCK_AUTO_RDONLY, err);
    if (!n)
        return false;
    if (dev->attached && !dev->share_rw && !block_file_claim(n, 0, BLOCK_PERM_WRITE, err)) {
        block_node_unref(n);
        return false;
    }
    swap_medium(dev, n);
    return true;
}

bool block_dev_eject(BlockDev *dev, bool force, GError **err)
{
    if (dev->attached && dev->ops && !dev->ops->media_changed)
        return err_set(err, "Device '%s' is not removable", dev->name);
    if (!tray_free(dev, force, err))
        return false;
    swap_medium(dev, NULL);
    return true;
}

void block_dev_guest_tray(BlockDev *dev, bool open)
{
    trace(block_dev_tray, "%s open=%d", dev->name, open);
    tell_tray(dev, open);
}

/* ---- all drives ---- */
static void devs_free(BlockDevs *ds)
{
    g_mutex_clear(&ds->lock);
    g_cond_clear(&ds->cond);
    g_free(ds);
}

/* A dispatch under way in another thread may still look at the queue: it goes with the source. */
static void source_finalize(GSource *source) { devs_free(((DevSource *)source)->devs); }

static GSourceFuncs source_funcs = { .dispatch = source_dispatch, .finalize = source_finalize };

static BlockDevs *devs_new(GMainContext *context)
{
    BlockDevs *ds = g_new0(BlockDevs, 1);

    g_mutex_init(&ds->lock);
    g_cond_init(&ds->cond);
    g_queue_init(&ds->finished);
    ds->loop = context;
    ds->source = g_source_new(&source_funcs, sizeof(DevSource));
    ((DevSource *)ds->source)->devs = ds;
    g_source_set_name(ds->source, "block completions");
    return ds;
}

static void devs_drop(BlockDevs *ds)
{
    GSource *source = ds->source;

    g_source_destroy(source);
    g_source_unref(source);
}

void block_graph_devs_init(BlockGraph *g, GMainContext *context)
{
    BlockDevs *ds = devs_new(context);

    ds->main = ds;
    *block_graph_devs(g) = ds;
    g_source_attach(ds->source, context);
}

void block_dev_set_context(BlockDev *dev, const BlockContext *c)
{
    BlockDevs *old = dev->devs, *now = old->main;
    void (*leave)(void *opaque) = old->context.leave;
    void *opaque = old->context.opaque;

    dev_enter(dev);
    block_dev_cancel_all(dev);
    if (c) {
        now = devs_new(NULL);
        now->main = old->main;
        now->context = *c;
        g_source_attach(now->source, c->context);
    }
    dev->devs = now;
    if (old != old->main)
        devs_drop(old);
    if (leave)
        leave(opaque);
}

BlockDev *block_dev_new(BlockGraph *g, const char *name)
{
    BlockDev *dev = g_new0(BlockDev, 1);

    dev->graph = g;
    dev->devs = *block_graph_devs(g);
    dev->name = g_strdup(name);
    dev->wce = true;
    dev->rerror = dev->werror = BLOCK_ERR_AUTO;
    dev->place = (BlockPlace) { BLOCK_IF_NONE, -1, -1, -1, false };
    dev->open_flags = BLOCK_RDWR;
    g_queue_init(&dev->parked);
    g_queue_init(&dev->held);
    dev->devs->main->all = g_list_append(dev->devs->main->all, dev);
    return dev;
}

void block_dev_delete(BlockDev *dev)
{
    dev->ops = NULL;
    block_dev_cancel_all(dev);
    block_dev_set_context(dev, NULL);
    dev->devs->main->all = g_list_remove(dev->devs->main->all, dev);
    block_node_unref(dev->node);
    g_free(dev->name);
    g_free(dev->device_id);
    g_free(dev);
}

void block_graph_devs_free(BlockGraph *g)
{
    BlockDevs *ds = *block_graph_devs(g);

    while (ds->all)
        block_dev_delete(ds->all->data);
    devs_drop(ds);
    *block_graph_devs(g) = NULL;
}

void block_graph_set_error_hook(BlockGraph *g, BlockErrorHook *fn, void *opaque)
{
    BlockDevs *ds = *block_graph_devs(g);

    ds->error_hook = fn;
    ds->error_opaque = opaque;
}

void block_graph_set_tray_hook(BlockGraph *g, BlockTrayHook *fn, void *opaque)
{
    BlockDevs *ds = *block_graph_devs(g);

    ds->tray_hook = fn;
    ds->tray_opaque = opaque;
}

static void restart(BlockDev *dev, GQueue *q)
{
    GQueue again;
    BlockReq *r;

    dev_enter(dev);
    again = *q;
    g_queue_init(q);
    while ((r = g_queue_pop_head(&again)))
        start(r);
    dev_leave(dev);
}

void block_graph_resume(BlockGraph *g)
{
    for (GList *l = (*block_graph_devs(g))->all; l; l = l->next)
        restart(l->data, &((BlockDev *)l->data)->parked);
}

/* With every drive entered: none is inside start(). */
static void change_quiesced(BlockDevs *ds, int by)
{
    for (GList *l = ds->all; l; l = l->next)
        dev_enter(l->data);
    ds->quiesced += by;
    for (GList *l = g_list_last(ds->all); l; l = l->prev)
        dev_leave(l->data);
}

void block_graph_quiesce(BlockGraph *g) { change_quiesced(*block_graph_devs(g), 1); }

void block_graph_unquiesce(BlockGraph *g)
{
    BlockDevs *ds = *block_graph_devs(g);

    change_quiesced(ds, -1);
    if (ds->quiesced)
        return;
    for (GList *l = ds->all; l; l = l->next)
        restart(l->data, &((BlockDev *)l->data)->held);
}

int block_graph_drain_all(BlockGraph *g)
{
    for (GList *l = (*block_graph_devs(g))->all; l; l = l->next)
        block_dev_drain(l->data);
    return 0;
}

int block_graph_flush_all(BlockGraph *g)
{
    int ret = 0;

    for (GList *l = (*block_graph_devs(g))->all; l; l = l->next) {
        int r = block_dev_flush_sync(l->data);
        ret = ret ? ret : r;
    }
    return ret;
}
