/*
 * helper: "quern net-helper": the process of an isolated user network (net/isolated.c).
 *
 * Its first question holds the network's options; it makes the network, gives up every file but the
 * host's resolver configuration and the TFTP folder (Landlock) and every system call but those of sockets
 * (seccomp), answers, and moves frames until its starter goes.
 */
#include "net/net_int.h"

#include "util/bytes.h"
#include "util/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#if HAVE_SECCOMP
#include <seccomp.h>
#include <sys/mman.h>
#endif

enum { DESCRIPTORS = 4096 };

typedef struct Helper {
    NetPort *user, *wire;       /* the network, and the port its frames leave by */
    NetFramer *framer;
} Helper;

/* ---- what it gives up ---- */
static bool allow_path(int rules, const char *path, uint64_t access, GError **err)
{
    struct landlock_path_beneath_attr at = { .allowed_access = access };
    bool ok;

    at.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (at.parent_fd < 0)
        return err_set_errno(err, errno, "%s", path);
    ok = !syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &at, 0) ||
         err_set_errno(err, errno, "Landlock rule for %s", path);
    close(at.parent_fd);
    return ok;
}

/* The rights of later versions, which an older header does not name: truncate (3), device ioctls (5). */
static uint64_t all_rights(int version)
{
    return ((1ULL << 13) - 1) | (version >= 2 ? 1ULL << 13 : 0) | (version >= 3 ? 1ULL << 14 : 0) |
           (version >= 5 ? 1ULL << 15 : 0);
}

/* A resolver configuration outside /etc is rewritten by renaming: its folder is allowed. */
static bool allow_resolver(int rules, GError **err)
{
    g_autofree char *real = realpath("/etc/resolv.conf", NULL);
    g_autofree char *folder = real ? g_path_get_dirname(real) : NULL;

    return !real || allow_path(rules, g_str_equal(folder, "/etc") ? real : folder, LANDLOCK_ACCESS_FS_READ_FILE, err);
}

static bool give_up_files(const char *tftp, GError **err)
{
    int version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION), rules;
    struct landlock_ruleset_attr a = { .handled_access_fs = all_rights(version) };
    bool ok;

    if (version < 1)
        return err_set(err, "isolated=on needs a kernel with Landlock (Linux 5.13; 'landlock' in the lsm= list)");
    rules = syscall(SYS_landlock_create_ruleset, &a, sizeof a, 0);
    if (rules < 0)
        return err_set_errno(err, errno, "Landlock");
    ok = allow_resolver(rules, err) &&
         (!tftp || allow_path(rules, tftp, LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR, err));
    if (ok && syscall(SYS_landlock_restrict_self, rules, 0))
        ok = err_set_errno(err, errno, "Landlock");
    close(rules);
    return ok;
}

#if HAVE_SECCOMP
static const int calls[] = {
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64), SCMP_SYS(lseek),
    SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(recvmmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(close),
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2), SCMP_SYS(futex), SCMP_SYS(munmap), SCMP_SYS(mremap),
    SCMP_SYS(madvise), SCMP_SYS(brk), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall), SCMP_SYS(open), SCMP_SYS(openat),
    SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(fcntl), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(getpid), SCMP_SYS(gettid),
    SCMP_SYS(tgkill), SCMP_SYS(getrandom), SCMP_SYS(sched_yield), SCMP_SYS(getuid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getegid),
};

static int add_calls(scmp_filter_ctx f)
{
    static const int families[] = { AF_INET, AF_INET6, AF_UNIX };
    int rc = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(calls) && rc >= 0; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    for (size_t i = 0; i < G_N_ELEMENTS(families) && rc >= 0; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, families[i]));
    if (rc >= 0)                /* memory, but no new code */
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (rc >= 0)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (rc >= 0)                /* FIONREAD, FIONBIO; no devices are open */
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_MASKED_EQ, 0xff00, 0x5400));
    return rc;
}

/* The filter is made first: the library may be loaded on first use, which needs files. */
static bool give_up_files_and_calls(const char *tftp, GError **err)
{
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = f ? add_calls(f) : -ENOMEM;
    bool ok = rc >= 0 || err_set_errno(err, -rc, "system call filter");

    ok = ok && give_up_files(tftp, err);
    if (ok && (rc = seccomp_load(f)) < 0)
        ok = err_set_errno(err, -rc, "system call filter");
    if (f)
        seccomp_release(f);
    return ok;
}
#else
static bool give_up_files_and_calls(const char *tftp, GError **err) { return give_up_files(tftp, err); }
#endif

