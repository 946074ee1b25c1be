/*
 * vga_text: text modes: cells, fonts, attributes, cursor, blinking.
 *
 * Each cell's content is remembered and drawn again only when it changes. Blinking follows the
 * chip: the cursor 16 frames on and 16 off, characters half as fast, at 70 frames a second.
 */
#include "hw/display/vga.h"

#include <string.h>

enum { FRAME_NS = 14285714, MAX_CELLS = 32768, FONT_CHARS = 256, FONT_LINES = 32 };
enum { CELL_CURSOR = 1 << 18, CELL_BLINK_OFF = 1 << 17, CELL_FONT_B = 1 << 16, ATTR_BLINK = 8 };

/* Code page 437, as Unicode; what graphic characters the terminal gets. */
static const uint16_t cp437_low[32] = {
    ' ', 0x263a, 0x263b, 0x2665, 0x2666, 0x2663, 0x2660, 0x2022, 0x25d8, 0x25cb, 0x25d9, 0x2642, 0x2640, 0x266a,
    0x266b, 0x263c, 0x25ba, 0x25c4, 0x2195, 0x203c, 0xb6, 0xa7, 0x25ac, 0x21a8, 0x2191, 0x2193, 0x2192, 0x2190,
    0x221f, 0x2194, 0x25b2, 0x25bc,
};
static const uint16_t cp437_high[128] = {
    0xc7, 0xfc, 0xe9, 0xe2, 0xe4, 0xe0, 0xe5, 0xe7, 0xea, 0xeb, 0xe8, 0xef, 0xee, 0xec, 0xc4, 0xc5,
    0xc9, 0xe6, 0xc6, 0xf4, 0xf6, 0xf2, 0xfb, 0xf9, 0xff, 0xd6, 0xdc, 0xa2, 0xa3, 0xa5, 0x20a7, 0x192,
    0xe1, 0xed, 0xf3, 0xfa, 0xf1, 0xd1, 0xaa, 0xba, 0xbf, 0x2310, 0xac, 0xbd, 0xbc, 0xa1, 0xab, 0xbb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557, 0x255d, 0x255c, 0x255b, 0x2510,
    0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f, 0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567,
    0x2568, 0x2564, 0x2565, 0x2559, 0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x3b1, 0xdf, 0x393, 0x3c0, 0x3a3, 0x3c3, 0xb5, 0x3c4, 0x3a6, 0x398, 0x3a9, 0x3b4, 0x221e, 0x3c6, 0x3b5, 0x2229,
    0x2261, 0xb1, 0x2265, 0x2264, 0x2320, 0x2321, 0xf7, 0x2248, 0xb0, 0x2219, 0xb7, 0x221a, 0x207f, 0xb2, 0x25a0, 0xa0,
};

static uint32_t unicode(uint8_t ch)
{
    return ch < 32 ? cp437_low[ch] : ch < 127 ? ch : ch == 127 ? 0x2302 : cp437_high[ch - 128];
}

/* Fonts lie in plane 2; true if one of the two selected changed. */
static bool load_fonts(Vga *v)
{
    uint8_t s = v->cache.mode.fonts;
    unsigned map[2] = { (s & 3) | (s >> 2 & 4), (s >> 2 & 3) | (s >> 3 & 4) };    /* B, A: attribute bit 3 picks A */
    bool diff = false;

    for (int f = 0; f < 2; f++) {
        const uint8_t *src = v->vram->host + ((map[f] & 3) * 0x4000 + (map[f] >> 2) * 0x2000) * 4 + 2;

        for (unsigned i = 0; i < FONT_CHARS * FONT_LINES; i++) {
            diff |= v->cache.font[f][i] != src[i * 4];
            v->cache.font[f][i] = src[i * 4];
        }
    }
    return diff;
}

