/*
 * mmu: the software TLBs: filling, looking up and flushing them.
 *
 * First level: X86Cpu.tlb, direct-mapped, one bank per access mode, what generated code reads.
 * Second level: 4096 tagged entries for 4 KiB pages and 256 for larger ones, which survive
 * address-space switches. Flushes of the first level visit only the entries in use; at a switch by PCID
 * they are put aside, as far as they fit, and come back with their address space.
 */
#include "target/x86/debug_int.h"
#include "target/x86/mmu_int.h"

static void l1_drop(X86Cpu *c, unsigned bank, unsigned idx)
{
    TlbEntry *e = &c->tlb[bank][idx];

    e->tag_r = e->tag_w = e->tag_x = tlb_invalid(idx);
    c->tlb_gen++;
    c->mmu->used[bank][idx / 64] &= ~(1ull << (idx % 64));
}

/* Drops the entries of one word's bits. */
static void l1_drop_bits(X86Cpu *c, unsigned bank, unsigned word, uint64_t bits)
{
    c->mmu->used[bank][word] &= ~bits;
    while (bits) {
        unsigned idx = word * 64 + (unsigned)__builtin_ctzll(bits);
        TlbEntry *e = &c->tlb[bank][idx];

        e->tag_r = e->tag_w = e->tag_x = tlb_invalid(idx);
        bits &= bits - 1;
    }
}

static void l1_drop_nonglobal(X86Cpu *c)
{
    X86Mmu *m = c->mmu;

    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned w = 0; w < TLB_WORDS; w++)
            l1_drop_bits(c, b, w, m->used[b][w] & ~m->global[b][w]);
    c->tlb_gen++;
}

/* Drops the non-global entries, but puts them aside under their asid, as far as they fit. */
static void stash_put(X86Cpu *c)
{
    X86Mmu *m = c->mmu;
    MmuStash *s = &m->stash[m->stash_victim++ % STASHES];
    StashEntry *at = s->at, *end = s->at + STASH_MAX;

    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned w = 0; w < TLB_WORDS; w++) {
            uint64_t bits = m->used[b][w] & ~m->global[b][w];

            m->used[b][w] &= ~bits;
            for (; bits; bits &= bits - 1) {
                unsigned bit = (unsigned)__builtin_ctzll(bits), idx = w * 64 + bit;
                TlbEntry *e = &c->tlb[b][idx];

                if (at < end)
                    *at++ = (StashEntry) { *e, m->l1_pa[b][idx], (uint16_t)idx, (uint8_t)b, m->big[b][w] >> bit & 1 };
                e->tag_r = e->tag_w = e->tag_x = tlb_invalid(idx);
            }
        }
    s->asid = m->cur_asid;
    s->n = (unsigned)(at - s->at);
    c->tlb_gen++;
}

static MmuStash *stash_find(X86Mmu *m, uint32_t asid)
{
    for (unsigned i = 0; i < STASHES; i++)
        if (m->stash[i].asid == asid)
            return &m->stash[i];
    return NULL;
}

/* The current space's entries come back where nothing else is by now. */
static void stash_take(X86Cpu *c)
{
    X86Mmu *m = c->mmu;
    MmuStash *s = stash_find(m, m->cur_asid);

    if (!s)
        return;
    for (unsigned i = 0; i < s->n; i++) {
        const StashEntry *e = &s->at[i];
        uint64_t bit = 1ull << (e->idx % 64);
        unsigned w = e->idx / 64, b = e->bank;

        if (m->used[b][w] & bit)
            continue;
        c->tlb[b][e->idx] = e->e;
        m->l1_pa[b][e->idx] = e->pa;
        m->used[b][w] |= bit;
        m->global[b][w] &= ~bit;
        m->big[b][w] = (m->big[b][w] & ~bit) | (e->big ? bit : 0);
    }
    s->asid = 0;
}

