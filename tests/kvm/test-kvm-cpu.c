/* test-kvm-cpu: processors of the KVM back-end against the fake: models and probes, clocks, debugging, state, user code alone in KVM. */
#include "tests/kvm/fake.h"

#include "softmmu/softmmu_int.h"
#include "util/bytes.h"

#include <string.h>

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
    g_assert_cmphex(fake_leaf(0)->ebx, ==, 0x68747541);
    g_assert_false(fake_leaf(7)->ebx >> 5 & 1);
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

/* --- processors --- */

static void test_cpuid(void)
{
    g_autoptr(GError) err = NULL;
    FakeVm *f;

    fake_reset();
    fake_vm_free(fake_start("max", NULL));
    g_assert_cmphex(fake_leaf(0x40000000)->ebx, ==, 0x4b4d564b);
    g_assert_true(fake_leaf(0x40000001)->eax & 1);
    g_assert_false(fake_leaf(1)->ecx >> 21 & 1);             /* no x2APIC without the kernel's APIC */
    fake_reset();
    fake_vm_free(fake_start("max", "kernel-irqchip=on"));
    g_assert_true(fake_leaf(1)->ecx >> 21 & 1);
    fake_reset();
    fake_vm_free(fake_start("max,kvm=off", NULL));
    g_assert_cmphex(fake_leaf(0x40000000)->ebx, !=, 0x4b4d564b);
    fake_reset();
    fake_vm_free(fake_start("max,-kvmclock", NULL));
    g_assert_false(fake_leaf(0x40000001)->eax & 9);
    fake_reset();
    fake_vm_free(fake_start("host,hv-relaxed,hv_time,hv-vapic,hv-spinlocks=0x1fff,hv-vendor-id=quernquern12", "kernel-irqchip=on"));
    g_assert_cmphex(fake_leaf(0x40000001)->eax, ==, 0x31237648);
    g_assert_cmphex(fake_leaf(0x40000003)->eax, ==, 1 << 1 | 1 << 9 | 1 << 4 | 1 << 5);
    g_assert_cmphex(fake_leaf(0x40000004)->eax, ==, 1 << 5 | 1 << 3);
    g_assert_cmphex(fake_leaf(0x40000004)->ebx, ==, 0x1fff);
    g_assert_cmphex(fake_leaf(0x40000100)->ebx, ==, 0x4b4d564b);
    fake_reset();
    fake.cap[KVM_CAP_HYPERV_CPUID] = 0;
    g_assert_null(fake_vm("max,hv-relaxed,enforce", NULL, &err));
    g_assert_nonnull(strstr(err->message, "hv-relaxed"));
    fake_reset();
    f = fake_start("max,hv-synic", "kernel-irqchip=on");
    g_assert_cmpuint(fake_count(KVM_ENABLE_CAP), >=, 2);
    fake_vm_free(f);
}

/* What -cpu names and KVM lacks: named, left out or refused; max and host stand for what there is. */
static void test_check(void)
{
    static const struct { const char *cpu; bool ok; } cases[] = {
        { "Westmere", true }, { "x86-64-v3,check=off", true }, { "Haswell,enforce", false }, { "max,enforce", true }, { "host,enforce", true },
        { "max,+avx2,enforce", false }, { "Haswell,-avx2,-xsaveopt,enforce", true }, { "max,+avx2,-avx2,enforce", true }, { "qemu64,enforce", true } };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) err = NULL, why = NULL;
        X86Model *m = x86_model_parse(cases[i].cpu, &err);
        FakeVm *f;

        g_assert_no_error(err);
        fake_reset();
        fake.lacks = 1u << 5;
        f = fake_vm(cases[i].cpu, "kernel-irqchip=on", &err);
        g_assert_cmpint(f != NULL, ==, cases[i].ok);
        if (f) {
            g_assert_false(fake_leaf(7)->ebx >> 5 & 1);
            fake_vm_free(f);
        } else {
            g_assert_nonnull(strstr(err->message, "this host's KVM lacks avx2"));
            g_assert_null(strstr(err->message, "invtsc"));     /* nobody asked for it */
        }
        SCRIPT({ .reason = KVM_EXIT_IO });
        fake.step = 0;
        g_assert_cmpint(kvm_probe_on(&fake_sys, m, &why), ==, cases[i].ok);
        g_assert_true(cases[i].ok || strstr(why->message, "lacks avx2"));
        x86_model_free(m);
    }
}

/* Hyper-V's parts in the probe: the interrupt controller is started, and what is lacking under enforce makes it say no. */
static void test_probe_hyperv(void)
{
    g_autoptr(GError) err = NULL, why = NULL;
    X86Model *m = x86_model_parse("max,hv-vpindex,hv-synic,hv-stimer,enforce", &err);

    g_assert_no_error(err);
    fake_reset();
    SCRIPT({ .reason = KVM_EXIT_IO });
    g_assert_true(kvm_probe_on(&fake_sys, m, &why));
    g_assert_cmpuint(fake_count(KVM_ENABLE_CAP), ==, 1);
    fake.step = 0;
    fake.hv_bare = true;
    g_assert_false(kvm_probe_on(&fake_sys, m, &why));
    g_assert_nonnull(strstr(why->message, "hv-"));
    x86_model_free(m);
}

