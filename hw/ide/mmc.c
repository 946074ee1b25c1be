/* mmc: the SCSI commands of a CD/DVD drive (MMC-5, SPC-3), by table. */
#include "hw/ide/ide_int.h"

#include <string.h>

enum { NEEDS_DISC = 1, REPORTS_ATTENTION = 2 };
enum { PROFILE_NONE = 0, PROFILE_CDROM = 0x08, PROFILE_DVDROM = 0x10, CD_MAX_SECTORS = 80 * 60 * 75 };

static bool has_disc(const IdeDrive *d)
{
    return !d->tray_open && block_dev_has_medium(d->drive);
}

static uint64_t cd_sectors(const IdeDrive *d) { return d->nb_sectors / 4; }
static bool is_dvd(const IdeDrive *d) { return cd_sectors(d) > CD_MAX_SECTORS; }
static void illegal(IdeDrive *d) { atapi_error(d, SENSE_ILLEGAL, ASC_INVALID_FIELD, 0); }

static void msf(uint8_t *p, uint64_t lba)
{
    lba += 150;
    p[0] = 0;
    p[1] = lba / 75 / 60;
    p[2] = lba / 75 % 60;
    p[3] = lba % 75;
}

static void test_unit_ready(IdeDrive *d) { atapi_ok(d); }

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

static void start_stop(IdeDrive *d)
{
    bool start = d->packet[4] & 1, eject = d->packet[4] & 2;

    if (eject) {
        if (!start && d->tray_locked && !d->tray_open) {
            atapi_error(d, has_disc(d) ? SENSE_ILLEGAL : SENSE_NOT_READY, ASC_LOCKED, 2);
            return;
        }
        if (d->tray_open != !start) {
            d->tray_open = !start;
            block_dev_guest_tray(d->drive, d->tray_open);
            if (start && block_dev_has_medium(d->drive))
                atapi_media_changed(d, true);
        }
    }
    atapi_ok(d);
}

static void prevent_removal(IdeDrive *d)
{
    d->tray_locked = d->packet[4] & 1;
    atapi_ok(d);
}

static void read_capacity(IdeDrive *d)
{
    st32_be(d->buf, MIN(cd_sectors(d) - 1, 0xffffffffULL));
    st32_be(d->buf + 4, IDE_CD_SECTOR);
    atapi_reply(d, 8, 8);
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

static void seek(IdeDrive *d)
{
    if (ld32_be(d->packet + 2) >= cd_sectors(d))
        atapi_error(d, SENSE_ILLEGAL, ASC_LBA, 0);
    else
        atapi_ok(d);
}

static uint8_t *toc_entry(uint8_t *p, bool as_msf, uint8_t track, uint64_t lba)
{
    p[0] = 0;
    p[1] = 0x14;                /* data track */
    p[2] = track;
    p[3] = 0;
    if (as_msf)
        msf(p + 4, lba);
    else
        st32_be(p + 4, lba);
    return p + 8;
}

/* Full TOC (format 2): lead-in descriptors A0 (first track), A1 (last), A2 (lead-out), track 1. */
static unsigned full_toc(IdeDrive *d, bool as_msf)
{
    static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };
    uint8_t *p = d->buf + 4;

    d->buf[2] = d->buf[3] = 1;
    for (size_t i = 0; i < sizeof points; i++, p += 11) {
        memset(p, 0, 11);
        p[0] = 1;
        p[1] = 0x14;
        p[3] = points[i];
        if (points[i] <= 0xa1 && points[i] >= 0xa0)
            p[8] = 1;
        else if (as_msf)
            msf(p + 7, points[i] == 1 ? 0 : cd_sectors(d));
        else
            st32_be(p + 7, points[i] == 1 ? 0 : cd_sectors(d));
    }
    return p - d->buf;
}

