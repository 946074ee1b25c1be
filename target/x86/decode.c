/*
 * decode: turns instruction bytes into an X86Insn by the rows of insns.def.
 *
 * Intel SDM volume 2, chapter 2 (prefixes, REX, VEX, modrm, SIB) and appendix A. No memory
 * is touched but the bytes given. An instruction of more than 15 bytes is #GP, anything the
 * list does not know is #UD.
 */
#include "target/x86/decode_int.h"
#include "target/x86/cpuid.h"
#include "util/bytes.h"

#include <string.h>

typedef struct Cursor {
    const DecodeIndex *index;
    const uint8_t *bytes;
    unsigned pos, end;          /* end: of what may be read, at most 15 */
    DecodeResult bad;           /* DECODE_OK until a byte was missing or one too many */
    bool cs64, has66, has67, lock;
    uint8_t rep;                /* last of F2, F3; or 0 */
    uint8_t rex;                /* REX bits W R X B as 8 4 2 1 (from VEX too) */
    bool rex_given, vex, vexl;
    uint8_t vvvv;               /* four bits, not inverted; 32-bit code uses three as a register number */
    int seg;                    /* override or -1 */
    uint32_t mode;
    uint8_t map, opcode, modrm;
} Cursor;

static inline uint8_t next(Cursor *k)
{
    if (__builtin_expect(k->pos >= k->end, 0)) {
        if (k->bad == DECODE_OK)
            k->bad = k->pos >= 15 ? DECODE_TOO_LONG : DECODE_MORE;
        return 0;
    }
    return k->bytes[k->pos++];
}

static inline uint64_t next_le(Cursor *k, unsigned n)
{
    uint64_t v = 0;

    if (__builtin_expect(k->pos + n <= k->end, 1)) {
        const uint8_t *p = k->bytes + k->pos;

        k->pos += n;
        switch (n) {
        case 1: return *p;
        case 2: return ld16_le(p);
        case 4: return ld32_le(p);
        default: return ld64_le(p);
        }
    }
    for (unsigned b = 0; b < n; b++)
        v |= (uint64_t)next(k) << 8 * b;
    return v;
}

static inline int64_t next_signed(Cursor *k, unsigned n)
{
    return (int64_t)(next_le(k, n) << (64 - 8 * n)) >> (64 - 8 * n);
}

/* Reads prefixes; returns the first byte after them. */
static uint8_t read_prefixes(Cursor *k)
{
    /* Bit b & 31 of word b >> 5: a legacy prefix. */
    static const uint32_t prefix[8] = { 0, 0x40404040, 0, 0xf0, 0, 0, 0, 0x000d0000 };

    for (;;) {
        uint8_t b = next(k);

        if (k->bad)
            return 0;
        if (!(prefix[b >> 5] >> (b & 31) & 1)) {
            if (!k->cs64 || (b & 0xf0) != 0x40)
                return b;
            k->rex = b & 15;
            k->rex_given = true;
            continue;
        }
        k->rex = 0;                     /* REX counts only right before the opcode */
        k->rex_given = false;
        switch (b) {
        case 0x26: case 0x2e: case 0x36: case 0x3e:     /* ignored in 64-bit code */
            if (!k->cs64)
                k->seg = b >> 3 & 3;
            break;
        case 0x64: case 0x65: k->seg = b == 0x64 ? S_FS : S_GS; break;
        case 0x66: k->has66 = true; break;
        case 0x67: k->has67 = true; break;
        case 0xf0: k->lock = true; break;
        default: k->rep = b; break;     /* F2, F3 */
        }
    }
}

/* VEX after its first byte b; false: #UD. */
static bool read_vex(Cursor *k, uint8_t b)
{
    static const uint8_t pp_rep[4] = { 0, 0, 0xf3, 0xf2 };
    uint8_t p1 = next(k), p2 = p1, sel = 1;

    if (k->rex_given || k->has66 || k->rep || k->lock || !(k->mode & MODE_PE) || k->mode & MODE_VM86)
        return false;
    k->rex = ~p1 >> 5 & 4;
    if (b == 0xc4) {
        p2 = next(k);
        sel = p1 & 31;
        k->rex = (~p1 >> 5 & 7) | (p2 >> 4 & 8);
    }
    if (!k->cs64)
        k->rex &= 8;
    k->vex = true;
    k->vvvv = ~p2 >> 3 & 15;
    k->vexl = p2 & 4;
    k->rep = pp_rep[p2 & 3];
    k->has66 = (p2 & 3) == 1;
    if (sel < 1 || sel > 3)
        return false;
    k->map = MAP_V0F + sel - 1;
    k->opcode = next(k);
    return true;
}

