/*
 * virtio_net: the virtio network device, virtio 1.2 section 5.1.
 *
 * Queues 2n receive, 2n+1 send; the control queue follows the last pair a driver can use. Frames
 * a driver wants checksummed or segmented are finished here unless the other end (a tap) does
 * that; the user network takes large TCP bursts whole. Received flows go to the pair that sent
 * on them last. Data sheet: docs/hw/virtio.md.
 */
#include "hw/net/nic.h"
#include "hw/net/offload.h"
#include "hw/virtio/virtio_pci.h"

#include <string.h>

#define F_CSUM (1ULL << 0)
#define F_GUEST_CSUM (1ULL << 1)
#define F_CTRL_GUEST_OFFLOADS (1ULL << 2)
#define F_MTU (1ULL << 3)
#define F_MAC (1ULL << 5)
#define F_GUEST_TSO4 (1ULL << 7)
#define F_GUEST_TSO6 (1ULL << 8)
#define F_GUEST_ECN (1ULL << 9)
#define F_HOST_TSO4 (1ULL << 11)
#define F_HOST_TSO6 (1ULL << 12)
#define F_HOST_ECN (1ULL << 13)
#define F_HOST_UFO (1ULL << 14)
#define F_MRG_RXBUF (1ULL << 15)
#define F_STATUS (1ULL << 16)
#define F_CTRL_VQ (1ULL << 17)
#define F_CTRL_RX (1ULL << 18)
#define F_CTRL_VLAN (1ULL << 19)
#define F_CTRL_RX_EXTRA (1ULL << 20)
#define F_GUEST_ANNOUNCE (1ULL << 21)
#define F_MQ (1ULL << 22)
#define F_CTRL_MAC_ADDR (1ULL << 23)
#define F_GUEST_OFFLOADS (F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)
enum { HDR_SHORT = 10, HDR_LONG = 12, S_LINK_UP = 1, S_ANNOUNCE = 2, MAC_TABLE_MAX = 64, TX_BUDGET = 256,
       PAIRS_MAX = (VIRTIO_MAX_QUEUES - 1) / 2, FLOWS = 256 };
enum { CTRL_RX, CTRL_MAC, CTRL_VLAN, CTRL_ANNOUNCE, CTRL_MQ, CTRL_OFFLOADS, RX_PROMISC = 0, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI,
       RX_NOBCAST, MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, VLAN_ADD = 0, VLAN_DEL = 1 };

typedef struct VirtioNet {
    VirtioPci vp;
    Nic nic;
    uint32_t mtu, tx_queue_size, rx_queue_size, queues; /* properties */
    bool csum, host_tso4, host_tso6, host_ecn, host_ufo, mrg_rxbuf, guest_csum, guest_tso4, guest_tso6, guest_ecn;
    bool ctrl_vq, guest_announce, mq;
    bool status_prop;
    /* state */
    uint8_t cur_mac[NET_MAC_LEN];
    bool promisc, allmulti, alluni, nomulti, nouni, nobcast, announce;
    uint32_t uni_n, multi_n;
    uint8_t macs[MAC_TABLE_MAX][NET_MAC_LEN];   /* unicast entries first */
    bool uni_overflow, multi_overflow;
    uint8_t vlans[4096 / 8];
    uint16_t pairs_used;        /* chosen by the driver */
    uint64_t offloads;          /* F_GUEST_*: what received frames may need */
    /* caches */
    uint16_t pairs;             /* offered; fixed at realize */
    uint8_t flow_pair[FLOWS];   /* by flow hash: the pair that sent on it last */
    bool tx_waiting;            /* the back-end is full */
    Timer tx_later;             /* more to send than one kick may */
    uint8_t frame[NET_FRAME_MAX], segment[NET_FRAME_MAX + 16];
} VirtioNet;

static VirtioNet *net_of(VirtioDevice *v)
{
    return container_of(virtio_pci_of(v), VirtioNet, vp);
}

static unsigned header_len(const VirtioDevice *v)
{
    return virtio_has(v, F_MRG_RXBUF | VIRTIO_F_VERSION_1) ? HDR_LONG : HDR_SHORT;
}

