/*
 * mc146818: the real-time clock and its 128 bytes of CMOS memory, as the board sees it.
 */
#ifndef HW_TIMER_MC146818_H
#define HW_TIMER_MC146818_H

#include "hw/core/device.h"

enum { RTC_CMOS_SIZE = 128 };

void mc146818_connect(Device *dev, IrqLine irq8);
/* CMOS bytes above the clock (index 0x0e-0x7f), for board set-up: survive reset. */
void mc146818_set_cmos(Device *dev, unsigned index, uint8_t val);
/* "utc", "localtime", or "2006-06-17T16:01:21" or "2006-06-17"; before realize's first read. */
bool mc146818_set_base(Device *dev, const char *base, GError **err) MUST_CHECK;

#endif
