/*
 * fdc: an Intel 82078 compatible floppy disk controller on the ISA bus.
 *
 * Intel 82078 data sheet (290468) and 82077AA (290166). Commands are a table of lengths and
 * functions; parameters and results share one FIFO whose index never passes its table entry. Sectors
 * move one by one between image and DMA channel or FIFO. docs/hw/fdc.md. Machine lock.
 */
#include "hw/block/fdc_int.h"

#include <string.h>

enum { R_SRA = 0, R_SRB = 1, R_DOR = 2, R_TDR = 3, R_MSR = 4, R_FIFO = 5, LOW_PORTS = 6, HIGH_PORT = 7 };
enum { DOR_SEL = 3, DOR_NRESET = 1 << 2, DOR_DMAEN = 1 << 3, DOR_MOTOR_A = 1 << 4 };
enum { MSR_BUSY = 0x10, MSR_NDMA = 0x20, MSR_DIO = 0x40, MSR_RQM = 0x80, DSR_SWRESET = 0x80, DSR_RATE = 3, DIR_CHANGE = 0x80 };
enum { ST0_END = 0x20, ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLL = 0xc0, ST0_NOT_READY = 0x08, ST0_EQUIPMENT = 0x10 };
enum { ST1_MA = 0x01, ST1_NW = 0x02, ST1_ND = 0x04, ST1_DE = 0x20, ST1_EN = 0x80, ST2_CM = 0x40, ST3_DEFAULT = 0x28,
       ST3_TRACK0 = 0x10, ST3_PROTECTED = 0x40 };
enum { CONFIG_EIS = 0x40, CONFIG_POLL_OFF = 0x10, SPECIFY_ND = 1, SIZE_CODE = 2, OP_MT = 0x80, OP_EC = 0x80 };

static FloppyDrive *drive_of(const Fdc *s, unsigned unit) { return unit < FDC_DRIVES ? s->drive[unit] : NULL; }

static void update(Fdc *s)
{
    irq_set(&s->irq, s->int_pending && (s->dor & DOR_DMAEN));
}

static void raise_irq(Fdc *s)
{
    s->int_pending = true;
    update(s);
}

static void lower_irq(Fdc *s)
{
    s->int_pending = false;
    update(s);
}

static void go_idle(Fdc *s)
{
    s->phase = FDC_IDLE;
    s->fifo_pos = s->fifo_len = 0;
    s->kind = FDC_X_NONE;
    s->io = false;
}

static void results(Fdc *s, const uint8_t *b, unsigned n)
{
    memcpy(s->fifo, b, MIN(n, (unsigned)FDC_PARAMS));
    s->fifo_pos = 0;
    s->fifo_len = MIN(n, (unsigned)FDC_PARAMS);
    s->phase = FDC_RESULT;
    s->kind = FDC_X_NONE;
    s->io = false;
}

static void result1(Fdc *s, uint8_t b)
{
    results(s, &b, 1);
}

/* The seven result bytes of a data command, with the interrupt. */
static void finish(Fdc *s, uint8_t st0, uint8_t st1, uint8_t st2)
{
    uint8_t b[7] = { st0 | s->h << 2 | s->unit, st1, st2, s->c, s->h, s->r, SIZE_CODE };

    results(s, b, sizeof b);
    raise_irq(s);
}

/* --- data commands --- */

/* The sector number of c/h/r in the image; -1: there is none. */
static int64_t sector_at(const FloppyDrive *d, unsigned c, unsigned h, unsigned r)
{
    uint64_t lba = ((uint64_t)c * d->heads + h) * d->spt + r - 1;

    if (!r || r > d->spt || h >= d->heads || c >= d->tracks || lba >= block_dev_size(d->drive) / FD_SECTOR)
        return -1;
    return lba;
}

/* After a sector: true when the command has another one to do. Leaves c/h/r as the results tell them. */
static bool next_sector(Fdc *s)
{
    if (s->r != s->eot) {
        s->r++;
        return true;
    }
    s->r = 1;
    if (s->multi && !s->h) {
        s->h = 1;
        return true;
    }
    if (s->multi)
        s->h = 0;
    s->c++;
    return false;
}

typedef struct FdcReq { Fdc *s; uint32_t generation; } FdcReq;
static void sector_done(Fdc *s, int ret);

