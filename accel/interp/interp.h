/*
 * interp: the interpreter's door: decoded blocks of one vcpu, and running them.
 *
 * The jit runs cold code and single steps through it. Own thread of the vcpu, unless said otherwise.
 */
#ifndef ACCEL_INTERP_H
#define ACCEL_INTERP_H

#include "accel/soft/code.h"

typedef struct Interp Interp;

/* Bytes of decoded blocks: for an engine that runs everything through them, and for one that only starts code here. */
enum { INTERP_ARENA = 32 << 20, INTERP_ARENA_COLD = 4 << 20 };

/* code: the machine's table; shared with the other engine if there is one. arena: INTERP_ARENA*. */
Interp *interp_new(X86Cpu *c, SoftCode *code, size_t arena);
void interp_free(Interp *e);

/* Runs one block from c->rip. Faults unwind to c->vcpu.unwind. */
void interp_run_block(Interp *e);
/* A store to a held page (SoftCodeWritten). Any thread. */
void interp_code_written(Interp *e, RamBlock *rb, uint64_t off, uint64_t len, bool own);
/* Forgets what other threads have written over. Called when attention was set, before running on. */
void interp_take_written(Interp *e);
/* After an unwind from interp_run_block: counts what ran of the block. */
void interp_unwound(Interp *e);
/* How often it has dropped all it knew: stores to pages that only it held are not seen from then on. */
unsigned interp_forgets(const Interp *e);
/* Blocks decoded, and forgotten because of stores: for "info jit". */
void interp_stats(const Interp *e, uint64_t *decoded, uint64_t *dropped);

#endif
