/* ata_cmd: the ATA command set by table, per drive kind. */
#include "hw/ide/ide_int.h"

#include <string.h>

enum { FOR_HD = 1, FOR_CD = 2, FOR_BOTH = 3 };
typedef struct AtaCommand {
    uint8_t opcode, kinds;
    bool lba48;
    void (*run)(IdeDrive *d);
} AtaCommand;

/* Reads address and count of the task file into sector and nsectors; false: impossible CHS. */
static bool get_address(IdeDrive *d, bool lba48)
{
    d->lba48 = lba48;
    if (lba48) {
        d->sector = 0;
        for (int i = 0; i < 3; i++)
            d->sector |= (uint64_t)d->lba[i][0] << (8 * i) | (uint64_t)d->lba[i][1] << (8 * i + 24);
        d->nsectors = d->count[0] | d->count[1] << 8;
        d->nsectors = d->nsectors ? d->nsectors : 65536;
        return true;
    }
    d->nsectors = d->count[0] ? d->count[0] : 256;
    if (d->select & DEV_LBA) {
        d->sector = d->lba[0][0] | d->lba[1][0] << 8 | d->lba[2][0] << 16 | (d->select & 15) << 24;
        return true;
    }
    if (!d->lba[0][0] || d->lba[0][0] > d->sectors || (d->select & 15) >= d->heads)
        return false;
    d->sector = ((uint64_t)(d->lba[1][0] | d->lba[2][0] << 8) * d->heads + (d->select & 15)) * d->sectors +
                d->lba[0][0] - 1;
    return true;
}

static void cmd_nop(IdeDrive *d)
{
    ide_abort(d);
}

static void cmd_ok(IdeDrive *d)
{
    ide_done(d);
}

static void cmd_read(IdeDrive *d)
{
    d->block_sectors = 1;
    ata_read_pio(d);
}

static void cmd_write(IdeDrive *d)
{
    d->block_sectors = 1;
    ata_write_pio_start(d);
}

static void cmd_read_multiple(IdeDrive *d)
{
    d->block_sectors = d->multiple;
    if (d->multiple)
        ata_read_pio(d);
    else
        ide_abort(d);
}

static void cmd_write_multiple(IdeDrive *d)
{
    d->block_sectors = d->multiple;
    if (d->multiple)
        ata_write_pio_start(d);
    else
        ide_abort(d);
}

static void cmd_read_dma(IdeDrive *d) { ata_dma_start(d, IDE_DMA_READ); }
static void cmd_write_dma(IdeDrive *d) { ata_dma_start(d, IDE_DMA_WRITE); }

static void cmd_dsm(IdeDrive *d)
{
    enum { TRIM = 1 };

    if (d->feature[0] != TRIM || !block_conf_discard(&d->conf, d->drive)) {
        ide_abort(d);
        return;
    }
    d->nsectors = MIN(d->nsectors, IDE_BUF / IDE_SECTOR);
    ata_dma_start(d, IDE_DMA_TRIM);
}

static void cmd_identify(IdeDrive *d)
{
    if (d->kind == IDE_CD) {    /* a packet device answers with its signature and an error */
        ide_signature(d);
        ide_abort(d);
        return;
    }
    ata_identify(d);
    ide_pio_start(d, IDE_SECTOR, XFER_DATA_IN);
    ide_set_irq(d);
}

static void cmd_identify_packet(IdeDrive *d)
{
    ata_identify_packet(d);
    ide_pio_start(d, IDE_SECTOR, XFER_DATA_IN);
    ide_set_irq(d);
}

static void cmd_set_multiple(IdeDrive *d)
{
    uint8_t n = d->count[0];

    if (n > 16 || (n & (n - 1))) {
        ide_abort(d);
        return;
    }
    d->multiple = n;
    ide_done(d);
}

/* INITIALIZE DEVICE PARAMETERS: the translation CHS addresses use from now on. */
static void cmd_init_params(IdeDrive *d)
{
    if (!d->count[0]) {
        ide_abort(d);
        return;
    }
    d->sectors = d->count[0];
    d->heads = (d->select & 15) + 1;
    ide_done(d);
}

static void cmd_native_max(IdeDrive *d)
{
    uint64_t max = d->nb_sectors - 1;

    if (!d->lba48)
        max = MIN(max, (1ULL << 28) - 1);
    for (int i = 0; i < 3; i++) {
        d->lba[i][0] = max >> (8 * i);
        d->lba[i][1] = d->lba48 ? max >> (8 * i + 24) : 0;
    }
    if (!d->lba48)
        d->select = (d->select & 0xf0) | (max >> 24 & 15);
    ide_done(d);
}

