/*
 * isa: the ISA bus: sixteen interrupt lines, ports, DMA channels through the 8237.
 */
#ifndef HW_ISA_ISA_H
#define HW_ISA_ISA_H

#include "hw/core/device.h"

typedef struct IsaDma IsaDma;   /* the two 8237s: hw/isa/i8237.h */
typedef struct IsaBus {
    Bus *bus;
    IrqLine irq[16];            /* inputs of the interrupt router (8259 and IOAPIC together) */
    IsaDma *dma;
} IsaBus;

/* The machine's ISA bus; NULL when the board has none. */
IsaBus *isa_bus(Machine *m);
IsaBus *isa_bus_new(Machine *m, Device *owner);         /* board */
/* Gives dev the interrupt line n (0-15). ISA lines may be shared: the bus ORs them. */
bool isa_claim_irq(Device *dev, IrqLine *line, unsigned n, GError **err) MUST_CHECK;
/* device_init_io + mapping at iobase; opaque is dev. Fails if iobase + len leaves the port space. */
bool isa_attach_pio(Device *dev, Region *r, const char *name, const IoOps *ops, uint16_t iobase,
                    uint32_t len, GError **err) MUST_CHECK;

#endif
