/*
 * x87: arithmetic, compares, moves and constants of the x87 FPU.
 *
 * Intel SDM vol. 1 chapter 8 and vol. 2. Environment and state images: x87_env.c; partial
 * remainder and elementary functions: x87_func.c, x87_math.c.
 */
#include "target/x86/x87_int.h"
#include "target/x86/flags.h"
#include "target/x86/operand.h"
#include "target/x86/vec_int.h"

void x87_mmx_pending(X86Cpu *c)
{
    x86_raise(c, EXC_MF);
}

void x87_note(X86Cpu *c, const X86Insn *i)
{
    c->x87.fip = c->rip - i->len;
    c->x87.fcs = c->seg[S_CS].sel;
    c->x87.fop = (i->opcode & 7) << 8 | i->modrm;
    if (!i->is_reg) {
        c->x87.fdp = x86_ea_off(c, i);
        c->x87.fds = c->seg[i->seg].sel;
    }
}

static bool finish(X86Cpu *c, const FpStatus *st, unsigned forbid)
{
    unsigned flags = st->flags, unmasked = flags & ~c->x87.cw & FPX_ALL;

    c->x87.sw &= ~SW_C1;
    if (unmasked & FPX_PRE)
        flags &= FPX_PRE;
    else if (st->up)
        c->x87.sw |= SW_C1;
    c->x87.sw |= flags;
    if (unmasked)
        c->x87.sw |= SW_ES | SW_B;
    return !(unmasked & forbid);
}

bool x87_finish(X86Cpu *c, const FpStatus *st) { return finish(c, st, FPX_PRE); }
bool x87_finish_store(X86Cpu *c, const FpStatus *st)
{
    FpStatus s = *st;

    if (s.flags & ~c->x87.cw & (FPX_O | FPX_U)) {       /* nothing is stored, so nothing was rounded */
        s.flags &= ~FPX_P;
        s.up = false;
    }
    return finish(c, &s, FPX_PRE | FPX_O | FPX_U);
}

bool x87_stack_fault(X86Cpu *c, bool overflow)
{
    c->x87.sw = (c->x87.sw & ~SW_C1) | FPX_I | SW_SF | (overflow ? SW_C1 : 0);
    if (c->x87.cw & FPX_I)
        return true;
    c->x87.sw |= SW_ES | SW_B;
    return false;
}

bool x87_push(X86Cpu *c, X86Fp80 v)
{
    if (!x87_empty(c, 7)) {
        if (!x87_stack_fault(c, true))
            return false;
        v = x87_indefinite();
    } else {
        c->x87.sw &= ~SW_C1;
    }
    c->x87.top = (c->x87.top - 1) & 7;
    x87_put(c, 0, v);
    return true;
}

void x87_set_order(X86Cpu *c, FpOrder o)
{
    static const uint16_t cc[4] = { SW_C0, SW_C3, 0, SW_C3 | SW_C2 | SW_C0 };

    c->x87.sw = (c->x87.sw & ~(SW_C3 | SW_C2 | SW_C0)) | cc[o == FP_UNORD ? 3 : o + 1];
}

/* Operation d of D8-DE /d on a and b; false: a compare (2, 3). */
static Fp arith(FpStatus *st, unsigned d, Fp a, Fp b)
{
    switch (d) {
    case 0: return fp_add(st, &fp_x80, a, b);
    case 1: return fp_mul(st, &fp_x80, a, b);
    case 4: return fp_sub(st, &fp_x80, a, b);
    case 5: return fp_sub(st, &fp_x80, b, a);
    case 6: return fp_div(st, &fp_x80, a, b);
    default: return fp_div(st, &fp_x80, b, a);
    }
}

/* ST(dst) = op(ST(dst), b); b_empty: b came from an empty register. True: completed (may pop). */
static bool arith_to(X86Cpu *c, unsigned d, unsigned dst, Fp b, bool b_empty)
{
    FpStatus st = x87_status(c);
    Fp r;

    if (x87_empty(c, dst) || b_empty) {
        if (!x87_stack_fault(c, false))
            return false;
        x87_put(c, dst, x87_indefinite());
        return true;
    }
    r = arith(&st, d, fp_from_x80(*x87_st(c, dst)), b);
    if (!x87_finish(c, &st))
        return false;
    x87_put(c, dst, fp_to_x80(r));
    return true;
}

