/*
 * img_dd: verbs dd (a piece of an image into a new one) and bench (requests per second).
 */
#include <errno.h>
#include "cli/img_int.h"

/* ---- dd ---- */
typedef struct Dd { const char *in, *out; uint64_t bs, count, skip; bool has_count; } Dd;

static int dd_arg(Img *m, Dd *d, const char *arg)
{
    GError *err = NULL;
    const char *eq = strchr(arg, '=');
    bool ok = true;

    if (g_str_has_prefix(arg, "if="))
        d->in = eq + 1;
    else if (g_str_has_prefix(arg, "of="))
        d->out = eq + 1;
    else if (g_str_has_prefix(arg, "bs="))
        ok = block_parse_size(eq + 1, &d->bs, &err) && d->bs && d->bs <= INT32_MAX;
    else if (g_str_has_prefix(arg, "count="))
        ok = d->has_count = block_parse_size(eq + 1, &d->count, &err);
    else if (g_str_has_prefix(arg, "skip="))
        ok = block_parse_size(eq + 1, &d->skip, &err);
    else
        return img_fail(m, "unrecognized operand %s", arg);
    g_clear_error(&err);
    return ok ? 0 : img_fail(m, "Invalid %.*s specified: '%s'%s", (int)(eq - arg), arg, eq + 1,
                             g_str_has_prefix(arg, "bs=") ? ". Must be between 1 and 2147483647." : "");
}

static int dd_copy(Img *m, BlockNode *in, BlockNode *out, uint64_t start, uint64_t len)
{
    enum { PIECE = 1 << 20 };
    g_autofree uint8_t *buf = g_malloc(PIECE);
    int ret = 0;

    for (uint64_t o = 0; o < len && !ret; o += PIECE) {
        uint64_t n = MIN(PIECE, len - o);
        ret = block_pread(in, start + o, buf, n);
        if (ret)
            return img_fail(m, "error while reading from input image file: %s", g_strerror(-ret));
        if (!block_is_zero(buf, n))
            ret = block_pwrite(out, o, buf, n);
    }
    return ret ? img_fail(m, "error while writing to output image file: %s", g_strerror(-ret)) : 0;
}

int img_dd(Img *m, int argc, char **argv)
{
    Dd d = { .bs = 512 };
    const char *fmt = NULL, *out_fmt = "raw";
    GError *err = NULL;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 'O', IMG_TEXT, &out_fmt },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    for (; optind < argc; optind++)
        if (dd_arg(m, &d, argv[optind]))
            return 1;
    if (!d.in || !d.out)
        return img_fail(m, "Must specify both input and output files");
    BlockNode *in = img_open(m, d.in, fmt, NULL, 0), *out = NULL;
    if (!in)
        return 1;
    uint64_t size = block_node_size(in), start = 0, len = size;
    if (!mul_ok(d.skip, d.bs, &start) || start > size) {
        img_fail(m, "%s: cannot skip to specified offset", d.in);
        start = size;
    }
    len = size - start;
    uint64_t want;
    if (d.has_count && mul_ok(d.count, d.bs, &want))
        len = MIN(len, want);
    g_autoptr(GHashTable) opts = block_opts_new();
    g_autofree char *text = g_strdup_printf("%" PRIu64, len);
    block_opts_set(opts, "size", text);
    m->image_opts = false;
    code = block_create(m->g, d.out, out_fmt, opts, NULL, &err) ? 0 : img_error(m, err);
    if (!code && !(out = img_open(m, d.out, out_fmt, NULL, BLOCK_RDWR)))
        code = 1;
    if (!code)
        code = dd_copy(m, in, out, start, len);
    err = NULL;
    if (out && !block_node_close(out, &err))
        code = img_error(m, err);
    block_node_unref(in);
    return code;
}

/* ---- bench ---- */
typedef struct Bench {
    BlockDev *dev;
    uint64_t count, issued, finished, offset, start, step, size, bytes, flush_every;
    bool write;
    int error;
    uint8_t *buf;
} Bench;

static void bench_issue(Bench *b);

static void bench_done(void *opaque, int ret)
{
    Bench *b = opaque;

    if (ret && !b->error)
        b->error = ret;
    b->finished++;
    if (!b->error && b->issued < b->count)
        bench_issue(b);
}

static void bench_flushed(void *opaque, int ret)
{
    Bench *b = opaque;

    if (ret && !b->error)
        b->error = ret;
}

