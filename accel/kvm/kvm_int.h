/* kvm_int: the KVM back-end's own data; private to accel/kvm/. */
#ifndef ACCEL_KVM_KVM_INT_H
#define ACCEL_KVM_KVM_INT_H

#include "softmmu/accel.h"
#include "target/x86/cpuid.h"
#include "target/x86/mem.h"

#include <linux/kvm.h>

typedef struct KvmSlot {
    uint64_t gpa, size;
    uint8_t *host;
    RamBlock *ram;
    uint64_t ram_offset;
    bool readonly, used;
} KvmSlot;

typedef struct KvmVm {
    int dev, vm;
    int run_size;
    Machine *machine;
    GArray *slots;              /* of KvmSlot; the index is the slot number */
    unsigned max_slots;
    bool readonly_mem;
    struct kvm_cpuid2 *supported;
    GMutex lock;                /* guards slots between the main thread and dirty_sync */
} KvmVm;

typedef struct KvmVcpu {
    int fd;
    struct kvm_run *run;
    bool push_all;              /* the struct is newer than the kernel's copy */
    bool pulled;                /* the struct is a true copy */
    uint64_t exits[64];         /* by reason, for info kvm */
} KvmVcpu;

static inline KvmVm *kvm_vm(Machine *m) { return m->accel_state; }
static inline KvmVcpu *kvm_vcpu(Vcpu *v) { return v->engine; }

bool kvm_memory_init(KvmVm *vm, GError **err);
void kvm_memory_cleanup(KvmVm *vm);
void kvm_dirty_sync(Machine *m, RamBlock *rb);
bool kvm_set_cpuid(KvmVm *vm, X86Cpu *c, GError **err);
struct kvm_cpuid2 *kvm_supported_cpuid(int dev);
/* State transfer; own thread or vcpu outside guest code. */
void kvm_pull(Vcpu *v);
void kvm_push(Vcpu *v);
bool kvm_push_now(X86Cpu *c, GError **err);
void kvm_pull_now(X86Cpu *c);
VcpuExit kvm_run(Vcpu *v);
/* Runs a short ring-0 loop; false with a reason when it is far below hardware speed. */
bool kvm_probe_speed(int dev, double *mips, GError **err);

#endif
