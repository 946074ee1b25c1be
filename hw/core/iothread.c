/*
 * iothread: the loop of an I/O thread, its clients, and the way from there to the machine lock.
 */
#include "hw/core/iothread.h"

#include "softmmu/machine.h"

#include <unistd.h>

struct IoThread {
    char *id;
    gint tid;                   /* atomic */
    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    GRecMutex lock;
    unsigned depth;             /* of iothread_enter; lock */
    GPtrArray *clients;         /* of IoClient *; lock */
    GPtrArray *spare;           /* detached ones: a late kick may still find them, so they are used again; lock */
    bool deferred;              /* some client has something to deliver; lock */
};

struct IoClient {
    IoThread *t;
    GSource *source;
    void (*work)(void *opaque);
    void (*deliver)(void *opaque);
    void *opaque;
    bool gone, deferred;        /* lock */
};

typedef struct ClientSource { GSource base; IoClient *c; } ClientSource;

static gboolean client_dispatch(GSource *source, GSourceFunc fn, gpointer opaque)
{
    IoClient *c = ((ClientSource *)source)->c;
    IoThread *t = c->t;

    g_source_set_ready_time(source, -1);
    iothread_enter(t);
    if (!c->gone)
        c->work(c->opaque);
    iothread_leave(t);
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs client_funcs = { .dispatch = client_dispatch };

static void client_free(void *p)
{
    IoClient *c = p;

    g_source_destroy(c->source);
    g_source_unref(c->source);
    g_free(c);
}

static void *thread_main(void *opaque)
{
    IoThread *t = opaque;

    g_atomic_int_set(&t->tid, gettid());
    g_main_context_push_thread_default(t->context);
    g_main_loop_run(t->loop);
    g_main_context_pop_thread_default(t->context);
    return NULL;
}

IoThread *iothread_new(const char *id)
{
    IoThread *t = g_new0(IoThread, 1);
    g_autofree char *name = g_strdup_printf("io-%.12s", id);

    t->id = g_strdup(id);
    t->context = g_main_context_new();
    t->loop = g_main_loop_new(t->context, FALSE);
    t->clients = g_ptr_array_new();
    t->spare = g_ptr_array_new_with_free_func(client_free);
    g_rec_mutex_init(&t->lock);
    t->thread = g_thread_new(name, thread_main, t);
    return t;
}

static gboolean end_loop(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

void iothread_free(IoThread *t)
{
    bool held = machine_lock_held();
    GSource *end = g_idle_source_new();

    g_source_set_callback(end, end_loop, t->loop, NULL);        /* also when the loop has not begun yet */
    g_source_attach(end, t->context);
    g_source_unref(end);
    if (held)
        machine_unlock();       /* it may be waiting for it */
    g_thread_join(t->thread);
    if (held)
        machine_lock();
    g_ptr_array_unref(t->spare);
    g_main_loop_unref(t->loop);
    g_main_context_unref(t->context);
    g_ptr_array_unref(t->clients);
    g_rec_mutex_clear(&t->lock);
    g_free(t->id);
    g_free(t);
}

const char *iothread_id(const IoThread *t) { return t->id; }
int iothread_tid(const IoThread *t) { return g_atomic_int_get(&t->tid); }
GMainContext *iothread_context(IoThread *t) { return t->context; }

bool iothread_in_use(IoThread *t)
{
    bool used;

    g_rec_mutex_lock(&t->lock);
    used = t->clients->len;
    g_rec_mutex_unlock(&t->lock);
    return used;
}

void iothread_enter(IoThread *t)
{
    g_rec_mutex_lock(&t->lock);
    t->depth++;
}

static void deliver_all(IoThread *t)
{
    t->deferred = false;
    for (unsigned i = 0; i < t->clients->len; i++) {
        IoClient *c = g_ptr_array_index(t->clients, i);

        if (c->deferred) {
            c->deferred = false;
            c->deliver(c->opaque);
        }
    }
}

void iothread_leave(IoThread *t)
{
    bool deliver = t->depth == 1 && t->deferred, held = machine_lock_held();

    if (deliver && held)
        deliver_all(t);
    t->depth--;
    g_rec_mutex_unlock(&t->lock);
    if (!deliver || held)
        return;
    machine_lock();
    iothread_enter(t);
    deliver_all(t);
    iothread_leave(t);
    machine_unlock();
}

IoClient *iothread_attach(IoThread *t, void (*work)(void *opaque), void (*deliver)(void *opaque), void *opaque)
{
    IoClient *c;

    iothread_enter(t);
    if (t->spare->len) {
        c = g_ptr_array_steal_index(t->spare, t->spare->len - 1);
    } else {
        c = g_new0(IoClient, 1);
        c->source = g_source_new(&client_funcs, sizeof(ClientSource));
        ((ClientSource *)c->source)->c = c;
        g_source_attach(c->source, t->context);
    }
    *c = (IoClient) { .t = t, .source = c->source, .work = work, .deliver = deliver, .opaque = opaque };
    g_ptr_array_add(t->clients, c);
    iothread_leave(t);
    return c;
}

void iothread_detach(IoClient *c)
{
    IoThread *t = c->t;

    iothread_enter(t);
    c->gone = true;
    c->deferred = false;
    g_ptr_array_remove(t->clients, c);
    g_ptr_array_add(t->spare, c);
    iothread_leave(t);
}

void iothread_kick(IoClient *c)
{
    g_source_set_ready_time(c->source, 0);
}

void iothread_defer(IoClient *c)
{
    c->deferred = true;
    c->t->deferred = true;
}
