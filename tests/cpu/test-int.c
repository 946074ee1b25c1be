/* test-int: integer instructions on the interpreter, one small program each. */
#include "tests/cpu/rig.h"

static Rig *rig;

#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ })
#define RAX (rig->c->gpr[R_RAX])

static void add_sets_flags(void)
{
    /* mov eax, 0x7fffffff; add eax, 1 */
    g_assert_true(rig_exec(rig, RIG_32, CODE(0xb8, 0xff, 0xff, 0xff, 0x7f, 0x83, 0xc0, 1)));
    g_assert_cmphex(RAX, ==, 0x80000000);
    g_assert_cmphex(x86_flags_get(rig->c), ==, FL_OF | FL_SF | FL_AF | FL_PF);
}

static void loop_counts_in_every_mode(void)
{
    for (int mode = RIG_16; mode <= RIG_64; mode++) {
        /* mov cx, 1000; xor ax, ax; 1: inc ax; loop 1b (66 prefixes outside 16-bit code) */
        static const uint8_t c16[] = { 0xb9, 0xe8, 3, 0x31, 0xc0, 0xff, 0xc0, 0xe2, 0xfc };
        static const uint8_t c32[] = { 0xb9, 0xe8, 3, 0, 0, 0x31, 0xc0, 0xff, 0xc0, 0xe2, 0xfc };

        g_assert_true(mode == RIG_16 ? rig_exec(rig, mode, c16, sizeof c16) : rig_exec(rig, mode, c32, sizeof c32));
        g_assert_cmpuint(RAX, ==, 1000);
    }
}

static void call_and_ret_balance(void)
{
    /* call 1f; jmp 2f; 1: mov eax, 7; ret; 2: */
    g_assert_true(rig_exec(rig, RIG_64, CODE(0xe8, 2, 0, 0, 0, 0xeb, 6, 0xb8, 7, 0, 0, 0, 0xc3)));
    g_assert_cmpuint(RAX, ==, 7);
    g_assert_cmphex(rig->c->gpr[R_RSP], ==, RIG_STACK);
}

static void rep_movs_copies_across_pages(void)
{
    uint8_t src[9000];

    for (unsigned n = 0; n < sizeof src; n++)
        src[n] = n * 7;
    rig_put(rig, 0x30123, src, sizeof src);
    /* mov esi, 0x30123; mov edi, 0x40ff1; mov ecx, 9000; rep movsb */
    g_assert_true(rig_exec(rig, RIG_64, CODE(0xbe, 0x23, 1, 3, 0, 0xbf, 0xf1, 0x0f, 4, 0, 0xb9, 0x28, 0x23, 0, 0, 0xf3, 0xa4)));
    g_assert_cmpmem(rig->m->ram->host + 0x40ff1, sizeof src, src, sizeof src);
    g_assert_cmpuint(rig->c->gpr[R_RCX], ==, 0);
    g_assert_cmphex(rig->c->gpr[R_RDI], ==, 0x40ff1 + 9000);
}

static void store_into_next_instruction_takes_effect(void)
{
    /* mov byte [rip+6], 5 (the imm8 of the next); mov eax, 1 */
    g_assert_true(rig_exec(rig, RIG_64, CODE(0xc6, 5, 1, 0, 0, 0, 5, 0xb8, 1, 0, 0, 0)));
    g_assert_cmpuint(RAX, ==, 5);
    g_assert_true(rig_exec(rig, RIG_64, CODE(0xc6, 5, 1, 0, 0, 0, 9, 0xb8, 1, 0, 0, 0)));
    g_assert_cmpuint(RAX, ==, 9);
}

static void byte_registers_with_and_without_rex(void)
{
    /* mov eax, 0x1234; mov bl, ah; mov spl?, al -> rex mov sil, al */
    g_assert_true(rig_exec(rig, RIG_64, CODE(0xb8, 0x34, 0x12, 0, 0, 0x88, 0xe3, 0x40, 0x88, 0xc6)));
    g_assert_cmphex(rig->c->gpr[R_RBX], ==, 0x12);
    g_assert_cmphex(rig->c->gpr[R_RSI], ==, 0x34);
}

static void div_by_zero_ends_in_shutdown_without_idt(void)
{
    uint8_t code[] = { 0x31, 0xc9, 0xf7, 0xf1 };

    rig_mode(rig, RIG_32);
    rig->c->idtr.limit = 0;
    rig_put(rig, RIG_CODE, code, sizeof code);
    g_assert_false(rig_run(rig, 200));
}

int main(int argc, char **argv)
{
    int rc;

    g_test_init(&argc, &argv, NULL);
    machine_lock();
    rig = rig_new("interp", 1);
#define T(f) g_test_add_func("/cpu/int/" #f, f)
    T(add_sets_flags);
    T(loop_counts_in_every_mode);
    T(call_and_ret_balance);
    T(rep_movs_copies_across_pages);
    T(store_into_next_instruction_takes_effect);
    T(byte_registers_with_and_without_rex);
    T(div_by_zero_ends_in_shutdown_without_idt);
    rc = g_test_run();
    rig_free(rig);
    machine_unlock();
    return rc;
}
