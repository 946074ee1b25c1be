/*
 * copy: emission of instructions the host executes as they are.
 *
 * The same opcode is encoded again with guest registers replaced by their host registers and the
 * memory operand by the checked host address. Guest R9-R11 pass through scratch registers.
 */
#include "accel/jit/trans_int.h"

#include <string.h>

static unsigned kind_of(const TInsn *x, unsigned n) { return x86_opnds[x->row->ops[n]].kind; }
static bool is_mem_kind(unsigned kind) { return kind == OK_RM || kind == OK_M || kind == OK_XRM || kind == OK_MMXRM; }
static bool no_modrm(const TInsn *x)
{
    if (X_KIND(x->row->ext) != X_ANY)
        return false;
    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++) {
        unsigned kind = kind_of(x, n);

        if (kind != OK_Z && kind != OK_IMM && kind != OK_IMMS && kind != OK_IMM2 && kind != OK_ONE && kind != OK_FIXED)
            return false;
    }
    return true;
}

static bool high_byte_reg(const TInsn *x, unsigned n)
{
    const X86Insn *i = x->i;
    unsigned kind = kind_of(x, n), r = kind == OK_REG ? i->reg : i->rm;

    if (i->flags & (INSN_REX | INSN_VEX) || x86_opnds[x->row->ops[n]].size != OS_B)
        return false;
    if ((kind == OK_RM && !i->is_reg) || (kind != OK_RM && kind != OK_REG && kind != OK_R && kind != OK_Z))
        return false;
    return r >= 4 && r < 8;
}

static unsigned mem_operand_index(const TInsn *x)
{
    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++)
        if (is_mem_kind(kind_of(x, n)))
            return n;
    return 4;
}

/* Guest registers of the encoding that live in memory. */
static unsigned special_count(const TInsn *x)
{
    const X86Insn *i = x->i;
    uint32_t seen = 0;

    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++) {
        unsigned kind = kind_of(x, n);

        if (kind == OK_REG)
            seen |= 1u << i->reg;
        else if ((kind == OK_RM && i->is_reg) || kind == OK_R || kind == OK_Z)
            seen |= 1u << i->rm;
        else if (kind == OK_VV)
            seen |= 1u << i->vvvv;
    }
    return __builtin_popcount(seen & (7u << R_R9));
}

static bool host_exact_opcode(const Tr *t, const TInsn *x)
{
    const X86Insn *i = x->i;

    if (i->map == MAP_0F && i->opcode == 0xae && !i->is_reg)
        return false;           /* FXSAVE, LDMXCSR and their like */
    if (i->map == MAP_V0F && (i->opcode == 0xae || (i->opcode == 0x77 && !t->code64)))
        return false;           /* VZEROALL outside 64-bit code has eight registers */
    if (i->map == MAP_0F && i->opcode == 0xc7 && i->is_reg)
        return false;
    if ((i->map == MAP_0F || i->map == MAP_V0F) && i->opcode == 0xf7)
        return false;           /* MASKMOV: implicit address */
    return true;
}

bool copy_ok(const Tr *t, const TInsn *x)
{
    const X86Insn *i = x->i;
    const X86Row *r = x->row;
    unsigned m = mem_operand_index(x);
    bool high = false;

    if (r->emit != EMIT_COPY && !(is_bit_string(i) && i->is_reg))
        return false;
    if (r->lim & (LIM_VSIB | LIM_NOSEGLIM) || !host_exact_opcode(t, x))
        return false;
    if (r->cls & (CL_X87 | CL_MMX) && t->uses != USES_FPU)
        return false;
    for (unsigned n = 0; n < 4 && r->ops[n]; n++) {
        unsigned kind = kind_of(x, n);

        if (kind == OK_SEG || kind == OK_CR || kind == OK_DR || kind == OK_STRS || kind == OK_STRD || kind == OK_FAR ||
            kind == OK_MOFFS || kind == OK_REL)
            return false;
        high |= high_byte_reg(x, n);
    }
    if (m < 4 && !i->is_reg)
        return !high && mem_ok(t, i) && x86_opnd_size(r->ops[m], i) && special_count(x) <= 1;
    if (high) {                 /* fine as long as nothing needs a REX prefix */
        for (unsigned n = 0; n < 4 && r->ops[n]; n++) {
            unsigned kind = kind_of(x, n), g = kind == OK_REG ? i->reg : i->rm;

            if ((kind == OK_RM || kind == OK_REG || kind == OK_R || kind == OK_Z) && !high_byte_reg(x, n) &&
                (g >= 8 || g == R_RSP))
                return false;
        }
    }
    return special_count(x) <= 2;
}

