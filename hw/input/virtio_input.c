/*
 * virtio_input: keyboard, mouse and tablet as Linux input events over virtio (virtio 1.2, 5.8).
 *
 * Events wait in a ring of fixed size until the driver gives buffers; a group that does not fit is
 * dropped whole. The device takes input while a driver runs it. docs/hw/virtio-input.md.
 */
#include "hw/display/console.h"
#include "hw/virtio/virtio_pci.h"

#include <string.h>

enum { EV_SYN, EV_KEY, EV_REL, EV_ABS, EV_LED = 0x11, EV_REP = 0x14 };
enum { REL_X, REL_Y, REL_HWHEEL = 6, REL_WHEEL = 8, ABS_X = 0, ABS_Y = 1, BTN_LEFT = 0x110, BTN_RIGHT, BTN_MIDDLE,
       BTN_SIDE, BTN_EXTRA, BUS_VIRTUAL = 6 };
enum { CFG_NAME = 1, CFG_SERIAL, CFG_IDS, CFG_PROPS = 0x10, CFG_EV_BITS, CFG_ABS_INFO, CFG_DATA = 8, CFG_SIZE = 136 };
enum { RING = 256, QUEUE = 64, EVENT_BYTES = 8, STATUS_BUDGET = 256 };
typedef enum { VI_KEYBOARD, VI_MOUSE, VI_TABLET } ViKind;

typedef struct VirtioInput {
    VirtioPci vp;
    InputHandler *input;
    ViKind kind;
    VirtQueue *eventq, *statusq;
    uint8_t select, subsel;     /* state: what the configuration space shows */
    uint64_t ring[RING];        /* type, code, value as on the wire */
    uint16_t head, count;
    uint16_t group;             /* events of a group not finished by SYN */
} VirtioInput;

extern const DeviceClass virtio_keyboard_pci_class, virtio_mouse_pci_class, virtio_tablet_pci_class;

static VirtioInput *of(VirtioDevice *v) { return container_of(v, VirtioInput, vp.v); }

/* ---- events ---- */

static void flush(VirtioInput *s)
{
    bool any = false;

    if (!virtio_ready(&s->vp.v))
        return;
    while (s->count) {
        VirtElem *e = virtq_pop(s->eventq);
        uint8_t raw[EVENT_BYTES];

        if (!e)
            break;
        st64_le(raw, s->ring[s->head]);
        if (iov_from_buf(e->in, e->in_n, 0, raw, sizeof raw) != sizeof raw) {
            virtq_detach(s->eventq, e);
            virtio_error(&s->vp.v, "virtio-input: event buffer shorter than %u bytes", EVENT_BYTES);
            return;
        }
        s->head = (s->head + 1) % RING;
        s->count--;
        virtq_push(s->eventq, e, sizeof raw);
        any = true;
    }
    if (any)
        virtq_notify(s->eventq);
}

static void put(VirtioInput *s, uint16_t type, uint16_t code, int32_t value)
{
    if (s->count + 2 > RING) {          /* room for the SYN must stay: forget this group */
        s->count -= MIN(s->group, s->count);
        s->group = 0;
        return;
    }
    s->ring[(s->head + s->count++) % RING] = type | (uint64_t)code << 16 | (uint64_t)(uint32_t)value << 32;
    s->group++;
}

static void vi_sync(void *opaque)
{
    VirtioInput *s = opaque;

    if (s->group)
        put(s, EV_SYN, 0, 0);
    s->group = 0;
    flush(s);
}

static void vi_key(void *opaque, KeyCode key, bool down)
{
    VirtioInput *s = opaque;

    if (!key_info(key)->evdev)
        return;
    put(s, EV_KEY, key_info(key)->evdev, down);
    vi_sync(s);
}

static void vi_rel(void *opaque, int dx, int dy)
{
    if (dx)
        put(opaque, EV_REL, REL_X, dx);
    if (dy)
        put(opaque, EV_REL, REL_Y, dy);
}

static void vi_abs(void *opaque, int x, int y)
{
    put(opaque, EV_ABS, ABS_X, x);
    put(opaque, EV_ABS, ABS_Y, y);
}

static void vi_button(void *opaque, PointerButton b, bool down)
{
    static const uint16_t codes[BUTTONS] = { [BUTTON_LEFT] = BTN_LEFT, [BUTTON_MIDDLE] = BTN_MIDDLE,
        [BUTTON_RIGHT] = BTN_RIGHT, [BUTTON_SIDE] = BTN_SIDE, [BUTTON_EXTRA] = BTN_EXTRA };

    put(opaque, EV_KEY, codes[b], down);
}

