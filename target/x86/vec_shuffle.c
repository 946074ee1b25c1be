/*
 * vec_shuffle: permutations, blends, broadcasts, inserts and extracts: SSE to SSE4.1, AVX, AVX2; PTEST.
 */
#include "target/x86/vec_int.h"
#include "target/x86/flags.h"

#define DEFINE_VEC(name) VEC_INLINE void op_##name(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n)

DEFINE_VEC(pshufd)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = b->d[(k & ~3u) + (i->imm >> (2 * (k & 3)) & 3)];
}
DEFINE_VEC(pshuflw)
{
    unsigned k;

    for (k = 0; k < n / 2; k++)
        r->w[k] = k & 4 ? b->w[k] : b->w[(k & ~3u) + (i->imm >> (2 * (k & 3)) & 3)];
}
DEFINE_VEC(pshufhw)
{
    unsigned k;

    for (k = 0; k < n / 2; k++)
        r->w[k] = k & 4 ? b->w[(k & ~3u) + (i->imm >> (2 * (k & 3)) & 3)] : b->w[k];
}
DEFINE_VEC(shufps)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = (k & 2 ? b : a)->d[(k & ~3u) + (i->imm >> (2 * (k & 3)) & 3)];
}
DEFINE_VEC(shufpd)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = (k & 1 ? b : a)->q[(k & ~1u) + (i->imm >> k & 1)];
}
DEFINE_VEC(movddup)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = b->q[k & ~1u];
}
DEFINE_VEC(movsldup)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = b->d[k & ~1u];
}
DEFINE_VEC(movshdup)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = b->d[k | 1];
}
VEC_MMX(pshufw, op_pshuflw)
VEC_SSE_AVX(pshufd, op_pshufd)
VEC_SSE_AVX(pshuflw, op_pshuflw)
VEC_SSE_AVX(pshufhw, op_pshufhw)
VEC_SSE_AVX(shufps, op_shufps)
VEC_SSE_AVX(shufpd, op_shufpd)
VEC_SSE_AVX(movsldup, op_movsldup)
VEC_SSE_AVX(movshdup, op_movshdup)
VEC_SSE_SZ(movddup, op_movddup, MS_8, 0)
VEC_AVX_N(movddup, op_movddup, MS_8, 16)
VEC_AVX_N(movddup, op_movddup, MS_FULL, 32)
BODY_VL(vmovddup, avx16_movddup, avx32_movddup);

/* Blends by immediate. PBLENDW repeats its mask in each lane. */
DEFINE_VEC(blendps)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = (i->imm >> k & 1 ? b : a)->d[k];
}
DEFINE_VEC(blendpd)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = (i->imm >> k & 1 ? b : a)->q[k];
}
DEFINE_VEC(pblendw)
{
    unsigned k;

    for (k = 0; k < n / 2; k++)
        r->w[k] = (i->imm >> (k & 7) & 1 ? b : a)->w[k];
}
VEC_SSE_AVX(blendps, op_blendps)
VEC_SSE_AVX(blendpd, op_blendpd)
VEC_SSE_AVX(pblendw, op_pblendw)
VEC_AVX(pblendd, op_blendps)

