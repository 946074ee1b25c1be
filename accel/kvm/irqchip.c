/*
 * irqchip: interrupt controllers in the kernel: lines, message interrupts and their routes.
 *
 * ON: PIC, I/O APIC, local APICs and PIT. SPLIT: local APICs; the I/O APIC model tells what its pins
 * send, so that the kernel reports the EOIs of level interrupts. Routes of a machine are one table
 * that the kernel takes as a whole; its lock makes events usable from any thread.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

typedef struct kvm_irq_routing_entry Route;
enum { ROUTES_MAX = 1024, PIC_PINS = 8, CASCADE = 2, SPLIT_PINS = IRQCHIP_GSIS };

bool kvm_routes_commit(KvmVm *vm)
{
    guint n = vm->routes->len;
    struct kvm_irq_routing *t = g_malloc0(sizeof *t + n * sizeof t->entries[0]);
    bool ok;

    t->nr = n;
    memcpy(t->entries, vm->routes->data, n * sizeof t->entries[0]);
    ok = kvm_vm_ioctl(vm, KVM_SET_GSI_ROUTING, t) == 0;
    g_free(t);
    return ok;
}

static void route_pin(KvmVm *vm, unsigned gsi, unsigned chip, unsigned pin)
{
    Route r = { .gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { chip, pin } };

    g_array_append_val(vm->routes, r);
}

/* The PC's wiring: docs/hw/pc.md. */
static bool route_pc(KvmVm *vm)
{
    for (unsigned n = 0; n < IRQCHIP_GSIS; n++) {
        if (n < 2 * PIC_PINS && n != CASCADE)
            route_pin(vm, n, n < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, n % PIC_PINS);
        route_pin(vm, n, KVM_IRQCHIP_IOAPIC, n == 0 ? 2 : n);
    }
    return kvm_routes_commit(vm);
}

static bool create_on(KvmVm *vm, GError **err)
{
    if (!vm->caps.irqchip || !vm->caps.routing || !vm->caps.signal_msi)
        return err_set(err, "this host's KVM has no interrupt controllers of its own");
    if (kvm_vm_ioctl(vm, KVM_CREATE_IRQCHIP, NULL))
        return err_set_errno(err, errno, "KVM cannot create its interrupt controllers");
    return route_pc(vm) || err_set_errno(err, errno, "KVM refused the interrupt routes");
}

static bool create_split(KvmVm *vm, GError **err)
{
    if (!vm->caps.split || !vm->caps.signal_msi)
        return err_set(err, "this host's KVM has no local APICs without the other interrupt controllers");
    return kvm_enable_cap(vm, KVM_CAP_SPLIT_IRQCHIP, SPLIT_PINS) ||
           err_set_errno(err, errno, "KVM cannot create its local APICs");
}

/* mode NULL: on where it is to be had and works. Before the first vcpu. */
bool kvm_irqchip_init(KvmVm *vm, const char *mode, GError **err)
{
    bool can = vm->caps.irqchip && vm->caps.routing && vm->caps.signal_msi && vm->caps.pit;

    g_mutex_init(&vm->route_lock);
    vm->routes = g_array_new(FALSE, TRUE, sizeof(Route));
    if (mode && strcmp(mode, "on") && strcmp(mode, "off") && strcmp(mode, "split"))
        return err_set(err, "kernel-irqchip is on, off or split, not '%s'", mode);
    if (vm->user_only)          /* interpreted code reaches the models only */
        mode = "off";
    if (!mode)
        mode = can && (vm->apic_works || kvm_probe_apic(vm->sys, vm->dev)) ? "on" : "off";
    if (g_str_equal(mode, "off"))
        return true;
    if (g_str_equal(mode, "split")) {
        if (!create_split(vm, err))
            return false;
        vm->irqchip = IRQCHIP_SPLIT;
    } else {
        if (!create_on(vm, err))
            return false;
        vm->irqchip = IRQCHIP_ON;
    }
    if (!kvm_enable_cap(vm, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK))
        log_info("this host's KVM knows 255 local APICs at most");
    vm->caps.x2apic_ids = true;
    return true;
}

void kvm_irqchip_cleanup(KvmVm *vm)
{
    if (!vm->routes)
        return;
    g_array_unref(vm->routes);
    g_mutex_clear(&vm->route_lock);
    vm->routes = NULL;
}

/* --- lines and messages --- */

static IrqchipMode mode(Machine *m)
{
    return kvm_vm(m)->irqchip;
}

static void line(Machine *m, unsigned gsi, int level)
{
    struct kvm_irq_level l = { .irq = gsi, .level = !!level };

    if (kvm_vm_ioctl(kvm_vm(m), KVM_IRQ_LINE, &l))
        log_warn("KVM refused interrupt line %u: %s", gsi, g_strerror(errno));
}

static void msi(Machine *m, uint64_t addr, uint32_t data)
{
    struct kvm_msi s = { .address_lo = (uint32_t)addr, .address_hi = addr >> 32, .data = data };

    if (addr >> 20 != 0xfee)
        log_guest("interrupt message to %#llx, which is no APIC\n", (unsigned long long)addr);
    else if (kvm_vm_ioctl(kvm_vm(m), KVM_SIGNAL_MSI, &s) < 0)
        log_guest("interrupt message %#llx data %#x reaches nobody\n", (unsigned long long)addr, data);
}

/* --- routes --- */

