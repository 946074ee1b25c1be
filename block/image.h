/*
 * image: the door to image files for tools (quern img, quern nbd) and for jobs.
 *
 * Everything here blocks and may be called from any thread; data calls return 0 or -errno.
 */
#ifndef BLOCK_IMAGE_H
#define BLOCK_IMAGE_H

#include "block/block.h"

/* ---- opening ---- */
enum {
    BLOCK_RDWR = 1 << 0,
    BLOCK_AUTO_RDONLY = 1 << 1,     /* fall back to read-only when writing is not allowed */
    BLOCK_NO_BACKING = 1 << 2,      /* do not open the backing file */
    BLOCK_NO_LOCK = 1 << 3,         /* force-share */
    BLOCK_SNAPSHOT = 1 << 4,        /* throw-away overlay on top */
    BLOCK_CHECK = 1 << 5,           /* open for a check: accept what a repair can fix */
    BLOCK_UNMAP = 1 << 6,           /* discard=unmap */
    BLOCK_NOCACHE = 1 << 7,         /* O_DIRECT */
    BLOCK_NO_FLUSH = 1 << 8,        /* cache=unsafe */
    BLOCK_NO_IO = 1 << 9,           /* only look at headers (info): opens no second file */
    BLOCK_RESIZE = 1 << 10,
    BLOCK_COPY_ON_READ = 1 << 11,
    BLOCK_WRITETHROUGH = 1 << 12,   /* each write is durable when it completes */
    BLOCK_NO_SHARE = 1 << 13,       /* nobody may write meanwhile, to a raw file either */
};
/* filename may be NULL when opts say it all; opts may be NULL. Unknown options are errors. */
BlockNode *block_open(BlockGraph *g, const char *filename, GHashTable *opts, unsigned flags, GError **err);
BlockNode *block_node_ref(BlockNode *n);
void block_node_unref(BlockNode *n);        /* the last one flushes and closes */
/* As unref, but tells whether the last flush and close went well. */
bool block_node_close(BlockNode *n, GError **err);
/* cache= mode name to flags and write cache; false for an unknown name. */
bool block_cache_mode(const char *mode, unsigned *flags, bool *wce);

uint64_t block_node_size(const BlockNode *n);
const char *block_node_filename(const BlockNode *n);
const char *block_node_format(const BlockNode *n);      /* driver name */
const char *block_node_name(const BlockNode *n);        /* node-name, made up if none was given */
bool block_node_read_only(const BlockNode *n);
BlockNode *block_node_backing(const BlockNode *n);      /* borrowed or NULL */
BlockNode *block_node_file(const BlockNode *n);
uint32_t block_node_cluster_size(const BlockNode *n);   /* 0: none */
bool block_node_needs_compressed(const BlockNode *n);   /* takes only whole compressed clusters, in order */
bool block_node_can_compress(const BlockNode *n);

/* ---- data ---- */
enum { BLOCK_FUA = 1 << 0, BLOCK_MAY_UNMAP = 1 << 1, BLOCK_COMPRESSED = 1 << 2,
       BLOCK_NO_FALLBACK = 1 << 3 };
int block_pread(BlockNode *n, uint64_t off, void *buf, size_t bytes);
int block_pwrite(BlockNode *n, uint64_t off, const void *buf, size_t bytes);
int block_pwrite_flags(BlockNode *n, uint64_t off, const void *buf, size_t bytes, unsigned flags);
int block_pwrite_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags);
int block_pdiscard(BlockNode *n, uint64_t off, uint64_t bytes);
int block_flush(BlockNode *n);
bool block_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err);

typedef struct BlockStatus {
    uint64_t bytes;             /* the answer holds for so many bytes, > 0 */
    bool data;                  /* bytes come from this layer's storage */
    bool zero;                  /* reads as zeroes */
    bool allocated;             /* this layer decides (false: the backing file shows) */
    bool compressed;
    bool offset_valid;          /* offset is where the bytes lie, raw, in file */
    bool recurse;               /* data may still be a hole of file: ask there, too */
    bool eof;                   /* the range runs to the end of the node */
    uint64_t offset;
    BlockNode *file;            /* borrowed */
} BlockStatus;
int block_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st);
/* Looks through the backing chain down to, not including, base; *depth counts layers from n. */
int block_status_above(BlockNode *n, BlockNode *base, uint64_t off, uint64_t bytes, BlockStatus *st,
                       int *depth);
