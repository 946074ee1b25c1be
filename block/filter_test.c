/*
 * filter_test: lets a chosen operation fail, or records all changes in their order.
 */
#include <errno.h>
#include "block/block_int.h"
#include "block/filter.h"

typedef struct Fault {
    GMutex lock;
    FaultPlan plan;
    uint64_t count, written;
} Fault;

static int verdict(BlockNode *n, FilterOp op, uint64_t off, uint64_t bytes, bool *torn)
{
    Fault *f = n->priv;
    int ret = 0;

    *torn = false;
    g_mutex_lock(&f->lock);
    if (f->plan.kinds & (1u << op)) {
        f->count++;
        if (f->plan.at && (f->count == f->plan.at || (f->plan.sticky && f->count > f->plan.at))) {
            ret = -f->plan.errnum;
            *torn = f->plan.torn;
        }
    }
    if (!ret && f->plan.budget && (op == FILTER_WRITE || op == FILTER_ZERO)) {
        uint64_t end = off + bytes, size = block_node_size(n->file);
        uint64_t grow = end > size ? end - size : 0;
        if (f->written + grow > f->plan.budget)
            ret = -ENOSPC;
        else
            f->written += grow;
    }
    g_mutex_unlock(&f->lock);
    return ret;
}

static bool fault_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Fault *f = g_new0(Fault, 1);

    g_mutex_init(&f->lock);
    n->priv = f;
    return true;
}

static int fault_close(BlockNode *n)
{
    g_mutex_clear(&((Fault *)n->priv)->lock);
    g_free(n->priv);
    return 0;
}

static int fault_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    bool torn;
    int ret = verdict(n, FILTER_READ, off, bytes, &torn);

    return ret ? ret : block_read_vec(n->file, off, bytes, v);
}

static int fault_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    bool torn;
    int ret = verdict(n, FILTER_WRITE, off, bytes, &torn);

    if (ret && torn && bytes > 512)
        (void)!block_write_vec(n->file, off, bytes / 2 & ~511ULL, v, 0);
    return ret ? ret : block_write_vec(n->file, off, bytes, v, flags);
}

static int fault_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    bool torn;
    int ret = verdict(n, FILTER_ZERO, off, bytes, &torn);

    return ret ? ret : block_pwrite_zeroes(n->file, off, bytes, flags);
}

static int fault_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    bool torn;
    int ret = verdict(n, FILTER_DISCARD, off, bytes, &torn);

    return ret ? ret : block_pdiscard(n->file, off, bytes);
}

static int fault_flush(BlockNode *n)
{
    bool torn;
    int ret = verdict(n, FILTER_FLUSH, 0, 0, &torn);

    return ret ? ret : block_flush(n->file);
}

static uint64_t pass_length(BlockNode *n) { return block_node_size(n->file); }

static bool fault_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    bool torn;
    int ret = verdict(n, FILTER_TRUNCATE, size, 0, &torn);

    return ret ? err_set_errno(err, -ret, "truncate") : block_truncate(n->file, size, prealloc, err);
}

static int pass_status(BlockNode *n, uint64_t off, uint64_t bytes, BlockStatus *st)
{
    return block_status(n->file, off, bytes, st);
}

void block_fault_set(BlockNode *n, const FaultPlan *plan)
{
    Fault *f = n->priv;

    g_mutex_lock(&f->lock);
    f->plan = *plan;
    f->count = f->written = 0;
    g_mutex_unlock(&f->lock);
}

uint64_t block_fault_count(BlockNode *n) { return ((Fault *)n->priv)->count; }

const BlockDriver block_drv_fault = {
    .name = "fault", .kind = DRV_FILTER, .open = fault_open, .close = fault_close, .read = fault_read,
    .write = fault_write, .write_zeroes = fault_zeroes, .discard = fault_discard, .flush = fault_flush,
    .length = pass_length, .truncate = fault_truncate, .status = pass_status,
};

/* ---- record ---- */
typedef struct Record { GMutex lock; GPtrArray *log; } Record;

static void entry_free(gpointer p)
{
    g_free(((RecordEntry *)p)->data);
    g_free(p);
}

static void note(BlockNode *n, FilterOp op, uint64_t off, uint64_t bytes, BlockVec *v)
{
    Record *r = n->priv;
    RecordEntry *e = g_new0(RecordEntry, 1);

    *e = (RecordEntry) { op, off, bytes, v ? g_malloc(bytes) : NULL };
    if (v)
        vec_copy_out(*v, e->data, bytes);
    g_mutex_lock(&r->lock);
    g_ptr_array_add(r->log, e);
    g_mutex_unlock(&r->lock);
}

static bool record_open(BlockNode *n, GHashTable *opts, unsigned flags, GError **err)
{
    Record *r = g_new0(Record, 1);

    g_mutex_init(&r->lock);
    r->log = g_ptr_array_new_with_free_func(entry_free);
    n->priv = r;
    return true;
}

static int record_close(BlockNode *n)
{
    Record *r = n->priv;

    g_ptr_array_free(r->log, TRUE);
    g_mutex_clear(&r->lock);
    g_free(r);
    return 0;
}

static int record_read(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v)
{
    return block_read_vec(n->file, off, bytes, v);
}

static int record_write(BlockNode *n, uint64_t off, uint64_t bytes, BlockVec v, unsigned flags)
{
    int ret = block_write_vec(n->file, off, bytes, v, flags);

    note(n, FILTER_WRITE, off, bytes, &v);
    return ret;
}

static int record_zeroes(BlockNode *n, uint64_t off, uint64_t bytes, unsigned flags)
{
    int ret = block_pwrite_zeroes(n->file, off, bytes, flags | BLOCK_NO_FALLBACK);

    if (!ret)
        note(n, FILTER_ZERO, off, bytes, NULL);
    return ret;
}

static int record_discard(BlockNode *n, uint64_t off, uint64_t bytes)
{
    note(n, FILTER_DISCARD, off, bytes, NULL);
    return block_pdiscard(n->file, off, bytes);
}

static int record_flush(BlockNode *n)
{
    int ret = block_flush(n->file);

    note(n, FILTER_FLUSH, 0, 0, NULL);
    return ret;
}

static bool record_truncate(BlockNode *n, uint64_t size, const char *prealloc, GError **err)
{
    note(n, FILTER_TRUNCATE, size, 0, NULL);
    return block_truncate(n->file, size, prealloc, err);
}

GPtrArray *block_record_log(BlockNode *n) { return ((Record *)n->priv)->log; }
void block_record_mark(BlockNode *n, uint64_t value) { note(n, FILTER_READ, value, 0, NULL); }

const BlockDriver block_drv_record = {
    .name = "record", .kind = DRV_FILTER, .open = record_open, .close = record_close, .read = record_read,
    .write = record_write, .write_zeroes = record_zeroes, .discard = record_discard, .flush = record_flush,
    .length = pass_length, .truncate = record_truncate, .status = pass_status,
};
