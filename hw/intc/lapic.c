/*
 * lapic: the local APIC of one processor: registers, priorities, local vector table.
 *
 * Intel SDM 3A chapter 11: xAPIC window and x2APIC MSRs. Register access runs on the processor's
 * own thread without the machine lock (lapic_int.h says who may touch what). Left out: focus
 * processor, arbitration priority, performance and thermal sources. For guests without firmware,
 * LINT0 of the boot processor is unmasked ExtINT after reset. docs/hw/lapic.md.
 */
#include "hw/intc/lapic_int.h"

#include "softmmu/irqchip.h"

enum { VERSION = 0x14, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800, X2_ICR = 0x830 };

static int highest(const uint32_t *set)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t w = peek(&set[i]);

        if (w)
            return i * 32 + 31 - __builtin_clz(w);
    }
    return -1;
}

static void set_bit(uint32_t *set, uint8_t v) { __atomic_fetch_or(&set[v >> 5], 1u << (v & 31), __ATOMIC_SEQ_CST); }
static void clear_bit(uint32_t *set, uint8_t v) { __atomic_fetch_and(&set[v >> 5], ~(1u << (v & 31)), __ATOMIC_SEQ_CST); }
static bool test_bit(const uint32_t *set, uint8_t v) { return peek(&set[v >> 5]) >> (v & 31) & 1; }

/* Does the PIC's request reach this processor? Virtual wire mode, or no APIC at all. */
static bool accepts_pic(const Lapic *s)
{
    uint32_t lvt = peek(&s->lvt[LVT_LINT0]);

    if (!apic_on(s))
        return s->cpu->bsp;
    return !(lvt & LVT_MASKED) && LVT_MODE(lvt) == DM_EXTINT;
}

/* The vector that would be delivered now, or -1. */
static int deliverable(const Lapic *s)
{
    int v = apic_on(s) && soft_on(s) ? highest(s->irr) : -1;

    return v >= 0 && (uint32_t)(v & 0xf0) > (peek(&s->ppr) & 0xf0) ? v : -1;
}

void lapic_update_intr(Lapic *s)
{
    Vcpu *v = &s->cpu->vcpu;

    vcpu_lower(v, VCPU_IRQ_INTR);
    if (s->in_engine) {         /* what is left to us: a PIC outside it, wired to the boot processor */
        if (atomic_load(&s->bus->pic_level) && s->cpu->bsp)
            vcpu_raise(v, VCPU_IRQ_INTR);
        return;
    }
    if (deliverable(s) >= 0 || (atomic_load(&s->bus->pic_level) && accepts_pic(s)))
        vcpu_raise(v, VCPU_IRQ_INTR);
}

void lapic_update_ppr(Lapic *s)
{
    int isr = highest(s->isr);
    uint32_t isrv = isr < 0 ? 0 : isr & 0xf0, tpr = s->tpr;

    poke(&s->ppr, (tpr & 0xf0) >= isrv ? tpr : isrv);
    lapic_update_intr(s);
}

void lapic_set_irr(Lapic *s, uint8_t vector, bool level)
{
    if (s->in_engine) {
        lapic_engine_send(s, DM_FIXED, vector, level);
        return;
    }
    if (!soft_on(s))
        return;
    if (vector < 16) {
        lapic_error(s, ESR_RECEIVE_ILLEGAL);
        return;
    }
    if (level)
        set_bit(s->tmr, vector);
    else
        clear_bit(s->tmr, vector);
    set_bit(s->irr, vector);
    if ((uint32_t)(vector & 0xf0) > (peek(&s->ppr) & 0xf0))
        vcpu_raise(&s->cpu->vcpu, VCPU_IRQ_INTR);
}

void lapic_local(Lapic *s, unsigned i)
{
    uint32_t lvt = peek(&s->lvt[i]);

    if (lvt & LVT_MASKED)
        return;
    switch (i == LVT_TIMER || i == LVT_ERROR ? DM_FIXED : LVT_MODE(lvt)) {
    case DM_FIXED:
        if (i == LVT_LINT0 && (lvt & LVT_LEVEL)) {
            if (lvt & LVT_REMOTE_IRR)
                return;
            __atomic_fetch_or(&s->lvt[i], LVT_REMOTE_IRR, __ATOMIC_SEQ_CST);
            lapic_set_irr(s, lvt, true);
            return;
        }
        lapic_set_irr(s, lvt, false);
        break;
    case DM_SMI:
        vcpu_raise(&s->cpu->vcpu, VCPU_IRQ_SMI);
        break;
    case DM_NMI:
        vcpu_raise(&s->cpu->vcpu, VCPU_IRQ_NMI);
        break;
    case DM_EXTINT:
        lapic_update_intr(s);
        break;
    }
}

