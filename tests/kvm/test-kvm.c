/* test-kvm: the KVM back-end against a recording fake of /dev/kvm: all that a real host will not do on demand. */
#include "tests/kvm/fake.h"

#include "softmmu/softmmu_int.h"
#include "util/bytes.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096 };
#define SCRIPT(...) do { static const FakeStep s_[] = { __VA_ARGS__ }; fake.script = s_; fake.steps = G_N_ELEMENTS(s_); } while (0)

static FakeVm *start(const char *cpu, const char *opts)
{
    g_autoptr(GError) err = NULL;
    FakeVm *f = fake_vm(cpu, opts, &err);

    g_assert_no_error(err);
    return f;
}

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

static const unsigned long requests[] = {
    KVM_GET_API_VERSION, KVM_CHECK_EXTENSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_SUPPORTED_CPUID,
    KVM_GET_MSR_INDEX_LIST, KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_IRQCHIP, KVM_SET_GSI_ROUTING,
    KVM_ENABLE_CAP, KVM_SET_CPUID2, KVM_RUN, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_VCPU_EVENTS,
    KVM_SET_VCPU_EVENTS, KVM_GET_LAPIC, KVM_SET_LAPIC, KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_GET_XSAVE, KVM_GET_XSAVE2,
    KVM_SET_XSAVE, KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_XCRS, KVM_SET_XCRS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
    KVM_GET_TSC_KHZ, KVM_X86_SETUP_MCE, KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE,
    KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR, KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_NMI, KVM_SMI, KVM_X86_SET_MCE,
    KVM_IRQ_LINE, KVM_SIGNAL_MSI, KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GUEST_DEBUG, KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_PIT2,
    KVM_REINJECT_CONTROL, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_GET_DIRTY_LOG, KVM_RESET_DIRTY_RINGS, KVM_SET_TSC_KHZ,
    KVM_GET_SUPPORTED_HV_CPUID, KVM_TRANSLATE, KVM_KVMCLOCK_CTRL, KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO,
    KVM_SET_BOOT_CPU_ID,
};

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

    for (size_t r = 0; r < G_N_ELEMENTS(requests); r++) {
        for (size_t e = 0; e < G_N_ELEMENTS(errors); e++) {
            g_autoptr(GError) err = NULL;
            bool on = e & 1;
            FakeVm *f;

            fake_reset();
            fake.fail_request = requests[r];
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

    for (size_t r = 0; r < G_N_ELEMENTS(requests); r++) {
        g_autoptr(GError) why = NULL;
        bool ok;

        fake_reset();
        fake.fail_request = requests[r];
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
        f = start(NULL, NULL);
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

static const struct kvm_cpuid_entry2 *leaf(uint32_t n)
{
    for (unsigned i = 0; i < fake.cpuid->nent; i++) {
        if (fake.cpuid->entries[i].function == n)
            return &fake.cpuid->entries[i];
    }
    return NULL;
}

/* The probe of a host that likes all processors but Haswell. */
static bool probe_picky(unsigned long request, const char *cpu, GError **why)
{
    g_autoptr(GError) err = NULL;
    X86Model *bad = x86_model_parse("Haswell", &err), *m = x86_model_parse(cpu, &err);
    bool ok;

    g_assert_no_error(err);
    fake_reset();
    fake.picky = x86_model_signature(bad);
    fake.picky_request = request;
    SCRIPT({ .reason = KVM_EXIT_IO });
    ok = kvm_probe_on(&fake_sys, m, why);
    g_assert_cmpint(fake.open_fds, ==, 0);
    x86_model_free(bad);
    x86_model_free(m);
    return ok;
}

/* The probe runs with the chosen processor: what KVM refuses of that one makes it say no, in one line. */
static void test_probe_model(void)
{
    static const struct { unsigned long request; const char *cpu, *says; } cases[] = {
        { KVM_SET_CPUID2, "Haswell", "-cpu Haswell: KVM refused the CPU model: Invalid argument" },
        { KVM_SET_MSRS, "Haswell", "-cpu Haswell: KVM refused the model-specific register 0x174 (SYSENTER_CS)" },
        { KVM_SET_TSC_KHZ, "Haswell,tsc-frequency=1000000000", "KVM refused a time stamp counter of 1000000 kHz" },
        { KVM_RUN, "Haswell", "KVM cannot run guest code: Invalid argument" } };
    static const char *const good[] = { "max", "host", "qemu64", "EPYC", "486", "pentium3", "max,hv-relaxed,hv-time,-kvmclock" };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) why = NULL;

        g_assert_false(probe_picky(cases[i].request, cases[i].cpu, &why));
        g_assert_nonnull(strstr(why->message, cases[i].says));
        g_assert_null(strchr(why->message, '\n'));
        for (size_t g = 0; g < G_N_ELEMENTS(good); g++) {
            g_autoptr(GError) err = NULL;

            g_assert_true(probe_picky(cases[i].request, good[g], &err));
            g_assert_no_error(err);
        }
    }
}

/* The probe's processor is the guest's: its CPUID and its counter; 32-bit models run 32-bit code. */
static void test_probe_processor(void)
{
    g_autoptr(GError) why = NULL;

    g_assert_true(probe_picky(0, "EPYC,-avx2,tsc-frequency=1000000000", &why));
    g_assert_cmpuint(fake_count(KVM_SET_TSC_KHZ), ==, 1);
    g_assert_cmpuint(fake_count(KVM_SET_MSRS), >=, 1);
    g_assert_cmphex(leaf(0)->ebx, ==, 0x68747541);
    g_assert_false(leaf(7)->ebx >> 5 & 1);
    g_assert_true(fake.sregs.cs.l);
    g_assert_true(probe_picky(0, "pentium3", &why));
    g_assert_false(fake.sregs.cs.l);
    g_assert_true(fake.sregs.cs.db);
    g_assert_cmphex(fake.sregs.efer, ==, 0);
}

/* A register that guests can do without costs only itself; one they need makes the probe say no. */
static void test_probe_msr(void)
{
    g_autoptr(GError) err = NULL, why = NULL;
    X86Model *m = x86_model_parse("max", &err);

    fake_reset();
    SCRIPT({ .reason = KVM_EXIT_IO });
    fake.refuse_msr = 0x10a;
    g_assert_true(kvm_probe_on(&fake_sys, m, &why));
    fake.step = 0;
    fake.refuse_msr = 0xc0000082;
    g_assert_false(kvm_probe_on(&fake_sys, m, &why));
    g_assert_nonnull(strstr(why->message, "LSTAR"));
    x86_model_free(m);
}

/* --- exits --- */

static void test_exits(void)
{
    static const struct { uint32_t reason; VcpuExit want; } ends[] = {
        { KVM_EXIT_UNKNOWN, VCPU_EXIT_INTERNAL_ERROR }, { KVM_EXIT_EXCEPTION, VCPU_EXIT_INTERNAL_ERROR },
        { KVM_EXIT_HLT, VCPU_EXIT_HALT }, { KVM_EXIT_SHUTDOWN, VCPU_EXIT_TRIPLE_FAULT },
        { KVM_EXIT_FAIL_ENTRY, VCPU_EXIT_INTERNAL_ERROR }, { KVM_EXIT_SYSTEM_EVENT, VCPU_EXIT_INTERNAL_ERROR },
        { KVM_EXIT_XEN, VCPU_EXIT_INTERNAL_ERROR }, { 39, VCPU_EXIT_INTERNAL_ERROR } };

    for (uint32_t reason = 0; reason < 64; reason++) {
        FakeStep s = { .reason = reason };
        VcpuExit want = VCPU_EXIT_TRIPLE_FAULT, got;
        bool known = reason <= KVM_EXIT_SET_TPR || reason == KVM_EXIT_TPR_ACCESS || reason == KVM_EXIT_NMI;
        FakeVm *f;

        for (size_t i = 0; i < G_N_ELEMENTS(ends); i++)
            want = ends[i].reason == reason ? ends[i].want : want;
        fake_reset();
        f = start(NULL, NULL);
        fake.script = &s;
        fake.steps = 1;
        got = fake_run(f);
        if (reason == KVM_EXIT_INTERNAL_ERROR || reason == KVM_EXIT_IO)
            g_assert_true(got == VCPU_EXIT_INTERNAL_ERROR || got == VCPU_EXIT_TRIPLE_FAULT);
        else if (known || want != VCPU_EXIT_TRIPLE_FAULT)
            g_assert_cmpint(got, ==, want);
        else
            g_assert_true(got == VCPU_EXIT_TRIPLE_FAULT || got == VCPU_EXIT_INTERNAL_ERROR);
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
        f = start(NULL, NULL);
        fake.script = &cases[i].s;
        fake.steps = 1;
        g_assert_cmpint(fake_run(f), ==, cases[i].want);
        fake_vm_free(f);
    }
    fake_reset();
    f = start(NULL, NULL);
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
    f = start(NULL, NULL);
    kicked = f->v;
    SCRIPT({ .reason = KVM_EXIT_IO, .fill = fill_kick }, { .reason = KVM_EXIT_IO, .fill = fill_kick });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake.step, ==, 3);
    g_assert_cmpuint(fake_count(KVM_RUN), ==, 5);       /* two of them only to complete */
    fake_vm_free(f);
    fake_reset();
    fake.interrupted = 3;
    fake_vm_free(start(NULL, "kernel-code=kvm"));
    g_assert_cmpuint(fake_count(KVM_CREATE_VM), ==, 5);         /* the fifth asks about the local APIC */
}

