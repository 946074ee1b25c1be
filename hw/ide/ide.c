/*
 * ide: one channel: task file registers, selection, status and interrupt, PIO data, resets.
 */
#include "hw/ide/ide_int.h"

#include <string.h>

void ide_bus_init(IdeBus *ide, Device *owner, const char *name, IrqLine irq, const IdeDmaOps *dma, void *dma_opaque)
{
    ide->bus = bus_new(BUS_IDE, name, owner, owner->machine);
    ide->bus->impl = ide;
    ide->bus->attach = ide_bus_attach;
    ide->bus->detach = ide_bus_detach;
    ide->irq = irq;
    ide->dma = dma;
    ide->dma_opaque = dma_opaque;
}

void ide_set_irq(IdeDrive *d)
{
    if (!(d->ide->control & CTL_NIEN) && d->ide->unit == d->unit)
        irq_set(&d->ide->irq, 1);
}

void ide_done(IdeDrive *d)
{
    d->status = ST_READY | ST_SEEK;
    d->error = 0;
    ide_set_irq(d);
}

void ide_fail(IdeDrive *d, uint8_t error)
{
    ide_pio_stop(d);
    d->status = ST_READY | ST_ERR;
    d->error = error;
    ide_set_irq(d);
}

void ide_abort(IdeDrive *d)
{
    ide_fail(d, ER_ABRT);
}

void ide_pio_start(IdeDrive *d, uint32_t len, IdeXfer xfer)
{
    d->data_pos = 0;
    d->data_end = MIN(len, (uint32_t)IDE_BUF);
    d->xfer = xfer;
    d->status = (d->status & ~(ST_BUSY | ST_ERR)) | ST_READY | ST_SEEK | ST_DRQ;
}

void ide_pio_stop(IdeDrive *d)
{
    d->data_pos = d->data_end = 0;
    d->xfer = XFER_NONE;
    d->status &= ~ST_DRQ;
}

/* ATA-6 9.12: what the task file shows after a reset tells disks from packet devices. */
void ide_signature(IdeDrive *d)
{
    bool cd = d->kind == IDE_CD;

    d->select &= ~0x0f;
    d->count[0] = d->lba[0][0] = 1;
    d->lba[1][0] = cd ? 0x14 : 0;
    d->lba[2][0] = cd ? 0xeb : 0;
    d->status = cd ? 0 : ST_READY | ST_SEEK;
    d->error = 1;               /* diagnostic code: passed */
}

void ide_drive_reset(IdeDrive *d)
{
    ide_cancel(d);
    ide_pio_stop(d);
    d->select = 0xa0;
    memset(d->feature, 0, sizeof d->feature);
    memset(d->count, 0, sizeof d->count);
    memset(d->lba, 0, sizeof d->lba);
    d->lba48 = false;
    d->sector = d->nsectors = d->packet_left = 0;
    ide_signature(d);
}

void ide_bus_reset(IdeBus *ide)
{
    ide->unit = 0;
    ide->control = 0;
    if (ide->dma && ide->dma->reset)
        ide->dma->reset(ide->dma_opaque);
    irq_set(&ide->irq, 0);
}

static bool present(const IdeBus *ide)
{
    return ide->drive[0] || ide->drive[1];
}

static uint8_t read_reg(const IdeDrive *d, unsigned reg, bool hob)
{
    switch (reg) {
    case IDE_REG_ERROR: return hob ? d->feature[1] : d->error;
    case IDE_REG_COUNT: return d->count[hob];
    case IDE_REG_LBA0: return d->lba[0][hob];
    case IDE_REG_LBA1: return d->lba[1][hob];
    case IDE_REG_LBA2: return d->lba[2][hob];
    case IDE_REG_DEVICE: return d->select | 0xa0;
    default: return d->status;
    }
}

