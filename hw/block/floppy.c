/*
 * floppy: a floppy drive on its controller's bus, and the formats its media may have.
 *
 * The size of the image tells the format. Machine lock.
 */
#include "hw/block/fdc_int.h"

#include <string.h>

enum { RATE_500 = 0, RATE_300 = 1, RATE_250 = 2, RATE_1M = 3 };         /* kbit/s, as in the CCR */
static const struct { uint8_t type, spt, tracks, heads, rate; } formats[] = {
    { FD_TYPE_144, 18, 80, 2, RATE_500 }, { FD_TYPE_144, 20, 80, 2, RATE_500 }, { FD_TYPE_144, 21, 80, 2, RATE_500 },
    { FD_TYPE_144, 21, 82, 2, RATE_500 }, { FD_TYPE_144, 21, 83, 2, RATE_500 }, { FD_TYPE_144, 22, 80, 2, RATE_500 },
    { FD_TYPE_144, 23, 80, 2, RATE_500 }, { FD_TYPE_144, 24, 80, 2, RATE_500 },
    { FD_TYPE_288, 36, 80, 2, RATE_1M }, { FD_TYPE_288, 39, 80, 2, RATE_1M }, { FD_TYPE_288, 40, 80, 2, RATE_1M },
    { FD_TYPE_288, 44, 80, 2, RATE_1M }, { FD_TYPE_288, 48, 80, 2, RATE_1M },
    { FD_TYPE_144, 9, 80, 2, RATE_250 }, { FD_TYPE_144, 10, 80, 2, RATE_250 }, { FD_TYPE_144, 10, 82, 2, RATE_250 },
    { FD_TYPE_120, 15, 80, 2, RATE_500 }, { FD_TYPE_120, 9, 40, 2, RATE_300 }, { FD_TYPE_120, 9, 40, 1, RATE_300 },
    { FD_TYPE_120, 8, 40, 2, RATE_300 }, { FD_TYPE_120, 8, 40, 1, RATE_300 }, { FD_TYPE_144, 9, 80, 1, RATE_250 },
};
static const char *const type_names[] = { "120", "144", "288", "none", "auto", NULL };

/* 3.5" drives of the larger kind take the smaller media. */
static bool type_takes(FdType drive, FdType medium)
{
    return drive == medium || (drive == FD_TYPE_288 && medium == FD_TYPE_144);
}

void floppy_revalidate(FloppyDrive *d)
{
    uint64_t sectors = block_dev_size(d->drive) / FD_SECTOR;

    d->spt = 18;                /* an unknown size is read as 1.44 MB as far as it goes */
    d->tracks = 80;
    d->heads = 2;
    d->rate = RATE_500;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
        if ((uint64_t)formats[i].spt * formats[i].tracks * formats[i].heads != sectors ||
            (d->type != FD_TYPE_AUTO && !type_takes(d->type, formats[i].type)))
            continue;
        if (d->type == FD_TYPE_AUTO)
            d->type = formats[i].type;
        d->spt = formats[i].spt;
        d->tracks = formats[i].tracks;
        d->heads = formats[i].heads;
        d->rate = formats[i].rate;
        return;
    }
}

static void media_changed(void *opaque, bool load)
{
    FloppyDrive *d = opaque;

    fdc_medium_changed(d);
    d->changed = true;
    floppy_revalidate(d);
}

static void resized(void *opaque) { floppy_revalidate(opaque); }
static const BlockDevOps drive_ops = { .media_changed = media_changed, .resized = resized };

static bool floppy_realize(Device *dev, GError **err)
{
    FloppyDrive *d = container_of(dev, FloppyDrive, dev);

    if (!d->drive)
        return err_set(err, "floppy: which disk? Add drive=ID of a -drive or -blockdev");
    if (d->logical_block_size != FD_SECTOR || d->physical_block_size != FD_SECTOR)
        return err_set(err, "floppy: sectors of floppy disks have 512 bytes");
    if (!block_conf_attach(&d->conf, d->drive, &drive_ops, d, dev, err))
        return false;
    d->type = d->type_wanted;
    floppy_revalidate(d);
    if (d->type == FD_TYPE_AUTO)
        d->type = d->fdc->fallback;
    return true;
}

static void floppy_unrealize(Device *dev)
{
    FloppyDrive *d = container_of(dev, FloppyDrive, dev);

    fdc_medium_changed(d);
    d->fdc->drive[d->unit] = NULL;
    block_dev_detach(d->drive);
}

static void floppy_reset(Device *dev)
{
    FloppyDrive *d = container_of(dev, FloppyDrive, dev);

    d->track = d->head = 0;
    d->changed = true;          /* as after power-on, until the arm steps */
}

#define NAMED(text, field, k, d, ...) { .name = text, .kind = k, .offset = offsetof(FloppyDrive, field), \
        .size = sizeof(((FloppyDrive *)0)->field), .def = d, __VA_ARGS__ }

const DeviceClass floppy_class = {
    .name = "floppy", .desc = "floppy drive", .category = DEVCAT_STORAGE, .bus = BUS_FLOPPY, .size = sizeof(FloppyDrive),
    .no_hotplug = true, .realize = floppy_realize, .unrealize = floppy_unrealize, .reset = floppy_reset,
    .props = (const PropDesc[]) {
        PROP_BACKEND(FloppyDrive, drive, "drive", "the -drive or -blockdev behind it"),
        PROP_U32(FloppyDrive, unit, UINT32_MAX, "0 (A:) or 1 (B:); default: the next free"),
        PROP_U32(FloppyDrive, logical_block_size, 512, "bytes"), PROP_U32(FloppyDrive, physical_block_size, 512, "bytes"),
        NAMED("drive-type", type_wanted, PROP_ENUM_, FD_TYPE_AUTO, .values = type_names,
              .help = "120 (5.25\"), 144, 288 (3.5\"); auto: as the first medium needs"),
        BLOCK_CONF_PROPS(FloppyDrive),
        PROP_END },
    .state = &(const StateDesc) { .version = 1,
        .fields = (const StateField[]) {
            STATE_U8(FloppyDrive, track), STATE_U8(FloppyDrive, head), STATE_B(FloppyDrive, changed), STATE_END } },
};
