/* vnc_listen: where VNC servers listen, their options, and the thread that takes connections. */
#include "ui/vnc_int.h"

#include "util/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { VNC_PORT = 5900, WS_PORT = 5700, PAGES_MAX = 16 };

static bool room(VncServer *v, GError **err)
{
    return v->listeners < VNC_LISTENERS || err_set(err, "too many VNC listeners");
}

static int bind_one(const char *host, unsigned port, int *e)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list;
    g_autofree char *service = g_strdup_printf("%u", port);
    int fd = -1, one = 1;

    *e = EADDRNOTAVAIL;
    if (getaddrinfo(host, service, &hints, &list) != 0)
        return -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 16) < 0) {
            *e = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

unsigned vnc_listener_port(const VncListener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
        return 0;
    return ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
                                          : ((struct sockaddr_in *)&ss)->sin_port);
}

bool vnc_listen_tcp(VncServer *v, ListenKind kind, const char *host, unsigned port, unsigned to, GError **err)
{
    VncListener *l;
    int fd = -1, e = 0;
    unsigned p;

    if (!room(v, err))
        return false;
    if (!*host)
        host = "127.0.0.1";     /* nobody outside this computer, unless the user says so */
    for (p = port; p <= MAX(to, port) && fd < 0; p++)
        fd = bind_one(host, p, &e);
    if (fd < 0)
        return err_set_errno(err, e, "listening on %s:%u", host, port);
    l = &v->listener[v->listeners++];
    *l = (VncListener) { .fd = fd, .kind = kind };
    l->text = g_strdup_printf("%s:%u", host, vnc_listener_port(l));
    return true;
}

bool vnc_listen_unix(VncServer *v, const char *path, GError **err)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    mode_t old;
    int fd, rc;

    if (!room(v, err))
        return false;
    if (strlen(path) >= sizeof sa.sun_path)
        return err_set(err, "the socket path '%s' is too long", path);
    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set_errno(err, errno, "making a socket");
    unlink(path);
    old = umask(0177);          /* for its owner only */
    rc = bind(fd, (struct sockaddr *)&sa, sizeof sa);
    umask(old);
    if (rc < 0 || listen(fd, 16) < 0) {
        int e = errno;

        close(fd);
        return err_set_errno(err, e, "listening on '%s'", path);
    }
    v->listener[v->listeners++] = (VncListener) { .fd = fd, .kind = LISTEN_RFB, .unlink_path = g_strdup(path),
                                                  .text = g_strdup_printf("unix:%s", path) };
    return true;
}

/* ---- the acceptor ---- */

typedef struct PageJob { VncServer *v; int fd; } PageJob;

static gpointer page_thread(gpointer opaque)
{
    PageJob *j = opaque;
    VncServer *v = j->v;

    web_serve(v, j->fd);
    g_free(j);
    atomic_fetch_sub(&v->web_requests, 1);
    return NULL;
}

static void serve_page(VncServer *v, int fd)
{
    PageJob *j;
    GThread *t;

    if (atomic_load(&v->web_requests) >= PAGES_MAX) {
        close(fd);
        return;
    }
    j = g_new(PageJob, 1);
    *j = (PageJob) { v, fd };
    atomic_fetch_add(&v->web_requests, 1);
    t = g_thread_try_new("web", page_thread, j, NULL);
    if (t) {
        g_thread_unref(t);
    } else {
        atomic_fetch_sub(&v->web_requests, 1);
        close(fd);
        g_free(j);
    }
}

/* libvncserver looks for a websocket request first and so may wait here: not on the main thread. */
static gpointer accept_loop(gpointer opaque)
{
    VncServer *v = opaque;
    struct pollfd p[VNC_LISTENERS + 1];

    for (;;) {
        p[0] = (struct pollfd) { .fd = v->stop_fd, .events = POLLIN };
        for (int i = 0; i < v->listeners; i++)
            p[i + 1] = (struct pollfd) { .fd = v->listener[i].fd, .events = POLLIN };
        if (poll(p, v->listeners + 1, -1) < 0 && errno != EINTR)
            return NULL;
        if (p[0].revents)
            return NULL;
        for (int i = 0; i < v->listeners; i++) {
            int fd = p[i + 1].revents ? accept4(v->listener[i].fd, NULL, NULL, SOCK_CLOEXEC) : -1;

            if (fd < 0)
                continue;
            if (v->listener[i].kind == LISTEN_WEB)
                serve_page(v, fd);
            else
                vnc_adopt_client(v, fd);
        }
    }
}

bool vnc_start_acceptor(VncServer *v, GError **err)
{
    v->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (v->stop_fd < 0)
        return err_set_errno(err, errno, "eventfd");
    v->acceptor = g_thread_new("vnc", accept_loop, v);
    return true;
}

/* ---- -vnc ---- */

typedef struct VncOptions { bool password; unsigned to, websocket; bool has_websocket; } VncOptions;

