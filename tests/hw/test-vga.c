/* test-vga: modes set by registers as a BIOS sets them, patterns drawn through every path, pixels compared. */
#include "hw/display/console.h"
#include "tests/hw/bench.h"

#include <string.h>
#include <unistd.h>

typedef struct ModeRegs { uint8_t misc, seq[5], crtc[25], gr[9], ar[21]; } ModeRegs;
/* IBM PS/2 Hardware Interface Technical Reference, default register values. */
static const ModeRegs mode_03 = { 0x67, { 3, 0, 3, 0, 2 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x10, 0x0e, 0, 0xff },
    { 0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0 } };
static const ModeRegs mode_12 = { 0xe3, { 3, 1, 0x0f, 0, 6 },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0, 0xe7, 0x04, 0xe3, 0xff },
    { 0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff },
    { 0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0 } };
static const ModeRegs mode_13 = { 0x63, { 3, 1, 0x0f, 0, 0x0e },
    { 0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0x40, 0x96, 0xb9, 0xa3, 0xff },
    { 0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff },
    { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0 } };
static const ModeRegs mode_04 = { 0x63, { 3, 9, 3, 0, 2 },
    { 0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0, 0x96, 0xb9, 0xa2, 0xff },
    { 0, 0, 0, 0, 0, 0x30, 0x0f, 0, 0xff },
    { 0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0, 0 } };

typedef struct Screen { Bench *b; Ui *ui; } Screen;

static void set_mode(Bench *b, const ModeRegs *m)
{
    bench_out8(b, 0x3c2, m->misc);
    for (int i = 0; i < 5; i++)
        bench_out16(b, 0x3c4, i | m->seq[i] << 8);
    bench_out16(b, 0x3d4, 0x11);
    for (int i = 0; i < 25; i++)
        bench_out16(b, 0x3d4, i | m->crtc[i] << 8);
    for (int i = 0; i < 9; i++)
        bench_out16(b, 0x3ce, i | m->gr[i] << 8);
    bench_in8(b, 0x3da);
    for (int i = 0; i < 21; i++) {
        bench_out8(b, 0x3c0, i);
        bench_out8(b, 0x3c0, m->ar[i]);
    }
    bench_out8(b, 0x3c0, 0x20);
    bench_out8(b, 0x3c6, 0xff);
    bench_out8(b, 0x3c8, 0);
    for (int i = 0; i < 256; i++) {     /* colour i: red i/4, green its low bits, blue 63 - red */
        bench_out8(b, 0x3c9, i >> 2);
        bench_out8(b, 0x3c9, i & 63);
        bench_out8(b, 0x3c9, 63 - (i >> 2));
    }
}
static uint32_t six(unsigned v) { return (v & 63) << 2 | (v & 1) * 3; }
static uint32_t color(unsigned i) { return six(i >> 2) << 16 | six(i) << 8 | six(63 - (i >> 2)); }
/* The colour of attribute a in the 16-colour modes above. */
static uint32_t attr_color(const ModeRegs *m, unsigned a) { return color(m->ar[a]); }

static Screen screen_new(const ModeRegs *m)
{
    Screen s = { bench_new(NULL, NULL), ui_new() };

    bench_backend(s.b, "ui", "ui", s.ui);
    bench_add(s.b, "VGA", "romfile=");
    bench_pci_map(s.b, bench_dev(s.b, 0));
    if (m)
        set_mode(s.b, m);
    return s;
}
static void screen_free(Screen *s)
{
    bench_free(s->b);
    ui_free(s->ui);
}
static Console *look(Screen *s, int w, int h)
{
    Console *con = ui_console(s->ui, 0);

    console_refresh(con);
    g_assert_cmpint(console_width(con), ==, w);
    g_assert_cmpint(console_height(con), ==, h);
    return con;
}
static uint32_t pixel(Console *con, int x, int y)
{
    pixman_image_t *img = console_surface(con);

    return pixman_image_get_data(img)[(size_t)y * pixman_image_get_stride(img) / 4 + x] & 0xffffff;
}
#define PIXEL_IS(con, x, y, rgb) g_assert_cmphex(pixel(con, x, y), ==, rgb)