static void test_interrupted(void)
{
    FakeVm *f;

    fake_reset();
    f = start(NULL, NULL);
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
    f = start(NULL, NULL);
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
    f = start(NULL, NULL);
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

static void test_dirty_ring(void)
{
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("video", 16 * PAGE, &err);
    Region video;
    FakeVm *f;

    fake_reset();
    f = start(NULL, "dirty-ring-size=1024");
    region_init_ram(&video, "video", rb, 0, 16 * PAGE);
    region_add(&f->m->mem_root, &video, 0x400000, 0);
    g_assert_cmpuint(g_array_index(fake.slots, struct kvm_userspace_memory_region, 1).flags, ==, KVM_MEM_LOG_DIRTY_PAGES);
    ram_test_and_clear_dirty(rb, 0, 16 * PAGE, RAM_DIRTY_VGA);
    SCRIPT({ .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_dirty });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake_count(KVM_RESET_DIRTY_RINGS), ==, 1);
    g_assert_cmpuint(fake.ring[1023].flags, ==, KVM_DIRTY_GFN_F_RESET);
    g_assert_true(ram_test_and_clear_dirty(rb, 3 * PAGE, PAGE, RAM_DIRTY_VGA));
    g_assert_false(ram_test_and_clear_dirty(rb, 4 * PAGE, PAGE, RAM_DIRTY_VGA));
    region_del(&video);
    fake_vm_free(f);
    region_destroy(&video);
    ram_block_free(rb);
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
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("video", 16 * PAGE, &err);
    Region video;
    FakeVm *f;

    fake_reset();
    f = start(NULL, "dirty-ring-size=1024");
    region_init_ram(&video, "video", rb, 0, 16 * PAGE);
    region_add(&f->m->mem_root, &video, 0x400000, 0);
    ram_test_and_clear_dirty(rb, 0, 16 * PAGE, RAM_DIRTY_VGA);
    SCRIPT({ .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_hostile }, { .reason = KVM_EXIT_DIRTY_RING_FULL, .fill = fill_two });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake_count(KVM_RESET_DIRTY_RINGS), ==, 2);
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpint(ram_test_and_clear_dirty(rb, i * PAGE, PAGE, RAM_DIRTY_VGA), ==, i == 7 || i == 9);
    region_del(&video);
    fake_vm_free(f);
    region_destroy(&video);
    ram_block_free(rb);
}

