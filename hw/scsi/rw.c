/* rw: data transfers of SCSI disks: READ, WRITE, SYNCHRONIZE CACHE, UNMAP, WRITE SAME. */
#include "hw/scsi/scsi_int.h"

#include <errno.h>
#include <string.h>

enum { UNMAP_MAX = 255 };

static void io_done(void *opaque, int ret)
{
    ScsiReq *r = opaque;

    g_clear_pointer(&r->iov, g_free);
    switch (ret) {
    case 0: scsi_ok(r); return;
    case -ENOMEDIUM: scsi_sense(r, KEY_NOT_READY, 0x3a, 0); break;
    case -ENOSPC: scsi_sense(r, KEY_PROTECT, 0x27, 7); break;
    case -EROFS: scsi_sense(r, KEY_PROTECT, 0x27, 0); break;
    case -EINVAL: scsi_sense(r, KEY_ILLEGAL, 0x21, 0); break;
    default: scsi_sense(r, KEY_MEDIUM, r->cdb[0] == 0x28 || r->cdb[0] == 0x88 ? 0x11 : 0x0c, 0); break;
    }
    r->moved = 0;
    r->done(r);
}

/* The first bytes of r's data as an iovec of its own; false: the adapter offers less. */
static bool take_data(ScsiReq *r, uint64_t bytes, unsigned *n)
{
    if (bytes > r->data_len)
        return false;
    r->iov = g_new(struct iovec, r->ndata + 1);
    *n = 0;
    for (unsigned i = 0; i < r->ndata && bytes; i++) {
        size_t part = MIN(bytes, r->data[i].iov_len);

        r->iov[(*n)++] = (struct iovec) { r->data[i].iov_base, part };
        bytes -= part;
    }
    return true;
}

void scsi_rw(ScsiReq *r, bool write, uint64_t lba, uint64_t count, bool fua)
{
    ScsiDisk *d = r->disk;
    unsigned n;

    if (!range_ok(lba, count, d->blocks)) {
        scsi_fail(r, KEY_ILLEGAL, 0x21, 0);
        return;
    }
    if (write && block_dev_read_only(d->drive)) {
        scsi_fail(r, KEY_PROTECT, 0x27, 0);
        return;
    }
    if (!count) {
        scsi_ok(r);
        return;
    }
    if (!take_data(r, count * d->block, &n)) {
        g_clear_pointer(&r->iov, g_free);
        scsi_illegal_field(r);
        return;
    }
    r->moved = count * d->block;
    if (write)
        block_dev_writev(d->drive, lba * d->block, r->iov, n, fua || !d->wce ? BLOCK_REQ_FUA : 0, io_done, r);
    else
        block_dev_readv(d->drive, lba * d->block, r->iov, n, io_done, r);
}

void scsi_flush(ScsiReq *r)
{
    block_dev_flush(r->disk->drive, io_done, r);
}

static void unmap_next(void *opaque, int ret)
{
    ScsiReq *r = opaque;
    ScsiDisk *d = r->disk;
    unsigned n = ld16_be(r->buf + 2) / 16;

    if (ret < 0 || r->step >= n) {
        g_clear_pointer(&r->buf, g_free);
        io_done(r, ret);
        return;
    }
    {
        const uint8_t *e = r->buf + 8 + 16 * r->step++;
        uint64_t lba = ld64_be(e);
        uint32_t count = ld32_be(e + 8);

        if (!range_ok(lba, count, d->blocks))
            unmap_next(r, -EINVAL);
        else
            block_dev_discard(d->drive, lba * d->block, (uint64_t)count * d->block, unmap_next, r);
    }
}

void scsi_unmap(ScsiReq *r)
{
    size_t len = ld16_be(r->cdb + 7);

    if (block_dev_read_only(r->disk->drive)) {
        scsi_fail(r, KEY_PROTECT, 0x27, 0);
        return;
    }
    if (!len) {
        scsi_ok(r);
        return;
    }
    len = MIN(len, r->data_len);
    if (len < 8 || len > 8 + 16 * UNMAP_MAX) {
        scsi_fail(r, KEY_ILLEGAL, 0x1a, 0);     /* parameter list length error */
        return;
    }
    r->buf = g_malloc0(len);
    iov_to_buf(r->data, r->ndata, 0, r->buf, len);
    if (ld16_be(r->buf + 2) % 16 || ld16_be(r->buf + 2) > len - 8) {
        g_clear_pointer(&r->buf, g_free);
        scsi_fail(r, KEY_ILLEGAL, 0x26, 0);
        return;
    }
    r->moved = len;
    r->step = 0;
    unmap_next(r, 0);
}

/* WRITE SAME: zeroes only (the pattern must be zero), with UNMAP as a hint. */
void scsi_write_same(ScsiReq *r, uint64_t lba, uint64_t count)
{
    ScsiDisk *d = r->disk;
    size_t len = MIN((size_t)d->block, r->data_len);

    if (!count)
        count = d->blocks - MIN(lba, d->blocks);
    if (!range_ok(lba, count, d->blocks)) {
        scsi_fail(r, KEY_ILLEGAL, 0x21, 0);
        return;
    }
    for (unsigned i = 0; i < r->ndata && len && !(r->cdb[1] & 1); i++) {
        const uint8_t *p = r->data[i].iov_base;
        size_t n = MIN(len, r->data[i].iov_len);

        for (size_t k = 0; k < n; k++) {
            if (p[k]) {
                scsi_illegal_field(r);
                return;
            }
        }
        len -= n;
    }
    block_dev_write_zeroes(d->drive, lba * d->block, count * d->block, r->cdb[1] & 8 ? BLOCK_REQ_UNMAP : 0, io_done, r);
}
