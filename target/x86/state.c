/*
 * state: a processor's life: creation, reset, the mode word, flags, time stamp, saved state.
 *
 * Reset values: Intel SDM vol. 3 table 10-1.
 */
#include "softmmu/accel.h"
#include "target/x86/cpuid.h"
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

#include "util/largemem.h"
#include "util/log.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

static bool seg_flat(const X86Seg *g)
{
    return g->base == 0 && g->limit == 0xffffffffu && (g->attr & SEG_P);
}

static bool data_flat(const X86Seg *g)
{
    return seg_flat(g) && (g->attr & (SEG_CODE | SEG_CONF | SEG_WR)) == SEG_WR;
}

static uint32_t fpu_mode(const X86Cpu *c)
{
    uint32_t m = 0;

    if (c->cr0 & (CR0_EM | CR0_TS))
        m |= MODE_FPU_NM;
    if (c->cr0 & CR0_TS)
        m |= MODE_SSE_NM;
    if ((c->cr0 & CR0_EM) || !(c->cr4 & CR4_OSFXSR))
        m |= MODE_SSE_UD;
    if (!(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX))
        m |= MODE_AVX_UD;
    return m;
}

static uint32_t protected_mode(const X86Cpu *c)
{
    uint32_t m = MODE_PE, cpl = SEG_DPL(c->seg[S_SS].attr);
    bool code64 = (c->efer & EFER_LMA) && (c->seg[S_CS].attr & SEG_L);

    if (c->eflags & FL_VM)
        return MODE_PE | MODE_VM86 | 3;
    m |= cpl;
    if (c->efer & EFER_LMA)
        m |= MODE_LMA;
    if (code64)
        m |= MODE_CS64 | MODE_FLAT | MODE_SS32;
    else if (c->seg[S_CS].attr & SEG_DB)
        m |= MODE_CS32;
    if (c->seg[S_SS].attr & SEG_DB)
        m |= MODE_SS32;
    if (!code64 && seg_flat(&c->seg[S_CS]) && (c->seg[S_CS].attr & SEG_WR) && data_flat(&c->seg[S_DS]) &&
        data_flat(&c->seg[S_ES]) && data_flat(&c->seg[S_SS]))
        m |= MODE_FLAT;
    if (cpl <= (c->eflags >> 12 & 3))
        m |= MODE_IOPL_OK;
    if (cpl && (c->cr4 & CR4_UMIP))
        m |= MODE_UMIP;
    return m;
}

void x86_update_mode(X86Cpu *c)
{
    uint32_t m = (c->mode & MODE_SHADOW) | fpu_mode(c);

    if (c->cr0 & CR0_PE) {
        m |= protected_mode(c);
    } else {
        m |= MODE_IOPL_OK;
        /* A big real mode entered by clearing PE keeps its default sizes until CS is reloaded. */
        if (c->seg[S_CS].attr & SEG_DB)
            m |= MODE_CS32;
        if (c->seg[S_SS].attr & SEG_DB)
            m |= MODE_SS32;
    }
    if (c->eflags & FL_TF)
        m |= MODE_TF | MODE_STEP;
    if (c->dr[7] & 0xff)
        m |= MODE_TF;
    if (c->smm)
        m |= MODE_SMM;
    c->data_bank = TLB_K;
    if ((m & MODE_CPL) == 3) {
        c->data_bank = TLB_U;
        if ((c->cr0 & CR0_AM) && (c->eflags & FL_AC)) {
            m |= MODE_AM;
            c->data_bank = TLB_N;
        }
    } else if ((c->cr4 & CR4_SMAP) && (c->eflags & FL_AC)) {
        m |= MODE_SMAP_A;
        c->data_bank = TLB_A;
    }
    c->mode = m;
}

uint64_t x86_get_rflags(X86Cpu *c)
{
    return c->eflags | x86_flags_get(c);
}

void x86_set_rflags(X86Cpu *c, uint64_t v)
{
    x86_flags_put(c, (uint32_t)v);
    c->eflags = ((uint32_t)v & FL_WRITABLE & ~FL_ARITH) | FL_1;
}

void x86_flags_load(X86Cpu *c, uint64_t image, uint64_t mask)
{
    uint64_t old = x86_get_rflags(c);

    x86_set_rflags(c, (old & ~mask) | (image & mask));
    x86_update_mode(c);
    if (c->eflags & ~old & (FL_IF | FL_VIF))
        x86_attend(c);
}

