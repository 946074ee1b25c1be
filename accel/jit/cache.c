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

enum { ARENA_KEPT = LARGE_PAGE, ARENA_PER_CODE = 4 };

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

/* Address space only. Descriptions are about as long as the code they describe, so this is more than is ever used. */
bool jit_arena_create(JitCpu *j, GError **err)
{
    j->arena_size = ARENA_PER_CODE * j->m->tb_size;
    j->arena = large_alloc(j->arena_size);
    if (!j->arena) {
        g_set_error(err, G_FILE_ERROR, g_file_error_from_errno(errno), "no memory for translations: %s", g_strerror(errno));
        return false;
    }
    madvise(j->arena, j->arena_size, MADV_HUGEPAGE);
    j->arena_used = JIT_ID_MIN << JIT_ID_SHIFT;
    return true;
}

void jit_arena_reset(JitCpu *j)
{
    if (j->arena_used > ARENA_KEPT)
        madvise(j->arena + ARENA_KEPT, j->arena_size - ARENA_KEPT, MADV_DONTNEED);
    memset(j->arena, 0, MIN(j->arena_used, (size_t)ARENA_KEPT));
    j->arena_used = JIT_ID_MIN << JIT_ID_SHIFT;
}

void *jit_arena(JitCpu *j, size_t bytes)
{
    uint8_t *p = j->arena + j->arena_used;

    j->arena_used += (bytes + 7) & ~(size_t)7;
    return p;
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