/* Where a row of cells is on the screen. */
typedef struct TextRow {
    int y, lines;               /* scan lines that show */
    int top;                    /* scan lines of the row that are cut off above them */
    int pan;                    /* pixels cut off at the left */
} TextRow;

/* The dots of one line of a cell, leftmost in bit 8. */
static unsigned cell_line(const Vga *v, uint32_t cell, int line, bool cursor)
{
    const VgaMode *m = &v->cache.mode;
    uint8_t ch = cell, attr = cell >> 8;
    unsigned bits = v->cache.font[cell & CELL_FONT_B ? 1 : 0][ch * FONT_LINES + (line & 31)] << 1;

    if ((m->attr_mode & 4) && ch >= 0xc0 && ch <= 0xdf)         /* line graphics go on into the ninth dot */
        bits |= bits >> 1 & 1;
    if ((attr & 0x77) == 1 && line == m->underline && m->mono)
        bits = 0x1ff;
    if (cell & CELL_BLINK_OFF)
        bits = 0;
    if (cursor && line >= (v->crtc[0x0a] & 0x1f) && line <= (v->crtc[0x0b] & 0x1f))
        bits = 0x1ff;
    return bits;
}

static void draw_cell(Vga *v, int col, const TextRow *row, uint32_t cell)
{
    const VgaMode *m = &v->cache.mode;
    uint8_t attr = cell >> 8;
    uint32_t fg = v->cache.rgb[attr & 15 & m->plane_mask];
    uint32_t bg = v->cache.rgb[attr >> 4 & (m->attr_mode & ATTR_BLINK ? 7 : 15) & m->plane_mask];
    int left = col * m->char_w - row->pan, first = MAX(-left, 0), end = MIN(m->char_w, m->width - left);
    pixman_image_t *img = console_surface(v->con);
    int stride = pixman_image_get_stride(img) / 4;
    uint32_t *dst = pixman_image_get_data(img) + (ptrdiff_t)row->y * stride + left;

    for (int y = 0; y < row->lines; y++, dst += stride) {
        unsigned bits = cell_line(v, cell, (y + row->top) >> m->double_scan, cell & CELL_CURSOR);

        for (int x = first; x < end; x++)
            dst[x] = bits >> (8 - x / m->x_scale) & 1 ? fg : bg;
    }
}

/* A cell for terminals: colours by their place in the palette. */
static ConsoleCell terminal_cell(const Vga *v, uint32_t cell)
{
    bool blink = v->cache.mode.attr_mode & ATTR_BLINK;
    uint8_t attr = cell >> 8;

    return (ConsoleCell) { .ch = unicode(cell), .fg = attr & 15, .bg = attr >> 4 & (blink ? 7 : 15),
                           .blink = blink && (attr & 0x80) };
}

static bool grow(Vga *v, unsigned cells)
{
    if (cells > MAX_CELLS)
        return false;
    if (cells > v->cache.cells_len) {
        v->cache.cells = g_renew(uint32_t, v->cache.cells, cells);
        v->cache.out = g_renew(ConsoleCell, v->cache.out, cells);
        v->cache.cells_len = cells;
        memset(v->cache.cells, 0xff, cells * sizeof *v->cache.cells);
    }
    return true;
}

typedef struct TextPass {
    bool chars_on, cursor_on, all;
    uint32_t cursor_addr;
    int cursor_x, cursor_y;     /* found on the way */
} TextPass;

