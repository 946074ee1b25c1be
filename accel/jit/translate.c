/*
 * translate: from guest bytes to a block of host code.
 *
 * Decode forward until the path ends (conditional branches are passed on their not-taken side),
 * one backward pass for live flags, one pass of emission, then what belongs out of line. The code
 * holds no guest addresses: RIP is vbase plus an offset, so all mappings of a page share blocks.
 */
#include "accel/jit/check.h"
#include "accel/jit/trans_int.h"

#include <inttypes.h>
#include <string.h>

enum { MAX_CODE = 32768, ARENA_ROOM = 65536 };

static void mark_start(Tr *t, unsigned k, uint8_t *at)
{
    t->marks[k].host = at - t->start;
    t->marks[k].off = t->t[k].off;
    t->marks[k].home = FH_HOST;
}

void tr_mark(Tr *t, unsigned k)
{
    t->marks[k].home = t->home;
    if (t->home == FH_RECIPE) {
        t->marks[k].recipe = t->n_recipes;
        t->recipes[t->n_recipes++] = t->rc;
    }
}

static bool wants_vec(const X86Row *r) { return r->emit == EMIT_COPY && r->cls & (CL_SSE | CL_AVX); }
static bool wants_fpu(const X86Row *r) { return r->emit == EMIT_COPY && r->cls & (CL_X87 | CL_MMX); }

/* Kernels touch x87 only to save and clear it: not worth loading the state. */
static bool kernel_mode(const Tr *t) { return t->mode & MODE_LMA && !(t->mode & MODE_CPL); }

static void add_insn(Tr *t, X86Insn *i, const uint8_t *raw, int32_t off)
{
    TInsn *x = &t->t[t->n++];

    *x = (TInsn) { .i = i, .row = x86_row(i), .raw = raw, .off = off, .next = off + i->len, .call = -1 };
    fl_effects(x);
    if (wants_fpu(x->row)) {
        if (!kernel_mode(t))
            t->uses = USES_FPU;
    }
    if (wants_vec(x->row) && !t->uses)
        t->uses = USES_VEC;
}

/* Collects the block's instructions; 0 if not even one lies inside the page. */
static unsigned decode_block(Tr *t, X86Insn *insns, unsigned off)
{
    unsigned conds = 0;
    uint16_t undefined = 0;
    bool last = false, alone = false;

    while (t->n < JIT_BLOCK_INSNS && off < 4096) {
        X86Insn *i = &insns[t->n];

        if (x86_decode(t->page + off, 4096 - off, t->mode, t->c->model, i) == DECODE_MORE)
            break;
        if (t->j->check) {      /* instructions that cannot be checked, or that read undefined flags, come first */
            alone = jit_check_alone(i);
            if (t->n && (alone || x86_row(i)->rd & undefined) && !last)
                break;
            undefined = jit_check_undefined(i, undefined);
        }
        add_insn(t, i, t->page + off, off);
        off += i->len;
        if (last || alone)
            break;
        if (i->row == X86_ROW_UD || i->row == X86_ROW_NM ||
            (t->t[t->n - 1].row->cls & CL_STOP && !system_goes_on(t, &t->t[t->n - 1])))
            break;
        last = i->map == MAP_1 && i->opcode == 0xfb;    /* STI: one more */
        if (t->t[t->n - 1].row->cls & CL_BR &&
            (!(t->t[t->n - 1].row->cls & CL_COND) || ++conds >= JIT_MAX_COND))
            break;
    }
    return t->n;
}

/* Flags that may be read after the last instruction. */
static uint16_t live_at_end(Tr *t)
{
    const TInsn *x = &t->t[t->n - 1];
    const X86Insn *i = x->i;

    if (t->closed && !t->j->exact)
        return fl_peek(t, t->t[0].off);
    if (system_is_ac(x) && !t->j->exact)
        return fl_peek(t, x->next);
    if ((x->row->cls & CL_STOP && !system_goes_on(t, x)) || t->j->exact)
        return FL_ALL;
    if (x->row->cls & CL_BR && !(x->row->cls & CL_COND)) {
        if (i->map == MAP_1 && (i->opcode == 0xe8 || i->opcode == 0xe9 || i->opcode == 0xeb))
            return fl_peek(t, (int64_t)x->next + (int64_t)i->imm == (int32_t)(x->next + i->imm) ?
                           (int32_t)(x->next + i->imm) : -1);
        return FL_ALL;
    }
    return fl_peek(t, x->next);
}

