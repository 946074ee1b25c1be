/*
 * describe: the text of "info registers".
 */
#include "target/x86/cpuid.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

#include <inttypes.h>

static void add_flags(GString *s, uint32_t f)
{
    static const struct { uint32_t bit; char c; } f_chars[] = {
        { FL_DF, 'D' }, { FL_OF, 'O' }, { FL_SF, 'S' }, { FL_ZF, 'Z' }, { FL_AF, 'A' }, { FL_PF, 'P' }, { FL_CF, 'C' } };

    g_string_append(s, " [");
    for (unsigned i = 0; i < G_N_ELEMENTS(f_chars); i++)
        g_string_append_c(s, f & f_chars[i].bit ? f_chars[i].c : '-');
    g_string_append_c(s, ']');
}

static void add_type(GString *s, X86Cpu *c, const X86Seg *g)
{
    static const char *const sys[16] = { "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate",
        "IntGate16", "TrapGate16", "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved",
        "IntGate32", "TrapGate32" };
    static const char *const sys64[16] = { "<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved",
        "Reserved", "Reserved", "Reserved", "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved",
        "IntGate64", "TrapGate64" };
    uint32_t a = g->attr;

    g_string_append_printf(s, " DPL=%u ", SEG_DPL(a));
    if (!(a & SEG_S)) {
        g_string_append(s, x86_long(c) ? sys64[SEG_TYPE(a)] : sys[SEG_TYPE(a)]);
    } else if (a & SEG_CODE) {
        g_string_append(s, a & SEG_L ? "CS64" : a & SEG_DB ? "CS32" : "CS16");
        g_string_append_printf(s, " [%c%c", a & SEG_CONF ? 'C' : '-', a & SEG_WR ? 'R' : '-');
    } else {
        g_string_append(s, a & SEG_DB || x86_long(c) ? "DS  " : "DS16");
        g_string_append_printf(s, " [%c%c", a & SEG_CONF ? 'E' : '-', a & SEG_WR ? 'W' : '-');
    }
    if (a & SEG_S)
        g_string_append_printf(s, "%c]", a & SEG_ACC ? 'A' : '-');
}

static void add_seg(GString *s, X86Cpu *c, const char *name, const X86Seg *g)
{
    if (c->mode & MODE_CS64)
        g_string_append_printf(s, "%-3s=%04x %016" PRIx64 " %08x %08x", name, g->sel, g->base, g->limit, g->attr);
    else
        g_string_append_printf(s, "%-3s=%04x %08x %08x %08x", name, g->sel, (uint32_t)g->base, g->limit, g->attr);
    if ((c->cr0 & CR0_PE) && (g->attr & SEG_P))
        add_type(s, c, g);
    g_string_append_c(s, '\n');
}

static void add_gprs(GString *s, X86Cpu *c)
{
    static const uint8_t order[] = { R_RAX, R_RBX, R_RCX, R_RDX, R_RSI, R_RDI, R_RBP, R_RSP };
    static const char *const names[] = { "AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP" };

    if (!(c->mode & MODE_CS64)) {
        for (unsigned i = 0; i < 8; i++)
            g_string_append_printf(s, "E%s=%08x%c", names[i], (uint32_t)c->gpr[order[i]], i % 4 == 3 ? '\n' : ' ');
        return;
    }
    for (unsigned i = 0; i < 8; i++)
        g_string_append_printf(s, "R%s=%016" PRIx64 "%c", names[i], c->gpr[order[i]], i % 4 == 3 ? '\n' : ' ');
    for (unsigned i = 8; i < 16; i++)
        g_string_append_printf(s, "R%-2u=%016" PRIx64 "%c", i, c->gpr[i], i % 4 == 3 ? '\n' : ' ');
}

static void add_control(GString *s, X86Cpu *c)
{
    static const char *const seg[] = { "ES", "CS", "SS", "DS", "FS", "GS", "LDT", "TR" };
    bool wide = c->mode & MODE_CS64;
    int w = wide ? 16 : 8;

    g_string_append_printf(s, wide ? "RIP=%016" PRIx64 " RFL=%08x" : "EIP=%08" PRIx64 " EFL=%08x", c->rip,
                           (uint32_t)x86_get_rflags(c));
    add_flags(s, (uint32_t)x86_get_rflags(c));
    g_string_append_printf(s, " CPL=%u II=%d A20=%d SMM=%d HLT=%d\n", x86_cpl(c), !!(c->mode & MODE_SHADOW),
                           c->mmu->a20_mask == ~0ull, c->smm, c->vcpu.halted);
    for (unsigned i = 0; i < S_COUNT; i++)
        add_seg(s, c, seg[i], &c->seg[i]);
    g_string_append_printf(s, "GDT=     %0*" PRIx64 " %08x\n", w, c->gdtr.base, c->gdtr.limit);
    g_string_append_printf(s, "IDT=     %0*" PRIx64 " %08x\n", w, c->idtr.base, c->idtr.limit);
    g_string_append_printf(s, "CR0=%08x CR2=%0*" PRIx64 " CR3=%0*" PRIx64 " CR4=%08x\n", (uint32_t)c->cr0, w, c->cr2,
                           w, c->cr3, (uint32_t)c->cr4);
    for (unsigned i = 0; i < 4; i++)
        g_string_append_printf(s, "DR%u=%016" PRIx64 " ", i, c->dr[i]);
    g_string_append_printf(s, "\nDR6=%016" PRIx64 " DR7=%016" PRIx64 "\n", c->dr[6], c->dr[7]);
    g_string_append_printf(s, "EFER=%016" PRIx64 "\n", c->efer);
}

static void add_fpu(GString *s, const X86Cpu *c)
{
    const X87 *f = &c->x87;
    unsigned n = c->mode & MODE_CS64 ? 16 : 8;

    g_string_append_printf(s, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", f->cw,
                           x87_sw(c), f->top, (uint8_t)~f->empty, c->mxcsr);
    for (unsigned i = 0; i < 8; i++)
        g_string_append_printf(s, "FPR%u=%016" PRIx64 " %04x%c", i, f->r[i].mant, f->r[i].se, i & 1 ? '\n' : ' ');
    for (unsigned i = 0; i < n; i++)
        g_string_append_printf(s, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, c->vec[i].q[1], c->vec[i].q[0],
                               i & 1 ? '\n' : ' ');
}

char *x86_describe(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    GString *s = g_string_new(NULL);

    add_gprs(s, c);
    add_control(s, c);
    add_fpu(s, c);
    return g_string_free(s, FALSE);
}
