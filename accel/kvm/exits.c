/*
 * exits: what the guest left for, by a table with one row per KVM_EXIT_*.
 *
 * Linux Documentation/virt/kvm/api.rst, section 5. A reason that ends the machine is reported with
 * registers, the bytes at RIP and what KVM said; an instruction that KVM's emulator refuses is run by
 * the interpreter's C bodies, and the guest goes on.
 */
#include "accel/kvm/kvm_int.h"

#include "accel/soft/loop.h"
#include "accel/soft/step.h"
#include "softmmu/dma.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>

#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT 39
#endif
enum { HV_INVALID_HYPERCALL = 2, KVM_NO_SUCH_CALL = 1000, REFUSED_STEPS = 32 };

typedef VcpuExit ExitFn(X86Cpu *c, struct kvm_run *r);

/* --- reports --- */

static void append_code(GString *s, X86Cpu *c)
{
    struct kvm_translation t = { .linear_address = soft_lin(c) };
    uint8_t code[16];

    if (kvm_ioctl(kvm_vcpu(&c->vcpu), KVM_TRANSLATE, &t) || !t.valid)
        return;
    g_string_append(s, "Code=");
    if (!dma_read(&c->vcpu.machine->mem, t.physical_address, code, sizeof code))
        g_string_append(s, "(not in memory) ");
    for (unsigned i = 0; i < sizeof code; i++)
        g_string_append_printf(s, "%02x ", code[i]);
    g_string_append_c(s, '\n');
}

VcpuExit kvm_stop_report(X86Cpu *c, const char *what)
{
    g_autofree char *regs = NULL;
    GString *s = g_string_new(NULL);

    if (!kvm_vcpu(&c->vcpu)->pulled)
        kvm_pull_now(c);
    regs = c->vcpu.ops->describe(&c->vcpu);
    append_code(s, c);
    log_info("CPU %d: %s; the machine stops. Registers:\n%s%s", c->vcpu.index, what, regs, s->str);
    g_string_free(s, TRUE);
    return VCPU_EXIT_INTERNAL_ERROR;
}

G_GNUC_PRINTF(2, 3) static VcpuExit stop(X86Cpu *c, const char *fmt, ...)
{
    g_autofree char *what = NULL;
    va_list ap;

    va_start(ap, fmt);
    what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return kvm_stop_report(c, what);
}

/* --- accesses to devices --- */

static VcpuExit exit_io(X86Cpu *c, struct kvm_run *r)
{
    uint8_t *data = (uint8_t *)r + r->io.data_offset;
    AddressSpace *ports = &c->vcpu.machine->ports;
    unsigned size = r->io.size;

    if (size != 1 && size != 2 && size != 4)
        return stop(c, "KVM reports a port access of %u bytes", size);
    for (uint32_t i = 0; i < r->io.count; i++, data += size) {
        uint64_t v = 0;

        if (r->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&v, data, size);
            addrspace_write(ports, r->io.port, size, v);
        } else {
            addrspace_read(ports, r->io.port, size, &v);
            memcpy(data, &v, size);
        }
    }
    return VCPU_EXIT_NONE;
}

static VcpuExit exit_mmio(X86Cpu *c, struct kvm_run *r)
{
    AddressSpace *mem = &c->vcpu.machine->mem;
    uint32_t len = MIN(r->mmio.len, 8u), done = 0;

    while (done < len) {        /* KVM may hand over 3, 5, 6 or 7 bytes */
        unsigned n = len - done >= 8 ? 8 : len - done >= 4 ? 4 : len - done >= 2 ? 2 : 1;
        uint64_t v = 0;

        if (r->mmio.is_write) {
            memcpy(&v, r->mmio.data + done, n);
            addrspace_write(mem, r->mmio.phys_addr + done, n, v);
        } else {
            addrspace_read(mem, r->mmio.phys_addr + done, n, &v);
            memcpy(r->mmio.data + done, &v, n);
        }
        done += n;
    }
    return VCPU_EXIT_NONE;
}

/* --- running and waiting --- */

static VcpuExit exit_nothing(X86Cpu *c, struct kvm_run *r)
{
    return VCPU_EXIT_NONE;
}

static VcpuExit exit_hlt(X86Cpu *c, struct kvm_run *r)
{
    uint32_t irq = atomic_load(&c->vcpu.irq);

    if ((irq & (VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_INIT)) || ((irq & VCPU_IRQ_INTR) && r->if_flag))
        return VCPU_EXIT_NONE;
    c->vcpu.halted = true;
    return VCPU_EXIT_HALT;
}

