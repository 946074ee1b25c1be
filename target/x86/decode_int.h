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

typedef struct DecodePlan {     /* what a row's operands mean for the decoder */
    uint8_t imm[2];             /* operands that are immediates, in order; 0: none */
    uint8_t reg_mask, rm_mask;  /* registers that have only eight of a kind ignore REX bits */
    bool digit;                 /* modrm.reg is part of the opcode: REX.R ignored */
    bool uses_vvvv, lock;
    bool vector;                /* bodies by VL, not by operand size */
} DecodePlan;

typedef struct DecodeIndex {
    const DecodePlan *plan;     /* by row */
    DecodeOp op[MAP_COUNT][256];
    uint16_t lists[DECODE_LISTS_MAX];   /* row numbers, each list ends with DECODE_LIST_END */
    unsigned used;
} DecodeIndex;

/* The index; any thread. */
const DecodeIndex *x86_decode_index(void);

#endif
