/* handlers: what each command line option means; form is checked here, meaning at launch. */
#include "cli/cli.h"
#include "util/fdset.h"
#include "util/log.h"

#include "chardev/chardev.h"
#include "hw/core/device.h"
#include "hw/core/objects.h"
#include "net/net.h"
#include "target/x86/cpuid.h"
#include "ui/audio.h"
#include "ui/display.h"
#include "util/bytes.h"

#include <limits.h>
#include <errno.h>
#include <stdlib.h>

#define OPT(n, al, a, h, f) bool opt_##f(Cli *cli, const char *arg, GError **err);
#define SECTION(s)
#define LIST(n, al, a, h, f)
#define TEXT(n, al, a, h, f)
#define FLAG(n, al, h, f)
#include "cli/options.def"
#undef OPT
#undef SECTION
#undef LIST
#undef TEXT
#undef FLAG

/* Keeps a copy that lives as long as the Cli. */
static const char *keep(Cli *cli, const char *s)
{
    char *copy = g_strdup(s);

    if (copy)
        g_ptr_array_add(cli->strings, copy);
    return copy;
}

static void push(GPtrArray **list, const char *s)
{
    if (!*list)
        *list = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(*list, g_strdup(s));
}

/* Prints a list and owns it; false without err: nothing more to do. */
static bool print_list(char *text)
{
    fputs(text, stdout);
    g_free(text);
    return false;
}

static bool is_help(const char *s)
{
    return s && (!strcmp(s, "help") || !strcmp(s, "?"));
}

/* --- machine --- */

static bool add_accel(Cli *cli, const char *name, GError **err)
{
    OptList *l = optlist_new();

    optlist_add(l, "accel", name);
    g_ptr_array_add(cli->accels, l);
    cli->accel_given = true;
    return true;
}

static bool store_machine_opt(void *opaque, const char *key, const char *value, GError **err)
{
    Cli *cli = opaque;
    const char *near;
    const char *const *known = board_option_names();

    if (!g_strv_contains(known, key)) {
        near = nearest_name(key, known);
        if (near)
            return err_set(err, "'%s' is not a machine option (did you mean '%s'?)", key, near);
        return err_set(err, "'%s' is not a machine option", key);
    }
    g_hash_table_insert(cli->machine_opts, g_strdup(key), g_strdup(value));
    return true;
}

bool opt_machine(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, "type", err);
    const char *type, *accel;

    if (!l)
        return false;
    type = optlist_str(l, "type", NULL);
    if (is_help(type))
        return print_list(board_list_help());
    if (type) {
        if (!board_class_find(type, err))
            return false;
        g_free(cli->machine_type);
        cli->machine_type = g_strdup(type);
    }
    accel = optlist_str(l, "accel", NULL);
    if (accel) {
        g_auto(GStrv) names = g_strsplit(accel, ":", -1);

        for (char **n = names; *n; n++)
            if (!add_accel(cli, *n, err))
                return false;
    }
    if (optlist_str(l, "kernel", NULL))
        cli->cfg.kernel = keep(cli, optlist_str(l, "kernel", NULL));
    if (optlist_str(l, "initrd", NULL))
        cli->cfg.initrd = keep(cli, optlist_str(l, "initrd", NULL));
    if (optlist_str(l, "append", NULL))
        cli->cfg.append = keep(cli, optlist_str(l, "append", NULL));
    if (optlist_str(l, "firmware", NULL))
        cli->cfg.bios = keep(cli, optlist_str(l, "firmware", NULL));
    return optlist_each_unused(l, store_machine_opt, cli, err);
}

bool opt_accel(Cli *cli, const char *arg, GError **err)
{
    OptList *l = optlist_parse(arg, "accel", err);

    if (!l)
        return false;
    if (is_help(optlist_str(l, "accel", NULL))) {
        optlist_free(l);
        return print_list(cli_accel_help());
    }
    g_ptr_array_add(cli->accels, l);
    cli->accel_given = true;
    return optlist_str(l, "accel", NULL) || err_set(err, "which engine?");
}

