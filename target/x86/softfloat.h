/*
 * softfloat: IEEE 754 arithmetic on bit patterns, with the x86 rules for NaNs, denormals and flags.
 *
 * One set of algorithms works on unpacked numbers (Fp); formats only differ in rounding. Exact on
 * every host: only integer arithmetic is used. Callers that want speed try host arithmetic first
 * (sse_fp.c) and come here when a flag, a NaN or a denormal could be involved. Pure functions of
 * their arguments; exceptions are accumulated in FpStatus.flags. SDM vol. 1, chapters 4, 8 and 11.
 */
#ifndef TARGET_X86_SOFTFLOAT_H
#define TARGET_X86_SOFTFLOAT_H

#include "target/x86/cpu.h"

enum {                          /* exception flags: bit positions of MXCSR and of the x87 status word */
    FPX_I = 1 << 0, FPX_D = 1 << 1, FPX_Z = 1 << 2, FPX_O = 1 << 3, FPX_U = 1 << 4, FPX_P = 1 << 5,
    FPX_PRE = FPX_I | FPX_D | FPX_Z, FPX_ALL = 63,
};
enum { RM_NEAREST, RM_DOWN, RM_UP, RM_ZERO };     /* as in MXCSR.RC and the x87 control word */

typedef struct FpStatus {
    uint8_t flags;              /* raised since the caller cleared it */
    uint8_t masks;              /* FPX_*: masked exceptions; underflow and x87 results depend on it */
    uint8_t rm;
    uint8_t prec;               /* significand bits of floatx80 results: 24, 53, 64 */
    bool daz, ftz;              /* SSE only */
    bool x87;                   /* x87 NaN choice and wrapped results on unmasked over/underflow */
    bool up;                    /* the last rounding increased the magnitude: x87 C1 */
} FpStatus;

typedef enum { FPC_ZERO, FPC_NORMAL, FPC_INF, FPC_QNAN, FPC_SNAN, FPC_BAD /* x87 unsupported encoding */ } FpClass;

/* An unpacked number. FPC_NORMAL: value = m / 2^63 * 2^e with bit 63 of m set. NaN: m is the payload
   as in floatx80 (bit 63 set, bit 62 quiet). */
typedef struct Fp {
    uint64_t m;
    int32_t e;
    uint8_t cls;
    bool s;
    bool den;                   /* was denormal (before DAZ, which turns it into a zero) */
} Fp;

typedef struct FpFormat { uint8_t p; int32_t emin, emax; } FpFormat;
extern const FpFormat fp_f16, fp_f32, fp_f64, fp_x80;

Fp fp_from_f32(uint32_t v);
Fp fp_from_f64(uint64_t v);
Fp fp_from_f16(uint16_t v);
Fp fp_from_x80(X86Fp80 v);
Fp fp_from_i64(int64_t v);
uint32_t fp_to_f32(Fp a);       /* a already rounded to the format */
uint64_t fp_to_f64(Fp a);
uint16_t fp_to_f16(Fp a);
X86Fp80 fp_to_x80(Fp a);

/* Rounds to f, raising overflow, underflow and inexact; zeros, infinities and NaNs pass. */
Fp fp_round(FpStatus *st, const FpFormat *f, Fp a);
/* The same of m:x / 2^127 * 2^e, x being the bits below m. */
Fp fp_round_wide(FpStatus *st, const FpFormat *f, bool s, int32_t e, uint64_t m, uint64_t x);

/* Two-operand arithmetic, rounded to f. Operands as unpacked from their format; DAZ, NaNs, denormal
   flag handled here. */
Fp fp_add(FpStatus *st, const FpFormat *f, Fp a, Fp b);
Fp fp_sub(FpStatus *st, const FpFormat *f, Fp a, Fp b);
Fp fp_mul(FpStatus *st, const FpFormat *f, Fp a, Fp b);
Fp fp_div(FpStatus *st, const FpFormat *f, Fp a, Fp b);
Fp fp_sqrt(FpStatus *st, const FpFormat *f, Fp a);
/* a * b + c with one rounding; signs of the product and of c flipped on request. */
Fp fp_fma(FpStatus *st, const FpFormat *f, Fp a, Fp b, Fp c, bool neg_prod, bool neg_c);
/* A change of format: quiets NaNs, applies DAZ, rounds. */
Fp fp_convert(FpStatus *st, const FpFormat *f, Fp a);
/* To an integral value in the same format, by st->rm. Raises inexact. */
Fp fp_rint(FpStatus *st, Fp a);
/* To a signed integer of bits (16, 32, 64); out of range, NaN: the integer indefinite and FPX_I. */
int64_t fp_to_int(FpStatus *st, Fp a, unsigned bits);

typedef enum { FP_LT = -1, FP_EQ = 0, FP_GT = 1, FP_UNORD = 2 } FpOrder;
/* quiet: only signalling NaNs raise FPX_I (UCOMIS, FUCOM); else every NaN does. */
FpOrder fp_compare(FpStatus *st, Fp a, Fp b, bool quiet);

Fp fp_default_nan(void);
/* The result when a or b is a NaN (or unsupported): by SSE or x87 rules; raises FPX_I for signalling ones. */
Fp fp_nan2(FpStatus *st, Fp a, Fp b);
static inline bool fp_is_nan(Fp a) { return a.cls >= FPC_QNAN; }
/* Denormal operand: DAZ makes it a zero, else FPX_D. */
Fp fp_operand(FpStatus *st, Fp a);

#endif
