/*
 * test-events: what happens to running code from outside: interrupts between any two instructions,
 * other address spaces at the same address, other processors that patch it; on both engines.
 */
#include "tests/cpu/rig.h"

enum { IDT = 0x110000, GDT = 0x111000, HANDLER = 0x112000, VECTOR = 0x40, COUNT = 0x113000, ROUNDS = 40000 };

/* ---- interrupts ---- */

static int ack(X86Cpu *c)
{
    vcpu_lower(&c->vcpu, VCPU_IRQ_INTR);
    return VECTOR;
}
static uint8_t get_tpr(X86Cpu *c) { return 0; }
static uint64_t get_base(X86Cpu *c) { return 0xfee00900; }
static const X86ApicOps ops = { .ack = ack, .get_tpr = get_tpr, .get_base = get_base };

typedef struct Storm { X86Cpu *c; _Atomic bool stop; } Storm;
static gpointer storm(gpointer data)
{
    Storm *s = data;

    for (unsigned n = 0; !s->stop; n++) {
        vcpu_raise(&s->c->vcpu, VCPU_IRQ_INTR);
        g_usleep(n % 7 * 13);
    }
    return NULL;
}

/* A handler that changes flags and vector state and puts them back: push rax; sub eax, 1; inc qword [COUNT]; pop rax; iretq */
static void set_up_interrupts(Rig *r)
{
    static const uint8_t handler[] = { 0x50, 0x83, 0xe8, 1, 0x48, 0xff, 0x04, 0x25, 0, 0x30, 0x11, 0, 0x58, 0x48, 0xcf };
    uint8_t gate[16] = { HANDLER & 0xff, HANDLER >> 8 & 0xff, 8, 0, 0, 0x8e, HANDLER >> 16 & 0xff, 0 };
    uint64_t gdt[] = { 0, 0x00af9b000000ffffULL, 0x00cf93000000ffffULL };
    uint64_t zero = 0;

    rig_put(r, HANDLER, handler, sizeof handler);
    rig_put(r, IDT + 16 * VECTOR, gate, sizeof gate);
    rig_put(r, GDT, gdt, sizeof gdt);
    rig_put(r, COUNT, &zero, 8);
    r->c->idtr = (X86Table) { IDT, 0xfff };
    r->c->gdtr = (X86Table) { GDT, 0xfff };
    r->c->apic_ops = &ops;
    x86_set_rflags(r->c, FL_1 | FL_IF);
}

/*
 * Rounds of arithmetic in which every flag and every register counts: the end must be the
 * same with and without interrupts.
 */
static void mixing_code(Code *k, unsigned seed)
{
    static const struct { uint8_t n, b[4]; } step[] = {
        { 3, { 0x48, 0x11, 0xc8 } }, { 3, { 0x48, 0x19, 0xd3 } }, { 3, { 0x48, 0x13, 0x1e } }, { 3, { 0x48, 0x11, 0x06 } },     /* adc, sbb, adc rbx,[rsi], adc [rsi],rax */
        { 3, { 0x48, 0xd1, 0xd0 } }, { 3, { 0x48, 0xd1, 0xda } }, { 1, { 0xf5 } }, { 2, { 0xff, 0xc2 } },       /* rcl, rcr, cmc, inc */
        { 3, { 0x4d, 0x11, 0xc1 } }, { 3, { 0x4d, 0x19, 0xca } }, { 3, { 0x4c, 0x13, 0x1e } }, { 2, { 0x50, 0x5d } },   /* adc, sbb, adc in r9-r11; push, pop */
        { 3, { 0x0f, 0x92, 0xc1 } }, { 3, { 0x48, 0x39, 0x06 } }, { 4, { 0x48, 0x0f, 0x42, 0xd8 } }, { 3, { 0x48, 0x85, 0xc9 } },
    };
    unsigned x = seed, top;

    E(k, 0x41, 0xbc);                       /* mov r12d, ROUNDS */
    emit32(k, ROUNDS);
    top = k->n;
    for (unsigned n = 0; n < 40; n++) {
        x = x * 1103515245 + 12345;
        emit(k, step[x >> 16 & 15].b, step[x >> 16 & 15].n);
        if (n % 9 == 8)
            E(k, 0x70 + (x >> 20 & 15), 3, 0x48, 0x01, 0xc2);       /* jcc over add rdx, rax */
    }
    E(k, 0x9c, 0x41, 0x5d, 0x4d, 0x01, 0xee);   /* pushf; pop r13; add r14, r13 */
    E(k, 0x41, 0xff, 0xcc, 0x0f, 0x85);     /* dec r12d; jnz top */
    emit32(k, top - (k->n + 4));
    E(k, 0xe6, RIG_EXIT, 0xf4, 0xeb, 0xfd);     /* out; 1: hlt; jmp 1b */
}

