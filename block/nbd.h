/*
 * nbd: serving a node to NBD clients (protocol: NBD project, doc/proto.md).
 */
#ifndef BLOCK_NBD_H
#define BLOCK_NBD_H

#include <stdio.h>
#include "block/image.h"

typedef struct NbdExport {
    BlockNode *node;
    const char *name;           /* clients ask for it; "" is the default export */
    const char *description;    /* may be NULL */
    bool read_only;
    bool single;                /* one client at a time: several connections are not offered */
} NbdExport;

/*
 * Serves one client on fd until it leaves; blocks; closes nothing. Many threads may serve one
 * export. False and err when the client broke the protocol (a client that just left is fine).
 * *used (may be NULL): the client got as far as requests.
 */
bool nbd_serve(const NbdExport *e, int fd, bool *used, GError **err);

/* Prints what a server offers to out; it is at the Unix socket path, else at host and port. */
bool nbd_list(const char *path, const char *host, const char *port, FILE *out, GError **err);

#endif
