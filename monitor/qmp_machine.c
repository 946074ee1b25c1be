/* qmp_machine: QMP commands on the machine, its CPUs, devices and back-ends. */
#include "monitor/qmp_int.h"

#include "hw/core/iothread.h"
#include "hw/core/objects.h"
#include "hw/i386/board.h"
#include "net/net.h"
#include "softmmu/accel.h"
#include "softmmu/vcpu.h"
#include "target/x86/cpuid.h"
#include "ui/display.h"

QmpFn qmp_capabilities, qmp_query_version, qmp_query_status, qmp_query_name, qmp_query_uuid, qmp_query_kvm,
      qmp_query_target, qmp_query_machines, qmp_query_commands, qmp_query_cpus_fast, qmp_query_cpu_definitions,
      qmp_query_current_machine, qmp_query_memory_size_summary, qmp_query_chardev, qmp_empty_list, qmp_query_iothreads, qmp_stop, qmp_cont,
      qmp_quit, qmp_system_reset, qmp_system_powerdown, qmp_system_wakeup, qmp_inject_nmi, qmp_set_action,
      qmp_human_monitor_command, qmp_device_add, qmp_device_del, qmp_device_list_properties, qmp_qom_list_types,
      qmp_object_add, qmp_object_del, qmp_memsave, qmp_pmemsave, qmp_screendump, qmp_send_key, qmp_set_link,
      qmp_chardev_remove, qmp_ringbuf_read, qmp_ringbuf_write;

JsonNode *qmp_capabilities(Qmp *q, JsonObject *args, GError **err)
{
    if (q->ready)
        err_set(err, "Capabilities negotiation is already complete, command ignored");
    q->ready = true;
    return NULL;
}

JsonNode *qmp_query_version(Qmp *q, JsonObject *args, GError **err)
{
    return qmp_node("{\"qemu\": {\"micro\": 0, \"minor\": 2, \"major\": 7}, \"package\": \"quern 0.1\"}");
}

JsonNode *qmp_query_status(Qmp *q, JsonObject *args, GError **err)
{
    return qmp_node("{\"status\": \"%s\", \"singlestep\": false, \"running\": %s}", run_state_name(q->m->state),
                    q->m->state == RUN_RUNNING ? "true" : "false");
}

JsonNode *qmp_query_name(Qmp *q, JsonObject *args, GError **err)
{
    JsonObject *o = json_object_new();

    if (q->m->name)
        json_object_set_string_member(o, "name", q->m->name);
    return qmp_take_object(o);
}

JsonNode *qmp_query_uuid(Qmp *q, JsonObject *args, GError **err)
{
    g_autofree char *text = hmp_run(q->m, "info uuid", -1);

    return qmp_node("{\"UUID\": \"%s\"}", g_strchomp(text));
}

JsonNode *qmp_query_kvm(Qmp *q, JsonObject *args, GError **err)
{
    bool on = q->m->accel && !strcmp(q->m->accel->name, "kvm");

    return qmp_node("{\"enabled\": %s, \"present\": %s}", on ? "true" : "false", accel_find("kvm") ? "true" : "false");
}

JsonNode *qmp_query_target(Qmp *q, JsonObject *args, GError **err) { return qmp_node("{\"arch\": \"x86_64\"}"); }
static void add_iothread(const char *id, void *backend, void *opaque)
{
    JsonObject *o = json_object_new();

    json_object_set_string_member(o, "id", id);
    json_object_set_int_member(o, "thread-id", iothread_tid(backend));
    json_object_set_int_member(o, "poll-max-ns", 0);
    json_object_set_int_member(o, "poll-grow", 0);
    json_object_set_int_member(o, "poll-shrink", 0);
    json_object_set_int_member(o, "aio-max-batch", 0);
    json_array_add_object_element(opaque, o);
}

JsonNode *qmp_query_iothreads(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();

    backend_each(q->m, "iothread", add_iothread, a);
    return qmp_take_array(a);
}

JsonNode *qmp_empty_list(Qmp *q, JsonObject *args, GError **err) { return qmp_take_array(json_array_new()); }

