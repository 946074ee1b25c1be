/* test-kvm: the KVM back-end against a recording fake of /dev/kvm: all that a real host will not do on demand. */
#include "tests/kvm/fake.h"

#include "softmmu/softmmu_int.h"
#include "util/bytes.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096 };

/* --- the device --- */

static void test_open(void)
{
    static const struct { int err; const char *hint; } cases[] = {
        { ENOENT, "--device /dev/kvm" }, { EACCES, "usermod -aG kvm" }, { EPERM, "container" }, { ENODEV, "modprobe" },
        { ENXIO, "modprobe" }, { EMFILE, "open files" } };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) why = NULL, err = NULL;

        fake_reset();
        fake.open_errno = cases[i].err;
        g_assert_false(kvm_probe_on(&fake_sys, NULL, &why));
        g_assert_nonnull(strstr(why->message, cases[i].hint));
        g_assert_null(fake_vm(NULL, NULL, &err));
        g_assert_nonnull(strstr(err->message, cases[i].hint));
        g_assert_cmpint(fake.open_fds, ==, 0);
    }
}

/* Whatever a host's KVM lacks: a machine runs, or the message says what is missing. */
static void test_caps(void)
{
    static const char *const modes[] = { "kernel-irqchip=off", "kernel-irqchip=split", "kernel-irqchip=on" };

    for (unsigned cap = 0; cap < 256; cap++) {
        for (size_t m = 0; m < G_N_ELEMENTS(modes); m++) {
            g_autoptr(GError) err = NULL;
            FakeVm *f;

            fake_reset();
            fake.cap[cap] = 0;
            f = fake_vm(NULL, modes[m], &err);
            g_assert_true(f ? !err : err && *err->message);
            if (!f)
                continue;
            g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
            fake_vm_free(f);
            g_assert_cmpint(fake.open_fds, ==, 0);
        }
    }
}

/* Uses all there is; nothing may crash or hang, whatever fails. */
static void use_all(FakeVm *f, bool on)
{
    g_autoptr(GArray) none = g_array_new(FALSE, FALSE, sizeof(VcpuWatch));
    VcpuDebug plan = { .traps = none, .lazy = none, .stops = none, .watches = none, .step = true };
    Machine *m = f->m;

    fake_run(f);
    vcpu_raise(f->v, VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_MCE);
    fake_run(f);
    m->accel->pull(f->v);
    m->accel->push(f->v);
    fake_run(f);
    f->v->debug = &plan;
    m->accel->debug(f->v);
    f->v->debug = NULL;
    m->accel->debug(f->v);
    machine_emit(m, EVENT_STOP, NULL);
    machine_emit(m, EVENT_RESUME, NULL);
    ram_sync_dirty(m->ram);
    if (on) {
        g_autoptr(GError) err = NULL;
        PicRegs pic = { 0 };
        IoapicRegs ioapic = { 0 };
        PitRegs pit = { 0 };
        int route;

        if (m->accel->irqchip->pit_create(m, true, &err)) {
            m->accel->irqchip->pit_set(m, &pit);
            m->accel->irqchip->pit_get(m, &pit);
        }
        m->accel->irqchip->pic_set(m, 1, &pic);
        m->accel->irqchip->pic_get(m, 1, &pic);
        m->accel->irqchip->ioapic_set(m, &ioapic);
        m->accel->irqchip->ioapic_get(m, &ioapic);
        m->accel->irqchip->line(m, 5, 1);
        m->accel->irqchip->msi(m, 0xfee00000, 0x40);
        route = m->accel->events->msi_new(m, 0xfee00000, 0x41, 7);
        if (route >= 0)
            m->accel->events->msi_free(m, route, 7);
        m->accel->events->io(m, true, 0xc000, 2, true, 1, 8, true);
    }
}

static uint64_t nothing_read(void *opaque, uint64_t off, unsigned size) { return 0; }
static void nothing_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { }
/* A block whose pages are watched, and a window whose writes may wait, come and go. */
static void use_memory(FakeVm *f)
{
    static const IoOps late = { nothing_read, nothing_write, .min = 1, .max = 8, .late_writes = true };
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("video", 16 * PAGE, &err);
    Region video, window;

    region_init_ram(&video, "video", rb, 0, 16 * PAGE);
    region_add(&f->m->mem_root, &video, 0x400000, 0);
    region_init_io(&window, "window", &late, NULL, PAGE);
    region_add(&f->m->mem_root, &window, 0x600000, 0);
    ram_test_and_clear_dirty(rb, 0, 16 * PAGE, RAM_DIRTY_VGA);
    if (fake.ring && fake.slots->len > 1 && g_array_index(fake.slots, struct kvm_userspace_memory_region, 1).memory_size) {
        fake.ring[0] = (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = 1, .offset = 1 };
        ram_sync_dirty(rb);
        g_assert_true(ram_test_and_clear_dirty(rb, PAGE, PAGE, RAM_DIRTY_VGA));
    }
    ram_sync_dirty(rb);
    region_del(&window);
    region_del(&video);
    region_destroy(&window);
    region_destroy(&video);
    ram_block_free(rb);
}

