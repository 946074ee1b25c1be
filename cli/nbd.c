/*
 * nbd: `quern nbd`, also as qemu-nbd: serves an image to NBD clients on a Unix or TCP socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "block/nbd.h"
#include "util/bytes.h"
#include "util/log.h"

int nbd_main(int argc, char **argv);

typedef struct Args {
    const char *sock, *bind, *port, *fmt, *name, *desc, *cache, *pidfile, *snap, *policy;
    bool read_only, persistent, verbose, snapshot, image_opts, fork_off, unmap, list;
    unsigned shared;
    uint64_t offset;
} Args;

typedef struct Session { const NbdExport *e; int fd; gint *active, *used; bool verbose; } Session;

static volatile sig_atomic_t stop_asked;
static void on_stop(int sig) { stop_asked = 1; }

static int fail(const char *text, GError *err)
{
    fprintf(stderr, "quern nbd: %s%s%s\n", text, err ? ": " : "", err ? err->message : "");
    g_clear_error(&err);
    return 1;
}

static void *session(void *opaque)
{
    Session *s = opaque;
    g_autoptr(GError) err = NULL;
    bool used = false;

    if (!nbd_serve(s->e, s->fd, &used, &err) && s->verbose)
        fprintf(stderr, "quern nbd: %s\n", err->message);
    close(s->fd);
    if (used)
        g_atomic_int_set(s->used, 1);
    g_atomic_int_dec_and_test(s->active);
    g_free(s);
    return NULL;
}

static int listen_unix(const char *path, GError **err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mode_t old = umask(0077);           /* only this user may connect */

    if (strlen(path) >= sizeof a.sun_path) {
        umask(old);
        close(fd);
        err_set(err, "socket path '%s' is too long", path);
        return -1;
    }
    strcpy(a.sun_path, path);
    unlink(path);
    int r = bind(fd, (struct sockaddr *)&a, sizeof a);
    umask(old);
    if (r < 0 || listen(fd, 64) < 0) {
        err_set_errno(err, errno, "Failed to bind socket to %s", path);
        close(fd);
        return -1;
    }
    return fd;
}

static int listen_tcp(const char *host, const char *port, GError **err)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    int e = getaddrinfo(host, port, &hints, &list), fd = -1;

    if (e) {
        err_set(err, "%s:%s: %s", host, port, gai_strerror(e));
        return -1;
    }
    fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int) { 1 }, sizeof(int));
    if (bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, 64) < 0) {
        err_set_errno(err, errno, "Failed to listen on %s:%s", host, port);
        close(fd);
        fd = -1;
    }
    freeaddrinfo(list);
    return fd;
}

/* Until the last client that sent requests left, unless persistent (one that only looks is none); SIGTERM and SIGINT end it at once. */
static void serve(const Args *a, const NbdExport *e, int lfd)
{
    gint active = 0, used = 0;

    while (!stop_asked) {
        struct pollfd p = { lfd, POLLIN, 0 };
        if (!a->persistent && g_atomic_int_get(&used) && !g_atomic_int_get(&active))
            break;
        if ((unsigned)g_atomic_int_get(&active) >= MAX(a->shared, 1)) {
            g_usleep(20000);
            continue;
        }
        if (poll(&p, 1, 200) <= 0)
            continue;
        int fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
        Session *s = g_new(Session, 1);
        *s = (Session) { e, fd, &active, &used, a->verbose };
        g_atomic_int_inc(&active);
        g_thread_unref(g_thread_new("nbd-client", session, s));
    }
    for (int i = 0; i < 50 && g_atomic_int_get(&active); i++)
        g_usleep(20000);
}

static bool write_pid(const char *path)
{
    g_autofree char *t = g_strdup_printf("%d\n", (int)getpid());

    return !path || g_file_set_contents(path, t, -1, NULL);
}

/*
 * --fork: the first process waits until the second serves clients, or failed. Returns where the second tells it,
 * or -1; does not return in the first.
 */
static int go_background(GError **err)
{
    int p[2];
    char c;

    if (pipe(p) < 0) {
        err_set_errno(err, errno, "pipe");
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        err_set_errno(err, errno, "fork");
        return -1;
    }
    if (pid) {
        close(p[1]);
        _exit(read(p[0], &c, 1) != 1);
    }
    close(p[0]);
    setsid();
    return p[1];
}

