/*
 * mem: guest memory accesses that the inline path cannot do: misses, page crossings, devices,
 * code pages, armed breakpoints; and the ports.
 */
#include "target/x86/mmu_int.h"

static uint64_t host_load(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return ld16_le(p);
    case 4: return ld32_le(p);
    case 8: return ld64_le(p);
    default: {
        uint64_t v = 0;

        for (unsigned i = 0; i < size; i++)
            v |= (uint64_t)p[i] << (8 * i);
        return v;
    }
    }
}

static void host_store(uint8_t *p, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: st16_le(p, (uint16_t)v); break;
    case 4: st32_le(p, (uint32_t)v); break;
    case 8: st64_le(p, v); break;
    default:
        for (unsigned i = 0; i < size; i++)
            p[i] = (uint8_t)(v >> (8 * i));
    }
}

static bool in_range(const FlatRange *fr, uint64_t pa, unsigned size)
{
    return fr && pa >= fr->addr && pa - fr->addr < fr->size && flat_range_takes(fr, pa, size);
}

/* Device, ROM border or hole: in pieces the bus can carry. */
static uint64_t phys_read(X86Cpu *c, const FlatRange *fr, uint64_t pa, unsigned size)
{
    uint64_t v = 0;

    if (G_UNLIKELY(c->mmu->shadow))
        x86_shadow_cannot(c);
    if ((size & (size - 1)) == 0) {
        if (in_range(fr, pa, size))
            return flat_range_read(fr, pa, size);
        if (size == 1)
            return 0xff;
    }
    for (unsigned i = 0; i < size; i++) {
        fr = x86_phys_range(c, pa + i);
        v |= (fr ? flat_range_read(fr, pa + i, 1) & 0xff : 0xff) << (8 * i);
    }
    return v;
}

static void phys_write(X86Cpu *c, const FlatRange *fr, uint64_t pa, uint64_t v, unsigned size)
{
    if (G_UNLIKELY(c->mmu->shadow))
        x86_shadow_cannot(c);
    if ((size & (size - 1)) == 0) {
        if (in_range(fr, pa, size)) {
            flat_range_write(fr, pa, size, v);
            return;
        }
        if (size == 1)
            return;
    }
    for (unsigned i = 0; i < size; i++) {
        fr = x86_phys_range(c, pa + i);
        if (fr)
            flat_range_write(fr, pa + i, 1, (uint8_t)(v >> (8 * i)));
    }
}

static uint64_t ref_load(X86Cpu *c, const MemRef *r, uint64_t va, unsigned size)
{
    if (G_UNLIKELY(c->mmu->watch_any))
        x86_watch_hit(c, va, size, false);
    return r->host ? host_load(r->host, size) : phys_read(c, r->fr, r->pa, size);
}

static void ref_written(X86Cpu *c, const MemRef *r, uint64_t va, unsigned size, unsigned bank)
{
    uint64_t off = r->fr->ram_offset + (r->pa - r->fr->addr);

    if (!r->fr->ram || c->mmu->shadow || ram_page_plain(r->fr->ram, off))
        return;
    ram_mark_written(r->fr->ram, off, size);
    x86_tlb_page_written(c, r, va, bank);
}

static void ref_store(X86Cpu *c, const MemRef *r, uint64_t va, uint64_t v, unsigned size, unsigned bank)
{
    if (G_UNLIKELY(c->mmu->watch_any))
        x86_watch_hit(c, va, size, true);
    if (r->host && !r->fr->readonly) {
        host_store(r->host, v, size);
        ref_written(c, r, va, size, bank);
    } else {
        phys_write(c, r->fr, r->pa, v, size);
    }
}

/* The address after a page border: 32-bit addresses wrap outside 64-bit code. */
static uint64_t next_page(const X86Cpu *c, uint64_t va, unsigned bytes)
{
    return c->mode & MODE_CS64 ? va + bytes : (uint32_t)(va + bytes);
}

/* What an operand of size bytes must be a multiple of under alignment checks (SDM vol. 3, table 6-7; vectors as AMD has it). */
static unsigned natural_alignment(unsigned size)
{
    switch (size) {
    case 2: case 4: case 8: case 16: return size;
    case 32: return 16;
    case 10: return 8;                      /* 80-bit numbers */
    case 28: case 108: return 4;            /* x87 state of 32-bit code */
    case 14: case 94: return 2;
    default: return 1;
    }
}

