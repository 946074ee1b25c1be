/*
 * vcpu: the thread of a virtual CPU, waking and stopping it, and running functions on it.
 *
 * Sleeping uses a leaf mutex of the vcpu and a sticky flag, so that a sender needs no machine
 * lock: it sets its bits, then wakes. A sleeper decides under the machine lock that it has
 * nothing to do; whatever becomes true afterwards leaves `woken` set and the sleep short.
 */
#include "softmmu/vcpu.h"

#include "softmmu/accel.h"
#include "softmmu/softmmu_int.h"
#include "util/log.h"

#include <unistd.h>

enum { CHORE_WORK = 1 << 0, CHORE_VIEWS = 1 << 1, CHORE_STOP = 1 << 2, CHORE_TIMERS = 1 << 3 };

struct VcpuWork {
    VcpuWork *next;
    void (*fn)(Vcpu *v, void *opaque);
    void *opaque;
    bool waited;                /* somebody waits for done and owns the struct */
    bool done;                  /* machine lock */
};

static __thread Vcpu *current_vcpu;

Vcpu *vcpu_current(void)
{
    return current_vcpu;
}

static void vcpu_wake(Vcpu *v)
{
    g_mutex_lock(&v->wake_lock);
    v->woken = true;
    g_cond_signal(&v->wake);
    g_mutex_unlock(&v->wake_lock);
}

/* Lock held; released while asleep. */
static void vcpu_sleep(Vcpu *v)
{
    machine_unlock();
    g_mutex_lock(&v->wake_lock);
    while (!v->woken)
        g_cond_wait(&v->wake, &v->wake_lock);
    v->woken = false;
    g_mutex_unlock(&v->wake_lock);
    machine_lock();
}

void vcpu_kick(Vcpu *v)
{
    const Accel *a = v->machine->accel;

    atomic_store_explicit(&v->attention, 1, memory_order_release);
    if (v != current_vcpu && atomic_load(&v->in_guest) && a && a->kick)
        a->kick(v);
    vcpu_wake(v);
}

void vcpu_raise(Vcpu *v, uint32_t irq_bits)
{
    atomic_fetch_or(&v->irq, irq_bits);
    vcpu_kick(v);
}

static void vcpu_chore(Vcpu *v, uint32_t what)
{
    atomic_fetch_or(&v->chores, what);
    vcpu_kick(v);
}

/* --- functions run on a vcpu --- */

static void work_push(Vcpu *v, VcpuWork *w)
{
    VcpuWork **tail;

    g_mutex_lock(&v->wake_lock);
    for (tail = &v->work; *tail; tail = &(*tail)->next)
        continue;
    *tail = w;
    g_mutex_unlock(&v->wake_lock);
    vcpu_chore(v, CHORE_WORK);
}

static VcpuWork *work_pop(Vcpu *v)
{
    VcpuWork *w;

    g_mutex_lock(&v->wake_lock);
    w = v->work;
    if (w)
        v->work = w->next;
    g_mutex_unlock(&v->wake_lock);
    return w;
}

/* Lock held, own thread (or the thread is outside guest code). */
static void work_run(Vcpu *v)
{
    VcpuWork *w;
    bool any = false;

    while ((w = work_pop(v))) {
        bool waited = w->waited;

        w->fn(v, w->opaque);
        w->done = true;         /* the waiter may free w once it has the lock */
        if (!waited)
            g_free(w);
        any = true;
    }
    if (any)
        g_cond_broadcast(machine_cond());
}

void vcpu_run_on(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque)
{
    VcpuWork w = { .fn = fn, .opaque = opaque, .waited = true };

    if (v == current_vcpu || !v->thread || !v->in_run) {
        work_run(v);            /* keep the order of earlier queued work */
        fn(v, opaque);
        return;
    }
    work_push(v, &w);
    while (!w.done) {
        if (current_vcpu)
            work_run(current_vcpu);     /* two vcpus may wait for each other */
        if (!w.done)
            machine_cond_wait(machine_cond());
    }
}

void vcpu_queue(Vcpu *v, void (*fn)(Vcpu *v, void *opaque), void *opaque)
{
    VcpuWork *w = g_new0(VcpuWork, 1);

    w->fn = fn;
    w->opaque = opaque;
    work_push(v, w);
}

/* --- views --- */

/* Lock held, own thread or outside guest code. */
static void take_views(Vcpu *v)
{
    Machine *m = v->machine;

    if (v->port_view != m->ports.view) {
        flat_view_unref(v->port_view);
        v->port_view = addrspace_view_ref(&m->ports);
    }
    if (v->mem_view != m->mem.view) {
        flat_view_unref(v->mem_view);
        v->mem_view = addrspace_view_ref(&m->mem);
        if (v->ops && v->ops->flush_tlb)
            v->ops->flush_tlb(v);
    }
}

void vcpu_take_views(Vcpu *v)
{
    take_views(v);
}

static void take_views_work(Vcpu *v, void *opaque)
{
    take_views(v);
}

void vcpus_refresh_views(Machine *m)
{
    for (unsigned i = 0; i < m->vcpus->len; i++)
        vcpu_chore(g_ptr_array_index(m->vcpus, i), CHORE_VIEWS);
}

void machine_sync_views(Machine *m)
{
    for (unsigned i = 0; i < m->vcpus->len; i++)
        vcpu_run_on(g_ptr_array_index(m->vcpus, i), take_views_work, NULL);
}