static void test_rom(void)
{
    g_autoptr(GError) err = NULL;
    RamBlock *rb = ram_block_new("rom", 4 * PAGE, &err);
    const struct kvm_userspace_memory_region *s;
    Region rom;
    FakeVm *f;

    fake_reset();
    f = start(NULL, NULL);
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
    f = start(NULL, NULL);
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
    f = start(NULL, NULL);
    vcpu_raise(f->v, VCPU_IRQ_NMI | VCPU_IRQ_SMI | VCPU_IRQ_MCE);
    fake_run(f);
    g_assert_cmpuint(fake_count(KVM_NMI), ==, 1);
    g_assert_cmpuint(fake_count(KVM_SMI), ==, 1);
    g_assert_cmpuint(fake_count(KVM_X86_SET_MCE), ==, 1);
    g_assert_true(fake.mce.status >> 63);
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
    f = start(NULL, "kernel-irqchip=split");
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
    f = start(NULL, "kernel-irqchip=on");
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
    f = start(NULL, "kernel-irqchip=on");
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

/* --- processors --- */

static void test_cpuid(void)
{
    g_autoptr(GError) err = NULL;
    FakeVm *f;

    fake_reset();
    fake_vm_free(start("max", NULL));
    g_assert_cmphex(leaf(0x40000000)->ebx, ==, 0x4b4d564b);
    g_assert_true(leaf(0x40000001)->eax & 1);
    g_assert_false(leaf(1)->ecx >> 21 & 1);             /* no x2APIC without the kernel's APIC */
    fake_reset();
    fake_vm_free(start("max", "kernel-irqchip=on"));
    g_assert_true(leaf(1)->ecx >> 21 & 1);
    fake_reset();
    fake_vm_free(start("max,kvm=off", NULL));
    g_assert_cmphex(leaf(0x40000000)->ebx, !=, 0x4b4d564b);
    fake_reset();
    fake_vm_free(start("max,-kvmclock", NULL));
    g_assert_false(leaf(0x40000001)->eax & 9);
    fake_reset();
    fake_vm_free(start("host,hv-relaxed,hv_time,hv-vapic,hv-spinlocks=0x1fff,hv-vendor-id=quernquern12", "kernel-irqchip=on"));
    g_assert_cmphex(leaf(0x40000001)->eax, ==, 0x31237648);
    g_assert_cmphex(leaf(0x40000003)->eax, ==, 1 << 1 | 1 << 9 | 1 << 4 | 1 << 5);
    g_assert_cmphex(leaf(0x40000004)->eax, ==, 1 << 5 | 1 << 3);
    g_assert_cmphex(leaf(0x40000004)->ebx, ==, 0x1fff);
    g_assert_cmphex(leaf(0x40000100)->ebx, ==, 0x4b4d564b);
    fake_reset();
    fake.cap[KVM_CAP_HYPERV_CPUID] = 0;
    g_assert_null(fake_vm("max,hv-relaxed,enforce", NULL, &err));
    g_assert_nonnull(strstr(err->message, "hv-relaxed"));
    fake_reset();
    f = start("max,hv-synic", "kernel-irqchip=on");
    g_assert_cmpuint(fake_count(KVM_ENABLE_CAP), >=, 2);
    fake_vm_free(f);
}

static void test_tsc(void)
{
    g_autoptr(GError) err = NULL;

    fake_reset();
    fake_vm_free(start("max,tsc-frequency=1000000000", NULL));
    g_assert_cmpuint(fake_count(KVM_SET_TSC_KHZ), ==, 1);
    fake_reset();
    fake_vm_free(start("max,tsc-frequency=2600000000", NULL));
    g_assert_cmpuint(fake_count(KVM_SET_TSC_KHZ), ==, 0);
    fake_reset();
    fake.cap[KVM_CAP_TSC_CONTROL] = 0;
    g_assert_null(fake_vm("max,tsc-frequency=1000000000", NULL, &err));
    g_assert_nonnull(strstr(err->message, "tsc-frequency"));
}

static void test_idle(void)
{
    g_autoptr(GError) err = NULL;

    fake_reset();
    fake_vm_free(start(NULL, "cpu-pm=on"));
    g_assert_cmpuint(leaf(0x40000001)->edx, ==, 1);
    fake_reset();
    fake_vm_free(start(NULL, "halt-poll-ns=1000"));
    fake_reset();
    fake.cap[KVM_CAP_HALT_POLL] = 0;
    g_assert_null(fake_vm(NULL, "halt-poll-ns=1000", &err));
}

static void fill_debug(struct kvm_run *r)
{
    r->debug.arch.exception = 1;
    r->debug.arch.pc = 0x2000;
}
static void fill_foreign(struct kvm_run *r)
{
    r->debug.arch.exception = 1;
    r->debug.arch.pc = 0x9000;
    r->debug.arch.dr6 = 0xffff0ff1;
}

static void test_debug(void)
{
    static const uint64_t pc[] = { 0x1000, 0x2000 };
    g_autoptr(GArray) stops = g_array_new(FALSE, FALSE, sizeof *pc), none = g_array_new(FALSE, FALSE, sizeof *pc);
    g_autoptr(GArray) watches = g_array_new(FALSE, FALSE, sizeof(VcpuWatch));
    VcpuDebug plan = { .traps = none, .lazy = none, .stops = stops, .watches = watches };
    VcpuWatch w = { 0x3000, 4, false, true };
    FakeVm *f;

    fake_reset();
    f = start(NULL, NULL);
    f->v->debug = &plan;
    g_array_append_vals(stops, pc, 2);
    g_assert_true(f->m->accel->debug(f->v));
    g_assert_cmphex(fake.debug.control, ==, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP);
    g_assert_cmphex(fake.debug.arch.debugreg[1], ==, 0x2000);
    g_assert_cmphex(fake.debug.arch.debugreg[7], ==, 0x40a);
    g_array_append_val(watches, w);
    g_assert_true(f->m->accel->debug(f->v));
    g_assert_cmphex(fake.debug.arch.debugreg[7], ==, 0xd00042a);
    g_array_append_vals(stops, pc, 2);
    g_assert_false(f->m->accel->debug(f->v));           /* only four registers */
    g_array_set_size(stops, 2);
    g_assert_true(f->m->accel->debug(f->v));
    SCRIPT({ .reason = KVM_EXIT_DEBUG, .fill = fill_debug });
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_DEBUG);
    SCRIPT({ .reason = KVM_EXIT_DEBUG, .fill = fill_foreign });         /* the guest's own: it gets the trap */
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmpuint(fake.events.exception.nr, ==, 1);
    g_assert_cmpuint(fake.events.exception.injected, ==, 1);
    g_array_set_size(stops, 0);
    g_array_set_size(watches, 0);
    plan.step = true;
    g_assert_true(f->m->accel->debug(f->v));
    g_assert_cmphex(fake.debug.control, ==, KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP);
    plan.step = false;
    g_assert_true(f->m->accel->debug(f->v));
    g_assert_cmphex(fake.debug.control, ==, 0);
    f->v->debug = NULL;
    fake_vm_free(f);
}

