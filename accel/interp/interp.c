/*
 * interp: the engine that executes decoded instructions one by one through their C bodies.
 *
 * Between blocks it looks at the attention word; a fault in a body unwinds to the frame of interp_run.
 * It is complete, and the reference for the jit.
 */
#include "accel/interp/interp_int.h"

#include "accel/soft/loop.h"
#include "accel/soft/step.h"
#include "softmmu/accel.h"

#include <inttypes.h>

/* Code beyond the segment limit is #GP: only where segments are not flat. */
static void check_limit(X86Cpu *c, Interp *e, const Block *b)
{
    uint64_t limit = c->seg[S_CS].limit;

    if (c->rip + b->len - 1 <= limit)
        return;
    c->insn = &x86_no_insn;
    if (c->rip + b->insns[0].len - 1 > limit)
        x86_raise_err(c, EXC_GP, 0);
    /* The first instructions fit: run them one at a time. */
    e->stop = b->insns + 1;
}

/* The block at lin, by way of what followed the last block before. */
static inline Block *follow(Interp *e, X86Cpu *c, uint64_t lin)
{
    Block *from = e->last, *b;

    if (__builtin_expect(from != NULL, 1)) {
        unsigned k = lin != e->last_end;

        b = from->next[k].to;
        if (__builtin_expect(b && from->next[k].lin == lin && from->next[k].space == c->code_space &&
                             b->mode == c->mode && !b->dead, 1))
            return b;
        b = interp_find(e, lin);
        if (b != e->scratch && e->last) {       /* finding may have emptied the arena */
            from->next[k].lin = lin;
            from->next[k].space = c->code_space;
            from->next[k].to = b;
        }
        return b;
    }
    return interp_find(e, lin);
}

void interp_run_block(Interp *e)
{
    X86Cpu *c = e->c;
    uint64_t lin = soft_lin(c), rip = c->rip;
    Block *b = follow(e, c, lin);
    const X86Insn *i = b->insns;
    uint32_t key = b->mode;

    e->stop = i + b->n;
    e->current = b;
    if (__builtin_expect(!(key & (MODE_CS64 | MODE_FLAT)), 0))
        check_limit(c, e, b);
    do {
        c->insn = i;
        c->rip = rip + i->end;
        i->fn(c, i);
        i++;
    } while (i < e->stop);
    c->vcpu.stat_insns += i - b->insns;
    e->current = NULL;
    e->last = b != e->scratch ? b : NULL;
    e->last_end = lin + b->len;
    if (__builtin_expect((key | c->mode) & (MODE_TF | MODE_SHADOW), 0))
        x86_boundary(c, key);
}

void interp_unwound(Interp *e)
{
    const X86Insn *i = e->c->insn;

    /* A body that delivered or switched tasks has put the instruction of no length there. */
    if (e->current && i >= e->current->insns && i < e->current->insns + e->current->n)
        e->c->vcpu.stat_insns += i - e->current->insns;
    e->current = NULL;
    e->last = NULL;
}

static VcpuExit interp_run(Vcpu *v)
{
    X86Cpu *c = x86_cpu(v);
    Interp *e = v->engine;
    VcpuExit why;
    int unwound;

    c->insn = &x86_no_insn;
    if (soft_debugged(v)) {
        e->last = NULL;
        return soft_debug_run(c);
    }
    unwound = sigsetjmp(v->unwind, 0);
    if (unwound) {
        interp_unwound(e);
        why = soft_unwound(c, unwound);
        if (why != VCPU_EXIT_NONE)
            return why;
    }
    for (;;) {
        if (__builtin_expect(atomic_load_explicit(&v->attention, memory_order_acquire), 0)) {
            why = soft_attend(c);
            interp_take_written(e);
            if (why != VCPU_EXIT_NONE)
                return why;
        }
        interp_run_block(e);
    }
}

/* ---- the engine ---- */

static void interp_written(Vcpu *v, RamBlock *rb, uint64_t off, uint64_t len, bool own)
{
    if (v->engine)
        interp_code_written(v->engine, rb, off, len, own);
}

static bool interp_probe(const void *cpu_model, GError **why)
{
    return true;
}

static bool interp_create(Machine *m, GHashTable *opts, GError **err)
{
    m->accel_state = soft_code_new(m, interp_written);
    return true;
}

static void interp_destroy(Machine *m)
{
    soft_code_free(m->accel_state);
    m->accel_state = NULL;
}

static bool interp_vcpu_create(Vcpu *v, GError **err)
{
    v->engine = interp_new(x86_cpu(v), v->machine->accel_state, INTERP_ARENA);
    return true;
}

static void interp_vcpu_destroy(Vcpu *v)
{
    Interp *e = v->engine;

    v->engine = NULL;
    if (e)
        interp_free(e);
}

static char *interp_describe(Machine *m)
{
    GString *s = g_string_new(NULL);

    for (unsigned n = 0; n < m->vcpus->len; n++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, n);
        uint64_t decoded = 0, dropped = 0;

        if (v->engine)
            interp_stats(v->engine, &decoded, &dropped);
        g_string_append_printf(s, "cpu %u: %" PRIu64 " instructions executed, %" PRIu64 " decoded, %" PRIu64
                               " blocks dropped after stores\n", n, v->stat_insns, decoded, dropped);
    }
    return g_string_free(s, false);
}

const Accel interp_accel = {
    .name = "interp",
    .desc = "interpreter: portable, complete",
    .options = "thread",
    .probe = interp_probe,
    .create = interp_create,
    .destroy = interp_destroy,
    .vcpu_create = interp_vcpu_create,
    .vcpu_destroy = interp_vcpu_destroy,
    .run = interp_run, .debug = soft_debug,
    .describe = interp_describe,
};
