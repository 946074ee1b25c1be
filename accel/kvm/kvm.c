/*
 * kvm: guest mode through /dev/kvm.
 *
 * Linux Documentation/virt/kvm/api.rst. The struct X86Cpu is a cache of the kernel's state while
 * a vcpu runs: pulled when somebody looks, pushed when somebody changed it. docs/kvm.md.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"
#include "util/optlist.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KICK_SIGNAL = SIGUSR1 };

bool kvm_probe_on(const KvmSys *sys, const void *cpu_model, GError **why)
{
    KvmSpeed speed;
    int dev = kvm_open_device(sys, why);
    bool ok;

    if (dev < 0)
        return false;
    ok = kvm_check_api(sys, dev, why) && kvm_probe_speed(sys, dev, cpu_model, &speed, why);
    sys->close(dev);
    return ok;
}

static bool probe(const void *cpu_model, GError **why)
{
    return kvm_probe_on(&kvm_sys_host, cpu_model, why);
}

static void kick_handler(int sig)
{
}

/* --- the machine --- */

static bool open_vm(KvmVm *vm, GError **err)
{
    vm->dev = kvm_open_device(vm->sys, err);
    if (vm->dev < 0 || !kvm_check_api(vm->sys, vm->dev, err))
        return false;
    do {
        vm->vm = kvm_dev_ioctl(vm, KVM_CREATE_VM, NULL);
    } while (vm->vm < 0 && errno == EINTR);
    if (vm->vm < 0)
        return err_set_errno(err, errno, "KVM cannot create a virtual machine%s",
                             errno == EBUSY ? " (another hypervisor, such as VirtualBox, has the processor)" : "");
    vm->run_size = kvm_dev_ioctl(vm, KVM_GET_VCPU_MMAP_SIZE, NULL);
    vm->supported = kvm_read_cpuid(vm->sys, vm->dev, KVM_GET_SUPPORTED_CPUID);
    if (vm->run_size < (int)sizeof(struct kvm_run) || !vm->supported)
        return err_set(err, "KVM does not say how its vcpus look");
    kvm_read_caps(vm);
    return true;
}

static bool flag(GHashTable *opts, const char *name, bool *out, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, name) : NULL;

    return !text || parse_bool_text(text, out, err) || err_prefix(err, "%s", name);
}

/* Idle instructions stay in the guest (cpu-pm), or the kernel polls a while before it sleeps (halt-poll-ns). */
static bool set_idling(KvmVm *vm, GHashTable *opts, GError **err)
{
    const char *poll = opts ? g_hash_table_lookup(opts, "halt-poll-ns") : NULL;
    uint64_t ns;

    if (!flag(opts, "cpu-pm", &vm->cpu_pm, err))
        return false;
    if (vm->cpu_pm && !(vm->caps.disable_exits && kvm_enable_cap(vm, KVM_CAP_X86_DISABLE_EXITS, vm->caps.disable_exits)))
        return err_set(err, "-overcommit cpu-pm=on: this host's KVM cannot leave idle instructions to the guest");
    if (!poll)
        return true;
    if (!parse_size_text(poll, 1, &ns, err))
        return err_prefix(err, "halt-poll-ns");
    return (vm->caps.halt_poll && kvm_enable_cap(vm, KVM_CAP_HALT_POLL, MIN(ns, UINT32_MAX))) ||
           err_set(err, "halt-poll-ns: this host's KVM has one value for all machines "
                        "(/sys/module/kvm/parameters/halt_poll_ns)");
}

static const char *irqchip_text(GHashTable *opts)
{
    const char *text = opts ? g_hash_table_lookup(opts, "kernel-irqchip") : NULL;

    return text ? text : opts ? g_hash_table_lookup(opts, "kernel_irqchip") : NULL;
}