/* Bank TLB_N: user accesses under EFLAGS.AC. */
static void check_alignment(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    if (bank == TLB_N && (va & (natural_alignment(size) - 1)))
        x86_raise_err(c, EXC_AC, 0);
}

uint64_t x86_ld_slow(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    unsigned first = TLB_PAGE - (va & 0xfff);
    MemRef r, r2;
    uint64_t va2;

    check_alignment(c, va, size, bank);
    r = x86_mem_ref(c, va, ACC_R, bank);
    if (size <= first)
        return ref_load(c, &r, va, size);
    va2 = next_page(c, va, first);
    r2 = x86_mem_ref(c, va2, ACC_R, bank);
    return ref_load(c, &r, va, first) | ref_load(c, &r2, va2, size - first) << (8 * first);
}

void x86_st_slow(X86Cpu *c, uint64_t va, uint64_t val, unsigned size, unsigned bank)
{
    unsigned first = TLB_PAGE - (va & 0xfff);
    MemRef r, r2;
    uint64_t va2;

    check_alignment(c, va, size, bank);
    r = x86_mem_ref(c, va, ACC_W, bank);
    if (size <= first) {
        ref_store(c, &r, va, val, size, bank);
        return;
    }
    va2 = next_page(c, va, first);
    r2 = x86_mem_ref(c, va2, ACC_W, bank);
    ref_store(c, &r, va, val, first, bank);
    ref_store(c, &r2, va2, val >> (8 * first), size - first, bank);
}

static void probe(X86Cpu *c, uint64_t va, unsigned len, unsigned bank, MmuAccess acc)
{
    check_alignment(c, va, len, bank);
    while (len) {
        unsigned n = MIN(len, TLB_PAGE - (unsigned)(va & 0xfff));
        const TlbEntry *e = &c->tlb[bank][tlb_index(va)];

        if ((va ^ (acc == ACC_W ? e->tag_w : e->tag_r)) >= TLB_PAGE && !x86_mem_ref(c, va, acc, bank).host &&
            c->mmu->shadow)
            x86_shadow_cannot(c);       /* here, before anybody takes a lock */
        va = next_page(c, va, n);
        len -= n;
    }
}

void x86_probe_w(X86Cpu *c, uint64_t va, unsigned len, unsigned bank) { probe(c, va, len, bank, ACC_W); }
void x86_probe_r(X86Cpu *c, uint64_t va, unsigned len, unsigned bank) { probe(c, va, len, bank, ACC_R); }

void x86_ld_bytes(X86Cpu *c, uint64_t va, void *buf, unsigned len, unsigned bank)
{
    uint8_t *out = buf;

    check_alignment(c, va, len, bank);
    if ((va & 0xfff) + len > TLB_PAGE)
        probe(c, va, len, bank, ACC_R);
    while (len) {
        unsigned n = MIN(len, TLB_PAGE - (unsigned)(va & 0xfff));
        const void *host = x86_host_r(c, va, n, bank);

        if (host) {
            memcpy(out, host, n);
        } else {
            MemRef r = x86_mem_ref(c, va, ACC_R, bank);

            n = MIN(n, 8u);
            host_store(out, ref_load(c, &r, va, n), n);
        }
        out += n;
        va = next_page(c, va, n);
        len -= n;
    }
}

void x86_st_bytes(X86Cpu *c, uint64_t va, const void *buf, unsigned len, unsigned bank)
{
    const uint8_t *in = buf;

    check_alignment(c, va, len, bank);
    if ((va & 0xfff) + len > TLB_PAGE)
        probe(c, va, len, bank, ACC_W);
    while (len) {
        unsigned n = MIN(len, TLB_PAGE - (unsigned)(va & 0xfff));
        void *host = x86_host_w(c, va, n, bank);

        if (host) {
            memcpy(host, in, n);
        } else {
            MemRef r = x86_mem_ref(c, va, ACC_W, bank);

            n = MIN(n, 8u);
            ref_store(c, &r, va, host_load(in, n), n, bank);
        }
        in += n;
        va = next_page(c, va, n);
        len -= n;
    }
}

