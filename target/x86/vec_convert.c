/*
 * vec_convert: conversions and rounding of SSE to SSE4.1, AVX and F16C.
 */
#include "target/x86/vec_fp_int.h"

/* Float to float. */
DEFINE_VEC(cvtps2pd)
{
    FpStatus st = sse_status(c);
    unsigned k;

    for (k = 0; k < n / 8; k++) {
        if (f32_plain(b->d[k]))
            r->pd[k] = b->ps[k];
        else
            r->q[k] = fp_to_f64(fp_convert(&st, &fp_f64, fp_from_f32(b->d[k])));
    }
    sse_finish(c, &st);
}
/* n is the source length; the result has half, the rest of 16 bytes is zero. */
DEFINE_VEC(cvtpd2ps)
{
    FpStatus st = sse_status(c);
    bool fast = sse_fast(c);
    unsigned k;

    r->q[1] = 0;
    for (k = 0; k < n / 8; k++) {
        if (fast && f64_normal(b->q[k])) {
            r->ps[k] = b->pd[k];
            if (f32_normal(r->d[k]))
                continue;
        }
        r->d[k] = fp_to_f32(fp_convert(&st, &fp_f32, fp_from_f64(b->q[k])));
    }
    sse_finish(c, &st);
}
DEFINE_VEC(cvtss2sd)
{
    memcpy(r, a, 16);
    op_cvtps2pd(c, i, r, a, b, 8);
}
DEFINE_VEC(cvtsd2ss)
{
    X86Vec t;

    memcpy(r, a, 16);
    op_cvtpd2ps(c, i, &t, a, b, 8);
    r->d[0] = t.d[0];
}
VEC_SSE_SZ(cvtps2pd, op_cvtps2pd, MS_HALF, 0)
VEC_AVX_SZ(cvtps2pd, op_cvtps2pd, MS_HALF)
VEC_SCALAR(cvtss2sd, op_cvtss2sd, 4)
VEC_SCALAR(cvtsd2ss, op_cvtsd2ss, 8)

/* VEX conversions that halve the length: the result is always an XMM register. */
#define VEC_NARROW_N(name, fn, n)                                               \
    static void avx##n##_##name(X86Cpu *c, const X86Insn *i)                    \
    {                                                                           \
        X86Vec m, r;                                                            \
        const X86Vec *b = vec_src(c, i, &m, n, 0);                              \
                                                                                \
        fn(c, i, &r, b, b, n);                                                  \
        vec_put_vex(&c->vec[i->reg], &r, 16);                                   \
    }
#define VEC_NARROW(name, fn)                                                    \
    VEC_SSE(name, fn)                                                           \
    VEC_NARROW_N(name, fn, 16)                                                  \
    VEC_NARROW_N(name, fn, 32)                                                  \
    BODY_VL(v##name, avx16_##name, avx32_##name);
VEC_NARROW(cvtpd2ps, op_cvtpd2ps)

/* Integer to float. */
static uint32_t i64_to_f32(FpStatus *st, int64_t v) { return fp_to_f32(fp_round(st, &fp_f32, fp_from_i64(v))); }
static uint64_t i64_to_f64(FpStatus *st, int64_t v) { return fp_to_f64(fp_round(st, &fp_f64, fp_from_i64(v))); }

DEFINE_VEC(cvtdq2ps)
{
    FpStatus st = sse_status(c);
    bool fast = sse_fast(c);
    unsigned k;

    for (k = 0; k < n / 4; k++) {
        if (fast)
            r->ps[k] = (int32_t)b->d[k];
        else
            r->d[k] = i64_to_f32(&st, (int32_t)b->d[k]);
    }
    sse_finish(c, &st);
}
DEFINE_VEC(cvtdq2pd)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->pd[k] = (int32_t)b->d[k];
}
VEC_SSE_AVX(cvtdq2ps, op_cvtdq2ps)
VEC_SSE_SZ(cvtdq2pd, op_cvtdq2pd, MS_HALF, 0)
VEC_AVX_SZ(cvtdq2pd, op_cvtdq2pd, MS_HALF)

