/*
 * qcow2_int: an open qcow2 image, and how its files divide the work.
 *
 * Locks: `lock` guards everything below it in the struct; it is never held over data I/O.
 * Requests that read or write data count in `active`; an exclusive section waits for them
 * and keeps new ones out. Metadata changes live in RAM until qcow2_flush_meta() writes a
 * consistent copy in the order refcounts, L2, L1 (docs/block.md, "qcow2 write order").
 */
#ifndef BLOCK_QCOW2_INT_H
#define BLOCK_QCOW2_INT_H

#include <libdeflate.h>
#include "block/block_int.h"

enum {                          /* offsets in the header, specification "Header" */
    H_MAGIC = 0, H_VERSION = 4, H_BACKING_OFF = 8, H_BACKING_LEN = 16, H_CLUSTER_BITS = 20, H_SIZE = 24,
    H_CRYPT = 32, H_L1_SIZE = 36, H_L1_OFF = 40, H_RT_OFF = 48, H_RT_CLUSTERS = 56, H_NB_SNAP = 60,
    H_SNAP_OFF = 64, H_INCOMPAT = 72, H_COMPAT = 80, H_AUTOCLEAR = 88, H_RC_ORDER = 96, H_LENGTH = 100,
    H_COMP_TYPE = 104, H_V2_SIZE = 72, H_V3_MIN = 104, H_V3_SIZE = 112,
};
#define QCOW2_MAGIC 0x514649fbu
#define INC_DIRTY (1ULL << 0)
#define INC_CORRUPT (1ULL << 1)
#define INC_DATA_FILE (1ULL << 2)
#define INC_COMP_TYPE (1ULL << 3)
#define INC_EXT_L2 (1ULL << 4)
#define INC_KNOWN (INC_DIRTY | INC_CORRUPT | INC_DATA_FILE | INC_COMP_TYPE | INC_EXT_L2)
#define COMPAT_LAZY (1ULL << 0)
#define AUTO_BITMAPS (1ULL << 0)
#define AUTO_RAW_DATA (1ULL << 1)
enum { EXT_END = 0, EXT_BACKING_FMT = 0xE2792ACA, EXT_FEATURES = 0x6803F857, EXT_BITMAPS = 0x23852875,
       EXT_CRYPTO = 0x0537BE77, EXT_DATA_FILE = 0x44415441 };

#define OFF_MASK 0x00fffffffffffe00ULL
#define F_COPIED (1ULL << 63)
#define F_COMPRESSED (1ULL << 62)
#define F_ZERO 1ULL
#define L1_RESERVED 0x7f000000000001ffULL
#define RT_RESERVED 0x1ffULL
#define L2_STD_RESERVED 0x3f000000000001feULL

enum { QCOW2_MAX_L1 = 32 << 20, QCOW2_MAX_RT = 8 << 20, QCOW2_MAX_SNAPS = 65536, QCOW2_MAX_SNAP_TABLE = 64 << 20 };

typedef struct Table {          /* one cached L2 table or refcount block */
    uint64_t off;               /* host offset: the hash key */
    uint8_t *data;
    struct Table *newer, *older;
    uint32_t dirty_lo, dirty_hi;/* bytes to write; equal when clean */
    unsigned pins;              /* being written from a copy: must stay */
} Table;

typedef struct TableCache {
    GHashTable *by_off;
    Table *newest, *oldest;
    unsigned max, dirty;
} TableCache;

typedef struct Extension { uint32_t type, len; uint8_t *data; } Extension;

typedef struct Snap {
    uint64_t l1_off, vm_clock, vm_state_size, disk_size, icount;
    uint32_t l1_size, sec, nsec;
    char *id, *name;
    uint8_t *extra;             /* bytes of the extra data after the ones known */
    uint32_t extra_len;
    bool has_disk_size, has_icount;
} Snap;

typedef struct InFlight {       /* guest clusters some writer is allocating */
    uint64_t start, end;
    struct InFlight *next;
} InFlight;

typedef struct FreeRun { uint64_t off, bytes; bool discard; } FreeRun;

