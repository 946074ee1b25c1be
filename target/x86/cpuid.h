/*
 * cpuid: CPU models: which features a processor offers, and the answers of CPUID.
 *
 * A model is made once from the text after -cpu and shared, unchanged, by all processors of a
 * machine. No model offers what quern does not implement, whatever was asked for.
 */
#ifndef TARGET_X86_CPUID_H
#define TARGET_X86_CPUID_H

#include "target/x86/cpu.h"

enum {                          /* feature numbers; FEAT_NONE is always there */
    FEAT_NONE,
#define FEATURE(name, text, leaf, sub, reg, bit) FEAT_##name,
#include "target/x86/features.def"
#undef FEATURE
    FEAT_COUNT
};

enum {                          /* Hyper-V enlightenments an engine may offer (X86Model.hv) */
    X86_HV_RELAXED, X86_HV_VAPIC, X86_HV_TIME, X86_HV_CRASH, X86_HV_RESET, X86_HV_VPINDEX, X86_HV_RUNTIME, X86_HV_SYNIC,
    X86_HV_STIMER, X86_HV_STIMER_DIRECT, X86_HV_FREQUENCIES, X86_HV_REENLIGHTENMENT, X86_HV_TLBFLUSH, X86_HV_IPI,
    X86_HV_AVIC, X86_HV_SPINLOCKS, X86_HV_COUNT
};

typedef struct X86Model {
    char *name;                 /* "max", "qemu64", ... */
    uint64_t feat[(FEAT_COUNT + 63) / 64];      /* bit map by FEAT_*; FEAT_NONE set */
    uint64_t asked[(FEAT_COUNT + 63) / 64];     /* what the user named, or the model by its name: an engine that lacks it says so */
    char vendor[13];            /* "AuthenticAMD" */
    char brand[49];
    uint16_t family, model, stepping;
    uint8_t phys_bits;
    bool hypervisor_leaf;
    bool enforce;               /* what cannot be had is an error */
    bool unchecked;             /* check=off: what cannot be had is left out in silence */
    bool pv_hidden;             /* kvm=off: no paravirtual interfaces */
    uint32_t pv_off;            /* KVM feature bits (leaf 0x40000001) not to offer */
    uint32_t hv;                /* 1 << X86_HV_* */
    uint32_t hv_spinlocks;      /* retries before the guest tells the hypervisor */
    char hv_vendor[13];         /* "": the usual one */
    uint64_t tsc_hz;            /* tsc-frequency=, or 0: the host's */
    unsigned cores, threads;    /* per socket, per core: x86_model_set_topology() */
} X86Model;

static inline bool x86_model_has(const X86Model *m, unsigned feat)
{
    return m->feat[feat / 64] >> (feat % 64) & 1;
}

/*
 * The text after -cpu: "NAME[,+feat][,-feat][,feat=on|off][,phys-bits=N][,check][,enforce]...".
 * NULL name (or NULL spec): "max". A feature that quern lacks is left out with a warning, or is an
 * error under `enforce`; what the engine lacks, the engine judges so (`asked`, `enforce`, `unchecked`). Unknown names: an error that suggests the nearest. Free with x86_model_free.
 */
X86Model *x86_model_parse(const char *spec, GError **err) MUST_CHECK;
void x86_model_free(X86Model *m);
void x86_model_set_topology(X86Model *m, unsigned cores, unsigned threads);
char *x86_model_help(void);                             /* "-cpu help"; caller frees */
const char *const *x86_model_names(void);               /* NULL-terminated, in help's order */
const char *const *x86_feature_names(void);             /* NULL-terminated */
bool x86_feature_implemented(unsigned feat);

uint32_t x86_model_signature(const X86Model *m);        /* CPUID.1:EAX */
unsigned x86_model_phys_bits(const X86Model *m);
/* What CPUID answers on c: EAX, EBX, ECX, EDX. */
void x86_cpuid(X86Cpu *c, uint32_t leaf, uint32_t sub, uint32_t out[4]);

/* CR4 bits this model lets the guest set. */
uint64_t x86_model_cr4_mask(const X86Model *m);
uint64_t x86_model_efer_mask(const X86Model *m);
uint64_t x86_model_xcr0_mask(const X86Model *m);

#endif
