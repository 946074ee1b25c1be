/* ram: blocks of host memory behind guest RAM, their dirty bits and code marks. */
#include "softmmu/softmmu_int.h"

#include "util/bytes.h"

#include <errno.h>
#include <sys/mman.h>

enum { PAGE_BITS = 12, PAGE_SIZE_4K = 1 << PAGE_BITS, HUGE_PAGE = 2 << 20 };

/* Private memory that the host can back with huge pages: guests' random accesses would spend most of
   their time in the host's page walks otherwise (shared memory gets none unless its administrator says so). */
static void *map_aligned(uint64_t size)
{
    uint64_t whole = size + HUGE_PAGE, head;
    uint8_t *p = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    head = -(uintptr_t)p & (HUGE_PAGE - 1);
    if (head)
        munmap(p, head);
    munmap(p + head + size, HUGE_PAGE - head);
    return p + head;
}

RamBlock *ram_block_new(const char *name, uint64_t size, GError **err)
{
    RamBlock *rb;
    void *host;

    if (!size || !add_ok(size, PAGE_SIZE_4K - 1, &size)) {
        err_set(err, "guest memory '%s' cannot have this size", name);
        return NULL;
    }
    size &= ~(uint64_t)(PAGE_SIZE_4K - 1);
    host = map_aligned(size);
    if (!host) {
        err_set_errno(err, errno, "cannot allocate %" G_GUINT64_FORMAT " MiB of guest memory '%s'",
                      (uint64_t)((size + MiB - 1) / MiB), name);
        return NULL;
    }
    madvise(host, size, MADV_HUGEPAGE);
    rb = g_new0(RamBlock, 1);
    rb->name = g_strdup(name);
    rb->host = host;
    rb->size = size;
    rb->pages = g_malloc(size >> PAGE_BITS);
    memset((void *)rb->pages, RAM_DIRTY_ALL, size >> PAGE_BITS);
    return rb;
}

void ram_block_free(RamBlock *rb)
{
    if (!rb)
        return;
    munmap(rb->host, rb->size);
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
