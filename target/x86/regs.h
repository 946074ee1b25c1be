/* regs: what programs and debuggers see of registers that X86Cpu keeps in another form, and which values fit. */
#ifndef TARGET_X86_REGS_H
#define TARGET_X86_REGS_H

#include "target/x86/cpu.h"

#define X86_MXCSR_MASK 0xffffu
/* The bits of RFLAGS that are not fixed. */
enum { FL_WRITABLE = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_VM | FL_AC | FL_VIF | FL_VIP | FL_ID };

/* May it be an address in 64-bit mode? */
static inline bool x86_canonical(uint64_t a) { return (uint64_t)((int64_t)(a << 16) >> 16) == a; }

/* The x87's status word with TOP in it. */
static inline uint16_t x87_sw(const X86Cpu *c) { return (c->x87.sw & ~0x3800) | c->x87.top << 11; }
/* As FLDCW and FLDENV load them: bits that cannot be set are left out, ES and B follow. */
void x87_set_cw(X86Cpu *c, uint16_t v);
void x87_set_sw(X86Cpu *c, uint16_t v);
/* The 16-bit tag word, from the contents; and the emptiness from it. */
uint16_t x87_tag_word(const X86Cpu *c);
void x87_set_tag_word(X86Cpu *c, uint16_t tw);

#endif
