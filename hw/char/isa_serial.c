/* isa_serial: a 16550 on the ISA bus: COM1 to COM4. */
#include "hw/char/uart16550.h"
#include "hw/isa/isa.h"

enum { AUTO = 0xffffffff, PORTS = 4 };

typedef struct IsaSerial {
    Device dev;
    Region io;
    Uart16550 uart;
    uint32_t index, iobase, irq;        /* properties */
    Chardev *chardev;
} IsaSerial;

extern const DeviceClass isa_serial_class;

/* Which COM port comes next when the user does not say. */
static unsigned next_index(Device *dev)
{
    unsigned n = 0;

    for (guint i = 0; i < dev->machine->devices->len; i++) {
        const Device *d = dev->machine->devices->pdata[i];

        n += d != dev && d->cls == dev->cls;
    }
    return n;
}

static bool serial_realize(Device *dev, GError **err)
{
    static const uint16_t bases[PORTS] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
    static const uint8_t irqs[PORTS] = { 4, 3, 4, 3 };
    IsaSerial *s = container_of(dev, IsaSerial, dev);

    if (s->index == AUTO)
        s->index = next_index(dev);
    if (s->index >= PORTS && (s->iobase == AUTO || s->irq == AUTO))
        return err_set(err, "isa-serial: there are only %d usual serial ports; give iobase= and irq= for more", PORTS);
    if (s->iobase == AUTO)
        s->iobase = bases[s->index];
    if (s->irq == AUTO)
        s->irq = irqs[s->index];
    if (s->iobase > 0xfff8)
        return err_set(err, "isa-serial: iobase %#x leaves the port space", s->iobase);
    if (!uart16550_init(&s->uart, dev->machine, s->chardev, err))
        return false;
    if (!isa_claim_irq(dev, &s->uart.irq, s->irq, err) ||
        !isa_attach_pio(dev, &s->io, "serial", &uart16550_io_ops, s->iobase, UART_REGS, err)) {
        uart16550_cleanup(&s->uart);
        return false;
    }
    s->io.opaque = &s->uart;
    return true;
}

static void serial_unrealize(Device *dev)
{
    IsaSerial *s = container_of(dev, IsaSerial, dev);

    irq_set(&s->uart.irq, 0);
    uart16550_cleanup(&s->uart);
    region_destroy(&s->io);
}

static void serial_reset(Device *dev)
{
    uart16550_reset(&container_of(dev, IsaSerial, dev)->uart);
}

const DeviceClass isa_serial_class = {
    .name = "isa-serial", .desc = "16550 serial port", .category = DEVCAT_INPUT, .bus = BUS_ISA,
    .size = sizeof(IsaSerial), .realize = serial_realize, .unrealize = serial_unrealize, .reset = serial_reset,
    .props = (const PropDesc[]) {
        PROP_U32(IsaSerial, index, AUTO, "0-3 for COM1 to COM4"),
        PROP_U32(IsaSerial, iobase, AUTO, "first of eight ports"),
        PROP_U32(IsaSerial, irq, AUTO, "ISA interrupt line"),
        PROP_BACKEND(IsaSerial, chardev, "chardev", "where the bytes come from and go to"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .fields = (const StateField[]) {
        STATE_STRUCT(IsaSerial, uart, &uart16550_state), STATE_END } },
};
