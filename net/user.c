/*
 * user: the user-mode network: libslirp behind a frame filter, driven by the GLib main loop.
 *
 * slirp runs on the main thread and, for frames a guest sends, on whichever thread holds the
 * machine lock; that lock is the only one it needs.
 */
#include "net/fragments.h"
#include "net/net_int.h"
#include "net/slirp_guard.h"
#include "util/bytes.h"
#include "util/log.h"

#include <arpa/inet.h>
#include <libslirp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ETH_HLEN = 14, GUEST_MTU = 1500, LOOK_BUDGET = 16, LOOK_FDS = 32 };

typedef struct UserFd {         /* a descriptor slirp wants polled */
    GPollFD poll;
    bool wanted;                /* asked for in this round */
} UserFd;

typedef struct NetUser {
    NetPort *port;
    Slirp *slirp;
    Fragments *fragments;
    GSource *source;
    GPtrArray *fds;             /* of UserFd; the index is slirp's */
    guint next_fd;              /* slirp asks in the same order each round: where to look first */
    bool woken;                 /* the main loop comes by anyway */
    bool blocked;               /* the card is full: host sockets are not read */
    bool pinged;                /* a ping to the outside was seen */
    uint32_t net, mask;         /* the virtual network */
    GPtrArray *forwards;        /* guestfwd streams */
    char *net_text;
    bool restricted;
} NetUser;

typedef struct UserSource {
    GSource source;
    NetUser *u;
} UserSource;

static GIOCondition to_glib(int events)
{
    return (events & SLIRP_POLL_IN ? G_IO_IN : 0) | (events & SLIRP_POLL_OUT ? G_IO_OUT : 0) |
           (events & SLIRP_POLL_PRI ? G_IO_PRI : 0) | (events & SLIRP_POLL_ERR ? G_IO_ERR : 0) |
           (events & SLIRP_POLL_HUP ? G_IO_HUP : 0);
}

static int from_glib(GIOCondition c)
{
    return (c & G_IO_IN ? SLIRP_POLL_IN : 0) | (c & G_IO_OUT ? SLIRP_POLL_OUT : 0) |
           (c & G_IO_PRI ? SLIRP_POLL_PRI : 0) | (c & G_IO_ERR ? SLIRP_POLL_ERR : 0) |
           (c & G_IO_HUP ? SLIRP_POLL_HUP : 0);
}

/* slirp asks for its descriptors anew each round. Only new ones are told to GLib, which wakes its poll for each;
   what to poll for is changed in place, since GLib looks at it when it polls. */
static int add_poll(int fd, int events, void *opaque)
{
    NetUser *u = opaque;
    GIOCondition want = to_glib(events) & (u->blocked ? ~(G_IO_IN | G_IO_PRI) : ~0);
    UserFd *f;

    for (guint i = 0; i < u->fds->len; i++) {
        guint at = (u->next_fd + i) % u->fds->len;

        f = g_ptr_array_index(u->fds, at);
        if (f->poll.fd != fd || f->wanted)
            continue;
        f->wanted = true;
        f->poll.events = want;
        u->next_fd = at + 1;
        return at;
    }
    f = g_new0(UserFd, 1);
    f->poll.fd = fd;
    f->poll.events = want;
    f->wanted = true;
    g_ptr_array_add(u->fds, f);
    g_source_add_poll(u->source, &f->poll);
    return u->fds->len - 1;
}

static int get_revents(int idx, void *opaque)
{
    NetUser *u = opaque;

    return idx < 0 || idx >= (int)u->fds->len ? 0 : from_glib(((UserFd *)g_ptr_array_index(u->fds, idx))->poll.revents);
}

static void forget_fd(NetUser *u, guint i)
{
    g_source_remove_poll(u->source, &((UserFd *)g_ptr_array_index(u->fds, i))->poll);
    g_ptr_array_remove_index(u->fds, i);
}

/* A descriptor slirp has no use for now keeps its place, unless it is closed or would end every poll at once. */
static void forget_unwanted(NetUser *u)
{
    for (guint i = u->fds->len; i-- > 0; ) {
        UserFd *f = g_ptr_array_index(u->fds, i);

        if (!f->wanted && f->poll.revents & (G_IO_HUP | G_IO_ERR | G_IO_NVAL))
            forget_fd(u, i);
    }
}

