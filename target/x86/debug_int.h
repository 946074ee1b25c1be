/*
 * debug_int: debug registers as the rest of target/x86 needs them.
 */
#ifndef TARGET_X86_DEBUG_INT_H
#define TARGET_X86_DEBUG_INT_H

#include "target/x86/mem.h"

#define DR6_BD (1u << 13)
#define DR6_BS (1u << 14)
#define DR6_BT (1u << 15)
#define DR6_FIXED 0xffff0ff0u
#define DR7_FIXED 0x400u
#define DR7_GD (1u << 13)

/* Just before e is delivered: bookkeeping of DR7.GD and of what a fault cancels. */
void x86_debug_before_delivery(X86Cpu *c, const X86Exception *e);
/* Delivers #DB for c->db_pending. */
bool x86_debug_trap(X86Cpu *c);
/* Latches a code breakpoint on the instruction at c->rip. */
void x86_debug_fetch(X86Cpu *c);
/* An event for before the next instruction. */
void x86_debug_pend(X86Cpu *c, uint32_t dr6_bits);
/* Code is fetched from the page of va: leaves run() if a debugger waits for that, or the guest wrote
   over one of its traps. */
void x86_debug_page(X86Cpu *c, uint64_t va, const X86Fetch *f);
/* DR7 was written: watched pages, mode word. */
void x86_debug_dr7_changed(X86Cpu *c);
/* I/O breakpoints (CR4.DE). */
void x86_debug_io(X86Cpu *c, unsigned port, unsigned size);
void x86_smm_enter(X86Cpu *c);

#endif
