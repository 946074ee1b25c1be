/*
 * vga_draw: from registers and video memory to the console's surface, only where something changed.
 *
 * Each update computes the whole mode as plain numbers. If they differ from the last frame's, all is
 * drawn; else only lines whose pages were written. Addresses wrap at the mode's mask at each access;
 * linear modes are refused when they leave video memory.
 */
#include "hw/display/vga.h"

#include <string.h>

enum { AR_MODE = 0x10, AR_PLANES = 0x12, AR_PAN = 0x13, AR_COLOR = 0x14, AR_SHOWN = 0x20 };
enum { PAGE = 4096, LEGACY_MASK = 0x3ffff, EXTRA = 64, LINE_MAX_PX = 16384 };

void vga_invalidate(void *opaque)
{
    ((Vga *)opaque)->cache.redraw = true;
}

void vga_cache_free(Vga *v)
{
    g_free(v->cache.dirty);
    g_free(v->cache.fetch);
    g_free(v->cache.cells);
    g_free(v->cache.out);
    memset(&v->cache, 0, sizeof v->cache);
}

/* ---- what is to be shown ---- */

static void vbe_mode(const Vga *v, VgaMode *m)
{
    uint64_t end;
    unsigned bytes = (v->vbe[VBE_BPP] + 7) / 8;

    m->width = v->vbe[VBE_XRES];
    m->height = v->vbe[VBE_YRES];
    m->pitch = vbe_pitch(v);
    m->mask = v->vram_size - 1;
    m->bpp = v->vbe[VBE_BPP];
    m->row_lines = m->x_scale = 1;
    m->crtc_mode = 3;
    m->split = UINT32_MAX;
    if (m->bpp == 4) {
        m->kind = VGA_PLANAR;
        m->start = v->vbe[VBE_Y_OFFSET] * m->pitch + v->vbe[VBE_X_OFFSET] / 8 * 4;
        m->pan = v->vbe[VBE_X_OFFSET] & 7;
        m->plane_mask = v->ar[AR_PLANES] & 15;
        return;
    }
    m->kind = VGA_LINEAR;
    end = (uint64_t)v->vbe[VBE_Y_OFFSET] * m->pitch + (uint64_t)v->vbe[VBE_X_OFFSET] * bytes;
    m->start = end;
    end += (uint64_t)m->pitch * (m->height - 1) + (uint64_t)m->width * bytes;
    if (end > v->vram_size)
        m->kind = VGA_BLANK;
}

static void legacy_mode(const Vga *v, VgaMode *m)
{
    const uint8_t *c = v->crtc;
    unsigned chars = c[1] + 1, double_x = v->seq[1] & 8 ? 2 : 1;

    m->height = (c[0x12] | (c[7] & 2) << 7 | (c[7] & 0x40) << 3) + 1;
    m->start = (c[0x0c] << 8 | c[0x0d]) * 4;
    m->pitch = c[0x13] * 8;
    m->split = c[0x18] | (c[7] & 0x10) << 4 | (c[9] & 0x40) << 3;
    m->row_lines = (c[9] & 0x1f) + 1;
    m->double_scan = c[9] >> 7;
    m->preset_row = c[8] & 0x1f;
    m->byte_pan = c[8] >> 5 & 3;
    m->pan = v->ar[AR_PAN] & 15;
    m->pan_ends_at_split = v->ar[AR_MODE] & 0x20;
    m->plane_mask = v->ar[AR_PLANES] & 15;
    m->crtc_mode = c[0x17];
    m->mask = LEGACY_MASK;
    m->x_scale = double_x;
    if (!(v->gr[6] & 1)) {
        m->kind = VGA_TEXT;
        m->char_w = (v->seq[1] & 1 ? 8 : 9) * double_x;
        m->cols = chars;
        m->width = chars * m->char_w;
        m->fonts = v->seq[3];
        m->attr_mode = v->ar[AR_MODE];
        m->underline = c[0x14] & 0x1f;
        m->mono = !(v->misc & 1);
        if (!(v->seq[1] & 1))           /* nine dots: 8 is no shift, 0 to 7 are one more than they say */
            m->pan = m->pan >= 8 ? 0 : m->pan + 1;
        else if (m->pan > 7)
            m->pan = 0;
        return;
    }
    m->kind = v->gr[5] & 0x40 ? VGA_BYTES : v->gr[5] & 0x20 ? VGA_CGA : VGA_PLANAR;
    m->width = chars * 8 * (m->kind == VGA_BYTES ? 1 : double_x);
    if (m->kind == VGA_BYTES) {
        m->x_scale = 2;
        m->pan = m->pan / 2 & 3;
    }
    if (m->pan > 7)
        m->pan = 0;
}

