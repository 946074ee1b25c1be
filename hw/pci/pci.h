/*
 * pci: PCI devices: configuration space, BARs, INTx, MSI, MSI-X, option ROMs.
 *
 * PCI Local Bus 3.0. Everything under the machine lock. The core handles command, status, BAR
 * sizing and mapping, the capability list and interrupt message delivery; a device supplies ids,
 * regions and, where it must see configuration writes, a hook.
 */
#ifndef HW_PCI_PCI_H
#define HW_PCI_PCI_H

#include "hw/core/device.h"

enum { PCI_CONFIG_SIZE = 256, PCI_BARS = 6, PCI_ROM_BAR = 6 };
typedef enum { PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_MEM32_PREF, PCI_BAR_MEM64_PREF } PciBarKind;

typedef struct PciDevice PciDevice;
typedef struct PciBus PciBus;

typedef struct PciClass {       /* DeviceClass.bus_class of a PCI device */
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;   /* 0: 1af4:1100 */
    uint32_t class_code;        /* 24 bits: class, subclass, programming interface */
    uint8_t revision;
    uint8_t header_type;        /* 0 ordinary, 1 bridge */
    bool intx;                  /* uses INTA# */
    const char *rom_file;       /* default option ROM name (romfile= overrides), or NULL */
    /* After the core stored len bytes at off (BARs, command already acted on). Optional. */
    void (*config_written)(PciDevice *pd, unsigned off, unsigned len);
} PciClass;

struct PciDevice {
    Device dev;
    PciBus *pci_bus;
    uint8_t devfn;              /* slot << 3 | function */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t wmask[PCI_CONFIG_SIZE];     /* bits the guest may write */
    uint8_t w1cmask[PCI_CONFIG_SIZE];   /* bits cleared by writing 1 */
    struct { Region *region; PciBarKind kind; uint64_t size, mapped; bool is_mapped; } bar[PCI_BARS + 1];
    bool intx_level;            /* what the device asserts, whatever the command register says */
    bool intx_driven;           /* what the router was told */
    uint8_t msi_cap, msix_cap;  /* offsets in config, 0: none */
    uint16_t msix_vectors;
    uint8_t *msix_table, *msix_pba;     /* 16 bytes a vector; one bit a vector */
    uint32_t msix_table_len, msix_pba_len;      /* bytes behind the two pointers */
    Region msix_region, msix_pba_region;
    Region msix_bar;            /* container, when MSI-X has a BAR of its own */
    uint8_t saved_config[PCI_CONFIG_SIZE];      /* staging: what a saved state says */
    Region rom_region;
    struct RamBlock *rom;
    /* Registers that reach something else: before a read, after a write. Optional, set by realize. */
    void (*config_window)(PciDevice *pd, unsigned off, unsigned len, bool write);
    /* properties: names "addr" (SLOT[.FN]), "multifunction", "rombar", "romfile" */
    char *addr;
    bool multifunction;
    uint32_t rombar;
    char *romfile;
    uint8_t cap_end;            /* next free capability offset */
};
static inline PciDevice *pci_device(Device *d) { return (PciDevice *)d; }
/* Put these first in the props table and this in the state table of every PCI device. */
#define PCI_PROPS(T) { PROP_F_(PciDevice, addr, PROP_STRING_, 0, .help = "slot[.function], hexadecimal") }, \
    { PROP_F_(PciDevice, multifunction, PROP_BOOL_, 0, .help = "function 0 of several") }, \
    { PROP_F_(PciDevice, rombar, PROP_UINT_, 1, .help = "0: no option ROM BAR") }, \
    { PROP_F_(PciDevice, romfile, PROP_STRING_, 0, .help = "option ROM file; empty: none") }
extern const StateDesc pci_device_state;        /* config, MSI-X table; restores mappings */
#define STATE_PCI(T, f) STATE_STRUCT(T, f, &pci_device_state)

/* Realize-time helpers. The region lives in the device struct. Sizes: powers of two. */
void pci_bar(PciDevice *pd, unsigned bar, PciBarKind kind, Region *r);
/* After a device changed its ids in realize: the default option ROM names them too. */
void pci_rom_set_ids(PciDevice *pd);
/* Appends a capability of len bytes; returns its offset in config, 0 when full. */
uint8_t pci_add_capability(PciDevice *pd, uint8_t id, uint8_t len);
bool pci_msi_init(PciDevice *pd, unsigned vectors, bool addr64, GError **err) MUST_CHECK;
/* Table at table_off and PBA at pba_off inside bar_region, a container the caller made BAR `bar`
   (NULL: an own BAR, table at 0). Vectors: 1-2048. */
bool pci_msix_init(PciDevice *pd, unsigned vectors, unsigned bar, Region *bar_region, uint32_t table_off,
                   uint32_t pba_off, GError **err) MUST_CHECK;
bool pci_msi_enabled(const PciDevice *pd);
bool pci_msix_enabled(const PciDevice *pd);
void pci_msi_notify(PciDevice *pd, unsigned vector);
void pci_msix_notify(PciDevice *pd, unsigned vector);
/* What vector would send now; false: it is masked, or pending already. */
bool pci_msix_message(const PciDevice *pd, unsigned vector, uint64_t *addr, uint32_t *data);
void pci_set_intx(PciDevice *pd, int level);
/* Level-style device interrupt: MSI edge if enabled, else INTx level. */
void pci_set_irq(PciDevice *pd, int level);
static inline bool pci_bus_master(const PciDevice *pd) { return pd->config[4] & 4; }
/* Bus-master access: false (and nothing moved) while bus mastering is off. */
bool pci_dma_read(PciDevice *pd, uint64_t addr, void *buf, uint64_t len);
bool pci_dma_write(PciDevice *pd, uint64_t addr, const void *buf, uint64_t len);

/* Host bridge side. */
struct PciBus {
    Bus *bus;
    uint8_t number;
    PciDevice *dev[256];        /* by devfn */
    PciDevice *bridge;          /* for secondary buses */
    /* INTx routing: device pin (0-3) of slot -> set(level) */
    void (*set_irq)(void *opaque, unsigned slot, unsigned pin, int level);
    void *set_irq_opaque;
    Region *mem, *io;           /* where BARs are mapped */
    void *hotplug_opaque;       /* of whoever set bus->plugged */
};
PciBus *pci_bus_new(Machine *m, Device *owner, const char *name, Region *mem, Region *io);
/* Config space of one device, as the bus sees it; also for devices that emulate other access ways. */
uint32_t pci_device_config_read(PciDevice *pd, unsigned off, unsigned size);
void pci_device_config_write(PciDevice *pd, unsigned off, uint32_t val, unsigned size);
/* Maps and unmaps BARs as command and BAR registers say; after changing config by hand. */
void pci_update_mappings(PciDevice *pd);
/* "info pci" text; caller frees. */
char *pci_describe(Machine *m);
PciBus *pci_root(Machine *m);                   /* NULL: the board has no PCI */
uint32_t pci_config_read(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, unsigned size);
void pci_config_write(PciBus *root, uint8_t bus, uint8_t devfn, unsigned off, uint32_t val, unsigned size);
/* Message write to the machine's interrupt router; set by the board. */
void pci_set_msi_target(Machine *m, void (*fn)(void *opaque, uint64_t addr, uint32_t data), void *opaque);
void msi_send(Machine *m, uint64_t addr, uint32_t data);

#endif
