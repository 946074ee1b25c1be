/*
 * img_convert: copies what a guest would see into a new image, on several threads.
 *
 * The target grows under a name of its own and takes its place when it is complete, so an
 * interrupted run never leaves a file that looks whole. Workers take the next piece in turn.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/img_int.h"

enum { PIECE = 1 << 21, MAX_THREADS = 16 };

typedef struct Source { BlockNode *n; uint64_t start, size; } Source;

typedef struct Convert {
    Img *m;
    Source *src;
    int nsrc;
    BlockNode *dst;
    uint64_t total, unit, piece;
    bool compress, zero_init, keep_backing, salvage, no_zero_scan;
    unsigned threads;
    GMutex lock;
    uint64_t next, done, rate, hash_next;
    uint64_t run_end;           /* what was found about the source holds up to here */
    int run_kind;
    int64_t started;
    int error;                  /* first failure, -errno */
    const char *error_what;
    uint64_t error_at;
    int json_fd;
    int64_t json_last;
} Convert;

static void fail_at(Convert *cv, int ret, const char *what, uint64_t off)
{
    g_mutex_lock(&cv->lock);
    if (!cv->error) {
        cv->error = ret;
        cv->error_what = what;
        cv->error_at = off;
    }
    g_mutex_unlock(&cv->lock);
}

static void report(Convert *cv)
{
    img_progress(cv->m, cv->done, cv->total);
    if (cv->json_fd >= 0) {
        int64_t now = g_get_monotonic_time();
        if (now - cv->json_last > 100000 || cv->done == cv->total) {
            cv->json_last = now;
            g_autofree char *line = g_strdup_printf("{\"done\": %" PRIu64 ", \"total\": %" PRIu64 "}\n", cv->done, cv->total);
            (void)!write(cv->json_fd, line, strlen(line));
        }
    }
}

typedef enum { TAKE_END, TAKE_SKIP, TAKE_ZERO, TAKE_DATA } Take;

/* Lock held. Asking the file about holes walks its cached pages, so each run is asked for once. */
static int find_run(Convert *cv, const Source *s)
{
    uint64_t left = s->start + s->size - cv->next;
    BlockNode *base = cv->keep_backing ? block_node_backing(s->n) : NULL;
    BlockStatus st;
    int ret = block_status_above(s->n, base, cv->next - s->start, left, &st, NULL);

    if (ret && cv->salvage)
        st = (BlockStatus) { .bytes = MIN(left, cv->piece), .data = true, .allocated = true };
    else if (ret)
        return ret;
    cv->run_kind = cv->keep_backing && !st.allocated ? TAKE_SKIP : st.zero || !st.allocated ? TAKE_ZERO : TAKE_DATA;
    cv->run_end = cv->next + st.bytes;
    return 0;
}

/* Lock held: the next piece of one kind. */
static Take take_piece(Convert *cv, BlockNode **n, uint64_t *src_off, uint64_t *off, uint64_t *len)
{
    Source *s = cv->src;
    int ret;

    if (cv->next >= cv->total || cv->error)
        return TAKE_END;
    while (s + 1 < cv->src + cv->nsrc && cv->next >= s[1].start)
        s++;
    *off = cv->next;
    *n = s->n;
    *src_off = cv->next - s->start;
    if (cv->next >= cv->run_end && (ret = find_run(cv, s)) != 0) {
        cv->error = ret;
        cv->error_what = "error while reading block status at offset";
        cv->error_at = *off;
        return TAKE_END;
    }
    Take what = cv->run_kind;
    uint64_t end = cv->run_end;
    if (what == TAKE_DATA) {            /* pieces end at multiples of their size */
        end = MIN(end, (cv->next / cv->piece + 1) * cv->piece);
        if (cv->compress && end % cv->unit && end < s->start + s->size)
            end = MIN((end / cv->unit + 1) * cv->unit, s->start + s->size);
    } else if (cv->compress && end % cv->unit && end < cv->total) {
        if (end / cv->unit * cv->unit > cv->next) {
            end = end / cv->unit * cv->unit;
        } else {                        /* zeroes and data share a cluster */
            what = TAKE_DATA;
            end = MIN((cv->next / cv->unit + 1) * cv->unit, s->start + s->size);
        }
    }
    cv->next = end;
    *len = end - *off;
    return what;
}

static int put_zero(Convert *cv, uint64_t off, uint64_t len)
{
    if (cv->zero_init)
        return 0;
    return block_pwrite_zeroes(cv->dst, off, len, BLOCK_MAY_UNMAP);
}

