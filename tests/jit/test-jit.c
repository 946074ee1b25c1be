/* test-jit: the same code on the interpreter and on the translator must leave the same state. */
#include "tests/cpu/rig.h"

#include "accel/jit/jit_int.h"
#include "softmmu/accel.h"

#include <stdlib.h>
#include <string.h>

typedef struct Pair { Rig *a, *b; } Pair;

static const char *jit_options = "jit";
static unsigned random_rounds = 1500;

static Pair pair_new(void)
{
    return (Pair) { rig_new("interp", 1), rig_new(jit_options, 1) };
}

static void pair_free(Pair *p)
{
    g_autofree char *text = p->b->m->accel->describe(p->b->m);

    g_test_message("%s", text);
    rig_free(p->a);
    rig_free(p->b);
}

static void set_regs(Rig *r, uint64_t seed, bool code64)
{
    X86Cpu *c = r->c;
    uint64_t x = seed | 1;

    for (unsigned n = 0; n < 16; n++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (n != R_RSP)
            c->gpr[n] = code64 ? x : (uint32_t)x;
    }
    c->gpr[R_RSI] = RIG_DATA;
    c->gpr[R_RDI] = RIG_DATA + 0x1000;
    c->gpr[R_RBP] = RIG_STACK - 0x100;
    for (unsigned n = 0; n < 16; n++)
        for (unsigned k = 0; k < 4; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            c->vec[n].q[k] = x;
        }
    x86_set_rflags(c, FL_1 | (x & FL_ARITH));
}

static void dump_code(const uint8_t *code, size_t len)
{
    for (size_t n = 0; n < len; n++)
        g_printerr("%02x ", code[n]);
    g_printerr("\n");
}

static bool same(Pair *p, uint32_t flag_mask, bool vec)
{
    X86Cpu *a = p->a->c, *b = p->b->c;
    uint64_t fa = x86_get_rflags(a), fb = x86_get_rflags(b);
    bool ok = a->rip == b->rip && !((fa ^ fb) & flag_mask);

    for (unsigned n = 0; n < 16; n++) {
        if (a->gpr[n] != b->gpr[n]) {
            ok = false;
            g_printerr("r%u: interp %016lx jit %016lx\n", n, a->gpr[n], b->gpr[n]);
        }
        if (vec && memcmp(&a->vec[n], &b->vec[n], 32)) {
            ok = false;
            g_printerr("v%u: interp %016lx %016lx jit %016lx %016lx\n", n, a->vec[n].q[1], a->vec[n].q[0], b->vec[n].q[1],
                       b->vec[n].q[0]);
        }
    }
    if (!ok)
        g_printerr("rip %lx %lx flags %lx %lx\n", a->rip, b->rip, fa, fb);
    if (memcmp(p->a->m->ram->host + RIG_DATA - 0x1000, p->b->m->ram->host + RIG_DATA - 0x1000, 0x4000) ||
        memcmp(p->a->m->ram->host + RIG_STACK - 0x1000, p->b->m->ram->host + RIG_STACK - 0x1000, 0x2000)) {
        ok = false;
        g_printerr("memory differs\n");
    }
    return ok;
}

static bool run_one(Rig *r, RigMode mode, const uint8_t *code, size_t len, uint64_t seed)
{
    static const uint8_t tail64[] = { 0x88, 0x04, 0x25, 0, 0, 0xf0, 0, 0xeb, 0xfe };
    static const uint8_t tail32[] = { 0x88, 0x05, 0, 0, 0xf0, 0, 0xeb, 0xfe };

    rig_mode(r, mode);
    set_regs(r, seed, mode == RIG_64);
    rig_put(r, RIG_CODE, code, len);
    if (mode == RIG_64)
        rig_put(r, RIG_CODE + len, tail64, sizeof tail64);
    else
        rig_put(r, RIG_CODE + len, tail32, sizeof tail32);
    return rig_run(r, 5000);
}

static void check_masked(Pair *p, RigMode mode, const uint8_t *code, size_t len, uint64_t seed, uint32_t mask)
{
    g_assert_true(run_one(p->a, mode, code, len, seed));
    g_assert_true(run_one(p->b, mode, code, len, seed));
    if (!same(p, mask, true)) {
        dump_code(code, len);
        g_printerr("seed %lx mode %d\n", seed, mode);
        g_assert_not_reached();
    }
}

#define BYTES(...) (const uint8_t[]) { __VA_ARGS__ }, sizeof (const uint8_t[]) { __VA_ARGS__ }

