/*
 * aio: requests on plain files that need no worker: page cache reads, io_uring, Linux AIO.
 *
 * An engine has one thread that waits for the kernel and hands requests to the completion
 * queue. Whatever does not succeed in full is done again by a worker, which knows all errors.
 */
#include <errno.h>
#include <libaio.h>
#if HAVE_LIBURING
#include <liburing.h>
#endif
#include "block/dev_int.h"
#include "block/file_int.h"
#include "block/graph_int.h"

enum { INLINE_MAX = 64 * 1024, DEPTH = 256 };

typedef struct BlockAio {
    FileAio kind;
    GMutex lock;                /* submission */
    GThread *reaper;
    gint stop, pending;
    io_context_t ctx;
#if HAVE_LIBURING
    struct io_uring ring;
#endif
} BlockAio;

static void finish(BlockAio *a, BlockReq *r, int64_t res)
{
    g_atomic_int_add(&a->pending, -1);
    if (res >= 0 && (uint64_t)res == r->bytes)
        block_req_done(r, 0);
    else
        block_req_retry(r);
}

static void *reap_native(void *opaque)
{
    BlockAio *a = opaque;
    struct io_event ev[32];

    while (!g_atomic_int_get(&a->stop)) {
        struct timespec wait = { 0, 200 * 1000 * 1000 };
        int n = io_getevents(a->ctx, 1, ARRAY_LEN(ev), ev, &wait);
        for (int i = 0; i < n; i++)
            finish(a, ev[i].data, (int64_t)ev[i].res);
    }
    return NULL;
}

static bool submit_native(BlockAio *a, BlockReq *r, int fd, uint64_t off, bool write)
{
    struct iocb cb, *list[1] = { &cb };
    int n;

    if (write)
        io_prep_pwritev(&cb, fd, r->iov, r->niov, off);
    else
        io_prep_preadv(&cb, fd, r->iov, r->niov, off);
    cb.data = r;
    if (g_atomic_int_add(&a->pending, 1) >= DEPTH - 1) {
        g_atomic_int_add(&a->pending, -1);
        return false;
    }
    n = io_submit(a->ctx, 1, list);
    if (n == 1)
        return true;
    g_atomic_int_add(&a->pending, -1);
    return false;
}

#if HAVE_LIBURING
static void *reap_uring(void *opaque)
{
    BlockAio *a = opaque;
    struct io_uring_cqe *c;

    while (!g_atomic_int_get(&a->stop)) {
        struct __kernel_timespec wait = { 0, 200 * 1000 * 1000 };
        if (io_uring_wait_cqe_timeout(&a->ring, &c, &wait) < 0)
            continue;
        BlockReq *r = io_uring_cqe_get_data(c);
        int res = c->res;
        io_uring_cqe_seen(&a->ring, c);
        if (r)
            finish(a, r, res);
    }
    return NULL;
}

static bool submit_uring(BlockAio *a, BlockReq *r, int fd, uint64_t off, bool write)
{
    struct io_uring_sqe *e;
    bool ok = false;

    g_mutex_lock(&a->lock);
    e = g_atomic_int_get(&a->pending) < DEPTH - 1 ? io_uring_get_sqe(&a->ring) : NULL;
    if (e) {
        if (write)
            io_uring_prep_writev(e, fd, r->iov, r->niov, off);
        else
            io_uring_prep_readv(e, fd, r->iov, r->niov, off);
        io_uring_sqe_set_data(e, r);
        g_atomic_int_add(&a->pending, 1);
        /* A prepared entry cannot be taken back: the kernel takes it now or with the next. */
        while (io_uring_submit(&a->ring) == -EINTR)
            ;
        ok = true;
    }
    g_mutex_unlock(&a->lock);
    return ok;
}
#endif

static BlockAio *engine_new(FileAio kind)
{
    BlockAio *a = g_new0(BlockAio, 1);
    bool ok = false;

    a->kind = kind;
    g_mutex_init(&a->lock);
    if (kind == FILE_AIO_NATIVE)
        ok = io_setup(DEPTH, &a->ctx) == 0;
#if HAVE_LIBURING
    else
        ok = io_uring_queue_init(DEPTH, &a->ring, 0) == 0 && (a->ring.features & IORING_FEAT_EXT_ARG);
    if (ok && kind == FILE_AIO_URING)
        a->reaper = g_thread_new("block-uring", reap_uring, a);
#endif
    if (ok && kind == FILE_AIO_NATIVE)
        a->reaper = g_thread_new("block-aio", reap_native, a);
    return a;                   /* without a reaper: the host refuses, workers do it all */
}

void block_aio_free(BlockAio *a)
{
    if (!a)
        return;
    if (a->reaper) {
        g_atomic_int_set(&a->stop, 1);
        g_thread_join(a->reaper);
        if (a->kind == FILE_AIO_NATIVE)
            io_destroy(a->ctx);
#if HAVE_LIBURING
        else
            io_uring_queue_exit(&a->ring);
#endif
    }
    g_mutex_clear(&a->lock);
    g_free(a);
}

/* Follows resolve() down to a plain file; NULL when some layer needs its own code. */
static BlockNode *bottom(BlockNode *n, uint64_t *off, uint64_t bytes, bool write)
{
    for (; n && n->drv->kind != DRV_PROTOCOL; n = n->file)
        if (!n->drv->resolve || (write && (n->probed_raw || n->detect_zeroes || (n->flags & BLOCK_WRITETHROUGH))) ||
            !n->drv->resolve(n, off, bytes, write))
            return NULL;
    return n && block_file_fd(n) >= 0 && !(write && (n->detect_zeroes || (n->flags & BLOCK_WRITETHROUGH))) ? n : NULL;
}

static bool aligned(const BlockReq *r, uint64_t off, uint32_t align)
{
    uint64_t bits = off | r->bytes;

    for (int i = 0; i < r->niov; i++)
        bits |= (uintptr_t)r->iov[i].iov_base | r->iov[i].iov_len;
    return !(bits & (align - 1));
}

bool block_aio_submit(BlockReq *r)
{
    bool write = r->type == REQ_WRITE;
    uint64_t off = r->off;
    BlockNode *n;

    if ((r->type != REQ_READ && !write) || !r->bytes || (write && (r->flags & BLOCK_REQ_FUA)))
        return false;
    if (!write && r->bytes <= INLINE_MAX && !block_read_now(r->node, off, r->bytes, (BlockVec) { r->iov, r->niov, 0 })) {
        block_req_done(r, 0);
        return true;
    }
    n = bottom(r->node, &off, r->bytes, write);
    if (!n || !range_ok(off, r->bytes, n->size))
        return false;
    FileNode *f = n->priv;
    if (f->aio == FILE_AIO_THREADS || (n->align > 1 && !aligned(r, off, n->align)) || r->niov > 1024)
        return false;
    BlockAio **a = &r->dev->graph->aio[f->aio];
    g_mutex_lock(&r->dev->graph->lock);
    if (!*a)
        *a = engine_new(f->aio);
    g_mutex_unlock(&r->dev->graph->lock);
    if (!(*a)->reaper)
        return false;
#if HAVE_LIBURING
    if (f->aio == FILE_AIO_URING)
        return submit_uring(*a, r, f->fd, off, write);
#endif
    return submit_native(*a, r, f->fd, off, write);
}
