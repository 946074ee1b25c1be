/*
 * sys_seg: instructions on segment registers, descriptor tables and selectors; fast system calls.
 */
#include "target/x86/operand.h"
#include "target/x86/prot_int.h"

static void need_cpl0(X86Cpu *c)
{
    if (x86_cpl(c))
        x86_raise_err(c, EXC_GP, 0);
}
static void umip(X86Cpu *c)
{
    if (c->mode & MODE_UMIP)
        x86_raise_err(c, EXC_GP, 0);
}

/* A register of the operand size, or 16 bits of memory. */
static void write_rvmw(X86Cpu *c, const X86Insn *i, uint64_t v)
{
    if (i->is_reg)
        x86_gpr_wr(c, i, i->rm, i->opsize, v);
    else
        x86_st16(c, x86_ea(c, i, 2, true), (uint16_t)v);
}
static uint16_t read_ew(X86Cpu *c, const X86Insn *i)
{
    return i->is_reg ? (uint16_t)c->gpr[i->rm] : x86_ld16(c, x86_ea(c, i, 2, false));
}

/* ---- moves ---- */

static void mov_es(X86Cpu *c, const X86Insn *i)
{
    if (i->reg > S_GS)
        x86_raise(c, EXC_UD);
    write_rvmw(c, i, c->seg[i->reg].sel);
}
static void mov_se(X86Cpu *c, const X86Insn *i)
{
    if (i->reg > S_GS || i->reg == S_CS)
        x86_raise(c, EXC_UD);
    x86_seg_load(c, i->reg, read_ew(c, i));
    if (i->reg == S_SS)
        c->mode |= MODE_SHADOW;
}
BODY1(mov_es, mov_es);
BODY1(mov_se, mov_se);

/* Which segment register a one-byte push or pop, or 0F A0-A9, names. */
static unsigned named_seg(const X86Insn *i)
{
    return i->map == MAP_1 ? i->opcode >> 3 & 3 : i->opcode & 8 ? S_GS : S_FS;
}
static void push_seg(X86Cpu *c, const X86Insn *i)
{
    x86_push(c, i->opsize, c->seg[named_seg(i)].sel);
}
static void pop_seg(X86Cpu *c, const X86Insn *i)
{
    Stack s = x86_stack_current(c);
    unsigned n = named_seg(i);
    uint16_t sel = (uint16_t)x86_stack_pop(c, &s, i->opsize);

    x86_seg_load(c, n, sel);
    if (n == S_SS)
        c->mode |= MODE_SHADOW;
    x86_stack_commit(c, &s);
}
BODY1(push_seg, push_seg);
BODY1(pop_seg, pop_seg);

static void load_far(X86Cpu *c, const X86Insn *i, unsigned s)
{
    uint64_t lin = x86_ea(c, i, i->opsize + 2u, false);
    uint64_t off = x86_ld(c, lin, i->opsize);
    uint16_t sel = x86_ld16(c, lin + i->opsize);

    x86_seg_load(c, s, sel);
    x86_gpr_wr(c, i, i->reg, i->opsize, off);
}
static void les(X86Cpu *c, const X86Insn *i) { load_far(c, i, S_ES); }
static void lds(X86Cpu *c, const X86Insn *i) { load_far(c, i, S_DS); }
static void lss(X86Cpu *c, const X86Insn *i) { load_far(c, i, S_SS); }
static void lfs(X86Cpu *c, const X86Insn *i) { load_far(c, i, S_FS); }
static void lgs(X86Cpu *c, const X86Insn *i) { load_far(c, i, S_GS); }
BODY1(les, les);
BODY1(lds, lds);
BODY1(lss, lss);
BODY1(lfs, lfs);
BODY1(lgs, lgs);

/* ---- tables ---- */