/* ---- time stamp counter ---- */

static uint64_t host_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#if defined(__x86_64__)
static bool host_tsc_ok(void)
{
    unsigned a, b, cx, d;

    return __get_cpuid(0x80000007, &a, &b, &cx, &d) && (d & (1u << 8));
}
static uint64_t host_ticks(void) { return __rdtsc(); }
#else
static bool host_tsc_ok(void) { return false; }
static uint64_t host_ticks(void) { return host_ns(); }
#endif

typedef struct TscSource { bool host; uint64_t hz; } TscSource;

/* Measures the host's counter over ten milliseconds, once per process. */
static gpointer measure_tsc(gpointer unused)
{
    static TscSource src;
    uint64_t t0, t1, n0, n1;

    src = (TscSource) { .host = host_tsc_ok(), .hz = 1000000000u };
    if (!src.host)
        return &src;
    n0 = host_ns();
    t0 = host_ticks();
    do
        n1 = host_ns();
    while (n1 - n0 < 10000000u);
    t1 = host_ticks();
    src.hz = (uint64_t)((double)(t1 - t0) * 1e9 / (double)(n1 - n0));
    src.hz = (src.hz + 500) / 1000 * 1000;
    return &src;
}

static const TscSource *tsc_source(void)
{
    static GOnce once = G_ONCE_INIT;

    return g_once(&once, measure_tsc, NULL);
}

uint64_t x86_tsc_hz(void) { return tsc_source()->hz; }

static uint64_t tsc_ticks(void) { return tsc_source()->host ? host_ticks() : host_ns(); }

uint64_t x86_rdtsc(X86Cpu *c)
{
    return (c->tsc_still ? c->tsc_still : tsc_ticks()) + c->tsc_offset;
}

/* Guest time stands while the machine does, and all processors' counters by the same amount. KVM's are its own. */
static void tsc_run_state(void *opaque, MachineEvent ev, const char *detail)
{
    Machine *m = opaque;
    uint64_t now = tsc_ticks();

    if (m->accel_offers_pv || (ev != EVENT_STOP && ev != EVENT_RESUME))
        return;
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        X86Cpu *c = x86_cpu(g_ptr_array_index(m->vcpus, i));

        if (c->tsc_still)
            c->tsc_offset -= now - c->tsc_still;
        c->tsc_still = ev == EVENT_STOP ? now : 0;
    }
}

/* ---- reset ---- */

static void reset_segments(X86Cpu *c)
{
    for (unsigned s = 0; s < S_LDTR; s++)
        c->seg[s] = (X86Seg) { .limit = 0xffff, .attr = 0x9300 };
    c->seg[S_CS] = (X86Seg) { .base = 0xffff0000u, .limit = 0xffff, .attr = 0x9b00, .sel = 0xf000 };
    c->seg[S_LDTR] = (X86Seg) { .limit = 0xffff, .attr = 0x8200 };
    c->seg[S_TR] = (X86Seg) { .limit = 0xffff, .attr = 0x8b00 };
    c->gdtr = c->idtr = (X86Table) { .limit = 0xffff };
}

/* What INIT and RESET have in common. */
static void reset_common(X86Cpu *c)
{
    memset(c->gpr, 0, sizeof c->gpr);
    c->gpr[R_RDX] = x86_model_signature(c->model);
    c->rip = 0xfff0;
    x86_set_rflags(c, FL_1);
    reset_segments(c);
    c->cr2 = c->cr3 = c->cr4 = c->cr8 = 0;
    c->efer = 0;
    memset(c->dr, 0, sizeof c->dr);
    c->dr[6] = DR6_FIXED;
    c->dr[7] = DR7_FIXED;
    c->exc = (X86Exception) { .vector = -1 };
    c->held = (X86Held) { 0 };
    c->insn = &x86_no_insn;
    c->db_pending = 0;
    c->no_step = c->nmi_masked = c->in_exception_delivery = false;
    c->mwait_addr = ~0ull;
    c->msr.kernel_gs_base = 0;
    c->mode = 0;
    c->wait_sipi = c->vcpu.halted = !c->bsp;
    if (c->smm) {
        c->smm = false;
        if (c->apic_ops && c->apic_ops->smm)
            c->apic_ops->smm(c, false);
    }
    c->mmu->watch_any = false;
    x86_update_mode(c);
    x86_tlb_flush_all(c);
}

