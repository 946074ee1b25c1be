/* test-smm: system management mode with the save-state maps of 32-bit and 64-bit processors. */
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"
#include "tests/cpu/rig.h"

#include "softmmu/accel.h"

enum { SMBASE = 0x30000, DONE = 0x1234 };       /* where SMBASE is after power-on; what handlers leave at SMBASE + 8100h */

/* What the two maps have where. Offsets from SMBASE + 8000h. */
typedef struct Map {
    const char *name, *model;
    RigMode mode;
    uint32_t revision;
    uint16_t smbase, rax, rcx, rip, cr0, halt, es_sel;
} Map;
static const Map maps[] = {
    { "64", "max", RIG_64, 0x20064, 0x7f00, 0x7ff8, 0x7ff0, 0x7f78, 0x7f58, 0x7ec9, 0x7e00 },
    { "32", "qemu32", RIG_32, 0x20000, 0x7ef8, 0x7fd0, 0x7fd4, 0x7ff0, 0x7ffc, 0x7f02, 0x7fa8 },
};
static const char *const engines[] = { "interp", "jit" };

typedef struct Case { const Map *map; const char *engine; } Case;

/* In a handler, 16-bit code: a store of a 32-bit value into the save area. */
static void store32(Code *h, unsigned off, uint32_t v)
{
    E(h, 0x66, 0x2e, 0xc7, 0x06, (uint8_t)off, (uint8_t)((off + 0x8000) >> 8));        /* mov dword cs:[8000h + off], v */
    emit32(h, v);
}

/* The stores, the mark, RSM. */
static void put_handler(Rig *r, uint64_t smbase, Code *h)
{
    store32(h, 0x100, DONE);
    E(h, 0x0f, 0xaa);           /* rsm */
    rig_put(r, smbase + 0x8000, h->b, h->n);
}

/* Code that waits for the mark below smbase, then ends the run. */
static void put_waiter(Rig *r, RigMode mode, uint64_t smbase)
{
    uint32_t at = (uint32_t)smbase + 0x8100;
    uint8_t code64[] = { 0x66, 0x81, 0x3c, 0x25, 0, 0, 0, 0, DONE & 0xff, DONE >> 8, 0x75, 0xf4, 0xe6, RIG_EXIT, 0xf4 };
    uint8_t code32[] = { 0x66, 0x81, 0x3d, 0, 0, 0, 0, DONE & 0xff, DONE >> 8, 0x75, 0xf5, 0xe6, RIG_EXIT, 0xf4 };

    st32_le(mode == RIG_64 ? code64 + 4 : code32 + 3, at);
    if (mode == RIG_64)
        rig_put(r, RIG_CODE, code64, sizeof code64);
    else
        rig_put(r, RIG_CODE, code32, sizeof code32);
}

static Rig *start(const Case *k)
{
    Rig *r = rig_new(k->engine, 1);

    rig_set_model(r, k->map->model);
    rig_mode(r, k->map->mode);
    put_waiter(r, k->map->mode, SMBASE);
    return r;
}

static uint32_t area(const Rig *r, unsigned off) { return ld32_le(r->m->ram->host + SMBASE + 0x8000 + off); }