typedef struct Raw {            /* the parts of the guest's bytes that are kept */
    uint16_t flags;             /* ENC_* */
    uint8_t modrm, vex;         /* modrm byte; VEX: last prefix byte */
    const uint8_t *imm;
    uint8_t imm_len;
} Raw;

static bool legacy_prefix(uint8_t b)
{
    return b == 0x66 || b == 0xf2 || b == 0xf3 || b == 0xf0 || b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e ||
           (b >= 0x64 && b <= 0x67);
}

static const uint8_t *raw_vex(const uint8_t *p, Raw *w)
{
    bool three = *p == 0xc4;

    w->vex = p[three ? 2 : 1];
    w->flags = ENC_VEX | (w->vex & 4 ? ENC_L : 0) | (three && w->vex & 0x80 ? ENC_W : 0);
    w->flags |= (const uint16_t[]) { 0, ENC_66, ENC_F3, ENC_F2 }[w->vex & 3];
    return p + (three ? 3 : 2);
}

static const uint8_t *raw_prefixes(const TInsn *x, bool code64, Raw *w)
{
    const uint8_t *p = x->raw;
    uint8_t rex = 0;

    for (;; p++) {
        if (*p == 0x66)
            w->flags |= ENC_66;
        else if (*p == 0xf2)
            w->flags = (w->flags & ~ENC_F3) | ENC_F2;
        else if (*p == 0xf3)
            w->flags = (w->flags & ~ENC_F2) | ENC_F3;
        else if (*p == 0xf0)
            w->flags |= ENC_LOCK;
        if (legacy_prefix(*p))
            rex = 0;            /* a REX counts only right before the opcode */
        else if (code64 && (*p & 0xf0) == 0x40)
            rex = *p;
        else
            break;
    }
    if (x->i->flags & INSN_VEX)
        return raw_vex(p, w);
    if (rex)
        w->flags |= ENC_REX | (rex & 8 ? ENC_W : 0);
    if (x->i->map != MAP_1)
        p += x->i->map == MAP_0F ? 1 : 2;
    return p;
}

/* Immediate bytes are what follows modrm, SIB and displacement. */
static void raw_parse(const TInsn *x, bool code64, Raw *w)
{
    const uint8_t *p = raw_prefixes(x, code64, w) + 1;

    if (!no_modrm(x)) {
        unsigned mod = *p >> 6, rm = *p & 7;

        w->modrm = *p++;
        if (mod != 3) {
            unsigned disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;

            if (rm == 4) {
                if (mod == 0 && (*p & 7) == 5)
                    disp = 4;
                p++;
            } else if (mod == 0 && rm == 5) {
                disp = 4;
            }
            p += disp;
        }
    }
    w->imm = p;
    w->imm_len = x->raw + x->i->len - p;
}

typedef struct Swap { uint8_t guest[2], scratch[2], n; bool put[2], loaded[2]; } Swap;

/* XOR or SUB of a register with itself. */
static bool clears(const X86Insn *i)
{
    uint8_t op = i->opcode;

    return i->map == MAP_1 && (op == 0x31 || op == 0x33 || op == 0x29 || op == 0x2b) && i->is_reg && i->reg == i->rm;
}

/* Is the first operand written whole without being read? Then its old value need not be fetched. */
static bool writes_only(const TInsn *x)
{
    const X86Insn *i = x->i;
    uint8_t op = i->opcode;

    if (i->opsize < 4)
        return false;
    if (i->map == MAP_1)
        return op == 0x8b || (op == 0x89 && i->is_reg) || op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0xb8 && op <= 0xbf) ||
               (op == 0xc7 && i->is_reg) || clears(i);
    return i->map == MAP_0F && (op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf);
}

