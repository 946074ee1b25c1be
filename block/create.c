/*
 * create: new image files that vanish again unless finished, and requests to format drivers.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/block_int.h"
#include "block/graph_int.h"

bool block_newfile_open(BlockNewFile *f, const char *path, GError **err)
{
    struct stat st;

    if (g_str_has_prefix(path, "file:"))
        path += 5;
    *f = (BlockNewFile) { .fd = -1, .made = g_access(path, F_OK) != 0 };
    f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
    if (f->fd < 0)
        return err_set_errno(err, errno, "Could not create '%s'", path);
    unsigned held = 0;
    bool ok = block_lock_add(f->fd, path, &held, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE,
                             BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, err);
    if (ok && (fstat(f->fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))))
        ok = err_set(err, "%s: not a regular file or block device", path);
    if (ok && S_ISREG(st.st_mode) && ftruncate(f->fd, 0) < 0)
        ok = err_set_errno(err, errno, "%s: Could not clear file", path);
    f->path = g_strdup(path);
    if (!ok)
        block_newfile_abandon(f);
    return ok;
}

void block_newfile_abandon(BlockNewFile *f)
{
    if (f->fd >= 0) {
        if (f->made)
            unlink(f->path);
        close(f->fd);
    }
    f->fd = -1;
    g_clear_pointer(&f->path, g_free);
}

bool block_newfile_write(BlockNewFile *f, uint64_t off, const void *buf, size_t len, GError **err)
{
    while (len) {
        ssize_t r = pwrite(f->fd, buf, len, off);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            err_set_errno(err, r < 0 ? errno : EIO, "%s: Could not write", f->path);
            block_newfile_abandon(f);
            return false;
        }
        buf = (const char *)buf + r;
        off += r;
        len -= r;
    }
    return true;
}

static int fill_file(int fd, uint64_t length)
{
    g_autofree char *zero = g_malloc0(MiB);

    for (uint64_t o = 0; o < length; ) {
        ssize_t r = pwrite(fd, zero, MIN(MiB, length - o), o);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? errno : EIO;
        o += r;
    }
    return 0;
}

bool block_newfile_finish(BlockNewFile *f, uint64_t length, const char *prealloc, GError **err)
{
    struct stat st;
    int e = 0;

    if (fstat(f->fd, &st) < 0)
        e = errno;
    else if (S_ISBLK(st.st_mode))
        e = (uint64_t)lseek(f->fd, 0, SEEK_END) < length ? ENOSPC : 0;
    else if (prealloc && g_str_equal(prealloc, "falloc") && length)
        e = posix_fallocate(f->fd, 0, length);
    else if (prealloc && g_str_equal(prealloc, "full") && length)
        e = fill_file(f->fd, length);
    else if ((uint64_t)st.st_size < length && ftruncate(f->fd, length) < 0)
        e = errno;
    if (e) {
        err_set_errno(err, e, "%s: The image size is too large for this file system, or no space", f->path);
        block_newfile_abandon(f);
        return false;
    }
    close(f->fd);
    f->fd = -1;
    g_clear_pointer(&f->path, g_free);
    return true;
}

bool block_create_size(GHashTable *opts, uint64_t *size, GError **err)
{
    uint64_t v = UINT64_MAX;

    if (!block_opts_take_u64(opts, "size", &v, err))
        return false;
    if (v == UINT64_MAX)
        return err_set(err, "Image creation needs a size parameter");
    if (v > INT64_MAX - 511)
        return err_set(err, "Image size must be less than 8 EiB!");
    *size = (v + 511) & ~511ULL;
    return true;
}

const BlockCreateOption *block_create_options(const char *format)
{
    const BlockDriver *d = block_driver_find(format);

    return d && d->create ? d->create_options : NULL;
}

static bool options_known(const BlockDriver *d, GHashTable *opts, GError **err)
{
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, opts);
    while (g_hash_table_iter_next(&it, &k, &v)) {
        const BlockCreateOption *o = d->create_options;
        while (o->name && strcmp(o->name, k))
            o++;
        if (!o->name && (g_str_equal(k, "backing_file") || g_str_equal(k, "backing_fmt")))
            return err_set(err, "Backing file not supported for file format '%s'", d->name);
        if (!o->name)
            return err_set(err, "Invalid parameter '%s'", (char *)k);
    }
    return true;
}

bool block_create(BlockGraph *g, const char *filename, const char *format, GHashTable *opts, char **shown,
                  GError **err)
{
    const BlockDriver *d = block_driver_find(format);
    g_autoptr(GHashTable) mine = block_opts_copy(opts);
    g_autoptr(GString) text = g_string_new(NULL);

    if (!d)
        return err_set_code(err, ERR_NOT_FOUND, "Unknown file format '%s'", format);
    if (!d->create)
        return err_set_code(err, ERR_UNSUPPORTED, "Format driver '%s' does not support image creation", format);
    if (!options_known(d, mine, err) || !d->create(g, filename, mine, text, err))
        return false;
    if (shown)
        *shown = g_strdup(text->str);
    return true;
}

bool block_measure(const char *format, GHashTable *opts, BlockNode *src, BlockMeasure *m, GError **err)
{
    const BlockDriver *d = block_driver_find(format);
    g_autoptr(GHashTable) mine = block_opts_copy(opts);
    uint64_t size = 0;

    if (!d)
        return err_set_code(err, ERR_NOT_FOUND, "Unknown file format '%s'", format);
    if (!d->measure)
        return err_set_code(err, ERR_UNSUPPORTED, "Block driver '%s' does not support size measurement", format);
    if (!options_known(d, mine, err))
        return false;
    if (src)
        size = block_node_size(src);
    else if (!block_create_size(mine, &size, err))
        return false;
    *m = (BlockMeasure) { 0 };
    return d->measure(mine, src, size, m, err);
}

/* ---- requests to the driver of an open node ---- */
static const BlockNode *format_of(const BlockNode *n)
{
    while (n->drv->kind == DRV_FILTER && n->file)
        n = n->file;
    return n;
}