static void ask_slirp(NetUser *u, uint32_t *ms)
{
    u->next_fd = 0;
    for (guint i = 0; i < u->fds->len; i++) {
        UserFd *f = g_ptr_array_index(u->fds, i);

        f->wanted = false;
        f->poll.events = 0;
    }
    slirp_pollfds_fill(u->slirp, ms, add_poll, u);
}

static gboolean user_prepare(GSource *src, gint *timeout)
{
    NetUser *u = ((UserSource *)src)->u;
    uint32_t ms = UINT32_MAX;

    u->woken = false;
    ask_slirp(u, &ms);
    *timeout = ms == UINT32_MAX ? -1 : (gint)MIN(ms, G_MAXINT);
    return FALSE;
}

static gboolean user_check(GSource *src)
{
    return TRUE;                /* slirp's own timers and closed sockets need every round */
}

/* Looks again at few descriptors of which one had something: slirp takes one datagram of each at a time, and a round
   of the main loop for each would be slower than a guest can take them. False: nothing more now. */
static bool look_again(NetUser *u)
{
    struct pollfd fds[LOOK_FDS];
    bool had = false;
    uint32_t ms = 0;

    for (guint i = 0; i < u->fds->len; i++)
        had |= ((UserFd *)g_ptr_array_index(u->fds, i))->poll.revents & G_IO_IN;
    if (!had || u->blocked)
        return false;
    ask_slirp(u, &ms);
    if (u->fds->len > LOOK_FDS)
        return false;
    for (guint i = 0; i < u->fds->len; i++) {
        const UserFd *f = g_ptr_array_index(u->fds, i);

        fds[i] = (struct pollfd) { f->poll.fd, f->poll.events, 0 };
    }
    if (poll(fds, u->fds->len, 0) <= 0)
        return false;
    for (guint i = 0; i < u->fds->len; i++)
        ((UserFd *)g_ptr_array_index(u->fds, i))->poll.revents = fds[i].revents;
    slirp_pollfds_poll(u->slirp, 0, get_revents, u);
    return true;
}

static gboolean user_dispatch(GSource *src, GSourceFunc fn, gpointer data)
{
    NetUser *u = ((UserSource *)src)->u;

    slirp_pollfds_poll(u->slirp, 0, get_revents, u);
    for (int budget = LOOK_BUDGET; budget-- && look_again(u); )
        ;
    forget_unwanted(u);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs user_source_funcs = { user_prepare, user_check, user_dispatch, NULL, NULL, NULL };

static bool send_piece(void *opaque, const uint8_t *frame, size_t len)
{
    return net_send(((NetUser *)opaque)->port, frame, len);
}

/* slirp knows no MTU but that of TCP: datagrams longer than an ethernet frame are cut here. */
static ssize_t cb_send_packet(const void *buf, size_t len, void *opaque)
{
    NetUser *u = opaque;
    bool took = len > ETH_HLEN + GUEST_MTU ? fragments_cut(u->fragments, buf, len, GUEST_MTU, send_piece, u)
                                           : send_piece(u, buf, len);

    u->blocked = !took || u->blocked;
    return len;
}

static void wake(NetUser *u)
{
    if (!u->woken) {
        u->woken = true;
        g_main_context_wakeup(NULL);
    }
}

static void user_writable(void *opaque)
{
    NetUser *u = opaque;

    u->blocked = false;
    wake(u);
}

static void cb_guest_error(const char *msg, void *opaque)
{
    log_guest("user network: %s", msg);
}

static int64_t cb_clock(void *opaque)
{
    return g_get_monotonic_time() * NS_PER_US;
}

typedef struct UserTimer {
    NetUser *u;
    SlirpTimerId id;
    void *cb_opaque;
    guint source;
} UserTimer;

static gboolean timer_fired(gpointer opaque)
{
    UserTimer *t = opaque;

    t->source = 0;
    slirp_handle_timer(t->u->slirp, t->id, t->cb_opaque);
    return G_SOURCE_REMOVE;
}

static void *cb_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    UserTimer *t = g_new0(UserTimer, 1);

    *t = (UserTimer) { opaque, id, cb_opaque, 0 };
    return t;
}

static void cb_timer_free(void *timer, void *opaque)
{
    UserTimer *t = timer;

    if (t->source)
        g_source_remove(t->source);
    g_free(t);
}

