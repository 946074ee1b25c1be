/*
 * sdl: a window through SDL2.
 *
 * The picture is drawn into the window's own surface with pixman: unchanged areas cost nothing and no
 * GPU is needed. Whole-number scales are sharp, others smooth. Key combinations start with the grab
 * modifiers (Ctrl-Alt): docs/display.md lists them. Events come when the connection to the X server
 * is readable or drawing read them; other window systems are polled, faster while the user does something. Sizes are
 * pixels of the window's surface; SDL's pointer coordinates may be coarser (high density screens).
 */
#include "ui/sdl_fd.h"
#include "ui/ui_int.h"

#include "util/log.h"

#include <SDL.h>
#include <glib-unix.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { POLL_MS = 8, POLL_IDLE_MS = 50, POLL_BUSY_MS = 2000, TITLE_MS = 1000, NOTICE_S = 5, EVENTS_AT_ONCE = 500, CLOSE_AGAIN_S = 30, ZOOM_MIN = 25, ZOOM_MAX = 800 };

typedef struct SdlDisplay {
    Ui *ui;
    DisplayListener *dl;
    Console *con;
    SDL_Window *window;
    guint poll, x_source, title_timer;
    int poll_ms;
    int64_t last_event_us;
    int zoom;                   /* percent, while the window follows the guest */
    bool free_size;             /* the user gave the window a size: fit into it */
    bool fullscreen, grabbed, focused, hidden;
    bool smooth, show_cursor, window_close;
    unsigned grab_mod;          /* SDL_Keymod bits that start a combination */
    bool combo;                 /* a combination was used: its keys are not for the guest */
    SDL_Rect view;              /* where the picture is, in pixels of the surface */
    double density;             /* pixels of the surface for each unit of the pointer */
    int wheel;
    int64_t close_asked_us, notice_until_us;
    char *notice;
    SDL_Cursor *cursor;
} SdlDisplay;

static void set_notice(SdlDisplay *s, const char *text);
static bool take_events(SdlDisplay *s);

/* ---- geometry ---- */

static void window_size_for(SdlDisplay *s, int *w, int *h)
{
    SDL_Rect r = { 0, 0, 1920, 1080 };
    int display = s->window ? SDL_GetWindowDisplayIndex(s->window) : 0;
    double z = s->zoom / 100.0, fit;

    if (SDL_GetDisplayUsableBounds(MAX(display, 0), &r) != 0)
        r.w = r.h = 32767;
    z /= s->density;
    *w = MAX((int)(console_width(s->con) * z), 64);
    *h = MAX((int)(console_height(s->con) * z), 48);
    fit = MIN(1.0, MIN((double)r.w / *w, (double)r.h / *h));
    *w *= fit;
    *h *= fit;
}

static void update_view(SdlDisplay *s)
{
    SDL_Surface *surf = SDL_GetWindowSurface(s->window);
    int cw = console_width(s->con), ch = console_height(s->con), w, h;
    double scale;

    if (!surf)
        return;
    SDL_GetWindowSize(s->window, &w, &h);
    s->density = w > 0 ? (double)surf->w / w : 1;
    scale = MIN((double)surf->w / cw, (double)surf->h / ch);
    /* close to a whole number of pixels: take it, and be sharp */
    if (scale > 1 && (!s->smooth || scale - floor(scale) < 0.02))
        scale = floor(scale);
    s->view.w = MAX((int)(cw * scale + 0.5), 1);
    s->view.h = MAX((int)(ch * scale + 0.5), 1);
    s->view.w = MIN(s->view.w, surf->w);
    s->view.h = MIN(s->view.h, surf->h);
    s->view.x = (surf->w - s->view.w) / 2;
    s->view.y = (surf->h - s->view.h) / 2;
}

/* ---- drawing ---- */

static pixman_image_t *window_image(SDL_Surface *surf)
{
    pixman_format_code_t fmt = surf->format->Rmask == 0xff ? PIXMAN_x8b8g8r8 : PIXMAN_x8r8g8b8;

    if (surf->format->BytesPerPixel != 4)
        return NULL;
    return pixman_image_create_bits_no_clear(fmt, surf->w, surf->h, surf->pixels, surf->pitch);
}

