/*
 * vec_arith: packed integer arithmetic, compares, logic and packing: MMX, SSE2 to SSE4.2, AVX, AVX2.
 *
 * SDM vol. 2. Element operations are plain loops; the compiler makes vector code of most of them.
 */
#include "target/x86/vec_int.h"

#define ELEMENTWISE(name, T, f, expr)                                                               \
    VEC_INLINE void op_##name(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n) \
    {                                                                                               \
        unsigned k;                                                                                 \
                                                                                                    \
        for (k = 0; k < n / sizeof(T); k++) {                                                       \
            T x = a->f[k], y = b->f[k];                                                             \
            r->f[k] = expr;                                                                         \
        }                                                                                           \
    }

static inline int8_t sat8(int v) { return v > 127 ? 127 : v < -128 ? -128 : v; }
static inline uint8_t satu8(int v) { return v > 255 ? 255 : v < 0 ? 0 : v; }
static inline int16_t sat16(int v) { return v > 32767 ? 32767 : v < -32768 ? -32768 : v; }
static inline uint16_t satu16(int v) { return v > 65535 ? 65535 : v < 0 ? 0 : v; }

ELEMENTWISE(paddb, uint8_t, b, x + y)
ELEMENTWISE(paddw, uint16_t, w, x + y)
ELEMENTWISE(paddd, uint32_t, d, x + y)
ELEMENTWISE(paddq, uint64_t, q, x + y)
ELEMENTWISE(psubb, uint8_t, b, x - y)
ELEMENTWISE(psubw, uint16_t, w, x - y)
ELEMENTWISE(psubd, uint32_t, d, x - y)
ELEMENTWISE(psubq, uint64_t, q, x - y)
ELEMENTWISE(paddsb, int8_t, b, sat8(x + y))
ELEMENTWISE(paddsw, int16_t, w, sat16(x + y))
ELEMENTWISE(paddusb, uint8_t, b, satu8(x + y))
ELEMENTWISE(paddusw, uint16_t, w, satu16(x + y))
ELEMENTWISE(psubsb, int8_t, b, sat8(x - y))
ELEMENTWISE(psubsw, int16_t, w, sat16(x - y))
ELEMENTWISE(psubusb, uint8_t, b, satu8(x - y))
ELEMENTWISE(psubusw, uint16_t, w, satu16(x - y))
ELEMENTWISE(pand, uint64_t, q, x & y)
ELEMENTWISE(pandn, uint64_t, q, ~x & y)
ELEMENTWISE(por, uint64_t, q, x | y)
ELEMENTWISE(pxor, uint64_t, q, x ^ y)
ELEMENTWISE(pcmpeqb, uint8_t, b, x == y ? 0xff : 0)
ELEMENTWISE(pcmpeqw, uint16_t, w, x == y ? 0xffff : 0)
ELEMENTWISE(pcmpeqd, uint32_t, d, x == y ? ~0u : 0)
ELEMENTWISE(pcmpeqq, uint64_t, q, x == y ? ~0ULL : 0)
ELEMENTWISE(pcmpgtb, int8_t, b, x > y ? 0xff : 0)
ELEMENTWISE(pcmpgtw, int16_t, w, x > y ? 0xffff : 0)
ELEMENTWISE(pcmpgtd, int32_t, d, x > y ? ~0u : 0)
ELEMENTWISE(pcmpgtq, int64_t, q, x > y ? ~0ULL : 0)
ELEMENTWISE(pminub, uint8_t, b, x < y ? x : y)
ELEMENTWISE(pminsb, int8_t, b, x < y ? x : y)
ELEMENTWISE(pminuw, uint16_t, w, x < y ? x : y)
ELEMENTWISE(pminsw, int16_t, w, x < y ? x : y)
ELEMENTWISE(pminud, uint32_t, d, x < y ? x : y)
ELEMENTWISE(pminsd, int32_t, d, x < y ? x : y)
ELEMENTWISE(pmaxub, uint8_t, b, x > y ? x : y)
ELEMENTWISE(pmaxsb, int8_t, b, x > y ? x : y)
ELEMENTWISE(pmaxuw, uint16_t, w, x > y ? x : y)
ELEMENTWISE(pmaxsw, int16_t, w, x > y ? x : y)
ELEMENTWISE(pmaxud, uint32_t, d, x > y ? x : y)
ELEMENTWISE(pmaxsd, int32_t, d, x > y ? x : y)
ELEMENTWISE(pavgb, uint8_t, b, (x + y + 1) >> 1)
ELEMENTWISE(pavgw, uint16_t, w, (x + y + 1) >> 1)
ELEMENTWISE(pmullw, int16_t, w, (uint16_t)((uint32_t)x * y))
ELEMENTWISE(pmulhw, int16_t, w, ((int32_t)x * y) >> 16)
ELEMENTWISE(pmulhuw, uint16_t, w, ((uint32_t)x * y) >> 16)
ELEMENTWISE(pmulhrsw, int16_t, w, ((((int32_t)x * y) >> 14) + 1) >> 1)
ELEMENTWISE(pmulld, uint32_t, d, x * y)
ELEMENTWISE(pmuludq, uint64_t, q, (uint64_t)(uint32_t)x * (uint32_t)y)
ELEMENTWISE(pmuldq, int64_t, q, (int64_t)(int32_t)x * (int32_t)y)
ELEMENTWISE(psignb, int8_t, b, y < 0 ? -x : y ? x : 0)
ELEMENTWISE(psignw, int16_t, w, y < 0 ? -x : y ? x : 0)
ELEMENTWISE(psignd, int32_t, d, y < 0 ? -(uint32_t)x : y ? x : 0)
/* One source: a is not used. */
ELEMENTWISE(pabsb, int8_t, b, ((void)x, y < 0 ? -y : y))
ELEMENTWISE(pabsw, int16_t, w, ((void)x, y < 0 ? -y : y))
ELEMENTWISE(pabsd, int32_t, d, ((void)x, y < 0 ? -(uint32_t)y : (uint32_t)y))

