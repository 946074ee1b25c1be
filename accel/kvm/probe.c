/*
 * probe: believes the clock, not the capability list.
 *
 * Some hosts offer a /dev/kvm that works but emulates guest kernel code one instruction at a time
 * (about 1.6 million a second). A millisecond of ring-0 code, on a vcpu with a local APIC and the CPUID,
 * counter and model-specific registers that the engine would give the guest's processors, tells them
 * apart, and hosts that refuse such a processor.
 */
#include "accel/kvm/kvm_int.h"

#include <errno.h>
#include <string.h>

enum { LOOPS = 2500, INSNS = 2 * LOOPS, SLOW_MIPS = 20, TRIES = 4, PAGE = 4096, PAGES = 6, PML4 = PAGE, PDPT = 2 * PAGE, PD = 3 * PAGE };
enum { IDT = 4 * PAGE, GDT = 5 * PAGE, HANDLER = 0x80, STACK = 0xf00, VECTOR = 0x40 };

typedef struct Probe {
    const KvmSys *sys;
    int vm, vcpu, run_size;
    struct kvm_run *run;
    uint8_t *mem;
    bool irqchip;
} Probe;

/* Just enough of a machine for the engine's own code to set up a processor. */
typedef struct Trial {
    KvmVm vm;
    KvmVcpu vcpu;
} Trial;

/* mov ecx, LOOPS; 1: dec ecx; jnz 1b; out 0x80, al   (the same in 32-bit and 64-bit code; at 0) */
static const uint8_t code[] = { 0xb9, LOOPS & 0xff, LOOPS >> 8, 0, 0, 0xff, 0xc9, 0x75, 0xfc, 0xe6, 0x80 };
/* out 0x80, al: the handler of VECTOR */
static const uint8_t handler[] = { 0xe6, 0x80 };

static int vcpu_ioctl(const Probe *p, unsigned long req, void *arg)
{
    return p->sys->ioctl(p->vcpu, req, arg);
}

static bool create(Probe *p, int dev, GError **err)
{
    struct kvm_userspace_memory_region r = { .memory_size = PAGES * PAGE };

    p->vm = p->sys->ioctl(dev, KVM_CREATE_VM, NULL);
    if (p->vm < 0)
        return err_set_errno(err, errno, "KVM cannot create a virtual machine%s",
                             errno == EBUSY ? " (another hypervisor, such as VirtualBox, has the processor)" : "");
    p->mem = g_aligned_alloc0(PAGES, PAGE, PAGE);
    memcpy(p->mem, code, sizeof code);
    st64_le(p->mem + PML4, PDPT | 7);
    st64_le(p->mem + PDPT, PD | 7);
    st64_le(p->mem + PD, 0x87);         /* a page of 2 MiB */
    memcpy(p->mem + HANDLER, handler, sizeof handler);
    st64_le(p->mem + IDT + 16 * VECTOR, HANDLER | 8 << 16 | 0x8e00ull << 32);
    st64_le(p->mem + GDT + 8, 0x00af9b000000ffff);
    st64_le(p->mem + GDT + 16, 0x00cf93000000ffff);
    r.userspace_addr = (uintptr_t)p->mem;
    if (p->sys->ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &r))
        return err_set_errno(err, errno, "KVM refused guest memory");
    p->irqchip = !p->sys->ioctl(p->vm, KVM_CREATE_IRQCHIP, NULL);       /* done without where it fails */
    p->vcpu = p->sys->ioctl(p->vm, KVM_CREATE_VCPU, NULL);
    p->run_size = p->sys->ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (p->vcpu < 0 || p->run_size < (int)sizeof *p->run)
        return err_set_errno(err, errno, "KVM cannot create a vcpu");
    p->run = p->sys->mmap(p->run_size, p->vcpu, 0);
    return p->run || err_set_errno(err, errno, "KVM vcpu memory");
}

static struct kvm_segment segment(uint8_t type, bool code64)
{
    return (struct kvm_segment) { .limit = 0xffffffff, .selector = type & 8 ? 8 : 16, .type = type, .present = 1, .s = 1, .g = 1,
                                  .l = code64, .db = !code64 };
}

