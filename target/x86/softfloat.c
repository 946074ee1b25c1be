/*
 * softfloat: unpacking, rounding and the five operations on unpacked numbers.
 *
 * Tininess is detected after rounding, as x86 does. Intermediate results carry 64 significant bits
 * plus 64 bits below them in which only order and "not zero" matter.
 */
#include "target/x86/softfloat.h"

typedef unsigned __int128 U128;

const FpFormat fp_f16 = { 11, -14, 15 };
const FpFormat fp_f32 = { 24, -126, 127 };
const FpFormat fp_f64 = { 53, -1022, 1023 };
const FpFormat fp_x80 = { 64, -16382, 16383 };

#define TOP (1ULL << 63)
#define QUIET (1ULL << 62)

static Fp unpack(uint64_t v, unsigned frac_bits, unsigned exp_bits)
{
    uint64_t frac = v & ((1ULL << frac_bits) - 1);
    int32_t max = (1 << exp_bits) - 1, e = (v >> frac_bits) & max;
    Fp a = { .s = v >> (frac_bits + exp_bits) & 1 };
    int lz;

    if (e == max) {
        a.m = TOP | frac << (63 - frac_bits);
        a.cls = !frac ? FPC_INF : a.m & QUIET ? FPC_QNAN : FPC_SNAN;
    } else if (e) {
        a.cls = FPC_NORMAL;
        a.m = TOP | frac << (63 - frac_bits);
        a.e = e - (max >> 1);
    } else if (frac) {
        a.cls = FPC_NORMAL;
        a.den = true;
        lz = __builtin_clzll(frac);
        a.m = frac << lz;
        a.e = 1 - (max >> 1) - (lz - (63 - (int)frac_bits));
    }
    return a;
}

Fp fp_from_f32(uint32_t v) { return unpack(v, 23, 8); }
Fp fp_from_f64(uint64_t v) { return unpack(v, 52, 11); }
Fp fp_from_f16(uint16_t v) { return unpack(v, 10, 5); }

Fp fp_from_x80(X86Fp80 v)
{
    int32_t e = v.se & 0x7fff;
    Fp a = { .m = v.mant, .s = v.se >> 15 };
    int lz;

    if (e == 0x7fff) {
        if (!(v.mant & TOP))
            a.cls = FPC_BAD;
        else
            a.cls = !(v.mant << 1) ? FPC_INF : v.mant & QUIET ? FPC_QNAN : FPC_SNAN;
    } else if (e == 0) {
        if (v.mant) {           /* denormal, or pseudo-denormal with the integer bit set */
            lz = __builtin_clzll(v.mant);
            a.cls = FPC_NORMAL;
            a.den = true;
            a.m <<= lz;
            a.e = -16382 - lz;
        }
    } else {
        a.cls = v.mant & TOP ? FPC_NORMAL : FPC_BAD;      /* unnormals are unsupported */
        a.e = e - 16383;
    }
    return a;
}

Fp fp_from_i64(int64_t v)
{
    Fp a = { .s = v < 0 };
    uint64_t m = v < 0 ? -(uint64_t)v : v;
    int lz;

    if (m) {
        lz = __builtin_clzll(m);
        a.cls = FPC_NORMAL;
        a.m = m << lz;
        a.e = 63 - lz;
    }
    return a;
}

static uint64_t pack(Fp a, unsigned frac_bits, unsigned exp_bits)
{
    int32_t max = (1 << exp_bits) - 1, bias = max >> 1, e;
    uint64_t frac = (a.m << 1) >> (64 - frac_bits), s = (uint64_t)a.s << (frac_bits + exp_bits);

    switch (a.cls) {
    case FPC_ZERO:
        return s;
    case FPC_NORMAL:
        e = a.e + bias;
        if (e <= 0)             /* denormal: the leading one moves into the fraction */
            return e < -60 ? s : s | (a.m >> (63 - frac_bits) >> (1 - e));
        return s | (uint64_t)e << frac_bits | frac;
    case FPC_INF:
        return s | (uint64_t)max << frac_bits;
    default:
        return s | (uint64_t)max << frac_bits | frac;
    }
}

uint32_t fp_to_f32(Fp a) { return pack(a, 23, 8); }
uint64_t fp_to_f64(Fp a) { return pack(a, 52, 11); }
uint16_t fp_to_f16(Fp a) { return pack(a, 10, 5); }

