/* netopts: -netdev, -nic and -net become network back-ends and the board's network cards. */
#include "cli/cli.h"

#include "monitor/monitor.h"
#include "net/net.h"

static const char *const nic_keys[] = { "model", "mac", "macaddr", "addr", "vectors", "bootindex", NULL };

static void nic_add(Cli *cli, const char *model, const char *netdev, const char *mac, const char *addr)
{
    GString *t = g_string_new(model);

    if (netdev)
        g_string_append_printf(t, ",netdev=%s", netdev);
    if (mac)
        g_string_append_printf(t, ",mac=%s", mac);
    if (addr)
        g_string_append_printf(t, ",addr=%s", addr);
    if (!cli->cfg.nics)
        cli->cfg.nics = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(cli->cfg.nics, g_string_free(t, false));
}

static bool netdev_one(Services *s, const char *text, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "type", err);

    return l && netdev_add(s->m, l, err);
}

static const char *model_class(const char *model, GError **err)
{
    const DeviceClass *cls;

    if (!strcmp(model, "virtio"))
        model = "virtio-net-pci";
    cls = device_class_for_user(model, err);
    return cls ? cls->name : NULL;
}

static const char *default_model(void)
{
    static const char *const order[] = { "e1000", "virtio-net-pci", "rtl8139", "ne2k_pci" };

    for (size_t i = 0; i < G_N_ELEMENTS(order); i++)
        if (device_class_find(order[i]))
            return order[i];
    return NULL;
}

/* -nic: both ends in one option. */
static bool nic_one(Services *s, Cli *cli, const char *text, unsigned n, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "type", err), back = NULL;
    g_autofree char *made = NULL;
    const char *type, *model, *mac, *addr, *id;

    if (!l)
        return false;
    type = optlist_str(l, "type", "user");
    if (!strcmp(type, "none"))
        return true;
    model = optlist_str(l, "model", default_model());
    mac = optlist_str(l, "mac", optlist_str(l, "macaddr", NULL));
    addr = optlist_str(l, "addr", NULL);
    if (!model)
        return err_set(err, "no network card is available");
    model = model_class(model, err);
    if (!model)
        return false;
    id = made = g_strdup(optlist_str(l, "id", NULL));
    if (!id)
        id = made = g_strdup_printf("#net%u", n);
    back = optlist_new();
    optlist_add(back, "type", type);
    optlist_add(back, "id", id);
    for (unsigned i = 0; i < l->items->len; i++) {
        OptItem *it = g_ptr_array_index(l->items, i);

        if (!g_strv_contains(nic_keys, it->key) && strcmp(it->key, "type") && strcmp(it->key, "id"))
            optlist_add(back, it->key, it->value);
    }
    if (!netdev_add(s->m, back, err))
        return false;
    nic_add(cli, model, id, mac, addr);
    return true;
}

/* -net nic / -net TYPE: the n-th of one kind meets the n-th of the other. */
typedef struct OldNet { GPtrArray *cards, *backs; } OldNet;

static bool net_one(Services *s, Cli *cli, const char *text, OldNet *old, unsigned n, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "type", err);
    g_autofree char *made = NULL;
    const char *type;

    if (!l)
        return false;
    type = optlist_str(l, "type", "");
    if (!strcmp(type, "none"))
        return true;
    if (!strcmp(type, "nic")) {
        const char *netdev = optlist_str(l, "netdev", NULL), *model = optlist_str(l, "model", default_model());
        const char *mac = optlist_str(l, "macaddr", optlist_str(l, "mac", NULL));
        const char *addr = optlist_str(l, "addr", NULL);

        optlist_str(l, "name", NULL);
        optlist_str(l, "vectors", NULL);
        if (!optlist_check_unused(l, err))
            return false;
        if (!model)
            return err_set(err, "no network card is available");
        model = model_class(model, err);
        if (!model)
            return false;
        if (netdev)
            nic_add(cli, model, netdev, mac, addr);
        else
            g_ptr_array_add(old->cards, g_strdup_printf("%s%s%s", model, mac ? ",mac=" : "", mac ? mac : ""));
        return true;
    }
    made = g_strdup(optlist_str(l, "id", optlist_str(l, "name", NULL)));
    if (!made)
        made = g_strdup_printf("#net%u", n);
    if (!optlist_has(l, "id"))
        optlist_add(l, "id", made);
    if (!netdev_add(s->m, l, err))
        return false;
    g_ptr_array_add(old->backs, g_strdup(made));
    return true;
}

static void old_pair(Cli *cli, OldNet *old)
{
    for (unsigned i = 0; i < old->cards->len; i++) {
        const char *card = g_ptr_array_index(old->cards, i);
        g_auto(GStrv) parts = g_strsplit(card, ",mac=", 2);

        nic_add(cli, parts[0], i < old->backs->len ? g_ptr_array_index(old->backs, i) : NULL, parts[1], NULL);
    }
    g_ptr_array_free(old->cards, true);
    g_ptr_array_free(old->backs, true);
}

bool net_options(Services *s, Cli *cli, GError **err)
{
    OldNet old = { g_ptr_array_new_with_free_func(g_free), g_ptr_array_new_with_free_func(g_free) };
    bool ok = true;

    for (unsigned i = 0; ok && i < cli->netdevs->len; i++) {
        CliItem *it = g_ptr_array_index(cli->netdevs, i);

        ok = netdev_one(s, it->text, err) || err_prefix(err, "-netdev %s", it->text);
    }
    for (unsigned i = 0; ok && i < cli->nets->len; i++) {
        CliItem *it = g_ptr_array_index(cli->nets, i);

        ok = (strcmp(it->option, "-nic") ? net_one(s, cli, it->text, &old, i, err)
                                         : nic_one(s, cli, it->text, i, err)) ||
             err_prefix(err, "%s %s", it->option, it->text);
    }
    old_pair(cli, &old);
    if (ok && !cli->netdevs->len && !cli->nets->len && !cli->cfg.nodefaults && default_model() &&
        g_strcmp0(cli->machine_type, "none"))
        ok = nic_one(s, cli, "user", 0, err);
    return ok;
}

void net_warn_unused(Services *s)
{
    for (unsigned i = 0; i < s->netports->len; i++) {
        NetPort *p = g_ptr_array_index(s->netports, i);

        if (!p->peer && strcmp(p->type, "hubport"))
            log_warn("no network card uses the back-end '%s': add -device e1000,netdev=%s", p->id, p->id);
    }
}
