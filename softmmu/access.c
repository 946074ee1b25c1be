/* access: one guest access to a region: size bridging, busy guard, holes, splitting at borders. */
#include "softmmu/region.h"

#include "softmmu/machine.h"
#include "util/bytes.h"
#include "util/log.h"

#include <inttypes.h>

static uint64_t ones(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ULL << (size * 8)) - 1;
}

static uint64_t host_read(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return *p;
    case 2: return ld16_le(p);
    case 4: return ld32_le(p);
    case 8: return ld64_le(p);
    default: {
        uint64_t v = 0;

        for (unsigned i = 0; i < size; i++)
            v |= (uint64_t)p[i] << (i * 8);
        return v;
    }
    }
}

static void host_write(uint8_t *p, uint64_t val, unsigned size)
{
    switch (size) {
    case 1: *p = val; break;
    case 2: st16_le(p, val); break;
    case 4: st32_le(p, val); break;
    case 8: st64_le(p, val); break;
    default:
        for (unsigned i = 0; i < size; i++)
            p[i] = val >> (i * 8);
    }
}

/* The sizes of a region's handlers with the defaults filled in. */
typedef struct OpSizes { unsigned min, max, impl_min, impl_max; } OpSizes;
static OpSizes op_sizes(const IoOps *o)
{
    OpSizes s = { o->min ? o->min : 1, o->max ? o->max : 4, o->impl_min, o->impl_max };

    if (!s.impl_min)
        s.impl_min = s.min;
    if (!s.impl_max)
        s.impl_max = s.max;
    return s;
}

/* An aligned (or accepted unaligned) piece of at most impl_max bytes. */
static uint64_t read_piece(const Region *r, OpSizes s, uint64_t off, unsigned size)
{
    uint64_t v;

    if (size >= s.impl_min) {
        v = r->ops->read(r->opaque, off, size);
    } else {
        unsigned shift = (off & (s.impl_min - 1)) * 8;

        v = r->ops->read(r->opaque, off & ~(uint64_t)(s.impl_min - 1), s.impl_min) >> shift;
    }
    return v & ones(size);
}

static void write_piece(const Region *r, OpSizes s, uint64_t off, uint64_t val, unsigned size)
{
    val &= ones(size);
    if (size >= s.impl_min) {
        r->ops->write(r->opaque, off, val, size);
    } else {
        unsigned shift = (off & (s.impl_min - 1)) * 8;

        r->ops->write(r->opaque, off & ~(uint64_t)(s.impl_min - 1), val << shift, s.impl_min);
    }
}

/* The largest power of two that starts at off, is at most size and at most the handler's. */
static unsigned piece_size(const Region *r, OpSizes s, uint64_t off, unsigned size)
{
    unsigned p = MIN(size, s.impl_max);

    while (p & (p - 1))
        p &= p - 1;
    while (p > 1 && (off & (p - 1)) && !r->ops->unaligned)
        p >>= 1;
    return p;
}

static bool access_allowed(const Region *r, OpSizes s, uint64_t off, unsigned size, bool write)
{
    if (size >= s.min && size <= s.max)
        return true;
    log_guest("%s: %u-byte %s at offset %#" PRIx64 " refused\n", r->name, size, write ? "write" : "read", off);
    return false;
}

static uint64_t io_read(Region *r, uint64_t off, unsigned size)
{
    OpSizes s = op_sizes(r->ops);
    uint64_t v = 0;

    if ((r->busy && *r->busy) || !access_allowed(r, s, off, size, false))
        return ones(size);
    if (r->busy)
        *r->busy = true;
    for (unsigned done = 0; done < size;) {
        unsigned p = piece_size(r, s, off + done, size - done);

        v |= read_piece(r, s, off + done, p) << (done * 8);
        done += p;
    }
    if (r->busy)
        *r->busy = false;
    trace(region_read, "%s off=%#" PRIx64 " size=%u val=%#" PRIx64, r->name, off, size, v);
    return v;
}