/* Compares ST(0) with b, sets the condition codes (also when an exception is unmasked). True: may pop. */
static bool compare(X86Cpu *c, Fp b, bool b_empty, bool quiet)
{
    FpStatus st = x87_status(c);
    FpOrder o = FP_UNORD;
    bool done;

    if (x87_empty(c, 0) || b_empty) {
        done = x87_stack_fault(c, false);
    } else {
        o = fp_compare(&st, fp_from_x80(*x87_st(c, 0)), b, quiet);
        done = x87_finish(c, &st);
    }
    x87_set_order(c, o);
    return done;
}

static void arith_memory(X86Cpu *c, const X86Insn *i, Fp b)
{
    unsigned d = i->reg & 7;

    x87_note(c, i);
    if (d == 2 || d == 3) {
        if (compare(c, b, false, false) && d == 3)
            x87_pop(c);
    } else {
        arith_to(c, d, 0, b, false);
    }
}

/* The memory operand, once a pending exception was raised. */
static inline Fp load_f32(X86Cpu *c, const X86Insn *i) { x87_wait(c); return fp_from_f32(x86_ld32(c, x86_ea(c, i, 4, false))); }
static inline Fp load_f64(X86Cpu *c, const X86Insn *i) { x87_wait(c); return fp_from_f64(x86_ld64(c, x86_ea(c, i, 8, false))); }
static inline Fp load_i16(X86Cpu *c, const X86Insn *i) { x87_wait(c); return fp_from_i64((int16_t)x86_ld16(c, x86_ea(c, i, 2, false))); }
static inline Fp load_i32(X86Cpu *c, const X86Insn *i) { x87_wait(c); return fp_from_i64((int32_t)x86_ld32(c, x86_ea(c, i, 4, false))); }
static inline Fp load_i64(X86Cpu *c, const X86Insn *i) { x87_wait(c); return fp_from_i64(x86_ld64(c, x86_ea(c, i, 8, false))); }

static void op_farith_m32(X86Cpu *c, const X86Insn *i) { arith_memory(c, i, load_f32(c, i)); }
static void op_farith_m64(X86Cpu *c, const X86Insn *i) { arith_memory(c, i, load_f64(c, i)); }
static void op_farith_i16(X86Cpu *c, const X86Insn *i) { arith_memory(c, i, load_i16(c, i)); }
static void op_farith_i32(X86Cpu *c, const X86Insn *i) { arith_memory(c, i, load_i32(c, i)); }
static void op_farith_st0(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    arith_to(c, i->reg & 7, 0, fp_from_x80(*x87_st(c, i->rm)), x87_empty(c, i->rm));
}
/* DC, DE: the destination is ST(i), and the reversed forms swap: /4 is SUBR, /5 SUB. */
static void op_farith_sti(X86Cpu *c, const X86Insn *i)
{
    unsigned d = i->reg & 7;
    bool done;

    x87_wait(c);
    x87_note(c, i);
    done = arith_to(c, d >= 4 ? d ^ 1 : d, i->rm, fp_from_x80(*x87_st(c, 0)), x87_empty(c, 0));
    if (done && (i->opcode & 2))
        x87_pop(c);
}
BODY1(farith_m32, op_farith_m32);
BODY1(farith_m64, op_farith_m64);
BODY1(farith_i16, op_farith_i16);
BODY1(farith_i32, op_farith_i32);
BODY1(farith_st0, op_farith_st0);
BODY1(farith_sti, op_farith_sti);