void lapic_error(Lapic *s, uint32_t bit)
{
    if (__atomic_fetch_or(&s->esr_shadow, bit, __ATOMIC_SEQ_CST) & bit)
        return;
    /* An error vector below 16 would raise this same error: the bit above ends the recursion. */
    lapic_local(s, LVT_ERROR);
}

static void end_of_interrupt(Lapic *s)
{
    int v = highest(s->isr);
    bool held;

    if (v < 0)
        return;
    clear_bit(s->isr, v);
    if (test_bit(s->tmr, v)) {
        held = machine_lock_held();
        if (!held)
            machine_lock();
        if ((s->lvt[LVT_LINT0] & 0xff) == (uint32_t)v && (s->lvt[LVT_LINT0] & LVT_REMOTE_IRR)) {
            __atomic_fetch_and(&s->lvt[LVT_LINT0], ~LVT_REMOTE_IRR, __ATOMIC_SEQ_CST);
            if (atomic_load(&s->bus->pic_level))
                lapic_local(s, LVT_LINT0);
        } else if (s->bus->eoi && !(s->svr & SVR_NO_EOI_BROADCAST)) {
            s->bus->eoi(s->bus->eoi_opaque, v);
        }
        if (!held)
            machine_unlock();
    }
    lapic_update_ppr(s);
}

/* The processor takes an interrupt; machine lock held. */
static int lapic_ack(X86Cpu *c)
{
    Lapic *s = c->apic;
    int v = s->in_engine ? -1 : deliverable(s);

    if (v >= 0) {
        clear_bit(s->irr, v);
        set_bit(s->isr, v);
        lapic_update_ppr(s);
        return v;
    }
    if (atomic_load(&s->bus->pic_level) && (s->in_engine || accepts_pic(s)) && s->bus->pic_ack) {
        v = s->bus->pic_ack(s->bus->pic_opaque);
        lapic_update_intr(s);
        return v;
    }
    lapic_update_intr(s);
    return -1;
}

static uint32_t logical_id(const Lapic *s)
{
    return x2apic_on(s) ? (s->id >> 4) << 16 | 1u << (s->id & 15) : s->ldr;
}

bool lapic_reg_read(Lapic *s, unsigned reg, uint32_t *val)
{
    switch (reg) {
    case REG_ID: *val = x2apic_on(s) ? s->id : s->xapic_id << 24; break;
    case REG_VERSION: *val = VERSION | (LVTS - 1) << 16; break;
    case REG_TPR: *val = s->tpr; break;
    case REG_APR: case REG_RRD: *val = 0; break;
    case REG_PPR: *val = s->ppr; break;
    case REG_EOI: *val = 0; break;
    case REG_LDR: *val = logical_id(s); break;
    case REG_DFR: *val = s->dfr | 0x0fffffff; break;
    case REG_SVR: *val = s->svr; break;
    case REG_ISR ... REG_ISR + 7: *val = s->isr[reg - REG_ISR]; break;
    case REG_TMR ... REG_TMR + 7: *val = peek(&s->tmr[reg - REG_TMR]); break;
    case REG_IRR ... REG_IRR + 7: *val = peek(&s->irr[reg - REG_IRR]); break;
    case REG_ESR: *val = s->esr; break;
    case REG_CMCI: *val = LVT_MASKED; break;
    case REG_ICR: *val = s->icr; break;
    case REG_ICR_HIGH: *val = s->icr_high; break;
    case REG_LVT ... REG_LVT + LVTS - 1: *val = peek(&s->lvt[reg - REG_LVT]); break;
    case REG_INITIAL: *val = s->initial; break;
    case REG_CURRENT: *val = lapic_timer_current(s); break;
    case REG_DIVIDE: *val = s->divide; break;
    default: return false;
    }
    return true;
}

static void lvt_write(Lapic *s, unsigned i, uint32_t val)
{
    static const uint32_t writable[LVTS] = { 0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff };
    uint32_t was = s->lvt[i];

    val &= writable[i];
    if (!soft_on(s))
        val |= LVT_MASKED;
    poke(&s->lvt[i], val);
    if (i == LVT_TIMER) {
        if (TIMER_MODE(val) != TIMER_MODE(was)) {
            if (TIMER_MODE(val) == TIMER_DEADLINE || TIMER_MODE(was) == TIMER_DEADLINE) {
                s->initial = 0;
                lapic_set_deadline(s, 0);
            }
        }
        lapic_timer_arm(s, false);
    } else if (i == LVT_LINT0) {
        lapic_update_intr(s);
        if (atomic_load(&s->bus->pic_level) && (val & LVT_LEVEL) && LVT_MODE(val) == DM_FIXED)
            lapic_local(s, i);
    }
}

