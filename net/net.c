/* net: ports, plugging, bounded queues and delivery. */
#include "net/net_int.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct NetQueued {
    NetOffload offload;
    size_t len;
    uint8_t data[];
} NetQueued;

static const NetOffload nothing;

NetPort *net_port_new(const char *type, const char *id, const NetPortOps *ops, void *opaque)
{
    NetPort *p = g_new0(NetPort, 1);

    p->type = type;
    p->id = g_strdup(id);
    p->ops = ops;
    p->opaque = opaque;
    p->max_frame = p->max_frame6 = 1522;
    p->queues = 1;
    g_queue_init(&p->queue);
    return p;
}

void net_port_free(NetPort *p)
{
    if (!p)
        return;
    net_announce_stop(p);
    net_buffer_detach(p);
    net_throttle_detach(p);
    if (p->again)
        g_source_remove(p->again);
    net_port_unplug(p);
    g_clear_pointer(&p->dumps, g_ptr_array_unref);
    net_port_purge(p);
    if (p->ops->destroy)
        p->ops->destroy(p->opaque);
    g_free(p->id);
    g_free(p);
}

static void tell_link(NetPort *p)
{
    if (p->ops->link_changed)
        p->ops->link_changed(p->opaque, net_port_link(p));
}

static void tell_takes(NetPort *p)
{
    if (p->peer && p->peer->ops->peer_takes)
        p->peer->ops->peer_takes(p->peer->opaque, p->takes);
}

bool net_port_plug(NetPort *a, NetPort *b, GError **err)
{
    if (a->peer || b->peer) {
        NetPort *taken = a->peer ? a : b;

        return err_set(err, "network '%s' is already connected to '%s'", taken->id, taken->peer->id);
    }
    a->peer = b;
    b->peer = a;
    tell_link(a);
    tell_link(b);
    tell_takes(a);
    tell_takes(b);
    return true;
}

void net_port_set_takes(NetPort *p, unsigned takes)
{
    p->takes = takes;
    tell_takes(p);
}

void net_port_unplug(NetPort *p)
{
    NetPort *q = p->peer;

    if (!q)
        return;
    p->peer = q->peer = NULL;
    net_port_purge(p);
    net_port_purge(q);
    p->sender_blocked = q->sender_blocked = false;
    tell_link(q);
}

void net_port_set_link(NetPort *p, bool up)
{
    p->link_down = !up;
    tell_link(p);
    if (p->peer)
        tell_link(p->peer);
}

bool net_port_link(const NetPort *p)
{
    return p->peer && !p->link_down && !p->peer->link_down;
}

void net_port_purge(NetPort *p)
{
    g_queue_clear_full(&p->queue, g_free);
}

unsigned net_offload_needs(const NetOffload *o)
{
    unsigned needs = o->flags & NET_NEEDS_CSUM ? NET_CAN_CSUM : 0;

    if (o->gso_type & NET_GSO_ECN)
        needs |= NET_CAN_ECN;
    switch (o->gso_type & ~NET_GSO_ECN) {
    case NET_GSO_NONE: return needs;
    case NET_GSO_TCP4: return needs | NET_CAN_TCP4;
    case NET_GSO_TCP6: return needs | NET_CAN_TCP6;
    default: return UINT_MAX;
    }
}

/* A frame may outlive the agreement it was queued under: what is no longer taken is lost. */
static bool hand_over(NetPort *to, const uint8_t *frame, size_t len, const NetOffload *o)
{
    if (!o->flags && !o->gso_type)
        return to->ops->receive(to->opaque, frame, len);
    if (net_offload_needs(o) & ~to->takes || !to->ops->receive_offload) {
        to->dropped++;
        return true;
    }
    return to->ops->receive_offload(to->opaque, frame, len, o);
}

/* Tries the receiver; a receiver that sends from inside receive() sees `delivering` and is queued,
   so two ports that answer each other cannot recurse. */
static bool deliver(NetPort *to, const uint8_t *frame, size_t len, const NetOffload *o)
{
    bool took;

    if (to->delivering)
        return false;
    to->delivering = true;
    took = hand_over(to, frame, len, o);
    to->delivering = false;
    if (took) {
        to->frames_in++;
        to->bytes_in += len;
    }
    return took;
}

bool net_send_now(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o)
{
    NetPort *to = from->peer;
    NetQueued *q;

    if (g_queue_is_empty(&to->queue) && deliver(to, frame, len, o)) {
        if (!g_queue_is_empty(&to->queue))
            net_port_ready(to);         /* frames queued while it was delivering */
        return true;
    }
    if (to->queue.length >= NET_QUEUE_MAX) {
        from->dropped++;
        to->sender_blocked = true;
        return false;
    }
    q = g_malloc(sizeof *q + len);
    q->offload = *o;
    q->len = len;
    memcpy(q->data, frame, len);
    g_queue_push_tail(&to->queue, q);
    if (to->queue.length >= NET_QUEUE_MAX / 2)
        to->sender_blocked = true;
    return !to->sender_blocked;
}

bool net_send_buffered(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o)
{
    if (net_throttle_hold(from, true, frame, len, o) || net_throttle_hold(from->peer, false, frame, len, o))
        return true;
    return net_send_now(from, frame, len, o);
}

bool net_send_offload(NetPort *from, const uint8_t *frame, size_t len, const NetOffload *o)
{
    NetPort *to = from->peer;

    net_dump_frame(from, frame, len);
    if (!net_port_link(from) || len > NET_FRAME_MAX || len == 0) {
        from->dropped++;
        return true;
    }
    net_dump_frame(to, frame, len);
    if (net_buffer_hold(from, true, frame, len, o) || net_buffer_hold(to, false, frame, len, o))
        return true;
    return net_send_buffered(from, frame, len, o);
}

bool net_send(NetPort *from, const uint8_t *frame, size_t len)
{
    return net_send_offload(from, frame, len, &nothing);
}

void net_burst(NetPort *p, bool more)
{
    NetPort *to = p->peer;

    if (!to)
        return;
    to->more = more;
    if (!more && to->ops->burst_over)
        to->ops->burst_over(to->opaque);
}

static gboolean ready_again(gpointer opaque)
{
    NetPort *p = opaque;

    p->again = 0;
    net_port_ready(p);
    return G_SOURCE_REMOVE;
}

/* A sender that is woken refills the queue: what is left after a full round goes on from the main loop. */
void net_port_ready(NetPort *p)
{
    unsigned budget = NET_QUEUE_MAX;
    NetQueued *q;

    while (budget-- && (q = g_queue_pop_head(&p->queue))) {
        if (!deliver(p, q->data, q->len, &q->offload)) {
            g_queue_push_head(&p->queue, q);
            return;
        }
        g_free(q);
    }
    if (!g_queue_is_empty(&p->queue) && !p->again)
        p->again = g_timeout_add(0, ready_again, p);
    if (p->sender_blocked && p->queue.length < NET_QUEUE_MAX / 4) {
        p->sender_blocked = false;
        if (p->peer && p->peer->ops->writable)
            p->peer->ops->writable(p->peer->opaque);
    }
}

