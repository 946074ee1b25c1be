/*
 * ahci_cmd: command slots of an AHCI port: from command header to drive, and the FISes that come back.
 *
 * AHCI 1.3.1 sections 4.2, 5.3 and 5.5; Serial ATA 2.6 section 10.3. One ordinary command runs at a
 * time, in the IDE core; queued commands run side by side. Every structure is copied once from guest
 * memory, then checked; PRD entries are fetched as the data moves. Machine lock.
 */
#include "hw/ide/ahci_int.h"

#include <string.h>

enum { HEADER = 32, FIS_LEN = 20, ACMD_OFF = 0x40, ACMD_LEN = 16, PRDT_OFF = 0x80, PRD = 16 };
enum { H_ATAPI = 1 << 5, H_CLEAR = 1 << 10, H_MIN_DWORDS = 2, H_MAX_DWORDS = 16 };
enum { FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO = 0x5f, FIS_SDB = 0xa1, FIS_IRQ = 1 << 6, FIS_IN = 1 << 5, FIS_COMMAND = 0x80 };
enum { RX_PIO = 0x20, RX_D2H = 0x40, RX_SDB = 0x58 };

static void receive_fis(AhciPort *p, unsigned off, const uint8_t *fis, unsigned len)
{
    if (p->cmd & PCMD_FR)
        pci_dma_write(&p->s->pci, p->fb + off, fis, len);
}

static void fill_registers(const IdeDrive *d, uint8_t *f)
{
    f[2] = d->status;
    f[3] = d->error;
    for (int i = 0; i < 3; i++) {
        f[4 + i] = d->lba[i][0];
        f[8 + i] = d->lba[i][1];
    }
    f[7] = d->select;
    f[12] = d->count[0];
    f[13] = d->count[1];
}

static void send_d2h(AhciPort *p, bool irq)
{
    IdeDrive *d = p->ide.drive[0];
    uint8_t f[FIS_LEN] = { FIS_D2H, irq ? FIS_IRQ : 0 };

    fill_registers(d, f);
    p->tfd = d->error << 8 | d->status;
    receive_fis(p, RX_D2H, f, sizeof f);
    ahci_raise(p, (irq ? PIS_DHRS : 0) | (d->status & ST_ERR ? PIS_TFES : 0));
}

static void send_pio_setup(AhciPort *p, uint32_t len, bool in, bool irq)
{
    IdeDrive *d = p->ide.drive[0];
    uint8_t f[FIS_LEN] = { FIS_PIO, (irq ? FIS_IRQ : 0) | (in ? FIS_IN : 0) };

    fill_registers(d, f);
    f[15] = d->status & ~ST_DRQ;        /* status once the data moved */
    st16_le(f + 16, len);
    receive_fis(p, RX_PIO, f, sizeof f);
}

static void send_sdb(AhciPort *p, uint32_t slots, uint8_t status, uint8_t error)
{
    uint8_t f[8] = { FIS_SDB, FIS_IRQ, status & 0x77, error };

    st32_le(f + 4, slots);
    p->sact &= ~slots;
    p->ci &= ~slots;            /* set again by a save meanwhile */
    p->tfd = error << 8 | (p->tfd & 0x88) | (status & 0x77);
    receive_fis(p, RX_SDB, f, sizeof f);
    ahci_raise(p, PIS_SDBS | (status & ST_ERR ? PIS_TFES : 0));
}

void ahci_port_signature(AhciPort *p)
{
    IdeDrive *d = p->ide.drive[0];
    uint8_t f[FIS_LEN] = { FIS_D2H };

    p->sig = p->tfd = 0;
    if (!d) {
        p->sig = 0xffffffff;
        p->tfd = 0x7f;
        return;
    }
    p->sig = d->kind == IDE_CD ? 0xeb140101 : 0x00000101;
    f[2] = d->kind == IDE_CD ? 0 : ST_READY | ST_SEEK;
    f[3] = 1;
    st32_le(f + 4, p->sig >> 8);
    f[12] = p->sig;
    p->tfd = f[3] << 8 | f[2];
    receive_fis(p, RX_D2H, f, sizeof f);
}

/* PRD entry: 64-bit address, bytes - 1 in 22 bits of the last word. */
static bool next_entry(AhciSlot *sl)
{
    AhciPrd *r = &sl->prd;
    uint8_t e[PRD];

    if (r->next >= r->count || !pci_dma_read(&sl->p->s->pci, r->table + (uint64_t)r->next * PRD, e, sizeof e))
        return false;
    r->next++;
    r->addr = ld64_le(e) & ~1ULL;
    r->left = (ld32_le(e + 12) & 0x3fffff) + 1;
    return true;
}

static uint64_t slot_map(void *opaque, GArray *spans, uint64_t max, bool to_device)
{
    AhciSlot *sl = opaque;
    uint64_t total = 0;

    while (total < max && spans->len < IDE_MAX_SG) {
        DmaSpan s;

        if (!sl->prd.left && !next_entry(sl))
            break;
        s = dma_map(device_mem(&sl->p->s->pci.dev), sl->prd.addr, MIN(sl->prd.left, max - total), !to_device);
        if (!s.host || !s.len)
            break;
        g_array_append_val(spans, s);
        sl->prd.addr += s.len;
        sl->prd.left -= s.len;
        total += s.len;
    }
    sl->moved += total;
    return total;
}

