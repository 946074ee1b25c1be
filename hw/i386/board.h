/*
 * board: machine types and the description a command line builds of one machine.
 *
 * cli/ fills a MachineConfig, creates the Machine and the accelerator, then calls
 * board_create(): that makes CPUs with their local APICs, memory, chipset, on-board devices and
 * firmware. The caller then creates the user's drives and -device devices (buses "pci.0", "isa.0",
 * "ide.0", "ide.1", "i2c"), calls board_finish(), starts vcpu threads, resets and runs the machine.
 */
#ifndef HW_I386_BOARD_H
#define HW_I386_BOARD_H

#include "hw/core/wiring.h"

struct X86Model;

enum { BOARD_SERIALS = 4, BOARD_PARALLELS = 3 };

typedef struct MachineConfig {  /* strings are not owned by the board; NULL: default */
    const char *type;           /* "pc", "none", or a versioned name; NULL: the default board */
    GHashTable *machine_opts;   /* -machine's other keys: char* -> char* text (hpet, smm, ...); or NULL */
    uint64_t ram_size;          /* bytes */
    unsigned cpus, maxcpus;     /* started with / possible; 0 cpus: a bench without processors */
    unsigned sockets, cores, threads;   /* 0: cpus sockets of one core */
    const struct X86Model *cpu_model;   /* from x86_model_parse(); may be NULL when cpus is 0 */
    const char *bios;           /* -bios */
    GPtrArray *firmware_path;   /* -L: char *, searched first; or NULL */
    const char *kernel, *initrd, *append, *dtb;
    const char *boot_order;     /* "cdn"; NULL: "cad" */
    const char *boot_once;
    bool boot_menu, boot_strict;
    int splash_time, reboot_timeout;    /* ms, -1: not given */
    const char *vga;            /* device to create at 00:02.0: "VGA", "cirrus-vga"...; NULL: none */
    GPtrArray *nics;            /* char *: "e1000,netdev=n0,mac=..", created in order after VGA; or NULL */
    const char *serial[BOARD_SERIALS];  /* chardev ids (kind "chardev" back-ends); NULL: no port */
    const char *parallel[BOARD_PARALLELS];
    bool serial_screen;         /* -nographic, -machine graphics=off: the BIOS screen on COM1 too */
    bool usb;                   /* -usb or -machine usb=on: PIIX3 UHCI at 00:01.2 */
    bool no_acpi, no_hpet;
    bool nodefaults;
    const uint8_t *uuid;        /* 16 bytes in text order, or NULL */
    const char *name;           /* -name */
    GPtrArray *smbios;          /* char *: the text after -smbios; or NULL */
    GPtrArray *fw_cfg;          /* char *: the text after -fw_cfg; or NULL */
    GPtrArray *acpitables, *option_roms;        /* char *: the texts after -acpitable and -option-rom; or NULL */
    const char *rtc_base;       /* "utc" (default), "localtime", "2006-06-17T16:01:21" */
    const char *rtc_clock;      /* "host" (default), "rt", "vm" */
} MachineConfig;

typedef struct BoardClass {
    const char *name;           /* "pc-i440fx-7.2" */
    const char *alias;          /* "pc", or NULL */
    const char *desc;
    bool is_default;
    unsigned max_cpus;
    bool (*create)(Machine *m, const MachineConfig *cfg, GError **err);
} BoardClass;

/* By name or alias; the error suggests the nearest name. name NULL: the default board. */
const BoardClass *board_class_find(const char *name, GError **err);
const BoardClass *const *board_class_list(void);        /* NULL-terminated */
char *board_list_help(void);                            /* "-machine help"; caller frees */
/* Keys -machine takes besides type, accel and memory-backend, NULL-terminated: for suggestions. */
const char *const *board_option_names(void);

/* Builds the machine (see above). On failure the caller frees the Machine. Machine lock held. */
bool board_create(Machine *m, const MachineConfig *cfg, GError **err) MUST_CHECK;
/* All devices exist: firmware tables (ACPI, SMBIOS, boot order) take their final form. Once. */
bool board_finish(Machine *m, GError **err) MUST_CHECK;

/* Text for the monitor; caller frees; NULL when the board has no such part. */
char *board_info_irq(Machine *m);                       /* "info irq": how often each line was raised */
char *board_info_pic(Machine *m);                       /* "info pic" */
char *board_info_lapic(Machine *m, unsigned cpu);       /* "info lapic" */
char *board_info_pci(Machine *m);                       /* "info pci" */
/* "nmi": through LINT1 of every processor. */
void board_inject_nmi(Machine *m);

#endif