static void straight_code_gives_the_same_state(void)
{
    Pair p = pair_new();

    check_masked(&p, RIG_64, BYTES(0x48, 0x01, 0xc8), 1, ~0u);                  /* add rax, rcx */
    check_masked(&p, RIG_64, BYTES(0x4d, 0x01, 0xd1, 0x4d, 0x89, 0xcb), 2, ~0u);        /* add r9, r10; mov r11, r9 */
    check_masked(&p, RIG_64, BYTES(0x48, 0x8b, 0x46, 0x08, 0x48, 0x89, 0x07), 3, ~0u);  /* mov rax,[rsi+8]; mov [rdi],rax */
    check_masked(&p, RIG_64, BYTES(0x48, 0x39, 0xc8, 0x48, 0x8b, 0x06, 0x0f, 0x94, 0xc3), 4, ~0u);      /* cmp; mov rax,[rsi]; sete bl */
    check_masked(&p, RIG_64, BYTES(0x50, 0x41, 0x51, 0x5b, 0x59), 5, ~0u);      /* push rax; push r9; pop rbx; pop rcx */
    check_masked(&p, RIG_64, BYTES(0x48, 0x11, 0x06, 0x48, 0x13, 0x06), 6, ~0u);        /* adc [rsi],rax; adc rax,[rsi] */
    check_masked(&p, RIG_64, BYTES(0xe8, 0x02, 0, 0, 0, 0xeb, 0x04, 0x48, 0xff, 0xc0, 0xc3), 7, ~0u);   /* call; ret */
    check_masked(&p, RIG_64, BYTES(0xb9, 0x10, 0, 0, 0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9), 8, ~0u);     /* loop by jnz */
    check_masked(&p, RIG_64, BYTES(0x0f, 0x28, 0xc1, 0x66, 0x0f, 0xfe, 0x06, 0x66, 0x0f, 0x7f, 0x47, 0x10), 9, ~0u);
    check_masked(&p, RIG_64, BYTES(0x8a, 0x26, 0x88, 0x67, 0x01, 0x00, 0xe0), 10, ~0u); /* high bytes */
    check_masked(&p, RIG_32, BYTES(0x01, 0xc8, 0x8b, 0x46, 0x08, 0x89, 0x07, 0x50, 0x5b, 0x40), 11, ~0u);
    /* One check for both accesses, though the register moves between them. A first block brings the page into the TLB. */
    check_masked(&p, RIG_32, BYTES(0x83, 0xec, 0x40, 0x50, 0x5a, 0xeb, 0,       /* sub esp,40h; push eax; pop edx; jmp */
        0x89, 0x04, 0x24, 0x16, 0x8b, 0x5c, 0x24, 0x04), 12, ~0u);              /* mov [esp],eax; push ss; mov ebx,[esp+4] */
    check_masked(&p, RIG_32, BYTES(0x89, 0x7e, 0x0a, 0xeb, 0,                   /* mov [esi+10],edi; jmp */
        0x8d, 0x46, 0x0a, 0x8b, 0x08, 0x37, 0x8b, 0x10), 13, FL_AF | FL_CF);    /* lea eax,[esi+10]; mov ecx,[eax]; aaa; mov edx,[eax] */
    pair_free(&p);
}

/* ---- random code ---- */

typedef struct Rnd { uint64_t x; } Rnd;
static unsigned rnd(Rnd *r, unsigned n)
{
    r->x ^= r->x << 13, r->x ^= r->x >> 7, r->x ^= r->x << 17;
    return (r->x >> 11) % n;
}

typedef struct Buf { uint8_t b[512]; unsigned n; bool code64; } Buf;
static void put(Buf *b, unsigned v) { b->b[b->n++] = v; }

static unsigned any_reg(Rnd *r, Buf *b)         /* not the stack or address registers */
{
    static const uint8_t regs[] = { 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15 };

    return regs[rnd(r, b->code64 ? 12 : 4)];
}

/* modrm with memory or register form; reg is the other field. */
static void modrm(Rnd *r, Buf *b, unsigned reg, bool mem, unsigned rm, unsigned *rex_at)
{
    if (!mem) {
        put(b, 0xc0 | (reg & 7) << 3 | (rm & 7));
        return;
    }
    (void)rex_at;
    switch (rnd(r, 4)) {
    case 0: put(b, 0x40 | (reg & 7) << 3 | 6); put(b, rnd(r, 256)); break;                      /* [rsi+d8] */
    case 1: put(b, 0x80 | (reg & 7) << 3 | 7);                                                  /* [rdi+d32] */
            put(b, rnd(r, 256)), put(b, rnd(r, 16)), put(b, 0), put(b, 0); break;
    case 2: put(b, 0x40 | (reg & 7) << 3 | 4); put(b, 0x24); put(b, rnd(r, 64)); break;         /* [rsp+d8] */
    default: put(b, 0x40 | (reg & 7) << 3 | 5); put(b, rnd(r, 256)); break;                     /* [rbp+d8] */
    }
}

