/*
 * opts: described options as a flat table of strings with dotted keys.
 */
#include <errno.h>
#include <json-glib/json-glib.h>
#include <stdlib.h>
#include "block/block_int.h"

GHashTable *block_opts_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
}

void block_opts_set(GHashTable *opts, const char *key, const char *value)
{
    g_hash_table_replace(opts, g_strdup(key), g_strdup(value));
}

const char *block_opts_get(GHashTable *opts, const char *key)
{
    return g_hash_table_lookup(opts, key);
}

GHashTable *block_opts_copy(GHashTable *opts)
{
    GHashTable *copy = block_opts_new();
    GHashTableIter it;
    gpointer k, v;

    if (opts) {
        g_hash_table_iter_init(&it, opts);
        while (g_hash_table_iter_next(&it, &k, &v))
            block_opts_set(copy, k, v);
    }
    return copy;
}

static bool flatten(GHashTable *opts, const char *prefix, JsonNode *node, int depth, GError **err);

static bool flatten_member(GHashTable *opts, const char *prefix, const char *key, JsonNode *val, int depth,
                           GError **err)
{
    g_autofree char *full = *prefix ? g_strdup_printf("%s.%s", prefix, key) : g_strdup(key);

    return flatten(opts, full, val, depth + 1, err);
}

static bool flatten_scalar(GHashTable *opts, const char *key, JsonNode *node)
{
    GType t = json_node_get_value_type(node);
    g_autofree char *text = NULL;

    if (t == G_TYPE_STRING)
        text = g_strdup(json_node_get_string(node));
    else if (t == G_TYPE_BOOLEAN)
        text = g_strdup(json_node_get_boolean(node) ? "on" : "off");
    else if (t == G_TYPE_INT64)
        text = g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
    else
        text = g_strdup_printf("%.17g", json_node_get_double(node));
    block_opts_set(opts, key, text);
    return true;
}

static bool flatten(GHashTable *opts, const char *prefix, JsonNode *node, int depth, GError **err)
{
    if (depth > 64)
        return err_set(err, "JSON options nest too deep");
    if (JSON_NODE_HOLDS_NULL(node)) {
        block_opts_set(opts, prefix, "");       /* "backing": null */
        return true;
    }
    if (JSON_NODE_HOLDS_VALUE(node))
        return flatten_scalar(opts, prefix, node);
    if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *a = json_node_get_array(node);
        for (guint i = 0; i < json_array_get_length(a); i++) {
            g_autofree char *key = g_strdup_printf("%u", i);
            if (!flatten_member(opts, prefix, key, json_array_get_element(a, i), depth, err))
                return false;
        }
        return true;
    }
    JsonObjectIter it;
    const char *key;
    JsonNode *val;
    json_object_iter_init(&it, json_node_get_object(node));
    while (json_object_iter_next(&it, &key, &val))
        if (!flatten_member(opts, prefix, key, val, depth, err))
            return false;
    return true;
}

static GHashTable *parse_json(const char *text, GError **err)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    GHashTable *opts;

    if (!json_parser_load_from_data(parser, text, -1, err)) {
        err_prefix(err, "JSON options");
        return NULL;
    }
    if (!json_parser_get_root(parser) || !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        err_set(err, "JSON options must be an object");
        return NULL;
    }
    opts = block_opts_new();
    if (!flatten(opts, "", json_parser_get_root(parser), 0, err)) {
        g_hash_table_unref(opts);
        return NULL;
    }
    return opts;
}

/* Takes text up to a single comma; ",," stands for one comma. */
static char *take_word(const char **p)
{
    GString *s = g_string_new(NULL);

    while (**p && !(**p == ',' && (*p)[1] != ',')) {
        if (**p == ',')
            (*p)++;
        g_string_append_c(s, *(*p)++);
    }
    if (**p == ',')
        (*p)++;
    return g_string_free(s, FALSE);
}

