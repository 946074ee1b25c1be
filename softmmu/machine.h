/*
 * machine: one virtual PC: memory, ports, clocks, vcpus, run state and the machine lock.
 *
 * Everything about a VM hangs off its Machine; two machines in one process work. The
 * machine lock is one per process (DESIGN section 4): it guards devices and the region
 * trees. The main thread holds it except while it waits in poll, so every GLib source,
 * timer and back-end callback runs with it held; a vcpu thread takes it for port, MMIO and
 * interrupt work.
 */
#ifndef SOFTMMU_MACHINE_H
#define SOFTMMU_MACHINE_H

#include "softmmu/clock.h"
#include "softmmu/region.h"

typedef struct Vcpu Vcpu;
typedef struct Accel Accel;
typedef struct Device Device;

void machine_lock(void);                /* not recursive */
void machine_unlock(void);
bool machine_lock_held(void);           /* by this thread */

typedef enum {                          /* names as in QMP query-status, table in machine.c */
    RUN_PRELAUNCH, RUN_RUNNING, RUN_PAUSED, RUN_SHUTDOWN, RUN_SUSPENDED, RUN_IO_ERROR,
    RUN_INTERNAL_ERROR, RUN_GUEST_PANICKED, RUN_WATCHDOG, RUN_DEBUG, RUN_SAVE_VM,
    RUN_RESTORE_VM, RUN_INMIGRATE, RUN_STATES
} RunState;

typedef enum {                          /* why the machine resets, ends or stops; QMP names */
    CAUSE_NONE, CAUSE_HOST_ERROR, CAUSE_HOST_QMP_QUIT, CAUSE_HOST_QMP_RESET, CAUSE_HOST_SIGNAL,
    CAUSE_HOST_UI, CAUSE_GUEST_SHUTDOWN, CAUSE_GUEST_RESET, CAUSE_GUEST_PANIC,
    CAUSE_TRIPLE_FAULT, CAUSES
} MachineCause;

typedef enum {
    EVENT_STOP, EVENT_RESUME, EVENT_RESET, EVENT_SHUTDOWN, EVENT_POWERDOWN, EVENT_SUSPEND,
    EVENT_WAKEUP, EVENT_GUEST_PANICKED, EVENT_RTC_CHANGE, EVENT_DEVICE_DELETED,
    EVENT_DEVICE_TRAY_MOVED, EVENT_BLOCK_IO_ERROR, MACHINE_EVENTS
} MachineEvent;
/* detail: a JSON object text for the event's data, or NULL. Called under the machine lock. */
typedef void MachineEventFn(void *opaque, MachineEvent ev, const char *detail);

typedef struct Machine Machine;
/* What hw/core hands the machine (a lower floor) to reach its devices; set by the first device. */
typedef struct MachineDeviceOps {
    void (*reset)(Machine *m);
    void (*save)(Machine *m, GByteArray *out);
    bool (*load)(Machine *m, const uint8_t **p, const uint8_t *end, GError **err);
    void (*free)(Machine *m);
} MachineDeviceOps;

struct Machine {
    char *name;                 /* -name, or NULL */
    uint8_t uuid[16];           /* in text order; all zero: none */
    AddressSpace mem, ports;
    Region mem_root, port_root; /* 2^64-1 and 64 KiB */
    RamBlock *ram;              /* main memory */
    uint64_t ram_size;          /* bytes */
    Clocks *clocks;
    GPtrArray *vcpus;           /* of Vcpu *, by index */
    const Accel *accel;
    void *accel_state;          /* the engine's per-machine data */
    bool accel_offers_pv;       /* the engine serves KVM's paravirtual registers */
    GPtrArray *devices;         /* realized Device *, in realize order: reset and save order */
    struct Board *board;        /* hw/core/wiring.h, opaque here */
    void (*board_free)(struct Machine *m);  /* set with board: machine_free calls it once devices are gone */
    RunState state;
    bool no_reboot, no_shutdown;
    int exit_code;              /* what the process returns; isa-debug-exit sets it */
    bool quit;                  /* main loop ends */
    GArray *listeners;          /* of {MachineEventFn *, opaque} */
    _Atomic uint32_t requests;  /* internal: pending reset / powerdown / shutdown / stop */
    MachineCause reset_cause, shutdown_cause;
    unsigned triple_faults;     /* since start, for the report */
    int64_t triple_fault_told;
    RunState stop_why;          /* of the pending stop request */
    unsigned pause_depth;       /* vcpus_pause nesting */
    const MachineDeviceOps *device_ops;
    void *device_core;          /* hw/core's per-machine data: buses, back-ends, defaults */
    GPtrArray *ram_blocks;      /* of RamBlock *, not owned: RAM a saved state carries */
    GArray *on_free;            /* of {fn, data}: run last to first by machine_free */
};

Machine *machine_new(bool manual_clock);
/* Ends the vcpu threads, frees devices, runs machine_on_free hooks, then the rest. Lock held. */
void machine_free(Machine *m);
void machine_on_free(Machine *m, void (*fn)(void *data), void *data);
void machine_off_free(Machine *m, void (*fn)(void *data), void *data);       /* takes it back */
/* Makes a saved state carry rb (RAM found in the memory tree is carried anyway; this is for RAM
   that may be unmapped at the time: a BAR, a flash behind a bank register). */
void machine_add_ram(Machine *m, RamBlock *rb);
void machine_del_ram(Machine *m, RamBlock *rb);

/* Requests: any thread, no lock needed; carried out on the main thread between blocks of
   every vcpu. Also wake a sleeping main loop. */
void machine_request_reset(Machine *m, MachineCause cause);
void machine_request_shutdown(Machine *m, MachineCause cause);  /* ends, or stops with no_shutdown */
void machine_request_powerdown(Machine *m);     /* press the power button: calls powerdown listeners */
void machine_request_stop(Machine *m, RunState why);            /* pause, e.g. on an I/O error */
void machine_request_suspend(Machine *m);       /* ACPI S3 */
void machine_wakeup(Machine *m);

/* Main thread, lock held. */
void machine_start(Machine *m);                 /* cont */
void machine_stop(Machine *m, RunState why);    /* returns when every vcpu is outside guest code */
void machine_reset(Machine *m, MachineCause cause);     /* devices, then vcpus */
void machine_run_loop(Machine *m);              /* until quit */
/* Carries out pending requests now; the main loop does it by itself (tests without one call it). */
void machine_handle_requests(Machine *m);
/* Waits until no vcpu uses an old view of memory or ports: call after detaching a region and
   before freeing what its handlers use. Releases the lock while waiting; not on a vcpu thread. */
void machine_sync_views(Machine *m);
/* One iteration of the main loop, releasing the lock while polling; may_block as in GLib. */
void machine_loop_once(Machine *m, bool may_block);

void machine_listen(Machine *m, MachineEventFn *fn, void *opaque);
void machine_unlisten(Machine *m, MachineEventFn *fn, void *opaque);
void machine_emit(Machine *m, MachineEvent ev, const char *detail);
const char *run_state_name(RunState s);
const char *machine_cause_name(MachineCause c);

/* The whole machine's state: devices in order, vcpus, RAM, clock (softmmu/snapshot.c). Machine stopped. */
bool machine_save(Machine *m, const char *path, GError **err) MUST_CHECK;
bool machine_load(Machine *m, const char *path, GError **err) MUST_CHECK;

#endif
