/* options: the command line from the table in cli/options.def. */
#include "cli/cli.h"

#include <ctype.h>

typedef bool OptFn(Cli *cli, const char *arg, GError **err);
typedef struct CliOption {
    const char *name, *alias, *arg, *help;
    const char *section;        /* a heading when name is NULL */
    OptFn *fn;
    ptrdiff_t list, text, flag; /* offset in Cli, or -1 */
} CliOption;

#define SECTION(s)
#define OPT(n, al, a, h, f) OptFn opt_##f;
#define LIST(n, al, a, h, f)
#define TEXT(n, al, a, h, f)
#define FLAG(n, al, h, f)
#include "cli/options.def"
#undef SECTION
#undef OPT
#undef LIST
#undef TEXT
#undef FLAG

static const CliOption options[] = {
#define SECTION(s) { .section = s },
#define OPT(n, al, a, h, f) { n, al, a, h, NULL, opt_##f, -1, -1, -1 },
#define LIST(n, al, a, h, f) { n, al, a, h, NULL, NULL, offsetof(Cli, f), -1, -1 },
#define TEXT(n, al, a, h, f) { n, al, a, h, NULL, NULL, -1, offsetof(Cli, f), -1 },
#define FLAG(n, al, h, f) { n, al, NULL, h, NULL, NULL, -1, -1, offsetof(Cli, f) },
#include "cli/options.def"
#undef SECTION
#undef OPT
#undef LIST
#undef TEXT
#undef FLAG
};

/* Options QEMU had and dropped, with what to write instead. */
static const struct { const char *name, *instead; } gone[] = {
    { "soundhw", "-device intel-hda -device hda-duplex, or -device AC97" },
    { "no-kvm", "-accel jit" },
    { "cpu-freq", "nothing: it had no effect" },
    { "watchdog", "-device i6300esb" },
    { "balloon", "-device virtio-balloon" },
    { "sdl", "-display sdl" },
    { "curses", "-display curses" },
    { "alt-grab", "-display sdl,grab-mod=lshift-lctrl-lalt" },
    { "ctrl-grab", "-display sdl,grab-mod=rctrl" },
    { "tdf", "-rtc driftfix=slew" },
    { "localtime", "-rtc base=localtime" },
    { "startdate", "-rtc base=DATE" },
    { "redir", "-netdev user,hostfwd=..." },
    { "realtime", "-overcommit mem-lock=on" },
    { "readconfig", "the options themselves: configuration files are not read" },
    { "set", "the option's own key" },
};

static const CliOption *option_find(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        if (options[i].name && (!strcmp(options[i].name, name) ||
                                (options[i].alias && !strcmp(options[i].alias, name))))
            return &options[i];
    return NULL;
}

static bool unknown_option(const char *given, const char *name, GError **err)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    const char *near;

    for (size_t i = 0; i < G_N_ELEMENTS(gone); i++)
        if (!strcmp(gone[i].name, name))
            return err_set(err, "%s is no longer an option; use %s", given, gone[i].instead);
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        if (options[i].name)
            g_ptr_array_add(names, (char *)options[i].name);
    g_ptr_array_add(names, NULL);
    near = nearest_name(name, (const char *const *)names->pdata);
    if (near)
        return err_set(err, "%s is not an option (did you mean -%s?)", given, near);
    return err_set(err, "%s is not an option; -help lists them", given);
}

void cli_print_version(void)
{
    printf("quern %s (QEMU emulator version %s compatible)\n", QUERN_VERSION, QEMU_COMPAT_VERSION);
}

void cli_print_help(void)
{
    cli_print_version();        /* programs look for the version in the first line */
    printf("Usage: quern [options] [disk-image or CD image]\n"
           "       quern VERB ...   (quern help verbs)\n\n"
           "quern runs a virtual x86 PC. Options take one dash or two.\n");
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        const CliOption *o = &options[i];
        g_autofree char *left = NULL;

        if (!o->name && !o->section)
            break;              /* the rest is only accepted */
        if (!o->name) {
            printf("\n%s:\n", o->section);
            continue;
        }
        left = g_strdup_printf("-%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
        if (strlen(left) > 24)
            printf("%s\n%-25s%s\n", left, "", o->help);
        else
            printf("%-24s %s\n", left, o->help);
    }
}

static void item_add(GPtrArray *list, const char *option, const char *text)
{
    CliItem *it = g_new0(CliItem, 1);

    it->option = g_strdup(option);
    it->text = g_strdup(text);
    g_ptr_array_add(list, it);
}

