/*
 * dma: the only way a device turns a guest address into bytes.
 *
 * DMA reaches RAM (and reads ROM); addresses that hit MMIO or holes transfer nothing
 * there: reads give zero bytes, writes are dropped, and the call returns false.
 * Stores mark pages written (display, migration, translated code). Any thread.
 */
#ifndef SOFTMMU_DMA_H
#define SOFTMMU_DMA_H

#include "softmmu/region.h"
#include "util/bytes.h"

/* Copies len bytes. False if any part was not RAM (that part: zeroed / dropped). */
bool dma_read(AddressSpace *as, uint64_t addr, void *buf, uint64_t len);
bool dma_write(AddressSpace *as, uint64_t addr, const void *buf, uint64_t len);
bool dma_fill(AddressSpace *as, uint64_t addr, uint8_t byte, uint64_t len);

static inline uint16_t dma_ld16(AddressSpace *as, uint64_t a) { uint8_t b[2]; dma_read(as, a, b, 2); return ld16_le(b); }
static inline uint32_t dma_ld32(AddressSpace *as, uint64_t a) { uint8_t b[4]; dma_read(as, a, b, 4); return ld32_le(b); }
static inline uint64_t dma_ld64(AddressSpace *as, uint64_t a) { uint8_t b[8]; dma_read(as, a, b, 8); return ld64_le(b); }
static inline void dma_st16(AddressSpace *as, uint64_t a, uint16_t v) { uint8_t b[2]; st16_le(b, v); dma_write(as, a, b, 2); }
static inline void dma_st32(AddressSpace *as, uint64_t a, uint32_t v) { uint8_t b[4]; st32_le(b, v); dma_write(as, a, b, 4); }
static inline void dma_st64(AddressSpace *as, uint64_t a, uint64_t v) { uint8_t b[8]; st64_le(b, v); dma_write(as, a, b, 8); }

/*
 * A window of guest RAM as host memory, for zero-copy transfers by block and net
 * back-ends. May be shorter than asked (border of a RAM block): the caller loops.
 * host is NULL when addr is not RAM. Holds a reference on the view until unmapped.
 * for_write: dma_unmap() marks the first `done` bytes written.
 */
typedef struct DmaSpan {
    void *host;
    uint64_t len;
    RamBlock *ram;
    uint64_t ram_offset;
    FlatView *view;
    bool for_write;
} DmaSpan;
DmaSpan dma_map(AddressSpace *as, uint64_t addr, uint64_t len, bool for_write);
void dma_unmap(DmaSpan *span, uint64_t done);

#endif
