/*
 * cache: memory for generated code, mapped twice, and the arena of block descriptions.
 *
 * One memfd: an executable mapping and a writable one, so no page is ever both. Each vcpu has its
 * own cache: no locks while translating, and flushing stops nobody else.
 */
#include "accel/jit/jit_int.h"

#include "util/largemem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ARENA_CHUNK = LARGE_PAGE };

bool jit_cache_create(CodeCache *k, size_t size, GError **err)
{
    int fd = memfd_create("quern-jit", MFD_CLOEXEC);
    void *rw = MAP_FAILED, *rx = MAP_FAILED;

    if (fd >= 0 && !ftruncate(fd, size)) {
        rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    if (rw == MAP_FAILED || rx == MAP_FAILED) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "cannot map %zu MiB for generated code: %s", size >> 20, g_strerror(errno));
        if (rw != MAP_FAILED)
            munmap(rw, size);
        if (fd >= 0)
            close(fd);
        return false;
    }
    close(fd);
    *k = (CodeCache) { .rw = rw, .rx = (uint64_t)(uintptr_t)rx, .size = size,
                      .hot_size = size / 8 * 5 & ~(size_t)63, .cold = size / 8 * 5 & ~(size_t)63 };
    return true;
}

void jit_cache_destroy(CodeCache *k)
{
    if (!k->rw)
        return;
    munmap(k->rw, k->size);
    munmap((void *)(uintptr_t)k->rx, k->size);
    k->rw = NULL;
}

void *jit_huge_alloc(size_t size)
{
    void *p = large_alloc(size);

    if (!p)
        g_error("no memory for translations (%zu bytes)", size);
    madvise(p, size, MADV_HUGEPAGE);
    return p;
}

void jit_huge_advise(void *p, size_t size)
{
    size &= ~(size_t)4095;
    madvise(p, size, MADV_HUGEPAGE);
    madvise(p, size, 25);       /* MADV_COLLAPSE: what is there already; kernels that cannot take their time */
}

void jit_chunk_free(gpointer p) { munmap(p, ARENA_CHUNK); }

void *jit_arena(JitCpu *j, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (!j->chunks->len || j->chunk_used + bytes > ARENA_CHUNK) {
        g_ptr_array_add(j->chunks, jit_huge_alloc(ARENA_CHUNK));
        j->chunk_used = 0;
    }
    uint8_t *p = (uint8_t *)g_ptr_array_index(j->chunks, j->chunks->len - 1) + j->chunk_used;
    j->chunk_used += bytes;
    return memset(p, 0, bytes);
}

bool jit_shadow_create(JitCpu *j, GError **err)
{
    void *p = mmap(NULL, SHADOW_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED || mprotect(p, SHADOW_GUARD, PROT_NONE)) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno), "no memory for a stack: %s", g_strerror(errno));
        return false;
    }
    j->shadow = p;
    jit_env(j->c)->shadow = (uint64_t)(uintptr_t)p + SHADOW_SIZE - SHADOW_TOP;
    return true;
}

void jit_shadow_destroy(JitCpu *j)
{
    if (j->shadow)
        munmap(j->shadow, SHADOW_SIZE);
    j->shadow = NULL;
}