static void compare_reg(X86Cpu *c, const X86Insn *i, unsigned n, unsigned pops, bool quiet)
{
    x87_wait(c);
    x87_note(c, i);
    if (!compare(c, fp_from_x80(*x87_st(c, n)), x87_empty(c, n), quiet))
        return;
    while (pops--)
        x87_pop(c);
}
static void op_fcom(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, i->rm, 0, false); }
static void op_fcomp(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, i->rm, 1, false); }
static void op_fcompp(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, 1, 2, false); }
static void op_fucom(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, i->rm, 0, true); }
static void op_fucomp(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, i->rm, 1, true); }
static void op_fucompp(X86Cpu *c, const X86Insn *i) { compare_reg(c, i, 1, 2, true); }
BODY1(fcom, op_fcom);
BODY1(fcomp, op_fcomp);
BODY1(fcompp, op_fcompp);
BODY1(fucom, op_fucom);
BODY1(fucomp, op_fucomp);
BODY1(fucompp, op_fucompp);

static void op_ftst(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    compare(c, fp_from_i64(0), false, false);
}
BODY1(ftst, op_ftst);

/* FCOMI, FUCOMI (DB) and with pop (DF): bit 2 of the opcode; the /5 digit is the quiet one. */
static void op_fcomi(X86Cpu *c, const X86Insn *i)
{
    FpStatus st = x87_status(c);
    uint16_t c1 = c->x87.sw & SW_C1;
    FpOrder o = FP_UNORD;
    bool done;

    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0) || x87_empty(c, i->rm)) {
        done = x87_stack_fault(c, false);
    } else {
        o = fp_compare(&st, fp_from_x80(*x87_st(c, 0)), fp_from_x80(*x87_st(c, i->rm)), (i->reg & 7) == 5);
        done = x87_finish(c, &st);
        c->x87.sw |= c1;                        /* C1 stays */
    }
    x86_flags_put(c, o == FP_UNORD ? FL_ZF | FL_PF | FL_CF : o == FP_LT ? FL_CF : o == FP_EQ ? FL_ZF : 0);
    if (done && i->opcode & 4)
        x87_pop(c);
}
BODY1(fcomi, op_fcomi);

/* Loads. */
static void push_fp(X86Cpu *c, const X86Insn *i, Fp v)
{
    FpStatus st = x87_status(c);

    x87_note(c, i);
    if (!x87_empty(c, 7)) {
        x87_push(c, x87_indefinite());
        return;
    }
    st.prec = 64;               /* loads are never rounded by the precision control */
    v = fp_convert(&st, &fp_x80, v);
    if (finish(c, &st, FPX_I))   /* an unmasked denormal is loaded all the same */
        x87_push(c, fp_to_x80(v));
}
static void op_fld_m32(X86Cpu *c, const X86Insn *i) { push_fp(c, i, load_f32(c, i)); }
static void op_fld_m64(X86Cpu *c, const X86Insn *i) { push_fp(c, i, load_f64(c, i)); }
static void op_fld_m80(X86Cpu *c, const X86Insn *i)
{
    uint8_t b[10];

    x87_wait(c);
    vec_load(c, i, b, 10, 0);
    x87_note(c, i);
    x87_push(c, (X86Fp80) { .mant = ld64_le(b), .se = ld16_le(b + 8) });
}
static void push_int(X86Cpu *c, const X86Insn *i, Fp v)
{
    x87_note(c, i);
    x87_push(c, fp_to_x80(v));
}
static void op_fild_i16(X86Cpu *c, const X86Insn *i) { push_int(c, i, load_i16(c, i)); }
static void op_fild_i32(X86Cpu *c, const X86Insn *i) { push_int(c, i, load_i32(c, i)); }
static void op_fild_i64(X86Cpu *c, const X86Insn *i) { push_int(c, i, load_i64(c, i)); }
static void op_fld_sti(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, i->rm)) {
        if (x87_stack_fault(c, false)) {
            c->x87.top = (c->x87.top - 1) & 7;
            x87_put(c, 0, x87_indefinite());
        }
    } else {
        x87_push(c, *x87_st(c, i->rm));
    }
}
BODY1(fld_m32, op_fld_m32);
BODY1(fld_m64, op_fld_m64);
BODY1(fld_m80, op_fld_m80);
BODY1(fild_i16, op_fild_i16);
BODY1(fild_i32, op_fild_i32);
BODY1(fild_i64, op_fild_i64);
BODY1(fld_sti, op_fld_sti);

/* FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ: 67 bits of each, rounded by RC. */
static void op_fldconst(X86Cpu *c, const X86Insn *i)
{
    static const struct { int e; uint64_t m, x; } k[7] = {
        { 0, 0x8000000000000000ULL, 0 },
        { 1, 0xd49a784bcd1b8afeULL, 0x492bf6ff4dafdb4cULL },
        { 0, 0xb8aa3b295c17f0bbULL, 0xbe87fed0691d3e88ULL },
        { 1, 0xc90fdaa22168c234ULL, 0xc4c6628b80dc1cd1ULL },
        { -2, 0x9a209a84fbcff798ULL, 0x8f8959ac0b7c9178ULL },
        { -1, 0xb17217f7d1cf79abULL, 0xc9e3b39803f2f6afULL },
        { 0, 0, 0 },
    };
    FpStatus st = x87_status(c);
    unsigned n = i->rm & 7;
    Fp v = { .cls = FPC_ZERO };

    x87_wait(c);
    x87_note(c, i);
    st.prec = 64;
    if (k[n].m)
        v = fp_round_wide(&st, &fp_x80, false, k[n].e, k[n].m, k[n].x);
    x87_push(c, fp_to_x80(v));  /* no inexact exception */
}
BODY1(fldconst, op_fldconst);

/* Stores. */
static void op_fst_sti(X86Cpu *c, const X86Insn *i)
{
    X86Fp80 v = *x87_st(c, 0);

    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, false))
            return;
        v = x87_indefinite();
    } else {
        c->x87.sw &= ~SW_C1;
    }
    x87_put(c, i->rm, v);
    if ((i->reg & 1) || i->opcode == 0xdf)      /* /3: FSTP; DF /2 is another name of it */
        x87_pop(c);
}
BODY1(fst_sti, op_fst_sti);

/* D9 /3, undocumented: FSTP without stack underflow; an empty register is only popped. */
static void op_fstpnce(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    c->x87.sw &= ~SW_C1;
    if (!x87_empty(c, 0))
        x87_put(c, i->rm, *x87_st(c, 0));
    x87_pop(c);
}
BODY1(fstpnce, op_fstpnce);

/* Rounds ST(0) for a store in format f. False: nothing may be stored. */
static bool store_value(X86Cpu *c, const FpFormat *f, Fp *v)
{
    FpStatus st = x87_status(c);

    if (x87_empty(c, 0)) {
        *v = fp_default_nan();
        return x87_stack_fault(c, false);
    }
    *v = fp_from_x80(*x87_st(c, 0));
    v->den = false;             /* stores do not report denormal operands */
    *v = fp_convert(&st, f, *v);
    return x87_finish_store(c, &st);
}
/* Where a real of size bytes goes, checked before the value is touched; *v is what to store. False: nothing. */
static inline bool fst_begin(X86Cpu *c, const X86Insn *i, unsigned size, const FpFormat *f, uint64_t *va, Fp *v)
{
    x87_wait(c);
    *va = x86_ea(c, i, size, true);
    x86_probe_w(c, *va, size, c->data_bank);
    x87_note(c, i);
    return store_value(c, f, v);
}
static inline void fst_end(X86Cpu *c, const X86Insn *i)
{
    if (i->reg & 1)
        x87_pop(c);
}
static void op_fst_m32(X86Cpu *c, const X86Insn *i)
{
    uint64_t va;
    Fp v;

    if (!fst_begin(c, i, 4, &fp_f32, &va, &v))
        return;
    x86_st32(c, va, fp_to_f32(v));
    fst_end(c, i);
}
static void op_fst_m64(X86Cpu *c, const X86Insn *i)
{
    uint64_t va;
    Fp v;

    if (!fst_begin(c, i, 8, &fp_f64, &va, &v))
        return;
    x86_st64(c, va, fp_to_f64(v));
    fst_end(c, i);
}
static void op_fstp_m80(X86Cpu *c, const X86Insn *i)
{
    X86Fp80 v = *x87_st(c, 0);
    uint8_t b[10];
    uint64_t va;

    x87_wait(c);
    va = x86_ea(c, i, 10, true);
    x86_probe_w(c, va, 10, c->data_bank);
    x87_note(c, i);
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, false))
            return;
        v = x87_indefinite();
    } else {
        c->x87.sw &= ~SW_C1;
    }
    st64_le(b, v.mant);
    st16_le(b + 8, v.se);
    vec_store_at(c, va, b, 10);
    x87_pop(c);
}
BODY1(fst_m32, op_fst_m32);
BODY1(fst_m64, op_fst_m64);
BODY1(fstp_m80, op_fstp_m80);

