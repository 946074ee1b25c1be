/*
 * insn: one decoded instruction, and the shape of a row of insns.def.
 *
 * Contract of a C body: called with c->insn == i and c->rip == address of the NEXT
 * instruction. It commits registers only when nothing can fault any more. A fault is raised
 * with x86_raise*(), which unwinds; the engine then subtracts i->len from c->rip. A branch
 * assigns c->rip. A body works the same under the interpreter and when generated code calls it.
 */
#ifndef TARGET_X86_INSN_H
#define TARGET_X86_INSN_H

#include "target/x86/cpu.h"

typedef void X86Op(X86Cpu *c, const X86Insn *i);

enum { BASE_NONE = 0x1f, BASE_RIP = 0x1e };       /* in base and index */

enum {                          /* X86Insn.flags */
    INSN_LOCK = 1 << 0,
    INSN_REP = 1 << 1,          /* F3 as REP/REPE (not as mandatory prefix) */
    INSN_REPNE = 1 << 2,        /* F2 */
    INSN_REX = 1 << 3,          /* any REX: byte registers 4-7 are SPL..DIL, else AH..BH */
    INSN_VEX = 1 << 4,
    INSN_REXW = 1 << 5,         /* REX.W or VEX.W */
    INSN_SEGOVR = 1 << 6,       /* a segment prefix was given */
    INSN_VL256 = 1 << 7,        /* VEX.L */
};

struct X86Insn {
    X86Op *fn;                  /* C body, already chosen by size and operand form */
    uint64_t imm;               /* immediate, sign-extended as the manual says; branch displacement; moffs */
    int32_t disp;
    uint16_t row;               /* index into x86_rows[] */
    uint8_t len;                /* bytes, 1-15 */
    uint8_t opsize;             /* 1, 2, 4, 8 bytes: of the general operands */
    uint8_t adsize;             /* 2, 4, 8 */
    uint8_t flags;              /* INSN_* */
    uint8_t reg;                /* modrm.reg with REX/VEX.R (also opcode digit in group opcodes), or opcode low 3 bits + REX.B (Z operands: in rm) */
    uint8_t rm;                 /* register number when is_reg (with REX.B) */
    uint8_t is_reg;             /* modrm.mod == 3, or no modrm */
    uint8_t base, index, scale; /* memory form: BASE_NONE, BASE_RIP (disp relative to next rip); scale: shift 0-3 */
    uint8_t seg;                /* S_*: of the memory operand after overrides and defaults */
    uint8_t vvvv;               /* VEX second source register */
    uint8_t is4;                /* VEX /is4 register */
    uint8_t opcode, map;        /* last opcode byte; MAP_* */
    uint8_t imm2;               /* ENTER level, far pointer: selector is in disp */
};

enum { MAP_1, MAP_0F, MAP_38, MAP_3A, MAP_V0F, MAP_V38, MAP_V3A, MAP_COUNT };

/*
 * insns.def: one row per encoding, in the manual's order:
 *
 *   ROW(map, opcode, ext, pfx, lim, "mnemonic", OPSn(...), body, rd, wr, un, feat, cls, emit)
 *
 *   map     1 0F 38 3A V0F V38 V3A   (V*: VEX-encoded)
 *   opcode  last byte; rows for +r opcodes are written for the first and marked LIM_PLUSR (8 opcodes)
 *   ext     X_ANY; X_D(n) digit; X_M(n)/X_R(n) digit with memory/register form only; X_MEM, X_REG;
 *           X_B(0xC1) the exact modrm byte
 *   pfx     P_ANY (66/F2/F3 are not part of the opcode), P_NP (none of them), P_66, P_F3, P_F2
 *   lim     LIM_* ORed: LIM_NO64 LIM_ONLY64 LIM_D64 (64-bit default) LIM_F64 (forced 64) LIM_W0 LIM_W1
 *           LIM_L0 LIM_L1 LIM_PROT (#UD in real and v86) LIM_BYTE (opsize 1) LIM_PLUSR LIM_NOSEGLIM
 *   ops     the manual's operand letters, destination first: OPS0, OPS1(Ev), OPS2(Ev, Gv) ... up to 4
 *   body    name of an X86Body: the C bodies by size and form
 *   rd wr un   flags read, written, undefined after: F_(C P A Z S O) spelled FC|FP|FA|FZ|FS|FO, FALL, or 0
 *   feat    CPUID feature the row needs: FEAT_NONE or FEAT_AVX2 ... (target/x86/cpuid.h)
 *   cls     ORed: CL_W / CL_RW / CL_R (use of the first operand), CL_BR (ends a block: control flow),
 *           CL_END (ends a block: mode or state change), CL_FAULT (may fault without memory operand),
 *           CL_PRIV, CL_LOCK (LOCK allowed with memory destination), CL_STR, CL_IO, CL_SER, CL_STACK,
 *           CL_X87 / CL_MMX / CL_SSE / CL_AVX (availability and #NM/#UD checks by mode word)
 *   emit    how the JIT emits it: EMIT_C (call the body), EMIT_COPY (host runs the same instruction
 *           with registers renamed and the memory operand replaced), or EMIT_<template>
 */
typedef struct X86Body {
    X86Op *mem[4], *reg[4];     /* by log2(opsize), or by VEX.L for vector rows (0: 128, 1: 256) */
} X86Body;
/* BODY1: one function for everything; BODY_MR: one for memory, one for register form. */
#define BODY1(name, f) const X86Body x86_body_##name = { { f, f, f, f }, { f, f, f, f } }
#define BODY_MR(name, m, r) const X86Body x86_body_##name = { { m, m, m, m }, { r, r, r, r } }
/* By operand size: names f##8, f##16, f##32, f##64 handle both forms. */
#define BODY_SZ(name, f) const X86Body x86_body_##name = { { f##8, f##16, f##32, f##64 }, { f##8, f##16, f##32, f##64 } }

typedef struct X86Row {
    uint8_t map, opcode;
    uint16_t ext;
    uint8_t pfx;
    uint32_t lim;
    const char *mnemonic;
    uint8_t ops[4];             /* OPND_* */
    const X86Body *body;
    uint16_t rd, wr, un;        /* FL_* arithmetic bits */
    uint8_t feat;
    uint32_t cls;
    uint8_t emit;
} X86Row;
extern const X86Row x86_rows[];
extern const unsigned x86_row_count;

typedef enum { DECODE_OK, DECODE_UD, DECODE_TOO_LONG /* #GP: over 15 bytes */, DECODE_MORE /* bytes ran out */ } DecodeResult;
/*
 * Decodes the instruction at bytes[0..avail) for mode (MODE_CS64, MODE_CS32, ...). DECODE_MORE:
 * more bytes are needed (page end). On DECODE_UD i->len is still set as far as known. Pure.
 */
DecodeResult x86_decode(const uint8_t *bytes, unsigned avail, uint32_t mode,
                        const struct X86Model *model, X86Insn *i);

#endif
