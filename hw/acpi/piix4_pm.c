/*
 * piix4_pm: power management function of the 82371AB: PM1 block, PM timer, GPE0, SMI port.
 *
 * Data sheet 290562, and ACPI 1.0b section 4.7 for the registers' meaning. Modelled: power button,
 * SCI, S3, S4 and S5 through PM1 control, PM timer with its overflow event, APM ports b2h/b3h with
 * SMI, a GPE0 block at afe0h, PCI hot plug at ae00h. Left out: SMBus transactions, device monitors. docs/hw/piix4_pm.md.
 * Machine lock.
 */
#include "hw/acpi/piix4_pm.h"

#include "hw/pci/pci_regs.h"
#include "softmmu/vcpu.h"

enum { PM1_STS = 0, PM1_EN = 2, PM1_CNT = 4, PM_TMR = 8, PM_SIZE = 64 };
enum { STS_TMR = 1 << 0, STS_GBL = 1 << 5, STS_PWRBTN = 1 << 8, STS_RTC = 1 << 10, STS_WAK = 1 << 15 };
enum { CNT_SCI_EN = 1 << 0, CNT_SLP_TYP = 7 << 10, CNT_SLP_EN = 1 << 13 };
enum { R_PMBASE = 0x40, R_APMC_EN = 0x5b, APMC_EN = 1 << 1, R_PMREGMISC = 0x80, PMIOSE = 1 << 0, R_SMBBASE = 0x90 };
enum { APM_ACPI_ENABLE = 0xf1, APM_ACPI_DISABLE = 0xf0 };
enum { SLEEP_S5 = 0, SLEEP_S3 = 1, SLEEP_S4 = 2 };
#define PM_HZ 3579545
#define TIMER_HALF (1 << 23)    /* the overflow event is a change of bit 23 */

typedef struct Piix4Pm {
    PciDevice pci;
    Region pm_io, apm_io, gpe_io, hp_io;
    IrqLine sci;
    Timer timer;
    bool smm_enabled, disable_s3, disable_s4;   /* properties */
    uint8_t s4_val;
    uint16_t sts, en, cnt;      /* state */
    uint8_t gpe_sts[2], gpe_en[2];
    uint8_t apmc, apms;
    uint32_t hp_up, hp_down;    /* slots: came; shall go */
    int64_t next_half;          /* vm ns when bit 23 of the timer changes next, as far as looked at */
    bool pm_mapped;             /* cache */
    uint16_t pm_at;
    PciBus *hp_bus;             /* NULL: no hot plug */
    guint hp_idle;
    uint32_t hp_idle_slots;
} Piix4Pm;

static int64_t ns_to_pm(int64_t ns) { return (int64_t)((__int128)ns * PM_HZ / NS_PER_SEC); }
static int64_t pm_to_ns(int64_t t) { return (int64_t)(((__int128)t * NS_PER_SEC + PM_HZ - 1) / PM_HZ); }

static uint32_t timer_value(const Piix4Pm *s)
{
    return ns_to_pm(clock_ns(s->pci.dev.machine->clocks, CLOCK_VM)) & 0xffffff;
}

/* SCI and the overflow timer follow the registers. */
static void pm_update(Piix4Pm *s)
{
    int64_t now = device_now(&s->pci.dev);
    bool gpe = (s->gpe_sts[0] & s->gpe_en[0]) || (s->gpe_sts[1] & s->gpe_en[1]);

    if (now >= s->next_half) {
        if (s->next_half)
            s->sts |= STS_TMR;
        s->next_half = pm_to_ns((ns_to_pm(now) / TIMER_HALF + 1) * TIMER_HALF);
    }
    irq_set(&s->sci, (s->cnt & CNT_SCI_EN) && ((s->sts & s->en & (STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC)) || gpe));
    timer_set(&s->timer, (s->en & STS_TMR) && !(s->sts & STS_TMR) ? s->next_half : 0);
}

static void pm_expire(void *opaque)
{
    pm_update(opaque);
}

