/*
 * blockmap: the common half of formats that are a table of blocks which are appended.
 *
 * The table lives in RAM. A write to a missing block appends one, and its table entry is
 * written only by a flush, after the data is durable; a crash leaves unused bytes at the end.
 */
#ifndef BLOCK_BLOCKMAP_H
#define BLOCK_BLOCKMAP_H

#include "block/block_int.h"

#define BM_NONE UINT32_MAX          /* the backing file, or zeroes, show */
#define BM_ZERO (UINT32_MAX - 1)    /* zeroes */

typedef struct BlockMap BlockMap;
typedef struct BlockMapOps {
    /* Writes the table entries of blocks idx[0..n) and what counts them; no flush. */
    int (*store)(BlockMap *b, const uint32_t *idx, unsigned n);
    /* A block was appended at host; its data is written. NULL: nothing to add. */
    int (*appended)(BlockMap *b, uint64_t host);
} BlockMapOps;

struct BlockMap {
    BlockNode *node, *file;         /* file: where blocks lie */
    const BlockMapOps *ops;
    void *opaque;
    uint64_t base, unit;            /* block i lies at base + map[i] * unit + head */
    uint32_t head;                  /* bytes before the data of each block */
    uint32_t block_size, count;
    uint64_t size;                  /* bytes of the disk this map covers */
    uint32_t *map;
    bool fresh;                     /* bytes past end read as zero */
    bool backing;                   /* BM_NONE shows node->backing at offset + guest_base */
    uint64_t guest_base;
    uint64_t limit;                 /* no host offset may reach this */
    GMutex flush_lock, lock;        /* lock: map, end, dirty, busy, failed */
    GCond cond;
    uint64_t end;                   /* where the next block goes */
    GArray *dirty, *busy;           /* of uint32_t block numbers */
    bool failed;
};

/* map holds count entries; taken over. end is rounded up to unit. */
void blockmap_init(BlockMap *b, BlockNode *n, BlockNode *file, const BlockMapOps *ops, uint32_t *map, uint32_t count,
                   uint32_t block_size, uint64_t unit, uint64_t end);
void blockmap_clear(BlockMap *b);
uint64_t blockmap_host(const BlockMap *b, uint32_t v);
/* True when all blocks lie inside limit and no two share bytes; otherwise err names the first. */
bool blockmap_sane(BlockMap *b, uint64_t limit, GError **err);
int blockmap_read(BlockMap *b, uint64_t off, uint64_t bytes, BlockVec v);
int blockmap_write(BlockMap *b, uint64_t off, uint64_t bytes, BlockVec v);
int blockmap_zeroes(BlockMap *b, uint64_t off, uint64_t bytes);
int blockmap_flush(BlockMap *b);
int blockmap_status(BlockMap *b, uint64_t off, uint64_t bytes, BlockStatus *st);

/* A table of at most 64 MiB from the file; entry_bytes each. NULL and err when it is not inside the file. */
uint8_t *blockmap_load(BlockNode *file, uint64_t off, uint64_t entries, unsigned entry_bytes, GError **err);

#endif
