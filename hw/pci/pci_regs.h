/* pci_regs: names of the configuration header's registers and bits (PCI 3.0, chapter 6). */
#ifndef HW_PCI_PCI_REGS_H
#define HW_PCI_PCI_REGS_H

enum {                          /* configuration header, PCI 3.0 chapter 6 */
    PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08,
    PCI_CLASS = 0x09, PCI_CACHE_LINE = 0x0c, PCI_LATENCY = 0x0d, PCI_HEADER_TYPE = 0x0e, PCI_BAR0 = 0x10,
    PCI_SUBSYSTEM_VENDOR = 0x2c, PCI_SUBSYSTEM = 0x2e, PCI_ROM_ADDRESS = 0x30, PCI_CAP_POINTER = 0x34,
    PCI_INT_LINE = 0x3c, PCI_INT_PIN = 0x3d, PCI_HEADER_END = 0x40,
};
enum { COMMAND_IO = 1 << 0, COMMAND_MEM = 1 << 1, COMMAND_MASTER = 1 << 2, COMMAND_PARITY = 1 << 6,
       COMMAND_SERR = 1 << 8, COMMAND_INTX_OFF = 1 << 10 };
enum { STATUS_INTX = 1 << 3, STATUS_CAPS = 1 << 4, STATUS_ERRORS = 0xf900 };

#endif
