/*
 * socket: TCP and Unix stream sockets, as server or client, with telnet and reconnection.
 *
 * A server takes one connection at a time. Telnet (RFC 854): the server asks for character mode,
 * doubles 255 in the output, strips commands from the input and turns IAC BRK into a break.
 */
#include "chardev/chardev_int.h"

#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { IAC = 255, T_DONT = 254, T_DO = 253, T_WONT = 252, T_WILL = 251, T_SB = 250, T_BREAK = 243, T_SE = 240 };
typedef enum { TEL_DATA, TEL_IAC, TEL_OPTION, TEL_SUB, TEL_SUB_IAC } TelnetState;

typedef struct SocketChr {
    Chardev chr;
    ChrFd fd;
    int listen_fd;
    char *host, *port, *path;   /* path: Unix socket */
    bool server, telnet, nodelay, unlink_path;
    unsigned reconnect_s;
    TelnetState tel;
    GByteArray *out;            /* telnet-quoted bytes accepted but not sent */
    guint listen_source, retry_source, connect_source;
    int connecting;             /* fd of a connection attempt, -1: none */
} SocketChr;

static void start_listening(SocketChr *s);
static void schedule_retry(SocketChr *s);

static void set_flags(int fd)
{
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static void connection_up(SocketChr *s, int fd)
{
    static const uint8_t hello[] = { IAC, T_WILL, 1, IAC, T_WILL, 3, IAC, T_WILL, 0, IAC, T_DO, 0 };
    int one = 1;

    set_flags(fd);
    if (!s->path && s->nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (s->listen_source)
        g_source_remove(s->listen_source);
    s->listen_source = 0;
    s->tel = TEL_DATA;
    g_byte_array_set_size(s->out, 0);
    chr_fd_start(&s->fd, &s->chr, fd, fd);
    if (s->telnet && s->server)
        chr_fd_write(&s->fd, hello, sizeof hello);
    chr_be_event(&s->chr, CHR_EVENT_OPEN);
    chr_fd_watch_input(&s->fd);
}

static void socket_hangup(Chardev *c)
{
    SocketChr *s = container_of(c, SocketChr, chr);

    chr_fd_stop(&s->fd);
    chr_be_event(c, CHR_EVENT_CLOSE);
    if (s->server)
        start_listening(s);
    else
        schedule_retry(s);
}

/* Takes telnet commands out of buf, in place. */
static size_t telnet_filter(Chardev *c, uint8_t *buf, size_t len)
{
    SocketChr *s = container_of(c, SocketChr, chr);
    size_t n = 0;

    if (!s->telnet)
        return len;
    for (size_t i = 0; i < len; i++) {
        uint8_t b = buf[i];

        switch (s->tel) {
        case TEL_DATA:
            if (b == IAC)
                s->tel = TEL_IAC;
            else if (b)         /* NUL pads carriage returns */
                buf[n++] = b;
            break;
        case TEL_IAC:
            s->tel = b == T_SB ? TEL_SUB : b >= T_WILL && b <= T_DONT ? TEL_OPTION : TEL_DATA;
            if (b == IAC)
                buf[n++] = b;
            else if (b == T_BREAK)
                chr_be_event(c, CHR_EVENT_BREAK);
            break;
        case TEL_OPTION:
            s->tel = TEL_DATA;
            break;
        case TEL_SUB:
            s->tel = b == IAC ? TEL_SUB_IAC : TEL_SUB;
            break;
        case TEL_SUB_IAC:
            s->tel = b == T_SE ? TEL_DATA : TEL_SUB;
            break;
        }
    }
    return n;
}

static gboolean on_incoming(gint fd, GIOCondition cond, gpointer opaque)
{
    SocketChr *s = opaque;
    int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (conn < 0)
        return G_SOURCE_CONTINUE;
    s->listen_source = 0;
    connection_up(s, conn);
    return G_SOURCE_REMOVE;
}

static void start_listening(SocketChr *s)
{
    if (!s->listen_source)
        s->listen_source = g_unix_fd_add(s->listen_fd, G_IO_IN, on_incoming, s);
}

/* ---- making sockets ---- */

static int unix_socket(SocketChr *s, GError **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd, rc;

    if (strlen(s->path) >= sizeof sa.sun_path) {
        err_set(err, "the socket path '%s' is longer than %zu bytes", s->path, sizeof sa.sun_path - 1);
        return -1;
    }
    strcpy(sa.sun_path, s->path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set_errno(err, errno, "making a socket");
        return -1;
    }
    if (s->server)
        unlink(s->path);        /* left over from a run before */
    rc = s->server ? bind(fd, (struct sockaddr *)&sa, sizeof sa) : connect(fd, (struct sockaddr *)&sa, sizeof sa);
    if (rc < 0 || (s->server && listen(fd, 1) < 0)) {
        err_set_errno(err, errno, s->server ? "listening on '%s'" : "connecting to '%s'", s->path);
        close(fd);
        return -1;
    }
    s->unlink_path = s->server;
    return fd;
}

static int tcp_socket(SocketChr *s, bool nonblock, GError **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = s->server ? AI_PASSIVE : 0 }, *list, *a;
    const char *host = *s->host ? s->host : s->server ? NULL : "localhost";
    int rc = getaddrinfo(host, s->port, &hints, &list), fd = -1, e = 0, one = 1;

    if (rc) {
        err_set(err, "address %s:%s: %s", s->host, s->port, gai_strerror(rc));
        return -1;
    }
    for (a = list; a; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0), a->ai_protocol);
        if (fd < 0)
            continue;
        if (s->server) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
            if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0)
                break;
        } else if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) {
            break;
        }
        e = errno;
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    if (fd < 0)
        err_set_errno(err, e, s->server ? "listening on %s:%s" : "connecting to %s:%s", s->host, s->port);
    return fd;
}

