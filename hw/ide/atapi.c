/*
 * atapi: the packet interface: PACKET command, replies by PIO parts or DMA, sector reads.
 *
 * ATA-6 9.8; the SCSI commands themselves are in atapi_cmd.c and hw/block/mmc.c.
 */
#include "hw/ide/ide_int.h"

#include <string.h>

enum { REASON_CD = 1, REASON_IO = 2, FEATURE_DMA = 1 };
enum { READ_CHUNK = 32 };       /* CD sectors fetched at a time */

static void set_reason(IdeDrive *d, uint8_t reason)
{
    d->count[0] = reason;
}

void atapi_start(IdeDrive *d)
{
    d->byte_limit = d->lba[1][0] | d->lba[2][0] << 8;
    set_reason(d, REASON_CD);
    ide_pio_start(d, sizeof d->packet, XFER_PACKET);
    d->status = ST_READY | ST_SEEK | ST_DRQ;
}

static bool wants_dma(const IdeDrive *d)
{
    return (d->feature[0] & FEATURE_DMA) && d->ide->dma;
}

static void finish(IdeDrive *d, uint8_t status, uint8_t error)
{
    d->packet_left = d->nsectors = 0;
    ide_pio_stop(d);
    d->status = status;
    d->error = error;
    set_reason(d, REASON_IO | REASON_CD);
    ide_set_irq(d);
}

void atapi_ok(IdeDrive *d)
{
    d->sense_key = d->asc = d->ascq = 0;
    finish(d, ST_READY | ST_SEEK, 0);
}

void atapi_error(IdeDrive *d, uint8_t key, uint8_t asc, uint8_t ascq)
{
    trace(atapi_error, "key=%u asc=%#x", key, asc);
    d->sense_key = key;
    d->asc = asc;
    d->ascq = ascq;
    finish(d, ST_READY | ST_ERR, key << 4 | (key == SENSE_ILLEGAL ? ER_ABRT : 0));
}

/* The next PIO part of buf: at most the byte count limit the host set, even unless last. */
static void pio_part(IdeDrive *d, uint32_t off, uint32_t avail, IdeXfer xfer)
{
    uint32_t limit = d->byte_limit ? d->byte_limit : 0xfffe, n;

    if (limit == 0xffff)
        limit--;
    n = MIN(avail, d->packet_left);
    if (n > limit)
        n = limit & ~1u ? limit & ~1u : 2;
    d->lba[1][0] = n;
    d->lba[2][0] = n >> 8;
    set_reason(d, REASON_IO);
    d->status = (d->status & ~ST_BUSY) | ST_READY | ST_SEEK | ST_DRQ;
    d->xfer = xfer;
    d->data_pos = off;
    d->data_end = off + n;
    ide_set_irq(d);
}

void atapi_reply(IdeDrive *d, uint32_t len, uint32_t allowed)
{
    d->packet_left = MIN(len, allowed);
    if (!d->packet_left) {
        atapi_ok(d);
        return;
    }
    if (wants_dma(d)) {
        ata_dma_start(d, IDE_DMA_PACKET_BUF);
        return;
    }
    d->pio_taken = 0;
    pio_part(d, 0, d->packet_left, XFER_PACKET_IN);
}

/* Puts what was fetched as 2048-byte sectors where raw 2352-byte ones were asked for (Yellow Book mode 1). */
static void make_raw(IdeDrive *d, uint32_t n)
{
    static const uint8_t sync[12] = { 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0 };

    for (uint32_t i = n; i-- > 0; ) {
        uint8_t *to = d->buf + i * 2352;
        uint32_t frame = d->sector - n + i + 150;

        memmove(to + 16, d->buf + i * IDE_CD_SECTOR, IDE_CD_SECTOR);
        memcpy(to, sync, sizeof sync);
        to[12] = (frame / 4500 / 10 % 10) << 4 | frame / 4500 % 10;
        to[13] = (frame / 75 % 60 / 10) << 4 | frame / 75 % 60 % 10;
        to[14] = (frame % 75 / 10) << 4 | frame % 75 % 10;
        to[15] = 1;
        memset(to + 16 + IDE_CD_SECTOR, 0, 2352 - 16 - IDE_CD_SECTOR);
    }
}

