/*
 * segment: descriptors, segment registers, limits, and stacks by segment.
 *
 * Intel SDM vol. 3 ch. 3 and 5. Everything here may raise; callers commit afterwards.
 */
#include "target/x86/prot_int.h"

bool x86_desc_read(X86Cpu *c, uint16_t sel, Desc *d)
{
    const X86Seg *ldt = &c->seg[S_LDTR];
    uint64_t base = sel & 4 ? ldt->base : c->gdtr.base;
    uint32_t limit = sel & 4 ? ldt->limit : c->gdtr.limit;

    if (!(sel & 4) && !(sel & ~3u))
        return false;
    if ((sel & 4) && !(ldt->attr & SEG_P))
        return false;
    if ((sel | 7u) > limit)
        return false;
    d->lin = base + (sel & ~7u);
    if (!x86_long(c))
        d->lin = (uint32_t)d->lin;
    d->lo = (uint32_t)x86_ld_sys(c, d->lin, 4);
    d->hi = (uint32_t)x86_ld_sys(c, d->lin + 4, 4);
    d->base_hi = 0;
    return true;
}

bool x86_desc_read_sys(X86Cpu *c, uint16_t sel, Desc *d)
{
    uint32_t limit = sel & 4 ? c->seg[S_LDTR].limit : c->gdtr.limit;

    if (!x86_desc_read(c, sel, d))
        return false;
    if (!x86_long(c) || desc_s(d))
        return true;
    if ((sel | 7u) + 8 > limit)
        return false;
    d->base_hi = (uint32_t)x86_ld_sys(c, d->lin + 8, 4);
    return !(x86_ld_sys(c, d->lin + 12, 4) & 0x1f00);
}

void x86_desc_mark_accessed(X86Cpu *c, Desc *d)
{
    if (d->hi & SEG_ACC)
        return;
    d->hi |= SEG_ACC;
    x86_st_sys(c, d->lin + 5, d->hi >> 8 & 0xff, 1);
}

X86Seg x86_desc_seg(uint16_t sel, const Desc *d)
{
    return (X86Seg) { .base = desc_base(d) | (uint64_t)d->base_hi << 32, .limit = desc_limit(d),
                      .attr = d->hi & 0x00ffff00u, .sel = sel };
}

uint64_t x86_lin_slow(X86Cpu *c, unsigned s, uint64_t off, unsigned size, bool write)
{
    const X86Seg *g = &c->seg[s];
    uint32_t o = (uint32_t)off, last = o + (size ? size - 1 : 0);
    bool ok;

    if (c->mode & MODE_CS64)
        return s == S_FS || s == S_GS ? off + g->base : off;
    if ((c->mode & MODE_FLAT) && s <= S_DS && !(s == S_CS && write))
        return o;
    if ((g->attr & (SEG_S | SEG_CODE | SEG_CONF)) == (SEG_S | SEG_CONF))    /* expand-down data */
        ok = o > g->limit && last >= o && last <= (g->attr & SEG_DB ? 0xffffffffu : 0xffffu);
    else
        ok = last <= g->limit && last >= o;
    if (ok && x86_protected(c)) {
        if (!(g->attr & SEG_P))
            ok = false;
        else if (g->attr & SEG_CODE)
            ok = !write && (g->attr & SEG_WR);
        else
            ok = !write || (g->attr & SEG_WR);
    }
    if (!ok)
        x86_raise_err(c, s == S_SS ? EXC_SS : EXC_GP, 0);
    return (uint32_t)(g->base + o);
}

void x86_seg_set_real(X86Cpu *c, unsigned s, uint16_t sel)
{
    X86Seg *g = &c->seg[s];

    g->sel = sel;
    g->base = (uint32_t)sel << 4;
    if (c->mode & MODE_VM86) {
        g->limit = 0xffff;
        g->attr = 0xf300;
    }
}

void x86_seg_set_null(X86Cpu *c, unsigned s, uint16_t sel, unsigned dpl)
{
    c->seg[s] = (X86Seg) { .sel = sel, .attr = s == S_SS ? dpl << 13 | SEG_DB : 0 };
}

