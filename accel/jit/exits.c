/*
 * exits: ways into blocks that are made when they are first needed.
 *
 * Most blocks are only reached by direct branches. A block that is entered through the branch cache gets
 * a way in that checks it is meant. A direct branch into another page, once taken, gets a thunk that
 * knows its target for one address, mode and address space, and else asks the branch cache; every
 * FAR_MISSES-th time that happens the branch is linked anew, so hot ones follow the program that runs.
 */
#include "accel/jit/jit_int.h"

#include <string.h>

enum { ROOM = 256 };

static bool begin(JitCpu *j, Emit *e)
{
    CodeCache *k = &j->cache;

    if (k->hot_size - k->used < ROOM)
        return false;
    *e = (Emit) { .p = k->rw + k->used, .end = k->rw + k->used + ROOM, .rx = (int64_t)k->rx - (int64_t)(uintptr_t)k->rw };
    return true;
}

static bool done(JitCpu *j, Emit *e)
{
    if (e->full)
        return false;
    j->cache.used = (e->p - j->cache.rw + 15) & ~(size_t)15;
    return true;
}

/* RCX is parked, r10 = vbase to be, off = where in the page: stores it and goes to entry unless the attention
   word is set. Returns the place of the last jump's rel32. */
static uint8_t *enter(JitCpu *j, Emit *e, unsigned off, uint64_t entry)
{
    HMem park = m_gs(GS_ENV(rcx_park));
    uint8_t *ok;

    e_st(e, true, m_gs(GS_ENV(vbase)), S0);
    e_ld(e, false, H_RCX, m_gs(GS_CPU(vcpu.attention)));
    ok = e_jcc8_fwd(e, 0xe3);
    e_ld(e, true, H_RCX, park);
    e_lea(e, true, S0, m_base(S0, off));
    e_jmp(e, j->stubs.exit_poll);
    e_bind8(e, ok);
    e_ld(e, true, H_RCX, park);
    return e_jmp(e, entry);
}

uint64_t jit_ientry(JitCpu *j, JitBlock *b)
{
    HMem park = m_gs(GS_ENV(rcx_park));
    unsigned off = (uintptr_t)b->key & (TLB_PAGE - 1);
    uint64_t at;
    uint8_t *ok;
    Emit e;

    if (b->ientry || !begin(j, &e))
        return b->ientry;
    at = e_rx(&e, e_here(&e));
    e_st(&e, true, park, H_RCX);
    e_ld(&e, true, H_RCX, (HMem) { H_NONE, S1, 3, true, GS_ENV(ibtc_tag) });
    e_lea(&e, true, H_RCX, m_bi(H_RCX, S0, 0, 0));
    e_ld(&e, true, S1, m_gs(GS_ENV(salt)));
    e_lea(&e, true, H_RCX, m_bi(H_RCX, S1, 0, 0));
    ok = e_jcc8_fwd(&e, 0xe3);
    e_ld(&e, true, H_RCX, park);
    e_jmp(&e, j->stubs.exit_miss);
    e_bind8(&e, ok);
    e_lea(&e, true, S0, m_base(S0, -(int32_t)off));
    enter(j, &e, off, b->entry);
    if (done(j, &e))
        b->ientry = at;
    return b->ientry;
}

/* A target that reads no flags lets the thunk look at the attention word by a compare. Only past the check: what
   the branch cache finds instead may read them. */
static uint8_t *thunk_hit(JitCpu *j, Emit *e, const JitExit *x, const JitBlock *to)
{
    bool code64 = x->from->mode & MODE_CS64;
    unsigned off = x->off & (TLB_PAGE - 1);
    uint8_t *ok;

    e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(e, code64, S0, m_base(S0, x->off - (int32_t)off));
    e_st(e, true, m_gs(GS_ENV(vbase)), S0);
    if (to->live_in) {
        e_ld(e, false, H_RCX, m_gs(GS_CPU(vcpu.attention)));
        ok = e_jcc8_fwd(e, 0xe3);
        e_mov(e, true, H_RCX, S1);
    } else {
        e_mov(e, true, H_RCX, S1);
        e_alu_mi(e, false, 7, m_gs(GS_CPU(vcpu.attention)), 0);
        ok = e_jcc8_fwd(e, 0x74);
    }
    e_lea(e, code64, S0, m_base(S0, off));
    e_jmp(e, to->live_in ? j->stubs.exit_poll : j->stubs.exit_poll_dead);
    e_bind8(e, ok);
    if (to->live_in)
        e_mov(e, true, H_RCX, S1);
    return e_jmp(e, to->entry);
}

/* Compares the block's vbase and the salt with what the thunk was made for, without flags; RCX waits in r11. */
static bool make_thunk(JitCpu *j, JitExit *x, JitBlock *to)
{
    uint8_t *lit, *hit, *jump;
    uint64_t at;
    Emit e;

    if (!begin(j, &e))
        return false;
    lit = e_here(&e);
    e64(&e, 0);
    at = e_rx(&e, e_here(&e));
    e_ld(&e, true, S0, m_gs(GS_ENV(vbase)));
    e_mov(&e, true, S1, H_RCX);
    e8(&e, 0x48);
    e8(&e, 0x8b);
    e8(&e, 0x0d);               /* mov rcx, [rip + lit] */
    e32(&e, (uint32_t)(lit - (e_here(&e) + 4)));
    e_lea(&e, true, H_RCX, m_bi(H_RCX, S0, 0, 0));
    e_ld(&e, true, S0, m_gs(GS_ENV(salt)));
    e_lea(&e, true, H_RCX, m_bi(H_RCX, S0, 0, 0));
    hit = e_jcc8_fwd(&e, 0xe3);
    e_mov(&e, true, H_RCX, S1);
    e_mov_i(&e, S1, (uint64_t)(uintptr_t)x);
    e_jmp(&e, x->from->mode & MODE_CS64 ? j->stubs.far_again : j->stubs.far_again32);
    e_bind8(&e, hit);
    jump = thunk_hit(j, &e, x, to);
    if (!done(j, &e))
        return false;
    x->lit = lit;
    x->jump = jump;
    x->thunk = at;
    x->thunk_flags = to->live_in;
    return true;
}

void jit_link_far(JitCpu *j, JitExit *x, JitBlock *to, uint64_t rip)
{
    uint64_t vbase = x->from->mode & MODE_CS64 ? rip - (int64_t)x->off : (uint32_t)(rip - (int64_t)x->off);
    uint64_t key = -(vbase + jit_env(j->c)->salt);

    if (x->from->dead || to->dead || ((x->off ^ (uintptr_t)to->key) & (TLB_PAGE - 1)))
        return;
    if ((!x->lit || (to->live_in && !x->thunk_flags)) && !make_thunk(j, x, to))
        return;
    memcpy(x->lit, &key, 8);
    jit_patch32(j, x->jump, to->entry);
    jit_relink(j, x, to);
    jit_patch32(j, x->patch, x->thunk);
}
