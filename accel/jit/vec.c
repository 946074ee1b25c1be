/*
 * vec: x87 state between X86Cpu and the FXSAVE image generated code loads and stores.
 *
 * Image layout: Intel SDM volume 1, 10.5.1 (64-bit form). The host's instruction pointer names the
 * last instruction, whose guest address and opcode follow from the block's marks. The data pointer
 * is worked out from the operand of the last instruction in its block that has one, and the registers
 * as they are now.
 */
#include "accel/jit/jit_int.h"

#include <string.h>

/* C bodies keep the pointers themselves. */
static bool copied(const X86Insn *i) { return x86_row(i)->cls & CL_X87 && x86_row(i)->emit == EMIT_COPY; }

/* Does i set the data pointer? Moves of control words and whole states do not. */
static bool has_data(const X86Insn *i)
{
    return copied(i) && !i->is_reg && !((i->opcode == 0xd9 || i->opcode == 0xdd) && i->reg >= 4);
}

/* The x87 instruction executed last in generated code, if any since the state was loaded. */
static void pointers_out(X86Cpu *c)
{
    JitCpu *j = c->vcpu.engine;
    const JitEnv *e = jit_env(c);
    uint64_t pc = j->cache.rx + (uint32_t)(e->fpu_env[3] - (uint32_t)j->cache.rx);
    const JitBlock *b = e->fpu_env[3] && jit_in_cache(j, pc) ? jit_block_at_pc(j, pc) : NULL;
    X86Insn insn, *i = &insn;
    int k;

    if (!b)
        return;
    for (k = b->n - 1; k > 0 && b->code + b->marks[k].host > pc; k--)
        continue;
    insn = jit_block_insn(j, b, k);
    if (!copied(i))
        return;
    c->x87.fip = e->fpu_vbase + b->marks[k].off;
    if (!(b->mode & MODE_CS64))
        c->x87.fip = (uint32_t)c->x87.fip;
    c->x87.fop = (i->opcode & 7) << 8 | i->modrm;
    c->x87.fcs = c->seg[S_CS].sel;
    while (!has_data(i) && (copied(i) || !(x86_row(i)->cls & CL_X87)) && k > 0)
        insn = jit_block_insn(j, b, --k);
    if (has_data(i)) {
        uint64_t rip = c->rip;

        c->x87.fds = c->seg[i->seg].sel;
        c->rip = e->fpu_vbase + b->marks[k].off + i->len;
        c->x87.fdp = x86_ea_off(c, i);
        c->rip = rip;
    }
}

void jit_fpu_out(X86Cpu *c)
{
    const uint8_t *a = jit_env(c)->fxarea;
    X87 *f = &c->x87;
    uint16_t sw = ld16_le(a + 2);

    f->cw = ld16_le(a);
    f->top = sw >> 11 & 7;
    f->sw = sw & ~(7 << 11);
    f->empty = ~a[4];
    pointers_out(c);
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
