/*
 * decode_index: builds the decoder's lookup lists from the rows of insns.def.
 *
 * Each opcode has a list of rows to try, or, when rows differ by modrm digit or form, sixteen
 * lists. Rows that do not care about prefixes come last, so that BSF is what remains of TZCNT.
 */
#include "target/x86/decode_int.h"

#include <glib.h>

static bool opnd_in_modrm(unsigned opnd)
{
    switch (x86_opnds[opnd].kind) {
    case OK_RM: case OK_REG: case OK_R: case OK_M: case OK_SEG: case OK_CR: case OK_DR:
    case OK_MMXREG: case OK_MMXRM: case OK_MMXR: case OK_XREG: case OK_XRM: case OK_XR: case OK_STI:
        return true;
    default:
        return false;
    }
}

static bool row_has_modrm(const X86Row *r)
{
    if (r->ext != X_ANY)
        return true;
    for (unsigned k = 0; k < 4; k++)
        if (opnd_in_modrm(r->ops[k]))
            return true;
    return false;
}

/* Could row r be meant by a modrm with this digit and form? */
static bool row_fits_modrm(const X86Row *r, unsigned digit, bool is_reg)
{
    switch (X_KIND(r->ext)) {
    case X_MEM: return !is_reg;
    case X_REG: return is_reg;
    case X_D(0): return digit == (r->ext & 7);
    case X_M(0): return !is_reg && digit == (r->ext & 7);
    case X_R(0): return is_reg && digit == (r->ext & 7);
    case X_B(0): return is_reg == ((r->ext & 0xc0) == 0xc0) && digit == (r->ext >> 3 & 7);
    default: return true;
    }
}

static bool row_has_opcode(const X86Row *r, unsigned map, unsigned opcode)
{
    unsigned span = r->lim & LIM_PLUSR ? 8 : 1;

    return r->map == map && opcode >= r->opcode && opcode < r->opcode + span;
}

static void add_list(DecodeIndex *x, unsigned map, unsigned opcode, int form)
{
    for (int any = 0; any < 2; any++) {
        for (unsigned n = X86_ROW_NM + 1; n < x86_row_count; n++) {
            const X86Row *r = &x86_rows[n];

            if (row_has_opcode(r, map, opcode) && (r->pfx == P_ANY) == any &&
                (form < 0 || row_fits_modrm(r, form & 7, form & 8)))
                x->lists[x->used++] = n;
        }
    }
    x->lists[x->used++] = DECODE_LIST_END;
    g_assert(x->used < DECODE_LISTS_MAX - 1024);
}

static void add_opcode(DecodeIndex *x, unsigned map, unsigned opcode)
{
    DecodeOp *op = &x->op[map][opcode];

    for (unsigned n = X86_ROW_NM + 1; n < x86_row_count; n++) {
        const X86Row *r = &x86_rows[n];

        if (!row_has_opcode(r, map, opcode))
            continue;
        op->defined = true;
        op->modrm |= row_has_modrm(r);
        op->by_digit |= r->ext != X_ANY;
    }
    if (!op->defined)
        return;
    op->list = x->used;
    if (!op->by_digit) {
        add_list(x, map, opcode, -1);
        return;
    }
    x->used += 16;
    for (int form = 0; form < 16; form++) {
        x->lists[op->list + form] = x->used;
        add_list(x, map, opcode, form);
    }
}

static DecodePlan make_plan(const X86Row *r)
{
    DecodePlan p = { .reg_mask = 15, .rm_mask = 15 };
    unsigned kind = X_KIND(r->ext), imms = 0, first = x86_opnds[r->ops[0]].kind;

    for (unsigned n = 0; n < 4 && r->ops[n]; n++) {
        switch (x86_opnds[r->ops[n]].kind) {
        case OK_MMXREG: case OK_SEG: p.reg_mask = 7; break;
        case OK_MMXRM: case OK_MMXR: case OK_STI: p.rm_mask = 7; break;
        case OK_VV: case OK_XVV: p.uses_vvvv = true; break;
        case OK_IMM: case OK_IMMS: case OK_IMM2: case OK_ONE: case OK_REL: case OK_FAR: case OK_MOFFS: case OK_XIS4:
            g_assert(imms < 2);
            p.imm[imms++] = r->ops[n];
            break;
        default: break;
        }
    }
    p.digit = kind == X_D(0) || kind == X_M(0) || kind == X_R(0) || kind == X_B(0);
    p.lock = r->cls & CL_LOCK && (first == OK_RM || first == OK_M);
    p.vector = r->cls & (CL_SSE | CL_AVX | CL_MMX);
    return p;
}

const DecodeIndex *x86_decode_index(void)
{
    static gsize ready;         /* the index, once built: never changes again */

    if (g_once_init_enter(&ready)) {
        DecodeIndex *x = g_new0(DecodeIndex, 1);
        DecodePlan *plan = g_new(DecodePlan, x86_row_count);

        for (unsigned n = 0; n < x86_row_count; n++)
            plan[n] = make_plan(&x86_rows[n]);
        x->plan = plan;
        for (unsigned map = 0; map < MAP_COUNT; map++)
            for (unsigned opcode = 0; opcode < 256; opcode++)
                add_opcode(x, map, opcode);
        g_once_init_leave(&ready, (gsize)x);
    }
    return (const DecodeIndex *)ready;
}
