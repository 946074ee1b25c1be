/*
 * x87_env: control and status words, environments and state images: FSTENV, FSAVE, FXSAVE.
 *
 * SDM vol. 1, 8.1.10 (environment formats) and 10.5 (FXSAVE). XSAVE: xsave.c.
 */
#include "target/x86/x87_env_int.h"
#include "target/x86/operand.h"

void x87_init(X86Cpu *c)
{
    c->x87.cw = CW_INIT;
    c->x87.sw = 0;
    c->x87.top = 0;
    c->x87.empty = 0xff;
    c->x87.fop = 0;
    c->x87.fip = c->x87.fdp = 0;
    c->x87.fcs = c->x87.fds = 0;
}

void x87_set_cw(X86Cpu *c, uint16_t v)
{
    c->x87.cw = (v & CW_WRITABLE) | CW_FIXED;
    x87_update_es(c);
}

void x87_set_sw(X86Cpu *c, uint16_t v)
{
    c->x87.sw = v & ~0x3800;
    c->x87.top = v >> 11 & 7;
    x87_update_es(c);
}

uint16_t x87_tag_word(const X86Cpu *c)
{
    uint16_t tw = 0;
    unsigned n;

    for (n = 0; n < 8; n++) {
        Fp a = fp_from_x80(c->x87.r[n]);
        unsigned tag = a.cls == FPC_ZERO ? 1 : a.cls == FPC_NORMAL && !a.den ? 0 : 2;

        tw |= (c->x87.empty >> n & 1 ? 3 : tag) << (2 * n);
    }
    return tw;
}

void x87_set_tag_word(X86Cpu *c, uint16_t tw)
{
    unsigned n;

    c->x87.empty = 0;
    for (n = 0; n < 8; n++)
        c->x87.empty |= ((tw >> (2 * n) & 3) == 3) << n;
}

static void op_fninit(X86Cpu *c, const X86Insn *i) { x87_init(c); }
static void op_fnclex(X86Cpu *c, const X86Insn *i) { c->x87.sw &= ~(SW_B | SW_ES | SW_SF | FPX_ALL); }
static void op_fldcw(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_set_cw(c, x86_ld16(c, x86_ea(c, i, 2, false)));
}
static void op_fnstcw(X86Cpu *c, const X86Insn *i) { x86_st16(c, x86_ea(c, i, 2, true), c->x87.cw); }
static void op_fnstsw(X86Cpu *c, const X86Insn *i) { x86_st16(c, x86_ea(c, i, 2, true), x87_sw(c)); }
static void op_fnstsw_ax(X86Cpu *c, const X86Insn *i) { x86_gpr_wr16(c, R_RAX, x87_sw(c)); }
static void op_fnnop(X86Cpu *c, const X86Insn *i) { }
BODY1(fninit, op_fninit);
BODY1(fnclex, op_fnclex);
BODY1(fldcw, op_fldcw);
BODY1(fnstcw, op_fnstcw);
BODY1(fnstsw, op_fnstsw);
BODY1(fnstsw_ax, op_fnstsw_ax);
BODY1(fnnop, op_fnnop);

static bool real_format(const X86Cpu *c) { return !(c->mode & MODE_PE) || c->mode & MODE_VM86; }

/* Writes the environment image; returns its length (14 or 28). */
static unsigned env_put(X86Cpu *c, const X86Insn *i, uint8_t *b)
{
    const X87 *f = &c->x87;
    uint32_t ip = f->fip, dp = f->fdp;

    if (i->opsize == 2) {
        if (real_format(c)) {
            ip += f->fcs << 4;
            dp += f->fds << 4;
        }
        st16_le(b, f->cw);
        st16_le(b + 2, x87_sw(c));
        st16_le(b + 4, x87_tag_word(c));
        st16_le(b + 6, ip);
        st16_le(b + 8, real_format(c) ? (ip >> 4 & 0xf000) | f->fop : f->fcs);
        st16_le(b + 10, dp);
        st16_le(b + 12, real_format(c) ? dp >> 4 & 0xf000 : f->fds);
        return 14;
    }
    st32_le(b, 0xffff0000 | f->cw);
    st32_le(b + 4, 0xffff0000 | x87_sw(c));
    st32_le(b + 8, 0xffff0000 | x87_tag_word(c));
    if (real_format(c)) {
        ip += f->fcs << 4;
        dp += f->fds << 4;
        st32_le(b + 12, 0xffff0000 | (uint16_t)ip);
        st32_le(b + 16, (ip >> 4 & 0x0ffff000) | f->fop);
        st32_le(b + 20, 0xffff0000 | (uint16_t)dp);
        st32_le(b + 24, dp >> 4 & 0x0ffff000);
    } else {
        st32_le(b + 12, ip);
        st32_le(b + 16, (uint32_t)f->fop << 16 | f->fcs);
        st32_le(b + 20, dp);
        st32_le(b + 24, 0xffff0000 | f->fds);
    }
    return 28;
}

