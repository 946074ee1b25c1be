/*
 * gdb_break: a debugger's breakpoints, watchpoints and its view of guest memory.
 *
 * A breakpoint is an INT3 in guest memory, so that engines run at full speed. Where its address is in
 * no memory yet (a kernel that is still to be loaded), it waits until code is fetched from its page;
 * in ROM it is an address that engines compare with, slowly.
 */
#include "monitor/gdb_int.h"

#include "softmmu/dma.h"
#include "target/x86/insn.h"

enum { BREAKS_MAX = 1000, WATCHES_MAX = 64, INT3 = 0xcc, PAGE = 4096 };

/* --- plans --- */

void gdb_plans_new(Gdb *g)
{
    g->nplans = g->m->vcpus->len;
    g->plans = g_new0(VcpuDebug, g->nplans);
    g->breaks = g_array_new(FALSE, FALSE, sizeof(GdbBreak));
    g->traps = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g->lazy = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g->stops = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g->watches = g_array_new(FALSE, FALSE, sizeof(VcpuWatch));
    for (unsigned i = 0; i < g->nplans; i++) {
        g->plans[i] = (VcpuDebug) { .traps = g->traps, .lazy = g->lazy, .stops = g->stops, .watches = g->watches };
        ((Vcpu *)g_ptr_array_index(g->m->vcpus, i))->debug = &g->plans[i];
    }
}

bool gdb_arm(Gdb *g)
{
    bool ok = true;

    g_array_set_size(g->traps, 0);
    g_array_set_size(g->lazy, 0);
    g_array_set_size(g->stops, 0);
    for (guint i = 0; i < g->breaks->len; i++) {
        const GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP)
            g_array_append_val(g->traps, b->pa);
        else
            g_array_append_val(b->how == BREAK_LAZY ? g->lazy : g->stops, b->addr);
    }
    for (unsigned i = 0; i < g->m->vcpus->len; i++)
        ok &= g->m->accel->debug(g_ptr_array_index(g->m->vcpus, i));
    return ok;
}

static void unplace(Gdb *g, GdbBreak *b)
{
    uint8_t now;

    if (b->how == BREAK_TRAP && dma_read(&g->m->mem, b->pa, &now, 1) && now == INT3)
        dma_write(&g->m->mem, b->pa, &b->was, 1);
}

void gdb_plans_free(Gdb *g)
{
    if (!g->plans)
        return;
    for (guint i = 0; i < g->breaks->len; i++)
        unplace(g, &g_array_index(g->breaks, GdbBreak, i));
    gdb_plans_drop(g);
    for (unsigned i = 0; i < g->m->vcpus->len; i++)
        g->m->accel->debug(g_ptr_array_index(g->m->vcpus, i));
}

void gdb_plans_drop(Gdb *g)
{
    if (!g->plans)
        return;
    for (unsigned i = 0; i < g->m->vcpus->len; i++)
        ((Vcpu *)g_ptr_array_index(g->m->vcpus, i))->debug = NULL;
    g_array_unref(g->breaks);
    g_array_unref(g->traps);
    g_array_unref(g->lazy);
    g_array_unref(g->stops);
    g_array_unref(g->watches);
    g_clear_pointer(&g->plans, g_free);
}

/* --- addresses --- */

static bool translate(Gdb *g, unsigned cpu, uint64_t va, uint64_t *pa)
{
    X86Cpu *c = gdb_cpu(g, cpu);

    if (g->physical) {
        *pa = va;
        return true;
    }
    /* An address of 64-bit code means nothing before there is 64-bit code. */
    return ((c->mode & MODE_LMA) || va <= UINT32_MAX) && x86_translate_debug(c, va, pa);
}

/* --- breakpoints --- */

static GdbBreak *find(Gdb *g, uint64_t addr, bool hard)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->addr == addr && b->hard == hard)
            return b;
    }
    return NULL;
}

/* The trap at pa: two addresses may show the same memory. NULL: none. */
static const GdbBreak *trapped(Gdb *g, uint64_t pa)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        const GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP && b->pa == pa)
            return b;
    }
    return NULL;
}

static void place(Gdb *g, unsigned cpu, GdbBreak *b)
{
    static const uint8_t int3 = INT3;
    uint8_t now;

    b->how = BREAK_LAZY;
    if (!translate(g, cpu, b->addr, &b->pa))
        return;
    if (dma_read(&g->m->mem, b->pa, &now, 1)) {
        const GdbBreak *there = trapped(g, b->pa);

        if (there && now == INT3)
            now = there->was;
        if (dma_write(&g->m->mem, b->pa, &int3, 1)) {
            b->was = now;
            b->how = BREAK_TRAP;
            return;
        }
    }
    b->how = BREAK_STOP;
}

