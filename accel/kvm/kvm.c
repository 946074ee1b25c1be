/*
 * kvm: guest mode through /dev/kvm, with the interrupt controllers emulated by quern's models.
 *
 * Linux Documentation/virt/kvm/api.rst. The struct X86Cpu is a cache of the kernel's state while
 * a vcpu runs: pulled when somebody looks, pushed when somebody changed it.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KICK_SIGNAL = SIGUSR1 };

static int open_device(GError **err)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC), e = errno;

    if (fd >= 0)
        return fd;
    if (e == ENOENT)
        err_set(err, "/dev/kvm does not exist (no hardware virtualization here; in a container, pass --device /dev/kvm)");
    else if (e == EACCES || e == EPERM)
        err_set(err, "no permission for /dev/kvm (add yourself to its group: sudo usermod -aG kvm $USER, then log in again)");
    else
        err_set_errno(err, e, "/dev/kvm");
    return -1;
}

static bool check_api(int dev, GError **err)
{
    static const struct { int cap; const char *what; } needed[] = {
        { KVM_CAP_USER_MEMORY, "user memory slots" }, { KVM_CAP_EXT_CPUID, "CPUID control" },
        { KVM_CAP_IMMEDIATE_EXIT, "immediate exit" }, { KVM_CAP_XSAVE, "XSAVE state" },
    };
    int version = ioctl(dev, KVM_GET_API_VERSION, 0);

    if (version != KVM_API_VERSION)
        return err_set(err, "/dev/kvm speaks API version %d, not %d", version, KVM_API_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (ioctl(dev, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
            return err_set(err, "this host's KVM lacks %s", needed[i].what);
    }
    return true;
}

static bool probe(GError **why)
{
    double mips;
    int dev = open_device(why);
    bool ok;

    if (dev < 0)
        return false;
    ok = check_api(dev, why) && kvm_probe_speed(dev, &mips, why);
    close(dev);
    return ok;
}

static void kick_handler(int sig)
{
}

static bool create_vm(KvmVm *vm, GError **err)
{
    vm->dev = open_device(err);
    if (vm->dev < 0 || !check_api(vm->dev, err))
        return false;
    do {
        vm->vm = ioctl(vm->dev, KVM_CREATE_VM, 0);
    } while (vm->vm < 0 && errno == EINTR);
    if (vm->vm < 0)
        return err_set_errno(err, errno, "KVM cannot create a virtual machine");
    vm->run_size = ioctl(vm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
    vm->supported = kvm_supported_cpuid(vm->dev);
    if (vm->run_size < (int)sizeof(struct kvm_run) || !vm->supported)
        return err_set(err, "KVM does not say how its vcpus look");
    /* Intel real-mode helpers want three pages the guest never uses; below the BIOS at 4 GiB. */
    ioctl(vm->vm, KVM_SET_TSS_ADDR, 0xfffbd000UL);
    ioctl(vm->vm, KVM_SET_IDENTITY_MAP_ADDR, &(uint64_t) { 0xfffbc000 });
    return kvm_memory_init(vm, err);
}

static void destroy(Machine *m)
{
    KvmVm *vm = kvm_vm(m);

    if (!vm)
        return;
    kvm_memory_cleanup(vm);
    if (vm->vm >= 0)
        close(vm->vm);
    if (vm->dev >= 0)
        close(vm->dev);
    g_free(vm->supported);
    g_mutex_clear(&vm->lock);
    g_free(vm);
    m->accel_state = NULL;
}

static bool create(Machine *m, GHashTable *opts, GError **err)
{
    KvmVm *vm = g_new0(KvmVm, 1);
    const char *irqchip = opts ? g_hash_table_lookup(opts, "kernel-irqchip") : NULL;
    struct sigaction sa = { .sa_handler = kick_handler };

    vm->dev = vm->vm = -1;
    vm->machine = m;
    g_mutex_init(&vm->lock);
    m->accel_state = vm;
    if (irqchip && !g_str_equal(irqchip, "off")) {
        destroy(m);
        return err_set(err, "kernel-irqchip=%s: this back-end emulates the interrupt controllers itself; say off", irqchip);
    }
    if (!create_vm(vm, err)) {
        destroy(m);
        return false;
    }
    sigaction(KICK_SIGNAL, &sa, NULL);
    return true;
}

static void vcpu_destroy(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    if (!k)
        return;
    if (k->run)
        munmap(k->run, kvm_vm(v->machine)->run_size);
    if (k->fd >= 0)
        close(k->fd);
    g_free(k);
    v->engine = NULL;
}

static bool vcpu_create(Vcpu *v, GError **err)
{
    KvmVm *vm = kvm_vm(v->machine);
    KvmVcpu *k = g_new0(KvmVcpu, 1);

    v->engine = k;
    k->fd = ioctl(vm->vm, KVM_CREATE_VCPU, v->index);
    if (k->fd >= 0)
        k->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (k->fd < 0 || k->run == MAP_FAILED) {
        err_set_errno(err, errno, "KVM cannot create vcpu %d", v->index);
        k->run = k->fd < 0 || k->run == MAP_FAILED ? NULL : k->run;
        vcpu_destroy(v);
        return false;
    }
    k->push_all = true;
    if (!kvm_set_cpuid(vm, x86_cpu(v), err)) {
        vcpu_destroy(v);
        return false;
    }
    return true;
}

static void kick(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    k->run->immediate_exit = 1;
    syscall(SYS_tgkill, getpid(), v->host_tid, KICK_SIGNAL);
}

void kvm_pull(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    if (!k->pulled && !k->push_all)
        kvm_pull_now(x86_cpu(v));
    k->pulled = true;
}

void kvm_push(Vcpu *v)
{
    kvm_vcpu(v)->push_all = true;
}

static bool has_smm(Machine *m)
{
    return ioctl(kvm_vm(m)->vm, KVM_CHECK_EXTENSION, KVM_CAP_X86_SMM) > 0;
}

static char *describe(Machine *m)
{
    static const char *const names[] = {
        [KVM_EXIT_IO] = "port", [KVM_EXIT_MMIO] = "mmio", [KVM_EXIT_HLT] = "hlt", [KVM_EXIT_INTR] = "signal",
        [KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window", [KVM_EXIT_SET_TPR] = "tpr", [KVM_EXIT_SHUTDOWN] = "shutdown",
        [KVM_EXIT_DEBUG] = "debug", [KVM_EXIT_FAIL_ENTRY] = "failed entry", [KVM_EXIT_INTERNAL_ERROR] = "internal error",
    };
    GString *s = g_string_new("");

    for (guint i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = m->vcpus->pdata[i];
        KvmVcpu *k = kvm_vcpu(v);

        g_string_append_printf(s, "vcpu %d exits:", v->index);
        for (size_t r = 0; r < ARRAY_LEN(k->exits); r++) {
            if (k->exits[r])
                g_string_append_printf(s, " %s=%" G_GUINT64_FORMAT, r < ARRAY_LEN(names) && names[r] ? names[r] : "other",
                                       k->exits[r]);
        }
        g_string_append_c(s, '\n');
    }
    return g_string_free(s, FALSE);
}

const Accel kvm_accel = {
    .name = "kvm", .desc = "hardware virtualization through /dev/kvm", .probe = probe, .create = create,
    .destroy = destroy, .vcpu_create = vcpu_create, .vcpu_destroy = vcpu_destroy, .run = kvm_run, .kick = kick,
    .pull = kvm_pull, .push = kvm_push, .dirty_sync = kvm_dirty_sync, .describe = describe, .has_smm = has_smm,
};
