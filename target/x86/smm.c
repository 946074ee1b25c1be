/*
 * smm: system management mode: entry, the save-state area, RSM.
 *
 * The save-state map is AMD64's (APM vol. 2, 10.2.3), revision 0x20064: SMBASE relocation and
 * automatic halt restart, no I/O restart. SMRAM itself is shown and hidden by the board.
 */
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

enum {                          /* offsets from SMBASE + 0x8000 */
    SV_SEG = 0x7e00, SV_GDTR = 0x7e60, SV_LDTR = 0x7e70, SV_IDTR = 0x7e80, SV_TR = 0x7e90,
    SV_HALT = 0x7ec9, SV_NMI = 0x7eca, SV_EFER = 0x7ed0, SV_REVISION = 0x7efc, SV_SMBASE = 0x7f00,
    SV_CR4 = 0x7f48, SV_CR3 = 0x7f50, SV_CR0 = 0x7f58, SV_DR7 = 0x7f60, SV_DR6 = 0x7f68, SV_RFLAGS = 0x7f70,
    SV_RIP = 0x7f78, SV_R15 = 0x7f80,
};
static const uint8_t gpr_order[16] = { R_R15, R_R14, R_R13, R_R12, R_R11, R_R10, R_R9, R_R8,
                                       R_RDI, R_RSI, R_RBP, R_RSP, R_RBX, R_RDX, R_RCX, R_RAX };

static uint64_t where(const X86Cpu *c, unsigned off) { return (uint32_t)c->msr.smbase + 0x8000u + off; }

static void put(X86Cpu *c, unsigned off, uint64_t v, unsigned size)
{
    uint64_t pa = where(c, off);
    const FlatRange *fr = x86_phys_range(c, pa);

    if (fr && pa - fr->addr <= fr->size - size)
        flat_range_write(fr, pa, size, v);
}

static uint64_t get(X86Cpu *c, unsigned off, unsigned size)
{
    uint64_t pa = where(c, off);
    const FlatRange *fr = x86_phys_range(c, pa);

    return fr && pa - fr->addr <= fr->size - size ? flat_range_read(fr, pa, size) : 0;
}

static void put_seg(X86Cpu *c, unsigned off, const X86Seg *g)
{
    put(c, off, g->sel, 2);
    put(c, off + 2, g->attr >> 8 & 0xf0ff, 2);
    put(c, off + 4, g->limit, 4);
    put(c, off + 8, g->base, 8);
}

static X86Seg get_seg(X86Cpu *c, unsigned off)
{
    X86Seg g = { .sel = (uint16_t)get(c, off, 2), .limit = (uint32_t)get(c, off + 4, 4), .base = get(c, off + 8, 8) };

    g.attr = ((uint32_t)get(c, off + 2, 2) & 0xf0ff) << 8;
    return g;
}

static void show_smram(X86Cpu *c, bool on)
{
    bool held = machine_lock_held();

    if (!held)
        machine_lock();
    if (c->apic_ops && c->apic_ops->smm)
        c->apic_ops->smm(c, on);
    vcpu_take_views(&c->vcpu);
    if (!held)
        machine_unlock();
    x86_tlb_flush_all(c);
}

static void save(X86Cpu *c, bool halted)
{
    for (unsigned s = 0; s < S_LDTR; s++)
        put_seg(c, SV_SEG + 16 * s, &c->seg[s]);
    put_seg(c, SV_LDTR, &c->seg[S_LDTR]);
    put_seg(c, SV_TR, &c->seg[S_TR]);
    put(c, SV_GDTR + 4, c->gdtr.limit, 4);
    put(c, SV_GDTR + 8, c->gdtr.base, 8);
    put(c, SV_IDTR + 4, c->idtr.limit, 4);
    put(c, SV_IDTR + 8, c->idtr.base, 8);
    for (unsigned i = 0; i < 16; i++)
        put(c, SV_R15 + 8 * i, c->gpr[gpr_order[i]], 8);
    put(c, SV_HALT, halted, 1);
    put(c, SV_NMI, c->nmi_masked, 1);
    put(c, SV_EFER, c->efer, 8);
    put(c, SV_REVISION, 0x20064, 4);
    put(c, SV_SMBASE, c->msr.smbase, 4);
    put(c, SV_CR0, c->cr0, 8);
    put(c, SV_CR3, c->cr3, 8);
    put(c, SV_CR4, c->cr4, 8);
    put(c, SV_DR6, c->dr[6], 8);
    put(c, SV_DR7, c->dr[7], 8);
    put(c, SV_RFLAGS, x86_get_rflags(c), 8);
    put(c, SV_RIP, c->rip, 8);
}

