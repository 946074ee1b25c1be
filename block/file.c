/*
 * file: regular files and host block devices, with pread and pwrite.
 *
 * A failed fdatasync is final: the kernel may have dropped the pages and marked them clean,
 * so every later flush fails too (docs/block.md). O_DIRECT requests that are not aligned go
 * through a bounce buffer; unaligned writes exclude all others while they read, merge, write.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/block_int.h"
#include "block/file_int.h"
#include "util/fdset.h"
#include "util/log.h"

enum { MAX_PIECES = 64 };

/* Reads until done or end of file; *got is how much. */
static int read_loop(int fd, uint64_t off, uint64_t bytes, BlockVec v, uint64_t *got)
{
    struct iovec io[MAX_PIECES];
    uint64_t done = 0;

    while (done < bytes) {
        size_t want;
        int k = vec_slice(vec_adv(v, done), MIN(bytes - done, 1u << 30), io, MAX_PIECES, &want);
        ssize_t r = preadv(fd, io, k, off + done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (r == 0)
            break;
        done += r;
    }
    *got = done;
    return 0;
}

static int write_loop(int fd, uint64_t off, uint64_t bytes, BlockVec v)
{
    struct iovec io[MAX_PIECES];
    uint64_t done = 0;

    while (done < bytes) {
        size_t want;
        int k = vec_slice(vec_adv(v, done), MIN(bytes - done, 1u << 30), io, MAX_PIECES, &want);
        ssize_t r = pwritev(fd, io, k, off + done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EIO;
        done += r;
    }
    return 0;
}

static void grow_size(BlockNode *n, uint64_t end)
{
    uint64_t old = __atomic_load_n(&n->size, __ATOMIC_RELAXED);

    while (end > old && !__atomic_compare_exchange_n(&n->size, &old, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static bool aligned(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    uint64_t bits = off | bytes;
    size_t skip = v.skip, left = bytes;

    if (n->align <= 1)
        return true;
    for (int i = 0; i < v.niov && left; i++) {
        if (skip >= v.iov[i].iov_len) {
            skip -= v.iov[i].iov_len;
            continue;
        }
        size_t len = MIN(v.iov[i].iov_len - skip, left);
        bits |= ((uintptr_t)v.iov[i].iov_base + skip) | len;
        left -= len;
        skip = 0;
    }
    return !(bits & (n->align - 1));
}

/* A buffer over the aligned range around [off, off+bytes). NULL: no memory. */
static void *bounce_new(BlockNode *n, uint64_t off, uint64_t bytes, uint64_t *start, uint64_t *len)
{
    void *buf = NULL;

    *start = off & ~(uint64_t)(n->align - 1);
    *len = ((off + bytes + n->align - 1) & ~(uint64_t)(n->align - 1)) - *start;
    return posix_memalign(&buf, MAX(n->align, 4096), *len) ? NULL : buf;
}

enum { BOUNCE_MAX = 1 << 20 };

static int read_bounce(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, uint64_t *got)
{
    FileNode *f = n->priv;

    *got = 0;
    while (*got < bytes) {
        uint64_t start, len, have, part = MIN(bytes - *got, BOUNCE_MAX), o = off + *got;
        void *buf = bounce_new(n, o, part, &start, &len);
        if (!buf)
            return -ENOMEM;
        struct iovec io = { buf, len };
        int ret = read_loop(f->fd, start, len, (BlockVec) { &io, 1, 0 }, &have);
        uint64_t usable = have > o - start ? MIN(have - (o - start), part) : 0;
        if (!ret)
            vec_copy_in(vec_adv(v, *got), (char *)buf + (o - start), usable);
        free(buf);
        if (ret)
            return ret;
        *got += usable;
        if (usable < part)
            break;
    }
    return 0;
}

static int file_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    FileNode *f = n->priv;
    uint64_t got = 0;
    int ret = aligned(n, off, bytes, v) ? read_loop(f->fd, off, bytes, v, &got)
                                        : read_bounce(n, off, bytes, v, &got);

    if (!ret && got < bytes)
        vec_zero(vec_adv(v, got), bytes - got);
    return ret;
}

static int file_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    FileNode *f = n->priv;
    struct iovec io[MAX_PIECES];
    size_t covered;
    int k;

    if (n->align > 1 || !range_ok(off, bytes, n->size))
        return -EAGAIN;
    k = vec_slice(v, bytes, io, MAX_PIECES, &covered);
    return covered == bytes && preadv2(f->fd, io, k, off, RWF_NOWAIT) == (ssize_t)bytes ? 0 : -EAGAIN;
}

/* Caller holds the exclusive side of f->direct. */
static int write_bounce(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    FileNode *f = n->priv;
    uint64_t done = 0, old_size = n->size;

    while (done < bytes) {
        uint64_t start, len, have = 0, part = MIN(bytes - done, BOUNCE_MAX), o = off + done;
        char *buf = bounce_new(n, o, part, &start, &len);
        if (!buf)
            return -ENOMEM;
        struct iovec io = { buf, len };
        BlockVec bv = { &io, 1, 0 };
        int ret = (o != start || part != len) ? read_loop(f->fd, start, len, bv, &have) : 0;
        if (!ret) {
            if (have < len)
                memset(buf + have, 0, len - have);
            vec_copy_out(vec_adv(v, done), buf + (o - start), part);
            ret = write_loop(f->fd, start, len, bv);
        }
        free(buf);
        if (!ret && f->regular && start + len > MAX(old_size, o + part) &&
            ftruncate(f->fd, MAX(old_size, o + part)) < 0)
            ret = -errno;
        if (ret)
            return ret;
        done += part;
    }
    return 0;
}

static int file_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    FileNode *f = n->priv;
    int ret;

    if (n->align <= 1) {
        ret = write_loop(f->fd, off, bytes, v);
    } else if (aligned(n, off, bytes, v)) {
        g_rw_lock_reader_lock(&f->direct);
        ret = write_loop(f->fd, off, bytes, v);
        g_rw_lock_reader_unlock(&f->direct);
    } else {
        g_rw_lock_writer_lock(&f->direct);
        ret = write_bounce(n, off, bytes, v);
        g_rw_lock_writer_unlock(&f->direct);
    }
    if (!ret)
        grow_size(n, off + bytes);
    return ret;
}

static int try_fallocate(FileNode *f, int mode, uint64_t off, uint64_t bytes)
{
    int ret;

    do {
        ret = fallocate(f->fd, mode, off, bytes);
    } while (ret < 0 && errno == EINTR);
    if (ret == 0)
        return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV || errno == EINVAL || errno == EPERM ?
           -ENOTSUP : -errno;
}

static int file_write_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    FileNode *f = n->priv;
    uint64_t end = off + bytes, inside;
    int ret = 0;

    if (!f->regular) {
        uint64_t range[2] = { off, bytes };
        if ((off | bytes) & 511)
            return -ENOTSUP;
        return ioctl(f->fd, BLKZEROOUT, range) < 0 ? -ENOTSUP : 0;
    }
    inside = off < n->size ? MIN(end, n->size) - off : 0;
    if (inside && (flags & BLOCK_MAY_UNMAP))
        ret = try_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, inside);
    else if (inside)
        ret = try_fallocate(f, FALLOC_FL_ZERO_RANGE, off, inside);
    if (ret)
        return ret;
    /* What lies past the end is a hole already. No ftruncate: it could cut off a write under way. */
    if (end > n->size)
        ret = block_pwrite(n, end - 1, "", 1);
    return ret;
}

