/*
 * ps2: the chip cores of a PS/2 keyboard and a PS/2 mouse: what they say on their wire.
 *
 * Embedded in the i8042. Output waits in a ring of fixed size; what does not fit is dropped, but a
 * key the guest saw pressed is always released later. Machine lock. docs/hw/i8042.md.
 */
#ifndef HW_INPUT_PS2_H
#define HW_INPUT_PS2_H

#include "hw/display/console.h"

enum { PS2_RING = 32, PS2_EVENTS = 16 };       /* bytes in all; bytes that events may fill */

typedef struct Ps2Queue {
    uint8_t data[PS2_RING];
    uint8_t head, count;
    uint8_t last;               /* for "resend" */
} Ps2Queue;

typedef struct Ps2Keyboard {
    InputHandler *input;
    Clocks *clocks;
    Timer repeat;
    void (*changed)(void *opaque);      /* the queue grew */
    void *opaque;
    Ps2Queue q;                         /* state */
    uint8_t command;                    /* waits for its parameter; 0: none */
    uint8_t set;                        /* 1, 2, 3 */
    bool scanning;
    bool set3_break, set3_repeat;
    uint8_t leds, rate;                 /* as written by ED and F3 */
    uint8_t guest_down[(KEY_CODES + 7) / 8];    /* keys the guest was told are down */
    uint16_t repeat_key;                /* KEY_NONE: none */
    int64_t repeat_at;
    uint8_t host_down[(KEY_CODES + 7) / 8];     /* keys that are down; not saved: they are the host's */
} Ps2Keyboard;

typedef struct Ps2Mouse {
    InputHandler *input;
    void (*changed)(void *opaque);
    void *opaque;
    Ps2Queue q;                         /* state */
    uint8_t command;
    uint8_t id;                         /* 0 plain, 3 wheel, 4 five buttons */
    uint8_t rate, resolution;
    uint8_t rates[3];                   /* the last sample rates: they choose the id */
    bool reporting, scale2, remote, wrap;
    uint8_t buttons;                    /* bit 0 left, 1 right, 2 middle, 3 side, 4 extra */
    uint8_t sent_buttons;
    int32_t dx, dy, dz;                 /* moved, not yet told; dy up */
} Ps2Mouse;

extern const StateDesc ps2_keyboard_state, ps2_mouse_state;

void ps2_keyboard_init(Ps2Keyboard *k, Device *dev, void (*changed)(void *opaque), void *opaque);
void ps2_keyboard_cleanup(Ps2Keyboard *k);
void ps2_keyboard_reset(Ps2Keyboard *k);
void ps2_keyboard_write(Ps2Keyboard *k, uint8_t val);           /* a byte from the host controller */
uint8_t ps2_keyboard_read(Ps2Keyboard *k);                      /* takes the next byte; q.count > 0 */

void ps2_mouse_init(Ps2Mouse *m, Device *dev, void (*changed)(void *opaque), void *opaque);
void ps2_mouse_cleanup(Ps2Mouse *m);
void ps2_mouse_reset(Ps2Mouse *m);
void ps2_mouse_write(Ps2Mouse *m, uint8_t val);
uint8_t ps2_mouse_read(Ps2Mouse *m);

/* The ring; shared by both. */
extern const StateDesc ps2_queue_state;
static inline void ps2_queue_put(Ps2Queue *q, uint8_t b)
{
    if (q->count < PS2_RING)
        q->data[(q->head + q->count++) % PS2_RING] = b;
}
static inline uint8_t ps2_queue_get(Ps2Queue *q)
{
    if (!q->count)
        return q->last;
    q->last = q->data[q->head];
    q->head = (q->head + 1) % PS2_RING;
    q->count--;
    return q->last;
}

#endif