#define DEFINE_VEC(name) VEC_INLINE void op_##name(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n)

DEFINE_VEC(pmaddwd)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = (uint32_t)((int16_t)a->w[2 * k] * (int16_t)b->w[2 * k]) +
                  (uint32_t)((int16_t)a->w[2 * k + 1] * (int16_t)b->w[2 * k + 1]);
}

DEFINE_VEC(pmaddubsw)
{
    unsigned k;

    for (k = 0; k < n / 2; k++)
        r->w[k] = sat16(a->b[2 * k] * (int8_t)b->b[2 * k] + a->b[2 * k + 1] * (int8_t)b->b[2 * k + 1]);
}

DEFINE_VEC(psadbw)
{
    unsigned k, j;

    for (k = 0; k < n / 8; k++) {
        unsigned sum = 0;

        for (j = 8 * k; j < 8 * k + 8; j++)
            sum += a->b[j] > b->b[j] ? a->b[j] - b->b[j] : b->b[j] - a->b[j];
        r->q[k] = sum;
    }
}

/* Packing and unpacking work inside 16-byte lanes (8 bytes for MMX). */
#define LANE(n) ((n) < 16 ? (n) : 16)

#define PACK(name, from, FT, to, sat)                                           \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        unsigned l, k, e = LANE(n) / sizeof(FT);                                \
                                                                                \
        for (l = 0; l < n / LANE(n); l++) {                                     \
            for (k = 0; k < e; k++) {                                           \
                r->to[2 * e * l + k] = sat((FT)a->from[e * l + k]);             \
                r->to[2 * e * l + e + k] = sat((FT)b->from[e * l + k]);         \
            }                                                                   \
        }                                                                       \
    }
PACK(packsswb, w, int16_t, b, sat8)
PACK(packuswb, w, int16_t, b, satu8)
PACK(packssdw, d, int32_t, w, sat16)
PACK(packusdw, d, int32_t, w, satu16)

#define UNPACK(name, f, T, high)                                                \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        unsigned l, k, e = LANE(n) / sizeof(T);                                 \
                                                                                \
        for (l = 0; l < n / LANE(n); l++) {                                     \
            for (k = 0; k < e / 2; k++) {                                       \
                r->f[e * l + 2 * k] = a->f[e * l + k + (high ? e / 2 : 0)];     \
                r->f[e * l + 2 * k + 1] = b->f[e * l + k + (high ? e / 2 : 0)]; \
            }                                                                   \
        }                                                                       \
    }
UNPACK(punpcklbw, b, uint8_t, 0)
UNPACK(punpcklwd, w, uint16_t, 0)
UNPACK(punpckldq, d, uint32_t, 0)
UNPACK(punpcklqdq, q, uint64_t, 0)
UNPACK(punpckhbw, b, uint8_t, 1)
UNPACK(punpckhwd, w, uint16_t, 1)
UNPACK(punpckhdq, d, uint32_t, 1)
UNPACK(punpckhqdq, q, uint64_t, 1)

