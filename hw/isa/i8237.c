/*
 * i8237: two cascaded 8237A DMA controllers with the PC's page registers.
 *
 * Intel 8237A data sheet (231466). Channels 0-3 move bytes, 5-7 words; 4 is the cascade. A
 * transfer wraps inside its 64 KiB (128 KiB) page, as the address counter has 16 bits. Left out:
 * memory-to-memory, which PC wiring does not support. docs/hw/i8237.md. Machine lock.
 */
#include "hw/isa/i8237.h"

#include "hw/core/wiring.h"

enum { CHIPS = 2, CHANNELS = 4 };
enum { R_COMMAND = 8, R_REQUEST = 9, R_MASK_ONE = 10, R_MODE = 11, R_CLEAR_FF = 12, R_CLEAR = 13,
       R_CLEAR_MASK = 14, R_MASK_ALL = 15 };
enum { COMMAND_DISABLE = 1 << 2, MODE_AUTO = 1 << 4, MODE_DOWN = 1 << 5 };

typedef struct DmaChannel {
    uint16_t base_addr, base_count, addr, count;
    uint8_t mode, page;
    bool done;                  /* terminal count reached, no auto-init: waits for programming */
} DmaChannel;

typedef struct DmaChip {
    DmaChannel ch[CHANNELS];
    uint8_t command, mask, status, request;
    bool flip_flop;
} DmaChip;

typedef struct DmaListener { void (*fn)(void *opaque); void *opaque; } DmaListener;

struct IsaDma {
    Device dev;
    Region io[CHIPS], page_io;
    DmaListener listener[CHIPS * CHANNELS];
    DmaChip chip[CHIPS];        /* state */
    uint8_t page_spare[16];
};

/* Port 80h + i holds the page of this channel; -1: scratch. */
static const int8_t page_channel[16] = { -1, 2, 3, 1, -1, -1, -1, 0, -1, 6, 7, 5, -1, -1, -1, 4 };

static DmaChannel *channel(IsaDma *s, unsigned ch) { return &s->chip[ch >> 2 & 1].ch[ch & 3]; }

static void tell(IsaDma *s, unsigned ch)
{
    if (s->listener[ch].fn)
        s->listener[ch].fn(s->listener[ch].opaque);
}

void isa_dma_listen(IsaDma *s, unsigned ch, void (*fn)(void *opaque), void *opaque)
{
    if (ch < CHIPS * CHANNELS)
        s->listener[ch] = (DmaListener) { fn, opaque };
}

bool isa_dma_ready(IsaDma *s, unsigned ch, uint32_t *left, IsaDmaKind *kind)
{
    const DmaChip *chip = &s->chip[ch >> 2 & 1];
    const DmaChannel *c;

    if (ch >= CHIPS * CHANNELS || ch == 4)
        return false;
    c = channel(s, ch);
    if ((chip->command & COMMAND_DISABLE) || (chip->mask >> (ch & 3) & 1) || c->done || (c->mode >> 2 & 3) == 3)
        return false;
    *left = (uint32_t)(c->count + 1) << (ch > 4);
    *kind = c->mode >> 2 & 3;
    return true;
}

/* Bytes that can be moved at once from the channel's address: up to the end of its page. */
static uint32_t contiguous(const DmaChannel *c, bool words, uint32_t want)
{
    uint32_t room = c->mode & MODE_DOWN ? 1 : 0x10000 - c->addr;

    return MIN(want, room << words);
}

static uint64_t memory_address(const DmaChannel *c, bool words)
{
    return words ? (uint64_t)(c->page & 0xfe) << 16 | (uint32_t)c->addr << 1 : (uint64_t)c->page << 16 | c->addr;
}

