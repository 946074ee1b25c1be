/*
 * task: hardware task switch.
 *
 * Intel SDM vol. 3 ch. 7. Everything that can fault in the old task is checked and read first;
 * from the commit on, faults belong to the new task.
 */
#include "target/x86/debug_int.h"
#include "target/x86/prot_int.h"

typedef struct TaskImage {      /* what a TSS holds, both widths */
    uint32_t cr3, eip, eflags, gpr[8], seg[6];
    uint32_t ldt, trap;
} TaskImage;

static const uint8_t task_seg[6] = { S_ES, S_CS, S_SS, S_DS, S_FS, S_GS };

static bool wide(const Desc *d) { return desc_type(d) & 8; }
static uint32_t rd(X86Cpu *c, uint64_t lin, unsigned size) { return (uint32_t)x86_ld_sys(c, (uint32_t)lin, size); }
static void wr(X86Cpu *c, uint64_t lin, uint32_t v, unsigned size) { x86_st_sys(c, (uint32_t)lin, v, size); }

static void read_image(X86Cpu *c, const Desc *d, TaskImage *t)
{
    uint64_t b = desc_base(d);

    if (wide(d)) {
        t->cr3 = rd(c, b + 0x1c, 4);
        t->eip = rd(c, b + 0x20, 4);
        t->eflags = rd(c, b + 0x24, 4);
        for (unsigned i = 0; i < 8; i++)
            t->gpr[i] = rd(c, b + 0x28 + 4 * i, 4);
        for (unsigned i = 0; i < 6; i++)
            t->seg[i] = rd(c, b + 0x48 + 4 * i, 2);
        t->ldt = rd(c, b + 0x60, 2);
        t->trap = rd(c, b + 0x64, 1) & 1;
        return;
    }
    *t = (TaskImage) { .eip = rd(c, b + 0x0e, 2), .eflags = rd(c, b + 0x10, 2), .ldt = rd(c, b + 0x2a, 2) };
    for (unsigned i = 0; i < 8; i++)
        t->gpr[i] = rd(c, b + 0x12 + 2 * i, 2) | 0xffff0000u;
    for (unsigned i = 0; i < 4; i++)
        t->seg[i] = rd(c, b + 0x22 + 2 * i, 2);
}

/* Saves the running task into the TSS of TR. */
static void save_old(X86Cpu *c, uint32_t eflags)
{
    const X86Seg *tr = &c->seg[S_TR];
    uint64_t b = tr->base;

    if (SEG_TYPE(tr->attr) & 8) {
        wr(c, b + 0x20, (uint32_t)c->rip, 4);
        wr(c, b + 0x24, eflags, 4);
        for (unsigned i = 0; i < 8; i++)
            wr(c, b + 0x28 + 4 * i, (uint32_t)c->gpr[i], 4);
        for (unsigned i = 0; i < 6; i++)
            wr(c, b + 0x48 + 4 * i, c->seg[task_seg[i]].sel, 2);
        return;
    }
    wr(c, b + 0x0e, (uint32_t)c->rip, 2);
    wr(c, b + 0x10, eflags, 2);
    for (unsigned i = 0; i < 8; i++)
        wr(c, b + 0x12 + 2 * i, (uint32_t)c->gpr[i], 2);
    for (unsigned i = 0; i < 4; i++)
        wr(c, b + 0x22 + 2 * i, c->seg[task_seg[i]].sel, 2);
}

static void set_busy(X86Cpu *c, uint64_t desc_lin, bool busy)
{
    uint32_t hi = (uint32_t)x86_ld_sys(c, desc_lin + 4, 4);

    x86_st_sys(c, desc_lin + 4, busy ? hi | 0x200 : hi & ~0x200u, 4);
}

static void check_new(X86Cpu *c, uint16_t sel, const Desc *d, TaskHow how, unsigned ext)
{
    unsigned type = desc_type(d), want = how == TASK_IRET ? 2 : 0;
    int bad = how == TASK_IRET ? EXC_TS : EXC_GP;

    if (desc_s(d) || (type & 5) != 1 || (type & 2) != want)
        x86_raise_err(c, bad, (sel & ~3u) | ext);
    if (!desc_present(d))
        x86_raise_err(c, EXC_NP, (sel & ~3u) | ext);
    if (desc_limit(d) < (wide(d) ? 0x67u : 0x2bu))
        x86_raise_err(c, EXC_TS, (sel & ~3u) | ext);
}

/* The new task's LDT; faults are #TS in the new task. */
static void load_ldt(X86Cpu *c, uint16_t sel)
{
    Desc d;

    c->seg[S_LDTR] = (X86Seg) { .sel = sel };
    if (!(sel & ~3))
        return;
    if ((sel & 4) || !x86_desc_read(c, sel, &d) || desc_s(&d) || desc_type(&d) != SYS_LDT || !desc_present(&d))
        x86_raise_err(c, EXC_TS, sel & ~3u);
    c->seg[S_LDTR] = x86_desc_seg(sel, &d);
}

