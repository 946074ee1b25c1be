/* test-gdb: what a debugger does to registers and breakpoints; the protocol is for tests/sh/slow-gdb.sh. */
#include "monitor/gdb_int.h"
#include "target/x86/regs.h"
#include "tests/cpu/rig.h"

static Gdb *debugger(Rig *r)
{
    Gdb *g = g_new0(Gdb, 1);

    g->m = r->m;
    gdb_regs_init(g, r->c);
    gdb_plans_new(g);
    return g;
}

static void debugger_free(Gdb *g)
{
    gdb_plans_free(g);
    g_array_unref(g->regs);
    g_free(g->xml);
    g_free(g);
}

/* Writes the register and returns what is read back. */
static uint32_t set(Gdb *g, X86Cpu *c, const char *name, uint32_t v)
{
    for (guint i = 0; i < g->regs->len; i++) {
        const GdbReg *r = &g_array_index(g->regs, GdbReg, i);
        uint8_t b[16] = { 0 };

        if (strcmp(r->name, name))
            continue;
        st32_le(b, v);
        g_assert_true(gdb_reg_write(r, c, b));
        gdb_reg_read(r, c, b);
        return ld32_le(b);
    }
    g_assert_not_reached();
}

/* Control and status words come out as if the guest had loaded them. */
static void floating_point_words_are_those_of_the_guest(gconstpointer engine)
{
    Rig *r = rig_new(engine, 1);
    Gdb *g = debugger(r);

    rig_mode(r, RIG_64);
    g_assert_cmphex(set(g, r->c, "mxcsr", 0x1fc0), ==, 0x1fc0);         /* with denormals as zeroes */
    g_assert_cmphex(set(g, r->c, "mxcsr", 0xffffffff), ==, X86_MXCSR_MASK);
    g_assert_cmphex(set(g, r->c, "fctrl", 0xffff), ==, 0x1f7f);
    g_assert_cmphex(set(g, r->c, "fstat", 0x3904), ==, 0x3904);         /* a masked exception, TOP 7 */
    g_assert_cmphex(set(g, r->c, "fctrl", 0x37b), ==, 0x37b);           /* no longer masked: summary and busy */
    g_assert_cmphex(x87_sw(r->c), ==, 0xb984);
    g_assert_cmphex(set(g, r->c, "ftag", 0xfffc), ==, 0xfffd);          /* register 0 is there, and zero */
    g_assert_cmphex(r->c->x87.empty, ==, 0xfe);
    debugger_free(g);
    rig_free(r);
}

/* One of each kind at the same place: each goes for itself, and the byte comes back with the last. */
static void two_kinds_of_breakpoint_share_a_place(gconstpointer engine)
{
    static const uint8_t nop = 0x90;
    Rig *r = rig_new(engine, 1);
    Gdb *g = debugger(r);
    const uint8_t *at = r->m->ram->host + RIG_CODE;
    uint8_t seen;

    rig_mode(r, RIG_32);
    rig_put(r, RIG_CODE, &nop, 1);
    g_assert_true(gdb_break_add(g, RIG_CODE, false));
    g_assert_true(gdb_break_add(g, RIG_CODE, true));
    g_assert_cmphex(*at, ==, 0xcc);
    g_assert_true(gdb_read(g, RIG_CODE, &seen, 1));
    g_assert_cmphex(seen, ==, nop);
    gdb_break_del(g, RIG_CODE, true);
    g_assert_cmphex(*at, ==, 0xcc);
    gdb_break_del(g, RIG_CODE, false);
    g_assert_cmphex(*at, ==, nop);
    debugger_free(g);
    rig_free(r);
}

int main(int argc, char **argv)
{
#define T(f) { #f, f }
    static const RigTest tests[] = {
        T(floating_point_words_are_those_of_the_guest),
        T(two_kinds_of_breakpoint_share_a_place),
    };

    return rig_main(argc, argv, "/gdb", false, tests, G_N_ELEMENTS(tests));
}
