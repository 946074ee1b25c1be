/* test-i8042: the keyboard controller, keyboard and mouse as a driver sees them. */
#include "hw/core/wiring.h"
#include "tests/hw/bench.h"
#include "ui/console.h"

#include <string.h>

typedef struct Keys { Bench *b; Ui *ui; } Keys;

static Keys keys_new(void)
{
    Keys k = { bench_new(NULL, NULL), ui_new() };

    bench_backend(k.b, "ui", "ui", k.ui);
    bench_add(k.b, "i8042", NULL);
    bench_reset(k.b);
    return k;
}
static void keys_free(Keys *k)
{
    bench_free(k->b);
    ui_free(k->ui);
}
static void set_mode(Bench *b, uint8_t mode)
{
    bench_out8(b, 0x64, 0x60);
    bench_out8(b, 0x60, mode);
}
static void expect(Bench *b, const char *bytes, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(bench_in8(b, 0x64) & 1, ==, 1);
        g_assert_cmphex(bench_in8(b, 0x60), ==, (uint8_t)bytes[i]);
    }
    g_assert_cmphex(bench_in8(b, 0x64) & 1, ==, 0);
}
#define EXPECT(b, s) expect(b, s, sizeof(s) - 1)
static void aux(Bench *b, uint8_t v)
{
    bench_out8(b, 0x64, 0xd4);
    bench_out8(b, 0x60, v);
}

static void controller_answers_self_tests(void)
{
    Keys k = keys_new();

    bench_out8(k.b, 0x64, 0xaa);
    EXPECT(k.b, "\x55");
    bench_out8(k.b, 0x64, 0xab);
    EXPECT(k.b, "\x00");
    set_mode(k.b, 0x47);
    bench_out8(k.b, 0x64, 0x20);
    EXPECT(k.b, "\x47");
    bench_out8(k.b, 0x60, 0xff);
    EXPECT(k.b, "\xfa\xaa");
    bench_out8(k.b, 0x60, 0xf2);
    EXPECT(k.b, "\xfa\xab\x41");
    bench_out8(k.b, 0x64, 0xd0);
    g_assert_cmphex(bench_in8(k.b, 0x60) & 3, ==, 3);
    keys_free(&k);
}

static void keys_arrive_in_every_set(void)
{
    Keys k = keys_new();

    set_mode(k.b, 0x45);
    ui_key(k.ui, KEY_A, true);
    CHECK(bench_irq(k.b, 1));
    ui_key(k.ui, KEY_A, false);
    EXPECT(k.b, "\x1e\x9e");
    CHECK(!bench_irq(k.b, 1));
    ui_key(k.ui, KEY_RIGHT, true);
    ui_key(k.ui, KEY_RIGHT, false);
    EXPECT(k.b, "\xe0\x4d\xe0\xcd");
    set_mode(k.b, 0x05);
    ui_key(k.ui, KEY_RIGHT, true);
    ui_key(k.ui, KEY_RIGHT, false);
    EXPECT(k.b, "\xe0\x74\xe0\xf0\x74");
    bench_out8(k.b, 0x60, 0xf0);
    bench_out8(k.b, 0x60, 3);
    EXPECT(k.b, "\xfa\xfa");
    ui_key(k.ui, KEY_CTRL_R, true);
    ui_key(k.ui, KEY_CTRL_R, false);
    EXPECT(k.b, "\x58\xf0\x58");
    keys_free(&k);
}

static void print_and_pause_have_their_sequences(void)
{
    Keys k = keys_new();

    set_mode(k.b, 0x45);
    ui_key(k.ui, KEY_PRINT, true);
    ui_key(k.ui, KEY_PRINT, false);
    EXPECT(k.b, "\xe0\x2a\xe0\x37\xe0\xb7\xe0\xaa");
    ui_key(k.ui, KEY_PAUSE, true);
    ui_key(k.ui, KEY_PAUSE, false);
    EXPECT(k.b, "\xe1\x1d\x45\xe1\x9d\xc5");
    keys_free(&k);
}

static void held_keys_repeat_at_the_rate_set(void)
{
    Keys k = keys_new();

    set_mode(k.b, 0x45);
    bench_out8(k.b, 0x60, 0xf3);
    bench_out8(k.b, 0x60, 0);                   /* 250 ms, then 30 a second */
    EXPECT(k.b, "\xfa\xfa");
    ui_key(k.ui, KEY_B, true);
    EXPECT(k.b, "\x30");
    ui_key(k.ui, KEY_B, true);                  /* the host's repeat is not ours */
    EXPECT(k.b, "");
    bench_step_ms(k.b, 249);
    EXPECT(k.b, "");
    bench_step_ms(k.b, 2);
    EXPECT(k.b, "\x30");
    bench_step_ms(k.b, 34);
    EXPECT(k.b, "\x30");
    ui_key(k.ui, KEY_B, false);
    EXPECT(k.b, "\xb0");
    bench_step_ms(k.b, 500);
    EXPECT(k.b, "");
    keys_free(&k);
}