/* Character 'A' becomes a font cell with its left pixel column and its top row lit. */
static void load_font(Bench *b)
{
    bench_out16(b, 0x3c4, 0x0402);
    bench_out16(b, 0x3c4, 0x0704);
    bench_out16(b, 0x3ce, 0x0005);
    bench_out16(b, 0x3ce, 0x0406);
    for (int y = 0; y < 16; y++)
        bench_st(b, 0xa0000 + 'A' * 32 + y, 1, y == 0 ? 0xff : 0x80);
    for (int y = 0; y < 16; y++)
        bench_st(b, 0xa0000 + 0xc4 * 32 + y, 1, y == 8 ? 0xff : 0);
    bench_out16(b, 0x3c4, 0x0302);
    bench_out16(b, 0x3c4, 0x0304);
    bench_out16(b, 0x3ce, 0x1005);
    bench_out16(b, 0x3ce, 0x0e06);
}

static void text_shows_cells_colours_and_cursor(void)
{
    Screen s = screen_new(&mode_03);
    Console *con;
    int cols, rows, cx, cy;
    bool on;
    const ConsoleCell *cells;

    load_font(s.b);
    for (int i = 0; i < 2000; i++)
        bench_st(s.b, 0xb8000 + 2 * i, 2, 0x0720);
    bench_st(s.b, 0xb8000 + 2 * 81, 2, 0x1e41);         /* yellow on blue A at row 1, column 1 */
    bench_st(s.b, 0xb8000 + 2 * 3, 2, 0x07c4);
    g_assert_cmphex(bench_ld(s.b, 0xb8000 + 2 * 81, 2), ==, 0x1e41);
    bench_out16(s.b, 0x3d4, 0x000e);
    bench_out16(s.b, 0x3d4, 0x050f);                    /* cursor at column 5 */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 0, 0, attr_color(&mode_03, 0));
    PIXEL_IS(con, 9, 16, attr_color(&mode_03, 14));
    PIXEL_IS(con, 16, 16, attr_color(&mode_03, 14));
    PIXEL_IS(con, 17, 16, attr_color(&mode_03, 1));     /* ninth column: background ... */
    PIXEL_IS(con, 10, 17, attr_color(&mode_03, 1));
    PIXEL_IS(con, 3 * 9 + 8, 8, attr_color(&mode_03, 7));       /* ... but line graphics go on */
    PIXEL_IS(con, 5 * 9, 13, attr_color(&mode_03, 7));
    PIXEL_IS(con, 5 * 9, 12, attr_color(&mode_03, 0));
    cells = console_text(con, &cols, &rows, &cx, &cy, &on);
    g_assert_cmpint(cols, ==, 80);
    g_assert_cmpint(rows, ==, 25);
    g_assert_cmpint(cells[81].ch, ==, 'A');
    g_assert_cmpint(cells[3].ch, ==, 0x2500);
    g_assert_true(on && cx == 5 && cy == 0);
    bench_step_ms(s.b, 240);                            /* the cursor blinks away */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 5 * 9, 13, attr_color(&mode_03, 0));
    screen_free(&s);
}