static void rex(Rnd *r, Buf *b, bool w, unsigned reg, unsigned rm)
{
    if (b->code64)
        put(b, 0x40 | w << 3 | reg >> 3 << 2 | rm >> 3);
}

/* One random instruction; returns flags left undefined by it. */
static uint32_t random_insn(Rnd *r, Buf *b)
{
    static const uint8_t alu[] = { 0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38 };
    unsigned reg = any_reg(r, b), rm = any_reg(r, b);
    bool mem = rnd(r, 2), w = rnd(r, 2), byte = !rnd(r, 4);

    switch (rnd(r, 16)) {
    case 0: case 1: case 2: case 3:
        if (!rnd(r, 6))
            put(b, 0x66);
        rex(r, b, w, reg, mem ? 0 : rm);
        unsigned op = alu[rnd(r, 8)];
        put(b, op | !byte | rnd(r, 2) << 1);
        modrm(r, b, reg, mem, rm, NULL);
        return (op >> 3) == 1 || (op >> 3) == 4 || (op >> 3) == 6 ? FL_AF : 0;
    case 4:
        rex(r, b, w, 0, mem ? 0 : rm);
        put(b, 0x83);
        modrm(r, b, rnd(r, 8), mem, rm, NULL);
        put(b, rnd(r, 256));
        return FL_AF;
    case 5: case 6:
        rex(r, b, w, reg, mem ? 0 : rm);
        put(b, byte ? rnd(r, 2) ? 0x88 : 0x8a : rnd(r, 2) ? 0x89 : 0x8b);
        modrm(r, b, reg, mem, rm, NULL);
        return 0;
    case 7:
        rex(r, b, w, reg, 0);
        put(b, 0x8d);
        modrm(r, b, reg, true, rm, NULL);
        return 0;
    case 8:
        if (b->code64 && (reg >= 8))
            put(b, 0x41);
        put(b, 0x50 | (reg & 7));
        if (b->code64 && (rm >= 8))
            put(b, 0x41);
        put(b, 0x58 | (rm & 7));
        return 0;
    case 9:
        rex(r, b, w, 0, mem ? 0 : rm);
        put(b, 0xc1);
        modrm(r, b, 4 + rnd(r, 4), mem, rm, NULL);
        put(b, rnd(r, 40));
        return FL_AF | FL_OF | FL_CF;
    case 10:
        rex(r, b, w, reg, mem ? 0 : rm);
        put(b, 0x0f);
        put(b, 0x40 | rnd(r, 16));
        modrm(r, b, reg, mem, rm, NULL);
        return 0;
    case 11:
        rex(r, b, false, 0, mem ? 0 : rm);
        put(b, 0x0f);
        put(b, 0x90 | rnd(r, 16));
        modrm(r, b, 0, mem, rm, NULL);
        return 0;
    case 12:
        rex(r, b, w, 0, mem ? 0 : rm);
        put(b, 0xff);
        modrm(r, b, rnd(r, 2), mem, rm, NULL);
        return 0;
    case 13:
        rex(r, b, w, reg, mem ? 0 : rm);
        put(b, 0x0f);
        put(b, rnd(r, 2) ? 0xb6 : 0xbf);
        modrm(r, b, reg, mem, rm, NULL);
        return 0;
    case 14:
        put(b, 0x70 | rnd(r, 16));      /* jcc over one byte NOP */
        put(b, 1);
        put(b, 0x90);
        return 0;
    default:
        rex(r, b, w, reg, mem ? 0 : rm);
        put(b, 0x0f);
        put(b, 0xaf);
        modrm(r, b, reg, mem, rm, NULL);
        return FL_PF | FL_AF | FL_ZF | FL_SF;
    }
}

/* AF after logical operations, flags after IMUL and shifts are undefined: the interpreter may
   differ there, so code that would read them is put behind an ADD now and then. */
