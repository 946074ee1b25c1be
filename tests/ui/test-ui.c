/* test-ui: consoles and listeners, the input door, keys and layouts, displays that fall back. */
#include "ui/display.h"
#include "ui/textconsole.h"
#include "util/bytes.h"

#include <stdlib.h>
#include <string.h>

static void spin(int ms)
{
    int64_t end = g_get_monotonic_time() + ms * 1000;

    while (g_get_monotonic_time() < end) {
        while (g_main_context_iteration(NULL, FALSE))
            ;
        g_usleep(1000);
    }
}

typedef struct Watch { int resized, updated, text, x, y, w, h; } Watch;
static void w_resized(void *o, Console *c) { ((Watch *)o)->resized++; }
static void w_updated(void *o, Console *c, int x, int y, int w, int h)
{
    *(Watch *)o = (Watch) { ((Watch *)o)->resized, ((Watch *)o)->updated + 1, ((Watch *)o)->text, x, y, w, h };
}
static void w_text(void *o, Console *c) { ((Watch *)o)->text++; }
static const DisplayOps watch_ops = { .name = "test", .resized = w_resized, .updated = w_updated, .text_updated = w_text };
static void count_updates(void *o) { ++*(int *)o; }

static void listeners_hear_only_what_changed(void)
{
    Ui *ui = ui_new();
    int asked = 0, idle;
    ConsoleOps ops = { .update = count_updates };
    Console *con = console_new(ui, "VGA", &ops, &asked);
    Watch w = { 0 };
    DisplayListener *dl = display_listen(ui, con, &watch_ops, &w);

    spin(60);
    g_assert_cmpint(w.resized, ==, 1);
    w.updated = 0;
    console_damage(con, 10, 20, 30, 40);
    console_damage(con, -5, 470, 10, 100);      /* clipped */
    spin(150);
    g_assert_cmpint(w.updated, ==, 2);
    g_assert_cmpint(w.h, ==, 10);
    g_assert_cmpint(w.w, ==, 5);
    g_assert_true(console_resize(con, 800, 600));
    g_assert_false(console_resize(con, 800, 600));
    spin(150);
    g_assert_cmpint(w.resized, ==, 2);
    spin(500);
    idle = asked;
    spin(500);
    g_assert_cmpint(asked - idle, <=, 7);       /* an idle screen is asked ten times a second at most */
    display_set_idle(dl, true);
    spin(150);
    idle = asked;
    spin(300);
    g_assert_cmpint(asked, ==, idle);           /* nobody looks: nobody asks */
    display_unlisten(dl);
    console_free(con);
    ui_free(ui);
}

static void text_copies_as_rows(void)
{
    Ui *ui = ui_new();
    Console *con = console_new(ui, "VGA", NULL, NULL);
    ConsoleCell cells[8] = { { .ch = 'h' }, { .ch = 0x2500 }, { .ch = ' ' }, { 0 }, { .ch = 'x' } };
    g_autofree char *none = console_copy_text(con), *text = NULL;

    g_assert_null(none);
    console_set_text(con, 4, 2, cells, 0, 0, true);
    text = console_copy_text(con);
    g_assert_cmpstr(text, ==, "h\u2500\nx\n");
    console_set_text(con, 100000, 100000, cells, 0, 0, true);
    g_assert_null(console_copy_text(con));
    console_free(con);
    ui_free(ui);
}

typedef struct Taken { int keys, x, y, rel; unsigned buttons; } Taken;
static void t_key(void *o, KeyCode k, bool d) { ((Taken *)o)->keys += d ? 1 : 100; }
static void t_abs(void *o, int x, int y) { ((Taken *)o)->x = x; ((Taken *)o)->y = y; }
static void t_rel(void *o, int x, int y) { ((Taken *)o)->rel += x; }
static void t_button(void *o, PointerButton b, bool d) { ((Taken *)o)->buttons |= d << b; }
static const InputOps kbd = { .name = "k", .mask = INPUT_KEY, .key = t_key };
static const InputOps mouse = { .name = "m", .mask = INPUT_REL | INPUT_BUTTON, .rel = t_rel, .button = t_button };
static const InputOps tablet = { .name = "t", .mask = INPUT_ABS | INPUT_BUTTON, .abs = t_abs, .button = t_button };

