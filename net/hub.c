/* hub: -netdev hubport: every frame from one port of a hub goes to all others. */
#include "net/net_int.h"

#include <string.h>

typedef struct Hub {
    unsigned id;
    GPtrArray *ports;           /* of HubPort */
} Hub;

typedef struct HubPort {
    NetPort *port;
    Hub *hub;
} HubPort;

static GPtrArray *hubs;         /* by id; machine lock; listed in docs/net.md */

static bool hub_receive(void *opaque, const uint8_t *frame, size_t len)
{
    HubPort *from = opaque;
    Hub *h = from->hub;

    for (guint i = 0; i < h->ports->len; i++) {
        HubPort *to = h->ports->pdata[i];

        if (to != from)
            net_send(to->port, frame, len);     /* a full port loses the frame, as on a wire */
    }
    return true;
}

static void hub_destroy(void *opaque)
{
    HubPort *p = opaque;
    Hub *h = p->hub;

    g_ptr_array_remove_fast(h->ports, p);
    if (!h->ports->len) {
        g_ptr_array_remove_fast(hubs, h);
        g_ptr_array_unref(h->ports);
        g_free(h);
    }
    g_free(p);
}

static char *hub_describe(void *opaque)
{
    return g_strdup_printf("type=hubport,hubid=%u", ((HubPort *)opaque)->hub->id);
}

static const NetPortOps hub_ops = { .receive = hub_receive, .destroy = hub_destroy, .describe = hub_describe };

static Hub *hub_get(unsigned id)
{
    Hub *h;

    if (!hubs)
        hubs = g_ptr_array_new();
    for (guint i = 0; i < hubs->len; i++) {
        h = hubs->pdata[i];
        if (h->id == id)
            return h;
    }
    h = g_new0(Hub, 1);
    h->id = id;
    h->ports = g_ptr_array_new();
    g_ptr_array_add(hubs, h);
    return h;
}

NetPort *net_hubport_new(const char *id, OptList *o, GError **err)
{
    uint64_t hubid;
    HubPort *p;

    optlist_has(o, "netdev");   /* who plugs it in knows the other back-ends: netdev_add() */
    if (!optlist_has(o, "hubid")) {
        err_set(err, "hubport: hubid= is missing: the number of the hub");
        return NULL;
    }
    if (!optlist_uint(o, "hubid", 0, 255, &hubid, err) || !optlist_check_unused(o, err))
        return NULL;
    p = g_new0(HubPort, 1);
    p->hub = hub_get(hubid);
    g_ptr_array_add(p->hub->ports, p);
    p->port = net_port_new("hubport", id, &hub_ops, p);
    return p->port;
}