static void random_code(RigMode mode)
{
    Pair p = pair_new();
    Rnd r = { 0x1234567 + mode };

    for (unsigned n = 0; n < random_rounds; n++) {
        Buf b = { .code64 = mode == RIG_64 };
        uint64_t seed = r.x;

        for (unsigned k = 0; k < 12 + rnd(&r, 12); k++)
            if (random_insn(&r, &b) & (FL_OF | FL_CF | FL_ZF)) {
                put(&b, 0x01);          /* add eax, ecx: defined flags again */
                put(&b, 0xc8);
            }
        check_masked(&p, mode, b.b, b.n, seed, ~(uint32_t)FL_AF);
    }
    pair_free(&p);
}
static void random_64(void) { random_code(RIG_64); }
static void random_32(void) { random_code(RIG_32); }

/* Each round gives a function another constant and calls it: new code every time, which must not count as seen before. */
static void overwritten_code_starts_cold(void)
{
    static const uint8_t fn[] = { 0xb8, 0, 0, 0, 0, 0xc3 };     /* mov eax, imm32; ret: at RIG_CODE + 2000h */
    static const uint8_t code[] = {
        0xb9, 50, 0, 0, 0,                              /* mov ecx, 50 */
        0x89, 0x0c, 0x25, 0x01, 0x20, 0x01, 0x00,       /* again: mov [RIG_CODE + 2001h], ecx */
        0xe8, 0xef, 0x1f, 0x00, 0x00,                   /* call RIG_CODE + 2000h */
        0xff, 0xc9, 0x75, 0xf0,                         /* dec ecx; jnz again */
    };
    Rig *r = rig_new("jit", 1);
    JitCpu *j = r->c->vcpu.engine;

    j->heat_limit = HEAT_DEFAULT;
    rig_put(r, RIG_CODE + 0x2000, fn, sizeof fn);
    g_assert_true(run_one(r, RIG_64, code, sizeof code, 1));
    g_assert_cmpuint(r->c->gpr[R_RAX], ==, 1);
    g_assert_cmpuint(j->st.blocks, <, 10);
    rig_free(r);
}

/* ---- flags from block to block ---- */

typedef struct Piece { uint8_t n, b[8]; } Piece;
enum { NEAR = 0x200, FAR = 0x2000 };     /* where the other piece of code lies, from RIG_CODE */

static const Piece setters[] = {        /* some leave their operands in place, some do not; INC and ROL leave some flags as they were */
    { 3, { 0x48, 0x01, 0xd0 } }, { 3, { 0x48, 0x29, 0xd0 } }, { 2, { 0x39, 0xd0 } }, { 2, { 0x38, 0xd0 } }, { 3, { 0x66, 0x85, 0xd0 } },
    { 3, { 0x48, 0x31, 0xd0 } }, { 4, { 0x48, 0x83, 0xc0, 0x7f } }, { 4, { 0x48, 0x83, 0xe8, 0x81 } }, { 3, { 0x83, 0xf8, 0x05 } },
    { 2, { 0xa8, 0x40 } }, { 3, { 0x48, 0xff, 0xc0 } }, { 3, { 0x48, 0xd1, 0xc0 } }, { 3, { 0x48, 0xf7, 0xd8 } }, { 1, { 0x90 } },
    { 7, { 0x48, 0x83, 0xec, 0x10, 0x59, 0x59, 0x90 } },        /* sub rsp, 16; pop rcx; pop rcx */
};
static const Piece changers[] = {       /* what may happen to the operands before anybody reads the flags */
    { 1, { 0x90 } }, { 4, { 0x48, 0x8d, 0x04, 0x40 } }, { 3, { 0x48, 0x8b, 0x06 } }, { 3, { 0x4c, 0x89, 0xe2 } }, { 2, { 0x50, 0x5a } },
};
static const Piece readers[] = {
    { 1, { 0x90 } }, { 3, { 0x48, 0x11, 0xeb } }, { 6, { 0x0f, 0x9c, 0x06, 0x48, 0x11, 0xeb } }, { 6, { 0x7e, 0x03, 0x48, 0xff, 0xc3, 0x90 } },
    { 7, { 0x0f, 0x90, 0x06, 0x0f, 0x9a, 0x46, 0x01 } }, { 8, { 0x0f, 0xba, 0xe0, 0x03, 0x48, 0x11, 0xeb, 0x90 } },
};

static void piece(Buf *b, const Piece *p)
{
    for (unsigned n = 0; n < p->n; n++)
        put(b, p->b[n]);
}

static void rel32(Buf *b, uint8_t op, int32_t to)
{
    uint8_t d[4];

    put(b, op);
    st32_le(d, (uint32_t)(to - (int32_t)b->n - 4));
    for (unsigned n = 0; n < 4; n++)
        put(b, d[n]);
}

