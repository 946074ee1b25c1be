/*
 * ncq: queued commands of SATA disks: READ and WRITE FPDMA QUEUED, and the log that tells which failed.
 *
 * Serial ATA 2.6 section 13.6; ATA8-ACS 7.23 and annex A (general purpose logs). Up to 32 commands are
 * in flight at once; the task file of the drive stays untouched by them.
 */
#include "hw/ide/ide_int.h"

#include <string.h>

enum { READ_FPDMA = 0x60, WRITE_FPDMA = 0x61, LOG_DIRECTORY = 0x00, LOG_NCQ_ERROR = 0x10 };

bool ide_is_ncq(uint8_t command)
{
    return command == READ_FPDMA || command == WRITE_FPDMA;
}

static void ncq_end(IdeNcq *q, uint8_t error)
{
    IdeDrive *d = q->d;

    if (error) {
        memset(d->ncq_log, 0, sizeof d->ncq_log);
        d->ncq_log[0] = q->tag;
        d->ncq_log[2] = ST_READY | ST_ERR;
        d->ncq_log[3] = error;
        for (int i = 0; i < 3; i++) {
            d->ncq_log[4 + i] = q->sector >> (8 * i);
            d->ncq_log[8 + i] = q->sector >> (8 * i + 24);
        }
        d->ncq_log[7] = DEV_LBA;
        d->ncq_log[12] = q->nsectors;
        d->ncq_log[13] = q->nsectors >> 8;
    }
    g_clear_pointer(&q->spans, g_array_unref);
    q->done(q->opaque, error ? ST_READY | ST_ERR : ST_READY | ST_SEEK, error);
}

static void ncq_next(IdeNcq *q);

static void ncq_part_done(void *opaque, int ret)
{
    IdeNcq *q = opaque;

    ide_unmap_spans(q->spans, !q->write);
    if (q->d->generation != q->generation) {    /* a reset was faster */
        g_clear_pointer(&q->spans, g_array_unref);
        return;
    }
    if (ret < 0) {
        trace(ide_ncq_error, "tag=%u sector=%" G_GUINT64_FORMAT " ret=%d", q->tag, q->sector, ret);
        ncq_end(q, ret == -EINVAL ? ER_IDNF : q->write ? ER_ABRT : ER_UNC);
        return;
    }
    q->sector += q->part / IDE_SECTOR;
    q->nsectors -= q->part / IDE_SECTOR;
    ncq_next(q);
}

static void ncq_next(IdeNcq *q)
{
    g_autofree struct iovec *iov = NULL;
    IdeDrive *d = q->d;

    if (!q->nsectors) {
        ncq_end(q, 0);
        return;
    }
    q->part = q->map(q->opaque, q->spans, MIN((uint64_t)q->nsectors * IDE_SECTOR, (uint64_t)IDE_MAX_DMA), q->write);
    if (!q->part || q->part % IDE_SECTOR) {     /* the host gave too little memory */
        ide_unmap_spans(q->spans, false);
        ncq_end(q, ER_ABRT);
        return;
    }
    iov = g_new(struct iovec, q->spans->len);
    for (guint i = 0; i < q->spans->len; i++) {
        DmaSpan *s = &g_array_index(q->spans, DmaSpan, i);

        iov[i] = (struct iovec) { s->host, s->len };
    }
    if (q->write)
        block_dev_writev(d->drive, q->sector * IDE_SECTOR, iov, q->spans->len, q->fua ? BLOCK_REQ_FUA : 0,
                         ncq_part_done, q);
    else
        block_dev_readv(d->drive, q->sector * IDE_SECTOR, iov, q->spans->len, ncq_part_done, q);
}

void ide_ncq_start(IdeDrive *d, IdeNcq *q, const uint8_t f[20])
{
    uint32_t n = f[3] | f[11] << 8;

    q->d = d;
    q->generation = d->generation;
    q->write = f[2] == WRITE_FPDMA;
    q->fua = f[7] & 0x80;
    q->sector = 0;
    for (int i = 0; i < 3; i++)
        q->sector |= (uint64_t)f[4 + i] << (8 * i) | (uint64_t)f[8 + i] << (8 * i + 24);
    q->nsectors = n ? n : 65536;
    q->spans = NULL;
    trace(ide_ncq, "tag=%u write=%d sector=%" G_GUINT64_FORMAT " n=%u", q->tag, q->write, q->sector, q->nsectors);
    if (d->kind != IDE_HD || (f[12] >> 3) != q->tag) {
        ncq_end(q, ER_ABRT);
        return;
    }
    if (!range_ok(q->sector, q->nsectors, d->nb_sectors)) {
        ncq_end(q, ER_IDNF);
        return;
    }
    q->spans = g_array_new(FALSE, FALSE, sizeof(DmaSpan));
    ncq_next(q);
}

/* READ LOG EXT: address in LBA 7:0, page in LBA 23:8 (one page each here), pages in count. */
void ata_read_log(IdeDrive *d)
{
    unsigned pages = d->count[0] | d->count[1] << 8, log = d->lba[0][0], page = d->lba[1][0] | d->lba[1][1] << 8;
    uint8_t *b = d->buf, sum = 0;

    if (!d->ide->sata || pages != 1 || page || (log != LOG_DIRECTORY && log != LOG_NCQ_ERROR)) {
        ide_abort(d);
        return;
    }
    memset(b, 0, IDE_SECTOR);
    if (log == LOG_DIRECTORY) {
        b[0] = 1;
        b[2 * LOG_NCQ_ERROR] = 1;
    } else {
        memcpy(b, d->ncq_log, sizeof d->ncq_log);
        if (!d->ncq_log[2])
            b[0] = 0x80;        /* NQ: no queued command failed */
        for (int i = 0; i < IDE_SECTOR - 1; i++)
            sum += b[i];
        b[IDE_SECTOR - 1] = -sum;
        memset(d->ncq_log, 0, sizeof d->ncq_log);
    }
    ide_pio_start(d, IDE_SECTOR, XFER_DATA_IN);
    ide_set_irq(d);
}