/* ---- receive ---- */
static bool in_table(const VirtioNet *s, const uint8_t *mac, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        if (!memcmp(s->macs[i], mac, NET_MAC_LEN))
            return true;
    }
    return false;
}

static bool wanted(const VirtioNet *s, const uint8_t *f, size_t len)
{
    static const uint8_t broadcast[NET_MAC_LEN] = { 255, 255, 255, 255, 255, 255 };

    if (len < 14)
        return false;
    if (s->promisc)
        return true;
    if (ld16_be(f + 12) == 0x8100 && len >= 16) {
        unsigned vid = ld16_be(f + 14) & 0xfff;

        if (virtio_has(&s->vp.v, F_CTRL_VLAN) && !(s->vlans[vid / 8] & 1 << vid % 8))
            return false;
    }
    if (!(f[0] & 1))
        return !s->nouni && (s->alluni || s->uni_overflow || !memcmp(f, s->cur_mac, NET_MAC_LEN) ||
                             in_table(s, f, 0, s->uni_n));
    if (!memcmp(f, broadcast, sizeof broadcast))
        return !s->nobcast;
    return !s->nomulti && (s->allmulti || s->multi_overflow || in_table(s, f, s->uni_n, s->uni_n + s->multi_n));
}

/* The header of virtio 1.2 section 5.1.6: little endian on any host. */
static void header_store(uint8_t *h, const NetOffload *o)
{
    h[0] = o->flags;
    h[1] = o->gso_type;
    st16_le(h + 2, o->hdr_len);
    st16_le(h + 4, o->gso_size);
    st16_le(h + 6, o->csum_start);
    st16_le(h + 8, o->csum_offset);
}

static NetOffload header_load(const uint8_t *h)
{
    return (NetOffload) { h[0] & NET_NEEDS_CSUM, h[1], ld16_le(h + 2), ld16_le(h + 4), ld16_le(h + 6), ld16_le(h + 8) };
}

/* The same for both directions of a flow: addresses and ports meet in one exclusive or. */
static unsigned flow_hash(const uint8_t *f, size_t len)
{
    size_t from, to, ports;
    uint32_t h = 0;

    if (len < 54)
        return 0;
    if (ld16_be(f + 12) == 0x0800) {
        from = 26, to = 34, ports = 14 + (f[14] & 15) * 4;
        if (f[23] != 6 && f[23] != 17)
            ports = len;
    } else if (ld16_be(f + 12) == 0x86dd) {
        from = 22, to = 54, ports = f[20] == 6 || f[20] == 17 ? 54 : len;
    } else {
        return 0;
    }
    for (size_t i = from; i < to; i += 4)
        h ^= ld32_be(f + i);
    if (range_ok(ports, 4, len))
        h ^= ld16_be(f + ports) ^ ld16_be(f + ports + 2);
    h ^= h >> 16;
    return (h ^ h >> 8) % FLOWS;
}

static unsigned rx_pair(const VirtioNet *s, const uint8_t *f, size_t len)
{
    unsigned pair = s->pairs_used > 1 ? s->flow_pair[flow_hash(f, len)] : 0;

    return pair < s->pairs_used ? pair : 0;
}

/* Spreads header and frame over as many buffers as they take; all become visible at once. */
static bool rx_merge(VirtioNet *s, VirtQueue *vq, const uint8_t *f, size_t len, const NetOffload *o)
{
    unsigned hlen = header_len(&s->vp.v), n = 0, max = virtio_has(&s->vp.v, F_MRG_RXBUF) ? VIRTQ_MAX_SIZE : 1;
    VirtElem *list[64];
    uint8_t hdr[HDR_LONG] = { 0 };
    size_t room = 0, at = 0;

    while (room < hlen + len && n < MIN(max, ARRAY_LEN(list))) {
        VirtElem *e = virtq_pop(vq);

        if (!e)
            break;
        list[n++] = e;
        room += e->in_len;
    }
    if (room < hlen + len) {
        bool starved = n < MIN(max, ARRAY_LEN(list)) && !s->vp.v.broken;

        while (n)
            virtq_unpop(vq, list[--n]);
        if (!starved)
            s->nic.port->dropped++;
        return !starved;        /* too long for this driver: dropped, not retried for ever */
    }
    header_store(hdr, o);
    if (!o->flags && (s->offloads & F_GUEST_CSUM))
        hdr[0] = NET_DATA_VALID;
    st16_le(hdr + 10, n);
    for (unsigned i = 0; i < n; i++) {
        VirtElem *e = list[i];
        size_t skip = i ? 0 : iov_from_buf(e->in, e->in_n, 0, hdr, hlen);
        size_t part = iov_from_buf(e->in, e->in_n, skip, f + at, len - at);

        at += part;
        virtq_fill(vq, e, skip + part);
    }
    virtq_publish(vq);
    return true;
}

