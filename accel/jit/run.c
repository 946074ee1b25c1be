/*
 * run: the run loop: from X86Cpu into generated code and back.
 *
 * Everything unusual comes back here with the state in X86Cpu: a branch without a translated
 * target, a raised exception (by siglongjmp from a C body), a host fault, the attention word.
 * Code the translator does not take (16-bit and non-flat code, instructions across a page border,
 * single-stepping) runs in the interpreter, a block at a time.
 */
#include "accel/jit/run_int.h"

#include "accel/jit/check.h"

#include "accel/soft/loop.h"
#include "accel/soft/step.h"
#include "target/x86/flags.h"

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static void set_gs(X86Cpu *c)
{
    syscall(SYS_arch_prctl, ARCH_SET_GS, c);
}

static bool translatable(uint32_t mode)
{
    const uint32_t flat = MODE_PE | MODE_CS32 | MODE_FLAT | MODE_SS32;

    if (mode & (MODE_TF | MODE_SHADOW | MODE_VM86))
        return false;
    return mode & MODE_CS64 || (mode & flat) == flat;
}

void jit_check_tlb(X86Cpu *c)
{
    JitEnv *e = jit_env(c);

    if (e->seen_tlb_gen == c->tlb_gen)
        return;
    e->seen_tlb_gen = c->tlb_gen;
    /* No access in canonical space matches; one that does match faults, and its C body decides. */
    for (unsigned b = 0; b < TLB_BANKS; b++) {
        e->stk_page[b] = TLB_INVALID;
        e->stk_delta[b] = 0;
    }
    for (unsigned n = 0; n < (e->reach_n > REACH_LIST ? REACH_SLOTS : e->reach_n); n++) {
        Reach *r = &e->reach[e->reach_n > REACH_LIST ? n : e->reach_list[n] / sizeof *r];

        r->lo = REACH_NONE;
        r->len[0] = r->len[1] = 0;
    }
    e->reach_n = 0;
}

static uint64_t space_key(uint64_t space, bool local_kernel, bool user)
{
    return (space * 4 + local_kernel * 2 + user) * 0x9e3779b97f4a7c15ULL;
}

/* Words generated code uses that follow from state C code may have changed. */
static void refresh_env(JitCpu *j)
{
    X86Cpu *c = j->c;
    JitEnv *e = jit_env(c);

    if (j->seen_epoch != c->code_epoch) {
        j->seen_epoch = c->code_epoch;
        j->local_kernel = false;
    }
    /* Kernels map their code global: then what is known of it outlives address spaces. */
    e->space[0] = space_key(j->local_kernel ? c->code_space : (uint64_t)c->code_epoch << 40, j->local_kernel, false);
    e->space[1] = space_key(c->code_space, j->local_kernel, true);
    e->salt = e->space[(c->mode & MODE_CPL) == 3] + c->mode * MODE_SALT;
    e->leave = 0;
    jit_check_tlb(c);
}

/* The block at c->rip if it is translated and the TLB knows its page; env is ready to enter it. */
static JitBlock *look_up(JitCpu *j, bool lazy)
{
    X86Cpu *c = j->c;
    uint64_t lin = c->mode & MODE_CS64 ? c->rip : (uint32_t)c->rip;
    X86Fetch f;
    JitBlock *b;

    if (j->check || !x86_fetch_peek(c, lin, &f))       /* check: block by block */
        return NULL;
    if (!f.global && (c->mode & MODE_CPL) != 3 && !j->local_kernel)
        return NULL;            /* the salt is going to change */
    b = jit_block_find(j, f.host + (lin & (TLB_PAGE - 1)), c->mode | (lazy ? MODE_JIT_LAZY : 0));
    if (!b)
        return NULL;
    jit_tag_set(j, lin, b);
    jit_env(c)->vbase = lin & ~(uint64_t)(TLB_PAGE - 1);
    return b;
}

uint64_t jit_miss(X86Cpu *c)
{
    JitCpu *j = c->vcpu.engine;
    JitBlock *b = NULL;

    if (!atomic_load_explicit(&c->vcpu.attention, memory_order_acquire))
        b = look_up(j, true);
    if (b && jit_ientry(j, b))
        jit_ibtc_set(j, c->rip, b->ientry);
    j->want_lazy = !b && !j->check;
    return b ? b->entry : 0;
}

uint64_t jit_far_miss(X86Cpu *c)
{
    JitCpu *j = c->vcpu.engine;
    uint32_t id = jit_env(c)->far_exit;
    JitBlock *b = NULL;

    if (!atomic_load_explicit(&c->vcpu.attention, memory_order_acquire))
        b = look_up(j, id && ((JitExit *)jit_by_id(j, id))->lazy);
    if (b && id)
        jit_link_far(j, jit_by_id(j, id), b);
    return b ? b->entry : 0;
}