X86Fp80 fp_to_x80(Fp a)
{
    X86Fp80 v = { .se = a.s << 15 };

    if (a.cls == FPC_NORMAL) {
        if (a.e < -16382) {
            v.mant = a.m >> (-16382 - a.e);
        } else {
            v.mant = a.m;
            v.se |= a.e + 16383;
        }
    } else if (a.cls != FPC_ZERO) {
        v.mant = a.cls == FPC_INF ? TOP : a.m;
        v.se |= 0x7fff;
    }
    return v;
}

Fp fp_default_nan(void)
{
    return (Fp) { .cls = FPC_QNAN, .s = true, .m = TOP | QUIET };
}

/* Keeps the top p bits of m:x by mode rm. Sets *inexact, *up; a carry out gives m = TOP and *carry. */
static uint64_t round_bits(uint64_t m, uint64_t x, unsigned p, unsigned rm, bool s, bool *inexact, bool *up, bool *carry)
{
    uint64_t rem, lsb;
    bool inc = false;

    if (p == 64) {
        rem = x;
        lsb = 1;
    } else {
        lsb = 1ULL << (64 - p);
        rem = (m << p) | (x != 0);
        m &= ~(lsb - 1);
    }
    *inexact = rem != 0;
    switch (rm) {
    case RM_NEAREST: inc = rem > TOP || (rem == TOP && (m & lsb)); break;
    case RM_DOWN: inc = s && rem; break;
    case RM_UP: inc = !s && rem; break;
    }
    *up = inc;
    *carry = false;
    if (inc) {
        m += lsb;
        if (m < lsb) {
            m = TOP;
            *carry = true;
        }
    }
    return m;
}

static void shift_right(uint64_t *m, uint64_t *x, unsigned n)
{
    if (n == 0)
        return;
    if (n < 64) {
        *x = (*m << (64 - n)) | (*x >> n) | ((*x << (64 - n)) != 0);
        *m >>= n;
    } else if (n == 64) {
        *x = *m | (*x != 0);
        *m = 0;
    } else {
        *x = n < 128 ? (*m >> (n - 64)) | ((*m << (128 - n)) != 0 || *x) : (*m | *x) != 0;
        *m = 0;
    }
}

/* Below the normal range: m:x is shifted to the format's fixed position and rounded there. */
static Fp round_denormal(FpStatus *st, const FpFormat *f, unsigned p, bool s, int32_t e, uint64_t m, uint64_t x, bool tiny)
{
    unsigned n = f->emin - e < 130 ? f->emin - e : 130;
    Fp r = { .s = s };
    bool inexact, carry;
    int lz;

    if (tiny && st->ftz && (st->masks & FPX_U)) {
        st->flags |= FPX_U | FPX_P;
        return r;
    }
    shift_right(&m, &x, n);
    /* Bit 63 now weighs 2^emin; the increment cannot carry out of it. */
    m = round_bits(m, x, p, st->rm, s, &inexact, &st->up, &carry);
    if (inexact)
        st->flags |= FPX_P | (tiny ? FPX_U : 0);
    if (m) {
        lz = __builtin_clzll(m);
        r.cls = FPC_NORMAL;
        r.m = m << lz;
        r.e = f->emin - lz;
    }
    return r;
}

static Fp overflow(FpStatus *st, const FpFormat *f, unsigned p, bool s)
{
    bool inf = st->rm == RM_NEAREST || st->rm == (s ? RM_DOWN : RM_UP);

    st->flags |= FPX_O | FPX_P;
    st->up = inf;
    if (inf)
        return (Fp) { .cls = FPC_INF, .s = s };
    return (Fp) { .cls = FPC_NORMAL, .s = s, .e = f->emax, .m = ~0ULL << (64 - p) };
}

Fp fp_round_wide(FpStatus *st, const FpFormat *f, bool s, int32_t e, uint64_t m, uint64_t x)
{
    unsigned p = f->p == 64 ? st->prec : f->p;
    bool inexact, carry, up;
    uint64_t rm = round_bits(m, x, p, st->rm, s, &inexact, &up, &carry);
    int32_t re = e + carry;
    bool tiny = re < f->emin;

    st->up = up;
    if (e < f->emin && (!tiny || (st->masks & FPX_U)))
        return round_denormal(st, f, p, s, e, m, x, tiny);
    if (tiny) {                 /* unmasked: the x87 delivers a wrapped exponent, SSE nothing */
        st->flags |= FPX_U | (inexact ? FPX_P : 0);
        if (f->p == 64)
            re += 24576;
    } else if (re > f->emax) {
        if (st->masks & FPX_O)
            return overflow(st, f, p, s);
        st->flags |= FPX_O | (inexact ? FPX_P : 0);
        if (f->p == 64)
            re -= 24576;
    } else if (inexact) {
        st->flags |= FPX_P;
    }
    return (Fp) { .cls = FPC_NORMAL, .s = s, .e = re, .m = rm };
}