/* No entry put aside lets a host page of [lo, lo+n) be written any more. True if one did. */
static bool stash_protect(X86Mmu *m, uint64_t lo, uint64_t n)
{
    bool any = false;

    for (unsigned i = 0; i < STASHES; i++)
        for (unsigned k = 0; m->stash[i].asid && k < m->stash[i].n; k++) {
            StashEntry *e = &m->stash[i].at[k];

            if (e->e.host_page - lo >= n)
                continue;
            any |= e->e.tag_w != tlb_invalid(e->idx);
            e->e.tag_w = tlb_invalid(e->idx);
        }
    return any;
}

static void l1_drop_all(X86Cpu *c)
{
    X86Mmu *m = c->mmu;

    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned w = 0; w < TLB_WORDS; w++)
            l1_drop_bits(c, b, w, m->used[b][w]);
    c->tlb_gen++;
    memset(m->global_filter, 0, sizeof m->global_filter);
    memset(m->big_filter, 0, sizeof m->big_filter);
    memset(m->huge_filter, 0, sizeof m->huge_filter);
    memset(m->host_filter, 0, sizeof m->host_filter);
}

/* A fresh address-space number. When they run out, everything is forgotten. */
static uint32_t new_asid(X86Mmu *m)
{
    if (m->next_asid >= 0xfffffff0u) {
        memset(m->l2, 0, sizeof m->l2);
        memset(m->bigs, 0, sizeof m->bigs);
        memset(m->walk, 0, sizeof m->walk);
        memset(m->pcid, 0, sizeof m->pcid);
        for (unsigned i = 0; i < STASHES; i++)
            m->stash[i].asid = 0;
        m->next_asid = 1;
        m->first_valid_asid = 1;
        m->global_asid = m->next_asid++;
        m->cur_asid = m->next_asid++;
    }
    return m->next_asid++;
}

static unsigned cur_pcid(const X86Cpu *c)
{
    return c->cr4 & CR4_PCIDE ? c->cr3 & 0xfff : 0;
}

/* A name for the current address space that was never used before. */
static void new_space(X86Cpu *c)
{
    X86Mmu *m = c->mmu;

    c->code_space = ++m->next_space;
    m->pcid[cur_pcid(c)] = (MmuSpace) { m->cur_asid, m->space_epoch, c->code_space };
}

void x86_tlb_flush_all(X86Cpu *c)
{
    X86Mmu *m = c->mmu;

    if (c->vcpu.mem_view == NULL)
        c->vcpu.mem_view = addrspace_view_ref(&c->vcpu.machine->mem);
    m->view = c->vcpu.mem_view;
    m->ram_range = m->io_range = NULL;
    l1_drop_all(c);
    m->first_valid_asid = new_asid(m);
    m->global_asid = m->first_valid_asid;
    m->cur_asid = new_asid(m);
    m->walk_gen++;
    memset(m->code_filter, 0, sizeof m->code_filter);
    c->code_epoch = ++m->space_epoch;
    new_space(c);
}

void x86_tlb_flush_nonglobal(X86Cpu *c)
{
    X86Mmu *m = c->mmu;

    l1_drop_nonglobal(c);
    m->cur_asid = new_asid(m);
    new_space(c);
}

void x86_tlb_switch_pcid(X86Cpu *c, bool keep)
{
    X86Mmu *m = c->mmu;
    const MmuSpace *s = &m->pcid[cur_pcid(c)];

    if (m->shadow == NULL)
        stash_put(c);
    else
        l1_drop_nonglobal(c);
    if (!keep || s->asid < m->first_valid_asid) {
        m->cur_asid = new_asid(m);
        new_space(c);
        return;
    }
    m->cur_asid = s->asid;
    stash_take(c);
    if (s->space_epoch == m->space_epoch)
        c->code_space = s->space;
    else
        new_space(c);
}

void x86_tlb_flush_pcid(X86Cpu *c, unsigned pcid)
{
    if (pcid == cur_pcid(c))
        x86_tlb_flush_nonglobal(c);
    else
        c->mmu->pcid[pcid & 0xfff].asid = 0;
}

