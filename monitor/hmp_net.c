/*
 * hmp_net: monitor commands about the network, and the back-ends behind netdev_add and -netdev.
 *
 * The machine's back-ends are the "netports" service, in order of their making.
 */
#include "monitor/hmp_int.h"

#include "hw/core/device.h"
#include "net/net.h"

#include <string.h>

HmpFn hmp_info_network, hmp_info_usernet, hmp_set_link, hmp_hostfwd_add, hmp_hostfwd_remove, hmp_netdev_add,
      hmp_netdev_del, hmp_announce_self;

/* Lists of strings in QMP's form ("hostfwd.0.str", "dnssearch.1.str") are repeated keys in ours. */
static void plain_lists(OptList *o)
{
    for (unsigned i = 0; i < o->items->len; i++) {
        OptItem *it = g_ptr_array_index(o->items, i);
        char *dot = strchr(it->key, '.');

        if (dot && g_ascii_isdigit(dot[1]))
            *dot = 0;
    }
}

bool netdev_add(Machine *m, OptList *o, GError **err)
{
    GPtrArray *ports = machine_service(m, "netports");
    const char *id = optlist_str(o, "id", NULL), *type = optlist_str(o, "type", "");
    const char *behind = g_str_equal(type, "hubport") ? optlist_str(o, "netdev", NULL) : NULL;
    NetPort *p, *other = behind ? backend_find(m, "netdev", behind) : NULL;

    if (!id || !*id)
        return err_set(err, "id= is missing: the name a network card uses in netdev=");
    if (backend_find(m, "netdev", id))
        return err_set(err, "there is already a network back-end '%s'", id);
    if (behind && !other)
        return err_set_code(err, ERR_NOT_FOUND, "netdev=%s: there is no such network back-end (yet)", behind);
    plain_lists(o);
    p = net_backend_new(o, err);
    if (!p)
        return false;
    if (other && !net_port_plug(p, other, err)) {
        net_port_free(p);
        return false;
    }
    g_ptr_array_add(ports, p);
    backend_register(m, "netdev", id, p);
    return true;
}

bool netdev_del(Machine *m, const char *id, GError **err)
{
    NetPort *p = backend_find(m, "netdev", id);

    if (!p)
        return err_set_code(err, ERR_NOT_FOUND, "there is no netdev '%s'", id);
    backend_unregister(m, "netdev", id);
    g_ptr_array_remove(machine_service(m, "netports"), p);
    net_port_free(p);           /* a card behind it sees its cable pulled */
    return true;
}

void hmp_netdev_add(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;
    g_autoptr(OptList) o = optlist_parse(argc > 1 ? argv[1] : "", "type", &err);

    if (!o || !netdev_add(h->m, o, &err))
        hmp_error(h, err);
}

void hmp_netdev_del(Hmp *h, int argc, char **argv)
{
    GError *err = NULL;

    if (!netdev_del(h->m, argc > 1 ? argv[1] : "", &err))
        hmp_error(h, err);
}

static GPtrArray *ports_of(Hmp *h) { return machine_service(h->m, "netports"); }

static void describe_port(Hmp *h, const NetPort *p, const char *lead, int index)
{
    g_autofree char *more = p->ops && p->ops->describe ? p->ops->describe(p->opaque) : NULL;

    /* A back-end's own text starts with "type=". */
    if (more && g_str_has_prefix(more, "type="))
        hmp_printf(h, "%s%s: index=%d,%s\n", lead, p->id, index, more);
    else
        hmp_printf(h, "%s%s: index=%d,type=%s%s%s\n", lead, p->id, index, p->type, more ? "," : "", more ? more : "");
}

void hmp_info_network(Hmp *h, int argc, char **argv)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *p = g_ptr_array_index(ports, i);
        guint other;

        if (p->peer && g_ptr_array_find(ports, p->peer, &other) && other > i)
            continue;           /* a back-end behind a hub: shown with the hub's port */
        if (p->peer) {
            describe_port(h, p->peer, "", 0);
            describe_port(h, p, " \\ ", 0);
        } else {
            describe_port(h, p, "", 0);
        }
    }
}

void hmp_info_usernet(Hmp *h, int argc, char **argv)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++)
        hmp_take(h, net_user_describe(g_ptr_array_index(ports, i)));
}

static NetPort *port_find(Hmp *h, const char *name)
{
    GPtrArray *ports = ports_of(h);

    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *p = g_ptr_array_index(ports, i);

        if (!strcmp(p->id, name))
            return p;
        if (p->peer && !strcmp(p->peer->id, name))
            return p->peer;
    }
    return NULL;
}

void hmp_set_link(Hmp *h, int argc, char **argv)
{
    NetPort *p = argc == 3 ? port_find(h, argv[1]) : NULL;

    if (argc != 3)
        hmp_printf(h, "set_link NAME on|off\n");
    else if (!p)
        hmp_printf(h, "Error: there is no network port '%s'\n", argv[1]);
    else
        net_port_set_link(p, !strcmp(argv[2], "on"));
}

static void hostfwd(Hmp *h, int argc, char **argv, bool add)
{
    GPtrArray *ports = ports_of(h);
    NetPort *p = NULL;
    GError *err = NULL;

    if (argc < 2) {
        hmp_printf(h, "%s [id] tcp|udp:[addr]:port-[addr]:port\n", argv[0]);
        return;
    }
    if (argc > 2)
        p = port_find(h, argv[1]);
    for (unsigned i = 0; !p && argc == 2 && ports && i < ports->len; i++)
        if (!strcmp(((NetPort *)g_ptr_array_index(ports, i))->type, "user"))
            p = g_ptr_array_index(ports, i);
    if (!p)
        hmp_printf(h, "Error: there is no such user network\n");
    else if (!(add ? net_user_hostfwd_add(p, argv[argc - 1], &err) : net_user_hostfwd_remove(p, argv[argc - 1], &err)))
        hmp_error(h, err);
}

void hmp_hostfwd_add(Hmp *h, int argc, char **argv) { hostfwd(h, argc, argv, true); }
void hmp_hostfwd_remove(Hmp *h, int argc, char **argv) { hostfwd(h, argc, argv, false); }

bool announce_self(Machine *m, const NetAnnouncePlan *plan, char **names, GError **err)
{
    GPtrArray *ports = machine_service(m, "netports");

    for (char **name = names; name && *name; name++) {
        bool found = false;

        for (unsigned i = 0; ports && i < ports->len; i++) {
            const NetPort *card = ((NetPort *)g_ptr_array_index(ports, i))->peer;

            found |= card && card->ops->announce && !strcmp(card->id, *name);
        }
        if (!found)
            return err_set_code(err, ERR_NOT_FOUND, "there is no network card '%s' with a back-end", *name);
    }
    for (unsigned i = 0; ports && i < ports->len; i++) {
        NetPort *card = ((NetPort *)g_ptr_array_index(ports, i))->peer;

        if (card && (!names || g_strv_contains((const char *const *)names, card->id)))
            net_announce(card, plan);
    }
    return true;
}

void hmp_announce_self(Hmp *h, int argc, char **argv)
{
    static const NetAnnouncePlan plan = { .initial_ms = 50, .max_ms = 550, .rounds = 5, .step_ms = 100 };
    g_auto(GStrv) names = argc > 1 && *argv[1] ? g_strsplit(argv[1], ",", -1) : NULL;
    GError *err = NULL;

    if (!announce_self(h->m, &plan, names, &err))
        hmp_error(h, err);
}
