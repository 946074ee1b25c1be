/*
 * env: the words and tables generated code reaches through %gs.
 *
 * The base of %gs is the X86Cpu while its thread runs; JitEnv lies in its engine_area. Offsets
 * are constants of generated code. Own thread only.
 */
#ifndef ACCEL_JIT_ENV_H
#define ACCEL_JIT_ENV_H

#include "target/x86/cpu.h"

enum { IBTC_ENTRIES = 1 << 16, JIT_GROUPS = 16, FAR_TRACES = 512, REACH_SLOTS = 512, REACH_LIST = 256 };

/* Pages next to each other for the guest and for the host, as the first-level TLB showed when they were looked for. */
typedef struct Reach {
    uint64_t lo;                /* REACH_NONE: nothing */
    uint64_t delta;             /* host minus guest address */
    uint64_t len[2];            /* bytes less 16 and less 512: the last place an access may start at */
    uint32_t left, last;        /* misses until it is looked for again; low half of the TSC when it was last time */
    uint32_t bad;               /* times it was looked for soon after the last time */
    uint32_t pad[5];
} Reach;
#define REACH_NONE (1ULL << 63)

typedef struct JitEnv {
    uint64_t vbase;             /* guest RIP = vbase + offset of the instruction in its page */
    uint64_t salt;              /* code space and mode: part of every check of a way in */
    uint64_t space[2];          /* the part of the salt that is the code space's: supervisor, user */
    uint64_t cc_code;           /* code that makes the flags from the next two words; see fl_lazy() */
    uint64_t cc_a, cc_b;
    uint64_t tmp[4];
    uint64_t rcx_park;          /* RCX during flag-free compares */
    uint64_t saved_flags;       /* AX after LAHF, SETO AL: flags parked by generated code */
    uint64_t flags;             /* flags at the last way out of generated code, or to go in with; as saved_flags */
    uint64_t cc_park[2];        /* r10 and r11 while the flags are made */
    uint64_t exit_arg;          /* what the exit stub leaves for the run loop */
    uint64_t fault_pc;          /* host address of a faulting instruction */
    uint64_t shadow;            /* RSP to start with: the stack of paired calls */
    uint64_t go;                /* host address to go on at */
    uint64_t host_rsp;
    uint64_t far_exit;          /* JitExit that missed last, see exits.c */
    uint64_t self;              /* the X86Cpu */
    uint8_t vec_live;           /* vector registers and MXCSR are in the host's registers */
    uint8_t fpu_live;           /* x87 state is in the host's registers */
    uint8_t leave;              /* a C body wants the run loop (code written, state changed) */
    uint64_t group[JIT_GROUPS]; /* host minus guest address of checked access groups */
    uint64_t stk_page[TLB_BANKS], stk_delta[TLB_BANKS];     /* stack page cache: page and host - guest */
    uint64_t count[16];         /* counters of generated code */
    uint32_t seen_tlb_gen;      /* X86Cpu.tlb_gen the stack cache belongs to */
    uint32_t host_mxcsr;
    uint64_t fpu_vbase;         /* vbase of the last block entered that uses x87 */
    uint32_t fpu_env[7];        /* FNSTENV: [3] is the low half of the host's FIP */
    uint8_t fxarea[512] __attribute__((aligned(64)));
    /* Supervisor and user code, by bits 12-27 of a page's address: -(address + token of the JitPage fetched there + code space). */
    uint64_t code_tag[2][IBTC_ENTRIES] __attribute__((aligned(4096)));
    uint64_t ibtc_host[IBTC_ENTRIES];
    Reach reach[REACH_SLOTS] __attribute__((aligned(64)));
    uint32_t reach_n, reach_list[REACH_LIST];      /* filled since the last flush; more than fit: any */
    uint64_t far_seen[FAR_TRACES];      /* salt + vbase a trace of several pages was found whole at: trace.c */
} JitEnv;
_Static_assert(sizeof(JitEnv) <= X86_ENGINE_AREA, "engine area too small");

static inline JitEnv *jit_env(X86Cpu *c) { return (JitEnv *)c->engine_area; }
/* Arithmetic flags between RFLAGS and what LAHF and SETO AL leave in AX, which costs much less than PUSHF and POPF. */
static inline uint32_t jit_flags_get(const JitEnv *e)
{
    return (e->flags >> 8 & (FL_ARITH & 0xff)) | (e->flags & 1) << 11;
}
static inline void jit_flags_put(JitEnv *e, uint32_t f) { e->flags = (f & 0xff) << 8 | (f >> 11 & 1); }
/* Offsets from the base of %gs. */
#define GS_ENV(field) ((int32_t)(offsetof(X86Cpu, engine_area) + offsetof(JitEnv, field)))
#define GS_CPU(field) ((int32_t)offsetof(X86Cpu, field))
#define GS_GPR(n) ((int32_t)(offsetof(X86Cpu, gpr) + 8 * (n)))

#endif
