/* backend: -netdev types by name. */
#include "net/net_int.h"

#include "util/bytes.h"

static const struct {
    const char *type;
    NetBackendFn *create;
    const char *help;
} types[] = {
    { "user", net_user_new, "user-mode network (NAT, DHCP, DNS, TFTP); needs no privileges" },
    { "tap", net_tap_new, "host tap interface: ifname= or fd=, queues=, vnet_hdr=, script=, downscript=" },
    { "socket", net_socket_new, "link to another VM: listen=, connect=, mcast=, udp=" },
    { "stream", net_stream_new, "stream socket: server=, addr.type=inet|unix|fd, reconnect= (passt)" },
    { "dgram", net_dgram_new, "datagram socket: local.*, remote.*" },
    { "hubport", net_hubport_new, "port of a virtual hub: hubid=, netdev= (another back-end behind it)" },
};

NetPort *net_backend_new(OptList *opts, GError **err)
{
    const char *type = optlist_str(opts, "type", NULL), *id = optlist_str(opts, "id", NULL);
    const char *names[ARRAY_LEN(types) + 1] = { NULL };
    const char *near;

    if (!type) {
        err_set(err, "which type of network? try user; -netdev help lists them");
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        names[i] = types[i].type;
        if (g_str_equal(type, types[i].type))
            return types[i].create(id ? id : type, opts, err);
    }
    near = nearest_name(type, names);
    err_set(err, "unknown network type '%s'%s%s%s; -netdev help lists them", type,
            near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return NULL;
}

char *net_backend_help(void)
{
    GString *s = g_string_new("Available netdev backend types:\n");

    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        g_string_append_printf(s, "%-10s %s\n", types[i].type, types[i].help);
    return g_string_free(s, FALSE);
}