static void cb_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    UserTimer *t = timer;
    int64_t now_ms = g_get_monotonic_time() / 1000;

    if (t->source)
        g_source_remove(t->source);
    t->source = g_timeout_add(MAX(expire_ms - now_ms, 0), timer_fired, t);
}

static void cb_fd(int fd, void *opaque)
{
}

static void cb_notify(void *opaque)
{
    g_main_context_wakeup(NULL);
}

static const SlirpCb callbacks = {
    .send_packet = cb_send_packet, .guest_error = cb_guest_error, .clock_get_ns = cb_clock,
    .timer_new_opaque = cb_timer_new, .timer_free = cb_timer_free, .timer_mod = cb_timer_mod,
    .register_poll_fd = cb_fd, .unregister_poll_fd = cb_fd, .notify = cb_notify,
};

/* The first ping that leaves the virtual network: does this host let its users ping (icmp(7))? */
static void check_ping(NetUser *u, const uint8_t *frame, size_t len)
{
    static const uint8_t icmp = 1, echo = 8;
    const uint8_t *ip = frame + 14;
    int fd;

    if (u->pinged || len < 14 + 20 + 8 || ld16_be(frame + 12) != 0x0800 || ip[9] != icmp || ip[(ip[0] & 15) * 4] != echo ||
        (ld32_be(ip + 16) & u->mask) == u->net)
        return;
    u->pinged = true;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (fd >= 0)
        close(fd);
    else
        log_warn("network %s: this host does not let you send pings for the guest; 'sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"' "
                 "allows it", u->port->id);
}

static bool user_receive(void *opaque, const uint8_t *frame, size_t len)
{
    NetUser *u = opaque;
    uint8_t copy[NET_FRAME_MAX], *whole = copy;
    const char *why = NULL;

    memcpy(copy, frame, len);
    if (slirp_guard(whole, len, &why) && fragment_is(whole, len)) {
        whole = fragments_join(u->fragments, copy, len, g_get_monotonic_time() / 1000, &len, &why);
        if (!whole && !why)
            return true;
        if (whole && slirp_guard(whole, len, &why) && fragment_is(whole, len))
            why = "a fragment in fragments";
    }
    if (why) {
        u->port->dropped++;
        trace(net_user_drop, "%s", why);
        return true;
    }
    check_ping(u, whole, len);
    slirp_input(u->slirp, whole, len);
    wake(u);                    /* its descriptors may have changed */
    return true;
}

static void user_destroy(void *opaque)
{
    NetUser *u = opaque;

    if (u->source) {
        g_source_destroy(u->source);
        g_source_unref(u->source);
    }
    if (u->slirp)
        slirp_cleanup(u->slirp);
    fragments_free(u->fragments);
    g_clear_pointer(&u->forwards, g_ptr_array_unref);
    g_ptr_array_unref(u->fds);
    g_free(u->net_text);
    g_free(u);
}

static char *user_describe(void *opaque)
{
    NetUser *u = opaque;

    return g_strdup_printf("type=user,net=%s,restrict=%s", u->net_text, u->restricted ? "on" : "off");
}

const NetPortOps net_user_ops = { .receive = user_receive, .writable = user_writable, .destroy = user_destroy,
                                 .describe = user_describe };

static bool get_addr(OptList *o, const char *key, struct in_addr *a, GError **err)
{
    const char *v = optlist_str(o, key, NULL);

    return !v || inet_pton(AF_INET, v, a) == 1 || err_set(err, "%s=%s: not an IPv4 address", key, v);
}

static bool get_addr6(OptList *o, const char *key, struct in6_addr *a, GError **err)
{
    const char *v = optlist_str(o, key, NULL);

    return !v || inet_pton(AF_INET6, v, a) == 1 || err_set(err, "%s=%s: not an IPv6 address", key, v);
}