/* An absent drive answers 0: "no drive" to every driver's probe. */
uint8_t ide_read(IdeBus *ide, unsigned reg)
{
    IdeDrive *d = ide_selected(ide);

    if (reg == IDE_REG_STATUS)
        irq_set(&ide->irq, 0);
    if (!d)
        return present(ide) || reg != IDE_REG_DEVICE ? 0 : 0xff;
    return read_reg(d, reg, ide->control & CTL_HOB);
}

uint8_t ide_alt_status(IdeBus *ide)
{
    IdeDrive *d = ide_selected(ide);

    return d ? d->status : 0;
}

/* Both drives latch the task file; previous contents go to the HOB set (48-bit feature). */
static void latch(IdeDrive *d, unsigned reg, uint8_t val)
{
    uint8_t *pair = reg == IDE_REG_ERROR ? d->feature : reg == IDE_REG_COUNT ? d->count : d->lba[reg - IDE_REG_LBA0];

    pair[1] = pair[0];
    pair[0] = val;
}

static void command(IdeBus *ide, uint8_t cmd)
{
    enum { DEVICE_RESET = 0x08, DIAGNOSTIC = 0x90 };
    IdeDrive *d = ide_selected(ide);

    irq_set(&ide->irq, 0);
    if (cmd == DIAGNOSTIC) {
        for (int i = 0; i < 2; i++) {
            if (ide->drive[i])
                ide_drive_reset(ide->drive[i]);
        }
        ide->unit = 0;
        if (ide->drive[0])
            ide_set_irq(ide->drive[0]);
        return;
    }
    if (!d)
        return;
    if ((d->status & (ST_BUSY | ST_DRQ)) && !(cmd == DEVICE_RESET && d->kind == IDE_CD)) {
        log_guest("%s: command %#x while busy", d->dev.cls->name, cmd);
        return;
    }
    trace(ide_command, "unit=%u cmd=%#x", d->unit, cmd);
    ata_command(d, cmd);
}

void ide_write(IdeBus *ide, unsigned reg, uint8_t val)
{
    ide->control &= ~CTL_HOB;
    if (reg == IDE_REG_STATUS) {
        command(ide, val);
        return;
    }
    for (int i = 0; i < 2; i++) {
        IdeDrive *d = ide->drive[i];

        if (!d || (d->status & (ST_BUSY | ST_DRQ)))
            continue;           /* the task file is the drive's while a command runs */
        if (reg == IDE_REG_DEVICE)
            d->select = val | 0xa0;
        else
            latch(d, reg, val);
    }
    if (reg == IDE_REG_DEVICE)
        ide->unit = !!(val & DEV_UNIT);
}

void ide_issue_fis(IdeBus *ide, const uint8_t f[20])
{
    IdeDrive *d = ide->drive[0];

    if (d && !(d->status & (ST_BUSY | ST_DRQ))) {
        d->feature[0] = f[3];
        d->feature[1] = f[11];
        for (int i = 0; i < 3; i++) {
            d->lba[i][0] = f[4 + i];
            d->lba[i][1] = f[8 + i];
        }
        d->select = f[7] | 0xa0;
        d->count[0] = f[12];
        d->count[1] = f[13];
    }
    ide->unit = 0;
    command(ide, f[2]);
}

void ide_control_write(IdeBus *ide, uint8_t val)
{
    bool reset = (val & CTL_SRST) && !(ide->control & CTL_SRST), released = !(val & CTL_SRST) && (ide->control & CTL_SRST);

    for (int i = 0; i < 2; i++) {
        IdeDrive *d = ide->drive[i];

        if (d && reset) {
            ide_drive_reset(d);
            d->status = ST_BUSY | ST_SEEK;
        } else if (d && released) {
            ide_signature(d);
        }
    }
    if (reset || released)
        ide->unit = 0;
    ide->control = val;
    if (val & CTL_NIEN)
        irq_set(&ide->irq, 0);
}

