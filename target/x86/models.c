/*
 * models: the named CPU models, and the text of -cpu.
 *
 * A model is its parent plus features. The features of real processors are cut down to what is
 * implemented, so a model here is at most as capable as its namesake.
 */
#include "target/x86/cpuid.h"
#include "util/log.h"

#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

enum { MODEL_FEATS = 40 };
typedef struct ModelDesc {
    const char *name, *parent, *desc, *vendor, *brand;
    uint16_t family, model, stepping;
    uint8_t feats[MODEL_FEATS]; /* added to the parent's; ends with FEAT_NONE */
} ModelDesc;

#define INTEL "GenuineIntel"
#define AMD "AuthenticAMD"
#define F(n) FEAT_##n

/* ORDER: a parent stands before its children. */
static const ModelDesc models[] = {
    { "base", NULL, "No features at all but what every processor has", AMD, "quern base CPU", 5, 4, 3,
      { F(FPU), F(TSC), F(MSR), F(CX8) } },
    { "486", NULL, "Intel 486 with CPUID", INTEL, "486", 4, 8, 0, { F(FPU), F(VME), F(PSE) } },
    { "pentium", "486", "Intel Pentium", INTEL, "Pentium", 5, 4, 3, { F(DE), F(TSC), F(MSR), F(MCE), F(CX8), F(MMX), F(APIC) } },
    { "pentium2", "pentium", "Intel Pentium II", INTEL, "Pentium II", 6, 5, 2,
      { F(PAE), F(SEP), F(MTRR), F(PGE), F(MCA), F(CMOV), F(PAT), F(PSE36), F(FXSR) } },
    { "pentium3", "pentium2", "Intel Pentium III", INTEL, "Pentium III", 6, 8, 3, { F(SSE) } },
    { "qemu32", "pentium3", "32-bit virtual CPU", INTEL, "quern Virtual CPU", 6, 6, 3,
      { F(SSE2), F(SSE3), F(POPCNT), F(CLFSH), F(HYPERVISOR) } },
    { "x86-64-v1", NULL, "x86-64 baseline", AMD, "x86-64-v1", 15, 107, 1,
      { F(FPU), F(VME), F(DE), F(PSE), F(TSC), F(MSR), F(PAE), F(MCE), F(CX8), F(APIC), F(SEP), F(MTRR), F(PGE), F(MCA),
        F(CMOV), F(PAT), F(PSE36), F(CLFSH), F(MMX), F(FXSR), F(SSE), F(SSE2), F(SYSCALL), F(NX), F(LM),
        F(HYPERVISOR), F(X2APIC), F(TSC_DEADLINE), F(ARAT), F(INVTSC), F(NULL_BASE), F(LFENCE_SER), F(AUTO_IBRS) } },
    { "qemu64", "x86-64-v1", "64-bit virtual CPU", AMD, "quern Virtual CPU", 15, 107, 1,
      { F(SSE3), F(CX16), F(LAHF_LM) } },
    { "kvm64", "qemu64", "64-bit virtual CPU, Intel flavour", INTEL, "Common virtual processor", 15, 6, 1, { 0 } },
    { "x86-64-v2", "qemu64", "x86-64 level 2: SSE4.2, POPCNT", AMD, "x86-64-v2", 15, 107, 1,
      { F(SSSE3), F(SSE41), F(SSE42), F(POPCNT), F(RDTSCP) } },
    { "x86-64-v3", "x86-64-v2", "x86-64 level 3: AVX2, BMI, FMA", AMD, "x86-64-v3", 15, 107, 1,
      { F(XSAVE), F(AVX), F(AVX2), F(BMI1), F(BMI2), F(F16C), F(FMA), F(ABM), F(MOVBE), F(PCID), F(INVPCID), F(SMEP),
        F(ERMS), F(FSGSBASE) } },
    { "x86-64-v4", "x86-64-v3", "x86-64 level 4, less AVX-512", AMD, "x86-64-v4", 15, 107, 1, { 0 } },
    { "Conroe", "qemu64", "Intel Core 2 (Merom)", INTEL, "Intel Celeron_4x0 (Conroe/Merom Class Core 2)", 6, 15, 3, { F(SSSE3) } },
    { "Penryn", "Conroe", "Intel Core 2 (Penryn)", INTEL, "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", 6, 23, 3, { F(SSE41) } },
    { "Nehalem", "Penryn", "Intel Core i7 9xx", INTEL, "Intel Core i7 9xx (Nehalem Class Core i7)", 6, 26, 3,
      { F(SSE42), F(POPCNT), F(RDTSCP) } },
    { "Westmere", "Nehalem", "Intel Westmere", INTEL, "Westmere E56xx/L56xx/X56xx (Nehalem-C)", 6, 44, 1,
      { F(AES), F(PCLMULQDQ), F(PCID) } },
    { "SandyBridge", "Westmere", "Intel Xeon E312xx", INTEL, "Intel Xeon E312xx (Sandy Bridge)", 6, 42, 1, { F(XSAVE), F(AVX), F(XSAVEOPT) } },
    { "IvyBridge", "SandyBridge", "Intel Xeon E3-12xx v2", INTEL, "Intel Xeon E3-12xx v2 (Ivy Bridge)", 6, 58, 9,
      { F(F16C), F(RDRAND), F(FSGSBASE), F(SMEP), F(ERMS) } },
    { "Haswell", "IvyBridge", "Intel Haswell", INTEL, "Intel Core Processor (Haswell)", 6, 60, 4,
      { F(AVX2), F(BMI1), F(BMI2), F(FMA), F(MOVBE), F(INVPCID), F(ABM), F(SPEC_CTRL), F(ARCH_CAP) } },
    { "Broadwell", "Haswell", "Intel Broadwell", INTEL, "Intel Core Processor (Broadwell)", 6, 61, 2,
      { F(RDSEED), F(ADX), F(SMAP), F(PREFETCHW) } },
    { "Skylake-Client", "Broadwell", "Intel Skylake", INTEL, "Intel Core Processor (Skylake)", 6, 94, 3, { F(XSAVEC), F(XGETBV1), F(CLFLUSHOPT) } },
    { "Skylake-Server", "Skylake-Client", "Intel Skylake server, less AVX-512", INTEL, "Intel Xeon Processor (Skylake)", 6, 85, 4,
      { F(CLWB), F(PDPE1GB) } },
    { "Cascadelake-Server", "Skylake-Server", "Intel Cascade Lake, less AVX-512", INTEL, "Intel Xeon Processor (Cascadelake)", 6, 85, 6, { 0 } },
    { "Icelake-Server", "Cascadelake-Server", "Intel Ice Lake, less AVX-512", INTEL, "Intel Xeon Processor (Icelake)", 6, 134, 0,
      { F(SHA), F(UMIP), F(RDPID), F(FSRM), F(VAES), F(VPCLMULQDQ), F(GFNI) } },
    { "Opteron_G1", "x86-64-v1", "AMD Opteron 240", AMD, "AMD Opteron 240 (Gen 1 Class Opteron)", 15, 6, 1, { F(SSE3) } },
    { "Opteron_G2", "Opteron_G1", "AMD Opteron 22xx", AMD, "AMD Opteron 22xx (Gen 2 Class Opteron)", 15, 6, 1, { F(CX16), F(LAHF_LM) } },
    { "Opteron_G3", "Opteron_G2", "AMD Opteron 23xx", AMD, "AMD Opteron 23xx (Gen 3 Class Opteron)", 16, 2, 3,
      { F(POPCNT), F(ABM), F(SSE4A), F(RDTSCP), F(MONITOR) } },
    { "EPYC", "x86-64-v3", "AMD EPYC", AMD, "AMD EPYC Processor", 23, 1, 2,
      { F(AES), F(PCLMULQDQ), F(ADX), F(RDRAND), F(RDSEED), F(SMAP), F(SHA), F(CLFLUSHOPT), F(XSAVEOPT), F(XSAVEC), F(XGETBV1),
        F(PDPE1GB), F(PREFETCHW), F(MMXEXT), F(FXSR_OPT), F(CR8LEGACY), F(SSE4A) } },
    { "EPYC-Rome", "EPYC", "AMD EPYC 7002", AMD, "AMD EPYC-Rome Processor", 23, 49, 0, { F(UMIP), F(RDPID), F(CLWB), F(XSAVEERPTR), F(WBNOINVD), F(CLZERO) } },
    { "EPYC-Milan", "EPYC-Rome", "AMD EPYC 7003", AMD, "AMD EPYC-Milan Processor", 25, 1, 1, { F(FSRM), F(VAES), F(VPCLMULQDQ) } },
    { "max", NULL, "Everything quern implements (default)", AMD, "quern CPU", 15, 107, 1, { 0 } },
    { "host", NULL, "What this computer's processor and quern both have", AMD, "quern CPU", 15, 107, 1, { 0 } },
};