static void input_goes_to_the_active_device(void)
{
    Ui *ui = ui_new();
    Taken k = { 0 }, m = { 0 }, t = { 0 };
    InputHandler *hk = input_add(ui, &kbd, &k), *hm = input_add(ui, &mouse, &m), *ht = input_add(ui, &tablet, &t);
    g_autoptr(GError) err = NULL;

    g_assert_true(ui_pointer_is_absolute(ui));
    ui_abs(ui, 799, 599, 800, 600);
    g_assert_cmpint(t.x, ==, INPUT_ABS_MAX);
    g_assert_cmpint(t.y, ==, INPUT_ABS_MAX);
    ui_abs(ui, -50, 0, 800, 600);
    g_assert_cmpint(t.x, ==, 0);
    input_deactivate(ht);
    g_assert_false(ui_pointer_is_absolute(ui));
    ui_rel(ui, 5, 0);
    ui_mouse_buttons(ui, 5);
    g_assert_cmpint(m.rel, ==, 5);
    g_assert_cmpuint(m.buttons, ==, 1 << BUTTON_LEFT | 1 << BUTTON_RIGHT);
    g_assert_true(ui_select_mouse(ui, 2, &err));
    g_assert_true(ui_pointer_is_absolute(ui));
    g_assert_false(ui_select_mouse(ui, 0, &err));
    ui_key(ui, KEY_A, true);
    ui_key(ui, KEY_B, true);
    ui_release_keys(ui);
    ui_key(ui, KEY_A, false);                   /* nobody saw it go down again */
    g_assert_cmpint(k.keys, ==, 202);
    input_del(hk);
    input_del(hm);
    input_del(ht);
    ui_free(ui);
}

static void keys_are_found_by_every_name(void)
{
    for (KeyCode k = 1; k < KEY_CODES; k++) {
        const KeyInfo *i = key_info(k);

        g_assert_cmpint(key_by_name(i->name), ==, k);
        if (i->hid && k != KEY_SYSRQ)
            g_assert_cmpint(key_by_hid(i->hid), ==, k);
        if (i->evdev && k != KEY_SYSRQ)
            g_assert_cmpint(key_by_evdev(i->evdev), ==, k);
        if (i->set1)
            g_assert_cmpint(key_by_number(i->set1), ==, k);
    }
    g_assert_cmpint(key_by_name("0x1c"), ==, KEY_RET);
    g_assert_cmpint(key_by_name("nonsense"), ==, KEY_NONE);
}

static void layouts_type_their_characters(void)
{
    KeyStroke k;

    g_assert_true(key_for_char("en-us", 'A', &k));
    g_assert_true(k.key == KEY_A && k.shift);
    g_assert_true(key_for_char("de", 'z', &k));
    g_assert_true(k.key == KEY_Y && !k.shift);
    g_assert_true(key_for_char("de", '@', &k));
    g_assert_true(k.key == KEY_Q && k.altgr);
    g_assert_true(key_for_char("fr", '1', &k));
    g_assert_true(k.key == KEY_1 && k.shift);
    g_assert_true(key_for_char("en-us", 3, &k));
    g_assert_true(k.key == KEY_C && k.ctrl);
    g_assert_false(key_for_char("en-us", 0x4e2d, &k));
    for (uint32_t ch = 32; ch < 127; ch++)
        g_assert_true(key_for_char("en-us", ch, &k));
    g_assert_cmpint(key_for_keysym("en-us", 0xff51), ==, KEY_LEFT);
    g_assert_cmpint(key_for_keysym("de", 'y'), ==, KEY_Z);
    g_assert_cmpint(key_for_keysym("en-us", 0x12345), ==, KEY_NONE);
}

static void typed(void *o, const uint8_t *b, size_t n) { g_string_append_len(o, (const char *)b, n); }

