/*
 * vec_int: how the bodies of vector instructions get their operands and commit their result.
 *
 * An operation is written once as a VecFn over n bytes (8: MMX, 16: SSE and VEX.128, 32: VEX.256);
 * the VEC_* macros make the bodies for each encoding from it. A body reads its memory operand
 * first, computes into a temporary, and commits last, so a fault leaves no trace.
 */
#ifndef TARGET_X86_VEC_INT_H
#define TARGET_X86_VEC_INT_H

#include "target/x86/mem.h"

#define VEC_INLINE static inline __attribute__((always_inline))

/* r: result (n bytes), a: first source, b: second source (register or memory operand). */
typedef void VecFn(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n);

/* Reads size bytes of i's memory operand. align: 0, or the alignment whose absence is #GP(0). */
VEC_INLINE void vec_load(X86Cpu *c, const X86Insn *i, void *buf, unsigned size, unsigned align)
{
    uint64_t va = x86_ea(c, i, size, false), off;
    const TlbEntry *e = &c->tlb[c->data_bank][tlb_index(va)];

    if (align && (va & (align - 1)))
        x86_raise_err(c, EXC_GP, 0);
    off = va ^ e->tag_r;
    if (__builtin_expect(off <= TLB_PAGE - size, 1))
        memcpy(buf, (const void *)(uintptr_t)(e->host_page + off), size);
    else
        x86_ld_bytes(c, va, buf, size, c->data_bank);
}

VEC_INLINE void vec_store_at(X86Cpu *c, uint64_t va, const void *buf, unsigned size)
{
    const TlbEntry *e = &c->tlb[c->data_bank][tlb_index(va)];
    uint64_t off = va ^ e->tag_w;

    if (__builtin_expect(off <= TLB_PAGE - size, 1))
        memcpy((void *)(uintptr_t)(e->host_page + off), buf, size);
    else
        x86_st_bytes(c, va, buf, size, c->data_bank);
}

VEC_INLINE void vec_store(X86Cpu *c, const X86Insn *i, const void *buf, unsigned size, unsigned align)
{
    uint64_t va = x86_ea(c, i, size, true);

    if (align && (va & (align - 1)))
        x86_raise_err(c, EXC_GP, 0);
    vec_store_at(c, va, buf, size);
}

/* The r/m operand: the register itself, or size bytes of memory copied to *m. */
VEC_INLINE const X86Vec *vec_src(X86Cpu *c, const X86Insn *i, X86Vec *m, unsigned size, unsigned align)
{
    if (i->is_reg)
        return &c->vec[i->rm];
    vec_load(c, i, m, size, align);
    return m;
}

VEC_INLINE void vec_put(X86Vec *d, const X86Vec *r, unsigned n)
{
    memcpy(d, r, n);
}
/* VEX results clear the register above them. */
VEC_INLINE void vec_put_vex(X86Vec *d, const X86Vec *r, unsigned n)
{
    memcpy(d, r, n);
    if (n == 16)
        d->q[2] = d->q[3] = 0;
}

/* Every MMX instruction: a pending x87 exception is raised first; then TOP = 0 and all tags valid
   (EMMS: empty). Call after the memory operand was read, before committing. */
void x87_mmx_pending(X86Cpu *c);
VEC_INLINE void mmx_enter(X86Cpu *c)
{
    if (__builtin_expect(c->x87.sw & 0x80, 0))
        x87_mmx_pending(c);
}
VEC_INLINE void mmx_commit(X86Cpu *c)
{
    c->x87.top = 0;
    c->x87.empty = 0;
}
VEC_INLINE void mmx_put(X86Cpu *c, unsigned n, uint64_t v)
{
    mmx_commit(c);
    c->x87.r[n & 7].mant = v;
    c->x87.r[n & 7].se = 0xffff;
}

/* Memory operand sizes, as functions of the vector length. */
#define MS_FULL(n) (n)
#define MS_HALF(n) ((n) / 2)
#define MS_QUARTER(n) ((n) / 4)
#define MS_EIGHTH(n) ((n) / 8)
#define MS_1(n) 1
#define MS_2(n) 2
#define MS_4(n) 4
#define MS_8(n) 8
#define MS_16(n) 16

/* MMX: mm, mm/m64. */
#define VEC_MMX_SZ(name, fn, msz)                                               \
    static void mmx_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec a, b, r;                                                         \
                                                                                \
        mmx_enter(c);                                                           \
        if (i->is_reg)                                                          \
            b.q[0] = c->x87.r[i->rm & 7].mant;                                  \
        else                                                                    \
            vec_load(c, i, &b, msz(8), 0);                                      \
        a.q[0] = c->x87.r[i->reg & 7].mant;                                     \
        fn(c, i, &r, &a, &b, 8);                                                \
        mmx_put(c, i->reg, r.q[0]);                                             \
    }                                                                           \
    BODY1(mmx_##name, mmx_##name);
#define VEC_MMX(name, fn) VEC_MMX_SZ(name, fn, MS_FULL)

/* Legacy SSE: xmm, xmm/m; memory aligned to align (0: any). */
#define VEC_SSE_SZ(name, fn, msz, align)                                        \
    static void sse_##name(X86Cpu *c, const X86Insn *i)                         \
    {                                                                           \
        X86Vec m, r, *d = &c->vec[i->reg];                                      \
        const X86Vec *b = vec_src(c, i, &m, msz(16), align);                    \
                                                                                \
        fn(c, i, &r, d, b, 16);                                                 \
        vec_put(d, &r, 16);                                                     \
    }                                                                           \
    BODY1(name, sse_##name);
#define VEC_SSE(name, fn) VEC_SSE_SZ(name, fn, MS_FULL, 16)

/* VEX: xmm/ymm, vvvv, xmm/ymm/m. Two-operand forms ignore a. */
#define VEC_AVX_N(name, fn, msz, n)                                             \
    static void avx##n##_##name(X86Cpu *c, const X86Insn *i)                    \
    {                                                                           \
        X86Vec m, r;                                                            \
        const X86Vec *b = vec_src(c, i, &m, msz(n), 0);                         \
                                                                                \
        fn(c, i, &r, &c->vec[i->vvvv], b, n);                                   \
        vec_put_vex(&c->vec[i->reg], &r, n);                                    \
    }
#define VEC_AVX_SZ(name, fn, msz)                                               \
    VEC_AVX_N(name, fn, msz, 16)                                                \
    VEC_AVX_N(name, fn, msz, 32)                                                \
    BODY_VL(v##name, avx16_##name, avx32_##name);
#define VEC_AVX(name, fn) VEC_AVX_SZ(name, fn, MS_FULL)
#define VEC_AVX128_SZ(name, fn, msz)                                            \
    VEC_AVX_N(name, fn, msz, 16)                                                \
    BODY1(v##name, avx16_##name);

#define VEC_SSE_AVX(name, fn) VEC_SSE(name, fn) VEC_AVX(name, fn)
#define VEC_ALL(name, fn) VEC_MMX(name, fn) VEC_SSE(name, fn) VEC_AVX(name, fn)

/* Writes a general register of the instruction's operand size: 32-bit results zero-extend. */
VEC_INLINE void vec_put_gpr(X86Cpu *c, const X86Insn *i, unsigned n, uint64_t v)
{
    c->gpr[n] = i->opsize == 8 ? v : (uint32_t)v;
}

#endif
