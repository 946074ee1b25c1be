/*
 * int_bits: bit tests, scans and counts, BMI1, BMI2, byte swaps, CRC32.
 */
#include "target/x86/int_int.h"

static uint64_t fn_bt(uint64_t a, uint64_t m, unsigned k) { return a; }
static uint64_t fn_bts(uint64_t a, uint64_t m, unsigned k) { return a | m; }
static uint64_t fn_btr(uint64_t a, uint64_t m, unsigned k) { return a & ~m; }
static uint64_t fn_btc(uint64_t a, uint64_t m, unsigned k) { return a ^ m; }

/* off: the bit offset; with memory, a register's offset reaches beyond the operand. */
static inline void bit_op(X86Cpu *c, const X86Insn *i, int64_t off, bool reach, bool writes, RmwFn *fn)
{
    unsigned size = i->opsize, bits = size * 8;
    uint64_t mask = 1ULL << (off & (bits - 1)), a;

    if (i->is_reg) {
        a = x86_gpr_rd(c, i, i->rm, size);
        if (writes)
            x86_gpr_wr(c, i, i->rm, size, fn(a, mask, 0));
    } else {
        uint64_t ea = x86_ea_off(c, i), va;

        if (reach)
            ea += (off >> (__builtin_ctz(size) + 3)) * size;
        if (i->adsize != 8)
            ea &= x86_mask(i->adsize);
        va = x86_lin(c, i->seg, ea, size, writes);
        if (writes)
            a = x86_rmw(c, rmw_ptr(c, va, size), va, size, i->flags & INSN_LOCK, fn, mask, 0);
        else
            a = x86_ld(c, va, size);
    }
    lf_set_cf(c, a & mask);
}
#define BIT(name, writes) \
    static void name##_eg(X86Cpu *c, const X86Insn *i) \
    { \
        bit_op(c, i, x86_sext(c->gpr[i->reg], i->opsize), true, writes, fn_##name); \
    } \
    static void name##_ei(X86Cpu *c, const X86Insn *i) { bit_op(c, i, i->imm, false, writes, fn_##name); } \
    BODY1(name##_eg, name##_eg); \
    BODY1(name##_ei, name##_ei);
BIT(bt, false)
BIT(bts, true)
BIT(btr, true)
BIT(btc, true)

/* BSF and BSR leave the destination alone when the source is 0, as AMD documents and all processors do. */
static void bsf(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i);

    if (a)
        x86_wr_g(c, i, __builtin_ctzll(a));
    x86_flags_change(c, FL_ZF, a ? 0 : FL_ZF);
}
static void bsr(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i);

    if (a)
        x86_wr_g(c, i, 63 - __builtin_clzll(a));
    x86_flags_change(c, FL_ZF, a ? 0 : FL_ZF);
}
static void tzcnt(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i), r = a ? __builtin_ctzll(a) : i->opsize * 8;

    x86_wr_g(c, i, r);
    x86_flags_change(c, FL_ZF | FL_CF, (r ? 0 : FL_ZF) | (a ? 0 : FL_CF));
}
static void lzcnt(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i), r = a ? __builtin_clzll(a) - (64 - i->opsize * 8) : i->opsize * 8;

    x86_wr_g(c, i, r);
    x86_flags_change(c, FL_ZF | FL_CF, (r ? 0 : FL_ZF) | (a ? 0 : FL_CF));
}
static void popcnt(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i);

    x86_wr_g(c, i, __builtin_popcountll(a));
    x86_flags_put(c, a ? 0 : FL_ZF);
}
BODY1(bsf, bsf);
BODY1(bsr, bsr);
BODY1(tzcnt, tzcnt);
BODY1(lzcnt, lzcnt);
BODY1(popcnt, popcnt);

