/*
 * usb: USB 1.1 devices as a host controller sees them: ports, packets, control transfers.
 *
 * A controller (or hub) offers ports on a bus; a device embeds UsbDevice first and answers packets at
 * once: with data, NAK (nothing yet) or STALL. Universal Serial Bus Specification 1.1, chapters 8, 9, 11.
 * Machine lock. docs/hw/usb.md.
 */
#ifndef HW_USB_USB_H
#define HW_USB_USB_H

#include "hw/core/device.h"

enum { USB_PID_SETUP = 0x2d, USB_PID_IN = 0x69, USB_PID_OUT = 0xe1 };
/* A packet's result: bytes moved, or one of these. */
enum { USB_NODEV = -1, USB_NAK = -2, USB_STALL = -3, USB_BABBLE = -4 };
enum { USB_PORTS_MAX = 8, USB_CONTROL_MAX = 1024, USB_ADDRESSES = 128 };
enum { USB_DIR_IN = 0x80, USB_TYPE_CLASS = 0x20, USB_TO_INTERFACE = 1, USB_TO_ENDPOINT = 2 };
enum { USB_GET_STATUS, USB_CLEAR_FEATURE, USB_SET_FEATURE = 3, USB_SET_ADDRESS = 5, USB_GET_DESCRIPTOR,
       USB_SET_DESCRIPTOR, USB_GET_CONFIGURATION, USB_SET_CONFIGURATION, USB_GET_INTERFACE, USB_SET_INTERFACE };

typedef struct UsbDevice UsbDevice;
typedef struct UsbPort UsbPort;

typedef struct UsbSetup { uint8_t type, request; uint16_t value, index, length; } UsbSetup;

typedef struct UsbClass {       /* DeviceClass.bus_class of a USB device */
    bool low_speed;
    const uint8_t *device_desc;         /* 18 bytes */
    const uint8_t *config_desc;         /* wTotalLength bytes */
    const char *const *strings;         /* index 1 .. ; ends with NULL */
    /* Requests the core does not know (class requests, report descriptors). data: USB_CONTROL_MAX bytes, in or
       out. Returns bytes for the host, 0, or USB_STALL. */
    int (*control)(UsbDevice *ud, const UsbSetup *s, uint8_t *data);
    /* Endpoints other than 0. Returns bytes moved (at most len) or a result code. */
    int (*data)(UsbDevice *ud, uint8_t pid, uint8_t ep, uint8_t *buf, unsigned len);
    void (*reset)(UsbDevice *ud);               /* bus reset, after the core's own part */
    void (*configured)(UsbDevice *ud, bool on);
    /* Hubs: the device behind one of its enabled ports that has this address. */
    UsbDevice *(*find)(UsbDevice *ud, uint8_t addr);
} UsbClass;

typedef enum { CTRL_IDLE, CTRL_DATA, CTRL_STATUS } UsbControlStage;

struct UsbDevice {
    Device dev;
    UsbPort *port;
    char *port_prop;            /* property "port": "2" */
    char *serial;
    uint8_t addr;               /* state */
    uint8_t config;
    uint8_t halted_in, halted_out;      /* bit per endpoint 0-7 */
    bool remote_wakeup;
    uint8_t stage;              /* UsbControlStage */
    UsbSetup setup;
    uint16_t ctrl_len, ctrl_pos;
    uint8_t ctrl_data[USB_CONTROL_MAX];
};

struct UsbPort {
    UsbDevice *dev;             /* realized and plugged in; NULL: empty */
    UsbDevice *pending;         /* placed, not realized yet */
    int index;                  /* from 0 */
    void (*changed)(void *opaque, UsbPort *port);       /* plugged in or pulled out */
    void (*wakeup)(void *opaque, UsbPort *port);        /* the device has something to say */
    void *opaque;
};

typedef struct UsbBus { UsbPort port[USB_PORTS_MAX]; int ports; } UsbBus;

/* Makes a bus with `ports` ports; bus->impl is ub, which lives in the owner. */
Bus *usb_bus_init(UsbBus *ub, Device *owner, const char *name, int ports, void (*changed)(void *, UsbPort *),
                  void (*wakeup)(void *, UsbPort *), void *opaque);
/* At the end of a device's realize: its port sees it. At the start of unrealize: the port is empty. */
void usb_device_plug(UsbDevice *ud);
void usb_device_unplug(UsbDevice *ud);
void usb_device_reset(UsbDevice *ud);           /* bus reset */
void usb_device_wakeup(UsbDevice *ud);          /* has data: controllers that rest look again */
/* One packet for ud. buf: data out, or room for len bytes in. */
int usb_packet(UsbDevice *ud, uint8_t pid, uint8_t ep, uint8_t *buf, unsigned len);
/* The device with this address at or behind ud. */
UsbDevice *usb_find(UsbDevice *ud, uint8_t addr);
static inline const UsbClass *usb_class(const UsbDevice *ud) { return ud->dev.cls->bus_class; }

extern const StateDesc usb_device_state;
#define STATE_USB(T, f) STATE_STRUCT(T, f, &usb_device_state)
#define USB_PROPS(T) { PROP_F_(UsbDevice, serial, PROP_STRING_, 0, .help = "serial number text") }, \
    { .name = "port", .kind = PROP_STRING_, .offset = offsetof(UsbDevice, port_prop), .size = sizeof(char *), \
      .help = "port number on its bus, from 1" }

#endif
