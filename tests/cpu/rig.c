/* rig: see rig.h. */
#include "tests/cpu/rig.h"

#include "softmmu/accel.h"

#include <string.h>

static uint64_t exit_read(void *opaque, uint64_t off, unsigned size) { return 0; }

static void exit_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Rig *r = opaque;

    r->exits++;
    r->exit_code = val;
}
static const IoOps exit_ops = { exit_read, exit_write, .max = 4 };

Rig *rig_new(const char *engine, unsigned cpus)
{
    Rig *r = g_new0(Rig, 1);
    g_auto(GStrv) words = g_strsplit(engine, ",", 0);
    Machine *m = machine_new(false);
    g_autoptr(GHashTable) opts = g_hash_table_new(g_str_hash, g_str_equal);
    GError *err = NULL;

    r->m = m;
    m->accel = accel_find(words[0]);
    g_assert_nonnull(m->accel);
    m->ram_size = RIG_RAM;
    m->ram = ram_block_new("ram", RIG_RAM, &err);
    g_assert_no_error(err);
    region_init_ram(&r->ram, "ram", m->ram, 0, RIG_RAM);
    region_add(&m->mem_root, &r->ram, 0, 0);
    region_init_io(&r->exit, "exit", &exit_ops, r, 4);
    region_add(&m->port_root, &r->exit, RIG_EXIT, 0);
    region_init_io(&r->exit_mem, "exit-mem", &exit_ops, r, 4);
    region_add(&m->mem_root, &r->exit_mem, RIG_EXIT_MEM, 1);
    g_hash_table_insert(opts, (char *)"threshold", (char *)"0");    /* jit: translate at once */
    for (unsigned n = 1; words[n]; n++) {       /* option=value */
        char *value = strchr(words[n], '=');

        *value++ = 0;
        g_hash_table_insert(opts, words[n], value);
    }
    if (m->accel->create && !m->accel->create(m, opts, &err))
        g_error("%s", err->message);
    r->model = x86_model_parse("max", &err);
    g_assert_no_error(err);
    for (unsigned n = 0; n < cpus; n++) {
        X86Cpu *c = x86_cpu_new(m, r->model, n, &err);

        g_assert_no_error(err);
        if (!n)
            r->c = c;
    }
    for (unsigned n = 0; n < cpus; n++)
        vcpu_start_thread(g_ptr_array_index(m->vcpus, n));
    return r;
}

void rig_set_model(Rig *r, const char *spec)
{
    GError *err = NULL;

    x86_model_free(r->model);
    r->model = x86_model_parse(spec, &err);
    g_assert_no_error(err);
    for (unsigned n = 0; n < r->m->vcpus->len; n++)
        x86_cpu(g_ptr_array_index(r->m->vcpus, n))->model = r->model;
}

void rig_free(Rig *r)
{
    machine_free(r->m);
    x86_model_free(r->model);
    region_destroy(&r->ram);
    region_destroy(&r->exit);
    region_destroy(&r->exit_mem);
    g_free(r);
}

void rig_put(Rig *r, uint64_t addr, const void *bytes, size_t len)
{
    g_assert_true(range_ok(addr, len, RIG_RAM));
    memcpy(r->m->ram->host + addr, bytes, len);
    ram_mark_written(r->m->ram, addr, len);
}

static void put64(Rig *r, uint64_t addr, uint64_t v) { rig_put(r, addr, &v, 8); }

static void flat_segments(X86Cpu *c, RigMode mode)
{
    uint32_t limit = mode == RIG_16 ? 0xffff : 0xffffffff;
    uint32_t size = mode == RIG_16 ? 0 : SEG_DB | SEG_G;

    for (unsigned s = 0; s < 6; s++)
        c->seg[s] = (X86Seg){ .sel = mode == RIG_16 ? 0 : 0x10, .limit = limit,
                              .attr = SEG_P | SEG_S | SEG_WR | SEG_ACC | size };
    c->seg[S_CS] = (X86Seg){ .sel = mode == RIG_16 ? RIG_CODE >> 4 : 8, .limit = limit,
                             .base = mode == RIG_16 ? RIG_CODE : 0,
                             .attr = SEG_P | SEG_S | SEG_CODE | SEG_WR | SEG_ACC |
                                     (mode == RIG_64 ? SEG_L | SEG_G : size) };
}

void rig_mode(Rig *r, RigMode mode) { rig_mode_cpu(r, 0, mode); }

