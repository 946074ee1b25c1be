/*
 * user: on a host whose KVM emulates guest kernels, only 64-bit user code runs in KVM.
 *
 * Everything else goes through the interpreter's bodies (accel/soft/step.h), which are right where
 * such an emulator is not, and faster. The struct X86Cpu is the truth; KVM gets it for a stretch of
 * user code, and whatever ends the stretch (a fault, a system call, a device, a signal) gives it back:
 * the instruction it stopped at is then run by its body, which raises what it has to raise.
 *
 * So that no event reaches the guest's kernel inside KVM, a stretch has its own IDT, whose gates lead
 * to one OUT instruction each. It stands with its stack in a free slot of a copy of the guest's
 * top-level page table, in memory the guest does not have. KVM does not see what the interpreter
 * writes to page tables: where the guest flushed a TLB, KVM's translations are dropped by taking a
 * memory slot away.
 */
#include "accel/kvm/kvm_int.h"

#include "accel/soft/loop.h"
#include "accel/soft/step.h"
#include "softmmu/dma.h"
#include "util/log.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

enum { PAGE = 4096, PAGES = 8, ENTRY_PRESENT = 1, ACCESSED = 0x20, TABLE = 3, SLOTS = 512, GIVE_UP = 200 };
/* Pages of the block, and where they are mapped. */
enum { TOP, PDPT, PD, PT, IDT, STUBS, TSS, STACK };
enum { STUB_SIZE = 8, SYSCALL_STUB = 256 * STUB_SIZE, PORT = 0x80, TSS_LIMIT = 0x67, MSR_LSTAR = 0xc0000082 };

struct KvmUser {
    SoftCache *cache;
    uint8_t *mem;               /* PAGES pages, at gpa in the guest */
    uint64_t gpa, va;           /* va: of the first page's mapping; 0: none yet */
    unsigned slot;
    uint64_t space, lstar;      /* code_space at the last entry, value of MSR_LSTAR in KVM */
    uint32_t epoch;
    uint64_t *xs, *xs_known;    /* vector state: wanted, and as KVM has it */
    uint16_t gate_cs;
    X86Table gate_gdt;          /* where gate_cs was found */
    bool ready, off, dirty_events;
    unsigned strange;
};

static uint8_t *page(KvmUser *u, unsigned n)
{
    return u->mem + n * PAGE;
}

/* --- the block --- */

static bool set_slot(KvmVm *vm, unsigned slot, uint64_t gpa, void *mem, uint64_t size)
{
    struct kvm_userspace_memory_region r = { .slot = slot, .guest_phys_addr = gpa, .memory_size = size,
                                             .userspace_addr = (uintptr_t)mem };

    return kvm_vm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r) == 0;
}

/* Above anything the guest has: below the end of what the processor can address. */
static uint64_t place(const KvmVm *vm)
{
    unsigned bits = 36;

    for (uint32_t i = 0; i < vm->supported->nent; i++) {
        if (vm->supported->entries[i].function == 0x80000008)
            bits = CLAMP(vm->supported->entries[i].eax & 0xff, 36, 46);
    }
    return (1ull << bits) - SLOTS * PAGES * PAGE;
}

static void build(KvmUser *u)
{
    st64_le(page(u, PD), (u->gpa + PT * PAGE) | TABLE);
    st64_le(page(u, PDPT), (u->gpa + PD * PAGE) | TABLE);
    for (unsigned i = 0; i < PAGES; i++)
        st64_le(page(u, PT) + 8 * i, (u->gpa + i * PAGE) | TABLE);
    for (unsigned v = 0; v <= 256; v++) {
        page(u, STUBS)[v * STUB_SIZE] = 0xe6;           /* out PORT, al */
        page(u, STUBS)[v * STUB_SIZE + 1] = PORT;
        page(u, STUBS)[v * STUB_SIZE + 2] = 0xf4;
    }
}

