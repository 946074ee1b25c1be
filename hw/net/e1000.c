/*
 * e1000: the Intel 82540EM gigabit card.
 *
 * Software Developer's Manual 317453. Models descriptor rings, checksum and TCP segmentation
 * offload, VLAN tags and filter, address filters, statistics, interrupt throttling, EEPROM and
 * PHY. Leaves out wake-up, jumbo frames beyond 16 KiB and UDP segmentation. Frames to oneself
 * (loopback) go through the receive path once, never back into the sender.
 */
#include "hw/net/e1000_regs.h"
#include "hw/net/eeprom93.h"
#include "hw/net/nic.h"
#include "hw/net/offload.h"
#include "hw/pci/pci.h"

#include <string.h>

enum { REGS = E_MMIO_SIZE / 4, PHY_REGS = 32, TX_MAX = NET_FRAME_MAX, RX_FRAME_MAX = 16384,
       IO_SIZE = 64, ITR_UNIT_NS = 256 };

typedef struct TxContext {
    uint8_t ipcss, ipcso, tucss, tucso, hdr_len;
    uint16_t ipcse, tucse, mss;
    uint32_t pay_len;
    bool tcp, ip;
} TxContext;

typedef struct E1000 {
    PciDevice pci;
    Region mmio, io;
    Nic nic;
    Timer throttle, link_timer, tx_later;
    bool init_vet;              /* property kept for scripts that set it */
    /* state */
    uint32_t reg[REGS];
    Eeprom93 eeprom;
    uint16_t phy[PHY_REGS];
    TxContext ctx, tso_ctx;
    uint32_t tx_len;
    uint8_t tx_popts;
    bool tx_tse, tx_vle;
    uint16_t tx_vlan;
    uint8_t tx[TX_MAX];
    uint32_t io_addr;
    int64_t throttle_until;
    /* caches */
    bool tx_full, in_tx;
    uint8_t segment[TX_MAX];
} E1000;

#define R(s, off) ((s)->reg[(off) / 4])

/* ---- interrupts ---- */
static void e1000_update(E1000 *s)
{
    bool on = R(s, E_ICR) & R(s, E_IMS);
    int64_t now = device_now(&s->pci.dev), gap = (int64_t)(R(s, E_ITR) & 0xffff) * ITR_UNIT_NS;

    if (on && !s->pci.intx_level && now < s->throttle_until) {
        timer_set(&s->throttle, s->throttle_until);
        return;
    }
    if (on && !s->pci.intx_level && gap)
        s->throttle_until = now + gap;
    pci_set_irq(&s->pci, on);
}

static void throttle_over(void *opaque)
{
    e1000_update(opaque);
}

static void cause(E1000 *s, uint32_t bits)
{
    R(s, E_ICR) |= bits;
    e1000_update(s);
}

static void count64(E1000 *s, unsigned low, uint64_t add)
{
    uint64_t v = R(s, low) | (uint64_t)R(s, low + 4) << 32;

    v = v + add < v ? UINT64_MAX : v + add;     /* counters stick at their maximum */
    R(s, low) = v;
    R(s, low + 4) = v >> 32;
}

static void count(E1000 *s, unsigned off)
{
    R(s, off) += R(s, off) != UINT32_MAX;
}

/* ---- rings ---- */
static uint64_t ring_addr(E1000 *s, unsigned base, uint32_t index)
{
    return ((R(s, base) & ~15ULL) | (uint64_t)R(s, base + 4) << 32) + (uint64_t)index * DESC_LEN;
}

static uint32_t ring_size(const E1000 *s, unsigned len)
{
    return R(s, len) / DESC_LEN;
}

/* ---- receive ---- */
static unsigned rx_buffer_size(const E1000 *s)
{
    static const uint16_t sizes[] = { 2048, 1024, 512, 256 }, extended[] = { 2048, 16384, 8192, 4096 };
    unsigned i = R(s, E_RCTL) >> 16 & 3;

    return R(s, E_RCTL) & RCTL_BSEX ? extended[i] : sizes[i];
}

