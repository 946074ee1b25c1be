/*
 * ps2_keyboard: a 105-key keyboard with scan code sets 1, 2 and 3, LEDs and typematic repeat.
 *
 * IBM PS/2 Hardware Interface Technical Reference (keyboard). Repeats are made here, at the rate the
 * guest set, so repeated presses from a window system are ignored. Left out: the extra shift codes
 * around the grey navigation keys while Num Lock is on.
 */
#include "hw/input/ps2.h"

#include <string.h>

enum { ACK = 0xfa, NAK = 0xfe, BAT_OK = 0xaa, ECHO = 0xee };
enum { CMD_LEDS = 0xed, CMD_ECHO = 0xee, CMD_SET = 0xf0, CMD_ID = 0xf2, CMD_RATE = 0xf3, CMD_ENABLE = 0xf4,
       CMD_DEFAULT_OFF = 0xf5, CMD_DEFAULT = 0xf6, CMD_ALL_REPEAT = 0xf7, CMD_ALL_MAKE_BREAK = 0xf8,
       CMD_ALL_MAKE = 0xf9, CMD_ALL_BOTH = 0xfa, CMD_KEY_REPEAT = 0xfb, CMD_KEY_MAKE_BREAK = 0xfc,
       CMD_KEY_MAKE = 0xfd, CMD_RESEND = 0xfe, CMD_RESET = 0xff };
enum { RATE_DEFAULT = 0x2b, SEQUENCE_MAX = 8 };

static bool bit(const uint8_t *map, unsigned n) { return map[n / 8] >> n % 8 & 1; }
static void put_bit(uint8_t *map, unsigned n, bool on)
{
    map[n / 8] = (map[n / 8] & ~(1 << n % 8)) | on << n % 8;
}
static bool held(const Ps2Keyboard *k, KeyCode a, KeyCode b)
{
    return bit(k->guest_down, a) || bit(k->guest_down, b);
}

/* ---- scan codes ---- */

typedef struct Codes { uint8_t b[SEQUENCE_MAX * 2]; unsigned n; } Codes;

static void add(Codes *c, const char *bytes, unsigned n)
{
    memcpy(c->b + c->n, bytes, n);
    c->n += n;
}

static void special_key(const Ps2Keyboard *k, KeyCode key, bool down, Codes *c)
{
    bool set1 = k->set == 1, ctrl = held(k, KEY_CTRL, KEY_CTRL_R), alt = held(k, KEY_ALT, KEY_ALT_R);

    if (key == KEY_PAUSE) {
        if (!down)
            return;
        if (ctrl)
            set1 ? add(c, "\xe0\x46\xe0\xc6", 4) : add(c, "\xe0\x7e\xe0\xf0\x7e", 5);
        else
            set1 ? add(c, "\xe1\x1d\x45\xe1\x9d\xc5", 6) : add(c, "\xe1\x14\x77\xe1\xf0\x14\xf0\x77", 8);
    } else if (alt) {                   /* Alt+Print is system request */
        if (set1)
            add(c, down ? "\x54" : "\xd4", 1);
        else
            down ? add(c, "\x84", 1) : add(c, "\xf0\x84", 2);
    } else if (ctrl || held(k, KEY_SHIFT, KEY_SHIFT_R)) {
        if (set1)
            add(c, down ? "\xe0\x37" : "\xe0\xb7", 2);
        else
            down ? add(c, "\xe0\x7c", 2) : add(c, "\xe0\xf0\x7c", 3);
    } else if (set1) {
        add(c, down ? "\xe0\x2a\xe0\x37" : "\xe0\xb7\xe0\xaa", 4);
    } else {
        down ? add(c, "\xe0\x12\xe0\x7c", 4) : add(c, "\xe0\xf0\x7c\xe0\xf0\x12", 6);
    }
}

static Codes scan_codes(const Ps2Keyboard *k, KeyCode key, bool down)
{
    const KeyInfo *info = key_info(key);
    Codes c = { .n = 0 };

    if (k->set == 3) {
        if (!info->set3 || (!down && !k->set3_break))
            return c;
        if (!down)
            c.b[c.n++] = 0xf0;
        c.b[c.n++] = info->set3;
        return c;
    }
    if (key == KEY_PAUSE || key == KEY_PRINT) {
        special_key(k, key, down, &c);
        return c;
    }
    if (!info->set1 || (k->set == 2 && !info->set2))
        return c;
    if (info->set1 & 0x80)
        c.b[c.n++] = 0xe0;
    if (k->set == 2 && !down)
        c.b[c.n++] = 0xf0;
    c.b[c.n++] = k->set == 2 ? info->set2 : (info->set1 & 0x7f) | (down ? 0 : 0x80);
    return c;
}