/* Host register for guest register g of an operand; fetches into a scratch if needed. */
static unsigned swap_in(Tr *t, Swap *s, unsigned g, bool written, bool read, const uint8_t *free_regs)
{
    int h = tr_host(g);

    if (h >= 0)
        return h;
    for (unsigned n = 0; n < s->n; n++) {
        if (s->guest[n] == g) {
            s->put[n] |= written;
            if (read && !s->loaded[n])
                e_ld(&t->e, true, s->scratch[n], m_gs(GS_GPR(g)));
            s->loaded[n] |= read;
            return s->scratch[n];
        }
    }
    unsigned r = free_regs[s->n];
    if (r == S1)
        t->s1_group = -1;
    s->guest[s->n] = g;
    s->scratch[s->n] = r;
    s->loaded[s->n] = read;
    s->put[s->n++] = written;
    if (read)
        e_ld(&t->e, true, r, m_gs(GS_GPR(g)));
    return r;
}

static void swap_out(Tr *t, const Swap *s)
{
    for (unsigned n = 0; n < s->n; n++)
        if (s->put[n])
            e_st(&t->e, true, m_gs(GS_GPR(s->guest[n])), s->scratch[n]);
}

static bool writes_second(const X86Insn *i)
{
    return (i->map == MAP_1 && (i->opcode == 0x86 || i->opcode == 0x87 || (i->opcode >= 0x90 && i->opcode < 0x98))) ||
           (i->map == MAP_0F && (i->opcode == 0xc0 || i->opcode == 0xc1)) || (i->map == MAP_V38 && i->opcode == 0xf6);
}

static bool writes_operand(const TInsn *x, unsigned n)
{
    return n == 0 ? !(x->row->cls & CL_R) : n == 1 && writes_second(x->i);
}

/* Can x work on the register r/m where X86Cpu keeps it? Not if that leaves the upper half as it was, or where the
   memory form means something else. */
static bool in_place(const TInsn *x, unsigned n)
{
    const X86Insn *i = x->i;
    uint8_t op = i->opcode;

    if (i->map == MAP_1 ? op == 0x86 || op == 0x87 || (op >= 0xd8 && op <= 0xdf) :
        i->map != MAP_0F || (op != 0xaf && (op & 0xf0) != 0x40 && op != 0xb6 && op != 0xb7 && op != 0xbe && op != 0xbf))
        return false;
    return !clears(i) && (!writes_operand(x, n) || i->opsize == 8);
}

/* Fills reg, vvvv and a register r/m of y from x's operands. */
static void map_registers(Tr *t, const TInsn *x, Enc *y, Swap *s, const uint8_t *free_regs)
{
    const X86Insn *i = x->i;

    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++) {
        unsigned kind = kind_of(x, n);
        bool wr = writes_operand(x, n), byte = x86_opnds[x->row->ops[n]].size == OS_B;
        bool rd = !writes_only(x) || (n && !clears(x->i));

        if (kind == OK_REG && !high_byte_reg(x, n)) {
            y->reg = swap_in(t, s, i->reg, wr, rd, free_regs);
            if (byte && i->reg >= 4)
                y->flags |= ENC_REX;
        } else if (kind == OK_RM && i->is_reg && tr_host(i->rm) < 0 && in_place(x, n)) {
            y->rm = h_mem(m_gs(GS_GPR(i->rm)));
        } else if (((kind == OK_RM && i->is_reg) || kind == OK_R || kind == OK_Z) && !high_byte_reg(x, n)) {
            y->rm = h_reg(swap_in(t, s, i->rm, wr, rd, free_regs));
            if (byte && i->rm >= 4)
                y->flags |= ENC_REX;
        } else if (kind == OK_VV) {
            y->vvvv = swap_in(t, s, i->vvvv, wr, true, free_regs);
        }
    }
}

static void emit_no_modrm(Tr *t, const TInsn *x, const Enc *y)
{
    Emit *e = &t->e;
    bool z = x->row->lim & LIM_PLUSR;
    unsigned r = z ? y->rm.reg : 0;
    uint8_t op = x->i->opcode;

    if (!t->code64 && x->i->map == MAP_1 && op >= 0x40 && op < 0x50) {     /* INC, DEC: REX in 64-bit code */
        e_enc(e, &(Enc) { .flags = y->flags, .op = 0xff, .reg = op >= 0x48, .rm = h_reg(r) });
        return;
    }
    if (y->flags & ENC_VEX) {
        e8(e, 0xc5);
        e8(e, 0xf8 | (y->flags & ENC_L ? 4 : 0));
        e8(e, op);
        return;
    }
    if (y->flags & ENC_66)
        e8(e, 0x66);
    if (y->flags & ENC_F2)
        e8(e, 0xf2);
    if (y->flags & ENC_F3)
        e8(e, 0xf3);
    if (r >= 8 || y->flags & (ENC_W | ENC_REX))
        e8(e, 0x40 | (y->flags & ENC_W ? 8 : 0) | r >> 3);
    if (x->i->map == MAP_0F)
        e8(e, 0x0f);
    e8(e, z ? (op & ~7) | (r & 7) : op);
    for (unsigned n = 0; n < y->imm_len; n++)
        e8(e, y->imm[n]);
}

