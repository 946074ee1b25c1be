/*
 * web: the screen as a page for any browser: a small HTTP server in front of the VNC server.
 *
 * Loopback only. The printed address carries a token that works once; the page it opens gets a cookie,
 * and only a request with that cookie becomes a VNC connection (a websocket, which libvncserver speaks).
 */
#include "ui/vnc_int.h"

#include "util/log.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_MAX = 4096, HEADER_MS = 3000 };

void web_new_token(char out[33])
{
    uint8_t raw[16];

    if (getrandom(raw, sizeof raw, 0) != sizeof raw)
        for (unsigned i = 0; i < sizeof raw; i++)
            raw[i] = g_random_int();
    for (unsigned i = 0; i < sizeof raw; i++)
        g_snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

static bool same_secret(const char *want, const char *got, size_t len)
{
    unsigned char diff = len != 32 || !want[0];

    for (size_t i = 0; i < 32 && i < len; i++)
        diff |= want[i] ^ got[i];
    return diff == 0;
}

/* Looks at the request without taking it off the socket: a websocket is handed on untouched. */
static ssize_t peek_header(int fd, char *buf, size_t size)
{
    int64_t end = g_get_monotonic_time() + HEADER_MS * 1000;

    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        int left = (end - g_get_monotonic_time()) / 1000;
        ssize_t n;

        if (left <= 0 || poll(&p, 1, left) <= 0)
            return -1;
        n = recv(fd, buf, size - 1, MSG_PEEK | MSG_DONTWAIT);
        if (n <= 0)
            return -1;
        buf[n] = 0;
        if (strstr(buf, "\r\n\r\n"))
            return n;
        if (n == (ssize_t)size - 1)
            return -1;
        g_usleep(10000);        /* the poll above returns at once while there is data */
    }
}

static void answer(int fd, const char *status, const char *type, const char *extra, const char *body)
{
    g_autofree char *text = g_strdup_printf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
        "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
        "%s\r\n%s", status, type, strlen(body), extra, body);
    size_t len = strlen(text), done = 0;

    while (done < len) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        ssize_t n;

        if (poll(&p, 1, HEADER_MS) <= 0)
            return;
        n = send(fd, text + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0 && errno != EAGAIN)
            return;
        done += MAX(n, 0);
    }
    shutdown(fd, SHUT_WR);
}

/* The value that follows key in one header line that starts with name; NULL if there is none. */
static const char *header_value(const char *header, const char *name, const char *key, size_t *len)
{
    const char *p = header, *v;

    while ((p = strstr(p, "\r\n")) && strncmp(p, "\r\n\r\n", 4) != 0) {
        p += 2;
        if (g_ascii_strncasecmp(p, name, strlen(name)) != 0)
            continue;
        v = strstr(p, key);
        if (!v || v > strstr(p, "\r\n"))
            continue;
        v += strlen(key);
        *len = strcspn(v, "; \r\n");
        return v;
    }
    return NULL;
}

/* A page of another site must not open the websocket: its Origin names another host. */
static bool origin_ok(const char *header)
{
    size_t olen, hlen;
    const char *origin = header_value(header, "Origin:", "://", &olen), *host = header_value(header, "Host:", ": ", &hlen);

    return origin && host && olen == hlen && memcmp(origin, host, olen) == 0;
}

/* With the token once, or the cookie it gave: the page. */
static void send_page(VncServer *v, int fd, const char *header)
{
    const char *token = strstr(header, "?token="), *cookie, *line_end = strstr(header, "\r\n");
    g_autofree char *extra = NULL;
    size_t len = 0;
    bool ok;

    cookie = header_value(header, "Cookie:", "quern=", &len);
    g_mutex_lock(&v->lock);
    ok = cookie && same_secret(v->session, cookie, len);
    if (!ok && token && token < line_end && same_secret(v->token, token + 7, strcspn(token + 7, "& \r\n"))) {
        memset(v->token, 0, sizeof v->token);
        web_new_token(v->session);
        ok = true;
    }
    extra = g_strdup_printf("Set-Cookie: quern=%s; HttpOnly; SameSite=Strict; Path=/\r\n"
                            "Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; "
                            "style-src 'unsafe-inline'; img-src data:; connect-src 'self' ws:\r\n", v->session);
    g_mutex_unlock(&v->lock);
    if (ok)
        answer(fd, "200 OK", "text/html; charset=utf-8", extra, web_page);
    else
        answer(fd, "403 Forbidden", "text/plain", "", "This address was used before or is not complete. Take the one quern "
               "printed, or the monitor's \"info vnc\".\n");
}

void web_serve(VncServer *v, int fd)
{
    char header[HEADER_MAX], drop[HEADER_MAX];
    ssize_t n = peek_header(fd, header, sizeof header);
    size_t len = 0;
    const char *cookie;
    bool ok;

    if (n < 0 || strncmp(header, "GET /", 5) != 0) {
        close(fd);
        return;
    }
    if (header_value(header, "Upgrade:", "websocket", &len)) {
        cookie = header_value(header, "Cookie:", "quern=", &len);
        g_mutex_lock(&v->lock);
        ok = cookie && same_secret(v->session, cookie, len) && origin_ok(header);
        g_mutex_unlock(&v->lock);
        if (ok) {
            vnc_adopt_client(v, fd);
            return;
        }
        answer(fd, "403 Forbidden", "text/plain", "", "no\n");
    } else if (recv(fd, drop, n, MSG_DONTWAIT) == n) {
        if (strncmp(header, "GET / ", 6) == 0 || strncmp(header, "GET /?", 6) == 0)
            send_page(v, fd, header);
        else
            answer(fd, "404 Not Found", "text/plain", "", "nothing here\n");
    }
    close(fd);
}

static bool web_open(Ui *ui, OptList *opts, GError **err)
{
    const char *host = optlist_str(opts, "host", "127.0.0.1");
    uint64_t port;
    VncServer *v;

    if (!optlist_uint(opts, "port", 0, 65535, &port, err) || !optlist_check_unused(opts, err))
        return false;
    v = vnc_server_new(ui, err);
    if (!v)
        return false;
    web_new_token(v->token);
    v->by_position = true;
    if (!vnc_listen_tcp(v, LISTEN_WEB, host, port, 0, err) || !vnc_start_acceptor(v, err)) {
        vnc_server_free(v);
        if (err && *err)
            (*err)->code = ERR_UNSUPPORTED;     /* a taken port: another display may do */
        return false;
    }
    log_info("the screen is at http://%s/?token=%s", v->listener[0].text, v->token);
    return true;
}

const DisplayKind display_web = { "web", "a page for a browser on this computer; its address is printed", true, web_open };