static Route *find_route(KvmVm *vm, unsigned gsi)
{
    for (guint i = 0; i < vm->routes->len; i++) {
        Route *r = &g_array_index(vm->routes, Route, i);

        if (r->gsi == gsi && r->type == KVM_IRQ_ROUTING_MSI)
            return r;
    }
    return NULL;
}

static bool set_msi_route(KvmVm *vm, unsigned gsi, uint64_t addr, uint32_t data)
{
    Route *r = find_route(vm, gsi), was;

    if (!r) {
        if (vm->routes->len >= ROUTES_MAX)
            return false;
        g_array_set_size(vm->routes, vm->routes->len + 1);
        r = &g_array_index(vm->routes, Route, vm->routes->len - 1);
        r->gsi = gsi;
        r->type = KVM_IRQ_ROUTING_MSI;
    } else if (r->u.msi.address_lo == (uint32_t)addr && r->u.msi.address_hi == addr >> 32 && r->u.msi.data == data) {
        return true;
    }
    was = *r;
    r->u.msi.address_lo = (uint32_t)addr;
    r->u.msi.address_hi = addr >> 32;
    r->u.msi.data = data;
    if (kvm_routes_commit(vm))
        return true;
    *find_route(vm, gsi) = was;
    return false;
}

static void drop_route(KvmVm *vm, unsigned gsi)
{
    Route *r = find_route(vm, gsi);

    if (!r)
        return;
    g_array_remove_index_fast(vm->routes, r - (Route *)(void *)vm->routes->data);
    kvm_routes_commit(vm);
}

static void ioapic_pin(Machine *m, unsigned pin, uint64_t addr, uint32_t data, bool masked)
{
    KvmVm *vm = kvm_vm(m);

    if (pin >= SPLIT_PINS)
        return;
    g_mutex_lock(&vm->route_lock);
    if (masked)
        drop_route(vm, pin);
    else if (!set_msi_route(vm, pin, addr, data))
        log_warn("KVM refused the route of I/O APIC pin %u: %s", pin, g_strerror(errno));
    g_mutex_unlock(&vm->route_lock);
}

static void set_eoi(Machine *m, void (*fn)(void *opaque, uint8_t vector), void *opaque)
{
    kvm_vm(m)->eoi = fn;
    kvm_vm(m)->eoi_opaque = opaque;
}

const AccelIrqchip kvm_irqchip = {
    .mode = mode, .line = line, .msi = msi, .ioapic_pin = ioapic_pin, .set_eoi = set_eoi,
    .pic_get = kvm_pic_get, .pic_set = kvm_pic_set, .ioapic_get = kvm_ioapic_get, .ioapic_set = kvm_ioapic_set,
    .pit_create = kvm_pit_create, .pit_get = kvm_pit_get, .pit_set = kvm_pit_set,
};

/* --- events --- */

static bool irqfd(KvmVm *vm, int fd, int resample, unsigned gsi, bool on)
{
    struct kvm_irqfd f = { .fd = (uint32_t)fd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

    if (on && resample >= 0) {
        f.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        f.resamplefd = (uint32_t)resample;
    }
    return kvm_vm_ioctl(vm, KVM_IRQFD, &f) == 0;
}

static int msi_new(Machine *m, uint64_t addr, uint32_t data, int fd)
{
    KvmVm *vm = kvm_vm(m);
    unsigned gsi;
    bool ok;

    if (vm->irqchip == IRQCHIP_OFF || !vm->caps.irqfd)
        return -1;
    g_mutex_lock(&vm->route_lock);
    for (gsi = IRQCHIP_GSIS; find_route(vm, gsi); gsi++)
        continue;
    ok = set_msi_route(vm, gsi, addr, data);
    if (ok && !irqfd(vm, fd, -1, gsi, true)) {
        drop_route(vm, gsi);
        ok = false;
    }
    g_mutex_unlock(&vm->route_lock);
    return ok ? (int)gsi : -1;
}

static bool msi_change(Machine *m, int route, uint64_t addr, uint32_t data)
{
    KvmVm *vm = kvm_vm(m);
    bool ok;

    g_mutex_lock(&vm->route_lock);
    ok = set_msi_route(vm, route, addr, data);
    g_mutex_unlock(&vm->route_lock);
    return ok;
}

static void msi_free(Machine *m, int route, int fd)
{
    KvmVm *vm = kvm_vm(m);

    g_mutex_lock(&vm->route_lock);
    irqfd(vm, fd, -1, route, false);
    drop_route(vm, route);
    g_mutex_unlock(&vm->route_lock);
}

static bool level_event(Machine *m, unsigned gsi, int fd, int resample, bool on)
{
    KvmVm *vm = kvm_vm(m);

    return vm->irqchip == IRQCHIP_ON && vm->caps.irqfd && vm->caps.resample && irqfd(vm, fd, resample, gsi, on);
}

static bool io_event(Machine *m, bool port, uint64_t addr, unsigned size, bool match, uint64_t value, int fd, bool on)
{
    KvmVm *vm = kvm_vm(m);
    struct kvm_ioeventfd e = { .datamatch = value, .addr = addr, .len = size, .fd = fd,
        .flags = (port ? KVM_IOEVENTFD_FLAG_PIO : 0) | (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
                 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

    if (vm->user_only || !vm->caps.ioeventfd || (!size && !vm->caps.ioeventfd_any))
        return false;
    return kvm_vm_ioctl(vm, KVM_IOEVENTFD, &e) == 0;
}

const AccelEvents kvm_events = {
    .io = io_event, .msi_new = msi_new, .msi_change = msi_change, .msi_free = msi_free, .level = level_event,
};