/* net=10.0.2.0/24, net=10.0.2.0/255.255.255.0 or net=10.0.2.0: network and mask. */
static bool get_network(OptList *o, SlirpConfig *c, char **text, GError **err)
{
    const char *v = optlist_str(o, "net", "10.0.2.0/24"), *slash = strchr(v, '/');
    g_autofree char *addr = g_strndup(v, slash ? (gsize)(slash - v) : strlen(v));
    char *end = NULL;
    unsigned long bits = 24;

    if (inet_pton(AF_INET, addr, &c->vnetwork) != 1)
        return err_set(err, "net=%s: not an IPv4 network such as 10.0.2.0/24", v);
    if (slash && !strchr(slash, '.')) {
        bits = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end || bits < 4 || bits > 30)
            return err_set(err, "net=%s: the prefix length must be 4 to 30", v);
    }
    c->vnetmask.s_addr = htonl(~0u << (32 - bits));
    if (slash && strchr(slash, '.') && inet_pton(AF_INET, slash + 1, &c->vnetmask) != 1)
        return err_set(err, "net=%s: the mask is not an address", v);
    c->vnetwork.s_addr &= c->vnetmask.s_addr;
    *text = g_strdup(inet_ntoa(c->vnetwork));
    return true;
}

static bool get_ip4(OptList *o, SlirpConfig *c, char **text, GError **err)
{
    uint32_t net, mask;

    if (!get_network(o, c, text, err))
        return false;
    net = ntohl(c->vnetwork.s_addr);
    mask = ntohl(c->vnetmask.s_addr);
    c->vhost.s_addr = htonl(net | 2);
    c->vnameserver.s_addr = htonl(net | 3);
    c->vdhcp_start.s_addr = htonl(net | (15 & ~mask));
    if (!get_addr(o, "host", &c->vhost, err) || !get_addr(o, "dns", &c->vnameserver, err) ||
        !get_addr(o, "dhcpstart", &c->vdhcp_start, err))
        return false;
    if ((ntohl(c->vhost.s_addr) & mask) != net || (ntohl(c->vnameserver.s_addr) & mask) != net ||
        (ntohl(c->vdhcp_start.s_addr) & mask) != net)
        return err_set(err, "host=, dns= and dhcpstart= must lie inside net=%s", *text);
    if (c->vhost.s_addr == c->vnameserver.s_addr || c->vdhcp_start.s_addr == c->vhost.s_addr ||
        c->vdhcp_start.s_addr == c->vnameserver.s_addr)
        return err_set(err, "host=, dns= and dhcpstart= must be three different addresses");
    return true;
}

static bool get_ip6(OptList *o, SlirpConfig *c, GError **err)
{
    uint64_t len;

    inet_pton(AF_INET6, "fec0::", &c->vprefix_addr6);
    inet_pton(AF_INET6, "fec0::2", &c->vhost6);
    inet_pton(AF_INET6, "fec0::3", &c->vnameserver6);
    if (!get_addr6(o, "ipv6-net", &c->vprefix_addr6, err) || !get_addr6(o, "ipv6-prefix", &c->vprefix_addr6, err) ||
        !get_addr6(o, "ipv6-host", &c->vhost6, err) || !get_addr6(o, "ipv6-dns", &c->vnameserver6, err) ||
        !optlist_uint(o, "ipv6-prefixlen", 64, 126, &len, err))
        return false;
    c->vprefix_len = len;
    return true;
}

static bool fill_config(OptList *o, SlirpConfig *c, char **net_text, bool *restricted, GError **err)
{
    bool ip4, ip6;

    c->version = 4;
    c->if_mtu = NET_USER_MTU;   /* what slirp takes and gives whole; TCP segments go by the smaller if_mru */
    c->if_mru = GUEST_MTU;
    if (!get_ip4(o, c, net_text, err) || !get_ip6(o, c, err) ||
        !optlist_bool(o, "ipv4", true, &ip4, err) || !optlist_bool(o, "ipv6", true, &ip6, err) ||
        !optlist_bool(o, "restrict", false, restricted, err))
        return false;
    c->in_enabled = ip4;
    c->in6_enabled = ip6;
    c->restricted = *restricted;
    c->disable_host_loopback = *restricted;
    c->vhostname = optlist_str(o, "hostname", NULL);
    c->vdomainname = optlist_str(o, "domainname", NULL);
    c->tftp_path = optlist_str(o, "tftp", NULL);
    c->tftp_server_name = optlist_str(o, "tftp-server-name", NULL);
    c->bootfile = optlist_str(o, "bootfile", NULL);
    if (c->tftp_path && !g_file_test(c->tftp_path, G_FILE_TEST_IS_DIR))
        return err_set(err, "tftp=%s: no such folder", c->tftp_path);
    if (c->tftp_server_name && strlen(c->tftp_server_name) > 63)
        return err_set(err, "tftp-server-name= may have 63 characters at most");
    if (c->bootfile && strlen(c->bootfile) > 127)
        return err_set(err, "bootfile= may have 127 characters at most");
    if (c->vdomainname && strlen(c->vdomainname) > 255)
        return err_set(err, "domainname= may have 255 characters at most");
    return true;
}

