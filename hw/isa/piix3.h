/*
 * piix3: the PCI-to-ISA bridge of the PC board, with the PIRQ router.
 */
#ifndef HW_ISA_PIIX3_H
#define HW_ISA_PIIX3_H

#include "hw/isa/isa.h"
#include "hw/pci/pci.h"

/* Routes the INTx pins of the root bus from now on; pirq_out: an input of each ISA line 0-15. */
void piix3_connect(Device *dev, PciBus *bus, const IrqLine pirq_out[16]);

#endif