static uint32_t rx_free(const E1000 *s)
{
    uint32_t n = ring_size(s, E_RDLEN), h = R(s, E_RDH), t = R(s, E_RDT);

    if (!n || h >= n || t >= n)
        return 0;
    return t >= h ? t - h : n - h + t;
}

static bool rx_ready(const E1000 *s)
{
    return (R(s, E_STATUS) & STATUS_LU) && (R(s, E_RCTL) & RCTL_EN) && pci_bus_master(&s->pci);
}

static bool vlan_allowed(const E1000 *s, const uint8_t *f, size_t len)
{
    unsigned vid;

    if (!(R(s, E_RCTL) & RCTL_VFE) || len < 18 || ld16_be(f + 12) != (R(s, E_VET) & 0xffff))
        return true;
    vid = ld16_be(f + 14) & 0xfff;
    return R(s, E_VFTA + vid / 32 * 4) >> vid % 32 & 1;
}

static bool wanted(const E1000 *s, const uint8_t *f, size_t len)
{
    static const uint8_t broadcast[NET_MAC_LEN] = { 255, 255, 255, 255, 255, 255 };
    static const uint8_t shifts[] = { 4, 3, 2, 0 };
    uint32_t rctl = R(s, E_RCTL), hash;
    bool multi = f[0] & 1;

    if (!vlan_allowed(s, f, len))
        return false;
    if (!multi && (rctl & RCTL_UPE))
        return true;
    if (multi && (rctl & RCTL_MPE))
        return true;
    if (!memcmp(f, broadcast, sizeof broadcast))
        return rctl & RCTL_BAM;
    for (unsigned off = E_RA; off < E_RA_END; off += 8) {
        uint8_t mac[8];

        st32_le(mac, R(s, off));
        st32_le(mac + 4, R(s, off + 4));
        if ((R(s, off + 4) & RAH_AV) && !memcmp(f, mac, NET_MAC_LEN))
            return true;
    }
    if (!multi)
        return false;
    hash = (f[4] | f[5] << 8) >> shifts[rctl >> 12 & 3] & 0xfff;
    return R(s, E_MTA + hash / 32 * 4) >> hash % 32 & 1;
}

static void rx_stats(E1000 *s, const uint8_t *f, size_t len)
{
    count(s, E_TPR);
    count(s, E_GPRC);
    if (f[0] == 0xff)
        count(s, E_BPRC);
    else if (f[0] & 1)
        count(s, E_MPRC);
    count64(s, E_GORCL, len + 4);
    count64(s, E_TORL, len + 4);
}

/* Writes the frame into as many descriptors as it takes; the caller checked that they are there. */
static void rx_store(E1000 *s, const uint8_t *f, size_t len, uint8_t status, uint16_t vlan)
{
    unsigned bufsize = rx_buffer_size(s);
    size_t total = len + (R(s, E_RCTL) & RCTL_SECRC ? 0 : 4), at = 0;

    while (at < total) {
        uint32_t n = ring_size(s, E_RDLEN), h = R(s, E_RDH);
        uint64_t where = ring_addr(s, E_RDBAL, h), buf;
        size_t part = MIN(total - at, bufsize), data = at < len ? MIN(part, len - at) : 0;
        uint8_t d[DESC_LEN];

        if (!pci_dma_read(&s->pci, where, d, sizeof d))
            return;
        buf = ld64_le(d);
        if (buf) {
            static const uint8_t crc[4];

            pci_dma_write(&s->pci, buf, f + at, data);
            if (part > data)
                pci_dma_write(&s->pci, buf + data, crc, part - data);
        }
        at += part;
        st16_le(d + 8, part);
        st16_le(d + 10, 0);
        d[12] = RXD_DD | status | (at == total ? RXD_EOP : 0);
        d[13] = 0;
        st16_le(d + 14, vlan);
        pci_dma_write(&s->pci, where, d, sizeof d);
        R(s, E_RDH) = h + 1 >= n ? 0 : h + 1;
    }
}

