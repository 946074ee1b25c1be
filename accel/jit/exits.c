/*
 * exits: ways into blocks that are made when they are first needed.
 *
 * Most blocks are only reached by direct branches. A block that is entered through the branch cache gets
 * a way in that checks it is meant; a direct branch into another page, once taken, gets a thunk. Both ask
 * one question: is the page at this address, in the address space in force, the one the block is on? One
 * word of env.code_tag per page answers it, so a program that starts, wherever its libraries
 * are mapped, makes each page known once and then uses all branches others have linked.
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

/* RCX is parked, r10 = vbase to be, off = where in the page: stores it and goes to entry; with poll, unless the
   attention word is set. Returns the place of the last jump's rel32. */
static uint8_t *enter(JitCpu *j, Emit *e, unsigned off, uint64_t entry, bool poll)
{
    HMem park = m_gs(GS_ENV(rcx_park));
    uint8_t *ok;

    e_st(e, true, m_gs(GS_ENV(vbase)), S0);
    if (poll) {
        e_ld(e, false, H_RCX, m_gs(GS_CPU(vcpu.attention)));
        ok = e_jcc8_fwd(e, 0xe3);
        e_ld(e, true, H_RCX, park);
        e_lea(e, true, S0, m_base(S0, off));
        e_jmp(e, j->stubs.exit_poll);
        e_bind8(e, ok);
    }
    e_ld(e, true, H_RCX, park);
    return e_jmp(e, entry);
}

/* r10 = address of a page: r11 = its place in env.code_tag. */
static void index_tag(JitCpu *j, Emit *e)
{
    if (j->has_bmi2) {
        e_rorx(e, true, S1, S0, 12);
        e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_reg(S1) });
    } else {
        e_st(e, true, m_gs(GS_ENV(tmp)), S0);
        e_enc(e, &(Enc) { .map = 1, .op = 0xb7, .reg = S1, .rm = h_mem(m_gs(GS_ENV(tmp) + 1)) });
    }
}

static int32_t tags_of(const JitBlock *b)
{
    return GS_ENV(code_tag) + ((b->mode & MODE_CPL) == 3 ? (int32_t)sizeof ((JitEnv *)0)->code_tag[0] : 0);
}

/* r10 = address of a page, RCX parked: RCX = 0 if that page, fetched from now, is the one b is on (returned: the
   place of the key). Keeps flags and r10. */
static uint8_t *check_page(JitCpu *j, Emit *e, const JitBlock *b)
{
    uint8_t *lit;

    index_tag(j, e);
    e_ld(e, true, H_RCX, (HMem) { H_NONE, S1, 3, true, tags_of(b) });
    e_lea(e, true, H_RCX, m_bi(H_RCX, S0, 0, 0));
    e8(e, 0x49);
    e8(e, 0xbb);                /* mov r11, imm64 */
    lit = e_here(e);
    e64(e, jit_entry_key(b));
    e_lea(e, true, H_RCX, m_bi(H_RCX, S1, 0, 0));
    e_ld(e, true, S1, m_gs(GS_ENV(salt)));
    e_lea(e, true, H_RCX, m_bi(H_RCX, S1, 0, 0));
    return lit;
}

/*
 * r10 = address of a page, flags at FH_CC: on to entry if that page, fetched from now, is the one of the key at *lit, else
 * to miss with r10 = RIP, r11 = arg. Returns the place of the jump to entry. With poll, not while the attention word is set.
 */
