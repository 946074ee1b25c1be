/* parse: the short forms of -serial, -monitor, -parallel and -debugcon. */
#include "chardev/chardev_int.h"

#include <stdio.h>
#include <string.h>

static OptList *simple(const char *backend)
{
    OptList *l = optlist_new();

    optlist_add(l, "backend", backend);
    return l;
}

static OptList *with_path(const char *backend, const char *path)
{
    OptList *l = simple(backend);

    optlist_add(l, "path", path);
    return l;
}

/* "host:port,opt,opt=x" or "[v6]:port"; rest of the options by the option grammar. */
static OptList *parse_tcp(const char *text, bool telnet, GError **err)
{
    const char *comma = strchr(text, ',');
    g_autofree char *addr = comma ? g_strndup(text, comma - text) : g_strdup(text);
    char *colon = strrchr(addr, ':');
    OptList *l = comma ? optlist_parse(comma + 1, NULL, err) : optlist_new();

    if (!l)
        return NULL;
    if (!colon || !colon[1]) {
        err_set(err, "'%s' needs an address HOST:PORT", text);
        optlist_free(l);
        return NULL;
    }
    *colon = 0;
    if (addr[0] == '[' && colon > addr && colon[-1] == ']') {
        colon[-1] = 0;
        optlist_add(l, "host", addr + 1);
    } else {
        optlist_add(l, "host", addr);
    }
    optlist_add(l, "port", colon + 1);
    optlist_add(l, "backend", "socket");
    if (telnet)
        optlist_add(l, "telnet", "on");
    return l;
}

static OptList *parse_unix(const char *text, GError **err)
{
    const char *comma = strchr(text, ',');
    g_autofree char *path = comma ? g_strndup(text, comma - text) : g_strdup(text);
    OptList *l = comma ? optlist_parse(comma + 1, NULL, err) : optlist_new();

    if (!l)
        return NULL;
    if (g_str_has_prefix(path, "path="))
        optlist_add(l, "path", path + 5);
    else
        optlist_add(l, "path", path);
    optlist_add(l, "backend", "socket");
    return l;
}

/* "[remote_host]:remote_port[@[local_host]:local_port]" */
static OptList *parse_udp(const char *text, GError **err)
{
    g_auto(GStrv) ends = g_strsplit(text, "@", 2);
    OptList *l = simple("udp");

    for (int i = 0; ends[i]; i++) {
        char *colon = strrchr(ends[i], ':');

        if (!colon) {
            err_set(err, "'udp:%s' needs HOST:PORT", text);
            optlist_free(l);
            return NULL;
        }
        *colon = 0;
        if (*ends[i])
            optlist_add(l, i ? "localaddr" : "host", ends[i]);
        optlist_add(l, i ? "localport" : "port", colon + 1);
    }
    return l;
}

/* "80Cx24C" (characters) or "800x600" (pixels). */
static OptList *parse_vc(const char *size, GError **err)
{
    OptList *l = simple("vc");
    unsigned w, h;
    char cw[2] = "", ch[2] = "";
    int end = 0;

    if (!*size)
        return l;
    if (sscanf(size, "%5u%1[C]x%5u%1[C]%n", &w, cw, &h, ch, &end) == 4 && !size[end]) {
        g_autofree char *a = g_strdup_printf("%u", w), *b = g_strdup_printf("%u", h);

        optlist_add(l, "cols", a);
        optlist_add(l, "rows", b);
        return l;
    }
    if (sscanf(size, "%5ux%5u%n", &w, &h, &end) == 2 && end && !size[end]) {
        g_autofree char *a = g_strdup_printf("%u", w), *b = g_strdup_printf("%u", h);

        optlist_add(l, "width", a);
        optlist_add(l, "height", b);
        return l;
    }
    err_set(err, "'vc:%s' is not understood; use vc, vc:WIDTHxHEIGHT or vc:80Cx24C", size);
    optlist_free(l);
    return NULL;
}

static OptList *parse_text(const char *s, GError **err)
{
    static const char *const names[] = { "stdio", "mon:stdio", "pty", "null", "none", "vc", "file", "pipe", "tcp",
                                         "telnet", "unix", "udp", "chardev", "ringbuf", NULL };
    const char *near;

    if (g_str_has_prefix(s, "file:"))
        return with_path("file", s + 5);
    if (g_str_has_prefix(s, "pipe:"))
        return with_path("pipe", s + 5);
    if (g_str_has_prefix(s, "pty:"))
        return with_path("pty", s + 4);
    if (g_str_has_prefix(s, "vc:"))
        return parse_vc(s + 3, err);
    if (g_str_has_prefix(s, "tcp:"))
        return parse_tcp(s + 4, false, err);
    if (g_str_has_prefix(s, "telnet:"))
        return parse_tcp(s + 7, true, err);
    if (g_str_has_prefix(s, "unix:"))
        return parse_unix(s + 5, err);
    if (g_str_has_prefix(s, "udp:"))
        return parse_udp(s + 4, err);
    if (g_str_has_prefix(s, "/dev/"))
        return with_path("serial", s);
    for (const char *const *n = (const char *const[]){ "stdio", "pty", "null", "vc", "ringbuf", NULL }; *n; n++)
        if (strcmp(*n, s) == 0 || (g_str_has_prefix(s, *n) && s[strlen(*n)] == ','))
            return optlist_parse(s, "backend", err);
    near = nearest_name(s, names);
    err_set(err, "'%s' is not a character device%s%s%s", s, near ? " (did you mean '" : "", near ? near : "",
            near ? "'?)" : "; see -chardev help");
    return NULL;
}

Chardev *chardev_parse_short(ChardevSet *set, const char *id, const char *spec, bool *wants_monitor, GError **err)
{
    bool mon = g_str_has_prefix(spec, "mon:");
    g_autoptr(OptList) opts = NULL;

    if (wants_monitor)
        *wants_monitor = mon;
    if (mon)
        spec += 4;
    if (strcmp(spec, "none") == 0)
        return NULL;
    if (g_str_has_prefix(spec, "chardev:")) {
        Chardev *c = chardev_find(set, spec + 8);

        if (!c)
            err_set_code(err, ERR_NOT_FOUND, "no character device '%s'", spec + 8);
        return c;
    }
    opts = parse_text(spec, err);
    if (!opts)
        return NULL;
    optlist_add(opts, "id", id);
    if (mon) {
        optlist_add(opts, "mux", "on");
        if (strcmp(spec, "stdio") == 0)
            optlist_add(opts, "signal", "off");         /* Ctrl-C is for the guest; Ctrl-A x ends quern */
    }
    return chardev_create(set, opts, err);
}
