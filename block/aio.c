/*
 * aio: requests that need no worker thread: reads the page cache can answer at once.
 */
#include <errno.h>
#include "block/dev_int.h"
#include "block/file_int.h"

enum { INLINE_MAX = 64 * 1024, PIECES = 16 };

/* Follows resolve() down to a plain file; false when some layer needs its own code. */
static BlockNode *bottom(BlockNode *n, uint64_t *off, uint64_t bytes, bool write)
{
    while (n && n->drv->kind != DRV_PROTOCOL) {
        if (!n->drv->resolve || !n->drv->resolve(n, off, bytes, write))
            return NULL;
        n = n->file;
    }
    return n && block_file_fd(n) >= 0 ? n : NULL;
}

bool block_aio_submit(BlockReq *r)
{
    struct iovec io[PIECES];
    uint64_t off = r->off;
    size_t covered;
    BlockNode *n;
    int k;

    if (r->type != REQ_READ || r->bytes > INLINE_MAX || !r->bytes)
        return false;
    n = bottom(r->node, &off, r->bytes, false);
    if (!n || n->align > 1 || !range_ok(off, r->bytes, n->size))
        return false;
    k = vec_slice((BlockVec) { r->iov, r->niov, 0 }, r->bytes, io, PIECES, &covered);
    if (covered != r->bytes || preadv2(block_file_fd(n), io, k, off, RWF_NOWAIT) != (ssize_t)r->bytes)
        return false;
    block_req_done(r, 0);
    return true;
}
