/*
 * blockmap: the common half of formats that are a table of blocks which are appended.
 */
#include <errno.h>
#include "block/blockmap.h"

void blockmap_init(BlockMap *b, BlockNode *n, BlockNode *file, const BlockMapOps *ops, uint32_t *map, uint32_t count,
                   uint32_t block_size, uint64_t unit, uint64_t end)
{
    *b = (BlockMap) { .node = n, .file = file, .ops = ops, .map = map, .count = count, .block_size = block_size,
                      .unit = unit, .size = (uint64_t)count * block_size, .fresh = block_file_regular(file) };
    b->end = (end + unit - 1) / unit * unit;
    b->dirty = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    b->busy = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    g_mutex_init(&b->lock);
    g_mutex_init(&b->flush_lock);
    g_cond_init(&b->cond);
}

void blockmap_clear(BlockMap *b)
{
    if (!b->dirty)
        return;
    g_array_free(b->dirty, TRUE);
    g_array_free(b->busy, TRUE);
    g_free(b->map);
    g_mutex_clear(&b->lock);
    g_mutex_clear(&b->flush_lock);
    g_cond_clear(&b->cond);
    b->dirty = NULL;
}

uint64_t blockmap_host(const BlockMap *b, uint32_t v) { return b->base + (uint64_t)v * b->unit; }

static int cmp_u32(const void *x, const void *y)
{
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;

    return a < b ? -1 : a > b;
}

bool blockmap_sane(BlockMap *b, uint64_t limit, GError **err)
{
    g_autofree uint32_t *s = g_try_malloc((size_t)b->count * 4 + 4);
    uint64_t bytes = (uint64_t)b->head + b->block_size;
    uint32_t n = 0;

    if (!s)
        return err_set(err, "no memory for a table of %u entries", b->count);
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->map[i] >= BM_ZERO)
            continue;
        /* The last block may be cut short. */
        if (blockmap_host(b, b->map[i]) >= limit)
            return err_set(err, "block %u lies at %" PRIu64 ", past the end of the file (%" PRIu64 ")", i,
                           blockmap_host(b, b->map[i]), limit);
        s[n++] = b->map[i];
    }
    qsort(s, n, sizeof *s, cmp_u32);
    for (uint32_t i = 1; i < n; i++)
        if ((uint64_t)(s[i] - s[i - 1]) * b->unit < bytes)
            return err_set(err, "two blocks share the bytes at %" PRIu64, blockmap_host(b, s[i]));
    return true;
}

uint8_t *blockmap_load(BlockNode *file, uint64_t off, uint64_t entries, unsigned entry_bytes, GError **err)
{
    uint64_t bytes = entries * entry_bytes;
    uint8_t *t;
    int ret;

    if (entries > (64 * MiB) / entry_bytes || !range_ok(off, bytes, block_node_size(file))) {
        err_set(err, "a table of %" PRIu64 " entries at offset %" PRIu64 " does not fit into the file", entries, off);
        return NULL;
    }
    t = g_try_malloc(bytes + 1);
    ret = t ? block_pread(file, off, t, bytes) : -ENOMEM;
    if (ret) {
        g_free(t);
        err_set_errno(err, -ret, "Could not read the table at offset %" PRIu64, off);
        return NULL;
    }
    return t;
}

static bool is_busy(BlockMap *b, uint32_t i)
{
    for (guint k = 0; k < b->busy->len; k++)
        if (g_array_index(b->busy, uint32_t, k) == i)
            return true;
    return false;
}

/* Lock held: block i's place once nobody is appending it. */
static uint32_t settled(BlockMap *b, uint32_t i)
{
    while (is_busy(b, i))
        g_cond_wait(&b->cond, &b->lock);
    return b->map[i];
}

static int read_hole(BlockMap *b, uint32_t v, uint64_t off, uint64_t len, BlockVec vec)
{
    BlockNode *back = v == BM_NONE && b->backing ? b->node->backing : NULL;
    uint64_t g = off + b->guest_base, size = back ? block_node_size(back) : 0, have = g < size ? MIN(len, size - g) : 0;
    int ret = have ? block_read_vec(back, g, have, vec) : 0;

    if (!ret && have < len)
        vec_zero(vec_adv(vec, have), len - have);
    return ret;
}

int blockmap_read(BlockMap *b, uint64_t off, uint64_t bytes, BlockVec v)
{
    while (bytes) {
        uint32_t i = off / b->block_size, in = off % b->block_size, e;
        uint64_t len = MIN(bytes, b->block_size - in);
        g_mutex_lock(&b->lock);
        e = b->map[i];
        g_mutex_unlock(&b->lock);
        int ret = e >= BM_ZERO ? read_hole(b, e, off, len, v)
                               : block_read_vec(b->file, blockmap_host(b, e) + b->head + in, len, v);
        if (ret)
            return ret;
        off += len;
        bytes -= len;
        v = vec_adv(v, len);
    }
    return 0;
}

/* The whole block with the new bytes in it, for the case that the rest must be written, too. */
static int write_filled(BlockMap *b, uint32_t i, uint32_t e, uint64_t host, uint32_t in, uint64_t len, BlockVec v)
{
    g_autofree uint8_t *buf = g_try_malloc(b->block_size);
    struct iovec io = { buf, b->block_size };
    int ret = buf ? read_hole(b, e, (uint64_t)i * b->block_size, b->block_size, (BlockVec) { &io, 1, 0 }) : -ENOMEM;

    if (ret)
        return ret;
    vec_copy_out(v, buf + in, len);
    return block_pwrite(b->file, host + b->head, buf, b->block_size);
}

