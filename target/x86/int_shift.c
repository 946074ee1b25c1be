/*
 * int_shift: shifts and rotates, SHLD and SHRD, and their flagless VEX forms.
 *
 * Counts are taken modulo 32, or 64 for 64-bit operands; a count of 0 leaves flags alone. OF after
 * counts above 1 is undefined: it gets the same formula as for 1.
 */
#include "target/x86/int_int.h"

static inline void set_cf_of(X86Cpu *c, unsigned cf, unsigned of)
{
    c->lf_aux = (c->lf_aux & ~(uint64_t)(FL_CF | FL_OF)) | cf | of << 11;
}
static inline void set_result(X86Cpu *c, uint64_t r, unsigned size, unsigned cf, unsigned of)
{
    c->lf_res = x86_sext(r, size);
    c->lf_aux = cf | of << 11;
}
static inline unsigned bit(uint64_t v, unsigned n) { return v >> n & 1; }

typedef uint64_t ShiftFn(X86Cpu *c, uint64_t a, unsigned n, unsigned size);

/* n is not 0 and below 32 (64); a is zero-extended. Each sets flags and returns the result. */
static uint64_t fn_rol(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8, k = n & (bits - 1);
    uint64_t r = k ? (a << k | a >> (bits - k)) & x86_mask(size) : a;

    set_cf_of(c, r & 1, bit(r, bits - 1) ^ (r & 1));
    return r;
}
static uint64_t fn_ror(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8, k = n & (bits - 1);
    uint64_t r = k ? (a >> k | a << (bits - k)) & x86_mask(size) : a;

    set_cf_of(c, bit(r, bits - 1), bit(r, bits - 1) ^ bit(r, bits - 2));
    return r;
}
static uint64_t fn_rcl(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8, cf = lf_cf(c);

    n %= bits + 1;
    while (n--) {
        unsigned out = bit(a, bits - 1);

        a = (a << 1 | cf) & x86_mask(size);
        cf = out;
    }
    set_cf_of(c, cf, bit(a, bits - 1) ^ cf);
    return a;
}
static uint64_t fn_rcr(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8, cf = lf_cf(c);

    n %= bits + 1;
    while (n--) {
        unsigned out = a & 1;

        a = a >> 1 | (uint64_t)cf << (bits - 1);
        cf = out;
    }
    set_cf_of(c, cf, bit(a, bits - 1) ^ bit(a, bits - 2));
    return a;
}
static uint64_t fn_shl(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8, cf = n <= bits ? bit(a, bits - n) : 0;
    uint64_t r = (a << n) & x86_mask(size);

    set_result(c, r, size, cf, bit(r, bits - 1) ^ cf);
    return r;
}
static uint64_t fn_shr(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    unsigned bits = size * 8;
    uint64_t r = a >> n;

    set_result(c, r, size, bit(a, n - 1), bit(r, bits - 1) ^ bit(r, bits - 2));
    return r;
}
static uint64_t fn_sar(X86Cpu *c, uint64_t a, unsigned n, unsigned size)
{
    int64_t s = x86_sext(a, size);
    uint64_t r = s >> n;

    set_result(c, r, size, s >> (n - 1) & 1, 0);
    return r;
}

