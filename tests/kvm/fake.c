/* fake: see fake.h. */
#include "tests/kvm/fake.h"

#include <errno.h>
#include <string.h>

enum { DEV = 1000, VM, VCPU, RUN_PAGES = 4, PAGE = 4096 };

Fake fake;
Accel fake_accel;
extern const Accel kvm_accel;

const unsigned long fake_requests[] = {
    KVM_GET_API_VERSION, KVM_CHECK_EXTENSION, KVM_CREATE_VM, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_SUPPORTED_CPUID,
    KVM_GET_MSR_INDEX_LIST, KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_IRQCHIP, KVM_SET_GSI_ROUTING,
    KVM_ENABLE_CAP, KVM_SET_CPUID2, KVM_RUN, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_VCPU_EVENTS,
    KVM_SET_VCPU_EVENTS, KVM_GET_LAPIC, KVM_SET_LAPIC, KVM_GET_MP_STATE, KVM_SET_MP_STATE, KVM_GET_XSAVE, KVM_GET_XSAVE2,
    KVM_SET_XSAVE, KVM_GET_MSRS, KVM_SET_MSRS, KVM_GET_XCRS, KVM_SET_XCRS, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
    KVM_GET_TSC_KHZ, KVM_X86_SETUP_MCE, KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_GET_NESTED_STATE, KVM_SET_NESTED_STATE,
    KVM_SET_TSS_ADDR, KVM_SET_IDENTITY_MAP_ADDR, KVM_GET_CLOCK, KVM_SET_CLOCK, KVM_NMI, KVM_SMI, KVM_X86_SET_MCE,
    KVM_IRQ_LINE, KVM_SIGNAL_MSI, KVM_IRQFD, KVM_IOEVENTFD, KVM_SET_GUEST_DEBUG, KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_PIT2,
    KVM_REINJECT_CONTROL, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, KVM_GET_DIRTY_LOG, KVM_RESET_DIRTY_RINGS, KVM_SET_TSC_KHZ,
    KVM_GET_SUPPORTED_HV_CPUID, KVM_TRANSLATE, KVM_KVMCLOCK_CTRL, KVM_REGISTER_COALESCED_MMIO, KVM_UNREGISTER_COALESCED_MMIO,
    KVM_SET_BOOT_CPU_ID, KVM_INTERRUPT,
};
const size_t fake_request_count = G_N_ELEMENTS(fake_requests);

void fake_reset(void)
{
    if (fake.count)
        g_hash_table_unref(fake.count);
    if (fake.msrs)
        g_hash_table_unref(fake.msrs);
    if (fake.slots)
        g_array_unref(fake.slots);
    g_free(fake.cpuid);
    g_free(fake.routes);
    fake = (Fake) { 0 };
    fake.count = g_hash_table_new(NULL, NULL);
    fake.msrs = g_hash_table_new(NULL, NULL);
    fake.slots = g_array_new(FALSE, TRUE, sizeof(struct kvm_userspace_memory_region));
    for (unsigned i = 0; i < 256; i++)
        fake.cap[i] = 1;
    fake.cap[KVM_CAP_NR_MEMSLOTS] = 509;
    fake.cap[KVM_CAP_COALESCED_MMIO] = 2;
    fake.cap[KVM_CAP_MULTI_ADDRESS_SPACE] = 2;
    fake.cap[KVM_CAP_MCE] = 32;
    fake.cap[KVM_CAP_DIRTY_LOG_RING] = fake.cap[KVM_CAP_DIRTY_LOG_RING_ACQ_REL] = 1 << 20;
    fake.cap[KVM_CAP_NESTED_STATE] = 4096;
    fake.cap[KVM_CAP_X86_DISABLE_EXITS] = 14;
    fake.cap[KVM_CAP_XSAVE2] = 4096;
    fake_accel = kvm_accel;
}

