/*
 * img: verbs of the image tool and what they share.
 */
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>
#include "cli/img.h"
#include <getopt.h>
#include "cli/img_int.h"

typedef struct Verb { const char *name; int (*fn)(Img *, int, char **); const char *usage; } Verb;

static const Verb verbs[] = {
    { "amend", img_amend, "[--image-opts] [-f fmt] [-t cache] [-p] [-q] [--force] -o options filename" },
    { "bench", img_bench, "[--image-opts] [-c count] [-d depth] [-f fmt] [--flush-interval=n] [-i aio] [-n] [--no-drain] [-o offset] "
      "[--pattern=n] [-q] [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename" },
    { "check", img_check, "[--object objectdef] [--image-opts] [-q] [-f fmt] [--output=human|json] [-r leaks|all] [-T src_cache] [-U] filename" },
    { "commit", img_commit, "[--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename" },
    { "compare", img_compare, "[--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2" },
    { "convert", img_convert, "[--image-opts] [--target-image-opts] [--target-is-zero] [--bitmaps] [--salvage] [-U] [-C] [-c] [-p] [-q] [-n] "
      "[-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] "
      "[-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--progress=text|bar|json[:fd]] [--hash=algorithm] filename [filename2 [...]] output_filename" },
    { "create", img_create, "[-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]" },
    { "dd", img_dd, "[--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] if=input of=output" },
    { "info", img_info, "[--image-opts] [-f fmt] [--output=human|json] [--backing-chain] [-U] filename" },
    { "map", img_map, "[--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=human|json] [-U] filename" },
    { "measure", img_measure, "[--output=human|json] [-O output_fmt] [-o options] [--size N | [--image-opts] [-f fmt] [-l snapshot_param] filename]" },
    { "rebase", img_rebase, "[--image-opts] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename" },
    { "resize", img_resize, "[--image-opts] [-f fmt] [--preallocation=mode] [-q] [--shrink] filename [+ | -]size" },
    { "snapshot", img_snapshot, "[--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename" },
};

int img_fail(Img *m, const char *fmt, ...)
{
    va_list ap;

    fprintf(stderr, "%s: ", m->prog);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    return 1;
}

int img_error(Img *m, GError *err)
{
    img_fail(m, "%s", err ? err->message : "failed");
    g_clear_error(&err);
    return 1;
}

int img_bad_usage(Img *m)
{
    fprintf(stderr, "Try '%s --help' for more information\n", m->prog);
    return 1;
}

static const struct option long_options[] = {
    { "help", no_argument, NULL, 'h' }, { "output", required_argument, NULL, OPT_OUTPUT }, { "quiet", no_argument, NULL, 'q' },
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS }, { "force-share", no_argument, NULL, 'U' },
    { "object", required_argument, NULL, OPT_OBJECT }, { "image-policy", required_argument, NULL, OPT_POLICY },
    { "shrink", no_argument, NULL, OPT_SHRINK }, { "preallocation", required_argument, NULL, OPT_PREALLOC },
    { "force", no_argument, NULL, OPT_FORCE }, { "backing-chain", no_argument, NULL, OPT_BACKING_CHAIN },
    { "start-offset", required_argument, NULL, OPT_START }, { "max-length", required_argument, NULL, OPT_MAX_LENGTH },
    { "size", required_argument, NULL, OPT_SIZE }, { "pattern", required_argument, NULL, OPT_PATTERN },
    { "flush-interval", required_argument, NULL, OPT_FLUSH_INTERVAL }, { "no-drain", no_argument, NULL, OPT_NO_DRAIN },
    { "target-image-opts", no_argument, NULL, OPT_TARGET_IMAGE_OPTS }, { "target-is-zero", no_argument, NULL, OPT_TARGET_IS_ZERO },
    { "bitmaps", no_argument, NULL, OPT_BITMAPS }, { "salvage", no_argument, NULL, OPT_SALVAGE },
    { "progress", required_argument, NULL, OPT_PROGRESS }, { "hash", required_argument, NULL, OPT_HASH },
    { "skip-broken-bitmaps", no_argument, NULL, OPT_SKIP_BROKEN }, { NULL } };

/* What only some verbs take is in their usage text. */
static bool takes(const Img *m, const char *option) { return strstr(m->usage, option) != NULL; }

