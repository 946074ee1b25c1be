/*
 * launch: builds the machine a Cli describes, runs it and takes it down.
 *
 * Order: back-ends, engine, board, the user's devices, monitors and displays, CPUs, then privileges
 * are dropped and the guest runs.
 */
#include "cli/cli.h"
#include "cli/lazylib.h"

#include "chardev/chardev.h"
#include "softmmu/accel.h"
#include "target/x86/cpuid.h"
#include "util/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* --- background --- */

static int daemon_pipe = -1;    /* the parent reads our success from it; cli/ is the process's own state */

bool cli_daemon_start(GError **err)
{
    int fds[2];
    char ok = 0;
    pid_t pid;

    if (pipe(fds) < 0)
        return err_set_errno(err, errno, "-daemonize");
    fflush(NULL);
    pid = fork();
    if (pid < 0)
        return err_set_errno(err, errno, "-daemonize");
    if (pid) {
        close(fds[1]);
        _exit(read(fds[0], &ok, 1) == 1 && ok == 1 ? 0 : 1);
    }
    close(fds[0]);
    fcntl(fds[1], F_SETFD, FD_CLOEXEC);
    daemon_pipe = fds[1];
    setsid();
    return true;
}

void cli_daemon_ready(void)
{
    char ok = 1;
    int null;

    if (daemon_pipe < 0)
        return;
    null = open("/dev/null", O_RDWR);
    for (int fd = 0; null >= 0 && fd < 3; fd++)
        dup2(null, fd);
    if (null > 2)
        close(null);
    if (chdir("/") < 0 || write(daemon_pipe, &ok, 1) != 1)
        log_warn("the parent process is gone");
    close(daemon_pipe);
    daemon_pipe = -1;
}

static bool write_pidfile(const char *path, GError **err)
{
    g_autofree char *text = g_strdup_printf("%d\n", getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fd < 0)
        return err_set_errno(err, errno, "-pidfile %s", path);
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        close(fd);
        return err_set(err, "-pidfile %s: another process holds it", path);
    }
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        close(fd);
        return err_set_errno(err, errno, "-pidfile %s", path);
    }
    return true;                /* stays open: the lock lives as long as the process */
}

static bool drop_privileges(Cli *cli, GError **err)
{
    struct passwd *pw = cli->runas ? getpwnam(cli->runas) : NULL;

    if (cli->runas && !pw)
        return err_set(err, "-runas %s: there is no such user", cli->runas);
    if (cli->chroot)
        lazylib_load_all();
    if (cli->chroot && (chroot(cli->chroot) < 0 || chdir("/") < 0))
        return err_set_errno(err, errno, "-chroot %s", cli->chroot);
    if (pw && (initgroups(pw->pw_name, pw->pw_gid) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0))
        return err_set_errno(err, errno, "-runas %s", cli->runas);
    return true;
}

/* --- signals --- */

typedef struct SignalUse { Machine *m; bool asked; } SignalUse;

/* The first asks for an orderly end; should that hang, the second ends at once. */
static gboolean end_signal(gpointer data)
{
    SignalUse *u = data;

    if (u->asked) {
        chardev_restore_terminals();
        _exit(130);
    }
    u->asked = true;
    machine_request_shutdown(u->m, CAUSE_HOST_SIGNAL);
    return G_SOURCE_CONTINUE;
}

static void watch_signals(SignalUse *u, unsigned ids[3])
{
    static const int sigs[] = { SIGINT, SIGTERM, SIGHUP };

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < 3; i++)
        ids[i] = g_unix_signal_add(sigs[i], end_signal, u);
}

/* --- the machine --- */

static uint64_t default_ram(void)
{
    struct sysinfo si;
    uint64_t host = 8 * GiB;

    if (!sysinfo(&si))
        host = (uint64_t)si.totalram * si.mem_unit;
    if (host >= 4 * GiB)
        return 2 * GiB;
    return MAX(host / 2 / (128 * MiB) * (128 * MiB), 256 * MiB);
}

static bool check_ram(uint64_t size, GError **err)
{
    struct sysinfo si;
    uint64_t host;

    if (sysinfo(&si))
        return true;
    host = ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
    if (size > host)
        return err_set(err, "-m: %" G_GUINT64_FORMAT " MiB of guest memory are more than the %" G_GUINT64_FORMAT
                       " MiB this host has", (guint64)(size / MiB), (guint64)(host / MiB));
    return true;
}

static bool pick_vga(Cli *cli, GError **err)
{
    static const char *const explicit[] = { "VGA", "cirrus-vga", "isa-vga", "isa-cirrus-vga", "vmware-svga",
                                            "qxl-vga", "virtio-vga", "virtio-vga-gl", NULL };
    static const char *const names[][2] = { { "std", "VGA" }, { "cirrus", "cirrus-vga" }, { "vmware", "vmware-svga" },
                                            { "virtio", "virtio-vga" }, { "qxl", "qxl-vga" } };

    if (!cli->vga) {
        if (!cli->cfg.nodefaults && !device_wanted(cli, explicit) && device_class_find("VGA"))
            cli->cfg.vga = "VGA";
        return true;
    }
    if (!strcmp(cli->vga, "none"))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (!strcmp(names[i][0], cli->vga))
            cli->cfg.vga = names[i][1];
    if (!cli->cfg.vga || !device_class_find(cli->cfg.vga))
        return err_set(err, "-vga %s: this adapter is not available; try -vga std", cli->vga);
    return true;
}

