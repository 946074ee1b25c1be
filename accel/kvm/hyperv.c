/*
 * hyperv: the enlightenments that Windows guests know (-cpu hv-*).
 *
 * Microsoft Hypervisor Top Level Functional Specification, 2.4 (CPUID leaves). KVM implements them;
 * what this host's KVM lacks is left out with a warning, or is an error under `enforce`.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

enum { LEAF = 0x40000000, MAX_LEAF = 0x4000000a };
enum { FEATURES = 3, ADVICE = 4, NESTED = 10 };

/* By X86_HV_*: the bits of leaves 3 and 4, and what else it needs. */
static const struct { const char *name; uint32_t eax3, edx3, eax4; } parts[X86_HV_COUNT] = {
    [X86_HV_RELAXED] = { "hv-relaxed", 0, 0, 1u << 5 },
    [X86_HV_VAPIC] = { "hv-vapic", 1u << 4, 0, 1u << 3 },
    [X86_HV_TIME] = { "hv-time", 1u << 1 | 1u << 9, 0, 0 },
    [X86_HV_CRASH] = { "hv-crash", 0, 1u << 10, 0 },
    [X86_HV_RESET] = { "hv-reset", 1u << 7, 0, 0 },
    [X86_HV_VPINDEX] = { "hv-vpindex", 1u << 6, 0, 0 },
    [X86_HV_RUNTIME] = { "hv-runtime", 1u << 0, 0, 0 },
    [X86_HV_SYNIC] = { "hv-synic", 1u << 2, 0, 0 },
    [X86_HV_STIMER] = { "hv-stimer", 1u << 3, 0, 0 },
    [X86_HV_STIMER_DIRECT] = { "hv-stimer-direct", 0, 1u << 19, 0 },
    [X86_HV_FREQUENCIES] = { "hv-frequencies", 1u << 11, 1u << 8, 0 },
    [X86_HV_REENLIGHTENMENT] = { "hv-reenlightenment", 1u << 13, 0, 0 },
    [X86_HV_TLBFLUSH] = { "hv-tlbflush", 0, 0, 1u << 2 | 1u << 11 },
    [X86_HV_IPI] = { "hv-ipi", 0, 0, 1u << 10 | 1u << 11 },
    [X86_HV_AVIC] = { "hv-avic", 0, 0, 1u << 9 },
    [X86_HV_SPINLOCKS] = { "hv-spinlocks", 0, 0, 0 },
};

static const struct kvm_cpuid_entry2 *offered(const KvmVm *vm, unsigned leaf)
{
    for (uint32_t i = 0; vm->hv_supported && i < vm->hv_supported->nent; i++) {
        if (vm->hv_supported->entries[i].function == LEAF + leaf)
            return &vm->hv_supported->entries[i];
    }
    return NULL;
}

static bool has_part(const KvmVm *vm, unsigned n)
{
    const struct kvm_cpuid_entry2 *f = offered(vm, FEATURES), *a = offered(vm, ADVICE);

    return vm->hv_supported && (!parts[n].eax3 || (f && (f->eax & parts[n].eax3) == parts[n].eax3)) &&
           (!parts[n].edx3 || (f && (f->edx & parts[n].edx3) == parts[n].edx3)) &&
           (!parts[n].eax4 || (a && (a->eax & parts[n].eax4)));
}

bool kvm_hyperv_init(KvmVcpu *k, const X86Model *model, bool warn, GError **err)
{
    KvmVm *vm = k->vm;
    struct kvm_enable_cap synic = { .cap = KVM_CAP_HYPERV_SYNIC2 };

    if (!model->hv)
        return true;
    if (!vm->hv_supported)
        vm->hv_supported = vm->caps.hyperv ? kvm_read_cpuid(vm->sys, vm->dev, KVM_GET_SUPPORTED_HV_CPUID) : NULL;
    for (unsigned n = 0; n < X86_HV_COUNT; n++) {
        if (!(model->hv >> n & 1) || has_part(vm, n))
            continue;
        if (model->enforce)
            return err_set(err, "-cpu %s: this host's KVM lacks it", parts[n].name);
        if (warn && !model->unchecked)
            log_warn("-cpu %s: this host's KVM lacks it; left out", parts[n].name);
    }
    if (!(model->hv >> X86_HV_SYNIC & 1) || !has_part(vm, X86_HV_SYNIC))
        return true;
    if (vm->irqchip == IRQCHIP_OFF)
        return err_set(err, "-cpu hv-synic needs -machine kernel-irqchip=on");
    return kvm_ioctl(k, KVM_ENABLE_CAP, &synic) == 0 || err_set_errno(err, errno, "KVM cannot start hv-synic");
}

static void leaf(struct kvm_cpuid2 *out, unsigned room, unsigned n, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    if (out->nent < room)
        out->entries[out->nent++] = (struct kvm_cpuid_entry2) { .function = LEAF + n, .eax = a, .ebx = b, .ecx = c,
                                                                .edx = d };
}

void kvm_hyperv_cpuid(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, unsigned room)
{
    const X86Model *m = c->model;
    uint32_t eax3 = 1u << 5, edx3 = 0, eax4 = 0, vendor[3] = { 0 };     /* 1 << 5: hypercall registers */
    const char *name = *m->hv_vendor ? m->hv_vendor : "Microsoft Hv";

    for (unsigned n = 0; n < X86_HV_COUNT; n++) {
        if (!(m->hv >> n & 1) || !has_part(vm, n))
            continue;
        eax3 |= parts[n].eax3;
        edx3 |= parts[n].edx3;
        eax4 |= parts[n].eax4;
    }
    memcpy(vendor, name, MIN(strlen(name), sizeof vendor));
    leaf(out, room, 0, MAX_LEAF, vendor[0], vendor[1], vendor[2]);
    leaf(out, room, 1, 0x31237648, 0, 0, 0);                            /* "Hv#1" */
    leaf(out, room, 2, 0x3839, 0x000a0000, 0, 0);                       /* version 10.0, build 14393 */
    leaf(out, room, FEATURES, eax3, 0, 0, edx3);
    leaf(out, room, ADVICE, eax4, m->hv_spinlocks, 0, 0);
    leaf(out, room, 5, vm->machine->vcpus->len + 1 > 240 ? vm->machine->vcpus->len + 1 : 240, 64, 0, 0);
    leaf(out, room, 6, 0, 0, 0, 0);
    leaf(out, room, NESTED, 0, 0, 0, 0);
}
