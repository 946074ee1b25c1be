/*
 * piix4_pm: ACPI power management of the PC board.
 */
#ifndef HW_ACPI_PIIX4_PM_H
#define HW_ACPI_PIIX4_PM_H

#include "hw/pci/pci.h"

enum { PIIX4_PM_BASE = 0x600, PIIX4_GPE_BASE = 0xafe0, PIIX4_SCI = 9 };
/* PCI hot plug: bitmaps of slots at PIIX4_PCIHP_BASE: came (read clears), shall go, eject (write); event 1. */
enum { PIIX4_PCIHP_BASE = 0xae00, PIIX4_PCIHP_EVENT = 1 };

/* The system control interrupt; the button and wake-up events of the machine reach it from now on. */
void piix4_pm_connect(Device *dev, IrqLine sci);
/* Cards on bus may come and go: the guest hears of it by ACPI. */
void piix4_pm_hotplug(Device *dev, PciBus *bus);
/* A general purpose event 0-15 happened: PCI hot-plug is 1, CPU hot-plug 2. */
void piix4_pm_gpe(Device *dev, unsigned n);

#endif
