/*
 * ui: what belongs to one machine's screens: listeners and the refresh timer.
 *
 * The timer runs while somebody watches. It asks each watched console for changes and hands them to
 * the listeners; without changes its period grows to IDLE_MS, so that an idle screen costs next to nothing.
 */
#include "ui/ui_int.h"

#include <string.h>

enum { ACTIVE_MS = 16, IDLE_MS = 100 };

static gboolean refresh(gpointer opaque);

static void set_interval(Ui *ui, int ms)
{
    ms = CLAMP(ms, ACTIVE_MS, IDLE_MS);
    if (ui->timer && ms == ui->interval_ms)
        return;
    if (ui->timer)
        g_source_remove(ui->timer);
    ui->interval_ms = ms;
    ui->timer = g_timeout_add(ms, refresh, ui);
}

static bool watched(Ui *ui)
{
    for (guint i = 0; i < ui->listeners->len; i++) {
        const DisplayListener *dl = ui->listeners->pdata[i];

        if (!dl->idle && !dl->dead)
            return true;
    }
    return false;
}

static bool wants(const DisplayListener *dl, const Console *con)
{
    return !dl->idle && !dl->dead && (!dl->con || dl->con == con);
}

static void sweep(Ui *ui)
{
    if (ui->walking)
        return;
    for (guint i = 0; i < ui->listeners->len;) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (dl->dead)
            g_ptr_array_remove_index(ui->listeners, i);
        else
            i++;
    }
}

static void flush_to(DisplayListener *dl, Console *con)
{
    const DisplayOps *ops = dl->ops;
    bool all = dl->needs_all || con->resized;

    if (all && ops->resized)
        ops->resized(dl->opaque, con);
    if ((all || con->cursor_dirty) && ops->cursor_changed)
        ops->cursor_changed(dl->opaque, con);
    if ((all || con->text_dirty) && ops->text_updated)
        ops->text_updated(dl->opaque, con);
    if (!ops->updated)
        return;
    if (all) {
        ops->updated(dl->opaque, con, 0, 0, console_width(con), console_height(con));
    } else {
        int n;
        const pixman_box32_t *box = pixman_region32_rectangles(&con->damage, &n);

        if (n > 32) {           /* many small pieces: one call for their hull is cheaper */
            box = pixman_region32_extents(&con->damage);
            n = 1;
        }
        for (int i = 0; i < n && !dl->dead; i++)
            ops->updated(dl->opaque, con, box[i].x1, box[i].y1, box[i].x2 - box[i].x1, box[i].y2 - box[i].y1);
    }
}

/* Hands what changed to everybody who watches; true if there was anything but blinking. */
static bool flush_console(Ui *ui, Console *con)
{
    bool changed = con->resized || con->text_dirty || con->cursor_dirty ||
                   pixman_region32_not_empty(&con->damage);

    for (guint i = 0; i < ui->listeners->len; i++) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (wants(dl, con) && (changed || dl->needs_all)) {
            flush_to(dl, con);
            if (dl->con)
                dl->needs_all = false;
        }
    }
    changed &= con->resized || con->cursor_dirty || !con->blinked;
    con->resized = con->text_dirty = con->cursor_dirty = con->blinked = false;
    pixman_region32_clear(&con->damage);
    return changed;
}

static bool somebody_watches(Ui *ui, Console *con)
{
    for (guint i = 0; i < ui->listeners->len; i++)
        if (wants(ui->listeners->pdata[i], con))
            return true;
    return false;
}

static gboolean refresh(gpointer opaque)
{
    Ui *ui = opaque;
    bool changed = false;

    ui->walking++;
    for (guint i = 0; i < ui->consoles->len; i++) {
        Console *con = ui->consoles->pdata[i];

        if (!somebody_watches(ui, con))
            continue;
        console_refresh(con);
        changed |= flush_console(ui, con);
    }
    for (guint i = 0; i < ui->listeners->len; i++) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (!dl->con && !dl->idle)
            dl->needs_all = false;
        if (!dl->dead && dl->ops->tick)
            dl->ops->tick(dl->opaque);
    }
    ui->walking--;
    sweep(ui);
    if (!watched(ui)) {
        ui->timer = 0;
        return G_SOURCE_REMOVE;
    }
    {
        int was = ui->interval_ms, ms = changed ? was / 4 : was + was / 4;

        ms = CLAMP(ms, ACTIVE_MS, IDLE_MS);
        if (ms == was)
            return G_SOURCE_CONTINUE;
        ui->interval_ms = ms;
        ui->timer = g_timeout_add(ms, refresh, ui);
    }
    return G_SOURCE_REMOVE;
}

