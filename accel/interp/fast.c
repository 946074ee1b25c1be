/*
 * fast: bodies specialized by address form, for the commonest instructions.
 *
 * Only for 64-bit code, and flat 32-bit code, without FS or GS: then an offset is a linear address.
 * Each function here does exactly what the body it stands for does.
 */
#include "accel/interp/interp_int.h"

#include "target/x86/flags.h"
#include "target/x86/operand.h"

enum { FORM_B64, FORM_X64, FORM_B32, FORM_X32, FORMS };     /* base; base and index; 64- or 32-bit */
#define EA_B64 (c->gpr[i->base] + (int64_t)i->disp)
#define EA_X64 (c->gpr[i->base] + (c->gpr[i->index] << i->scale) + (int64_t)i->disp)
#define EA_B32 ((uint32_t)EA_B64)
#define EA_X32 ((uint32_t)EA_X64)

#define RD8(n) x86_gpr_rd8(c, i, n)
#define RD32(n) x86_gpr_rd32(c, n)
#define RD64(n) x86_gpr_rd64(c, n)
#define WR8(n, v) x86_gpr_wr8(c, i, n, v)
#define WR32(n, v) x86_gpr_wr32(c, n, v)
#define WR64(n, v) x86_gpr_wr64(c, n, v)
#define S_(bits, v) ((int64_t)(int##bits##_t)(v))

/* What each does, given its address. */
#define DO_mov_ge(bits, ea) WR##bits(i->reg, x86_ld##bits(c, ea));
#define DO_mov_eg(bits, ea) x86_st##bits(c, ea, RD##bits(i->reg));
#define DO_mov_ei(bits, ea) x86_st##bits(c, ea, i->imm);
#define DO_movzx_b(bits, ea) WR##bits(i->reg, x86_ld8(c, ea));
#define DO_movzx_w(bits, ea) WR##bits(i->reg, x86_ld16(c, ea));
#define DO_movsx_b(bits, ea) WR##bits(i->reg, (int8_t)x86_ld8(c, ea));
#define DO_movsxd(bits, ea) WR##bits(i->reg, (int32_t)x86_ld32(c, ea));
#define ARITH(bits, A, B, OP, CARRIES) \
    uint##bits##_t m = x86_ld##bits(c, ea_), a = A, b = B, r = a OP b; \
    lf_arith(c, S_(bits, r), CARRIES(a, b, r), bits);
#define DO_cmp_ge(bits, ea) uint64_t ea_ = ea; ARITH(bits, RD##bits(i->reg), m, -, lf_sub_carries)
#define DO_cmp_eg(bits, ea) uint64_t ea_ = ea; ARITH(bits, m, RD##bits(i->reg), -, lf_sub_carries)
#define DO_cmp_ei(bits, ea) uint64_t ea_ = ea; ARITH(bits, m, i->imm, -, lf_sub_carries)
#define DO_add_ge(bits, ea) uint64_t ea_ = ea; ARITH(bits, RD##bits(i->reg), m, +, lf_add_carries) WR##bits(i->reg, r);
#define DO_sub_ge(bits, ea) uint64_t ea_ = ea; ARITH(bits, RD##bits(i->reg), m, -, lf_sub_carries) WR##bits(i->reg, r);
#define LOGIC(bits, OP, ea) uint##bits##_t r = RD##bits(i->reg) OP x86_ld##bits(c, ea); \
    WR##bits(i->reg, r); lf_logic(c, S_(bits, r));
#define DO_and_ge(bits, ea) LOGIC(bits, &, ea)
#define DO_or_ge(bits, ea) LOGIC(bits, |, ea)
#define DO_xor_ge(bits, ea) LOGIC(bits, ^, ea)
#define DO_test_eg(bits, ea) lf_logic(c, S_(bits, x86_ld##bits(c, ea) & RD##bits(i->reg)));
#define DO_test_ei(bits, ea) lf_logic(c, S_(bits, x86_ld##bits(c, ea) & i->imm));

