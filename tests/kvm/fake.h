/*
 * fake: a recording /dev/kvm: answers every request, refuses those it is told to, and leaves the guest
 * for what a script says.
 */
#ifndef TESTS_KVM_FAKE_H
#define TESTS_KVM_FAKE_H

#include "accel/kvm/sys.h"
#include "target/x86/cpuid.h"

#include <linux/kvm.h>

typedef struct FakeStep {       /* one KVM_RUN */
    int err;                    /* errno, or 0 */
    uint32_t reason;
    void (*fill)(struct kvm_run *r);    /* or NULL */
} FakeStep;

typedef struct Fake {
    int open_errno;
    int cap[256];               /* what KVM_CHECK_EXTENSION says */
    unsigned long fail_request; /* this one fails... */
    int fail_errno;             /* ... with this */
    unsigned interrupted;       /* so many KVM_CREATE_VM end with EINTR first */
    unsigned fail_mmap;         /* the mapping of this number, from 1, fails */
    unsigned mmaps;
    uint32_t refuse_msr;        /* KVM_SET_MSRS stops here */
    uint32_t lacks;             /* bits of CPUID 7.EBX that this host's KVM does not offer */
    bool hv_bare;               /* nor any Hyper-V enlightenment */
    uint32_t picky;             /* a processor's signature (CPUID 1.EAX): for such ... */
    unsigned long picky_request;        /* ... this fails with EINVAL */
    const FakeStep *script;     /* ends with KVM_EXIT_SHUTDOWN for ever */
    unsigned step, steps;

    /* What was said. */
    GHashTable *count;          /* request -> times */
    struct kvm_regs regs;
    struct kvm_sregs sregs;
    struct kvm_vcpu_events events;
    struct kvm_guest_debug debug;
    struct kvm_lapic_state lapic;
    struct kvm_irqchip chip[3];
    struct kvm_pit_state2 pit;
    struct kvm_mp_state mp;
    struct kvm_msi msi;
    struct kvm_irqfd irqfd;
    struct kvm_ioeventfd ioeventfd;
    struct kvm_irq_level line;
    struct kvm_interrupt interrupt;
    struct kvm_clock_data clock;
    struct kvm_x86_mce mce;
    struct kvm_cpuid2 *cpuid;
    struct kvm_irq_routing *routes;
    GHashTable *msrs;           /* number -> value, as set */
    struct kvm_userspace_memory_region smm_slot;        /* the last of the second address space, */
    struct kvm_userspace_memory_region smram;           /* and its own */
    GArray *slots;              /* of struct kvm_userspace_memory_region, as set */
    uint8_t xsave[4096];
    uint8_t *run;               /* of the only vcpu */
    struct kvm_dirty_gfn *ring;
    int open_fds;
} Fake;

extern Fake fake;               /* one at a time */
extern const KvmSys fake_sys;
extern Accel fake_accel;        /* kvm's, on fake_sys */
const char *kvm_exit_name(unsigned reason);     /* of accel/kvm: NULL: unknown there */

/* A fresh fake with every capability. */
void fake_reset(void);
unsigned fake_count(unsigned long request);
extern const unsigned long fake_requests[];     /* all that the engine may ask */
extern const size_t fake_request_count;
/* What the next KVM_RUNs do. */
#define SCRIPT(...) do { static const FakeStep s_[] = { __VA_ARGS__ }; fake.script = s_; fake.steps = G_N_ELEMENTS(s_); } while (0)

typedef struct FakeVm {
    Machine *m;
    X86Model *model;
    Region ram;
    Vcpu *v;
} FakeVm;
/* A machine of 1 MiB of RAM and one processor on the fake; NULL and err when it would not start. */
FakeVm *fake_vm(const char *cpu, const char *opts, GError **err);
FakeVm *fake_start(const char *cpu, const char *opts);  /* the same, which must succeed */
/* What the last KVM_SET_CPUID2 says of a leaf; NULL: nothing. */
const struct kvm_cpuid_entry2 *fake_leaf(uint32_t n);
void fake_vm_free(FakeVm *f);
VcpuExit fake_run(FakeVm *f);

#endif
