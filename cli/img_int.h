/* img_int: what the verbs of the image tool share. */
#ifndef CLI_IMG_INT_H
#define CLI_IMG_INT_H

#include <getopt.h>
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
#define IMG_LONG_COMMON                                                                 \
    { "help", no_argument, NULL, 'h' }, { "output", required_argument, NULL, OPT_OUTPUT }, \
    { "image-opts", no_argument, NULL, OPT_IMAGE_OPTS }, { "force-share", no_argument, NULL, 'U' }, \
    { "object", required_argument, NULL, OPT_OBJECT }, { "image-policy", required_argument, NULL, OPT_POLICY }, { "quiet", no_argument, NULL, 'q' }

/* "prog: text" on stderr; returns 1. */
int img_fail(Img *m, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* As img_fail, frees err. */
int img_error(Img *m, GError *err);
/* Handles -h, -q, -U, --output, --image-opts, --object; false: not one of them. *code >= 0: leave with it. */
bool img_common_opt(Img *m, int c, int *code);
int img_bad_usage(Img *m);
/* cache may be NULL. Prints the error and returns NULL. */
BlockNode *img_open(Img *m, const char *name, const char *fmt, const char *cache, unsigned flags);
/* Adds "k=v,k=v" of a -o option to opts; "help" is left to the caller. */
bool img_add_opts(Img *m, GHashTable *opts, const char *text);
bool img_wants_help(const char *text);
int img_print_create_help(Img *m, const char *fmt);
/* A source that is a pipe ("-", a FIFO) or packed becomes a plain file near target; *staged NULL: it is plain. */
int img_stage_source(Img *m, const char *name, const char *target, char **staged);
void img_progress(Img *m, uint64_t done, uint64_t total);
void img_progress_end(Img *m);
char *img_human_size(uint64_t bytes);
void img_print_snapshots(GPtrArray *a);

#endif
