/*
 * regs: architectural state between X86Cpu and the kernel: general, segment and control registers,
 * FPU and vector state (XSAVE standard format), events under way, debug registers.
 *
 * The struct is a cache: pulled when somebody looks, pushed before the next entry when somebody
 * changed it.
 */
#include "accel/kvm/kvm_int.h"

#include "target/x86/regs.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

/* SDM vol. 1, 13.4: offsets in the standard XSAVE area. */
enum { XS_FCW = 0, XS_FSW = 2, XS_FTW = 4, XS_FOP = 6, XS_FIP = 8, XS_FDP = 16, XS_MXCSR = 24, XS_ST = 32, XS_XMM = 160,
       XS_BV = 512, XS_AVX = 576 };

static void seg_out(struct kvm_segment *k, const X86Seg *s)
{
    *k = (struct kvm_segment) {
        .base = s->base, .limit = s->limit, .selector = s->sel, .type = SEG_TYPE(s->attr), .s = !!(s->attr & SEG_S),
        .dpl = SEG_DPL(s->attr), .present = !!(s->attr & SEG_P), .avl = !!(s->attr & SEG_AVL), .l = !!(s->attr & SEG_L),
        .db = !!(s->attr & SEG_DB), .g = !!(s->attr & SEG_G), .unusable = !(s->attr & SEG_P),
    };
}

void kvm_seg_in(X86Seg *s, const struct kvm_segment *k)
{
    s->base = k->base;
    s->limit = k->limit;
    s->sel = k->selector;
    s->attr = k->type << 8 | k->s << 12 | k->dpl << 13 | k->present << 15 | k->avl << 20 | k->l << 21 | k->db << 22 |
              (uint32_t)k->g << 23;
    if (k->unusable)
        s->attr &= ~SEG_P;
}

void kvm_sregs_out(const X86Cpu *c, struct kvm_sregs *s)
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
    kvm_seg_in(&c->seg[S_ES], &s->es);
    kvm_seg_in(&c->seg[S_CS], &s->cs);
    kvm_seg_in(&c->seg[S_SS], &s->ss);
    kvm_seg_in(&c->seg[S_DS], &s->ds);
    kvm_seg_in(&c->seg[S_FS], &s->fs);
    kvm_seg_in(&c->seg[S_GS], &s->gs);
    kvm_seg_in(&c->seg[S_LDTR], &s->ldt);
    kvm_seg_in(&c->seg[S_TR], &s->tr);
    c->gdtr = (X86Table) { s->gdt.base, s->gdt.limit };
    c->idtr = (X86Table) { s->idt.base, s->idt.limit };
    c->cr0 = s->cr0;
    c->cr2 = s->cr2;
    c->cr3 = s->cr3;
    c->cr4 = s->cr4;
    c->efer = s->efer;
}

/* KVM numbers general registers RAX RBX RCX RDX RSI RDI RSP RBP R8...; we as the encoding does. */
void kvm_regs_out(X86Cpu *c, struct kvm_regs *r)
{
    uint64_t *g = c->gpr;

    *r = (struct kvm_regs) {
        .rax = g[R_RAX], .rbx = g[R_RBX], .rcx = g[R_RCX], .rdx = g[R_RDX], .rsi = g[R_RSI], .rdi = g[R_RDI],
        .rsp = g[R_RSP], .rbp = g[R_RBP], .r8 = g[8], .r9 = g[9], .r10 = g[10], .r11 = g[11], .r12 = g[12],
        .r13 = g[13], .r14 = g[14], .r15 = g[15], .rip = c->rip, .rflags = x86_get_rflags(c),
    };
}

void kvm_regs_in(X86Cpu *c, const struct kvm_regs *r)
{
    const uint64_t g[16] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                             r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

    memcpy(c->gpr, g, sizeof g);
    c->rip = r->rip;
    x86_set_rflags(c, r->rflags);
}