static bool e1000_receive(void *opaque, const uint8_t *frame, size_t len)
{
    E1000 *s = opaque;
    uint8_t copy[RX_FRAME_MAX], status = RXD_IXSM;
    uint32_t need, bits = ICR_RXT0;
    uint16_t vlan = 0;

    if (!rx_ready(s) || len < 14 || len > sizeof copy || !wanted(s, frame, len))
        return true;
    if (len > 1522 && !(R(s, E_RCTL) & RCTL_LPE)) {
        count(s, E_ROC);
        return true;
    }
    memcpy(copy, frame, len);
    if (len < 60) {
        memset(copy + len, 0, 60 - len);
        len = 60;
    }
    if ((R(s, E_CTRL) & CTRL_VME) && ld16_be(copy + 12) == (R(s, E_VET) & 0xffff)) {
        vlan = ld16_be(copy + 14);
        memmove(copy + 12, copy + 16, len - 16);
        len -= 4;
        status |= RXD_VP;
    }
    need = (len + 4 + rx_buffer_size(s) - 1) / rx_buffer_size(s);
    if (rx_free(s) < need) {
        if (rx_free(s) || !ring_size(s, E_RDLEN) || R(s, E_RDH) != R(s, E_RDT))
            count(s, E_MPC);
        cause(s, ICR_RXO);
        return false;           /* waits in the port until RDT moves */
    }
    rx_store(s, copy, len, status, vlan);
    rx_stats(s, frame, len);
    if (rx_free(s) << (1 + (R(s, E_RCTL) >> 8 & 3)) <= ring_size(s, E_RDLEN))
        bits |= ICR_RXDMT0;
    cause(s, bits);
    return true;
}

/* ---- send ---- */
static bool tx_out(void *opaque, const uint8_t *f, size_t len)
{
    E1000 *s = opaque;

    count(s, E_TPT);
    count(s, E_GPTC);
    if (f[0] == 0xff)
        count(s, E_BPTC);
    else if (f[0] & 1)
        count(s, E_MPTC);
    count64(s, E_GOTCL, len + 4);
    count64(s, E_TOTL, len + 4);
    if (R(s, E_RCTL) & RCTL_LOOPBACK)
        return e1000_receive(s, f, len), true;
    return net_send(s->nic.port, f, len);
}

static void insert_vlan(E1000 *s)
{
    if (s->tx_len < 14 || s->tx_len + 4 > TX_MAX)
        return;
    memmove(s->tx + 16, s->tx + 12, s->tx_len - 12);
    st16_be(s->tx + 12, R(s, E_VET));
    st16_be(s->tx + 14, s->tx_vlan);
    s->tx_len += 4;
}

static void insert_checksum(E1000 *s, size_t start, size_t at, size_t end)
{
    size_t len = end && end + 1 < s->tx_len ? end + 1 : s->tx_len;

    if (start < len && range_ok(at, 2, len) && at >= start)
        net_checksum_at(s->tx, len, start, at);
}

static void send_large(E1000 *s)
{
    Gso g;

    if (!s->tso_ctx.mss || !gso_parse(s->tx, s->tx_len, &g) || g.kind == GSO_UDP) {
        log_guest("e1000: segmentation asked for a frame that is not TCP");
        return;
    }
    count(s, E_TSCTC);
    if (s->tx_vle) {
        insert_vlan(s);
        if (!gso_parse(s->tx, s->tx_len, &g))
            return;
    }
    g.mss = s->tso_ctx.mss;
    s->tx_full = !nic_send_large(&s->nic, s->tx, s->tx_len, &g, R(s, E_RCTL) & RCTL_LOOPBACK, s->segment, tx_out, s);
}

