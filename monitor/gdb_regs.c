/* gdb_regs: the registers a debugger sees, as a table and as GDB's target description (GDB manual, appendix G). */
#include "monitor/gdb_int.h"

#include "target/x86/cpuid.h"
#include "target/x86/regs.h"
#include "util/bytes.h"

#include <string.h>

enum { K_GPR, K_RIP, K_FLAGS, K_SEL, K_ST, K_FPU, K_XMM, K_MXCSR, K_YMMH, K_BASE, K_SYS };
enum { F_CTRL, F_STAT, F_TAG, F_ISEG, F_IOFF, F_OSEG, F_OOFF, F_OP };
enum { SYS_KGS, SYS_CR0, SYS_CR2, SYS_CR3, SYS_CR4, SYS_CR8, SYS_EFER };

/* --- the table --- */

typedef struct Builder { Gdb *g; GString *xml; } Builder;

static void add(Builder *b, const char *name, unsigned kind, unsigned index, unsigned bytes, const char *type, const char *group)
{
    GdbReg r = { .kind = kind, .index = index, .bytes = bytes };

    g_strlcpy(r.name, name, sizeof r.name);
    g_array_append_val(b->g->regs, r);
    g_string_append_printf(b->xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", name, bytes * 8, type);
    if (group)
        g_string_append_printf(b->xml, " group=\"%s\"", group);
    g_string_append(b->xml, "/>\n");
}

static void add_row(Builder *b, const char *prefix, const char *suffix, unsigned n, unsigned kind, unsigned bytes, const char *type,
                    const char *group)
{
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name = g_strdup_printf("%s%u%s", prefix, i, suffix);

        add(b, name, kind, i, bytes, type, group);
    }
}

static void feature(Builder *b, const char *name)
{
    g_string_append_printf(b->xml, "<feature name=\"%s\">\n", name);
}

static void end(Builder *b)
{
    g_string_append(b->xml, "</feature>\n");
}

static const char flags_type[] =
    "<flags id=\"i386_eflags\" size=\"4\">"
    "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"\" start=\"1\" end=\"1\"/><field name=\"PF\" start=\"2\" end=\"2\"/>"
    "<field name=\"AF\" start=\"4\" end=\"4\"/><field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/>"
    "<field name=\"TF\" start=\"8\" end=\"8\"/><field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/>"
    "<field name=\"OF\" start=\"11\" end=\"11\"/><field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/>"
    "<field name=\"VM\" start=\"17\" end=\"17\"/><field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" end=\"19\"/>"
    "<field name=\"VIP\" start=\"20\" end=\"20\"/><field name=\"ID\" start=\"21\" end=\"21\"/></flags>\n";

static const char vec_type[] =
    "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
    "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
    "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
    "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
    "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
    "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>\n";

static void add_core(Builder *b, bool wide)
{
    static const struct { const char *n64, *n32; uint8_t index; } gpr[] = {
        { "rax", "eax", R_RAX }, { "rbx", "ecx", R_RBX }, { "rcx", "edx", R_RCX }, { "rdx", "ebx", R_RDX },
        { "rsi", "esp", R_RSI }, { "rdi", "ebp", R_RDI }, { "rbp", "esi", R_RBP }, { "rsp", "edi", R_RSP } };
    static const struct { const char *name; uint8_t s; } sel[] = {
        { "cs", S_CS }, { "ss", S_SS }, { "ds", S_DS }, { "es", S_ES }, { "fs", S_FS }, { "gs", S_GS } };
    static const char *const fpu[] = { "fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop" };

    feature(b, "org.gnu.gdb.i386.core");
    g_string_append(b->xml, flags_type);
    for (unsigned i = 0; i < 8; i++) {
        unsigned index = wide ? gpr[i].index : i;       /* in 32-bit code they come as the encoding has them */

        add(b, wide ? gpr[i].n64 : gpr[i].n32, K_GPR, index, wide ? 8 : 4,
            index == R_RSP || index == R_RBP ? "data_ptr" : wide ? "int64" : "int32", NULL);
    }
    for (unsigned i = 8; wide && i < 16; i++) {
        g_autofree char *name = g_strdup_printf("r%u", i);

        add(b, name, K_GPR, i, 8, "int64", NULL);
    }
    add(b, wide ? "rip" : "eip", K_RIP, 0, wide ? 8 : 4, "code_ptr", NULL);
    add(b, "eflags", K_FLAGS, 0, 4, "i386_eflags", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(sel); i++)
        add(b, sel[i].name, K_SEL, sel[i].s, 4, "int32", NULL);
    add_row(b, "st", "", 8, K_ST, 10, "i387_ext", NULL);
    for (unsigned i = 0; i < ARRAY_LEN(fpu); i++)
        add(b, fpu[i], K_FPU, i, 4, "int", "float");
    end(b);
}

