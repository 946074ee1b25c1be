/*
 * nbd: serving a node to NBD clients (protocol: NBD project, doc/proto.md).
 */
#ifndef BLOCK_NBD_H
#define BLOCK_NBD_H

#include "block/image.h"

typedef struct NbdExport {
    BlockNode *node;
    const char *name;           /* clients ask for it; "" is the default export */
    const char *description;    /* may be NULL */
    bool read_only;
} NbdExport;

/*
 * Serves one client on fd until it leaves; blocks; closes nothing. Many threads may serve one
 * export. False and err when the client broke the protocol (a client that just left is fine).
 */
bool nbd_serve(const NbdExport *e, int fd, GError **err);

#endif
