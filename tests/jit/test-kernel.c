/* test-kernel: what kernels do all the time and the translator does by itself leaves what the C bodies leave. */
#include "tests/cpu/rig.h"

#include "softmmu/accel.h"

#include <inttypes.h>

enum { IDT = 0x110000, GDT = 0x111000, TSS = 0x112000, KERNEL = 0x11000, FAULT = 0x12000, RSP0 = RIG_STACK - 0x800, ROUNDS = 12 };
static const char *const engines[] = { "jit", "jit,exact=on", "jit,check=on" };

/* The end of a run: a write to the exit address, and nothing more. */
static void emit_exit(Code *k) { E(k, 0x88, 0x04, 0x25, 0, 0, 0xf0, 0, 0xeb, 0xfe); }
static void emit64(Code *k, uint64_t v) { emit(k, &v, 8); }

/* Every exception ends the run, by a handler at FAULT on the stack at RSP0. */
static void set_tables(Rig *r)
{
    static const uint64_t gdt[] = { 0, 0x00af9b000000ffffULL, 0x00cf93000000ffffULL, 0, 0x00cff3000000ffffULL, 0x00affb000000ffffULL };
    uint8_t gate[16] = { FAULT & 0xff, FAULT >> 8 & 0xff, 8, 0, 0, 0x8e, FAULT >> 16 & 0xff, 0 };
    uint64_t rsp0 = RSP0;
    Code k = { .n = 0 };

    emit_exit(&k);
    rig_put(r, FAULT, k.b, k.n);
    for (unsigned v = 0; v < 32; v++)
        rig_put(r, IDT + 16 * v, gate, sizeof gate);
    rig_put(r, GDT, gdt, sizeof gdt);
    rig_put(r, TSS + 4, &rsp0, 8);
    r->c->idtr = (X86Table) { IDT, 0xfff };
    r->c->gdtr = (X86Table) { GDT, 0xfff };
    r->c->seg[S_TR] = (X86Seg) { .base = TSS, .limit = 0x67, .attr = 0x8b00, .sel = 0x40 };
}

static void user_mode(X86Cpu *c)
{
    c->seg[S_CS].sel = 0x2b;
    c->seg[S_SS].sel = 0x23;
    c->seg[S_CS].attr |= 3 << 13;
    c->seg[S_SS].attr |= 3 << 13;
    x86_update_mode(c);
}

static void same(Rig *a, Rig *b, const char *engine, unsigned n, uint32_t flags)
{
    X86Cpu *x = a->c, *y = b->c;
    bool ok;

    if (x->rip >= FAULT)        /* arithmetic flags at a fault may be given up: docs/engine.md */
        flags &= ~(uint32_t)FL_ARITH;
    ok = x->rip == y->rip && x->mode == y->mode && x->data_bank == y->data_bank && x->eflags == y->eflags &&
         !((x86_get_rflags(x) ^ x86_get_rflags(y)) & flags) && x->msr.kernel_gs_base == y->msr.kernel_gs_base;

    for (unsigned i = 0; i < 16; i++)
        ok &= x->gpr[i] == y->gpr[i];
    for (unsigned i = 0; i < S_LDTR; i++)
        ok &= x->seg[i].base == y->seg[i].base && x->seg[i].limit == y->seg[i].limit && x->seg[i].attr == y->seg[i].attr &&
              x->seg[i].sel == y->seg[i].sel;
    ok &= !memcmp(a->m->ram->host + RIG_DATA - 0x1000, b->m->ram->host + RIG_DATA - 0x1000, 0x4000);
    if (ok)
        return;
    g_printerr("%s, case %u: rip %" PRIx64 " %" PRIx64 " mode %x %x flags %" PRIx64 " %" PRIx64 "\n", engine, n, x->rip, y->rip, x->mode,
               y->mode, x86_get_rflags(x), x86_get_rflags(y));
    for (unsigned i = 0; i < 16; i++)
        g_printerr("r%u %" PRIx64 " %" PRIx64 "%s\n", i, x->gpr[i], y->gpr[i], x->gpr[i] == y->gpr[i] ? "" : " <--");
    for (unsigned i = 0; i < 0x4000; i += 8)
        if (memcmp(a->m->ram->host + RIG_DATA - 0x1000 + i, b->m->ram->host + RIG_DATA - 0x1000 + i, 8))
            g_printerr("memory %x: %" PRIx64 " %" PRIx64 "\n", RIG_DATA - 0x1000 + i, ld64_le(a->m->ram->host + RIG_DATA - 0x1000 + i),
                       ld64_le(b->m->ram->host + RIG_DATA - 0x1000 + i));
    g_assert_not_reached();
}