static unsigned env_get(X86Cpu *c, const X86Insn *i, const uint8_t *b)
{
    unsigned s = i->opsize == 2 ? 2 : 4;
    X87 *f = &c->x87;

    x87_set_cw(c, ld16_le(b));
    x87_set_sw(c, ld16_le(b + s));
    x87_set_tag_word(c, ld16_le(b + 2 * s));
    if (s == 2) {
        f->fip = ld16_le(b + 6);
        f->fcs = ld16_le(b + 8);
        f->fdp = ld16_le(b + 10);
        f->fds = ld16_le(b + 12);
        if (real_format(c)) {
            f->fop = f->fcs & 0x7ff;
            f->fip |= (uint32_t)(f->fcs & 0xf000) << 4;
            f->fdp |= (uint32_t)(f->fds & 0xf000) << 4;
            f->fcs = f->fds = 0;
        } else {
            f->fop = 0;         /* this image has none */
        }
    } else if (real_format(c)) {
        f->fip = ld16_le(b + 12) | (ld32_le(b + 16) & 0x0ffff000) << 4;
        f->fop = ld16_le(b + 16) & 0x7ff;
        f->fdp = ld16_le(b + 20) | (ld32_le(b + 24) & 0x0ffff000) << 4;
        f->fcs = f->fds = 0;
    } else {
        f->fip = ld32_le(b + 12);
        f->fcs = ld16_le(b + 16);
        f->fop = ld16_le(b + 18) & 0x7ff;
        f->fdp = ld32_le(b + 20);
        f->fds = ld16_le(b + 24);
    }
    return 7 * s;
}

static unsigned env_size(const X86Insn *i) { return i->opsize == 2 ? 14 : 28; }

static void op_fnstenv(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x86_ea(c, i, env_size(i), true);
    uint8_t b[28];
    unsigned n = env_put(c, i, b);

    x86_st_bytes(c, va, b, n, c->data_bank);
    c->x87.cw |= FPX_ALL;
    x87_update_es(c);
}
static void op_fldenv(X86Cpu *c, const X86Insn *i)
{
    uint8_t b[28];

    x87_wait(c);
    x86_ld_bytes(c, x86_ea(c, i, env_size(i), false), b, env_size(i), c->data_bank);
    env_get(c, i, b);
}
static void op_fnsave(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x86_ea(c, i, env_size(i) + 80, true);
    uint8_t b[108];
    unsigned n = env_put(c, i, b), k;

    for (k = 0; k < 8; k++) {
        st64_le(b + n + 10 * k, x87_st(c, k)->mant);
        st16_le(b + n + 10 * k + 8, x87_st(c, k)->se);
    }
    x86_st_bytes(c, va, b, n + 80, c->data_bank);
    x87_init(c);
}
static void op_frstor(X86Cpu *c, const X86Insn *i)
{
    uint8_t b[108];
    unsigned n, k;

    x87_wait(c);
    x86_ld_bytes(c, x86_ea(c, i, env_size(i) + 80, false), b, env_size(i) + 80, c->data_bank);
    n = env_get(c, i, b);
    for (k = 0; k < 8; k++)
        *x87_st(c, k) = (X86Fp80) { .mant = ld64_le(b + n + 10 * k), .se = ld16_le(b + n + 10 * k + 8) };
}
BODY1(fnstenv, op_fnstenv);
BODY1(fldenv, op_fldenv);
BODY1(fnsave, op_fnsave);
BODY1(frstor, op_frstor);