static void run_mixing(Rig *r, const Code *k, bool interrupts, uint64_t *sum)
{
    Storm s = { .c = r->c };
    GThread *t;

    rig_mode(r, RIG_64);
    for (unsigned n = 0; n < 16; n++)
        if (n != R_RSP)
            r->c->gpr[n] = 0x123456789abcdefULL * (n + 1);
    r->c->gpr[R_RSI] = RIG_DATA;
    memset(r->m->ram->host + RIG_DATA, 0x5a, 64);
    rig_put(r, RIG_CODE, k->b, k->n);
    set_up_interrupts(r);
    if (!interrupts)
        x86_set_rflags(r->c, FL_1);
    t = interrupts ? g_thread_new("storm", storm, &s) : NULL;
    g_assert_true(rig_run(r, 60000));
    s.stop = true;
    if (t)
        g_thread_join(t);
    vcpu_lower(&r->c->vcpu, VCPU_IRQ_INTR);
    *sum = 0;
    for (unsigned n = 0; n < 16; n++) {
        uint64_t v = r->c->gpr[n];

        if (n == R_R14 || n == R_R13)
            continue;                       /* show IF */
        *sum = *sum * 31 + v;
    }
    *sum = *sum * 31 + r->c->gpr[R_R14] - (interrupts ? (uint64_t)ROUNDS * FL_IF : 0);
}

static void interrupts_change_nothing(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    uint64_t want, got, taken = 0, n;

    /* A busy host wakes the thread that interrupts seldom. */
    for (unsigned round = 0; round < 12 || (taken <= 10 && round < 300); round++) {
        Code k = { .n = 0 };

        mixing_code(&k, round * 7 + 1);
        run_mixing(r, &k, false, &want);
        run_mixing(r, &k, true, &got);
        memcpy(&n, r->m->ram->host + COUNT, 8);
        taken += n;
        g_assert_cmphex(got, ==, want);
    }
    g_test_message("%" G_GUINT64_FORMAT " interrupts", taken);
    g_assert_cmpuint(taken, >, 10);
    rig_free(r);
}

/* ---- runs of accesses and of the registers that live in memory ---- */

/*
 * Accesses at [rsi + rbx], [rsi + rbx*4], [rsi + r9] and [rip] between steps of their registers, with arithmetic in
 * r8-r11 and shifts by CL: what one check proves for several accesses, or for all rounds of a short loop, must hold for each.
 */
