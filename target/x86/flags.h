/*
 * flags: lazy arithmetic flags: a result and auxiliary bits stand for the six flags.
 *
 * lf_res is the last result, sign-extended to 64 bits: ZF is "lf_res == 0", SF its bit 63 XOR an
 * auxiliary bit, PF the parity of its low byte XOR an auxiliary byte. lf_aux keeps the rest:
 *
 *     bit 0       CF
 *     bit 4       AF
 *     bit 11      OF
 *     bit 7       SF differs from the sign of lf_res
 *     bits 16-23  XORed to the low byte of lf_res before its parity is taken
 *
 * Any combination of flags can be written: ZF with SF needs lf_res 0 and the two correction parts.
 */
#ifndef TARGET_X86_FLAGS_H
#define TARGET_X86_FLAGS_H

#include "target/x86/cpu.h"

static inline unsigned lf_cf(const X86Cpu *c) { return c->lf_aux & 1; }
static inline unsigned lf_of(const X86Cpu *c) { return c->lf_aux >> 11 & 1; }
static inline unsigned lf_af(const X86Cpu *c) { return c->lf_aux >> 4 & 1; }
static inline unsigned lf_zf(const X86Cpu *c) { return c->lf_res == 0; }
static inline unsigned lf_sf(const X86Cpu *c) { return (c->lf_res >> 63 ^ c->lf_aux >> 7) & 1; }
static inline unsigned lf_pf(const X86Cpu *c)
{
    return !__builtin_parity((c->lf_res ^ c->lf_aux >> 16) & 0xff);
}

/* The six flags as RFLAGS bits. */
static inline uint32_t x86_flags_get(const X86Cpu *c)
{
    return (c->lf_aux & (FL_CF | FL_AF | FL_OF)) | lf_pf(c) << 2 | lf_zf(c) << 6 | lf_sf(c) << 7;
}
/* Sets all six from RFLAGS bits. */
static inline void x86_flags_put(X86Cpu *c, uint32_t f)
{
    /* A non-zero result with an even low byte unless ZF; sign and parity corrected by lf_aux. */
    c->lf_res = !(f & FL_ZF);
    c->lf_aux = (f & (FL_CF | FL_AF | FL_OF | FL_SF)) |
                (uint64_t)(!(f & FL_PF) ^ !(f & FL_ZF)) << 16;
}
/* Sets the flags in mask from f, keeps the others. */
static inline void x86_flags_change(X86Cpu *c, uint32_t mask, uint32_t f)
{
    x86_flags_put(c, (x86_flags_get(c) & ~mask) | (f & mask));
}
static inline void lf_set_cf(X86Cpu *c, bool cf) { c->lf_aux = (c->lf_aux & ~1ULL) | cf; }

/* After a logical operation: CF = OF = AF = 0. r sign-extended. */
static inline void lf_logic(X86Cpu *c, int64_t r)
{
    c->lf_res = r;
    c->lf_aux = 0;
}
/*
 * carries: bit n set when bit n of the operation carried (borrowed) out; bits = operand bits.
 * CF is the carry out of the top, AF out of bit 3, OF the XOR of the top two.
 */
static inline void lf_arith(X86Cpu *c, int64_t r, uint64_t carries, unsigned bits)
{
    uint64_t top = carries >> (bits - 1) & 1, below = carries >> (bits - 2) & 1;

    c->lf_res = r;
    c->lf_aux = top | (carries << 1 & FL_AF) | (top ^ below) << 11;
}
/* r = a + b (+ carry in), r = a - b (- borrow in); r cut or sign-extended, upper bits are ignored. */
static inline uint64_t lf_add_carries(uint64_t a, uint64_t b, uint64_t r) { return (a & b) | ((a | b) & ~r); }
static inline uint64_t lf_sub_carries(uint64_t a, uint64_t b, uint64_t r) { return (~a & b) | (~(a ^ b) & r); }
/* INC, DEC: CF stays. */
static inline void lf_arith_keep_cf(X86Cpu *c, int64_t r, uint64_t carries, unsigned bits)
{
    unsigned cf = lf_cf(c);

    lf_arith(c, r, carries, bits);
    lf_set_cf(c, cf);
}

/* Condition cc (the low four opcode bits of Jcc). */
static inline bool x86_cond(const X86Cpu *c, unsigned cc)
{
    bool r;

    switch (cc >> 1) {
    case 0: r = lf_of(c); break;
    case 1: r = lf_cf(c); break;
    case 2: r = lf_zf(c); break;
    case 3: r = lf_cf(c) || lf_zf(c); break;
    case 4: r = lf_sf(c); break;
    case 5: r = lf_pf(c); break;
    case 6: r = lf_sf(c) != lf_of(c); break;
    default: r = lf_zf(c) || lf_sf(c) != lf_of(c); break;
    }
    return r ^ (cc & 1);
}

#endif
