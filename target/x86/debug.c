/*
 * debug: debug registers, breakpoints, single step and the interrupt shadow.
 *
 * Intel SDM vol. 3 ch. 17. While DR7 enables anything, or TF is set, blocks are one instruction
 * (MODE_TF); pages with a data breakpoint are never given to the first-level TLB.
 */
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

enum { BP_EXEC, BP_WRITE, BP_IO, BP_RW };

static bool bp_on(const X86Cpu *c, unsigned n) { return c->dr[7] >> (2 * n) & 3; }
static unsigned bp_type(const X86Cpu *c, unsigned n) { return c->dr[7] >> (16 + 4 * n) & 3; }
static unsigned bp_len(const X86Cpu *c, unsigned n)
{
    static const uint8_t len[] = { 1, 2, 8, 4 };
    return len[c->dr[7] >> (18 + 4 * n) & 3];
}

static bool overlaps(uint64_t a, uint64_t alen, uint64_t b, uint64_t blen)
{
    return a - b < blen || b - a < alen;
}

void x86_debug_pend(X86Cpu *c, uint32_t dr6_bits)
{
    c->db_pending |= dr6_bits;
    atomic_fetch_or_explicit(&c->vcpu.attention, 1, memory_order_relaxed);
}

bool x86_watch_page(const X86Cpu *c, uint64_t va)
{
    for (unsigned n = 0; n < 4; n++)
        if (bp_on(c, n) && (bp_type(c, n) & 1) && overlaps(va, TLB_PAGE, c->dr[n] & ~(uint64_t)(bp_len(c, n) - 1), bp_len(c, n)))
            return true;
    for (guint n = 0; c->vcpu.debug && n < c->vcpu.debug->watches->len; n++) {
        const VcpuWatch *w = &g_array_index(c->vcpu.debug->watches, VcpuWatch, n);

        if (overlaps(va, TLB_PAGE, w->addr, w->len))
            return true;
    }
    return false;
}

static void debugger_watch_hit(VcpuDebug *d, uint64_t va, unsigned len, bool write)
{
    for (guint n = 0; n < d->watches->len; n++) {
        const VcpuWatch *w = &g_array_index(d->watches, VcpuWatch, n);

        if (overlaps(va, len, w->addr, w->len) && (write ? w->write : w->read)) {
            d->hit = DEBUG_WATCH;
            d->hit_addr = w->addr;
        }
    }
}

static bool page_wanted(const VcpuDebug *d, uint64_t va, const X86Fetch *f)
{
    enum { INT3 = 0xcc };

    for (guint n = 0; n < d->lazy->len; n++) {
        if ((g_array_index(d->lazy, uint64_t, n) ^ va) < TLB_PAGE)
            return true;
    }
    for (guint n = 0; f->host && n < d->traps->len; n++) {
        uint64_t off = g_array_index(d->traps, uint64_t, n) - f->pa;

        if (off < TLB_PAGE && f->host[off] != INT3)
            return true;
    }
    return false;
}

void x86_debug_page(X86Cpu *c, uint64_t va, const X86Fetch *f)
{
    VcpuDebug *d = c->vcpu.debug;

    if (!page_wanted(d, va, f))
        return;
    d->hit = DEBUG_PAGE;
    d->hit_addr = va;
    c->vcpu.exit_reason = VCPU_EXIT_DEBUG;
    siglongjmp(c->vcpu.unwind, UNWIND_EXIT);
}

void x86_debug_plan_changed(X86Cpu *c)
{
    x86_debug_dr7_changed(c);
    x86_tlb_flush_all(c);
}

void x86_watch_hit(X86Cpu *c, uint64_t va, unsigned len, bool write)
{
    if (c->vcpu.debug)
        debugger_watch_hit(c->vcpu.debug, va, len, write);
    for (unsigned n = 0; n < 4; n++) {
        uint64_t size = bp_len(c, n), at = c->dr[n] & ~(size - 1);

        if (bp_on(c, n) && (bp_type(c, n) == BP_RW || (write && bp_type(c, n) == BP_WRITE)) && overlaps(va, len, at, size))
            x86_debug_pend(c, 1u << n);
    }
}

void x86_debug_io(X86Cpu *c, unsigned port, unsigned size)
{
    if (!(c->cr4 & CR4_DE))
        return;
    for (unsigned n = 0; n < 4; n++) {
        uint64_t len = bp_len(c, n);

        if (bp_on(c, n) && bp_type(c, n) == BP_IO && overlaps(port, size, c->dr[n] & ~(len - 1), len))
            x86_debug_pend(c, 1u << n);
    }
}

void x86_debug_fetch(X86Cpu *c)
{
    uint64_t lin = c->rip;
    uint32_t hit = 0;

    if (!(c->dr[7] & 0xff) || (c->eflags & FL_RF) || c->db_pending)
        return;
    if (!(c->mode & MODE_CS64))
        lin = (uint32_t)(lin + c->seg[S_CS].base);
    for (unsigned n = 0; n < 4; n++)
        if (bp_on(c, n) && bp_type(c, n) == BP_EXEC && c->dr[n] == lin)
            hit |= 1u << n;
    if (hit)
        x86_debug_pend(c, hit);
}

void x86_debug_dr7_changed(X86Cpu *c)
{
    bool any = false;

    for (unsigned n = 0; n < 4; n++)
        any |= bp_on(c, n) && (bp_type(c, n) & 1);
    any |= c->vcpu.debug && c->vcpu.debug->watches->len;
    if (any || c->mmu->watch_any) {
        c->mmu->watch_any = any;
        x86_tlb_flush_all(c);
    }
    x86_update_mode(c);
}

void x86_debug_before_delivery(X86Cpu *c, const X86Exception *e)
{
    if (e->vector == EXC_DB && !e->external && !e->soft)
        c->dr[7] &= ~(uint64_t)DR7_GD;
    if (!e->soft)
        c->db_pending = 0;
}

bool x86_debug_trap(X86Cpu *c)
{
    c->dr[6] |= c->db_pending;
    c->db_pending = 0;
    c->insn = &x86_no_insn;
    c->vcpu.halted = false;
    c->exc = (X86Exception) { .vector = EXC_DB };
    x86_deliver(c);
    return true;
}

void x86_boundary(X86Cpu *c, uint32_t key)
{
    const X86Insn *i = c->insn;
    bool one = i && i->map == MAP_1;
    bool ss_shadow = (c->mode & MODE_SHADOW) && !(key & MODE_SHADOW) && !(one && i->opcode == 0xfb);

    if (key & MODE_SHADOW)
        c->mode &= ~MODE_SHADOW;
    if (key & MODE_TF) {
        if (!(one && i->opcode == 0xcf))        /* IRET may set RF for the next instruction */
            c->eflags &= ~FL_RF;
        if ((key & MODE_STEP) && !c->no_step && !ss_shadow)
            x86_debug_pend(c, DR6_BS);
        c->no_step = false;
    }
    if (c->mode & MODE_TF)
        x86_debug_fetch(c);
    x86_attend(c);
}