static void stepping_code(Code *k, unsigned seed)
{
    static const struct { uint8_t n, b[8]; } step[] = {
        { 4, { 0x48, 0x89, 0x04, 0x1e } }, { 5, { 0x48, 0x03, 0x44, 0x1e, 8 } }, { 5, { 0x48, 0x89, 0x54, 0x9e, 16 } },     /* mov [rsi+rbx], rax; add rax, [rsi+rbx+8]; mov [rsi+rbx*4+16], rdx */
        { 5, { 0x48, 0x33, 0x54, 0x9e, 24 } }, { 4, { 0x4a, 0x89, 0x04, 0x0e } }, { 5, { 0x4a, 0x03, 0x54, 0x0e, 4 } },     /* xor rdx, [rsi+rbx*4+24]; mov [rsi+r9], rax; add rdx, [rsi+r9+4] */
        { 4, { 0x48, 0x83, 0xc3, 8 } }, { 3, { 0x48, 0xff, 0xcb } }, { 4, { 0x48, 0x8d, 0x5b, 3 } }, { 4, { 0x48, 0x83, 0xc6, 8 } }, /* add rbx, 8; dec rbx; lea rbx, [rbx+3]; add rsi, 8 */
        { 4, { 0x49, 0x83, 0xc1, 4 } }, { 3, { 0x41, 0x89, 0xc2 } }, { 3, { 0x49, 0x01, 0xd2 } }, { 3, { 0x45, 0x31, 0xd2 } },   /* add r9, 4; mov r10d, eax; add r10, rdx; xor r10d, r10d */
        { 3, { 0x4c, 0x01, 0xd0 } }, { 3, { 0x4d, 0x29, 0xdb } }, { 3, { 0x4c, 0x89, 0xda } }, { 3, { 0x49, 0x89, 0xc3 } },     /* add rax, r10; sub r11, r11; mov rdx, r11; mov r11, rax */
        { 4, { 0x45, 0x0f, 0xb6, 0xd2 } }, { 3, { 0x4d, 0x63, 0xd2 } }, { 3, { 0x44, 0x00, 0xd0 } }, { 3, { 0x41, 0x00, 0xc3 } },   /* movzx r10d, r10b; movsxd r10, r10d; add al, r10b; add r11b, al */
        { 7, { 0x49, 0xc7, 0xc3, 1, 2, 3, 0x84 } }, { 3, { 0x49, 0xd3, 0xe2 } }, { 3, { 0x48, 0xd3, 0xd8 } }, { 4, { 0x4d, 0x0f, 0xaf, 0xd3 } },     /* mov r11, imm; shl r10, cl; rcr rax, cl; imul r10, r11 */
        { 6, { 0x4c, 0x6b, 0x54, 0x1e, 8, 3 } }, { 2, { 0xd3, 0xe8 } }, { 3, { 0x48, 0x11, 0xca } }, { 4, { 0x4c, 0x0f, 0x42, 0xd8 } },     /* imul r10, [rsi+rbx+8], 3; shr eax, cl; adc rdx, rcx; cmovc r11, rax */
        { 3, { 0x4d, 0x39, 0xda } }, { 3, { 0x4d, 0x87, 0xda } },       /* cmp r10, r11; xchg r10, r11 */
    };
    bool small = seed & 1;
    unsigned x = seed, top, steps = small ? 3 + seed % 11 : 50, every = small ? 5 : 16;

    E(k, 0x41, 0xbc);                       /* mov r12d, 40 */
    emit32(k, 40);
    top = k->n;
    for (unsigned n = 0; n < steps; n++) {
        x = x * 1103515245 + 12345;
        emit(k, step[x >> 16 & 31].b, step[x >> 16 & 31].n);
        if (n % 7 == 3) {                   /* add [rip + d], rax; mov rcx, [rip + d] */
            E(k, 0x48, 0x01, 0x05);
            emit32(k, RIG_DATA + 0x4000 + (x >> 8 & 0xf8) - (RIG_CODE + k->n + 4));
            E(k, 0x48, 0x8b, 0x0d);
            emit32(k, RIG_DATA + 0x4000 + (x >> 9 & 0xf8) - (RIG_CODE + k->n + 4));
        }
        if (small && n % 3 == 1)            /* add [rsp+16], rax; addsd xmm0, [rsi] */
            E(k, 0x48, 0x01, 0x44, 0x24, 16, 0xf2, 0x0f, 0x58, 0x06);
        if (n % every == every - 2)
            E(k, 0x48, 0x01, 0xc2, 0x70 + (x >> 20 & 15), 3, 0x48, 0x01, 0xc2);     /* add rdx, rax; jcc over the same */
    }
    if (!small)
        E(k, 0x48, 0x01, 0xc2, 0x9c, 0x41, 0x5d, 0x4d, 0x01, 0xee);     /* add rdx, rax; pushf; pop r13; add r14, r13 */
    E(k, 0x41, 0xff, 0xcc, 0x0f, 0x85);     /* dec r12d; jnz top */
    emit32(k, top - (k->n + 4));
    E(k, 0x48, 0x8b, 0x5c, 0x24, 16);       /* mov rbx, [rsp+16] */
    E(k, 0xe6, RIG_EXIT, 0xf4);
}

