/*
 * i8254: three-channel programmable interval timer at 1.193182 MHz.
 *
 * Intel 8254 data sheet (231164). Counters are computed from the virtual clock; only channel 0
 * owns a host timer. Modelled: modes 0-5, LSB/MSB access, latch, read-back, BCD, gates. Left
 * out: the one-clock load delay, and a new count waiting for the end of the period in modes 2
 * and 3 (it takes effect at once). docs/hw/i8254.md. An engine may keep the chip
 * (softmmu/irqchip.h): then this is its state between the engine's runs. Machine lock.
 */
#include "hw/timer/i8254.h"

#include "hw/timer/catch_up.h"
#include "softmmu/irqchip.h"

enum { CHANNELS = 3, R_CONTROL = 3 };
enum { RW_LATCH = 0, RW_LSB = 1, RW_MSB = 2, RW_WORD = 3 };
#define PIT_HZ 1193182
#define MIN_PERIOD_NS (50 * NS_PER_US)          /* of the interrupt: a guest may ask for 838 ns */

enum { LOST_DELAY, LOST_DISCARD };

typedef struct Channel {
    uint32_t count;             /* 1 - 0x10000, binary */
    int64_t start;              /* vm ns when counting from count began */
    int64_t frozen;             /* ticks counted when the gate closed, -1: running */
    uint16_t latch;             /* latched count */
    uint8_t latch_left;         /* bytes of the latch still unread */
    uint8_t status;
    bool status_latched;
    uint8_t rw, mode;
    bool bcd, gate, loaded;     /* loaded: a count was written since the mode was set */
    bool triggered;             /* modes 1 and 5: gate rose after the count was written */
    bool write_high, read_high; /* word access: the next byte is the high one */
    uint8_t write_low;
} Channel;

typedef struct I8254 {
    Device dev;
    Region io;
    IrqLine irq;
    Timer timer;
    int lost_tick_policy;       /* property: LOST_* */
    bool in_engine;
    bool parked;                /* in_engine, but the machine stands: the state is here */
    bool irq_off;               /* HPET legacy replacement: channel 0 drives nothing */
    struct { void (*fn)(void *opaque); void *opaque; } before_change[CHANNELS];
    Channel ch[CHANNELS];       /* state */
    int64_t next_edge;          /* vm ns of the next rising edge of channel 0; 0: none */
} I8254;

static int64_t ns_to_ticks(int64_t ns)
{
    return (int64_t)((__int128)ns * PIT_HZ / NS_PER_SEC);
}

