/*
 * vec: x87 state between X86Cpu and the FXSAVE image generated code loads and stores.
 *
 * Image layout: Intel SDM volume 1, 10.5.1 (64-bit form). Instruction and data pointers of x87
 * are not translated back: they read as what the C bodies last left there.
 */
#include "accel/jit/jit_int.h"

#include <string.h>

void jit_fpu_out(X86Cpu *c)
{
    const uint8_t *a = jit_env(c)->fxarea;
    X87 *f = &c->x87;
    uint16_t sw = ld16_le(a + 2);

    f->cw = ld16_le(a);
    f->top = sw >> 11 & 7;
    f->sw = sw & ~(7 << 11);
    f->empty = ~a[4];
    f->fop = ld16_le(a + 6) & 0x7ff;
    for (unsigned n = 0; n < 8; n++) {
        X86Fp80 *r = &f->r[(f->top + n) & 7];

        r->mant = ld64_le(a + 32 + 16 * n);
        r->se = ld16_le(a + 40 + 16 * n);
    }
}

void jit_fpu_in(X86Cpu *c)
{
    uint8_t *a = jit_env(c)->fxarea;
    const X87 *f = &c->x87;

    st16_le(a, f->cw);
    st16_le(a + 2, (f->sw & ~(7 << 11)) | f->top << 11);
    a[4] = ~f->empty;
    a[5] = 0;
    st16_le(a + 6, f->fop);
    memset(a + 8, 0, 16);
    st32_le(a + 24, 0x1f80);
    for (unsigned n = 0; n < 8; n++) {
        const X86Fp80 *r = &f->r[(f->top + n) & 7];

        st64_le(a + 32 + 16 * n, r->mant);
        st16_le(a + 40 + 16 * n, r->se);
        memset(a + 42 + 16 * n, 0, 6);
    }
}