static void test_errno(void)
{
    static const int errors[] = { EINVAL, ENOMEM, EFAULT, EPERM, EBUSY };
    static const char *const opts[] = { "kernel-irqchip=off", "kernel-irqchip=on", "dirty-ring-size=1024", "kernel-irqchip=on",
                                        "kernel-irqchip=split" };

    for (size_t r = 0; r < fake_request_count; r++) {
        for (size_t e = 0; e < G_N_ELEMENTS(errors); e++) {
            g_autoptr(GError) err = NULL;
            bool on = e & 1;
            FakeVm *f;

            fake_reset();
            fake.fail_request = fake_requests[r];
            fake.fail_errno = errors[e];
            f = fake_vm(e == 3 ? "max,hv-time,tsc-frequency=1000000000" : NULL, opts[e], &err);
            g_assert_true(f ? !err : err && *err->message);
            if (!f) {
                g_assert_cmpint(fake.open_fds, ==, 0);
                continue;
            }
            use_all(f, on);
            use_memory(f);
            fake_vm_free(f);
            g_assert_cmpint(fake.open_fds, ==, 0);
        }
    }
}

/* The probe too says no with a reason, or yes, whatever fails; and nothing stays open. */
static void test_errno_probe(void)
{
    g_autoptr(GError) err = NULL;
    X86Model *m = x86_model_parse("max,tsc-frequency=1000000000", &err);

    for (size_t r = 0; r < fake_request_count; r++) {
        g_autoptr(GError) why = NULL;
        bool ok;

        fake_reset();
        fake.fail_request = fake_requests[r];
        fake.fail_errno = EINVAL;
        SCRIPT({ .reason = KVM_EXIT_IO });
        ok = kvm_probe_on(&fake_sys, m, &why);
        g_assert_true(ok ? !why : why && *why->message);
        g_assert_cmpint(fake.open_fds, ==, 0);
    }
    x86_model_free(m);
}

/* Mappings of the probes may fail, those of the machine end the start with the reason. */
static void test_errno_mmap(void)
{
    unsigned refused = 0;

    for (unsigned n = 1; n <= 5; n++) {
        g_autoptr(GError) err = NULL;
        FakeVm *f;

        fake_reset();
        fake.fail_mmap = n;
        f = fake_vm(NULL, "dirty-ring-size=1024", &err);
        g_assert_true(f ? !err : strstr(err->message, "Cannot allocate memory") != NULL);
        refused += !f;
        if (f)
            fake_vm_free(f);
        g_assert_cmpint(fake.open_fds, ==, 0);
    }
    g_assert_cmpuint(refused, >=, 2);       /* the vcpu's page and its dirty ring */
}

