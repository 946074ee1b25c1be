/*
 * tlb: the software TLB's layout, shared by the interpreter, generated code and the page walker.
 *
 * One bank per access mode, direct-mapped, indexed by VA bits 12 and up. A tag is the page's
 * virtual address, or tlb_invalid(): an address of another index, so that (va ^ tag) is never below
 * 4096 whatever va is, canonical or not. A tag is
 * withheld whenever a plain host access would be wrong: tag_r until A is set; tag_w until D is
 * set, and for ROM, MMIO, pages with code and pages whose dirty bits are clear; all three for MMIO.
 * host_page is the host address of the page's first byte. Own thread only.
 */
#ifndef SOFTMMU_TLB_H
#define SOFTMMU_TLB_H

#include <stdint.h>

enum { TLB_BITS = 12, TLB_ENTRIES = 1 << TLB_BITS, TLB_PAGE = 4096 };
#define TLB_INVALID 0x8000000000000000ULL

typedef struct TlbEntry {
    uint64_t tag_r, tag_w, tag_x;
    uint64_t host_page;
} TlbEntry;

typedef enum {
    TLB_U,                      /* user-mode data accesses (CPL 3) */
    TLB_K,                      /* supervisor; user pages refused when SMAP is on */
    TLB_A,                      /* supervisor with user pages allowed (EFLAGS.AC=1, or SMAP off: unused) */
    TLB_N,                      /* never filled: user accesses that need an alignment check each time */
    TLB_BANKS
} TlbBank;

/* The tag that no address of entry `index` matches. */
static inline uint64_t tlb_invalid(unsigned index) { return TLB_INVALID | (uint64_t)!index << 12; }
static inline unsigned tlb_index(uint64_t va) { return (va >> 12) & (TLB_ENTRIES - 1); }

#endif