#define HORIZONTAL(name, f, T, expr)                                            \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        unsigned l, k, e = LANE(n) / sizeof(T);                                 \
                                                                                \
        for (l = 0; l < n / LANE(n); l++) {                                     \
            for (k = 0; k < e; k++) {                                           \
                const X86Vec *s = k < e / 2 ? a : b;                            \
                unsigned j = e * l + 2 * (k & (e / 2 - 1));                     \
                T x = s->f[j], y = s->f[j + 1];                                 \
                                                                                \
                r->f[e * l + k] = expr;                                         \
            }                                                                   \
        }                                                                       \
    }
HORIZONTAL(phaddw, w, uint16_t, x + y)
HORIZONTAL(phaddd, d, uint32_t, x + y)
HORIZONTAL(phaddsw, w, int16_t, sat16(x + y))
HORIZONTAL(phsubw, w, uint16_t, x - y)
HORIZONTAL(phsubd, d, uint32_t, x - y)
HORIZONTAL(phsubsw, w, int16_t, sat16(x - y))

DEFINE_VEC(pshufb)
{
    unsigned k;

    for (k = 0; k < n; k++)
        r->b[k] = b->b[k] & 0x80 ? 0 : a->b[(k & ~15u) + (b->b[k] & (LANE(n) - 1))];
}

DEFINE_VEC(palignr)
{
    unsigned l, k, sh = i->imm & 0xff, e = LANE(n);

    for (l = 0; l < n; l += e) {
        for (k = 0; k < e; k++) {
            unsigned j = k + sh;

            r->b[l + k] = j < e ? b->b[l + j] : j < 2 * e ? a->b[l + j - e] : 0;
        }
    }
}

DEFINE_VEC(mpsadbw)
{
    unsigned l, k, j;

    for (l = 0; l < n; l += 16) {
        unsigned im = (i->imm >> (l ? 3 : 0)) & 7, ao = l + (im & 4), bo = l + 4 * (im & 3);

        for (k = 0; k < 8; k++) {
            unsigned sum = 0;

            for (j = 0; j < 4; j++) {
                int d = a->b[ao + k + j] - b->b[bo + j];
                sum += d < 0 ? -d : d;
            }
            r->w[l / 2 + k] = sum;
        }
    }
}

DEFINE_VEC(phminposuw)
{
    unsigned k, best = 0;

    for (k = 1; k < 8; k++) {
        if (b->w[k] < b->w[best])
            best = k;
    }
    memset(r, 0, 16);
    r->w[0] = b->w[best];
    r->w[1] = best;
}

