/* vga_mem: what the processor sees at a0000-bffff: planes, latches, write and read modes. */
#include "hw/display/vga.h"

enum { SEQ_MAP_MASK = 2, SEQ_MEMORY = 4, MEM_CHAIN4 = 8, MEM_SEQUENTIAL = 4 };
enum { GR_SET_RESET, GR_ENABLE_SET_RESET, GR_COMPARE, GR_ROTATE, GR_READ_MAP, GR_MODE, GR_MISC, GR_DONT_CARE, GR_BIT_MASK };
enum { MODE_READ_COMPARE = 8, MODE_ODD_EVEN = 0x10 };

/* Four bits to four bytes of ones. */
static inline uint32_t spread(unsigned bits)
{
    return (bits & 1 ? 0x000000ffu : 0) | (bits & 2 ? 0x0000ff00u : 0) | (bits & 4 ? 0x00ff0000u : 0) |
           (bits & 8 ? 0xff000000u : 0);
}

static inline uint32_t repeat(uint8_t v)
{
    return v * 0x01010101u;
}

/* Offset in the 128 KiB at a0000 to an address in the selected window; false: not decoded. */
static bool window_address(const Vga *v, uint32_t off, uint32_t *addr)
{
    switch (v->gr[GR_MISC] >> 2 & 3) {
    case 0:
        *addr = off;
        return true;
    case 1:
        *addr = off;
        return off < 0x10000;
    case 2:
        *addr = off - 0x10000;
        return off >= 0x10000 && off < 0x18000;
    default:
        *addr = off - 0x18000;
        return off >= 0x18000;
    }
}

static uint32_t bank_base(const Vga *v)
{
    return vbe_on(v) ? (uint32_t)v->vbe[VBE_BANK] << 16 : 0;
}

static bool chained(const Vga *v)
{
    return (v->seq[SEQ_MEMORY] & MEM_CHAIN4) || (vbe_on(v) && v->vbe[VBE_BPP] >= 8);
}

bool vga_window_linear(const Vga *v, uint32_t *offset)
{
    unsigned map = v->gr[GR_MISC] >> 2 & 3;
    uint32_t base = bank_base(v);

    if (!chained(v) || map > 1 || (v->misc & 2) == 0 || (!vbe_on(v) && (v->seq[SEQ_MAP_MASK] & 15) != 15) ||
        !range_ok(base, 0x10000, v->vram_size))
        return false;
    *offset = base;
    return true;
}

/* A byte address of chained or odd/even mode, masked to the memory there is. */
static uint32_t byte_address(const Vga *v, uint32_t addr)
{
    if (chained(v))
        return (addr + bank_base(v)) & (v->vram_size - 1);
    return ((addr & ~1u) << 1 | (v->gr[GR_READ_MAP] & 2) | (addr & 1)) & (v->vram_size - 1);
}

static uint32_t word_address(const Vga *v, uint32_t addr)
{
    return (addr * 4 + bank_base(v) * (vbe_on(v) ? 4u : 0u)) & (v->vram_size - 1) & ~3u;
}

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
    Vga *v = opaque;
    uint32_t addr, diff;

    if (!(v->misc & 2) || !window_address(v, off, &addr))
        return 0xff;
    if (chained(v) || ((v->gr[GR_MODE] & MODE_ODD_EVEN) && !(v->seq[SEQ_MEMORY] & MEM_SEQUENTIAL)))
        return v->vram->host[byte_address(v, addr)];
    v->latch = ld32_le(v->vram->host + word_address(v, addr));
    if (!(v->gr[GR_MODE] & MODE_READ_COMPARE))
        return v->latch >> (8 * (v->gr[GR_READ_MAP] & 3)) & 0xff;
    diff = (v->latch ^ spread(v->gr[GR_COMPARE])) & spread(v->gr[GR_DONT_CARE]);
    diff |= diff >> 16;
    return ~(diff | diff >> 8) & 0xff;
}

/* The byte from the processor becomes four bytes for the planes. */
static uint32_t combine(const Vga *v, uint8_t val)
{
    unsigned rotate = v->gr[GR_ROTATE] & 7, mode = v->gr[GR_MODE] & 3;
    uint8_t bit_mask = v->gr[GR_BIT_MASK], rotated = val >> rotate | val << (8 - rotate);
    uint32_t data, mask;

    if (mode == 1)
        return v->latch;
    switch (mode) {
    case 0:
        data = repeat(rotated);
        mask = spread(v->gr[GR_ENABLE_SET_RESET]);
        data = (data & ~mask) | (spread(v->gr[GR_SET_RESET]) & mask);
        break;
    case 2:
        data = spread(val);
        break;
    default:
        bit_mask &= rotated;
        data = spread(v->gr[GR_SET_RESET]);
        break;
    }
    switch (v->gr[GR_ROTATE] >> 3 & 3) {
    case 1:
        data &= v->latch;
        break;
    case 2:
        data |= v->latch;
        break;
    case 3:
        data ^= v->latch;
        break;
    }
    mask = repeat(bit_mask);
    return (data & mask) | (v->latch & ~mask);
}

static void window_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Vga *v = opaque;
    uint32_t addr, at;

    if (!(v->misc & 2) || !window_address(v, off, &addr))
        return;
    if (chained(v) || !(v->seq[SEQ_MEMORY] & MEM_SEQUENTIAL)) {
        unsigned plane = chained(v) ? addr & 3 : addr & 1;

        /* odd/even: an even address reaches planes 0 and 2, as the map mask lets it */
        if (chained(v)) {
            at = byte_address(v, addr);
            if (v->seq[SEQ_MAP_MASK] & 1 << plane || vbe_on(v)) {
                v->vram->host[at] = val;
                ram_mark_written(v->vram, at, 1);
            }
            return;
        }
        at = (addr & ~1u) << 1 & (v->vram_size - 1);
    } else {
        at = word_address(v, addr);
    }
    {
        bool odd_even = !(v->seq[SEQ_MEMORY] & MEM_SEQUENTIAL);
        unsigned planes = v->seq[SEQ_MAP_MASK] & 15 & (odd_even ? (addr & 1 ? 10 : 5) : 15);
        uint32_t mask = spread(planes), old = ld32_le(v->vram->host + at);

        st32_le(v->vram->host + at, (old & ~mask) | (combine(v, val) & mask));
        ram_mark_written(v->vram, at, 4);
    }
}

const IoOps vga_window_ops = { window_read, window_write, .min = 1, .max = 8, .impl_min = 1, .impl_max = 1,
                               .unaligned = true, .late_writes = true };