/* ---- events ---- */

static void tell(Ps2Keyboard *k)
{
    timer_set(&k->repeat, k->repeat_at);
    k->changed(k->opaque);
}

/* Queues a whole sequence or nothing. */
static bool send_key(Ps2Keyboard *k, KeyCode key, bool down)
{
    Codes c = scan_codes(k, key, down);

    if (k->q.count + c.n > PS2_EVENTS)
        return false;
    for (unsigned i = 0; i < c.n; i++)
        ps2_queue_put(&k->q, c.b[i]);
    put_bit(k->guest_down, key, down);
    return true;
}

/* Releases that found no room when they happened. */
static void send_owed_releases(Ps2Keyboard *k)
{
    for (unsigned key = 1; k->scanning && key < KEY_CODES; key++)
        if (bit(k->guest_down, key) && !bit(k->host_down, key) && !send_key(k, key, false))
            return;
}

static int64_t repeat_delay_ns(const Ps2Keyboard *k)
{
    return ((k->rate >> 5 & 3) + 1) * 250 * NS_PER_MS;
}

static int64_t repeat_period_ns(const Ps2Keyboard *k)
{
    return (8 + (k->rate & 7)) * (1 << (k->rate >> 3 & 3)) * 4167 * NS_PER_US;
}

static void kbd_event(void *opaque, KeyCode key, bool down)
{
    Ps2Keyboard *k = opaque;

    if (down && bit(k->host_down, key))
        return;                         /* a window system's repeat */
    put_bit(k->host_down, key, down);
    if (!k->scanning)
        return;
    if (down) {
        if (send_key(k, key, true) && key != KEY_PAUSE && (k->set != 3 || k->set3_repeat)) {
            k->repeat_key = key;
            k->repeat_at = clock_ns(k->clocks, CLOCK_VM) + repeat_delay_ns(k);
        }
    } else {
        if (k->repeat_key == key) {
            k->repeat_key = KEY_NONE;
            k->repeat_at = 0;
        }
        if (bit(k->guest_down, key))
            send_key(k, key, false);
    }
    tell(k);
}

static void kbd_repeat(void *opaque)
{
    Ps2Keyboard *k = opaque;

    k->repeat_at = 0;
    if (k->repeat_key == KEY_NONE || !k->scanning)
        return;
    if (!k->q.count)                    /* a guest that does not keep up gets no backlog of repeats */
        send_key(k, k->repeat_key, true);
    k->repeat_at = clock_ns(k->clocks, CLOCK_VM) + repeat_period_ns(k);
    tell(k);
}

/* ---- commands ---- */

static void set_leds(Ps2Keyboard *k, uint8_t leds)
{
    k->leds = leds & 7;
    input_set_leds(k->input, leds & 1, leds & 2, leds & 4);
}

static void set_defaults(Ps2Keyboard *k)
{
    k->set = 2;
    k->set3_break = k->set3_repeat = true;
    k->rate = RATE_DEFAULT;
    k->repeat_key = KEY_NONE;
    k->repeat_at = 0;
}

static void flush(Ps2Keyboard *k)
{
    k->q.count = 0;
}

static void parameter(Ps2Keyboard *k, uint8_t val)
{
    uint8_t cmd = k->command;

    k->command = 0;
    switch (cmd) {
    case CMD_LEDS:
        set_leds(k, val);
        break;
    case CMD_RATE:
        k->rate = val & 0x7f;
        break;
    case CMD_SET:
        if (val > 3) {
            ps2_queue_put(&k->q, NAK);
            return;
        }
        ps2_queue_put(&k->q, ACK);
        if (val)
            k->set = val;
        else
            ps2_queue_put(&k->q, k->set);
        return;
    default:                            /* set 3 key lists go on until the next command */
        k->command = cmd;
        break;
    }
    ps2_queue_put(&k->q, ACK);
}

