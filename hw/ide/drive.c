/*
 * drive: ide-hd and ide-cd, the devices on an IDE bus.
 */
#include "hw/ide/ide_int.h"

#include <string.h>

static void media_changed(void *opaque, bool load)
{
    IdeDrive *d = opaque;

    if (d->kind == IDE_CD) {
        mmc_media_changed(&d->mmc, load);
        atapi_media_changed(d, load);
    } else {
        ide_geometry(d);
    }
}

static void eject_request(void *opaque, bool force)
{
    mmc_eject_request(&((IdeDrive *)opaque)->mmc, force);
}

static bool tray_open(void *opaque) { return ((IdeDrive *)opaque)->mmc.tray_open; }
static bool medium_locked(void *opaque) { return ((IdeDrive *)opaque)->mmc.tray_locked; }
static void resized(void *opaque) { ide_geometry(opaque); }

static const BlockDevOps drive_ops = { media_changed, eject_request, tray_open, medium_locked, resized };

bool ide_bus_attach(Bus *bus, Device *dev, GError **err)
{
    IdeBus *ide = bus->impl;
    IdeDrive *d = container_of(dev, IdeDrive, dev);

    if (d->unit == UINT32_MAX)
        d->unit = ide->drive[0] && !ide->sata ? 1 : 0;
    if (dev->machine->state != RUN_PRELAUNCH && !bus->hotplug)
        return err_set(err, "%s: bus '%s' does not support hotplugging", dev->cls->name, bus->name);
    if (ide->sata && d->unit)
        return err_set(err, "%s: unit=%u: a SATA port has unit 0 only", dev->cls->name, d->unit);
    if (d->unit > 1)
        return err_set(err, "%s: unit=%u: an IDE channel has units 0 and 1", dev->cls->name, d->unit);
    if (ide->drive[d->unit])
        return err_set(err, "%s: unit %u of %s is taken", dev->cls->name, d->unit, bus->name);
    ide->drive[d->unit] = d;
    d->ide = ide;
    return true;
}

void ide_bus_detach(Bus *bus, Device *dev)
{
    IdeBus *ide = bus->impl;
    IdeDrive *d = container_of(dev, IdeDrive, dev);

    if (ide->drive[d->unit] == d)
        ide->drive[d->unit] = NULL;
}

static void default_text(char **s, const char *fmt, unsigned n)
{
    if (!*s || !**s) {
        g_free(*s);
        *s = g_strdup_printf(fmt, n);
    }
}

static bool check_block_sizes(IdeDrive *d, GError **err)
{
    uint32_t l = d->logical_block_size, p = d->physical_block_size;

    if (l != IDE_SECTOR)
        return err_set(err, "%s: logical_block_size=%u: IDE disks have 512-byte sectors", d->dev.cls->name, l);
    if (p < l || p > 2 * MiB || (p & (p - 1)))
        return err_set(err, "%s: physical_block_size=%u: must be a power of two from 512 to 2M", d->dev.cls->name, p);
    return true;
}

static bool drive_realize(Device *dev, IdeKind kind, GError **err)
{
    IdeDrive *d = container_of(dev, IdeDrive, dev);
    unsigned number = d->unit + 1;

    d->kind = kind;
    d->mmc.drive = d->drive;
    if (!d->drive)
        return err_set(err, "%s: which disk? Add drive=ID of a -drive or -blockdev", dev->cls->name);
    if (kind == IDE_HD && !block_dev_has_medium(d->drive))
        return err_set(err, "%s: drive '%s' is empty; a hard disk needs an image", dev->cls->name,
                       block_dev_name(d->drive));
    if (kind == IDE_HD && block_dev_read_only(d->drive))
        return err_set(err, "%s: drive '%s' is read-only, and IDE hard disks cannot be; use snapshot=on, or ide-cd",
                       dev->cls->name, block_dev_name(d->drive));
    if (!check_block_sizes(d, err) || !block_conf_attach(&d->conf, d->drive, &drive_ops, d, dev, err))
        return false;
    default_text(&d->serial, kind == IDE_CD ? "QM%05u" : "QM%05u", number);
    default_text(&d->model, kind == IDE_CD ? "QUERN DVD-ROM" : "QUERN HARDDISK", 0);
    default_text(&d->ver, "2.5+", 0);
    ide_geometry(d);
    if (d->ide->dma && d->ide->dma->plugged)
        d->ide->dma->plugged(d->ide->dma_opaque, d, true);
    return true;
}

static bool hd_realize(Device *dev, GError **err) { return drive_realize(dev, IDE_HD, err); }
static bool cd_realize(Device *dev, GError **err) { return drive_realize(dev, IDE_CD, err); }