/* Flags set before a call, jump or return, direct or not, near or far, and read after it or two of them. */
static void flags_cross_every_way(void)
{
    Pair p = pair_new();
    Rnd r = { 0x7654321 };

    for (unsigned n = 0; n < MIN(random_rounds, 400u); n++) {
        unsigned way = rnd(&r, 6), at = way & 1 ? FAR : NEAR;
        Buf b = { .code64 = true }, f = { .code64 = true };
        uint64_t seed = r.x, top;

        piece(&b, &(Piece) { 5, { 0xb9, 24, 0, 0, 0 } });       /* mov ecx, 24 */
        top = b.n;
        piece(&b, &(Piece) { 2, { 0x51, 0x90 } });              /* push rcx */
        piece(&b, &setters[rnd(&r, G_N_ELEMENTS(setters))]);
        piece(&b, &changers[rnd(&r, G_N_ELEMENTS(changers))]);
        if (way / 2 == 0) {
            rel32(&b, 0xe8, at);
        } else {                                                /* mov r8d, at; call r8 or jmp r8 */
            piece(&b, &(Piece) { 6, { 0x41, 0xb8, 0, at >> 8, 1, 0 } });
            piece(&b, &(Piece) { 3, { 0x41, 0xff, way / 2 == 1 ? 0xd0 : 0xe0 } });
        }
        if (rnd(&r, 2))
            piece(&f, &readers[rnd(&r, G_N_ELEMENTS(readers))]);
        if (rnd(&r, 2))
            piece(&f, &setters[rnd(&r, G_N_ELEMENTS(setters))]);
        piece(&f, &changers[rnd(&r, G_N_ELEMENTS(changers))]);
        if (way / 2 == 2)
            rel32(&f, 0xe9, (int32_t)b.n - (int32_t)at);
        else
            put(&f, 0xc3);
        piece(&b, &changers[rnd(&r, G_N_ELEMENTS(changers))]);
        piece(&b, &readers[rnd(&r, G_N_ELEMENTS(readers))]);
        piece(&b, &(Piece) { 6, { 0x59, 0x8d, 0x49, 0xff, 0xe3, 5 } });         /* pop rcx; lea ecx, [rcx-1]; jrcxz out */
        rel32(&b, 0xe9, (int32_t)top);
        rig_put(p.a, RIG_CODE + at, f.b, f.n);
        rig_put(p.b, RIG_CODE + at, f.b, f.n);
        check_masked(&p, RIG_64, b.b, b.n, seed, ~(uint32_t)(FL_AF | FL_OF));
    }
    pair_free(&p);
}

/* ---- check=on ---- */

static void checked_code_gives_no_report(void)
{
    jit_options = "jit,check=on";
    random_rounds = 150;
    straight_code_gives_the_same_state();
    random_64();
    random_32();
    flags_cross_every_way();
    jit_options = "jit";
    random_rounds = 1500;
}

/* The same translation, but one byte of the generated code is not what it should be. */
static void spoilt_code_is_reported(void)
{
    static const uint8_t code[] = { 0xb8, 0x11, 0x22, 0x33, 0x44, 0x89, 0x06, 0xeb, 0 };  /* mov eax, 0x44332211; mov [rsi], eax; jmp */
    static const uint8_t imm[] = { 0x11, 0x22, 0x33, 0x44 };

    if (g_test_subprocess()) {
        Rig *r = rig_new("jit,check=on", 1);
        JitCpu *j = r->c->vcpu.engine;
        uint8_t *at;

        g_assert_true(run_one(r, RIG_64, code, sizeof code, 1));
        at = memmem(j->cache.rw + j->cache.stub_bytes, j->cache.used - j->cache.stub_bytes, imm, sizeof imm);
        g_assert_nonnull(at);
        at[1] ^= 1;
        rig_mode(r, RIG_64);
        set_regs(r, 1, true);
        rig_run(r, 500);
        g_assert_cmpint(j->failed, ==, true);
        rig_free(r);
        exit(0);
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("*block at 0x10000 does not do what*b8 11 22 33 44*mov*rax*44332211*44332311*"
                              "memory*interpreter 22, translation 23*");
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/jit/straight", straight_code_gives_the_same_state);
    g_test_add_func("/jit/random-64", random_64);
    g_test_add_func("/jit/random-32", random_32);
    g_test_add_func("/jit/flags-cross", flags_cross_every_way);
    g_test_add_func("/jit/overwritten", overwritten_code_starts_cold);
    g_test_add_func("/jit/checked", checked_code_gives_no_report);
    g_test_add_func("/jit/spoilt", spoilt_code_is_reported);
    rc = g_test_run();
    machine_unlock();
    return rc;
}
