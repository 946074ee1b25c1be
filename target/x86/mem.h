/*
 * mem: guest memory as instructions see it: linear addresses through the software TLB.
 *
 * Fast path inline; misses, page crossings, MMIO and code pages go to mmu.c, which may raise
 * #PF/#GP and not return. Own thread, machine lock not held (taken inside for MMIO).
 */
#ifndef TARGET_X86_MEM_H
#define TARGET_X86_MEM_H

#include "target/x86/insn.h"
#include "util/bytes.h"

/* Slow paths (mmu.c). size 1-8. */
uint64_t x86_ld_slow(X86Cpu *c, uint64_t va, unsigned size, unsigned bank);
void x86_st_slow(X86Cpu *c, uint64_t va, uint64_t val, unsigned size, unsigned bank);
/* Any length, any alignment; raises before the first byte is stored. */
void x86_ld_bytes(X86Cpu *c, uint64_t va, void *buf, unsigned len, unsigned bank);
void x86_st_bytes(X86Cpu *c, uint64_t va, const void *buf, unsigned len, unsigned bank);
/* Checks that [va, va+len) can be written; raises if not. Nothing is stored. */
void x86_probe_w(X86Cpu *c, uint64_t va, unsigned len, unsigned bank);
void x86_probe_r(X86Cpu *c, uint64_t va, unsigned len, unsigned bank);

/* Host address for a plain access inside one page, after filling the TLB if needed (raises on a
   fault); NULL: MMIO, ROM, code page or page crossing, use the functions above. */
void *x86_host_r(X86Cpu *c, uint64_t va, unsigned size, unsigned bank);
void *x86_host_w(X86Cpu *c, uint64_t va, unsigned size, unsigned bank);

/*
 * For an atomic read-modify-write inside one page of RAM: its host address even where plain stores
 * are trapped (code pages, dirty tracking); NULL: device, ROM or page crossing, do load and store.
 * Follow it with x86_host_rmw_done() right after the operation. Slow; try x86_host_w first.
 */
void *x86_host_rmw(X86Cpu *c, uint64_t va, unsigned size, unsigned bank);
void x86_host_rmw_done(X86Cpu *c, uint64_t va, unsigned size, unsigned bank);

/* Guest memory on the host, at any alignment. */
typedef uint8_t x86_any8;
typedef uint16_t x86_any16 __attribute__((aligned(1)));
typedef uint32_t x86_any32 __attribute__((aligned(1)));
typedef uint64_t x86_any64 __attribute__((aligned(1)));

