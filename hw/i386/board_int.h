/*
 * board_int: what the files of the PC board share.
 */
#ifndef HW_I386_BOARD_INT_H
#define HW_I386_BOARD_INT_H

#include "hw/i386/board.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/nvram/fw_cfg.h"
#include "hw/pci/pci.h"

enum { GSIS = 24, PC_USER_TABLES = 16 };

typedef struct PcGsi {          /* one global system interrupt: PIC and I/O APIC inputs */
    IrqLine pic, ioapic;
    bool up;
    uint64_t raised;            /* since start, for "info irq" */
} PcGsi;

typedef struct Pc {             /* Board.impl */
    Machine *machine;
    Device *bridge, *isa_bridge, *pm, *pic, *ioapic, *pit, *rtc, *hpet, *fw_cfg_dev, *dma, *fdc;
    LapicBus *lapics;
    FwCfg *fw_cfg;
    PcGsi gsi[GSIS];
    RamBlock *bios;
    Region bios_high, bios_low;
    uint64_t below_4g, above_4g;
    GPtrArray *acpi_tables;     /* of GBytes *: whole tables of the user */
    bool a20;
    bool smm, acpi, s3, s4;
    unsigned cpus, maxcpus;
    MachineConfig cfg;          /* valid until pc_finish() returns */
} Pc;

bool pc_create(Machine *m, const MachineConfig *cfg, GError **err);
bool pc_finish(Pc *pc, GError **err);

/* bootorder.c: every device with a bootindex joins the board's boot order. */
void pc_collect_boot_order(Pc *pc);
/* acpi_tables.c: etc/acpi/tables, etc/acpi/rsdp, etc/table-loader; built again when firmware reads them. */
bool pc_acpi_setup(Pc *pc, GError **err);
/* smbios.c: etc/smbios/smbios-tables and -anchor from -smbios, -uuid, memory and CPU figures. */
bool pc_smbios_setup(Pc *pc, GError **err);
/* firmware_log.c: the port SeaBIOS writes its messages to; tells the user that nothing boots. */
void pc_firmware_log(Machine *m);
/* user_tables.c: -acpitable into acpi_tables; -option-rom into fw_cfg. */
bool pc_user_tables(Pc *pc, GError **err);
bool pc_user_roms(Pc *pc, GError **err);
/* kernel.c: -kernel, -initrd, -append: fw_cfg items and a boot ROM. */
bool pc_kernel_setup(Pc *pc, GError **err);

#endif
