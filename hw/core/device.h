/*
 * device: what every device is: one const descriptor, an instance, properties, reset, state.
 *
 * A device file defines a struct that embeds Device (or PciDevice ...) first and exports one
 * DeviceClass named NAME_class; hw/devices.def lists it. Life: NEW (properties may be set) ->
 * LIVE (realized; properties frozen) -> DEAD. All functions here need the machine lock.
 *
 * Busy guard: the core sets dev->busy around I/O handlers of the device's regions; a DMA-triggered
 * or re-entrant access to the device's own registers meanwhile reads all ones and is dropped.
 */
#ifndef HW_CORE_DEVICE_H
#define HW_CORE_DEVICE_H

#include "softmmu/dma.h"
#include "softmmu/irq.h"
#include "softmmu/machine.h"
#include "softmmu/state.h"
#include "util/log.h"

struct OptList;

typedef enum { BUS_SYSTEM, BUS_ISA, BUS_PCI, BUS_IDE, BUS_FLOPPY, BUS_SCSI, BUS_USB, BUS_VIRTIO,
               BUS_VIRTIO_SERIAL, BUS_I2C, BUS_PS2, BUS_KINDS } BusKind;
typedef enum { DEVCAT_MISC, DEVCAT_BRIDGE, DEVCAT_STORAGE, DEVCAT_NETWORK, DEVCAT_INPUT, DEVCAT_DISPLAY,
               DEVCAT_SOUND, DEVCAT_USB, DEVCAT_CPU, DEVCAT_WATCHDOG } DeviceCategory;

typedef struct Bus Bus;
typedef struct DeviceClass DeviceClass;
typedef enum { PHASE_NEW, PHASE_LIVE, PHASE_DEAD } DevicePhase;

struct Device {
    const DeviceClass *cls;
    Machine *machine;
    char *id;                   /* -device id=, or NULL */
    char *state_name;           /* unique and stable: "e1000/0"; key in a saved state */
    Bus *bus;                   /* the bus it sits on; NULL before realize of BUS_SYSTEM devices */
    GPtrArray *buses;           /* buses it provides, owned */
    DevicePhase phase;
    bool busy;                  /* inside one of its own handlers, timers or completions */
    bool user_created;          /* by -device: shown in /machine/peripheral */
    int32_t bootindex;          /* -1: none */
    GHashTable *set_props;      /* names the user set: char* -> char* text */
    GPtrArray *regions;         /* Region * of device_init_io: detached when the device goes */
    GPtrArray *timers;          /* Timer * of device_timer_init: stopped when the device goes */
};

/* A bus: the place children sit. The provider fills attach (finds an address, checks it). */
struct Bus {
    BusKind kind;
    char *name;                 /* "pci.0", "ide.1" */
    Device *owner;              /* or NULL for a root bus */
    Machine *machine;
    GPtrArray *children;        /* Device *, not owned */
    bool (*attach)(Bus *bus, Device *dev, GError **err);    /* before the child's realize */
    void (*detach)(Bus *bus, Device *dev);
    void (*reset_child)(Bus *bus, Device *dev);     /* bus part of a reset, before the child's own; optional */
    bool hotplug;               /* children may come and go while running */
    /* A child came while the machine runs (realized): tell the guest. Optional. */
    void (*plugged)(Bus *bus, Device *dev);
    /* Asks the guest to let go of a child; it goes later. False: take it away now. Optional. */
    bool (*unplug_request)(Bus *bus, Device *dev);
    void *impl;                 /* the provider's data */
};
Bus *bus_new(BusKind kind, const char *name, Device *owner, Machine *m);     /* owned by owner, or by m */

typedef enum { PROP_END_ = 0, PROP_BOOL_, PROP_UINT_, PROP_INT_, PROP_SIZE_, PROP_STRING_, PROP_MAC_,
               PROP_ENUM_, PROP_BACKEND_, PROP_ONOFFAUTO_ } PropKind;
