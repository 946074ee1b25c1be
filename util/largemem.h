/* largemem: memory that begins where a large page of the host may. */
#ifndef UTIL_LARGEMEM_H
#define UTIL_LARGEMEM_H

#include <stddef.h>

enum { LARGE_PAGE = 2 << 20 };

/* size bytes, rounded up to whole pages: zero, from a LARGE_PAGE border on, not reserved. NULL: errno. Free it with munmap(). */
void *large_alloc(size_t size);

#endif
