/*
 * disk: scsi-hd and scsi-cd: command dispatch, medium and tray, properties, state.
 */
#include "hw/scsi/scsi_int.h"

#include <string.h>

bool scsi_illegal_field(ScsiReq *r)
{
    scsi_fail(r, KEY_ILLEGAL, 0x24, 0);
    return false;
}

static bool has_medium(const ScsiDisk *d)
{
    return !d->mmc.tray_open && block_dev_has_medium(d->drive);
}

static void geometry(ScsiDisk *d)
{
    d->block = d->cd ? 2048 : d->logical_block_size;
    d->blocks = block_dev_size(d->drive) / d->block;
}

static void request_sense(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t b[SCSI_SENSE_LEN] = { 0x70, 0, 0, 0, 0, 0, 0, SCSI_SENSE_LEN - 8 };

    if (d->unit_attention) {
        b[2] = KEY_ATTENTION;
        b[12] = d->unit_attention;
        b[13] = d->attention_ascq;
        d->unit_attention = 0;
    }
    scsi_reply(r, b, sizeof b, r->cdb[4]);
}

static void read_capacity10(ScsiReq *r)
{
    uint8_t b[8];

    st32_be(b, MIN(r->disk->blocks - 1, 0xffffffffULL));
    st32_be(b + 4, r->disk->block);
    scsi_reply(r, b, sizeof b, sizeof b);
}

static void read_capacity16(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t b[32] = { 0 };
    unsigned exp = 0;

    if ((r->cdb[1] & 31) != 0x10) {
        scsi_fail(r, KEY_ILLEGAL, 0x20, 0);
        return;
    }
    while ((d->block << exp) < d->physical_block_size && exp < 15)
        exp++;
    st64_be(b, d->blocks - 1);
    st32_be(b + 8, d->block);
    b[13] = exp;
    b[14] = block_conf_discard(&d->conf, d->drive) && !d->cd ? 0x80 : 0;
    scsi_reply(r, b, sizeof b, ld32_be(r->cdb + 10));
}

static void start_stop(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    bool start = r->cdb[4] & 1, eject = r->cdb[4] & 2;

    if (eject && (d->cd || d->removable)) {
        if (!start && d->mmc.tray_locked && !d->mmc.tray_open) {
            scsi_fail(r, KEY_ILLEGAL, 0x53, 2);
            return;
        }
        if (d->mmc.tray_open == start) {
            d->mmc.tray_open = !start;
            block_dev_guest_tray(d->drive, d->mmc.tray_open);
            geometry(d);
        }
    }
    scsi_ok(r);
}

/* READ and WRITE of 6, 10, 12 and 16 bytes: address and count are where the group says. */
static void read_write(ScsiReq *r)
{
    const uint8_t *c = r->cdb;
    bool write = (c[0] & 0x1f) == 0x0a || c[0] == 0x2e || c[0] == 0x8e || c[0] == 0xae;
    bool fua = c[0] >> 5 && (c[1] & 8);

    switch (c[0] >> 5) {
    case 0: scsi_rw(r, write, (c[1] & 0x1f) << 16 | ld16_be(c + 2), c[4] ? c[4] : 256, false); break;
    case 1: scsi_rw(r, write, ld32_be(c + 2), ld16_be(c + 7), fua); break;
    case 5: scsi_rw(r, write, ld32_be(c + 2), ld32_be(c + 6), fua); break;
    default: scsi_rw(r, write, ld64_be(c + 2), ld32_be(c + 10), fua); break;
    }
}

static void verify(ScsiReq *r)
{
    bool sixteen = r->cdb[0] == 0x8f;
    uint64_t lba = sixteen ? ld64_be(r->cdb + 2) : ld32_be(r->cdb + 2);
    uint64_t n = sixteen ? ld32_be(r->cdb + 10) : ld16_be(r->cdb + 7);

    if (r->cdb[1] & 6)
        scsi_illegal_field(r);
    else if (!range_ok(lba, n, r->disk->blocks))
        scsi_fail(r, KEY_ILLEGAL, 0x21, 0);
    else
        scsi_ok(r);
}

static void prevent(ScsiReq *r)
{
    r->disk->mmc.tray_locked = r->cdb[4] & 1;
    scsi_ok(r);
}

static void write_same10(ScsiReq *r) { scsi_write_same(r, ld32_be(r->cdb + 2), ld16_be(r->cdb + 7)); }
static void write_same16(ScsiReq *r) { scsi_write_same(r, ld64_be(r->cdb + 2), ld32_be(r->cdb + 10)); }
static void mode_sense6(ScsiReq *r) { scsi_mode_sense(r, false); }
static void mode_sense10(ScsiReq *r) { scsi_mode_sense(r, true); }
static void mode_select6(ScsiReq *r) { scsi_mode_select(r, false); }
static void mode_select10(ScsiReq *r) { scsi_mode_select(r, true); }
static void report_luns(ScsiReq *r) { scsi_report_luns(r->disk->scsi, r->disk->target, r); }

