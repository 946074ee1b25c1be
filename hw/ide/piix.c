/*
 * piix: the IDE function of PIIX3 and PIIX4: two channels at the compatibility ports, bus-master DMA.
 *
 * Intel 82371AB (PIIX4), section 5; Programming Interface for Bus Master IDE Controller 1.0.
 * Always in compatibility mode: 1f0/3f6 IRQ 14, 170/376 IRQ 15. BAR 4 holds the bus-master registers.
 */
#include "hw/ide/ide.h"
#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

enum { BM_CMD = 0, BM_STATUS = 2, BM_PRD = 4, BM_PER_CHANNEL = 8, BM_SIZE = 16, BMDMA_BAR = 4 };
enum { CMD_START = 1, CMD_READ = 8, BMS_ACTIVE = 1, BMS_ERROR = 2, BMS_IRQ = 4, BMS_SETTABLE = 0x60 };
enum { CFG_IDETIM = 0x40, PRD_MAX_ENTRIES = 8192 };

typedef struct PiixIde PiixIde;
typedef struct PiixChannel {
    PiixIde *s;
    IdeBus ide;
    Region cmd, ctl;
    IrqLine isa_irq;
    uint8_t bm_cmd, bm_status;  /* state */
    uint32_t prd;
    uint32_t prd_next;          /* of the entry to fetch */
    uint32_t seg_addr, seg_left;        /* of the entry under way */
    uint16_t entries;           /* fetched since start */
    bool last, waiting;         /* last entry seen; a drive waits for start */
} PiixChannel;

struct PiixIde {
    PciDevice pci;
    Region bm;
    PiixChannel ch[2];
};

static void channel_irq(void *opaque, int n, int level)
{
    PiixChannel *c = opaque;

    if (level)
        c->bm_status |= BMS_IRQ;
    irq_set(&c->isa_irq, level);
}

/* Next physical region descriptor: 32-bit address, 16-bit length (0 = 64 KiB), end bit. */
static bool next_entry(PiixChannel *c)
{
    uint8_t e[8];

    if (c->last || c->entries >= PRD_MAX_ENTRIES || !pci_dma_read(&c->s->pci, c->prd_next, e, sizeof e))
        return false;
    c->entries++;
    c->prd_next += sizeof e;
    c->seg_addr = ld32_le(e) & ~1u;
    c->seg_left = ld16_le(e + 4) & ~1u;
    if (!c->seg_left)
        c->seg_left = 65536;
    c->last = e[7] & 0x80;
    return true;
}

static uint64_t dma_map_part(void *opaque, GArray *spans, uint64_t max, bool to_device)
{
    PiixChannel *c = opaque;
    uint64_t total = 0;

    while (total < max && spans->len < IDE_MAX_SG) {
        DmaSpan s;

        if (!c->seg_left && !next_entry(c))
            break;
        s = dma_map(device_mem(&c->s->pci.dev), c->seg_addr, MIN(c->seg_left, max - total), !to_device);
        if (!s.host || !s.len)
            break;
        g_array_append_val(spans, s);
        c->seg_addr += s.len;
        c->seg_left -= s.len;
        total += s.len;
    }
    return total;
}

static void run_waiting(PiixChannel *c)
{
    for (int i = 0; i < 2; i++) {
        IdeDrive *d = c->ide.drive[i];

        if (d && d->dma_active) {
            c->waiting = false;
            ide_dma_run(d);
            return;
        }
    }
}

static void dma_start(void *opaque, IdeDrive *d)
{
    PiixChannel *c = opaque;

    c->waiting = true;
    if (c->bm_cmd & CMD_START)
        run_waiting(c);
}

static void dma_done(void *opaque, bool ok)
{
    PiixChannel *c = opaque;

    c->waiting = false;
    if (!ok)
        c->bm_status |= BMS_ERROR;
    c->bm_status &= ~BMS_ACTIVE;
}

static void dma_reset(void *opaque)
{
    PiixChannel *c = opaque;

    c->bm_cmd = 0;
    c->bm_status = 0;
    c->prd = c->prd_next = c->seg_addr = c->seg_left = 0;
    c->entries = 0;
    c->last = c->waiting = false;
}

