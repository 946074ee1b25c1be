/*
 * vcpu: the shell of a virtual CPU: its thread, its attention word, its pending events.
 *
 * The architecture embeds a Vcpu first in its own struct (target/x86/cpu.h). One thread per
 * vcpu runs: wait until runnable, then accel->run(). An engine runs guest code without the
 * machine lock and looks at `attention` between blocks.
 *
 * Cross-thread words: attention and irq are atomics. A sender sets irq bits (release), then
 * attention (release), then wakes or kicks; the vcpu reads attention (acquire), clears it,
 * then reads irq. Nothing else of a running vcpu may be touched by another thread; use
 * vcpu_run_on().
 */
#ifndef SOFTMMU_VCPU_H
#define SOFTMMU_VCPU_H

#include "softmmu/machine.h"
#include "softmmu/state.h"

#include <setjmp.h>

enum {                          /* bits of Vcpu.irq: level-type lines and latched events */
    VCPU_IRQ_INTR = 1 << 0,     /* maskable interrupt line is up (LAPIC or PIC has a vector) */
    VCPU_IRQ_NMI = 1 << 1,      /* latched */
    VCPU_IRQ_SMI = 1 << 2,
    VCPU_IRQ_INIT = 1 << 3,
    VCPU_IRQ_SIPI = 1 << 4,     /* vector in sipi_vector */
    VCPU_IRQ_MCE = 1 << 5,
    VCPU_IRQ_POLL = 1 << 6,     /* LAPIC wants its poll() called on the vcpu thread */
};

typedef enum { VCPU_EXIT_NONE, VCPU_EXIT_HALT, VCPU_EXIT_KICK, VCPU_EXIT_DEBUG, VCPU_EXIT_TRIPLE_FAULT,
               VCPU_EXIT_INTERNAL_ERROR } VcpuExit;

/* What the architecture provides; set at creation. */
typedef struct VcpuOps {
    bool (*has_work)(Vcpu *v);          /* halted, but an event would wake it; lock held */
    void (*reset)(Vcpu *v);             /* power-on state; thread stopped; lock held */
    void (*init_reset)(Vcpu *v);        /* INIT */
    char *(*describe)(Vcpu *v);         /* "info registers" text; caller frees */
    void (*flush_tlb)(Vcpu *v);         /* everything; on the vcpu's thread or stopped */
    const StateDesc *state;
    void (*free)(Vcpu *v);              /* at machine_free, after the thread has ended; optional */
} VcpuOps;

typedef struct VcpuWork VcpuWork;

/* What a debugger outside the guest wants of a vcpu. Changed while v stands only, then accel->debug(v). */
typedef struct VcpuWatch { uint64_t addr, len; bool read, write; } VcpuWatch;
typedef enum { DEBUG_NONE, DEBUG_TRAP, DEBUG_STOP, DEBUG_STEP, DEBUG_WATCH, DEBUG_PAGE } DebugHit;
typedef struct VcpuDebug {
    GArray *traps;              /* of uint64_t: physical addresses whose INT3 is the debugger's */
    GArray *lazy;               /* of uint64_t: linear addresses that are in no memory yet: DEBUG_PAGE at a fetch from the page,
                                   as at a fetch from a page whose trap the guest has overwritten (software engines) */
    GArray *stops;              /* of uint64_t: linear addresses to stop before */
    GArray *watches;            /* of VcpuWatch, linear */
    bool step;                  /* leave after one instruction, without taking interrupts */
    bool hold;                  /* stand still while others run */
    DebugHit hit;               /* why run() returned VCPU_EXIT_DEBUG; the debugger clears it */
    uint64_t hit_addr;          /* the address watched, or the page */
} VcpuDebug;

struct Vcpu {
    _Atomic uint32_t attention; /* not 0: leave generated code at the next block boundary */
    _Atomic uint32_t irq;       /* VCPU_IRQ_* */
    int index;
    Machine *machine;
    const VcpuOps *ops;
    void *engine;               /* the accelerator's per-vcpu data */
    FlatView *mem_view;         /* this vcpu's reference, refreshed at attention (own thread) */
    FlatView *port_view;
    sigjmp_buf unwind;          /* faults and exits from C bodies land here (own thread) */
    bool halted;                /* HLT or wait-for-SIPI, until an event that run() delivers; own thread, or lock held while stopped */
    bool engine_waits;          /* the engine itself waits for the interrupts of a halted vcpu */
    bool stopped;               /* outside guest code and staying there; lock */
    bool stop_request;
    bool in_run;                /* inside accel->run; lock */
    bool quit;                  /* the thread shall end; lock */
    uint8_t sipi_vector;
    GThread *thread;
    int host_tid;
    _Atomic uint32_t chores;    /* internal to vcpu.c: what vcpu_attend has to do */
    GMutex wake_lock;           /* leaf lock: guards woken and work */
    GCond wake;
    bool woken;
    VcpuWork *work;             /* queued functions, oldest first */
    _Atomic bool in_guest;      /* engine is running; tells kick whether a signal is needed */
    VcpuExit exit_reason;
    VcpuDebug *debug;           /* the debugger's; NULL: none */
    uint64_t stat_insns;        /* guest instructions the interpreter executed (generated code does not count) */
};

/* Puts v (index set by the caller, zeroed otherwise, ops set) into m->vcpus, takes the views and
   calls the engine's vcpu_create. Lock held. */
bool vcpu_attach(Machine *m, Vcpu *v, GError **err) MUST_CHECK;
/* Starts v's thread (stopped until machine_start). Lock held. */
void vcpu_start_thread(Vcpu *v);
void vcpu_join(Vcpu *v);                /* ends the thread; lock held on entry and exit */

void vcpu_raise(Vcpu *v, uint32_t irq_bits);    /* any thread */
static inline void vcpu_lower(Vcpu *v, uint32_t irq_bits) { atomic_fetch_and(&v->irq, ~irq_bits); }
void vcpu_kick(Vcpu *v);                        /* make it look at attention soon; any thread */
/* Runs fn on v's thread (or here, if v is the caller or outside guest code) and waits. fn has the
   machine lock. Lock held; released while waiting: on a vcpu thread, work queued to the caller may run meanwhile. */
void vcpu_run_on(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque);
/* The same without waiting. Any thread. */
void vcpu_queue(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque);
/* Engine, own thread, attention was set and cleared: runs queued work and refreshes views.
   True: the engine must return from run(). */
bool vcpu_attend(Vcpu *v);
/* Own thread, lock held: region changes made so far count for v from now on, not only after its
   next look at attention. */
void vcpu_take_views(Vcpu *v);
Vcpu *vcpu_current(void);                       /* of this thread, or NULL */

#endif
