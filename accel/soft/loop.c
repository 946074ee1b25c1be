/* loop: delivering what unwound from a body, and what came in from outside. */
#include "accel/soft/loop.h"

bool soft_trap_at(X86Cpu *c, uint64_t lin)
{
    const GArray *traps = c->vcpu.debug->traps;
    uint64_t pa;

    if (!traps->len || !x86_translate_debug(c, lin, &pa))
        return false;
    for (guint i = 0; i < traps->len; i++) {
        if (g_array_index(traps, uint64_t, i) == pa)
            return true;
    }
    return false;
}

/* An INT3 that a debugger put there: c stands before it again. */
static bool debug_trap(X86Cpu *c)
{
    VcpuDebug *d = c->vcpu.debug;

    if (!d || c->exc.vector != EXC_BP || !c->exc.soft || c->exc.intn)
        return false;
    c->rip--;
    if (soft_trap_at(c, soft_lin(c))) {
        d->hit = DEBUG_TRAP;
        return true;
    }
    c->rip++;
    return false;
}

bool soft_debug(Vcpu *v)
{
    x86_debug_plan_changed(x86_cpu(v));
    return true;
}

VcpuExit soft_unwound(X86Cpu *c, int why)
{
    switch (why) {
    case UNWIND_EXCEPTION:
        if (debug_trap(c))
            return VCPU_EXIT_DEBUG;
        if (!c->exc.soft && !c->exc.external)
            c->rip -= c->insn->len;
        return x86_deliver(c) ? VCPU_EXIT_NONE : VCPU_EXIT_TRIPLE_FAULT;
    case UNWIND_EXIT:
        return c->vcpu.exit_reason;
    default:
        return VCPU_EXIT_NONE;
    }
}

VcpuExit soft_attend(X86Cpu *c)
{
    Vcpu *v = &c->vcpu;

    atomic_exchange_explicit(&v->attention, 0, memory_order_acq_rel);
    c->insn = &x86_no_insn;
    if (vcpu_attend(v)) {
        atomic_store_explicit(&v->attention, 1, memory_order_relaxed);
        return VCPU_EXIT_KICK;
    }
    v->exit_reason = VCPU_EXIT_NONE;
    x86_service(c);
    if (v->exit_reason == VCPU_EXIT_TRIPLE_FAULT)
        return VCPU_EXIT_TRIPLE_FAULT;
    if (c->wait_sipi)
        v->halted = true;
    return v->halted ? VCPU_EXIT_HALT : VCPU_EXIT_NONE;
}
