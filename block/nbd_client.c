/*
 * nbd_client: a disk served over a Unix or TCP socket (nbd://, nbd+unix://, nbd:host:port).
 *
 * Many requests share one connection. A thread that waits for its answer reads answers for all, into the
 * buffers of whoever they belong to, until its own is complete; then another waiter takes over the reading.
 * A broken connection fails all requests, now and later.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "block/nbd_int.h"

enum { MAX_IN_FLIGHT = 64, MAX_CHUNKS = 1 << 20, HANDSHAKE_SECONDS = 30 };

/* One request under way, on the stack of its thread. */
typedef struct Want {
    uint64_t off, handle;
    uint32_t len;
    BlockVec v;
    bool read, status, done;
    uint32_t st_len, st_flags, chunks, got;     /* got: bytes of a read that came */
    int error;                  /* the server's answer; the connection is fine */
} Want;

typedef struct Nbd {
    int fd;
    uint16_t flags;
    bool structured, alloc_ctx;
    GMutex send;                /* one request after the other */
    GMutex lock;                /* guards what follows */
    GCond cond;
    bool broken, reading;
    uint64_t next_handle;
    Want *slots[MAX_IN_FLIGHT];
    unsigned used;
} Nbd;

#define BAD(...) return err_set(err, __VA_ARGS__)

/* ---- addresses ---- */
typedef struct Where { char *path, *host, *port, *export; } Where;

static void where_clear(Where *w)
{
    g_free(w->path);
    g_free(w->host);
    g_free(w->port);
    g_free(w->export);
}

static bool parse_uri(Where *w, const char *uri, GError **err)
{
    g_autoptr(GUri) u = g_uri_parse(uri, G_URI_FLAGS_NON_DNS | G_URI_FLAGS_PARSE_RELAXED, err);

    if (!u)
        return false;
    const char *p = g_uri_get_path(u);
    g_free(w->export);
    w->export = g_strdup(*p == '/' ? p + 1 : p);
    if (g_str_equal(g_uri_get_scheme(u), "nbd+unix")) {
        const char *q = g_uri_get_query(u);
        if (!q || !g_str_has_prefix(q, "socket="))
            BAD("'%s': an nbd+unix address needs ?socket=PATH", uri);
        w->path = g_strdup(q + 7);
    } else {
        w->host = g_strdup(g_uri_get_host(u));
        w->port = g_strdup_printf("%d", g_uri_get_port(u) > 0 ? g_uri_get_port(u) : 10809);
    }
    return true;
}

/* "nbd:unix:PATH[:exportname=N]" and "nbd:HOST:PORT[:exportname=N]". */
static bool parse_old(Where *w, const char *name, GError **err)
{
    g_autofree char *t = g_strdup(name + 4);
    char *ex = strstr(t, ":exportname=");

    if (ex) {
        *ex = 0;
        w->export = g_strdup(ex + 12);
    }
    if (g_str_has_prefix(t, "unix:")) {
        w->path = g_strdup(t + 5);
        return true;
    }
    char *colon = strrchr(t, ':');
    if (!colon)
        BAD("'%s': expected nbd:HOST:PORT or nbd:unix:PATH", name);
    *colon = 0;
    w->host = g_strdup(t);
    w->port = g_strdup(colon + 1);
    return true;
}

static bool take_where(BlockNode *n, Where *w, GHashTable *o, GError **err)
{
    g_autofree char *type = NULL;

    if (g_str_has_prefix(n->filename, "nbd://") || g_str_has_prefix(n->filename, "nbd+unix://")) {
        if (!parse_uri(w, n->filename, err))
            return false;
    } else if (g_str_has_prefix(n->filename, "nbd:") && !parse_old(w, n->filename, err)) {
        return false;
    }
    block_opts_take(o, "server.type", &type);
    if (!block_opts_take(o, "path", &w->path))
        block_opts_take(o, "server.path", &w->path);
    if (!block_opts_take(o, "host", &w->host))
        block_opts_take(o, "server.host", &w->host);
    if (!block_opts_take(o, "port", &w->port))
        block_opts_take(o, "server.port", &w->port);
    block_opts_take(o, "export", &w->export);
    if (!w->path && !w->host)
        BAD("NBD server address missing");
    return true;
}

