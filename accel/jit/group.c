/*
 * group: one TLB check for several accesses through the same base register.
 *
 * Accesses at constant distances from a register's value at one point of the block, no further
 * apart than GROUP_SPAN, are proved together where the first of them stands: all bytes lie in one
 * page that may be accessed. The host address of the lowest byte goes to env.group[]. When the
 * proof fails, the block is left before that instruction for a variant of the rest translated
 * without groups, so faults still come in the exact order. If the block branches to its own start, what
 * its rounds do not change is proved once before the first; so is the state of vector registers. Nothing inside a block can take a
 * proved page away: flushes end blocks, and other threads' requests wait for the attention word.
 */
#include "accel/jit/trans_int.h"

#include <string.h>

enum { GROUP_SPAN = 512, STACK_SPAN = 1024 };

typedef struct Cand {           /* a group in the making */
    Group g;
    bool live;                  /* its registers still are what they were */
    unsigned conds;             /* branches before its first access */
} Cand;

typedef struct Plan {
    Tr *t;
    unsigned n, conds;
    bool rsp_lost;              /* RSP got a value that is no constant away from the one at the start */
    uint32_t written, in_loop;  /* registers changed so far; up to the last branch to the block's start */
    unsigned loop_end;          /* that branch */
    int32_t delta[16];          /* a register's value minus that at the start of its epoch */
    Cand cand[2 * JIT_MAX_INSNS];
} Plan;

static void kill_regs(Plan *p, uint32_t mask)
{
    if (!mask)
        return;
    p->rsp_lost |= mask >> R_RSP & 1;
    for (unsigned n = 0; n < p->n; n++) {
        const Group *g = &p->cand[n].g;

        if ((g->base < 16 && mask >> g->base & 1) || (g->index < 16 && mask >> g->index & 1))
            p->cand[n].live = false;
    }
    for (unsigned g = 0; g < 16; g++)
        if (mask >> g & 1)
            p->delta[g] = 0;
}

static void kill_indexed(Plan *p, unsigned index)
{
    for (unsigned n = 0; n < p->n; n++)
        if (p->cand[n].g.index == index)
            p->cand[n].live = false;
}

static int32_t span_of(const Group *g) { return g->base == R_RSP ? STACK_SPAN : GROUP_SPAN; }

/*
 * An access of size bytes at d on the scale of where's registers: into the youngest group it fits, or a new one. Reads
 * do not wait for the right to a write that a branch may pass by.
 */
static void add_access(Plan *p, unsigned k, const Group *where, int32_t disp, unsigned size, Access *a)
{
    int32_t d = disp + (where->base < 16 ? p->delta[where->base] : 0), end = d + (int32_t)size;
    Group *q = NULL;

    if (ABS((int64_t)d) > 1 << 30 || p->n == G_N_ELEMENTS(p->cand))
        return;
    for (int n = p->n - 1; n >= 0 && !q; n--) {
        Group *g = &p->cand[n].g;

        if (p->cand[n].live && g->base == where->base && g->index == where->index && g->scale == where->scale &&
            MAX(g->hi, end) - MIN(g->lo, d) <= span_of(g) &&
            (g->write || !where->write || p->cand[n].conds == p->conds || g->base == R_RSP)) {
            q = g;
            q->lo = MIN(q->lo, d);
            q->hi = MAX(q->hi, end);
        }
    }
    if (!q) {
        p->cand[p->n].live = true;
        p->cand[p->n].conds = p->conds;
        q = &p->cand[p->n++].g;
        *q = (Group) { .base = where->base, .index = where->index, .scale = where->scale, .lo = d, .hi = end, .first = k,
                       .first_pos = d, .first_disp = disp };
    }
    q->count++;
    q->write |= where->write;
    a->group = (Cand *)q - p->cand;
    a->pos = d;
}

/* ADD, SUB, INC, DEC, LEA of a register by a constant, at full width. */
static bool const_step(const Tr *t, const X86Insn *i, unsigned *g, int32_t *by)
{
    unsigned full = t->code64 ? 8 : 4;

    if (i->map != MAP_1 || i->opsize != full)
        return false;
    *g = i->rm;
    if ((i->opcode == 0x81 || i->opcode == 0x83) && i->is_reg && (i->reg == 0 || i->reg == 5)) {
        *by = i->reg ? -(int32_t)i->imm : (int32_t)i->imm;
        return true;
    }
    if (i->opcode == 0xff && i->is_reg && i->reg < 2) {
        *by = i->reg ? -1 : 1;
        return true;
    }
    if (i->opcode == 0x8d && i->base == i->reg && i->index == BASE_NONE && i->adsize == full) {
        *g = i->reg;
        *by = i->disp;
        return true;
    }
    return false;
}