static uint8_t *enter_lazy(JitCpu *j, Emit *e, unsigned off, const JitBlock *b, bool poll, uint64_t miss, uint64_t arg,
                           uint8_t **lit)
{
    uint8_t *no, *due = NULL, *jump;

    e_st(e, true, m_gs(GS_ENV(vbase)), S0);
    index_tag(j, e);
    e_rm(e, true, 0x03, S0, (HMem) { H_NONE, S1, 3, true, tags_of(b) });
    e8(e, 0x49);
    e8(e, 0xbb);                /* mov r11, imm64 */
    *lit = e_here(e);
    e64(e, -jit_entry_key(b));
    e_rm(e, true, 0x03, S0, m_gs(GS_ENV(salt)));
    e_rr(e, true, 0x3b, S0, S1);
    no = e_jcc8_fwd(e, 0x75);
    if (poll) {
        e_alu_mi(e, false, 7, m_gs(GS_CPU(vcpu.attention)), 0);
        due = e_jcc8_fwd(e, 0x75);
    }
    jump = e_jmp(e, b->entry);
    e_bind8(e, no);
    e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(e, true, S0, m_base(S0, off));
    if (arg)
        e_mov_i(e, S1, arg);
    e_jmp(e, miss);
    if (due) {
        e_bind8(e, due);
        e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
        e_lea(e, true, S0, m_base(S0, off));
        e_jmp(e, j->stubs.exit_poll_cc);
    }
    return jump;
}

uint64_t jit_ientry(JitCpu *j, JitBlock *b)
{
    unsigned off = (uintptr_t)b->key & (TLB_PAGE - 1);
    uint8_t *lit;
    uint64_t at;
    Emit e;

    if (b->ientry || !begin(j, &e))
        return b->ientry;
    at = e_rx(&e, e_here(&e));
    e_lea(&e, true, S0, m_base(S0, -(int32_t)off));
    enter_lazy(j, &e, off, b, true, j->stubs.exit_miss, 0, &lit);
    if (done(j, &e))
        b->ientry = at;
    return b->ientry;
}

/* Forward branches need not look at the attention word: whatever loops also goes back. */
static bool make_thunk(JitCpu *j, JitExit *x, JitBlock *to)
{
    bool code64 = x->from->mode & MODE_CS64;
    unsigned off = x->off & (TLB_PAGE - 1);
    uint8_t *lit, *hit, *jump;
    uint64_t at;
    Emit e;

    if (!begin(j, &e))
        return false;
    at = e_rx(&e, e_here(&e));
    if (x->lazy) {
        e_ld(&e, true, S0, m_gs(GS_ENV(vbase)));
        e_lea(&e, code64, S0, m_base(S0, x->off - (int32_t)off));
        jump = enter_lazy(j, &e, off, to, !code64 || x->off < 0, j->stubs.far_again_cc, jit_id(j, x), &lit);
    } else {
        e_st(&e, true, m_gs(GS_ENV(rcx_park)), H_RCX);
        e_ld(&e, true, S0, m_gs(GS_ENV(vbase)));
        e_lea(&e, code64, S0, m_base(S0, x->off - (int32_t)off));
        lit = check_page(j, &e, to);
        hit = e_jcc8_fwd(&e, 0xe3);
        e_lea(&e, code64, S0, m_base(S0, off));
        e_mov_i(&e, S1, jit_id(j, x));
        e_jmp(&e, j->stubs.far_again);
        e_bind8(&e, hit);
        jump = enter(j, &e, off, to->entry, !code64 || x->off < 0);
    }
    if (!done(j, &e))
        return false;
    x->lit = lit - j->cache.rw;
    x->jump = jump - j->cache.rw;
    x->thunk = at - j->cache.rx;
    return true;
}

void jit_link_far(JitCpu *j, JitExit *x, JitBlock *to)
{
    uint64_t key = x->lazy ? -jit_entry_key(to) : jit_entry_key(to);

    if (x->from->dead || to->dead || !jit_fits(x, to) || ((x->off ^ (uintptr_t)to->key) & (TLB_PAGE - 1)))
        return;
    if (!x->thunk && !make_thunk(j, x, to))
        return;
    if (x->to == to)
        return;
    memcpy(j->cache.rw + x->lit, &key, 8);
    jit_patch32(j, j->cache.rw + x->jump, to->entry);
    jit_relink(j, x, to);
    jit_patch32(j, j->cache.rw + x->patch, j->cache.rx + x->thunk);
}
