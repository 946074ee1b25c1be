/*
 * display: what shows a Ui's consoles: a window, VNC, a browser page, a terminal, or nothing.
 */
#ifndef UI_DISPLAY_H
#define UI_DISPLAY_H

#include "ui/console.h"
#include "util/optlist.h"

/* How a display asks about and steers the machine, which it cannot see. Entries may be NULL. */
typedef struct UiHooks {
    /* "NAME - running - jit 1.2 GIPS": guest name, run state, engine and speed. Caller frees. */
    char *(*title)(void *opaque);
    const char *(*name)(void *opaque);          /* of the guest; NULL: it has none */
    void (*quit)(void *opaque);                 /* the user wants the process to end */
    void (*powerdown)(void *opaque);            /* press the guest's power button */
    void (*reset)(void *opaque);
    void (*pause)(void *opaque, bool pause);
    bool (*running)(void *opaque);
    void *opaque;
} UiHooks;
void ui_set_hooks(Ui *ui, const UiHooks *hooks);        /* copied */
const UiHooks *ui_hooks(Ui *ui);                        /* never NULL */

typedef struct DisplayKind {
    const char *name, *desc;
    bool available;                             /* built in */

    bool (*open)(Ui *ui, OptList *opts, GError **err);  /* opts: what follows the name */
} DisplayKind;
const DisplayKind *const *display_kinds(void);          /* NULL-terminated */
/*
 * -display: "sdl,full-screen=on", "vnc=:1,password=on", "web", "curses", "none". NULL: the best one that
 * starts here: a window, else the web page with its address on stderr. When the wanted display cannot
 * start, says why on stderr (log_warn) and opens the next useful one; fails only for unknown names and options.
 */
bool display_open(Ui *ui, const char *spec, GError **err) MUST_CHECK;
/* -vnc ADDR[,password=on,...]; no fall back. */
bool display_open_vnc(Ui *ui, const char *spec, GError **err) MUST_CHECK;
bool display_vnc_set_password(Ui *ui, const char *password, GError **err) MUST_CHECK;
char *display_vnc_describe(Ui *ui);                     /* "info vnc" text; caller frees */
char *display_list_help(void);                          /* "-display help"; caller frees */

#endif