static int file_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    FileNode *f = n->priv;

    if (f->regular) {
        if (off >= n->size)
            return 0;
        return try_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off, MIN(bytes, n->size - off));
    }
    uint64_t range[2] = { off, bytes };
    return ioctl(f->fd, BLKDISCARD, range) < 0 ? -ENOTSUP : 0;
}

static int file_reserve(BlockNode *n, uint64_t off, uint64_t bytes)
{
    FileNode *f = n->priv;
    int e = f->regular ? posix_fallocate(f->fd, off, bytes) : 0;

    if (!e)
        grow_size(n, off + bytes);
    return -e;
}

static int file_flush(BlockNode *n)
{
    FileNode *f = n->priv;

    if (n->flags & BLOCK_NO_FLUSH)
        return 0;
    if (g_atomic_int_get(&f->flush_failed))
        return -EIO;
    if (fdatasync(f->fd) == 0)
        return 0;
    int ret = -errno;
    if (ret == -EINVAL || ret == -EROFS)        /* a special file that cannot be synced */
        return 0;
    g_atomic_int_set(&f->flush_failed, 1);
    log_warn("'%s': flush failed (%s): the image takes no more flushes", n->filename, g_strerror(-ret));
    return ret;
}

static int file_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    FileNode *f = n->priv;
    off_t data, hole;

    *st = (BlockStatus) { .bytes = bytes, .data = true, .allocated = true, .offset_valid = true,
                          .offset = off, .file = n };
    if (!f->regular)
        return 0;
    data = lseek(f->fd, off, SEEK_DATA);
    if (data < 0 && errno == ENXIO) {           /* a hole up to the end */
        st->data = false;
        st->zero = true;
        return 0;
    }
    if (data < 0)
        return 0;                               /* no hole information here: all data */
    if ((uint64_t)data > off) {
        st->data = false;
        st->zero = true;
        st->bytes = MIN(bytes, data - off);
        return 0;
    }
    hole = lseek(f->fd, off, SEEK_HOLE);
    if (hole > 0 && (uint64_t)hole > off)
        st->bytes = MIN(bytes, (uint64_t)hole - off);
    return 0;
}

