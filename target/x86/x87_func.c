/*
 * x87_func: square root, rounding, scaling, partial remainders and the elementary functions' rules.
 *
 * The special cases follow the tables of SDM vol. 2 for each instruction.
 */
#include "target/x86/x87_int.h"

/* Common start: waits, notes, checks that ST(0..operands-1) are there. Otherwise delivers the
   indefinite to ST(operands - 1), popping operands - 1, and returns false. */
static bool begin(X86Cpu *c, const X86Insn *i, unsigned operands, bool pop)
{
    x87_wait(c);
    x87_note(c, i);
    if (!x87_empty(c, 0) && (operands < 2 || !x87_empty(c, 1)))
        return true;
    if (x87_stack_fault(c, false)) {
        if (pop)
            x87_pop(c);
        x87_put(c, 0, x87_indefinite());
    }
    return false;
}
static Fp st_fp(X86Cpu *c, unsigned n) { return fp_from_x80(*x87_st(c, n)); }

static void finish_st0(X86Cpu *c, const FpStatus *st, Fp r)
{
    if (x87_finish(c, st))
        x87_put(c, 0, fp_to_x80(r));
}
static void finish_st1(X86Cpu *c, const FpStatus *st, Fp r)
{
    if (x87_finish(c, st)) {
        x87_pop(c);
        x87_put(c, 0, fp_to_x80(r));
    }
}
static Fp invalid(FpStatus *st)
{
    st->flags |= FPX_I;
    st->up = false;
    return fp_default_nan();
}
static Fp zero(bool s) { return (Fp) { .cls = FPC_ZERO, .s = s }; }
static Fp infinity(bool s) { return (Fp) { .cls = FPC_INF, .s = s }; }
static Fp one(void) { return fp_from_i64(1); }

static void op_fsqrt(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 1, false))
        finish_st0(c, &st, fp_sqrt(&st, &fp_x80, st_fp(c, 0)));
}
static void op_frndint(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 1, false))
        finish_st0(c, &st, fp_rint(&st, st_fp(c, 0)));
}
BODY1(fsqrt, op_fsqrt);
BODY1(frndint, op_frndint);

static Fp scale(FpStatus *st, Fp a, Fp b)
{
    FpStatus trunc = { .rm = RM_ZERO, .masks = FPX_ALL };
    int64_t n;

    if (fp_is_nan(a) || fp_is_nan(b))
        return fp_nan2(st, a, b);
    if (b.cls == FPC_INF) {
        if ((b.s && a.cls == FPC_INF) || (!b.s && a.cls == FPC_ZERO))
            return invalid(st);
        fp_operand(st, a);
        return b.s ? zero(a.s) : infinity(a.s);
    }
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    if (a.cls != FPC_NORMAL)
        return a;
    /* A denormal underflows even when it is scaled by nothing. */
    n = b.cls == FPC_ZERO ? 0 : b.e > 20 ? (b.s ? -0x10000 : 0x10000) : fp_to_int(&trunc, b, 32);
    if (n > 0x10000)
        n = 0x10000;
    if (n < -0x10000)
        n = -0x10000;
    a.e += n;
    st->prec = 64;
    /* Unmasked, but too far out for a wrapped exponent. */
    if (!(st->masks & FPX_O) && a.e > fp_x80.emax + 24576) {
        st->flags |= FPX_O | FPX_P;
        st->up = true;
        return infinity(a.s);
    }
    if (!(st->masks & FPX_U) && a.e < fp_x80.emin - 24576) {
        st->flags |= FPX_U | FPX_P;
        st->up = false;
        return zero(a.s);
    }
    return fp_round(st, &fp_x80, a);
}
static void op_fscale(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 2, false))
        finish_st0(c, &st, scale(&st, st_fp(c, 0), st_fp(c, 1)));
}
BODY1(fscale, op_fscale);