/* Body, operand bits. */
#define FAST_MEM(X) \
    X(mov_ge, 8) X(mov_ge, 32) X(mov_ge, 64) X(mov_eg, 8) X(mov_eg, 32) X(mov_eg, 64) \
    X(mov_ei, 8) X(mov_ei, 32) X(mov_ei, 64) X(movzx_b, 32) X(movzx_w, 32) X(movsx_b, 32) X(movsxd, 64) \
    X(cmp_ge, 8) X(cmp_ge, 32) X(cmp_ge, 64) X(cmp_eg, 8) X(cmp_eg, 32) X(cmp_eg, 64) \
    X(cmp_ei, 8) X(cmp_ei, 32) X(cmp_ei, 64) X(add_ge, 32) X(add_ge, 64) X(sub_ge, 32) X(sub_ge, 64) \
    X(and_ge, 32) X(and_ge, 64) X(or_ge, 32) X(or_ge, 64) X(xor_ge, 32) X(xor_ge, 64) \
    X(test_eg, 32) X(test_eg, 64) X(test_ei, 8) X(test_ei, 32)

#define ONE(name, bits, form) \
    static void name##bits##_##form(X86Cpu *c, const X86Insn *i) { DO_##name(bits, EA_##form) }
#define X(name, bits) ONE(name, bits, B64) ONE(name, bits, X64) ONE(name, bits, B32) ONE(name, bits, X32)
FAST_MEM(X)
#undef X

/* LEA: no segment, so any adsize 8 will do. */
static void lea64_B64(X86Cpu *c, const X86Insn *i) { c->gpr[i->reg] = EA_B64; }
static void lea64_X64(X86Cpu *c, const X86Insn *i) { c->gpr[i->reg] = EA_X64; }
static void lea32_B(X86Cpu *c, const X86Insn *i) { c->gpr[i->reg] = EA_B32; }
static void lea32_X(X86Cpu *c, const X86Insn *i) { c->gpr[i->reg] = EA_X32; }

/* ---- stack and flow ---- */

static inline void jump64(X86Cpu *c, uint64_t to)
{
    if (__builtin_expect((uint64_t)((int64_t)(to << 16) >> 16) != to, 0))
        x86_raise_err(c, EXC_GP, 0);
    c->rip = to;
}
static void push64(X86Cpu *c, const X86Insn *i)
{
    uint64_t sp = c->gpr[R_RSP] - 8;

    x86_st64(c, sp, c->gpr[i->rm]);
    c->gpr[R_RSP] = sp;
}
static void pop64(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = x86_ld64(c, c->gpr[R_RSP]);

    c->gpr[R_RSP] += 8;
    c->gpr[i->rm] = v;
}
static void call64(X86Cpu *c, const X86Insn *i)
{
    uint64_t sp = c->gpr[R_RSP] - 8, from = c->rip;

    jump64(c, from + i->imm);
    c->rip = from;                      /* a store that faults must find it unchanged */
    x86_st64(c, sp, from);
    c->gpr[R_RSP] = sp;
    c->rip = from + i->imm;
}
static void ret64(X86Cpu *c, const X86Insn *i)
{
    jump64(c, x86_ld64(c, c->gpr[R_RSP]));
    c->gpr[R_RSP] += 8;
}
static void jmp64(X86Cpu *c, const X86Insn *i) { jump64(c, c->rip + i->imm); }
static void push32(X86Cpu *c, const X86Insn *i)
{
    uint32_t sp = c->gpr[R_RSP] - 4;

    x86_st32(c, sp, c->gpr[i->rm]);
    c->gpr[R_RSP] = sp;
}
static void pop32(X86Cpu *c, const X86Insn *i)
{
    uint32_t sp = c->gpr[R_RSP], v = x86_ld32(c, sp);

    c->gpr[R_RSP] = sp + 4U;
    c->gpr[i->rm] = v;
}
static void call32(X86Cpu *c, const X86Insn *i)
{
    uint32_t sp = c->gpr[R_RSP] - 4;

    x86_st32(c, sp, c->rip);
    c->gpr[R_RSP] = sp;
    c->rip = (uint32_t)(c->rip + i->imm);
}
static void ret32(X86Cpu *c, const X86Insn *i)
{
    uint32_t sp = c->gpr[R_RSP];

    c->rip = x86_ld32(c, sp);
    c->gpr[R_RSP] = sp + 4U;
}
static void jmp32(X86Cpu *c, const X86Insn *i) { c->rip = (uint32_t)(c->rip + i->imm); }

