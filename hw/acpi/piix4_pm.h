/*
 * piix4_pm: ACPI power management of the PC board.
 */
#ifndef HW_ACPI_PIIX4_PM_H
#define HW_ACPI_PIIX4_PM_H

#include "hw/pci/pci.h"

enum { PIIX4_PM_BASE = 0x600, PIIX4_GPE_BASE = 0xafe0, PIIX4_SCI = 9 };

/* The system control interrupt; the button and wake-up events of the machine reach it from now on. */
void piix4_pm_connect(Device *dev, IrqLine sci);
/* A general purpose event 0-15 happened: PCI hot-plug is 1, CPU hot-plug 2. */
void piix4_pm_gpe(Device *dev, unsigned n);

#endif
