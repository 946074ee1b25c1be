/*
 * hpet: the high precision event timer, as the board wires it.
 */
#ifndef HW_TIMER_HPET_H
#define HW_TIMER_HPET_H

#include "hw/core/device.h"

enum { HPET_BASE = 0xfed00000, HPET_PINS = 24 };

/* Interrupt inputs 0-23 (global system interrupts; 0 and 8 take the legacy replacements). */
void hpet_connect(Device *dev, const IrqLine gsi[HPET_PINS]);
/* Where the PIT's (0) and the clock's (1) interrupt go in: blocked in legacy replacement mode. */
IrqLine hpet_legacy_input(Device *dev, int n);
/* High while in legacy replacement mode: for a PIT whose line does not come by here. */
void hpet_connect_replacing(Device *dev, IrqLine replacing);

#endif