/* Many things lacking at once, or in sizes nobody expects: the same choices in every run. */
static void test_caps_mixed(void)
{
    static const char *const opts[] = { "kernel-irqchip=off", "kernel-irqchip=split", "kernel-irqchip=on", "dirty-ring-size=1024",
                                        "cpu-pm=on", "halt-poll-ns=1000" };
    static const int sizes[] = { 0, 1, 2, 3, 64, 4096, 65537, INT_MAX, -1 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (unsigned n = 0; n < 600; n++) {
        const char *opt = opts[n % G_N_ELEMENTS(opts)];
        g_autoptr(GError) err = NULL;
        FakeVm *f;

        fake_reset();
        for (unsigned cap = 0; cap < 256; cap++) {
            if (g_rand_int_range(rand, 0, 4) == 0)
                fake.cap[cap] = sizes[g_rand_int_range(rand, 0, G_N_ELEMENTS(sizes))];
        }
        for (unsigned i = 0; i < 5; i++)        /* without these nothing starts at all */
            fake.cap[(const int[]) { KVM_CAP_USER_MEMORY, KVM_CAP_IMMEDIATE_EXIT, KVM_CAP_EXT_CPUID, KVM_CAP_SET_TSS_ADDR,
                                     KVM_CAP_MP_STATE }[i]] = 1;
        f = fake_vm(NULL, opt, &err);
        g_assert_true(f ? !err : err && *err->message);
        if (f) {
            use_all(f, false);
            use_memory(f);
            fake_vm_free(f);
        }
        g_assert_cmpint(fake.open_fds, ==, 0);
    }
}

static void test_msr_refused(void)
{
    static const uint32_t refused[] = { 0x10a, 0x174, 0x176, 0x10, 0x277, 0x6e0 };

    for (size_t i = 0; i < G_N_ELEMENTS(refused); i++) {
        FakeVm *f;

        fake_reset();
        fake.refuse_msr = refused[i];
        f = fake_start(NULL, NULL);
        x86_cpu(f->v)->msr.sysenter_eip = 0x1234;
        x86_cpu(f->v)->msr.sysenter_cs = 0x10;
        g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
        if (refused[i] != 0x176)
            g_assert_cmpuint(GPOINTER_TO_SIZE(g_hash_table_lookup(fake.msrs, GUINT_TO_POINTER(0x176))), ==, 0x1234);
        if (refused[i] != 0x174)
            g_assert_cmpuint(GPOINTER_TO_SIZE(g_hash_table_lookup(fake.msrs, GUINT_TO_POINTER(0x174))), ==, 0x10);
        x86_cpu(f->v)->msr.sysenter_eip = 0;
        f->m->accel->pull(f->v);
        g_assert_cmpuint(x86_cpu(f->v)->msr.sysenter_eip, ==, refused[i] == 0x176 ? 0 : 0x1234);
        fake_vm_free(f);
    }
}

/* --- exits --- */

static void test_exits(void)
{
    static const struct { uint32_t reason; VcpuExit want; } ends[] = {
        { KVM_EXIT_UNKNOWN, VCPU_EXIT_INTERNAL_ERROR }, { KVM_EXIT_EXCEPTION, VCPU_EXIT_INTERNAL_ERROR },
        { KVM_EXIT_HLT, VCPU_EXIT_HALT }, { KVM_EXIT_SHUTDOWN, VCPU_EXIT_TRIPLE_FAULT },
        { KVM_EXIT_FAIL_ENTRY, VCPU_EXIT_INTERNAL_ERROR }, { KVM_EXIT_SYSTEM_EVENT, VCPU_EXIT_INTERNAL_ERROR },
        { KVM_EXIT_XEN, VCPU_EXIT_INTERNAL_ERROR }, { 39, VCPU_EXIT_INTERNAL_ERROR },
        { KVM_EXIT_IO, VCPU_EXIT_INTERNAL_ERROR }, { KVM_EXIT_INTERNAL_ERROR, VCPU_EXIT_INTERNAL_ERROR } };     /* of size 0; of kind 0 */

    for (uint32_t reason = 0; reason < 64; reason++) {
        FakeStep s = { .reason = reason };
        VcpuExit want = kvm_exit_name(reason) ? VCPU_EXIT_TRIPLE_FAULT : VCPU_EXIT_INTERNAL_ERROR;      /* on to the next, or unknown */
        FakeVm *f;

        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
            want = ends[i].reason == reason ? ends[i].want : want;
        fake_reset();
        f = fake_start(NULL, NULL);
        fake.script = &s;
        fake.steps = 1;
        g_assert_cmpint(fake_run(f), ==, want);
        fake_vm_free(f);
    }
}

static void fill_crash(struct kvm_run *r) { r->system_event.type = KVM_SYSTEM_EVENT_CRASH; }
static void fill_off(struct kvm_run *r) { r->system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN; }
static void fill_again(struct kvm_run *r) { r->system_event.type = KVM_SYSTEM_EVENT_RESET; }
static void fill_odd_event(struct kvm_run *r) { r->system_event.type = 99; }
static void fill_hcall(struct kvm_run *r) { r->hyperv.type = KVM_EXIT_HYPERV_HCALL; }
static void fill_lost(struct kvm_run *r) { r->notify.flags = KVM_NOTIFY_CONTEXT_INVALID; }
static void fill_delivery(struct kvm_run *r)
{
    r->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
    r->internal.ndata = 1000;           /* more than there is room for */
}
static void fill_io_odd(struct kvm_run *r)
{
    r->io.size = 3;
    r->io.count = 1;
    r->io.data_offset = PAGE;
}

/* What each exit answers the guest with, or ends the machine for. */
static void test_exit_answers(void)
{
    static const struct { FakeStep s; VcpuExit want; } cases[] = {
        { { .reason = KVM_EXIT_SYSTEM_EVENT, .fill = fill_crash }, VCPU_EXIT_KICK },
        { { .reason = KVM_EXIT_SYSTEM_EVENT, .fill = fill_off }, VCPU_EXIT_KICK },
        { { .reason = KVM_EXIT_SYSTEM_EVENT, .fill = fill_again }, VCPU_EXIT_KICK },
        { { .reason = KVM_EXIT_SYSTEM_EVENT, .fill = fill_odd_event }, VCPU_EXIT_INTERNAL_ERROR },
        { { .reason = KVM_EXIT_NOTIFY }, VCPU_EXIT_TRIPLE_FAULT },
        { { .reason = KVM_EXIT_NOTIFY, .fill = fill_lost }, VCPU_EXIT_INTERNAL_ERROR },
        { { .reason = KVM_EXIT_INTERNAL_ERROR, .fill = fill_delivery }, VCPU_EXIT_INTERNAL_ERROR },
        { { .reason = KVM_EXIT_IO, .fill = fill_io_odd }, VCPU_EXIT_INTERNAL_ERROR },
        { { .reason = 0xffffffff }, VCPU_EXIT_INTERNAL_ERROR } };
    struct kvm_run *r;
    FakeVm *f;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        fake_reset();
        f = fake_start(NULL, NULL);
        fake.script = &cases[i].s;
        fake.steps = 1;
        g_assert_cmpint(fake_run(f), ==, cases[i].want);
        fake_vm_free(f);
    }
    fake_reset();
    f = fake_start(NULL, NULL);
    r = (struct kvm_run *)(void *)fake.run;
    SCRIPT({ .reason = KVM_EXIT_HYPERCALL });
    fake_run(f);
    g_assert_cmpint((int64_t)r->hypercall.ret, ==, -1000);
    SCRIPT({ .reason = KVM_EXIT_X86_RDMSR });
    fake_run(f);
    g_assert_cmpuint(r->msr.error, ==, 1);
    r->msr.error = 0;
    SCRIPT({ .reason = KVM_EXIT_X86_WRMSR });
    fake_run(f);
    g_assert_cmpuint(r->msr.error, ==, 1);
    SCRIPT({ .reason = KVM_EXIT_HYPERV, .fill = fill_hcall });
    fake_run(f);
    g_assert_cmpuint(r->hyperv.u.hcall.result, ==, 2);
    fake_vm_free(f);
}