bool opt_enable_kvm(Cli *cli, const char *arg, GError **err)
{
    return add_accel(cli, "kvm", err);
}

bool opt_overcommit(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, NULL, err);
    const char *lock, *pm;
    bool locks = false, stays;

    if (!l)
        return false;
    lock = optlist_str(l, "mem-lock", NULL);
    pm = optlist_str(l, "cpu-pm", NULL);
    if ((lock && !parse_bool_text(lock, &locks, err)) || (pm && !parse_bool_text(pm, &stays, err)) || !optlist_check_unused(l, err))
        return false;
    if (locks)
        log_warn("-overcommit mem-lock=on has no effect");
    g_free(cli->cpu_pm);
    cli->cpu_pm = g_strdup(pm);
    return true;
}

bool opt_cpu(Cli *cli, const char *arg, GError **err)
{
    X86Model *m;

    if (is_help(arg))
        return print_list(x86_model_help());
    m = x86_model_parse(arg, err);
    if (!m)
        return false;
    x86_model_free(m);
    g_free(cli->cpu);
    cli->cpu = g_strdup(arg);
    return true;
}

bool opt_smp(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, "cpus", err);
    uint64_t cpus, max, sockets, dies, clusters, cores, threads, per_socket;

    if (!l || !optlist_uint(l, "cpus", 0, 4096, &cpus, err) || !optlist_uint(l, "maxcpus", 0, 4096, &max, err) ||
        !optlist_uint(l, "sockets", 0, 4096, &sockets, err) || !optlist_uint(l, "dies", 1, 1, &dies, err) ||
        !optlist_uint(l, "clusters", 1, 1, &clusters, err) || !optlist_uint(l, "cores", 0, 4096, &cores, err) ||
        !optlist_uint(l, "threads", 0, 4096, &threads, err) || !optlist_check_unused(l, err))
        return false;
    if (optlist_has(l, "cpus") && !cpus)
        return err_set(err, "a machine needs at least one CPU");
    if (!cpus && !max)
        max = cpus = MAX(sockets, 1) * MAX(cores, 1) * MAX(threads, 1);
    if (!max)
        max = sockets && cores && threads ? sockets * cores * threads : cpus;
    if (!cpus)
        cpus = max;
    threads = MAX(threads, 1);
    if (!cores)
        cores = sockets ? MAX(max / (sockets * threads), 1) : MAX(max / threads, 1);
    per_socket = cores * threads;
    if (!sockets)
        sockets = MAX(max / per_socket, 1);
    if (sockets * per_socket != max)
        return err_set(err, "%u sockets of %u cores of %u threads are not %u CPUs", (unsigned)sockets,
                       (unsigned)cores, (unsigned)threads, (unsigned)max);
    if (cpus > max)
        return err_set(err, "%u CPUs are more than maxcpus=%u", (unsigned)cpus, (unsigned)max);
    cli->cfg.cpus = cpus;
    cli->cfg.maxcpus = max;
    cli->cfg.sockets = sockets;
    cli->cfg.cores = cores;
    cli->cfg.threads = threads;
    return true;
}

bool opt_memory(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, "size", err);
    const char *size;

    if (!l)
        return false;
    size = optlist_str(l, "size", NULL);
    optlist_str(l, "slots", NULL);
    optlist_str(l, "maxmem", NULL);
    if (!optlist_check_unused(l, err))
        return false;
    if (!size)
        return err_set(err, "how much memory?");
    if (!parse_size_text(size, MiB, &cli->ram_size, err))
        return false;
    if (cli->ram_size < 1 * MiB)
        return err_set(err, "a PC needs at least 1 MiB of memory");
    return true;
}

static bool parse_uuid(const char *s, uint8_t out[16])
{
    static const char dashes[] = { 8, 13, 18, 23 };
    unsigned n = 0;

    if (strlen(s) != 36)
        return false;
    for (unsigned i = 0; i < 36; i++) {
        if (memchr(dashes, i, sizeof dashes)) {
            if (s[i] != '-')
                return false;
            continue;
        }
        if (!g_ascii_isxdigit(s[i]) || !g_ascii_isxdigit(s[i + 1]))
            return false;
        out[n++] = g_ascii_xdigit_value(s[i]) << 4 | g_ascii_xdigit_value(s[i + 1]);
        i++;
    }
    return n == 16;
}