static void read_chunk_done(IdeDrive *d, int ret)
{
    uint32_t n = d->block_sectors;

    if (ret < 0) {
        if (d->dma_active) {
            d->dma_active = false;
            d->dma_kind = IDE_DMA_NONE;
            d->ide->dma->done(d->ide->dma_opaque, false);
        }
        if (ret == -ENOMEDIUM)
            atapi_error(d, SENSE_NOT_READY, ASC_NO_MEDIUM, 0);
        else
            atapi_error(d, SENSE_MEDIUM, ASC_READ, 0);
        return;
    }
    d->sector += n;
    d->nsectors -= n;
    if (d->cd_sector_size != IDE_CD_SECTOR)
        make_raw(d, n);
    d->packet_left = n * d->cd_sector_size;
    if (d->dma_active)
        atapi_dma_finish(d, 1);
    else
        pio_part(d, 0, d->packet_left, XFER_PACKET_READ);
}

static void read_chunk(IdeDrive *d)
{
    d->block_sectors = MIN(d->nsectors, (uint32_t)READ_CHUNK);
    d->status |= ST_BUSY;
    d->pio_iov = (struct iovec) { d->buf, d->block_sectors * IDE_CD_SECTOR };
    block_dev_readv(d->drive, d->sector * IDE_CD_SECTOR, &d->pio_iov, 1, ide_req_done, ide_req(d, read_chunk_done));
}

void atapi_read(IdeDrive *d, uint64_t lba, uint64_t count, uint32_t sector_size)
{
    if (!range_ok(lba, count, d->nb_sectors / 4)) {
        atapi_error(d, SENSE_ILLEGAL, ASC_LBA, 0);
        return;
    }
    if (!count) {
        atapi_ok(d);
        return;
    }
    d->sector = lba;
    d->nsectors = count;
    d->cd_sector_size = sector_size;
    if (wants_dma(d)) {
        ata_dma_start(d, IDE_DMA_PACKET_READ);
        return;
    }
    d->status = ST_READY | ST_SEEK | ST_BUSY;
    read_chunk(d);
}

/* PIO: the host took a part; data_pos is where it stopped (kept by the caller's stop as 0, so count). */
void atapi_pio_next(IdeDrive *d)
{
    uint32_t taken = d->lba[1][0] | d->lba[2][0] << 8, off;

    d->packet_left -= MIN(taken, d->packet_left);
    if (d->packet_left) {
        d->pio_taken += taken;
        off = d->pio_taken;
        pio_part(d, off, d->packet_left, d->nsectors || d->cd_sector_size ? XFER_PACKET_READ : XFER_PACKET_IN);
    } else if (d->nsectors) {
        d->pio_taken = 0;
        d->status = ST_READY | ST_SEEK | ST_BUSY;
        read_chunk(d);
    } else {
        atapi_ok(d);
    }
}

/* Copies packet_left bytes of buf into mapped guest memory. False: the host gave too little. */
static bool to_guest(IdeDrive *d)
{
    uint32_t pos = 0;

    if (!d->spans)
        d->spans = g_array_new(FALSE, FALSE, sizeof(DmaSpan));
    while (pos < d->packet_left &&
           d->ide->dma->map(d->ide->dma_opaque, d->spans, d->packet_left - pos, false)) {
        for (guint i = 0; i < d->spans->len; i++) {
            DmaSpan *s = &g_array_index(d->spans, DmaSpan, i);
            uint32_t n = MIN(s->len, d->packet_left - pos);

            memcpy(s->host, d->buf + pos, n);
            dma_unmap(s, n);
            pos += n;
        }
        g_array_set_size(d->spans, 0);
    }
    return pos == d->packet_left;
}

/* DMA: ret 0 starts (memory is there), 1 follows each chunk read. */
void atapi_dma_finish(IdeDrive *d, int ret)
{
    bool ok;

    if (d->dma_kind == IDE_DMA_PACKET_READ && !ret) {
        read_chunk(d);
        return;
    }
    ok = to_guest(d);
    if (ok && d->dma_kind == IDE_DMA_PACKET_READ && d->nsectors) {
        read_chunk(d);
        return;
    }
    d->dma_active = false;
    d->dma_kind = IDE_DMA_NONE;
    d->ide->dma->done(d->ide->dma_opaque, ok);
    if (ok)
        atapi_ok(d);
    else
        atapi_error(d, SENSE_MEDIUM, ASC_READ, 0);
}

void atapi_media_changed(IdeDrive *d, bool load)
{
    d->nb_sectors = load ? block_dev_size(d->drive) / IDE_SECTOR : 0;
    d->cd_changed = load;       /* the next command reports it once */
}