static int64_t load_int(X86Cpu *c, const X86Insn *i)
{
    int64_t v;
    int32_t w;

    if (i->opsize == 8) {
        if (i->is_reg)
            return c->gpr[i->rm];
        vec_load(c, i, &v, 8, 0);
        return v;
    }
    if (i->is_reg)
        return (int32_t)c->gpr[i->rm];
    vec_load(c, i, &w, 4, 0);
    return w;
}
static void cvtsi2ss(X86Cpu *c, const X86Insn *i, X86Vec *r)
{
    int64_t v = load_int(c, i);
    FpStatus st;

    if (sse_fast(c)) {
        r->ps[0] = v;
        return;
    }
    st = sse_status(c);
    r->d[0] = i64_to_f32(&st, v);
    sse_finish(c, &st);
}
static void cvtsi2sd(X86Cpu *c, const X86Insn *i, X86Vec *r)
{
    int64_t v = load_int(c, i);
    FpStatus st;

    if (v == (int32_t)v || sse_fast(c)) {
        r->pd[0] = v;
        return;
    }
    st = sse_status(c);
    r->q[0] = i64_to_f64(&st, v);
    sse_finish(c, &st);
}
#define CVTSI(name)                                                             \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec r;                                                               \
                                                                                \
        vec_put(&r, &c->vec[i->reg], 16);                                       \
        name(c, i, &r);                                                         \
        vec_put(&c->vec[i->reg], &r, 16);                                       \
    }                                                                           \
    static void avx_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec r;                                                               \
                                                                                \
        vec_put(&r, &c->vec[i->vvvv], 16);                                      \
        name(c, i, &r);                                                         \
        vec_put_vex(&c->vec[i->reg], &r, 16);                                   \
    }                                                                           \
    BODY1(name, sse_##name);                                                    \
    BODY1(v##name, avx_##name);
CVTSI(cvtsi2ss)
CVTSI(cvtsi2sd)

/* Float to integer. trunc: the CVTT forms. */
VEC_INLINE FpStatus int_status(const X86Cpu *c, bool trunc)
{
    FpStatus st = sse_status(c);

    if (trunc)
        st.rm = RM_ZERO;
    return st;
}
#define CVT_TO_SI(name, f, fz, size, trunc)                                     \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec m;                                                               \
        const X86Vec *b = vec_src(c, i, &m, size, 0);                           \
        FpStatus st = int_status(c, trunc);                                     \
        int64_t v = fp_to_int(&st, fp_from_##fz(b->f[0]), i->opsize == 8 ? 64 : 32); \
                                                                                \
        sse_finish(c, &st);                                                     \
        vec_put_gpr(c, i, i->reg, v);                                           \
    }                                                                           \
    BODY1(name, sse_##name);
CVT_TO_SI(cvtss2si, d, f32, 4, false)
CVT_TO_SI(cvttss2si, d, f32, 4, true)
CVT_TO_SI(cvtsd2si, q, f64, 8, false)
CVT_TO_SI(cvttsd2si, q, f64, 8, true)

VEC_INLINE void ps_to_dq(X86Cpu *c, X86Vec *r, const X86Vec *b, unsigned count, bool trunc)
{
    FpStatus st = int_status(c, trunc);
    unsigned k;

    for (k = 0; k < count; k++)
        r->d[k] = fp_to_int(&st, fp_from_f32(b->d[k]), 32);
    sse_finish(c, &st);
}
VEC_INLINE void pd_to_dq(X86Cpu *c, X86Vec *r, const X86Vec *b, unsigned count, bool trunc)
{
    FpStatus st = int_status(c, trunc);
    unsigned k;

    r->q[1] = 0;
    for (k = 0; k < count; k++)
        r->d[k] = fp_to_int(&st, fp_from_f64(b->q[k]), 32);
    sse_finish(c, &st);
}
DEFINE_VEC(cvtps2dq) { ps_to_dq(c, r, b, n / 4, false); }
DEFINE_VEC(cvttps2dq) { ps_to_dq(c, r, b, n / 4, true); }
DEFINE_VEC(cvtpd2dq) { pd_to_dq(c, r, b, n / 8, false); }
DEFINE_VEC(cvttpd2dq) { pd_to_dq(c, r, b, n / 8, true); }
VEC_SSE_AVX(cvtps2dq, op_cvtps2dq)
VEC_SSE_AVX(cvttps2dq, op_cvttps2dq)
VEC_NARROW(cvtpd2dq, op_cvtpd2dq)
VEC_NARROW(cvttpd2dq, op_cvttpd2dq)

/* With MMX registers. A memory source of CVTPI2PS and CVTPI2PD leaves the x87 state alone. */
static uint64_t load_mmx(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    if (i->is_reg)
        return c->x87.r[i->rm & 7].mant;
    vec_load(c, i, &v, 8, 0);
    return v;
}
static void mmx_cvtpi2ps(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = sse_status(c);
    uint64_t v;
    uint32_t lo, hi;

    if (i->is_reg)
        mmx_enter(c);
    v = load_mmx(c, i);
    if (i->is_reg)
        mmx_commit(c);          /* even if a conversion then faults */
    lo = i64_to_f32(&st, (int32_t)v);
    hi = i64_to_f32(&st, (int32_t)(v >> 32));
    sse_finish(c, &st);
    c->vec[i->reg].d[0] = lo;
    c->vec[i->reg].d[1] = hi;
}
static void mmx_cvtpi2pd(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    if (i->is_reg)
        mmx_enter(c);
    v = load_mmx(c, i);
    if (i->is_reg)
        mmx_commit(c);
    c->vec[i->reg].pd[0] = (int32_t)v;
    c->vec[i->reg].pd[1] = (int32_t)(v >> 32);
}
BODY1(cvtpi2ps, mmx_cvtpi2ps);
BODY1(cvtpi2pd, mmx_cvtpi2pd);
#define CVT_TO_PI(name, fn, size, align, trunc)                                 \
    static void mmx_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec m, r;                                                            \
        const X86Vec *b;                                                        \
                                                                                \
        mmx_enter(c);                                                           \
        b = vec_src(c, i, &m, size, align);                                     \
        mmx_commit(c);                                                          \
        fn(c, &r, b, 2, trunc);                                                 \
        mmx_put(c, i->reg, r.q[0]);                                             \
    }                                                                           \
    BODY1(name, mmx_##name);
CVT_TO_PI(cvtps2pi, ps_to_dq, 8, 0, false)
CVT_TO_PI(cvttps2pi, ps_to_dq, 8, 0, true)
CVT_TO_PI(cvtpd2pi, pd_to_dq, 16, 16, false)
CVT_TO_PI(cvttpd2pi, pd_to_dq, 16, 16, true)

/* ROUNDxx: imm[2] chooses MXCSR.RC, else imm[1:0]; imm[3] keeps quiet about inexact. */
#define FP_ROUND(sfx, f, fz)                                                    \
    VEC_INLINE void calc_round##sfx(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *b, unsigned count) \
    {                                                                           \
        FpStatus st = sse_status(c);                                            \
        unsigned k;                                                             \
                                                                                \
        if (!(i->imm & 4))                                                      \
            st.rm = i->imm & 3;                                                 \
        for (k = 0; k < count; k++) {                                           \
            Fp x = fp_from_##fz(b->f[k]);                                       \
                                                                                \
            x.den &= st.daz;    /* denormal operands are not reported */        \
            r->f[k] = fp_to_##fz(fp_rint(&st, x));                              \
        }                                                                       \
        if (i->imm & 8)                                                         \
            st.flags &= ~FPX_P;                                                 \
        sse_finish(c, &st);                                                     \
    }
FP_ROUND(ps, d, f32)
FP_ROUND(pd, q, f64)
DEFINE_VEC(roundps) { calc_roundps(c, i, r, b, n / 4); }
DEFINE_VEC(roundpd) { calc_roundpd(c, i, r, b, n / 8); }
DEFINE_VEC(roundss) { memcpy(r, a, 16); calc_roundps(c, i, r, b, 1); }
DEFINE_VEC(roundsd) { memcpy(r, a, 16); calc_roundpd(c, i, r, b, 1); }
VEC_SSE_AVX(roundps, op_roundps)
VEC_SSE_AVX(roundpd, op_roundpd)
VEC_SCALAR(roundss, op_roundss, 4)
VEC_SCALAR(roundsd, op_roundsd, 8)

/* F16C: half precision; DAZ and FTZ do not apply to the half-precision side. */
DEFINE_VEC(cvtph2ps)
{
    FpStatus st = sse_status(c);
    unsigned k;

    for (k = 0; k < n / 4; k++) {
        Fp a16 = fp_from_f16(b->w[k]);

        a16.den = false;
        r->d[k] = fp_to_f32(fp_convert(&st, &fp_f32, a16));
    }
    sse_finish(c, &st);
}
VEC_AVX_SZ(cvtph2ps, op_cvtph2ps, MS_HALF)

VEC_INLINE void cvtps2ph(X86Cpu *c, const X86Insn *i, unsigned n)
{
    FpStatus st = sse_status(c);
    const X86Vec *s = &c->vec[i->reg];
    X86Vec r = { .q = { 0 } };
    unsigned k;

    st.ftz = false;
    if (!(i->imm & 4))
        st.rm = i->imm & 3;
    for (k = 0; k < n / 4; k++)
        r.w[k] = fp_to_f16(fp_convert(&st, &fp_f16, fp_from_f32(s->d[k])));
    if (i->is_reg) {
        sse_finish(c, &st);
        vec_put_vex(&c->vec[i->rm], &r, 16);
    } else {
        uint64_t va = x86_ea(c, i, n / 2, true);

        x86_probe_w(c, va, n / 2, c->data_bank);
        sse_finish(c, &st);
        vec_store_at(c, va, &r, n / 2);
    }
}
static void avx16_cvtps2ph(X86Cpu *c, const X86Insn *i) { cvtps2ph(c, i, 16); }
static void avx32_cvtps2ph(X86Cpu *c, const X86Insn *i) { cvtps2ph(c, i, 32); }
BODY_VL(vcvtps2ph, avx16_cvtps2ph, avx32_cvtps2ph);
