/*
 * run: entering the guest, with pending events put in first.
 *
 * Without controllers in the kernel, interrupts come from the local APIC model one vector at a time
 * and HLT and start-up IPIs are ours; with them the kernel does all that, and only NMI, SMI, machine
 * checks and (SPLIT) the PIC's requests go in from here.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

/* INIT and SIPI change the whole state: through the struct. */
static void init_events(X86Cpu *c, uint32_t irq)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);

    if (irq & VCPU_IRQ_INIT) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_INIT);
        kvm_pull(&c->vcpu);
        c->vcpu.ops->init_reset(&c->vcpu);
        c->wait_sipi = !c->bsp;
        k->push = MAX(k->push, PUSH_RUN);
    }
    if ((irq & VCPU_IRQ_SIPI) && c->wait_sipi) {
        c->wait_sipi = false;
        c->vcpu.halted = false;
        c->seg[S_CS].sel = c->vcpu.sipi_vector << 8;
        c->seg[S_CS].base = (uint64_t)c->vcpu.sipi_vector << 12;
        c->rip = 0;
        k->push = MAX(k->push, PUSH_RUN);
    }
    vcpu_lower(&c->vcpu, VCPU_IRQ_SIPI);
}

static bool take(X86Cpu *c, uint32_t irq, uint32_t bit)
{
    if (!(irq & bit))
        return false;
    vcpu_lower(&c->vcpu, bit);
    return true;
}

static void inject_vector(X86Cpu *c, struct kvm_run *r)
{
    struct kvm_interrupt intr;
    int vector;

    machine_lock();
    vector = c->apic_ops->ack(c);
    machine_unlock();
    if (vector >= 0) {
        intr.irq = vector;
        if (kvm_ioctl(kvm_vcpu(&c->vcpu), KVM_INTERRUPT, &intr))
            log_warn("KVM refused interrupt %d on CPU %d: %s", vector, c->vcpu.index, g_strerror(errno));
    }
}

static void inject(X86Cpu *c, struct kvm_run *r)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    uint32_t irq = atomic_load(&c->vcpu.irq);

    r->request_interrupt_window = 0;
    if (!irq)
        return;
    if (take(c, irq, VCPU_IRQ_NMI))
        kvm_ioctl(k, KVM_NMI, NULL);
    if (take(c, irq, VCPU_IRQ_SMI))
        kvm_ioctl(k, KVM_SMI, NULL);
    if (take(c, irq, VCPU_IRQ_MCE))
        kvm_mce_inject(k, c);
    if (!(irq & VCPU_IRQ_INTR) || !c->apic_ops)
        return;
    if (r->ready_for_interrupt_injection && r->if_flag)
        inject_vector(c, r);
    if (atomic_load(&c->vcpu.irq) & VCPU_IRQ_INTR)
        r->request_interrupt_window = 1;
}

/* What only exists outside the kernel's controllers. False: leave run() with *why. */
static bool prepare_own_apic(X86Cpu *c, uint32_t irq, VcpuExit *why)
{
    if ((irq & VCPU_IRQ_POLL) && c->apic_ops && c->apic_ops->poll) {
        vcpu_lower(&c->vcpu, VCPU_IRQ_POLL);
        machine_lock();
        c->apic_ops->poll(c);
        machine_unlock();
    }
    if (irq & (VCPU_IRQ_INIT | VCPU_IRQ_SIPI))
        init_events(c, irq);
    if (!c->wait_sipi)
        return true;
    c->vcpu.halted = true;
    *why = VCPU_EXIT_HALT;
    return false;
}

static bool push_pending(X86Cpu *c, struct kvm_run *r, VcpuExit *why)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    g_autoptr(GError) err = NULL;

    if (k->push == PUSH_NONE)
        return true;
    if (!kvm_push_now(c, &err)) {
        k->pulled = true;       /* what was refused is what the report shall show */
        *why = kvm_stop_report(c, err->message);
        return false;
    }
    if (c->vcpu.engine_waits)
        c->vcpu.halted = false;
    r->if_flag = !!(c->eflags & FL_IF);
    r->ready_for_interrupt_injection = r->if_flag;
    return true;
}

/* False: leave run() with *why. */
static bool prepare(X86Cpu *c, struct kvm_run *r, VcpuExit *why)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    bool own = k->vm->irqchip == IRQCHIP_OFF;

    r->immediate_exit = 0;
    if (atomic_exchange(&c->vcpu.attention, 0) && vcpu_attend(&c->vcpu)) {
        atomic_store(&c->vcpu.attention, 1);
        *why = VCPU_EXIT_KICK;
        return false;
    }
    if (own && !prepare_own_apic(c, atomic_load(&c->vcpu.irq), why))
        return false;
    if (!push_pending(c, r, why))
        return false;
    if (own && c->apic_ops)
        r->cr8 = c->apic_ops->get_tpr(c);
    inject(c, r);
    k->pulled = false;
    return true;
}

/* The words of the struct that others look at without a pull. */
static void after(X86Cpu *c, struct kvm_run *r)
{
    c->eflags = r->if_flag ? c->eflags | FL_IF : c->eflags & ~(uint32_t)FL_IF;
    if (kvm_vcpu(&c->vcpu)->vm->irqchip == IRQCHIP_OFF && c->apic_ops && c->apic_ops->get_tpr(c) != r->cr8)
        c->apic_ops->set_tpr(c, r->cr8);
}

/* An answered port or MMIO access is completed by the next entry: make it before anybody looks at
   or saves the state. */
static void finish_io(X86Cpu *c, struct kvm_run *r)
{
    if ((r->exit_reason != KVM_EXIT_IO && r->exit_reason != KVM_EXIT_MMIO) || !atomic_load(&c->vcpu.attention))
        return;
    r->immediate_exit = 1;
    kvm_ioctl(kvm_vcpu(&c->vcpu), KVM_RUN, NULL);
}

VcpuExit kvm_run(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    KvmVcpu *k = kvm_vcpu(v);
    struct kvm_run *r = k->run;
    VcpuExit why = VCPU_EXIT_NONE;

    if (k->user)
        return kvm_user_run(v);
    if (!v->engine_waits)       /* there is work for a halted processor: the kernel does not know that it halted */
        v->halted = false;
    while (why == VCPU_EXIT_NONE && prepare(c, r, &why)) {
        int e = EINTR;

        if (!atomic_load(&v->attention))
            e = kvm_ioctl(k, KVM_RUN, NULL) < 0 ? errno : 0;
        after(c, r);
        if (e == EINTR || e == EAGAIN)
            continue;
        if (e) {
            g_autofree char *what = g_strdup_printf("KVM cannot run the guest: %s", g_strerror(e));

            return kvm_stop_report(c, what);
        }
        why = kvm_handle_exit(c, r);
        finish_io(c, r);
    }
    return why;
}
