/* accel_choice: which engine runs the guest, and the line that says so. */
#include "cli/cli.h"

#include "softmmu/accel.h"

/* Names that stand for others: "tcg" is QEMU's word for its software engine. */
static const char *const software[] = { "jit", "interp", NULL };
static const char *const automatic[] = { "kvm", "jit", "interp", NULL };

char *cli_accel_help(void)
{
    GString *out = g_string_new("Accelerators supported:\n");

    for (const Accel *const *a = accel_list(); *a; a++)
        g_string_append_printf(out, "%-8s %s\n", (*a)->name, (*a)->desc);
    g_string_append(out, "auto     the best of these that runs at full speed here (default)\n"
                         "tcg      the software engine\n");
    return g_string_free(out, false);
}

static GHashTable *opts_table(OptList *l)
{
    GHashTable *t = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    for (unsigned i = 0; i < l->items->len; i++) {
        OptItem *it = g_ptr_array_index(l->items, i);

        if (strcmp(it->key, "accel"))
            g_hash_table_replace(t, g_strdup(it->key), g_strdup(it->value));
    }
    return t;
}

static bool try_create(Machine *m, const Accel *a, OptList *opts, GError **err)
{
    g_autoptr(GHashTable) t = opts_table(opts);

    m->accel = a;
    if (!a->create || a->create(m, t, err))
        return true;
    m->accel = NULL;
    return false;
}

/* The first of names that says it runs well here. */
static bool try_group(Machine *m, const char *const *names, OptList *opts, bool tell, GError **err)
{
    g_autoptr(GString) why = g_string_new(NULL);

    for (; *names; names++) {
        const Accel *a = accel_find(*names);
        g_autoptr(GError) e = NULL;

        if (!a)
            continue;
        if (a->probe(&e) && try_create(m, a, opts, &e)) {
            if (tell)
                log_info("running the guest with %s (%s)%s%s", a->name, a->desc, why->len ? "; " : "", why->str);
            return true;
        }
        g_string_append_printf(why, "%sno %s: %s", why->len ? "; " : "", a->name, e ? e->message : "it did not start");
    }
    return err_set(err, "no engine can run a guest here%s%s", why->len ? ": " : "", why->str);
}

static bool try_wish(Machine *m, OptList *opts, GError **err)
{
    const char *name = optlist_str(opts, "accel", "auto");
    const Accel *a = accel_find(name);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    if (!strcmp(name, "auto"))
        return try_group(m, automatic, opts, true, err);
    if (!strcmp(name, "tcg"))
        return try_group(m, software, opts, false, err);
    if (a)
        return try_create(m, a, opts, err);
    for (const Accel *const *k = accel_list(); *k; k++)
        g_ptr_array_add(names, (char *)(*k)->name);
    g_ptr_array_add(names, (char *)"auto");
    g_ptr_array_add(names, (char *)"tcg");
    g_ptr_array_add(names, NULL);
    near = nearest_name(name, (const char *const *)names->pdata);
    return err_set(err, "'%s' is not an engine%s%s%s; -accel help lists them", name, near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "");
}

bool cli_choose_accel(Cli *cli, Machine *m, GError **err)
{
    g_autoptr(OptList) none = optlist_new();

    if (!cli->accels->len)
        return try_group(m, automatic, none, true, err);
    for (unsigned i = 0; i < cli->accels->len; i++) {
        bool last = i + 1 == cli->accels->len;
        g_autoptr(GError) e = NULL;

        if (try_wish(m, g_ptr_array_index(cli->accels, i), &e)) {
            if (i)
                log_info("running the guest with %s (%s)", m->accel->name, m->accel->desc);
            return true;
        }
        if (last) {
            g_propagate_error(err, g_steal_pointer(&e));
            return false;
        }
        log_info("%s; trying the next engine", e->message);
    }
    return false;
}
