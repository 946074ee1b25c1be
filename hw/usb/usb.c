/* usb: ports, control transfers and the standard requests every device answers. */
#include "hw/usb/usb.h"

#include <string.h>

enum { DESC_DEVICE = 1, DESC_CONFIG, DESC_STRING };
enum { FEATURE_HALT = 0, FEATURE_WAKEUP = 1 };

/* ---- ports ---- */

static bool bus_attach(Bus *bus, Device *dev, GError **err)
{
    UsbBus *ub = bus->impl;
    UsbDevice *ud = (UsbDevice *)dev;
    guint64 wanted = 0;

    if (ud->port_prop && !g_ascii_string_to_unsigned(ud->port_prop, 10, 1, ub->ports, &wanted, NULL))
        return err_set(err, "%s: bus '%s' has ports 1 to %d, not '%s'", dev->cls->name, bus->name, ub->ports, ud->port_prop);
    for (int i = 0; i < ub->ports; i++) {
        if ((wanted && (int)wanted != i + 1) || ub->port[i].pending)
            continue;
        ub->port[i].pending = ud;
        ud->port = &ub->port[i];
        return true;
    }
    return err_set(err, "%s: %s of USB bus '%s' is taken; add a usb-hub", dev->cls->name,
                   wanted ? "this port" : "every port", bus->name);
}

static void bus_detach(Bus *bus, Device *dev)
{
    UsbDevice *ud = (UsbDevice *)dev;

    usb_device_unplug(ud);
    if (ud->port)
        ud->port->pending = NULL;
    ud->port = NULL;
}

Bus *usb_bus_init(UsbBus *ub, Device *owner, const char *name, int ports, void (*changed)(void *, UsbPort *),
                  void (*wakeup)(void *, UsbPort *), void *opaque)
{
    Bus *bus = bus_new(BUS_USB, name, owner, owner->machine);

    ub->ports = MIN(ports, USB_PORTS_MAX);
    for (int i = 0; i < ub->ports; i++)
        ub->port[i] = (UsbPort) { .index = i, .changed = changed, .wakeup = wakeup, .opaque = opaque };
    bus->impl = ub;
    bus->attach = bus_attach;
    bus->detach = bus_detach;
    bus->hotplug = true;
    return bus;
}

void usb_device_plug(UsbDevice *ud)
{
    ud->port->dev = ud;
    ud->port->changed(ud->port->opaque, ud->port);
}

void usb_device_unplug(UsbDevice *ud)
{
    UsbPort *p = ud->port;

    if (!p || p->dev != ud)
        return;
    p->dev = NULL;
    p->changed(p->opaque, p);
}

void usb_device_wakeup(UsbDevice *ud)
{
    if (ud->port && ud->port->dev == ud)
        ud->port->wakeup(ud->port->opaque, ud->port);
}

void usb_device_reset(UsbDevice *ud)
{
    ud->addr = ud->config = ud->halted_in = ud->halted_out = 0;
    ud->remote_wakeup = false;
    ud->stage = CTRL_IDLE;
    ud->ctrl_len = ud->ctrl_pos = 0;
    memset(&ud->setup, 0, sizeof ud->setup);
    if (usb_class(ud)->reset)
        usb_class(ud)->reset(ud);
}

UsbDevice *usb_find(UsbDevice *ud, uint8_t addr)
{
    if (ud->addr == addr)
        return ud;
    return usb_class(ud)->find ? usb_class(ud)->find(ud, addr) : NULL;
}

/* ---- standard requests ---- */

static int string_descriptor(UsbDevice *ud, unsigned index, uint8_t *out)
{
    const char *const *strings = usb_class(ud)->strings;
    const char *text = NULL;
    unsigned n;

    if (index == 0) {
        memcpy(out, "\x04\x03\x09\x04", 4);     /* English (US) */
        return 4;
    }
    for (unsigned i = 0; strings && strings[i] && !text; i++)
        if (i + 1 == index)
            text = strings[i];
    if (ud->serial && text && !*text)           /* the empty string stands for the serial number */
        text = ud->serial;
    if (!text)
        return USB_STALL;
    n = MIN(strlen(text), 126);
    out[0] = 2 + 2 * n;
    out[1] = DESC_STRING;
    for (unsigned i = 0; i < n; i++)
        st16_le(out + 2 + 2 * i, (uint8_t)text[i]);
    return out[0];
}

