/* vmdk_int: header offsets and the parts of an open VMDK image. */
#ifndef BLOCK_VMDK_INT_H
#define BLOCK_VMDK_INT_H

#include "block/blockmap.h"

enum { S_VERSION = 4, S_FLAGS = 8, S_CAPACITY = 12, S_GRAIN = 20, S_DESC_OFF = 28, S_DESC_SIZE = 36, S_GTES = 44,
       S_RGD = 48, S_GD = 56, S_OVERHEAD = 64, S_CHECK = 73, S_COMPRESS = 77, S_HEADER = 512 };
enum { FL_NEWLINE = 1, FL_RGD = 2, FL_ZERO_GRAIN = 4, FL_COMPRESSED = 1 << 16, FL_MARKERS = 1 << 17 };

typedef struct Extent {
    BlockNode *file;
    char *type, *name;
    bool flat, zero, compressed, markers;
    uint64_t start, size;       /* guest bytes */
    uint64_t flat_off;
    BlockMap b;                 /* sparse */
    uint32_t *gd, *rgd;         /* sectors of the grain tables */
    uint32_t gtes, grain;       /* entries per table; bytes per grain */
} Extent;

typedef struct Vmdk {
    Extent **ext;
    unsigned count;
    char *create_type;
    uint32_t cid, parent_cid;
    uint64_t desc_off, cid_at;  /* where the eight digits lie in the file, 0: unknown */
    GMutex cid_lock;
    bool cid_done;
} Vmdk;

extern const BlockCreateOption vmdk_create_options[];
bool vmdk_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err);

#endif