static void op_fxtract(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);
    Fp a, exp;

    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0) || !x87_empty(c, 7)) {
        if (x87_stack_fault(c, !x87_empty(c, 0))) {
            x87_put(c, 0, x87_indefinite());
            c->x87.top = (c->x87.top - 1) & 7;
            x87_put(c, 0, x87_indefinite());
        }
        return;
    }
    a = st_fp(c, 0);
    if (fp_is_nan(a)) {
        a = exp = fp_nan2(&st, a, a);
    } else if (a.cls == FPC_INF) {
        exp = infinity(false);
    } else if (a.cls == FPC_ZERO) {
        st.flags |= FPX_Z;
        exp = infinity(true);
    } else {
        a = fp_operand(&st, a);
        exp = fp_from_i64(a.e);
        a.e = 0;
    }
    if (!x87_finish(c, &st))
        return;
    x87_put(c, 0, fp_to_x80(exp));
    x87_push(c, fp_to_x80(a));
}
BODY1(fxtract, op_fxtract);

typedef struct Remainder { Fp r; uint64_t q; bool partial; } Remainder;

/* a rem b, exact; nearest: the IEEE remainder. Reduces by at most 63 bits of quotient at a time. */
static Remainder remainder_of(FpStatus *st, Fp a, Fp b, bool nearest)
{
    Remainder rem = { .r = a };
    unsigned __int128 v;
    int32_t d = a.e - b.e;
    uint64_t m;

    if (d < -1 || (d < 0 && !nearest)) {
        rem.r = fp_round(st, &fp_x80, a);
        return rem;
    }
    if (d >= 64) {
        /* As processors do: 32 to 63 bits of the quotient, so that later steps start aligned. */
        unsigned n = 32 + d % 32;

        v = a.m % b.m;
        while (n--)
            v = (v << 1) % b.m;
        /* v / 2^63 * 2^(b.e + d - n): the quotient's bits left are below. */
        rem.partial = true;
        m = v;
        if (!m) {
            rem.r = zero(a.s);
        } else {
            int lz = __builtin_clzll(m);

            rem.r = (Fp) { .cls = FPC_NORMAL, .s = a.s, .m = m << lz, .e = a.e - (int32_t)(32 + d % 32) - lz };
        }
        return rem;
    }
    if (d < 0) {                /* a is in [b/4, b): only for nearest */
        v = (unsigned __int128)a.m << 63;
        rem.q = 0;
    } else {
        v = ((unsigned __int128)a.m << 64) >> (64 - d);
        rem.q = v / b.m;
        v = (v % b.m) << 64;
    }
    /* v over b.m << 64 is the remainder in units of b. */
    if (nearest) {
        unsigned __int128 bb = (unsigned __int128)b.m << 64, rest = bb - v;

        if (v > rest || (v == rest && (rem.q & 1))) {
            v = rest;
            a.s = !a.s;
            rem.q++;
        }
    }
    if (!v) {
        rem.r = zero(rem.r.s);
    } else {
        int lz = (uint64_t)(v >> 64) ? __builtin_clzll(v >> 64) : 64 + __builtin_clzll((uint64_t)v);

        v <<= lz;
        rem.r = (Fp) { .cls = FPC_NORMAL, .s = a.s, .m = v >> 64, .e = b.e - lz };
        rem.r = fp_round(st, &fp_x80, rem.r);
    }
    return rem;
}

static void partial_remainder(X86Cpu *c, const X86Insn *i, bool nearest)
{
    FpStatus st = x87_status(c);
    Remainder rem = { .q = 0 };
    Fp a, b;
    uint16_t cc;

    x87_wait(c);
    c->x87.sw &= ~SW_C2;
    if (!begin(c, i, 2, false))
        return;
    a = st_fp(c, 0);
    b = st_fp(c, 1);
    st.prec = 64;
    if (fp_is_nan(a) || fp_is_nan(b)) {
        rem.r = fp_nan2(&st, a, b);
    } else if (a.cls == FPC_INF || b.cls == FPC_ZERO) {
        rem.r = invalid(&st);
    } else {
        a = fp_operand(&st, a);
        b = fp_operand(&st, b);
        if (a.cls == FPC_ZERO)
            rem.r = a;
        else if (b.cls == FPC_INF)
            rem.r = fp_round(&st, &fp_x80, a);
        else
            rem = remainder_of(&st, a, b, nearest);
    }
    st.up = false;
    if (!x87_finish(c, &st))
        return;
    x87_put(c, 0, fp_to_x80(rem.r));
    if (fp_is_nan(rem.r))       /* C0 and C3 stay */
        return;
    cc = rem.partial ? SW_C2 : (rem.q & 1 ? SW_C1 : 0) | (rem.q & 2 ? SW_C3 : 0) | (rem.q & 4 ? SW_C0 : 0);
    c->x87.sw = (c->x87.sw & ~SW_CC) | cc;
}
static void op_fprem(X86Cpu *c, const X86Insn *i) { partial_remainder(c, i, false); }
static void op_fprem1(X86Cpu *c, const X86Insn *i) { partial_remainder(c, i, true); }
BODY1(fprem, op_fprem);
BODY1(fprem1, op_fprem1);