void x86_seg_set_flat(X86Cpu *c, unsigned s, uint16_t sel, uint32_t attr)
{
    c->seg[s] = (X86Seg) { .sel = sel, .limit = 0xffffffffu, .attr = attr };
}

static void load_ss(X86Cpu *c, uint16_t sel)
{
    unsigned cpl = x86_cpl(c);
    X86Seg g;

    if (!(sel & ~3)) {
        if (!(c->mode & MODE_CS64) || cpl == 3 || (sel & 3) != cpl)
            x86_raise_err(c, EXC_GP, 0);
        x86_seg_set_null(c, S_SS, sel, cpl);
        return;
    }
    if ((sel & 3) != cpl)
        x86_raise_err(c, EXC_GP, sel & ~3u);
    g = x86_seg_check_ss(c, sel, cpl, 0, EXC_GP);
    c->seg[S_SS] = g;
}

X86Seg x86_seg_check_ss(X86Cpu *c, uint16_t sel, unsigned dpl, unsigned ext, int fault)
{
    Desc d;

    if (!(sel & ~3))
        x86_raise_err(c, fault, ext);
    if (!x86_desc_read(c, sel, &d) || (sel & 3) != dpl || !desc_s(&d) || (d.hi & SEG_CODE) || !(d.hi & SEG_WR) ||
        desc_dpl(&d) != dpl)
        x86_raise_err(c, fault, (sel & ~3u) | ext);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_SS, (sel & ~3u) | ext);
    x86_desc_mark_accessed(c, &d);
    return x86_desc_seg(sel, &d);
}

static void load_data(X86Cpu *c, unsigned s, uint16_t sel)
{
    Desc d;
    bool conforming;

    if (!(sel & ~3)) {
        x86_seg_set_null(c, s, sel, 0);
        return;
    }
    if (!x86_desc_read(c, sel, &d) || !desc_s(&d) || (d.hi & (SEG_CODE | SEG_WR)) == SEG_CODE)
        x86_raise_err(c, EXC_GP, sel & ~3u);
    conforming = (d.hi & (SEG_CODE | SEG_CONF)) == (SEG_CODE | SEG_CONF);
    if (!conforming && (desc_dpl(&d) < x86_cpl(c) || desc_dpl(&d) < (sel & 3u)))
        x86_raise_err(c, EXC_GP, sel & ~3u);
    if (!desc_present(&d))
        x86_raise_err(c, EXC_NP, sel & ~3u);
    x86_desc_mark_accessed(c, &d);
    c->seg[s] = x86_desc_seg(sel, &d);
}

void x86_seg_load(X86Cpu *c, unsigned s, uint16_t sel)
{
    if (!x86_protected(c))
        x86_seg_set_real(c, s, sel);
    else if (s == S_SS)
        load_ss(c, sel);
    else
        load_data(c, s, sel);
    x86_update_mode(c);
}

void x86_seg_drop_outer(X86Cpu *c)
{
    static const uint8_t data[] = { S_ES, S_DS, S_FS, S_GS };

    for (unsigned i = 0; i < sizeof data; i++) {
        const X86Seg *g = &c->seg[data[i]];
        bool conforming = (g->attr & (SEG_CODE | SEG_CONF)) == (SEG_CODE | SEG_CONF);

        if (!(g->sel & ~3) || (!conforming && SEG_DPL(g->attr) < x86_cpl(c)))
            c->seg[data[i]] = (X86Seg) { .sel = 0, .base = g->sel & ~3 ? 0 : g->base };
    }
    x86_update_mode(c);
}

bool x86_rip_ok(X86Cpu *c, const Desc *d, uint64_t rip)
{
    return desc_code64(c, d) ? x86_canonical(rip) : rip <= desc_limit(d);
}

void x86_cs_set(X86Cpu *c, uint16_t sel, const Desc *d, unsigned cpl)
{
    c->seg[S_CS] = x86_desc_seg((uint16_t)((sel & ~3u) | cpl), d);
    c->seg[S_CS].attr |= SEG_ACC;
}