typedef struct FeatureDesc { const char *name; uint32_t leaf, sub; uint8_t reg, bit; } FeatureDesc;
static const FeatureDesc features[FEAT_COUNT] = {
    [FEAT_NONE] = { "" },
#define FEATURE(n, text, l, s, r, b) [FEAT_##n] = { text, l, s, r, b },
#include "target/x86/features.def"
#undef FEATURE
};

bool x86_feature_implemented(unsigned feat)
{
    switch (feat) {
    case FEAT_PKU: case FEAT_LA57: case FEAT_GFNI: case FEAT_SERIALIZE: case FEAT_SVM:
    case FEAT_XSAVES: case FEAT_CLZERO: case FEAT_WBNOINVD:
    case FEAT_SS: case FEAT_HT: case FEAT_CMP_LEGACY:
        return false;
    default:
        return true;
    }
}

static void feat_set(X86Model *m, unsigned f, bool on)
{
    if (on)
        m->feat[f / 64] |= 1ull << (f % 64);
    else
        m->feat[f / 64] &= ~(1ull << (f % 64));
}

const char *const *x86_model_names(void)
{
    static const char *names[G_N_ELEMENTS(models) + 1];
    static gsize once;

    if (g_once_init_enter(&once)) {
        for (unsigned i = 0; i < G_N_ELEMENTS(models); i++)
            names[i] = models[i].name;
        g_once_init_leave(&once, 1);
    }
    return names;
}

