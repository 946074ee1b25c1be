/*
 * coalesce: device writes that may wait: the kernel collects them, the next exit carries them out.
 *
 * Zones are the regions whose IoOps say so (late_writes) and that stand alone in the view: display
 * registers and memory whose effect nobody sees before the guest reads or the screen is drawn.
 * Linux Documentation/virt/kvm/api.rst 4.116.
 */
#include "accel/kvm/kvm_int.h"

#include <string.h>

typedef struct kvm_coalesced_mmio_zone Zone;

/* Entries of the ring, which fills a page. */
enum { ENTRIES = (4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio) };

static bool have(const GArray *a, const Zone *z)
{
    for (guint i = 0; i < a->len; i++) {
        if (!memcmp(&g_array_index(a, Zone, i), z, sizeof *z))
            return true;
    }
    return false;
}

static void collect(GArray *out, const FlatView *view, bool port)
{
    for (unsigned i = 0; view && i < view->n; i++) {
        const FlatRange *f = &view->ranges[i];
        Zone z = { .addr = f->addr, .size = (uint32_t)f->size, .pio = port };

        if (!f->host && f->region->ops && f->region->ops->late_writes && f->size <= UINT32_MAX)
            g_array_append_val(out, z);
    }
}

/* The memory view changed (NULL: all zones go). Machine lock. */
void kvm_coalesce_update(KvmVm *vm, const FlatView *mem)
{
    g_autoptr(GArray) now = g_array_new(FALSE, FALSE, sizeof(Zone));

    if (!vm->caps.coalesced)
        return;
    collect(now, mem, false);
    for (guint i = 0; i < vm->zones->len; i++) {
        if (!have(now, &g_array_index(vm->zones, Zone, i)))
            kvm_vm_ioctl(vm, KVM_UNREGISTER_COALESCED_MMIO, &g_array_index(vm->zones, Zone, i));
    }
    for (guint i = now->len; i-- > 0;) {
        Zone *z = &g_array_index(now, Zone, i);

        if (!have(vm->zones, z) && kvm_vm_ioctl(vm, KVM_REGISTER_COALESCED_MMIO, z))
            g_array_remove_index_fast(now, i);
    }
    g_array_unref(vm->zones);
    vm->zones = g_steal_pointer(&now);
}

/* Any thread, machine lock held or not. The ring is one per machine: the lock orders its readers. */
void kvm_coalesce_drain(KvmVm *vm)
{
    struct kvm_coalesced_mmio_ring *ring = vm->coalesced;
    bool held;

    if (!ring || __atomic_load_n(&ring->first, __ATOMIC_RELAXED) == __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
        return;
    held = machine_lock_held();
    if (!held)
        machine_lock();
    for (unsigned budget = 4096; budget && ring->first != __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE); budget--) {
        const struct kvm_coalesced_mmio *e = &ring->coalesced_mmio[ring->first % ENTRIES];
        uint64_t v = 0;

        memcpy(&v, e->data, MIN(e->len, sizeof v));
        if (e->len == 1 || e->len == 2 || e->len == 4 || e->len == 8)
            addrspace_write(e->pio ? &vm->machine->ports : &vm->machine->mem, e->phys_addr, e->len, v);
        __atomic_store_n(&ring->first, (ring->first + 1) % ENTRIES, __ATOMIC_RELEASE);
    }
    if (!held)
        machine_unlock();
}