GHashTable *block_opts_parse(const char *spec, const char *implied, GError **err)
{
    GHashTable *opts;
    const char *p = spec;
    bool first = true;

    if (*spec == '{')
        return parse_json(spec, err);
    opts = block_opts_new();
    for (; *p; first = false) {
        g_autofree char *word = take_word(&p);
        char *eq = strchr(word, '=');
        if (!*word)
            continue;
        if (first && implied && (!eq || !g_regex_match_simple("^[a-z][a-z0-9_.-]*=", word, 0, 0))) {
            block_opts_set(opts, implied, word);
        } else if (!eq) {       /* a lone word is a switch: "readonly", "noreadonly" */
            bool no = g_str_has_prefix(word, "no");
            block_opts_set(opts, no ? word + 2 : word, no ? "off" : "on");
        } else {
            *eq = 0;
            block_opts_set(opts, word, eq + 1);
        }
    }
    return opts;
}

bool block_opts_take(GHashTable *opts, const char *key, char **value)
{
    gpointer k, v;

    if (!g_hash_table_steal_extended(opts, key, &k, &v))
        return false;
    g_free(k);
    g_free(*value);
    *value = v;
    return true;
}

bool block_bool_ok(const char *t, bool *out)
{
    bool yes = !strcmp(t, "on") || !strcmp(t, "yes") || !strcmp(t, "true") || !strcmp(t, "y");
    bool no = !strcmp(t, "off") || !strcmp(t, "no") || !strcmp(t, "false") || !strcmp(t, "n");

    *out = yes;
    return yes || no;
}

bool block_opts_take_bool(GHashTable *opts, const char *key, bool *value, GError **err)
{
    g_autofree char *t = NULL;

    if (block_opts_take(opts, key, &t) && !block_bool_ok(t, value))
        return err_set(err, "Parameter '%s' expects 'on' or 'off', not '%s'", key, t);
    return true;
}

bool block_parse_size(const char *text, uint64_t *out, GError **err)
{
    static const char units[] = "bkMGTPE";
    char *end;
    double frac;
    uint64_t v, mul = 1;
    const char *u;

    errno = 0;
    if (!g_ascii_isdigit(*text))
        return err_set(err, "'%s' is not a size: give digits and one of k, M, G, T, P, E", text);
    v = g_ascii_strtoull(text, &end, g_str_has_prefix(text, "0x") ? 16 : 10);
    if (errno == ERANGE)
        return err_set(err, "size '%s' is too large", text);
    frac = 0;
    if (*end == '.')
        frac = g_ascii_strtod(end, &end);
    if (*end) {
        char c = *end == 'K' ? 'k' : *end == 'B' ? 'b' : g_ascii_isupper(*end) || *end == 'k' || *end == 'b' ?
                 *end : g_ascii_toupper(*end);
        u = strchr(units, c);
        if (!u || end[1])
            return err_set(err, "'%s' is not a size: give digits and one of k, M, G, T, P, E", text);
        mul = 1ULL << (10 * (u - units));
    }
    if (!mul_ok(v, mul, &v) || !add_ok(v, (uint64_t)(frac * mul), &v) || v > INT64_MAX)
        return err_set(err, "size '%s' is too large", text);
    *out = v;
    return true;
}

bool block_opts_take_u64(GHashTable *opts, const char *key, uint64_t *value, GError **err)
{
    g_autofree char *t = NULL;

    if (block_opts_take(opts, key, &t) && !block_parse_size(t, value, err))
        return err_prefix(err, "Parameter '%s'", key);
    return true;
}

GHashTable *block_opts_sub(GHashTable *opts, const char *prefix)
{
    GHashTable *sub = block_opts_new();
    size_t len = strlen(prefix);
    GHashTableIter it;
    gpointer k, v;

    g_hash_table_iter_init(&it, opts);
    while (g_hash_table_iter_next(&it, &k, &v)) {
        const char *key = k;
        if (g_str_has_prefix(key, prefix) && key[len] == '.') {
            block_opts_set(sub, key + len + 1, v);
            g_hash_table_iter_remove(&it);
        }
    }
    return sub;
}
