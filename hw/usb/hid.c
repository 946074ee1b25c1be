/*
 * hid: USB keyboard, mouse and tablet (Device Class Definition for Human Interface Devices 1.11).
 *
 * Each event that changes a key or button becomes a report of its own, in a ring of fixed size, so that
 * short clicks survive slow polling; movements add up. The device takes input once the guest has
 * configured it; until then the PS/2 devices do. docs/hw/usb.md.
 */
#include "hw/display/console.h"
#include "hw/usb/usb.h"

#include <string.h>

enum { REPORT_MAX = 8, RING = 16, KEYS_HELD = 6, ROLL_OVER = 1 };
enum { HID_GET_REPORT = 1, HID_GET_IDLE, HID_GET_PROTOCOL, HID_SET_REPORT = 9, HID_SET_IDLE, HID_SET_PROTOCOL };
enum { DESC_HID = 0x21, DESC_REPORT = 0x22, STEP_MAX = 127 };
typedef enum { HID_KEYBOARD, HID_MOUSE, HID_TABLET } HidKind;

typedef struct HidReport { uint8_t data[REPORT_MAX]; } HidReport;

typedef struct UsbHid {
    UsbDevice usb;
    InputHandler *input;
    HidKind kind;
    uint8_t idle, protocol, leds;       /* state; protocol 1: report, 0: boot */
    uint8_t modifiers, held[KEYS_HELD], held_count;
    uint8_t buttons;
    int32_t dx, dy, dz;                 /* not told yet */
    uint16_t x, y;
    bool moved;
    HidReport ring[RING];
    uint8_t head, count;
    HidReport last;                     /* for GET_REPORT */
} UsbHid;

extern const DeviceClass usb_kbd_class, usb_mouse_class, usb_tablet_class;

/* ---- descriptors ---- */

static const uint8_t kbd_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01,                 /* Generic Desktop, Keyboard, application */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02,   /* modifiers */
    0x95, 0x01, 0x75, 0x08, 0x81, 0x01,                 /* a constant byte */
    0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02,         /* LEDs */
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01,
    0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x26, 0xff, 0x00, 0x05, 0x07, 0x19, 0x00, 0x29, 0xff, 0x81, 0x00,   /* keys */
    0xc0,
};
static const uint8_t mouse_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,
    0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02,   /* buttons */
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01,
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x03, 0x81, 0x06,
    0xc0, 0xc0,
};
static const uint8_t tablet_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00,
    0x05, 0x09, 0x19, 0x01, 0x29, 0x05, 0x15, 0x00, 0x25, 0x01, 0x95, 0x05, 0x75, 0x01, 0x81, 0x02,
    0x95, 0x01, 0x75, 0x03, 0x81, 0x01,
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f, 0x35, 0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02,
    0x05, 0x01, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, 0x01, 0x81, 0x06,
    0xc0, 0xc0,
};
/* vendor 0627 product 0001, strings: 1 maker, 2 product, 3 serial number */
static const uint8_t hid_device_desc[18] = { 18, 1, 0x10, 0x01, 0, 0, 0, 8, 0x27, 0x06, 0x01, 0x00, 0, 0, 1, 2, 3, 1 };
#define HID_CONFIG(subclass, protocol, report, packet, interval)                                        \
    { 9, 2, 34, 0, 1, 1, 0, 0xa0, 50,                                                                   \
      9, 4, 0, 0, 1, 3, subclass, protocol, 0,                                                          \
      9, DESC_HID, 0x11, 0x01, 0, 1, DESC_REPORT, sizeof(report), 0,                                    \
      7, 5, 0x81, 3, packet, 0, interval }
static const uint8_t kbd_config[] = HID_CONFIG(1, 1, kbd_report, 8, 10);
static const uint8_t mouse_config[] = HID_CONFIG(1, 2, mouse_report, 4, 10);
static const uint8_t tablet_config[] = HID_CONFIG(0, 0, tablet_report, 8, 10);
enum { HID_DESC_AT = 18, HID_DESC_LEN = 9 };

/* ---- reports ---- */

static unsigned report_size(const UsbHid *h)
{
    return h->kind == HID_KEYBOARD ? 8 : h->kind == HID_TABLET ? 6 : h->protocol ? 4 : 3;
}

