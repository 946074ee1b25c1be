/* file_int: what the file driver keeps, shared with the asynchronous engines. */
#ifndef BLOCK_FILE_INT_H
#define BLOCK_FILE_INT_H

#include "block/block_int.h"

typedef enum { FILE_AIO_THREADS, FILE_AIO_NATIVE, FILE_AIO_URING } FileAio;

typedef struct FileNode {
    int fd;
    bool regular;               /* else a block device */
    bool no_lock;
    FileAio aio;
    unsigned held;              /* permissions locked: used | unshared << 8 */
    gint flush_failed;          /* set once, for good */
    GRWLock direct;             /* unaligned O_DIRECT writes exclude the others */
} FileNode;

int block_file_fd(BlockNode *n);    /* -1 when n is no file */

#endif
