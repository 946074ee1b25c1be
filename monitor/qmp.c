/* qmp: the monitor for programs: JSON objects in and out, events, negotiation, argument checks. */
#include "monitor/qmp_int.h"

#include "util/bytes.h"

enum { INPUT_MAX = 4 << 20, NEST_MAX = 64 };

#define CMD(n, a, f) QmpFn f;
#include "monitor/qmp.def"
#undef CMD
static const QmpCmd commands[] = {
#define CMD(n, a, f) { n, a, f },
#include "monitor/qmp.def"
#undef CMD
};

const QmpCmd *qmp_commands(size_t *n)
{
    *n = G_N_ELEMENTS(commands);
    return commands;
}

typedef struct QmpSession {
    ChardevFe fe;
    Qmp q;
    bool pretty, open;
    GString *input;             /* one object being collected */
    unsigned depth;
    bool in_string, escaped;
} QmpSession;

/* --- helpers for commands --- */

const char *qmp_str(JsonObject *args, const char *name, const char *def)
{
    return args && json_object_has_member(args, name) ? json_object_get_string_member(args, name) : def;
}

int64_t qmp_int(JsonObject *args, const char *name, int64_t def)
{
    return args && json_object_has_member(args, name) ? json_object_get_int_member(args, name) : def;
}

bool qmp_bool(JsonObject *args, const char *name, bool def)
{
    return args && json_object_has_member(args, name) ? json_object_get_boolean_member(args, name) : def;
}

JsonNode *qmp_node(const char *fmt, ...)
{
    g_autofree char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    return json_from_string(text, NULL);
}

JsonNode *qmp_take_object(JsonObject *o)
{
    JsonNode *n = json_node_new(JSON_NODE_OBJECT);

    json_node_take_object(n, o);
    return n;
}

JsonNode *qmp_take_array(JsonArray *a)
{
    JsonNode *n = json_node_new(JSON_NODE_ARRAY);

    json_node_take_array(n, a);
    return n;
}

/* --- output --- */

static void send_object(QmpSession *s, JsonObject *o)
{
    g_autoptr(JsonNode) n = json_node_new(JSON_NODE_OBJECT);
    g_autofree char *text = NULL;

    json_node_take_object(n, o);
    if (!s->open)
        return;
    text = json_to_string(n, s->pretty);
    chr_write_all(&s->fe, text, strlen(text));
    chr_write_all(&s->fe, "\r\n", 2);
}

static void send_error(QmpSession *s, JsonNode *id, const char *cls, const char *desc)
{
    JsonObject *o = json_object_new(), *e = json_object_new();

    json_object_set_string_member(e, "class", cls);
    json_object_set_string_member(e, "desc", desc);
    json_object_set_object_member(o, "error", e);
    if (id)
        json_object_set_member(o, "id", json_node_copy(id));
    send_object(s, o);
}

static void send_return(QmpSession *s, JsonNode *id, JsonNode *value)
{
    JsonObject *o = json_object_new();

    json_object_set_member(o, "return", value ? value : qmp_take_object(json_object_new()));
    if (id)
        json_object_set_member(o, "id", json_node_copy(id));
    send_object(s, o);
}

/* ORDER: MachineEvent */
static const char *const event_names[MACHINE_EVENTS] = { "STOP", "RESUME", "RESET", "SHUTDOWN", "POWERDOWN",
    "SUSPEND", "WAKEUP", "GUEST_PANICKED", "RTC_CHANGE", "DEVICE_DELETED", "DEVICE_TRAY_MOVED", "BLOCK_IO_ERROR" };

static void event_seen(void *opaque, MachineEvent ev, const char *detail)
{
    QmpSession *s = opaque;
    JsonObject *o, *t;
    gint64 now = g_get_real_time();

    if (!s->q.ready)
        return;
    o = json_object_new();
    t = json_object_new();
    json_object_set_int_member(t, "seconds", now / G_USEC_PER_SEC);
    json_object_set_int_member(t, "microseconds", now % G_USEC_PER_SEC);
    json_object_set_object_member(o, "timestamp", t);
    json_object_set_string_member(o, "event", event_names[ev]);
    if (detail) {
        JsonNode *n = json_from_string(detail, NULL);

        if (n)
            json_object_set_member(o, "data", n);
    }
    send_object(s, o);
}

/* --- argument checks --- */

static bool type_fits(JsonNode *n, char type)
{
    GType v = JSON_NODE_HOLDS_VALUE(n) ? json_node_get_value_type(n) : 0;

    switch (type) {
    case 's': return v == G_TYPE_STRING;
    case 'i': return v == G_TYPE_INT64;
    case 'b': return v == G_TYPE_BOOLEAN;
    case 'o': return JSON_NODE_HOLDS_OBJECT(n);
    case 'a': return JSON_NODE_HOLDS_ARRAY(n);
    default: return true;
    }
}

static const char *type_name(char t)
{
    return t == 's' ? "string" : t == 'i' ? "integer" : t == 'b' ? "boolean" : t == 'o' ? "object" : "array";
}