bool opt_uuid(Cli *cli, const char *arg, GError **err)
{
    if (!parse_uuid(arg, cli->uuid))
        return err_set(err, "not a UUID like 01234567-89ab-cdef-0123-456789abcdef");
    cli->cfg.uuid = cli->uuid;
    return true;
}

bool opt_smbios(Cli *cli, const char *arg, GError **err)
{
    push(&cli->cfg.smbios, arg);
    return true;
}

bool opt_fw_cfg(Cli *cli, const char *arg, GError **err)
{
    push(&cli->cfg.fw_cfg, arg);
    return true;
}

bool opt_acpitable(Cli *cli, const char *arg, GError **err)
{
    push(&cli->cfg.acpitables, arg);
    return true;
}

bool opt_option_rom(Cli *cli, const char *arg, GError **err)
{
    push(&cli->cfg.option_roms, arg);
    return true;
}

bool opt_firmware_path(Cli *cli, const char *arg, GError **err)
{
    if (is_help(arg))
        return print_list(firmware_folders());
    if (!g_file_test(arg, G_FILE_TEST_IS_DIR))
        log_warn("-L %s: there is no such folder", arg);
    push(&cli->cfg.firmware_path, arg);
    return true;
}

bool opt_rtc(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, NULL, err);
    const char *base, *clock;

    if (!l)
        return false;
    base = optlist_str(l, "base", NULL);
    clock = optlist_str(l, "clock", NULL);
    optlist_str(l, "driftfix", NULL);
    if (!optlist_check_unused(l, err))
        return false;
    if (clock && strcmp(clock, "host") && strcmp(clock, "rt") && strcmp(clock, "vm"))
        return err_set(err, "clock is host, rt or vm");
    cli->cfg.rtc_base = keep(cli, base);
    cli->cfg.rtc_clock = keep(cli, clock);
    return true;
}

bool opt_nodefaults(Cli *cli, const char *arg, GError **err) { cli->cfg.nodefaults = true; return true; }
bool opt_no_acpi(Cli *cli, const char *arg, GError **err) { cli->cfg.no_acpi = true; return true; }
bool opt_no_hpet(Cli *cli, const char *arg, GError **err) { cli->cfg.no_hpet = true; return true; }
bool opt_usb(Cli *cli, const char *arg, GError **err) { cli->cfg.usb = true; return true; }
bool opt_accepted(Cli *cli, const char *arg, GError **err) { return true; }

/* --- boot --- */

static bool small_int(OptList *l, const char *key, int *out, GError **err)
{
    uint64_t v;

    if (!optlist_has(l, key))
        return true;
    if (!g_strcmp0(optlist_str(l, key, NULL), "-1")) {
        *out = -1;
        return true;
    }
    if (!optlist_uint(l, key, 0, 0xffff, &v, err))
        return false;
    *out = v;
    return true;
}

bool opt_boot(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, "order", err);
    MachineConfig *c = &cli->cfg;
    const char *order, *once;

    if (!l || !optlist_bool(l, "menu", c->boot_menu, &c->boot_menu, err) ||
        !optlist_bool(l, "strict", c->boot_strict, &c->boot_strict, err) ||
        !small_int(l, "splash-time", &c->splash_time, err) ||
        !small_int(l, "reboot-timeout", &c->reboot_timeout, err))
        return false;
    order = optlist_str(l, "order", NULL);
    once = optlist_str(l, "once", NULL);
    optlist_str(l, "splash", NULL);
    if (!optlist_check_unused(l, err))
        return false;
    for (int i = 0; i < 2; i++) {
        const char *s = i ? once : order;

        if (s && (!*s || strspn(s, "acdnbefghijklmop") != strlen(s)))
            return err_set(err, "'%s' is not a boot order; letters are a (floppy), c (disk), d (CD), n (network)", s);
    }
    if (order)
        c->boot_order = keep(cli, order);
    if (once)
        c->boot_once = keep(cli, once);
    return true;
}

