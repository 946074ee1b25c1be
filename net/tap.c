/*
 * tap: a host TAP interface: by name (needs CAP_NET_ADMIN) or by inherited descriptors.
 *
 * With vnet_hdr=on (the default where the kernel has it) checksums and TCP segments cross the
 * border unfinished, as far as the card takes them. With queues=N or fds= the interface has N
 * descriptors; flows are spread over them by the kernel one way and by their addresses the other.
 */
#include "net/net_int.h"

#include "util/bytes.h"
#include "util/log.h"
#include "util/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TAP_BUDGET = 64, TAP_QUEUES_MAX = 16, HEADER = 10,
       CAN_ALL = NET_CAN_CSUM | NET_CAN_TCP4 | NET_CAN_TCP6 | NET_CAN_ECN };

typedef struct NetTap NetTap;
typedef struct TapQueue {
    NetTap *t;
    int fd;
    guint in, out;
} TapQueue;

struct NetTap {
    NetPort *port;
    TapQueue queue[TAP_QUEUES_MAX];
    unsigned queues;
    bool header;                /* frames carry a NetOffload */
    char ifname[IFNAMSIZ];
    char *downscript;
};

static gboolean tap_readable(gint fd, GIOCondition c, gpointer opaque)
{
    TapQueue *q = opaque;
    NetTap *t = q->t;
    uint8_t buf[HEADER + NET_FRAME_MAX];
    size_t skip = t->header ? HEADER : 0;

    for (int budget = TAP_BUDGET; budget--; ) {
        ssize_t n = read(fd, buf, skip + NET_FRAME_MAX);
        NetOffload o = { 0 };

        if (n <= (ssize_t)skip)
            break;
        if (skip)
            memcpy(&o, buf, HEADER);
        if (!net_send_offload(t->port, buf + skip, n - skip, &o)) {
            q->in = 0;
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

static gboolean tap_can_write(gint fd, GIOCondition c, gpointer opaque)
{
    TapQueue *q = opaque;

    q->out = 0;
    net_port_ready(q->t->port);
    return G_SOURCE_REMOVE;
}

/* One flow stays on one queue: a byte of either address, whatever the protocol. */
static TapQueue *pick_queue(NetTap *t, const uint8_t *f, size_t len)
{
    return &t->queue[t->queues > 1 && len >= 38 ? (f[29] ^ f[33] ^ f[35] ^ f[37]) % t->queues : 0];
}

static bool tap_receive_offload(void *opaque, const uint8_t *frame, size_t len, const NetOffload *o)
{
    NetTap *t = opaque;
    TapQueue *q = pick_queue(t, frame, len);
    struct iovec v[2] = { { (void *)o, HEADER }, { (void *)frame, len } };

    if (writev(q->fd, t->header ? v : v + 1, t->header ? 2 : 1) < 0 && errno == EAGAIN) {
        if (!q->out)
            q->out = watch_fd(q->fd, G_IO_OUT, tap_can_write, q);
        return false;
    }
    return true;
}

static bool tap_receive(void *opaque, const uint8_t *frame, size_t len)
{
    static const NetOffload whole;

    return tap_receive_offload(opaque, frame, len, &whole);
}

static void tap_writable(void *opaque)
{
    NetTap *t = opaque;

    for (unsigned i = 0; i < t->queues; i++) {
        if (!t->queue[i].in)
            t->queue[i].in = watch_fd(t->queue[i].fd, G_IO_IN, tap_readable, &t->queue[i]);
    }
}

/* The kernel hands over unfinished only what the card takes. */
static void tap_peer_takes(void *opaque, unsigned takes)
{
    NetTap *t = opaque;
    unsigned f = 0;

    if (!t->header)
        return;
    if (takes & NET_CAN_CSUM)
        f = TUN_F_CSUM | (takes & NET_CAN_TCP4 ? TUN_F_TSO4 : 0) | (takes & NET_CAN_TCP6 ? TUN_F_TSO6 : 0) |
            (takes & NET_CAN_ECN && takes & (NET_CAN_TCP4 | NET_CAN_TCP6) ? TUN_F_TSO_ECN : 0);
    if (ioctl(t->queue[0].fd, TUNSETOFFLOAD, f))
        log_warn("network %s: the tap interface refused offloads %#x: %s", t->port->id, f, g_strerror(errno));
}

static bool run_script(const char *script, const char *ifname, GError **err)
{
    const char *argv[] = { script, ifname, NULL };
    int status;

    if (!script || !*script || g_str_equal(script, "no"))
        return true;
    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status, err))
        return err_prefix(err, "network script %s", script);
    return g_spawn_check_wait_status(status, err) || err_prefix(err, "network script %s", script);
}

static void tap_destroy(void *opaque)
{
    NetTap *t = opaque;
    g_autoptr(GError) err = NULL;

    for (unsigned i = 0; i < t->queues; i++) {
        if (t->queue[i].in)
            g_source_remove(t->queue[i].in);
        if (t->queue[i].out)
            g_source_remove(t->queue[i].out);
    }
    if (!run_script(t->downscript, t->ifname, &err))
        log_warn("%s", err->message);
    for (unsigned i = 0; i < t->queues; i++)
        close(t->queue[i].fd);
    g_free(t->downscript);
    g_free(t);
}

static char *tap_describe(void *opaque)
{
    NetTap *t = opaque;

    return g_strdup_printf("type=tap,ifname=%s,queues=%u,vnet_hdr=%s", t->ifname, t->queues, t->header ? "on" : "off");
}

static const NetPortOps tap_ops = {
    .receive = tap_receive, .receive_offload = tap_receive_offload, .writable = tap_writable,
    .peer_takes = tap_peer_takes, .destroy = tap_destroy, .describe = tap_describe,
};

typedef struct TapOptions {
    const char *ifname, *script, *down, *fds;
    uint64_t queues;
    bool header;
} TapOptions;

static bool tap_open(NetTap *t, const TapOptions *o, GError **err)
{
    struct ifreq ifr = { .ifr_flags = 0 };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return err_set_errno(err, errno, "/dev/net/tun (in a container, pass --device /dev/net/tun)");
    ifr.ifr_flags = IFF_TAP | IFF_NO_PI | (o->header ? IFF_VNET_HDR : 0) | (o->queues > 1 ? IFF_MULTI_QUEUE : 0);
    g_strlcpy(ifr.ifr_name, *t->ifname ? t->ifname : o->ifname ? o->ifname : "", IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr)) {
        int e = errno;

        close(fd);
        return err_set_errno(err, e, "tap interface %s%s", o->ifname ? o->ifname : "",
                             e == EPERM ? " (needs CAP_NET_ADMIN, or an interface made for you: sudo ip tuntap add NAME mode tap user YOU)" :
                             e == EINVAL ? " (made with other queues= or vnet_hdr=?)" :
                             e == EBUSY ? " (another program has it open)" : "");
    }
    g_strlcpy(t->ifname, ifr.ifr_name, IFNAMSIZ);
    t->header = o->header;
    t->queue[t->queues++].fd = fd;
    return true;
}

