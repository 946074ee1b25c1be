/* test-sys: CPU models, MSRs, saved state, NMI, shutdown, and random system state. */
#include "target/x86/mmu_int.h"
#include "target/x86/msr_int.h"
#include "target/x86/prot_int.h"
#include "tests/cpu/rig.h"

static void models_parse_and_refuse(void)
{
    static const struct { const char *spec, *says; } bad[] = {
        { "Haswel", "did you mean 'Haswell'" }, { "max,+avx3", "did you mean 'avx" }, { "max,phys-bits=99", "36 to 52" },
        { "qemu64,sse3=perhaps", "on or off" }, { "max,vendor=short", "12 characters" }, { "max,+svm,enforce", "not implemented" } };
    GError *err = NULL;
    X86Model *m = x86_model_parse("Haswell-noTSX-IBRS,-avx2,+rdseed", &err);

    g_assert_no_error(err);
    g_assert_false(x86_model_has(m, FEAT_AVX2));
    g_assert_true(x86_model_has(m, FEAT_RDSEED));
    g_assert_true(x86_model_has(m, FEAT_AVX));
    g_assert_cmphex(x86_model_signature(m), ==, 0x306c4);
    x86_model_free(m);
    m = x86_model_parse("max,-sse2", &err);
    g_assert_no_error(err);
    g_assert_false(x86_model_has(m, FEAT_AVX));         /* it needs SSE2 */
    x86_model_free(m);
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        m = x86_model_parse(bad[i].spec, &err);
        g_assert_null(m);
        g_assert_nonnull(strstr(err->message, bad[i].says));
        g_clear_error(&err);
    }
}

static void no_model_offers_what_is_missing(void)
{
    for (const char *const *n = x86_model_names(); *n; n++) {
        X86Model *m = x86_model_parse(*n, NULL);

        g_assert_nonnull(m);
        for (unsigned f = 1; f < FEAT_COUNT; f++)
            g_assert_false(x86_model_has(m, f) && !x86_feature_implemented(f));
        x86_model_free(m);
    }
}

static void cpuid_has_topology_and_tsc(void)
{
    Rig *r = rig_new("interp", 1);
    uint32_t v[4];

    x86_model_set_topology(r->model, 4, 2);
    x86_cpuid(r->c, 0xb, 0, v);
    g_assert_cmphex(v[0], ==, 1);
    g_assert_cmphex(v[1], ==, 2);
    x86_cpuid(r->c, 0xb, 1, v);
    g_assert_cmphex(v[0], ==, 3);
    g_assert_cmphex(v[1], ==, 8);
    x86_cpuid(r->c, 0x40000010, 0, v);
    g_assert_cmpuint(v[0], ==, x86_tsc_hz() / 1000);
    x86_cpuid(r->c, 0x12345678, 0, v);
    g_assert_cmphex(v[0] | v[1] | v[2] | v[3], ==, 0);
    rig_free(r);
}

static void msrs_check_values(void)
{
    Rig *r = rig_new("interp", 1);
    X86Cpu *c = r->c;
    uint64_t v;

    g_assert_false(x86_rdmsr(c, 0x12345, &v));
    g_assert_false(x86_wrmsr(c, 0xc0000082, 0x800000000000));
    g_assert_true(x86_wrmsr(c, 0xc0000082, 0xffffffff81000000));
    g_assert_true(x86_rdmsr(c, 0xc0000082, &v));
    g_assert_cmphex(v, ==, 0xffffffff81000000);
    g_assert_false(x86_wrmsr(c, 0x277, 0x0207040600070406));
    g_assert_false(x86_wrmsr(c, 0xc0000080, 1u << 1));
    g_assert_true(x86_wrmsr(c, 0x3b, 1000));
    g_assert_true(x86_rdmsr(c, 0x3b, &v));
    g_assert_cmpuint(v, ==, 1000);
    g_assert_true(x86_wrmsr(c, 0x10, 0));
    g_assert_cmpuint(x86_rdtsc(c), <, x86_tsc_hz());
    g_assert_false(x86_rdmsr(c, 0x48, &v));
    for (uint32_t n = 0; n < 0x1000; n++)       /* rows are found by bisection: all in order */
        if (n == 0x10 || n == 0x1a0 || n == 0x2ff || n == 0x400)
            g_assert_true(x86_rdmsr(c, n, &v));
    g_assert_true(x86_wrmsr(c, 0x201, 0xffffff0000 | 0x800));
    g_assert_false(x86_wrmsr(c, 0x200, 2));
    rig_free(r);
}

