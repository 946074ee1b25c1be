/*
 * shadow: a second processor that runs instructions of the first without any effect on the machine.
 *
 * It has the registers of the processor it stands beside and a TLB of its own. What it stores goes
 * to copies of the pages; what devices would see makes it give up. So an engine can learn what its
 * own execution of the same instructions must lead to. Not for instructions that touch ports,
 * APIC, time or MSRs: the caller leaves those out. Page walks set accessed and dirty bits as the
 * real access is about to. Own thread of the vcpu.
 */
#ifndef TARGET_X86_SHADOW_H
#define TARGET_X86_SHADOW_H

#include "target/x86/insn.h"

typedef struct X86Shadow X86Shadow;

typedef enum {
    SHADOW_DONE,                /* all n, or up to a branch that was taken */
    SHADOW_RAISED,              /* an exception, not delivered: exc and rip as a body leaves them */
    SHADOW_RESUME,              /* a body asked to be run again */
    SHADOW_CANNOT               /* a device, or more pages than there are copies */
} ShadowEnd;

typedef struct ShadowDiff {     /* the first byte of memory that is not what the shadow stored */
    uint64_t va;
    uint8_t before, shadow, now;
} ShadowDiff;

X86Shadow *x86_shadow_new(X86Cpu *c);
void x86_shadow_free(X86Shadow *s);
X86Cpu *x86_shadow_cpu(X86Shadow *s);
/* c's registers at the last x86_shadow_begin(); only registers are valid. */
const X86Cpu *x86_shadow_start(X86Shadow *s);

/* Takes c's registers and forgets all copies. changed: translations may have changed since last time. */
void x86_shadow_begin(X86Shadow *s, bool changed);
/* Back to the registers and the memory of the last begin, whatever c has stored meanwhile. */
void x86_shadow_again(X86Shadow *s);
/* Runs n instructions that follow each other, from rip on. *done: how many were finished. */
ShadowEnd x86_shadow_run(X86Shadow *s, const X86Insn *insns, unsigned n, unsigned *done);
/* Compares the pages the shadow stored to with the real ones. False: they are the same. */
bool x86_shadow_differs(X86Shadow *s, ShadowDiff *d);

#endif