void x86_tlb_flush_nonglobal_all(X86Cpu *c)
{
    for (unsigned i = 0; i < ARRAY_LEN(c->mmu->pcid); i++)
        c->mmu->pcid[i].asid = 0;
    x86_tlb_flush_nonglobal(c);
}

static unsigned filter_hash(uint64_t v)
{
    return (unsigned)((v ^ v >> 10) % BIG_FILTER);
}
static unsigned code_hash(uint64_t va) { return (unsigned)((va >> 12 ^ va >> 28) % CODE_FILTER); }
static bool bit_test(const uint64_t *bits, unsigned n) { return bits[n / 64] >> (n % 64) & 1; }
static void bit_set(uint64_t *bits, unsigned n) { bits[n / 64] |= 1ull << (n % 64); }

/* Drops first- and second-level entries of large pages that agree with va from bit `shift` up. */
static void drop_big(X86Cpu *c, uint64_t va, unsigned shift)
{
    X86Mmu *m = c->mmu;

    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned w = 0; w < TLB_WORDS; w++)
            for (uint64_t bits = m->used[b][w] & m->big[b][w]; bits; bits &= bits - 1) {
                unsigned idx = w * 64 + (unsigned)__builtin_ctzll(bits);
                TlbEntry *e = &c->tlb[b][idx];
                uint64_t tag = e->tag_r != tlb_invalid(idx) ? e->tag_r : e->tag_w != tlb_invalid(idx) ? e->tag_w : e->tag_x;

                if (tag >> shift == va >> shift)
                    l1_drop(c, b, idx);
            }
    for (unsigned s = 0; s < BIG_SETS; s++)
        for (unsigned i = 0; i < L2_WAYS; i++)
            if (m->bigs[s][i].vpn >> (shift - 21) == va >> shift)
                m->bigs[s][i].asid = 0;
}

void x86_tlb_flush_page(X86Cpu *c, uint64_t va)
{
    X86Mmu *m = c->mmu;
    unsigned idx = tlb_index(va);
    uint64_t page = va & ~0xfffull;
    L2Entry *set = m->l2[(va >> 12) % L2_SETS];
    bool code = bit_test(m->code_filter, code_hash(va));

    for (unsigned b = 0; b < TLB_BANKS; b++) {
        TlbEntry *e = &c->tlb[b][idx];
        if (e->tag_r == page || e->tag_w == page || e->tag_x == page)
            l1_drop(c, b, idx);
    }
    for (unsigned i = 0; i < L2_WAYS; i++)
        if (set[i].vpn == va >> 12 && (set[i].asid == m->cur_asid || set[i].asid == m->global_asid))
            set[i].asid = 0;
    m->walk_gen++;
    if (bit_test(m->big_filter, filter_hash(va >> 22))) {
        drop_big(c, va, 22);
        code = true;
    }
    if (bit_test(m->huge_filter, filter_hash(va >> 30))) {
        drop_big(c, va, 30);
        code = true;
    }
    /* Where nothing was fetched from, no fetch can translate differently now. */
    if (!code)
        return;
    if (bit_test(m->global_filter, filter_hash(va >> 21)) || bit_test(m->huge_filter, filter_hash(va >> 30)))
        c->code_epoch = ++m->space_epoch;
    new_space(c);
}

void x86_tlb_flush_page_pcid(X86Cpu *c, uint64_t va, unsigned pcid)
{
    X86Mmu *m = c->mmu;
    uint32_t asid = m->pcid[pcid & 0xfff].asid;
    L2Entry *set = m->l2[(va >> 12) % L2_SETS];

    if (pcid == cur_pcid(c)) {
        x86_tlb_flush_page(c, va);
        return;
    }
    MmuStash *aside = stash_find(m, asid);

    if (aside)
        aside->asid = 0;
    for (unsigned i = 0; i < L2_WAYS; i++)
        if (set[i].vpn == va >> 12 && set[i].asid == asid)
            set[i].asid = 0;
    for (unsigned s = 0; s < BIG_SETS; s++)
        for (unsigned i = 0; i < L2_WAYS; i++)
            if (m->bigs[s][i].asid == asid && m->bigs[s][i].vpn >> 9 == va >> 30)
                m->bigs[s][i].asid = 0;
    m->walk_gen++;
    if (bit_test(m->code_filter, code_hash(va)) || bit_test(m->big_filter, filter_hash(va >> 22)) ||
        bit_test(m->huge_filter, filter_hash(va >> 30)))
        m->pcid[pcid & 0xfff].space_epoch = m->space_epoch - 1;
}