static bool receive(VirtioNet *s, const uint8_t *f, size_t len, const NetOffload *o)
{
    uint8_t padded[60] = { 0 };
    VirtQueue *vq;

    if (!virtio_ready(&s->vp.v) || !wanted(s, f, len))
        return true;            /* nobody listens: lost, as on a wire */
    vq = &s->vp.v.queues[2 * rx_pair(s, f, len)];
    if (!vq->enabled)
        return true;
    if (len < sizeof padded) {
        memcpy(padded, f, len);
        f = padded;
        len = sizeof padded;
    }
    if (!rx_merge(s, vq, f, len, o)) {
        virtq_set_notification(vq, true);
        if (virtq_empty(vq) || !rx_merge(s, vq, f, len, o))
            return s->vp.v.broken;
    }
    virtq_set_notification(vq, false);
    virtq_notify(vq);
    return true;
}

static bool net_receive(void *opaque, const uint8_t *f, size_t len)
{
    static const NetOffload whole;

    return receive(opaque, f, len, &whole);
}

static bool net_receive_offload(void *opaque, const uint8_t *f, size_t len, const NetOffload *o)
{
    return receive(opaque, f, len, o);
}

/* Without F_MQ a driver finds the control queue behind the first pair (5.1.2). */
static unsigned ctrl_index(const VirtioNet *s)
{
    return virtio_has(&s->vp.v, F_MQ) ? 2u * s->pairs : 2;
}

/* ---- send ---- */
static bool emit_segment(void *opaque, const uint8_t *f, size_t len)
{
    return net_send(((VirtioNet *)opaque)->nic.port, f, len);
}

/* False: the back-end is full (the frame was taken all the same). */
static bool tx_segments(VirtioNet *s, const NetOffload *o, uint8_t *f, size_t len)
{
    bool udp = (o->gso_type & ~NET_GSO_ECN) == NET_GSO_UDP;
    Gso g;

    if (!o->gso_size || !gso_parse(f, len, &g) || (g.kind == GSO_UDP) != udp) {
        log_guest("virtio-net: segmentation asked for a frame that is not what it says");
        return true;
    }
    g.mss = o->gso_size;
    return nic_send_large(&s->nic, f, len, &g, false, s->segment, emit_segment, s);
}

static bool tx_frame(VirtioNet *s, const NetOffload *o, uint8_t *f, size_t len)
{
    if ((o->flags || o->gso_type) && net_peer_takes(s->nic.port, o))
        return net_send_offload(s->nic.port, f, len, o);
    if (o->gso_type & ~NET_GSO_ECN)
        return tx_segments(s, o, f, len);
    if (o->flags && !net_checksum_at(f, len, o->csum_start, (size_t)o->csum_start + o->csum_offset)) {
        log_guest("virtio-net: checksum outside the frame");
        return true;
    }
    return net_send(s->nic.port, f, len);
}

static void tx_run(VirtioNet *s, VirtQueue *vq)
{
    VirtioDevice *v = &s->vp.v;
    unsigned hlen = header_len(v), budget = TX_BUDGET, done = 0;
    VirtElem *e;

    net_burst(s->nic.port, true);
    while (!s->tx_waiting && budget-- && s->nic.segments < NIC_SEGMENTS_MAX && (e = virtq_pop(vq))) {
        uint8_t hdr[HDR_LONG] = { 0 };
        size_t len = e->out_len > hlen ? e->out_len - hlen : 0;
        NetOffload o;

        if (e->out_len < hlen || len > NET_FRAME_MAX) {
            virtio_error(v, "frame of %zu bytes to send", e->out_len);
            virtq_detach(vq, e);
            break;
        }
        iov_to_buf(e->out, e->out_n, 0, hdr, hlen);
        iov_to_buf(e->out, e->out_n, hlen, s->frame, len);
        virtq_push(vq, e, 0);
        done++;
        if (!len)
            continue;
        if (s->pairs_used > 1)
            s->flow_pair[flow_hash(s->frame, len)] = vq->index / 2;
        o = header_load(hdr);
        s->tx_waiting = !tx_frame(s, &o, s->frame, len);
    }
    net_burst(s->nic.port, false);
    if (done)
        virtq_notify(vq);
}