static Enc start_enc(const TInsn *x, const Raw *w)
{
    const X86Insn *i = x->i;
    unsigned map = i->map;
    Enc y = { .flags = w->flags & ~ENC_REX, .op = i->opcode, .imm_len = MIN(w->imm_len, 8) };

    y.map = map == MAP_1 ? 0 : map == MAP_0F || map == MAP_V0F ? 1 : map == MAP_38 || map == MAP_V38 ? 2 : 3;
    y.reg = X_KIND(x->row->ext) >= 0x300 && !(i->flags & INSN_VEX) ? (w->modrm >> 3 & 7) : i->reg;
    if (i->flags & INSN_VEX) {
        y.vvvv = ~w->vex >> 3 & 15;
        if (X_KIND(x->row->ext) >= 0x300)
            y.reg = w->modrm >> 3 & 7;
    }
    y.rm = h_reg(i->rm);
    memcpy(y.imm, w->imm, y.imm_len);
    return y;
}

/* 32-bit code ignores what the copy in 64-bit code would not: W where it only picks the size of a
   general operand, and the fourth bit of register numbers in vvvv and is4. */
static void narrow_vex(const TInsn *x, Enc *y)
{
    if (!(x->row->lim & LIM_W1))
        y->flags &= ~ENC_W;
    y->vvvv &= 7;
    for (unsigned n = 0; n < 4 && x->row->ops[n]; n++)
        if (x86_opnds[x->row->ops[n]].kind == OK_XIS4)
            y->imm[0] &= 0x7f;
}

/* Does x write part of the flags, or read them: then live ones must be in place. */
static bool needs_host_flags(const TInsn *x) { return x->touches && x->live_in; }

static void emit_memory(Tr *t, unsigned k, Enc *y, unsigned m)
{
    static const uint8_t one[2] = { S0, S0 };
    const TInsn *x = &t->t[k];
    bool write = m == 0 && !(x->row->cls & CL_R);
    Swap s = { .n = 0 };
    HMem a = mem_operand(t, k, x86_opnd_size(x->row->ops[m], x->i), write);
    uint32_t changed = x->touches ? 0 : fl_gpr_written(x);
    bool lea = (special_count(x) && !writes_only(x)) || (needs_host_flags(x) && t->home != FH_HOST) ||
               fl_writes_emits(t, changed, x->live_out);

    if (lea && a.index == S0) {     /* free r10 */
        e_lea(&t->e, true, S1, a);
        t->s1_group = -1;
        a = m_base(S1, 0);
    }
    if (needs_host_flags(x))
        fl_host(t, S0);
    fl_writes(t, changed, x->live_out, S0);
    map_registers(t, x, y, &s, one);
    y->rm = h_mem(a);
    tr_mark(t, k);
    e_enc(&t->e, y);
    swap_out(t, &s);
    if (x->touches)
        fl_after(t, x);
    mem_slow_resume(t);
}

void copy_emit(Tr *t, unsigned k)
{
    static const uint8_t both[2] = { S0, S1 };
    const TInsn *x = &t->t[k];
    unsigned m = mem_operand_index(x);
    Raw w = { 0 };
    Swap s = { .n = 0 };
    Enc y;

    raw_parse(x, t->code64, &w);
    y = start_enc(x, &w);
    if (!t->code64)
        narrow_vex(x, &y);
    if (m < 4 && !x->i->is_reg) {
        emit_memory(t, k, &y, m);
        return;
    }
    if (needs_host_flags(x))
        fl_host(t, S0);
    if (!x->touches)
        fl_writes(t, fl_gpr_written(x), x->live_out, S0);
    map_registers(t, x, &y, &s, both);
    tr_mark(t, k);
    if (no_modrm(x))
        emit_no_modrm(t, x, &y);
    else
        e_enc(&t->e, &y);
    swap_out(t, &s);
    if (x->touches)
        fl_after(t, x);
}
