/* offload: TCP segmentation and checksums in software. */
#include "hw/net/offload.h"

#include "hw/net/nic.h"

#include <string.h>

enum { ETH = 14, VLAN = 4, TYPE_IP4 = 0x0800, TYPE_IP6 = 0x86dd, TYPE_VLAN = 0x8100, PROTO_TCP = 6, PROTO_UDP = 17,
       TCP_FIN = 1, TCP_PSH = 8, TCP_FLAGS = 13, TCP_SEQ = 4, TCP_SUM = 16, UDP_LEN = 4, UDP_SUM = 6,
       FRAG6 = 8, PROTO_FRAG6 = 44, IP4_MORE = 0x2000 };

bool gso_parse(const uint8_t *f, size_t len, Gso *g)
{
    uint16_t type;
    size_t l3 = ETH, l4;
    uint8_t proto;

    if (len < ETH + 40)
        return false;
    type = ld16_be(f + 12);
    if (type == TYPE_VLAN) {
        type = ld16_be(f + 16);
        l3 += VLAN;
    }
    if (type == TYPE_IP4) {
        l4 = l3 + (f[l3] & 15) * 4;
        proto = f[l3 + 9];
        if (l4 < l3 + 20)
            return false;
    } else if (type == TYPE_IP6) {
        l4 = l3 + 40;
        proto = len > l3 + 6 ? f[l3 + 6] : 0;
    } else {
        return false;
    }
    g->l3 = l3;
    g->l4 = l4;
    if (proto == PROTO_TCP) {
        if (!range_ok(l4, 20, len))
            return false;
        g->kind = type == TYPE_IP4 ? GSO_TCP4 : GSO_TCP6;
        g->payload = l4 + (f[l4 + 12] >> 4) * 4;
        return g->payload >= l4 + 20 && g->payload <= len;
    }
    g->kind = GSO_UDP;
    g->payload = l4 + 8;
    return proto == PROTO_UDP && g->payload <= len;
}

static uint32_t pseudo_sum(const uint8_t *f, const Gso *g, size_t l4_len, uint8_t proto)
{
    bool v6 = f[g->l3] >> 4 == 6;
    uint32_t sum = net_sum(f + g->l3 + (v6 ? 8 : 12), v6 ? 32 : 8, 0);

    return sum + proto + (l4_len & 0xffff) + (l4_len >> 16);
}

void gso_finish(uint8_t *f, size_t len, const Gso *g)
{
    bool v6 = f[g->l3] >> 4 == 6, udp = g->kind == GSO_UDP;
    size_t l4_len = len - g->l4, at = g->l4 + (udp ? UDP_SUM : TCP_SUM);
    uint16_t sum;

    if (v6) {
        st16_be(f + g->l3 + 4, len - g->l4);
    } else {
        st16_be(f + g->l3 + 2, len - g->l3);
        st16_be(f + g->l3 + 10, 0);
        st16_be(f + g->l3 + 10, net_sum_fold(net_sum(f + g->l3, g->l4 - g->l3, 0)));
    }
    if (udp)
        st16_be(f + g->l4 + UDP_LEN, l4_len);
    st16_be(f + at, 0);
    sum = net_sum_fold(net_sum(f + g->l4, l4_len, pseudo_sum(f, g, l4_len, udp ? PROTO_UDP : PROTO_TCP)));
    st16_be(f + at, udp && !sum ? 0xffff : sum);
}

/* A UDP datagram in IP fragments; the datagram's checksum must be complete (RFC 791 3.2, RFC 8200 4.5). */
static bool fragment(const uint8_t *f, size_t len, const Gso *g, uint8_t *out,
                     bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    bool v6 = f[g->l3] >> 4 == 6, ok = true;
    size_t head = g->l4 + (v6 ? FRAG6 : 0), step = len - g->l4 > 65535 ? 0 : g->mss & ~7u, n;

    for (size_t at = g->l4; step && at < len; at += n) {
        bool more = len - at > step;
        uint16_t off = at - g->l4;

        n = MIN(step, len - at);
        memcpy(out, f, g->l4);
        memcpy(out + head, f + at, n);
        if (v6) {
            uint8_t *x = out + g->l4;

            out[g->l3 + 6] = PROTO_FRAG6;
            st16_be(out + g->l3 + 4, FRAG6 + n);
            x[0] = PROTO_UDP;
            x[1] = 0;
            st16_be(x + 2, off | more);
            st32_be(x + 4, net_sum(f + g->l4, 8, 0));   /* the same for all fragments of one datagram */
        } else {
            st16_be(out + g->l3 + 2, g->l4 - g->l3 + n);
            st16_be(out + g->l3 + 6, off / 8 | (more ? IP4_MORE : 0));
            st16_be(out + g->l3 + 10, 0);
            st16_be(out + g->l3 + 10, net_sum_fold(net_sum(out + g->l3, g->l4 - g->l3, 0)));
        }
        ok &= emit(opaque, out, head + n);
    }
    return ok;
}

