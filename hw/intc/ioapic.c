/*
 * ioapic: 82093AA I/O APIC with 24 pins, version 20h with the EOI register.
 *
 * Intel 82093AA data sheet (290566), EOI register from the ICH data sheets. A redirected
 * interrupt becomes a message to the machine's interrupt router, in MSI form.
 * docs/hw/ioapic.md. An engine may keep the chip, or only wants to know what its pins send
 * (softmmu/irqchip.h). Machine lock.
 */
#include "hw/intc/ioapic.h"

#include "hw/pci/pci.h"
#include "softmmu/irqchip.h"

enum { MMIO_SELECT = 0x00, MMIO_WINDOW = 0x10, MMIO_EOI = 0x40 };
enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_TABLE = 0x10 };
enum { VERSION = 0x20 };
#define RTE_VECTOR 0xffu
#define RTE_DELIVERY(e) ((unsigned)((e) >> 8) & 7)
#define RTE_LOGICAL (1u << 11)
#define RTE_PENDING (1u << 12)                  /* read only; never seen: delivery is at once */
#define RTE_ACTIVE_LOW (1u << 13)
#define RTE_REMOTE_IRR (1u << 14)
#define RTE_LEVEL (1u << 15)
#define RTE_MASKED (1u << 16)
#define RTE_WRITABLE (0xff0000000001afffULL & ~(uint64_t)RTE_PENDING)
#define RTE_DEST(e) ((unsigned)((e) >> 56))
enum { DELIVERY_EXTINT = 7 };

typedef struct IoApic {
    Device dev;
    Region io;
    uint8_t select, id;         /* state */
    uint32_t level;             /* input pins */
    uint32_t irr;               /* requests not yet sent */
    uint64_t table[IOAPIC_PINS];
} IoApic;

static uint64_t message_addr(uint64_t e)
{
    return 0xfee00000 | RTE_DEST(e) << 12 | (e & RTE_LOGICAL ? 1 << 2 : 0);
}

static uint32_t message_data(uint64_t e)
{
    return (e & RTE_VECTOR) | RTE_DELIVERY(e) << 8 | (e & RTE_LEVEL ? 1 << 15 | 1 << 14 : 0);
}

/* --- the chip inside the engine, or local APICs inside it --- */

static bool in_engine(const IoApic *s)
{
    return irqchip_mode(s->dev.machine) == IRQCHIP_ON;
}

static void fetch(IoApic *s)
{
    IoapicRegs r;

    if (!in_engine(s) || !irqchip_of(s->dev.machine)->ioapic_get(s->dev.machine, &r))
        return;
    s->select = r.select;
    s->id = r.id;
    s->irr = s->level = r.irr & 0xffffff;
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        s->table[i] = r.table[i] & (RTE_WRITABLE | RTE_REMOTE_IRR);
}

static void tell_pin(IoApic *s, unsigned pin)
{
    uint64_t e = s->table[pin];

    if (irqchip_mode(s->dev.machine) == IRQCHIP_SPLIT)
        irqchip_of(s->dev.machine)->ioapic_pin(s->dev.machine, pin, message_addr(e), message_data(e), e & RTE_MASKED);
}

static void hand_over(IoApic *s)
{
    IoapicRegs r = { .select = s->select, .id = s->id, .irr = s->irr };

    if (in_engine(s)) {
        memcpy(r.table, s->table, sizeof r.table);
        irqchip_of(s->dev.machine)->ioapic_set(s->dev.machine, &r);
    }
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        tell_pin(s, i);
}

/* --- the chip --- */

static void deliver(IoApic *s, unsigned pin)
{
    uint64_t e = s->table[pin];

    trace(ioapic_deliver, "pin=%u vector=%#x", pin, (unsigned)(e & RTE_VECTOR));
    msi_send(s->dev.machine, message_addr(e), message_data(e));
}

static void service_pin(IoApic *s, unsigned pin)
{
    uint64_t *e = &s->table[pin];

    if (!(s->irr >> pin & 1) || (*e & RTE_MASKED) || in_engine(s))
        return;
    if (*e & RTE_LEVEL) {
        if (*e & RTE_REMOTE_IRR)
            return;
        if (RTE_DELIVERY(*e) != DELIVERY_EXTINT)
            *e |= RTE_REMOTE_IRR;
    } else {
        s->irr &= ~(1u << pin);
    }
    deliver(s, pin);
}

static void set_input(void *opaque, int pin, int level)
{
    IoApic *s = opaque;
    uint32_t bit = 1u << pin;

    if (s->table[pin] & RTE_LEVEL) {
        s->irr = level ? s->irr | bit : s->irr & ~bit;
        s->level = level ? s->level | bit : s->level & ~bit;
        if (level)
            service_pin(s, pin);
        return;
    }
    /* An edge on a masked pin is lost, as in the 82093AA. */
    if (level && !(s->level & bit) && !(s->table[pin] & RTE_MASKED)) {
        s->irr |= bit;
        s->level |= bit;
        service_pin(s, pin);
    }
    s->level = level ? s->level | bit : s->level & ~bit;
}

IrqLine ioapic_input(Device *dev, int pin)
{
    g_assert(pin >= 0 && pin < IOAPIC_PINS);
    return (IrqLine) { set_input, dev, pin };
}

void ioapic_eoi(Device *dev, uint8_t vector)
{
    IoApic *s = (IoApic *)dev;

    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t *e = &s->table[pin];

        if ((*e & RTE_VECTOR) != vector || !(*e & RTE_LEVEL) || !(*e & RTE_REMOTE_IRR))
            continue;
        *e &= ~(uint64_t)RTE_REMOTE_IRR;
        service_pin(s, pin);
    }
}

