/* step: decodes and executes one instruction after the other, from the bytes that are there now. */
#include "accel/soft/step.h"

#include "accel/soft/loop.h"
#include "target/x86/insn.h"

/* The bytes at lin, page by page: a fetch fault comes only if the instruction needs the next page. */
static void fetch_and_decode(X86Cpu *c, uint64_t lin, X86Insn *i)
{
    uint8_t buf[16];
    unsigned have = 0;
    DecodeResult r = DECODE_MORE;

    while (r == DECODE_MORE && have < 15) {
        uint64_t at = c->mode & MODE_CS64 ? lin + have : (uint32_t)(lin + have);
        unsigned part = MIN(15 - have, TLB_PAGE - (at & (TLB_PAGE - 1)));
        X86Fetch f = x86_fetch_page(c, at);

        for (unsigned n = 0; n < part; n++) {
            uint64_t v = 0xff;

            if (f.host)
                v = f.host[(at & (TLB_PAGE - 1)) + n];
            else
                addrspace_read(&c->vcpu.machine->mem, f.pa + (at & (TLB_PAGE - 1)) + n, 1, &v);
            buf[have + n] = v;
        }
        have += part;
        r = x86_decode(buf, have, c->mode, c->model, i);
    }
}

/* i is the instruction at RIP. */
static void execute(X86Cpu *c, X86Insn *i)
{
    uint32_t key = c->mode;

    if (!(key & MODE_CS64) && c->rip + i->len - 1 > c->seg[S_CS].limit)
        x86_raise_err(c, EXC_GP, 0);
    c->insn = i;
    c->rip += i->len;
    i->fn(c, i);
    c->vcpu.stat_insns++;
    if ((key | c->mode) & (MODE_TF | MODE_SHADOW))
        x86_boundary(c, key);
}

VcpuExit soft_step(X86Cpu *c, unsigned n)
{
    Vcpu *v = &c->vcpu;
    g_autofree X86Insn *insn = g_new0(X86Insn, 1);      /* outlives the unwinding */
    volatile unsigned left = n;
    VcpuExit why;
    int unwound;

    x86_update_mode(c);
    x86_tlb_flush_all(c);
    unwound = sigsetjmp(v->unwind, 0);
    if (unwound) {
        why = soft_unwound(c, unwound);
        if (why != VCPU_EXIT_NONE) {
            c->insn = &x86_no_insn;
            return why;
        }
    }
    while (left && !v->halted) {
        if (c->db_pending)
            x86_service(c);
        left = left - 1;
        c->insn = &x86_no_insn;         /* a fetch fault belongs to no instruction */
        fetch_and_decode(c, soft_lin(c), insn);
        execute(c, insn);
        if (atomic_load_explicit(&v->attention, memory_order_acquire) && !c->db_pending && !(c->mode & MODE_SHADOW))
            break;
    }
    if (c->db_pending)
        x86_service(c);
    c->insn = &x86_no_insn;
    return VCPU_EXIT_NONE;
}

/* --- a whole processor --- */

enum { CACHE_BITS = 13, BYTES = 16 };

typedef struct Decoded {
    uint64_t bytes[BYTES / 8];
    uint32_t mode;
    X86Insn insn;               /* len 0: nothing here */
} Decoded;

struct SoftCache {
    Decoded at[1 << CACHE_BITS];
    X86Insn scratch;

    /* The page of the last instruction, while its translation holds. */
    const uint8_t *host;        /* NULL: not known */
    uint64_t page, space;
    uint32_t epoch, user;
};

SoftCache *soft_cache_new(void)
{
    return g_new0(SoftCache, 1);
}

void soft_cache_free(SoftCache *s)
{
    g_free(s);
}

static const uint8_t *code_page(X86Cpu *c, SoftCache *s, uint64_t lin)
{
    uint32_t user = x86_cpl(c) == 3;

    if (!s->host || (lin ^ s->page) >= TLB_PAGE || s->space != c->code_space || s->epoch != c->code_epoch || s->user != user) {
        s->host = x86_fetch_page(c, lin).host;
        s->page = lin & ~(uint64_t)(TLB_PAGE - 1);
        s->space = c->code_space;
        s->epoch = c->code_epoch;
        s->user = user;
    }
    return s->host;
}

