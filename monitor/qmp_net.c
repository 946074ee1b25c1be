/* qmp_net: QMP commands about the network. */
#include "monitor/qmp_int.h"

#include "net/net.h"

QmpFn qmp_netdev_add, qmp_netdev_del, qmp_query_rx_filter, qmp_announce_self;

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

JsonNode *qmp_announce_self(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *list = json_object_has_member(args, "interfaces") ? json_object_get_array_member(args, "interfaces") : NULL;
    g_autoptr(GStrvBuilder) b = g_strv_builder_new();
    g_auto(GStrv) names = NULL;
    const char *keys[] = { "initial", "max", "rounds", "step" };
    unsigned v[ARRAY_LEN(keys)];

    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        int64_t n = qmp_int(args, keys[i], 0);

        if (n < (i == 2) || n > (i == 2 ? 1000 : 100000)) {
            err_set(err, "%s=%lld: %s", keys[i], (long long)n, i == 2 ? "1 to 1000 rounds" : "0 to 100000 ms");
            return NULL;
        }
        v[i] = n;
    }
    for (guint i = 0; list && i < json_array_get_length(list); i++) {
        const char *name = json_node_get_value_type(json_array_get_element(list, i)) == G_TYPE_STRING ?
                           json_array_get_string_element(list, i) : "";

        g_strv_builder_add(b, name);
    }
    names = list && json_array_get_length(list) ? g_strv_builder_end(b) : NULL;
    (void)!announce_self(q->m, &(NetAnnouncePlan) { v[0], v[1], v[2], v[3] }, names, err);
    return NULL;
}