static void vi_wheel(void *opaque, int dy, int dx)
{
    if (dy)
        put(opaque, EV_REL, REL_WHEEL, dy);
    if (dx)
        put(opaque, EV_REL, REL_HWHEEL, dx);
}

static const InputOps inputs[] = {
    [VI_KEYBOARD] = { .name = "Virtio Keyboard", .mask = INPUT_KEY, .key = vi_key },
    [VI_MOUSE] = { .name = "Virtio Mouse", .mask = INPUT_REL | INPUT_BUTTON, .rel = vi_rel, .button = vi_button,
                   .wheel = vi_wheel, .sync = vi_sync },
    [VI_TABLET] = { .name = "Virtio Tablet", .mask = INPUT_ABS | INPUT_BUTTON, .abs = vi_abs, .button = vi_button,
                    .wheel = vi_wheel, .sync = vi_sync },
};

/* ---- configuration space ---- */

static unsigned set_bit(uint8_t *map, unsigned bit, unsigned size)
{
    map[bit / 8] |= 1 << bit % 8;
    return MAX(size, bit / 8 + 1);
}

static unsigned event_bits(const VirtioInput *s, unsigned type, uint8_t *out)
{
    unsigned size = 0;

    if (s->kind == VI_KEYBOARD && type == EV_KEY)
        for (KeyCode k = 1; k < KEY_CODES; k++)
            size = key_info(k)->evdev ? set_bit(out, key_info(k)->evdev, size) : size;
    if (s->kind == VI_KEYBOARD && type == EV_LED)
        for (unsigned led = 0; led < 3; led++)
            size = set_bit(out, led, size);
    if (s->kind == VI_KEYBOARD && type == EV_REP)
        size = 1;
    if (s->kind != VI_KEYBOARD && type == EV_KEY)
        for (unsigned b = BTN_LEFT; b <= BTN_EXTRA; b++)
            size = set_bit(out, b, size);
    if (s->kind != VI_KEYBOARD && type == EV_REL) {
        size = set_bit(out, REL_WHEEL, set_bit(out, REL_HWHEEL, size));
        if (s->kind == VI_MOUSE)
            size = set_bit(out, REL_Y, set_bit(out, REL_X, size));
    }
    if (s->kind == VI_TABLET && type == EV_ABS)
        size = set_bit(out, ABS_Y, set_bit(out, ABS_X, size));
    return size;
}

static void get_config(VirtioDevice *v, uint8_t *config)
{
    static const char *const names[] = { "quern Virtio Keyboard", "quern Virtio Mouse", "quern Virtio Tablet" };
    VirtioInput *s = of(v);
    uint8_t *out = config + CFG_DATA;
    unsigned size = 0;

    switch (s->select) {
    case CFG_NAME:
        size = strlen(names[s->kind]);
        memcpy(out, names[s->kind], size);
        break;
    case CFG_IDS:
        size = 8;
        st16_le(out, BUS_VIRTUAL);
        st16_le(out + 2, 0x0627);
        st16_le(out + 4, s->kind + 1);
        st16_le(out + 6, 1);
        break;
    case CFG_EV_BITS:
        size = event_bits(s, s->subsel, out);
        break;
    case CFG_ABS_INFO:
        if (s->kind == VI_TABLET && s->subsel <= ABS_Y) {
            size = 20;
            st32_le(out + 4, INPUT_ABS_MAX);
        }
        break;
    }
    config[0] = s->select;
    config[1] = s->subsel;
    config[2] = size;
}

static void set_config(VirtioDevice *v, const uint8_t *config)
{
    of(v)->select = config[0];
    of(v)->subsel = config[1];
}

/* ---- queues ---- */

static void kick_events(VirtioDevice *v, VirtQueue *vq)
{
    flush(of(v));
}

/* The driver tells of LEDs. */
static void kick_status(VirtioDevice *v, VirtQueue *vq)
{
    VirtioInput *s = of(v);
    VirtElem *e;

    for (int i = 0; i < STATUS_BUDGET && (e = virtq_pop(vq)); i++) {
        uint8_t raw[EVENT_BYTES] = { 0 };

        if (iov_to_buf(e->out, e->out_n, 0, raw, sizeof raw) == sizeof raw && ld16_le(raw) == EV_LED) {
            static const uint8_t order[] = { 1, 2, 0 };         /* num, caps, scroll to scroll, num, caps */
            unsigned led = ld16_le(raw + 2);

            if (led < 3 && s->kind == VI_KEYBOARD) {
                bool on[3];
                Ui *ui = device_ui(v->dev);

                if (ui) {
                    ui_leds(ui, &on[0], &on[1], &on[2]);
                    on[order[led]] = ld32_le(raw + 4) != 0;
                    input_set_leds(s->input, on[0], on[1], on[2]);
                }
            }
        }
        virtq_push(vq, e, 0);
    }
    virtq_notify(vq);
}