static int make_socket(SocketChr *s, bool nonblock, GError **err)
{
    return s->path ? unix_socket(s, err) : tcp_socket(s, nonblock, err);
}

static gboolean on_connected(gint fd, GIOCondition cond, gpointer opaque)
{
    SocketChr *s = opaque;
    int e = 0;
    socklen_t len = sizeof e;

    s->connect_source = 0;
    s->connecting = -1;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &len);
    if (e) {
        close(fd);
        schedule_retry(s);
    } else {
        connection_up(s, fd);
    }
    return G_SOURCE_REMOVE;
}

static gboolean retry(gpointer opaque)
{
    SocketChr *s = opaque;

    s->retry_source = 0;
    s->connecting = make_socket(s, true, NULL);
    if (s->connecting < 0)
        schedule_retry(s);
    else
        s->connect_source = g_unix_fd_add(s->connecting, G_IO_OUT | G_IO_ERR | G_IO_HUP, on_connected, s);
    return G_SOURCE_REMOVE;
}

static void schedule_retry(SocketChr *s)
{
    if (s->reconnect_s && !s->retry_source)
        s->retry_source = g_timeout_add_seconds(s->reconnect_s, retry, s);
}

/* ---- life ---- */

static void socket_close(Chardev *c)
{
    SocketChr *s = container_of(c, SocketChr, chr);
    guint *sources[] = { &s->listen_source, &s->retry_source, &s->connect_source };

    for (unsigned i = 0; i < ARRAY_LEN(sources); i++)
        if (*sources[i])
            g_source_remove(*sources[i]);
    chr_fd_stop(&s->fd);
    if (s->connecting >= 0)
        close(s->connecting);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->unlink_path)
        unlink(s->path);
    if (s->out)
        g_byte_array_unref(s->out);
    g_free(s->host);
    g_free(s->port);
    g_free(s->path);
}