static void send_packet(E1000 *s)
{
    const TxContext *c = &s->ctx;

    if (s->tx_tse) {
        send_large(s);
        return;
    }
    if (s->tx_popts & TXD_TXSM)
        insert_checksum(s, c->tucss, c->tucso, c->tucse);
    if (s->tx_popts & TXD_IXSM)
        insert_checksum(s, c->ipcss, c->ipcso, c->ipcse);
    if (s->tx_vle)
        insert_vlan(s);
    s->tx_full = !tx_out(s, s->tx, s->tx_len);
}

static void tx_context(E1000 *s, const uint8_t *d)
{
    uint32_t cmd = ld32_le(d + 8);
    TxContext c = {
        .ipcss = d[0], .ipcso = d[1], .ipcse = ld16_le(d + 2), .tucss = d[4], .tucso = d[5], .tucse = ld16_le(d + 6),
        .pay_len = cmd & 0xfffff, .tcp = cmd & TXC_TCP, .ip = cmd & TXC_IP, .hdr_len = d[13], .mss = ld16_le(d + 14),
    };

    if (cmd & TXD_TSE)
        s->tso_ctx = c;
    else
        s->ctx = c;
}

static void tx_data(E1000 *s, const uint8_t *d, uint32_t cmd)
{
    bool ext = cmd & TXD_DEXT;
    uint32_t len = ext ? cmd & 0xfffff : cmd & 0xffff;

    if (!s->tx_len) {
        s->tx_popts = ext ? d[13] : 0;
        s->tx_tse = ext && (cmd & TXD_TSE);
        s->tx_vle = (cmd & TXD_VLE) && (R(s, E_CTRL) & CTRL_VME);
        s->tx_vlan = ld16_le(d + 14);
    }
    if (!ext && (cmd & TXD_IC)) {       /* legacy checksum: CSO and CSS in the descriptor */
        s->ctx.tucso = d[10];
        s->ctx.tucss = d[13];
        s->ctx.tucse = 0;
        s->tx_popts |= TXD_TXSM;
    }
    if (len > TX_MAX - 4 - s->tx_len) {
        log_guest("e1000: frame longer than %d bytes", TX_MAX);
        len = 0;
        s->tx_len = 0;
    }
    pci_dma_read(&s->pci, ld64_le(d), s->tx + s->tx_len, len);
    s->tx_len += len;
    if (cmd & TXD_EOP) {
        if (s->tx_len)
            send_packet(s);
        s->tx_len = 0;
    }
}

/* One descriptor; returns the interrupt cause it asks for. */
static uint32_t tx_descriptor(E1000 *s, uint64_t where)
{
    uint8_t d[DESC_LEN];
    uint32_t cmd;

    if (!pci_dma_read(&s->pci, where, d, sizeof d))
        return 0;
    cmd = ld32_le(d + 8);
    if ((cmd & TXD_DEXT) && (cmd & TXD_DTYP) != TXD_DTYP_DATA)
        tx_context(s, d);
    else
        tx_data(s, d, cmd);
    if (!(cmd & TXD_RS))
        return 0;
    d[12] |= TXD_DD;
    pci_dma_write(&s->pci, where + 12, d + 12, 1);
    return ICR_TXDW;
}

/* At most one ring's worth of descriptors: a ring that lies cannot hold the vcpu. */
static void tx_run(E1000 *s)
{
    uint32_t n = ring_size(s, E_TDLEN), budget = MIN(n, 4096u), bits = 0;

    if (!(R(s, E_TCTL) & TCTL_EN) || s->in_tx || !n || R(s, E_TDH) >= n || R(s, E_TDT) >= n ||
        R(s, E_TDH) == R(s, E_TDT) || !pci_bus_master(&s->pci))
        return;
    s->in_tx = true;
    s->nic.segments = 0;
    net_burst(s->nic.port, true);
    while (R(s, E_TDH) != R(s, E_TDT) && budget-- && !s->tx_full && s->nic.segments < NIC_SEGMENTS_MAX) {
        bits |= tx_descriptor(s, ring_addr(s, E_TDBAL, R(s, E_TDH)));
        R(s, E_TDH) = R(s, E_TDH) + 1 >= n ? 0 : R(s, E_TDH) + 1;
    }
    net_burst(s->nic.port, false);
    s->in_tx = false;
    if (R(s, E_TDH) == R(s, E_TDT))
        bits |= ICR_TXQE;
    else if (!s->tx_full)
        timer_set(&s->tx_later, device_now(&s->pci.dev) + 1);
    cause(s, bits);
}