static void status_set(VirtioDevice *v, uint8_t old)
{
    if (!(old & VIRTIO_S_DRIVER_OK) && (v->status & VIRTIO_S_DRIVER_OK))
        input_activate(of(v)->input);
}

static void vi_reset(VirtioDevice *v)
{
    VirtioInput *s = of(v);

    s->head = s->count = s->group = 0;
    s->select = s->subsel = 0;
    memset(s->ring, 0, sizeof s->ring);
    input_deactivate(s->input);
}

static const VirtioClass vclass[] = {
#define VC(pclass) { .id = 18, .pci_class = pclass, .modern_only = true, .config_size = CFG_SIZE, .get_config = get_config, \
                     .set_config = set_config, .status_set = status_set, .reset = vi_reset }
    [VI_KEYBOARD] = VC(0x090000), [VI_MOUSE] = VC(0x090200), [VI_TABLET] = VC(0x098000),
#undef VC
};

/* ---- life ---- */

static bool realize(Device *dev, ViKind kind, GError **err)
{
    VirtioInput *s = container_of(dev, VirtioInput, vp.pci.dev);

    s->kind = kind;
    s->input = input_add(device_ui(dev), &inputs[kind], s);
    input_deactivate(s->input);
    virtio_init(&s->vp.v, dev, &vclass[kind]);
    s->eventq = virtio_add_queue(&s->vp.v, QUEUE, kick_events);
    s->statusq = virtio_add_queue(&s->vp.v, QUEUE, kick_status);
    if (!virtio_pci_realize(&s->vp, err)) {
        input_del(s->input);
        return false;
    }
    return true;
}
static bool keyboard_realize(Device *dev, GError **err) { return realize(dev, VI_KEYBOARD, err); }
static bool mouse_realize(Device *dev, GError **err) { return realize(dev, VI_MOUSE, err); }
static bool tablet_realize(Device *dev, GError **err) { return realize(dev, VI_TABLET, err); }

static void vi_unrealize(Device *dev)
{
    VirtioInput *s = container_of(dev, VirtioInput, vp.pci.dev);

    virtio_pci_unrealize(&s->vp);
    input_del(s->input);
}

static void vi_device_reset(Device *dev)
{
    virtio_pci_reset(&container_of(dev, VirtioInput, vp.pci.dev)->vp);
}

static bool vi_loaded(void *opaque, GError **err)
{
    VirtioInput *s = opaque;

    if (s->group > s->count)
        return err_set(err, "impossible virtio-input state");
    if (virtio_ready(&s->vp.v))
        input_activate(s->input);
    return true;
}

static const StateDesc vi_state = {
    .version = 1, .loaded = vi_loaded, .fields = (const StateField[]) {
        STATE_VIRTIO_PCI(VirtioInput, vp), STATE_U8(VirtioInput, select), STATE_U8(VirtioInput, subsel),
        STATE_UARRAY(VirtioInput, ring), STATE_UMAX(VirtioInput, head, RING - 1), STATE_UMAX(VirtioInput, count, RING),
        STATE_UMAX(VirtioInput, group, RING), STATE_END },
};
static const PropDesc vi_props[] = { VIRTIO_PCI_PROPS(VirtioInput), PROP_END };
static const PciClass vi_pci[] = {
    [VI_KEYBOARD] = { .vendor = 0x1af4, .device = 0x1052, .class_code = 0x090000, .revision = 1, .intx = true },
    [VI_MOUSE] = { .vendor = 0x1af4, .device = 0x1052, .class_code = 0x090200, .revision = 1, .intx = true },
    [VI_TABLET] = { .vendor = 0x1af4, .device = 0x1052, .class_code = 0x098000, .revision = 1, .intx = true },
};

#define VI_CLASS(var, pname, fn, k, about)                                                                       \
    const DeviceClass var = {                                                                                    \
        .name = pname, .desc = about, .category = DEVCAT_INPUT, .bus = BUS_PCI, .size = sizeof(VirtioInput),     \
        .realize = fn, .unrealize = vi_unrealize, .reset = vi_device_reset, .props = vi_props, .state = &vi_state, \
        .bus_class = &vi_pci[k] }
VI_CLASS(virtio_keyboard_pci_class, "virtio-keyboard-pci", keyboard_realize, VI_KEYBOARD, "virtio keyboard");
VI_CLASS(virtio_mouse_pci_class, "virtio-mouse-pci", mouse_realize, VI_MOUSE, "virtio mouse");
VI_CLASS(virtio_tablet_pci_class, "virtio-tablet-pci", tablet_realize, VI_TABLET, "virtio tablet: exact pointer position");
#undef VI_CLASS
