/* console: how devices find the screens and input of their machine. */
#ifndef HW_DISPLAY_CONSOLE_H
#define HW_DISPLAY_CONSOLE_H

#include "hw/core/device.h"
#include "ui/console.h"

/* cli/ registers the machine's Ui as back-end "ui" of kind "ui"; NULL (tests): nobody sees the screen. */
static inline Ui *device_ui(Device *dev)
{
    return backend_find(dev->machine, "ui", "ui");
}

#endif