static void command(Ps2Keyboard *k, uint8_t cmd)
{
    k->command = 0;
    switch (cmd) {
    case CMD_LEDS: case CMD_RATE: case CMD_SET: case CMD_KEY_REPEAT: case CMD_KEY_MAKE_BREAK: case CMD_KEY_MAKE:
        k->command = cmd;
        break;
    case CMD_ECHO:
        ps2_queue_put(&k->q, ECHO);
        return;
    case CMD_ID:
        ps2_queue_put(&k->q, ACK);
        ps2_queue_put(&k->q, 0xab);
        ps2_queue_put(&k->q, 0x83);
        return;
    case CMD_ENABLE:
        flush(k);
        k->scanning = true;
        break;
    case CMD_DEFAULT_OFF:
    case CMD_DEFAULT:
        flush(k);
        set_defaults(k);
        k->scanning = cmd == CMD_DEFAULT;
        break;
    case CMD_ALL_REPEAT: case CMD_ALL_MAKE_BREAK: case CMD_ALL_MAKE: case CMD_ALL_BOTH:
        k->set3_break = cmd == CMD_ALL_MAKE_BREAK || cmd == CMD_ALL_BOTH;
        k->set3_repeat = cmd == CMD_ALL_REPEAT || cmd == CMD_ALL_BOTH;
        break;
    case CMD_RESEND:
        ps2_queue_put(&k->q, k->q.last);
        return;
    case CMD_RESET:
        flush(k);
        set_defaults(k);
        set_leds(k, 0);
        k->scanning = true;
        ps2_queue_put(&k->q, ACK);
        ps2_queue_put(&k->q, BAT_OK);
        return;
    default:
        ps2_queue_put(&k->q, NAK);
        return;
    }
    ps2_queue_put(&k->q, ACK);
}

void ps2_keyboard_write(Ps2Keyboard *k, uint8_t val)
{
    /* a key list (fb-fd) ends with the next command; other parameters may have any value */
    if (k->command && !(k->command >= CMD_KEY_REPEAT && val >= 0xed))
        parameter(k, val);
    else
        command(k, val);
    tell(k);
}

uint8_t ps2_keyboard_read(Ps2Keyboard *k)
{
    uint8_t b = ps2_queue_get(&k->q);

    send_owed_releases(k);
    return b;
}

/* ---- life ---- */

static const InputOps kbd_input = { .name = "PS/2 Keyboard", .mask = INPUT_KEY, .key = kbd_event };

void ps2_keyboard_init(Ps2Keyboard *k, Device *dev, void (*changed)(void *opaque), void *opaque)
{
    k->changed = changed;
    k->opaque = opaque;
    k->clocks = dev->machine->clocks;
    device_timer_init(dev, &k->repeat, kbd_repeat);
    k->repeat.opaque = k;
    k->input = input_add(device_ui(dev), &kbd_input, k);
}

void ps2_keyboard_cleanup(Ps2Keyboard *k)
{
    timer_del(&k->repeat);
    input_del(k->input);
}

void ps2_keyboard_reset(Ps2Keyboard *k)
{
    memset(&k->q, 0, sizeof k->q);
    memset(k->guest_down, 0, sizeof k->guest_down);
    k->command = 0;
    k->scanning = true;
    set_defaults(k);
    set_leds(k, 0);
    timer_set(&k->repeat, 0);
    input_activate(k->input);
}

static bool kbd_loaded(void *opaque, GError **err)
{
    Ps2Keyboard *k = opaque;

    if (k->set < 1 || k->repeat_at < 0)
        return err_set(err, "impossible keyboard state");
    set_leds(k, k->leds);
    timer_set(&k->repeat, k->repeat_at);
    return true;
}

const StateDesc ps2_queue_state = {
    .name = "ps2-queue", .version = 1,
    .fields = (const StateField[]) {
        STATE_BUF(Ps2Queue, data), STATE_UMAX(Ps2Queue, head, PS2_RING - 1), STATE_UMAX(Ps2Queue, count, PS2_RING),
        STATE_U8(Ps2Queue, last), STATE_END },
};
const StateDesc ps2_keyboard_state = {
    .name = "ps2-keyboard", .version = 1, .loaded = kbd_loaded,
    .fields = (const StateField[]) {
        STATE_STRUCT(Ps2Keyboard, q, &ps2_queue_state), STATE_U8(Ps2Keyboard, command), STATE_UMAX(Ps2Keyboard, set, 3),
        STATE_B(Ps2Keyboard, scanning), STATE_B(Ps2Keyboard, set3_break), STATE_B(Ps2Keyboard, set3_repeat),
        STATE_UMAX(Ps2Keyboard, leds, 7), STATE_UMAX(Ps2Keyboard, rate, 0x7f), STATE_BUF(Ps2Keyboard, guest_down),
        STATE_UMAX(Ps2Keyboard, repeat_key, KEY_CODES - 1), STATE_I64(Ps2Keyboard, repeat_at), STATE_END },
};