JsonNode *qmp_query_machines(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();

    for (const BoardClass *const *b = board_class_list(); *b; b++) {
        JsonObject *o = json_object_new();

        json_object_set_string_member(o, "name", (*b)->name);
        if ((*b)->alias)
            json_object_set_string_member(o, "alias", (*b)->alias);
        if ((*b)->is_default)
            json_object_set_boolean_member(o, "is-default", true);
        json_object_set_int_member(o, "cpu-max", MAX((*b)->max_cpus, 1));
        json_object_set_boolean_member(o, "hotpluggable-cpus", false);
        json_object_set_boolean_member(o, "numa-mem-supported", false);
        json_object_set_boolean_member(o, "deprecated", false);
        json_object_set_boolean_member(o, "acpi", true);
        json_array_add_object_element(a, o);
    }
    return qmp_take_array(a);
}

JsonNode *qmp_query_current_machine(Qmp *q, JsonObject *args, GError **err)
{
    return qmp_node("{\"wakeup-suspend-support\": true}");
}

JsonNode *qmp_query_commands(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();
    size_t n;
    const QmpCmd *c = qmp_commands(&n);

    for (size_t i = 0; i < n; i++) {
        JsonObject *o = json_object_new();

        json_object_set_string_member(o, "name", c[i].name);
        json_array_add_object_element(a, o);
    }
    return qmp_take_array(a);
}

JsonNode *qmp_query_cpus_fast(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();

    for (unsigned i = 0; i < q->m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(q->m->vcpus, i);

        json_array_add_element(a, qmp_node("{\"cpu-index\": %u, \"thread-id\": %d, \"target\": \"x86_64\", "
            "\"qom-path\": \"/machine/unattached/device[%u]\", \"props\": {\"core-id\": 0, \"thread-id\": 0, "
            "\"socket-id\": %u}}", i, v->host_tid, i, i));
    }
    return qmp_take_array(a);
}

JsonNode *qmp_query_cpu_definitions(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();

    for (const char *const *n = x86_model_names(); *n; n++)
        json_array_add_element(a, qmp_node("{\"name\": \"%s\", \"typename\": \"%s-x86_64-cpu\", \"static\": false, "
            "\"migration-safe\": true, \"unavailable-features\": [], \"deprecated\": false}", *n, *n));
    return qmp_take_array(a);
}

JsonNode *qmp_query_memory_size_summary(Qmp *q, JsonObject *args, GError **err)
{
    return qmp_node("{\"base-memory\": %" G_GUINT64_FORMAT ", \"plugged-memory\": 0}", q->m->ram_size);
}

/* --- run control --- */

JsonNode *qmp_stop(Qmp *q, JsonObject *args, GError **err)
{
    machine_stop(q->m, RUN_PAUSED);
    return NULL;
}

JsonNode *qmp_cont(Qmp *q, JsonObject *args, GError **err)
{
    if (q->m->state == RUN_SHUTDOWN || q->m->state == RUN_INTERNAL_ERROR)
        err_set(err, "Resetting the Virtual Machine is required");
    else if (q->m->state == RUN_SUSPENDED)
        machine_wakeup(q->m);
    else
        machine_start(q->m);
    return NULL;
}

JsonNode *qmp_quit(Qmp *q, JsonObject *args, GError **err)
{
    machine_request_shutdown(q->m, CAUSE_HOST_QMP_QUIT);
    return NULL;
}

JsonNode *qmp_system_reset(Qmp *q, JsonObject *args, GError **err)
{
    machine_request_reset(q->m, CAUSE_HOST_QMP_RESET);
    return NULL;
}

JsonNode *qmp_system_powerdown(Qmp *q, JsonObject *args, GError **err)
{
    machine_request_powerdown(q->m);
    return NULL;
}

JsonNode *qmp_system_wakeup(Qmp *q, JsonObject *args, GError **err)
{
    machine_wakeup(q->m);
    return NULL;
}

JsonNode *qmp_inject_nmi(Qmp *q, JsonObject *args, GError **err)
{
    board_inject_nmi(q->m);
    return NULL;
}

JsonNode *qmp_set_action(Qmp *q, JsonObject *args, GError **err)
{
    const char *reboot = qmp_str(args, "reboot", NULL), *shutdown = qmp_str(args, "shutdown", NULL);

    if (reboot)
        q->m->no_reboot = !strcmp(reboot, "shutdown");
    if (shutdown)
        q->m->no_shutdown = !strcmp(shutdown, "pause");
    return NULL;
}