/* FIST, FISTP, FISTTP. */
static void store_int(X86Cpu *c, const X86Insn *i, unsigned size, bool trunc, bool pop)
{
    FpStatus st = x87_status(c);
    uint64_t va, v;

    x87_wait(c);
    va = x86_ea(c, i, size, true);
    x86_probe_w(c, va, size, c->data_bank);
    x87_note(c, i);
    if (trunc)
        st.rm = RM_ZERO;
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, false))
            return;
        v = 1ULL << (8 * size - 1);
    } else {
        v = fp_to_int(&st, fp_from_x80(*x87_st(c, 0)), 8 * size);
        if (!x87_finish(c, &st))
            return;
    }
    x86_st(c, va, size, v);
    if (pop)
        x87_pop(c);
}
static void op_fist_i16(X86Cpu *c, const X86Insn *i) { store_int(c, i, 2, false, i->reg & 1); }
static void op_fist_i32(X86Cpu *c, const X86Insn *i) { store_int(c, i, 4, false, i->reg & 1); }
static void op_fistp_i64(X86Cpu *c, const X86Insn *i) { store_int(c, i, 8, false, true); }
static void op_fisttp_i16(X86Cpu *c, const X86Insn *i) { store_int(c, i, 2, true, true); }
static void op_fisttp_i32(X86Cpu *c, const X86Insn *i) { store_int(c, i, 4, true, true); }
static void op_fisttp_i64(X86Cpu *c, const X86Insn *i) { store_int(c, i, 8, true, true); }
BODY1(fist_i16, op_fist_i16);
BODY1(fist_i32, op_fist_i32);
BODY1(fistp_i64, op_fistp_i64);
BODY1(fisttp_i16, op_fisttp_i16);
BODY1(fisttp_i32, op_fisttp_i32);
BODY1(fisttp_i64, op_fisttp_i64);

/* Packed decimal: 18 digits and a sign byte. */
static void op_fbld(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = 0;
    uint8_t b[10];
    Fp a;
    int k;

    x87_wait(c);
    vec_load(c, i, b, 10, 0);
    x87_note(c, i);
    for (k = 8; k >= 0; k--)
        v = v * 100 + (b[k] >> 4) * 10 + (b[k] & 15);
    a = fp_from_i64(v);
    a.s = b[9] >> 7;
    x87_push(c, fp_to_x80(a));
}
static void op_fbstp(X86Cpu *c, const X86Insn *i)
{
    uint8_t b[10] = { 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff };     /* the indefinite */
    FpStatus st = x87_status(c);
    uint64_t va, m;
    int64_t v;
    Fp a;
    int k;

    x87_wait(c);
    va = x86_ea(c, i, 10, true);
    x86_probe_w(c, va, 10, c->data_bank);
    x87_note(c, i);
    if (x87_empty(c, 0)) {
        if (!x87_stack_fault(c, false))
            return;
    } else {
        a = fp_from_x80(*x87_st(c, 0));
        v = fp_to_int(&st, a, 64);
        m = v < 0 ? -(uint64_t)v : v;
        if (m > 999999999999999999ULL) {
            st.flags = FPX_I;
            st.up = false;
        }
        if (!x87_finish(c, &st))
            return;
        if (!(st.flags & FPX_I)) {
            for (k = 0; k < 9; k++, m /= 100)
                b[k] = m % 10 | (m / 10 % 10) << 4;
            b[9] = a.s ? 0x80 : 0;
        }
    }
    vec_store_at(c, va, b, 10);
    x87_pop(c);
}
BODY1(fbld, op_fbld);
BODY1(fbstp, op_fbstp);

