/*
 * lapic_bus: routes interrupt messages to local APICs: IPIs, MSIs, IOAPIC, LINT0 and NMI.
 *
 * Intel SDM 3A 11.6.2 (destinations) and 11.11 (MSI format). Safe from any thread: a target's
 * registers are only read, its requests only set (lapic_int.h).
 */
#include "hw/intc/lapic_int.h"

#include "hw/core/wiring.h"
#include "hw/pci/pci.h"
#include "softmmu/accel.h"

enum { DEST_SHORTHAND_NONE, DEST_SELF, DEST_ALL, DEST_OTHERS };

/* dest32: an x2APIC sender's 32-bit destination; else 8 bits from an IPI, MSI or IOAPIC. */
static bool matches(const Lapic *s, uint32_t dest, bool dest32, bool logical)
{
    uint32_t ldr = peek(&s->ldr);

    if (!apic_on(s))
        return false;
    if (dest == (dest32 ? 0xffffffff : 0xff))
        return true;
    if (!logical)
        return x2apic_on(s) ? s->id == dest : peek(&s->xapic_id) == dest;
    if (x2apic_on(s)) {
        uint32_t cluster = s->id >> 4;

        return dest32 ? dest >> 16 == cluster && (dest >> (s->id & 15) & 1)
                      : cluster == 0 && (dest >> (s->id & 15) & 1);
    }
    if (dest32)
        return false;
    ldr >>= 24;
    if (peek(&s->dfr) >> 28 == 15)
        return ldr & dest;
    return (ldr & 0xf0) == (dest & 0xf0) && (ldr & dest & 15);
}

static void deliver(Lapic *s, unsigned mode, uint8_t vector, bool level)
{
    Vcpu *v = &s->cpu->vcpu;

    if (s->in_engine) {
        lapic_engine_send(s, mode, vector, level);
        return;
    }
    switch (mode) {
    case DM_FIXED:
    case DM_LOWEST:
        lapic_set_irr(s, vector, level);
        break;
    case DM_SMI:
        vcpu_raise(v, VCPU_IRQ_SMI);
        break;
    case DM_NMI:
        vcpu_raise(v, VCPU_IRQ_NMI);
        break;
    case DM_INIT:
        vcpu_lower(v, VCPU_IRQ_SIPI);           /* start-up IPIs count from here on */
        __atomic_store_n(&s->init_pending, true, __ATOMIC_SEQ_CST);
        vcpu_raise(v, VCPU_IRQ_POLL | VCPU_IRQ_INIT);
        break;
    case DM_STARTUP:
        v->sipi_vector = vector;
        vcpu_raise(v, VCPU_IRQ_SIPI);
        break;
    case DM_EXTINT:
        vcpu_raise(v, VCPU_IRQ_INTR);
        break;
    default:
        log_guest("interrupt message with reserved delivery mode %u\n", mode);
        break;
    }
}

/* Lowest priority: the matching processor that is doing the least important work. */
static Lapic *least_busy(const LapicBus *bus, uint32_t dest, bool dest32, bool logical)
{
    Lapic *best = NULL;

    for (unsigned i = 0; i < bus->apics->len; i++) {
        Lapic *s = g_ptr_array_index(bus->apics, i);

        if (matches(s, dest, dest32, logical) && soft_on(s) && (!best || peek(&s->ppr) < peek(&best->ppr)))
            best = s;
    }
    return best;
}

void lapic_bus_send(LapicBus *bus, uint32_t dest, bool dest32, bool logical, unsigned mode, uint8_t vector, bool level)
{
    if (mode == DM_LOWEST) {
        Lapic *s = least_busy(bus, dest, dest32, logical);

        if (s)
            deliver(s, mode, vector, level);
        return;
    }
    for (unsigned i = 0; i < bus->apics->len; i++) {
        Lapic *s = g_ptr_array_index(bus->apics, i);

        if (matches(s, dest, dest32, logical))
            deliver(s, mode, vector, level);
    }
}

/* icr: in x2APIC form, 32-bit destination on top. */
void lapic_send_ipi(Lapic *s, uint64_t icr)
{
    unsigned mode = icr >> 8 & 7, shorthand = icr >> 18 & 3;
    uint8_t vector = icr;
    bool level = icr & (1 << 15), assert_level = icr & (1 << 14), x2 = x2apic_on(s);

    trace(lapic_ipi, "cpu=%d icr=%#llx", s->cpu->vcpu.index, (unsigned long long)icr);
    if (mode == DM_INIT && level && !assert_level)
        return;                 /* INIT level de-assert: of use to the 486 only */
    if ((mode == DM_FIXED || mode == DM_LOWEST) && vector < 16) {
        lapic_error(s, ESR_SEND_ILLEGAL);
        return;
    }
    if (shorthand == DEST_SHORTHAND_NONE) {
        lapic_bus_send(s->bus, x2 ? icr >> 32 : icr >> 56, x2, icr & (1 << 11), mode, vector, false);
        return;
    }
    for (unsigned i = 0; i < s->bus->apics->len; i++) {
        Lapic *t = g_ptr_array_index(s->bus->apics, i);

        if (shorthand == DEST_ALL || (shorthand == DEST_SELF) == (t == s))
            deliver(t, mode == DM_LOWEST ? DM_FIXED : mode, vector, false);
    }
}