static void svr_write(Lapic *s, uint32_t val)
{
    poke(&s->svr, val & 0x1ff);
    if (!soft_on(s)) {
        for (unsigned i = 0; i < LVTS; i++)
            poke(&s->lvt[i], s->lvt[i] | LVT_MASKED);
    }
    lapic_update_intr(s);
}

bool lapic_reg_write(Lapic *s, unsigned reg, uint32_t val)
{
    trace(lapic_write, "cpu=%d reg=%#x val=%#x", s->cpu->vcpu.index, reg << 4, val);
    switch (reg) {
    case REG_ID: poke(&s->xapic_id, val >> 24); break;
    case REG_TPR: s->tpr = val & 0xff; lapic_update_ppr(s); break;
    case REG_EOI: end_of_interrupt(s); break;
    case REG_LDR: poke(&s->ldr, val & 0xff000000); break;
    case REG_DFR: poke(&s->dfr, val | 0x0fffffff); break;
    case REG_SVR: svr_write(s, val); break;
    case REG_ESR: s->esr = __atomic_exchange_n(&s->esr_shadow, 0, __ATOMIC_SEQ_CST); break;
    case REG_ICR:
        s->icr = val & 0xccfff & ~(1u << 12);
        lapic_send_ipi(s, (uint64_t)s->icr_high << 32 | val);
        break;
    case REG_ICR_HIGH: s->icr_high = val & 0xff000000; break;
    case REG_LVT ... REG_LVT + LVTS - 1: lvt_write(s, reg - REG_LVT, val); break;
    case REG_INITIAL:
        if (TIMER_MODE(s->lvt[LVT_TIMER]) != TIMER_DEADLINE) {
            s->initial = val;
            lapic_timer_arm(s, true);
        }
        break;
    case REG_DIVIDE:
        s->divide = val & 11;
        lapic_timer_arm(s, false);
        break;
    case REG_APR: case REG_PPR: case REG_RRD: case REG_VERSION: case REG_CURRENT: case REG_CMCI:
    case REG_ISR ... REG_ISR + 7: case REG_TMR ... REG_TMR + 7: case REG_IRR ... REG_IRR + 7:
        break;
    default:
        return false;
    }
    return true;
}

/* The processor's side. */

static uint8_t get_tpr(X86Cpu *c)
{
    return ((Lapic *)c->apic)->tpr >> 4;
}

static void set_tpr(X86Cpu *c, uint8_t cr8)
{
    Lapic *s = c->apic;

    s->tpr = (cr8 & 15) << 4;
    lapic_update_ppr(s);
}

static uint64_t get_base(X86Cpu *c)
{
    return ((Lapic *)c->apic)->base;
}

/* SDM 3A figure 11-27: from x2APIC only to disabled, never from disabled to x2APIC. */
static bool set_base(X86Cpu *c, uint64_t v)
{
    Lapic *s = c->apic;
    bool en = v & BASE_ENABLE, x2 = v & BASE_X2APIC;

    if ((v & 0x2ff) || v >> 40 || (x2 && !en))
        return false;
    if (x2apic_on(s) && en && !x2)
        return false;
    if (!apic_on(s) && x2)
        return false;
    if ((v & ~0xfffull) != APIC_DEFAULT_BASE)
        log_unimp("local APIC moved to %#llx\n", (unsigned long long)v);
    if (apic_on(s) && !en) {
        lapic_init_reset(s);
    }
    __atomic_store_n(&s->base, (v & ~(uint64_t)BASE_BSP) | (c->bsp ? BASE_BSP : 0), __ATOMIC_SEQ_CST);
    lapic_update_intr(s);
    return true;
}

static bool x2_readable(unsigned reg)
{
    return reg != REG_EOI && reg != REG_DFR && reg != REG_ICR_HIGH && reg != REG_APR && reg != REG_RRD &&
           reg != REG_SELF_IPI;
}

static bool lapic_rdmsr(X86Cpu *c, uint32_t msr, uint64_t *v)
{
    Lapic *s = c->apic;
    unsigned reg = msr - MSR_X2APIC;
    uint32_t val = 0;

    if (msr == MSR_TSC_DEADLINE) {
        *v = TIMER_MODE(s->lvt[LVT_TIMER]) == TIMER_DEADLINE ? s->tsc_deadline : 0;
        return true;
    }
    if (reg > 0x3f || !x2apic_on(s) || !x2_readable(reg) || !lapic_reg_read(s, reg, &val))
        return false;
    *v = reg == REG_ICR ? (uint64_t)s->icr_high << 32 | val : val;
    return true;
}