bool gdb_break_add(Gdb *g, uint64_t addr, bool hard)
{
    GdbBreak b = { .addr = addr, .hard = hard };

    if (find(g, addr, hard))
        return true;
    if (g->breaks->len >= BREAKS_MAX)
        return false;
    place(g, g->cpu, &b);
    g_array_append_val(g->breaks, b);
    if (gdb_arm(g))
        return true;
    gdb_break_del(g, addr, hard);
    return false;
}

void gdb_break_del(Gdb *g, uint64_t addr, bool hard)
{
    GdbBreak *b = find(g, addr, hard), old;

    if (!b)
        return;
    old = *b;
    g_array_remove_index_fast(g->breaks, b - (GdbBreak *)g->breaks->data);
    if (old.how == BREAK_TRAP && !trapped(g, old.pa))
        unplace(g, &old);
    gdb_arm(g);
}

static bool intact(Gdb *g, const GdbBreak *b)
{
    uint8_t now;

    return dma_read(&g->m->mem, b->pa, &now, 1) && now == INT3;
}

void gdb_page_in(Gdb *g, unsigned cpu, uint64_t va)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP && !intact(g, b))
            place(g, cpu, b);   /* may have moved, too */
        else if (b->how == BREAK_LAZY && (b->addr ^ va) < PAGE) {
            b->how = BREAK_STOP;
            place(g, cpu, b);
            if (b->how == BREAK_LAZY)
                b->how = BREAK_STOP;
        }
    }
    gdb_arm(g);
}

void gdb_break_reset(Gdb *g)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        unplace(g, b);
        b->how = BREAK_LAZY;
    }
    gdb_arm(g);
}

/* --- watchpoints --- */

static bool same_watch(const VcpuWatch *a, const VcpuWatch *b)
{
    return a->addr == b->addr && a->len == b->len && a->read == b->read && a->write == b->write;
}

void gdb_watch_del(Gdb *g, VcpuWatch w)
{
    for (guint i = 0; i < g->watches->len; i++) {
        if (same_watch(&g_array_index(g->watches, VcpuWatch, i), &w)) {
            g_array_remove_index_fast(g->watches, i);
            gdb_arm(g);
            return;
        }
    }
}

bool gdb_watch_add(Gdb *g, VcpuWatch w)
{
    if (!w.len || w.len > PAGE || w.addr + w.len < w.addr || g->watches->len >= WATCHES_MAX)
        return false;
    g_array_append_val(g->watches, w);
    if (gdb_arm(g))
        return true;
    gdb_watch_del(g, w);
    return false;
}

/* --- memory --- */

static void hide_traps(Gdb *g, uint64_t pa, uint8_t *buf, size_t len)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        const GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP && b->pa - pa < len && buf[b->pa - pa] == INT3)
            buf[b->pa - pa] = b->was;
    }
}

bool gdb_read(Gdb *g, uint64_t addr, uint8_t *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        size_t n = MIN(len - done, PAGE - ((addr + done) & (PAGE - 1)));
        uint64_t pa;

        if (!translate(g, g->cpu, addr + done, &pa) || !dma_read(&g->m->mem, pa, buf + done, n))
            return false;
        hide_traps(g, pa, buf + done, n);
        done += n;
    }
    return true;
}

/* What is written under a trap comes to light when the trap goes. */
static void keep_traps(Gdb *g, uint64_t pa, uint8_t *buf, size_t len)
{
    for (guint i = 0; i < g->breaks->len; i++) {
        GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP && b->pa - pa < len)
            b->was = buf[b->pa - pa];
    }
    for (guint i = 0; i < g->breaks->len; i++) {
        const GdbBreak *b = &g_array_index(g->breaks, GdbBreak, i);

        if (b->how == BREAK_TRAP && b->pa - pa < len)
            buf[b->pa - pa] = INT3;
    }
}

bool gdb_write(Gdb *g, uint64_t addr, const uint8_t *buf, size_t len)
{
    for (size_t done = 0; done < len;) {
        size_t n = MIN(len - done, PAGE - ((addr + done) & (PAGE - 1)));
        uint8_t part[PAGE];
        uint64_t pa;

        memcpy(part, buf + done, n);
        if (!translate(g, g->cpu, addr + done, &pa))
            return false;
        keep_traps(g, pa, part, n);
        if (!dma_write(&g->m->mem, pa, part, n))
            return false;
        done += n;
    }
    return true;
}
