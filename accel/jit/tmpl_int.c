/* tmpl_int: LEA, absolute moves, hints and direction flag. */
#include "accel/jit/trans_int.h"

static bool emit_lea(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    Emit *e = &t->e;
    HMem m = { H_NONE, H_NONE, i->scale, false, i->disp };
    int d = tr_host(i->reg);
    unsigned r = d < 0 ? S0 : (unsigned)d;

    if (i->adsize == 2 || i->opsize == 2)
        return false;
    fl_writes(t, 1u << i->reg, x->live_out, S0);
    if (i->base == BASE_RIP) {
        e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
        m.base = S0;
        m.disp = x->next + i->disp;
    } else if (i->base != BASE_NONE) {
        m.base = tr_get(t, i->base, S0);
    }
    if (i->index != BASE_NONE)
        m.index = tr_get(t, i->index, S1);
    t->s1_group = m.index == S1 ? -1 : t->s1_group;
    if (m.base == H_NONE && m.index == H_NONE)
        e_mov_i(e, r, i->opsize == 8 && i->adsize == 8 ? (uint64_t)(int64_t)i->disp : (uint32_t)i->disp);
    else
        e_lea(e, i->opsize == 8 && i->adsize == 8, r, m);
    tr_put(t, i->reg, r);
    return true;
}

static bool emit_moffs(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    bool store = i->opcode >= 0xa2;
    Emit *e = &t->e;
    Enc y = { .flags = i->opsize == 8 ? ENC_W : i->opsize == 2 ? ENC_66 : 0, .reg = H_RAX };

    if (!mem_ok(t, i) || i->seg == S_FS || i->seg == S_GS)
        return false;
    e_mov_i(e, S0, i->adsize == 8 ? i->imm : (uint32_t)i->imm);
    mem_check(t, k, i->opsize, store);
    y.op = (store ? 0x88 : 0x8a) + (i->opsize > 1);
    y.rm = h_mem(m_bi(S1, S0, 0, 0));
    if (!store && t->rc.kind && (x->live_out || t->j->exact)) {      /* the flags may need r10 */
        e_lea(e, true, S1, m_bi(S1, S0, 0, 0));
        fl_writes(t, 1u << R_RAX, x->live_out, S0);
        y.rm = h_mem(m_base(S1, 0));
    } else if (!store) {
        fl_writes(t, 1u << R_RAX, 0, S0);
    }
    e_enc(e, &y);
    mem_slow_resume(t);
    return true;
}

static bool emit_direction(Tr *t, unsigned k, bool set)
{
    fl_clobber(t, t->t[k].live_in);
    e_alu_mi(&t->e, false, set ? 1 : 4, m_gs(GS_CPU(eflags)), set ? FL_DF : ~FL_DF);
    return true;
}

bool tmpl_int(Tr *t, unsigned k)
{
    const X86Insn *i = t->t[k].i;

    if (i->map == MAP_1) {
        if (i->opcode == 0x8d)
            return emit_lea(t, k);
        if (i->opcode >= 0xa0 && i->opcode <= 0xa3)
            return emit_moffs(t, k);
        if (i->opcode == 0xfc || i->opcode == 0xfd)
            return emit_direction(t, k, i->opcode == 0xfd);
        if (i->opcode == 0x90 && i->rm == 0 && !(i->flags & INSN_REP))
            return true;        /* NOP */
    }
    if (i->map == MAP_0F && (i->opcode == 0x0d || (i->opcode >= 0x18 && i->opcode <= 0x1f)) &&
        t->t[k].row->lim & LIM_NOSEGLIM)
        return true;            /* hints */
    return false;
}