static bool read_options(SocketChr *s, OptList *opts, bool *wait, uint64_t *inherited, GError **err)
{
    uint64_t reconnect, to;
    bool delay, v4, v6, has_fd = optlist_has(opts, "fd");

    if (!optlist_bool(opts, "server", false, &s->server, err) ||
        !optlist_bool(opts, "wait", s->server, wait, err) ||
        !optlist_bool(opts, "telnet", false, &s->telnet, err) ||
        !optlist_bool(opts, "delay", true, &delay, err) ||
        !optlist_bool(opts, "nodelay", !delay, &s->nodelay, err) ||
        !optlist_bool(opts, "ipv4", true, &v4, err) || !optlist_bool(opts, "ipv6", true, &v6, err) ||
        !optlist_uint(opts, "to", 0, 65535, &to, err) ||
        !optlist_uint(opts, "reconnect", 0, 86400, &reconnect, err) ||
        !optlist_uint(opts, "fd", 0, 1 << 20, inherited, err))
        return false;
    s->reconnect_s = reconnect;
    s->host = g_strdup(optlist_str(opts, "host", ""));
    s->port = g_strdup(optlist_str(opts, "port", NULL));
    s->path = g_strdup(optlist_str(opts, "path", NULL));
    if (!has_fd && !s->path == !s->port)
        return err_set(err, "socket needs either path= (a Unix socket) or host= and port= (TCP), or fd=");
    if (s->server && s->reconnect_s)
        return err_set(err, "reconnect is for clients, and server=on makes this a server");
    if (!has_fd)
        *inherited = UINT64_MAX;
    return true;
}

/* server=on,wait=on: nothing goes on until somebody has connected. */
static bool wait_for_client(SocketChr *s, GError **err)
{
    int conn;

    if (s->path)
        chr_be_message(&s->chr, "waiting for connection on: unix:%s", s->path);
    else
        chr_be_message(&s->chr, "waiting for connection on: %s:%s", s->host, s->port);
    do {
        conn = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    } while (conn < 0 && errno == EINTR);
    if (conn < 0)
        return err_set_errno(err, errno, "waiting for a connection");
    connection_up(s, conn);
    return true;
}

static bool socket_start(SocketChr *s, OptList *opts, GError **err)
{
    uint64_t inherited;
    bool wait;
    int fd;

    if (!read_options(s, opts, &wait, &inherited, err) || !optlist_check_unused(opts, err))
        return false;           /* before anything is done in the world */
    if (!s->server && s->reconnect_s && inherited == UINT64_MAX) {
        g_autoptr(GError) e = NULL;

        fd = make_socket(s, false, &e);
        if (fd < 0) {
            log_warn("chardev %s: %s; trying again every %u s", s->chr.id, e->message, s->reconnect_s);
            schedule_retry(s);
            return true;
        }
    } else {
        fd = inherited != UINT64_MAX ? (int)inherited : make_socket(s, false, err);
        if (fd < 0)
            return false;
        if (inherited != UINT64_MAX && fcntl(fd, F_GETFD) < 0)
            return err_set(err, "fd=%d is not an open file descriptor", fd);
    }
    if (!s->server) {
        connection_up(s, fd);
        return true;
    }
    s->listen_fd = fd;
    if (wait)
        return wait_for_client(s, err);
    set_flags(fd);
    start_listening(s);
    return true;
}

static bool socket_open(Chardev *c, OptList *opts, GError **err)
{
    SocketChr *s = container_of(c, SocketChr, chr);

    s->listen_fd = s->connecting = s->fd.rfd = s->fd.wfd = -1;
    s->fd.hangup = socket_hangup;
    s->fd.filter = telnet_filter;
    s->out = g_byte_array_new();
    if (socket_start(s, opts, err))
        return true;
    socket_close(c);
    return false;
}

static size_t flush_out(SocketChr *s)
{
    size_t n = chr_fd_write(&s->fd, s->out->data, s->out->len);

    g_byte_array_remove_range(s->out, 0, n);
    return s->out->len;
}

