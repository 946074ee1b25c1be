/*
 * loop: the parts of a run loop that the software engines share. Own thread of the vcpu.
 */
#ifndef ACCEL_SOFT_LOOP_H
#define ACCEL_SOFT_LOOP_H

#include "target/x86/mem.h"

/*
 * After sigsetjmp(c->vcpu.unwind) returned why: repairs rip and delivers an exception.
 * VCPU_EXIT_NONE: go on; else leave run() with it.
 */
VcpuExit soft_unwound(X86Cpu *c, int why);
/* Linear address of the next instruction. */
static inline uint64_t soft_lin(const X86Cpu *c)
{
    return c->mode & MODE_CS64 ? c->rip : (uint32_t)(c->seg[S_CS].base + c->rip);
}
/* Is the INT3 at a linear address one that c's debugger (there is one) put there? */
bool soft_trap_at(X86Cpu *c, uint64_t lin);
/* Accel.debug of an engine that runs C bodies. */
bool soft_debug(Vcpu *v);
/* Does v->debug want what only soft_debug_run() can do? */
static inline bool soft_debugged(const Vcpu *v)
{
    return v->debug && (v->debug->step || v->debug->stops->len || v->debug->watches->len);
}
/* Attention was set: clears it, does queued work, takes one event. Result as above. */
VcpuExit soft_attend(X86Cpu *c);

#endif