static void state_survives_save_and_load(void)
{
    Rig *a = rig_new("interp", 1), *b = rig_new("interp", 1);
    GByteArray *s1 = g_byte_array_new(), *s2 = g_byte_array_new();
    const uint8_t *p;
    GError *err = NULL;

    rig_mode(a, RIG_64);
    for (unsigned i = 0; i < 16; i++)
        a->c->gpr[i] = 0x1111111111111111u * i;
    x86_set_rflags(a->c, 0x246);
    a->c->vec[3].q[1] = 0x42;
    a->c->msr.lstar = 0xffffffff80000000;
    state_save(s1, "cpu/0", a->c->vcpu.ops->state, a->c);
    p = s1->data;
    g_assert_true(state_load(&p, s1->data + s1->len, "cpu/0", b->c->vcpu.ops->state, b->c, &err));
    g_assert_no_error(err);
    b->c->tsc_image = a->c->tsc_image;
    g_assert_cmphex(x86_get_rflags(b->c), ==, 0x246);
    g_assert_cmphex(b->c->gpr[15], ==, 0xffffffffffffffff);
    g_assert_cmpuint(b->c->mode, ==, a->c->mode);
    g_assert_cmpuint(x86_rdtsc(b->c) - x86_rdtsc(a->c) + x86_tsc_hz(), <, 2 * x86_tsc_hz());
    state_save(s2, "cpu/0", b->c->vcpu.ops->state, b->c);
    g_assert_cmpuint(s1->len, ==, s2->len);
    /* A state no processor can be in is refused. */
    a->c->cr0 = CR0_PG;
    g_byte_array_set_size(s1, 0);
    state_save(s1, "cpu/0", a->c->vcpu.ops->state, a->c);
    p = s1->data;
    g_assert_false(state_load(&p, s1->data + s1->len, "cpu/0", b->c->vcpu.ops->state, b->c, &err));
    g_clear_error(&err);
    g_byte_array_unref(s1);
    g_byte_array_unref(s2);
    rig_free(a);
    rig_free(b);
}

/* What the guest has switched on must be there where it goes on. */
/* A guest sees nothing of the time its machine is stopped, and its processors' counters stay apart as they were. */
static void counter_stands_with_the_machine(void)
{
    Rig *r = rig_new("interp", 2);
    X86Cpu *first = r->c, *second = x86_cpu(g_ptr_array_index(r->m->vcpus, 1));
    uint64_t at, apart, hz = x86_tsc_hz(), offset;

    machine_start(r->m);
    machine_stop(r->m, RUN_PAUSED);
    second->tsc_offset += 12345;
    apart = second->tsc_offset - first->tsc_offset;
    offset = first->tsc_offset;
    at = x86_rdtsc(first);
    g_usleep(20000);
    g_assert_cmpuint(x86_rdtsc(first), ==, at);
    g_assert_cmpuint(x86_rdtsc(second), ==, at + apart);
    machine_start(r->m);
    g_assert_cmpuint(offset - first->tsc_offset, >=, hz / 50);
    g_assert_cmpuint(second->tsc_offset - first->tsc_offset, ==, apart);
    g_assert_cmpuint(x86_rdtsc(first), >=, at);
    machine_stop(r->m, RUN_PAUSED);
    rig_free(r);
}

static void state_of_a_larger_model_is_refused(void)
{
    g_autoptr(GError) err = NULL;
    GByteArray *saved = g_byte_array_new();
    Rig *a = rig_new("interp", 1), *b = rig_new("interp", 1);
    const uint8_t *p;

    rig_mode(a, RIG_64);
    rig_mode(b, RIG_64);
    a->c->cr4 |= CR4_SMEP;
    state_save(saved, "cpu/0", a->c->vcpu.ops->state, a->c);
    p = saved->data;
    g_assert_true(state_load(&p, saved->data + saved->len, "cpu/0", b->c->vcpu.ops->state, b->c, &err));
    rig_set_model(b, "qemu64");
    p = saved->data;
    g_assert_false(state_load(&p, saved->data + saved->len, "cpu/0", b->c->vcpu.ops->state, b->c, &err));
    g_assert_nonnull(strstr(err->message, "-cpu qemu64 does not have"));
    g_byte_array_unref(saved);
    rig_free(a);
    rig_free(b);
}

