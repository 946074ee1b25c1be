/*
 * ps2_mouse: a three-button mouse that can become an IntelliMouse (wheel) or Explorer (five buttons).
 *
 * IBM PS/2 Hardware Interface Technical Reference (auxiliary device); wheel reports after Microsoft's
 * IntelliMouse. Packets are queued as room comes; movement meanwhile adds up.
 */
#include "hw/input/ps2.h"

#include <string.h>

enum { ACK = 0xfa, NAK = 0xfe, BAT_OK = 0xaa };
enum { CMD_SCALE1 = 0xe6, CMD_SCALE2 = 0xe7, CMD_RESOLUTION = 0xe8, CMD_STATUS = 0xe9, CMD_STREAM = 0xea,
       CMD_POLL = 0xeb, CMD_WRAP_OFF = 0xec, CMD_WRAP = 0xee, CMD_REMOTE = 0xf0, CMD_ID = 0xf2, CMD_RATE = 0xf3,
       CMD_ENABLE = 0xf4, CMD_DISABLE = 0xf5, CMD_DEFAULT = 0xf6, CMD_RESEND = 0xfe, CMD_RESET = 0xff };
enum { MOVE_MAX = 4096, PACKETS_A_TURN = 16 };

static bool something_to_tell(const Ps2Mouse *m)
{
    return m->dx || m->dy || (m->dz && m->id) || m->buttons != m->sent_buttons;
}

static void put_packet(Ps2Mouse *m)
{
    int dx = CLAMP(m->dx, -255, 255), dy = CLAMP(m->dy, -255, 255), dz = CLAMP(m->dz, -7, 7);

    m->dx -= dx;
    m->dy -= dy;
    m->dz -= dz;
    ps2_queue_put(&m->q, (dy < 0) << 5 | (dx < 0) << 4 | 8 | (m->buttons & 7));
    ps2_queue_put(&m->q, dx);
    ps2_queue_put(&m->q, dy);
    if (m->id == 3)
        ps2_queue_put(&m->q, dz);
    else if (m->id == 4)
        ps2_queue_put(&m->q, (dz & 15) | (m->buttons & 0x18) << 1);
    m->sent_buttons = m->buttons;
}

static void send_packets(Ps2Mouse *m)
{
    if (!m->reporting || m->remote || m->wrap)
        return;
    for (int i = 0; i < PACKETS_A_TURN && something_to_tell(m); i++) {
        if (m->q.count + (m->id ? 4 : 3) > PS2_EVENTS)
            return;
        put_packet(m);
    }
}

/* ---- events ---- */

static void mouse_rel(void *opaque, int dx, int dy)
{
    Ps2Mouse *m = opaque;

    if (!m->reporting)
        return;
    m->dx = CLAMP(m->dx + CLAMP(dx, -MOVE_MAX, MOVE_MAX), -MOVE_MAX, MOVE_MAX);
    m->dy = CLAMP(m->dy - CLAMP(dy, -MOVE_MAX, MOVE_MAX), -MOVE_MAX, MOVE_MAX);
}

static void mouse_button(void *opaque, PointerButton b, bool down)
{
    static const uint8_t bits[BUTTONS] = { [BUTTON_LEFT] = 1, [BUTTON_RIGHT] = 2, [BUTTON_MIDDLE] = 4,
                                           [BUTTON_SIDE] = 8, [BUTTON_EXTRA] = 16 };
    Ps2Mouse *m = opaque;

    m->buttons = down ? m->buttons | bits[b] : m->buttons & ~bits[b];
    send_packets(m);            /* a click shorter than a group of events must not vanish */
    m->changed(m->opaque);
}

static void mouse_wheel(void *opaque, int dy, int dx)
{
    Ps2Mouse *m = opaque;

    if (m->reporting)
        m->dz = CLAMP(m->dz - CLAMP(dy, -64, 64), -64, 64);
}

static void mouse_sync(void *opaque)
{
    Ps2Mouse *m = opaque;

    send_packets(m);
    m->changed(m->opaque);
}

/* ---- commands ---- */

static void set_defaults(Ps2Mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->reporting = m->scale2 = m->remote = m->wrap = false;
    m->dx = m->dy = m->dz = 0;
}

/* The knock: 200, 100, 80 makes a wheel mouse; 200, 200, 80 five buttons too. */
static void set_rate(Ps2Mouse *m, uint8_t rate)
{
    m->rate = rate;
    m->rates[0] = m->rates[1];
    m->rates[1] = m->rates[2];
    m->rates[2] = rate;
    if (m->rates[0] == 200 && m->rates[1] == 100 && rate == 80 && m->id == 0)
        m->id = 3;
    else if (m->rates[0] == 200 && m->rates[1] == 200 && rate == 80)
        m->id = 4;
}

static void put_status(Ps2Mouse *m)
{
    ps2_queue_put(&m->q, m->remote << 6 | m->reporting << 5 | m->scale2 << 4 | (m->buttons & 1) << 2 |
                         (m->buttons & 4) >> 1 | (m->buttons & 2) >> 1);
    ps2_queue_put(&m->q, m->resolution);
    ps2_queue_put(&m->q, m->rate);
}