static unsigned host_hash(uint64_t host_page) { return (unsigned)((host_page >> 12) % HOST_FILTER); }

bool x86_tlb_protect(X86Cpu *c, RamBlock *rb, uint64_t off, uint64_t len)
{
    X86Mmu *m = c->mmu;
    uint64_t lo = (uint64_t)(uintptr_t)rb->host + (off & ~0xfffull);
    uint64_t n = ((off & 0xfff) + len + 0xfff) & ~0xfffull;
    bool any = n > 64 * TLB_PAGE, withdrawn = false;

    for (uint64_t p = 0; !any && p < n; p += TLB_PAGE)
        any = bit_test(m->host_filter, host_hash(lo + p));
    if (!any)
        return false;
    c->tlb_gen++;
    withdrawn = stash_protect(m, lo, n);
    for (unsigned b = 0; b < TLB_BANKS; b++)
        for (unsigned w = 0; w < TLB_WORDS; w++)
            for (uint64_t bits = m->used[b][w]; bits; bits &= bits - 1) {
                unsigned idx = w * 64 + (unsigned)__builtin_ctzll(bits);
                TlbEntry *e = &c->tlb[b][idx];

                if (e->host_page - lo < n) {
                    withdrawn |= e->tag_w != tlb_invalid(idx);
                    e->tag_w = tlb_invalid(idx);
                }
            }
    return withdrawn;
}

void x86_set_a20(X86Cpu *c, bool on)
{
    uint64_t mask = on ? ~0ull : ~(1ull << 20);

    if (c->mmu->a20_mask == mask)
        return;
    c->mmu->a20_mask = mask;
    x86_tlb_flush_all(c);
}

static const L2Entry *l2_find(const X86Mmu *m, const L2Entry *set, uint64_t vpn)
{
    for (unsigned i = 0; i < L2_WAYS; i++)
        if (set[i].vpn == vpn && (set[i].asid == m->cur_asid || set[i].asid == m->global_asid))
            return &set[i];
    return NULL;
}

static void l2_put(X86Mmu *m, L2Entry *set, uint64_t vpn, uint64_t pa, uint32_t perm)
{
    L2Entry *e = (L2Entry *)l2_find(m, set, vpn);

    if (!e) {
        e = &set[m->victim++ % L2_WAYS];
        for (unsigned i = 0; i < L2_WAYS; i++)
            if (set[i].asid < m->first_valid_asid)
                e = &set[i];
    }
    *e = (L2Entry) { vpn, pa, perm & PERM_G ? m->global_asid : m->cur_asid, perm };
}

/* Second level, then the tables. -1, or the #PF error code. */
static int translate(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank, Xlat *x)
{
    X86Mmu *m = c->mmu;
    const L2Entry *e;
    int r;

    if (!(c->cr0 & CR0_PG)) {
        *x = (Xlat) { va & 0xfffff000u, PERM_W | PERM_U | PERM_X | PERM_D };
        return -1;
    }
    e = l2_find(m, m->l2[(va >> 12) % L2_SETS], va >> 12);
    if (e) {
        *x = (Xlat) { e->pa, e->perm };
    } else {
        e = l2_find(m, m->bigs[(va >> 21) % BIG_SETS], va >> 21);
        if (e)
            *x = (Xlat) { e->pa + (va & 0x1ff000), e->perm };
    }
    if (e && x86_perm_ok(c, x->perm, acc, bank) && (acc != ACC_W || (x->perm & PERM_D)))
        return -1;
    r = x86_walk(c, va, acc, bank, x);
    if (r != -1)
        return r;
    if (x->perm & PERM_BIG)
        l2_put(m, m->bigs[(va >> 21) % BIG_SETS], va >> 21, x->pa & ~0x1fffffull, x->perm);
    else
        l2_put(m, m->l2[(va >> 12) % L2_SETS], va >> 12, x->pa, x->perm);
    return -1;
}