static void store_table(X86Cpu *c, const X86Insn *i, const X86Table *t)
{
    uint8_t b[10];
    unsigned n = i->opsize == 8 ? 10 : 6;

    umip(c);
    st16_le(b, t->limit);
    st64_le(b + 2, t->base);
    x86_st_bytes(c, x86_ea(c, i, n, true), b, n, c->data_bank);
}
static void load_table(X86Cpu *c, const X86Insn *i, X86Table *t)
{
    uint8_t b[10] = { 0 };
    unsigned n = i->opsize == 8 ? 10 : 6;
    uint64_t base;

    need_cpl0(c);
    x86_ld_bytes(c, x86_ea(c, i, n, false), b, n, c->data_bank);
    base = ld64_le(b + 2);
    if (i->opsize == 8 && !x86_canonical(base))
        x86_raise_err(c, EXC_GP, 0);
    if (i->opsize == 2)
        base &= 0xffffff;
    *t = (X86Table) { .base = base, .limit = ld16_le(b) };
}
static void sgdt(X86Cpu *c, const X86Insn *i) { store_table(c, i, &c->gdtr); }
static void sidt(X86Cpu *c, const X86Insn *i) { store_table(c, i, &c->idtr); }
static void lgdt(X86Cpu *c, const X86Insn *i) { load_table(c, i, &c->gdtr); }
static void lidt(X86Cpu *c, const X86Insn *i) { load_table(c, i, &c->idtr); }
BODY1(sgdt, sgdt);
BODY1(sidt, sidt);
BODY1(lgdt, lgdt);
BODY1(lidt, lidt);

static void sldt(X86Cpu *c, const X86Insn *i)
{
    umip(c);
    write_rvmw(c, i, c->seg[S_LDTR].sel);
}
static void str(X86Cpu *c, const X86Insn *i)
{
    umip(c);
    write_rvmw(c, i, c->seg[S_TR].sel);
}
static void smsw(X86Cpu *c, const X86Insn *i)
{
    umip(c);
    write_rvmw(c, i, c->cr0);
}
static void lldt(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel;
    Desc d;

    need_cpl0(c);
    sel = read_ew(c, i);
    if (!(sel & ~3)) {
        c->seg[S_LDTR] = (X86Seg) { .sel = sel };
        return;
    }
    if ((sel & 4) || !x86_desc_read_sys(c, sel, &d) || desc_s(&d) || desc_type(&d) != SYS_LDT)
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    c->seg[S_LDTR] = x86_desc_seg(sel, &d);
}
static void ltr(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel;
    Desc d;

    need_cpl0(c);
    sel = read_ew(c, i);
    if (!(sel & ~3))
        x86_raise_err(c, EXC_GP, 0);
    if ((sel & 4) || !x86_desc_read_sys(c, sel, &d) || desc_s(&d) ||
        (desc_type(&d) != SYS_TSS32 && (desc_type(&d) != SYS_TSS16 || x86_long(c))))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    d.hi |= 0x200;                              /* busy */
    x86_st_sys(c, d.lin + 4, d.hi, 4);
    c->seg[S_TR] = x86_desc_seg(sel, &d);
}
BODY1(sldt, sldt);
BODY1(str, str);
BODY1(smsw, smsw);
BODY1(lldt, lldt);
BODY1(ltr, ltr);

/* ---- questions about selectors ---- */

/* May the current level see the descriptor of sel? (data and code by DPL, RPL and CPL) */
static bool visible(X86Cpu *c, uint16_t sel, const Desc *d)
{
    if ((d->hi & (SEG_S | SEG_CODE | SEG_CONF)) == (SEG_S | SEG_CODE | SEG_CONF))
        return true;
    return desc_dpl(d) >= x86_cpl(c) && desc_dpl(d) >= (sel & 3u);
}

static bool lar_type(X86Cpu *c, const Desc *d, bool limit)
{
    switch (desc_type(d)) {
    case SYS_TSS16: case SYS_TSS16_BUSY: return !x86_long(c);
    case SYS_LDT: case SYS_TSS32: case SYS_TSS32_BUSY: return true;
    case SYS_CALL16: case SYS_TASK: return !limit && !x86_long(c);
    case SYS_CALL32: return !limit;
    default: return false;
    }
}

static bool look(X86Cpu *c, uint16_t sel, Desc *d, bool limit)
{
    return x86_desc_read_sys(c, sel, d) && (desc_s(d) || lar_type(c, d, limit)) && visible(c, sel, d);
}

