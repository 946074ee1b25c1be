/*
 * img_change: verbs that make or change images: create, resize, snapshot, rebase, commit, amend.
 */
#include <errno.h>
#include "cli/img_int.h"

/* ---- create ---- */
/* The size of an image without size= is that of its backing file; also checks that it opens. */
static int size_from_backing(Img *m, const char *filename, GHashTable *opts, bool unsafe)
{
    const char *base = block_opts_get(opts, "backing_file"), *fmt = block_opts_get(opts, "backing_fmt");
    g_autofree char *path = NULL, *size = NULL;
    GError *err = NULL;

    if (!base || !*base)
        return 0;
    path = block_resolve_name(filename, base);
    if (!fmt) {
        const char *found = unsafe ? NULL : block_probe_file(path, NULL);
        img_fail(m, "%s: Backing file specified without backing format", filename);
        if (found)
            fprintf(stderr, "Detected format of %s.\n", found);
        return 1;
    }
    if (unsafe)
        return 0;
    g_autoptr(GHashTable) bo = block_opts_new();
    block_opts_set(bo, "driver", fmt);
    BlockNode *n = block_open(m->g, path, bo, BLOCK_NO_LOCK, &err);
    if (!n) {
        img_fail(m, "%s: %s\nCould not open backing image.", filename, err->message);
        g_error_free(err);
        return 1;
    }
    if (!block_opts_get(opts, "size")) {
        size = g_strdup_printf("%" PRIu64, block_node_size(n));
        block_opts_set(opts, "size", size);
    }
    block_node_unref(n);
    return 0;
}

int img_create(Img *m, int argc, char **argv)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    ImgCreateOpts create = { .opts = opts };
    const char *fmt = "raw", *backing = NULL, *backing_fmt = NULL;
    g_autofree char *shown = NULL;
    bool unsafe = false;
    GError *err = NULL;
    int code;

    const ImgOpt table[] = {
        { 'F', IMG_TEXT, &backing_fmt }, { 'b', IMG_TEXT, &backing }, { 'f', IMG_TEXT, &fmt }, { 'o', IMG_CREATE, &create },
        { 'u', IMG_FLAG, &unsafe },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (create.help)
        return img_print_create_help(m, fmt);
    if (backing)
        block_opts_set(opts, "backing_file", backing);
    if (backing_fmt)
        block_opts_set(opts, "backing_fmt", backing_fmt);
    if (optind >= argc)
        return img_fail(m, "Expecting image file name"), img_bad_usage(m);
    const char *filename = argv[optind++];
    if (optind < argc) {
        uint64_t bytes;
        if (optind + 1 < argc)
            return img_fail(m, "Unexpected argument: %s", argv[optind + 1]);
        if (!block_parse_size(argv[optind], &bytes, &err)) {
            g_clear_error(&err);
            return img_fail(m, "Invalid image size specified. You may use k, M, G, T, P or E suffixes for kilobytes, megabytes, gigabytes, "
                            "terabytes, petabytes and exabytes."), 1;
        }
        g_autofree char *text = g_strdup_printf("%" PRIu64, bytes);
        block_opts_set(opts, "size", text);
    }
    if (size_from_backing(m, filename, opts, unsafe))
        return 1;
    if (!block_create(m->g, filename, fmt, opts, &shown, &err)) {
        err_prefix(&err, "%s", filename);
        return img_error(m, err);
    }
    if (!m->quiet)
        printf("Formatting '%s', fmt=%s %s\n", filename, fmt, shown);
    return 0;
}

static int close_ok(Img *m, BlockNode *n, int code)
{
    GError *err = NULL;

    return block_node_close(n, &err) ? code : img_error(m, err);
}