int nbd_dial(const char *path, const char *host, const char *port, GError **err)
{
    int fd = -1;

    port = port ? port : "10809";
    if (path) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof a.sun_path) {
            err_set(err, "socket path '%s' is too long", path);
            return -1;
        }
        strcpy(a.sun_path, path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
            err_set_errno(err, errno, "Failed to connect to '%s'", path);
            if (fd >= 0)
                close(fd);
            return -1;
        }
        return fd;
    }
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL;
    int e = getaddrinfo(host, port, &hints, &list);
    if (e) {
        err_set(err, "address resolution failed for %s:%s: %s", host, port, gai_strerror(e));
        return -1;
    }
    e = ENOENT;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            e = errno;
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0)
        err_set_errno(err, e, "Failed to connect to '%s:%s'", host, port);
    else
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int) { 1 }, sizeof(int));
    return fd;
}

/* ---- handshake ---- */
int nbd_send_opt(int fd, uint32_t opt, const void *data, uint32_t len)
{
    uint8_t h[16];
    int ret;

    st64_be(h, NBD_OPTS_MAGIC);
    st32_be(h + 8, opt);
    st32_be(h + 12, len);
    ret = nbd_write(fd, h, 16, len != 0);
    return ret || !len ? ret : nbd_write(fd, data, len, false);
}

int nbd_get_reply(int fd, uint32_t *type, uint8_t **data, uint32_t *len)
{
    uint8_t h[20];
    int ret = nbd_read(fd, h, 20, NULL);

    if (ret)
        return ret;
    *type = ld32_be(h + 12);
    *len = ld32_be(h + 16);
    if (ld64_be(h) != NBD_REP_MAGIC || *len > NBD_MAX_OPT)
        return -EPROTO;
    *data = g_malloc0(*len + 1);
    ret = nbd_read(fd, *data, *len, NULL);
    if (ret)
        g_clear_pointer(data, g_free);
    return ret;
}

/* Asks for base:allocation; failure to get it is no error. */
static int ask_context(Nbd *s, const char *export)
{
    static const char ctx[] = "base:allocation";
    uint32_t n = strlen(export), type, len;
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint8_t w[4];
    int ret;

    st32_be(w, n);
    g_byte_array_append(a, w, 4);
    g_byte_array_append(a, (const uint8_t *)export, n);
    st32_be(w, 1);
    g_byte_array_append(a, w, 4);
    st32_be(w, sizeof ctx - 1);
    g_byte_array_append(a, w, 4);
    g_byte_array_append(a, (const uint8_t *)ctx, sizeof ctx - 1);
    ret = nbd_send_opt(s->fd, OPT_SET_META, a->data, a->len);
    for (int budget = 1000; !ret; budget--) {
        g_autofree uint8_t *d = NULL;
        ret = budget ? nbd_get_reply(s->fd, &type, &d, &len) : -EPROTO;
        if (ret || type == REP_ACK || (type & 0x80000000u))
            break;
        if (type == REP_META && len >= 4 && ld32_be(d) == 0)
            s->alloc_ctx = true;
    }
    return ret;
}

static bool go(BlockNode *n, Nbd *s, const char *export, GError **err)
{
    uint32_t nl = strlen(export), type, len;
    g_autofree uint8_t *req = g_malloc0(nl + 6);
    bool known = false;
    int ret;

    st32_be(req, nl);
    memcpy(req + 4, export, nl);
    ret = nbd_send_opt(s->fd, OPT_GO, req, nl + 6);
    for (int budget = 1000; !ret; budget--) {
        g_autofree uint8_t *d = NULL;
        ret = budget ? nbd_get_reply(s->fd, &type, &d, &len) : -EPROTO;
        if (ret)
            break;
        if (type == REP_ACK)
            return known || err_set(err, "the NBD server did not tell the size of export '%s'", export);
        if (type & 0x80000000u)
            BAD("Requested export not available: '%s'%s%.*s", export, len ? ": " : "", (int)MIN(len, 200), d);
        if (type == REP_INFO && len >= 12 && ld16_be(d) == 0) {
            n->size = ld64_be(d + 2);
            s->flags = ld16_be(d + 10);
            known = n->size <= INT64_MAX;
        }
    }
    return err_set_errno(err, -ret, "NBD handshake");
}

int nbd_greet(int fd)
{
    uint8_t h[18];
    int ret = nbd_read(fd, h, 18, NULL);

    if (ret)
        return ret;
    if (ld64_be(h) != NBD_MAGIC || ld64_be(h + 8) != NBD_OPTS_MAGIC || !(ld16_be(h + 16) & NBD_FIXED))
        return -EPROTO;
    st32_be(h, NBD_FIXED | (ld16_be(h + 16) & NBD_NO_ZEROES));
    return nbd_write(fd, h, 4, false);
}

