/*
 * trace: loops of several blocks become one block.
 *
 * An event that meets generated code finds it at a way back, mostly one of the loop that takes the time; so the events
 * themselves count, and generated code has no counters. A place met several times is recorded: its block is dropped,
 * and when it is reached next, C bodies run the loop until two rounds take the same way. If that leads back to the start,
 * the way becomes a JitBlock: branches on it go on inside, calls on it are inlined, leaving it is a way out as from
 * any block, and what its rounds do not change is proved before the first one (group.c). It may run through several
 * pages; the way in asks whether they are in place by one word (env.far_seen), which C sets after it has looked.
 *
 * Accesses of a trace whose address changes with the rounds have a *reach* (env.h): pages that lie next to each other for the
 * guest and for the host, too. Inside it the host address is the guest's plus a constant, which need not wait for the
 * TLB to be read at an index made from the address. Outside, out of line, the TLB is asked and now and then the reach moved.
 * Accesses that leave theirs all the time go without in the next trace from the same start.
 */
#include "accel/jit/jit_int.h"

#include <string.h>

enum { REACH_BAD = 40, ROUNDS_MAX = 6, TRIES_MAX = 3, CALLS_MAX = 4, REFUSED_MAX = 64, FAR_SPAN = 1 << 19,
       ROOM = 65536 };         /* in the arena, for one trace */

typedef struct Rec {            /* one round */
    TraceStep step[JIT_MAX_INSNS];
    unsigned n, n_pages;        /* pages: the head's first */
    struct { X86Fetch f; int32_t d; uint64_t lines; } page[TRACE_PAGES + 1];
} Rec;

static TraceHead *slot_of(JitCpu *j, const uint8_t *key, uint32_t mode)
{
    return &j->heads[((uintptr_t)key ^ mode) * 0x9e3779b97f4a7c15ULL >> 54];
}

int jit_trace_reach(JitCpu *j, JitTrace *t, unsigned k)
{
    Reach *r = jit_env(j->c)->reach;

    if (t->n_sites == TRACE_SITES || (k < 64 && t->no_reach >> k & 1))
        return -1;
    for (unsigned n = 0; n < REACH_SLOTS; n++) {
        if (j->reach_used[n])
            continue;
        j->reach_used[n] = true;
        r[n] = (Reach) { .lo = REACH_NONE };
        t->site[t->n_sites].slot = n;
        t->site[t->n_sites++].k = k;
        return n;
    }
    return -1;
}

void jit_trace_free(JitCpu *j, JitTrace *t)
{
    for (unsigned n = 0; n < t->n_sites; n++)
        j->reach_used[t->site[n].slot] = false;
    j->seen_used[t->seen] = false;
}

/* Accesses of the trace b, to which h belongs, that jump about: another trace without their reach takes its place. */
static void look_at_reach(JitCpu *j, JitBlock *b, TraceHead *h)
{
    const JitTrace *t = b->trace;
    uint64_t bad = 0;

    for (unsigned n = 0; n < t->n_sites; n++)
        if (jit_env(j->c)->reach[t->site[n].slot].bad > REACH_BAD)
            bad |= 1ULL << MIN(t->site[n].k, 63);
    if (!(bad & ~h->no_reach))
        return;
    h->no_reach |= bad;
    jit_block_kill(j, b);
    j->want = *h;
}

void jit_trace_sample(JitCpu *j)
{
    X86Cpu *c = j->c;
    const uint8_t *key;
    TraceHead *h;
    JitBlock *b;
    X86Fetch f;

    if (!j->m->traces || j->check || j->exact || !(c->mode & MODE_CS64) || !x86_fetch_peek(c, c->rip, &f))
        return;
    key = f.host + (c->rip & (TLB_PAGE - 1));
    h = slot_of(j, key, c->mode);
    if (h->key != key || h->mode != c->mode) {
        if (h->seen) {          /* another's: it must be met less often than this one */
            h->seen--;
            return;
        }
        *h = (TraceHead) { .key = key, .mode = c->mode };
    }
    if (h->tries >= TRIES_MAX || ++h->seen < j->m->traces)
        return;
    h->seen = 0;
    b = jit_block_find(j, key, c->mode);
    if (b && b->trace) {
        look_at_reach(j, b, h);
        return;
    }
    if (b)
        jit_block_kill(j, b);
    j->want = *h;
}

