/* nic: common parts of network devices. */
#include "hw/net/nic.h"

#include <string.h>

/* 52:54:00:12:34:56, :57 ...: the first not used by another NIC of this machine. */
static void default_mac(Nic *n, Machine *m)
{
    static const uint8_t base[NET_MAC_LEN] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

    for (unsigned i = 0; i < 256; i++) {
        g_autofree char *key = NULL;

        memcpy(n->mac, base, sizeof base);
        n->mac[5] += i;
        key = g_strdup_printf("%02x", n->mac[5]);
        if (!backend_find(m, "default-mac", key)) {
            backend_register(m, "default-mac", key, n);
            n->default_mac = g_steal_pointer(&key);
            return;
        }
    }
}

bool nic_init(Nic *n, Device *dev, const NetPortOps *ops, void *opaque, GError **err)
{
    static const uint8_t zero[NET_MAC_LEN];

    n->machine = dev->machine;
    if (n->mac[0] & 1)
        return err_set(err, "mac=%02x:...: a card cannot have a multicast address; the second digit must be even", n->mac[0]);
    if (!memcmp(n->mac, zero, sizeof zero))
        default_mac(n, dev->machine);
    n->port = net_port_new("nic", dev->id ? dev->id : dev->state_name, ops, opaque);
    if (n->netdev && !net_port_plug(n->port, n->netdev, err)) {
        g_clear_pointer(&n->port, net_port_free);
        return false;
    }
    return true;
}

void nic_cleanup(Nic *n)
{
    g_clear_pointer(&n->port, net_port_free);
    if (n->default_mac)
        backend_unregister(n->machine, "default-mac", n->default_mac);
    g_clear_pointer(&n->default_mac, g_free);
}

char *nic_describe(const char *model, const uint8_t mac[NET_MAC_LEN])
{
    return g_strdup_printf("type=nic,model=%s,macaddr=%02x:%02x:%02x:%02x:%02x:%02x", model, mac[0], mac[1], mac[2],
                           mac[3], mac[4], mac[5]);
}

bool nic_send_large(Nic *n, uint8_t *frame, size_t len, const Gso *g, bool loop, uint8_t *scratch,
                    bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque)
{
    const NetPort *peer = n->port->peer;

    if (loop || !peer || g->kind == GSO_UDP || (g->kind == GSO_TCP6 ? peer->max_frame6 : peer->max_frame) < len) {
        n->segments += 1 + (len - g->payload) / MAX(g->mss, 1u);
        return gso_segment(frame, len, g, scratch, emit, opaque);
    }
    gso_finish(frame, len, g);
    return emit(opaque, frame, len);
}

/* One's complement sums do not depend on byte order: words are added as the host has them, eight
   bytes a step, and only the folded result is swapped (RFC 1071). */
uint32_t net_sum(const uint8_t *p, size_t len, uint32_t sum)
{
    uint64_t a = 0, b = 0;

    for (; len >= 16; p += 16, len -= 16) {
        uint64_t v, w;

        memcpy(&v, p, 8);
        memcpy(&w, p + 8, 8);
        a += (v & 0xffffffff) + (v >> 32);
        b += (w & 0xffffffff) + (w >> 32);
    }
    a += b;
    for (; len >= 2; p += 2, len -= 2) {
        uint16_t v;

        memcpy(&v, p, 2);
        a += v;
    }
    if (len)
        a += htole16(*p);
    while (a >> 16)
        a = (a & 0xffff) + (a >> 16);
    return sum + be16toh(a);
}

uint16_t net_sum_fold(uint32_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum;
}

bool net_checksum_at(uint8_t *frame, size_t len, size_t start, size_t at)
{
    if (start > len || !range_ok(at, 2, len) || at < start)
        return false;
    st16_be(frame + at, net_sum_fold(net_sum(frame + start, len - start, 0)));
    return true;
}