/* Who runs the guest's kernel: KVM, or the interpreter where this host's KVM would only emulate it. */
static bool choose_kernel(KvmVm *vm, GHashTable *opts, GError **err)
{
    const char *text = opts ? g_hash_table_lookup(opts, "kernel-code") : NULL;
    KvmSpeed speed;

    if (text && strcmp(text, "auto") && strcmp(text, "kvm") && strcmp(text, "soft"))
        return err_set(err, "kernel-code is auto, kvm or soft, not '%s'", text);
    if (text && !strcmp(text, "kvm"))
        return true;
    vm->user_only = text && !strcmp(text, "soft");
    if (!vm->user_only && vm->caps.slots >= KVM_USER_SLOTS) {
        vm->user_only = !kvm_probe_speed(vm->sys, vm->dev, NULL, &speed, NULL) && speed.runs;
        vm->apic_works = speed.apic;
    }
    if (!vm->user_only)
        return true;
    if (vm->caps.slots < KVM_USER_SLOTS)
        return err_set(err, "kernel-code=soft: this host's KVM has too few memory slots");
    vm->caps.coalesced = 0;     /* nobody would see what the kernel collects */
    if (!text || strcmp(text, "soft"))
        log_info("this host's KVM emulates guest kernels: quern interprets them itself, KVM runs 64-bit user code "
                 "(-accel jit is faster; -accel kvm,kernel-code=kvm leaves all to KVM)");
    return true;
}

static bool set_up_vm(KvmVm *vm, GHashTable *opts, GError **err)
{
    uint64_t identity = 0xfffbc000;

    /* Intel real-mode helpers want three pages the guest never uses; below the BIOS at 4 GiB. */
    kvm_vm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
    kvm_vm_ioctl(vm, KVM_SET_TSS_ADDR, kvm_num(0xfffbd000));
    kvm_msrs_init(vm);
    return choose_kernel(vm, opts, err) && set_idling(vm, opts, err) && kvm_ring_init(vm, opts, err) &&
           kvm_irqchip_init(vm, irqchip_text(opts), err);
}

static void destroy(Machine *m)
{
    KvmVm *vm = kvm_vm(m);

    if (!vm)
        return;
    kvm_memory_cleanup(vm);
    kvm_irqchip_cleanup(vm);
    if (vm->vm >= 0)
        vm->sys->close(vm->vm);
    if (vm->dev >= 0)
        vm->sys->close(vm->dev);
    g_free(vm->supported);
    g_free(vm->hv_supported);
    g_mutex_clear(&vm->lock);
    g_free(vm);
    m->accel_state = NULL;
}

bool kvm_create_on(Machine *m, const KvmSys *sys, GHashTable *opts, GError **err)
{
    KvmVm *vm = g_new0(KvmVm, 1);
    struct sigaction sa = { .sa_handler = kick_handler };

    vm->sys = sys;
    vm->dev = vm->vm = -1;
    vm->machine = m;
    g_mutex_init(&vm->lock);
    kvm_memory_init(vm);
    m->accel_state = vm;
    if (!open_vm(vm, err) || !set_up_vm(vm, opts, err)) {
        destroy(m);
        return false;
    }
    m->accel_offers_pv = !vm->user_only;
    if (!vm->user_only)
        kvm_clock_init(vm);
    sigaction(KICK_SIGNAL, &sa, NULL);
    return true;
}

static bool create(Machine *m, GHashTable *opts, GError **err)
{
    return kvm_create_on(m, &kvm_sys_host, opts, err);
}

/* --- processors --- */

static void vcpu_destroy(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    if (!k)
        return;
    kvm_user_free(k);
    kvm_ring_unmap(k);
    if (k->run) {
        if (k->vm->coalesced && v->index == 0)
            k->vm->coalesced = NULL;
        k->vm->sys->munmap(k->run, k->vm->run_size);
    }
    if (k->fd >= 0)
        k->vm->sys->close(k->fd);
    g_free(k->nested);
    g_free(k);
    v->engine = NULL;
}