unsigned fake_count(unsigned long request)
{
    return GPOINTER_TO_UINT(g_hash_table_lookup(fake.count, GSIZE_TO_POINTER(request)));
}

static int refuse(int e)
{
    errno = e;
    return -1;
}

static int fake_open(const char *path, int flags)
{
    if (fake.open_errno)
        return refuse(fake.open_errno);
    fake.open_fds++;
    return DEV;
}

static int fake_close(int fd)
{
    fake.open_fds--;
    return 0;
}

static void *fake_mmap(size_t len, int fd, uint64_t offset)
{
    void *p;

    if (++fake.mmaps == fake.fail_mmap) {
        errno = ENOMEM;
        return NULL;
    }
    p = g_malloc0(len);
    if (offset)
        fake.ring = p;
    else
        fake.run = p;
    return p;
}

static int fake_munmap(void *p, size_t len)
{
    g_free(p);
    return 0;
}

static int cpuid_list(struct kvm_cpuid2 *c, bool hv)
{
    static const struct kvm_cpuid_entry2 host[] = {
        { .function = 0, .eax = 0xd }, { .function = 1, .ecx = ~0u, .edx = ~0u },
        { .function = 7, .flags = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~0u },
        { .function = 0xd, .flags = 1, .eax = 7 }, { .function = 0x80000001, .ecx = ~0u, .edx = ~0u },
        { .function = 0x40000001, .eax = 0x01007efb } };
    static const struct kvm_cpuid_entry2 ms[] = {
        { .function = 0x40000003, .eax = ~0u, .edx = ~0u }, { .function = 0x40000004, .eax = ~0u } };
    const struct kvm_cpuid_entry2 *e = hv ? ms : host;
    unsigned n = hv ? G_N_ELEMENTS(ms) : G_N_ELEMENTS(host);

    if (c->nent < n)
        return refuse(E2BIG);
    memcpy(c->entries, e, n * sizeof *e);
    for (unsigned i = 0; i < n; i++) {
        if (e[i].function == 7)
            c->entries[i].ebx &= ~fake.lacks;
        if (hv && fake.hv_bare)
            c->entries[i].eax = c->entries[i].edx = 0;
    }
    c->nent = n;
    return 0;
}

static int msr_list(struct kvm_msr_list *l)
{
    static const uint32_t known[] = { 0x10, 0x10a, 0x174, 0x175, 0x176, 0x277, 0x3b, 0x6e0, 0xc0000080, 0xc0000081, 0xc0000082 };
    bool fits = l->nmsrs >= G_N_ELEMENTS(known);

    l->nmsrs = G_N_ELEMENTS(known);
    if (!fits)
        return refuse(E2BIG);
    memcpy(l->indices, known, sizeof known);
    return 0;
}

static int set_msrs(const struct kvm_msrs *m)
{
    for (unsigned i = 0; i < m->nmsrs; i++) {
        if (m->entries[i].index == fake.refuse_msr)
            return i;
        g_hash_table_insert(fake.msrs, GUINT_TO_POINTER(m->entries[i].index), GSIZE_TO_POINTER(m->entries[i].data));
    }
    return m->nmsrs;
}

static int get_msrs(struct kvm_msrs *m)
{
    for (unsigned i = 0; i < m->nmsrs; i++) {
        if (m->entries[i].index == fake.refuse_msr)
            return i;
        m->entries[i].data = GPOINTER_TO_SIZE(g_hash_table_lookup(fake.msrs, GUINT_TO_POINTER(m->entries[i].index)));
    }
    return m->nmsrs;
}

static int run(void)
{
    struct kvm_run *r = (struct kvm_run *)(void *)fake.run;
    const FakeStep *s = fake.step < fake.steps ? &fake.script[fake.step] : NULL;

    if (r->immediate_exit)
        return refuse(EINTR);
    fake.step++;
    if (s && s->err)
        return refuse(s->err);
    r->exit_reason = s ? s->reason : KVM_EXIT_SHUTDOWN;
    if (s && s->fill)
        s->fill(r);
    return 0;
}

