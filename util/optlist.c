/* optlist: key=value lists with doubled commas, JSON objects, and checked value forms. */
#include "util/optlist.h"

#include "util/bytes.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <stdlib.h>

static void item_free(gpointer p)
{
    OptItem *it = p;

    g_free(it->key);
    g_free(it->value);
    g_free(it);
}

OptList *optlist_new(void)
{
    OptList *l = g_new0(OptList, 1);

    l->items = g_ptr_array_new_with_free_func(item_free);
    l->asked = g_ptr_array_new_with_free_func(g_free);
    return l;
}

void optlist_free(OptList *l)
{
    if (!l)
        return;
    g_ptr_array_unref(l->items);
    g_ptr_array_unref(l->asked);
    g_free(l);
}

static OptItem *add_item(OptList *l, char *key, char *value)
{
    OptItem *it = g_new0(OptItem, 1);

    it->key = key;
    it->value = value;
    g_ptr_array_add(l->items, it);
    return it;
}

void optlist_add(OptList *l, const char *key, const char *value)
{
    add_item(l, g_strdup(key), g_strdup(value));
}

/* One item up to a single comma; ",," stands for one comma. Advances *p past the comma. */
static char *next_item(const char **p)
{
    GString *s = g_string_new(NULL);
    const char *c = *p;

    while (*c) {
        if (*c == ',') {
            if (c[1] != ',')
                break;
            c++;
        }
        g_string_append_c(s, *c++);
    }
    *p = *c ? c + 1 : c;
    return g_string_free(s, FALSE);
}

static void add_text_item(OptList *l, const char *item, const char *implied)
{
    const char *eq = strchr(item, '=');
    OptItem *it;

    if (eq) {
        add_item(l, g_strndup(item, eq - item), g_strdup(eq + 1));
    } else if (implied) {
        add_item(l, g_strdup(implied), g_strdup(item));
    } else {
        it = add_item(l, g_strdup(item), g_strdup("on"));
        it->bare = true;
    }
}

enum { JSON_MAX_DEPTH = 16 };

static bool add_json(OptList *l, const char *prefix, JsonNode *node, int depth, GError **err);

static bool add_json_object(OptList *l, const char *prefix, JsonObject *o, int depth, GError **err)
{
    g_autoptr(GList) names = json_object_get_members(o);

    for (GList *n = names; n; n = n->next) {
        g_autofree char *key = *prefix ? g_strdup_printf("%s.%s", prefix, (char *)n->data) : g_strdup(n->data);

        if (!add_json(l, key, json_object_get_member(o, n->data), depth + 1, err))
            return false;
    }
    return true;
}

static bool add_json(OptList *l, const char *prefix, JsonNode *node, int depth, GError **err)
{
    if (depth > JSON_MAX_DEPTH)
        return err_set(err, "JSON nested deeper than %d levels", JSON_MAX_DEPTH);
    switch (json_node_get_node_type(node)) {
    case JSON_NODE_OBJECT:
        return add_json_object(l, prefix, json_node_get_object(node), depth, err);
    case JSON_NODE_ARRAY: {
        JsonArray *a = json_node_get_array(node);

        for (guint i = 0; i < json_array_get_length(a); i++) {
            g_autofree char *key = g_strdup_printf("%s.%u", prefix, i);

            if (!add_json(l, key, json_array_get_element(a, i), depth + 1, err))
                return false;
        }
        return true;
    }
    case JSON_NODE_VALUE: {
        GType t = json_node_get_value_type(node);

        if (t == G_TYPE_STRING)
            optlist_add(l, prefix, json_node_get_string(node));
        else if (t == G_TYPE_BOOLEAN)
            optlist_add(l, prefix, json_node_get_boolean(node) ? "on" : "off");
        else if (t == G_TYPE_INT64)
            add_item(l, g_strdup(prefix), g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node)));
        else
            add_item(l, g_strdup(prefix), g_strdup_printf("%.17g", json_node_get_double(node)));
        return true;
    }
    default:
        return true;            /* null: as if absent */
    }
}

static OptList *parse_json(const char *text, GError **err)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(OptList) l = optlist_new();
    JsonNode *root;

    if (!json_parser_load_from_data(parser, text, -1, err))
        return NULL;
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        err_set(err, "expected a JSON object");
        return NULL;
    }
    if (!add_json_object(l, "", json_node_get_object(root), 0, err))
        return NULL;
    return g_steal_pointer(&l);
}

OptList *optlist_parse(const char *text, const char *implied, GError **err)
{
    OptList *l;

    if (*text == '{')
        return parse_json(text, err);
    l = optlist_new();
    for (const char *p = text; *p; implied = NULL) {
        g_autofree char *item = next_item(&p);

        if (*item)
            add_text_item(l, item, implied);
    }
    return l;
}

static void ask(OptList *l, const char *key)
{
    for (guint i = 0; i < l->asked->len; i++) {
        if (g_str_equal(l->asked->pdata[i], key))
            return;
    }
    g_ptr_array_add(l->asked, g_strdup(key));
}