/* Draws the part of the picture that covers the guest's rectangle x, y, w, h. */
static void draw_rect(SdlDisplay *s, int x, int y, int w, int h)
{
    SDL_Surface *surf = SDL_GetWindowSurface(s->window);
    int cw = console_width(s->con), ch = console_height(s->con);
    pixman_image_t *dst = surf ? window_image(surf) : NULL, *src = console_surface(s->con);
    SDL_Rect r;

    if (!dst)
        return;
    if (s->view.w == cw && s->view.h == ch) {
        r = (SDL_Rect) { s->view.x + x, s->view.y + y, w, h };
        pixman_image_composite32(PIXMAN_OP_SRC, src, NULL, dst, x, y, 0, 0, r.x, r.y, w, h);
    } else {
        pixman_transform_t t;
        int x1 = MAX((int)((int64_t)x * s->view.w / cw) - 2, 0), y1 = MAX((int)((int64_t)y * s->view.h / ch) - 2, 0);
        int x2 = MIN((int)((int64_t)(x + w) * s->view.w / cw) + 3, s->view.w);
        int y2 = MIN((int)((int64_t)(y + h) * s->view.h / ch) + 3, s->view.h);

        pixman_transform_init_scale(&t, pixman_double_to_fixed((double)cw / s->view.w),
                                    pixman_double_to_fixed((double)ch / s->view.h));
        pixman_image_set_transform(src, &t);
        pixman_image_set_filter(src, s->view.w % cw == 0 && s->view.h % ch == 0 ? PIXMAN_FILTER_NEAREST
                                                                                : PIXMAN_FILTER_BILINEAR, NULL, 0);
        pixman_image_set_repeat(src, PIXMAN_REPEAT_PAD);
        r = (SDL_Rect) { s->view.x + x1, s->view.y + y1, x2 - x1, y2 - y1 };
        pixman_image_composite32(PIXMAN_OP_SRC, src, NULL, dst, x1, y1, 0, 0, r.x, r.y, r.w, r.h);
        pixman_image_set_transform(src, NULL);
        pixman_image_set_filter(src, PIXMAN_FILTER_NEAREST, NULL, 0);
        pixman_image_set_repeat(src, PIXMAN_REPEAT_NONE);
    }
    pixman_image_unref(dst);
    SDL_UpdateWindowSurfaceRects(s->window, &r, 1);
}

static void redraw(SdlDisplay *s)
{
    SDL_Surface *surf;

    update_view(s);
    surf = SDL_GetWindowSurface(s->window);
    if (!surf)
        return;
    SDL_FillRect(surf, NULL, 0);
    SDL_UpdateWindowSurface(s->window);
    draw_rect(s, 0, 0, console_width(s->con), console_height(s->con));
}

/* A window that grew stays on the screen as far as it fits. */
static void keep_on_screen(SdlDisplay *s, int w, int h)
{
    int x, y, top = 0, left = 0, bottom = 0, right = 0, display = SDL_GetWindowDisplayIndex(s->window);
    SDL_Rect r;

    if (SDL_GetDisplayUsableBounds(MAX(display, 0), &r) != 0)
        return;
    (void)SDL_GetWindowBordersSize(s->window, &top, &left, &bottom, &right);
    SDL_GetWindowPosition(s->window, &x, &y);
    if (x + w + right > r.x + r.w || y + h + bottom > r.y + r.h)
        SDL_SetWindowPosition(s->window, MAX(MIN(x, r.x + r.w - w - right), r.x + left),
                              MAX(MIN(y, r.y + r.h - h - bottom), r.y + top));
}

static void fit_window(SdlDisplay *s)
{
    int w, h, ow, oh;

    if (!s->free_size && !s->fullscreen) {
        window_size_for(s, &w, &h);
        SDL_GetWindowSize(s->window, &ow, &oh);
        if (w != ow || h != oh) {
            SDL_SetWindowSize(s->window, w, h);
            keep_on_screen(s, w, h);
        }
    }
    redraw(s);
}

static void sdl_resized(void *opaque, Console *con)
{
    SdlDisplay *s = opaque;

    s->con = con;
    fit_window(s);
}

