/* net_int: what the back-ends share; private to net/. */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H

#include "net/net.h"

typedef NetPort *NetBackendFn(const char *id, OptList *opts, GError **err);
NetBackendFn net_user_new, net_tap_new, net_socket_new, net_stream_new, net_dgram_new, net_hubport_new;

extern const NetPortOps net_user_ops;
enum { NET_USER_FRAME_MAX = 65535 + 14, NET_USER_MTU = 65521 };         /* slirp ends TCP itself; its largest packet over IPv6 */

/* The user network in a process of its own (isolated.c), and that process (helper.c). */
extern const NetPortOps net_isolated_ops;
NetBackendFn net_isolated_new;
#define NET_HELPER_VERB "net-helper"
enum { NET_HELPER_FRAMES = 3, NET_HELPER_CONTROL = 4, NET_ANSWER_MAX = 128 * 1024 };
typedef struct NetAnswer { int code; char *text; } NetAnswer;   /* code: 0 or an errno value; caller frees text */
/* verb: add, remove (a rule) or info. False: nobody answered. */
bool net_isolated_ask(NetPort *p, const char *verb, const char *argument, NetAnswer *answer, GError **err);

/* Connected byte streams that carry frames behind a 32-bit big-endian length (socket, stream). */
typedef struct NetFramer NetFramer;
/* Takes over fd (nonblocking). closed() is called once when the peer goes; it may free the framer. */
NetFramer *net_framer_new(NetPort *port, int fd, void (*closed)(void *opaque), void *opaque);
void net_framer_free(NetFramer *f);
bool net_framer_send(NetFramer *f, const uint8_t *frame, size_t len);   /* false: full, will call net_port_ready */
void net_framer_flush(NetFramer *f);                                     /* after the port's `more`: what TCP keeps back goes out */
void net_framer_resume(NetFramer *f);                                    /* read again after back-pressure */
/* One datagram per frame on fd (dgram, udp, mcast). dest/destlen: NULL when connected. */
typedef struct NetDgram NetDgram;
NetDgram *net_dgram_io_new(NetPort *port, int fd, const void *dest, unsigned destlen);
void net_dgram_io_free(NetDgram *d);
void net_dgram_io_resume(NetDgram *d);
bool net_dgram_io_send(NetDgram *d, const uint8_t *frame, size_t len);

typedef struct NetBuffer NetBuffer;
/* Takes a frame p got or sent into its buffer, if it has one for that way. */
bool net_buffer_hold(NetPort *p, bool by_port, const uint8_t *frame, size_t len, const NetOffload *o);
typedef struct NetThrottle NetThrottle;
bool net_throttle_hold(NetPort *p, bool by_port, const uint8_t *frame, size_t len, const NetOffload *o);
typedef struct NetAnnounce NetAnnounce;
/* net_send_offload() behind the buffers, and behind all filters. */
bool net_send_buffered(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o);
bool net_send_now(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o);

/* Address helpers (sockaddr.c): "host:port", ":port" or "unix path" to a socket. */
typedef struct NetAddr { uint8_t sa[128]; unsigned len; int family; } NetAddr;
bool net_resolve(const char *host, const char *port, bool passive, bool dgram, NetAddr *out, GError **err);
bool net_resolve_hostport(const char *text, bool passive, bool dgram, NetAddr *out, GError **err);
bool net_addr_unix(const char *path, NetAddr *out, GError **err);
int net_listen(const NetAddr *a, const char *what, GError **err);       /* -1 on failure; nonblocking */
/* wait: returns connected; else connecting, and the descriptor becomes writable at the end. Nonblocking from then on. */
int net_connect_start(const NetAddr *a, const char *what, bool wait, GError **err);
/* "nginx, process 1234": who has a port of this host; NULL where /proc does not tell. Caller frees. */
char *net_port_owner(bool udp, unsigned port);
/* "addr.type", "addr.host", "addr.port", "addr.path", "addr.str" under a prefix ("addr", "local", "remote"). */
bool net_addr_from_opts(OptList *o, const char *prefix, bool passive, bool dgram, NetAddr *out, int *fd, GError **err);

#endif
