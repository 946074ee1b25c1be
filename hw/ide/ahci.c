/*
 * ahci: Serial ATA AHCI controller: the SATA function of the ICH9, six ports of 32 command slots.
 *
 * Intel AHCI 1.3.1 and the ICH9 data sheet (316972), section 14. Commands are in ahci_cmd.c. Left out:
 * port multipliers, command completion coalescing, enclosure management, power states of the link.
 * docs/hw/ahci.md. Machine lock.
 */
#include "hw/ide/ahci_int.h"

#include <string.h>

enum { R_CAP = 0x00, R_GHC = 0x04, R_IS = 0x08, R_PI = 0x0c, R_VS = 0x10, R_CAP2 = 0x24, R_PORTS = 0x100, PORT_SIZE = 0x80,
       REGS_SIZE = 0x1000, IDP_SIZE = 32, IDP_INDEX = 16, IDP_DATA = 20, BAR_IDP = 4, BAR_REGS = 5 };
enum { GHC_HR = 1 << 0, GHC_IE = 1 << 1 };
#define GHC_AE (1u << 31)
enum { P_CLB = 0x00, P_CLBU = 0x04, P_FB = 0x08, P_FBU = 0x0c, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18, P_TFD = 0x20, P_SIG = 0x24,
       P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30, P_SACT = 0x34, P_CI = 0x38 };
#define SERR_VALID 0x07ff0f03u
enum { SERR_N = 1 << 16, SERR_X = 1 << 26, DET_RESET = 1, DET_OFF = 4 };

static uint32_t port_is(const AhciPort *p)
{
    return p->is | (p->serr & SERR_X ? PIS_PCS : 0) | (p->serr & SERR_N ? PIS_PRCS : 0);
}

/* The interrupt follows IS, which collects what ports have enabled. */
static void update(Ahci *s)
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (port_is(&s->port[i]) & s->port[i].ie)
            s->is |= 1u << i;
    }
    pci_set_irq(&s->pci, (s->ghc & GHC_IE) && s->is);
}

void ahci_raise(AhciPort *p, uint32_t bits)
{
    p->is |= bits;
    update(p->s);
}

static uint32_t port_ssts(const AhciPort *p)
{
    unsigned det = p->sctl & 15;

    if (det == DET_OFF)
        return DET_OFF;
    if (!p->ide.drive[0] || det == DET_RESET)
        return 0;
    return 0x113 + ((p->sctl >> 4 & 15) == 1 ? 0 : 0x10);       /* present, active; generation 2 unless limited to 1 */
}

static uint32_t port_read(const AhciPort *p, unsigned reg)
{
    switch (reg) {
    case P_CLB: return p->clb;
    case P_CLBU: return p->clb >> 32;
    case P_FB: return p->fb;
    case P_FBU: return p->fb >> 32;
    case P_IS: return port_is(p);
    case P_IE: return p->ie;
    case P_CMD: return p->cmd;
    case P_TFD: return p->tfd;
    case P_SIG: return p->sig;
    case P_SSTS: return port_ssts(p);
    case P_SCTL: return p->sctl;
    case P_SERR: return p->serr;
    case P_SACT: return p->sact;
    case P_CI: return p->ci;
    default: return 0;
    }
}

static void command_write(AhciPort *p, uint32_t val)
{
    const uint32_t writable = PCMD_ST | PCMD_FRE | PCMD_ATAPI | PCMD_DLAE | PCMD_ALPE | PCMD_ASP;
    bool was = p->cmd & PCMD_ST;

    p->cmd = (p->cmd & ~writable) | (val & writable);
    p->cmd = val & PCMD_FRE ? p->cmd | PCMD_FR : p->cmd & ~PCMD_FR;
    if ((val & PCMD_CLO) && !(val & PCMD_ST))
        p->tfd &= ~(ST_BUSY | ST_DRQ);
    if (was && !(val & PCMD_ST)) {
        ahci_port_stop(p);
        p->cmd &= ~(PCMD_CR | PCMD_CCS);
    } else if (!was && (val & PCMD_ST)) {
        p->cmd |= PCMD_CR;
        ahci_port_run(p);
    }
}

/* COMRESET: DET going from 1 to 0 brings the link up again. */
static void sctl_write(AhciPort *p, uint32_t val)
{
    bool was = (p->sctl & 15) == DET_RESET, now = (val & 15) == DET_RESET;

    p->sctl = val & 0xfff;
    if (now && !was) {
        p->cur = -1;
        p->queued = 0;
        p->halted = false;
        if (p->ide.drive[0])
            ide_drive_reset(p->ide.drive[0]);
        p->tfd = 0x7f;
        p->sig = 0xffffffff;
    } else if (was && !now) {
        ahci_port_signature(p);
        if (p->ide.drive[0])
            p->serr |= SERR_N | SERR_X;
        update(p->s);
    }
}