static int append(BlockMap *b, uint32_t i, uint32_t in, uint64_t len, BlockVec v)
{
    uint64_t host = b->end, next = host + b->head + b->block_size;
    uint32_t e = b->map[i], value;
    int ret;

    next = b->base + (next - b->base + b->unit - 1) / b->unit * b->unit;
    if ((host - b->base) / b->unit >= BM_ZERO - 1 || (b->limit && next > b->limit))
        return -EFBIG;
    b->end = next;
    g_array_append_val(b->busy, i);
    g_mutex_unlock(&b->lock);
    bool plain = b->fresh && (e == BM_ZERO || !b->backing || !b->node->backing);
    ret = plain || len == b->block_size ? block_write_vec(b->file, host + b->head + in, len, v, 0)
                                        : write_filled(b, i, e, host, in, len, v);
    if (!ret && in + len < b->block_size && plain && block_node_size(b->file) < host + b->head + b->block_size)
        ret = block_pwrite_zeroes(b->file, host + b->head + b->block_size - 512, 512, BLOCK_MAY_UNMAP);
    if (!ret && b->ops->appended)
        ret = b->ops->appended(b, host);
    g_mutex_lock(&b->lock);
    for (guint k = 0; k < b->busy->len; k++)
        if (g_array_index(b->busy, uint32_t, k) == i)
            g_array_remove_index_fast(b->busy, k--);
    if (!ret) {
        value = (host - b->base) / b->unit;
        b->map[i] = value;
        g_array_append_val(b->dirty, i);
    }
    g_cond_broadcast(&b->cond);
    return ret;
}

int blockmap_write(BlockMap *b, uint64_t off, uint64_t bytes, BlockVec v)
{
    while (bytes) {
        uint32_t i = off / b->block_size, in = off % b->block_size, e;
        uint64_t len = MIN(bytes, b->block_size - in);
        int ret = 0;
        g_mutex_lock(&b->lock);
        e = settled(b, i);
        if (e >= BM_ZERO)
            ret = b->failed ? -EIO : append(b, i, in, len, v);
        g_mutex_unlock(&b->lock);
        if (e < BM_ZERO)
            ret = block_write_vec(b->file, blockmap_host(b, e) + b->head + in, len, v, 0);
        if (ret)
            return ret;
        off += len;
        bytes -= len;
        v = vec_adv(v, len);
    }
    return 0;
}

int blockmap_zeroes(BlockMap *b, uint64_t off, uint64_t bytes)
{
    while (bytes) {
        uint32_t i = off / b->block_size, in = off % b->block_size, e;
        uint64_t len = MIN(bytes, b->block_size - in);
        int ret = 0;
        g_mutex_lock(&b->lock);
        e = settled(b, i);
        g_mutex_unlock(&b->lock);
        if (e < BM_ZERO) {
            ret = block_pwrite_zeroes(b->file, blockmap_host(b, e) + b->head + in, len, 0);
        } else if (e == BM_NONE && b->backing && b->node->backing) {
            g_autofree uint8_t *zero = g_malloc0(len);
            struct iovec io = { zero, len };
            ret = blockmap_write(b, off, len, (BlockVec) { &io, 1, 0 });
        }
        if (ret)
            return ret;
        off += len;
        bytes -= len;
    }
    return 0;
}

int blockmap_flush(BlockMap *b)
{
    GArray *todo = NULL;
    int ret;

    g_mutex_lock(&b->flush_lock);
    g_mutex_lock(&b->lock);
    ret = b->failed ? -EIO : 0;
    if (!ret && b->dirty->len) {
        todo = b->dirty;
        b->dirty = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    }
    g_mutex_unlock(&b->lock);
    if (!ret)
        ret = block_flush(b->file);
    bool lost = ret != 0;
    if (!ret && todo) {
        ret = b->ops->store(b, (uint32_t *)todo->data, todo->len);
        if (!ret) {
            ret = block_flush(b->file);
            lost = ret != 0;
        }
    }
    g_mutex_lock(&b->lock);
    if (lost)
        b->failed = true;
    if (ret && todo)
        g_array_append_vals(b->dirty, todo->data, todo->len);
    g_mutex_unlock(&b->lock);
    if (todo)
        g_array_free(todo, TRUE);
    g_mutex_unlock(&b->flush_lock);
    return ret;
}

int blockmap_status(BlockMap *b, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    uint32_t i = off / b->block_size, in = off % b->block_size, first;
    uint64_t len = b->block_size - in;

    g_mutex_lock(&b->lock);
    first = b->map[i];
    while (len < bytes && i + 1 < b->count) {
        uint32_t next = b->map[++i];
        if (first >= BM_ZERO ? next != first : (next >= BM_ZERO || b->head ||
            blockmap_host(b, next) != blockmap_host(b, first) + len + in))
            break;
        len += b->block_size;
    }
    g_mutex_unlock(&b->lock);
    *st = (BlockStatus) { .bytes = MIN(len, bytes), .allocated = first != BM_NONE, .data = first < BM_ZERO,
                          .zero = first == BM_ZERO || (first == BM_NONE && !(b->backing && b->node->backing)) };
    if (first == BM_NONE && !b->backing)
        st->allocated = true;       /* nothing can lie below: this layer decides */
    if (first < BM_ZERO) {
        st->offset_valid = true;
        st->offset = blockmap_host(b, first) + b->head + in;
        st->file = b->file;
    }
    return 0;
}