Fp fp_round(FpStatus *st, const FpFormat *f, Fp a)
{
    st->up = false;
    return a.cls == FPC_NORMAL ? fp_round_wide(st, f, a.s, a.e, a.m, 0) : a;
}

Fp fp_operand(FpStatus *st, Fp a)
{
    if (a.den) {
        if (st->daz) {
            a.cls = FPC_ZERO;
            a.den = false;
        } else {
            st->flags |= FPX_D;
        }
    }
    return a;
}

static Fp quiet(Fp a)
{
    a.m |= QUIET;
    a.cls = FPC_QNAN;
    return a;
}

static Fp invalid(FpStatus *st)
{
    st->flags |= FPX_I;
    return fp_default_nan();
}

Fp fp_nan2(FpStatus *st, Fp a, Fp b)
{
    if (a.cls == FPC_BAD || b.cls == FPC_BAD)
        return invalid(st);
    if (a.cls == FPC_SNAN || b.cls == FPC_SNAN)
        st->flags |= FPX_I;
    if (!fp_is_nan(b))
        return quiet(a);
    if (!fp_is_nan(a))
        return quiet(b);
    if (!st->x87)
        return quiet(a);
    /* x87: a quiet one before a signalling one, then the larger significand, then the positive. */
    if (a.cls != b.cls)
        return a.cls == FPC_QNAN ? a : b;
    if (a.m != b.m)
        return quiet(a.m > b.m ? a : b);
    return quiet(a.s ? b : a);
}

static Fp round_u128(FpStatus *st, const FpFormat *f, bool s, int32_t e, U128 v)
{
    /* v's bit 127 weighs 2^e. */
    int lz = (uint64_t)(v >> 64) ? __builtin_clzll(v >> 64) : 64 + __builtin_clzll((uint64_t)v);

    v <<= lz;
    return fp_round_wide(st, f, s, e - lz, v >> 64, v);
}

static U128 shift_sticky(U128 v, unsigned n)
{
    if (n == 0)
        return v;
    if (n >= 128)
        return v != 0;
    return v >> n | ((v << (128 - n)) != 0);
}

/* Sum of two finite non-zero numbers given with 128-bit significands, bit 127 set. */
static Fp add_wide(FpStatus *st, const FpFormat *f, bool as, int32_t ae, U128 av, bool bs, int32_t be, U128 bv)
{
    U128 v;
    int32_t e = ae > be ? ae : be;
    bool s = as;

    av = shift_sticky(av, ae < be ? (unsigned)be - ae + 1 : 1);
    bv = shift_sticky(bv, be < ae ? (unsigned)ae - be + 1 : 1);
    if (as == bs) {
        v = av + bv;
    } else if (av >= bv) {
        v = av - bv;
    } else {
        v = bv - av;
        s = bs;
    }
    if (!v)
        return (Fp) { .cls = FPC_ZERO, .s = st->rm == RM_DOWN };
    return round_u128(st, f, s, e + 1, v);
}

static Fp addsub(FpStatus *st, const FpFormat *f, Fp a, Fp b, bool flip)
{
    st->up = false;
    if (fp_is_nan(a) || fp_is_nan(b))
        return fp_nan2(st, a, b);
    b.s ^= flip;
    if (a.cls == FPC_INF && b.cls == FPC_INF && a.s != b.s)
        return invalid(st);
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    if (a.cls == FPC_INF)
        return a;
    if (b.cls == FPC_INF)
        return b;
    if (a.cls == FPC_ZERO && b.cls == FPC_ZERO) {
        a.s = a.s == b.s ? a.s : st->rm == RM_DOWN;
        return a;
    }
    if (a.cls == FPC_ZERO)
        return fp_round(st, f, b);
    if (b.cls == FPC_ZERO)
        return fp_round(st, f, a);
    return add_wide(st, f, a.s, a.e, (U128)a.m << 64, b.s, b.e, (U128)b.m << 64);
}

Fp fp_add(FpStatus *st, const FpFormat *f, Fp a, Fp b) { return addsub(st, f, a, b, false); }
Fp fp_sub(FpStatus *st, const FpFormat *f, Fp a, Fp b) { return addsub(st, f, a, b, true); }

