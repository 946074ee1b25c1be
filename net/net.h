/*
 * net: ethernet frames between a NIC and a back-end, with back-pressure both ways.
 *
 * Two NetPorts are plugged together. A port that cannot take a frame says so; the frame is
 * queued (bounded) and the sender told to stop until its writable() callback. No frame is
 * longer than NET_FRAME_MAX. Everything here runs under the lock the main loop holds while
 * dispatching (the machine lock); back-ends own their descriptors.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "util/optlist.h"

#include <sys/uio.h>

enum { NET_FRAME_MAX = 65536 + 4096, NET_QUEUE_MAX = 256, NET_MAC_LEN = 6 };

/* What a frame still needs done, in host byte order: the header virtio and Linux's tap share (virtio 1.2, 5.1.6). */
typedef struct NetOffload {
    uint8_t flags, gso_type;
    uint16_t hdr_len, gso_size, csum_start, csum_offset;
} NetOffload;
enum { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2, NET_GSO_NONE = 0, NET_GSO_TCP4 = 1, NET_GSO_UDP = 3, NET_GSO_TCP6 = 4,
       NET_GSO_ECN = 0x80 };
enum { NET_CAN_CSUM = 1, NET_CAN_TCP4 = 2, NET_CAN_TCP6 = 4, NET_CAN_ECN = 8 };        /* NetPort.takes, .gives */

typedef struct NetPort NetPort;
typedef struct NetPortOps {
    /* Takes one whole frame, or returns false: busy now, will call net_port_ready() later. */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t len);
    /* May send again after net_send() returned false. Optional. */
    void (*writable)(void *opaque);
    /* The other end came, went, or its link changed. Optional. */
    void (*link_changed)(void *opaque, bool up);
    void (*destroy)(void *opaque);      /* free opaque; the port is being freed */
    /* The same for a frame that needs what o says; for ports whose `takes` is not 0. */
    bool (*receive_offload)(void *opaque, const uint8_t *frame, size_t len, const NetOffload *o);
    void (*burst_over)(void *opaque);   /* the other end's burst is over: send what waits for more. Optional. */
    void (*peer_takes)(void *opaque, unsigned takes);   /* the other end's `takes` changed. Optional. */
    char *(*describe)(void *opaque);    /* "type=user,net=10.0.2.0,restrict=off"; caller frees. Optional. */
    /* The card's address in use; a card that can have its driver announce itself asks for it. NULL: not a card. */
    void (*announce)(void *opaque, uint8_t mac[6]);
    char *(*rx_filter)(void *opaque);   /* members of a query-rx-filter answer, JSON without braces; caller frees. Optional. */
} NetPortOps;

struct NetPort {
    char *id;                   /* "n0", "net0" */
    const char *type;           /* "user", "tap", "nic" ... */
    const NetPortOps *ops;
    void *opaque;
    NetPort *peer;
    size_t max_frame, max_frame6;       /* longest frame it takes (IPv6: the second): NICs segment longer
                                           ones (default 1522) */
    unsigned takes;             /* NET_CAN_*: frames it receives may need this; see net_port_set_takes */
    unsigned gives;             /* NET_CAN_*: what its frames may need when the other end takes it */
    unsigned queues;            /* queue pairs a card should offer */
    bool more;                  /* its peer is in the middle of a burst: a stream may wait for the rest */
    bool link_down;
    bool sender_blocked;        /* peer's net_send() returned false */
    GQueue queue;               /* of NetQueued: frames waiting for this port to become ready */
    bool delivering;
    guint again;                /* source that delivers what a full round left */
    GPtrArray *dumps;           /* captures: net/dump.c */
    struct NetBuffer *buffer;   /* holds frames back: net/buffer.c; or NULL */
    struct NetThrottle *throttle;       /* slows frames down: net/throttle.c; or NULL */
    struct NetAnnounce *announce;       /* rounds to come: net/announce.c; or NULL */
    uint64_t frames_in, bytes_in, dropped;
};