/* Gives tag_w when a plain store may now go straight to memory. */
static void grant_write(X86Cpu *c, TlbEntry *e, const FlatRange *fr, uint64_t pa, uint64_t page, uint32_t perm,
                        unsigned bank)
{
    if (fr->readonly || !fr->ram || !(perm & PERM_D) || !x86_perm_ok(c, perm, ACC_W, bank))
        return;
    if (G_UNLIKELY(c->mmu->shadow)) {
        if (x86_shadow_owns(c, (void *)(uintptr_t)e->host_page))
            e->tag_w = page;
        return;
    }
    if (!ram_page_plain(fr->ram, fr->ram_offset + (pa - fr->addr)))
        return;
    bit_set(c->mmu->host_filter, host_hash(e->host_page));
    e->tag_w = page;
}

static TlbEntry *l1_fill(X86Cpu *c, uint64_t va, uint64_t pa, uint8_t *host, const FlatRange *fr, uint32_t perm,
                         unsigned bank)
{
    X86Mmu *m = c->mmu;
    unsigned idx = tlb_index(va);
    uint64_t page = va & ~0xfffull, bit = 1ull << (idx % 64);
    TlbEntry *e = &c->tlb[bank][idx];
    bool same;

    same = e->tag_r == page && e->tag_w == tlb_invalid(idx) && e->host_page == (uint64_t)(uintptr_t)host;
    e->tag_r = e->tag_w = e->tag_x = tlb_invalid(idx);
    if (G_UNLIKELY(m->shadow))
        x86_shadow_filled(c, bank, idx);
    if (m->used[bank][idx / 64] & bit && !same)
        c->tlb_gen++;
    e->host_page = (uint64_t)(uintptr_t)host;
    m->l1_pa[bank][idx] = pa;
    m->used[bank][idx / 64] |= bit;
    m->global[bank][idx / 64] = (m->global[bank][idx / 64] & ~bit) | (perm & PERM_G ? bit : 0);
    m->big[bank][idx / 64] = (m->big[bank][idx / 64] & ~bit) | (perm & PERM_BIG ? bit : 0);
    if (perm & PERM_G)
        bit_set(m->global_filter, filter_hash(va >> 21));
    if (perm & PERM_BIG) {
        bit_set(m->big_filter, filter_hash(va >> 22));
        if (perm & PERM_1G)
            bit_set(m->huge_filter, filter_hash(va >> 30));
    }
    if (x86_perm_ok(c, perm, ACC_X, bank))
        e->tag_x = page;
    if (m->watch_any && x86_watch_page(c, page))
        return e;
    if (x86_perm_ok(c, perm, ACC_R, bank))
        e->tag_r = page;
    grant_write(c, e, fr, pa, page, perm, bank);
    return e;
}

G_NORETURN static void raise_noncanonical(X86Cpu *c, uint64_t va)
{
    const X86Insn *i = c->insn;
    /* Explicit operands know their segment; pushes and pops are near rSP. */
    bool stack = i && ((!i->is_reg && i->seg == S_SS) ||
                       (x86_rows[i->row].cls & CL_STACK && va - c->gpr[R_RSP] + 0x10000 < 0x20000));

    x86_raise_err(c, stack ? EXC_SS : EXC_GP, 0);
}

static void check_view(X86Cpu *c)
{
    if (G_UNLIKELY(c->mmu->view != c->vcpu.mem_view))
        x86_tlb_flush_all(c);
}

