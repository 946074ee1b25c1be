/* scsi: the bus: who sits where, replies and sense, commands to LUNs that are not there. */
#include "hw/scsi/scsi_int.h"

#include <string.h>

unsigned scsi_cdb_len(uint8_t op)
{
    static const uint8_t by_group[8] = { 6, 10, 10, 0, 16, 12, 0, 0 };

    return by_group[op >> 5];
}

void scsi_sense(ScsiReq *r, uint8_t key, uint8_t asc, uint8_t ascq)
{
    r->status = SCSI_CHECK_CONDITION;
    memset(r->sense, 0, sizeof r->sense);
    r->sense[0] = 0x70;
    r->sense[2] = key;
    r->sense[7] = SCSI_SENSE_LEN - 8;
    r->sense[12] = asc;
    r->sense[13] = ascq;
}

void scsi_fail(ScsiReq *r, uint8_t key, uint8_t asc, uint8_t ascq)
{
    scsi_sense(r, key, asc, ascq);
    r->done(r);
}

void scsi_ok(ScsiReq *r)
{
    r->status = SCSI_GOOD;
    r->done(r);
}

void scsi_reply(ScsiReq *r, const void *buf, size_t len, size_t allowed)
{
    len = MIN(MIN(len, allowed), r->data_len);
    r->moved += iov_from_buf(r->data, r->ndata, 0, buf, len);
    scsi_ok(r);
}

void scsi_enter(ScsiBus *b)
{
    if (b->context)
        b->context->enter(b->context->opaque);
}

void scsi_leave(ScsiBus *b)
{
    if (b->context)
        b->context->leave(b->context->opaque);
}

void scsi_bus_add(ScsiDisk *d)
{
    ScsiDisk **p = &d->scsi->live;

    scsi_enter(d->scsi);
    if (d->scsi->context && scsi_is_fixed(d))
        block_dev_set_context(d->drive, d->scsi->context);
    while (*p)
        p = &(*p)->next_live;
    d->next_live = NULL;
    *p = d;
    scsi_leave(d->scsi);
}

void scsi_bus_remove(ScsiDisk *d)
{
    ScsiDisk **p = &d->scsi->live;

    scsi_enter(d->scsi);
    while (*p && *p != d)
        p = &(*p)->next_live;
    if (*p)
        *p = d->next_live;
    block_dev_cancel_all(d->drive);
    block_dev_set_context(d->drive, NULL);
    scsi_leave(d->scsi);
}

ScsiDisk *scsi_find(ScsiBus *b, unsigned target, unsigned lun)
{
    ScsiDisk *d = b->live;

    while (d && (d->target != target || d->lun != lun))
        d = d->next_live;
    return d;
}

void scsi_report_luns(ScsiBus *b, unsigned target, ScsiReq *r)
{
    g_autofree uint8_t *buf = NULL;
    unsigned n = 0, all = 1;    /* with the LUN 0 that is always told */
    bool zero = false;

    if (r->cdb[2] > 2 || ld32_be(r->cdb + 6) < 16) {
        scsi_fail(r, KEY_ILLEGAL, 0x24, 0);
        return;
    }
    for (const ScsiDisk *d = b->live; d; d = d->next_live)
        all++;
    buf = g_malloc0(8 + 8 * all);
    for (const ScsiDisk *d = b->live; d; d = d->next_live) {
        if (d->target != target)
            continue;
        zero |= !d->lun;
        if (d->lun < 256)
            buf[8 + 8 * n + 1] = d->lun;
        else
            st16_be(buf + 8 + 8 * n, 0x4000 | d->lun);  /* flat addressing */
        n++;
    }
    if (!zero)
        n++;                    /* LUN 0 answers always; its entry may come last */
    st32_be(buf, 8 * n);
    scsi_reply(r, buf, 8 + 8 * n, ld32_be(r->cdb + 6));
}

void scsi_submit_absent(ScsiBus *b, unsigned target, ScsiReq *r)
{
    uint8_t buf[36] = { 0x7f, 0, 5, 2, 31 };

    switch (r->cdb[0]) {
    case 0x12:
        scsi_reply(r, buf, sizeof buf, ld16_be(r->cdb + 3));
        break;
    case 0xa0:
        scsi_report_luns(b, target, r);
        break;
    default:
        scsi_fail(r, KEY_ILLEGAL, 0x25, 0);     /* logical unit not supported */
    }
}

/* Also one that is still being made. */
static bool taken(const ScsiBus *b, unsigned target, unsigned lun, const ScsiDisk *self)
{
    for (guint i = 0; i < b->bus->children->len; i++) {
        const ScsiDisk *d = container_of((Device *)b->bus->children->pdata[i], ScsiDisk, dev);

        if (d != self && d->target == target && d->lun == lun)
            return true;
    }
    return false;
}

static bool attach(Bus *bus, Device *dev, GError **err)
{
    ScsiBus *b = bus->impl;
    ScsiDisk *d = container_of(dev, ScsiDisk, dev);

    if (d->channel)
        return err_set(err, "%s: channel=%u: this adapter has channel 0", dev->cls->name, d->channel);
    if (d->target == UINT32_MAX) {
        d->target = 0;
        while (d->target < b->max_target && taken(b, d->target, d->lun, d))
            d->target++;
    }
    if (d->target > b->max_target || d->lun > b->max_lun)
        return err_set(err, "%s: scsi-id=%u, lun=%u: at most %u and %u", dev->cls->name, d->target, d->lun,
                       b->max_target, b->max_lun);
    if (taken(b, d->target, d->lun, d))
        return err_set(err, "%s: scsi-id=%u, lun=%u is taken", dev->cls->name, d->target, d->lun);
    d->scsi = b;
    return true;
}

void scsi_bus_init(ScsiBus *b, Device *owner, const char *name)
{
    b->bus = bus_new(BUS_SCSI, name, owner, owner->machine);
    b->bus->impl = b;
    b->bus->attach = attach;
    b->bus->hotplug = true;
}