/* Writes runs that are not zero; zero units are left out or written as zeroes. */
static int put_data(Convert *cv, uint64_t off, uint8_t *buf, uint64_t len)
{
    uint64_t o = 0;
    int ret = 0;

    if (cv->no_zero_scan)
        return block_pwrite(cv->dst, off, buf, len);
    while (o < len && !ret) {
        uint64_t e = o, n = MIN(cv->unit - (off + o) % cv->unit, len - o);
        bool zero = block_is_zero(buf + o, n);
        do {
            e += n;
            n = MIN(cv->unit, len - e);
        } while (e < len && block_is_zero(buf + e, n) == zero);
        ret = zero ? put_zero(cv, off + o, e - o) : block_pwrite(cv->dst, off + o, buf + o, e - o);
        o = e;
    }
    return ret;
}

static int put_compressed(Convert *cv, uint64_t off, uint8_t *buf, uint64_t len)
{
    int ret = 0;

    for (uint64_t o = 0; o < len && !ret; o += cv->unit) {
        uint64_t n = MIN(cv->unit, len - o);
        ret = block_is_zero(buf + o, n) ? put_zero(cv, off + o, n)
                                        : block_pwrite_flags(cv->dst, off + o, buf + o, n, BLOCK_COMPRESSED);
    }
    return ret;
}

static int read_salvaging(Convert *cv, BlockNode *n, uint64_t off, uint8_t *buf, uint64_t len)
{
    int ret = block_pread(n, off, buf, len);

    if (!ret || !cv->salvage)
        return ret;
    for (uint64_t o = 0; o < len; o += 512) {
        uint64_t part = MIN(512, len - o);
        if (block_pread(n, off + o, buf + o, part)) {
            memset(buf + o, 0, part);
            img_fail(cv->m, "warning: error while reading offset %" PRIu64 ": replaced by zeroes", off + o);
        }
    }
    return 0;
}

static void throttle(Convert *cv, uint64_t done)
{
    int64_t due = cv->rate ? cv->started + (int64_t)((double)done / cv->rate * 1e6) : 0, now = g_get_monotonic_time();

    if (due > now)
        g_usleep(due - now);
}

static void *worker(void *opaque)
{
    Convert *cv = opaque;
    uint8_t *buf = NULL;
    uint64_t cap = 0;

    for (;;) {
        BlockNode *n;
        uint64_t src_off, off, len;
        g_mutex_lock(&cv->lock);
        Take what = take_piece(cv, &n, &src_off, &off, &len);
        g_mutex_unlock(&cv->lock);
        int ret = 0;
        if (what == TAKE_END)
            break;
        if (what == TAKE_ZERO) {
            ret = put_zero(cv, off, len);
            if (ret)
                fail_at(cv, ret, "error while writing at byte", off);
        } else if (what == TAKE_DATA) {
            if (len > cap) {
                free(buf);
                cap = MAX(len, PIECE);
                buf = posix_memalign((void **)&buf, 4096, cap) ? NULL : buf;
            }
            ret = buf ? read_salvaging(cv, n, src_off, buf, len) : -ENOMEM;
            if (ret)
                fail_at(cv, ret, "error while reading at byte", off);
            else if ((ret = cv->compress ? put_compressed(cv, off, buf, len) : put_data(cv, off, buf, len)))
                fail_at(cv, ret, "error while writing at byte", off);
        }
        if (ret)
            break;
        g_mutex_lock(&cv->lock);
        cv->done += len;
        uint64_t done = cv->done;
        report(cv);
        g_mutex_unlock(&cv->lock);
        throttle(cv, done);
    }
    free(buf);
    return NULL;
}

static int copy_all(Convert *cv)
{
    GThread *th[MAX_THREADS];

    cv->started = g_get_monotonic_time();
    for (unsigned i = 0; i + 1 < cv->threads; i++)
        th[i] = g_thread_new("convert", worker, cv);
    worker(cv);
    for (unsigned i = 0; i + 1 < cv->threads; i++)
        g_thread_join(th[i]);
    if (cv->error)
        return img_fail(cv->m, "%s %" PRIu64 ": %s", cv->error_what, cv->error_at, g_strerror(-cv->error));
    return 0;
}

/* ---- options ---- */
typedef struct Args {
    const char *fmt, *out_fmt, *cache, *src_cache, *snap, *backing, *backing_fmt, *hash, *progress;
    bool no_create, compress, target_opts, is_zero, salvage, out_of_order;
    uint64_t sparse, threads, rate;     /* threads UINT64_MAX: as many as fit */
    GHashTable *opts;
} Args;

