/*
 * int_alu: ADD ... CMP, TEST, INC, DEC, NEG, NOT, ADCX, ADOX in every size and form.
 */
#include "target/x86/int_int.h"

#define S_(bits, v) ((int64_t)(int##bits##_t)(v))

/* Per operation: the value, and the flags from operands and result. */
static inline uint64_t fn_add(uint64_t a, uint64_t b, unsigned k) { return a + b; }
static inline uint64_t fn_or(uint64_t a, uint64_t b, unsigned k) { return a | b; }
static inline uint64_t fn_adc(uint64_t a, uint64_t b, unsigned k) { return a + b + k; }
static inline uint64_t fn_sbb(uint64_t a, uint64_t b, unsigned k) { return a - b - k; }
static inline uint64_t fn_and(uint64_t a, uint64_t b, unsigned k) { return a & b; }
static inline uint64_t fn_sub(uint64_t a, uint64_t b, unsigned k) { return a - b; }
static inline uint64_t fn_xor(uint64_t a, uint64_t b, unsigned k) { return a ^ b; }
static inline uint64_t fn_inc(uint64_t a, uint64_t b, unsigned k) { return a + 1; }
static inline uint64_t fn_dec(uint64_t a, uint64_t b, unsigned k) { return a - 1; }
static inline uint64_t fn_neg(uint64_t a, uint64_t b, unsigned k) { return -a; }
static inline uint64_t fn_not(uint64_t a, uint64_t b, unsigned k) { return ~a; }

#define FLAGS_add(bits, a, b, r) lf_arith(c, S_(bits, r), lf_add_carries(a, b, r), bits)
#define FLAGS_adc FLAGS_add
#define FLAGS_sub(bits, a, b, r) lf_arith(c, S_(bits, r), lf_sub_carries(a, b, r), bits)
#define FLAGS_sbb FLAGS_sub
#define FLAGS_or(bits, a, b, r) lf_logic(c, S_(bits, r))
#define FLAGS_and FLAGS_or
#define FLAGS_xor FLAGS_or
#define FLAGS_inc(bits, a, b, r) lf_arith_keep_cf(c, S_(bits, r), lf_add_carries(a, 1, r), bits)
#define FLAGS_dec(bits, a, b, r) lf_arith_keep_cf(c, S_(bits, r), lf_sub_carries(a, 1, r), bits)
#define FLAGS_neg(bits, a, b, r) lf_arith(c, S_(bits, r), lf_sub_carries(0, a, r), bits)
#define FLAGS_not(bits, a, b, r) ((void)0)