/* Operands of a product or quotient, before their classes are looked at. False: there is a NaN. */
static inline bool factors(FpStatus *st, Fp *a, Fp *b)
{
    st->up = false;
    if (fp_is_nan(*a) || fp_is_nan(*b))
        return false;
    if (st->daz) {
        *a = fp_operand(st, *a);
        *b = fp_operand(st, *b);
    }
    return true;
}

Fp fp_mul(FpStatus *st, const FpFormat *f, Fp a, Fp b)
{
    bool s = a.s ^ b.s;

    if (!factors(st, &a, &b))
        return fp_nan2(st, a, b);
    if ((a.cls == FPC_INF && b.cls == FPC_ZERO) || (a.cls == FPC_ZERO && b.cls == FPC_INF))
        return invalid(st);
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    if (a.cls == FPC_INF || b.cls == FPC_INF)
        return (Fp) { .cls = FPC_INF, .s = s };
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO)
        return (Fp) { .cls = FPC_ZERO, .s = s };
    return round_u128(st, f, s, a.e + b.e + 1, (U128)a.m * b.m);
}

Fp fp_div(FpStatus *st, const FpFormat *f, Fp a, Fp b)
{
    bool s = a.s ^ b.s;
    int32_t e;
    uint64_t q, r, x;
    U128 n;

    if (!factors(st, &a, &b))
        return fp_nan2(st, a, b);
    if ((a.cls == FPC_INF && b.cls == FPC_INF) || (a.cls == FPC_ZERO && b.cls == FPC_ZERO))
        return invalid(st);
    if (b.cls == FPC_ZERO && a.cls == FPC_NORMAL) {
        st->flags |= FPX_Z;
        return (Fp) { .cls = FPC_INF, .s = s };
    }
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    if (a.cls == FPC_INF || b.cls == FPC_ZERO)
        return (Fp) { .cls = FPC_INF, .s = s };
    if (a.cls == FPC_ZERO || b.cls == FPC_INF)
        return (Fp) { .cls = FPC_ZERO, .s = s };
    e = a.e - b.e;
    if (a.m >= b.m) {
        n = (U128)a.m << 63;
    } else {
        n = (U128)a.m << 64;
        e--;
    }
    q = n / b.m;
    r = n - (U128)q * b.m;
    x = !r ? 0 : r > b.m - r ? TOP | 1 : r == b.m - r ? TOP : 1;
    return fp_round_wide(st, f, s, e, q, x);
}

Fp fp_sqrt(FpStatus *st, const FpFormat *f, Fp a)
{
    uint64_t r = 0;
    U128 n;
    int bit;

    st->up = false;
    if (fp_is_nan(a))
        return fp_nan2(st, a, a);
    if (st->daz)
        a = fp_operand(st, a);
    if (a.cls == FPC_ZERO)
        return a;
    if (a.s)
        return invalid(st);
    a = fp_operand(st, a);
    if (a.cls == FPC_INF)
        return a;
    n = (U128)a.m << (63 + (a.e & 1));
    for (bit = 63; bit >= 0; bit--) {
        uint64_t t = r | 1ULL << bit;

        if ((U128)t * t <= n)
            r = t;
    }
    n -= (U128)r * r;
    return fp_round_wide(st, f, false, a.e >> 1, r, !n ? 0 : n > r ? TOP | 1 : 1);
}

static Fp fma_nan(FpStatus *st, Fp a, Fp b, Fp c)
{
    if (a.cls == FPC_SNAN || b.cls == FPC_SNAN || c.cls == FPC_SNAN)
        st->flags |= FPX_I;
    return quiet(fp_is_nan(a) ? a : fp_is_nan(b) ? b : c);
}

Fp fp_fma(FpStatus *st, const FpFormat *f, Fp a, Fp b, Fp c, bool neg_prod, bool neg_c)
{
    bool s = a.s ^ b.s ^ neg_prod;
    U128 p;
    int32_t e;

    st->up = false;
    if (fp_is_nan(a) || fp_is_nan(b) || fp_is_nan(c))
        return fma_nan(st, a, b, c);
    c.s ^= neg_c;
    if (st->daz) {
        a = fp_operand(st, a);
        b = fp_operand(st, b);
        c = fp_operand(st, c);
    }
    if ((a.cls == FPC_INF && b.cls == FPC_ZERO) || (a.cls == FPC_ZERO && b.cls == FPC_INF))
        return invalid(st);
    if ((a.cls == FPC_INF || b.cls == FPC_INF) && c.cls == FPC_INF && c.s != s)
        return invalid(st);
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    c = fp_operand(st, c);
    if (a.cls == FPC_INF || b.cls == FPC_INF)
        return (Fp) { .cls = FPC_INF, .s = s };
    if (c.cls == FPC_INF)
        return c;
    if (a.cls == FPC_ZERO || b.cls == FPC_ZERO) {
        if (c.cls != FPC_ZERO)
            return fp_round(st, f, c);
        c.s = c.s == s ? s : st->rm == RM_DOWN;
        return c;
    }
    p = (U128)a.m * b.m;
    e = a.e + b.e + 1;
    if (!(p >> 127)) {
        p <<= 1;
        e--;
    }
    if (c.cls == FPC_ZERO)
        return round_u128(st, f, s, e, p);
    return add_wide(st, f, s, e, p, c.s, c.e, (U128)c.m << 64);
}

