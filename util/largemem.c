/* largemem: memory that begins where a large page of the host may. */
#include "util/largemem.h"

#include <stdint.h>
#include <sys/mman.h>

void *large_alloc(size_t size)
{
    size_t whole = (size + 4095) & ~(size_t)4095, head;
    uint8_t *p = mmap(NULL, whole + LARGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (p == MAP_FAILED)
        return NULL;
    head = -(uintptr_t)p & (LARGE_PAGE - 1);
    if (head)
        munmap(p, head);
    munmap(p + head + whole, LARGE_PAGE - head);
    return p + head;
}
