/*
 * rtl8139: the Realtek RTL8139C+ fast ethernet card.
 *
 * RTL8139C(L)+ data sheet. Models both faces: the classic one (four send buffers, one receive
 * ring) and C+ mode (descriptor rings, checksum and TCP segmentation offload, VLAN tags,
 * statistics dump), with EEPROM, timer, address filter and link. Leaves out wake-up, early
 * receive and the high-priority queue's precedence. cplus=off makes it an RTL8139C, for
 * drivers that refuse the newer chip. Data sheet: docs/hw/rtl8139.md.
 */
#include "hw/net/eeprom93.h"
#include "hw/net/nic.h"
#include "hw/net/rtl8139_regs.h"
#include "hw/pci/pci.h"

#include <string.h>
#include <zlib.h>

enum { TX_BUFFERS = 4, RING_MAX = 64, DESC_LEN = 16, TX_MAX = NET_FRAME_MAX, RX_FRAME_MAX = 4096, FCS_LEN = 4,
       CLASSIC_HEADER = 4, PCI_MHZ = 33, RETRY_NS = NS_PER_MS };

typedef struct Tally {          /* as the statistics dump lays them out */
    uint64_t tx_ok, rx_ok, tx_err;
    uint32_t rx_err;
    uint16_t missed, align;
    uint32_t tx_one, tx_many;
    uint64_t rx_unicast, rx_broadcast;
    uint32_t rx_multicast;
    uint16_t aborts, underruns;
} Tally;

typedef struct Rtl8139 {
    PciDevice pci;
    Region io, mem;
    Nic nic;
    Timer timeout, again;
    bool cplus;                 /* property */
    /* state */
    uint8_t reg[R_SIZE];
    Eeprom93 eeprom;
    uint8_t tx_cur;             /* classic buffer to send next */
    uint8_t cp_tx[2], cp_rx;    /* descriptor numbers: normal and high queue, receive */
    Tally tally;
    int64_t timer_base;
    uint32_t tx_len;            /* of a frame whose descriptors have not all been seen */
    uint8_t tx[TX_MAX];
    /* caches */
    bool tx_full, in_tx;
    bool rx_moved;              /* the driver has read from the classic ring since it was last told */
    uint8_t segment[TX_MAX];
} Rtl8139;

#define R8(s, off) ((s)->reg[off])
static uint16_t r16(const Rtl8139 *s, unsigned off) { return ld16_le(s->reg + off); }
static uint32_t r32(const Rtl8139 *s, unsigned off) { return ld32_le(s->reg + off); }

/* ---- interrupts and timer ---- */
static void rtl_update(Rtl8139 *s)
{
    uint32_t at = r32(s, R_TIMERINT);

    pci_set_irq(&s->pci, !!(r16(s, R_ISR) & r16(s, R_IMR)));
    if (at && !(r16(s, R_ISR) & ISR_TIMEOUT))
        timer_set(&s->timeout, s->timer_base + (int64_t)at * 1000 / PCI_MHZ);
    else
        timer_del(&s->timeout);
}

static void cause(Rtl8139 *s, uint16_t bits)
{
    st16_le(s->reg + R_ISR, r16(s, R_ISR) | bits);
    rtl_update(s);
}

static void timer_reached(void *opaque)
{
    Rtl8139 *s = opaque;

    /* The counter goes on and comes by again after 2^32 ticks. */
    s->timer_base += (1LL << 32) * 1000 / PCI_MHZ;
    cause(s, ISR_TIMEOUT);
}

static uint32_t timer_count(Rtl8139 *s)
{
    return (device_now(&s->pci.dev) - s->timer_base) * PCI_MHZ / 1000;
}

/* ---- receive ---- */
static unsigned hash_bit(const uint8_t *mac)
{
    uint32_t crc = ~crc32(0, mac, NET_MAC_LEN), h = 0;

    for (unsigned i = 0; i < 6; i++)    /* the top six bits of the CRC sent most significant bit first */
        h |= (crc >> i & 1) << (5 - i);
    return h;
}

typedef enum { NOT_OURS, UNICAST, MULTICAST, BROADCAST } Kind;