static void e1000_writable(void *opaque)
{
    E1000 *s = opaque;

    s->tx_full = false;
    tx_run(s);
}

static void tx_more(void *opaque)
{
    tx_run(opaque);
}

/* ---- link, PHY, EEPROM ---- */
enum { PHY_CTRL = 0, PHY_STATUS = 1, PHY_ID1 = 2, PHY_ID2 = 3, PHY_ADV = 4, PHY_PARTNER = 5, PHY_EXP = 6, PHY_1000T_CTRL = 9,
       PHY_1000T_STATUS = 10, PHY_M88_CTRL = 16, PHY_M88_STATUS = 17, PHY_STATUS_LINK = 4, PHY_STATUS_ANEG = 0x20,
       PHY_CTRL_RESET = 0x8000, PHY_CTRL_RESTART = 0x200, M88_LINK = 0x400 };

static void phy_reset(E1000 *s)
{
    memset(s->phy, 0, sizeof s->phy);
    s->phy[PHY_CTRL] = 0x1140;
    s->phy[PHY_STATUS] = 0x7949;
    s->phy[PHY_ID1] = 0x0141;
    s->phy[PHY_ID2] = 0x0c20;
    s->phy[PHY_ADV] = 0x0de1;
    s->phy[PHY_PARTNER] = 0x45e1;
    s->phy[PHY_EXP] = 3;
    s->phy[PHY_1000T_CTRL] = 0x0e00;
    s->phy[PHY_1000T_STATUS] = 0x3c00;
    s->phy[PHY_M88_CTRL] = 0x0360;
    s->phy[PHY_M88_STATUS] = 0xa808;
}

static bool cable(const E1000 *s)
{
    return !s->nic.netdev || net_port_link(s->nic.port);
}

static void set_link(E1000 *s, bool up)
{
    bool was = R(s, E_STATUS) & STATUS_LU;

    if (up) {
        R(s, E_STATUS) |= STATUS_LU;
        s->phy[PHY_STATUS] |= PHY_STATUS_LINK | PHY_STATUS_ANEG;
        s->phy[PHY_M88_STATUS] |= M88_LINK;
    } else {
        R(s, E_STATUS) &= ~STATUS_LU;
        s->phy[PHY_STATUS] &= ~(PHY_STATUS_LINK | PHY_STATUS_ANEG);
        s->phy[PHY_M88_STATUS] &= ~M88_LINK;
    }
    if (was != up)
        cause(s, ICR_LSC);
    if (up)
        net_port_ready(s->nic.port);
}

static void link_timer(void *opaque)
{
    E1000 *s = opaque;

    set_link(s, cable(s));
}

static void link_changed(void *opaque, bool up)
{
    E1000 *s = opaque;

    if (s->pci.dev.phase == PHASE_LIVE)
        set_link(s, up);
}