/* NMI gate at 0x21000: handler counts in RDI, raises no second NMI until its IRETQ. */
static void nmi_is_masked_until_iret(void)
{
    /* handler: inc rdi; nops; iretq.  main: cmp rdi, 2; jne; out */
    static const uint8_t handler[] = { 0x48, 0xff, 0xc7, 0x90, 0x90, 0x48, 0xcf };
    static const uint8_t code[] = { 0x48, 0x83, 0xff, 0x02, 0x75, 0xfa, 0xe6, RIG_EXIT, 0xf4 };
    Rig *r = rig_new("interp", 1);
    uint64_t gdt[3] = { 0, 0x00af9b000000ffffull, 0x00cf93000000ffffull };
    uint64_t gate[2] = { (0x14000 & 0xffff) | 8ull << 16 | 0x8eull << 40 | (0x14000ull >> 16) << 48, 0 };

    rig_mode(r, RIG_64);
    rig_put(r, 0x14000, handler, sizeof handler);
    rig_put(r, RIG_CODE, code, sizeof code);
    rig_put(r, 0x20000, gdt, sizeof gdt);
    rig_put(r, 0x21000 + 2 * 16, gate, sizeof gate);
    r->c->gdtr = (X86Table) { 0x20000, sizeof gdt - 1 };
    r->c->idtr = (X86Table) { 0x21000, 0xfff };
    r->c->seg[S_SS].sel = 0x10;
    vcpu_raise(&r->c->vcpu, VCPU_IRQ_NMI);
    g_assert_true(x86_service(r->c));
    g_assert_true(r->c->nmi_masked);
    vcpu_raise(&r->c->vcpu, VCPU_IRQ_NMI);
    g_assert_false(x86_service(r->c));
    g_assert_true(rig_run(r, 10000));
    g_assert_cmpuint(r->c->gpr[R_RDI], ==, 2);
    g_assert_false(r->c->nmi_masked);
    rig_free(r);
}

/* Random descriptors, gates, tables and privileged code: whatever happens, it happens to the guest. */
static void random_system_state_is_survived(void)
{
    static const uint8_t likely[] = { 0x0f, 0x01, 0x00, 0x22, 0x20, 0xcf, 0xcd, 0x9a, 0xea, 0xcb, 0x8e, 0xc7, 0x0f, 0x30, 0x32, 0x07, 0x05,
        0x34, 0x35, 0xfb, 0xfa, 0x9d, 0xff, 0x2d, 0x1d, 0xd8, 0xc0, 0x17, 0x1f, 0xaa, 0x6c, 0x6f, 0xf3, 0x66, 0x67, 0xa1, 0xa9, 0x82 };
    Rig *r = rig_new("interp", 1);
    unsigned rounds = g_test_slow() ? 3000 : 60;

    for (unsigned round = 0; round < rounds; round++) {
        uint8_t code[256];

        rig_mode(r, (RigMode)g_test_rand_int_range(0, 3));
        for (unsigned i = 0; i < sizeof code; i++)
            code[i] = g_test_rand_int() & 1 ? likely[(unsigned)g_test_rand_int() % sizeof likely] : (uint8_t)g_test_rand_int();
        rig_put(r, RIG_CODE, code, sizeof code);
        for (unsigned i = 0; i < 0x1000; i += 4)
            st32_le(r->m->ram->host + RIG_DATA + i, (uint32_t)g_test_rand_int());
        for (unsigned i = 0; i < 0x400; i += 8)     /* plausible type bytes */
            r->m->ram->host[RIG_DATA + i + 5] = (uint8_t)(0x80 | (g_test_rand_int() & 0x7f));
        r->c->gdtr = (X86Table) { RIG_DATA, 0x3ff };
        r->c->idtr = (X86Table) { RIG_DATA + 0x200, 0x7ff };
        r->c->seg[S_TR] = (X86Seg) { .base = RIG_DATA + 0x800, .limit = 0x7ff, .attr = 0x8b00, .sel = 0x28 };
        for (unsigned i = 0; i < 16; i++)
            if (i != R_RSP)
                r->c->gpr[i] = g_test_rand_int() & 1 ? RIG_DATA + (unsigned)g_test_rand_int() % 0x1000 : (uint64_t)g_test_rand_int();
        r->c->eflags |= (uint32_t)g_test_rand_int() & (FL_IF | FL_NT | FL_IOPL | FL_AC | FL_TF);
        x86_update_mode(r->c);
        rig_run(r, 3);
        g_assert_true(r->m->state != RUN_INTERNAL_ERROR);
    }
    rig_free(r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/sys/models_parse_and_refuse", models_parse_and_refuse);
    g_test_add_func("/sys/no_model_offers_what_is_missing", no_model_offers_what_is_missing);
    g_test_add_func("/sys/cpuid_has_topology_and_tsc", cpuid_has_topology_and_tsc);
    g_test_add_func("/sys/msrs_check_values", msrs_check_values);
    g_test_add_func("/sys/state_survives_save_and_load", state_survives_save_and_load);
    g_test_add_func("/sys/counter_stands_with_the_machine", counter_stands_with_the_machine);
    g_test_add_func("/sys/state_of_a_larger_model_is_refused", state_of_a_larger_model_is_refused);
    g_test_add_func("/sys/nmi_is_masked_until_iret", nmi_is_masked_until_iret);
    g_test_add_func("/sys/random_system_state_is_survived", random_system_state_is_survived);
    return g_test_run();
}