static void io_done(void *opaque, int ret)
{
    FdcReq *q = opaque;
    Fdc *s = q->s;

    if (q->generation == s->generation && s->io)
        sector_done(s, ret);
    g_free(q);
}

/* Reads or writes buf at the current sector. */
static void start_io(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->unit);
    int64_t lba = d ? sector_at(d, s->c, s->h, s->r) : -1;
    FdcReq *q;

    if (lba < 0) {
        finish(s, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    q = g_new(FdcReq, 1);
    *q = (FdcReq) { s, s->generation };
    s->io = true;
    s->iov = (struct iovec) { s->buf, FD_SECTOR };
    d->track = s->c;
    d->head = s->h;
    if (s->kind == FDC_X_WRITE || s->kind == FDC_X_FORMAT)
        block_dev_writev(d->drive, (uint64_t)lba * FD_SECTOR, &s->iov, 1, 0, io_done, q);
    else
        block_dev_readv(d->drive, (uint64_t)lba * FD_SECTOR, &s->iov, 1, io_done, q);
}

/* buf is empty and the host shall fill it (writes), or the next sector is fetched. */
static void start_sector(Fdc *s)
{
    s->pos = 0;
    s->len = s->kind == FDC_X_FORMAT ? 4 : FD_SECTOR;
    if (s->kind == FDC_X_READ || s->kind == FDC_X_VERIFY)
        start_io(s);
    else if (!s->dma_mode)
        raise_irq(s);
}

/* All of a sector is with the host or in the image. */
static void sector_over(Fdc *s)
{
    bool more;

    if (s->kind == FDC_X_FORMAT) {
        if (--s->fmt_left && !s->tc)
            start_sector(s);
        else
            finish(s, 0, 0, 0);
        return;
    }
    more = next_sector(s);
    if (s->kind == FDC_X_VERIFY && s->verify_left && !--s->verify_left)
        s->tc = true;
    if (s->deleted)             /* the mark found is not the one asked for: stops after this sector */
        finish(s, 0, 0, ST2_CM);
    else if (s->tc || (!more && s->kind == FDC_X_VERIFY && !s->verify_left))
        finish(s, 0, 0, 0);
    else if (!more)
        finish(s, ST0_ABNORMAL, ST1_EN, 0);
    else
        start_sector(s);
}

/* The filled buffer goes to the image. A format's bytes are the ID field C, H, R, N of its next sector. */
static void store_sector(Fdc *s)
{
    memset(s->buf + s->pos, 0, sizeof s->buf - s->pos);
    if (s->kind == FDC_X_FORMAT) {
        if (s->buf[3] != SIZE_CODE) {
            finish(s, ST0_ABNORMAL, ST1_ND, 0);
            return;
        }
        s->c = s->buf[0];
        s->h = s->buf[1];
        s->r = s->buf[2];
        memset(s->buf, s->filler, sizeof s->buf);
    }
    start_io(s);
}

/* Moves what the DMA channel takes or gives now; it calls again when it is programmed. */
static void move_dma(void *opaque)
{
    Fdc *s = opaque;
    IsaBus *isa = isa_bus(s->dev.machine);
    bool to_host = s->kind == FDC_X_READ;

    if (s->phase != FDC_EXECUTE || !s->dma_mode || s->io || s->kind == FDC_X_VERIFY || s->kind == FDC_X_NONE || !isa->dma)
        return;
    while (s->pos < s->len && !s->tc) {
        bool tc = false;
        uint32_t n = to_host ? isa_dma_to_memory(isa->dma, s->dma_no, s->buf + s->pos, s->len - s->pos, &tc)
                             : isa_dma_from_memory(isa->dma, s->dma_no, s->buf + s->pos, s->len - s->pos, &tc);

        s->pos += n;
        s->tc |= tc;
        if (!n && !tc)
            return;
    }
    if (to_host)
        sector_over(s);
    else
        store_sector(s);
}

static void sector_done(Fdc *s, int ret)
{
    s->io = false;
    if (ret < 0) {
        trace(fdc_io_error, "c=%u h=%u r=%u ret=%d", s->c, s->h, s->r, ret);
        finish(s, ST0_ABNORMAL, ret == -EROFS ? ST1_NW : ret == -ENOMEDIUM ? ST1_MA : ST1_DE, 0);
    } else if (s->kind != FDC_X_READ) {
        sector_over(s);
        move_dma(s);
    } else if (s->dma_mode) {
        move_dma(s);
    } else {
        raise_irq(s);
    }
}

static bool start_transfer(Fdc *s, FdcTransfer kind, bool write)
{
    FloppyDrive *d;

    s->unit = s->fifo[1] & 3;
    d = drive_of(s, s->unit);
    s->h = s->fifo[1] >> 2 & 1;
    s->tc = s->deleted = false;
    s->verify_left = 0;
    s->dma_mode = !(s->specify[1] & SPECIFY_ND);
    s->multi = s->fifo[0] & OP_MT;
    if (!floppy_ready(d)) {
        finish(s, ST0_ABNORMAL, ST1_MA | ST1_ND, 0);
        return false;
    }
    if (write && block_dev_read_only(d->drive)) {
        finish(s, ST0_ABNORMAL, ST1_NW, 0);
        return false;
    }
    if (s->check_media_rate && (s->dsr & DSR_RATE) != d->rate) {
        finish(s, ST0_ABNORMAL, ST1_MA, 0);
        return false;
    }
    s->phase = FDC_EXECUTE;
    s->kind = kind;
    return true;
}

static void cmd_data(Fdc *s, FdcTransfer kind)
{
    const uint8_t *p = s->fifo;

    s->c = p[2];
    s->r = p[4];
    if (!start_transfer(s, kind, kind == FDC_X_WRITE))
        return;
    s->h = p[3] & 1;
    s->eot = p[6];
    if (p[5] != SIZE_CODE || p[3] > 1) {
        finish(s, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    if (kind == FDC_X_VERIFY && (p[1] & OP_EC))
        s->verify_left = p[8];
    start_sector(s);
    move_dma(s);
}

static void cmd_read(Fdc *s) { cmd_data(s, FDC_X_READ); }
static void cmd_write(Fdc *s) { cmd_data(s, FDC_X_WRITE); }
static void cmd_verify(Fdc *s) { cmd_data(s, FDC_X_VERIFY); }

static void cmd_read_deleted(Fdc *s)
{
    cmd_data(s, FDC_X_READ);
    if (s->phase == FDC_EXECUTE)
        s->deleted = true;
}

static void cmd_format(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->fifo[1] & 3);

    s->c = d ? d->track : 0;
    s->r = 1;
    if (!start_transfer(s, FDC_X_FORMAT, true))
        return;
    s->fmt_left = s->fifo[3];
    s->filler = s->fifo[5];
    if (s->fifo[2] != SIZE_CODE || !s->fmt_left || s->fmt_left > d->spt) {
        finish(s, ST0_ABNORMAL, ST1_ND, 0);
        return;
    }
    start_sector(s);
    move_dma(s);
}

static void cmd_read_id(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->fifo[1] & 3);

    s->c = d ? d->track : 0;
    s->r = 1;
    if (!start_transfer(s, FDC_X_NONE, false))
        return;
    if (s->h >= d->heads || s->c >= d->tracks)
        finish(s, ST0_ABNORMAL, ST1_MA | ST1_ND, 0);
    else
        finish(s, 0, 0, 0);
}

/* --- the other commands --- */

/* The arm moves; with a medium in the drive that clears the change line. */
static void move_arm(Fdc *s, unsigned unit, unsigned track)
{
    FloppyDrive *d = drive_of(s, unit);

    s->st0_seek = ST0_END | unit;
    if (d) {
        d->track = MIN(track, 85u);
        if (floppy_ready(d))
            d->changed = false;
    } else {
        s->st0_seek |= ST0_ABNORMAL | ST0_EQUIPMENT;
    }
    go_idle(s);
    raise_irq(s);
}

static void cmd_seek(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->fifo[1] & 3);

    if (d)
        d->head = s->fifo[1] >> 2 & 1;
    move_arm(s, s->fifo[1] & 3, s->fifo[2]);
}

