/* typing: key strokes made by quern: sendkey, pasted text. One queue, one stroke after another. */
#include "ui/ui_int.h"

#include <string.h>

enum { HOLD_MS = 100, TYPE_MS = 12, COMBO_MAX = 16, QUEUE_MAX = 256 * 1024 };

typedef struct KeyStep {
    KeyCode key;                /* KEY_NONE: only wait */
    bool down;
    int wait_ms;                /* afterwards */
} KeyStep;

static gboolean next_step(gpointer opaque)
{
    Ui *ui = opaque;
    KeyStep *step = NULL;

    ui->key_timer = 0;
    while ((step = g_queue_pop_head(&ui->keys))) {
        int wait = step->wait_ms;

        ui_key(ui, step->key, step->down);
        g_free(step);
        if (wait) {
            ui->key_timer = g_timeout_add(wait, next_step, ui);
            break;
        }
    }
    return G_SOURCE_REMOVE;
}

static void push(Ui *ui, KeyCode k, bool down, int wait_ms)
{
    KeyStep *s;

    if (g_queue_get_length(&ui->keys) >= QUEUE_MAX)
        return;
    s = g_new(KeyStep, 1);
    *s = (KeyStep) { k, down, wait_ms };
    g_queue_push_tail(&ui->keys, s);
    if (!ui->key_timer)
        ui->key_timer = g_timeout_add(0, next_step, ui);
}

void ui_keys_free(Ui *ui)
{
    if (ui->key_timer)
        g_source_remove(ui->key_timer);
    ui->key_timer = 0;
    g_queue_clear_full(&ui->keys, g_free);
}

static bool unknown_key(const char *name, GError **err)
{
    const char *names[KEY_CODES] = { NULL };
    const char *near;

    for (int k = 1; k < KEY_CODES; k++)
        names[k - 1] = key_code_name(k);
    names[KEY_CODES - 1] = NULL;
    near = nearest_name(name, names);
    return err_set(err, "unknown key '%s'%s%s%s", name, near ? " (did you mean '" : "", near ? near : "",
                   near ? "'?)" : "");
}

bool ui_send_keys(Ui *ui, const char *combo, int hold_ms, GError **err)
{
    g_auto(GStrv) names = g_strsplit(combo, "-", COMBO_MAX + 1);
    KeyCode keys[COMBO_MAX];
    int n = 0;

    for (; names[n]; n++) {
        /* "-" itself: "shift--" splits into "shift", "", "" */
        const char *name = *names[n] ? names[n] : "minus";

        if (n == COMBO_MAX)
            return err_set(err, "too many keys in '%s' (%d at most)", combo, COMBO_MAX);
        keys[n] = strcmp(name, "<") == 0 ? KEY_LESS : key_by_name(name);
        if (keys[n] == KEY_NONE)
            return unknown_key(name, err);
        if (!*names[n] && names[n + 1] && !*names[n + 1]) {
            n++;
            break;
        }
    }
    if (!n)
        return err_set(err, "no keys given");
    if (hold_ms <= 0)
        hold_ms = HOLD_MS;
    for (int i = 0; i < n; i++)
        push(ui, keys[i], true, i == n - 1 ? hold_ms : 0);
    for (int i = n - 1; i >= 0; i--)
        push(ui, keys[i], false, i == 0 ? TYPE_MS : 0);
    return true;
}

static void push_modifiers(Ui *ui, const KeyStroke *k, bool down)
{
    if (k->shift)
        push(ui, KEY_SHIFT, down, 0);
    if (k->altgr)
        push(ui, KEY_ALT_R, down, 0);
    if (k->ctrl)
        push(ui, KEY_CTRL, down, 0);
}

void ui_stroke(Ui *ui, const KeyStroke *k, bool alt)
{
    if (alt)
        push(ui, KEY_ALT, true, 0);
    push_modifiers(ui, k, true);
    push(ui, k->key, true, TYPE_MS);
    push(ui, k->key, false, 0);
    push_modifiers(ui, k, false);
    if (alt)
        push(ui, KEY_ALT, false, 0);
    push(ui, KEY_NONE, false, 1);
}

void ui_type_text(Ui *ui, const char *utf8)
{
    if (!g_utf8_validate(utf8, -1, NULL))
        return;
    for (const char *p = utf8; *p; p = g_utf8_next_char(p)) {
        gunichar ch = g_utf8_get_char(p);
        KeyStroke k;

        if (ch == '\r' && p[1] == '\n')
            continue;
        if (!key_for_char(ui->layout, ch, &k))
            continue;
        push_modifiers(ui, &k, true);
        push(ui, k.key, true, TYPE_MS);
        push(ui, k.key, false, 0);
        push_modifiers(ui, &k, false);
        push(ui, KEY_NONE, false, TYPE_MS);
    }
}

bool ui_set_layout(Ui *ui, const char *layout, GError **err)
{
    if (!key_layout_known(layout))
        return err_set(err, "keyboard layout '%s' is not known; known are en-us, en-gb, de, fr, es, it", layout);
    g_free(ui->layout);
    ui->layout = g_strdup(layout);
    return true;
}

const char *ui_layout(Ui *ui)
{
    return ui->layout;
}