static bool x2_write(Lapic *s, unsigned reg, uint64_t v)
{
    switch (reg) {
    case REG_ICR:
        s->icr = v & 0xccfff & ~(1u << 12);
        s->icr_high = v >> 32;
        lapic_send_ipi(s, v);
        return true;
    case REG_SELF_IPI:
        if (v >> 8)
            return false;
        lapic_send_ipi(s, v | 1 << 18);
        return true;
    case REG_EOI:
    case REG_ESR:
        return v == 0 && lapic_reg_write(s, reg, 0);
    case REG_TPR: case REG_SVR: case REG_INITIAL: case REG_DIVIDE:
    case REG_LVT ... REG_LVT + LVTS - 1:
        return v >> 32 == 0 && lapic_reg_write(s, reg, v);
    }
    return false;
}

static bool lapic_wrmsr(X86Cpu *c, uint32_t msr, uint64_t v)
{
    Lapic *s = c->apic;

    if (msr == MSR_TSC_DEADLINE) {
        if (TIMER_MODE(s->lvt[LVT_TIMER]) == TIMER_DEADLINE)
            lapic_set_deadline(s, v);
        return true;
    }
    return msr - MSR_X2APIC <= 0x3f && x2apic_on(s) && x2_write(s, msr - MSR_X2APIC, v);
}

static void lapic_poll(X86Cpu *c)
{
    Lapic *s = c->apic;

    if (__atomic_exchange_n(&s->init_pending, false, __ATOMIC_SEQ_CST))
        lapic_init_reset(s);
    lapic_update_intr(s);
}

static void lapic_smm(X86Cpu *c, bool in)
{
    Lapic *s = c->apic;

    if (s->bus->smm.fn)
        s->bus->smm.fn(s->bus->smm.opaque, c, in);
}

const X86ApicOps lapic_cpu_ops = {
    .ack = lapic_ack, .get_tpr = get_tpr, .set_tpr = set_tpr, .get_base = get_base, .set_base = set_base,
    .rdmsr = lapic_rdmsr, .wrmsr = lapic_wrmsr, .poll = lapic_poll, .smm = lapic_smm,
    .get_regs = lapic_get_regs, .set_regs = lapic_set_regs,
};

/* INIT: registers as at power-up, less the identifier and the base MSR. */
void lapic_init_reset(Lapic *s)
{
    s->tpr = s->icr = s->icr_high = s->initial = s->divide = 0;
    poke(&s->ldr, 0);
    poke(&s->dfr, 0xffffffff);
    poke(&s->svr, 0xff);
    s->esr = 0;
    poke(&s->esr_shadow, 0);
    for (unsigned i = 0; i < LVTS; i++)
        poke(&s->lvt[i], LVT_MASKED);
    for (unsigned i = 0; i < 8; i++) {
        poke(&s->isr[i], 0);
        poke(&s->irr[i], 0);
        poke(&s->tmr[i], 0);
    }
    s->count_start = 0;
    lapic_set_deadline(s, 0);
    if (s->cpu->bsp)
        poke(&s->lvt[LVT_LINT0], DM_EXTINT << 8);
    lapic_update_ppr(s);
}

static void lapic_reset(Device *dev)
{
    Lapic *s = (Lapic *)dev;

    s->base = APIC_DEFAULT_BASE | BASE_ENABLE | (s->cpu->bsp ? BASE_BSP : 0);
    s->xapic_id = s->id & 0xff;
    s->init_pending = false;
    vcpu_lower(&s->cpu->vcpu, VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_INIT | VCPU_IRQ_SIPI | VCPU_IRQ_POLL);
    lapic_init_reset(s);
}

static bool lapic_realize(Device *dev, GError **err)
{
    Lapic *s = (Lapic *)dev;

    if (!s->cpu)
        return err_set(err, "a local APIC comes with its processor");
    device_timer_init(dev, &s->timer, lapic_timer_expire);
    s->timer.any_thread = true;
    s->base = APIC_DEFAULT_BASE | BASE_ENABLE | (s->cpu->bsp ? BASE_BSP : 0);
    s->xapic_id = s->id & 0xff;
    s->in_engine = irqchip_mode(dev->machine) != IRQCHIP_OFF;
    poke(&s->svr, 0xff);
    return true;
}