const char *const *x86_feature_names(void)
{
    static const char *names[FEAT_COUNT];
    static gsize once;

    if (g_once_init_enter(&once)) {
        for (unsigned i = 1; i < FEAT_COUNT; i++)
            names[i - 1] = features[i].name;
        g_once_init_leave(&once, 1);
    }
    return names;
}

char *x86_model_help(void)
{
    GString *s = g_string_new("Available CPUs:\n");
    int column = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++)
        g_string_append_printf(s, "x86 %-20s  %s\n", models[i].name, models[i].desc);
    g_string_append(s, "\nRecognized CPUID flags:\n");
    for (unsigned i = 1; i < FEAT_COUNT; i++) {
        if (!x86_feature_implemented(i))
            continue;
        g_string_append_printf(s, "%s%s", column ? " " : "  ", features[i].name);
        column += (int)strlen(features[i].name) + 1;
        if (column > 70) {
            g_string_append_c(s, '\n');
            column = 0;
        }
    }
    g_string_append_c(s, '\n');
    return g_string_free(s, FALSE);
}

static const ModelDesc *find_model(const char *name, size_t len)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++)
        if (strlen(models[i].name) == len && !strncmp(models[i].name, name, len))
            return &models[i];
    return NULL;
}

/* "Haswell-noTSX-IBRS", "EPYC-v2": the suffixes name variants that do not differ here. */
static const ModelDesc *find_model_suffixed(const char *name)
{
    static const char *const suffix[] = { "-IBRS", "-noTSX", "-IBPB" };
    size_t len = strlen(name);

    for (bool cut = true; cut;) {
        const ModelDesc *d = find_model(name, len);

        if (d)
            return d;
        cut = false;
        for (unsigned i = 0; i < G_N_ELEMENTS(suffix) && !cut; i++) {
            size_t n = strlen(suffix[i]);
            if (len > n && !strncmp(name + len - n, suffix[i], n)) {
                len -= n;
                cut = true;
            }
        }
        if (!cut && len > 3 && name[len - 3] == '-' && name[len - 2] == 'v' && g_ascii_isdigit(name[len - 1])) {
            len -= 3;
            cut = true;
        }
    }
    return NULL;
}

