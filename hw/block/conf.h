/* conf: the properties every disk device has towards the block layer: cache, error policy, sharing, sizes. */
#ifndef HW_BLOCK_CONF_H
#define HW_BLOCK_CONF_H

#include "block/block.h"
#include "hw/core/device.h"

typedef struct BlockConf {
    bool share_rw;
    int write_cache;            /* ONOFFAUTO: auto is what cache= of the drive says */
    int rerror, werror;         /* 0: as the drive says; else BlockErrPolicy + 1 of the names' order */
    uint32_t discard_granularity, min_io_size, opt_io_size;     /* bytes; ~0 or 0: not said */
    bool wce;                   /* of block_conf_attach: the write cache after a reset */
} BlockConf;

extern const char *const block_conf_rerror[], *const block_conf_werror[];
#define BLOCK_CONF_F_(T, m, text, k, d, ...) { .name = text, .kind = k, .offset = offsetof(T, m), \
        .size = sizeof(((T *)0)->m), .def = d, __VA_ARGS__ }
/* Rows for the property table of T with a BlockConf conf. */
#define BLOCK_CONF_PROPS(T) \
    BLOCK_CONF_F_(T, conf.share_rw, "share-rw", PROP_BOOL_, 0, .help = "others may write the image too"), \
    BLOCK_CONF_F_(T, conf.write_cache, "write-cache", PROP_ONOFFAUTO_, ONOFFAUTO_AUTO, .help = "the guest sees a write cache"), \
    BLOCK_CONF_F_(T, conf.rerror, "rerror", PROP_ENUM_, 0, .values = block_conf_rerror, .help = "what a failed read does"), \
    BLOCK_CONF_F_(T, conf.werror, "werror", PROP_ENUM_, 0, .values = block_conf_werror, .help = "what a failed write does"), \
    BLOCK_CONF_F_(T, conf.discard_granularity, "discard_granularity", PROP_UINT_, UINT32_MAX, \
                  .help = "bytes; 0: no discard; default: a logical block"), \
    BLOCK_CONF_F_(T, conf.min_io_size, "min_io_size", PROP_UINT_, 0, .help = "smallest sensible request in bytes"), \
    BLOCK_CONF_F_(T, conf.opt_io_size, "opt_io_size", PROP_UINT_, 0, .help = "best request in bytes")

/* block_dev_attach() with what conf says. */
bool block_conf_attach(BlockConf *conf, BlockDev *drive, const BlockDevOps *ops, void *opaque, Device *dev, GError **err) MUST_CHECK;
/* Discard is offered: the image can, and discard_granularity is not 0. */
static inline bool block_conf_discard(const BlockConf *c, const BlockDev *drive)
{ return c->discard_granularity && block_dev_can_discard(drive); }
/* In logical blocks of `block` bytes, at least 1. */
static inline uint32_t block_conf_granularity(const BlockConf *c, uint32_t block)
{ return c->discard_granularity == UINT32_MAX ? 1 : MAX(c->discard_granularity / block, 1u); }

#endif
