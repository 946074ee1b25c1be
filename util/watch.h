/* watch: call a function when a descriptor is ready, for descriptors that are often ready. */
#ifndef UTIL_WATCH_H
#define UTIL_WATCH_H

#include <glib-unix.h>

/*
 * As g_unix_fd_add() on the default main context. GLib takes a source's descriptors out of the poll set around each
 * call and wakes its own poll for it, twice a call; sources that may recurse are left in. So fn must not run the
 * main loop itself.
 */
guint watch_fd(int fd, GIOCondition condition, GUnixFDSourceFunc fn, gpointer opaque);

#endif