static void cmd_check_power(IdeDrive *d)
{
    d->count[0] = 0xff;         /* active or idle */
    ide_done(d);
}

static void cmd_device_reset(IdeDrive *d)
{
    ide_drive_reset(d);
    d->select = 0xa0 | (d->unit ? DEV_UNIT : 0);
}

static const AtaCommand commands[] = {
    { 0x00, FOR_BOTH, false, cmd_nop },
    { 0x06, FOR_HD, true, cmd_dsm },
    { 0x08, FOR_CD, false, cmd_device_reset },
    { 0x10, FOR_HD, false, cmd_ok },                /* RECALIBRATE */
    { 0x20, FOR_HD, false, cmd_read }, { 0x21, FOR_HD, false, cmd_read },
    { 0x24, FOR_HD, true, cmd_read }, { 0x25, FOR_HD, true, cmd_read_dma },
    { 0x27, FOR_HD, true, cmd_native_max }, { 0x2f, FOR_HD, true, ata_read_log }, { 0x29, FOR_HD, true, cmd_read_multiple },
    { 0x30, FOR_HD, false, cmd_write }, { 0x31, FOR_HD, false, cmd_write },
    { 0x34, FOR_HD, true, cmd_write }, { 0x35, FOR_HD, true, cmd_write_dma },
    { 0x39, FOR_HD, true, cmd_write_multiple }, { 0x3c, FOR_HD, false, cmd_write },
    { 0x40, FOR_HD, false, ata_verify }, { 0x41, FOR_HD, false, ata_verify }, { 0x42, FOR_HD, true, ata_verify },
    { 0x70, FOR_HD, false, cmd_ok },                /* SEEK */
    { 0x91, FOR_HD, false, cmd_init_params },
    { 0xa0, FOR_CD, false, atapi_start }, { 0xa1, FOR_CD, false, cmd_identify_packet },
    { 0xb0, FOR_HD, false, ata_smart },
    { 0xc4, FOR_HD, false, cmd_read_multiple }, { 0xc5, FOR_HD, false, cmd_write_multiple },
    { 0xc6, FOR_HD, false, cmd_set_multiple },
    { 0xc8, FOR_HD, false, cmd_read_dma }, { 0xc9, FOR_HD, false, cmd_read_dma },
    { 0xca, FOR_HD, false, cmd_write_dma }, { 0xcb, FOR_HD, false, cmd_write_dma },
    { 0xe0, FOR_BOTH, false, cmd_ok }, { 0xe1, FOR_BOTH, false, cmd_ok },   /* STANDBY, IDLE IMMEDIATE */
    { 0xe2, FOR_HD, false, cmd_ok }, { 0xe3, FOR_HD, false, cmd_ok },
    { 0xe5, FOR_BOTH, false, cmd_check_power }, { 0xe6, FOR_BOTH, false, cmd_ok },
    { 0xe7, FOR_HD, false, ata_flush }, { 0xea, FOR_HD, true, ata_flush },
    { 0xec, FOR_BOTH, false, cmd_identify }, { 0xef, FOR_BOTH, false, ata_set_features },
    { 0xf8, FOR_HD, false, cmd_native_max },
};

static bool uses_address(uint8_t op)
{
    return (op >= 0x20 && op <= 0x42 && op != 0x2f) || (op >= 0xc4 && op <= 0xcb && op != 0xc6) || op == 0xf8 || op == 0x06;
}

void ata_command(IdeDrive *d, uint8_t op)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const AtaCommand *c = &commands[i];

        if (c->opcode != op || !(c->kinds & (d->kind == IDE_CD ? FOR_CD : FOR_HD)))
            continue;
        d->error = 0;
        d->lba48 = c->lba48;
        if (uses_address(op) && !get_address(d, c->lba48)) {
            ide_fail(d, ER_IDNF);
            return;
        }
        c->run(d);
        return;
    }
    log_guest("%s: unknown ATA command %#x", d->dev.cls->name, op);
    ide_abort(d);
}