static void read_toc(IdeDrive *d)
{
    bool as_msf = d->packet[1] & 2;
    unsigned format = d->packet[2] & 15, start = d->packet[6], len;
    uint8_t *p = d->buf;

    if (!format)
        format = d->packet[9] >> 6;
    memset(p, 0, 64);
    switch (format) {
    case 0:
        if (start > 1 && start != 0xaa) {
            illegal(d);
            return;
        }
        p[2] = p[3] = 1;
        p += 4;
        if (start <= 1)
            p = toc_entry(p, as_msf, 1, 0);
        p = toc_entry(p, as_msf, 0xaa, cd_sectors(d));
        len = p - d->buf;
        break;
    case 1:
        p[2] = p[3] = 1;
        toc_entry(p + 4, as_msf, 1, 0);
        len = 12;
        break;
    case 2: len = full_toc(d, as_msf); break;
    default: illegal(d); return;
    }
    st16_be(d->buf, len - 2);
    atapi_reply(d, len, ld16_be(d->packet + 7));
}

static void disc_information(IdeDrive *d)
{
    uint8_t *b = d->buf;

    if (d->packet[1] & 7) {
        illegal(d);
        return;
    }
    memset(b, 0, 34);
    b[1] = 32;
    b[2] = 0x0e;                /* complete, finalized */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20;
    atapi_reply(d, 34, ld16_be(d->packet + 7));
}

static uint8_t *feature(uint8_t *p, uint16_t code, uint8_t flags, const uint8_t *data, uint8_t len)
{
    st16_be(p, code);
    p[2] = flags;               /* version, persistent, current */
    p[3] = len;
    memcpy(p + 4, data, len);
    return p + 4 + len;
}

static void get_configuration(IdeDrive *d)
{
    static const uint8_t core[] = { 0, 0, 0, 1, 0, 0, 0, 0 }, removable[] = { 0x29, 0, 0, 0 };
    unsigned profile = !has_disc(d) ? PROFILE_NONE : is_dvd(d) ? PROFILE_DVDROM : PROFILE_CDROM;
    uint8_t profiles[] = { 0, PROFILE_DVDROM, profile == PROFILE_DVDROM, 0, 0, PROFILE_CDROM, profile == PROFILE_CDROM, 0 };
    uint8_t *p = d->buf + 8;

    if ((d->packet[1] & 3) == 3) {
        illegal(d);
        return;
    }
    memset(d->buf, 0, 64);
    st16_be(d->buf + 6, profile);
    p = feature(p, 0, 3, profiles, sizeof profiles);
    p = feature(p, 1, 0x0b, core, sizeof core);
    p = feature(p, 3, 3, removable, sizeof removable);
    st32_be(d->buf, p - d->buf - 4);
    atapi_reply(d, p - d->buf, ld16_be(d->packet + 7));
}

static void event_status(IdeDrive *d)
{
    enum { POLLED = 1, CLASS_MEDIA = 4, EVENT_NEW = 2, EVENT_EJECT = 1 };
    uint8_t *b = d->buf;
    unsigned len = 4;

    if (!(d->packet[1] & POLLED)) {     /* asynchronous operation is not supported */
        illegal(d);
        return;
    }
    memset(b, 0, 8);
    b[3] = 1 << CLASS_MEDIA;
    if (d->packet[4] & 1 << CLASS_MEDIA) {
        b[2] = CLASS_MEDIA;
        b[4] = d->media_event ? EVENT_NEW : d->eject_event ? EVENT_EJECT : 0;
        b[5] = (d->tray_open ? 1 : 0) | (has_disc(d) ? 2 : 0);
        d->media_event = d->eject_event = false;
        len = 8;
    } else {
        b[2] = 0x80;
    }
    st16_be(b, len - 2);
    atapi_reply(d, len, ld16_be(d->packet + 7));
}

static unsigned mode_page(IdeDrive *d, uint8_t *p, unsigned page)
{
    switch (page) {
    case 0x01:                  /* error recovery */
        p[0] = 1; p[1] = 6; p[3] = 5;
        return 8;
    case 0x0e:                  /* audio control */
        p[0] = 0x0e; p[1] = 14; p[2] = 4;
        return 16;
    case 0x2a:                  /* capabilities */
        p[0] = 0x2a; p[1] = 18;
        p[2] = 0x3b;            /* reads CD-R, CD-RW, DVD-ROM, DVD-R */
        p[4] = 0x70;
        p[5] = 3;
        p[6] = 0x29 | (d->tray_locked ? 2 : 0);
        st16_be(p + 8, 706 * 16);
        st16_be(p + 10, 2);
        st16_be(p + 12, 512);
        st16_be(p + 14, 706 * 16);
        return 20;
    default: return 0;
    }
}

