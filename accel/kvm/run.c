/*
 * run: entering the guest and what it leaves for, by table.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

typedef VcpuExit ExitFn(X86Cpu *c, struct kvm_run *r);

static VcpuExit exit_io(X86Cpu *c, struct kvm_run *r)
{
    uint8_t *data = (uint8_t *)r + r->io.data_offset;
    AddressSpace *ports = &c->vcpu.machine->ports;

    for (uint32_t i = 0; i < r->io.count; i++, data += r->io.size) {
        uint64_t v = 0;

        if (r->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&v, data, r->io.size);
            addrspace_write(ports, r->io.port, r->io.size, v);
        } else {
            addrspace_read(ports, r->io.port, r->io.size, &v);
            memcpy(data, &v, r->io.size);
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

static VcpuExit exit_hlt(X86Cpu *c, struct kvm_run *r)
{
    if (atomic_load(&c->vcpu.irq) & (VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_INIT))
        return VCPU_EXIT_NONE;
    if ((atomic_load(&c->vcpu.irq) & VCPU_IRQ_INTR) && r->if_flag)
        return VCPU_EXIT_NONE;
    c->vcpu.halted = true;
    return VCPU_EXIT_HALT;
}

static VcpuExit exit_nothing(X86Cpu *c, struct kvm_run *r)
{
    return VCPU_EXIT_NONE;
}

static VcpuExit exit_shutdown(X86Cpu *c, struct kvm_run *r)
{
    return VCPU_EXIT_TRIPLE_FAULT;
}

static VcpuExit exit_debug(X86Cpu *c, struct kvm_run *r)
{
    return VCPU_EXIT_DEBUG;
}

static void report(X86Cpu *c, const char *what)
{
    g_autofree char *regs = NULL;

    kvm_pull(&c->vcpu);
    regs = c->vcpu.ops->describe(&c->vcpu);
    log_info("%s; the machine stops. Registers:\n%s", what, regs);
}

static VcpuExit exit_internal(X86Cpu *c, struct kvm_run *r)
{
    static const char *const suberrors[] = { "?", "an instruction it cannot emulate", "simultaneous exceptions",
                                             "an exit during event delivery", "an unexpected exit reason" };
    uint32_t s = r->internal.suberror;
    g_autofree char *what = g_strdup_printf("KVM internal error %u (%s)", s, s < ARRAY_LEN(suberrors) ? suberrors[s] : "?");

    report(c, what);
    return VCPU_EXIT_INTERNAL_ERROR;
}

static VcpuExit exit_fail_entry(X86Cpu *c, struct kvm_run *r)
{
    g_autofree char *what = g_strdup_printf("KVM could not enter the guest: hardware reason %#llx",
                                            r->fail_entry.hardware_entry_failure_reason);

    report(c, what);
    return VCPU_EXIT_INTERNAL_ERROR;
}

static ExitFn *const exits[] = {
    [KVM_EXIT_IO] = exit_io, [KVM_EXIT_MMIO] = exit_mmio, [KVM_EXIT_HLT] = exit_hlt, [KVM_EXIT_INTR] = exit_nothing,
    [KVM_EXIT_IRQ_WINDOW_OPEN] = exit_nothing, [KVM_EXIT_SET_TPR] = exit_nothing, [KVM_EXIT_SHUTDOWN] = exit_shutdown,
    [KVM_EXIT_DEBUG] = exit_debug, [KVM_EXIT_INTERNAL_ERROR] = exit_internal, [KVM_EXIT_FAIL_ENTRY] = exit_fail_entry,
    [KVM_EXIT_NMI] = exit_nothing,
};

/* INIT and SIPI change the whole state: through the struct. */
static void init_events(X86Cpu *c, uint32_t irq)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);

    if (irq & VCPU_IRQ_INIT) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_INIT);
        kvm_pull(&c->vcpu);
        c->vcpu.ops->init_reset(&c->vcpu);
        c->wait_sipi = !c->bsp;
        k->push_all = true;
    }
    if ((irq & VCPU_IRQ_SIPI) && c->wait_sipi) {
        c->wait_sipi = false;
        c->vcpu.halted = false;
        c->seg[S_CS].sel = c->vcpu.sipi_vector << 8;
        c->seg[S_CS].base = (uint64_t)c->vcpu.sipi_vector << 12;
        c->rip = 0;
        k->push_all = true;
    }
    vcpu_lower(&c->vcpu, VCPU_IRQ_SIPI);
}

