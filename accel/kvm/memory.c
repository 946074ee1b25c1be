/*
 * memory: KVM memory slots from the flat view; ROM in read-only slots, whose writes come out as MMIO.
 *
 * Slots are whole pages; what is left of a range that starts or ends inside a page stays MMIO.
 * Main memory is not logged; every other RAM block (video memory) is. A processor in system
 * management mode uses KVM's second address space: the same slots, but RAM where the screen shows.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>

enum { PAGE = 4096 };

/* a0000h-bffffh: SMRAM for processors in SMM, the screen for others (82441FX, SMRAM register). */
enum { SMRAM = 0xa0000, SMRAM_SIZE = 0x20000, SMM_SPACE = 1 << 16 };

static bool set_one(KvmVm *vm, unsigned n, const KvmSlot *s, uint64_t size)
{
    struct kvm_userspace_memory_region r = {
        .slot = n, .guest_phys_addr = s->gpa, .memory_size = size, .userspace_addr = (uintptr_t)s->host,
        .flags = (s->readonly ? KVM_MEM_READONLY : 0) | (s->logged ? KVM_MEM_LOG_DIRTY_PAGES : 0),
    };

    return kvm_vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r) == 0;
}

static bool on_screen(const KvmVm *vm, const KvmSlot *s)
{
    return s->ram != vm->machine->ram && s->gpa < SMRAM + SMRAM_SIZE && s->gpa + s->size > SMRAM;
}

/* In both address spaces; size 0: away with it. */
static bool set_slot(KvmVm *vm, unsigned n, const KvmSlot *s, uint64_t size)
{
    if (!set_one(vm, n, s, size))
        return false;
    return !vm->caps.smm || on_screen(vm, s) || set_one(vm, n | SMM_SPACE, s, size);
}

/* Main memory below the screen, seen in SMM only: unless other processors see it there too. */
static void update_smram(KvmVm *vm, const FlatView *now)
{
    RamBlock *ram = vm->machine->ram;
    KvmSlot s = { .gpa = SMRAM, .size = SMRAM_SIZE, .ram = ram, .ram_offset = SMRAM };
    bool want = vm->caps.smm && ram && ram->size >= SMRAM + SMRAM_SIZE;

    for (unsigned i = 0; want && i < now->n; i++) {
        const FlatRange *f = &now->ranges[i];

        want = !(f->ram == ram && f->addr < SMRAM + SMRAM_SIZE && f->addr + f->size > SMRAM);
    }
    if (want == vm->smram)
        return;
    s.host = ram->host + SMRAM;
    vm->smram = want;
    if (!set_one(vm, (vm->caps.slots - 1) | SMM_SPACE, &s, want ? SMRAM_SIZE : 0))
        log_warn("KVM refused system management memory: %s", g_strerror(errno));
}

/* The slot a flat range wants; false: none (MMIO, or less than a page). */
static bool wanted(const KvmVm *vm, const FlatRange *f, KvmSlot *s)
{
    uint64_t start = (f->addr + PAGE - 1) & ~(uint64_t)(PAGE - 1), end = (f->addr + f->size) & ~(uint64_t)(PAGE - 1);

    if (!f->host || end <= start || (f->readonly && !vm->caps.readonly_mem))
        return false;
    *s = (KvmSlot) { .gpa = start, .size = end - start, .host = f->host + (start - f->addr), .ram = f->ram,
                     .ram_offset = f->ram_offset + (start - f->addr), .readonly = f->readonly, .used = true,
                     .logged = f->ram != vm->machine->ram && !f->readonly };
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
    if (n >= vm->caps.slots - 1 || !set_slot(vm, n, w, w->size)) {
        log_warn("KVM refused memory at %#" G_GINT64_MODIFIER "x, %" G_GUINT64_FORMAT " KiB: %s", w->gpa, w->size / 1024,
                 g_strerror(errno));
        g_array_index(vm->slots, KvmSlot, n).used = false;
    }
}

static void changed(void *opaque, const FlatView *old, const FlatView *now)
{
    KvmVm *vm = opaque;

    g_mutex_lock(&vm->lock);
    for (guint n = 0; n < vm->slots->len; n++) {
        KvmSlot *s = &g_array_index(vm->slots, KvmSlot, n);

        if (s->used && !in_view(vm, now, s)) {
            kvm_log_slot(vm, n, s);
            set_slot(vm, n, s, 0);
            s->used = false;
        }
    }
    update_smram(vm, now);
    for (unsigned i = 0; i < now->n; i++) {
        KvmSlot w;

        if (wanted(vm, &now->ranges[i], &w) && !have_slot(vm, &w))
            add_slot(vm, &w);
    }
    g_mutex_unlock(&vm->lock);
    kvm_coalesce_update(vm, now);
}

void kvm_memory_init(KvmVm *vm)
{
    vm->zones = g_array_new(FALSE, FALSE, sizeof(struct kvm_coalesced_mmio_zone));
    vm->slots = g_array_new(FALSE, TRUE, sizeof(KvmSlot));
}

void kvm_memory_listen(KvmVm *vm)
{
    RegionListener l = { .changed = changed, .sync = kvm_dirty_sync, .opaque = vm };

    if (!vm->listens)
        addrspace_listen(&vm->machine->mem, &l);
    vm->listens = true;
}

void kvm_memory_cleanup(KvmVm *vm)
{
    if (!vm->slots)
        return;
    addrspace_unlisten(&vm->machine->mem, vm);
    g_array_unref(vm->slots);
    g_array_unref(vm->zones);
    vm->slots = vm->zones = NULL;
}
