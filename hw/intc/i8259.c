/*
 * i8259: two cascaded 8259A interrupt controllers with the ELCR of later chipsets.
 *
 * Intel 8259A data sheet (231468). Modelled: edge and level (LTIM, ELCR) inputs, fixed and
 * rotating priority, special mask and special fully nested mode, automatic EOI, poll, spurious
 * vectors. A rising edge stays latched when the line falls again before the INTA cycle.
 * An engine may keep the chips (softmmu/irqchip.h): then this is their state between its runs.
 * docs/hw/i8259.md. Machine lock.
 */
#include "hw/intc/i8259.h"

#include "softmmu/irqchip.h"

enum { MASTER, SLAVE, CHIPS };
enum { CASCADE = 2 };
enum { ICW1_IC4 = 1 << 0, ICW1_SNGL = 1 << 1, ICW1_LTIM = 1 << 3, ICW1 = 1 << 4 };
enum { ICW4_AEOI = 1 << 1, ICW4_SFNM = 1 << 4 };
enum { OCW3 = 1 << 3, OCW3_RIS = 1 << 0, OCW3_RR = 1 << 1, OCW3_POLL = 1 << 2, OCW3_SMM = 1 << 5, OCW3_ESMM = 1 << 6 };

typedef struct Chip {
    uint8_t level;              /* input pins */
    uint8_t irr, imr, isr;
    uint8_t lowest;             /* input with the lowest priority */
    uint8_t vector;             /* ICW2: base, low three bits clear */
    uint8_t icw;                /* init word expected next: 0 none, 2-4 */
    uint8_t elcr;
    bool icw4_needed, single, ltim, auto_eoi, rotate_aeoi, nested, special_mask, read_isr, poll;
} Chip;

typedef struct I8259 {
    Device dev;
    Region io[CHIPS], elcr_io[CHIPS];
    IrqLine out;
    Chip chip[CHIPS];           /* state */
} I8259;

static const uint8_t elcr_mask[CHIPS] = { 0xf8, 0xde };
static const uint16_t io_base[CHIPS] = { 0x20, 0xa0 };

/* --- chips inside the engine --- */

static bool in_engine(const I8259 *s)
{
    return irqchip_mode(s->dev.machine) == IRQCHIP_ON;
}

static void fetch(I8259 *s)
{
    PicRegs r;

    for (unsigned n = 0; in_engine(s) && n < CHIPS; n++) {
        Chip *c = &s->chip[n];

        if (!irqchip_of(s->dev.machine)->pic_get(s->dev.machine, n, &r))
            return;
        c->level = r.level;
        c->irr = r.irr;
        c->imr = r.imr;
        c->isr = r.isr;
        c->lowest = (r.highest - 1) & 7;
        c->vector = r.vector;
        c->icw = r.icw;
        c->elcr = r.elcr;
        c->icw4_needed = r.icw4_needed;
        c->auto_eoi = r.auto_eoi;
        c->rotate_aeoi = r.rotate_aeoi;
        c->nested = r.nested;
        c->special_mask = r.special_mask;
        c->read_isr = r.read_isr;
        c->poll = r.poll;
    }
}

static void hand_over(I8259 *s)
{
    for (unsigned n = 0; in_engine(s) && n < CHIPS; n++) {
        const Chip *c = &s->chip[n];
        PicRegs r = { .level = c->level, .irr = c->irr, .imr = c->imr, .isr = c->isr, .highest = (c->lowest + 1) & 7,
                      .vector = c->vector, .elcr = c->elcr, .elcr_mask = elcr_mask[n], .icw = c->icw,
                      .read_isr = c->read_isr, .poll = c->poll, .special_mask = c->special_mask, .auto_eoi = c->auto_eoi,
                      .rotate_aeoi = c->rotate_aeoi, .nested = c->nested, .icw4_needed = c->icw4_needed };

        irqchip_of(s->dev.machine)->pic_set(s->dev.machine, n, &r);
    }
}

/* --- the chips --- */

/* Distance from the highest priority, 8: none. */
static unsigned priority_of(const Chip *c, uint8_t bits)
{
    for (unsigned p = 0; p < 8; p++) {
        if (bits >> ((c->lowest + 1 + p) & 7) & 1)
            return p;
    }
    return 8;
}

/* The input that would be served now, or -1. */
static int chip_request(const I8259 *s, unsigned n)
{
    const Chip *c = &s->chip[n];
    uint8_t in_service = c->special_mask ? c->isr & ~c->imr : c->isr;
    unsigned request = priority_of(c, c->irr & ~c->imr);

    if (n == MASTER && c->nested)
        in_service &= ~(1 << CASCADE);
    if (request == 8 || request >= priority_of(c, in_service))
        return -1;
    return (c->lowest + 1 + request) & 7;
}