/* ---- resize ---- */
int img_resize(Img *m, int argc, char **argv)
{
    static const char *const modes[] = { "off", "metadata", "falloc", "full", NULL };
    const char *fmt = NULL, *prealloc = "off";
    bool shrink = false;
    uint64_t arg, size, old;
    GError *err = NULL;
    int code;

    if (argc < 3)
        return img_fail(m, "Not enough arguments"), img_bad_usage(m);
    char *text = argv[--argc];          /* "-10M" is a size, not options */
    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { OPT_SHRINK, IMG_FLAG, &shrink }, { OPT_PREALLOC, IMG_TEXT, &prealloc },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 1)
        return img_fail(m, "Expecting image file name and size"), img_bad_usage(m);
    if (!g_strv_contains(modes, prealloc))
        return img_fail(m, "Invalid preallocation mode '%s': use off, metadata, falloc or full", prealloc);
    char sign = *text == '+' || *text == '-' ? *text++ : 0;
    if (!block_parse_size(text, &arg, &err))
        return img_error(m, err);
    BlockNode *n = img_open(m, argv[optind], fmt, NULL, BLOCK_RDWR | BLOCK_RESIZE | BLOCK_UNMAP);
    if (!n)
        return 1;
    old = block_node_size(n);
    size = sign == '+' ? old + arg : sign == '-' ? old - MIN(arg, old) : arg;
    size = (size + 511) & ~511ULL;
    bool odd = size <= old && strcmp(prealloc, "off");
    if (!size || odd) {
        block_node_unref(n);
        return img_fail(m, odd && size ? "Preallocation can only be used for growing images" : "New image size must be positive");
    }
    if (size < old && !shrink) {
        block_node_unref(n);
        img_fail(m, "Use the --shrink option to perform a shrink operation.");
        return img_fail(m, "warning: Shrinking an image will delete all data beyond the shrunken image's end. "
                        "Before performing such an operation, make sure there is no important data there.");
    }
    if (!block_truncate(n, size, prealloc, &err)) {
        block_node_unref(n);
        return img_error(m, err);
    }
    code = close_ok(m, n, 0);
    if (!code && !m->quiet)
        printf("Image resized.\n");
    return code;
}