enum { ONOFFAUTO_AUTO, ONOFFAUTO_ON, ONOFFAUTO_OFF };   /* int field of a PROP_ONOFFAUTO_ */
typedef struct PropDesc {
    const char *name;           /* as QEMU users know it */
    PropKind kind;
    uint32_t offset, size;      /* of the field */
    int64_t def;                /* default; ENUM: index */
    const char *def_str;        /* STRING: default or NULL */
    uint64_t max;               /* UINT: largest value, 0 = what fits */
    const char *const *values;  /* ENUM: names, NULL-terminated */
    const char *backend;        /* BACKEND: "drive", "chardev", "netdev", "iothread", "audiodev" */
    const char *help;
} PropDesc;
#define PROP_F_(T, f, k, d, ...) .name = #f, .kind = k, .offset = offsetof(T, f), .size = sizeof(((T *)0)->f), .def = (d), __VA_ARGS__
/* PROP_X(Type, field, default, "help"); PROP_N renames: PROP_N("drive-name", PROP_X(...)) is written
   { PROP_X_(...), .name = "drive-name" } with the bracketless _ forms. */
#define PROP_BOOL(T, f, d, h)   { PROP_F_(T, f, PROP_BOOL_, d, .help = h) }
#define PROP_U8(T, f, d, h)     { PROP_F_(T, f, PROP_UINT_, d, .help = h) }
#define PROP_U16 PROP_U8
#define PROP_U32 PROP_U8
#define PROP_U64 PROP_U8
#define PROP_I32(T, f, d, h)    { PROP_F_(T, f, PROP_INT_, d, .help = h) }
#define PROP_SIZE(T, f, d, h)   { PROP_F_(T, f, PROP_SIZE_, d, .help = h) }      /* uint64_t; takes k M G */
#define PROP_STRING(T, f, h)    { PROP_F_(T, f, PROP_STRING_, 0, .help = h) }    /* char *, owned */
#define PROP_MAC(T, f, h)       { PROP_F_(T, f, PROP_MAC_, 0, .help = h) }       /* uint8_t[6]; all zero: default */
#define PROP_ENUM(T, f, d, names, h) { PROP_F_(T, f, PROP_ENUM_, d, .values = names, .help = h) } /* int */
/* A pointer to a back-end found by the id the user gives: PROP_BACKEND(T, chardev, "chardev", "..."). */
#define PROP_BACKEND(T, f, b, h) { PROP_F_(T, f, PROP_BACKEND_, 0, .backend = b, .help = h) }
#define PROP_END { NULL, PROP_END_ }

struct DeviceClass {
    const char *name;           /* "e1000" */
    const char *const *aliases; /* NULL-terminated, or NULL */
    const char *desc;
    DeviceCategory category;
    BusKind bus;
    size_t size;                /* of the instance; zeroed at creation */
    bool internal;              /* only the board creates it: not for -device */
    bool no_hotplug;
    bool (*realize)(Device *dev, GError **err);
    void (*unrealize)(Device *dev);     /* undo realize; regions detached, requests drained */
    void (*reset)(Device *dev);         /* own state, then outputs (one _update); no effect on others but lines */
    const PropDesc *props;
    const StateDesc *state;             /* required: or STATE_NONE("why") */
    const void *bus_class;              /* PciClass, IsaClass, UsbClass ... by bus */
};

/* Buses without an owning device, in creation order: of Bus *. */
GPtrArray *bus_roots(Machine *m);
const char *bus_kind_name(BusKind k);                   /* "PCI", as in "-device help" */
/* "-global driver.prop=value": a default for devices created later. Fails on a property the
   driver does not have; a driver that does not exist only warns, as QEMU's users expect. */
bool device_add_global(Machine *m, const char *driver, const char *prop, const char *value, GError **err) MUST_CHECK;

