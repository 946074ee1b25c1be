/*
 * uart16550: the chip core of a PC16550D serial port: registers, FIFOs, interrupt; no bus.
 *
 * Embedded in bus glue (isa-serial), which gives it an interrupt line and a Chardev. Machine lock.
 */
#ifndef HW_CHAR_UART16550_H
#define HW_CHAR_UART16550_H

#include "chardev/chardev.h"
#include "hw/core/device.h"

enum { UART_FIFO = 16, UART_REGS = 8 };

typedef struct UartFifo {
    uint8_t data[UART_FIFO];
    uint8_t errors[UART_FIFO];  /* LSR error bits that came with the byte */
    uint8_t head, count;
} UartFifo;

typedef struct Uart16550 {
    ChardevFe fe;
    IrqLine irq;
    Timer timeout;
    uint8_t ier, lcr, mcr, lsr, msr, scr, fcr;
    uint8_t dll, dlm;
    bool thr_pending;           /* transmitter-empty interrupt not yet acknowledged */
    bool timeout_pending;       /* bytes below the trigger level waited too long */
    bool blocked;               /* the back-end did not take the last byte */
    UartFifo rx, tx;
    int64_t timeout_at;         /* vm clock, 0: not running */
} Uart16550;

extern const IoOps uart16550_io_ops;            /* opaque: Uart16550 */
extern const StateDesc uart16550_state;
/* chr may be NULL. */
bool uart16550_init(Uart16550 *u, Machine *m, Chardev *chr, GError **err) MUST_CHECK;
void uart16550_cleanup(Uart16550 *u);
void uart16550_reset(Uart16550 *u);

#endif
