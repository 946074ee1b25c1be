/*
 * mem: emission of guest memory accesses through the inline software TLB.
 *
 * The sequence leaves the page offset in r10 and the host page in r11, so the access itself is
 * [r11+r10]. A miss, a page crossing and anything unusual go out of line to the C body of the
 * whole instruction. Stack accesses ask a one-page cache first.
 */
#include "accel/jit/trans_int.h"

enum { TAG_MASK = (TLB_ENTRIES - 1) * sizeof(TlbEntry) };

unsigned tr_get(Tr *t, unsigned g, unsigned s)
{
    int h = tr_host(g);

    if (h >= 0)
        return h;
    e_ld(&t->e, true, s, m_gs(GS_GPR(g)));
    return s;
}

void tr_put(Tr *t, unsigned g, unsigned s)
{
    if (tr_host(g) < 0)
        e_st(&t->e, true, m_gs(GS_GPR(g)), s);
}

bool mem_ok(const Tr *t, const X86Insn *i)
{
    if (i->adsize == 2)
        return false;
    if (!t->code64 && (i->seg == S_FS || i->seg == S_GS || i->seg == S_CS))
        return false;
    return true;
}

void mem_address(Tr *t, unsigned base, unsigned index, unsigned scale, int32_t disp, bool w, unsigned s)
{
    Emit *e = &t->e;
    HMem m = { H_NONE, H_NONE, scale, false, disp };

    if (base == BASE_RIP) {
        e_ld(e, true, s, m_gs(GS_ENV(vbase)));
        m.base = s;
    } else if (base != BASE_NONE) {
        m.base = tr_get(t, base, s);
    }
    if (index != BASE_NONE)
        m.index = tr_get(t, index, m.base == s ? S1 : s);
    t->s1_group = m.index == S1 ? -1 : t->s1_group;
    if (m.base == H_NONE && m.index == H_NONE)
        e_mov_i(e, s, w ? (uint64_t)(int64_t)disp : (uint32_t)disp);
    else if (m.index == H_NONE && !m.disp && m.base == s && w)
        return;
    else if (m.index == H_NONE && !m.disp)
        e_mov(e, w, s, m.base);
    else
        e_lea(e, w, s, m);
}

void mem_ea(Tr *t, const TInsn *x, unsigned s)
{
    const X86Insn *i = x->i;

    mem_address(t, i->base, i->index, i->scale, i->base == BASE_RIP ? x->next + i->disp : i->disp, i->adsize == 8, s);
    if (i->seg == S_FS || i->seg == S_GS) {
        fl_clobber(t, x->live_in);
        e_rm(&t->e, true, 0x03, s, m_gs((int32_t)offsetof(X86Cpu, seg[i->seg].base)));
    }
}

static Slow *add_slow(Tr *t, uint8_t *at, unsigned k)
{
    static Slow spare;
    Slow *s = t->n_slow < MAX_SLOW ? &t->slow[t->n_slow++] : &spare;

    if (s == &spare)
        t->e.full = true;
    *s = (Slow) { .at = at, .k = k, .home = t->home, .rc = t->rc };
    return s;
}

void mem_add_slow(Tr *t, uint8_t *jcc, unsigned k) { add_slow(t, jcc, k); }

void mem_lookup(Tr *t, bool write)
{
    Emit *e = &t->e;
    int32_t tlb = (int32_t)(offsetof(X86Cpu, tlb) + t->bank * sizeof(TlbEntry) * TLB_ENTRIES);

    if (t->j->has_bmi2) {
        e_rorx(e, false, S1, S0, 7);
    } else {
        e_mov(e, false, S1, S0);
        e_shift_i(e, false, 5, S1, 7);
    }
    e_alu_ri(e, false, 4, S1, TAG_MASK);
    e_rm(e, true, 0x33, S0, m_gsb(S1, tlb + (write ? offsetof(TlbEntry, tag_w) : offsetof(TlbEntry, tag_r))));
    e_ld(e, true, S1, m_gsb(S1, tlb + offsetof(TlbEntry, host_page)));
    t->s1_group = -1;
}

bool mem_is_const(const Tr *t, unsigned base, unsigned index, int32_t disp, unsigned size)
{
    return index == BASE_NONE && (base == BASE_NONE || base == BASE_RIP) && (disp & (TLB_PAGE - 1)) + size <= TLB_PAGE &&
           (base == BASE_NONE || t->code64);
}

uint8_t *mem_const(Tr *t, unsigned base, int32_t disp, bool write)
{
    Emit *e = &t->e;
    int32_t page = disp & -TLB_PAGE;
    uint64_t abs = base == BASE_RIP ? (t->c->rip & -(uint64_t)TLB_PAGE) + page :
                   t->code64 ? (uint64_t)(int64_t)page : (uint32_t)page;
    int32_t slot = (int32_t)(offsetof(X86Cpu, tlb) + t->bank * sizeof(TlbEntry) * TLB_ENTRIES + (abs >> 7 & TAG_MASK));
    HMem tag = m_gs(slot + (write ? offsetof(TlbEntry, tag_w) : offsetof(TlbEntry, tag_r)));
    uint8_t *miss;

    if (base == BASE_RIP) {
        e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
        e_lea(e, true, S0, m_base(S0, page));
    } else {
        e_mov_i(e, S0, abs);
    }
    e_rm(e, true, 0x3b, S0, tag);
    miss = e_jcc_fwd(e, CC_NE);
    e_ld(e, true, S1, m_gs(slot + (int32_t)offsetof(TlbEntry, host_page)));
    t->s1_group = -1;
    return miss;
}