bool jit_trace_wanted(JitCpu *j, const uint8_t *key, uint32_t mode)
{
    TraceHead *h;

    mode &= ~MODE_JIT_LAZY;
    if (j->want.key == key && j->want.mode == mode)
        return true;
    if (j->m->traces != 1 || j->check || j->exact || !(mode & MODE_CS64) || mode & MODE_JIT_NOGROUP)
        return false;
    h = slot_of(j, key, mode);  /* as early as can be: every start is tried once */
    if (h->key == key && h->mode == mode)
        return false;
    *h = (TraceHead) { .key = key, .mode = mode };
    return true;
}

/* The page of lin, d bytes from the head's, is in r; false: no room, or it is another one now. */
static bool note_page(Rec *r, const X86Fetch *f, int64_t d, unsigned off, unsigned len)
{
    unsigned n = 0;

    if (ABS(d) > FAR_SPAN)
        return false;
    while (n < r->n_pages && r->page[n].d != d)
        n++;
    if (n < r->n_pages && r->page[n].f.host != f->host)
        return false;
    if (n == G_N_ELEMENTS(r->page))
        return false;
    if (n == r->n_pages) {
        r->page[n].f = *f;
        r->page[n].d = (int32_t)d;
        r->page[n].lines = 0;
        r->n_pages++;
    }
    r->page[n].lines |= jit_line_mask(off, len);
    return true;
}

/*
 * What the branch i, which ends at next, has done: false if a trace cannot follow it. Only its last one and returns may go
 * backwards: whoever leaves in between and comes to the start again then goes back outside, where the attention word is looked at.
 */
static bool note_branch(Rec *r, const X86Insn *i, uint64_t head, uint64_t rip, uint64_t next, unsigned *calls, int16_t *call)
{
    TraceStep *s = &r->step[r->n];
    bool cond = (i->map == MAP_1 && (i->opcode & 0xf0) == 0x70) || (i->map == MAP_0F && (i->opcode & 0xf0) == 0x80);

    if (i->opsize != 8 || (!cond && i->map != MAP_1))
        return false;
    if (rip < next && rip != head && (cond || (i->opcode != 0xc2 && i->opcode != 0xc3)))
        return false;
    if (cond) {
        s->follow = rip != next;
        return true;
    }
    switch (i->opcode) {
    case 0xe9: case 0xeb:
        s->follow = true;
        return true;
    case 0xe2: case 0xe3:
        return rip == next;
    case 0xe8:
        if (*calls == CALLS_MAX)
            return false;
        call[(*calls)++] = r->n;
        s->follow = true;
        return true;
    case 0xc2: case 0xc3:
        if (!*calls)
            return false;
        s->call = call[--*calls];
        s->follow = true;
        return true;
    default:
        return false;
    }
}

/* May the translator take i, and may it run here? */
static bool plain(const X86Insn *i)
{
    return i->row != X86_ROW_UD && i->row != X86_ROW_NM && !(x86_row(i)->cls & (CL_END | CL_IO | CL_PRIV));
}

/* Runs one round from c->rip. True: it came back to where it began. */
static bool one_round(JitCpu *j, Rec *r)
{
    X86Cpu *c = j->c;
    X86Insn *i = &j->rec_insn;
    const uint64_t head = c->rip, page = head & ~(uint64_t)(TLB_PAGE - 1);
    const uint32_t mode = c->mode;
    int16_t call[CALLS_MAX];
    unsigned calls = 0;

    for (r->n = r->n_pages = 0; r->n < JIT_MAX_INSNS && !jit_env(c)->leave; r->n++) {
        uint64_t lin = c->rip, next;
        unsigned off = lin & (TLB_PAGE - 1);
        TraceStep *s = &r->step[r->n];
        X86Fetch f;

        if (r->n && lin == head)
            return !calls && s[-1].call < 0;
        for (unsigned k = 1; k < r->n; k++)
            if (page + r->step[k].off == lin)
                return false;   /* a loop inside: that one first */
        if (atomic_load_explicit(&c->vcpu.attention, memory_order_acquire))
            return false;
        c->insn = &x86_no_insn;
        f = x86_fetch_page(c, lin);
        j->local_kernel |= !f.global && (mode & MODE_CPL) != 3;
        if (!f.host || x86_decode(f.host + off, TLB_PAGE - off, mode, c->model, i) != DECODE_OK || !plain(i) ||
            !note_page(r, &f, (int64_t)(lin - off - page), off, i->len))
            return false;
        *s = (TraceStep) { .raw = f.host + off, .off = (int32_t)(lin - page), .call = -1 };
        next = lin + i->len;
        c->insn = i;
        c->rip = next;
        i->fn(c, i);
        c->vcpu.stat_insns++;
        if (c->mode != mode) {
            if ((mode | c->mode) & (MODE_TF | MODE_SHADOW))
                x86_boundary(c, mode);
            return false;
        }
        if (x86_row(i)->cls & CL_BR ? !note_branch(r, i, head, c->rip, next, &calls, call) : c->rip != next)
            return false;
    }
    return false;
}

