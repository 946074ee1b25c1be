/* framer: ethernet frames over a byte stream (32-bit big-endian length first) and over datagrams. */
#include "net/net_int.h"

#include "util/bytes.h"
#include "util/log.h"
#include "util/watch.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAMER_BUDGET = 64 };    /* frames read per wake-up: other sources get their turn */

struct NetFramer {
    NetPort *port;
    int fd;
    guint in, out;
    void (*closed)(void *opaque);
    void *opaque;
    uint8_t rx[4 + NET_FRAME_MAX];
    size_t rx_at, rx_len;       /* the bytes not yet delivered */
    uint8_t tx[4 + NET_FRAME_MAX];
    size_t tx_len, tx_at;
};

static gboolean framer_readable(gint fd, GIOCondition c, gpointer opaque);
static gboolean framer_writable(gint fd, GIOCondition c, gpointer opaque);

static void stop(guint *source)
{
    if (*source)
        g_source_remove(*source);
    *source = 0;
}

static gboolean framer_lost(NetFramer *f)
{
    f->in = 0;
    stop(&f->out);
    f->closed(f->opaque);
    return G_SOURCE_REMOVE;
}

/* One whole frame at the head of rx? Delivers and passes it. *bad: impossible length. */
static bool take_frame(NetFramer *f, bool *bad)
{
    const uint8_t *at = f->rx + f->rx_at;
    uint32_t len;

    if (f->rx_len < 4)
        return false;
    len = ld32_be(at);
    *bad = len == 0 || len > NET_FRAME_MAX;
    if (*bad || f->rx_len < 4 + len)
        return false;
    f->rx_at += 4 + len;
    f->rx_len -= 4 + len;
    if (!net_send(f->port, at + 4, len))
        stop(&f->in);           /* until writable */
    return true;
}

/* Delivers every whole frame read. False: stopped by a full card, or the peer lied and f is gone. */
static bool take_frames(NetFramer *f)
{
    bool bad = false;

    while (take_frame(f, &bad)) {
        if (!f->in)
            return false;
    }
    if (bad) {
        log_warn("network %s: the peer sent an impossible frame length; disconnecting", f->port->id);
        framer_lost(f);
    }
    return !bad;
}

static gboolean framer_readable(gint fd, GIOCondition c, gpointer opaque)
{
    NetFramer *f = opaque;

    if (!take_frames(f))        /* what was left when the card was full */
        return G_SOURCE_REMOVE;
    for (int budget = FRAMER_BUDGET; budget--; ) {
        ssize_t n;

        memmove(f->rx, f->rx + f->rx_at, f->rx_len);
        f->rx_at = 0;
        n = read(fd, f->rx + f->rx_len, sizeof f->rx - f->rx_len);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return G_SOURCE_CONTINUE;
        if (n <= 0)
            return framer_lost(f);
        f->rx_len += n;
        if (!take_frames(f))
            return G_SOURCE_REMOVE;
    }
    return G_SOURCE_CONTINUE;
}

static gboolean framer_writable(gint fd, GIOCondition c, gpointer opaque)
{
    NetFramer *f = opaque;
    ssize_t n = send(fd, f->tx + f->tx_at, f->tx_len - f->tx_at, MSG_NOSIGNAL | (f->port->more ? MSG_MORE : 0));

    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        f->out = 0;             /* the reader sees the end and reports it */
        f->tx_len = f->tx_at = 0;
        return G_SOURCE_REMOVE;
    }
    if (n > 0)
        f->tx_at += n;
    if (f->tx_at < f->tx_len)
        return G_SOURCE_CONTINUE;
    f->tx_len = f->tx_at = 0;
    f->out = 0;
    net_port_ready(f->port);
    return G_SOURCE_REMOVE;
}

NetFramer *net_framer_new(NetPort *port, int fd, void (*closed)(void *opaque), void *opaque)
{
    NetFramer *f = g_new0(NetFramer, 1);

    f->port = port;
    f->fd = fd;
    f->closed = closed;
    f->opaque = opaque;
    f->in = watch_fd(fd, G_IO_IN | G_IO_HUP, framer_readable, f);
    return f;
}

void net_framer_free(NetFramer *f)
{
    if (!f)
        return;
    stop(&f->in);
    stop(&f->out);
    close(f->fd);
    g_free(f);
}

/* Setting the option pushes what MSG_MORE held (tcp(7)); a Unix socket holds nothing. */
void net_framer_flush(NetFramer *f)
{
    int one = 1;

    setsockopt(f->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

bool net_framer_send(NetFramer *f, const uint8_t *frame, size_t len)
{
    if (f->tx_len)
        return false;
    st32_be(f->tx, len);
    memcpy(f->tx + 4, frame, len);
    f->tx_len = 4 + len;
    if (framer_writable(f->fd, G_IO_OUT, f) == G_SOURCE_CONTINUE)
        f->out = watch_fd(f->fd, G_IO_OUT, framer_writable, f);
    return true;
}

/* The frames already read have no descriptor to announce them. A lie among them is found by the next reading. */
void net_framer_resume(NetFramer *f)
{
    bool bad = false;

    if (!f || f->in)
        return;
    f->in = watch_fd(f->fd, G_IO_IN | G_IO_HUP, framer_readable, f);
    while (f->in && take_frame(f, &bad))
        ;
}

struct NetDgram {
    NetPort *port;
    int fd;
    guint in;
    uint8_t dest[128];
    unsigned destlen;
};

static gboolean dgram_readable(gint fd, GIOCondition c, gpointer opaque)
{
    NetDgram *d = opaque;
    uint8_t buf[NET_FRAME_MAX];

    for (int budget = FRAMER_BUDGET; budget--; ) {
        ssize_t n = recv(fd, buf, sizeof buf, MSG_DONTWAIT);

        if (n < 0)
            break;              /* EAGAIN, or an ICMP error the next send reports again */
        if (n && !net_send(d->port, buf, n)) {
            d->in = 0;
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

NetDgram *net_dgram_io_new(NetPort *port, int fd, const void *dest, unsigned destlen)
{
    NetDgram *d = g_new0(NetDgram, 1);

    d->port = port;
    d->fd = fd;
    d->destlen = MIN(destlen, sizeof d->dest);
    if (dest)
        memcpy(d->dest, dest, d->destlen);
    d->in = watch_fd(fd, G_IO_IN, dgram_readable, d);
    return d;
}

void net_dgram_io_free(NetDgram *d)
{
    if (!d)
        return;
    stop(&d->in);
    close(d->fd);
    g_free(d);
}

void net_dgram_io_resume(NetDgram *d)
{
    if (d && !d->in)
        d->in = watch_fd(d->fd, G_IO_IN, dgram_readable, d);
}

/* Datagrams may be lost: a full socket buffer drops the frame, as a wire would. */
bool net_dgram_io_send(NetDgram *d, const uint8_t *frame, size_t len)
{
    if (sendto(d->fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL, d->destlen ? (void *)d->dest : NULL, d->destlen) < 0)
        d->port->dropped++;
    return true;
}
