/* fd: a file descriptor (or one for each direction) as a byte stream on the main loop. */
#include "chardev/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_CHUNK = 4096, BLOCKING_CHUNK = 256 };

static gboolean fd_readable(gint fd, GIOCondition cond, gpointer opaque)
{
    ChrFd *f = opaque;
    Chardev *c = f->chr;
    uint8_t buf[READ_CHUNK];
    size_t room = MIN(chr_be_room(c), sizeof buf);
    ssize_t n;

    if (!room) {
        f->in = 0;
        return G_SOURCE_REMOVE;         /* accept_input starts it again */
    }
    n = read(fd, buf, room);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    if (n <= 0) {
        f->in = 0;
        if (f->hangup)
            f->hangup(c);
        return G_SOURCE_REMOVE;
    }
    if (f->filter)
        n = f->filter(c, buf, n);
    if (n > 0)
        chr_be_receive(c, buf, n);
    return G_SOURCE_CONTINUE;
}

static gboolean fd_writable(gint fd, GIOCondition cond, gpointer opaque)
{
    ChrFd *f = opaque;

    f->out = 0;
    chr_be_writable(f->chr);
    return G_SOURCE_REMOVE;
}

void chr_fd_start(ChrFd *f, Chardev *c, int rfd, int wfd)
{
    struct stat st;

    f->chr = c;
    f->rfd = rfd;
    f->wfd = wfd;
    f->in = f->out = 0;
    f->regular = wfd >= 0 && fstat(wfd, &st) == 0 && S_ISREG(st.st_mode);
    f->may_block = wfd >= 0 && !f->regular && !(fcntl(wfd, F_GETFL) & O_NONBLOCK);
    chr_fd_watch_input(f);
}

void chr_fd_watch_input(ChrFd *f)
{
    if (f->rfd >= 0 && !f->in && chr_be_room(f->chr))
        f->in = g_unix_fd_add(f->rfd, G_IO_IN | G_IO_HUP | G_IO_ERR, fd_readable, f);
}

size_t chr_fd_write(ChrFd *f, const uint8_t *buf, size_t len)
{
    size_t done = 0;

    if (f->wfd < 0)
        return len;
    while (done < len) {
        size_t chunk = len - done;
        ssize_t n;

        if (f->may_block) {
            struct pollfd p = { .fd = f->wfd, .events = POLLOUT };

            chunk = MIN(chunk, BLOCKING_CHUNK);
            if (poll(&p, 1, 0) <= 0)
                break;
        }
        n = write(f->wfd, buf + done, chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return len;                 /* broken: the reader side will notice; bytes are lost */
        done += n;
    }
    if (done < len && !f->out)
        f->out = g_unix_fd_add(f->wfd, G_IO_OUT | G_IO_HUP | G_IO_ERR, fd_writable, f);
    return done;
}

void chr_fd_stop(ChrFd *f)
{
    if (f->in)
        g_source_remove(f->in);
    if (f->out)
        g_source_remove(f->out);
    f->in = f->out = 0;
    if (f->rfd >= 0)
        close(f->rfd);
    if (f->wfd >= 0 && f->wfd != f->rfd)
        close(f->wfd);
    f->rfd = f->wfd = -1;
}
