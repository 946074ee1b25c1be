/*
 * port92: system control port A: fast A20 gate and fast processor reset.
 *
 * As on the PS/2: bit 1 gates A20, a rising bit 0 resets. docs/hw/port92.md. Machine lock.
 */
#include "hw/core/wiring.h"
#include "hw/isa/isa.h"

enum { FAST_RESET = 1 << 0, A20_ON = 1 << 1 };

typedef struct Port92 {
    Device dev;
    Region io;
    uint8_t out;                /* state */
} Port92;

static void port92_update(Port92 *s)
{
    irq_set(&board_get(s->dev.machine)->a20, s->out & A20_ON);
}

static uint64_t port92_read(void *opaque, uint64_t off, unsigned size)
{
    return ((Port92 *)opaque)->out;
}

static void port92_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Port92 *s = opaque;
    bool reset = (val & FAST_RESET) && !(s->out & FAST_RESET);

    s->out = val;
    port92_update(s);
    if (reset)
        machine_request_reset(s->dev.machine, CAUSE_GUEST_RESET);
}

static const IoOps port92_ops = { port92_read, port92_write, .min = 1, .max = 1 };

static void port92_reset(Device *dev)
{
    Port92 *s = (Port92 *)dev;

    s->out = A20_ON;
    port92_update(s);
}

static bool port92_realize(Device *dev, GError **err)
{
    return isa_attach_pio(dev, &((Port92 *)dev)->io, "port92", &port92_ops, 0x92, 1, err);
}

/* The gate itself is saved with the processors. */
const DeviceClass port92_class = {
    .name = "port92", .desc = "system control port A", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(Port92), .internal = true, .no_hotplug = true,
    .realize = port92_realize, .reset = port92_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1, .fields = (const StateField[]) { STATE_U8(Port92, out), STATE_END } },
};