/* Addresses of gates and stack, once the slot of the top-level table is known. */
static void link_block(KvmUser *u)
{
    uint64_t stubs = u->va + STUBS * PAGE;

    for (unsigned v = 0; v < 256; v++) {
        uint64_t to = stubs + v * STUB_SIZE;

        st64_le(page(u, IDT) + 16 * v, (to & 0xffff) | (uint64_t)u->gate_cs << 16 | 0x8e00ull << 32 | (to >> 16 & 0xffff) << 48);
        st64_le(page(u, IDT) + 16 * v + 8, to >> 32);
    }
    st64_le(page(u, TSS) + 4, u->va + (STACK + 1) * PAGE);     /* RSP0 */
}

bool kvm_user_init(KvmVcpu *k, X86Cpu *c, GError **err)
{
    KvmVm *vm = k->vm;
    KvmUser *u = k->user = g_new0(KvmUser, 1);

    u->cache = soft_cache_new();
    u->mem = g_aligned_alloc0(PAGES, PAGE, PAGE);
    u->xs = g_malloc0(vm->caps.xsave_size);
    u->xs_known = g_malloc0(vm->caps.xsave_size);
    u->slot = vm->caps.slots - 2 - c->vcpu.index;
    u->gpa = place(vm) + (uint64_t)c->vcpu.index * PAGES * PAGE;
    u->off = c->vcpu.index >= SLOTS - 2 || !set_slot(vm, u->slot, u->gpa, u->mem, PAGES * PAGE);
    build(u);
    if (kvm_ioctl(k, KVM_SET_CPUID2, vm->supported))
        return err_set_errno(err, errno, "KVM refused its own CPU model");
    c->tsc_offset = 0;          /* user code reads the host's counter on such hosts: quick, see run() */
    return true;
}

void kvm_user_free(KvmVcpu *k)
{
    KvmUser *u = k->user;

    if (!u)
        return;
    soft_cache_free(u->cache);
    g_aligned_free(u->mem);
    g_free(u->xs);
    g_free(u->xs_known);
    g_free(u);
    k->user = NULL;
}

/* --- what the guest's tables allow --- */

/* KVM forgets all translations when a slot goes. */
static void forget_translations(KvmVm *vm, KvmUser *u)
{
    static uint8_t nothing[PAGE] __attribute__((aligned(PAGE)));
    uint64_t gpa = place(vm) + (uint64_t)(SLOTS - 1) * PAGES * PAGE;

    g_mutex_lock(&vm->lock);
    set_slot(vm, vm->caps.slots - 1, gpa, nothing, PAGE);
    set_slot(vm, vm->caps.slots - 1, gpa, nothing, 0);
    vm->forgotten++;
    g_mutex_unlock(&vm->lock);
}

/* The descriptor sel names in the tables of c. */
static bool descriptor(X86Cpu *c, unsigned sel, uint64_t *d)
{
    uint64_t base = sel & 4 ? c->seg[S_LDTR].base : c->gdtr.base, limit = sel & 4 ? c->seg[S_LDTR].limit : c->gdtr.limit, pa;
    uint8_t b[8];

    if ((sel | 7u) > limit || !x86_translate_debug(c, base + (sel & ~7u), &pa) ||
        !dma_read(&c->vcpu.machine->mem, pa, b, 8))
        return false;
    *d = ld64_le(b);
    return true;
}

static bool find_gate_cs(X86Cpu *c, KvmUser *u)
{
    if (u->gate_cs && u->gate_gdt.base == c->gdtr.base && u->gate_gdt.limit == c->gdtr.limit)
        return true;
    u->gate_cs = 0;
    u->gate_gdt = c->gdtr;
    for (unsigned sel = 8; sel + 7u <= c->gdtr.limit && sel < 0x200; sel += 8) {
        uint64_t d;

        if (!descriptor(c, sel, &d))
            continue;
        d >>= 32;
        if ((d & SEG_P) && (d & SEG_S) && (d & SEG_CODE) && !(d & SEG_CONF) && (d & SEG_L) && !(d & SEG_DB) && !SEG_DPL(d)) {
            u->gate_cs = sel;
            u->va = 0;
            return true;
        }
    }
    return false;
}