static void cmd_relative_seek(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->fifo[1] & 3);
    int now = d ? d->track : 0, to = s->fifo[0] & 0x40 ? now + s->fifo[2] : now - s->fifo[2];

    move_arm(s, s->fifo[1] & 3, MAX(to, 0));
}

static void cmd_recalibrate(Fdc *s) { move_arm(s, s->fifo[1] & 3, 0); }

static void cmd_specify(Fdc *s)
{
    memcpy(s->specify, s->fifo + 1, 2);
    go_idle(s);
}

static void cmd_sense_drive(Fdc *s)
{
    FloppyDrive *d = drive_of(s, s->fifo[1] & 3);
    uint8_t st3 = ST3_DEFAULT | (s->fifo[1] & 7);

    if (d)
        st3 |= (d->track ? 0 : ST3_TRACK0) | (block_dev_read_only(d->drive) ? ST3_PROTECTED : 0);
    result1(s, st3);
}

static void cmd_sense_interrupt(Fdc *s)
{
    uint8_t b[2];

    lower_irq(s);
    if (s->sense_left) {
        b[0] = ST0_POLL | (4 - s->sense_left--);
    } else if (s->st0_seek != ST0_INVALID) {
        b[0] = s->st0_seek;
        s->st0_seek = ST0_INVALID;
    } else {
        result1(s, ST0_INVALID);
        return;
    }
    b[1] = drive_of(s, b[0] & 3) ? drive_of(s, b[0] & 3)->track : 0;
    results(s, b, 2);
}