/* An option all verbs share; -1: go on. word: as it was written. */
static int common_option(Img *m, int c, const char *word)
{
    if ((c == OPT_OUTPUT && !takes(m, "--output")) || (c == OPT_IMAGE_OPTS && !takes(m, "--image-opts")))
        c = '?';
    switch (c) {
    case 'q': m->quiet = true; return -1;
    case 'U': m->force_share = true; return -1;
    case OPT_IMAGE_OPTS: m->image_opts = true; return -1;
    case OPT_OUTPUT:
        m->json = g_str_equal(optarg, "json");
        if (!m->json && strcmp(optarg, "human"))
            return img_fail(m, "--output must be used with human or json as argument.");
        return -1;
    case OPT_POLICY:
        if (!block_graph_set_policy(m->g, optarg))
            return img_fail(m, "--image-policy '%s' is not known: use any, beside or none", optarg);
        return -1;
    case OPT_OBJECT: return img_fail(m, "--object is not supported: no format here needs secrets");
    case 'h':
        printf("usage: %s %s %s\n", m->prog, m->verb, m->usage);
        return 0;
    case ':': return img_fail(m, "missing argument for option '%s'", word), img_bad_usage(m);
    default: return img_fail(m, "unrecognized option '%s'", word), img_bad_usage(m);
    }
}

static bool add_create_opts(Img *m, ImgCreateOpts *o, const char *text)
{
    GError *err = NULL;
    GHashTableIter it;
    gpointer k, v;

    o->any = true;
    o->help |= g_str_equal(text, "help") || g_str_equal(text, "?");
    if (o->help)
        return true;
    g_autoptr(GHashTable) more = block_opts_parse(text, NULL, &err);
    if (!more) {
        img_error(m, err);
        return false;
    }
    g_hash_table_iter_init(&it, more);
    while (g_hash_table_iter_next(&it, &k, &v))
        block_opts_set(o->opts, k, v);
    return true;
}

static int take_option(Img *m, const ImgOpt *o)
{
    switch (o->kind) {
    case IMG_TEXT: *(const char **)o->to = optarg; break;
    case IMG_FLAG: *(bool *)o->to = true; break;
    case IMG_SIZE:
        if (!block_parse_size(optarg, o->to, NULL))
            return o->c < 256 ? img_fail(m, "Invalid number '%s' for -%c", optarg, o->c) : img_fail(m, "Invalid number '%s'", optarg);
        break;
    case IMG_CREATE: return add_create_opts(m, o->to, optarg) ? -1 : 1;
    case IMG_UNUSED: break;
    }
    return -1;
}

int img_options(Img *m, int argc, char **argv, const ImgOpt *table, unsigned count)
{
    g_autoptr(GString) letters = g_string_new(":hqU");
    int c, code = -1;

    for (unsigned i = 0; i < count; i++)
        if (table[i].c < 256)
            g_string_append_printf(letters, "%c%s", table[i].c, table[i].kind == IMG_FLAG ? "" : ":");
    while (code < 0 && (c = getopt_long(argc, argv, letters->str, long_options, NULL)) != -1) {
        unsigned i = 0;
        while (i < count && table[i].c != c)
            i++;
        code = i < count ? take_option(m, &table[i]) : common_option(m, c, argv[optind - 1]);
    }
    if (m->quiet)
        m->progress = false;
    return code;
}

BlockNode *img_open(Img *m, const char *name, const char *fmt, const char *cache, unsigned flags)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    const char *given = name;
    GError *err = NULL;
    BlockNode *n;
    bool wce;

    if (cache && !block_cache_mode(cache, &flags, &wce)) {
        img_fail(m, "Invalid cache option: %s", cache);
        return NULL;
    }
    if (cache && !wce)
        flags |= BLOCK_WRITETHROUGH;
    if (m->force_share)
        flags |= BLOCK_NO_LOCK;
    if (m->image_opts) {
        g_hash_table_unref(g_steal_pointer(&opts));
        opts = block_opts_parse(name, "file", &err);
        name = NULL;
    } else if (fmt) {
        block_opts_set(opts, "driver", fmt);
    }
    n = opts ? block_open(m->g, name, opts, flags, &err) : NULL;
    if (!n && !g_str_has_prefix(err->message, "Could not open"))
        err_prefix(&err, "Could not open '%s'", given);
    if (!n)
        img_error(m, err);
    return n;
}