/* From here on nobody who started us should wait for our end through a pipe. */
static void tell_ready(int fd)
{
    if (fd < 0)
        return;
    int null = open("/dev/null", O_RDWR);
    for (int i = 0; null >= 0 && i < 3; i++)
        dup2(null, i);
    if (null > 2)
        close(null);
    (void)!write(fd, "", 1);
    close(fd);
}

static GHashTable *window_of(GHashTable *inner, const char *filename, uint64_t offset)
{
    GHashTable *o = block_opts_new();
    g_autofree char *at = g_strdup_printf("%" PRIu64, offset);
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, inner);
    while (g_hash_table_iter_next(&it, &k, &v)) {
        g_autofree char *key = g_strdup_printf("file.%s", (char *)k);
        block_opts_set(o, key, v);
    }
    block_opts_set(o, "driver", "raw");
    block_opts_set(o, "offset", at);
    if (filename && !g_hash_table_contains(inner, "driver"))
        block_opts_set(o, "file.driver", block_probe_file(filename, NULL) ?: "raw");
    if (filename)
        block_opts_set(o, "file.file.filename", filename);
    return o;
}

static int run(const Args *a, const char *filename)
{
    g_autoptr(GHashTable) opts = a->image_opts ? block_opts_parse(filename, "file", NULL) : block_opts_new();
    unsigned flags = (a->read_only ? 0 : BLOCK_RDWR) | (a->unmap ? BLOCK_UNMAP : 0) | (a->snapshot ? BLOCK_SNAPSHOT : 0);
    BlockGraph *g;
    BlockNode *n;
    GError *err = NULL;
    bool wce = true;
    int lfd, ready = -1, code = 0;

    if (a->cache && !block_cache_mode(a->cache, &flags, &wce))
        return fail("invalid cache mode", NULL);
    if (!wce)
        flags |= BLOCK_WRITETHROUGH;
    if (a->fmt && opts)
        block_opts_set(opts, "driver", a->fmt);
    if (a->offset && opts) {            /* a window of what the guest would see */
        g_autoptr(GHashTable) inner = g_steal_pointer(&opts);
        opts = window_of(inner, a->image_opts ? NULL : filename, a->offset);
        filename = NULL;
    }
    lfd = a->sock ? listen_unix(a->sock, &err) : listen_tcp(a->bind, a->port, &err);
    if (lfd < 0)
        return fail("cannot listen", err);
    if (a->fork_off) {
        ready = go_background(&err);
        if (ready < 0)
            return fail("cannot go to the background", err);
    }
    g = block_graph_new(NULL);
    bool known = !a->policy || block_graph_set_policy(g, a->policy);
    if (!known)
        err_set(&err, "--image-policy '%s' is not known: use any, beside or none", a->policy);
    n = known && opts ? block_open(g, a->image_opts || a->offset ? NULL : filename, opts, flags, &err) : NULL;
    if (n && a->snap && !block_snapshot_load(n, a->snap, &err)) {
        block_node_unref(n);
        n = NULL;
    }
    if (!n) {
        code = fail("Failed to open the image", err);
    } else {
        NbdExport e = { n, a->name ? a->name : "", a->desc, block_node_read_only(n), a->shared == 1 };
        bool noted = write_pid(a->pidfile);
        if (noted) {
            tell_ready(ready);
            serve(a, &e, lfd);
        } else
            code = fail("cannot write the pid file", NULL);
        if (!block_node_close(n, &err))
            code = fail("closing the image", err);
    }
    close(lfd);
    if (a->sock)
        unlink(a->sock);
    block_graph_free(g);
    return code;
}

enum { OPT_CACHE = 256, OPT_FORK, OPT_PID, OPT_IMAGE, OPT_DISCARD, OPT_DETECT, OPT_AIO, OPT_POLICY };

