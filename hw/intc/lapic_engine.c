/*
 * lapic_engine: a local APIC that the engine keeps: its registers from and to the engine.
 *
 * The register page is the processor's own (Intel SDM 3A table 11-1). The engine works at the same
 * 1 GHz timer input as lapic_timer.c, so counts need no conversion.
 */
#include "hw/intc/lapic_int.h"

#include "softmmu/irqchip.h"

static unsigned divide_shift(const Lapic *s)
{
    return (((s->divide & 3) | (s->divide >> 1 & 4)) + 1) & 7;
}

static unsigned timer_mode(const Lapic *s)
{
    return TIMER_MODE(s->lvt[LVT_TIMER]);
}

void lapic_get_regs(X86Cpu *c, X86ApicRegs *r)
{
    Lapic *s = c->apic;
    uint32_t current = lapic_timer_current(s);
    bool spent = !current && timer_mode(s) == TIMER_ONE_SHOT;

    memset(r, 0, sizeof *r);
    r->base = s->base;
    r->tsc_deadline = timer_mode(s) == TIMER_DEADLINE ? s->tsc_deadline : 0;
    for (unsigned i = 0; i < 8; i++) {
        r->reg[REG_ISR + i] = s->isr[i];
        r->reg[REG_TMR + i] = s->tmr[i];
        r->reg[REG_IRR + i] = s->irr[i];
    }
    for (unsigned i = 0; i < LVTS; i++)
        r->reg[REG_LVT + i] = s->lvt[i];
    r->reg[REG_ID] = x2apic_on(s) ? s->id : s->xapic_id << 24;
    r->reg[REG_VERSION] = 0x14 | (LVTS - 1) << 16;
    r->reg[REG_TPR] = s->tpr;
    r->reg[REG_PPR] = s->ppr;
    r->reg[REG_LDR] = x2apic_on(s) ? (s->id >> 4) << 16 | 1u << (s->id & 15) : s->ldr;
    r->reg[REG_DFR] = s->dfr | 0x0fffffff;
    r->reg[REG_SVR] = s->svr;
    r->reg[REG_ESR] = s->esr;
    r->reg[REG_ICR] = s->icr;
    r->reg[REG_ICR_HIGH] = s->icr_high;
    r->reg[REG_DIVIDE] = s->divide;
    /* A count that has run down would run down once more and interrupt again. */
    r->reg[REG_INITIAL] = spent ? 0 : s->initial;
    r->reg[REG_CURRENT] = current;
}

static void timer_from_regs(Lapic *s, const X86ApicRegs *r)
{
    int64_t now = device_now(&s->dev);
    uint32_t current = MIN(r->reg[REG_CURRENT], s->initial);

    s->count_start = MAX(now - ((int64_t)(s->initial - current) << divide_shift(s)), 0);
    s->tsc_deadline = r->tsc_deadline;
    s->timer_next = 0;
    if (timer_mode(s) == TIMER_DEADLINE) {
        uint64_t tsc = x86_rdtsc(s->cpu);
        __int128 ns = s->tsc_deadline > tsc ? (__int128)(s->tsc_deadline - tsc) * NS_PER_SEC / x86_tsc_hz() + 1 : 1;

        if (s->tsc_deadline)
            s->timer_next = now + (int64_t)MIN(ns, INT64_MAX / 2);
    } else if (current) {
        s->timer_next = now + ((int64_t)current << divide_shift(s));
    }
}

void lapic_set_regs(X86Cpu *c, const X86ApicRegs *r)
{
    Lapic *s = c->apic;

    s->base = r->base;
    for (unsigned i = 0; i < 8; i++) {
        s->isr[i] = r->reg[REG_ISR + i];
        s->tmr[i] = r->reg[REG_TMR + i];
        s->irr[i] = r->reg[REG_IRR + i];
    }
    for (unsigned i = 0; i < LVTS; i++)
        s->lvt[i] = r->reg[REG_LVT + i];
    if (!x2apic_on(s)) {
        s->xapic_id = r->reg[REG_ID] >> 24;
        s->ldr = r->reg[REG_LDR];
    }
    s->tpr = r->reg[REG_TPR] & 0xff;
    s->ppr = r->reg[REG_PPR] & 0xff;
    s->dfr = r->reg[REG_DFR];
    s->svr = r->reg[REG_SVR];
    s->esr = r->reg[REG_ESR];
    s->icr = r->reg[REG_ICR];
    s->icr_high = r->reg[REG_ICR_HIGH];
    s->initial = r->reg[REG_INITIAL];
    s->divide = r->reg[REG_DIVIDE] & 11;
    timer_from_regs(s, r);
}

void lapic_engine_send(Lapic *s, unsigned mode, uint8_t vector, bool level)
{
    Machine *m = s->bus->machine;

    irqchip_of(m)->msi(m, APIC_DEFAULT_BASE | (s->xapic_id & 0xff) << 12,
                       vector | mode << 8 | 1u << 14 | (level ? 1u << 15 : 0));
}
