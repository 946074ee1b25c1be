/*
 * drive: -drive, -hda and friends: one option table to a named drive with its chain.
 */
#include <errno.h>
#include "block/block_int.h"
#include "block/dev_int.h"
#include "block/graph_int.h"

static const char *const if_names[] = { "", "none", "ide", "scsi", "floppy", "pflash", "virtio", "sd", NULL };

static bool take_int(GHashTable *opts, const char *key, int *out, GError **err)
{
    uint64_t v = 0;

    if (!block_opts_get(opts, key))
        return true;
    if (!block_opts_take_u64(opts, key, &v, err))
        return false;
    if (v > 255)
        return err_set(err, "%s=%" PRIu64 " is too large", key, v);
    *out = v;
    return true;
}

static bool take_place(GHashTable *opts, BlockPlace *p, GError **err)
{
    g_autofree char *ifname = NULL, *media = NULL;

    *p = (BlockPlace) { BLOCK_IF_DEFAULT, -1, -1, -1, false };
    if (block_opts_take(opts, "if", &ifname)) {
        int i;
        for (i = 1; if_names[i] && strcmp(if_names[i], ifname); i++)
            ;
        if (!if_names[i]) {
            const char *near = nearest_name(ifname, if_names);
            return err_set(err, "unsupported bus type '%s'%s%s%s", ifname, near ? ": did you mean '" : "",
                           near ? near : "", near ? "'?" : "");
        }
        p->type = i;
    }
    if (block_opts_take(opts, "media", &media)) {
        if (strcmp(media, "disk") && strcmp(media, "cdrom"))
            return err_set(err, "'%s' invalid media: use disk or cdrom", media);
        p->cdrom = g_str_equal(media, "cdrom");
    }
    return take_int(opts, "index", &p->index, err) && take_int(opts, "bus", &p->bus, err) &&
           take_int(opts, "unit", &p->unit, err);
}

static bool policy_ok(const char *text, bool write, BlockErrPolicy *out, GError **err)
{
    static const char *const names[] = { "report", "ignore", "enospc", "stop", NULL };

    for (int i = 0; names[i]; i++)
        if (g_str_equal(names[i], text) && (write || i != BLOCK_ERR_ENOSPC)) {
            *out = i;
            return true;
        }
    return err_set(err, "'%s' invalid %s error action: use report, ignore%s or stop", text, write ? "write" : "read",
                   write ? ", enospc" : "");
}

typedef struct DriveOpts {
    char *id, *file, *cache, *aio, *werror, *rerror, *ro_old;
    bool snapshot, read_only, cor;
    unsigned flags;
    bool wce;
} DriveOpts;

static void drive_opts_clear(DriveOpts *d)
{
    g_free(d->id);
    g_free(d->file);
    g_free(d->cache);
    g_free(d->aio);
    g_free(d->werror);
    g_free(d->rerror);
    g_free(d->ro_old);
}

static bool take_drive_opts(BlockGraph *g, GHashTable *opts, DriveOpts *d, GError **err)
{
    bool direct, no_flush;

    d->snapshot = g->snapshot;
    d->flags = BLOCK_RDWR;
    d->wce = true;
    block_opts_take(opts, "id", &d->id);
    block_opts_take(opts, "file", &d->file);
    block_opts_take(opts, "aio", &d->aio);
    block_opts_take(opts, "werror", &d->werror);
    block_opts_take(opts, "rerror", &d->rerror);
    if (block_opts_take(opts, "cache", &d->cache) && !block_cache_mode(d->cache, &d->flags, &d->wce))
        return err_set(err, "invalid cache option '%s': use writeback, none, writethrough, directsync or unsafe",
                       d->cache);
    direct = d->flags & BLOCK_NOCACHE;
    no_flush = d->flags & BLOCK_NO_FLUSH;
    if (!block_opts_take_bool(opts, "cache.writeback", &d->wce, err) ||
        !block_opts_take_bool(opts, "cache.direct", &direct, err) ||
        !block_opts_take_bool(opts, "cache.no-flush", &no_flush, err) ||
        !block_opts_take_bool(opts, "snapshot", &d->snapshot, err) ||
        !block_opts_take_bool(opts, "copy-on-read", &d->cor, err) ||
        !block_opts_take_bool(opts, "readonly", &d->read_only, err) ||
        !block_opts_take_bool(opts, "read-only", &d->read_only, err))
        return false;
    d->flags = (d->flags & ~(BLOCK_NOCACHE | BLOCK_NO_FLUSH)) | (direct ? BLOCK_NOCACHE : 0) |
               (no_flush ? BLOCK_NO_FLUSH : 0);
    return true;
}

