/* atapi_cmd: packet commands: identification, sense and reads here, the rest by the shared MMC set. */
#include "hw/ide/ide_int.h"

#include <string.h>

static void illegal(IdeDrive *d) { atapi_error(d, SENSE_ILLEGAL, ASC_INVALID_FIELD, 0); }

static void request_sense(IdeDrive *d)
{
    uint8_t *b = d->buf;

    memset(b, 0, 18);
    b[0] = 0x70;
    b[2] = d->sense_key;
    b[7] = 10;
    b[12] = d->asc;
    b[13] = d->ascq;
    if (d->sense_key == SENSE_ATTENTION)
        d->cd_changed = 0;
    d->sense_key = d->asc = d->ascq = 0;
    atapi_reply(d, 18, d->packet[4]);
}

static void padded(uint8_t *to, const char *s, unsigned len)
{
    memset(to, ' ', len);
    memcpy(to, s, MIN(strlen(s), len));
}

static void inquiry_vpd(IdeDrive *d)
{
    uint8_t *b = d->buf;
    unsigned n = 4;

    memset(b, 0, 64);
    b[0] = 5;
    b[1] = d->packet[2];
    switch (d->packet[2]) {
    case 0x00: b[n++] = 0; b[n++] = 0x83; break;
    case 0x83:
        b[n] = 2;               /* ASCII, vendor specific */
        b[n + 3] = 20;
        padded(b + n + 4, d->serial, 20);
        n += 24;
        break;
    default: illegal(d); return;
    }
    b[3] = n - 4;
    atapi_reply(d, n, ld16_be(d->packet + 3));
}

static void inquiry(IdeDrive *d)
{
    uint8_t *b = d->buf;

    if (d->packet[1] & 1) {
        inquiry_vpd(d);
        return;
    }
    if (d->packet[2]) {
        illegal(d);
        return;
    }
    memset(b, 0, 36);
    b[0] = 5;                   /* CD/DVD */
    b[1] = 0x80;                /* removable */
    b[3] = 0x21;
    b[4] = 31;
    padded(b + 8, "QUERN", 8);
    padded(b + 16, d->model, 16);
    padded(b + 32, d->ver, 4);
    atapi_reply(d, 36, ld16_be(d->packet + 3));
}

static void read10(IdeDrive *d)
{
    atapi_read(d, ld32_be(d->packet + 2), ld16_be(d->packet + 7), IDE_CD_SECTOR);
}

static void read12(IdeDrive *d)
{
    atapi_read(d, ld32_be(d->packet + 2), ld32_be(d->packet + 6), IDE_CD_SECTOR);
}

static void read_cd(IdeDrive *d)
{
    uint32_t n = d->packet[6] << 16 | ld16_be(d->packet + 7);

    switch (d->packet[9] & 0xf8) {
    case 0x00: atapi_ok(d); break;
    case 0x10: atapi_read(d, ld32_be(d->packet + 2), n, IDE_CD_SECTOR); break;
    case 0xf8: atapi_read(d, ld32_be(d->packet + 2), n, 2352); break;
    default: illegal(d);
    }
}

static const struct {
    uint8_t opcode;
    bool reads;
    void (*run)(IdeDrive *d);
} commands[] = {
    { 0x03, false, request_sense }, { 0x12, false, inquiry }, { 0x28, true, read10 }, { 0xa8, true, read12 }, { 0xbe, true, read_cd },
};

/* A new medium is told once, to the next command that would look at it (unit attention). */
static bool attention(IdeDrive *d, bool looks)
{
    if (!looks || !d->cd_changed || !mmc_has_disc(&d->mmc))
        return false;
    d->cd_changed = 0;
    atapi_error(d, SENSE_ATTENTION, ASC_CHANGED, 0);
    return true;
}

static bool own_command(IdeDrive *d)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].opcode != d->packet[0])
            continue;
        if (commands[i].reads && !mmc_has_disc(&d->mmc))
            atapi_error(d, SENSE_NOT_READY, ASC_NO_MEDIUM, d->mmc.tray_open ? 2 : 1);
        else if (!attention(d, commands[i].reads))
            commands[i].run(d);
        return true;
    }
    return false;
}

static bool looks_at_medium(uint8_t op)
{
    return op == 0x00 || op == 0x25 || op == 0x2b || op == 0x43 || op == 0x51 || op == 0xad;
}

void atapi_packet(IdeDrive *d)
{
    MmcReply r;

    d->cd_sector_size = 0;
    d->pio_taken = 0;
    trace(atapi_packet, "unit=%u op=%#x", d->unit, d->packet[0]);
    if (own_command(d) || attention(d, looks_at_medium(d->packet[0])))
        return;
    if (!mmc_command(&d->mmc, d->packet, &r)) {
        log_guest("%s: unknown packet command %#x", d->dev.cls->name, d->packet[0]);
        atapi_error(d, SENSE_ILLEGAL, ASC_INVALID_OPCODE, 0);
        return;
    }
    if (r.loaded)
        atapi_media_changed(d, true);
    if (r.key) {
        atapi_error(d, r.key, r.asc, r.ascq);
        return;
    }
    memcpy(d->buf, r.buf, r.len);
    atapi_reply(d, r.len, r.allowed);
}