static Kind accept_kind(const Rtl8139 *s, const uint8_t *f)
{
    static const uint8_t broadcast[NET_MAC_LEN] = { 255, 255, 255, 255, 255, 255 };
    uint32_t rcr = r32(s, R_RCR);
    unsigned h;

    if (!memcmp(f, broadcast, sizeof broadcast))
        return rcr & (RCR_AB | RCR_AAP) ? BROADCAST : NOT_OURS;
    if (f[0] & 1) {
        h = hash_bit(f);
        return (rcr & RCR_AAP) || ((rcr & RCR_AM) && R8(s, R_MAR + h / 8) >> h % 8 & 1) ? MULTICAST : NOT_OURS;
    }
    return (rcr & RCR_AAP) || ((rcr & RCR_APM) && !memcmp(f, s->reg + R_IDR, NET_MAC_LEN)) ? UNICAST : NOT_OURS;
}

static uint32_t ring_bytes(const Rtl8139 *s)
{
    return 8192u << ((r32(s, R_RCR) & RCR_RBLEN) >> 11);
}

/* Bytes that wait for the driver. CAPR runs 16 bytes behind what the driver has read. */
static uint32_t ring_used(const Rtl8139 *s)
{
    return (r16(s, R_CBR) - (r16(s, R_CAPR) + 16u)) & (ring_bytes(s) - 1);
}

static void ring_put(Rtl8139 *s, uint32_t *at, const void *data, uint32_t len, bool wrap)
{
    uint32_t size = ring_bytes(s), first = wrap ? MIN(len, size - *at) : len;
    uint64_t base = r32(s, R_RBSTART);

    pci_dma_write(&s->pci, base + *at, data, first);
    if (first < len)
        pci_dma_write(&s->pci, base, (const uint8_t *)data + first, len - first);
    *at = wrap ? (*at + len) & (size - 1) : *at + len;
}

static bool receive_classic(Rtl8139 *s, const uint8_t *f, size_t len, Kind kind)
{
    static const uint16_t kinds[] = { [UNICAST] = RX_PAM, [MULTICAST] = RX_MAR, [BROADCAST] = RX_BAR };
    uint32_t size = ring_bytes(s), need = CLASSIC_HEADER + ((len + FCS_LEN + 3) & ~3u), at = r16(s, R_CBR) & (size - 1);
    bool wrap = size == 65536 || !(r32(s, R_RCR) & RCR_WRAP);
    uint8_t word[4];

    if (need >= size - ring_used(s))
        return false;           /* waits in the port until CAPR moves */
    st16_le(word, RX_ROK | kinds[kind]);
    st16_le(word + 2, len + FCS_LEN);
    ring_put(s, &at, word, sizeof word, wrap);
    ring_put(s, &at, f, len, wrap);
    st32_le(word, crc32(0, f, len));
    ring_put(s, &at, word, sizeof word, wrap);
    st16_le(s->reg + R_CBR, ((at + 3) & ~3u) & (size - 1));
    return true;
}

static uint64_t desc_addr(const Rtl8139 *s, unsigned ring, unsigned i)
{
    return (ld64_le(s->reg + ring) & ~255ULL) + i * DESC_LEN;
}

static uint32_t rx_sums(const Rtl8139 *s, const uint8_t *f, size_t len)
{
    unsigned what = r16(s, R_CPCR) & CPCR_RXSUM ? sums_check(f, len) : 0;
    uint32_t v = what & SUM_BAD_IP ? RD_BAD_IP : 0;

    if (what & SUM_TCP)
        return v | RD_PID_TCP | (what & SUM_BAD_L4 ? RD_BAD_TCP : 0);
    if (what & SUM_UDP)
        return v | RD_PID_UDP | (what & SUM_BAD_L4 ? RD_BAD_UDP : 0);
    return v | (what & SUM_IP ? RD_PID_IP : 0);
}