static void cmd_dumpreg(Fdc *s)
{
    uint8_t b[10] = { 0 };

    for (unsigned i = 0; i < FDC_DRIVES; i++)
        b[i] = s->drive[i] ? s->drive[i]->track : 0;
    memcpy(b + 4, s->specify, 2);
    b[6] = s->eot;
    b[7] = (s->locked ? 0x80 : 0) | (s->perpendicular & 0x3f);
    b[8] = s->config;
    b[9] = s->precomp;
    results(s, b, sizeof b);
}

static void cmd_perpendicular(Fdc *s)
{
    s->perpendicular = s->fifo[1] & 0x80 ? s->fifo[1] & 0x3f : (s->perpendicular & 0x3c) | (s->fifo[1] & 3);
    go_idle(s);
}

static void cmd_configure(Fdc *s)
{
    s->config = s->fifo[2];
    s->precomp = s->fifo[3];
    go_idle(s);
}

static void cmd_lock(Fdc *s)
{
    s->locked = s->fifo[0] & 0x80;
    result1(s, s->locked ? 0x10 : 0);
}

static void cmd_save(Fdc *s)
{
    uint8_t b[16] = { 0, 0, s->dsr };

    for (unsigned i = 0; i < FDC_DRIVES; i++)
        b[3 + i] = s->drive[i] ? s->drive[i]->track : 0;
    memcpy(b + 7, s->specify, 2);
    b[9] = s->eot;
    b[10] = (s->locked ? 0x80 : 0) | s->perpendicular;
    b[11] = s->config;
    b[12] = s->precomp;
    results(s, b, sizeof b);
}

static void cmd_drive_spec(Fdc *s)
{
    static const uint8_t none[4];

    if (s->fifo[1] & 0x40)      /* "done" with results wanted */
        results(s, none, sizeof none);
    else
        go_idle(s);
}

static void cmd_version(Fdc *s) { result1(s, 0x90); }
static void cmd_part_id(Fdc *s) { result1(s, 0x41); }
static void cmd_option(Fdc *s) { go_idle(s); }

static const struct FdcCommand { uint8_t mask, op, params; void (*run)(Fdc *s); } commands[] = {
    { 0xff, 0x03, 2, cmd_specify }, { 0xff, 0x04, 1, cmd_sense_drive }, { 0x3f, 0x05, 8, cmd_write }, { 0x1f, 0x06, 8, cmd_read },
    { 0xff, 0x07, 1, cmd_recalibrate }, { 0xff, 0x08, 0, cmd_sense_interrupt }, { 0x3f, 0x09, 8, cmd_write },
    { 0xbf, 0x0a, 1, cmd_read_id }, { 0x1f, 0x0c, 8, cmd_read_deleted }, { 0xbf, 0x0d, 5, cmd_format },
    { 0xff, 0x0e, 0, cmd_dumpreg }, { 0xff, 0x0f, 2, cmd_seek }, { 0xff, 0x10, 0, cmd_version },
    { 0xff, 0x12, 1, cmd_perpendicular }, { 0xff, 0x13, 3, cmd_configure }, { 0x7f, 0x14, 0, cmd_lock },
    { 0x1f, 0x16, 8, cmd_verify }, { 0xff, 0x17, 1, cmd_option }, { 0xff, 0x18, 0, cmd_part_id }, { 0xff, 0x2e, 0, cmd_save },
    { 0xff, 0x33, 1, cmd_option }, { 0xff, 0x8e, 1, cmd_drive_spec }, { 0xbf, 0x8f, 2, cmd_relative_seek },
};