static void everything_comes_back(gconstpointer opaque)
{
    const Case *k = opaque;
    Rig *r = start(k);
    X86Cpu *c = r->c;
    Code h = { .n = 0 };
    uint64_t gpr[16], cr3 = c->cr3, cr4 = c->cr4, efer = c->efer, cr0 = c->cr0;
    unsigned n = k->map->mode == RIG_64 ? 16 : 8, i;
    X86Seg seg[S_COUNT];

    for (i = 0; i < n; i++)
        if (i != R_RSP)
            c->gpr[i] = k->map->mode == RIG_64 ? 0x0102030405060708u * (i + 1) : 0x01020304u * (i + 1);
    c->seg[S_GS].base = 0x12345;
    c->seg[S_FS] = (X86Seg) { .sel = 0x33, .base = 0x4000, .limit = 0x1fff, .attr = SEG_P | SEG_S | SEG_WR | SEG_ACC | SEG_DB | 3u << 13 };
    c->seg[S_LDTR] = (X86Seg) { .sel = 0x50, .base = 0x6000, .limit = 0x7f, .attr = SEG_P | 0x200 };
    c->seg[S_TR] = (X86Seg) { .sel = 0x58, .base = 0x7000, .limit = 0x67, .attr = SEG_P | 0xb00 };
    c->gdtr = (X86Table) { 0x8000, 0x7f };
    c->idtr = (X86Table) { 0x9000, 0x3ff };
    c->dr[6] = 0xffff0ff1;
    memcpy(seg, c->seg, sizeof seg);
    memcpy(gpr, c->gpr, sizeof gpr);
    put_handler(r, SMBASE, &h);
    vcpu_raise(&c->vcpu, VCPU_IRQ_SMI);
    g_assert_true(rig_run(r, 10000));
    g_assert_false(c->smm);
    g_assert_cmphex(area(r, 0x7efc), ==, k->map->revision);
    g_assert_cmphex(area(r, k->map->smbase), ==, SMBASE);
    g_assert_cmphex(area(r, k->map->rcx), ==, (uint32_t)gpr[R_RCX]);
    g_assert_cmphex(area(r, k->map->es_sel) & 0xffff, ==, seg[S_ES].sel);
    g_assert_cmphex(area(r, k->map->rip), >=, RIG_CODE);
    g_assert_cmpmem(c->gpr, sizeof gpr, gpr, sizeof gpr);
    for (i = 0; i < S_COUNT; i++) {
        g_assert_cmphex(c->seg[i].sel, ==, seg[i].sel);
        g_assert_cmphex(c->seg[i].base, ==, seg[i].base);
        g_assert_cmphex(c->seg[i].limit, ==, seg[i].limit);
        g_assert_cmphex(c->seg[i].attr, ==, seg[i].attr);
    }
    g_assert_cmphex(c->gdtr.base, ==, 0x8000);
    g_assert_cmphex(c->gdtr.limit, ==, 0x7f);
    g_assert_cmphex(c->idtr.base, ==, 0x9000);
    g_assert_cmphex(c->idtr.limit, ==, 0x3ff);
    g_assert_cmphex(c->dr[6], ==, 0xffff0ff1);
    g_assert_cmphex(c->cr0, ==, cr0);
    g_assert_cmphex(c->cr3, ==, cr3);
    g_assert_cmphex(c->cr4, ==, cr4);
    g_assert_cmphex(c->efer, ==, efer);
    rig_free(r);
}

/* The handler changes a register and moves SMBASE; the next SMI runs at the new place. */
static void handler_changes_state_and_relocates(gconstpointer opaque)
{
    enum { ELSEWHERE = 0x60000 };
    const Case *k = opaque;
    Rig *r = start(k);
    Code h = { .n = 0 }, h2 = { .n = 0 };

    store32(&h, k->map->rcx, 0x5a5a);
    store32(&h, k->map->smbase, ELSEWHERE);
    put_handler(r, SMBASE, &h);
    put_handler(r, ELSEWHERE, &h2);
    vcpu_raise(&r->c->vcpu, VCPU_IRQ_SMI);
    g_assert_true(rig_run(r, 10000));
    g_assert_cmphex(r->c->gpr[R_RCX], ==, 0x5a5a);
    g_assert_cmphex(r->c->msr.smbase, ==, ELSEWHERE);
    g_assert_cmphex(ld32_le(r->m->ram->host + ELSEWHERE + 0x8100), ==, 0);
    rig_mode(r, k->map->mode);
    r->c->msr.smbase = ELSEWHERE;               /* the fresh start put it back */
    put_waiter(r, k->map->mode, ELSEWHERE);
    vcpu_raise(&r->c->vcpu, VCPU_IRQ_SMI);
    g_assert_true(rig_run(r, 10000));
    g_assert_cmphex(ld32_le(r->m->ram->host + ELSEWHERE + 0x8000 + 0x7efc), ==, k->map->revision);
    rig_free(r);
}

