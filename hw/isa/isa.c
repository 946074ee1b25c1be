/*
 * isa: the ISA bus: shared interrupt lines and port attachment.
 */
#include "hw/isa/isa.h"

#include "hw/core/wiring.h"

enum { ISA_IRQS = 16, ISA_SHARERS = 64 };

typedef struct IsaWires {       /* Bus.impl */
    IsaBus isa;
    IrqOr line[ISA_IRQS];       /* every claimer of a line is one input */
    unsigned used[ISA_IRQS];
} IsaWires;

IsaBus *isa_bus(Machine *m)
{
    return m->board ? m->board->isa : NULL;
}

static void isa_free(void *data)
{
    g_free(data);
}

IsaBus *isa_bus_new(Machine *m, Device *owner)
{
    IsaWires *w = g_new0(IsaWires, 1);

    w->isa.bus = bus_new(BUS_ISA, "isa.0", owner, m);
    w->isa.bus->impl = w;
    board_get(m)->isa = &w->isa;
    board_on_free(m, isa_free, w);
    return &w->isa;
}

bool isa_claim_irq(Device *dev, IrqLine *line, unsigned n, GError **err)
{
    IsaBus *isa = isa_bus(dev->machine);
    IsaWires *w = container_of(isa, IsaWires, isa);

    if (!isa)
        return err_set(err, "%s needs an ISA bus and this machine has none", dev->cls->name);
    if (n >= ISA_IRQS)
        return err_set(err, "%s: irq %u is not an ISA interrupt (0-15)", dev->cls->name, n);
    if (w->used[n] >= ISA_SHARERS)
        return err_set(err, "%s: too many devices share irq %u", dev->cls->name, n);
    w->line[n].out = isa->irq[n];
    *line = irq_or_input(&w->line[n], w->used[n]++);
    return true;
}

bool isa_attach_pio(Device *dev, Region *r, const char *name, const IoOps *ops, uint16_t iobase,
                    uint32_t len, GError **err)
{
    if (len == 0 || iobase + len > 0x10000)
        return err_set(err, "%s: ports %#x+%#x leave the port space", dev->cls->name, iobase, len);
    device_init_io(dev, r, name, ops, len);
    device_map_pio(dev, r, iobase);
    return true;
}
