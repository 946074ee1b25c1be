/*
 * clock: the guest's paravirtual clock, and its time stamp counter's frequency.
 *
 * The kernel's clock runs on while the machine stands: it is read at a stop and set back at the
 * start, so that the guest sees no time pass. In between it is part of the first processor's state, so
 * that a saved guest goes on at its own time. Linux Documentation/virt/kvm/api.rst 4.29, 4.55.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

static void run_state_changed(void *opaque, MachineEvent ev, const char *detail)
{
    KvmVm *vm = opaque;

    struct kvm_clock_data c = { 0 };
    uint64_t *kept;

    if (!vm->machine->vcpus->len)
        return;
    kept = &x86_cpu(vm->machine->vcpus->pdata[0])->msr.pv[KVM_PV_CLOCK];
    if (ev == EVENT_STOP) {
        *kept = kvm_vm_ioctl(vm, KVM_GET_CLOCK, &c) ? 0 : c.clock;
    } else if (ev == EVENT_RESUME && *kept) {
        c.clock = *kept;
        kvm_vm_ioctl(vm, KVM_SET_CLOCK, &c);
        for (unsigned i = 0; i < vm->machine->vcpus->len; i++)          /* a guest's watchdog shall not bark */
            kvm_ioctl(kvm_vcpu(g_ptr_array_index(vm->machine->vcpus, i)), KVM_KVMCLOCK_CTRL, NULL);
    }
}

void kvm_clock_init(KvmVm *vm)
{
    if (vm->caps.clock_flags)
        machine_listen(vm->machine, run_state_changed, vm);
}

bool kvm_tsc_init(KvmVcpu *k, X86Cpu *c, GError **err)
{
    uint64_t khz = c->model->tsc_hz / 1000;
    int now = kvm_ioctl(k, KVM_GET_TSC_KHZ, NULL);

    if (!khz || (now > 0 && ABS((int64_t)khz - now) <= now / 4000))     /* 250 ppm: guests do not notice */
        return true;
    if (!k->vm->caps.tsc_control && now > 0)
        return err_set(err, "-cpu tsc-frequency=%" G_GUINT64_FORMAT ": this processor's counter runs at %d kHz and cannot be scaled",
                       c->model->tsc_hz, now);
    return kvm_ioctl(k, KVM_SET_TSC_KHZ, kvm_num(khz)) == 0 ||
           err_set_errno(err, errno, "KVM refused a time stamp counter of %" G_GUINT64_FORMAT " kHz", khz);
}