#define X86_MEM_FN(bits)                                                                    \
    static inline uint##bits##_t x86_ldb##bits(X86Cpu *c, uint64_t va, unsigned bank)       \
    {                                                                                       \
        const TlbEntry *e = &c->tlb[bank][tlb_index(va)];                                   \
        uint64_t off = va ^ e->tag_r;                                                       \
        if (__builtin_expect(off <= TLB_PAGE - bits / 8, 1))                                \
            return *(const x86_any##bits *)(uintptr_t)(e->host_page + off);                 \
        return x86_ld_slow(c, va, bits / 8, bank);                                          \
    }                                                                                       \
    static inline void x86_stb##bits(X86Cpu *c, uint64_t va, uint##bits##_t v, unsigned bank) \
    {                                                                                       \
        const TlbEntry *e = &c->tlb[bank][tlb_index(va)];                                   \
        uint64_t off = va ^ e->tag_w;                                                       \
        if (__builtin_expect(off <= TLB_PAGE - bits / 8, 1))                                \
            *(x86_any##bits *)(uintptr_t)(e->host_page + off) = v;                          \
        else                                                                                \
            x86_st_slow(c, va, v, bits / 8, bank);                                          \
    }                                                                                       \
    static inline uint##bits##_t x86_ld##bits(X86Cpu *c, uint64_t va)                       \
    { return x86_ldb##bits(c, va, c->data_bank); }                                          \
    static inline void x86_st##bits(X86Cpu *c, uint64_t va, uint##bits##_t v)               \
    { x86_stb##bits(c, va, v, c->data_bank); }
X86_MEM_FN(8)
X86_MEM_FN(16)
X86_MEM_FN(32)
X86_MEM_FN(64)
#undef X86_MEM_FN

/* Effective address of i's memory operand: offset inside its segment, truncated to adsize. */
static inline uint64_t x86_ea_off(const X86Cpu *c, const X86Insn *i)
{
    uint64_t a = (int64_t)i->disp;

    if (i->base == BASE_RIP)
        a += c->rip;
    else if (i->base != BASE_NONE)
        a += c->gpr[i->base];
    if (i->index != BASE_NONE)
        a += c->gpr[i->index] << i->scale;
    return i->adsize == 8 ? a : i->adsize == 4 ? (uint32_t)a : (uint16_t)a;
}

/* Segment check and base: linear address of offset off in segment s for an access of size bytes.
   Raises #GP(0) or #SS(0). Slow form in segment.c; in flat modes only FS and GS have a base. */
uint64_t x86_lin_slow(X86Cpu *c, unsigned s, uint64_t off, unsigned size, bool write);
static inline uint64_t x86_lin(X86Cpu *c, unsigned s, uint64_t off, unsigned size, bool write)
{
    if (__builtin_expect(c->mode & MODE_CS64, 1))
        return s >= S_FS && s <= S_GS ? off + c->seg[s].base : off;
    return x86_lin_slow(c, s, off, size, write);
}
/* Linear address of i's memory operand. */
static inline uint64_t x86_ea(X86Cpu *c, const X86Insn *i, unsigned size, bool write)
{
    return x86_lin(c, i->seg, x86_ea_off(c, i), size, write);
}

/* Supervisor accesses the processor makes by itself (descriptor tables, TSS, IDT): never user-mode. */
uint64_t x86_ld_sys(X86Cpu *c, uint64_t lin, unsigned size);
void x86_st_sys(X86Cpu *c, uint64_t lin, uint64_t v, unsigned size);

/* Translation for the debugger, monitor and dumps: no faults, no side effects. False: not mapped. */
bool x86_translate_debug(X86Cpu *c, uint64_t va, uint64_t *pa);

/* Instruction fetch: host address of the page of va for execution, its RAM block and offset.
   Raises #PF (fetch). NULL host: code outside RAM (ROM: host set; MMIO: fetched by bytes). */
typedef struct X86Fetch {
    const uint8_t *host;
    RamBlock *ram;
    uint64_t ram_offset, pa;
    bool global;                /* same in every address space until code_epoch changes */
} X86Fetch;
X86Fetch x86_fetch_page(X86Cpu *c, uint64_t va);
/* The same from the first-level TLB alone, host and global only; false: it would have to walk. */
bool x86_fetch_peek(X86Cpu *c, uint64_t va, X86Fetch *f);

/* c->vcpu.debug changed: watched pages, fetches to notice. c stands. */
void x86_debug_plan_changed(X86Cpu *c);

/* TLB control (mmu.c). Own thread. */
void x86_tlb_flush_all(X86Cpu *c);
void x86_tlb_flush_nonglobal(X86Cpu *c);
void x86_tlb_flush_page(X86Cpu *c, uint64_t va);
/* After CR3 changed under CR4.PCIDE: keep what is remembered of the new PCID, or not. */
void x86_tlb_switch_pcid(X86Cpu *c, bool keep);
void x86_tlb_flush_pcid(X86Cpu *c, unsigned pcid);
void x86_tlb_flush_page_pcid(X86Cpu *c, uint64_t va, unsigned pcid);    /* non-global */
void x86_tlb_flush_nonglobal_all(X86Cpu *c);                            /* of every PCID */
/* The A20 gate; for the board, on the vcpu's thread or stopped. */
void x86_set_a20(X86Cpu *c, bool on);
/* Withdraws fast-store permission (tag_w) for RAM pages: dirty logging, code pages. True: there was some. */
bool x86_tlb_protect(X86Cpu *c, RamBlock *rb, uint64_t off, uint64_t len);

/* Ports: permission checks are the caller's. Takes the machine lock. */
uint32_t x86_in(X86Cpu *c, uint16_t port, unsigned size);
void x86_out(X86Cpu *c, uint16_t port, uint32_t val, unsigned size);

#endif