static void inject(X86Cpu *c, struct kvm_run *r)
{
    int fd = kvm_vcpu(&c->vcpu)->fd;
    uint32_t irq = atomic_load(&c->vcpu.irq);

    if (irq & VCPU_IRQ_NMI) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_NMI);
        ioctl(fd, KVM_NMI);
    }
    if (irq & VCPU_IRQ_SMI) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_SMI);
        ioctl(fd, KVM_SMI);
    }
    r->request_interrupt_window = 0;
    if (!(irq & VCPU_IRQ_INTR) || !c->apic_ops)
        return;
    if (r->ready_for_interrupt_injection && r->if_flag) {
        struct kvm_interrupt intr;
        int vector;

        machine_lock();
        vector = c->apic_ops->ack(c);
        machine_unlock();
        if (vector >= 0) {
            intr.irq = vector;
            ioctl(fd, KVM_INTERRUPT, &intr);
        }
        if (atomic_load(&c->vcpu.irq) & VCPU_IRQ_INTR)
            r->request_interrupt_window = 1;
    } else {
        r->request_interrupt_window = 1;
    }
}

/* False: leave run() with *why. */
static bool prepare(X86Cpu *c, struct kvm_run *r, VcpuExit *why)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    g_autoptr(GError) err = NULL;
    uint32_t irq;

    r->immediate_exit = 0;
    if (atomic_exchange(&c->vcpu.attention, 0) && vcpu_attend(&c->vcpu)) {
        atomic_store(&c->vcpu.attention, 1);
        *why = VCPU_EXIT_KICK;
        return false;
    }
    irq = atomic_load(&c->vcpu.irq);
    if ((irq & VCPU_IRQ_POLL) && c->apic_ops && c->apic_ops->poll) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_POLL);
        machine_lock();
        c->apic_ops->poll(c);
        machine_unlock();
    }
    if (irq & (VCPU_IRQ_INIT | VCPU_IRQ_SIPI))
        init_events(c, irq);
    if (c->wait_sipi) {
        c->vcpu.halted = true;
        *why = VCPU_EXIT_HALT;
        return false;
    }
    if (k->push_all) {
        if (!kvm_push_now(c, &err)) {
            log_info("%s", err->message);
            *why = VCPU_EXIT_INTERNAL_ERROR;
            return false;
        }
        r->if_flag = !!(c->eflags & FL_IF);
        r->ready_for_interrupt_injection = r->if_flag;
    }
    if (c->apic_ops)
        r->cr8 = c->apic_ops->get_tpr(c);
    inject(c, r);
    k->pulled = false;
    return true;
}

/* The words of the struct that others look at without a pull. */
static void after(X86Cpu *c, struct kvm_run *r)
{
    c->eflags = r->if_flag ? c->eflags | FL_IF : c->eflags & ~(uint32_t)FL_IF;
    if (c->apic_ops && c->apic_ops->get_tpr(c) != r->cr8)
        c->apic_ops->set_tpr(c, r->cr8);
}

/* An answered port or MMIO access is completed by the next entry: make it before anybody looks at
   or saves the state. */
static void finish_io(X86Cpu *c, struct kvm_run *r)
{
    if ((r->exit_reason != KVM_EXIT_IO && r->exit_reason != KVM_EXIT_MMIO) || !atomic_load(&c->vcpu.attention))
        return;
    r->immediate_exit = 1;
    ioctl(kvm_vcpu(&c->vcpu)->fd, KVM_RUN, 0);
}

VcpuExit kvm_run(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    KvmVcpu *k = kvm_vcpu(v);
    struct kvm_run *r = k->run;
    VcpuExit why = VCPU_EXIT_NONE;

    while (why == VCPU_EXIT_NONE && prepare(c, r, &why)) {
        int ret, e;

        ret = atomic_load(&v->attention) ? (errno = EINTR, -1) : ioctl(k->fd, KVM_RUN, 0);
        e = errno;
        after(c, r);
        if (ret < 0 && (e == EINTR || e == EAGAIN))
            continue;
        if (ret < 0) {
            g_autofree char *what = g_strdup_printf("KVM cannot run the guest: %s", g_strerror(e));

            report(c, what);
            return VCPU_EXIT_INTERNAL_ERROR;
        }
        k->exits[MIN(r->exit_reason, ARRAY_LEN(k->exits) - 1)]++;
        if (r->exit_reason < ARRAY_LEN(exits) && exits[r->exit_reason]) {
            why = exits[r->exit_reason](c, r);
            finish_io(c, r);
        } else {
            g_autofree char *what = g_strdup_printf("KVM exit reason %u is unknown here", r->exit_reason);

            report(c, what);
            why = VCPU_EXIT_INTERNAL_ERROR;
        }
    }
    return why;
}