/* Register moves. */
static void op_fxch(X86Cpu *c, const X86Insn *i)
{
    X86Fp80 a, b;

    x87_wait(c);
    x87_note(c, i);
    a = *x87_st(c, 0);
    b = *x87_st(c, i->rm);
    if (x87_empty(c, 0) || x87_empty(c, i->rm)) {
        if (!x87_stack_fault(c, false))
            return;
        if (x87_empty(c, 0))
            a = x87_indefinite();
        if (x87_empty(c, i->rm))
            b = x87_indefinite();
    } else {
        c->x87.sw &= ~SW_C1;
    }
    x87_put(c, i->rm, a);
    x87_put(c, 0, b);
}
BODY1(fxch, op_fxch);

/* FCMOVcc: DA B, E, BE, U; DB their negations. */
static void op_fcmov(X86Cpu *c, const X86Insn *i)
{
    static const uint8_t cc[4] = { 2, 4, 6, 10 };
    bool take = x86_cond(c, cc[i->reg & 3] | (i->opcode & 1));

    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0) || x87_empty(c, i->rm)) {
        if (x87_stack_fault(c, false))
            x87_put(c, 0, x87_indefinite());
        return;
    }
    if (take)
        x87_put(c, 0, *x87_st(c, i->rm));
}
BODY1(fcmov, op_fcmov);

static void op_fchs(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0)) {
        if (x87_stack_fault(c, false))
            x87_put(c, 0, x87_indefinite());
        return;
    }
    c->x87.sw &= ~SW_C1;
    if (i->rm & 1)              /* D9 E1: FABS */
        x87_st(c, 0)->se &= 0x7fff;
    else
        x87_st(c, 0)->se ^= 0x8000;
}
BODY1(fchs, op_fchs);

static void op_fxam(X86Cpu *c, const X86Insn *i)
{
    X86Fp80 v = *x87_st(c, 0);
    Fp a = fp_from_x80(v);
    uint16_t cc;

    x87_wait(c);
    x87_note(c, i);
    if (x87_empty(c, 0))
        cc = SW_C3 | SW_C0;
    else if (a.cls == FPC_BAD)
        cc = 0;
    else if (a.cls == FPC_QNAN || a.cls == FPC_SNAN)
        cc = SW_C0;
    else if (a.cls == FPC_INF)
        cc = SW_C2 | SW_C0;
    else if (a.cls == FPC_ZERO)
        cc = SW_C3;
    else
        cc = a.den ? SW_C3 | SW_C2 : SW_C2;
    c->x87.sw = (c->x87.sw & ~SW_CC) | cc | (v.se >> 15 ? SW_C1 : 0);
}
BODY1(fxam, op_fxam);

static void op_fnop(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
}
static void op_fdecstp(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    c->x87.sw &= ~SW_C1;
    c->x87.top = (c->x87.top + (i->rm & 1 ? 1 : 7)) & 7;     /* D9 F6, F7 */
}
static void op_ffree(X86Cpu *c, const X86Insn *i)
{
    x87_wait(c);
    x87_note(c, i);
    c->x87.sw &= ~SW_C1;
    c->x87.empty |= 1u << x87_phys(c, i->rm);
    if (i->opcode & 2)          /* DF: FFREEP */
        x87_pop(c);
}
BODY1(fnop, op_fnop);
BODY1(fdecstp, op_fdecstp);
BODY1(ffree, op_ffree);

/* WAIT: CR0.MP decides whether TS matters. */
static void op_fwait(X86Cpu *c, const X86Insn *i)
{
    if ((c->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
        x86_raise(c, EXC_NM);
    x87_wait(c);
}
BODY1(fwait, op_fwait);