static bool read_options(OptList *l, unsigned display, VncOptions *o, GError **err)
{
    const char *share = optlist_str(l, "share", "allow-exclusive"), *ws = optlist_str(l, "websocket", NULL);
    bool ignored;
    uint64_t to, n;

    if (!optlist_bool(l, "password", false, &o->password, err) || !optlist_bool(l, "lossy", false, &ignored, err) ||
        !optlist_bool(l, "non-adaptive", false, &ignored, err) || !optlist_bool(l, "power-control", false, &ignored, err) ||
        !optlist_uint(l, "to", 0, 65535 - VNC_PORT, &to, err) || !optlist_uint(l, "key-delay-ms", 0, 1000, &n, err))
        return false;
    (void)optlist_str(l, "audiodev", NULL);
    (void)optlist_str(l, "id", NULL);
    o->to = to ? to + VNC_PORT : 0;
    if (strcmp(share, "allow-exclusive") && strcmp(share, "force-shared") && strcmp(share, "ignore"))
        return err_set(err, "share is allow-exclusive, force-shared or ignore, not '%s'", share);
    if (ws) {
        bool on = false;

        o->has_websocket = true;
        o->websocket = WS_PORT + display;
        if (g_ascii_isdigit(*ws)) {
            if (!parse_uint_text(ws, 65535, &n, err))
                return false;
            o->websocket = n;
        } else if (!parse_bool_text(ws, &on, err)) {
            return false;
        } else {
            o->has_websocket = on;
        }
    }
    return optlist_check_unused(l, err);
}

static bool open_listeners(VncServer *v, const char *addr, const VncOptions *o, unsigned display, GError **err)
{
    g_autofree char *host = NULL;

    if (g_str_has_prefix(addr, "unix:"))
        return vnc_listen_unix(v, addr + 5, err);
    host = g_strndup(addr, strrchr(addr, ':') - addr);
    if (host[0] == '[' && g_str_has_suffix(host, "]")) {
        host[strlen(host) - 1] = 0;
        memmove(host, host + 1, strlen(host));
    }
    return vnc_listen_tcp(v, LISTEN_RFB, host, VNC_PORT + display, o->to, err) &&
           (!o->has_websocket || vnc_listen_tcp(v, LISTEN_RFB, host, o->websocket, 0, err));
}

bool display_open_vnc(Ui *ui, const char *spec, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(spec, "address", err);
    const char *addr, *colon;
    uint64_t display = 0;
    VncOptions o = { 0 };
    VncServer *v;

    if (!l)
        return false;
    addr = optlist_str(l, "address", "");
    if (strcmp(addr, "none") == 0)
        return optlist_check_unused(l, err);
    colon = strrchr(addr, ':');
    if (!g_str_has_prefix(addr, "unix:") && (!colon || !parse_uint_text(colon + 1, 65535 - VNC_PORT, &display, NULL)))
        return err_set(err, "'%s' is no VNC address; use HOST:DISPLAY, :DISPLAY or unix:PATH", addr);
    if (!read_options(l, display, &o, err))
        return false;
    v = vnc_server_new(ui, err);
    if (!v)
        return false;
    v->use_password = o.password;
    if (o.password)
        v->screen->authPasswdData = v;
    if (!open_listeners(v, addr, &o, display, err) || !vnc_start_acceptor(v, err)) {
        vnc_server_free(v);
        return false;
    }
    log_info("VNC server running on %s%s", v->listener[0].text,
             o.password ? "; nobody gets in until the monitor's \"change vnc password\" sets one" : "");
    return true;
}

bool display_vnc_set_password(Ui *ui, const char *password, GError **err)
{
    bool any = false;

    for (VncServer *v = ui->vnc; v; v = v->next) {
        if (!v->use_password)
            continue;
        g_mutex_lock(&v->lock);
        memset(v->password, 0, sizeof v->password);
        memcpy(v->password, password, MIN(strlen(password), 8));
        g_mutex_unlock(&v->lock);
        any = true;
    }
    return any || err_set(err, "no VNC server with password=on is running");
}

char *display_vnc_describe(Ui *ui)
{
    GString *s = g_string_new(NULL);

    for (VncServer *v = ui->vnc; v; v = v->next) {
        for (int i = 0; i < v->listeners; i++)
            g_string_append_printf(s, "Server: %s (%s)\n", v->listener[i].text,
                                   v->listener[i].kind == LISTEN_WEB ? "web page" : "VNC");
        g_string_append_printf(s, "  auth: %s\n  clients: %d\n", v->use_password ? "vnc" : v->session[0] ? "token" : "none",
                               atomic_load(&v->clients));
    }
    if (!s->len)
        g_string_append(s, "Server: disabled\n");
    return g_string_free(s, FALSE);
}

static bool vnc_open(Ui *ui, OptList *opts, GError **err)
{
    GString *spec = g_string_new(optlist_str(opts, "vnc", ":0"));
    bool ok;

    ok = display_open_vnc(ui, spec->str, err);
    g_string_free(spec, TRUE);
    return ok;
}

const DisplayKind display_vnc = { "vnc", "a VNC server, -display vnc=:0 (loopback unless a host is given)", true, vnc_open };
