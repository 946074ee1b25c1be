/*
 * uhci: Universal Host Controller Interface 1.1 (Intel), as the function 01.2 of the PIIX3.
 *
 * Frames are walked in batches: at full rate while transfers make progress, else IDLE_FRAMES at a time,
 * so that a polled keyboard costs little; a device with data ends the rest. Budgets bound the walk of
 * a frame. Left out: isochronous transfers (answered with zero bytes), legacy key emulation.
 */
#include "hw/pci/pci.h"
#include "hw/pci/pci_regs.h"
#include "hw/usb/usb.h"

#include <string.h>

enum { R_CMD = 0, R_STS = 2, R_INTR = 4, R_FRNUM = 6, R_FLBASE = 8, R_SOFMOD = 12, R_PORT1 = 16, IO_SIZE = 32, PORTS = 2 };
enum { CMD_RUN = 1, CMD_HCRESET = 2, CMD_GRESET = 4, CMD_MASK = 0xff };
enum { STS_INT = 1, STS_ERR = 2, STS_RESUME = 4, STS_HALTED = 0x20, STS_W1C = 0x1f };
enum { INTR_ERR = 1, INTR_RESUME = 2, INTR_IOC = 4, INTR_SHORT = 8 };
enum { PORT_CONNECT = 1, PORT_CONNECT_CHG = 2, PORT_ENABLED = 4, PORT_ENABLE_CHG = 8, PORT_RESUME = 0x40, PORT_ONE = 0x80,
       PORT_LOW = 0x100, PORT_RESET = 0x200, PORT_SUSPEND = 0x1000, PORT_RW = 0x1244 };
enum { LINK_END = 1, LINK_QH = 2, LINK_DEPTH = 4 };
enum { TD_ACTIVE = 1 << 23, TD_STALLED = 1 << 22, TD_BABBLE = 1 << 20, TD_NAK = 1 << 19, TD_CRC = 1 << 18,
       TD_IOC = 1 << 24, TD_ISO = 1 << 25, TD_SHORT = 1 << 29, TD_ERRORS = 3 << 27 };
enum { FRAME_NS = 1000000, IDLE_FRAMES = 8, BATCH_MAX = 16, QUIET_AFTER = 32, ITEMS_A_FRAME = 256, BYTES_A_FRAME = 1280,
       PACKET_MAX = 1280 };

typedef struct Uhci {
    PciDevice pci;
    Region io;
    Timer timer;
    UsbBus usb;
    uint16_t cmd, sts, intr, frnum, port[PORTS];        /* state */
    uint8_t sofmod, causes;     /* INTR_* that made STS_INT */
    uint32_t flbase;
    int64_t next_frame;         /* vm clock of the frame after frnum; 0: stopped */
    uint16_t quiet;             /* frames since something moved */
} Uhci;

extern const DeviceClass piix3_usb_uhci_class;

static void uhci_update(Uhci *s)
{
    bool level = ((s->sts & STS_INT) && (s->causes & s->intr & (INTR_IOC | INTR_SHORT))) ||
                 ((s->sts & STS_ERR) && (s->intr & INTR_ERR)) || ((s->sts & STS_RESUME) && (s->intr & INTR_RESUME));

    pci_set_irq(&s->pci, level);
}

static void schedule(Uhci *s)
{
    int64_t wait = s->quiet > QUIET_AFTER ? (IDLE_FRAMES - 1) * FRAME_NS : 0;

    timer_set(&s->timer, s->next_frame ? s->next_frame + wait : 0);
}

/* ---- transfers ---- */

static UsbDevice *find_device(Uhci *s, uint8_t addr)
{
    for (int i = 0; i < PORTS; i++) {
        UsbDevice *ud = (s->port[i] & PORT_ENABLED) ? s->usb.port[i].dev : NULL;

        ud = ud ? usb_find(ud, addr) : NULL;
        if (ud)
            return ud;
    }
    return NULL;
}

typedef enum { TD_NEXT, TD_STAY, TD_STOP } TdResult;   /* queue advances; waits; rests after an error or short packet */

typedef struct Td { uint32_t link, ctrl, token, buffer; } Td;

static int run_packet(Uhci *s, const Td *td, unsigned len)
{
    uint8_t buf[PACKET_MAX], pid = td->token, ep = td->token >> 15 & 15;
    UsbDevice *ud = find_device(s, td->token >> 8 & 0x7f);
    int n;

    if (!ud)
        return USB_NODEV;
    memset(buf, 0, len);
    if (pid != USB_PID_IN)
        pci_dma_read(&s->pci, td->buffer, buf, len);
    n = usb_packet(ud, pid, ep, buf, len);
    if (n > (int)len)
        return USB_BABBLE;
    if (pid == USB_PID_IN && n > 0)
        pci_dma_write(&s->pci, td->buffer, buf, n);
    return n;
}