static int get_descriptor(UsbDevice *ud, const UsbSetup *s, uint8_t *out)
{
    const UsbClass *uc = usb_class(ud);
    unsigned len;

    switch (s->value >> 8) {
    case DESC_DEVICE:
        memcpy(out, uc->device_desc, 18);
        return 18;
    case DESC_CONFIG:
        if (s->value & 0xff)
            return USB_STALL;
        len = MIN(ld16_le(uc->config_desc + 2), USB_CONTROL_MAX);
        memcpy(out, uc->config_desc, len);
        return len;
    case DESC_STRING:
        return string_descriptor(ud, s->value & 0xff, out);
    }
    return uc->control ? uc->control(ud, s, out) : USB_STALL;
}

static void set_halt(UsbDevice *ud, unsigned ep, bool on)
{
    uint8_t *map = ep & USB_DIR_IN ? &ud->halted_in : &ud->halted_out, bit = 1 << (ep & 7);

    *map = on ? *map | bit : *map & ~bit;
}

static int standard_request(UsbDevice *ud, const UsbSetup *s, uint8_t *data)
{
    const UsbClass *uc = usb_class(ud);
    unsigned to = s->type & 0x1f;

    switch (s->request) {
    case USB_GET_STATUS:
        data[1] = 0;
        data[0] = to == 0 ? ((uc->config_desc[7] >> 6) & 1) | ud->remote_wakeup << 1
                : to == USB_TO_ENDPOINT ? (s->index & USB_DIR_IN ? ud->halted_in : ud->halted_out) >> (s->index & 7) & 1 : 0;
        return 2;
    case USB_CLEAR_FEATURE: case USB_SET_FEATURE:
        if (to == 0 && s->value == FEATURE_WAKEUP)
            ud->remote_wakeup = s->request == USB_SET_FEATURE;
        else if (to == USB_TO_ENDPOINT && s->value == FEATURE_HALT)
            set_halt(ud, s->index, s->request == USB_SET_FEATURE);
        else
            return USB_STALL;
        return 0;
    case USB_SET_ADDRESS:
        return s->value < USB_ADDRESSES ? 0 : USB_STALL;        /* takes effect after the status stage */
    case USB_GET_DESCRIPTOR:
        return get_descriptor(ud, s, data);
    case USB_GET_CONFIGURATION:
        data[0] = ud->config;
        return 1;
    case USB_SET_CONFIGURATION:
        if (s->value > 1)
            return USB_STALL;
        ud->config = s->value;
        ud->halted_in = ud->halted_out = 0;
        if (uc->configured)
            uc->configured(ud, ud->config);
        return 0;
    case USB_GET_INTERFACE:
        data[0] = 0;
        return 1;
    case USB_SET_INTERFACE:
        return s->value ? USB_STALL : 0;
    }
    return uc->control ? uc->control(ud, s, data) : USB_STALL;
}

static int request(UsbDevice *ud)
{
    const UsbClass *uc = usb_class(ud);
    const UsbSetup *s = &ud->setup;

    if ((s->type & 0x60) == 0)
        return standard_request(ud, s, ud->ctrl_data);
    return uc->control ? uc->control(ud, s, ud->ctrl_data) : USB_STALL;
}

/* ---- control transfers on endpoint 0 ---- */

static int setup_stage(UsbDevice *ud, const uint8_t *buf, unsigned len)
{
    if (len != 8)
        return USB_STALL;
    ud->setup = (UsbSetup) { buf[0], buf[1], ld16_le(buf + 2), ld16_le(buf + 4), ld16_le(buf + 6) };
    ud->stage = CTRL_IDLE;
    ud->ctrl_pos = ud->ctrl_len = 0;
    memset(ud->ctrl_data, 0, sizeof ud->ctrl_data);
    if (ud->setup.type & USB_DIR_IN) {
        int n = request(ud);

        if (n < 0)
            return 8;           /* the setup packet is always acknowledged; the data stage stalls */
        ud->ctrl_len = MIN(MIN(n, ud->setup.length), USB_CONTROL_MAX);
        ud->stage = CTRL_DATA;
    } else {
        if (ud->setup.length > USB_CONTROL_MAX)
            return 8;
        ud->ctrl_len = ud->setup.length;
        ud->stage = ud->ctrl_len ? CTRL_DATA : CTRL_STATUS;
    }
    return 8;
}

