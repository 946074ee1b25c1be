/*
 * int_move: moves, extensions, conditional moves and sets, LEA, flag transfers, BOUND, RDRAND, hints.
 */
#include "target/x86/int_int.h"

#include <sys/random.h>

#define MOVES(bits)                                                                         \
    static void mov_eg##bits##_r(X86Cpu *c, const X86Insn *i) { WR##bits(i->rm, RD##bits(i->reg)); } \
    static void mov_eg##bits##_m(X86Cpu *c, const X86Insn *i)                               \
    { x86_st##bits(c, x86_ea(c, i, bits / 8, true), RD##bits(i->reg)); }                    \
    static void mov_ge##bits##_r(X86Cpu *c, const X86Insn *i) { WR##bits(i->reg, RD##bits(i->rm)); } \
    static void mov_ge##bits##_m(X86Cpu *c, const X86Insn *i)                               \
    { WR##bits(i->reg, x86_ld##bits(c, x86_ea(c, i, bits / 8, false))); }                   \
    static void mov_ei##bits##_r(X86Cpu *c, const X86Insn *i) { WR##bits(i->rm, i->imm); }  \
    static void mov_ei##bits##_m(X86Cpu *c, const X86Insn *i)                               \
    { x86_st##bits(c, x86_ea(c, i, bits / 8, true), i->imm); }
MOVES(8)
MOVES(16)
MOVES(32)
MOVES(64)
BODY_SZMR(mov_eg, mov_eg);
BODY_SZMR(mov_ge, mov_ge);
BODY_SZMR(mov_ei, mov_ei);

/* MOVZX, MOVSX, MOVSXD: from a narrower operand. */
#define EXTEND(name, T, from, bits)                                                         \
    static void name##bits##_r(X86Cpu *c, const X86Insn *i) { WR##bits(i->reg, (T)RD##from(i->rm)); } \
    static void name##bits##_m(X86Cpu *c, const X86Insn *i)                                 \
    { WR##bits(i->reg, (T)x86_ld##from(c, x86_ea(c, i, from / 8, false))); }
#define EXTENDS(name, T, from) \
    EXTEND(name, T, from, 16) EXTEND(name, T, from, 32) EXTEND(name, T, from, 64) BODY_SZVMR(name, name);
EXTENDS(movzx_b, uint8_t, 8)
EXTENDS(movzx_w, uint16_t, 16)
EXTENDS(movsx_b, int8_t, 8)
EXTENDS(movsx_w, int16_t, 16)
EXTEND(movsxd, int16_t, 16, 16)
EXTEND(movsxd, int32_t, 32, 32)
EXTEND(movsxd, int32_t, 32, 64)
BODY_SZVMR(movsxd, movsxd);

/* moffs */
static void mov_ao(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = x86_ld(c, x86_lin(c, i->seg, i->imm, i->opsize, false), i->opsize);

    x86_gpr_wr(c, i, R_RAX, i->opsize, v);
}
static void mov_oa(X86Cpu *c, const X86Insn *i)
{
    x86_st(c, x86_lin(c, i->seg, i->imm, i->opsize, true), i->opsize, c->gpr[R_RAX]);
}
BODY1(mov_ao, mov_ao);
BODY1(mov_oa, mov_oa);

static void lea(X86Cpu *c, const X86Insn *i) { x86_gpr_wr(c, i, i->reg, i->opsize, x86_ea_off(c, i)); }
BODY1(lea, lea);

static void xchg_ax(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = c->gpr[R_RAX], b = c->gpr[i->rm];

    x86_gpr_wr(c, i, R_RAX, i->opsize, b);
    x86_gpr_wr(c, i, i->rm, i->opsize, a);
}
BODY1(xchg_ax, xchg_ax);

/* One function per condition, so that the test is resolved at compile time. */
#define CC(n, cc)                                                                           \
    static void cmov##cc(X86Cpu *c, const X86Insn *i)                                       \
    {                                                                                       \
        uint64_t v = x86_rd_e(c, i);                                                        \
                                                                                            \
        if (x86_cond(c, n))                                                                 \
            x86_wr_g(c, i, v);                                                              \
        else if (i->opsize == 4)                                                            \
            c->gpr[i->reg] = (uint32_t)c->gpr[i->reg];                                      \
    }                                                                                       \
    static void set_##cc(X86Cpu *c, const X86Insn *i) { x86_wr_e(c, i, x86_cond(c, n)); }    \
    BODY1(cmov##cc, cmov##cc);                                                              \
    BODY1(set##cc, set_##cc);
X86_CONDITIONS(CC)

/* CBW, CWDE, CDQE and CWD, CDQ, CQO. */
static void cbw(X86Cpu *c, const X86Insn *i)
{
    x86_gpr_wr(c, i, R_RAX, i->opsize, x86_sext(c->gpr[R_RAX], i->opsize / 2));
}
static void cwd(X86Cpu *c, const X86Insn *i)
{
    x86_gpr_wr(c, i, R_RDX, i->opsize, x86_sext(c->gpr[R_RAX], i->opsize) >> 63);
}
BODY1(cbw, cbw);
BODY1(cwd, cwd);

static void sahf(X86Cpu *c, const X86Insn *i)
{
    x86_flags_change(c, FL_ARITH & ~FL_OF, c->gpr[R_RAX] >> 8);
}
static void lahf(X86Cpu *c, const X86Insn *i)
{
    uint8_t f = (x86_flags_get(c) & (FL_ARITH & ~FL_OF)) | FL_1;

    c->gpr[R_RAX] = (c->gpr[R_RAX] & ~0xff00ULL) | (uint64_t)f << 8;
}
BODY1(sahf, sahf);
BODY1(lahf, lahf);

static void xlat(X86Cpu *c, const X86Insn *i)
{
    uint64_t off = (c->gpr[R_RBX] + (c->gpr[R_RAX] & 0xff)) & x86_mask(i->adsize);
    uint8_t v = x86_ld8(c, x86_lin(c, i->seg, off, 1, false));

    c->gpr[R_RAX] = (c->gpr[R_RAX] & ~0xffULL) | v;
}
BODY1(xlat, xlat);

static void bound(X86Cpu *c, const X86Insn *i)
{
    unsigned size = i->opsize;
    uint64_t off = x86_ea_off(c, i), va = x86_lin(c, i->seg, off, 2 * size, false);
    int64_t v = x86_sext(c->gpr[i->reg], size), low = x86_sext(x86_ld(c, va, size), size);
    int64_t high = x86_sext(x86_ld(c, (uint32_t)(va + size), size), size);

    if (v < low || v > high)
        x86_raise(c, EXC_BR);
}
BODY1(bound, bound);

static void rdrand(X86Cpu *c, const X86Insn *i)
{
    uint64_t v;
    bool ok = getrandom(&v, sizeof v, GRND_NONBLOCK) == sizeof v;

    x86_gpr_wr(c, i, i->rm, i->opsize, ok ? v : 0);
    x86_flags_put(c, ok ? FL_CF : 0);
}
BODY1(rdrand, rdrand);

static void fence(X86Cpu *c, const X86Insn *i)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
BODY1(fence, fence);

/* Cache lines are not modelled; the address is checked as a load is. */
static void clflush(X86Cpu *c, const X86Insn *i)
{
    x86_probe_r(c, x86_ea(c, i, 1, false), 1, c->data_bank);
}
BODY1(clflush, clflush);

static void pause_(X86Cpu *c, const X86Insn *i)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}
BODY1(pause, pause_);