static X86Insn *decoded(X86Cpu *c, SoftCache *s, uint64_t lin)
{
    unsigned off = lin & (TLB_PAGE - 1);
    const uint8_t *host = off <= TLB_PAGE - BYTES ? code_page(c, s, lin) : NULL;
    uint64_t now[BYTES / 8];
    Decoded *d;

    if (!host) {
        fetch_and_decode(c, lin, &s->scratch);
        return &s->scratch;
    }
    memcpy(now, host + off, BYTES);
    d = &s->at[(lin ^ lin >> CACHE_BITS) & ((1 << CACHE_BITS) - 1)];
    if (d->insn.len && d->mode == c->mode && d->bytes[0] == now[0] && d->bytes[1] == now[1])
        return &d->insn;
    d->insn.len = 0;
    if (x86_decode((const uint8_t *)now, 15, c->mode, c->model, &d->insn) == DECODE_MORE)
        d->insn.len = 0;
    memcpy(d->bytes, now, BYTES);
    d->mode = c->mode;
    return &d->insn;
}

static void step_cached(X86Cpu *c, SoftCache *s)
{
    c->insn = &x86_no_insn;
    execute(c, decoded(c, s, soft_lin(c)));
}

VcpuExit soft_run(X86Cpu *c, SoftCache *s, bool force, bool (*leave)(const X86Cpu *c))
{
    Vcpu *v = &c->vcpu;
    volatile bool must = force;
    VcpuExit why;
    int unwound;

    c->insn = &x86_no_insn;
    s->host = NULL;
    unwound = sigsetjmp(v->unwind, 0);
    if (unwound) {
        must = false;
        why = soft_unwound(c, unwound);
        if (why != VCPU_EXIT_NONE)
            return why;
    }
    for (;;) {
        if (__builtin_expect(atomic_load_explicit(&v->attention, memory_order_acquire), 0)) {
            s->host = NULL;
            why = soft_attend(c);
            if (why != VCPU_EXIT_NONE)
                return why;
        }
        if (!must && leave(c))
            return VCPU_EXIT_NONE;
        step_cached(c, s);
        must = false;
    }
}

/* --- under a debugger --- */

static VcpuExit hit(VcpuDebug *d, DebugHit why)
{
    d->hit = why;
    return VCPU_EXIT_DEBUG;
}

static bool at_stop(const X86Cpu *c, const VcpuDebug *d)
{
    uint64_t lin = soft_lin(c);

    for (guint i = 0; i < d->stops->len; i++) {
        if (g_array_index(d->stops, uint64_t, i) == lin)
            return true;
    }
    return false;
}

/* Queued work, and events unless a single instruction is asked for. */
static VcpuExit debug_attend(X86Cpu *c, const VcpuDebug *d)
{
    Vcpu *v = &c->vcpu;

    if (!d->step)
        return soft_attend(c);
    atomic_exchange_explicit(&v->attention, 0, memory_order_acq_rel);
    if (!vcpu_attend(v))
        return VCPU_EXIT_NONE;
    atomic_store_explicit(&v->attention, 1, memory_order_relaxed);
    return VCPU_EXIT_KICK;
}

VcpuExit soft_debug_run(X86Cpu *c)
{
    Vcpu *v = &c->vcpu;
    VcpuDebug *d = v->debug;
    SoftCache *volatile s = soft_cache_new();
    VcpuExit why = VCPU_EXIT_NONE;
    int unwound;

    c->insn = &x86_no_insn;
    unwound = sigsetjmp(v->unwind, 0);
    if (unwound) {
        why = soft_unwound(c, unwound);
        if (d->step && (why == VCPU_EXIT_NONE || why == VCPU_EXIT_HALT))
            why = hit(d, DEBUG_STEP);
    }
    while (why == VCPU_EXIT_NONE) {
        if (atomic_load_explicit(&v->attention, memory_order_acquire)) {
            s->host = NULL;
            why = debug_attend(c, d);
            if (why != VCPU_EXIT_NONE)
                break;
        }
        if (at_stop(c, d)) {
            why = hit(d, DEBUG_STOP);
            break;
        }
        step_cached(c, s);
        if (d->hit == DEBUG_WATCH)
            why = VCPU_EXIT_DEBUG;
        else if (d->step)
            why = hit(d, DEBUG_STEP);
    }
    c->insn = &x86_no_insn;
    soft_cache_free(s);
    return why;
}