static int finish_out(UsbDevice *ud)
{
    int n;

    ud->stage = CTRL_IDLE;
    n = request(ud);
    if (n < 0)
        return n;
    if ((ud->setup.type & 0x60) == 0 && ud->setup.request == USB_SET_ADDRESS)
        ud->addr = ud->setup.value;
    return 0;
}

static int control_in(UsbDevice *ud, uint8_t *buf, unsigned len)
{
    unsigned n;

    if (!(ud->setup.type & USB_DIR_IN))
        return ud->stage == CTRL_STATUS ? finish_out(ud) : USB_STALL;
    if (ud->stage != CTRL_DATA)
        return USB_STALL;
    n = MIN(len, (unsigned)(ud->ctrl_len - ud->ctrl_pos));
    memcpy(buf, ud->ctrl_data + ud->ctrl_pos, n);
    ud->ctrl_pos += n;
    return n;
}

static int control_out(UsbDevice *ud, const uint8_t *buf, unsigned len)
{
    if (ud->setup.type & USB_DIR_IN) {          /* status stage of a read */
        bool ok = ud->stage == CTRL_DATA;

        ud->stage = CTRL_IDLE;
        return ok ? 0 : USB_STALL;
    }
    if (ud->stage != CTRL_DATA || len > (unsigned)(ud->ctrl_len - ud->ctrl_pos))
        return USB_STALL;
    memcpy(ud->ctrl_data + ud->ctrl_pos, buf, len);
    ud->ctrl_pos += len;
    if (ud->ctrl_pos == ud->ctrl_len)
        ud->stage = CTRL_STATUS;
    return len;
}

int usb_packet(UsbDevice *ud, uint8_t pid, uint8_t ep, uint8_t *buf, unsigned len)
{
    const UsbClass *uc = usb_class(ud);

    if (ep == 0) {
        if (pid == USB_PID_SETUP)
            return setup_stage(ud, buf, len);
        return pid == USB_PID_IN ? control_in(ud, buf, len) : control_out(ud, buf, len);
    }
    if (pid == USB_PID_SETUP || !ud->config || ep > 7 || !uc->data)
        return USB_STALL;
    if ((pid == USB_PID_IN ? ud->halted_in : ud->halted_out) >> ep & 1)
        return USB_STALL;
    return uc->data(ud, pid, ep, buf, len);
}

/* ---- state ---- */

static bool usb_loaded(void *opaque, GError **err)
{
    UsbDevice *ud = opaque;

    if (ud->ctrl_pos > ud->ctrl_len || ud->config > 1)
        return err_set(err, "impossible USB device state");
    return true;
}

static const StateDesc setup_state = {
    .name = "usb-setup", .version = 1, .fields = (const StateField[]) {
        STATE_U8(UsbSetup, type), STATE_U8(UsbSetup, request), STATE_U16(UsbSetup, value), STATE_U16(UsbSetup, index),
        STATE_U16(UsbSetup, length), STATE_END },
};
const StateDesc usb_device_state = {
    .name = "usb-device", .version = 1, .loaded = usb_loaded, .fields = (const StateField[]) {
        STATE_UMAX(UsbDevice, addr, USB_ADDRESSES - 1), STATE_UMAX(UsbDevice, config, 1), STATE_U8(UsbDevice, halted_in),
        STATE_U8(UsbDevice, halted_out), STATE_B(UsbDevice, remote_wakeup), STATE_UMAX(UsbDevice, stage, CTRL_STATUS),
        STATE_STRUCT(UsbDevice, setup, &setup_state), STATE_UMAX(UsbDevice, ctrl_len, USB_CONTROL_MAX),
        STATE_UMAX(UsbDevice, ctrl_pos, USB_CONTROL_MAX), STATE_BUF(UsbDevice, ctrl_data), STATE_END },
};
