/*
 * flags: where the guest's arithmetic flags are while a block is being emitted.
 *
 * Normally in host EFLAGS. TLB checks destroy those; before one, flags that are still live are
 * either left to be made again from registers (a recipe, no code) or parked with LAHF and SETO.
 * From block to block flags go in the host's register, or, by calls, returns and indirect branches, where hardly
 * anything reads them, as a description (FH_CC): two operands and the address of code that makes flags from them.
 * A block that only hands flags on then does nothing about them.
 * Flags that are dead, that is, overwritten before anything can read them, are given up: after a
 * fault there they may read differently than on hardware unless the engine runs exact.
 */
#include "accel/jit/trans_int.h"

#include <string.h>

static bool is_shift_group(const X86Insn *i)
{
    return i->map == MAP_1 && (i->opcode == 0xc0 || i->opcode == 0xc1 || i->opcode == 0xd0 || i->opcode == 0xd1);
}

void fl_effects(TInsn *x)
{
    const X86Row *r = x->row;
    const X86Insn *i = x->i;

    x->rd = r->rd & FL_ALL;
    x->kill = (r->wr | r->un) & FL_ALL;
    x->touches = x->rd | x->kill;
    if (is_shift_group(i)) {
        unsigned n = (i->opcode < 0xd0 ? i->imm : 1) & (i->opsize == 8 ? 63 : 31);

        x->rd = i->reg == 2 || i->reg == 3 ? FL_CF : 0;
        if (!n)
            x->kill = 0;
    } else if (x->rd == FL_ALL && x->kill) {
        bool rotate_cf = i->map == MAP_1 && (i->opcode == 0xd2 || i->opcode == 0xd3) && (i->reg == 2 || i->reg == 3);

        x->kill = 0;            /* conditional, a shift by CL: reads flags only to hand them on */
        x->rd = rotate_cf ? FL_CF : 0;
    }
    if (r->cls & CL_STR && i->flags & (INSN_REP | INSN_REPNE) && x->kill) {
        x->rd = FL_ALL;         /* a count of 0 keeps all */
        x->kill = 0;
    }
    if (r->cls & (CL_END | CL_FAULT) && r->emit != EMIT_COPY)
        x->rd = FL_ALL, x->kill = 0;
    if (system_keeps_flags(x))
        x->rd = x->kill = 0;
    if (r->cls & CL_BR && !(r->cls & CL_COND))
        x->kill = 0;
}

void fl_liveness(Tr *t, uint16_t at_end)
{
    uint16_t live = at_end, read = 0;

    for (int k = t->n - 1; k >= 0; k--) {
        TInsn *x = &t->t[k];

        if (x->row->cls & CL_BR && (x->row->cls & CL_COND || x->call >= 0))
            live = FL_ALL;      /* the other side may read anything */
        x->live_out = live;
        x->read_out = read;
        read = (read & ~x->kill) | x->rd;
        live = (live & ~x->kill) | x->rd;
        x->live_in = t->j->exact ? FL_ALL : live;
    }
}

static uint16_t peek(Tr *t, int32_t off)
{
    uint16_t killed = 0, live = 0;

    for (int n = 0; n < 6 && killed != FL_ALL; n++) {
        X86Insn i;
        TInsn x = { .i = &i };

        if (off < 0 || off >= 4096 ||
            x86_decode(t->page + off, 4096 - off, t->mode, t->c->model, &i) != DECODE_OK)
            return FL_ALL & (live | ~killed);
        t->peek_lines |= 1ULL << (off >> 6) | 1ULL << ((off + i.len - 1) >> 6);
        x.row = x86_row(&i);
        fl_effects(&x);
        live |= x.rd & ~killed;
        killed |= x.kill;
        if (x.row->cls & (CL_BR | CL_STOP))
            return FL_ALL & (live | ~killed);
        off += i.len;
    }
    return killed == FL_ALL ? live : FL_ALL;
}

/* Asked two or three times in a row for the same place. */
uint16_t fl_peek(Tr *t, int32_t off)
{
    if (!t->peeked || t->peeked_at != off) {
        t->peeked_flags = peek(t, off);
        t->peeked_at = off;
        t->peeked = true;
    }
    return t->peeked_flags;
}

/* One host instruction on guest registers a, b at the recipe's size: op is the 32-bit opcode. */
static void sized_rr(Emit *e, unsigned size, uint8_t op, unsigned reg, unsigned rm)
{
    e_enc(e, &(Enc) { .flags = (size == 8 ? ENC_W : 0) | (size == 2 ? ENC_66 : 0) | (size == 1 ? ENC_REX : 0),
                      .op = size == 1 ? op & ~1 : op, .reg = reg, .rm = h_reg(rm) });
}

