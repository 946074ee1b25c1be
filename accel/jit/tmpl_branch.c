/*
 * tmpl_branch: jumps, calls, returns, and the ways from block to block.
 *
 * A branch inside the page is a rel32 that is patched to its target once both are translated; one
 * that goes backwards looks at the attention word first. Everything else goes through the branch
 * cache: a table by the low 16 bits of RIP; the target checks that it is meant (see ientry in
 * translate.c), so that flags can stay in the host's register on the way.
 */
#include "accel/jit/trans_int.h"

static unsigned word(const Tr *t) { return t->code64 ? 8 : 4; }

static ExitTmp *add_exit(Tr *t, ExitKind kind, uint8_t *at, int32_t toff)
{
    static ExitTmp spare;
    ExitTmp *x = t->n_exits < JIT_MAX_EXITS ? &t->exits[t->n_exits++] : &spare;

    if (x == &spare)
        t->e.full = true;
    *x = (ExitTmp) { .at = at, .toff = toff, .kind = kind };
    return x;
}

static bool in_page(int64_t toff) { return toff >= 0 && toff < 4096; }

static void poll(Tr *t, int32_t toff)
{
    Emit *e = &t->e;
    HMem att = m_gs(GS_CPU(vcpu.attention));
    bool dead = !fl_peek(t, toff) && !t->j->exact;

    if (dead || t->home == FH_CC) {
        ExitTmp *x;

        e_alu_mi(e, false, 7, att, 0);
        x = add_exit(t, X_POLL, e_jcc_fwd(e, CC_NE), toff);
        x->flags_dead = dead;
        x->lazy = !dead;
    } else {
        uint8_t *ok;

        e_mov(e, true, S0, H_RCX);
        e_ld(e, false, H_RCX, att);
        ok = e_jcc8_fwd(e, 0xe3);       /* jrcxz */
        e_mov(e, true, H_RCX, S0);
        add_exit(t, X_POLL, e_jmp_fwd(e), toff);
        e_bind8(e, ok);
        e_mov(e, true, H_RCX, S0);
    }
}

void tr_exit_indirect(Tr *t)
{
    Emit *e = &t->e;

    fl_lazy(t, S1);
    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S0) });     /* movzx r11d, r10w */
    e_jmp_m(e, (HMem) { H_NONE, S1, 3, true, GS_ENV(ibtc_host) });
}