static Vcpu *kicked;
static void fill_kick(struct kvm_run *r)
{
    r->io.direction = KVM_EXIT_IO_OUT;
    r->io.size = 1;
    r->io.count = 1;
    r->io.data_offset = PAGE;
    r->io.port = 0x80;
    atomic_store(&kicked->attention, 1);
}

/* Somebody wants the processor while it waits for a port: the access is completed before anybody looks. */
static void test_interrupted_io(void)
{
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    kicked = f->v;
    SCRIPT({ .reason = KVM_EXIT_IO, .fill = fill_kick }, { .reason = KVM_EXIT_IO, .fill = fill_kick });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake.step, ==, 3);
    g_assert_cmpuint(fake_count(KVM_RUN), ==, 5);       /* two of them only to complete */
    fake_vm_free(f);
    fake_reset();
    fake.interrupted = 3;
    fake_vm_free(fake_start(NULL, "kernel-code=kvm"));
    g_assert_cmpuint(fake_count(KVM_CREATE_VM), ==, 5);         /* the fifth asks about the local APIC */
}

static void test_interrupted(void)
{
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    SCRIPT({ .err = EINTR }, { .err = EAGAIN }, { .err = EINTR }, { .reason = KVM_EXIT_INTR });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake.step, ==, 5);
    SCRIPT({ .err = EFAULT });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_INTERNAL_ERROR);
    fake_vm_free(f);
}

/* --- devices --- */

static GString *log_io;
static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    g_string_append_printf(log_io, "r%u@%x ", size, (unsigned)off);
    return 0x8877665544332211ull >> 8 * (off & 7);
}
static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    g_string_append_printf(log_io, "w%u@%x=%llx ", size, (unsigned)off, (unsigned long long)val);
}
static const IoOps io_ops = { io_read, io_write, .min = 1, .max = 8, .unaligned = true };
static const IoOps late_ops = { io_read, io_write, .min = 1, .max = 8, .unaligned = true, .late_writes = true };