static bool read_opcode(Cursor *k)
{
    uint8_t b = read_prefixes(k);

    if (k->bad)
        return true;
    if (b == 0xc4 || b == 0xc5) {
        uint8_t peek = k->pos < k->end ? k->bytes[k->pos] : next(k);

        if (k->bad)
            return true;
        if (k->cs64 || peek >= 0xc0)
            return read_vex(k, b);
    }
    k->map = MAP_1;
    if (b == 0x0f) {
        k->map = MAP_0F;
        b = next(k);
        if (b == 0x38 || b == 0x3a) {
            k->map = b == 0x38 ? MAP_38 : MAP_3A;
            b = next(k);
        }
    }
    k->opcode = b;
    return true;
}

static bool prefix_fits(const Cursor *k, unsigned pfx)
{
    switch (pfx) {
    case P_NP: return !k->has66 && !k->rep;
    case P_66: return k->has66 && !k->rep;
    case P_F3: return k->rep == 0xf3;
    case P_F2: return k->rep == 0xf2;
    case P_NF: return !k->rep;
    default: return true;
    }
}

static bool row_fits(const Cursor *k, const X86Row *r, const X86Model *model)
{
    uint32_t lim = r->lim;

    if (!prefix_fits(k, r->pfx))
        return false;
    if (X_KIND(r->ext) == X_B(0) && (r->ext & 0xff) != k->modrm)
        return false;
    if (lim & (LIM_NO64 | LIM_ONLY64) && !(lim & (k->cs64 ? LIM_ONLY64 : LIM_NO64)))
        return false;
    if (lim & (LIM_W0 | LIM_W1) && !(lim & (k->rex & 8 ? LIM_W1 : LIM_W0)))
        return false;
    if (lim & (LIM_L0 | LIM_L1) && !(lim & (k->vexl ? LIM_L1 : LIM_L0)))
        return false;
    if (lim & LIM_PROT && (k->mode & (MODE_PE | MODE_VM86)) != MODE_PE)
        return false;
    if (lim & LIM_NOB && k->rex & 1)
        return false;
    return !model || x86_model_has(model, r->feat);
}

static const X86Row *find_row(Cursor *k, const X86Model *model)
{
    const DecodeIndex *x = k->index;
    const DecodeOp *op = &x->op[k->map][k->opcode];
    unsigned at = op->list;

    if (!op->defined)
        return NULL;
    if (op->modrm)
        k->modrm = next(k);
    if (k->map == MAP_0F && (k->opcode & 0xfc) == 0x20)
        k->modrm |= 0xc0;               /* MOV CRn, DRn: mod is ignored, the operand is a register */
    if (op->by_digit)
        at = x->lists[at + (k->modrm >= 0xc0) * 8 + (k->modrm >> 3 & 7)];
    for (; x->lists[at] != DECODE_LIST_END; at++)
        if (row_fits(k, &x86_rows[x->lists[at]], model))
            return &x86_rows[x->lists[at]];
    return NULL;
}

static uint8_t operand_size(const Cursor *k, const X86Row *r)
{
    bool w = k->rex & 8 && k->cs64, small = k->has66 && r->pfx != P_66;

    if (r->lim & LIM_BYTE)
        return 1;
    if (r->lim & LIM_OP32 || k->vex || r->cls & (CL_SSE | CL_MMX | CL_AVX))
        return w ? 8 : 4;
    if (r->lim & LIM_MODE)
        return k->cs64 ? 8 : 4;
    if (!k->cs64)
        return !(k->mode & MODE_CS32) != small ? 2 : 4;
    if (r->lim & LIM_F64 || w)
        return 8;
    return small ? 2 : r->lim & LIM_D64 ? 8 : 4;
}