static void put_slot(const struct kvm_userspace_memory_region *s)
{
    if (s->slot >> 16) {                /* SMM's address space */
        *((s->slot & 0xffff) == 508 ? &fake.smram : &fake.smm_slot) = *s;
        return;
    }
    if (s->slot >= fake.slots->len)
        g_array_set_size(fake.slots, s->slot + 1);
    g_array_index(fake.slots, struct kvm_userspace_memory_region, s->slot) = *s;
}

static int copy(void *to, const void *from, size_t len)
{
    memcpy(to, from, len);
    return 0;
}
#define GET(field) copy(arg, &fake.field, sizeof fake.field)
#define SET(field) copy(&fake.field, arg, sizeof fake.field)

static int dev_or_vm(unsigned long req, void *arg)
{
    switch (req) {
    case KVM_GET_API_VERSION: return KVM_API_VERSION;
    case KVM_CHECK_EXTENSION: return (uintptr_t)arg < 256 ? fake.cap[(uintptr_t)arg] : 0;
    case KVM_CREATE_VM:
        if (fake.interrupted) {
            fake.interrupted--;
            return refuse(EINTR);
        }
        fake.open_fds++;
        return VM;
    case KVM_GET_VCPU_MMAP_SIZE: return RUN_PAGES * PAGE;
    case KVM_GET_SUPPORTED_CPUID: return cpuid_list(arg, false);
    case KVM_GET_SUPPORTED_HV_CPUID: return cpuid_list(arg, true);
    case KVM_GET_MSR_INDEX_LIST: return msr_list(arg);
    case KVM_CREATE_VCPU: fake.open_fds++; return VCPU;
    case KVM_SET_USER_MEMORY_REGION: put_slot(arg); return 0;
    case KVM_SIGNAL_MSI: return SET(msi) + 1;
    case KVM_IRQFD: return SET(irqfd);
    case KVM_IOEVENTFD: return SET(ioeventfd);
    case KVM_IRQ_LINE: return SET(line);
    case KVM_GET_CLOCK: return GET(clock);
    case KVM_SET_CLOCK: return SET(clock);
    case KVM_GET_PIT2: return GET(pit);
    case KVM_SET_PIT2: return SET(pit);
    case KVM_GET_IRQCHIP: *(struct kvm_irqchip *)arg = fake.chip[((struct kvm_irqchip *)arg)->chip_id % 3]; return 0;
    case KVM_SET_IRQCHIP: fake.chip[((struct kvm_irqchip *)arg)->chip_id % 3] = *(struct kvm_irqchip *)arg; return 0;
    case KVM_SET_GSI_ROUTING: {
        const struct kvm_irq_routing *t = arg;

        g_free(fake.routes);
        fake.routes = g_memdup2(t, sizeof *t + t->nr * sizeof t->entries[0]);
        return 0;
    }
    default: return 0;
    }
}

/* Is this request for a processor of the kind this host does not like? */
static bool dislikes(unsigned long req, const void *arg)
{
    const struct kvm_cpuid2 *c = req == KVM_SET_CPUID2 ? arg : fake.cpuid;

    if (!fake.picky || req != fake.picky_request)
        return false;
    for (unsigned i = 0; c && i < c->nent; i++) {
        if (c->entries[i].function == 1)
            return c->entries[i].eax == fake.picky;
    }
    return false;
}

