/* conf: what the common properties of disk devices set at the block layer. */
#include "hw/block/conf.h"

const char *const block_conf_rerror[] = { "auto", "report", "ignore", "stop", NULL };
const char *const block_conf_werror[] = { "auto", "report", "ignore", "enospc", "stop", NULL };
static const BlockErrPolicy rerror_policy[] = { BLOCK_ERR_AUTO, BLOCK_ERR_REPORT, BLOCK_ERR_IGNORE, BLOCK_ERR_STOP };
static const BlockErrPolicy werror_policy[] = { BLOCK_ERR_AUTO, BLOCK_ERR_REPORT, BLOCK_ERR_IGNORE, BLOCK_ERR_ENOSPC, BLOCK_ERR_STOP };

static bool check_sizes(const BlockConf *c, const Device *dev, GError **err)
{
    uint32_t g = c->discard_granularity;

    if (g && g != UINT32_MAX && (g % 512 || g > 1u << 30))
        return err_set(err, "%s: discard_granularity=%u: a multiple of 512 up to 1G", dev->cls->name, g);
    if (c->min_io_size % 512 || c->min_io_size > 32 * MiB)
        return err_set(err, "%s: min_io_size=%u: a multiple of 512 up to 32M", dev->cls->name, c->min_io_size);
    if (c->opt_io_size % 512 || c->opt_io_size > 1u << 30)
        return err_set(err, "%s: opt_io_size=%u: a multiple of 512 up to 1G", dev->cls->name, c->opt_io_size);
    return true;
}

bool block_conf_attach(BlockConf *c, BlockDev *drive, const BlockDevOps *ops, void *opaque, Device *dev, GError **err)
{
    if (!check_sizes(c, dev, err) || !block_dev_set_share_rw(drive, c->share_rw, err) ||
        !block_dev_attach(drive, ops, opaque, dev->id ? dev->id : dev->state_name, err))
        return false;
    block_dev_set_error_policy(drive, rerror_policy[c->rerror], werror_policy[c->werror]);
    c->wce = c->write_cache == ONOFFAUTO_AUTO ? block_dev_wce(drive) : c->write_cache == ONOFFAUTO_ON;
    block_dev_set_wce(drive, c->wce);
    return true;
}