/* The kernel's clock stands while the machine does, and goes with a saved state. */
static void test_clock(void)
{
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    machine_emit(f->m, EVENT_RESUME, NULL);
    g_assert_cmpuint(fake_count(KVM_SET_CLOCK), ==, 0);         /* a new machine's clock starts by itself */
    fake.clock.clock = 5000000000;
    machine_emit(f->m, EVENT_STOP, NULL);
    fake.clock.clock = 9000000000;
    machine_emit(f->m, EVENT_RESUME, NULL);
    g_assert_cmpuint(fake.clock.clock, ==, 5000000000);
    g_assert_cmpuint(x86_cpu(f->v)->msr.pv[7], ==, 5000000000);         /* saved with the processor */
    x86_cpu(f->v)->msr.pv[7] = 7777777777;                              /* as after a load */
    machine_emit(f->m, EVENT_RESUME, NULL);
    g_assert_cmpuint(fake.clock.clock, ==, 7777777777);
    fake_vm_free(f);
}

/* Every option that is read can be given. */
static void test_options(void)
{
    static const char *const known[] = { "kernel-irqchip", "kernel_irqchip", "cpu-pm", "halt-poll-ns", "dirty-ring-size", "kernel-code" };
    g_auto(GStrv) listed = NULL;

    fake_reset();
    listed = g_strsplit(fake_accel.options, " ", -1);
    g_assert_cmpuint(g_strv_length(listed), ==, G_N_ELEMENTS(known));
    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        g_assert_true(g_strv_contains((const char *const *)listed, known[i]));
}

static void test_tsc(void)
{
    g_autoptr(GError) err = NULL;

    fake_reset();
    fake_vm_free(fake_start("max,tsc-frequency=1000000000", NULL));
    g_assert_cmpuint(fake_count(KVM_SET_TSC_KHZ), ==, 1);
    fake_reset();
    fake_vm_free(fake_start("max,tsc-frequency=2600000000", NULL));
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
    fake_vm_free(fake_start(NULL, "cpu-pm=on"));
    g_assert_cmpuint(fake_leaf(0x40000001)->edx, ==, 1);
    fake_reset();
    fake_vm_free(fake_start(NULL, "halt-poll-ns=1000"));
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
    f = fake_start(NULL, NULL);
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
    f = fake_start(NULL, NULL);
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

/* XSAVE writes MXCSR even where it says that SSE is in its initial state (SDM vol. 1, 13.7). */
static void test_mxcsr(void)
{
    FakeVm *f;

    fake_reset();
    f = fake_start(NULL, NULL);
    fake_run(f);
    memset(fake.xsave, 0, sizeof fake.xsave);
    st32_le(fake.xsave + 24, 0x3f80);
    f->m->accel->pull(f->v);
    g_assert_cmphex(x86_cpu(f->v)->mxcsr, ==, 0x3f80);
    g_assert_cmphex(x86_cpu(f->v)->x87.cw, ==, 0x37f);
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
    f = fake_start(NULL, "kernel-code=soft");
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
    f = fake_start(NULL, "kernel-code=soft");
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

    for (size_t r = 0; r < fake_request_count; r++) {
        g_autoptr(GError) err = NULL;
        VcpuExit why;
        FakeVm *f;

        fake_reset();
        fake.cap[KVM_CAP_NR_MEMSLOTS] = 32764;
        fake.fail_request = fake_requests[r];
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
    g_test_add_func("/kvm/probe/model", test_probe_model);
    g_test_add_func("/kvm/probe/processor", test_probe_processor);
    g_test_add_func("/kvm/probe/msr", test_probe_msr);
    g_test_add_func("/kvm/cpuid", test_cpuid);
    g_test_add_func("/kvm/check", test_check);
    g_test_add_func("/kvm/probe/hyperv", test_probe_hyperv);
    g_test_add_func("/kvm/clock", test_clock);
    g_test_add_func("/kvm/options", test_options);
    g_test_add_func("/kvm/tsc", test_tsc);
    g_test_add_func("/kvm/idle", test_idle);
    g_test_add_func("/kvm/debug", test_debug);
    g_test_add_func("/kvm/state", test_state);
    g_test_add_func("/kvm/state/mxcsr", test_mxcsr);
    g_test_add_func("/kvm/user/kernel", test_user_kernel);
    g_test_add_func("/kvm/user/stretch", test_user_stretch);
    g_test_add_func("/kvm/user/errno", test_user_errno);
    return g_test_run();
}
