/*
 * stdio: the terminal quern was started on, in raw mode while in use.
 *
 * The first terminal settings are kept in one static record, so that exit, suspension (Ctrl-Z in
 * cooked use, SIGTSTP) and crashes can put them back. At most one stdio back-end exists in a process.
 */
#include "chardev/chardev_int.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

typedef struct StdioChr {
    Chardev chr;
    ChrFd fd;
    bool signals;               /* Ctrl-C and friends end quern */
} StdioChr;

static struct {                 /* allow-listed global: the process has one controlling terminal */
    atomic_bool raw;            /* settings differ from saved */
    bool in_use, handlers;
    struct termios saved, wanted;
    pid_t pid;                  /* children that share the record must not restore */
} term;

static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT };

void chardev_restore_terminals(void)
{
    if (atomic_exchange(&term.raw, false) && term.pid == getpid())
        tcsetattr(STDIN_FILENO, TCSANOW, &term.saved);
}

static void on_fatal(int sig)
{
    chardev_restore_terminals();
    raise(sig);                 /* SA_RESETHAND: the default action now */
}

/* Only where nobody else (a sanitizer, the JIT) has a handler already. */
static void install_handlers(void)
{
    struct sigaction sa = { .sa_handler = on_fatal, .sa_flags = SA_RESETHAND | SA_NODEFER }, old;

    if (term.handlers)
        return;
    term.handlers = true;
    atexit(chardev_restore_terminals);
    for (unsigned i = 0; i < ARRAY_LEN(fatal_signals); i++)
        if (sigaction(fatal_signals[i], NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO) &&
            old.sa_handler == SIG_DFL)
            sigaction(fatal_signals[i], &sa, NULL);
}

static void apply(StdioChr *s)
{
    struct termios t = term.saved;

    if (!isatty(STDIN_FILENO))
        return;
    t.c_iflag &= ~(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    t.c_oflag |= OPOST;
    t.c_lflag &= ~(ECHO | ECHONL | ICANON | IEXTEN);
    if (!s->signals)
        t.c_lflag &= ~ISIG;
    t.c_cflag &= ~(CSIZE | PARENB);
    t.c_cflag |= CS8;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    term.wanted = t;
    atomic_store(&term.raw, true);
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

/* The shell put us in the foreground again after a stop, with its own settings in force. */
static void on_cont(int sig)
{
    int e = errno;

    if (atomic_load(&term.raw) && tcgetpgrp(STDIN_FILENO) == getpgrp())
        tcsetattr(STDIN_FILENO, TCSANOW, &term.wanted);
    errno = e;
}

/*
 * A descriptor for output that may be set non-blocking: the one we inherited shares its flags with
 * the shell, so open the same terminal or pipe once more. Files and sockets are used as they are.
 */
static int own_stdout(void)
{
    struct stat st;
    int fd = -1;

    if (fstat(STDOUT_FILENO, &st) == 0 && (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)))
        fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
}

static bool stdio_open(Chardev *c, OptList *opts, GError **err)
{
    StdioChr *s = container_of(c, StdioChr, chr);
    bool tty = isatty(STDIN_FILENO);
    int out;

    if (!optlist_bool(opts, "signal", true, &s->signals, err))
        return false;
    if (term.in_use)
        return err_set(err, "the terminal (stdio) is already in use; mux=on (or mon:stdio) lets several share it");
    out = own_stdout();
    if (out < 0)
        return err_set_errno(err, errno, "using standard output");
    term.in_use = true;
    term.pid = getpid();
    c->interactive = tty;
    c->open = true;
    if (tty) {
        struct sigaction sa = { .sa_handler = on_cont, .sa_flags = SA_RESTART };

        tcgetattr(STDIN_FILENO, &term.saved);
        install_handlers();
        apply(s);
        sigaction(SIGCONT, &sa, NULL);
    }
    chr_fd_start(&s->fd, c, fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3), out);
    return true;
}

static void stdio_close(Chardev *c)
{
    StdioChr *s = container_of(c, StdioChr, chr);

    chr_fd_stop(&s->fd);
    chardev_restore_terminals();
    term.in_use = false;
}

static size_t stdio_write(Chardev *c, const uint8_t *buf, size_t len)
{
    return chr_fd_write(&container_of(c, StdioChr, chr)->fd, buf, len);
}

static void stdio_accept_input(Chardev *c)
{
    chr_fd_watch_input(&container_of(c, StdioChr, chr)->fd);
}

const ChardevClass chardev_stdio = {
    .name = "stdio", .desc = "the terminal quern runs in (signal=off: Ctrl-C goes to the guest)",
    .size = sizeof(StdioChr), .open = stdio_open, .close = stdio_close, .write = stdio_write,
    .accept_input = stdio_accept_input,
};
