/* textconsole: a terminal with a grid of cells, drawn with the built-in font. */
#include "ui/textconsole.h"

#include "ui/ui_int.h"

#include <string.h>

enum { CELL_W = 8, CELL_H = 16, COLS_MAX = 400, ROWS_MAX = 200, PARAMS = 8, PARAM_MAX = 9999 };
typedef enum { ST_TEXT, ST_ESC, ST_CSI, ST_OSC } ParseState;

struct TextConsole {
    Console *con;
    int cols, rows, x, y, saved_x, saved_y;
    ConsoleCell *cells, *drawn; /* drawn: what the surface shows */
    int drawn_x, drawn_y;
    uint8_t fg, bg;
    bool reverse, changed;
    ParseState state;
    int param[PARAMS], nparams;
    uint32_t utf8;              /* being decoded */
    int utf8_left;
    bool shift, ctrl, alt, altgr;
    void (*input)(void *opaque, const uint8_t *buf, size_t len);
    void *opaque;
};

static const uint32_t colors[16] = {
    0x000000, 0x0000aa, 0x00aa00, 0x00aaaa, 0xaa0000, 0xaa00aa, 0xaa5500, 0xaaaaaa,
    0x555555, 0x5555ff, 0x55ff55, 0x55ffff, 0xff5555, 0xff55ff, 0xffff55, 0xffffff,
};

static ConsoleCell blank(const TextConsole *t)
{
    return (ConsoleCell) { .ch = ' ', .fg = t->fg, .bg = t->bg };
}

static void clear_range(TextConsole *t, int from, int to)
{
    for (int i = MAX(from, 0); i < MIN(to, t->cols * t->rows); i++)
        t->cells[i] = blank(t);
}

static void line_feed(TextConsole *t)
{
    if (t->y < t->rows - 1) {
        t->y++;
        return;
    }
    memmove(t->cells, t->cells + t->cols, (size_t)t->cols * (t->rows - 1) * sizeof *t->cells);
    clear_range(t, t->cols * (t->rows - 1), t->cols * t->rows);
}

static void put_char(TextConsole *t, uint32_t ch)
{
    if (t->x >= t->cols) {
        t->x = 0;
        line_feed(t);
    }
    t->cells[t->y * t->cols + t->x++] = (ConsoleCell) { .ch = ch, .fg = t->reverse ? t->bg : t->fg,
                                                       .bg = t->reverse ? t->fg : t->bg };
}

/* ---- escape sequences ---- */

static void set_attribute(TextConsole *t, int p)
{
    static const uint8_t vga[8] = { 0, 4, 2, 6, 1, 5, 3, 7 };

    if (p == 0) {
        t->fg = 7;
        t->bg = 0;
        t->reverse = false;
    } else if (p == 1) {
        t->fg |= 8;
    } else if (p == 22) {
        t->fg &= 7;
    } else if (p == 7 || p == 27) {
        t->reverse = p == 7;
    } else if (p >= 30 && p <= 37) {
        t->fg = (t->fg & 8) | vga[p - 30];
    } else if (p == 39) {
        t->fg = 7;
    } else if (p >= 40 && p <= 47) {
        t->bg = vga[p - 40];
    } else if (p == 49) {
        t->bg = 0;
    } else if (p >= 90 && p <= 97) {
        t->fg = 8 | vga[p - 90];
    }
}

static void shift_cells(TextConsole *t, int n, bool insert)
{
    ConsoleCell *row = t->cells + t->y * t->cols;
    int x = MIN(t->x, t->cols - 1), rest;

    n = CLAMP(n, 1, t->cols - x);
    rest = t->cols - x - n;
    if (insert)
        memmove(row + x + n, row + x, rest * sizeof *row);
    else
        memmove(row + x, row + x + n, rest * sizeof *row);
    for (int i = 0; i < n; i++)
        row[insert ? x + i : t->cols - 1 - i] = blank(t);
}

