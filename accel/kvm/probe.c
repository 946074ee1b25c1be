/*
 * probe: believes the clock, not the capability list.
 *
 * Some hosts offer a /dev/kvm that works but emulates guest kernel code one instruction at a time
 * (about 1.6 million a second). A loop of a few thousand ring-0 instructions tells them apart.
 */
#include "accel/kvm/kvm_int.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOOPS = 4000, INSNS = 2 * LOOPS, SLOW_MIPS = 20 };

typedef struct Probe {
    int vm, vcpu, run_size;
    struct kvm_run *run;
    uint8_t *mem;
} Probe;

/* mov cx, LOOPS; 1: dec cx; jnz 1b; hlt   (16-bit code at 0) */
static const uint8_t code[] = { 0xb9, LOOPS & 0xff, LOOPS >> 8, 0x49, 0x75, 0xfd, 0xf4 };

static bool set_up(Probe *p, int dev, GError **err)
{
    struct kvm_userspace_memory_region r = { .guest_phys_addr = 0, .memory_size = 4096 };
    struct kvm_sregs s;
    struct kvm_regs regs = { .rip = 0, .rflags = 2 };

    p->vm = ioctl(dev, KVM_CREATE_VM, 0);
    if (p->vm < 0)
        return err_set_errno(err, errno, "KVM cannot create a virtual machine");
    p->mem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->mem == MAP_FAILED) {
        p->mem = NULL;
        return err_set_errno(err, errno, "memory for the KVM probe");
    }
    memcpy(p->mem, code, sizeof code);
    r.userspace_addr = (uintptr_t)p->mem;
    p->vcpu = ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &r) ? -1 : ioctl(p->vm, KVM_CREATE_VCPU, 0);
    p->run_size = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (p->vcpu < 0 || p->run_size < (int)sizeof *p->run)
        return err_set_errno(err, errno, "KVM cannot create a vcpu");
    p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    if (p->run == MAP_FAILED) {
        p->run = NULL;
        return err_set_errno(err, errno, "KVM vcpu memory");
    }
    if (ioctl(p->vcpu, KVM_GET_SREGS, &s))
        return err_set_errno(err, errno, "KVM vcpu registers");
    s.cs.base = 0;
    s.cs.selector = 0;
    return (!ioctl(p->vcpu, KVM_SET_SREGS, &s) && !ioctl(p->vcpu, KVM_SET_REGS, &regs)) ||
           err_set_errno(err, errno, "KVM vcpu registers");
}

static void tear_down(Probe *p)
{
    if (p->run)
        munmap(p->run, p->run_size);
    if (p->vcpu >= 0)
        close(p->vcpu);
    if (p->vm >= 0)
        close(p->vm);
    if (p->mem)
        munmap(p->mem, 4096);
}

bool kvm_probe_speed(int dev, double *mips, GError **err)
{
    Probe p = { .vm = -1, .vcpu = -1 };
    bool ok = set_up(&p, dev, err);
    int64_t start = g_get_monotonic_time(), us;
    int r;

    *mips = 0;
    if (!ok) {
        tear_down(&p);
        return false;
    }
    do {
        r = ioctl(p.vcpu, KVM_RUN, 0);
    } while (r < 0 && (errno == EINTR || errno == EAGAIN));
    us = MAX(g_get_monotonic_time() - start, 1);
    *mips = (double)INSNS / us;
    if (r < 0)
        ok = err_set_errno(err, errno, "KVM cannot run guest code");
    else if (p.run->exit_reason != KVM_EXIT_HLT)
        ok = err_set(err, "KVM left a two-instruction loop with exit reason %u", p.run->exit_reason);
    else if (*mips < SLOW_MIPS)
        ok = err_set(err, "/dev/kvm runs guest kernel code at %.1f million instructions a second: this host emulates it", *mips);
    tear_down(&p);
    return ok;
}
