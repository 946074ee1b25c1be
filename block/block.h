/*
 * block: the door to disks for devices, monitor and tools.
 *
 * A BlockGraph owns everything of one machine: named nodes (what -blockdev makes), drives
 * (what -drive makes), the worker threads and the completion queue. A BlockNode is one
 * layer of an image (file, format, filter). A BlockDev is what a disk controller holds:
 * asynchronous requests, media change, write cache, error policy, statistics.
 *
 * Threads: every function that takes a BlockDev is called with the machine lock held, from
 * any thread. Callbacks run on the main context given to block_graph_new() (whose loop holds
 * the machine lock while it dispatches), or inside block_dev_drain() and friends in the
 * calling thread. Functions on BlockNode block, and may be called from any thread.
 */
#ifndef BLOCK_BLOCK_H
#define BLOCK_BLOCK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "util/error.h"

typedef struct BlockGraph BlockGraph;
typedef struct BlockNode BlockNode;
typedef struct BlockDev BlockDev;
typedef struct BlockReq BlockReq;

/* ---- graph ---- */
/* context NULL is the default main context. Free the graph last: it drains and closes all. */
BlockGraph *block_graph_new(GMainContext *context);
void block_graph_free(BlockGraph *g);

/* What happened to a request, for the run state and the event BLOCK_IO_ERROR. */
typedef struct BlockErrorInfo {
    BlockDev *dev;
    int errnum;                 /* positive errno */
    bool is_read, nospace, stop;
} BlockErrorInfo;
/* Called (main thread or drain) when a request failed; info->stop asks to stop the machine. */
typedef void BlockErrorHook(void *opaque, const BlockErrorInfo *info);
void block_graph_set_error_hook(BlockGraph *g, BlockErrorHook *fn, void *opaque);
/* The machine runs again: requests held back by werror=stop are issued again, in order. */
void block_graph_resume(BlockGraph *g);
/* The tray of a drive was opened or closed, by the guest or with a change of medium (event DEVICE_TRAY_MOVED). Machine lock held. */
typedef void BlockTrayHook(void *opaque, BlockDev *dev, bool open);
void block_graph_set_tray_hook(BlockGraph *g, BlockTrayHook *fn, void *opaque);
/* Waits for every request of every drive, and flushes every drive. 0 or -errno of the first failure. */
int block_graph_drain_all(BlockGraph *g);
int block_graph_flush_all(BlockGraph *g);
/* Holds every new request back (migration, snapshots); calls nest. */
void block_graph_quiesce(BlockGraph *g);
void block_graph_unquiesce(BlockGraph *g);

/* ---- described options ---- */
/*
 * Options are a flat table of strings with dotted keys ("file.filename"). Accepts
 * "key=value,key=value" (",," is a comma) and a JSON object. implied is the key of a first
 * word without '=' (may be NULL). NULL and err on bad syntax.
 */
GHashTable *block_opts_parse(const char *spec, const char *implied, GError **err);
GHashTable *block_opts_new(void);
void block_opts_set(GHashTable *opts, const char *key, const char *value);
const char *block_opts_get(GHashTable *opts, const char *key);

/* ---- nodes ---- */
/* -blockdev / blockdev-add: consumes nothing of opts. The graph keeps the node by its node-name. */
bool block_blockdev_add(BlockGraph *g, GHashTable *opts, GError **err);
/* blockdev-del: fails while anything uses the node. */
bool block_blockdev_del(BlockGraph *g, const char *node_name, GError **err);
BlockNode *block_node_find(BlockGraph *g, const char *node_name);    /* borrowed, or NULL */

/* ---- drives ---- */
typedef enum { BLOCK_IF_DEFAULT, BLOCK_IF_NONE, BLOCK_IF_IDE, BLOCK_IF_SCSI, BLOCK_IF_FLOPPY,
               BLOCK_IF_PFLASH, BLOCK_IF_VIRTIO, BLOCK_IF_SD } BlockIf;
/* Where -drive wants its device; the board reads it and marks taken drives as claimed. */
typedef struct BlockPlace {
    BlockIf type;
    int bus, unit, index;       /* -1: not said */
    bool cdrom;                 /* media=cdrom */
} BlockPlace;

/* -drive: makes a drive named by id= (or a made-up name) with its whole chain. Borrowed. */
BlockDev *block_drive_add(BlockGraph *g, GHashTable *opts, GError **err);
/* As block_drive_add for the short options (-hda F, -cdrom F ...): extra is "if=ide,index=0". */
BlockDev *block_drive_add_file(BlockGraph *g, const char *filename, const char *extra, GError **err);
/*
 * Which files names inside images may open (docs/block.md, "References inside images"): "any" regular file or block
 * device (the default), only files "beside" the image or in folders below it, or "none". False for another name.
 */
bool block_graph_set_policy(BlockGraph *g, const char *policy);
/* -snapshot: every drive and node opened after this gets a throw-away overlay. */
void block_graph_set_snapshot(BlockGraph *g, bool on);
/* Drives in the order they were made: NULL starts, NULL ends. */
BlockDev *block_drive_next(BlockGraph *g, BlockDev *prev);
const BlockPlace *block_drive_place(const BlockDev *dev);
/* The drive or node named so (drive=NAME of a device). A node becomes a new handle. Borrowed. */
BlockDev *block_dev_find(BlockGraph *g, const char *name, GError **err);
/* An empty handle for a removable device without a drive= property. Owned by the graph. */
BlockDev *block_dev_new_empty(BlockGraph *g, const char *name);
/* Drops a handle: drains, closes what nothing else uses. */
void block_dev_delete(BlockDev *dev);