static void lapic_unrealize(Device *dev)
{
    Lapic *s = (Lapic *)dev;

    timer_del(&s->timer);
    s->cpu->apic_ops = NULL;
    s->cpu->apic = NULL;
    g_ptr_array_remove(s->bus->apics, s);
}

bool lapic_create(LapicBus *bus, X86Cpu *c, GError **err)
{
    Device *dev = device_new(bus->machine, device_class_find("apic"), NULL);
    Lapic *s = (Lapic *)dev;

    s->bus = bus;
    s->cpu = c;
    s->id = c->apic_id;
    if (!device_realize(dev, NULL, err))
        return false;
    c->apic = s;
    c->apic_ops = &lapic_cpu_ops;
    g_ptr_array_add(bus->apics, s);
    return true;
}

static bool lapic_loaded(void *opaque, GError **err)
{
    Lapic *s = opaque;

    if (((s->base & BASE_X2APIC) && !(s->base & BASE_ENABLE)) || s->timer_next < 0 || s->count_start < 0 ||
        s->count_start > INT64_MAX / 4 || (s->divide & ~11u) || s->tpr > 0xff)
        return err_set(err, "impossible local APIC state");
    if (!s->in_engine)
        timer_set(&s->timer, s->timer_next);
    lapic_update_ppr(s);
    if (s->init_pending)
        vcpu_raise(&s->cpu->vcpu, VCPU_IRQ_POLL);
    return true;
}

char *lapic_describe(LapicBus *bus, unsigned cpu)
{
    static const char *const lvt_name[LVTS] = { "timer", "thermal", "perf", "lint0", "lint1", "error" };
    GString *g;
    Lapic *s;

    if (cpu >= bus->apics->len)
        return NULL;
    s = g_ptr_array_index(bus->apics, cpu);
    g = g_string_new(NULL);
    g_string_append_printf(g, "local APIC of CPU %u: id %#x, %s, base %#llx\n", cpu, s->id,
                           !apic_on(s) ? "disabled" : x2apic_on(s) ? "x2APIC" : "xAPIC", (unsigned long long)s->base);
    g_string_append_printf(g, "  svr %#x tpr %#x ppr %#x ldr %#x dfr %#x icr %#x:%08x esr %#x\n", s->svr, s->tpr, s->ppr,
                           logical_id(s), s->dfr, s->icr_high, s->icr, s->esr);
    for (unsigned i = 0; i < LVTS; i++)
        g_string_append_printf(g, "  lvt %-8s %#07x%s\n", lvt_name[i], s->lvt[i], s->lvt[i] & LVT_MASKED ? " masked" : "");
    g_string_append_printf(g, "  timer initial %u current %u divide %#x deadline %#llx\n", s->initial,
                           lapic_timer_current(s), s->divide, (unsigned long long)s->tsc_deadline);
    for (unsigned v = 0; v < 256; v++) {
        if (test_bit(s->irr, v) || test_bit(s->isr, v))
            g_string_append_printf(g, "  vector %u:%s%s%s\n", v, test_bit(s->irr, v) ? " requested" : "",
                                   test_bit(s->isr, v) ? " in service" : "", test_bit(s->tmr, v) ? " level" : "");
    }
    return g_string_free(g, FALSE);
}

const DeviceClass lapic_class = {
    .name = "apic", .desc = "local APIC", .category = DEVCAT_CPU, .bus = BUS_SYSTEM,
    .size = sizeof(Lapic), .internal = true, .no_hotplug = true,
    .realize = lapic_realize, .unrealize = lapic_unrealize, .reset = lapic_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = lapic_loaded,
        .fields = (const StateField[]) {
            STATE_U64(Lapic, base), STATE_UMAX(Lapic, xapic_id, 0xff), STATE_U32(Lapic, ldr), STATE_U32(Lapic, dfr),
            STATE_U32(Lapic, svr), STATE_U32(Lapic, tpr), STATE_U32(Lapic, esr), STATE_U32(Lapic, esr_shadow),
            STATE_U32(Lapic, icr_high), STATE_U32(Lapic, icr), STATE_UARRAY(Lapic, lvt), STATE_UARRAY(Lapic, isr),
            STATE_UARRAY(Lapic, irr), STATE_UARRAY(Lapic, tmr), STATE_U32(Lapic, divide), STATE_U32(Lapic, initial),
            STATE_I64(Lapic, count_start), STATE_I64(Lapic, timer_next), STATE_U64(Lapic, tsc_deadline),
            STATE_B(Lapic, init_pending), STATE_END } },
};