NetPort *net_port_new(const char *type, const char *id, const NetPortOps *ops, void *opaque);
void net_port_free(NetPort *p);         /* unplugs, calls destroy */
bool net_port_plug(NetPort *a, NetPort *b, GError **err) MUST_CHECK;    /* fails when one is taken */
void net_port_unplug(NetPort *p);
void net_port_set_link(NetPort *p, bool up);    /* tells both ends */
bool net_port_link(const NetPort *p);           /* plugged, and both ends up */

/* Sends from p to its peer. False: the peer's queue is full; stop until ops->writable.
   The frame was still queued or (without a peer, link down, oversized) dropped and counted. */
bool net_send(NetPort *from, const uint8_t *frame, size_t len);
/* A frame that needs what o says; only where net_peer_takes() says so. */
bool net_send_offload(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o);
unsigned net_offload_needs(const NetOffload *o);        /* NET_CAN_* bits; UINT_MAX: something unknown */
static inline bool net_peer_takes(const NetPort *p, const NetOffload *o)
{ return p->peer && !(net_offload_needs(o) & ~p->peer->takes); }
void net_port_set_takes(NetPort *p, unsigned takes);
/* Brackets a burst of frames from p, such as what a ring holds. */
void net_burst(NetPort *p, bool more);
/* The port can receive again: delivers what is queued, then wakes the peer. */
void net_port_ready(NetPort *p);
void net_port_purge(NetPort *p);                /* drops queued frames (device reset) */

/*
 * Back-ends. opts: "type" (user, tap, socket, stream, dgram, hubport, none) and that type's options,
 * as in -netdev; every option is checked. The port belongs to the caller.
 */
NetPort *net_backend_new(OptList *opts, GError **err) MUST_CHECK;
char *net_backend_help(void);                   /* "-netdev help"; caller frees */
/* hostfwd at run time, on a port of type user: "tcp:[haddr]:hport-[gaddr]:gport". */
bool net_user_hostfwd_add(NetPort *p, const char *rule, GError **err) MUST_CHECK;
bool net_user_hostfwd_remove(NetPort *p, const char *rule, GError **err) MUST_CHECK;
char *net_user_describe(NetPort *p);            /* "info usernet" text; NULL for other types */
/* The program as helper process of an isolated user network: "quern net-helper". */
int net_helper_main(int argc, char **argv);
/* Writes every frame that passes p to a pcap file until p is freed (-object filter-dump). */
bool net_dump_attach(NetPort *p, const char *path, uint64_t snaplen, GError **err) MUST_CHECK;
void net_dump_detach(NetPort *p, const char *path);
/* Holds frames sent to and by p and lets all of them go on every interval_us (-object filter-buffer); one a port. */
bool net_buffer_attach(NetPort *p, uint64_t interval_us, bool to, bool from, GError **err) MUST_CHECK;
void net_buffer_detach(NetPort *p);             /* what it holds goes on */
/* Lets what p sends or gets go on at a rate; what waits longer than the queue is lost (-object filter-throttle); one a port. */
typedef struct NetThrottleLimits {
    uint64_t rate, burst;       /* bytes a second, each way; bytes at once (0: a hundredth of a second) */
    unsigned frames;            /* that may wait, each way */
} NetThrottleLimits;
bool net_throttle_attach(NetPort *p, const NetThrottleLimits *limits, bool to, bool from, GError **err) MUST_CHECK;
void net_throttle_detach(NetPort *p);           /* what it holds goes on */
/* A card tells the network its address: a RARP frame each round, and what its driver says when asked. */
typedef struct NetAnnouncePlan { unsigned initial_ms, max_ms, rounds, step_ms; } NetAnnouncePlan;
/* Begins anew when one is under way. False: the port is not a card's. */
bool net_announce(NetPort *card, const NetAnnouncePlan *plan);
void net_announce_stop(NetPort *card);
void net_dump_frame(NetPort *p, const uint8_t *frame, size_t len);     /* internal to net/ */

#endif
