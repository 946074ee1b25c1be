/* x87_env_int: the x87 part of FXSAVE and XSAVE images. */
#ifndef TARGET_X86_X87_ENV_INT_H
#define TARGET_X86_X87_ENV_INT_H

#include "target/x86/x87_int.h"

#define X86_MXCSR_INIT 0x1f80u

/* Bytes 0-23 and 32-159 of the image. wide: 64-bit pointers (REX.W), else selector and 32-bit offset. */
void x87_put_legacy(X86Cpu *c, uint8_t *b, bool wide);
void x87_get_legacy(X86Cpu *c, const uint8_t *b, bool wide);
/* Linear address of i's image; #GP(0) if not aligned. */
uint64_t x87_legacy_area(X86Cpu *c, const X86Insn *i, unsigned size, unsigned align, bool write);

#endif