/* Result of a packet into the TD's status; sets *ioc when an interrupt at the frame's end is due. */
static TdResult finish_td(Uhci *s, Td *td, int n, unsigned len, uint8_t *causes)
{
    unsigned tries;

    if (n == USB_NAK) {
        td->ctrl |= TD_NAK;
        return TD_STAY;
    }
    if (n >= 0) {
        td->ctrl = (td->ctrl & ~(0x7ff | TD_ACTIVE | TD_NAK | TD_STALLED)) | ((n - 1) & 0x7ff);
        if (td->ctrl & TD_IOC)
            *causes |= INTR_IOC;
        if ((uint8_t)td->token == USB_PID_IN && (unsigned)n < len && (td->ctrl & TD_SHORT)) {
            *causes |= INTR_SHORT;
            return TD_STOP;
        }
        return TD_NEXT;
    }
    td->ctrl |= 0x7ff;
    tries = td->ctrl >> 27 & 3;
    if (n == USB_NODEV) {
        td->ctrl |= TD_CRC;
        if (tries > 1) {        /* the counter runs down; zero means: try for ever */
            td->ctrl = (td->ctrl & ~TD_ERRORS) | (tries - 1) << 27;
            return TD_STAY;
        }
        if (tries == 0)
            return TD_STAY;
        td->ctrl &= ~TD_ERRORS;
    }
    td->ctrl = (td->ctrl & ~TD_ACTIVE) | TD_STALLED | (n == USB_BABBLE ? TD_BABBLE : 0);
    s->sts |= STS_ERR;
    if (td->ctrl & TD_IOC)
        *causes |= INTR_IOC;
    return TD_STOP;
}

static TdResult run_td(Uhci *s, uint32_t addr, Td *td, unsigned *bytes, uint8_t *causes)
{
    uint8_t raw[16], pid;
    unsigned len;
    uint32_t was;
    TdResult r;

    if (!pci_dma_read(&s->pci, addr, raw, sizeof raw)) {
        td->link = LINK_END;
        return TD_STOP;
    }
    *td = (Td) { ld32_le(raw), ld32_le(raw + 4), ld32_le(raw + 8), ld32_le(raw + 12) };
    pid = td->token;
    was = td->ctrl;
    len = ((td->token >> 21) + 1) & 0x7ff;
    if (!(td->ctrl & TD_ACTIVE))
        return td->ctrl & TD_STALLED ? TD_STOP : TD_STAY;
    if (len > PACKET_MAX || (pid != USB_PID_IN && pid != USB_PID_OUT && pid != USB_PID_SETUP)) {
        s->sts |= STS_ERR;      /* a bad packet id: the specification stops the controller */
        td->ctrl = (td->ctrl & ~TD_ACTIVE) | TD_STALLED;
        r = TD_STOP;
    } else if (td->ctrl & TD_ISO) {
        td->ctrl = (td->ctrl & ~(0x7ff | TD_ACTIVE)) | 0x7ff;
        *causes |= td->ctrl & TD_IOC ? INTR_IOC : 0;
        r = TD_NEXT;
    } else {
        r = finish_td(s, td, run_packet(s, td, len), len, causes);
        *bytes += len;
    }
    if (td->ctrl != was) {
        st32_le(raw, td->ctrl);
        pci_dma_write(&s->pci, addr + 4, raw, 4);
    }
    if (r == TD_NEXT || (r == TD_STOP && !(td->ctrl & TD_ACTIVE)))
        s->quiet = 0;
    return r;
}

/* One queue: its element, then more of it while links say depth first. Returns the head's next link. */
static uint32_t run_queue(Uhci *s, uint32_t qh, unsigned *items, unsigned *bytes, uint8_t *causes)
{
    uint8_t raw[8];
    uint32_t head, element;

    if (!pci_dma_read(&s->pci, qh, raw, sizeof raw))
        return LINK_END;
    head = ld32_le(raw);
    element = ld32_le(raw + 4);
    while (!(element & LINK_END) && *items && *bytes < BYTES_A_FRAME) {
        Td td;

        --*items;
        if (element & LINK_QH)          /* a queue inside a queue: its own turn, then back */
            break;
        if (run_td(s, element & ~15u, &td, bytes, causes) != TD_NEXT)
            break;
        element = td.link;
        st32_le(raw, element);
        pci_dma_write(&s->pci, qh + 4, raw, 4);
        if (!(td.link & LINK_DEPTH))
            break;
    }
    return element & LINK_QH && !(element & LINK_END) ? element : head;
}

