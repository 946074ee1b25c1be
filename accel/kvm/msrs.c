/*
 * msrs: the model-specific registers that are part of a processor's state.
 *
 * All that KVM_GET_MSR_INDEX_LIST names travel in one request. KVM stops at the first it refuses:
 * that one is remembered as refused, and the rest goes on without it, so a register this host will
 * not set (0x10a on hosts that offer but do not keep it) costs only itself.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

enum { MSR_TSC = 0x10, MSR_TSC_DEADLINE = 0x6e0, MSR_PV_WALL = 0x4b564d00, MSR_PV_SYSTEM, MSR_PV_ASYNC, MSR_PV_STEAL,
       MSR_PV_EOI, MSR_PV_POLL, MSR_PV_ASYNC_INT };
enum { WHEN_RUN, WHEN_FULL };   /* FULL: only after reset and load; the guest's clock would jump */

#define M(n, f, w) { n, offsetof(X86Cpu, msr.f), w }
static const struct { uint32_t msr, off; uint8_t when; } msrs[] = {
    M(0x174, sysenter_cs, WHEN_RUN), M(0x175, sysenter_esp, WHEN_RUN), M(0x176, sysenter_eip, WHEN_RUN),
    M(0xc0000081, star, WHEN_RUN), M(0xc0000082, lstar, WHEN_RUN), M(0xc0000083, cstar, WHEN_RUN),
    M(0xc0000084, fmask, WHEN_RUN), M(0xc0000102, kernel_gs_base, WHEN_RUN), M(0xc0000103, tsc_aux, WHEN_RUN),
    M(0x277, pat, WHEN_RUN), M(0x1a0, misc_enable, WHEN_RUN), M(0x48, spec_ctrl, WHEN_RUN),
    M(0x3a, feature_control, WHEN_FULL), M(0x1d9, debugctl, WHEN_RUN), M(0x9e, smbase, WHEN_FULL),
    M(0x3b, tsc_adjust, WHEN_FULL), M(0x17a, mcg_status, WHEN_FULL), M(0x17b, mcg_ctl, WHEN_FULL),
    M(0x2ff, mtrr_def, WHEN_FULL),
    M(0x250, mtrr_fix[0], WHEN_FULL), M(0x258, mtrr_fix[1], WHEN_FULL), M(0x259, mtrr_fix[2], WHEN_FULL),
    M(0x268, mtrr_fix[3], WHEN_FULL), M(0x269, mtrr_fix[4], WHEN_FULL), M(0x26a, mtrr_fix[5], WHEN_FULL),
    M(0x26b, mtrr_fix[6], WHEN_FULL), M(0x26c, mtrr_fix[7], WHEN_FULL), M(0x26d, mtrr_fix[8], WHEN_FULL),
    M(0x26e, mtrr_fix[9], WHEN_FULL), M(0x26f, mtrr_fix[10], WHEN_FULL),
    M(0x200, mtrr_var[0], WHEN_FULL), M(0x201, mtrr_var[1], WHEN_FULL), M(0x202, mtrr_var[2], WHEN_FULL),
    M(0x203, mtrr_var[3], WHEN_FULL), M(0x204, mtrr_var[4], WHEN_FULL), M(0x205, mtrr_var[5], WHEN_FULL),
    M(0x206, mtrr_var[6], WHEN_FULL), M(0x207, mtrr_var[7], WHEN_FULL), M(0x208, mtrr_var[8], WHEN_FULL),
    M(0x209, mtrr_var[9], WHEN_FULL), M(0x20a, mtrr_var[10], WHEN_FULL), M(0x20b, mtrr_var[11], WHEN_FULL),
    M(0x20c, mtrr_var[12], WHEN_FULL), M(0x20d, mtrr_var[13], WHEN_FULL), M(0x20e, mtrr_var[14], WHEN_FULL),
    M(0x20f, mtrr_var[15], WHEN_FULL),
    M(MSR_PV_SYSTEM, pv[0], WHEN_FULL), M(MSR_PV_WALL, pv[1], WHEN_FULL), M(MSR_PV_ASYNC_INT, pv[2], WHEN_FULL),
    M(MSR_PV_ASYNC, pv[3], WHEN_FULL), M(MSR_PV_STEAL, pv[4], WHEN_FULL), M(MSR_PV_EOI, pv[5], WHEN_FULL),
    M(MSR_PV_POLL, pv[6], WHEN_FULL),
    M(0x40000000, hv[0], WHEN_FULL), M(0x40000001, hv[1], WHEN_FULL), M(0x40000021, hv[2], WHEN_FULL),
    M(0x40000073, hv[3], WHEN_FULL), M(0x40000083, hv[4], WHEN_FULL), M(0x40000080, hv[5], WHEN_FULL),
};
#undef M
enum { ROW_TSC = ARRAY_LEN(msrs), ROW_DEADLINE, MSRS_MAX };
_Static_assert((int)MSRS_MAX <= (int)KVM_MSR_ROWS, "KvmVm.msr_off is too short");