static void init_reset(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);

    c->cr0 = CR0_ET | (c->cr0 & (CR0_CD | CR0_NW));
    reset_common(c);
    vcpu_lower(v, VCPU_IRQ_NMI | VCPU_IRQ_SMI);         /* a start-up IPI may have followed already */
}

static void reset_fpu(X86Cpu *c)
{
    memset(&c->x87, 0, sizeof c->x87);
    c->x87.cw = 0x40;
    memset(c->vec, 0, sizeof c->vec);
    c->mxcsr = 0x1f80;
    c->xcr0 = XCR0_X87;
}

static void power_on(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    X86Msrs *m = &c->msr;

    c->cr0 = CR0_ET | CR0_CD | CR0_NW;
    reset_fpu(c);
    memset(m, 0, sizeof *m);
    m->pat = 0x0007040600070406ull;
    m->misc_enable = 1;
    m->mcg_ctl = ~0ull;
    for (unsigned i = 0; i < ARRAY_LEN(m->mce_banks); i += 4)
        m->mce_banks[i] = ~0ull;
    m->smbase = 0x30000;
    atomic_store(&v->irq, 0);
    reset_common(c);
}

/* Hyper-V's interfaces are an engine's, and few have them. */
static bool hv_possible(const Machine *m, const X86Model *model, int index, GError **err)
{
    if (!model->hv || !m->accel || m->accel_offers_pv)
        return true;
    if (model->enforce)
        return err_set(err, "-cpu %s: hv-* need KVM to run all of the guest; here it is %s", model->name, m->accel->name);
    if (!index && !model->unchecked)
        log_warn("-cpu %s: hv-* need KVM to run all of the guest; left out", model->name);
    return true;
}

X86Cpu *x86_cpu_new(Machine *m, const X86Model *model, int index, GError **err)
{
    X86Cpu *c = large_alloc(sizeof *c);         /* engines look at its tables all the time */

    if (!c) {
        err_set_errno(err, errno, "no memory for CPU %d", index);
        return NULL;
    }
    c->vcpu.machine = m;
    c->vcpu.ops = &x86_vcpu_ops;
    c->vcpu.index = index;
    c->vcpu.stopped = true;
    g_cond_init(&c->vcpu.wake);
    c->model = model;
    c->apic_id = (uint32_t)index;
    c->bsp = index == 0;
    c->mmu = g_new0(X86Mmu, 1);
    c->mmu->a20_mask = ~0ull;
    c->mmu->phys_mask = (1ull << x86_model_phys_bits(model)) - 1;
    c->mmu->next_asid = 1;
    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned i = 0; i < TLB_ENTRIES; i++)
            c->tlb[b][i] = (TlbEntry) { tlb_invalid(i), tlb_invalid(i), tlb_invalid(i), 0 };
    if (index > 0 && m->vcpus && m->vcpus->len) {
        c->tsc_offset = x86_cpu(g_ptr_array_index(m->vcpus, 0))->tsc_offset;
        c->tsc_still = x86_cpu(g_ptr_array_index(m->vcpus, 0))->tsc_still;
    } else {
        c->tsc_offset = 0 - x86_rdtsc(c);
    }
    power_on(&c->vcpu);
    if (!hv_possible(m, model, index, err) || (m->vcpus && !vcpu_attach(m, &c->vcpu, err))) {
        x86_cpu_free(c);
        return NULL;
    }
    if (!index && m->vcpus)
        machine_listen(m, tsc_run_state, m);
    return c;
}

void x86_cpu_free(X86Cpu *c)
{
    if (!c)
        return;
    if (c->vcpu.mem_view)
        flat_view_unref(c->vcpu.mem_view);
    if (c->vcpu.port_view)
        flat_view_unref(c->vcpu.port_view);
    g_cond_clear(&c->vcpu.wake);
    g_free(c->mmu);
    munmap(c, sizeof *c);
}

/* ---- saved state ---- */