static void run_stepping(const char *engine, const Code *k, uint8_t *memory, uint64_t *gpr)
{
    Rig *r = rig_new(engine, 1);

    rig_mode(r, RIG_64);
    for (unsigned n = 0; n < 16; n++)
        if (n != R_RSP)
            r->c->gpr[n] = 0x123456789abcdefULL * (n + 1);
    r->c->gpr[R_RSI] = RIG_DATA + 0x1000;
    r->c->gpr[R_RBX] = 0x100;
    r->c->gpr[R_R9] = 0x200;
    memset(r->m->ram->host + RIG_DATA, 0x5a, 0x5000);
    rig_put(r, RIG_CODE, k->b, k->n);
    x86_set_rflags(r->c, FL_1);
    g_assert_true(rig_run(r, 60000));
    memcpy(memory, r->m->ram->host + RIG_DATA, 0x5000);
    memcpy(gpr, r->c->gpr, 16 * sizeof *gpr);
    rig_free(r);
}

static void accesses_between_steps(gconstpointer engine)
{
    static uint8_t want[0x5000], got[0x5000];
    uint64_t a[16], b[16];

    for (unsigned round = 0; round < 90; round++) {
        Code k = { .n = 0 };

        stepping_code(&k, round * 101 + 7 + round / 30);
        run_stepping("interp", &k, want, a);
        run_stepping(engine, &k, got, b);
        for (unsigned n = 0; n < 16; n++)
            g_assert_cmphex(a[n], ==, b[n]);
        g_assert_cmpmem(want, sizeof want, got, sizeof got);
    }
}

/* RET without a call, to the address that is zero like unused memory. */
static void return_without_call(gconstpointer engine)
{
    for (unsigned round = 0; round < 2; round++) {
        Rig *r = rig_new(engine, 1);

        rig_mode(r, RIG_64);
        rig_put(r, 0, (const uint8_t[]){ 0xff, 0xc0, 0x83, 0xf8, 20, 0x72, 4, 0xe6, RIG_EXIT, 0xf4, 0x90, 0x6a, 0, 0xc3 }, 14);   /* inc; cmp; jb; out; push; ret */
        if (round)              /* flags that only a save could bring back over the way: stc; ret */
            rig_put(r, 11, (const uint8_t[]){ 0x6a, 0, 0xf9, 0xc3 }, 4);
        r->c->gpr[R_RAX] = 0;
        rig_put(r, RIG_CODE, (const uint8_t[]){ 0x6a, 0, 0xc3 }, 3);           /* push 0; ret */
        g_assert_true(rig_run(r, 60000));
        g_assert_cmpuint(r->c->gpr[R_RAX], ==, 20);
        rig_free(r);
    }
}

/* ---- address spaces ---- */

enum { TABLES = 0x120000, FN = 0x600000 };      /* FN: linear address of a function that differs by space */

static void put64(Rig *r, uint64_t at, uint64_t v) { rig_put(r, at, &v, 8); }

/* Space s (0, 1): everything identity-mapped as in the rig, but FN's 4 KiB page leads to frame FN + s pages. */
static uint64_t make_space(Rig *r, unsigned s, uint64_t flags)
{
    uint64_t base = TABLES + s * 0x4000;

    put64(r, base, (base + 0x1000) | 7);
    put64(r, base + 0x1000, (base + 0x2000) | 7);
    for (uint64_t n = 0; n < 8; n++)
        put64(r, base + 0x2000 + n * 8, n << 21 | 0x87);
    put64(r, base + 0x2000 + 8 * (FN >> 21), (base + 0x3000) | 7);
    for (uint64_t n = 0; n < 512; n++)
        put64(r, base + 0x3000 + n * 8, (FN + n * 4096) | 7);
    put64(r, base + 0x3000, (FN + s * 4096) | 7 | flags);
    return base;
}