static void lar(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = read_ew(c, i);
    Desc d;
    bool ok = look(c, sel, &d, false);

    if (ok)
        x86_gpr_wr(c, i, i->reg, i->opsize, i->opsize == 2 ? d.hi & 0xff00 : d.hi & 0x00ffff00u);
    x86_flags_change(c, FL_ZF, ok ? FL_ZF : 0);
}
static void lsl(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = read_ew(c, i);
    Desc d;
    bool ok = look(c, sel, &d, true);

    if (ok)
        x86_gpr_wr(c, i, i->reg, i->opsize, desc_limit(&d));
    x86_flags_change(c, FL_ZF, ok ? FL_ZF : 0);
}
static void verr(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = read_ew(c, i);
    Desc d;
    bool ok = x86_desc_read(c, sel, &d) && desc_s(&d) && visible(c, sel, &d) &&
              (d.hi & (SEG_CODE | SEG_WR)) != SEG_CODE;

    x86_flags_change(c, FL_ZF, ok ? FL_ZF : 0);
}
static void verw(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = read_ew(c, i);
    Desc d;
    bool ok = x86_desc_read(c, sel, &d) && desc_s(&d) && visible(c, sel, &d) &&
              (d.hi & (SEG_CODE | SEG_WR)) == SEG_WR;

    x86_flags_change(c, FL_ZF, ok ? FL_ZF : 0);
}
static void arpl(X86Cpu *c, const X86Insn *i)
{
    uint16_t rpl = c->gpr[i->reg] & 3, v = read_ew(c, i);
    bool raise = (v & 3) < rpl;

    if (raise) {
        v = (uint16_t)((v & ~3u) | rpl);
        if (i->is_reg)
            x86_gpr_wr16(c, i->rm, v);
        else
            x86_st16(c, x86_ea(c, i, 2, true), v);
    }
    x86_flags_change(c, FL_ZF, raise ? FL_ZF : 0);
}
BODY1(lar, lar);
BODY1(lsl, lsl);
BODY1(verr, verr);
BODY1(verw, verw);
BODY1(arpl, arpl);

/* ---- bases ---- */

static void swapgs(X86Cpu *c, const X86Insn *i)
{
    uint64_t t = c->seg[S_GS].base;

    need_cpl0(c);
    c->seg[S_GS].base = c->msr.kernel_gs_base;
    c->msr.kernel_gs_base = t;
}
static void base_on(X86Cpu *c)
{
    if (!(c->cr4 & CR4_FSGSBASE))
        x86_raise(c, EXC_UD);
}
static void rdbase(X86Cpu *c, const X86Insn *i)
{
    base_on(c);
    x86_gpr_wr(c, i, i->rm, i->opsize, c->seg[i->reg & 1 ? S_GS : S_FS].base);
}
static void wrbase(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = x86_gpr_rd(c, i, i->rm, i->opsize);

    base_on(c);
    if (!x86_canonical(v))
        x86_raise_err(c, EXC_GP, 0);
    c->seg[i->reg & 1 ? S_GS : S_FS].base = v;
}
BODY1(swapgs, swapgs);
BODY1(rdbase, rdbase);
BODY1(wrbase, wrbase);

/* ---- fast system calls ---- */

enum { CS64_0 = 0x00af9b00, CS32_0 = 0x00cf9b00, SS_0 = 0x00cf9300, DPL3 = 3 << 13 };

static void set_cs_ss(X86Cpu *c, uint16_t cs, uint32_t cs_attr, uint16_t ss, uint32_t ss_attr)
{
    x86_seg_set_flat(c, S_CS, cs, cs_attr);
    x86_seg_set_flat(c, S_SS, ss, ss_attr);
}

/* Entering clears TF by mask: then no single-step trap follows this instruction. */
static void entered(X86Cpu *c, uint32_t before)
{
    c->no_step = (before & FL_TF) && !(c->eflags & FL_TF);
    x86_update_mode(c);
}

