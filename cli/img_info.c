/*
 * img_info: verbs that only look: info, check, map, measure, compare.
 */
#include <errno.h>
#include <time.h>
#include "cli/img_int.h"

/* ---- info ---- */
void img_print_snapshots(GPtrArray *a)
{
    printf("%-10s%-17s%8s%20s%13s%11s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
    for (guint i = 0; i < a->len; i++) {
        BlockSnapshot *s = g_ptr_array_index(a, i);
        time_t t = s->date_sec;
        char date[64], clock[64], icount[32];
        struct tm tm;
        g_autofree char *size = img_human_size(s->vm_state_size);
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
        uint64_t sec = s->vm_clock_ns / NS_PER_SEC;
        snprintf(clock, sizeof clock, "%02d:%02d:%02d.%03d", (int)(sec / 3600), (int)(sec / 60 % 60), (int)(sec % 60),
                 (int)(s->vm_clock_ns / NS_PER_MS % 1000));
        snprintf(icount, sizeof icount, "%" PRIu64, s->icount);
        printf("%-9s %-16s %8s%20s%13s%11s\n", s->id, s->name, size, date, clock, s->has_icount ? icount : "");
    }
}

static void info_human(BlockNode *n, const BlockInfo *i)
{
    g_autofree char *virt = img_human_size(i->virtual_size), *disk = i->actual_size < 0 ? g_strdup("unavailable") : img_human_size(i->actual_size);
    g_autoptr(GPtrArray) snaps = block_snapshot_list(n);

    printf("image: %s\nfile format: %s\nvirtual size: %s (%" PRIu64 " bytes)\ndisk size: %s\n",
           block_node_filename(n), block_node_format(n), virt, i->virtual_size, disk);
    if (i->encrypted)
        printf("encrypted: yes\n");
    if (i->cluster_size)
        printf("cluster_size: %u\n", i->cluster_size);
    if (i->dirty)
        printf("cleanly shut down: no\n");
    if (i->backing_filename) {
        printf("backing file: %s", i->backing_filename);
        if (strcmp(i->backing_filename, i->full_backing_filename))
            printf(" (actual path: %s)", i->full_backing_filename);
        printf("\n");
        if (i->backing_format)
            printf("backing file format: %s\n", i->backing_format);
    }
    if (snaps->len) {
        printf("Snapshot list:\n");
        img_print_snapshots(snaps);
    }
    if (i->specific) {
        printf("Format specific information:\n");
        for (guint k = 0; k < i->specific->len; k++) {
            BlockInfoItem *it = g_ptr_array_index(i->specific, k);
            g_autofree char *key = g_strdelimit(g_strdup(it->key), "-", ' ');
            size_t len = strlen(it->value);
            if (it->value[0] == '[')
                printf("    %s:\n        %s\n", key, it->value);
            else if (it->value[0] == '"')
                printf("    %s: %.*s\n", key, (int)len - 2, it->value + 1);
            else
                printf("    %s: %s\n", key, it->value);
        }
    }
}

static void json_text(const char *in, const char *key, const char *value)
{
    g_autofree char *q = block_json_quote(value);

    printf("%s\"%s\": %s,\n", in, key, q);
}

static void json_snapshots(GPtrArray *a, const char *in)
{
    if (!a->len)
        return;
    printf("%s\"snapshots\": [\n", in);
    for (guint i = 0; i < a->len; i++) {
        BlockSnapshot *s = g_ptr_array_index(a, i);
        g_autofree char *id = block_json_quote(s->id), *name = block_json_quote(s->name);
        printf("%s    {\n", in);
        if (s->has_icount)
            printf("%s        \"icount\": %" PRIu64 ",\n", in, s->icount);
        printf("%s        \"vm-clock-nsec\": %" PRIu64 ",\n%s        \"name\": %s,\n%s        \"date-sec\": %u,\n"
               "%s        \"date-nsec\": %u,\n%s        \"vm-clock-sec\": %" PRIu64 ",\n%s        \"id\": %s,\n"
               "%s        \"vm-state-size\": %" PRIu64 "\n%s    }%s\n",
               in, s->vm_clock_ns % (uint64_t)NS_PER_SEC, in, name, in, s->date_sec, in, s->date_nsec, in,
               s->vm_clock_ns / (uint64_t)NS_PER_SEC, in, id, in, s->vm_state_size, in, i + 1 < a->len ? "," : "");
    }
    printf("%s],\n", in);
}

static void info_json(BlockNode *n, const BlockInfo *i, const char *in0)
{
    g_autofree char *in = g_strdup_printf("%s    ", in0);
    g_autoptr(GPtrArray) snaps = block_snapshot_list(n);

    printf("%s{\n", in0);
    json_snapshots(snaps, in);
    printf("%s\"virtual-size\": %" PRIu64 ",\n", in, i->virtual_size);
    json_text(in, "filename", block_node_filename(n));
    if (i->cluster_size)
        printf("%s\"cluster-size\": %u,\n", in, i->cluster_size);
    json_text(in, "format", block_node_format(n));
    if (i->actual_size >= 0)
        printf("%s\"actual-size\": %" PRId64 ",\n", in, i->actual_size);
    if (i->encrypted)
        printf("%s\"encrypted\": true,\n", in);
    if (i->compressed)
        printf("%s\"compressed\": true,\n", in);
    if (i->specific) {
        printf("%s\"format-specific\": {\n%s    \"type\": \"%s\",\n%s    \"data\": {\n", in, in, i->specific_type, in);
        for (guint k = 0; k < i->specific->len; k++) {
            BlockInfoItem *it = g_ptr_array_index(i->specific, k);
            printf("%s        \"%s\": %s%s\n", in, it->key, it->value, k + 1 < i->specific->len ? "," : "");
        }
        printf("%s    }\n%s},\n", in, in);
    }
    if (i->backing_filename) {
        json_text(in, "full-backing-filename", i->full_backing_filename);
        json_text(in, "backing-filename", i->backing_filename);
        if (i->backing_format)
            json_text(in, "backing-filename-format", i->backing_format);
    }
    printf("%s\"dirty-flag\": %s\n%s}", in, i->dirty ? "true" : "false", in0);
}

/* Prints one image; *next gets the path of its backing file (caller frees), *next_fmt its format. */
static int info_one(Img *m, const char *name, const char *fmt, bool first, bool chain, char **next, char **next_fmt)
{
    BlockNode *n = img_open(m, name, fmt, NULL, BLOCK_NO_IO | BLOCK_NO_BACKING);
    GError *err = NULL;
    BlockInfo info;

    if (!n)
        return 1;
    if (!block_info(n, &info, &err)) {
        block_node_unref(n);
        return img_error(m, err);
    }
    if (m->json) {
        printf("%s", first ? (chain ? "[\n" : "") : ",\n");
        info_json(n, &info, chain ? "    " : "");
        printf("%s", chain ? "" : "\n");
    } else {
        printf("%s", first ? "" : "\n");
        info_human(n, &info);
    }
    *next = g_strdup(info.full_backing_filename);
    *next_fmt = g_strdup(info.backing_format);
    block_info_clear(&info);
    block_node_unref(n);
    return 0;
}

int img_info(Img *m, int argc, char **argv)
{
    g_autofree char *name = NULL, *fmt = NULL;
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    const char *given_fmt = NULL;
    bool chain = false;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &given_fmt }, { OPT_BACKING_CHAIN, IMG_FLAG, &chain },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    name = g_strdup(argv[optind]);
    fmt = g_strdup(given_fmt);
    for (bool first = true; name; first = false) {
        char *next = NULL, *next_fmt = NULL;
        if (!g_hash_table_add(seen, g_strdup(name)))
            return img_fail(m, "Backing file '%s' creates an infinite loop.", name);
        code = info_one(m, name, fmt, first, chain, &next, &next_fmt);
        g_free(name);
        g_free(fmt);
        name = next;
        fmt = next_fmt;
        m->image_opts = false;
        if (code)
            return code;
        if (!chain)
            break;
    }
    if (m->json && chain)
        printf("\n]\n");
    return 0;
}

