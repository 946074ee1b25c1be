/*
 * clock: guest and host clocks, and timers in one heap per clock, driven by a timerfd.
 *
 * On a crowded host the main thread may get its turn long after a deadline, while the vcpu goes on
 * running: a guest that measures its tick then sees none. So a POSIX timer stands a little behind the
 * timerfd and interrupts the vcpu itself, which runs the timers that only move interrupt lines.
 */
#include "softmmu/clock.h"

#include "util/bytes.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { RUN_BUDGET = 1000 };             /* timers one clocks_run calls before others get a turn */
enum { LATE_SIGNAL = SIGUSR2 };
#define LATE_NS (500 * NS_PER_US)       /* how long the main thread has for a timer before a vcpu is interrupted */
enum { STEP_BUDGET = 4 << 20 };         /* a timer that always asks for "now" must not hang a test */

typedef struct ClockSource {
    GSource source;
    Clocks *clocks;
    gpointer tag;
} ClockSource;

struct Clocks {
    bool manual;
    _Atomic int64_t vm_frozen;  /* >= 0: CLOCK_VM stands at this; < 0: runs */
    _Atomic int64_t vm_offset;  /* CLOCK_VM = monotonic + this while running */
    _Atomic int64_t manual_ns;
    GPtrArray *heap[CLOCK_KINDS];       /* of Timer *, binary heap by deadline */
    int fd;                     /* timerfd, CLOCK_MONOTONIC */
    int64_t armed;              /* monotonic deadline the fd is set to, INT64_MAX: off */
    GSource *source;
    timer_t late_timer;         /* valid while late is set */
    int64_t late_armed;         /* monotonic time it is set to, INT64_MAX: off or fired */
    void (*late)(void *opaque); /* async-signal-safe, on the helper's thread */
    void *late_opaque;
};

static int64_t host_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

Clocks *clocks_new(bool manual)
{
    Clocks *c = g_new0(Clocks, 1);

    c->manual = manual;
    c->fd = -1;
    c->armed = c->late_armed = INT64_MAX;
    for (int k = 0; k < CLOCK_KINDS; k++)
        c->heap[k] = g_ptr_array_new();
    return c;
}

void clocks_free(Clocks *c)
{
    clocks_set_helper(c, 0, NULL, NULL);
    if (c->source) {
        g_source_destroy(c->source);
        g_source_unref(c->source);
    }
    if (c->fd >= 0)
        close(c->fd);
    for (int k = 0; k < CLOCK_KINDS; k++) {
        for (unsigned i = 0; i < c->heap[k]->len; i++)
            ((Timer *)g_ptr_array_index(c->heap[k], i))->heap_index = -1;
        g_ptr_array_free(c->heap[k], true);
    }
    g_free(c);
}

int64_t clock_ns(Clocks *c, ClockKind kind)
{
    int64_t frozen;

    if (c->manual)
        return atomic_load(&c->manual_ns);
    switch (kind) {
    case CLOCK_HOST: return host_ns(CLOCK_REALTIME);
    case CLOCK_RT: return host_ns(CLOCK_MONOTONIC);
    default:
        frozen = atomic_load(&c->vm_frozen);
        return frozen >= 0 ? frozen : host_ns(CLOCK_MONOTONIC) + atomic_load(&c->vm_offset);
    }
}

/* --- heap --- */

static Timer *heap_at(GPtrArray *h, unsigned i) { return g_ptr_array_index(h, i); }

static void heap_put(GPtrArray *h, unsigned i, Timer *t)
{
    h->pdata[i] = t;
    t->heap_index = i;
}

static void heap_up(GPtrArray *h, unsigned i, Timer *t)
{
    while (i && heap_at(h, (i - 1) / 2)->deadline > t->deadline) {
        heap_put(h, i, heap_at(h, (i - 1) / 2));
        i = (i - 1) / 2;
    }
    heap_put(h, i, t);
}

static void heap_down(GPtrArray *h, unsigned i, Timer *t)
{
    for (;;) {
        unsigned kid = 2 * i + 1;

        if (kid >= h->len)
            break;
        if (kid + 1 < h->len && heap_at(h, kid + 1)->deadline < heap_at(h, kid)->deadline)
            kid++;
        if (heap_at(h, kid)->deadline >= t->deadline)
            break;
        heap_put(h, i, heap_at(h, kid));
        i = kid;
    }
    heap_put(h, i, t);
}

static void heap_remove(GPtrArray *h, Timer *t)
{
    unsigned i = t->heap_index;
    Timer *last = heap_at(h, h->len - 1);

    g_ptr_array_set_size(h, h->len - 1);
    t->heap_index = -1;
    if (last == t)
        return;
    heap_up(h, i, last);
    heap_down(h, last->heap_index, last);
}

/* --- arming --- */

