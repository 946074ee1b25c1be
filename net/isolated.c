/*
 * isolated: the user network in a process of its own (-netdev user,isolated=on).
 *
 * The process is this program again, as "quern net-helper" (net/helper.c): it has no memory of the
 * guest and no files. Frames cross a socket pair behind their length; a second one carries
 * questions, each answered before the next. When the process ends, the guest sees its cable
 * pulled and everything else goes on.
 */
#include "net/net_int.h"

#include "util/bytes.h"
#include "util/log.h"
#include "util/watch.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_MS = 10000, ANSWER_MS = 5000 };

typedef struct Command {        /* guestfwd=...-cmd:COMMAND: run here, one per connection */
    char *command, *path;
    int fd;
    guint source;
} Command;

typedef struct NetIsolated {
    NetPort *port;
    NetFramer *framer;
    int control;                /* -1: the helper is gone */
    unsigned owed;              /* answers to come: late ones to earlier questions first */
    GPid pid;
    guint watch;
    char *describe;
    GPtrArray *commands;
    char *folder;               /* of the commands' sockets, or NULL */
} NetIsolated;

/* ---- commands of guestfwd ---- */
static void command_free(gpointer opaque)
{
    Command *c = opaque;

    if (c->source)
        g_source_remove(c->source);
    if (c->fd >= 0)
        close(c->fd);
    if (c->path)
        g_unlink(c->path);
    g_free(c->command);
    g_free(c->path);
    g_free(c);
}

static gboolean command_wanted(gint fd, GIOCondition cond, gpointer opaque)
{
    Command *c = opaque;
    int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
    g_auto(GStrv) argv = NULL;
    g_autoptr(GError) err = NULL;

    if (peer < 0)
        return G_SOURCE_CONTINUE;
    if (!g_shell_parse_argv(c->command, NULL, &argv, &err) ||
        !g_spawn_async_with_pipes_and_fds(NULL, (const char *const *)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                                          peer, peer, -1, NULL, NULL, 0, NULL, NULL, NULL, NULL, &err))
        log_warn("guestfwd command '%s': %s", c->command, err->message);
    close(peer);
    return G_SOURCE_CONTINUE;
}

static bool command_add(NetIsolated *s, const char *command, GError **err)
{
    Command *c = g_new0(Command, 1);
    NetAddr addr;

    c->fd = -1;
    c->command = g_strdup(command);
    g_ptr_array_add(s->commands, c);
    if (!s->folder && !(s->folder = g_dir_make_tmp("quern-net-XXXXXX", err)))
        return false;
    c->path = g_strdup_printf("%s/%u", s->folder, s->commands->len);
    if (!net_addr_unix(c->path, &addr, err))
        return false;
    c->fd = net_listen(&addr, c->path, err);
    if (c->fd < 0)
        return false;
    listen(c->fd, 128);         /* the helper's connect() would wait for a place */
    c->source = watch_fd(c->fd, G_IO_IN, command_wanted, c);
    return true;
}

/* The options as text for the helper; a command becomes a socket the helper connects to. */
static char *options_text(NetIsolated *s, OptList *o, GError **err)
{
    g_autoptr(GString) t = g_string_new("user");

    for (unsigned i = 0; i < o->items->len; i++) {
        OptItem *it = g_ptr_array_index(o->items, i);
        const char *cmd = g_str_equal(it->key, "guestfwd") ? strstr(it->value, "-cmd:") : NULL;
        g_autofree char *value = g_strdup(it->value);
        g_auto(GStrv) parts = NULL;

        it->used = true;        /* the helper checks them */
        if (g_str_equal(it->key, "type") || g_str_equal(it->key, "isolated"))
            continue;
        if (cmd) {
            if (!command_add(s, cmd + strlen("-cmd:"), err))
                return NULL;
            g_free(value);
            value = g_strdup_printf("%.*s-unix:%s", (int)(cmd - it->value), it->value,
                                    ((Command *)g_ptr_array_index(s->commands, s->commands->len - 1))->path);
        }
        parts = g_strsplit(value, ",", -1);
        g_free(value);
        value = g_strjoinv(",,", parts);
        g_string_append_printf(t, ",%s=%s", it->key, value);
    }
    return g_string_free(g_steal_pointer(&t), FALSE);
}