void *x86_host_r(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    const TlbEntry *e = &c->tlb[bank][tlb_index(va)];
    uint64_t off = va ^ e->tag_r;

    if (off <= TLB_PAGE - size)
        return (void *)(uintptr_t)(e->host_page + off);
    if (bank == TLB_N || (va & 0xfff) + size > TLB_PAGE)
        return NULL;
    x86_mem_ref(c, va, ACC_R, bank);
    off = va ^ e->tag_r;
    return off < TLB_PAGE ? (void *)(uintptr_t)(e->host_page + off) : NULL;
}

void *x86_host_w(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    const TlbEntry *e = &c->tlb[bank][tlb_index(va)];
    uint64_t off = va ^ e->tag_w;

    if (off <= TLB_PAGE - size)
        return (void *)(uintptr_t)(e->host_page + off);
    if (bank == TLB_N || (va & 0xfff) + size > TLB_PAGE)
        return NULL;
    x86_mem_ref(c, va, ACC_W, bank);
    off = va ^ e->tag_w;
    return off < TLB_PAGE ? (void *)(uintptr_t)(e->host_page + off) : NULL;
}

void *x86_host_rmw(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    MemRef r;

    c->mmu->rmw = (MemRef) { 0 };
    check_alignment(c, va, size, bank);
    if ((va & 0xfff) + size > TLB_PAGE)
        return NULL;
    r = x86_mem_ref(c, va, ACC_W, bank);
    if (!r.host || r.fr->readonly) {
        if (c->mmu->shadow)
            x86_shadow_cannot(c);
        return NULL;
    }
    if (G_UNLIKELY(c->mmu->watch_any))
        x86_watch_hit(c, va, size, true);
    c->mmu->rmw = r;
    return r.host;
}

void x86_host_rmw_done(X86Cpu *c, uint64_t va, unsigned size, unsigned bank)
{
    const MemRef *r = &c->mmu->rmw;

    if (r->host)
        ref_written(c, r, va, size, bank);
}

uint64_t x86_ld_sys(X86Cpu *c, uint64_t lin, unsigned size)
{
    switch (size) {
    case 1: return x86_ldb8(c, lin, TLB_K);
    case 2: return x86_ldb16(c, lin, TLB_K);
    case 4: return x86_ldb32(c, lin, TLB_K);
    default: return x86_ldb64(c, lin, TLB_K);
    }
}

void x86_st_sys(X86Cpu *c, uint64_t lin, uint64_t v, unsigned size)
{
    switch (size) {
    case 1: x86_stb8(c, lin, (uint8_t)v, TLB_K); break;
    case 2: x86_stb16(c, lin, (uint16_t)v, TLB_K); break;
    case 4: x86_stb32(c, lin, (uint32_t)v, TLB_K); break;
    default: x86_stb64(c, lin, v, TLB_K);
    }
}

static const FlatRange *port_range(X86Cpu *c, uint32_t port)
{
    if (c->vcpu.port_view == NULL)
        c->vcpu.port_view = addrspace_view_ref(&c->vcpu.machine->ports);
    return port <= 0xffff ? flat_view_find(c->vcpu.port_view, port) : NULL;
}

uint32_t x86_in(X86Cpu *c, uint16_t port, unsigned size)
{
    const FlatRange *fr = port_range(c, port);
    uint32_t v = 0;

    if (in_range(fr, port, size))
        return (uint32_t)flat_range_read(fr, port, size);
    for (unsigned i = 0; i < size; i++) {
        fr = port_range(c, port + i);
        v |= (fr ? (uint32_t)flat_range_read(fr, port + i, 1) & 0xff : 0xff) << (8 * i);
    }
    return v;
}

void x86_out(X86Cpu *c, uint16_t port, uint32_t val, unsigned size)
{
    const FlatRange *fr = port_range(c, port);

    if (in_range(fr, port, size)) {
        flat_range_write(fr, port, size, val);
        return;
    }
    for (unsigned i = 0; i < size; i++) {
        fr = port_range(c, port + i);
        if (fr)
            flat_range_write(fr, port + i, 1, (uint8_t)(val >> (8 * i)));
    }
}