int64_t clocks_next_ns(Clocks *c)
{
    int64_t best = -1;

    for (int k = 0; k < CLOCK_KINDS; k++) {
        int64_t left;

        if (!c->heap[k]->len || (k == CLOCK_VM && !c->manual && atomic_load(&c->vm_frozen) >= 0))
            continue;
        left = heap_at(c->heap[k], 0)->deadline - clock_ns(c, k);
        left = MAX(left, 0);    /* the clock is read once: a macro's second reading could pass the deadline */
        if (best < 0 || left < best)
            best = left;
    }
    return best;
}

/* The earliest deadline of any kind on the host's monotonic clock, INT64_MAX: none. */
static int64_t next_monotonic(Clocks *c)
{
    int64_t best = INT64_MAX;

    for (int k = 0; k < CLOCK_KINDS; k++) {
        int64_t at;

        if (!c->heap[k]->len || (k == CLOCK_VM && atomic_load(&c->vm_frozen) >= 0))
            continue;
        at = MIN(heap_at(c->heap[k], 0)->deadline, INT64_MAX / 4);
        if (k == CLOCK_VM)
            at -= atomic_load(&c->vm_offset);
        else if (k == CLOCK_HOST)
            at += host_ns(CLOCK_MONOTONIC) - host_ns(CLOCK_REALTIME);
        best = MIN(best, MAX(at, 1));
    }
    return best;
}

static struct itimerspec at_ns(int64_t when)
{
    struct itimerspec its = { 0 };

    if (when != INT64_MAX) {
        its.it_value.tv_sec = when / NS_PER_SEC;
        its.it_value.tv_nsec = when % NS_PER_SEC;
    }
    return its;
}

/* Sets the helper's timer behind the earliest deadline it can do something about. */
static void arm_late(Clocks *c, bool exact)
{
    GPtrArray *h = c->heap[CLOCK_VM];
    int64_t first = INT64_MAX, when;
    struct itimerspec its;

    if (!c->late)
        return;
    for (unsigned i = 0; i < h->len && atomic_load(&c->vm_frozen) < 0; i++)
        if (heap_at(h, i)->any_thread)
            first = MIN(first, heap_at(h, i)->deadline);
    when = first == INT64_MAX ? first : MAX(MIN(first, INT64_MAX / 4) - atomic_load(&c->vm_offset) + LATE_NS, 1);
    if (exact ? when == c->late_armed : when >= c->late_armed)
        return;
    c->late_armed = when;
    its = at_ns(when);
    timer_settime(c->late_timer, TIMER_ABSTIME, &its, NULL);
}

/* Sets the timerfd to the earliest deadline; a later one than armed costs one early wake-up
   instead of a system call for each change. */
static void clocks_arm(Clocks *c, bool exact)
{
    struct itimerspec its;
    int64_t when;

    if (c->fd < 0)
        return;
    arm_late(c, exact);
    when = next_monotonic(c);
    if (exact ? when == c->armed : when >= c->armed)
        return;
    c->armed = when;
    its = at_ns(when);
    timerfd_settime(c->fd, TFD_TIMER_ABSTIME, &its, NULL);
}

static void on_late(int sig, siginfo_t *si, void *context)
{
    Clocks *c = si->si_value.sival_ptr;
    int saved = errno;

    if (si->si_code == SI_TIMER && c->late)
        c->late(c->late_opaque);
    errno = saved;
}

void clocks_set_helper(Clocks *c, int tid, void (*late)(void *opaque), void *opaque)
{
    struct sigaction sa = { .sa_sigaction = on_late, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };
    struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = LATE_SIGNAL, .sigev_value.sival_ptr = c };

    if (c->late)
        timer_delete(c->late_timer);
    c->late = NULL;
    if (!late || c->manual)
        return;
    ev._sigev_un._tid = tid;
    sigemptyset(&sa.sa_mask);
    sigaction(LATE_SIGNAL, &sa, NULL);
    if (timer_create(CLOCK_MONOTONIC, &ev, &c->late_timer))
        return;                 /* the main thread alone keeps the time, as without a helper */
    c->late_opaque = opaque;
    c->late = late;
    c->late_armed = INT64_MAX;
    clocks_arm(c, true);
}

void clocks_set_running(Clocks *c, bool running)
{
    int64_t frozen = atomic_load(&c->vm_frozen);

    if (c->manual || running == (frozen < 0))
        return;
    if (running) {
        atomic_store(&c->vm_offset, frozen - host_ns(CLOCK_MONOTONIC));
        atomic_store(&c->vm_frozen, -1);
    } else {
        atomic_store(&c->vm_frozen, clock_ns(c, CLOCK_VM));
    }
    clocks_arm(c, true);
}

void clocks_set_vm_ns(Clocks *c, int64_t ns)
{
    if (c->manual)
        atomic_store(&c->manual_ns, ns);
    else if (atomic_load(&c->vm_frozen) >= 0)
        atomic_store(&c->vm_frozen, MAX(ns, 0));
    else
        atomic_store(&c->vm_offset, ns - host_ns(CLOCK_MONOTONIC));
    clocks_arm(c, true);
}

