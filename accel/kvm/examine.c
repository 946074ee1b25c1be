/* examine: what "quern doctor" tells of this host's KVM. */
#include "accel/kvm/kvm_int.h"

typedef void FactFn(void *opaque, const char *name, const char *value);

static void capabilities(const KvmSys *sys, int dev, FactFn *fact, void *opaque)
{
    static const struct { int cap; const char *name; } known[] = {
        { KVM_CAP_IRQCHIP, "irqchip" }, { KVM_CAP_SPLIT_IRQCHIP, "split-irqchip" }, { KVM_CAP_PIT2, "pit" },
        { KVM_CAP_IRQ_ROUTING, "irq-routing" }, { KVM_CAP_SIGNAL_MSI, "msi" }, { KVM_CAP_IRQFD, "irqfd" },
        { KVM_CAP_IRQFD_RESAMPLE, "irqfd-resample" }, { KVM_CAP_IOEVENTFD, "ioeventfd" },
        { KVM_CAP_COALESCED_MMIO, "coalesced-mmio" }, { KVM_CAP_COALESCED_PIO, "coalesced-pio" },
        { KVM_CAP_READONLY_MEM, "readonly-memory" }, { KVM_CAP_DIRTY_LOG_RING_ACQ_REL, "dirty-ring" },
        { KVM_CAP_X86_SMM, "smm" }, { KVM_CAP_NESTED_STATE, "nested" }, { KVM_CAP_MCE, "mce" },
        { KVM_CAP_SET_GUEST_DEBUG, "guest-debug" }, { KVM_CAP_TSC_CONTROL, "tsc-scaling" },
        { KVM_CAP_TSC_DEADLINE_TIMER, "tsc-deadline" }, { KVM_CAP_HYPERV_CPUID, "hyper-v" },
        { KVM_CAP_ADJUST_CLOCK, "kvmclock" }, { KVM_CAP_X86_DISABLE_EXITS, "cpu-pm" }, { KVM_CAP_HALT_POLL, "halt-poll" },
        { KVM_CAP_XSAVE2, "xsave2" },
    };
    g_autoptr(GString) has = g_string_new(NULL), lacks = g_string_new(NULL);

    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        GString *s = sys->ioctl(dev, KVM_CHECK_EXTENSION, kvm_num(known[i].cap)) > 0 ? has : lacks;

        g_string_append_printf(s, "%s%s", s->len ? " " : "", known[i].name);
    }
    fact(opaque, "has", has->str);
    fact(opaque, "lacks", lacks->str);
}

static void examine_device(const KvmSys *sys, int dev, const X86Model *model, FactFn *fact, void *opaque)
{
    g_autoptr(GError) slow = NULL;
    g_autofree char *mips = NULL;
    KvmSpeed speed;

    kvm_probe_speed(sys, dev, model, &speed, &slow);
    mips = g_strdup_printf("%.1f", speed.ring0_mips);
    if (model)
        fact(opaque, "probed-with-cpu", model->name);
    fact(opaque, "runs-guest-code", speed.runs ? "yes" : "no");
    fact(opaque, "kernel-code-mips", mips);
    fact(opaque, "hardware-speed", speed.fast ? "yes" : "no");
    fact(opaque, "kernel-code-runs-in", !speed.runs ? "nothing" : speed.fast ? "kvm" : "the interpreter (user code in kvm)");
    if (slow)
        fact(opaque, "advice", "leave -accel alone: auto takes jit here");
    fact(opaque, "kernel-irqchip-works", kvm_probe_apic(sys, dev) ? "yes" : "no");
    capabilities(sys, dev, fact, opaque);
}

void kvm_examine(const void *cpu_model, FactFn *fact, void *opaque)
{
    const KvmSys *sys = &kvm_sys_host;
    g_autoptr(GError) err = NULL;
    int dev = kvm_open_device(sys, &err);

    if (dev >= 0 && kvm_check_api(sys, dev, &err))
        examine_device(sys, dev, cpu_model, fact, opaque);
    if (err)
        fact(opaque, "problem", err->message);
    if (dev >= 0)
        sys->close(dev);
}