static bool shake(BlockNode *n, Nbd *s, const char *export, GError **err)
{
    uint32_t type, len;
    int ret = nbd_greet(s->fd);

    if (ret == -EPROTO)
        BAD("the server does not speak the fixed newstyle NBD protocol");
    ret = ret ? ret : nbd_send_opt(s->fd, OPT_STRUCTURED, NULL, 0);
    if (!ret) {
        g_autofree uint8_t *d = NULL;
        ret = nbd_get_reply(s->fd, &type, &d, &len);
        s->structured = !ret && type == REP_ACK;
    }
    if (!ret && s->structured)
        ret = ask_context(s, export);
    return ret ? err_set_errno(err, -ret, "NBD handshake") : go(n, s, export, err);
}

void nbd_set_timeout(int fd, int seconds)
{
    struct timeval t = { .tv_sec = seconds };

    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    }
}

static bool nbd_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Nbd *s = g_new0(Nbd, 1);
    Where w = { 0 };
    bool ok = take_where(n, &w, opts, err);

    s->fd = ok ? nbd_dial(w.path, w.host, w.port, err) : -1;
    nbd_set_timeout(s->fd, HANDSHAKE_SECONDS);
    ok = s->fd >= 0 && shake(n, s, w.export ? w.export : "", err);
    if (ok && (flags & BLOCK_RDWR) && (s->flags & TF_READ_ONLY) && !(flags & BLOCK_AUTO_RDONLY))
        ok = err_set(err, "request on denied: the NBD export is read-only");
    where_clear(&w);
    if (!ok) {
        if (s->fd >= 0)
            close(s->fd);
        g_free(s);
        return false;
    }
    nbd_set_timeout(s->fd, 0);
    n->read_only = !(flags & BLOCK_RDWR) || (s->flags & TF_READ_ONLY);
    g_mutex_init(&s->send);
    g_mutex_init(&s->lock);
    g_cond_init(&s->cond);
    n->priv = s;
    return true;
}

/* ---- requests ---- */
static int send_request(Nbd *s, uint16_t type, uint16_t flags, uint64_t off, uint32_t len, uint64_t handle, const BlockVec *data)
{
    uint8_t r[28];
    struct iovec io[16];
    int ret;

    st32_be(r, NBD_REQUEST_MAGIC);
    st16_be(r + 4, flags);
    st16_be(r + 6, type);
    st64_be(r + 8, handle);
    st64_be(r + 16, off);
    st32_be(r + 24, len);
    g_mutex_lock(&s->send);
    ret = nbd_write(s->fd, r, 28, data != NULL);
    for (uint32_t done = 0; data && !ret && done < len; ) {
        size_t covered;
        int k = vec_slice(vec_adv(*data, done), len - done, io, ARRAY_LEN(io), &covered);
        for (int i = 0; i < k && !ret; i++)
            ret = nbd_write(s->fd, io[i].iov_base, io[i].iov_len, done + covered < len || i + 1 < k);
        done += covered;
    }
    g_mutex_unlock(&s->send);
    return ret;
}

/* Reads data straight from the socket into the vector. */
static int into_vec(Nbd *s, BlockVec v, uint32_t len)
{
    int ret = 0;

    for (int i = 0; i < v.niov && len && !ret; i++) {
        if (v.skip >= v.iov[i].iov_len) {
            v.skip -= v.iov[i].iov_len;
            continue;
        }
        size_t n = MIN(v.iov[i].iov_len - v.skip, len);
        ret = nbd_read(s->fd, (char *)v.iov[i].iov_base + v.skip, n, NULL);
        len -= n;
        v.skip = 0;
    }
    return ret;
}