static void engine_eoi(void *opaque, uint8_t vector)
{
    ioapic_eoi(opaque, vector);
}

static uint32_t register_read(const IoApic *s)
{
    unsigned pin = (s->select - REG_TABLE) / 2;

    switch (s->select) {
    case REG_ID:
    case REG_ARBITRATION:
        return s->id << 24;
    case REG_VERSION:
        return VERSION | (IOAPIC_PINS - 1) << 16;
    }
    if (s->select < REG_TABLE || pin >= IOAPIC_PINS)
        return 0;
    return s->select & 1 ? s->table[pin] >> 32 : s->table[pin];
}

static void entry_write(IoApic *s, unsigned pin, bool high, uint32_t val)
{
    uint64_t *e = &s->table[pin], keep = *e & (RTE_REMOTE_IRR | RTE_PENDING);
    uint64_t now = high ? (*e & 0xffffffff) | (uint64_t)val << 32 : (*e & ~0xffffffffULL) | val;

    *e = (now & RTE_WRITABLE) | keep;
    if (!(*e & RTE_LEVEL)) {
        *e &= ~(uint64_t)RTE_REMOTE_IRR;        /* guests clear a stuck remote IRR by a turn to edge */
        s->irr &= ~(1u << pin);
    } else if (s->level >> pin & 1) {
        s->irr |= 1u << pin;
    }
    tell_pin(s, pin);
    service_pin(s, pin);
}

static void register_write(IoApic *s, uint32_t val)
{
    unsigned pin = (s->select - REG_TABLE) / 2;

    if (s->select == REG_ID)
        s->id = val >> 24 & 15;
    else if (s->select >= REG_TABLE && pin < IOAPIC_PINS)
        entry_write(s, pin, s->select & 1, val);
}

static uint64_t ioapic_read(void *opaque, uint64_t off, unsigned size)
{
    IoApic *s = opaque;

    fetch(s);
    switch (off & 0xff) {
    case MMIO_SELECT:
        return s->select;
    case MMIO_WINDOW:
        return register_read(s);
    }
    return 0;
}

static void ioapic_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    IoApic *s = opaque;

    fetch(s);
    switch (off & 0xff) {
    case MMIO_SELECT:
        s->select = val;
        break;
    case MMIO_WINDOW:
        register_write(s, val);
        break;
    case MMIO_EOI:
        ioapic_eoi(&s->dev, val);
        break;
    }
    if (in_engine(s))
        hand_over(s);
}

static const IoOps ioapic_ops = { ioapic_read, ioapic_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4 };

static void ioapic_reset(Device *dev)
{
    IoApic *s = (IoApic *)dev;

    s->select = s->id = 0;
    s->irr = 0;                 /* pins belong to the senders */
    for (unsigned i = 0; i < IOAPIC_PINS; i++)
        s->table[i] = RTE_MASKED;
    hand_over(s);
}

static bool ioapic_realize(Device *dev, GError **err)
{
    IoApic *s = (IoApic *)dev;

    device_init_io(dev, &s->io, "ioapic", &ioapic_ops, 0x1000);
    device_map_mmio(dev, &s->io, 0xfec00000);
    if (irqchip_mode(dev->machine) == IRQCHIP_SPLIT)
        irqchip_of(dev->machine)->set_eoi(dev->machine, engine_eoi, s);
    return true;
}

static void ioapic_saving(void *opaque)
{
    fetch(opaque);
}

static bool ioapic_loaded(void *opaque, GError **err)
{
    IoApic *s = opaque;

    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if (s->table[i] & ~(RTE_WRITABLE | RTE_REMOTE_IRR))
            return err_set(err, "impossible redirection entry %u", i);
    }
    hand_over(s);
    return true;
}

char *ioapic_describe(Device *dev)
{
    static const char *const modes[] = { "fixed", "lowest", "smi", "?", "nmi", "init", "?", "extint" };
    IoApic *s = (IoApic *)dev;
    GString *g = g_string_new(NULL);

    fetch(s);
    g_string_append_printf(g, "ioapic: id=%#x sel=%#x irr=%#x\n", s->id, s->select, s->irr);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        uint64_t e = s->table[i];

        g_string_append_printf(g, "  pin %-2u %#018llx dest=%x vec=%-3u %s %s %s %s%s\n", i, (unsigned long long)e,
                               RTE_DEST(e), (unsigned)(e & RTE_VECTOR), e & RTE_ACTIVE_LOW ? "active-lo" : "active-hi",
                               e & RTE_LEVEL ? "level" : "edge", e & RTE_MASKED ? "masked" : "", modes[RTE_DELIVERY(e)],
                               e & RTE_LOGICAL ? " logical" : " physical");
    }
    return g_string_free(g, FALSE);
}

const DeviceClass ioapic_class = {
    .name = "ioapic", .desc = "I/O APIC", .category = DEVCAT_MISC, .bus = BUS_SYSTEM,
    .size = sizeof(IoApic), .internal = true, .no_hotplug = true,
    .realize = ioapic_realize, .reset = ioapic_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1, .saving = ioapic_saving, .loaded = ioapic_loaded,
        .fields = (const StateField[]) {
            STATE_U8(IoApic, select), STATE_UMAX(IoApic, id, 15), STATE_UMAX(IoApic, level, 0xffffff),
            STATE_UMAX(IoApic, irr, 0xffffff), STATE_UARRAY(IoApic, table), STATE_END } },
};
