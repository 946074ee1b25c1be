/* files: back-ends on paths: file, named pipes, and a serial port of the host. */
#include "chardev/chardev_int.h"
#include "util/fdset.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

typedef struct FileChr {
    Chardev chr;
    ChrFd fd;
} FileChr;

static void file_close(Chardev *c)
{
    chr_fd_stop(&container_of(c, FileChr, chr)->fd);
}

static size_t file_write(Chardev *c, const uint8_t *buf, size_t len)
{
    return chr_fd_write(&container_of(c, FileChr, chr)->fd, buf, len);
}

static void file_accept_input(Chardev *c)
{
    chr_fd_watch_input(&container_of(c, FileChr, chr)->fd);
}

static bool file_open(Chardev *c, OptList *opts, GError **err)
{
    const char *path = optlist_str(opts, "path", NULL), *input = optlist_str(opts, "input-path", NULL);
    bool append;
    int out, in = -1;

    if (!optlist_bool(opts, "append", false, &append, err))
        return false;
    if (!path)
        return err_set(err, "file needs path=");
    out = fdset_open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (append ? O_APPEND : O_TRUNC), 0666);
    if (out < 0)
        return err_set_errno(err, errno, "opening '%s'", path);
    if (input) {
        in = fdset_open(input, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
        if (in < 0) {
            int e = errno;

            close(out);
            return err_set_errno(err, e, "opening '%s'", input);
        }
    }
    c->open = true;
    chr_fd_start(&container_of(c, FileChr, chr)->fd, c, in, out);
    return true;
}

const ChardevClass chardev_file = {
    .name = "file", .desc = "output goes to path= (append=on keeps what is there)",
    .size = sizeof(FileChr), .open = file_open, .close = file_close, .write = file_write,
    .accept_input = file_accept_input,
};

/* PATH.in and PATH.out, or PATH for both directions. Opened read-write so that they never see an end. */
static bool pipe_open(Chardev *c, OptList *opts, GError **err)
{
    const char *path = optlist_str(opts, "path", NULL);
    g_autofree char *p_in = NULL, *p_out = NULL;
    int in, out;

    if (!path)
        return err_set(err, "pipe needs path=");
    p_in = g_strconcat(path, ".in", NULL);
    p_out = g_strconcat(path, ".out", NULL);
    in = open(p_in, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    out = open(p_out, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (in < 0 || out < 0) {
        if (in >= 0)
            close(in);
        if (out >= 0)
            close(out);
        in = out = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        if (in < 0)
            return err_set_errno(err, errno, "opening the named pipe '%s' (or '%s' and '%s')", path, p_in, p_out);
    }
    c->open = true;
    chr_fd_start(&container_of(c, FileChr, chr)->fd, c, in, out);
    return true;
}

const ChardevClass chardev_pipe = {
    .name = "pipe", .desc = "named pipes PATH.in and PATH.out, or PATH",
    .size = sizeof(FileChr), .open = pipe_open, .close = file_close, .write = file_write,
    .accept_input = file_accept_input,
};

static void serial_break(Chardev *c)
{
    tcsendbreak(container_of(c, FileChr, chr)->fd.wfd, 0);
}

static bool serial_open(Chardev *c, OptList *opts, GError **err)
{
    const char *path = optlist_str(opts, "path", NULL);
    struct termios t;
    int fd;

    if (!path)
        return err_set(err, "serial needs path=");
    fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "opening '%s'", path);
    if (tcgetattr(fd, &t) < 0) {
        close(fd);
        return err_set(err, "'%s' is no serial port or terminal", path);
    }
    cfmakeraw(&t);
    t.c_cflag |= CLOCAL | CREAD;
    tcsetattr(fd, TCSANOW, &t);
    c->open = true;
    chr_fd_start(&container_of(c, FileChr, chr)->fd, c, fd, fd);
    return true;
}

const ChardevClass chardev_serial = {
    .name = "serial", .alias = "tty", .desc = "a serial port of the host, path=/dev/ttyS0",
    .size = sizeof(FileChr), .open = serial_open, .close = file_close, .write = file_write,
    .accept_input = file_accept_input, .send_break = serial_break,
};
