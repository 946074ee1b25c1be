/*
 * bochs_display: a frame buffer with DISPI registers and EDID in a memory BAR; no VGA.
 *
 * The same register block as the standard VGA's BAR 2, without the VGA ports. docs/hw/vga.md.
 */
#include "hw/display/vga.h"
#include "hw/pci/pci.h"

enum { MMIO_DISPI = 0x500, MMIO_EXT = 0x600, MMIO_SIZE = 0x1000, EDID_BYTES = 128, ENDIAN_LITTLE = 0x1e1e1e1e };

typedef struct BochsDisplay {
    PciDevice pci;
    Vga vga;                    /* its VBE part */
    Region mmio_region;
    uint64_t vgamem;            /* properties */
    bool edid;
    uint32_t xres, yres;
    uint8_t edid_data[EDID_BYTES];
} BochsDisplay;

extern const DeviceClass bochs_display_class;

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    BochsDisplay *s = opaque;
    uint64_t val = 0;

    if (off < 0x400) {
        for (unsigned i = 0; i < size; i++)
            val |= (uint64_t)(s->edid && off + i < EDID_BYTES ? s->edid_data[off + i] : 0) << (8 * i);
        return val;
    }
    if (off >= MMIO_DISPI && off < MMIO_DISPI + VBE_REGS * 2)
        return vbe_read(&s->vga, (off - MMIO_DISPI) / 2) >> (8 * (off & 1));
    return off == MMIO_EXT ? 8 : off == MMIO_EXT + 4 ? ENDIAN_LITTLE : 0;
}

static void mmio_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    BochsDisplay *s = opaque;

    if (off >= MMIO_DISPI && off < MMIO_DISPI + VBE_REGS * 2 && !(off & 1))
        vbe_write(&s->vga, (off - MMIO_DISPI) / 2, val);
}

static const IoOps mmio_ops = { mmio_read, mmio_write, .min = 1, .max = 8, .impl_min = 1, .impl_max = 4 };

static bool bochs_realize(Device *dev, GError **err)
{
    BochsDisplay *s = (BochsDisplay *)dev;

    if (s->vgamem < 4 * MiB)
        return err_set(err, "bochs-display: vgamem must be at least 4M");
    if (s->xres < 640 || s->xres > 4095 || s->yres < 480 || s->yres > 4095)
        return err_set(err, "bochs-display: xres and yres must be between 640x480 and 4095x4095");
    if (!vga_init(&s->vga, dev, s->vgamem, false, err))
        return false;
    edid_build(s->edid_data, s->xres, s->yres);
    pci_bar(&s->pci, 0, PCI_BAR_MEM32_PREF, &s->vga.lfb);
    device_init_io(dev, &s->mmio_region, "bochs.mmio", &mmio_ops, MMIO_SIZE);
    pci_bar(&s->pci, 2, PCI_BAR_MEM32, &s->mmio_region);
    return true;
}

static void bochs_unrealize(Device *dev)
{
    BochsDisplay *s = (BochsDisplay *)dev;

    region_destroy(&s->mmio_region);
    vga_cleanup(&s->vga);
}

static void bochs_reset(Device *dev)
{
    BochsDisplay *s = (BochsDisplay *)dev;

    vga_reset(&s->vga);
    s->vga.ar_index = 0x20;     /* there is nothing that could blank the picture */
}

const DeviceClass bochs_display_class = {
    .name = "bochs-display", .desc = "Bochs frame buffer without VGA", .category = DEVCAT_DISPLAY, .bus = BUS_PCI,
    .size = sizeof(BochsDisplay), .realize = bochs_realize, .unrealize = bochs_unrealize, .reset = bochs_reset,
    .props = (const PropDesc[]) {
        PCI_PROPS(BochsDisplay),
        { PROP_F_(BochsDisplay, vgamem, PROP_SIZE_, 16 * 1024 * 1024, .help = "video memory") },
        PROP_BOOL(BochsDisplay, edid, 1, "describe a monitor to the guest"),
        PROP_U32(BochsDisplay, xres, 1280, "preferred width"), PROP_U32(BochsDisplay, yres, 800, "preferred height"),
        PROP_END },
    .bus_class = &(const PciClass) { .vendor = 0x1234, .device = 0x1111, .class_code = 0x038000, .revision = 2,
                                     .rom_file = "vgabios-bochs-display.bin" },
    .state = &(const StateDesc) { .version = 1, .fields = (const StateField[]) {
        STATE_PCI(BochsDisplay, pci), STATE_STRUCT(BochsDisplay, vga, &vga_state), STATE_END } },
};