void kvm_xsave_out(const X86Cpu *c, uint8_t *b)
{
    const X87 *f = &c->x87;

    st16_le(b + XS_FCW, f->cw);
    st16_le(b + XS_FSW, x87_sw(c));
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

void kvm_xsave_in(X86Cpu *c, const uint8_t *b)
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
    c->mxcsr = ld32_le(b + XS_MXCSR);           /* there whatever bv says (SDM vol. 1, 13.7) */
    for (int i = 0; i < 16; i++) {
        memset(c->vec[i].b, 0, sizeof c->vec[i].b);
        if (bv & XCR0_SSE)
            memcpy(c->vec[i].b, b + XS_XMM + 16 * i, 16);
        if (bv & XCR0_AVX)
            memcpy(c->vec[i].b + 16, b + XS_AVX + 16 * i, 16);
    }
}

/* --- events under way --- */

static void events_out(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_vcpu_events ev = { .flags = KVM_VCPUEVENT_VALID_NMI_PENDING };

    if (!k->vm->caps.vcpu_events)
        return;
    ev.nmi.masked = c->nmi_masked;
    if (c->held.valid && c->held.external) {
        ev.interrupt.injected = c->held.vector != EXC_NMI;
        ev.nmi.injected = c->held.vector == EXC_NMI;
        ev.interrupt.nr = c->held.vector;
        ev.interrupt.soft = c->held.soft;
    } else if (c->held.valid) {
        ev.exception.injected = 1;
        ev.exception.nr = c->held.vector;
        ev.exception.has_error_code = c->held.has_error;
        ev.exception.error_code = c->held.error;
    }
    if (c->mode & MODE_SHADOW) {
        ev.flags |= KVM_VCPUEVENT_VALID_SHADOW;
        ev.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
    }
    if (k->vm->caps.smm) {
        ev.flags |= KVM_VCPUEVENT_VALID_SMM;
        ev.smi.smm = c->smm;
        ev.smi.smm_inside_nmi = c->smm && c->nmi_masked;
    }
    if (kvm_ioctl(k, KVM_SET_VCPU_EVENTS, &ev))
        log_warn("KVM refused the pending events of CPU %d: %s", c->vcpu.index, g_strerror(errno));
}

static void events_in(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_vcpu_events ev = { 0 };

    c->held = (X86Held) { 0 };
    if (!k->vm->caps.vcpu_events || kvm_ioctl(k, KVM_GET_VCPU_EVENTS, &ev))
        return;
    c->nmi_masked = ev.nmi.masked;
    if (ev.exception.injected || ev.exception.pending)
        c->held = (X86Held) { .valid = true, .vector = ev.exception.nr, .has_error = ev.exception.has_error_code,
                              .error = ev.exception.error_code };
    else if (ev.interrupt.injected)
        c->held = (X86Held) { .valid = true, .vector = ev.interrupt.nr, .external = true, .soft = ev.interrupt.soft };
    else if (ev.nmi.injected)
        c->held = (X86Held) { .valid = true, .vector = EXC_NMI, .external = true };
    if (ev.nmi.pending)
        vcpu_raise(&c->vcpu, VCPU_IRQ_NMI);
    c->mode = ev.interrupt.shadow ? c->mode | MODE_SHADOW : c->mode & ~(uint32_t)MODE_SHADOW;
    c->smm = ev.smi.smm;
}

static void debug_out(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_debugregs dr = { .db = { c->dr[0], c->dr[1], c->dr[2], c->dr[3] }, .dr6 = c->dr[6], .dr7 = c->dr[7] };

    if (k->vm->caps.debugregs && kvm_ioctl(k, KVM_SET_DEBUGREGS, &dr))
        log_warn("KVM refused the debug registers of CPU %d: %s", c->vcpu.index, g_strerror(errno));
}

static void debug_in(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_debugregs dr = { 0 };

    if (!k->vm->caps.debugregs || kvm_ioctl(k, KVM_GET_DEBUGREGS, &dr))
        return;
    memcpy(c->dr, dr.db, sizeof dr.db);
    c->dr[6] = dr.dr6;
    c->dr[7] = dr.dr7;
}

