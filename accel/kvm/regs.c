/*
 * regs: architectural state between X86Cpu and the kernel: general and segment registers, control
 * registers, FPU and vector state (XSAVE standard format), MSRs, CPUID.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* SDM vol. 1, 13.4: offsets in the standard XSAVE area. */
enum { XS_FCW = 0, XS_FSW = 2, XS_FTW = 4, XS_FOP = 6, XS_FIP = 8, XS_FDP = 16, XS_MXCSR = 24, XS_ST = 32, XS_XMM = 160,
       XS_BV = 512, XS_AVX = 576 };

static const struct { uint32_t msr; uint32_t off; } msrs[] = {
#define M(n, f) { n, offsetof(X86Cpu, msr.f) }
    M(0x174, sysenter_cs), M(0x175, sysenter_esp), M(0x176, sysenter_eip), M(0xc0000081, star), M(0xc0000082, lstar),
    M(0xc0000083, cstar), M(0xc0000084, fmask), M(0xc0000102, kernel_gs_base), M(0xc0000103, tsc_aux), M(0x277, pat),
    M(0x3b, tsc_adjust), M(0x2ff, mtrr_def), M(0x1a0, misc_enable), M(0x48, spec_ctrl),
    M(0x250, mtrr_fix[0]), M(0x258, mtrr_fix[1]), M(0x259, mtrr_fix[2]), M(0x268, mtrr_fix[3]), M(0x269, mtrr_fix[4]),
    M(0x26a, mtrr_fix[5]), M(0x26b, mtrr_fix[6]), M(0x26c, mtrr_fix[7]), M(0x26d, mtrr_fix[8]), M(0x26e, mtrr_fix[9]),
    M(0x26f, mtrr_fix[10]), M(0x200, mtrr_var[0]), M(0x201, mtrr_var[1]), M(0x202, mtrr_var[2]), M(0x203, mtrr_var[3]),
    M(0x204, mtrr_var[4]), M(0x205, mtrr_var[5]), M(0x206, mtrr_var[6]), M(0x207, mtrr_var[7]), M(0x208, mtrr_var[8]),
    M(0x209, mtrr_var[9]), M(0x20a, mtrr_var[10]), M(0x20b, mtrr_var[11]), M(0x20c, mtrr_var[12]), M(0x20d, mtrr_var[13]),
    M(0x20e, mtrr_var[14]), M(0x20f, mtrr_var[15]),
#undef M
};
typedef struct OneMsr { struct kvm_msrs h; struct kvm_msr_entry e; } OneMsr;

static void seg_out(struct kvm_segment *k, const X86Seg *s)
{
    *k = (struct kvm_segment) {
        .base = s->base, .limit = s->limit, .selector = s->sel, .type = SEG_TYPE(s->attr), .s = !!(s->attr & SEG_S),
        .dpl = SEG_DPL(s->attr), .present = !!(s->attr & SEG_P), .avl = !!(s->attr & SEG_AVL), .l = !!(s->attr & SEG_L),
        .db = !!(s->attr & SEG_DB), .g = !!(s->attr & SEG_G), .unusable = !(s->attr & SEG_P),
    };
}

static void seg_in(X86Seg *s, const struct kvm_segment *k)
{
    s->base = k->base;
    s->limit = k->limit;
    s->sel = k->selector;
    s->attr = k->type << 8 | k->s << 12 | k->dpl << 13 | k->present << 15 | k->avl << 20 | k->l << 21 | k->db << 22 |
              (uint32_t)k->g << 23;
    if (k->unusable)
        s->attr &= ~SEG_P;
}

static void sregs_out(const X86Cpu *c, struct kvm_sregs *s)
{
    seg_out(&s->es, &c->seg[S_ES]);
    seg_out(&s->cs, &c->seg[S_CS]);
    seg_out(&s->ss, &c->seg[S_SS]);
    seg_out(&s->ds, &c->seg[S_DS]);
    seg_out(&s->fs, &c->seg[S_FS]);
    seg_out(&s->gs, &c->seg[S_GS]);
    seg_out(&s->ldt, &c->seg[S_LDTR]);
    seg_out(&s->tr, &c->seg[S_TR]);
    s->gdt.base = c->gdtr.base;
    s->gdt.limit = c->gdtr.limit;
    s->idt.base = c->idtr.base;
    s->idt.limit = c->idtr.limit;
    s->cr0 = c->cr0;
    s->cr2 = c->cr2;
    s->cr3 = c->cr3;
    s->cr4 = c->cr4;
    s->cr8 = c->apic_ops ? c->apic_ops->get_tpr((X86Cpu *)c) : c->cr8;
    s->efer = c->efer;
    s->apic_base = c->apic_ops ? c->apic_ops->get_base((X86Cpu *)c) : 0xfee00900;
    memset(s->interrupt_bitmap, 0, sizeof s->interrupt_bitmap);
}

