/*
 * pool: worker threads for blocking image code; idle ones leave after ten seconds.
 */
#include "block/block_int.h"

typedef struct Job { BlockJob *fn; void *opaque; } Job;

struct BlockPool {
    GMutex lock;
    GCond work, gone;
    GQueue jobs;                /* of Job */
    unsigned threads, idle, max;
    bool stop;
};

static void *worker(void *opaque)
{
    BlockPool *p = opaque;

    g_mutex_lock(&p->lock);
    for (;;) {
        Job *j = g_queue_pop_head(&p->jobs);
        if (j) {
            g_mutex_unlock(&p->lock);
            j->fn(j->opaque);
            g_free(j);
            g_mutex_lock(&p->lock);
            continue;
        }
        if (p->stop)
            break;
        p->idle++;
        gboolean woken = g_cond_wait_until(&p->work, &p->lock, g_get_monotonic_time() + 10 * G_TIME_SPAN_SECOND);
        p->idle--;
        if (!woken && g_queue_is_empty(&p->jobs))
            break;
    }
    p->threads--;
    g_cond_signal(&p->gone);
    g_mutex_unlock(&p->lock);
    return NULL;
}

BlockPool *block_pool_new(unsigned max_threads)
{
    BlockPool *p = g_new0(BlockPool, 1);

    g_mutex_init(&p->lock);
    g_cond_init(&p->work);
    g_cond_init(&p->gone);
    g_queue_init(&p->jobs);
    p->max = max_threads;
    return p;
}

void block_pool_push(BlockPool *p, BlockJob *fn, void *opaque)
{
    Job *j = g_new(Job, 1);

    *j = (Job) { fn, opaque };
    g_mutex_lock(&p->lock);
    g_queue_push_tail(&p->jobs, j);
    if (p->idle >= g_queue_get_length(&p->jobs)) {
        g_cond_signal(&p->work);
    } else if (p->threads < p->max) {
        GThread *t = g_thread_try_new("block-worker", worker, p, NULL);
        if (t) {
            p->threads++;
            g_thread_unref(t);
        }
    }
    if (!p->threads) {          /* no thread to be had: do it here */
        g_queue_remove(&p->jobs, j);
        g_mutex_unlock(&p->lock);
        fn(opaque);
        g_free(j);
        return;
    }
    g_mutex_unlock(&p->lock);
}

void block_pool_free(BlockPool *p)
{
    if (!p)
        return;
    g_mutex_lock(&p->lock);
    p->stop = true;
    g_cond_broadcast(&p->work);
    while (p->threads)
        g_cond_wait(&p->gone, &p->lock);
    g_mutex_unlock(&p->lock);
    g_mutex_clear(&p->lock);
    g_cond_clear(&p->work);
    g_cond_clear(&p->gone);
    g_free(p);
}