static int64_t ticks_to_ns(int64_t ticks)       /* rounded up: at that time the tick has happened */
{
    return (int64_t)(((__int128)ticks * NS_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

static unsigned to_bcd(unsigned v)
{
    return v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12;
}

static unsigned from_bcd(unsigned v)
{
    return (v & 15) + (v >> 4 & 15) * 10 + (v >> 8 & 15) * 100 + (v >> 12 & 15) * 1000;
}

static bool one_shot(const Channel *c)
{
    return c->mode != 2 && c->mode != 3;
}

static bool gate_starts(const Channel *c)
{
    return c->mode == 1 || c->mode == 5;
}

static int64_t elapsed_at(const Channel *c, int64_t now)
{
    return c->frozen >= 0 ? c->frozen : now > c->start ? ns_to_ticks(now - c->start) : 0;
}

static int64_t elapsed(const I8254 *s, const Channel *c)
{
    return elapsed_at(c, clock_ns(s->dev.machine->clocks, CLOCK_VM));
}

static void before_change(I8254 *s, unsigned channel)
{
    if (s->before_change[channel].fn)
        s->before_change[channel].fn(s->before_change[channel].opaque);
}

static unsigned counter_value(const I8254 *s, const Channel *c)
{
    int64_t d = elapsed(s, c);
    unsigned v;

    if (!c->loaded || (gate_starts(c) && !c->triggered))
        v = c->count;
    else if (c->mode == 3)
        v = c->count - (2 * d) % c->count;
    else if (c->mode == 2)
        v = c->count - d % c->count;
    else
        v = (c->count - d) & 0xffff;
    return c->bcd ? to_bcd(v % 10000) : v & 0xffff;
}

static bool level_after(const Channel *c, int64_t d)
{
    if (!c->loaded)
        return c->mode != 0;
    switch (c->mode) {
    case 0:
        return d >= c->count;
    case 1:
        return !c->triggered || d >= c->count;
    case 2:
        return !c->gate || d % c->count != c->count - 1;
    case 3:
        return !c->gate || d % c->count < (c->count + 1) / 2;
    default:
        return (c->mode == 5 && !c->triggered) || d != c->count;
    }
}

static bool output_level(const I8254 *s, const Channel *c)
{
    return level_after(c, elapsed(s, c));
}

/* The next rising edge of channel 0 at or after `from`, 0: none. */
static int64_t next_edge(const I8254 *s, int64_t from)
{
    const Channel *c = &s->ch[0];
    int64_t d, edge;

    if (!c->loaded || c->frozen >= 0 || (gate_starts(c) && !c->triggered))
        return 0;
    if (one_shot(c)) {
        edge = c->start + ticks_to_ns(c->count + (c->mode == 4 || c->mode == 5));
        return edge >= from ? edge : 0;
    }
    d = from > c->start ? ns_to_ticks(from - c->start) : 0;
    edge = c->start + ticks_to_ns((d / c->count + 1) * c->count);
    return edge;
}

/* --- the chip inside the engine --- */

enum { MODE_NONE = 0xff };      /* an engine's mode of a channel that waits for its count */

static int64_t engine_to_vm(const I8254 *s)
{
    Clocks *c = s->dev.machine->clocks;

    return clock_ns(c, CLOCK_VM) - clock_ns(c, CLOCK_RT);
}

static void fetch_channel(const I8254 *s, Channel *c, const PitChannelRegs *r)
{
    c->count = CLAMP(r->count, 1, 0x10000);
    c->start = MAX(r->start + engine_to_vm(s), 0);
    c->latch = r->latch;
    c->latch_left = r->latch_left;
    c->status = r->status;
    c->status_latched = r->status_latched;
    c->rw = r->rw & 3;
    c->loaded = r->mode != MODE_NONE;
    if (c->loaded)
        c->mode = MIN(r->mode, 5);
    c->bcd = r->bcd;
    c->gate = r->gate;
    c->triggered = true;
    c->write_high = r->write_high;
    c->read_high = r->read_high;
    c->write_low = r->write_low;
    c->frozen = -1;
    if (!c->gate && !gate_starts(c))
        c->frozen = elapsed(s, c);
}

static void fetch(I8254 *s)
{
    PitRegs r;

    if (!s->in_engine || s->parked || !irqchip_of(s->dev.machine)->pit_get(s->dev.machine, &r))
        return;
    for (unsigned i = 0; i < CHANNELS; i++)
        fetch_channel(s, &s->ch[i], &r.ch[i]);
    s->next_edge = next_edge(s, device_now(&s->dev));
}

static void hand_over(I8254 *s)
{
    PitRegs r = { .irq_off = s->irq_off };

    if (!s->in_engine || s->parked)
        return;
    for (unsigned i = 0; i < CHANNELS; i++) {
        const Channel *c = &s->ch[i];

        r.ch[i] = (PitChannelRegs) {
            .count = c->count, .latch = c->latch, .latch_left = c->latch_left, .status_latched = c->status_latched,
            .bcd = c->bcd, .gate = c->gate, .status = c->status, .rw = c->rw, .mode = c->loaded ? c->mode : MODE_NONE,
            .write_low = c->write_low, .write_high = c->write_high, .read_high = c->read_high,
            .start = c->start - engine_to_vm(s) };
    }
    irqchip_of(s->dev.machine)->pit_set(s->dev.machine, &r);
}

/* The engine's timer knows no stopped machine: its state is taken out and put back. */
static void run_state_changed(void *opaque, MachineEvent ev, const char *detail)
{
    I8254 *s = opaque;

    if (ev == EVENT_STOP) {
        fetch(s);
        s->parked = true;
    } else if (ev == EVENT_RESUME) {
        s->parked = false;
        hand_over(s);
    }
}

/* --- the chip --- */

static void i8254_update(I8254 *s)
{
    const Channel *c = &s->ch[0];
    int64_t now = device_now(&s->dev);

    if (s->in_engine) {
        hand_over(s);
        return;
    }
    /* In the periodic modes the line rests high and the timer makes the edges. */
    irq_set(&s->irq, one_shot(c) ? output_level(s, c) : c->loaded);
    s->next_edge = next_edge(s, now);
    timer_set(&s->timer, s->irq_off ? 0 : s->next_edge);        /* nobody hears the edges: nothing to wake up for */
}

void i8254_set_irq_off(Device *dev, bool off)
{
    I8254 *s = (I8254 *)dev;

    if (s->irq_off == off)
        return;
    fetch(s);
    s->irq_off = off;
    i8254_update(s);
}

static void i8254_expire(void *opaque)
{
    I8254 *s = opaque;
    int64_t now = device_now(&s->dev), from = s->next_edge;

    irq_set(&s->irq, 0);
    irq_set(&s->irq, 1);
    if (one_shot(&s->ch[0])) {
        s->next_edge = 0;
        return;
    }
    if (from < now - MAX_CATCH_UP_NS)
        from = now;
    if (ticks_to_ns(s->ch[0].count) < MIN_PERIOD_NS)
        from = MAX(from, now + MIN_PERIOD_NS);
    s->next_edge = next_edge(s, from + 1);
    /* A tick being made up for leaves the guest time to take the one before. */
    timer_set(&s->timer, MAX(s->next_edge, now + MIN(CATCH_UP_GAP_NS, ticks_to_ns(s->ch[0].count) / 2)));
}

static void channel_load(I8254 *s, Channel *c, unsigned val)
{
    if (c->bcd)
        c->count = val ? from_bcd(val) : 10000;
    else
        c->count = val ? val : 0x10000;
    c->count = MAX(c->count, 1);
    c->start = device_now(&s->dev);
    c->loaded = true;
    if (gate_starts(c))
        c->triggered = false;
    c->frozen = c->gate || gate_starts(c) ? -1 : 0;
}

static void channel_latch(I8254 *s, Channel *c)
{
    if (c->latch_left)
        return;
    c->latch = counter_value(s, c);
    c->latch_left = c->rw == RW_WORD ? 2 : 1;
    if (c->rw == RW_MSB)
        c->latch >>= 8;
}

static void read_back(I8254 *s, uint8_t val)
{
    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &s->ch[i];

        if (!(val & 2 << i))
            continue;
        if (!(val & 0x20))
            channel_latch(s, c);
        if (!(val & 0x10) && !c->status_latched) {
            c->status = output_level(s, c) << 7 | !c->loaded << 6 | c->rw << 4 | c->mode << 1 | c->bcd;
            c->status_latched = true;
        }
    }
}

static void control_write(I8254 *s, uint8_t val)
{
    Channel *c;

    if (val >> 6 == 3) {
        read_back(s, val);
        return;
    }
    c = &s->ch[val >> 6];
    if ((val >> 4 & 3) == RW_LATCH) {
        channel_latch(s, c);
        return;
    }
    before_change(s, val >> 6);
    c->rw = val >> 4 & 3;
    c->mode = val >> 1 & 7;
    if (c->mode > 5)
        c->mode &= 3;           /* 6 and 7 are 2 and 3 */
    c->bcd = val & 1;
    c->write_high = c->read_high = c->loaded = c->triggered = c->status_latched = false;
    c->latch_left = 0;
    c->frozen = -1;
}

static void i8254_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    I8254 *s = opaque;
    Channel *c;

    trace(i8254_write, "reg=%u val=%#x", (unsigned)off, (unsigned)val);
    fetch(s);
    if (off == R_CONTROL) {
        control_write(s, val);
        if (val >> 6 == 0 && (val & 0x30))
            i8254_update(s);
        else
            hand_over(s);
        return;
    }
    c = &s->ch[off];
    before_change(s, off);
    if (c->rw == RW_LSB) {
        channel_load(s, c, val);
    } else if (c->rw == RW_MSB) {
        channel_load(s, c, val << 8);
    } else if (c->write_high) {
        c->write_high = false;
        channel_load(s, c, val << 8 | c->write_low);
    } else {
        c->write_low = val;
        c->write_high = true;
        hand_over(s);
        return;
    }
    if (off == 0)
        i8254_update(s);
    else
        hand_over(s);
}

static uint8_t channel_read(I8254 *s, Channel *c)
{
    unsigned v;

    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latch_left) {
        v = c->latch & 0xff;
        c->latch >>= 8;
        c->latch_left--;
        return v;
    }
    v = counter_value(s, c);
    if (c->rw == RW_LSB)
        return v & 0xff;
    if (c->rw == RW_MSB)
        return v >> 8;
    c->read_high = !c->read_high;
    return c->read_high ? v & 0xff : v >> 8;
}

