/*
 * vga16: draws known patterns in every mode of a VGA with Bochs VBE, one after another.
 *
 * For each picture it says "NAME VALUE" on COM1 (VALUE: a checksum of what reading back gave) and
 * waits for a byte, so that a host program can look at the screen; tests/sh/vga-modes.sh does.
 */
#include <stdint.h>

void unreal(void);
void bios_video(uint32_t ax, uint32_t bx, uint32_t cx, uint32_t dx, uint32_t bp);

enum { COM1 = 0x3f8, SEQ = 0x3c4, GR = 0x3ce, CRTC = 0x3d4, ATTR = 0x3c0, STATUS = 0x3da, DISPI = 0x1ce };
enum { D_XRES = 1, D_YRES, D_BPP, D_ENABLE, D_BANK, D_VWIDTH, D_VHEIGHT, D_XOFF, D_YOFF };

static volatile uint8_t *const graphics = (volatile uint8_t *)0xa0000;
static volatile uint8_t *const cga = (volatile uint8_t *)0xb8000;
static volatile uint8_t *lfb;
static uint32_t sum;

static void outb(uint16_t p, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(p)); }
static void outw(uint16_t p, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p)); }
static void outl(uint16_t p, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static uint8_t inb(uint16_t p) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static uint16_t inw(uint16_t p) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static uint32_t inl(uint16_t p) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }

/* ---- the host's side ---- */

static void put(char c)
{
    while (!(inb(COM1 + 5) & 0x20))
        ;
    outb(COM1, c);
}

static void show(const char *name)
{
    for (; *name; name++)
        put(*name);
    put(' ');
    for (int i = 28; i >= 0; i -= 4)
        put("0123456789abcdef"[sum >> i & 15]);
    put('\n');
    while (!(inb(COM1 + 5) & 1))
        ;
    inb(COM1);
    sum = 0;
}

static void count(uint32_t v)
{
    sum = (sum << 5 | sum >> 27) ^ v;
}

/* ---- registers ---- */

static void set(uint16_t port, uint8_t index, uint8_t v)
{
    outb(port, index);
    outb(port + 1, v);
}

static uint8_t get(uint16_t port, uint8_t index)
{
    outb(port, index);
    return inb(port + 1);
}

static void change(uint16_t port, uint8_t index, uint8_t clear, uint8_t bits)
{
    set(port, index, (get(port, index) & ~clear) | bits);
}

static uint8_t get_attr(uint8_t index)
{
    uint8_t v;

    inb(STATUS);
    outb(ATTR, index | 0x20);
    v = inb(ATTR + 1);
    inb(STATUS);
    return v;
}

static void set_attr(uint8_t index, uint8_t v)
{
    inb(STATUS);
    outb(ATTR, index);
    outb(ATTR, v);
    outb(ATTR, 0x20);
}

/* Every register a program can read back. */
static void count_registers(void)
{
    count(inb(0x3cc));
    for (int i = 0; i < 5; i++)
        count(get(SEQ, i));
    for (int i = 0; i < 9; i++)
        count(get(GR, i));
    for (int i = 0; i < 25; i++)
        count(get(CRTC, i));
    for (int i = 0; i < 21; i++)
        count(get_attr(i));
    outb(0x3c7, 0);
    for (int i = 0; i < 768; i++)
        count(inb(0x3c9));
}

static void bios_mode(uint8_t mode)
{
    bios_video(mode, 0, 0, 0, 0);
}

static void no_cursor(void)
{
    change(CRTC, 0x0a, 0, 0x20);
}

static void start_address(uint16_t a)
{
    set(CRTC, 0x0c, a >> 8);
    set(CRTC, 0x0d, a);
}

/* The picture starts again at address 0 behind scan line n. */
static void split_at(unsigned n)
{
    set(CRTC, 0x18, n);
    change(CRTC, 7, 0x10, n >> 4 & 0x10);
    change(CRTC, 9, 0x40, n >> 3 & 0x40);
}

/* ---- text ---- */

