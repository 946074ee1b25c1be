/*
 * vec_fma: fused multiply-add: FMA3 in its three operand orders, four signs, alternating forms.
 *
 * Order 132: op1 * op3 + op2; 213: op2 * op1 + op3; 231: op2 * op3 + op1, op1 being the destination,
 * op2 vvvv, op3 the r/m operand. SDM vol. 2, VFMADD132PD and on.
 */
#include "target/x86/vec_fp_int.h"

/* neg_p, neg_c: signs of product and addend; alt: 1 for the addend subtracted in even elements
   (FMADDSUB), 2 in odd ones (FMSUBADD). */
typedef struct FmaKind { uint8_t order; bool neg_p, neg_c; uint8_t alt; } FmaKind;

#define FMA_CALC(sfx, f, fz)                                                    \
    VEC_INLINE void fma_##sfx(X86Cpu *c, X86Vec *r, const X86Vec *d, const X86Vec *a, const X86Vec *b, unsigned count, \
                              FmaKind kind)                                     \
    {                                                                           \
        FpStatus st = sse_status(c);                                            \
        unsigned k;                                                             \
                                                                                \
        for (k = 0; k < count; k++) {                                           \
            Fp x = fp_from_##fz(d->f[k]), y = fp_from_##fz(a->f[k]), z = fp_from_##fz(b->f[k]), v; \
            bool neg = kind.neg_c ^ (kind.alt && (kind.alt == 1) == !(k & 1));  \
                                                                                \
            if (kind.order == 132)                                              \
                v = fp_fma(&st, &fp_##fz, x, z, y, kind.neg_p, neg);            \
            else if (kind.order == 213)                                         \
                v = fp_fma(&st, &fp_##fz, y, x, z, kind.neg_p, neg);            \
            else                                                                \
                v = fp_fma(&st, &fp_##fz, y, z, x, kind.neg_p, neg);            \
            r->f[k] = fp_to_##fz(v);                                            \
        }                                                                       \
        sse_finish(c, &st);                                                     \
    }
FMA_CALC(ps, d, f32)
FMA_CALC(pd, q, f64)

#define KIND(order, np, nc, alt) ((FmaKind) { order, np, nc, alt })
#define FMA_PACKED(name, order, sfx, size, np, nc, alt)                         \
    DEFINE_VEC(name##order##p##sfx)                                             \
    {                                                                           \
        fma_p##sfx(c, r, &c->vec[i->reg], a, b, n / size, KIND(order, np, nc, alt)); \
    }                                                                           \
    VEC_AVX(name##order##p##sfx, op_##name##order##p##sfx)
#define FMA_SCALAR(name, order, sfx, size, np, nc)                              \
    DEFINE_VEC(name##order##s##sfx)                                             \
    {                                                                           \
        memcpy(r, &c->vec[i->reg], 16);                                         \
        fma_p##sfx(c, r, &c->vec[i->reg], a, b, 1, KIND(order, np, nc, 0));     \
    }                                                                           \
    VEC_AVX128_SZ(name##order##s##sfx, op_##name##order##s##sfx, MS_##size)
#define FMA_ORDERS(name, np, nc)                                                \
    FMA_ONE(name, 132, np, nc) FMA_ONE(name, 213, np, nc) FMA_ONE(name, 231, np, nc)
#define FMA_ONE(name, order, np, nc)                                            \
    FMA_PACKED(name, order, s, 4, np, nc, 0) FMA_PACKED(name, order, d, 8, np, nc, 0) \
    FMA_SCALAR(name, order, s, 4, np, nc) FMA_SCALAR(name, order, d, 8, np, nc)
#define FMA_ALT(name, alt)                                                      \
    FMA_PACKED(name, 132, s, 4, 0, 0, alt) FMA_PACKED(name, 132, d, 8, 0, 0, alt) \
    FMA_PACKED(name, 213, s, 4, 0, 0, alt) FMA_PACKED(name, 213, d, 8, 0, 0, alt) \
    FMA_PACKED(name, 231, s, 4, 0, 0, alt) FMA_PACKED(name, 231, d, 8, 0, 0, alt)
FMA_ORDERS(fmadd, 0, 0)
FMA_ORDERS(fmsub, 0, 1)
FMA_ORDERS(fnmadd, 1, 0)
FMA_ORDERS(fnmsub, 1, 1)
FMA_ALT(fmaddsub, 1)
FMA_ALT(fmsubadd, 2)
