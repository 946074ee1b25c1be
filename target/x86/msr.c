/*
 * msr: the model-specific registers, one table row each.
 *
 * Intel SDM vol. 4; AMD APM vol. 2 appendix A. Memory types (PAT, MTRR) are stored and have no
 * effect: all guest memory behaves as write-back. Numbers nobody knows are #GP(0).
 */
#include "target/x86/msr_int.h"
#include "target/x86/cpuid.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"
#include "util/log.h"

enum { MCE_BANKS = 10, MTRR_VAR = 8 };

/* ARCH_CAPABILITIES: none of the listed attacks, and IBRS once enabled is enough: RDCL_NO, IBRS_ALL, SKIP_L1DFL, SSB_NO,
   MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO. */
#define ARCH_CAPABILITIES 0x400000000d10e17bull

typedef struct MsrRow MsrRow;
struct MsrRow {
    uint32_t first, count;
    uint16_t feat;              /* FEAT_*: #GP without it */
    size_t off;                 /* of the first, in X86Cpu; 0: none */
    uint64_t valid;             /* bits that may be set; 0 with off 0: reads as `fixed` */
    uint64_t fixed;             /* what reads when off is 0 */
    bool (*rd)(X86Cpu *c, uint32_t n, uint64_t *v);     /* n: number less first */
    bool (*wr)(X86Cpu *c, uint32_t n, uint64_t v);
    bool canonical, ignore;     /* check; writes are dropped */
};

static bool rd_tsc(X86Cpu *c, uint32_t n, uint64_t *v)
{
    *v = x86_rdtsc(c);
    return true;
}
static bool wr_tsc(X86Cpu *c, uint32_t n, uint64_t v)
{
    uint64_t delta = v - x86_rdtsc(c);

    c->tsc_offset += delta;
    c->msr.tsc_adjust += delta;
    return true;
}
static bool wr_tsc_adjust(X86Cpu *c, uint32_t n, uint64_t v)
{
    c->tsc_offset += v - c->msr.tsc_adjust;
    c->msr.tsc_adjust = v;
    return true;
}

static bool rd_apic_base(X86Cpu *c, uint32_t n, uint64_t *v)
{
    if (!c->apic_ops)
        return false;
    *v = c->apic_ops->get_base(c);
    return true;
}
static bool wr_apic_base(X86Cpu *c, uint32_t n, uint64_t v)
{
    return c->apic_ops && c->apic_ops->set_base(c, v);
}
static bool rd_x2apic(X86Cpu *c, uint32_t n, uint64_t *v)
{
    return c->apic_ops && c->apic_ops->rdmsr(c, 0x800 + n, v);
}
static bool wr_x2apic(X86Cpu *c, uint32_t n, uint64_t v)
{
    return c->apic_ops && c->apic_ops->wrmsr(c, 0x800 + n, v);
}
static bool rd_deadline(X86Cpu *c, uint32_t n, uint64_t *v)
{
    return c->apic_ops && c->apic_ops->rdmsr(c, 0x6e0, v);
}
static bool wr_deadline(X86Cpu *c, uint32_t n, uint64_t v)
{
    return c->apic_ops && c->apic_ops->wrmsr(c, 0x6e0, v);
}

static bool memory_type_ok(unsigned t, bool pat)
{
    return t == 0 || t == 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}
static bool types_ok(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 64; i += 8)
        if (!memory_type_ok(v >> i & 0xff, pat))
            return false;
    return true;
}
static bool wr_pat(X86Cpu *c, uint32_t n, uint64_t v)
{
    if (!types_ok(v, true))
        return false;
    c->msr.pat = v;
    return true;
}
/* Fixed-range MTRRs: numbers 0x250, 0x258-0x259, 0x268-0x26f in one array. */
static uint64_t *mtrr_fix(X86Cpu *c, uint32_t n)
{
    return n == 0 ? &c->msr.mtrr_fix[0] : n == 8 || n == 9 ? &c->msr.mtrr_fix[n - 7] :
           n >= 0x18 && n < 0x20 ? &c->msr.mtrr_fix[n - 0x18 + 3] : NULL;
}
static bool rd_mtrr_fix(X86Cpu *c, uint32_t n, uint64_t *v)
{
    const uint64_t *p = mtrr_fix(c, n);

    if (p)
        *v = *p;
    return p;
}
static bool wr_mtrr_fix(X86Cpu *c, uint32_t n, uint64_t v)
{
    uint64_t *p = mtrr_fix(c, n);

    if (!p || !types_ok(v, false))
        return false;
    *p = v;
    return true;
}
static bool wr_mtrr_var(X86Cpu *c, uint32_t n, uint64_t v)
{
    uint64_t low = n & 1 ? 0x7ff : 0xf00;

    if ((v & (~c->mmu->phys_mask | low)) || (!(n & 1) && !memory_type_ok(v & 0xff, false)))
        return false;
    c->msr.mtrr_var[n] = v;
    return true;
}
static bool wr_mtrr_def(X86Cpu *c, uint32_t n, uint64_t v)
{
    if ((v & ~0xcffull) || !memory_type_ok(v & 0xff, false))
        return false;
    c->msr.mtrr_def = v;
    return true;
}

