/* test-clock: virtual time, timer order, the timerfd source, stopping the guest clock. */
#include <stdatomic.h>
#include <unistd.h>

#include "softmmu/machine.h"

#include "util/bytes.h"

typedef struct Log { Clocks *c; int64_t at[64]; unsigned n; Timer t, u; } Log;

static void note(void *opaque)
{
    Log *l = opaque;

    if (l->n < 64)
        l->at[l->n++] = clock_ns(l->c, CLOCK_VM);
}

static void again(void *opaque)
{
    Log *l = opaque;

    note(l);
    timer_set(&l->t, clock_ns(l->c, CLOCK_VM) + 10);
}

static void step_runs_each_timer_at_its_deadline(void)
{
    Log l = { .c = clocks_new(true) };

    timer_init(&l.t, l.c, CLOCK_VM, again, &l);
    timer_init(&l.u, l.c, CLOCK_VM, note, &l);
    timer_set(&l.t, 10);
    timer_set(&l.u, 25);
    g_assert_cmpint(clocks_next_ns(l.c), ==, 10);
    clocks_step(l.c, 35);
    g_assert_cmpuint(l.n, ==, 4);
    g_assert_cmpint(l.at[0], ==, 10);
    g_assert_cmpint(l.at[1], ==, 20);
    g_assert_cmpint(l.at[2], ==, 25);
    g_assert_cmpint(l.at[3], ==, 30);
    g_assert_cmpint(clock_ns(l.c, CLOCK_VM), ==, 35);
    timer_del(&l.t);
    timer_del(&l.t);
    g_assert_cmpint(clocks_next_ns(l.c), ==, -1);
    timer_set(&l.u, 50);
    timer_set(&l.u, 0);
    g_assert_false(timer_active(&l.u));
    clocks_free(l.c);
}

static void random_sets_and_deletes_keep_order(void)
{
    Clocks *c = clocks_new(true);
    Log logs[50] = { 0 };
    GRand *r = g_rand_new_with_seed(7);

    for (int i = 0; i < 50; i++) {
        logs[i].c = c;
        timer_init(&logs[i].t, c, CLOCK_VM, note, &logs[i]);
    }
    for (int i = 0; i < 5000; i++) {
        Log *l = &logs[g_rand_int_range(r, 0, 50)];

        if (g_rand_int_range(r, 0, 3))
            timer_set(&l->t, g_rand_int_range(r, 1, 1000));
        else
            timer_del(&l->t);
    }
    clocks_step(c, 2000);
    for (int i = 0; i < 50; i++) {
        g_assert_false(timer_active(&logs[i].t));
        g_assert_cmpuint(logs[i].n, <=, 1);
        if (logs[i].n)
            g_assert_cmpint(logs[i].at[0], ==, logs[i].t.deadline);
    }
    g_rand_free(r);
    clocks_free(c);
}

static void real_timer_fires_in_the_main_loop(void)
{
    Machine *m = machine_new(false);
    Log l = { .c = m->clocks };
    gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    timer_init(&l.t, m->clocks, CLOCK_VM, note, &l);
    timer_init(&l.u, m->clocks, CLOCK_RT, note, &l);
    timer_set(&l.t, 2 * NS_PER_MS);
    timer_set(&l.u, clock_ns(m->clocks, CLOCK_RT) + 4 * NS_PER_MS);
    while (l.n < 1 && g_get_monotonic_time() < end)     /* guest clock stands: only the RT timer */
        machine_loop_once(m, true);
    g_assert_true(timer_active(&l.t));
    g_assert_false(timer_active(&l.u));
    machine_start(m);
    while (l.n < 2 && g_get_monotonic_time() < end)
        machine_loop_once(m, true);
    g_assert_cmpuint(l.n, ==, 2);
    g_assert_cmpint(l.at[1], >=, 2 * NS_PER_MS);
    machine_stop(m, RUN_PAUSED);
    l.at[0] = clock_ns(m->clocks, CLOCK_VM);
    g_usleep(2000);
    g_assert_cmpint(l.at[0], ==, clock_ns(m->clocks, CLOCK_VM));
    machine_free(m);
}

/* While a timer is set there is always a next deadline, also in the nanoseconds around it. */
static void a_deadline_passing_is_never_no_deadline(void)
{
    Clocks *c = clocks_new(false);
    Log l = { .c = c };

    timer_init(&l.t, c, CLOCK_RT, note, &l);
    for (int i = 0; i < 2000; i++) {
        timer_set(&l.t, clock_ns(c, CLOCK_RT) + 5000);
        while (clock_ns(c, CLOCK_RT) < l.t.deadline)
            g_assert_cmpint(clocks_next_ns(c), >=, 0);
        g_assert_cmpint(clocks_next_ns(c), ==, 0);
    }
    clocks_free(c);
}

static void note_late(void *opaque) { atomic_store((_Atomic bool *)opaque, true); }

/* A clock with this thread as its helper, and two timers, of which it may run l->t. */
static void start_helped(Log *l, _Atomic bool *late)
{
    clocks_set_vm_ns(l->c, 0);
    clocks_attach(l->c);
    clocks_set_running(l->c, true);
    clocks_set_helper(l->c, gettid(), note_late, late);
    timer_init(&l->t, l->c, CLOCK_VM, note, l);
    timer_init(&l->u, l->c, CLOCK_VM, note, l);
    l->t.any_thread = true;
}

/* Nobody runs the main loop; the thread named as helper is interrupted and runs what may run anywhere. */
static void a_late_main_thread_is_helped_out(void)
{
    Clocks *c = clocks_new(false);
    Log l = { .c = c };
    _Atomic bool late = false;
    gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    start_helped(&l, &late);
    timer_set(&l.t, clock_ns(c, CLOCK_VM) + NS_PER_MS);
    timer_set(&l.u, clock_ns(c, CLOCK_VM) + NS_PER_MS);
    while (!late && g_get_monotonic_time() < end)
        continue;
    g_assert_true(late);
    clocks_run_late(c);
    g_assert_false(timer_active(&l.t));
    g_assert_true(timer_active(&l.u));
    clocks_free(c);
}

/* What only the main thread may do is overdue: the helper still comes for each of its own. */
static void an_overdue_timer_of_main_does_not_hide_others(void)
{
    Clocks *c = clocks_new(false);
    Log l = { .c = c };
    _Atomic bool late = false;

    start_helped(&l, &late);
    timer_set(&l.u, clock_ns(c, CLOCK_VM) + NS_PER_MS);
    for (int i = 0; i < 3; i++) {
        gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

        timer_set(&l.t, clock_ns(c, CLOCK_VM) + 4 * NS_PER_MS);
        while (timer_active(&l.t) && g_get_monotonic_time() < end)
            if (atomic_exchange(&late, false))
                clocks_run_late(c);
        g_assert_false(timer_active(&l.t));
    }
    g_assert_true(timer_active(&l.u));
    clocks_free(c);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/clock/step", step_runs_each_timer_at_its_deadline);
    g_test_add_func("/clock/random", random_sets_and_deletes_keep_order);
    g_test_add_func("/clock/loop", real_timer_fires_in_the_main_loop);
    g_test_add_func("/clock/passing", a_deadline_passing_is_never_no_deadline);
    g_test_add_func("/clock/late", a_late_main_thread_is_helped_out);
    g_test_add_func("/clock/overdue", an_overdue_timer_of_main_does_not_hide_others);
    return g_test_run();
}