bool vcpu_attend(Vcpu *v)
{
    uint32_t c = atomic_exchange(&v->chores, 0);
    bool lock;

    if (!c)
        return false;
    if (c & (CHORE_WORK | CHORE_VIEWS | CHORE_TIMERS)) {
        lock = !machine_lock_held();
        if (lock)
            machine_lock();
        work_run(v);
        take_views(v);
        if (c & CHORE_TIMERS)
            clocks_run_late(v->machine->clocks);
        if (lock)
            machine_unlock();
    }
    return c & CHORE_STOP;
}

/* --- stopping --- */

static void stop_one(Vcpu *v)
{
    v->stop_request = true;
    vcpu_chore(v, CHORE_STOP);
}

void vcpu_leave_current(Machine *m)
{
    if (current_vcpu && current_vcpu->machine == m)
        vcpu_chore(current_vcpu, CHORE_STOP);
}

void vcpus_pause(Machine *m)
{
    g_assert(!current_vcpu);
    if (m->pause_depth++)
        return;
    for (unsigned i = 0; i < m->vcpus->len; i++)
        stop_one(g_ptr_array_index(m->vcpus, i));
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, i);

        while (v->thread && !v->stopped)
            machine_cond_wait(machine_cond());
    }
}

void vcpus_resume(Machine *m)
{
    g_assert(m->pause_depth);
    if (--m->pause_depth)
        return;
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, i);

        v->stop_request = false;
        vcpu_kick(v);
    }
}

/* --- the thread --- */

static void handle_exit(Vcpu *v, VcpuExit why)
{
    Machine *m = v->machine;

    v->exit_reason = why;
    switch (why) {
    case VCPU_EXIT_DEBUG:
        machine_request_stop(m, RUN_DEBUG);
        break;
    case VCPU_EXIT_TRIPLE_FAULT:
        v->halted = true;
        machine_request_reset(m, CAUSE_TRIPLE_FAULT);
        break;
    case VCPU_EXIT_INTERNAL_ERROR:
        machine_request_stop(m, RUN_INTERNAL_ERROR);
        break;
    default:
        break;
    }
}

/* Whether v has to stand still; a stop or reset that is on its way counts, so that a guest
   which asked for a reset runs no further. */
static bool must_stop(const Vcpu *v)
{
    return v->stop_request || (v->debug && v->debug->hold) || v->machine->state != RUN_RUNNING || atomic_load(&v->machine->requests);
}

static void vcpu_run_once(Vcpu *v)
{
    VcpuExit why;

    take_views(v);
    atomic_store_explicit(&v->attention, 1, memory_order_release);  /* look at irq and chores first */
    v->in_run = true;
    atomic_store(&v->in_guest, true);
    machine_unlock();
    why = v->machine->accel->run(v);
    machine_lock();
    atomic_store(&v->in_guest, false);
    v->in_run = false;
    handle_exit(v, why);
}

/* In a signal handler of v's thread: the main thread has missed a deadline. */
static void timers_are_late(void *opaque)
{
    Vcpu *v = opaque;

    atomic_fetch_or(&v->chores, CHORE_TIMERS);
    atomic_store_explicit(&v->attention, 1, memory_order_release);
}

static gpointer vcpu_thread(gpointer data)
{
    Vcpu *v = data;

    current_vcpu = v;
    v->host_tid = gettid();
    machine_lock();
    if (v->index == 0)
        clocks_set_helper(v->machine->clocks, v->host_tid, timers_are_late, v);
    while (!v->quit) {
        work_run(v);
        if (must_stop(v)) {
            v->stopped = true;
            g_cond_broadcast(machine_cond());
            vcpu_sleep(v);
            continue;
        }
        v->stopped = false;
        if (v->halted && !v->engine_waits && !v->ops->has_work(v) && !(v->debug && v->debug->step)) {
            vcpu_sleep(v);
            continue;
        }
        vcpu_run_once(v);
    }
    work_run(v);
    if (v->index == 0)
        clocks_set_helper(v->machine->clocks, 0, NULL, NULL);
    v->stopped = true;
    g_cond_broadcast(machine_cond());
    machine_unlock();
    current_vcpu = NULL;
    return NULL;
}

bool vcpu_attach(Machine *m, Vcpu *v, GError **err)
{
    v->machine = m;
    v->stopped = true;
    take_views(v);
    g_ptr_array_add(m->vcpus, v);
    if (m->accel && m->accel->vcpu_create && !m->accel->vcpu_create(v, err)) {
        g_ptr_array_remove(m->vcpus, v);
        return false;
    }
    return true;
}

void vcpu_start_thread(Vcpu *v)
{
    g_autofree char *name = g_strdup_printf("cpu %d", v->index);

    if (v->thread)
        return;
    v->stop_request = v->machine->pause_depth != 0;
    v->stopped = false;         /* the thread says so itself */
    v->thread = g_thread_new(name, vcpu_thread, v);
    while (!v->stopped && must_stop(v))
        machine_cond_wait(machine_cond());
}

void vcpu_join(Vcpu *v)
{
    GThread *t = v->thread;

    if (t) {
        v->quit = true;
        stop_one(v);
        while (!v->stopped)
            machine_cond_wait(machine_cond());
        machine_unlock();
        g_thread_join(t);
        machine_lock();
        v->thread = NULL;
        v->quit = false;
    }
    flat_view_unref(v->mem_view);
    flat_view_unref(v->port_view);
    v->mem_view = v->port_view = NULL;
}