static bool check_args(const QmpCmd *c, JsonObject *args, GError **err)
{
    g_auto(GStrv) specs = g_strsplit(c->args, " ", -1);
    g_autoptr(GPtrArray) known = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GList) given = args ? json_object_get_members(args) : NULL;
    bool others = false;

    for (char **sp = specs; *sp; sp++) {
        char *colon = strchr(*sp, ':'), *opt;

        if (!strcmp(*sp, "..."))
            others = true;
        if (!colon)
            continue;
        *colon = 0;
        opt = strchr(*sp, '?');
        if (opt)
            *opt = 0;
        g_ptr_array_add(known, g_strdup(*sp));
        if (!args || !json_object_has_member(args, *sp)) {
            if (!opt)
                return err_set(err, "Parameter '%s' is missing", *sp);
        } else if (!type_fits(json_object_get_member(args, *sp), colon[1])) {
            return err_set(err, "Invalid parameter type for '%s', expected: %s", *sp, type_name(colon[1]));
        }
    }
    for (GList *g = given; g && !others; g = g->next)
        if (!g_ptr_array_find_with_equal_func(known, g->data, g_str_equal, NULL))
            return err_set(err, "Parameter '%s' is unexpected", (char *)g->data);
    return true;
}

static const QmpCmd *command_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

static void execute(QmpSession *s, JsonObject *req, const char *name, JsonNode *id)
{
    JsonNode *an = json_object_get_member(req, "arguments"), *value;
    JsonObject *args = an && JSON_NODE_HOLDS_OBJECT(an) ? json_node_get_object(an) : NULL;
    const QmpCmd *c = command_find(name);
    g_autoptr(GError) err = NULL;
    g_autofree char *text = NULL;

    if (an && !args) {
        send_error(s, id, "GenericError", "QMP input member 'arguments' must be an object");
        return;
    }
    if (!s->q.ready && strcmp(name, "qmp_capabilities")) {
        text = g_strdup_printf("Expecting capabilities negotiation with 'qmp_capabilities'%s", c ? "" : ", and this command is unknown");
        send_error(s, id, "CommandNotFound", text);
        return;
    }
    if (!c) {
        text = g_strdup_printf("The command %s has not been found", name);
        send_error(s, id, "CommandNotFound", text);
        return;
    }
    if (!check_args(c, args, &err)) {
        send_error(s, id, "GenericError", err->message);
        return;
    }
    value = c->fn(&s->q, args, &err);
    if (err)
        send_error(s, id, err->code == ERR_NOT_FOUND && strcmp(name, "device_add") ? "DeviceNotFound" : "GenericError",
                   err->message);
    else
        send_return(s, id, value);
}

static void handle(QmpSession *s, const char *text)
{
    g_autoptr(JsonParser) p = json_parser_new();
    JsonNode *root, *ex, *id;
    JsonObject *req;

    if (!json_parser_load_from_data(p, text, -1, NULL)) {
        send_error(s, NULL, "GenericError", "JSON parse error");
        return;
    }
    root = json_parser_get_root(p);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        send_error(s, NULL, "GenericError", "QMP input must be a JSON object");
        return;
    }
    req = json_node_get_object(root);
    id = json_object_get_member(req, "id");
    ex = json_object_get_member(req, "execute");
    if (!ex)
        ex = json_object_get_member(req, "exec-oob");
    if (!ex || !type_fits(ex, 's'))
        send_error(s, id, "GenericError", "QMP input lacks member 'execute'");
    else
        execute(s, req, json_node_get_string(ex), id);
}

/* --- input: objects are told apart by counting braces outside strings --- */

static void input_clear(QmpSession *s)
{
    g_string_truncate(s->input, 0);
    s->depth = 0;
    s->in_string = s->escaped = false;
}

static void feed(QmpSession *s, char c)
{
    if (!s->depth && !s->input->len && g_ascii_isspace(c))
        return;
    g_string_append_c(s->input, c);
    if (s->in_string) {
        if (s->escaped)
            s->escaped = false;
        else if (c == '\\')
            s->escaped = true;
        else if (c == '"')
            s->in_string = false;
    } else if (c == '"') {
        s->in_string = true;
    } else if (c == '{' || c == '[') {
        s->depth++;
    } else if ((c == '}' || c == ']') && s->depth) {
        s->depth--;
    }
    if (s->depth > NEST_MAX || s->input->len > INPUT_MAX) {
        send_error(s, NULL, "GenericError", "JSON input is too large");
        input_clear(s);
    } else if (!s->depth && !s->in_string && (c == '}' || c == ']' || c == '\n')) {
        g_autofree char *text = g_strdup(s->input->str);

        input_clear(s);
        handle(s, text);
    }
}

static size_t session_room(void *opaque) { return 4096; }

static void session_receive(void *opaque, const uint8_t *buf, size_t len)
{
    QmpSession *s = opaque;

    for (size_t i = 0; i < len; i++)
        feed(s, buf[i]);
}

static void session_event(void *opaque, ChrEvent ev)
{
    QmpSession *s = opaque;

    if (ev == CHR_EVENT_OPEN && !s->open) {
        s->open = true;
        s->q.ready = false;
        input_clear(s);
        send_object(s, json_node_dup_object(qmp_node("{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 2, "
            "\"major\": 7}, \"package\": \"quern 0.1\"}, \"capabilities\": [\"oob\"]}}")));
    } else if (ev == CHR_EVENT_CLOSE) {
        s->open = s->q.ready = false;
    }
}

static void session_free(void *data)
{
    QmpSession *s = data;

    chr_detach(&s->fe);
    g_string_free(s->input, true);
    g_free(s);
}

bool qmp_attach(Machine *m, Chardev *chr, bool pretty, GError **err)
{
    static const ChardevFeOps ops = {
        .can_receive = session_room, .receive = session_receive, .event = session_event };
    QmpSession *s = g_new0(QmpSession, 1);

    s->q.m = m;
    s->pretty = pretty;
    s->input = g_string_new(NULL);
    if (!chr_attach(&s->fe, chr, &ops, s, err)) {
        g_string_free(s->input, true);
        g_free(s);
        return false;
    }
    machine_listen(m, event_seen, s);
    machine_on_free(m, session_free, s);
    return true;
}