static void add_feats(X86Model *m, const ModelDesc *d)
{
    if (d->parent)
        add_feats(m, find_model(d->parent, strlen(d->parent)));
    for (unsigned i = 0; i < MODEL_FEATS && d->feats[i]; i++)
        if (x86_feature_implemented(d->feats[i]))
            feat_set(m, d->feats[i], true);
}

static bool host_has(const FeatureDesc *f)
{
#if defined(__x86_64__)
    unsigned r[4];

    if (__get_cpuid_count(f->leaf, f->sub, &r[0], &r[1], &r[2], &r[3]))
        return r[f->reg] >> f->bit & 1;
    return false;
#else
    return true;
#endif
}

/* `host` keeps only those features that concern user programs and the host lacks out. */
static void limit_to_host(X86Model *m)
{
    static const uint8_t user[] = { F(SSE3), F(PCLMULQDQ), F(SSSE3), F(FMA), F(CX16), F(SSE41), F(SSE42), F(MOVBE), F(POPCNT),
        F(AES), F(XSAVE), F(AVX), F(F16C), F(RDRAND), F(FSGSBASE), F(BMI1), F(AVX2), F(BMI2), F(ERMS), F(RDSEED), F(ADX),
        F(CLFLUSHOPT), F(CLWB), F(SHA), F(RDPID), F(FSRM), F(XSAVEOPT), F(XSAVEC), F(XGETBV1), F(RDTSCP), F(LAHF_LM), F(ABM),
        F(PREFETCHW) };

    for (unsigned i = 0; i < sizeof user; i++)
        if (!host_has(&features[user[i]]))
            feat_set(m, user[i], false);
}

/* What `max` leaves out: MWAIT idles worse than HLT; the other two are Intel's way to say what
   Auto-IBRS says already. */
static bool unwanted(unsigned f) { return f == FEAT_MONITOR || f == FEAT_SPEC_CTRL || f == FEAT_ARCH_CAP; }

static X86Model *model_new(const ModelDesc *d)
{
    X86Model *m = g_new0(X86Model, 1);

    m->name = g_strdup(d->name);
    g_strlcpy(m->vendor, d->vendor, sizeof m->vendor);
    g_strlcpy(m->brand, d->brand, sizeof m->brand);
    m->family = d->family;
    m->model = d->model;
    m->stepping = d->stepping;
    m->phys_bits = 40;
    m->hypervisor_leaf = true;
    m->hv_spinlocks = UINT32_MAX;
    m->cores = m->threads = 1;
    feat_set(m, FEAT_NONE, true);
    add_feats(m, d);
    if (!strcmp(d->name, "max") || !strcmp(d->name, "host"))
        for (unsigned f = 1; f < FEAT_COUNT; f++)
            feat_set(m, f, x86_feature_implemented(f) && !unwanted(f));
    if (!strcmp(d->name, "host"))
        limit_to_host(m);
    return m;
}

void x86_model_free(X86Model *m)
{
    if (!m)
        return;
    g_free(m->name);
    g_free(m);
}

void x86_model_set_topology(X86Model *m, unsigned cores, unsigned threads)
{
    m->cores = MAX(cores, 1u);
    m->threads = MAX(threads, 1u);
}

/* QEMU spells some names in two ways: '_' for '-' and '.', and a few of its own. */
static unsigned find_feature(const char *name)
{
    static const struct { const char *other; uint8_t feat; } alias[] = {
        { "sse3", F(SSE3) }, { "lahf_lm", F(LAHF_LM) }, { "cmpxchg16b", F(CX16) }, { "lzcnt", F(ABM) }, { "xd", F(NX) },
        { "i64", F(LM) }, { "ffxsr", F(FXSR_OPT) }, { "sha", F(SHA) }, { "cx8", F(CX8) } };

    for (unsigned i = 0; i < G_N_ELEMENTS(alias); i++)
        if (!strcmp(name, alias[i].other))
            return alias[i].feat;
    for (unsigned i = 1; i < FEAT_COUNT; i++) {
        const char *a = name, *b = features[i].name;

        while (*a && (*a == *b || ((*a == '_' || *a == '-' || *a == '.') && (*b == '-' || *b == '.' || *b == '_'))))
            a++, b++;
        if (!*a && !*b)
            return i;
    }
    return FEAT_NONE;
}