static bool open_vcpu(KvmVcpu *k, Vcpu *v, GError **err)
{
    KvmVm *vm = k->vm;

    k->fd = kvm_vm_ioctl(vm, KVM_CREATE_VCPU, kvm_num(v->index));
    if (k->fd < 0)
        return err_set_errno(err, errno, "KVM cannot create CPU %d", v->index);
    k->run = vm->sys->mmap(vm->run_size, k->fd, 0);
    if (!k->run)
        return err_set_errno(err, errno, "the shared page of CPU %d", v->index);
    if (v->index == 0 && vm->caps.coalesced && vm->caps.coalesced < (unsigned)vm->run_size / 4096)
        vm->coalesced = (void *)((uint8_t *)k->run + vm->caps.coalesced * 4096);
    return kvm_ring_map(k, err);
}

static bool vcpu_create(Vcpu *v, GError **err)
{
    KvmVm *vm = kvm_vm(v->machine);
    KvmVcpu *k = g_new0(KvmVcpu, 1);
    X86Cpu *c = x86_cpu(v);

    v->engine = k;
    k->vm = vm;
    k->push = PUSH_FULL;
    v->engine_waits = vm->irqchip != IRQCHIP_OFF;
    if (!open_vcpu(k, v, err) || (vm->user_only && !kvm_user_init(k, c, err))) {
        vcpu_destroy(v);
        return false;
    }
    kvm_memory_listen(vm);
    if (vm->user_only)
        return true;
    if (!kvm_check_model(vm, c->model, v->index == 0, err) || !kvm_hyperv_init(k, c->model, v->index == 0, err) ||
        !kvm_set_cpuid(vm, c, err) || !kvm_tsc_init(k, c, err)) {
        vcpu_destroy(v);
        return false;
    }
    kvm_mce_init(k);
    return true;
}

static void kick(Vcpu *v)
{
    KvmVcpu *k = kvm_vcpu(v);

    k->run->immediate_exit = 1;
    syscall(SYS_tgkill, getpid(), v->host_tid, KICK_SIGNAL);
}

static bool has_smm(Machine *m)
{
    return kvm_vm(m)->user_only || kvm_vm(m)->caps.smm;
}

static char *describe(Machine *m)
{
    static const char *const modes[] = { "off", "split", "on" };
    KvmVm *vm = kvm_vm(m);
    GString *s = g_string_new("");

    g_string_append_printf(s, "interrupt controllers in the kernel: %s; dirty pages by %s; instructions KVM refused: %"
                           G_GUINT64_FORMAT "\n", modes[vm->irqchip], vm->ring_entries ? "ring" : "bitmap", vm->rescued);
    for (guint i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = m->vcpus->pdata[i];
        KvmVcpu *k = kvm_vcpu(v);

        g_string_append_printf(s, "cpu %d exits:", v->index);
        for (size_t r = 0; r < ARRAY_LEN(k->exits); r++) {
            if (k->exits[r])
                g_string_append_printf(s, " %s=%" G_GUINT64_FORMAT, kvm_exit_name(r) ? kvm_exit_name(r) : "other",
                                       k->exits[r]);
        }
        g_string_append_c(s, '\n');
    }
    return g_string_free(s, FALSE);
}

const Accel kvm_accel = {
    .name = "kvm", .desc = "hardware virtualization through /dev/kvm",
    .options = "kernel-code kernel-irqchip kernel_irqchip cpu-pm halt-poll-ns dirty-ring-size", .probe = probe, .examine = kvm_examine,
    .create = create,
    .destroy = destroy, .vcpu_create = vcpu_create, .vcpu_destroy = vcpu_destroy, .run = kvm_run, .kick = kick,
    .pull = kvm_pull, .push = kvm_push, .describe = describe, .has_smm = has_smm,
    .irqchip = &kvm_irqchip, .events = &kvm_events, .debug = kvm_debug,
};
