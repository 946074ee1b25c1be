/*
 * emit: an x86-64 encoder that appends to a buffer.
 *
 * Writing past the end sets full and drops the bytes; the translator looks once at the end.
 */
#ifndef ACCEL_JIT_EMIT_H
#define ACCEL_JIT_EMIT_H

#include <stdbool.h>
#include <stdint.h>

enum { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
       H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15, H_NONE = 0xff };
enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE, CC_LE, CC_G };

typedef struct Emit {
    uint8_t *p, *end;           /* writable alias */
    int64_t rx;                 /* executable address minus writable address */
    bool full;
} Emit;

typedef struct HMem {           /* a host memory operand */
    uint8_t base, index, scale; /* H_NONE: absent */
    bool gs;
    int32_t disp;
} HMem;

typedef struct HOp {            /* register or memory in the r/m place */
    bool is_reg;
    uint8_t reg;
    HMem m;
} HOp;

enum {                          /* Enc.flags */
    ENC_66 = 1 << 0, ENC_F2 = 1 << 1, ENC_F3 = 1 << 2, ENC_LOCK = 1 << 3, ENC_W = 1 << 4,
    ENC_REX = 1 << 5,           /* force a REX prefix (SPL, BPL, SIL, DIL) */
    ENC_VEX = 1 << 6, ENC_L = 1 << 7,
};
typedef struct Enc {            /* one instruction, any encoding */
    uint16_t flags;
    uint8_t map;                /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t op, reg, vvvv;
    HOp rm;
    uint8_t imm_len;
    uint8_t imm[8];
} Enc;

static inline void e8(Emit *e, uint8_t b)
{
    if (e->p < e->end)
        *e->p++ = b;
    else
        e->full = true;
}
void e32(Emit *e, uint32_t v);
void e64(Emit *e, uint64_t v);
static inline uint8_t *e_here(const Emit *e) { return e->p; }
static inline uint64_t e_rx(const Emit *e, const uint8_t *p) { return (uint64_t)(uintptr_t)p + e->rx; }

static inline HOp h_reg(unsigned r) { return (HOp) { .is_reg = true, .reg = r }; }
static inline HOp h_mem(HMem m) { return (HOp) { .m = m }; }
static inline HMem m_base(unsigned b, int32_t disp) { return (HMem) { b, H_NONE, 0, false, disp }; }
static inline HMem m_bi(unsigned b, unsigned i, unsigned s, int32_t disp) { return (HMem) { b, i, s, false, disp }; }
static inline HMem m_gs(int32_t disp) { return (HMem) { H_NONE, H_NONE, 0, true, disp }; }
static inline HMem m_gsb(unsigned b, int32_t disp) { return (HMem) { b, H_NONE, 0, true, disp }; }

/* Emits any instruction with a modrm byte. */
void e_enc(Emit *e, const Enc *x);

/* Common forms. w: 64-bit operation, else 32. */
void e_rr(Emit *e, bool w, uint8_t op, unsigned reg, unsigned rm);              /* op reg, rm by opcode */
void e_rm(Emit *e, bool w, uint8_t op, unsigned reg, HMem m);
static inline void e_mov(Emit *e, bool w, unsigned d, unsigned s) { e_rr(e, w, 0x8b, d, s); }
static inline void e_ld(Emit *e, bool w, unsigned d, HMem m) { e_rm(e, w, 0x8b, d, m); }
static inline void e_st(Emit *e, bool w, HMem m, unsigned s) { e_rm(e, w, 0x89, s, m); }
static inline void e_lea(Emit *e, bool w, unsigned d, HMem m) { e_rm(e, w, 0x8d, d, m); }
/* digit: ADD 0 OR 1 ADC 2 SBB 3 AND 4 SUB 5 XOR 6 CMP 7 */
void e_alu_ri(Emit *e, bool w, unsigned digit, unsigned r, int32_t imm);
void e_alu_mi(Emit *e, bool w, unsigned digit, HMem m, int32_t imm);            /* CMP dword [m], imm ... */
void e_st_i(Emit *e, bool w, HMem m, int32_t imm);
void e_st8_i(Emit *e, HMem m, uint8_t imm);
void e_cmp8_i(Emit *e, HMem m, uint8_t imm);
void e_shift_i(Emit *e, bool w, unsigned digit, unsigned r, unsigned n);
void e_rorx(Emit *e, bool w, unsigned d, unsigned s, unsigned n);               /* BMI2; keeps flags */
void e_mov_i(Emit *e, unsigned r, uint64_t v);                                  /* shortest; keeps flags */
void e_jmp_r(Emit *e, unsigned r);
void e_jmp_m(Emit *e, HMem m);
/* rel32 branches to an executable address; return the place of the rel32 (writable alias). */
uint8_t *e_jmp(Emit *e, uint64_t rx_target);
uint8_t *e_jcc(Emit *e, unsigned cc, uint64_t rx_target);
/* lahf; seto al: the arithmetic flags in AX (env.h: jit_flags_get()). add al, 0x7f; sahf: back again, destroys AX. */
void e_flags_to_ax(Emit *e);
void e_flags_from_ax(Emit *e);
void e_call(Emit *e, uint64_t rx_target);
/* Forward branches: returns the place to patch; e_here_patch* binds it to here. */
uint8_t *e_jcc_fwd(Emit *e, unsigned cc);
uint8_t *e_jmp_fwd(Emit *e);
uint8_t *e_jcc8_fwd(Emit *e, uint8_t op);       /* one-byte branches, jrcxz too */
void e_bind(Emit *e, uint8_t *at);
void e_bind8(Emit *e, uint8_t *at);

#endif