/* What push, pop, call and ret do to the stack; false: not one of them. */
static bool stack_effect(const Tr *t, const TInsn *x, int32_t *disp, bool *write, int32_t *by)
{
    const X86Insn *i = x->i;
    int32_t w = t->code64 ? 8 : 4;
    bool push = (i->opcode >= 0x50 && i->opcode < 0x58) || i->opcode == 0x68 || i->opcode == 0x6a || i->opcode == 0xe8 ||
                (i->opcode == 0xff && (i->reg == 6 || i->reg == 2));
    bool pop = (i->opcode >= 0x58 && i->opcode < 0x60) || i->opcode == 0xc3 || i->opcode == 0xc2;

    if (i->map != MAP_1 || i->opsize != w || (!push && !pop))
        return false;
    *disp = push ? -w : 0;
    *write = push;
    *by = push ? -w : w;
    return true;
}

static unsigned memory_operand(const TInsn *x)
{
    if (x->i->is_reg || x->row->lim & (LIM_NOSEGLIM | LIM_VSIB) || is_bit_string(x->i))
        return 4;
    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++) {
        unsigned kind = x86_opnds[x->row->ops[n]].kind;

        if (kind == OK_RM || kind == OK_M || kind == OK_XRM || kind == OK_MMXRM)
            return n;
    }
    return 4;
}

/* Does x branch to the start of the block, by a template that can stay inside? */
static bool loops_back(const Tr *t, const TInsn *x)
{
    const X86Insn *i = x->i;
    bool branch = (i->map == MAP_1 && ((i->opcode & 0xf0) == 0x70 || i->opcode == 0xe9 || i->opcode == 0xeb)) ||
                  (i->map == MAP_0F && (i->opcode & 0xf0) == 0x80);

    return branch && i->opsize == (t->code64 ? 8 : 4) && (int64_t)x->next + (int64_t)i->imm == t->t[0].off;
}

static void plan_insn(Plan *p, unsigned k)
{
    Tr *t = p->t;
    TInsn *x = &t->t[k];
    const X86Insn *i = x->i;
    unsigned m = memory_operand(x), g;
    int32_t disp, by;
    bool write;

    if (m < 4 && i->adsize == (t->code64 ? 8 : 4) && i->seg != S_FS && i->seg != S_GS && mem_ok(t, i)) {
        Group where = { .base = i->base, .index = i->index, .scale = i->scale,
                        .write = m == 0 && !(x->row->cls & CL_R) };
        unsigned size = x86_opnd_size(x->row->ops[m], i);

        if (size)
            add_access(p, k, &where, i->base == BASE_RIP ? x->next + i->disp : i->disp, size, &x->mem);
    }
    if (stack_effect(t, x, &disp, &write, &by)) {
        Group where = { .base = R_RSP, .index = BASE_NONE, .write = write };

        add_access(p, k, &where, disp, t->code64 ? 8 : 4, &x->stk);
        p->delta[R_RSP] += by;
        p->written |= 1u << R_RSP;
        if (i->opcode >= 0x58 && i->opcode < 0x60) {
            kill_regs(p, 1u << i->rm);
            p->written |= 1u << i->rm;
        }
        return;
    }
    if (const_step(t, i, &g, &by)) {
        kill_indexed(p, g);
        p->delta[g] += by;
        if (ABS(p->delta[g]) > 1 << 20)
            kill_regs(p, 1u << g);
    } else {
        kill_regs(p, fl_gpr_written(x));
    }
    p->written |= fl_gpr_written(x);
}

static void plan_branch(Plan *p, unsigned k)
{
    Tr *t = p->t;
    const TInsn *x = &t->t[k];

    if (t->trace)               /* the way through its branches was seen */
        return;
    if (loops_back(t, x)) {
        t->loops = true;
        p->in_loop = p->written;
        p->loop_end = k;
    }
    p->conds += x->row->cls & CL_BR && x->row->cls & CL_COND;
}

static bool invariant(const Plan *p, const Group *g)
{
    return g->first < p->loop_end && (g->base >= 16 || !(p->in_loop >> g->base & 1)) &&
           (g->index >= 16 || !(p->in_loop >> g->index & 1));
}

/* Candidates with more than one access, or one in every round, become the block's groups, as far as there is room. */
static void keep(Plan *p, Access *a)
{
    if (a->group < 0)
        return;
    Cand *c = &p->cand[a->group];
    Tr *t = p->t;

    if ((c->g.count > 1 || c->g.hoisted) && c->g.id < 0 && t->n_groups < JIT_GROUPS) {
        c->g.id = t->n_groups;
        t->groups[t->n_groups++] = c->g;
    }
    a->group = c->g.id;
}