static void text_scrolls_by_start_address_and_split(void)
{
    Screen s = screen_new(&mode_03);
    Console *con;

    load_font(s.b);
    for (int i = 0; i < 4000; i++)
        bench_st(s.b, 0xb8000 + 2 * i, 2, 0x0720);
    bench_st(s.b, 0xb8000 + 2 * 160, 2, 0x0741);
    bench_st(s.b, 0xb8000, 2, 0x0441);
    bench_out16(s.b, 0x3d4, 0xa00d);                    /* start at row 2 */
    bench_out16(s.b, 0x3d4, 0x2f18);                    /* split after line 47 */
    bench_out16(s.b, 0x3d4, 0x0f07);                    /* clear line compare bit 8 */
    bench_out16(s.b, 0x3d4, 0x0e11);
    bench_out16(s.b, 0x3d4, 0x0f07);
    bench_out16(s.b, 0x3d4, 0x0f09);
    con = look(&s, 720, 400);
    PIXEL_IS(con, 0, 0, attr_color(&mode_03, 7));
    PIXEL_IS(con, 0, 48, attr_color(&mode_03, 4));      /* address 0 again */
    screen_free(&s);
}

/* What the chip does and other emulators leave out, so that nobody else can be asked. */
static void text_pans_masks_planes_and_switches_fonts(void)
{
    Screen s = screen_new(&mode_03);
    Console *con;

    load_font(s.b);
    for (int i = 0; i < 2000; i++)
        bench_st(s.b, 0xb8000 + 2 * i, 2, i == 1 ? 0x1f41 : 0x0020);
    con = look(&s, 720, 400);
    PIXEL_IS(con, 9, 1, attr_color(&mode_03, 15));
    bench_in8(s.b, 0x3da);
    bench_out8(s.b, 0x3c0, 0x33);
    bench_out8(s.b, 0x3c0, 2);                          /* three dots */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 5, 1, attr_color(&mode_03, 0));
    PIXEL_IS(con, 6, 1, attr_color(&mode_03, 15));
    bench_out16(s.b, 0x3d4, 0x0108);                    /* preset row 1: the glyph's top row is cut off */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 7, 0, attr_color(&mode_03, 1));
    PIXEL_IS(con, 6, 0, attr_color(&mode_03, 15));
    bench_out8(s.b, 0x3c0, 0x32);
    bench_out8(s.b, 0x3c0, 6);                          /* planes 1 and 2 */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 6, 0, attr_color(&mode_03, 6));
    PIXEL_IS(con, 7, 0, attr_color(&mode_03, 0));
    bench_out16(s.b, 0x3c4, 0x0403);                    /* bright characters take the font of block 1: empty */
    con = look(&s, 720, 400);
    PIXEL_IS(con, 6, 0, attr_color(&mode_03, 0));
    screen_free(&s);
}

static void planar_write_modes_combine(void)
{
    Screen s = screen_new(&mode_12);
    Bench *b = s.b;
    Console *con;

    bench_out16(b, 0x3c4, 0x0502);                      /* planes 0 and 2 */
    bench_st(b, 0xa0000, 1, 0xf0);
    bench_out16(b, 0x3c4, 0x0f02);
    bench_out16(b, 0x3ce, 0x0205);                      /* write mode 2 with a bit mask */
    bench_out16(b, 0x3ce, 0x0f08);
    bench_ld(b, 0xa0000, 1);
    bench_st(b, 0xa0000, 1, 9);
    con = look(&s, 640, 480);
    PIXEL_IS(con, 0, 0, attr_color(&mode_12, 5));
    PIXEL_IS(con, 4, 0, attr_color(&mode_12, 9));
    bench_out16(b, 0x3ce, 0xff08);
    bench_out16(b, 0x3ce, 0x0105);                      /* write mode 1 copies the latches */
    bench_ld(b, 0xa0000, 1);
    bench_st(b, 0xa0000 + 80, 1, 0);
    bench_out16(b, 0x3ce, 0x0305);                      /* write mode 3: set/reset under data */
    bench_out16(b, 0x3ce, 0x0600);
    bench_ld(b, 0xa0001, 1);
    bench_st(b, 0xa0001, 1, 0x18);
    bench_out16(b, 0x3ce, 0x0005);
    bench_out16(b, 0x3ce, 0x1803);                      /* write mode 0 with XOR */
    bench_out16(b, 0x3ce, 0x0f01);
    bench_out16(b, 0x3ce, 0x0f00);
    bench_ld(b, 0xa0000 + 80, 1);
    bench_st(b, 0xa0000 + 80, 1, 0);
    con = look(&s, 640, 480);
    PIXEL_IS(con, 0, 1, attr_color(&mode_12, 5 ^ 15));
    PIXEL_IS(con, 7, 1, attr_color(&mode_12, 9 ^ 15));
    PIXEL_IS(con, 10, 0, attr_color(&mode_12, 0));
    PIXEL_IS(con, 11, 0, attr_color(&mode_12, 6));
    bench_out16(b, 0x3ce, 0x0805);                      /* read mode 1: which pixels are colour 9 */
    bench_out16(b, 0x3ce, 0x0902);
    bench_out16(b, 0x3ce, 0x0f07);
    g_assert_cmphex(bench_ld(b, 0xa0000, 1), ==, 0x0f);
    screen_free(&s);
}