static HidReport take_report(UsbHid *h)
{
    HidReport r = { { 0 } };
    int dx, dy, dz;

    switch (h->kind) {
    case HID_KEYBOARD:
        r.data[0] = h->modifiers;
        if (h->held_count > KEYS_HELD)
            memset(r.data + 2, ROLL_OVER, KEYS_HELD);
        else
            memcpy(r.data + 2, h->held, h->held_count);
        break;
    case HID_MOUSE:
        dx = CLAMP(h->dx, -STEP_MAX, STEP_MAX);
        dy = CLAMP(h->dy, -STEP_MAX, STEP_MAX);
        dz = CLAMP(h->dz, -STEP_MAX, STEP_MAX);
        r.data[0] = h->buttons;
        r.data[1] = dx;
        r.data[2] = dy;
        r.data[3] = dz;
        h->dx -= dx;
        h->dy -= dy;
        h->dz -= dz;
        break;
    case HID_TABLET:
        dz = CLAMP(h->dz, -STEP_MAX, STEP_MAX);
        r.data[0] = h->buttons;
        st16_le(r.data + 1, h->x);
        st16_le(r.data + 3, h->y);
        r.data[5] = dz;
        h->dz -= dz;
        break;
    }
    h->moved = h->kind == HID_MOUSE && (h->dx || h->dy || h->dz);
    h->last = r;
    return r;
}

/* A state worth a report of its own. Full ring: the newest one is replaced, so the last state is true. */
static void push_report(UsbHid *h)
{
    HidReport r = take_report(h);

    if (h->count == RING)
        h->count--;
    h->ring[(h->head + h->count++) % RING] = r;
    usb_device_wakeup(&h->usb);
}

static bool pop_report(UsbHid *h, HidReport *r)
{
    if (h->count) {
        *r = h->ring[h->head];
        h->head = (h->head + 1) % RING;
        h->count--;
        return true;
    }
    if (!h->moved)
        return false;
    *r = take_report(h);
    return true;
}

/* ---- input ---- */

static void kbd_key(void *opaque, KeyCode key, bool down)
{
    UsbHid *h = opaque;
    uint8_t usage = key_info(key)->hid;
    unsigned n = MIN(h->held_count, KEYS_HELD), i = 0;

    if (!usage)
        return;
    if (usage >= 0xe0 && usage <= 0xe7) {
        uint8_t bit = 1 << (usage - 0xe0);

        h->modifiers = down ? h->modifiers | bit : h->modifiers & ~bit;
        push_report(h);
        return;
    }
    while (i < n && h->held[i] != usage)
        i++;
    if (down) {
        if (i < n || n == KEYS_HELD)
            return;             /* the guest repeats keys itself; a seventh key is not seen */
        h->held[n] = usage;
        h->held_count = n + 1;
    } else {
        if (i == n)
            return;
        memmove(h->held + i, h->held + i + 1, n - i - 1);
        h->held_count = n - 1;
    }
    push_report(h);
}

static void hid_rel(void *opaque, int dx, int dy)
{
    UsbHid *h = opaque;

    h->dx = CLAMP(h->dx + CLAMP(dx, -4096, 4096), -4096, 4096);
    h->dy = CLAMP(h->dy + CLAMP(dy, -4096, 4096), -4096, 4096);
    h->moved = true;
}

static void hid_abs(void *opaque, int x, int y)
{
    UsbHid *h = opaque;

    h->x = x;
    h->y = y;
    h->moved = true;
}

static void hid_button(void *opaque, PointerButton b, bool down)
{
    static const uint8_t bits[BUTTONS] = { [BUTTON_LEFT] = 1, [BUTTON_RIGHT] = 2, [BUTTON_MIDDLE] = 4,
                                           [BUTTON_SIDE] = 8, [BUTTON_EXTRA] = 16 };
    UsbHid *h = opaque;

    h->buttons = down ? h->buttons | bits[b] : h->buttons & ~bits[b];
    push_report(h);
}

static void hid_wheel(void *opaque, int dy, int dx)
{
    UsbHid *h = opaque;

    h->dz = CLAMP(h->dz + CLAMP(dy, -64, 64), -64, 64);
    push_report(h);
}