int img_print_create_help(Img *m, const char *fmt)
{
    const BlockCreateOption *o = block_create_options(fmt);

    if (!o)
        return img_fail(m, "Format driver '%s' does not support image creation", fmt);
    printf("Supported %s options:\n", fmt);
    for (; o->name; o++)
        printf("  %s=<%s>%*s - %s\n", o->name, strstr(o->name, "size") ? "size" : "str",
               MAX(0, 16 - (int)strlen(o->name)), "", o->help);
    return 0;
}

char *img_human_size(uint64_t bytes)
{
    static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    int i = 0;
    double v = bytes;

    while (v >= 1000 && i < 6) {        /* as other tools round it: 0.98 MiB, not 1000 KiB */
        v /= 1024;
        i++;
    }
    return g_strdup_printf("%.3g %s", v, unit[i]);
}

/* ---- progress; SIGUSR1 asks for one line ---- */
static volatile sig_atomic_t report_asked;
static void on_usr1(int sig) { report_asked = 1; }

static void show_bar(Img *m, double pct)
{
    enum { WIDTH = 40 };
    char bar[WIDTH + 1];
    int full = pct * WIDTH / 100;

    if ((int)(pct * 10) == m->shown_permille)
        return;
    m->shown_permille = pct * 10;
    memset(bar, '#', full);
    memset(bar + full, '-', WIDTH - full);
    bar[WIDTH] = 0;
    printf("\r  [%s] %5.1f%%", bar, pct);
    fflush(stdout);
}

void img_progress(Img *m, uint64_t done, uint64_t total)
{
    double pct = total ? 100.0 * done / total : 100;

    if (m->progress && m->bar) {
        show_bar(m, pct);
    } else if (m->progress) {
        printf("    (%3.2f/100%%)\r", pct);
        fflush(stdout);
    }
    if (report_asked) {
        report_asked = 0;
        fprintf(stderr, "    (%3.2f/100%%)\n", pct);
    }
}

void img_progress_end(Img *m)
{
    if (m->progress)
        printf("\n");
}

static int print_help(Img *m)
{
    printf("quern img: disk image tool, compatible with qemu-img\n"
           "usage: %s command [command options]\n\nCommand syntax:\n", m->prog);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        printf("  %s %s\n", verbs[i].name, verbs[i].usage);
    printf("\nEach command takes --image-policy=any|beside|none: which files a name inside an image may open.\n"
           "\nSupported formats:");
    for (const char *const *f = block_formats(); *f; f++)
        printf(" %s", *f);
    printf("\n");
    return 0;
}

static int run_verb(Img *m, const Verb *v, int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = on_usr1, .sa_flags = SA_RESTART };
    int code;

    m->verb = v->name;
    m->bar = isatty(STDOUT_FILENO) && strcmp(m->prog, "qemu-img");
    m->shown_permille = -1;
    m->usage = v->usage;
    m->g = block_graph_new(NULL);
    sigaction(SIGUSR1, &sa, NULL);
    optind = 0;
    code = v->fn(m, argc - 1, argv + 1);
    block_graph_free(m->g);
    return fflush(stdout) ? 1 : code;
}

int img_main(int argc, char **argv)
{
    g_autofree char *base = g_path_get_basename(argv[0]);
    Img m = { .prog = g_str_has_suffix(base, "-img") ? base : "quern img" };
    const char *names[ARRAY_LEN(verbs) + 1] = { NULL };

    while (argc > 1 && (g_str_equal(argv[1], "-T") || g_str_equal(argv[1], "--trace")) && argc > 2) {
        argv[2] = argv[0];
        argv += 2;
        argc -= 2;
    }
    if (argc < 2)
        return img_fail(&m, "Not enough arguments"), img_bad_usage(&m);
    if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "help"))
        return print_help(&m);
    if (g_str_equal(argv[1], "--version") || g_str_equal(argv[1], "-V")) {
        printf("qemu-img version 7.2.0 (quern)\n");
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (g_str_equal(argv[1], verbs[i].name))
            return run_verb(&m, &verbs[i], argc, argv);
        names[i] = verbs[i].name;
    }
    const char *near = nearest_name(argv[1], names);
    img_fail(&m, "Command not found: %s", argv[1]);
    if (near)
        fprintf(stderr, "Did you mean '%s'?\n", near);
    return img_bad_usage(&m);
}