/* Calls FN in turn in two spaces, a thousand times each: eax counts 1 for the one, ecx 1 for the other. */
static void same_address_in_two_spaces(gconstpointer engine)
{
    for (unsigned pcid = 0; pcid < 2; pcid++) {
        Rig *r = rig_new(engine, 1);
        uint64_t a, b;
        Code k = { .n = 0 };
        unsigned top;

        rig_mode(r, RIG_64);
        a = make_space(r, 0, 0);
        b = make_space(r, 1, 0);
        rig_put(r, FN, (const uint8_t[]){ 0xff, 0xc0, 0xc3 }, 3);              /* inc eax; ret */
        rig_put(r, FN + 4096, (const uint8_t[]){ 0xff, 0xc1, 0xc3 }, 3);       /* inc ecx; ret */
        E(&k, 0x31, 0xc0, 0x31, 0xc9, 0xba);        /* edx: rounds */
        emit32(&k, 1000);
        E(&k, 0x48, 0xbe);                          /* mov rsi, a; mov rdi, b */
        a |= pcid ? 1ULL << 63 | 1 : 0;
        b |= pcid ? 1ULL << 63 | 2 : 0;
        emit(&k, &a, 8);
        E(&k, 0x48, 0xbf);
        emit(&k, &b, 8);
        E(&k, 0xbb);
        emit32(&k, FN);
        top = k.n;
        E(&k, 0x0f, 0x22, 0xde, 0xff, 0xd3, 0x0f, 0x22, 0xdf, 0xff, 0xd3, 0xff, 0xca, 0x0f, 0x85);    /* mov cr3, rsi; call rbx; mov cr3, rdi; call rbx; dec edx; jnz */
        emit32(&k, top - (k.n + 4));
        E(&k, 0xe6, RIG_EXIT, 0xf4);
        rig_put(r, RIG_CODE, k.b, k.n);
        r->c->cr3 = TABLES;
        r->c->cr4 |= pcid ? CR4_PCIDE : 0;
        x86_update_mode(r->c);
        x86_tlb_flush_all(r->c);
        g_assert_true(rig_run(r, 60000));
        g_assert_cmpuint(r->c->gpr[R_RAX], ==, 1000);
        g_assert_cmpuint(r->c->gpr[R_RCX], ==, 1000);
        rig_free(r);
    }
}

/* The page of FN is remapped and INVLPG makes it count at once; global or not. */
static void remapped_code_after_invlpg(gconstpointer engine)
{
    for (unsigned g = 0; g < 2; g++) {
        Rig *r = rig_new(engine, 1);
        uint64_t base, pte = (FN | 7) | (g ? 0x100 : 0);
        Code k = { .n = 0 };
        unsigned top;

        rig_mode(r, RIG_64);
        base = make_space(r, 0, g ? 0x100 : 0);
        rig_put(r, FN, (const uint8_t[]){ 0xff, 0xc0, 0xc3 }, 3);
        rig_put(r, FN + 4096, (const uint8_t[]){ 0xff, 0xc1, 0xc3 }, 3);
        E(&k, 0x31, 0xc0, 0x31, 0xc9, 0xba);
        emit32(&k, 500);
        E(&k, 0xbb);
        emit32(&k, FN);
        E(&k, 0x48, 0xbe);
        emit(&k, &pte, 8);
        top = k.n;
        for (unsigned n = 0; n < 2; n++) {
            E(&k, 0xff, 0xd3, 0x48, 0x81, 0xf6);    /* call rbx; xor rsi, 4096; mov [pte], rsi; invlpg [rbx] */
            emit32(&k, 4096);
            E(&k, 0x48, 0x89, 0x34, 0x25);
            emit32(&k, base + 0x3000);
            E(&k, 0x0f, 0x01, 0x3b);
        }
        E(&k, 0xff, 0xca, 0x0f, 0x85);
        emit32(&k, top - (k.n + 4));
        E(&k, 0xe6, RIG_EXIT, 0xf4);
        rig_put(r, RIG_CODE, k.b, k.n);
        r->c->cr3 = base;
        r->c->cr4 |= CR4_PGE;
        x86_update_mode(r->c);
        x86_tlb_flush_all(r->c);
        g_assert_true(rig_run(r, 60000));
        g_assert_cmpuint(r->c->gpr[R_RAX], ==, 500);
        g_assert_cmpuint(r->c->gpr[R_RCX], ==, 500);
        rig_free(r);
    }
}