static bool wr_efer(X86Cpu *c, uint32_t n, uint64_t v)
{
    uint64_t old = c->efer;

    if (v & ~x86_model_efer_mask(c->model))
        return false;
    if (((v ^ old) & EFER_LME) && (c->cr0 & CR0_PG))
        return false;
    c->efer = (v & ~(uint64_t)EFER_LMA) | (old & EFER_LMA);
    if ((c->efer ^ old) & EFER_NXE)
        x86_tlb_flush_all(c);
    return true;
}
static bool rd_fs_base(X86Cpu *c, uint32_t n, uint64_t *v)
{
    *v = c->seg[n ? S_GS : S_FS].base;
    return true;
}
static bool wr_fs_base(X86Cpu *c, uint32_t n, uint64_t v)
{
    c->seg[n ? S_GS : S_FS].base = v;
    return true;
}

static bool wr_mc_bank(X86Cpu *c, uint32_t n, uint64_t v)
{
    if ((n & 3) == 1 && v != 0)         /* a control register takes any value, as AMD's do: Linux clears bit 10 of bank 4 */
        return false;
    c->msr.mce_banks[n] = v;
    return true;
}
static bool rd_smbase(X86Cpu *c, uint32_t n, uint64_t *v)
{
    *v = c->msr.smbase;
    return c->smm;
}