uint64_t jit_continue(X86Cpu *c)
{
    JitCpu *j = c->vcpu.engine;
    JitEnv *e = jit_env(c);
    JitNear *n = &j->near[(c->rip ^ c->rip >> 11) & (NEAR_ENTRIES - 1)];
    JitBlock *b;

    if (atomic_load_explicit(&c->vcpu.attention, memory_order_acquire) || !translatable(c->mode))
        return 0;
    refresh_env(j);
    if (n->rip == c->rip && n->salt == e->salt && n->age == j->age && c->mode & MODE_CS64 && n->entry) {
        e->vbase = c->rip & ~(uint64_t)(TLB_PAGE - 1);
        return n->entry;
    }
    b = look_up(j, false);
    if (!b)
        return 0;
    *n = (JitNear) { c->rip, e->salt, b->entry, j->age };
    return b->entry;
}

/* Counts a run of code that has no translation; true: it has had enough of them. Starts share
   counters by hash; all are cleared when many have been used, so that old code does not make new hot.
   What was overwritten is remembered for one round more: pages whose code changes all the time stay known. */
static bool hot_enough(JitCpu *j, const uint8_t *key)
{
    unsigned page = jit_page_hash(key);
    uint8_t *n = &j->heat[((uintptr_t)key + ((uint64_t)(uint16_t)(j->version[page] + interp_forgets(j->interp)) << 48)) * 0x9e3779b97f4a7c15ULL >> 48];

    if (*n >= j->heat_limit && (*n >= HEAT_CHURN || !j->heat_limit || !j->churn[page]))
        return true;
    ++*n;
    if (++j->heat_used >= HEAT_ENTRIES) {
        memset(j->heat, 0, sizeof j->heat);
        for (unsigned i = 0; i < CHURN_ENTRIES; i++)
            j->churn[i] >>= 1;
        j->heat_used = 0;
    }
    return false;
}

/* No whole instruction at lin in its page: one that needs the next page too. */
static JitBlock *find_crossing(JitCpu *j, const X86Fetch *f, uint64_t lin, uint32_t mode)
{
    uint64_t next = (lin | (TLB_PAGE - 1)) + 1;
    X86Fetch f2 = x86_fetch_page(j->c, mode & MODE_CS64 ? next : (uint32_t)next);

    return f2.host ? jit_translate_crossing(j, f, &f2, lin & (TLB_PAGE - 1), mode) : NULL;
}

static JitBlock *find_block(JitCpu *j, uint64_t lin, uint32_t mode)
{
    X86Cpu *c = j->c;
    X86Fetch f;
    const uint8_t *key;
    JitBlock *b;

    c->insn = &x86_no_insn;
    f = x86_fetch_page(c, lin);
    j->st.lookups++;
    j->local_kernel |= !f.global && (c->mode & MODE_CPL) != 3;
    if (!f.host)
        return NULL;
    key = f.host + (lin & (TLB_PAGE - 1));
    b = jit_block_find(j, key, mode);
    if (!b && jit_trace_wanted(j, key, mode)) {
        if (j->want.key != key)
            j->want = (TraceHead) { .key = key, .mode = mode & ~MODE_JIT_LAZY };
        return jit_trace_record(j);
    }
    if (b || !hot_enough(j, key))
        return b;
    for (unsigned try = 0; try < 2; try++) {
        b = jit_translate(j, &f, lin & (TLB_PAGE - 1), mode);
        if (!b && !j->want_flush)
            b = find_crossing(j, &f, lin, mode);
        if (!j->want_flush)
            break;
        j->want_flush = false;
        j->pending_exit = NULL;
        jit_flush(j);
    }
    return b;
}

/* Enters at c->rip and stays until generated code comes back. */
static uint64_t enter(JitCpu *j, JitBlock *b)
{
    X86Cpu *c = j->c;
    JitEnv *e = jit_env(c);
    uint64_t (*go)(X86Cpu *, uint64_t, uint64_t) = (void *)(uintptr_t)j->stubs.enter;
    bool fpu = j->want_fpu && b->uses == USES_FPU;

    e->vbase = c->rip - ((uintptr_t)b->key & (TLB_PAGE - 1));
    jit_flags_put(e, x86_flags_get(c));
    if (b->mode & MODE_JIT_LAZY) {
        e->saved_flags = e->flags;
        e->cc_code = j->stubs.cc_saved;
    }
    if (fpu)
        jit_fpu_in(c);
    j->want_fpu = false;
    j->st.enters++;
    return go(c, b->entry, fpu);
}

/* The same by an address from the branch cache. */
static uint64_t enter_cached(JitCpu *j, uint64_t host)
{
    uint64_t (*go)(X86Cpu *, uint64_t, uint64_t) = (void *)(uintptr_t)j->stubs.enter;

    jit_flags_put(jit_env(j->c), x86_flags_get(j->c));
    j->st.enters++;
    return go(j->c, host, 0);
}

/* The instruction a host fault came from is run by its C body, which raises what is due. */
static void redo_faulting(JitCpu *j)
{
    X86Cpu *c = j->c;
    const X86Insn *i = jit_fault_insn(j);

    j->st.signals++;
    x86_flags_put(c, jit_flags_get(jit_env(c)));
    if (!i)
        return;
    c->insn = i;
    c->rip += i->len;
    i->fn(c, i);
}

