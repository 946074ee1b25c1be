#include "target/x86/vec_int.h"
void x87_mmx_pending(X86Cpu *c) { x86_raise(c, EXC_MF); }