static const struct FdcCommand *command_of(uint8_t op)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if ((op & commands[i].mask) == commands[i].op)
            return &commands[i];
    }
    return NULL;
}

/* --- FIFO --- */

static void command_byte(Fdc *s, uint8_t v)
{
    const struct FdcCommand *c = s->phase == FDC_IDLE ? command_of(v) : command_of(s->fifo[0]);

    if (s->phase == FDC_IDLE) {
        if (!c) {
            log_guest("isa-fdc: unknown command %#x", v);
            result1(s, ST0_INVALID);
            return;
        }
        s->phase = FDC_COMMAND;
        s->fifo_pos = 0;
        s->fifo_len = 1 + c->params;
    }
    s->fifo[s->fifo_pos++ % FDC_PARAMS] = v;
    if (s->fifo_pos < s->fifo_len)
        return;
    trace(fdc_command, "op=%#x", s->fifo[0]);
    c->run(s);
}

static bool pio_waits(const Fdc *s, bool to_host)
{
    return s->phase == FDC_EXECUTE && !s->dma_mode && !s->io && s->pos < s->len && s->kind != FDC_X_VERIFY &&
           (s->kind == FDC_X_READ) == to_host;
}

static uint8_t fifo_read(Fdc *s)
{
    uint8_t v;

    if (pio_waits(s, true)) {
        lower_irq(s);
        v = s->buf[s->pos++];
        if (s->pos == s->len)
            sector_over(s);
        return v;
    }
    if (s->phase != FDC_RESULT)
        return 0;
    lower_irq(s);
    v = s->fifo[s->fifo_pos++ % FDC_PARAMS];
    if (s->fifo_pos >= s->fifo_len)
        go_idle(s);
    return v;
}

static void fifo_write(Fdc *s, uint8_t v)
{
    if (!(s->dor & DOR_NRESET))
        return;
    if (pio_waits(s, false)) {
        lower_irq(s);
        s->buf[s->pos++] = v;
        if (s->pos == s->len)
            store_sector(s);
    } else if (s->phase == FDC_IDLE || s->phase == FDC_COMMAND) {
        command_byte(s, v);
    }
}

/* --- registers --- */

static void cancel(Fdc *s)
{
    s->generation++;
    for (unsigned i = 0; i < FDC_DRIVES; i++) {
        if (s->drive[i] && block_dev_in_flight(s->drive[i]->drive))
            block_dev_cancel_all(s->drive[i]->drive);
    }
}

static void chip_reset(Fdc *s)
{
    cancel(s);
    go_idle(s);
    lower_irq(s);
    s->sense_left = 0;
    s->st0_seek = ST0_INVALID;
    s->tc = false;
    s->pos = s->len = 0;
    if (!s->locked) {
        s->config = 0;
        s->precomp = 0;
    }
}

static void leave_reset(Fdc *s)
{
    if (!(s->config & CONFIG_POLL_OFF)) {
        s->sense_left = 4;
        raise_irq(s);
    }
}

static void dor_write(Fdc *s, uint8_t v)
{
    uint8_t old = s->dor;

    s->dor = v;
    if (!(v & DOR_NRESET))
        chip_reset(s);
    else if (!(old & DOR_NRESET))
        leave_reset(s);
    update(s);
}

static uint8_t msr_read(const Fdc *s)
{
    switch (s->phase) {
    case FDC_IDLE: return s->dor & DOR_NRESET ? MSR_RQM : 0;
    case FDC_COMMAND: return MSR_RQM | MSR_BUSY;
    case FDC_RESULT: return MSR_RQM | MSR_DIO | MSR_BUSY;
    default:
        return MSR_BUSY | (s->dma_mode ? 0 : MSR_NDMA) | (pio_waits(s, true) ? MSR_RQM | MSR_DIO : 0) |
               (pio_waits(s, false) ? MSR_RQM : 0);
    }
}

static uint8_t dir_read(const Fdc *s)
{
    unsigned n = s->dor & DOR_SEL;
    const FloppyDrive *d = drive_of(s, n);

    return d && (s->dor & DOR_MOTOR_A << n) && d->changed ? DIR_CHANGE : 0;
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size)
{
    Fdc *s = opaque;

    switch (off) {
    case R_SRA: return s->int_pending ? 0x80 : 0;
    case R_SRB: return 0xc0 | (s->dor >> 4 & 3) | (s->dor & 1) << 5;
    case R_DOR: return s->dor;
    case R_TDR: return s->tdr;
    case R_MSR: return msr_read(s);
    default: return fifo_read(s);
    }
}

