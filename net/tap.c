/* tap: a host TAP interface: by name (needs CAP_NET_ADMIN) or by an inherited descriptor. */
#include "net/net_int.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TAP_BUDGET = 64 };

typedef struct NetTap {
    NetPort *port;
    int fd;
    guint in, out;
    char ifname[IFNAMSIZ];
    char *downscript;
} NetTap;

static gboolean tap_readable(gint fd, GIOCondition c, gpointer opaque)
{
    NetTap *t = opaque;
    uint8_t buf[NET_FRAME_MAX];

    for (int budget = TAP_BUDGET; budget--; ) {
        ssize_t n = read(fd, buf, sizeof buf);

        if (n <= 0)
            break;
        if (!net_send(t->port, buf, n)) {
            t->in = 0;
            return G_SOURCE_REMOVE;
        }
    }
    return G_SOURCE_CONTINUE;
}

static gboolean tap_can_write(gint fd, GIOCondition c, gpointer opaque)
{
    NetTap *t = opaque;

    t->out = 0;
    net_port_ready(t->port);
    return G_SOURCE_REMOVE;
}

static bool tap_receive(void *opaque, const uint8_t *frame, size_t len)
{
    NetTap *t = opaque;

    if (write(t->fd, frame, len) < 0 && errno == EAGAIN) {
        if (!t->out)
            t->out = g_unix_fd_add(t->fd, G_IO_OUT, tap_can_write, t);
        return false;
    }
    return true;
}

static void tap_writable(void *opaque)
{
    NetTap *t = opaque;

    if (!t->in)
        t->in = g_unix_fd_add(t->fd, G_IO_IN, tap_readable, t);
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

    if (t->in)
        g_source_remove(t->in);
    if (t->out)
        g_source_remove(t->out);
    if (!run_script(t->downscript, t->ifname, &err))
        log_warn("%s", err->message);
    if (t->fd >= 0)
        close(t->fd);
    g_free(t->downscript);
    g_free(t);
}

static char *tap_describe(void *opaque)
{
    NetTap *t = opaque;

    return *t->ifname ? g_strdup_printf("type=tap,ifname=%s", t->ifname) : g_strdup_printf("type=tap,fd=%d", t->fd);
}

static const NetPortOps tap_ops = { tap_receive, tap_writable, NULL, tap_destroy, tap_describe };

static int tap_open(const char *ifname, char out[IFNAMSIZ], GError **err)
{
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        err_set_errno(err, errno, "/dev/net/tun (in a container, pass --device /dev/net/tun)");
        return -1;
    }
    if (ifname)
        g_strlcpy(ifr.ifr_name, ifname, IFNAMSIZ);
    if (ioctl(fd, TUNSETIFF, &ifr)) {
        int e = errno;

        close(fd);
        err_set_errno(err, e, "tap interface %s%s", ifname ? ifname : "",
                      e == EPERM ? " (create it first: ip tuntap add NAME mode tap user YOU)" : "");
        return -1;
    }
    g_strlcpy(out, ifr.ifr_name, IFNAMSIZ);
    return fd;
}

NetPort *net_tap_new(const char *id, OptList *o, GError **err)
{
    const char *ifname = optlist_str(o, "ifname", NULL), *script = optlist_str(o, "script", NULL),
               *down = optlist_str(o, "downscript", NULL), *fdt = optlist_str(o, "fd", NULL);
    uint64_t fd, queues;
    bool vhost;
    NetTap *t;

    if (!optlist_uint(o, "fd", 0, G_MAXINT, &fd, err) || !optlist_uint(o, "queues", 1, 1, &queues, err) ||
        !optlist_bool(o, "vhost", false, &vhost, err) || !optlist_check_unused(o, err))
        return NULL;
    if (vhost) {
        err_set(err, "vhost=on: quern moves frames itself; leave vhost= out");
        return NULL;
    }
    t = g_new0(NetTap, 1);
    t->port = net_port_new("tap", id, &tap_ops, t);
    t->fd = fdt ? (int)fd : tap_open(ifname, t->ifname, err);
    if (t->fd < 0 || (fdt && fcntl(t->fd, F_SETFL, O_NONBLOCK) < 0)) {
        if (fdt)
            err_set_errno(err, errno, "fd=%s", fdt);
        net_port_free(t->port);
        return NULL;
    }
    if (!fdt && !run_script(script, t->ifname, err)) {
        net_port_free(t->port);
        return NULL;
    }
    t->downscript = fdt ? NULL : g_strdup(down);
    t->in = g_unix_fd_add(t->fd, G_IO_IN, tap_readable, t);
    return t->port;
}
