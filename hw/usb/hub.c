/*
 * hub: a USB 1.1 hub with eight ports (Universal Serial Bus Specification 1.1, chapter 11).
 *
 * Left out: port power switching and over-current. docs/hw/usb.md.
 */
#include "hw/usb/usb.h"

#include <string.h>

enum { PORTS = 8, DESC_HUB = 0x29 };
enum { PORT_CONNECTION, PORT_ENABLE, PORT_SUSPEND, PORT_RESET = 4, PORT_POWER = 8, C_PORT_CONNECTION = 16, C_PORT_ENABLE,
       C_PORT_SUSPEND, C_PORT_RESET = 20 };
enum { ST_CONNECTION = 1, ST_ENABLE = 2, ST_SUSPEND = 4, ST_RESET = 0x10, ST_POWER = 0x100, ST_LOW_SPEED = 0x200 };
enum { TO_OTHER = 3 };

typedef struct UsbHub {
    UsbDevice usb;
    UsbBus down;
    uint16_t status[PORTS], change[PORTS];      /* state */
} UsbHub;

extern const DeviceClass usb_hub_class;

static void port_changed(void *opaque, UsbPort *port)
{
    UsbHub *h = opaque;
    uint16_t *st = &h->status[port->index];

    if (port->dev) {
        *st |= ST_CONNECTION | (usb_class(port->dev)->low_speed ? ST_LOW_SPEED : 0);
    } else {
        if (*st & ST_ENABLE)
            h->change[port->index] |= ST_ENABLE;
        *st &= ~(ST_CONNECTION | ST_ENABLE | ST_LOW_SPEED | ST_SUSPEND);
    }
    h->change[port->index] |= ST_CONNECTION;
    usb_device_wakeup(&h->usb);
}

static void port_wakeup(void *opaque, UsbPort *port)
{
    usb_device_wakeup(&((UsbHub *)opaque)->usb);
}

static UsbDevice *hub_find(UsbDevice *ud, uint8_t addr)
{
    UsbHub *h = (UsbHub *)ud;

    for (int i = 0; i < PORTS; i++) {
        UsbDevice *found = (h->status[i] & ST_ENABLE) && h->down.port[i].dev ? usb_find(h->down.port[i].dev, addr) : NULL;

        if (found)
            return found;
    }
    return NULL;
}

static int set_port(UsbHub *h, unsigned n, unsigned feature)
{
    UsbDevice *dev = h->down.port[n].dev;

    switch (feature) {
    case PORT_SUSPEND:
        h->status[n] |= ST_SUSPEND;
        return 0;
    case PORT_RESET:
        if (dev) {
            usb_device_reset(dev);
            h->status[n] |= ST_ENABLE;
        }
        h->change[n] |= ST_RESET;
        return 0;
    case PORT_POWER:
        h->status[n] |= ST_POWER;
        return 0;
    }
    return USB_STALL;
}

static int clear_port(UsbHub *h, unsigned n, unsigned feature)
{
    switch (feature) {
    case PORT_ENABLE:
        h->status[n] &= ~ST_ENABLE;
        return 0;
    case PORT_SUSPEND:
        h->status[n] &= ~ST_SUSPEND;
        return 0;
    case PORT_POWER:
        return 0;
    case C_PORT_CONNECTION: case C_PORT_ENABLE: case C_PORT_SUSPEND: case C_PORT_RESET:
        h->change[n] &= ~(1 << (feature - 16));
        return 0;
    }
    return USB_STALL;
}