static void op_f2xm1(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);
    Fp a, r;

    if (!begin(c, i, 1, false))
        return;
    a = r = st_fp(c, 0);
    if (fp_is_nan(a)) {
        r = fp_nan2(&st, a, a);
    } else if (a.cls == FPC_INF) {
        if (a.s) {
            r = one();
            r.s = true;
        }
    } else if (a.cls == FPC_NORMAL) {
        a = fp_operand(&st, a);
        if (a.e == 0 && a.m == 1ULL << 63) {    /* +-1: exact, but said to be rounded */
            st.flags |= FPX_P;
            r = one();
            if (a.s) {
                r.s = true;
                r.e = -1;
            }
        } else if (a.e < 0) {
            r = x87_f2xm1(&st, a);
        } else {                                /* out of range: undefined, left as it is */
            st.flags |= FPX_P;
        }
    }
    finish_st0(c, &st, r);
}
BODY1(f2xm1, op_f2xm1);

static Fp ylog2(FpStatus *st, Fp x, Fp y)
{
    Fp u = one();
    bool below;

    if (fp_is_nan(x) || fp_is_nan(y))
        return fp_nan2(st, x, y);
    if (x.cls == FPC_ZERO) {
        if (y.cls == FPC_ZERO)
            return invalid(st);
        if (y.cls == FPC_INF)
            return infinity(!y.s);
        st->flags |= FPX_Z;
        return infinity(!y.s);
    }
    if (x.s)
        return invalid(st);
    if (x.cls == FPC_INF) {
        if (y.cls == FPC_ZERO)
            return invalid(st);
        fp_operand(st, y);
        return infinity(y.s);
    }
    if (x.m == u.m && x.e == 0) {               /* log2(1) = 0 */
        if (y.cls == FPC_INF)
            return invalid(st);
        fp_operand(st, y);
        return zero(y.s);
    }
    below = x.e < 0;
    x = fp_operand(st, x);
    y = fp_operand(st, y);
    if (y.cls == FPC_INF)
        return infinity(y.s ^ below);
    if (y.cls == FPC_ZERO)
        return zero(y.s ^ below);
    if (x.m == u.m) {                           /* a power of two: exact */
        st->prec = 64;
        y = fp_mul(st, &fp_x80, y, fp_from_i64(x.e));
        st->flags |= FPX_P;                     /* inexact by definition, and so a denormal underflows */
        if (y.cls == FPC_NORMAL && y.e < fp_x80.emin)
            st->flags |= FPX_U;
        return y;
    }
    return x87_ylog2(st, x, y, false);
}
static Fp ylog2p1(FpStatus *st, Fp x, Fp y)
{
    if (fp_is_nan(x) || fp_is_nan(y))
        return fp_nan2(st, x, y);
    if (x.cls == FPC_ZERO) {
        if (y.cls == FPC_INF)
            return invalid(st);
        fp_operand(st, y);
        return zero(x.s ^ y.s);
    }
    if (x.cls == FPC_INF) {
        if (x.s || y.cls == FPC_ZERO)
            return invalid(st);
        fp_operand(st, y);
        return infinity(y.s);
    }
    x = fp_operand(st, x);
    y = fp_operand(st, y);
    if (y.cls == FPC_INF)
        return infinity(x.s ^ y.s);
    if (y.cls == FPC_ZERO)
        return zero(x.s ^ y.s);
    if (x.s && x.e >= 0) {                      /* out of range: undefined, x comes back */
        st->flags |= FPX_P;
        return x;
    }
    return x87_ylog2(st, x, y, true);
}
static void op_fyl2x(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 2, true))
        finish_st1(c, &st, ylog2(&st, st_fp(c, 0), st_fp(c, 1)));
}
static void op_fyl2xp1(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 2, true))
        finish_st1(c, &st, ylog2p1(&st, st_fp(c, 0), st_fp(c, 1)));
}
BODY1(fyl2x, op_fyl2x);
BODY1(fyl2xp1, op_fyl2xp1);