/* The registry: hw/devices.def. */
const DeviceClass *device_class_find(const char *name);         /* by name or alias */
const DeviceClass *const *device_class_list(void);              /* NULL-terminated, by name */

/* Creates an instance in PHASE_NEW with default properties (-global applied). */
Device *device_new(Machine *m, const DeviceClass *cls, const char *id);
/* "name" = "value text"; errors name the nearest property. */
bool device_set_prop(Device *dev, const char *name, const char *value, GError **err) MUST_CHECK;
void device_discard(Device *dev);                                       /* frees one that is still PHASE_NEW */
void device_set_backend(Device *dev, const char *prop, void *backend);  /* board wiring, by pointer */
char *device_get_prop(Device *dev, const char *name);                   /* text; NULL unknown; caller frees */
/* Puts it on bus (NULL: the first bus of its kind with room) and realizes; on failure the device is freed. */
bool device_realize(Device *dev, Bus *bus, GError **err) MUST_CHECK;
/* new + props ("k=v,k=v" or NULL) + realize in one step, for boards and tests. */
Device *device_create(Machine *m, const char *cls, Bus *bus, const char *props, GError **err) MUST_CHECK;
/* Unrealizes and frees dev; on the main thread no vcpu can be inside its handlers afterwards. */
void device_unplug(Device *dev);
/* device_del: asks the guest first where the bus can, else unplugs at once. */
bool device_unplug_request(Device *dev, GError **err) MUST_CHECK;
Device *device_find(Machine *m, const char *id);
Bus *bus_find(Machine *m, const char *name);            /* by bus name or owner id */
void device_reset(Device *dev);
void devices_reset_all(Machine *m);
/* "-device e1000,help" text, "-device help" text; caller frees. */
char *device_class_help(const DeviceClass *cls);
char *device_list_help(void);

/* Back-ends by kind and id, so PROP_BACKEND can find them; not owned. */
void backend_register(Machine *m, const char *kind, const char *id, void *backend);
void backend_unregister(Machine *m, const char *kind, const char *id);
void *backend_find(Machine *m, const char *kind, const char *id);

/* Asked when no back-end of kind is registered under an id (a drive= that names a block node). */
typedef void *BackendResolver(void *opaque, const char *id, GError **err);
void backend_set_resolver(Machine *m, const char *kind, BackendResolver *fn, void *opaque);
/* What the process offers every device of a machine, NULL when there is none (benches, -display none has a Ui):
   "ui" (Ui *), "block" (BlockGraph *), "chardevs" (ChardevSet *). Registered as kind "service". */
static inline void *machine_service(Machine *m, const char *name) { return backend_find(m, "service", name); }

/* -device and device_add: opts hold "driver", "id", "bus" and properties. On failure nothing stays. */
Device *device_add(Machine *m, struct OptList *opts, GError **err) MUST_CHECK;
/* The class a user may create, by name or alias; the error suggests the nearest. */
const DeviceClass *device_class_for_user(const char *name, GError **err);
/* "info qtree" text; caller frees. */
char *device_tree_describe(Machine *m);

/* Common to realize functions: a region of dev at a place in the machine's memory or ports. */
/* opaque = dev; r lives as long as dev and is detached with it. */
void device_init_io(Device *dev, Region *r, const char *name, const IoOps *ops, uint64_t size);
/* The same for a region that only holds others. */
void device_init_container(Device *dev, Region *r, const char *name, uint64_t size);
void device_map_pio(Device *dev, Region *r, uint16_t port);
void device_map_mmio(Device *dev, Region *r, uint64_t addr);
static inline AddressSpace *device_mem(Device *dev) { return &dev->machine->mem; }
static inline int64_t device_now(Device *dev) { return clock_ns(dev->machine->clocks, CLOCK_VM); }
/* A CLOCK_VM timer with opaque = dev, under the device's busy guard. t lives as long as dev. */
void device_timer_init(Device *dev, Timer *t, void (*fn)(void *));

#endif
