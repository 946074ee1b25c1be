/* emit: an x86-64 encoder that appends to a buffer. Intel SDM volume 2, chapter 2. */
#include "accel/jit/emit.h"

#include <string.h>

void e32(Emit *e, uint32_t v)
{
    if (e->end - e->p < 4) {
        e->full = true;
        return;
    }
    memcpy(e->p, &v, 4);
    e->p += 4;
}

void e64(Emit *e, uint64_t v)
{
    e32(e, v);
    e32(e, v >> 32);
}

/* The longest instruction: segment, prefixes, REX, opcode, modrm, SIB, displacement, immediate. */
enum { ENC_MAX = 32 };

static inline uint8_t *put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
    return p + 4;
}

/* The modrm byte and what follows it. */
static inline uint8_t *modrm_mem(uint8_t *p, unsigned reg, const HMem *m)
{
    unsigned r = (reg & 7) << 3, b = m->base & 7, mod;

    if (m->base == H_NONE) {    /* absolute or index only: SIB without base, disp32 */
        *p++ = r | 4;
        *p++ = m->scale << 6 | (m->index == H_NONE ? 4 : m->index & 7) << 3 | 5;
        return put32(p, m->disp);
    }
    mod = m->disp == 0 && b != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;
    if (m->index != H_NONE || b == 4) {
        *p++ = mod << 6 | r | 4;
        *p++ = m->scale << 6 | (m->index == H_NONE ? 4 : m->index & 7) << 3 | b;
    } else {
        *p++ = mod << 6 | r | b;
    }
    if (mod == 1)
        *p++ = m->disp;
    else if (mod == 2)
        return put32(p, m->disp);
    return p;
}

/* R, X, B as REX bits 2, 1, 0. */
static inline unsigned rxb(unsigned reg, const HOp *rm)
{
    unsigned v = reg >> 3 << 2;

    if (rm->is_reg)
        return v | rm->reg >> 3;
    if (rm->m.base != H_NONE)
        v |= rm->m.base >> 3;
    if (rm->m.index != H_NONE)
        v |= rm->m.index >> 3 << 1;
    return v;
}

static inline uint8_t *enc_vex(uint8_t *p, const Enc *x)
{
    unsigned v = rxb(x->reg, &x->rm), pp = x->flags & ENC_66 ? 1 : x->flags & ENC_F3 ? 2 : x->flags & ENC_F2 ? 3 : 0;
    unsigned tail = (~x->vvvv & 15) << 3 | (x->flags & ENC_L ? 4 : 0) | pp;

    if (!(v & 3) && !(x->flags & ENC_W) && x->map == 1) {
        *p++ = 0xc5;
        *p++ = (v & 4 ? 0 : 0x80) | tail;
    } else {
        *p++ = 0xc4;
        *p++ = (~v & 7) << 5 | x->map;
        *p++ = (x->flags & ENC_W ? 0x80 : 0) | tail;
    }
    return p;
}

static inline uint8_t *enc_legacy(uint8_t *p, const Enc *x)
{
    unsigned v = rxb(x->reg, &x->rm);

    if (x->flags & (ENC_LOCK | ENC_66 | ENC_F2 | ENC_F3)) {
        if (x->flags & ENC_LOCK)
            *p++ = 0xf0;
        if (x->flags & ENC_66)
            *p++ = 0x66;
        if (x->flags & ENC_F2)
            *p++ = 0xf2;
        if (x->flags & ENC_F3)
            *p++ = 0xf3;
    }
    if (v || x->flags & (ENC_W | ENC_REX))
        *p++ = 0x40 | v | (x->flags & ENC_W ? 8 : 0);
    if (x->map)
        *p++ = 0x0f;
    if (x->map == 2)
        *p++ = 0x38;
    if (x->map == 3)
        *p++ = 0x3a;
    return p;
}

/* One look at the room for each instruction; inlined, so that callers' constants fold. */
static inline __attribute__((always_inline)) void enc(Emit *e, const Enc *x)
{
    uint8_t *p = e->p;

    if (e->end - p < ENC_MAX) {
        e->full = true;
        return;
    }
    if (!x->rm.is_reg && x->rm.m.gs)
        *p++ = 0x65;
    p = x->flags & ENC_VEX ? enc_vex(p, x) : enc_legacy(p, x);
    *p++ = x->op;
    if (x->rm.is_reg)
        *p++ = 0xc0 | (x->reg & 7) << 3 | (x->rm.reg & 7);
    else
        p = modrm_mem(p, x->reg, &x->rm.m);
    for (unsigned i = 0; i < x->imm_len; i++)
        *p++ = x->imm[i];
    e->p = p;
}

void e_enc(Emit *e, const Enc *x) { enc(e, x); }

void e_rr(Emit *e, bool w, uint8_t op, unsigned reg, unsigned rm)
{
    enc(e, &(Enc) { .flags = w ? ENC_W : 0, .op = op, .reg = reg, .rm = h_reg(rm) });
}