static void port_write(AhciPort *p, unsigned reg, uint32_t val)
{
    switch (reg) {
    case P_CLB: p->clb = (p->clb & ~0xffffffffULL) | (val & ~0x3ffu); break;
    case P_CLBU: p->clb = (uint32_t)p->clb | (uint64_t)val << 32; break;
    case P_FB: p->fb = (p->fb & ~0xffffffffULL) | (val & ~0xffu); break;
    case P_FBU: p->fb = (uint32_t)p->fb | (uint64_t)val << 32; break;
    case P_IS: p->is &= ~(val & PIS_RW1C); break;
    case P_IE: p->ie = val & PIS_VALID; break;
    case P_CMD: command_write(p, val); break;
    case P_SCTL: sctl_write(p, val); break;
    case P_SERR: p->serr &= ~(val & SERR_VALID); break;
    case P_SACT:
        if (p->cmd & PCMD_ST)
            p->sact |= val;
        break;
    case P_CI:
        if (p->cmd & PCMD_ST) {
            p->ci |= val;
            ahci_port_run(p);
        }
        break;
    }
    update(p->s);
}

static void port_reset(AhciPort *p)
{
    p->cur = -1;
    p->queued = 0;
    p->halted = false;
    ide_bus_reset(&p->ide);
    p->clb = p->fb = 0;
    p->is = p->ie = p->sctl = p->serr = p->sact = p->ci = 0;
    p->cmd = PCMD_SUD | PCMD_POD | PCMD_HPCP;   /* spun up at power-on; the port takes hot plug */
    ahci_port_signature(p);
    if (p->ide.drive[0])
        p->serr = SERR_N | SERR_X;
}

static void hba_reset(Ahci *s)
{
    s->ghc = GHC_AE;
    s->is = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (s->port[i].ide.drive[0])
            ide_drive_reset(s->port[i].ide.drive[0]);
        port_reset(&s->port[i]);
    }
    update(s);
}

static uint32_t reg_read(Ahci *s, unsigned off)
{
    if (off >= R_PORTS)
        return off < R_PORTS + AHCI_PORTS * PORT_SIZE ?
               port_read(&s->port[(off - R_PORTS) / PORT_SIZE], (off - R_PORTS) % PORT_SIZE) : 0;
    switch (off) {
    /* 64-bit addresses, NCQ, AHCI only, generation 2, 32 slots */
    case R_CAP: return 1u << 31 | 1 << 30 | 1 << 24 | 2 << 20 | 1 << 18 | 1 << 14 | 1 << 13 | (AHCI_SLOTS - 1) << 8 | (AHCI_PORTS - 1);
    case R_GHC: return s->ghc;
    case R_IS: return s->is;
    case R_PI: return (1u << AHCI_PORTS) - 1;
    case R_VS: return 0x00010300;
    default: return 0;
    }
}

static void reg_write(Ahci *s, unsigned off, uint32_t val)
{
    if (off >= R_PORTS + AHCI_PORTS * PORT_SIZE)
        return;
    if (off >= R_PORTS) {
        port_write(&s->port[(off - R_PORTS) / PORT_SIZE], (off - R_PORTS) % PORT_SIZE, val);
        return;
    }
    switch (off) {
    case R_GHC:
        if (val & GHC_HR) {
            hba_reset(s);
            return;
        }
        s->ghc = GHC_AE | (val & GHC_IE);
        break;
    case R_IS:
        s->is &= ~val;
        pci_set_irq(&s->pci, 0);        /* what is still pending makes a new message */
        break;
    }
    update(s);
}

static uint64_t regs_read(void *opaque, uint64_t off, unsigned size) { return reg_read(opaque, off); }
static void regs_write(void *opaque, uint64_t off, uint64_t val, unsigned size) { reg_write(opaque, off, val); }
static const IoOps regs_ops = { regs_read, regs_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4 };

/* Index and data pair: the same registers through two ports. */
static uint64_t idp_read(void *opaque, uint64_t off, unsigned size)
{
    Ahci *s = opaque;

    return off == IDP_INDEX ? s->index : off == IDP_DATA ? reg_read(s, s->index) : 0;
}