static void current_mode(const Vga *v, VgaMode *m)
{
    memset(m, 0, sizeof *m);
    if (vbe_on(v)) {
        vbe_mode(v, m);
    } else {
        legacy_mode(v, m);
        if (!(v->crtc[0x17] & 0x80) || m->height < 8) {         /* CRTC held in reset */
            m->kind = VGA_BLANK;
            m->width = 720;
            m->height = 400;
        }
    }
    if (!(v->ar_index & AR_SHOWN) || (v->seq[1] & 0x20))
        m->kind = VGA_BLANK;
}

/* ---- colours ---- */

static uint32_t dac_color(const Vga *v, unsigned i)
{
    const uint8_t *p = v->palette + (i & v->dac_mask) * 3;
    uint32_t rgb = 0;

    for (unsigned k = 0; k < 3; k++) {
        unsigned c = p[k];

        if (!(v->vbe[VBE_ENABLE] & VBE_8BIT_DAC))       /* six bits: the last one fills up */
            c = (c & 0x3f) << 2 | (c & 1) * 3;
        rgb = rgb << 8 | c;
    }
    return rgb;
}

bool vga_update_palette(Vga *v)
{
    const VgaMode *m = &v->cache.mode;
    bool wide = m->kind == VGA_BYTES || m->kind == VGA_LINEAR, diff = false;

    for (unsigned i = 0; i < (wide ? 256 : 16); i++) {
        unsigned index = i;
        uint32_t rgb;

        if (!wide && (v->ar[AR_MODE] & 0x80))
            index = (v->ar[i] & 15) | (v->ar[AR_COLOR] & 15) << 4;
        else if (!wide)
            index = (v->ar[i] & 63) | (v->ar[AR_COLOR] & 12) << 4;
        rgb = dac_color(v, index);
        diff |= rgb != v->cache.rgb[i];
        v->cache.rgb[i] = rgb;
    }
    return diff;
}

/* ---- written pages ---- */

/* Fills cache.dirty for the pages of [start, start + len); true if there is any. */
static bool collect_dirty(Vga *v, uint64_t start, uint64_t len)
{
    uint64_t first = start / PAGE, last = MIN((start + len + PAGE - 1) / PAGE, v->vram_size / PAGE);
    bool any = false;

    ram_sync_dirty(v->vram);
    for (uint64_t p = first; p < last;) {
        uint64_t end = p;

        while (end < last && (atomic_load_explicit(&v->vram->pages[end], memory_order_relaxed) & RAM_DIRTY_VGA))
            end++;
        if (end > p) {
            ram_test_and_clear_dirty(v->vram, p * PAGE, (end - p) * PAGE, RAM_DIRTY_VGA);
            memset(v->cache.dirty + p, 1, end - p);
            any = true;
            p = end;
        } else {
            v->cache.dirty[p++] = 0;
        }
    }
    return any;
}

static bool range_dirty(const Vga *v, uint32_t addr, uint32_t len, uint32_t mask)
{
    for (uint32_t off = 0; off < len + PAGE; off += PAGE) {
        uint32_t at = (addr + MIN(off, len - 1)) & mask;

        if (v->cache.dirty[at / PAGE])
            return true;
    }
    return false;
}

/* ---- one line ---- */

static const uint8_t *fetch(Vga *v, uint32_t addr, uint32_t len, uint32_t mask)
{
    addr &= mask;
    if (addr + len <= mask + 1)
        return v->vram->host + addr;
    for (uint32_t i = 0; i < len; i++)
        v->cache.fetch[i] = v->vram->host[(addr + i) & mask];
    return v->cache.fetch;
}

static void repeat_pixels(uint32_t *dst, int n, int times)
{
    for (int i = n - 1; times == 2 && i >= 0; i--)
        dst[2 * i] = dst[2 * i + 1] = dst[i];
}