static size_t socket_write(Chardev *c, const uint8_t *buf, size_t len)
{
    static const uint8_t iac = IAC;
    SocketChr *s = container_of(c, SocketChr, chr);

    if (!s->telnet)
        return chr_fd_write(&s->fd, buf, len);
    if (s->out->len && flush_out(s))
        return 0;
    for (size_t i = 0; i < len; i++) {
        g_byte_array_append(s->out, &buf[i], 1);
        if (buf[i] == IAC)
            g_byte_array_append(s->out, &iac, 1);
    }
    flush_out(s);
    return len;
}

static void socket_accept_input(Chardev *c)
{
    if (c->open)
        chr_fd_watch_input(&container_of(c, SocketChr, chr)->fd);
}

static char *socket_describe(Chardev *c)
{
    SocketChr *s = container_of(c, SocketChr, chr);
    const char *server = s->server ? ",server=on" : "", *off = c->open ? "" : " (disconnected)";

    if (s->path)
        return g_strdup_printf("unix:%s%s%s", s->path, server, off);
    return g_strdup_printf("%s:%s:%s%s%s", s->telnet ? "telnet" : "tcp", s->host, s->port ? s->port : "fd", server, off);
}

const ChardevClass chardev_socket = {
    .name = "socket", .desc = "TCP (host=,port=) or Unix (path=) socket; server=on,wait=off, telnet=on, reconnect=S",
    .size = sizeof(SocketChr), .open = socket_open, .close = socket_close, .write = socket_write,
    .accept_input = socket_accept_input, .describe = socket_describe,
};

/* ---- UDP: each write is a datagram ---- */

typedef struct UdpChr {
    Chardev chr;
    ChrFd fd;
} UdpChr;

static int udp_end(const char *host, const char *port, bool local, int fd, GError **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_DGRAM, .ai_family = AF_INET, .ai_flags = local ? AI_PASSIVE : 0 };
    struct addrinfo *a;
    int rc = getaddrinfo(host, port, &hints, &a), e;

    if (rc) {
        err_set(err, "address %s:%s: %s", host ? host : "", port, gai_strerror(rc));
        return -1;
    }
    if (fd < 0)
        fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    rc = fd < 0 ? -1 : local ? bind(fd, a->ai_addr, a->ai_addrlen) : connect(fd, a->ai_addr, a->ai_addrlen);
    e = errno;
    freeaddrinfo(a);
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        err_set_errno(err, e, "UDP address %s:%s", host ? host : "", port);
        return -1;
    }
    return fd;
}

static bool udp_open(Chardev *c, OptList *opts, GError **err)
{
    const char *host = optlist_str(opts, "host", "localhost"), *port = optlist_str(opts, "port", NULL);
    const char *lhost = optlist_str(opts, "localaddr", NULL), *lport = optlist_str(opts, "localport", "0");
    int fd;

    if (!port)
        return err_set(err, "udp needs port=");
    fd = udp_end(lhost, lport, true, -1, err);
    if (fd >= 0)
        fd = udp_end(host, port, false, fd, err);
    if (fd < 0)
        return false;
    c->open = true;
    chr_fd_start(&container_of(c, UdpChr, chr)->fd, c, fd, fd);
    return true;
}

static void udp_close(Chardev *c)
{
    chr_fd_stop(&container_of(c, UdpChr, chr)->fd);
}

static size_t udp_write(Chardev *c, const uint8_t *buf, size_t len)
{
    return chr_fd_write(&container_of(c, UdpChr, chr)->fd, buf, len);
}

static void udp_accept_input(Chardev *c)
{
    chr_fd_watch_input(&container_of(c, UdpChr, chr)->fd);
}

const ChardevClass chardev_udp = {
    .name = "udp", .desc = "datagrams to host=,port= (localaddr=,localport=)",
    .size = sizeof(UdpChr), .open = udp_open, .close = udp_close, .write = udp_write,
    .accept_input = udp_accept_input,
};