void x87_put_legacy(X86Cpu *c, uint8_t *b, bool wide)
{
    static const X87 none;
    const X87 *f = &c->x87, *p = f->sw & SW_ES ? f : &none;     /* pointers only matter to a pending exception */
    unsigned k;

    st16_le(b, f->cw);
    st16_le(b + 2, x87_sw(c));
    b[4] = ~f->empty;
    b[5] = 0;
    st16_le(b + 6, p->fop);
    if (wide) {
        st64_le(b + 8, p->fip);
        st64_le(b + 16, p->fdp);
    } else {
        st32_le(b + 8, p->fip);
        st32_le(b + 12, p->fcs);
        st32_le(b + 16, p->fdp);
        st32_le(b + 20, p->fds);
    }
    for (k = 0; k < 8; k++) {
        st64_le(b + 32 + 16 * k, x87_st(c, k)->mant);
        st64_le(b + 40 + 16 * k, x87_st(c, k)->se);
    }
}

void x87_get_legacy(X86Cpu *c, const uint8_t *b, bool wide)
{
    X87 *f = &c->x87;
    unsigned k;

    x87_set_cw(c, ld16_le(b));
    x87_set_sw(c, ld16_le(b + 2));
    f->empty = ~b[4];
    f->fop = ld16_le(b + 6) & 0x7ff;
    if (wide) {
        f->fip = ld64_le(b + 8);
        f->fdp = ld64_le(b + 16);
        f->fcs = f->fds = 0;
    } else {
        f->fip = ld32_le(b + 8);
        f->fcs = ld16_le(b + 12);
        f->fdp = ld32_le(b + 16);
        f->fds = ld16_le(b + 20);
    }
    for (k = 0; k < 8; k++)
        *x87_st(c, k) = (X86Fp80) { .mant = ld64_le(b + 32 + 16 * k), .se = ld16_le(b + 40 + 16 * k) };
}

uint64_t x87_legacy_area(X86Cpu *c, const X86Insn *i, unsigned size, unsigned align, bool write)
{
    uint64_t va = x86_ea(c, i, size, write);

    if (va & (align - 1)) {
        bool outside = align == 16 && c->mode & MODE_CS64 && i->seg == S_SS && !x86_canonical(va);

        x86_raise_err(c, outside ? EXC_SS : EXC_GP, 0);
    }
    return va;
}

static void op_fxsave(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x87_legacy_area(c, i, 512, 16, true);
    unsigned n = c->mode & MODE_CS64 ? 16 : 8, k;
    uint8_t b[416];

    /* The part of the image that is not written keeps its bytes: read those first. */
    x86_probe_w(c, va, 512, c->data_bank);
    x86_ld_bytes(c, va, b, sizeof b, c->data_bank);
    x87_put_legacy(c, b, i->opsize == 8);
    st32_le(b + 24, c->mxcsr);
    st32_le(b + 28, X86_MXCSR_MASK);
    for (k = 0; k < n; k++)
        memcpy(b + 160 + 16 * k, &c->vec[k], 16);
    x86_st_bytes(c, va, b, sizeof b, c->data_bank);
}
static void op_fxrstor(X86Cpu *c, const X86Insn *i)
{
    uint64_t va = x87_legacy_area(c, i, 512, 16, false);
    unsigned n = c->mode & MODE_CS64 ? 16 : 8, k;
    uint8_t b[512];

    x86_ld_bytes(c, va, b, sizeof b, c->data_bank);
    if (ld32_le(b + 24) & ~X86_MXCSR_MASK)
        x86_raise_err(c, EXC_GP, 0);
    c->mxcsr = ld32_le(b + 24);
    x87_get_legacy(c, b, i->opsize == 8);
    for (k = 0; k < n; k++)
        memcpy(&c->vec[k], b + 160 + 16 * k, 16);
}
BODY1(fxsave, op_fxsave);
BODY1(fxrstor, op_fxrstor);
