/* inquiry: what a SCSI disk says of itself: INQUIRY and its pages, MODE SENSE and SELECT. */
#include "hw/scsi/scsi_int.h"

#include <string.h>

enum { TYPE_DISK = 0, TYPE_CD = 5, UNMAP_BLOCKS_MAX = 4 * 1024 * 1024 };

static void padded(uint8_t *to, const char *s, unsigned len)
{
    memset(to, ' ', len);
    memcpy(to, s, MIN(strlen(s), len));
}

static unsigned vpd_list(const ScsiDisk *d, uint8_t *b)
{
    static const uint8_t disk[] = { 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2 }, cd[] = { 0x00, 0x80, 0x83 };
    const uint8_t *p = d->cd ? cd : disk;
    unsigned n = d->cd ? sizeof cd : sizeof disk, k = 0;

    for (unsigned i = 0; i < n; i++) {
        if (p[i] != 0x80 || *d->serial)
            b[4 + k++] = p[i];
    }
    return 4 + k;
}

static unsigned vpd_ids(const ScsiDisk *d, uint8_t *b)
{
    const char *id = d->device_id && *d->device_id ? d->device_id : d->serial;
    unsigned n = MIN(strlen(id), (size_t)64), at = 4;

    if (n) {
        b[at] = 2;              /* ASCII, vendor specific */
        b[at + 3] = n;
        memcpy(b + at + 4, id, n);
        at += 4 + n;
    }
    if (d->wwn) {
        b[at] = 1;
        b[at + 1] = 3;          /* binary, NAA */
        b[at + 3] = 8;
        st64_be(b + at + 4, d->wwn);
        at += 12;
    }
    return at;
}

static unsigned vpd(const ScsiDisk *d, uint8_t page, uint8_t *b)
{
    switch (page) {
    case 0x00: return vpd_list(d, b);
    case 0x80:
        if (!*d->serial)
            return 0;
        memcpy(b + 4, d->serial, MIN(strlen(d->serial), (size_t)36));
        return 4 + MIN(strlen(d->serial), (size_t)36);
    case 0x83: return vpd_ids(d, b);
    case 0xb0:                  /* block limits */
        st16_be(b + 6, d->conf.min_io_size / d->block);
        st32_be(b + 8, UNMAP_BLOCKS_MAX);
        st32_be(b + 12, d->conf.opt_io_size / d->block);
        st32_be(b + 20, UNMAP_BLOCKS_MAX);
        st32_be(b + 24, 255);
        st32_be(b + 28, block_conf_granularity(&d->conf, d->block));
        st64_be(b + 36, UNMAP_BLOCKS_MAX);
        return d->cd ? 0 : 64;
    case 0xb1:
        st16_be(b + 4, d->rotation_rate);
        return d->cd ? 0 : 64;
    case 0xb2:                  /* logical block provisioning */
        b[5] = block_conf_discard(&d->conf, d->drive) ? 0xe0 : 0;
        b[6] = block_conf_discard(&d->conf, d->drive) ? 2 : 0;
        return d->cd ? 0 : 8;
    default: return 0;
    }
}

void scsi_inquiry(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t b[256] = { 0 };
    unsigned n = 36;

    b[0] = d->cd ? TYPE_CD : TYPE_DISK;
    if (r->cdb[1] & 1) {
        b[1] = r->cdb[2];
        n = vpd(d, r->cdb[2], b);
        if (!n) {
            scsi_illegal_field(r);
            return;
        }
        st16_be(b + 2, n - 4);
    } else if (r->cdb[2]) {
        scsi_illegal_field(r);
        return;
    } else {
        b[1] = d->removable || d->cd ? 0x80 : 0;
        b[2] = 5;
        b[3] = 0x12;
        b[4] = 31;
        b[7] = 2;               /* command queueing */
        padded(b + 8, d->vendor, 8);
        padded(b + 16, d->product, 16);
        padded(b + 32, d->ver, 4);
    }
    scsi_reply(r, b, n, ld16_be(r->cdb + 3));
}

static unsigned mode_page(const ScsiDisk *d, uint8_t page, bool changeable, uint8_t *p)
{
    unsigned n;

    switch (page) {
    case 0x01:
        p[0] = 1;
        p[1] = 10;
        if (!changeable)
            p[2] = 0x80;
        return 12;
    case 0x08:                  /* caching */
        if (d->cd)
            return 0;
        p[0] = 8;
        p[1] = 18;
        if (changeable || d->wce)
            p[2] = 4;
        return 20;
    case 0x2a:
        if (!d->cd)
            return 0;
        n = mmc_mode_page(&d->mmc, page, p);
        if (changeable)
            memset(p + 2, 0, n - 2);
        return n;
    default: return 0;
    }
}

void scsi_mode_sense(ScsiReq *r, bool ten)
{
    static const uint8_t pages[] = { 0x01, 0x08, 0x2a };
    ScsiDisk *d = r->disk;
    uint8_t b[256] = { 0 }, page = r->cdb[2] & 0x3f, control = r->cdb[2] >> 6;
    unsigned head = ten ? 8 : 4, n = head, start;

    if (control == 3) {
        scsi_fail(r, KEY_ILLEGAL, 0x39, 0);
        return;
    }
    b[ten ? 3 : 2] = d->cd ? 0 : (block_dev_read_only(d->drive) ? 0x80 : 0) | (d->dpofua ? 0x10 : 0);
    if (!(r->cdb[1] & 8) && !d->cd) {   /* one block descriptor */
        b[ten ? 7 : 3] = 8;
        st32_be(b + n, MIN(d->blocks, 0xffffffu));
        b[n] = 0;
        st32_be(b + n + 4, d->block);
        b[n + 4] = 0;
        n += 8;
    }
    start = n;
    for (size_t i = 0; i < sizeof pages; i++) {
        if (page == 0x3f || page == pages[i])
            n += mode_page(d, pages[i], control == 1, b + n);
    }
    if (n == start) {
        scsi_illegal_field(r);
        return;
    }
    if (ten)
        st16_be(b, n - 2);
    else
        b[0] = n - 1;
    scsi_reply(r, b, n, ten ? ld16_be(r->cdb + 7) : r->cdb[4]);
}

/* Only the write cache bit of page 8 may change. */
void scsi_mode_select(ScsiReq *r, bool ten)
{
    ScsiDisk *d = r->disk;
    uint8_t b[256] = { 0 };
    size_t len = MIN(MIN((size_t)(ten ? ld16_be(r->cdb + 7) : r->cdb[4]), r->data_len), sizeof b), p;

    iov_to_buf(r->data, r->ndata, 0, b, len);
    r->moved = len;
    p = ten ? 8 + ld16_be(b + 6) : 4 + b[3];
    while (p + 2 <= len) {
        unsigned page = b[p] & 0x3f, plen = b[p + 1];

        if (p + 2 + plen > len || (b[p] & 0x40)) {
            scsi_fail(r, KEY_ILLEGAL, 0x26, 0);
            return;
        }
        if (page == 8 && plen >= 1 && !d->cd) {
            d->wce = b[p + 2] & 4;
            block_dev_set_wce(d->drive, d->wce);
        }
        p += 2 + plen;
    }
    scsi_ok(r);
}
