/*
 * smm: system management mode: entry, the save-state area, RSM.
 *
 * Processors with long mode have AMD64's save-state map (APM vol. 2, 10.2.3), revision 20064h; others the 32-bit map
 * (SDM vol. 3, 32.4.1), revision 20000h, whose reserved bytes keep the hidden halves of segment registers. Both have SMBASE
 * relocation and automatic halt restart, no I/O restart. SMRAM itself is shown and hidden by the board.
 */
#include "target/x86/cpuid.h"
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

#include <stddef.h>

typedef struct SaveSeg { uint16_t sel, attr, limit, base; } SaveSeg;    /* offsets */
typedef struct SaveMap {
    uint32_t revision;
    uint16_t revision_at, smbase_at, rflags_at, cr0_at, cr4_at, efer_at, halt_at, nmi_at;       /* efer_at 0: not saved */
    uint16_t gdt_limit_at, idt_limit_at;
    uint8_t word;               /* bytes of a base or register */
    SaveSeg seg[S_COUNT];
} SaveMap;

#define SEG64(at) { (at), (at) + 2, (at) + 4, (at) + 8 }
static const SaveMap map64 = {
    .revision = 0x20064, .revision_at = 0x7efc, .smbase_at = 0x7f00, .rflags_at = 0x7f70,
    .cr0_at = 0x7f58, .cr4_at = 0x7f48, .efer_at = 0x7ed0, .halt_at = 0x7ec9, .nmi_at = 0x7eca,
    .gdt_limit_at = 0x7e64, .idt_limit_at = 0x7e84, .word = 8,
    .seg = { SEG64(0x7e00), SEG64(0x7e10), SEG64(0x7e20), SEG64(0x7e30), SEG64(0x7e40), SEG64(0x7e50), SEG64(0x7e70), SEG64(0x7e90) },
};
#define SEG32(sel, hidden) { (sel), (hidden), (hidden) + 4, (hidden) + 8 }
static const SaveMap map32 = {
    .revision = 0x20000, .revision_at = 0x7efc, .smbase_at = 0x7ef8, .rflags_at = 0x7ff4,
    .cr0_at = 0x7ffc, .cr4_at = 0x7f14, .halt_at = 0x7f02, .nmi_at = 0x7f10,
    .gdt_limit_at = 0x7f70, .idt_limit_at = 0x7f54, .word = 4,
    .seg = { SEG32(0x7fa8, 0x7f84), SEG32(0x7fac, 0x7f90), SEG32(0x7fb0, 0x7f9c), SEG32(0x7fb4, 0x7f2c), SEG32(0x7fb8, 0x7f38),
             SEG32(0x7fbc, 0x7f44), SEG32(0x7fc0, 0x7f78), SEG32(0x7fc4, 0x7f5c) },
};

/* Plain registers: their place in X86Cpu, and in the maps (0: not there). */
#define REG(field, at64, at32) { offsetof(X86Cpu, field), at64, at32 }
static const struct SaveReg { uint32_t field; uint16_t at64, at32; } saved[] = {
    REG(gpr[R_RAX], 0x7ff8, 0x7fd0), REG(gpr[R_RCX], 0x7ff0, 0x7fd4), REG(gpr[R_RDX], 0x7fe8, 0x7fd8), REG(gpr[R_RBX], 0x7fe0, 0x7fdc),
    REG(gpr[R_RSP], 0x7fd8, 0x7fe0), REG(gpr[R_RBP], 0x7fd0, 0x7fe4), REG(gpr[R_RSI], 0x7fc8, 0x7fe8), REG(gpr[R_RDI], 0x7fc0, 0x7fec),
    REG(gpr[R_R8], 0x7fb8, 0), REG(gpr[R_R9], 0x7fb0, 0), REG(gpr[R_R10], 0x7fa8, 0), REG(gpr[R_R11], 0x7fa0, 0),
    REG(gpr[R_R12], 0x7f98, 0), REG(gpr[R_R13], 0x7f90, 0), REG(gpr[R_R14], 0x7f88, 0), REG(gpr[R_R15], 0x7f80, 0),
    REG(rip, 0x7f78, 0x7ff0), REG(cr3, 0x7f50, 0x7ff8), REG(dr[6], 0x7f68, 0x7fcc), REG(dr[7], 0x7f60, 0x7fc8),
    REG(gdtr.base, 0x7e68, 0x7f74), REG(idtr.base, 0x7e88, 0x7f58),
};