typedef struct HostFwd {
    bool udp;
    struct in_addr haddr, gaddr;
    int hport, gport;
} HostFwd;

static bool parse_port(const char *text, int *port)
{
    char *end;
    unsigned long v = strtoul(text, &end, 10);

    *port = v;
    return end != text && !*end && v < 65536;
}

/* "tcp:[haddr]:hport-[gaddr]:gport"; the guest part is missing when removing. */
static bool parse_hostfwd(const char *rule, bool with_guest, HostFwd *f, GError **err)
{
    g_auto(GStrv) halves = g_strsplit(rule, "-", 2);
    g_auto(GStrv) host = g_strsplit(halves[0] ? halves[0] : "", ":", 3);
    unsigned n = g_strv_length(host);
    const char *addr = n == 3 ? host[1] : "", *form = "tcp|udp:[hostaddr]:hostport-[guestaddr]:guestport";

    memset(f, 0, sizeof *f);
    if (n < 2 || (n == 2 && with_guest))
        return err_set(err, "hostfwd=%s: expected %s", rule, form);
    f->udp = g_str_equal(host[0], "udp");
    if (!f->udp && !g_str_equal(host[0], "tcp") && *host[0])
        return err_set(err, "hostfwd=%s: '%s' is neither tcp nor udp", rule, host[0]);
    if ((*addr && inet_pton(AF_INET, addr, &f->haddr) != 1) || !parse_port(host[n - 1], &f->hport))
        return err_set(err, "hostfwd=%s: bad host address or port", rule);
    if (!with_guest)
        return true;
    g_auto(GStrv) guest = g_strsplit(halves[1] ? halves[1] : "", ":", 2);
    if (g_strv_length(guest) != 2)
        return err_set(err, "hostfwd=%s: expected %s", rule, form);
    if ((*guest[0] && inet_pton(AF_INET, guest[0], &f->gaddr) != 1) || !parse_port(guest[1], &f->gport) || !f->gport)
        return err_set(err, "hostfwd=%s: bad guest address or port", rule);
    return true;
}

static bool is_user(const NetPort *p, GError **err)
{
    return p->ops == &net_user_ops || p->ops == &net_isolated_ops ||
           err_set(err, "network '%s' is of type %s; port forwarding is for type user", p->id, p->type);
}

/* e: an errno value. Whoever has /proc says who has the port. */
static bool forward_failed(const char *rule, const HostFwd *f, int e, GError **err)
{
    g_autofree char *who = e == EADDRINUSE ? net_port_owner(f->udp, f->hport) : NULL;

    err_set(err, "could not set up host forwarding rule '%s': %s%s%s%s", rule, g_strerror(e),
            who ? " (port taken by " : e == EADDRINUSE ? " ('ss -lnp' shows by whom)" :
            e == EACCES ? " (ports below 1024 need privileges)" : "", who ? who : "", who ? ")" : "");
    errno = e;                  /* for an isolated network's starter */
    return false;
}

bool net_user_hostfwd_add(NetPort *p, const char *rule, GError **err)
{
    NetAnswer a;
    HostFwd f;

    if (!is_user(p, err) || !parse_hostfwd(rule, true, &f, err))
        return false;
    if (p->ops == &net_isolated_ops) {
        if (!net_isolated_ask(p, "add", rule, &a, err))
            return false;
        g_free(a.text);
        return !a.code || forward_failed(rule, &f, a.code, err);
    }
    errno = 0;
    return slirp_add_hostfwd(((NetUser *)p->opaque)->slirp, f.udp, f.haddr, f.hport, f.gaddr, f.gport) >= 0 ||
           forward_failed(rule, &f, errno, err);
}

bool net_user_hostfwd_remove(NetPort *p, const char *rule, GError **err)
{
    NetAnswer a;
    HostFwd f;
    bool found;

    if (!is_user(p, err) || !parse_hostfwd(rule, false, &f, err))
        return false;
    if (p->ops == &net_isolated_ops) {
        if (!net_isolated_ask(p, "remove", rule, &a, err))
            return false;
        g_free(a.text);
        found = !a.code;
    } else {
        found = slirp_remove_hostfwd(((NetUser *)p->opaque)->slirp, f.udp, f.haddr, f.hport) >= 0;
    }
    return found || err_set(err, "no host forwarding rule '%s' here", rule);
}

