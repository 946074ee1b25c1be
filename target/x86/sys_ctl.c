/*
 * sys_ctl: control and debug registers, TLB instructions, MSRs and time, interrupt flag, halting.
 *
 * Intel SDM vol. 2; vol. 3 2.5 (control registers), 4.10 (TLB), 17.2 (debug registers).
 */
#include "target/x86/cpuid.h"
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/msr_int.h"
#include "target/x86/operand.h"
#include "target/x86/prot_int.h"

static void need_cpl0(X86Cpu *c)
{
    if (x86_cpl(c))
        x86_raise_err(c, EXC_GP, 0);
}
G_NORETURN static void gp0(X86Cpu *c) { x86_raise_err(c, EXC_GP, 0); }

/* ---- control registers ---- */

static bool pae_paging(const X86Cpu *c, uint64_t cr0, uint64_t cr4)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(c->efer & EFER_LMA);
}

static void enter_long(X86Cpu *c)
{
    if (!(c->cr4 & CR4_PAE) || (c->seg[S_CS].attr & SEG_L))
        gp0(c);
    c->efer |= EFER_LMA;
}

static void set_cr0(X86Cpu *c, uint64_t v)
{
    uint64_t known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG, diff;

    if (v >> 32)
        gp0(c);
    v = (v & known) | CR0_ET;
    if (((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        gp0(c);
    diff = v ^ c->cr0;
    if ((diff & CR0_PG) && !(v & CR0_PG) && ((c->cr4 & CR4_PCIDE) || (c->mode & MODE_CS64)))
        gp0(c);
    if ((diff & v & CR0_PG) && (c->efer & EFER_LME))
        enter_long(c);
    else if ((diff & (CR0_PG | CR0_CD | CR0_NW)) && pae_paging(c, v, c->cr4) && !x86_load_pdptes(c, c->cr3))
        gp0(c);
    if (!(v & CR0_PG))
        c->efer &= ~(uint64_t)EFER_LMA;
    c->cr0 = v;
    if (diff & (CR0_PG | CR0_WP | CR0_PE))
        x86_tlb_flush_all(c);
    x86_update_mode(c);
}

static void set_cr3(X86Cpu *c, uint64_t v)
{
    bool keep = (c->cr4 & CR4_PCIDE) && (v >> 63);

    if (c->cr4 & CR4_PCIDE)
        v &= ~(1ull << 63);
    if (x86_long(c) ? v & ~c->mmu->phys_mask : v >> 32)
        gp0(c);
    if (pae_paging(c, c->cr0, c->cr4) && !x86_load_pdptes(c, v))
        gp0(c);
    c->cr3 = v;
    if (c->cr4 & CR4_PCIDE)
        x86_tlb_switch_pcid(c, keep);
    else
        x86_tlb_flush_nonglobal(c);
}

static void set_cr4(X86Cpu *c, uint64_t v)
{
    uint64_t diff = v ^ c->cr4;

    if (v & ~x86_model_cr4_mask(c->model))
        gp0(c);
    if (x86_long(c) && !(v & CR4_PAE))
        gp0(c);
    if ((diff & v & CR4_PCIDE) && (!x86_long(c) || (c->cr3 & 0xfff)))
        gp0(c);
    if ((diff & (CR4_PGE | CR4_PSE | CR4_PAE | CR4_SMEP)) && pae_paging(c, c->cr0, v) && !x86_load_pdptes(c, c->cr3))
        gp0(c);
    c->cr4 = v;
    if (diff & (CR4_PGE | CR4_PSE | CR4_PAE | CR4_PCIDE | CR4_SMEP | CR4_SMAP))
        x86_tlb_flush_all(c);
    x86_update_mode(c);
}

static void mov_rc(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    if (i->reg != 0 && (i->reg < 2 || i->reg > 4) && (i->reg != 8 || i->opsize != 8))
        x86_raise(c, EXC_UD);
    need_cpl0(c);
    switch (i->reg) {
    case 0: v = c->cr0; break;
    case 2: v = c->cr2; break;
    case 3: v = c->cr3; break;
    case 4: v = c->cr4; break;
    default: v = c->apic_ops ? c->apic_ops->get_tpr(c) : c->cr8; break;
    }
    x86_gpr_wr(c, i, i->rm, i->opsize, v);
}

static void mov_cr(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = x86_gpr_rd(c, i, i->rm, i->opsize);

    if (i->reg != 0 && (i->reg < 2 || i->reg > 4) && (i->reg != 8 || i->opsize != 8))
        x86_raise(c, EXC_UD);
    need_cpl0(c);
    switch (i->reg) {
    case 0: set_cr0(c, v); break;
    case 2: c->cr2 = v; break;
    case 3: set_cr3(c, v); break;
    case 4: set_cr4(c, v); break;
    default:
        if (v & ~15ull)
            gp0(c);
        c->cr8 = v;
        if (c->apic_ops)
            c->apic_ops->set_tpr(c, (uint8_t)v);
        x86_attend(c);
        break;
    }
}
BODY1(mov_rc, mov_rc);
BODY1(mov_cr, mov_cr);

static void lmsw(X86Cpu *c, const X86Insn *i)
{
    uint16_t v;

    need_cpl0(c);
    v = i->is_reg ? (uint16_t)c->gpr[i->rm] : x86_ld16(c, x86_ea(c, i, 2, false));
    set_cr0(c, (c->cr0 & ~14ull) | (v & 15));
}
static void clts(X86Cpu *c, const X86Insn *i)
{
    need_cpl0(c);
    c->cr0 &= ~(uint64_t)CR0_TS;
    x86_update_mode(c);
}
BODY1(lmsw, lmsw);
BODY1(clts, clts);

/* ---- debug registers ---- */

static unsigned debug_reg(X86Cpu *c, const X86Insn *i)
{
    unsigned n = i->reg;

    if (n > 7 || ((n == 4 || n == 5) && (c->cr4 & CR4_DE)))
        x86_raise(c, EXC_UD);
    need_cpl0(c);
    if (c->dr[7] & DR7_GD) {
        c->dr[6] |= DR6_BD;
        x86_raise(c, EXC_DB);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}
static void mov_rd(X86Cpu *c, const X86Insn *i)
{
    x86_gpr_wr(c, i, i->rm, i->opsize, c->dr[debug_reg(c, i)]);
}
static void mov_dr(X86Cpu *c, const X86Insn *i)
{
    unsigned n = debug_reg(c, i);
    uint64_t v = x86_gpr_rd(c, i, i->rm, i->opsize);

    if (n >= 6 && (v >> 32))
        gp0(c);
    if (n == 6) {
        c->dr[6] = (v & 0xe00f) | DR6_FIXED;
    } else {
        c->dr[n] = n == 7 ? (v & 0xffff2bffu) | DR7_FIXED : v;
        x86_debug_dr7_changed(c);
    }
}
BODY1(mov_rd, mov_rd);
BODY1(mov_dr, mov_dr);

/* ---- TLB and caches ---- */

static void invlpg(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x86_ea_off(c, i);

    need_cpl0(c);
    if (!(c->mode & MODE_CS64))
        va = (uint32_t)(va + c->seg[i->seg].base);
    else if (i->seg == S_FS || i->seg == S_GS)
        va += c->seg[i->seg].base;
    if (!(c->mode & MODE_CS64) || x86_canonical(va))
        x86_tlb_flush_page(c, va);
}

static void invpcid(X86Cpu *c, const X86Insn *i)
{
    uint64_t type = x86_gpr_rd(c, i, i->reg, i->opsize), pcid, addr, lin;

    need_cpl0(c);
    lin = x86_ea(c, i, 16, false);
    pcid = x86_ld64(c, lin);
    addr = x86_ld64(c, lin + 8);
    if (type > 3 || (type < 2 && (pcid >> 12 || (pcid && !(c->cr4 & CR4_PCIDE)))) || (type == 0 && !x86_canonical(addr)))
        gp0(c);
    switch (type) {
    case 0: x86_tlb_flush_page_pcid(c, addr, (unsigned)pcid); break;
    case 1: x86_tlb_flush_pcid(c, (unsigned)pcid); break;
    case 2: x86_tlb_flush_all(c); break;
    default: x86_tlb_flush_nonglobal_all(c); break;
    }
}
/* INVD, WBINVD: memory is always coherent. */
static void cache_op(X86Cpu *c, const X86Insn *i) { need_cpl0(c); }
BODY1(invlpg, invlpg);
BODY1(invpcid, invpcid);
BODY1(cache_op, cache_op);

/* ---- MSRs, time, identification ---- */

static void set_edx_eax(X86Cpu *c, uint64_t v)
{
    c->gpr[R_RAX] = (uint32_t)v;
    c->gpr[R_RDX] = v >> 32;
}
static uint64_t edx_eax(const X86Cpu *c) { return (uint32_t)c->gpr[R_RAX] | c->gpr[R_RDX] << 32; }

static void rdmsr(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;

    need_cpl0(c);
    if (!x86_rdmsr(c, (uint32_t)c->gpr[R_RCX], &v))
        gp0(c);
    set_edx_eax(c, v);
}
static void wrmsr(X86Cpu *c, const X86Insn *i)
{
    need_cpl0(c);
    if (!x86_wrmsr(c, (uint32_t)c->gpr[R_RCX], edx_eax(c)))
        gp0(c);
    x86_attend(c);
}
static void tsc_allowed(X86Cpu *c)
{
    if ((c->cr4 & CR4_TSD) && x86_cpl(c))
        gp0(c);
}
static void rdtsc(X86Cpu *c, const X86Insn *i)
{
    tsc_allowed(c);
    set_edx_eax(c, x86_rdtsc(c));
}
static void rdtscp(X86Cpu *c, const X86Insn *i)
{
    tsc_allowed(c);
    set_edx_eax(c, x86_rdtsc(c));
    c->gpr[R_RCX] = (uint32_t)c->msr.tsc_aux;
}
static void rdpid(X86Cpu *c, const X86Insn *i)
{
    c->gpr[i->rm] = (uint32_t)c->msr.tsc_aux;
}
/* There are no performance counters: every index is invalid. */
static void rdpmc(X86Cpu *c, const X86Insn *i) { gp0(c); }
static void cpuid(X86Cpu *c, const X86Insn *i)
{
    uint32_t r[4];

    x86_cpuid(c, (uint32_t)c->gpr[R_RAX], (uint32_t)c->gpr[R_RCX], r);
    c->gpr[R_RAX] = r[0];
    c->gpr[R_RBX] = r[1];
    c->gpr[R_RCX] = r[2];
    c->gpr[R_RDX] = r[3];
}
BODY1(rdmsr, rdmsr);
BODY1(wrmsr, wrmsr);
BODY1(rdtsc, rdtsc);
BODY1(rdtscp, rdtscp);
BODY1(rdpid, rdpid);
BODY1(rdpmc, rdpmc);
BODY1(cpuid, cpuid);

static void xgetbv(X86Cpu *c, const X86Insn *i)
{
    uint32_t n = (uint32_t)c->gpr[R_RCX];

    if (!(c->cr4 & CR4_OSXSAVE))
        x86_raise(c, EXC_UD);
    if (n > 1 || (n == 1 && !x86_model_has(c->model, FEAT_XGETBV1)))
        gp0(c);
    set_edx_eax(c, c->xcr0);
}
static void xsetbv(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = edx_eax(c);

    if (!(c->cr4 & CR4_OSXSAVE))
        x86_raise(c, EXC_UD);
    need_cpl0(c);
    if ((uint32_t)c->gpr[R_RCX] || (v & ~x86_model_xcr0_mask(c->model)) || !(v & XCR0_X87) ||
        ((v & XCR0_AVX) && !(v & XCR0_SSE)))
        gp0(c);
    c->xcr0 = v;
    x86_update_mode(c);
}
BODY1(xgetbv, xgetbv);
BODY1(xsetbv, xsetbv);

/* ---- interrupt flag, AC ---- */

/* CLI and STI act on VIF instead of IF: v86 with VME, or CPL 3 with PVI, and IOPL < 3. */
static bool virtual_if(X86Cpu *c)
{
    if (c->mode & MODE_IOPL_OK)
        return false;
    if (c->mode & MODE_VM86) {
        if ((c->eflags & FL_IOPL) == FL_IOPL)
            return false;
        if (c->cr4 & CR4_VME)
            return true;
    } else if (x86_cpl(c) == 3 && (c->cr4 & CR4_PVI)) {
        return true;
    }
    gp0(c);
}
static void cli(X86Cpu *c, const X86Insn *i)
{
    c->eflags &= ~(virtual_if(c) ? FL_VIF : FL_IF);
}
static void sti(X86Cpu *c, const X86Insn *i)
{
    if (virtual_if(c)) {
        if (c->eflags & FL_VIP)
            gp0(c);
        c->eflags |= FL_VIF;
        return;
    }
    if (c->eflags & FL_IF)
        return;
    c->eflags |= FL_IF;
    c->mode |= MODE_SHADOW;
    x86_attend(c);
}
BODY1(cli, cli);
BODY1(sti, sti);

static void set_ac(X86Cpu *c, bool on)
{
    if (x86_cpl(c))
        x86_raise(c, EXC_UD);
    c->eflags = on ? c->eflags | FL_AC : c->eflags & ~(uint32_t)FL_AC;
    x86_update_mode(c);
}
static void clac(X86Cpu *c, const X86Insn *i) { set_ac(c, false); }
static void stac(X86Cpu *c, const X86Insn *i) { set_ac(c, true); }
BODY1(clac, clac);
BODY1(stac, stac);

/* ---- halting ---- */

G_NORETURN static void leave(X86Cpu *c, VcpuExit why)
{
    c->vcpu.exit_reason = why;
    siglongjmp(c->vcpu.unwind, UNWIND_EXIT);
}
static void hlt(X86Cpu *c, const X86Insn *i)
{
    need_cpl0(c);
    c->mode &= ~MODE_SHADOW;
    c->vcpu.halted = true;
    leave(c, VCPU_EXIT_HALT);
}
static void monitor(X86Cpu *c, const X86Insn *i)
{
    uint64_t off = c->gpr[R_RAX] & x86_mask(i->adsize);

    if (x86_cpl(c))
        x86_raise(c, EXC_UD);
    if ((uint32_t)c->gpr[R_RCX])
        gp0(c);
    c->mwait_addr = x86_lin(c, i->flags & INSN_SEGOVR ? i->seg : S_DS, off, 1, false);
    x86_ld8(c, c->mwait_addr);
}
/* Sleeps while the monitored bytes keep their value, a millisecond at most: waking early is allowed. */
static void mwait(X86Cpu *c, const X86Insn *i)
{
    uint64_t at = c->mwait_addr & ~7ull, old;

    if (x86_cpl(c))
        x86_raise(c, EXC_UD);
    if ((uint32_t)c->gpr[R_RCX] & ~1u)
        gp0(c);
    if (c->mwait_addr == ~0ull)
        return;
    old = x86_ld64(c, at);
    for (unsigned n = 0; n < 20; n++) {
        if (atomic_load_explicit(&c->vcpu.attention, memory_order_acquire) || x86_ld64(c, at) != old)
            break;
        g_usleep(50);
    }
    c->mwait_addr = ~0ull;
}
BODY1(hlt, hlt);
BODY1(monitor, monitor);
BODY1(mwait, mwait);