static void fill_outs(struct kvm_run *r)
{
    r->io.direction = KVM_EXIT_IO_OUT;
    r->io.size = 2;
    r->io.port = 0x300;
    r->io.count = 3;
    r->io.data_offset = PAGE;
    memcpy((uint8_t *)r + PAGE, "\x01\x02\x03\x04\x05\x06", 6);
}
static void fill_ins(struct kvm_run *r)
{
    r->io.direction = KVM_EXIT_IO_IN;
    r->io.size = 4;
    r->io.port = 0x300;
    r->io.count = 2;
    r->io.data_offset = PAGE;
}
static void fill_mmio7(struct kvm_run *r)
{
    r->mmio.phys_addr = 0x200000;
    r->mmio.len = 7;
    r->mmio.is_write = 1;
    memcpy(r->mmio.data, "\x01\x02\x03\x04\x05\x06\x07", 7);
}
static void fill_mmio3(struct kvm_run *r)
{
    r->mmio.phys_addr = 0x200000;
    r->mmio.len = 3;
    r->mmio.is_write = 0;
}
static void fill_coalesced(struct kvm_run *r)
{
    struct kvm_coalesced_mmio_ring *ring = (void *)((uint8_t *)r + 2 * PAGE);

    ring->coalesced_mmio[0] = (struct kvm_coalesced_mmio) { .phys_addr = 0x200010, .len = 4, .data = { 1, 2, 3, 4 } };
    ring->coalesced_mmio[1] = (struct kvm_coalesced_mmio) { .phys_addr = 0x300, .len = 1, .pio = 1, .data = { 9 } };
    ring->last = 2;
    fill_ins(r);
}

static void test_io(void)
{
    Region port, mem;
    FakeVm *f;

    fake_reset();
    log_io = g_string_new(NULL);
    f = fake_start(NULL, NULL);
    region_init_io(&port, "port", &io_ops, NULL, 8);
    region_add(&f->m->port_root, &port, 0x300, 0);
    region_init_io(&mem, "mem", &late_ops, NULL, 0x1000);
    region_add(&f->m->mem_root, &mem, 0x200000, 0);
    g_assert_cmpuint(fake_count(KVM_REGISTER_COALESCED_MMIO), ==, 1);
    SCRIPT({ .reason = KVM_EXIT_IO, .fill = fill_outs });
    fake_run(f);
    g_assert_cmpstr(log_io->str, ==, "w2@0=201 w2@0=403 w2@0=605 ");
    g_string_truncate(log_io, 0);
    SCRIPT({ .reason = KVM_EXIT_IO, .fill = fill_ins });
    fake_run(f);
    g_assert_cmpstr(log_io->str, ==, "r4@0 r4@0 ");
    g_assert_cmpmem(fake.run + PAGE, 8, "\x11\x22\x33\x44\x11\x22\x33\x44", 8);
    g_string_truncate(log_io, 0);
    SCRIPT({ .reason = KVM_EXIT_MMIO, .fill = fill_mmio7 }, { .reason = KVM_EXIT_MMIO, .fill = fill_mmio3 });
    fake_run(f);
    g_assert_cmpstr(log_io->str, ==, "w4@0=4030201 w2@4=605 w1@6=7 r2@0 r1@2 ");
    g_string_truncate(log_io, 0);
    SCRIPT({ .reason = KVM_EXIT_IO, .fill = fill_coalesced });
    fake_run(f);
    g_assert_cmpstr(log_io->str, ==, "w4@10=4030201 w1@0=9 r4@0 r4@0 ");
    region_del(&port);
    region_del(&mem);
    g_assert_cmpuint(fake_count(KVM_UNREGISTER_COALESCED_MMIO), ==, 1);
    fake_vm_free(f);
    region_destroy(&port);
    region_destroy(&mem);
    g_string_free(log_io, TRUE);
}

static void fill_refused(struct kvm_run *r)
{
    r->internal.suberror = KVM_INTERNAL_ERROR_EMULATION;
    r->internal.ndata = 0;
}

/* What KVM will not emulate runs through the interpreter's bodies. */
static void test_refused(void)
{
    static const uint8_t code[] = { 0x40, 0xf7, 0xf3, 0x43, 0xf4 };     /* inc eax; div ebx; inc ebx; hlt */
    X86Cpu *c;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    c = x86_cpu(f->v);
    for (unsigned s = 0; s < 6; s++)
        c->seg[s] = (X86Seg) { .limit = 0xffffffff, .attr = SEG_P | SEG_S | SEG_WR | SEG_ACC | SEG_DB | SEG_G };
    c->seg[S_CS].attr |= SEG_CODE;
    c->cr0 |= CR0_PE;
    c->rip = 0x1000;
    c->gpr[R_RAX] = 99;
    c->gpr[R_RBX] = 7;
    c->gpr[R_RDX] = 0;
    memcpy(f->m->ram->host + 0x1000, code, sizeof code);
    SCRIPT({ .reason = KVM_EXIT_INTERNAL_ERROR, .fill = fill_refused });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_HALT);
    f->m->accel->pull(f->v);
    g_assert_cmpuint(c->gpr[R_RAX], ==, 14);
    g_assert_cmpuint(c->gpr[R_RDX], ==, 2);
    g_assert_cmpuint(c->gpr[R_RBX], ==, 8);
    g_assert_cmpuint(c->rip, ==, 0x1005);
    fake_vm_free(f);
}

