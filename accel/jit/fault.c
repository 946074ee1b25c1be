/*
 * fault: host faults inside generated code become the guest's.
 *
 * Misaligned SSE operands, divide errors and unmasked floating-point exceptions of copied
 * instructions arrive as signals. The handler only redirects the thread to a stub that leaves
 * generated code with all registers as they were; the run loop then has the instruction's C body
 * find out what is wrong. Other signals go where they went before.
 */
#include "accel/jit/jit_int.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { ALT_STACK = 64 << 10 };
static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE };
static struct sigaction old_action[G_N_ELEMENTS(signals)];      /* set once, before any vcpu runs */

static __thread JitCpu *running;        /* this thread's, from its first run() on */

static void chain(int sig, siginfo_t *info, void *uc)
{
    for (unsigned n = 0; n < G_N_ELEMENTS(signals); n++) {
        struct sigaction *o = &old_action[n];

        if (signals[n] != sig)
            continue;
        if (o->sa_flags & SA_SIGINFO && o->sa_sigaction) {
            o->sa_sigaction(sig, info, uc);
            return;
        }
        if (!(o->sa_flags & SA_SIGINFO) && o->sa_handler != SIG_DFL && o->sa_handler != SIG_IGN) {
            o->sa_handler(sig);
            return;
        }
    }
    signal(sig, SIG_DFL);       /* happens again at once, with the default action */
}

static void on_signal(int sig, siginfo_t *info, void *ucp)
{
    ucontext_t *uc = ucp;
    uint64_t pc = (uint64_t)uc->uc_mcontext.gregs[REG_RIP];
    JitCpu *j = running;

    if (j && jit_in_cache(j, pc) && !(pc >= j->stubs.lo && pc < j->stubs.hi)) {
        uint64_t at = (uint64_t)(uintptr_t)info->si_addr - (uint64_t)(uintptr_t)j->shadow;

        if (sig == SIGSEGV && at < SHADOW_GUARD) {      /* calls nested too deep: forget the outer ones */
            uc->uc_mcontext.gregs[REG_RSP] = (greg_t)jit_env(j->c)->shadow;
            return;
        }
        jit_env(j->c)->fault_pc = pc;
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)j->stubs.exit_signal;
        return;
    }
    chain(sig, info, ucp);
}

void jit_thread_init(JitCpu *j)
{
    stack_t now, mine = { .ss_size = ALT_STACK };

    if (running == j)
        return;
    running = j;
    if (!sigaltstack(NULL, &now) && !(now.ss_flags & SS_DISABLE))
        return;
    mine.ss_sp = mmap(NULL, ALT_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (mine.ss_sp != MAP_FAILED)
        sigaltstack(&mine, NULL);
}

bool jit_signals_install(GError **err)
{
    static gsize once;

    if (g_once_init_enter(&once)) {
        struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

        sigemptyset(&sa.sa_mask);
        for (unsigned n = 0; n < G_N_ELEMENTS(signals); n++)
            sigaction(signals[n], &sa, &old_action[n]);
        g_once_init_leave(&once, 1);
    }
    return true;
}

/* Flags as they were at the instruction of mark m, from what its block wrote down. */
static uint32_t flags_at(JitCpu *j, const JitBlock *b, const InsnMark *m, uint32_t host)
{
    JitEnv *e = jit_env(j->c);
    const Recipe *r = &b->recipes[m->recipe];
    uint64_t f;

    if (m->home == FH_HOST || m->home == FH_DEAD)
        return host;
    if (m->home == FH_CC)
        return (uint32_t)((uint64_t (*)(void))(uintptr_t)j->stubs.cc_get)();
    if (m->home == FH_SAVED || r->kind == RC_SAVED)
        return (e->saved_flags >> 8 & 0xd5) | (e->saved_flags & 1 ? FL_OF : 0);
    uint64_t a = j->c->gpr[r->a], x = j->c->gpr[r->b], imm = (int64_t)r->imm;
#define SIZED(op, l, rr)                                                                       \
    switch (r->size) {                                                                         \
    case 1: __asm__(op "b %2, %1; pushfq; popq %0" : "=r"(f) : "q"((uint8_t)(l)), "q"((uint8_t)(rr)) : "cc"); break;    \
    case 2: __asm__(op "w %2, %1; pushfq; popq %0" : "=r"(f) : "r"((uint16_t)(l)), "r"((uint16_t)(rr)) : "cc"); break;  \
    case 4: __asm__(op "l %2, %1; pushfq; popq %0" : "=r"(f) : "r"((uint32_t)(l)), "r"((uint32_t)(rr)) : "cc"); break;  \
    default: __asm__(op "q %2, %1; pushfq; popq %0" : "=r"(f) : "r"((uint64_t)(l)), "r"((uint64_t)(rr)) : "cc"); break; \
    }
#define SIZED_RW(op, l, rr) do {                                                               \
        uint64_t tmp_ = (l);                                                                   \
        if (r->size == 4) {                                                                    \
            uint32_t t4_ = (uint32_t)tmp_;                                                     \
            __asm__(op "l %2, %1; pushfq; popq %0" : "=r"(f), "+r"(t4_) : "r"((uint32_t)(rr)) : "cc");  \
        } else {                                                                               \
            __asm__(op "q %2, %1; pushfq; popq %0" : "=r"(f), "+r"(tmp_) : "r"((uint64_t)(rr)) : "cc"); \
        }                                                                                      \
    } while (0)
    switch (r->kind) {
    case RC_CMP_RR: SIZED("cmp", a, x) break;
    case RC_CMP_RI: SIZED("cmp", a, imm) break;
    case RC_TEST_RR: SIZED("test", a, x) break;
    case RC_TEST_RI: SIZED("test", a, imm) break;
    case RC_LOGIC: SIZED("test", a, a) break;
    case RC_ADD_RI: SIZED_RW("add", a - r->adj - imm, imm); break;
    case RC_SUB_RI: SIZED_RW("sub", a - r->adj + imm, imm); break;
    case RC_ADD_RR: SIZED_RW("add", a - x, x); break;
    case RC_SUB_RR: SIZED_RW("sub", a + x, x); break;
    default: f = host; break;
    }
#undef SIZED
#undef SIZED_RW
    return (uint32_t)f;
}

const X86Insn *jit_fault_insn(JitCpu *j)
{
    JitEnv *e = jit_env(j->c);
    JitBlock *b = jit_block_at_pc(j, e->fault_pc);
    int k;

    if (!b)
        return NULL;
    for (k = b->n - 1; k > 0 && b->code + b->marks[k].host > e->fault_pc; k--)
        continue;
    jit_flags_put(e, flags_at(j, b, &b->marks[k], jit_flags_get(e)));
    j->c->rip = e->vbase + b->marks[k].off;
    j->spare.i = jit_block_insn(j, b, k);
    return &j->spare.i;
}