enum { MEDIUM = 1, QUIET = 2, HD_ONLY = 4 };     /* QUIET: a unit attention does not stop it */
static const struct { uint8_t op, flags; void (*run)(ScsiReq *r); } commands[] = {
    { 0x00, MEDIUM, scsi_ok }, { 0x03, QUIET, request_sense }, { 0x08, MEDIUM, read_write }, { 0x0a, MEDIUM | HD_ONLY, read_write },
    { 0x12, QUIET, scsi_inquiry }, { 0x15, 0, mode_select6 }, { 0x1a, 0, mode_sense6 }, { 0x1b, 0, start_stop }, { 0x1e, 0, prevent },
    { 0x25, MEDIUM, read_capacity10 }, { 0x28, MEDIUM, read_write }, { 0x2a, MEDIUM | HD_ONLY, read_write },
    { 0x2b, MEDIUM, scsi_ok }, { 0x2f, MEDIUM, verify }, { 0x35, MEDIUM | HD_ONLY, scsi_flush },
    { 0x41, MEDIUM | HD_ONLY, write_same10 }, { 0x42, MEDIUM | HD_ONLY, scsi_unmap }, { 0x55, 0, mode_select10 },
    { 0x5a, 0, mode_sense10 }, { 0x88, MEDIUM, read_write }, { 0x8a, MEDIUM | HD_ONLY, read_write }, { 0x8f, MEDIUM, verify },
    { 0x91, MEDIUM | HD_ONLY, scsi_flush }, { 0x93, MEDIUM | HD_ONLY, write_same16 }, { 0x9e, MEDIUM, read_capacity16 },
    { 0xa0, QUIET, report_luns }, { 0xa8, MEDIUM, read_write }, { 0xaa, MEDIUM | HD_ONLY, read_write },
};

/* What a CD drive answers itself; the rest is common to all disks. */
static bool cd_command(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    MmcReply m;

    if (!mmc_command(&d->mmc, r->cdb, &m))
        return false;
    if (m.loaded)
        geometry(d);
    if (m.key)
        scsi_fail(r, m.key, m.asc, m.ascq);
    else
        scsi_reply(r, m.buf, m.len, m.allowed);
    return true;
}

void scsi_submit(ScsiReq *r)
{
    ScsiDisk *d = r->disk;
    uint8_t op = r->cdb[0];

    r->moved = 0;
    r->iov = NULL;
    r->buf = NULL;
    trace(scsi_command, "target=%u lun=%u op=%#x", d->target, d->lun, op);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (commands[i].op != op || ((commands[i].flags & HD_ONLY) && d->cd))
            continue;
        if (d->unit_attention && !(commands[i].flags & QUIET)) {
            scsi_sense(r, KEY_ATTENTION, d->unit_attention, d->attention_ascq);
            d->unit_attention = 0;
            r->done(r);
        } else if ((commands[i].flags & MEDIUM) && !has_medium(d)) {
            scsi_fail(r, KEY_NOT_READY, 0x3a, d->mmc.tray_open ? 2 : 1);
        } else if (!d->cd || !cd_command(r)) {
            commands[i].run(r);
        }
        return;
    }
    if (d->cd && cd_command(r))
        return;
    log_guest("%s: unknown SCSI command %#x", d->dev.cls->name, op);
    scsi_fail(r, KEY_ILLEGAL, 0x20, 0);
}

void scsi_cancel_all(ScsiDisk *d)
{
    if (block_dev_in_flight(d->drive))
        block_dev_cancel_all(d->drive);
}

static void media_changed(void *opaque, bool load)
{
    ScsiDisk *d = opaque;

    geometry(d);
    mmc_media_changed(&d->mmc, load);
    d->unit_attention = load ? 0x28 : 0x3a;
    d->attention_ascq = 0;
}

static void eject_request(void *opaque, bool force) { mmc_eject_request(&((ScsiDisk *)opaque)->mmc, force); }
static bool tray_open(void *opaque) { return ((ScsiDisk *)opaque)->mmc.tray_open; }
static bool medium_locked(void *opaque) { return ((ScsiDisk *)opaque)->mmc.tray_locked; }

static void resized(void *opaque)
{
    ScsiDisk *d = opaque;

    scsi_enter(d->scsi);
    geometry(d);
    d->unit_attention = 0x2a;   /* capacity data has changed */
    d->attention_ascq = 9;
    scsi_leave(d->scsi);
}

static const BlockDevOps drive_ops = { media_changed, eject_request, tray_open, medium_locked, resized };

static void default_text(char **s, const char *text)
{
    if (!*s)
        *s = g_strdup(text);
}

