/*
 * fdset: file descriptors the parent process passed, by the names /dev/fdset/N that stand for them.
 *
 * Descriptors belong to the process, so the sets do, too; -add-fd fills them before threads start.
 */
#ifndef UTIL_FDSET_H
#define UTIL_FDSET_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* fd joins the set. False: fd is not open. */
bool fdset_add(unsigned set, int fd, GError **err) G_GNUC_WARN_UNUSED_RESULT;
/* open(), but "/dev/fdset/N" gives a duplicate of the set's descriptor with the access mode of
   flags (or read-write). -1 with errno like open(). */
int fdset_open(const char *path, int flags, mode_t mode);

#endif