/* The copy of the guest's top-level table, with the block in a free slot. False: no room. */
static bool copy_top(X86Cpu *c, KvmUser *u, bool *changed)
{
    uint8_t now[PAGE], *have = page(u, TOP);
    unsigned mine = u->va ? u->va >> 39 & 511 : 511;

    if (!dma_read(&c->vcpu.machine->mem, c->cr3 & 0xffffffffff000ull, now, PAGE))
        return false;
    if (!u->va || (now[mine * 8] & ENTRY_PRESENT)) {
        for (mine = 510; mine > 255 && (now[mine * 8] & ENTRY_PRESENT); mine--)
            continue;
        if (mine == 255)
            return false;
        u->va = (uint64_t)((int64_t)((uint64_t)mine << 55) >> 16);
        link_block(u);
        *changed = true;
    }
    st64_le(now + mine * 8, (u->gpa + PDPT * PAGE) | TABLE);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t n = ld64_le(now + 8 * i) | ACCESSED;

        if (n != (ld64_le(have + 8 * i) | ACCESSED)) {
            st64_le(have + 8 * i, n);
            *changed = true;
        }
    }
    return true;
}

static bool can_enter(const X86Cpu *c)
{
    const uint32_t look = MODE_CPL | MODE_CS64 | MODE_TF | MODE_SHADOW | MODE_SMM | MODE_IOPL_OK | MODE_FPU_NM | MODE_SSE_NM;

    return (c->mode & look) == (3 | MODE_CS64) && !c->db_pending && !c->held.valid && !(c->cr4 & (1u << 12)) &&
           !(c->eflags & FL_RF);
}

/* --- state --- */

static bool put_state(X86Cpu *c, KvmVcpu *k)
{
    KvmUser *u = k->user;
    struct kvm_regs r;
    struct kvm_sregs s = { 0 };
    struct kvm_vcpu_events none = { 0 };

    kvm_regs_out(c, &r);
    kvm_sregs_out(c, &s);
    s.cr3 = u->gpa + TOP * PAGE;
    s.cr4 = (c->cr4 | CR4_TSD) & ~(uint64_t)CR4_PCIDE;
    s.efer = c->efer & ~(uint64_t)EFER_SCE;
    s.idt.base = u->va + IDT * PAGE;
    s.idt.limit = PAGE - 1;
    s.tr.base = u->va + TSS * PAGE;
    s.tr.limit = TSS_LIMIT;
    s.cr8 = 0;
    s.apic_base = 0xfee00900;
    kvm_xsave_out(c, (uint8_t *)u->xs);
    if (kvm_ioctl(k, KVM_SET_SREGS, &s) || kvm_ioctl(k, KVM_SET_REGS, &r))
        return false;
    if (memcmp(u->xs, u->xs_known, k->vm->caps.xsave_size) && kvm_ioctl(k, KVM_SET_XSAVE, u->xs))
        return false;
    if (u->dirty_events && kvm_ioctl(k, KVM_SET_VCPU_EVENTS, &none))
        return false;
    u->dirty_events = false;
    return true;
}

/* Some hosts carry out far transfers of user code: CS and SS that an event pushed. */
static void reload(X86Cpu *c, X86Seg *s, uint16_t sel)
{
    uint64_t d;

    if (s->sel == sel || !descriptor(c, sel, &d))
        return;
    *s = (X86Seg) { .sel = sel, .attr = d >> 32 & 0xf0ff00, .limit = (d & 0xffff) | (d >> 32 & 0xf0000),
                    .base = (d >> 16 & 0xffffff) | (d >> 56) << 24 };
    if (s->attr & SEG_G)
        s->limit = s->limit << 12 | 0xfff;
}

