/*
 * xsave: XSAVE, XSAVEOPT, XSAVEC and XRSTOR for the x87, SSE and AVX components.
 *
 * SDM vol. 1 chapter 13. A component is "in use" when it differs from its initial value. Both
 * formats place AVX at byte 576, as it is the first extended component.
 */
#include "target/x86/x87_env_int.h"

enum { XSAVE_HEADER = 512, XSAVE_AVX = 576, XSAVE_END = 832 };
#define XCOMP_COMPACT (1ULL << 63)

static void check_enabled(X86Cpu *c)
{
    if (!(c->cr4 & CR4_OSXSAVE))
        x86_raise(c, EXC_UD);
    if (c->cr0 & CR0_TS)
        x86_raise(c, EXC_NM);
}

static unsigned vec_count(const X86Cpu *c) { return c->mode & MODE_CS64 ? 16 : 8; }

static uint64_t in_use(const X86Cpu *c)
{
    const X87 *f = &c->x87;
    uint64_t v = 0, lo = 0, hi = 0;
    unsigned k;

    for (k = 0; k < 16; k++) {
        lo |= c->vec[k].q[0] | c->vec[k].q[1];
        hi |= c->vec[k].q[2] | c->vec[k].q[3];
        if (k < 8 && (f->r[k].mant | f->r[k].se))
            v |= XCR0_X87;
    }
    if (f->cw != CW_INIT || x87_sw(c) || f->empty != 0xff || f->fop || f->fip || f->fdp)
        v |= XCR0_X87;
    return v | (lo ? XCR0_SSE : 0) | (hi ? XCR0_AVX : 0);
}

/* One component from byte at; the parts of an image are stored one by one, as the masks leave gaps. */
static void save_vectors(X86Cpu *c, uint64_t va, unsigned from)
{
    uint8_t b[256];
    unsigned k;

    for (k = 0; k < vec_count(c); k++)
        memcpy(b + 16 * k, &c->vec[k].b[from], 16);
    x86_st_bytes(c, va, b, 16 * vec_count(c), c->data_bank);
}

static void save(X86Cpu *c, uint64_t va, uint64_t mask, bool mxcsr, bool wide)
{
    uint8_t b[160];

    if (mask & XCR0_X87) {
        x87_put_legacy(c, b, wide);
        x86_st_bytes(c, va, b, 24, c->data_bank);
        x86_st_bytes(c, va + 32, b + 32, 128, c->data_bank);
    }
    if (mxcsr) {
        st32_le(b, c->mxcsr);
        st32_le(b + 4, X86_MXCSR_MASK);
        x86_st_bytes(c, va + 24, b, 8, c->data_bank);
    }
    if (mask & XCR0_SSE)
        save_vectors(c, va + 160, 0);
    if (mask & XCR0_AVX)
        save_vectors(c, va + XSAVE_AVX, 16);
}

static uint64_t requested(const X86Cpu *c)
{
    return (c->gpr[R_RDX] << 32 | (uint32_t)c->gpr[R_RAX]) & c->xcr0;
}
static unsigned area_size(uint64_t rfbm) { return rfbm & XCR0_AVX ? XSAVE_END : XSAVE_AVX; }

/* opt: components in their initial state are not written. */
static void xsave(X86Cpu *c, const X86Insn *i, bool opt)
{
    uint64_t rfbm, use, va, bv;

    check_enabled(c);
    rfbm = requested(c);
    va = x87_legacy_area(c, i, area_size(rfbm), 64, true);
    x86_probe_w(c, va, area_size(rfbm), c->data_bank);
    use = in_use(c);
    bv = x86_ld64(c, va + XSAVE_HEADER);
    save(c, va, opt ? rfbm & use : rfbm, rfbm & (XCR0_SSE | XCR0_AVX), i->opsize == 8);
    x86_st64(c, va + XSAVE_HEADER, (bv & ~rfbm) | (rfbm & use));
}
static void op_xsave(X86Cpu *c, const X86Insn *i) { xsave(c, i, false); }
static void op_xsaveopt(X86Cpu *c, const X86Insn *i) { xsave(c, i, true); }
static void op_xsavec(X86Cpu *c, const X86Insn *i)
{
    uint64_t rfbm, use, va;

    check_enabled(c);
    rfbm = requested(c);
    va = x87_legacy_area(c, i, area_size(rfbm), 64, true);
    x86_probe_w(c, va, area_size(rfbm), c->data_bank);
    use = in_use(c);
    if (c->mxcsr != X86_MXCSR_INIT)
        use |= XCR0_SSE;
    use &= rfbm;
    save(c, va, use, use & XCR0_SSE, i->opsize == 8);
    x86_st64(c, va + XSAVE_HEADER, use);
    x86_st64(c, va + XSAVE_HEADER + 8, rfbm | XCOMP_COMPACT);
}
BODY1(xsave, op_xsave);
BODY1(xsaveopt, op_xsaveopt);
BODY1(xsavec, op_xsavec);

/* False: the header breaks a rule of XRSTOR. */
static bool header_ok(const X86Cpu *c, const uint8_t *h)
{
    uint64_t bv = ld64_le(h), comp = ld64_le(h + 8);
    unsigned k;

    if (comp & XCOMP_COMPACT) {
        if ((comp & ~XCOMP_COMPACT & ~c->xcr0) || (bv & ~comp))
            return false;
        for (k = 16; k < 64; k++) {
            if (h[k])
                return false;
        }
        return true;
    }
    return !comp && !ld64_le(h + 16) && !(bv & ~c->xcr0);
}

static void restore_vectors(X86Cpu *c, const uint8_t *b, unsigned to)
{
    unsigned k;

    for (k = 0; k < vec_count(c); k++) {
        if (b)
            memcpy(&c->vec[k].b[to], b + 16 * k, 16);
        else
            memset(&c->vec[k].b[to], 0, 16);
    }
}

static void op_xrstor(X86Cpu *c, const X86Insn *i)
{
    uint8_t b[XSAVE_END];
    uint64_t rfbm, va, load;
    bool compact, mxcsr;

    check_enabled(c);
    rfbm = requested(c);
    va = x87_legacy_area(c, i, area_size(rfbm), 64, false);
    x86_ld_bytes(c, va, b, area_size(rfbm), c->data_bank);
    if (!header_ok(c, b + XSAVE_HEADER))
        x86_raise_err(c, EXC_GP, 0);
    load = ld64_le(b + XSAVE_HEADER) & rfbm;
    compact = ld64_le(b + XSAVE_HEADER + 8) & XCOMP_COMPACT;
    mxcsr = compact ? load & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
    if (mxcsr && (ld32_le(b + 24) & ~X86_MXCSR_MASK))
        x86_raise_err(c, EXC_GP, 0);
    if (mxcsr)
        c->mxcsr = ld32_le(b + 24);
    else if (compact && rfbm & XCR0_SSE)
        c->mxcsr = X86_MXCSR_INIT;
    if (load & XCR0_X87) {
        x87_get_legacy(c, b, i->opsize == 8);
    } else if (rfbm & XCR0_X87) {
        x87_init(c);
        memset(c->x87.r, 0, sizeof c->x87.r);
    }
    if (rfbm & XCR0_SSE)
        restore_vectors(c, load & XCR0_SSE ? b + 160 : NULL, 0);
    if (rfbm & XCR0_AVX)
        restore_vectors(c, load & XCR0_AVX ? b + XSAVE_AVX : NULL, 16);
}
BODY1(xrstor, op_xrstor);
