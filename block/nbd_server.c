/*
 * nbd_server: answers one NBD client: fixed newstyle handshake, structured replies, base:allocation.
 *
 * The client is hostile: lengths are capped before anything is allocated, ranges are checked, requests under
 * way are bounded in number and bytes, and a broken request ends the connection. The thread that reads requests
 * runs a lone one itself; while more are waiting in the socket, workers of this connection do.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "block/nbd.h"
#include "block/nbd_int.h"

int nbd_read(int fd, void *buf, size_t len, bool *eof)
{
    size_t done = 0;

    if (eof)
        *eof = false;
    while (done < len) {
        ssize_t r = recv(fd, (char *)buf + done, len - done, 0);
        if (r < 0 && errno == ENOTSOCK)
            r = read(fd, (char *)buf + done, len - done);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            if (eof && r == 0 && done == 0)
                *eof = true;
            return r < 0 ? -errno : -EPIPE;
        }
        done += r;
    }
    return 0;
}

int nbd_write(int fd, const void *buf, size_t len, bool more)
{
    while (len) {
        ssize_t r = send(fd, buf, len, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0)
            return r < 0 ? -errno : -EPIPE;
        buf = (const char *)buf + r;
        len -= r;
    }
    return 0;
}

static const struct { uint32_t wire; int host; } errors[] = {
    { 1, EPERM }, { 5, EIO }, { 12, ENOMEM }, { 22, EINVAL }, { 28, ENOSPC }, { 75, EOVERFLOW }, { 95, ENOTSUP },
    { 108, ESHUTDOWN },
};

int nbd_errno_in(uint32_t e)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].wire == e)
            return -errors[i].host;
    return e ? -EINVAL : 0;
}

uint32_t nbd_errno_out(int ret)
{
    for (size_t i = 0; i < ARRAY_LEN(errors); i++)
        if (errors[i].host == -ret)
            return errors[i].wire;
    return ret == -EROFS ? 1 : ret == -EDQUOT ? 28 : ret ? 5 : 0;
}

enum { MAX_IN_FLIGHT = 32, MAX_BYTES = 64 << 20, HANDSHAKE_SECONDS = 10 };

typedef struct Client {
    const NbdExport *e;
    int fd;
    bool structured, alloc_ctx, no_zeroes;
    BlockPool *pool;            /* made by the first request that finds another one behind it */
    GMutex send;                /* one reply, or chunk of one, after the other */
    GMutex lock;                /* guards what follows */
    GCond cond;
    unsigned in_flight;
    size_t bytes;               /* of their buffers */
    int error;                  /* a reply could not be sent */
} Client;

typedef struct Request {
    Client *c;
    uint16_t flags, type;
    uint32_t len;
    uint64_t handle, off;
    uint8_t *buf;               /* len bytes for reads and writes */
} Request;

static uint16_t export_flags(const NbdExport *e)
{
    return TF_HAS_FLAGS | TF_FLUSH | TF_FUA | TF_DF | TF_CACHE | (e->single ? 0 : TF_MULTI) |
           (e->read_only ? TF_READ_ONLY : TF_TRIM | TF_ZEROES);
}

/* ---- handshake ---- */
static int reply(Client *c, uint32_t opt, uint32_t type, const void *data, uint32_t len)
{
    uint8_t h[20];
    int ret;

    st64_be(h, NBD_REP_MAGIC);
    st32_be(h + 8, opt);
    st32_be(h + 12, type);
    st32_be(h + 16, len);
    ret = nbd_write(c->fd, h, 20, len != 0);
    return ret || !len ? ret : nbd_write(c->fd, data, len, false);
}

static bool name_matches(const NbdExport *e, const uint8_t *name, uint32_t len)
{
    return len == 0 ? true : strlen(e->name) == len && !memcmp(e->name, name, len);
}

static int send_list(Client *c, uint32_t opt)
{
    uint32_t len = strlen(c->e->name);
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint8_t l[4];

    st32_be(l, len);
    g_byte_array_append(a, l, 4);
    g_byte_array_append(a, (const uint8_t *)c->e->name, len);
    if (c->e->description)
        g_byte_array_append(a, (const uint8_t *)c->e->description, strlen(c->e->description));
    int ret = reply(c, opt, REP_SERVER, a->data, a->len);
    return ret ? ret : reply(c, opt, REP_ACK, NULL, 0);
}

