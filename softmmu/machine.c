/* machine: the machine lock, run state, requests and the main loop. */
#include "softmmu/machine.h"

#include "softmmu/accel.h"
#include "softmmu/softmmu_int.h"
#include "util/log.h"

static GMutex big_lock;         /* the machine lock: one per process by design */
static GCond big_cond;          /* broadcast on vcpu stops and finished work */
static __thread bool lock_held;

enum { REQ_RESET = 1 << 0, REQ_SHUTDOWN = 1 << 1, REQ_POWERDOWN = 1 << 2, REQ_STOP = 1 << 3,
       REQ_SUSPEND = 1 << 4, REQ_WAKEUP = 1 << 5 };

enum { TELL_AGAIN_US = 10 * G_USEC_PER_SEC };

typedef struct EventListener { MachineEventFn *fn; void *opaque; } EventListener;
typedef struct FreeHook { void (*fn)(void *data); void *data; } FreeHook;

void machine_lock(void)
{
    g_assert(!lock_held);
    g_mutex_lock(&big_lock);
    lock_held = true;
}

void machine_unlock(void)
{
    g_assert(lock_held);
    lock_held = false;
    g_mutex_unlock(&big_lock);
}

bool machine_lock_held(void)
{
    return lock_held;
}

GCond *machine_cond(void)
{
    return &big_cond;
}

void machine_cond_wait(GCond *c)
{
    lock_held = false;
    g_cond_wait(c, &big_lock);
    lock_held = true;
}

