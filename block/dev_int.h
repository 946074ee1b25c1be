/* dev_int: what a drive handle and its requests keep. */
#ifndef BLOCK_DEV_INT_H
#define BLOCK_DEV_INT_H

#include "block/block_int.h"

typedef struct BlockDevs {
    GMutex lock;                /* finished */
    GCond cond;
    unsigned waiting;           /* threads in g_cond_wait on cond */
    GQueue finished;            /* BlockReq waiting for its callback */
    GSource *source;
    GList *all;                 /* BlockDev, in the order they were made */
    unsigned quiesced;          /* of the graph's; written with every drive entered */
    struct BlockDevs *main;     /* the graph's */
    BlockContext context;       /* enter NULL: the machine lock guards */
    GMainContext *loop;         /* of the graph's; may be NULL */
    BlockErrorHook *error_hook;
    void *error_opaque;
    BlockTrayHook *tray_hook;
    void *tray_opaque;
} BlockDevs;

typedef struct DevSource { GSource base; BlockDevs *devs; } DevSource;

struct BlockDev {
    BlockGraph *graph;
    BlockDevs *devs;
    char *name, *device_id;
    BlockNode *node;            /* NULL: no medium */
    const BlockDevOps *ops;
    void *ops_opaque;
    bool attached, wce, share_rw, want_read_only;
    unsigned open_flags;        /* for the next medium */
    BlockErrPolicy rerror, werror;
    BlockPlace place;
    unsigned in_flight;         /* submitted, callback not yet run */
    unsigned active;            /* of these, neither parked nor held */
    GQueue parked;              /* failed, waiting for the machine to go on */
    GQueue held;                /* submitted while quiesced */
    BlockStats stats;
};

typedef enum { REQ_READ, REQ_WRITE, REQ_FLUSH, REQ_DISCARD, REQ_ZERO } ReqType;

struct BlockReq {
    BlockDev *dev;
    BlockNode *node;            /* reference: a medium change does not pull it away */
    ReqType type;
    uint64_t off, bytes;
    unsigned flags;             /* BLOCK_REQ_x */
    int ret;
    gint cancelled;
    int niov;
    struct iovec *iov, *iov_heap, iov_small[4];
    BlockDone *done;
    void *opaque;
    int64_t start_us;
};

BlockDev *block_dev_new(BlockGraph *g, const char *name);
/* Any thread: hands r to the completion queue. */
void block_req_done(BlockReq *r, int ret);
/* Any thread: lets a worker do r from the start. */
void block_req_retry(BlockReq *r);
/* Tries to start r without a worker; false: use the pool. */
bool block_aio_submit(BlockReq *r);

#endif
