/*
 * wiring: what the devices of one board share: buses, interrupt router, firmware files.
 *
 * One per machine, made on first use and freed with it. Devices look their surroundings up
 * here instead of in globals, so several machines live in one process. Machine lock held.
 */
#ifndef HW_CORE_WIRING_H
#define HW_CORE_WIRING_H

#include "hw/core/device.h"

struct IsaBus;
struct PciBus;
struct FwCfg;

typedef struct Board {
    Machine *machine;
    struct IsaBus *isa;
    struct PciBus *pci;
    struct FwCfg *fw_cfg;
    void (*msi)(void *opaque, uint64_t addr, uint32_t data);    /* interrupt router */
    void *msi_opaque;
    IrqLine a20;                /* A20 gate of every processor: the last writer (port 92h, i8042) wins */
    GPtrArray *firmware_path;   /* char *, owned: -L folders, then the built-in ones */
    GPtrArray *bootable;        /* of BootEntry *, by bootindex */
    GPtrArray *cleanup;         /* of BoardCleanup *: run in reverse when the machine is freed */
    void *impl;                 /* hw/i386's own data */
} Board;

typedef struct BootEntry { int32_t index; char *path; Device *dev; } BootEntry;

Board *board_get(Machine *m);
/* fn(data) when the machine goes away; last registered runs first. */
void board_on_free(Machine *m, void (*fn)(void *data), void *data);
/* Called by machine_free after devices are gone; harmless without a board. */
void board_free(Machine *m);

/* The folders firmware is looked for in after those of -L, a line each. Caller frees. */
char *firmware_folders(void);
/* A firmware file by name ("bios-256k.bin") or by path; NULL and err names the places searched
   and the Debian package to install. Caller frees. */
char *firmware_find(Machine *m, const char *name, GError **err) MUST_CHECK;
/* Its content, at most max bytes. */
GBytes *firmware_load(Machine *m, const char *name, uint64_t max, GError **err) MUST_CHECK;

/* Boot order: dev starts at path (Open Firmware style, "/pci@i0cf8/ethernet@3/..."); index < 0: ignored. */
void boot_order_add(Machine *m, Device *dev, int32_t index, const char *path);
/* The "bootorder" text: one path a line; NULL when empty. Caller frees. */
char *boot_order_text(Machine *m);

#endif