static char *auto_name(BlockPlace *p)
{
    if (p->type == BLOCK_IF_DEFAULT || p->type == BLOCK_IF_IDE)
        return g_strdup_printf("ide%d-%s%d", p->index / 2, p->cdrom ? "cd" : "hd", p->index % 2);
    if (p->type == BLOCK_IF_SCSI)
        return g_strdup_printf("scsi0-%s%d", p->cdrom ? "cd" : "hd", p->index);
    return g_strdup_printf("%s%d", if_names[p->type], MAX(p->index, 0));
}

static bool same_bus(BlockIf a, BlockIf b)
{
    a = a == BLOCK_IF_DEFAULT ? BLOCK_IF_IDE : a;
    b = b == BLOCK_IF_DEFAULT ? BLOCK_IF_IDE : b;
    return a == b;
}

static bool choose_index(BlockGraph *g, BlockPlace *p, GError **err)
{
    bool given = p->index >= 0 || p->bus >= 0 || p->unit >= 0;

    if (p->type == BLOCK_IF_NONE)
        return true;
    if (p->index >= 0 && (p->bus >= 0 || p->unit >= 0))
        return err_set(err, "index cannot be used with bus and unit");
    if (p->index < 0 && given)
        p->index = p->type == BLOCK_IF_DEFAULT || p->type == BLOCK_IF_IDE ? MAX(p->bus, 0) * 2 + MAX(p->unit, 0)
                                                                          : MAX(p->unit, 0);
    for (int i = given ? p->index : 0; ; i++) {
        bool used = false;
        for (BlockDev *d = NULL; (d = block_drive_next(g, d)); )
            used |= same_bus(d->place.type, p->type) && d->place.index == i;
        if (!used) {
            p->index = i;
            return true;
        }
        if (given)
            return err_set(err, "drive with bus=%d, unit=%d (index=%d) exists", i / 2, i % 2, i);
    }
}

/* throttling.bps-total= and the short bps= forms, as options of a throttle filter; NULL: none given. */
static GHashTable *take_throttle(GHashTable *opts)
{
    static const struct { const char *old, *key; } shorts[] = { { "bps", "bps-total" }, { "bps_rd", "bps-read" },
        { "bps_wr", "bps-write" }, { "iops", "iops-total" }, { "iops_rd", "iops-read" }, { "iops_wr", "iops-write" },
        { "bps_max", "bps-total-max" }, { "iops_max", "iops-total-max" }, { "bps_rd_max", "bps-read-max" },
        { "bps_wr_max", "bps-write-max" }, { "iops_rd_max", "iops-read-max" }, { "iops_wr_max", "iops-write-max" } };
    GHashTable *t = block_opts_sub(opts, "throttling");

    for (size_t i = 0; i < ARRAY_LEN(shorts); i++) {
        g_autofree char *v = NULL;
        if (block_opts_take(opts, shorts[i].old, &v))
            block_opts_set(t, shorts[i].key, v);
    }
    g_hash_table_remove(t, "group");
    g_hash_table_remove(t, "iops-size");
    if (g_hash_table_size(t))
        return t;
    g_hash_table_unref(t);
    return NULL;
}

static bool open_medium(BlockGraph *g, BlockDev *dev, DriveOpts *d, GHashTable *opts, GError **err)
{
    unsigned flags = d->flags;

    if (dev->want_read_only)
        flags &= ~BLOCK_RDWR;
    if (d->snapshot && !dev->want_read_only)
        flags |= BLOCK_SNAPSHOT;
    dev->open_flags = d->flags;
    if (!d->file && !g_hash_table_size(opts))
        return true;
    if (d->aio && !block_opts_get(opts, "file.aio"))
        block_opts_set(opts, "file.aio", d->aio);
    if (d->cor)
        flags |= BLOCK_COPY_ON_READ;
    if (d->file && block_node_find(g, d->file) && !g_hash_table_size(opts)) {
        dev->node = block_node_ref(block_node_find(g, d->file));
        return true;
    }
    g_autoptr(GHashTable) limits = take_throttle(opts);
    dev->node = block_open(g, d->file, opts, flags, err);
    if (dev->node && limits) {
        dev->node = block_filter_on(&block_drv_throttle, dev->node, limits, err);
        if (dev->node && g_hash_table_size(limits)) {
            GHashTableIter it;
            gpointer k, v;
            g_hash_table_iter_init(&it, limits);
            g_hash_table_iter_next(&it, &k, &v);
            return err_set(err, "throttling.%s is not supported", (char *)k);
        }
    }
    return dev->node != NULL;
}

