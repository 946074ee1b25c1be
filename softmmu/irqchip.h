/*
 * irqchip: interrupt controllers and event descriptors inside an engine.
 *
 * KVM can keep the PC's interrupt controllers and its interval timer in the kernel, and can turn a
 * guest's write into an eventfd and an eventfd into an interrupt. The device models stay the one
 * description of state: they fetch the registers before they are looked at or saved, and hand them
 * over after reset and load, in the chips' own terms below. Machine lock held unless said otherwise.
 */
#ifndef SOFTMMU_IRQCHIP_H
#define SOFTMMU_IRQCHIP_H

#include "softmmu/machine.h"

typedef enum {                  /* what the engine keeps: nothing; local APICs; PIC, I/O APIC and PIT too */
    IRQCHIP_OFF, IRQCHIP_SPLIT, IRQCHIP_ON
} IrqchipMode;

enum { IRQCHIP_GSIS = 24, IRQCHIP_LAPIC_WORDS = 64 };

typedef struct PicRegs {        /* one 8259A */
    uint8_t level;              /* input pins, as edge detection saw them */
    uint8_t irr, imr, isr, highest, vector, elcr, elcr_mask;
    uint8_t icw;                /* init word expected next: 0 none, 2-4 */
    bool read_isr, poll, special_mask, auto_eoi, rotate_aeoi, nested, icw4_needed;
} PicRegs;

typedef struct IoapicRegs {
    uint8_t select, id;
    uint32_t irr;
    uint64_t table[IRQCHIP_GSIS];
} IoapicRegs;

typedef struct PitChannelRegs {
    uint32_t count;             /* 1 - 0x10000, binary */
    uint16_t latch;
    uint8_t latch_left;         /* bytes of the latch still unread */
    bool status_latched, bcd, gate;
    uint8_t status, rw, mode, write_low;
    bool write_high, read_high; /* word access: the next byte is the high one */
    int64_t start;              /* CLOCK_RT ns when counting began */
} PitChannelRegs;

typedef struct PitRegs {
    PitChannelRegs ch[3];
    bool irq_off;               /* channel 0 drives nothing (HPET legacy replacement) */
} PitRegs;

/* The engine's side: Accel.irqchip. "get" false: the engine has no such chip. */
typedef struct AccelIrqchip {
    IrqchipMode (*mode)(Machine *m);
    void (*line)(Machine *m, unsigned gsi, int level);              /* ON: any thread */
    void (*msi)(Machine *m, uint64_t addr, uint32_t data);          /* SPLIT, ON: any thread */
    /* SPLIT: what I/O APIC pin n sends, so that its EOI is reported; masked: nothing. */
    void (*ioapic_pin)(Machine *m, unsigned pin, uint64_t addr, uint32_t data, bool masked);
    void (*set_eoi)(Machine *m, void (*fn)(void *opaque, uint8_t vector), void *opaque);    /* SPLIT: EOIs of those */
    bool (*pic_get)(Machine *m, unsigned chip, PicRegs *r);
    void (*pic_set)(Machine *m, unsigned chip, const PicRegs *r);
    bool (*ioapic_get)(Machine *m, IoapicRegs *r);
    void (*ioapic_set)(Machine *m, const IoapicRegs *r);
    /* reinject: ticks the guest was too slow for are delivered later, else dropped. */
    bool (*pit_create)(Machine *m, bool reinject, GError **err);
    bool (*pit_get)(Machine *m, PitRegs *r);
    void (*pit_set)(Machine *m, const PitRegs *r);
} AccelIrqchip;

/* Descriptors instead of calls: Accel.events. Failing is harmless: the caller goes the long way. */
typedef struct AccelEvents {
    /* A guest's write of size bytes to addr (port or memory; with match: of this value) signals fd and goes no further. */
    bool (*io)(Machine *m, bool port, uint64_t addr, unsigned size, bool match, uint64_t value, int fd, bool on);
    /* A message interrupt that fd stands for; negative: none left. */
    int (*msi_new)(Machine *m, uint64_t addr, uint32_t data, int fd);
    bool (*msi_change)(Machine *m, int route, uint64_t addr, uint32_t data);
    void (*msi_free)(Machine *m, int route, int fd);
    /* Signalling fd raises level interrupt gsi; the guest's EOI lowers it and signals resample. ON only. */
    bool (*level)(Machine *m, unsigned gsi, int fd, int resample, bool on);
} AccelEvents;

/* What m's engine keeps. */
IrqchipMode irqchip_mode(const Machine *m);
/* m's engine's controllers; NULL in mode OFF. */
const AccelIrqchip *irqchip_of(const Machine *m);

#endif