static void low_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Fdc *s = opaque;

    switch (off) {
    case R_DOR: dor_write(s, val); break;
    case R_TDR: s->tdr = val & 3; break;
    case R_MSR:                 /* data rate select */
        s->dsr = val & ~DSR_SWRESET;
        if (val & DSR_SWRESET) {
            chip_reset(s);
            leave_reset(s);
        }
        break;
    case R_FIFO: fifo_write(s, val); break;
    }
}

static uint64_t high_read(void *opaque, uint64_t off, unsigned size) { return dir_read(opaque); }

static void high_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Fdc *s = opaque;

    s->dsr = (s->dsr & ~DSR_RATE) | (val & DSR_RATE);
}

static const IoOps low_ops = { low_read, low_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };
static const IoOps high_ops = { high_read, high_write, .min = 1, .max = 1 };

/* --- the device --- */

void fdc_medium_changed(FloppyDrive *d)
{
    Fdc *s = d->fdc;

    if (s->phase != FDC_EXECUTE || s->unit != d->unit)
        return;
    cancel(s);
    finish(s, ST0_ABNORMAL | ST0_NOT_READY, ST1_MA, 0);
}

unsigned fdc_cmos_type(Device *dev, unsigned unit)
{
    static const uint8_t cmos[] = { [FD_TYPE_120] = 2, [FD_TYPE_144] = 4, [FD_TYPE_288] = 5, [FD_TYPE_NONE] = 0, [FD_TYPE_AUTO] = 4 };
    const FloppyDrive *d = dev ? drive_of(container_of(dev, Fdc, dev), unit) : NULL;

    return d ? cmos[d->type] : 0;
}

static bool bus_attach(Bus *bus, Device *dev, GError **err)
{
    Fdc *s = bus->impl;
    FloppyDrive *d = container_of(dev, FloppyDrive, dev);

    if (d->unit == UINT32_MAX)
        d->unit = s->drive[0] ? 1 : 0;
    if (d->unit >= FDC_DRIVES)
        return err_set(err, "floppy: unit=%u: the controller has units 0 and 1", d->unit);
    if (s->drive[d->unit])
        return err_set(err, "floppy: unit %u of %s is taken", d->unit, bus->name);
    s->drive[d->unit] = d;
    d->fdc = s;
    return true;
}

static void bus_detach(Bus *bus, Device *dev)
{
    Fdc *s = bus->impl;
    FloppyDrive *d = container_of(dev, FloppyDrive, dev);

    if (s->drive[d->unit] == d)
        s->drive[d->unit] = NULL;
}

static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    Fdc *s = opaque;
    FloppyDrive *d = drive_of(s, s->unit);

    /* A loaded state whose sector was on its way. */
    if (ev == EVENT_RESUME && s->io && !(d && block_dev_in_flight(d->drive)))
        start_io(s);
}

static bool fdc_realize(Device *dev, GError **err)
{
    Fdc *s = container_of(dev, Fdc, dev);
    IsaBus *isa = isa_bus(dev->machine);

    if (s->dma_no > 3)
        return err_set(err, "isa-fdc: dma=%u: a channel for bytes is 0 to 3", s->dma_no);
    if (s->fallback == FD_TYPE_AUTO)
        return err_set(err, "isa-fdc: fallback= needs 120, 144, 288 or none");
    if (!isa_claim_irq(dev, &s->irq, s->irq_no, err) ||
        !isa_attach_pio(dev, &s->low, "fdc", &low_ops, s->iobase, LOW_PORTS, err) ||
        !isa_attach_pio(dev, &s->high, "fdc-dir", &high_ops, s->iobase + HIGH_PORT, 1, err))
        return false;
    s->bus = bus_new(BUS_FLOPPY, "floppy-bus.0", dev, dev->machine);
    s->bus->impl = s;
    s->bus->attach = bus_attach;
    s->bus->detach = bus_detach;
    if (isa->dma)
        isa_dma_listen(isa->dma, s->dma_no, move_dma, s);
    machine_listen(dev->machine, machine_event, s);
    return true;
}