typedef struct Parse { X86Model *m; bool enforce; } Parse;

static bool set_feature(Parse *p, const char *name, bool on, GError **err)
{
    unsigned f = find_feature(name);

    if (!f) {
        const char *near = nearest_name(name, x86_feature_names());

        return near ? err_set(err, "-cpu: no CPU feature '%s' (did you mean '%s'?)", name, near)
                    : err_set(err, "-cpu: no CPU feature '%s' (-cpu help lists them)", name);
    }
    if (on && !x86_feature_implemented(f)) {
        if (p->enforce)
            return err_set(err, "-cpu: feature '%s' is not implemented", features[f].name);
        log_warn("CPU feature '%s' is not implemented and stays off", features[f].name);
        return true;
    }
    feat_set(p->m, f, on);
    p->m->asked[f / 64] |= 1ull << (f % 64);    /* if it stays: x86_model_parse() */
    return true;
}

static bool parse_onoff(const char *v, bool *on)
{
    if (!v || !strcmp(v, "on") || !strcmp(v, "true") || !strcmp(v, "yes"))
        *on = true;
    else if (!strcmp(v, "off") || !strcmp(v, "false") || !strcmp(v, "no"))
        *on = false;
    else
        return false;
    return true;
}

/* '_' and '-' are the same in option names. */
static bool same_key(const char *a, const char *b)
{
    while (*a && (*a == *b || ((*a == '_' || *a == '-') && (*b == '-' || *b == '_'))))
        a++, b++;
    return !*a && !*b;
}

enum { PV_OTHER, PV_DONE, PV_ERROR };

static int set_hv(X86Model *m, const char *key, const char *val, GError **err)
{
    static const char *const names[X86_HV_COUNT] = { "hv-relaxed", "hv-vapic", "hv-time", "hv-crash", "hv-reset", "hv-vpindex",
        "hv-runtime", "hv-synic", "hv-stimer", "hv-stimer-direct", "hv-frequencies", "hv-reenlightenment", "hv-tlbflush",
        "hv-ipi", "hv-avic", "hv-spinlocks" };
    bool on = true;

    if (same_key(key, "hv-vendor-id")) {
        g_strlcpy(m->hv_vendor, val ? val : "", sizeof m->hv_vendor);
        return PV_DONE;
    }
    if (same_key(key, "hv-spinlocks") && val && g_ascii_isdigit(*val)) {
        m->hv |= 1u << X86_HV_SPINLOCKS;
        m->hv_spinlocks = strtoul(val, NULL, 0);
        return PV_DONE;
    }
    if (same_key(key, "hv-passthrough")) {
        m->hv = (1u << X86_HV_COUNT) - 1;
        m->hv_spinlocks = UINT32_MAX;
        return PV_DONE;
    }
    for (unsigned i = 0; i < X86_HV_COUNT; i++) {
        if (!same_key(key, names[i]))
            continue;
        if (!parse_onoff(val, &on)) {
            err_set(err, "-cpu: %s takes on or off, not '%s'", key, val);
            return PV_ERROR;
        }
        m->hv = on ? m->hv | 1u << i : m->hv & ~(1u << i);
        return PV_DONE;
    }
    return PV_OTHER;
}