static void planar_pans_by_pixels(void)
{
    Screen s = screen_new(&mode_12);
    Console *con;

    bench_st(s.b, 0xa0000, 1, 0x10);
    bench_in8(s.b, 0x3da);
    bench_out8(s.b, 0x3c0, 0x33);
    bench_out8(s.b, 0x3c0, 3);
    con = look(&s, 640, 480);
    PIXEL_IS(con, 0, 0, attr_color(&mode_12, 15));
    PIXEL_IS(con, 1, 0, attr_color(&mode_12, 0));
    screen_free(&s);
}

static void mode13_is_linear_and_doubled(void)
{
    Screen s = screen_new(&mode_13);
    Console *con;

    for (int i = 0; i < 256; i++)
        bench_st(s.b, 0xa0000 + i, 1, i);
    bench_st(s.b, 0xa0000 + 320 * 199 + 319, 1, 77);
    con = look(&s, 640, 400);
    for (int i = 0; i < 256; i++)
        PIXEL_IS(con, 2 * i + 1, 1, color(i));
    PIXEL_IS(con, 639, 399, color(77));
    bench_st(s.b, 0xa0000 + 320 * 100, 1, 200);         /* only the changed lines are drawn again */
    con = look(&s, 640, 400);
    PIXEL_IS(con, 0, 200, color(200));
    bench_roundtrip(s.b);
    screen_free(&s);
}

static void modex_shows_planes_in_turn(void)
{
    Screen s = screen_new(&mode_13);
    Console *con;

    bench_out16(s.b, 0x3c4, 0x0604);                    /* chain 4 off */
    for (int p = 0; p < 4; p++) {
        bench_out16(s.b, 0x3c4, 2 | (1 << p) << 8);
        bench_st(s.b, 0xa0000 + 80, 1, 10 + p);
    }
    con = look(&s, 640, 400);
    for (int p = 0; p < 4; p++)
        PIXEL_IS(con, 2 * p, 2, color(10 + p));
    screen_free(&s);
}

static void cga_interleaves_lines(void)
{
    Screen s = screen_new(&mode_04);
    Console *con;

    bench_st(s.b, 0xb8000, 1, 0x1b);                    /* 0 1 2 3 */
    bench_st(s.b, 0xb8001, 1, 0xe4);                    /* 3 2 1 0 */
    bench_st(s.b, 0xba000, 1, 0xff);                    /* second line */
    con = look(&s, 640, 400);
    for (int i = 0; i < 4; i++) {
        PIXEL_IS(con, 2 * i, 0, color(mode_04.ar[i]));
        PIXEL_IS(con, 8 + 2 * i, 1, color(mode_04.ar[3 - i]));
    }
    PIXEL_IS(con, 0, 2, color(mode_04.ar[3]));
    PIXEL_IS(con, 0, 4, color(mode_04.ar[0]));
    screen_free(&s);
}