static int hub_control(UsbDevice *ud, const UsbSetup *s, uint8_t *data)
{
    static const uint8_t hub_desc[] = { 11, DESC_HUB, PORTS, 0x0a, 0, 1, 0, 0, 0, 0xff, 0xff };
    UsbHub *h = (UsbHub *)ud;
    unsigned port = s->index - 1;
    bool to_port = (s->type & 0x1f) == TO_OTHER;

    if ((s->type & 0x60) != USB_TYPE_CLASS || (to_port && port >= PORTS))
        return USB_STALL;
    switch (s->request) {
    case USB_GET_STATUS:
        if (to_port) {
            st16_le(data, h->status[port]);
            st16_le(data + 2, h->change[port]);
        }
        return 4;
    case USB_CLEAR_FEATURE:
        return to_port ? clear_port(h, port, s->value) : 0;
    case USB_SET_FEATURE:
        return to_port ? set_port(h, port, s->value) : 0;
    case USB_GET_DESCRIPTOR:
        memcpy(data, hub_desc, sizeof hub_desc);
        return sizeof hub_desc;
    }
    return USB_STALL;
}

/* The interrupt endpoint: which ports changed. */
static int hub_data(UsbDevice *ud, uint8_t pid, uint8_t ep, uint8_t *buf, unsigned len)
{
    UsbHub *h = (UsbHub *)ud;
    uint16_t map = 0;

    if (pid != USB_PID_IN || ep != 1)
        return USB_STALL;
    for (int i = 0; i < PORTS; i++)
        map |= (h->change[i] != 0) << (i + 1);
    if (!map)
        return USB_NAK;
    for (unsigned i = 0; i < MIN(len, 2); i++)
        buf[i] = map >> (8 * i);
    return MIN(len, 2);
}

static void hub_bus_reset(UsbDevice *ud)
{
    UsbHub *h = (UsbHub *)ud;

    for (int i = 0; i < PORTS; i++) {
        UsbDevice *dev = h->down.port[i].dev;

        h->status[i] = ST_POWER;
        h->change[i] = 0;
        if (!dev)
            continue;
        usb_device_reset(dev);
        h->status[i] |= ST_CONNECTION | (usb_class(dev)->low_speed ? ST_LOW_SPEED : 0);
        h->change[i] |= ST_CONNECTION;
    }
}

static bool hub_realize(Device *dev, GError **err)
{
    UsbHub *h = (UsbHub *)dev;
    g_autofree char *name = g_strdup_printf("%s.0", dev->id ? dev->id : "usb-hub");

    usb_bus_init(&h->down, dev, name, PORTS, port_changed, port_wakeup, h);
    usb_device_plug(&h->usb);
    return true;
}

static void hub_unrealize(Device *dev)
{
    usb_device_unplug((UsbDevice *)dev);
}

static void hub_reset(Device *dev)
{
    usb_device_reset((UsbDevice *)dev);
}

static const uint8_t device_desc[18] = { 18, 1, 0x10, 0x01, 9, 0, 0, 8, 0x09, 0x04, 0xaa, 0x55, 0x01, 0x01, 1, 2, 3, 1 };
static const uint8_t config_desc[] = {
    9, 2, 25, 0, 1, 1, 0, 0xe0, 0,
    9, 4, 0, 0, 1, 9, 0, 0, 0,
    7, 5, 0x81, 3, 2, 0, 255,
};
static const UsbClass hub_usb = {
    .device_desc = device_desc, .config_desc = config_desc, .strings = (const char *const[]) { "quern", "USB Hub", "1", NULL },
    .control = hub_control, .data = hub_data, .reset = hub_bus_reset, .find = hub_find,
};

const DeviceClass usb_hub_class = {
    .name = "usb-hub", .desc = "USB hub with eight ports", .category = DEVCAT_USB, .bus = BUS_USB,
    .size = sizeof(UsbHub), .realize = hub_realize, .unrealize = hub_unrealize, .reset = hub_reset,
    .props = (const PropDesc[]) { USB_PROPS(UsbHub), PROP_END }, .bus_class = &hub_usb,
    .state = &(const StateDesc) { .version = 1, .fields = (const StateField[]) {
        STATE_USB(UsbHub, usb), STATE_UARRAY(UsbHub, status), STATE_UARRAY(UsbHub, change), STATE_END } },
};
