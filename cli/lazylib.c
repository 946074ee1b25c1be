/*
 * lazylib: shared libraries that are loaded at the first call of one of their functions.
 *
 * A window library alone drags in fifty others; a short command must not pay for them. The table
 * and the jumps come from scripts/lazy-libs.sh; without them (other hosts, sanitizers) all is linked as usual.
 */
#include "cli/lazylib.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct LazyLib {        /* laid out by scripts/lazy-libs.sh */
    const char *soname;
    const char *const *names;
    void **slots;               /* written once each, with the same value by whoever comes first */
    unsigned long count;
    void *handle;
} LazyLib;

extern LazyLib lazylib_table[] __attribute__((weak));
void *lazylib_resolve(unsigned long lib, unsigned long symbol);

static void *lib_handle(LazyLib *l)
{
    void *h = __atomic_load_n(&l->handle, __ATOMIC_ACQUIRE);

    if (!h) {
        h = dlopen(l->soname, RTLD_NOW | RTLD_LOCAL);
        __atomic_store_n(&l->handle, h, __ATOMIC_RELEASE);
    }
    return h;
}

static void *resolve(LazyLib *l, unsigned long symbol)
{
    void *fn = lib_handle(l) ? dlsym(l->handle, l->names[symbol]) : NULL;

    if (fn)
        __atomic_store_n(&l->slots[symbol], fn, __ATOMIC_RELEASE);
    return fn;
}

/* The caller expects a function that returns: without one the process cannot go on. */
void *lazylib_resolve(unsigned long lib, unsigned long symbol)
{
    void *fn = resolve(&lazylib_table[lib], symbol);

    if (!fn) {
        fprintf(stderr, "quern: %s: %s\n", lazylib_table[lib].soname, dlerror());
        _exit(EXIT_FAILURE);
    }
    return fn;
}

void lazylib_load_all(void)
{
    for (LazyLib *l = lazylib_table; l && l->soname; l++)
        for (unsigned long i = 0; i < l->count; i++)
            (void)!resolve(l, i);
}
