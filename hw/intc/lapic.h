/*
 * lapic: the local APICs of a machine: interrupt messages in, vectors out.
 *
 * One device per processor ("apic"), made by the board. The register window at fee00000h belongs
 * to whichever processor accesses it.
 */
#ifndef HW_INTC_LAPIC_H
#define HW_INTC_LAPIC_H

#include "hw/core/device.h"

typedef struct X86Cpu X86Cpu;
typedef struct LapicBus LapicBus;

/* The machine's interrupt message bus: maps the register window, becomes the MSI target. */
LapicBus *lapic_bus_new(Machine *m);
/* EOI broadcasts go to fn (the IOAPIC); ExtINT acknowledges to the PIC. */
void lapic_bus_connect(LapicBus *bus, void (*eoi)(void *opaque, uint8_t vector), void *eoi_opaque,
                       int (*pic_ack)(void *opaque), void *pic_opaque);
/* The PIC's INT pin: LINT0 of every processor. */
IrqLine lapic_bus_lint0(LapicBus *bus);
/* The NMI button: LINT1 of every processor. */
void lapic_bus_nmi(LapicBus *bus);
/* SMRAM hook of the board: called when a processor enters or leaves SMM. */
void lapic_bus_set_smm(LapicBus *bus, void (*fn)(void *opaque, X86Cpu *c, bool in), void *opaque);
/* Gives processor c a local APIC. */
bool lapic_create(LapicBus *bus, X86Cpu *c, GError **err) MUST_CHECK;
/* One interrupt message: MSI address and data words (SDM 3A 11.11). Machine lock held. */
void lapic_bus_message(LapicBus *bus, uint64_t addr, uint32_t data);
/* "info lapic" text; caller frees; NULL: no such processor. */
char *lapic_describe(LapicBus *bus, unsigned cpu);

/* Register access as processor n makes it, for tests. */
uint32_t lapic_read(LapicBus *bus, unsigned cpu, unsigned reg);
void lapic_write(LapicBus *bus, unsigned cpu, unsigned reg, uint32_t val);

#endif