/* Multiples of pi: k/4 * pi, rounded. */
static Fp pi_quarters(FpStatus *st, unsigned k, bool s)
{
    st->prec = 64;
    if (k == 3)
        return fp_round_wide(st, &fp_x80, s, 1, 0x96cbe3f9990e91a7ULL, 0x9394c9e8a0a5159cULL);
    return fp_round_wide(st, &fp_x80, s, k == 4 ? 1 : k == 2 ? 0 : -1, 0xc90fdaa22168c234ULL, 0xc4c6628b80dc1cd1ULL);
}
static Fp patan(FpStatus *st, Fp y, Fp x)
{
    if (fp_is_nan(x) || fp_is_nan(y))
        return fp_nan2(st, x, y);
    x = fp_operand(st, x);
    y = fp_operand(st, y);
    if (y.cls == FPC_INF)
        return pi_quarters(st, x.cls != FPC_INF ? 2 : x.s ? 3 : 1, y.s);
    if (y.cls == FPC_ZERO || x.cls == FPC_INF)
        return x.s ? pi_quarters(st, 4, y.s) : zero(y.s);
    if (x.cls == FPC_ZERO)
        return pi_quarters(st, 2, y.s);
    return x87_patan(st, y, x);
}
static void op_fpatan(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);

    if (begin(c, i, 2, true))
        finish_st1(c, &st, patan(&st, st_fp(c, 1), st_fp(c, 0)));
}
BODY1(fpatan, op_fpatan);

/* FSIN, FCOS, FSINCOS, FPTAN. second: what FSINCOS and FPTAN push. False: no result (C2 set or
   an unmasked exception). */
enum { TRIG_SIN, TRIG_COS, TRIG_SINCOS, TRIG_TAN };
static void trig(X86Cpu *c, const X86Insn *i, unsigned what)
{
    FpStatus st = x87_status(c);
    bool two = what >= TRIG_SINCOS;
    Fp a, r, second;

    x87_wait(c);
    x87_note(c, i);
    c->x87.sw &= ~SW_C2;
    if (x87_empty(c, 0) || (two && !x87_empty(c, 7))) {
        if (!x87_stack_fault(c, !x87_empty(c, 0)))
            return;
        x87_put(c, 0, x87_indefinite());
        if (two) {
            c->x87.top = (c->x87.top - 1) & 7;
            x87_put(c, 0, x87_indefinite());
        }
        return;
    }
    a = r = st_fp(c, 0);
    second = one();
    if (fp_is_nan(a)) {
        r = second = fp_nan2(&st, a, a);
    } else if (a.cls == FPC_INF) {
        r = second = invalid(&st);
    } else if (a.cls == FPC_ZERO) {
        r = what == TRIG_COS ? one() : a;
    } else if (a.e >= 63) {
        c->x87.sw = (c->x87.sw & ~SW_C1) | SW_C2;
        return;
    } else {
        a = fp_operand(&st, a);
        if (what == TRIG_TAN)
            r = x87_ptan(&st, a);
        else
            x87_sincos(&st, a, what == TRIG_COS ? NULL : &r, what == TRIG_COS ? &r : two ? &second : NULL);
    }
    if (!x87_finish(c, &st))
        return;
    x87_put(c, 0, fp_to_x80(r));
    if (two) {
        c->x87.top = (c->x87.top - 1) & 7;
        x87_put(c, 0, fp_to_x80(second));
    }
}
static void op_fsin(X86Cpu *c, const X86Insn *i) { trig(c, i, TRIG_SIN); }
static void op_fcos(X86Cpu *c, const X86Insn *i) { trig(c, i, TRIG_COS); }
static void op_fsincos(X86Cpu *c, const X86Insn *i) { trig(c, i, TRIG_SINCOS); }
static void op_fptan(X86Cpu *c, const X86Insn *i) { trig(c, i, TRIG_TAN); }
BODY1(fsin, op_fsin);
BODY1(fcos, op_fcos);
BODY1(fsincos, op_fsincos);
BODY1(fptan, op_fptan);