static void text_console_draws_and_types(void)
{
    Ui *ui = ui_new();
    GString *in = g_string_new("");
    TextConsole *t = textconsole_new(ui, "monitor", 20, 4, typed, in);
    Console *vga = console_new(ui, "VGA", NULL, NULL), *con = ui_console(ui, 1);
    g_autofree char *text = NULL, *again = NULL;
    uint8_t junk[3000];

    g_assert_true(ui_console(ui, 0) == vga);            /* the guest's screen comes first */
    g_assert_cmpint(console_width(con), ==, 160);
    textconsole_write(t, (const uint8_t *)"one\r\ntwo\033[1;1HO\033[2;3H\033[K\xe2\x94\x80", 27);
    console_refresh(con);
    text = console_copy_text(con);
    g_assert_cmpstr(text, ==, "One\ntw\u2500\n\n\n");
    for (int i = 0; i < 6; i++)
        textconsole_write(t, (const uint8_t *)"\r\nline", 6);
    console_refresh(con);
    again = console_copy_text(con);
    g_assert_cmpstr(again, ==, "line\nline\nline\nline\n");
    console_key(con, KEY_SHIFT, true);
    console_key(con, KEY_A, true);
    console_key(con, KEY_SHIFT, false);
    console_key(con, KEY_CTRL, true);
    console_key(con, KEY_C, true);
    console_key(con, KEY_CTRL, false);
    console_key(con, KEY_UP, true);
    g_assert_cmpstr(in->str, ==, "A\003\033[A");
    for (int i = 0; i < 300; i++) {                     /* whatever is printed stays inside the grid */
        for (unsigned k = 0; k < sizeof junk; k++)
            junk[k] = k % 7 ? g_test_rand_int_range(0, 256) : "\033[;9AB@PHJKm"[g_test_rand_int_range(0, 13)];
        textconsole_write(t, junk, sizeof junk);
        console_refresh(con);
    }
    textconsole_free(t);
    console_free(vga);
    ui_free(ui);
    g_string_free(in, TRUE);
}

static void unknown_displays_suggest(void)
{
    Ui *ui = ui_new();
    g_autoptr(GError) err = NULL;

    g_assert_false(display_open(ui, "sdll", &err));
    g_assert_nonnull(strstr(err->message, "'sdl'"));
    g_clear_error(&err);
    g_assert_true(display_open(ui, "none", &err));
    g_assert_false(display_open(ui, "none,colour=1", &err));
    g_clear_error(&err);
    g_assert_false(display_open_vnc(ui, "5901", &err));
    g_assert_nonnull(strstr(err->message, "address"));
    ui_free(ui);
}

/* curses needs a terminal; a test has none: it says why, and the page opens. */
static void wanted_display_falls_back(void)
{
    Ui *ui = ui_new();
    Console *con = console_new(ui, "VGA", NULL, NULL);
    g_autofree char *info = NULL;
    g_autoptr(GError) err = NULL;

    g_unsetenv("DISPLAY");
    g_unsetenv("WAYLAND_DISPLAY");
    g_assert_true(display_open(ui, "sdl", &err));
    g_assert_no_error(err);
    info = display_vnc_describe(ui);
#if HAVE_VNC && HAVE_SDL2
    g_assert_nonnull(strstr(info, "web page"));
#endif
    ui_free(ui);
    console_free(con);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_setenv("SDL_VIDEODRIVER", "none-such", TRUE);
    g_test_add_func("/ui/listeners", listeners_hear_only_what_changed);
    g_test_add_func("/ui/copy-text", text_copies_as_rows);
    g_test_add_func("/ui/input", input_goes_to_the_active_device);
    g_test_add_func("/ui/keys", keys_are_found_by_every_name);
    g_test_add_func("/ui/layouts", layouts_type_their_characters);
    g_test_add_func("/ui/text-console", text_console_draws_and_types);
    g_test_add_func("/ui/unknown-display", unknown_displays_suggest);
    g_test_add_func("/ui/fall-back", wanted_display_falls_back);
    return g_test_run();
}
