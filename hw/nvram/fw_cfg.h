/*
 * fw_cfg: named data a board hands to its firmware.
 */
#ifndef HW_NVRAM_FW_CFG_H
#define HW_NVRAM_FW_CFG_H

#include "hw/core/device.h"

typedef struct FwCfg FwCfg;

enum {                          /* fixed keys */
    FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NOGRAPHIC = 0x04, FW_CFG_NB_CPUS = 0x05, FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a, FW_CFG_INITRD_SIZE = 0x0b, FW_CFG_NUMA = 0x0d, FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f, FW_CFG_KERNEL_ENTRY = 0x10, FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13, FW_CFG_CMDLINE_SIZE = 0x14, FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17, FW_CFG_SETUP_DATA = 0x18, FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20, FW_CFG_FILE_SLOTS = 0x40,
    FW_CFG_X86_ACPI_TABLES = 0x8000, FW_CFG_X86_SMBIOS = 0x8001, FW_CFG_X86_IRQ0_OVERRIDE = 0x8002,
};

FwCfg *fw_cfg_of(Device *dev);
/* The machine's, or NULL. */
FwCfg *fw_cfg_find(Machine *m);

/* Replace or add an item. Bytes are shared, not copied. */
void fw_cfg_add_bytes(FwCfg *f, uint16_t key, GBytes *data);
void fw_cfg_add_int(FwCfg *f, uint16_t key, uint64_t val, unsigned size);      /* little endian */
/* A named file; a second one of the same name replaces the first. False: directory full, name too long. */
bool fw_cfg_add_file(FwCfg *f, const char *name, GBytes *data, GError **err) MUST_CHECK;
bool fw_cfg_has_file(const FwCfg *f, const char *name);
/* fn runs just before the guest reads any of the files after a reset (PCI set up by firmware):
   it may replace files. Once per reset. */
void fw_cfg_on_first_read(FwCfg *f, const char *name, void (*fn)(void *opaque), void *opaque);
/* The user's -fw_cfg text: "[name=]NAME,file=PATH" or ",string=TEXT". */
bool fw_cfg_add_user(FwCfg *f, const char *text, GError **err) MUST_CHECK;
/* The key that name got, 0: no such file. */
uint16_t fw_cfg_file_key(const FwCfg *f, const char *name);

#endif
