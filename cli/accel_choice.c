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

static void from_machine(Cli *cli, GHashTable *t, const char *key)
{
    const char *v = g_hash_table_lookup(cli->machine_opts, key);

    if (v)
        g_hash_table_replace(t, g_strdup("kernel-irqchip"), g_strdup(v));
}

/* An engine's options: its own, and those that QEMU users give elsewhere. */
static GHashTable *opts_table(Cli *cli, OptList *l)
{
    GHashTable *t = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);

    from_machine(cli, t, "kernel_irqchip");
    from_machine(cli, t, "kernel-irqchip");
    if (cli->cpu_pm)
        g_hash_table_replace(t, g_strdup("cpu-pm"), g_strdup(cli->cpu_pm));

    for (unsigned i = 0; i < l->items->len; i++) {
        OptItem *it = g_ptr_array_index(l->items, i);

        if (strcmp(it->key, "accel"))
            g_hash_table_replace(t, g_strdup(it->key), g_strdup(it->value));
    }
    return t;
}

static bool try_create(Cli *cli, Machine *m, const Accel *a, OptList *opts, GError **err)
{
    g_autoptr(GHashTable) t = opts_table(cli, opts);

    m->accel = a;
    if (!a->create || a->create(m, t, err))
        return true;
    m->accel = NULL;
    return false;
}

#define NO_ENGINE "no engine can run a guest here: "

/* The reasons of try_group() alone. */
static const char *without_preamble(const char *message)
{
    return g_str_has_prefix(message, NO_ENGINE) ? message + strlen(NO_ENGINE) : message;
}

/* The first of names that says it runs a processor like cpu well here. */
static bool try_group(Cli *cli, Machine *m, const char *const *names, OptList *opts, bool tell, const void *cpu, GError **err)
{
    g_autoptr(GString) why = g_string_new(NULL);

    for (; *names; names++) {
        const Accel *a = accel_find(*names);
        g_autoptr(GError) e = NULL;

        if (!a)
            continue;
        if (a->probe(cpu, &e) && try_create(cli, m, a, opts, &e)) {
            if (tell)
                cli->engine_notice = g_strdup_printf("running the guest with %s (%s)%s%s", a->name, a->desc, why->len ? "; " : "", why->str);
            return true;
        }
        g_string_append_printf(why, "%sno %s: %s", why->len ? "; " : "", a->name, e ? e->message : "it did not start");
    }
    return err_set(err, "%s%s", NO_ENGINE, why->str);
}

static bool unknown_engine(const char *name, GError **err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    for (const Accel *const *k = accel_list(); *k; k++)
        g_ptr_array_add(names, (char *)(*k)->name);
    g_ptr_array_add(names, (char *)"auto");
    g_ptr_array_add(names, (char *)"tcg");
    g_ptr_array_add(names, NULL);
    near = nearest_name(name, (const char *const *)names->pdata);
    return err_set(err, "'%s' is not an engine%s%s%s; -accel help lists them", name, near ? " (did you mean '" : "",
                   near ? near : "", near ? "'?)" : "");
}

/* Adds what name stands for to a list of engines. */
static bool add_names(GPtrArray *out, const char *name, GError **err)
{
    const char *const *more = !strcmp(name, "auto") ? automatic : !strcmp(name, "tcg") ? software : NULL;

    if (!more && !accel_find(name))
        return unknown_engine(name, err);
    for (; more && *more; more++)
        g_ptr_array_add(out, (char *)*more);
    if (!more)
        g_ptr_array_add(out, (char *)accel_find(name)->name);
    return true;
}

/* Does one of the engines names know each option? Those that do not leave it alone. */
static bool known_options(OptList *opts, GPtrArray *names, GError **err)
{
    g_autoptr(GString) all = g_string_new(NULL);
    g_auto(GStrv) known = NULL;

    for (unsigned i = 0; i < names->len; i++) {
        const Accel *a = accel_find(names->pdata[i]);

        if (a && a->options)
            g_string_append_printf(all, "%s%s", all->len ? " " : "", a->options);
    }
    known = g_strsplit(all->str, " ", -1);
    for (unsigned i = 0; i < opts->items->len; i++) {
        const char *key = ((OptItem *)g_ptr_array_index(opts->items, i))->key, *near = nearest_name(key, (const char *const *)known);

        if (strcmp(key, "accel") && !g_strv_contains((const char *const *)known, key))
            return err_set(err, "-accel %s: unknown option '%s'%s%s%s; there %s %s", optlist_str(opts, "accel", "auto"), key,
                           near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "", known[0] && !known[1] ? "is" : "are", all->str);
    }
    return true;
}

/* One -accel. A single name is obeyed; a list, or one that others follow, takes what runs well. */
static bool try_wish(Cli *cli, Machine *m, OptList *opts, bool obey, const void *cpu, GError **err)
{
    const char *text = optlist_str(opts, "accel", "auto");
    g_auto(GStrv) parts = g_strsplit(text, ":", -1);
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    bool software_only = !strcmp(text, "tcg");

    for (char **p = parts; *p; p++) {
        if (!add_names(names, *p, err))
            return false;
    }
    if (!known_options(opts, names, err))
        return false;
    if (obey && names->len == 1)
        return try_create(cli, m, accel_find(g_ptr_array_index(names, 0)), opts, err) || err_prefix(err, "-accel %s", text);
    g_ptr_array_add(names, NULL);
    return try_group(cli, m, (const char *const *)names->pdata, opts, !software_only && obey, cpu, err);
}

static bool require_kvm(Cli *cli, Machine *m, GError **err)
{
    g_autoptr(OptList) none = optlist_new();
    const Accel *kvm = accel_find("kvm");

    for (unsigned i = 0; i < cli->accels->len; i++) {
        OptList *l = g_ptr_array_index(cli->accels, i);

        if (!strcmp(optlist_str(l, "accel", ""), "kvm"))
            return kvm && try_create(cli, m, kvm, l, err);
    }
    return kvm ? try_create(cli, m, kvm, none, err) || err_prefix(err, "--require-kvm")
               : err_set(err, "--require-kvm: this quern was built without KVM");
}

bool cli_choose_accel(Cli *cli, Machine *m, const void *cpu, GError **err)
{
    g_autoptr(OptList) none = optlist_new();
    g_autoptr(GString) why = g_string_new(NULL);

    if (cli->require_kvm)
        return require_kvm(cli, m, err);
    if (!cli->accels->len)
        return try_group(cli, m, automatic, none, true, cpu, err);
    for (unsigned i = 0; i < cli->accels->len; i++) {
        bool last = i + 1 == cli->accels->len;
        g_autoptr(GError) e = NULL;

        if (try_wish(cli, m, g_ptr_array_index(cli->accels, i), last, cpu, &e)) {
            if (i)
                cli->engine_notice = g_strdup_printf("running the guest with %s (%s); %s", m->accel->name, m->accel->desc, why->str);
            return true;
        }
        if (last) {
            g_propagate_error(err, g_steal_pointer(&e));
            return false;
        }
        g_string_append_printf(why, "%s%s", why->len ? "; " : "", without_preamble(e->message));
    }
    return false;
}
