/*
 * accel: the door between a machine and what executes its guest code.
 *
 * Engines register one const Accel in accel/accels.def. Entries left NULL are optional
 * unless marked (must).
 */
#ifndef SOFTMMU_ACCEL_H
#define SOFTMMU_ACCEL_H

#include "softmmu/irqchip.h"
#include "softmmu/vcpu.h"

struct Accel {
    const char *name;           /* "interp", "jit", "kvm", "null"; "tcg" is an alias of the software engine */
    const char *desc;
    const char *options;        /* names of its -accel options, separated by spaces; NULL: none */
    /*
     * Could this engine run a guest here, well? On false, *why tells a person why not, in one line.
     * cpu_model: the processor the guest shall have, as the target describes it (x86: const X86Model *);
     * passed through unseen. NULL: not known, any will do.
     */
    bool (*probe)(const void *cpu_model, GError **why);                 /* (must) */
    /* Everything worth knowing about this engine here, fact by fact ("quern doctor"); optional. */
    void (*examine)(const void *cpu_model, void (*fact)(void *opaque, const char *name, const char *value), void *opaque);
    bool (*create)(Machine *m, GHashTable *opts, GError **err);         /* opts: char* -> char* */
    void (*destroy)(Machine *m);
    bool (*vcpu_create)(Vcpu *v, GError **err);
    void (*vcpu_destroy)(Vcpu *v);
    /* Own thread, lock not held: runs guest code until there is a reason to leave. (must) */
    VcpuExit (*run)(Vcpu *v);
    /* Any thread: v must leave guest code soon (a signal for KVM; engines that poll attention: NULL). */
    void (*kick)(Vcpu *v);
    /* Architectural state between the engine and the target's struct. NULL: always in the struct. */
    void (*pull)(Vcpu *v);
    void (*push)(Vcpu *v);
    char *(*describe)(Machine *m);                      /* "info jit"; caller frees */
    const AccelIrqchip *irqchip;                        /* controllers inside the engine; NULL: never */
    const AccelEvents *events;                          /* eventfds in and out of the guest; NULL: never */
    /* Guest debugging: v->debug has changed. False: the engine cannot do all of it. Lock held, v stands.
       NULL: the engine cannot debug. */
    bool (*debug)(Vcpu *v);
    bool (*has_smm)(Machine *m);                        /* system management mode works; NULL: yes */
};

const Accel *accel_find(const char *name);              /* NULL if unknown; accel/accel.c */
const Accel *const *accel_list(void);                   /* NULL-terminated */

#endif