static void hid_sync(void *opaque)
{
    UsbHid *h = opaque;

    if (h->moved || h->count)
        usb_device_wakeup(&h->usb);
}

static const InputOps inputs[] = {
    [HID_KEYBOARD] = { .name = "USB Keyboard", .mask = INPUT_KEY, .key = kbd_key },
    [HID_MOUSE] = { .name = "USB Mouse", .mask = INPUT_REL | INPUT_BUTTON, .rel = hid_rel, .button = hid_button,
                    .wheel = hid_wheel, .sync = hid_sync },
    [HID_TABLET] = { .name = "USB Tablet", .mask = INPUT_ABS | INPUT_BUTTON, .abs = hid_abs, .button = hid_button,
                     .wheel = hid_wheel, .sync = hid_sync },
};

/* ---- requests ---- */

static int descriptor(UsbHid *h, const UsbSetup *s, uint8_t *data)
{
    static const struct { const uint8_t *report, *config; uint8_t len; } descs[] = {
        [HID_KEYBOARD] = { kbd_report, kbd_config, sizeof kbd_report },
        [HID_MOUSE] = { mouse_report, mouse_config, sizeof mouse_report },
        [HID_TABLET] = { tablet_report, tablet_config, sizeof tablet_report },
    };

    switch (s->value >> 8) {
    case DESC_REPORT:
        memcpy(data, descs[h->kind].report, descs[h->kind].len);
        return descs[h->kind].len;
    case DESC_HID:
        memcpy(data, descs[h->kind].config + HID_DESC_AT, HID_DESC_LEN);
        return HID_DESC_LEN;
    }
    return USB_STALL;
}

static void set_leds(UsbHid *h, uint8_t leds)
{
    h->leds = leds & 7;
    input_set_leds(h->input, leds & 4, leds & 1, leds & 2);
}

static int hid_control(UsbDevice *ud, const UsbSetup *s, uint8_t *data)
{
    UsbHid *h = (UsbHid *)ud;

    if (s->request == USB_GET_DESCRIPTOR && s->type == (USB_DIR_IN | USB_TO_INTERFACE))
        return descriptor(h, s, data);
    if ((s->type & 0x7f) != (USB_TYPE_CLASS | USB_TO_INTERFACE))
        return USB_STALL;
    switch (s->request) {
    case HID_GET_REPORT:
        memcpy(data, h->last.data, report_size(h));
        return report_size(h);
    case HID_SET_REPORT:
        if (h->kind != HID_KEYBOARD || s->length < 1)
            return USB_STALL;
        set_leds(h, data[0]);
        return 0;
    case HID_GET_IDLE:
        data[0] = h->idle;
        return 1;
    case HID_SET_IDLE:
        h->idle = s->value >> 8;
        return 0;
    case HID_GET_PROTOCOL:
        data[0] = h->protocol;
        return 1;
    case HID_SET_PROTOCOL:
        if (h->kind == HID_TABLET)
            return USB_STALL;
        h->protocol = s->value & 1;
        return 0;
    }
    return USB_STALL;
}

static int hid_data(UsbDevice *ud, uint8_t pid, uint8_t ep, uint8_t *buf, unsigned len)
{
    UsbHid *h = (UsbHid *)ud;
    HidReport r;
    unsigned n;

    if (pid != USB_PID_IN || ep != 1)
        return USB_STALL;
    if (!pop_report(h, &r))
        return USB_NAK;
    n = MIN(len, report_size(h));
    memcpy(buf, r.data, n);
    return n;
}

static void hid_clear(UsbHid *h)
{
    h->idle = 0;
    h->protocol = 1;
    h->modifiers = h->held_count = h->buttons = h->head = h->count = 0;
    h->dx = h->dy = h->dz = 0;
    h->x = h->y = INPUT_ABS_MAX / 2;
    h->moved = false;
    memset(h->held, 0, sizeof h->held);
    memset(h->ring, 0, sizeof h->ring);
    memset(&h->last, 0, sizeof h->last);
    set_leds(h, 0);
}

