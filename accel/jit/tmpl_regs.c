/*
 * tmpl_regs: registers of the system that are read or written in place, and bit strings in memory.
 *
 * Segment selectors, control registers (read), FS and GS bases; BT, BTS, BTR, BTC whose bit number
 * is in a register and reaches beyond the operand (SDM vol. 2, 3.1.1.9, BitBase and BitOffset).
 */
#include "accel/jit/trans_int.h"

static bool is_get_seg(const X86Insn *i) { return i->map == MAP_1 && i->opcode == 0x8c; }
static bool is_get_cr(const X86Insn *i) { return i->map == MAP_0F && i->opcode == 0x20; }
static bool is_base(const TInsn *x)
{
    return x->i->map == MAP_0F && x->i->opcode == 0xae && X_KIND(x->row->ext) == X_KIND(X_R(0)) && (x->row->ext & 0xff) < 4 &&
           x->row->pfx == P_F3;
}

bool regs_keep_flags(const TInsn *x) { return is_get_seg(x->i) || is_get_cr(x->i) || is_base(x); }
bool regs_go_on(const Tr *t, const TInsn *x) { return is_base(x) && t->code64; }

/* r (any register) goes to guest register g whole. */
static void put(Tr *t, unsigned g, unsigned r)
{
    int h = tr_host(g);

    if (h >= 0)
        e_mov(&t->e, true, (unsigned)h, r);
    else
        e_st(&t->e, true, m_gs(GS_GPR(g)), r);
}

static bool get_seg(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    HMem sel = m_gs(GS_CPU(seg[0].sel) + (int32_t)sizeof(X86Seg) * i->reg);
    HMem m;

    if (i->reg > S_GS || (i->is_reg ? i->opsize == 2 : !mem_ok(t, i)))
        return false;
    if (i->is_reg) {
        fl_writes(t, 1u << i->rm, x->live_out, S0);
        e_enc(&t->e, &(Enc) { .map = 1, .op = 0xb7, .reg = S0, .rm = h_mem(sel) });
        put(t, i->rm, S0);
        return true;
    }
    m = mem_operand(t, k, 2, true);
    if (m.index == S0) {
        e_lea(&t->e, true, S1, m);
        t->s1_group = -1;
        m = m_base(S1, 0);
    }
    e_enc(&t->e, &(Enc) { .map = 1, .op = 0xb7, .reg = S0, .rm = h_mem(sel) });
    tr_mark(t, k);
    e_enc(&t->e, &(Enc) { .flags = ENC_66, .op = 0x89, .reg = S0, .rm = h_mem(m) });
    mem_slow_resume(t);
    return true;
}

static bool get_cr(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    const int32_t at[] = { GS_CPU(cr0), 0, GS_CPU(cr2), GS_CPU(cr3), GS_CPU(cr4) };

    if (t->mode & MODE_CPL || i->reg > 4 || i->reg == 1)
        return false;
    fl_writes(t, 1u << i->rm, x->live_out, S0);
    e_ld(&t->e, t->code64, S0, m_gs(at[i->reg]));
    put(t, i->rm, S0);
    return true;
}

static bool base(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    HMem m = m_gs((int32_t)offsetof(X86Cpu, seg[S_FS].base) + (i->reg & 1) * (int32_t)sizeof(X86Seg));
    bool w = i->opsize == 8;
    Emit *e = &t->e;
    unsigned r;

    fl_clobber(t, x->live_in);
    e_enc(e, &(Enc) { .op = 0xf7, .rm = h_mem(m_gs(GS_CPU(cr4))), .imm_len = 4, .imm = { 0, 0, CR4_FSGSBASE >> 16 } });   /* test */
    mem_add_slow(t, e_jcc_fwd(e, CC_E), k);
    if (i->reg < 2) {
        fl_writes(t, 1u << i->rm, x->live_out, S0);
        e_ld(e, w, S0, m);
        put(t, i->rm, S0);
    } else {
        r = tr_get(t, i->rm, S0);
        t->s1_group = -1;
        e_mov(e, w, S1, r);
        if (w) {
            e_shift_i(e, true, 4, S1, 16);
            e_shift_i(e, true, 7, S1, 16);
            e_rr(e, true, 0x3b, S1, r);
            mem_add_slow(t, e_jcc_fwd(e, CC_NE), k);
        }
        e_st(e, true, m, S1);
    }
    mem_slow_resume(t);
    return true;
}

/* The bit number is in guest register reg: r11 = bytes from the operand to the one that has it, a whole number of operands. */
static void add_bit_offset(Tr *t, const X86Insn *i)
{
    Emit *e = &t->e;
    bool w = i->opsize == 8;
    unsigned r = tr_get(t, i->reg, S1);

    if (w)
        e_mov(e, true, S1, r);
    else
        e_rr(e, true, 0x63, S1, r);             /* movsxd */
    e_shift_i(e, true, 7, S1, w ? 6 : 5);
    e_lea(e, true, S0, m_bi(S0, S1, w ? 3 : 2, 0));
    if (!t->code64)
        e_mov(e, false, S0, S0);
}

static bool bits(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    bool w = i->opsize == 8, write = i->opcode != 0xa3, zf = x->live_out & FL_ZF;
    HMem tmp = m_gs(GS_ENV(tmp));
    Emit *e = &t->e;
    unsigned r;

    if (i->is_reg || i->opsize == 2 || i->adsize != (t->code64 ? 8 : 4) || !mem_ok(t, i))
        return false;
    mem_ea(t, x, S0);
    fl_clobber(t, x->live_in);
    t->s1_group = -1;
    add_bit_offset(t, i);
    mem_check(t, k, i->opsize, write);
    e_lea(e, true, S1, m_bi(S1, S0, 0, 0));
    r = tr_get(t, i->reg, S0);
    if (!write) {
        e_ld(e, w, S1, m_base(S1, 0));
    } else {
        if (r != S0)
            e_mov(e, false, S0, r);
        e_alu_ri(e, false, 4, S0, i->opsize * 8 - 1);
        e_st(e, true, tmp, S0);
        r = S0;
    }
    if (zf || t->j->exact) {                    /* all but CF stay as they were */
        fl_host(t, S0);
        if (write)
            e_ld(e, true, S0, tmp);
        else
            r = tr_get(t, i->reg, S0);
    }
    tr_mark(t, k);
    e_enc(e, &(Enc) { .flags = (w ? ENC_W : 0) | (i->flags & INSN_LOCK ? ENC_LOCK : 0), .map = 1, .op = i->opcode, .reg = r,
                      .rm = write ? h_mem(m_base(S1, 0)) : h_reg(S1) });
    fl_after(t, x);
    mem_slow_resume(t);
    return true;
}

bool tmpl_regs(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;

    if (is_get_seg(i))
        return get_seg(t, k);
    if (is_get_cr(i))
        return get_cr(t, k);
    if (is_base(x))
        return t->code64 && base(t, k);
    if (is_bit_string(i))
        return bits(t, k);
    return false;
}