/* The first part of -name is the name; process= and debug-threads= are accepted. */
static bool read_name(Cli *cli, Machine *m, GError **err)
{
    g_autoptr(OptList) l = NULL;

    if (!cli->name)
        return true;
    l = optlist_parse(cli->name, "guest", err);
    if (!l)
        return false;
    m->name = g_strdup(optlist_str(l, "guest", NULL));
    cli->cfg.name = m->name;
    optlist_str(l, "process", NULL);
    optlist_str(l, "debug-threads", NULL);
    return optlist_check_unused(l, err) || err_prefix(err, "-name");
}

static bool add_globals(Cli *cli, Machine *m, GError **err)
{
    for (unsigned i = 0; i < cli->globals->len; i++) {
        CliItem *it = g_ptr_array_index(cli->globals, i);
        const char *eq = strchr(it->text, '=');
        char *dot = eq ? g_strrstr_len(it->text, eq - it->text, ".") : NULL;

        if (!dot)
            return err_set(err, "-global %s: it is driver.property=value", it->text);
        *dot = 0;
        if (!device_add_global(m, it->text, g_strndup(dot + 1, eq - dot - 1), eq + 1, err))
            return err_prefix(err, "-global");
    }
    return true;
}

static bool build(Cli *cli, Machine *m, Services *s, X86Model **model, GError **err)
{
    MachineConfig *cfg = &cli->cfg;
    bool none = cli->machine_type && !strcmp(cli->machine_type, "none");

    if (!read_name(cli, m, err) || !add_globals(cli, m, err) || !services_new(s, cli, m, err) ||
        !block_options(s, cli, err) || !net_options(s, cli, err) || !services_filters(s, cli, err) ||
        !pick_vga(cli, err))
        return false;
    *model = x86_model_parse(cli->cpu, err);    /* first: engines are tried with it */
    if (!*model)
        return err_prefix(err, "-cpu %s", cli->cpu ? cli->cpu : "");
    if (cfg->cores)
        x86_model_set_topology(*model, cfg->cores, cfg->threads);
    if (none) {
        if (cfg->kernel || cfg->bios)
            return err_set(err, "-machine none has no CPU and no memory: -%s needs -machine pc", cfg->kernel ? "kernel" : "bios");
        m->accel = accel_find("null");
        cfg->cpus = 0;
    } else if (!cli_choose_accel(cli, m, *model, err)) {
        return false;
    }
    cfg->serial_screen = cli->nographic ||
        !g_strcmp0(g_hash_table_lookup(cli->machine_opts, "graphics"), "off");
    cfg->type = cli->machine_type;
    cfg->cpu_model = *model;
    cfg->ram_size = cli->ram_size ? cli->ram_size : default_ram();
    memcpy(m->uuid, cli->uuid, sizeof m->uuid);
    return check_ram(cfg->ram_size, err) && board_create(m, cfg, err) && user_devices(s, cli, err) &&
           board_finish(m, err) && services_monitors(s, cli, err);
}

static bool start(Cli *cli, Machine *m, Services *s, GError **err)
{
    for (unsigned i = 0; i < m->vcpus->len; i++)
        vcpu_start_thread(g_ptr_array_index(m->vcpus, i));
    m->no_reboot = cli->no_reboot;
    m->no_shutdown = cli->no_shutdown;
    machine_reset(m, CAUSE_NONE);
    if (cli->engine_notice)     /* before a display takes the terminal */
        log_info("%s", cli->engine_notice);
    if (!services_displays(s, cli, err))
        return false;
    if (!services_gdb(s, cli, err))
        return false;
    if (cli->loadvm && !machine_load(m, cli->loadvm, err))
        return err_prefix(err, "-loadvm %s", cli->loadvm);
    if (cli->pidfile && !write_pidfile(cli->pidfile, err))
        return false;
    net_warn_unused(s);
    if (!drop_privileges(cli, err))
        return false;
    if (!cli_sandbox(cli->sandbox, true, err))
        return err_prefix(err, "-sandbox");
    cli_daemon_ready();
    if (!cli->start_paused)
        machine_start(m);
    return true;
}

int cli_launch(Cli *cli)
{
    g_autoptr(GError) err = NULL;
    Services s = { 0 };
    X86Model *model = NULL;
    SignalUse use = { 0 };
    unsigned signals[3];
    Machine *m;
    int rc = EXIT_FAILURE;

    if (cli->daemonize && !cli_daemon_start(&err)) {
        fprintf(stderr, "quern: %s\n", err->message);
        return rc;
    }
    machine_lock();
    m = use.m = machine_new(false);
    watch_signals(&use, signals);
    if (build(cli, m, &s, &model, &err) && start(cli, m, &s, &err)) {
        machine_run_loop(m);
        machine_stop(m, RUN_SHUTDOWN);
        rc = m->exit_code;
    }
    machine_free(m);
    services_free(&s);
    if (model)
        x86_model_free(model);
    for (int i = 0; i < 3; i++)
        g_source_remove(signals[i]);
    if (cli->pidfile && rc != EXIT_FAILURE)
        unlink(cli->pidfile);
    machine_unlock();
    chardev_restore_terminals();
    if (err)
        fprintf(stderr, "quern: %s\n", err->message);
    return rc;
}