/* ---- snapshot ---- */
int img_snapshot(Img *m, int argc, char **argv)
{
    const char *create = NULL, *apply = NULL, *drop = NULL;
    GError *err = NULL;
    bool ok = true, list = false;
    int code;

    const ImgOpt table[] = {
        { 'l', IMG_FLAG, &list }, { 'a', IMG_TEXT, &apply }, { 'c', IMG_TEXT, &create }, { 'd', IMG_TEXT, &drop },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (list + !!apply + !!create + !!drop > 1)
        return img_fail(m, "Cannot mix '-l', '-a', '-c', '-d'");
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    const char *name = create ? create : apply ? apply : drop;
    int what = create ? 'c' : apply ? 'a' : drop ? 'd' : 'l';
    BlockNode *n = img_open(m, argv[optind], NULL, NULL, what == 'l' ? BLOCK_NO_IO | BLOCK_NO_BACKING : BLOCK_RDWR | BLOCK_UNMAP);
    if (!n)
        return 1;
    if (what == 'l') {
        g_autoptr(GPtrArray) a = block_snapshot_list(n);
        if (a->len) {
            printf("Snapshot list:\n");
            img_print_snapshots(a);
        }
    } else if (what == 'c') {
        ok = block_snapshot_create(n, name, &err) || err_prefix(&err, "Could not create snapshot '%s'", name);
    } else if (what == 'a') {
        ok = block_snapshot_apply(n, name, &err) || err_prefix(&err, "Could not apply snapshot '%s'", name);
    } else {
        ok = block_snapshot_delete(n, name, &err) || err_prefix(&err, "Could not delete snapshot '%s'", name);
    }
    if (!ok) {
        block_node_unref(n);
        return img_error(m, err);
    }
    return close_ok(m, n, 0);
}

/* ---- rebase ---- */
enum { CHUNK = 1 << 20 };

static int read_or_zero(BlockNode *n, uint64_t off, uint8_t *buf, uint64_t len)
{
    uint64_t size = n ? block_node_size(n) : 0, have = off < size ? MIN(len, size - off) : 0;
    int ret = have ? block_pread(n, off, buf, have) : 0;

    memset(buf + have, 0, len - have);
    return ret;
}

/* Without reading: how far from off both sides surely show zeroes; *bytes is cut to that. */
static bool both_zero(BlockNode *a, BlockNode *b, uint64_t off, uint64_t *bytes)
{
    BlockNode *side[] = { a, b };
    uint64_t n = *bytes;

    for (int i = 0; i < 2; i++) {
        uint64_t size = side[i] ? block_node_size(side[i]) : 0;
        BlockStatus st;
        if (off >= size)
            continue;
        if (block_status_above(side[i], NULL, off, MIN(n, size - off), &st, NULL) || !st.zero)
            return false;
        n = MIN(n, st.bytes);
    }
    *bytes = n;
    return true;
}

/* Whatever shows differently through new_base gets its own cluster in n. */
static int rebase_copy(Img *m, BlockNode *n, BlockNode *new_base)
{
    g_autofree uint8_t *a = g_malloc(CHUNK), *b = g_malloc(CHUNK);
    uint64_t size = block_node_size(n), unit = MAX(block_node_cluster_size(n), 512);
    BlockNode *old = block_node_backing(n);
    int ret = 0;

    for (uint64_t off = 0; off < size && !ret; ) {
        BlockStatus st;
        ret = block_status(n, off, size - off, &st);
        if (!ret && !st.allocated && !both_zero(old, new_base, off, &st.bytes)) {
            st.bytes = MIN(st.bytes, CHUNK);
            ret = read_or_zero(old, off, a, st.bytes);
            ret = ret ? ret : read_or_zero(new_base, off, b, st.bytes);
            for (uint64_t o = 0; o < st.bytes && !ret; o += unit) {
                uint64_t len = MIN(unit, st.bytes - o);
                if (memcmp(a + o, b + o, len))
                    ret = block_is_zero(a + o, len) ? block_pwrite_zeroes(n, off + o, len, 0)
                                                    : block_pwrite(n, off + o, a + o, len);
            }
        }
        off += ret ? 0 : st.bytes;
        img_progress(m, off, size);
    }
    return ret ? img_fail(m, "error while copying: %s", g_strerror(-ret)) : 0;
}

static int rebase_run(Img *m, BlockNode *n, const char *filename, const char *base, const char *base_fmt, bool unsafe)
{
    GError *err = NULL;
    int code = 0;

    if (!unsafe) {
        BlockNode *nb = NULL;
        if (*base) {
            g_autofree char *path = block_resolve_name(filename, base);
            m->image_opts = false;
            nb = img_open(m, path, base_fmt, NULL, 0);
            if (!nb)
                return 1;
        }
        code = rebase_copy(m, n, nb);
        int ret = code ? 0 : block_flush(n);
        if (ret)
            code = img_fail(m, "could not flush: %s", g_strerror(-ret));
        block_node_unref(nb);
        if (code)
            return code;
    }
    if (*base && !base_fmt)
        return img_fail(m, "Could not change the backing file to '%s': backing format must be specified", base);
    if (!block_change_backing(n, *base ? base : NULL, base_fmt, &err)) {
        err_prefix(&err, "Could not change the backing file to '%s'", base);
        return img_error(m, err);
    }
    return 0;
}

int img_rebase(Img *m, int argc, char **argv)
{
    const char *fmt = NULL, *cache = NULL, *base = NULL, *base_fmt = NULL;
    bool unsafe = false;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 'F', IMG_TEXT, &base_fmt }, { 'b', IMG_TEXT, &base }, { 'u', IMG_FLAG, &unsafe },
        { 'p', IMG_FLAG, &m->progress }, { 't', IMG_TEXT, &cache }, { 'T', IMG_UNUSED, NULL },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    if (!base)
        return img_fail(m, "Must specify backing file (-b) or use unsafe mode (-u)"), img_bad_usage(m);
    BlockNode *n = img_open(m, argv[optind], fmt, cache, BLOCK_RDWR | (unsafe ? BLOCK_NO_BACKING : 0));
    if (!n)
        return 1;
    code = rebase_run(m, n, argv[optind], base, base_fmt, unsafe);
    img_progress_end(m);
    if (code) {
        block_node_unref(n);
        return code;
    }
    return close_ok(m, n, 0);
}