typedef struct Qcow2 {
    BlockNode *node, *data_file;        /* data_file: node->file unless external */
    char *data_file_name;
    int version;
    unsigned cluster_bits, l2_bits, rc_order, rb_bits;  /* *_bits: log2 of entries per cluster */
    uint32_t cluster_size, entry_size, sc_size;
    unsigned sc_bits;
    bool ext_l2, external, data_raw, lazy, zero_past_end;
    uint8_t comp_type;
    uint32_t header_len, crypt;
    uint64_t compat, autoclear;
    uint8_t *extra_header;              /* bytes 112.. of a longer header, kept on rewrite */
    GArray *exts;                       /* Extension, verbatim, all but those quern writes itself */

    GMutex flush_lock;                  /* one metadata flush at a time */
    GMutex lock;
    GCond cond;
    unsigned active;                    /* data requests running */
    bool exclusive;
    InFlight *in_flight;
    uint64_t incompat;
    uint64_t *l1, *rt;                  /* host byte order */
    uint32_t l1_size, rt_size;          /* entries; rt_size as allocated */
    uint64_t l1_off, rt_off;
    uint8_t *l1_dirty, *rt_dirty;       /* one byte per 512-byte sector of the table */
    bool l1_any, rt_any;
    TableCache l2c, rbc;
    GHashTable *meta;                   /* host cluster numbers of tables: never data */
    uint64_t hint;                      /* first host cluster that may be free */
    uint64_t high;                      /* no host cluster from here on was ever used: reads zero */
    uint64_t comp_next;                 /* byte after the last compressed cluster, 0: none */
    GArray *pending;                    /* FreeRun: dereferenced, refcount still up */
    bool failed;                        /* a flush failed: no more metadata writes */
    int sparse_below;                   /* clusters are holes of the file: 0 not known yet, 1 yes, -1 no */
    bool damaged;                       /* corruption seen: read-only until repaired */
    Snap *snaps;
    uint32_t nb_snaps;
    uint64_t snap_off, snap_bytes;
    GSList *deflaters, *inflaters;      /* idle codecs */
} Qcow2;

/* qcow2_cache.c */
void qcow2_cache_init(TableCache *c, unsigned max);
void qcow2_cache_free(TableCache *c);
void qcow2_cache_drop(TableCache *c, uint64_t off);
int qcow2_table_get(Qcow2 *s, TableCache *c, uint64_t off, Table **t);
Table *qcow2_table_new(Qcow2 *s, TableCache *c, uint64_t off);      /* zeroed, all dirty */
void qcow2_table_touch(Qcow2 *s, TableCache *c, Table *t, uint32_t off, uint32_t len);
/* Writes all metadata in order and flushes. Without lock. frees: what may be given back now. */
int qcow2_flush_meta(Qcow2 *s, GArray **frees) MUST_CHECK;
/* qcow2_flush_meta, then gives back what was held. Caller is in an exclusive section. */
int qcow2_sync_exclusive(Qcow2 *s) MUST_CHECK;
int qcow2_flush(BlockNode *n);
bool qcow2_cache_crowded(Qcow2 *s);
void qcow2_enter(Qcow2 *s);
void qcow2_leave(Qcow2 *s);
void qcow2_exclusive_begin(Qcow2 *s);
void qcow2_exclusive_end(Qcow2 *s);

/* qcow2_refcount.c; with lock held */
int qcow2_refcount_get(Qcow2 *s, uint64_t cluster, uint64_t *count);
int qcow2_refcount_add(Qcow2 *s, uint64_t cluster, int delta) MUST_CHECK;
/* Up to *n clusters in one run, at least one; *fresh: reads zero without writing. */
int qcow2_alloc(Qcow2 *s, uint64_t *n, bool exact, uint64_t *off, bool *fresh) MUST_CHECK;
int qcow2_alloc_bytes(Qcow2 *s, uint32_t len, uint64_t *off) MUST_CHECK;
void qcow2_unalloc(Qcow2 *s, uint64_t off, uint64_t bytes);         /* never referenced */
void qcow2_free_later(Qcow2 *s, uint64_t off, uint64_t bytes, bool discard);
void qcow2_release(Qcow2 *s, GArray *frees);
bool qcow2_is_meta(Qcow2 *s, uint64_t off, uint64_t bytes);
void qcow2_meta_add(Qcow2 *s, uint64_t off, uint64_t bytes);
void qcow2_meta_del(Qcow2 *s, uint64_t off, uint64_t bytes);
int qcow2_damage(Qcow2 *s, const char *what, uint64_t off);         /* marks the image; -EIO */

