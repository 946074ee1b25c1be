/*
 * vec_crypto: AES-NI, PCLMULQDQ, SHA, and the 256-bit VAES and VPCLMULQDQ.
 *
 * FIPS 197 and FIPS 180-4; SDM vol. 2 for the roles of the operands. The S-boxes are computed once,
 * from the definition.
 */
#include "target/x86/vec_int.h"

#define DEFINE_VEC(name) VEC_INLINE void op_##name(X86Cpu *c, const X86Insn *i, X86Vec *r, const X86Vec *a, const X86Vec *b, unsigned n)

typedef struct AesTables { uint8_t sbox[256], inv[256]; } AesTables;

static uint8_t xtime(uint8_t v) { return v << 1 ^ (v >> 7) * 0x1b; }
static uint8_t gf_mul(uint8_t a, uint8_t b)
{
    uint8_t r = 0;

    for (; b; b >>= 1, a = xtime(a))
        r ^= b & 1 ? a : 0;
    return r;
}

/* p and q run through the field as inverses of each other (powers of 3 and of 1/3). */
static gpointer make_tables(gpointer unused)
{
    static AesTables t;
    uint8_t p = 1, q = 1, x;

    do {
        p ^= xtime(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        q ^= (q >> 7) * 0x09;
        x = q ^ (q << 1 | q >> 7) ^ (q << 2 | q >> 6) ^ (q << 3 | q >> 5) ^ (q << 4 | q >> 4);
        t.sbox[p] = x ^ 0x63;
    } while (p != 1);
    t.sbox[0] = 0x63;
    for (unsigned k = 0; k < 256; k++)
        t.inv[t.sbox[k]] = k;
    return &t;
}
static const AesTables *aes_tables(void)
{
    static GOnce once = G_ONCE_INIT;

    return g_once(&once, make_tables, NULL);
}

/* ShiftRows and SubBytes of one block: byte (row, column) is at 4 * column + row. */
static void shift_sub(uint8_t *r, const uint8_t *s, const uint8_t *box, bool inverse)
{
    for (unsigned k = 0; k < 16; k++) {
        unsigned row = k & 3, from = (k >> 2) + (inverse ? 4 - row : row);

        r[k] = box[s[4 * (from & 3) + row]];
    }
}
static void mix_columns(uint8_t *s)
{
    for (unsigned k = 0; k < 16; k += 4) {
        uint8_t a = s[k], b = s[k + 1], c = s[k + 2], d = s[k + 3], all = a ^ b ^ c ^ d;

        s[k] ^= all ^ xtime(a ^ b);
        s[k + 1] ^= all ^ xtime(b ^ c);
        s[k + 2] ^= all ^ xtime(c ^ d);
        s[k + 3] ^= all ^ xtime(d ^ a);
    }
}
static void inv_mix_columns(uint8_t *s)
{
    for (unsigned k = 0; k < 16; k += 4) {
        uint8_t o[4];

        for (unsigned j = 0; j < 4; j++)
            o[j] = gf_mul(s[k + j], 14) ^ gf_mul(s[k + ((j + 1) & 3)], 11) ^ gf_mul(s[k + ((j + 2) & 3)], 13) ^
                   gf_mul(s[k + ((j + 3) & 3)], 9);
        memcpy(s + k, o, 4);
    }
}

#define AES_ROUND(name, box, inverse, mix)                                      \
    DEFINE_VEC(name)                                                            \
    {                                                                           \
        const AesTables *t = aes_tables();                                      \
        unsigned k, j;                                                          \
                                                                                \
        for (k = 0; k < n; k += 16) {                                           \
            shift_sub(&r->b[k], &a->b[k], t->box, inverse);                     \
            mix;                                                                \
            for (j = 0; j < 2; j++)                                             \
                r->q[k / 8 + j] ^= b->q[k / 8 + j];                             \
        }                                                                       \
    }                                                                           \
    VEC_SSE_AVX(name, op_##name)
AES_ROUND(aesenc, sbox, false, mix_columns(&r->b[k]))
AES_ROUND(aesenclast, sbox, false, )
AES_ROUND(aesdec, inv, true, inv_mix_columns(&r->b[k]))
AES_ROUND(aesdeclast, inv, true, )

DEFINE_VEC(aesimc)
{
    memcpy(r, b, 16);
    inv_mix_columns(r->b);
}
static uint32_t sub_word(const AesTables *t, uint32_t v)
{
    return t->sbox[v & 0xff] | t->sbox[v >> 8 & 0xff] << 8 | t->sbox[v >> 16 & 0xff] << 16 | (uint32_t)t->sbox[v >> 24] << 24;
}
static uint32_t ror32(uint32_t v, unsigned n) { return v >> n | v << (32 - n); }
static uint32_t rol32(uint32_t v, unsigned n) { return v << n | v >> (32 - n); }
DEFINE_VEC(aeskeygenassist)
{
    const AesTables *t = aes_tables();
    uint32_t x1 = sub_word(t, b->d[1]), x3 = sub_word(t, b->d[3]), rcon = i->imm & 0xff;

    r->d[0] = x1;
    r->d[1] = ror32(x1, 8) ^ rcon;
    r->d[2] = x3;
    r->d[3] = ror32(x3, 8) ^ rcon;
}
VEC_SSE(aesimc, op_aesimc)
VEC_AVX128_SZ(aesimc, op_aesimc, MS_FULL)
VEC_SSE(aeskeygenassist, op_aeskeygenassist)
VEC_AVX128_SZ(aeskeygenassist, op_aeskeygenassist, MS_FULL)

DEFINE_VEC(pclmulqdq)
{
    unsigned k, j;

    for (k = 0; k < n / 8; k += 2) {
        uint64_t x = a->q[k + (i->imm & 1)], y = b->q[k + (i->imm >> 4 & 1)];
        unsigned __int128 p = 0;

        for (j = 0; j < 64; j++) {
            if (y >> j & 1)
                p ^= (unsigned __int128)x << j;
        }
        r->q[k] = p;
        r->q[k + 1] = p >> 64;
    }
}
VEC_SSE_AVX(pclmulqdq, op_pclmulqdq)

/* The SHA instructions do not ask for aligned memory operands on AMD; Intel documents #GP. */
/* SHA-1: the state is A B C D from the high dword down. */
DEFINE_VEC(sha1rnds4)
{
    static const uint32_t k[4] = { 0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6 };
    unsigned fn = i->imm & 3, j;
    uint32_t A = a->d[3], B = a->d[2], C = a->d[1], D = a->d[0], E = 0, f, t;

    for (j = 0; j < 4; j++) {
        f = fn == 0 ? (B & C) ^ (~B & D) : fn == 2 ? (B & C) ^ (B & D) ^ (C & D) : B ^ C ^ D;
        t = f + rol32(A, 5) + b->d[3 - j] + E + k[fn];
        E = D;
        D = C;
        C = rol32(B, 30);
        B = A;
        A = t;
    }
    r->d[3] = A;
    r->d[2] = B;
    r->d[1] = C;
    r->d[0] = D;
}
DEFINE_VEC(sha1nexte)
{
    memcpy(r, b, 16);
    r->d[3] += rol32(a->d[3], 30);
}
DEFINE_VEC(sha1msg1)
{
    r->d[3] = a->d[1] ^ a->d[3];
    r->d[2] = a->d[0] ^ a->d[2];
    r->d[1] = b->d[3] ^ a->d[1];
    r->d[0] = b->d[2] ^ a->d[0];
}
DEFINE_VEC(sha1msg2)
{
    r->d[3] = rol32(a->d[3] ^ b->d[2], 1);
    r->d[2] = rol32(a->d[2] ^ b->d[1], 1);
    r->d[1] = rol32(a->d[1] ^ b->d[0], 1);
    r->d[0] = rol32(a->d[0] ^ r->d[3], 1);
}
static uint32_t small0(uint32_t v) { return ror32(v, 7) ^ ror32(v, 18) ^ v >> 3; }
static uint32_t small1(uint32_t v) { return ror32(v, 17) ^ ror32(v, 19) ^ v >> 10; }
static uint32_t big0(uint32_t v) { return ror32(v, 2) ^ ror32(v, 13) ^ ror32(v, 22); }
static uint32_t big1(uint32_t v) { return ror32(v, 6) ^ ror32(v, 11) ^ ror32(v, 25); }
/* Two rounds; XMM0 holds W + K. a: C D G H, b: A B E F from the high dword down. */
DEFINE_VEC(sha256rnds2)
{
    uint32_t A = b->d[3], B = b->d[2], C = a->d[3], D = a->d[2], E = b->d[1], F = b->d[0], G = a->d[1], H = a->d[0], t, u;

    for (unsigned j = 0; j < 2; j++) {
        t = ((E & F) ^ (~E & G)) + big1(E) + c->vec[0].d[j] + H;
        u = t + ((A & B) ^ (A & C) ^ (B & C)) + big0(A);
        H = G;
        G = F;
        F = E;
        E = t + D;
        D = C;
        C = B;
        B = A;
        A = u;
    }
    r->d[3] = A;
    r->d[2] = B;
    r->d[1] = E;
    r->d[0] = F;
}
DEFINE_VEC(sha256msg1)
{
    for (unsigned j = 0; j < 3; j++)
        r->d[j] = a->d[j] + small0(a->d[j + 1]);
    r->d[3] = a->d[3] + small0(b->d[0]);
}
DEFINE_VEC(sha256msg2)
{
    r->d[0] = a->d[0] + small1(b->d[2]);
    r->d[1] = a->d[1] + small1(b->d[3]);
    r->d[2] = a->d[2] + small1(r->d[0]);
    r->d[3] = a->d[3] + small1(r->d[1]);
}
VEC_SSE_SZ(sha1rnds4, op_sha1rnds4, MS_FULL, 0)
VEC_SSE_SZ(sha1nexte, op_sha1nexte, MS_FULL, 0)
VEC_SSE_SZ(sha1msg1, op_sha1msg1, MS_FULL, 0)
VEC_SSE_SZ(sha1msg2, op_sha1msg2, MS_FULL, 0)
VEC_SSE_SZ(sha256rnds2, op_sha256rnds2, MS_FULL, 0)
VEC_SSE_SZ(sha256msg1, op_sha256msg1, MS_FULL, 0)
VEC_SSE_SZ(sha256msg2, op_sha256msg2, MS_FULL, 0)