/* One descriptor takes the whole frame; drivers size their buffers so. */
static bool receive_cplus(Rtl8139 *s, uint8_t *f, size_t len, Kind kind)
{
    static const uint32_t kinds[] = { [UNICAST] = RD_PAM, [MULTICAST] = RD_MAR, [BROADCAST] = RD_BAR };
    uint64_t where = desc_addr(s, R_RDSAR, s->cp_rx);
    uint32_t ctl, tag = 0, status = D_FS | D_LS | kinds[kind];
    uint8_t d[DESC_LEN], fcs[FCS_LEN];

    if (!pci_dma_read(&s->pci, where, d, sizeof d))
        return true;
    ctl = ld32_le(d);
    if (!(ctl & D_OWN)) {
        cause(s, ISR_RXOVW);
        return false;
    }
    if ((r16(s, R_CPCR) & CPCR_RXVLAN) && ld16_be(f + 12) == 0x8100) {
        tag = RD_TAG | ld16_le(f + 14);
        memmove(f + 12, f + 16, len - 16);
        len -= 4;
    }
    if (len + FCS_LEN > (ctl & 0x1fff)) {
        s->tally.rx_err++;
        return true;            /* no buffer of this driver can hold it */
    }
    pci_dma_write(&s->pci, ld64_le(d + 8), f, len);
    st32_le(fcs, crc32(0, f, len));
    pci_dma_write(&s->pci, ld64_le(d + 8) + len, fcs, FCS_LEN);
    status |= rx_sums(s, f, len) | (ctl & D_EOR) | (len + FCS_LEN);
    st32_le(d, status);
    st32_le(d + 4, tag);
    pci_dma_write(&s->pci, where, d, 8);
    s->cp_rx = ctl & D_EOR || s->cp_rx == RING_MAX - 1 ? 0 : s->cp_rx + 1;
    return true;
}

static bool rtl_receive(void *opaque, const uint8_t *frame, size_t len)
{
    Rtl8139 *s = opaque;
    uint8_t copy[RX_FRAME_MAX];
    Kind kind;
    bool took;

    if (!(R8(s, R_CR) & CR_RE) || !pci_bus_master(&s->pci) || len < 14 || len > sizeof copy ||
        (kind = accept_kind(s, frame)) == NOT_OURS)
        return true;
    memcpy(copy, frame, len);
    if (len < 60) {
        memset(copy + len, 0, 60 - len);
        len = 60;
    }
    took = r16(s, R_CPCR) & CPCR_RX ? receive_cplus(s, copy, len, kind) : receive_classic(s, copy, len, kind);
    if (!took) {
        timer_set(&s->again, device_now(&s->pci.dev) + RETRY_NS);       /* C+ drivers refill without telling */
        return false;
    }
    s->tally.rx_ok++;
    s->tally.rx_unicast += kind == UNICAST;
    s->tally.rx_multicast += kind == MULTICAST;
    s->tally.rx_broadcast += kind == BROADCAST;
    cause(s, ISR_ROK);
    return true;
}

/* ---- send ---- */
static bool tx_out(void *opaque, const uint8_t *f, size_t len)
{
    Rtl8139 *s = opaque;

    s->tally.tx_ok++;
    if ((r32(s, R_TCR) & TCR_LBK) == TCR_LBK)
        return rtl_receive(s, f, len), true;
    return net_send(s->nic.port, f, len);
}

/* Sends classic buffers in their order until one is not filled. */
static void tx_classic(Rtl8139 *s)
{
    for (unsigned budget = TX_BUFFERS; budget && !s->tx_full; budget--) {
        uint8_t *tsd = s->reg + R_TSD + 4 * s->tx_cur;
        uint32_t v = ld32_le(tsd), len = v & TSD_SIZE;

        if (v & TSD_OWN)
            return;
        pci_dma_read(&s->pci, r32(s, R_TSAD + 4 * s->tx_cur), s->segment, len);
        s->tx_full = len >= 14 && !tx_out(s, s->segment, len);
        st32_le(tsd, v | TSD_OWN | TSD_TOK);
        s->tx_cur = (s->tx_cur + 1) % TX_BUFFERS;
        cause(s, ISR_TOK);
    }
}

static void insert_vlan(Rtl8139 *s, uint16_t tag)
{
    if (s->tx_len < 14 || s->tx_len + 4 > TX_MAX)
        return;
    memmove(s->tx + 16, s->tx + 12, s->tx_len - 12);
    st16_be(s->tx + 12, 0x8100);
    st16_le(s->tx + 14, tag);
    s->tx_len += 4;
}

static void send_cplus(Rtl8139 *s, uint32_t ctl, uint32_t second)
{
    bool loop = (r32(s, R_TCR) & TCR_LBK) == TCR_LBK;
    Gso g;

    if (ctl & TD_LARGE) {
        if (second & TD_TAG)
            insert_vlan(s, second);
        g.mss = ctl >> 16 & 0x7ff;
        if (!g.mss || !gso_parse(s->tx, s->tx_len, &g) || g.kind == GSO_UDP) {
            log_guest("rtl8139: segmentation asked for a frame that is not TCP");
            return;
        }
        s->tx_full = !nic_send_large(&s->nic, s->tx, s->tx_len, &g, loop, s->segment, tx_out, s);
        return;
    }
    sums_fill(s->tx, s->tx_len, (ctl & TD_IPCS ? SUM_IP : 0) | (ctl & TD_UDPCS ? SUM_UDP : 0) | (ctl & TD_TCPCS ? SUM_TCP : 0));
    if (second & TD_TAG)
        insert_vlan(s, second);
    s->tx_full = !tx_out(s, s->tx, s->tx_len);
}