static void text_pattern(unsigned cells, uint8_t attr_mask)
{
    for (unsigned i = 0; i < cells; i++) {
        cga[2 * i] = (i & 0xf0) == 0xb0 ? ~i : i;       /* b0-bf: see text_nine_dots */
        cga[2 * i + 1] = (i * 7 + (i >> 8)) & attr_mask;
    }
    for (unsigned i = 0; i < 2 * cells; i++)
        count(cga[i]);
}

static void text_mode(const char *name, uint8_t mode, unsigned cells)
{
    bios_mode(mode);
    no_cursor();
    text_pattern(cells, 0x7f);
    count_registers();
    show(name);
}

/* A 16-line font made by rule: no two characters are alike. */
static void rule_font(unsigned block)
{
    uint8_t *font = (uint8_t *)0x20000;

    for (int i = 0; i < 256; i++)
        for (int y = 0; y < 16; y++)
            font[i * 16 + y] = y == 0 ? 0xff : y == 15 ? 0x81 : (uint8_t)(i * (y + 3) + block * 91);
    /* ES:BP is 0:bp, so the font has to lie below 64 KiB while the firmware reads it */
    for (int i = 0; i < 4096; i++)
        ((uint8_t *)0x6000)[i] = font[i];
    bios_video(0x1100, 0x1000 | block, 256, 0, 0x6000);
}

static void text_modes(void)
{
    text_mode("text-00-40x25", 0, 1000);
    text_mode("text-01-40x25", 1, 1000);
    text_mode("text-02-80x25", 2, 2000);
    text_mode("text-03-80x25", 3, 2000);
    bios_mode(3);
    no_cursor();
    bios_video(0x1003, 0, 0, 0, 0);             /* bright backgrounds instead of blinking */
    text_pattern(2000, 0xff);
    show("text-bright-backgrounds");
    change(SEQ, 1, 0, 1);
    show("text-8-dots");
    change(SEQ, 1, 1, 0);
    set_attr(0x10, get_attr(0x10) & ~4);
    show("text-9th-dot-blank");
    set_attr(0x10, get_attr(0x10) | 4);
    for (int i = 0; i < 256; i++)
        cga[2 * i] = i;
    show("text-9th-dot-b0");
    bios_mode(3);
    no_cursor();
    bios_video(0x1112, 0, 0, 0, 0);
    no_cursor();
    text_pattern(4000, 0x7f);
    show("text-80x50");
    bios_mode(3);
    bios_video(0x1111, 0, 0, 0, 0);
    no_cursor();
    text_pattern(2240, 0x7f);
    show("text-80x28");
    bios_mode(3);
    no_cursor();
    rule_font(0);
    no_cursor();
    text_pattern(2000, 0x7f);
    show("text-own-font");
    bios_mode(3);
    rule_font(1);
    rule_font(4);
    bios_video(0x1103, 0x04, 0, 0, 0);
    no_cursor();
    text_pattern(2000, 0x7f);
    show("text-two-fonts");
    bios_video(0x1103, 0x12, 0, 0, 0);
    show("text-fonts-4-2");
    bios_mode(7);
    no_cursor();
    for (int i = 0; i < 2000; i++) {
        ((volatile uint8_t *)0xb0000)[2 * i] = (i & 0xf0) == 0xb0 ? ~i : i;
        ((volatile uint8_t *)0xb0000)[2 * i + 1] = i & 0x7f;
    }
    show("text-07-mono");
}