/* ---- check ---- */
static void note_stderr(void *opaque, const char *text) { fprintf(stderr, "%s\n", text); }
static void note_nothing(void *opaque, const char *text) { }

static void json_count(bool *sep, const char *key, uint64_t v, bool always)
{
    if (!v && !always)
        return;
    printf("%s    \"%s\": %" PRIu64, *sep ? ",\n" : "", key, v);
    *sep = true;
}

static void check_json(BlockNode *n, const char *name, const BlockCheck *r)
{
    g_autofree char *file = block_json_quote(name);
    bool sep = false;

    printf("{\n");
    json_count(&sep, "image-end-offset", r->image_end, false);
    json_count(&sep, "total-clusters", r->total_clusters, false);
    json_count(&sep, "check-errors", r->errors, true);
    json_count(&sep, "leaks", r->leaks, false);
    json_count(&sep, "leaks-fixed", r->leaks_fixed, false);
    json_count(&sep, "corruptions", r->corruptions, false);
    json_count(&sep, "corruptions-fixed", r->corruptions_fixed, false);
    json_count(&sep, "allocated-clusters", r->allocated, false);
    json_count(&sep, "fragmented-clusters", r->fragmented, false);
    json_count(&sep, "compressed-clusters", r->compressed, false);
    printf(",\n    \"filename\": %s,\n    \"format\": \"%s\"\n}\n", file, block_node_format(n));
}

