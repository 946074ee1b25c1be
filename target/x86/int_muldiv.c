/*
 * int_muldiv: multiplication, division, and decimal adjustment.
 */
#include "target/x86/int_int.h"

typedef unsigned __int128 u128;
typedef __int128 s128;

/* CF = OF = wide; the flags the manual leaves undefined follow the low half. */
static void mul_flags(X86Cpu *c, uint64_t low, unsigned size, bool wide)
{
    c->lf_res = x86_sext(low, size);
    c->lf_aux = wide ? FL_CF | FL_OF : 0;
}

/* Double-width result to AX, or DX:AX, EDX:EAX, RDX:RAX. */
static void put_wide(X86Cpu *c, unsigned size, u128 v)
{
    switch (size) {
    case 1: x86_gpr_wr16(c, R_RAX, v); break;
    case 2: x86_gpr_wr16(c, R_RAX, v); x86_gpr_wr16(c, R_RDX, v >> 16); break;
    case 4: c->gpr[R_RAX] = (uint32_t)v; c->gpr[R_RDX] = (uint32_t)(v >> 32); break;
    default: c->gpr[R_RAX] = v; c->gpr[R_RDX] = v >> 64;
    }
}
static void mul(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    u128 r = (u128)x86_rd_e(c, i) * (c->gpr[R_RAX] & x86_mask(size));

    put_wide(c, size, r);
    mul_flags(c, r, size, r >> (8 * size));
}
static void imul(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    s128 r = (s128)x86_sext(x86_rd_e(c, i), size) * x86_sext(c->gpr[R_RAX], size);

    put_wide(c, size, r);
    mul_flags(c, r, size, r != x86_sext(r, size));
}
BODY1(mul, mul);
BODY1(imul, imul);

static inline void imul_to(X86Cpu *c, const X86Insn *i, uint64_t b)
{
    unsigned size = i->opsize;
    s128 r = (s128)x86_sext(x86_rd_e(c, i), size) * x86_sext(b, size);

    x86_wr_g(c, i, r);
    mul_flags(c, r, size, r != x86_sext(r, size));
}
static void imul2(X86Cpu *c, const X86Insn *i) { imul_to(c, i, x86_rd_g(c, i)); }
static void imul3(X86Cpu *c, const X86Insn *i) { imul_to(c, i, i->imm); }
BODY1(imul2, imul2);
BODY1(imul3, imul3);

static void mulx(X86Cpu *c, const X86Insn *i)
{
    u128 r = (u128)x86_rd_e(c, i) * (c->gpr[R_RDX] & x86_mask(i->opsize));

    x86_gpr_wr(c, i, i->vvvv, i->opsize, r);    /* low first: the high half wins when they are one register */
    x86_wr_g(c, i, r >> (8 * i->opsize));
}
BODY1(mulx, mulx);

static u128 get_wide(const X86Cpu *c, unsigned size)
{
    switch (size) {
    case 1: return (uint16_t)c->gpr[R_RAX];
    case 2: return (uint16_t)c->gpr[R_RAX] | (uint32_t)(uint16_t)c->gpr[R_RDX] << 16;
    case 4: return (uint32_t)c->gpr[R_RAX] | (uint64_t)(uint32_t)c->gpr[R_RDX] << 32;
    default: return (u128)c->gpr[R_RDX] << 64 | c->gpr[R_RAX];
    }
}
static void put_quotient(X86Cpu *c, unsigned size, uint64_t q, uint64_t r)
{
    switch (size) {
    case 1: x86_gpr_wr16(c, R_RAX, (q & 0xff) | (r & 0xff) << 8); break;
    case 2: x86_gpr_wr16(c, R_RAX, q); x86_gpr_wr16(c, R_RDX, r); break;
    case 4: c->gpr[R_RAX] = (uint32_t)q; c->gpr[R_RDX] = (uint32_t)r; break;
    default: c->gpr[R_RAX] = q; c->gpr[R_RDX] = r;
    }
}
static void div_(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t b = x86_rd_e(c, i);
    u128 a = get_wide(c, size);

    if (!b || (a >> (8 * size)) >= b)
        x86_raise(c, EXC_DE);
    if (a >> 64)
        put_quotient(c, size, a / b, a % b);
    else
        put_quotient(c, size, (uint64_t)a / b, (uint64_t)a % b);
}
static void idiv_(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize, up = 128 - 16 * size;
    s128 b = x86_sext(x86_rd_e(c, i), size), a = (s128)(get_wide(c, size) << up) >> up, q;

    if (!b)
        x86_raise(c, EXC_DE);
    if (b == -1) {                      /* the one case the host could overflow in */
        if (size == 8 ? a == (s128)((u128)1 << 127) : 0)
            x86_raise(c, EXC_DE);
        q = -a;
    } else {
        q = a / b;
    }
    if (q != x86_sext(q, size))
        x86_raise(c, EXC_DE);
    put_quotient(c, size, q, a - q * b);
}
BODY1(div, div_);
BODY1(idiv, idiv_);