bool gso_segment(uint8_t *f, size_t len, const Gso *g, uint8_t *scratch,
                 bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    uint32_t seq = ld32_be(f + g->l4 + TCP_SEQ);
    uint16_t id = ld16_be(f + g->l3 + 4);
    bool v6 = f[g->l3] >> 4 == 6, ok = true;
    size_t at = g->payload;

    if (!g->mss)
        return true;
    if (g->kind == GSO_UDP) {
        gso_finish(f, len, g);
        return fragment(f, len, g, scratch, emit, opaque);
    }
    do {
        size_t n = MIN(g->mss, len - at);
        bool last = at + n == len;

        memcpy(scratch, f, g->payload);
        memcpy(scratch + g->payload, f + at, n);
        st32_be(scratch + g->l4 + TCP_SEQ, seq + (at - g->payload));
        if (!last)
            scratch[g->l4 + TCP_FLAGS] &= ~(TCP_FIN | TCP_PSH);
        if (!v6)
            st16_be(scratch + g->l3 + 4, id++);
        gso_finish(scratch, g->payload + n, g);
        ok &= emit(opaque, scratch, g->payload + n);
        at += n;
    } while (at < len);
    return ok;
}

typedef struct Ip4 {
    size_t l4, l4_len;          /* the header behind IPv4's, and bytes from there on */
    uint8_t proto;              /* 0: a fragment */
} Ip4;

static bool ip4_parse(const uint8_t *f, size_t len, Ip4 *ip)
{
    size_t hlen, total;

    if (len < ETH + 20 || ld16_be(f + 12) != TYPE_IP4 || f[ETH] >> 4 != 4)
        return false;
    hlen = (f[ETH] & 15) * 4;
    total = ld16_be(f + ETH + 2);
    if (hlen < 20 || total < hlen || total > len - ETH)
        return false;
    ip->l4 = ETH + hlen;
    ip->l4_len = total - hlen;
    ip->proto = ld16_be(f + ETH + 6) & 0x3fff ? 0 : f[ETH + 9];
    return true;
}

/* The one's complement sum of pseudo header, header and data: ffffh where the checksum is right. */
static uint16_t l4_sum(const uint8_t *f, const Ip4 *ip)
{
    uint32_t sum = net_sum(f + ETH + 12, 8, ip->proto + (uint32_t)ip->l4_len);

    return ~net_sum_fold(net_sum(f + ip->l4, ip->l4_len, sum));
}

unsigned sums_check(const uint8_t *f, size_t len)
{
    unsigned what = SUM_IP;
    Ip4 ip;

    if (!ip4_parse(f, len, &ip))
        return 0;
    if (net_sum_fold(net_sum(f + ETH, ip.l4 - ETH, 0)))
        what |= SUM_BAD_IP;
    if (ip.proto == PROTO_TCP && ip.l4_len >= 20)
        what |= SUM_TCP;
    else if (ip.proto == PROTO_UDP && ip.l4_len >= 8)
        what |= SUM_UDP;
    else
        return what;
    if ((what & SUM_TCP || ld16_be(f + ip.l4 + UDP_SUM)) && l4_sum(f, &ip) != 0xffff)
        what |= SUM_BAD_L4;
    return what;
}

void sums_fill(uint8_t *f, size_t len, unsigned what)
{
    Ip4 ip;
    size_t at;
    uint16_t sum;

    if (!ip4_parse(f, len, &ip))
        return;
    if (what & SUM_IP) {
        st16_be(f + ETH + 10, 0);
        st16_be(f + ETH + 10, net_sum_fold(net_sum(f + ETH, ip.l4 - ETH, 0)));
    }
    if (ip.proto == PROTO_TCP && ip.l4_len >= 20 && (what & SUM_TCP))
        at = ip.l4 + TCP_SUM;
    else if (ip.proto == PROTO_UDP && ip.l4_len >= 8 && (what & SUM_UDP))
        at = ip.l4 + UDP_SUM;
    else
        return;
    st16_be(f + at, 0);
    sum = ~l4_sum(f, &ip);
    st16_be(f + at, ip.proto == PROTO_UDP && !sum ? 0xffff : sum);
}
