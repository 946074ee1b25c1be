/*
 * bootorder: devices with bootindex= as the paths firmware knows them by.
 *
 * The form is that of Open Firmware device paths (IEEE 1275) as SeaBIOS and OVMF match them:
 * "/pci@i0cf8/scsi@4/disk@0,0". Firmware compares them from the start, names by pattern.
 */
#include "hw/block/fdc.h"
#include "hw/core/wiring.h"
#include "hw/i386/board_int.h"
#include "hw/ide/ide.h"
#include "hw/pci/pci_regs.h"
#include "hw/scsi/scsi.h"

static const char *pci_node_name(const PciDevice *pd)
{
    switch (pd->config[PCI_CLASS + 2] << 8 | pd->config[PCI_CLASS + 1]) {
    case 0x0100: return "scsi";
    case 0x0101: return "ide";
    case 0x0200: return "ethernet";
    case 0x0300: return "display";
    case 0x0601: return "isa";
    case 0x0c03: return "usb";
    default: return "pci";
    }
}

static char *pci_path(Device *dev, const char *tail)
{
    const PciDevice *pd = pci_device(dev);
    unsigned slot = pd->devfn >> 3, fn = pd->devfn & 7;

    return fn ? g_strdup_printf("/pci@i0cf8/%s@%x,%x%s", pci_node_name(pd), slot, fn, tail)
              : g_strdup_printf("/pci@i0cf8/%s@%x%s", pci_node_name(pd), slot, tail);
}

static unsigned bus_number(const Bus *bus)
{
    for (unsigned i = 0; bus->owner && bus->owner->buses && i < bus->owner->buses->len; i++) {
        if (g_ptr_array_index(bus->owner->buses, i) == bus)
            return i;
    }
    return 0;
}

/* What follows the controller's path, or NULL: firmware cannot start from it. */
static char *drive_tail(Device *dev)
{
    const IdeDrive *ide = (const IdeDrive *)dev;
    const ScsiDisk *scsi = (const ScsiDisk *)dev;

    switch (dev->bus->kind) {
    case BUS_IDE: return g_strdup_printf("/drive@%x/disk@%x", bus_number(dev->bus), ide->unit);
    case BUS_SCSI: return g_strdup_printf("/channel@%x/disk@%x,%x", scsi->channel, scsi->target, scsi->lun);
    default: return NULL;
    }
}

static char *boot_path(Device *dev)
{
    Bus *bus = dev->bus;
    g_autofree char *tail = bus ? drive_tail(dev) : NULL, *unit = NULL;

    if (!bus)
        return NULL;
    if (bus->kind == BUS_PCI)
        return pci_path(dev, dev->cls->category == DEVCAT_STORAGE ? "/disk@0,0" :
                             dev->cls->category == DEVCAT_NETWORK ? "/ethernet-phy@0" : "");
    if (bus->kind == BUS_FLOPPY) {
        unit = device_get_prop(dev, "unit");
        return g_strdup_printf("/pci@i0cf8/isa@1/fdc@03f0/floppy@%s", unit);
    }
    return tail && bus->owner && bus->owner->bus && bus->owner->bus->kind == BUS_PCI ? pci_path(bus->owner, tail) : NULL;
}

void pc_collect_boot_order(Pc *pc)
{
    GPtrArray *devices = pc->machine->devices;

    for (unsigned i = 0; i < devices->len; i++) {
        Device *dev = g_ptr_array_index(devices, i);
        g_autofree char *path = dev->bootindex >= 0 ? boot_path(dev) : NULL;

        if (path)
            boot_order_add(pc->machine, dev, dev->bootindex, path);
        else if (dev->bootindex >= 0)
            log_warn("%s: bootindex=%d: firmware cannot start from this device", dev->cls->name, dev->bootindex);
    }
}
