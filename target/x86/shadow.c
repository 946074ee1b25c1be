/* shadow: a second processor that runs instructions of the first without any effect on the machine. */
#include "target/x86/shadow.h"

#include "target/x86/mmu_int.h"

#include <string.h>
#include <sys/mman.h>

enum { SHADOW_PAGES = 64, SHADOW_FILLS = 512, REGS_AT = offsetof(X86Cpu, gpr), REGS_SIZE = offsetof(X86Cpu, tlb_gen) - REGS_AT };

typedef struct ShadowPage {     /* a page the shadow stored to */
    uint8_t *host;              /* the real one */
    uint8_t *copy, *before;     /* with the shadow's stores; as it was at begin */
    uint64_t va;
    bool walked;                /* a page table: accessed and dirty bits may differ */
} ShadowPage;

struct X86Shadow {
    X86Cpu *c, *real, *start;   /* of start only the registers are used */
    uint32_t seen_gen;
    bool cannot;
    bool again;                 /* pages[0..known) have their `before` from the first run */
    unsigned n, known;
    ShadowPage pages[SHADOW_PAGES];
    unsigned n_fills;
    struct { uint8_t bank; uint16_t idx; } fills[SHADOW_FILLS];    /* first-level entries in use */
    uint8_t *pool;
};

static X86Cpu *blank_cpu(void)
{
    X86Cpu *c = mmap(NULL, sizeof *c, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (c == MAP_FAILED)
        g_error("no memory for checking");
    return c;
}

X86Shadow *x86_shadow_new(X86Cpu *real)
{
    X86Shadow *s = g_new0(X86Shadow, 1);
    X86Cpu *c = blank_cpu();

    s->real = real;
    s->c = c;
    s->start = blank_cpu();
    s->pool = g_malloc(SHADOW_PAGES * 2 * TLB_PAGE);
    c->vcpu.machine = real->vcpu.machine;
    c->vcpu.ops = real->vcpu.ops;
    c->vcpu.index = real->vcpu.index;
    c->model = real->model;
    c->apic_id = real->apic_id;
    c->bsp = real->bsp;
    c->mmu = g_new0(X86Mmu, 1);
    c->mmu->phys_mask = real->mmu->phys_mask;
    c->mmu->next_asid = 1;
    c->mmu->shadow = s;
    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned i = 0; i < TLB_ENTRIES; i++)
            c->tlb[b][i] = (TlbEntry) { tlb_invalid(i), tlb_invalid(i), tlb_invalid(i), 0 };
    for (unsigned i = 0; i < SHADOW_PAGES; i++) {
        s->pages[i].copy = s->pool + 2 * i * TLB_PAGE;
        s->pages[i].before = s->pages[i].copy + TLB_PAGE;
    }
    s->seen_gen = real->tlb_gen - 1;
    return s;
}

void x86_shadow_free(X86Shadow *s)
{
    if (!s)
        return;
    g_free(s->c->mmu);
    munmap(s->c, sizeof *s->c);
    munmap(s->start, sizeof *s->start);
    g_free(s->pool);
    g_free(s);
}

X86Cpu *x86_shadow_cpu(X86Shadow *s) { return s->c; }
const X86Cpu *x86_shadow_start(X86Shadow *s) { return s->start; }

static void copy_regs(X86Cpu *to, const X86Cpu *from)
{
    memcpy((uint8_t *)to + REGS_AT, (const uint8_t *)from + REGS_AT, REGS_SIZE);
}

static bool owns(const X86Shadow *s, uint64_t host) { return host - (uint64_t)(uintptr_t)s->pool < SHADOW_PAGES * 2 * TLB_PAGE; }

static void flush(X86Shadow *s)
{
    x86_tlb_flush_all(s->c);
    s->n_fills = 0;
}

/* For mmu.c: a first-level entry is about to be filled. */
void x86_shadow_filled(X86Cpu *c, unsigned bank, unsigned idx)
{
    X86Shadow *s = c->mmu->shadow;

    if (s->n_fills == SHADOW_FILLS)
        flush(s);
    s->fills[s->n_fills].bank = bank;
    s->fills[s->n_fills++].idx = idx;
}

/* Entries of the shadow's first level that lead to the real page `host`, or (0) to copies, go. */
static void drop_entries(X86Shadow *s, uint64_t host)
{
    X86Cpu *c = s->c;
    unsigned kept = 0;

    for (unsigned n = 0; n < s->n_fills; n++) {
        unsigned bank = s->fills[n].bank, idx = s->fills[n].idx;
        TlbEntry *e = &c->tlb[bank][idx];

        if (host ? e->host_page != host : !owns(s, e->host_page)) {
            s->fills[kept++] = s->fills[n];
            continue;
        }
        e->tag_r = e->tag_w = e->tag_x = tlb_invalid(idx);
        c->mmu->used[bank][idx / 64] &= ~(1ull << (idx % 64));
    }
    s->n_fills = kept;
}

static void forget_copies(X86Shadow *s)
{
    if (s->n)
        drop_entries(s, 0);
    s->n = 0;
}