/* ---- several processors ---- */

static void locked_counts_are_exact(gconstpointer engine) { rig_count_locked(engine, RIG_DATA + 0x100, RIG_DATA + 0x2000); }
static void split_locked_counts_are_exact(gconstpointer engine)
{
    rig_count_locked(engine, RIG_DATA + 0x13e, RIG_DATA + 0x2000);     /* across lines */
    rig_count_locked(engine, RIG_DATA + 0xffe, RIG_DATA + 0x2000);     /* across pages */
}

/*
 * Each CPU writes the immediate of the other's function and waits until the other has run it: the
 * value goes back and forth 300 times.
 */
static void cpus_patch_each_other(gconstpointer engine)
{
    enum { TIMES = 300, F = RIG_CODE + 0x800 };    /* F: function of CPU 0; F + 0x1000: of CPU 1 */
    Rig *r = rig_new(engine, 2);
    Code k = { .n = 0 };
    unsigned top;

    rig_mode(r, RIG_64);
    rig_mode_cpu(r, 1, RIG_64);
    for (unsigned cpu = 0; cpu < 2; cpu++) {
        X86Cpu *c = x86_cpu(g_ptr_array_index(r->m->vcpus, cpu));

        rig_put(r, F + cpu * 0x1000, (const uint8_t[]){ 0xb8, 0, 0, 0, 0, 0xc3 }, 6);
        c->gpr[R_RSP] = RIG_STACK - cpu * 0x1000;
        c->gpr[R_RBX] = F + cpu * 0x1000;               /* mine */
        c->gpr[R_RSI] = F + !cpu * 0x1000 + 1;          /* the other's immediate */
        c->gpr[R_RDX] = cpu;                            /* CPU 0 begins: it waits for 0, 2, 4 ... */
    }
    /* 1: call rbx; cmp eax, edx; jne 1b; lea ecx, [rdx+1]; mov [rsi], ecx; add edx, 2; cmp edx, 2*TIMES; jb 1b; */
    top = k.n;
    E(&k, 0xff, 0xd3, 0x39, 0xd0, 0x75, (uint8_t)-6, 0x8d, 0x4a, 1, 0x89, 0x0e, 0x83, 0xc2, 2, 0x81, 0xfa);
    emit32(&k, 2 * TIMES);
    E(&k, 0x0f, 0x82);
    emit32(&k, top - (k.n + 4));
    E(&k, 0xf7, 0xc2, 1, 0, 0, 0, 0x75, 0xfe, 0xe6, RIG_EXIT, 0xf4);      /* test edx, 1; jnz $ (CPU 1); out */
    rig_put(r, RIG_CODE, k.b, k.n);
    g_assert_true(rig_run(r, 60000));
    g_assert_cmpuint(r->c->gpr[R_RDX], ==, 2 * TIMES);
    rig_free(r);
}

int main(int argc, char **argv)
{
#define T(f) { #f, f }
    static const RigTest tests[] = {
        T(interrupts_change_nothing),
        T(accesses_between_steps),
        T(return_without_call),
        T(same_address_in_two_spaces),
        T(remapped_code_after_invlpg),
        T(locked_counts_are_exact),
        T(split_locked_counts_are_exact),
        T(cpus_patch_each_other),
    };

    return rig_main(argc, argv, "/events", true, tests, G_N_ELEMENTS(tests));
}