static uint64_t fd_length(int fd, bool regular)
{
    off_t len = lseek(fd, 0, SEEK_END);

    return len < 0 ? 0 : len;
}

static bool file_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    FileNode *f = n->priv;
    uint64_t old = n->size;

    if (!f->regular)
        return size <= old ? true : err_set(err, "Cannot grow device files");
    if (g_str_equal(prealloc, "metadata"))
        return err_set(err, "Unsupported preallocation mode: metadata");
    if (g_str_equal(prealloc, "falloc") && size > old) {
        int e = posix_fallocate(f->fd, old, size - old);
        if (e) {
            if (ftruncate(f->fd, old) < 0)
                log_warn("'%s': could not shrink back after a failed preallocation", n->filename);
            return err_set_errno(err, e, "Could not preallocate data for '%s'", n->filename);
        }
    } else if (ftruncate(f->fd, size) < 0) {
        return err_set_errno(err, errno, "Failed to resize '%s'", n->filename);
    }
    __atomic_store_n(&n->size, size, __ATOMIC_RELAXED);
    if (g_str_equal(prealloc, "full") && size > old) {
        g_autofree char *zero = g_malloc0(MiB);
        for (uint64_t o = old; o < size; o += MiB) {
            int ret = block_pwrite(n, o, zero, MIN(MiB, size - o));
            if (ret)
                return err_set_errno(err, -ret, "Could not preallocate data for '%s'", n->filename);
        }
    }
    return true;
}

static int64_t file_allocated(BlockNode *n)
{
    FileNode *f = n->priv;
    struct stat st;

    return fstat(f->fd, &st) < 0 ? -errno : (int64_t)st.st_blocks * 512;
}

/* Smallest alignment the file takes with O_DIRECT. */
static uint32_t probe_align(int fd)
{
    void *buf;
    uint32_t found = 4096;

    if (posix_memalign(&buf, 4096, 8192))
        return found;
    for (uint32_t a = 512; a < 4096; a *= 2)
        if (pread(fd, (char *)buf + a, a, a) >= 0) {
            found = a;
            break;
        }
    free(buf);
    return found;
}