/* What a hardware engine offers guests besides a processor: KVM's features by bit (kvm=off: none), Hyper-V's. */
static int set_paravirtual(X86Model *m, const char *key, const char *val, GError **err)
{
    static const struct { const char *name; uint32_t bits; } pv[] = {
        { "kvmclock", 1u << 0 | 1u << 3 | 1u << 24 }, { "kvm-nopiodelay", 1u << 1 }, { "kvm-asyncpf", 1u << 4 },
        { "kvm-steal-time", 1u << 5 }, { "kvm-pv-eoi", 1u << 6 }, { "kvm-pv-unhalt", 1u << 7 },
        { "kvm-pv-tlb-flush", 1u << 9 }, { "kvm-pv-ipi", 1u << 11 }, { "kvm-poll-control", 1u << 12 },
        { "kvm-pv-sched-yield", 1u << 13 }, { "kvm-asyncpf-int", 1u << 14 }, { "kvmclock-stable-bit", 1u << 24 } };
    bool on = true;

    if (same_key(key, "kvm")) {
        if (!parse_onoff(val, &on))
            return PV_OTHER;
        m->pv_hidden = !on;
        return PV_DONE;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(pv); i++) {
        if (!same_key(key, pv[i].name))
            continue;
        if (!parse_onoff(val, &on)) {
            err_set(err, "-cpu: %s takes on or off, not '%s'", key, val);
            return PV_ERROR;
        }
        m->pv_off = on ? m->pv_off & ~pv[i].bits : m->pv_off | pv[i].bits;
        return PV_DONE;
    }
    return set_hv(m, key, val, err);
}

/* Keys that are not features. 1: done, 0: not such a key, -1: error. */
static int set_other(Parse *p, const char *key, const char *val, GError **err)
{
    static const char *const ignored[] = { "migratable", "host-phys-bits", "host-cache-info", "l3-cache", "pmu",
        "vmware-cpuid-freq", "tcg-cpuid", "lmce", "vmx", "svm", "hle", "rtm" };
    unsigned long n;
    char *end;

    if (!strcmp(key, "phys-bits")) {
        n = val ? strtoul(val, &end, 10) : 0;
        if (!val || *end || n < 36 || n > 52) {
            err_set(err, "-cpu: phys-bits is a number from 36 to 52, not '%s'", val ? val : "");
            return -1;
        }
        p->m->phys_bits = (uint8_t)n;
        return 1;
    }
    if (!strcmp(key, "family") || !strcmp(key, "model") || !strcmp(key, "stepping")) {
        n = val ? strtoul(val, &end, 0) : 0;
        if (!val || *end || n > (key[0] == 's' ? 15 : 255)) {
            err_set(err, "-cpu: %s takes a number, not '%s'", key, val ? val : "");
            return -1;
        }
        *(key[0] == 'f' ? &p->m->family : key[0] == 'm' ? &p->m->model : &p->m->stepping) = (uint16_t)n;
        return 1;
    }
    if (!strcmp(key, "tsc-frequency") || !strcmp(key, "tsc-freq")) {
        uint64_t hz = val ? g_ascii_strtoull(val, &end, 10) : 0;
        uint64_t unit = val && (*end == 'G' || *end == 'g') ? 1000000000 : val && (*end == 'M' || *end == 'm') ? 1000000 :
                        val && (*end == 'K' || *end == 'k') ? 1000 : 1;

        if (!val || (unit == 1 ? *end : end[1]) || hz < 1 || hz > 1000000000000 / unit || hz * unit < 1000000) {
            err_set(err, "-cpu: tsc-frequency is a number of Hz (K, M, G allowed), not '%s'", val ? val : "");
            return -1;
        }
        p->m->tsc_hz = hz * unit;
        return 1;
    }
    if (!strcmp(key, "vendor")) {
        if (!val || strlen(val) != 12) {
            err_set(err, "-cpu: vendor takes 12 characters, as in vendor=GenuineIntel");
            return -1;
        }
        g_strlcpy(p->m->vendor, val, sizeof p->m->vendor);
        return 1;
    }
    if (!strcmp(key, "model-id")) {
        g_strlcpy(p->m->brand, val ? val : "", sizeof p->m->brand);
        return 1;
    }
    if (!strcmp(key, "enforce")) {
        bool ok = parse_onoff(val, &p->enforce);

        p->m->enforce = p->enforce;
        return ok;
    }
    if (!strcmp(key, "check")) {
        bool on, ok = parse_onoff(val, &on);

        p->m->unchecked = ok && !on;
        return ok;
    }
    n = set_paravirtual(p->m, key, val, err);
    if (n != PV_OTHER)
        return n == PV_DONE ? 1 : -1;
    for (unsigned i = 0; i < G_N_ELEMENTS(ignored); i++)
        if (!strcmp(key, ignored[i]))
            return 1;
    return 0;
}

