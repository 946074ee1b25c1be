/*
 * i440fx: Intel 82441FX host bridge: configuration ports, PAM shadowing, SMRAM, memory map.
 *
 * Data sheet 290549. Modelled: configuration mechanism 1 (cf8h, cfch), PAM0-6 with reads and
 * writes to RAM (write-only shadow is taken as "off", as firmware never runs that way for long),
 * SMRAM open, close and lock. Left out: DRAM timing registers' effects. Which processor is in SMM
 * does not matter: SMRAM shows while any of them is. docs/hw/i440fx.md. Machine lock.
 */
#include "hw/pci/i440fx.h"

#include "hw/pci/pci_int.h"

enum { R_PAM = 0x59, PAMS = 7, R_SMRAM = 0x72 };
enum { PAM_READ = 1, PAM_WRITE = 2 };
enum { SMRAM_BASE_SEG = 2, SMRAM_ENABLE = 1 << 3, SMRAM_LOCK = 1 << 4, SMRAM_CLOSED = 1 << 5, SMRAM_OPEN = 1 << 6 };
enum { PORT_ADDRESS = 0, PORT_RESET = 1, PORT_DATA = 4, RESET_CPU = 1 << 2, RESET_HARD = 1 << 1 };
enum { AREAS = 13 };            /* f0000-fffff, then twelve of 16 KiB from c0000 */

typedef struct PamArea { Region ram, rom; } PamArea;

typedef struct I440fx {
    PciDevice pci;
    Region pci_mem;             /* whole address space, below RAM */
    Region low_ram, high_ram, vga_window, vga_hole, smram;
    PamArea area[AREAS];
    Region config_io;
    PciBus *bus;
    uint64_t below_4g;
    uint64_t smm_cpus;          /* bit n: processor n (mod 64) is in SMM */
    uint32_t config_address;    /* state */
    uint8_t reset_control;
} I440fx;

/* PAM register and nibble of an area: area 0 is PAM0's high nibble. */
static unsigned pam_bits(const I440fx *s, unsigned area)
{
    unsigned reg = area == 0 ? 0 : 1 + (area - 1) / 2;
    bool high = area == 0 || (area - 1) % 2;

    return s->pci.config[R_PAM + reg] >> (high ? 4 : 0) & 3;
}

static void i440fx_update(I440fx *s)
{
    uint8_t smram = s->pci.config[R_SMRAM];
    bool enabled = smram & SMRAM_ENABLE;
    bool shown = enabled && ((smram & SMRAM_OPEN) || (s->smm_cpus && !(smram & SMRAM_CLOSED)));

    region_batch_begin();
    for (unsigned i = 0; i < AREAS; i++) {
        unsigned pam = pam_bits(s, i);

        region_set_enabled(&s->area[i].ram, pam == (PAM_READ | PAM_WRITE));
        region_set_enabled(&s->area[i].rom, pam == PAM_READ);
    }
    region_set_enabled(&s->smram, shown);
    region_batch_end();
}

void i440fx_set_smm(Device *dev, unsigned cpu, bool in)
{
    I440fx *s = (I440fx *)dev;
    uint64_t bit = 1ULL << (cpu & 63);

    s->smm_cpus = in ? s->smm_cpus | bit : s->smm_cpus & ~bit;
    i440fx_update(s);
}

static void config_written(PciDevice *pd, unsigned off, unsigned len)
{
    I440fx *s = (I440fx *)pd;
    uint8_t *smram = &pd->config[R_SMRAM];

    if (off <= R_SMRAM && off + len > R_SMRAM) {
        *smram = (*smram & ~7) | SMRAM_BASE_SEG;
        if (*smram & SMRAM_LOCK) {              /* D_LCK freezes the register, D_OPEN is cleared */
            *smram &= ~SMRAM_OPEN;
            pd->wmask[R_SMRAM] = 0;
        }
        i440fx_update(s);
    } else if (off < R_PAM + PAMS && off + len > R_PAM) {
        i440fx_update(s);
    }
}

/* Configuration mechanism 1, and the south bridge's reset control register inside its address port. */

