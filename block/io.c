/*
 * io: checked blocking requests on nodes, and helpers on scatter lists.
 */
#include <errno.h>
#include "block/block_int.h"

/* ---- scatter lists ---- */
int vec_slice(BlockVec v, size_t bytes, struct iovec *out, int max, size_t *covered)
{
    size_t skip = v.skip, done = 0;
    int k = 0;

    for (int i = 0; i < v.niov && k < max && done < bytes; i++) {
        if (skip >= v.iov[i].iov_len) {
            skip -= v.iov[i].iov_len;
            continue;
        }
        size_t n = MIN(v.iov[i].iov_len - skip, bytes - done);
        out[k++] = (struct iovec) { (char *)v.iov[i].iov_base + skip, n };
        done += n;
        skip = 0;
    }
    *covered = done;
    return k;
}

#define EACH_PIECE(v, bytes, p, n, body) do {                                   \
        size_t skip_ = (v).skip, left_ = (bytes);                               \
        for (int i_ = 0; i_ < (v).niov && left_; i_++) {                        \
            size_t len_ = (v).iov[i_].iov_len;                                  \
            if (skip_ >= len_) { skip_ -= len_; continue; }                     \
            char *p = (char *)(v).iov[i_].iov_base + skip_;                     \
            size_t n = MIN(len_ - skip_, left_);                                \
            skip_ = 0; left_ -= n;                                              \
            body                                                                \
        } } while (0)

void vec_copy_out(BlockVec v, void *buf, size_t bytes)
{
    char *d = buf;
    EACH_PIECE(v, bytes, p, n, { memcpy(d, p, n); d += n; });
}

void vec_copy_in(BlockVec v, const void *buf, size_t bytes)
{
    const char *s = buf;
    EACH_PIECE(v, bytes, p, n, { memcpy(p, s, n); s += n; });
}

void vec_zero(BlockVec v, size_t bytes)
{
    EACH_PIECE(v, bytes, p, n, { memset(p, 0, n); });
}

bool vec_is_zero(BlockVec v, size_t bytes)
{
    EACH_PIECE(v, bytes, p, n, { if (!block_is_zero(p, n)) return false; });
    return true;
}
#undef EACH_PIECE

/* Most data differs from zero early: look at both ends first, then compare with itself shifted. */
bool block_is_zero(const void *buf, size_t bytes)
{
    const char *p = buf;

    if (!bytes)
        return true;
    if (p[0] || p[bytes - 1] || p[bytes / 2])
        return false;
    while (bytes && ((uintptr_t)p & 31)) {
        if (*p++)
            return false;
        bytes--;
    }
    for (; bytes >= 128; p += 128, bytes -= 128) {
        const uint64_t *q = (const uint64_t *)p;
        uint64_t a = 0;
        for (int i = 0; i < 16; i++)
            a |= q[i];
        if (a)
            return false;
    }
    while (bytes--)
        if (*p++)
            return false;
    return true;
}

/* ---- requests ---- */
/* Files read as zeroes past their end and grow by writes; formats have a fixed size. */
static int check_range(BlockNode *n, uint64_t off, uint64_t bytes)
{
    uint64_t limit = n->drv->kind == DRV_FORMAT ? block_node_size(n) : INT64_MAX;

    return range_ok(off, bytes, limit) ? 0 : -EINVAL;
}

int block_read_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    int ret = check_range(n, off, bytes);

    if (ret || !bytes)
        return ret;
    return n->drv->read(n, off, bytes, v);
}

int block_read_now(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    int ret = check_range(n, off, bytes);

    if (ret)
        return ret;
    return n->drv->read_now ? n->drv->read_now(n, off, bytes, v) : -EAGAIN;
}

/* A raw disk nobody named a format for must not turn into an image by a guest's write. */
static bool looks_like_format(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    uint8_t head[512] = { 0 };

    if (off >= sizeof head)
        return false;
    if (off && block_pread(n, 0, head, off))
        return false;
    vec_copy_out(v, head + off, MIN(bytes, sizeof head - off));
    for (const BlockDriver *const *d = block_drivers(); *d; d++)
        if ((*d)->kind == DRV_FORMAT && (*d)->probe && (*d)->probe(head, sizeof head) >= 50)
            return true;
    return false;
}

int block_write_vec(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    int ret = check_range(n, off, bytes);

    if (ret || !bytes)
        return ret;
    if (n->read_only)
        return -EROFS;
    if (n->probed_raw && looks_like_format(n, off, bytes, v))
        return -EPERM;
    if (n->detect_zeroes && !(flags & BLOCK_COMPRESSED) && vec_is_zero(v, bytes))
        return block_pwrite_zeroes(n, off, bytes, (flags & BLOCK_FUA) |
                                   (n->detect_unmap ? BLOCK_MAY_UNMAP : 0));
    if (!n->drv->write)
        return -EROFS;
    if (n->flags & BLOCK_WRITETHROUGH)
        flags |= BLOCK_FUA;
    ret = n->drv->write(n, off, bytes, v, flags);
    if (!ret && (flags & BLOCK_FUA))
        ret = block_flush(n);
    return ret;
}

