/*
 * ioapic: the I/O interrupt controller, as the board and the local APICs see it.
 */
#ifndef HW_INTC_IOAPIC_H
#define HW_INTC_IOAPIC_H

#include "hw/core/device.h"

enum { IOAPIC_PINS = 24 };

IrqLine ioapic_input(Device *dev, int pin);
/* An EOI broadcast for vector arrived on the bus. Machine lock held. */
void ioapic_eoi(Device *dev, uint8_t vector);
/* Text for "info pic"; caller frees. */
char *ioapic_describe(Device *dev);

#endif