static void chip_input(Chip *c, unsigned pin, bool level)
{
    uint8_t bit = 1 << pin;

    if (c->ltim || (c->elcr & bit)) {
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    } else if (level && !(c->level & bit)) {
        c->irr |= bit;
    }
    c->level = level ? c->level | bit : c->level & ~bit;
}

/* The slave's INT drives the master's input 2, the master's INT drives the processor. */
static void i8259_update(I8259 *s)
{
    bool cascade = chip_request(s, SLAVE) >= 0;
    Chip *master = &s->chip[MASTER];

    if (in_engine(s)) {
        hand_over(s);
        return;
    }
    if (!cascade)
        master->irr &= ~(1 << CASCADE);
    chip_input(master, CASCADE, cascade);
    if (cascade)
        master->irr |= 1 << CASCADE;
    irq_set(&s->out, chip_request(s, MASTER) >= 0);
}

static void i8259_set_input(void *opaque, int n, int level)
{
    I8259 *s = opaque;

    chip_input(&s->chip[n >> 3], n & 7, level);
    i8259_update(s);
}

IrqLine i8259_input(Device *dev, int n)
{
    return (IrqLine) { i8259_set_input, dev, n & 15 };
}

void i8259_connect(Device *dev, IrqLine out)
{
    ((I8259 *)dev)->out = out;
}

static void chip_ack(Chip *c, unsigned pin)
{
    uint8_t bit = 1 << pin;

    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_aeoi)
        c->lowest = pin;
    if (!c->ltim && !(c->elcr & bit))
        c->irr &= ~bit;
}

int i8259_ack(Device *dev)
{
    I8259 *s = (I8259 *)dev;
    int pin = chip_request(s, MASTER), vector;

    if (pin < 0) {
        vector = s->chip[MASTER].vector | 7;
    } else if (pin == CASCADE && !s->chip[MASTER].single) {
        int slave_pin = chip_request(s, SLAVE);

        if (slave_pin >= 0)
            chip_ack(&s->chip[SLAVE], slave_pin);
        vector = s->chip[SLAVE].vector | (slave_pin < 0 ? 7 : slave_pin);
        chip_ack(&s->chip[MASTER], CASCADE);
    } else {
        chip_ack(&s->chip[MASTER], pin);
        vector = s->chip[MASTER].vector | pin;
    }
    trace(i8259_ack, "vector=%#x", vector);
    i8259_update(s);
    return vector;
}

static void chip_icw1(Chip *c, uint8_t val)
{
    c->irr = c->imr = c->isr = 0;
    c->lowest = 7;
    c->vector = c->vector & 0xf8;
    c->auto_eoi = c->rotate_aeoi = c->nested = c->special_mask = c->read_isr = c->poll = false;
    c->icw4_needed = val & ICW1_IC4;
    c->single = val & ICW1_SNGL;
    c->ltim = val & ICW1_LTIM;
    c->icw = 2;
    if (c->ltim || c->elcr)     /* level inputs that are up ask again */
        c->irr = c->level & (c->ltim ? 0xff : c->elcr);
}

/* OCW2: end of interrupt and rotation, by the command in bits 7-5. */
static void chip_ocw2(Chip *c, uint8_t val)
{
    unsigned pin = val & 7, served = priority_of(c, c->isr);

    switch (val >> 5) {
    case 0:
    case 4:
        c->rotate_aeoi = val >> 5;
        break;
    case 1:
    case 5:
        if (served == 8)
            break;
        pin = (c->lowest + 1 + served) & 7;
        c->isr &= ~(1 << pin);
        if (val >> 5 == 5)
            c->lowest = pin;
        break;
    case 3:
        c->isr &= ~(1 << pin);
        break;
    case 6:
        c->lowest = pin;
        break;
    case 7:
        c->isr &= ~(1 << pin);
        c->lowest = pin;
        break;
    }
}

static void chip_write_even(Chip *c, uint8_t val)
{
    if (val & ICW1) {
        chip_icw1(c, val);
    } else if (val & OCW3) {
        if (val & OCW3_POLL)
            c->poll = true;
        if (val & OCW3_RR)
            c->read_isr = val & OCW3_RIS;
        if (val & OCW3_ESMM)
            c->special_mask = val & OCW3_SMM;
    } else {
        chip_ocw2(c, val);
    }
}

static void chip_write_odd(Chip *c, uint8_t val)
{
    switch (c->icw) {
    case 2:
        c->vector = val & 0xf8;
        c->icw = !c->single ? 3 : c->icw4_needed ? 4 : 0;
        break;
    case 3:
        c->icw = c->icw4_needed ? 4 : 0;
        break;
    case 4:
        c->nested = val & ICW4_SFNM;
        c->auto_eoi = val & ICW4_AEOI;
        c->icw = 0;
        break;
    default:
        c->imr = val;
        break;
    }
}

