/*
 * test-trace: loops that become traces (accel/jit/trace.c) end as the interpreter ends them, whatever happens inside.
 */
#include "tests/cpu/rig.h"

#include "accel/jit/jit_int.h"
#include "softmmu/accel.h"

enum { IDT = 0x110000, GDT = 0x111000, HANDLER = 0x112000, PAGE_TABLE = 0x114000, FAR_CODE = 0x13000, OTHER_CODE = 0x14000 };

typedef struct Made { uint64_t gpr[16], rip, sum, traces; } Made;

static uint64_t sum_of(const uint8_t *p, size_t n)
{
    uint64_t s = 0;

    while (n--)
        s = s * 31 + *p++;
    return s;
}

/* #GP and #PF write to the exit port, with the faulting address on the stack. */
static void set_up_fault(Rig *r)
{
    static const uint8_t handler[] = { 0xe6, RIG_EXIT, 0xeb, 0xfe };      /* out; jmp . */
    uint8_t gate[16] = { HANDLER & 0xff, HANDLER >> 8 & 0xff, 8, 0, 0, 0x8e, HANDLER >> 16 & 0xff, 0 };
    uint64_t gdt[] = { 0, 0x00af9b000000ffffULL, 0x00cf93000000ffffULL };

    rig_put(r, HANDLER, handler, sizeof handler);
    rig_put(r, IDT + 16 * EXC_GP, gate, sizeof gate);
    rig_put(r, IDT + 16 * EXC_PF, gate, sizeof gate);
    rig_put(r, GDT, gdt, sizeof gdt);
    r->c->idtr = (X86Table) { IDT, 0xfff };
    r->c->gdtr = (X86Table) { GDT, 0xfff };
}

static Made run(const char *engine, const Code *k, const Code *far, void (*set_up)(Rig *r))
{
    Rig *r = rig_new(engine, 1);
    Made m = { 0 };

    rig_mode(r, RIG_64);
    for (unsigned n = 0; n < 16; n++)
        if (n != R_RSP)
            r->c->gpr[n] = 0x0123456789abcdefULL * (n + 1);
    r->c->gpr[R_RSI] = RIG_DATA;
    r->c->gpr[R_RDI] = RIG_DATA + 0x1800;
    for (unsigned n = 0; n < 0x4000; n++)
        r->m->ram->host[RIG_DATA + n] = n * 7 ^ n >> 5;
    rig_put(r, RIG_CODE, k->b, k->n);
    if (far)
        rig_put(r, FAR_CODE, far->b, far->n);
    set_up_fault(r);
    if (set_up)
        set_up(r);
    g_assert_true(rig_run(r, 20000));
    memcpy(m.gpr, r->c->gpr, sizeof m.gpr);
    m.rip = r->c->rip;
    memset(r->m->ram->host + RIG_STACK - 24, 0, 8);     /* RFLAGS of a fault: nobody reads the arithmetic ones */
    m.sum = sum_of(r->m->ram->host + RIG_DATA, 0x4000) + sum_of(r->m->ram->host + RIG_STACK - 64, 64);
    if (g_str_has_prefix(engine, "jit"))
        m.traces = ((JitCpu *)r->c->vcpu.engine)->st.traces;
    rig_free(r);
    return m;
}

static void compare(const Code *k, const Code *far, void (*set_up)(Rig *r), bool traces)
{
    Made a = run("interp", k, far, set_up), b = run("jit,trace=1", k, far, set_up);

    for (unsigned n = 0; n < 16; n++)
        g_assert_cmphex(a.gpr[n], ==, b.gpr[n]);
    g_assert_cmphex(a.rip, ==, b.rip);
    g_assert_cmphex(a.sum, ==, b.sum);
    if (traces)
        g_assert_cmpuint(b.traces, >, 0);
}

/* Stays at one place: the processor may go on a little after the exit. */
static void stop(Code *k) { E(k, 0xe6, RIG_EXIT, 0xeb, 0xfe); }

static unsigned start_loop(Code *k, unsigned rounds)
{
    E(k, 0x41, 0xbc);                       /* mov r12d, rounds */
    emit32(k, rounds);
    return k->n;
}

static void end_loop(Code *k, unsigned top)
{
    E(k, 0x41, 0xff, 0xcc, 0x0f, 0x85);     /* dec r12d; jnz top */
    emit32(k, top - (k->n + 4));
}

/* Reads, an if with an else, pushes, all by pointers of which one moves. */
static void body(Code *k)
{
    E(k, 0x48, 0x8b, 0x06);                 /* mov rax, [rsi] */
    E(k, 0x48, 0x01, 0xc3);                 /* add rbx, rax */
    E(k, 0xf6, 0xc3, 0x0c);                 /* test bl, 0ch */
    E(k, 0x74, 0x06);                       /* jz else */
    E(k, 0x48, 0x89, 0x5f, 0x10);           /* mov [rdi+10h], rbx */
    E(k, 0xeb, 0x04);                       /* jmp then */
    E(k, 0x48, 0x03, 0x4f, 0x10);           /* else: add rcx, [rdi+10h] */
    E(k, 0x53, 0x5d);                       /* then: push rbx; pop rbp */
    E(k, 0x83, 0xe1, 0x1f);                 /* and ecx, 1fh */
    E(k, 0x4c, 0x03, 0x4c, 0xce, 0x08);     /* add r9, [rsi+rcx*8+8] */
}