static void enter_sleep(Piix4Pm *s, unsigned type)
{
    Machine *m = s->pci.dev.machine;

    trace(piix4_pm_sleep, "type=%u", type);
    if (type == SLEEP_S5 || (type == s->s4_val && !s->disable_s4))
        machine_request_shutdown(m, CAUSE_GUEST_SHUTDOWN);
    else if (type == SLEEP_S3 && !s->disable_s3)
        machine_request_suspend(m);
    else
        log_guest("ACPI sleep type %u is not offered\n", type);
}

static void word_write(Piix4Pm *s, unsigned reg, uint16_t val, uint16_t mask)
{
    switch (reg) {
    case PM1_STS:
        s->sts &= ~(val & mask);
        break;
    case PM1_EN:
        s->en = (s->en & ~mask) | (val & mask);
        break;
    case PM1_CNT:
        s->cnt = ((s->cnt & ~mask) | (val & mask)) & ~CNT_SLP_EN;
        if (val & mask & CNT_SLP_EN)
            enter_sleep(s, (s->cnt & CNT_SLP_TYP) >> 10);
        break;
    }
}

static uint64_t pm_read(void *opaque, uint64_t off, unsigned size)
{
    Piix4Pm *s = opaque;
    uint8_t raw[16] = { 0 };

    if (off >= sizeof raw - 4)
        return 0;
    if (off == PM_TMR)          /* read often: nothing to work out */
        return timer_value(s);
    pm_update(s);
    st16_le(raw + PM1_STS, s->sts);
    st16_le(raw + PM1_EN, s->en);
    st16_le(raw + PM1_CNT, s->cnt);
    st32_le(raw + PM_TMR, timer_value(s));
    return ld32_le(raw + off);
}

static void pm_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Piix4Pm *s = opaque;

    pm_update(s);
    for (unsigned i = 0; i < size; i++)
        word_write(s, (off + i) & ~1u, (val >> 8 * i & 0xff) << 8 * ((off + i) & 1), 0xff << 8 * ((off + i) & 1));
    pm_update(s);
}

static const IoOps pm_ops = { pm_read, pm_write, .min = 1, .max = 4 };

/* APM control and status: the way to system management mode. */

static uint64_t apm_read(void *opaque, uint64_t off, unsigned size)
{
    const Piix4Pm *s = opaque;

    return off ? s->apms : s->apmc;
}

static void apm_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Piix4Pm *s = opaque;
    Machine *m = s->pci.dev.machine;

    if (off) {
        s->apms = val;
        return;
    }
    s->apmc = val;
    if (val == APM_ACPI_ENABLE)
        s->cnt |= CNT_SCI_EN;
    else if (val == APM_ACPI_DISABLE)
        s->cnt &= ~CNT_SCI_EN;
    if (s->smm_enabled && (s->pci.config[R_APMC_EN] & APMC_EN) && m->vcpus->len)
        vcpu_raise(g_ptr_array_index(m->vcpus, 0), VCPU_IRQ_SMI);
    pm_update(s);
}

static const IoOps apm_ops = { apm_read, apm_write, .min = 1, .max = 1 };

static uint64_t gpe_read(void *opaque, uint64_t off, unsigned size)
{
    const Piix4Pm *s = opaque;

    return off < 2 ? s->gpe_sts[off] : s->gpe_en[off & 1];
}

static void gpe_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Piix4Pm *s = opaque;

    if (off < 2)
        s->gpe_sts[off] &= ~val;
    else
        s->gpe_en[off & 1] = val;
    pm_update(s);
}

static const IoOps gpe_ops = { gpe_read, gpe_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

/* PCI hot plug. */

static bool slot_can_go(const PciBus *bus, unsigned slot)
{
    bool any = false;

    for (unsigned f = 0; f < 8; f++) {
        const PciDevice *pd = bus->dev[slot << 3 | f];

        if (pd && pd->dev.cls->no_hotplug)
            return false;
        any |= pd != NULL;
    }
    return any;
}

static uint32_t removable_slots(const Piix4Pm *s)
{
    uint32_t mask = 0;

    for (unsigned i = 0; s->hp_bus && i < 32; i++)
        mask |= slot_can_go(s->hp_bus, i) ? 1u << i : 0;
    return mask;
}

/* The guest let go of these slots, asked or not. */
static void eject(Piix4Pm *s, uint32_t slots)
{
    slots &= removable_slots(s);
    s->hp_down &= ~slots;
    s->hp_up &= ~slots;
    for (unsigned i = 0; i < 256; i++) {
        if (slots >> (i >> 3) & 1 && s->hp_bus->dev[i])
            device_unplug(&s->hp_bus->dev[i]->dev);
    }
}

static uint64_t hp_read(void *opaque, uint64_t off, unsigned size)
{
    Piix4Pm *s = opaque;
    uint32_t v;

    switch (off) {
    case 0x00:
        v = s->hp_up;
        s->hp_up = 0;
        return v;
    case 0x04: return s->hp_down;
    case 0x0c: return removable_slots(s);
    default: return 0;
    }
}

static void hp_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    if (off == 0x08)
        eject(opaque, val);
}