static void control_sequence(TextConsole *t, uint8_t final)
{
    int a = t->nparams > 0 ? t->param[0] : 0, b = t->nparams > 1 ? t->param[1] : 0, n = MAX(a, 1);
    int at = t->y * t->cols + MIN(t->x, t->cols - 1), row = t->y * t->cols;

    switch (final) {
    case 'A': t->y = MAX(t->y - n, 0); break;
    case 'B': t->y = MIN(t->y + n, t->rows - 1); break;
    case 'C': t->x = MIN(t->x + n, t->cols - 1); break;
    case 'D': t->x = MAX(t->x - n, 0); break;
    case 'G': t->x = CLAMP(a - 1, 0, t->cols - 1); break;
    case 'd': t->y = CLAMP(a - 1, 0, t->rows - 1); break;
    case 'H': case 'f':
        t->y = CLAMP(a - 1, 0, t->rows - 1);
        t->x = CLAMP(b - 1, 0, t->cols - 1);
        break;
    case 'J':
        clear_range(t, a == 0 ? at : 0, a == 1 ? at + 1 : t->cols * t->rows);
        break;
    case 'K':
        clear_range(t, a == 0 ? at : row, a == 1 ? at + 1 : row + t->cols);
        break;
    case '@': shift_cells(t, n, true); break;
    case 'P': shift_cells(t, n, false); break;
    case 'm':
        for (int i = 0; i < MAX(t->nparams, 1); i++)
            set_attribute(t, t->nparams ? t->param[i] : 0);
        break;
    case 's':
        t->saved_x = t->x;
        t->saved_y = t->y;
        break;
    case 'u':
        t->x = t->saved_x;
        t->y = t->saved_y;
        break;
    case 'n': {
        g_autofree char *answer = a == 6 ? g_strdup_printf("\033[%d;%dR", t->y + 1, t->x + 1) : g_strdup(a == 5 ? "\033[0n" : "");

        t->input(t->opaque, (const uint8_t *)answer, strlen(answer));
        break;
    }
    }
}

static void csi_byte(TextConsole *t, uint8_t b)
{
    if (b >= '0' && b <= '9') {
        if (t->nparams == 0)
            t->param[t->nparams++] = 0;
        t->param[t->nparams - 1] = MIN(t->param[t->nparams - 1] * 10 + b - '0', PARAM_MAX);
    } else if (b == ';') {
        if (t->nparams == 0)
            t->param[t->nparams++] = 0;
        if (t->nparams < PARAMS)
            t->param[t->nparams++] = 0;
    } else if (b >= 0x40) {
        t->state = ST_TEXT;
        control_sequence(t, b);
    }
}

static void text_byte(TextConsole *t, uint8_t b)
{
    if (t->utf8_left && (b & 0xc0) == 0x80) {
        t->utf8 = t->utf8 << 6 | (b & 0x3f);
        if (--t->utf8_left == 0)
            put_char(t, t->utf8);
        return;
    }
    t->utf8_left = 0;
    if (b >= 0xc2 && b < 0xf5) {
        t->utf8_left = b >= 0xf0 ? 3 : b >= 0xe0 ? 2 : 1;
        t->utf8 = b & (0x3f >> t->utf8_left);
        return;
    }
    switch (b) {
    case '\r': t->x = 0; break;
    case '\n': case 11: case 12: line_feed(t); break;
    case 8: t->x = MAX(MIN(t->x, t->cols) - 1, 0); break;
    case '\t': t->x = MIN((t->x | 7) + 1, t->cols - 1); break;
    case 27: t->state = ST_ESC; break;
    default:
        if (b >= 32 && b != 127)
            put_char(t, b < 128 ? b : 0xfffd);
    }
}

void textconsole_write(TextConsole *t, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t b = buf[i];

        switch (t->state) {
        case ST_TEXT:
            text_byte(t, b);
            break;
        case ST_ESC:
            t->state = b == '[' ? ST_CSI : b == ']' ? ST_OSC : ST_TEXT;
            t->nparams = 0;
            break;
        case ST_CSI:
            csi_byte(t, b);
            break;
        case ST_OSC:            /* titles: not shown */
            if (b == 7 || b == 27)
                t->state = ST_TEXT;
            break;
        }
    }
    t->changed = true;
    if (t->con->ui)
        ui_refresh_soon(t->con->ui);
}

/* ---- drawing ---- */

static void draw_cell(TextConsole *t, int x, int y, const ConsoleCell *c, bool cursor)
{
    pixman_image_t *img = console_surface(t->con);
    int stride = pixman_image_get_stride(img) / 4;
    uint32_t *dst = pixman_image_get_data(img) + (size_t)y * CELL_H * stride + x * CELL_W;
    uint32_t fg = colors[(cursor ? c->bg : c->fg) & 15], bg = colors[(cursor ? c->fg : c->bg) & 15];
    const uint8_t *glyph = text_font[(c->ch >= 32 && c->ch < 127 ? c->ch : c->ch == 0 ? ' ' : '?') - 32];

    for (int row = 0; row < CELL_H; row++, dst += stride) {
        /* seven rows of double height, then two below the base line */
        unsigned bits = (row < 14 ? glyph[row / 2] : glyph[row - 7]) << 2;

        for (int col = 0; col < CELL_W; col++)
            dst[col] = bits >> (7 - col) & 1 ? fg : bg;
    }
    console_damage(t->con, x * CELL_W, y * CELL_H, CELL_W, CELL_H);
}