static bool cannot(const BlockNode *n, const char *what, GError **err)
{
    return err_set_code(err, ERR_UNSUPPORTED, "Image format driver '%s' does not support %s", n->drv->name, what);
}

GPtrArray *block_snapshot_list(BlockNode *n)
{
    n = (BlockNode *)format_of(n);
    return n->drv->snap_list ? n->drv->snap_list(n)
                             : g_ptr_array_new_with_free_func((GDestroyNotify)block_snapshot_free);
}

void block_snapshot_free(BlockSnapshot *s)
{
    if (s) {
        g_free(s->id);
        g_free(s->name);
        g_free(s);
    }
}

#define FORWARD(fn, member, what, params, args)                                  \
    bool fn params                                                               \
    {                                                                            \
        n = (BlockNode *)format_of(n);                                           \
        return n->drv->member ? n->drv->member args : cannot(n, what, err);      \
    }
FORWARD(block_snapshot_create, snap_create, "internal snapshots", (BlockNode *n, const char *name, GError **err),
        (n, name, err))
FORWARD(block_snapshot_apply, snap_apply, "internal snapshots", (BlockNode *n, const char *id, GError **err),
        (n, id, err))
FORWARD(block_snapshot_delete, snap_delete, "internal snapshots", (BlockNode *n, const char *id, GError **err),
        (n, id, err))
FORWARD(block_snapshot_load, snap_load, "internal snapshots", (BlockNode *n, const char *id, GError **err),
        (n, id, err))
FORWARD(block_change_backing, change_backing, "backing files",
        (BlockNode *n, const char *name, const char *format, GError **err), (n, name, format, err))
FORWARD(block_amend, amend, "option amendment", (BlockNode *n, GHashTable *opts, bool force, GError **err),
        (n, opts, force, err))
