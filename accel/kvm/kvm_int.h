/* kvm_int: the KVM back-end's own data; private to accel/kvm/. */
#ifndef ACCEL_KVM_KVM_INT_H
#define ACCEL_KVM_KVM_INT_H

#include "accel/kvm/sys.h"
#include "target/x86/cpuid.h"
#include "target/x86/mem.h"

#include <linux/kvm.h>

typedef struct KvmSlot {
    uint64_t gpa, size;
    uint8_t *host;
    RamBlock *ram;
    uint64_t ram_offset;
    bool readonly, used, logged;
} KvmSlot;

typedef struct KvmCaps {        /* what this host's KVM can, asked once (caps.c) */
    bool readonly_mem, irqchip, split, routing, signal_msi, pit, irqfd, resample, ioeventfd, ioeventfd_any;
    bool coalesced_pio, xcrs, debugregs, vcpu_events, smm, nested, mce, guest_debug, tsc_control, tsc_deadline;
    bool x2apic_ids, triple_fault, exception_payload, hyperv, halt_poll, boot_cpu;
    unsigned slots, coalesced, dirty_ring, disable_exits, mce_banks, xsave_size, nested_size, clock_flags;
} KvmCaps;

enum { KVM_MSR_ROWS = 96, KVM_USER_SLOTS = 1024 };
enum { KVM_PV_CLOCK = 7 };      /* in X86Msrs.pv, of the first processor: the kernel's clock while the machine stands */

typedef struct KvmVm {
    const KvmSys *sys;
    int dev, vm;
    int run_size;
    Machine *machine;
    KvmCaps caps;
    struct kvm_cpuid2 *supported, *hv_supported;
    _Atomic bool msr_off[KVM_MSR_ROWS]; /* rows of msrs.c's table that this host has not, or refused */

    /* memory.c, dirty.c */
    GArray *slots;              /* of KvmSlot; the index is the slot number */
    GMutex lock;                /* guards slots between the main thread and dirty_sync */
    bool listens;               /* slots follow the guest's memory map */
    bool smram;                 /* the SMM-only slot is in force */
    uint32_t ring_entries;      /* dirty ring, per vcpu; 0: bitmaps */
    struct kvm_coalesced_mmio_ring *coalesced;  /* in the first vcpu's mapping; NULL: none */
    GArray *zones;              /* of struct kvm_coalesced_mmio_zone in force */

    /* irqchip.c */
    bool apic_works;            /* the probe saw the kernel's local APIC at work */
    IrqchipMode irqchip;
    GArray *routes;             /* of struct kvm_irq_routing_entry, all in force */
    GMutex route_lock;
    void (*eoi)(void *opaque, uint8_t vector);
    void *eoi_opaque;

    bool cpu_pm;                /* idle instructions do not leave the guest */
    uint64_t rescued;           /* instructions KVM refused and soft_step ran */

    /* user.c */
    bool user_only;             /* KVM gets 64-bit user code only, all else is interpreted */
    uint64_t stretches, forgotten;      /* of user code; times KVM's translations were dropped */
} KvmVm;

enum { PUSH_NONE, PUSH_RUN, PUSH_FULL };        /* RUN: less what time and other processors change (TSC, local APIC) */
enum { KVM_EXIT_KINDS = 40, KVM_DEBUG_MAX = 4 };

typedef struct KvmUser KvmUser;
typedef struct KvmVcpu {
    KvmVm *vm;
    int fd;
    struct kvm_run *run;
    struct kvm_dirty_gfn *ring;
    uint32_t ring_next;
    int push;                   /* PUSH_*: the struct is newer than the kernel's copy */
    bool pulled;                /* the struct is a true copy */
    uint64_t apic_base, tsc_deadline;   /* as last pulled, for the local APIC model */
    struct kvm_nested_state *nested;    /* caps.nested_size bytes, as last pulled; NULL: none */
    uint64_t exits[KVM_EXIT_KINDS];     /* by reason, for info kvm */
    struct { uint64_t addr; bool code; } debug_at[KVM_DEBUG_MAX];       /* debug registers in use (debug.c) */
    unsigned debug_count;
    KvmUser *user;              /* user.c; NULL: KVM runs everything */
} KvmVcpu;

static inline KvmVm *kvm_vm(Machine *m) { return m->accel_state; }
static inline KvmVcpu *kvm_vcpu(Vcpu *v) { return v->engine; }
static inline int kvm_vm_ioctl(const KvmVm *vm, unsigned long req, void *arg) { return vm->sys->ioctl(vm->vm, req, arg); }
static inline int kvm_dev_ioctl(const KvmVm *vm, unsigned long req, void *arg) { return vm->sys->ioctl(vm->dev, req, arg); }
static inline int kvm_ioctl(const KvmVcpu *k, unsigned long req, void *arg) { return k->vm->sys->ioctl(k->fd, req, arg); }
/* A request's number argument. */
static inline void *kvm_num(uint64_t n) { return (void *)(uintptr_t)n; }

/* caps.c: opens the device; false with a message that says what to do about it. */
int kvm_open_device(const KvmSys *sys, GError **err);
bool kvm_check_api(const KvmSys *sys, int dev, GError **err);
void kvm_read_caps(KvmVm *vm);
bool kvm_enable_cap(KvmVm *vm, unsigned cap, uint64_t arg);