/* Options that do not go together: the words other tools use, or NULL. */
static const char *odd_pair(const Args *a, bool copy_range, bool create_opts)
{
    return copy_range && a->compress ? "Cannot enable copy offloading when -c is used" :
           copy_range && a->sparse != UINT64_MAX ? "Cannot enable copy offloading when -S is used" :
           copy_range && a->salvage ? "Cannot use copy offloading in salvaging mode" :
           a->target_opts && !a->no_create ? "--target-image-opts requires use of -n flag" :
           a->is_zero && !a->no_create ? "--target-is-zero requires use of -n flag" :
           a->no_create && create_opts ? "-o has no effect when skipping image creation" :
           a->backing && !a->backing_fmt && !block_opts_get(a->opts, "backing_fmt") ?
               "Use of backing file requires explicit backing format" : NULL;
}

static int parse_args(Img *m, Args *a, int argc, char **argv)
{
    ImgCreateOpts create = { .opts = a->opts };
    bool copy_range = false, bitmaps = false;
    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &a->fmt }, { 'O', IMG_TEXT, &a->out_fmt }, { 'B', IMG_TEXT, &a->backing }, { 'b', IMG_TEXT, &a->backing },
        { 'F', IMG_TEXT, &a->backing_fmt }, { 'C', IMG_FLAG, &copy_range }, { 'c', IMG_FLAG, &a->compress }, { 'l', IMG_TEXT, &a->snap },
        { 'p', IMG_FLAG, &m->progress }, { 't', IMG_TEXT, &a->cache }, { 'T', IMG_TEXT, &a->src_cache }, { 'n', IMG_FLAG, &a->no_create },
        { 'W', IMG_FLAG, &a->out_of_order }, { 'S', IMG_SIZE, &a->sparse }, { 'm', IMG_SIZE, &a->threads }, { 'r', IMG_SIZE, &a->rate },
        { 'o', IMG_CREATE, &create }, { OPT_TARGET_IMAGE_OPTS, IMG_FLAG, &a->target_opts }, { OPT_TARGET_IS_ZERO, IMG_FLAG, &a->is_zero },
        { OPT_SALVAGE, IMG_FLAG, &a->salvage }, { OPT_PROGRESS, IMG_TEXT, &a->progress }, { OPT_HASH, IMG_TEXT, &a->hash },
        { OPT_BITMAPS, IMG_FLAG, &bitmaps }, { OPT_SKIP_BROKEN, IMG_FLAG, &bitmaps },
    };
    int code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (create.help)
        return img_print_create_help(m, a->out_fmt ? a->out_fmt : "raw");
    if (bitmaps)
        return img_fail(m, "persistent bitmaps are not supported");
    const char *odd = odd_pair(a, copy_range, create.any);
    if (odd)
        return img_fail(m, "%s", odd);
    if (a->sparse != UINT64_MAX && a->sparse % 512)
        return img_fail(m, "Invalid buffer size for sparse output specified. Valid sizes are multiples of 512 up to 2147483136. Select 0 to disable sparse detection (fully allocates output).");
    if (a->threads != UINT64_MAX && (a->threads < 1 || a->threads > MAX_THREADS))
        return img_fail(m, "Invalid number of coroutines. Allowed number of coroutines is between 1 and 16");
    if (a->snap)
        a->snap = g_str_has_prefix(a->snap, "snapshot.name=") ? a->snap + 14 :
                  g_str_has_prefix(a->snap, "snapshot.id=") ? a->snap + 12 : a->snap;
    return -1;
}

static int open_sources(Convert *cv, Args *a, char **names, int count)
{
    GError *err = NULL;

    cv->src = g_new0(Source, count);
    for (int i = 0; i < count; i++) {
        g_autofree char *staged = NULL;
        if (!cv->m->image_opts && img_stage_source(cv->m, names[i], names[count], &staged))
            return 1;
        BlockNode *n = img_open(cv->m, staged ? staged : names[i], a->fmt, a->src_cache, BLOCK_NO_SHARE);
        if (!n)
            return 1;
        cv->src[i] = (Source) { n, cv->total, 0 };
        cv->nsrc++;
        if (a->snap && !block_snapshot_load(n, a->snap, &err))
            return img_fail(cv->m, "Failed to load snapshot: %s", err->message), g_error_free(err), 1;
        cv->src[i].size = block_node_size(n);
        cv->total += cv->src[i].size;
    }
    return 0;
}

/* One file takes all: then the target may grow under another name. */
static bool single_file_format(const char *fmt, GHashTable *opts)
{
    const char *sub = g_str_equal(fmt, "vmdk") ? block_opts_get(opts, "subformat") : NULL;

    return (!sub || g_str_equal(sub, "monolithicSparse") || g_str_equal(sub, "streamOptimized")) && !block_opts_get(opts, "data_file");
}