static void text_details(void)
{
    bios_mode(3);
    no_cursor();
    text_pattern(16384, 0x7f);
    start_address(80 * 3 + 5);
    show("text-start");
    split_at(203);
    show("text-split");
    split_at(0x3ff);
    set(CRTC, 8, 5);
    show("text-preset-row");
    set(CRTC, 8, 0x20);
    show("text-byte-pan");
    set(CRTC, 8, 0);
    set_attr(0x13, 3);
    show("text-pixel-pan");
    split_at(203);
    set_attr(0x10, get_attr(0x10) | 0x20);
    show("text-pan-ends-at-split");
    set_attr(0x10, get_attr(0x10) & ~0x20);
    split_at(0x3ff);
    set_attr(0x13, 8);
    set(CRTC, 0x13, 50);
    show("text-wide-lines");
    set(CRTC, 0x13, 40);
    start_address(0x3f00);
    show("text-wraps");
    start_address(0);
    set_attr(0x12, 5);
    show("text-planes");
    set_attr(0x12, 15);
    change(SEQ, 1, 0, 0x20);
    show("text-screen-off");
    change(SEQ, 1, 0x20, 0);
    set_attr(0x11, 4);
    show("text-overscan");
    bios_mode(3);
    text_pattern(2000, 0x7f);
    bios_video(0x0100, 0, 0x0307, 0, 0);
    bios_video(0x0200, 0, 0, 0x0510, 0);
    show("~text-cursor");
    text_pattern(2000, 0xff);
    no_cursor();
    show("~text-blink");
}

/* ---- graphics ---- */

static void cga_mode(const char *name, uint8_t mode)
{
    bios_mode(mode);
    for (unsigned i = 0; i < 16384; i++)
        cga[i] = i * 5 + (i >> 8);
    for (unsigned i = 0; i < 16384; i++)
        count(cga[i]);
    count_registers();
    show(name);
}

static void planar_fill(unsigned bytes)
{
    for (int plane = 0; plane < 4; plane++) {
        set(SEQ, 2, 1 << plane);
        for (unsigned i = 0; i < bytes; i++)
            graphics[i] = i * (plane + 3) + (i >> 7) * (plane * 2 + 1);
    }
    set(SEQ, 2, 15);
    for (int plane = 0; plane < 4; plane++) {
        set(GR, 4, plane);
        for (unsigned i = 0; i < bytes; i += 3)
            count(graphics[i]);
    }
    set(GR, 4, 0);
}

static void planar_mode(const char *name, uint8_t mode, unsigned bytes)
{
    bios_mode(mode);
    planar_fill(bytes);
    count_registers();
    show(name);
}

/* Write modes, rotations, logic and latches over a filled screen; read mode 1 back. */
static void planar_paths(void)
{
    bios_mode(0x12);
    planar_fill(38400);
    for (int mode = 0; mode < 4; mode++)
        for (int logic = 0; logic < 4; logic++) {
            set(GR, 0, 5 + mode);
            set(GR, 1, mode == 0 ? 6 : 0);
            set(GR, 3, logic << 3 | (mode + logic));
            set(GR, 5, mode);
            for (int y = 0; y < 20; y++)
                for (int x = 0; x < 78; x++) {
                    unsigned at = ((mode * 4 + logic) * 25 + y) * 80 + x;

                    set(GR, 8, 0x3c ^ x);
                    set(SEQ, 2, x & 1 ? 15 : 11);
                    count(graphics[at + 1]);
                    graphics[at] = x * 3 + y;
                }
        }
    set(GR, 3, 0);
    set(GR, 8, 0xff);
    set(GR, 5, 8);
    for (int c = 0; c < 16; c++) {
        set(GR, 2, c);
        set(GR, 7, c ^ 15);
        for (unsigned i = 0; i < 2000; i++)
            count(graphics[i * 7]);
    }
    show("planar-write-modes");
}

