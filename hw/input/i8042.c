/*
 * i8042: the keyboard controller: ports 60h and 64h, keyboard and mouse interrupts, A20, reset.
 *
 * IBM PS/2 Hardware Interface Technical Reference (keyboard and auxiliary device controller). Bytes
 * pass at once; the interface never times out. docs/hw/i8042.md. Machine lock.
 */
#include "hw/core/wiring.h"
#include "hw/input/ps2.h"
#include "hw/isa/isa.h"

#include <string.h>

enum { ST_OBF = 1, ST_IBF = 2, ST_SYS = 4, ST_CMD = 8, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
enum { MODE_KBD_INT = 1, MODE_AUX_INT = 2, MODE_SYS = 4, MODE_KBD_OFF = 0x10, MODE_AUX_OFF = 0x20, MODE_XLATE = 0x40 };
enum { OUT_RESET = 1, OUT_A20 = 2, OUT_KBD_FULL = 0x10, OUT_AUX_FULL = 0x20, OUT_ONES = 0xcc };
enum { FROM_NONE, FROM_KBD, FROM_AUX, FROM_CTL };
enum { REPLIES = 4, REPLY_AUX = 0x100 };

typedef struct I8042 {
    Device dev;
    Region data_io, command_io;
    IrqLine kbd_irq, aux_irq;
    Ps2Keyboard kbd;
    Ps2Mouse mouse;
    uint8_t mode;               /* state: the command byte */
    uint8_t outport;
    uint8_t ram[32];            /* internal RAM; byte 0 is mode */
    uint8_t data;               /* output buffer */
    uint8_t from;               /* FROM_*: who filled it; NONE: empty */
    uint8_t write_cmd;          /* command waiting for a byte at port 60 */
    bool last_was_command;
    bool xlate_break;           /* F0 seen: the next code is a release */
    uint16_t reply[REPLIES];    /* answers of the controller, to be read before device data */
    uint8_t replies;
} I8042;

extern const DeviceClass i8042_class;

/* Set 2 to set 1, as the controller's ROM does it. */
static uint8_t translate(uint8_t code)
{
    static const struct { uint8_t from, to; } extra[] = {
        { 0x00, 0xff }, { 0x02, 0x41 }, { 0x08, 0x64 }, { 0x10, 0x65 }, { 0x18, 0x66 }, { 0x20, 0x67 },
        { 0x28, 0x68 }, { 0x30, 0x69 }, { 0x38, 0x6a }, { 0x40, 0x6b }, { 0x48, 0x6c }, { 0x50, 0x6d },
        { 0x57, 0x6e }, { 0x5f, 0x76 }, { 0x7f, 0x80 },
    };

    for (KeyCode k = 1; k < KEY_CODES; k++)
        if (key_info(k)->set2 == code && key_info(k)->set1 && k != KEY_PAUSE)
            return key_info(k)->set1 & 0x7f;
    for (unsigned i = 0; i < ARRAY_LEN(extra); i++)
        if (extra[i].from == code)
            return extra[i].to;
    return code;
}

static void i8042_update(I8042 *s)
{
    bool kbd = s->from == FROM_KBD || (s->from == FROM_CTL && !(s->outport & OUT_AUX_FULL));
    bool aux = s->from == FROM_AUX || (s->from == FROM_CTL && (s->outport & OUT_AUX_FULL));

    irq_set(&s->kbd_irq, kbd && (s->mode & MODE_KBD_INT));
    irq_set(&s->aux_irq, aux && (s->mode & MODE_AUX_INT));
}

/* A byte of the keyboard on its way to the buffer; false: it was the F0 the translation swallows. */
static bool keyboard_byte(I8042 *s, uint8_t *out)
{
    uint8_t b = ps2_keyboard_read(&s->kbd);

    if (!(s->mode & MODE_XLATE)) {
        *out = b;
        return true;
    }
    if (b == 0xf0) {
        s->xlate_break = true;
        return false;
    }
    *out = translate(b) | (s->xlate_break ? 0x80 : 0);
    s->xlate_break = false;
    return true;
}

static void fill(I8042 *s, uint8_t data, uint8_t from, bool aux)
{
    s->data = data;
    s->from = from;
    s->outport = (s->outport & ~(OUT_KBD_FULL | OUT_AUX_FULL)) | (aux ? OUT_AUX_FULL : OUT_KBD_FULL);
}

/* Moves the next byte into the empty output buffer: replies first, then keyboard, then mouse. */
static void next_byte(I8042 *s)
{
    uint8_t b;

    if (s->from == FROM_NONE && s->replies) {
        fill(s, s->reply[0], FROM_CTL, s->reply[0] & REPLY_AUX);
        memmove(s->reply, s->reply + 1, --s->replies * sizeof *s->reply);
    }
    while (s->from == FROM_NONE && s->kbd.q.count && !(s->mode & MODE_KBD_OFF))
        if (keyboard_byte(s, &b))
            fill(s, b, FROM_KBD, false);
    if (s->from == FROM_NONE && s->mouse.q.count && !(s->mode & MODE_AUX_OFF))
        fill(s, ps2_mouse_read(&s->mouse), FROM_AUX, true);
    i8042_update(s);
}

static void device_changed(void *opaque)
{
    next_byte(opaque);
}

static void reply(I8042 *s, uint8_t b, bool aux)
{
    if (s->replies < REPLIES)
        s->reply[s->replies++] = b | (aux ? REPLY_AUX : 0);
    next_byte(s);
}

static void write_outport(I8042 *s, uint8_t val)
{
    s->outport = (s->outport & (OUT_KBD_FULL | OUT_AUX_FULL)) | (val & ~(OUT_KBD_FULL | OUT_AUX_FULL));
    irq_set(&board_get(s->dev.machine)->a20, val & OUT_A20);
    if (!(val & OUT_RESET))
        machine_request_reset(s->dev.machine, CAUSE_GUEST_RESET);
}

static void set_mode(I8042 *s, uint8_t val)
{
    s->mode = s->ram[0] = val;
    next_byte(s);
}

/* ---- ports ---- */

static uint8_t status(const I8042 *s)
{
    return (s->from ? ST_OBF : 0) | (s->mode & MODE_SYS) | (s->last_was_command ? ST_CMD : 0) | ST_UNLOCKED |
           (s->from && (s->outport & OUT_AUX_FULL) ? ST_AUX : 0);
}

static uint64_t command_read(void *opaque, uint64_t off, unsigned size)
{
    return status(opaque);
}

static void command_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    I8042 *s = opaque;

