/*
 * lock: image locks by open-file-description byte ranges, at the offsets other emulators use.
 *
 * Byte 100+i is held shared by who uses permission i, byte 200+i by who does not want others
 * to use it (i: 0 read, 1 write, 3 resize). After taking its own, each looks for the opposite.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "block/block_int.h"
#include "util/log.h"

enum { USED_BASE = 100, UNSHARED_BASE = 200, PERM_BITS = 4 };
static const char *const perm_name[PERM_BITS] = { "consistent read", "write", "write unchanged", "resize" };

static int range_lock(int fd, short type, off_t byte)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    int ret;

    do {
        ret = fcntl(fd, F_OFD_SETLK, &fl);
    } while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

static bool range_taken(int fd, off_t byte)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(fd, F_OFD_GETLK, &fl) == 0 && fl.l_type != F_UNLCK;
}

static void drop(int fd, unsigned used, unsigned unshared)
{
    for (int i = 0; i < PERM_BITS; i++) {
        if (used & (1u << i))
            range_lock(fd, F_UNLCK, USED_BASE + i);
        if (unshared & (1u << i))
            range_lock(fd, F_UNLCK, UNSHARED_BASE + i);
    }
}

/* Names one process that has the file open, when the host tells (same user or root). */
static char *find_holder(const char *path)
{
    GStatBuf st, other;
    GDir *proc = g_stat(path, &st) ? NULL : g_dir_open("/proc", 0, NULL);
    const char *pid;
    char *who = NULL;
    int budget = 20000;

    while (proc && !who && (pid = g_dir_read_name(proc))) {
        if (!g_ascii_isdigit(pid[0]) || atoi(pid) == getpid())
            continue;
        g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
        GDir *d = g_dir_open(fds, 0, NULL);
        const char *fd;
        while (d && !who && budget-- > 0 && (fd = g_dir_read_name(d))) {
            g_autofree char *link = g_build_filename(fds, fd, NULL);
            if (g_stat(link, &other) || other.st_ino != st.st_ino || other.st_dev != st.st_dev)
                continue;
            g_autofree char *comm_path = g_strdup_printf("/proc/%s/comm", pid), *comm = NULL;
            if (g_file_get_contents(comm_path, &comm, NULL, NULL))
                who = g_strdup_printf(" (process %s, %s, has it open)", pid, g_strstrip(comm));
        }
        if (d)
            g_dir_close(d);
    }
    if (proc)
        g_dir_close(proc);
    return who ? who : g_strdup("");
}

static bool lock_error(GError **err, const char *path, const char *shared, const char *perm)
{
    g_autofree char *who = find_holder(path);

    return err_set_code(err, ERR_LOCKED, "Failed to get %s\"%s\" lock\nIs another process using the image [%s]?%s",
                        shared, perm, path, who);
}

bool block_lock_add(int fd, const char *path, unsigned *held, unsigned used, unsigned unshared, GError **err)
{
    unsigned old_used = *held & 0xff, old_unshared = *held >> 8;
    unsigned add_used = used & ~old_used, add_unshared = unshared & ~old_unshared;

    for (int i = 0; i < PERM_BITS; i++) {
        int ret = 0;
        if (add_used & (1u << i))
            ret = range_lock(fd, F_RDLCK, USED_BASE + i);
        if (!ret && (add_unshared & (1u << i)))
            ret = range_lock(fd, F_RDLCK, UNSHARED_BASE + i);
        if (ret == -EINVAL || ret == -ENOLCK || ret == -ENOTSUP || ret == -ENOSYS || ret == -EOPNOTSUPP) {
            log_warn("'%s' is on a file system without locks: nothing keeps others away", path);
            return true;
        }
        if (ret) {
            drop(fd, add_used, add_unshared);
            return lock_error(err, path, "", perm_name[i]);
        }
    }
    for (int i = 0; i < PERM_BITS; i++) {
        if ((add_used & (1u << i)) && range_taken(fd, UNSHARED_BASE + i)) {
            drop(fd, add_used, add_unshared);
            return lock_error(err, path, "", perm_name[i]);
        }
        if ((add_unshared & (1u << i)) && range_taken(fd, USED_BASE + i)) {
            drop(fd, add_used, add_unshared);
            return lock_error(err, path, "shared ", perm_name[i]);
        }
    }
    *held |= add_used | add_unshared << 8;
    return true;
}
