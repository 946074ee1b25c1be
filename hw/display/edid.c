/*
 * edid: a monitor description block (VESA E-EDID 1.4) for the size a display prefers.
 */
#include "hw/display/vga.h"

#include <string.h>

typedef struct Blanking { unsigned h, v, h_front, h_sync, v_front, v_sync; } Blanking;

/* Detailed timing with CVT-like reduced blanking at 60 Hz. */
static void detailed_timing(uint8_t *d, unsigned w, unsigned h)
{
    Blanking b = { .h = 160, .v = 30, .h_front = 48, .h_sync = 32, .v_front = 3, .v_sync = 6 };
    unsigned clock = (uint64_t)(w + b.h) * (h + b.v) * 60 / 10000, mm_w = w * 254 / 960, mm_h = h * 254 / 960;

    st16_le(d, MIN(clock, 0xffff));
    d[2] = w;
    d[3] = b.h;
    d[4] = (w >> 8 & 15) << 4 | b.h >> 8;
    d[5] = h;
    d[6] = b.v;
    d[7] = (h >> 8 & 15) << 4 | b.v >> 8;
    d[8] = b.h_front;
    d[9] = b.h_sync;
    d[10] = b.v_front << 4 | b.v_sync;
    d[11] = 0;
    d[12] = mm_w;
    d[13] = mm_h;
    d[14] = (mm_w >> 8 & 15) << 4 | (mm_h >> 8 & 15);
    d[17] = 0x18;               /* separate digital sync */
}

static void text_descriptor(uint8_t *d, uint8_t tag, const char *text)
{
    memset(d, 0, 5);
    d[3] = tag;
    memset(d + 5, ' ', 13);
    for (unsigned i = 0; i < 13 && text[i]; i++)
        d[5 + i] = text[i];
    if (strlen(text) < 13)
        d[5 + strlen(text)] = '\n';
}

void edid_build(uint8_t out[128], unsigned w, unsigned h)
{
    static const struct { uint16_t w; uint8_t aspect; } standard[8] = {     /* 16:10, 4:3, 5:4, 16:9 = 0..3 */
        { 1920, 3 }, { 1600, 1 }, { 1680, 0 }, { 1400, 1 }, { 1280, 2 }, { 1440, 0 }, { 1280, 0 }, { 1280, 3 },
    };
    uint8_t sum = 0;

    memset(out, 0, 128);
    memset(out + 1, 0xff, 6);
    st16_be(out + 8, ('Q' - 64) << 10 | ('R' - 64) << 5 | ('N' - 64));      /* manufacturer QRN */
    st16_le(out + 10, 1);
    out[16] = 1;                /* week, year 2024, EDID 1.4 */
    out[17] = 34;
    out[18] = 1;
    out[19] = 4;
    out[20] = 0xa5;             /* digital, 8 bits a colour, DisplayPort */
    out[21] = MIN(w * 254 / 9600, 255);
    out[22] = MIN(h * 254 / 9600, 255);
    out[23] = 120;              /* gamma 2.2 */
    out[24] = 0x06;             /* sRGB, preferred timing is native */
    memcpy(out + 25, (const uint8_t[]){ 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 }, 10);
    out[35] = 0x21;             /* 640x480, 800x600 at 60 Hz */
    out[36] = 0x08;             /* 1024x768 at 60 Hz */
    for (unsigned i = 0; i < 8; i++) {
        out[38 + 2 * i] = standard[i].w / 8 - 31;
        out[39 + 2 * i] = standard[i].aspect << 6;
    }
    detailed_timing(out + 54, w, h);
    text_descriptor(out + 72, 0xfc, "Quern Monitor");
    text_descriptor(out + 90, 0xff, "1");
    out[108 + 3] = 0xfd;        /* range limits: 50-125 Hz, 30-160 kHz, 850 MHz */
    memcpy(out + 113, (const uint8_t[]){ 50, 125, 30, 160, 85, 0x01, '\n', ' ', ' ', ' ', ' ', ' ', ' ' }, 13);
    for (unsigned i = 0; i < 127; i++)
        sum += out[i];
    out[127] = -sum;
}
