/*
 * debug: breakpoints, watchpoints and single step for a debugger outside the guest.
 *
 * Up to four breakpoints and watchpoints in debug registers of the processor, apart from those the
 * guest sees; any number by INT3s in its memory. Linux Documentation/virt/kvm/api.rst 4.87.
 */
#include "accel/kvm/kvm_int.h"

#include "accel/soft/loop.h"
#include "util/log.h"

#include <errno.h>

enum { DR7_FIXED = 0x400, RW_CODE = 0, RW_WRITE = 1, RW_ANY = 3 };

/* One more debug register. False: all four are taken, or the length does not fit one. */
static bool use_register(KvmVcpu *k, struct kvm_guest_debug *d, uint64_t addr, uint64_t len, unsigned rw)
{
    static const uint8_t codes[9] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
    unsigned n = k->debug_count;

    if (n == KVM_DEBUG_MAX || (len != 1 && len != 2 && len != 4 && len != 8) || (addr & (len - 1)))
        return false;
    k->debug_at[n].addr = addr;
    k->debug_at[n].code = rw == RW_CODE;
    d->arch.debugreg[n] = addr;
    d->arch.debugreg[7] |= 2u << 2 * n | (rw | codes[len] << 2) << (16 + 4 * n);
    k->debug_count++;
    return true;
}

static bool use_registers(KvmVcpu *k, struct kvm_guest_debug *d, const VcpuDebug *plan)
{
    bool ok = true;

    for (guint i = 0; i < plan->stops->len; i++)
        ok &= use_register(k, d, g_array_index(plan->stops, uint64_t, i), 1, RW_CODE);
    for (guint i = 0; i < plan->lazy->len; i++)
        ok &= use_register(k, d, g_array_index(plan->lazy, uint64_t, i), 1, RW_CODE);
    for (guint i = 0; i < plan->watches->len; i++) {
        const VcpuWatch *w = &g_array_index(plan->watches, VcpuWatch, i);

        ok &= use_register(k, d, w->addr, w->len, w->read ? RW_ANY : RW_WRITE);
    }
    return ok;
}

bool kvm_debug(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);
    struct kvm_guest_debug d = { .arch.debugreg[7] = DR7_FIXED };
    bool ok = true;

    if (k->user)
        return soft_debug(v);
    if (!k->vm->caps.guest_debug)
        return !v->debug;
    k->debug_count = 0;
    if (v->debug) {
        ok = use_registers(k, &d, v->debug);
        d.control = (v->debug->traps->len ? KVM_GUESTDBG_USE_SW_BP : 0) | (k->debug_count ? KVM_GUESTDBG_USE_HW_BP : 0) |
                    (v->debug->step ? KVM_GUESTDBG_SINGLESTEP : 0);
        d.control |= d.control ? KVM_GUESTDBG_ENABLE : 0;
    }
    if (!kvm_ioctl(k, KVM_SET_GUEST_DEBUG, &d))
        return ok;
    log_warn("KVM refused guest debugging on CPU %d: %s", v->index, g_strerror(errno));
    return false;
}

/* Which of the debugger's wishes a debug exit fulfils; DEBUG_NONE: it is the guest's own. */
static DebugHit ours(X86Cpu *c, const struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    VcpuDebug *d = c->vcpu.debug;

    if (!d)
        return DEBUG_NONE;
    if (r->debug.arch.exception == EXC_BP)
        return soft_trap_at(c, r->debug.arch.pc) ? DEBUG_TRAP : DEBUG_NONE;
    for (unsigned i = 0; i < k->debug_count; i++) {
        if (k->debug_at[i].code ? k->debug_at[i].addr == r->debug.arch.pc : r->debug.arch.dr6 >> i & 1) {
            d->hit_addr = k->debug_at[i].addr;
            return k->debug_at[i].code ? DEBUG_STOP : DEBUG_WATCH;
        }
    }
    return d->step ? DEBUG_STEP : DEBUG_NONE;
}

/* A debug event that no debugger asked for is the guest's own: it gets its exception. */
VcpuExit kvm_debug_exit(X86Cpu *c, struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    uint32_t vector = r->debug.arch.exception;
    DebugHit hit;

    if (!kvm_pull_now(c))
        return kvm_stop_report(c, "KVM left for a debug event and does not tell the registers");
    hit = ours(c, r);
    if (hit != DEBUG_NONE) {
        c->vcpu.debug->hit = hit;
        return VCPU_EXIT_DEBUG;
    }
    if (vector != EXC_DB && vector != EXC_BP)
        return VCPU_EXIT_NONE;
    if (vector == EXC_BP && c->rip == r->debug.arch.pc)     /* a trap: the handler returns behind it */
        c->rip++;
    c->held = (X86Held) { .valid = true, .vector = vector };
    if (vector == EXC_DB)
        c->dr[6] = r->debug.arch.dr6;
    k->push = PUSH_RUN;
    return VCPU_EXIT_NONE;
}