/* Destination in a register or memory, second operand SRC. */
#define ALU_DEST(name, form, bits, SRC)                                                     \
    static void name##form##bits##_r(X86Cpu *c, const X86Insn *i)                           \
    {                                                                                       \
        uint##bits##_t a = RD##bits(i->rm), b = SRC, r = fn_##name(a, b, lf_cf(c));         \
                                                                                            \
        WR##bits(i->rm, r);                                                                 \
        FLAGS_##name(bits, a, b, r);                                                        \
    }                                                                                       \
    static void name##form##bits##_m(X86Cpu *c, const X86Insn *i)                           \
    {                                                                                       \
        uint64_t va = x86_ea(c, i, bits / 8, true);                                         \
        x86_any##bits *p = rmw_ptr(c, va, bits / 8);                                        \
        uint##bits##_t a, b = SRC, r;                                                       \
                                                                                            \
        if (__builtin_expect(p && !(i->flags & INSN_LOCK), 1)) {                            \
            a = *p;                                                                         \
            r = fn_##name(a, b, lf_cf(c));                                                  \
            *p = r;                                                                         \
        } else {                                                                            \
            a = x86_rmw(c, p, va, bits / 8, i->flags & INSN_LOCK, fn_##name, b, lf_cf(c));  \
            r = fn_##name(a, b, lf_cf(c));                                                  \
        }                                                                                   \
        FLAGS_##name(bits, a, b, r);                                                        \
    }
/* Destination the G register. */
#define ALU_GE(name, bits)                                                                  \
    static void name##_ge##bits##_r(X86Cpu *c, const X86Insn *i)                            \
    {                                                                                       \
        uint##bits##_t a = RD##bits(i->reg), b = RD##bits(i->rm), r = fn_##name(a, b, lf_cf(c)); \
                                                                                            \
        WR##bits(i->reg, r);                                                                \
        FLAGS_##name(bits, a, b, r);                                                        \
    }                                                                                       \
    static void name##_ge##bits##_m(X86Cpu *c, const X86Insn *i)                            \
    {                                                                                       \
        uint##bits##_t b = x86_ld##bits(c, x86_ea(c, i, bits / 8, false));                  \
        uint##bits##_t a = RD##bits(i->reg), r = fn_##name(a, b, lf_cf(c));                 \
                                                                                            \
        WR##bits(i->reg, r);                                                                \
        FLAGS_##name(bits, a, b, r);                                                        \
    }
#define ALU_SIZE(name, bits) \
    ALU_DEST(name, _eg, bits, RD##bits(i->reg)) ALU_DEST(name, _ei, bits, i->imm) ALU_GE(name, bits)
#define ALU(name) \
    ALU_SIZE(name, 8) ALU_SIZE(name, 16) ALU_SIZE(name, 32) ALU_SIZE(name, 64) \
    BODY_SZMR(name##_eg, name##_eg); BODY_SZMR(name##_ei, name##_ei); BODY_SZMR(name##_ge, name##_ge);
ALU(add)
ALU(or)
ALU(adc)
ALU(sbb)
ALU(and)
ALU(sub)
ALU(xor)

#define UNARY(name) \
    ALU_DEST(name, _e, 8, 0) ALU_DEST(name, _e, 16, 0) ALU_DEST(name, _e, 32, 0) ALU_DEST(name, _e, 64, 0) \
    BODY_SZMR(name, name##_e);
UNARY(inc)
UNARY(dec)
UNARY(neg)
UNARY(not)

/* CMP and TEST write nothing. */
#define COMPARE(name, form, bits, A, B, FN, FLAGS)                                          \
    static void name##form##bits##_r(X86Cpu *c, const X86Insn *i)                           \
    {                                                                                       \
        uint##bits##_t e = RD##bits(i->rm), a = A, b = B, r = FN(a, b, 0);                  \
                                                                                            \
        FLAGS(bits, a, b, r);                                                               \
    }                                                                                       \
    static void name##form##bits##_m(X86Cpu *c, const X86Insn *i)                           \
    {                                                                                       \
        uint##bits##_t e = x86_ld##bits(c, x86_ea(c, i, bits / 8, false));                  \
        uint##bits##_t a = A, b = B, r = FN(a, b, 0);                                       \
                                                                                            \
        FLAGS(bits, a, b, r);                                                               \
    }
#define COMPARE_SIZE(bits) \
    COMPARE(cmp, _eg, bits, e, RD##bits(i->reg), fn_sub, FLAGS_sub) \
    COMPARE(cmp, _ei, bits, e, i->imm, fn_sub, FLAGS_sub) \
    COMPARE(cmp, _ge, bits, RD##bits(i->reg), e, fn_sub, FLAGS_sub) \
    COMPARE(test, _eg, bits, e, RD##bits(i->reg), fn_and, FLAGS_and) \
    COMPARE(test, _ei, bits, e, i->imm, fn_and, FLAGS_and)
COMPARE_SIZE(8)
COMPARE_SIZE(16)
COMPARE_SIZE(32)
COMPARE_SIZE(64)
BODY_SZMR(cmp_eg, cmp_eg);
BODY_SZMR(cmp_ei, cmp_ei);
BODY_SZMR(cmp_ge, cmp_ge);
BODY_SZMR(test_eg, test_eg);
BODY_SZMR(test_ei, test_ei);

/* An addition whose carry lives in one flag (CF or OF) and leaves the others alone. */
static void add_with(X86Cpu *c, const X86Insn *i, uint32_t flag)
{
    uint64_t b = x86_rd_e(c, i), a = x86_rd_g(c, i);
    bool k = c->lf_aux & flag;
    unsigned __int128 sum = (unsigned __int128)a + b + k;

    k = i->opsize == 8 ? sum >> 64 : (uint64_t)sum >> 32;
    x86_wr_g(c, i, sum);
    c->lf_aux = (c->lf_aux & ~(uint64_t)flag) | (k ? flag : 0);
}
static void adcx(X86Cpu *c, const X86Insn *i) { add_with(c, i, FL_CF); }
static void adox(X86Cpu *c, const X86Insn *i) { add_with(c, i, FL_OF); }
BODY1(adcx, adcx);
BODY1(adox, adox);

/* CF alone; DF lives with the other RFLAGS bits. */
static void cmc(X86Cpu *c, const X86Insn *i) { c->lf_aux ^= FL_CF; }
static void clc(X86Cpu *c, const X86Insn *i) { c->lf_aux &= ~(uint64_t)FL_CF; }
static void stc(X86Cpu *c, const X86Insn *i) { c->lf_aux |= FL_CF; }
static void cld(X86Cpu *c, const X86Insn *i) { c->eflags &= ~FL_DF; }
static void std(X86Cpu *c, const X86Insn *i) { c->eflags |= FL_DF; }
BODY1(cmc, cmc);
BODY1(clc, clc);
BODY1(stc, stc);
BODY1(cld, cld);
BODY1(std, std);
