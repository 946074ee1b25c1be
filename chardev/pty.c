/*
 * pty: a pseudo terminal whose other side any terminal program can open.
 *
 * While nobody has it open, output vanishes; whether somebody has is polled, since the kernel tells
 * only by a hang-up state of the master side.
 */
#include "chardev/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

enum { POLL_MS = 250 };

typedef struct PtyChr {
    Chardev chr;
    ChrFd fd;                   /* live while somebody has the other side open */
    int master;
    char *slave, *link;
    guint poll;
} PtyChr;

static bool connected(const PtyChr *p)
{
    struct pollfd pfd = { .fd = p->master, .events = POLLIN };

    return poll(&pfd, 1, 0) >= 0 && !(pfd.revents & POLLHUP);
}

static gboolean pty_poll(gpointer opaque)
{
    PtyChr *p = opaque;

    if (!connected(p))
        return G_SOURCE_CONTINUE;
    p->poll = 0;
    chr_fd_start(&p->fd, &p->chr, p->master, p->master);
    chr_be_event(&p->chr, CHR_EVENT_OPEN);
    chr_fd_watch_input(&p->fd);
    return G_SOURCE_REMOVE;
}

static void pty_hangup(Chardev *c)
{
    PtyChr *p = container_of(c, PtyChr, chr);

    p->fd.rfd = p->fd.wfd = -1;         /* keep the master open */
    chr_fd_stop(&p->fd);
    chr_be_event(c, CHR_EVENT_CLOSE);
    p->poll = g_timeout_add(POLL_MS, pty_poll, p);
}

static bool pty_open(Chardev *c, OptList *opts, GError **err)
{
    PtyChr *p = container_of(c, PtyChr, chr);
    const char *link = optlist_str(opts, "path", NULL);
    struct termios t;
    char name[128];
    int slave;

    p->fd.rfd = p->fd.wfd = -1;
    p->fd.hangup = pty_hangup;
    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (p->master < 0)
        return err_set_errno(err, errno, "opening a pseudo terminal");
    if (grantpt(p->master) < 0 || unlockpt(p->master) < 0 || ptsname_r(p->master, name, sizeof name) != 0 ||
        (slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
        int e = errno;

        close(p->master);
        return err_set_errno(err, e, "setting up a pseudo terminal");
    }
    tcgetattr(slave, &t);
    cfmakeraw(&t);
    tcsetattr(slave, TCSAFLUSH, &t);
    close(slave);               /* from here on the master reports a hang-up until somebody opens it */
    if (link && symlink(name, link) < 0) {
        int e = errno;

        close(p->master);
        return err_set_errno(err, e, "making the link '%s' to %s", link, name);
    }
    p->slave = g_strdup(name);
    p->link = g_strdup(link);
    p->poll = g_timeout_add(POLL_MS, pty_poll, p);
    chr_be_message(c, "char device redirected to %s (label %s)", name, c->id);
    return true;
}

static void pty_close(Chardev *c)
{
    PtyChr *p = container_of(c, PtyChr, chr);

    if (p->poll)
        g_source_remove(p->poll);
    p->fd.rfd = p->fd.wfd = -1;
    chr_fd_stop(&p->fd);
    close(p->master);
    if (p->link)
        unlink(p->link);
    g_free(p->slave);
    g_free(p->link);
}

static size_t pty_write(Chardev *c, const uint8_t *buf, size_t len)
{
    PtyChr *p = container_of(c, PtyChr, chr);

    /* nobody listens any more, but the reading side has not noticed yet */
    if (!connected(p))
        return len;
    return chr_fd_write(&p->fd, buf, len);
}

static void pty_accept_input(Chardev *c)
{
    PtyChr *p = container_of(c, PtyChr, chr);

    if (c->open)
        chr_fd_watch_input(&p->fd);
}

static char *pty_describe(Chardev *c)
{
    return g_strdup_printf("pty:%s", container_of(c, PtyChr, chr)->slave);
}

const ChardevClass chardev_pty = {
    .name = "pty", .desc = "a new pseudo terminal; its name is printed",
    .size = sizeof(PtyChr), .open = pty_open, .close = pty_close, .write = pty_write,
    .accept_input = pty_accept_input, .describe = pty_describe,
};