static void branches_inside(void)
{
    for (unsigned step = 1; step < 0x40; step += 7) {
        Code k = { .n = 0 };
        unsigned top = (E(&k, 0x31, 0xc9), start_loop(&k, 200));        /* xor ecx, ecx */

        body(&k);
        E(&k, 0x48, 0x83, 0xc6, step);      /* add rsi, step: crosses pages on the way */
        end_loop(&k, top);
        stop(&k);
        compare(&k, NULL, NULL, step == 1);
    }
}

/* In one round a pointer is no address: the fault comes at the same instruction, with the same registers and memory. */
static void faults_inside(void)
{
    static const uint8_t reg[] = { 6, 7 };  /* rsi, rdi */

    for (unsigned n = 0; n < 40; n++) {
        Code k = { .n = 0 };
        unsigned top = (E(&k, 0x31, 0xc9), start_loop(&k, 60)), where = n % 4;

        if (where == 0)
            E(&k, 0x41, 0x83, 0xfc, n, 0x49, 0x0f, 0x44, 0xc5 | reg[n & 1] << 3);       /* cmp r12d, n; cmove reg, r13 */
        body(&k);
        if (where == 1)
            E(&k, 0x41, 0x83, 0xfc, n, 0x4c, 0x0f, 0x44, 0xc9, 0x49, 0x0f, 0x44, 0xcd);  /* cmove r9, rcx; cmove rcx, r13 */
        E(&k, 0x48, 0x8b, 0x57, 0x20);      /* mov rdx, [rdi+20h] */
        if (where >= 2)
            E(&k, 0x41, 0x83, 0xfc, n, 0x49, 0x0f, 0x44, 0xc5 | reg[where - 2] << 3);
        E(&k, 0x48, 0x11, 0x57, 0x28);      /* adc [rdi+28h], rdx */
        E(&k, 0x48, 0x83, 0xc6, 0x18);
        end_loop(&k, top);
        stop(&k);
        compare(&k, NULL, NULL, false);
    }
}

/* Every few rounds the loop writes over an instruction of its own, before or behind the store. */
static void code_written_inside(void)
{
    for (unsigned n = 0; n < 8; n++) {
        Code k = { .n = 0 };
        unsigned top = (E(&k, 0x31, 0xc9), start_loop(&k, 100)), at, store;

        if (n & 1)
            E(&k, 0x81, 0xc3, 1, 0, 0, 0);  /* add ebx, 1: its immediate changes */
        at = k.n - 4;
        body(&k);
        E(&k, 0x41, 0xf6, 0xc4, n & 6 ? 7 : 0x1f, 0x75, 0x08);          /* test r12b, ...; jnz over */
        E(&k, 0x44, 0x89, 0x24, 0x25);      /* mov [abs], r12d */
        store = k.n;
        emit32(&k, 0);
        if (!(n & 1)) {
            E(&k, 0x81, 0xc3, 1, 0, 0, 0);
            at = k.n - 4;
        }
        memcpy(k.b + store, &(uint32_t) { RIG_CODE + at }, 4);
        E(&k, 0x48, 0x83, 0xc6, 8);
        end_loop(&k, top);
        stop(&k);
        compare(&k, NULL, NULL, false);
    }
}

/* 4 KiB pages for the first 2 MiB. */
static void small_pages(Rig *r)
{
    for (unsigned n = 0; n < 512; n++)
        rig_put(r, PAGE_TABLE + 8 * n, &(uint64_t) { (uint64_t)n << 12 | 7 }, 8);
    rig_put(r, 0x102000, &(uint64_t) { PAGE_TABLE | 7 }, 8);
    rig_put(r, OTHER_CODE, (const uint8_t[]) { 0x48, 0x83, 0xc3, 0x05, 0xc3 }, 5);      /* add rbx, 5; ret */
    x86_tlb_flush_all(r->c);
}

/* The trace runs through a function on another page, of which there is another one from some round on. */
static void page_moved_under_it(void)
{
    Code k = { .n = 0 }, far = { .n = 0 };
    unsigned top;

    E(&far, 0x48, 0x83, 0xc3, 0x03, 0xc3);  /* add rbx, 3; ret */
    E(&k, 0x45, 0x31, 0xc0);                /* xor r8d, r8d */
    top = start_loop(&k, 100);
    E(&k, 0xe8);
    emit32(&k, FAR_CODE - (RIG_CODE + k.n + 4));
    E(&k, 0x48, 0x03, 0x06);                /* add rax, [rsi] */
    end_loop(&k, top);
    E(&k, 0x48, 0xc7, 0x04, 0x25);          /* mov qword [PTE], OTHER_CODE | 7 */
    emit32(&k, PAGE_TABLE + 8 * (FAR_CODE >> 12));
    emit32(&k, OTHER_CODE | 7);
    E(&k, 0x0f, 0x01, 0x3c, 0x25);          /* invlpg [FAR_CODE] */
    emit32(&k, FAR_CODE);
    E(&k, 0x41, 0xbc);                      /* mov r12d, 100 */
    emit32(&k, 100);
    E(&k, 0x49, 0xff, 0xc0, 0x49, 0x83, 0xf8, 2, 0x0f, 0x85);           /* inc r8; cmp r8, 2; jne top */
    emit32(&k, top - (k.n + 4));
    stop(&k);
    compare(&k, &far, small_pages, true);
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    if (accel_find("jit")) {
        g_test_add_func("/trace/branches", branches_inside);
        g_test_add_func("/trace/faults", faults_inside);
        g_test_add_func("/trace/code-written", code_written_inside);
        g_test_add_func("/trace/page-moved", page_moved_under_it);
    }
    rc = g_test_run();
    machine_unlock();
    return rc;
}