static const IoOps hp_ops = { hp_read, hp_write, .min = 4, .max = 4 };

static void card_plugged(Bus *bus, Device *dev)
{
    PciBus *pci = bus->impl;
    Piix4Pm *s = pci->hotplug_opaque;

    s->hp_up |= 1u << (pci_device(dev)->devfn >> 3);
    piix4_pm_gpe(&s->pci.dev, PIIX4_PCIHP_EVENT);
}

static bool card_unplug_request(Bus *bus, Device *dev)
{
    PciBus *pci = bus->impl;
    Piix4Pm *s = pci->hotplug_opaque;

    s->hp_down |= 1u << (pci_device(dev)->devfn >> 3);
    piix4_pm_gpe(&s->pci.dev, PIIX4_PCIHP_EVENT);
    return true;
}

void piix4_pm_hotplug(Device *dev, PciBus *bus)
{
    ((Piix4Pm *)dev)->hp_bus = bus;
    bus->hotplug_opaque = dev;
    bus->bus->hotplug = true;
    bus->bus->plugged = card_plugged;
    bus->bus->unplug_request = card_unplug_request;
}

/* A reset ends the old system's say: cards that were asked to go, go. Not inside the walk over all devices. */
static gboolean eject_after_reset(gpointer opaque)
{
    Piix4Pm *s = opaque;

    s->hp_idle = 0;
    eject(s, s->hp_idle_slots);
    return G_SOURCE_REMOVE;
}

void piix4_pm_gpe(Device *dev, unsigned n)
{
    Piix4Pm *s = (Piix4Pm *)dev;

    s->gpe_sts[n >> 3 & 1] |= 1 << (n & 7);
    pm_update(s);
}

static void pm_map(Piix4Pm *s)
{
    uint8_t *c = s->pci.config;
    uint16_t base = ld16_le(c + R_PMBASE) & 0xffc0;
    bool on = (c[R_PMREGMISC] & PMIOSE) && base;

    if (on == s->pm_mapped && (!on || base == s->pm_at))
        return;
    if (s->pm_mapped)
        region_del(&s->pm_io);
    s->pm_mapped = on;
    s->pm_at = base;
    if (on)
        region_add(&s->pci.dev.machine->port_root, &s->pm_io, base, 0);
}

static void config_written(PciDevice *pd, unsigned off, unsigned len)
{
    pd->config[R_PMBASE] |= 1;
    pm_map((Piix4Pm *)pd);
}

static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    Piix4Pm *s = opaque;

    if (ev == EVENT_POWERDOWN) {
        s->sts |= STS_PWRBTN;
        machine_wakeup(s->pci.dev.machine);
    } else if (ev == EVENT_WAKEUP) {
        s->sts |= STS_WAK | STS_PWRBTN;
    } else {
        return;
    }
    pm_update(s);
}

void piix4_pm_connect(Device *dev, IrqLine sci)
{
    ((Piix4Pm *)dev)->sci = sci;
    machine_listen(dev->machine, machine_event, dev);
}