/* A halted processor halts again after the handler, unless that cleared the automatic restart bit. */
static void halted_processor_halts_again(gconstpointer opaque)
{
    static const uint8_t code[] = { 0xf4, 0xe6, RIG_EXIT, 0xf4 };
    const Case *k = opaque;

    for (unsigned clear = 0; clear < 2; clear++) {
        Rig *r = start(k);
        Code h = { .n = 0 };

        if (clear)
            store32(&h, k->map->halt & ~3u, 0);
        put_handler(r, SMBASE, &h);
        rig_put(r, RIG_CODE, code, sizeof code);
        g_assert_false(rig_run(r, 100));
        g_assert_true(r->c->vcpu.halted);
        vcpu_raise(&r->c->vcpu, VCPU_IRQ_SMI);
        machine_start(r->m);
        for (unsigned n = 0; n < 2000 && (area(r, 0x100) != DONE || r->c->smm || !r->c->vcpu.halted); n++) {
            machine_loop_once(r->m, false);
            machine_unlock();
            g_usleep(1000);
            machine_lock();
        }
        machine_stop(r->m, RUN_PAUSED);
        g_assert_cmphex(area(r, 0x100), ==, DONE);
        g_assert_cmpuint(r->exits, ==, clear);
        g_assert_true(r->c->vcpu.halted);
        rig_free(r);
    }
}

/* Paging without protection: the processor shuts down, and the machine is reset. */
static void impossible_state_shuts_down(gconstpointer opaque)
{
    const Case *k = opaque;
    Rig *r = start(k);
    Code h = { .n = 0 };

    store32(&h, k->map->cr0, CR0_PG);
    put_handler(r, SMBASE, &h);
    vcpu_raise(&r->c->vcpu, VCPU_IRQ_SMI);
    g_assert_false(rig_run(r, 100));
    g_assert_cmphex(area(r, 0x100), ==, DONE);
    rig_free(r);
}

/* NMIs wait while the handler runs; whether they were blocked before is remembered across it. */
static void nmi_blocking_is_restored(gconstpointer opaque)
{
    const Case *k = opaque;

    for (unsigned blocked = 0; blocked < 2; blocked++) {
        Rig *r = start(k);
        Code h = { .n = 0 };

        put_handler(r, SMBASE, &h);
        r->c->nmi_masked = blocked;
        vcpu_raise(&r->c->vcpu, VCPU_IRQ_SMI);
        x86_service(r->c);
        g_assert_true(r->c->smm);
        g_assert_true(r->c->nmi_masked);
        g_assert_true(rig_run(r, 10000));
        g_assert_cmpint(r->c->nmi_masked, ==, (int)blocked);
        rig_free(r);
    }
}

int main(int argc, char **argv)
{
    static const struct { const char *name; GTestDataFunc fn; } tests[] = {
        { "everything_comes_back", everything_comes_back },
        { "handler_changes_state_and_relocates", handler_changes_state_and_relocates },
        { "halted_processor_halts_again", halted_processor_halts_again },
        { "impossible_state_shuts_down", impossible_state_shuts_down },
        { "nmi_blocking_is_restored", nmi_blocking_is_restored },
    };
    static Case cases[G_N_ELEMENTS(maps) * G_N_ELEMENTS(engines)];
    unsigned n = 0;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    for (unsigned e = 0; e < G_N_ELEMENTS(engines); e++) {
        for (unsigned m = 0; accel_find(engines[e]) && m < G_N_ELEMENTS(maps); m++) {
            Case *k = &cases[n++];

            *k = (Case) { &maps[m], engines[e] };
            for (unsigned t = 0; t < G_N_ELEMENTS(tests); t++) {
                g_autofree char *path = g_strdup_printf("/smm/%s/%s/%s", k->engine, k->map->name, tests[t].name);

                g_test_add_data_func(path, k, tests[t].fn);
            }
        }
    }
    return g_test_run();
}
