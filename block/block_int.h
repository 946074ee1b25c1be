/*
 * block_int: what a driver (protocol, format, filter) implements, and what a node is.
 *
 * Drivers are plain blocking code, called from many threads at once; each guards its own
 * metadata. Ranges were checked by block/io.c: inside the node, no overflow.
 */
#ifndef BLOCK_INT_H
#define BLOCK_INT_H

#include <inttypes.h>
#include "block/image.h"
#include "util/bytes.h"

/* A scatter list and how much of its start is already used. */
typedef struct BlockVec { const struct iovec *iov; int niov; size_t skip; } BlockVec;
static inline BlockVec vec_adv(BlockVec v, size_t bytes) { v.skip += bytes; return v; }
void vec_copy_out(BlockVec v, void *buf, size_t bytes);         /* vector -> buf */
void vec_copy_in(BlockVec v, const void *buf, size_t bytes);    /* buf -> vector */
void vec_zero(BlockVec v, size_t bytes);
bool vec_is_zero(BlockVec v, size_t bytes);
/* Fills out[] with at most max pieces covering bytes; returns how many, *covered how far. */
int vec_slice(BlockVec v, size_t bytes, struct iovec *out, int max, size_t *covered);

typedef struct BlockDriver {
    const char *name;
    enum { DRV_PROTOCOL, DRV_FORMAT, DRV_FILTER } kind;
    const char *const *options;     /* names open() consumes; NULL-terminated */
    /* 0..100: how sure is it that this is its format; len bytes of the start of the file. */
    int (*probe)(const uint8_t *buf, size_t len);
    /* Takes its options out of opts. n->file is already open for formats and filters. */
    bool (*open)(BlockNode *n, GHashTable *opts, unsigned flags, GError **err);
    int (*close)(BlockNode *n);     /* 0 or -errno of the last flush */
    int (*read)(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
    /* As read(), but -EAGAIN when the answer would have to wait for a disk or another thread. May be NULL. */
    int (*read_now)(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
    int (*write)(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags);
    int (*write_zeroes)(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags); /* -ENOTSUP: write them */
    int (*discard)(BlockNode *n, uint64_t off, uint64_t bytes);
    /* Host space for the range, whose content stays; NULL: none to be had. */
    int (*reserve)(BlockNode *n, uint64_t off, uint64_t bytes);
    int (*flush)(BlockNode *n);
    int (*status)(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st);
    uint64_t (*length)(BlockNode *n);           /* NULL: n->size is kept right */
    bool (*truncate)(BlockNode *n, uint64_t size, const char *prealloc, GError **err);
    int64_t (*allocated)(BlockNode *n);         /* bytes on the host */
    bool (*info)(BlockNode *n, BlockInfo *info, GError **err);
    bool (*check)(BlockNode *n, unsigned fix, BlockCheck *res, GError **err);
    /* Where [off, off+bytes) lies as one run of n->file; false: use read()/write(). Never blocks long. */
    bool (*resolve)(BlockNode *n, uint64_t *off, uint64_t bytes, bool write);
    /* Requests take no time: they run where they are submitted, not on a worker. NULL: false. */
    bool (*at_once)(const BlockNode *n);
    const BlockCreateOption *create_options;
    bool (*create)(BlockGraph *g, const char *filename, GHashTable *opts, GString *shown, GError **err);
    bool (*measure)(GHashTable *opts, BlockNode *src, uint64_t size, BlockMeasure *m, GError **err);
    GPtrArray *(*snap_list)(BlockNode *n);
    bool (*snap_create)(BlockNode *n, const char *name, GError **err);
    bool (*snap_apply)(BlockNode *n, const char *id, GError **err);
    bool (*snap_delete)(BlockNode *n, const char *id, GError **err);
    bool (*snap_load)(BlockNode *n, const char *id, GError **err);
    bool (*change_backing)(BlockNode *n, const char *name, const char *format, GError **err);
    bool (*amend)(BlockNode *n, GHashTable *opts, bool force, GError **err);
    bool (*make_empty)(BlockNode *n, GError **err);
    bool supports_backing;
    bool compresses;            /* takes BLOCK_COMPRESSED writes */
} BlockDriver;

struct BlockNode {
    const BlockDriver *drv;
    BlockGraph *graph;
    gint refs;
    char *node_name, *filename;
    unsigned flags;                 /* BLOCK_x of image.h */
    bool read_only;
    bool probed_raw;                /* refuse writes that would make sector 0 look like a format */
    bool detect_zeroes, detect_unmap;
    bool needs_compressed;          /* takes only compressed writes, in order */
    BlockNode *file, *backing;      /* owned */
    char *backing_name, *backing_format;    /* as the header says; NULL: none */
    uint64_t size;
    uint32_t cluster_size;
    uint32_t align;                 /* O_DIRECT alignment; 1 when free */
    void *priv;
};

const BlockDriver *block_driver_find(const char *name);
const BlockDriver *const *block_drivers(void);  /* NULL-terminated */
extern const BlockDriver block_drv_file, block_drv_host_device, block_drv_host_cdrom, block_drv_raw,
    block_drv_null_co, block_drv_null_aio, block_drv_qcow2, block_drv_vmdk, block_drv_vdi, block_drv_vpc,
    block_drv_vhdx, block_drv_nbd, block_drv_throttle, block_drv_cor, block_drv_fault, block_drv_record;

/* io.c: checked forms used by drivers on their children. */
int block_read_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
int block_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v);
int block_reserve(BlockNode *n, uint64_t off, uint64_t bytes);
int block_write_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags);

