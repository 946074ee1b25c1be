/*
 * x87_math: the elementary functions of the x87, with a 128-bit working precision.
 *
 * Series on numbers with 128-bit significands, rounded once at the end: results are the correctly
 * rounded ones except in rare ties, and always inexact. Arguments of sine and cosine are reduced
 * with the 66-bit value of pi that processors use (SDM vol. 1, 8.3.8).
 */
#include "target/x86/x87_int.h"

typedef unsigned __int128 U128;
#define W(hi, lo) ((U128)(hi) << 64 | (lo))
#define WTOP ((U128)1 << 127)

/* m / 2^127 * 2^e; m has bit 127 set, or is 0. */
typedef struct Wide { U128 m; int32_t e; bool s; } Wide;

static const Wide w_one = { WTOP, 0, false };
static const Wide w_pi = { W(0xc90fdaa22168c234ULL, 0xc4c6628b80dc1cd1ULL), 1, false };
static const Wide w_pi_2 = { W(0xc90fdaa22168c234ULL, 0xc4c6628b80dc1cd1ULL), 0, false };
static const Wide w_ln2 = { W(0xb17217f7d1cf79abULL, 0xc9e3b39803f2f6afULL), -1, false };
static const Wide w_log2e = { W(0xb8aa3b295c17f0bbULL, 0xbe87fed0691d3e88ULL), 0, false };
/* atan(k / 4) */
static const Wide w_atan[5] = {
    { 0, 0, false },
    { W(0xfadbafc96406eb15ULL, 0x6dc79ef5f7a217e5ULL), -3, false },
    { W(0xed63382b0dda7b45ULL, 0x6fe445ecbc3a8d03ULL), -2, false },
    { W(0xa4bc7d1934f70924ULL, 0x19a87f2a457dac9eULL), -1, false },
    { W(0xc90fdaa22168c234ULL, 0xc4c6628b80dc1cd1ULL), -1, false },
};

static Wide normalize(bool s, int32_t e, U128 m)
{
    int lz;

    if (!m)
        return (Wide) { 0 };
    lz = (uint64_t)(m >> 64) ? __builtin_clzll(m >> 64) : 64 + __builtin_clzll((uint64_t)m);
    return (Wide) { m << lz, e - lz, s };
}

static Wide w_from(Fp a)
{
    return (Wide) { a.cls == FPC_ZERO ? 0 : (U128)a.m << 64, a.e, a.s };
}

static Wide w_mul(Wide a, Wide b)
{
    uint64_t ah = a.m >> 64, al = a.m, bh = b.m >> 64, bl = b.m;
    U128 mid = ((U128)ah * bl >> 1) + ((U128)al * bh >> 1);

    return normalize(a.s ^ b.s, a.e + b.e + 1, (U128)ah * bh + (mid >> 63));
}

static Wide w_add(Wide a, Wide b)
{
    unsigned d;

    if (!a.m)
        return b;
    if (!b.m)
        return a;
    if (a.e < b.e) {
        Wide t = a;

        a = b;
        b = t;
    }
    d = a.e - b.e;
    b.m = d < 127 ? b.m >> d >> 1 : 0;
    a.m >>= 1;
    if (a.s == b.s)
        return normalize(a.s, a.e + 1, a.m + b.m);
    return a.m >= b.m ? normalize(a.s, a.e + 1, a.m - b.m) : normalize(b.s, a.e + 1, b.m - a.m);
}

static Wide w_neg(Wide a)
{
    a.s = !a.s;
    return a;
}
static Wide w_sub(Wide a, Wide b) { return w_add(a, w_neg(b)); }

static Wide w_div_small(Wide a, unsigned n)
{
    return normalize(a.s, a.e, a.m / n);
}

static Wide w_int(int64_t n)
{
    return w_from(fp_from_i64(n));
}

/* b not zero. */
static Wide w_div(Wide a, Wide b)
{
    U128 q = 0, r = a.m >> 1, d = b.m >> 1;
    int k;

    if (!a.m)
        return a;
    for (k = 0; k < 128; k++) {
        q <<= 1;
        if (r >= d) {
            r -= d;
            q |= 1;
        }
        r <<= 1;
    }
    return normalize(a.s ^ b.s, a.e - b.e, q);
}

/* Rounds to an x87 register: always inexact. */
static Fp w_round(FpStatus *st, Wide a)
{
    st->prec = 64;
    if (!a.m)
        return (Fp) { .cls = FPC_ZERO, .s = a.s };
    return fp_round_wide(st, &fp_x80, a.s, a.e, a.m >> 64, (uint64_t)a.m | 1);
}

Fp x87_f2xm1(FpStatus *st, Fp x)
{
    Wide z = w_mul(w_from(x), w_ln2), sum = w_one;
    unsigned n;

    /* e^z - 1 = z (1 + z/2 (1 + z/3 (1 + ...))) */
    for (n = 32; n >= 2; n--)
        sum = w_add(w_one, w_div_small(w_mul(z, sum), n));
    return w_round(st, w_mul(z, sum));
}