/* What a pull finds, a push brings back: registers, events, vectors. */
static void test_state(void)
{
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    FakeVm *f;

    fake_reset();
    f = start(NULL, NULL);
    fake_run(f);
    for (unsigned i = 0; i < sizeof regs / 8; i++)
        ((uint64_t *)(void *)&fake.regs)[i] = 0x1111 * (i + 1);
    fake.regs.rflags = 0x246;
    fake.sregs.cr2 = 0xabc;
    fake.sregs.fs.base = 0x12345;
    fake.events.interrupt.injected = 1;
    fake.events.interrupt.nr = 0x33;
    fake.events.nmi.masked = 1;
    memset(fake.xsave + 160, 0x5a, 256);
    regs = fake.regs;
    sregs = fake.sregs;
    f->m->accel->pull(f->v);
    g_assert_cmpuint(x86_cpu(f->v)->held.vector, ==, 0x33);
    f->m->accel->push(f->v);
    memset(&fake.regs, 0, sizeof fake.regs);
    memset(&fake.events, 0, sizeof fake.events);
    fake_run(f);
    g_assert_cmpmem(&fake.regs, sizeof regs, &regs, sizeof regs);
    g_assert_cmphex(fake.sregs.cr2, ==, sregs.cr2);
    g_assert_cmphex(fake.sregs.fs.base, ==, 0x12345);
    g_assert_cmpuint(fake.events.interrupt.nr, ==, 0x33);
    g_assert_cmpuint(fake.events.interrupt.injected, ==, 1);
    g_assert_cmpuint(fake.events.nmi.masked, ==, 1);
    fake_vm_free(f);
}

