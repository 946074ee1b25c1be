/*
 * step: a few instructions through their C bodies, for an engine that cannot run them itself.
 *
 * Nothing is remembered between calls: no decoded blocks, no translations. Hardware engines use it
 * for what their host refuses to execute.
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

#endif