bool opt_kernel(Cli *cli, const char *arg, GError **err) { cli->cfg.kernel = keep(cli, arg); return true; }
bool opt_initrd(Cli *cli, const char *arg, GError **err) { cli->cfg.initrd = keep(cli, arg); return true; }
bool opt_append(Cli *cli, const char *arg, GError **err) { cli->cfg.append = keep(cli, arg); return true; }
bool opt_dtb(Cli *cli, const char *arg, GError **err) { cli->cfg.dtb = keep(cli, arg); return true; }
bool opt_bios(Cli *cli, const char *arg, GError **err) { cli->cfg.bios = keep(cli, arg); return true; }

/* --- disks: kept as "name:file" and turned into drives at launch --- */

bool opt_hd(Cli *cli, const char *arg, GError **err)
{
    CliItem *it = g_new0(CliItem, 1);
    const char *colon = strchr(arg, ':');

    it->option = g_strdup_printf("-%.*s", (int)(colon - arg), arg);
    it->text = g_strdup(colon + 1);
    g_ptr_array_add(cli->drives, it);
    return true;
}

/* --- devices --- */

bool opt_usbdevice(Cli *cli, const char *arg, GError **err)
{
    static const char *const names[] = { "tablet", "mouse", "keyboard", "kbd", NULL };
    CliItem *it;

    if (!g_strv_contains(names, arg))
        return err_set(err, "tablet, mouse or keyboard; for others use -device");
    cli->cfg.usb = true;
    it = g_new0(CliItem, 1);
    it->option = g_strdup("-usbdevice");
    it->text = g_strdup_printf("usb-%s", !strcmp(arg, "keyboard") ? "kbd" : arg);
    g_ptr_array_add(cli->devices, it);
    return true;
}

bool opt_watchdog_action(Cli *cli, const char *arg, GError **err)
{
    static const char *const names[] = { "reset", "shutdown", "poweroff", "pause", "debug", "none", "inject-nmi", NULL };
    const char *near;

    if (!g_strv_contains(names, arg)) {
        near = nearest_name(arg, names);
        return err_set(err, "not a watchdog action%s%s%s", near ? " (did you mean '" : "", near ? near : "",
                       near ? "'?)" : "");
    }
    log_warn("no watchdog device is available: nothing asks for action '%s'", arg);
    return true;
}

bool opt_action(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, NULL, err);
    const char *reboot, *shutdown, *panic, *watchdog;

    if (!l)
        return false;
    reboot = optlist_str(l, "reboot", NULL);
    shutdown = optlist_str(l, "shutdown", NULL);
    panic = optlist_str(l, "panic", NULL);
    watchdog = optlist_str(l, "watchdog", NULL);
    if (!optlist_check_unused(l, err))
        return false;
    if (reboot)
        cli->no_reboot = !strcmp(reboot, "shutdown");
    if (shutdown)
        cli->no_shutdown = !strcmp(shutdown, "pause");
    if (reboot && strcmp(reboot, "shutdown") && strcmp(reboot, "reset"))
        return err_set(err, "reboot=%s: it is reset or shutdown", reboot);
    if (shutdown && strcmp(shutdown, "pause") && strcmp(shutdown, "poweroff"))
        return err_set(err, "shutdown=%s: it is poweroff or pause", shutdown);
    if (panic) {
        CliItem *it = g_new0(CliItem, 1);

        it->option = g_strdup("-action");
        it->text = g_strdup_printf("pvpanic.action=%s", panic);
        g_ptr_array_add(cli->globals, it);
    }
    return !watchdog || opt_watchdog_action(cli, watchdog, err);
}

/* --- display --- */