static bool give_all(const Probe *p, int dev, GError **err)
{
    g_autofree struct kvm_cpuid2 *cpuid = kvm_read_cpuid(p->sys, dev, KVM_GET_SUPPORTED_CPUID);

    return (cpuid && !vcpu_ioctl(p, KVM_SET_CPUID2, cpuid)) || err_set_errno(err, errno, "KVM refused its own CPU model");
}

/* The engine's own steps, in its order (kvm.c's vcpu_create, then the first entry). */
static bool set_up_processor(Trial *t, X86Cpu *c, GError **err)
{
    KvmVm *vm = &t->vm;

    c->vcpu.engine = &t->vcpu;
    if (!kvm_check_model(vm, c->model, false, err) || !kvm_hyperv_init(&t->vcpu, c->model, false, err))
        return false;
    if (!kvm_set_cpuid(vm, c, err))
        return err_prefix(err, "-cpu %s", c->model->name);
    if (!kvm_tsc_init(&t->vcpu, c, err))
        return false;
    kvm_mce_init(&t->vcpu);
    return kvm_msrs_try(c, err) || err_prefix(err, "-cpu %s", c->model->name);
}

static bool give_model(const Probe *p, int dev, const X86Model *model, GError **err)
{
    g_autofree Trial *t = g_new0(Trial, 1);
    Machine *m = machine_new(true);     /* of no engine, which would create a vcpu of its own */
    X86Cpu *c = x86_cpu_new(m, model, 0, err);
    bool ok = false;

    if (!c)
        goto done;
    t->vm = (KvmVm) { .sys = p->sys, .dev = dev, .vm = p->vm, .run_size = p->run_size, .machine = m,
                      .irqchip = p->irqchip ? IRQCHIP_ON : IRQCHIP_OFF };
    t->vcpu = (KvmVcpu) { .vm = &t->vm, .fd = p->vcpu, .run = p->run };
    kvm_read_caps(&t->vm);
    kvm_msrs_init(&t->vm);
    t->vm.supported = kvm_read_cpuid(p->sys, dev, KVM_GET_SUPPORTED_CPUID);
    ok = t->vm.supported ? set_up_processor(t, c, err) : err_set(err, "KVM does not say how its vcpus look");
    g_free(t->vm.supported);
    g_free(t->vm.hv_supported);
    c->vcpu.engine = NULL;
done:
    machine_free(m);
    return ok;
}

static bool set_up(Probe *p, int dev, const X86Model *model, GError **err)
{
    bool code64 = !model || x86_model_has(model, FEAT_LM);
    struct kvm_regs regs = { .rflags = 2 };
    struct kvm_sregs s;

    if (!create(p, dev, err) || !(model ? give_model(p, dev, model, err) : give_all(p, dev, err)))
        return false;
    if (vcpu_ioctl(p, KVM_GET_SREGS, &s))
        return err_set_errno(err, errno, "KVM vcpu registers");
    s.cs = segment(11, code64);
    s.ds = s.es = s.fs = s.gs = s.ss = segment(3, false);
    s.idt = (struct kvm_dtable) { .base = IDT, .limit = PAGE - 1 };
    s.gdt = (struct kvm_dtable) { .base = GDT, .limit = 23 };
    s.cr3 = PML4;
    s.cr4 = code64 ? CR4_PAE : 0;
    s.cr0 = CR0_PE | CR0_ET | CR0_NE | (code64 ? CR0_PG : 0);
    s.efer = code64 ? EFER_LME | EFER_LMA : 0;
    return (!vcpu_ioctl(p, KVM_SET_SREGS, &s) && !vcpu_ioctl(p, KVM_SET_REGS, &regs)) ||
           err_set_errno(err, errno, "KVM vcpu registers");
}

static void tear_down(Probe *p)
{
    if (p->run)
        p->sys->munmap(p->run, p->run_size);
    if (p->vcpu >= 0)
        p->sys->close(p->vcpu);
    if (p->vm >= 0)
        p->sys->close(p->vm);
    g_aligned_free(p->mem);
}

