/*
 * cpuid: CPU models: which features a processor offers, and the answers of CPUID.
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

typedef struct X86Model {
    char *name;                 /* "max", "qemu64", ... */
    uint64_t feat[(FEAT_COUNT + 63) / 64];      /* bit map by FEAT_*; FEAT_NONE set */
} X86Model;

static inline bool x86_model_has(const X86Model *m, unsigned feat)
{
    return m->feat[feat / 64] >> (feat % 64) & 1;
}

#endif
