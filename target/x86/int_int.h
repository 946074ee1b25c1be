/*
 * int_int: read-modify-write of memory operands, shared by the integer bodies.
 */
#ifndef TARGET_X86_INT_INT_H
#define TARGET_X86_INT_INT_H

#include "target/x86/flags.h"
#include "target/x86/operand.h"

/* General register n of the current instruction, by size; and its twin that writes. */
#define RD8(n) x86_gpr_rd8(c, i, n)
#define RD16(n) x86_gpr_rd16(c, n)
#define RD32(n) x86_gpr_rd32(c, n)
#define RD64(n) x86_gpr_rd64(c, n)
#define WR8(n, v) x86_gpr_wr8(c, i, n, v)
#define WR16(n, v) x86_gpr_wr16(c, n, v)
#define WR32(n, v) x86_gpr_wr32(c, n, v)
#define WR64(n, v) x86_gpr_wr64(c, n, v)

/* CC(number, suffix) for each condition of Jcc, SETcc and CMOVcc. */
#define X86_CONDITIONS(CC) \
    CC(0, o) CC(1, no) CC(2, b) CC(3, ae) CC(4, e) CC(5, ne) CC(6, be) CC(7, a) \
    CC(8, s) CC(9, ns) CC(10, p) CC(11, np) CC(12, l) CC(13, ge) CC(14, le) CC(15, g)

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
