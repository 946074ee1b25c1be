/* services: the back-ends of one run: character devices, displays, monitors, helper objects. */
#include "cli/cli.h"

#include "block/block.h"
#include "chardev/chardev.h"
#include "hw/core/objects.h"
#include "monitor/gdb.h"
#include "monitor/monitor.h"
#include "net/net.h"
#include "softmmu/accel.h"
#include "ui/audio.h"
#include "ui/display.h"
#include "ui/textconsole.h"

enum { SPEED_US = 500000 };

/* --- hooks the back-ends call --- */

static void hook_quit(void *opaque)
{
    machine_request_shutdown(opaque, CAUSE_HOST_UI);
}

static void hook_sync(void *opaque)
{
    BlockGraph *g = machine_service(opaque, "block");

    if (g)
        block_graph_flush_all(g);
}

static void hook_chr_created(void *opaque, Chardev *chr)
{
    backend_register(opaque, "chardev", chardev_id(chr), chr);
}

static void hook_chr_removed(void *opaque, Chardev *chr)
{
    backend_unregister(opaque, "chardev", chardev_id(chr));
}

/* What the guest's processors did so far: processor time they took, instructions where they are counted. */
static void speed_now(Machine *m, Speed *s)
{
    s->at_us = g_get_monotonic_time();
    s->busy_ns = s->insns = 0;
    for (unsigned i = 0; i < m->vcpus->len; i++) {
        Vcpu *v = g_ptr_array_index(m->vcpus, i);
        g_autofree char *path = g_strdup_printf("/proc/self/task/%d/schedstat", v->host_tid), *text = NULL;

        s->insns += v->stat_insns;
        if (g_file_get_contents(path, &text, NULL, NULL))
            s->busy_ns += g_ascii_strtoull(text, NULL, 10);
    }
}

/* Brings "37 %" or "12 %, 80 MIPS" up to date; several displays may ask at a time. */
static void speed_update(Machine *m, Speed *s)
{
    Speed last = *s;
    int64_t us = g_get_monotonic_time() - last.at_us;
    unsigned mips;

    if (us < SPEED_US)
        return;
    speed_now(m, s);
    mips = (s->insns - last.insns) / us;
    if (last.at_us)
        g_snprintf(s->text, sizeof s->text, mips ? " %u %%, %u MIPS" : " %u %%",
                   (unsigned)((s->busy_ns - last.busy_ns) / 10 / us), mips);
}

static char *hook_title(void *opaque)
{
    Machine *m = opaque;
    Speed *speed = machine_service(m, "speed");

    speed_update(m, speed);
    return g_strdup_printf("%s - %s - %s%s", m->name ? m->name : "quern", run_state_name(m->state),
                           m->accel ? m->accel->name : "", speed->text);
}

static const char *hook_name(void *opaque) { return ((Machine *)opaque)->name; }
static void hook_powerdown(void *opaque) { machine_request_powerdown(opaque); }
static void hook_reset(void *opaque) { machine_request_reset(opaque, CAUSE_HOST_UI); }
static bool hook_running(void *opaque) { return ((Machine *)opaque)->state == RUN_RUNNING; }

static void hook_pause(void *opaque, bool pause)
{
    if (pause)
        machine_stop(opaque, RUN_PAUSED);
    else
        machine_start(opaque);
}

static void block_error(void *opaque, const BlockErrorInfo *info)
{
    Machine *m = opaque;
    g_autofree char *detail = g_strdup_printf("{\"device\": \"%s\", \"operation\": \"%s\", \"action\": \"%s\", "
        "\"nospace\": %s, \"reason\": \"%s\"}", block_dev_name(info->dev), info->is_read ? "read" : "write",
        info->stop ? "stop" : "report", info->nospace ? "true" : "false", g_strerror(info->errnum));

    machine_emit(m, EVENT_BLOCK_IO_ERROR, detail);
    if (info->stop)
        machine_request_stop(m, RUN_IO_ERROR);
}

static void tray_moved(void *opaque, BlockDev *dev, bool open)
{
    g_autofree char *detail = g_strdup_printf("{\"device\": \"%s\", \"id\": \"%s\", \"tray-open\": %s}", block_dev_name(dev),
                                              block_dev_device_id(dev), open ? "true" : "false");

    machine_emit(opaque, EVENT_DEVICE_TRAY_MOVED, detail);
}

static void run_state_changed(void *opaque, MachineEvent ev, const char *detail)
{
    if (ev == EVENT_RESUME)
        block_graph_resume(opaque);
    else if (ev == EVENT_STOP)
        block_graph_drain_all(opaque);         /* a saved state has no request half done */
}

