/*
 * piix3: Intel 82371SB function 0: PIRQ routing to ISA lines.
 *
 * Data sheet 290550. Slot S pin P reaches PIRQ (S + P - 1) mod 4; config 60h-63h choose the ISA
 * line. The reset control port cf9h is the host bridge's here, as it lies inside that one's address
 * port. Left out: ISA bus timing and DMA type registers' effects. docs/hw/piix3.md. Machine lock.
 */
#include "hw/isa/piix3.h"

#include "hw/pci/pci_regs.h"

enum { R_PIRQ = 0x60, PIRQS = 4, PIRQ_OFF = 1 << 7 };

typedef struct Piix3 {
    PciDevice pci;
    IrqLine isa[16];
    int asserted[PIRQS];        /* device pins up, by PIRQ: follows the devices */
    uint16_t isa_level;         /* cache: what was driven */
} Piix3;

static void piix3_update(Piix3 *s)
{
    uint16_t level = 0, changed;

    for (unsigned i = 0; i < PIRQS; i++) {
        uint8_t route = s->pci.config[R_PIRQ + i];

        if (!(route & PIRQ_OFF) && s->asserted[i] > 0)
            level |= 1 << (route & 15);
    }
    changed = level ^ s->isa_level;
    s->isa_level = level;
    for (unsigned n = 0; n < 16; n++) {
        if (changed >> n & 1)
            irq_set(&s->isa[n], level >> n & 1);
    }
}

static void set_pin(void *opaque, unsigned slot, unsigned pin, int level)
{
    Piix3 *s = opaque;

    s->asserted[(slot + pin - 1) & 3] += level ? 1 : -1;
    piix3_update(s);
}

void piix3_connect(Device *dev, PciBus *bus, const IrqLine pirq_out[16])
{
    Piix3 *s = (Piix3 *)dev;

    memcpy(s->isa, pirq_out, sizeof s->isa);
    bus->set_irq = set_pin;
    bus->set_irq_opaque = s;
}

static void config_written(PciDevice *pd, unsigned off, unsigned len)
{
    if (off < R_PIRQ + PIRQS && off + len > R_PIRQ)
        piix3_update((Piix3 *)pd);
}

static void piix3_reset(Device *dev)
{
    Piix3 *s = (Piix3 *)dev;
    uint8_t *c = s->pci.config;

    c[PCI_COMMAND] = COMMAND_IO | COMMAND_MEM | COMMAND_MASTER;
    c[0x4c] = 0x4d;
    c[0x4e] = 0x03;
    c[0x69] = 0x02;
    c[0x70] = 0x80;
    c[0x76] = c[0x77] = 0x0c;
    c[0x78] = 0x02;
    memset(c + R_PIRQ, PIRQ_OFF, PIRQS);
    piix3_update(s);
}

static bool piix3_realize(Device *dev, GError **err)
{
    Piix3 *s = (Piix3 *)dev;

    st16_le(s->pci.wmask + PCI_COMMAND, COMMAND_SERR);
    st16_le(s->pci.config + PCI_STATUS, 0x0200);
    memset(s->pci.wmask + R_PIRQ, 0x8f, PIRQS);
    memset(s->pci.wmask + 0x4c, 0xff, 4);
    s->pci.wmask[0x69] = s->pci.wmask[0x70] = s->pci.wmask[0x76] = s->pci.wmask[0x77] = s->pci.wmask[0x78] = 0xff;
    memset(s->pci.wmask + 0xa0, 0xff, 16);
    return true;
}

static bool piix3_loaded(void *opaque, GError **err)
{
    piix3_update(opaque);
    return true;
}

static const PciClass piix3_pci = {
    .vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .config_written = config_written,
};

const DeviceClass piix3_class = {
    .name = "PIIX3", .desc = "PCI to ISA bridge", .category = DEVCAT_BRIDGE, .bus = BUS_PCI, .bus_class = &piix3_pci,
    .size = sizeof(Piix3), .internal = true, .no_hotplug = true,
    .realize = piix3_realize, .reset = piix3_reset,
    .props = (const PropDesc[]) { PCI_PROPS(Piix3), PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = piix3_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(Piix3, pci), STATE_END } },
};