/* file.c: below n lies a regular file, so bytes past its end read as zero. */
bool block_file_regular(BlockNode *n);

/* graph.c */
BlockNode *block_node_new(BlockGraph *g, const BlockDriver *drv, const char *filename, unsigned flags);
/* Opens a file a driver needs beside n->file; obeys the reference rules (regular file or device). */
BlockNode *block_open_child(BlockNode *n, const char *name, unsigned flags, GError **err);
bool block_opts_take(GHashTable *opts, const char *key, char **value);     /* removes; caller frees */
bool block_opts_take_bool(GHashTable *opts, const char *key, bool *value, GError **err); /* false: bad text */
bool block_opts_take_u64(GHashTable *opts, const char *key, uint64_t *value, GError **err);
GHashTable *block_opts_sub(GHashTable *opts, const char *prefix);   /* takes "prefix.x" out as "x" */
GHashTable *block_opts_copy(GHashTable *opts);
bool block_bool_ok(const char *text, bool *out);

/* create helpers: a new file that is removed again unless finished. */
typedef struct BlockNewFile { int fd; char *path; bool made; } BlockNewFile;
bool block_newfile_open(BlockNewFile *f, const char *path, GError **err);
bool block_newfile_write(BlockNewFile *f, uint64_t off, const void *buf, size_t len, GError **err);
bool block_newfile_finish(BlockNewFile *f, uint64_t length, const char *prealloc, GError **err);
void block_newfile_abandon(BlockNewFile *f);    /* no-op after finish */
/* Takes size out of opts; false and err when missing or odd. */
bool block_create_size(GHashTable *opts, uint64_t *size, GError **err);

/* pool.c */
typedef struct BlockPool BlockPool;
typedef void BlockJob(void *opaque);
BlockPool *block_pool_new(unsigned max_threads);
void block_pool_push(BlockPool *p, BlockJob *fn, void *opaque);
void block_pool_free(BlockPool *p);             /* waits for all jobs */
BlockPool *block_graph_pool(BlockGraph *g);

/* lock.c: image locks as other emulators take them. */
enum { BLOCK_PERM_READ = 1, BLOCK_PERM_WRITE = 2, BLOCK_PERM_RESIZE = 8 };
/* Adds permission bits used and not shared with others to what fd holds; undone on failure. */
bool block_lock_add(int fd, const char *path, unsigned *held, unsigned used, unsigned unshared, GError **err);
/* file.c: the same on the protocol node at the bottom of n; true for nodes without a lock. */
bool block_file_claim(BlockNode *n, unsigned used, unsigned unshared, GError **err);

/* dev.c on behalf of graph.c */
void block_graph_devs_init(BlockGraph *g, GMainContext *context);
void block_graph_devs_free(BlockGraph *g);
struct BlockDevs;
struct BlockDevs **block_graph_devs(BlockGraph *g);

#endif