bool block_is_zero(const void *buf, size_t bytes);

/* ---- what an image says about itself ---- */
typedef struct BlockSnapshot {
    char *id, *name;
    uint64_t vm_state_size, disk_size, vm_clock_ns, icount;
    uint32_t date_sec, date_nsec;
    bool has_icount;
} BlockSnapshot;
void block_snapshot_free(BlockSnapshot *s);
GPtrArray *block_snapshot_list(BlockNode *n);       /* of BlockSnapshot *, owns them; empty when none */
bool block_snapshot_create(BlockNode *n, const char *name, GError **err);
bool block_snapshot_apply(BlockNode *n, const char *id_or_name, GError **err);
bool block_snapshot_delete(BlockNode *n, const char *id_or_name, GError **err);
/* The node then shows the snapshot, read-only. */
bool block_snapshot_load(BlockNode *n, const char *id_or_name, GError **err);

/* One line of "Format specific information"; value is JSON text (numbers, true, "text", arrays). */
typedef struct BlockInfoItem { char *key, *value; } BlockInfoItem;
typedef struct BlockInfo {
    uint64_t virtual_size;
    int64_t actual_size;        /* on the host; negative: not known */
    uint32_t cluster_size;
    bool dirty, encrypted, compressed;
    char *backing_filename, *full_backing_filename, *backing_format;
    GPtrArray *specific;        /* of BlockInfoItem *, in print order; NULL: none */
    const char *specific_type;
} BlockInfo;
bool block_info(BlockNode *n, BlockInfo *info, GError **err);
void block_info_clear(BlockInfo *info);
void block_info_add(BlockInfo *info, const char *key, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
char *block_json_quote(const char *text);           /* "text", escaped; caller frees */

/* Where a layer's file resolves a name in its header: relative to the layer's folder. */
char *block_resolve_name(const char *base, const char *name);

/* ---- check ---- */
typedef struct BlockCheck {
    uint64_t errors, corruptions, leaks, corruptions_fixed, leaks_fixed;
    uint64_t image_end, total_clusters, allocated, fragmented, compressed;
    void (*note)(void *opaque, const char *text);   /* one line per finding; may be NULL */
    void *opaque;
} BlockCheck;
enum { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 };
bool block_can_check(const BlockNode *n);
bool block_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err);

/* ---- making and changing images ---- */
typedef struct BlockCreateOption { const char *name, *help; } BlockCreateOption;
const BlockCreateOption *block_create_options(const char *format);  /* ends with name NULL; NULL: cannot create */
const char *const *block_formats(void);             /* NULL-terminated names of all formats */
/* A file that will be renamed to its name without this when it is complete. */
#define BLOCK_PART_SUFFIX ".quern-part"
/*
 * Makes filename. opts: size, backing_file, backing_fmt and the format's own; every option is
 * checked before the file is touched. shown, when not NULL, gets "k=v k=v" of what was used.
 */
bool block_create(BlockGraph *g, const char *filename, const char *format, GHashTable *opts,
                  char **shown, GError **err);
bool block_change_backing(BlockNode *n, const char *name, const char *format, GError **err);
/* The open overlay n shows new_backing (takes a reference; NULL: none) from now on; no header write. */
void block_set_backing(BlockNode *n, BlockNode *new_backing);
bool block_amend(BlockNode *n, GHashTable *opts, bool force, GError **err);
bool block_make_empty(BlockNode *n, GError **err);  /* drops all data of an overlay */

typedef struct BlockMeasure { uint64_t required, full; bool has_bitmaps; } BlockMeasure;
/* src NULL: an empty disk of size opts' "size". */
bool block_measure(const char *format, GHashTable *opts, BlockNode *src, BlockMeasure *m, GError **err);
/* Best format for the file by its content; "raw" when nothing fits. NULL and err when unreadable. */
const char *block_probe_file(const char *filename, GError **err);

/* "64M", "1.5G", "512": bytes. */
bool block_parse_size(const char *text, uint64_t *out, GError **err);

#endif
