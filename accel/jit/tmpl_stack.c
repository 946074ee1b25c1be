/* tmpl_stack: PUSH, POP, LEAVE through the stack page cache. */
#include "accel/jit/trans_int.h"

static unsigned word(const Tr *t) { return t->code64 ? 8 : 4; }

static void move_sp(Tr *t, int32_t by, uint16_t live_out)
{
    fl_rsp_moves(t, by, live_out, S0);
    e_lea(&t->e, t->code64, HSP, m_base(HSP, by));
}

static void push_reg(Tr *t, unsigned k, unsigned g)
{
    const TInsn *x = &t->t[k];
    int32_t w = word(t);

    HMem m = mem_stack_operand(t, k, -w, w);
    unsigned r = tr_get(t, g, S0);

    e_st(&t->e, t->code64, m, r);
    move_sp(t, -w, x->live_out);
    mem_slow_resume(t);
}

static void push_imm(Tr *t, unsigned k, int32_t imm)
{
    int32_t w = word(t);

    e_st_i(&t->e, t->code64, mem_stack_operand(t, k, -w, w), imm);
    move_sp(t, -w, t->t[k].live_out);
    mem_slow_resume(t);
}

static void pop_reg(Tr *t, unsigned k, unsigned g)
{
    const TInsn *x = &t->t[k];
    int32_t w = word(t);
    int h = tr_host(g);
    HMem m = mem_stack_operand(t, k, 0, w);

    fl_writes(t, 1u << g, x->live_out, S0);
    if (g == R_RSP) {
        e_ld(&t->e, t->code64, HSP, m);
    } else {
        e_ld(&t->e, t->code64, h < 0 ? S0 : (unsigned)h, m);
        tr_put(t, g, S0);
        move_sp(t, w, x->live_out);
    }
    mem_slow_resume(t);
}

static void push_mem(Tr *t, unsigned k)
{
    int32_t w = word(t);
    HMem m = mem_operand(t, k, w, false);

    e_ld(&t->e, t->code64, S0, m);
    e_st(&t->e, true, m_gs(GS_ENV(tmp)), S0);
    m = mem_stack_operand(t, k, -w, w);
    e_ld(&t->e, true, S0, m_gs(GS_ENV(tmp)));
    e_st(&t->e, t->code64, m, S0);
    move_sp(t, -w, t->t[k].live_out);
    mem_slow_resume(t);
}

static void leave(Tr *t, unsigned k)
{
    int32_t w = word(t);

    mem_stack(t, k, H_RBP, 0, w);
    fl_writes(t, 1u << R_RSP | 1u << R_RBP, t->t[k].live_out, S0);
    e_ld(&t->e, t->code64, S0, m_bi(H_RBP, S1, 0, 0));
    e_lea(&t->e, t->code64, HSP, m_base(H_RBP, w));
    e_mov(&t->e, t->code64, H_RBP, S0);
    mem_slow_resume(t);
}

bool tmpl_stack(Tr *t, unsigned k)
{
    const X86Insn *i = t->t[k].i;

    if (i->map != MAP_1 || i->opsize != word(t) || (!t->code64 && !(t->mode & MODE_SS32)))
        return false;
    if (i->opcode >= 0x50 && i->opcode < 0x58) {
        push_reg(t, k, i->rm);
    } else if (i->opcode >= 0x58 && i->opcode < 0x60) {
        pop_reg(t, k, i->rm);
    } else if (i->opcode == 0x68 || i->opcode == 0x6a) {
        push_imm(t, k, i->imm);
    } else if (i->opcode == 0xc9) {
        leave(t, k);
    } else if (i->opcode == 0xff && i->reg == 6) {
        if (i->is_reg)
            push_reg(t, k, i->rm);
        else if (mem_ok(t, i))
            push_mem(t, k);
        else
            return false;
    } else {
        return false;
    }
    return true;
}