static int get_chunk(Nbd *s, Want *w, uint16_t type, uint32_t len)
{
    uint8_t h[16];
    uint64_t off;
    int ret;

    if (type == CH_NONE)
        return len ? -EPROTO : 0;
    if (type == CH_DATA && w->read && len >= 8) {
        ret = nbd_read(s->fd, h, 8, NULL);
        off = ld64_be(h);
        if (ret || off < w->off || !range_ok(off - w->off, len - 8, w->len))
            return ret ? ret : -EPROTO;
        w->got += len - 8;
        return into_vec(s, vec_adv(w->v, off - w->off), len - 8);
    }
    if (type == CH_HOLE && w->read && len == 12) {
        ret = nbd_read(s->fd, h, 12, NULL);
        off = ld64_be(h);
        if (ret || off < w->off || !range_ok(off - w->off, ld32_be(h + 8), w->len))
            return ret ? ret : -EPROTO;
        w->got += ld32_be(h + 8);
        vec_zero(vec_adv(w->v, off - w->off), ld32_be(h + 8));
        return 0;
    }
    if (len > NBD_MAX_OPT)
        return -EPROTO;
    g_autofree uint8_t *d = g_malloc0(len + 16);
    ret = nbd_read(s->fd, d, len, NULL);
    if (ret)
        return ret;
    if (type == CH_STATUS && w->status && len >= 12) {
        w->st_len = ld32_be(d + 4);
        w->st_flags = ld32_be(d + 8);
    } else if (type & 0x8000) {
        w->error = len >= 4 ? nbd_errno_in(ld32_be(d)) : -EIO;
        w->error = w->error ? w->error : -EIO;
    } else {
        return -EPROTO;
    }
    return 0;
}

static Want *find_want(Nbd *s, uint64_t handle)
{
    Want *w;

    g_mutex_lock(&s->lock);
    w = s->slots[handle % MAX_IN_FLIGHT];
    g_mutex_unlock(&s->lock);
    return w && w->handle == handle && !w->done ? w : NULL;
}

/* Only the thread that set `reading` comes here: one answer, or one chunk of one. Negative: the connection is broken. */
static int receive(Nbd *s, Want **finished)
{
    uint8_t h[20];
    int ret = nbd_read(s->fd, h, 16, NULL);
    Want *w = ret ? NULL : find_want(s, ld64_be(h + 8));

    *finished = NULL;
    if (!w)
        return ret ? ret : -EPROTO;
    if (ld32_be(h) == NBD_SIMPLE_MAGIC) {
        w->error = nbd_errno_in(ld32_be(h + 4));
        if (!w->error && w->read && (ret = into_vec(s, w->v, w->len)))
            return ret;
        *finished = w;
        return 0;
    }
    ret = nbd_read(s->fd, h + 16, 4, NULL);
    if (ret || ld32_be(h) != NBD_CHUNK_MAGIC || !s->structured || ++w->chunks > MAX_CHUNKS)
        return ret ? ret : -EPROTO;
    ret = get_chunk(s, w, ld16_be(h + 6), ld32_be(h + 16));
    if (ret || !(ld16_be(h + 4) & CH_DONE))
        return ret;
    if (w->read && !w->error && w->got != w->len)
        return -EPROTO;                 /* bytes that never came must not look like data */
    *finished = w;
    return 0;
}

static void break_down(Nbd *s)
{
    s->broken = true;
    shutdown(s->fd, SHUT_RDWR);         /* whoever reads or sends comes back */
    g_cond_broadcast(&s->cond);
}

/* Lock held. Returns when w is answered, or nothing will ever come and nobody writes into its buffers. */
static void await(Nbd *s, Want *w)
{
    while (!w->done && !(s->broken && !s->reading)) {
        Want *finished;
        int ret;
        if (s->reading) {
            g_cond_wait(&s->cond, &s->lock);
            continue;
        }
        s->reading = true;
        g_mutex_unlock(&s->lock);
        ret = receive(s, &finished);
        g_mutex_lock(&s->lock);
        s->reading = false;
        if (ret)
            break_down(s);
        else if (finished)
            finished->done = true;
        if (finished && finished != w)
            g_cond_broadcast(&s->cond);
    }
    if (!s->reading)
        g_cond_broadcast(&s->cond);     /* somebody else reads from here on */
}

static int transact(BlockNode *n, uint16_t type, uint16_t flags, uint64_t off, uint32_t len, const BlockVec *data, Want *w)
{
    Nbd *s = n->priv;
    int ret;

    g_mutex_lock(&s->lock);
    while (s->used == MAX_IN_FLIGHT && !s->broken)
        g_cond_wait(&s->cond, &s->lock);
    if (s->broken) {
        g_mutex_unlock(&s->lock);
        return -EIO;
    }
    do {
        w->handle = ++s->next_handle;
    } while (s->slots[w->handle % MAX_IN_FLIGHT]);
    s->slots[w->handle % MAX_IN_FLIGHT] = w;
    s->used++;
    g_mutex_unlock(&s->lock);
    ret = send_request(s, type, flags, off, len, w->handle, data);
    g_mutex_lock(&s->lock);
    if (ret)
        break_down(s);
    await(s, w);
    s->slots[w->handle % MAX_IN_FLIGHT] = NULL;
    if (s->used-- == MAX_IN_FLIGHT)
        g_cond_broadcast(&s->cond);
    ret = w->done ? w->error : -EIO;
    g_mutex_unlock(&s->lock);
    return ret;
}

