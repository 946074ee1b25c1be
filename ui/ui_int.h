/* ui_int: the insides of a Ui, shared by the files of this folder. */
#ifndef UI_UI_INT_H
#define UI_UI_INT_H

#include "ui/display.h"
#include "util/bytes.h"

struct Console {
    Ui *ui;                     /* NULL: nobody can see it */
    char *label;
    const ConsoleOps *ops;
    void *opaque;
    bool graphic;
    pixman_image_t *surface;
    bool own_surface;           /* made by console_resize */
    pixman_region32_t damage;   /* since the last flush to listeners */
    bool resized, text_dirty, cursor_dirty;
    bool blinked;               /* all of it is blinking */
    int cols, rows, text_x, text_y;
    bool text_cursor;
    ConsoleCell *cells;
    struct ConsoleCursor cursor;
};

struct DisplayListener {
    Ui *ui;
    Console *con;               /* NULL: all */
    const DisplayOps *ops;
    void *opaque;
    bool idle;
    bool needs_all;             /* resized is due */
    bool dead;                  /* unlisten came while the list was walked */
};

struct InputHandler {
    Ui *ui;
    const InputOps *ops;
    void *opaque;
    int id;
    bool leds[3];               /* scroll, num, caps */
};

struct Ui {
    GPtrArray *consoles;        /* Console *, not owned */
    GPtrArray *listeners;       /* DisplayListener *, owned */
    GPtrArray *inputs;          /* InputHandler *, owned; the first that takes an event gets it */
    UiHooks hooks;
    guint timer;
    int interval_ms;
    int walking;                /* depth of listener walks */
    int next_input_id;
    uint8_t down[KEY_CODES];    /* keys held: code was sent down */
    unsigned buttons;           /* held, bit per PointerButton */
    char *layout;
    GQueue keys;                /* of KeyStep: sendkey and paste */
    guint key_timer;
    void *vnc;                  /* the VNC display's data, or NULL */
};

void ui_keys_free(Ui *ui);
void ui_stroke(Ui *ui, const KeyStroke *k, bool alt);   /* press and release, in the queue of typed keys */
void ui_consoles_changed(Ui *ui);
void ui_console_gone(Ui *ui, Console *con);     /* already out of the list */

/* The kinds; NULL entries of the table are left out of the build. */
extern const DisplayKind display_none, display_sdl, display_curses, display_vnc, display_web;

#endif