typedef struct MsrBatch { struct kvm_msrs h; struct kvm_msr_entry e[MSRS_MAX]; } MsrBatch;

/* Not in KVM_GET_MSR_INDEX_LIST, but KVM keeps them. */
static bool unlisted(uint32_t msr)
{
    return (msr >= 0x200 && msr <= 0x2ff);
}

static int row_of(uint32_t msr)
{
    for (size_t i = 0; i < ARRAY_LEN(msrs); i++) {
        if (msrs[i].msr == msr)
            return i;
    }
    return msr == MSR_TSC ? ROW_TSC : msr == MSR_TSC_DEADLINE ? ROW_DEADLINE : -1;
}

static bool wanted(const KvmVm *vm, uint32_t msr)
{
    int row = row_of(msr);

    return row >= 0 && !atomic_load(&vm->msr_off[row]);
}

static void refuse(KvmVm *vm, uint32_t msr, const char *what)
{
    int row = row_of(msr);

    trace(kvm_msr, "%s %#x refused", what, msr);
    if (row >= 0)
        atomic_store(&vm->msr_off[row], true);
}

static bool listed(const struct kvm_msr_list *l, uint32_t msr)
{
    for (uint32_t i = 0; i < l->nmsrs; i++) {
        if (l->indices[i] == msr)
            return true;
    }
    return unlisted(msr);
}

void kvm_msrs_init(KvmVm *vm)
{
    struct kvm_msr_list ask = { 0 };
    g_autofree struct kvm_msr_list *l = NULL;

    kvm_dev_ioctl(vm, KVM_GET_MSR_INDEX_LIST, &ask);    /* fails with E2BIG and the number */
    if (!ask.nmsrs || ask.nmsrs > 4096)
        return;
    l = g_malloc0(sizeof *l + ask.nmsrs * sizeof l->indices[0]);
    l->nmsrs = ask.nmsrs;
    if (kvm_dev_ioctl(vm, KVM_GET_MSR_INDEX_LIST, l))
        return;
    l->nmsrs = MIN(l->nmsrs, ask.nmsrs);
    for (size_t i = 0; i < ARRAY_LEN(msrs); i++)
        atomic_store(&vm->msr_off[i], !listed(l, msrs[i].msr));
    atomic_store(&vm->msr_off[ROW_DEADLINE], !listed(l, MSR_TSC_DEADLINE));
}

static void add(MsrBatch *b, uint32_t msr, uint64_t value)
{
    if (b->h.nmsrs < MSRS_MAX)
        b->e[b->h.nmsrs++] = (struct kvm_msr_entry) { .index = msr, .data = value };
}