static void add_system(Builder *b, bool wide)
{
    static const char *const names[] = { "k_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer" };

    if (wide) {
        feature(b, "org.gnu.gdb.i386.segments");
        add(b, "fs_base", K_BASE, S_FS, 8, "int", NULL);
        add(b, "gs_base", K_BASE, S_GS, 8, "int", NULL);
        end(b);
    }
    feature(b, "org.quern.i386.system");
    for (unsigned i = wide ? 0 : 1; i < ARRAY_LEN(names); i++)
        add(b, names[i], K_SYS, i, wide ? 8 : 4, wide ? "int64" : "int32", "system");
    end(b);
}

void gdb_regs_init(Gdb *g, const X86Cpu *c)
{
    bool wide = x86_model_has(c->model, FEAT_LM);
    Builder b = { g, g_string_new("<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target>\n") };

    g->regs = g_array_new(FALSE, FALSE, sizeof(GdbReg));
    g_string_append_printf(b.xml, "<architecture>%s</architecture>\n", wide ? "i386:x86-64" : "i386");
    add_core(&b, wide);
    feature(&b, "org.gnu.gdb.i386.sse");
    g_string_append(b.xml, vec_type);
    add_row(&b, "xmm", "", wide ? 16 : 8, K_XMM, 16, "vec128", NULL);
    add(&b, "mxcsr", K_MXCSR, 0, 4, "int", "vector");
    end(&b);
    if (x86_model_has(c->model, FEAT_AVX)) {
        feature(&b, "org.gnu.gdb.i386.avx");
        add_row(&b, "ymm", "h", wide ? 16 : 8, K_YMMH, 16, "uint128", NULL);
        end(&b);
    }
    add_system(&b, wide);
    g_string_append(b.xml, "</target>\n");
    g->xml = g_string_free(b.xml, FALSE);
}

/* --- values --- */

static uint64_t sys_value(const X86Cpu *c, unsigned n)
{
    switch (n) {
    case SYS_KGS: return c->msr.kernel_gs_base;
    case SYS_CR0: return c->cr0;
    case SYS_CR2: return c->cr2;
    case SYS_CR3: return c->cr3;
    case SYS_CR4: return c->cr4;
    case SYS_CR8: return c->apic_ops ? c->apic_ops->get_tpr((X86Cpu *)c) : c->cr8;
    default: return c->efer;
    }
}

static uint32_t fpu_value(const X86Cpu *c, unsigned n)
{
    const X87 *f = &c->x87;

    switch (n) {
    case F_CTRL: return f->cw;
    case F_STAT: return x87_sw(c);
    case F_TAG: return x87_tag_word(c);
    case F_ISEG: return f->fcs;
    case F_IOFF: return (uint32_t)f->fip;
    case F_OSEG: return f->fds;
    case F_OOFF: return (uint32_t)f->fdp;
    default: return f->fop;
    }
}