static void mdic_write(E1000 *s, uint32_t v)
{
    unsigned reg = v >> 16 & 31, phy = v >> 21 & 31;

    v |= MDIC_READY;
    if (phy != 1) {
        v |= MDIC_ERROR;
    } else if (v & MDIC_READ) {
        v = (v & ~0xffffu) | s->phy[reg];
    } else if (v & MDIC_WRITE) {
        if (reg == PHY_CTRL) {
            if (v & PHY_CTRL_RESET)
                phy_reset(s);
            s->phy[reg] = v & ~(PHY_CTRL_RESET | PHY_CTRL_RESTART) & 0xffff;
            if (v & (PHY_CTRL_RESTART | PHY_CTRL_RESET)) {      /* the link comes back after a moment */
                set_link(s, false);
                timer_set(&s->link_timer, device_now(&s->pci.dev) + 50 * NS_PER_MS);
            }
        } else if (reg != PHY_STATUS && reg != PHY_ID1 && reg != PHY_ID2 && reg != PHY_PARTNER) {
            s->phy[reg] = v;
        }
    }
    R(s, E_MDIC) = v & ~MDIC_INT;
    if (v & MDIC_INT)
        cause(s, ICR_MDAC);
}

static void eeprom_init(E1000 *s)
{
    static const uint16_t image[] = { 0, 0, 0, 0, 0xffff, 0, 0, 0, 0x3000, 0x1000, 0x6403, 0x1af4, 0x1100, 0x8086, 0x100e };
    uint16_t *w = s->eeprom.word, sum = 0;

    memset(w, 0xff, sizeof s->eeprom.word);
    memcpy(w, image, sizeof image);
    for (int i = 0; i < 3; i++)
        w[i] = ld16_le(s->nic.mac + 2 * i);
    for (int i = 0; i < EEPROM93_WORDS - 1; i++)
        sum += w[i];
    w[EEPROM93_WORDS - 1] = 0xbaba - sum;
}

static void eecd_write(E1000 *s, uint32_t v)
{
    R(s, E_EECD) = v;
    eeprom93_wires(&s->eeprom, v & EECD_CS, v & EECD_SK, v & EECD_DI);
}

static uint32_t eecd_read(E1000 *s)
{
    uint32_t v = (R(s, E_EECD) & (EECD_SK | EECD_CS | EECD_DI | EECD_REQ)) | EECD_PRES;

    return v | (v & EECD_REQ ? EECD_GNT : 0) | (eeprom93_data_out(&s->eeprom) ? EECD_DO : 0);
}

static uint32_t eerd_read(E1000 *s)
{
    uint32_t v = R(s, E_EERD), word = v >> 8 & 0xff;

    if (!(v & EERD_START))
        return v;
    return (v & 0xff00) | EERD_DONE | (word < EEPROM93_WORDS ? (uint32_t)s->eeprom.word[word] << 16 : 0);
}

/* ---- registers ---- */
static void card_reset(E1000 *s)
{
    memset(s->reg, 0, sizeof s->reg);
    R(s, E_CTRL) = CTRL_SLU | 1 | 2 << 8;
    R(s, E_STATUS) = 0x80000000 | STATUS_SPEED_1000 | STATUS_FD | 1 << 19 | 1 << 10;
    R(s, E_PBA) = 0x00100030;
    R(s, E_MANC) = 1 << 13 | 1 << 15;
    R(s, E_LEDCTL) = 0x602;
    R(s, E_RA) = ld32_le(s->nic.mac);
    R(s, E_RA + 4) = ld16_le(s->nic.mac + 4) | (uint32_t)RAH_AV;
    phy_reset(s);
    s->tx_len = 0;
    s->tx_full = false;
    memset(&s->ctx, 0, sizeof s->ctx);
    memset(&s->tso_ctx, 0, sizeof s->tso_ctx);
    s->throttle_until = 0;
    timer_del(&s->throttle);
    timer_del(&s->tx_later);
    timer_del(&s->link_timer);
    if (s->nic.port) {
        net_port_purge(s->nic.port);
        if (cable(s)) {
            R(s, E_STATUS) |= STATUS_LU;
            s->phy[PHY_STATUS] |= PHY_STATUS_LINK | PHY_STATUS_ANEG;
            s->phy[PHY_M88_STATUS] |= M88_LINK;
        }
    }
    e1000_update(s);
}