static void check_human(const BlockCheck *r)
{
    if (!r->errors && !r->corruptions && !r->leaks)
        printf("No errors were found on the image.\n");
    if (r->corruptions)
        printf("\n%" PRIu64 " errors were found on the image.\n"
               "Data may be corrupted, or further writes to the image may corrupt it.\n", r->corruptions);
    if (r->leaks)
        printf("\n%" PRIu64 " leaked clusters were found on the image.\n"
               "This means waste of disk space, but no harm to data.\n", r->leaks);
    if (r->errors)
        printf("\n%" PRIu64 " internal errors have occurred during the check.\n", r->errors);
    if (r->total_clusters && r->allocated)
        printf("%" PRIu64 "/%" PRIu64 " = %0.2f%% allocated, %0.2f%% fragmented, %0.2f%% compressed clusters\n",
               r->allocated, r->total_clusters, r->allocated * 100.0 / r->total_clusters,
               r->fragmented * 100.0 / r->allocated, r->compressed * 100.0 / r->allocated);
    if (r->image_end)
        printf("Image end offset: %" PRIu64 "\n", r->image_end);
}

static int check_run(Img *m, BlockNode *n, const char *name, unsigned fix)
{
    BlockCheck r = { .note = m->quiet ? note_nothing : note_stderr }, twice = { 0 };
    GError *err = NULL;

    if (!block_can_check(n)) {
        if (!m->quiet)
            img_fail(m, "This image format does not support checks");
        return 63;
    }
    if (!block_check(n, fix, &r, &err))
        return img_error(m, err);
    if (fix && (r.leaks_fixed || r.corruptions_fixed)) {
        if (!m->quiet && !m->json)
            printf("The following inconsistencies were found and repaired:\n\n    %" PRIu64 " leaked clusters\n"
                   "    %" PRIu64 " corruptions\n\nDouble checking the fixed image now...\n", r.leaks_fixed, r.corruptions_fixed);
        if (!block_check(n, 0, &twice, &err))
            return img_error(m, err);
        twice.leaks_fixed = r.leaks_fixed;
        twice.corruptions_fixed = r.corruptions_fixed;
        r = twice;
    }
    if (m->json)
        check_json(n, name, &r);
    else if (!m->quiet)
        check_human(&r);
    return r.errors ? 1 : r.corruptions ? 2 : r.leaks ? 3 : 0;
}

