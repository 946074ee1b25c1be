/*
 * walk: page walks of every paging mode, with accessed and dirty bits.
 *
 * Intel SDM vol. 3 ch. 4: none, 32-bit (PSE, PSE-36), PAE, 4-level. Entries are read once,
 * checked, and only when the whole walk permits the access are A and D set, with a locked
 * compare-and-exchange on the guest's table; an entry that changed meanwhile restarts the walk.
 */
#include "target/x86/mmu_int.h"
#include "target/x86/prot_int.h"

#define PTE_P (1ull << 0)
#define PTE_W (1ull << 1)
#define PTE_U (1ull << 2)
#define PTE_A (1ull << 5)
#define PTE_D (1ull << 6)
#define PTE_PS (1ull << 7)
#define PTE_G (1ull << 8)
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull

enum { WALK_RETRIES = 64 };

typedef struct Level {
    void *host;                 /* the entry in guest RAM; NULL: not writable memory */
    const FlatRange *fr;
    uint64_t val;
    uint64_t pa;
    bool copy;                  /* host is a shadow's */
} Level;

typedef struct Walk {
    Level lv[4];
    unsigned n;                 /* entries read */
    unsigned wide;              /* bytes of an entry: 4 or 8 */
    uint32_t perm;              /* PERM_* so far */
    uint64_t pa;                /* result */
    bool cached;                /* lv[] starts at the page table */
} Walk;

const FlatRange *x86_phys_range(X86Cpu *c, uint64_t pa)
{
    X86Mmu *m = c->mmu;
    const FlatRange *fr = m->ram_range;

    if (fr && pa - fr->addr < fr->size)
        return fr;
    fr = m->io_range;
    if (fr && pa - fr->addr < fr->size)
        return fr;
    fr = flat_view_find(m->view, pa);
    if (fr && fr->host)
        m->ram_range = fr;
    else if (fr)
        m->io_range = fr;
    return fr;
}

uint8_t *x86_phys_host(X86Cpu *c, uint64_t pa, unsigned size, const FlatRange **fr)
{
    const FlatRange *r = x86_phys_range(c, pa);

    *fr = r;
    if (!r || !r->host || pa - r->addr > r->size - size || r->size < size)
        return NULL;
    return r->host + (pa - r->addr);
}

static Level read_entry(X86Cpu *c, uint64_t pa, unsigned wide)
{
    Level l = { .pa = pa & c->mmu->a20_mask };

    l.host = x86_phys_host(c, l.pa, wide, &l.fr);
    if (l.host && G_UNLIKELY(c->mmu->shadow)) {
        void *real = l.host;

        l.host = x86_shadow_walk(c, real);
        l.copy = l.host != real;
    }
    if (l.host && wide == 8)
        l.val = le64toh(__atomic_load_n((uint64_t *)l.host, __ATOMIC_RELAXED));
    else if (l.host)
        l.val = le32toh(__atomic_load_n((uint32_t *)l.host, __ATOMIC_RELAXED));
    else if (l.fr)
        l.val = flat_range_read(l.fr, l.pa, wide);
    else
        l.val = wide == 8 ? ~0ull : 0xffffffffu;
    if (l.host && l.fr->readonly)
        l.host = NULL;
    return l;
}

