/* dma: copies between devices and guest RAM, and windows of guest RAM for zero-copy transfers. */
#include "softmmu/dma.h"

typedef enum { DMA_READ, DMA_WRITE, DMA_FILL } DmaDir;

/* Bytes from addr to the end of what fr covers (NULL: to the next range), at most len. */
static uint64_t run_len(const FlatView *v, const FlatRange *fr, uint64_t addr, uint64_t len)
{
    unsigned lo = 0, hi = v->n;

    if (fr)
        return MIN(len, fr->addr + fr->size - addr);
    while (lo < hi) {           /* first range above addr */
        unsigned mid = lo + (hi - lo) / 2;

        if (v->ranges[mid].addr > addr)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < v->n ? MIN(len, v->ranges[lo].addr - addr) : len;
}

static bool dma_copy(AddressSpace *as, uint64_t addr, void *buf, uint64_t len, DmaDir dir)
{
    FlatView *v = addrspace_view_ref(as);
    uint8_t *p = buf;
    bool whole = true;

    while (len) {
        const FlatRange *fr = flat_view_find(v, addr);
        uint64_t n = run_len(v, fr, addr, len), off = fr ? addr - fr->addr : 0;
        bool ok = fr && fr->host && (dir == DMA_READ || !fr->readonly);

        if (dir == DMA_READ) {
            if (ok)
                memcpy(p, fr->host + off, n);
            else
                memset(p, 0, n);
        } else if (ok) {
            if (dir == DMA_WRITE)
                memcpy(fr->host + off, p, n);
            else
                memset(fr->host + off, *(uint8_t *)buf, n);
            ram_mark_written(fr->ram, fr->ram_offset + off, n);
        }
        whole &= ok;
        if (dir != DMA_FILL)
            p += n;
        addr += n;              /* wraps at 2^64 like the bus does */
        len -= n;
    }
    flat_view_unref(v);
    return whole;
}

bool dma_read(AddressSpace *as, uint64_t addr, void *buf, uint64_t len)
{
    return dma_copy(as, addr, buf, len, DMA_READ);
}

bool dma_write(AddressSpace *as, uint64_t addr, const void *buf, uint64_t len)
{
    return dma_copy(as, addr, (void *)buf, len, DMA_WRITE);
}

bool dma_fill(AddressSpace *as, uint64_t addr, uint8_t byte, uint64_t len)
{
    return dma_copy(as, addr, &byte, len, DMA_FILL);
}

DmaSpan dma_map(AddressSpace *as, uint64_t addr, uint64_t len, bool for_write)
{
    DmaSpan span = { .for_write = for_write };
    FlatView *v = addrspace_view_ref(as);
    const FlatRange *fr = flat_view_find(v, addr);

    if (!len || !fr || !fr->host || (for_write && fr->readonly)) {
        flat_view_unref(v);
        return span;
    }
    span.host = fr->host + (addr - fr->addr);
    span.len = MIN(len, fr->addr + fr->size - addr);
    span.ram = fr->ram;
    span.ram_offset = fr->ram_offset + (addr - fr->addr);
    span.view = v;
    return span;
}

void dma_unmap(DmaSpan *span, uint64_t done)
{
    if (!span->host)
        return;
    if (span->for_write && done)
        ram_mark_written(span->ram, span->ram_offset, MIN(done, span->len));
    flat_view_unref(span->view);
    span->host = NULL;
    span->view = NULL;
    span->len = 0;
}
