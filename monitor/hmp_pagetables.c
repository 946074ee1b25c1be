/* hmp_pagetables: "info mem" and "info tlb": the page tables the selected CPU uses, walked from memory. */
#include "monitor/hmp_int.h"

#include "softmmu/accel.h"
#include "softmmu/dma.h"

#include <inttypes.h>

HmpFn hmp_info_mem, hmp_info_tlb;

/* A guest can map the same table everywhere; the walk ends after this many leaf pages. */
enum { LEAF_BUDGET = 200000 };
enum { PTE_P = 1 << 0, PTE_W = 1 << 1, PTE_U = 1 << 2, PTE_PS = 1 << 7 };
#define PTE_ADDR 0x000ffffffffff000ULL

typedef struct Walk {
    Hmp *h;
    AddressSpace *as;
    uint64_t cr0, cr3, cr4, efer, pdpte[4];
    void (*leaf)(struct Walk *w, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags);
    unsigned budget;
    uint64_t start, end, prot;  /* the run "info mem" is collecting */
    bool open;
} Walk;

static void leaf_tlb(Walk *w, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags)
{
    static const char letters[] = "XGPDACTUW";
    static const int bits[] = { 63, 8, 7, 6, 5, 4, 3, 2, 1 };
    char text[10];

    for (int i = 0; i < 9; i++)
        text[i] = flags >> bits[i] & 1 ? letters[i] : '-';
    text[9] = 0;
    hmp_printf(w->h, "%016" PRIx64 ": %016" PRIx64 " %s\n", va, pa, text);
}

static void mem_flush(Walk *w)
{
    if (w->open)
        hmp_printf(w->h, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %cr%c\n", w->start, w->end,
                   w->end - w->start, w->prot & PTE_U ? 'u' : '-', w->prot & PTE_W ? 'w' : '-');
    w->open = false;
}

static void leaf_mem(Walk *w, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags)
{
    uint64_t prot = flags & (PTE_U | PTE_W);

    if (w->open && w->end == va && w->prot == prot) {
        w->end = va + size;
        return;
    }
    mem_flush(w);
    w->open = true;
    w->start = va;
    w->end = va + size;
    w->prot = prot;
}

static uint64_t sign_extend(uint64_t va) { return (uint64_t)((int64_t)(va << 16) >> 16); }

/* level: 1 is the table of 4 KiB pages. up: U and W allowed so far. */
static void walk64(Walk *w, uint64_t table, int level, uint64_t base, uint64_t up)
{
    unsigned shift = 12 + 9 * (level - 1);

    for (unsigned i = 0; i < 512 && w->budget; i++) {
        uint64_t e = dma_ld64(w->as, table + i * 8), va = base | (uint64_t)i << shift, allow;

        if (!(e & PTE_P))
            continue;
        allow = e & up & (PTE_U | PTE_W);
        if (level == 1 || (level <= 3 && e & PTE_PS)) {
            w->budget--;
            w->leaf(w, level == 4 || w->efer & EFER_LMA ? sign_extend(va) : va,
                    e & PTE_ADDR & ~((1ULL << shift) - 1), 1ULL << shift, (e & ~(uint64_t)(PTE_U | PTE_W)) | allow);
        } else {
            w->budget--;
            walk64(w, e & PTE_ADDR, level - 1, va, allow);
        }
    }
}

static void walk32(Walk *w)
{
    for (unsigned i = 0; i < 1024 && w->budget; i++) {
        uint32_t d = dma_ld32(w->as, (w->cr3 & ~0xfffULL) + i * 4);

        if (!(d & PTE_P))
            continue;
        w->budget--;
        if (d & PTE_PS && w->cr4 & CR4_PSE) {
            w->leaf(w, (uint64_t)i << 22, d & 0xffc00000, 4 << 20, d);
            continue;
        }
        for (unsigned j = 0; j < 1024 && w->budget; j++) {
            uint32_t e = dma_ld32(w->as, (d & ~0xfffu) + j * 4);

            if (!(e & PTE_P))
                continue;
            w->budget--;
            w->leaf(w, (uint64_t)i << 22 | j << 12, e & ~0xfffu, 4096,
                    (e & ~(uint32_t)(PTE_U | PTE_W)) | (e & d & (PTE_U | PTE_W)));
        }
    }
}

static void read_paging_on(Vcpu *v, void *opaque)
{
    X86Cpu *c = x86_cpu(v);
    Walk *w = opaque;

    if (v->machine->accel && v->machine->accel->pull)
        v->machine->accel->pull(v);
    w->cr0 = c->cr0;
    w->cr3 = c->cr3;
    w->cr4 = c->cr4;
    w->efer = c->efer;
    memcpy(w->pdpte, c->pdpte, sizeof w->pdpte);
}

static void walk_all(Hmp *h, void (*leaf)(Walk *w, uint64_t va, uint64_t pa, uint64_t size, uint64_t flags))
{
    Walk w = { .h = h, .as = &h->m->mem, .leaf = leaf, .budget = LEAF_BUDGET };

    if (!hmp_vcpu(h))
        return;
    vcpu_run_on(hmp_vcpu(h), read_paging_on, &w);
    if (!(w.cr0 & CR0_PG)) {
        hmp_printf(h, "PG disabled\n");
        return;
    }
    if (w.efer & EFER_LMA) {
        walk64(&w, w.cr3 & PTE_ADDR, 4, 0, PTE_U | PTE_W);
    } else if (w.cr4 & CR4_PAE) {
        for (unsigned i = 0; i < 4; i++)
            if (w.pdpte[i] & PTE_P)
                walk64(&w, w.pdpte[i] & PTE_ADDR, 2, (uint64_t)i << 30, PTE_U | PTE_W);
    } else {
        walk32(&w);
    }
    mem_flush(&w);
    if (!w.budget)
        hmp_printf(h, "(there is more)\n");
}

void hmp_info_tlb(Hmp *h, int argc, char **argv) { walk_all(h, leaf_tlb); }
void hmp_info_mem(Hmp *h, int argc, char **argv) { walk_all(h, leaf_mem); }