/* ---- another context ---- */
/*
 * Where a drive's callbacks run instead of the graph's context, without the machine lock: enter() and leave()
 * are called around everything that touches the drive's requests, from any thread, and may nest. The caller of
 * block_dev_readv() and the like has entered.
 */
typedef struct BlockContext {
    GMainContext *context;
    void (*enter)(void *opaque);
    void (*leave)(void *opaque);
    void *opaque;
} BlockContext;
/* NULL: back to the graph's. Machine lock held; no request is in flight. */
void block_dev_set_context(BlockDev *dev, const BlockContext *c);

/* ---- a device takes a drive ---- */
typedef struct BlockDevOps {
    /* The medium changed: load is false when it went away. */
    void (*media_changed)(void *opaque, bool load);
    /* Somebody (monitor) would like the tray opened; force ignores the guest's lock. */
    void (*eject_request)(void *opaque, bool force);
    bool (*tray_open)(void *opaque);
    bool (*medium_locked)(void *opaque);
    void (*resized)(void *opaque);
} BlockDevOps;

/* One device per drive; false and err when it is taken. ops may be NULL. */
bool block_dev_attach(BlockDev *dev, const BlockDevOps *ops, void *opaque, const char *device_id,
                      GError **err) MUST_CHECK;
void block_dev_detach(BlockDev *dev);           /* drains first */
bool block_dev_attached(const BlockDev *dev);

const char *block_dev_name(const BlockDev *dev);
const char *block_dev_device_id(const BlockDev *dev);   /* "" when no device holds it */
BlockNode *block_dev_node(const BlockDev *dev);         /* NULL: no medium */
bool block_dev_has_medium(const BlockDev *dev);
bool block_dev_read_only(const BlockDev *dev);
uint64_t block_dev_size(const BlockDev *dev);           /* bytes; 0 without medium */
/* The device's wish for the image lock: share-rw=on lets other writers in. Call before attach. */
bool block_dev_set_share_rw(BlockDev *dev, bool share, GError **err) MUST_CHECK;
bool block_dev_can_discard(const BlockDev *dev);

/* Write cache as the guest sees it. Off: each write is durable before it completes. */
bool block_dev_wce(const BlockDev *dev);
void block_dev_set_wce(BlockDev *dev, bool on);

typedef enum { BLOCK_ERR_AUTO = -1, BLOCK_ERR_REPORT, BLOCK_ERR_IGNORE, BLOCK_ERR_ENOSPC,
               BLOCK_ERR_STOP } BlockErrPolicy;
/* From -drive werror/rerror, or from the device's own properties of the same name. */
void block_dev_set_error_policy(BlockDev *dev, BlockErrPolicy rerror, BlockErrPolicy werror);

/* ---- requests ---- */
/* ret is 0 or -errno. Called exactly once per request, never from inside the submitting call. */
typedef void BlockDone(void *opaque, int ret);
/*
 * The iovec array is copied; the memory it points at belongs to the request until done.
 * Errors, also -ENOMEDIUM, -EROFS and ranges past the end (-EINVAL), arrive through done.
 * A request that the error policy holds (stop) completes only after block_graph_resume().
 */
BlockReq *block_dev_readv(BlockDev *dev, uint64_t offset, const struct iovec *iov, int niov,
                          BlockDone *done, void *opaque);
enum { BLOCK_REQ_FUA = 1 << 0, BLOCK_REQ_UNMAP = 1 << 1 };
BlockReq *block_dev_writev(BlockDev *dev, uint64_t offset, const struct iovec *iov, int niov,
                           unsigned flags, BlockDone *done, void *opaque);
BlockReq *block_dev_flush(BlockDev *dev, BlockDone *done, void *opaque);
BlockReq *block_dev_discard(BlockDev *dev, uint64_t offset, uint64_t bytes, BlockDone *done, void *opaque);
BlockReq *block_dev_write_zeroes(BlockDev *dev, uint64_t offset, uint64_t bytes, unsigned flags,
                                 BlockDone *done, void *opaque);
/* Runs the callbacks of all requests of dev; held-back ones stay held. */
void block_dev_drain(BlockDev *dev);
/* Cancels what can be cancelled (also held-back requests) and drains: for reset and unplug. */
void block_dev_cancel_all(BlockDev *dev);
unsigned block_dev_in_flight(const BlockDev *dev);

/* Blocking forms for start-up and tools; 0 or -errno. They do not run callbacks of others. */
int block_dev_pread(BlockDev *dev, uint64_t offset, void *buf, size_t bytes);
int block_dev_pwrite(BlockDev *dev, uint64_t offset, const void *buf, size_t bytes);
int block_dev_flush_sync(BlockDev *dev);

/* ---- media change (monitor: change, eject, blockdev-*-medium) ---- */
bool block_dev_change_medium(BlockDev *dev, const char *filename, const char *format, GError **err);
bool block_dev_eject(BlockDev *dev, bool force, GError **err);      /* removes the medium */
/* The guest opened or closed the tray (START STOP UNIT): the medium stays, the tray hook is told. */
void block_dev_guest_tray(BlockDev *dev, bool open);
/* What the device says of its tray; false where there is none. */
bool block_dev_tray_open(const BlockDev *dev);
bool block_dev_locked(const BlockDev *dev);

/* ---- statistics ---- */
typedef struct BlockStats {
    uint64_t bytes[4], ops[4], failed[4]; /* indexed by BLOCK_STAT_x */
    uint64_t total_ns[4];
    uint64_t wr_highest;        /* end of the highest byte written */
} BlockStats;
enum { BLOCK_STAT_READ, BLOCK_STAT_WRITE, BLOCK_STAT_FLUSH, BLOCK_STAT_UNMAP };
const BlockStats *block_dev_stats(const BlockDev *dev);

#endif