static void vbe(Bench *b, unsigned reg, unsigned val)
{
    bench_out16(b, 0x1ce, reg);
    bench_out16(b, 0x1cf, val);
}
static unsigned vbe_get(Bench *b, unsigned reg)
{
    bench_out16(b, 0x1ce, reg);
    return bench_in16(b, 0x1cf);
}
static void vbe_mode(Bench *b, unsigned w, unsigned h, unsigned bpp)
{
    vbe(b, 4, 0);
    vbe(b, 1, w);
    vbe(b, 2, h);
    vbe(b, 3, bpp);
    vbe(b, 4, 0x41);
    bench_out8(b, 0x3c0, 0x20);
}

static void vbe_modes_show_linear_memory(void)
{
    Screen s = screen_new(&mode_03);
    Bench *b = s.b;
    uint64_t lfb = bench_bar(b, bench_dev(b, 0), 0);
    Console *con;

    g_assert_cmphex(vbe_get(b, 0), ==, 0xb0c5);
    g_assert_cmpuint(vbe_get(b, 10), ==, 256);
    vbe_mode(b, 1024, 768, 32);
    bench_st(b, lfb + (1024 * 3 + 7) * 4, 4, 0x123456);
    con = look(&s, 1024, 768);
    PIXEL_IS(con, 7, 3, 0x123456);
    vbe_mode(b, 800, 600, 16);
    bench_st(b, lfb + 2, 2, 0xf81f);
    con = look(&s, 800, 600);
    PIXEL_IS(con, 1, 0, 0xff00ff);
    vbe_mode(b, 640, 480, 24);
    bench_st(b, lfb + 3, 1, 0x11);
    bench_st(b, lfb + 4, 1, 0x22);
    bench_st(b, lfb + 5, 1, 0x33);
    con = look(&s, 640, 480);
    PIXEL_IS(con, 1, 0, 0x332211);
    vbe_mode(b, 640, 480, 8);
    vbe(b, 5, 2);                                       /* bank 2 through a0000 */
    bench_st(b, 0xa0000 + 5, 1, 99);
    g_assert_cmphex(bench_ld(b, lfb + 0x20005, 1), ==, 99);
    con = look(&s, 640, 480);
    PIXEL_IS(con, 0x20005 % 640, 0x20005 / 640, color(99));
    screen_free(&s);
}

static void vbe_offsets_stay_in_memory(void)
{
    Screen s = screen_new(&mode_03);
    Bench *b = s.b;

    for (unsigned bpp = 0; bpp <= 40; bpp += 4) {
        vbe_mode(b, 0xffff, 0xffff, bpp);
        vbe(b, 6, 0xffff);
        vbe(b, 8, 0xffff);
        vbe(b, 9, 0xffff);
        vbe(b, 5, 0xffff);
        console_refresh(ui_console(s.ui, 0));
        bench_st(b, 0xa0000 + 0xffff, 1, 1);
    }
    screen_free(&s);
}

/* Whatever the registers say, drawing stays inside video memory (run under ASan to mean something). */
static void random_registers_draw_safely(void)
{
    Screen s = screen_new(&mode_03);
    static const uint16_t index_ports[] = { 0x3c4, 0x3ce, 0x3d4, 0x1ce };

    for (int i = 0; i < 400; i++) {
        for (int k = 0; k < 12; k++) {
            unsigned p = index_ports[g_test_rand_int_range(0, 4)];
            unsigned reg = g_test_rand_int_range(0, 32), val = g_test_rand_int_range(0, 0x10000);

            if (p == 0x1ce)
                vbe(s.b, reg % 11, g_test_rand_int_range(0, 4) ? val & 0x7ff : val);
            else
                bench_out16(s.b, p, reg | (p == 0x3d4 && reg == 0x17 ? val | 0x80 : val) << 8);
        }
        bench_in8(s.b, 0x3da);
        bench_out8(s.b, 0x3c0, g_test_rand_int_range(0, 0x15));
        bench_out8(s.b, 0x3c0, g_test_rand_int_range(0, 256));
        bench_out8(s.b, 0x3c0, 0x20);
        bench_st(s.b, 0xa0000 + g_test_rand_int_range(0, 0x20000), 1, i);
        bench_ld(s.b, 0xa0000 + g_test_rand_int_range(0, 0x20000), 1);
        if (i % 4 == 0)
            console_refresh(ui_console(s.ui, 0));
    }
    screen_free(&s);
}

