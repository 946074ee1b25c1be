/* irq: line helpers: one into two, many into one, inverted. */
#include "softmmu/irq.h"

static void split_set(void *opaque, int n, int level)
{
    IrqSplit *s = opaque;

    irq_set(&s->a, level);
    irq_set(&s->b, level);
}

IrqLine irq_split(IrqSplit *s, IrqLine a, IrqLine b)
{
    s->a = a;
    s->b = b;
    return (IrqLine) { split_set, s, 0 };
}

static void or_set(void *opaque, int n, int level)
{
    IrqOr *o = opaque;

    if (level)
        o->levels |= 1ULL << (n & 63);
    else
        o->levels &= ~(1ULL << (n & 63));
    irq_set(&o->out, o->levels != 0);
}

IrqLine irq_or_input(IrqOr *o, int i)
{
    return (IrqLine) { or_set, o, i };
}

static void invert_set(void *opaque, int n, int level)
{
    IrqInvert *v = opaque;

    irq_set(&v->out, !level);
}

IrqLine irq_invert(IrqInvert *v, IrqLine out)
{
    v->out = out;
    return (IrqLine) { invert_set, v, 0 };
}
