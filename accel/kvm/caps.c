/*
 * caps: the device, its version, and what it can.
 *
 * Linux Documentation/virt/kvm/api.rst, sections 4 and 8. What is missing is done without where a
 * guest cannot tell; the four of needed[] are in every Linux since 4.13.
 */
#include "accel/kvm/kvm_int.h"

#include <errno.h>
#include <fcntl.h>

/* Newer than some headers. */
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif

int kvm_open_device(const KvmSys *sys, GError **err)
{
    int fd = sys->open("/dev/kvm", O_RDWR | O_CLOEXEC), e = errno;

    if (fd >= 0)
        return fd;
    switch (e) {
    case ENOENT:
        err_set(err, "/dev/kvm does not exist (turn on virtualization in the firmware setup and load kvm_intel or kvm_amd; "
                     "in a container, start it with --device /dev/kvm)");
        break;
    case EACCES:
        err_set(err, "no permission for /dev/kvm (sudo usermod -aG kvm $USER, then log in again; or a udev rule: "
                     "KERNEL==\"kvm\", MODE=\"0666\")");
        break;
    case EPERM:
        err_set(err, "this container may not use /dev/kvm (start it with --device /dev/kvm)");
        break;
    case ENODEV:
    case ENXIO:
        err_set(err, "/dev/kvm has no driver behind it (modprobe kvm_intel or kvm_amd)");
        break;
    default:
        err_set_errno(err, e, "/dev/kvm");
    }
    return -1;
}

bool kvm_check_api(const KvmSys *sys, int dev, GError **err)
{
    static const struct { int cap; const char *what; } needed[] = {
        { KVM_CAP_USER_MEMORY, "user memory slots" }, { KVM_CAP_EXT_CPUID, "CPUID control" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" }, { KVM_CAP_XSAVE, "XSAVE state" },
    };
    int version = sys->ioctl(dev, KVM_GET_API_VERSION, NULL);

    if (version != KVM_API_VERSION)
        return err_set(err, "/dev/kvm speaks API version %d, not %d", version, KVM_API_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (sys->ioctl(dev, KVM_CHECK_EXTENSION, kvm_num(needed[i].cap)) <= 0)
            return err_set(err, "this host's KVM lacks %s: it needs Linux 4.13 or newer", needed[i].what);
    }
    return true;
}

static unsigned has(const KvmVm *vm, unsigned cap)
{
    int r = kvm_vm_ioctl(vm, KVM_CHECK_EXTENSION, kvm_num(cap));

    return r > 0 ? r : 0;
}

void kvm_read_caps(KvmVm *vm)
{
    KvmCaps *c = &vm->caps;

    *c = (KvmCaps) {
        .slots = has(vm, KVM_CAP_NR_MEMSLOTS), .readonly_mem = has(vm, KVM_CAP_READONLY_MEM),
        .irqchip = has(vm, KVM_CAP_IRQCHIP), .split = has(vm, KVM_CAP_SPLIT_IRQCHIP),
        .routing = has(vm, KVM_CAP_IRQ_ROUTING), .signal_msi = has(vm, KVM_CAP_SIGNAL_MSI),
        .pit = has(vm, KVM_CAP_PIT2) && has(vm, KVM_CAP_PIT_STATE2), .irqfd = has(vm, KVM_CAP_IRQFD),
        .resample = has(vm, KVM_CAP_IRQFD_RESAMPLE), .ioeventfd = has(vm, KVM_CAP_IOEVENTFD),
        .ioeventfd_any = has(vm, KVM_CAP_IOEVENTFD_ANY_LENGTH), .coalesced = has(vm, KVM_CAP_COALESCED_MMIO),
        .coalesced_pio = has(vm, KVM_CAP_COALESCED_PIO), .xcrs = has(vm, KVM_CAP_XCRS),
        .debugregs = has(vm, KVM_CAP_DEBUGREGS), .vcpu_events = has(vm, KVM_CAP_VCPU_EVENTS),
        .smm = has(vm, KVM_CAP_X86_SMM) && has(vm, KVM_CAP_MULTI_ADDRESS_SPACE) > 1, .mce_banks = has(vm, KVM_CAP_MCE),
        .guest_debug = has(vm, KVM_CAP_SET_GUEST_DEBUG), .tsc_control = has(vm, KVM_CAP_TSC_CONTROL),
        .tsc_deadline = has(vm, KVM_CAP_TSC_DEADLINE_TIMER), .triple_fault = has(vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT),
        .exception_payload = has(vm, KVM_CAP_EXCEPTION_PAYLOAD), .hyperv = has(vm, KVM_CAP_HYPERV_CPUID),
        .halt_poll = has(vm, KVM_CAP_HALT_POLL), .boot_cpu = has(vm, KVM_CAP_SET_BOOT_CPU_ID),
        .dirty_ring = MAX(has(vm, KVM_CAP_DIRTY_LOG_RING), has(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL)),
        .disable_exits = has(vm, KVM_CAP_X86_DISABLE_EXITS), .xsave_size = has(vm, KVM_CAP_XSAVE2),
        .nested_size = has(vm, KVM_CAP_NESTED_STATE), .clock_flags = has(vm, KVM_CAP_ADJUST_CLOCK),
    };
    if (!c->slots)
        c->slots = 32;
    c->xsave_size = MAX(c->xsave_size, sizeof(struct kvm_xsave));
    c->nested = c->nested_size >= sizeof(struct kvm_nested_state) && c->nested_size <= 64 * KiB;
    c->mce = c->mce_banks > 0;
}

bool kvm_enable_cap(KvmVm *vm, unsigned cap, uint64_t arg)
{
    struct kvm_enable_cap e = { .cap = cap, .args = { arg } };

    return kvm_vm_ioctl(vm, KVM_ENABLE_CAP, &e) == 0;
}
