/*
 * vga_vbe: the Bochs display interface: resolution, depth, banks, virtual screen.
 *
 * Every register value is brought into a range that fits video memory when it is used, so that
 * drawing needs no trust in it.
 */
#include "hw/display/vga.h"

#include <string.h>

enum { MAX_XRES = 16000, MAX_YRES = 12000, MAX_BPP = 32, ID_FIRST = 0xb0c0, ID_LAST = 0xb0c5 };

static bool bpp_ok(unsigned bpp)
{
    return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

static unsigned line_bits(const Vga *v)
{
    unsigned bpp = v->vbe[VBE_BPP];

    return bpp == 15 ? 16 : bpp;
}

uint32_t vbe_pitch(const Vga *v)
{
    unsigned bits = line_bits(v);

    /* 4 bits: one byte of each plane for eight pixels, four bytes together */
    return bits == 4 ? v->vbe[VBE_VIRT_WIDTH] / 8 * 4 : v->vbe[VBE_VIRT_WIDTH] * bits / 8;
}

void vbe_fix(Vga *v)
{
    uint16_t *r = v->vbe;
    uint64_t lines;
    uint32_t max_width;

    if (!vbe_on(v))
        return;
    if (!bpp_ok(r[VBE_BPP]))
        r[VBE_BPP] = 8;
    max_width = v->vram_size / (line_bits(v) == 4 ? 1 : line_bits(v) / 8) & ~7u;
    r[VBE_XRES] = CLAMP(r[VBE_XRES] & ~7u, 8, MIN(MAX_XRES, max_width));
    r[VBE_VIRT_WIDTH] = CLAMP(r[VBE_VIRT_WIDTH] & ~7u, r[VBE_XRES], MIN(MAX_XRES, max_width));
    lines = v->vram_size / vbe_pitch(v);
    r[VBE_YRES] = CLAMP(r[VBE_YRES], 1, MIN(MAX_YRES, lines));
    r[VBE_VIRT_HEIGHT] = MIN(lines, 0xffff);
    r[VBE_X_OFFSET] = MIN(r[VBE_X_OFFSET], r[VBE_VIRT_WIDTH] - r[VBE_XRES]);
    r[VBE_Y_OFFSET] = MIN(r[VBE_Y_OFFSET], r[VBE_VIRT_HEIGHT] - MIN(r[VBE_YRES], r[VBE_VIRT_HEIGHT]));
    if ((uint32_t)r[VBE_BANK] << 16 >= v->vram_size)
        r[VBE_BANK] = 0;
}

uint16_t vbe_read(Vga *v, unsigned reg)
{
    if (reg == VBE_MEMORY)
        return v->vram_size >> 16;
    if (reg >= VBE_REGS)
        return 0;
    if (v->vbe[VBE_ENABLE] & VBE_GETCAPS) {
        switch (reg) {
        case VBE_XRES:
            return MAX_XRES;
        case VBE_YRES:
            return MAX_YRES;
        case VBE_BPP:
            return MAX_BPP;
        }
    }
    return v->vbe[reg];
}

static void write_enable(Vga *v, uint16_t val)
{
    bool was = vbe_on(v), was_8bit = v->vbe[VBE_ENABLE] & VBE_8BIT_DAC;

    v->vbe[VBE_ENABLE] = val & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB | VBE_NOCLEAR);
    if (!was_8bit != !(val & VBE_8BIT_DAC))
        for (unsigned i = 0; i < VGA_PALETTE; i++)      /* the DAC keeps its colours */
            v->palette[i] = was_8bit ? v->palette[i] >> 2 : v->palette[i] << 2 | v->palette[i] >> 4;
    if (vbe_on(v) && !was) {
        v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_XRES];
        v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
        vbe_fix(v);
        v->gr[6] = (v->gr[6] & ~0x0c) | 5;      /* graphics, banks at a0000: whatever mode was before */
        if (!(val & VBE_NOCLEAR)) {
            uint64_t len = MIN((uint64_t)vbe_pitch(v) * v->vbe[VBE_YRES], v->vram_size);

            memset(v->vram->host, 0, len);
            ram_mark_written(v->vram, 0, len);
        }
    } else if (!vbe_on(v)) {
        v->vbe[VBE_BANK] = 0;
    }
}

void vbe_write(Vga *v, unsigned reg, uint16_t val)
{
    switch (reg) {
    case VBE_ID:
        if (val >= ID_FIRST && val <= ID_LAST)
            v->vbe[VBE_ID] = val;
        return;
    case VBE_XRES: case VBE_YRES: case VBE_BPP:
        if (!vbe_on(v))         /* frozen while shown */
            v->vbe[reg] = val;
        return;
    case VBE_BANK:
        v->vbe[VBE_BANK] = (uint32_t)val << 16 < v->vram_size ? val : 0;
        break;
    case VBE_ENABLE:
        write_enable(v, val);
        break;
    case VBE_VIRT_WIDTH: case VBE_X_OFFSET: case VBE_Y_OFFSET:
        v->vbe[reg] = val;
        vbe_fix(v);
        break;
    default:
        return;
    }
    vga_update_window(v);
}