void x86_smm_enter(X86Cpu *c)
{
    bool halted = c->vcpu.halted;

    c->smm = true;
    show_smram(c, true);
    save(c, halted);
    c->vcpu.halted = false;
    c->nmi_masked = true;
    c->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    c->cr4 = 0;
    c->efer = 0;
    c->dr[7] = DR7_FIXED;
    x86_set_rflags(c, FL_1);
    for (unsigned s = 0; s < S_LDTR; s++)
        c->seg[s] = (X86Seg) { .limit = 0xffffffffu, .attr = 0x00809300 };
    c->seg[S_CS].sel = (uint16_t)(c->msr.smbase >> 4);
    c->seg[S_CS].base = (uint32_t)c->msr.smbase;
    c->rip = 0x8000;
    c->mode &= ~MODE_SHADOW;
    x86_debug_dr7_changed(c);
    x86_tlb_flush_all(c);
    x86_update_mode(c);
}

static bool plausible(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    if ((cr0 & CR0_PG) && !(cr0 & CR0_PE))
        return false;
    return !(efer & EFER_LMA) || ((cr0 & CR0_PG) && (cr4 & CR4_PAE) && (efer & EFER_LME));
}

/* False: an impossible state, which shuts the processor down. */
static bool restore(X86Cpu *c)
{
    uint64_t cr0 = get(c, SV_CR0, 8), cr4 = get(c, SV_CR4, 8), efer = get(c, SV_EFER, 8);
    uint32_t smbase = (uint32_t)get(c, SV_SMBASE, 4);

    if (!plausible(cr0, cr4, efer))
        return false;
    c->cr0 = cr0 | CR0_ET;
    c->cr4 = cr4;
    c->efer = efer;
    c->cr3 = get(c, SV_CR3, 8);
    for (unsigned s = 0; s < S_LDTR; s++)
        c->seg[s] = get_seg(c, SV_SEG + 16 * s);
    c->seg[S_LDTR] = get_seg(c, SV_LDTR);
    c->seg[S_TR] = get_seg(c, SV_TR);
    c->gdtr = (X86Table) { get(c, SV_GDTR + 8, 8), (uint16_t)get(c, SV_GDTR + 4, 4) };
    c->idtr = (X86Table) { get(c, SV_IDTR + 8, 8), (uint16_t)get(c, SV_IDTR + 4, 4) };
    for (unsigned i = 0; i < 16; i++)
        c->gpr[gpr_order[i]] = get(c, SV_R15 + 8 * i, 8);
    c->dr[6] = get(c, SV_DR6, 8);
    c->dr[7] = (get(c, SV_DR7, 8) & 0xffff2bffu) | DR7_FIXED;
    x86_set_rflags(c, get(c, SV_RFLAGS, 8));
    c->rip = get(c, SV_RIP, 8);
    c->vcpu.halted = get(c, SV_HALT, 1) & 1;
    c->nmi_masked = get(c, SV_NMI, 1) & 1;
    c->msr.smbase = smbase;
    return true;
}

static void rsm(X86Cpu *c, const X86Insn *i)
{
    if (!c->smm)
        x86_raise(c, EXC_UD);
    if (!restore(c)) {
        x86_shutdown(c);
        c->vcpu.exit_reason = VCPU_EXIT_TRIPLE_FAULT;
        siglongjmp(c->vcpu.unwind, UNWIND_EXIT);
    }
    c->smm = false;
    show_smram(c, false);
    if ((c->cr0 & CR0_PG) && (c->cr4 & CR4_PAE) && !(c->efer & EFER_LMA))
        x86_load_pdptes(c, c->cr3);
    x86_debug_dr7_changed(c);
    x86_update_mode(c);
    x86_attend(c);
    c->insn = &x86_no_insn;
    c->vcpu.exit_reason = VCPU_EXIT_HALT;
    siglongjmp(c->vcpu.unwind, c->vcpu.halted ? UNWIND_EXIT : UNWIND_RESUME);
}
BODY1(rsm, rsm);
