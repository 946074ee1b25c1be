/* cdrom: the MMC commands of scsi-cd: table of contents, configuration, events, tray. */
#include "hw/scsi/scsi_int.h"

#include <string.h>

static void msf_or_lba(uint8_t *p, bool msf, uint64_t lba)
{
    if (!msf) {
        st32_be(p, lba);
        return;
    }
    lba += 150;
    p[0] = 0;
    p[1] = lba / 75 / 60;
    p[2] = lba / 75 % 60;
    p[3] = lba % 75;
}

static void read_toc(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    bool msf = r->cdb[1] & 2;
    unsigned format = r->cdb[2] & 15, start = r->cdb[6], n = 4;
    uint8_t b[64] = { 0, 0, 1, 1 };

    if (format > 1 || (format == 0 && start > 1 && start != 0xaa)) {
        scsi_illegal_field(r);
        return;
    }
    if (format == 1 || start <= 1) {
        b[n + 1] = 0x14;
        b[n + 2] = 1;
        msf_or_lba(b + n + 4, msf, 0);
        n += 8;
    }
    if (format == 0) {
        b[n + 1] = 0x14;
        b[n + 2] = 0xaa;
        msf_or_lba(b + n + 4, msf, d->blocks);
        n += 8;
    }
    st16_be(b, n - 2);
    scsi_reply(r, b, n, ld16_be(r->cdb + 7));
}

static void get_configuration(ScsiReq *r)
{
    enum { CD_MAX = 80 * 60 * 75 };
    ScsiDisk *d = r->disk;
    bool disc = block_dev_has_medium(d->drive) && !d->tray_open, dvd = disc && d->blocks > CD_MAX;
    uint8_t b[40] = { 0 };

    st32_be(b, 36);
    st16_be(b + 6, !disc ? 0 : dvd ? 0x10 : 8);
    b[10] = 3;
    b[11] = 8;
    st16_be(b + 12, 0x10);
    b[14] = dvd;
    st16_be(b + 16, 8);
    b[18] = disc && !dvd;
    st16_be(b + 20, 1);
    b[22] = 0x0b;
    b[23] = 8;
    b[27] = 1;
    b[28] = 1;
    st16_be(b + 32, 3);
    b[34] = 3;
    b[35] = 4;
    b[36] = 0x39;
    scsi_reply(r, b, sizeof b, ld16_be(r->cdb + 7));
}

static void event_status(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t b[8] = { 0, 6, 4, 1 << 4, d->media_event, (d->tray_open ? 1 : 0) |
                     (block_dev_has_medium(d->drive) && !d->tray_open ? 2 : 0) };

    if (!(r->cdb[1] & 1)) {
        scsi_illegal_field(r);
        return;
    }
    if (!(r->cdb[4] & 1 << 4)) {
        b[1] = 2;
        b[2] = 0x80;
        scsi_reply(r, b, 4, ld16_be(r->cdb + 7));
        return;
    }
    d->media_event = 0;
    scsi_reply(r, b, sizeof b, ld16_be(r->cdb + 7));
}

static void disc_information(ScsiReq *r)
{
    uint8_t b[34] = { 0, 32, 0x0e, 1, 1, 1, 1, 0x20 };

    if (r->cdb[1] & 7)
        scsi_illegal_field(r);
    else
        scsi_reply(r, b, sizeof b, ld16_be(r->cdb + 7));
}

bool scsi_cd_command(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t mech[8] = { 0, 0, 0, 0, 0, 1 };
    bool disc = block_dev_has_medium(d->drive) && !d->tray_open;

    switch (r->cdb[0]) {
    case 0x43: case 0x51:
        if (!disc)
            scsi_fail(r, KEY_NOT_READY, 0x3a, 0);
        else if (r->cdb[0] == 0x43)
            read_toc(r);
        else
            disc_information(r);
        return true;
    case 0x46: get_configuration(r); return true;
    case 0x4a: event_status(r); return true;
    case 0xbd: scsi_reply(r, mech, sizeof mech, ld16_be(r->cdb + 8)); return true;
    case 0xbb: scsi_ok(r); return true;
    default: return false;
    }
}