static uint64_t config_read(void *opaque, uint64_t off, unsigned size)
{
    I440fx *s = opaque;
    uint32_t a = s->config_address;

    if (off == PORT_RESET && size == 1)
        return s->reset_control;
    if (off < PORT_DATA)
        return off == PORT_ADDRESS && size == 4 ? a : 0xffffffff;
    if (!(a >> 31))
        return 0xffffffff;
    return pci_config_read(s->bus, a >> 16, a >> 8, (a & 0xfc) + (off - PORT_DATA), size);
}

static void config_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    I440fx *s = opaque;
    uint32_t a = s->config_address;

    if (off == PORT_RESET && size == 1) {
        if (val & RESET_CPU)
            machine_request_reset(s->pci.dev.machine, CAUSE_GUEST_RESET);
        s->reset_control = val & RESET_HARD;
    } else if (off == PORT_ADDRESS && size == 4) {
        s->config_address = val & 0x80fffffc;
    } else if (off >= PORT_DATA && a >> 31) {
        pci_config_write(s->bus, a >> 16, a >> 8, (a & 0xfc) + (off - PORT_DATA), val, size);
    }
}

static const IoOps config_ops = { config_read, config_write, .min = 1, .max = 4 };

static void i440fx_reset(Device *dev)
{
    I440fx *s = (I440fx *)dev;

    s->config_address = 0;
    s->reset_control = 0;
    /* On the way out of S3 firmware must find its variables in the shadow. */
    if (dev->machine->state != RUN_SUSPENDED)
        memset(s->pci.config + R_PAM, 0, PAMS);
    s->pci.config[R_SMRAM] = SMRAM_BASE_SEG;
    s->pci.wmask[R_SMRAM] = 0x78;
    s->pci.config[PCI_COMMAND] = COMMAND_MEM | COMMAND_MASTER;
    s->smm_cpus = 0;
    i440fx_update(s);
}

static bool i440fx_realize(Device *dev, GError **err)
{
    I440fx *s = (I440fx *)dev;

    st16_le(s->pci.wmask + PCI_COMMAND, COMMAND_SERR | COMMAND_PARITY);
    memset(s->pci.wmask + R_PAM, 0x33, PAMS);
    s->pci.wmask[R_PAM] = 0x30;
    s->pci.wmask[R_SMRAM] = 0x78;
    memset(s->pci.wmask + 0x50, 0xff, 8);       /* memory controller set-up: kept, no effect */
    memset(s->pci.wmask + 0x60, 0xff, 8);
    return true;
}

/* What no PCI device claims below 1 MiB must not show the RAM behind it. */
static uint64_t hole_read(void *opaque, uint64_t off, unsigned size) { return UINT64_MAX; }
static void hole_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { }
static const IoOps hole_ops = { hole_read, hole_write, .min = 1, .max = 8, .lockless = true, .unaligned = true };

/* RAM, and over its low megabyte what the bridge switches: c0000-fffff and a0000-bffff. */
static void map_memory(I440fx *s)
{
    Machine *m = s->pci.dev.machine;
    Region *root = &m->mem_root;

    region_init_ram(&s->low_ram, "ram-below-4g", m->ram, 0, s->below_4g);
    region_add(root, &s->low_ram, 0, 0);
    if (m->ram_size > s->below_4g) {
        region_init_ram(&s->high_ram, "ram-above-4g", m->ram, s->below_4g, m->ram_size - s->below_4g);
        region_add(root, &s->high_ram, 4 * GiB, 0);
    }
    region_init_io(&s->vga_hole, "pci-low-hole", &hole_ops, s, 0x60000);
    region_add(&s->pci_mem, &s->vga_hole, 0xa0000, -10);
    region_init_alias(&s->vga_window, "vga-window", &s->pci_mem, 0xa0000, 0x60000);
    region_add(root, &s->vga_window, 0xa0000, 1);
    region_init_ram(&s->smram, "smram", m->ram, 0xa0000, 0x20000);
    region_add(root, &s->smram, 0xa0000, 2);
    for (unsigned i = 0; i < AREAS; i++) {
        uint64_t at = i == 0 ? 0xf0000 : 0xc0000 + (i - 1) * 0x4000, size = i == 0 ? 0x10000 : 0x4000;

        region_init_ram(&s->area[i].ram, "pam-ram", m->ram, at, size);
        region_init_rom(&s->area[i].rom, "pam-rom", m->ram, at, size, NULL, NULL);
        region_add(root, &s->area[i].ram, at, 2);
        region_add(root, &s->area[i].rom, at, 2);
    }
}