Fp fp_convert(FpStatus *st, const FpFormat *f, Fp a)
{
    st->up = false;
    if (fp_is_nan(a))
        return fp_nan2(st, a, a);
    return fp_round(st, f, fp_operand(st, a));
}

/* The magnitude of a rounded to an integer, for |a| < 2^64. *inexact and st->up are set. */
static uint64_t to_integer(FpStatus *st, Fp a, bool *inexact, bool *carry)
{
    uint64_t m = a.m, x = 0;

    if (a.e < 0) {              /* shift so that 63 - e bits fall out: everything */
        shift_right(&m, &x, a.e < -66 ? 130 : 63 - a.e);
    } else {
        shift_right(&m, &x, 63 - a.e);
    }
    /* m is the integer, x the fraction. */
    {
        bool inc = false;

        switch (st->rm) {
        case RM_NEAREST: inc = x > TOP || (x == TOP && (m & 1)); break;
        case RM_DOWN: inc = a.s && x; break;
        case RM_UP: inc = !a.s && x; break;
        }
        *inexact = x != 0;
        st->up = inc;
        *carry = inc && m == ~0ULL;
        return m + inc;
    }
}

Fp fp_rint(FpStatus *st, Fp a)
{
    bool inexact, carry, s = a.s;
    uint64_t m;

    st->up = false;
    if (fp_is_nan(a))
        return fp_nan2(st, a, a);
    a = fp_operand(st, a);
    if (a.cls != FPC_NORMAL || a.e >= 63)
        return a;
    m = to_integer(st, a, &inexact, &carry);
    if (inexact)
        st->flags |= FPX_P;
    a = fp_from_i64(0);
    if (m) {
        int lz = __builtin_clzll(m);

        a = (Fp) { .cls = FPC_NORMAL, .m = m << lz, .e = 63 - lz };
    }
    a.s = s;
    return a;
}

int64_t fp_to_int(FpStatus *st, Fp a, unsigned bits)
{
    uint64_t limit = 1ULL << (bits - 1), m;
    bool inexact, carry;

    st->up = false;
    if (st->daz)
        a = fp_operand(st, a);
    if (a.cls == FPC_ZERO)
        return 0;
    if (a.cls != FPC_NORMAL || a.e > 63)
        goto indefinite;
    m = to_integer(st, a, &inexact, &carry);
    if (carry || m > limit - !a.s)
        goto indefinite;
    if (inexact)
        st->flags |= FPX_P;
    return a.s ? -m : m;
indefinite:
    st->up = false;
    st->flags |= FPX_I;
    return bits == 64 ? INT64_MIN : -(int64_t)limit;
}

FpOrder fp_compare(FpStatus *st, Fp a, Fp b, bool quiet_nans)
{
    int r;

    if (fp_is_nan(a) || fp_is_nan(b)) {
        if (!quiet_nans || a.cls == FPC_SNAN || b.cls == FPC_SNAN || a.cls == FPC_BAD || b.cls == FPC_BAD)
            st->flags |= FPX_I;
        return FP_UNORD;
    }
    a = fp_operand(st, a);
    b = fp_operand(st, b);
    if (a.cls == FPC_ZERO && b.cls == FPC_ZERO)
        return FP_EQ;
    if (a.cls == FPC_ZERO)
        return b.s ? FP_GT : FP_LT;
    if (b.cls == FPC_ZERO)
        return a.s ? FP_LT : FP_GT;
    if (a.s != b.s)
        return a.s ? FP_LT : FP_GT;
    if (a.cls != b.cls)
        r = a.cls == FPC_INF ? 1 : -1;
    else if (a.cls == FPC_INF)
        r = 0;
    else if (a.e != b.e)
        r = a.e > b.e ? 1 : -1;
    else
        r = a.m == b.m ? 0 : a.m > b.m ? 1 : -1;
    return a.s ? -r : r;
}