char *net_user_describe(NetPort *p)
{
    NetAnswer a = { 0 };

    if (p->ops == &net_isolated_ops)
        return net_isolated_ask(p, "info", "", &a, NULL) ? a.text : NULL;
    return p->ops == &net_user_ops ? slirp_connection_info(((NetUser *)p->opaque)->slirp) : NULL;
}

/* guestfwd=tcp:addr:port-cmd:COMMAND runs a command per connection; -tcp:host:port and -unix: are
   commands and sockets slirp knows itself. */
static bool add_guestfwd(NetUser *u, const char *rule, GError **err)
{
    g_auto(GStrv) halves = g_strsplit(rule, "-", 2);
    g_auto(GStrv) a = g_strsplit(halves[0] ? halves[0] : "", ":", 3);
    struct in_addr addr;
    int port, r;

    if (g_strv_length(a) != 3 || !halves[1] || inet_pton(AF_INET, a[1], &addr) != 1 || !parse_port(a[2], &port))
        return err_set(err, "guestfwd=%s: expected tcp:address:port-cmd:command or -unix:path", rule);
    if (g_str_has_prefix(halves[1], "cmd:"))
        r = slirp_add_exec(u->slirp, halves[1] + 4, &addr, port);
    else if (g_str_has_prefix(halves[1], "unix:"))
        r = slirp_add_unix(u->slirp, halves[1] + 5, &addr, port);
    else
        return err_set(err, "guestfwd=%s: the target must be cmd:COMMAND or unix:PATH", rule);
    return r == 0 || err_set(err, "guestfwd=%s: the address is outside the guest network or taken", rule);
}

static bool add_rules(NetPort *p, OptList *o, GError **err)
{
    g_autofree const char **host = optlist_all(o, "hostfwd"), **guest = optlist_all(o, "guestfwd");

    for (const char **r = host; *r; r++) {
        if (!net_user_hostfwd_add(p, *r, err))
            return false;
    }
    for (const char **r = guest; *r; r++) {
        if (!add_guestfwd(p->opaque, *r, err))
            return false;
    }
    return true;
}

NetPort *net_user_new(const char *id, OptList *o, GError **err)
{
    g_autofree const char **search = optlist_all(o, "dnssearch");
    g_autofree char *net_text = NULL;
    SlirpConfig cfg = { 0 };
    bool restricted, isolated;
    NetUser *u;

    if (!optlist_bool(o, "isolated", false, &isolated, err))
        return NULL;
    if (isolated)
        return net_isolated_new(id, o, err);
    if (!fill_config(o, &cfg, &net_text, &restricted, err))
        return NULL;
    cfg.vdnssearch = *search ? search : NULL;
    optlist_has(o, "hostfwd");
    optlist_has(o, "guestfwd");
    if (!optlist_check_unused(o, err))
        return NULL;
    u = g_new0(NetUser, 1);
    u->fds = g_ptr_array_new_with_free_func(g_free);
    u->net_text = g_steal_pointer(&net_text);
    u->restricted = restricted;
    u->net = ntohl(cfg.vnetwork.s_addr);
    u->mask = ntohl(cfg.vnetmask.s_addr);
    u->port = net_port_new("user", id, &net_user_ops, u);
    u->port->max_frame = NET_USER_FRAME_MAX;
    u->port->max_frame6 = NET_USER_MTU + ETH_HLEN;
    u->fragments = fragments_new();
    u->slirp = slirp_new(&cfg, &callbacks, u);
    if (!u->slirp) {
        err_set(err, "the user-mode network refused its addresses");
        net_port_free(u->port);
        return NULL;
    }
    u->source = g_source_new(&user_source_funcs, sizeof(UserSource));
    ((UserSource *)u->source)->u = u;
    g_source_set_name(u->source, "slirp");
    g_source_set_can_recurse(u->source, TRUE);  /* else each dispatch wakes the next poll; util/watch.h */
    g_source_attach(u->source, NULL);
    if (!add_rules(u->port, o, err)) {
        net_port_free(u->port);
        return NULL;
    }
    return u->port;
}
