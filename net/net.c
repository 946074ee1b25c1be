/* net: ports, plugging, bounded queues and delivery. */
#include "net/net.h"

#include <stdio.h>
#include <string.h>

NetPort *net_port_new(const char *type, const char *id, const NetPortOps *ops, void *opaque)
{
    NetPort *p = g_new0(NetPort, 1);

    p->type = type;
    p->id = g_strdup(id);
    p->ops = ops;
    p->opaque = opaque;
    p->max_frame = 1522;
    g_queue_init(&p->queue);
    return p;
}

void net_port_free(NetPort *p)
{
    if (!p)
        return;
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
    return true;
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
    g_queue_clear_full(&p->queue, (GDestroyNotify)g_bytes_unref);
}

/* Tries the receiver; a receiver that sends from inside receive() sees `delivering` and is queued,
   so two ports that answer each other cannot recurse. */
static bool deliver(NetPort *to, const uint8_t *frame, size_t len)
{
    bool took;

    if (to->delivering || !g_queue_is_empty(&to->queue))
        return false;
    to->delivering = true;
    took = to->ops->receive(to->opaque, frame, len);
    to->delivering = false;
    if (took) {
        to->frames_in++;
        to->bytes_in += len;
    }
    return took;
}

bool net_send(NetPort *from, const uint8_t *frame, size_t len)
{
    NetPort *to = from->peer;

    net_dump_frame(from, frame, len);
    if (!net_port_link(from) || len > NET_FRAME_MAX || len == 0) {
        from->dropped++;
        return true;
    }
    net_dump_frame(to, frame, len);
    if (deliver(to, frame, len)) {
        if (!g_queue_is_empty(&to->queue))
            net_port_ready(to);         /* frames queued while it was delivering */
        return true;
    }
    if (to->queue.length >= NET_QUEUE_MAX) {
        from->dropped++;
        to->sender_blocked = true;
        return false;
    }
    g_queue_push_tail(&to->queue, g_bytes_new(frame, len));
    if (to->queue.length >= NET_QUEUE_MAX / 2)
        to->sender_blocked = true;
    return !to->sender_blocked;
}

bool net_sendv(NetPort *from, const struct iovec *iov, int iovcnt)
{
    g_autofree uint8_t *buf = NULL;
    size_t len = 0, at = 0;

    if (iovcnt == 1)
        return net_send(from, iov->iov_base, iov->iov_len);
    for (int i = 0; i < iovcnt; i++)
        len += iov[i].iov_len;
    if (len > NET_FRAME_MAX) {
        from->dropped++;
        return true;
    }
    buf = g_malloc(len);
    for (int i = 0; i < iovcnt; i++) {
        memcpy(buf + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    return net_send(from, buf, len);
}

void net_port_ready(NetPort *p)
{
    unsigned budget = NET_QUEUE_MAX;

    while (budget-- && !p->delivering && !g_queue_is_empty(&p->queue)) {
        GBytes *b = g_queue_peek_head(&p->queue);
        gsize len;
        const uint8_t *data = g_bytes_get_data(b, &len);
        bool took;

        p->delivering = true;
        took = p->ops->receive(p->opaque, data, len);
        p->delivering = false;
        if (!took)
            return;
        p->frames_in++;
        p->bytes_in += len;
        if (g_queue_peek_head(&p->queue) == b) {        /* not purged by the receiver */
            g_queue_pop_head(&p->queue);
            g_bytes_unref(b);
        }
    }
    if (p->sender_blocked && p->queue.length < NET_QUEUE_MAX / 4) {
        p->sender_blocked = false;
        if (p->peer && p->peer->ops->writable)
            p->peer->ops->writable(p->peer->opaque);
    }
}

bool net_parse_mac(const char *text, uint8_t mac[NET_MAC_LEN], GError **err)
{
    unsigned b[NET_MAC_LEN];
    char end;

    if (sscanf(text, "%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%*1[:-]%2x%c",
               &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6)
        return err_set(err, "'%s' is not a MAC address such as 52:54:00:12:34:56", text);
    if (b[0] & 1)
        return err_set(err, "'%s' is a multicast address; the second digit must be even", text);
    for (int i = 0; i < NET_MAC_LEN; i++)
        mac[i] = b[i];
    return true;
}