/* One descriptor of a C+ send ring; false: it is the driver's. */
static bool tx_descriptor(Rtl8139 *s, unsigned ring, uint8_t *cur)
{
    uint64_t where = desc_addr(s, ring, *cur);
    uint32_t ctl, len;
    uint8_t d[DESC_LEN];

    if (!pci_dma_read(&s->pci, where, d, sizeof d))
        return false;
    ctl = ld32_le(d);
    if (!(ctl & D_OWN))
        return false;
    if (ctl & D_FS)
        s->tx_len = 0;
    len = ctl & 0xffff;
    if (len > TX_MAX - 4 - s->tx_len) {
        log_guest("rtl8139: frame longer than %d bytes", TX_MAX);
        s->tx_len = len = 0;
    }
    pci_dma_read(&s->pci, ld64_le(d + 8), s->tx + s->tx_len, len);
    s->tx_len += len;
    st32_le(d, ctl & ~D_OWN);
    pci_dma_write(&s->pci, where, d, 4);
    *cur = ctl & D_EOR || *cur == RING_MAX - 1 ? 0 : *cur + 1;
    if (ctl & D_LS) {
        if (s->tx_len >= 14)
            send_cplus(s, ctl, ld32_le(d + 4));
        s->tx_len = 0;
        cause(s, ISR_TOK);
    }
    return true;
}

/* Half a millisecond of frames at most; a ring that never ends goes on from the timer. */
static void tx_cplus(Rtl8139 *s)
{
    static const uint8_t rings[2] = { R_TNPDS, R_THPDS }, polls[2] = { TPPOLL_NPQ, TPPOLL_HPQ };

    for (int q = 1; q >= 0; q--) {
        unsigned budget = RING_MAX;

        if (!(R8(s, R_TPPOLL) & polls[q]))
            continue;
        while (budget && !s->tx_full && s->nic.segments < NIC_SEGMENTS_MAX && tx_descriptor(s, rings[q], &s->cp_tx[q]))
            budget--;
        if (!budget || s->nic.segments >= NIC_SEGMENTS_MAX) {
            timer_set(&s->again, device_now(&s->pci.dev) + 1);
        } else if (!s->tx_full) {
            R8(s, R_TPPOLL) &= ~polls[q];
            cause(s, ISR_TDU);
        }
    }
}

static void tx_run(Rtl8139 *s)
{
    if (!(R8(s, R_CR) & CR_TE) || s->in_tx || s->tx_full || !pci_bus_master(&s->pci))
        return;
    s->in_tx = true;
    s->nic.segments = 0;
    if (r16(s, R_CPCR) & CPCR_TX)
        tx_cplus(s);
    else
        tx_classic(s);
    s->in_tx = false;
}

static void rtl_writable(void *opaque)
{
    Rtl8139 *s = opaque;

    s->tx_full = false;
    tx_run(s);
}

static bool more_to_read(const Rtl8139 *s)
{
    return !(r16(s, R_CPCR) & CPCR_RX) && ring_used(s);
}

static void run_again(void *opaque)
{
    Rtl8139 *s = opaque;

    tx_run(s);
    net_port_ready(s->nic.port);
    if (more_to_read(s))
        cause(s, ISR_ROK);
}

static void dump_tally(Rtl8139 *s)
{
    const Tally *t = &s->tally;
    uint8_t b[64];

    st64_le(b, t->tx_ok);
    st64_le(b + 8, t->rx_ok);
    st64_le(b + 16, t->tx_err);
    st32_le(b + 24, t->rx_err);
    st16_le(b + 28, t->missed);
    st16_le(b + 30, t->align);
    st32_le(b + 32, t->tx_one);
    st32_le(b + 36, t->tx_many);
    st64_le(b + 40, t->rx_unicast);
    st64_le(b + 48, t->rx_broadcast);
    st32_le(b + 56, t->rx_multicast);
    st16_le(b + 60, t->aborts);
    st16_le(b + 62, t->underruns);
    pci_dma_write(&s->pci, ld64_le(s->reg + R_DTCCR) & ~63ULL, b, sizeof b);
    R8(s, R_DTCCR) &= ~DTCCR_CMD;
}

