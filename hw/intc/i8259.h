/*
 * i8259: the two cascaded interrupt controllers of a PC.
 */
#ifndef HW_INTC_I8259_H
#define HW_INTC_I8259_H

#include "hw/core/device.h"

/* Input n (0-15) of the pair; 2 is the cascade and not connected. */
IrqLine i8259_input(Device *dev, int n);
/* Where the master's INT pin goes; before the first input changes. */
void i8259_connect(Device *dev, IrqLine out);
/* INTA cycle: the vector of the highest request, or the spurious one. */
int i8259_ack(Device *dev);
/* "info pic" text; caller frees. */
char *i8259_describe(Device *dev);

#endif