/* ---- questions and answers ---- */
static bool ask(NetIsolated *s, const char *question, int ms, NetAnswer *answer, GError **err)
{
    struct pollfd p = { .fd = s->control, .events = POLLIN };
    g_autofree char *buf = g_malloc(NET_ANSWER_MAX + 1);
    ssize_t n = 0;

    if (s->control < 0)
        return err_set(err, "the helper process of network '%s' has ended", s->port->id);
    if (send(s->control, question, strlen(question), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return err_set(err, "the helper process of network '%s' takes no questions", s->port->id);
    for (s->owed++; s->owed; s->owed--) {
        if (poll(&p, 1, ms) != 1 || (n = recv(s->control, buf, NET_ANSWER_MAX, MSG_DONTWAIT)) < 4)
            return err_set(err, "the helper process of network '%s' does not answer", s->port->id);
    }
    buf[n] = 0;
    answer->code = ld32_le(buf);
    answer->text = g_strdup(buf + 4);
    return true;
}

bool net_isolated_ask(NetPort *p, const char *verb, const char *argument, NetAnswer *answer, GError **err)
{
    g_autofree char *question = g_strdup_printf("%s %s", verb, argument);

    return ask(p->opaque, question, ANSWER_MS, answer, err);
}

/* ---- the process ---- */
static void helper_gone(void *opaque)
{
    NetIsolated *s = opaque;

    g_clear_pointer(&s->framer, net_framer_free);
    if (s->control >= 0)
        close(s->control);
    s->control = -1;
    net_port_set_link(s->port, false);
}

static void helper_ended(GPid pid, gint status, gpointer opaque)
{
    NetIsolated *s = opaque;

    s->watch = 0;
    g_spawn_close_pid(pid);
    s->pid = 0;
    helper_gone(s);
    log_warn("network %s: its helper process ended (%s %d); the guest's cable is pulled. "
             "device_del, netdev_del, netdev_add and device_add bring the network back", s->port->id,
              WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

static bool helper_start(NetIsolated *s, GError **err)
{
    static const char *const argv[] = { "/proc/self/exe", NET_HELPER_VERB, NULL };
    static const int child_fds[2] = { NET_HELPER_FRAMES, NET_HELPER_CONTROL };
    int frames[2] = { -1, -1 }, control[2] = { -1, -1 }, give[2];
    bool ok;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, frames) < 0)
        return err_set_errno(err, errno, "socket to the network's helper process");
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0) {
        close(frames[0]);
        close(frames[1]);
        return err_set_errno(err, errno, "socket to the network's helper process");
    }
    give[0] = frames[1];
    give[1] = control[1];
    ok = g_spawn_async_with_pipes_and_fds(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1, -1, -1, give,
                                          child_fds, 2, &s->pid, NULL, NULL, NULL, err);
    close(frames[1]);
    close(control[1]);
    s->control = control[0];
    s->framer = net_framer_new(s->port, frames[0], helper_gone, s);
    if (ok)
        s->watch = g_child_watch_add(s->pid, helper_ended, s);
    return ok || err_prefix(err, "the network's helper process");
}

static bool isolated_receive(void *opaque, const uint8_t *frame, size_t len)
{
    NetIsolated *s = opaque;

    return !s->framer || net_framer_send(s->framer, frame, len);
}

static void isolated_writable(void *opaque)
{
    net_framer_resume(((NetIsolated *)opaque)->framer);
}

static void isolated_destroy(void *opaque)
{
    NetIsolated *s = opaque;

    if (s->watch)
        g_source_remove(s->watch);
    net_framer_free(s->framer);
    if (s->control >= 0)
        close(s->control);
    if (s->pid) {               /* it ends with its sockets; a stuck one does not */
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        g_spawn_close_pid(s->pid);
    }
    g_ptr_array_unref(s->commands);
    if (s->folder)
        g_rmdir(s->folder);
    g_free(s->folder);
    g_free(s->describe);
    g_free(s);
}

static char *isolated_describe(void *opaque)
{
    NetIsolated *s = opaque;

    return g_strdup_printf("%s,isolated=on%s", s->describe, s->framer ? "" : ",ended");
}

const NetPortOps net_isolated_ops = {
    .receive = isolated_receive, .writable = isolated_writable, .destroy = isolated_destroy,
    .describe = isolated_describe,
};

NetPort *net_isolated_new(const char *id, OptList *o, GError **err)
{
    NetIsolated *s = g_new0(NetIsolated, 1);
    g_autofree char *text = NULL;
    NetAnswer a = { 0 };

    s->control = -1;
    s->commands = g_ptr_array_new_with_free_func(command_free);
    s->port = net_port_new("user", id, &net_isolated_ops, s);
    s->port->max_frame = NET_USER_FRAME_MAX;
    s->port->max_frame6 = NET_USER_MTU + 14;
    text = options_text(s, o, err);
    if (!text || !helper_start(s, err) || !ask(s, text, START_MS, &a, err))
        goto failed;
    if (a.code) {
        err_set(err, "%s", a.text);
        g_free(a.text);
        goto failed;
    }
    s->describe = a.text;
    return s->port;
failed:
    net_port_free(s->port);
    return NULL;
}