static uint64_t e1000_read(void *opaque, uint64_t off, unsigned size)
{
    E1000 *s = opaque;
    uint32_t v;

    off &= ~3ULL;
    switch (off) {
    case E_EECD: return eecd_read(s);
    case E_EERD: return eerd_read(s);
    case E_ICR:
        v = R(s, E_ICR);
        R(s, E_ICR) = 0;
        e1000_update(s);
        return v;
    case E_ICS: case E_IMC: return 0;
    default:
        v = R(s, off);
        if (off >= E_STATS && off < E_STATS_END)
            R(s, off) = 0;      /* statistics clear on read */
        return v;
    }
}

static bool read_only(uint64_t off)
{
    return off == E_STATUS || (off >= E_STATS && off < E_STATS_END) || off == E_RXCW;
}

static void e1000_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    E1000 *s = opaque;
    uint32_t v = val;

    off &= ~3ULL;
    if (read_only(off))
        return;
    switch (off) {
    case E_CTRL:
        if (v & CTRL_RST)
            card_reset(s);
        else
            R(s, E_CTRL) = v;
        break;
    case E_EECD: eecd_write(s, v); break;
    case E_MDIC: mdic_write(s, v); break;
    case E_ICR: R(s, E_ICR) &= ~v; e1000_update(s); break;
    case E_ICS: cause(s, v); break;
    case E_IMS: R(s, E_IMS) |= v; e1000_update(s); break;
    case E_IMC: R(s, E_IMS) &= ~v; e1000_update(s); break;
    case E_ITR: R(s, E_ITR) = v & 0xffff; break;
    case E_RDLEN: case E_TDLEN: R(s, off) = v & 0xfff80; break;
    case E_RDBAL: case E_TDBAL: R(s, off) = v & ~15u; break;
    case E_RDH: case E_TDH: R(s, off) = v & 0xffff; break;
    case E_RDT: R(s, off) = v & 0xffff; net_port_ready(s->nic.port); break;
    case E_RCTL: R(s, off) = v; net_port_ready(s->nic.port); break;
    case E_TDT: R(s, off) = v & 0xffff; tx_run(s); break;
    case E_TCTL: R(s, off) = v; tx_run(s); break;
    default: R(s, off) = v;
    }
}

static const IoOps mmio_ops = { e1000_read, e1000_write, .min = 1, .max = 8, .impl_min = 4, .impl_max = 4 };

/* BAR 1: IOADDR selects a register, IODATA reaches it; the window itself is never a target. */
static uint64_t io_read(void *opaque, uint64_t off, unsigned size)
{
    E1000 *s = opaque;

    if (off == 0)
        return s->io_addr;
    return off == 4 && s->io_addr < E_MMIO_SIZE ? e1000_read(s, s->io_addr, 4) : 0;
}

static void io_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    E1000 *s = opaque;

    if (off == 0)
        s->io_addr = val;
    else if (off == 4 && s->io_addr < E_MMIO_SIZE)
        e1000_write(s, s->io_addr, val, 4);
}

static const IoOps io_ops = { io_read, io_write, .min = 1, .max = 4, .impl_min = 4, .impl_max = 4 };

static char *e1000_describe(void *opaque)
{
    return nic_describe("e1000", ((E1000 *)opaque)->nic.mac);
}

static void e1000_announce(void *opaque, uint8_t mac[NET_MAC_LEN])
{
    E1000 *s = opaque;

    st32_le(mac, R(s, E_RA));
    st16_le(mac + 4, R(s, E_RA + 4));
}

static const NetPortOps e1000_ops = {
    .receive = e1000_receive, .writable = e1000_writable, .link_changed = link_changed, .describe = e1000_describe,
    .announce = e1000_announce,
};