/* Registers that user code changes. r: as KVM has them, or with what an event pushed put back. */
static bool take_state(X86Cpu *c, KvmVcpu *k, const struct kvm_regs *r, const struct kvm_sregs *s)
{
    static const uint8_t data[] = { S_ES, S_DS, S_FS, S_GS };
    const struct kvm_segment *from[] = { &s->es, &s->ds, &s->fs, &s->gs };
    KvmUser *u = k->user;
    unsigned long get = k->vm->caps.xsave_size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;

    if (kvm_ioctl(k, get, u->xs_known))
        return false;
    kvm_xsave_in(c, (uint8_t *)u->xs_known);
    kvm_regs_in(c, r);
    for (unsigned i = 0; i < ARRAY_LEN(data); i++)
        kvm_seg_in(&c->seg[data[i]], from[i]);
    x86_update_mode(c);
    return true;
}

/* Undoes what the delivery of an event did: KVM stands in one of the stubs. */
static void from_stub(KvmUser *u, X86Cpu *c, struct kvm_regs *r)
{
    uint64_t off = (r->rip - (u->va + STUBS * PAGE)) & (PAGE - 1), top = u->va + (STACK + 1) * PAGE;
    unsigned vector = off / STUB_SIZE;

    if (r->rsp == top - 40 || r->rsp == top - 48) {
        const uint8_t *frame = page(u, STACK) + PAGE - 40;

        r->rip = ld64_le(frame);
        r->rflags = ld64_le(frame + 16);
        r->rsp = ld64_le(frame + 24);
        reload(c, &c->seg[S_CS], ld16_le(frame + 8));
        reload(c, &c->seg[S_SS], ld16_le(frame + 32));
        if (vector == EXC_BP || vector == EXC_DB)       /* reported after the instruction */
            r->rip--;
    }
    if (r->rip == u->lstar) {           /* a processor that does not ask EFER.SCE */
        r->rip = r->rcx - 2;
        r->rflags = r->r11;
    }
    r->rflags &= ~(uint64_t)FL_RF;      /* set by the delivery of a fault; it was clear */
}

static bool in_stub(const KvmUser *u, uint64_t rip)
{
    return rip - (u->va + STUBS * PAGE) < PAGE;
}

/* An access that KVM waits to see answered: answered with nothing, and done again by its body. */
static void cancel_access(KvmVcpu *k)
{
    struct kvm_run *r = k->run;

    for (unsigned i = 0; i < 16 && (r->exit_reason == KVM_EXIT_MMIO || r->exit_reason == KVM_EXIT_IO); i++) {
        r->immediate_exit = 1;
        if (kvm_ioctl(k, KVM_RUN, NULL) < 0)
            break;
    }
    r->immediate_exit = 0;
}

/* --- a stretch --- */

static VcpuExit give_up(X86Cpu *c, KvmUser *u, const char *why)
{
    u->off = true;
    log_info("CPU %d: %s; user code is interpreted from now on", c->vcpu.index, why);
    return VCPU_EXIT_NONE;
}

/*
 * KVM_RUN; 0 or errno. Such hosts run RDTSC of user code as the processor does, with the host's counter. Where the guest's
 * is another one (its state came from elsewhere), this thread is denied RDTSC meanwhile: together with CR4.TSD that makes
 * it fault in the guest too, and its body gives the right answer.
 */
static int run(const X86Cpu *c, KvmVcpu *k)
{
    bool own = c->tsc_offset;
    int e;

    if (own)
        prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
    e = kvm_ioctl(k, KVM_RUN, NULL) < 0 ? errno : 0;
    if (own)
        prctl(PR_SET_TSC, PR_TSC_ENABLE);
    return e;
}

