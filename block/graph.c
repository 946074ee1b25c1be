/*
 * graph: opens chains of nodes from described options, and knows nodes by name.
 *
 * Names found inside images never reach further than regular files and block devices:
 * protocol prefixes and json: are for the host user only (docs/block.md, "References").
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "block/block_int.h"
#include "block/graph_int.h"
#include "util/log.h"

enum { MAX_DEPTH = 64, MAX_DEPTH_BESIDE = 16, PROBE_BYTES = 2048 };

static const BlockDriver *const drivers[] = {
    &block_drv_raw, &block_drv_file, &block_drv_host_device, &block_drv_host_cdrom,
    &block_drv_null_co, &block_drv_null_aio, &block_drv_qcow2, &block_drv_vmdk, &block_drv_vdi,
    &block_drv_vpc, &block_drv_vhdx, &block_drv_nbd, &block_drv_throttle, &block_drv_cor, &block_drv_fault, &block_drv_record, NULL,
};

const BlockDriver *const *block_drivers(void) { return drivers; }

const BlockDriver *block_driver_find(const char *name)
{
    for (const BlockDriver *const *d = drivers; *d; d++)
        if (g_str_equal((*d)->name, name))
            return *d;
    return NULL;
}

const char *const *block_formats(void)
{
    static const char *const names[] = { "raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx", NULL };

    return names;
}

static bool unknown_driver(const char *name, GError **err)
{
    const char *names[ARRAY_LEN(drivers)] = { NULL };
    const char *near;

    for (int i = 0; drivers[i]; i++)
        names[i] = drivers[i]->name;
    near = nearest_name(name, names);
    return err_set_code(err, ERR_NOT_FOUND, "Unknown driver '%s'%s%s%s", name, near ? ": did you mean '" : "",
                        near ? near : "", near ? "'?" : "");
}

/* ---- graph ---- */
BlockGraph *block_graph_new(GMainContext *context)
{
    BlockGraph *g = g_new0(BlockGraph, 1);

    g_mutex_init(&g->lock);
    g->pool = block_pool_new(32);
    block_graph_devs_init(g, context);
    return g;
}

void block_graph_free(BlockGraph *g)
{
    if (!g)
        return;
    block_graph_devs_free(g);
    while (g->owned) {
        BlockNode *n = g->owned->data;
        g->owned = g_list_delete_link(g->owned, g->owned);
        block_node_unref(n);
    }
    for (size_t i = 0; i < ARRAY_LEN(g->aio); i++)
        block_aio_free(g->aio[i]);
    block_pool_free(g->pool);
    g_mutex_clear(&g->lock);
    g_free(g);
}

BlockPool *block_graph_pool(BlockGraph *g) { return g->pool; }
struct BlockDevs **block_graph_devs(BlockGraph *g) { return &g->devs; }
void block_graph_set_snapshot(BlockGraph *g, bool on) { g->snapshot = on; }

bool block_graph_set_policy(BlockGraph *g, const char *policy)
{
    static const char *const names[] = { "any", "beside", "none" };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (g_str_equal(policy, names[i])) {
            g->refs = i;
            return true;
        }
    return false;
}

/* ---- nodes ---- */
BlockNode *block_node_new(BlockGraph *g, const BlockDriver *drv, const char *filename, unsigned flags)
{
    BlockNode *n = g_new0(BlockNode, 1);

    n->drv = drv;
    n->graph = g;
    n->refs = 1;
    n->filename = g_strdup(filename ? filename : "");
    n->flags = flags;
    n->read_only = !(flags & BLOCK_RDWR);
    n->align = 1;
    g_mutex_lock(&g->lock);
    n->node_name = g_strdup_printf("#block%03u", g->next_id++);
    g->all = g_list_prepend(g->all, n);
    g_mutex_unlock(&g->lock);
    return n;
}

BlockNode *block_node_ref(BlockNode *n)
{
    if (n)
        g_atomic_int_inc(&n->refs);
    return n;
}