static void fill_dirty(struct kvm_run *r)
{
    for (unsigned i = 0; i < 1024; i++)
        fake.ring[i] = (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = 1, .offset = i % 4 };
}

/* A machine with a dirty ring and a block of video memory that somebody watches. */
typedef struct Watched { FakeVm *f; RamBlock *rb; Region video; } Watched;
static void watched_start(Watched *w)
{
    g_autoptr(GError) err = NULL;

    fake_reset();
    w->rb = ram_block_new("video", 16 * PAGE, &err);
    w->f = fake_start(NULL, "dirty-ring-size=1024");
    region_init_ram(&w->video, "video", w->rb, 0, 16 * PAGE);
    region_add(&w->f->m->mem_root, &w->video, 0x400000, 0);
    ram_test_and_clear_dirty(w->rb, 0, 16 * PAGE, RAM_DIRTY_VGA);
}
static void watched_end(Watched *w)
{
    region_del(&w->video);
    fake_vm_free(w->f);
    region_destroy(&w->video);
    ram_block_free(w->rb);
}

static void test_dirty_ring(void)
{
    Watched w;

    watched_start(&w);
    g_assert_cmpuint(g_array_index(fake.slots, struct kvm_userspace_memory_region, 1).flags, ==, KVM_MEM_LOG_DIRTY_PAGES);
    SCRIPT({ .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_dirty });
    g_assert_cmpint(fake_run(w.f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake_count(KVM_RESET_DIRTY_RINGS), ==, 1);
    g_assert_cmpuint(fake.ring[1023].flags, ==, KVM_DIRTY_GFN_F_RESET);
    g_assert_true(ram_test_and_clear_dirty(w.rb, 3 * PAGE, PAGE, RAM_DIRTY_VGA));
    g_assert_false(ram_test_and_clear_dirty(w.rb, 4 * PAGE, PAGE, RAM_DIRTY_VGA));
    watched_end(&w);
}

static void fill_hostile(struct kvm_run *r)
{
    for (unsigned i = 0; i < 1024; i++)
        fake.ring[i] = (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = i % 3 ? 1 + i * 64 : 1,
                                                .offset = i % 3 ? i : UINT64_MAX - i };
}
static void fill_two(struct kvm_run *r)
{
    fake.ring[0] = (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = 1, .offset = 7 };
    fake.ring[1] = (struct kvm_dirty_gfn) { .flags = KVM_DIRTY_GFN_F_DIRTY, .slot = 1, .offset = 9 };
}

/* Entries of slots and pages that are not there mark nothing; after a full turn the ring goes on at its start. */
static void test_dirty_ring_odd(void)
{
    Watched w;

    watched_start(&w);
    SCRIPT({ .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_hostile }, { .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_two });
    g_assert_cmpint(fake_run(w.f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake_count(KVM_RESET_DIRTY_RINGS), ==, 2);
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpint(ram_test_and_clear_dirty(w.rb, i * PAGE, PAGE, RAM_DIRTY_VGA), ==, i == 7 || i == 9);
    watched_end(&w);
}

static void test_rom(void)
{
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("rom", 4 * PAGE, &err);
    const struct kvm_userspace_memory_region *s;
    Region rom;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    region_init_rom(&rom, "rom", rb, 0, 4 * PAGE, NULL, NULL);
    region_add(&f->m->mem_root, &rom, 0x400000, 0);
    s = &g_array_index(fake.slots, struct kvm_userspace_memory_region, 1);
    g_assert_cmpuint(s->flags, ==, KVM_MEM_READONLY);
    g_assert_cmpuint(s->guest_phys_addr, ==, 0x400000);
    g_assert_cmpuint(s->memory_size, ==, 4 * PAGE);
    region_del(&rom);
    g_assert_cmpuint(s->memory_size, ==, 0);
    fake_vm_free(f);
    region_destroy(&rom);
    ram_block_free(rb);
}

/* In SMM a processor sees everything, and RAM where the screen is. */
static void test_smram(void)
{
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("video", 32 * PAGE, &err);
    Region video;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    g_assert_cmpuint(fake.smm_slot.slot, ==, 1 << 16);                 /* RAM, as a whole */
    g_assert_cmpuint(fake.smm_slot.memory_size, ==, 1 << 20);
    region_init_ram(&video, "video", rb, 0, 32 * PAGE);
    region_add(&f->m->mem_root, &video, 0xa0000, 1);
    g_assert_cmpuint(fake.smram.guest_phys_addr, ==, 0xa0000);
    g_assert_cmpuint(fake.smram.memory_size, ==, 0x20000);
    g_assert_cmpuint(fake.smram.userspace_addr, ==, (uintptr_t)f->m->ram->host + 0xa0000);
    region_del(&video);
    g_assert_cmpuint(fake.smram.memory_size, ==, 0);
    g_assert_cmpuint(fake.smm_slot.memory_size, ==, 1 << 20);
    fake_vm_free(f);
    region_destroy(&video);
    ram_block_free(rb);
}

/* --- events --- */

static void test_injection(void)
{
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    vcpu_raise(f->v, VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_MCE);
    fake_run(f);
    g_assert_cmpuint(fake_count(KVM_NMI), ==, 1);
    g_assert_cmpuint(fake_count(KVM_SMI), ==, 1);
    g_assert_cmpuint(fake_count(KVM_X86_SET_MCE), ==, 1);
    g_assert_true(fake.mce.status >> 63);
    fake_vm_free(f);
}

static int pending_vector = -1;
static int ack(X86Cpu *c)
{
    int v = pending_vector;

    pending_vector = -1;
    vcpu_lower(&c->vcpu, VCPU_IRQ_INTR);
    return v;
}
static uint8_t tpr_seen;
static uint8_t get_tpr(X86Cpu *c) { return 3; }
static void set_tpr(X86Cpu *c, uint8_t v) { tpr_seen = v; }
static uint64_t get_base(X86Cpu *c) { return 0xfee00900; }
static void fill_window(struct kvm_run *r)
{
    g_assert_cmpuint(r->request_interrupt_window, ==, 1);
    g_assert_cmpuint(fake_count(KVM_INTERRUPT), ==, 0);
    r->if_flag = r->ready_for_interrupt_injection = 1;
    r->cr8 = 9;
}

/* The local APIC's vector goes in when the guest takes interrupts; until then KVM is asked to say when. */
static void test_interrupt(void)
{
    static const X86ApicOps ops = { .ack = ack, .get_tpr = get_tpr, .set_tpr = set_tpr, .get_base = get_base };
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, "kernel-irqchip=off");
    x86_cpu(f->v)->apic_ops = &ops;
    pending_vector = 0x41;
    vcpu_raise(f->v, VCPU_IRQ_INTR);
    SCRIPT({ .reason = KVM_EXIT_IRQ_WINDOW_OPEN, .fill = fill_window });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake_count(KVM_INTERRUPT), ==, 1);
    g_assert_cmphex(fake.interrupt.irq, ==, 0x41);
    g_assert_cmpuint(tpr_seen, ==, 9);
    fake.steps = 0;
    pending_vector = -1;                /* withdrawn meanwhile */
    vcpu_raise(f->v, VCPU_IRQ_INTR);
    fake_run(f);
    g_assert_cmpuint(fake_count(KVM_INTERRUPT), ==, 1);
    x86_cpu(f->v)->apic_ops = NULL;
    fake_vm_free(f);
}