static void *find_drive(void *opaque, const char *id, GError **err)
{
    return block_dev_find(opaque, id, err);
}

/* --- creation --- */

static bool make_chardevs(Services *s, Cli *cli, GError **err)
{
    for (unsigned i = 0; i < cli->chardevs->len; i++) {
        CliItem *it = g_ptr_array_index(cli->chardevs, i);

        if (!chardev_parse(s->chardevs, it->text, err))
            return err_prefix(err, "-chardev %s", it->text);
    }
    return true;
}

static bool make_audiodevs(Services *s, Cli *cli, GError **err)
{
    for (unsigned i = 0; i < cli->audiodevs->len; i++) {
        CliItem *it = g_ptr_array_index(cli->audiodevs, i);
        AudioDev *a = audio_open(it->text, err);

        if (!a)
            return err_prefix(err, "-audiodev %s", it->text);
        g_ptr_array_add(s->audiodevs, a);
        backend_register(s->m, "audiodev", audio_id(a), a);
    }
    return true;
}

/* Creates the chardev of a -serial, -parallel ... value; *id stays NULL for "none". */
static bool make_short(Services *s, const char *option, const char *spec, const char *id, const char **out,
                       GError **err)
{
    bool wants_monitor = false;
    GError *e = NULL;
    Chardev *c = chardev_parse_short(s->chardevs, id, spec, &wants_monitor, &e);

    if (e) {
        g_propagate_prefixed_error(err, e, "%s %s: ", option, spec);
        return false;
    }
    if (c && wants_monitor)
        g_ptr_array_add(s->monitor_chrs, c);
    *out = c ? chardev_id(c) : NULL;
    return true;
}

/* A text console in the window where there is one, else nowhere. */
static bool make_vc(Services *s, const char *id, const char **out)
{
    g_autoptr(GError) e = NULL;

    if (make_short(s, "-serial", "vc", id, out, &e))
        return true;
    g_clear_error(&e);
    return make_short(s, "-serial", "null", id, out, &e);
}

/* The monitor has a text console in the window unless the user placed it; before the serial port's: Ctrl-Alt-2. */
static bool make_default_monitor(Services *s, Cli *cli, GError **err)
{
    bool hidden = cli->nographic || cli->daemonize || (cli->display && g_str_has_prefix(cli->display, "none"));
    const char *id;

    if (hidden || cli->cfg.nodefaults || cli->monitors->len || cli->mons->len || cli->qmps->len)
        return true;
    if (!make_short(s, "-monitor", "vc", "compat_monitor0", &id, err))
        return false;
    g_ptr_array_add(s->monitor_chrs, chardev_find(s->chardevs, id));
    return true;
}

static bool make_ports(Services *s, Cli *cli, GError **err)
{
    MachineConfig *cfg = &cli->cfg;
    static const char *const serial_devices[] = { "isa-serial", "pci-serial", NULL };
    bool own_serial = device_wanted(cli, serial_devices);
    bool defaults = !cfg->nodefaults;

    if (cli->serials->len > BOARD_SERIALS)
        return err_set(err, "a PC has four serial ports");
    for (unsigned i = 0; i < cli->serials->len; i++) {
        CliItem *it = g_ptr_array_index(cli->serials, i);
        g_autofree char *id = g_strdup_printf("serial%u", i);

        if (!make_short(s, "-serial", it->text, id, &cfg->serial[i], err))
            return false;
    }
    if (!cli->serials->len && defaults && !own_serial) {
        bool stdio = cli->nographic && !cli->monitors->len && !cli->qmps->len;

        if (cli->nographic
            ? !make_short(s, "-nographic", stdio ? "mon:stdio" : "stdio", "serial0", &cfg->serial[0], err)
            : !make_vc(s, "serial0", &cfg->serial[0]))
            return false;
    }
    for (unsigned i = 0; i < cli->parallels->len && i < BOARD_PARALLELS; i++) {
        CliItem *it = g_ptr_array_index(cli->parallels, i);
        g_autofree char *id = g_strdup_printf("parallel%u", i);

        if (!make_short(s, "-parallel", it->text, id, &cfg->parallel[i], err))
            return false;
    }
    return true;
}

/* Network filters name a back-end, so they are made after those; back-ends and devices name the others. */
static bool make_objects(Services *s, Cli *cli, bool filters, GError **err)
{
    for (unsigned i = 0; i < cli->objects->len; i++) {
        CliItem *it = g_ptr_array_index(cli->objects, i);
        OptList *l = optlist_parse(it->text, "qom-type", err);

        if (l && g_str_has_prefix(optlist_str(l, "qom-type", ""), "filter-") != filters) {
            optlist_free(l);
            continue;
        }
        if (!l)
            return err_prefix(err, "-object");
        g_ptr_array_add(s->objects, l);
        if (!object_add(s->m, l, err))
            return err_prefix(err, "-object %s", it->text);
    }
    return true;
}