void tr_cbody_call(Tr *t, unsigned k, bool ends)
{
    Emit *e = &t->e;

    e_mov_i(e, S0, k);          /* becomes the name of its JitBody: jit_body() */
    t->s1_group = -1;
    e_call(e, ends ? t->j->stubs.cbody_end : t->j->stubs.cbody[t->uses]);
}

void tmpl_cbody(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];
    bool ends = x->row->cls & (CL_BR | CL_STOP) || x->i->row == X86_ROW_UD || x->i->row == X86_ROW_NM;

    if (x->live_in || x->rd)
        fl_host(t, S0);
    tr_cbody_call(t, k, ends);
    t->home = FH_HOST;
    t->rc.kind = RC_NONE;
    t->ended |= ends;
    t->j->st.cinsns++;
}

/* Vector or x87 state must be in the host's registers. Keeps flags. */
static void emit_state_check(Tr *t)
{
    Emit *e = &t->e;
    HMem park = m_gs(GS_ENV(rcx_park));
    int32_t word = t->uses == USES_FPU ? GS_ENV(fpu_live) : GS_ENV(vec_live);
    uint8_t *live, *need;

    if (!t->t[0].live_in || t->lazy) {
        e_cmp8_i(e, m_gs(word), 0);
        live = e_jcc_fwd(e, CC_NE);
    } else {
        e_st(e, true, park, H_RCX);
        e_enc(e, &(Enc) { .map = 1, .op = 0xb6, .reg = H_RCX, .rm = h_mem(m_gs(word)) });
        need = e_jcc8_fwd(e, 0xe3);
        e_ld(e, true, H_RCX, park);
        live = e_jmp_fwd(e);
        e_bind8(e, need);
        e_ld(e, true, H_RCX, park);
    }
    if (t->uses == USES_VEC) {
        e_call(e, t->j->stubs.vec_in);
    } else {
        e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
        e_lea(e, t->code64, S0, m_base(S0, t->t[0].off));
        fl_emit(t, t->home, &t->rc, S1);
        e_jmp(e, t->j->stubs.exit_fpu);
    }
    e_bind(e, live);
    if (t->uses == USES_FPU) {  /* for the pointers of the x87: vec.c */
        e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
        e_st(e, true, m_gs(GS_ENV(fpu_vbase)), S0);
    }
}

static void emit_insn(Tr *t, unsigned k)
{
    const TInsn *x = &t->t[k];

    t->now = k;
    mark_start(t, k, e_here(&t->e));
    group_start(t, k);
    if (x->i->row == X86_ROW_UD || x->i->row == X86_ROW_NM)
        tmpl_cbody(t, k);       /* the opcode is that of the instruction refused */
    else if (copy_ok(t, x))
        copy_emit(t, k);
    else if (!tmpl_int(t, k) && !tmpl_stack(t, k) && !tmpl_branch(t, k) && !tmpl_system(t, k) &&
             !tmpl_regs(t, k) && !tmpl_string(t, k))
        tmpl_cbody(t, k);
}

/* Out of line: the stack cache held another page. Tries again if the right one can be had. */
static void emit_refill(Tr *t, unsigned base, int32_t disp, unsigned size, uint8_t *retry)
{
    Emit *e = &t->e;
    uint8_t *crossing;

    e_lea(e, true, S0, m_base(base, disp));
    e_mov(e, false, S1, S0);
    e_alu_ri(e, false, 4, S1, TLB_PAGE - 1);
    e_alu_ri(e, false, 7, S1, TLB_PAGE - size);
    crossing = e_jcc8_fwd(e, 0x77);
    e_call(e, t->j->stubs.stk_fill[t->bank]);
    e_jcc(e, CC_E, e_rx(e, retry));
    e_bind8(e, crossing);
}