FORWARD(block_make_empty, make_empty, "emptying", (BlockNode *n, GError **err), (n, err))
FORWARD(block_check, check, "consistency checks", (BlockNode *n, unsigned fix, BlockCheck *res, GError **err),
        (n, fix, res, err))
#undef FORWARD

bool block_can_check(const BlockNode *n) { return format_of(n)->drv->check != NULL; }

/* ---- info ---- */
void block_info_add(BlockInfo *info, const char *key, const char *fmt, ...)
{
    BlockInfoItem *it = g_new(BlockInfoItem, 1);
    va_list ap;

    va_start(ap, fmt);
    *it = (BlockInfoItem) { g_strdup(key), g_strdup_vprintf(fmt, ap) };
    va_end(ap);
    if (!info->specific)
        info->specific = g_ptr_array_new();
    g_ptr_array_add(info->specific, it);
}

char *block_json_quote(const char *text)
{
    GString *s = g_string_new("\"");

    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            g_string_append_printf(s, "\\%c", *p);
        else if (*p < 0x20)
            g_string_append_printf(s, "\\u%04x", *p);
        else
            g_string_append_c(s, *p);
    }
    return g_string_free(g_string_append_c(s, '"'), FALSE);
}

static int64_t allocated_size(BlockNode *n)
{
    int64_t sum = 0;

    if (n->drv->allocated)
        return n->drv->allocated(n);
    if (n->file)
        sum = allocated_size(n->file);
    return n->drv->kind == DRV_PROTOCOL ? -1 : sum;
}

bool block_info(BlockNode *n, BlockInfo *info, GError **err)
{
    n = (BlockNode *)format_of(n);
    *info = (BlockInfo) { .virtual_size = block_node_size(n), .cluster_size = n->cluster_size };
    info->actual_size = allocated_size(n);
    if (n->backing_name) {
        info->backing_filename = g_strdup(n->backing_name);
        info->backing_format = g_strdup(n->backing_format);
        info->full_backing_filename = block_resolve_name(n->filename, n->backing_name);
    }
    return !n->drv->info || n->drv->info(n, info, err);
}

void block_info_clear(BlockInfo *info)
{
    g_free(info->backing_filename);
    g_free(info->full_backing_filename);
    g_free(info->backing_format);
    for (guint i = 0; info->specific && i < info->specific->len; i++) {
        BlockInfoItem *it = g_ptr_array_index(info->specific, i);
        g_free(it->key);
        g_free(it->value);
        g_free(it);
    }
    if (info->specific)
        g_ptr_array_free(info->specific, TRUE);
    *info = (BlockInfo) { 0 };
}

/* ---- throw-away overlay ---- */
BlockNode *block_overlay_new(BlockNode *base, unsigned flags, GError **err)
{
    g_autofree char *path = NULL, *size = g_strdup_printf("%" PRIu64, block_node_size(base));
    g_autoptr(GHashTable) opts = block_opts_new();
    const char *dir = g_getenv("TMPDIR");
    BlockNode *n = NULL;
    int fd;

    path = g_build_filename(dir ? dir : "/var/tmp", "quern-overlay-XXXXXX", NULL);
    fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0) {
        err_set_errno(err, errno, "Could not create the snapshot file '%s'", path);
        block_node_unref(base);
        return NULL;
    }
    close(fd);
    block_opts_set(opts, "size", size);
    if (block_create(base->graph, path, "qcow2", opts, NULL, err)) {
        g_autoptr(GHashTable) oopts = block_opts_new();
        block_opts_set(oopts, "driver", "qcow2");
        n = block_open(base->graph, path, oopts, BLOCK_RDWR | BLOCK_UNMAP | BLOCK_NO_FLUSH | BLOCK_NO_BACKING, err);
    }
    unlink(path);
    if (!n) {
        block_node_unref(base);
        return NULL;
    }
    block_set_backing(n, base);
    block_node_unref(base);
    return n;
}