/* ---- commit ---- */
/* Opens the layers from filename down to base (NULL: the first backing file), base writable. */
static BlockNode *open_layers(Img *m, const char *filename, const char *fmt, const char *cache, const char *base,
                              bool *deep, BlockNode **base_node)
{
    g_autofree char *name = g_strdup(filename), *layer_fmt = g_strdup(fmt);
    BlockNode *top = NULL, *last = NULL;
    GError *err = NULL;

    *deep = false;
    for (int depth = 0; depth < 64; depth++) {
        bool is_base = depth > 0 && (!base || g_str_equal(name, base));
        BlockNode *n = img_open(m, name, layer_fmt, depth == 0 || is_base ? cache : NULL,
                                (depth == 0 || is_base ? BLOCK_RDWR | BLOCK_UNMAP : 0) | (is_base ? 0 : BLOCK_NO_BACKING));
        BlockInfo info;
        if (!n)
            break;
        m->image_opts = false;          /* the layers below are names */
        if (last)
            block_set_backing(last, n);
        if (depth)
            block_node_unref(n);        /* the layer above holds it now */
        else
            top = n;
        if (is_base) {
            *base_node = n;
            return top;
        }
        *deep = depth > 0;
        if (!block_info(n, &info, &err)) {
            img_error(m, err);
            break;
        }
        g_free(name);
        g_free(layer_fmt);
        name = g_strdup(info.full_backing_filename);
        layer_fmt = g_strdup(info.backing_format);
        block_info_clear(&info);
        last = n;
        if (!name) {
            if (base)
                img_fail(m, "Did not find '%s' in the backing chain of '%s'", base, filename);
            else
                img_fail(m, "Image does not have a backing file");
            break;
        }
    }
    block_node_unref(top);
    return NULL;
}

static int commit_copy(Img *m, BlockNode *top, BlockNode *base)
{
    g_autofree uint8_t *buf = g_malloc(CHUNK);
    uint64_t size = block_node_size(top);
    GError *err = NULL;
    int ret = 0;

    if (size > block_node_size(base) && !block_truncate(base, size, NULL, &err))
        return img_error(m, err);
    for (uint64_t off = 0; off < size && !ret; ) {
        BlockStatus st;
        ret = block_status_above(top, base, off, size - off, &st, NULL);
        if (!ret && st.allocated && st.zero) {
            ret = block_pwrite_zeroes(base, off, st.bytes, BLOCK_MAY_UNMAP);
        } else if (!ret && st.allocated) {
            st.bytes = MIN(st.bytes, CHUNK);
            ret = block_pread(top, off, buf, st.bytes);
            ret = ret ? ret : block_pwrite(base, off, buf, st.bytes);
        }
        off += ret ? 0 : st.bytes;
        img_progress(m, off, size);
    }
    ret = ret ? ret : block_flush(base);
    return ret ? img_fail(m, "Error while committing: %s", g_strerror(-ret)) : 0;
}

int img_commit(Img *m, int argc, char **argv)
{
    const char *fmt = NULL, *cache = NULL, *base = NULL;
    BlockNode *base_node = NULL;
    bool drop = false, deep;
    GError *err = NULL;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 't', IMG_TEXT, &cache }, { 'b', IMG_TEXT, &base }, { 'd', IMG_FLAG, &drop },
        { 'p', IMG_FLAG, &m->progress }, { 'r', IMG_UNUSED, NULL },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    BlockNode *top = open_layers(m, argv[optind], fmt, cache, base, &deep, &base_node);
    if (!top)
        return 1;
    code = commit_copy(m, top, base_node);
    img_progress_end(m);
    if (!code && !drop && !base && !deep && !block_make_empty(top, &err)) {
        err_prefix(&err, "Could not empty %s", argv[optind]);
        code = img_error(m, err);
    }
    code = close_ok(m, top, code);
    if (!code && !m->quiet)
        printf("Image committed.\n");
    return code;
}

/* ---- amend ---- */
int img_amend(Img *m, int argc, char **argv)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    ImgCreateOpts create = { .opts = opts };
    const char *fmt = NULL, *cache = NULL;
    bool force = false;
    GError *err = NULL;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 't', IMG_TEXT, &cache }, { OPT_FORCE, IMG_FLAG, &force }, { 'p', IMG_FLAG, &m->progress },
        { 'o', IMG_CREATE, &create },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (!create.any)
        return img_fail(m, "Must specify options (-o)"), img_bad_usage(m);
    if (create.help)
        return img_print_create_help(m, fmt ? fmt : "qcow2");
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    BlockNode *n = img_open(m, argv[optind], fmt, cache, BLOCK_RDWR | BLOCK_UNMAP);
    if (!n)
        return 1;
    if (!block_amend(n, opts, force, &err)) {
        block_node_unref(n);
        err_prefix(&err, "Error while amending options");
        return img_error(m, err);
    }
    img_progress(m, 1, 1);
    img_progress_end(m);
    return close_ok(m, n, 0);
}