static const char *const drive_keys[] = { "file", "format", "id", "if", "index", "bus", "unit", "media", "cache",
    "aio", "snapshot", "readonly", "read-only", "discard", "detect-zeroes", "werror", "rerror", "copy-on-read",
    "driver", "node-name", "cache.writeback", "cache.direct", "cache.no-flush", "auto-read-only", NULL };

static bool refuse_typos(GHashTable *opts, GError **err)
{
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, opts);
    while (g_hash_table_iter_next(&it, &k, &v)) {
        if (strchr(k, '.') || g_strv_contains(drive_keys, k))
            continue;
        const char *near = nearest_name(k, drive_keys);
        if (g_str_has_prefix(k, "bps") || g_str_has_prefix(k, "iops"))
            continue;
        if (near && !block_opts_get(opts, near))
            return err_set(err, "-drive does not support the option '%s': did you mean '%s'?", (char *)k, near);
        if (g_str_equal(k, "serial") || g_str_equal(k, "addr"))
            return err_set(err, "-drive no longer takes '%s': give it to -device", (char *)k);
    }
    return true;
}

BlockDev *block_drive_add(BlockGraph *g, GHashTable *given, GError **err)
{
    g_autoptr(GHashTable) opts = block_opts_copy(given);
    DriveOpts d = { 0 };
    BlockPlace place;
    BlockDev *dev = NULL;
    bool ok = refuse_typos(opts, err) && take_place(opts, &place, err) && take_drive_opts(g, opts, &d, err) &&
              choose_index(g, &place, err);

    if (ok && !d.id)
        d.id = auto_name(&place);
    for (BlockDev *o = NULL; ok && (o = block_drive_next(g, o)); )
        if (g_str_equal(o->name, d.id))
            ok = err_set(err, "Duplicate ID '%s' for drive", d.id);
    if (ok) {
        dev = block_dev_new(g, d.id);
        dev->place = place;
        dev->wce = d.wce;
        dev->want_read_only = d.read_only || place.cdrom;
        ok = (!d.werror || policy_ok(d.werror, true, &dev->werror, err)) &&
             (!d.rerror || policy_ok(d.rerror, false, &dev->rerror, err)) && open_medium(g, dev, &d, opts, err);
        if (!ok) {
            block_dev_delete(dev);
            dev = NULL;
        }
    }
    drive_opts_clear(&d);
    return dev;
}

BlockDev *block_drive_add_file(BlockGraph *g, const char *filename, const char *extra, GError **err)
{
    g_autoptr(GHashTable) opts = block_opts_parse(extra ? extra : "", NULL, err);

    if (!opts)
        return NULL;
    block_opts_set(opts, "file", filename);
    return block_drive_add(g, opts, err);
}

BlockDev *block_drive_next(BlockGraph *g, BlockDev *prev)
{
    GList *all = (*block_graph_devs(g))->all;
    GList *l = prev ? g_list_find(all, prev) : NULL;

    l = prev ? (l ? l->next : NULL) : all;
    return l ? l->data : NULL;
}

BlockDev *block_dev_find(BlockGraph *g, const char *name, GError **err)
{
    BlockNode *n;

    for (BlockDev *d = NULL; (d = block_drive_next(g, d)); )
        if (g_str_equal(d->name, name))
            return d;
    n = block_node_find(g, name);
    if (!n) {
        err_set_code(err, ERR_NOT_FOUND, "Can't find drive or node '%s'", name);
        return NULL;
    }
    BlockDev *dev = block_dev_new(g, "");
    dev->node = block_node_ref(n);
    dev->want_read_only = n->read_only;
    return dev;
}

BlockDev *block_dev_new_empty(BlockGraph *g, const char *name)
{
    return block_dev_new(g, name ? name : "");
}
