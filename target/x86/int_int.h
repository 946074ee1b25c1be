/*
 * int_int: read-modify-write of memory operands, shared by the integer bodies.
 */
#ifndef TARGET_X86_INT_INT_H
#define TARGET_X86_INT_INT_H

#include "target/x86/flags.h"
#include "target/x86/operand.h"

/* New value from old value a and operand b; carry is CF before the instruction. */
typedef uint64_t RmwFn(uint64_t a, uint64_t b, unsigned carry);

/* The host address for a store (and load) of size bytes at linear va when that is all it takes; else NULL. May raise #PF. */
static inline void *rmw_ptr(X86Cpu *c, uint64_t va, unsigned size)
{
    const TlbEntry *e = &c->tlb[c->data_bank][tlb_index(va)];
    uint64_t off = va ^ e->tag_w;

    if (__builtin_expect(off <= TLB_PAGE - size, 1))
        return (void *)(uintptr_t)(e->host_page + off);
    return x86_host_w(c, va, size, c->data_bank);
}

/* Replaces the value at va by fn(old, b, carry), atomically when lock; returns old. p: from rmw_ptr. */
uint64_t x86_rmw(X86Cpu *c, void *p, uint64_t va, unsigned size, bool lock, RmwFn *fn, uint64_t b, unsigned carry);
/* Atomic compare and exchange of the value at va; returns old. */
uint64_t x86_cmpxchg_mem(X86Cpu *c, uint64_t va, unsigned size, bool lock, uint64_t expect, uint64_t desired);

#endif
