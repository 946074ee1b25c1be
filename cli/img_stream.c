/*
 * img_stream: sources of convert that cannot be read at random: pipes, and xz, gzip, zstd files.
 *
 * They are unpacked into an unnamed sparse file in the target's folder, which is then the source.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cli/img_int.h"

enum { BLOCK = 1 << 20, MAGIC = 6 };

static const struct { const char *tool; uint8_t magic[MAGIC]; int len; } packers[] = {
    { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6 }, { "gzip", { 0x1f, 0x8b }, 2 }, { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4 },
};

static const char *packer_of(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(packers); i++)
        if (len >= (size_t)packers[i].len && !memcmp(head, packers[i].magic, packers[i].len))
            return packers[i].tool;
    return NULL;
}

static ssize_t read_some(int fd, void *buf, size_t len)
{
    ssize_t r;

    do {
        r = read(fd, buf, len);
    } while (r < 0 && errno == EINTR);
    return r;
}

static bool write_whole(int fd, const uint8_t *p, size_t len)
{
    while (len) {
        ssize_t r = write(fd, p, len);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return false;
        p += r;
        len -= r;
    }
    return true;
}

typedef struct Feed { int from, to; uint8_t head[4096]; size_t len; } Feed;

/* Hands what was looked at, then the rest, to the unpacking program. */
static void *feeder(void *opaque)
{
    Feed *f = opaque;
    g_autofree uint8_t *buf = g_malloc(BLOCK);
    bool ok = write_whole(f->to, f->head, f->len);
    ssize_t n;

    while (ok && (n = read_some(f->from, buf, BLOCK)) > 0)
        ok = write_whole(f->to, buf, n);
    close(f->to);
    return NULL;
}

/* Zero blocks become holes. */
static int copy_sparse(Img *m, int from, const uint8_t *head, size_t head_len, int to)
{
    g_autofree uint8_t *buf = g_malloc(BLOCK);
    uint64_t off = 0;
    size_t have = head_len;

    memcpy(buf, head, head_len);
    for (;;) {
        ssize_t n = 0;
        while (have < BLOCK && (n = read_some(from, buf + have, BLOCK - have)) > 0)
            have += n;
        if (n < 0)
            return img_fail(m, "error while reading the input: %s", g_strerror(errno));
        for (size_t o = 0; o < have; o += 65536) {
            size_t len = MIN(65536, have - o);
            if (!block_is_zero(buf + o, len) && pwrite(to, buf + o, len, off + o) != (ssize_t)len)
                return img_fail(m, "error while unpacking the input: %s", g_strerror(errno ? errno : ENOSPC));
        }
        off += have;
        if (have < BLOCK)
            break;
        have = 0;
    }
    return ftruncate(to, (off + 511) & ~511ULL) < 0 ? img_fail(m, "error while unpacking the input: %s", g_strerror(errno)) : 0;
}

static int unpack(Img *m, const char *tool, Feed *f, int to)
{
    const char *argv[] = { tool, "-dc", NULL };
    GError *err = NULL;
    GPid pid;
    int in, out, status = 0, code;

    if (!g_spawn_async_with_pipes(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
                                  &in, &out, NULL, &err)) {
        img_fail(m, "the input is packed with %s, and that program does not start: %s", tool, err->message);
        g_error_free(err);
        return 1;
    }
    fcntl(in, F_SETFD, FD_CLOEXEC);
    f->to = in;
    GThread *t = g_thread_new("feed", feeder, f);
    code = copy_sparse(m, out, NULL, 0, to);
    close(out);
    g_thread_join(t);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    g_spawn_close_pid(pid);
    return code ? code : status ? img_fail(m, "%s could not unpack the input", tool) : 0;
}

int img_stage_source(Img *m, const char *name, const char *target, char **staged)
{
    g_autofree char *dir = g_path_get_dirname(target), *tmp = g_build_filename(dir, ".quern-unpack-XXXXXX", NULL);
    Feed f = { .from = -1 };
    struct stat st;
    int to, code;

    *staged = NULL;
    if (g_str_equal(name, "-"))
        f.from = dup(0);
    else if (stat(name, &st) == 0 && (S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode)))
        f.from = open(name, O_RDONLY | O_CLOEXEC);
    if (f.from < 0 || fstat(f.from, &st) < 0)
        return 0;                       /* the ordinary opener knows what to say */
    while (f.len < MAGIC) {
        ssize_t n = read_some(f.from, f.head + f.len, sizeof f.head - f.len);
        if (n <= 0)
            break;
        f.len += n;
    }
    const char *tool = packer_of(f.head, f.len);
    if (!tool && S_ISREG(st.st_mode) && strcmp(name, "-")) {
        close(f.from);
        return 0;
    }
    to = g_mkstemp_full(tmp, O_RDWR, 0600);
    if (to < 0) {
        close(f.from);
        return img_fail(m, "cannot make a file in '%s' to unpack into: %s", dir, g_strerror(errno));
    }
    unlink(tmp);
    code = tool ? unpack(m, tool, &f, to) : copy_sparse(m, f.from, f.head, f.len, to);
    close(f.from);
    if (!code)
        *staged = g_strdup_printf("/proc/self/fd/%d", to);      /* stays open until the program ends */
    return code;
}
