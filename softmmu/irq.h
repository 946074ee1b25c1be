/*
 * irq: an interrupt line is a function, a cookie and a number.
 *
 * The receiver hands lines out; the sender stores one and sets its level. A zeroed line
 * is unconnected: setting it does nothing. Machine lock held.
 */
#ifndef SOFTMMU_IRQ_H
#define SOFTMMU_IRQ_H

#include <stdbool.h>

typedef struct IrqLine {
    void (*fn)(void *opaque, int n, int level);
    void *opaque;
    int n;
} IrqLine;

static inline void irq_set(const IrqLine *l, int level)
{
    if (l->fn)
        l->fn(l->opaque, l->n, level);
}
static inline void irq_pulse(const IrqLine *l)
{
    irq_set(l, 1);
    irq_set(l, 0);
}

/* One line that drives two; the IrqSplit lives as long as the returned line is used. */
typedef struct IrqSplit { IrqLine a, b; } IrqSplit;
IrqLine irq_split(IrqSplit *s, IrqLine a, IrqLine b);
/* n inputs (up to 64), output high while any is: input i is irq_or_input(o, i). */
typedef struct IrqOr { IrqLine out; unsigned long long levels; } IrqOr;
IrqLine irq_or_input(IrqOr *o, int i);
typedef struct IrqInvert { IrqLine out; } IrqInvert;
IrqLine irq_invert(IrqInvert *v, IrqLine out);

#endif