static void bench_issue(Bench *b)
{
    struct iovec io = { b->buf, b->bytes };

    if (b->write)
        block_dev_writev(b->dev, b->offset, &io, 1, 0, bench_done, b);
    else
        block_dev_readv(b->dev, b->offset, &io, 1, bench_done, b);
    b->issued++;
    if (b->flush_every && b->issued % b->flush_every == 0)
        block_dev_flush(b->dev, bench_flushed, b);
    b->offset += b->step;
    if (b->offset + b->bytes > b->size)
        b->offset = b->start + b->bytes <= b->size ? b->start : 0;
}

static int bench_run(Img *m, Bench *b, BlockNode *n, uint64_t depth)
{
    GError *err = NULL;
    gint64 t0;

    b->dev = block_dev_find(m->g, block_node_name(n), &err);
    if (!b->dev)
        return img_error(m, err);
    b->size = block_node_size(n);
    if (b->offset + b->bytes > b->size)
        return img_fail(m, "the requests do not fit into the image (%" PRIu64 " bytes)", b->size);
    if (!m->quiet)
        printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64 " in parallel (starting at offset %"
               PRIu64 ", step size %" PRIu64 ")\n", b->count, b->write ? "write" : "read", b->bytes, depth, b->offset, b->step);
    t0 = g_get_monotonic_time();
    for (uint64_t i = 0; i < depth && b->issued < b->count; i++)
        bench_issue(b);
    while (b->finished < b->issued)
        g_main_context_iteration(NULL, TRUE);
    block_dev_drain(b->dev);
    if (b->error)
        return img_fail(m, "Failed request: %s", g_strerror(-b->error));
    if (!m->quiet)
        printf("Run completed in %3.3f seconds.\n", (g_get_monotonic_time() - t0) / 1e6);
    return 0;
}

int img_bench(Img *m, int argc, char **argv)
{
    Bench b = { .count = 75000, .bytes = 4096 };
    uint64_t depth = 64, pattern = 0;
    const char *fmt = NULL, *cache = NULL, *aio = NULL;
    bool direct = false, drain = false;
    int code;

    const ImgOpt table[] = {
        { 'c', IMG_SIZE, &b.count }, { 'd', IMG_SIZE, &depth }, { 'f', IMG_TEXT, &fmt }, { 'n', IMG_FLAG, &direct },
        { 'i', IMG_TEXT, &aio }, { 'o', IMG_SIZE, &b.offset }, { 's', IMG_SIZE, &b.bytes }, { 'S', IMG_SIZE, &b.step },
        { 't', IMG_TEXT, &cache }, { 'w', IMG_FLAG, &b.write }, { OPT_PATTERN, IMG_SIZE, &pattern },
        { OPT_FLUSH_INTERVAL, IMG_SIZE, &b.flush_every }, { OPT_NO_DRAIN, IMG_FLAG, &drain },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (!depth || !b.bytes || b.bytes >= GiB || pattern > 255)
        return img_fail(m, "Invalid %s", !depth ? "queue depth: it must be positive" : pattern > 255 ? "pattern: it is one byte" :
                        "buffer size: it must be positive and less than 1 GiB");
    if (direct)
        cache = "none";
    if (!b.write && b.flush_every)
        return img_fail(m, "--flush-interval is only available in write tests");
    if (b.flush_every && b.flush_every < depth)
        return img_fail(m, "Flush interval can't be smaller than depth");
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    b.step = b.step ? b.step : b.bytes;
    b.start = b.offset;
    g_autofree char *spec = NULL;
    const char *name = argv[optind];
    if (aio && !m->image_opts) {        /* an engine is an option of the file below */
        spec = g_strdup_printf("driver=%s,file.driver=file,file.aio=%s,file.filename=%s", fmt ? fmt : "raw", aio, name);
        m->image_opts = true;
        name = spec;
    }
    BlockNode *n = img_open(m, name, fmt, cache, b.write ? BLOCK_RDWR : 0);
    if (!n)
        return 1;
    if (posix_memalign((void **)&b.buf, 4096, b.bytes))
        code = img_fail(m, "no memory for the buffer");
    else {
        memset(b.buf, pattern, b.bytes);
        code = bench_run(m, &b, n, depth);
    }
    if (b.dev)
        block_dev_delete(b.dev);
    free(b.buf);
    block_node_unref(n);
    return code;
}