/* Frees a node whose driver is closed (or never opened). */
static void node_free(BlockNode *n)
{
    g_mutex_lock(&n->graph->lock);
    n->graph->all = g_list_remove(n->graph->all, n);
    g_mutex_unlock(&n->graph->lock);
    block_node_unref(n->backing);
    g_free(n->node_name);
    g_free(n->filename);
    g_free(n->backing_name);
    g_free(n->backing_format);
    g_free(n);
}

bool block_node_close(BlockNode *n, GError **err)
{
    int ret = 0, r2;
    bool ok = true;

    if (!n || !g_atomic_int_dec_and_test(&n->refs))
        return true;
    g_autofree char *name = g_strdup(n->filename);
    if (!n->read_only)
        ret = block_flush(n);
    r2 = n->drv->close ? n->drv->close(n) : 0;
    ret = ret ? ret : r2;
    if (n->file)
        ok = block_node_close(n->file, ret ? NULL : err);
    node_free(n);
    if (ret)
        return err_set_errno(err, -ret, "Closing '%s'", name);
    return ok;
}

void block_node_unref(BlockNode *n)
{
    g_autoptr(GError) err = NULL;

    if (n && !block_node_close(n, &err))
        log_warn("%s", err->message);
}

uint64_t block_node_size(const BlockNode *n)
{
    return n->drv->length ? n->drv->length((BlockNode *)n) : __atomic_load_n(&n->size, __ATOMIC_RELAXED);
}
const char *block_node_filename(const BlockNode *n)
{
    while (n->drv->kind == DRV_FILTER && n->file)
        n = n->file;
    return n->filename;
}
const char *block_node_format(const BlockNode *n)
{
    while (n->drv->kind == DRV_FILTER && n->file)
        n = n->file;
    return n->drv->name;
}
const char *block_node_name(const BlockNode *n) { return n->node_name; }
bool block_node_read_only(const BlockNode *n) { return n->read_only; }
BlockNode *block_node_backing(const BlockNode *n) { return n->backing; }
BlockNode *block_node_file(const BlockNode *n) { return n->file; }
uint32_t block_node_cluster_size(const BlockNode *n) { return n->cluster_size; }
bool block_node_needs_compressed(const BlockNode *n) { return n->needs_compressed; }
bool block_node_can_compress(const BlockNode *n) { return n->drv->compresses && n->cluster_size; }

BlockNode *block_node_find(BlockGraph *g, const char *name)
{
    BlockNode *found = NULL;

    g_mutex_lock(&g->lock);
    for (GList *l = g->all; l && !found; l = l->next)
        if (g_str_equal(((BlockNode *)l->data)->node_name, name))
            found = l->data;
    g_mutex_unlock(&g->lock);
    return found;
}

/* ---- options every node takes ---- */
bool block_cache_mode(const char *mode, unsigned *flags, bool *wce)
{
    static const struct { const char *name; unsigned flags; bool wce; } modes[] = {
        { "writeback", 0, true }, { "none", BLOCK_NOCACHE, true }, { "off", BLOCK_NOCACHE, true },
        { "writethrough", 0, false }, { "directsync", BLOCK_NOCACHE, false }, { "unsafe", BLOCK_NO_FLUSH, true },
    };

    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (g_str_equal(mode, modes[i].name)) {
            *flags = (*flags & ~(BLOCK_NOCACHE | BLOCK_NO_FLUSH)) | modes[i].flags;
            *wce = modes[i].wce;
            return true;
        }
    return false;
}

static bool flag_option(GHashTable *opts, const char *key, unsigned *flags, unsigned bit, bool invert, GError **err)
{
    bool on = !!(*flags & bit) != invert;

    if (!block_opts_take_bool(opts, key, &on, err))
        return false;
    *flags = (*flags & ~bit) | (on != invert ? bit : 0);
    return true;
}

typedef struct CommonOpts { char *node_name, *detect; } CommonOpts;