static void sized_ri(Emit *e, unsigned size, uint8_t op, unsigned digit, unsigned rm, int32_t imm)
{
    Enc x = { .flags = (size == 8 ? ENC_W : 0) | (size == 2 ? ENC_66 : 0) | (size == 1 ? ENC_REX : 0),
              .op = size == 1 ? op & ~1 : op, .reg = digit, .rm = h_reg(rm), .imm_len = MIN(size, 4u) };

    memcpy(x.imm, &imm, 4);
    e_enc(e, &x);
}

void fl_restore(Emit *e, unsigned s)
{
    e_mov(e, true, s, H_RAX);
    e_ld(e, false, H_RAX, m_gs(GS_ENV(saved_flags)));
    e_flags_from_ax(e);
    e_mov(e, true, H_RAX, s);
}

void fl_save(Emit *e)
{
    e_mov(e, true, S1, H_RAX);
    e_flags_to_ax(e);
    e_st(e, false, m_gs(GS_ENV(saved_flags)), H_RAX);
    e_mov(e, true, H_RAX, S1);
}

static void save(Tr *t)
{
    t->s1_group = -1;
    fl_save(&t->e);
    t->j->st.saves++;
}

/* Flags by the recipe, its operands in host registers a and b; s: a scratch register, may be a. */
static void cook(Emit *e, const Recipe *rc, unsigned a, unsigned b, unsigned s)
{
    bool w = rc->size == 8;

    switch (rc->kind) {
    case RC_SAVED: fl_restore(e, s); break;
    case RC_CMP_RR: sized_rr(e, rc->size, 0x3b, a, b); break;
    case RC_CMP_RI: sized_ri(e, rc->size, 0x81, 7, a, rc->imm); break;
    case RC_TEST_RR: sized_rr(e, rc->size, 0x85, b, a); break;
    case RC_TEST_RI: sized_ri(e, rc->size, 0xf7, 0, a, rc->imm); break;
    case RC_LOGIC: sized_rr(e, rc->size, 0x85, a, a); break;
    case RC_ADD_RI:
        e_lea(e, w, s, m_base(a, -rc->adj - rc->imm));
        sized_ri(e, rc->size, 0x81, 0, s, rc->imm);
        break;
    case RC_SUB_RI:
        e_lea(e, w, s, m_base(a, rc->imm - rc->adj));
        sized_ri(e, rc->size, 0x81, 5, s, rc->imm);
        break;
    case RC_ADD_RR:
        e_mov(e, w, s, a);
        e_rr(e, w, 0x2b, s, b);
        e_rr(e, w, 0x03, s, b);
        break;
    case RC_SUB_RR:
        e_lea(e, w, s, m_bi(a, b, 0, 0));
        e_rr(e, w, 0x2b, s, b);
        break;
    }
}

void fl_emit(Tr *t, FlagHome home, const Recipe *rc, unsigned s)
{
    if (s == S1 && home != FH_HOST)
        t->s1_group = -1;
    if (home == FH_SAVED)
        fl_restore(&t->e, s);
    else if (home == FH_CC)
        e_call(&t->e, t->j->stubs.cc_load);
    else if (home == FH_RECIPE)
        cook(&t->e, rc, tr_host(rc->a), tr_host(rc->b), s);
}

static bool two_registers(const Recipe *rc)
{
    return rc->kind == RC_CMP_RR || rc->kind == RC_TEST_RR || rc->kind == RC_ADD_RR || rc->kind == RC_SUB_RR;
}

void fl_lazy(Tr *t, unsigned s)
{
    Emit *e = &t->e;
    bool cook_later = t->rc.kind && t->rc.kind != RC_SAVED && t->home != FH_SAVED;

    if (t->home == FH_CC || t->home == FH_DEAD)
        return;
    if (s == S1)
        t->s1_group = -1;
    if (cook_later) {
        e_st(e, true, m_gs(GS_ENV(cc_a)), tr_host(t->rc.a));
        if (two_registers(&t->rc))
            e_st(e, true, m_gs(GS_ENV(cc_b)), tr_host(t->rc.b));
    } else if (t->home == FH_HOST) {
        save(t);
    }
    e8(e, 0x4c);
    e8(e, 0x8d);
    e8(e, 0x05 | (s & 7) << 3); /* lea s, [rip + ...] */
    if (cook_later && t->n_exits < JIT_MAX_EXITS) {
        t->exits[t->n_exits++] = (ExitTmp) { .at = e_here(e), .kind = X_CC, .rc = t->rc };
        e32(e, 0);
    } else {
        e->full |= cook_later;
        e32(e, (uint32_t)(t->j->stubs.cc_saved - e_rx(e, e_here(e)) - 4));
    }
    e_st(e, true, m_gs(GS_ENV(cc_code)), s);
    t->home = FH_CC;
    t->rc.kind = RC_NONE;
}

