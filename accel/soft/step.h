/*
 * step: instructions through their C bodies, for an engine that cannot run them itself.
 *
 * No decoded block outlives the bytes it came from: every instruction's bytes are compared before
 * it runs, so nobody has to say that code was written. Hardware engines use it for what their host
 * refuses to execute.
 */
#ifndef ACCEL_SOFT_STEP_H
#define ACCEL_SOFT_STEP_H

#include "target/x86/mem.h"

/*
 * Runs up to n instructions at c's RIP, delivering the exceptions they raise, until attention is
 * asked for or the processor halts. External interrupts are the caller's. Own thread, machine lock
 * not held, the struct true. VCPU_EXIT_NONE: go on.
 */
VcpuExit soft_step(X86Cpu *c, unsigned n);

/* Decoded instructions, one per hash of their place. */
typedef struct SoftCache SoftCache;
SoftCache *soft_cache_new(void);
void soft_cache_free(SoftCache *s);

/*
 * Runs c with all that belongs to it (exceptions, interrupts, queued work) until leave(c) after an
 * instruction or an event, or there is a reason to leave run(). At least one instruction is run
 * if force. VCPU_EXIT_NONE: leave(c) is true. Own thread, machine lock not held.
 */
VcpuExit soft_run(X86Cpu *c, SoftCache *s, bool force, bool (*leave)(const X86Cpu *c));

/* As soft_run() without end, under v->debug: every instruction is looked at. */
VcpuExit soft_debug_run(X86Cpu *c);

#endif