static void tx_kick(VirtioNet *s, VirtQueue *vq)
{
    unsigned rounds = 4;

    do {
        virtq_set_notification(vq, false);
        tx_run(s, vq);
        virtq_set_notification(vq, true);
    } while (!s->tx_waiting && !virtq_empty(vq) && s->nic.segments < NIC_SEGMENTS_MAX && rounds--);
    if (!s->tx_waiting && !virtq_empty(vq))     /* never hold a vcpu for longer: go on from the main loop */
        timer_set(&s->tx_later, device_now(s->vp.v.dev) + 1);
}

static void tx_more(void *opaque)
{
    VirtioNet *s = opaque;

    s->nic.segments = 0;
    for (unsigned i = 0; i < s->pairs && virtio_ready(&s->vp.v) && !s->tx_waiting; i++) {
        VirtQueue *vq = &s->vp.v.queues[2 * i + 1];

        if (vq->enabled && vq->index != ctrl_index(s))
            tx_kick(s, vq);
    }
}

static void net_writable(void *opaque)
{
    ((VirtioNet *)opaque)->tx_waiting = false;
    tx_more(opaque);
}

/* ---- control ---- */
static bool ctrl_rx(VirtioNet *s, uint8_t cmd, const uint8_t *d, size_t len)
{
    bool *flags[] = { &s->promisc, &s->allmulti, &s->alluni, &s->nomulti, &s->nouni, &s->nobcast };

    if (cmd >= ARRAY_LEN(flags) || len != 1)
        return false;
    *flags[cmd] = *d;
    return true;
}

/* Two tables (unicast, multicast), each a 32-bit count and addresses; too many means "all". */
static bool ctrl_mac_table(VirtioNet *s, const uint8_t *d, size_t len)
{
    uint32_t n[2];
    const uint8_t *tab[2];

    for (int i = 0; i < 2; i++) {
        if (len < 4)
            return false;
        n[i] = ld32_le(d);
        tab[i] = d + 4;
        if (n[i] > (len - 4) / NET_MAC_LEN)
            return false;
        d += 4 + n[i] * NET_MAC_LEN;
        len -= 4 + n[i] * NET_MAC_LEN;
    }
    if (len)
        return false;
    s->uni_overflow = n[0] > MAC_TABLE_MAX;
    s->uni_n = s->uni_overflow ? 0 : n[0];
    s->multi_overflow = n[1] > MAC_TABLE_MAX - s->uni_n;
    s->multi_n = s->multi_overflow ? 0 : n[1];
    memcpy(s->macs[0], tab[0], s->uni_n * NET_MAC_LEN);
    memcpy(s->macs[s->uni_n], tab[1], s->multi_n * NET_MAC_LEN);
    return true;
}

static bool ctrl_vlan(VirtioNet *s, uint8_t cmd, const uint8_t *d, size_t len)
{
    unsigned vid = len == 2 ? ld16_le(d) : 4096;

    if (vid >= 4096 || cmd > VLAN_DEL)
        return false;
    if (cmd == VLAN_ADD)
        s->vlans[vid / 8] |= 1 << vid % 8;
    else
        s->vlans[vid / 8] &= ~(1 << vid % 8);
    return true;
}

static bool set_pairs(VirtioNet *s, unsigned n)
{
    if (!n || n > s->pairs)
        return false;
    s->pairs_used = n;
    memset(s->flow_pair, 0, sizeof s->flow_pair);
    return true;
}