/* Out of line: an access outside its reach. Now and then the reach is moved here. */
static void emit_reach(Tr *t, const ReachTmp *r)
{
    Emit *e = &t->e;
    uint8_t *stay, **miss = r->slow >= 0 ? &t->slow[r->slow].at : &t->exits[r->exit].at;

    if (e->full)
        return;
    e_bind(e, r->at);
    e_rm(e, false, 0xff, 1, m_gs(GS_ENV(reach) + (int32_t)(r->slot * sizeof(Reach) + offsetof(Reach, left))));  /* dec */
    stay = e_jcc8_fwd(e, 0x79);
    e_mov_i(e, S1, r->slot * sizeof(Reach));
    e_call(e, t->j->stubs.reach_fill[r->write][t->bank]);
    e_bind8(e, stay);
    mem_lookup(t, r->write);
    e_alu_ri(e, true, 7, S0, TLB_PAGE - r->size);
    *miss = e_jcc_fwd(e, CC_A);
    e_jmp(e, e_rx(e, r->back));
}

static void emit_slow(Tr *t, const Slow *s)
{
    Emit *e = &t->e;

    e_bind(e, s->at);
    if (s->found)
        mem_const_again(t, s->write, s->found);
    if (s->retry)
        emit_refill(t, s->base, s->disp, s->size, s->retry);
    fl_emit(t, s->home, &s->rc, S1);
    tr_cbody_call(t, s->k, !s->resume);
    if (s->to_cc)
        e_call(e, t->j->stubs.cc_save);
    if (s->resume)
        e_jmp(e, e_rx(e, s->resume));
}

static bool is_chained(const ExitTmp *x) { return x->kind == X_CHAIN || x->kind == X_NOGROUP || x->kind == X_FAR; }

static void emit_exit_code(Tr *t, ExitTmp *x, JitExit *out)
{
    Emit *e = &t->e;
    const JitStubs *st = &t->j->stubs;

    e_bind(e, x->at);
    if (x->kind == X_CC) {
        fl_lazy_code(e, &x->rc);
        return;
    }
    if (is_chained(x)) {
        uint8_t *at = x->at;

        if (x->kind == X_NOGROUP) {
            if (x->found)
                mem_const_again(t, x->write, x->found);
            if (x->retry)
                emit_refill(t, HSP, x->disp, x->size, x->retry);
            fl_emit(t, x->home, &x->rc, S1);
            at = e_jmp_fwd(e);
            e_bind(e, at);
        }
        out->patch = at - t->j->cache.rw;
        out->off = x->toff;
        out->flags_dead = x->kind == X_NOGROUP ? x->home == FH_DEAD : x->flags_dead;
        out->nogroup = x->kind == X_NOGROUP;
        out->refused = x->refused;
        out->far = x->kind == X_FAR || x->toff < 0 || x->toff >= TLB_PAGE;
        out->lazy = x->lazy;
        out->stub = e_here(e) - t->j->cache.rw;
        if (x->lazy)
            e_call(e, st->cc_load);
        e_mov_i(e, S1, jit_id(t->j, out));
        e_jmp(e, st->exit_chain);
        return;
    }
    e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(e, t->code64, S0, m_base(S0, x->toff));
    if (x->kind == X_GUARD) {
        fl_emit(t, x->home, &x->rc, S1);
        e_jmp(e, st->exit_guard);
    } else {
        e_jmp(e, x->flags_dead ? st->exit_poll_dead : x->lazy ? st->exit_poll_cc : st->exit_poll);
    }
}

/* Branches to what is translated already, its own start too, need not come back to the run loop once. */
static void link_known(Tr *t, JitBlock *b, const JitPage *page)
{
    JitExit *out = b->exits;

    for (unsigned n = 0; n < t->n_exits; n++) {
        const ExitTmp *x = &t->exits[n];
        JitBlock *to;

        if (!is_chained(x))
            continue;
        if (x->kind == X_CHAIN && !x->other_mode && page->lines >> (x->toff >> 6 & 63) & 1 &&
            (to = jit_block_find(t->j, t->page + x->toff, t->mode | (x->lazy ? MODE_JIT_LAZY : 0))))
            jit_link(t->j, out, to);
        out++;
    }
}

