/*
 * console: the door between display and input devices and what shows them to a person.
 *
 * A Ui belongs to one machine and has consoles (screens), display listeners (window, VNC ...) and
 * input handlers (keyboard, mouse devices). A console is a pixman surface plus what changed since
 * the last frame; in text modes also a grid of cells, for terminals and for copying text. The Ui's
 * refresh timer asks the device of each watched console for changes, and slows down while there
 * are none. Everything runs under the machine lock.
 */
#ifndef UI_CONSOLE_H
#define UI_CONSOLE_H

#include "ui/keys.h"
#include "util/error.h"

#include <pixman.h>

typedef struct Ui Ui;
typedef struct Console Console;

Ui *ui_new(void);
void ui_free(Ui *ui);           /* closes displays; consoles must be gone or become orphans */

/* ---- the device's side of a console ---- */
typedef struct ConsoleCell {    /* one character of a text mode */
    uint32_t ch;                /* Unicode */
    uint8_t fg, bg;             /* 0-15, in VGA order: blue is bit 0 */
    bool blink;
} ConsoleCell;

typedef struct ConsoleOps {     /* each may be NULL */
    void (*update)(void *opaque);               /* draw what changed; report it with console_damage */
    void (*invalidate)(void *opaque);           /* forget what was drawn: the next update draws all */
    void (*wish_size)(void *opaque, int w, int h);      /* the window has this many pixels now */
    void (*key)(void *opaque, KeyCode k, bool down);    /* a text console types for itself */
} ConsoleOps;

/* label: "VGA". ui NULL: a console nobody can see (tests). The first graphic console is number 0. */
Console *console_new(Ui *ui, const char *label, const ConsoleOps *ops, void *opaque);
/* The same for a text console: listed after the graphic ones. */
Console *console_new_text(Ui *ui, const char *label, const ConsoleOps *ops, void *opaque);
void console_free(Console *con);
/*
 * Gives the console a surface (x8r8g8b8 for all users; reference taken) and drops the grid of cells.
 * Same pointer again: nothing. The whole surface is damaged.
 */
void console_set_surface(Console *con, pixman_image_t *surface);
/* Makes or keeps a w x h x8r8g8b8 surface of its own; true if it is a new one. Sizes are clamped to 1..16384. */
bool console_resize(Console *con, int w, int h);
void console_damage(Console *con, int x, int y, int w, int h);  /* clipped to the surface */
void console_blinked(Console *con);      /* this time it is only blinking: no reason to look more often */
/* Text mode: the whole grid (copied; only differences are passed on). cols 0: no text (graphics). */
void console_set_text(Console *con, int cols, int rows, const ConsoleCell *cells, int cursor_x, int cursor_y,
                      bool cursor_on);
/* Pointer image drawn by the host: w*h ARGB pixels, not premultiplied; NULL: none. */
void console_set_cursor(Console *con, int w, int h, int hot_x, int hot_y, const uint32_t *argb);
void console_move_cursor(Console *con, int x, int y, bool visible);

/* ---- the viewer's side ---- */
Console *ui_console(Ui *ui, int index);         /* NULL past the end */
int ui_console_count(Ui *ui);
const char *console_label(const Console *con);
int console_index(const Console *con);
bool console_is_graphic(const Console *con);    /* false: a text console of ui/textconsole.h */
pixman_image_t *console_surface(Console *con);  /* never NULL */
int console_width(Console *con);
int console_height(Console *con);
const ConsoleCell *console_text(Console *con, int *cols, int *rows, int *cursor_x, int *cursor_y, bool *cursor_on);
/* Asks the device to draw what is pending, now (screendump). */
void console_refresh(Console *con);
char *console_copy_text(Console *con);          /* text mode: rows, UTF-8, trailing spaces cut; NULL: graphics */

