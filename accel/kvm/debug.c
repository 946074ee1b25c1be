/*
 * debug: breakpoints and single step for a debugger outside the guest.
 *
 * Up to four breakpoints in debug registers of the processor, apart from those the guest sees.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

/* Arms what the vcpu's debug_* say. */
static bool arm(KvmVcpu *k)
{
    struct kvm_guest_debug d = { 0 };

    if (k->debug_count || k->debug_step)
        d.control = KVM_GUESTDBG_ENABLE | (k->debug_step ? KVM_GUESTDBG_SINGLESTEP : 0);
    if (k->debug_count)
        d.control |= KVM_GUESTDBG_USE_HW_BP;
    d.arch.debugreg[7] = 0x400;
    for (unsigned i = 0; i < k->debug_count; i++) {
        d.arch.debugreg[i] = k->debug_pc[i];
        d.arch.debugreg[7] |= 2u << 2 * i;
    }
    return kvm_ioctl(k, KVM_SET_GUEST_DEBUG, &d) == 0;
}

bool kvm_debug(Vcpu *v, const uint64_t *pc, unsigned n, bool step)
{
    KvmVcpu *k = kvm_vcpu(v);

    if (k->user || !k->vm->caps.guest_debug || n > KVM_DEBUG_MAX)
        return false;
    memcpy(k->debug_pc, pc, n * sizeof *pc);
    k->debug_count = n;
    k->debug_step = step;
    if (arm(k))
        return true;
    log_warn("KVM refused guest debugging on CPU %d: %s", v->index, g_strerror(errno));
    return false;
}

static bool ours(const KvmVcpu *k, uint64_t pc)
{
    for (unsigned i = 0; i < k->debug_count; i++) {
        if (k->debug_pc[i] == pc)
            return true;
    }
    return k->debug_step;
}

/* A debug event that no debugger asked for is the guest's own: it gets its exception. */
VcpuExit kvm_debug_exit(X86Cpu *c, struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    uint32_t vector = r->debug.arch.exception;

    if (ours(k, r->debug.arch.pc))
        return VCPU_EXIT_DEBUG;
    if (vector != EXC_DB && vector != EXC_BP)
        return VCPU_EXIT_NONE;
    if (!kvm_pull_now(c))
        return kvm_stop_report(c, "KVM left for a debug event and does not tell the registers");
    c->held = (X86Held) { .valid = true, .vector = vector };
    if (vector == EXC_DB)
        c->dr[6] = r->debug.arch.dr6;
    k->push = PUSH_RUN;
    return VCPU_EXIT_NONE;
}