/* OPT_GO and OPT_INFO. *go: transmission follows. */
static int send_info(Client *c, uint32_t opt, const uint8_t *d, uint32_t len, bool *go)
{
    uint8_t info[14];
    uint32_t nlen = len >= 6 ? ld32_be(d) : UINT32_MAX;
    int ret;

    if (nlen > len - 6)
        return reply(c, opt, NBD_ERR(REP_INVALID), NULL, 0);
    if (!name_matches(c->e, d + 4, nlen))
        return reply(c, opt, NBD_ERR(REP_UNKNOWN), NULL, 0);
    st16_be(info, 0);
    st64_be(info + 2, block_node_size(c->e->node));
    st16_be(info + 10, export_flags(c->e));
    ret = reply(c, opt, REP_INFO, info, 12);
    st16_be(info, 3);
    st32_be(info + 2, 1);
    st32_be(info + 6, 4096);
    st32_be(info + 10, NBD_MAX_LEN);
    ret = ret ? ret : reply(c, opt, REP_INFO, info, 14);
    ret = ret ? ret : reply(c, opt, REP_ACK, NULL, 0);
    *go = !ret && opt == OPT_GO;
    return ret;
}

static int meta_context(Client *c, uint32_t opt, const uint8_t *d, uint32_t len)
{
    static const char ctx[] = "base:allocation";
    uint32_t nlen = len >= 8 ? ld32_be(d) : UINT32_MAX, at, queries;
    uint8_t r[4 + sizeof ctx - 1] = { 0 };
    bool want = false;

    if (nlen > len - 8 || (opt == OPT_SET_META && !c->structured))
        return reply(c, opt, NBD_ERR(REP_INVALID), NULL, 0);
    if (!name_matches(c->e, d + 4, nlen))
        return reply(c, opt, NBD_ERR(REP_UNKNOWN), NULL, 0);
    queries = ld32_be(d + 4 + nlen);
    at = 8 + nlen;
    want = opt == OPT_LIST_META && queries == 0;
    for (; queries && at + 4 <= len; queries--) {
        uint32_t q = ld32_be(d + at);
        if (q > len - at - 4)
            return reply(c, opt, NBD_ERR(REP_INVALID), NULL, 0);
        want |= q == sizeof ctx - 1 && !memcmp(d + at + 4, ctx, q);
        want |= opt == OPT_LIST_META && q == 5 && !memcmp(d + at + 4, "base:", 5);
        at += 4 + q;
    }
    if (opt == OPT_SET_META)
        c->alloc_ctx = want;
    memcpy(r + 4, ctx, sizeof ctx - 1);
    int ret = want ? reply(c, opt, REP_META, r, sizeof r) : 0;
    return ret ? ret : reply(c, opt, REP_ACK, NULL, 0);
}

/* OPT_EXPORT_NAME has no error reply: a wrong name just ends the connection. */
static int old_go(Client *c, const uint8_t *d, uint32_t len, bool *go)
{
    uint8_t r[134] = { 0 };

    if (!name_matches(c->e, d, len))
        return -EINVAL;
    st64_be(r, block_node_size(c->e->node));
    st16_be(r + 8, export_flags(c->e));
    *go = true;
    return nbd_write(c->fd, r, c->no_zeroes ? 10 : sizeof r, false);
}

