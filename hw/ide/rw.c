/* rw: sector transfers of disks: PIO blocks, DMA parts, flush, trim, verify. */
#include "hw/ide/ide_int.h"

static bool range_valid(const IdeDrive *d)
{
    return range_ok(d->sector, d->nsectors, d->nb_sectors);
}

/* Leaves the task file pointing at the sector, as hosts read it after errors. */
static void show_position(IdeDrive *d)
{
    uint64_t s = d->sector;

    if (d->lba48) {
        for (int i = 0; i < 3; i++) {
            d->lba[i][0] = s >> (8 * i);
            d->lba[i][1] = s >> (8 * i + 24);
        }
        d->count[0] = d->nsectors;
        d->count[1] = d->nsectors >> 8;
    } else if (d->select & DEV_LBA) {
        for (int i = 0; i < 3; i++)
            d->lba[i][0] = s >> (8 * i);
        d->select = (d->select & 0xf0) | (s >> 24 & 15);
        d->count[0] = d->nsectors;
    } else if (d->heads && d->sectors) {
        uint32_t cyl = s / (d->heads * d->sectors), r = s % (d->heads * d->sectors);

        d->lba[1][0] = cyl;
        d->lba[2][0] = cyl >> 8;
        d->select = (d->select & 0xf0) | (r / d->sectors & 15);
        d->lba[0][0] = r % d->sectors + 1;
        d->count[0] = d->nsectors;
    }
}

static void rw_error(IdeDrive *d, int ret, bool read)
{
    trace(ide_rw_error, "unit=%u sector=%" G_GUINT64_FORMAT " ret=%d", d->unit, d->sector, ret);
    show_position(d);
    ide_fail(d, ret == -EINVAL ? ER_IDNF : read ? ER_UNC : ER_ABRT);
}

static void read_block_done(IdeDrive *d, int ret)
{
    uint32_t n = MIN(d->nsectors, d->block_sectors);

    if (ret < 0) {
        rw_error(d, ret, true);
        return;
    }
    d->sector += n;
    d->nsectors -= n;
    ide_pio_start(d, n * IDE_SECTOR, XFER_READ);
    ide_set_irq(d);
}

void ata_read_pio(IdeDrive *d)
{
    uint32_t n = MIN(d->nsectors, d->block_sectors);

    if (!range_valid(d)) {
        rw_error(d, -EINVAL, true);
        return;
    }
    d->status = ST_BUSY | ST_READY | ST_SEEK;
    d->pio_iov = (struct iovec) { d->buf, n * IDE_SECTOR };
    block_dev_readv(d->drive, d->sector * IDE_SECTOR, &d->pio_iov, 1, ide_req_done, ide_req(d, read_block_done));
}

void ata_read_pio_next(IdeDrive *d)
{
    if (d->nsectors) {
        ata_read_pio(d);
    } else {
        show_position(d);
        d->status = ST_READY | ST_SEEK;
    }
}

static void write_block_done(IdeDrive *d, int ret)
{
    uint32_t n = MIN(d->nsectors, d->block_sectors);

    if (ret < 0) {
        rw_error(d, ret, false);
        return;
    }
    d->sector += n;
    d->nsectors -= n;
    if (d->nsectors) {
        ide_pio_start(d, MIN(d->nsectors, d->block_sectors) * IDE_SECTOR, XFER_WRITE);
        ide_set_irq(d);
    } else {
        show_position(d);
        ide_done(d);
    }
}

void ata_write_pio_block(IdeDrive *d)
{
    uint32_t n = MIN(d->nsectors, d->block_sectors);

    d->status = ST_BUSY | ST_READY | ST_SEEK;
    d->pio_iov = (struct iovec) { d->buf, n * IDE_SECTOR };
    block_dev_writev(d->drive, d->sector * IDE_SECTOR, &d->pio_iov, 1, 0, ide_req_done, ide_req(d, write_block_done));
}

void ata_write_pio_start(IdeDrive *d)
{
    if (!range_valid(d))
        rw_error(d, -EINVAL, false);
    else
        ide_pio_start(d, MIN(d->nsectors, d->block_sectors) * IDE_SECTOR, XFER_WRITE);
}

static void dma_end(IdeDrive *d, bool ok)
{
    d->dma_active = false;
    d->dma_kind = IDE_DMA_NONE;
    d->ide->dma->done(d->ide->dma_opaque, ok);
}

void ide_unmap_spans(GArray *spans, bool wrote)
{
    for (guint i = 0; spans && i < spans->len; i++) {
        DmaSpan *s = &g_array_index(spans, DmaSpan, i);

        dma_unmap(s, wrote ? s->len : 0);
    }
    if (spans)
        g_array_set_size(spans, 0);
}

static void dma_part_done(IdeDrive *d, int ret)
{
    bool read = d->dma_kind == IDE_DMA_READ;

    ide_unmap_spans(d->spans, read);
    if (ret < 0) {
        dma_end(d, false);
        rw_error(d, ret, read);
        return;
    }
    d->sector += d->dma_bytes / IDE_SECTOR;
    d->nsectors -= d->dma_bytes / IDE_SECTOR;
    ide_dma_run(d);
}

