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