static void io_write(Region *r, uint64_t off, uint64_t val, unsigned size)
{
    OpSizes s = op_sizes(r->ops);

    if ((r->busy && *r->busy) || !access_allowed(r, s, off, size, true))
        return;
    trace(region_write, "%s off=%#" PRIx64 " size=%u val=%#" PRIx64, r->name, off, size, val);
    if (r->busy)
        *r->busy = true;
    for (unsigned done = 0; done < size;) {
        unsigned p = piece_size(r, s, off + done, size - done);

        write_piece(r, s, off + done, val >> (done * 8), p);
        done += p;
    }
    if (r->busy)
        *r->busy = false;
}

/* ROM may be written to by its handler only; there is none to read. */
static void rom_write(Region *r, uint64_t off, uint64_t val, unsigned size)
{
    if (!r->ops || !r->ops->write || (r->busy && *r->busy))
        return;
    if (r->busy)
        *r->busy = true;
    r->ops->write(r->opaque, off, val, size);
    if (r->busy)
        *r->busy = false;
}

static bool needs_lock(const Region *r)
{
    return !(r->ops && r->ops->lockless) && !machine_lock_held();
}

uint64_t flat_range_read(const FlatRange *fr, uint64_t addr, unsigned size)
{
    uint64_t off = addr - fr->addr, v;
    bool lock;

    if (fr->host)
        return host_read(fr->host + off, size);
    lock = needs_lock(fr->region);
    if (lock)
        machine_lock();
    v = io_read(fr->region, fr->offset + off, size);
    if (lock)
        machine_unlock();
    return v;
}

void flat_range_write(const FlatRange *fr, uint64_t addr, unsigned size, uint64_t val)
{
    uint64_t off = addr - fr->addr;
    bool lock;

    if (fr->host && !fr->readonly) {
        host_write(fr->host + off, val, size);
        ram_mark_written(fr->ram, fr->ram_offset + off, size);
        return;
    }
    lock = needs_lock(fr->region);
    if (lock)
        machine_lock();
    if (fr->readonly)
        rom_write(fr->region, fr->offset + off, val, size);
    else
        io_write(fr->region, fr->offset + off, val, size);
    if (lock)
        machine_unlock();
}

/* How many of size bytes at addr go to fr (NULL: to the hole, one byte at a time). The device that
   claims the first byte of an access gets all of it that lies in its region, even where another
   region hides a part: a dword at 0xcf8 is PCI's although the byte 0xcf9 is the reset register. */
static unsigned part_len(const FlatRange *fr, uint64_t addr, unsigned size)
{
    if (!fr)
        return 1;
    if (!fr->host)
        return MIN(size, fr->region->size - (fr->offset + (addr - fr->addr)));
    return MIN(size, fr->addr + fr->size - addr);
}

bool addrspace_read(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *val)
{
    FlatView *v = addrspace_view_ref(as);
    bool whole = true;

    *val = 0;
    for (unsigned done = 0; done < size;) {
        const FlatRange *fr = flat_view_find(v, addr + done);
        unsigned n = part_len(fr, addr + done, size - done);

        *val |= (fr ? flat_range_read(fr, addr + done, n) : 0xff) << (done * 8);
        whole &= fr != NULL;
        done += n;
    }
    flat_view_unref(v);
    return whole;
}

bool addrspace_write(AddressSpace *as, uint64_t addr, unsigned size, uint64_t val)
{
    FlatView *v = addrspace_view_ref(as);
    bool whole = true;

    for (unsigned done = 0; done < size;) {
        const FlatRange *fr = flat_view_find(v, addr + done);
        unsigned n = part_len(fr, addr + done, size - done);

        if (fr)
            flat_range_write(fr, addr + done, n, val >> (done * 8));
        whole &= fr != NULL;
        done += n;
    }
    flat_view_unref(v);
    return whole;
}
