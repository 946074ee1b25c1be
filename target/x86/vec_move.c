/*
 * vec_move: moves between vector registers, general registers and memory: SSE to SSE4.1, AVX, MMX.
 *
 * Non-temporal forms are plain stores. Masked and gathering moves: vec_mask.c.
 */
#include "target/x86/vec_int.h"

/* Full-width loads and stores; align 0 or 1 times the length. */
#define FULL_MOVES(name, al)                                                    \
    static void sse_##name##_ld(X86Cpu *c, const X86Insn *i)                    \
    {                                                                           \
        X86Vec m;                                                               \
        const X86Vec *s = vec_src(c, i, &m, 16, al * 16);                       \
                                                                                \
        vec_put(&c->vec[i->reg], s, 16);                                        \
    }                                                                           \
    static void sse_##name##_st(X86Cpu *c, const X86Insn *i)                    \
    {                                                                           \
        if (i->is_reg)                                                          \
            vec_put(&c->vec[i->rm], &c->vec[i->reg], 16);                       \
        else                                                                    \
            vec_store(c, i, &c->vec[i->reg], 16, al * 16);                      \
    }                                                                           \
    VEX_MOVES(name, al, 16)                                                     \
    VEX_MOVES(name, al, 32)                                                     \
    BODY1(name##_ld, sse_##name##_ld);                                          \
    BODY1(name##_st, sse_##name##_st);                                          \
    BODY_VL(v##name##_ld, avx16_##name##_ld, avx32_##name##_ld);                \
    BODY_VL(v##name##_st, avx16_##name##_st, avx32_##name##_st);
#define VEX_MOVES(name, al, n)                                                  \
    static void avx##n##_##name##_ld(X86Cpu *c, const X86Insn *i)               \
    {                                                                           \
        X86Vec m;                                                               \
        const X86Vec *s = vec_src(c, i, &m, n, al * n);                         \
                                                                                \
        vec_put_vex(&c->vec[i->reg], s, n);                                     \
    }                                                                           \
    static void avx##n##_##name##_st(X86Cpu *c, const X86Insn *i)               \
    {                                                                           \
        if (i->is_reg)                                                          \
            vec_put_vex(&c->vec[i->rm], &c->vec[i->reg], n);                    \
        else                                                                    \
            vec_store(c, i, &c->vec[i->reg], n, al * n);                        \
    }
FULL_MOVES(movu, 0)
FULL_MOVES(mova, 1)

/* MOVSS, MOVSD: loads clear the rest of the XMM register, register forms merge. */
#define SCALAR_MOVES(name, f, size)                                             \
    static void sse_##name##_ld_m(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        X86Vec r = { .q = { 0 } };                                              \
                                                                                \
        vec_load(c, i, &r, size, 0);                                            \
        vec_put(&c->vec[i->reg], &r, 16);                                       \
    }                                                                           \
    static void sse_##name##_ld_r(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        c->vec[i->reg].f[0] = c->vec[i->rm].f[0];                               \
    }                                                                           \
    static void sse_##name##_st_m(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        vec_store(c, i, &c->vec[i->reg], size, 0);                              \
    }                                                                           \
    static void sse_##name##_st_r(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        c->vec[i->rm].f[0] = c->vec[i->reg].f[0];                               \
    }                                                                           \
    static void avx_##name##_ld_m(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        X86Vec r = { .q = { 0 } };                                              \
                                                                                \
        vec_load(c, i, &r, size, 0);                                            \
        vec_put_vex(&c->vec[i->reg], &r, 16);                                   \
    }                                                                           \
    static void avx_##name##_ld_r(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        X86Vec r = c->vec[i->vvvv];                                             \
                                                                                \
        r.f[0] = c->vec[i->rm].f[0];                                            \
        vec_put_vex(&c->vec[i->reg], &r, 16);                                   \
    }                                                                           \
    static void avx_##name##_st_r(X86Cpu *c, const X86Insn *i)                  \
    {                                                                           \
        X86Vec r = c->vec[i->vvvv];                                             \
                                                                                \
        r.f[0] = c->vec[i->reg].f[0];                                           \
        vec_put_vex(&c->vec[i->rm], &r, 16);                                    \
    }                                                                           \
    BODY_MR(name##_ld, sse_##name##_ld_m, sse_##name##_ld_r);                   \
    BODY_MR(name##_st, sse_##name##_st_m, sse_##name##_st_r);                   \
    BODY_MR(v##name##_ld, avx_##name##_ld_m, avx_##name##_ld_r);                \
    BODY_MR(v##name##_st, sse_##name##_st_m, avx_##name##_st_r);
SCALAR_MOVES(movss, d, 4)
SCALAR_MOVES(movsd, q, 8)

/* Half moves: MOVLPS, MOVHPS, MOVHLPS, MOVLHPS and the PD names. */
static void sse_movlps_ld_m(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    vec_load(c, i, &v, 8, 0);
    c->vec[i->reg].q[0] = v;
}
static void sse_movhps_ld_m(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    vec_load(c, i, &v, 8, 0);
    c->vec[i->reg].q[1] = v;
}
static void sse_movhlps(X86Cpu *c, const X86Insn *i) { c->vec[i->reg].q[0] = c->vec[i->rm].q[1]; }
static void sse_movlhps(X86Cpu *c, const X86Insn *i) { c->vec[i->reg].q[1] = c->vec[i->rm].q[0]; }
static void sse_movlps_st(X86Cpu *c, const X86Insn *i) { vec_store(c, i, &c->vec[i->reg].q[0], 8, 0); }
static void sse_movhps_st(X86Cpu *c, const X86Insn *i) { vec_store(c, i, &c->vec[i->reg].q[1], 8, 0); }
BODY1(movlps_ld, sse_movlps_ld_m);
BODY1(movhps_ld, sse_movhps_ld_m);
BODY1(movhlps, sse_movhlps);
BODY1(movlhps, sse_movlhps);
BODY1(movlps_st, sse_movlps_st);
BODY1(movhps_st, sse_movhps_st);

static void put_halves(X86Cpu *c, unsigned reg, uint64_t lo, uint64_t hi)
{
    X86Vec *d = &c->vec[reg];

    d->q[0] = lo;
    d->q[1] = hi;
    d->q[2] = d->q[3] = 0;
}
static void avx_movlps_ld_m(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    vec_load(c, i, &v, 8, 0);
    put_halves(c, i->reg, v, c->vec[i->vvvv].q[1]);
}
static void avx_movhps_ld_m(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    vec_load(c, i, &v, 8, 0);
    put_halves(c, i->reg, c->vec[i->vvvv].q[0], v);
}
static void avx_movhlps(X86Cpu *c, const X86Insn *i)
{
    put_halves(c, i->reg, c->vec[i->rm].q[1], c->vec[i->vvvv].q[1]);
}
static void avx_movlhps(X86Cpu *c, const X86Insn *i)
{
    put_halves(c, i->reg, c->vec[i->vvvv].q[0], c->vec[i->rm].q[0]);
}
BODY1(vmovlps_ld, avx_movlps_ld_m);
BODY1(vmovhps_ld, avx_movhps_ld_m);
BODY1(vmovhlps, avx_movhlps);
BODY1(vmovlhps, avx_movlhps);

/* MOVD, MOVQ with general registers or memory, of operand size 4 or 8. */
static uint64_t load_y(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = 0;

    if (i->is_reg)
        return i->opsize == 8 ? c->gpr[i->rm] : (uint32_t)c->gpr[i->rm];
    if (i->opsize == 8)
        vec_load(c, i, &v, 8, 0);
    else
        vec_load(c, i, &v, 4, 0);
    return v;
}
static void store_y(X86Cpu *c, const X86Insn *i, uint64_t v)
{
    if (i->is_reg)
        vec_put_gpr(c, i, i->rm, v);
    else
        vec_store(c, i, &v, i->opsize == 8 ? 8 : 4, 0);
}
static void sse_movd_ld(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = load_y(c, i);

    c->vec[i->reg].q[0] = v;
    c->vec[i->reg].q[1] = 0;
}
static void avx_movd_ld(X86Cpu *c, const X86Insn *i) { put_halves(c, i->reg, load_y(c, i), 0); }
static void sse_movd_st(X86Cpu *c, const X86Insn *i) { store_y(c, i, c->vec[i->reg].q[0]); }
static void mmx_movd_ld(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    mmx_enter(c);
    v = load_y(c, i);
    mmx_put(c, i->reg, v);
}
static void mmx_movd_st(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    store_y(c, i, c->x87.r[i->reg & 7].mant);
    mmx_commit(c);
}
BODY1(movd_ld, sse_movd_ld);
BODY1(movd_st, sse_movd_st);
BODY1(vmovd_ld, avx_movd_ld);
BODY1(mmx_movd_ld, mmx_movd_ld);
BODY1(mmx_movd_st, mmx_movd_st);

/* MOVQ between vector registers and 64 bits of memory: clears the upper half. */
static uint64_t load_q(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    if (i->is_reg)
        return c->vec[i->rm].q[0];
    vec_load(c, i, &v, 8, 0);
    return v;
}
static void sse_movq_ld(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = load_q(c, i);

    c->vec[i->reg].q[0] = v;
    c->vec[i->reg].q[1] = 0;
}
static void avx_movq_ld(X86Cpu *c, const X86Insn *i) { put_halves(c, i->reg, load_q(c, i), 0); }
static void sse_movq_st_r(X86Cpu *c, const X86Insn *i)
{
    c->vec[i->rm].q[0] = c->vec[i->reg].q[0];
    c->vec[i->rm].q[1] = 0;
}
static void avx_movq_st_r(X86Cpu *c, const X86Insn *i) { put_halves(c, i->rm, c->vec[i->reg].q[0], 0); }
BODY1(movq_ld, sse_movq_ld);
BODY1(vmovq_ld, avx_movq_ld);
BODY_MR(movq_st, sse_movlps_st, sse_movq_st_r);
BODY_MR(vmovq_st, sse_movlps_st, avx_movq_st_r);

static void mmx_movq_ld(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    mmx_enter(c);
    if (i->is_reg)
        v = c->x87.r[i->rm & 7].mant;
    else
        vec_load(c, i, &v, 8, 0);
    mmx_put(c, i->reg, v);
}
static void mmx_movq_st_m(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    vec_store(c, i, &c->x87.r[i->reg & 7].mant, 8, 0);
    mmx_commit(c);
}
static void mmx_movq_st_r(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    mmx_put(c, i->rm, c->x87.r[i->reg & 7].mant);
}
static void mmx_movq2dq(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    mmx_commit(c);
    c->vec[i->reg].q[0] = c->x87.r[i->rm & 7].mant;
    c->vec[i->reg].q[1] = 0;
}
static void mmx_movdq2q(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    mmx_put(c, i->reg, c->vec[i->rm].q[0]);
}
BODY1(mmx_movq_ld, mmx_movq_ld);
BODY_MR(mmx_movq_st, mmx_movq_st_m, mmx_movq_st_r);
BODY1(movq2dq, mmx_movq2dq);
BODY1(movdq2q, mmx_movdq2q);

static void mmx_emms(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    c->x87.top = 0;
    c->x87.empty = 0xff;
}
BODY1(emms, mmx_emms);

/* Sign masks to a general register. */
#define MOVMSK(name, f, shift, n)                                               \
    static void name(X86Cpu *c, const X86Insn *i)                               \
    {                                                                           \
        const X86Vec *s = &c->vec[i->rm];                                       \
        uint32_t v = 0;                                                         \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < n / sizeof(s->f[0]); k++)                               \
            v |= (uint32_t)(s->f[k] >> shift & 1) << k;                         \
        c->gpr[i->reg] = v;                                                     \
    }
MOVMSK(movmskps16, d, 31, 16)
MOVMSK(movmskps32, d, 31, 32)
MOVMSK(movmskpd16, q, 63, 16)
MOVMSK(movmskpd32, q, 63, 32)
MOVMSK(pmovmskb16, b, 7, 16)
MOVMSK(pmovmskb32, b, 7, 32)
BODY_VL(movmskps, movmskps16, movmskps32);
BODY_VL(movmskpd, movmskpd16, movmskpd32);
BODY_VL(pmovmskb, pmovmskb16, pmovmskb32);
static void mmx_pmovmskb(X86Cpu *c, const X86Insn *i)
{
    uint64_t s = c->x87.r[i->rm & 7].mant;
    uint32_t v = 0;
    unsigned k;

    mmx_enter(c);
    mmx_commit(c);
    for (k = 0; k < 8; k++)
        v |= (uint32_t)(s >> (8 * k + 7) & 1) << k;
    c->gpr[i->reg] = v;
}
BODY1(mmx_pmovmskb, mmx_pmovmskb);

/* PEXTRx: element to a general register (zero-extended) or memory. */
static void store_element(X86Cpu *c, const X86Insn *i, uint64_t v, unsigned size)
{
    if (i->is_reg)
        c->gpr[i->rm] = v;
    else
        vec_store(c, i, &v, size, 0);
}
static void sse_pextrb(X86Cpu *c, const X86Insn *i) { store_element(c, i, c->vec[i->reg].b[i->imm & 15], 1); }
static void sse_pextrw(X86Cpu *c, const X86Insn *i) { store_element(c, i, c->vec[i->reg].w[i->imm & 7], 2); }
static void sse_pextrd(X86Cpu *c, const X86Insn *i)
{
    if (i->opsize == 8)
        store_element(c, i, c->vec[i->reg].q[i->imm & 1], 8);
    else
        store_element(c, i, c->vec[i->reg].d[i->imm & 3], 4);
}
static void sse_extractps(X86Cpu *c, const X86Insn *i) { store_element(c, i, c->vec[i->reg].d[i->imm & 3], 4); }
static void sse_pextrw_r(X86Cpu *c, const X86Insn *i) { c->gpr[i->reg] = c->vec[i->rm].w[i->imm & 7]; }
static void mmx_pextrw_r(X86Cpu *c, const X86Insn *i)
{
    mmx_enter(c);
    mmx_commit(c);
    c->gpr[i->reg] = (uint16_t)(c->x87.r[i->rm & 7].mant >> (16 * (i->imm & 3)));
}
BODY1(pextrb, sse_pextrb);
BODY1(pextrw, sse_pextrw);
BODY1(pextrd, sse_pextrd);
BODY1(extractps, sse_extractps);
BODY1(pextrw_r, sse_pextrw_r);
BODY1(mmx_pextrw_r, mmx_pextrw_r);

/* PINSRx: element from a general register or memory. */
static uint64_t load_element(X86Cpu *c, const X86Insn *i, unsigned size)
{
    uint64_t v = 0;

    if (i->is_reg)
        return c->gpr[i->rm];
    vec_load(c, i, &v, size, 0);
    return v;
}
#define PINSR(name, f, size, mask)                                              \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        uint64_t v = load_element(c, i, size);                                  \
                                                                                \
        c->vec[i->reg].f[i->imm & mask] = v;                                    \
    }                                                                           \
    static void avx_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        uint64_t v = load_element(c, i, size);                                  \
        X86Vec r = c->vec[i->vvvv];                                             \
                                                                                \
        r.f[i->imm & mask] = v;                                                 \
        vec_put_vex(&c->vec[i->reg], &r, 16);                                   \
    }
PINSR(pinsrb, b, 1, 15)
PINSR(pinsrw, w, 2, 7)
PINSR(pinsrd, d, 4, 3)
PINSR(pinsrq, q, 8, 1)
BODY1(pinsrb, sse_pinsrb);
BODY1(vpinsrb, avx_pinsrb);
BODY1(pinsrw, sse_pinsrw);
BODY1(vpinsrw, avx_pinsrw);
static void sse_pinsr_y(X86Cpu *c, const X86Insn *i) { (i->opsize == 8 ? sse_pinsrq : sse_pinsrd)(c, i); }
static void avx_pinsr_y(X86Cpu *c, const X86Insn *i) { (i->opsize == 8 ? avx_pinsrq : avx_pinsrd)(c, i); }
BODY1(pinsrd, sse_pinsr_y);
BODY1(vpinsrd, avx_pinsr_y);
static void mmx_pinsrw(X86Cpu *c, const X86Insn *i)
{
    unsigned sh = 16 * (i->imm & 3);
    uint64_t v;

    mmx_enter(c);
    v = load_element(c, i, 2) & 0xffff;
    mmx_put(c, i->reg, (c->x87.r[i->reg & 7].mant & ~(0xffffULL << sh)) | v << sh);
}
BODY1(mmx_pinsrw, mmx_pinsrw);

/* SSE4A. Fields of the low quadword: length 0 means 64. AMD APM vol. 4, EXTRQ, INSERTQ. */
static uint64_t field_mask(unsigned len) { return len & 63 ? ~0ULL >> (64 - (len & 63)) : ~0ULL; }
static void extract(X86Vec *d, unsigned len, unsigned at)
{
    d->q[0] = d->q[0] >> (at & 63) & field_mask(len);
    d->q[1] = 0;
}
static void insert(X86Vec *d, uint64_t v, unsigned len, unsigned at)
{
    uint64_t m = field_mask(len);

    d->q[0] = (d->q[0] & ~(m << (at & 63))) | (v & m) << (at & 63);
    d->q[1] = 0;
}
static void sse_extrq_i(X86Cpu *c, const X86Insn *i) { extract(&c->vec[i->rm], i->imm, i->imm2); }
static void sse_extrq(X86Cpu *c, const X86Insn *i)
{
    extract(&c->vec[i->reg], c->vec[i->rm].b[0], c->vec[i->rm].b[1]);
}
static void sse_insertq_i(X86Cpu *c, const X86Insn *i)
{
    insert(&c->vec[i->reg], c->vec[i->rm].q[0], i->imm, i->imm2);
}
static void sse_insertq(X86Cpu *c, const X86Insn *i)
{
    insert(&c->vec[i->reg], c->vec[i->rm].q[0], c->vec[i->rm].b[8], c->vec[i->rm].b[9]);
}
BODY1(extrq_i, sse_extrq_i);
BODY1(extrq, sse_extrq);
BODY1(insertq_i, sse_insertq_i);
BODY1(insertq, sse_insertq);