static void full_queue_never_leaves_a_key_stuck(void)
{
    Keys k = keys_new();
    int down = 0, n;

    set_mode(k.b, 0x45);
    for (KeyCode c = KEY_A; c < KEY_A + 9; c++)
        ui_key(k.ui, c, true);
    for (KeyCode c = KEY_A; c < KEY_A + 9; c++)
        ui_key(k.ui, c, false);
    for (n = 0; n < 100 && (bench_in8(k.b, 0x64) & 1); n++)
        down += bench_in8(k.b, 0x60) & 0x80 ? -1 : 1;
    g_assert_cmpint(down, ==, 0);
    g_assert_cmpint(n, >, 10);
    keys_free(&k);
}

static void mouse_becomes_intellimouse(void)
{
    Keys k = keys_new();
    static const uint8_t knock[] = { 0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2 };

    set_mode(k.b, 0x47);
    aux(k.b, 0xff);
    CHECK(bench_irq(k.b, 12));
    g_assert_cmphex(bench_in8(k.b, 0x64) & 0x20, ==, 0x20);
    EXPECT(k.b, "\xfa\xaa\x00");
    aux(k.b, 0xf4);
    EXPECT(k.b, "\xfa");
    ui_rel(k.ui, 5, 3);
    ui_sync(k.ui);
    EXPECT(k.b, "\x28\x05\xfd");
    for (unsigned i = 0; i < sizeof knock; i++) {
        aux(k.b, knock[i]);
        if (knock[i] != 0xf2)
            EXPECT(k.b, "\xfa");
    }
    EXPECT(k.b, "\xfa\x03");
    ui_button(k.ui, BUTTON_RIGHT, true);
    ui_wheel(k.ui, 1, 0);
    ui_sync(k.ui);
    EXPECT(k.b, "\x0a\x00\x00\x00\x0a\x00\x00\xff");
    bench_roundtrip(k.b);
    ui_rel(k.ui, 300, 0);                       /* more than a packet holds */
    ui_sync(k.ui);
    EXPECT(k.b, "\x0a\xff\x00\x00\x0a\x2d\x00\x00");
    keys_free(&k);
}

static void a20_and_reset_reach_the_machine(void)
{
    Keys k = keys_new();

    bench_out8(k.b, 0x64, 0xd1);
    bench_out8(k.b, 0x60, 0xdd);
    bench_out8(k.b, 0x64, 0xd0);
    g_assert_cmphex(bench_in8(k.b, 0x60) & 2, ==, 0);
    bench_out8(k.b, 0x64, 0xfe);
    g_assert_cmpuint(atomic_load(&k.b->m->requests), !=, 0);
    keys_free(&k);
}

static void sendkey_types_combinations(void)
{
    Keys k = keys_new();
    g_autoptr(GError) err = NULL;

    set_mode(k.b, 0x45);
    g_assert_true(ui_send_keys(k.ui, "ctrl-alt-delete", 5, &err));
    for (int i = 0; i < 40; i++) {
        g_usleep(1000);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    EXPECT(k.b, "\x1d\x38\xe0\x53\xe0\xd3\xb8\x9d");
    g_assert_false(ui_send_keys(k.ui, "ctrl-alt-delet", 5, &err));
    g_assert_nonnull(strstr(err->message, "delete"));
    ui_type_text(k.ui, "A");
    for (int i = 0; i < 40; i++) {
        g_usleep(1000);
        while (g_main_context_iteration(NULL, FALSE))
            ;
    }
    EXPECT(k.b, "\x2a\x1e\x9e\xaa");
    keys_free(&k);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/self-test", controller_answers_self_tests);
    g_test_add_func("/i8042/sets", keys_arrive_in_every_set);
    g_test_add_func("/i8042/special-keys", print_and_pause_have_their_sequences);
    g_test_add_func("/i8042/typematic", held_keys_repeat_at_the_rate_set);
    g_test_add_func("/i8042/full-queue", full_queue_never_leaves_a_key_stuck);
    g_test_add_func("/i8042/intellimouse", mouse_becomes_intellimouse);
    g_test_add_func("/i8042/a20-reset", a20_and_reset_reach_the_machine);
    g_test_add_func("/i8042/sendkey", sendkey_types_combinations);
    return g_test_run();
}
