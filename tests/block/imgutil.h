/* imgutil: images in a scratch folder, and a model of what a guest wrote. */
#ifndef TESTS_BLOCK_IMGUTIL_H
#define TESTS_BLOCK_IMGUTIL_H

#include "block/filter.h"
#include "block/image.h"

typedef struct Scratch { char *dir; BlockGraph *g; } Scratch;
void scratch_init(Scratch *t);
void scratch_clear(Scratch *t);
char *scratch_path(Scratch *t, const char *name);

/* opts is "k=v,k=v" for block_create. Aborts the test on errors. */
char *image_make(Scratch *t, const char *name, const char *format, const char *opts);
/* spec is "driver=qcow2,..." with %s for the path. */
BlockNode *image_open(Scratch *t, const char *path, const char *spec, unsigned flags);
/* Corruptions and leaks; aborts when the check itself fails. */
void image_check(BlockNode *n, BlockCheck *res);
void image_expect_clean(Scratch *t, const char *path, const char *spec);

/* A deterministic random operation on n and on model (same size); returns the operation's ret. */
typedef struct Model { uint8_t *now; uint64_t size; GRand *rnd; bool discards; } Model;
void model_init(Model *m, uint64_t size, uint32_t seed);
void model_clear(Model *m);
int model_step(Model *m, BlockNode *n);
void model_expect_same(Model *m, BlockNode *n);

#endif
