/*
 * mmc: tray, table of contents, configuration and events of a CD/DVD drive, by table.
 */
#include "hw/block/mmc.h"

#include "util/bytes.h"

#include <string.h>

enum { NEEDS_DISC = 1 };
enum { ASC_LBA = 0x21, ASC_FIELD = 0x24, ASC_SAVING = 0x39, ASC_NO_MEDIUM = 0x3a, ASC_LOCKED = 0x53, ASC_WRONG_MODE = 0x6f };
enum { EVENT_EJECT = 1, EVENT_NEW = 2, EVENT_GONE = 3 };
enum { PROFILE_NONE = 0, PROFILE_CDROM = 0x08, PROFILE_DVDROM = 0x10, CD_MAX_SECTORS = 80 * 60 * 75 };

bool mmc_has_disc(const MmcCd *d)
{
    return !d->tray_open && block_dev_has_medium(d->drive);
}

uint64_t mmc_sectors(const MmcCd *d) { return block_dev_size(d->drive) / MMC_SECTOR; }
static bool is_dvd(const MmcCd *d) { return mmc_sectors(d) > CD_MAX_SECTORS; }

static void fail(MmcReply *r, uint8_t key, uint8_t asc, uint8_t ascq)
{
    r->key = key;
    r->asc = asc;
    r->ascq = ascq;
    r->len = 0;
}

static void illegal(MmcReply *r) { fail(r, MMC_KEY_ILLEGAL, ASC_FIELD, 0); }

static void reply(MmcReply *r, uint32_t len, uint32_t allowed)
{
    r->len = len;
    r->allowed = allowed;
}

static void put_address(uint8_t *p, bool as_msf, uint64_t lba)
{
    if (!as_msf) {
        st32_be(p, lba);
        return;
    }
    lba += 150;
    p[0] = 0;
    p[1] = lba / 75 / 60;
    p[2] = lba / 75 % 60;
    p[3] = lba % 75;
}

static void test_unit_ready(MmcCd *d, const uint8_t *c, MmcReply *r) {}

static void start_stop(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    bool start = c[4] & 1, eject = c[4] & 2;

    if (!eject)
        return;
    if (!start && d->tray_locked && !d->tray_open) {
        fail(r, mmc_has_disc(d) ? MMC_KEY_ILLEGAL : MMC_KEY_NOT_READY, ASC_LOCKED, 2);
        return;
    }
    if (d->tray_open == !start)
        return;
    d->tray_open = !start;
    block_dev_guest_tray(d->drive, d->tray_open);
    if (start && block_dev_has_medium(d->drive)) {
        d->event = EVENT_NEW;
        r->loaded = true;
    }
}

static void prevent_removal(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    d->tray_locked = c[4] & 1;
}

static void read_capacity(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    st32_be(r->buf, MIN(mmc_sectors(d) - 1, 0xffffffffULL));
    st32_be(r->buf + 4, MMC_SECTOR);
    reply(r, 8, 8);
}

static void seek(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    if (ld32_be(c + 2) >= mmc_sectors(d))
        fail(r, MMC_KEY_ILLEGAL, ASC_LBA, 0);
}

static uint8_t *toc_entry(uint8_t *p, bool as_msf, uint8_t track, uint64_t lba)
{
    p[1] = 0x14;                /* data track */
    p[2] = track;
    put_address(p + 4, as_msf, lba);
    return p + 8;
}

/* Full TOC (format 2): lead-in descriptors A0 (first track), A1 (last), A2 (lead-out), track 1. */
static uint8_t *full_toc(const MmcCd *d, uint8_t *p, bool as_msf)
{
    static const uint8_t points[] = { 0xa0, 0xa1, 0xa2, 1 };

    for (size_t i = 0; i < sizeof points; i++, p += 11) {
        p[0] = 1;
        p[1] = 0x14;
        p[3] = points[i];
        if (points[i] == 0xa0 || points[i] == 0xa1)
            p[8] = 1;
        else
            put_address(p + 7, as_msf, points[i] == 1 ? 0 : mmc_sectors(d));
    }
    return p;
}

static void read_toc(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    bool as_msf = c[1] & 2;
    unsigned format = c[2] & 15 ? c[2] & 15 : c[9] >> 6, start = c[6];
    uint8_t *p = r->buf + 4;

    if (format > 2 || (format == 0 && start > 1 && start != 0xaa)) {
        illegal(r);
        return;
    }
    r->buf[2] = r->buf[3] = 1;
    if (format == 2)
        p = full_toc(d, p, as_msf);
    else if (format == 1 || start <= 1)
        p = toc_entry(p, as_msf, 1, 0);
    if (format == 0)
        p = toc_entry(p, as_msf, 0xaa, mmc_sectors(d));
    st16_be(r->buf, p - r->buf - 2);
    reply(r, p - r->buf, ld16_be(c + 7));
}

static void disc_information(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    uint8_t *b = r->buf;

    if (c[1] & 7) {
        illegal(r);
        return;
    }
    b[1] = 32;
    b[2] = 0x0e;                /* complete, finalized */
    b[3] = b[4] = b[5] = b[6] = 1;
    b[7] = 0x20;
    reply(r, 34, ld16_be(c + 7));
}

static uint8_t *feature(uint8_t *p, uint16_t code, uint8_t flags, const uint8_t *data, uint8_t len)
{
    st16_be(p, code);
    p[2] = flags;               /* version, persistent, current */
    p[3] = len;
    memcpy(p + 4, data, len);
    return p + 4 + len;
}