int img_check(Img *m, int argc, char **argv)
{
    const char *fmt = NULL, *cache = NULL, *repair = NULL;
    unsigned fix = 0;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 'r', IMG_TEXT, &repair }, { 'T', IMG_TEXT, &cache },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (repair)
        fix = g_str_equal(repair, "leaks") ? BLOCK_FIX_LEAKS :
              g_str_equal(repair, "all") ? BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS : 0;
    if (repair && !fix)
        return img_fail(m, "Unknown option value for -r (expecting 'leaks' or 'all'): %s", repair), img_bad_usage(m);
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    BlockNode *n = img_open(m, argv[optind], fmt, cache, (fix ? BLOCK_RDWR | BLOCK_UNMAP : 0) | BLOCK_CHECK | BLOCK_NO_BACKING);
    if (!n)
        return 1;
    code = check_run(m, n, argv[optind], fix);
    GError *err = NULL;
    if (!block_node_close(n, &err))
        return img_error(m, err);
    return code;
}

/* ---- map ---- */
typedef struct MapRun { uint64_t start, len, offset; int depth; bool data, zero, present, has_offset; BlockNode *file; } MapRun;

static int map_print(Img *m, const MapRun *r, bool last)
{
    if (!m->json) {
        if (r->data && !r->has_offset)
            return img_fail(m, "File contains external, encrypted or compressed clusters.");
        if (r->data && !r->zero)
            printf("%#-16" PRIx64 "%#-16" PRIx64 "%#-16" PRIx64 "%s\n", r->start, r->len, r->has_offset ? r->offset : 0,
                   r->file ? block_node_filename(r->file) : "");
        return 0;
    }
    printf("{ \"start\": %" PRIu64 ", \"length\": %" PRIu64 ", \"depth\": %d, \"present\": %s, \"zero\": %s, \"data\": %s",
           r->start, r->len, r->depth, r->present ? "true" : "false", r->zero ? "true" : "false", r->data ? "true" : "false");
    if (r->has_offset)
        printf(", \"offset\": %" PRIu64, r->offset);
    printf("}%s", last ? "]\n" : ",\n");
    return 0;
}

static bool map_joins(const MapRun *a, const MapRun *b)
{
    return a->data == b->data && a->zero == b->zero && a->depth == b->depth && a->present == b->present &&
           a->has_offset == b->has_offset && a->file == b->file && (!a->has_offset || a->offset + a->len == b->offset);
}

/* The first layer that knows the bytes; past the end of its backing file a layer shows zeroes of its own. */
static int map_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st, int *depth)
{
    int ret;

    for (*depth = 0; (ret = block_status(n, off, bytes, st)) == 0 && !st->zero && !st->data; n = block_node_backing(n), ++*depth) {
        BlockNode *below = block_node_backing(n);
        if (!below)
            break;
        if (off >= block_node_size(below)) {
            st->zero = true;
            break;
        }
        bytes = MIN(st->bytes, block_node_size(below) - off);
    }
    return ret;
}

static int map_walk(Img *m, BlockNode *n, uint64_t start, uint64_t end)
{
    MapRun cur = { 0 };

    if (!m->json)
        printf("%-16s%-16s%-16s%s\n", "Offset", "Length", "Mapped to", "File");
    else
        printf("[");
    for (uint64_t off = start; off < end; ) {
        BlockStatus st;
        int depth, ret = map_status(n, off, MIN(end - off, GiB), &st, &depth);
        if (ret)
            return img_fail(m, "Failed to read image metadata: %s", g_strerror(-ret));
        MapRun r = { off, st.bytes, st.offset, depth, st.data, st.zero, st.allocated, st.offset_valid, st.file };
        if (cur.len && map_joins(&cur, &r)) {
            cur.len += r.len;
        } else {
            if (cur.len && map_print(m, &cur, false))
                return 1;
            cur = r;
        }
        off += st.bytes;
    }
    return cur.len || m->json ? map_print(m, &cur, true) : 0;
}

