/*
 * curses: the screen in a terminal: text modes as text, graphics modes as half blocks.
 *
 * Ctrl-] is quern's key: Ctrl-] q ends, Ctrl-] p presses the power button, Ctrl-] r resets, Ctrl-] 1..9
 * shows another console, Ctrl-] d is Ctrl-Alt-Del, Ctrl-] Ctrl-] goes to the guest. Alt-1..9 shows a console too. The
 * terminal is put back at exit and by fatal signals; the record for that is this file's only global.
 */
#ifndef NCURSES_WIDECHAR
#define NCURSES_WIDECHAR 1
#endif
#include "ui/ui_int.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

/* The same names mean other things in curses.h: keep ours under different ones. */
enum { UK_DOWN = KEY_DOWN, UK_UP = KEY_UP, UK_LEFT = KEY_LEFT, UK_RIGHT = KEY_RIGHT, UK_HOME = KEY_HOME,
       UK_END = KEY_END, UK_PGUP = KEY_PGUP, UK_PGDN = KEY_PGDN, UK_INSERT = KEY_INSERT, UK_DELETE = KEY_DELETE,
       UK_BACKSPACE = KEY_BACKSPACE, UK_TAB = KEY_TAB, UK_F1 = KEY_F1, UK_F11 = KEY_F11, UK_F12 = KEY_F12,
       UK_KP_ENTER = KEY_KP_ENTER, UK_ESC = KEY_ESC, UK_NONE = KEY_NONE,
       UK_SHIFT = KEY_SHIFT, UK_CTRL = KEY_CTRL, UK_ALT_R = KEY_ALT_R };

#include <curses.h>

enum { MENU_KEY = 0x1d, ESC = 27, PICTURE_MS = 100, CELL_MAX = 512 };

typedef struct CursesDisplay {
    Ui *ui;
    DisplayListener *dl;
    Console *con;
    guint input;
    bool menu;                  /* Ctrl-] was the last key */
    bool picture_due;
    off_t messages_shown;
    int64_t picture_at_us;
} CursesDisplay;

static struct {                 /* allow-listed global: one controlling terminal */
    atomic_bool active;
    struct termios saved;
    bool plain;                 /* nothing but ASCII */
    int saved_err, messages;    /* standard error: the real one, and a file in its place while curses draws */
} term = { .saved_err = -1, .messages = -1 };

/* What quern says would garble the picture: it waits in a file, and is shown when curses has gone. */
static void hold_messages(void)
{
    if (!isatty(STDERR_FILENO))
        return;
    term.messages = memfd_create("messages", MFD_CLOEXEC);
    term.saved_err = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (term.messages >= 0 && term.saved_err >= 0)
        dup2(term.messages, STDERR_FILENO);
}

/* Only calls that are safe in a signal handler. */
static void release_messages(void)
{
    char buf[512];
    ssize_t n;

    if (term.saved_err < 0 || term.messages < 0)
        return;
    dup2(term.saved_err, STDERR_FILENO);
    for (off_t at = 0; (n = pread(term.messages, buf, sizeof buf, at)) > 0; at += n)
        if (write(STDERR_FILENO, buf, n) != n)
            break;
    close(term.messages);
    close(term.saved_err);
    term.messages = term.saved_err = -1;
}

static void restore_terminal(void)
{
    static const char leave[] = "\033[?1049l\033[?25h\033[0m\r\n";

    if (!atomic_exchange(&term.active, false))
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &term.saved);
    if (write(STDOUT_FILENO, leave, sizeof leave - 1) < 0)
        return;
    release_messages();
}

static void on_fatal(int sig)
{
    restore_terminal();
    raise(sig);                 /* SA_RESETHAND */
}