int nbd_main(int argc, char **argv)
{
    static const struct option longs[] = {
        { "socket", required_argument, NULL, 'k' }, { "port", required_argument, NULL, 'p' }, { "bind", required_argument, NULL, 'b' },
        { "read-only", no_argument, NULL, 'r' }, { "format", required_argument, NULL, 'f' }, { "export-name", required_argument, NULL, 'x' },
        { "description", required_argument, NULL, 'D' }, { "persistent", no_argument, NULL, 't' }, { "shared", required_argument, NULL, 'e' },
        { "verbose", no_argument, NULL, 'v' }, { "snapshot", no_argument, NULL, 's' }, { "load-snapshot", required_argument, NULL, 'l' },
        { "cache", required_argument, NULL, OPT_CACHE }, { "nocache", no_argument, NULL, 'n' }, { "fork", no_argument, NULL, OPT_FORK },
        { "pid-file", required_argument, NULL, OPT_PID }, { "image-opts", no_argument, NULL, OPT_IMAGE },
        { "discard", required_argument, NULL, OPT_DISCARD }, { "detect-zeroes", required_argument, NULL, OPT_DETECT },
        { "aio", required_argument, NULL, OPT_AIO }, { "image-policy", required_argument, NULL, OPT_POLICY },
        { "offset", required_argument, NULL, 'o' }, { "list", no_argument, NULL, 'L' }, { "connect", required_argument, NULL, 'c' },
        { "disconnect", no_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { NULL } };
    Args a = { .bind = "127.0.0.1", .port = "10809", .shared = 1 };
    struct sigaction sa = { .sa_handler = on_stop };
    GError *err = NULL;
    int c;

    optind = 0;
    while ((c = getopt_long(argc, argv, "k:p:b:rf:x:D:te:vsl:nhVo:Lc:d", longs, NULL)) != -1) {
        switch (c) {
        case 'k': a.sock = optarg; break;
        case 'p': a.port = optarg; break;
        case 'b': a.bind = optarg; break;
        case 'r': a.read_only = true; break;
        case 'f': a.fmt = optarg; break;
        case 'x': a.name = optarg; break;
        case 'D': a.desc = optarg; break;
        case 't': a.persistent = true; break;
        case 'e': a.shared = atoi(optarg) > 0 ? atoi(optarg) : 1024; break;
        case 'v': a.verbose = true; break;
        case 's': a.snapshot = true; break;
        case 'l': a.snap = g_str_has_prefix(optarg, "snapshot.name=") ? optarg + 14 : optarg; a.read_only = true; break;
        case 'n': a.cache = "none"; break;
        case 'L': a.list = true; break;
        case 'o':
            if (!block_parse_size(optarg, &a.offset, &err))
                return fail("Invalid offset", err);
            break;
        case 'c': case 'd':
            return fail("/dev/nbd devices are not served: give -k SOCKET or -p PORT, and let nbd-client(8) attach that", NULL);
        case OPT_CACHE: a.cache = optarg; break;
        case OPT_FORK: a.fork_off = true; break;
        case OPT_PID: a.pidfile = optarg; break;
        case OPT_IMAGE: a.image_opts = true; break;
        case OPT_DISCARD: a.unmap = !strcmp(optarg, "unmap") || !strcmp(optarg, "on"); break;
        case OPT_POLICY: a.policy = optarg; break;
        case OPT_DETECT: case OPT_AIO: break;   /* the defaults do as well */
        case 'V': printf("qemu-nbd 7.2.0 (quern)\n"); return 0;
        case 'h':
            printf("usage: quern nbd [-k socket | -b address -p port] [-r] [-f format] [-x name] [-D text] [-t] [-e n] [-s]\n"
                   "                 [-l snapshot] [--cache=mode] [--discard=unmap] [--fork] [--pid-file=path] [--image-opts]\n"
                   "                 [-o offset] [--image-policy=any|beside|none] file\n"
                   "       quern nbd --list [-k socket | -b address -p port]\n");
            return 0;
        default: return 1;
        }
    }
    if (a.list && (optind != argc || a.fmt || a.read_only || a.offset))
        return fail("List mode is incompatible with a file name and settings of an image", NULL);
    if (a.list)
        return nbd_list(a.sock, a.bind, a.port, stdout, &err) ? 0 : fail("cannot list", err);
    if (optind != argc - 1)
        return fail("Expecting one image file name; try --help", NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);
    return run(&a, argv[optind]);
}
