/*
 * cpuid: what the guest's CPUID answers: the model, less what this host's KVM cannot, plus KVM's own leaves.
 *
 * Linux Documentation/virt/kvm/x86/cpuid.rst. Leaf 0x40000000 names KVM unless -cpu says kvm=off;
 * Hyper-V's leaves, where asked for, stand there instead and KVM's move to 0x40000100.
 */
#include "accel/kvm/kvm_int.h"

#include "util/log.h"

#include <errno.h>
#include <linux/kvm_para.h>

enum { CPUID_MAX = 128 };
typedef struct kvm_cpuid_entry2 Entry;

struct kvm_cpuid2 *kvm_read_cpuid(const KvmSys *sys, int fd, unsigned long request)
{
    for (unsigned n = 64; n <= 1024; n *= 2) {
        struct kvm_cpuid2 *c = g_malloc0(sizeof *c + n * sizeof c->entries[0]);

        c->nent = n;
        if (!sys->ioctl(fd, request, c))
            return c;
        g_free(c);
        if (errno != E2BIG)
            return NULL;
    }
    return NULL;
}

static const Entry *find(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
    for (uint32_t i = 0; c && i < c->nent; i++) {
        const Entry *x = &c->entries[i];

        if (x->function == leaf && (!(x->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || x->index == sub))
            return x;
    }
    return NULL;
}

/* Words of features: only these are cut down to what KVM offers. Bits in keep are the engine's own. */
static const struct { uint32_t leaf, sub; uint8_t reg; uint32_t keep; } feature_words[] = {
    { 1, 0, 2, 1u << 31 }, { 1, 0, 3, 1u << 9 | 1u << 28 }, { 7, 0, 1, 0 }, { 7, 0, 2, 0 }, { 7, 0, 3, 0 }, { 7, 1, 0, 0 },
    { 0xd, 1, 0, 0 }, { 0x80000001, 0, 2, 1u << 1 }, { 0x80000001, 0, 3, 0 }, { 0x80000007, 0, 3, 0 },
    { 0x80000008, 0, 1, 0 }, { 0x80000021, 0, 0, 0 },
};

static uint32_t *word(Entry *e, unsigned reg)
{
    return reg == 0 ? &e->eax : reg == 1 ? &e->ebx : reg == 2 ? &e->ecx : &e->edx;
}

/* What KVM implements beyond its list, or does not know that it has no APIC. */
static uint32_t engine_bits(const KvmVm *vm, uint32_t leaf, uint32_t offered)
{
    if (leaf != 1)
        return offered;
    offered &= ~(1u << 21 | 1u << 24);          /* x2APIC and TSC deadline come with the kernel's APIC */
    if (vm->irqchip != IRQCHIP_OFF)
        offered |= 1u << 21 | (vm->caps.tsc_deadline ? 1u << 24 : 0);
    return offered;
}

static void filter(const KvmVm *vm, Entry *e)
{
    const Entry *s = find(vm->supported, e->function, e->index);

    for (size_t i = 0; i < ARRAY_LEN(feature_words); i++) {
        uint32_t offered;

        if (feature_words[i].leaf != e->function || feature_words[i].sub != e->index)
            continue;
        offered = s ? *word((Entry *)s, feature_words[i].reg) : 0;
        if (feature_words[i].reg == 2)
            offered = engine_bits(vm, e->function, offered);
        *word(e, feature_words[i].reg) &= offered | feature_words[i].keep;
    }
    if (e->function == 0xd && e->index == 0 && s)
        e->eax &= s->eax;
}

/* Where CPUID says each feature. */
static const struct { const char *name; uint32_t leaf, sub; uint8_t reg, bit; } places[FEAT_COUNT] = {
#define FEATURE(n, text, l, s, r, b) [FEAT_##n] = { text, l, s, r, b },
#include "target/x86/features.def"
#undef FEATURE
};

static bool offers(const KvmVm *vm, unsigned f)
{
    Entry e = { .function = places[f].leaf, .index = places[f].sub };

    *word(&e, places[f].reg) = 1u << places[f].bit;
    filter(vm, &e);
    return *word(&e, places[f].reg);
}

bool kvm_check_model(const KvmVm *vm, const X86Model *m, bool warn, GError **err)
{
    g_autoptr(GString) lost = g_string_new(NULL);

    for (unsigned f = 1; f < FEAT_COUNT; f++) {
        if ((m->asked[f / 64] >> f % 64 & 1) && !offers(vm, f))
            g_string_append_printf(lost, "%s%s", lost->len ? ", " : "", places[f].name);
    }
    if (!lost->len)
        return true;
    if (m->enforce)
        return err_set(err, "-cpu %s: this host's KVM lacks %s", m->name, lost->str);
    if (warn && !m->unchecked)
        log_warn("-cpu %s: this host's KVM lacks %s; left out", m->name, lost->str);
    return true;
}

static void add(struct kvm_cpuid2 *out, const Entry *e)
{
    if (out->nent < CPUID_MAX)
        out->entries[out->nent++] = *e;
}

static void add_leaf(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, uint32_t leaf, uint32_t sub, bool indexed)
{
    Entry e = { .function = leaf, .index = sub, .flags = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
    uint32_t r[4];

    x86_cpuid(c, leaf, sub, r);
    e.eax = r[0];
    e.ebx = r[1];
    e.ecx = r[2];
    e.edx = r[3];
    filter(vm, &e);
    add(out, &e);
}

static void add_range(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, uint32_t base)
{
    uint32_t r[4], max;

    x86_cpuid(c, base, 0, r);
    max = r[0] >= base && r[0] < base + 0x100 ? r[0] : base;
    for (uint32_t leaf = base; leaf <= max; leaf++) {
        unsigned subs = leaf == 4 || leaf == 0xb || leaf == 0xd ? 4 : leaf == 7 ? 2 : 1;

        for (unsigned sub = 0; sub < subs; sub++)
            add_leaf(vm, c, out, leaf, sub, subs > 1);
    }
}

/* Paravirtual features worth having; those of the second group need the kernel's local APIC. */
static uint32_t pv_features(const KvmVm *vm, const X86Model *m)
{
    const Entry *s = find(vm->supported, KVM_CPUID_FEATURES, 0);
    uint32_t want = 1u << KVM_FEATURE_CLOCKSOURCE | 1u << KVM_FEATURE_CLOCKSOURCE2 | 1u << KVM_FEATURE_NOP_IO_DELAY |
                    1u << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT | 1u << KVM_FEATURE_STEAL_TIME |
                    1u << KVM_FEATURE_PV_TLB_FLUSH;

    if (vm->irqchip != IRQCHIP_OFF)
        want |= 1u << KVM_FEATURE_PV_EOI | 1u << KVM_FEATURE_PV_UNHALT | 1u << KVM_FEATURE_PV_SEND_IPI |
                1u << KVM_FEATURE_POLL_CONTROL | 1u << KVM_FEATURE_PV_SCHED_YIELD | 1u << KVM_FEATURE_ASYNC_PF |
                1u << KVM_FEATURE_ASYNC_PF_INT;
    return s ? want & s->eax & ~m->pv_off : 0;
}

static void add_kvm(KvmVm *vm, X86Cpu *c, struct kvm_cpuid2 *out, uint32_t base)
{
    uint32_t r[4];

    x86_cpuid(c, 0x40000010, 0, r);
    add(out, &(Entry) { .function = base, .eax = base + (base == 0x40000000 ? 0x10 : 1),
                        .ebx = 0x4b4d564b, .ecx = 0x564b4d56, .edx = 0x4d });   /* "KVMKVMKVM" */
    add(out, &(Entry) { .function = base + 1, .eax = pv_features(vm, c->model),
                        .edx = vm->cpu_pm ? 1u << KVM_HINTS_REALTIME : 0 });
    if (base == 0x40000000)
        add(out, &(Entry) { .function = 0x40000010, .eax = r[0], .ebx = r[1] });
}

bool kvm_set_cpuid(KvmVm *vm, X86Cpu *c, GError **err)
{
    g_autofree struct kvm_cpuid2 *out = g_malloc0(sizeof *out + CPUID_MAX * sizeof out->entries[0]);
    bool hypervisor = c->model->hypervisor_leaf && x86_model_has(c->model, FEAT_HYPERVISOR);

    add_range(vm, c, out, 0);
    if (hypervisor && !c->model->pv_hidden) {
        bool hv = c->model->hv && vm->hv_supported;

        if (hv)
            kvm_hyperv_cpuid(vm, c, out, CPUID_MAX);
        add_kvm(vm, c, out, hv ? 0x40000100 : 0x40000000);
    } else {
        add_range(vm, c, out, 0x40000000);
    }
    add_range(vm, c, out, 0x80000000);
    return kvm_ioctl(kvm_vcpu(&c->vcpu), KVM_SET_CPUID2, out) == 0 || err_set_errno(err, errno, "KVM refused the CPU model");
}