static void guard_terminal(void)
{
    static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
    struct sigaction sa = { .sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER }, old;

    tcgetattr(STDIN_FILENO, &term.saved);
    atomic_store(&term.active, true);
    atexit(restore_terminal);
    for (unsigned i = 0; i < ARRAY_LEN(signals); i++)
        if (sigaction(signals[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) && old.sa_handler == SIG_DFL)
            sigaction(signals[i], &sa, NULL);
}

/* ---- colours ---- */

static int ansi(int vga)
{
    return (vga & 1) << 2 | (vga & 2) | (vga & 4) >> 2 | (vga & 8);
}

/* The pair for two colours of the terminal; pairs are made when first used. */
static int pair_of(int fg, int bg)
{
    int n = COLORS >= 256 && COLOR_PAIRS >= 65536 ? 256 : COLORS >= 16 && COLOR_PAIRS >= 256 ? 16 : 8, pair;
    int have_fg, have_bg;

    fg %= n;
    bg %= n;
    pair = fg * n + bg + (n < 256);     /* 0 is the terminal's own: keep it where there is room */
    if (pair == 0)
        return 0;
    if (extended_pair_content(pair, &have_fg, &have_bg) == ERR || have_fg != fg || have_bg != bg)
        init_extended_pair(pair, fg, bg);
    return pair;
}

static int cube_color(uint32_t rgb)
{
    static const uint8_t steps[] = { 0, 95, 135, 175, 215, 255 };
    int index = 16, c[3] = { rgb >> 16 & 255, rgb >> 8 & 255, rgb & 255 };

    if (COLORS < 256)
        return ansi((c[2] > 96) | (c[1] > 96) << 1 | (c[0] > 96) << 2 | (c[0] + c[1] + c[2] > 500) << 3);
    for (int k = 0, weight = 36; k < 3; k++, weight /= 6) {
        int best = 0;

        for (int i = 1; i < 6; i++)
            if (abs(steps[i] - c[k]) < abs(steps[best] - c[k]))
                best = i;
        index += best * weight;
    }
    return index;
}

/* Frames, blocks and bullets for terminals that know no more than ASCII. */
static uint32_t ascii_of(uint32_t ch)
{
    static const uint16_t from[] = { 0x2502, 0x2551, 0x2500, 0x2550, 0x2588, 0x2593, 0x2592, 0x2591, 0x2584, 0x2580, 0x25a0,
                                     0x25ba, 0x25c4, 0x2191, 0x2193, 0x2192, 0x2190, 0x2022, 0xb7, 0xa0 };
    static const char to[] = "||-=###:_^#><^v><*. ";

    if (ch < 127)
        return ch;
    for (unsigned i = 0; i < ARRAY_LEN(from); i++)
        if (from[i] == ch)
            return to[i];
    return ch >= 0x2500 && ch < 0x2580 ? '+' : '?';
}

static void put_cell(int y, int x, uint32_t ch, int fg, int bg, attr_t attr)
{
    wchar_t text[2] = { (wchar_t)(ch < 32 ? ' ' : ch), 0 };
    int pair = pair_of(fg, bg);
    cchar_t cell;

    if (term.plain)
        text[0] = ascii_of(text[0]);
    /* without 16 colours, bold is what makes a foreground bright */
    if (fg >= 8 && COLORS < 16)
        attr |= A_BOLD;
    setcchar(&cell, text, attr, 0, &pair);
    mvadd_wch(y, x, &cell);
}

/* ---- drawing ---- */

/* The last line of what was said while curses draws, or NULL. */
static char *last_message(void)
{
    char buf[256];
    off_t end = term.messages >= 0 ? lseek(term.messages, 0, SEEK_END) : 0;
    ssize_t n = end > 0 ? pread(term.messages, buf, sizeof buf - 1, MAX(end - (off_t)sizeof buf + 1, 0)) : 0;
    char *line;

    if (n <= 1)
        return NULL;
    buf[buf[n - 1] == '\n' ? n - 1 : n] = 0;
    line = strrchr(buf, '\n');
    return g_strdup(line ? line + 1 : buf);
}

static void draw_status(CursesDisplay *s, int row)
{
    const UiHooks *h = ui_hooks(s->ui);
    g_autofree char *title = h->title ? h->title(h->opaque) : g_strdup("quern"), *line = NULL, *message = NULL;

    if (row >= LINES)
        return;
    message = last_message();
    line = s->menu ? g_strdup("q end  p power button  r reset  d Ctrl-Alt-Del  1-9 console  Ctrl-] to the guest")
                   : g_strdup_printf("%s%s%s   (Ctrl-] for keys)  %s", title, console_index(s->con) > 0 ? " - " : "",
                                     console_index(s->con) > 0 ? console_label(s->con) : "", message ? message : "");
    attrset(A_REVERSE);
    mvhline(LINES - 1, 0, ' ', COLS);
    mvaddnstr(LINES - 1, 0, line, COLS);
    attrset(A_NORMAL);
}

static void draw_text(CursesDisplay *s)
{
    int cols, rows, cx, cy, top = 0, left = 0;
    bool on;
    const ConsoleCell *cells = console_text(s->con, &cols, &rows, &cx, &cy, &on);

    if (!cells)
        return;
    /* a small terminal follows the cursor */
    if (rows > LINES && cy >= LINES)
        top = MIN(cy - LINES + 1, rows - LINES);
    if (cols > COLS && cx >= COLS)
        left = MIN(cx - COLS + 1, cols - COLS);
    erase();
    for (int y = 0; y < MIN(rows - top, LINES); y++)
        for (int x = 0; x < MIN(cols - left, COLS); x++) {
            const ConsoleCell *c = &cells[(y + top) * cols + x + left];

            put_cell(y, x, c->ch, ansi(c->fg), ansi(c->bg), c->blink ? A_BLINK : A_NORMAL);
        }
    draw_status(s, rows - top);
    curs_set(on && cy - top < LINES && cx - left < COLS);
    if (on)
        move(cy - top, cx - left);
    refresh();
}

/* Mean colour of a box of the picture, from at most 4 x 4 samples. */
static uint32_t sample(const uint32_t *data, int stride, int x1, int y1, int x2, int y2)
{
    int r = 0, g = 0, b = 0, n = 0, sx = MAX((x2 - x1) / 4, 1), sy = MAX((y2 - y1) / 4, 1);

    for (int y = y1; y < MAX(y2, y1 + 1); y += sy)
        for (int x = x1; x < MAX(x2, x1 + 1); x += sx) {
            uint32_t p = data[(size_t)y * stride + x];

            r += p >> 16 & 255;
            g += p >> 8 & 255;
            b += p & 255;
            n++;
        }
    return (r / n) << 16 | (g / n) << 8 | b / n;
}

/* Two pixels, one above the other: in their colours, or as a letter of that brightness. */
static void put_pixels(int y, int x, uint32_t up, uint32_t low)
{
    static const char ramp[] = " .:-=+*#%@";
    unsigned light;

    if (has_colors() && !term.plain) {
        put_cell(y, x, 0x2580, cube_color(up), cube_color(low), A_NORMAL);
        return;
    }
    light = 299 * ((up >> 16 & 255) + (low >> 16 & 255)) + 587 * ((up >> 8 & 255) + (low >> 8 & 255)) +
            114 * ((up & 255) + (low & 255));
    put_cell(y, x, ramp[light * (sizeof ramp - 1) / (2 * 255 * 1000 + 1)], cube_color(up), 0, A_NORMAL);
}

static void draw_picture(CursesDisplay *s)
{
    pixman_image_t *img = console_surface(s->con);
    int w = console_width(s->con), h = console_height(s->con), stride = pixman_image_get_stride(img) / 4;
    const uint32_t *data = pixman_image_get_data(img);
    int cols = MIN(COLS, CELL_MAX), rows = MIN(LINES - 1, CELL_MAX), ow, oh;

    if (rows < 1 || cols < 1)
        return;
    ow = MIN(cols, MAX(rows * 2 * w / h, 1));
    oh = MIN(rows * 2, MAX(ow * h / w, 2)) & ~1;
    oh = MAX(oh, 2);
    erase();
    for (int y = 0; y < oh; y += 2)
        for (int x = 0; x < ow; x++) {
            int x1 = x * w / ow, x2 = (x + 1) * w / ow;
            uint32_t up = sample(data, stride, x1, y * h / oh, x2, (y + 1) * h / oh);
            uint32_t low = sample(data, stride, x1, (y + 1) * h / oh, x2, (y + 2) * h / oh);

            put_pixels(y / 2, x, up, low);
        }
    draw_status(s, oh / 2);
    curs_set(0);
    refresh();
    s->picture_due = false;
    s->picture_at_us = g_get_monotonic_time();
}

static bool is_text(CursesDisplay *s)
{
    int cols, rows, x, y;
    bool on;

    return console_text(s->con, &cols, &rows, &x, &y, &on) != NULL;
}

static void draw(CursesDisplay *s)
{
    if (is_text(s))
        draw_text(s);
    else
        draw_picture(s);
}

static void curses_resized(void *opaque, Console *con)
{
    CursesDisplay *s = opaque;

    s->con = con;
    s->picture_due = true;
}

static void curses_updated(void *opaque, Console *con, int x, int y, int w, int h)
{
    ((CursesDisplay *)opaque)->picture_due = true;
}

static void curses_text(void *opaque, Console *con)
{
    draw(opaque);
}

static void curses_tick(void *opaque)
{
    CursesDisplay *s = opaque;
    off_t said = term.messages >= 0 ? lseek(term.messages, 0, SEEK_END) : 0;

    if (said != s->messages_shown) {
        s->messages_shown = said;
        draw(s);
    }
    if (s->picture_due && !is_text(s) && g_get_monotonic_time() - s->picture_at_us > PICTURE_MS * 1000)
        draw_picture(s);
}

/* ---- keys ---- */

static const struct { int from; int key; bool shift; } special[] = {
    { KEY_DOWN, UK_DOWN }, { KEY_UP, UK_UP }, { KEY_LEFT, UK_LEFT }, { KEY_RIGHT, UK_RIGHT }, { KEY_HOME, UK_HOME },
    { KEY_END, UK_END }, { KEY_PPAGE, UK_PGUP }, { KEY_NPAGE, UK_PGDN }, { KEY_IC, UK_INSERT }, { KEY_DC, UK_DELETE },
    { KEY_BACKSPACE, UK_BACKSPACE }, { KEY_BTAB, UK_TAB, true }, { KEY_ENTER, UK_KP_ENTER }, { KEY_SLEFT, UK_LEFT, true },
    { KEY_SRIGHT, UK_RIGHT, true }, { KEY_SR, UK_UP, true }, { KEY_SF, UK_DOWN, true }, { KEY_SHOME, UK_HOME, true },
    { KEY_SEND, UK_END, true },
};

/* What curses read, as a stroke on the guest's keyboard; false: nothing there types it. */
static bool stroke_of(CursesDisplay *s, int kind, wint_t ch, KeyStroke *out)
{
    *out = (KeyStroke) { .key = (KeyCode)UK_NONE };
    if (kind != KEY_CODE_YES) {
        if (ch == 127) {                /* what most terminals send for backspace */
            out->key = (KeyCode)UK_BACKSPACE;
            return true;
        }
        return key_for_char(ui_layout(s->ui), ch, out);
    }
    if (ch >= (wint_t)KEY_F(1) && ch <= (wint_t)KEY_F(24)) {
        int n = ch - KEY_F0;

        out->shift = n > 12;            /* Shift+F1 comes as F13 */
        n = n > 12 ? n - 12 : n;
        out->key = n <= 10 ? UK_F1 + n - 1 : n == 11 ? UK_F11 : UK_F12;
        return true;
    }
    for (unsigned i = 0; i < ARRAY_LEN(special); i++)
        if (special[i].from == (int)ch) {
            out->key = special[i].key;
            out->shift = special[i].shift;
            return true;
        }
    return false;
}

static void show_console(CursesDisplay *s, int n)
{
    if (ui_console(s->ui, n))
        display_watch(s->dl, s->con = ui_console(s->ui, n));
}

static bool menu_key(CursesDisplay *s, wint_t ch)
{
    const UiHooks *h = ui_hooks(s->ui);

    if (ch == 'q' && h->quit)
        h->quit(h->opaque);
    else if (ch == 'p' && h->powerdown)
        h->powerdown(h->opaque);
    else if (ch == 'r' && h->reset)
        h->reset(h->opaque);
    else if (ch == 'd')
        return ui_send_keys(s->ui, "ctrl-alt-delete", 0, NULL);
    else if (ch >= '1' && ch <= '9')
        show_console(s, ch - '1');
    else
        return false;
    return true;
}

static void type_text_console(Console *con, const KeyStroke *k)
{
    const struct { bool on; int key; } mods[] = { { k->shift, UK_SHIFT }, { k->ctrl, UK_CTRL }, { k->altgr, UK_ALT_R } };

    for (unsigned i = 0; i < ARRAY_LEN(mods); i++)
        if (mods[i].on)
            console_key(con, (KeyCode)mods[i].key, true);
    console_key(con, k->key, true);
    console_key(con, k->key, false);
    for (unsigned i = 0; i < ARRAY_LEN(mods); i++)
        if (mods[i].on)
            console_key(con, (KeyCode)mods[i].key, false);
}

static void one_key(CursesDisplay *s, int kind, wint_t ch)
{
    KeyStroke k;
    bool alt = false;

    if (kind == KEY_CODE_YES && ch == KEY_RESIZE) {
        draw(s);
        return;
    }
    if (s->menu || (kind == OK && ch == MENU_KEY)) {
        bool was = s->menu;

        s->menu = !was;
        if (was && kind == OK && ch != MENU_KEY)
            menu_key(s, ch);
        draw(s);
        if (!was || ch != MENU_KEY)
            return;
    }
    if (kind == OK && ch == ESC) {      /* Escape, or the terminal's way to say Alt */
        wint_t next;
        int more = get_wch(&next);

        if (more == OK && next >= '1' && next <= '9') {
            show_console(s, next - '1');
            return;
        }
        if (more != ERR) {
            kind = more;
            ch = next;
            alt = true;
        }
    }
    if (!stroke_of(s, kind, ch, &k))
        return;
    if (console_is_graphic(s->con))
        ui_stroke(s->ui, &k, alt);
    else
        type_text_console(s->con, &k);
}

static gboolean on_input(gint fd, GIOCondition cond, gpointer opaque)
{
    CursesDisplay *s = opaque;
    wint_t ch;
    int kind;

    if (cond & (G_IO_HUP | G_IO_ERR)) {         /* the terminal is gone */
        s->input = 0;
        return G_SOURCE_REMOVE;
    }
    for (int budget = 256; budget > 0 && (kind = get_wch(&ch)) != ERR; budget--)
        one_key(s, kind, ch);
    return G_SOURCE_CONTINUE;
}

static void curses_consoles_changed(void *opaque)
{
    CursesDisplay *s = opaque;

    if (console_index(s->con) < 0)
        show_console(s, 0);
}

static void curses_close(void *opaque)
{
    CursesDisplay *s = opaque;

    if (s->input)
        g_source_remove(s->input);
    display_unlisten(s->dl);
    endwin();
    atomic_store(&term.active, false);
    release_messages();
    g_free(s);
}

static const DisplayOps curses_ops = {
    .name = "curses", .resized = curses_resized, .updated = curses_updated, .text_updated = curses_text,
    .tick = curses_tick, .consoles_changed = curses_consoles_changed, .close = curses_close,
};

static bool curses_open(Ui *ui, OptList *opts, GError **err)
{
    CursesDisplay *s;

    const char *charset = optlist_str(opts, "charset", "utf-8");

    if (!optlist_check_unused(opts, err))
        return false;
    if (!ui_console(ui, 0))
        return err_set_code(err, ERR_UNSUPPORTED, "the machine has no screen to show");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return err_set_code(err, ERR_UNSUPPORTED, "standard input and output are not a terminal");
    if (!getenv("TERM"))
        return err_set_code(err, ERR_UNSUPPORTED, "TERM is not set");
    setlocale(LC_CTYPE, "");
    /* the C locale says nothing about the terminal; one with another character set does */
    term.plain = g_ascii_strcasecmp(charset, "ascii") == 0 ||
                 (MB_CUR_MAX == 1 && strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") != 0);
    if (MB_CUR_MAX == 1 && !term.plain)
        setlocale(LC_CTYPE, "C.UTF-8");
    guard_terminal();
    set_escdelay(25);
    hold_messages();
    if (!newterm(NULL, stdout, stdin)) {
        atomic_store(&term.active, false);
        release_messages();
        return err_set_code(err, ERR_UNSUPPORTED, "the terminal type '%s' is not known", getenv("TERM"));
    }
    if (!tigetstr("cup") || tigetstr("cup") == (char *)-1) {
        endwin();
        atomic_store(&term.active, false);
        release_messages();
        return err_set_code(err, ERR_UNSUPPORTED, "the terminal type '%s' cannot place its cursor", getenv("TERM"));
    }
    s = g_new0(CursesDisplay, 1);
    s->ui = ui;
    s->con = ui_console(ui, 0);
    if (has_colors())
        start_color();
    raw();
    noecho();
    nonl();
    intrflush(stdscr, FALSE);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    s->input = g_unix_fd_add(STDIN_FILENO, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, s);
    s->dl = display_listen(ui, s->con, &curses_ops, s);
    draw(s);
    return true;
}

const DisplayKind display_curses = { "curses", "text modes in this terminal, graphics modes as blocks (Ctrl-] q ends)",
                                     true, curses_open };