Device *i440fx_create(Machine *m, uint64_t below_4g, GError **err)
{
    Device *dev = device_new(m, device_class_find("i440FX"), NULL);
    I440fx *s = (I440fx *)dev;

    region_batch_begin();
    s->below_4g = below_4g;
    region_init_container(&s->pci_mem, "pci", UINT64_MAX);
    region_add(&m->mem_root, &s->pci_mem, 0, -1);
    map_memory(s);
    s->bus = pci_bus_new(m, NULL, "pci.0", &s->pci_mem, &m->port_root);
    region_init_io(&s->config_io, "pci-config", &config_ops, s, 8);
    region_add(&m->port_root, &s->config_io, 0xcf8, 0);
    region_batch_end();
    return device_realize(dev, s->bus->bus, err) ? dev : NULL;
}

Region *i440fx_pci_memory(Device *dev)
{
    return &((I440fx *)dev)->pci_mem;
}

static void i440fx_unrealize(Device *dev)
{
    I440fx *s = (I440fx *)dev;

    for (unsigned i = 0; i < AREAS; i++) {
        region_destroy(&s->area[i].ram);
        region_destroy(&s->area[i].rom);
    }
    region_destroy(&s->smram);
    region_destroy(&s->vga_window);
    region_destroy(&s->vga_hole);
    region_destroy(&s->low_ram);
    if (s->high_ram.name)
        region_destroy(&s->high_ram);
    region_destroy(&s->config_io);
    region_destroy(&s->pci_mem);
}

void i440fx_pci_windows(Device *dev, uint64_t *lo, uint64_t *hi, uint64_t *lo64, uint64_t *hi64)
{
    I440fx *s = (I440fx *)dev;

    *lo = s->below_4g;
    *hi = 0xfebfffff;
    *lo64 = *hi64 = 0;
    for (unsigned i = 0; i < 256; i++) {
        for (unsigned b = 0; s->bus->dev[i] && b <= PCI_ROM_BAR; b++) {
            const PciDevice *pd = s->bus->dev[i];
            uint64_t at = pd->bar[b].mapped, end = at + pd->bar[b].size - 1;

            if (!pd->bar[b].is_mapped || pd->bar[b].kind == PCI_BAR_IO || at < 4 * GiB)
                continue;
            *lo64 = *lo64 ? MIN(*lo64, at) : at;
            *hi64 = MAX(*hi64, end);
        }
    }
}

static bool i440fx_loaded(void *opaque, GError **err)
{
    I440fx *s = opaque;

    s->config_address &= 0x80fffffc;
    s->pci.wmask[R_SMRAM] = s->pci.config[R_SMRAM] & SMRAM_LOCK ? 0 : 0x78;
    i440fx_update(s);
    return true;
}

static const PciClass i440fx_pci = {
    .vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000,
    .config_written = config_written,
};

const DeviceClass i440fx_class = {
    .name = "i440FX", .desc = "host bridge", .category = DEVCAT_BRIDGE, .bus = BUS_PCI, .bus_class = &i440fx_pci,
    .size = sizeof(I440fx), .internal = true, .no_hotplug = true,
    .realize = i440fx_realize, .unrealize = i440fx_unrealize, .reset = i440fx_reset,
    .props = (const PropDesc[]) { PCI_PROPS(I440fx), PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = i440fx_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(I440fx, pci), STATE_U32(I440fx, config_address), STATE_UMAX(I440fx, reset_control, RESET_HARD),
            STATE_U64(I440fx, smm_cpus), STATE_END } },
};
