/* ram: blocks of host memory behind guest RAM, their dirty bits and code marks. */
#include "softmmu/softmmu_int.h"

#include "util/bytes.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE_BITS = 12, PAGE_SIZE_4K = 1 << PAGE_BITS };

RamBlock *ram_block_new(const char *name, uint64_t size, GError **err)
{
    RamBlock *rb;
    void *host;
    int fd;

    if (!size || !add_ok(size, PAGE_SIZE_4K - 1, &size)) {
        err_set(err, "guest memory '%s' cannot have this size", name);
        return NULL;
    }
    size &= ~(uint64_t)(PAGE_SIZE_4K - 1);
    fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, size) < 0) {
        err_set_errno(err, errno, "cannot allocate %" G_GUINT64_FORMAT " MiB of guest memory '%s'",
                      (uint64_t)((size + MiB - 1) / MiB), name);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (host == MAP_FAILED) {
        err_set_errno(err, errno, "cannot map %" G_GUINT64_FORMAT " MiB of guest memory '%s'",
                      (uint64_t)((size + MiB - 1) / MiB), name);
        close(fd);
        return NULL;
    }
    madvise(host, size, MADV_HUGEPAGE);
    rb = g_new0(RamBlock, 1);
    rb->name = g_strdup(name);
    rb->host = host;
    rb->size = size;
    rb->fd = fd;
    rb->pages = g_malloc(size >> PAGE_BITS);
    memset((void *)rb->pages, RAM_DIRTY_ALL, size >> PAGE_BITS);
    return rb;
}

void ram_block_free(RamBlock *rb)
{
    if (!rb)
        return;
    munmap(rb->host, rb->size);
    if (rb->fd >= 0)
        close(rb->fd);
    g_free((void *)rb->pages);
    g_free(rb->name);
    g_free(rb);
}

void ram_mark_written(RamBlock *rb, uint64_t off, uint64_t len)
{
    uint64_t first, last;
    bool code = false;

    if (!len || !range_ok(off, len, rb->size))
        return;
    first = off >> PAGE_BITS;
    last = (off + len - 1) >> PAGE_BITS;
    for (uint64_t p = first; p <= last; p++) {
        uint8_t f = atomic_load_explicit(&rb->pages[p], memory_order_relaxed);

        if ((f & RAM_DIRTY_ALL) != RAM_DIRTY_ALL)
            f = atomic_fetch_or(&rb->pages[p], RAM_DIRTY_ALL);
        code |= f & RAM_CODE;
    }
    if (code && rb->code_written)
        rb->code_written(rb->code_opaque, rb, off, len);
}

bool ram_test_and_clear_dirty(RamBlock *rb, uint64_t off, uint64_t len, uint8_t client)
{
    bool any = false;

    if (!len || !range_ok(off, len, rb->size))
        return false;
    for (uint64_t p = off >> PAGE_BITS; p <= (off + len - 1) >> PAGE_BITS; p++) {
        if (atomic_load_explicit(&rb->pages[p], memory_order_relaxed) & client) {
            atomic_fetch_and(&rb->pages[p], (uint8_t)~client);
            any = true;
        }
    }
    if (any)
        region_notify_protect(rb, off, len);
    return any;
}
