/*
 * vnc: consoles for VNC viewers, through libvncserver.
 *
 * The main loop copies what changed into a shared picture; a thread for each client (vnc_client.c)
 * sends it at that client's pace, so that a slow client slows nobody. What clients type arrives in
 * those threads and is handed to the main loop through a bounded queue.
 */
#include "ui/vnc_int.h"

#include "util/log.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WIDTH_MAX = 16384, HEIGHT_MAX = 16384, EVENTS_MAX = 4096, GONE_WAIT_MS = 1500, CLIENT_WAIT_MS = 60000 };
#define PIXELS_BYTES ((size_t)WIDTH_MAX * HEIGHT_MAX * 4)

typedef struct VncEvent {
    enum { VNC_KEY, VNC_POINTER, VNC_CLIENTS } kind;
    uint32_t keysym;
    bool down;
    int x, y, buttons;
} VncEvent;

/* ---- from client threads to the main loop ---- */

static void key_event(VncServer *v, uint32_t keysym, bool down)
{
    /* Ctrl-Alt-1.. are the guest's here: a viewer has its own keys for switching */
    ui_key(v->ui, key_for_keysym(v->by_position ? "en-us" : ui_layout(v->ui), keysym), down);
}

static void pointer_event(VncServer *v, const VncEvent *e)
{
    static const PointerButton map[] = { BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT };
    unsigned diff = e->buttons ^ v->last_buttons;

    if (ui_pointer_is_absolute(v->ui))
        ui_abs(v->ui, e->x, e->y, console_width(v->con), console_height(v->con));
    else
        ui_rel(v->ui, e->x - v->last_x, e->y - v->last_y);
    v->last_x = e->x;
    v->last_y = e->y;
    for (unsigned i = 0; i < ARRAY_LEN(map); i++)
        if (diff & 1 << i)
            ui_button(v->ui, map[i], e->buttons >> i & 1);
    if (diff & e->buttons & 8)
        ui_wheel(v->ui, 1, 0);
    if (diff & e->buttons & 16)
        ui_wheel(v->ui, -1, 0);
    v->last_buttons = e->buttons;
    ui_sync(v->ui);
}

static gboolean drain(gpointer opaque)
{
    VncServer *v = opaque;

    for (int budget = EVENTS_MAX; budget > 0; budget--) {
        VncEvent *e;

        g_mutex_lock(&v->lock);
        e = g_queue_pop_head(&v->events);
        if (!e)
            v->drain_queued = false;
        g_mutex_unlock(&v->lock);
        if (!e)
            break;
        if (e->kind == VNC_KEY) {
            key_event(v, e->keysym, e->down);
        } else if (e->kind == VNC_POINTER) {
            pointer_event(v, e);
        } else {
            int n = atomic_load(&v->clients);

            display_set_idle(v->dl, n == 0);
            if (n == 0)
                ui_release_keys(v->ui);
        }
        g_free(e);
    }
    return G_SOURCE_REMOVE;
}

static void post(VncServer *v, VncEvent ev)
{
    if (atomic_load(&v->closing))
        return;
    g_mutex_lock(&v->lock);
    if (g_queue_get_length(&v->events) < EVENTS_MAX || ev.kind == VNC_CLIENTS)
        g_queue_push_tail(&v->events, g_memdup2(&ev, sizeof ev));
    if (!v->drain_queued) {
        v->drain_queued = true;
        g_idle_add_full(G_PRIORITY_DEFAULT, drain, v, NULL);
    }
    g_mutex_unlock(&v->lock);
}

static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr cl)
{
    if (!cl->viewOnly)
        post(cl->screen->screenData, (VncEvent) { VNC_KEY, .keysym = sym, .down = down });
}

static void on_pointer(int buttons, int x, int y, rfbClientPtr cl)
{
    if (!cl->viewOnly)
        post(cl->screen->screenData, (VncEvent) { VNC_POINTER, .x = x, .y = y, .buttons = buttons });
}

static void on_client_gone(rfbClientPtr cl)
{
    VncServer *v = cl->screen->screenData;

    atomic_fetch_sub(&v->clients, 1);
    post(v, (VncEvent) { VNC_CLIENTS });
}

static enum rfbNewClientAction on_client(rfbClientPtr cl)
{
    VncServer *v = cl->screen->screenData;

    if (atomic_load(&v->clients) >= VNC_CLIENTS_MAX)
        return RFB_CLIENT_REFUSE;
    atomic_fetch_add(&v->clients, 1);
    cl->clientGoneHook = on_client_gone;
    post(v, (VncEvent) { VNC_CLIENTS });
    return RFB_CLIENT_ACCEPT;
}

