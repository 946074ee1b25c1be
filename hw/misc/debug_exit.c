/*
 * debug_exit: a port that ends quern: exit status (value << 1) | 1, for test guests.
 *
 * docs/hw/isa-debug-exit.md. Machine lock.
 */
#include "hw/isa/isa.h"

typedef struct DebugExit {
    Device dev;
    Region io;
    uint32_t iobase, iosize;    /* properties */
} DebugExit;

static uint64_t debug_exit_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Machine *m = ((DebugExit *)opaque)->dev.machine;

    m->exit_code = (val << 1 | 1) & 0xff;
    m->quit = true;
    machine_request_shutdown(m, CAUSE_HOST_QMP_QUIT);
}

static const IoOps debug_exit_ops = { debug_exit_read, debug_exit_write, .min = 1, .max = 4 };

static bool debug_exit_realize(Device *dev, GError **err)
{
    DebugExit *s = (DebugExit *)dev;

    if (s->iobase > 0xffff || s->iosize < 1 || s->iosize > 0x100)
        return err_set(err, "isa-debug-exit: iobase %#x or iosize %#x is impossible", s->iobase, s->iosize);
    return isa_attach_pio(dev, &s->io, "isa-debug-exit", &debug_exit_ops, s->iobase, s->iosize, err);
}

const DeviceClass debug_exit_class = {
    .name = "isa-debug-exit", .desc = "ends quern with a status the guest writes", .category = DEVCAT_MISC,
    .bus = BUS_ISA, .size = sizeof(DebugExit), .realize = debug_exit_realize,
    .props = (const PropDesc[]) {
        PROP_U32(DebugExit, iobase, 0x501, "port"), PROP_U32(DebugExit, iosize, 2, "bytes of ports"), PROP_END },
    .state = STATE_NONE("a write ends the machine"),
};