/* The driver may switch off, later on again, what it negotiated (5.1.6.5.6). */
static bool set_offloads(VirtioNet *s, uint64_t on)
{
    if (on & ~(s->vp.v.features & F_GUEST_OFFLOADS))
        return false;
    s->offloads = on;
    if (s->nic.port)
        net_port_set_takes(s->nic.port, (on & F_GUEST_CSUM ? NET_CAN_CSUM : 0) | (on & F_GUEST_TSO4 ? NET_CAN_TCP4 : 0) |
                           (on & F_GUEST_TSO6 ? NET_CAN_TCP6 : 0) | (on & F_GUEST_ECN ? NET_CAN_ECN : 0));
    return true;
}

static bool control(VirtioNet *s, const uint8_t *d, size_t len)
{
    uint8_t cls, cmd;

    if (len < 2)
        return false;
    cls = d[0];
    cmd = d[1];
    d += 2;
    len -= 2;
    switch (cls) {
    case CTRL_RX: return ctrl_rx(s, cmd, d, len);
    case CTRL_MAC:
        if (cmd == MAC_TABLE_SET)
            return ctrl_mac_table(s, d, len);
        if (cmd != MAC_ADDR_SET || len != NET_MAC_LEN)
            return false;
        memcpy(s->cur_mac, d, NET_MAC_LEN);
        return true;
    case CTRL_VLAN: return ctrl_vlan(s, cmd, d, len);
    case CTRL_MQ: return cmd == 0 && len == 2 && virtio_has(&s->vp.v, F_MQ) && set_pairs(s, ld16_le(d));
    case CTRL_OFFLOADS: return cmd == 0 && len == 8 && set_offloads(s, ld64_le(d));
    case CTRL_ANNOUNCE:
        s->announce = false;
        return cmd == 0;
    default: return false;
    }
}

static void ctrl_kick(VirtioNet *s, VirtQueue *vq)
{
    enum { CTRL_MAX = 2 + 8 + 4096 * NET_MAC_LEN };
    VirtioDevice *v = &s->vp.v;
    g_autofree uint8_t *buf = g_malloc(CTRL_MAX);
    unsigned budget = VIRTQ_MAX_SIZE;
    VirtElem *e;

    while (budget-- && (e = virtq_pop(vq))) {
        uint8_t nack;

        if (!e->in_len) {
            virtio_error(v, "control command without room for an answer");
            virtq_detach(vq, e);
            return;
        }
        nack = e->out_len > CTRL_MAX || !control(s, buf, iov_to_buf(e->out, e->out_n, 0, buf, CTRL_MAX));
        iov_from_buf(e->in, e->in_n, 0, &nack, 1);
        virtq_push(vq, e, 1);
        virtq_notify(vq);
    }
}

static void net_kick(VirtioDevice *v, VirtQueue *vq)
{
    VirtioNet *s = net_of(v);

    if (vq->index == ctrl_index(s) && virtio_has(v, F_CTRL_VQ)) {
        ctrl_kick(s, vq);
    } else if (vq->index % 2) {
        s->nic.segments = 0;
        tx_kick(s, vq);
    } else {
        net_port_ready(s->nic.port);
    }
}

/* ---- device ---- */
static void get_config(VirtioDevice *v, uint8_t *c)
{
    VirtioNet *s = net_of(v);
    bool up = !s->nic.port || !s->nic.netdev || net_port_link(s->nic.port);

    memcpy(c, s->cur_mac, NET_MAC_LEN);
    st16_le(c + 6, (up ? S_LINK_UP : 0) | (s->announce ? S_ANNOUNCE : 0));
    st16_le(c + 8, s->pairs);
    st16_le(c + 10, s->mtu);
}

static void set_config(VirtioDevice *v, const uint8_t *c)
{
    VirtioNet *s = net_of(v);

    if (!virtio_has(v, VIRTIO_F_VERSION_1))
        memcpy(s->cur_mac, c, NET_MAC_LEN);     /* legacy drivers may set the address here */
}

