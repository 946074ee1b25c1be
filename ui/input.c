/* input: from what a person does to the guest's keyboard and pointing device. */
#include "ui/ui_int.h"

#include "util/log.h"

#include <string.h>

InputHandler *input_add(Ui *ui, const InputOps *ops, void *opaque)
{
    InputHandler *h = g_new0(InputHandler, 1);

    h->ui = ui;
    h->ops = ops;
    h->opaque = opaque;
    if (ui) {
        h->id = ui->next_input_id++;
        g_ptr_array_insert(ui->inputs, 0, h);
    }
    return h;
}

void input_del(InputHandler *h)
{
    if (!h)
        return;
    if (h->ui) {
        guint i;

        if (g_ptr_array_find(h->ui->inputs, h, &i)) {
            g_ptr_array_remove_index(h->ui->inputs, i);         /* frees */
            return;
        }
    }
    g_free(h);
}

void input_activate(InputHandler *h)
{
    guint i;

    if (!h->ui || !g_ptr_array_find(h->ui->inputs, h, &i) || i == 0)
        return;
    memmove(h->ui->inputs->pdata + 1, h->ui->inputs->pdata, i * sizeof(gpointer));
    h->ui->inputs->pdata[0] = h;
}

void input_deactivate(InputHandler *h)
{
    guint i;

    if (!h->ui || !g_ptr_array_find(h->ui->inputs, h, &i))
        return;
    memmove(h->ui->inputs->pdata + i, h->ui->inputs->pdata + i + 1, (h->ui->inputs->len - 1 - i) * sizeof(gpointer));
    h->ui->inputs->pdata[h->ui->inputs->len - 1] = h;
}

void input_set_leds(InputHandler *h, bool scroll, bool num, bool caps)
{
    h->leds[0] = scroll;
    h->leds[1] = num;
    h->leds[2] = caps;
}

static InputHandler *taker(Ui *ui, unsigned mask)
{
    for (guint i = 0; ui && i < ui->inputs->len; i++) {
        InputHandler *h = ui->inputs->pdata[i];

        if (h->ops->mask & mask)
            return h;
    }
    return NULL;
}

/* The device that moves the pointer; buttons belong to it too. */
static InputHandler *pointer(Ui *ui)
{
    return taker(ui, INPUT_REL | INPUT_ABS);
}

void ui_leds(Ui *ui, bool *scroll, bool *num, bool *caps)
{
    InputHandler *h = taker(ui, INPUT_KEY);

    *scroll = h && h->leds[0];
    *num = h && h->leds[1];
    *caps = h && h->leds[2];
}

void ui_key(Ui *ui, KeyCode k, bool down)
{
    InputHandler *h = taker(ui, INPUT_KEY);

    if (k == KEY_NONE || k >= KEY_CODES)
        return;
    if (!down && !ui->down[k])
        return;                 /* a release nobody saw the press of */
    ui->down[k] = down;
    trace(input_key, "%s down=%d", key_code_name(k), down);
    if (h && h->ops->key)
        h->ops->key(h->opaque, k, down);
    ui_refresh_soon(ui);
}

void ui_release_keys(Ui *ui)
{
    for (unsigned k = 1; k < KEY_CODES; k++)
        if (ui->down[k])
            ui_key(ui, k, false);
}

void ui_rel(Ui *ui, int dx, int dy)
{
    InputHandler *h = pointer(ui);

    trace(input_rel, "dx=%d dy=%d", dx, dy);
    if (h && h->ops->rel && (dx || dy))
        h->ops->rel(h->opaque, dx, dy);
}

static int scale_abs(int v, int size)
{
    if (size <= 1)
        return 0;
    v = CLAMP(v, 0, size - 1);
    return (int)((int64_t)v * INPUT_ABS_MAX / (size - 1));
}

void ui_abs(Ui *ui, int x, int y, int w, int h)
{
    InputHandler *p = pointer(ui);

    trace(input_abs, "x=%d y=%d of %dx%d", x, y, w, h);
    if (p && p->ops->abs)
        p->ops->abs(p->opaque, scale_abs(x, w), scale_abs(y, h));
}

void ui_button(Ui *ui, PointerButton b, bool down)
{
    InputHandler *h = pointer(ui);

    if (b >= BUTTONS)
        return;
    if (!down && !(ui->buttons & 1u << b))
        return;                 /* the press was the window's own */
    trace(input_button, "n=%d down=%d", b, down);
    ui->buttons = down ? ui->buttons | 1u << b : ui->buttons & ~(1u << b);
    if (h && h->ops->button)
        h->ops->button(h->opaque, b, down);
}

void ui_wheel(Ui *ui, int dy, int dx)
{
    InputHandler *h = pointer(ui);

    if (h && h->ops->wheel)
        h->ops->wheel(h->opaque, dy, dx);
}

void ui_sync(Ui *ui)
{
    InputHandler *h = pointer(ui);

    if (h && h->ops->sync)
        h->ops->sync(h->opaque);
    ui_refresh_soon(ui);
}

bool ui_pointer_is_absolute(Ui *ui)
{
    InputHandler *h = pointer(ui);

    return h && (h->ops->mask & INPUT_ABS);
}

bool ui_has_pointer(Ui *ui)
{
    return pointer(ui) != NULL;
}

char *ui_list_mice(Ui *ui)
{
    GString *s = g_string_new(NULL);
    InputHandler *current = pointer(ui);

    for (guint i = 0; i < ui->inputs->len; i++) {
        InputHandler *h = ui->inputs->pdata[i];

        if (h->ops->mask & (INPUT_REL | INPUT_ABS))
            g_string_append_printf(s, "%c Mouse #%d: %s%s\n", h == current ? '*' : ' ', h->id, h->ops->name,
                                   h->ops->mask & INPUT_ABS ? " (absolute)" : "");
    }
    if (!s->len)
        g_string_append(s, "No mouse devices connected\n");
    return g_string_free(s, FALSE);
}

bool ui_select_mouse(Ui *ui, int index, GError **err)
{
    for (guint i = 0; i < ui->inputs->len; i++) {
        InputHandler *h = ui->inputs->pdata[i];

        if (h->id == index && (h->ops->mask & (INPUT_REL | INPUT_ABS))) {
            input_activate(h);
            return true;
        }
    }
    return err_set_code(err, ERR_NOT_FOUND, "no mouse #%d; see info mice", index);
}

void ui_mouse_move(Ui *ui, int dx, int dy, int dz)
{
    if (ui_pointer_is_absolute(ui)) {
        Console *con = ui_console(ui, 0);

        if (con)
            ui_abs(ui, dx, dy, console_width(con), console_height(con));
    } else {
        ui_rel(ui, dx, dy);
    }
    if (dz)
        ui_wheel(ui, dz, 0);
    ui_sync(ui);
}

void ui_mouse_buttons(Ui *ui, unsigned mask)
{
    static const PointerButton order[] = { BUTTON_LEFT, BUTTON_MIDDLE, BUTTON_RIGHT };

    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        if (((ui->buttons >> order[i]) & 1) != ((mask >> i) & 1))
            ui_button(ui, order[i], mask >> i & 1);
    ui_sync(ui);
}