static void sregs_in(X86Cpu *c, const struct kvm_sregs *s)
{
    seg_in(&c->seg[S_ES], &s->es);
    seg_in(&c->seg[S_CS], &s->cs);
    seg_in(&c->seg[S_SS], &s->ss);
    seg_in(&c->seg[S_DS], &s->ds);
    seg_in(&c->seg[S_FS], &s->fs);
    seg_in(&c->seg[S_GS], &s->gs);
    seg_in(&c->seg[S_LDTR], &s->ldt);
    seg_in(&c->seg[S_TR], &s->tr);
    c->gdtr = (X86Table) { s->gdt.base, s->gdt.limit };
    c->idtr = (X86Table) { s->idt.base, s->idt.limit };
    c->cr0 = s->cr0;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
}

/* KVM numbers general registers RAX RBX RCX RDX RSI RDI RSP RBP R8...; we as the encoding does. */
static void regs_out(X86Cpu *c, struct kvm_regs *r)
{
    uint64_t *g = c->gpr;

    *r = (struct kvm_regs) {
        .rax = g[R_RAX], .rbx = g[R_RBX], .rcx = g[R_RCX], .rdx = g[R_RDX], .rsi = g[R_RSI], .rdi = g[R_RDI],
        .rsp = g[R_RSP], .rbp = g[R_RBP], .r8 = g[8], .r9 = g[9], .r10 = g[10], .r11 = g[11], .r12 = g[12],
        .r13 = g[13], .r14 = g[14], .r15 = g[15], .rip = c->rip, .rflags = x86_get_rflags(c),
    };
}

static void regs_in(X86Cpu *c, const struct kvm_regs *r)
{
    const uint64_t g[16] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                             r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

    memcpy(c->gpr, g, sizeof g);
    c->rip = r->rip;
    x86_set_rflags(c, r->rflags);
}

static void xsave_out(const X86Cpu *c, uint8_t *b)
{
    const X87 *f = &c->x87;

    st16_le(b + XS_FCW, f->cw);
    st16_le(b + XS_FSW, (f->sw & ~0x3800) | f->top << 11);
    b[XS_FTW] = ~f->empty;
    st16_le(b + XS_FOP, f->fop);
    st64_le(b + XS_FIP, f->fip);
    st64_le(b + XS_FDP, f->fdp);
    st32_le(b + XS_MXCSR, c->mxcsr);
    st32_le(b + XS_MXCSR + 4, 0xffff);
    for (int i = 0; i < 8; i++) {
        const X86Fp80 *r = &f->r[(f->top + i) & 7];

        st64_le(b + XS_ST + 16 * i, r->mant);
        st16_le(b + XS_ST + 16 * i + 8, r->se);
    }
    for (int i = 0; i < 16; i++) {
        memcpy(b + XS_XMM + 16 * i, c->vec[i].b, 16);
        memcpy(b + XS_AVX + 16 * i, c->vec[i].b + 16, 16);
    }
    st64_le(b + XS_BV, XCR0_X87 | XCR0_SSE | (c->xcr0 & XCR0_AVX));
}