static bool refuse_missing(Cli *cli, GError **err)
{
    if (cli->incoming)
        return err_set(err, "-incoming: migration is not available; use -loadvm FILE");
    if (cli->fsdevs->len || cli->virtfs->len)
        return err_set(err, "sharing folders (-virtfs, -fsdev) is not available");
    if (cli->tpmdevs->len)
        return err_set(err, "-tpmdev: no TPM is available");
    for (unsigned i = 0; i < cli->no_effect->len; i++)
        log_warn("%s has no effect", ((CliItem *)g_ptr_array_index(cli->no_effect, i))->option);
    if (cli->icount)
        log_warn("-icount is ignored: the guest clock follows real time");
    return true;
}

/* Text consoles of the vc back-end, as the chardev folder asks for them. */
static void *vc_open(void *ui, const char *label, int cols, int rows,
                     void (*input)(void *chr, const uint8_t *buf, size_t len), void *chr)
{
    return textconsole_new(ui, g_str_has_prefix(label, "compat_monitor") ? "monitor" : label, cols, rows, input, chr);
}

static void vc_write(void *console, const uint8_t *buf, size_t len)
{
    textconsole_write(console, buf, len);
}

static void vc_close(void *console)
{
    textconsole_free(console);
}

static const ChardevConsoleOps vc_ops = { vc_open, vc_write, vc_close };

bool services_new(Services *s, Cli *cli, Machine *m, GError **err)
{
    ChardevHooks ch = { .quit = hook_quit, .sync_disks = hook_sync, .created = hook_chr_created,
                        .removed = hook_chr_removed, .opaque = m };
    UiHooks uh = { .title = hook_title, .name = hook_name, .quit = hook_quit, .powerdown = hook_powerdown,
                   .reset = hook_reset, .pause = hook_pause, .running = hook_running, .opaque = m };

    s->m = m;
    s->netports = g_ptr_array_new();
    s->nic_ports = g_ptr_array_new();
    s->audiodevs = g_ptr_array_new_with_free_func((GDestroyNotify)audio_close);
    s->objects = g_ptr_array_new_with_free_func((GDestroyNotify)optlist_free);
    s->monitor_chrs = g_ptr_array_new();
    s->ui = ui_new();
    s->chardevs = chardevs_new(&ch);
    chardevs_set_consoles(s->chardevs, &vc_ops, s->ui);
    s->block = block_graph_new(NULL);
    ui_set_hooks(s->ui, &uh);
    block_graph_set_error_hook(s->block, block_error, m);
    block_graph_set_tray_hook(s->block, tray_moved, m);
    machine_listen(m, run_state_changed, s->block);
    backend_register(m, "service", "ui", s->ui);
    backend_register(m, "service", "speed", &s->speed);
    backend_register(m, "ui", "ui", s->ui);
    backend_register(m, "service", "block", s->block);
    backend_register(m, "service", "chardevs", s->chardevs);
    backend_register(m, "service", "netports", s->netports);
    backend_set_resolver(m, "drive", find_drive, s->block);
    if (cli->echr >= 0)
        chardevs_set_escape(s->chardevs, cli->echr);
    if (cli->keyboard && !ui_set_layout(s->ui, cli->keyboard, err))
        return err_prefix(err, "-k");
    return refuse_missing(cli, err) && make_audiodevs(s, cli, err) && make_chardevs(s, cli, err) &&
           make_default_monitor(s, cli, err) && make_ports(s, cli, err) &&
           make_objects(s, cli, false, err);
}

bool services_filters(Services *s, Cli *cli, GError **err)
{
    return make_objects(s, cli, true, err);
}

/* --- monitors --- */

static bool named_chardev(Services *s, const char *option, const char *id, Chardev **out, GError **err)
{
    *out = chardev_find(s->chardevs, id);
    return *out || err_set(err, "%s: there is no chardev '%s'", option, id);
}

static bool add_mon(Services *s, const char *text, GError **err)
{
    g_autoptr(OptList) l = optlist_parse(text, "chardev", err);
    const char *mode, *id;
    bool pretty;
    Chardev *c;

    if (!l || !optlist_bool(l, "pretty", false, &pretty, err))
        return false;
    mode = optlist_str(l, "mode", "readline");
    id = optlist_str(l, "chardev", "");
    if (!optlist_check_unused(l, err) || !named_chardev(s, "-mon", id, &c, err))
        return false;
    if (!strcmp(mode, "control"))
        return qmp_attach(s->m, c, pretty, err);
    if (strcmp(mode, "readline"))
        return err_set(err, "mode is readline or control");
    return hmp_attach(s->m, c, err);
}