static void planar_line(const Vga *v, const uint8_t *src, uint32_t *dst, int words, unsigned planes)
{
    const uint32_t *rgb = v->cache.rgb;

    for (int i = 0; i < words; i++, src += 4, dst += 8) {
        unsigned a = src[0], b = src[1], c = src[2], d = src[3];

        for (int bit = 7; bit >= 0; bit--)
            dst[7 - bit] = rgb[((a >> bit & 1) | (b >> bit & 1) << 1 | (c >> bit & 1) << 2 | (d >> bit & 1) << 3) & planes];
    }
}

static void cga_line(const Vga *v, const uint8_t *src, uint32_t *dst, int words, unsigned planes)
{
    const uint32_t *rgb = v->cache.rgb;

    for (int i = 0; i < words; i++, src += 4)
        for (int half = 0; half < 2; half++)
            for (int s = 6; s >= 0; s -= 2)
                *dst++ = rgb[((src[half] >> s & 3) | (src[half + 2] >> s & 3) << 2) & planes];
}

static void linear_line(const Vga *v, const uint8_t *src, uint32_t *dst, int n, int bpp)
{
    for (int i = 0; i < n; i++) {
        uint32_t p;

        switch (bpp) {
        case 8:
            dst[i] = v->cache.rgb[src[i]];
            break;
        case 15:
            p = ld16_le(src + 2 * i);
            dst[i] = (p & 0x7c00) << 9 | (p & 0x7000) << 4 | (p & 0x3e0) << 6 | (p & 0x380) << 1 | (p & 31) << 3 | (p & 28) >> 2;
            break;
        case 16:
            p = ld16_le(src + 2 * i);
            dst[i] = (p & 0xf800) << 8 | (p & 0xe000) << 3 | (p & 0x7e0) << 5 | (p & 0x600) >> 1 | (p & 31) << 3 | (p & 28) >> 2;
            break;
        case 24:
            dst[i] = src[3 * i] | src[3 * i + 1] << 8 | src[3 * i + 2] << 16;
            break;
        default:
            dst[i] = ld32_le(src + 4 * i) & 0xffffff;
            break;
        }
    }
}

/* Bytes of video memory one line shows, panning included. */
static uint32_t line_bytes(const VgaMode *m)
{
    switch (m->kind) {
    case VGA_LINEAR:
        return m->width * ((m->bpp + 7) / 8);
    case VGA_BYTES:
        return m->width / m->x_scale + 8;
    default:
        return m->width / m->x_scale / 2 + 8;
    }
}

static void draw_line(Vga *v, uint32_t addr, int pan, uint32_t *dst)
{
    const VgaMode *m = &v->cache.mode;
    const uint8_t *src = fetch(v, addr, line_bytes(m), m->mask);
    uint32_t line[LINE_MAX_PX + EXTRA];
    int n = m->width / m->x_scale;

    switch (m->kind) {
    case VGA_LINEAR:
        linear_line(v, src, dst, n, m->bpp);
        return;
    case VGA_BYTES:
        linear_line(v, src, line, n + 4, 8);
        break;
    case VGA_CGA:
        cga_line(v, src, line, n / 8 + 1, m->plane_mask);
        break;
    default:
        planar_line(v, src, line, n / 8 + 1, m->plane_mask);
        break;
    }
    memmove(line, line + pan, n * 4);
    repeat_pixels(line, n, m->x_scale);
    memcpy(dst, line, m->width * 4);
}

/* ---- the picture ---- */

static uint32_t *surface_line(Vga *v, int y)
{
    pixman_image_t *img = console_surface(v->con);

    return pixman_image_get_data(img) + (size_t)y * (pixman_image_get_stride(img) / 4);
}

