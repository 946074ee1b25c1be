/* pcspk: system control port B at 61h: speaker, and the gate and output of timer channel 2. */
#ifndef HW_MISC_PCSPK_H
#define HW_MISC_PCSPK_H

#include "hw/core/device.h"

/* The timer whose channel 2 it gates; before reset. */
void pcspk_connect(Device *dev, Device *pit);

#endif