static char *part_name(const char *dst)
{
    struct stat st;

    if (g_str_has_prefix(dst, "file:"))
        dst += 5;
    if (lstat(dst, &st) == 0 && !S_ISREG(st.st_mode))
        return NULL;                    /* a device or a link: written in place */
    g_autofree char *dir = g_path_get_dirname(dst);
    return g_access(dir, W_OK) ? NULL : g_strdup_printf("%s" BLOCK_PART_SUFFIX, dst);
}

static BlockNode *create_target(Convert *cv, Args *a, const char *dst, char **part, bool *zero_init)
{
    g_autofree char *size = g_strdup_printf("%" PRIu64, cv->total);
    GError *err = NULL;
    struct stat st;

    if (!block_opts_get(a->opts, "size"))
        block_opts_set(a->opts, "size", size);
    if (a->backing)
        block_opts_set(a->opts, "backing_file", a->backing);
    if (a->backing_fmt)
        block_opts_set(a->opts, "backing_fmt", a->backing_fmt);
    *part = single_file_format(a->out_fmt, a->opts) ? part_name(dst) : NULL;
    if (*part && stat(dst, &st) == 0) {         /* somebody may be using what we would replace */
        BlockNode *old = img_open(cv->m, dst, "raw", NULL, BLOCK_RDWR);
        if (!old)
            return NULL;
        block_node_unref(old);
    }
    const char *name = *part ? *part : dst;
    bool zero = !(stat(dst, &st) == 0 && S_ISBLK(st.st_mode)) || strcmp(a->out_fmt, "raw");
    if (!block_create(cv->m->g, name, a->out_fmt, a->opts, NULL, &err)) {
        img_fail(cv->m, "%s: error while converting %s: %s", dst, a->out_fmt, err->message);
        g_error_free(err);
        return NULL;
    }
    *zero_init = zero && !a->backing;
    return img_open(cv->m, name, a->out_fmt, a->cache ? a->cache : "unsafe", BLOCK_RDWR | BLOCK_UNMAP | BLOCK_RESIZE |
                    (a->backing ? 0 : BLOCK_NO_BACKING));
}

static const char *volatile doomed_part;
static void on_signal(int sig)
{
    if (doomed_part)
        unlink(doomed_part);
    _exit(128 + sig);
}

static int finish_part(Convert *cv, const char *part, const char *dst)
{
    struct stat st;

    if (!part)
        return 0;
    if (g_str_has_prefix(dst, "file:"))
        dst += 5;
    if (stat(dst, &st) == 0)
        (void)!chmod(part, st.st_mode & 07777);
    if (rename(part, dst) < 0)
        return img_fail(cv->m, "could not rename '%s' to '%s': %s", part, dst, g_strerror(errno));
    return 0;
}

static int print_hash(Convert *cv, const char *kind)
{
    GChecksumType t = g_str_equal(kind, "sha256") ? G_CHECKSUM_SHA256 : g_str_equal(kind, "sha512") ? G_CHECKSUM_SHA512 :
                      g_str_equal(kind, "sha1") ? G_CHECKSUM_SHA1 : G_CHECKSUM_MD5;
    g_autoptr(GChecksum) sum = g_checksum_new(t);
    g_autofree uint8_t *buf = g_malloc(PIECE);

    for (uint64_t off = 0, size = block_node_size(cv->dst); off < size; off += PIECE) {
        uint64_t n = MIN(PIECE, size - off);
        int ret = block_pread(cv->dst, off, buf, n);
        if (ret)
            return img_fail(cv->m, "error while reading back offset %" PRIu64 ": %s", off, g_strerror(-ret));
        g_checksum_update(sum, buf, n);
    }
    printf("%s: %s\n", kind, g_checksum_get_string(sum));
    return 0;
}

static bool known_hash(const char *h)
{
    static const char *const known[] = { "md5", "sha1", "sha256", "sha512", NULL };

    return !h || g_strv_contains(known, h);
}

static bool is_remote(BlockNode *n)
{
    while (block_node_file(n))
        n = block_node_file(n);
    return g_str_equal(block_node_format(n), "nbd");
}

/* As many as there are processors; over a network requests must wait together, not one after the other. */
static unsigned choose_threads(const Convert *cv)
{
    bool remote = is_remote(cv->dst);

    for (int i = 0; i < cv->nsrc; i++)
        remote |= is_remote(cv->src[i].n);
    return MIN(MAX(g_get_num_processors(), remote ? 8 : 2), MAX_THREADS);
}