/* Sends b; what is refused is left out and remembered. On reading, refused entries get index 0. */
static void transfer(KvmVcpu *k, MsrBatch *b, bool to_kernel)
{
    g_autofree MsrBatch *part = g_new0(MsrBatch, 1);
    unsigned done = 0;

    while (done < b->h.nmsrs) {
        int n;

        part->h.nmsrs = b->h.nmsrs - done;
        memcpy(part->e, b->e + done, part->h.nmsrs * sizeof part->e[0]);
        n = kvm_ioctl(k, to_kernel ? KVM_SET_MSRS : KVM_GET_MSRS, part);
        n = CLAMP(n, 0, (int)part->h.nmsrs);
        if (!to_kernel)
            memcpy(b->e + done, part->e, n * sizeof part->e[0]);
        done += n;
        if (done < b->h.nmsrs) {
            refuse(k->vm, b->e[done].index, to_kernel ? "set" : "get");
            b->e[done++].index = 0;
        }
    }
}

void kvm_msrs_out(X86Cpu *c, bool full)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    g_autofree MsrBatch *b = g_new0(MsrBatch, 1);

    if (full)
        add(b, MSR_TSC, x86_rdtsc(c));
    for (size_t i = 0; i < ARRAY_LEN(msrs); i++) {
        uint64_t v = *(const uint64_t *)(const void *)((const char *)c + msrs[i].off);

        if ((full || msrs[i].when == WHEN_RUN) && wanted(k->vm, msrs[i].msr))
            add(b, msrs[i].msr, v);
    }
    transfer(k, b, true);
}

bool kvm_msrs_try(X86Cpu *c, GError **err)
{
    static const struct { uint32_t msr; const char *name; unsigned feat; } needed[] = {
        { 0x174, "SYSENTER_CS", FEAT_SEP }, { 0x175, "SYSENTER_ESP", FEAT_SEP }, { 0x176, "SYSENTER_EIP", FEAT_SEP },
        { 0xc0000081, "STAR", FEAT_SYSCALL }, { 0xc0000082, "LSTAR", FEAT_SYSCALL }, { 0xc0000084, "FMASK", FEAT_SYSCALL },
        { 0xc0000102, "KERNEL_GS_BASE", FEAT_LM }, { 0x277, "PAT", FEAT_PAT } };
    KvmVm *vm = kvm_vcpu(&c->vcpu)->vm;
    bool had[ARRAY_LEN(needed)];

    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        had[i] = wanted(vm, needed[i].msr);
    kvm_msrs_out(c, true);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (had[i] && !wanted(vm, needed[i].msr) && x86_model_has(c->model, needed[i].feat))
            return err_set(err, "KVM refused the model-specific register %#x (%s), which guests need", needed[i].msr, needed[i].name);
    }
    return true;
}

/* After the local APIC: its timer mode decides whether the deadline is taken. */
void kvm_deadline_out(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    g_autofree MsrBatch *b = g_new0(MsrBatch, 1);
    X86ApicRegs r;

    if (k->vm->irqchip == IRQCHIP_OFF || !c->apic_ops || !wanted(k->vm, MSR_TSC_DEADLINE))
        return;
    c->apic_ops->get_regs(c, &r);
    add(b, MSR_TSC_DEADLINE, r.tsc_deadline);
    transfer(k, b, true);
}

void kvm_msrs_in(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    g_autofree MsrBatch *b = g_new0(MsrBatch, 1);
    uint64_t *to[MSRS_MAX] = { 0 }, tsc = 0;

    to[b->h.nmsrs] = &tsc;
    add(b, MSR_TSC, 0);
    if (wanted(k->vm, MSR_TSC_DEADLINE)) {
        to[b->h.nmsrs] = &k->tsc_deadline;
        add(b, MSR_TSC_DEADLINE, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(msrs); i++) {
        if (wanted(k->vm, msrs[i].msr)) {
            to[b->h.nmsrs] = (uint64_t *)(void *)((char *)c + msrs[i].off);
            add(b, msrs[i].msr, 0);
        }
    }
    transfer(k, b, false);
    for (unsigned i = 0; i < b->h.nmsrs; i++) {
        if (b->e[i].index)
            *to[i] = b->e[i].data;
    }
    if (tsc)
        c->tsc_offset += tsc - x86_rdtsc(c);
}