/* qcow2_map.c */
typedef enum { Q_UNALLOC, Q_ZERO, Q_ZERO_ALLOC, Q_NORMAL, Q_COMPRESSED } QType;
uint64_t qcow2_l2e(const Qcow2 *s, const Table *t, unsigned i);
uint64_t qcow2_l2b(const Qcow2 *s, const Table *t, unsigned i);     /* subcluster bitmap */
void qcow2_l2_set(Qcow2 *s, Table *t, unsigned i, uint64_t e, uint64_t bitmap);
int qcow2_l2_load(Qcow2 *s, uint64_t guest, Table **t);             /* *t NULL: none */
int qcow2_l2_writable(Qcow2 *s, uint64_t guest, Table **t);
void qcow2_free_entry(Qcow2 *s, uint64_t e, bool discard);          /* what a standard/compressed entry held */
void qcow2_comp_span(const Qcow2 *s, uint64_t e, uint64_t *off, uint64_t *len);
bool qcow2_entry_has(const Qcow2 *s, uint64_t e);                   /* a standard entry with a host cluster */
QType qcow2_classify(const Qcow2 *s, uint64_t e, uint64_t bitmap, unsigned sc);
/* The run of one type from guest on, at most bytes; host valid for NORMAL, ZERO_ALLOC. */
int qcow2_map(Qcow2 *s, uint64_t guest, uint64_t bytes, QType *type, uint64_t *entry, uint64_t *host,
              uint64_t *len);

/* qcow2_io.c */
int qcow2_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
int qcow2_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
int qcow2_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags);
int qcow2_write_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags);
int qcow2_discard(BlockNode *n, uint64_t off, uint64_t bytes);
int qcow2_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st);

/* qcow2_codec.c */
int qcow2_inflate(Qcow2 *s, const void *in, size_t in_len, void *out);
/* Compressed length, 0 when it does not get smaller than a cluster. */
size_t qcow2_deflate(Qcow2 *s, const void *in, void *out);
void qcow2_codec_free(Qcow2 *s);

/* qcow2.c */
int qcow2_header_write(Qcow2 *s, unsigned field, const void *data, size_t len);    /* one sector, flushed */
int qcow2_set_incompat(Qcow2 *s, uint64_t bits);
bool qcow2_header_rewrite(Qcow2 *s, GError **err);      /* everything, incl. extensions */
bool qcow2_l1_replace(Qcow2 *s, uint64_t *l1, uint32_t l1_size, uint64_t disk_size, GError **err);
uint32_t qcow2_l1_needed(const Qcow2 *s, uint64_t size);

/* qcow2_snap.c */
bool qcow2_snaps_read(Qcow2 *s, GError **err);
void qcow2_snaps_free(Qcow2 *s);
GPtrArray *qcow2_snap_list(BlockNode *n);
bool qcow2_snap_create(BlockNode *n, const char *name, GError **err);
bool qcow2_snap_apply(BlockNode *n, const char *id, GError **err);
bool qcow2_snap_delete(BlockNode *n, const char *id, GError **err);
bool qcow2_snap_load(BlockNode *n, const char *id, GError **err);
bool qcow2_l1_read(Qcow2 *s, uint64_t off, uint32_t entries, uint64_t **l1, GError **err);

/* qcow2_check.c, qcow2_create.c, qcow2_amend.c */
bool qcow2_check(BlockNode *n, unsigned fix, BlockCheck *res, GError **err);
/* Writes all refcounts anew, 1 << order bits wide. */
bool qcow2_rebuild_with_order(Qcow2 *s, unsigned order, GError **err);
extern const BlockCreateOption qcow2_create_options[];
bool qcow2_create(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err);
bool qcow2_measure(GHashTable *opts, BlockNode *src, uint64_t size, BlockMeasure *m, GError **err);
bool qcow2_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err);
bool qcow2_change_backing(BlockNode *n, const char *name, const char *format, GError **err);
bool qcow2_amend(BlockNode *n, GHashTable *opts, bool force, GError **err);
bool qcow2_make_empty(BlockNode *n, GError **err);
/* Allocates all unallocated clusters of [off, size) without data; mode: metadata, or falloc or full for space on the host, too. */
bool qcow2_preallocate(BlockNode *n, uint64_t off, uint64_t size, const char *mode, GError **err);

#endif