/* Shifts: count is the low quadword of b, or the immediate. */
#define SHIFT(name, f, T, expr, over)                                           \
    VEC_INLINE void sh_##name(X86Vec *r, const X86Vec *a, uint64_t cnt, unsigned n) \
    {                                                                           \
        unsigned k, bits = 8 * sizeof(T);                                       \
                                                                                \
        for (k = 0; k < n / sizeof(T); k++) {                                   \
            T x = a->f[k];                                                      \
            r->f[k] = cnt < bits ? expr : over;                                 \
        }                                                                       \
    }                                                                           \
    DEFINE_VEC(name) { sh_##name(r, a, b->q[0], n); }                           \
    DEFINE_VEC(name##i) { sh_##name(r, b, i->imm & 0xff, n); }
SHIFT(psrlw, w, uint16_t, x >> cnt, 0)
SHIFT(psrld, d, uint32_t, x >> cnt, 0)
SHIFT(psrlq, q, uint64_t, x >> cnt, 0)
SHIFT(psllw, w, uint16_t, x << cnt, 0)
SHIFT(pslld, d, uint32_t, x << cnt, 0)
SHIFT(psllq, q, uint64_t, x << cnt, 0)
SHIFT(psraw, w, int16_t, x >> cnt, x >> (bits - 1))
SHIFT(psrad, d, int32_t, x >> cnt, x >> (bits - 1))

DEFINE_VEC(psrldqi)
{
    unsigned l, k, sh = i->imm & 0xff;

    for (l = 0; l < n; l += 16)
        for (k = 0; k < 16; k++)
            r->b[l + k] = k + sh < 16 ? b->b[l + k + sh] : 0;
}

DEFINE_VEC(pslldqi)
{
    unsigned l, k, sh = i->imm & 0xff;

    for (l = 0; l < n; l += 16)
        for (k = 0; k < 16; k++)
            r->b[l + k] = k >= sh ? b->b[l + k - sh] : 0;
}

/* Widening moves: the memory operand is a fraction of the result. */
#define EXTEND(name, f, FT, to, TT)                                             \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / sizeof(TT); k++)                                    \
            r->to[k] = (TT)(FT)b->f[k];                                         \
    }
EXTEND(pmovsxbw, b, int8_t, w, int16_t)
EXTEND(pmovsxbd, b, int8_t, d, int32_t)
EXTEND(pmovsxbq, b, int8_t, q, int64_t)
EXTEND(pmovsxwd, w, int16_t, d, int32_t)
EXTEND(pmovsxwq, w, int16_t, q, int64_t)
EXTEND(pmovsxdq, d, int32_t, q, int64_t)
EXTEND(pmovzxbw, b, uint8_t, w, uint16_t)
EXTEND(pmovzxbd, b, uint8_t, d, uint32_t)
EXTEND(pmovzxbq, b, uint8_t, q, uint64_t)
EXTEND(pmovzxwd, w, uint16_t, d, uint32_t)
EXTEND(pmovzxwq, w, uint16_t, q, uint64_t)
EXTEND(pmovzxdq, d, uint32_t, q, uint64_t)

/* Variable shifts of AVX2: a count per element. */
ELEMENTWISE(psllvd, uint32_t, d, y < 32 ? x << y : 0)
ELEMENTWISE(psllvq, uint64_t, q, y < 64 ? x << y : 0)
ELEMENTWISE(psrlvd, uint32_t, d, y < 32 ? x >> y : 0)
ELEMENTWISE(psrlvq, uint64_t, q, y < 64 ? x >> y : 0)
ELEMENTWISE(psravd, int32_t, d, x >> ((uint32_t)y < 32 ? y : 31))

#define BODIES_ALL(x) VEC_ALL(x, op_##x)
#define BODIES_SSE(x) VEC_SSE_AVX(x, op_##x)
BODIES_ALL(paddb) BODIES_ALL(paddw) BODIES_ALL(paddd) BODIES_ALL(paddq)
BODIES_ALL(psubb) BODIES_ALL(psubw) BODIES_ALL(psubd) BODIES_ALL(psubq)
BODIES_ALL(paddsb) BODIES_ALL(paddsw) BODIES_ALL(paddusb) BODIES_ALL(paddusw)
BODIES_ALL(psubsb) BODIES_ALL(psubsw) BODIES_ALL(psubusb) BODIES_ALL(psubusw)
BODIES_ALL(pand) BODIES_ALL(pandn) BODIES_ALL(por) BODIES_ALL(pxor)
BODIES_ALL(pcmpeqb) BODIES_ALL(pcmpeqw) BODIES_ALL(pcmpeqd) BODIES_SSE(pcmpeqq)
BODIES_ALL(pcmpgtb) BODIES_ALL(pcmpgtw) BODIES_ALL(pcmpgtd) BODIES_SSE(pcmpgtq)
BODIES_ALL(pminub) BODIES_ALL(pminsw) BODIES_ALL(pmaxub) BODIES_ALL(pmaxsw)
BODIES_SSE(pminsb) BODIES_SSE(pminuw) BODIES_SSE(pminsd) BODIES_SSE(pminud)
BODIES_SSE(pmaxsb) BODIES_SSE(pmaxuw) BODIES_SSE(pmaxsd) BODIES_SSE(pmaxud)
BODIES_ALL(pavgb) BODIES_ALL(pavgw) BODIES_ALL(pmullw) BODIES_ALL(pmulhw) BODIES_ALL(pmulhuw)
BODIES_ALL(pmulhrsw) BODIES_SSE(pmulld) BODIES_ALL(pmuludq) BODIES_SSE(pmuldq)
BODIES_ALL(psignb) BODIES_ALL(psignw) BODIES_ALL(psignd) BODIES_ALL(pabsb) BODIES_ALL(pabsw) BODIES_ALL(pabsd)
BODIES_ALL(pmaddwd) BODIES_ALL(pmaddubsw) BODIES_ALL(psadbw)
BODIES_ALL(packsswb) BODIES_ALL(packuswb) BODIES_ALL(packssdw) BODIES_SSE(packusdw)
VEC_MMX_SZ(punpcklbw, op_punpcklbw, MS_4) VEC_MMX_SZ(punpcklwd, op_punpcklwd, MS_4) VEC_MMX_SZ(punpckldq, op_punpckldq, MS_4)
BODIES_SSE(punpcklbw) BODIES_SSE(punpcklwd) BODIES_SSE(punpckldq) BODIES_SSE(punpcklqdq)
BODIES_ALL(punpckhbw) BODIES_ALL(punpckhwd) BODIES_ALL(punpckhdq) BODIES_SSE(punpckhqdq)
BODIES_ALL(phaddw) BODIES_ALL(phaddd) BODIES_ALL(phaddsw) BODIES_ALL(phsubw) BODIES_ALL(phsubd) BODIES_ALL(phsubsw)
BODIES_ALL(pshufb) BODIES_ALL(palignr) BODIES_SSE(mpsadbw)
VEC_SSE(phminposuw, op_phminposuw) VEC_AVX128_SZ(phminposuw, op_phminposuw, MS_FULL)

/* Shift counts in an XMM register or 16 bytes of memory, whatever the vector length. */
#define BODIES_SHIFT(x) VEC_MMX(x, op_##x) VEC_SSE(x, op_##x) VEC_AVX_SZ(x, op_##x, MS_16)
BODIES_SHIFT(psrlw) BODIES_SHIFT(psrld) BODIES_SHIFT(psrlq) BODIES_SHIFT(psraw)
BODIES_SHIFT(psrad) BODIES_SHIFT(psllw) BODIES_SHIFT(pslld) BODIES_SHIFT(psllq)

/* By immediate: the register is in rm; VEX writes vvvv. */
#define SHIFT_IMM_SSE(name)                                                     \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec r;                                                               \
                                                                                \
        op_##name(c, i, &r, &c->vec[i->rm], &c->vec[i->rm], 16);                \
        vec_put(&c->vec[i->rm], &r, 16);                                        \
    }                                                                           \
    BODY1(name, sse_##name);                                                    \
    static void avx16_##name(X86Cpu *c, const X86Insn *i)                       \
    {                                                                           \
        X86Vec r;                                                               \
                                                                                \
        op_##name(c, i, &r, &c->vec[i->rm], &c->vec[i->rm], 16);                \
        vec_put_vex(&c->vec[i->vvvv], &r, 16);                                  \
    }                                                                           \
    static void avx32_##name(X86Cpu *c, const X86Insn *i)                       \
    {                                                                           \
        X86Vec r;                                                               \
                                                                                \
        op_##name(c, i, &r, &c->vec[i->rm], &c->vec[i->rm], 32);                \
        vec_put_vex(&c->vec[i->vvvv], &r, 32);                                  \
    }                                                                           \
    BODY_VL(v##name, avx16_##name, avx32_##name);
#define SHIFT_IMM(name)                                                         \
    SHIFT_IMM_SSE(name)                                                         \
    static void mmx_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec b, r;                                                            \
                                                                                \
        mmx_enter(c);                                                           \
        b.q[0] = c->x87.r[i->rm & 7].mant;                                      \
        op_##name(c, i, &r, &b, &b, 8);                                         \
        mmx_put(c, i->rm, r.q[0]);                                              \
    }                                                                           \
    BODY1(mmx_##name, mmx_##name);
SHIFT_IMM(psrlwi) SHIFT_IMM(psrldi) SHIFT_IMM(psrlqi) SHIFT_IMM(psrawi)
SHIFT_IMM(psradi) SHIFT_IMM(psllwi) SHIFT_IMM(pslldi) SHIFT_IMM(psllqi)
SHIFT_IMM_SSE(psrldqi) SHIFT_IMM_SSE(pslldqi)

#define BODIES_EXTEND(x, msz) VEC_SSE_SZ(x, op_##x, msz, 0) VEC_AVX_SZ(x, op_##x, msz)
BODIES_EXTEND(pmovsxbw, MS_HALF) BODIES_EXTEND(pmovsxbd, MS_QUARTER) BODIES_EXTEND(pmovsxbq, MS_EIGHTH)
BODIES_EXTEND(pmovsxwd, MS_HALF) BODIES_EXTEND(pmovsxwq, MS_QUARTER) BODIES_EXTEND(pmovsxdq, MS_HALF)
BODIES_EXTEND(pmovzxbw, MS_HALF) BODIES_EXTEND(pmovzxbd, MS_QUARTER) BODIES_EXTEND(pmovzxbq, MS_EIGHTH)
BODIES_EXTEND(pmovzxwd, MS_HALF) BODIES_EXTEND(pmovzxwq, MS_QUARTER) BODIES_EXTEND(pmovzxdq, MS_HALF)

VEC_AVX(psllvd, op_psllvd) VEC_AVX(psllvq, op_psllvq) VEC_AVX(psrlvd, op_psrlvd)
VEC_AVX(psrlvq, op_psrlvq) VEC_AVX(psravd, op_psravd)