static bool take_common(GHashTable *opts, unsigned *flags, CommonOpts *c, GError **err)
{
    g_autofree char *discard = NULL;

    if (!flag_option(opts, "read-only", flags, BLOCK_RDWR, true, err) ||
        !flag_option(opts, "auto-read-only", flags, BLOCK_AUTO_RDONLY, false, err) ||
        !flag_option(opts, "cache.direct", flags, BLOCK_NOCACHE, false, err) ||
        !flag_option(opts, "cache.no-flush", flags, BLOCK_NO_FLUSH, false, err) ||
        !flag_option(opts, "force-share", flags, BLOCK_NO_LOCK, false, err))
        return false;
    if (block_opts_take(opts, "discard", &discard)) {
        if (g_str_equal(discard, "unmap") || g_str_equal(discard, "on"))
            *flags |= BLOCK_UNMAP;
        else if (g_str_equal(discard, "ignore") || g_str_equal(discard, "off"))
            *flags &= ~BLOCK_UNMAP;
        else
            return err_set(err, "discard '%s' is not known: use ignore or unmap", discard);
    }
    block_opts_take(opts, "node-name", &c->node_name);
    if (block_opts_take(opts, "detect-zeroes", &c->detect) && strcmp(c->detect, "on") &&
        strcmp(c->detect, "off") && strcmp(c->detect, "unmap"))
        return err_set(err, "detect-zeroes '%s' is not known: use off, on or unmap", c->detect);
    return true;
}

static bool apply_common(BlockNode *n, CommonOpts *c, GError **err)
{
    if (c->detect) {
        n->detect_zeroes = strcmp(c->detect, "off") != 0;
        n->detect_unmap = strcmp(c->detect, "unmap") == 0;
    }
    if (c->node_name) {
        if (!g_regex_match_simple("^[A-Za-z][A-Za-z0-9_.-]{0,30}$", c->node_name, 0, 0))
            return err_set(err, "Invalid node-name: '%s'", c->node_name);
        if (block_node_find(n->graph, c->node_name))
            return err_set(err, "Duplicate nodes with node-name='%s'", c->node_name);
        g_free(n->node_name);
        n->node_name = g_strdup(c->node_name);
    }
    return true;
}

static void free_common(CommonOpts *c) { g_free(c->node_name); g_free(c->detect); }