static void advance(IsaDma *s, unsigned ch, uint32_t units, bool *tc)
{
    DmaChannel *c = channel(s, ch);
    bool end = units > c->count;

    c->addr += c->mode & MODE_DOWN ? -units : units;
    c->count -= units;
    if (!end)
        return;
    *tc = true;
    s->chip[ch >> 2].status |= 1 << (ch & 3);
    if (c->mode & MODE_AUTO) {
        c->addr = c->base_addr;
        c->count = c->base_count;
    } else {
        c->done = true;
        s->chip[ch >> 2].mask |= 1 << (ch & 3);
    }
}

static uint32_t transfer(IsaDma *s, unsigned ch, uint8_t *buf, uint32_t len, bool to_memory, bool *tc)
{
    AddressSpace *as = device_mem(&s->dev);
    bool words = ch > 4;
    uint32_t moved = 0, left;
    IsaDmaKind kind;

    *tc = false;
    while (moved < len && !*tc && isa_dma_ready(s, ch, &left, &kind)) {
        DmaChannel *c = channel(s, ch);
        uint32_t n = contiguous(c, words, MIN(len - moved, left));

        n &= ~(uint32_t)words;
        if (!n)
            break;
        if (to_memory && kind == ISA_DMA_TO_MEMORY)
            dma_write(as, memory_address(c, words), buf + moved, n);
        else if (!to_memory && kind == ISA_DMA_FROM_MEMORY)
            dma_read(as, memory_address(c, words), buf + moved, n);
        else if (!to_memory)
            memset(buf + moved, 0, n);
        moved += n;
        advance(s, ch, n >> words, tc);
    }
    return moved;
}

uint32_t isa_dma_to_memory(IsaDma *s, unsigned ch, const void *buf, uint32_t len, bool *tc)
{
    return transfer(s, ch, (uint8_t *)buf, len, true, tc);
}

uint32_t isa_dma_from_memory(IsaDma *s, unsigned ch, void *buf, uint32_t len, bool *tc)
{
    return transfer(s, ch, buf, len, false, tc);
}

static uint8_t chip_read(IsaDma *s, unsigned n, unsigned reg)
{
    DmaChip *chip = &s->chip[n];
    uint16_t v;

    if (reg == R_COMMAND) {
        v = chip->status;
        chip->status &= 0xf0;
        return v;
    }
    if (reg > R_COMMAND)
        return reg == R_MASK_ALL ? chip->mask | 0xf0 : 0;
    v = reg & 1 ? chip->ch[reg >> 1].count : chip->ch[reg >> 1].addr;
    chip->flip_flop = !chip->flip_flop;
    return chip->flip_flop ? v : v >> 8;
}

static void half_write(uint16_t *base, uint16_t *now, bool high, uint8_t val)
{
    *base = high ? (*base & 0xff) | val << 8 : (*base & 0xff00) | val;
    *now = *base;
}

static void chip_clear(DmaChip *chip)
{
    chip->command = chip->status = chip->request = 0;
    chip->mask = 15;
    chip->flip_flop = false;
}

static void chip_write(IsaDma *s, unsigned n, unsigned reg, uint8_t val)
{
    DmaChip *chip = &s->chip[n];
    unsigned ch = val & 3;
    uint8_t was = chip->mask;

    switch (reg) {
    case R_COMMAND: chip->command = val; break;
    case R_REQUEST: chip->request = val & 4 ? chip->request | 1 << ch : chip->request & ~(1 << ch); break;
    case R_MASK_ONE: chip->mask = val & 4 ? chip->mask | 1 << ch : chip->mask & ~(1 << ch); break;
    case R_MODE: chip->ch[ch].mode = val & 0xfc; break;
    case R_CLEAR_FF: chip->flip_flop = false; break;
    case R_CLEAR: chip_clear(chip); break;
    case R_CLEAR_MASK: chip->mask = 0; break;
    case R_MASK_ALL: chip->mask = val & 15; break;
    default:
        if (reg & 1)
            half_write(&chip->ch[reg >> 1].base_count, &chip->ch[reg >> 1].count, chip->flip_flop, val);
        else
            half_write(&chip->ch[reg >> 1].base_addr, &chip->ch[reg >> 1].addr, chip->flip_flop, val);
        chip->ch[reg >> 1].done = false;
        chip->flip_flop = !chip->flip_flop;
        break;
    }
    for (unsigned i = 0; i < CHANNELS; i++) {
        if ((was & ~chip->mask) >> i & 1) {
            chip->ch[i].done = false;
            tell(s, n * CHANNELS + i);
        }
    }
}

