/*
 * i8254: the programmable interval timer, as the board and port 61h see it.
 */
#ifndef HW_TIMER_I8254_H
#define HW_TIMER_I8254_H

#include "hw/core/device.h"

/* Output of channel 0; before reset. */
void i8254_connect(Device *dev, IrqLine irq0);
void i8254_set_gate(Device *dev, unsigned channel, bool level);
bool i8254_out(Device *dev, unsigned channel);
/* Channel 0 drives its line, or not: for a chip inside the engine, which knows no HPET in between. */
void i8254_set_irq_off(Device *dev, bool off);
/* The output at vm time ns, if nothing is written until then. */
bool i8254_out_at(Device *dev, unsigned channel, int64_t ns);
/* fn(opaque) runs before a write or the gate changes what the channel puts out. One listener; fn NULL: none. */
void i8254_before_change(Device *dev, unsigned channel, void (*fn)(void *opaque), void *opaque);

#endif