static void memory16(Cursor *k, X86Insn *i)
{
    static const uint8_t base[8] = { R_RBX, R_RBX, R_RBP, R_RBP, R_RSI, R_RDI, R_RBP, R_RBX };
    static const uint8_t index[4] = { R_RSI, R_RDI, R_RSI, R_RDI };
    unsigned mod = k->modrm >> 6, rm = k->modrm & 7;

    i->base = base[rm];
    i->index = rm < 4 ? index[rm] : BASE_NONE;
    if (mod == 0 && rm == 6) {
        i->base = BASE_NONE;
        i->disp = next_signed(k, 2);
    } else if (mod) {
        i->disp = next_signed(k, mod);
    }
    i->seg = i->base == R_RBP ? S_SS : S_DS;
}

static void memory32(Cursor *k, X86Insn *i, bool vsib)
{
    unsigned mod = k->modrm >> 6, rm = k->modrm & 7;

    i->base = rm | (k->rex & 1) << 3;
    if (rm == 4) {
        uint8_t sib = next(k);

        i->base = (sib & 7) | (k->rex & 1) << 3;
        i->index = (sib >> 3 & 7) | (k->rex & 2) << 2;
        i->scale = sib >> 6;
        if (i->index == 4 && !vsib) {
            i->index = BASE_NONE;
            i->scale = 0;
        }
        if ((sib & 7) == 5 && mod == 0)
            i->base = BASE_NONE;
    } else if (rm == 5 && mod == 0) {
        i->base = k->cs64 ? BASE_RIP : BASE_NONE;
    }
    i->seg = i->base == R_RSP || i->base == R_RBP ? S_SS : S_DS;
    if (mod == 1)
        i->disp = next_signed(k, 1);
    else if (mod == 2 || i->base >= BASE_RIP)
        i->disp = next_signed(k, 4);
}

/* False: #UD. */
static bool read_modrm(Cursor *k, const X86Row *r, X86Insn *i)
{
    bool vsib = r->lim & LIM_VSIB;
    const DecodePlan *plan = &k->index->plan[r - x86_rows];

    i->modrm = k->modrm;
    i->reg = k->modrm >> 3 & 7;
    if (!plan->digit)
        i->reg = (i->reg | (k->rex & 4) << 1) & plan->reg_mask;
    if (k->modrm >= 0xc0) {
        i->rm = ((k->modrm & 7) | (k->rex & 1) << 3) & plan->rm_mask;
        return true;
    }
    i->is_reg = 0;
    if (vsib && (i->adsize == 2 || (k->modrm & 7) != 4))
        return false;
    if (i->adsize == 2)
        memory16(k, i);
    else
        memory32(k, i, vsib);
    if (k->seg >= 0)
        i->seg = k->seg;
    return true;
}

static unsigned imm_bytes(unsigned opnd, const X86Insn *i)
{
    switch (x86_opnds[opnd].size) {
    case OS_B: return 1;
    case OS_W: return 2;
    case OS_Z: return i->opsize == 2 ? 2 : 4;
    default: return i->opsize;
    }
}

static void read_immediate(Cursor *k, unsigned opnd, X86Insn *i)
{
    switch (x86_opnds[opnd].kind) {
    case OK_IMM:
        if (x86_opnds[opnd].size == OS_B || x86_opnds[opnd].size == OS_W)
            i->imm = next_le(k, imm_bytes(opnd, i));
        else
            i->imm = next_signed(k, imm_bytes(opnd, i));
        break;
    case OK_IMMS:
    case OK_REL:
        i->imm = next_signed(k, imm_bytes(opnd, i));
        break;
    case OK_IMM2: i->imm2 = next(k); break;
    case OK_ONE: i->imm = 1; break;
    case OK_FAR:
        i->imm = next_le(k, i->opsize);
        i->disp = next_le(k, 2);
        break;
    case OK_MOFFS:
        i->imm = next_le(k, i->adsize);
        i->is_reg = 0;
        break;
    case OK_XIS4:
        i->imm = next(k);
        i->is4 = i->imm >> 4 & (k->cs64 ? 15 : 7);
        break;
    default: break;
    }
}

/* False: #UD. */
static inline bool check_operands(const Cursor *k, const DecodePlan *plan, const X86Insn *i)
{
    if (k->vex && !plan->uses_vvvv && k->vvvv != 0)
        return false;
    return !k->lock || (plan->lock && !i->is_reg);
}