void e_rm(Emit *e, bool w, uint8_t op, unsigned reg, HMem m)
{
    enc(e, &(Enc) { .flags = w ? ENC_W : 0, .op = op, .reg = reg, .rm = h_mem(m) });
}

static void alu_imm(Emit *e, bool w, unsigned digit, HOp rm, int32_t imm)
{
    Enc x = { .flags = w ? ENC_W : 0, .op = 0x81, .reg = digit, .rm = rm, .imm_len = 4 };

    if (imm == (int8_t)imm) {
        x.op = 0x83;
        x.imm_len = 1;
    }
    memcpy(x.imm, &imm, 4);
    e_enc(e, &x);
}

void e_alu_ri(Emit *e, bool w, unsigned digit, unsigned r, int32_t imm) { alu_imm(e, w, digit, h_reg(r), imm); }
void e_alu_mi(Emit *e, bool w, unsigned digit, HMem m, int32_t imm) { alu_imm(e, w, digit, h_mem(m), imm); }

void e_st_i(Emit *e, bool w, HMem m, int32_t imm)
{
    Enc x = { .flags = w ? ENC_W : 0, .op = 0xc7, .rm = h_mem(m), .imm_len = 4 };

    memcpy(x.imm, &imm, 4);
    e_enc(e, &x);
}

void e_st8_i(Emit *e, HMem m, uint8_t imm)
{
    e_enc(e, &(Enc) { .op = 0xc6, .rm = h_mem(m), .imm_len = 1, .imm = { imm } });
}

void e_cmp8_i(Emit *e, HMem m, uint8_t imm)
{
    e_enc(e, &(Enc) { .op = 0x80, .reg = 7, .rm = h_mem(m), .imm_len = 1, .imm = { imm } });
}

void e_shift_i(Emit *e, bool w, unsigned digit, unsigned r, unsigned n)
{
    e_enc(e, &(Enc) { .flags = w ? ENC_W : 0, .op = 0xc1, .reg = digit, .rm = h_reg(r), .imm_len = 1, .imm = { n } });
}

void e_rorx(Emit *e, bool w, unsigned d, unsigned s, unsigned n)
{
    e_enc(e, &(Enc) { .flags = ENC_VEX | ENC_F2 | (w ? ENC_W : 0), .map = 3, .op = 0xf0, .reg = d, .rm = h_reg(s),
                      .imm_len = 1, .imm = { n } });
}

void e_mov_i(Emit *e, unsigned r, uint64_t v)
{
    if (v <= UINT32_MAX) {
        if (r >= 8)
            e8(e, 0x41);
        e8(e, 0xb8 | (r & 7));
        e32(e, v);
    } else if ((int64_t)v == (int32_t)v) {
        e_enc(e, &(Enc) { .flags = ENC_W, .op = 0xc7, .rm = h_reg(r) });
        e32(e, v);
    } else {
        e8(e, r >= 8 ? 0x49 : 0x48);
        e8(e, 0xb8 | (r & 7));
        e64(e, v);
    }
}

void e_jmp_r(Emit *e, unsigned r) { e_rr(e, false, 0xff, 4, r); }
void e_jmp_m(Emit *e, HMem m) { e_rm(e, false, 0xff, 4, m); }

static uint8_t *rel32(Emit *e, uint64_t target)
{
    uint8_t *at = e->p;

    e32(e, target - (e_rx(e, at) + 4));
    return at;
}

uint8_t *e_jmp(Emit *e, uint64_t target)
{
    e8(e, 0xe9);
    return rel32(e, target);
}

uint8_t *e_jcc(Emit *e, unsigned cc, uint64_t target)
{
    e8(e, 0x0f);
    e8(e, 0x80 | cc);
    return rel32(e, target);
}

void e_call(Emit *e, uint64_t target)
{
    e8(e, 0xe8);
    rel32(e, target);
}

uint8_t *e_jcc_fwd(Emit *e, unsigned cc) { return e_jcc(e, cc, 0); }
uint8_t *e_jmp_fwd(Emit *e) { return e_jmp(e, 0); }

uint8_t *e_jcc8_fwd(Emit *e, uint8_t op)
{
    e8(e, op);
    e8(e, 0);
    return e->p - 1;
}

void e_bind(Emit *e, uint8_t *at)
{
    int32_t d = e->p - (at + 4);

    if (!e->full)
        memcpy(at, &d, 4);
}

void e_bind8(Emit *e, uint8_t *at)
{
    if (!e->full)
        *at = e->p - (at + 1);
}

void e_flags_to_ax(Emit *e)
{
    e8(e, 0x9f);                /* lahf */
    e8(e, 0x0f);
    e8(e, 0x90);
    e8(e, 0xc0);                /* seto al */
}

void e_flags_from_ax(Emit *e)
{
    e8(e, 0x04);
    e8(e, 0x7f);                /* add al, 0x7f: OF */
    e8(e, 0x9e);                /* sahf */
}