/* ---- SYSCALL, SYSRET ---- */

typedef struct Call {
    uint32_t user;              /* RFLAGS before SYSCALL */
    uint64_t mask, r11, rcx;    /* IA32_FMASK; what the kernel returns with; rcx 0: the address it was given */
    uint64_t cr4;
    uint64_t star;
    bool no_sce, ret32;
} Call;
enum { LINUX_MASK = 0x257fd5 };
#define STAR 0x001b0008ULL << 32

static const Call calls[] = {
    { 0x246, LINUX_MASK, 0x246, .star = STAR }, { 0xad5, LINUX_MASK, 0x8d5, .star = STAR }, { 0x202, 0, 0x2, .star = STAR },
    { 0x202, LINUX_MASK & ~FL_ZF, 0x247, .star = STAR }, { 0x246, FL_ARITH, 0xffffffff00000202ULL, .star = STAR },
    { 0x200246, LINUX_MASK, 0x200246, .star = STAR }, { 0x200246, FL_ARITH | FL_ID, 0x200246, .star = STAR },
    { 0x402, LINUX_MASK, 0x402, .star = STAR }, { 0x40002, LINUX_MASK, 0x40202, .star = STAR }, { 0x40002, FL_ARITH, 0x202, .star = STAR },
    { 0x40002, FL_ARITH, 0x202, .cr4 = CR4_SMAP, .star = STAR }, { 0x4202, LINUX_MASK, 0x4202, .star = STAR },
    { 0x202, LINUX_MASK, 0x3202, .star = STAR }, { 0x202, LINUX_MASK, 0x10202, .star = STAR }, { 0x202, LINUX_MASK, 0x20202, .star = STAR },
    { 0x202, LINUX_MASK, 0x302, .star = STAR }, { 0x202, LINUX_MASK, 0x202, .cr4 = CR4_UMIP, .star = STAR },
    { 0x202, LINUX_MASK, 0x202, .rcx = 0x800000000000ULL, .star = STAR }, { 0x202, LINUX_MASK, 0x202, .rcx = 0xffff800000000000ULL, .star = STAR },
    { 0x202, LINUX_MASK, 0x202, .no_sce = true, .star = STAR }, { 0x202, LINUX_MASK, 0x202, .star = 0xfff3fffbULL << 32 },
    { 0x202, LINUX_MASK, 0x202, .star = STAR, .ret32 = true }, { 0x202, ~0ull, 0x202, .star = STAR },
};

static void run_calls(Rig *r, const Call *v)
{
    Code u = { .n = 0 }, k = { .n = 0 };

    rig_mode(r, RIG_64);
    memset(r->m->ram->host + RIG_DATA - 0x1000, 0, 0x4000);
    set_tables(r);
    r->c->msr.star = v->star;
    r->c->msr.lstar = KERNEL;
    r->c->msr.fmask = v->mask;
    r->c->cr4 |= v->cr4;
    if (v->no_sce)
        r->c->efer &= ~(uint64_t)EFER_SCE;
    for (unsigned n = 0; n < 16; n++)
        if (n != R_RSP)
            r->c->gpr[n] = 0x0123456789abcdefULL * (n + 1);
    r->c->gpr[R_RSI] = RIG_DATA;
    r->c->gpr[R_R12] = ROUNDS;
    user_mode(r->c);
    E(&u, 0x68);                                        /* push user; popf; syscall; pushf; pop [rsi]; add rsi, 8 */
    emit32(&u, v->user);
    E(&u, 0x9d, 0x0f, 0x05, 0x9c, 0x8f, 0x06, 0x48, 0x83, 0xc6, 8);
    E(&u, 0x41, 0xff, 0xcc, 0x75, 0x100 - 21 + 2);      /* dec r12d; jnz */
    u.b[u.n - 1] = (uint8_t)(0u - u.n);
    emit_exit(&u);
    rig_put(r, RIG_CODE, u.b, u.n);
    /* pushf; pop [rsi]; mov [rsi+8], rcx; mov [rsi+16], r11; mov [rsi+24], cs; mov [rsi+26], ss; mov r9d, ss; mov [rsi+32], r9 */
    E(&k, 0x9c, 0x8f, 0x06, 0x48, 0x89, 0x4e, 8, 0x4c, 0x89, 0x5e, 16, 0x8c, 0x4e, 24, 0x8c, 0x56, 26, 0x41, 0x8c, 0xd1, 0x4c, 0x89, 0x4e, 32);
    E(&k, 0x48, 0x83, 0xc6, 40, 0x49, 0xbb);            /* add rsi, 40; mov r11, imm64 */
    emit64(&k, v->r11);
    if (v->rcx) {
        E(&k, 0x48, 0xb9);
        emit64(&k, v->rcx);
    }
    if (!v->ret32)
        E(&k, 0x48);
    E(&k, 0x0f, 0x07);                                  /* sysret */
    rig_put(r, KERNEL, k.b, k.n);
    g_assert_true(rig_run(r, 20000));
}