static uint8_t eoi_seen;
static void on_eoi(void *opaque, uint8_t vector) { eoi_seen = vector; }
static void fill_eoi(struct kvm_run *r) { r->eoi.vector = 0x55; }

static void test_split(void)
{
    const AccelIrqchip *q;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, "kernel-irqchip=split");
    q = irqchip_of(f->m);
    g_assert_nonnull(q);
    q->set_eoi(f->m, on_eoi, NULL);
    q->ioapic_pin(f->m, 4, 0xfee01000, 0x8055, false);
    g_assert_cmpuint(fake.routes->nr, ==, 1);
    g_assert_cmpuint(fake.routes->entries[0].gsi, ==, 4);
    g_assert_cmpuint(fake.routes->entries[0].u.msi.data, ==, 0x8055);
    SCRIPT({ .reason = KVM_EXIT_IOAPIC_EOI, .fill = fill_eoi });
    fake_run(f);
    g_assert_cmpuint(eoi_seen, ==, 0x55);
    q->ioapic_pin(f->m, 4, 0, 0, true);
    g_assert_cmpuint(fake.routes->nr, ==, 0);
    fake_vm_free(f);
}

static void test_events(void)
{
    const AccelEvents *e;
    int a, b;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, "kernel-irqchip=on");
    e = f->m->accel->events;
    g_assert_cmpuint(fake.routes->nr, ==, 15 + 24);
    a = e->msi_new(f->m, 0xfee00000, 0x41, 50);
    b = e->msi_new(f->m, 0xfee00000, 0x42, 51);
    g_assert_cmpint(a, ==, 24);
    g_assert_cmpint(b, ==, 25);
    g_assert_cmpuint(fake.irqfd.gsi, ==, 25);
    g_assert_true(e->msi_change(f->m, a, 0xfee02000, 0x43));
    e->msi_free(f->m, b, 51);
    g_assert_cmpuint(fake.irqfd.flags, ==, KVM_IRQFD_FLAG_DEASSIGN);
    g_assert_cmpuint(fake.routes->nr, ==, 15 + 24 + 1);
    g_assert_true(e->level(f->m, 11, 52, 53, true));
    g_assert_cmpuint(fake.irqfd.flags, ==, KVM_IRQFD_FLAG_RESAMPLE);
    g_assert_cmpuint(fake.irqfd.resamplefd, ==, 53);
    g_assert_true(e->io(f->m, true, 0xc010, 2, true, 1, 54, true));
    g_assert_cmpuint(fake.ioeventfd.flags, ==, KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH);
    irqchip_of(f->m)->msi(f->m, 0xfee03000, 0x61);
    g_assert_cmpuint(fake.msi.address_lo, ==, 0xfee03000);
    irqchip_of(f->m)->line(f->m, 9, 1);
    g_assert_cmpuint(fake.line.irq, ==, 9);
    fake_vm_free(f);
}