/* insns: kept with the block if they cannot be decoded from its bytes, or are asked for often. */
static JitBlock *finish(Tr *t, JitPage *page, X86Insn *insns)
{
    JitCpu *j = t->j;
    unsigned chains = 0, out = 0, raw_len;
    uint8_t *hot_end, *cold;
    JitBlock *b;

    for (unsigned n = 0; n < t->n_exits; n++)
        chains += is_chained(&t->exits[n]);
    raw_len = insns ? 0 : MIN(t->t[t->n - 1].next + 15, TLB_PAGE) - t->t[0].off;
    b = jit_arena(j, sizeof *b + chains * sizeof(JitExit) + t->n * sizeof(InsnMark) + t->n_recipes * sizeof(Recipe) + raw_len);
    b->exits = (JitExit *)(b + 1);
    b->marks = (InsnMark *)(b->exits + chains);
    b->recipes = (Recipe *)(b->marks + t->n);
    b->raw = memcpy(b->recipes + t->n_recipes, t->t[0].raw, raw_len);
    b->raw_len = raw_len;
    hot_end = t->e.p;
    t->e.p = cold = j->cache.rw + j->cache.cold;
    t->e.end = cold + MAX_CODE;
    for (unsigned n = 0; n < t->n_reach; n++)
        emit_reach(t, &t->reach[n]);
    for (unsigned n = 0; n < t->n_slow; n++)
        emit_slow(t, &t->slow[n]);
    for (unsigned n = 0; n < t->n_exits; n++) {
        JitExit *x = is_chained(&t->exits[n]) ? &b->exits[out++] : NULL;

        if (x)
            x->from = b;
        emit_exit_code(t, &t->exits[n], x);
    }
    if (t->e.full)
        return NULL;
    b->trace = t->trace;
    b->key = t->page + t->t[0].off;
    b->mode = t->mode | (t->nogroup ? MODE_JIT_NOGROUP : 0) | (t->lazy ? MODE_JIT_LAZY : 0);
    b->n = t->n;
    b->len = (t->trace ? t->t[0].next : t->t[t->n - 1].next) - t->t[0].off;
    b->uses = t->uses;
    b->live_in = t->t[0].live_in;
    b->code = e_rx(&t->e, t->start);
    b->code_len = hot_end - t->start;
    b->cold = cold - j->cache.rw;
    b->entry = t->entry;
    b->insns = insns;
    b->n_exits = chains;
    b->peek_lines = t->peek_lines;
    if (j->check) {
        b->live = jit_arena(j, (t->n + 1) * sizeof *b->live);
        for (unsigned n = 0; n < t->n; n++)
            b->live[n] = t->t[n].live_in;
        b->live[t->n] = t->t[t->n - 1].live_out;
    }
    memcpy(b->marks, t->marks, t->n * sizeof(InsnMark));
    memcpy(b->recipes, t->recipes, t->n_recipes * sizeof(Recipe));
    j->cache.used = (hot_end - j->cache.rw + 15) & ~(size_t)15;
    j->cache.cold = t->e.p - j->cache.rw;
    jit_block_add(j, b, page);
    if (!j->check)
        link_known(t, b, page);
    if (j->m->perf) {
        fprintf(j->m->perf, "%" PRIx64 " %x guest:%" PRIx64 "\n%" PRIx64 " %x guest-slow:%" PRIx64 "\n", b->code, b->code_len,
                j->c->rip, e_rx(&t->e, cold), (unsigned)(t->e.p - cold), j->c->rip);
        fflush(j->m->perf);
    }
    j->st.blocks++;
    j->st.insns += b->n;
    j->st.guest_bytes += b->len;
    j->st.code_bytes += b->code_len + (t->e.p - cold);
    return b;
}

