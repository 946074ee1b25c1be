/* portowner: which program of this host has a TCP or UDP port, from /proc (proc(5)). */
#include "net/net_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The inode of the socket bound to port; 0: none. TCP: listening ones only (state 0A). */
static unsigned long port_inode(const char *table, bool udp, unsigned port)
{
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(table, &text, NULL, NULL))
        return 0;
    lines = g_strsplit(text, "\n", -1);
    for (char **l = lines; *l; l++) {
        unsigned at, state;
        unsigned long inode;

        if (sscanf(*l, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*u %*d %lu", &at, &state, &inode) == 3 &&
            at == port && (udp || state == 0x0a))
            return inode;
    }
    return 0;
}

static bool holds_socket(const char *pid, const char *socket)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/fd", pid);
    GDir *d = g_dir_open(path, 0, NULL);
    const char *name;
    bool found = false;

    while (d && !found && (name = g_dir_read_name(d))) {
        g_autofree char *link = g_build_filename(path, name, NULL);
        char to[64];
        ssize_t n = readlink(link, to, sizeof to - 1);

        if (n > 0) {
            to[n] = 0;
            found = g_str_equal(to, socket);
        }
    }
    if (d)
        g_dir_close(d);
    return found;
}

char *net_port_owner(bool udp, unsigned port)
{
    unsigned long inode = port_inode(udp ? "/proc/net/udp" : "/proc/net/tcp", udp, port);
    g_autofree char *socket = NULL;
    const char *pid;
    char *out = NULL;
    GDir *d;

    if (!inode)
        inode = port_inode(udp ? "/proc/net/udp6" : "/proc/net/tcp6", udp, port);
    d = inode ? g_dir_open("/proc", 0, NULL) : NULL;
    socket = g_strdup_printf("socket:[%lu]", inode);
    while (d && !out && (pid = g_dir_read_name(d))) {
        if (g_ascii_isdigit(*pid) && holds_socket(pid, socket)) {
            g_autofree char *path = g_strdup_printf("/proc/%s/comm", pid), *comm = NULL;

            g_file_get_contents(path, &comm, NULL, NULL);
            out = g_strdup_printf("%s, process %s", comm ? g_strstrip(comm) : "a program", pid);
        }
    }
    if (d)
        g_dir_close(d);
    return out;
}