/* memory.c */
void kvm_memory_init(KvmVm *vm);
/* From the first processor on: a board moves its memory about before, and every slot that goes costs a millisecond. */
void kvm_memory_listen(KvmVm *vm);
void kvm_memory_cleanup(KvmVm *vm);
/* dirty.c: dirty log, dirty ring. */
void kvm_log_slot(KvmVm *vm, unsigned n, const KvmSlot *s);
void kvm_dirty_sync(void *opaque, RamBlock *rb);
bool kvm_ring_init(KvmVm *vm, GHashTable *opts, GError **err);
bool kvm_ring_map(KvmVcpu *k, GError **err);
void kvm_ring_unmap(KvmVcpu *k);
void kvm_ring_harvest(KvmVm *vm);       /* vm->lock held */
void kvm_ring_full(KvmVm *vm);
/* coalesce.c: writes the kernel collects; drained in order before anything else is done for the guest. */
void kvm_coalesce_update(KvmVm *vm, const FlatView *mem);
void kvm_coalesce_drain(KvmVm *vm);

/* irqchip.c, chips.c, events.c */
bool kvm_irqchip_init(KvmVm *vm, const char *mode, GError **err);
void kvm_irqchip_cleanup(KvmVm *vm);
bool kvm_routes_commit(KvmVm *vm);
extern const AccelIrqchip kvm_irqchip;
extern const AccelEvents kvm_events;
bool kvm_pic_get(Machine *m, unsigned chip, PicRegs *r);
void kvm_pic_set(Machine *m, unsigned chip, const PicRegs *r);
bool kvm_ioapic_get(Machine *m, IoapicRegs *r);
void kvm_ioapic_set(Machine *m, const IoapicRegs *r);
bool kvm_pit_create(Machine *m, bool reinject, GError **err);
bool kvm_pit_get(Machine *m, PitRegs *r);
void kvm_pit_set(Machine *m, const PitRegs *r);
void kvm_lapic_transfer(X86Cpu *c, bool to_kernel);
void kvm_mp_transfer(X86Cpu *c, bool to_kernel);

/* cpuid.c */
struct kvm_cpuid2 *kvm_read_cpuid(const KvmSys *sys, int fd, unsigned long request);
bool kvm_set_cpuid(KvmVm *vm, X86Cpu *c, GError **err);
/* What was asked for and this host's KVM lacks: false under `enforce`, else a line if warn. */
bool kvm_check_model(const KvmVm *vm, const X86Model *m, bool warn, GError **err);
/* hyperv.c: the Hyper-V leaves into out (of room entries); 0 entries: not asked for. */
void kvm_hyperv_cpuid(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, unsigned room);
bool kvm_hyperv_init(KvmVcpu *k, const X86Model *model, bool warn, GError **err);
/* msrs.c: a register the host refuses is done without from then on. */
void kvm_msrs_init(KvmVm *vm);
void kvm_msrs_out(X86Cpu *c, bool full);
void kvm_deadline_out(X86Cpu *c);       /* after the local APIC */
void kvm_msrs_in(X86Cpu *c);
/* Sets all of c's registers; false if KVM refuses one that guests of its model cannot do without. */
bool kvm_msrs_try(X86Cpu *c, GError **err);
/* clock.c */
void kvm_clock_init(KvmVm *vm);
bool kvm_tsc_init(KvmVcpu *k, X86Cpu *c, GError **err);
/* Machine check exceptions (mce.c). */
void kvm_mce_init(KvmVcpu *k);
bool kvm_mce_inject(KvmVcpu *k, X86Cpu *c);
/* debug.c */
bool kvm_debug(Vcpu *v);
VcpuExit kvm_debug_exit(X86Cpu *c, struct kvm_run *r);

/* State transfer (regs.c); own thread or vcpu outside guest code. */
void kvm_pull(Vcpu *v);
void kvm_push(Vcpu *v);
bool kvm_push_now(X86Cpu *c, GError **err);
bool kvm_pull_now(X86Cpu *c);
void kvm_seg_in(X86Seg *s, const struct kvm_segment *k);
void kvm_sregs_out(const X86Cpu *c, struct kvm_sregs *s);
void kvm_regs_out(X86Cpu *c, struct kvm_regs *r);
void kvm_regs_in(X86Cpu *c, const struct kvm_regs *r);
void kvm_xsave_out(const X86Cpu *c, uint8_t *b);
void kvm_xsave_in(X86Cpu *c, const uint8_t *b);

/* user.c: where the host's KVM emulates kernels: user code in KVM, the rest interpreted. */
bool kvm_user_init(KvmVcpu *k, X86Cpu *c, GError **err);
void kvm_user_free(KvmVcpu *k);
VcpuExit kvm_user_run(Vcpu *v);

VcpuExit kvm_run(Vcpu *v);
/* exits.c: what the guest left for. */
VcpuExit kvm_handle_exit(X86Cpu *c, struct kvm_run *r);
const char *kvm_exit_name(unsigned reason);     /* NULL: unknown here */
/* Tells the user, with registers and the code at RIP, why the machine stops. */
VcpuExit kvm_stop_report(X86Cpu *c, const char *what);

typedef struct KvmSpeed {       /* probe.c: what a host makes of guest code */
    double ring0_mips;
    bool runs, fast;            /* fast: at hardware speed */
    bool apic;                  /* the kernel's local APIC works; asked where it is fast */
} KvmSpeed;
/*
 * Runs a short ring-0 loop on a processor of this model (NULL: with all that this KVM offers); false with a
 * reason if KVM refuses the model, does not run it or is slow.
 */
bool kvm_probe_speed(const KvmSys *sys, int dev, const X86Model *model, KvmSpeed *speed, GError **err);
/* For quern doctor (examine.c). */
void kvm_examine(const void *cpu_model, void (*fact)(void *opaque, const char *name, const char *value), void *opaque);
/* Whether the kernel's local APICs work as such. */
bool kvm_probe_apic(const KvmSys *sys, int dev);

#endif