int img_map(Img *m, int argc, char **argv)
{
    uint64_t start = 0, len = UINT64_MAX;
    const char *fmt = NULL;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 's', IMG_SIZE, &start }, { OPT_START, IMG_SIZE, &start }, { 'l', IMG_SIZE, &len },
        { OPT_MAX_LENGTH, IMG_SIZE, &len },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 1)
        return img_fail(m, "Expecting one image file name"), img_bad_usage(m);
    BlockNode *n = img_open(m, argv[optind], fmt, NULL, 0);
    if (!n)
        return 1;
    uint64_t size = block_node_size(n);
    code = map_walk(m, n, MIN(start, size), len < size - MIN(start, size) ? start + len : size);
    block_node_unref(n);
    return code;
}

/* ---- measure ---- */
int img_measure(Img *m, int argc, char **argv)
{
    g_autoptr(GHashTable) opts = block_opts_new();
    ImgCreateOpts create = { .opts = opts };
    const char *fmt = NULL, *out = "raw", *snap = NULL, *size = NULL;
    BlockMeasure res;
    BlockNode *n = NULL;
    GError *err = NULL;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &fmt }, { 'l', IMG_TEXT, &snap }, { 'O', IMG_TEXT, &out }, { OPT_SIZE, IMG_TEXT, &size },
        { 'o', IMG_CREATE, &create },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (create.help)
        return img_print_create_help(m, out);
    if (argc - optind > 1)
        return img_fail(m, "At most one filename argument is allowed.");
    if (!size == (optind == argc))
        return img_fail(m, size ? "--size N cannot be used together with a filename." :
                        "Either --size N or one filename must be specified.");
    if (size)
        block_opts_set(opts, "size", size);
    else if (!(n = img_open(m, argv[optind], fmt, NULL, 0)))
        return 1;
    if (n && snap && !block_snapshot_load(n, g_str_has_prefix(snap, "snapshot.name=") ? snap + 14 : snap, &err)) {
        block_node_unref(n);
        return img_error(m, err);
    }
    bool ok = block_measure(out, opts, n, &res, &err);
    block_node_unref(n);
    if (!ok)
        return img_error(m, err);
    if (m->json)
        printf("{\n%s    \"required\": %" PRIu64 ",\n    \"fully-allocated\": %" PRIu64 "\n}\n",
               res.has_bitmaps ? "    \"bitmaps\": 0,\n" : "", res.required, res.full);
    else
        printf("required size: %" PRIu64 "\nfully allocated size: %" PRIu64 "\n%s", res.required, res.full,
               res.has_bitmaps ? "bitmaps size: 0\n" : "");
    return 0;
}

/* ---- compare ---- */
enum { CMP_CHUNK = 256 << 10 };     /* both buffers stay in the processor's cache */

/* What one image says about the bytes up to end: asked once per run, not once per chunk. */
typedef struct CmpSide { BlockNode *n; uint64_t end; BlockStatus st; } CmpSide;

static int side_at(CmpSide *s, uint64_t off, uint64_t limit)
{
    int ret = off < s->end ? 0 : block_status_above(s->n, NULL, off, limit - off, &s->st, NULL);

    if (off >= s->end)
        s->end = off + s->st.bytes;
    return ret;
}

/* To the sector, as other tools tell it. */
static uint64_t first_difference(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t i = 0;

    while (i + 512 <= n && !memcmp(a + i, b + i, 512))
        i += 512;
    return i;
}

static uint64_t first_data(const uint8_t *buf, size_t n)
{
    size_t i = 0;

    while (i + 512 <= n && block_is_zero(buf + i, 512))
        i += 512;
    return i;
}