/* --- kernel code interpreted, user code in KVM --- */

/* 64-bit user mode with one page of 2 MiB; user code at 8000h, a GDT with a kernel's 64-bit code at 5000h. */
static void user_mode(X86Cpu *c, const void *code, size_t len)
{
    uint8_t *ram = c->vcpu.machine->ram->host;

    st64_le(ram + 0x1000, 0x2007);
    st64_le(ram + 0x2000, 0x3007);
    st64_le(ram + 0x3000, 0x87);
    st64_le(ram + 0x5008, 0x00af9b000000ffff);
    memcpy(ram + 0x8000, code, len);
    c->gdtr = (X86Table) { 0x5000, 0x3f };
    c->idtr = (X86Table) { 0, 0 };
    c->seg[S_CS] = (X86Seg) { .sel = 0x33, .limit = 0xffffffff, .attr = 0xa0fb00 };
    c->seg[S_SS] = (X86Seg) { .sel = 0x2b, .limit = 0xffffffff, .attr = 0xc0f300 };
    c->cr3 = 0x1000;
    c->cr4 = CR4_PAE;
    c->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
    c->efer = EFER_LME | EFER_LMA | EFER_SCE;
    c->rip = 0x8000;
    x86_update_mode(c);
}

static void test_user_kernel(void)
{
    static const uint8_t code[] = { 0xb0, 0x42, 0xa2, 0x00, 0x20, 0xf4 };     /* mov al, 42h; mov [2000h], al; hlt */
    FakeVm *f;
    X86Cpu *c;

    fake_reset();
    fake.cap[KVM_CAP_NR_MEMSLOTS] = 32764;
    f = start(NULL, "kernel-code=soft");
    c = x86_cpu(f->v);
    c->seg[S_CS].sel = c->seg[S_CS].base = 0;
    c->rip = 0x1000;
    memcpy(f->m->ram->host + 0x1000, code, sizeof code);
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_HALT);
    g_assert_cmphex(f->m->ram->host[0x2000], ==, 0x42);
    g_assert_cmpuint(fake_count(KVM_RUN), ==, 0);
    g_assert_true(f->m->accel->has_smm(f->m));
    g_assert_false(f->m->accel->events->io(f->m, true, 0xc000, 2, true, 1, 8, true));
    fake_vm_free(f);
}