static void run_frame(Uhci *s)
{
    unsigned items = ITEMS_A_FRAME, bytes = 0;
    uint8_t raw[4], causes = 0;
    uint32_t link;

    if (!pci_dma_read(&s->pci, s->flbase + (s->frnum & 0x3ff) * 4, raw, sizeof raw))
        return;
    link = ld32_le(raw);
    while (!(link & LINK_END) && items && bytes < BYTES_A_FRAME) {
        items--;
        if (link & LINK_QH) {
            link = run_queue(s, link & ~15u, &items, &bytes, &causes);
        } else {
            Td td;

            run_td(s, link & ~15u, &td, &bytes, &causes);
            link = td.link;
        }
    }
    if (causes) {
        s->sts |= STS_INT;
        s->causes |= causes;
    }
}

static void uhci_tick(void *opaque)
{
    Uhci *s = opaque;
    int64_t now = device_now(&s->pci.dev);

    for (int i = 0; i < BATCH_MAX && s->next_frame && s->next_frame <= now; i++) {
        s->quiet = MIN(s->quiet + 1, QUIET_AFTER + 1);
        run_frame(s);
        s->frnum = (s->frnum + 1) & 0x7ff;
        s->next_frame += FRAME_NS;
    }
    if (s->next_frame && s->next_frame <= now) {        /* far behind: let those frames go */
        int64_t missed = (now - s->next_frame) / FRAME_NS + 1;

        s->frnum = (s->frnum + missed) & 0x7ff;
        s->next_frame += missed * FRAME_NS;
    }
    uhci_update(s);
    schedule(s);
}

/* ---- ports ---- */

static void port_changed(void *opaque, UsbPort *port)
{
    Uhci *s = opaque;
    uint16_t *p = &s->port[port->index];

    *p |= PORT_CONNECT_CHG;
    if (port->dev) {
        *p = (*p & ~PORT_LOW) | PORT_CONNECT | (usb_class(port->dev)->low_speed ? PORT_LOW : 0);
    } else {
        if (*p & PORT_ENABLED)
            *p |= PORT_ENABLE_CHG;
        *p &= ~(PORT_CONNECT | PORT_ENABLED | PORT_LOW);
    }
    s->quiet = 0;
    schedule(s);
}

static void port_wakeup(void *opaque, UsbPort *port)
{
    Uhci *s = opaque;

    if ((s->port[port->index] & PORT_SUSPEND) && port->dev && port->dev->remote_wakeup) {
        s->port[port->index] |= PORT_RESUME;
        s->sts |= STS_RESUME;
        uhci_update(s);
    }
    s->quiet = 0;
    schedule(s);
}

static void write_port(Uhci *s, int n, uint16_t val)
{
    uint16_t old = s->port[n];
    UsbDevice *ud = s->usb.port[n].dev;

    s->port[n] = (old & ~PORT_RW & ~(val & (PORT_CONNECT_CHG | PORT_ENABLE_CHG))) | (val & PORT_RW);
    if (!(s->port[n] & PORT_CONNECT))
        s->port[n] &= ~PORT_ENABLED;
    if (val & PORT_RESET) {
        s->port[n] &= ~PORT_ENABLED;
        if (!(old & PORT_RESET) && ud)
            usb_device_reset(ud);
    }
}

static void reset_ports(Uhci *s)
{
    for (int i = 0; i < PORTS; i++) {
        UsbDevice *ud = s->usb.port[i].dev;

        s->port[i] = PORT_ONE;
        if (!ud)
            continue;
        s->port[i] |= PORT_CONNECT | PORT_CONNECT_CHG | (usb_class(ud)->low_speed ? PORT_LOW : 0);
        usb_device_reset(ud);
    }
}

/* ---- registers ---- */

static void reset_registers(Uhci *s)
{
    s->cmd = s->intr = s->frnum = 0;
    s->sts = STS_HALTED;
    s->causes = 0;
    s->flbase = 0;
    s->sofmod = 64;
    s->next_frame = 0;
    s->quiet = 0;
    reset_ports(s);
    timer_set(&s->timer, 0);
    uhci_update(s);
}

static void write_cmd(Uhci *s, uint16_t val)
{
    if (val & CMD_HCRESET) {
        reset_registers(s);
        return;
    }
    if ((val & CMD_GRESET) && !(s->cmd & CMD_GRESET))
        reset_ports(s);
    s->cmd = val & CMD_MASK;
    if ((val & CMD_RUN) && !s->next_frame) {
        s->sts &= ~STS_HALTED;
        s->next_frame = device_now(&s->pci.dev) + FRAME_NS;
    } else if (!(val & CMD_RUN)) {
        s->sts |= STS_HALTED;
        s->next_frame = 0;
    }
    s->quiet = 0;
    schedule(s);
}