/* fd=N or fds=N:M: descriptors somebody else opened; whether they carry headers is in their flags. */
static bool tap_adopt(NetTap *t, const TapOptions *o, GError **err)
{
    g_auto(GStrv) list = g_strsplit(o->fds, ":", TAP_QUEUES_MAX + 1);

    for (char **p = list; *p; p++) {
        struct ifreq ifr = { .ifr_flags = 0 };
        char *end;
        long fd = strtol(*p, &end, 10);

        if (t->queues == TAP_QUEUES_MAX)
            return err_set(err, "fds=%s: %d descriptors at most", o->fds, TAP_QUEUES_MAX);
        if (end == *p || *end || fd < 0 || fd > G_MAXINT || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
            return err_set(err, "fd=%s: not an open file descriptor number", *p);
        if (!ioctl(fd, TUNGETIFF, &ifr)) {
            g_strlcpy(t->ifname, ifr.ifr_name, IFNAMSIZ);
            t->header = ifr.ifr_flags & IFF_VNET_HDR;
        }
        t->queue[t->queues++].fd = fd;
    }
    return true;
}

static bool tap_start(NetTap *t, const TapOptions *o, GError **err)
{
    int size = HEADER;

    if (o->fds) {
        if (!tap_adopt(t, o, err))
            return false;
    } else {
        while (t->queues < o->queues) {
            if (!tap_open(t, o, err))
                return false;
        }
        if (!run_script(o->script, t->ifname, err))
            return false;
        t->downscript = g_strdup(o->down);
    }
    for (unsigned i = 0; i < t->queues; i++) {
        TapQueue *q = &t->queue[i];

        q->t = t;
        if (t->header && ioctl(q->fd, TUNSETVNETHDRSZ, &size))
            return err_set_errno(err, errno, "tap interface %s: header size", t->ifname);
        q->in = watch_fd(q->fd, G_IO_IN, tap_readable, q);
    }
    t->port->queues = t->queues;
    t->port->gives = t->port->takes = t->header ? CAN_ALL : 0;
    return true;
}

NetPort *net_tap_new(const char *id, OptList *o, GError **err)
{
    TapOptions opt = { optlist_str(o, "ifname", NULL), optlist_str(o, "script", NULL), optlist_str(o, "downscript", NULL),
                       optlist_str(o, "fds", optlist_str(o, "fd", NULL)), 1, true };
    bool vhost;
    NetTap *t;

    if (!optlist_uint(o, "queues", 1, TAP_QUEUES_MAX, &opt.queues, err) || !optlist_bool(o, "vnet_hdr", true, &opt.header, err) ||
        !optlist_bool(o, "vhost", false, &vhost, err) || !optlist_check_unused(o, err))
        return NULL;
    if (vhost) {
        err_set(err, "vhost=on: quern moves frames itself; leave vhost= out");
        return NULL;
    }
    t = g_new0(NetTap, 1);
    t->port = net_port_new("tap", id, &tap_ops, t);
    if (!tap_start(t, &opt, err)) {
        net_port_free(t->port);
        return NULL;
    }
    return t->port;
}
