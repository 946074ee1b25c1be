/* img_int: what the verbs of the image tool share. */
#ifndef CLI_IMG_INT_H
#define CLI_IMG_INT_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "block/image.h"
#include "util/bytes.h"

typedef struct Img {
    const char *prog;           /* for messages */
    const char *verb;
    const char *usage;
    BlockGraph *g;
    bool quiet, json, image_opts, force_share, progress;
    bool bar;                   /* progress as a bar, not as text */
    int shown_permille;
} Img;

int img_create(Img *m, int argc, char **argv);
int img_convert(Img *m, int argc, char **argv);
int img_info(Img *m, int argc, char **argv);
int img_check(Img *m, int argc, char **argv);
int img_compare(Img *m, int argc, char **argv);
int img_map(Img *m, int argc, char **argv);
int img_measure(Img *m, int argc, char **argv);
int img_resize(Img *m, int argc, char **argv);
int img_snapshot(Img *m, int argc, char **argv);
int img_rebase(Img *m, int argc, char **argv);
int img_commit(Img *m, int argc, char **argv);
int img_amend(Img *m, int argc, char **argv);
int img_dd(Img *m, int argc, char **argv);
int img_bench(Img *m, int argc, char **argv);

enum {                          /* long options without a letter */
    OPT_OUTPUT = 256, OPT_IMAGE_OPTS, OPT_BACKING_CHAIN, OPT_OBJECT, OPT_SIZE, OPT_PREALLOC, OPT_SHRINK,
    OPT_START, OPT_MAX_LENGTH, OPT_TARGET_IS_ZERO, OPT_TARGET_IMAGE_OPTS, OPT_SALVAGE, OPT_BITMAPS, OPT_PROGRESS,
    OPT_HASH, OPT_PATTERN, OPT_FLUSH_INTERVAL, OPT_NO_DRAIN, OPT_FORCE, OPT_SKIP_BROKEN, OPT_POLICY,
};

/* One option of a verb: a letter or an OPT_ number, and where what it says goes. */
typedef struct ImgOpt {
    int c;
    enum { IMG_TEXT,            /* const char * */
           IMG_FLAG,            /* bool */
           IMG_SIZE,            /* uint64_t, with suffixes */
           IMG_CREATE,          /* ImgCreateOpts: -o */
           IMG_UNUSED,          /* taken with its argument, means nothing here */
    } kind;
    void *to;
} ImgOpt;
typedef struct ImgCreateOpts { GHashTable *opts; bool help, any; } ImgCreateOpts;
/*
 * Reads the options of a verb: those of table, and -h, -q, -U, --output, --image-opts, --object, --image-policy.
 * -1: go on, optind is the first operand; otherwise leave with this exit code, all is said.
 */
int img_options(Img *m, int argc, char **argv, const ImgOpt *table, unsigned count);

/* "prog: text" on stderr; returns 1. */
int img_fail(Img *m, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* As img_fail, frees err. */
int img_error(Img *m, GError *err);
int img_bad_usage(Img *m);
/* cache may be NULL. Prints the error and returns NULL. */
BlockNode *img_open(Img *m, const char *name, const char *fmt, const char *cache, unsigned flags);
int img_print_create_help(Img *m, const char *fmt);
/* A source that is a pipe ("-", a FIFO) or packed becomes a plain file near target; *staged NULL: it is plain. */
int img_stage_source(Img *m, const char *name, const char *target, char **staged);
void img_progress(Img *m, uint64_t done, uint64_t total);
void img_progress_end(Img *m);
char *img_human_size(uint64_t bytes);
void img_print_snapshots(GPtrArray *a);

#endif