static void test_user_stretch(void)
{
    static const uint8_t code[] = { 0xc6, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00, 0x17, 0x0f, 0x0b };   /* mov byte [a000h], 17h; ud2 */
    FakeVm *f;
    X86Cpu *c;

    fake_reset();
    fake.cap[KVM_CAP_NR_MEMSLOTS] = 32764;
    SCRIPT({ 0, KVM_EXIT_MMIO, NULL }, { EINTR, 0, NULL }, { EINTR, 0, NULL }, { 0, KVM_EXIT_INTERNAL_ERROR, NULL });
    f = start(NULL, "kernel-code=soft");
    c = x86_cpu(f->v);
    user_mode(c, code, sizeof code);
    /* The store is cancelled in KVM and done by its body; UD2 finds no IDT. */
    g_assert_cmpint(fake_run(f), ==, VCPU_EXIT_TRIPLE_FAULT);
    g_assert_cmphex(f->m->ram->host[0xa000], ==, 0x17);
    g_assert_cmpuint(fake_count(KVM_RUN), >=, 3);
    g_assert_cmphex(fake.sregs.cr3, >, 1ull << 35);
    g_assert_cmphex(fake.sregs.idt.limit, ==, 0xfff);
    g_assert_cmphex(fake.sregs.efer & EFER_SCE, ==, 0);
    g_assert_cmphex(fake.sregs.cr4 & CR4_TSD, ==, CR4_TSD);
    g_assert_cmphex(c->cr3, ==, 0x1000);
    fake_vm_free(f);
}

/* Whatever a host refuses: user code is interpreted then, with the same end. */
static void test_user_errno(void)
{
    static const uint8_t code[] = { 0xc6, 0x04, 0x25, 0x00, 0xa0, 0x00, 0x00, 0x17, 0x0f, 0x0b };

    for (size_t r = 0; r < G_N_ELEMENTS(requests); r++) {
        g_autoptr(GError) err = NULL;
        VcpuExit why;
        FakeVm *f;

        fake_reset();
        fake.cap[KVM_CAP_NR_MEMSLOTS] = 32764;
        fake.fail_request = requests[r];
        fake.fail_errno = EINVAL;
        SCRIPT({ 0, KVM_EXIT_FAIL_ENTRY, NULL });
        f = fake_vm(NULL, "kernel-code=soft", &err);
        g_assert_true(f ? !err : err && *err->message);
        if (!f)
            continue;
        user_mode(x86_cpu(f->v), code, sizeof code);
        why = fake_run(f);
        g_assert_true(why == VCPU_EXIT_TRIPLE_FAULT || why == VCPU_EXIT_INTERNAL_ERROR);
        if (why == VCPU_EXIT_TRIPLE_FAULT)
            g_assert_cmphex(f->m->ram->host[0xa000], ==, 0x17);
        fake_vm_free(f);
    }
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
    g_test_add_func("/kvm/probe/model", test_probe_model);
    g_test_add_func("/kvm/probe/processor", test_probe_processor);
    g_test_add_func("/kvm/probe/msr", test_probe_msr);
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
    g_test_add_func("/kvm/split", test_split);
    g_test_add_func("/kvm/events", test_events);
    g_test_add_func("/kvm/chips", test_chips);
    g_test_add_func("/kvm/cpuid", test_cpuid);
    g_test_add_func("/kvm/tsc", test_tsc);
    g_test_add_func("/kvm/idle", test_idle);
    g_test_add_func("/kvm/debug", test_debug);
    g_test_add_func("/kvm/state", test_state);
    g_test_add_func("/kvm/user/kernel", test_user_kernel);
    g_test_add_func("/kvm/user/stretch", test_user_stretch);
    g_test_add_func("/kvm/user/errno", test_user_errno);
    return g_test_run();
}
