/* lazylib: shared libraries that are loaded at the first call of one of their functions (scripts/lazy-libs.sh). */
#ifndef CLI_LAZYLIB_H
#define CLI_LAZYLIB_H

/* Loads all of them now, as far as they exist: before a chroot or a filter takes the files away. */
void lazylib_load_all(void);

#endif