/* An instruction that crosses into the next page: is that page still the one it was made from? */
static void emit_guard(Tr *t, const X86Fetch *f2)
{
    Emit *e = &t->e;
    unsigned bank = (t->mode & MODE_CPL) == 3 ? TLB_U : TLB_K;
    int32_t tlb = (int32_t)(offsetof(X86Cpu, tlb) + bank * sizeof(TlbEntry) * TLB_ENTRIES);
    uint8_t *miss[2];

    fl_clobber(t, t->t[0].live_in);
    e_ld(e, true, S0, m_gs(GS_ENV(vbase)));
    e_lea(e, t->code64, S0, m_base(S0, TLB_PAGE));
    e_mov(e, false, S1, S0);
    e_shift_i(e, false, 5, S1, 7);
    e_alu_ri(e, false, 4, S1, (TLB_ENTRIES - 1) * sizeof(TlbEntry));
    e_rm(e, true, 0x3b, S0, m_gsb(S1, tlb + offsetof(TlbEntry, tag_x)));
    miss[0] = e_jcc_fwd(e, CC_NE);
    e_mov_i(e, S0, (uint64_t)(uintptr_t)f2->host);
    e_rm(e, true, 0x3b, S0, m_gsb(S1, tlb + offsetof(TlbEntry, host_page)));
    miss[1] = e_jcc_fwd(e, CC_NE);
    for (unsigned n = 0; n < 2; n++)
        t->exits[t->n_exits++] = (ExitTmp) { .at = miss[n], .toff = t->t[0].off, .kind = X_GUARD, .home = t->home,
                                             .rc = t->rc };
}

static bool no_room(const JitCpu *j)
{
    const CodeCache *k = &j->cache;

    return k->hot_size - k->used < 2 * MAX_CODE || k->size - k->cold < 2 * MAX_CODE || jit_arena_room(j) < ARENA_ROOM;
}

static void start(Tr *t, JitCpu *j, const X86Fetch *f, uint32_t mode)
{
    CodeCache *k = &j->cache;

    memset(t, 0, offsetof(Tr, t));
    t->j = j;
    t->c = j->c;
    t->page = f->host;
    t->mode = mode & ~MODE_JIT_KEYS;
    t->nogroup = mode & MODE_JIT_NOGROUP;
    t->lazy = mode & MODE_JIT_LAZY;
    t->code64 = mode & MODE_CS64;
    t->bank = j->c->data_bank;
    t->e = (Emit) { .p = k->rw + k->used, .end = k->rw + k->used + MAX_CODE,
                    .rx = (int64_t)k->rx - (int64_t)(uintptr_t)k->rw };
    t->start = t->e.p;
}

/* Where the flags are at the block's start. */
static void arrive(Tr *t)
{
    t->lazy &= t->t[0].live_in != 0;
    if (t->lazy)
        t->home = FH_CC;
}

JitBlock *jit_translate(JitCpu *j, const X86Fetch *f, unsigned off, uint32_t mode)
{
    X86Insn insns[JIT_MAX_INSNS], *kept = NULL;
    JitPage *page;
    Tr t;

    if (no_room(j)) {
        j->want_flush = true;
        return NULL;
    }
    page = jit_page(j, f);
    start(&t, j, f, mode);
    if (!decode_block(&t, insns, off))
        return NULL;
    if (j->check)
        kept = memcpy(jit_arena(j, t.n * sizeof *kept), insns, t.n * sizeof *kept);
    fl_liveness(&t, live_at_end(&t));
    arrive(&t);
    group_plan(&t);
    t.entry = e_rx(&t.e, e_here(&t.e));
    if (t.uses)
        emit_state_check(&t);
    group_loop(&t);
    for (unsigned k = 0; k < t.n; k++) {
        if (!t.ended)
            emit_insn(&t, k);
        else
            t.marks[k] = (InsnMark) { .host = MARK_NONE };
    }
    if (!t.ended)
        tr_exit(&t, t.t[t.n - 1].next, t.poll_end ? TLB_PAGE + 1 : 0);
    return finish(&t, page, kept);
}

/* Decodes the steps; false if the bytes are no longer what was run. */
static bool decode_trace(Tr *t, X86Insn *insns, const TraceStep *steps, unsigned n)
{
    for (unsigned k = 0; k < n; k++) {
        const TraceStep *s = &steps[k];
        int32_t then = k + 1 < n ? steps[k + 1].off : steps[0].off;
        TInsn *x = &t->t[k];

        if (x86_decode(s->raw, TLB_PAGE - (s->off & (TLB_PAGE - 1)), t->mode, t->c->model, &insns[k]) != DECODE_OK)
            return false;
        add_insn(t, &insns[k], s->raw, s->off);
        x->follow = s->follow;
        x->call = s->call;
        if (s->call < 0 && then != (s->follow ? x->next + (int64_t)insns[k].imm : x->next))
            return false;
        if (!(s->off & ~(TLB_PAGE - 1)))
            t->peek_lines |= jit_line_mask(s->off, insns[k].len);
    }
    return true;
}

