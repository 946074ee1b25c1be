/* nic: what every network device has in common: its back-end, its address, its checks. */
#ifndef HW_NET_NIC_H
#define HW_NET_NIC_H

#include "hw/core/device.h"
#include "hw/net/offload.h"
#include "net/net.h"

typedef struct Nic {
    NetPort *netdev;            /* property: the back-end; may be NULL */
    uint8_t mac[NET_MAC_LEN];   /* property; zero: the next free default */
    NetPort *port;              /* our end */
    Machine *machine;
    char *default_mac;          /* key of a default address taken, or NULL */
    unsigned segments;          /* cut by nic_send_large() since the card last set it to 0 */
} Nic;

/* After so many segments a card goes on from a timer: a ring of large frames and a tiny MSS must not hold a vcpu. */
enum { NIC_SEGMENTS_MAX = 16384 };

#define NIC_PROPS(T, f) \
    { .name = "netdev", .kind = PROP_BACKEND_, .offset = offsetof(T, f.netdev), .size = sizeof(NetPort *), \
      .backend = "netdev", .help = "the -netdev behind it" }, \
    { .name = "mac", .kind = PROP_MAC_, .offset = offsetof(T, f.mac), .size = NET_MAC_LEN, \
      .help = "MAC address (default: 52:54:00:12:34:56 and up)" }

/* Makes our port, plugs it to netdev and settles the address. */
bool nic_init(Nic *n, Device *dev, const NetPortOps *ops, void *opaque, GError **err) MUST_CHECK;
void nic_cleanup(Nic *n);
/* "info network" text of a card; caller frees. */
char *nic_describe(const char *model, const uint8_t mac[NET_MAC_LEN]);
/*
 * Sends a frame the driver wants segmented: whole when the other end takes it (a loop never does),
 * else in segments of g->mss through emit. False: the other end is full (the frame was taken).
 */
bool nic_send_large(Nic *n, uint8_t *frame, size_t len, const Gso *g, bool loop, uint8_t *scratch,
                    bool (*emit)(void *opaque, const uint8_t *frame, size_t len), void *opaque);
/* The Internet checksum of [p, p+len) added to sum, not folded. */
uint32_t net_sum(const uint8_t *p, size_t len, uint32_t sum);
uint16_t net_sum_fold(uint32_t sum);
/* Completes a checksum at `at` over [start, len) whose field holds the pseudo header's sum. False: out of range. */
bool net_checksum_at(uint8_t *frame, size_t len, size_t start, size_t at);

#endif