static const StateDesc seg_state = { .name = "segment", .version = 1, .fields = (const StateField[]) {
    STATE_U64(X86Seg, base), STATE_U32(X86Seg, limit), STATE_U32(X86Seg, attr), STATE_U16(X86Seg, sel), STATE_END } };
static const StateDesc table_state = { .name = "table", .version = 1, .fields = (const StateField[]) {
    STATE_U64(X86Table, base), STATE_U16(X86Table, limit), STATE_END } };
static const StateDesc fp80_state = { .name = "fp80", .version = 1, .fields = (const StateField[]) {
    STATE_U64(X86Fp80, mant), STATE_U16(X86Fp80, se), STATE_END } };
static const StateDesc x87_state = { .name = "x87", .version = 1, .fields = (const StateField[]) {
    STATE_STRUCTS(X87, r, &fp80_state), STATE_U16(X87, cw), STATE_U16(X87, sw), STATE_UMAX(X87, top, 7),
    STATE_U8(X87, empty), STATE_U16(X87, fop), STATE_U64(X87, fip), STATE_U64(X87, fdp), STATE_U16(X87, fcs),
    STATE_U16(X87, fds), STATE_END } };
static const StateDesc vec_state = { .name = "vector", .version = 1, .fields = (const StateField[]) {
    STATE_UARRAY(X86Vec, q), STATE_END } };
static const StateDesc msr_state = { .name = "msrs", .version = 1, .fields = (const StateField[]) {
    STATE_U64(X86Msrs, star), STATE_U64(X86Msrs, lstar), STATE_U64(X86Msrs, cstar), STATE_U64(X86Msrs, fmask),
    STATE_U64(X86Msrs, kernel_gs_base), STATE_U64(X86Msrs, tsc_aux), STATE_U64(X86Msrs, tsc_adjust),
    STATE_U64(X86Msrs, sysenter_cs), STATE_U64(X86Msrs, sysenter_esp), STATE_U64(X86Msrs, sysenter_eip),
    STATE_U64(X86Msrs, pat), STATE_U64(X86Msrs, mtrr_def), STATE_UARRAY(X86Msrs, mtrr_fix),
    STATE_UARRAY(X86Msrs, mtrr_var), STATE_U64(X86Msrs, misc_enable), STATE_U64(X86Msrs, mcg_status),
    STATE_U64(X86Msrs, mcg_ctl), STATE_UARRAY(X86Msrs, mce_banks), STATE_U64(X86Msrs, smbase),
    STATE_U64(X86Msrs, spec_ctrl), STATE_U64(X86Msrs, feature_control), STATE_U64(X86Msrs, debugctl),
    STATE_UARRAY(X86Msrs, pv), STATE_UARRAY(X86Msrs, hv), STATE_END } };
static const StateDesc held_state = { .name = "held", .version = 1, .fields = (const StateField[]) {
    STATE_B(X86Held, valid), STATE_B(X86Held, has_error), STATE_B(X86Held, external), STATE_B(X86Held, soft),
    STATE_U8(X86Held, vector), STATE_U32(X86Held, error), STATE_END } };

static void cpu_saving(void *opaque)
{
    X86Cpu *c = opaque, *first = c;
    GPtrArray *all = c->vcpu.machine->vcpus;

    if (all && all->len)
        first = x86_cpu(g_ptr_array_index(all, 0));
    c->rflags_image = x86_get_rflags(c);
    c->tsc_image = x86_rdtsc(c);
    c->tsc_skew = c->tsc_offset - first->tsc_offset;
}

bool x86_modes_possible(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    if ((cr0 & CR0_PG) && !(cr0 & CR0_PE))
        return false;
    return !(efer & EFER_LMA) || ((cr0 & CR0_PG) && (efer & EFER_LME) && (cr4 & CR4_PAE));
}

/*
 * A guest that has switched on what this -cpu lacks would run on into faults it cannot expect. Where KVM runs all of the
 * guest, KVM judges that itself: its host may have more than the models know.
 */
static bool model_fits(const X86Cpu *c, GError **err)
{
    uint64_t cr4 = c->cr4 & ~x86_model_cr4_mask(c->model), efer = c->efer & ~x86_model_efer_mask(c->model);
    uint64_t xcr0 = c->xcr0 & ~x86_model_xcr0_mask(c->model);

    if (c->vcpu.machine->accel_offers_pv || !(cr4 | efer | xcr0))
        return true;
    return err_set(err, "CPU %d: this guest uses what -cpu %s does not have (CR4 %#" PRIx64 ", EFER %#" PRIx64 ", XCR0 %#" PRIx64
                   "); resume it with the -cpu it was saved with", c->vcpu.index, c->model->name, cr4, efer, xcr0);
}