void mem_const_again(Tr *t, bool write, uint8_t *found)
{
    mem_lookup(t, write);
    e_rr(&t->e, true, 0x85, S0, S0);
    e_jcc(&t->e, CC_E, e_rx(&t->e, found));
}

int mem_get_reach(Tr *t, unsigned k, unsigned size)
{
    return t->loops && t->trace && t->bank < TLB_N && size <= 512 ? jit_trace_reach(t->j, t->trace, k) : -1;
}

void mem_reach(Tr *t, unsigned slot, bool write, unsigned size, int slow, int exit)
{
    static ReachTmp spare;
    ReachTmp *r = t->n_reach < MAX_SLOW ? &t->reach[t->n_reach++] : &spare;
    int32_t at = GS_ENV(reach) + (int32_t)(slot * sizeof(Reach));
    Emit *e = &t->e;

    if (r == &spare)
        e->full = true;
    e_mov(e, true, S1, S0);
    e_rm(e, true, 0x2b, S1, m_gs(at + (int32_t)offsetof(Reach, lo)));
    e_rm(e, true, 0x3b, S1, m_gs(at + (int32_t)offsetof(Reach, len) + (size > 16 ? 8 : 0)));
    *r = (ReachTmp) { .at = e_jcc_fwd(e, CC_A), .slot = slot, .size = size, .slow = slow, .exit = exit, .write = write };
    e_ld(e, true, S1, m_gs(at + (int32_t)offsetof(Reach, delta)));
    r->back = e_here(e);
    t->s1_group = -1;
}

void mem_check(Tr *t, unsigned k, unsigned size, bool write)
{
    int reach = mem_get_reach(t, k, size);

    fl_clobber(t, t->t[k].live_in);
    if (reach >= 0) {
        add_slow(t, NULL, k);
        mem_reach(t, reach, write, size, t->n_slow - 1, -1);
        return;
    }
    mem_lookup(t, write);
    e_alu_ri(&t->e, true, 7, S0, TLB_PAGE - size);
    add_slow(t, e_jcc_fwd(&t->e, CC_A), k);
}

/* [rSP + disp] with a full-width address. */
static bool on_stack(const Tr *t, const X86Insn *i)
{
    return i->base == R_RSP && i->index == BASE_NONE && i->adsize == (t->code64 ? 8 : 4) && i->seg != S_FS && i->seg != S_GS;
}

HMem mem_operand(Tr *t, unsigned k, unsigned size, bool write)
{
    const X86Insn *i = t->t[k].i;
    int32_t disp;

    if (t->t[k].mem.group >= 0)
        return group_operand(t, &t->t[k].mem);
    if (on_stack(t, i)) {
        mem_stack(t, k, HSP, i->disp, size);
        return m_bi(HSP, S1, 0, i->disp);
    }
    disp = i->base == BASE_RIP ? t->t[k].next + i->disp : i->disp;
    if (i->adsize == (t->code64 ? 8 : 4) && i->seg != S_FS && i->seg != S_GS &&
        mem_is_const(t, i->base, i->index, disp, size)) {
        Slow *s;

        fl_clobber(t, t->t[k].live_in);
        s = add_slow(t, mem_const(t, i->base, disp, write), k);
        if (i->base == BASE_RIP)
            s->found = e_here(&t->e);
        s->write = write;
        return m_base(S1, disp & (TLB_PAGE - 1));
    }
    mem_ea(t, &t->t[k], S0);
    mem_check(t, k, size, write);
    return m_bi(S1, S0, 0, 0);
}

void mem_stack(Tr *t, unsigned k, unsigned base, int32_t disp, unsigned size)
{
    Emit *e = &t->e;
    uint8_t *again;
    Slow *s;

    fl_clobber(t, t->t[k].live_in);
    again = e_here(e);
    e_lea(e, true, S0, m_base(base, disp));
    e_rm(e, true, 0x33, S0, m_gs(GS_ENV(stk_page) + 8 * t->bank));
    e_alu_ri(e, true, 7, S0, TLB_PAGE - size);
    s = add_slow(t, e_jcc_fwd(e, CC_A), k);
    s->retry = again;
    s->disp = disp;
    s->base = base;
    s->size = size;
    e_ld(e, true, S1, m_gs(GS_ENV(stk_delta) + 8 * t->bank));
    t->s1_group = -1;
    tr_mark(t, k);              /* an empty cache lets one non-canonical page pass, and that faults */
}

HMem mem_stack_operand(Tr *t, unsigned k, int32_t disp, unsigned size)
{
    if (t->t[k].stk.group >= 0) {
        tr_mark(t, k);
        return group_operand(t, &t->t[k].stk);
    }
    mem_stack(t, k, HSP, disp, size);
    return m_bi(HSP, S1, 0, disp);
}

void mem_slow_resume(Tr *t)
{
    for (int n = t->n_slow - 1; n >= 0 && !t->slow[n].resume && t->slow[n].k == t->slow[t->n_slow - 1].k; n--)
        t->slow[n].resume = e_here(&t->e), t->slow[n].to_cc = t->home == FH_CC && t->slow[n].home != FH_CC;
}