static int handshake(Client *c, bool *leave)
{
    uint8_t h[18], o[16];
    bool go = false;
    int ret;

    st64_be(h, NBD_MAGIC);
    st64_be(h + 8, NBD_OPTS_MAGIC);
    st16_be(h + 16, NBD_FIXED | NBD_NO_ZEROES);
    ret = nbd_write(c->fd, h, 18, false);
    ret = ret ? ret : nbd_read(c->fd, o, 4, leave);
    if (ret)
        return ret;
    c->no_zeroes = ld32_be(o) & NBD_NO_ZEROES;
    for (int budget = 1000; !ret && !go; budget--) {
        uint32_t opt, len;
        ret = budget ? nbd_read(c->fd, o, 16, leave) : -EPROTO;
        if (ret)
            break;
        opt = ld32_be(o + 8);
        len = ld32_be(o + 12);
        if (ld64_be(o) != NBD_OPTS_MAGIC || len > NBD_MAX_OPT)
            return -EPROTO;
        g_autofree uint8_t *d = g_malloc(len + 1);
        ret = nbd_read(c->fd, d, len, NULL);
        if (ret)
            break;
        switch (opt) {
        case OPT_EXPORT_NAME: ret = old_go(c, d, len, &go); break;
        case OPT_ABORT: reply(c, opt, REP_ACK, NULL, 0); *leave = true; return -EPIPE;
        case OPT_LIST: ret = send_list(c, opt); break;
        case OPT_INFO: case OPT_GO: ret = send_info(c, opt, d, len, &go); break;
        case OPT_STRUCTURED: c->structured = true; ret = reply(c, opt, REP_ACK, NULL, 0); break;
        case OPT_LIST_META: case OPT_SET_META: ret = meta_context(c, opt, d, len); break;
        default: ret = reply(c, opt, NBD_ERR(REP_UNSUP), NULL, 0);
        }
    }
    return ret;
}

