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
    uint64_t imm;               /* immediate, extended as the manual says; branch displacement (sign-extended); moffs */
    int32_t disp;               /* of the memory form; the selector of a far pointer; 0 without one */
    uint16_t row;               /* index into x86_rows[]; X86_ROW_UD or X86_ROW_NM when executing it raises */
    uint8_t len;                /* bytes, 1-15 */
    uint8_t opsize;             /* 1, 2, 4, 8 bytes: of the general operands */
    uint8_t adsize;             /* 2, 4, 8 */
    uint8_t flags;              /* INSN_* */
    uint8_t reg;                /* modrm.reg with REX/VEX.R (the bare digit, 0-7, in group opcodes) */
    uint8_t rm;                 /* register number when is_reg (with REX.B); of +r opcodes too */
    uint8_t is_reg;             /* modrm.mod == 3, or no modrm (moffs forms count as memory) */
    uint8_t base, index, scale; /* memory form: BASE_NONE, BASE_RIP (disp relative to next rip); scale: shift 0-3 */
    uint8_t seg;                /* S_*: of the memory operand (or DS:rSI string operand) after overrides */
    uint8_t vvvv;               /* VEX second source register */
    uint8_t is4;                /* VEX /is4 register */
    uint8_t opcode, map;        /* last opcode byte; MAP_* */
    uint8_t modrm;              /* the byte itself: x87 keeps it in FOP */
    uint8_t imm2;               /* ENTER level; EXTRQ/INSERTQ second byte */
    uint16_t end;               /* left 0 by the decoder: an engine's offset of the next instruction in its block */
};

enum { MAP_1, MAP_0F, MAP_38, MAP_3A, MAP_V0F, MAP_V38, MAP_V3A, MAP_COUNT };
enum { X86_ROW_UD, X86_ROW_NM };        /* the first two rows: raise #UD, raise #NM */

/*
 * insns.def: one row per encoding, in the manual's order:
 *
 *   ROW(map, opcode, ext, pfx, lim, "mnemonic", OPSn(...), body, rd, wr, un, feat, cls, emit)
 *
 *   map     1 0F 38 3A V0F V38 V3A   (V*: VEX-encoded)
 *   opcode  last byte; rows for +r opcodes are written for the first and marked LIM_PLUSR (8 opcodes)
 *   ext     X_ANY; X_D(n) digit; X_M(n)/X_R(n) digit with memory/register form only; X_MEM, X_REG;
 *           X_B(0xC1) the exact modrm byte
 *   pfx     P_ANY (66 F2 F3 are not part of the opcode; 66 sets the operand size), P_NP (none of
 *           them), P_66, P_F3, P_F2 (that one, F2 and F3 winning over 66), P_NF (no F2, F3; 66 sets
 *           the operand size). With P_F2 and P_F3, 66 still sets the operand size of general
 *           registers; with P_66 and P_NP it does not.
 *           Rows of one opcode: the first that fits mode, form, prefix, W, L and CPU features wins;
 *           rows with P_ANY are asked last.
 *   lim     LIM_* ORed, or 0
 *   ops     the manual's operand letters, destination first: OPS0, OPS1(Ev), OPS2(Ev, Gv) ... up to 4
 *   body    name of an X86Body: the C bodies by size and form (ud: none)
 *   rd wr un   flags read, written, undefined after: FC|FP|FA|FZ|FS|FO, FALL, or 0
 *   feat    CPUID feature the row needs: NONE or AVX2 ... (target/x86/cpuid.h)
 *   cls     CL_* ORed
 *   emit    how the JIT emits it, EMIT_ left out: C (call the body), COPY (the host runs the same
 *           instruction with registers renamed and the memory operand replaced), or a template
 *
 * A row implies modrm if ext is not X_ANY or an operand comes from modrm. Immediates follow from
 * the operands.
 */
enum {                          /* X86Row.ext: kind in the high byte */
    X_ANY = 0, X_MEM = 0x100, X_REG = 0x200,
#define X_D(n) (0x300 | (n))
#define X_M(n) (0x400 | (n))
#define X_R(n) (0x500 | (n))
#define X_B(b) (0x600 | (b))
#define X_KIND(e) ((e) & 0xf00)
};
enum { P_ANY, P_NP, P_66, P_F3, P_F2, P_NF };