/* ---- link, EEPROM ---- */
static bool cable(const Rtl8139 *s)
{
    return !s->nic.netdev || net_port_link(s->nic.port);
}

static void show_link(Rtl8139 *s)
{
    uint16_t bits = BMSR_LINK | BMSR_ANEG;
    bool up = cable(s);

    R8(s, R_MSR) = up ? R8(s, R_MSR) & ~MSR_LINKB : R8(s, R_MSR) | MSR_LINKB;
    st16_le(s->reg + R_BMSR, up ? r16(s, R_BMSR) | bits : r16(s, R_BMSR) & ~bits);
    st16_le(s->reg + R_ANLPAR, up ? 0x45e1 : 0);
}

static void link_changed(void *opaque, bool up)
{
    Rtl8139 *s = opaque;

    if (s->pci.dev.phase != PHASE_LIVE)
        return;
    show_link(s);
    cause(s, ISR_LINK);
}

static void phy_reset(Rtl8139 *s)
{
    st16_le(s->reg + R_BMCR, 0x3100);
    st16_le(s->reg + R_BMSR, 0x7809);
    st16_le(s->reg + R_ANAR, 0x05e1);
    st16_le(s->reg + R_ANER, 1);
    st16_le(s->reg + R_CSCR, 0x03c0 | 8);
    show_link(s);
}

static void eeprom_init(Rtl8139 *s)
{
    uint16_t *w = s->eeprom.word;

    memset(w, 0, sizeof s->eeprom.word);
    w[0] = 0x8129;
    w[1] = 0x10ec;
    w[2] = 0x8139;
    w[3] = 0x1af4;              /* subsystem */
    w[4] = 0x1100;
    for (int i = 0; i < 3; i++)
        w[7 + i] = ld16_le(s->nic.mac + 2 * i);
}

static void autoload(Rtl8139 *s)
{
    for (int i = 0; i < 3; i++)
        st16_le(s->reg + R_IDR + 2 * i, s->eeprom.word[7 + i]);
    R8(s, R_9346CR) &= ~CR93_EEM;
}

/* ---- registers ---- */
static void soft_reset(Rtl8139 *s)
{
    R8(s, R_CR) = 0;
    st16_le(s->reg + R_ISR, 0);
    st16_le(s->reg + R_IMR, 0);
    st32_le(s->reg + R_TCR, s->cplus ? 0x74800000 : 0x74000000);
    st32_le(s->reg + R_RCR, 0);
    memset(s->reg + R_TSD, 0, R_RBSTART - R_TSD);
    for (int i = 0; i < TX_BUFFERS; i++)
        st32_le(s->reg + R_TSD + 4 * i, TSD_OWN);
    st32_le(s->reg + R_RBSTART, 0);
    st16_le(s->reg + R_CAPR, 0xfff0);
    st16_le(s->reg + R_CBR, 0);
    st32_le(s->reg + R_MPC, 0);
    st32_le(s->reg + R_TIMERINT, 0);
    st16_le(s->reg + R_CPCR, 0);
    R8(s, R_TPPOLL) = 0;
    s->tx_cur = s->cp_rx = s->cp_tx[0] = s->cp_tx[1] = 0;
    s->tx_len = 0;
    s->tx_full = s->rx_moved = false;
    s->timer_base = device_now(&s->pci.dev);
    timer_del(&s->again);
    rtl_update(s);
}

static void wrote_cr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    if (v & CR_RST) {
        soft_reset(s);
        return;
    }
    if (v & ~old & CR_RE)
        s->cp_rx = 0;
    if (v & ~old & CR_TE)
        s->cp_tx[0] = s->cp_tx[1] = s->tx_cur = s->tx_len = 0;
    tx_run(s);
    net_port_ready(s->nic.port);
}

static void wrote_rcr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    if ((old ^ v) & RCR_RBLEN) {        /* another ring: empty */
        st16_le(s->reg + R_CAPR, 0xfff0);
        st16_le(s->reg + R_CBR, 0);
    }
    net_port_ready(s->nic.port);
}

static void wrote_send(Rtl8139 *s, uint32_t old, uint32_t v)
{
    tx_run(s);
}

static void wrote_dtccr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    if ((r16(s, R_CPCR) & CPCR_TX) && (v & DTCCR_CMD))
        dump_tally(s);
    else
        tx_run(s);
}