static void item_free(gpointer p)
{
    CliItem *it = p;

    g_free((char *)it->option);
    g_free(it->text);
    g_free(it);
}

/* Applies one option; false with err set: wrong; false without: it printed a list. */
static bool apply(Cli *cli, const CliOption *o, const char *shown, const char *arg, GError **err)
{
    char *base = (char *)cli;

    if (o->fn) {
        g_autofree char *tagged = NULL;

        /* -hda, -cdrom ...: one handler, told by the name. */
        if (o->fn == opt_hd)
            arg = tagged = g_strdup_printf("%s:%s", o->name, arg);
        return o->fn(cli, arg, err);
    }
    if (o->list >= 0) {
        g_autofree char *help = cli_list_help(o->name, arg);

        if (help) {
            fputs(help, stdout);
            return false;
        }
        item_add(*(GPtrArray **)(void *)(base + o->list), shown, arg);
    } else if (o->text >= 0) {
        char **f = (char **)(void *)(base + o->text);

        g_free(*f);
        *f = g_strdup(arg);
    } else {
        *(bool *)(base + o->flag) = true;
    }
    return true;
}

CliVerdict cli_parse(Cli *cli, int argc, char **argv, GError **err)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i], *name = a, *arg = NULL;
        g_autofree char *shown = NULL;
        const CliOption *o;

        if (a[0] != '-' || !a[1]) {
            item_add(cli->disks, "disk image", a);
            continue;
        }
        name += a[1] == '-' ? 2 : 1;
        o = option_find(name);
        if (!o) {
            unknown_option(a, name, err);
            return CLI_BAD;
        }
        shown = g_strdup_printf("-%s", o->name);
        if (o->arg) {
            if (i + 1 >= argc) {
                err_set(err, "-%s needs an argument: %s", o->name, o->arg);
                return CLI_BAD;
            }
            arg = argv[++i];
        }
        if (!apply(cli, o, shown, arg, err)) {
            if (err && *err) {
                err_prefix(err, "-%s%s%s", o->name, arg ? " " : "", arg ? arg : "");
                return CLI_BAD;
            }
            return CLI_DONE;
        }
    }
    return CLI_RUN;
}

void cli_init(Cli *cli)
{
    memset(cli, 0, sizeof *cli);
    cli->strings = g_ptr_array_new_with_free_func(g_free);
    cli->machine_opts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    cli->accels = g_ptr_array_new_with_free_func((GDestroyNotify)optlist_free);
    cli->cfg.splash_time = cli->cfg.reboot_timeout = -1;
    cli->cfg.cpus = cli->cfg.maxcpus = 1;
    cli->cfg.machine_opts = cli->machine_opts;
    cli->echr = -1;
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        GPtrArray **f = (GPtrArray **)(void *)((char *)cli + options[i].list);

        if (options[i].name && options[i].list >= 0 && !*f)
            *f = g_ptr_array_new_with_free_func(item_free);
    }
    cli->disks = g_ptr_array_new_with_free_func(item_free);
}

void cli_clear(Cli *cli)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        char *base = (char *)cli;

        if (!options[i].name)
            continue;
        if (options[i].list >= 0)
            g_clear_pointer((GPtrArray **)(void *)(base + options[i].list), g_ptr_array_unref);
        if (options[i].text >= 0)
            g_clear_pointer((char **)(void *)(base + options[i].text), g_free);
    }
    g_ptr_array_unref(cli->disks);
    g_ptr_array_unref(cli->accels);
    g_hash_table_unref(cli->machine_opts);
    g_clear_pointer(&cli->cfg.smbios, g_ptr_array_unref);
    g_clear_pointer(&cli->cfg.fw_cfg, g_ptr_array_unref);
    g_clear_pointer(&cli->cfg.acpitables, g_ptr_array_unref);
    g_clear_pointer(&cli->cfg.option_roms, g_ptr_array_unref);
    g_clear_pointer(&cli->cfg.firmware_path, g_ptr_array_unref);
    g_clear_pointer(&cli->cfg.nics, g_ptr_array_unref);
    g_free(cli->machine_type);
    g_free(cli->cpu_pm);
    g_free(cli->engine_notice);
    g_free(cli->cpu);
    g_free(cli->display);
    g_free(cli->vga);
    g_free(cli->gdb);
    g_free(cli->sandbox);
    g_ptr_array_unref(cli->strings);
}
