/* qmp_net: QMP commands about the network. */
#include "monitor/qmp_int.h"

#include "net/net.h"

QmpFn qmp_netdev_add, qmp_netdev_del, qmp_query_rx_filter;

JsonNode *qmp_netdev_add(Qmp *q, JsonObject *args, GError **err)
{
    g_autoptr(OptList) o = qmp_options(args, err);

    if (o && netdev_add(q->m, o, err))
        return NULL;
    return NULL;
}

JsonNode *qmp_netdev_del(Qmp *q, JsonObject *args, GError **err)
{
    (void)!netdev_del(q->m, qmp_str(args, "id", ""), err);
    return NULL;
}

/* Of each card behind a back-end that has something to tell, or of the one named. */
JsonNode *qmp_query_rx_filter(Qmp *q, JsonObject *args, GError **err)
{
    GPtrArray *ports = machine_service(q->m, "netports");
    const char *name = qmp_str(args, "name", NULL);
    g_autoptr(GString) out = g_string_new("[");
    bool found = false;

    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *card = ((NetPort *)g_ptr_array_index(ports, i))->peer;

        if (!card || (name && strcmp(name, card->id)))
            continue;
        found = true;
        if (card->ops->rx_filter) {
            g_autofree char *members = card->ops->rx_filter(card->opaque);

            g_string_append_printf(out, "%s{\"name\": \"%s\", %s}", out->len > 1 ? ", " : "", card->id, members);
        } else if (name) {
            err_set(err, "network card '%s' has no receive filter to query", name);
            return NULL;
        }
    }
    if (name && !found) {
        err_set_code(err, ERR_NOT_FOUND, "there is no network card '%s'", name);
        return NULL;
    }
    g_string_append_c(out, ']');
    return qmp_node("%s", out->str);
}
