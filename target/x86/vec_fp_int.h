/*
 * vec_fp_int: MXCSR around floating-point vector bodies: status in, exceptions out, the fast path test.
 */
#ifndef TARGET_X86_VEC_FP_INT_H
#define TARGET_X86_VEC_FP_INT_H

#include "target/x86/softfloat.h"
#include "target/x86/vec_int.h"

static inline FpStatus sse_status(const X86Cpu *c)
{
    uint32_t m = c->mxcsr;

    return (FpStatus) { .masks = m >> 7 & FPX_ALL, .rm = m >> 13 & 3, .daz = m >> 6 & 1, .ftz = m >> 15 & 1 };
}

/* Merges the flags of one instruction into MXCSR; raises #XM (or #UD) for unmasked ones. */
void sse_finish_slow(X86Cpu *c, const FpStatus *st);
VEC_INLINE void sse_finish(X86Cpu *c, const FpStatus *st)
{
    if (st->flags)
        sse_finish_slow(c, st);
}

/*
 * Host arithmetic gives the same bits and flags when rounding is to nearest, the only possible
 * exception is "inexact", and that one is masked and already recorded. The caller checks that
 * operands and result are normal (or exact zeros).
 */
VEC_INLINE bool sse_fast(const X86Cpu *c)
{
    return __FLT_EVAL_METHOD__ == 0 && (c->mxcsr & 0x7020) == 0x1020;
}
VEC_INLINE unsigned f32_zero(uint32_t v) { return !(v << 1); }
VEC_INLINE unsigned f64_zero(uint64_t v) { return !(v << 1); }
VEC_INLINE unsigned f32_normal(uint32_t v) { return (((v >> 23) + 1) & 0xff) >= 2; }
VEC_INLINE unsigned f64_normal(uint64_t v) { return (((v >> 52) + 1) & 0x7ff) >= 2; }
VEC_INLINE unsigned f32_plain(uint32_t v) { return f32_normal(v) || f32_zero(v); }
VEC_INLINE unsigned f64_plain(uint64_t v) { return f64_normal(v) || f64_zero(v); }

#define DEFINE_VEC(name) VEC_INLINE void op_##name(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n)

/* Bodies of a scalar operation: memory operand of size bytes, VEX.128 only. */
#define VEC_SCALAR(name, fn, size) VEC_SSE_SZ(name, fn, MS_##size, 0) VEC_AVX128_SZ(name, fn, MS_##size)

#endif
