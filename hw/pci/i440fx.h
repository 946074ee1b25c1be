/*
 * i440fx: the host bridge of the PC board: PCI bus, memory map, SMRAM.
 */
#ifndef HW_PCI_I440FX_H
#define HW_PCI_I440FX_H

#include "hw/pci/pci.h"

/* Creates the bridge, bus "pci.0", ports cf8h/cfch and the memory map of m->ram; below_4g bytes of
   RAM lie under 4 GiB, the rest above. NULL and err on failure. */
Device *i440fx_create(Machine *m, uint64_t below_4g, GError **err);
/* The container PCI devices and firmware ROMs live in, under RAM. */
Region *i440fx_pci_memory(Device *dev);
/* A processor entered or left SMM. */
void i440fx_set_smm(Device *dev, unsigned cpu, bool in);
/* Where BARs may be put: [*lo, *hi] of the 32-bit window; any 64-bit BARs above 4 GiB: [*lo64, *hi64],
   or both 0. */
void i440fx_pci_windows(Device *dev, uint64_t *lo, uint64_t *hi, uint64_t *lo64, uint64_t *hi64);

#endif
