/*
 * check: -accel jit,check=on: every block is run by a shadow processor too, and both ends compared.
 *
 * The shadow (target/x86/shadow.h) runs the block's instructions through their C bodies first, its
 * stores going to copies; then generated code runs; then registers, memory and exceptions must be
 * the same. Blocks are not linked meanwhile. One vcpu only. Own thread.
 */
#ifndef ACCEL_JIT_CHECK_H
#define ACCEL_JIT_CHECK_H

#include "accel/jit/jit_int.h"

typedef struct JitCheck JitCheck;

JitCheck *jit_check_new(X86Cpu *c);
void jit_check_free(JitCheck *k);
/* Must i be a block of its own, which is not checked? It reaches devices or the time. */
bool jit_check_alone(const X86Insn *i);
/* Flags that are undefined after i, if `undefined` were before. */
uint16_t jit_check_undefined(const X86Insn *i, uint16_t undefined);
/* Something else than a checked block ran: translations may have changed. */
void jit_check_dirty(JitCheck *k);
/*
 * Runs b, by run(j, b), with the shadow beside it. False: they differ; the report is on stderr.
 * An exception unwinds to c->vcpu.unwind, after the comparison.
 */
bool jit_check_block(JitCpu *j, JitBlock *b, uint64_t (*run)(JitCpu *j, JitBlock *b));
char *jit_check_describe(const JitCheck *k);

#endif
