/* test-usb: a host controller driver in small: enumerates HID devices through UHCI and reads reports. */
#include "tests/hw/bench.h"
#include "ui/console.h"

#include <string.h>

enum { FRAMES = 0x10000, QH = 0x20000, TD = 0x21000, DATA = 0x22000, SETUP = 0x23000 };
enum { IN = 0x69, OUT = 0xe1, SETUP_PID = 0x2d, ACTIVE = 1 << 23, STALLED = 1 << 22, NAKED = 1 << 19 };

typedef struct Usb { Bench *b; Ui *ui; uint16_t io; } Usb;

static Usb usb_new(const char *device)
{
    Usb u = { bench_new(NULL, NULL), ui_new(), 0 };

    bench_backend(u.b, "ui", "ui", u.ui);
    bench_add(u.b, "piix3-usb-uhci", NULL);
    bench_add(u.b, device, NULL);
    bench_reset(u.b);
    bench_pci_map(u.b, bench_dev(u.b, 0));
    u.io = bench_bar(u.b, bench_dev(u.b, 0), 4);
    for (int i = 0; i < 1024; i++)
        bench_st(u.b, FRAMES + 4 * i, 4, QH | 2);
    bench_st(u.b, QH, 4, 1);
    bench_st(u.b, QH + 4, 4, 1);
    bench_out32(u.b, u.io + 8, FRAMES);
    bench_out16(u.b, u.io + 4, 15);
    bench_out16(u.b, u.io, 1);
    g_assert_cmphex(bench_in16(u.b, u.io + 16) & 3, ==, 3);     /* connected, and it is news */
    bench_out16(u.b, u.io + 16, 0x200);
    bench_step_ms(u.b, 10);
    bench_out16(u.b, u.io + 16, 0);
    bench_out16(u.b, u.io + 16, 4 | 2);
    g_assert_cmphex(bench_in16(u.b, u.io + 16) & 7, ==, 5);
    return u;
}
static void usb_free(Usb *u)
{
    bench_free(u->b);
    ui_free(u->ui);
}
static void put_td(Usb *u, int n, int last, uint8_t pid, unsigned addr, unsigned ep, unsigned len, uint32_t buf)
{
    uint32_t at = TD + 32 * n;

    bench_st(u->b, at, 4, last ? 1 : (TD + 32 * (n + 1)) | 4);
    bench_st(u->b, at + 4, 4, ACTIVE | 3 << 27 | (last ? 1 << 24 : 0) | 7);
    bench_st(u->b, at + 8, 4, pid | addr << 8 | ep << 15 | ((len - 1) & 0x7ff) << 21);
    bench_st(u->b, at + 12, 4, buf);
}
/* Runs the prepared TDs; returns the status word of TD n. */
static uint32_t run(Usb *u, int n)
{
    bench_st(u->b, QH + 4, 4, TD);
    bench_step_ms(u->b, 20);
    return bench_ld(u->b, TD + 32 * n + 4, 4);
}
static uint32_t control_in(Usb *u, unsigned addr, uint8_t type, uint8_t req, uint16_t value, uint16_t index, uint16_t len)
{
    uint8_t s[8] = { type, req, value, value >> 8, index, index >> 8, len, len >> 8 };

    bench_mem_write(u->b, SETUP, s, 8);
    put_td(u, 0, 0, SETUP_PID, addr, 0, 8, SETUP);
    put_td(u, 1, 0, IN, addr, 0, len, DATA);
    put_td(u, 2, 1, OUT, addr, 0, 0, 0);
    return run(u, 1);
}
static uint32_t control_out(Usb *u, unsigned addr, uint8_t type, uint8_t req, uint16_t value, uint16_t index)
{
    uint8_t s[8] = { type, req, value, value >> 8, index, index >> 8, 0, 0 };

    bench_mem_write(u->b, SETUP, s, 8);
    put_td(u, 0, 0, SETUP_PID, addr, 0, 8, SETUP);
    put_td(u, 1, 1, IN, addr, 0, 0, 0);
    return run(u, 1);
}
static uint32_t interrupt_in(Usb *u, unsigned addr, unsigned len)
{
    put_td(u, 0, 1, IN, addr, 1, len, DATA);
    return run(u, 0);
}
static void enumerate(Usb *u)
{
    g_assert_cmphex(control_in(u, 0, 0x80, 6, 0x100, 0, 18) & (ACTIVE | STALLED), ==, 0);
    g_assert_cmphex(bench_ld(u->b, DATA, 2), ==, 0x0112);
    g_assert_cmphex(control_out(u, 0, 0, 5, 7, 0) & (ACTIVE | STALLED), ==, 0);
    g_assert_cmphex(control_in(u, 7, 0x80, 6, 0x200, 0, 9) & ACTIVE, ==, 0);
    g_assert_cmphex(control_out(u, 7, 0, 9, 1, 0) & ACTIVE, ==, 0);
    CHECK(bench_intx(u->b, bench_dev(u->b, 0)));
    bench_out16(u->b, u->io + 2, 1);
    CHECK(!bench_intx(u->b, bench_dev(u->b, 0)));
}