static void xsave_in(X86Cpu *c, const uint8_t *b)
{
    X87 *f = &c->x87;
    uint64_t bv = ld64_le(b + XS_BV);

    if (bv & XCR0_X87) {
        f->cw = ld16_le(b + XS_FCW);
        f->sw = ld16_le(b + XS_FSW) & ~0x3800;
        f->top = ld16_le(b + XS_FSW) >> 11 & 7;
        f->empty = ~b[XS_FTW];
        f->fop = ld16_le(b + XS_FOP);
        f->fip = ld64_le(b + XS_FIP);
        f->fdp = ld64_le(b + XS_FDP);
        for (int i = 0; i < 8; i++) {
            X86Fp80 *r = &f->r[(f->top + i) & 7];

            r->mant = ld64_le(b + XS_ST + 16 * i);
            r->se = ld16_le(b + XS_ST + 16 * i + 8);
        }
    } else {                    /* initial state */
        *f = (X87) { .cw = 0x37f, .empty = 0xff };
    }
    c->mxcsr = bv & (XCR0_SSE | XCR0_AVX) ? ld32_le(b + XS_MXCSR) : 0x1f80;
    for (int i = 0; i < 16; i++) {
        memset(c->vec[i].b, 0, sizeof c->vec[i].b);
        if (bv & XCR0_SSE)
            memcpy(c->vec[i].b, b + XS_XMM + 16 * i, 16);
        if (bv & XCR0_AVX)
            memcpy(c->vec[i].b + 16, b + XS_AVX + 16 * i, 16);
    }
}

static void msrs_transfer(X86Cpu *c, bool to_kernel)
{
    int fd = kvm_vcpu(&c->vcpu)->fd;

    for (size_t i = 0; i < ARRAY_LEN(msrs); i++) {
        uint64_t *field = (uint64_t *)(void *)((char *)c + msrs[i].off);
        OneMsr m = { .h.nmsrs = 1, .e = { .index = msrs[i].msr, .data = *field } };

        /* One at a time: a register this host's KVM refuses costs only itself. */
        if (ioctl(fd, to_kernel ? KVM_SET_MSRS : KVM_GET_MSRS, &m) == 1 && !to_kernel)
            *field = m.e.data;
        else if (to_kernel)
            trace(kvm_msr, "set %#x", msrs[i].msr);
    }
    if (to_kernel) {
        OneMsr m = { .h.nmsrs = 1, .e = { .index = 0x10, .data = x86_rdtsc(c) } };

        ioctl(fd, KVM_SET_MSRS, &m);
    }
}

static void events_transfer(X86Cpu *c, bool to_kernel)
{
    int fd = kvm_vcpu(&c->vcpu)->fd;
    struct kvm_vcpu_events ev = { 0 };
    struct kvm_debugregs dr = { 0 };

    if (to_kernel) {
        ev.nmi.masked = c->nmi_masked;
        ev.flags = KVM_VCPUEVENT_VALID_NMI_PENDING;
        ioctl(fd, KVM_SET_VCPU_EVENTS, &ev);
        memcpy(dr.db, c->dr, sizeof dr.db);
        dr.dr6 = c->dr[6];
        dr.dr7 = c->dr[7];
        ioctl(fd, KVM_SET_DEBUGREGS, &dr);
        return;
    }
    if (!ioctl(fd, KVM_GET_VCPU_EVENTS, &ev))
        c->nmi_masked = ev.nmi.masked;
    if (!ioctl(fd, KVM_GET_DEBUGREGS, &dr)) {
        memcpy(c->dr, dr.db, sizeof dr.db);
        c->dr[6] = dr.dr6;
        c->dr[7] = dr.dr7;
    }
}

bool kvm_push_now(X86Cpu *c, GError **err)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_regs r;
    struct kvm_sregs s = { 0 };
    struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = c->xcr0 | XCR0_X87 } } };
    g_autofree struct kvm_xsave *xs = g_malloc0(MAX(sizeof(struct kvm_xsave), 8192));

    sregs_out(c, &s);
    regs_out(c, &r);
    xsave_out(c, (uint8_t *)xs);
    if (ioctl(k->fd, KVM_SET_SREGS, &s))
        return err_set_errno(err, errno, "KVM refused the segment and control registers (CR0 %#llx, CR4 %#llx, EFER %#llx)",
                             s.cr0, s.cr4, s.efer);
    if (ioctl(k->fd, KVM_SET_REGS, &r))
        return err_set_errno(err, errno, "KVM refused the general registers");
    ioctl(k->fd, KVM_SET_XCRS, &x);
    if (ioctl(k->fd, KVM_SET_XSAVE, xs))
        return err_set_errno(err, errno, "KVM refused the vector state");
    msrs_transfer(c, true);
    events_transfer(c, true);
    k->push_all = false;
    return true;
}