/* Moves len bytes between buf and the regions of the slot; what has no place is dropped or zero. */
static void slot_copy(AhciSlot *sl, uint8_t *buf, uint32_t len, bool to_drive)
{
    while (len) {
        uint32_t n;

        if (!sl->prd.left && !next_entry(sl))
            break;
        n = MIN(len, sl->prd.left);
        if (to_drive)
            pci_dma_read(&sl->p->s->pci, sl->prd.addr, buf, n);
        else
            pci_dma_write(&sl->p->s->pci, sl->prd.addr, buf, n);
        buf += n;
        len -= n;
        sl->prd.addr += n;
        sl->prd.left -= n;
        sl->moved += n;
    }
    if (to_drive)
        memset(buf, 0, len);
}

static void store_byte_count(AhciSlot *sl)
{
    uint8_t b[4];

    st32_le(b, sl->moved);
    pci_dma_write(&sl->p->s->pci, sl->header + 4, b, sizeof b);
}

static void move_pio(AhciPort *p, uint8_t *buf, uint32_t len, bool to_drive)
{
    IdeDrive *d = p->ide.drive[0];
    AhciSlot *sl = &p->slot[p->cur];
    bool packet = d->xfer == XFER_PACKET;

    if (packet) {               /* the packet comes from the command table, not from the regions */
        memset(buf, 0, len);
        pci_dma_read(&p->s->pci, sl->prd.table - PRDT_OFF + ACMD_OFF, buf, MIN(len, (uint32_t)ACMD_LEN));
    } else {
        send_pio_setup(p, len, !to_drive, !to_drive);
        slot_copy(sl, buf, len, to_drive);
    }
    ide_pio_taken(d);
    if (!to_drive && !packet)
        ahci_raise(p, PIS_PSS);
}

static void finish_current(AhciPort *p)
{
    IdeDrive *d = p->ide.drive[0];
    AhciSlot *sl = &p->slot[p->cur];

    store_byte_count(sl);
    p->cur = -1;
    if (d->status & ST_ERR)
        p->halted = true;       /* 6.2.2: nothing more until software restarts the port; PxCI stays */
    else
        p->ci &= ~(1u << sl->tag);
    send_d2h(p, true);
    ahci_port_run(p);
}

/* The drive changed its mind: moves PIO data that waits, ends the command when it is over. */
static void port_advance(AhciPort *p)
{
    uint32_t len;
    bool to_drive;
    uint8_t *buf;

    if (p->advancing) {
        p->again = true;
        return;
    }
    p->advancing = true;
    do {
        p->again = false;
        while (p->cur >= 0 && p->ide.drive[0] && (buf = ide_pio_pending(p->ide.drive[0], &len, &to_drive)))
            move_pio(p, buf, len, to_drive);
        if (p->cur >= 0 && p->ide.drive[0] && !(p->ide.drive[0]->status & (ST_BUSY | ST_DRQ)))
            finish_current(p);
    } while (p->again);
    p->advancing = false;
}

static void drive_irq(void *opaque, int n, int level)
{
    AhciPort *p = opaque;

    if (level && p->cur >= 0)
        port_advance(p);
}

static void dma_start(void *opaque, IdeDrive *d)
{
    AhciPort *p = opaque;

    if (p->cur >= 0)
        ide_dma_run(d);
}

static uint64_t dma_map_part(void *opaque, GArray *spans, uint64_t max, bool to_device)
{
    AhciPort *p = opaque;

    return p->cur < 0 ? 0 : slot_map(&p->slot[p->cur], spans, max, to_device);
}

static void dma_done(void *opaque, bool ok) {}

static void plugged(void *opaque, IdeDrive *d, bool present)
{
    AhciPort *p = opaque;

    if (!present)
        ahci_port_stop(p);
    ahci_port_signature(p);
    p->serr |= 1u << 26 | 1u << 16;     /* DIAG.X: exchanged, DIAG.N: PHY ready changed */
    ahci_raise(p, 0);
}

static const IdeDmaOps port_dma_ops = { dma_start, dma_map_part, dma_done, NULL, plugged };

static void ncq_done(void *opaque, uint8_t status, uint8_t error)
{
    AhciSlot *sl = opaque;
    AhciPort *p = sl->p;

    p->queued &= ~(1u << sl->tag);
    store_byte_count(sl);
    if (error) {                /* the others die with it; log page 10h tells which it was */
        p->halted = true;
        if (p->ide.drive[0])
            ide_stop(p->ide.drive[0]);
        p->queued = 0;
        send_sdb(p, 0, status, error);
        return;
    }
    send_sdb(p, 1u << sl->tag, status, error);
    ahci_port_run(p);
}