static void sdl_updated(void *opaque, Console *con, int x, int y, int w, int h)
{
    SdlDisplay *s = opaque;

    if (s->hidden)
        return;
    trace(sdl_present, "x=%d y=%d w=%d h=%d", x, y, w, h);
    draw_rect(s, x, y, w, h);
}

static void sdl_cursor(void *opaque, Console *con)
{
    SdlDisplay *s = opaque;
    const struct ConsoleCursor *c = console_cursor(con);
    SDL_Surface *surf = c->argb ? SDL_CreateRGBSurfaceFrom(c->argb, c->w, c->h, 32, c->w * 4, 0xff0000, 0xff00, 0xff,
                                                           0xff000000) : NULL;
    SDL_Cursor *old = s->cursor;

    s->cursor = surf ? SDL_CreateColorCursor(surf, c->hot_x, c->hot_y) : NULL;
    if (s->cursor)
        SDL_SetCursor(s->cursor);
    if (surf)
        SDL_FreeSurface(surf);
    if (old)
        SDL_FreeCursor(old);
}

/* ---- pointer ---- */

static void show_pointer(SdlDisplay *s)
{
    bool hide = s->focused && console_is_graphic(s->con) && !s->show_cursor && !s->cursor &&
                (s->grabbed || ui_pointer_is_absolute(s->ui));

    SDL_ShowCursor(hide ? SDL_DISABLE : SDL_ENABLE);
}

static void set_grab(SdlDisplay *s, bool on)
{
    if (s->grabbed == on)
        return;
    s->grabbed = on;
    SDL_SetWindowGrab(s->window, on);
    SDL_SetRelativeMouseMode(on && !ui_pointer_is_absolute(s->ui));
    show_pointer(s);
    set_notice(s, on ? "Ctrl-Alt-G frees the mouse" : NULL);
}

static void on_motion(SdlDisplay *s, const SDL_MouseMotionEvent *e)
{
    if (!console_is_graphic(s->con))
        return;
    if (ui_pointer_is_absolute(s->ui)) {
        int cw = console_width(s->con), ch = console_height(s->con);

        if (s->view.w <= 1 || s->view.h <= 1)
            return;
        /* corner pixels of the view are corner pixels of the guest, at every scale */
        ui_abs(s->ui, (int)lround((e->x * s->density - s->view.x) * (cw - 1) / (s->view.w - 1)),
               (int)lround((e->y * s->density - s->view.y) * (ch - 1) / (s->view.h - 1)), cw, ch);
    } else if (s->grabbed) {
        ui_rel(s->ui, e->xrel, e->yrel);
    } else {
        return;
    }
    ui_sync(s->ui);
}

static void on_button(SdlDisplay *s, const SDL_MouseButtonEvent *e, bool down)
{
    static const PointerButton map[] = { [SDL_BUTTON_LEFT] = BUTTON_LEFT, [SDL_BUTTON_MIDDLE] = BUTTON_MIDDLE,
                                         [SDL_BUTTON_RIGHT] = BUTTON_RIGHT, [SDL_BUTTON_X1] = BUTTON_SIDE,
                                         [SDL_BUTTON_X2] = BUTTON_EXTRA };

    if (!console_is_graphic(s->con) || e->button < 1 || e->button >= ARRAY_LEN(map))
        return;
    if (!s->grabbed && !ui_pointer_is_absolute(s->ui)) {
        if (down && e->button == SDL_BUTTON_LEFT && ui_has_pointer(s->ui))
            set_grab(s, true);          /* this click is ours */
        return;
    }
    ui_button(s->ui, map[e->button], down);
    ui_sync(s->ui);
}

/* ---- keyboard ---- */

static KeyCode key_of(SDL_Scancode sc)
{
    switch (sc) {
    case SDL_SCANCODE_AUDIONEXT: return KEY_AUDIONEXT;
    case SDL_SCANCODE_AUDIOPREV: return KEY_AUDIOPREV;
    case SDL_SCANCODE_AUDIOSTOP: return KEY_AUDIOSTOP;
    case SDL_SCANCODE_AUDIOPLAY: return KEY_AUDIOPLAY;
    case SDL_SCANCODE_AUDIOMUTE: return KEY_AUDIOMUTE;
    case SDL_SCANCODE_MAIL: return KEY_MAIL;
    case SDL_SCANCODE_CALCULATOR: return KEY_CALCULATOR;
    case SDL_SCANCODE_SLEEP: return KEY_SLEEP;
    default: return sc < 256 ? key_by_hid(sc) : KEY_NONE;
    }
}

