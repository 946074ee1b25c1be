/*
 * pcspk: system control port B: timer 2 gate, speaker enable, refresh and timer outputs.
 *
 * As in the PIIX data sheet, 290550 section 2.5.3. Sound is left to an audio back-end: the bits
 * are kept. Parity and channel checks never happen. docs/hw/pcspk.md. Machine lock.
 */
#include "hw/misc/pcspk.h"

#include "hw/isa/isa.h"
#include "hw/timer/i8254.h"

enum { GATE2 = 1 << 0, SPEAKER = 1 << 1, WRITABLE = 0x0f, REFRESH = 1 << 4, OUT2 = 1 << 5 };
enum { REFRESH_HALF_NS = 15085 };

typedef struct Pcspk {
    Device dev;
    Region io;
    Device *pit;
    uint8_t out;                /* state */
} Pcspk;

void pcspk_connect(Device *dev, Device *pit)
{
    ((Pcspk *)dev)->pit = pit;
}

static void pcspk_update(Pcspk *s)
{
    if (s->pit)
        i8254_set_gate(s->pit, 2, s->out & GATE2);
}

static uint64_t pcspk_read(void *opaque, uint64_t off, unsigned size)
{
    Pcspk *s = opaque;
    bool refresh = device_now(&s->dev) / REFRESH_HALF_NS & 1;

    return s->out | (refresh ? REFRESH : 0) | (s->pit && i8254_out(s->pit, 2) ? OUT2 : 0);
}

static void pcspk_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Pcspk *s = opaque;

    s->out = val & WRITABLE;
    pcspk_update(s);
}

static const IoOps pcspk_ops = { pcspk_read, pcspk_write, .min = 1, .max = 1 };

static void pcspk_reset(Device *dev)
{
    Pcspk *s = (Pcspk *)dev;

    s->out = 0;
    pcspk_update(s);
}

static bool pcspk_realize(Device *dev, GError **err)
{
    return isa_attach_pio(dev, &((Pcspk *)dev)->io, "pcspk", &pcspk_ops, 0x61, 1, err);
}

const DeviceClass pcspk_class = {
    .name = "isa-pcspk", .desc = "PC speaker port", .category = DEVCAT_SOUND, .bus = BUS_ISA,
    .size = sizeof(Pcspk), .internal = true, .no_hotplug = true,
    .realize = pcspk_realize, .reset = pcspk_reset,
    .props = (const PropDesc[]) { PROP_END },
    .state = &(const StateDesc) { .version = 1,
        .fields = (const StateField[]) { STATE_UMAX(Pcspk, out, WRITABLE), STATE_END } },
};
