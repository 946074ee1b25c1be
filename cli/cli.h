/*
 * cli: what the command line says, collected before anything is built.
 *
 * Option handlers (cli/options.def) only check form and store; cli/launch.c builds the machine from
 * a Cli in a fixed order. Only files of this folder exit or print to stdout.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "hw/i386/board.h"
#include "util/optlist.h"

#include <stdio.h>

/* One -device, -drive, ... as given, for messages and for creation in order. */
typedef struct CliItem {
    const char *option;         /* "-device" */
    char *text;
} CliItem;

typedef struct Cli {
    MachineConfig cfg;
    GPtrArray *strings;         /* owned char * that cfg points to */
    char *machine_type;
    GHashTable *machine_opts;
    bool accel_given, require_kvm;
    char *engine_notice;        /* which engine was chosen and why, to be told when the guest starts; or NULL */
    char *cpu_pm;               /* -overcommit cpu-pm=, or NULL */
    GPtrArray *accels;          /* OptList *: wishes in order; "accel" is the name */
    char *cpu;
    uint64_t ram_size;          /* 0: default */
    uint8_t uuid[16];
    char *name;

    /* Of CliItem *, in command line order. */
    GPtrArray *chardevs, *blockdevs, *drives, *netdevs, *nets, *devices, *globals, *objects, *audiodevs,
              *fsdevs, *tpmdevs;
    GPtrArray *serials, *parallels, *debugcons, *monitors, *qmps, *mons, *vncs, *virtfs;
    GPtrArray *ignored, *no_effect;      /* options taken for the sake of scripts */
    GPtrArray *disks;           /* positional */

    char *display, *vga, *keyboard, *loadvm, *incoming, *image_policy, *gdb, *pidfile, *runas, *chroot, *icount, *sandbox;
    bool nographic, snapshot, daemonize, start_paused, no_reboot, no_shutdown, full_screen;
    int echr;                   /* -1: default */
} Cli;

typedef enum { CLI_RUN, CLI_DONE, CLI_BAD } CliVerdict;
/* Reads the command line. CLI_DONE: something like -help was printed. CLI_BAD: err is set. */
CliVerdict cli_parse(Cli *cli, int argc, char **argv, GError **err);
void cli_init(Cli *cli);
void cli_clear(Cli *cli);
void cli_print_version(void);
void cli_print_help(void);
/* Back-ends of one run: made before the machine's devices, freed after them. */
typedef struct Speed {          /* of the guest's processors, for titles */
    int64_t at_us;
    uint64_t busy_ns, insns;
    char text[32];
} Speed;

typedef struct Services {
    Machine *m;
    struct ChardevSet *chardevs;
    struct BlockGraph *block;
    struct Ui *ui;
    GPtrArray *netports;        /* NetPort *: what -netdev made; also the service "netports" of the machine */
    GPtrArray *nic_ports;       /* NetPort * not owned: waiting for a -net nic */
    GPtrArray *audiodevs;       /* AudioDev * */
    GPtrArray *objects;         /* OptList * of -object */
    GPtrArray *monitor_chrs;    /* Chardev * that get a monitor for people */
    Speed speed;
} Services;
bool services_new(Services *s, Cli *cli, Machine *m, GError **err) MUST_CHECK;
/* -object filter-...: after net_options, for they name a back-end. */
bool services_filters(Services *s, Cli *cli, GError **err) MUST_CHECK;
bool services_displays(Services *s, Cli *cli, GError **err) MUST_CHECK;
bool services_monitors(Services *s, Cli *cli, GError **err) MUST_CHECK;
bool services_gdb(Services *s, Cli *cli, GError **err) MUST_CHECK;      /* once the processors are there */
void services_free(Services *s);
/* Network: -netdev, -nic, -net; fills cfg.nics. */
bool net_options(Services *s, Cli *cli, GError **err) MUST_CHECK;
void net_warn_unused(Services *s);
/* Drives of -drive, -hda ... become devices; then -device; then default drives. */
bool user_devices(Services *s, Cli *cli, GError **err) MUST_CHECK;
bool block_options(Services *s, Cli *cli, GError **err) MUST_CHECK;
/* Was one of these drivers asked for with -device? names ends with NULL. */
bool device_wanted(Cli *cli, const char *const *names);

/* Builds, runs and takes down the machine; the process's exit code. */
int cli_launch(Cli *cli);
/* -sandbox's text (NULL: none) is checked and, asked to, comes into force for all threads. */
bool cli_sandbox(const char *text, bool install, GError **err) MUST_CHECK;
/* -daemonize: forks; the parent waits for cli_daemon_ready and exits. */
bool cli_daemon_start(GError **err);
void cli_daemon_ready(void);

/* What "-OPTION help" prints for options that keep a list, or NULL. Caller frees. */
char *cli_list_help(const char *option, const char *arg);

/* Chooses the engine among the wishes and creates it for m, whose processors will be like cpu_model. */
bool cli_choose_accel(Cli *cli, Machine *m, const void *cpu_model, GError **err);
char *cli_accel_help(void);

/* Verbs: quern img ..., quern nbd ... (cli/verbs.def). */
int verb_doctor(int argc, char **argv);

#define QUERN_VERSION "0.1"
#define QEMU_COMPAT_VERSION "7.2.0"     /* what scripts that parse -version compare with */

#endif