/* BMI: ZF and SF of the result, OF clear, CF as given. */
static void bmi_flags(X86Cpu *c, const X86Insn *i, uint64_t r, bool cf)
{
    c->lf_res = x86_sext(r, i->opsize);
    c->lf_aux = cf;
}
static void andn(X86Cpu *c, const X86Insn *i)
{
    uint64_t r = ~c->gpr[i->vvvv] & x86_rd_e(c, i);

    x86_wr_g(c, i, r);
    bmi_flags(c, i, r, false);
}
static void blsr(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i), r = a & (a - 1);

    x86_gpr_wr(c, i, i->vvvv, i->opsize, r);
    bmi_flags(c, i, r, !a);
}
static void blsmsk(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i), r = a ^ (a - 1);

    x86_gpr_wr(c, i, i->vvvv, i->opsize, r);
    bmi_flags(c, i, r, !a);
}
static void blsi(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i), r = a & -a;

    x86_gpr_wr(c, i, i->vvvv, i->opsize, r);
    bmi_flags(c, i, r, a);
}
static void bzhi(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i);
    unsigned n = c->gpr[i->vvvv] & 0xff, bits = i->opsize * 8;

    if (n < bits)
        a &= (1ULL << n) - 1;
    x86_wr_g(c, i, a);
    bmi_flags(c, i, a, n >= bits);
}
static void bextr(X86Cpu *c, const X86Insn *i)
{
    uint64_t a = x86_rd_e(c, i);
    unsigned start = c->gpr[i->vvvv] & 0xff, len = c->gpr[i->vvvv] >> 8 & 0xff;

    a = start < 64 ? a >> start : 0;
    if (len < 64)
        a &= (1ULL << len) - 1;
    x86_wr_g(c, i, a);
    c->lf_res = a;                      /* SF is undefined: 0 */
    c->lf_aux = a >> 63 << 7;
}
static void pext(X86Cpu *c, const X86Insn *i)
{
    uint64_t mask = x86_rd_e(c, i), a = c->gpr[i->vvvv], r = 0;

    for (unsigned n = 0; mask; n++, mask &= mask - 1)
        r |= (a >> __builtin_ctzll(mask) & 1) << n;
    x86_wr_g(c, i, r);
}
static void pdep(X86Cpu *c, const X86Insn *i)
{
    uint64_t mask = x86_rd_e(c, i), a = c->gpr[i->vvvv], r = 0;

    for (; mask; a >>= 1, mask &= mask - 1)
        if (a & 1)
            r |= mask & -mask;
    x86_wr_g(c, i, r);
}
BODY1(andn, andn);
BODY1(blsr, blsr);
BODY1(blsmsk, blsmsk);
BODY1(blsi, blsi);
BODY1(bzhi, bzhi);
BODY1(bextr, bextr);
BODY1(pext, pext);
BODY1(pdep, pdep);

static uint64_t swap(uint64_t v, unsigned size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}
/* BSWAP of a 16-bit register is undefined; processors clear it. */
static void bswap(X86Cpu *c, const X86Insn *i)
{
    x86_gpr_wr(c, i, i->rm, i->opsize, i->opsize == 2 ? 0 : swap(c->gpr[i->rm], i->opsize));
}
static void movbe_gm(X86Cpu *c, const X86Insn *i) { x86_wr_g(c, i, swap(x86_rd_e(c, i), i->opsize)); }
static void movbe_mg(X86Cpu *c, const X86Insn *i) { x86_wr_e(c, i, swap(x86_rd_g(c, i), i->opsize)); }
BODY1(bswap, bswap);
BODY1(movbe_gm, movbe_gm);
BODY1(movbe_mg, movbe_mg);

/* CRC-32C, polynomial 0x1EDC6F41 reflected, four bits at a time. */
static uint32_t crc32c(uint32_t crc, uint64_t v, unsigned size)
{
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };

    for (unsigned n = 0; n < size; n++, v >>= 8) {
        crc ^= v & 0xff;
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return crc;
}
static void crc32_v(X86Cpu *c, const X86Insn *i)
{
    c->gpr[i->reg] = crc32c(c->gpr[i->reg], x86_rd_e(c, i), i->opsize);
}
static void crc32_b(X86Cpu *c, const X86Insn *i)
{
    uint8_t v = i->is_reg ? x86_gpr_rd8(c, i, i->rm) : x86_ld8(c, x86_ea(c, i, 1, false));

    c->gpr[i->reg] = crc32c(c->gpr[i->reg], v, 1);
}
BODY1(crc32_v, crc32_v);
BODY1(crc32_b, crc32_b);
