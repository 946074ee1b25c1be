/*
 * int_stack: PUSH and POP families, ENTER, LEAVE, PUSHF and POPF.
 */
#include "target/x86/int_int.h"

void x86_push(X86Cpu *c, unsigned size, uint64_t v)
{
    uint64_t sp = (c->gpr[R_RSP] - size) & x86_sp_mask(c);

    x86_st(c, x86_lin(c, S_SS, sp, size, true), size, v);
    x86_set_sp(c, sp);
}

uint64_t x86_pop(X86Cpu *c, unsigned size)
{
    uint64_t sp = c->gpr[R_RSP] & x86_sp_mask(c);
    uint64_t v = x86_ld(c, x86_lin(c, S_SS, sp, size, false), size);

    x86_set_sp(c, sp + size);
    return v;
}

static void push_e(X86Cpu *c, const X86Insn *i) { x86_push(c, i->opsize, x86_rd_e(c, i)); }
static void push_i(X86Cpu *c, const X86Insn *i) { x86_push(c, i->opsize, i->imm); }

static void pop_r(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = x86_pop(c, i->opsize);

    x86_gpr_wr(c, i, i->rm, i->opsize, v);
}
/* The address is computed with rSP already incremented; rSP is committed after the store. */
static void pop_m(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t old = c->gpr[R_RSP], sp = old & x86_sp_mask(c), off;
    uint64_t v = x86_ld(c, x86_lin(c, S_SS, sp, size, false), size);

    x86_set_sp(c, sp + size);
    off = x86_ea_off(c, i);
    c->gpr[R_RSP] = old;
    x86_st(c, x86_lin(c, i->seg, off, size, true), size, v);
    x86_set_sp(c, sp + size);
}
BODY1(push_e, push_e);
BODY1(push_i, push_i);
BODY_MR(pop_e, pop_m, pop_r);

static void pusha(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t mask = x86_sp_mask(c), sp = c->gpr[R_RSP];

    for (int n = 0; n < 8; n++)
        x86_st(c, x86_lin(c, S_SS, (sp - (n + 1) * size) & mask, size, true), size, c->gpr[n]);
    x86_set_sp(c, sp - 8 * size);
}
/* Registers above the slot that faults are written already, as processors do. */
static void popa(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t mask = x86_sp_mask(c), sp = c->gpr[R_RSP];

    for (int n = 0; n < 8; n++) {
        uint64_t v = x86_ld(c, x86_lin(c, S_SS, (sp + n * size) & mask, size, false), size);

        if (7 - n != R_RSP)
            x86_gpr_wr(c, i, 7 - n, size, v);
    }
    x86_set_sp(c, sp + 8 * size);
}
BODY1(pusha, pusha);
BODY1(popa, popa);

static void enter(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize, level = i->imm2 & 31;
    uint64_t mask = x86_sp_mask(c), sp = (c->gpr[R_RSP] - size) & mask, bp = c->gpr[R_RBP], frame = sp;

    x86_st(c, x86_lin(c, S_SS, sp, size, true), size, bp);
    for (unsigned n = 1; n < level; n++) {
        bp -= size;
        sp = (sp - size) & mask;
        x86_st(c, x86_lin(c, S_SS, sp, size, true), size, x86_ld(c, x86_lin(c, S_SS, bp & mask, size, false), size));
    }
    if (level) {
        sp = (sp - size) & mask;
        x86_st(c, x86_lin(c, S_SS, sp, size, true), size, frame);
    }
    sp = (sp - i->imm) & mask;
    x86_probe_w(c, x86_lin(c, S_SS, sp, size, true), size, c->data_bank);  /* the new top must be writable */
    x86_gpr_wr(c, i, R_RBP, size, size == 2 ? frame : mask == 0xffff ? (c->gpr[R_RBP] & ~mask) | frame : frame);
    x86_set_sp(c, sp);
}
static void leave(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t bp = c->gpr[R_RBP] & x86_sp_mask(c), v;

    if (c->mode & MODE_CS64 && (uint64_t)((int64_t)(bp << 16) >> 16) != bp)
        x86_raise_err(c, EXC_SS, 0);
    v = x86_ld(c, x86_lin(c, S_SS, bp, size, false), size);
    x86_set_sp(c, bp + size);
    x86_gpr_wr(c, i, R_RBP, size, v);
}
BODY1(enter, enter);
BODY1(leave, leave);

/* ---- flags ---- */

static bool v86_below_iopl(const X86Cpu *c)
{
    return c->mode & MODE_VM86 && (c->eflags & FL_IOPL) != FL_IOPL;
}

/* Virtual-8086 mode below IOPL 3: #GP, unless VME gives 16-bit forms a virtual IF. */
static void pushf(X86Cpu *c, const X86Insn *i)
{
    uint64_t f = x86_get_rflags(c) & ~(uint64_t)(FL_VM | FL_RF);

    if (v86_below_iopl(c)) {
        if (!(c->cr4 & CR4_VME) || i->opsize != 2)
            x86_raise_err(c, EXC_GP, 0);
        f = (f & ~(uint64_t)FL_IF) | FL_IOPL | (f & FL_VIF ? FL_IF : 0);
    }
    x86_push(c, i->opsize, f);
}

static void popf_vme(X86Cpu *c, const X86Insn *i)
{
    uint32_t keep = FL_IOPL | FL_IF | ~0xffffu;
    uint64_t old = x86_get_rflags(c), f, sp = c->gpr[R_RSP];

    f = x86_pop(c, 2);
    if ((f & FL_IF && old & FL_VIP) || f & FL_TF) {
        c->gpr[R_RSP] = sp;
        x86_raise_err(c, EXC_GP, 0);
    }
    f = (f & ~(uint64_t)keep) | (old & keep & ~(uint64_t)FL_VIF) | (f & FL_IF ? FL_VIF : 0);
    x86_set_rflags(c, f);
    x86_update_mode(c);
}

static void popf(X86Cpu *c, const X86Insn *i)
{
    uint32_t change = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID | FL_RF;
    uint64_t old = x86_get_rflags(c), f;
    unsigned cpl = x86_cpl(c);

    if (v86_below_iopl(c)) {
        if (!(c->cr4 & CR4_VME) || i->opsize != 2)
            x86_raise_err(c, EXC_GP, 0);
        popf_vme(c, i);
        return;
    }
    if (!(c->mode & MODE_VM86) && cpl == 0)
        change |= FL_IOPL;
    if (cpl <= (old >> 12 & 3))
        change |= FL_IF;
    if (i->opsize == 2)
        change &= 0xffff;
    f = x86_pop(c, i->opsize) & ~(uint64_t)FL_RF;
    x86_set_rflags(c, (old & ~(uint64_t)change) | (f & change));
    if ((old ^ f) & change & (FL_TF | FL_AC | FL_IOPL))
        x86_update_mode(c);
    if (f & change & ~old & FL_IF)
        atomic_fetch_or_explicit(&c->vcpu.attention, 1, memory_order_relaxed);   /* look at what waited */
}
BODY1(pushf, pushf);
BODY1(popf, popf);
