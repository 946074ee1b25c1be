/* sockaddr: addresses from option text, listening and connecting sockets. */
#include "net/net_int.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

bool net_resolve(const char *host, const char *port, bool passive, bool dgram, NetAddr *out, GError **err)
{
    struct addrinfo hints = { .ai_flags = passive ? AI_PASSIVE : 0, .ai_socktype = dgram ? SOCK_DGRAM : SOCK_STREAM };
    struct addrinfo *res;
    int r = getaddrinfo(host && *host ? host : NULL, port, &hints, &res);

    if (r)
        return err_set(err, "address %s:%s: %s", host ? host : "", port, gai_strerror(r));
    out->len = MIN(res->ai_addrlen, sizeof out->sa);
    memcpy(out->sa, res->ai_addr, out->len);
    out->family = res->ai_family;
    freeaddrinfo(res);
    return true;
}

bool net_resolve_hostport(const char *text, bool passive, bool dgram, NetAddr *out, GError **err)
{
    const char *colon = strrchr(text, ':');
    g_autofree char *host = colon ? g_strndup(text, colon - text) : NULL;

    if (!colon || !colon[1])
        return err_set(err, "'%s': expected host:port", text);
    return net_resolve(host, colon + 1, passive, dgram, out, err);
}

bool net_addr_unix(const char *path, NetAddr *out, GError **err)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof un.sun_path)
        return err_set(err, "socket path '%s' is longer than %zu characters", path, sizeof un.sun_path - 1);
    strcpy(un.sun_path, path);
    out->len = sizeof un;
    memcpy(out->sa, &un, sizeof un);
    out->family = AF_UNIX;
    return true;
}

int net_listen(const NetAddr *a, const char *what, GError **err)
{
    int one = 1, fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && a->family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd >= 0 && a->family == AF_UNIX)
        unlink(((struct sockaddr_un *)a->sa)->sun_path);
    if (fd < 0 || bind(fd, (void *)a->sa, a->len) || listen(fd, 1)) {
        int e = errno;

        if (fd >= 0)
            close(fd);
        if (e == EADDRINUSE && a->family != AF_UNIX) {
            const struct sockaddr_in *in = (const void *)a->sa;     /* the port is at the same place for IPv6 */
            g_autofree char *who = net_port_owner(false, ntohs(in->sin_port));

            if (who) {
                err_set(err, "listening on %s: %s (port taken by %s)", what, g_strerror(e), who);
                return -1;
            }
        }
        err_set_errno(err, e, "listening on %s", what);
        return -1;
    }
    return fd;
}

int net_connect_start(const NetAddr *a, const char *what, bool wait, GError **err)
{
    int fd = socket(a->family, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0 || (connect(fd, (void *)a->sa, a->len) && (wait || errno != EINPROGRESS))) {
        int e = errno;

        if (fd >= 0)
            close(fd);
        err_set_errno(err, e, "connecting to %s", what);
        return -1;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return fd;
}

static const char *sub(OptList *o, const char *prefix, const char *key)
{
    g_autofree char *name = g_strdup_printf("%s.%s", prefix, key);

    return optlist_str(o, name, NULL);
}

bool net_addr_from_opts(OptList *o, const char *prefix, bool passive, bool dgram, NetAddr *out, int *fd, GError **err)
{
    const char *type = sub(o, prefix, "type"), *host = sub(o, prefix, "host"), *port = sub(o, prefix, "port"),
               *path = sub(o, prefix, "path"), *str = sub(o, prefix, "str");
    char *end;

    *fd = -1;
    if (!type)
        return err_set(err, "%s.type= is missing (inet, unix or fd)", prefix);
    if (g_str_equal(type, "inet"))
        return host && port ? net_resolve(host, port, passive, dgram, out, err)
                            : err_set(err, "%s.host= and %s.port= are needed for type inet", prefix, prefix);
    if (g_str_equal(type, "unix"))
        return path ? net_addr_unix(path, out, err) : err_set(err, "%s.path= is needed for type unix", prefix);
    if (g_str_equal(type, "fd")) {
        *fd = str ? (int)strtol(str, &end, 10) : -1;
        return (*fd >= 0 && !*end && fcntl(*fd, F_GETFD) >= 0) ||
               err_set(err, "%s.str=%s: not an open file descriptor number", prefix, str ? str : "");
    }
    return err_set(err, "%s.type=%s: expected inet, unix or fd", prefix, type);
}