static bool give_up(const char *tftp, GError **err)
{
    struct rlimit none = { 0, 0 }, files = { DESCRIPTORS, DESCRIPTORS };

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || setrlimit(RLIMIT_CORE, &none))
        return err_set_errno(err, errno, "the network's helper process");
    setrlimit(RLIMIT_NOFILE, &files);   /* a lower hard limit stays */
    return give_up_files_and_calls(tftp, err);
}

/* ---- frames ---- */
static bool wire_receive(void *opaque, const uint8_t *frame, size_t len)
{
    return net_framer_send(((Helper *)opaque)->framer, frame, len);
}

static void wire_writable(void *opaque)
{
    net_framer_resume(((Helper *)opaque)->framer);
}

static const NetPortOps wire_ops = { .receive = wire_receive, .writable = wire_writable };

static void starter_gone(void *opaque)
{
    _exit(0);
}

/* ---- questions ---- */
static void answer(int code, const char *text)
{
    size_t len = MIN(strlen(text), NET_ANSWER_MAX - 4);
    g_autofree uint8_t *b = g_malloc(4 + len);

    st32_le(b, code);
    memcpy(b + 4, text, len);
    if (send(NET_HELPER_CONTROL, b, 4 + len, MSG_NOSIGNAL) < 0)
        _exit(1);
}

static void answer_question(Helper *h, const char *q)
{
    g_autoptr(GError) err = NULL;
    g_autofree char *text = NULL;
    const char *rule = strchr(q, ' ') ? strchr(q, ' ') + 1 : "";
    bool ok = false;
    int code;

    errno = 0;
    if (g_str_has_prefix(q, "add "))
        ok = net_user_hostfwd_add(h->user, rule, &err);
    else if (g_str_has_prefix(q, "remove "))
        ok = net_user_hostfwd_remove(h->user, rule, &err);
    else if (g_str_has_prefix(q, "info "))
        ok = (text = net_user_describe(h->user)) != NULL;
    code = ok ? 0 : errno ? errno : EINVAL;
    answer(code, text ? text : err ? err->message : "");
}

static gboolean question_came(gint fd, GIOCondition c, gpointer opaque)
{
    char q[4096];
    ssize_t n = recv(fd, q, sizeof q - 1, 0);

    if (n <= 0)
        _exit(0);
    q[n] = 0;
    answer_question(opaque, q);
    return G_SOURCE_CONTINUE;
}

static bool make_network(Helper *h, const char *text, char **describe, GError **err)
{
    g_autoptr(OptList) o = optlist_parse(text, "type", err);
    const char *tftp = o ? optlist_str(o, "tftp", NULL) : NULL;

    h->user = o ? net_backend_new(o, err) : NULL;
    if (!h->user)
        return false;
    h->wire = net_port_new("wire", "wire", &wire_ops, h);
    h->wire->max_frame = h->wire->max_frame6 = NET_FRAME_MAX;
    *describe = h->user->ops->describe(h->user->opaque);
    return net_port_plug(h->user, h->wire, err) && give_up(tftp, err);
}

int net_helper_main(int argc, char **argv)
{
    g_autofree char *q = g_malloc(NET_ANSWER_MAX + 1), *describe = NULL;
    g_autoptr(GError) err = NULL;
    Helper h = { 0 };
    ssize_t n = recv(NET_HELPER_CONTROL, q, NET_ANSWER_MAX, 0);
    GMainLoop *loop;

    if (n <= 0) {
        g_printerr("quern " NET_HELPER_VERB ": -netdev user,isolated=on starts this; it is not for use by hand\n");
        return 2;
    }
    q[n] = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "quern-net");
    if (!make_network(&h, q, &describe, &err)) {
        answer(EINVAL, err->message);
        return 1;
    }
    h.framer = net_framer_new(h.wire, NET_HELPER_FRAMES, starter_gone, &h);
    watch_fd(NET_HELPER_CONTROL, G_IO_IN | G_IO_HUP, question_came, &h);
    loop = g_main_loop_new(NULL, FALSE);
    answer(0, describe);
    g_main_loop_run(loop);
    return 0;
}