static void mode_sense(IdeDrive *d)
{
    static const uint8_t pages[] = { 0x01, 0x0e, 0x2a };
    unsigned control = d->packet[2] >> 6, page = d->packet[2] & 0x3f, len = 8;

    if (control == 3) {
        atapi_error(d, SENSE_ILLEGAL, 0x39, 0);
        return;
    }
    memset(d->buf, 0, 128);
    if (page == 0x3f) {
        for (size_t i = 0; i < sizeof pages; i++)
            len += mode_page(d, d->buf + len, pages[i]);
    } else {
        len += mode_page(d, d->buf + len, page);
    }
    if (len == 8) {
        illegal(d);
        return;
    }
    st16_be(d->buf, len - 2);
    d->buf[2] = has_disc(d) ? 0x01 : 0x70;
    atapi_reply(d, len, ld16_be(d->packet + 7));
}

static void mechanism_status(IdeDrive *d)
{
    memset(d->buf, 0, 8);
    d->buf[5] = 1;
    atapi_reply(d, 8, ld16_be(d->packet + 8));
}

static void read_dvd_structure(IdeDrive *d)
{
    uint8_t *b = d->buf;

    if (!is_dvd(d)) {
        atapi_error(d, SENSE_ILLEGAL, ASC_WRONG_MODE, 0);
        return;
    }
    memset(b, 0, 2052);
    switch (d->packet[7]) {
    case 0:                     /* physical format, layer 0 */
        if (d->packet[6]) {
            illegal(d);
            return;
        }
        b[4] = 1;
        b[5] = 0x0f;
        b[6] = 1;
        st32_be(b + 8, 0x30000);
        st32_be(b + 12, 0x30000 + cd_sectors(d) - 1);
        st16_be(b, 2050);
        atapi_reply(d, 2052, ld16_be(d->packet + 8));
        return;
    case 1:                     /* copyright: none */
        st16_be(b, 6);
        atapi_reply(d, 8, ld16_be(d->packet + 8));
        return;
    default: illegal(d);
    }
}

static const struct {
    uint8_t opcode, flags;
    void (*run)(IdeDrive *d);
} commands[] = {
    { 0x00, NEEDS_DISC | REPORTS_ATTENTION, test_unit_ready }, { 0x03, 0, request_sense }, { 0x12, 0, inquiry },
    { 0x1b, 0, start_stop }, { 0x1e, 0, prevent_removal }, { 0x25, NEEDS_DISC | REPORTS_ATTENTION, read_capacity },
    { 0x28, NEEDS_DISC | REPORTS_ATTENTION, read10 }, { 0x2b, NEEDS_DISC | REPORTS_ATTENTION, seek },
    { 0x43, NEEDS_DISC | REPORTS_ATTENTION, read_toc }, { 0x46, 0, get_configuration }, { 0x4a, 0, event_status },
    { 0x51, NEEDS_DISC | REPORTS_ATTENTION, disc_information }, { 0x5a, 0, mode_sense },
    { 0xa8, NEEDS_DISC | REPORTS_ATTENTION, read12 }, { 0xad, NEEDS_DISC | REPORTS_ATTENTION, read_dvd_structure },
    { 0xbb, 0, test_unit_ready }, { 0xbd, 0, mechanism_status }, { 0xbe, NEEDS_DISC | REPORTS_ATTENTION, read_cd },
};

void atapi_packet(IdeDrive *d)
{
    d->cd_sector_size = 0;
    d->pio_taken = 0;
    trace(atapi_packet, "unit=%u op=%#x", d->unit, d->packet[0]);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].opcode != d->packet[0])
            continue;
        if ((commands[i].flags & REPORTS_ATTENTION) && d->cd_changed && has_disc(d)) {
            d->cd_changed = 0;
            atapi_error(d, SENSE_ATTENTION, ASC_CHANGED, 0);
        } else if ((commands[i].flags & NEEDS_DISC) && !has_disc(d)) {
            atapi_error(d, SENSE_NOT_READY, ASC_NO_MEDIUM, d->tray_open ? 2 : 1);
        } else {
            commands[i].run(d);
        }
        return;
    }
    log_guest("%s: unknown packet command %#x", d->dev.cls->name, d->packet[0]);
    atapi_error(d, SENSE_ILLEGAL, ASC_INVALID_OPCODE, 0);
}