static uint64_t adjust_features(VirtioDevice *v, uint64_t f)
{
    VirtioNet *s = net_of(v);
    unsigned gives = s->nic.netdev && s->guest_csum ? s->nic.netdev->gives : 0;
    const struct { bool on; uint64_t bits; } table[] = {
        { true, F_MAC }, { s->status_prop, F_STATUS }, { s->csum, F_CSUM }, { s->guest_csum, F_GUEST_CSUM },
        { s->csum && s->host_tso4, F_HOST_TSO4 }, { s->csum && s->host_tso6, F_HOST_TSO6 },
        { s->csum && s->host_ecn, F_HOST_ECN }, { s->csum && s->host_ufo, F_HOST_UFO },
        { s->guest_tso4 && (gives & NET_CAN_TCP4), F_GUEST_TSO4 }, { s->guest_tso6 && (gives & NET_CAN_TCP6), F_GUEST_TSO6 },
        { s->guest_ecn && (gives & NET_CAN_ECN), F_GUEST_ECN },
        { s->mrg_rxbuf, F_MRG_RXBUF }, { s->mtu, F_MTU }, { s->ctrl_vq && s->pairs > 1, F_MQ },
        { s->ctrl_vq && s->guest_csum, F_CTRL_GUEST_OFFLOADS },
        { s->ctrl_vq, F_CTRL_VQ | F_CTRL_RX | F_CTRL_VLAN | F_CTRL_RX_EXTRA | F_CTRL_MAC_ADDR },
        { s->ctrl_vq && s->guest_announce, F_GUEST_ANNOUNCE },
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        f |= table[i].on ? table[i].bits : 0;
    return f;
}

static void features_set(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);

    memset(s->vlans, virtio_has(v, F_CTRL_VLAN) ? 0 : 0xff, sizeof s->vlans);
    set_offloads(s, v->features & F_GUEST_OFFLOADS);
}

static void vdev_reset(VirtioDevice *v)
{
    VirtioNet *s = net_of(v);

    memcpy(s->cur_mac, s->nic.mac, NET_MAC_LEN);
    s->promisc = true;          /* until the driver says otherwise */
    s->allmulti = s->alluni = s->nomulti = s->nouni = s->nobcast = s->announce = false;
    s->uni_n = s->multi_n = 0;
    s->uni_overflow = s->multi_overflow = false;
    memset(s->macs, 0, sizeof s->macs);
    memset(s->vlans, 0xff, sizeof s->vlans);
    s->tx_waiting = false;
    set_pairs(s, 1);
    set_offloads(s, 0);
    timer_del(&s->tx_later);
    if (s->nic.port)
        net_port_purge(s->nic.port);
}

static void status_set(VirtioDevice *v, uint8_t old)
{
    if ((v->status & ~old) & VIRTIO_S_DRIVER_OK)
        net_port_ready(net_of(v)->nic.port);
}

static const VirtioClass net_vclass = {
    .id = 1, .pci_class = 0x020000, .config_size = 12, .get_config = get_config, .set_config = set_config,
    .adjust_features = adjust_features, .features_set = features_set, .status_set = status_set, .reset = vdev_reset,
};

static void link_changed(void *opaque, bool up)
{
    VirtioNet *s = opaque;

    if (s->vp.pci.dev.phase == PHASE_LIVE && virtio_has(&s->vp.v, F_STATUS))
        virtio_config_changed(&s->vp.v);
}

static const char *filter_word(const VirtioNet *s, bool none, bool all)
{
    return none ? "none" : all || s->promisc ? "all" : "normal";
}

static void put_macs(GString *t, const char *name, const VirtioNet *s, unsigned from, unsigned to)
{
    g_string_append_printf(t, ", \"%s\": [", name);
    for (unsigned i = from; i < to; i++) {
        const uint8_t *m = s->macs[i];

        g_string_append_printf(t, "%s\"%02x:%02x:%02x:%02x:%02x:%02x\"", i > from ? ", " : "", m[0], m[1], m[2], m[3], m[4], m[5]);
    }
    g_string_append_c(t, ']');
}