JsonNode *qmp_human_monitor_command(Qmp *q, JsonObject *args, GError **err)
{
    g_autofree char *text = hmp_run(q->m, qmp_str(args, "command-line", ""), qmp_int(args, "cpu-index", -1));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *crlf = g_strjoinv("\r\n", lines);
    JsonNode *n = json_node_new(JSON_NODE_VALUE);

    json_node_set_string(n, crlf);
    return n;
}

/* --- devices and objects --- */

OptList *qmp_options(JsonObject *args, GError **err)
{
    g_autoptr(JsonNode) n = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_node_set_object(n, args);
    text = json_to_string(n, false);
    return optlist_parse(text, NULL, err);
}

JsonNode *qmp_device_add(Qmp *q, JsonObject *args, GError **err)
{
    g_autoptr(OptList) l = qmp_options(args, err);

    if (l && device_add(q->m, l, err))
        return NULL;
    return NULL;
}

JsonNode *qmp_device_del(Qmp *q, JsonObject *args, GError **err)
{
    const char *id = qmp_str(args, "id", "");
    Device *d = device_find(q->m, id);

    if (!d)
        err_set_code(err, ERR_NOT_FOUND, "Device '%s' not found", id);
    else
        (void)!device_unplug_request(d, err);
    return NULL;
}

JsonNode *qmp_device_list_properties(Qmp *q, JsonObject *args, GError **err)
{
    const char *name = qmp_str(args, "typename", "");
    const DeviceClass *cls = device_class_find(name);
    JsonArray *a;

    if (!cls) {
        err_set_code(err, ERR_NOT_FOUND, "Device '%s' not found", name);
        return NULL;
    }
    a = json_array_new();
    for (const PropDesc *p = cls->props; p && p->kind != PROP_END_; p++) {
        JsonObject *o = json_object_new();

        json_object_set_string_member(o, "name", p->name);
        json_object_set_string_member(o, "type", p->kind == PROP_BOOL_ ? "bool" : p->kind == PROP_UINT_ ? "uint64" :
                                      p->kind == PROP_INT_ ? "int64" : p->kind == PROP_SIZE_ ? "size" : "str");
        if (p->help)
            json_object_set_string_member(o, "description", p->help);
        json_array_add_object_element(a, o);
    }
    return qmp_take_array(a);
}

JsonNode *qmp_qom_list_types(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *a = json_array_new();

    for (const DeviceClass *const *c = device_class_list(); *c; c++)
        json_array_add_element(a, qmp_node("{\"name\": \"%s\", \"parent\": \"device\"}", (*c)->name));
    return qmp_take_array(a);
}

static void optlist_drop(void *data) { optlist_free(data); }

JsonNode *qmp_object_add(Qmp *q, JsonObject *args, GError **err)
{
    OptList *l = qmp_options(args, err);

    if (l)
        machine_on_free(q->m, optlist_drop, l);
    if (l && object_add(q->m, l, err))
        return NULL;
    return NULL;
}

JsonNode *qmp_object_del(Qmp *q, JsonObject *args, GError **err)
{
    if (object_del(q->m, qmp_str(args, "id", ""), err))
        return NULL;
    return NULL;
}

/* --- commands whose work the monitor for people does; any text from it is an error --- */

static JsonNode *through_hmp(Qmp *q, char *line, int cpu, GError **err)
{
    g_autofree char *text = hmp_run(q->m, line, cpu);

    if (*g_strchomp(text))
        err_set(err, "%s", g_str_has_prefix(text, "Error: ") ? text + 7 : text);
    g_free(line);
    return NULL;
}

JsonNode *qmp_memsave(Qmp *q, JsonObject *args, GError **err)
{
    return through_hmp(q, g_strdup_printf("memsave %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " \"%s\"",
        (gint64)qmp_int(args, "val", 0), (gint64)qmp_int(args, "size", 0), qmp_str(args, "filename", "")),
        qmp_int(args, "cpu-index", -1), err);
}

JsonNode *qmp_pmemsave(Qmp *q, JsonObject *args, GError **err)
{
    return through_hmp(q, g_strdup_printf("pmemsave %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " \"%s\"",
        (gint64)qmp_int(args, "val", 0), (gint64)qmp_int(args, "size", 0), qmp_str(args, "filename", "")), -1, err);
}

JsonNode *qmp_set_link(Qmp *q, JsonObject *args, GError **err)
{
    return through_hmp(q, g_strdup_printf("set_link \"%s\" %s", qmp_str(args, "name", ""),
                       qmp_bool(args, "up", true) ? "on" : "off"), -1, err);
}