typedef struct DisplayOps {     /* entries may be NULL */
    const char *name;
    void (*resized)(void *opaque, Console *con);        /* new surface */
    void (*updated)(void *opaque, Console *con, int x, int y, int w, int h);
    void (*text_updated)(void *opaque, Console *con);   /* cells or text cursor changed */
    void (*cursor_changed)(void *opaque, Console *con);
    void (*consoles_changed)(void *opaque);             /* one came or went */
    void (*tick)(void *opaque);                         /* after each refresh: poll events, present */
    void (*close)(void *opaque);                        /* the Ui goes away; the listener frees itself */
} DisplayOps;
typedef struct DisplayListener DisplayListener;
/* con NULL: watches all consoles; else only this one. Starts the refresh timer. */
DisplayListener *display_listen(Ui *ui, Console *con, const DisplayOps *ops, void *opaque);
void display_unlisten(DisplayListener *dl);
/* Watch another console; sends resized for it. */
void display_watch(DisplayListener *dl, Console *con);
/* A listener with nobody looking (minimized window, no client) lets the timer rest. */
void display_set_idle(DisplayListener *dl, bool idle);
struct ConsoleCursor { int w, h, hot_x, hot_y, x, y; bool visible; uint32_t *argb; };
const struct ConsoleCursor *console_cursor(const Console *con);
void ui_refresh_soon(Ui *ui);                   /* input happened: look again at full rate */

/* ---- input ---- */
typedef enum { BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT, BUTTON_SIDE, BUTTON_EXTRA, BUTTONS } PointerButton;
enum { INPUT_KEY = 1, INPUT_REL = 2, INPUT_ABS = 4, INPUT_BUTTON = 8 };
enum { INPUT_ABS_MAX = 0x7fff };
typedef struct InputOps {       /* a keyboard or pointing device of the guest; entries may be NULL */
    const char *name;           /* "PS/2 Mouse" */
    unsigned mask;              /* INPUT_* it takes */
    void (*key)(void *opaque, KeyCode k, bool down);
    void (*rel)(void *opaque, int dx, int dy);
    void (*abs)(void *opaque, int x, int y);            /* 0..INPUT_ABS_MAX */
    void (*button)(void *opaque, PointerButton b, bool down);
    void (*wheel)(void *opaque, int dy, int dx);        /* dy > 0: away from the user */
    void (*sync)(void *opaque);                         /* a group of pointer events is complete */
} InputOps;
typedef struct InputHandler InputHandler;
/* ui may be NULL (no events ever come). The newest handler of a kind gets the events. */
InputHandler *input_add(Ui *ui, const InputOps *ops, void *opaque);
void input_del(InputHandler *h);
void input_activate(InputHandler *h);           /* make it the one that gets events (guest enabled it) */
void input_deactivate(InputHandler *h);          /* the others go first (guest does not use it) */
void input_set_leds(InputHandler *h, bool scroll, bool num, bool caps);
void ui_leds(Ui *ui, bool *scroll, bool *num, bool *caps);

void ui_key(Ui *ui, KeyCode k, bool down);      /* repeats of a held key pass through */
/* A key typed while con is shown: to the guest, or to the text console. */
void console_key(Console *con, KeyCode k, bool down);
void ui_release_keys(Ui *ui);                   /* focus lost */
void ui_rel(Ui *ui, int dx, int dy);
void ui_abs(Ui *ui, int x, int y, int w, int h);        /* pixel x, y of a w x h picture; clamped */
void ui_button(Ui *ui, PointerButton b, bool down);
void ui_wheel(Ui *ui, int dy, int dx);
void ui_sync(Ui *ui);
bool ui_pointer_is_absolute(Ui *ui);            /* which kind the current pointing device is */
bool ui_has_pointer(Ui *ui);
char *ui_list_mice(Ui *ui);                     /* "info mice" text; caller frees */
bool ui_select_mouse(Ui *ui, int index, GError **err) MUST_CHECK;       /* mouse_set */
/* "ctrl-alt-f1": presses in order, holds hold_ms (0: 100), releases in reverse. Queued one after another. */
bool ui_send_keys(Ui *ui, const char *combo, int hold_ms, GError **err) MUST_CHECK;
void ui_type_text(Ui *ui, const char *utf8);    /* as key strokes on the Ui's layout; unknown characters skipped */
bool ui_set_layout(Ui *ui, const char *layout, GError **err) MUST_CHECK;        /* -k */
const char *ui_layout(Ui *ui);
/* Monitor commands in their text forms: "dx dy [dz]" and a button mask (1 left, 2 middle, 4 right). */
void ui_mouse_move(Ui *ui, int dx, int dy, int dz);
void ui_mouse_buttons(Ui *ui, unsigned mask);

/* PNG or PPM by format ("png", "ppm", NULL: by the file's ending, else ppm). con NULL: console 0. */
bool ui_screendump(Ui *ui, Console *con, const char *path, const char *format, GError **err) MUST_CHECK;

#endif