static bool cpu_loaded(void *opaque, GError **err)
{
    X86Cpu *c = opaque, *first = c;
    GPtrArray *all = c->vcpu.machine->vcpus;

    if (!x86_modes_possible(c->cr0, c->cr4, c->efer))
        return err_set(err, "CPU %d: impossible CR0 %#" PRIx64 ", CR4 %#" PRIx64 ", EFER %#" PRIx64, c->vcpu.index, c->cr0, c->cr4, c->efer);
    if ((c->msr.pv[0] & 1) && !c->vcpu.machine->accel_offers_pv)
        return err_set(err, "CPU %d: this guest uses KVM's clock; resume it with -accel kvm, or save one that was started "
                       "with -cpu ...,kvm=off", c->vcpu.index);
    if (!model_fits(c, err))
        return false;
    if (all && all->len)
        first = x86_cpu(g_ptr_array_index(all, 0));
    if (first == c)
        c->tsc_offset = c->tsc_image - (x86_rdtsc(c) - c->tsc_offset);
    else
        c->tsc_offset = first->tsc_offset + c->tsc_skew;
    c->exc = (X86Exception) { .vector = -1 };
    c->insn = &x86_no_insn;
    c->in_exception_delivery = false;
    x86_set_rflags(c, c->rflags_image);
    x86_debug_dr7_changed(c);
    x86_tlb_flush_all(c);
    return true;
}

static const StateField cpu_fields[] = {
    STATE_UARRAY(X86Cpu, gpr), STATE_U64(X86Cpu, rip), STATE_U64(X86Cpu, rflags_image), STATE_U32(X86Cpu, mode),
    STATE_U32(X86Cpu, mxcsr), STATE_STRUCTS(X86Cpu, seg, &seg_state), STATE_U64(X86Cpu, tsc_image),
    STATE_U64(X86Cpu, tsc_skew), STATE_U64(X86Cpu, cr0), STATE_U64(X86Cpu, cr2), STATE_U64(X86Cpu, cr3),
    STATE_U64(X86Cpu, cr4), STATE_U64(X86Cpu, cr8), STATE_U64(X86Cpu, xcr0), STATE_U64(X86Cpu, efer),
    STATE_UARRAY(X86Cpu, dr), STATE_STRUCT(X86Cpu, gdtr, &table_state), STATE_STRUCT(X86Cpu, idtr, &table_state),
    STATE_STRUCT(X86Cpu, msr, &msr_state), STATE_STRUCT(X86Cpu, held, &held_state), STATE_B(X86Cpu, nmi_masked), STATE_B(X86Cpu, smm),
    STATE_UARRAY(X86Cpu, pdpte), STATE_U64(X86Cpu, mwait_addr), STATE_B(X86Cpu, wait_sipi),
    STATE_U32(X86Cpu, db_pending), STATE_STRUCT(X86Cpu, x87, &x87_state),
    STATE_STRUCTS(X86Cpu, vec, &vec_state), STATE_F_(X86Cpu, vcpu.halted, STATE_BOOL, 1, 1),
    STATE_F_(X86Cpu, vcpu.irq, STATE_UINT, 4, 1), STATE_END
};
static const StateDesc cpu_state = { .name = "cpu", .version = 1, .fields = cpu_fields,
                                     .saving = cpu_saving, .loaded = cpu_loaded };

static bool has_work(Vcpu *v)
{
    return x86_irq_deliverable(x86_cpu(v)) || x86_cpu(v)->db_pending || x86_cpu(v)->held.valid;
}

static void flush_tlb(Vcpu *v) { x86_tlb_flush_all(x86_cpu(v)); }

static void free_vcpu(Vcpu *v) { x86_cpu_free(x86_cpu(v)); }

const VcpuOps x86_vcpu_ops = { .has_work = has_work, .reset = power_on, .init_reset = init_reset,
                               .describe = x86_describe, .flush_tlb = flush_tlb,
                               .state = &cpu_state, .free = free_vcpu };