enum { PIECE = 4 << 20 };

static int nbd_read_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    uint64_t have = off < n->size ? MIN(bytes, n->size - off) : 0;

    vec_zero(vec_adv(v, have), bytes - have);
    while (have) {
        Want w = { .off = off, .len = MIN(have, PIECE), .v = v, .read = true };
        int ret = transact(n, CMD_READ, 0, off, w.len, NULL, &w);
        if (ret)
            return ret;
        off += w.len;
        have -= w.len;
        v = vec_adv(v, w.len);
    }
    return 0;
}

static int nbd_write_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    if (!range_ok(off, bytes, n->size))
        return -ENOSPC;
    while (bytes) {
        Want w = { .off = off, .len = MIN(bytes, PIECE) };
        int ret = transact(n, CMD_WRITE, 0, off, w.len, &v, &w);
        if (ret)
            return ret;
        off += w.len;
        bytes -= w.len;
        v = vec_adv(v, w.len);
    }
    return 0;
}

static int each_piece(BlockNode *n, uint16_t cmd, uint16_t flags, uint64_t off, uint64_t bytes)
{
    int ret = range_ok(off, bytes, n->size) ? 0 : -ENOSPC;

    while (bytes && !ret) {
        Want w = { .off = off, .len = MIN(bytes, GiB) };
        ret = transact(n, cmd, flags, off, w.len, NULL, &w);
        off += w.len;
        bytes -= w.len;
    }
    return ret;
}

static int nbd_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    Nbd *s = n->priv;

    return s->flags & TF_ZEROES ? each_piece(n, CMD_ZEROES, flags & BLOCK_MAY_UNMAP ? 0 : CF_NO_HOLE, off, bytes) : -ENOTSUP;
}

static int nbd_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    return ((Nbd *)n->priv)->flags & TF_TRIM ? each_piece(n, CMD_TRIM, 0, off, bytes) : -ENOTSUP;
}

static int nbd_flush(BlockNode *n)
{
    Want w = { 0 };

    if ((n->flags & BLOCK_NO_FLUSH) || !(((Nbd *)n->priv)->flags & TF_FLUSH))
        return 0;
    return transact(n, CMD_FLUSH, 0, 0, 0, NULL, &w);
}

static int nbd_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    Nbd *s = n->priv;
    Want w = { .off = off, .len = MIN(bytes, GiB), .status = true };
    int ret;

    *st = (BlockStatus) { .bytes = bytes, .data = true, .allocated = true, .offset_valid = true, .offset = off, .file = n };
    if (!s->alloc_ctx)
        return 0;
    ret = transact(n, CMD_STATUS, CF_REQ_ONE, off, w.len, NULL, &w);
    if (ret || !w.st_len)
        return ret;
    st->bytes = MIN(w.st_len, w.len);
    st->data = !(w.st_flags & ST_HOLE);
    st->zero = w.st_flags & ST_ZERO;
    return 0;
}

static int nbd_close(BlockNode *n)
{
    Nbd *s = n->priv;

    if (!s->broken)
        (void)!send_request(s, CMD_DISC, 0, 0, 0, ++s->next_handle, NULL);
    close(s->fd);
    g_mutex_clear(&s->send);
    g_mutex_clear(&s->lock);
    g_cond_clear(&s->cond);
    g_free(s);
    return 0;
}

static const char *const nbd_options[] = { "path", "host", "port", "export", "server.type", "server.path", "server.host",
                                           "server.port", NULL };

const BlockDriver block_drv_nbd = {
    .name = "nbd", .kind = DRV_PROTOCOL, .options = nbd_options, .open = nbd_open, .close = nbd_close,
    .read = nbd_read_vec, .write = nbd_write_vec, .write_zeroes = nbd_zeroes, .discard = nbd_discard, .flush = nbd_flush,
    .status = nbd_status,
};
