/* chips: the registers of the kernel's interrupt controllers and timer, from and to the models' terms. */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

static bool get_chip(Machine *m, unsigned id, struct kvm_irqchip *k)
{
    *k = (struct kvm_irqchip) { .chip_id = id };
    if (kvm_vm_ioctl(kvm_vm(m), KVM_GET_IRQCHIP, k) == 0)
        return true;
    log_warn("KVM does not tell the state of interrupt controller %u: %s", id, g_strerror(errno));
    return false;
}

static void set_chip(Machine *m, struct kvm_irqchip *k)
{
    if (kvm_vm_ioctl(kvm_vm(m), KVM_SET_IRQCHIP, k))
        log_warn("KVM refused the state of interrupt controller %u: %s", k->chip_id, g_strerror(errno));
}

/* KVM counts init words from 1 (the vector expected next) to 3. */
bool kvm_pic_get(Machine *m, unsigned chip, PicRegs *r)
{
    struct kvm_irqchip k;
    const struct kvm_pic_state *p = &k.chip.pic;

    if (!get_chip(m, chip ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER, &k))
        return false;
    *r = (PicRegs) {
        .level = p->last_irr, .irr = p->irr, .imr = p->imr, .isr = p->isr, .highest = p->priority_add & 7,
        .vector = p->irq_base & 0xf8, .elcr = p->elcr, .elcr_mask = p->elcr_mask,
        .icw = p->init_state && p->init_state <= 3 ? p->init_state + 1 : 0, .read_isr = p->read_reg_select,
        .poll = p->poll, .special_mask = p->special_mask, .auto_eoi = p->auto_eoi,
        .rotate_aeoi = p->rotate_on_auto_eoi, .nested = p->special_fully_nested_mode, .icw4_needed = p->init4,
    };
    return true;
}

void kvm_pic_set(Machine *m, unsigned chip, const PicRegs *r)
{
    struct kvm_irqchip k = { .chip_id = chip ? KVM_IRQCHIP_PIC_SLAVE : KVM_IRQCHIP_PIC_MASTER };

    k.chip.pic = (struct kvm_pic_state) {
        .last_irr = r->level, .irr = r->irr, .imr = r->imr, .isr = r->isr, .priority_add = r->highest,
        .irq_base = r->vector, .elcr = r->elcr, .elcr_mask = r->elcr_mask, .init_state = r->icw ? r->icw - 1 : 0,
        .read_reg_select = r->read_isr, .poll = r->poll, .special_mask = r->special_mask, .auto_eoi = r->auto_eoi,
        .rotate_on_auto_eoi = r->rotate_aeoi, .special_fully_nested_mode = r->nested, .init4 = r->icw4_needed,
    };
    set_chip(m, &k);
}

bool kvm_ioapic_get(Machine *m, IoapicRegs *r)
{
    struct kvm_irqchip k;
    const struct kvm_ioapic_state *i = &k.chip.ioapic;

    if (!get_chip(m, KVM_IRQCHIP_IOAPIC, &k))
        return false;
    *r = (IoapicRegs) { .select = i->ioregsel, .id = i->id & 15, .irr = i->irr };
    for (unsigned n = 0; n < IRQCHIP_GSIS; n++)
        r->table[n] = i->redirtbl[n].bits;
    return true;
}

void kvm_ioapic_set(Machine *m, const IoapicRegs *r)
{
    struct kvm_irqchip k = { .chip_id = KVM_IRQCHIP_IOAPIC };

    k.chip.ioapic = (struct kvm_ioapic_state) { .base_address = 0xfec00000, .ioregsel = r->select, .id = r->id,
                                                .irr = r->irr };
    for (unsigned n = 0; n < IRQCHIP_GSIS; n++)
        k.chip.ioapic.redirtbl[n].bits = r->table[n];
    set_chip(m, &k);
}

/* --- interval timer --- */

enum { RW_LSB = 1, RW_MSB, RW_WORD_LOW, RW_WORD_HIGH };         /* KVM's read and write states */

bool kvm_pit_create(Machine *m, bool reinject, GError **err)
{
    KvmVm *vm = kvm_vm(m);
    struct kvm_pit_config config = { 0 };
    struct kvm_reinject_control rc = { .pit_reinject = reinject };

    if (kvm_vm_ioctl(vm, KVM_CREATE_PIT2, &config))
        return err_set_errno(err, errno, "KVM cannot create its interval timer (-machine kernel-irqchip=split does without)");
    if (kvm_vm_ioctl(vm, KVM_REINJECT_CONTROL, &rc) && !reinject)
        log_warn("this host's KVM delivers every lost timer tick");
    return true;
}