/* ---- decimal adjustment; flags besides the defined ones follow the result ---- */

static void set_al(X86Cpu *c, uint8_t v) { c->gpr[R_RAX] = (c->gpr[R_RAX] & ~0xffULL) | v; }

static void dec_flags(X86Cpu *c, uint8_t al, bool cf, bool af)
{
    c->lf_res = (int64_t)(int8_t)al;
    c->lf_aux = (cf ? FL_CF : 0) | (af ? FL_AF : 0);
}
static void daa(X86Cpu *c, const X86Insn *i)
{
    uint8_t old = c->gpr[R_RAX], al = old;
    bool cf = lf_cf(c), af = lf_af(c), low = (old & 15) > 9 || af;

    if (low)
        al += 6;
    if (old > 0x99 || cf) {
        al += 0x60;
        cf = true;
    }
    set_al(c, al);
    dec_flags(c, al, cf, low);
}
static void das(X86Cpu *c, const X86Insn *i)
{
    uint8_t old = c->gpr[R_RAX], al = old;
    bool cf = lf_cf(c), af = lf_af(c), low = (old & 15) > 9 || af, carry = false;

    if (low) {
        carry = cf || old < 6;
        al -= 6;
    }
    if (old > 0x99 || cf) {
        al -= 0x60;
        carry = true;
    }
    set_al(c, al);
    dec_flags(c, al, carry, low);
}
static void ascii_adjust(X86Cpu *c, int step)
{
    uint16_t ax = c->gpr[R_RAX];
    bool adjust = (ax & 15) > 9 || lf_af(c);

    if (adjust)
        ax += step;
    ax &= 0xff0f;
    x86_gpr_wr16(c, R_RAX, ax);
    dec_flags(c, ax, adjust, adjust);
}
static void aaa(X86Cpu *c, const X86Insn *i) { ascii_adjust(c, 0x106); }
static void aas(X86Cpu *c, const X86Insn *i) { ascii_adjust(c, -0x106); }
static void aam(X86Cpu *c, const X86Insn *i)
{
    uint8_t al = c->gpr[R_RAX], base = i->imm;

    if (!base)
        x86_raise(c, EXC_DE);
    x86_gpr_wr16(c, R_RAX, (al / base) << 8 | al % base);
    dec_flags(c, al % base, false, false);
}
static void aad(X86Cpu *c, const X86Insn *i)
{
    uint8_t al = c->gpr[R_RAX] + (uint8_t)(c->gpr[R_RAX] >> 8) * (uint8_t)i->imm;

    x86_gpr_wr16(c, R_RAX, al);
    dec_flags(c, al, false, false);
}
static void salc(X86Cpu *c, const X86Insn *i) { set_al(c, lf_cf(c) ? 0xff : 0); }
BODY1(daa, daa);
BODY1(das, das);
BODY1(aaa, aaa);
BODY1(aas, aas);
BODY1(aam, aam);
BODY1(aad, aad);
BODY1(salc, salc);
