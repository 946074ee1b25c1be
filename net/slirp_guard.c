/* slirp_guard: minimum lengths per protocol, consistent headers, no TCP urgent data. */
#include "net/slirp_guard.h"

#include "util/bytes.h"

enum { ETH_HLEN = 14, ETHERTYPE_IP4 = 0x0800, ETHERTYPE_ARP = 0x0806, ETHERTYPE_IP6 = 0x86dd,
       ARP_LEN = 28, IP4_MIN = 20, IP6_LEN = 40, TCP_MIN = 20, UDP_LEN = 8, ICMP_MIN = 8,
       PROTO_ICMP = 1, PROTO_TCP = 6, PROTO_UDP = 17, PROTO_FRAG6 = 44, PROTO_ICMP6 = 58, FRAG6 = 8, TCP_URG = 0x20,
       PORT_DHCP_SERVER = 67, PORT_TFTP = 69, DHCP_MIN = 236 };

static bool drop(const char **why, const char *rule)
{
    *why = rule;
    return false;
}

/* RFC 1624: the checksum after 16-bit words change, without summing the rest again. */
static uint16_t checksum_replace(uint16_t sum, uint16_t was, uint16_t now)
{
    uint32_t s = (uint16_t)~sum + (uint16_t)~was + now;

    s = (s & 0xffff) + (s >> 16);
    s = (s & 0xffff) + (s >> 16);
    return ~s;
}

static bool guard_tcp(uint8_t *t, size_t len, const char **why)
{
    size_t hlen;

    if (len < TCP_MIN)
        return drop(why, "TCP header cut short");
    hlen = (t[12] >> 4) * 4;
    if (hlen < TCP_MIN || hlen > len)
        return drop(why, "TCP data offset outside the segment");
    if ((t[13] & TCP_URG) || ld16_be(t + 18)) {
        uint16_t sum = ld16_be(t + 16), flags = ld16_be(t + 12);

        sum = checksum_replace(sum, flags, flags & ~TCP_URG);
        sum = checksum_replace(sum, ld16_be(t + 18), 0);
        t[13] &= ~TCP_URG;
        st16_be(t + 18, 0);
        st16_be(t + 16, sum);
    }
    return true;
}

static bool guard_udp(const uint8_t *u, size_t len, const char **why)
{
    size_t ulen;

    if (len < UDP_LEN)
        return drop(why, "UDP header cut short");
    ulen = ld16_be(u + 4);
    if (ulen < UDP_LEN || ulen > len)
        return drop(why, "UDP length outside the datagram");
    if (ld16_be(u + 2) == 0)
        return drop(why, "UDP port 0");
    if (ld16_be(u + 2) == PORT_DHCP_SERVER && ulen - UDP_LEN < DHCP_MIN)
        return drop(why, "DHCP request cut short");
    if (ld16_be(u + 2) == PORT_TFTP && ulen - UDP_LEN < 4)
        return drop(why, "TFTP request cut short");
    return true;
}

static bool guard_transport(uint8_t proto, uint8_t *p, size_t len, const char **why)
{
    switch (proto) {
    case PROTO_TCP:
        return guard_tcp(p, len, why);
    case PROTO_UDP:
        return guard_udp(p, len, why);
    case PROTO_ICMP:
    case PROTO_ICMP6:
        return len >= (proto == PROTO_ICMP ? ICMP_MIN : 4) || drop(why, "ICMP message cut short");
    default:
        return true;
    }
}

static bool guard_ip4(uint8_t *ip, size_t len, const char **why)
{
    size_t hlen, total, frag;

    if (len < IP4_MIN || ip[0] >> 4 != 4)
        return drop(why, "IPv4 header cut short");
    hlen = (ip[0] & 15) * 4;
    total = ld16_be(ip + 2);
    if (hlen < IP4_MIN || total < hlen || total > len)
        return drop(why, "IPv4 lengths contradict the frame");
    frag = (ld16_be(ip + 6) & 0x1fff) * 8;
    if (frag + (total - hlen) > 65535 - IP4_MIN)
        return drop(why, "IPv4 fragment beyond 64 KiB");
    if (frag)
        return true;            /* no transport header in later fragments */
    if (ld16_be(ip + 6) & 0x2000)       /* first fragment: only the header must be whole */
        return total - hlen >= ICMP_MIN || drop(why, "IPv4 first fragment too small");
    return guard_transport(ip[9], ip + hlen, total - hlen, why);
}

static bool guard_ip6(uint8_t *ip, size_t len, const char **why)
{
    size_t payload;

    if (len < IP6_LEN || ip[0] >> 4 != 6)
        return drop(why, "IPv6 header cut short");
    payload = ld16_be(ip + 4);
    if (payload > len - IP6_LEN)
        return drop(why, "IPv6 payload length beyond the frame");
    if (ip[6] == PROTO_FRAG6)           /* what is in it is looked at when it is whole */
        return payload > FRAG6 || drop(why, "IPv6 fragment cut short");
    return guard_transport(ip[6], ip + IP6_LEN, payload, why);
}

bool slirp_guard(uint8_t *frame, size_t len, const char **why)
{
    if (len < ETH_HLEN)
        return drop(why, "ethernet header cut short");
    switch (ld16_be(frame + 12)) {
    case ETHERTYPE_ARP:
        return len >= ETH_HLEN + ARP_LEN || drop(why, "ARP cut short");
    case ETHERTYPE_IP4:
        return guard_ip4(frame + ETH_HLEN, len - ETH_HLEN, why);
    case ETHERTYPE_IP6:
        return guard_ip6(frame + ETH_HLEN, len - ETH_HLEN, why);
    default:
        return drop(why, "not ARP, IPv4 or IPv6");
    }
}