static VcpuExit exit_shutdown(X86Cpu *c, struct kvm_run *r)
{
    return VCPU_EXIT_TRIPLE_FAULT;
}

static VcpuExit exit_system_event(X86Cpu *c, struct kvm_run *r)
{
    Machine *m = c->vcpu.machine;

    switch (r->system_event.type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
        machine_request_shutdown(m, CAUSE_GUEST_SHUTDOWN);
        break;
    case KVM_SYSTEM_EVENT_RESET:
        machine_request_reset(m, CAUSE_GUEST_RESET);
        break;
    case KVM_SYSTEM_EVENT_CRASH:
        log_guest("the guest's kernel crashed (Hyper-V crash registers)\n");
        machine_request_stop(m, RUN_GUEST_PANICKED);
        break;
    default:
        return stop(c, "KVM reports system event %u", r->system_event.type);
    }
    return VCPU_EXIT_KICK;
}

static VcpuExit exit_ring_full(X86Cpu *c, struct kvm_run *r)
{
    kvm_ring_full(kvm_vm(c->vcpu.machine));
    return VCPU_EXIT_NONE;
}

/* --- interrupts --- */

static VcpuExit exit_eoi(X86Cpu *c, struct kvm_run *r)
{
    KvmVm *vm = kvm_vm(c->vcpu.machine);

    machine_lock();
    if (vm->eoi)
        vm->eoi(vm->eoi_opaque, r->eoi.vector);
    machine_unlock();
    return VCPU_EXIT_NONE;
}

/* --- calls and registers we know nothing of: the guest hears so --- */

static VcpuExit exit_hypercall(X86Cpu *c, struct kvm_run *r)
{
    r->hypercall.ret = (uint64_t)-KVM_NO_SUCH_CALL;
    return VCPU_EXIT_NONE;
}

static VcpuExit exit_hyperv(X86Cpu *c, struct kvm_run *r)
{
    if (r->hyperv.type == KVM_EXIT_HYPERV_HCALL)
        r->hyperv.u.hcall.result = HV_INVALID_HYPERCALL;
    return VCPU_EXIT_NONE;
}

static VcpuExit exit_msr(X86Cpu *c, struct kvm_run *r)
{
    r->msr.error = 1;
    return VCPU_EXIT_NONE;
}

/* --- failures --- */

static VcpuExit exit_unknown(X86Cpu *c, struct kvm_run *r)
{
    return stop(c, "the processor left the guest for hardware reason %#llx, which KVM does not know",
                r->hw.hardware_exit_reason);
}

static VcpuExit exit_exception(X86Cpu *c, struct kvm_run *r)
{
    return stop(c, "KVM left for exception %u (error code %#x)", r->ex.exception, r->ex.error_code);
}

static VcpuExit exit_fail_entry(X86Cpu *c, struct kvm_run *r)
{
    return stop(c, "KVM could not enter the guest: hardware reason %#llx on host CPU %u",
                r->fail_entry.hardware_entry_failure_reason, r->fail_entry.cpu);
}

static VcpuExit exit_notify(X86Cpu *c, struct kvm_run *r)
{
    if (!(r->notify.flags & KVM_NOTIFY_CONTEXT_INVALID))
        return VCPU_EXIT_NONE;
    return stop(c, "the guest kept the processor from taking any event, and its state is lost");
}

static VcpuExit exit_memory_fault(X86Cpu *c, struct kvm_run *r)
{
    return stop(c, "KVM cannot reach the host memory behind a guest address");
}

static VcpuExit exit_xen(X86Cpu *c, struct kvm_run *r)
{
    return stop(c, "the guest speaks to Xen, which is not here");
}

static void append_internal(GString *s, const struct kvm_run *r)
{
    for (uint32_t i = 0; i < MIN(r->internal.ndata, ARRAY_LEN(r->internal.data)); i++)
        g_string_append_printf(s, "%s%#llx", i ? " " : "; KVM says ", r->internal.data[i]);
}

/* The host's KVM emulates and cannot do this instruction: the C bodies can. The local APIC's
   registers are in the kernel then, so an instruction at a time keeps out of its way. */