static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Uhci *s = opaque;

    switch (off) {
    case R_CMD:
        write_cmd(s, val);
        break;
    case R_STS:
        s->sts &= ~(val & STS_W1C);
        if (val & STS_INT)
            s->causes = 0;
        break;
    case R_INTR:
        s->intr = val & 15;
        break;
    case R_FRNUM:
        if (s->sts & STS_HALTED)
            s->frnum = val & 0x7ff;
        break;
    case R_FLBASE:
        s->flbase = size == 4 ? val & 0xfffff000 : (s->flbase & 0xffff0000) | (val & 0xf000);
        break;
    case R_FLBASE + 2:
        s->flbase = (s->flbase & 0xffff) | (uint32_t)val << 16;
        break;
    case R_SOFMOD:
        s->sofmod = val & 0x7f;
        break;
    case R_PORT1: case R_PORT1 + 2:
        write_port(s, (off - R_PORT1) / 2, val);
        break;
    }
    uhci_update(s);
}

static uint16_t frame_number(const Uhci *s)
{
    int64_t ahead;

    if (!s->next_frame)
        return s->frnum;
    ahead = (clock_ns(s->timer.clocks, CLOCK_VM) - s->next_frame) / FRAME_NS + 1;
    return (s->frnum + CLAMP(ahead, 0, IDLE_FRAMES)) & 0x7ff;
}

static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    const Uhci *s = opaque;

    switch (off) {
    case R_CMD:
        return s->cmd;
    case R_STS:
        return s->sts;
    case R_INTR:
        return s->intr;
    case R_FRNUM:
        return frame_number(s);
    case R_FLBASE:
        return s->flbase;
    case R_FLBASE + 2:
        return s->flbase >> 16;
    case R_SOFMOD:
        return s->sofmod;
    case R_PORT1: case R_PORT1 + 2:
        return s->port[(off - R_PORT1) / 2];
    }
    return 0xff7f;              /* no third port: its bit 7 reads zero */
}

static const IoOps io_ops = { io_read, io_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 4 };

/* ---- life ---- */

static void uhci_reset(Device *dev)
{
    reset_registers((Uhci *)dev);
}

static bool uhci_realize(Device *dev, GError **err)
{
    Uhci *s = (Uhci *)dev;

    s->pci.config[PCI_INT_PIN] = 4;     /* INTD#: INTA# of this slot is the power management's */
    s->pci.config[0x60] = 0x10;         /* USB 1.0 */
    st16_le(s->pci.config + 0xc0, 0x2000);
    st16_le(s->pci.wmask + 0xc0, 0xafff);
    device_init_io(dev, &s->io, "uhci", &io_ops, IO_SIZE);
    pci_bar(&s->pci, 4, PCI_BAR_IO, &s->io);
    device_timer_init(dev, &s->timer, uhci_tick);
    usb_bus_init(&s->usb, dev, "usb-bus.0", PORTS, port_changed, port_wakeup, s);
    return true;
}

static void uhci_unrealize(Device *dev)
{
    Uhci *s = (Uhci *)dev;

    timer_del(&s->timer);
    region_destroy(&s->io);
}

static bool uhci_loaded(void *opaque, GError **err)
{
    Uhci *s = opaque;

    if (s->next_frame < 0)
        return err_set(err, "impossible UHCI state");
    schedule(s);
    uhci_update(s);
    return true;
}

const DeviceClass piix3_usb_uhci_class = {
    .name = "piix3-usb-uhci", .desc = "USB 1.1 controller of the PIIX3", .category = DEVCAT_USB, .bus = BUS_PCI,
    .size = sizeof(Uhci), .realize = uhci_realize, .unrealize = uhci_unrealize, .reset = uhci_reset,
    .props = (const PropDesc[]) { PCI_PROPS(Uhci), PROP_END },
    .bus_class = &(const PciClass) { .vendor = 0x8086, .device = 0x7020, .class_code = 0x0c0300, .revision = 1, .intx = true },
    .state = &(const StateDesc) { .version = 1, .loaded = uhci_loaded, .fields = (const StateField[]) {
        STATE_PCI(Uhci, pci), STATE_U16(Uhci, cmd), STATE_UMAX(Uhci, sts, 0x3f), STATE_U16(Uhci, intr), STATE_UMAX(Uhci, frnum, 0x7ff),
        STATE_UARRAY(Uhci, port), STATE_U8(Uhci, sofmod), STATE_U8(Uhci, causes), STATE_U32(Uhci, flbase),
        STATE_I64(Uhci, next_frame), STATE_U16(Uhci, quiet), STATE_END } },
};
