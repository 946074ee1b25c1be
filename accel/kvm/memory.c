/*
 * memory: KVM memory slots from the flat view, and the dirty log of blocks that displays watch.
 *
 * Slots are whole pages; what is left of a range that starts or ends inside a page stays MMIO.
 * Main memory is not logged; every other RAM block (video memory) is.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

enum { PAGE = 4096 };

static bool set_slot(KvmVm *vm, unsigned n, const KvmSlot *s, uint64_t size)
{
    struct kvm_userspace_memory_region r = {
        .slot = n, .guest_phys_addr = s->gpa, .memory_size = size, .userspace_addr = (uintptr_t)s->host,
        .flags = (s->readonly ? KVM_MEM_READONLY : 0) |
                 (s->ram != vm->machine->ram && !s->readonly ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };

    return ioctl(vm->vm, KVM_SET_USER_MEMORY_REGION, &r) == 0;
}

/* The slot a flat range wants; false: none (MMIO, or less than a page). */
static bool wanted(const KvmVm *vm, const FlatRange *f, KvmSlot *s)
{
    uint64_t start = (f->addr + PAGE - 1) & ~(uint64_t)(PAGE - 1), end = (f->addr + f->size) & ~(uint64_t)(PAGE - 1);

    if (!f->host || end <= start || (f->readonly && !vm->readonly_mem))
        return false;
    *s = (KvmSlot) { .gpa = start, .size = end - start, .host = f->host + (start - f->addr), .ram = f->ram,
                     .ram_offset = f->ram_offset + (start - f->addr), .readonly = f->readonly, .used = true };
    return true;
}

static bool same(const KvmSlot *a, const KvmSlot *b)
{
    return a->used && a->gpa == b->gpa && a->size == b->size && a->host == b->host && a->readonly == b->readonly;
}

static bool in_view(const KvmVm *vm, const FlatView *view, const KvmSlot *s)
{
    for (unsigned i = 0; i < view->n; i++) {
        KvmSlot w;

        if (wanted(vm, &view->ranges[i], &w) && same(s, &w))
            return true;
    }
    return false;
}

static bool have_slot(const KvmVm *vm, const KvmSlot *w)
{
    for (guint n = 0; n < vm->slots->len; n++) {
        if (same(&g_array_index(vm->slots, KvmSlot, n), w))
            return true;
    }
    return false;
}

static void add_slot(KvmVm *vm, const KvmSlot *w)
{
    guint n = 0;

    while (n < vm->slots->len && g_array_index(vm->slots, KvmSlot, n).used)
        n++;
    if (n == vm->slots->len)
        g_array_set_size(vm->slots, n + 1);
    g_array_index(vm->slots, KvmSlot, n) = *w;
    if (n >= vm->max_slots || !set_slot(vm, n, w, w->size)) {
        log_warn("KVM refused memory at %#" G_GINT64_MODIFIER "x, %" G_GUINT64_FORMAT " KiB: %s", w->gpa, w->size / 1024,
                 g_strerror(errno));
        g_array_index(vm->slots, KvmSlot, n).used = false;
    }
}

static void log_slot(KvmVm *vm, unsigned n, const KvmSlot *s);

static void changed(void *opaque, const FlatView *old, const FlatView *now)
{
    KvmVm *vm = opaque;

    g_mutex_lock(&vm->lock);
    for (guint n = 0; n < vm->slots->len; n++) {
        KvmSlot *s = &g_array_index(vm->slots, KvmSlot, n);

        if (s->used && !in_view(vm, now, s)) {
            log_slot(vm, n, s);
            set_slot(vm, n, s, 0);
            s->used = false;
        }
    }
    for (unsigned i = 0; i < now->n; i++) {
        KvmSlot w;

        if (wanted(vm, &now->ranges[i], &w) && !have_slot(vm, &w))
            add_slot(vm, &w);
    }
    g_mutex_unlock(&vm->lock);
}

/* Folds the kernel's dirty bitmap of a slot into the pages[] of its block. */
static void log_slot(KvmVm *vm, unsigned n, const KvmSlot *s)
{
    uint64_t pages = s->size / PAGE;
    g_autofree uint64_t *bits = NULL;
    struct kvm_dirty_log dl = { .slot = n };

    if (s->readonly || s->ram == vm->machine->ram)
        return;
    bits = g_new0(uint64_t, pages / 64 + 1);
    dl.dirty_bitmap = bits;
    if (ioctl(vm->vm, KVM_GET_DIRTY_LOG, &dl))
        return;
    for (uint64_t w = 0; w <= (pages - 1) / 64; w++) {
        while (bits[w]) {
            unsigned b = __builtin_ctzll(bits[w]);

            bits[w] &= bits[w] - 1;
            ram_mark_written(s->ram, s->ram_offset + (w * 64 + b) * PAGE, PAGE);
        }
    }
}

void kvm_dirty_sync(Machine *m, RamBlock *rb)
{
    KvmVm *vm = kvm_vm(m);

    g_mutex_lock(&vm->lock);
    for (guint n = 0; n < vm->slots->len; n++) {
        KvmSlot *s = &g_array_index(vm->slots, KvmSlot, n);

        if (s->used && s->ram == rb)
            log_slot(vm, n, s);
    }
    g_mutex_unlock(&vm->lock);
}

bool kvm_memory_init(KvmVm *vm, GError **err)
{
    int slots = ioctl(vm->vm, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    RegionListener l = { .changed = changed, .opaque = vm };

    vm->max_slots = slots > 0 ? slots : 32;
    vm->readonly_mem = ioctl(vm->vm, KVM_CHECK_EXTENSION, KVM_CAP_READONLY_MEM) > 0;
    vm->slots = g_array_new(FALSE, TRUE, sizeof(KvmSlot));
    addrspace_listen(&vm->machine->mem, &l);
    return true;
}

void kvm_memory_cleanup(KvmVm *vm)
{
    if (!vm->slots)
        return;
    addrspace_unlisten(&vm->machine->mem, vm);
    g_array_unref(vm->slots);
    vm->slots = NULL;
}