static bool disk_realize(Device *dev, bool cd, GError **err)
{
    ScsiDisk *d = container_of(dev, ScsiDisk, dev);
    uint32_t l = d->logical_block_size, p = d->physical_block_size;

    d->cd = cd;
    d->mmc.drive = d->drive;
    if (!d->drive)
        return err_set(err, "%s: which disk? Add drive=ID of a -drive or -blockdev", dev->cls->name);
    if (!cd && !d->removable && !block_dev_has_medium(d->drive))
        return err_set(err, "%s: drive '%s' is empty; a hard disk needs an image", dev->cls->name, block_dev_name(d->drive));
    if (l < 512 || l > 32768 || (l & (l - 1)) || p < l || p > 2 * MiB || (p & (p - 1)))
        return err_set(err, "%s: block sizes must be powers of two, 512 to 32768 (logical) and not below it (physical)",
                       dev->cls->name);
    if (!block_conf_attach(&d->conf, d->drive, &drive_ops, d, dev, err))
        return false;
    default_text(&d->vendor, "QUERN");
    default_text(&d->product, cd ? "QUERN CD-ROM" : "QUERN HARDDISK");
    default_text(&d->ver, "2.5+");
    default_text(&d->serial, "");
    geometry(d);
    scsi_bus_add(d);
    if (d->scsi->changed && dev->machine->state == RUN_RUNNING)
        d->scsi->changed(d->scsi, d, true);
    return true;
}

static bool hd_realize(Device *dev, GError **err) { return disk_realize(dev, false, err); }
static bool cd_realize(Device *dev, GError **err) { return disk_realize(dev, true, err); }

static void disk_unrealize(Device *dev)
{
    ScsiDisk *d = container_of(dev, ScsiDisk, dev);

    if (d->scsi->changed)
        d->scsi->changed(d->scsi, d, false);
    scsi_bus_remove(d);
    block_dev_detach(d->drive);
}

static void disk_reset(Device *dev)
{
    ScsiDisk *d = container_of(dev, ScsiDisk, dev);

    scsi_enter(d->scsi);
    scsi_cancel_all(d);
    geometry(d);
    block_dev_set_wce(d->drive, d->wce = d->conf.wce);
    d->unit_attention = 0x29;   /* power on or reset */
    d->attention_ascq = 0;
    mmc_reset(&d->mmc);
    scsi_leave(d->scsi);
}

static bool disk_loaded(void *opaque, GError **err)
{
    ScsiDisk *d = opaque;

    geometry(d);
    block_dev_set_wce(d->drive, d->wce);
    return true;
}

static const StateDesc disk_state = {
    .version = 1, .loaded = disk_loaded,
    .fields = (const StateField[]) {
        STATE_STRUCT(ScsiDisk, mmc, &mmc_state), STATE_B(ScsiDisk, wce),
        STATE_U8(ScsiDisk, unit_attention), STATE_U8(ScsiDisk, attention_ascq), STATE_END },
};

#define NAMED(text, field, k, d, h) { .name = text, .kind = k, .offset = offsetof(ScsiDisk, field), \
        .size = sizeof(((ScsiDisk *)0)->field), .def = d, .help = h }

static const PropDesc disk_props[] = {
    PROP_BACKEND(ScsiDisk, drive, "drive", "the -drive or -blockdev behind it"),
    NAMED("scsi-id", target, PROP_UINT_, UINT32_MAX, "target (default: the next free)"),
    PROP_U32(ScsiDisk, lun, 0, "logical unit"),
    PROP_U32(ScsiDisk, channel, 0, "always 0"),
    PROP_STRING(ScsiDisk, serial, "serial number"), PROP_STRING(ScsiDisk, vendor, "vendor, up to 8 characters"),
    PROP_STRING(ScsiDisk, product, "product, up to 16 characters"), PROP_STRING(ScsiDisk, ver, "version, up to 4 characters"),
    PROP_STRING(ScsiDisk, device_id, "identifier in page 83h (default: serial)"),
    PROP_U64(ScsiDisk, wwn, 0, "world wide name"),
    PROP_U32(ScsiDisk, logical_block_size, 512, "bytes"), PROP_U32(ScsiDisk, physical_block_size, 512, "bytes"),
    PROP_U32(ScsiDisk, rotation_rate, 0, "revolutions a minute; 1: no rotation"),
    PROP_BOOL(ScsiDisk, removable, 0, "removable medium"), PROP_BOOL(ScsiDisk, dpofua, 1, "offer forced unit access"),
    BLOCK_CONF_PROPS(ScsiDisk),
    PROP_END };

const DeviceClass scsi_hd_class = {
    .name = "scsi-hd", .desc = "SCSI hard disk", .category = DEVCAT_STORAGE, .bus = BUS_SCSI, .size = sizeof(ScsiDisk),
    .realize = hd_realize, .unrealize = disk_unrealize, .reset = disk_reset, .props = disk_props, .state = &disk_state,
};

const DeviceClass scsi_cd_class = {
    .name = "scsi-cd", .desc = "SCSI CD-ROM", .category = DEVCAT_STORAGE, .bus = BUS_SCSI, .size = sizeof(ScsiDisk),
    .realize = cd_realize, .unrealize = disk_unrealize, .reset = disk_reset, .props = disk_props, .state = &disk_state,
};