void lapic_bus_message(LapicBus *bus, uint64_t addr, uint32_t data)
{
    uint32_t dest = addr >> 12 & 0xff;

    if (irqchip_of(bus->machine)) {
        irqchip_of(bus->machine)->msi(bus->machine, addr, data);
        return;
    }
    if (addr >> 20 != APIC_DEFAULT_BASE >> 20) {
        log_guest("interrupt message to %#llx, which is no APIC\n", (unsigned long long)addr);
        return;
    }
    lapic_bus_send(bus, dest, false, addr & (1 << 2), data >> 8 & 7, data, data & (1 << 15));
}

static void bus_message(void *opaque, uint64_t addr, uint32_t data)
{
    lapic_bus_message(opaque, addr, data);
}

/* Register window: belongs to the processor that accesses it. */

static Lapic *current_lapic(const LapicBus *bus)
{
    Vcpu *v = vcpu_current();
    Lapic *s = v && v->machine == bus->machine ? x86_cpu(v)->apic : NULL;

    return s && apic_on(s) && !x2apic_on(s) && (s->base & ~0xfffull) == APIC_DEFAULT_BASE ? s : NULL;
}

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
    Lapic *s = current_lapic(opaque);
    uint32_t val = 0;

    if (!s)
        return 0xffffffff;
    if ((off & 15) || !lapic_reg_read(s, off >> 4, &val))
        lapic_error(s, ESR_REGISTER);
    return val;
}

static void window_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    LapicBus *bus = opaque;
    Lapic *s = current_lapic(bus);

    if (!s)
        lapic_bus_message(bus, APIC_DEFAULT_BASE + off, val);   /* a bus master's write is a message */
    else if ((off & 15) || !lapic_reg_write(s, off >> 4, val))
        lapic_error(s, ESR_REGISTER);
}

static const IoOps window_ops = { window_read, window_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4,
                                  .lockless = true };

static void bus_free(void *data)
{
    LapicBus *bus = data;

    region_destroy(&bus->window);
    g_ptr_array_unref(bus->apics);
    g_free(bus);
}

LapicBus *lapic_bus_new(Machine *m)
{
    LapicBus *bus = g_new0(LapicBus, 1);

    bus->machine = m;
    bus->apics = g_ptr_array_new();
    region_init_io(&bus->window, "lapic", &window_ops, bus, 0x100000);
    region_add(&m->mem_root, &bus->window, APIC_DEFAULT_BASE, 1);
    pci_set_msi_target(m, bus_message, bus);
    board_on_free(m, bus_free, bus);
    return bus;
}

void lapic_bus_connect(LapicBus *bus, void (*eoi)(void *opaque, uint8_t vector), void *eoi_opaque,
                       int (*pic_ack)(void *opaque), void *pic_opaque)
{
    bus->eoi = eoi;
    bus->eoi_opaque = eoi_opaque;
    bus->pic_ack = pic_ack;
    bus->pic_opaque = pic_opaque;
}

void lapic_bus_set_smm(LapicBus *bus, void (*fn)(void *opaque, X86Cpu *c, bool in), void *opaque)
{
    bus->smm = (LapicSmm) { fn, opaque };
}

static void lint0_set(void *opaque, int n, int level)
{
    LapicBus *bus = opaque;
    int was = atomic_exchange(&bus->pic_level, level);

    for (unsigned i = 0; i < bus->apics->len; i++) {
        Lapic *s = g_ptr_array_index(bus->apics, i);
        uint32_t lvt = peek(&s->lvt[LVT_LINT0]);

        if (!apic_on(s) || LVT_MODE(lvt) == DM_EXTINT)
            lapic_update_intr(s);
        else if (level && (!was || lvt & LVT_LEVEL))
            lapic_local(s, LVT_LINT0);
    }
}

IrqLine lapic_bus_lint0(LapicBus *bus)
{
    return (IrqLine) { lint0_set, bus, 0 };
}

static void nmi_on(Vcpu *v, void *opaque)
{
    Lapic *s = opaque;

    if (s->in_engine && v->machine->accel->pull)
        v->machine->accel->pull(v);
    if (!apic_on(s))
        vcpu_raise(v, VCPU_IRQ_NMI);
    else
        lapic_local(s, LVT_LINT1);
}

void lapic_bus_nmi(LapicBus *bus)
{
    for (unsigned i = 0; i < bus->apics->len; i++) {
        Lapic *s = g_ptr_array_index(bus->apics, i);

        if (s->in_engine)
            vcpu_queue(&s->cpu->vcpu, nmi_on, s);
        else
            nmi_on(&s->cpu->vcpu, s);
    }
}

uint32_t lapic_read(LapicBus *bus, unsigned cpu, unsigned reg)
{
    uint32_t val = 0;

    lapic_reg_read(g_ptr_array_index(bus->apics, cpu), reg >> 4, &val);
    return val;
}

void lapic_write(LapicBus *bus, unsigned cpu, unsigned reg, uint32_t val)
{
    lapic_reg_write(g_ptr_array_index(bus->apics, cpu), reg >> 4, val);
}
