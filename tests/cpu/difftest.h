/*
 * difftest: runs random user-mode instruction sequences on the host CPU and on an engine, and compares.
 *
 * A case is an initial state, a few instructions that end in int3, and a seed for the memory
 * arena. Both sides see the same linear addresses: two pages of code (read, execute), then the
 * arena of two writable pages and a read-only one with unmapped pages around it. x86-64 hosts only.
 */
#ifndef TESTS_CPU_DIFFTEST_H
#define TESTS_CPU_DIFFTEST_H

#include "target/x86/cpuid.h"
#include "target/x86/insn.h"
#include "target/x86/softfloat.h"

enum {
    DT_CODE = 0x10000000, DT_CODE_SIZE = 0x2000,
    DT_ARENA = 0x20000000, DT_RW_SIZE = 0x2000, DT_ARENA_SIZE = 0x3000,
    DT_MAX_INSNS = 32, DT_MAX_CODE = DT_MAX_INSNS * 15 + 1,
    DT_POOL = 1 << 17,          /* bytes of interesting data, shared by all cases */
};

typedef struct DtRegs {
    uint64_t gpr[16];           /* in instruction encoding order */
    uint64_t rip, rflags;
    uint32_t mxcsr;
    uint16_t cw, sw;            /* sw with TOP */
    uint8_t tags;               /* bit n: physical register n is in use */
    uint16_t fop;
    uint64_t fip, fdp;
    struct { uint64_t mant; uint16_t se; } st[8];       /* ST(i) order, as FXSAVE stores them */
    uint64_t ymm[16][4];
} DtRegs;

typedef struct DtCase {
    DtRegs in;
    uint32_t pool;              /* offset of the arena's initial bytes in the pool */
    uint16_t code_off, len;     /* where in the code pages; bytes without the int3 */
    uint8_t n;                  /* instructions */
    bool compat;                /* 32-bit code */
    bool masks;                 /* an instruction stores MXCSR_MASK */
    uint16_t at[DT_MAX_INSNS];  /* offset of each instruction */
    uint16_t row[DT_MAX_INSNS];
    uint8_t jump[DT_MAX_INSNS]; /* a branch: index of the instruction it goes to (n: the end); else 0 */
    uint8_t code[DT_MAX_CODE];
} DtCase;

typedef struct DtResult {
    DtRegs out;
    int vector;                 /* -1: did not end */
    uint32_t error;
    uint64_t cr2;
    uint8_t mem[DT_RW_SIZE];
} DtResult;

/* What to generate. */
typedef struct DtOptions {
    uint64_t seed;
    unsigned max_insns;
    const char *classes;        /* of "int x87 mmx sse avx", comma separated; NULL: all */
    const char *only;           /* mnemonic prefix, or NULL */
    bool align;                 /* EFLAGS.AC set now and then */
    bool jumps;                 /* forward branches between the others */
    bool compat;                /* 32-bit code now and then */
    bool always_compat;
    bool exceptions;            /* unmasked floating-point exceptions now and then */
    /* Not NULL: single instructions of random bytes instead of rows. Asked for what the decoder
       refuses: true if the bytes may be an instruction that must not run. */
    bool (*raw_known)(const uint8_t *bytes, unsigned len, bool compat);
} DtOptions;

typedef struct DtGen DtGen;
DtGen *dt_gen_new(const X86Model *model, const DtOptions *o);
void dt_gen_free(DtGen *g);
/* Case number n of the seed: always the same. False: nothing to generate. */
bool dt_gen_case(DtGen *g, uint64_t n, DtCase *k);
const uint8_t *dt_gen_pool(DtGen *g);
/* Writes the displacements of k's branches. */
void dt_patch_jumps(DtCase *k);
/* Flags that are undefined when instruction i of k is about to run (i == k->n: at the end). */
uint32_t dt_undefined_flags(const DtCase *k, unsigned i);

/* Inexact ones: they end a sequence. */
extern const char *const dt_x87_functions[], *const dt_approximations[];
/* They store MXCSR_MASK, which processors have in different values. */
extern const char *const dt_mask_stores[];
/* Is this an instruction that user code can run without leaving the case? */
bool dt_gen_safe(const char *mnemonic);

/* The features this host has, as a -cpu specification. Caller frees. */
char *dt_host_model(void);
/* Runs count cases in a child process; false: the child died in case *died. */
bool dt_host_run(const DtCase *cases, DtResult *results, unsigned count, const uint8_t *pool, unsigned *died);

typedef struct DtEngine DtEngine;
/* name: "step" (decoder and bodies, one instruction at a time) or an accelerator. */
DtEngine *dt_engine_new(const char *name, const X86Model *model, GError **err);
void dt_engine_free(DtEngine *e);
void dt_engine_run(DtEngine *e, const DtCase *k, DtResult *r, const uint8_t *pool);

#endif