static const IdeDmaOps piix_dma_ops = { dma_start, dma_map_part, dma_done, dma_reset };

static void bm_command(PiixChannel *c, uint8_t val)
{
    bool start = (val & CMD_START) && !(c->bm_cmd & CMD_START), stop = !(val & CMD_START) && (c->bm_cmd & CMD_START);

    c->bm_cmd = val & (CMD_START | CMD_READ);
    if (stop) {                 /* a transfer in flight is finished first: the data is on its way */
        for (int i = 0; i < 2; i++) {
            IdeDrive *d = c->ide.drive[i];

            if (d && d->dma_active && d->drive && !c->waiting)
                block_dev_drain(d->drive);
        }
        c->bm_status &= ~BMS_ACTIVE;
    }
    if (start) {
        c->bm_status |= BMS_ACTIVE;
        c->prd_next = c->prd;
        c->seg_left = 0;
        c->entries = 0;
        c->last = false;
        if (c->waiting)
            run_waiting(c);
    }
}

static uint64_t bm_read(void *opaque, uint64_t off, unsigned size)
{
    PiixIde *s = opaque;
    PiixChannel *c = &s->ch[off / BM_PER_CHANNEL];

    switch (off % BM_PER_CHANNEL) {
    case BM_CMD: return c->bm_cmd;
    case BM_STATUS: return c->bm_status;
    case BM_PRD: case BM_PRD + 1: case BM_PRD + 2: case BM_PRD + 3: return c->prd >> (8 * (off & 3)) & 0xff;
    default: return 0xff;
    }
}

static void bm_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    PiixIde *s = opaque;
    PiixChannel *c = &s->ch[off / BM_PER_CHANNEL];
    unsigned reg = off % BM_PER_CHANNEL, shift = 8 * (off & 3);

    switch (reg) {
    case BM_CMD: bm_command(c, val); break;
    case BM_STATUS:
        c->bm_status = (val & BMS_SETTABLE) | (c->bm_status & BMS_ACTIVE) | (c->bm_status & ~val & (BMS_ERROR | BMS_IRQ));
        break;
    case BM_PRD: case BM_PRD + 1: case BM_PRD + 2: case BM_PRD + 3:
        c->prd = (c->prd & ~(0xffu << shift)) | (uint32_t)(val & 0xff) << shift;
        c->prd &= ~3u;
        break;
    }
}