static uint64_t low_read(void *opaque, uint64_t off, unsigned size) { return chip_read(opaque, 0, off); }
static void low_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { chip_write(opaque, 0, off, val); }
static uint64_t high_read(void *opaque, uint64_t off, unsigned size) { return chip_read(opaque, 1, off >> 1); }
static void high_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { chip_write(opaque, 1, off >> 1, val); }

static const IoOps chip_ops[CHIPS] = {
    { low_read, low_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 },
    { high_read, high_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 },
};

static uint64_t page_read(void *opaque, uint64_t off, unsigned size)
{
    IsaDma *s = opaque;

    return page_channel[off] < 0 ? s->page_spare[off] : channel(s, page_channel[off])->page;
}

static void page_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    IsaDma *s = opaque;

    if (page_channel[off] < 0)
        s->page_spare[off] = val;
    else
        channel(s, page_channel[off])->page = val;
}

static const IoOps page_ops = { page_read, page_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

static void i8237_reset(Device *dev)
{
    IsaDma *s = (IsaDma *)dev;

    memset(s->chip, 0, sizeof s->chip);
    memset(s->page_spare, 0, sizeof s->page_spare);
    for (unsigned n = 0; n < CHIPS; n++)
        chip_clear(&s->chip[n]);
}

static bool i8237_realize(Device *dev, GError **err)
{
    IsaDma *s = (IsaDma *)dev;

    device_init_io(dev, &s->io[0], "dma-low", &chip_ops[0], 16);
    device_init_io(dev, &s->io[1], "dma-high", &chip_ops[1], 32);
    device_init_io(dev, &s->page_io, "dma-page", &page_ops, 16);
    device_map_pio(dev, &s->io[0], 0x00);
    device_map_pio(dev, &s->io[1], 0xc0);
    device_map_pio(dev, &s->page_io, 0x80);
    if (isa_bus(dev->machine))
        isa_bus(dev->machine)->dma = s;
    return true;
}

static void i8237_unrealize(Device *dev)
{
    if (isa_bus(dev->machine))
        isa_bus(dev->machine)->dma = NULL;
}

static const StateDesc channel_state = {
    .name = "channel", .version = 1, .fields = (const StateField[]) {
        STATE_U16(DmaChannel, base_addr), STATE_U16(DmaChannel, base_count), STATE_U16(DmaChannel, addr),
        STATE_U16(DmaChannel, count), STATE_U8(DmaChannel, mode), STATE_U8(DmaChannel, page),
        STATE_B(DmaChannel, done), STATE_END },
};
static const StateDesc chip_state = {
    .name = "chip", .version = 1, .fields = (const StateField[]) {
        STATE_STRUCTS(DmaChip, ch, &channel_state), STATE_U8(DmaChip, command), STATE_UMAX(DmaChip, mask, 15),
        STATE_U8(DmaChip, status), STATE_U8(DmaChip, request), STATE_B(DmaChip, flip_flop), STATE_END },
};

const DeviceClass i8237_class = {
    .name = "i8257", .desc = "ISA DMA controllers", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(IsaDma), .internal = true, .no_hotplug = true,
    .realize = i8237_realize, .unrealize = i8237_unrealize, .reset = i8237_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1,
        .fields = (const StateField[]) {
            STATE_STRUCTS(IsaDma, chip, &chip_state), STATE_BUF(IsaDma, page_spare), STATE_END } },
};
