/*
 * smm: system management mode: entry, the save-state area, RSM.
 *
 * The save-state map is AMD64's (APM vol. 2, 10.2.3) for CPUs with long mode and the Pentium Pro
 * one (SDM vol. 3, 31.4.1.1) otherwise. SMRAM itself is shown and hidden by the board.
 */
#include "target/x86/cpuid.h"
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

void x86_smm_enter(X86Cpu *c)
{
    c->smm = true;
}