static void text_update(void *opaque)
{
    TextConsole *t = opaque;
    int cx = MIN(t->x, t->cols - 1), cy = t->y;

    if (!t->changed)
        return;
    t->changed = false;
    if (console_width(t->con) != t->cols * CELL_W || console_height(t->con) != t->rows * CELL_H)
        return;
    for (int i = 0; i < t->cols * t->rows; i++) {
        int x = i % t->cols, y = i / t->cols;
        bool cursor = x == cx && y == cy, was = x == t->drawn_x && y == t->drawn_y;

        if (cursor == was && memcmp(&t->cells[i], &t->drawn[i], sizeof *t->cells) == 0)
            continue;
        t->drawn[i] = t->cells[i];
        draw_cell(t, x, y, &t->cells[i], cursor);
    }
    t->drawn_x = cx;
    t->drawn_y = cy;
    console_set_text(t->con, t->cols, t->rows, t->cells, cx, cy, true);
}

static void text_invalidate(void *opaque)
{
    TextConsole *t = opaque;

    memset(t->drawn, 0xff, (size_t)t->cols * t->rows * sizeof *t->drawn);
    t->changed = true;
}

/* ---- keys ---- */

static void send(TextConsole *t, const char *text)
{
    t->input(t->opaque, (const uint8_t *)text, strlen(text));
}

static void text_key(void *opaque, KeyCode k, bool down)
{
    static const struct { KeyCode key; const char *seq; } special[] = {
        { KEY_RET, "\r" }, { KEY_KP_ENTER, "\r" }, { KEY_BACKSPACE, "\177" }, { KEY_TAB, "\t" }, { KEY_ESC, "\033" },
        { KEY_UP, "\033[A" }, { KEY_DOWN, "\033[B" }, { KEY_RIGHT, "\033[C" }, { KEY_LEFT, "\033[D" },
        { KEY_HOME, "\033[H" }, { KEY_END, "\033[F" }, { KEY_PGUP, "\033[5~" }, { KEY_PGDN, "\033[6~" },
        { KEY_INSERT, "\033[2~" }, { KEY_DELETE, "\033[3~" }, { KEY_F1, "\033OP" }, { KEY_F2, "\033OQ" },
        { KEY_F3, "\033OR" }, { KEY_F4, "\033OS" }, { KEY_F5, "\033[15~" }, { KEY_F6, "\033[17~" },
        { KEY_F7, "\033[18~" }, { KEY_F8, "\033[19~" }, { KEY_F9, "\033[20~" }, { KEY_F10, "\033[21~" },
        { KEY_F11, "\033[23~" }, { KEY_F12, "\033[24~" },
    };
    TextConsole *t = opaque;
    uint32_t ch;
    char utf8[8] = "";

    if (k == KEY_SHIFT || k == KEY_SHIFT_R)
        t->shift = down;
    else if (k == KEY_CTRL || k == KEY_CTRL_R)
        t->ctrl = down;
    else if (k == KEY_ALT)
        t->alt = down;
    else if (k == KEY_ALT_R)
        t->altgr = down;
    if (!down)
        return;
    for (unsigned i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].key == k) {
            send(t, special[i].seq);
            return;
        }
    ch = key_char(t->con->ui ? ui_layout(t->con->ui) : "en-us", k, t->shift, t->altgr);
    if (!ch)
        return;
    if (t->alt)
        send(t, "\033");
    if (t->ctrl && ch >= '@' && ch < 127)
        ch &= 31;
    utf8[g_unichar_to_utf8(ch, utf8)] = 0;
    t->input(t->opaque, (const uint8_t *)utf8, ch < 32 ? 1 : strlen(utf8));
}

static const ConsoleOps console_ops = { .update = text_update, .invalidate = text_invalidate, .key = text_key };

/* ---- life ---- */

TextConsole *textconsole_new(Ui *ui, const char *label, int cols, int rows,
                             void (*input)(void *opaque, const uint8_t *buf, size_t len), void *opaque)
{
    TextConsole *t = g_new0(TextConsole, 1);

    t->cols = cols > 0 ? MIN(cols, COLS_MAX) : 80;
    t->rows = rows > 0 ? MIN(rows, ROWS_MAX) : 25;
    t->fg = 7;
    t->input = input;
    t->opaque = opaque;
    t->cells = g_new0(ConsoleCell, t->cols * t->rows);
    t->drawn = g_new0(ConsoleCell, t->cols * t->rows);
    t->con = console_new_text(ui, label, &console_ops, t);
    console_resize(t->con, t->cols * CELL_W, t->rows * CELL_H);
    clear_range(t, 0, t->cols * t->rows);
    text_invalidate(t);
    return t;
}

void textconsole_free(TextConsole *t)
{
    console_free(t->con);
    g_free(t->cells);
    g_free(t->drawn);
    g_free(t);
}