/* One turn of the loop; its time in microseconds, or -1 with err. */
static int64_t run_once(Probe *p, GError **err)
{
    struct kvm_regs regs = { .rflags = 2 };
    int64_t start, us;
    int r;

    if (vcpu_ioctl(p, KVM_SET_REGS, &regs)) {
        err_set_errno(err, errno, "KVM vcpu registers");
        return -1;
    }
    start = g_get_monotonic_time();
    do {
        r = vcpu_ioctl(p, KVM_RUN, NULL);
    } while (r < 0 && (errno == EINTR || errno == EAGAIN));
    us = MAX(g_get_monotonic_time() - start, 1);
    if (r < 0) {
        err_set_errno(err, errno, "KVM cannot run guest code");
        return -1;
    }
    if (p->run->exit_reason != KVM_EXIT_IO) {
        const char *name = kvm_exit_name(p->run->exit_reason);

        err_set(err, "KVM left a loop of two instructions with %s (reason %u)", name ? name : "an unknown exit", p->run->exit_reason);
        return -1;
    }
    return us;
}

/* The best of a few turns: other work on the host may get in the way of one. */
static bool run(Probe *p, KvmSpeed *speed, GError **err)
{
    int64_t us = INT64_MAX;

    for (unsigned i = 0; i < TRIES && us > INSNS / SLOW_MIPS; i++) {
        int64_t t = run_once(p, err);

        if (t < 0)
            return false;
        us = MIN(us, t);
    }
    speed->runs = true;
    speed->ring0_mips = (double)INSNS / us;
    speed->fast = speed->ring0_mips >= SLOW_MIPS;
    return speed->fast ||
           err_set(err, "/dev/kvm runs guest kernel code at %.1f million instructions a second: this host emulates it "
                        "(-accel kvm takes it all the same)", speed->ring0_mips);
}

/*
 * Does the kernel's local APIC keep what is in service? One emulating host acknowledges a vector and
 * forgets it, so that priorities and EOIs of its controllers are of no use.
 */
static bool run_apic(Probe *p)
{
    enum { SVR = 0xf0, IRR = 0x200, ISR = 0x100, WORD = VECTOR / 32 * 16 };
    struct kvm_lapic_state s;
    struct kvm_regs regs = { .rflags = 2 | FL_IF, .rsp = STACK };

    if (vcpu_ioctl(p, KVM_GET_LAPIC, &s))
        return false;
    st32_le((uint8_t *)s.regs + SVR, 0x1ff);
    st32_le((uint8_t *)s.regs + IRR + WORD, 1u << VECTOR % 32);
    if (vcpu_ioctl(p, KVM_SET_LAPIC, &s) || vcpu_ioctl(p, KVM_SET_REGS, &regs))
        return false;
    for (unsigned i = 0; i < 10 && vcpu_ioctl(p, KVM_RUN, NULL) < 0; i++) {
        if (errno != EINTR && errno != EAGAIN)
            return false;
    }
    return p->run->exit_reason == KVM_EXIT_IO && !vcpu_ioctl(p, KVM_GET_LAPIC, &s) &&
           ld32_le((uint8_t *)s.regs + ISR + WORD);
}

bool kvm_probe_apic(const KvmSys *sys, int dev)
{
    Probe p = { .sys = sys, .vm = -1, .vcpu = -1 };
    g_autoptr(GError) ignored = NULL;
    bool ok = set_up(&p, dev, NULL, &ignored) && run_apic(&p);

    tear_down(&p);
    return ok;
}

bool kvm_probe_speed(const KvmSys *sys, int dev, const X86Model *model, KvmSpeed *speed, GError **err)
{
    Probe p = { .sys = sys, .vm = -1, .vcpu = -1 };
    bool ok;

    *speed = (KvmSpeed) { 0 };
    ok = set_up(&p, dev, model, err) && run(&p, speed, err);
    speed->apic = ok && p.irqchip && run_apic(&p);
    tear_down(&p);
    return ok;
}