static void after_exit(JitCpu *j, uint64_t why)
{
    X86Cpu *c = j->c;
    JitEnv *e = jit_env(c);

    j->st.exits[why]++;
    j->settle = false;
    j->polled = why == JIT_EXIT_LOOKUP || why == JIT_EXIT_POLL_DEAD;
    if (why == JIT_EXIT_SIGNAL) {
        redo_faulting(j);
        return;
    }
    if (why == JIT_EXIT_BODY)           /* a C body left: flags are where C keeps them */
        return;
    x86_flags_put(c, jit_flags_get(e));
    if (why == JIT_EXIT_CHAIN) {
        j->pending_exit = jit_by_id(j, e->exit_arg);
        j->settle = j->pending_exit->flags_dead;        /* before an event is taken here */
        c->rip = e->vbase + j->pending_exit->off;
    } else if (why == JIT_EXIT_POLL_DEAD) {
        j->settle = true;
    } else if (why == JIT_EXIT_DEAD) {
        jit_ibtc_drop(j, c->rip);
    } else if (why == JIT_EXIT_GUARD) {
        j->one_interp = true;
    } else if (why == JIT_EXIT_FPU) {
        j->want_fpu = true;
    }
    if (!(c->mode & MODE_CS64))
        c->rip = (uint32_t)c->rip;
}

static void interpret(JitCpu *j)
{
    if (j->check)
        jit_check_dirty(j->check);
    interp_run_block(j->interp);
}

static VcpuExit attend(JitCpu *j)
{
    VcpuExit why;

    if (j->check)
        jit_check_dirty(j->check);
    if (j->polled)
        jit_trace_sample(j);
    j->polled = false;
    if (j->settle)
        interpret(j);
    j->settle = false;
    j->pending_exit = NULL;
    why = soft_attend(j->c);
    jit_code_take_dirty(j);
    return why;
}

static uint64_t enter_checked(JitCpu *j, JitBlock *b)
{
    uint64_t why = enter(j, b);

    after_exit(j, why);
    return why;
}

/* One stay in generated code, or a block of the interpreter. */
static void turn(JitCpu *j)
{
    X86Cpu *c = j->c;
    JitExit *from = j->pending_exit;
    JitBlock *b = NULL;
    bool lazy = from ? from->lazy && !j->check : j->want_lazy && !j->want_fpu;

    j->want_lazy = false;
    if (j->one_interp) {        /* its second page has moved: not by this block */
        j->one_interp = false;
        interpret(j);
        return;
    }
    if (!from && !j->want_fpu && !lazy) {
        uint64_t host = jit_continue(c);

        if (host) {
            after_exit(j, enter_cached(j, host));
            return;
        }
    }
    if (from && from->refused)
        b = jit_trace_refused(j, from);
    if (!b && translatable(c->mode))
        b = find_block(j, c->mode & MODE_CS64 ? c->rip : (uint32_t)c->rip,
                       c->mode | (from && from->nogroup ? MODE_JIT_NOGROUP : 0) | (lazy ? MODE_JIT_LAZY : 0));
    from = j->pending_exit;     /* a flush takes it away */
    j->pending_exit = NULL;
    if (!b) {
        j->st.interp++;
        interpret(j);
        return;
    }
    refresh_env(j);
    if (j->check) {
        j->failed = !jit_check_block(j, b, enter_checked);
        return;
    }
    if (from && from->refused)
        ;                       /* next time it may hold */
    else if (from && !from->far)
        jit_link(j, from, b);
    else if (from || !(b->mode & MODE_JIT_NOGROUP)) {
        jit_tag_set(j, c->mode & MODE_CS64 ? c->rip : (uint32_t)c->rip, b);
        if (from)
            jit_link_far(j, from, b);
    }
    after_exit(j, enter(j, b));
}

VcpuExit jit_run(Vcpu *v)
{
    JitCpu *j = v->engine;
    X86Cpu *c = j->c;
    VcpuExit why;
    int unwound;

    set_gs(c);
    jit_thread_init(j);
    c->insn = &x86_no_insn;
    if (soft_debugged(v))
        return soft_debug_run(c);
    unwound = sigsetjmp(v->unwind, 0);
    if (unwound) {
        interp_unwound(j->interp);
        j->pending_exit = NULL;
        j->want_fpu = j->settle = j->one_interp = false;
        why = soft_unwound(c, unwound);
        if (why != VCPU_EXIT_NONE)
            return why;
    }
    for (;;) {
        if (atomic_load_explicit(&v->attention, memory_order_acquire)) {
            why = attend(j);
            if (why != VCPU_EXIT_NONE)
                return why;
        }
        turn(j);
        if (G_UNLIKELY(j->failed))
            return VCPU_EXIT_INTERNAL_ERROR;
    }
}