void tr_exit_far(Tr *t, int32_t toff)
{
    e_ld(&t->e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(&t->e, t->code64, S0, m_base(S0, toff));
    tr_exit_indirect(t);
}

/* Back to the start of the block's loop, wherever from? */
static bool closes(const Tr *t, int64_t toff) { return t->loop_top && toff == t->t[0].off; }

/* The block's own loop; the attention word was looked at. */
static bool round_again(Tr *t, int64_t toff)
{
    if (!closes(t, toff))
        return false;
    e_jmp(&t->e, e_rx(&t->e, t->loop_top));
    return true;
}

void tr_exit(Tr *t, int32_t toff, int32_t from)
{
    bool dead;

    if (!in_page(toff)) {
        fl_lazy(t, S1);
        if (from > TLB_PAGE)    /* an event may be due: the branch cache's way in looks */
            tr_exit_far(t, toff);
        else
            add_exit(t, X_FAR, e_jmp_fwd(&t->e), toff)->lazy = true;
        return;
    }
    dead = !fl_peek(t, toff) && !t->j->exact;
    if (!dead && t->home != FH_CC)
        fl_host(t, S1);
    if (toff < from || closes(t, toff))
        poll(t, toff);
    if (!round_again(t, toff)) {
        ExitTmp *x = add_exit(t, X_CHAIN, e_jmp_fwd(&t->e), toff);

        x->flags_dead = dead;
        x->lazy = !dead && t->home == FH_CC;
    }
}

/* The taken side of a conditional branch whose code follows; flags are in place. */
static void taken(Tr *t, int64_t toff)
{
    poll(t, toff);
    if (!round_again(t, toff))
        add_exit(t, X_CHAIN, e_jmp_fwd(&t->e), toff)->flags_dead = !fl_peek(t, toff) && !t->j->exact;
}

static bool jcc(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    Emit *e = &t->e;
    int64_t toff = (int64_t)x->next + (int64_t)x->i->imm;
    unsigned cc = x->i->opcode & 15;

    fl_host(t, S0);
    if (x->follow) {            /* the trace's way is the taken one */
        add_exit(t, in_page(x->next) ? X_CHAIN : X_FAR, e_jcc_fwd(e, cc ^ 1), x->next);
        return true;
    }
    if (in_page(toff) && (toff < x->next || closes(t, toff))) {
        uint8_t *skip = e_jcc_fwd(e, cc ^ 1);

        taken(t, toff);
        e_bind(e, skip);
    } else {
        add_exit(t, in_page(toff) ? X_CHAIN : X_FAR, e_jcc_fwd(e, cc), toff);
    }
    return true;
}

/* LOOP and JRCXZ: conditions on rCX alone. */
static bool loop(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    Emit *e = &t->e;
    int64_t toff = (int64_t)x->next + (int64_t)x->i->imm;
    bool is_loop = x->i->opcode == 0xe2;
    uint8_t *zero, *over;

    if (x->i->adsize == 2 || (t->code64 && x->i->adsize != 8))
        return false;
    fl_host(t, S0);
    if (is_loop) {
        fl_writes(t, 1u << R_RCX, x->live_out, S0);
        e_lea(e, t->code64, H_RCX, m_base(H_RCX, -1));
    }
    zero = e_jcc8_fwd(e, 0xe3);
    if (!is_loop) {
        over = e_jmp_fwd(e);
        e_bind8(e, zero);
    }
    if (in_page(toff) && toff < x->next)
        taken(t, toff);
    else
        add_exit(t, in_page(toff) ? X_CHAIN : X_FAR, e_jmp_fwd(e), toff);
    if (is_loop)
        e_bind8(e, zero);
    else
        e_bind(e, over);
    return true;
}

/* Pushes the address of the next instruction. A slow path does the whole call. */
static void push_return(Tr *t, unsigned k)
{
    int32_t w = word(t);
    Emit *e = &t->e;
    HMem m = mem_stack_operand(t, k, -w, w);

    e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(e, t->code64, S0, m_base(S0, t->t[k].next));
    e_st(e, t->code64, m, S0);
    fl_rsp_moves(t, -w, FL_ALL, S1);
    e_lea(e, t->code64, HSP, m_base(HSP, -w));
}

/*
 * Calls are paired with host calls so that the host predicts returns: {guest return address,
 * host return address} go on generated code's stack; a RET to that address is a host RET. Way out
 * to C empties the stack, so a pair never outlives the address space, mode or blocks it was made in.
 * r10 = guest return address; flags stay.
 */
static void push_pair(Tr *t)
{
    e8(&t->e, 0x41);
    e8(&t->e, 0x52);                    /* push r10 */
}

/* Where the host's RET comes back, r10 = RIP: on to the next instruction's block. */
static void continuation(Tr *t, unsigned k)
{
    Emit *e = &t->e;
    int32_t next = t->t[k].next;

    e8(e, 0x41);
    e8(e, 0x5a);                        /* pop r10: the same address, known earlier */
    if (!in_page(next)) {
        tr_exit_indirect(t);
        return;
    }
    e_lea(e, true, S0, m_base(S0, -next));
    e_st(e, true, m_gs(GS_ENV(vbase)), S0);
    add_exit(t, X_CHAIN, e_jmp_fwd(e), next)->lazy = true;
}

static void call_cached(Tr *t)
{
    Emit *e = &t->e;

    e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S0) });
    e_rm(e, false, 0xff, 2, (HMem) { H_NONE, S1, 3, true, GS_ENV(ibtc_host) });
}

static void call_direct(Tr *t, unsigned k, int32_t toff)
{
    Emit *e = &t->e;
    bool dead = !fl_peek(t, toff) && !t->j->exact;
    ExitTmp *x;

    push_return(t, k);
    if (t->t[k].follow)         /* its return is in the trace, too: no pair */
        return;
    push_pair(t);
    if (!in_page(toff) || !dead)
        fl_lazy(t, S1);
    if (in_page(toff) && toff < t->t[k].next)
        poll(t, toff);
    e8(e, 0xe8);
    x = add_exit(t, in_page(toff) ? X_CHAIN : X_FAR, e_here(e), toff);
    x->flags_dead = in_page(toff) && dead;
    x->lazy = !x->flags_dead;
    e32(e, 0);
    t->home = FH_CC;
    continuation(t, k);
    t->ended = true;
}