/* ---- which one ---- */

typedef struct Fast { X86Op *fn, *form[FORMS]; } Fast;

static const Fast *fast_table(void)
{
    static Fast table[256];             /* filled once, then constant: open addressing by fn */
    static gsize ready;

    if (g_once_init_enter(&ready)) {
#define X(name, bits) { \
        X86Op *f = x86_body_##name.mem[__builtin_ctz(bits / 8)]; \
        unsigned h = (uintptr_t)f >> 4 & 255; \
        while (table[h].fn && table[h].fn != f) \
            h = (h + 1) & 255; \
        table[h] = (Fast){ f, { name##bits##_B64, name##bits##_X64, name##bits##_B32, name##bits##_X32 } }; }
        FAST_MEM(X)
#undef X
        g_once_init_leave(&ready, 1);
    }
    return table;
}

static X86Op *fast_mem(const X86Insn *i, uint32_t mode)
{
    const Fast *t = fast_table();
    unsigned form = i->index != BASE_NONE ? FORM_X64 : FORM_B64, h = (uintptr_t)i->fn >> 4 & 255;

    if (mode & MODE_CS64 ? i->adsize != 8 : i->adsize != 4)
        return i->fn;
    if (i->base >= BASE_RIP || i->seg == S_FS || i->seg == S_GS || i->seg == S_CS || x86_row(i)->lim & LIM_VSIB)
        return i->fn;
    if (!(mode & MODE_CS64))
        form += FORM_B32;
    for (; t[h].fn; h = (h + 1) & 255)
        if (t[h].fn == i->fn)
            return t[h].form[form];
    return i->fn;
}

static X86Op *fast_lea(const X86Insn *i)
{
    bool index = i->index != BASE_NONE;

    if (i->base >= BASE_RIP)
        return i->fn;
    if (i->opsize == 8 && i->adsize == 8)
        return index ? lea64_X64 : lea64_B64;
    if (i->opsize == 4 && i->adsize >= 4)
        return index ? lea32_X : lea32_B;
    return i->fn;
}

static X86Op *fast_flow(const X86Insn *i, uint32_t mode)
{
    bool is64 = mode & MODE_CS64;
    unsigned size = is64 ? 8 : 4;
    const X86Body *body = x86_row(i)->body;

    if (i->opsize != size || !(mode & MODE_SS32))
        return i->fn;
    if (body == &x86_body_push_e && i->is_reg)
        return is64 ? push64 : push32;
    if (body == &x86_body_pop_e && i->is_reg)
        return is64 ? pop64 : pop32;
    if (body == &x86_body_call_j)
        return is64 ? call64 : call32;
    if (body == &x86_body_ret)
        return is64 ? ret64 : ret32;
    if (body == &x86_body_jmp_j)
        return is64 ? jmp64 : jmp32;
    return i->fn;
}

X86Op *interp_fast(const X86Insn *i, uint32_t mode)
{
    if (!(mode & MODE_CS64) && (mode & (MODE_FLAT | MODE_CS32)) != (MODE_FLAT | MODE_CS32))
        return i->fn;
    if (i->flags & INSN_LOCK || i->row == X86_ROW_UD)
        return i->fn;
    if (x86_row(i)->cls & (CL_BR | CL_STACK))
        return fast_flow(i, mode);
    if (x86_row(i)->body == &x86_body_lea)
        return fast_lea(i);
    return i->is_reg ? i->fn : fast_mem(i, mode);
}
