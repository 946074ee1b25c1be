/*
 * stream: frames over a TCP or Unix stream: -netdev stream (passt), and socket with listen= or connect=.
 *
 * A listener takes one peer at a time; a connector may reconnect after a pause.
 */
#include "net/net_int.h"

#include "util/log.h"
#include "util/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct NetStream {
    NetPort *port;
    NetFramer *framer;
    NetAddr addr;
    char *what;                 /* for messages and info network */
    int listen_fd;
    guint accept_source, retry_source, connect_source;
    int connecting;             /* descriptor while connect_source is set */
    unsigned reconnect_s;
} NetStream;

static void stream_closed(void *opaque);

static void stream_attach(NetStream *s, int fd)
{
    int one = 1;

    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);     /* fails harmlessly on unix sockets */
    s->framer = net_framer_new(s->port, fd, stream_closed, s);
    net_port_set_link(s->port, true);
    net_port_ready(s->port);
}

static gboolean stream_accept(gint fd, GIOCondition c, gpointer opaque)
{
    NetStream *s = opaque;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (peer < 0)
        return G_SOURCE_CONTINUE;
    s->accept_source = 0;
    stream_attach(s, peer);
    return G_SOURCE_REMOVE;
}

static void stream_wait(NetStream *s);

static gboolean stream_connected(gint fd, GIOCondition c, gpointer opaque)
{
    NetStream *s = opaque;
    int e = 0;
    socklen_t len = sizeof e;

    s->connect_source = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len) || e) {
        close(fd);
        stream_wait(s);
    } else {
        stream_attach(s, fd);
    }
    return G_SOURCE_REMOVE;
}

/* Connecting may take minutes when nobody answers; the machine goes on meanwhile. */
static gboolean stream_retry(gpointer opaque)
{
    NetStream *s = opaque;
    int fd = net_connect_start(&s->addr, s->what, false, NULL);

    if (fd < 0)
        return G_SOURCE_CONTINUE;
    s->retry_source = 0;
    s->connecting = fd;
    s->connect_source = watch_fd(fd, G_IO_OUT | G_IO_ERR | G_IO_HUP, stream_connected, s);
    return G_SOURCE_REMOVE;
}

static void stream_wait(NetStream *s)
{
    net_port_set_link(s->port, false);
    if (s->listen_fd >= 0)
        s->accept_source = watch_fd(s->listen_fd, G_IO_IN, stream_accept, s);
    else if (s->reconnect_s)
        s->retry_source = g_timeout_add_seconds(s->reconnect_s, stream_retry, s);
}

static void stream_closed(void *opaque)
{
    NetStream *s = opaque;

    net_framer_free(s->framer);
    s->framer = NULL;
    log_info("network %s: the peer at %s closed the connection", s->port->id, s->what);
    stream_wait(s);
}

static bool stream_receive(void *opaque, const uint8_t *frame, size_t len)
{
    NetStream *s = opaque;

    return !s->framer || net_framer_send(s->framer, frame, len);
}

static void stream_writable(void *opaque)
{
    net_framer_resume(((NetStream *)opaque)->framer);
}

static void stream_destroy(void *opaque)
{
    NetStream *s = opaque;

    net_framer_free(s->framer);
    if (s->accept_source)
        g_source_remove(s->accept_source);
    if (s->retry_source)
        g_source_remove(s->retry_source);
    if (s->connect_source) {
        g_source_remove(s->connect_source);
        close(s->connecting);
    }
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    g_free(s->what);
    g_free(s);
}

static char *stream_describe(void *opaque)
{
    NetStream *s = opaque;

    return g_strdup_printf("type=stream,%s=%s%s", s->listen_fd >= 0 ? "server" : "peer", s->what,
                           s->framer ? "" : ",disconnected");
}

static void stream_burst_over(void *opaque)
{
    NetStream *s = opaque;

    if (s->framer)
        net_framer_flush(s->framer);
}

static const NetPortOps stream_ops = {
    .receive = stream_receive, .writable = stream_writable, .burst_over = stream_burst_over, .destroy = stream_destroy, .describe = stream_describe,
};

static NetPort *stream_open(const char *id, const char *what, const NetAddr *addr, int fd, bool server,
                            unsigned reconnect_s, GError **err)
{
    NetStream *s = g_new0(NetStream, 1);

    s->addr = *addr;
    s->what = g_strdup(what);
    s->reconnect_s = reconnect_s;
    s->listen_fd = -1;
    s->port = net_port_new("stream", id, &stream_ops, s);
    if (fd < 0 && (server || !reconnect_s))
        fd = server ? net_listen(addr, what, err) : net_connect_start(addr, what, true, err);
    if (server)
        s->listen_fd = fd;
    if (fd < 0 && (server || !reconnect_s)) {
        net_port_free(s->port);
        return NULL;
    }
    if (server)
        stream_wait(s);
    else if (fd >= 0)
        stream_attach(s, fd);
    else if (stream_retry(s))           /* at once; from then on at each interval */
        stream_wait(s);
    return s->port;
}

NetPort *net_stream_new(const char *id, OptList *o, GError **err)
{
    NetAddr addr = { .len = 0 };
    uint64_t reconnect;
    bool server;
    int fd;
    const char *path = optlist_str(o, "addr.path", NULL), *host = optlist_str(o, "addr.host", NULL);

    if (!optlist_bool(o, "server", false, &server, err) || !optlist_uint(o, "reconnect", 0, 3600, &reconnect, err) ||
        !net_addr_from_opts(o, "addr", server, false, &addr, &fd, err) || !optlist_check_unused(o, err))
        return NULL;
    return stream_open(id, path ? path : host ? host : "fd", &addr, fd, server, reconnect, err);
}

/* socket,listen=[host]:port and socket,connect=host:port or fd=n. */
NetPort *net_socket_new(const char *id, OptList *o, GError **err)
{
    const char *lis = optlist_str(o, "listen", NULL), *con = optlist_str(o, "connect", NULL),
               *fdt = optlist_str(o, "fd", NULL);
    NetAddr addr = { .len = 0 };
    uint64_t fd;

    if (optlist_has(o, "mcast") || optlist_has(o, "udp"))
        return net_dgram_new(id, o, err);
    if (!!lis + !!con + !!fdt != 1) {
        err_set(err, "socket: give exactly one of listen=, connect=, fd=, mcast= and udp=");
        return NULL;
    }
    if (!optlist_uint(o, "fd", 0, G_MAXINT, &fd, err) || !optlist_check_unused(o, err))
        return NULL;
    if (!fdt && !net_resolve_hostport(lis ? lis : con, lis != NULL, false, &addr, err))
        return NULL;
    return stream_open(id, lis ? lis : con ? con : "fd", &addr, fdt ? (int)fd : -1, lis != NULL, 0, err);
}