static void draw_graphics(Vga *v, bool all)
{
    const VgaMode *m = &v->cache.mode;
    uint32_t base = m->start + m->byte_pan * 4, len = line_bytes(m), last_addr = UINT32_MAX;
    unsigned shift = 14 + (m->crtc_mode >> 6 & 1);
    int row = MIN(m->preset_row, m->row_lines - 1), twice = 0, pan = m->pan, first = -1;

    for (int y = 0; y < m->height; y++) {
        uint32_t addr = base;
        bool draw;

        if (!(m->crtc_mode & 1))        /* row counter bits as address bits: CGA and Hercules layouts */
            addr = (addr & ~(1u << shift)) | (uint32_t)(row & 1) << shift;
        if (!(m->crtc_mode & 2))
            addr = (addr & ~(2u << shift)) | (uint32_t)(row >> 1 & 1) << (shift + 1);
        draw = all || range_dirty(v, addr, len, m->mask);
        if (draw) {
            if (y > 0 && addr == last_addr && pan == m->pan)
                memcpy(surface_line(v, y), surface_line(v, y - 1), (size_t)m->width * 4);
            else
                draw_line(v, addr, pan, surface_line(v, y));
            if (first < 0)
                first = y;
        } else if (first >= 0) {
            console_damage(v->con, 0, first, m->width, y - first);
            first = -1;
        }
        last_addr = addr;
        if (++twice > m->double_scan) {
            twice = 0;
            if (++row >= m->row_lines) {
                row = 0;
                base += m->pitch;
            }
        }
        if ((uint32_t)y == m->split) {
            base = 0;
            row = twice = 0;
            last_addr = UINT32_MAX;
            if (m->pan_ends_at_split)
                pan = 0;
        }
    }
    if (first >= 0)
        console_damage(v->con, 0, first, m->width, m->height - first);
}

/* The surface is video memory: only tell which lines changed. */
static void report_direct(Vga *v)
{
    const VgaMode *m = &v->cache.mode;
    int first = -1;

    for (int y = 0; y <= m->height; y++) {
        bool dirty = y < m->height && range_dirty(v, m->start + y * m->pitch, m->width * 4, m->mask);

        if (dirty && first < 0)
            first = y;
        if (!dirty && first >= 0) {
            console_damage(v->con, 0, first, m->width, y - first);
            first = -1;
        }
    }
}

static bool show_memory(Vga *v)
{
    const VgaMode *m = &v->cache.mode;
    pixman_image_t *img;

    if (m->kind != VGA_LINEAR || m->bpp != 32 || G_BYTE_ORDER != G_LITTLE_ENDIAN)
        return false;
    img = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, m->width, m->height,
                                            (uint32_t *)(void *)(v->vram->host + m->start), m->pitch);
    if (!img)
        return false;
    console_set_surface(v->con, img);
    pixman_image_unref(img);
    return true;
}

static void new_mode(Vga *v, const VgaMode *m)
{
    v->cache.mode = *m;
    v->cache.direct = show_memory(v);
    if (v->cache.direct)
        return;
    console_resize(v->con, m->width, m->height);
    if (m->kind != VGA_TEXT)
        console_set_text(v->con, 0, 0, NULL, 0, 0, false);
    g_free(v->cache.fetch);
    v->cache.fetch = g_malloc(line_bytes(m) + EXTRA);
}

static void draw_blank(Vga *v)
{
    for (int y = 0; y < v->cache.mode.height; y++)
        memset(surface_line(v, y), 0, (size_t)v->cache.mode.width * 4);
    console_damage(v->con, 0, 0, v->cache.mode.width, v->cache.mode.height);
}

void vga_update_display(void *opaque)
{
    Vga *v = opaque;
    VgaMode m;
    bool all = v->cache.redraw, memory;
    uint32_t from, len;

    current_mode(v, &m);
    if (all || memcmp(&m, &v->cache.mode, sizeof m) != 0) {
        new_mode(v, &m);
        all = true;
    }
    v->cache.redraw = false;
    /* no memory for the surface: nothing can be shown */
    if (console_width(v->con) != m.width || console_height(v->con) != m.height)
        return;
    all |= vga_update_palette(v) && !(m.kind == VGA_LINEAR && m.bpp != 8);
    if (m.kind == VGA_BLANK) {
        if (all)
            draw_blank(v);
        return;
    }
    from = m.kind == VGA_LINEAR ? m.start : 0;
    len = m.kind == VGA_LINEAR ? m.pitch * (m.height - 1) + line_bytes(&m) : m.mask + 1;
    memory = collect_dirty(v, from, len);
    if (all)
        console_damage(v->con, 0, 0, m.width, m.height);
    if (m.kind == VGA_TEXT) {
        if (all && v->cache.cells)
            memset(v->cache.cells, 0xff, v->cache.cells_len * sizeof *v->cache.cells);
        vga_draw_text(v, memory || all);
    } else if (v->cache.direct) {
        if (memory && !all)
            report_direct(v);
    } else if (memory || all) {
        draw_graphics(v, all);
    }
}
