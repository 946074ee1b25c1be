/* loop: delivering what unwound from a body, and what came in from outside. */
#include "accel/soft/loop.h"

VcpuExit soft_unwound(X86Cpu *c, int why)
{
    switch (why) {
    case UNWIND_EXCEPTION:
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