void gdb_reg_read(const GdbReg *r, X86Cpu *c, uint8_t *out)
{
    uint8_t b[16] = { 0 };
    const X86Fp80 *st;

    switch (r->kind) {
    case K_GPR: st64_le(b, c->gpr[r->index]); break;
    case K_RIP: st64_le(b, c->rip); break;
    case K_FLAGS: st64_le(b, x86_get_rflags(c)); break;
    case K_SEL: st64_le(b, c->seg[r->index].sel); break;
    case K_ST:
        st = &c->x87.r[(c->x87.top + r->index) & 7];
        st64_le(b, st->mant);
        st16_le(b + 8, st->se);
        break;
    case K_FPU: st32_le(b, fpu_value(c, r->index)); break;
    case K_XMM: memcpy(b, c->vec[r->index].b, 16); break;
    case K_YMMH: memcpy(b, c->vec[r->index].b + 16, 16); break;
    case K_MXCSR: st32_le(b, c->mxcsr); break;
    case K_BASE: st64_le(b, c->seg[r->index].base); break;
    default: st64_le(b, sys_value(c, r->index)); break;
    }
    memcpy(out, b, r->bytes);
}

static bool write_sel(X86Cpu *c, unsigned s, uint16_t sel)
{
    if (c->seg[s].sel == sel)
        return true;
    if ((c->mode & (MODE_PE | MODE_VM86)) == MODE_PE)
        return false;           /* its descriptor would have to be loaded and checked */
    c->seg[s].sel = sel;
    c->seg[s].base = (uint64_t)sel << 4;
    return true;
}

static void write_fpu(X86Cpu *c, unsigned n, uint32_t v)
{
    X87 *f = &c->x87;

    switch (n) {
    case F_CTRL: x87_set_cw(c, v); break;
    case F_STAT: x87_set_sw(c, v); break;
    case F_TAG: x87_set_tag_word(c, v); break;
    case F_ISEG: f->fcs = v; break;
    case F_IOFF: f->fip = v; break;
    case F_OSEG: f->fds = v; break;
    case F_OOFF: f->fdp = v; break;
    default: f->fop = v & 0x7ff;
    }
}

/* What user code may have in RFLAGS: VM would change more than the flags. */
static void write_flags(X86Cpu *c, uint32_t v)
{
    const uint32_t may = FL_ARITH | FL_TF | FL_IF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_ID;

    x86_set_rflags(c, (x86_get_rflags(c) & ~(uint64_t)may) | (v & may) | FL_1);
}

bool gdb_reg_write(const GdbReg *r, X86Cpu *c, const uint8_t *in)
{
    uint8_t b[16] = { 0 }, now[16];
    uint64_t v;
    X86Fp80 *st;

    memcpy(b, in, r->bytes);
    v = ld64_le(b);
    switch (r->kind) {
    case K_GPR: c->gpr[r->index] = v; return true;
    case K_RIP:
        if (!x86_canonical(v))
            return false;
        c->rip = c->mode & MODE_CS64 ? v : (uint32_t)v;
        return true;
    case K_FLAGS: write_flags(c, (uint32_t)v); return true;
    case K_SEL: return write_sel(c, r->index, v);
    case K_ST:
        st = &c->x87.r[(c->x87.top + r->index) & 7];
        st->mant = v;
        st->se = ld16_le(b + 8);
        return true;
    case K_FPU: write_fpu(c, r->index, (uint32_t)v); return true;
    case K_XMM: memcpy(c->vec[r->index].b, b, 16); return true;
    case K_YMMH: memcpy(c->vec[r->index].b + 16, b, 16); return true;
    case K_MXCSR: c->mxcsr = v & X86_MXCSR_MASK; return true;
    case K_BASE:
        if (!x86_canonical(v))
            return false;
        c->seg[r->index].base = v;
        return true;
    default:                    /* control registers are for looking: each write has consequences */
        gdb_reg_read(r, c, now);
        return !memcmp(now, b, r->bytes);
    }
}
