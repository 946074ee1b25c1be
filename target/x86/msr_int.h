/* msr_int: model-specific registers by number. Both answer false where the guest gets #GP(0). */
#ifndef TARGET_X86_MSR_INT_H
#define TARGET_X86_MSR_INT_H

#include "target/x86/cpu.h"

bool x86_rdmsr(X86Cpu *c, uint32_t msr, uint64_t *v);
bool x86_wrmsr(X86Cpu *c, uint32_t msr, uint64_t v);

#endif