static bool add_monitors_of(Services *s, GPtrArray *list, bool qmp, GError **err)
{
    for (unsigned i = 0; i < list->len; i++) {
        CliItem *it = g_ptr_array_index(list, i);
        g_autofree char *id = g_strdup_printf("compat_monitor%s%u", qmp ? "_qmp" : "", i);
        const char *got;

        if (!make_short(s, it->option, it->text, id, &got, err))
            return false;
        if (!got)
            continue;
        if (qmp ? !qmp_attach(s->m, chardev_find(s->chardevs, got), !strcmp(it->option, "-qmp-pretty"), err)
                : !hmp_attach(s->m, chardev_find(s->chardevs, got), err))
            return err_prefix(err, "%s %s", it->option, it->text);
    }
    return true;
}

bool services_monitors(Services *s, Cli *cli, GError **err)
{
    static const char *const dc[] = { "isa-debugcon", NULL };

    for (unsigned i = 0; i < s->monitor_chrs->len; i++)
        if (!hmp_attach(s->m, g_ptr_array_index(s->monitor_chrs, i), err))
            return false;
    for (unsigned i = 0; i < cli->mons->len; i++) {
        CliItem *it = g_ptr_array_index(cli->mons, i);

        if (!add_mon(s, it->text, err))
            return err_prefix(err, "-mon %s", it->text);
    }
    if (!add_monitors_of(s, cli->monitors, false, err) || !add_monitors_of(s, cli->qmps, true, err))
        return false;
    for (unsigned i = 0; i < cli->debugcons->len; i++) {
        CliItem *it = g_ptr_array_index(cli->debugcons, i);
        g_autofree char *props = NULL, *id = g_strdup_printf("debugcon%u", i);
        const char *got;

        if (!make_short(s, "-debugcon", it->text, id, &got, err))
            return false;
        props = g_strdup_printf("chardev=%s", got ? got : "");
        if (got && !device_create(s->m, dc[0], NULL, props, err))
            return err_prefix(err, "-debugcon");
    }
    return true;
}

/* A port for a debugger is one we listen on, without waiting. Caller frees. */
static char *gdb_spec(const char *text)
{
    bool tcp = g_str_has_prefix(text, "tcp:"), listens = tcp || g_str_has_prefix(text, "unix:");

    if (!listens || strstr(text, ",server"))
        return g_strdup(text);
    return g_strconcat(text, ",server=on,wait=off", tcp ? ",nodelay=on" : "", NULL);
}

bool services_gdb(Services *s, Cli *cli, GError **err)
{
    g_autofree char *spec = cli->gdb ? gdb_spec(cli->gdb) : NULL;
    const char *id = NULL;

    if (spec && !make_short(s, "-gdb", spec, "gdb", &id, err))
        return false;
    return !id || gdb_attach(s->m, chardev_find(s->chardevs, id), err) || err_prefix(err, "-gdb %s", cli->gdb);
}

/* --- displays --- */

bool services_displays(Services *s, Cli *cli, GError **err)
{
    bool shown = false;

    for (unsigned i = 0; i < cli->vncs->len; i++) {
        CliItem *it = g_ptr_array_index(cli->vncs, i);

        if (!strcmp(it->text, "none"))
            continue;
        if (!display_open_vnc(s->ui, it->text, err))
            return err_prefix(err, "-vnc %s", it->text);
        shown = true;
    }
    if (cli->display) {
        g_autofree char *spec = g_strconcat(cli->display, cli->full_screen ? ",full-screen=on" : "", NULL);

        return display_open(s->ui, spec, err) || err_prefix(err, "-display %s", cli->display);
    }
    if (shown || cli->nographic || cli->daemonize || !ui_console_count(s->ui))
        return true;
    return display_open(s->ui, NULL, err);
}

void services_free(Services *s)
{
    if (!s->m)
        return;
    while (s->netports->len)
        net_port_free(g_ptr_array_steal_index(s->netports, s->netports->len - 1));
    ui_free(s->ui);
    chardevs_free(s->chardevs);
    block_graph_free(s->block);
    g_ptr_array_free(s->netports, true);
    g_ptr_array_free(s->nic_ports, true);
    g_ptr_array_free(s->objects, true);
    g_ptr_array_free(s->audiodevs, true);
    g_ptr_array_free(s->monitor_chrs, true);
}
