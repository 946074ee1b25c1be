/*
 * code: which pages of guest RAM hold code that a software engine remembers.
 *
 * Each vcpu keeps its own decoded or translated blocks. Before it reads the bytes of a page it
 * calls soft_code_hold(): from then on a store to that page by any vcpu or device reaches the
 * `written` function of every vcpu of the machine. RAM_CODE in RamBlock.pages is the shared mark.
 */
#ifndef ACCEL_SOFT_CODE_H
#define ACCEL_SOFT_CODE_H

#include "target/x86/mem.h"

typedef struct SoftCode SoftCode;       /* one per machine, in Machine.accel_state's engine data */

/*
 * [off, off+len) of rb, on a page somebody holds, has been stored to. Any thread, after the store;
 * own: the writer is v's own thread, so its current block may be hit.
 */
typedef void SoftCodeWritten(Vcpu *v, RamBlock *rb, uint64_t off, uint64_t len, bool own);

SoftCode *soft_code_new(Machine *m, SoftCodeWritten *written);
void soft_code_free(SoftCode *s);

/*
 * The page of rb at off is going to be remembered by c (once more). Own thread, machine lock not
 * held. Returns when no vcpu can store there unseen; may run work queued to c meanwhile.
 */
void soft_code_hold(SoftCode *s, X86Cpu *c, RamBlock *rb, uint64_t off);
/* c has forgotten it. Any thread. */
void soft_code_release(SoftCode *s, RamBlock *rb, uint64_t off);

#endif
