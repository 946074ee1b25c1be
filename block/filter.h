/*
 * filter: test filters below a format: a recorder of write order and an injector of faults.
 *
 * Options: file.driver=fault,file.file.filename=F and file.driver=record,... in the same way.
 */
#ifndef BLOCK_FILTER_H
#define BLOCK_FILTER_H

#include "block/image.h"

typedef enum { FILTER_WRITE, FILTER_FLUSH, FILTER_ZERO, FILTER_DISCARD, FILTER_TRUNCATE, FILTER_READ } FilterOp;

/* ---- fault: operation number `at` (1 is the next) of the kinds in `kinds` (bits) fails ---- */
typedef struct FaultPlan {
    unsigned kinds;             /* 1 << FILTER_x ... */
    uint64_t at;                /* 0: never */
    int errnum;                 /* positive errno */
    bool sticky;                /* all later ones fail, too */
    bool torn;                  /* the failing write leaves its first half on the disk */
    uint64_t budget;            /* writes beyond so many new bytes fail with ENOSPC; 0: no limit */
} FaultPlan;
/* n is the fault node (block_node_file(of the format)). Counts from zero again. */
void block_fault_set(BlockNode *n, const FaultPlan *plan);
uint64_t block_fault_count(BlockNode *n);   /* operations of the kinds seen since then */

/* ---- record: every change in order ---- */
typedef struct RecordEntry {
    FilterOp op;
    uint64_t off, bytes;
    uint8_t *data;              /* writes only */
} RecordEntry;
/* Borrowed array of RecordEntry *; do not use while requests run. */
GPtrArray *block_record_log(BlockNode *n);
/* Adds a mark of the caller's own (op FILTER_READ, off = value). */
void block_record_mark(BlockNode *n, uint64_t value);

#endif
