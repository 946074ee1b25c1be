/*
 * vec_mask: masked moves and gathers: MASKMOVQ, MASKMOVDQU, VMASKMOVPS, VPMASKMOVD, VGATHERxx.
 *
 * Elements whose mask bit is clear are not accessed and cannot fault.
 */
#include "target/x86/vec_int.h"

/* MASKMOVQ, MASKMOVDQU: bytes to DS:rDI. The whole operand must be writable, whatever the mask. */
static void mask_bytes(X86Cpu *c, const X86Insn *i, const uint8_t *v, const uint8_t *mask, unsigned n)
{
    uint64_t off = i->adsize == 8 ? c->gpr[R_RDI] : i->adsize == 4 ? (uint32_t)c->gpr[R_RDI] : (uint16_t)c->gpr[R_RDI];
    uint64_t va = x86_lin(c, i->seg, off, n, true);
    unsigned k;

    for (k = 0; k < n; k += 8)  /* halves: that is also what alignment checks ask for */
        x86_probe_w(c, va + k, 8, c->data_bank);
    for (k = 0; k < n; k++) {
        if (mask[k] >> 7)
            x86_st8(c, va + k, v[k]);
    }
}
static void sse_maskmovdqu(X86Cpu *c, const X86Insn *i)
{
    mask_bytes(c, i, c->vec[i->reg].b, c->vec[i->rm].b, 16);
}
static void mmx_maskmovq(X86Cpu *c, const X86Insn *i)
{
    uint64_t v = c->x87.r[i->reg & 7].mant, m = c->x87.r[i->rm & 7].mant;
    uint8_t vb[8], mb[8];

    mmx_enter(c);
    mmx_commit(c);              /* even if the store then faults */
    st64_le(vb, v);
    st64_le(mb, m);
    mask_bytes(c, i, vb, mb, 8);
}
BODY1(maskmovdqu, sse_maskmovdqu);
BODY1(maskmovq, mmx_maskmovq);

/* Elements of size bytes; the mask is vvvv. */
static uint64_t element_va(X86Cpu *c, const X86Insn *i, unsigned k, unsigned size, bool write)
{
    uint64_t off = x86_ea_off(c, i) + k * size;

    return x86_lin(c, i->seg, i->adsize == 8 ? off : (uint32_t)off, size, write);
}
/* Elements are not subject to alignment checks. */
static unsigned element_bank(const X86Cpu *c) { return c->data_bank == TLB_N ? TLB_U : c->data_bank; }
static bool mask_bit(const X86Vec *m, unsigned k, unsigned size)
{
    return m->b[k * size + size - 1] >> 7;
}
VEC_INLINE void mask_load(X86Cpu *c, const X86Insn *i, unsigned size, unsigned n)
{
    const X86Vec *m = &c->vec[i->vvvv];
    X86Vec r = { .q = { 0 } };
    unsigned bank = element_bank(c), k;

    for (k = 0; k < n / size; k++) {
        if (!mask_bit(m, k, size))
            continue;
        if (size == 4)
            r.d[k] = x86_ldb32(c, element_va(c, i, k, 4, false), bank);
        else
            r.q[k] = x86_ldb64(c, element_va(c, i, k, 8, false), bank);
    }
    vec_put_vex(&c->vec[i->reg], &r, n);
}
VEC_INLINE void mask_store(X86Cpu *c, const X86Insn *i, unsigned size, unsigned n)
{
    const X86Vec *m = &c->vec[i->vvvv], *v = &c->vec[i->reg];
    unsigned bank = element_bank(c), k;

    for (k = 0; k < n / size; k++) {
        if (mask_bit(m, k, size))
            x86_probe_w(c, element_va(c, i, k, size, true), size, bank);
    }
    for (k = 0; k < n / size; k++) {
        if (!mask_bit(m, k, size))
            continue;
        if (size == 4)
            x86_stb32(c, element_va(c, i, k, 4, true), v->d[k], bank);
        else
            x86_stb64(c, element_va(c, i, k, 8, true), v->q[k], bank);
    }
}
#define MASK_MOVES(name, size)                                                  \
    static void name##_ld16(X86Cpu *c, const X86Insn *i) { mask_load(c, i, size, 16); } \
    static void name##_ld32(X86Cpu *c, const X86Insn *i) { mask_load(c, i, size, 32); } \
    static void name##_st16(X86Cpu *c, const X86Insn *i) { mask_store(c, i, size, 16); } \
    static void name##_st32(X86Cpu *c, const X86Insn *i) { mask_store(c, i, size, 32); } \
    BODY_VL(name##_ld, name##_ld16, name##_ld32);                               \
    BODY_VL(name##_st, name##_st16, name##_st32);
MASK_MOVES(vmaskmovps, 4)
MASK_MOVES(vmaskmovpd, 8)

/*
 * Gathers: mask in vvvv, cleared element by element as loads complete, so a fault leaves the work
 * done so far and the instruction can be restarted. es, is: element and index size.
 */
VEC_INLINE void gather(X86Cpu *c, const X86Insn *i, unsigned es, unsigned is)
{
    unsigned count = (i->flags & INSN_VL256 ? 32 : 16) / (es > is ? es : is), bank = element_bank(c), k;
    X86Vec *d = &c->vec[i->reg], *m = &c->vec[i->vvvv], *x = &c->vec[i->index];
    uint64_t base = (int64_t)i->disp;

    if (i->reg == i->vvvv || i->reg == i->index || i->vvvv == i->index)
        x86_raise(c, EXC_UD);
    if (i->base != BASE_NONE)
        base += c->gpr[i->base];
    for (k = 0; k < count; k++) {
        int64_t index = is == 4 ? (int32_t)x->d[k] : (int64_t)x->q[k];
        uint64_t off = base + ((uint64_t)index << i->scale);

        if (mask_bit(m, k, es)) {
            uint64_t va = x86_lin(c, i->seg, i->adsize == 8 ? off : (uint32_t)off, es, false);

            if (es == 4)
                d->d[k] = x86_ldb32(c, va, bank);
            else
                d->q[k] = x86_ldb64(c, va, bank);
        }
        if (es == 4)
            m->d[k] = 0;
        else
            m->q[k] = 0;
    }
    /* The rest of both registers, up to bit 255, is zero. */
    memset(&d->b[count * es], 0, 32 - count * es);
    memset(m, 0, 32);
}
static void vgatherdps(X86Cpu *c, const X86Insn *i) { gather(c, i, 4, 4); }
static void vgatherdpd(X86Cpu *c, const X86Insn *i) { gather(c, i, 8, 4); }
static void vgatherqps(X86Cpu *c, const X86Insn *i) { gather(c, i, 4, 8); }
static void vgatherqpd(X86Cpu *c, const X86Insn *i) { gather(c, i, 8, 8); }
BODY1(vgatherdps, vgatherdps);
BODY1(vgatherdpd, vgatherdpd);
BODY1(vgatherqps, vgatherqps);
BODY1(vgatherqpd, vgatherqpd);