static VcpuExit run_refused(X86Cpu *c, struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    KvmVm *vm = k->vm;
    VcpuExit why;

    if (!kvm_pull_now(c))
        return stop(c, "KVM refused an instruction");
    vm->rescued++;
    trace(kvm_refused, "cpu=%d rip=%#llx", c->vcpu.index, (unsigned long long)c->rip);
    why = soft_step(c, vm->irqchip == IRQCHIP_OFF ? REFUSED_STEPS : 1);
    k->push = PUSH_RUN;
    if (why == VCPU_EXIT_NONE && c->vcpu.halted && !c->vcpu.engine_waits)
        why = VCPU_EXIT_HALT;
    if (c->vcpu.halted && c->vcpu.engine_waits)
        k->push = PUSH_FULL;
    return why;
}

static VcpuExit exit_internal(X86Cpu *c, struct kvm_run *r)
{
    static const char *const suberrors[] = { "?", "an instruction it cannot emulate", "simultaneous exceptions",
                                             "an exit during event delivery", "an unexpected exit reason" };
    uint32_t s = r->internal.suberror;
    g_autoptr(GString) more = g_string_new(NULL);

    if (s == KVM_INTERNAL_ERROR_EMULATION)
        return run_refused(c, r);
    append_internal(more, r);
    return stop(c, "KVM internal error %u (%s)%s", s, s < ARRAY_LEN(suberrors) ? suberrors[s] : "?", more->str);
}

static const struct { ExitFn *fn; const char *name; } exits[KVM_EXIT_KINDS] = {
    [KVM_EXIT_UNKNOWN] = { exit_unknown, "unknown" },
    [KVM_EXIT_EXCEPTION] = { exit_exception, "exception" },
    [KVM_EXIT_IO] = { exit_io, "port" },
    [KVM_EXIT_HYPERCALL] = { exit_hypercall, "hypercall" },
    [KVM_EXIT_DEBUG] = { kvm_debug_exit, "debug" },
    [KVM_EXIT_HLT] = { exit_hlt, "hlt" },
    [KVM_EXIT_MMIO] = { exit_mmio, "mmio" },
    [KVM_EXIT_IRQ_WINDOW_OPEN] = { exit_nothing, "interrupt window" },
    [KVM_EXIT_SHUTDOWN] = { exit_shutdown, "shutdown" },
    [KVM_EXIT_FAIL_ENTRY] = { exit_fail_entry, "failed entry" },
    [KVM_EXIT_INTR] = { exit_nothing, "signal" },
    [KVM_EXIT_SET_TPR] = { exit_nothing, "tpr" },
    [KVM_EXIT_TPR_ACCESS] = { exit_nothing, "tpr access" },
    [KVM_EXIT_NMI] = { exit_nothing, "host nmi" },
    [KVM_EXIT_INTERNAL_ERROR] = { exit_internal, "internal error" },
    [KVM_EXIT_SYSTEM_EVENT] = { exit_system_event, "system event" },
    [KVM_EXIT_IOAPIC_EOI] = { exit_eoi, "eoi" },
    [KVM_EXIT_HYPERV] = { exit_hyperv, "hyper-v" },
    [KVM_EXIT_X86_RDMSR] = { exit_msr, "rdmsr" },
    [KVM_EXIT_X86_WRMSR] = { exit_msr, "wrmsr" },
    [KVM_EXIT_DIRTY_RING_FULL] = { exit_ring_full, "dirty ring" },
    [KVM_EXIT_AP_RESET_HOLD] = { exit_nothing, "reset hold" },
    [KVM_EXIT_X86_BUS_LOCK] = { exit_nothing, "bus lock" },
    [KVM_EXIT_XEN] = { exit_xen, "xen" },
    [KVM_EXIT_NOTIFY] = { exit_notify, "notify" },
    [KVM_EXIT_MEMORY_FAULT] = { exit_memory_fault, "memory fault" },
};

const char *kvm_exit_name(unsigned reason)
{
    return reason < ARRAY_LEN(exits) ? exits[reason].name : NULL;
}

VcpuExit kvm_handle_exit(X86Cpu *c, struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    uint32_t reason = r->exit_reason;

    k->exits[MIN(reason, ARRAY_LEN(k->exits) - 1)]++;
    kvm_coalesce_drain(k->vm);
    if (reason < ARRAY_LEN(exits) && exits[reason].fn)
        return exits[reason].fn(c, r);
    return stop(c, "KVM exit reason %u is unknown here", reason);
}