static void control_fis(AhciPort *p, AhciSlot *sl, uint8_t control)
{
    IdeDrive *d = p->ide.drive[0];
    bool was = p->ide.control & CTL_SRST, now = control & CTL_SRST;

    p->ide.control = control & CTL_SRST;
    p->ci &= ~(1u << sl->tag);
    if (was && !now) {
        ide_drive_reset(d);
        ahci_port_signature(p);
        ahci_raise(p, PIS_DHRS);
    }
}

static void start_ncq(AhciPort *p, AhciSlot *sl, const uint8_t *fis)
{
    uint32_t bit = 1u << sl->tag;

    p->ci &= ~bit;              /* the drive took it: a D2H FIS without interrupt */
    p->queued |= bit;
    sl->ncq = (IdeNcq) { .map = slot_map, .done = ncq_done, .opaque = sl, .tag = sl->tag };
    ide_ncq_start(p->ide.drive[0], &sl->ncq, fis);
}

static void host_bus_error(AhciPort *p)
{
    p->halted = true;
    ahci_raise(p, PIS_HBFS);
}

static void issue(AhciPort *p, unsigned n, const uint8_t *fis)
{
    bool was = p->advancing;

    if (p->ide.drive[0]->status & (ST_BUSY | ST_DRQ))
        ide_stop(p->ide.drive[0]);      /* a loaded state: what ran then starts anew */
    p->cur = n;
    p->tfd = (p->tfd & 0xff00) | ST_BUSY;
    p->advancing = true;        /* what happens inside is looked at below */
    ide_issue_fis(&p->ide, fis);
    p->advancing = was;
    port_advance(p);
}

/* False: nothing can start now. */
static bool start_slot(AhciPort *p, unsigned n)
{
    AhciSlot *sl = &p->slot[n];
    uint8_t h[HEADER], fis[FIS_LEN];
    uint32_t flags;

    sl->header = p->clb + HEADER * n;
    if (!pci_dma_read(&p->s->pci, sl->header, h, sizeof h) ||
        !pci_dma_read(&p->s->pci, ld64_le(h + 8) & ~0x7fULL, fis, sizeof fis)) {
        host_bus_error(p);
        return false;
    }
    flags = ld32_le(h);
    if (fis[0] != FIS_H2D || (flags & 31) < H_MIN_DWORDS || (flags & 31) > H_MAX_DWORDS || (fis[1] & 15)) {
        log_guest("ahci: port %u slot %u: not a command FIS", p->n, n);
        p->halted = true;
        ahci_raise(p, PIS_IFS);
        return false;
    }
    if (p->queued && !((fis[1] & FIS_COMMAND) && ide_is_ncq(fis[2])))
        return false;           /* ordinary commands wait for the queue to run empty */
    sl->moved = 0;
    sl->prd = (AhciPrd) { .table = (ld64_le(h + 8) & ~0x7fULL) + PRDT_OFF, .count = flags >> 16 };
    p->cmd = (p->cmd & ~PCMD_CCS) | n << 8;
    if (!(fis[1] & FIS_COMMAND)) {
        control_fis(p, sl, fis[15]);
    } else if (ide_is_ncq(fis[2])) {
        start_ncq(p, sl, fis);
    } else {
        issue(p, n, fis);
    }
    return true;
}

static bool may_start(const AhciPort *p)
{
    return (p->cmd & PCMD_CR) && !p->halted && p->cur < 0 && p->ide.drive[0] && p->ci;
}

/* Re-entrant calls only ask for another round: each round ends at least one command. */
void ahci_port_run(AhciPort *p)
{
    p->rerun = true;
    if (p->running)
        return;
    p->running = true;
    while (p->rerun) {
        p->rerun = false;
        for (unsigned n = 0; n < AHCI_SLOTS && may_start(p); n++) {
            if ((p->ci & ~p->queued) >> n & 1 && !start_slot(p, n))
                break;
        }
    }
    p->running = false;
}

void ahci_port_stop(AhciPort *p)
{
    p->cur = -1;
    p->queued = 0;
    p->halted = false;
    if (p->ide.drive[0])
        ide_stop(p->ide.drive[0]);
    p->ci = p->sact = 0;
}

void ahci_port_init(AhciPort *p)
{
    Device *dev = &p->s->pci.dev;
    g_autofree char *name = NULL;

    for (unsigned i = p->n; !name; i++) {
        name = dev->id ? g_strdup_printf("%s.%u", dev->id, i) : g_strdup_printf("ide.%u", i);
        if (!dev->id && bus_find(dev->machine, name))
            g_clear_pointer(&name, g_free);
        for (unsigned k = 0; name && dev->buses && k < dev->buses->len; k++) {
            if (!strcmp(((Bus *)g_ptr_array_index(dev->buses, k))->name, name)) {
                g_clear_pointer(&name, g_free);
                break;
            }
        }
    }
    ide_bus_init(&p->ide, dev, name, (IrqLine) { drive_irq, p, 0 }, &port_dma_ops, p);
    p->ide.sata = true;
    p->ide.bus->hotplug = true;
    p->cur = -1;
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        p->slot[i].p = p;
        p->slot[i].tag = i;
    }
}
