/*
 * clock: guest time, host time and timers with nanosecond deadlines.
 *
 * CLOCK_VM stands still while the machine is stopped and starts at 0; CLOCK_HOST is
 * wall-clock time since 1970; CLOCK_RT is monotonic host time. Timer callbacks run on
 * the main thread with the machine lock held. Setting and deleting timers: any thread
 * with the machine lock; clock_ns: any thread, no lock.
 */
#ifndef SOFTMMU_CLOCK_H
#define SOFTMMU_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum { CLOCK_VM, CLOCK_HOST, CLOCK_RT, CLOCK_KINDS } ClockKind;

typedef struct Clocks Clocks;   /* one per Machine */

/* manual: CLOCK_VM moves only by clocks_step (tests: virtual time; all other kinds follow it). */
Clocks *clocks_new(bool manual);
void clocks_free(Clocks *c);
int64_t clock_ns(Clocks *c, ClockKind kind);
void clocks_set_running(Clocks *c, bool running);   /* stops and starts CLOCK_VM */
void clocks_set_vm_ns(Clocks *c, int64_t ns);       /* after loading a state */
/* Manual clocks: advance by ns, running each timer at its own deadline on the way. */
void clocks_step(Clocks *c, int64_t ns);
/* Earliest deadline in ns of any kind, relative to now; -1: none. */
int64_t clocks_next_ns(Clocks *c);
/* Runs timers that are due; returns whether any ran. Machine lock held. */
bool clocks_run(Clocks *c);
/* Names a thread that is interrupted when a deadline has passed and the main thread did not come:
   late(opaque) then runs in a signal handler of thread tid (atomics only) and sees to it that the
   thread soon calls clocks_run_late with the machine lock. late NULL: no helper. Machine lock held. */
void clocks_set_helper(Clocks *c, int tid, void (*late)(void *opaque), void *opaque);
/* Runs the due CLOCK_VM timers that may run on any thread. Machine lock held. */
void clocks_run_late(Clocks *c);
/* Attaches a GSource (timerfd) that calls clocks_run to the default main context. */
void clocks_attach(Clocks *c);

typedef struct Timer {
    Clocks *clocks;
    ClockKind kind;
    void (*fn)(void *opaque);
    void *opaque;
    int64_t deadline;           /* ns on its clock; valid while active */
    int heap_index;             /* -1: not active */
    bool any_thread;            /* fn only moves interrupt lines: a vcpu may call it when main is late */
    bool *busy;                 /* the owner's busy flag, set around fn; or NULL */
} Timer;

void timer_init(Timer *t, Clocks *c, ClockKind kind, void (*fn)(void *opaque), void *opaque);
/* Fires once at deadline ns (absolute on its clock). deadline <= 0 stops the timer. */
void timer_set(Timer *t, int64_t deadline);
void timer_del(Timer *t);
static inline bool timer_active(const Timer *t) { return t->heap_index >= 0; }

#endif