static bool open_fd(BlockNode *n, FileNode *f, unsigned flags, GError **err)
{
    int mode = O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (flags & BLOCK_NOCACHE ? O_DIRECT : 0);
    struct stat st;

    f->fd = fdset_open(n->filename, mode | (flags & BLOCK_RDWR ? O_RDWR : O_RDONLY), 0);
    if (f->fd < 0 && (flags & BLOCK_RDWR) && (flags & BLOCK_AUTO_RDONLY) &&
        (errno == EACCES || errno == EROFS || errno == EPERM)) {
        flags &= ~BLOCK_RDWR;
        f->fd = fdset_open(n->filename, mode | O_RDONLY, 0);
    }
    if (f->fd < 0)
        return err_set_errno(err, errno, "Could not open '%s'", n->filename);
    n->read_only = !(flags & BLOCK_RDWR);
    if (fstat(f->fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))) {
        bool dir = S_ISDIR(st.st_mode);
        close(f->fd);
        f->fd = -1;
        return err_set(err, "'%s' is %s, not a regular file or block device", n->filename,
                       dir ? "a directory" : "a special file");
    }
    f->regular = S_ISREG(st.st_mode);
    return true;
}

static bool file_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    g_autofree char *aio = NULL, *locking = NULL;
    FileNode *f = g_new0(FileNode, 1);

    n->priv = f;
    block_opts_take(opts, "aio", &aio);
    block_opts_take(opts, "locking", &locking);
    if (aio && strcmp(aio, "threads") && strcmp(aio, "native") && strcmp(aio, "io_uring")) {
        g_free(f);
        return err_set(err, "aio '%s' is not known: use threads, native or io_uring", aio);
    }
    if (aio && g_str_equal(aio, "native") && !(flags & BLOCK_NOCACHE)) {
        g_free(f);
        return err_set(err, "aio=native was specified, but it requires cache.direct=on, which was not specified.");
    }
    if (!open_fd(n, f, flags, err)) {
        g_free(f);
        return false;
    }
    f->aio = !aio || g_str_equal(aio, "threads") ? FILE_AIO_THREADS :
             g_str_equal(aio, "native") ? FILE_AIO_NATIVE : FILE_AIO_URING;
    f->no_lock = (flags & BLOCK_NO_LOCK) || (locking && g_str_equal(locking, "off"));
    n->size = fd_length(f->fd, f->regular);
    n->align = flags & BLOCK_NOCACHE ? probe_align(f->fd) : 1;
    if (!f->no_lock && !block_lock_add(f->fd, n->filename, &f->held,
                                       BLOCK_PERM_READ | (n->read_only ? 0 : BLOCK_PERM_WRITE), 0, err)) {
        close(f->fd);
        g_free(f);
        return false;
    }
    g_rw_lock_init(&f->direct);
    return true;
}

static int file_close(BlockNode *n)
{
    FileNode *f = n->priv;
    int ret = close(f->fd) < 0 && errno != EINTR ? -errno : 0;

    g_rw_lock_clear(&f->direct);
    g_free(f);
    return ret;
}

bool block_file_claim(BlockNode *n, unsigned used, unsigned unshared, GError **err)
{
    while (n && n->drv->kind != DRV_PROTOCOL)
        n = n->file;
    if (!n || (n->drv->open != file_open))
        return true;
    FileNode *f = n->priv;
    return f->no_lock || block_lock_add(f->fd, n->filename, &f->held, used, unshared, err);
}

bool block_file_regular(BlockNode *n)
{
    while (n && n->drv->kind != DRV_PROTOCOL)
        n = n->file;
    return n && n->drv->open == file_open && ((FileNode *)n->priv)->regular;
}

int block_file_fd(BlockNode *n)
{
    return n->drv->open == file_open ? ((FileNode *)n->priv)->fd : -1;
}

#define FILE_OPS                                                                        \
    .kind = DRV_PROTOCOL, .open = file_open, .close = file_close, .read = file_read,     \
    .read_now = file_read_now,                                                           \
    .write = file_write, .write_zeroes = file_write_zeroes, .discard = file_discard,     \
    .reserve = file_reserve,                                                             \
    .flush = file_flush, .status = file_status, .truncate = file_truncate,               \
    .allocated = file_allocated

const BlockDriver block_drv_file = { .name = "file", FILE_OPS };
const BlockDriver block_drv_host_device = { .name = "host_device", FILE_OPS };
const BlockDriver block_drv_host_cdrom = { .name = "host_cdrom", FILE_OPS };