static void transfer_end(IdeDrive *d)
{
    IdeXfer xfer = d->xfer;

    ide_pio_stop(d);
    switch (xfer) {
    case XFER_DATA_IN: d->status = ST_READY | ST_SEEK; break;
    case XFER_READ: ata_read_pio_next(d); break;
    case XFER_WRITE: ata_write_pio_block(d); break;
    case XFER_PACKET:
        memcpy(d->packet, d->buf, sizeof d->packet);
        atapi_packet(d);
        break;
    case XFER_PACKET_IN: case XFER_PACKET_READ: atapi_pio_next(d); break;
    case XFER_PACKET_OUT: atapi_ok(d); break;
    default: break;
    }
}

static bool xfer_to_drive(const IdeDrive *d)
{
    return d->xfer == XFER_WRITE || d->xfer == XFER_PACKET || d->xfer == XFER_PACKET_OUT;
}

uint8_t *ide_pio_pending(IdeDrive *d, uint32_t *len, bool *to_drive)
{
    if (!(d->status & ST_DRQ) || (d->status & ST_BUSY) || d->data_pos >= d->data_end)
        return NULL;
    *len = d->data_end - d->data_pos;
    *to_drive = xfer_to_drive(d);
    return d->buf + d->data_pos;
}

void ide_pio_taken(IdeDrive *d)
{
    transfer_end(d);
}

uint32_t ide_data_read(IdeBus *ide, unsigned size)
{
    IdeDrive *d = ide_selected(ide);
    uint32_t v;

    if (!d || !(d->status & ST_DRQ) || xfer_to_drive(d) || d->data_pos >= d->data_end)
        return 0;
    size = MIN(size, d->data_end - d->data_pos);
    v = size >= 4 ? ld32_le(d->buf + d->data_pos) : size >= 2 ? ld16_le(d->buf + d->data_pos) : d->buf[d->data_pos];
    d->data_pos += size;
    if (d->data_pos >= d->data_end)
        transfer_end(d);
    return v;
}

void ide_data_write(IdeBus *ide, uint32_t val, unsigned size)
{
    IdeDrive *d = ide_selected(ide);
    uint8_t b[4];

    if (!d || !(d->status & ST_DRQ) || !xfer_to_drive(d) || d->data_pos >= d->data_end)
        return;
    size = MIN(size, d->data_end - d->data_pos);
    st32_le(b, val);
    memcpy(d->buf + d->data_pos, b, size);
    d->data_pos += size;
    if (d->data_pos >= d->data_end)
        transfer_end(d);
}

IdeReq *ide_req(IdeDrive *d, void (*then)(IdeDrive *d, int ret))
{
    IdeReq *r = g_new(IdeReq, 1);

    *r = (IdeReq) { d, d->generation, then };
    return r;
}

void ide_req_done(void *opaque, int ret)
{
    IdeReq *r = opaque;

    if (r->d->generation == r->generation)
        r->then(r->d, ret);
    g_free(r);
}

/* Reset with a request in flight (CVE-2023-5088): the request dies before registers change. */
void ide_cancel(IdeDrive *d)
{
    d->generation++;
    if (d->drive)
        block_dev_cancel_all(d->drive);
    ide_unmap_spans(d->spans, d->dma_kind == IDE_DMA_READ);
    d->dma_active = false;
    d->dma_kind = IDE_DMA_NONE;
}

void ide_stop(IdeDrive *d)
{
    bool idle = !(d->status & (ST_BUSY | ST_DRQ));

    ide_cancel(d);
    ide_pio_stop(d);
    d->nsectors = d->packet_left = 0;
    if (!idle)
        d->status = ST_READY | ST_SEEK;
}

const StateDesc ide_bus_state = {
    .name = "ide-bus", .version = 1,
    .fields = (const StateField[]) { STATE_UMAX(IdeBus, unit, 1), STATE_U8(IdeBus, control), STATE_END },
};