static bool same_way(const Rec *a, const Rec *b)
{
    if (a->n != b->n)
        return false;
    for (unsigned k = 0; k < a->n; k++)
        if (a->step[k].raw != b->step[k].raw || a->step[k].off != b->step[k].off)
            return false;
    return true;
}

static JitBlock *make(JitCpu *j, const Rec *r, uint32_t mode, uint64_t no_reach)
{
    JitPage *p[TRACE_PAGES];
    JitTrace *t;
    JitBlock *b;

    if (jit_arena_room(j) < 2 * ROOM)
        return NULL;
    t = jit_arena(j, sizeof *t);
    for (unsigned n = 1; n < r->n_pages; n++) {
        p[n - 1] = jit_page(j, &r->page[n].f);
        t->page[n - 1].host = r->page[n].f.host;
        t->page[n - 1].d = r->page[n].d;
    }
    t->n_pages = r->n_pages - 1;
    t->no_reach = no_reach;
    while (j->seen_used[t->seen])
        if (++t->seen == FAR_TRACES)
            return NULL;
    j->seen_used[t->seen] = true;
    jit_env(j->c)->far_seen[t->seen] = 0;
    b = jit_translate_trace(j, &r->page[0].f, mode, r->step, r->n, t);
    if (!b) {
        jit_trace_free(j, t);
        return NULL;
    }
    for (unsigned n = 1; n < r->n_pages; n++)
        jit_block_watch(j, b, p[n - 1], r->page[n].lines);
    j->st.traces++;
    return b;
}

JitBlock *jit_trace_record(JitCpu *j)
{
    const uint64_t head = j->c->rip;
    const uint32_t mode = j->c->mode;
    const uint64_t no_reach = j->want.no_reach;
    TraceHead *h = slot_of(j, j->want.key, mode);
    JitBlock *b = NULL;
    Rec r[2];

    if (h->key == j->want.key)
        h->tries++;
    j->want.key = NULL;
    j->pending_exit = NULL;
    j->st.recorded++;
    jit_env(j->c)->leave = 0;
    for (unsigned n = 0; n < ROUNDS_MAX && !b; n++) {
        if (!one_round(j, &r[n & 1]))
            break;
        if (n && same_way(&r[0], &r[1])) {
            b = make(j, &r[0], mode, no_reach);
            break;
        }
    }
    j->c->insn = &x86_no_insn;
    return b && j->c->rip == head ? b : NULL;
}

JitBlock *jit_trace_refused(JitCpu *j, JitExit *x)
{
    JitBlock *b = x->from;
    JitTrace *t = b->trace;
    JitEnv *e = jit_env(j->c);
    const uint64_t want = e->vbase + e->salt;

    if (b->dead)
        return NULL;
    if (t->n_pages && e->far_seen[t->seen] != want) {
        for (unsigned n = 0; n < t->n_pages; n++) {
            X86Fetch f;

            if (!x86_fetch_peek(j->c, e->vbase + t->page[n].d, &f) || f.host != t->page[n].host ||
                (!f.global && (b->mode & MODE_CPL) != 3 && !j->local_kernel))
                return NULL;
        }
        e->far_seen[t->seen] = want;
        return b;
    }
    if (++t->refused >= REFUSED_MAX) {          /* what should hold for all rounds does not */
        TraceHead *h = slot_of(j, b->key, b->mode);

        *h = (TraceHead) { .key = b->key, .mode = b->mode, .tries = TRIES_MAX };
        jit_block_kill(j, b);
    }
    return NULL;
}
