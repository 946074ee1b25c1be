/*
 * far: JMP, CALL and RET through segments, call and task gates; IRET.
 *
 * Intel SDM vol. 3 5.8, 6.12, 7.3; vol. 2 for the check order. Registers change only after the
 * last check and memory access, except where a task switch has made the new task current.
 */
#include "target/x86/operand.h"
#include "target/x86/prot_int.h"

static uint64_t cut(uint64_t v, unsigned size)
{
    return v & x86_mask(size);
}

/* ---- direct targets ---- */

/* Checks a code segment for JMP/CALL to it from the current level; error code sel. */
static void check_target(X86Cpu *c, uint16_t sel, const Desc *d)
{
    unsigned cpl = x86_cpl(c), rpl = sel & 3;

    if (d->hi & SEG_CONF ? desc_dpl(d) > cpl : rpl > cpl || desc_dpl(d) != cpl)
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (x86_long(c) && (d->hi & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
}

static void enter_code(X86Cpu *c, uint16_t sel, Desc *d, unsigned cpl, uint64_t rip)
{
    x86_desc_mark_accessed(c, d);
    x86_cs_set(c, sel, d, cpl);
    c->rip = rip;
    x86_update_mode(c);
}

static void push_return(X86Cpu *c, Stack *s, unsigned size)
{
    x86_stack_push(c, s, size, c->seg[S_CS].sel);
    x86_stack_push(c, s, size, c->rip);
}

static void far_real(X86Cpu *c, const X86Insn *i, uint16_t sel, uint64_t off, bool call)
{
    off = cut(off, i->opsize);
    if (off > ((c->mode & MODE_VM86) ? 0xffff : c->seg[S_CS].limit))
        x86_raise_err(c, EXC_GP, 0);
    if (call) {
        Stack s = x86_stack_current(c);

        push_return(c, &s, i->opsize);
        x86_stack_commit(c, &s);
    }
    x86_seg_set_real(c, S_CS, sel);
    c->rip = off;
    x86_update_mode(c);
}

static void far_code(X86Cpu *c, const X86Insn *i, uint16_t sel, Desc *d, uint64_t off, bool call)
{
    check_target(c, sel, d);
    off = cut(off, i->opsize);
    if (!x86_rip_ok(c, d, off))
        x86_raise_err(c, EXC_GP, 0);
    if (call) {
        Stack s = x86_stack_current(c);

        push_return(c, &s, i->opsize);
        x86_stack_commit(c, &s);
    }
    enter_code(c, sel, d, x86_cpl(c), off);
}

/* ---- call gates ---- */

typedef struct Gate {
    Desc cs;
    uint16_t sel;
    uint64_t off;
    unsigned size, params;
} Gate;

static void read_gate(X86Cpu *c, uint16_t sel, Desc *d, Gate *g)
{
    if (desc_dpl(d) < x86_cpl(c) || desc_dpl(d) < (sel & 3u))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    g->sel = gate_sel(d);
    g->size = x86_long(c) ? 8 : desc_type(d) == SYS_CALL32 ? 4 : 2;
    g->off = g->size == 2 ? d->lo & 0xffff : gate_offset(d);
    if (g->size == 8)
        g->off |= (uint64_t)d->base_hi << 32;
    g->params = g->size == 8 ? 0 : d->hi & 31;
    if (!(g->sel & ~3))
        x86_raise_err(c, EXC_GP, 0);
    if (!x86_desc_read(c, g->sel, &g->cs) || !desc_is_code(&g->cs) || desc_dpl(&g->cs) > x86_cpl(c))
        x86_raise_err(c, EXC_GP, g->sel & ~3u);
    if (x86_long(c) && (g->cs.hi & (SEG_L | SEG_DB)) != SEG_L)
        x86_raise_err(c, EXC_GP, g->sel & ~3u);
    if (!desc_present(&g->cs))
        x86_raise_err(c, EXC_NP, g->sel & ~3u);
    if (!x86_rip_ok(c, &g->cs, g->off))
        x86_raise_err(c, EXC_GP, 0);
}

static void call_inner(X86Cpu *c, Gate *g)
{
    unsigned dpl = desc_dpl(&g->cs);
    Stack old = x86_stack_current(c), s;
    uint64_t params[31];
    uint16_t ss = (uint16_t)dpl;

    if (x86_long(c)) {
        s = x86_stack_on(c, &c->seg[S_SS], x86_tss_rsp(c, dpl, 0, 0), dpl, true, 0);
    } else {
        uint32_t sp;
        X86Seg seg;

        x86_tss_stack(c, dpl, &ss, &sp, 0);
        seg = x86_seg_check_ss(c, ss, dpl, 0, EXC_TS);
        s = x86_stack_on(c, &seg, sp, dpl, false, ss & ~3u);
    }
    for (unsigned n = g->params; n-- > 0;)
        params[n] = x86_stack_pop(c, &old, g->size);
    x86_stack_push(c, &s, g->size, c->seg[S_SS].sel);
    x86_stack_push(c, &s, g->size, c->gpr[R_RSP]);
    for (unsigned n = 0; n < g->params; n++)
        x86_stack_push(c, &s, g->size, params[n]);
    push_return(c, &s, g->size);
    if (x86_long(c))
        x86_seg_set_null(c, S_SS, ss, dpl);
    else
        c->seg[S_SS] = s.ss;
    x86_stack_commit(c, &s);
    enter_code(c, g->sel, &g->cs, dpl, g->off);
}

static void far_gate(X86Cpu *c, uint16_t sel, Desc *d, bool call)
{
    unsigned cpl = x86_cpl(c);
    Gate g;

    read_gate(c, sel, d, &g);
    if (call && !(g.cs.hi & SEG_CONF) && desc_dpl(&g.cs) < cpl) {
        call_inner(c, &g);
        return;
    }
    if (!call && !(g.cs.hi & SEG_CONF) && desc_dpl(&g.cs) != cpl)
        x86_raise_err(c, EXC_GP, g.sel & ~3u);
    if (call) {
        Stack s = x86_stack_current(c);

        push_return(c, &s, g.size);
        x86_stack_commit(c, &s);
    }
    enter_code(c, g.sel, &g.cs, cpl, g.off);
}

static void far_task(X86Cpu *c, uint16_t sel, Desc *d, bool call)
{
    Desc tss = *d;

    if (desc_dpl(d) < x86_cpl(c) || desc_dpl(d) < (sel & 3u))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (desc_type(d) == SYS_TASK) {
        if (!desc_present(d))
            x86_raise_err(c, EXC_NP, sel & ~3u);
        sel = gate_sel(d);
        if ((sel & 4) || !x86_desc_read_sys(c, sel, &tss))
            x86_raise_err(c, EXC_GP, sel & ~3u);
    }
    x86_task_switch(c, sel, &tss, call ? TASK_CALL : TASK_JMP, false, 0, 0);
}

static void far_transfer(X86Cpu *c, const X86Insn *i, uint16_t sel, uint64_t off, bool call)
{
    Desc d;

    if (!x86_protected(c)) {
        far_real(c, i, sel, off, call);
        return;
    }
    if (!(sel & ~3))
        x86_raise_err(c, EXC_GP, 0);
    if (!x86_desc_read_sys(c, sel, &d))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (desc_is_code(&d)) {
        far_code(c, i, sel, &d, off, call);
        return;
    }
    if (!desc_s(&d)) {
        switch (desc_type(&d)) {
        case SYS_CALL16:
            if (x86_long(c))
                break;
            far_gate(c, sel, &d, call);
            return;
        case SYS_CALL32:
            far_gate(c, sel, &d, call);
            return;
        case SYS_TSS16: case SYS_TSS32: case SYS_TASK:
            if (x86_long(c))
                break;
            far_task(c, sel, &d, call);
            return;
        default: break;
        }
    }
    x86_raise_err(c, EXC_GP, sel & ~3u);
}

static void read_far_pointer(X86Cpu *c, const X86Insn *i, uint16_t *sel, uint64_t *off)
{
    uint64_t lin = x86_ea(c, i, i->opsize + 2u, false);

    *off = x86_ld(c, lin, i->opsize);
    *sel = x86_ld16(c, lin + i->opsize);
}

static void jmp_far(X86Cpu *c, const X86Insn *i) { far_transfer(c, i, (uint16_t)i->disp, i->imm, false); }
static void call_far(X86Cpu *c, const X86Insn *i) { far_transfer(c, i, (uint16_t)i->disp, i->imm, true); }
static void jmp_far_m(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel;
    uint64_t off;

    read_far_pointer(c, i, &sel, &off);
    far_transfer(c, i, sel, off, false);
}
static void call_far_m(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel;
    uint64_t off;

    read_far_pointer(c, i, &sel, &off);
    far_transfer(c, i, sel, off, true);
}
BODY1(jmp_far, jmp_far);
BODY1(call_far, call_far);
BODY1(jmp_far_m, jmp_far_m);
BODY1(call_far_m, call_far_m);

/* ---- returns ---- */

/* Checks the code segment of a far return or IRET. */
static void check_return(X86Cpu *c, uint16_t sel, Desc *d)
{
    unsigned rpl = sel & 3;

    if (!(sel & ~3))
        x86_raise_err(c, EXC_GP, 0);
    if (!x86_desc_read(c, sel, d) || !desc_is_code(d) || rpl < x86_cpl(c) ||
        (d->hi & SEG_CONF ? desc_dpl(d) > rpl : desc_dpl(d) != rpl))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (x86_long(c) && (d->hi & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
}

/* The stack segment a return loads. */
static X86Seg return_ss(X86Cpu *c, uint16_t sel, unsigned rpl, const Desc *cs)
{
    if (!(sel & ~3) && desc_code64(c, cs) && rpl != 3 && (sel & 3) == rpl)
        return (X86Seg) { .sel = sel, .attr = rpl << 13 | SEG_DB };
    return x86_seg_check_ss(c, sel, rpl, 0, EXC_GP);
}

/* Commits a return to another stack: rSP as the new mode and stack size have it. */
static void return_to(X86Cpu *c, uint16_t sel, Desc *cs, uint64_t rip, const X86Seg *ss, uint64_t sp)
{
    bool outer = (sel & 3u) > x86_cpl(c);

    x86_desc_mark_accessed(c, cs);
    x86_cs_set(c, sel, cs, sel & 3);
    c->seg[S_SS] = *ss;
    c->rip = rip;
    if (desc_code64(c, cs))
        c->gpr[R_RSP] = sp;
    else if (ss->attr & SEG_DB)
        c->gpr[R_RSP] = (uint32_t)sp;
    else
        c->gpr[R_RSP] = (c->gpr[R_RSP] & ~0xffffull) | (sp & 0xffff);
    x86_update_mode(c);
    if (outer)
        x86_seg_drop_outer(c);
}

static void retf_by(X86Cpu *c, const X86Insn *i, unsigned drop)
{
    Stack s = x86_stack_current(c);
    uint64_t rip = x86_stack_pop(c, &s, i->opsize);
    uint16_t sel = (uint16_t)x86_stack_pop(c, &s, i->opsize), ss_sel;
    X86Seg ss;
    uint64_t sp;
    Desc d;

    if (!x86_protected(c)) {
        if (rip > ((c->mode & MODE_VM86) ? 0xffff : c->seg[S_CS].limit))
            x86_raise_err(c, EXC_GP, 0);
        s.sp += drop;
        x86_stack_commit(c, &s);
        x86_seg_set_real(c, S_CS, sel);
        c->rip = rip;
        x86_update_mode(c);
        return;
    }
    check_return(c, sel, &d);
    if (!x86_rip_ok(c, &d, rip))
        x86_raise_err(c, EXC_GP, 0);
    if ((sel & 3u) == x86_cpl(c)) {
        s.sp += drop;
        x86_stack_commit(c, &s);
        enter_code(c, sel, &d, sel & 3, rip);
        return;
    }
    s.sp = ((s.sp + drop) & s.mask) | (s.sp & ~s.mask);
    sp = x86_stack_pop(c, &s, i->opsize);
    ss_sel = (uint16_t)x86_stack_pop(c, &s, i->opsize);
    ss = return_ss(c, ss_sel, sel & 3, &d);
    return_to(c, sel, &d, rip, &ss, sp + drop);
}
static void retf(X86Cpu *c, const X86Insn *i) { retf_by(c, i, 0); }
static void retf_i(X86Cpu *c, const X86Insn *i) { retf_by(c, i, (unsigned)i->imm & 0xffff); }
BODY1(retf, retf);
BODY1(retf_i, retf_i);

/* ---- IRET ---- */

static void iret_done(X86Cpu *c)
{
    c->nmi_masked = false;
    if (!(c->dr[7] & 0xff))
        c->eflags &= ~FL_RF;                    /* nothing looks at it */
    x86_attend(c);
}

static uint64_t iret_mask(const X86Cpu *c, unsigned size)
{
    uint64_t m = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID;
    unsigned cpl = x86_cpl(c);

    if (cpl == 0)
        m |= FL_IOPL | FL_VIF | FL_VIP;
    if (cpl <= (c->eflags >> 12 & 3))
        m |= FL_IF;
    return size == 2 ? m & 0xffff : m;
}

static void iret_real(X86Cpu *c, const X86Insn *i)
{
    Stack s = x86_stack_current(c);
    uint64_t ip = x86_stack_pop(c, &s, i->opsize);
    uint16_t cs = (uint16_t)x86_stack_pop(c, &s, i->opsize);
    uint64_t f = x86_stack_pop(c, &s, i->opsize), mask;
    bool v86 = c->mode & MODE_VM86;

    if (ip > (v86 ? 0xffff : c->seg[S_CS].limit))
        x86_raise_err(c, EXC_GP, 0);
    mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID | (v86 ? 0 : FL_IOPL);
    if (i->opsize == 2)
        mask &= 0xffff;
    x86_stack_commit(c, &s);
    x86_seg_set_real(c, S_CS, cs);
    c->rip = ip;
    x86_flags_load(c, f, mask);
}

/* v86 with IOPL < 3 under CR4.VME: VIF stands for IF (SDM vol. 3, 20.3.3.4). */
static void iret_vme(X86Cpu *c)
{
    Stack s = x86_stack_current(c);
    uint64_t ip = x86_stack_pop(c, &s, 2);
    uint16_t cs = (uint16_t)x86_stack_pop(c, &s, 2);
    uint64_t f = x86_stack_pop(c, &s, 2);

    if ((f & FL_TF) || ((f & FL_IF) && (c->eflags & FL_VIP)))
        x86_raise_err(c, EXC_GP, 0);
    x86_stack_commit(c, &s);
    x86_seg_set_real(c, S_CS, cs);
    c->rip = ip;
    x86_flags_load(c, (f & 0xffff) | (f & FL_IF ? FL_VIF : 0), FL_ARITH | FL_DF | FL_NT | FL_VIF);
}

static void iret_task(X86Cpu *c)
{
    uint16_t sel = (uint16_t)x86_ld_sys(c, c->seg[S_TR].base, 2);
    Desc d;

    if ((sel & 4) || !x86_desc_read_sys(c, sel, &d))
        x86_raise_err(c, EXC_TS, sel & ~3u);
    x86_task_switch(c, sel, &d, TASK_IRET, false, 0, 0);
}

static void iret_to_v86(X86Cpu *c, Stack *s, uint64_t ip, uint16_t cs, uint64_t f)
{
    static const uint8_t order[] = { S_ES, S_DS, S_FS, S_GS };
    uint32_t sp = (uint32_t)x86_stack_pop(c, s, 4);
    uint16_t ss = (uint16_t)x86_stack_pop(c, s, 4), seg[4];

    for (unsigned n = 0; n < 4; n++)
        seg[n] = (uint16_t)x86_stack_pop(c, s, 4);
    x86_set_rflags(c, f);
    x86_update_mode(c);
    x86_seg_set_real(c, S_CS, cs);
    x86_seg_set_real(c, S_SS, ss);
    for (unsigned n = 0; n < 4; n++)
        x86_seg_set_real(c, order[n], seg[n]);
    c->gpr[R_RSP] = sp;
    c->rip = ip & 0xffff;
    x86_update_mode(c);
}

/* IRETQ with its frame in one readable page; false: the slow way, which also faults. */
static bool iret_fast(X86Cpu *c)
{
    uint64_t lin = c->gpr[R_RSP];
    const TlbEntry *e = &c->tlb[c->data_bank][tlb_index(lin)];
    uint64_t off = lin ^ e->tag_r;
    const uint8_t *p = (const uint8_t *)(uintptr_t)(e->host_page + off);
    uint64_t rip, sp, f, mask = iret_mask(c, 8);
    uint16_t sel;
    X86Seg ss;
    Desc d;

    if (off > TLB_PAGE - 40)
        return false;
    rip = ld64_le(p);
    sel = (uint16_t)ld64_le(p + 8);
    f = ld64_le(p + 16);
    sp = ld64_le(p + 24);
    check_return(c, sel, &d);
    ss = return_ss(c, (uint16_t)ld64_le(p + 32), sel & 3, &d);
    if (!x86_rip_ok(c, &d, rip))
        x86_raise_err(c, EXC_GP, 0);
    return_to(c, sel, &d, rip, &ss, sp);
    x86_flags_load(c, f, mask);
    return true;
}

static void iret_slow(X86Cpu *c, const X86Insn *i)
{
    Stack s = x86_stack_current(c);
    uint64_t rip = x86_stack_pop(c, &s, i->opsize), sp = 0, mask = iret_mask(c, i->opsize);
    uint16_t sel = (uint16_t)x86_stack_pop(c, &s, i->opsize);
    uint64_t f = x86_stack_pop(c, &s, i->opsize);
    bool far = (c->mode & MODE_CS64) || (sel & 3u) > x86_cpl(c);
    X86Seg ss = c->seg[S_SS];
    Desc d;

    if ((f & FL_VM) && x86_cpl(c) == 0 && i->opsize == 4 && !x86_long(c)) {
        iret_to_v86(c, &s, rip, sel, f);
        return;
    }
    if (far) {
        uint16_t ss_sel;

        sp = x86_stack_pop(c, &s, i->opsize);
        ss_sel = (uint16_t)x86_stack_pop(c, &s, i->opsize);
        check_return(c, sel, &d);
        ss = return_ss(c, ss_sel, sel & 3, &d);
    } else {
        check_return(c, sel, &d);
    }
    if (!x86_rip_ok(c, &d, rip))
        x86_raise_err(c, EXC_GP, 0);
    if (far) {
        return_to(c, sel, &d, rip, &ss, sp);
    } else {
        x86_stack_commit(c, &s);
        enter_code(c, sel, &d, sel & 3, rip);
    }
    x86_flags_load(c, f, mask);
}

static void iret_protected(X86Cpu *c, const X86Insn *i)
{
    if ((c->mode & MODE_CS64) && i->opsize == 8 && iret_fast(c))
        return;
    iret_slow(c, i);
}
static void iret(X86Cpu *c, const X86Insn *i)
{
    if (c->mode & MODE_VM86) {
        if ((c->eflags & FL_IOPL) == FL_IOPL) {
            iret_real(c, i);
        } else {
            if (!(c->cr4 & CR4_VME) || i->opsize != 2)
                x86_raise_err(c, EXC_GP, 0);
            iret_vme(c);
        }
    } else if (!(c->mode & MODE_PE)) {
        iret_real(c, i);
    } else if (c->eflags & FL_NT) {
        if (x86_long(c))
            x86_raise_err(c, EXC_GP, 0);
        iret_task(c);
    } else {
        iret_protected(c, i);
    }
    iret_done(c);
}
BODY1(iret, iret);
