/* nbd_int: numbers of the NBD protocol and whole reads and writes of a socket. */
#ifndef BLOCK_NBD_INT_H
#define BLOCK_NBD_INT_H

#include "block/block_int.h"

#define NBD_MAGIC 0x4e42444d41474943ULL         /* "NBDMAGIC" */
#define NBD_OPTS_MAGIC 0x49484156454f5054ULL    /* "IHAVEOPT" */
#define NBD_REP_MAGIC 0x0003e889045565a9ULL
#define NBD_REQUEST_MAGIC 0x25609513u
#define NBD_SIMPLE_MAGIC 0x67446698u
#define NBD_CHUNK_MAGIC 0x668e33efu
#define NBD_ERR(n) (0x80000000u + (n))
enum { NBD_FIXED = 1, NBD_NO_ZEROES = 2 };
enum { OPT_EXPORT_NAME = 1, OPT_ABORT = 2, OPT_LIST = 3, OPT_INFO = 6, OPT_GO = 7, OPT_STRUCTURED = 8,
       OPT_LIST_META = 9, OPT_SET_META = 10 };
enum { REP_ACK = 1, REP_SERVER = 2, REP_INFO = 3, REP_META = 4, REP_UNSUP = 1, REP_INVALID = 3, REP_UNKNOWN = 6 };
enum { TF_HAS_FLAGS = 1, TF_READ_ONLY = 2, TF_FLUSH = 4, TF_FUA = 8, TF_ROTATIONAL = 0x10, TF_TRIM = 0x20,
       TF_ZEROES = 0x40, TF_DF = 0x80, TF_MULTI = 0x100, TF_RESIZE = 0x200, TF_CACHE = 0x400, TF_FAST_ZERO = 0x800 };
enum { CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_ZEROES, CMD_STATUS };
enum { CF_FUA = 1, CF_NO_HOLE = 2, CF_DF = 4, CF_REQ_ONE = 8 };
enum { CH_DONE = 1, CH_NONE = 0, CH_DATA = 1, CH_HOLE = 2, CH_STATUS = 5, CH_ERROR = 0x8001, CH_ERROR_OFFSET = 0x8002 };
enum { ST_HOLE = 1, ST_ZERO = 2 };
enum { NBD_MAX_LEN = 32 << 20, NBD_MAX_OPT = 64 << 10, NBD_MAX_NAME = 4096 };

/* 0, or -errno; -EPIPE when the other side closed in the middle. *eof (may be NULL): closed before the first byte. */
int nbd_read(int fd, void *buf, size_t len, bool *eof);
int nbd_write(int fd, const void *buf, size_t len, bool more);
int nbd_errno_in(uint32_t e);       /* protocol number to -errno */
uint32_t nbd_errno_out(int ret);    /* -errno to protocol number */

/* ---- client side ---- */
/* A connected socket, or -1: to the Unix socket path, else to host and port (NULL: the usual one). */
int nbd_dial(const char *path, const char *host, const char *port, GError **err);
void nbd_set_timeout(int fd, int seconds);      /* 0: none; fd < 0: nothing */
int nbd_send_opt(int fd, uint32_t opt, const void *data, uint32_t len);
/* One option reply; *data has a zero byte after its len bytes, the caller frees it. */
int nbd_get_reply(int fd, uint32_t *type, uint8_t **data, uint32_t *len);
/* Reads the greeting and answers it; 0 or -errno, -EPROTO when it is none of the fixed newstyle. */
int nbd_greet(int fd);

#endif
