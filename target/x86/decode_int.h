/*
 * decode_int: the decoder's index over insns.def, built once.
 */
#ifndef TARGET_X86_DECODE_INT_H
#define TARGET_X86_DECODE_INT_H

#include "target/x86/insn.h"

enum { DECODE_LIST_END = 0xffff, DECODE_LISTS_MAX = 16384 };

typedef struct DecodeOp {       /* one opcode byte of one map */
    uint16_t list;              /* start in DecodeIndex.lists; by_digit: of 16 starts, [is_reg * 8 + digit] */
    bool defined, modrm, by_digit;
} DecodeOp;

typedef struct DecodeIndex {
    DecodeOp op[MAP_COUNT][256];
    uint16_t lists[DECODE_LISTS_MAX];   /* row numbers, each list ends with DECODE_LIST_END */
    unsigned used;
} DecodeIndex;

/* The index; any thread. */
const DecodeIndex *x86_decode_index(void);

#endif