static void channel_in(PitChannelRegs *r, const struct kvm_pit_channel_state *k)
{
    *r = (PitChannelRegs) {
        .count = k->count, .latch = k->latched_count, .status_latched = k->status_latched, .status = k->status,
        .rw = k->rw_mode, .mode = k->mode, .bcd = k->bcd, .gate = k->gate, .write_low = k->write_latch,
        .write_high = k->write_state == RW_WORD_HIGH, .read_high = k->read_state == RW_WORD_HIGH,
        .start = k->count_load_time,
    };
    switch (k->count_latched) {         /* which byte of the latch is read next */
    case RW_LSB: r->latch_left = 1; break;
    case RW_MSB: case RW_WORD_HIGH: r->latch_left = 1; r->latch >>= 8; break;
    case RW_WORD_LOW: r->latch_left = 2; break;
    }
}

static void channel_out(struct kvm_pit_channel_state *k, const PitChannelRegs *r)
{
    *k = (struct kvm_pit_channel_state) {
        .count = r->count, .latched_count = r->latch, .status_latched = r->status_latched, .status = r->status,
        .rw_mode = r->rw, .mode = r->mode, .bcd = r->bcd, .gate = r->gate, .write_latch = r->write_low,
        .write_state = r->rw < 3 ? r->rw : r->write_high ? RW_WORD_HIGH : RW_WORD_LOW,
        .read_state = r->rw < 3 ? r->rw : r->read_high ? RW_WORD_HIGH : RW_WORD_LOW, .count_load_time = r->start,
    };
    if (r->latch_left == 2)
        k->count_latched = RW_WORD_LOW;
    else if (r->latch_left)
        k->count_latched = RW_LSB;
}

bool kvm_pit_get(Machine *m, PitRegs *r)
{
    struct kvm_pit_state2 k = { 0 };

    if (kvm_vm_ioctl(kvm_vm(m), KVM_GET_PIT2, &k)) {
        log_warn("KVM does not tell the state of its interval timer: %s", g_strerror(errno));
        return false;
    }
    for (unsigned i = 0; i < ARRAY_LEN(r->ch); i++)
        channel_in(&r->ch[i], &k.channels[i]);
    r->irq_off = k.flags & KVM_PIT_FLAGS_HPET_LEGACY;
    return true;
}

void kvm_pit_set(Machine *m, const PitRegs *r)
{
    struct kvm_pit_state2 k = { .flags = r->irq_off ? KVM_PIT_FLAGS_HPET_LEGACY : 0 };

    for (unsigned i = 0; i < ARRAY_LEN(r->ch); i++)
        channel_out(&k.channels[i], &r->ch[i]);
    if (kvm_vm_ioctl(kvm_vm(m), KVM_SET_PIT2, &k))
        log_warn("KVM refused the state of its interval timer: %s", g_strerror(errno));
}

/* --- local APIC and what its processor waits for --- */

void kvm_lapic_transfer(X86Cpu *c, bool to_kernel)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_lapic_state s = { 0 };
    X86ApicRegs r = { 0 };

    if (k->vm->irqchip == IRQCHIP_OFF || !c->apic_ops)
        return;
    if (to_kernel) {
        c->apic_ops->get_regs(c, &r);
        for (unsigned i = 0; i < IRQCHIP_LAPIC_WORDS; i++)
            st32_le((uint8_t *)s.regs + 16 * i, r.reg[i]);
        if (kvm_ioctl(k, KVM_SET_LAPIC, &s))
            log_warn("KVM refused the local APIC of CPU %d: %s", c->vcpu.index, g_strerror(errno));
        return;
    }
    if (kvm_ioctl(k, KVM_GET_LAPIC, &s))
        return;
    for (unsigned i = 0; i < IRQCHIP_LAPIC_WORDS; i++)
        r.reg[i] = ld32_le((uint8_t *)s.regs + 16 * i);
    r.base = k->apic_base;
    r.tsc_deadline = k->tsc_deadline;
    c->apic_ops->set_regs(c, &r);
}

void kvm_mp_transfer(X86Cpu *c, bool to_kernel)
{
    KvmVcpu *k = kvm_vcpu(&c->vcpu);
    struct kvm_mp_state s = { .mp_state = KVM_MP_STATE_RUNNABLE };

    if (k->vm->irqchip == IRQCHIP_OFF)
        return;
    if (to_kernel) {
        if (c->wait_sipi)
            s.mp_state = KVM_MP_STATE_INIT_RECEIVED;
        else if (c->vcpu.halted)
            s.mp_state = KVM_MP_STATE_HALTED;
        if (kvm_ioctl(k, KVM_SET_MP_STATE, &s))
            log_warn("KVM refused the run state of CPU %d: %s", c->vcpu.index, g_strerror(errno));
    } else if (!kvm_ioctl(k, KVM_GET_MP_STATE, &s)) {
        c->wait_sipi = s.mp_state == KVM_MP_STATE_UNINITIALIZED || s.mp_state == KVM_MP_STATE_INIT_RECEIVED;
        c->vcpu.halted = c->wait_sipi || s.mp_state == KVM_MP_STATE_HALTED;
    }
}