/* Which row stands for r in this mode: r itself, or one that raises. */
static inline unsigned available_row(const X86Row *r, uint32_t mode)
{
    if (__builtin_expect(!(mode & (MODE_SSE_UD | MODE_AVX_UD | MODE_SSE_NM | MODE_FPU_NM)), 1))
        return r - x86_rows;
    if (r->cls & CL_SSE && mode & MODE_SSE_UD)
        return X86_ROW_UD;
    if (r->cls & CL_AVX && mode & MODE_AVX_UD)
        return X86_ROW_UD;
    if (r->cls & (CL_SSE | CL_AVX) && mode & MODE_SSE_NM)
        return X86_ROW_NM;
    if (r->cls & (CL_X87 | CL_MMX) && mode & MODE_FPU_NM)
        return X86_ROW_NM;
    return r - x86_rows;
}

static inline void choose_body(X86Insn *i, unsigned row, bool vector)
{
    const X86Row *r = &x86_rows[row];
    unsigned k = vector ? (i->flags & INSN_VL256 ? 1 : 0) : __builtin_ctz(i->opsize);

    i->row = row;
    i->fn = i->is_reg ? r->body->reg[k] : r->body->mem[k];
}

static void op_too_long(X86Cpu *c, const X86Insn *i)
{
    x86_raise_err(c, EXC_GP, 0);
}

static DecodeResult fail(Cursor *k, X86Insn *i, DecodeResult why)
{
    i->len = k->pos ? k->pos : 1;
    i->opcode = k->opcode;
    i->map = k->map;
    i->is_reg = 1;
    choose_body(i, X86_ROW_UD, false);
    if (why == DECODE_TOO_LONG)
        i->fn = op_too_long;
    return why;
}

static uint8_t insn_flags(const Cursor *k, const X86Row *r)
{
    bool free_rep = r->pfx == P_ANY && !k->vex;

    return (k->lock ? INSN_LOCK : 0) | (free_rep && k->rep == 0xf3 ? INSN_REP : 0) |
           (free_rep && k->rep == 0xf2 ? INSN_REPNE : 0) | (k->rex_given ? INSN_REX : 0) |
           (k->vex ? INSN_VEX : 0) | (k->rex & 8 ? INSN_REXW : 0) |
           (k->seg >= 0 ? INSN_SEGOVR : 0) | (k->vexl ? INSN_VL256 : 0);
}

DecodeResult x86_decode(const uint8_t *bytes, unsigned avail, uint32_t mode,
                        const struct X86Model *model, X86Insn *i)
{
    Cursor k = { .index = x86_decode_index(), .bytes = bytes, .end = avail < 15 ? avail : 15, .mode = mode, .seg = -1,
                 .cs64 = mode & MODE_CS64 };
    const DecodePlan *plan;
    const X86Row *r;
    bool ok;

    *i = (X86Insn){ .opsize = 4, .adsize = 4, .is_reg = 1, .base = BASE_NONE, .index = BASE_NONE, .seg = S_DS };
    ok = read_opcode(&k);
    if (k.bad)
        return fail(&k, i, k.bad);
    r = ok ? find_row(&k, model) : NULL;
    if (k.bad)
        return fail(&k, i, k.bad);
    if (!r)
        return fail(&k, i, DECODE_UD);
    plan = &k.index->plan[r - x86_rows];
    i->opsize = operand_size(&k, r);
    i->adsize = k.cs64 ? k.has67 ? 4 : 8 : !(mode & MODE_CS32) != k.has67 ? 2 : 4;
    i->flags = insn_flags(&k, r);
    i->vvvv = k.vvvv & (k.cs64 ? 15 : 7);
    if (k.seg >= 0)
        i->seg = k.seg;
    if (r->lim & LIM_PLUSR)
        i->rm = (k.opcode & 7) | (k.rex & 1) << 3;
    ok = !k.index->op[k.map][k.opcode].modrm || read_modrm(&k, r, i);
    if (plan->imm[0])
        read_immediate(&k, plan->imm[0], i);
    if (plan->imm[1])
        read_immediate(&k, plan->imm[1], i);
    if (k.bad)
        return fail(&k, i, k.bad);
    if (!ok || !check_operands(&k, plan, i))
        return fail(&k, i, DECODE_UD);
    i->len = k.pos;
    i->opcode = k.opcode;
    i->map = k.map;
    choose_body(i, available_row(r, mode), plan->vector);
    return i->row == X86_ROW_UD ? DECODE_UD : DECODE_OK;
}