/* Host memory for the next part: whole sectors only. Gives back what exceeds them. */
static uint64_t map_sectors(IdeDrive *d, bool to_device)
{
    uint64_t want = MIN((uint64_t)d->nsectors * IDE_SECTOR, (uint64_t)IDE_MAX_DMA);

    if (!d->spans)
        d->spans = g_array_new(FALSE, FALSE, sizeof(DmaSpan));
    return d->ide->dma->map(d->ide->dma_opaque, d->spans, want, to_device);
}

static void submit_part(IdeDrive *d, bool read)
{
    g_autofree struct iovec *iov = g_new(struct iovec, d->spans->len);

    for (guint i = 0; i < d->spans->len; i++) {
        DmaSpan *s = &g_array_index(d->spans, DmaSpan, i);

        iov[i] = (struct iovec) { s->host, s->len };
    }
    if (read)
        block_dev_readv(d->drive, d->sector * IDE_SECTOR, iov, d->spans->len, ide_req_done, ide_req(d, dma_part_done));
    else
        block_dev_writev(d->drive, d->sector * IDE_SECTOR, iov, d->spans->len, 0, ide_req_done,
                         ide_req(d, dma_part_done));
}

static void trim_next(IdeDrive *d, int ret);

/* DATA SET MANAGEMENT: 512-byte blocks of {48-bit LBA, 16-bit count}. */
static void trim_run(IdeDrive *d)
{
    while (d->data_pos + 8 <= d->data_end) {
        uint64_t entry = ld64_le(d->buf + d->data_pos), lba = entry & 0xffffffffffffULL, n = entry >> 48;

        d->data_pos += 8;
        if (!n)
            continue;
        if (!range_ok(lba, n, d->nb_sectors)) {
            dma_end(d, false);
            rw_error(d, -EINVAL, false);
            return;
        }
        block_dev_discard(d->drive, lba * IDE_SECTOR, n * IDE_SECTOR, ide_req_done, ide_req(d, trim_next));
        return;
    }
    d->data_pos = d->data_end = 0;
    dma_end(d, true);
    ide_done(d);
}

static void trim_next(IdeDrive *d, int ret)
{
    trim_run(d);                /* a hint that failed is still a hint */
}

static void trim_start(IdeDrive *d)
{
    uint64_t n = map_sectors(d, true), pos = 0;

    for (guint i = 0; i < d->spans->len; i++) {
        DmaSpan *s = &g_array_index(d->spans, DmaSpan, i);
        uint64_t part = MIN(s->len, IDE_BUF - pos);

        memcpy(d->buf + pos, s->host, part);
        pos += part;
    }
    ide_unmap_spans(d->spans, false);
    d->data_pos = 0;
    d->data_end = MIN(n, pos);
    trim_run(d);
}

void ide_dma_run(IdeDrive *d)
{
    bool read = d->dma_kind == IDE_DMA_READ;

    if (!d->dma_active)
        return;
    if (d->dma_kind == IDE_DMA_PACKET_READ || d->dma_kind == IDE_DMA_PACKET_BUF) {
        atapi_dma_finish(d, 0);
        return;
    }
    if (d->dma_kind == IDE_DMA_TRIM) {
        trim_start(d);
        return;
    }
    if (!d->nsectors) {
        show_position(d);
        dma_end(d, true);
        ide_done(d);
        return;
    }
    d->dma_bytes = map_sectors(d, !read);
    if (!d->dma_bytes || d->dma_bytes % IDE_SECTOR) {   /* the host gave too little memory */
        ide_unmap_spans(d->spans, false);
        dma_end(d, false);
        rw_error(d, -EIO, false);
        return;
    }
    submit_part(d, read);
}

void ata_dma_start(IdeDrive *d, IdeDmaKind kind)
{
    if (!d->ide->dma) {
        ide_abort(d);
        return;
    }
    if (kind != IDE_DMA_TRIM && (kind == IDE_DMA_READ || kind == IDE_DMA_WRITE) && !range_valid(d)) {
        rw_error(d, -EINVAL, kind == IDE_DMA_READ);
        return;
    }
    d->status = ST_READY | ST_SEEK | ST_DRQ | ST_BUSY;
    d->dma_kind = kind;
    d->dma_active = true;
    d->ide->dma->start(d->ide->dma_opaque, d);
}

static void flush_done(IdeDrive *d, int ret)
{
    if (ret < 0)
        rw_error(d, ret, false);
    else
        ide_done(d);
}

void ata_flush(IdeDrive *d)
{
    d->status = ST_BUSY | ST_READY | ST_SEEK;
    block_dev_flush(d->drive, ide_req_done, ide_req(d, flush_done));
}

void ata_verify(IdeDrive *d)
{
    if (!range_valid(d))
        rw_error(d, -EINVAL, true);
    else
        ide_done(d);
}