static bool parse_item(Parse *p, char *item, GError **err)
{
    char *eq = strchr(item, '=');
    bool on = true;
    int r;

    if (*item == '+' || *item == '-') {
        if (find_feature(item + 1) == FEAT_NONE && set_other(p, item + 1, *item == '+' ? NULL : "off", NULL) > 0)
            return true;
        return set_feature(p, item + 1, *item == '+', err);
    }
    if (eq)
        *eq = 0;
    r = set_other(p, item, eq ? eq + 1 : NULL, err);
    if (r)
        return r > 0;
    if (eq && !parse_onoff(eq + 1, &on))
        return err_set(err, "-cpu: %s takes on or off, not '%s'", item, eq + 1);
    return set_feature(p, item, on, err);
}

/* Features that make no sense without another one go when that is missing. */
static void drop_orphans(X86Model *m)
{
    static const uint8_t needs[][2] = { { F(SSE), F(FXSR) }, { F(SSE2), F(SSE) }, { F(SSE3), F(SSE2) }, { F(SSSE3), F(SSE3) },
        { F(SSE41), F(SSSE3) }, { F(SSE42), F(SSE41) }, { F(AES), F(SSE2) }, { F(PCLMULQDQ), F(SSE2) }, { F(SHA), F(SSE2) },
        { F(AVX), F(XSAVE) }, { F(AVX), F(SSE42) }, { F(AVX2), F(AVX) }, { F(FMA), F(AVX) }, { F(F16C), F(AVX) },
        { F(XSAVEOPT), F(XSAVE) }, { F(XSAVEC), F(XSAVE) }, { F(XGETBV1), F(XSAVE) }, { F(INVPCID), F(PCID) }, { F(PCID), F(LM) },
        { F(X2APIC), F(APIC) }, { F(TSC_DEADLINE), F(APIC) }, { F(SYSCALL), F(LM) }, { F(PDPE1GB), F(LM) }, { F(LM), F(PAE) } };

    for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++)
        if (!x86_model_has(m, needs[i][1]))
            feat_set(m, needs[i][0], false);
}

/* A name other than max and host asks for its features, less what the models here have only because quern has it. */
static void mark_asked(X86Model *m, const ModelDesc *d)
{
    static const uint8_t extra[] = { F(HYPERVISOR), F(X2APIC), F(TSC_DEADLINE), F(ARAT), F(INVTSC), F(NULL_BASE), F(LFENCE_SER), F(AUTO_IBRS),
                                     F(SPEC_CTRL), F(ARCH_CAP) };
    bool all = strcmp(d->name, "max") && strcmp(d->name, "host");
    uint64_t own[G_N_ELEMENTS(m->asked)] = { 0 };

    for (unsigned i = 0; i < sizeof extra; i++)
        own[extra[i] / 64] |= 1ull << extra[i] % 64;
    for (unsigned i = 0; i < G_N_ELEMENTS(own); i++)
        m->asked[i] = (m->asked[i] | (all ? ~own[i] : 0)) & m->feat[i];
}

X86Model *x86_model_parse(const char *spec, GError **err)
{
    g_auto(GStrv) items = g_strsplit(spec ? spec : "max", ",", -1);
    const ModelDesc *d = find_model_suffixed(items[0] && *items[0] ? items[0] : "max");
    Parse p = { 0 };

    if (!d) {
        const char *near = nearest_name(items[0], x86_model_names());

        if (near)
            err_set(err, "no CPU model '%s' (did you mean '%s'?)", items[0], near);
        else
            err_set(err, "no CPU model '%s' (-cpu help lists them)", items[0]);
        return NULL;
    }
    p.m = model_new(d);
    for (unsigned i = 1; items[0] && items[i]; i++)     /* wherever it stands, it counts for all */
        p.enforce |= !strcmp(items[i], "enforce");
    p.m->enforce = p.enforce;
    for (unsigned i = 1; items[0] && items[i]; i++)
        if (*items[i] && !parse_item(&p, items[i], err)) {
            x86_model_free(p.m);
            return NULL;
        }
    drop_orphans(p.m);
    mark_asked(p.m, d);
    return p.m;
}
