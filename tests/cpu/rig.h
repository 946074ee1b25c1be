/*
 * rig: a machine of RAM and CPUs and nothing else, for tests that run a few instructions.
 *
 * 16 MiB of RAM at 0. A write to port RIG_EXIT or address RIG_EXIT_MEM stops the run. Code starts in the mode asked for with
 * flat segments, paging off (64-bit: identity-mapped by 2 MiB pages, tables at 1 MiB), stack at RIG_STACK.
 */
#ifndef TESTS_CPU_RIG_H
#define TESTS_CPU_RIG_H

#include "target/x86/cpuid.h"
#include "target/x86/flags.h"
#include "target/x86/operand.h"

#include <string.h>

enum { RIG_RAM = 16 << 20, RIG_CODE = 0x10000, RIG_DATA = 0x20000, RIG_STACK = 0x80000, RIG_EXIT = 0xf4,
       RIG_EXIT_MEM = 0xf00000 };
typedef enum { RIG_16, RIG_32, RIG_64 } RigMode;

typedef struct Rig {
    Machine *m;
    X86Model *model;
    X86Cpu *c;                  /* CPU 0 */
    Region ram, exit, exit_mem;
    unsigned exits;             /* writes to the exit port so far */
    uint32_t exit_code;         /* last value written there */
} Rig;

/* engine: "jit" or "jit,check=on": a name and its options. */
Rig *rig_new(const char *engine, unsigned cpus);
void rig_free(Rig *r);
/* Another -cpu than max; before anything runs. */
void rig_set_model(Rig *r, const char *spec);
/* Fresh registers in mode, rip = RIG_CODE. Memory is kept. */
void rig_mode(Rig *r, RigMode mode);
void rig_mode_cpu(Rig *r, unsigned cpu, RigMode mode);   /* another CPU, which then runs too */
void rig_put(Rig *r, uint64_t addr, const void *bytes, size_t len);
/* Runs until the exit port is written, or ms have passed (false), or the CPU halts for good. */
bool rig_run(Rig *r, unsigned ms);
/* Code bytes, then "out 0xf4, al"; run; the registers can be read after. */
bool rig_exec(Rig *r, RigMode mode, const void *code, size_t len);

/* Code that is put together piece by piece. */
typedef struct Code { uint8_t b[1024]; unsigned n; } Code;
static inline void emit(Code *k, const void *bytes, unsigned n)
{
    g_assert_cmpuint(n, <=, sizeof k->b - k->n);
    memcpy(k->b + k->n, bytes, n);
    k->n += n;
}
static inline void emit32(Code *k, uint32_t v) { emit(k, &v, 4); }
#define E(k, ...) emit(k, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* Two CPUs add to the word at var by LOCK INC, code at RIG_CODE; none may be lost. done: another word they use. */
void rig_count_locked(const char *engine, uint32_t var, uint32_t done);

/* The main() of tests that take an engine (as rig_new does): each of them on interp and jit, and if exact on jit,exact=on and jit,trace=1. */
typedef struct RigTest { const char *name; GTestDataFunc fn; } RigTest;
int rig_main(int argc, char **argv, const char *prefix, bool exact, const RigTest *tests, unsigned n);

#endif