static void planar_details(void)
{
    bios_mode(0x0d);
    planar_fill(32768);
    start_address(40 * 7 + 3);
    show("0d-start");
    set_attr(0x13, 3);
    show("0d-pixel-pan");
    split_at(101);
    show("0d-split-panned");
    set_attr(0x10, get_attr(0x10) | 0x20);
    show("0d-split-pan-ends");
    split_at(0x3ff);
    set_attr(0x13, 0);
    set(CRTC, 8, 0x41);
    show("0d-byte-pan-preset");
    set(CRTC, 8, 0);
    set(CRTC, 0x13, 32);
    show("0d-wide-lines");
    set_attr(0x12, 10);
    planar_fill(32768);
    show("0d-planes");
    set_attr(0x12, 15);
    start_address(0xff00);
    show("0d-wraps");
    bios_mode(0x12);
    planar_fill(38400);
    set_attr(0x14, 8);
    show("12-colour-select");
    set_attr(0x10, get_attr(0x10) | 0x80);
    set_attr(0x14, 5);
    show("12-colour-select-4-bits");
    set_attr(0x10, get_attr(0x10) & ~0x80);
    set_attr(0x14, 0);
    outb(0x3c6, 0x15);
    show("12-dac-mask");
    outb(0x3c6, 0xff);
    set(CRTC, 0x12, 0x8f);
    change(CRTC, 7, 0x42, 2);
    show("12-400-lines");
    set_attr(0x10, get_attr(0x10) | 8);
    show("~12-blink");
    bios_mode(0x12);
    planar_fill(38400);
    show("12-again");
    inb(STATUS);
    outb(ATTR, 0);
    show("12-attributes-off");
    outb(ATTR, 0);
    inb(STATUS);
    outb(ATTR, 0x20);
    show("12-attributes-on");
}

static void bytes_details(void)
{
    bios_mode(0x13);
    for (unsigned i = 0; i < 64000; i++)
        graphics[i] = i + i / 320;
    for (unsigned i = 0; i < 64000; i++)
        count(graphics[i]);
    count_registers();
    show("mode-13");
    set(SEQ, 2, 6);
    for (unsigned i = 0; i < 32000; i++)
        graphics[i] = i * 11;
    set(SEQ, 2, 15);
    for (unsigned i = 0; i < 64000; i++)
        count(graphics[i]);
    show("13-map-mask");
    split_at(200);
    start_address(33);
    show("13-split-inside-row");
    split_at(201);
    show("13-split");
    split_at(0x3ff);
    set_attr(0x13, 2);
    show("13-pixel-pan");
    set_attr(0x13, 0);
    start_address(0);
    change(CRTC, 9, 0x1f, 0);
    show("13-400-lines");
    for (int i = 0; i < 256; i++) {
        outb(0x3c8, i);
        outb(0x3c9, i);
        outb(0x3c9, i >> 2);
        outb(0x3c9, ~i);
    }
    count_registers();
    show("13-palette");
    outb(0x3c6, 0x0f);
    show("13-dac-mask");
    outb(0x3c6, 0xff);
}

static void mode_x(void)
{
    bios_mode(0x13);
    set(SEQ, 4, 6);
    set(CRTC, 0x14, 0);
    set(CRTC, 0x17, 0xe3);
    planar_fill(65535);
    show("x-320x200");
    outb(0x3c2, 0xe3);
    change(CRTC, 0x11, 0x80, 0);
    set(CRTC, 6, 0x0d);
    set(CRTC, 7, 0x3e);
    set(CRTC, 9, 0x41);
    set(CRTC, 0x10, 0xea);
    set(CRTC, 0x11, 0xac);
    set(CRTC, 0x12, 0xdf);
    set(CRTC, 0x15, 0xe7);
    set(CRTC, 0x16, 6);
    show("x-320x240");
    start_address(19200);
    show("x-second-page");
    set(CRTC, 0x13, 44);
    for (int pan = 2; pan < 8; pan += 2) {
        set_attr(0x13, pan);
        show(pan == 2 ? "x-pan-1" : pan == 4 ? "x-pan-2" : "x-pan-3");
    }
    set_attr(0x13, 0);
    split_at(301);
    show("x-split");
}

/* ---- VBE ---- */

static void vbe(uint16_t reg, uint16_t v)
{
    outw(DISPI, reg);
    outw(DISPI + 1, v);
}

static void count_vbe(void)
{
    for (int i = 0; i < 10; i++) {
        outw(DISPI, i);
        count(inw(DISPI + 1));
    }
}

static void vbe_mode(uint16_t w, uint16_t h, uint16_t bpp)
{
    vbe(D_ENABLE, 0);
    vbe(D_XRES, w);
    vbe(D_YRES, h);
    vbe(D_BPP, bpp);
    vbe(D_ENABLE, 0x41);
}

