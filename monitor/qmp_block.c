/* qmp_block: QMP commands on drives and block nodes. */
#include "monitor/qmp_int.h"

#include "block/block.h"
#include "block/image.h"

QmpFn qmp_query_block, qmp_query_blockstats, qmp_eject, qmp_change_medium, qmp_blockdev_add, qmp_blockdev_del;

static BlockGraph *graph_of(Qmp *q) { return machine_service(q->m, "block"); }

static JsonObject *describe_medium(BlockDev *d, BlockNode *n)
{
    JsonObject *o = json_object_new(), *image = json_object_new(), *cache = json_object_new();
    const char *file = block_node_filename(n) ? block_node_filename(n) : "";

    json_object_set_string_member(o, "file", file);
    json_object_set_string_member(o, "node-name", block_node_name(n));
    json_object_set_string_member(o, "drv", block_node_format(n));
    json_object_set_boolean_member(o, "ro", block_dev_read_only(d));
    json_object_set_boolean_member(o, "encrypted", false);
    json_object_set_int_member(o, "backing_file_depth", block_node_backing(n) ? 1 : 0);
    json_object_set_boolean_member(cache, "writeback", block_dev_wce(d));
    json_object_set_boolean_member(cache, "direct", false);
    json_object_set_boolean_member(cache, "no-flush", false);
    json_object_set_object_member(o, "cache", cache);
    json_object_set_string_member(image, "filename", file);
    json_object_set_string_member(image, "format", block_node_format(n));
    json_object_set_int_member(image, "virtual-size", block_node_size(n));
    json_object_set_object_member(o, "image", image);
    return o;
}

JsonNode *qmp_query_block(Qmp *q, JsonObject *args, GError **err)
{
    BlockGraph *g = graph_of(q);
    JsonArray *a = json_array_new();

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d)) {
        JsonObject *o = json_object_new();
        BlockNode *n = block_dev_node(d);
        bool cd = block_drive_place(d)->cdrom || !n;

        json_object_set_string_member(o, "device", block_dev_name(d));
        json_object_set_string_member(o, "qdev", block_dev_device_id(d));
        json_object_set_string_member(o, "type", "unknown");
        json_object_set_boolean_member(o, "removable", cd);
        json_object_set_boolean_member(o, "locked", block_dev_locked(d));
        if (cd)
            json_object_set_boolean_member(o, "tray_open", block_dev_tray_open(d));
        json_object_set_string_member(o, "io-status", "ok");
        if (n)
            json_object_set_object_member(o, "inserted", describe_medium(d, n));
        json_array_add_object_element(a, o);
    }
    return qmp_take_array(a);
}

JsonNode *qmp_query_blockstats(Qmp *q, JsonObject *args, GError **err)
{
    static const char *const what[] = { "rd", "wr", "flush", "unmap" };        /* ORDER: BLOCK_STAT_* */
    BlockGraph *g = graph_of(q);
    JsonArray *a = json_array_new();

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d)) {
        const BlockStats *st = block_dev_stats(d);
        JsonObject *o = json_object_new(), *s = json_object_new();

        for (int i = 0; i < 4; i++) {
            g_autofree char *ops = g_strdup_printf("%s_operations", what[i]), *bytes = g_strdup_printf("%s_bytes", what[i]);
            g_autofree char *ns = g_strdup_printf("%s_total_time_ns", what[i]);

            json_object_set_int_member(s, ops, st->ops[i]);
            json_object_set_int_member(s, ns, st->total_ns[i]);
            if (i != BLOCK_STAT_FLUSH)
                json_object_set_int_member(s, bytes, st->bytes[i]);
        }
        json_object_set_int_member(s, "wr_highest_offset", st->wr_highest);
        json_object_set_string_member(o, "device", block_dev_name(d));
        json_object_set_object_member(o, "stats", s);
        json_array_add_object_element(a, o);
    }
    return qmp_take_array(a);
}

static BlockDev *drive_arg(Qmp *q, JsonObject *args, GError **err)
{
    const char *name = qmp_str(args, "id", qmp_str(args, "device", ""));
    BlockGraph *g = graph_of(q);

    for (BlockDev *d = g ? block_drive_next(g, NULL) : NULL; d; d = block_drive_next(g, d))
        if (!strcmp(block_dev_name(d), name) || !strcmp(block_dev_device_id(d), name))
            return d;
    err_set_code(err, ERR_NOT_FOUND, "Device '%s' not found", name);
    return NULL;
}

JsonNode *qmp_eject(Qmp *q, JsonObject *args, GError **err)
{
    BlockDev *d = drive_arg(q, args, err);

    if (d && block_dev_eject(d, qmp_bool(args, "force", false), err))
        return NULL;
    return NULL;
}

JsonNode *qmp_change_medium(Qmp *q, JsonObject *args, GError **err)
{
    BlockDev *d = drive_arg(q, args, err);

    if (d && block_dev_change_medium(d, qmp_str(args, "filename", ""), qmp_str(args, "format", NULL), err))
        return NULL;
    return NULL;
}

JsonNode *qmp_blockdev_add(Qmp *q, JsonObject *args, GError **err)
{
    g_autoptr(JsonNode) n = json_node_new(JSON_NODE_OBJECT);
    g_autoptr(GHashTable) opts = NULL;
    g_autofree char *text = NULL;

    json_node_set_object(n, args);
    text = json_to_string(n, false);
    opts = block_opts_parse(text, NULL, err);
    if (opts && graph_of(q) && block_blockdev_add(graph_of(q), opts, err))
        return NULL;
    return NULL;
}

JsonNode *qmp_blockdev_del(Qmp *q, JsonObject *args, GError **err)
{
    if (graph_of(q) && block_blockdev_del(graph_of(q), qmp_str(args, "node-name", ""), err))
        return NULL;
    return NULL;
}
