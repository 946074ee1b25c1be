/*
 * kernel_int: shared by the loaders of Linux and multiboot kernels.
 */
#ifndef HW_I386_KERNEL_INT_H
#define HW_I386_KERNEL_INT_H

#include "hw/i386/board_int.h"
#include "hw/i386/bootrom.h"

/* SeaBIOS lists option ROMs of the folder genroms/ by this name in the boot order. */
#define BOOTROM_NAME "quern-boot.bin"

GBytes *kernel_read_file(const char *path, const char *option, uint64_t max, GError **err);
void kernel_publish(Pc *pc, uint16_t addr_key, uint16_t size_key, uint16_t data_key, uint32_t addr, GBytes *data);
bool kernel_add_rom(Pc *pc, const BootRom *rom, GError **err);

bool multiboot_detect(GBytes *file);
bool multiboot_setup(Pc *pc, GBytes *file, GError **err);

#endif