static void find_lfb(void)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        outl(0xcf8, 0x80000000 | slot << 11);
        if (inl(0xcfc) != 0x11111234)
            continue;
        outl(0xcf8, 0x80000010 | slot << 11);
        lfb = (volatile uint8_t *)(inl(0xcfc) & ~15u);
    }
}

static void vbe_depth(const char *name, uint16_t w, uint16_t h, uint16_t bpp)
{
    volatile uint32_t *p = (volatile uint32_t *)lfb;
    uint32_t n = (uint32_t)w * h * ((bpp + 7) / 8) / 4;

    vbe_mode(w, h, bpp);
    for (uint32_t i = 0; i < n; i++)
        p[i] = i * 0x9e3779b1u + (i >> 9);
    count_vbe();
    show(name);
}

static void vbe_modes(void)
{
    bios_mode(0x13);                    /* the palette */
    vbe_depth("vbe-640x480x8", 640, 480, 8);
    vbe(D_ENABLE, 0x61);
    outb(0x3c8, 0);
    for (int i = 0; i < 768; i++)
        outb(0x3c9, i * 5);
    show("vbe-8-bit-dac");
    vbe(D_ENABLE, 0);
    vbe_depth("vbe-800x600x15", 800, 600, 15);
    vbe_depth("vbe-640x400x16", 640, 400, 16);
    vbe_depth("vbe-800x600x24", 800, 600, 24);
    vbe_depth("vbe-1024x768x32", 1024, 768, 32);
    vbe(D_VWIDTH, 1280);
    vbe(D_XOFF, 64);
    vbe(D_YOFF, 20);
    count_vbe();
    show("vbe-offsets-32");
    vbe_depth("vbe-1280x1024x16", 1280, 1024, 16);
    vbe(D_VWIDTH, 1600);
    vbe(D_XOFF, 24);
    vbe(D_YOFF, 3);
    count_vbe();
    show("vbe-offsets-16");
    vbe(D_ENABLE, 0);
    bios_mode(0x13);
    vbe_mode(640, 480, 8);
    for (int bank = 0; bank < 5; bank++) {
        vbe(D_BANK, bank);
        for (uint32_t i = 0; i < 65536; i++)
            graphics[i] = i * (bank + 1);
    }
    show("vbe-banks");
    vbe(D_ENABLE, 0xc1);                /* keep what is there */
    show("vbe-no-clear");
    vbe(D_ENABLE, 0);
    vbe_mode(800, 600, 4);
    set(SEQ, 4, 6);
    planar_fill(60000);
    show("vbe-800x600x4");
    vbe(D_ENABLE, 0);
    bios_video(0x4f02, 0x4101, 0, 0, 0);
    for (uint32_t i = 0; i < 640 * 480; i++)
        lfb[i] = i + i / 640;
    count_vbe();
    show("bios-vbe-101");
    bios_video(0x4f02, 0x4118, 0, 0, 0);
    for (uint32_t i = 0; i < 1024 * 768 * 3; i += 4)
        *(volatile uint32_t *)(lfb + i) = i * 0x9e3779b1u;
    count_vbe();
    show("bios-vbe-118");
    bios_mode(3);
    no_cursor();
    text_pattern(2000, 0x7f);
    count_registers();
    show("text-after-vbe");
}

void main(void)
{
    find_lfb();
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    outb(COM1 + 4, 3);
    text_modes();
    text_details();
    cga_mode("cga-04", 4);
    cga_mode("cga-05", 5);
    cga_mode("cga-06", 6);
    planar_mode("planar-0d", 0x0d, 8000);
    planar_mode("planar-0e", 0x0e, 16000);
    planar_mode("planar-0f", 0x0f, 28000);
    planar_mode("planar-10", 0x10, 28000);
    planar_mode("planar-11", 0x11, 38400);
    planar_mode("planar-12", 0x12, 38400);
    planar_paths();
    planar_details();
    bytes_details();
    mode_x();
    vbe_modes();
    show("end");
}