static void set_zoom(SdlDisplay *s, int zoom)
{
    s->zoom = CLAMP(zoom, ZOOM_MIN, ZOOM_MAX);
    s->free_size = false;
    fit_window(s);
}

static void screenshot(SdlDisplay *s)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%d-%H%M%S");
    g_autofree char *path = g_strdup_printf("quern-%s.%s", stamp, HAVE_PNG ? "png" : "ppm"), *text = NULL;
    g_autoptr(GError) err = NULL;

    text = ui_screendump(s->ui, s->con, path, NULL, &err) ? g_strdup_printf("saved %s", path) : g_strdup(err->message);
    set_notice(s, text);
}

static void show_console(SdlDisplay *s, int n)
{
    Console *con = ui_console(s->ui, n);

    if (!con || con == s->con)
        return;
    set_grab(s, false);
    ui_release_keys(s->ui);
    s->con = con;
    display_watch(s->dl, con);
}

static void toggle_fullscreen(SdlDisplay *s)
{
    s->fullscreen = !s->fullscreen;
    SDL_SetWindowFullscreen(s->window, s->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
    fit_window(s);
}

/* The key of a combination; false: it is none of ours. */
static bool combination(SdlDisplay *s, SDL_Scancode sc)
{
    if (sc >= SDL_SCANCODE_1 && sc <= SDL_SCANCODE_9) {
        show_console(s, sc - SDL_SCANCODE_1);
        return true;
    }
    switch (sc) {
    case SDL_SCANCODE_G:
        set_grab(s, !s->grabbed);
        break;
    case SDL_SCANCODE_F:
        toggle_fullscreen(s);
        break;
    case SDL_SCANCODE_U:
        set_zoom(s, 100);
        break;
    case SDL_SCANCODE_EQUALS: case SDL_SCANCODE_KP_PLUS:
        set_zoom(s, s->zoom + 25);
        break;
    case SDL_SCANCODE_MINUS: case SDL_SCANCODE_KP_MINUS:
        set_zoom(s, s->zoom - 25);
        break;
    case SDL_SCANCODE_S:
        screenshot(s);
        break;
    case SDL_SCANCODE_V: {
        char *text = SDL_GetClipboardText();

        ui_release_keys(s->ui);
        if (text && *text && console_is_graphic(s->con))
            ui_type_text(s->ui, text);
        SDL_free(text);
        break;
    }
    case SDL_SCANCODE_C: {
        g_autofree char *text = console_copy_text(s->con);

        if (text)
            SDL_SetClipboardText(text);
        set_notice(s, text ? "screen text copied" : "the screen is in a graphics mode: no text to copy");
        break;
    }
    case SDL_SCANCODE_Q:
        if (s->ui->hooks.quit)
            s->ui->hooks.quit(s->ui->hooks.opaque);
        break;
    default:
        return false;
    }
    return true;
}

static void on_key(SdlDisplay *s, const SDL_KeyboardEvent *e, bool down)
{
    /* the event's own modifiers: SDL_GetModState() is ahead of the events still in the queue */
    unsigned state = e->keysym.mod;
    bool mods = (state & s->grab_mod) == s->grab_mod;

    if (down && mods && combination(s, e->keysym.scancode)) {
        s->combo = true;
        ui_release_keys(s->ui);         /* the guest saw Ctrl and Alt go down */
        return;
    }
    if (s->combo) {                     /* swallow until the modifiers are up */
        s->combo = state & s->grab_mod;
        return;
    }
    console_key(s->con, key_of(e->keysym.scancode), down);
}

/* ---- window ---- */

static void set_title(SdlDisplay *s)
{
    const UiHooks *h = ui_hooks(s->ui);
    g_autofree char *what = h->title ? h->title(h->opaque) : g_strdup("quern"), *title = NULL;
    bool notice = s->notice && g_get_monotonic_time() < s->notice_until_us;

    title = g_strdup_printf("%s%s%s%s%s", what, console_index(s->con) > 0 ? " - " : "",
                            console_index(s->con) > 0 ? console_label(s->con) : "", notice ? " - " : "",
                            notice ? s->notice : s->grabbed ? " - Ctrl-Alt-G frees the mouse" : "");
    if (g_strcmp0(title, SDL_GetWindowTitle(s->window)) != 0)
        SDL_SetWindowTitle(s->window, title);
}

static void set_notice(SdlDisplay *s, const char *text)
{
    g_free(s->notice);
    s->notice = g_strdup(text);
    s->notice_until_us = g_get_monotonic_time() + NOTICE_S * G_USEC_PER_SEC;
    set_title(s);
}

static gboolean title_tick(gpointer opaque)
{
    set_title(opaque);
    (void)take_events(opaque);          /* whatever neither the descriptor nor a queue told of */
    return G_SOURCE_CONTINUE;
}

/* The first close presses the power button; the second one ends quern at once. */
static void on_close(SdlDisplay *s)
{
    const UiHooks *h = ui_hooks(s->ui);
    int64_t now = g_get_monotonic_time();
    bool running = h->running && h->running(h->opaque);

    if (!s->window_close)
        return;
    if (running && h->powerdown && (!s->close_asked_us || now - s->close_asked_us > CLOSE_AGAIN_S * G_USEC_PER_SEC)) {
        s->close_asked_us = now;
        h->powerdown(h->opaque);
        set_notice(s, "asked the guest to power off; close again to end at once");
        return;
    }
    if (h->quit)
        h->quit(h->opaque);
}

static void on_window(SdlDisplay *s, const SDL_WindowEvent *e)
{
    switch (e->event) {
    case SDL_WINDOWEVENT_SIZE_CHANGED:
        redraw(s);
        break;
    case SDL_WINDOWEVENT_RESIZED: {
        int w, h;

        window_size_for(s, &w, &h);
        s->free_size = !s->fullscreen && (e->data1 != w || e->data2 != h);
        if (s->con->ops->wish_size)
            s->con->ops->wish_size(s->con->opaque, e->data1, e->data2);
        redraw(s);
        break;
    }
    case SDL_WINDOWEVENT_EXPOSED:
        redraw(s);
        break;
    case SDL_WINDOWEVENT_FOCUS_GAINED:
        s->focused = true;
        show_pointer(s);
        break;
    case SDL_WINDOWEVENT_FOCUS_LOST:
        s->focused = false;
        s->combo = false;
        ui_release_keys(s->ui);
        set_grab(s, false);
        show_pointer(s);
        break;
    case SDL_WINDOWEVENT_MINIMIZED: case SDL_WINDOWEVENT_HIDDEN:
        s->hidden = true;
        display_set_idle(s->dl, true);
        break;
    case SDL_WINDOWEVENT_RESTORED: case SDL_WINDOWEVENT_SHOWN:
        s->hidden = false;
        display_set_idle(s->dl, false);
        break;
    case SDL_WINDOWEVENT_CLOSE:
        on_close(s);
        break;
    }
}

static bool take_events(SdlDisplay *s)
{
    SDL_Event e;
    int n = 0;

    for (; n < EVENTS_AT_ONCE && SDL_PollEvent(&e); n++) {
        switch (e.type) {
        case SDL_KEYDOWN: case SDL_KEYUP:
            on_key(s, &e.key, e.type == SDL_KEYDOWN);
            break;
        case SDL_MOUSEMOTION:
            on_motion(s, &e.motion);
            break;
        case SDL_MOUSEBUTTONDOWN: case SDL_MOUSEBUTTONUP:
            on_button(s, &e.button, e.type == SDL_MOUSEBUTTONDOWN);
            break;
        case SDL_MOUSEWHEEL:
            ui_wheel(s->ui, e.wheel.y, e.wheel.x);
            ui_sync(s->ui);
            break;
        case SDL_WINDOWEVENT:
            on_window(s, &e.window);
            break;
        }
    }
    return n > 0;
}

static gboolean poll_events(gpointer opaque);

/* For some time after an event SDL wants to be called again (a change of focus is believed late); window
   systems without a descriptor are always polled. */
static void poll_soon(SdlDisplay *s, bool event)
{
    int64_t now = g_get_monotonic_time();
    bool busy;
    int ms;

    if (event)
        s->last_event_us = now;
    busy = now - s->last_event_us < POLL_BUSY_MS * 1000;
    ms = s->x_source ? (busy ? POLL_IDLE_MS : 0) : busy ? POLL_MS : POLL_IDLE_MS;
    if (ms == s->poll_ms)
        return;
    if (s->poll)
        g_source_remove(s->poll);
    s->poll = ms ? g_timeout_add(ms, poll_events, s) : 0;
    s->poll_ms = ms;
}

static gboolean poll_events(gpointer opaque)
{
    SdlDisplay *s = opaque;
    guint me = s->poll;

    poll_soon(s, take_events(s));
    return s->poll == me;
}

typedef struct EventSource {
    GSource source;
    SdlDisplay *s;
    gpointer tag;
} EventSource;

static gboolean events_prepare(GSource *source, gint *timeout)
{
    *timeout = -1;
    return sdl_events_waiting(((EventSource *)source)->s->window);
}

static gboolean events_check(GSource *source)
{
    EventSource *e = (EventSource *)source;

    return g_source_query_unix_fd(source, e->tag) || sdl_events_waiting(e->s->window);
}

static gboolean events_dispatch(GSource *source, GSourceFunc fn, gpointer data)
{
    EventSource *e = (EventSource *)source;

    poll_soon(e->s, take_events(e->s));
    return !(g_source_query_unix_fd(source, e->tag) & (G_IO_HUP | G_IO_ERR));
}

static void start_polling(SdlDisplay *s)
{
    static GSourceFuncs funcs = { .prepare = events_prepare, .check = events_check, .dispatch = events_dispatch };
    int fd = sdl_event_fd(s->window);

    if (fd >= 0) {
        GSource *source = g_source_new(&funcs, sizeof(EventSource));

        ((EventSource *)source)->s = s;
        ((EventSource *)source)->tag = g_source_add_unix_fd(source, fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
        g_source_set_can_recurse(source, true);     /* else GLib wakes itself up after each event */
        s->x_source = g_source_attach(source, NULL);
        g_source_unref(source);
    }
    poll_soon(s, true);
}

static void sdl_consoles_changed(void *opaque)
{
    SdlDisplay *s = opaque;

    for (int i = 0; ui_console(s->ui, i); i++)
        if (ui_console(s->ui, i) == s->con)
            return;
    s->con = ui_console(s->ui, 0);
    if (s->con)
        display_watch(s->dl, s->con);
}

static void sdl_close(void *opaque)
{
    SdlDisplay *s = opaque;

    if (s->poll)
        g_source_remove(s->poll);
    if (s->x_source)
        g_source_remove(s->x_source);
    g_source_remove(s->title_timer);
    display_unlisten(s->dl);
    if (s->cursor)
        SDL_FreeCursor(s->cursor);
    SDL_DestroyWindow(s->window);
    SDL_QuitSubSystem(SDL_INIT_VIDEO);
    g_free(s->notice);
    g_free(s);
}

static const DisplayOps sdl_ops = {
    .name = "sdl", .resized = sdl_resized, .updated = sdl_updated, .cursor_changed = sdl_cursor,
    .consoles_changed = sdl_consoles_changed, .close = sdl_close,
};

static bool parse_grab_mod(const char *text, unsigned *mod, GError **err)
{
    if (!text || strcmp(text, "lctrl-lalt") == 0)
        *mod = KMOD_LCTRL | KMOD_LALT;
    else if (strcmp(text, "lshift-lctrl-lalt") == 0)
        *mod = KMOD_LSHIFT | KMOD_LCTRL | KMOD_LALT;
    else if (strcmp(text, "rctrl") == 0)
        *mod = KMOD_RCTRL;
    else
        return err_set(err, "grab-mod is lctrl-lalt, lshift-lctrl-lalt or rctrl, not '%s'", text);
    return true;
}

static bool read_options(SdlDisplay *s, OptList *opts, GError **err)
{
    (void)optlist_str(opts, "gl", NULL);        /* accepted: this window needs no OpenGL */
    return parse_grab_mod(optlist_str(opts, "grab-mod", NULL), &s->grab_mod, err) &&
           optlist_bool(opts, "show-cursor", false, &s->show_cursor, err) &&
           optlist_bool(opts, "window-close", true, &s->window_close, err) &&
           optlist_bool(opts, "full-screen", false, &s->fullscreen, err) &&
           optlist_bool(opts, "zoom-to-fit", true, &s->smooth, err) && optlist_check_unused(opts, err);
}

/* What SDL takes when it finds no window system. */
static bool nobody_can_see(const char *driver)
{
    return !driver || strcmp(driver, "offscreen") == 0 || strcmp(driver, "dummy") == 0 || strcmp(driver, "evdev") == 0;
}

static bool no_window_system(GError **err)
{
    const char *x = getenv("DISPLAY");

    return err_set_code(err, ERR_UNSUPPORTED, "there is no window system%s%s", x ? " at DISPLAY=" : "",
                        x ? x : getenv("WAYLAND_DISPLAY") ? "" : " (neither DISPLAY nor WAYLAND_DISPLAY is set)");
}

static bool sdl_start(SdlDisplay *s, GError **err)
{
    int w, h;

    SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
    SDL_SetHint(SDL_HINT_FRAMEBUFFER_ACCELERATION, "0");
    SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
    SDL_SetHint(SDL_HINT_GRAB_KEYBOARD, "1");
    SDL_SetHint("SDL_VIDEO_X11_NET_WM_BYPASS_COMPOSITOR", "0");
    if (!getenv("SDL_VIDEODRIVER") && !getenv("WAYLAND_DISPLAY") && !getenv("XDG_RUNTIME_DIR"))
        SDL_SetHint(SDL_HINT_VIDEODRIVER, "x11");       /* else Wayland's library complains by itself */
    if (SDL_InitSubSystem(SDL_INIT_VIDEO) != 0)
        return getenv("SDL_VIDEODRIVER") ? err_set_code(err, ERR_UNSUPPORTED, "%s", SDL_GetError()) : no_window_system(err);
    if (!getenv("SDL_VIDEODRIVER") && nobody_can_see(SDL_GetCurrentVideoDriver())) {
        SDL_QuitSubSystem(SDL_INIT_VIDEO);
        return no_window_system(err);
    }
    console_refresh(s->con);            /* so that the first size is the right one */
    window_size_for(s, &w, &h);
    s->window = SDL_CreateWindow("quern", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, w, h,
                                 SDL_WINDOW_RESIZABLE | SDL_WINDOW_ALLOW_HIGHDPI | (s->fullscreen ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0));
    if (!s->window || !SDL_GetWindowSurface(s->window) || SDL_GetWindowSurface(s->window)->format->BytesPerPixel != 4) {
        err_set_code(err, ERR_UNSUPPORTED, "no window: %s", SDL_GetError());
        if (s->window)
            SDL_DestroyWindow(s->window);
        SDL_QuitSubSystem(SDL_INIT_VIDEO);
        return false;
    }
    SDL_StopTextInput();
    return true;
}

static bool sdl_open(Ui *ui, OptList *opts, GError **err)
{
    SdlDisplay *s = g_new0(SdlDisplay, 1);

    s->ui = ui;
    s->con = ui_console(ui, 0);
    s->zoom = 100;
    s->density = 1;
    s->focused = true;
    if (!read_options(s, opts, err) || (!s->con && !err_set_code(err, ERR_UNSUPPORTED, "the machine has no screen to show")) ||
        !sdl_start(s, err)) {
        g_free(s);
        return false;
    }
    s->dl = display_listen(ui, s->con, &sdl_ops, s);
    start_polling(s);
    s->title_timer = g_timeout_add(TITLE_MS, title_tick, s);
    set_title(s);
    redraw(s);
    return true;
}

const DisplayKind display_sdl = { "sdl", "a window (Ctrl-Alt-G frees the mouse, Ctrl-Alt-F full screen)", true, sdl_open };