static int compare_tail_zero(Img *m, BlockNode *n, uint64_t off, uint8_t *buf)
{
    uint64_t size = block_node_size(n);

    while (off < size) {
        BlockStatus st;
        int ret = block_status_above(n, NULL, off, MIN(size - off, GiB), &st, NULL);
        if (!ret && !st.zero) {
            st.bytes = MIN(st.bytes, CMP_CHUNK);
            ret = block_pread(n, off, buf, st.bytes);
            if (!ret && !block_is_zero(buf, st.bytes)) {
                if (!m->quiet)
                    printf("Content mismatch at offset %" PRIu64 "!\n", off + first_data(buf, st.bytes));
                return 1;
            }
        }
        if (ret)
            return img_fail(m, "Error while reading offset %" PRIu64 ": %s", off, g_strerror(-ret)), 4;
        off += st.bytes;
    }
    return 0;
}

static int compare_nodes(Img *m, BlockNode *a, BlockNode *b, bool strict)
{
    g_autofree uint8_t *x = g_malloc(CMP_CHUNK), *y = g_malloc(CMP_CHUNK);
    uint64_t sa = block_node_size(a), sb = block_node_size(b), common = MIN(sa, sb);
    CmpSide ta = { .n = a }, tb = { .n = b };

    if (strict && sa != sb) {
        if (!m->quiet)
            printf("Strict mode: Image size mismatch!\n");
        return 1;
    }
    for (uint64_t off = 0; off < common; ) {
        int ra = side_at(&ta, off, common), rb = side_at(&tb, off, common);
        if (ra || rb)
            return img_fail(m, "Sector allocation test failed for %s", ra ? "first image" : "second image"), 3;
        uint64_t n = MIN(ta.end, tb.end) - off;
        if (strict && ta.st.allocated != tb.st.allocated && ta.st.data != tb.st.data) {
            if (!m->quiet)
                printf("Strict mode: Offset %" PRIu64 " block status mismatch!\n", off);
            return 1;
        }
        if (!(ta.st.zero && tb.st.zero)) {
            n = MIN(n, CMP_CHUNK);
            ra = block_pread(a, off, x, n);
            rb = block_pread(b, off, y, n);
            if (ra || rb)
                return img_fail(m, "Error while reading offset %" PRIu64 " of %s: %s", off,
                                block_node_filename(ra ? a : b), g_strerror(-(ra ? ra : rb))), 4;
            if (memcmp(x, y, n)) {
                if (!m->quiet)
                    printf("Content mismatch at offset %" PRIu64 "!\n", off + first_difference(x, y, n));
                return 1;
            }
        }
        off += n;
        img_progress(m, off, common);
    }
    if (sa != sb) {
        if (!m->quiet)
            printf("Warning: Image size mismatch!\n");
        int ret = compare_tail_zero(m, sa > sb ? a : b, common, x);
        if (ret)
            return ret;
    }
    if (!m->quiet)
        printf("Images are identical.\n");
    return 0;
}

int img_compare(Img *m, int argc, char **argv)
{
    const char *f1 = NULL, *f2 = NULL, *cache = NULL;
    bool strict = false;
    int code;

    const ImgOpt table[] = {
        { 'f', IMG_TEXT, &f1 }, { 'F', IMG_TEXT, &f2 }, { 'T', IMG_TEXT, &cache }, { 'p', IMG_FLAG, &m->progress },
        { 's', IMG_FLAG, &strict },
    };

    code = img_options(m, argc, argv, table, ARRAY_LEN(table));
    if (code >= 0)
        return code;
    if (optind != argc - 2)
        return img_fail(m, "Expecting two image file names"), img_bad_usage(m);
    BlockNode *a = img_open(m, argv[optind], f1, cache, 0), *b = a ? img_open(m, argv[optind + 1], f2, cache, 0) : NULL;
    code = b ? compare_nodes(m, a, b, strict) : 2;
    if (b)
        img_progress_end(m);
    block_node_unref(a);
    block_node_unref(b);
    return code;
}