/* ---- transmission ---- */
static int send_parts(Client *c, struct iovec *io, int n)
{
    struct msghdr m = { .msg_iov = io, .msg_iovlen = n };
    int ret = 0;

    g_mutex_lock(&c->send);
    while (!ret && m.msg_iovlen) {
        ssize_t r = sendmsg(c->fd, &m, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            ret = -errno;
        for (size_t done = MAX(r, 0); m.msg_iovlen && done >= m.msg_iov->iov_len; m.msg_iov++, m.msg_iovlen--) {
            done -= m.msg_iov->iov_len;
            r -= m.msg_iov->iov_len;
        }
        if (m.msg_iovlen && r > 0) {
            m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + r;
            m.msg_iov->iov_len -= r;
        }
    }
    g_mutex_unlock(&c->send);
    return ret;
}

static int simple(Client *c, uint64_t handle, int err, const void *data, uint32_t len)
{
    uint8_t h[16];
    struct iovec io[] = { { h, 16 }, { (void *)data, len } };

    st32_be(h, NBD_SIMPLE_MAGIC);
    st32_be(h + 4, nbd_errno_out(err));
    st64_be(h + 8, handle);
    return send_parts(c, io, len ? 2 : 1);
}

static int chunk(Client *c, uint64_t handle, uint16_t flags, uint16_t type, const void *head, uint32_t hlen,
                 const void *data, uint32_t len)
{
    uint8_t h[20];
    struct iovec io[] = { { h, 20 }, { (void *)head, hlen }, { (void *)data, len } };

    st32_be(h, NBD_CHUNK_MAGIC);
    st16_be(h + 4, flags);
    st16_be(h + 6, type);
    st64_be(h + 8, handle);
    st32_be(h + 16, hlen + len);
    return send_parts(c, io, len ? 3 : hlen ? 2 : 1);
}

static int answer(Client *c, uint64_t handle, int err)
{
    uint8_t e[6] = { 0 };

    if (!c->structured)
        return simple(c, handle, err, NULL, 0);
    if (!err)
        return chunk(c, handle, CH_DONE, CH_NONE, NULL, 0, NULL, 0);
    st32_be(e, nbd_errno_out(err));
    return chunk(c, handle, CH_DONE, CH_ERROR, e, 6, NULL, 0);
}

/* Holes travel as such unless the client wants one piece. */
static int do_read(Client *c, uint64_t handle, uint16_t flags, uint64_t off, uint32_t len, uint8_t *buf)
{
    uint8_t h[12];
    int ret;

    if (!c->structured || (flags & CF_DF) || !len) {
        ret = block_pread(c->e->node, off, buf, len);
        if (ret)
            return answer(c, handle, ret);
        st64_be(h, off);
        return c->structured ? chunk(c, handle, CH_DONE, CH_DATA, h, 8, buf, len) : simple(c, handle, 0, buf, len);
    }
    for (uint64_t o = off, end = off + len; o < end; ) {
        BlockStatus st;
        ret = block_status_above(c->e->node, NULL, o, end - o, &st, NULL);
        uint32_t n = ret ? end - o : MIN(st.bytes, end - o);
        st64_be(h, o);
        st32_be(h + 8, n);
        if (!ret && st.zero) {
            ret = chunk(c, handle, o + n == end ? CH_DONE : 0, CH_HOLE, h, 12, NULL, 0);
        } else {
            ret = block_pread(c->e->node, o, buf, n);
            if (ret)
                return answer(c, handle, ret);
            ret = chunk(c, handle, o + n == end ? CH_DONE : 0, CH_DATA, h, 8, buf, n);
        }
        if (ret)
            return ret;
        o += n;
    }
    return 0;
}

static int do_status(Client *c, uint64_t handle, uint16_t flags, uint64_t off, uint32_t len)
{
    g_autoptr(GByteArray) a = g_byte_array_new();
    uint8_t id[4] = { 0 }, e[8];

    if (!c->alloc_ctx || !len)
        return answer(c, handle, -EINVAL);
    for (uint64_t o = off, end = off + len; o < end && a->len < 8 * 1024; ) {
        BlockStatus st;
        int ret = block_status_above(c->e->node, NULL, o, end - o, &st, NULL);
        if (ret)
            return answer(c, handle, ret);
        uint32_t f = (st.data ? 0 : ST_HOLE) | (st.zero ? ST_ZERO : 0), n = MIN(st.bytes, end - o);
        if (a->len && ld32_be(a->data + a->len - 4) == f) {
            st32_be(a->data + a->len - 8, ld32_be(a->data + a->len - 8) + n);
        } else {
            st32_be(e, n);
            st32_be(e + 4, f);
            g_byte_array_append(a, e, 8);
        }
        o += n;
        if ((flags & CF_REQ_ONE) && a->len > 8) {
            g_byte_array_set_size(a, 8);
            break;
        }
    }
    return chunk(c, handle, CH_DONE, CH_STATUS, id, 4, a->data, a->len);
}

static int run_write(Client *c, uint16_t type, uint16_t flags, uint64_t off, uint32_t len, uint8_t *buf)
{
    BlockNode *n = c->e->node;
    unsigned f = flags & CF_FUA ? BLOCK_FUA : 0;

    if (type != CMD_FLUSH && c->e->read_only)
        return -EPERM;
    switch (type) {
    case CMD_WRITE: return block_pwrite_flags(n, off, buf, len, f);
    case CMD_ZEROES: return block_pwrite_zeroes(n, off, len, f | (flags & CF_NO_HOLE ? 0 : BLOCK_MAY_UNMAP));
    case CMD_TRIM: {
        int ret = block_pdiscard(n, off, len);
        return ret || !f ? ret : block_flush(n);
    }
    default: return block_flush(n);
    }
}

static int run_request(Request *r)
{
    Client *c = r->c;

    if (r->type > CMD_STATUS)
        return answer(c, r->handle, -EINVAL);
    if (r->type != CMD_FLUSH && !range_ok(r->off, r->len, block_node_size(c->e->node)))
        return answer(c, r->handle, r->type == CMD_WRITE || r->type == CMD_ZEROES ? -ENOSPC : -EINVAL);
    switch (r->type) {
    case CMD_READ: return do_read(c, r->handle, r->flags, r->off, r->len, r->buf);
    case CMD_STATUS: return do_status(c, r->handle, r->flags, r->off, r->len);
    case CMD_CACHE: return answer(c, r->handle, 0);
    default: return answer(c, r->handle, run_write(c, r->type, r->flags, r->off, r->len, r->buf));
    }
}

static size_t request_bytes(const Request *r) { return r->type == CMD_READ || r->type == CMD_WRITE ? r->len : 0; }

static void request_job(void *opaque)
{
    Request *r = opaque;
    Client *c = r->c;
    int ret = run_request(r);

    g_mutex_lock(&c->lock);
    c->in_flight--;
    c->bytes -= request_bytes(r);
    if (ret && !c->error) {
        c->error = ret;
        shutdown(c->fd, SHUT_RDWR);     /* wakes the thread that reads requests */
    }
    g_cond_broadcast(&c->cond);
    g_mutex_unlock(&c->lock);
    g_free(r->buf);
    g_free(r);
}

/* Waits until the request may start, and takes its buffer. */
static int admit(Client *c, Request *r)
{
    size_t bytes = request_bytes(r);
    int ret;

    g_mutex_lock(&c->lock);
    while (!c->error && c->in_flight && (c->in_flight >= MAX_IN_FLIGHT || c->bytes + bytes > MAX_BYTES))
        g_cond_wait(&c->cond, &c->lock);
    ret = c->error;
    c->in_flight++;
    c->bytes += bytes;
    g_mutex_unlock(&c->lock);
    r->buf = bytes ? g_try_malloc(bytes) : NULL;
    return ret ? ret : bytes && !r->buf ? -ENOMEM : 0;
}

static int serve_one(Client *c, bool *leave)
{
    uint8_t h[28] = { 0 };
    int ret = nbd_read(c->fd, h, 28, leave), waiting = 0;
    Request *r;

    if (ret)
        return ret;
    if (ld32_be(h) != NBD_REQUEST_MAGIC)
        return -EPROTO;
    r = g_new(Request, 1);
    *r = (Request) { c, ld16_be(h + 4), ld16_be(h + 6), ld32_be(h + 24), ld64_be(h + 8), ld64_be(h + 16), NULL };
    *leave = r->type == CMD_DISC;
    if (*leave || request_bytes(r) > NBD_MAX_LEN) {
        ret = *leave ? -EPIPE : -EPROTO;
        g_free(r);
        return ret;
    }
    ret = admit(c, r);
    if (!ret && r->type == CMD_WRITE)
        ret = nbd_read(c->fd, r->buf, r->len, NULL);
    if (ret) {
        r->type = CMD_CACHE;            /* nothing is run: only the books are kept */
        g_mutex_lock(&c->lock);
        c->error = ret;
        c->in_flight--;
        g_mutex_unlock(&c->lock);
        g_free(r->buf);
        g_free(r);
        return ret;
    }
    g_mutex_lock(&c->lock);
    bool alone = c->in_flight == 1;
    g_mutex_unlock(&c->lock);
    if (alone && (ioctl(c->fd, FIONREAD, &waiting) < 0 || waiting < 28)) {
        request_job(r);
    } else {
        if (!c->pool)
            c->pool = block_pool_new(MAX_IN_FLIGHT);
        block_pool_push(c->pool, request_job, r);
    }
    return 0;
}

static void set_timeout(int fd, int which, int seconds)
{
    struct timeval t = { .tv_sec = seconds };

    setsockopt(fd, SOL_SOCKET, which, &t, sizeof t);
}

bool nbd_serve(const NbdExport *e, int fd, bool *used, GError **err)
{
    Client c = { .e = e, .fd = fd };
    bool leave = false;
    int ret;

    g_mutex_init(&c.send);
    g_mutex_init(&c.lock);
    g_cond_init(&c.cond);
    set_timeout(fd, SO_RCVTIMEO, HANDSHAKE_SECONDS);
    set_timeout(fd, SO_SNDTIMEO, HANDSHAKE_SECONDS);
    ret = handshake(&c, &leave);
    set_timeout(fd, SO_RCVTIMEO, 0);
    set_timeout(fd, SO_SNDTIMEO, 0);
    if (used)
        *used = !ret;
    while (!ret)
        ret = serve_one(&c, &leave);
    if (leave)
        set_timeout(fd, SO_SNDTIMEO, HANDSHAKE_SECONDS);
    else
        shutdown(fd, SHUT_RDWR);        /* nobody waits for a client that does not read */
    block_pool_free(c.pool);            /* waits for what is under way */
    if (c.error && !leave)
        ret = c.error;
    g_mutex_clear(&c.send);
    g_mutex_clear(&c.lock);
    g_cond_clear(&c.cond);
    return leave || ret == -ECONNRESET || ret == -EPIPE ? true : err_set_errno(err, -ret, "NBD client");
}