static void draw_row(Vga *v, TextPass *t, uint32_t addr, int index, const TextRow *row)
{
    const VgaMode *m = &v->cache.mode;
    int first = -1, last = -1, shown = m->cols + (row->pan > 0);

    for (int x = 0; x < shown; x++) {
        uint32_t at = (addr + x * 4) & m->mask, *old = &v->cache.cells[index * (m->cols + 1) + x];
        uint8_t attr = v->vram->host[at + 1];
        uint32_t cell = v->vram->host[at] | attr << 8 | (attr & 8 ? CELL_FONT_B : 0);
        bool cursor = at == t->cursor_addr;

        if (x < m->cols)
            v->cache.out[index * m->cols + x] = terminal_cell(v, cell);
        if ((m->attr_mode & ATTR_BLINK) && (attr & 0x80)) {
            v->cache.any_blink = true;
            cell |= t->chars_on ? 0 : CELL_BLINK_OFF;
        }
        if (cursor) {
            t->cursor_x = MIN(x, m->cols - 1);
            t->cursor_y = index;
            cell |= t->cursor_on ? CELL_CURSOR : 0;
        }
        if (cell == *old)
            continue;
        *old = cell;
        draw_cell(v, x, row, cell);
        first = first < 0 ? x : first;
        last = x;
    }
    if (first >= 0)
        console_damage(v->con, first * m->char_w - row->pan, row->y, (last - first + 1) * m->char_w, row->lines);
}

/* From the top, from the row the preset row scan cuts, and again from address 0 behind the split line. */
static int draw_rows(Vga *v, TextPass *t, int rows)
{
    const VgaMode *m = &v->cache.mode;
    int row_h = m->row_lines << m->double_scan, index = 0;
    uint32_t addr = m->start + m->byte_pan * 4;
    TextRow row = { .top = MIN(m->preset_row, m->row_lines - 1) << m->double_scan, .pan = m->pan * m->x_scale };

    while (row.y < m->height && index < rows) {
        bool split;

        row.lines = MIN(row_h - row.top, m->height - row.y);
        split = m->split < (uint32_t)m->height && (uint32_t)row.y <= m->split && m->split < (uint32_t)(row.y + row.lines);
        if (split)
            row.lines = m->split + 1 - row.y;
        draw_row(v, t, addr, index++, &row);
        addr += m->pitch;
        if (split) {
            addr = 0;
            if (m->pan_ends_at_split)
                row.pan = 0;
        }
        row.y += row.lines;
        row.top = 0;
    }
    return index;
}

void vga_draw_text(Vga *v, bool memory_changed)
{
    const VgaMode *m = &v->cache.mode;
    int row_h = m->row_lines << m->double_scan, rows = (m->height + row_h - 1) / row_h + 2;
    int64_t frame = device_now(v->dev) / FRAME_NS;
    bool enabled = !(v->crtc[0x0a] & 0x20) && (v->crtc[0x0a] & 0x1f) <= (v->crtc[0x0b] & 0x1f);
    uint32_t cursor = ((v->crtc[0x0e] << 8 | v->crtc[0x0f]) * 4) & m->mask;
    uint32_t cursor_key = cursor | (uint32_t)v->crtc[0x0a] << 20 | (uint32_t)(v->crtc[0x0b] & 0x1f) << 26;
    TextPass t = { .chars_on = !(frame & 32), .cursor_on = enabled && !(frame & 16), .cursor_addr = cursor,
                   .cursor_x = -1, .cursor_y = -1 };
    bool moved = cursor_key != v->cache.cursor_cell;

    if (!memory_changed && !moved && t.cursor_on == v->cache.cursor_shown &&
        (t.chars_on == v->cache.blink_shown || !v->cache.any_blink))
        return;
    if (!grow(v, rows * (m->cols + 1)))
        return;
    if (!memory_changed && !moved)
        console_blinked(v->con);
    if ((memory_changed && load_fonts(v)) || moved)
        memset(v->cache.cells, 0xff, v->cache.cells_len * sizeof *v->cache.cells);
    v->cache.cursor_cell = cursor_key;
    v->cache.cursor_shown = t.cursor_on;
    v->cache.blink_shown = t.chars_on;
    v->cache.any_blink = false;
    rows = draw_rows(v, &t, rows);
    console_set_text(v->con, m->cols, rows, v->cache.out, t.cursor_x, t.cursor_y, enabled && t.cursor_x >= 0);
}