static void system_calls(gconstpointer engine)
{
    Rig *a = rig_new("interp", 1), *b = rig_new(engine, 1);

    for (unsigned n = 0; n < G_N_ELEMENTS(calls); n++) {
        run_calls(a, &calls[n]);
        run_calls(b, &calls[n]);
        same(a, b, engine, n, ~0u);
    }
    rig_free(a);
    rig_free(b);
}

/* Some MSR and CR4 bits are changed between calls: what was true at translation need not be so later. */
static void system_calls_change_their_ways(gconstpointer engine)
{
    Rig *a = rig_new("interp", 1), *b = rig_new(engine, 1);

    for (unsigned n = 0; n < 60; n++) {
        Call v = calls[(unsigned)g_test_rand_int_range(0, 5)];

        v.cr4 = g_test_rand_int() & 1 ? CR4_UMIP : 0;
        v.no_sce = !(g_test_rand_int() & 7);
        v.mask &= (uint32_t)g_test_rand_int() | FL_ARITH | FL_DF;
        v.r11 ^= (uint32_t)g_test_rand_int() & FL_ARITH;
        run_calls(a, &v);
        run_calls(b, &v);
        same(a, b, engine, n, ~0u);
    }
    rig_free(a);
    rig_free(b);
}

/* ---- code in one piece, CPL 0 or 3 ---- */

static void run_code(Rig *r, const Code *k, bool user, uint64_t cr4, uint64_t seed)
{
    Code c = *k;
    uint64_t x = seed;

    rig_mode(r, RIG_64);
    for (unsigned n = 0; n < 0x4000; n++)
        r->m->ram->host[RIG_DATA - 0x1000 + n] = (uint8_t)(n * 37 + (n >> 8));
    set_tables(r);
    r->c->cr4 |= cr4;
    for (unsigned n = 0; n < 16; n++) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        if (n != R_RSP)
            r->c->gpr[n] = x >> 52 << (x >> 40 & 1 ? 0 : 3);
        if (x >> 41 & 1 && n != R_RSP)
            r->c->gpr[n] = 0 - r->c->gpr[n];
    }
    r->c->gpr[R_RSI] = RIG_DATA + 0x800;
    r->c->gpr[R_RDI] = 8;
    r->c->seg[S_FS].base = 0x111;
    r->c->seg[S_GS].base = 0x222;
    r->c->cr2 = 0x123456789abcULL;
    x86_set_rflags(r->c, FL_1 | (x >> 20 & FL_ARITH));
    if (user)
        user_mode(r->c);
    emit_exit(&c);
    rig_put(r, RIG_CODE, c.b, c.n);
    g_assert_true(rig_run(r, 20000));
}

static void both(Rig *a, Rig *b, const char *engine, const Code *k, bool user, uint64_t cr4, unsigned n, uint32_t flags)
{
    for (unsigned round = 0; round < 2; round++) {
        run_code(a, k, user, cr4, n * 2 + round);
        run_code(b, k, user, cr4, n * 2 + round);
        same(a, b, engine, n, flags);
    }
}

static void bit_strings(gconstpointer engine)
{
    static const uint8_t op[] = { 0xa3, 0xab, 0xb3, 0xbb };
    Rig *a = rig_new("interp", 1), *b = rig_new(engine, 1);

    for (unsigned n = 0; n < 120; n++) {
        Code k = { .n = 0 };

        for (unsigned m = 0; m < 6; m++) {
            unsigned reg = (unsigned)g_test_rand_int() & 15, o = (unsigned)g_test_rand_int() & 3, kind = (unsigned)g_test_rand_int() & 15;

            if (reg == R_RSP || reg == R_RSI || reg == R_RDI)
                reg = R_R10;
            if (o && kind & 1)
                E(&k, 0xf0);
            if (kind == 15)
                E(&k, 0x66);
            if (kind == 14)
                E(&k, 0x64);            /* fs */
            E(&k, 0x40 | (kind & 2 ? 8 : 0) | reg >> 3 << 2, 0x0f, op[o]);
            if (kind & 4)
                E(&k, 0x44 | (reg & 7) << 3, 0x7e, 0x20);       /* [rsi + rdi*2 + 20h] */
            else
                E(&k, 0x06 | (reg & 7) << 3);
            if (kind & 8)
                E(&k, 0x0f, 0x92, 0xc3, 0x0f, 0x94, 0xc7);      /* setc bl; setz bh */
        }
        E(&k, 0x9c, 0x5d, 0x81, 0xe5, FL_CF | FL_ZF, 0, 0, 0);  /* pushf; pop rbp; and ebp, CF|ZF */
        both(a, b, engine, &k, n & 1, 0, n, FL_CF | FL_PF);
    }
    rig_free(a);
    rig_free(b);
}