static void hid_bus_reset(UsbDevice *ud)
{
    UsbHid *h = (UsbHid *)ud;

    hid_clear(h);
    input_deactivate(h->input);
}

static void hid_configured(UsbDevice *ud, bool on)
{
    UsbHid *h = (UsbHid *)ud;

    if (on)
        input_activate(h->input);
    else
        input_deactivate(h->input);
}

/* ---- life ---- */

static bool realize(Device *dev, HidKind kind)
{
    UsbHid *h = (UsbHid *)dev;

    h->kind = kind;
    h->input = input_add(device_ui(dev), &inputs[kind], h);
    input_deactivate(h->input);
    usb_device_plug(&h->usb);
    return true;
}
static bool kbd_realize(Device *dev, GError **err) { return realize(dev, HID_KEYBOARD); }
static bool mouse_realize(Device *dev, GError **err) { return realize(dev, HID_MOUSE); }
static bool tablet_realize(Device *dev, GError **err) { return realize(dev, HID_TABLET); }

static void hid_unrealize(Device *dev)
{
    UsbHid *h = (UsbHid *)dev;

    usb_device_unplug(&h->usb);
    input_del(h->input);
}

static void hid_reset(Device *dev)
{
    usb_device_reset((UsbDevice *)dev);
}

static bool hid_loaded(void *opaque, GError **err)
{
    UsbHid *h = opaque;

    set_leds(h, h->leds);
    h->dx = CLAMP(h->dx, -4096, 4096);
    h->dy = CLAMP(h->dy, -4096, 4096);
    h->dz = CLAMP(h->dz, -64, 64);
    if (h->usb.config)
        input_activate(h->input);
    return true;
}

static const StateDesc hid_report_state = {
    .name = "hid-report", .version = 1, .fields = (const StateField[]) { STATE_BUF(HidReport, data), STATE_END },
};
static const StateDesc hid_state = {
    .version = 1, .loaded = hid_loaded, .fields = (const StateField[]) {
        STATE_USB(UsbHid, usb), STATE_U8(UsbHid, idle), STATE_UMAX(UsbHid, protocol, 1), STATE_UMAX(UsbHid, leds, 7),
        STATE_U8(UsbHid, modifiers), STATE_BUF(UsbHid, held), STATE_UMAX(UsbHid, held_count, KEYS_HELD),
        STATE_UMAX(UsbHid, buttons, 31), STATE_I32(UsbHid, dx), STATE_I32(UsbHid, dy), STATE_I32(UsbHid, dz),
        STATE_UMAX(UsbHid, x, INPUT_ABS_MAX), STATE_UMAX(UsbHid, y, INPUT_ABS_MAX), STATE_B(UsbHid, moved),
        STATE_STRUCTS(UsbHid, ring, &hid_report_state), STATE_UMAX(UsbHid, head, RING - 1), STATE_UMAX(UsbHid, count, RING),
        STATE_STRUCT(UsbHid, last, &hid_report_state), STATE_END },
};
static const PropDesc hid_props[] = { USB_PROPS(UsbHid), PROP_END };

#define HID_CLASS(var, fn, id, about, product, config)                                                                   \
    static const UsbClass var##_usb = {                                                                              \
        .device_desc = hid_device_desc, .config_desc = config, .strings = (const char *const[]) { "quern", product, "1", NULL }, \
        .control = hid_control, .data = hid_data, .reset = hid_bus_reset, .configured = hid_configured };            \
    const DeviceClass var##_class = {                                                                                \
        .name = id, .desc = about, .category = DEVCAT_INPUT, .bus = BUS_USB, .size = sizeof(UsbHid),                 \
        .realize = fn,        .unrealize = hid_unrealize, .reset = hid_reset, .props = hid_props,               \
        .state = &hid_state, .bus_class = &var##_usb }
HID_CLASS(usb_kbd, kbd_realize, "usb-kbd", "USB keyboard", "USB Keyboard", kbd_config);
HID_CLASS(usb_mouse, mouse_realize, "usb-mouse", "USB mouse", "USB Mouse", mouse_config);
HID_CLASS(usb_tablet, tablet_realize, "usb-tablet", "USB tablet: exact pointer position", "USB Tablet", tablet_config);
#undef HID_CLASS
