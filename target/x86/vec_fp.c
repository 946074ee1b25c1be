/*
 * vec_fp: floating-point arithmetic and compares of SSE to SSE4.1 and AVX.
 *
 * Each operation has a host-arithmetic fast path, taken when it is known to give the same bits
 * and flags (vec_fp_int.h), and an exact path through softfloat.
 */
#include "target/x86/vec_fp_int.h"
#include "target/x86/flags.h"

void sse_finish_slow(X86Cpu *c, const FpStatus *st)
{
    uint32_t masks = c->mxcsr >> 7 & FPX_ALL, unmasked = st->flags & ~masks;

    /* Unmasked pre-computation exceptions keep the others from happening. */
    c->mxcsr |= unmasked & FPX_PRE ? st->flags & FPX_PRE : st->flags;
    if (unmasked)
        x86_raise(c, c->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
}

#define SOFT32(soft, x, y) fp_to_f32(soft(&st, &fp_f32, fp_from_f32(x), fp_from_f32(y)))
#define SOFT64(soft, x, y) fp_to_f64(soft(&st, &fp_f64, fp_from_f64(x), fp_from_f64(y)))

/* zero_ok: a zero result of plain operands is exact (sums); else only if an operand is zero. */
#define FP_ARITH(name, sfx, F, f, fz, op, soft, SOFT, zero_ok)                  \
    VEC_INLINE void calc_##name##sfx(X86Cpu *c, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned count) \
    {                                                                           \
        FpStatus st;                                                            \
        unsigned k;                                                             \
                                                                                \
        if (sse_fast(c)) {                                                      \
            unsigned ok = 1;    /* words: no branch between the tests */           \
                                                                                \
            for (k = 0; k < count; k++) {                                       \
                r->F[k] = a->F[k] op b->F[k];                                   \
                ok &= fz##_plain(a->f[k]) & fz##_plain(b->f[k]) &               \
                      (fz##_normal(r->f[k]) |                                   \
                       (fz##_zero(r->f[k]) & ((unsigned)zero_ok | fz##_zero(a->f[k]) | fz##_zero(b->f[k])))); \
            }                                                                   \
            if (__builtin_expect(ok, 1))                                        \
                return;                                                         \
        }                                                                       \
        st = sse_status(c);                                                     \
        for (k = 0; k < count; k++)                                             \
            r->f[k] = SOFT(soft, a->f[k], b->f[k]);                             \
        sse_finish(c, &st);                                                     \
    }
#define FP_OP(name, op, soft, zero_ok)                                          \
    FP_ARITH(name, ps, ps, d, f32, op, soft, SOFT32, zero_ok)                   \
    FP_ARITH(name, pd, pd, q, f64, op, soft, SOFT64, zero_ok)                   \
    FP_BODIES(name)
#define FP_BODIES(name)                                                         \
    DEFINE_VEC(name##ps) { calc_##name##ps(c, r, a, b, n / 4); }                \
    DEFINE_VEC(name##pd) { calc_##name##pd(c, r, a, b, n / 8); }                \
    DEFINE_VEC(name##ss) { memcpy(r, a, 16); calc_##name##ps(c, r, a, b, 1); }  \
    DEFINE_VEC(name##sd) { memcpy(r, a, 16); calc_##name##pd(c, r, a, b, 1); }  \
    VEC_SSE_AVX(name##ps, op_##name##ps)                                        \
    VEC_SSE_AVX(name##pd, op_##name##pd)                                        \
    VEC_SCALAR(name##ss, op_##name##ss, 4)                                      \
    VEC_SCALAR(name##sd, op_##name##sd, 8)
FP_OP(add, +, fp_add, 1)
FP_OP(sub, -, fp_sub, 1)
FP_OP(mul, *, fp_mul, 0)
FP_OP(div, /, fp_div, 0)

/* MIN and MAX return the second operand for NaNs and for two zeros. */
#define FP_MINMAX(name, sfx, F, f, fz, op, want)                                \
    VEC_INLINE void calc_##name##sfx(X86Cpu *c, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned count) \
    {                                                                           \
        bool ok = true;                                                         \
        FpStatus st;                                                            \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < count; k++) {                                           \
            r->f[k] = a->F[k] op b->F[k] ? a->f[k] : b->f[k];                   \
            ok &= fz##_plain(a->f[k]) & fz##_plain(b->f[k]);                    \
        }                                                                       \
        if (__builtin_expect(ok, 1))                                            \
            return;                                                             \
        st = sse_status(c);                                                     \
        for (k = 0; k < count; k++) {                                           \
            Fp x = fp_from_##fz(a->f[k]), y = fp_from_##fz(b->f[k]);            \
            FpOrder o = fp_compare(&st, x, y, false);                           \
                                                                                \
            r->f[k] = o == want ? a->f[k] : b->f[k];                            \
            if (st.daz && (o == want ? x : y).den)                              \
                r->f[k] &= (__typeof__(r->f[0]))1 << (8 * sizeof(r->f[0]) - 1); \
        }                                                                       \
        sse_finish(c, &st);                                                     \
    }
FP_MINMAX(min, ps, ps, d, f32, <, FP_LT)
FP_MINMAX(min, pd, pd, q, f64, <, FP_LT)
FP_MINMAX(max, ps, ps, d, f32, >, FP_GT)
FP_MINMAX(max, pd, pd, q, f64, >, FP_GT)
FP_BODIES(min)
FP_BODIES(max)

#define FP_SQRT(sfx, F, f, fz, host)                                            \
    VEC_INLINE void calc_sqrt##sfx(X86Cpu *c, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned count) \
    {                                                                           \
        FpStatus st = sse_status(c);                                            \
        bool fast = sse_fast(c);                                                \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < count; k++) {                                           \
            if (fast && fz##_normal(b->f[k]) && b->F[k] > 0)                    \
                r->F[k] = host(b->F[k]);                                        \
            else                                                                \
                r->f[k] = fp_to_##fz(fp_sqrt(&st, &fp_##fz, fp_from_##fz(b->f[k]))); \
        }                                                                       \
        sse_finish(c, &st);                                                     \
    }
FP_SQRT(ps, ps, d, f32, __builtin_sqrtf)
FP_SQRT(pd, pd, q, f64, __builtin_sqrt)
FP_BODIES(sqrt)

/* Horizontal and alternating sums. */
#define FP_HORIZONTAL(name, sfx, F, f, FZ, sub)                                 \
    DEFINE_VEC(name##sfx)                                                       \
    {                                                                           \
        X86Vec x, y;                                                            \
        unsigned l, k, e = 16 / sizeof(r->f[0]);                                \
                                                                                \
        for (l = 0; l < n / 16; l++) {                                          \
            for (k = 0; k < e; k++) {                                           \
                const X86Vec *s = k < e / 2 ? a : b;                            \
                                                                                \
                x.f[l * e + k] = s->f[l * e + 2 * (k % (e / 2))];               \
                y.f[l * e + k] = s->f[l * e + 2 * (k % (e / 2)) + 1];           \
            }                                                                   \
        }                                                                       \
        calc_##sub##sfx(c, r, &x, &y, n / sizeof(r->f[0]));                     \
    }                                                                           \
    VEC_SSE_AVX(name##sfx, op_##name##sfx)
FP_HORIZONTAL(hadd, ps, ps, d, f32, add)
FP_HORIZONTAL(hadd, pd, pd, q, f64, add)
FP_HORIZONTAL(hsub, ps, ps, d, f32, sub)
FP_HORIZONTAL(hsub, pd, pd, q, f64, sub)

#define FP_ADDSUB(sfx, f, fz)                                                   \
    DEFINE_VEC(addsub##sfx)                                                     \
    {                                                                           \
        FpStatus st = sse_status(c);                                            \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / sizeof(r->f[0]); k++)                               \
            r->f[k] = fp_to_##fz((k & 1 ? fp_add : fp_sub)(&st, &fp_##fz, fp_from_##fz(a->f[k]), \
                                                           fp_from_##fz(b->f[k]))); \
        sse_finish(c, &st);                                                     \
    }                                                                           \
    VEC_SSE_AVX(addsub##sfx, op_addsub##sfx)
FP_ADDSUB(ps, d, f32)
FP_ADDSUB(pd, q, f64)

/* Dot products: products, sums of pairs, sum: the exceptions of one step, in all lanes, come before
   the next step. */
static void sum_pairs(FpStatus *st, Fp *v, unsigned count)
{
    for (unsigned k = 0; k < count; k++)
        v[k] = fp_from_f32(fp_to_f32(fp_add(st, &fp_f32, v[2 * k], v[2 * k + 1])));
}
DEFINE_VEC(dpps)
{
    FpStatus st = sse_status(c);
    Fp p[8];
    unsigned k;

    for (k = 0; k < n / 4; k++) {
        p[k] = fp_from_f32(0);
        if (i->imm >> (4 + (k & 3)) & 1)
            p[k] = fp_from_f32(fp_to_f32(fp_mul(&st, &fp_f32, fp_from_f32(a->d[k]), fp_from_f32(b->d[k]))));
    }
    sse_finish(c, &st);
    sum_pairs(&st, p, n / 8);
    sse_finish(c, &st);
    sum_pairs(&st, p, n / 16);
    sse_finish(c, &st);
    for (k = 0; k < n / 4; k++)
        r->d[k] = i->imm >> (k & 3) & 1 ? fp_to_f32(p[k / 4]) : 0;
}
DEFINE_VEC(dppd)
{
    FpStatus st = sse_status(c);
    Fp p[2];
    uint64_t v;
    unsigned k;

    for (k = 0; k < 2; k++) {
        p[k] = fp_from_f64(0);
        if (i->imm >> (4 + k) & 1)
            p[k] = fp_from_f64(fp_to_f64(fp_mul(&st, &fp_f64, fp_from_f64(a->q[k]), fp_from_f64(b->q[k]))));
    }
    sse_finish(c, &st);
    v = fp_to_f64(fp_add(&st, &fp_f64, p[0], p[1]));
    sse_finish(c, &st);
    for (k = 0; k < 2; k++)
        r->q[k] = i->imm >> k & 1 ? v : 0;
}
VEC_SSE_AVX(dpps, op_dpps)
VEC_SSE(dppd, op_dppd)
VEC_AVX128_SZ(dppd, op_dppd, MS_FULL)

/* Compare predicates: bit 0 true if less, 1 equal, 2 greater, 3 unordered. SDM vol. 2, CMPPD. */
static const uint8_t cmp_truth[16] = { 2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15 };

static bool cmp_quiet(unsigned pred)
{
    bool signalling = (pred & 3) == 1 || (pred & 3) == 2;

    return !(signalling ^ (pred >> 4 & 1));
}
static inline bool cmp_true(FpOrder o, unsigned pred)
{
    return cmp_truth[pred & 15] >> (o == FP_UNORD ? 3 : o + 1) & 1;
}
#define FP_CMP(sfx, F, f, fz)                                                   \
    VEC_INLINE void calc_cmp##sfx(X86Cpu *c, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned count, unsigned pred) \
    {                                                                           \
        FpStatus st = sse_status(c);                                            \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < count; k++) {                                           \
            FpOrder o;                                                          \
                                                                                \
            if (fz##_plain(a->f[k]) && fz##_plain(b->f[k]))                     \
                o = (a->F[k] > b->F[k]) - (a->F[k] < b->F[k]);                  \
            else                                                                \
                o = fp_compare(&st, fp_from_##fz(a->f[k]), fp_from_##fz(b->f[k]), cmp_quiet(pred)); \
            r->f[k] = -(__typeof__(r->f[0]))cmp_true(o, pred);                  \
        }                                                                       \
        sse_finish(c, &st);                                                     \
    }
FP_CMP(ps, ps, d, f32)
FP_CMP(pd, pd, q, f64)
/* The legacy encodings know eight predicates, VEX 32. */
#define CMP_PRED(i) ((i)->imm & ((i)->flags & INSN_VEX ? 31 : 7))
DEFINE_VEC(cmpps) { calc_cmpps(c, r, a, b, n / 4, CMP_PRED(i)); }
DEFINE_VEC(cmppd) { calc_cmppd(c, r, a, b, n / 8, CMP_PRED(i)); }
DEFINE_VEC(cmpss) { memcpy(r, a, 16); calc_cmpps(c, r, a, b, 1, CMP_PRED(i)); }
DEFINE_VEC(cmpsd) { memcpy(r, a, 16); calc_cmppd(c, r, a, b, 1, CMP_PRED(i)); }
VEC_SSE_AVX(cmpps, op_cmpps)
VEC_SSE_AVX(cmppd, op_cmppd)
VEC_SCALAR(cmpss, op_cmpss, 4)
VEC_SCALAR(cmpsd, op_cmpsd, 8)

#define FP_COMIS(name, F, f, fz, size, quiet)                                   \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec m;                                                               \
        const X86Vec *b = vec_src(c, i, &m, size, 0), *a = &c->vec[i->reg];     \
        FpOrder o;                                                              \
                                                                                \
        if (fz##_plain(a->f[0]) && fz##_plain(b->f[0])) {                       \
            o = (a->F[0] > b->F[0]) - (a->F[0] < b->F[0]);                      \
        } else {                                                                \
            FpStatus st = sse_status(c);                                        \
                                                                                \
            o = fp_compare(&st, fp_from_##fz(a->f[0]), fp_from_##fz(b->f[0]), quiet); \
            sse_finish(c, &st);                                                 \
        }                                                                       \
        x86_flags_put(c, o == FP_UNORD ? FL_ZF | FL_PF | FL_CF : o == FP_LT ? FL_CF : o == FP_EQ ? FL_ZF : 0); \
    }                                                                           \
    BODY1(name, sse_##name);
FP_COMIS(comiss, ps, d, f32, 4, false)
FP_COMIS(ucomiss, ps, d, f32, 4, true)
FP_COMIS(comisd, pd, q, f64, 8, false)
FP_COMIS(ucomisd, pd, q, f64, 8, true)

/*
 * RCPPS and RSQRTPS: approximations with a relative error below 1.5 * 2^-12; hosts differ in the
 * low bits. Here: the exact value cut to 12 significand bits, by integer arithmetic. Denormal
 * operands count as zeros and no flag is touched.
 */
static uint32_t approx_special(uint32_t v, bool *done)
{
    *done = true;
    if ((v & 0x7fffffff) > 0x7f800000)
        return v | 0x00400000;
    if (!(v & 0x7f800000))
        return (v & 0x80000000) | 0x7f800000;
    *done = false;
    return 0;
}
static uint32_t approx_finish(Fp a)
{
    if (a.cls == FPC_NORMAL && a.e < -126)
        return (uint32_t)a.s << 31;
    return fp_to_f32(a);
}
static uint32_t approx_rcp(uint32_t v)
{
    FpStatus st = { .masks = FPX_ALL, .rm = RM_NEAREST };
    FpFormat f = { 13, -126, 127 };
    bool done;
    uint32_t r = approx_special(v, &done);

    return done ? r : approx_finish(fp_div(&st, &f, fp_from_f32(0x3f800000), fp_from_f32(v)));
}
static uint32_t approx_rsqrt(uint32_t v)
{
    FpStatus st = { .masks = FPX_ALL, .rm = RM_NEAREST };
    FpFormat f = { 13, -126, 127 };
    bool done;
    uint32_t r = approx_special(v, &done);

    if (done)
        return r;
    if (v >> 31)
        return 0xffc00000;
    return approx_finish(fp_div(&st, &f, fp_from_f32(0x3f800000), fp_sqrt(&st, &fp_f64, fp_from_f32(v))));
}
#define FP_APPROX(name)                                                         \
    DEFINE_VEC(name##ps)                                                        \
    {                                                                           \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / 4; k++)                                             \
            r->d[k] = approx_##name(b->d[k]);                                   \
    }                                                                           \
    DEFINE_VEC(name##ss)                                                        \
    {                                                                           \
        memcpy(r, a, 16);                                                       \
        r->d[0] = approx_##name(b->d[0]);                                       \
    }                                                                           \
    VEC_SSE_AVX(name##ps, op_##name##ps)                                        \
    VEC_SCALAR(name##ss, op_##name##ss, 4)
FP_APPROX(rcp)
FP_APPROX(rsqrt)

static void sse_ldmxcsr(X86Cpu *c, const X86Insn *i)
{
    uint32_t v;

    vec_load(c, i, &v, 4, 0);
    if (v & ~0xffffu)
        x86_raise_err(c, EXC_GP, 0);
    c->mxcsr = v;
}
static void sse_stmxcsr(X86Cpu *c, const X86Insn *i)
{
    vec_store(c, i, &c->mxcsr, 4, 0);
}
BODY1(ldmxcsr, sse_ldmxcsr);
BODY1(stmxcsr, sse_stmxcsr);