static void drive_unrealize(Device *dev)
{
    IdeDrive *d = container_of(dev, IdeDrive, dev);

    ide_cancel(d);
    if (d->ide->dma && d->ide->dma->plugged)
        d->ide->dma->plugged(d->ide->dma_opaque, d, false);
    if (d->spans)
        g_array_unref(d->spans);
    block_dev_detach(d->drive);
}

static void drive_reset(Device *dev)
{
    IdeDrive *d = container_of(dev, IdeDrive, dev);

    ide_drive_reset(d);
    ide_geometry(d);
    d->multiple = 0;
    d->dma_mode = 0x45;         /* Ultra DMA 5 */
    block_dev_set_wce(d->drive, d->wce = d->conf.wce);
    d->smart_on = true;
    d->sense_key = d->asc = d->ascq = 0;
    mmc_reset(&d->mmc);
    d->cd_changed = 0;
    memset(d->ncq_log, 0, sizeof d->ncq_log);
}

static bool drive_loaded(void *opaque, GError **err)
{
    IdeDrive *d = opaque;

    if (d->data_pos > d->data_end || d->xfer >= XFER_COUNT || d->dma_kind >= IDE_DMA_COUNT ||
        d->block_sectors > IDE_BUF / IDE_SECTOR || (d->cd_sector_size && d->cd_sector_size != 2048 && d->cd_sector_size != 2352) ||
        d->packet_left > IDE_BUF || d->pio_taken > IDE_BUF)
        return err_set(err, "%s: impossible transfer state", d->dev.cls->name);
    ide_geometry(d);
    block_dev_set_wce(d->drive, d->wce);
    return true;
}

static const StateDesc drive_state = {
    .version = 1, .loaded = drive_loaded,
    .fields = (const StateField[]) {
        STATE_BUF(IdeDrive, feature), STATE_BUF(IdeDrive, count), STATE_BUF(IdeDrive, lba), STATE_U8(IdeDrive, select),
        STATE_U8(IdeDrive, status), STATE_U8(IdeDrive, error), STATE_B(IdeDrive, lba48), STATE_UMAX(IdeDrive, multiple, 16),
        STATE_U8(IdeDrive, dma_mode), STATE_B(IdeDrive, wce), STATE_B(IdeDrive, smart_on), STATE_U8(IdeDrive, xfer),
        STATE_UMAX(IdeDrive, data_pos, IDE_BUF), STATE_UMAX(IdeDrive, data_end, IDE_BUF), STATE_U64(IdeDrive, sector),
        STATE_U32(IdeDrive, nsectors), STATE_U32(IdeDrive, block_sectors), STATE_U8(IdeDrive, dma_kind),
        STATE_B(IdeDrive, dma_active), STATE_BUF(IdeDrive, buf), STATE_BUF(IdeDrive, packet), STATE_BUF(IdeDrive, ncq_log), STATE_U32(IdeDrive, packet_left),
        STATE_U32(IdeDrive, pio_taken), STATE_U32(IdeDrive, byte_limit), STATE_U32(IdeDrive, cd_sector_size),
        STATE_U8(IdeDrive, sense_key), STATE_U8(IdeDrive, asc), STATE_U8(IdeDrive, ascq), STATE_STRUCT(IdeDrive, mmc, &mmc_state),
        STATE_U8(IdeDrive, cd_changed), STATE_END },
};

#define DRIVE_PROPS \
    PROP_BACKEND(IdeDrive, drive, "drive", "the -drive or -blockdev behind it"), \
    PROP_U32(IdeDrive, unit, UINT32_MAX, "0 or 1 on its channel (default: the next free)"), \
    PROP_STRING(IdeDrive, serial, "serial number, up to 20 characters"), \
    PROP_STRING(IdeDrive, ver, "firmware version, up to 8 characters"), \
    PROP_STRING(IdeDrive, model, "model name, up to 40 characters"), \
    PROP_U64(IdeDrive, wwn, 0, "world wide name"), \
    PROP_U32(IdeDrive, logical_block_size, 512, "bytes"), \
    PROP_U32(IdeDrive, physical_block_size, 512, "bytes"), \
    BLOCK_CONF_PROPS(IdeDrive)

static const PropDesc drive_props[] = { DRIVE_PROPS, PROP_END };

const DeviceClass ide_hd_class = {
    .name = "ide-hd", .desc = "IDE hard disk", .category = DEVCAT_STORAGE, .bus = BUS_IDE, .size = sizeof(IdeDrive),
    .realize = hd_realize, .unrealize = drive_unrealize, .reset = drive_reset, .props = drive_props,
    .state = &drive_state,
};

const DeviceClass ide_cd_class = {
    .name = "ide-cd", .desc = "IDE CD/DVD-ROM", .category = DEVCAT_STORAGE, .bus = BUS_IDE, .size = sizeof(IdeDrive),
    .realize = cd_realize, .unrealize = drive_unrealize, .reset = drive_reset, .props = drive_props,
    .state = &drive_state,
};