static void pm_reset(Device *dev)
{
    Piix4Pm *s = (Piix4Pm *)dev;
    uint8_t *c = s->pci.config;

    c[0x58] = c[0x59] = c[0x5a] = 0;
    /* Firmware takes APMC_EN set as "SMM is not to be set up". */
    c[R_APMC_EN] = s->smm_enabled ? 0 : APMC_EN;
    st32_le(c + R_PMBASE, 1);
    c[R_PMREGMISC] = 0;
    st32_le(c + R_SMBBASE, 1);
    c[0x67] = 0x10;             /* reserved decode bits as firmware expects them: serial ports on */
    s->sts = s->en = s->cnt = 0;
    memset(s->gpe_sts, 0, sizeof s->gpe_sts);
    memset(s->gpe_en, 0, sizeof s->gpe_en);
    s->apmc = s->apms = 0;
    if (s->hp_down && !s->hp_idle) {
        s->hp_idle_slots = s->hp_down;
        s->hp_idle = g_idle_add(eject_after_reset, s);
    }
    s->hp_up = s->hp_down = 0;
    s->next_half = 0;
    pm_map(s);
    pm_update(s);
}

static bool pm_realize(Device *dev, GError **err)
{
    Piix4Pm *s = (Piix4Pm *)dev;
    uint8_t *w = s->pci.wmask;

    st16_le(s->pci.config + PCI_STATUS, 0x0280);
    s->pci.config[PCI_INT_PIN] = 1;
    w[0x40] = 0xc0;
    w[0x41] = 0xff;
    memset(w + 0x44, 0xff, 0x80 - 0x44);
    w[R_PMREGMISC] = PMIOSE;
    w[R_SMBBASE] = 0xf0;
    w[R_SMBBASE + 1] = 0xff;
    w[0xd2] = 0x0f;
    device_timer_init(dev, &s->timer, pm_expire);
    device_init_io(dev, &s->pm_io, "piix4-pm", &pm_ops, PM_SIZE);
    device_init_io(dev, &s->apm_io, "apm", &apm_ops, 2);
    device_init_io(dev, &s->gpe_io, "gpe0", &gpe_ops, 4);
    device_init_io(dev, &s->hp_io, "pci-hotplug", &hp_ops, 0x14);
    device_map_pio(dev, &s->hp_io, PIIX4_PCIHP_BASE);
    device_map_pio(dev, &s->apm_io, 0xb2);
    device_map_pio(dev, &s->gpe_io, PIIX4_GPE_BASE);
    return true;
}

static void pm_unrealize(Device *dev)
{
    Piix4Pm *s = (Piix4Pm *)dev;

    timer_del(&s->timer);
    if (s->hp_idle)
        g_source_remove(s->hp_idle);
    if (s->hp_bus) {
        s->hp_bus->bus->hotplug = false;
        s->hp_bus->bus->plugged = NULL;
        s->hp_bus->bus->unplug_request = NULL;
    }
}

static bool pm_loaded(void *opaque, GError **err)
{
    Piix4Pm *s = opaque;

    if (s->next_half < 0)
        return err_set(err, "impossible ACPI timer state");
    pm_map(s);
    pm_update(s);
    return true;
}

static const PciClass pm_pci = {
    .vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000, .config_written = config_written,
};

const DeviceClass piix4_pm_class = {
    .name = "PIIX4_PM", .desc = "ACPI power management", .category = DEVCAT_BRIDGE, .bus = BUS_PCI,
    .bus_class = &pm_pci, .size = sizeof(Piix4Pm), .internal = true, .no_hotplug = true,
    .realize = pm_realize, .unrealize = pm_unrealize, .reset = pm_reset,
    .props = (const PropDesc[]) {
        PCI_PROPS(Piix4Pm),
        PROP_BOOL(Piix4Pm, smm_enabled, 1, "let firmware set up system management mode"),
        PROP_BOOL(Piix4Pm, disable_s3, 0, "no suspend to RAM"),
        PROP_BOOL(Piix4Pm, disable_s4, 0, "no suspend to disk"),
        PROP_U8(Piix4Pm, s4_val, SLEEP_S4, "sleep type of suspend to disk"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = pm_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(Piix4Pm, pci), STATE_U16(Piix4Pm, sts), STATE_U16(Piix4Pm, en), STATE_U16(Piix4Pm, cnt),
            STATE_BUF(Piix4Pm, gpe_sts), STATE_BUF(Piix4Pm, gpe_en), STATE_U8(Piix4Pm, apmc),
            STATE_U8(Piix4Pm, apms), STATE_U32(Piix4Pm, hp_up), STATE_U32(Piix4Pm, hp_down), STATE_I64(Piix4Pm, next_half), STATE_END } },
};
