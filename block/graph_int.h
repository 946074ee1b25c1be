/* graph_int: what a BlockGraph keeps. */
#ifndef BLOCK_GRAPH_INT_H
#define BLOCK_GRAPH_INT_H

#include "block/block_int.h"

struct BlockGraph {
    GMutex lock;                /* all, next_id */
    GList *all;                 /* every BlockNode */
    GList *owned;               /* nodes the graph holds a reference on (-blockdev) */
    unsigned next_id;
    bool snapshot;              /* -snapshot */
    enum { REFS_ANY, REFS_BESIDE, REFS_NONE } refs;     /* what names inside images may open */
    BlockPool *pool;
    struct BlockAio *aio[3];    /* engines by FileAio, made at first use; machine lock */
    struct BlockDevs *devs;     /* drives and completions: dev.c */
};

/* aio.c */
void block_aio_free(struct BlockAio *a);
/* A throw-away overlay over base; takes over base also on failure. */
BlockNode *block_overlay_new(BlockNode *base, unsigned flags, GError **err);

/* filter_io.c: a filter on an open node; takes over file, also on failure. */
BlockNode *block_filter_on(const BlockDriver *drv, BlockNode *file, GHashTable *opts, GError **err);

#endif
