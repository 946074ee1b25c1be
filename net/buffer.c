/* buffer: holds the frames of a port and lets them go on at an interval (-object filter-buffer), to test how guests bear it. */
#include "net/net_int.h"

#include <string.h>

enum { HELD_MAX = 4 * NET_QUEUE_MAX };

typedef struct Held {
    bool by_port;               /* sent by the port, not to it */
    NetOffload offload;
    size_t len;
    uint8_t data[];
} Held;

struct NetBuffer {
    NetPort *port;
    bool to, from;
    guint timer;
    GQueue held;
};

/* What is sent in answer meanwhile waits for the next time, or the two ends could go on for ever. */
static void let_go(NetBuffer *b)
{
    for (guint n = b->held.length; n; n--) {
        Held *h = g_queue_pop_head(&b->held);
        NetPort *sender = h->by_port ? b->port : b->port->peer;

        if (sender && sender->peer)
            net_send_buffered(sender, h->data, h->len, &h->offload);
        g_free(h);
    }
}

static gboolean interval_over(gpointer opaque)
{
    let_go(opaque);
    return G_SOURCE_CONTINUE;
}

bool net_buffer_attach(NetPort *p, uint64_t interval_us, bool to, bool from, GError **err)
{
    NetBuffer *b;

    if (p->buffer)
        return err_set(err, "network '%s' already has a filter-buffer", p->id);
    if (!interval_us)
        return err_set(err, "filter-buffer needs interval=, in microseconds");
    b = p->buffer = g_new0(NetBuffer, 1);
    *b = (NetBuffer) { .port = p, .to = to, .from = from };
    g_queue_init(&b->held);
    b->timer = g_timeout_add(MAX((interval_us + 999) / 1000, 1), interval_over, b);
    return true;
}

void net_buffer_detach(NetPort *p)
{
    NetBuffer *b = p->buffer;

    if (!b)
        return;
    g_source_remove(b->timer);
    p->buffer = NULL;
    let_go(b);
    g_free(b);
}

/* A full one loses frames, as a wire would: holding back the sender would only move the queue. */
bool net_buffer_hold(NetPort *p, bool by_port, const uint8_t *frame, size_t len, const NetOffload *o)
{
    NetBuffer *b = p->buffer;
    Held *h;

    if (!b || !(by_port ? b->from : b->to))
        return false;
    if (b->held.length >= HELD_MAX) {
        p->dropped++;
        return true;
    }
    h = g_malloc(sizeof *h + len);
    *h = (Held) { .by_port = by_port, .offload = *o, .len = len };
    memcpy(h->data, frame, len);
    g_queue_push_tail(&b->held, h);
    return true;
}
