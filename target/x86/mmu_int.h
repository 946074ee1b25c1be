/*
 * mmu_int: what the page walker, the TLBs and the slow memory paths share.
 *
 * Own thread only. Second-level entries are tagged with an address-space number (asid): one
 * for global pages, one per PCID. A flush gives the space a new number, so nothing is cleared.
 */
#ifndef TARGET_X86_MMU_INT_H
#define TARGET_X86_MMU_INT_H

#include "target/x86/mem.h"

typedef enum { ACC_R, ACC_W, ACC_X } MmuAccess;

enum {                          /* permissions of a translation, all levels combined */
    PERM_W = 1 << 0, PERM_U = 1 << 1, PERM_X = 1 << 2, PERM_D = 1 << 3, PERM_G = 1 << 4,
    PERM_BIG = 1 << 5,          /* from a page larger than 4 KiB: pa is still that of the 4 KiB page */
    PERM_1G = 1 << 6,
};

typedef struct Xlat {
    uint64_t pa;                /* of the 4 KiB page, before A20 */
    uint32_t perm;
} Xlat;

typedef struct L2Entry {        /* a 4 KiB page, or a 2 MiB piece of a larger one */
    uint64_t vpn;               /* VA >> 12, or VA >> 21 */
    uint64_t pa;
    uint32_t asid;              /* 0: empty */
    uint32_t perm;
} L2Entry;

typedef struct WalkEntry {      /* where the page table of a 2 MiB range is, and the rights down to it */
    uint64_t key;               /* VA >> 21 */
    uint64_t table;
    uint32_t asid, gen, perm;
} WalkEntry;

typedef struct MemRef {         /* where one access inside a page goes */
    uint8_t *host;              /* RAM or ROM; NULL: device, or a range border inside the page */
    const FlatRange *fr;        /* NULL: hole */
    uint64_t pa;                /* with offset, A20 applied */
    TlbEntry *entry;            /* its first-level entry, or NULL */
    uint32_t perm;
} MemRef;
typedef struct MmuSpace {        /* what is remembered of one PCID */
    uint32_t asid, space_epoch;
    uint64_t space;
} MmuSpace;

enum { L2_SETS = 1024, L2_WAYS = 4, BIG_SETS = 64, WALK_ENTRIES = 256, BIG_FILTER = 1024, HOST_FILTER = 8192, CODE_FILTER = 65536 };
enum { TLB_WORDS = TLB_ENTRIES / 64, STASHES = 8, STASH_MAX = 192 };

typedef struct StashEntry { TlbEntry e; uint64_t pa; uint16_t idx; uint8_t bank; bool big; } StashEntry;
typedef struct MmuStash {       /* first-level entries of an address space that is not the current one */
    uint32_t asid;              /* 0: unused */
    unsigned n;
    StashEntry at[STASH_MAX];
} MmuStash;

typedef struct X86Mmu {
    uint32_t cur_asid, global_asid, next_asid, first_valid_asid;
    uint64_t a20_mask;
    uint64_t phys_mask;         /* valid physical address bits */
    const FlatView *view;       /* what ram_range and the TLBs were filled from */
    const FlatRange *ram_range; /* most recent RAM range: almost always right */
    const FlatRange *io_range;
    unsigned victim;
    bool watch_any;             /* a data breakpoint is armed */
    uint64_t used[TLB_BANKS][TLB_WORDS], global[TLB_BANKS][TLB_WORDS], big[TLB_BANKS][TLB_WORDS];
    uint64_t big_filter[BIG_FILTER / 64];       /* hash of VA >> 22 of first-level entries from big pages */
    uint64_t huge_filter[BIG_FILTER / 64];      /* the same for VA >> 30 of 1 GiB pages */
    uint64_t host_filter[HOST_FILTER / 64];     /* hash of host pages that may have tag_w */
    uint64_t l1_pa[TLB_BANKS][TLB_ENTRIES];
    L2Entry l2[L2_SETS][L2_WAYS], bigs[BIG_SETS][L2_WAYS];
    WalkEntry walk[WALK_ENTRIES];
    uint32_t walk_gen;
    uint64_t next_space;        /* last value given to X86Cpu.code_space */
    uint64_t code_filter[CODE_FILTER / 64];     /* hash of VA >> 12 of pages fetched from */
    uint32_t space_epoch;       /* changes when global pages may have changed */
    uint64_t global_filter[BIG_FILTER / 64];    /* hash of VA >> 21 of pages filled as global */
    MmuSpace pcid[4096];
    MmuStash stash[STASHES];
    unsigned stash_victim;
    MemRef rmw;                 /* between x86_host_rmw and x86_host_rmw_done */
    struct X86Shadow *shadow;   /* NULL, or this is the processor of a shadow: stores go to copies */
} X86Mmu;

/* Walks the tables of the current paging mode for va: translation in x, accessed and dirty bits
   set. -1, or the #PF error code. walk.c. */
int x86_walk(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank, Xlat *x);
/* The same without side effects or permission checks. */
bool x86_walk_debug(X86Cpu *c, uint64_t va, uint64_t *pa);
/* Do these rights allow the access? */
bool x86_perm_ok(const X86Cpu *c, uint32_t perm, MmuAccess acc, unsigned bank);

/* The range of the memory view that holds physical address pa (A20 applied), or NULL. */
const FlatRange *x86_phys_range(X86Cpu *c, uint64_t pa);
/* Host address of size bytes of RAM or ROM at pa, or NULL; *fr is the range. */
uint8_t *x86_phys_host(X86Cpu *c, uint64_t pa, unsigned size, const FlatRange **fr);

/* Translates and fills the first-level entry; raises #PF, #GP or #SS. */
MemRef x86_mem_ref(X86Cpu *c, uint64_t va, MmuAccess acc, unsigned bank);

/* r was stored to and its page marked: gives the fast-store tag when the page became plain. */
void x86_tlb_page_written(X86Cpu *c, const MemRef *r, uint64_t va, unsigned bank);

/* Of a processor with mmu->shadow (shadow.c): the page to use for the real one; where a page walk
   finds an entry (and x86_shadow_filled: an entry is about to be filled); whether host is a copy; giving up. */
uint8_t *x86_shadow_page(X86Cpu *c, uint8_t *host, uint64_t va, bool write);
void x86_shadow_filled(X86Cpu *c, unsigned bank, unsigned idx);
void *x86_shadow_walk(X86Cpu *c, void *host);
bool x86_shadow_owns(const X86Cpu *c, const void *host);
G_NORETURN void x86_shadow_cannot(X86Cpu *c);

/* Data breakpoints (debug.c). */
bool x86_watch_page(const X86Cpu *c, uint64_t va);
void x86_watch_hit(X86Cpu *c, uint64_t va, unsigned len, bool write);

#endif