static uint64_t i8254_read(void *opaque, uint64_t off, unsigned size)
{
    I8254 *s = opaque;
    uint8_t v;

    if (off == R_CONTROL)
        return 0xff;
    fetch(s);
    v = channel_read(s, &s->ch[off]);
    hand_over(s);
    return v;
}

static const IoOps i8254_io = { i8254_read, i8254_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

void i8254_connect(Device *dev, IrqLine irq0)
{
    ((I8254 *)dev)->irq = irq0;
}

bool i8254_out(Device *dev, unsigned channel)
{
    I8254 *s = (I8254 *)dev;

    fetch(s);
    return output_level(s, &s->ch[channel]);
}

bool i8254_out_at(Device *dev, unsigned channel, int64_t ns)
{
    const Channel *c = &((I8254 *)dev)->ch[channel];

    return level_after(c, elapsed_at(c, ns));
}

void i8254_before_change(Device *dev, unsigned channel, void (*fn)(void *opaque), void *opaque)
{
    I8254 *s = (I8254 *)dev;

    s->before_change[channel].fn = fn;
    s->before_change[channel].opaque = opaque;
}

void i8254_set_gate(Device *dev, unsigned channel, bool level)
{
    I8254 *s = (I8254 *)dev;
    Channel *c = &s->ch[channel];
    int64_t now = device_now(dev);

    if (level == c->gate)
        return;
    fetch(s);
    before_change(s, channel);
    if (!level && !gate_starts(c)) {
        c->frozen = elapsed(s, c);
    } else if (level && !one_shot(c)) {
        c->start = now;
        c->frozen = -1;
    } else if (level && gate_starts(c)) {
        c->start = now;
        c->triggered = true;
    } else if (level && c->frozen >= 0) {
        c->start = now - ticks_to_ns(c->frozen);
        c->frozen = -1;
    }
    c->gate = level;
    hand_over(s);
}

static void i8254_reset(Device *dev)
{
    I8254 *s = (I8254 *)dev;

    s->irq_off = false;
    for (unsigned i = 0; i < CHANNELS; i++) {
        s->ch[i] = (Channel) { .count = 0x10000, .frozen = -1, .mode = 3, .rw = RW_WORD, .gate = i != 2 };
        s->ch[i].start = device_now(dev);
    }
    i8254_update(s);
}

static bool i8254_realize(Device *dev, GError **err)
{
    I8254 *s = (I8254 *)dev;

    for (unsigned i = 0; i < CHANNELS; i++)
        s->ch[i] = (Channel) { .count = 0x10000, .frozen = -1, .mode = 3, .rw = RW_WORD, .gate = i != 2 };
    device_timer_init(dev, &s->timer, i8254_expire);
    s->timer.any_thread = true;
    device_init_io(dev, &s->io, "i8254", &i8254_io, 4);
    device_map_pio(dev, &s->io, 0x40);
    if (irqchip_mode(dev->machine) == IRQCHIP_ON) {
        if (!irqchip_of(dev->machine)->pit_create(dev->machine, s->lost_tick_policy == LOST_DELAY, err))
            return false;
        s->in_engine = s->parked = true;
        machine_listen(dev->machine, run_state_changed, s);
    }
    return true;
}

static void i8254_unrealize(Device *dev)
{
    timer_del(&((I8254 *)dev)->timer);
}

static void i8254_saving(void *opaque)
{
    fetch(opaque);
}

static bool i8254_loaded(void *opaque, GError **err)
{
    I8254 *s = opaque;

    for (unsigned i = 0; i < CHANNELS; i++) {
        Channel *c = &s->ch[i];

        if (c->count < 1 || c->start < 0 || c->frozen < -1 || c->frozen > INT64_MAX / 4 || s->next_edge < 0)
            return err_set(err, "impossible 8254 state");
    }
    if (s->in_engine) {
        hand_over(s);
        return true;
    }
    irq_set(&s->irq, one_shot(&s->ch[0]) ? output_level(s, &s->ch[0]) : s->ch[0].loaded);
    timer_set(&s->timer, s->next_edge);
    return true;
}

static const StateDesc channel_state = {
    .name = "channel", .version = 1, .fields = (const StateField[]) {
        STATE_UMAX(Channel, count, 0x10000), STATE_I64(Channel, start), STATE_I64(Channel, frozen),
        STATE_U16(Channel, latch), STATE_UMAX(Channel, latch_left, 2), STATE_U8(Channel, status),
        STATE_B(Channel, status_latched), STATE_UMAX(Channel, rw, 3), STATE_UMAX(Channel, mode, 5),
        STATE_B(Channel, bcd), STATE_B(Channel, gate), STATE_B(Channel, loaded), STATE_B(Channel, triggered),
        STATE_B(Channel, write_high), STATE_B(Channel, read_high), STATE_U8(Channel, write_low), STATE_END },
};

const DeviceClass i8254_class = {
    .name = "isa-pit", .desc = "8254 interval timer", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(I8254), .internal = true, .no_hotplug = true,
    .realize = i8254_realize, .unrealize = i8254_unrealize, .reset = i8254_reset,
    .props = (const PropDesc[]) {
        PROP_ENUM(I8254, lost_tick_policy, LOST_DELAY, ((const char *const[]) { "delay", "discard", NULL }),
                  "ticks the guest was too slow for, where the engine keeps the timer"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .saving = i8254_saving, .loaded = i8254_loaded,
        .fields = (const StateField[]) { STATE_STRUCTS(I8254, ch, &channel_state), STATE_I64(I8254, next_edge), STATE_B(I8254, irq_off),
            STATE_END } },
};