void fl_lazy_code(Emit *e, const Recipe *rc)
{
    e_ld(e, true, S0, m_gs(GS_ENV(cc_a)));
    if (two_registers(rc))
        e_ld(e, true, S1, m_gs(GS_ENV(cc_b)));
    cook(e, rc, S0, S1, S0);
    e8(e, 0xc3);
}

void fl_clobber(Tr *t, uint16_t live)
{
    if (t->home != FH_HOST)
        return;
    if (t->rc.kind) {
        t->home = FH_RECIPE;
    } else if (live) {
        save(t);
        t->rc = (Recipe) { .kind = RC_SAVED };
        t->home = FH_RECIPE;
    } else {
        t->home = FH_DEAD;
    }
}

void fl_host(Tr *t, unsigned s)
{
    fl_emit(t, t->home, &t->rc, s);
    t->home = FH_HOST;
}

static bool uses_reg(const Recipe *rc, uint32_t mask)
{
    switch (rc->kind) {
    case RC_NONE: case RC_SAVED: return false;
    case RC_CMP_RR: case RC_TEST_RR: case RC_ADD_RR: case RC_SUB_RR: return mask >> rc->a & 1 || mask >> rc->b & 1;
    default: return mask >> rc->a & 1;
    }
}

bool fl_writes_emits(const Tr *t, uint32_t mask, uint16_t live_out)
{
    return t->home == FH_RECIPE && uses_reg(&t->rc, mask) && (live_out || t->j->exact);
}

void fl_writes(Tr *t, uint32_t mask, uint16_t live_out, unsigned s)
{
    if (!uses_reg(&t->rc, mask))
        return;
    if (t->home == FH_RECIPE) {
        if (!live_out && !t->j->exact)
            t->home = FH_DEAD;
        else if (t->t[t->now].read_out)
            fl_host(t, s);
        else
            fl_lazy(t, s);
    }
    t->rc.kind = RC_NONE;
}

void fl_rsp_moves(Tr *t, int32_t by, uint16_t live_out, unsigned s)
{
    if ((t->rc.kind == RC_ADD_RI || t->rc.kind == RC_SUB_RI) && t->rc.a == R_RSP && t->rc.size == 8 &&
        ABS(t->rc.adj) < 1 << 20)
        t->rc.adj += by;
    else
        fl_writes(t, 1u << R_RSP, live_out, s);
}

static bool pinned(unsigned g) { return tr_host(g) >= 0; }

/* The recipe of an ALU operation in registers, by the operation (0-7 as in the opcode map, 8: TEST). */
static Recipe alu_recipe(unsigned op, unsigned size, unsigned a, int b, int32_t imm)
{
    Recipe r = { .size = size, .a = a, .b = b < 0 ? 0 : b, .imm = imm };
    bool rr = b >= 0, wide = size >= 4, small = imm > -(1 << 28) && imm < 1 << 28;

    if (!pinned(a) || (rr && !pinned(b)))
        return (Recipe) { 0 };
    switch (op) {
    case 7: r.kind = rr ? RC_CMP_RR : RC_CMP_RI; break;
    case 8: r.kind = rr ? RC_TEST_RR : RC_TEST_RI; break;
    case 1: case 4: case 6: r.kind = RC_LOGIC; break;
    case 0: r.kind = !wide ? RC_NONE : rr ? (a != b ? RC_ADD_RR : RC_NONE) : small ? RC_ADD_RI : RC_NONE; break;
    case 5: r.kind = !wide ? RC_NONE : rr ? (a != b ? RC_SUB_RR : RC_NONE) : small ? RC_SUB_RI : RC_NONE; break;
    default: break;
    }
    return r;
}

static bool high_byte(const X86Insn *i, unsigned n) { return i->opsize == 1 && n >= 4 && n < 8 && !(i->flags & INSN_REX); }