static int set_up_copy(Convert *cv, Args *a)
{
    uint64_t cluster = block_node_cluster_size(cv->dst);
    bool scan = a->sparse != 0 || a->compress;

    cv->threads = a->threads != UINT64_MAX ? a->threads : choose_threads(cv);
    cv->compress |= block_node_needs_compressed(cv->dst);
    if (block_node_needs_compressed(cv->dst))
        cv->threads = 1;
    if (block_node_size(cv->dst) < cv->total)
        return img_fail(cv->m, "output file is smaller than input file");
    if (cv->compress && !block_node_can_compress(cv->dst))
        return img_fail(cv->m, "Compression not supported for this file format");
    cv->unit = MAX(MAX(a->sparse, 512), cv->compress ? cluster : MIN(cluster, 65536));
    if (cv->compress)
        cv->unit = cluster;
    cv->piece = MAX(PIECE, cv->unit);
    cv->no_zero_scan = !scan;
    if (!scan)
        cv->zero_init = false;
    return 0;
}

static int convert_run(Convert *cv, Args *a, char **names, int count)
{
    const char *dst = names[count];
    g_autofree char *part = NULL;
    GError *err = NULL;
    struct stat st;
    int code = open_sources(cv, a, names, count);

    if (code)
        return code;
    if (a->no_create) {
        bool saved = cv->m->image_opts;
        cv->m->image_opts = a->target_opts;
        cv->dst = img_open(cv->m, dst, a->target_opts ? NULL : a->out_fmt, a->cache ? a->cache : "unsafe", BLOCK_RDWR | BLOCK_UNMAP);
        cv->m->image_opts = saved;
        cv->zero_init = a->is_zero;
    } else {
        bool saved = cv->m->image_opts;
        cv->m->image_opts = false;
        cv->dst = create_target(cv, a, dst, &part, &cv->zero_init);
        cv->m->image_opts = saved;
    }
    /* In place there is at least no first file that looks whole. */
    const char *doomed = part ? part : !a->no_create && cv->dst && lstat(dst, &st) == 0 && S_ISREG(st.st_mode) ? dst : NULL;
    if (cv->dst && doomed) {
        doomed_part = doomed;
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        signal(SIGHUP, on_signal);
    }
    code = cv->dst ? set_up_copy(cv, a) : 1;
    code = code ? code : copy_all(cv);
    if (cv->dst)
        img_progress_end(cv->m);
    if (!code && a->hash)
        code = print_hash(cv, a->hash);
    if (cv->dst && !block_node_close(cv->dst, code ? NULL : &err) && !code)
        code = img_error(cv->m, err);
    if (!code)
        code = finish_part(cv, part, dst);
    if (code && doomed)
        unlink(doomed);
    doomed_part = NULL;
    return code;
}

int img_convert(Img *m, int argc, char **argv)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    Args a = { .opts = opts, .sparse = UINT64_MAX, .threads = UINT64_MAX };
    Convert cv = { .m = m, .json_fd = -1 };
    int code = parse_args(m, &a, argc, argv);

    if (code >= 0)
        return code;
    if (!a.out_fmt)
        a.out_fmt = "raw";
    if (a.sparse == UINT64_MAX)
        a.sparse = 4096;
    if (m->quiet)
        m->progress = false;
    if (a.progress && g_str_has_prefix(a.progress, "json"))
        cv.json_fd = a.progress[4] == ':' ? atoi(a.progress + 5) : 2;
    else if (a.progress)
        m->progress = true;
    if (a.progress && (g_str_equal(a.progress, "bar") || g_str_equal(a.progress, "text")))
        m->bar = *a.progress == 'b';
    if (!known_hash(a.hash))
        return img_fail(m, "hash '%s' is not known: use md5, sha1, sha256 or sha512", a.hash);
    if (argc - optind < 2)
        return img_fail(m, "Must specify image file name"), img_bad_usage(m);
    const char *prealloc = block_opts_get(opts, "preallocation");
    if (a.compress && prealloc && strcmp(prealloc, "off"))
        return img_fail(m, "Compression and preallocation not supported at the same time");
    if (a.compress && a.no_create && a.sparse == 0)
        return img_fail(m, "Cannot use -S 0 when compressing");
    cv.compress = a.compress;
    cv.salvage = a.salvage;
    cv.keep_backing = a.backing != NULL;
    cv.rate = a.rate;
    g_mutex_init(&cv.lock);
    code = convert_run(&cv, &a, argv + optind, argc - optind - 1);
    for (int i = 0; i < cv.nsrc; i++)
        block_node_unref(cv.src[i].n);
    g_free(cv.src);
    g_mutex_clear(&cv.lock);
    return code;
}