static const char *const run_state_names[RUN_STATES] = {
    [RUN_PRELAUNCH] = "prelaunch", [RUN_RUNNING] = "running", [RUN_PAUSED] = "paused",
    [RUN_SHUTDOWN] = "shutdown", [RUN_SUSPENDED] = "suspended", [RUN_IO_ERROR] = "io-error",
    [RUN_INTERNAL_ERROR] = "internal-error", [RUN_GUEST_PANICKED] = "guest-panicked",
    [RUN_WATCHDOG] = "watchdog", [RUN_DEBUG] = "debug", [RUN_SAVE_VM] = "save-vm",
    [RUN_RESTORE_VM] = "restore-vm", [RUN_INMIGRATE] = "inmigrate",
};
static const char *const cause_names[CAUSES] = {
    [CAUSE_NONE] = "none", [CAUSE_HOST_ERROR] = "host-error", [CAUSE_HOST_QMP_QUIT] = "host-qmp-quit",
    [CAUSE_HOST_QMP_RESET] = "host-qmp-system-reset", [CAUSE_HOST_SIGNAL] = "host-signal",
    [CAUSE_HOST_UI] = "host-ui", [CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
    [CAUSE_GUEST_RESET] = "guest-reset", [CAUSE_GUEST_PANIC] = "guest-panic",
    [CAUSE_TRIPLE_FAULT] = "guest-reset",
};

const char *run_state_name(RunState s) { return run_state_names[s]; }
const char *machine_cause_name(MachineCause c) { return cause_names[c]; }

static void view_changed(void *opaque, const FlatView *old, const FlatView *now)
{
    if (old)
        vcpus_refresh_views(opaque);
}

Machine *machine_new(bool manual_clock)
{
    Machine *m = g_new0(Machine, 1);
    RegionListener l = { .changed = view_changed, .opaque = m };

    m->clocks = clocks_new(manual_clock);
    m->vcpus = g_ptr_array_new();
    m->devices = g_ptr_array_new();
    m->ram_blocks = g_ptr_array_new();
    m->listeners = g_array_new(false, false, sizeof(EventListener));
    m->on_free = g_array_new(false, false, sizeof(FreeHook));
    region_init_container(&m->mem_root, "system", UINT64_MAX);
    region_init_container(&m->port_root, "io", 0x10000);
    addrspace_init(&m->mem, "memory", &m->mem_root);
    addrspace_init(&m->ports, "I/O", &m->port_root);
    addrspace_listen(&m->mem, &l);
    addrspace_listen(&m->ports, &l);
    return m;
}

void machine_on_free(Machine *m, void (*fn)(void *data), void *data)
{
    FreeHook h = { fn, data };

    g_array_append_val(m->on_free, h);
}

void machine_off_free(Machine *m, void (*fn)(void *data), void *data)
{
    for (unsigned i = m->on_free->len; i > 0; i--) {
        FreeHook h = g_array_index(m->on_free, FreeHook, i - 1);

        if (h.fn == fn && h.data == data)
            g_array_remove_index(m->on_free, i - 1);
    }
}

void machine_free(Machine *m)
{
    for (unsigned i = 0; i < m->vcpus->len; i++)
        vcpu_join(g_ptr_array_index(m->vcpus, i));
    for (unsigned i = 0; i < m->vcpus->len && m->accel && m->accel->vcpu_destroy; i++)
        m->accel->vcpu_destroy(g_ptr_array_index(m->vcpus, i));    /* before the memory whose code it holds */
    if (m->device_ops)
        m->device_ops->free(m);
    if (m->board_free)
        m->board_free(m);
    while (m->on_free->len) {
        FreeHook h = g_array_index(m->on_free, FreeHook, m->on_free->len - 1);

        g_array_set_size(m->on_free, m->on_free->len - 1);
        h.fn(h.data);
    }
    while (m->vcpus->len) {
        Vcpu *v = g_ptr_array_steal_index(m->vcpus, m->vcpus->len - 1);

        if (v->ops->free)
            v->ops->free(v);
    }
    if (m->accel && m->accel->destroy)
        m->accel->destroy(m);
    addrspace_destroy(&m->mem);
    addrspace_destroy(&m->ports);
    region_destroy(&m->mem_root);
    region_destroy(&m->port_root);
    ram_block_free(m->ram);
    clocks_free(m->clocks);
    g_ptr_array_free(m->vcpus, true);
    g_ptr_array_free(m->devices, true);
    g_ptr_array_free(m->ram_blocks, true);
    g_array_free(m->listeners, true);
    g_array_free(m->on_free, true);
    g_free(m->name);
    g_free(m);
}

void machine_add_ram(Machine *m, RamBlock *rb)
{
    if (!g_ptr_array_find(m->ram_blocks, rb, NULL))
        g_ptr_array_add(m->ram_blocks, rb);
}

void machine_del_ram(Machine *m, RamBlock *rb)
{
    g_ptr_array_remove(m->ram_blocks, rb);
}

/* --- events --- */

void machine_listen(Machine *m, MachineEventFn *fn, void *opaque)
{
    EventListener l = { fn, opaque };

    g_array_append_val(m->listeners, l);
}

void machine_unlisten(Machine *m, MachineEventFn *fn, void *opaque)
{
    for (unsigned i = m->listeners->len; i > 0; i--) {
        EventListener l = g_array_index(m->listeners, EventListener, i - 1);

        if (l.fn == fn && l.opaque == opaque)
            g_array_remove_index(m->listeners, i - 1);
    }
}

void machine_emit(Machine *m, MachineEvent ev, const char *detail)
{
    for (unsigned i = 0; i < m->listeners->len; i++) {
        EventListener l = g_array_index(m->listeners, EventListener, i);

        l.fn(l.opaque, ev, detail);
    }
}

static void emit_cause(Machine *m, MachineEvent ev, MachineCause cause)
{
    g_autofree char *detail = g_strdup_printf("{\"guest\": %s, \"reason\": \"%s\"}",
        cause >= CAUSE_GUEST_SHUTDOWN ? "true" : "false", cause_names[cause]);

    machine_emit(m, ev, detail);
}

/* --- requests --- */

static void request(Machine *m, uint32_t bit)
{
    atomic_fetch_or(&m->requests, bit);
    vcpu_leave_current(m);
    g_main_context_wakeup(NULL);
}

void machine_request_reset(Machine *m, MachineCause cause)
{
    /* The guest may run on for a moment, even into a triple fault: the first cause counts. */
    if (!(atomic_load(&m->requests) & REQ_RESET))
        m->reset_cause = cause;
    request(m, REQ_RESET);
}

void machine_request_shutdown(Machine *m, MachineCause cause)
{
    m->shutdown_cause = cause;
    request(m, REQ_SHUTDOWN);
}

void machine_request_powerdown(Machine *m) { request(m, REQ_POWERDOWN); }
void machine_request_suspend(Machine *m) { request(m, REQ_SUSPEND); }

void machine_request_stop(Machine *m, RunState why)
{
    m->stop_why = why;
    request(m, REQ_STOP);
}

void machine_wakeup(Machine *m)
{
    if (m->state == RUN_SUSPENDED)
        request(m, REQ_WAKEUP);
}

static void do_shutdown(Machine *m)
{
    emit_cause(m, EVENT_SHUTDOWN, m->shutdown_cause);
    if (m->no_shutdown && m->shutdown_cause != CAUSE_HOST_QMP_QUIT && m->shutdown_cause != CAUSE_HOST_SIGNAL)
        machine_stop(m, RUN_SHUTDOWN);
    else
        m->quit = true;
}

/* Tells the user, but a guest that does nothing else does not get to fill the terminal. */
static void report_triple_fault(Machine *m)
{
    gint64 now = g_get_monotonic_time();

    m->triple_faults++;
    if (m->triple_faults > 1 && now - m->triple_fault_told < TELL_AGAIN_US)
        return;
    m->triple_fault_told = now;
    if (m->triple_faults > 1)
        log_info("the guest has triple-faulted %u times; it may never start (registers: -d cpu_reset)",
                 m->triple_faults);
    else
        log_info("the guest triple-faulted%s (registers: -d cpu_reset)", m->no_reboot ? "" : "; the machine is reset");
}

static void do_reset(Machine *m)
{
    if (m->reset_cause == CAUSE_TRIPLE_FAULT)
        report_triple_fault(m);
    if (m->no_reboot && m->reset_cause >= CAUSE_GUEST_SHUTDOWN) {
        m->shutdown_cause = m->reset_cause;
        do_shutdown(m);
        return;
    }
    machine_reset(m, m->reset_cause);
}

/* ACPI S3: everything but RAM loses its state; firmware finds its way by the CMOS shutdown byte. */
static void do_wakeup(Machine *m)
{
    machine_reset(m, CAUSE_NONE);
    machine_emit(m, EVENT_WAKEUP, NULL);
    machine_start(m);
}

void machine_handle_requests(Machine *m)
{
    uint32_t r = atomic_exchange(&m->requests, 0);

    if (!r)
        return;
    if (r & REQ_SUSPEND) {
        machine_stop(m, RUN_SUSPENDED);
        machine_emit(m, EVENT_SUSPEND, NULL);
    }
    if (r & REQ_WAKEUP)
        do_wakeup(m);
    if (r & REQ_RESET)
        do_reset(m);
    if (r & REQ_POWERDOWN)
        machine_emit(m, EVENT_POWERDOWN, NULL);
    if (r & REQ_SHUTDOWN)
        do_shutdown(m);
    if (r & REQ_STOP)
        machine_stop(m, m->stop_why);
    for (unsigned i = 0; i < m->vcpus->len; i++)        /* they stand still while a request waits */
        vcpu_kick(g_ptr_array_index(m->vcpus, i));
}

/* --- run state --- */

void machine_start(Machine *m)
{
    if (m->state == RUN_RUNNING)
        return;
    m->state = RUN_RUNNING;
    clocks_set_running(m->clocks, true);
    for (unsigned i = 0; i < m->vcpus->len; i++)
        vcpu_kick(g_ptr_array_index(m->vcpus, i));
    machine_emit(m, EVENT_RESUME, NULL);
}

void machine_stop(Machine *m, RunState why)
{
    bool was = m->state == RUN_RUNNING;

    m->state = why;
    if (!was)
        return;
    vcpus_pause(m);             /* waits; afterwards the state alone keeps them standing */
    vcpus_resume(m);
    clocks_set_running(m->clocks, false);
    machine_emit(m, EVENT_STOP, NULL);
}

void machine_reset(Machine *m, MachineCause cause)
{
    vcpus_pause(m);
    if (m->device_ops)
        m->device_ops->reset(m);
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, i);

        atomic_store(&v->irq, 0);
        v->ops->reset(v);
        if (m->accel && m->accel->push)
            m->accel->push(v);
    }
    if (m->state == RUN_SHUTDOWN || m->state == RUN_GUEST_PANICKED || m->state == RUN_INTERNAL_ERROR)
        m->state = RUN_PAUSED;
    if (cause != CAUSE_NONE)
        emit_cause(m, EVENT_RESET, cause);
    vcpus_resume(m);
}

/* --- main loop --- */

static gint poll_unlocked(GPollFD *fds, guint n, gint timeout)
{
    bool held = lock_held;
    gint rc;

    if (held)
        machine_unlock();
    rc = g_poll(fds, n, timeout);
    if (held)
        machine_lock();
    return rc;
}

void machine_loop_once(Machine *m, bool may_block)
{
    GMainContext *ctx = g_main_context_default();

    if (g_main_context_get_poll_func(ctx) != poll_unlocked)
        g_main_context_set_poll_func(ctx, poll_unlocked);
    clocks_attach(m->clocks);
    machine_handle_requests(m);
    if (!m->quit)
        g_main_context_iteration(ctx, may_block);
    machine_handle_requests(m);
}

void machine_run_loop(Machine *m)
{
    while (!m->quit)
        machine_loop_once(m, true);
}