    s->last_was_command = true;
    s->write_cmd = 0;
    if (val >= 0x20 && val < 0x40) {
        reply(s, val == 0x20 ? s->mode : s->ram[val & 31], false);
        return;
    }
    if (val >= 0x60 && val < 0x80) {
        s->write_cmd = val;
        return;
    }
    switch (val) {
    case 0xa7:
        set_mode(s, s->mode | MODE_AUX_OFF);
        break;
    case 0xa8:
        set_mode(s, s->mode & ~MODE_AUX_OFF);
        break;
    case 0xa9: case 0xab:               /* interface tests: no error */
        reply(s, 0, false);
        break;
    case 0xaa:
        s->mode |= MODE_SYS;
        reply(s, 0x55, false);
        break;
    case 0xad:
        set_mode(s, s->mode | MODE_KBD_OFF);
        break;
    case 0xae:
        set_mode(s, s->mode & ~MODE_KBD_OFF);
        break;
    case 0xc0:                          /* input port: keyboard not locked */
        reply(s, 0x80, false);
        break;
    case 0xd0:
        reply(s, s->outport | OUT_ONES, false);
        break;
    case 0xd1: case 0xd2: case 0xd3: case 0xd4:
        s->write_cmd = val;
        break;
    case 0xdd: case 0xdf:
        write_outport(s, val == 0xdf ? s->outport | OUT_A20 : s->outport & ~OUT_A20);
        break;
    default:
        if (val >= 0xf0 && !(val & 1))  /* pulse of output bit 0 */
            machine_request_reset(s->dev.machine, CAUSE_GUEST_RESET);
        else if (val < 0xf0)
            log_guest("i8042: unknown command %#x\n", (unsigned)val);
        break;
    }
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    I8042 *s = opaque;
    uint8_t b = s->data;