static void wrote_poll(Rtl8139 *s, uint32_t old, uint32_t v)
{
    R8(s, R_TPPOLL) |= old & (TPPOLL_NPQ | TPPOLL_HPQ);
    if (v & TPPOLL_SWINT) {
        R8(s, R_TPPOLL) &= ~TPPOLL_SWINT;
        cause(s, ISR_SWINT);
    }
    tx_run(s);
}

/*
 * A driver that acknowledges with frames left in the ring may rely on the next frame to come back to them,
 * and behind a full ring none comes: it is told again. At once while it reads and frames wait; else by the
 * clock, since one that acknowledges before it reads would never leave its handler.
 */
static void wrote_isr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    st16_le(s->reg + R_ISR, old & ~v);
    rtl_update(s);
    net_port_ready(s->nic.port);
    if (!(v & ISR_ROK) || !more_to_read(s))
        return;
    if (s->rx_moved && !g_queue_is_empty(&s->nic.port->queue)) {
        s->rx_moved = false;
        cause(s, ISR_ROK);
    } else if (!timer_active(&s->again)) {
        timer_set(&s->again, device_now(&s->pci.dev) + RETRY_NS);
    }
}

static void wrote_capr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    s->rx_moved = true;
    net_port_ready(s->nic.port);
}

static void wrote_ready(Rtl8139 *s, uint32_t old, uint32_t v)
{
    rtl_update(s);
    net_port_ready(s->nic.port);
}

static void wrote_timer(Rtl8139 *s, uint32_t old, uint32_t v)
{
    s->timer_base = device_now(&s->pci.dev);
    rtl_update(s);
}

static void wrote_9346(Rtl8139 *s, uint32_t old, uint32_t v)
{
    unsigned mode = v & CR93_EEM;

    if (mode == CR93_AUTOLOAD)
        autoload(s);
    eeprom93_wires(&s->eeprom, mode == CR93_PROGRAM && (v & CR93_CS), v & CR93_SK, v & CR93_DI);
}

static void wrote_bmcr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    if (v & BMCR_RESET)
        phy_reset(s);
    else
        st16_le(s->reg + R_BMCR, v & ~BMCR_RESTART);
}

static void wrote_cpcr(Rtl8139 *s, uint32_t old, uint32_t v)
{
    if (!s->cplus)
        st16_le(s->reg + R_CPCR, 0);
    net_port_ready(s->nic.port);
}

static void wrote_mpc(Rtl8139 *s, uint32_t old, uint32_t v)
{
    st32_le(s->reg + R_MPC, 0);
}

/* What the guest may change. A write is cut into the registers it touches, in this order. */
static const struct RegRow {
    uint8_t off, len;
    bool locked;                /* only while 9346CR says so */
    bool clears;                /* bytes that are not written count as 0 */
    uint32_t mask;
    void (*wrote)(Rtl8139 *s, uint32_t old, uint32_t v);
} rows[] = {
    { R_IDR, 4, true, false, 0xffffffff }, { R_IDR + 4, 2, true, false, 0xffff },
    { R_MAR, 4, false, false, 0xffffffff }, { R_MAR + 4, 4, false, false, 0xffffffff },
    { R_DTCCR + 4, 4, false, false, 0xffffffff, wrote_send }, { R_DTCCR, 4, false, false, 0xffffffff, wrote_dtccr },
    { R_TSD + 8, 4, false, false, 0xffffffff, wrote_send }, { R_TSD + 12, 4, false, false, 0xffffffff, wrote_send },
    { R_TSAD, 4, false, false, 0xffffffff }, { R_TSAD + 4, 4, false, false, 0xffffffff },
    { R_TSAD + 8, 4, false, false, 0xffffffff }, { R_TSAD + 12, 4, false, false, 0xffffffff },
    { R_RBSTART, 4, false, false, 0xffffffff }, { R_CAPR, 2, false, false, 0xffff, wrote_capr },
    { R_IMR, 2, false, false, 0xffff, wrote_ready }, { R_ISR, 2, false, true, 0xffff, wrote_isr },
    { R_TCR, 4, false, false, 0x030707f0 }, { R_RCR, 4, false, false, 0x0f07ffff, wrote_rcr },
    { R_TCTR, 4, false, false, 0xffffffff, wrote_timer }, { R_MPC, 4, false, false, 0xffffffff, wrote_mpc },
    { R_9346CR, 1, false, false, 0xfe, wrote_9346 }, { R_CONFIG1, 1, true, false, 0xf1 },
    { R_TIMERINT, 4, false, false, 0xffffffff, wrote_timer }, { R_MSR, 1, true, false, 0xc0 },
    { R_CONFIG3, 1, true, false, 0xe1 }, { R_CONFIG4, 1, true, false, 0xff }, { R_MULINT, 2, false, false, 0x0fff },
    { R_BMCR, 2, true, false, 0xffff, wrote_bmcr }, { R_ANAR, 2, false, false, 0xffff },
    { R_NWAYTR, 2, false, false, 0xffff }, { R_CSCR, 2, false, false, 0x0bff }, { R_PHY1, 4, false, false, 0xffffffff },
    { R_TWISTER, 4, false, false, 0xffffffff }, { R_PHY2, 1, false, false, 0xff }, { R_CONFIG5, 1, true, false, 0x7f },
    { R_TPPOLL, 1, false, false, 0xc1, wrote_poll }, { R_CPCR, 2, false, false, 0x027f, wrote_cpcr },
    { R_INTMITIGATE, 2, false, false, 0xffff }, { R_RDSAR, 4, false, false, 0xffffff00 },
    { R_RDSAR + 4, 4, false, false, 0xffffffff }, { R_MTPS, 1, false, false, 0x3f },
    { R_CR, 1, false, false, 0x1c, wrote_cr },
};