char *cli_list_help(const char *option, const char *arg)
{
    g_auto(GStrv) words = g_strsplit(arg, ",", -1);
    bool help = words[0] && is_help(words[0]);

    if (!strcmp(option, "device")) {
        if (help)
            return device_list_help();
        for (char **w = words[0] ? words + 1 : words; *w; w++) {
            const DeviceClass *cls = is_help(*w) ? device_class_find(words[0]) : NULL;

            if (cls)
                return device_class_help(cls);
        }
        return NULL;
    }
    if (!help)
        return NULL;
    if (!strcmp(option, "chardev"))
        return chardev_list_help();
    if (!strcmp(option, "netdev") || !strcmp(option, "net") || !strcmp(option, "nic"))
        return net_backend_help();
    if (!strcmp(option, "object"))
        return object_list_help();
    if (!strcmp(option, "audiodev"))
        return audio_list_help();
    return NULL;
}

bool opt_display(Cli *cli, const char *arg, GError **err)
{
    if (is_help(arg))
        return print_list(display_list_help());
    g_free(cli->display);
    cli->display = g_strdup(arg);
    return true;
}

bool opt_vga(Cli *cli, const char *arg, GError **err)
{
    static const char *const names[] = { "std", "cirrus", "vmware", "qxl", "virtio", "none", NULL };
    const char *near;

    if (is_help(arg))
        return print_list(g_strjoinv("\n", (char *[]) { (char *)"none", (char *)"std", (char *)"cirrus",
                          (char *)"vmware", (char *)"virtio", (char *)"", NULL }));
    if (!g_strv_contains(names, arg)) {
        near = nearest_name(arg, names);
        return err_set(err, "not a display adapter%s%s%s; there are std, cirrus, vmware, virtio and none",
                       near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    }
    g_free(cli->vga);
    cli->vga = g_strdup(arg);
    return true;
}

bool opt_spice(Cli *cli, const char *arg, GError **err)
{
    return err_set(err, "SPICE is not supported; use -display sdl, -vnc or -display web");
}

bool opt_echr(Cli *cli, const char *arg, GError **err)
{
    uint64_t v;

    if (!parse_uint_text(arg, 255, &v, err))
        return false;
    cli->echr = v;
    return true;
}

bool opt_sandbox(Cli *cli, const char *arg, GError **err)
{
    g_free(cli->sandbox);
    cli->sandbox = g_strdup(arg);
    return cli_sandbox(arg, false, err);
}

bool opt_add_fd(Cli *cli, const char *arg, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(arg, NULL, err);
    uint64_t fd, set;

    if (!l)
        return false;
    if (!optlist_has(l, "fd") || !optlist_has(l, "set"))
        return err_set(err, "fd= and set= are needed");
    if (!optlist_uint(l, "fd", 0, INT_MAX, &fd, err) || !optlist_uint(l, "set", 0, UINT_MAX, &set, err))
        return false;
    if (fd < 3)
        return err_set(err, "fd=%u: 0, 1 and 2 are the terminal's", (unsigned)fd);
    optlist_str(l, "opaque", NULL);
    return optlist_check_unused(l, err) && fdset_add(set, fd, err);
}

bool opt_gdb(Cli *cli, const char *arg, GError **err)
{
    g_free(cli->gdb);
    cli->gdb = g_strdup(arg);
    return true;
}

bool opt_gdb_default(Cli *cli, const char *arg, GError **err) { return opt_gdb(cli, "tcp:localhost:1234", err); }

/* --- logs and information --- */

bool opt_log_items(Cli *cli, const char *arg, GError **err)
{
    return is_help(arg) ? print_list(log_items_help()) : log_set_items(arg, err);
}

bool opt_log_file(Cli *cli, const char *arg, GError **err) { return log_set_file(arg, err); }

bool opt_trace(Cli *cli, const char *arg, GError **err)
{
    if (g_str_has_prefix(arg, "enable="))
        arg += strlen("enable=");
    return is_help(arg) ? print_list(log_traces_help()) : log_enable_trace(arg, err);
}

bool opt_help(Cli *cli, const char *arg, GError **err)
{
    cli_print_help();
    return false;
}

bool opt_version(Cli *cli, const char *arg, GError **err)
{
    cli_print_version();
    return false;
}