void x86_shadow_begin(X86Shadow *s, bool changed)
{
    X86Cpu *c = s->c, *real = s->real;

    forget_copies(s);
    s->again = false;
    s->known = 0;
    copy_regs(s->start, real);
    c->vcpu.attention = 0;
    c->vcpu.irq = 0;
    if (changed || s->seen_gen != real->tlb_gen || c->vcpu.mem_view != real->vcpu.mem_view ||
        c->mmu->a20_mask != real->mmu->a20_mask) {
        c->vcpu.mem_view = real->vcpu.mem_view;         /* real's reference; never used after real takes another */
        c->mmu->a20_mask = real->mmu->a20_mask;
        copy_regs(c, real);
        flush(s);
        s->seen_gen = real->tlb_gen;
    }
    copy_regs(c, real);
}

void x86_shadow_again(X86Shadow *s)
{
    if (!s->again)
        s->known = s->n;
    s->again = true;
    forget_copies(s);
    flush(s);
    copy_regs(s->c, s->start);
}

/* For mmu.c: where an access to the real page `host` goes. */
uint8_t *x86_shadow_page(X86Cpu *c, uint8_t *host, uint64_t va, bool write)
{
    X86Shadow *s = c->mmu->shadow;
    ShadowPage *p = NULL;

    for (unsigned i = 0; i < s->n; i++)
        if (s->pages[i].host == host)
            return s->pages[i].copy;
    for (unsigned i = s->n; i < s->known && !p; i++)
        if (s->pages[i].host == host)
            p = &s->pages[i];
    if (!write && !p)
        return host;
    if (s->n == SHADOW_PAGES || (!p && s->again))
        x86_shadow_cannot(c);
    if (p) {                    /* a second run reads what the first run's stores are now part of */
        ShadowPage t = *p;

        *p = s->pages[s->n];
        s->pages[s->n] = t;
    } else {
        s->pages[s->n].host = host;
        s->pages[s->n].va = va & ~0xfffull;
        s->pages[s->n].walked = false;
        memcpy(s->pages[s->n].before, host, TLB_PAGE);
    }
    p = &s->pages[s->n++];
    memcpy(p->copy, p->before, TLB_PAGE);
    drop_entries(s, (uint64_t)(uintptr_t)host);
    return p->copy;
}

void *x86_shadow_walk(X86Cpu *c, void *host)
{
    X86Shadow *s = c->mmu->shadow;
    uint8_t *page = (uint8_t *)((uintptr_t)host & ~(uintptr_t)(TLB_PAGE - 1));

    for (unsigned i = 0; i < s->n; i++)
        if (s->pages[i].host == page) {
            s->pages[i].walked = true;
            return s->pages[i].copy + ((uint8_t *)host - page);
        }
    if (s->again) {
        uint8_t *copy = x86_shadow_page(c, page, 0, false);

        if (copy != page) {
            s->pages[s->n - 1].walked = true;
            return copy + ((uint8_t *)host - page);
        }
    }
    return host;
}

bool x86_shadow_owns(const X86Cpu *c, const void *host) { return owns(c->mmu->shadow, (uint64_t)(uintptr_t)host); }

void x86_shadow_cannot(X86Cpu *c)
{
    c->mmu->shadow->cannot = true;
    siglongjmp(c->vcpu.unwind, UNWIND_EXIT);
}

ShadowEnd x86_shadow_run(X86Shadow *s, const X86Insn *insns, unsigned n, unsigned *done)
{
    X86Cpu *c = s->c;
    volatile unsigned k = 0;
    int why;

    s->cannot = false;
    why = sigsetjmp(c->vcpu.unwind, 0);
    if (why) {
        *done = k;
        return s->cannot ? SHADOW_CANNOT : why == UNWIND_EXCEPTION ? SHADOW_RAISED : SHADOW_RESUME;
    }
    while (k < n) {
        const X86Insn *i = &insns[k];
        uint64_t next = c->rip + i->len;

        c->insn = i;
        c->rip = next;
        i->fn(c, i);
        k++;
        if (c->rip != next)
            break;
        if (k < n)              /* a block that goes on after STI has its shadow in its shape */
            c->mode &= ~MODE_SHADOW;
    }
    *done = k;
    return SHADOW_DONE;
}

static bool same_page(const ShadowPage *p, unsigned *at)
{
    if (!memcmp(p->copy, p->host, TLB_PAGE))
        return true;
    for (unsigned i = 0; i < TLB_PAGE; i++) {
        uint8_t x = p->copy[i] ^ p->host[i];

        if (x && !(p->walked && !(x & ~0x60) && !(i & 3))) {
            *at = i;
            return false;
        }
    }
    return true;
}

bool x86_shadow_differs(X86Shadow *s, ShadowDiff *d)
{
    for (unsigned i = 0; i < s->n; i++) {
        const ShadowPage *p = &s->pages[i];
        unsigned at = 0;

        if (!same_page(p, &at)) {
            *d = (ShadowDiff) { p->va + at, p->before[at], p->copy[at], p->host[at] };
            return true;
        }
    }
    return false;
}