static void write_row(Rtl8139 *s, const struct RegRow *r, unsigned off, uint32_t val, unsigned size)
{
    uint32_t old = 0, v = 0;

    if (r->locked && (R8(s, R_9346CR) & CR93_EEM) != CR93_UNLOCK)
        return;
    for (unsigned i = 0; i < r->len; i++) {
        unsigned at = r->off + i;
        uint32_t was = R8(s, at), mask = r->mask >> 8 * i & 0xff;
        bool hit = at >= off && at < off + size;
        uint32_t neu = hit ? val >> 8 * (at - off) & 0xff : r->clears ? 0 : was;

        old |= was << 8 * i;
        v |= ((was & ~mask) | (neu & mask)) << 8 * i;
    }
    if (r->clears)
        v &= r->mask;
    for (unsigned i = 0; !r->clears && i < r->len; i++)
        R8(s, r->off + i) = v >> 8 * i;
    if (r->wrote)
        r->wrote(s, old, v);
}

static void rtl_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].off < off + size && off < rows[i].off + (unsigned)rows[i].len)
            write_row(opaque, &rows[i], off, val, size);
    }
}

/* Registers that are not stored are worked out before a read that may touch them. */
static void refresh(Rtl8139 *s)
{
    uint16_t all = 0;

    R8(s, R_CR) = (R8(s, R_CR) & ~CR_BUFE) | (ring_used(s) ? 0 : CR_BUFE);
    R8(s, R_9346CR) = (R8(s, R_9346CR) & ~CR93_DO) | (eeprom93_data_out(&s->eeprom) ? CR93_DO : 0);
    st32_le(s->reg + R_TCTR, timer_count(s));
    for (int i = 0; i < TX_BUFFERS; i++) {
        uint32_t v = r32(s, R_TSD + 4 * i);

        all |= (v & TSD_OWN ? 1u << i : 0) | (v & TSD_TABT ? 0x10u << i : 0) | (v & TSD_TUN ? 0x100u << i : 0) |
               (v & TSD_TOK ? 0x1000u << i : 0);
    }
    st16_le(s->reg + R_TSAD_ALL, all);
}

static uint64_t rtl_read(void *opaque, uint64_t off, unsigned size)
{
    Rtl8139 *s = opaque;
    uint64_t v = 0;

    refresh(s);
    for (unsigned i = 0; i < size && off + i < R_SIZE; i++)
        v |= (uint64_t)R8(s, off + i) << 8 * i;
    return v;
}

static const IoOps reg_ops = { rtl_read, rtl_write, .min = 1, .max = 4, .unaligned = true };

static char *rtl_describe(void *opaque)
{
    return nic_describe("rtl8139", ((Rtl8139 *)opaque)->reg + R_IDR);
}

static void rtl_announce(void *opaque, uint8_t mac[NET_MAC_LEN])
{
    memcpy(mac, ((Rtl8139 *)opaque)->reg + R_IDR, NET_MAC_LEN);
}

static const NetPortOps port_ops = {
    .receive = rtl_receive, .writable = rtl_writable, .link_changed = link_changed, .describe = rtl_describe,
    .announce = rtl_announce,
};

