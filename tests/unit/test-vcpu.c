/* test-vcpu: threads, halting and waking, stop and start, run_on, view changes, under a fake engine. */
#include "softmmu/accel.h"
#include "util/bytes.h"

typedef struct Cpu {
    Vcpu v;
    _Atomic unsigned rounds, intrs, resets, flushes;
} Cpu;

/* "Guest code": spins until attention; halts after each interrupt when told to. */
static _Atomic bool halt_mode;
static VcpuExit fake_run(Vcpu *v)
{
    Cpu *c = (Cpu *)v;

    for (;;) {
        if (atomic_exchange_explicit(&v->attention, 0, memory_order_acquire)) {
            if (vcpu_attend(v))
                return VCPU_EXIT_KICK;
            if (atomic_load(&v->irq) & VCPU_IRQ_INTR) {
                vcpu_lower(v, VCPU_IRQ_INTR);
                atomic_fetch_add(&c->intrs, 1);
            }
        }
        atomic_fetch_add(&c->rounds, 1);
        if (atomic_load(&halt_mode)) {
            v->halted = true;
            return VCPU_EXIT_HALT;
        }
    }
}
static bool fake_has_work(Vcpu *v) { return atomic_load(&v->irq) != 0; }
static void fake_reset(Vcpu *v) { atomic_fetch_add(&((Cpu *)v)->resets, 1); v->halted = false; }
static void fake_flush(Vcpu *v) { atomic_fetch_add(&((Cpu *)v)->flushes, 1); }
static const VcpuOps fake_ops = { .has_work = fake_has_work, .reset = fake_reset, .flush_tlb = fake_flush };
static const Accel fake_accel = { .name = "fake", .run = fake_run };

static Machine *fake_machine(Cpu *cpus, unsigned n)
{
    Machine *m = machine_new(false);

    m->accel = &fake_accel;
    memset(cpus, 0, n * sizeof *cpus);
    for (unsigned i = 0; i < n; i++) {
        cpus[i].v.index = i;
        cpus[i].v.ops = &fake_ops;
        g_assert_true(vcpu_attach(m, &cpus[i].v, NULL));
    }
    for (unsigned i = 0; i < n; i++)
        vcpu_start_thread(&cpus[i].v);
    return m;
}

static void wait_for(Machine *m, _Atomic unsigned *what, unsigned least)
{
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (atomic_load(what) < least) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        machine_loop_once(m, false);
        machine_unlock();
        g_usleep(100);
        machine_lock();
    }
}

static void halted_vcpu_sleeps_until_raised(void)
{
    Cpu c[2];
    Machine *m = fake_machine(c, 2);

    atomic_store(&halt_mode, true);
    machine_start(m);
    wait_for(m, &c[0].rounds, 1);
    for (unsigned i = 1; i <= 200; i++) {
        vcpu_raise(&c[i & 1].v, VCPU_IRQ_INTR);
        wait_for(m, &c[i & 1].intrs, (i + 1) / 2);
    }
    g_assert_cmpuint(atomic_load(&c[0].rounds), <=, 250);
    machine_free(m);
}

static void count_calls(Vcpu *v, void *opaque)
{
    g_assert_true(machine_lock_held());
    ++*(unsigned *)opaque;
}

static void run_on_reaches_running_and_stopped(void)
{
    Cpu c[2];
    Machine *m = fake_machine(c, 2);
    unsigned calls = 0;

    atomic_store(&halt_mode, false);
    vcpu_run_on(&c[0].v, count_calls, &calls);
    g_assert_cmpuint(calls, ==, 1);
    machine_start(m);
    wait_for(m, &c[0].rounds, 1);
    wait_for(m, &c[1].rounds, 1);
    for (int i = 0; i < 100; i++) {
        vcpu_run_on(&c[0].v, count_calls, &calls);
        vcpu_queue(&c[1].v, count_calls, &calls);
    }
    vcpu_run_on(&c[1].v, count_calls, &calls);
    g_assert_cmpuint(calls, ==, 202);
    for (int i = 0; i < 50; i++) {
        unsigned r;

        machine_stop(m, RUN_PAUSED);
        g_assert_true(c[0].v.stopped && c[1].v.stopped);
        r = atomic_load(&c[0].rounds);
        g_assert_cmpuint(r, ==, atomic_load(&c[0].rounds));
        machine_start(m);
        wait_for(m, &c[0].rounds, r + 1);
    }
    machine_free(m);
}

/* Two vcpus that run functions on each other all the time must not deadlock. */
static void cross_call(Vcpu *v, void *opaque)
{
    unsigned *left = opaque, dummy = 0;
    Vcpu *other = g_ptr_array_index(v->machine->vcpus, !v->index);

    while (*left) {
        --*left;
        vcpu_run_on(other, count_calls, &dummy);
    }
}

static void vcpus_may_wait_for_each_other(void)
{
    Cpu c[2];
    Machine *m = fake_machine(c, 2);
    unsigned left[2] = { 500, 500 };

    machine_start(m);
    wait_for(m, &c[0].rounds, 1);
    vcpu_queue(&c[0].v, cross_call, &left[0]);
    vcpu_queue(&c[1].v, cross_call, &left[1]);
    while (left[0] || left[1]) {
        machine_unlock();
        g_usleep(100);
        machine_lock();
    }
    machine_free(m);
}

static void view_change_reaches_running_vcpu(void)
{
    Cpu c[1];
    Machine *m = fake_machine(c, 1);
    RamBlock *rb = ram_block_new("r", 4096, NULL);
    Region r;
    unsigned before;

    machine_start(m);
    wait_for(m, &c[0].rounds, 1);
    before = atomic_load(&c[0].flushes);
    region_init_ram(&r, "r", rb, 0, 4096);
    region_add(&m->mem_root, &r, 0, 0);
    machine_sync_views(m);
    g_assert_cmpuint(atomic_load(&c[0].flushes), >, before);
    g_assert_true(c[0].v.mem_view == m->mem.view);
    region_destroy(&r);
    machine_sync_views(m);
    machine_free(m);
    ram_block_free(rb);
}

static void reset_request_is_carried_out(void)
{
    Cpu c[2];
    Machine *m = fake_machine(c, 2);

    machine_start(m);
    wait_for(m, &c[1].rounds, 1);
    machine_request_reset(m, CAUSE_GUEST_RESET);
    wait_for(m, &c[1].resets, 1);
    g_assert_cmpuint(atomic_load(&c[0].resets), ==, 1);
    machine_request_shutdown(m, CAUSE_GUEST_SHUTDOWN);
    machine_run_loop(m);
    g_assert_true(m->quit);
    machine_free(m);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    machine_lock();
    g_test_add_func("/vcpu/halt", halted_vcpu_sleeps_until_raised);
    g_test_add_func("/vcpu/run-on", run_on_reaches_running_and_stopped);
    g_test_add_func("/vcpu/cross", vcpus_may_wait_for_each_other);
    g_test_add_func("/vcpu/views", view_change_reaches_running_vcpu);
    g_test_add_func("/vcpu/requests", reset_request_is_carried_out);
    return g_test_run();
}
