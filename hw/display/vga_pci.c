/*
 * vga_pci: the PCI cards: `VGA` (Bochs standard VGA with legacy ports) and `secondary-vga` (without).
 *
 * BAR 0: video memory. BAR 2: 4 KiB of EDID (0-3ff), VGA ports 3c0-3df (400-41f), DISPI registers
 * (500-515) and the extension block with the byte order switch (600-607).
 */
#include "hw/display/vga.h"
#include "hw/pci/pci.h"

enum { MMIO_EDID = 0, MMIO_PORTS = 0x400, MMIO_DISPI = 0x500, MMIO_EXT = 0x600, MMIO_SIZE = 0x1000 };
enum { EXT_SIZE = 0, EXT_ENDIAN = 4, ENDIAN_LITTLE = 0x1e1e1e1e, EDID_BYTES = 128 };

typedef struct VgaPci {
    PciDevice pci;
    Vga vga;
    Region mmio_region;
    uint32_t vgamem_mb, xres, yres;     /* properties */
    bool edid, mmio;
    uint8_t edid_data[EDID_BYTES];
} VgaPci;

extern const DeviceClass VGA_class, secondary_vga_class;

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    VgaPci *s = opaque;
    uint64_t val = 0;

    if (off < MMIO_PORTS) {
        for (unsigned i = 0; i < size; i++)
            val |= (uint64_t)(s->edid && off + i < EDID_BYTES ? s->edid_data[off + i] : 0) << (8 * i);
        return val;
    }
    if (off < MMIO_PORTS + 0x20) {
        for (unsigned i = 0; i < MIN(size, 4); i++)
            val |= (uint64_t)vga_port_read(&s->vga, 0x3c0 + (off - MMIO_PORTS) + i) << (8 * i);
        return val;
    }
    if (off >= MMIO_DISPI && off < MMIO_DISPI + VBE_REGS * 2)
        return vbe_read(&s->vga, (off - MMIO_DISPI) / 2) >> (8 * (off & 1));
    if (off == MMIO_EXT + EXT_SIZE)
        return 8;
    if (off == MMIO_EXT + EXT_ENDIAN)
        return ENDIAN_LITTLE;
    return 0;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    VgaPci *s = opaque;

    if (off >= MMIO_PORTS && off < MMIO_PORTS + 0x20) {
        for (unsigned i = 0; i < MIN(size, 4); i++)
            vga_port_write(&s->vga, 0x3c0 + (off - MMIO_PORTS) + i, val >> (8 * i));
    } else if (off >= MMIO_DISPI && off < MMIO_DISPI + VBE_REGS * 2 && !(off & 1)) {
        vbe_write(&s->vga, (off - MMIO_DISPI) / 2, val);
    }
}

static const IoOps mmio_ops = { mmio_read, mmio_write, .min = 1, .max = 8, .impl_min = 1, .impl_max = 4 };

static bool realize(VgaPci *s, bool legacy, GError **err)
{
    Device *dev = &s->pci.dev;

    if (s->vgamem_mb == 0)
        return err_set(err, "%s: vgamem_mb must be at least 1", dev->cls->name);
    if (s->xres < 640 || s->xres > 4095 || s->yres < 480 || s->yres > 4095)
        return err_set(err, "%s: xres and yres (preferred mode) must be between 640x480 and 4095x4095", dev->cls->name);
    if (!vga_init(&s->vga, dev, s->vgamem_mb * MiB, legacy, err))
        return false;
    if (legacy)
        vga_map_legacy(&s->vga, s->pci.pci_bus->mem, s->pci.pci_bus->io);
    edid_build(s->edid_data, s->xres, s->yres);
    pci_bar(&s->pci, 0, PCI_BAR_MEM32_PREF, &s->vga.lfb);
    if (s->mmio) {
        device_init_io(dev, &s->mmio_region, "vga.mmio", &mmio_ops, MMIO_SIZE);
        pci_bar(&s->pci, 2, PCI_BAR_MEM32, &s->mmio_region);
    }
    return true;
}

static bool vga_realize(Device *dev, GError **err)
{
    return realize((VgaPci *)dev, true, err);
}

static bool secondary_realize(Device *dev, GError **err)
{
    return realize((VgaPci *)dev, false, err);
}

static void vga_unrealize(Device *dev)
{
    VgaPci *s = (VgaPci *)dev;

    if (s->mmio)
        region_destroy(&s->mmio_region);
    vga_cleanup(&s->vga);
}

static void vga_pci_reset(Device *dev)
{
    vga_reset(&((VgaPci *)dev)->vga);
}

static const PropDesc vga_props[] = {
    PCI_PROPS(VgaPci),
    PROP_U32(VgaPci, vgamem_mb, 16, "video memory in MiB, a power of two"),
    PROP_BOOL(VgaPci, mmio, 1, "registers in BAR 2"),
    PROP_BOOL(VgaPci, edid, 1, "describe a monitor to the guest"),
    PROP_U32(VgaPci, xres, 1280, "preferred width"),
    PROP_U32(VgaPci, yres, 800, "preferred height"),
    PROP_END
};
static const StateDesc vga_pci_state = {
    .version = 1, .fields = (const StateField[]) {
        STATE_PCI(VgaPci, pci), STATE_STRUCT(VgaPci, vga, &vga_state), STATE_END },
};

const DeviceClass VGA_class = {
    .name = "VGA", .desc = "standard VGA with Bochs extensions", .category = DEVCAT_DISPLAY, .bus = BUS_PCI,
    .size = sizeof(VgaPci), .no_hotplug = true,
    .realize = vga_realize, .unrealize = vga_unrealize, .reset = vga_pci_reset,
    .props = vga_props, .state = &vga_pci_state,
    .bus_class = &(const PciClass) { .vendor = 0x1234, .device = 0x1111, .class_code = 0x030000, .revision = 2,
                                     .rom_file = "vgabios-stdvga.bin" },
};
const DeviceClass secondary_vga_class = {
    .name = "secondary-vga", .desc = "standard VGA without legacy ports", .category = DEVCAT_DISPLAY,
    .bus = BUS_PCI, .size = sizeof(VgaPci),
    .realize = secondary_realize, .unrealize = vga_unrealize, .reset = vga_pci_reset,
    .props = vga_props, .state = &vga_pci_state,
    .bus_class = &(const PciClass) { .vendor = 0x1234, .device = 0x1111, .class_code = 0x038000, .revision = 2 },
};
