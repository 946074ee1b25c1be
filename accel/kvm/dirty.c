/*
 * dirty: which pages a guest wrote: bitmaps per slot, or rings per vcpu.
 *
 * Only blocks that somebody watches are logged (memory.c). A ring needs no bitmap of the whole slot
 * and tells pages in the order of their first store; -accel kvm,dirty-ring-size=N turns it on.
 * Linux Documentation/virt/kvm/api.rst 4.8 and 8.29.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"
#include "util/optlist.h"

#include <errno.h>

enum { PAGE = 4096, RING_MIN = 1024 };

/* --- bitmaps --- */

static void mark(const KvmSlot *s, uint64_t page)
{
    if (page < s->size / PAGE)
        ram_mark_written(s->ram, s->ram_offset + page * PAGE, PAGE);
}

/* Folds what the kernel knows of a slot into the pages[] of its block; vm->lock held. */
void kvm_log_slot(KvmVm *vm, unsigned n, const KvmSlot *s)
{
    uint64_t pages = s->size / PAGE;
    g_autofree uint64_t *bits = NULL;
    struct kvm_dirty_log dl = { .slot = n };

    if (!s->logged)
        return;
    if (vm->ring_entries) {
        kvm_ring_harvest(vm);
        return;
    }
    bits = g_new0(uint64_t, pages / 64 + 1);
    dl.dirty_bitmap = bits;
    if (kvm_vm_ioctl(vm, KVM_GET_DIRTY_LOG, &dl))
        return;
    for (uint64_t w = 0; w <= (pages - 1) / 64; w++) {
        while (bits[w]) {
            unsigned b = __builtin_ctzll(bits[w]);

            bits[w] &= bits[w] - 1;
            mark(s, w * 64 + b);
        }
    }
}

/* RegionListener.sync: collected writes come first, they may go to rb. */
void kvm_dirty_sync(void *opaque, RamBlock *rb)
{
    KvmVm *vm = opaque;

    kvm_coalesce_drain(vm);
    g_mutex_lock(&vm->lock);
    for (guint n = 0; n < vm->slots->len; n++) {
        KvmSlot *s = &g_array_index(vm->slots, KvmSlot, n);

        if (s->used && s->ram == rb)
            kvm_log_slot(vm, n, s);
    }
    g_mutex_unlock(&vm->lock);
}

/* --- rings --- */

bool kvm_ring_init(KvmVm *vm, GHashTable *opts, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, "dirty-ring-size") : NULL;
    uint64_t n;

    if (!text)
        return true;
    if (!parse_size_text(text, 1, &n, err))
        return err_prefix(err, "dirty-ring-size");
    if (n == 0)
        return true;
    if (n < RING_MIN || (n & (n - 1)) || n * sizeof(struct kvm_dirty_gfn) > vm->caps.dirty_ring)
        return vm->caps.dirty_ring
               ? err_set(err, "dirty-ring-size is a power of two from %d to %zu here, not %s", RING_MIN,
                         vm->caps.dirty_ring / sizeof(struct kvm_dirty_gfn), text)
               : err_set(err, "this host's KVM has no dirty rings");
    if (!kvm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, n * sizeof(struct kvm_dirty_gfn)) &&
        !kvm_enable_cap(vm, KVM_CAP_DIRTY_LOG_RING, n * sizeof(struct kvm_dirty_gfn)))
        return err_set_errno(err, errno, "KVM refused a dirty ring of %s entries", text);
    vm->ring_entries = n;
    return true;
}

bool kvm_ring_map(KvmVcpu *k, GError **err)
{
    if (!k->vm->ring_entries)
        return true;
    k->ring = k->vm->sys->mmap(k->vm->ring_entries * sizeof *k->ring, k->fd, KVM_DIRTY_LOG_PAGE_OFFSET * (uint64_t)PAGE);
    return k->ring || err_set_errno(err, errno, "the dirty ring of a vcpu");
}

void kvm_ring_unmap(KvmVcpu *k)
{
    if (k->ring)
        k->vm->sys->munmap(k->ring, k->vm->ring_entries * sizeof *k->ring);
    k->ring = NULL;
}

static unsigned harvest_vcpu(KvmVm *vm, KvmVcpu *k)
{
    unsigned done = 0;

    while (done < vm->ring_entries) {
        struct kvm_dirty_gfn *e = &k->ring[k->ring_next & (vm->ring_entries - 1)];

        if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
            break;
        if ((e->slot & 0xffff) < vm->slots->len && g_array_index(vm->slots, KvmSlot, e->slot & 0xffff).used)
            mark(&g_array_index(vm->slots, KvmSlot, e->slot & 0xffff), e->offset);
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
        k->ring_next++;
        done++;
    }
    return done;
}

void kvm_ring_harvest(KvmVm *vm)
{
    unsigned done = 0;

    for (unsigned i = 0; i < vm->machine->vcpus->len; i++) {
        KvmVcpu *k = kvm_vcpu(g_ptr_array_index(vm->machine->vcpus, i));

        if (k && k->ring)
            done += harvest_vcpu(vm, k);
    }
    if (done)
        kvm_vm_ioctl(vm, KVM_RESET_DIRTY_RINGS, NULL);
}

void kvm_ring_full(KvmVm *vm)
{
    g_mutex_lock(&vm->lock);
    kvm_ring_harvest(vm);
    g_mutex_unlock(&vm->lock);
}