static void system_registers(gconstpointer engine)
{
    static const struct { uint8_t n, b[12]; } code[] = {
        { 2, { 0x8c, 0xd8 } }, { 3, { 0x41, 0x8c, 0xd2 } }, { 3, { 0x66, 0x8c, 0xcb } }, { 3, { 0x48, 0x8c, 0xd5 } }, { 2, { 0x8c, 0x26 } },
        { 3, { 0x41, 0x8c, 0xe9 } }, { 3, { 0x8c, 0x6e, 0x3f } }, { 2, { 0x8c, 0xf0 } }, { 4, { 0x64, 0x8c, 0x5e, 0x10 } },
        { 3, { 0x0f, 0x20, 0xc0 } }, { 4, { 0x41, 0x0f, 0x20, 0xd1 } }, { 3, { 0x0f, 0x20, 0xdd } }, { 3, { 0x0f, 0x20, 0xe2 } },
        { 3, { 0x0f, 0x20, 0xc8 } }, { 4, { 0x44, 0x0f, 0x20, 0xc0 } },
        { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xc3 } }, { 5, { 0xf3, 0x4d, 0x0f, 0xae, 0xca } }, { 4, { 0xf3, 0x0f, 0xae, 0xc1 } },
        { 9, { 0xf3, 0x48, 0x0f, 0xae, 0xd6, 0x64, 0x48, 0x8b, 0x0e } },                     /* wrfsbase rsi; mov rcx, fs:[rsi] */
        { 5, { 0xf3, 0x4d, 0x0f, 0xae, 0xd9 } }, { 4, { 0xf3, 0x0f, 0xae, 0xda } },          /* wrgsbase r9; wrgsbase edx */
        { 12, { 0x48, 0xc7, 0xc0, 0, 0, 0, 0x40, 0x48, 0xc1, 0xe0, 0x11, 0x90 } },           /* mov rax, 40000000h; shl rax, 17; nop */
        { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xd8 } },                                            /* wrgsbase rax: may fault by what rax is */
    };
    static const uint8_t nowhere[] = { 0x48, 0xc7, 0xc0, 0, 0, 0, 0x40, 0x48, 0xc1, 0xe0, 0x11, 0xf3, 0x48, 0x0f, 0xae, 0xd0 };
    Rig *a = rig_new("interp", 1), *b = rig_new(engine, 1);

    for (unsigned n = 0; n < 4 * G_N_ELEMENTS(code); n++) {
        const uint8_t *x = code[n / 4].b;
        Code k = { .n = 0 };

        E(&k, 0x48, 0x39, 0xd0);                                /* cmp rax, rdx */
        emit(&k, x, code[n / 4].n);
        E(&k, 0x0f, 0x9c, 0xc3, 0x4c, 0x11, 0xce);              /* setl bl; adc rsi, r9 */
        both(a, b, engine, &k, n & 1, n & 2 ? CR4_FSGSBASE : 0, n, ~(uint32_t)FL_ARITH);
    }
    for (unsigned n = 0; n < 4; n++) {
        Code k = { .n = 0 };

        emit(&k, nowhere, sizeof nowhere);
        both(a, b, engine, &k, n & 1, n & 2 ? CR4_FSGSBASE : 0, n, ~(uint32_t)FL_ARITH);
        g_assert_cmphex(b->c->rip, >=, FAULT);
    }
    rig_free(a);
    rig_free(b);
}

int main(int argc, char **argv)
{
    static const RigTest tests[] = { { "system-calls", system_calls }, { "system-calls-change", system_calls_change_their_ways },
        { "bit-strings", bit_strings }, { "system-registers", system_registers } };
    int rc;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    for (unsigned e = 0; e < G_N_ELEMENTS(engines) && accel_find("jit"); e++)
        for (unsigned n = 0; n < G_N_ELEMENTS(tests); n++) {
            g_autofree char *path = g_strdup_printf("/kernel/%s/%s", tests[n].name, engines[e]);

            g_test_add_data_func(path, engines[e], tests[n].fn);
        }
    rc = g_test_run();
    machine_unlock();
    return rc;
}