static int vcpu(unsigned long req, void *arg)
{
    if (dislikes(req, arg))
        return refuse(EINVAL);
    switch (req) {
    case KVM_RUN: return run();
    case KVM_GET_REGS: return GET(regs);
    case KVM_SET_REGS: return SET(regs);
    case KVM_GET_SREGS: return GET(sregs);
    case KVM_SET_SREGS: return SET(sregs);
    case KVM_GET_VCPU_EVENTS: return GET(events);
    case KVM_SET_VCPU_EVENTS: return SET(events);
    case KVM_GET_LAPIC: return GET(lapic);
    case KVM_SET_LAPIC: return SET(lapic);
    case KVM_GET_MP_STATE: return GET(mp);
    case KVM_SET_MP_STATE: return SET(mp);
    case KVM_SET_GUEST_DEBUG: return SET(debug);
    case KVM_X86_SET_MCE: return SET(mce);
    case KVM_INTERRUPT: return SET(interrupt);
    case KVM_GET_XSAVE: case KVM_GET_XSAVE2: return GET(xsave);
    case KVM_SET_XSAVE: return SET(xsave);
    case KVM_GET_MSRS: return get_msrs(arg);
    case KVM_SET_MSRS: return set_msrs(arg);
    case KVM_GET_TSC_KHZ: return 2600000;
    case KVM_SET_CPUID2:
        g_free(fake.cpuid);
        fake.cpuid = g_memdup2(arg, sizeof(struct kvm_cpuid2) + ((struct kvm_cpuid2 *)arg)->nent * sizeof(struct kvm_cpuid_entry2));
        return 0;
    default: return 0;
    }
}

static int fake_ioctl(int fd, unsigned long req, void *arg)
{
    g_hash_table_insert(fake.count, GSIZE_TO_POINTER(req), GUINT_TO_POINTER(fake_count(req) + 1));
    if (req == fake.fail_request)
        return refuse(fake.fail_errno);
    return fd == VCPU ? vcpu(req, arg) : dev_or_vm(req, arg);
}

const KvmSys fake_sys = { fake_open, fake_close, fake_ioctl, fake_mmap, fake_munmap };

static bool fake_create(Machine *m, GHashTable *opts, GError **err)
{
    return kvm_create_on(m, &fake_sys, opts, err);
}

FakeVm *fake_vm(const char *cpu, const char *opts, GError **err)
{
    FakeVm *f = g_new0(FakeVm, 1);
    g_autoptr(GHashTable) t = g_hash_table_new(g_str_hash, g_str_equal);
    g_auto(GStrv) parts = g_strsplit(opts ? opts : "kernel-irqchip=off", "=", 2);
    X86Cpu *c;

    fake_accel.create = fake_create;
    g_hash_table_insert(t, parts[0], parts[1]);
    f->m = machine_new(true);
    f->m->accel = &fake_accel;
    f->m->ram_size = 1 << 20;
    f->m->ram = ram_block_new("ram", f->m->ram_size, err);
    g_assert_nonnull(f->m->ram);
    region_init_ram(&f->ram, "ram", f->m->ram, 0, f->m->ram_size);
    region_add(&f->m->mem_root, &f->ram, 0, 0);
    f->model = x86_model_parse(cpu ? cpu : "max", err);
    c = f->model && fake_create(f->m, t, err) ? x86_cpu_new(f->m, f->model, 0, err) : NULL;
    if (!c) {
        fake_vm_free(f);
        return NULL;
    }
    f->v = &c->vcpu;
    return f;
}

void fake_vm_free(FakeVm *f)
{
    machine_free(f->m);
    if (f->model)
        x86_model_free(f->model);
    region_destroy(&f->ram);
    g_free(f);
}

VcpuExit fake_run(FakeVm *f)
{
    VcpuExit why;

    fake.step = 0;
    machine_unlock();
    why = f->m->accel->run(f->v);
    machine_lock();
    return why;
}

FakeVm *fake_start(const char *cpu, const char *opts)
{
    g_autoptr(GError) err = NULL;
    FakeVm *f = fake_vm(cpu, opts, &err);

    g_assert_no_error(err);
    return f;
}

const struct kvm_cpuid_entry2 *fake_leaf(uint32_t n)
{
    for (unsigned i = 0; i < fake.cpuid->nent; i++) {
        if (fake.cpuid->entries[i].function == n)
            return &fake.cpuid->entries[i];
    }
    return NULL;
}