static inline void shift(X86Cpu *c, const X86Insn *i, unsigned n, ShiftFn *fn)
{
    unsigned size = i->opsize;

    n &= size == 8 ? 63 : 31;
    if (i->is_reg) {
        uint64_t a = x86_gpr_rd(c, i, i->rm, size);

        if (n)
            a = fn(c, a, n, size);
        if (n || size == 4)
            x86_gpr_wr(c, i, i->rm, size, a);
    } else {
        uint64_t va = x86_ea(c, i, size, true), a;

        x86_probe_w(c, va, size, c->data_bank);
        a = x86_ld(c, va, size);
        if (!n)
            return;
        a = fn(c, a, n, size);
        x86_st(c, va, size, a);
    }
}
#define SHIFT(name) \
    static void name##_ei(X86Cpu *c, const X86Insn *i) { shift(c, i, i->imm, fn_##name); } \
    static void name##_ec(X86Cpu *c, const X86Insn *i) { shift(c, i, c->gpr[R_RCX], fn_##name); } \
    BODY1(name##_ei, name##_ei); \
    BODY1(name##_ec, name##_ec);
SHIFT(rol)
SHIFT(ror)
SHIFT(rcl)
SHIFT(rcr)
SHIFT(shl)
SHIFT(shr)
SHIFT(sar)

/* Bits of a move up by n, filled from the top of b. 16-bit counts above 16 rotate a in again. */
static uint64_t fn_shld(X86Cpu *c, uint64_t a, uint64_t b, unsigned n, unsigned size)
{
    uint64_t r;
    unsigned bits = size * 8, cf;

    if (size == 2) {
        uint64_t w = a << 32 | b << 16 | a;

        r = w << n >> 32 & 0xffff;
        cf = bit(w, 48 - n);
    } else {
        r = (a << n | b >> (bits - n)) & x86_mask(size);
        cf = bit(a, bits - n);
    }
    set_result(c, r, size, cf, bit(r ^ a, bits - 1));
    return r;
}
static uint64_t fn_shrd(X86Cpu *c, uint64_t a, uint64_t b, unsigned n, unsigned size)
{
    uint64_t r;
    unsigned bits = size * 8, cf;

    if (size == 2) {
        uint64_t w = a << 32 | b << 16 | a;

        r = w >> n & 0xffff;
        cf = bit(w, n - 1);
    } else {
        r = (a >> n | b << (bits - n)) & x86_mask(size);
        cf = bit(a, n - 1);
    }
    set_result(c, r, size, cf, bit(r ^ a, bits - 1));
    return r;
}
static void shift_double(X86Cpu *c, const X86Insn *i, unsigned n,
                         uint64_t (*fn)(X86Cpu *, uint64_t, uint64_t, unsigned, unsigned))
{
    unsigned size = i->opsize;
    uint64_t a, va = 0, b = x86_rd_g(c, i);

    n &= size == 8 ? 63 : 31;
    if (i->is_reg) {
        a = x86_gpr_rd(c, i, i->rm, size);
    } else {
        va = x86_ea(c, i, size, true);
        x86_probe_w(c, va, size, c->data_bank);
        a = x86_ld(c, va, size);
    }
    if (n)
        a = fn(c, a, b, n, size);
    if (!i->is_reg) {
        if (n)
            x86_st(c, va, size, a);
    } else if (n || size == 4) {
        x86_gpr_wr(c, i, i->rm, size, a);
    }
}
static void shld_i(X86Cpu *c, const X86Insn *i) { shift_double(c, i, i->imm, fn_shld); }
static void shld_c(X86Cpu *c, const X86Insn *i) { shift_double(c, i, c->gpr[R_RCX], fn_shld); }
static void shrd_i(X86Cpu *c, const X86Insn *i) { shift_double(c, i, i->imm, fn_shrd); }
static void shrd_c(X86Cpu *c, const X86Insn *i) { shift_double(c, i, c->gpr[R_RCX], fn_shrd); }
BODY1(shld_i, shld_i);
BODY1(shld_c, shld_c);
BODY1(shrd_i, shrd_i);
BODY1(shrd_c, shrd_c);

static unsigned count_by(X86Cpu *c, const X86Insn *i)
{
    return c->gpr[i->vvvv] & (i->opsize * 8 - 1);
}
static void shlx(X86Cpu *c, const X86Insn *i) { x86_wr_g(c, i, x86_rd_e(c, i) << count_by(c, i)); }
static void shrx(X86Cpu *c, const X86Insn *i) { x86_wr_g(c, i, x86_rd_e(c, i) >> count_by(c, i)); }
static void sarx(X86Cpu *c, const X86Insn *i) { x86_wr_g(c, i, x86_sext(x86_rd_e(c, i), i->opsize) >> count_by(c, i)); }
static void rorx(X86Cpu *c, const X86Insn *i)
{
    unsigned bits = i->opsize * 8, n = i->imm & (bits - 1);
    uint64_t a = x86_rd_e(c, i);

    x86_wr_g(c, i, n ? a >> n | a << (bits - n) : a);
}
BODY1(shlx, shlx);
BODY1(shrx, shrx);
BODY1(sarx, sarx);
BODY1(rorx, rorx);