static void get_configuration(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    static const uint8_t core[] = { 0, 0, 0, 1, 0, 0, 0, 0 }, removable[] = { 0x29, 0, 0, 0 };
    unsigned profile = !mmc_has_disc(d) ? PROFILE_NONE : is_dvd(d) ? PROFILE_DVDROM : PROFILE_CDROM;
    uint8_t profiles[] = { 0, PROFILE_DVDROM, profile == PROFILE_DVDROM, 0, 0, PROFILE_CDROM, profile == PROFILE_CDROM, 0 };
    uint8_t *p = r->buf + 8;

    if ((c[1] & 3) == 3) {
        illegal(r);
        return;
    }
    st16_be(r->buf + 6, profile);
    p = feature(p, 0, 3, profiles, sizeof profiles);
    p = feature(p, 1, 0x0b, core, sizeof core);
    p = feature(p, 3, 3, removable, sizeof removable);
    st32_be(r->buf, p - r->buf - 4);
    reply(r, p - r->buf, ld16_be(c + 7));
}

static void event_status(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    enum { POLLED = 1, CLASS_MEDIA = 4, NO_EVENT = 0x80 };
    uint8_t *b = r->buf;
    unsigned len = 4;

    if (!(c[1] & POLLED)) {     /* asynchronous operation is not supported */
        illegal(r);
        return;
    }
    b[2] = NO_EVENT;
    b[3] = 1 << CLASS_MEDIA;
    if (c[4] & 1 << CLASS_MEDIA) {
        b[2] = CLASS_MEDIA;
        b[4] = d->event;
        b[5] = (d->tray_open ? 1 : 0) | (mmc_has_disc(d) ? 2 : 0);
        d->event = 0;
        len = 8;
    }
    st16_be(b, len - 2);
    reply(r, len, ld16_be(c + 7));
}

unsigned mmc_mode_page(const MmcCd *d, unsigned page, uint8_t *p)
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

static void mode_sense(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    static const uint8_t pages[] = { 0x01, 0x0e, 0x2a };
    unsigned page = c[2] & 0x3f, len = 8;

    if (c[2] >> 6 == 3) {
        fail(r, MMC_KEY_ILLEGAL, ASC_SAVING, 0);
        return;
    }
    for (size_t i = 0; i < sizeof pages; i++) {
        if (page == 0x3f || page == pages[i])
            len += mmc_mode_page(d, pages[i], r->buf + len);
    }
    if (len == 8) {
        illegal(r);
        return;
    }
    st16_be(r->buf, len - 2);
    r->buf[2] = mmc_has_disc(d) ? 0x01 : 0x70;
    reply(r, len, ld16_be(c + 7));
}

static void mechanism_status(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    r->buf[5] = 1;
    reply(r, 8, ld16_be(c + 8));
}

static void read_dvd_structure(MmcCd *d, const uint8_t *c, MmcReply *r)
{
    uint8_t *b = r->buf;

    if (!is_dvd(d)) {
        fail(r, MMC_KEY_ILLEGAL, ASC_WRONG_MODE, 0);
    } else if (c[7] == 0 && !c[6]) {    /* physical format, layer 0 */
        b[4] = 1;
        b[5] = 0x0f;
        b[6] = 1;
        st32_be(b + 8, 0x30000);
        st32_be(b + 12, 0x30000 + mmc_sectors(d) - 1);
        st16_be(b, 2050);
        reply(r, 2052, ld16_be(c + 8));
    } else if (c[7] == 1) {     /* copyright: none */
        st16_be(b, 6);
        reply(r, 8, ld16_be(c + 8));
    } else {
        illegal(r);
    }
}

static const struct {
    uint8_t opcode, flags;
    void (*run)(MmcCd *d, const uint8_t *cdb, MmcReply *r);
} commands[] = {
    { 0x00, NEEDS_DISC, test_unit_ready }, { 0x1b, 0, start_stop }, { 0x1e, 0, prevent_removal },
    { 0x25, NEEDS_DISC, read_capacity }, { 0x2b, NEEDS_DISC, seek }, { 0x43, NEEDS_DISC, read_toc }, { 0x46, 0, get_configuration },
    { 0x4a, 0, event_status }, { 0x51, NEEDS_DISC, disc_information }, { 0x5a, 0, mode_sense },
    { 0xad, NEEDS_DISC, read_dvd_structure }, { 0xbb, 0, test_unit_ready }, { 0xbd, 0, mechanism_status },
};

bool mmc_command(MmcCd *d, const uint8_t *cdb, MmcReply *r)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].opcode != cdb[0])
            continue;
        memset(r, 0, sizeof *r);
        if ((commands[i].flags & NEEDS_DISC) && !mmc_has_disc(d))
            fail(r, MMC_KEY_NOT_READY, ASC_NO_MEDIUM, d->tray_open ? 2 : 1);
        else
            commands[i].run(d, cdb, r);
        return true;
    }
    return false;
}

void mmc_reset(MmcCd *d)
{
    d->tray_locked = false;
    d->event = 0;
}

void mmc_media_changed(MmcCd *d, bool load)
{
    d->tray_open = !load && d->tray_open;
    d->event = load ? EVENT_NEW : EVENT_GONE;
}

void mmc_eject_request(MmcCd *d, bool force)
{
    d->event = EVENT_EJECT;
    if (force)
        d->tray_locked = false;
}

const StateDesc mmc_state = {
    .name = "mmc", .version = 1,
    .fields = (const StateField[]) {
        STATE_B(MmcCd, tray_open), STATE_B(MmcCd, tray_locked), STATE_UMAX(MmcCd, event, EVENT_GONE), STATE_END },
};
