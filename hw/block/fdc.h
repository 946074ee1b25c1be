/* fdc: the floppy controller as the board sees it. */
#ifndef HW_BLOCK_FDC_H
#define HW_BLOCK_FDC_H

#include "hw/core/device.h"

/* CMOS drive type (RTC byte 10h: 0 none, 2 1.2 MB, 4 1.44 MB, 5 2.88 MB) of unit 0 or 1. dev may be NULL. */
unsigned fdc_cmos_type(Device *dev, unsigned unit);

#endif