MemRef x86_mem_ref(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank)
{
    MemRef r = { 0 };
    Xlat x;
    int err;

    check_view(c);
    if (!(c->mode & MODE_LMA))
        va = (uint32_t)va;
    else if (G_UNLIKELY((uint64_t)((int64_t)(va << 16) >> 16) != va))
        raise_noncanonical(c, va);
    err = translate(c, va, acc, bank, &x);
    if (G_UNLIKELY(err != -1))
        x86_raise_pf(c, va, (uint32_t)err);
    r.pa = x.pa & c->mmu->a20_mask;
    r.perm = x.perm;
    r.host = x86_phys_host(c, r.pa, TLB_PAGE, &r.fr);
    if (r.host) {
        if (G_UNLIKELY(c->mmu->shadow))
            r.host = x86_shadow_page(c, r.host, va, acc == ACC_W && !r.fr->readonly);
        if (bank != TLB_N)
            r.entry = l1_fill(c, va, r.pa, r.host, r.fr, x.perm, bank);
        r.host += va & 0xfff;
    }
    r.pa |= va & 0xfff;
    if (!r.host)
        r.fr = x86_phys_range(c, r.pa);
    return r;
}

void x86_tlb_page_written(X86Cpu *c, const MemRef *r, uint64_t va, unsigned bank)
{
    if (r->entry && !(c->mmu->watch_any && x86_watch_page(c, va & ~0xfffull)))
        grant_write(c, r->entry, r->fr, r->pa, va & ~0xfffull, r->perm, bank);
}

X86Fetch x86_fetch_page(X86Cpu *c, uint64_t va)
{
    unsigned bank = x86_cpl(c) == 3 ? TLB_U : TLB_K;
    unsigned idx = tlb_index(va);
    const TlbEntry *e = &c->tlb[bank][idx];
    X86Fetch f = { 0 };
    const FlatRange *fr;

    if (c->mmu->view == c->vcpu.mem_view && (va ^ e->tag_x) < TLB_PAGE) {
        f.pa = c->mmu->l1_pa[bank][tlb_index(va)];
        f.host = (const uint8_t *)(uintptr_t)e->host_page;
        fr = x86_phys_range(c, f.pa);
    } else {
        MemRef r;

        if ((c->mode & MODE_LMA) && (uint64_t)((int64_t)(va << 16) >> 16) != va)
            x86_raise_err(c, EXC_GP, 0);
        r = x86_mem_ref(c, va, ACC_X, bank);
        f.pa = r.pa & ~0xfffull;
        f.host = r.host ? r.host - (va & 0xfff) : NULL;
        fr = r.fr;
    }
    bit_set(c->mmu->code_filter, code_hash(va));
    f.global = !(c->cr0 & CR0_PG) || (c->mmu->global[bank][idx / 64] >> (idx % 64) & 1);
    if (f.host && fr) {
        f.ram = fr->ram;
        f.ram_offset = fr->ram_offset + (f.pa - fr->addr);
    }
    if (__builtin_expect(c->vcpu.debug != NULL, 0))
        x86_debug_page(c, va & ~0xfffull, &f);
    return f;
}

bool x86_fetch_peek(X86Cpu *c, uint64_t va, X86Fetch *f)
{
    unsigned bank = x86_cpl(c) == 3 ? TLB_U : TLB_K, idx = tlb_index(va);
    const TlbEntry *e = &c->tlb[bank][idx];

    if (c->mmu->view != c->vcpu.mem_view || (va ^ e->tag_x) >= TLB_PAGE)
        return false;
    bit_set(c->mmu->code_filter, code_hash(va));
    f->host = (const uint8_t *)(uintptr_t)e->host_page;
    f->global = !(c->cr0 & CR0_PG) || (c->mmu->global[bank][idx / 64] >> (idx % 64) & 1);
    return true;
}

bool x86_translate_debug(X86Cpu *c, uint64_t va, uint64_t *pa)
{
    uint64_t a;

    check_view(c);
    if (!(c->mode & MODE_LMA))
        va = (uint32_t)va;
    if (!x86_walk_debug(c, va, &a))
        return false;
    *pa = a & c->mmu->a20_mask;
    return true;
}