static void op_syscall(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = (uint16_t)(c->msr.star >> 32) & ~3u;
    uint32_t f = c->eflags;

    if (!(c->efer & EFER_SCE) || !x86_protected(c))
        x86_raise(c, EXC_UD);
    if (x86_long(c)) {
        uint64_t fl = x86_get_rflags(c) & ~(uint64_t)FL_RF;

        c->gpr[R_RCX] = c->rip;
        c->gpr[R_R11] = fl;
        c->rip = c->mode & MODE_CS64 ? c->msr.lstar : c->msr.cstar;
        x86_set_rflags(c, fl & ~c->msr.fmask);
        set_cs_ss(c, sel, CS64_0, sel + 8, SS_0);
    } else {
        c->gpr[R_RCX] = (uint32_t)c->rip;
        c->rip = (uint32_t)c->msr.star;
        c->eflags &= ~(FL_IF | FL_VM | FL_RF);
        set_cs_ss(c, sel, CS32_0, sel + 8, SS_0);
    }
    entered(c, f);
}

static void sysret(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = (uint16_t)(c->msr.star >> 48) | 3;

    if (!(c->efer & EFER_SCE))
        x86_raise(c, EXC_UD);
    if (!x86_protected(c) || x86_cpl(c))
        x86_raise_err(c, EXC_GP, 0);
    if (i->opsize == 8) {
        if (!x86_canonical(c->gpr[R_RCX]))
            x86_raise_err(c, EXC_GP, 0);
        c->rip = c->gpr[R_RCX];
        set_cs_ss(c, (uint16_t)(sel + 16) | 3, CS64_0 | DPL3, (uint16_t)(sel + 8) | 3, SS_0 | DPL3);
    } else {
        c->rip = (uint32_t)c->gpr[R_RCX];
        set_cs_ss(c, sel, CS32_0 | DPL3, (uint16_t)(sel + 8) | 3, SS_0 | DPL3);
    }
    if (x86_long(c))
        x86_set_rflags(c, c->gpr[R_R11] & ~(uint64_t)(FL_RF | FL_VM));
    else
        c->eflags |= FL_IF;
    x86_update_mode(c);
    x86_attend(c);
}

static void sysenter(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = (uint16_t)c->msr.sysenter_cs & ~3u;
    uint32_t f = c->eflags;

    if (!(c->mode & MODE_PE) || !sel)
        x86_raise_err(c, EXC_GP, 0);
    c->eflags &= ~(FL_VM | FL_IF | FL_RF);
    set_cs_ss(c, sel, x86_long(c) ? CS64_0 : CS32_0, sel + 8, SS_0);
    c->gpr[R_RSP] = x86_long(c) ? c->msr.sysenter_esp : (uint32_t)c->msr.sysenter_esp;
    c->rip = x86_long(c) ? c->msr.sysenter_eip : (uint32_t)c->msr.sysenter_eip;
    entered(c, f);
}

static void sysexit(X86Cpu *c, const X86Insn *i)
{
    uint16_t sel = (uint16_t)c->msr.sysenter_cs & ~3u;

    if (!x86_protected(c) || x86_cpl(c) || !sel)
        x86_raise_err(c, EXC_GP, 0);
    if (i->opsize == 8) {
        if (!x86_canonical(c->gpr[R_RCX]) || !x86_canonical(c->gpr[R_RDX]))
            x86_raise_err(c, EXC_GP, 0);
        set_cs_ss(c, (uint16_t)(sel + 32) | 3, CS64_0 | DPL3, (uint16_t)(sel + 40) | 3, SS_0 | DPL3);
        c->gpr[R_RSP] = c->gpr[R_RCX];
        c->rip = c->gpr[R_RDX];
    } else {
        set_cs_ss(c, (uint16_t)(sel + 16) | 3, CS32_0 | DPL3, (uint16_t)(sel + 24) | 3, SS_0 | DPL3);
        c->gpr[R_RSP] = (uint32_t)c->gpr[R_RCX];
        c->rip = (uint32_t)c->gpr[R_RDX];
    }
    x86_update_mode(c);
}
BODY1(syscall, op_syscall);
BODY1(sysret, sysret);
BODY1(sysenter, sysenter);
BODY1(sysexit, sysexit);