static char *net_rx_filter(void *opaque)
{
    const VirtioNet *s = opaque;
    const uint8_t *m = s->cur_mac;
    bool vlans = virtio_has(&s->vp.v, F_CTRL_VLAN), first = true;
    GString *t = g_string_new(NULL);

    g_string_append_printf(t, "\"promiscuous\": %s, \"multicast\": \"%s\", \"unicast\": \"%s\", \"vlan\": \"%s\", "
                           "\"broadcast-allowed\": %s, \"multicast-overflow\": %s, \"unicast-overflow\": %s, "
                           "\"main-mac\": \"%02x:%02x:%02x:%02x:%02x:%02x\"", s->promisc ? "true" : "false",
                           filter_word(s, s->nomulti, s->allmulti), filter_word(s, s->nouni, s->alluni),
                           vlans ? "normal" : "all", s->nobcast ? "false" : "true", s->multi_overflow ? "true" : "false",
                           s->uni_overflow ? "true" : "false", m[0], m[1], m[2], m[3], m[4], m[5]);
    put_macs(t, "unicast-table", s, 0, s->uni_n);
    put_macs(t, "multicast-table", s, s->uni_n, s->uni_n + s->multi_n);
    g_string_append(t, ", \"vlan-table\": [");
    for (unsigned vid = 0; vlans && vid < 4096; vid++) {
        if (s->vlans[vid / 8] & 1 << vid % 8) {
            g_string_append_printf(t, "%s%u", first ? "" : ", ", vid);
            first = false;
        }
    }
    g_string_append_c(t, ']');
    return g_string_free(t, FALSE);
}

static char *net_describe(void *opaque)
{
    return nic_describe("virtio-net-pci", ((VirtioNet *)opaque)->cur_mac);
}

/* The driver sends what its own addresses need (gratuitous ARP, neighbour advertisements; 5.1.6.5.4). */
static void net_announce_self(void *opaque, uint8_t mac[NET_MAC_LEN])
{
    VirtioNet *s = opaque;

    memcpy(mac, s->cur_mac, NET_MAC_LEN);
    if (virtio_ready(&s->vp.v) && virtio_has(&s->vp.v, F_GUEST_ANNOUNCE)) {
        s->announce = true;
        virtio_config_changed(&s->vp.v);
    }
}

static const NetPortOps net_ops = {
    .receive = net_receive, .receive_offload = net_receive_offload, .writable = net_writable,
    .link_changed = link_changed, .describe = net_describe, .rx_filter = net_rx_filter,
    .announce = net_announce_self,
};

static bool net_realize(Device *dev, GError **err)
{
    VirtioNet *s = container_of(dev, VirtioNet, vp.pci.dev);

    if (s->mtu && (s->mtu < 68 || s->mtu > 65535))
        return err_set(err, "%s: host_mtu=%u: 68 to 65535", dev->cls->name, s->mtu);
    s->pairs = s->queues ? s->queues : s->mq && s->nic.netdev ? s->nic.netdev->queues : 1;
    if (s->pairs > PAIRS_MAX)
        return err_set(err, "%s: %u queue pairs; %d at most", dev->cls->name, s->pairs, PAIRS_MAX);
    if (s->rx_queue_size < 64 || s->rx_queue_size > VIRTQ_MAX_SIZE || (s->rx_queue_size & (s->rx_queue_size - 1)) ||
        s->tx_queue_size < 64 || s->tx_queue_size > VIRTQ_MAX_SIZE || (s->tx_queue_size & (s->tx_queue_size - 1)))
        return err_set(err, "%s: queue sizes are powers of two from 64 to %d", dev->cls->name, VIRTQ_MAX_SIZE);
    if (!nic_init(&s->nic, dev, &net_ops, s, err))
        return false;
    memcpy(s->cur_mac, s->nic.mac, NET_MAC_LEN);
    device_timer_init(dev, &s->tx_later, tx_more);
    virtio_init(&s->vp.v, dev, &net_vclass);
    for (unsigned i = 0; i < s->pairs; i++) {
        virtio_add_queue(&s->vp.v, s->rx_queue_size, net_kick);
        virtio_add_queue(&s->vp.v, s->tx_queue_size, net_kick);
    }
    if (s->ctrl_vq)
        virtio_add_queue(&s->vp.v, 64, net_kick);
    if (!virtio_pci_realize(&s->vp, err)) {
        nic_cleanup(&s->nic);
        return false;
    }
    return true;
}

static void net_unrealize(Device *dev)
{
    VirtioNet *s = container_of(dev, VirtioNet, vp.pci.dev);

    timer_del(&s->tx_later);
    nic_cleanup(&s->nic);
    virtio_pci_unrealize(&s->vp);
}

static void net_reset(Device *dev)
{
    virtio_pci_reset(&container_of(dev, VirtioNet, vp.pci.dev)->vp);
}

