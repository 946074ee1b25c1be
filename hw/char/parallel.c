/*
 * parallel: a PC parallel port in compatibility mode (IEEE 1284, SPP); the printer is a Chardev.
 *
 * Data goes out on the falling edge of the strobe line. The printer is always ready unless the
 * back-end has no room. Left out: EPP and ECP. docs/hw/parallel.md.
 */
#include "chardev/chardev.h"
#include "hw/isa/isa.h"

enum { R_DATA, R_STATUS, R_CONTROL, REGS };
enum { STATUS_NOT_BUSY = 0x80, STATUS_NACK = 0x40, STATUS_PAPER_OUT = 0x20, STATUS_ONLINE = 0x10,
       STATUS_NO_ERROR = 0x08, STATUS_NO_IRQ = 0x04, STATUS_IDLE = 0xd8 };
enum { CTR_STROBE = 1, CTR_AUTOLF = 2, CTR_NINIT = 4, CTR_SELECT = 8, CTR_IRQ = 0x10, CTR_INPUT = 0x20,
       CTR_FIXED = 0xc0 };
enum { AUTO = 0xffffffff, PORTS = 3 };

typedef struct Parallel {
    Device dev;
    Region io;
    IrqLine line;
    ChardevFe fe;
    uint32_t index, iobase, irq;        /* properties */
    Chardev *chardev;
    uint8_t data, status, control;
    bool irq_pending;                   /* an acknowledge nobody has looked at */
    bool waiting;                       /* data not yet taken by the printer */
} Parallel;

extern const DeviceClass isa_parallel_class;

static void parallel_update(Parallel *s)
{
    irq_set(&s->line, s->irq_pending && (s->control & CTR_IRQ));
}

static void print_byte(Parallel *s)
{
    s->waiting = chr_write(&s->fe, &s->data, 1) == 0;
    if (s->waiting) {
        s->status &= ~STATUS_NOT_BUSY;
    } else {
        s->status |= STATUS_NOT_BUSY;
        s->irq_pending = true;
    }
}

static void parallel_writable(void *opaque)
{
    Parallel *s = opaque;

    if (s->waiting)
        print_byte(s);
    parallel_update(s);
}

static size_t parallel_room(void *opaque)
{
    return 0;                           /* a printer says nothing */
}

static void parallel_receive(void *opaque, const uint8_t *buf, size_t len)
{
}

static void parallel_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Parallel *s = opaque;

    if (off == R_DATA) {
        if (!s->waiting)
            s->data = val;
    } else if (off == R_CONTROL) {
        bool strobe = (val & ~s->control) & CTR_STROBE;

        s->control = (val & 0x3f) | CTR_FIXED;
        if (!(val & CTR_IRQ))
            s->irq_pending = false;
        if (strobe && (val & CTR_NINIT) && (val & CTR_SELECT) && !s->waiting)
            print_byte(s);
    }
    parallel_update(s);
}

static uint64_t parallel_read(void *opaque, uint64_t off, unsigned size)
{
    Parallel *s = opaque;
    uint8_t v;

    switch (off) {
    case R_DATA:
        return s->control & CTR_INPUT ? 0xff : s->data;
    case R_STATUS:
        v = s->status | (s->irq_pending ? 0 : STATUS_NO_IRQ);
        s->irq_pending = false;
        parallel_update(s);
        return v;
    default:
        return s->control;
    }
}

static const IoOps parallel_io = { parallel_read, parallel_write, .min = 1, .max = 1 };
static const ChardevFeOps parallel_fe = { parallel_room, parallel_receive, NULL, parallel_writable };

static void parallel_reset(Device *dev)
{
    Parallel *s = container_of(dev, Parallel, dev);

    s->data = 0xff;
    s->status = STATUS_IDLE;
    s->control = CTR_SELECT | CTR_NINIT | CTR_FIXED;
    s->irq_pending = s->waiting = false;
    parallel_update(s);
}

static bool parallel_realize(Device *dev, GError **err)
{
    static const uint16_t bases[PORTS] = { 0x378, 0x278, 0x3bc };
    Parallel *s = container_of(dev, Parallel, dev);

    if (s->index == AUTO) {
        s->index = 0;
        for (guint i = 0; i < dev->machine->devices->len; i++) {
            const Device *d = dev->machine->devices->pdata[i];

            s->index += d != dev && d->cls == dev->cls;
        }
    }
    if (s->index >= PORTS && s->iobase == AUTO)
        return err_set(err, "isa-parallel: there are only %d usual parallel ports; give iobase= for more", PORTS);
    if (s->iobase == AUTO)
        s->iobase = bases[s->index];
    if (s->iobase > 0xfff8)
        return err_set(err, "isa-parallel: iobase %#x leaves the port space", s->iobase);
    if (!chr_attach(&s->fe, s->chardev, &parallel_fe, s, err))
        return false;
    if (!isa_claim_irq(dev, &s->line, s->irq, err) ||
        !isa_attach_pio(dev, &s->io, "parallel", &parallel_io, s->iobase, REGS, err)) {
        chr_detach(&s->fe);
        return false;
    }
    return true;
}

static void parallel_unrealize(Device *dev)
{
    Parallel *s = container_of(dev, Parallel, dev);

    irq_set(&s->line, 0);
    chr_detach(&s->fe);
    region_destroy(&s->io);
}

static bool parallel_loaded(void *opaque, GError **err)
{
    Parallel *s = opaque;

    if (s->waiting)
        print_byte(s);
    parallel_update(s);
    return true;
}

const DeviceClass isa_parallel_class = {
    .name = "isa-parallel", .desc = "parallel port", .category = DEVCAT_INPUT, .bus = BUS_ISA,
    .size = sizeof(Parallel), .realize = parallel_realize, .unrealize = parallel_unrealize,
    .reset = parallel_reset,
    .props = (const PropDesc[]) {
        PROP_U32(Parallel, index, AUTO, "0-2 for LPT1 to LPT3"),
        PROP_U32(Parallel, iobase, AUTO, "first of three ports"),
        PROP_U32(Parallel, irq, 7, "ISA interrupt line"),
        PROP_BACKEND(Parallel, chardev, "chardev", "where printed bytes go"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = parallel_loaded, .fields = (const StateField[]) {
        STATE_U8(Parallel, data), STATE_U8(Parallel, status), STATE_U8(Parallel, control),
        STATE_B(Parallel, irq_pending), STATE_B(Parallel, waiting), STATE_END } },
};