static Recipe recipe_of(const TInsn *x)
{
    const X86Insn *i = x->i;
    uint8_t op = i->opcode;

    if (i->map != MAP_1 || i->flags & INSN_LOCK)
        return (Recipe) { 0 };
    if (op < 0x40 && (op & 7) < 6) {
        bool form_ei = (op & 7) >= 4, to_reg = op & 2;
        unsigned d = form_ei ? R_RAX : to_reg ? i->reg : i->rm;

        if (form_ei)
            return alu_recipe(op >> 3, i->opsize, d, -1, i->imm);
        if (high_byte(i, i->reg) || (i->is_reg && high_byte(i, i->rm)))
            return (Recipe) { 0 };
        if (!i->is_reg)         /* only the result of a logical operation into a register remains */
            return to_reg && ((op >> 3) == 1 || (op >> 3) == 4 || (op >> 3) == 6) ?
                   alu_recipe(op >> 3, i->opsize, d, -1, 0) : (Recipe) { 0 };
        return alu_recipe(op >> 3, i->opsize, d, to_reg ? i->rm : i->reg, 0);
    }
    if (op == 0xa8 || op == 0xa9)
        return alu_recipe(8, i->opsize, R_RAX, -1, i->imm);
    if (!i->is_reg || high_byte(i, i->rm))
        return (Recipe) { 0 };
    if (op >= 0x80 && op <= 0x83)
        return alu_recipe(i->reg, i->opsize, i->rm, -1, i->imm);
    if ((op == 0x84 || op == 0x85) && !high_byte(i, i->reg))
        return alu_recipe(8, i->opsize, i->rm, i->reg, 0);
    if ((op == 0xf6 || op == 0xf7) && i->reg == 0)
        return alu_recipe(8, i->opsize, i->rm, -1, i->imm);
    return (Recipe) { 0 };
}

void fl_after(Tr *t, const TInsn *x)
{
    t->home = FH_HOST;
    t->rc = recipe_of(x);
}

/* Opcodes of the one-byte and 0F maps whose only register result is their first operand. */
static bool plain_dest(const X86Insn *i)
{
    uint8_t op = i->opcode;

    switch (i->map) {
    case MAP_1:
        /* Below 40h columns 6 and 7 are PUSH and POP of segments and the decimal adjustments. */
        return (op < 0x40 && (op & 7) < 6) || op == 0x63 || op == 0x69 || op == 0x6b || (op >= 0x80 && op <= 0x85) ||
               (op >= 0x88 && op <= 0x8b) || op == 0x8d || (op == 0x90 && i->rm == 0) || (op >= 0xa8 && op <= 0xa9) ||
               (op >= 0xb0 && op <= 0xc1) || op == 0xc6 || op == 0xc7 || (op >= 0xd0 && op <= 0xd3) ||
               (op >= 0xd8 && op <= 0xdf && op != 0xdf) || op == 0xfe || ((op == 0xf6 || op == 0xf7) && i->reg < 4) ||
               (op == 0xff && i->reg < 2) || (op >= 0x40 && op < 0x50);
    case MAP_0F:
        return (op >= 0x10 && op <= 0x2f) || (op >= 0x40 && op <= 0x7f) || (op >= 0x90 && op <= 0x9f) ||
               (op >= 0xa3 && op <= 0xa5) || op == 0xab || (op >= 0xac && op <= 0xad) || op == 0xaf || op == 0xb3 ||
               (op >= 0xb6 && op <= 0xbf) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6) || op >= 0xc8;
    case MAP_38: return op < 0xf0 || op == 0xf0 || op == 0xf1;
    case MAP_3A: return op < 0x60 || op > 0x63;
    case MAP_V0F: return true;
    case MAP_V38: return op != 0xf6;    /* MULX */
    case MAP_V3A: return op < 0x60 || op > 0x63;
    default: return false;
    }
}

/* Those with implied operands that are worth knowing; 0xffff: anything. */
static uint32_t implied_dest(const X86Insn *i)
{
    uint8_t op = i->opcode;

    if ((i->map == MAP_1 && (op & 0xf0) == 0x70) || (i->map == MAP_0F && (op & 0xf0) == 0x80))
        return 0;               /* conditional branches */
    if (i->map == MAP_1 && op == 0x98)
        return 1u << R_RAX;
    if (i->map == MAP_1 && op == 0x99)
        return 1u << R_RDX;
    if (i->map == MAP_1 && (op == 0xf6 || op == 0xf7))
        return 1u << R_RAX | 1u << R_RDX;
    return 0xffff;
}

uint32_t fl_gpr_written(const TInsn *x)
{
    const X86Insn *i = x->i;

    if (!plain_dest(i))
        return implied_dest(i);
    if (x->row->cls & CL_R || !x->row->ops[0])
        return i->map == MAP_1 && i->opcode == 0xdf ? 1u << R_RAX : 0;
    switch (x86_opnds[x->row->ops[0]].kind) {
    case OK_RM: case OK_R:
        if (!i->is_reg)
            return 0;
        return high_byte(i, i->rm) ? 1u << (i->rm - 4) : 1u << i->rm;
    case OK_Z: return high_byte(i, i->rm) ? 1u << (i->rm - 4) : 1u << i->rm;
    case OK_REG: return high_byte(i, i->reg) ? 1u << (i->reg - 4) : 1u << i->reg;
    case OK_VV: return 1u << i->vvvv;
    case OK_FIXED: case OK_MOFFS: return 1u << R_RAX;
    default: return 0;
    }
}
