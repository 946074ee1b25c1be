/*
 * bootrom: the option ROM through which firmware starts a kernel given with -kernel.
 */
#ifndef HW_I386_BOOTROM_H
#define HW_I386_BOOTROM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { BOOTROM_MAX_LOADS = 8 };

typedef struct BootLoad { uint16_t key; uint32_t len; uint64_t addr; } BootLoad;        /* fw_cfg item to memory */

typedef struct BootRom {
    const char *title;          /* in the boot menu */
    BootLoad load[BOOTROM_MAX_LOADS];
    unsigned loads;
    bool multiboot;
    uint16_t segment;           /* Linux: real-mode code is at segment:0, entered at segment+20h:0 */
    uint16_t stack;
    uint32_t map_addr;          /* multiboot: where the memory map goes (below 64 KiB) ... */
    uint32_t map_len_addr;      /* ... and its length in bytes */
    uint32_t gdtr_addr;         /* a table register image in memory, set up by a load */
    uint32_t entry;             /* 32-bit code, entered through selector 8 of that table */
} BootRom;

/* The ROM image, a multiple of 512 bytes. */
GBytes *bootrom_build(const BootRom *b);

#endif
