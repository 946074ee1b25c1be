/*
 * vec_string: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
 *
 * SDM vol. 2, 4.1: imm[0] words or bytes, imm[1] signed, imm[3:2] aggregation, imm[5:4] polarity,
 * imm[6] output selection. a is the first operand (the set or the needle), b the second.
 */
#include "target/x86/vec_int.h"
#include "target/x86/flags.h"

static int element(const X86Vec *v, unsigned k, unsigned imm)
{
    if (imm & 1)
        return imm & 2 ? (int16_t)v->w[k] : v->w[k];
    return imm & 2 ? (int8_t)v->b[k] : v->b[k];
}

/* Valid elements: up to the first zero, or the length register's saturated magnitude. */
static unsigned implicit_length(const X86Vec *v, unsigned imm, unsigned max)
{
    unsigned k;

    for (k = 0; k < max && element(v, k, imm & 1); k++)
        ;
    return k;
}
static unsigned explicit_length(const X86Cpu *c, const X86Insn *i, unsigned reg, unsigned max)
{
    int64_t v = i->opsize == 8 ? (int64_t)c->gpr[reg] : (int32_t)c->gpr[reg];
    uint64_t m = v < 0 ? -(uint64_t)v : (uint64_t)v;

    return m < max ? m : max;
}

static bool equal_any(const X86Vec *a, unsigned la, int y, unsigned imm)
{
    unsigned j;

    for (j = 0; j < la; j++) {
        if (element(a, j, imm) == y)
            return true;
    }
    return false;
}
static bool in_ranges(const X86Vec *a, unsigned la, int y, unsigned imm)
{
    unsigned j;

    for (j = 0; j + 1 < la; j += 2) {
        if (element(a, j, imm) <= y && y <= element(a, j + 1, imm))
            return true;
    }
    return false;
}
/* Does a occur at b[k], as far as both are valid? */
static bool occurs(const X86Vec *a, unsigned la, const X86Vec *b, unsigned lb, unsigned k, unsigned max, unsigned imm)
{
    unsigned j;

    for (j = 0; j < la && k + j < max; j++) {
        if (k + j >= lb || element(a, j, imm) != element(b, k + j, imm))
            return false;
    }
    return true;
}

/* The intermediate result, polarity applied. */
static uint32_t aggregate(const X86Vec *a, unsigned la, const X86Vec *b, unsigned lb, unsigned imm, unsigned max)
{
    uint32_t r = 0;
    unsigned k;

    for (k = 0; k < max; k++) {
        bool hit = false;

        switch (imm >> 2 & 3) {
        case 0: hit = k < lb && equal_any(a, la, element(b, k, imm), imm); break;
        case 1: hit = k < lb && in_ranges(a, la, element(b, k, imm), imm); break;
        case 2: hit = k < la && k < lb ? element(a, k, imm) == element(b, k, imm) : k >= la && k >= lb; break;
        case 3: hit = occurs(a, la, b, lb, k, max, imm); break;
        }
        if ((imm & 0x10) && (!(imm & 0x20) || k < lb))
            hit = !hit;
        r |= (uint32_t)hit << k;
    }
    return r;
}

static void string_compare(X86Cpu *c, const X86Insn *i, bool explicit, bool mask)
{
    unsigned imm = i->imm, max = imm & 1 ? 8 : 16, la, lb, k;
    const X86Vec *a = &c->vec[i->reg], *b;
    X86Vec m, out = { .q = { 0 } };
    uint32_t r;

    b = vec_src(c, i, &m, 16, 0);
    la = explicit ? explicit_length(c, i, R_RAX, max) : implicit_length(a, imm, max);
    lb = explicit ? explicit_length(c, i, R_RDX, max) : implicit_length(b, imm, max);
    r = aggregate(a, la, b, lb, imm, max);
    if (!mask) {
        c->gpr[R_RCX] = !r ? max : imm & 0x40 ? 31 - __builtin_clz(r) : __builtin_ctz(r);
    } else {
        if (!(imm & 0x40))
            out.q[0] = r;
        for (k = 0; imm & 0x40 && k < max; k++) {
            if (imm & 1)
                out.w[k] = r >> k & 1 ? 0xffff : 0;
            else
                out.b[k] = r >> k & 1 ? 0xff : 0;
        }
        if (i->flags & INSN_VEX)
            vec_put_vex(&c->vec[0], &out, 16);
        else
            vec_put(&c->vec[0], &out, 16);
    }
    x86_flags_put(c, (r ? FL_CF : 0) | (lb < max ? FL_ZF : 0) | (la < max ? FL_SF : 0) | (r & 1 ? FL_OF : 0));
}
static void sse_pcmpestri(X86Cpu *c, const X86Insn *i) { string_compare(c, i, true, false); }
static void sse_pcmpestrm(X86Cpu *c, const X86Insn *i) { string_compare(c, i, true, true); }
static void sse_pcmpistri(X86Cpu *c, const X86Insn *i) { string_compare(c, i, false, false); }
static void sse_pcmpistrm(X86Cpu *c, const X86Insn *i) { string_compare(c, i, false, true); }
BODY1(pcmpestri, sse_pcmpestri);
BODY1(pcmpestrm, sse_pcmpestrm);
BODY1(pcmpistri, sse_pcmpistri);
BODY1(pcmpistrm, sse_pcmpistrm);