static void edid_names_the_preferred_mode(void)
{
    Screen s = { bench_new(NULL, NULL), ui_new() };
    uint64_t mmio;
    uint8_t sum = 0;

    bench_backend(s.b, "ui", "ui", s.ui);
    bench_add(s.b, "VGA", "romfile=,xres=1600,yres=1200");
    bench_pci_map(s.b, bench_dev(s.b, 0));
    mmio = bench_bar(s.b, bench_dev(s.b, 0), 2);
    for (int i = 0; i < 128; i++)
        sum += bench_ld(s.b, mmio + i, 1);
    g_assert_cmphex(sum, ==, 0);
    g_assert_cmphex(bench_ld(s.b, mmio, 4), ==, 0xffffff00);
    g_assert_cmphex(bench_ld(s.b, mmio + 56, 1), ==, 1600 & 0xff);
    g_assert_cmphex(bench_ld(s.b, mmio + 128, 1), ==, 0);
    g_assert_cmphex(bench_ld(s.b, mmio + 0x500, 2), ==, 0xb0c5);
    bench_st(s.b, mmio + 0x502, 2, 800);
    g_assert_cmpuint(vbe_get(s.b, 1), ==, 800);
    screen_free(&s);
}

static void screendump_writes_png_and_ppm(void)
{
    Screen s = screen_new(&mode_13);
    g_autofree char *png = g_strdup_printf("%s/quern-vga-%d.png", g_get_tmp_dir(), (int)getpid());
    g_autofree char *ppm = g_strdup_printf("%s/quern-vga-%d.ppm", g_get_tmp_dir(), (int)getpid());
    g_autofree char *data = NULL;
    g_autoptr(GError) err = NULL;
    gsize len;

    bench_st(s.b, 0xa0000, 1, 77);
    g_assert_true(ui_screendump(s.ui, NULL, ppm, NULL, &err));
    g_assert_true(g_file_get_contents(ppm, &data, &len, NULL));
    g_assert_cmpuint(len, ==, 15 + 640 * 400 * 3);
    g_assert_cmphex((uint8_t)data[15], ==, color(77) >> 16);
    g_assert_true(ui_screendump(s.ui, NULL, png, NULL, &err));
    g_assert_false(ui_screendump(s.ui, NULL, "/nonexistent/x.png", NULL, &err));
    unlink(png);
    unlink(ppm);
    screen_free(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vga/text", text_shows_cells_colours_and_cursor);
    g_test_add_func("/vga/text-scroll", text_scrolls_by_start_address_and_split);
    g_test_add_func("/vga/text-details", text_pans_masks_planes_and_switches_fonts);
    g_test_add_func("/vga/planar", planar_write_modes_combine);
    g_test_add_func("/vga/pan", planar_pans_by_pixels);
    g_test_add_func("/vga/mode13", mode13_is_linear_and_doubled);
    g_test_add_func("/vga/modex", modex_shows_planes_in_turn);
    g_test_add_func("/vga/cga", cga_interleaves_lines);
    g_test_add_func("/vga/vbe", vbe_modes_show_linear_memory);
    g_test_add_func("/vga/vbe-bounds", vbe_offsets_stay_in_memory);
    g_test_add_func("/vga/random", random_registers_draw_safely);
    g_test_add_func("/vga/edid", edid_names_the_preferred_mode);
    g_test_add_func("/vga/screendump", screendump_writes_png_and_ppm);
    return g_test_run();
}
