/*
 * debugcon: one port whose written bytes go to a Chardev: SeaBIOS and Bochs debug output.
 *
 * Reads give readback (0xe9), by which firmware finds the port.
 */
#include "chardev/chardev.h"
#include "hw/isa/isa.h"

typedef struct Debugcon {
    Device dev;
    Region io;
    ChardevFe fe;
    uint32_t iobase, readback;          /* properties */
    Chardev *chardev;
} Debugcon;

extern const DeviceClass isa_debugcon_class;

static uint64_t debugcon_read(void *opaque, uint64_t off, unsigned size)
{
    return ((Debugcon *)opaque)->readback;
}

static void debugcon_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    uint8_t byte = val;

    chr_write_all(&((Debugcon *)opaque)->fe, &byte, 1);
}

static const IoOps debugcon_io = { debugcon_read, debugcon_write, .min = 1, .max = 1 };

static size_t debugcon_room(void *opaque)
{
    return 0;
}

static void debugcon_receive(void *opaque, const uint8_t *buf, size_t len)
{
}

static const ChardevFeOps debugcon_fe = { debugcon_room, debugcon_receive };

static bool debugcon_realize(Device *dev, GError **err)
{
    Debugcon *s = container_of(dev, Debugcon, dev);

    if (s->iobase > 0xffff)
        return err_set(err, "isa-debugcon: iobase %#x is no port", s->iobase);
    if (!chr_attach(&s->fe, s->chardev, &debugcon_fe, s, err))
        return false;
    if (!isa_attach_pio(dev, &s->io, "debugcon", &debugcon_io, s->iobase, 1, err)) {
        chr_detach(&s->fe);
        return false;
    }
    return true;
}

static void debugcon_unrealize(Device *dev)
{
    Debugcon *s = container_of(dev, Debugcon, dev);

    chr_detach(&s->fe);
    region_destroy(&s->io);
}

static void debugcon_reset(Device *dev)
{
}

const DeviceClass isa_debugcon_class = {
    .name = "isa-debugcon", .desc = "debug output port", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(Debugcon), .realize = debugcon_realize, .unrealize = debugcon_unrealize,
    .reset = debugcon_reset,
    .props = (const PropDesc[]) {
        PROP_U32(Debugcon, iobase, 0xe9, "the port"),
        PROP_U32(Debugcon, readback, 0xe9, "what reading it gives"),
        PROP_BACKEND(Debugcon, chardev, "chardev", "where the bytes go"),
        PROP_END },
    .state = STATE_NONE("a byte written is gone"),
};
