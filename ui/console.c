/* console: surfaces, damage, text cells and pointer images of a screen. */
#include "ui/ui_int.h"

#include <string.h>

enum { SIZE_MAX_PX = 16384, CURSOR_MAX = 512, CELLS_MAX = 512 };

static void first_surface(Console *con)
{
    console_resize(con, 640, 480);
}

static Console *make(Ui *ui, const char *label, const ConsoleOps *ops, void *opaque, bool graphic)
{
    static const ConsoleOps none;
    Console *con = g_new0(Console, 1);

    con->ui = ui;
    con->label = g_strdup(label);
    con->ops = ops ? ops : &none;
    con->opaque = opaque;
    con->graphic = graphic;
    pixman_region32_init(&con->damage);
    first_surface(con);
    if (ui) {
        /* graphic screens come before text ones, so that number 0 is the guest's */
        guint at = graphic ? 0 : ui->consoles->len;

        while (graphic && at < ui->consoles->len && ((Console *)ui->consoles->pdata[at])->graphic)
            at++;
        g_ptr_array_insert(ui->consoles, at, con);
        ui_consoles_changed(ui);
    }
    return con;
}

Console *console_new(Ui *ui, const char *label, const ConsoleOps *ops, void *opaque)
{
    return make(ui, label, ops, opaque, true);
}

Console *console_new_text(Ui *ui, const char *label, const ConsoleOps *ops, void *opaque)
{
    return make(ui, label, ops, opaque, false);
}

void console_free(Console *con)
{
    if (!con)
        return;
    if (con->ui) {
        g_ptr_array_remove(con->ui->consoles, con);
        ui_console_gone(con->ui, con);
    }
    if (con->surface)
        pixman_image_unref(con->surface);
    pixman_region32_fini(&con->damage);
    g_free(con->cells);
    g_free(con->cursor.argb);
    g_free(con->label);
    g_free(con);
}

static void drop_text(Console *con)
{
    if (con->cols)
        con->text_dirty = true;
    con->cols = con->rows = 0;
    g_clear_pointer(&con->cells, g_free);
}

void console_set_surface(Console *con, pixman_image_t *surface)
{
    if (surface == con->surface)
        return;
    pixman_image_ref(surface);
    if (con->surface)
        pixman_image_unref(con->surface);
    con->surface = surface;
    con->own_surface = false;
    con->resized = true;
    drop_text(con);
    pixman_region32_clear(&con->damage);
    console_damage(con, 0, 0, console_width(con), console_height(con));
}

bool console_resize(Console *con, int w, int h)
{
    pixman_image_t *img;

    w = CLAMP(w, 1, SIZE_MAX_PX);
    h = CLAMP(h, 1, SIZE_MAX_PX);
    if (con->own_surface && w == console_width(con) && h == console_height(con))
        return false;
    img = pixman_image_create_bits(PIXMAN_x8r8g8b8, w, h, NULL, 0);
    if (!img)
        return false;           /* out of memory: the picture stays as it was; users ask for its size */
    console_set_surface(con, img);
    pixman_image_unref(img);
    con->own_surface = true;
    return true;
}

void console_damage(Console *con, int x, int y, int w, int h)
{
    int x1 = CLAMP(x, 0, console_width(con)), y1 = CLAMP(y, 0, console_height(con));
    int x2 = CLAMP((int64_t)x + w, 0, console_width(con)), y2 = CLAMP((int64_t)y + h, 0, console_height(con));

    if (x2 > x1 && y2 > y1)
        pixman_region32_union_rect(&con->damage, &con->damage, x1, y1, x2 - x1, y2 - y1);
}

void console_blinked(Console *con)
{
    con->blinked = true;
}

void console_set_text(Console *con, int cols, int rows, const ConsoleCell *cells, int cursor_x, int cursor_y,
                      bool cursor_on)
{
    size_t bytes;

    if (cols <= 0 || rows <= 0 || cols > CELLS_MAX || rows > CELLS_MAX) {
        drop_text(con);
        return;
    }
    bytes = (size_t)cols * rows * sizeof *cells;
    if (cols != con->cols || rows != con->rows) {
        g_free(con->cells);
        con->cells = g_malloc0(bytes);
        con->cols = cols;
        con->rows = rows;
        con->text_dirty = true;
    }
    if (memcmp(con->cells, cells, bytes) != 0) {
        memcpy(con->cells, cells, bytes);
        con->text_dirty = true;
    }
    if (cursor_x != con->text_x || cursor_y != con->text_y || cursor_on != con->text_cursor)
        con->text_dirty = true;
    con->text_x = cursor_x;
    con->text_y = cursor_y;
    con->text_cursor = cursor_on;
}

void console_set_cursor(Console *con, int w, int h, int hot_x, int hot_y, const uint32_t *argb)
{
    g_clear_pointer(&con->cursor.argb, g_free);
    con->cursor_dirty = true;
    if (!argb || w <= 0 || h <= 0 || w > CURSOR_MAX || h > CURSOR_MAX)
        return;
    con->cursor.w = w;
    con->cursor.h = h;
    con->cursor.hot_x = CLAMP(hot_x, 0, w - 1);
    con->cursor.hot_y = CLAMP(hot_y, 0, h - 1);
    con->cursor.argb = g_memdup2(argb, (size_t)w * h * 4);
}

void console_move_cursor(Console *con, int x, int y, bool visible)
{
    if (x == con->cursor.x && y == con->cursor.y && visible == con->cursor.visible)
        return;
    con->cursor.x = x;
    con->cursor.y = y;
    con->cursor.visible = visible;
    con->cursor_dirty = true;
}

const char *console_label(const Console *con)
{
    return con->label;
}

int console_index(const Console *con)
{
    guint i = 0;

    return con->ui && g_ptr_array_find(con->ui->consoles, con, &i) ? (int)i : -1;
}

bool console_is_graphic(const Console *con)
{
    return con->graphic;
}

pixman_image_t *console_surface(Console *con)
{
    return con->surface;
}

int console_width(Console *con)
{
    return pixman_image_get_width(con->surface);
}

int console_height(Console *con)
{
    return pixman_image_get_height(con->surface);
}

const ConsoleCell *console_text(Console *con, int *cols, int *rows, int *cursor_x, int *cursor_y, bool *cursor_on)
{
    *cols = con->cols;
    *rows = con->rows;
    *cursor_x = con->text_x;
    *cursor_y = con->text_y;
    *cursor_on = con->text_cursor;
    return con->cells;
}

void console_key(Console *con, KeyCode k, bool down)
{
    if (con->ops->key)
        con->ops->key(con->opaque, k, down);
    else if (con->ui)
        ui_key(con->ui, k, down);
}

const struct ConsoleCursor *console_cursor(const Console *con)
{
    return &con->cursor;
}

void console_refresh(Console *con)
{
    if (con->ops->update)
        con->ops->update(con->opaque);
}

char *console_copy_text(Console *con)
{
    GString *s;

    if (!con->cells)
        return NULL;
    s = g_string_new(NULL);
    for (int y = 0; y < con->rows; y++) {
        const ConsoleCell *row = con->cells + (size_t)y * con->cols;
        int last = con->cols;

        while (last > 0 && (row[last - 1].ch == ' ' || row[last - 1].ch == 0))
            last--;
        for (int x = 0; x < last; x++)
            g_string_append_unichar(s, row[x].ch ? row[x].ch : ' ');
        g_string_append_c(s, '\n');
    }
    return g_string_free(s, FALSE);
}