void ui_refresh_soon(Ui *ui)
{
    if (watched(ui))
        set_interval(ui, ACTIVE_MS);
}

/* ---- listeners ---- */

DisplayListener *display_listen(Ui *ui, Console *con, const DisplayOps *ops, void *opaque)
{
    DisplayListener *dl = g_new0(DisplayListener, 1);

    *dl = (DisplayListener) { .ui = ui, .con = con, .ops = ops, .opaque = opaque, .needs_all = true };
    g_ptr_array_add(ui->listeners, dl);
    if (con && con->ops->invalidate)
        con->ops->invalidate(con->opaque);
    ui_refresh_soon(ui);
    return dl;
}

void display_unlisten(DisplayListener *dl)
{
    dl->dead = true;
    sweep(dl->ui);
}

void display_watch(DisplayListener *dl, Console *con)
{
    dl->con = con;
    dl->needs_all = true;
    ui_refresh_soon(dl->ui);
}

void display_set_idle(DisplayListener *dl, bool idle)
{
    if (dl->idle == idle)
        return;
    dl->idle = idle;
    dl->needs_all |= !idle;
    ui_refresh_soon(dl->ui);
}

void ui_consoles_changed(Ui *ui)
{
    ui->walking++;
    for (guint i = 0; i < ui->listeners->len; i++) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (!dl->dead && dl->ops->consoles_changed)
            dl->ops->consoles_changed(dl->opaque);
    }
    ui->walking--;
    sweep(ui);
}

void ui_console_gone(Ui *ui, Console *con)
{
    for (guint i = 0; i < ui->listeners->len; i++) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (dl->con == con)
            dl->con = ui_console(ui, 0);
    }
    ui_consoles_changed(ui);
}

Console *ui_console(Ui *ui, int index)
{
    return ui && index >= 0 && index < (int)ui->consoles->len ? ui->consoles->pdata[index] : NULL;
}

int ui_console_count(Ui *ui)
{
    return ui->consoles->len;
}

/* ---- life ---- */

Ui *ui_new(void)
{
    Ui *ui = g_new0(Ui, 1);

    ui->consoles = g_ptr_array_new();
    ui->listeners = g_ptr_array_new_with_free_func(g_free);
    ui->inputs = g_ptr_array_new_with_free_func(g_free);
    ui->interval_ms = ACTIVE_MS;
    ui->layout = g_strdup("en-us");
    g_queue_init(&ui->keys);
    return ui;
}

void ui_free(Ui *ui)
{
    if (!ui)
        return;
    ui->walking++;
    for (guint i = 0; i < ui->listeners->len; i++) {
        DisplayListener *dl = ui->listeners->pdata[i];

        if (!dl->dead && dl->ops->close)
            dl->ops->close(dl->opaque);
    }
    if (ui->timer)
        g_source_remove(ui->timer);
    ui_keys_free(ui);
    for (guint i = 0; i < ui->consoles->len; i++)
        ((Console *)ui->consoles->pdata[i])->ui = NULL;
    for (guint i = 0; i < ui->inputs->len; i++)
        ((InputHandler *)ui->inputs->pdata[i])->ui = NULL;
    g_ptr_array_set_free_func(ui->inputs, NULL);        /* freed by input_del */
    g_ptr_array_unref(ui->inputs);
    g_ptr_array_unref(ui->consoles);
    g_ptr_array_unref(ui->listeners);
    g_free(ui->layout);
    g_free(ui);
}

void ui_set_hooks(Ui *ui, const UiHooks *hooks)
{
    ui->hooks = *hooks;
}

const UiHooks *ui_hooks(Ui *ui)
{
    return &ui->hooks;
}