static bool call_indirect(Tr *t, unsigned k, bool call)
{
    const X86Insn *i = t->t[k].i;
    Emit *e = &t->e;
    HMem park = m_gs(GS_ENV(tmp));
    unsigned r = S0;

    if (i->is_reg) {
        if (i->rm == R_RSP && call)
            return false;
        if (!call)
            r = tr_get(t, i->rm, S0);
    } else {
        if (!mem_ok(t, i))
            return false;
        e_ld(e, t->code64, S0, mem_operand(t, k, word(t), false));
        if (call)
            e_st(e, true, park, S0);
    }
    if (call) {
        push_return(t, k);
        push_pair(t);
        if (i->is_reg)
            r = tr_get(t, i->rm, S0);
        else
            e_ld(e, true, S0, park);
    }
    if (r != S0)
        e_mov(e, t->code64, S0, r);
    fl_lazy(t, S1);
    if (call) {
        call_cached(t);
        continuation(t, k);
    } else {
        tr_exit_indirect(t);
    }
    t->ended = true;
    return true;
}

/* Is the return address, r10, the one of the innermost pair? Then the host's RET goes there. */
static void paired_ret(Tr *t)
{
    Emit *e = &t->e;
    uint8_t *miss;

    fl_lazy(t, S1);
    e_rm(e, true, 0x3b, S0, m_base(H_RSP, 8));
    miss = e_jcc8_fwd(e, 0x75);
    e8(e, 0xc3);
    e_bind8(e, miss);
    tr_exit_indirect(t);
}

/* The return of a call that is in the same trace: r10 = where to; it goes on if that is the call's end. */
static void followed_ret(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    Emit *e = &t->e;
    uint8_t *same;

    fl_lazy(t, S1);
    e_ld(e, true, S1, m_gs(GS_ENV(vbase)));
    t->s1_group = -1;
    e_lea(e, true, S1, m_base(S1, t->t[x->call].next));
    e_rr(e, true, 0x3b, S0, S1);
    same = e_jcc_fwd(e, CC_E);
    tr_exit_indirect(t);
    e_bind(e, same);
}

static bool ret(Tr *t, unsigned k)
{
    const X86Insn *i = t->t[k].i;
    int32_t w = word(t), by = w + (i->opcode == 0xc2 ? (uint16_t)i->imm : 0);
    Emit *e = &t->e;

    e_ld(e, t->code64, S0, mem_stack_operand(t, k, 0, w));
    fl_rsp_moves(t, by, FL_ALL, S1);
    e_lea(e, t->code64, HSP, m_base(HSP, by));
    if (t->t[k].follow) {
        followed_ret(t, k);
        return true;
    }
    paired_ret(t);
    t->ended = true;
    return true;
}

bool tmpl_branch(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    int64_t toff = (int64_t)x->next + (int64_t)i->imm;
    bool stack_ok = t->code64 || t->mode & MODE_SS32;

    if (i->opsize != word(t) || toff != (int32_t)toff)
        return false;
    if ((i->map == MAP_1 && (i->opcode & 0xf0) == 0x70) || (i->map == MAP_0F && (i->opcode & 0xf0) == 0x80))
        return jcc(t, k);
    if (i->map != MAP_1)
        return false;
    switch (i->opcode) {
    case 0xe2: case 0xe3:
        return loop(t, k);
    case 0xe8:
        if (!stack_ok)
            return false;
        call_direct(t, k, toff);
        return true;
    case 0xe9: case 0xeb:
        if (x->follow)
            return true;
        tr_exit(t, toff, x->next);
        t->ended = true;
        return true;
    case 0xc2: case 0xc3:
        return stack_ok && ret(t, k);
    case 0xff:
        if (i->reg == 2)
            return stack_ok && call_indirect(t, k, true);
        return i->reg == 4 && call_indirect(t, k, false);
    }
    return false;
}