static bool no_leftovers(const BlockDriver *drv, GHashTable *opts, GError **err)
{
    static const char *const common[] = { "read-only", "auto-read-only", "cache.direct", "cache.no-flush",
        "discard", "detect-zeroes", "node-name", "driver", "file", "backing", "filename", "force-share", "format", NULL };
    GHashTableIter it;
    gpointer k, v;
    const char *near;

    g_hash_table_iter_init(&it, opts);
    if (!g_hash_table_iter_next(&it, &k, &v))
        return true;
    near = drv->options ? nearest_name(k, drv->options) : NULL;
    if (!near)
        near = nearest_name(k, common);
    return err_set(err, "Block %s '%s' does not support the option '%s'%s%s%s",
                   drv->kind == DRV_PROTOCOL ? "protocol" : "format", drv->name, (char *)k,
                   near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

/* ---- opening ---- */
static BlockNode *open_depth(BlockGraph *g, const char *filename, GHashTable *opts, unsigned flags, int depth,
                             GError **err);

static BlockNode *open_protocol(BlockGraph *g, const BlockDriver *drv, const char *filename, GHashTable *opts,
                                unsigned flags, GError **err)
{
    g_autofree char *name = NULL;
    CommonOpts c = { 0 };
    BlockNode *n = NULL;

    block_opts_take(opts, "filename", &name);
    if (!name && filename)
        name = g_strdup(filename);
    if (!name && (drv == &block_drv_file || drv == &block_drv_host_device)) {
        err_set(err, "The 'file' block driver requires a file name");
        return NULL;
    }
    if (!take_common(opts, &flags, &c, err))
        goto out;
    n = block_node_new(g, drv, name, flags);
    if (!drv->open(n, opts, flags, err)) {
        node_free(n);
        n = NULL;
        goto out;
    }
    if (!no_leftovers(drv, opts, err) || !apply_common(n, &c, err)) {
        block_node_unref(n);
        n = NULL;
    }
out:
    free_common(&c);
    return n;
}

/* Splits "nbd:...", "file:..." and friends; *rest is what follows for file:. */
static const BlockDriver *protocol_of(const char *filename, const char **rest, GError **err)
{
    const char *colon = strchr(filename, ':'), *slash = strchr(filename, '/');
    struct stat st;

    *rest = filename;
    if (colon && (!slash || colon < slash)) {
        if (g_str_has_prefix(filename, "file:")) {
            *rest = filename + 5;
        } else {
            g_autofree char *scheme = g_strndup(filename, colon - filename);
            char *plus = strchr(scheme, '+');
            if (plus)
                *plus = 0;
            const BlockDriver *d = block_driver_find(scheme);
            if (d && d->kind == DRV_PROTOCOL)
                return d;
            if (strlen(scheme) > 1 && g_access(filename, F_OK)) {
                err_set(err, "Unknown protocol '%s'", scheme);
                return NULL;
            }
        }
    }
    if (stat(*rest, &st) == 0 && S_ISBLK(st.st_mode))
        return &block_drv_host_device;
    return &block_drv_file;
}

static const BlockDriver *probe_buffer(const uint8_t *buf, size_t len)
{
    const BlockDriver *best = &block_drv_raw;
    int score = 0;

    for (const BlockDriver *const *d = drivers; *d; d++) {
        int s = (*d)->probe ? (*d)->probe(buf, len) : 0;
        if (s > score) {
            score = s;
            best = *d;
        }
    }
    return best;
}

static const BlockDriver *probe_node(BlockNode *file, GError **err)
{
    uint8_t buf[PROBE_BYTES] = { 0 };
    int ret = block_pread(file, 0, buf, MIN(block_node_size(file), PROBE_BYTES));

    if (ret) {
        err_set_errno(err, -ret, "Could not read '%s' for format probing", file->filename);
        return NULL;
    }
    return probe_buffer(buf, sizeof buf);
}

const char *block_probe_file(const char *filename, GError **err)
{
    BlockGraph *g = block_graph_new(NULL);
    BlockNode *n = block_open(g, filename, NULL, BLOCK_NO_IO | BLOCK_NO_BACKING | BLOCK_NO_LOCK, err);
    const char *name = n ? n->drv->name : NULL;

    block_node_unref(n);
    block_graph_free(g);
    return name;
}

/* Flags of the file below a format: discards are the format's own decision. */
static unsigned child_flags(unsigned flags)
{
    return (flags & (BLOCK_RDWR | BLOCK_AUTO_RDONLY | BLOCK_NO_LOCK | BLOCK_NOCACHE | BLOCK_NO_FLUSH)) | BLOCK_UNMAP;
}

/* The child named by opts[key]: a node-name, or options key.x, or the file name. */
static BlockNode *open_child_option(BlockGraph *g, const char *key, const char *filename, GHashTable *opts,
                                    unsigned flags, int depth, GError **err)
{
    g_autofree char *ref = NULL;
    g_autoptr(GHashTable) sub = block_opts_sub(opts, key);

    if (block_opts_take(opts, key, &ref)) {
        BlockNode *n = block_node_find(g, ref);
        if (n)
            return block_node_ref(n);
        if (g_hash_table_size(sub)) {
            err_set_code(err, ERR_NOT_FOUND, "Cannot find device='' nor node-name='%s'", ref);
            return NULL;
        }
        if (g_access(ref, F_OK)) {
            err_set_code(err, ERR_NOT_FOUND, "Cannot find device='' nor node-name='%s'", ref);
            return NULL;
        }
        filename = ref;
    }
    if (block_opts_get(sub, "driver"))
        return open_depth(g, filename, sub, flags, depth + 1, err);
    const char *given = block_opts_get(sub, "filename"), *rest;
    if (given)
        filename = given;
    if (!filename) {
        err_set(err, "A block device must be specified for \"%s\"", key);
        return NULL;
    }
    g_autofree char *name = g_strdup(filename);
    g_autofree char *unused = NULL;
    const BlockDriver *drv = protocol_of(name, &rest, err);
    block_opts_take(sub, "filename", &unused);
    return drv ? open_protocol(g, drv, rest, sub, flags, err) : NULL;
}

char *block_resolve_name(const char *base, const char *name)
{
    g_autofree char *dir = NULL;

    if (g_path_is_absolute(name) || !base || !*base)
        return g_strdup(name);
    dir = g_path_get_dirname(base);
    return g_str_equal(dir, ".") && !g_str_has_prefix(base, "./") ? g_strdup(name)
                                                                  : g_strdup_printf("%s/%s", dir, name);
}

/* Is path, with all links followed, a regular file in the folder of owner or below it? */
static bool lies_beside(const char *owner, const char *path)
{
    g_autofree char *folder = g_path_get_dirname(owner);
    char *dir = realpath(folder, NULL), *file = realpath(path, NULL);
    size_t n = dir ? strlen(dir) : 0;
    struct stat st;
    bool ok = dir && file && !strncmp(dir, file, n) && (file[n] == '/' || (n == 1 && *dir == '/')) &&
              stat(file, &st) == 0 && S_ISREG(st.st_mode);

    free(dir);
    free(file);
    return ok;
}

/* A name found inside an image: plain path only, and as the policy of the graph allows. */
static bool reference_ok(BlockNode *n, const char *name, GError **err)
{
    const char *owner = n->filename;
    g_autofree char *path = block_resolve_name(owner, g_str_has_prefix(name, "file:") ? name + 5 : name);
    const char *colon = strchr(name, ':'), *slash = strchr(name, '/');

    if (colon && (!slash || colon < slash) && g_access(name, F_OK) &&
        g_regex_match_simple("^(json|nbd|nbd\\+unix|http|https|ftp|ssh|fd|iscsi|rbd|nfs|gluster|fat|null-co):", name, 0, 0))
        return err_set(err, "'%s' refers to '%s': protocol names inside an image are refused", owner, name);
    if (n->graph->refs == REFS_NONE)
        return err_set(err, "'%s' refers to '%s': the image policy 'none' allows no second file", owner, name);
    if (n->graph->refs == REFS_BESIDE && !lies_beside(owner, path))
        return err_set(err, "'%s' refers to '%s': the image policy 'beside' allows only regular files in the folder of "
                       "the image or below it", owner, name);
    return true;
}

static bool same_file(BlockNode *a, const struct stat *st)
{
    struct stat mine;

    return a->filename && *a->filename && stat(a->filename, &mine) == 0 && mine.st_ino == st->st_ino &&
           mine.st_dev == st->st_dev;
}

static bool open_backing(BlockNode *n, GHashTable *opts, unsigned flags, int depth, GError **err)
{
    g_autoptr(GHashTable) sub = NULL;
    g_autofree char *ref = NULL, *path = NULL;
    unsigned bflags = (flags & ~(BLOCK_RDWR | BLOCK_UNMAP | BLOCK_SNAPSHOT | BLOCK_RESIZE | BLOCK_CHECK | BLOCK_COPY_ON_READ))
                      | BLOCK_AUTO_RDONLY;
    struct stat st;

    sub = block_opts_sub(opts, "backing");
    if (block_opts_take(opts, "backing", &ref)) {
        if (!*ref)
            return true;                                        /* "backing": null */
        BlockNode *b = block_node_find(n->graph, ref);
        if (!b)
            return err_set_code(err, ERR_NOT_FOUND, "Cannot find device='' nor node-name='%s'", ref);
        n->backing = block_node_ref(b);
        return true;
    }
    if (flags & (BLOCK_NO_BACKING | BLOCK_NO_IO) || (!n->backing_name && !g_hash_table_size(sub)))
        return true;
    int max = n->graph->refs == REFS_ANY ? MAX_DEPTH : MAX_DEPTH_BESIDE;
    if (depth >= max)
        return err_set(err, "'%s': more than %d layers of backing files", n->filename, max);
    if (n->backing_name && !block_opts_get(sub, "driver") && !block_opts_get(sub, "file.filename")) {
        if (!reference_ok(n, n->backing_name, err))
            return false;
        if (n->graph->refs == REFS_BESIDE && !n->backing_format)
            return err_set(err, "'%s' does not record the format of its backing file: the image policy 'beside' wants it",
                           n->filename);
        path = block_resolve_name(n->filename, g_str_has_prefix(n->backing_name, "file:") ?
                                  n->backing_name + 5 : n->backing_name);
        if (stat(path, &st) == 0 && same_file(n, &st))
            return err_set(err, "'%s' names itself as its backing file", n->filename);
        if (n->backing_format && !block_opts_get(sub, "driver"))
            block_opts_set(sub, "driver", n->backing_format);
    }
    n->backing = open_depth(n->graph, path, sub, bflags, depth + 1, err);
    return n->backing || err_prefix(err, "Could not open backing file");
}

BlockNode *block_open_child(BlockNode *n, const char *name, unsigned flags, GError **err)
{
    g_autofree char *path = NULL;
    const char *rest;
    const BlockDriver *drv;
    g_autoptr(GHashTable) none = block_opts_new();

    if (!reference_ok(n, name, err))
        return NULL;
    path = block_resolve_name(n->filename, name);
    drv = protocol_of(path, &rest, err);
    return drv ? open_protocol(n->graph, drv, rest, none, child_flags(flags), err) : NULL;
}

/* Opens a format or filter over its file; takes over file. */
static BlockNode *open_format(BlockGraph *g, const BlockDriver *drv, BlockNode *file, GHashTable *opts,
                              unsigned flags, int depth, bool probed, GError **err)
{
    CommonOpts c = { 0 };
    BlockNode *n = NULL;
    unsigned used = 0, unshared = 0;

    if (file->read_only)
        flags &= ~BLOCK_RDWR;
    n = block_node_new(g, drv, file->filename, flags);
    n->file = file;
    if (!take_common(opts, &n->flags, &c, err))
        goto fail_unopened;
    flags = n->flags;
    n->read_only = !(flags & BLOCK_RDWR);
    if (drv->kind == DRV_FORMAT && drv != &block_drv_raw) {
        used = BLOCK_PERM_READ | (n->read_only ? 0 : BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE);
        unshared = BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE;
        if (!block_file_claim(file, used, unshared, err))
            goto fail_unopened;
    } else if ((flags & BLOCK_NO_SHARE) && !block_file_claim(file, 0, BLOCK_PERM_WRITE | BLOCK_PERM_RESIZE, err)) {
        goto fail_unopened;
    }
    if (drv->open && !drv->open(n, opts, flags, err))
        goto fail_unopened;
    n->probed_raw = probed && drv == &block_drv_raw && !n->read_only;
    if ((drv->supports_backing && !open_backing(n, opts, flags, depth, err)) || !apply_common(n, &c, err) ||
        !no_leftovers(drv, opts, err)) {
        free_common(&c);
        block_node_unref(n);
        return NULL;
    }
    free_common(&c);
    return n;
fail_unopened:
    free_common(&c);
    block_node_unref(n->file);
    node_free(n);
    return NULL;
}

static BlockNode *open_json_name(BlockGraph *g, const char *filename, GHashTable *opts, unsigned flags, int depth,
                                 GError **err)
{
    GHashTable *inner = block_opts_parse(filename + 5, NULL, err);
    GHashTableIter it;
    gpointer k, v;
    BlockNode *n;

    if (!inner)
        return NULL;
    g_hash_table_iter_init(&it, opts);
    while (g_hash_table_iter_next(&it, &k, &v))
        block_opts_set(inner, k, v);
    n = open_depth(g, NULL, inner, flags, depth + 1, err);
    g_hash_table_unref(inner);
    return n;
}

static BlockNode *open_depth(BlockGraph *g, const char *filename, GHashTable *opts, unsigned flags, int depth,
                             GError **err)
{
    g_autofree char *drvname = NULL;
    const BlockDriver *drv = NULL;
    BlockNode *file, *n;
    unsigned cflags = flags;
    CommonOpts c = { 0 };
    bool probed = false;

    if (depth > MAX_DEPTH) {
        err_set(err, "more than %d layers of nodes", MAX_DEPTH);
        return NULL;
    }
    if (filename && g_str_has_prefix(filename, "json:"))
        return open_json_name(g, filename, opts, flags, depth, err);
    if (block_opts_take(opts, "driver", &drvname) || block_opts_take(opts, "format", &drvname)) {
        drv = block_driver_find(drvname);
        if (!drv) {
            unknown_driver(drvname, err);
            return NULL;
        }
        if (drv->kind == DRV_PROTOCOL)
            return open_protocol(g, drv, filename, opts, flags, err);
    }
    /* Look at the flags of this node first: they rule the file below, too. */
    g_autoptr(GHashTable) look = block_opts_copy(opts);
    bool ok = take_common(look, &cflags, &c, err);
    free_common(&c);
    if (!ok)
        return NULL;
    file = open_child_option(g, "file", filename, opts, drv && drv->kind == DRV_FILTER ? cflags : child_flags(cflags),
                             depth, err);
    if (!file)
        return NULL;
    if (!drv) {
        probed = true;
        drv = probe_node(file, err);
        if (!drv) {
            block_node_unref(file);
            return NULL;
        }
    }
    n = open_format(g, drv, file, opts, flags, depth, probed, err);
    if (!n && filename && depth == 0)
        err_prefix(err, "Could not open '%s'", filename);
    return n;
}

static bool strip_prefix_dup(GError **err, const char *filename)
{
    /* "Could not open 'f': Could not open 'f': reason" says it once. */
    g_autofree char *p = g_strdup_printf("Could not open '%s': ", filename);

    while (err && *err && g_str_has_prefix((*err)->message, p) &&
           g_str_has_prefix((*err)->message + strlen(p), p)) {
        char *shorter = g_strdup((*err)->message + strlen(p));
        g_free((*err)->message);
        (*err)->message = shorter;
    }
    return false;
}

BlockNode *block_open(BlockGraph *g, const char *filename, GHashTable *opts, unsigned flags, GError **err)
{
    g_autoptr(GHashTable) mine = block_opts_copy(opts);
    BlockNode *n;

    if (flags & BLOCK_SNAPSHOT)
        flags &= ~BLOCK_RDWR;
    n = open_depth(g, filename, mine, flags & ~BLOCK_SNAPSHOT, 0, err);
    if (!n) {
        if (filename)
            strip_prefix_dup(err, filename);
        return NULL;
    }
    if (flags & BLOCK_SNAPSHOT)
        n = block_overlay_new(n, flags, err);
    if (n && (flags & BLOCK_COPY_ON_READ) && !n->read_only)
        n = block_filter_on(&block_drv_cor, n, mine, err);
    return n;
}

void block_set_backing(BlockNode *n, BlockNode *b)
{
    BlockNode *old = n->backing;

    n->backing = block_node_ref(b);
    block_node_unref(old);
}

bool block_blockdev_add(BlockGraph *g, GHashTable *opts, GError **err)
{
    g_autoptr(GHashTable) mine = block_opts_copy(opts);
    BlockNode *n;

    if (!block_opts_get(mine, "node-name"))
        return err_set(err, "'node-name' must be specified for the root node");
    if (!block_opts_get(mine, "driver"))
        return err_set(err, "Parameter 'driver' is missing");
    n = open_depth(g, NULL, mine, BLOCK_RDWR, 0, err);
    if (!n)
        return false;
    g->owned = g_list_prepend(g->owned, n);
    return true;
}

bool block_blockdev_del(BlockGraph *g, const char *name, GError **err)
{
    BlockNode *n = block_node_find(g, name);
    GList *l = n ? g_list_find(g->owned, n) : NULL;

    if (!n)
        return err_set_code(err, ERR_NOT_FOUND, "Failed to find node with node-name='%s'", name);
    if (!l)
        return err_set(err, "Node %s is not owned by the monitor", name);
    if (g_atomic_int_get(&n->refs) > 1)
        return err_set(err, "Node %s is in use", name);
    g->owned = g_list_delete_link(g->owned, l);
    return block_node_close(n, err);
}
