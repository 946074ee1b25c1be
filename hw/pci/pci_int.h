/* pci_int: what the files of the PCI core share. */
#ifndef HW_PCI_PCI_INT_H
#define HW_PCI_PCI_INT_H

#include "hw/pci/pci.h"
#include "hw/pci/pci_regs.h"

void pci_intx_update(PciDevice *pd);
void pci_msi_reset(PciDevice *pd);
void pci_msi_config_written(PciDevice *pd, unsigned off, unsigned len);
void pci_msi_free(PciDevice *pd);
bool pci_msi_state_ok(PciDevice *pd, GError **err);

#endif