/* 2 atanh(t) for |t| < 0.18, divided by t. */
static Wide atanh_series(Wide t)
{
    Wide t2 = w_mul(t, t), sum = { 0 };
    int n;

    for (n = 55; n >= 1; n -= 2)
        sum = w_add(w_div_small(w_one, n), w_mul(t2, sum));
    sum.e++;
    return sum;
}

/* y * log2(x), or y * log2(x + 1). x > 0 (x > -1) and the logarithm is not zero. */
Fp x87_ylog2(FpStatus *st, Fp x, Fp y, bool plus_one)
{
    static const U128 sqrt2 = W(0xb504f333f9de6484ULL, 0);
    Wide f = w_from(x), t, log;
    int32_t k = 0;

    if (plus_one && (x.e < -2 || (x.s && x.e < -1))) {
        t = w_div(f, w_add(f, w_int(2)));
    } else {
        if (plus_one)
            f = w_add(f, w_one);
        k = f.e;
        f.e = 0;
        if (f.m > sqrt2) {
            f.e = -1;
            k++;
        }
        t = w_div(w_sub(f, w_one), w_add(f, w_one));
    }
    log = t.m ? w_mul(w_mul(t, atanh_series(t)), w_log2e) : t;
    log = w_add(w_int(k), log);
    return w_round(st, w_mul(w_from(y), log));
}

/* atan(y / x) in the right quadrant; both finite and not zero. */
Fp x87_patan(FpStatus *st, Fp y, Fp x)
{
    Wide a = w_from(y), b = w_from(x), t, t2, c, sum = { 0 };
    bool swap;
    unsigned k = 0;
    int n;

    a.s = b.s = false;
    swap = a.e > b.e || (a.e == b.e && a.m > b.m);
    if (swap) {
        t = a;
        a = b;
        b = t;
    }
    /* The nearest k/4 to a / b <= 1. */
    t = w_div(a, b);
    if (t.e >= -3)
        k = (unsigned)((t.m >> (127 - 3 - t.e)) + 1) >> 1;
    c = w_int(k);
    c.e -= 2;
    t = w_div(w_sub(a, w_mul(b, c)), w_add(b, w_mul(a, c)));
    t2 = w_mul(t, t);
    for (n = 47; n >= 1; n -= 2) {
        sum = w_sub(w_div_small(w_one, n), w_mul(t2, sum));
    }
    t = w_add(w_atan[k], w_mul(t, sum));
    if (swap)
        t = w_sub(w_pi_2, t);
    if (x.s)
        t = w_sub(w_pi, t);
    t.s = y.s;
    return w_round(st, t);
}

/* |x| = n * pi/2 + r, |r| <= pi/4, with a 66-bit pi; returns n mod 4. */
static unsigned reduce(Fp x, Wide *r)
{
    const U128 q = W(0x3, 0x243f6a8885a308d3ULL);       /* pi/2 in units of 2^-65 */
    U128 v, n;

    if (x.e < -2) {
        *r = w_from(x);
        r->s = false;
        return 0;
    }
    v = (U128)x.m << (x.e + 2);
    n = v / q;
    v -= n * q;
    if (v > q - v) {
        *r = normalize(true, 62, q - v);
        n++;
    } else {
        *r = normalize(false, 62, v);
    }
    return (unsigned)n & 3;
}

static void series_sincos(Wide r, Wide *sin, Wide *cos)
{
    Wide r2 = w_mul(r, r), s = w_one, k = w_one;
    unsigned n;

    for (n = 34; n >= 2; n -= 2) {
        s = w_sub(w_one, w_div_small(w_mul(r2, s), n * (n + 1)));
        k = w_sub(w_one, w_div_small(w_mul(r2, k), n * (n - 1)));
    }
    *sin = w_mul(r, s);
    *cos = k;
}

static void reduced_sincos(Fp x, Wide *sin, Wide *cos)
{
    Wide r, s, k;
    unsigned n = reduce(x, &r);

    series_sincos(r, &s, &k);
    *sin = n & 1 ? k : s;
    *cos = n & 1 ? s : k;
    sin->s ^= x.s ^ (n >> 1);
    cos->s ^= (n == 1 || n == 2);
}

void x87_sincos(FpStatus *st, Fp x, Fp *sin, Fp *cos)
{
    Wide s, k;

    reduced_sincos(x, &s, &k);
    if (cos)
        *cos = w_round(st, k);
    if (sin)
        *sin = w_round(st, s);
}

Fp x87_ptan(FpStatus *st, Fp x)
{
    Wide s, k;

    reduced_sincos(x, &s, &k);
    return w_round(st, w_div(s, k));
}