static void tablet_reports_where_the_pointer_is(void)
{
    Usb u = usb_new("usb-tablet");
    uint8_t r[6];

    CHECK(!ui_pointer_is_absolute(u.ui) || ui_has_pointer(u.ui));
    enumerate(&u);
    CHECK(ui_pointer_is_absolute(u.ui));
    g_assert_cmphex(interrupt_in(&u, 7, 6) & (ACTIVE | NAKED), ==, ACTIVE | NAKED);
    ui_abs(u.ui, 799, 0, 800, 600);
    ui_button(u.ui, BUTTON_LEFT, true);
    ui_button(u.ui, BUTTON_LEFT, false);
    ui_sync(u.ui);
    g_assert_cmphex(interrupt_in(&u, 7, 6) & ACTIVE, ==, 0);
    bench_mem_read(u.b, DATA, r, 6);
    g_assert_cmpint(memcmp(r, "\x01\xff\x7f\x00\x00\x00", 6), ==, 0);
    bench_roundtrip(u.b);
    g_assert_cmphex(interrupt_in(&u, 7, 6) & ACTIVE, ==, 0);
    bench_mem_read(u.b, DATA, r, 6);
    g_assert_cmpint(memcmp(r, "\x00\xff\x7f\x00\x00\x00", 6), ==, 0);
    usb_free(&u);
}

static void keyboard_reports_keys_and_takes_leds(void)
{
    Usb u = usb_new("usb-kbd");
    uint8_t r[8], s[8] = { 0x21, 9, 0, 2, 0, 0, 1, 0 }, leds = 2;
    bool scroll, num, caps;

    enumerate(&u);
    ui_key(u.ui, KEY_SHIFT, true);
    ui_key(u.ui, KEY_A, true);
    for (int i = 0; i < 2; i++)
        g_assert_cmphex(interrupt_in(&u, 7, 8) & ACTIVE, ==, 0);
    bench_mem_read(u.b, DATA, r, 8);
    g_assert_cmpint(memcmp(r, "\x02\x00\x04\x00\x00\x00\x00\x00", 8), ==, 0);
    bench_mem_write(u.b, SETUP, s, 8);
    bench_mem_write(u.b, DATA, &leds, 1);
    put_td(&u, 0, 0, SETUP_PID, 7, 0, 8, SETUP);
    put_td(&u, 1, 0, OUT, 7, 0, 1, DATA);
    put_td(&u, 2, 1, IN, 7, 0, 0, 0);
    g_assert_cmphex(run(&u, 2) & (ACTIVE | STALLED), ==, 0);
    ui_leds(u.ui, &scroll, &num, &caps);
    CHECK(caps && !num && !scroll);
    usb_free(&u);
}

static void hub_shows_its_ports(void)
{
    Usb u = usb_new("usb-hub");

    enumerate(&u);
    g_assert_cmphex(control_in(&u, 7, 0xa0, 6, 0x2900, 0, 8) & (ACTIVE | STALLED), ==, 0);
    g_assert_cmphex(bench_ld(u.b, DATA + 2, 1), ==, 8);
    g_assert_cmphex(control_in(&u, 7, 0xa3, 0, 0, 1, 4) & (ACTIVE | STALLED), ==, 0);
    g_assert_cmphex(bench_ld(u.b, DATA, 2), ==, 0x100);
    g_assert_cmphex(control_in(&u, 7, 0xa3, 0, 0, 99, 4) & STALLED, ==, STALLED);
    usb_free(&u);
}

/* Descriptors that point at themselves, at nothing, at registers: the walk always ends. */
static void hostile_schedules_end(void)
{
    Usb u = usb_new("usb-tablet");

    bench_st(u.b, QH, 4, QH | 2);
    bench_st(u.b, QH + 4, 4, QH | 2);
    bench_step_ms(u.b, 50);
    for (int i = 0; i < 300; i++) {
        for (int k = 0; k < 64; k++)
            bench_st(u.b, (k & 1 ? QH : TD) + 4 * g_test_rand_int_range(0, 64), 4,
                     k & 2 ? (uint32_t)g_test_rand_int() : (uint32_t)(QH + 16 * g_test_rand_int_range(0, 512)) | g_test_rand_int_range(0, 8));
        bench_out16(u.b, u.io, 1);
        bench_step_ms(u.b, 5);
    }
    bench_out32(u.b, u.io + 8, 0xfffff000);
    bench_step_ms(u.b, 50);
    usb_free(&u);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/usb/tablet", tablet_reports_where_the_pointer_is);
    g_test_add_func("/usb/keyboard", keyboard_reports_keys_and_takes_leds);
    g_test_add_func("/usb/hub", hub_shows_its_ports);
    g_test_add_func("/usb/hostile", hostile_schedules_end);
    return g_test_run();
}