static void test_chips(void)
{
    PicRegs p = { .irr = 1, .imr = 2, .isr = 4, .highest = 3, .vector = 0x20, .icw = 3, .elcr = 0x20, .auto_eoi = true };
    IoapicRegs i = { .select = 0x10, .id = 2, .irr = 5 };
    PitRegs t = { .irq_off = true }, t2;
    PicRegs p2;
    IoapicRegs i2;
    const AccelIrqchip *q;
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, "kernel-irqchip=on");
    q = irqchip_of(f->m);
    for (unsigned n = 0; n < IRQCHIP_GSIS; n++)
        i.table[n] = 0x10000 + n;
    for (unsigned n = 0; n < 3; n++)
        t.ch[n] = (PitChannelRegs) { .count = 1193 + n, .mode = 2, .rw = 3, .gate = true, .start = 1000, .latch = 7,
                                     .latch_left = n, .read_high = n == 1 };
    q->pic_set(f->m, 1, &p);
    g_assert_true(q->pic_get(f->m, 1, &p2));
    g_assert_cmpmem(&p2, sizeof p2, &p, sizeof p);
    q->ioapic_set(f->m, &i);
    g_assert_true(q->ioapic_get(f->m, &i2));
    g_assert_cmpmem(&i2, sizeof i2, &i, sizeof i);
    q->pit_set(f->m, &t);
    g_assert_true(q->pit_get(f->m, &t2));
    for (unsigned n = 0; n < 3; n++)
        g_assert_cmpmem(&t2.ch[n], sizeof t2.ch[n], &t.ch[n], sizeof t.ch[n]);
    g_assert_true(t2.irq_off);
    fake_vm_free(f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/kvm/open", test_open);
    g_test_add_func("/kvm/caps", test_caps);
    g_test_add_func("/kvm/caps/mixed", test_caps_mixed);
    g_test_add_func("/kvm/errno", test_errno);
    g_test_add_func("/kvm/errno/probe", test_errno_probe);
    g_test_add_func("/kvm/errno/mmap", test_errno_mmap);
    g_test_add_func("/kvm/msr-refused", test_msr_refused);
    g_test_add_func("/kvm/exits", test_exits);
    g_test_add_func("/kvm/exit-answers", test_exit_answers);
    g_test_add_func("/kvm/interrupted", test_interrupted);
    g_test_add_func("/kvm/interrupted/io", test_interrupted_io);
    g_test_add_func("/kvm/io", test_io);
    g_test_add_func("/kvm/refused", test_refused);
    g_test_add_func("/kvm/dirty-ring", test_dirty_ring);
    g_test_add_func("/kvm/dirty-ring/odd", test_dirty_ring_odd);
    g_test_add_func("/kvm/rom", test_rom);
    g_test_add_func("/kvm/smram", test_smram);
    g_test_add_func("/kvm/injection", test_injection);
    g_test_add_func("/kvm/interrupt", test_interrupt);
    g_test_add_func("/kvm/split", test_split);
    g_test_add_func("/kvm/events", test_events);
    g_test_add_func("/kvm/chips", test_chips);
    return g_test_run();
}