/* Sets bits in an entry; false when it changed since it was read. */
static bool set_bits(Level *l, unsigned wide, uint64_t bits)
{
    bool ok;

    if (!l->host || (l->val & bits) == bits)
        return true;
    if (wide == 8) {
        uint64_t old = htole64(l->val);
        ok = __atomic_compare_exchange_n((uint64_t *)l->host, &old, htole64(l->val | bits), false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    } else {
        uint32_t old = htole32((uint32_t)l->val);
        ok = __atomic_compare_exchange_n((uint32_t *)l->host, &old, htole32((uint32_t)(l->val | bits)), false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    if (ok) {
        uint64_t off = l->fr->ram_offset + (l->pa - l->fr->addr);

        l->val |= bits;
        if (l->fr->ram && !l->copy && !ram_page_plain(l->fr->ram, off))
            ram_mark_written(l->fr->ram, off, wide);
    }
    return ok;
}

bool x86_perm_ok(const X86Cpu *c, uint32_t perm, MmuAccess acc, unsigned bank)
{
    if (bank == TLB_U || bank == TLB_N) {
        if (!(perm & PERM_U))
            return false;
        return acc == ACC_R || (perm & (acc == ACC_W ? PERM_W : PERM_X));
    }
    if (acc == ACC_X)
        return (perm & PERM_X) && !((perm & PERM_U) && (c->cr4 & CR4_SMEP));
    if ((perm & PERM_U) && bank == TLB_K && (c->cr4 & CR4_SMAP))
        return false;
    return acc == ACC_R || (perm & PERM_W) || !(c->cr0 & CR0_WP);
}

static int fault(const X86Cpu *c, MmuAccess acc, unsigned bank, uint32_t bits)
{
    if (acc == ACC_W)
        bits |= PF_W;
    if (bank == TLB_U || bank == TLB_N)
        bits |= PF_U;
    if (acc == ACC_X && ((c->cr4 & CR4_SMEP) || ((c->cr4 & CR4_PAE) && (c->efer & EFER_NXE))))
        bits |= PF_I;
    return (int)bits;
}

/* Folds a 32- or 64-bit entry's rights into the walk. */
static void fold(const X86Cpu *c, Walk *w, uint64_t e, bool leaf)
{
    if (!(e & PTE_W))
        w->perm &= ~PERM_W;
    if (!(e & PTE_U))
        w->perm &= ~PERM_U;
    if (w->wide == 8 && (e & PTE_NX))
        w->perm &= ~PERM_X;
    if (leaf && (e & PTE_G) && (c->cr4 & CR4_PGE))
        w->perm |= PERM_G;
}

/* Result codes of the per-mode walks. */
enum { WALK_OK, WALK_NOT_PRESENT, WALK_RESERVED };

static int walk32(X86Cpu *c, uint64_t va, Walk *w)
{
    uint64_t pde, pte;

    w->wide = 4;
    w->lv[w->n++] = read_entry(c, (c->cr3 & 0xfffff000u) + ((va >> 22) & 0x3ff) * 4, 4);
    pde = w->lv[0].val;
    if (!(pde & PTE_P))
        return WALK_NOT_PRESENT;
    if ((pde & PTE_PS) && (c->cr4 & CR4_PSE)) {
        fold(c, w, pde, true);
        if (pde & (1u << 21))
            return WALK_RESERVED;
        w->perm |= PERM_BIG;
        w->pa = ((pde & 0xffc00000u) | ((pde >> 13 & 0xff) << 32)) + (va & 0x3ff000);
        return w->pa & ~c->mmu->phys_mask ? WALK_RESERVED : WALK_OK;
    }
    fold(c, w, pde, false);
    w->lv[w->n++] = read_entry(c, (pde & 0xfffff000u) + ((va >> 12) & 0x3ff) * 4, 4);
    pte = w->lv[1].val;
    if (!(pte & PTE_P))
        return WALK_NOT_PRESENT;
    fold(c, w, pte, true);
    w->pa = pte & 0xfffff000u;
    return WALK_OK;
}

/* Reads one 64-bit entry and checks what all levels have in common. */
static int step64(X86Cpu *c, Walk *w, uint64_t pa, uint64_t *e)
{
    uint64_t rsvd = PTE_ADDR & ~c->mmu->phys_mask;

    if (!(c->efer & EFER_NXE))
        rsvd |= PTE_NX;
    if (!(c->efer & EFER_LMA))
        rsvd |= 0x7ff0000000000000ull;
    w->lv[w->n] = read_entry(c, pa, 8);
    *e = w->lv[w->n++].val;
    if (!(*e & PTE_P))
        return WALK_NOT_PRESENT;
    return *e & rsvd ? WALK_RESERVED : WALK_OK;
}

/* From the page directory (table) down: shared by PAE and long mode. */
static int walk_pd(X86Cpu *c, uint64_t va, Walk *w, uint64_t table)
{
    uint64_t e;
    int r = step64(c, w, table + ((va >> 21) & 0x1ff) * 8, &e);

    if (r)
        return r;
    if (e & PTE_PS) {
        fold(c, w, e, true);
        if (e & 0x1fe000)
            return WALK_RESERVED;
        w->perm |= PERM_BIG;
        w->pa = (e & PTE_ADDR & ~0x1fffffull) + (va & 0x1ff000);
        return WALK_OK;
    }
    fold(c, w, e, false);
    w->pa = e & PTE_ADDR;
    return -1;                  /* the page table's address */
}

static int walk_pt(X86Cpu *c, uint64_t va, Walk *w, uint64_t table)
{
    uint64_t e;
    int r = step64(c, w, table + ((va >> 12) & 0x1ff) * 8, &e);

    if (r)
        return r;
    fold(c, w, e, true);
    w->pa = e & PTE_ADDR;
    return WALK_OK;
}

/* Long mode levels 4 and 3. WALK_OK: done (1 GiB page); -1: pa is the page directory. */
static int walk_upper(X86Cpu *c, uint64_t va, Walk *w)
{
    uint64_t e;
    int r = step64(c, w, (c->cr3 & PTE_ADDR) + ((va >> 39) & 0x1ff) * 8, &e);

    if (r)
        return r;
    if (e & PTE_PS)
        return WALK_RESERVED;
    fold(c, w, e, false);
    r = step64(c, w, (e & PTE_ADDR) + ((va >> 30) & 0x1ff) * 8, &e);
    if (r)
        return r;
    if (e & PTE_PS) {
        fold(c, w, e, true);
        if (e & 0x3fffe000)
            return WALK_RESERVED;
        w->perm |= PERM_BIG | PERM_1G;
        w->pa = (e & PTE_ADDR & ~0x3fffffffull) + (va & 0x3ffff000);
        return WALK_OK;
    }
    fold(c, w, e, false);
    w->pa = e & PTE_ADDR;
    return -1;
}

static int walk64(X86Cpu *c, uint64_t va, Walk *w)
{
    X86Mmu *m = c->mmu;
    WalkEntry *we = &m->walk[(va >> 21) % WALK_ENTRIES];
    uint64_t pd;
    int r;

    w->wide = 8;
    if (we->key == va >> 21 && we->asid == m->cur_asid && we->gen == m->walk_gen) {
        w->perm = we->perm;
        w->cached = true;
        return walk_pt(c, va, w, we->table);
    }
    if (c->efer & EFER_LMA) {
        r = walk_upper(c, va, w);
        if (r != -1)
            return r;
        pd = w->pa;
    } else {
        pd = c->pdpte[va >> 30 & 3];
        if (!(pd & PTE_P))
            return WALK_NOT_PRESENT;
        pd &= PTE_ADDR;
    }
    r = walk_pd(c, va, w, pd);
    return r == -1 ? walk_pt(c, va, w, w->pa) : r;
}

static int walk_once(X86Cpu *c, uint64_t va, Walk *w)
{
    *w = (Walk) { .perm = PERM_W | PERM_U | PERM_X };
    return c->cr4 & CR4_PAE ? walk64(c, va, w) : walk32(c, va, w);
}

/* Remembers the page table of va's 2 MiB range once its upper entries are accessed. */
static void remember(X86Cpu *c, uint64_t va, const Walk *w, uint32_t perm)
{
    X86Mmu *m = c->mmu;
    WalkEntry *we = &m->walk[(va >> 21) % WALK_ENTRIES];

    if (w->cached || w->wide != 8 || (perm & PERM_BIG) || w->n < 2)
        return;
    we->key = va >> 21;
    we->asid = m->cur_asid;
    we->gen = m->walk_gen;
    we->table = w->lv[w->n - 2].val & PTE_ADDR;
    we->perm = PERM_W | PERM_U | PERM_X;
    for (unsigned i = 0; i + 1 < w->n; i++) {
        uint64_t e = w->lv[i].val;

        we->perm &= (e & PTE_W ? ~0u : ~PERM_W) & (e & PTE_U ? ~0u : ~PERM_U) & (e & PTE_NX ? ~PERM_X : ~0u);
    }
}

int x86_walk(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank, Xlat *x)
{
    Walk w;
    int r;

    for (unsigned tries = 0;; tries++) {
        bool ok = true;

        r = walk_once(c, va, &w);
        if (w.cached && (r != WALK_OK || !x86_perm_ok(c, w.perm, acc, bank))) {
            c->mmu->walk_gen++;                 /* the upper levels may allow more by now */
            continue;
        }
        if (r == WALK_NOT_PRESENT)
            return fault(c, acc, bank, 0);
        if (r == WALK_RESERVED)
            return fault(c, acc, bank, PF_P | PF_RSVD);
        if (!x86_perm_ok(c, w.perm, acc, bank))
            return fault(c, acc, bank, PF_P);
        for (unsigned i = 0; i + 1 < w.n && ok; i++)
            ok = set_bits(&w.lv[i], w.wide, PTE_A);
        if (ok)
            ok = set_bits(&w.lv[w.n - 1], w.wide, acc == ACC_W ? PTE_A | PTE_D : PTE_A);
        if (ok || tries == WALK_RETRIES)
            break;
    }
    if (w.lv[w.n - 1].val & PTE_D)
        w.perm |= PERM_D;
    remember(c, va, &w, w.perm);
    x->pa = w.pa;
    x->perm = w.perm;
    return -1;
}

bool x86_walk_debug(X86Cpu *c, uint64_t va, uint64_t *pa)
{
    Walk w;

    if (!(c->cr0 & CR0_PG)) {
        *pa = va & 0xffffffffu;
        return true;
    }
    if (walk_once(c, va, &w) != WALK_OK)
        return false;
    *pa = w.pa | (va & 0xfff);
    return true;
}

bool x86_load_pdptes(X86Cpu *c, uint64_t cr3)
{
    uint64_t rsvd = 0x1e6 | ~(c->mmu->phys_mask | 0xfff), p[4];

    for (unsigned i = 0; i < 4; i++) {
        p[i] = read_entry(c, (cr3 & 0xffffffe0u) + 8 * i, 8).val;
        if ((p[i] & PTE_P) && (p[i] & rsvd))
            return false;
    }
    memcpy(c->pdpte, p, sizeof p);
    return true;
}