static const SaveMap *map_of(const X86Cpu *c) { return x86_model_has(c->model, FEAT_LM) ? &map64 : &map32; }
static unsigned place(const SaveMap *m, const struct SaveReg *r) { return m == &map64 ? r->at64 : r->at32; }

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

/* Whatever the TLBs hold is forgotten. */
static void show_smram(X86Cpu *c, bool on)
{
    const FlatView *before = c->vcpu.mem_view;
    bool held = machine_lock_held();

    if (!held)
        machine_lock();
    if (c->apic_ops && c->apic_ops->smm)
        c->apic_ops->smm(c, on);
    vcpu_take_views(&c->vcpu);
    if (!held)
        machine_unlock();
    if (c->vcpu.mem_view == before)     /* a new view has flushed already */
        x86_tlb_flush_all(c);
}

static uint64_t *reg_of(X86Cpu *c, const struct SaveReg *r) { return (uint64_t *)((char *)c + r->field); }

static void save(X86Cpu *c, const SaveMap *m, bool halted)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(saved); n++) {
        if (place(m, &saved[n]))
            put(c, place(m, &saved[n]), *reg_of(c, &saved[n]), m->word);
    }
    for (unsigned s = 0; s < S_COUNT; s++) {
        put(c, m->seg[s].sel, c->seg[s].sel, m->word == 8 ? 2 : 4);
        put(c, m->seg[s].attr, c->seg[s].attr >> 8 & 0xf0ff, 2);
        put(c, m->seg[s].limit, c->seg[s].limit, 4);
        put(c, m->seg[s].base, c->seg[s].base, m->word);
    }
    put(c, m->halt_at, halted, 1);
    put(c, m->nmi_at, c->nmi_masked, 1);
    put(c, m->revision_at, m->revision, 4);
    put(c, m->smbase_at, c->msr.smbase, 4);
    put(c, m->rflags_at, x86_get_rflags(c), m->word);
    put(c, m->cr0_at, c->cr0, m->word);
    put(c, m->cr4_at, c->cr4, m->word);
    if (m->efer_at)
        put(c, m->efer_at, c->efer, m->word);
    put(c, m->gdt_limit_at, c->gdtr.limit, 4);
    put(c, m->idt_limit_at, c->idtr.limit, 4);
}

void x86_smm_enter(X86Cpu *c)
{
    const SaveMap *m = map_of(c);
    bool halted = c->vcpu.halted;

    c->smm = true;
    show_smram(c, true);
    save(c, m, halted);
    c->vcpu.halted = false;
    c->nmi_masked = true;
    c->cr0 &= ~(uint64_t)(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    c->cr4 = 0;
    if (m->efer_at)
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

static void restore_regs(X86Cpu *c, const SaveMap *m)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(saved); n++) {
        if (place(m, &saved[n]))
            *reg_of(c, &saved[n]) = get(c, place(m, &saved[n]), m->word);
    }
    for (unsigned s = 0; s < S_COUNT; s++) {
        c->seg[s].sel = (uint16_t)get(c, m->seg[s].sel, 2);
        c->seg[s].attr = ((uint32_t)get(c, m->seg[s].attr, 2) & 0xf0ff) << 8;
        c->seg[s].limit = (uint32_t)get(c, m->seg[s].limit, 4);
        c->seg[s].base = get(c, m->seg[s].base, m->word);
    }
}

/* False: an impossible state, which shuts the processor down. */
static bool restore(X86Cpu *c)
{
    const SaveMap *m = map_of(c);
    uint64_t cr0 = get(c, m->cr0_at, m->word), cr4 = get(c, m->cr4_at, m->word);
    uint64_t efer = m->efer_at ? get(c, m->efer_at, m->word) : c->efer;
    uint32_t smbase = (uint32_t)get(c, m->smbase_at, 4);

    if (!x86_modes_possible(cr0, cr4, efer))
        return false;
    c->cr0 = cr0 | CR0_ET;
    c->cr4 = cr4;
    c->efer = efer;
    restore_regs(c, m);
    c->dr[7] = (c->dr[7] & 0xffff2bffu) | DR7_FIXED;
    x86_set_rflags(c, get(c, m->rflags_at, m->word));
    c->gdtr.limit = (uint16_t)get(c, m->gdt_limit_at, 4);
    c->idtr.limit = (uint16_t)get(c, m->idt_limit_at, 4);
    c->vcpu.halted = get(c, m->halt_at, 1) & 1;
    c->nmi_masked = get(c, m->nmi_at, 1) & 1;
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