void rig_mode_cpu(Rig *r, unsigned cpu, RigMode mode)
{
    X86Cpu *c = x86_cpu(g_ptr_array_index(r->m->vcpus, cpu));

    c->vcpu.ops->reset(&c->vcpu);
    c->wait_sipi = c->vcpu.halted = false;
    c->cr0 = CR0_ET | CR0_NE | CR0_MP | (mode ? CR0_PE : 0);
    c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    c->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    memset(c->gpr, 0, sizeof c->gpr);
    flat_segments(c, mode);
    if (mode == RIG_64) {
        put64(r, 0x100000, 0x101000 | 7);
        put64(r, 0x101000, 0x102000 | 7);
        for (uint64_t n = 0; n < 8; n++)
            put64(r, 0x102000 + n * 8, n << 21 | 0x87);
        c->cr3 = 0x100000;
        c->cr4 |= CR4_PAE;
        c->cr0 |= CR0_PG;
        c->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    }
    c->gpr[R_RSP] = mode == RIG_16 ? 0xf000 : RIG_STACK;
    c->rip = mode == RIG_16 ? 0 : RIG_CODE;
    x86_set_rflags(c, FL_1);
    x86_update_mode(c);
    x86_tlb_flush_all(c);
}

bool rig_run(Rig *r, unsigned ms)
{
    gint64 end = g_get_monotonic_time() + ms * 1000;
    unsigned before = r->exits;

    r->c->vcpu.halted = false;
    machine_start(r->m);
    while (r->exits == before && g_get_monotonic_time() < end && r->m->state == RUN_RUNNING) {
        machine_loop_once(r->m, false);
        machine_unlock();
        g_usleep(20);
        machine_lock();
    }
    machine_stop(r->m, RUN_PAUSED);
    return r->exits != before;
}

bool rig_exec(Rig *r, RigMode mode, const void *code, size_t len)
{
    static const uint8_t tail[] = { 0xe6, RIG_EXIT, 0xf4 };

    rig_mode(r, mode);
    rig_put(r, RIG_CODE, code, len);
    rig_put(r, RIG_CODE + len, tail, sizeof tail);
    return rig_run(r, 5000);
}

void rig_count_locked(const char *engine, uint32_t var, uint32_t done)
{
    enum { TIMES = 30000 };
    Rig *r = rig_new(engine, 2);
    uint32_t n, zero = 0;
    Code k = { .n = 0 };

    for (unsigned cpu = 0; cpu < 2; cpu++) {
        rig_mode_cpu(r, cpu, RIG_64);
        x86_cpu(g_ptr_array_index(r->m->vcpus, cpu))->gpr[R_RSP] = RIG_STACK - cpu * 0x1000;
    }
    /* mov ecx, TIMES; 1: lock inc dword [var]; dec ecx; jnz 1b; lock inc dword [done]; 2: cmp dword [done], 2; jne 2b; out; hlt */
    E(&k, 0xb9);
    emit32(&k, TIMES);
    E(&k, 0xf0, 0xff, 0x04, 0x25);
    emit32(&k, var);
    E(&k, 0xff, 0xc9, 0x75, 0xf4, 0xf0, 0xff, 0x04, 0x25);
    emit32(&k, done);
    E(&k, 0x83, 0x3c, 0x25);
    emit32(&k, done);
    E(&k, 2, 0x75, 0xf6, 0xe6, RIG_EXIT, 0xf4);
    rig_put(r, var, &zero, 4);
    rig_put(r, done, &zero, 4);
    rig_put(r, RIG_CODE, k.b, k.n);
    g_assert_true(rig_run(r, 60000));
    memcpy(&n, r->m->ram->host + var, 4);
    g_assert_cmpuint(n, ==, 2 * TIMES);
    rig_free(r);
}

int rig_main(int argc, char **argv, const char *prefix, bool exact, const RigTest *tests, unsigned n)
{
    static const char *const engines[] = { "interp", "jit", "jit,exact=on", "jit,trace=1" };
    int rc;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    for (unsigned e = 0; e < (exact ? 4 : 2) && (!e || accel_find("jit")); e++) {
        for (unsigned t = 0; t < n; t++) {
            g_autofree char *path = g_strdup_printf("%s/%s/%s", prefix, engines[e], tests[t].name);

            g_test_add_data_func(path, engines[e], tests[t].fn);
        }
    }
    rc = g_test_run();
    machine_unlock();
    return rc;
}
