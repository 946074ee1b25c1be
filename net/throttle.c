/* throttle: lets frames of a port go on at a rate, from a bounded queue each way (-object filter-throttle), to test slow links. */
#include "net/net_int.h"

#include <string.h>

typedef struct Held {
    NetOffload offload;
    size_t len;
    uint8_t data[];
} Held;

typedef struct Way {
    struct NetThrottle *t;
    bool on, by_port;           /* by_port: what the port sends, else what it gets */
    uint64_t tokens;            /* bytes that may go now, times 10^6: slow rates lose nothing */
    int64_t filled;             /* when tokens was right */
    guint timer;
    GQueue held;
} Way;

struct NetThrottle {
    NetPort *port;
    NetThrottleLimits limits;
    Way way[2];
};

static void refill(Way *w)
{
    const NetThrottleLimits *l = &w->t->limits;
    uint64_t full = l->burst * G_USEC_PER_SEC;
    int64_t now = g_get_monotonic_time(), passed = MIN(now - w->filled, (int64_t)G_USEC_PER_SEC * 10);

    w->tokens = MIN(full, w->tokens + l->rate * (uint64_t)MAX(passed, 0));
    w->filled = now;
}

/* A frame longer than the burst goes when the bucket is full. */
static uint64_t price(const Way *w, size_t len)
{
    return MIN(len, w->t->limits.burst) * G_USEC_PER_SEC;
}

static gboolean let_go(gpointer opaque);

static void wait_for_head(Way *w)
{
    Held *h = g_queue_peek_head(&w->held);
    uint64_t missing = price(w, h->len) - w->tokens, us = missing / w->t->limits.rate;

    w->timer = g_timeout_add(MIN(us / 1000 + 1, G_MAXINT), let_go, w);
}

static gboolean let_go(gpointer opaque)
{
    Way *w = opaque;
    NetPort *sender = w->by_port ? w->t->port : w->t->port->peer;
    Held *h;

    w->timer = 0;
    refill(w);
    while ((h = g_queue_peek_head(&w->held)) && price(w, h->len) <= w->tokens) {
        w->tokens -= price(w, h->len);
        g_queue_pop_head(&w->held);
        if (sender && sender->peer)
            net_send_now(sender, h->data, h->len, &h->offload);
        g_free(h);
    }
    if (h && !w->timer)         /* a frame let go may have brought another, and that one the timer */
        wait_for_head(w);
    return G_SOURCE_REMOVE;
}

bool net_throttle_attach(NetPort *p, const NetThrottleLimits *limits, bool to, bool from, GError **err)
{
    NetThrottle *t;

    if (p->throttle)
        return err_set(err, "network '%s' already has a filter-throttle", p->id);
    if (!limits->rate || limits->rate > G_MAXINT64 / G_USEC_PER_SEC / 10 || limits->burst > G_MAXINT64 / G_USEC_PER_SEC)
        return err_set(err, "filter-throttle needs rate=, in bytes per second, such as rate=1M");
    t = p->throttle = g_new0(NetThrottle, 1);
    t->port = p;
    t->limits = *limits;
    t->limits.burst = limits->burst ? limits->burst : MAX(limits->rate / 100, NET_FRAME_MAX);
    for (int i = 0; i < 2; i++) {
        Way *w = &t->way[i];

        *w = (Way) { .t = t, .on = i ? from : to, .by_port = i, .filled = g_get_monotonic_time(), .tokens = t->limits.burst * G_USEC_PER_SEC };
        g_queue_init(&w->held);
    }
    return true;
}

void net_throttle_detach(NetPort *p)
{
    NetThrottle *t = p->throttle;

    if (!t)
        return;
    p->throttle = NULL;
    for (int i = 0; i < 2; i++) {
        NetPort *sender = i ? p : p->peer;
        Held *h;

        if (t->way[i].timer)
            g_source_remove(t->way[i].timer);
        while ((h = g_queue_pop_head(&t->way[i].held))) {
            if (sender && sender->peer)
                net_send_now(sender, h->data, h->len, &h->offload);
            g_free(h);
        }
    }
    g_free(t);
}

/* A full queue loses frames, as a router's does. */
bool net_throttle_hold(NetPort *p, bool by_port, const uint8_t *frame, size_t len, const NetOffload *o)
{
    Way *w = p->throttle ? &p->throttle->way[by_port] : NULL;
    Held *h;

    if (!w || !w->on)
        return false;
    refill(w);
    if (g_queue_is_empty(&w->held) && price(w, len) <= w->tokens) {
        w->tokens -= price(w, len);
        return false;
    }
    if (w->held.length >= w->t->limits.frames) {
        p->dropped++;
        return true;
    }
    h = g_malloc(sizeof *h + len);
    *h = (Held) { .offload = *o, .len = len };
    memcpy(h->data, frame, len);
    g_queue_push_tail(&w->held, h);
    if (!w->timer)
        wait_for_head(w);
    return true;
}