/* Enters the guest until user code stands still. 0, or errno. */
static int enter(X86Cpu *c, KvmVcpu *k, struct kvm_regs *r, struct kvm_sregs *s)
{
    for (unsigned i = 0; i < 64; i++) {
        int e = 0;

        k->run->immediate_exit = 0;
        if (!atomic_load(&c->vcpu.attention) || i)
            e = run(c, k);
        else
            k->run->exit_reason = KVM_EXIT_INTR;
        if (e && e != EINTR && e != EAGAIN)
            return e;
        if (e)
            k->run->exit_reason = KVM_EXIT_INTR;
        k->exits[MIN(k->run->exit_reason, KVM_EXIT_KINDS - 1)]++;
        if (kvm_ioctl(k, KVM_GET_REGS, r) || kvm_ioctl(k, KVM_GET_SREGS, s))
            return errno;
        /* Between an event and its stub: on to the stub. */
        if (k->run->exit_reason != KVM_EXIT_INTR || !in_stub(k->user, r->rip))
            return 0;
    }
    return 0;
}

static void settle(X86Cpu *c, KvmVcpu *k, struct kvm_regs *r, const struct kvm_sregs *s)
{
    KvmUser *u = k->user;
    uint32_t reason = k->run->exit_reason;

    u->dirty_events = reason != KVM_EXIT_IO;
    if (in_stub(u, r->rip)) {
        from_stub(u, c, r);
        return;
    }
    reload(c, &c->seg[S_CS], s->cs.selector);
    reload(c, &c->seg[S_SS], s->ss.selector);
    if (reason == KVM_EXIT_IO || reason == KVM_EXIT_MMIO) {
        u->dirty_events = true;
        cancel_access(k);
    } else if (reason != KVM_EXIT_INTR && reason != KVM_EXIT_DIRTY_RING_FULL) {
        u->strange++;
        u->gate_cs = 0;
    }
}

static bool prepare(X86Cpu *c, KvmVcpu *k)
{
    KvmUser *u = k->user;
    bool changed = !u->ready || u->space != c->code_space || u->epoch != c->code_epoch;
    struct { struct kvm_msrs head; struct kvm_msr_entry e; } m = { { .nmsrs = 1 }, { .index = MSR_LSTAR } };

    if (!find_gate_cs(c, u) || !copy_top(c, u, &changed))
        return false;
    m.e.data = u->va + STUBS * PAGE + SYSCALL_STUB;
    if (u->lstar != m.e.data && kvm_ioctl(k, KVM_SET_MSRS, &m) != 1)
        return false;
    u->lstar = m.e.data;
    if (changed)
        forget_translations(k->vm, u);
    u->space = c->code_space;
    u->epoch = c->code_epoch;
    u->ready = true;
    return true;
}

static VcpuExit stretch(X86Cpu *c, KvmVcpu *k, bool *ran)
{
    KvmUser *u = k->user;
    struct kvm_regs r;
    struct kvm_sregs s;
    int e;

    *ran = false;
    if (!prepare(c, k))
        return VCPU_EXIT_NONE;
    if (!put_state(c, k))
        return give_up(c, u, "KVM refused the state of user code");
    e = enter(c, k, &r, &s);
    if (e)
        return give_up(c, u, g_strerror(e));
    settle(c, k, &r, &s);
    *ran = k->run->exit_reason == KVM_EXIT_INTR;
    if (!take_state(c, k, &r, &s))
        return kvm_stop_report(c, "KVM does not tell the registers of user code");
    k->vm->stretches++;
    return u->strange > GIVE_UP ? give_up(c, u, "KVM leaves user code in ways it should not") : VCPU_EXIT_NONE;
}

static bool never(const X86Cpu *c)
{
    return false;
}

VcpuExit kvm_user_run(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    KvmVcpu *k = kvm_vcpu(v);
    bool interrupted = true;
    VcpuExit why;

    if (soft_debugged(v))
        return soft_debug_run(c);
    do {
        why = soft_run(c, k->user->cache, !interrupted, k->user->off ? never : can_enter);
        if (why == VCPU_EXIT_NONE)
            why = stretch(c, k, &interrupted);
    } while (why == VCPU_EXIT_NONE);
    return why;
}
