/*
 * x87_int: the register stack, the exception rules and the shared steps of x87 bodies.
 *
 * A body: x87_wait(), read memory, x87_note() (the instruction and data pointers), check the
 * stack, compute with an FpStatus, x87_finish(), and only when that allows it write and pop.
 */
#ifndef TARGET_X86_X87_INT_H
#define TARGET_X86_X87_INT_H

#include "target/x86/mem.h"
#include "target/x86/regs.h"
#include "target/x86/softfloat.h"

enum {                          /* status word */
    SW_SF = 1 << 6, SW_ES = 1 << 7, SW_C0 = 1 << 8, SW_C1 = 1 << 9, SW_C2 = 1 << 10, SW_C3 = 1 << 14,
    SW_B = 1 << 15, SW_CC = SW_C0 | SW_C1 | SW_C2 | SW_C3,
};
enum { CW_INIT = 0x37f, CW_WRITABLE = 0x1f3f, CW_FIXED = 0x40 };

/* ST(n): physical register, reference, emptiness. */
static inline unsigned x87_phys(const X86Cpu *c, unsigned n) { return (c->x87.top + n) & 7; }
static inline X86Fp80 *x87_st(X86Cpu *c, unsigned n) { return &c->x87.r[x87_phys(c, n)]; }
static inline bool x87_empty(const X86Cpu *c, unsigned n) { return c->x87.empty >> x87_phys(c, n) & 1; }
static inline void x87_put(X86Cpu *c, unsigned n, X86Fp80 v)
{
    unsigned p = x87_phys(c, n);

    c->x87.r[p] = v;
    c->x87.empty &= ~(1u << p);
}
static inline void x87_pop(X86Cpu *c)
{
    c->x87.empty |= 1u << c->x87.top;
    c->x87.top = (c->x87.top + 1) & 7;
}

/* Waiting instructions: a pending unmasked exception is raised before anything else. */
static inline void x87_wait(X86Cpu *c)
{
    if (__builtin_expect(c->x87.sw & SW_ES, 0))
        x86_raise(c, EXC_MF);
}
/* Records the pointers of a non-control instruction; its memory operand is already accessed. */
void x87_note(X86Cpu *c, const X86Insn *i);

static inline FpStatus x87_status(const X86Cpu *c)
{
    static const uint8_t prec[4] = { 24, 64, 53, 64 };
    uint16_t cw = c->x87.cw;

    return (FpStatus) { .masks = cw & FPX_ALL, .rm = cw >> 10 & 3, .prec = prec[cw >> 8 & 3], .x87 = true };
}
/* Merges the exceptions of st into the status word and sets C1. False: an unmasked one forbids the
   result (registers and stack stay). */
bool x87_finish(X86Cpu *c, const FpStatus *st);
/* The same for results that go to memory: over- and underflow forbid them too. */
bool x87_finish_store(X86Cpu *c, const FpStatus *st);
/* Stack underflow (C1 = 0) or overflow (C1 = 1). True: masked, deliver the indefinite. */
bool x87_stack_fault(X86Cpu *c, bool overflow);
/* Pushes v, or the indefinite on masked overflow; false: unmasked overflow, nothing happened. */
bool x87_push(X86Cpu *c, X86Fp80 v);
/* Sets C3, C2, C0 from an order. */
void x87_set_order(X86Cpu *c, FpOrder o);

static inline X86Fp80 x87_indefinite(void) { return (X86Fp80) { .mant = 0xc000000000000000ULL, .se = 0xffff }; }
/* Recomputes ES and B after the control word or flags were loaded. */
static inline void x87_update_es(X86Cpu *c)
{
    if (c->x87.sw & ~c->x87.cw & FPX_ALL)
        c->x87.sw |= SW_ES | SW_B;
    else
        c->x87.sw &= ~(SW_ES | SW_B);
}
void x87_init(X86Cpu *c);

/* Elementary functions (x87_math.c): arguments finite and not special unless the function says so. */
Fp x87_f2xm1(FpStatus *st, Fp x);
Fp x87_ylog2(FpStatus *st, Fp x, Fp y, bool plus_one);
Fp x87_patan(FpStatus *st, Fp y, Fp x);
/* Sine and cosine of |x| < 2^63; either pointer may be NULL. */
void x87_sincos(FpStatus *st, Fp x, Fp *sin, Fp *cos);
Fp x87_ptan(FpStatus *st, Fp x);

#endif