static bool rtl_realize(Device *dev, GError **err)
{
    Rtl8139 *s = container_of(dev, Rtl8139, pci.dev);

    if (!nic_init(&s->nic, dev, &port_ops, s, err))
        return false;
    eeprom_init(s);
    device_timer_init(dev, &s->timeout, timer_reached);
    device_timer_init(dev, &s->again, run_again);
    if (!s->cplus)
        s->pci.config[8] = 0x10;
    device_init_io(dev, &s->io, "rtl8139-io", &reg_ops, R_SIZE);
    device_init_io(dev, &s->mem, "rtl8139-mem", &reg_ops, R_SIZE);
    pci_bar(&s->pci, 0, PCI_BAR_IO, &s->io);
    pci_bar(&s->pci, 1, PCI_BAR_MEM32, &s->mem);
    return true;
}

static void rtl_unrealize(Device *dev)
{
    Rtl8139 *s = container_of(dev, Rtl8139, pci.dev);

    timer_del(&s->timeout);
    timer_del(&s->again);
    nic_cleanup(&s->nic);
    region_destroy(&s->io);
    region_destroy(&s->mem);
}

static void rtl_reset(Device *dev)
{
    Rtl8139 *s = container_of(dev, Rtl8139, pci.dev);

    memset(s->reg, 0, sizeof s->reg);
    memset(&s->tally, 0, sizeof s->tally);
    eeprom93_idle(&s->eeprom);
    autoload(s);
    R8(s, R_CONFIG1) = 0x0c;    /* memory and I/O mapped */
    R8(s, R_CONFIG3) = 1;
    R8(s, R_MSR) = 0xd0;
    phy_reset(s);
    soft_reset(s);
    net_port_purge(s->nic.port);
}

static bool rtl_loaded(void *opaque, GError **err)
{
    Rtl8139 *s = opaque;

    if (s->tx_cur >= TX_BUFFERS || s->cp_rx >= RING_MAX || s->cp_tx[0] >= RING_MAX || s->cp_tx[1] >= RING_MAX ||
        s->tx_len > TX_MAX - 4)
        return err_set(err, "rtl8139: impossible ring position");
    s->tx_full = s->in_tx = s->rx_moved = false;
    timer_set(&s->again, device_now(&s->pci.dev) + 1);
    rtl_update(s);
    return true;
}

static const StateDesc tally_state = {
    .name = "tally", .version = 1,
    .fields = (const StateField[]) {
        STATE_U64(Tally, tx_ok), STATE_U64(Tally, rx_ok), STATE_U64(Tally, tx_err), STATE_U32(Tally, rx_err),
        STATE_U16(Tally, missed), STATE_U16(Tally, align), STATE_U32(Tally, tx_one), STATE_U32(Tally, tx_many),
        STATE_U64(Tally, rx_unicast), STATE_U64(Tally, rx_broadcast), STATE_U32(Tally, rx_multicast),
        STATE_U16(Tally, aborts), STATE_U16(Tally, underruns), STATE_END },
};

static const PciClass rtl_pci = { .vendor = 0x10ec, .device = 0x8139, .class_code = 0x020000, .revision = 0x20,
                                  .intx = true, .rom_file = "efi-rtl8139.rom" };

const DeviceClass rtl8139_class = {
    .name = "rtl8139", .desc = "Realtek RTL8139C+ fast ethernet", .category = DEVCAT_NETWORK,
    .bus = BUS_PCI, .size = sizeof(Rtl8139), .realize = rtl_realize, .unrealize = rtl_unrealize, .reset = rtl_reset,
    .props = (const PropDesc[]) {
        PCI_PROPS(Rtl8139), NIC_PROPS(Rtl8139, nic),
        PROP_BOOL(Rtl8139, cplus, 1, "off: an RTL8139C without descriptor rings, for older drivers"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = rtl_loaded,
        .fields = (const StateField[]) {
            STATE_PCI(Rtl8139, pci), STATE_BUF(Rtl8139, reg), STATE_STRUCT(Rtl8139, eeprom, &eeprom93_state),
            STATE_U8(Rtl8139, tx_cur), STATE_BUF(Rtl8139, cp_tx), STATE_U8(Rtl8139, cp_rx),
            STATE_STRUCT(Rtl8139, tally, &tally_state), STATE_I64(Rtl8139, timer_base), STATE_U32(Rtl8139, tx_len),
            STATE_BUF(Rtl8139, tx), STATE_END } },
    .bus_class = &rtl_pci,
};