enum {                          /* X86Row.lim */
    LIM_NO64 = 1 << 0,          /* #UD in 64-bit code */
    LIM_ONLY64 = 1 << 1,        /* 64-bit code only */
    LIM_D64 = 1 << 2,           /* operand size defaults to 64 in 64-bit code (66 makes it 16) */
    LIM_F64 = 1 << 3,           /* operand size is 64 in 64-bit code whatever the prefixes */
    LIM_W0 = 1 << 4,            /* REX.W/VEX.W must be 0; VEX.W counts in all modes */
    LIM_W1 = 1 << 5,
    LIM_L0 = 1 << 6,            /* VEX.L */
    LIM_L1 = 1 << 7,
    LIM_PROT = 1 << 8,          /* #UD in real and virtual-8086 mode */
    LIM_BYTE = 1 << 9,          /* opsize is 1 */
    LIM_PLUSR = 1 << 10,        /* opcode, and the 7 after it; register in rm */
    LIM_NOSEGLIM = 1 << 11,     /* the memory operand is only an address (LEA, hints): never accessed */
    LIM_OP32 = 1 << 12,         /* opsize is 4, or 8 with REX.W; 66 ignored (and no 16-bit default) */
    LIM_MODE = 1 << 13,         /* opsize is 8 in 64-bit code, else 4 (control and debug registers) */
    LIM_VSIB = 1 << 14,         /* memory operand has a vector index (in index, 0-15) */
    LIM_NOB = 1 << 15,          /* REX.B must be 0 (90: NOP and PAUSE against XCHG r8) */
};

enum {                          /* X86Row.cls */
    CL_W = 1 << 0,              /* first operand: written only */
    CL_RW = 1 << 1,             /* read and written */
    CL_R = 1 << 2,              /* only read */
    CL_BR = 1 << 3,             /* ends a block: control flow */
    CL_END = 1 << 4,            /* ends a block: mode or state change, serializing enough */
    CL_FAULT = 1 << 5,          /* may fault without memory operand */
    CL_PRIV = 1 << 6,           /* CPL 0 or #GP */
    CL_LOCK = 1 << 7,           /* LOCK allowed with memory destination */
    CL_STR = 1 << 8,            /* string: REP/REPNE apply */
    CL_IO = 1 << 9,
    CL_SER = 1 << 10,           /* serializing */
    CL_STACK = 1 << 11,         /* pushes or pops */
    CL_X87 = 1 << 12,           /* availability and #NM/#UD are settled at decode by the mode word */
    CL_MMX = 1 << 13,
    CL_SSE = 1 << 14,
    CL_AVX = 1 << 15,           /* VEX vector: VZEROUPPER semantics of the destination are the body's */
    CL_COND = 1 << 16,          /* with CL_BR: may fall through */
    CL_ALIGN = 1 << 17,         /* a legacy-SSE memory operand must be naturally aligned (#GP) */
};

/*
 * Operands: X(name, kind, size). Kinds say where the operand is, sizes how many bytes it has.
 * E/G/R/M/B/Z: general registers and memory; I J O A: immediates, branch targets, moffs, far
 * pointers; V W U H L: vector registers (W: or memory, U: rm register, L: is4); P Q N: MMX;
 * X Y: string operands; S C D: segment, control, debug registers; F: one fixed register.
 */
