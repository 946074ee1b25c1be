/* dgram: one frame per datagram: -netdev dgram, and socket with mcast= or udp=. */
#include "net/net_int.h"

#include "util/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct DgramPort {
    NetPort *port;
    NetDgram *io;
    char *text;
} DgramPort;

static bool dgram_receive(void *opaque, const uint8_t *frame, size_t len)
{
    return net_dgram_io_send(((DgramPort *)opaque)->io, frame, len);
}

static void dgram_writable(void *opaque)
{
    net_dgram_io_resume(((DgramPort *)opaque)->io);
}

static void dgram_destroy(void *opaque)
{
    DgramPort *d = opaque;

    net_dgram_io_free(d->io);
    g_free(d->text);
    g_free(d);
}

static char *dgram_describe(void *opaque)
{
    return g_strdup_printf("type=dgram,%s", ((DgramPort *)opaque)->text);
}

static const NetPortOps dgram_ops = {
    .receive = dgram_receive, .writable = dgram_writable, .destroy = dgram_destroy, .describe = dgram_describe,
};

/* A multicast destination joins its group and hears itself and others on this host. */
static bool join_group(int fd, const NetAddr *dest, const char *localaddr, GError **err)
{
    const struct sockaddr_in *in = (const void *)dest->sa;
    struct ip_mreq mreq = { .imr_multiaddr = in->sin_addr };
    int one = 1;

    if (localaddr && inet_pton(AF_INET, localaddr, &mreq.imr_interface) != 1)
        return err_set(err, "localaddr=%s: not an IPv4 address", localaddr);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const void *)dest->sa, dest->len))
        return err_set_errno(err, errno, "multicast port");
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &mreq, sizeof mreq))
        return err_set_errno(err, errno, "joining the multicast group %s", inet_ntoa(in->sin_addr));
    if (localaddr)
        setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &mreq.imr_interface, sizeof mreq.imr_interface);
    return true;
}

static bool bind_local(int fd, const NetAddr *local, GError **err)
{
    int one = 1;

    if (!local->len)
        return true;
    if (local->family == AF_UNIX)
        unlink(((const struct sockaddr_un *)(const void *)local->sa)->sun_path);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    return !bind(fd, (const void *)local->sa, local->len) || err_set_errno(err, errno, "local address");
}

static bool is_multicast(const NetAddr *a)
{
    return a->family == AF_INET && IN_MULTICAST(ntohl(((const struct sockaddr_in *)(const void *)a->sa)->sin_addr.s_addr));
}

static NetPort *dgram_open(const char *id, const NetAddr *remote, const NetAddr *local, const char *localaddr,
                           int fd, const char *text, GError **err)
{
    DgramPort *d;

    if (fd < 0) {
        fd = socket(remote->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            err_set_errno(err, errno, "datagram socket");
            return NULL;
        }
        if (!(is_multicast(remote) ? join_group(fd, remote, localaddr, err) : bind_local(fd, local, err))) {
            close(fd);
            return NULL;
        }
    }
    d = g_new0(DgramPort, 1);
    d->text = g_strdup(text);
    d->port = net_port_new("dgram", id, &dgram_ops, d);
    d->io = net_dgram_io_new(d->port, fd, remote->len ? remote->sa : NULL, remote->len);
    return d->port;
}

/* socket,mcast=group:port[,localaddr=] and socket,udp=host:port,localaddr=host:port */
static NetPort *socket_dgram(const char *id, OptList *o, GError **err)
{
    const char *mcast = optlist_str(o, "mcast", NULL), *udp = optlist_str(o, "udp", NULL),
               *local = optlist_str(o, "localaddr", NULL);
    NetAddr remote = { .len = 0 }, here = { .len = 0 };

    if (!optlist_check_unused(o, err) || !net_resolve_hostport(mcast ? mcast : udp, false, true, &remote, err))
        return NULL;
    if (mcast && !is_multicast(&remote)) {
        err_set(err, "mcast=%s: not a multicast address (224.0.0.0 to 239.255.255.255)", mcast);
        return NULL;
    }
    if (udp && !local) {
        err_set(err, "udp= needs localaddr=host:port");
        return NULL;
    }
    if (udp && !net_resolve_hostport(local, true, true, &here, err))
        return NULL;
    return dgram_open(id, &remote, &here, local, -1, mcast ? mcast : udp, err);
}

NetPort *net_dgram_new(const char *id, OptList *o, GError **err)
{
    NetAddr remote = { .len = 0 }, local = { .len = 0 };
    int fd = -1, unused;

    if (optlist_has(o, "mcast") || optlist_has(o, "udp"))
        return socket_dgram(id, o, err);
    if (optlist_has(o, "local.type") && !net_addr_from_opts(o, "local", true, true, &local, &fd, err))
        return NULL;
    if (optlist_has(o, "remote.type") && !net_addr_from_opts(o, "remote", false, true, &remote, &unused, err))
        return NULL;
    if (fd < 0 && !remote.len) {
        err_set(err, "dgram: remote.type= is missing");
        return NULL;
    }
    if (!optlist_check_unused(o, err))
        return NULL;
    return dgram_open(id, &remote, &local, NULL, fd, "remote", err);
}