/* Is every page of the trace where it was? Flags are nobody's at its start. */
static void emit_pages(Tr *t)
{
    Emit *e = &t->e;

    e_ld(e, true, S1, m_gs(GS_ENV(vbase)));
    e_rm(e, true, 0x03, S1, m_gs(GS_ENV(salt)));
    e_rm(e, true, 0x3b, S1, m_gs(GS_ENV(far_seen) + 8 * t->trace->seen));
    t->exits[t->n_exits++] = (ExitTmp) { .at = e_jcc_fwd(e, CC_NE), .toff = t->t[0].off, .kind = X_NOGROUP, .home = FH_DEAD,
                                         .refused = true };
}

JitBlock *jit_translate_trace(JitCpu *j, const X86Fetch *f, uint32_t mode, const TraceStep *steps, unsigned n, JitTrace *tr)
{
    X86Insn insns[JIT_MAX_INSNS], *kept;
    JitPage *page;
    Tr t;

    if (no_room(j))
        return NULL;
    page = jit_page(j, f);
    start(&t, j, f, mode);
    t.trace = tr;
    t.closed = true;
    if (!decode_trace(&t, insns, steps, n))
        return NULL;
    kept = jit_arena(j, n * sizeof *kept);
    memcpy(kept, insns, n * sizeof *kept);
    for (unsigned k = 0; k < n; k++)
        t.t[k].i = &kept[k];
    fl_liveness(&t, live_at_end(&t));
    if (t.t[0].live_in)
        return NULL;
    t.t[n - 1].follow = false;  /* its branch goes back to the start */
    group_plan(&t);
    t.entry = e_rx(&t.e, e_here(&t.e));
    t.home = FH_DEAD;
    if (tr->n_pages)
        emit_pages(&t);
    if (t.uses)
        emit_state_check(&t);
    group_loop(&t);
    for (unsigned k = 0; k < n; k++) {
        if (!t.ended)
            emit_insn(&t, k);
        else
            t.marks[k] = (InsnMark) { .host = MARK_NONE };
    }
    if (!t.ended && steps[n - 1].off + kept[n - 1].len == t.t[0].off)
        tr_exit(&t, t.t[0].off, 0);
    else if (!t.ended)
        tr_exit(&t, t.t[n - 1].next, 0);
    return finish(&t, page, kept);
}

JitBlock *jit_translate_crossing(JitCpu *j, const X86Fetch *f, const X86Fetch *f2, unsigned off, uint32_t mode)
{
    JitPage *page, *page2;
    X86Insn *kept;
    uint8_t *raw;
    JitBlock *b;
    Tr t;

    if (no_room(j)) {
        j->want_flush = true;
        return NULL;
    }
    page = jit_page(j, f);
    page2 = jit_page(j, f2);
    start(&t, j, f, mode | MODE_JIT_NOGROUP);
    kept = jit_arena(j, sizeof *kept + 16);
    raw = (uint8_t *)(kept + 1);
    memcpy(raw, f->host + off, TLB_PAGE - off);
    memcpy(raw + TLB_PAGE - off, f2->host, 16 - (TLB_PAGE - off));
    if (x86_decode(raw, 15, t.mode, t.c->model, kept) != DECODE_OK || kept->len <= TLB_PAGE - off)
        return NULL;
    add_insn(&t, kept, raw, off);
    fl_liveness(&t, FL_ALL);
    arrive(&t);
    group_plan(&t);
    t.entry = e_rx(&t.e, e_here(&t.e));
    if (t.uses)
        emit_state_check(&t);
    emit_guard(&t, f2);
    emit_insn(&t, 0);
    if (!t.ended)
        tr_exit(&t, t.t[0].next, 0);
    t.nogroup = mode & MODE_JIT_NOGROUP;
    b = finish(&t, page, kept);
    if (b) {
        jit_block_alias(j, b, page2, b->len - (TLB_PAGE - off));
        b->len = TLB_PAGE - off;
    }
    return b;
}
