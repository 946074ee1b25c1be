/*
 * motion32: full motion in 1024x768 with 32 bits: every pixel of every frame is new.
 *
 * Says in turns "flat N": frames drawn as fast as possible in eight seconds of the PIT, and "paced N": frames drawn in
 * as many seconds with one tick of 30 Hz for each. tests/bench/motion.py reads it.
 */
#include "guest32.h"

enum { WIDTH = 1024, HEIGHT = 768, DISPI = 0x1ce, PIC_BASE = 0x20, HZ30 = 39773, SECONDS = 8 };

static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static void out32(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static uint32_t in32(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }

static void dispi(uint16_t reg, uint16_t v)
{
    out16(DISPI, reg);
    out16(DISPI + 1, v);
}

static uint32_t frame_buffer(void)
{
    for (uint32_t slot = 0; slot < 32; slot++) {
        out32(0xcf8, 0x80000000 | slot << 11);
        if (in32(0xcfc) != 0x11111234)
            continue;
        out32(0xcf8, 0x80000010 | slot << 11);
        return in32(0xcfc) & ~15u;
    }
    return 0;
}

static void draw(uint32_t fb, uint32_t frame)
{
    uint32_t to = fb, count, color = frame * 0x030201;

    for (unsigned y = 0; y < HEIGHT; y++, color += 0x010203) {
        count = WIDTH;
        __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(color) : "memory");
    }
}

static uint32_t ticks(void)
{
    out8(0x20, 0x20);
    return trap_count;
}

static void pit_and_pic(void)
{
    out8(0x20, 0x11); out8(0x21, PIC_BASE); out8(0x21, 4); out8(0x21, 1);
    out8(0x21, 0xfe);
    out8(0xa1, 0xff);
    out8(0x43, 0x34);
    out8(0x40, HZ30 & 0xff);
    out8(0x40, HZ30 >> 8);
    __asm__ volatile("sti");
}

void test(void)
{
    uint32_t fb = frame_buffer(), frame = 0, start;

    dispi(4, 0); dispi(1, WIDTH); dispi(2, HEIGHT); dispi(3, 32);
    dispi(4, 0x41);
    pit_and_pic();
    for (;;) {
        uint32_t flat = 0, paced = 0;

        for (start = ticks(); ticks() - start < SECONDS * 30; flat++)
            draw(fb, frame++);
        say("flat", flat);
        for (start = ticks(); ticks() - start < SECONDS * 30; paced++) {
            uint32_t before = ticks();

            draw(fb, frame++);
            while (ticks() == before)
                __asm__ volatile("hlt");
        }
        say("paced", paced);
    }
}