static bool e1000_realize(Device *dev, GError **err)
{
    E1000 *s = container_of(dev, E1000, pci.dev);

    if (!nic_init(&s->nic, dev, &e1000_ops, s, err))
        return false;
    eeprom_init(s);
    device_timer_init(dev, &s->throttle, throttle_over);
    device_timer_init(dev, &s->link_timer, link_timer);
    device_timer_init(dev, &s->tx_later, tx_more);
    device_init_io(dev, &s->mmio, "e1000-mmio", &mmio_ops, E_MMIO_SIZE);
    device_init_io(dev, &s->io, "e1000-io", &io_ops, IO_SIZE);
    pci_bar(&s->pci, 0, PCI_BAR_MEM32, &s->mmio);
    pci_bar(&s->pci, 1, PCI_BAR_IO, &s->io);
    return true;
}

static void e1000_unrealize(Device *dev)
{
    E1000 *s = container_of(dev, E1000, pci.dev);

    timer_del(&s->throttle);
    timer_del(&s->link_timer);
    timer_del(&s->tx_later);
    nic_cleanup(&s->nic);
    region_destroy(&s->mmio);
    region_destroy(&s->io);
}

static void e1000_reset(Device *dev)
{
    E1000 *s = container_of(dev, E1000, pci.dev);

    eeprom93_idle(&s->eeprom);
    s->io_addr = 0;
    card_reset(s);
}

static bool e1000_loaded(void *opaque, GError **err)
{
    E1000 *s = opaque;

    if (s->tx_len > TX_MAX - 4)
        return err_set(err, "e1000: impossible transfer state");
    s->tx_full = s->in_tx = false;
    timer_set(&s->link_timer, device_now(&s->pci.dev) + NS_PER_MS);     /* a link coming up when it was saved */
    timer_set(&s->tx_later, device_now(&s->pci.dev) + 1);
    e1000_update(s);
    return true;
}

static const StateDesc context_state = {
    .name = "context", .version = 1,
    .fields = (const StateField[]) {
        STATE_U8(TxContext, ipcss), STATE_U8(TxContext, ipcso), STATE_U8(TxContext, tucss), STATE_U8(TxContext, tucso),
        STATE_U8(TxContext, hdr_len), STATE_U16(TxContext, ipcse), STATE_U16(TxContext, tucse), STATE_U16(TxContext, mss),
        STATE_U32(TxContext, pay_len), STATE_B(TxContext, tcp), STATE_B(TxContext, ip), STATE_END },
};

static const PciClass e1000_pci = { .vendor = 0x8086, .device = 0x100e, .class_code = 0x020000, .revision = 3,
                                    .intx = true, .rom_file = "efi-e1000.rom" };
static const char *const e1000_aliases[] = { "e1000-82540em", NULL };

const DeviceClass e1000_class = {
    .name = "e1000", .aliases = e1000_aliases, .desc = "Intel Gigabit Ethernet 82540EM", .category = DEVCAT_NETWORK,
    .bus = BUS_PCI, .size = sizeof(E1000), .realize = e1000_realize, .unrealize = e1000_unrealize, .reset = e1000_reset,
    .props = (const PropDesc[]) {
        PCI_PROPS(E1000), NIC_PROPS(E1000, nic),
        PROP_BOOL(E1000, init_vet, 1, "accepted for old scripts; VET is the driver's"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = e1000_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(E1000, pci), STATE_UARRAY(E1000, reg), STATE_STRUCT(E1000, eeprom, &eeprom93_state),
            STATE_UARRAY(E1000, phy), STATE_STRUCT(E1000, ctx, &context_state), STATE_STRUCT(E1000, tso_ctx, &context_state),
            STATE_U32(E1000, tx_len), STATE_U8(E1000, tx_popts), STATE_B(E1000, tx_tse), STATE_B(E1000, tx_vle),
            STATE_U16(E1000, tx_vlan), STATE_BUF(E1000, tx), STATE_U32(E1000, io_addr), STATE_I64(E1000, throttle_until),
            STATE_END } },
    .bus_class = &e1000_pci,
};