static void command(Ps2Mouse *m, uint8_t cmd)
{
    if (cmd == CMD_RESEND) {
        ps2_queue_put(&m->q, m->q.last);
        return;
    }
    if (cmd < CMD_SCALE1 || cmd == 0xed || cmd == 0xef || cmd == 0xf1 || (cmd > CMD_DEFAULT && cmd < CMD_RESEND)) {
        ps2_queue_put(&m->q, NAK);
        return;
    }
    m->q.count = 0;             /* a command throws away what was waiting */
    ps2_queue_put(&m->q, ACK);
    switch (cmd) {
    case CMD_SCALE1: case CMD_SCALE2:
        m->scale2 = cmd == CMD_SCALE2;
        break;
    case CMD_RESOLUTION: case CMD_RATE:
        m->command = cmd;
        break;
    case CMD_STATUS:
        put_status(m);
        break;
    case CMD_STREAM:
        m->remote = false;
        break;
    case CMD_POLL:
        put_packet(m);
        break;
    case CMD_WRAP: case CMD_WRAP_OFF:
        m->wrap = cmd == CMD_WRAP;
        break;
    case CMD_REMOTE:
        m->remote = true;
        break;
    case CMD_ID:
        ps2_queue_put(&m->q, m->id);
        break;
    case CMD_ENABLE: case CMD_DISABLE:
        m->reporting = cmd == CMD_ENABLE;
        break;
    case CMD_DEFAULT:
        set_defaults(m);
        break;
    case CMD_RESET:
        set_defaults(m);
        m->id = 0;
        ps2_queue_put(&m->q, BAT_OK);
        ps2_queue_put(&m->q, 0);
        break;
    }
}

void ps2_mouse_write(Ps2Mouse *m, uint8_t val)
{
    if (m->wrap && val != CMD_RESET && val != CMD_WRAP_OFF) {
        ps2_queue_put(&m->q, val);
    } else if (m->command) {
        if (m->command == CMD_RATE)
            set_rate(m, val);
        else
            m->resolution = val & 3;
        m->command = 0;
        ps2_queue_put(&m->q, ACK);
    } else {
        command(m, val);
    }
    m->changed(m->opaque);
}

uint8_t ps2_mouse_read(Ps2Mouse *m)
{
    uint8_t b = ps2_queue_get(&m->q);

    send_packets(m);
    return b;
}

/* ---- life ---- */

static const InputOps mouse_input = {
    .name = "PS/2 Mouse", .mask = INPUT_REL | INPUT_BUTTON, .rel = mouse_rel, .button = mouse_button,
    .wheel = mouse_wheel, .sync = mouse_sync,
};

void ps2_mouse_init(Ps2Mouse *m, Device *dev, void (*changed)(void *opaque), void *opaque)
{
    m->changed = changed;
    m->opaque = opaque;
    m->input = input_add(device_ui(dev), &mouse_input, m);
}

void ps2_mouse_cleanup(Ps2Mouse *m)
{
    input_del(m->input);
}

void ps2_mouse_reset(Ps2Mouse *m)
{
    memset(&m->q, 0, sizeof m->q);
    memset(m->rates, 0, sizeof m->rates);
    m->command = m->id = m->buttons = m->sent_buttons = 0;
    set_defaults(m);
    input_activate(m->input);
}

static bool mouse_loaded(void *opaque, GError **err)
{
    Ps2Mouse *m = opaque;

    m->dx = CLAMP(m->dx, -MOVE_MAX, MOVE_MAX);
    m->dy = CLAMP(m->dy, -MOVE_MAX, MOVE_MAX);
    m->dz = CLAMP(m->dz, -64, 64);
    if (m->id != 0 && m->id != 3 && m->id != 4)
        return err_set(err, "impossible mouse state");
    return true;
}

const StateDesc ps2_mouse_state = {
    .name = "ps2-mouse", .version = 1, .loaded = mouse_loaded,
    .fields = (const StateField[]) {
        STATE_STRUCT(Ps2Mouse, q, &ps2_queue_state), STATE_U8(Ps2Mouse, command), STATE_U8(Ps2Mouse, id),
        STATE_U8(Ps2Mouse, rate), STATE_UMAX(Ps2Mouse, resolution, 3), STATE_BUF(Ps2Mouse, rates),
        STATE_B(Ps2Mouse, reporting), STATE_B(Ps2Mouse, scale2), STATE_B(Ps2Mouse, remote), STATE_B(Ps2Mouse, wrap),
        STATE_UMAX(Ps2Mouse, buttons, 31), STATE_UMAX(Ps2Mouse, sent_buttons, 31), STATE_I32(Ps2Mouse, dx),
        STATE_I32(Ps2Mouse, dy), STATE_I32(Ps2Mouse, dz), STATE_END },
};