Stack x86_stack_on(X86Cpu *c, const X86Seg *ss, uint64_t sp, unsigned cpl, bool code64, uint32_t ss_error)
{
    return (Stack) { .ss = *ss, .sp = sp, .bank = cpl == 3 ? TLB_U : TLB_K, .ss_error = ss_error,
                     .mask = code64 ? ~0ull : ss->attr & SEG_DB ? 0xffffffffu : 0xffffu };
}

Stack x86_stack_current(X86Cpu *c)
{
    Stack s = x86_stack_on(c, &c->seg[S_SS], c->gpr[R_RSP], x86_cpl(c), c->mode & MODE_CS64, 0);

    s.bank = c->data_bank;
    return s;
}

static uint64_t stack_lin(X86Cpu *c, const Stack *s, uint64_t off, unsigned size)
{
    uint32_t last = (uint32_t)off + size - 1;
    bool ok;

    if (s->mask == ~0ull) {
        if (!x86_canonical(off) || !x86_canonical(off + size - 1))
            x86_raise_err(c, EXC_SS, s->ss_error);
        return off;
    }
    off &= s->mask;
    if (s->ss.attr & SEG_CONF && !(s->ss.attr & SEG_CODE))
        ok = off > s->ss.limit && last >= off && last <= s->mask;
    else
        ok = last <= s->ss.limit && last >= off;
    if (!ok)
        x86_raise_err(c, EXC_SS, s->ss_error);
    return (uint32_t)(s->ss.base + off);
}

void x86_stack_push(X86Cpu *c, Stack *s, unsigned size, uint64_t v)
{
    uint64_t sp = (s->sp - size) & s->mask, lin = stack_lin(c, s, sp, size);

    if (size == 2)
        x86_stb16(c, lin, (uint16_t)v, s->bank);
    else if (size == 4)
        x86_stb32(c, lin, (uint32_t)v, s->bank);
    else
        x86_stb64(c, lin, v, s->bank);
    s->sp = sp | (s->sp & ~s->mask);
}

uint64_t x86_stack_pop(X86Cpu *c, Stack *s, unsigned size)
{
    uint64_t lin = stack_lin(c, s, s->sp & s->mask, size), v;

    if (size == 2)
        v = x86_ldb16(c, lin, s->bank);
    else if (size == 4)
        v = x86_ldb32(c, lin, s->bank);
    else
        v = x86_ldb64(c, lin, s->bank);
    s->sp = ((s->sp + size) & s->mask) | (s->sp & ~s->mask);
    return v;
}

void x86_stack_commit(X86Cpu *c, const Stack *s)
{
    if (s->mask == 0xffff)
        c->gpr[R_RSP] = (c->gpr[R_RSP] & ~0xffffull) | (s->sp & 0xffff);
    else
        c->gpr[R_RSP] = s->sp & s->mask;
}

void x86_tss_stack(X86Cpu *c, unsigned dpl, uint16_t *ss, uint32_t *sp, unsigned ext)
{
    const X86Seg *tr = &c->seg[S_TR];
    bool wide = SEG_TYPE(tr->attr) & 8;
    uint32_t off = wide ? 4 + dpl * 8 : 2 + dpl * 4;

    if (!(tr->attr & SEG_P) || off + (wide ? 5 : 3) > tr->limit)
        x86_raise_err(c, EXC_TS, (tr->sel & ~3u) | ext);
    *sp = (uint32_t)x86_ld_sys(c, tr->base + off, wide ? 4 : 2);
    *ss = (uint16_t)x86_ld_sys(c, tr->base + off + (wide ? 4 : 2), 2);
}

uint64_t x86_tss_rsp(X86Cpu *c, unsigned dpl, unsigned ist, unsigned ext)
{
    const X86Seg *tr = &c->seg[S_TR];
    uint32_t off = ist ? 28 + 8 * ist : 4 + 8 * dpl;
    uint64_t rsp;

    if (!(tr->attr & SEG_P) || off + 7 > tr->limit)
        x86_raise_err(c, EXC_TS, (tr->sel & ~3u) | ext);
    rsp = x86_ld_sys(c, tr->base + off, 8);
    if (!x86_canonical(rsp))
        x86_raise_err(c, EXC_SS, ext);
    return rsp;
}