static void pic_write(I8259 *s, unsigned n, unsigned off, uint8_t val)
{
    trace(i8259_write, "chip=%u off=%u val=%#x", n, off, val);
    fetch(s);
    if (off == 0)
        chip_write_even(&s->chip[n], val);
    else
        chip_write_odd(&s->chip[n], val);
    i8259_update(s);
}

static uint8_t pic_poll(I8259 *s, unsigned n)
{
    int pin = chip_request(s, n);

    s->chip[n].poll = false;
    if (pin < 0)
        return 0;
    chip_ack(&s->chip[n], pin);
    i8259_update(s);
    return 0x80 | pin;
}

static uint8_t pic_read(I8259 *s, unsigned n, unsigned off)
{
    const Chip *c = &s->chip[n];

    fetch(s);
    if (c->poll)
        return pic_poll(s, n);
    return off ? c->imr : c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t off, unsigned size) { return pic_read(opaque, MASTER, off); }
static uint64_t slave_read(void *opaque, uint64_t off, unsigned size) { return pic_read(opaque, SLAVE, off); }
static void master_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { pic_write(opaque, MASTER, off, val); }
static void slave_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { pic_write(opaque, SLAVE, off, val); }

static const IoOps pic_io[CHIPS] = {
    { master_read, master_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 },
    { slave_read, slave_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 },
};

static uint64_t elcr_read(void *opaque, uint64_t off, unsigned size)
{
    I8259 *s = opaque;

    fetch(s);
    return s->chip[off & 1].elcr;
}

static void elcr_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    I8259 *s = opaque;

    fetch(s);
    s->chip[off & 1].elcr = val & elcr_mask[off & 1];
    i8259_update(s);
}

static const IoOps elcr_ops = { elcr_read, elcr_write, .min = 1, .max = 2, .impl_min = 1, .impl_max = 1 };

static void i8259_reset(Device *dev)
{
    I8259 *s = (I8259 *)dev;

    for (unsigned n = 0; n < CHIPS; n++) {
        uint8_t level = s->chip[n].level;

        memset(&s->chip[n], 0, sizeof s->chip[n]);
        s->chip[n].lowest = 7;
        s->chip[n].level = level;       /* pins belong to the senders */
    }
    i8259_update(s);
}

static bool i8259_realize(Device *dev, GError **err)
{
    I8259 *s = (I8259 *)dev;

    for (unsigned n = 0; n < CHIPS; n++) {
        device_init_io(dev, &s->io[n], n ? "i8259-slave" : "i8259-master", &pic_io[n], 2);
        device_map_pio(dev, &s->io[n], io_base[n]);
    }
    device_init_io(dev, &s->elcr_io[0], "elcr", &elcr_ops, 2);
    device_map_pio(dev, &s->elcr_io[0], 0x4d0);
    return true;
}

static void i8259_saving(void *opaque)
{
    fetch(opaque);
}

static bool i8259_loaded(void *opaque, GError **err)
{
    i8259_update(opaque);
    return true;
}

char *i8259_describe(Device *dev)
{
    I8259 *s = (I8259 *)dev;
    GString *g = g_string_new(NULL);

    fetch(s);
    for (unsigned n = 0; n < CHIPS; n++) {
        const Chip *c = &s->chip[n];

        g_string_append_printf(g, "pic%u: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x fnm=%d\n",
                               n, c->irr, c->imr, c->isr, (c->lowest + 1) & 7, c->vector, c->read_isr, c->elcr, c->nested);
    }
    return g_string_free(g, FALSE);
}

static const StateDesc chip_state = {
    .name = "chip", .version = 1, .fields = (const StateField[]) {
        STATE_U8(Chip, level), STATE_U8(Chip, irr), STATE_U8(Chip, imr), STATE_U8(Chip, isr),
        STATE_UMAX(Chip, lowest, 7), STATE_U8(Chip, vector), STATE_UMAX(Chip, icw, 4), STATE_U8(Chip, elcr),
        STATE_B(Chip, icw4_needed), STATE_B(Chip, single), STATE_B(Chip, ltim), STATE_B(Chip, auto_eoi),
        STATE_B(Chip, rotate_aeoi), STATE_B(Chip, nested), STATE_B(Chip, special_mask), STATE_B(Chip, read_isr),
        STATE_B(Chip, poll), STATE_END },
};

const DeviceClass i8259_class = {
    .name = "isa-i8259", .desc = "interrupt controller pair", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(I8259), .internal = true, .no_hotplug = true,
    .realize = i8259_realize, .reset = i8259_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1, .saving = i8259_saving, .loaded = i8259_loaded,
        .fields = (const StateField[]) { STATE_STRUCTS(I8259, chip, &chip_state), STATE_END } },
};