static void load_cs(X86Cpu *c, uint16_t sel)
{
    unsigned rpl = sel & 3;
    Desc d;
    bool conf;

    if (!(sel & ~3) || !x86_desc_read(c, sel, &d) || !desc_is_code(&d))
        x86_raise_err(c, EXC_TS, sel & ~3u);
    conf = d.hi & SEG_CONF;
    if (conf ? desc_dpl(&d) > rpl : desc_dpl(&d) != rpl)
        x86_raise_err(c, EXC_TS, sel & ~3u);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    x86_desc_mark_accessed(c, &d);
    c->seg[S_CS] = x86_desc_seg(sel, &d);
}

static void load_data(X86Cpu *c, unsigned s, uint16_t sel)
{
    unsigned cpl = x86_cpl(c);
    Desc d;

    if (!(sel & ~3)) {
        x86_seg_set_null(c, s, sel, 0);
        return;
    }
    if (!x86_desc_read(c, sel, &d) || !desc_s(&d) || (d.hi & (SEG_CODE | SEG_WR)) == SEG_CODE)
        x86_raise_err(c, EXC_TS, sel & ~3u);
    if ((d.hi & (SEG_CODE | SEG_CONF)) != (SEG_CODE | SEG_CONF) && (desc_dpl(&d) < cpl || desc_dpl(&d) < (sel & 3u)))
        x86_raise_err(c, EXC_TS, sel & ~3u);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    x86_desc_mark_accessed(c, &d);
    c->seg[s] = x86_desc_seg(sel, &d);
}

static void load_segments(X86Cpu *c, const TaskImage *t)
{
    static const uint8_t rest[] = { 0, 3, 4, 5 };

    if (t->eflags & FL_VM) {
        x86_update_mode(c);
        for (unsigned i = 0; i < 6; i++)
            x86_seg_set_real(c, task_seg[i], (uint16_t)t->seg[i]);
        load_ldt(c, (uint16_t)t->ldt);
        x86_update_mode(c);
        return;
    }
    for (unsigned i = 0; i < 6; i++)
        x86_seg_set_null(c, task_seg[i], (uint16_t)t->seg[i], t->seg[1] & 3);
    x86_update_mode(c);
    load_ldt(c, (uint16_t)t->ldt);
    load_cs(c, (uint16_t)t->seg[1]);
    c->seg[S_SS] = x86_seg_check_ss(c, (uint16_t)t->seg[2], t->seg[1] & 3, 0, EXC_TS);
    x86_update_mode(c);
    for (unsigned i = 0; i < 4; i++)
        load_data(c, task_seg[rest[i]], (uint16_t)t->seg[rest[i]]);
    x86_update_mode(c);
}

static void new_cr3(X86Cpu *c, uint32_t cr3)
{
    if (!(c->cr0 & CR0_PG) || c->cr3 == cr3)
        return;
    if ((c->cr4 & CR4_PAE) && !x86_load_pdptes(c, cr3))
        x86_raise_err(c, EXC_GP, 0);
    c->cr3 = cr3;
    x86_tlb_flush_nonglobal(c);
}

void x86_task_switch(X86Cpu *c, uint16_t sel, Desc *d, TaskHow how, bool has_error, uint32_t error, unsigned ext)
{
    X86Seg old = c->seg[S_TR];
    uint32_t eflags = (uint32_t)x86_get_rflags(c);
    uint64_t old_desc = c->gdtr.base + (old.sel & ~7u);
    TaskImage t;

    check_new(c, sel, d, how, ext);
    read_image(c, d, &t);
    x86_probe_w(c, (uint32_t)old.base, (SEG_TYPE(old.attr) & 8 ? 0x5f : 0x2b) + 1, TLB_K);
    if (how == TASK_IRET)
        eflags &= ~(uint32_t)FL_NT;
    if (how != TASK_CALL)
        set_busy(c, old_desc, false);
    save_old(c, eflags);
    if (how == TASK_CALL) {
        wr(c, desc_base(d), old.sel, 2);
        t.eflags |= FL_NT;
    }
    if (how != TASK_IRET)
        set_busy(c, d->lin, true);

    /* The new task begins: a fault from here on has its first instruction as return address. */
    c->insn = &x86_no_insn;
    c->seg[S_TR] = x86_desc_seg(sel, d);
    c->seg[S_TR].attr |= 0x200;
    c->cr0 |= CR0_TS;
    c->rip = t.eip;
    for (unsigned i = 0; i < 8; i++)
        c->gpr[i] = t.gpr[i];
    x86_set_rflags(c, wide(d) ? t.eflags : t.eflags & 0xffff);
    c->dr[7] &= ~0x155ull;
    if (wide(d))
        new_cr3(c, t.cr3);
    load_segments(c, &t);
    if (!(c->mode & MODE_VM86) && t.eip > c->seg[S_CS].limit)
        x86_raise_err(c, EXC_GP, 0);
    if (has_error) {
        Stack s = x86_stack_current(c);

        x86_stack_push(c, &s, wide(d) ? 4 : 2, error);
        x86_stack_commit(c, &s);
    }
    if (t.trap)
        x86_debug_pend(c, DR6_BT);
    x86_attend(c);
}