static bool net_loaded(void *opaque, GError **err)
{
    VirtioNet *s = opaque;

    if (s->uni_n > MAC_TABLE_MAX || s->multi_n > MAC_TABLE_MAX - s->uni_n)
        return err_set(err, "virtio-net: impossible address table");
    if (!s->pairs_used || s->pairs_used > s->pairs)
        return err_set(err, "virtio-net: %u queue pairs in use of %u", s->pairs_used, s->pairs);
    if (!set_offloads(s, s->offloads))
        return err_set(err, "virtio-net: impossible offloads");
    memset(s->flow_pair, 0, sizeof s->flow_pair);
    s->tx_waiting = false;
    timer_set(&s->tx_later, device_now(&s->vp.pci.dev) + 1);    /* frames left when it was saved */
    return true;
}

static const char *const net_aliases[] = { "virtio-net", "virtio-net-pci-transitional", NULL };
static const PciClass net_pci = { .vendor = 0x1af4, .device = 0x1000, .class_code = 0x020000, .intx = true,
                                  .rom_file = "efi-virtio.rom" };

#define FEATURE(f, d, h) PROP_BOOL(VirtioNet, f, d, h)

const DeviceClass virtio_net_pci_class = {
    .name = "virtio-net-pci", .aliases = net_aliases, .desc = "virtio network card", .category = DEVCAT_NETWORK,
    .bus = BUS_PCI, .size = sizeof(VirtioNet), .realize = net_realize, .unrealize = net_unrealize, .reset = net_reset,
    .props = (const PropDesc[]) {
        VIRTIO_PCI_PROPS(VirtioNet), NIC_PROPS(VirtioNet, nic),
        { .name = "host_mtu", .kind = PROP_UINT_, .offset = offsetof(VirtioNet, mtu), .size = 4, .help = "MTU told to the guest; 0: none" },
        PROP_U32(VirtioNet, rx_queue_size, 256, "entries of the receive queue"),
        PROP_U32(VirtioNet, tx_queue_size, 256, "entries of the send queue"),
        FEATURE(csum, 1, "checksum offload"), FEATURE(guest_csum, 1, "received checksums are known good"),
        FEATURE(host_tso4, 1, "TCP segmentation for IPv4"), FEATURE(host_tso6, 1, "TCP segmentation for IPv6"),
        FEATURE(mrg_rxbuf, 1, "mergeable receive buffers"), FEATURE(ctrl_vq, 1, "control queue"),
        FEATURE(host_ecn, 1, "TCP segmentation with ECN"), FEATURE(host_ufo, 1, "UDP fragmentation"),
        FEATURE(guest_tso4, 1, "large IPv4 TCP frames to the guest, where the back-end has them"),
        FEATURE(guest_tso6, 1, "large IPv6 TCP frames to the guest"), FEATURE(guest_ecn, 1, "the same with ECN"),
        FEATURE(guest_announce, 1, "announcement on request"), FEATURE(mq, 0, "as many queue pairs as the back-end has"),
        PROP_U32(VirtioNet, queues, 0, "queue pairs; 0: one, or what mq= says"),
        { .name = "status", .kind = PROP_BOOL_, .offset = offsetof(VirtioNet, status_prop), .size = sizeof(bool), .def = 1, .help = "link status" },
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = net_loaded,
        .fields = (const StateField[]) {
            STATE_VIRTIO_PCI(VirtioNet, vp), STATE_BUF(VirtioNet, cur_mac), STATE_B(VirtioNet, promisc),
            STATE_B(VirtioNet, allmulti), STATE_B(VirtioNet, alluni), STATE_B(VirtioNet, nomulti), STATE_B(VirtioNet, nouni),
            STATE_B(VirtioNet, nobcast), STATE_B(VirtioNet, announce), STATE_UMAX(VirtioNet, uni_n, MAC_TABLE_MAX),
            STATE_UMAX(VirtioNet, multi_n, MAC_TABLE_MAX), STATE_BUF(VirtioNet, macs), STATE_B(VirtioNet, uni_overflow),
            STATE_B(VirtioNet, multi_overflow), STATE_BUF(VirtioNet, vlans), STATE_U16(VirtioNet, pairs_used),
            STATE_U64(VirtioNet, offloads), STATE_END } },
    .bus_class = &net_pci,
};