static void timer_fire(Timer *t)
{
    bool was = t->busy && *t->busy;

    heap_remove(t->clocks->heap[t->kind], t);
    if (t->busy)
        *t->busy = true;
    t->fn(t->opaque);
    if (t->busy)
        *t->busy = was;
}

bool clocks_run(Clocks *c)
{
    bool ran = false;

    for (int k = 0; k < CLOCK_KINDS; k++) {
        int64_t now = clock_ns(c, k);

        if (k == CLOCK_VM && !c->manual && atomic_load(&c->vm_frozen) >= 0)
            continue;
        for (int budget = RUN_BUDGET; budget && c->heap[k]->len; budget--) {
            Timer *t = heap_at(c->heap[k], 0);

            if (t->deadline > now)
                break;
            timer_fire(t);
            ran = true;
        }
    }
    clocks_arm(c, true);
    return ran;
}

void clocks_run_late(Clocks *c)
{
    GPtrArray *h = c->heap[CLOCK_VM];

    c->late_armed = INT64_MAX;
    for (int budget = RUN_BUDGET; budget; budget--) {
        int64_t now = clock_ns(c, CLOCK_VM);
        Timer *due = NULL;

        for (unsigned i = 0; i < h->len; i++) {
            Timer *t = heap_at(h, i);

            if (t->any_thread && t->deadline <= now && (!due || t->deadline < due->deadline))
                due = t;
        }
        if (!due || atomic_load(&c->vm_frozen) >= 0)
            break;
        timer_fire(due);
    }
    clocks_arm(c, true);
}

void clocks_step(Clocks *c, int64_t ns)
{
    int64_t target = atomic_load(&c->manual_ns) + ns;

    g_return_if_fail(c->manual);
    for (int budget = STEP_BUDGET; budget; budget--) {
        Timer *first = NULL;

        for (int k = 0; k < CLOCK_KINDS; k++) {
            Timer *t = c->heap[k]->len ? heap_at(c->heap[k], 0) : NULL;

            if (t && (!first || t->deadline < first->deadline))
                first = t;
        }
        if (!first || first->deadline > target)
            break;
        atomic_store(&c->manual_ns, MAX(atomic_load(&c->manual_ns), first->deadline));
        timer_fire(first);
    }
    atomic_store(&c->manual_ns, target);
}

/* --- the main loop's source --- */

static gboolean source_check(GSource *s)
{
    ClockSource *cs = (ClockSource *)s;

    return g_source_query_unix_fd(s, cs->tag) != 0;
}

static gboolean source_dispatch(GSource *s, GSourceFunc fn, gpointer data)
{
    ClockSource *cs = (ClockSource *)s;
    uint64_t n;

    if (read(cs->clocks->fd, &n, sizeof n) < 0)
        n = 0;                  /* re-armed meanwhile */
    cs->clocks->armed = INT64_MAX;
    clocks_run(cs->clocks);
    return G_SOURCE_CONTINUE;
}

void clocks_attach(Clocks *c)
{
    static GSourceFuncs funcs = { .check = source_check, .dispatch = source_dispatch };

    if (c->manual || c->source)
        return;
    c->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    c->source = g_source_new(&funcs, sizeof(ClockSource));
    ((ClockSource *)c->source)->clocks = c;
    ((ClockSource *)c->source)->tag = g_source_add_unix_fd(c->source, c->fd, G_IO_IN);
    g_source_set_priority(c->source, G_PRIORITY_DEFAULT);
    g_source_set_can_recurse(c->source, true);  /* else GLib takes the descriptor out and wakes itself up each time */
    g_source_attach(c->source, NULL);
    clocks_arm(c, true);
}

/* --- timers --- */

void timer_init(Timer *t, Clocks *c, ClockKind kind, void (*fn)(void *opaque), void *opaque)
{
    *t = (Timer) { .clocks = c, .kind = kind, .fn = fn, .opaque = opaque, .heap_index = -1 };
}

void timer_set(Timer *t, int64_t deadline)
{
    GPtrArray *h;

    if (!t->clocks)
        return;
    if (deadline <= 0) {
        timer_del(t);
        return;
    }
    h = t->clocks->heap[t->kind];
    if (t->heap_index >= 0) {
        if (t->deadline == deadline)
            return;
        heap_remove(h, t);
    }
    t->deadline = deadline;
    g_ptr_array_add(h, t);
    heap_up(h, h->len - 1, t);
    if (t->heap_index == 0)
        clocks_arm(t->clocks, false);
    else if (t->any_thread)
        arm_late(t->clocks, false);
}

void timer_del(Timer *t)
{
    if (t->clocks && t->heap_index >= 0)
        heap_remove(t->clocks->heap[t->kind], t);
}