int block_pread(BlockNode *n, uint64_t off, void *buf, size_t bytes)
{
    struct iovec iov = { buf, bytes };

    return block_read_vec(n, off, bytes, (BlockVec) { &iov, 1, 0 });
}

int block_pwrite_flags(BlockNode *n, uint64_t off, const void *buf, size_t bytes, unsigned flags)
{
    struct iovec iov = { (void *)buf, bytes };

    return block_write_vec(n, off, bytes, (BlockVec) { &iov, 1, 0 }, flags);
}

int block_pwrite(BlockNode *n, uint64_t off, const void *buf, size_t bytes)
{
    return block_pwrite_flags(n, off, buf, bytes, 0);
}

static int write_zeroes_by_hand(BlockNode *n, uint64_t off, uint64_t bytes)
{
    size_t chunk = MIN(bytes, MiB);
    g_autofree char *zero = g_malloc0(chunk);
    struct iovec iov = { zero, chunk };
    int ret = 0;

    while (bytes && !ret) {
        size_t len = MIN(bytes, chunk);
        ret = n->drv->write ? n->drv->write(n, off, len, (BlockVec) { &iov, 1, 0 }, 0) : -EROFS;
        off += len;
        bytes -= len;
    }
    return ret;
}

int block_pwrite_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    int ret = check_range(n, off, bytes);

    if (ret || !bytes)
        return ret;
    if (n->read_only)
        return -EROFS;
    if (!(n->flags & BLOCK_UNMAP))
        flags &= ~BLOCK_MAY_UNMAP;
    ret = n->drv->write_zeroes ? n->drv->write_zeroes(n, off, bytes, flags) : -ENOTSUP;
    if (ret == -ENOTSUP && !(flags & BLOCK_NO_FALLBACK))
        ret = write_zeroes_by_hand(n, off, bytes);
    if (!ret && ((flags & BLOCK_FUA) || (n->flags & BLOCK_WRITETHROUGH)))
        ret = block_flush(n);
    return ret;
}

int block_pdiscard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    int ret = check_range(n, off, bytes);

    if (ret || !bytes)
        return ret;
    if (n->read_only)
        return -EROFS;
    if (!(n->flags & BLOCK_UNMAP) || !n->drv->discard)
        return 0;
    ret = n->drv->discard(n, off, bytes);
    return ret == -ENOTSUP ? 0 : ret;
}

int block_reserve(BlockNode *n, uint64_t off, uint64_t bytes)
{
    int ret = check_range(n, off, bytes);

    if (ret || !bytes)
        return ret;
    return n->read_only ? -EROFS : n->drv->reserve ? n->drv->reserve(n, off, bytes) : 0;
}

int block_flush(BlockNode *n)
{
    if (n->read_only && n->drv->kind != DRV_FILTER)
        return 0;
    return n->drv->flush ? n->drv->flush(n) : n->file ? block_flush(n->file) : 0;
}

int block_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    uint64_t size = block_node_size(n);
    int ret;

    *st = (BlockStatus) { 0 };
    if (off >= size) {
        st->bytes = bytes;
        st->eof = true;
        return bytes ? -EINVAL : 0;
    }
    bytes = MIN(bytes, size - off);
    if (!n->drv->status) {
        *st = (BlockStatus) { .bytes = bytes, .data = true, .allocated = true };
    } else {
        ret = n->drv->status(n, off, bytes, st);
        if (ret)
            return ret;
    }
    if (!st->bytes || st->bytes > bytes)
        st->bytes = bytes;
    /* Data that is a hole of the host file reads as zeroes. */
    if (st->recurse && st->data && !st->zero && st->offset_valid && st->file != n) {
        BlockStatus low;
        uint64_t fsize = block_node_size(st->file);
        if (st->offset >= fsize)
            st->zero = true;
        else if (!block_status(st->file, st->offset, MIN(st->bytes, fsize - st->offset), &low)) {
            if (low.zero)
                st->zero = true;
            st->bytes = MIN(st->bytes, low.bytes);
        }
    }
    st->eof = off + st->bytes >= size;
    return 0;
}

int block_status_above(BlockNode *n, BlockNode *base, uint64_t off, uint64_t bytes, BlockStatus *st, int *depth)
{
    int d = 0, ret;

    for (BlockNode *l = n; ; l = l->backing, d++) {
        uint64_t size = block_node_size(l);
        if (off >= size) {      /* a short backing file: zeroes from here */
            *st = (BlockStatus) { .bytes = bytes, .zero = true, .allocated = true };
            break;
        }
        ret = block_status(l, off, bytes, st);
        if (ret)
            return ret;
        if (st->allocated || !l->backing || l->backing == base) {
            if (!st->allocated && !l->backing)
                st->zero = true;
            break;
        }
        bytes = MIN(bytes, st->bytes);
    }
    if (depth)
        *depth = d;
    return 0;
}

bool block_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    if (n->read_only)
        return err_set(err, "'%s' is read-only", n->filename);
    if (size > INT64_MAX)
        return err_set(err, "size %" PRIu64 " is too large", size);
    if (!n->drv->truncate)
        return err_set_code(err, ERR_UNSUPPORTED, "format '%s' does not support resize", n->drv->name);
    return n->drv->truncate(n, size, prealloc ? prealloc : "off", err);
}