static void on_cut_text(char *text, int len, rfbClientPtr cl)
{
}

/* Constant time; an empty password lets nobody in. */
static rfbBool check_password(rfbClientPtr cl, const char *response, int len)
{
    VncServer *v = cl->screen->screenData;
    unsigned char want[CHALLENGESIZE];
    unsigned char diff = 0;
    char pw[9];

    g_mutex_lock(&v->lock);
    memcpy(pw, v->password, sizeof pw);
    g_mutex_unlock(&v->lock);
    if (!pw[0] || len != CHALLENGESIZE)
        return FALSE;
    memcpy(want, cl->authChallenge, CHALLENGESIZE);
    rfbEncryptBytes(want, pw);
    for (int i = 0; i < CHALLENGESIZE; i++)
        diff |= want[i] ^ (unsigned char)response[i];
    return diff == 0;
}

/* ---- from the console to the shared picture ---- */

static void vnc_updated(void *opaque, Console *con, int x, int y, int w, int h)
{
    VncServer *v = opaque;
    int stride = v->screen->paddedWidthInBytes;
    pixman_image_t *img;

    if (x < 0 || y < 0 || x + w > v->screen->width || y + h > v->screen->height)
        return;
    img = pixman_image_create_bits_no_clear(PIXMAN_x8r8g8b8, v->screen->width, v->screen->height,
                                            (uint32_t *)(void *)v->pixels, stride);
    pixman_image_composite32(PIXMAN_OP_SRC, console_surface(con), NULL, img, x, y, 0, 0, x, y, w, h);
    pixman_image_unref(img);
    rfbMarkRectAsModified(v->screen, x, y, x + w, y + h);
    v->dirty = true;
}

static void vnc_tick(void *opaque)
{
    VncServer *v = opaque;
    bool scroll, num, caps;
    int leds;

    ui_leds(v->ui, &scroll, &num, &caps);
    leds = (caps ? rfbKeyboardMaskCapsLock : 0) | (num ? rfbKeyboardMaskNumLock : 0) | (scroll ? rfbKeyboardMaskScrollLock : 0);
    if (v->dirty || leds != atomic_load(&v->leds)) {
        atomic_store(&v->leds, leds);
        vnc_wake_clients(v);
    }
    v->dirty = false;
}

static int on_led_state(rfbScreenInfoPtr screen)
{
    return atomic_load(&((VncServer *)screen->screenData)->leds);
}

static void vnc_resized(void *opaque, Console *con)
{
    VncServer *v = opaque;
    int w = MIN(console_width(con), WIDTH_MAX), h = MIN(console_height(con), HEIGHT_MAX);

    v->con = con;
    if (w != v->screen->width || h != v->screen->height)
        vnc_resize_screen(v, w, h);
}

static void vnc_cursor(void *opaque, Console *con)
{
    VncServer *v = opaque;
    const struct ConsoleCursor *c = console_cursor(con);
    rfbCursorPtr cur = NULL;
    unsigned mask_row = (c->w + 7) / 8;

    if (c->argb) {              /* libvncserver frees all of it */
        cur = calloc(1, sizeof *cur);
        cur->width = c->w;
        cur->height = c->h;
        cur->xhot = c->hot_x;
        cur->yhot = c->hot_y;
        cur->cleanup = cur->cleanupMask = cur->cleanupRichSource = TRUE;
        cur->richSource = calloc((size_t)c->w * c->h, 4);
        cur->mask = calloc(mask_row, c->h);
        memcpy(cur->richSource, c->argb, (size_t)c->w * c->h * 4);
        for (int y = 0; y < c->h; y++)
            for (int x = 0; x < c->w; x++)
                if (c->argb[y * c->w + x] >> 31)
                    cur->mask[y * mask_row + x / 8] |= 0x80 >> x % 8;
    }
    rfbSetCursor(v->screen, cur);
    v->dirty = true;
}

static void vnc_consoles_changed(void *opaque)
{
    VncServer *v = opaque;

    if (console_index(v->con) < 0 && ui_console(v->ui, 0))
        display_watch(v->dl, ui_console(v->ui, 0));
}

static void vnc_close(void *opaque)
{
    vnc_server_free(opaque);
}

static const DisplayOps vnc_ops = {
    .name = "vnc", .resized = vnc_resized, .updated = vnc_updated, .cursor_changed = vnc_cursor,
    .consoles_changed = vnc_consoles_changed, .tick = vnc_tick, .close = vnc_close,
};