void kvm_pull_now(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_regs r;
    struct kvm_sregs s;
    struct kvm_xcrs x = { 0 };
    g_autofree struct kvm_xsave *xs = g_malloc0(MAX(sizeof(struct kvm_xsave), 8192));

    if (ioctl(k->fd, KVM_GET_REGS, &r) || ioctl(k->fd, KVM_GET_SREGS, &s) || ioctl(k->fd, KVM_GET_XSAVE, xs))
        return;
    sregs_in(c, &s);
    regs_in(c, &r);
    if (!ioctl(k->fd, KVM_GET_XCRS, &x) && x.nr_xcrs)
        c->xcr0 = x.xcrs[0].value;
    xsave_in(c, (uint8_t *)xs);
    msrs_transfer(c, false);
    events_transfer(c, false);
    x86_update_mode(c);
    k->pulled = true;
}

struct kvm_cpuid2 *kvm_supported_cpuid(int dev)
{
    for (unsigned n = 64; n <= 1024; n *= 2) {
        struct kvm_cpuid2 *c = g_malloc0(sizeof *c + n * sizeof c->entries[0]);

        c->nent = n;
        if (!ioctl(dev, KVM_GET_SUPPORTED_CPUID, c))
            return c;
        g_free(c);
        if (errno != E2BIG)
            return NULL;
    }
    return NULL;
}

/* What the kernel can do of a feature leaf; leaves without feature bits pass as the model says. */
static void filter(const KvmVm *vm, struct kvm_cpuid_entry2 *e)
{
    static const uint32_t feature_leaves[] = { 1, 7, 0xd, 0x80000001, 0x80000007, 0x80000008 };
    const struct kvm_cpuid_entry2 *s = NULL;
    bool features = false;

    for (size_t i = 0; i < ARRAY_LEN(feature_leaves); i++)
        features |= e->function == feature_leaves[i];
    for (uint32_t i = 0; i < vm->supported->nent; i++) {
        const struct kvm_cpuid_entry2 *x = &vm->supported->entries[i];

        if (x->function == e->function && (!(x->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || x->index == e->index))
            s = x;
    }
    if (!features)
        return;
    if (e->function == 1) {
        e->ecx &= s ? s->ecx : 0;
        e->edx &= s ? s->edx : 0;
        e->ecx |= 1u << 31;
        e->ecx &= ~(1u << 21 | 1u << 24);       /* x2APIC and TSC deadline need the kernel's APIC */
        e->edx |= 1u << 9;
    } else if (e->function == 7) {
        e->ebx &= s ? s->ebx : 0;
        e->ecx &= s ? s->ecx : 0;
        e->edx &= s ? s->edx : 0;
    } else if (e->function == 0xd && e->index == 1) {
        e->eax &= s ? s->eax : 0;
    } else if (e->function == 0x80000001) {
        e->ecx &= s ? s->ecx : 0;
        e->edx &= s ? s->edx : 0;
    }
}

enum { CPUID_MAX = 100 };

static void add_leaf(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, uint32_t leaf, uint32_t sub, bool indexed)
{
    struct kvm_cpuid_entry2 *e = &out->entries[out->nent];
    uint32_t r[4];

    if (out->nent >= CPUID_MAX)
        return;
    x86_cpuid(c, leaf, sub, r);
    *e = (struct kvm_cpuid_entry2) { .function = leaf, .index = sub, .eax = r[0], .ebx = r[1], .ecx = r[2], .edx = r[3],
                                     .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
    filter(vm, e);
    out->nent++;
}

bool kvm_set_cpuid(KvmVm *vm, X86Cpu *c, GError **err)
{
    static const uint32_t bases[] = { 0, 0x40000000, 0x80000000 };
    g_autofree struct kvm_cpuid2 *out = g_malloc0(sizeof *out + CPUID_MAX * sizeof out->entries[0]);

    for (size_t b = 0; b < ARRAY_LEN(bases); b++) {
        uint32_t r[4], max;

        x86_cpuid(c, bases[b], 0, r);
        max = r[0] >= bases[b] && r[0] < bases[b] + 0x100 ? r[0] : bases[b];
        for (uint32_t leaf = bases[b]; leaf <= max; leaf++) {
            bool indexed = leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd;

            for (uint32_t sub = 0; sub < (leaf == 4 || leaf == 0xb || leaf == 0xd ? 4u : indexed ? 2u : 1u); sub++)
                add_leaf(vm, c, out, leaf, sub, indexed);
        }
    }
    return !ioctl(kvm_vcpu(&c->vcpu)->fd, KVM_SET_CPUID2, out) || err_set_errno(err, errno, "KVM refused the CPU model");
}