/* A bare "noflag" answers for "flag" when nothing else names it. */
static bool item_is(OptItem *it, const char *key, bool *negated)
{
    *negated = false;
    if (g_str_equal(it->key, key))
        return true;
    *negated = it->bare && g_str_has_prefix(it->key, "no") && g_str_equal(it->key + 2, key);
    return *negated;
}

const char *optlist_str(OptList *l, const char *key, const char *def)
{
    const char *found = def;
    bool negated;

    ask(l, key);
    for (guint i = 0; i < l->items->len; i++) {
        OptItem *it = l->items->pdata[i];

        if (item_is(it, key, &negated)) {
            it->used = true;
            found = negated ? "off" : it->value;
        }
    }
    return found;
}

const char **optlist_all(OptList *l, const char *key)
{
    GPtrArray *a = g_ptr_array_new();

    ask(l, key);
    for (guint i = 0; i < l->items->len; i++) {
        OptItem *it = l->items->pdata[i];

        if (g_str_equal(it->key, key)) {
            it->used = true;
            g_ptr_array_add(a, it->value);
        }
    }
    g_ptr_array_add(a, NULL);
    return (const char **)g_ptr_array_free(a, FALSE);
}

bool optlist_has(OptList *l, const char *key)
{
    return optlist_str(l, key, NULL) != NULL;
}

bool optlist_bool(OptList *l, const char *key, bool def, bool *out, GError **err)
{
    const char *v = optlist_str(l, key, NULL);

    *out = def;
    return !v || parse_bool_text(v, out, err) || err_prefix(err, "%s=%s", key, v);
}

bool optlist_uint(OptList *l, const char *key, uint64_t def, uint64_t max, uint64_t *out, GError **err)
{
    const char *v = optlist_str(l, key, NULL);

    *out = def;
    return !v || parse_uint_text(v, max, out, err) || err_prefix(err, "%s=%s", key, v);
}

bool optlist_size(OptList *l, const char *key, uint64_t def, uint64_t *out, GError **err)
{
    const char *v = optlist_str(l, key, NULL);

    *out = def;
    return !v || parse_size_text(v, 1, out, err) || err_prefix(err, "%s=%s", key, v);
}

bool optlist_check_unused(OptList *l, GError **err)
{
    for (guint i = 0; i < l->items->len; i++) {
        OptItem *it = l->items->pdata[i];
        const char *near;

        if (it->used)
            continue;
        g_ptr_array_add(l->asked, NULL);
        near = nearest_name(it->key, (const char *const *)l->asked->pdata);
        g_ptr_array_set_size(l->asked, l->asked->len - 1);
        return near ? err_set(err, "unknown option '%s' (did you mean '%s'?)", it->key, near)
                    : err_set(err, "unknown option '%s'", it->key);
    }
    return true;
}

bool optlist_each_unused(OptList *l, bool (*fn)(void *opaque, const char *key, const char *value, GError **err),
                         void *opaque, GError **err)
{
    for (guint i = 0; i < l->items->len; i++) {
        OptItem *it = l->items->pdata[i];

        if (it->used)
            continue;
        it->used = true;
        if (!fn(opaque, it->key, it->value, err))
            return false;
    }
    return true;
}

bool parse_bool_text(const char *text, bool *out, GError **err)
{
    static const char *const yes[] = { "on", "yes", "true", "y", "1", NULL };
    static const char *const no[] = { "off", "no", "false", "n", "0", NULL };

    if (g_strv_contains(yes, text))
        *out = true;
    else if (g_strv_contains(no, text))
        *out = false;
    else
        return err_set(err, "expected on or off");
    return true;
}

bool parse_uint_text(const char *text, uint64_t max, uint64_t *out, GError **err)
{
    char *end;
    uint64_t v;

    errno = 0;
    v = g_ascii_strtoull(text, &end, 0);
    if (end == text || *end || *text == '-' || errno)
        return err_set(err, "expected a number");
    if (v > max)
        return err_set(err, "expected a number up to %" G_GUINT64_FORMAT, max);
    *out = v;
    return true;
}

bool parse_size_text(const char *text, uint64_t unit, uint64_t *out, GError **err)
{
    static const char letters[] = "bkmgtpe";
    char *end;
    uint64_t whole = g_ascii_strtoull(text, &end, 10), scale = unit, v;
    double fraction = 0;

    if (end == text || *text == '-' || *text == '+')
        return err_set(err, "expected a size such as 512M or 2G");
    if (*end == '.') {
        const char *dot = end;

        fraction = g_ascii_strtod(dot, &end);
    }
    if (*end) {
        const char *l = strchr(letters, g_ascii_tolower(*end));

        if (!l || end[1])
            return err_set(err, "expected a size such as 512M or 2G; suffixes are k M G T P E");
        scale = 1ULL << (10 * (l - letters));
    }
    if (!mul_ok(whole, scale, &v) || !add_ok(v, (uint64_t)(fraction * scale), &v))
        return err_set(err, "size is too large");
    *out = v;
    return true;
}
