/*
 * fast: bodies specialized for the commonest instructions in flat segments.
 */
#include "accel/interp/interp_int.h"

X86Op *interp_fast(const X86Insn *i, uint32_t mode)
{
    return i->fn;
}