void ata_set_features(IdeDrive *d)
{
    switch (d->feature[0]) {
    case 0x02:
        block_dev_set_wce(d->drive, d->wce = true);
        ide_done(d);
        break;
    case 0x82:                  /* cache off: what was cached must be durable first */
        block_dev_set_wce(d->drive, d->wce = false);
        if (d->kind == IDE_HD)
            ata_flush(d);
        else
            ide_done(d);
        break;
    case 0x03:
        if (d->count[0] >> 3 > 8) {
            ide_abort(d);
            break;
        }
        d->dma_mode = d->count[0];
        ide_done(d);
        break;
    case 0x05: case 0x85: case 0x55: case 0xaa: case 0x66: case 0xcc: case 0x69: case 0x67: case 0x96: case 0x9a:
    case 0x42: case 0xc2:       /* power management, look-ahead, acoustics: accepted, nothing to change */
        ide_done(d);
        break;
    default:
        ide_abort(d);
    }
}

/* SMART (ATA-6 8.41): read data and thresholds, status, enable, autosave, self-test, logs. */
enum { SMART_READ_DATA = 0xd0, SMART_READ_THRESHOLDS = 0xd1, SMART_AUTOSAVE = 0xd2, SMART_OFFLINE = 0xd4,
       SMART_READ_LOG = 0xd5, SMART_ENABLE = 0xd8, SMART_DISABLE = 0xd9, SMART_STATUS = 0xda };

static const struct { uint8_t id, flags, value, raw; uint8_t threshold; } smart_attributes[] = {
    { 1, 0x03, 100, 0, 6 }, { 3, 0x03, 100, 16, 0 }, { 4, 0x02, 100, 100, 20 }, { 5, 0x03, 100, 0, 36 },
    { 9, 0x03, 100, 1, 0 }, { 12, 0x03, 100, 0, 0 }, { 190, 0x03, 69, 31, 50 },
};

static void smart_checksum(uint8_t *b)
{
    uint8_t sum = 0;

    for (int i = 0; i < IDE_SECTOR - 1; i++)
        sum += b[i];
    b[IDE_SECTOR - 1] = -sum;
}

static void smart_page(IdeDrive *d, bool thresholds)
{
    uint8_t *b = d->buf;

    memset(b, 0, IDE_SECTOR);
    b[0] = 1;
    for (size_t i = 0; i < ARRAY_LEN(smart_attributes); i++) {
        uint8_t *a = b + 2 + 12 * i;

        a[0] = smart_attributes[i].id;
        if (thresholds) {
            a[1] = smart_attributes[i].threshold;
            continue;
        }
        a[1] = smart_attributes[i].flags;
        a[3] = a[4] = smart_attributes[i].value;
        a[5] = smart_attributes[i].raw;
    }
    if (!thresholds) {
        b[362] = 2;             /* off-line collection was done */
        st16_le(b + 364, 288);
        b[367] = 0x1b;
        st16_le(b + 368, 3);
        b[370] = 1;
        b[372] = 2;
        b[373] = 54;
    }
    smart_checksum(b);
    ide_pio_start(d, IDE_SECTOR, XFER_DATA_IN);
    ide_set_irq(d);
}

static void smart_log(IdeDrive *d)
{
    uint8_t log = d->lba[0][0];

    memset(d->buf, 0, IDE_SECTOR);
    switch (log) {
    case 0: d->buf[0] = 1; d->buf[2] = d->buf[12] = 1; break;
    case 1: d->buf[0] = 1; smart_checksum(d->buf); break;
    case 6: d->buf[0] = 1; smart_checksum(d->buf); break;
    default:
        ide_abort(d);
        return;
    }
    ide_pio_start(d, IDE_SECTOR, XFER_DATA_IN);
    ide_set_irq(d);
}

void ata_smart(IdeDrive *d)
{
    if (d->lba[1][0] != 0x4f || d->lba[2][0] != 0xc2 || (!d->smart_on && d->feature[0] != SMART_ENABLE)) {
        ide_abort(d);
        return;
    }
    switch (d->feature[0]) {
    case SMART_READ_DATA: smart_page(d, false); break;
    case SMART_READ_THRESHOLDS: smart_page(d, true); break;
    case SMART_READ_LOG: smart_log(d); break;
    case SMART_ENABLE: d->smart_on = true; ide_done(d); break;
    case SMART_DISABLE: d->smart_on = false; ide_done(d); break;
    case SMART_STATUS: case SMART_AUTOSAVE: case SMART_OFFLINE: ide_done(d); break;  /* healthy: 4f c2 stay */
    default: ide_abort(d);
    }
}