static const IoOps bm_ops = { bm_read, bm_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

static uint64_t cmd_read(void *opaque, uint64_t reg, unsigned size)
{
    PiixChannel *c = opaque;

    if (reg == IDE_REG_DATA)
        return ide_data_read(&c->ide, size);
    return size == 1 ? ide_read(&c->ide, reg) : UINT64_MAX;
}

static void cmd_write(void *opaque, uint64_t reg, uint64_t val, unsigned size)
{
    PiixChannel *c = opaque;

    if (reg == IDE_REG_DATA)
        ide_data_write(&c->ide, val, size);
    else if (size == 1)
        ide_write(&c->ide, reg, val);
}

static uint64_t ctl_read(void *opaque, uint64_t reg, unsigned size)
{
    return ide_alt_status(&((PiixChannel *)opaque)->ide);
}

static void ctl_write(void *opaque, uint64_t reg, uint64_t val, unsigned size)
{
    ide_control_write(&((PiixChannel *)opaque)->ide, val);
}

static const IoOps cmd_ops = { cmd_read, cmd_write, .min = 1, .max = 4 };
static const IoOps ctl_ops = { ctl_read, ctl_write, .min = 1, .max = 1 };

static bool piix_realize(Device *dev, GError **err)
{
    static const uint16_t ports[2][2] = { { 0x1f0, 0x3f6 }, { 0x170, 0x376 } };
    PiixIde *s = container_of(dev, PiixIde, pci.dev);

    st32_le(s->pci.wmask + CFG_IDETIM, 0xffffffff);
    device_init_io(dev, &s->bm, "piix-bmdma", &bm_ops, BM_SIZE);
    pci_bar(&s->pci, BMDMA_BAR, PCI_BAR_IO, &s->bm);
    for (int i = 0; i < 2; i++) {
        PiixChannel *c = &s->ch[i];
        const char *name = i ? "ide.1" : "ide.0";

        c->s = s;
        if (!isa_claim_irq(dev, &c->isa_irq, 14 + i, err))
            return false;
        ide_bus_init(&c->ide, dev, name, (IrqLine) { channel_irq, c, i }, &piix_dma_ops, c);
        device_init_io(dev, &c->cmd, i ? "ide1-command" : "ide0-command", &cmd_ops, 8);
        device_init_io(dev, &c->ctl, i ? "ide1-control" : "ide0-control", &ctl_ops, 1);
        c->cmd.opaque = c->ctl.opaque = c;
        device_map_pio(dev, &c->cmd, ports[i][0]);
        device_map_pio(dev, &c->ctl, ports[i][1]);
    }
    return true;
}

static void piix_unrealize(Device *dev)
{
    PiixIde *s = container_of(dev, PiixIde, pci.dev);

    for (int i = 0; i < 2; i++) {
        region_destroy(&s->ch[i].cmd);
        region_destroy(&s->ch[i].ctl);
    }
    region_destroy(&s->bm);
}

static void piix_reset(Device *dev)
{
    PiixIde *s = container_of(dev, PiixIde, pci.dev);

    for (int i = 0; i < 2; i++) {
        dma_reset(&s->ch[i]);
        ide_bus_reset(&s->ch[i].ide);
    }
    /* Both channels enabled with fast timing, as firmware that never touches IDETIM expects. */
    st16_le(s->pci.config + CFG_IDETIM, 0x8000);
    st16_le(s->pci.config + CFG_IDETIM + 2, 0x8000);
}

static bool piix_loaded(void *opaque, GError **err)
{
    PiixIde *s = opaque;

    for (int i = 0; i < 2; i++) {
        if (s->ch[i].seg_left > 65536 || s->ch[i].entries > PRD_MAX_ENTRIES || s->ch[i].ide.unit > 1)
            return err_set(err, "%s: impossible DMA state", s->pci.dev.cls->name);
    }
    return true;
}

static const StateDesc channel_state = {
    .name = "channel", .version = 1,
    .fields = (const StateField[]) {
        STATE_STRUCT(PiixChannel, ide, &ide_bus_state), STATE_U8(PiixChannel, bm_cmd), STATE_U8(PiixChannel, bm_status),
        STATE_U32(PiixChannel, prd), STATE_U32(PiixChannel, prd_next), STATE_U32(PiixChannel, seg_addr),
        STATE_U32(PiixChannel, seg_left), STATE_U16(PiixChannel, entries), STATE_B(PiixChannel, last),
        STATE_B(PiixChannel, waiting), STATE_END },
};

static const StateDesc piix_state = {
    .version = 1, .loaded = piix_loaded,
    .fields = (const StateField[]) {
        STATE_PCI(PiixIde, pci), STATE_STRUCTS(PiixIde, ch, &channel_state), STATE_END },
};

static const PropDesc piix_props[] = { PCI_PROPS(PiixIde), PROP_END };

#define PIIX_CLASS(var, text, id, about) \
    static const PciClass var##_pci = { .vendor = 0x8086, .device = id, .class_code = 0x010180 }; \
    const DeviceClass var##_class = { \
        .name = text, .desc = about, .category = DEVCAT_STORAGE, .bus = BUS_PCI, .size = sizeof(PiixIde), \
        .realize = piix_realize, .unrealize = piix_unrealize, .reset = piix_reset, .props = piix_props, \
        .state = &piix_state, .bus_class = &var##_pci, .no_hotplug = true }

PIIX_CLASS(piix3_ide, "piix3-ide", 0x7010, "IDE controller of the PIIX3");
PIIX_CLASS(piix4_ide, "piix4-ide", 0x7111, "IDE controller of the PIIX4");
