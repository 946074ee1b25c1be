/*
 * insns: the tables made of insns.def: rows, operand descriptions; the bodies of the two raising rows.
 */
#include "target/x86/insn.h"
#include "target/x86/cpuid.h"

#define FC FL_CF
#define FP FL_PF
#define FA FL_AF
#define FZ FL_ZF
#define FS FL_SF
#define FO FL_OF
#define FALL FL_ARITH
#define OPS0 { 0 }
#define OPS1(a) { OPND_##a }
#define OPS2(a, b) { OPND_##a, OPND_##b }
#define OPS3(a, b, c) { OPND_##a, OPND_##b, OPND_##c }
#define OPS4(a, b, c, d) { OPND_##a, OPND_##b, OPND_##c, OPND_##d }
#define ROW(m, op, e, p, l, mn, o, b, r, w, u, f, c, em) \
    { .map = MAP_##m, .opcode = op, .ext = e, .pfx = p, .emit = EMIT_##em, .feat = FEAT_##f, .lim = l, .cls = c, \
      .mnemonic = mn, .ops = o, .body = &x86_body_##b, .rd = r, .wr = w, .un = u },
const X86Row x86_rows[] = {
#include "target/x86/insns.def"
};
#undef ROW
const unsigned x86_row_count = sizeof x86_rows / sizeof x86_rows[0];

const X86Opnd x86_opnds[OPND_COUNT] = {
#define X(n, k, s) [OPND_##n] = { #n, OK_##k, OS_##s },
    X86_OPNDS(X)
#undef X
};

unsigned x86_opnd_size(unsigned opnd, const X86Insn *i)
{
    unsigned vl = i->flags & INSN_VL256 ? 32 : 16;

    switch (x86_opnds[opnd].size) {
    case OS_B: return 1;
    case OS_W: return 2;
    case OS_D: return 4;
    case OS_Q: return 8;
    case OS_DQ: return 16;
    case OS_QQ: return 32;
    case OS_X: return vl;
    case OS_H: return vl / 2;
    case OS_O: return vl / 4;
    case OS_V: return i->opsize;
    case OS_Y: return i->opsize == 8 ? 8 : 4;
    case OS_Z: return i->opsize == 2 ? 2 : 4;
    case OS_P: return 2 + i->opsize;
    case OS_S: return i->opsize == 8 ? 10 : 6;
    case OS_A: return 2 * i->opsize;
    case OS_T: return 10;
    case OS_RVMW: return i->is_reg ? i->opsize : 2;
    case OS_RYMB: return !i->is_reg ? 1 : i->opsize == 8 ? 8 : 4;
    case OS_RYMW: return !i->is_reg ? 2 : i->opsize == 8 ? 8 : 4;
    default: return 0;
    }
}

static void op_ud(X86Cpu *c, const X86Insn *i)
{
    x86_raise(c, EXC_UD);
}

static void op_nm(X86Cpu *c, const X86Insn *i)
{
    /* MMX (never in the one-byte map) is #UD under EM; x87 is #NM for EM and TS alike. */
    x86_raise(c, c->cr0 & CR0_EM && i->map != MAP_1 ? EXC_UD : EXC_NM);
}

static void op_nop(X86Cpu *c, const X86Insn *i)
{
}

BODY1(ud, op_ud);
BODY1(nm, op_nm);
BODY1(nop, op_nop);
