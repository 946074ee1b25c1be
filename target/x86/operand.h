/*
 * operand: register operands by size, and values cut to an operand size.
 *
 * A write of 32 bits clears the upper half of a 64-bit register; of 8 and 16 bits keeps the rest.
 */
#ifndef TARGET_X86_OPERAND_H
#define TARGET_X86_OPERAND_H

#include "target/x86/mem.h"

/* Byte register n of i: AH CH DH BH for 4-7 without REX. */
static inline uint8_t x86_gpr_rd8(const X86Cpu *c, const X86Insn *i, unsigned n)
{
    if (n >= 4 && n < 8 && !(i->flags & INSN_REX))
        return c->gpr[n - 4] >> 8;
    return c->gpr[n];
}
static inline void x86_gpr_wr8(X86Cpu *c, const X86Insn *i, unsigned n, uint8_t v)
{
    if (n >= 4 && n < 8 && !(i->flags & INSN_REX))
        c->gpr[n - 4] = (c->gpr[n - 4] & ~0xff00ULL) | (uint64_t)v << 8;
    else
        c->gpr[n] = (c->gpr[n] & ~0xffULL) | v;
}
static inline uint16_t x86_gpr_rd16(const X86Cpu *c, unsigned n) { return c->gpr[n]; }
static inline uint32_t x86_gpr_rd32(const X86Cpu *c, unsigned n) { return c->gpr[n]; }
static inline uint64_t x86_gpr_rd64(const X86Cpu *c, unsigned n) { return c->gpr[n]; }
static inline void x86_gpr_wr16(X86Cpu *c, unsigned n, uint16_t v) { c->gpr[n] = (c->gpr[n] & ~0xffffULL) | v; }
static inline void x86_gpr_wr32(X86Cpu *c, unsigned n, uint32_t v) { c->gpr[n] = v; }
static inline void x86_gpr_wr64(X86Cpu *c, unsigned n, uint64_t v) { c->gpr[n] = v; }

/* The low size bytes (1, 2, 4, 8) as a mask; the sign bit of that size. */
static inline uint64_t x86_mask(unsigned size) { return ~0ULL >> (64 - 8 * size); }
static inline uint64_t x86_sign(unsigned size) { return 1ULL << (8 * size - 1); }
static inline int64_t x86_sext(uint64_t v, unsigned size)
{
    return (int64_t)(v << (64 - 8 * size)) >> (64 - 8 * size);
}

/* Register n at size bytes, zero-extended. */
static inline uint64_t x86_gpr_rd(const X86Cpu *c, const X86Insn *i, unsigned n, unsigned size)
{
    return size == 1 ? x86_gpr_rd8(c, i, n) : c->gpr[n] & x86_mask(size);
}
static inline void x86_gpr_wr(X86Cpu *c, const X86Insn *i, unsigned n, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: x86_gpr_wr8(c, i, n, v); break;
    case 2: x86_gpr_wr16(c, n, v); break;
    case 4: x86_gpr_wr32(c, n, v); break;
    default: c->gpr[n] = v;
    }
}
/* Memory at a linear address, size 1, 2, 4 or 8. */
static inline uint64_t x86_ld(X86Cpu *c, uint64_t lin, unsigned size)
{
    switch (size) {
    case 1: return x86_ld8(c, lin);
    case 2: return x86_ld16(c, lin);
    case 4: return x86_ld32(c, lin);
    default: return x86_ld64(c, lin);
    }
}
static inline void x86_st(X86Cpu *c, uint64_t lin, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: x86_st8(c, lin, v); break;
    case 2: x86_st16(c, lin, v); break;
    case 4: x86_st32(c, lin, v); break;
    default: x86_st64(c, lin, v);
    }
}

/* The E operand (register or memory) at i->opsize. */
static inline uint64_t x86_rd_e(X86Cpu *c, const X86Insn *i)
{
    if (i->is_reg)
        return x86_gpr_rd(c, i, i->rm, i->opsize);
    return x86_ld(c, x86_ea(c, i, i->opsize, false), i->opsize);
}
static inline void x86_wr_e(X86Cpu *c, const X86Insn *i, uint64_t v)
{
    if (i->is_reg)
        x86_gpr_wr(c, i, i->rm, i->opsize, v);
    else
        x86_st(c, x86_ea(c, i, i->opsize, true), i->opsize, v);
}
/* The G operand at i->opsize. */
static inline uint64_t x86_rd_g(X86Cpu *c, const X86Insn *i) { return x86_gpr_rd(c, i, i->reg, i->opsize); }
static inline void x86_wr_g(X86Cpu *c, const X86Insn *i, uint64_t v) { x86_gpr_wr(c, i, i->reg, i->opsize, v); }

/* Stack (int_stack.c): push and pop of size bytes at SS:rSP by the stack-size attribute. A push
   or pop commits rSP after its access cannot fault any more. */
void x86_push(X86Cpu *c, unsigned size, uint64_t v);
uint64_t x86_pop(X86Cpu *c, unsigned size);
/* rSP masked by the stack size; writes the right part of it. */
static inline uint64_t x86_sp_mask(const X86Cpu *c)
{
    return c->mode & MODE_CS64 ? ~0ULL : c->mode & MODE_SS32 ? 0xffffffffU : 0xffff;
}
static inline void x86_set_sp(X86Cpu *c, uint64_t sp)
{
    uint64_t m = x86_sp_mask(c);

    if (m == 0xffff)
        c->gpr[R_RSP] = (c->gpr[R_RSP] & ~m) | (sp & m);
    else
        c->gpr[R_RSP] = sp & m;
}
/* Near branch to target: checked against the code segment (#GP) and cut to i->opsize. */
void x86_branch(X86Cpu *c, const X86Insn *i, uint64_t target);

#endif