static void fdc_unrealize(Device *dev)
{
    Fdc *s = container_of(dev, Fdc, dev);

    machine_unlisten(dev->machine, machine_event, s);
    if (isa_bus(dev->machine)->dma)
        isa_dma_listen(isa_bus(dev->machine)->dma, s->dma_no, NULL, NULL);
}

static void fdc_reset(Device *dev)
{
    Fdc *s = container_of(dev, Fdc, dev);

    s->locked = false;
    chip_reset(s);
    s->dor = DOR_NRESET | DOR_DMAEN;
    s->tdr = 0;
    s->dsr = 2;
    memset(s->specify, 0, sizeof s->specify);
    memset(s->fifo, 0, sizeof s->fifo);
    memset(s->buf, 0, sizeof s->buf);
    s->perpendicular = s->unit = s->c = s->h = s->r = s->eot = 0;
    s->multi = s->dma_mode = s->deleted = false;
    s->fmt_left = s->filler = s->verify_left = 0;
    update(s);
}

static bool fdc_loaded(void *opaque, GError **err)
{
    Fdc *s = opaque;

    if (s->phase >= FDC_PHASES || s->kind >= FDC_X_KINDS || s->fifo_pos > s->fifo_len || s->pos > s->len || s->h > 1 ||
        (s->phase == FDC_COMMAND && (!command_of(s->fifo[0]) || s->fifo_len != 1 + command_of(s->fifo[0])->params ||
                                     s->fifo_pos >= s->fifo_len)))
        return err_set(err, "isa-fdc: impossible state");
    update(s);
    return true;
}

static const char *const fallback_names[] = { "120", "144", "288", "none", "auto", NULL };
#define NAMED(text, field, k, d, ...) { .name = text, .kind = k, .offset = offsetof(Fdc, field), \
        .size = sizeof(((Fdc *)0)->field), .def = d, __VA_ARGS__ }

const DeviceClass isa_fdc_class = {
    .name = "isa-fdc", .desc = "floppy disk controller", .category = DEVCAT_STORAGE, .bus = BUS_ISA, .size = sizeof(Fdc),
    .no_hotplug = true, .realize = fdc_realize, .unrealize = fdc_unrealize, .reset = fdc_reset,
    .props = (const PropDesc[]) {
        PROP_U32(Fdc, iobase, 0x3f0, "first port"),
        NAMED("irq", irq_no, PROP_UINT_, 6, .help = "ISA interrupt line"),
        NAMED("dma", dma_no, PROP_UINT_, 2, .help = "ISA DMA channel"),
        NAMED("fallback", fallback, PROP_ENUM_, FD_TYPE_288, .values = fallback_names,
              .help = "type of a drive that starts without a medium that tells"),
        PROP_BOOL(Fdc, check_media_rate, 1, "a wrong data rate finds no sectors, as on hardware"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = fdc_loaded,
        .fields = (const StateField[]) {
            STATE_U8(Fdc, dor), STATE_U8(Fdc, tdr), STATE_U8(Fdc, dsr), STATE_U8(Fdc, phase), STATE_BUF(Fdc, fifo),
            STATE_UMAX(Fdc, fifo_pos, FDC_PARAMS), STATE_UMAX(Fdc, fifo_len, FDC_PARAMS), STATE_B(Fdc, int_pending),
            STATE_UMAX(Fdc, sense_left, 4), STATE_U8(Fdc, st0_seek), STATE_BUF(Fdc, specify), STATE_U8(Fdc, config),
            STATE_U8(Fdc, precomp), STATE_U8(Fdc, perpendicular), STATE_B(Fdc, locked), STATE_U8(Fdc, kind),
            STATE_UMAX(Fdc, unit, 3), STATE_U8(Fdc, c), STATE_U8(Fdc, h), STATE_U8(Fdc, r), STATE_U8(Fdc, eot),
            STATE_B(Fdc, multi), STATE_B(Fdc, dma_mode), STATE_B(Fdc, deleted), STATE_B(Fdc, io), STATE_U8(Fdc, fmt_left),
            STATE_U8(Fdc, filler), STATE_U8(Fdc, verify_left), STATE_BUF(Fdc, buf), STATE_UMAX(Fdc, pos, FD_SECTOR),
            STATE_UMAX(Fdc, len, FD_SECTOR), STATE_B(Fdc, tc), STATE_END } },
};
