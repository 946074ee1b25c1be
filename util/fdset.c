/* fdset: file descriptors the parent process passed, by the names /dev/fdset/N that stand for them. */
#include "util/fdset.h"

#include "util/error.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define PREFIX "/dev/fdset/"

typedef struct Member { unsigned set; int fd; } Member;

static GArray *members;         /* of Member: state of the process, allow-listed; written before threads start */

bool fdset_add(unsigned set, int fd, GError **err)
{
    Member m = { set, fd };

    if (fcntl(fd, F_GETFD) < 0)
        return err_set(err, "file descriptor %d is not open", fd);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return err_set_errno(err, errno, "file descriptor %d", fd);
    if (!members)
        members = g_array_new(false, false, sizeof(Member));
    g_array_append_val(members, m);
    return true;
}

static bool mode_fits(int fd, int wanted)
{
    int have = fcntl(fd, F_GETFL);

    return have >= 0 && ((have & O_ACCMODE) == (wanted & O_ACCMODE) || (have & O_ACCMODE) == O_RDWR);
}

int fdset_open(const char *path, int flags, mode_t mode)
{
    guint64 set;

    if (!g_str_has_prefix(path, PREFIX))
        return open(path, flags, mode);
    if (!g_ascii_string_to_unsigned(path + strlen(PREFIX), 10, 0, G_MAXUINT, &set, NULL)) {
        errno = ENOENT;
        return -1;
    }
    errno = ENOENT;
    for (unsigned i = 0; members && i < members->len; i++) {
        const Member *m = &g_array_index(members, Member, i);

        if (m->set != set)
            continue;
        if (mode_fits(m->fd, flags))
            return fcntl(m->fd, F_DUPFD_CLOEXEC, 3);
        errno = EACCES;
    }
    return -1;
}