/* --- nested guests: opaque to us, so a state with one under way goes to KVM only --- */

static void nested_out(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);

    if (k->nested && k->nested->size && kvm_ioctl(k, KVM_SET_NESTED_STATE, k->nested))
        log_warn("KVM refused the nested guest of CPU %d: %s", c->vcpu.index, g_strerror(errno));
}

static void nested_in(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    unsigned size = k->vm->caps.nested_size;

    if (!k->vm->caps.nested)
        return;
    if (!k->nested)
        k->nested = g_malloc0(size);
    k->nested->size = size;
    if (kvm_ioctl(k, KVM_GET_NESTED_STATE, k->nested))
        k->nested->size = 0;
}

/* --- everything --- */

static bool core_out(X86Cpu *c, GError **err)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_regs r;
    struct kvm_sregs s = { 0 };
    struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = c->xcr0 | XCR0_X87 } } };
    g_autofree uint8_t *xs = g_malloc0(k->vm->caps.xsave_size);

    kvm_sregs_out(c, &s);
    kvm_regs_out(c, &r);
    kvm_xsave_out(c, xs);
    if (kvm_ioctl(k, KVM_SET_SREGS, &s))
        return err_set_errno(err, errno, "KVM refused the segment and control registers (CR0 %#llx, CR4 %#llx, EFER %#llx)",
                             s.cr0, s.cr4, s.efer);
    if (kvm_ioctl(k, KVM_SET_REGS, &r))
        return err_set_errno(err, errno, "KVM refused the general registers");
    if (k->vm->caps.xcrs && kvm_ioctl(k, KVM_SET_XCRS, &x))
        log_warn("KVM refused XCR0 %#" G_GINT64_MODIFIER "x: %s", c->xcr0, g_strerror(errno));
    return kvm_ioctl(k, KVM_SET_XSAVE, xs) == 0 || err_set_errno(err, errno, "KVM refused the vector state");
}

bool kvm_push_now(X86Cpu *c, GError **err)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    bool full = k->push == PUSH_FULL;

    if (!core_out(c, err))
        return false;
    kvm_msrs_out(c, full);
    if (full) {
        kvm_lapic_transfer(c, true);
        kvm_deadline_out(c);
        kvm_mp_transfer(c, true);
        nested_out(c);
    }
    events_out(c);
    debug_out(c);
    k->push = PUSH_NONE;
    return true;
}

static bool core_in(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_regs r;
    struct kvm_sregs s;
    struct kvm_xcrs x = { 0 };
    g_autofree uint8_t *xs = g_malloc0(k->vm->caps.xsave_size);
    unsigned long get_xsave = k->vm->caps.xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;

    if (kvm_ioctl(k, KVM_GET_REGS, &r) || kvm_ioctl(k, KVM_GET_SREGS, &s) || kvm_ioctl(k, get_xsave, xs)) {
        log_warn("KVM does not tell the registers of CPU %d: %s", c->vcpu.index, g_strerror(errno));
        return false;
    }
    sregs_in(c, &s);
    kvm_regs_in(c, &r);
    k->apic_base = s.apic_base;
    if (k->vm->caps.xcrs && !kvm_ioctl(k, KVM_GET_XCRS, &x) && x.nr_xcrs)
        c->xcr0 = x.xcrs[0].value;
    kvm_xsave_in(c, xs);
    return true;
}

bool kvm_pull_now(X86Cpu *c)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);

    if (!core_in(c))
        return false;
    kvm_msrs_in(c);
    kvm_lapic_transfer(c, false);
    kvm_mp_transfer(c, false);
    nested_in(c);
    events_in(c);
    debug_in(c);
    x86_update_mode(c);
    k->pulled = true;
    return true;
}

void kvm_pull(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    if (!k->user && k->push == PUSH_NONE && !k->pulled)
        kvm_pull_now(x86_cpu(v));
    k->pulled = true;
}

void kvm_push(Vcpu *v)
{
    kvm_vcpu(v)->push = PUSH_FULL;
}