    s->from = FROM_NONE;
    s->outport &= ~(OUT_KBD_FULL | OUT_AUX_FULL);
    i8042_update(s);                    /* the line falls, so that the next byte makes an edge */
    next_byte(s);
    return b;
}

static void data_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    I8042 *s = opaque;
    uint8_t cmd = s->write_cmd;

    s->last_was_command = false;
    s->write_cmd = 0;
    if (cmd >= 0x60 && cmd < 0x80) {
        if (cmd == 0x60)
            set_mode(s, val);
        else
            s->ram[cmd & 31] = val;
        return;
    }
    switch (cmd) {
    case 0xd1:
        write_outport(s, val);
        break;
    case 0xd2:
        reply(s, val, false);
        break;
    case 0xd3:
        reply(s, val, true);
        break;
    case 0xd4:
        s->mode &= ~MODE_AUX_OFF;       /* talking to the mouse opens its line */
        ps2_mouse_write(&s->mouse, val);
        break;
    default:
        s->mode &= ~MODE_KBD_OFF;
        ps2_keyboard_write(&s->kbd, val);
        break;
    }
}

static const IoOps data_ops = { data_read, data_write, .min = 1, .max = 1 };
static const IoOps command_ops = { command_read, command_write, .min = 1, .max = 1 };

/* ---- life ---- */

static void i8042_reset(Device *dev)
{
    I8042 *s = container_of(dev, I8042, dev);

    s->mode = MODE_KBD_INT | MODE_AUX_INT;
    s->outport = OUT_RESET | OUT_A20 | OUT_ONES;
    memset(s->ram, 0, sizeof s->ram);
    memset(s->reply, 0, sizeof s->reply);
    s->data = s->from = s->write_cmd = s->replies = 0;
    s->last_was_command = s->xlate_break = false;
    ps2_keyboard_reset(&s->kbd);
    ps2_mouse_reset(&s->mouse);
    i8042_update(s);
}

static bool i8042_realize(Device *dev, GError **err)
{
    I8042 *s = container_of(dev, I8042, dev);

    if (!isa_claim_irq(dev, &s->kbd_irq, 1, err) || !isa_claim_irq(dev, &s->aux_irq, 12, err) ||
        !isa_attach_pio(dev, &s->data_io, "i8042-data", &data_ops, 0x60, 1, err))
        return false;
    if (!isa_attach_pio(dev, &s->command_io, "i8042-command", &command_ops, 0x64, 1, err)) {
        region_destroy(&s->data_io);
        return false;
    }
    ps2_keyboard_init(&s->kbd, dev, device_changed, s);
    ps2_mouse_init(&s->mouse, dev, device_changed, s);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042 *s = container_of(dev, I8042, dev);

    ps2_keyboard_cleanup(&s->kbd);
    ps2_mouse_cleanup(&s->mouse);
    region_destroy(&s->data_io);
    region_destroy(&s->command_io);
}

static bool i8042_loaded(void *opaque, GError **err)
{
    I8042 *s = opaque;

    i8042_update(s);
    return true;
}

const DeviceClass i8042_class = {
    .name = "i8042", .desc = "keyboard controller with PS/2 keyboard and mouse", .category = DEVCAT_INPUT,
    .bus = BUS_ISA, .size = sizeof(I8042), .internal = true,
    .realize = i8042_realize, .unrealize = i8042_unrealize, .reset = i8042_reset,
    .state = &(const StateDesc) { .version = 1, .loaded = i8042_loaded, .fields = (const StateField[]) {
        STATE_STRUCT(I8042, kbd, &ps2_keyboard_state), STATE_STRUCT(I8042, mouse, &ps2_mouse_state),
        STATE_U8(I8042, mode), STATE_U8(I8042, outport), STATE_BUF(I8042, ram), STATE_U8(I8042, data),
        STATE_UMAX(I8042, from, FROM_CTL), STATE_U8(I8042, write_cmd), STATE_B(I8042, last_was_command),
        STATE_B(I8042, xlate_break), STATE_UARRAY(I8042, reply), STATE_UMAX(I8042, replies, REPLIES), STATE_END } },
};