JsonNode *qmp_screendump(Qmp *q, JsonObject *args, GError **err)
{
    Ui *ui = machine_service(q->m, "ui");

    if (!ui)
        err_set(err, "There is no console to take a screendump from");
    else if (!ui_screendump(ui, NULL, qmp_str(args, "filename", ""), qmp_str(args, "format", NULL), err))
        return NULL;
    return NULL;
}

JsonNode *qmp_send_key(Qmp *q, JsonObject *args, GError **err)
{
    JsonArray *keys = json_object_get_array_member(args, "keys");
    g_autoptr(GString) combo = g_string_new(NULL);
    Ui *ui = machine_service(q->m, "ui");

    for (guint i = 0; i < json_array_get_length(keys); i++) {
        JsonNode *n = json_array_get_element(keys, i);
        JsonObject *o = JSON_NODE_HOLDS_OBJECT(n) ? json_node_get_object(n) : NULL;
        JsonNode *data = o ? json_object_get_member(o, "data") : NULL;

        if (!data || !JSON_NODE_HOLDS_VALUE(data)) {
            err_set(err, "a key is {\"type\": \"qcode\", \"data\": NAME}");
            return NULL;
        }
        if (json_node_get_value_type(data) == G_TYPE_INT64)
            g_string_append_printf(combo, "%s0x%x", i ? "-" : "", (unsigned)json_node_get_int(data));
        else
            g_string_append_printf(combo, "%s%s", i ? "-" : "", json_node_get_string(data));
    }
    if (ui && !ui_send_keys(ui, combo->str, qmp_int(args, "hold-time", 0), err))
        return NULL;
    return NULL;
}

/* --- character devices --- */

static void list_chardev(void *opaque, Chardev *chr)
{
    JsonObject *o = json_object_new();
    g_autofree char *text = chardev_describe(chr);

    json_object_set_string_member(o, "label", chardev_id(chr));
    json_object_set_string_member(o, "filename", text);
    json_object_set_boolean_member(o, "frontend-open", chardev_in_use(chr));
    json_array_add_object_element(opaque, o);
}

JsonNode *qmp_query_chardev(Qmp *q, JsonObject *args, GError **err)
{
    ChardevSet *set = machine_service(q->m, "chardevs");
    JsonArray *a = json_array_new();

    if (set)
        chardev_foreach(set, list_chardev, a);
    return qmp_take_array(a);
}

JsonNode *qmp_chardev_remove(Qmp *q, JsonObject *args, GError **err)
{
    ChardevSet *set = machine_service(q->m, "chardevs");

    if (!set || !chardev_remove(set, qmp_str(args, "id", ""), err))
        return NULL;
    return NULL;
}

static Chardev *ring(Qmp *q, JsonObject *args, GError **err)
{
    ChardevSet *set = machine_service(q->m, "chardevs");
    Chardev *c = set ? chardev_find(set, qmp_str(args, "device", "")) : NULL;

    if (!c)
        err_set_code(err, ERR_NOT_FOUND, "Device '%s' not found", qmp_str(args, "device", ""));
    return c;
}

JsonNode *qmp_ringbuf_read(Qmp *q, JsonObject *args, GError **err)
{
    Chardev *c = ring(q, args, err);
    g_autoptr(GByteArray) out = g_byte_array_new();
    JsonNode *n;
    g_autofree char *text = NULL;

    if (!c || !chardev_ringbuf_read(c, out, CLAMP(qmp_int(args, "size", 0), 0, 1 << 20), err))
        return NULL;
    text = !g_strcmp0(qmp_str(args, "format", "utf8"), "base64") ? g_base64_encode(out->data, out->len)
                                                                : g_utf8_make_valid((char *)out->data, out->len);
    n = json_node_new(JSON_NODE_VALUE);
    json_node_set_string(n, text);
    return n;
}

JsonNode *qmp_ringbuf_write(Qmp *q, JsonObject *args, GError **err)
{
    Chardev *c = ring(q, args, err);
    const char *data = qmp_str(args, "data", "");
    g_autofree guchar *raw = NULL;
    gsize len = strlen(data);

    if (!g_strcmp0(qmp_str(args, "format", "utf8"), "base64"))
        raw = g_base64_decode(data, &len);
    if (c && chardev_ringbuf_write(c, raw ? (void *)raw : (void *)data, len, err))
        return NULL;
    return NULL;
}