#define M(f) offsetof(X86Cpu, msr.f)
#define ALL (~0ull)
static const MsrRow rows[] = {
    { 0x00000000, 2, FEAT_NONE, .ignore = true },                               /* P5_MC_ADDR, P5_MC_TYPE */
    { 0x00000010, 1, FEAT_TSC, .rd = rd_tsc, .wr = wr_tsc },
    { 0x00000017, 1, FEAT_NONE },                                               /* PLATFORM_ID */
    { 0x0000001b, 1, FEAT_APIC, .rd = rd_apic_base, .wr = wr_apic_base },
    { 0x00000034, 1, FEAT_NONE },                                               /* SMI count */
    { 0x0000003a, 1, FEAT_NONE, .fixed = 1 },                                   /* FEATURE_CONTROL: locked, nothing on */
    { 0x0000003b, 1, FEAT_TSC_ADJUST, M(tsc_adjust), ALL, .wr = wr_tsc_adjust },
    { 0x00000048, 1, FEAT_SPEC_CTRL, M(spec_ctrl), 7 },                         /* nothing speculates here */
    { 0x00000049, 1, FEAT_SPEC_CTRL, .ignore = true },                          /* PRED_CMD */
    { 0x00000079, 1, FEAT_NONE, .ignore = true },                               /* microcode update trigger */
    { 0x0000008b, 1, FEAT_NONE, .fixed = 0x01000065, .ignore = true },          /* microcode revision */
    { 0x0000009e, 1, FEAT_NONE, .rd = rd_smbase },
    { 0x000000fe, 1, FEAT_MTRR, .fixed = 0x500 | MTRR_VAR },                    /* MTRRCAP: fixed ranges, WC */
    { 0x0000010a, 1, FEAT_ARCH_CAP, .fixed = ARCH_CAPABILITIES },
    { 0x00000174, 1, FEAT_SEP, M(sysenter_cs), 0xffffffff },
    { 0x00000175, 1, FEAT_SEP, M(sysenter_esp), ALL, .canonical = true },
    { 0x00000176, 1, FEAT_SEP, M(sysenter_eip), ALL, .canonical = true },
    { 0x00000179, 1, FEAT_MCA, .fixed = 0x100 | MCE_BANKS },                    /* MCG_CAP */
    { 0x0000017a, 1, FEAT_MCA, M(mcg_status), 7 },
    { 0x0000017b, 1, FEAT_MCA, M(mcg_ctl), ALL },
    { 0x00000198, 1, FEAT_NONE },                                               /* PERF_STATUS */
    { 0x00000199, 1, FEAT_NONE, .ignore = true },                               /* PERF_CTL */
    { 0x0000019a, 3, FEAT_NONE, .ignore = true },                               /* clock modulation, thermal */
    { 0x000001a0, 1, FEAT_NONE, M(misc_enable), 0x400c51889 },
    { 0x000001d9, 1, FEAT_NONE, M(debugctl), 0x7fc3 },
    { 0x000001db, 4, FEAT_NONE },                                               /* last branch from/to: none recorded */
    { 0x00000200, 2 * MTRR_VAR, FEAT_MTRR, M(mtrr_var), ALL, .wr = wr_mtrr_var },
    { 0x00000250, 0x20, FEAT_MTRR, .rd = rd_mtrr_fix, .wr = wr_mtrr_fix },
    { 0x00000277, 1, FEAT_PAT, M(pat), ALL, .wr = wr_pat },
    { 0x000002ff, 1, FEAT_MTRR, M(mtrr_def), ALL, .wr = wr_mtrr_def },
    { 0x00000400, 4 * MCE_BANKS, FEAT_MCA, M(mce_banks), ALL, .wr = wr_mc_bank },
    { 0x000006e0, 1, FEAT_TSC_DEADLINE, .rd = rd_deadline, .wr = wr_deadline },
    { 0x00000800, 0x100, FEAT_X2APIC, .rd = rd_x2apic, .wr = wr_x2apic },
    { 0xc0000080, 1, FEAT_NONE, offsetof(X86Cpu, efer), ALL, .wr = wr_efer },
    { 0xc0000081, 1, FEAT_SYSCALL, M(star), ALL },
    { 0xc0000082, 1, FEAT_LM, M(lstar), ALL, .canonical = true },
    { 0xc0000083, 1, FEAT_LM, M(cstar), ALL, .canonical = true },
    { 0xc0000084, 1, FEAT_SYSCALL, M(fmask), 0xffffffff },
    { 0xc0000100, 2, FEAT_LM, .rd = rd_fs_base, .wr = wr_fs_base, .canonical = true },
    { 0xc0000102, 1, FEAT_LM, M(kernel_gs_base), ALL, .canonical = true },
    { 0xc0000103, 1, FEAT_RDTSCP, M(tsc_aux), 0xffffffff },
    { 0xc0010010, 1, FEAT_NONE, .ignore = true },                               /* AMD SYSCFG */
    { 0xc0010015, 1, FEAT_NONE, .ignore = true },                               /* AMD HWCR */
    { 0xc001001f, 1, FEAT_NONE, .ignore = true },                               /* AMD NB_CFG */
    { 0xc0010055, 1, FEAT_NONE, .ignore = true },                               /* AMD interrupt pending */
    { 0xc0010112, 2, FEAT_NONE, .ignore = true },                               /* AMD SMM address and mask */
    { 0xc0010114, 1, FEAT_NONE, .fixed = 0x10, .ignore = true },                /* AMD VM_CR: SVM disabled */
    { 0xc0010117, 1, FEAT_NONE, .ignore = true },                               /* AMD VM_HSAVE_PA */
    { 0xc0011020, 1, FEAT_NONE, .ignore = true },                               /* AMD load-store configuration */
    { 0xc0011022, 2, FEAT_NONE, .ignore = true },                               /* AMD cache configuration */
    { 0xc0011028, 1, FEAT_NONE, .ignore = true },                               /* AMD FP configuration */
    { 0xc0011029, 1, FEAT_NONE, .fixed = 2, .ignore = true },                   /* AMD DE_CFG: LFENCE serializes */
    { 0xc001102a, 1, FEAT_NONE, .ignore = true },                               /* AMD bus unit configuration */
};
#undef M

static const MsrRow *find(X86Cpu *c, uint32_t msr)
{
    unsigned lo = 0, hi = G_N_ELEMENTS(rows);

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (msr < rows[mid].first)
            hi = mid;
        else if (msr - rows[mid].first >= rows[mid].count)
            lo = mid + 1;
        else
            return x86_model_has(c->model, rows[mid].feat) ? &rows[mid] : NULL;
    }
    return NULL;
}

static uint64_t *storage(X86Cpu *c, const MsrRow *r, uint32_t msr)
{
    return (uint64_t *)(void *)((uint8_t *)c + r->off) + (msr - r->first);
}

bool x86_rdmsr(X86Cpu *c, uint32_t msr, uint64_t *v)
{
    const MsrRow *r = find(c, msr);

    if (!r) {
        log_unimp("rdmsr %#x at %016" G_GINT64_MODIFIER "x: no such register\n", msr, c->rip);
        return false;
    }
    if (r->rd)
        return r->rd(c, msr - r->first, v);
    *v = r->off ? *storage(c, r, msr) : r->fixed;
    return true;
}

bool x86_wrmsr(X86Cpu *c, uint32_t msr, uint64_t v)
{
    const MsrRow *r = find(c, msr);

    if (!r) {
        log_unimp("wrmsr %#x = %#" G_GINT64_MODIFIER "x: no such register\n", msr, v);
        return false;
    }
    if (r->ignore)
        return true;
    if (r->canonical && !x86_canonical(v))
        return false;
    if (r->wr)
        return r->wr(c, msr - r->first, v);
    if (!r->off || (v & ~r->valid))
        return false;
    *storage(c, r, msr) = v;
    return true;
}