void group_plan(Tr *t)
{
    Plan p;

    memset(&p, 0, offsetof(Plan, cand));
    p.t = t;

    for (unsigned k = 0; k < t->n; k++)
        t->t[k].mem.group = t->t[k].stk.group = -1;
    t->s1_group = -1;
    if (t->nogroup || (!t->code64 && !(t->mode & MODE_SS32)))
        return;
    for (unsigned k = 0; k < t->n; k++) {
        plan_insn(&p, k);
        plan_branch(&p, k);
    }
    if (t->trace && t->closed) {
        t->loops = true;
        p.loop_end = t->n;
        p.in_loop = p.written;
        if (!p.rsp_lost && !p.delta[R_RSP])
            p.in_loop &= ~(1u << R_RSP);
    }
    t->loops &= !t->t[0].live_in && !t->j->check;      /* check: round by round */
    for (unsigned n = 0; n < p.n; n++) {
        Group *g = &p.cand[n].g;

        g->id = -1;
        /* What lies behind a branch may be no address at all; frames and constant addresses are. */
        g->hoisted = t->loops && invariant(&p, g) &&
                     (!p.cand[n].conds || g->base == R_RSP || (g->base >= 16 && g->index >= 16));
    }
    for (unsigned k = 0; k < t->n; k++) {
        keep(&p, &t->t[k].mem);
        keep(&p, &t->t[k].stk);
    }
}

static ExitTmp *failing(Tr *t, unsigned k, uint8_t *at)
{
    static ExitTmp spare;
    ExitTmp *x = t->n_exits < JIT_MAX_EXITS ? &t->exits[t->n_exits++] : &spare;

    if (x == &spare)
        t->e.full = true;
    *x = (ExitTmp) { .at = at, .toff = t->t[k].off, .kind = X_NOGROUP, .home = t->home, .rc = t->rc };
    return x;
}

static void check_stack(Tr *t, unsigned k, int32_t lo, unsigned len)
{
    Emit *e = &t->e;
    uint8_t *again = e_here(e);
    ExitTmp *x;

    e_lea(e, true, S0, m_base(HSP, lo));
    e_rm(e, true, 0x33, S0, m_gs(GS_ENV(stk_page) + 8 * t->bank));
    e_alu_ri(e, true, 7, S0, TLB_PAGE - len);
    x = failing(t, k, e_jcc_fwd(e, CC_A));
    x->retry = again;
    x->disp = lo;
    x->size = len;
    e_ld(e, true, S1, m_gs(GS_ENV(stk_delta) + 8 * t->bank));
    e_lea(e, true, S1, m_bi(HSP, S1, 0, lo));
}

static void check_base(Tr *t, unsigned k, const Group *g, int32_t lo, unsigned len)
{
    int reach = g->hoisted ? -1 : mem_get_reach(t, k, len);
    Emit *e = &t->e;

    if (mem_is_const(t, g->base, g->index, lo, len)) {
        ExitTmp *x = failing(t, k, mem_const(t, g->base, lo, g->write));

        if (g->base == BASE_RIP)
            x->found = e_here(e);
        x->write = g->write;
        if (lo & (TLB_PAGE - 1))
            e_lea(e, true, S1, m_base(S1, lo & (TLB_PAGE - 1)));
        return;
    }
    mem_address(t, g->base, g->index, g->scale, lo, t->code64, S0);
    if (reach >= 0) {
        failing(t, k, NULL);
        mem_reach(t, reach, g->write, len, -1, t->n_exits - 1);
    } else {
        mem_lookup(t, g->write);
        e_alu_ri(e, true, 7, S0, TLB_PAGE - len);
        failing(t, k, e_jcc_fwd(e, CC_A));
    }
    e_lea(e, true, S1, m_bi(S1, S0, 0, 0));
}

static void check_group(Tr *t, unsigned n, unsigned k)
{
    const Group *g = &t->groups[n];
    int32_t lo = g->hoisted ? g->lo : g->first_disp + g->lo - g->first_pos;
    unsigned before = t->n_exits;

    fl_clobber(t, t->t[k].live_in);
    if (g->base == R_RSP && g->index == BASE_NONE)
        check_stack(t, k, lo, g->hi - g->lo);
    else
        check_base(t, k, g, lo, g->hi - g->lo);
    for (; g->hoisted && t->trace && before < t->n_exits; before++)
        t->exits[before].refused = true;
    e_st(&t->e, true, m_gs(GS_ENV(group) + 8 * n), S1);
    t->s1_group = n;
}

void group_start(Tr *t, unsigned k)
{
    for (unsigned n = 0; n < t->n_groups; n++)
        if (t->groups[n].first == k && !t->groups[n].hoisted)
            check_group(t, n, k);
}

void group_loop(Tr *t)
{
    if (!t->loops)
        return;
    for (unsigned n = 0; n < t->n_groups; n++)
        if (t->groups[n].hoisted)
            check_group(t, n, 0);
    t->s1_group = -1;
    t->home = FH_DEAD;          /* the loop's start reads no flags */
    t->loop_top = e_here(&t->e);
}

HMem group_operand(Tr *t, const Access *a)
{
    if (t->s1_group != a->group) {
        e_ld(&t->e, true, S1, m_gs(GS_ENV(group) + 8 * a->group));
        t->s1_group = a->group;
    }
    return m_base(S1, a->pos - t->groups[a->group].lo);
}
