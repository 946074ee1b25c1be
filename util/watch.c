/* watch: descriptors in the main loop. */
#include "util/watch.h"

guint watch_fd(int fd, GIOCondition condition, GUnixFDSourceFunc fn, gpointer opaque)
{
    GSource *s = g_unix_fd_source_new(fd, condition);
    guint id;

    g_source_set_can_recurse(s, TRUE);
    g_source_set_callback(s, G_SOURCE_FUNC(fn), opaque, NULL);
    id = g_source_attach(s, NULL);
    g_source_unref(s);
    return id;
}