/* ---- life ---- */

static bool make_screen(VncServer *v, GError **err)
{
    const char *name = NULL;
    rfbScreenInfoPtr s;

    rfbLogEnable(0);
    s = v->screen = rfbGetScreen(NULL, NULL, console_width(v->con), console_height(v->con), 8, 3, 4);
    if (!s)
        return err_set(err, "libvncserver cannot make a screen");
    s->frameBuffer = (char *)v->pixels;
    s->screenData = v;
    if (v->ui->hooks.name)
        name = v->ui->hooks.name(v->ui->hooks.opaque);
    v->name = name ? g_strdup_printf("%s - quern", name) : g_strdup("quern");
    s->desktopName = v->name;
    s->serverFormat.redShift = 16;
    s->serverFormat.greenShift = 8;
    s->serverFormat.blueShift = 0;
    s->cursor = NULL;
    s->alwaysShared = TRUE;
    s->deferUpdateTime = s->deferPtrUpdateTime = 0;     /* the refresh timer sets the pace */
    s->maxClientWait = CLIENT_WAIT_MS;
    s->port = s->ipv6port = 0;
    s->autoPort = FALSE;
    s->httpDir = NULL;
    s->backgroundLoop = FALSE;          /* acceptor and client threads are ours */
    s->getKeyboardLedStateHook = on_led_state;
    s->kbdAddEvent = on_key;
    s->ptrAddEvent = on_pointer;
    s->newClientHook = on_client;
    s->setXCutText = on_cut_text;
    s->passwordCheck = check_password;
    if (v->use_password)
        s->authPasswdData = v;
    return true;
}

static void free_bare(VncServer *v)
{
    g_ptr_array_unref(v->viewers);
    g_mutex_clear(&v->lock);
    g_free(v->name);
    g_free(v);
}

VncServer *vnc_server_new(Ui *ui, GError **err)
{
    VncServer *v = g_new0(VncServer, 1);

    v->ui = ui;
    v->con = ui_console(ui, 0);
    v->stop_fd = -1;
    g_mutex_init(&v->lock);
    g_queue_init(&v->events);
    v->viewers = g_ptr_array_new();
    if (!v->con) {
        err_set(err, "the machine has no screen to show");
        free_bare(v);
        return NULL;
    }
    v->pixels = mmap(NULL, PIXELS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->pixels == MAP_FAILED) {
        err_set(err, "no address space for the VNC screen");
        free_bare(v);
        return NULL;
    }
    console_refresh(v->con);
    if (!make_screen(v, err)) {
        munmap(v->pixels, PIXELS_BYTES);
        free_bare(v);
        return NULL;
    }
    signal(SIGPIPE, SIG_IGN);
    v->dl = display_listen(ui, v->con, &vnc_ops, v);
    vnc_updated(v, v->con, 0, 0, console_width(v->con), console_height(v->con));
    display_set_idle(v->dl, true);
    v->next = ui->vnc;
    ui->vnc = v;
    return v;
}

static void close_clients(VncServer *v)
{
    vnc_hang_up(v);
    for (int i = 0; i < GONE_WAIT_MS / 5 && (atomic_load(&v->clients) || atomic_load(&v->web_requests)); i++)
        g_usleep(5000);
}

void vnc_server_free(VncServer *v)
{
    uint64_t one = 1;

    atomic_store(&v->closing, true);
    if (v->acceptor) {
        if (write(v->stop_fd, &one, sizeof one) < 0)
            log_warn("vnc: cannot stop the listener");
        g_thread_join(v->acceptor);
    }
    close_clients(v);
    display_unlisten(v->dl);
    for (VncServer **p = (VncServer **)&v->ui->vnc; *p; p = &(*p)->next)
        if (*p == v) {
            *p = v->next;
            break;
        }
    for (int i = 0; i < v->listeners; i++) {
        close(v->listener[i].fd);
        if (v->listener[i].unlink_path)
            unlink(v->listener[i].unlink_path);
        g_free(v->listener[i].unlink_path);
        g_free(v->listener[i].text);
    }
    if (v->stop_fd >= 0)
        close(v->stop_fd);
    g_source_remove_by_user_data(v);
    g_queue_clear_full(&v->events, g_free);
    /* a client thread that did not end in time still uses the screen: then leak it */
    if (atomic_load(&v->clients) || atomic_load(&v->web_requests))
        return;
    v->screen->frameBuffer = NULL;
    rfbScreenCleanup(v->screen);
    munmap(v->pixels, PIXELS_BYTES);
    free_bare(v);
}