/* Blends by the sign of a mask register: XMM0, or is4 with VEX. */
#define BLENDV(name, f, top)                                                    \
    VEC_INLINE void blendv_##name(X86Vec *r, const X86Vec *a, const X86Vec *b, const X86Vec *m, unsigned n) \
    {                                                                           \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / sizeof(r->f[0]); k++)                               \
            r->f[k] = (m->f[k] >> top ? b : a)->f[k];                           \
    }                                                                           \
    DEFINE_VEC(name) { blendv_##name(r, a, b, &c->vec[0], n); }                 \
    DEFINE_VEC(v##name) { blendv_##name(r, a, b, &c->vec[i->is4], n); }         \
    VEC_SSE(name, op_##name)                                                    \
    VEC_AVX(name, op_v##name)
BLENDV(pblendvb, b, 7)
BLENDV(blendvps, d, 31)
BLENDV(blendvpd, q, 63)

static void insertps(X86Vec *r, const X86Vec *a, uint32_t v, unsigned imm)
{
    unsigned k;

    memcpy(r, a, 16);
    r->d[imm >> 4 & 3] = v;
    for (k = 0; k < 4; k++) {
        if (imm >> k & 1)
            r->d[k] = 0;
    }
}
/* The source element is chosen by bits 7:6 only in the register form. */
DEFINE_VEC(insertps) { insertps(r, a, i->is_reg ? b->d[i->imm >> 6 & 3] : b->d[0], i->imm); }
VEC_SSE_SZ(insertps, op_insertps, MS_4, 0)
VEC_AVX128_SZ(insertps, op_insertps, MS_4)

/* Broadcasts: one element of the source to all. */
#define BROADCAST(name, f)                                                      \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / sizeof(r->f[0]); k++)                               \
            r->f[k] = b->f[0];                                                  \
    }
BROADCAST(pbroadcastb, b)
BROADCAST(pbroadcastw, w)
BROADCAST(pbroadcastd, d)
BROADCAST(pbroadcastq, q)
VEC_AVX_SZ(pbroadcastb, op_pbroadcastb, MS_1)
VEC_AVX_SZ(pbroadcastw, op_pbroadcastw, MS_2)
VEC_AVX_SZ(pbroadcastd, op_pbroadcastd, MS_4)
VEC_AVX_SZ(pbroadcastq, op_pbroadcastq, MS_8)

DEFINE_VEC(broadcastf128)
{
    memcpy(&r->b[0], b, 16);
    memcpy(&r->b[16], &r->b[0], 16);
}
VEC_AVX_SZ(broadcastf128, op_broadcastf128, MS_16)

/* 128-bit halves. */
DEFINE_VEC(insertf128)
{
    memcpy(r, a, 32);
    memcpy(&r->b[i->imm & 1 ? 16 : 0], b, 16);
}
VEC_AVX_SZ(insertf128, op_insertf128, MS_16)
static void avx_extractf128(X86Cpu *c, const X86Insn *i)
{
    X86Vec r;

    memcpy(&r, &c->vec[i->reg].b[i->imm & 1 ? 16 : 0], 16);
    if (i->is_reg)
        vec_put_vex(&c->vec[i->rm], &r, 16);
    else
        vec_store(c, i, &r, 16, 0);
}
BODY1(vextractf128, avx_extractf128);
DEFINE_VEC(perm2f128)
{
    unsigned h;

    for (h = 0; h < 2; h++) {
        unsigned sel = i->imm >> (4 * h) & 15;

        if (sel & 8)
            memset(&r->b[16 * h], 0, 16);
        else
            memcpy(&r->b[16 * h], &(sel & 2 ? b : a)->b[sel & 1 ? 16 : 0], 16);
    }
}
VEC_AVX(perm2f128, op_perm2f128)

/* Permutations. In-lane by register or immediate, then across lanes. */
DEFINE_VEC(permilps)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = a->d[(k & ~3u) + (b->d[k] & 3)];
}
DEFINE_VEC(permilpd)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = a->q[(k & ~1u) + (b->q[k] >> 1 & 1)];
}
DEFINE_VEC(permilpdi)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = b->q[(k & ~1u) + (i->imm >> k & 1)];
}
DEFINE_VEC(permd)
{
    unsigned k;

    for (k = 0; k < n / 4; k++)
        r->d[k] = b->d[a->d[k] & 7];
}
DEFINE_VEC(permq)
{
    unsigned k;

    for (k = 0; k < n / 8; k++)
        r->q[k] = b->q[i->imm >> (2 * k) & 3];
}
VEC_AVX(permilps, op_permilps)
VEC_AVX(permilpd, op_permilpd)
VEC_AVX(permilpsi, op_pshufd)
VEC_AVX(permilpdi, op_permilpdi)
VEC_AVX(permd, op_permd)
VEC_AVX(permq, op_permq)

/* PTEST, VTESTPS, VTESTPD: ZF = (b & a) == 0, CF = (b & ~a) == 0 on the bits in mask. */
VEC_INLINE void test_bits(X86Cpu *c, const X86Insn *i, uint64_t mask, unsigned n, unsigned align)
{
    X86Vec m;
    const X86Vec *b = vec_src(c, i, &m, n, align), *a = &c->vec[i->reg];
    uint64_t both = 0, only = 0;
    unsigned k;

    for (k = 0; k < n / 8; k++) {
        both |= a->q[k] & b->q[k] & mask;
        only |= ~a->q[k] & b->q[k] & mask;
    }
    x86_flags_put(c, (both ? 0 : FL_ZF) | (only ? 0 : FL_CF));
}
static void sse_ptest(X86Cpu *c, const X86Insn *i) { test_bits(c, i, ~0ULL, 16, 16); }
static void avx_ptest16(X86Cpu *c, const X86Insn *i) { test_bits(c, i, ~0ULL, 16, 0); }
static void avx_ptest32(X86Cpu *c, const X86Insn *i) { test_bits(c, i, ~0ULL, 32, 0); }
static void avx_testps16(X86Cpu *c, const X86Insn *i) { test_bits(c, i, 0x8000000080000000ULL, 16, 0); }
static void avx_testps32(X86Cpu *c, const X86Insn *i) { test_bits(c, i, 0x8000000080000000ULL, 32, 0); }
static void avx_testpd16(X86Cpu *c, const X86Insn *i) { test_bits(c, i, 1ULL << 63, 16, 0); }
static void avx_testpd32(X86Cpu *c, const X86Insn *i) { test_bits(c, i, 1ULL << 63, 32, 0); }
BODY1(ptest, sse_ptest);
BODY_VL(vptest, avx_ptest16, avx_ptest32);
BODY_VL(vtestps, avx_testps16, avx_testps32);
BODY_VL(vtestpd, avx_testpd16, avx_testpd32);

static void avx_zeroupper(X86Cpu *c, const X86Insn *i)
{
    unsigned k, n = c->mode & MODE_CS64 ? 16 : 8;

    for (k = 0; k < n; k++)
        c->vec[k].q[2] = c->vec[k].q[3] = 0;
}
static void avx_zeroall(X86Cpu *c, const X86Insn *i)
{
    unsigned k, n = c->mode & MODE_CS64 ? 16 : 8;

    for (k = 0; k < n; k++)
        memset(&c->vec[k], 0, 32);
}
BODY_VL(vzeroupper, avx_zeroupper, avx_zeroall);