#define X86_OPNDS(X) \
    X(Eb, RM, B) X(Ez, RM, Z) X(Ew, RM, W) X(Ed, RM, D) X(Eq, RM, Q) X(Ev, RM, V) X(Ey, RM, Y) \
    X(RvMw, RM, RVMW) X(RyMb, RM, RYMB) X(RyMw, RM, RYMW) X(RdMb, RM, RYMB) X(RdMw, RM, RYMW) \
    X(Gb, REG, B) X(Gw, REG, W) X(Gd, REG, D) X(Gq, REG, Q) X(Gv, REG, V) X(Gy, REG, Y) X(Gz, REG, Z) \
    X(Rv, R, V) X(Rw, R, W) X(Rd, R, D) X(Rq, R, Q) X(Ry, R, Y) \
    X(By, VV, Y) X(Zb, Z, B) X(Zv, Z, V) \
    X(M, M, NONE) X(Mb, M, B) X(Mw, M, W) X(Md, M, D) X(Mq, M, Q) X(Mdq, M, DQ) X(Mqq, M, QQ) X(Mx, M, X) \
    X(Mv, M, V) X(My, M, Y) X(Mp, M, P) X(Ms, M, S) X(Ma, M, A) X(Mt, M, T) \
    X(Ib, IMM, B) X(Iw, IMM, W) X(Iz, IMM, Z) X(Iv, IMM, V) X(IbS, IMMS, B) X(Ib2, IMM2, B) X(One, ONE, B) \
    X(Jb, REL, B) X(Jz, REL, Z) X(Ap, FAR, P) X(Ob, MOFFS, B) X(Ov, MOFFS, V) \
    X(Xb, STRS, B) X(Xv, STRS, V) X(Xz, STRS, Z) X(Yb, STRD, B) X(Yv, STRD, V) X(Yz, STRD, Z) \
    X(Sw, SEG, W) X(Cy, CR, Y) X(Dy, DR, Y) \
    X(Pq, MMXREG, Q) X(Pd, MMXREG, D) X(Qq, MMXRM, Q) X(Qd, MMXRM, D) X(Nq, MMXR, Q) \
    X(Vx, XREG, X) X(Vdq, XREG, DQ) X(Vqq, XREG, QQ) X(Vq, XREG, Q) X(Vd, XREG, D) \
    X(Wx, XRM, X) X(Wdq, XRM, DQ) X(Wqq, XRM, QQ) X(Wh, XRM, H) X(Wq, XRM, Q) X(Wd, XRM, D) X(Ww, XRM, W) X(Wb, XRM, B) \
    X(Woq, XRM, O) \
    X(Ux, XR, X) X(Udq, XR, DQ) X(Uqq, XR, QQ) X(Uq, XR, Q) X(Ud, XR, D) \
    X(Hx, XVV, X) X(Hdq, XVV, DQ) X(Hqq, XVV, QQ) X(Hq, XVV, Q) X(Hd, XVV, D) \
    X(Lx, XIS4, X) X(Ldq, XIS4, DQ) X(XMM0, FIXED, DQ) \
    X(ST0, FIXED, T) X(STi, STI, T) \
    X(AL, FIXED, B) X(AH, FIXED, B) X(CL, FIXED, B) X(AX, FIXED, W) X(DX, FIXED, W) X(CX, FIXED, W) \
    X(EAX, FIXED, D) X(rAX, FIXED, V) X(zAX, FIXED, Z) X(rCX, FIXED, V) X(rDX, FIXED, V) X(rSP, FIXED, V) \
    X(SegES, FIXED, W) X(SegCS, FIXED, W) X(SegSS, FIXED, W) X(SegDS, FIXED, W) X(SegFS, FIXED, W) X(SegGS, FIXED, W)

enum {
    OPND_NONE,
#define X(n, k, s) OPND_##n,
    X86_OPNDS(X)
#undef X
    OPND_COUNT
};
typedef enum {                  /* where */
    OK_NONE, OK_RM, OK_REG, OK_R, OK_VV, OK_Z, OK_M, OK_IMM, OK_IMMS, OK_IMM2, OK_ONE, OK_REL, OK_FAR, OK_MOFFS,
    OK_STRS, OK_STRD, OK_SEG, OK_CR, OK_DR, OK_MMXREG, OK_MMXRM, OK_MMXR, OK_XREG, OK_XRM, OK_XR,
    OK_XVV, OK_XIS4, OK_FIXED, OK_STI,
} X86OpndKind;
typedef enum {                  /* how big: V 2/4/8 by opsize, Y 4/8, Z 2/4, X 16/32 by VL, H X/2, O X/4 */
    OS_NONE, OS_B, OS_W, OS_D, OS_Q, OS_DQ, OS_QQ, OS_X, OS_H, OS_O, OS_V, OS_Y, OS_Z,
    OS_P, OS_S, OS_A, OS_T,     /* far pointer, pseudo-descriptor, BOUND pair, 80-bit */
    OS_RVMW, OS_RYMB, OS_RYMW,  /* register of opsize, or 16 bits of memory; 4/8 or 8/16 bits of memory */
} X86OpndSize;
typedef struct X86Opnd { const char *name; uint8_t kind, size; } X86Opnd;
extern const X86Opnd x86_opnds[OPND_COUNT];
/* Size in bytes of operand opnd of i; 0 for none (LEA's M and the like). */
unsigned x86_opnd_size(unsigned opnd, const X86Insn *i);

