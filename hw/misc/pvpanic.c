/*
 * pvpanic: the guest tells that its kernel panicked.
 *
 * Interface: the "pvpanic" paravirtual device, as Linux drivers/misc/pvpanic uses it: reads give the
 * events that are understood, a write of one of them reports it. docs/hw/pvpanic.md. Machine lock.
 */
#include "hw/isa/isa.h"
#include "hw/nvram/fw_cfg.h"

enum { PANICKED = 1 << 0, CRASH_LOADED = 1 << 1 };

typedef struct Pvpanic {
    Device dev;
    Region io;
    uint32_t ioport;            /* properties */
    uint8_t events;
    int action;
} Pvpanic;

enum { ACT_SHUTDOWN, ACT_PAUSE, ACT_NONE, ACT_FAIL };
static const char *const actions[] = { "shutdown", "pause", "none", "exit-failure", NULL };

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned size)
{
    return ((Pvpanic *)opaque)->events;
}

static void act(Pvpanic *s, int action)
{
    Machine *m = s->dev.machine;

    machine_emit(m, EVENT_GUEST_PANICKED, action == ACT_PAUSE ? "{\"action\": \"pause\"}" :
                 action == ACT_NONE ? "{\"action\": \"run\"}" : "{\"action\": \"poweroff\"}");
    if (action == ACT_NONE)
        return;
    if (action == ACT_PAUSE) {
        machine_request_stop(m, RUN_GUEST_PANICKED);
        return;
    }
    if (action == ACT_FAIL)
        m->exit_code = 1;
    machine_request_shutdown(m, CAUSE_GUEST_PANIC);
}

static void pvpanic_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Pvpanic *s = opaque;
    Machine *m = s->dev.machine;

    val &= s->events;
    if (val & PANICKED) {
        log_info("the guest's kernel panicked");
        act(s, s->action == ACT_SHUTDOWN && m->no_shutdown ? ACT_PAUSE : s->action);
    } else if (val & CRASH_LOADED) {
        log_info("the guest's kernel panicked and goes on with its crash kernel");
    }
}

static const IoOps pvpanic_ops = { pvpanic_read, pvpanic_write, .min = 1, .max = 1 };

static bool pvpanic_realize(Device *dev, GError **err)
{
    Pvpanic *s = (Pvpanic *)dev;
    FwCfg *fw = fw_cfg_find(dev->machine);
    uint8_t port[2];
    g_autoptr(GBytes) data = NULL;

    if (s->ioport > 0xffff)
        return err_set(err, "pvpanic: ioport %#x is no port", s->ioport);
    st16_le(port, s->ioport);
    data = g_bytes_new(port, sizeof port);
    if (fw && !fw_cfg_has_file(fw, "etc/pvpanic-port") && !fw_cfg_add_file(fw, "etc/pvpanic-port", data, err))
        return false;
    return isa_attach_pio(dev, &s->io, "pvpanic", &pvpanic_ops, s->ioport, 1, err);
}

const DeviceClass pvpanic_class = {
    .name = "pvpanic", .desc = "reports a panic of the guest's kernel", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(Pvpanic), .realize = pvpanic_realize,
    .props = (const PropDesc[]) {
        PROP_U32(Pvpanic, ioport, 0x505, "port"), PROP_U8(Pvpanic, events, PANICKED | CRASH_LOADED, "events understood"),
        PROP_ENUM(Pvpanic, action, ACT_SHUTDOWN, actions, "what a panic does (-action panic=)"),
        PROP_END },
    .state = STATE_NONE("an event is reported at once"),
};