static void idp_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Ahci *s = opaque;

    if (off == IDP_INDEX)
        s->index = val & (REGS_SIZE - 4);
    else if (off == IDP_DATA)
        reg_write(s, s->index, val);
}

static const IoOps idp_ops = { idp_read, idp_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4 };

/* Commands of a loaded state, or held back by an I/O error, go on when the machine does. */
static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    Ahci *s = opaque;

    for (unsigned i = 0; ev == EVENT_RESUME && i < AHCI_PORTS; i++)
        ahci_port_run(&s->port[i]);
}

static bool ahci_realize(Device *dev, GError **err)
{
    Ahci *s = container_of(dev, Ahci, pci.dev);
    uint8_t cap;

    s->pci.config[0x90] = 0x40;         /* address map: AHCI mode */
    s->pci.config[0x0c] = 8;
    if (!pci_msi_init(&s->pci, 1, true, err))
        return false;
    cap = pci_add_capability(&s->pci, 0x12, 8);         /* SATA: the index and data pair is in BAR 4 at 16 */
    if (cap) {
        st16_le(s->pci.config + cap + 2, 0x0010);
        st32_le(s->pci.config + cap + 4, IDP_INDEX / 4 << 4 | 0x8);
    }
    device_init_io(dev, &s->regs, "ahci", &regs_ops, REGS_SIZE);
    device_init_io(dev, &s->idp, "ahci-idp", &idp_ops, IDP_SIZE);
    pci_bar(&s->pci, BAR_IDP, PCI_BAR_IO, &s->idp);
    pci_bar(&s->pci, BAR_REGS, PCI_BAR_MEM32, &s->regs);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        s->port[i].s = s;
        s->port[i].n = i;
        ahci_port_init(&s->port[i]);
    }
    machine_listen(dev->machine, machine_event, s);
    return true;
}

static void ahci_unrealize(Device *dev)
{
    machine_unlisten(dev->machine, machine_event, dev);
}

static void ahci_reset(Device *dev)
{
    Ahci *s = container_of(dev, Ahci, pci.dev);

    s->index = 0;
    hba_reset(s);
}

static void ahci_saving(void *opaque)
{
    Ahci *s = opaque;

    /* A queued command left PxCI when it started; it starts again after the load. */
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        s->port[i].ci |= s->port[i].queued;
}

static bool ahci_loaded(void *opaque, GError **err)
{
    Ahci *s = opaque;

    s->ghc = GHC_AE | (s->ghc & GHC_IE);
    s->is &= (1u << AHCI_PORTS) - 1;
    s->index &= REGS_SIZE - 4;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        AhciPort *p = &s->port[i];

        p->clb &= ~0x3ffULL;
        p->fb &= ~0xffULL;
        p->cur = -1;
        p->queued = 0;
    }
    pci_set_irq(&s->pci, (s->ghc & GHC_IE) && s->is);
    return true;
}

static const StateDesc port_state = {
    .name = "port", .version = 1,
    .fields = (const StateField[]) {
        STATE_STRUCT(AhciPort, ide, &ide_bus_state), STATE_U64(AhciPort, clb), STATE_U64(AhciPort, fb), STATE_U32(AhciPort, is),
        STATE_U32(AhciPort, ie), STATE_U32(AhciPort, cmd), STATE_U32(AhciPort, tfd), STATE_U32(AhciPort, sig),
        STATE_U32(AhciPort, sctl), STATE_U32(AhciPort, serr), STATE_U32(AhciPort, sact), STATE_U32(AhciPort, ci),
        STATE_B(AhciPort, halted), STATE_END },
};

static const char *const ahci_aliases[] = { "ahci", NULL };
static const PciClass ahci_pci = { .vendor = 0x8086, .device = 0x2922, .class_code = 0x010601, .revision = 2, .intx = true };

const DeviceClass ich9_ahci_class = {
    .name = "ich9-ahci", .aliases = ahci_aliases, .desc = "AHCI SATA controller of the ICH9", .category = DEVCAT_STORAGE,
    .bus = BUS_PCI, .bus_class = &ahci_pci, .size = sizeof(Ahci),
    .realize = ahci_realize, .unrealize = ahci_unrealize, .reset = ahci_reset,
    .props = (const PropDesc[]) { PCI_PROPS(Ahci), PROP_END },
    .state = &(const StateDesc) { .version = 1, .saving = ahci_saving, .loaded = ahci_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(Ahci, pci), STATE_U32(Ahci, ghc), STATE_U32(Ahci, is), STATE_U32(Ahci, index),
            STATE_STRUCTS(Ahci, port, &port_state), STATE_END } },
};