typedef struct X86Body {
    X86Op *mem[4], *reg[4];     /* by log2(opsize), or by VEX.L for vector rows (0: 128, 1: 256) */
} X86Body;
/* BODY1: one function for everything; BODY_MR: one for memory, one for register form. */
#define BODY1(name, f) const X86Body x86_body_##name = { { f, f, f, f }, { f, f, f, f } }
#define BODY_MR(name, m, r) const X86Body x86_body_##name = { { m, m, m, m }, { r, r, r, r } }
/* By operand size: names f##8, f##16, f##32, f##64 handle both forms. */
#define BODY_SZ(name, f) const X86Body x86_body_##name = { { f##8, f##16, f##32, f##64 }, { f##8, f##16, f##32, f##64 } }
/* By operand size and form: f##8_m, f##8_r, ... */
#define BODY_SZMR(name, f) const X86Body x86_body_##name = \
    { { f##8_m, f##16_m, f##32_m, f##64_m }, { f##8_r, f##16_r, f##32_r, f##64_r } }
/* Sizes without an 8-bit form. */
#define BODY_SZV(name, f) const X86Body x86_body_##name = { { f##16, f##16, f##32, f##64 }, { f##16, f##16, f##32, f##64 } }
#define BODY_SZVMR(name, f) const X86Body x86_body_##name = \
    { { f##16_m, f##16_m, f##32_m, f##64_m }, { f##16_r, f##16_r, f##32_r, f##64_r } }
/* By vector length: f128, f256. */
#define BODY_VL(name, f128, f256) const X86Body x86_body_##name = { { f128, f256, f128, f128 }, { f128, f256, f128, f128 } }

/* Declares every body named in insns.def, so that a file of bodies is checked against the list. */
#define ROW(map, op, ext, pfx, lim, mn, ops, body, rd, wr, un, feat, cls, emit) extern const X86Body x86_body_##body;
#include "target/x86/insns.def"
#undef ROW

enum {                          /* X86Row.emit; templates are listed in emit.def */
#define EMIT(name) EMIT_##name,
#include "target/x86/emit.def"
#undef EMIT
    EMIT_COUNT
};

typedef struct X86Row {
    uint8_t map, opcode;
    uint16_t ext;
    uint8_t pfx, emit;
    uint16_t feat;              /* FEAT_* */
    uint32_t lim, cls;
    const char *mnemonic;
    uint8_t ops[4];             /* OPND_* */
    const X86Body *body;
    uint16_t rd, wr, un;        /* FL_* arithmetic bits */
} X86Row;
extern const X86Row x86_rows[];
extern const unsigned x86_row_count;
/* What c->insn points to when no instruction is under way: length 0. */
extern const X86Insn x86_no_insn;
static inline const X86Row *x86_row(const X86Insn *i) { return &x86_rows[i->row]; }

typedef enum { DECODE_OK, DECODE_UD, DECODE_TOO_LONG /* #GP: over 15 bytes */, DECODE_MORE /* bytes ran out */ } DecodeResult;
/*
 * Decodes the instruction at bytes[0..avail) for mode (MODE_CS64, MODE_CS32, ...). DECODE_MORE:
 * more bytes are needed (page end; never when avail >= 15). After DECODE_UD and DECODE_TOO_LONG,
 * *i is an instruction whose body raises the right fault, so engines may treat it as any other.
 * Features of model decide which rows exist; NULL: all. Pure, apart from building its index at
 * the first call (thread-safe).
 */
DecodeResult x86_decode(const uint8_t *bytes, unsigned avail, uint32_t mode,
                        const struct X86Model *model, X86Insn *i);

#endif
