/*
 * hpet: high precision event timers: 100 MHz counter, three comparators.
 *
 * IA-PC HPET specification 1.0a. Modelled: one-shot and periodic comparators, 32- and 64-bit,
 * edge and level, legacy replacement. Left out: FSB (MSI) delivery. docs/hw/hpet.md. Machine lock.
 */
#include "hw/timer/hpet.h"

#include "hw/timer/catch_up.h"

enum { TIMERS = 3, TICK_NS = 10 };
enum { R_CAP = 0x00, R_CONFIG = 0x10, R_STATUS = 0x20, R_COUNTER = 0xf0, R_TIMER = 0x100, TIMER_STRIDE = 0x20 };
enum { T_CONFIG = 0x00, T_COMPARE = 0x08 };
enum { CONFIG_ENABLE = 1 << 0, CONFIG_LEGACY = 1 << 1 };
enum { TC_LEVEL = 1 << 1, TC_ENABLE = 1 << 2, TC_PERIODIC = 1 << 3, TC_PERIODIC_CAP = 1 << 4, TC_SIZE_CAP = 1 << 5,
       TC_SET_VALUE = 1 << 6, TC_32BIT = 1 << 8, TC_ROUTE_SHIFT = 9, TC_ROUTE = 31 << 9,
       TC_WRITABLE = TC_LEVEL | TC_ENABLE | TC_PERIODIC | TC_SET_VALUE | TC_32BIT | TC_ROUTE };
#define CAPABILITIES ((uint64_t)TICK_NS * 1000000 << 32 | 0x8086a001 | (TIMERS - 1) << 8)
#define MIN_PERIOD_NS (50 * NS_PER_US)
#define FAR_FUTURE (INT64_MAX / 4)

typedef struct HpetTimer {
    uint64_t config, compare, period;
} HpetTimer;

typedef struct Hpet {
    Device dev;
    Region io;
    IrqLine gsi[HPET_PINS], replacing;
    Timer host[TIMERS];
    uint32_t intcap;            /* property: inputs a comparator may use */
    uint64_t config, status;    /* state */
    uint64_t counter;           /* while stopped */
    int64_t started;            /* vm ns at which the counter would have been 0 */
    HpetTimer t[TIMERS];
    bool legacy_level[2];       /* PIT and clock lines */
    int64_t silent[TIMERS];     /* cache: vm ns of the next match of a comparator that only counts, 0: none */
    uint32_t driven;            /* cache: level of each gsi */
} Hpet;

static bool running(const Hpet *s)
{
    return s->config & CONFIG_ENABLE;
}

static uint64_t counter_now(const Hpet *s)
{
    return running(s) ? (uint64_t)(clock_ns(s->dev.machine->clocks, CLOCK_VM) - s->started) / TICK_NS : s->counter;
}

static bool is_32bit(const HpetTimer *t) { return t->config & TC_32BIT; }

static unsigned route(const Hpet *s, unsigned n)
{
    if ((s->config & CONFIG_LEGACY) && n < 2)
        return n == 0 ? 0 : 8;
    return (s->t[n].config & TC_ROUTE) >> TC_ROUTE_SHIFT;
}

/* Level lines: PIT and clock pass through unless replaced, level-triggered comparators by status. */
static void hpet_update(Hpet *s)
{
    bool legacy = s->config & CONFIG_LEGACY;
    uint32_t level = 0, changed;

    irq_set(&s->replacing, legacy);
    if (!legacy)
        level |= (s->legacy_level[0] ? 1 : 0) | (s->legacy_level[1] ? 1 << 8 : 0);
    for (unsigned n = 0; n < TIMERS; n++) {
        uint64_t c = s->t[n].config;

        if ((c & TC_LEVEL) && (c & TC_ENABLE) && (s->status >> n & 1) && running(s) && route(s, n) < HPET_PINS)
            level |= 1u << route(s, n);
    }
    changed = level ^ s->driven;
    s->driven = level;
    for (unsigned i = 0; i < HPET_PINS; i++) {
        if (changed >> i & 1)
            irq_set(&s->gsi[i], level >> i & 1);
    }
}

/* Ticks until the comparator matches, in the counter's width. */
static uint64_t ticks_left(const Hpet *s, const HpetTimer *t)
{
    uint64_t left = t->compare - counter_now(s);

    if (is_32bit(t) && (t->config & TC_PERIODIC) && (uint32_t)-left <= MAX_CATCH_UP_NS / TICK_NS)
        return 0;
    if (is_32bit(t))
        return (uint32_t)left;
    return (int64_t)left < 0 && (int64_t)left > -(int64_t)(NS_PER_SEC / TICK_NS) ? 0 : left;
}

/* A periodic comparator whose edges nobody hears (guests leave one so after start-up): it needs no host
   timer, its compare value is computed when somebody looks. */
static bool is_silent(const HpetTimer *t)
{
    return (t->config & TC_PERIODIC) && !(t->config & (TC_ENABLE | TC_LEVEL)) && t->period &&
           t->period < FAR_FUTURE / TICK_NS / 2;
}

static void catch_up_silent(Hpet *s)
{
    for (unsigned n = 0; n < TIMERS; n++) {
        HpetTimer *t = &s->t[n];
        int64_t late = device_now(&s->dev) - s->silent[n];
        uint64_t ticks;

        if (!s->silent[n] || late < 0)
            continue;
        ticks = ((uint64_t)late / TICK_NS / t->period + 1) * t->period;
        t->compare += ticks;
        if (is_32bit(t))
            t->compare = (uint32_t)t->compare;
        s->silent[n] += (int64_t)ticks * TICK_NS;
    }
}

static void arm(Hpet *s, unsigned n, bool late)
{
    HpetTimer *t = &s->t[n];
    int64_t now = device_now(&s->dev), at;
    uint64_t left = ticks_left(s, t);

    s->silent[n] = 0;
    if (!running(s)) {
        timer_set(&s->host[n], 0);
        return;
    }
    at = left > (uint64_t)(FAR_FUTURE - now) / TICK_NS ? FAR_FUTURE : now + (int64_t)left * TICK_NS;
    if (is_silent(t) && at < FAR_FUTURE) {
        s->silent[n] = at - (now - s->started) % TICK_NS;       /* where the counter ticks */
        timer_set(&s->host[n], 0);
        return;
    }
    if (late && at < now + MIN_PERIOD_NS)
        at = now + MIN_PERIOD_NS;
    timer_set(&s->host[n], MAX(at, 1));
}

static void fire(Hpet *s, unsigned n)
{
    HpetTimer *t = &s->t[n];

    if (t->config & TC_LEVEL) {
        s->status |= 1 << n;
        hpet_update(s);
    } else if ((t->config & TC_ENABLE) && running(s) && route(s, n) < HPET_PINS) {
        irq_set(&s->gsi[route(s, n)], 1);
        irq_set(&s->gsi[route(s, n)], 0);
    }
}

/* The next match of a periodic timer. On a busy host several may be due: they are made up for one
   by one, far enough apart for the guest to take each, unless they are too old. */
static void next_period(Hpet *s, unsigned n)
{
    HpetTimer *t = &s->t[n];
    uint64_t behind = counter_now(s) - t->compare, period = t->period, steps = 1;
    bool catch_up;

    if (is_32bit(t)) {
        behind = (uint32_t)behind;
        period = (uint32_t)period;
    }
    if (!period)
        return;
    catch_up = behind >= period && behind <= MAX_CATCH_UP_NS / TICK_NS && period >= 2 * CATCH_UP_GAP_NS / TICK_NS;
    if (!catch_up)
        steps = behind / period + 1;
    t->compare += steps * period;
    if (is_32bit(t))
        t->compare = (uint32_t)t->compare;
    if (catch_up)
        timer_set(&s->host[n], device_now(&s->dev) + CATCH_UP_GAP_NS);
    else
        arm(s, n, true);
}

static void expire(Hpet *s, unsigned n)
{
    HpetTimer *t = &s->t[n];

    fire(s, n);
    if ((t->config & TC_PERIODIC) && t->period) {
        next_period(s, n);
    } else if (is_32bit(t)) {
        timer_set(&s->host[n], device_now(&s->dev) + (int64_t)(1ULL << 32) * TICK_NS);  /* next wrap */
    }
}

static void expire0(void *opaque) { expire(opaque, 0); }
static void expire1(void *opaque) { expire(opaque, 1); }
static void expire2(void *opaque) { expire(opaque, 2); }

static uint64_t register_read(const Hpet *s, unsigned reg)
{
    switch (reg) {
    case R_CAP: return CAPABILITIES;
    case R_CONFIG: return s->config;
    case R_STATUS: return s->status;
    case R_COUNTER: return counter_now(s);
    }
    if (reg >= R_TIMER && reg < R_TIMER + TIMERS * TIMER_STRIDE) {
        const HpetTimer *t = &s->t[(reg - R_TIMER) / TIMER_STRIDE];

        switch (reg % TIMER_STRIDE) {
        case T_CONFIG: return t->config | TC_PERIODIC_CAP | TC_SIZE_CAP | (uint64_t)s->intcap << 32;
        case T_COMPARE: return t->compare;
        }
    }
    return 0;
}

static uint64_t hpet_read(void *opaque, uint64_t off, unsigned size)
{
    uint64_t val;

    catch_up_silent(opaque);
    val = register_read(opaque, off & ~7u);

    return size == 8 ? val : (uint32_t)(val >> (off & 4) * 8);
}

static void config_write(Hpet *s, uint64_t val)
{
    bool was = running(s);
    uint64_t at = counter_now(s);

    s->config = val & (CONFIG_ENABLE | CONFIG_LEGACY);
    if (!was && running(s))
        s->started = device_now(&s->dev) - (int64_t)(s->counter * TICK_NS);
    else if (was && !running(s))
        s->counter = at;
    for (unsigned n = 0; n < TIMERS; n++)
        arm(s, n, false);
    hpet_update(s);
}

static void compare_write(Hpet *s, unsigned n, uint64_t val)
{
    HpetTimer *t = &s->t[n];

    if (is_32bit(t))
        val = (uint32_t)val;
    if (!(t->config & TC_PERIODIC) || (t->config & TC_SET_VALUE))
        t->compare = val;
    if (t->config & TC_PERIODIC)
        t->period = val;
    t->config &= ~(uint64_t)TC_SET_VALUE;
    arm(s, n, false);
}

static void timer_config_write(Hpet *s, unsigned n, uint64_t val)
{
    HpetTimer *t = &s->t[n];

    t->config = val & TC_WRITABLE;
    if (is_32bit(t)) {
        t->compare = (uint32_t)t->compare;
        t->period = (uint32_t)t->period;
    }
    arm(s, n, false);
    hpet_update(s);
}

static void register_write(Hpet *s, unsigned reg, uint64_t val)
{
    unsigned n = (reg - R_TIMER) / TIMER_STRIDE;

    switch (reg) {
    case R_CONFIG:
        config_write(s, val);
        return;
    case R_STATUS:
        s->status &= ~val;
        hpet_update(s);
        return;
    case R_COUNTER:
        if (!running(s))
            s->counter = val & (UINT64_MAX >> 8);
        return;
    }
    if (reg < R_TIMER || n >= TIMERS)
        return;
    if (reg % TIMER_STRIDE == T_CONFIG)
        timer_config_write(s, n, val);
    else if (reg % TIMER_STRIDE == T_COMPARE)
        compare_write(s, n, val);
}

/* A 32-bit write changes half a register; the other half is kept. */
static void hpet_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Hpet *s = opaque;
    unsigned reg = off & ~7u;
    uint64_t old;
    bool compare = reg >= R_TIMER && reg % TIMER_STRIDE == T_COMPARE;

    trace(hpet_write, "off=%#x val=%#llx size=%u", (unsigned)off, (unsigned long long)val, size);
    catch_up_silent(s);
    old = reg == R_STATUS ? 0 : register_read(s, reg);
    if (size == 4 && (off & 4) && compare && reg < R_TIMER + TIMERS * TIMER_STRIDE &&
        is_32bit(&s->t[(reg - R_TIMER) / TIMER_STRIDE]))
        return;
    if (size == 4)
        val = off & 4 ? (old & 0xffffffff) | val << 32 : (old & ~0xffffffffULL) | (uint32_t)val;
    register_write(s, reg, val);
}

static const IoOps hpet_ops = { hpet_read, hpet_write, .min = 4, .max = 8 };

static void legacy_set(void *opaque, int n, int level)
{
    Hpet *s = opaque;

    s->legacy_level[n] = level;
    hpet_update(s);
}

IrqLine hpet_legacy_input(Device *dev, int n)
{
    return (IrqLine) { legacy_set, dev, n & 1 };
}

void hpet_connect_replacing(Device *dev, IrqLine replacing)
{
    ((Hpet *)dev)->replacing = replacing;
}

void hpet_connect(Device *dev, const IrqLine gsi[HPET_PINS])
{
    memcpy(((Hpet *)dev)->gsi, gsi, sizeof ((Hpet *)dev)->gsi);
}

static void hpet_reset(Device *dev)
{
    Hpet *s = (Hpet *)dev;

    s->config = s->status = s->counter = 0;
    s->started = 0;
    for (unsigned n = 0; n < TIMERS; n++) {
        s->t[n] = (HpetTimer) { .compare = UINT64_MAX };
        timer_set(&s->host[n], 0);
        s->silent[n] = 0;
    }
    hpet_update(s);
}

static void hpet_saving(void *opaque)
{
    catch_up_silent(opaque);
}

static bool hpet_realize(Device *dev, GError **err)
{
    static void (*const fn[TIMERS])(void *) = { expire0, expire1, expire2 };
    Hpet *s = (Hpet *)dev;

    for (unsigned n = 0; n < TIMERS; n++) {
        device_timer_init(dev, &s->host[n], fn[n]);
        s->host[n].any_thread = true;
    }
    device_init_io(dev, &s->io, "hpet", &hpet_ops, 0x400);
    device_map_mmio(dev, &s->io, HPET_BASE);
    return true;
}

static void hpet_unrealize(Device *dev)
{
    for (unsigned n = 0; n < TIMERS; n++)
        timer_del(&((Hpet *)dev)->host[n]);
}

static bool hpet_loaded(void *opaque, GError **err)
{
    Hpet *s = opaque;

    if ((s->config & ~(uint64_t)(CONFIG_ENABLE | CONFIG_LEGACY)) || s->counter > UINT64_MAX >> 8)
        return err_set(err, "impossible HPET state");
    for (unsigned n = 0; n < TIMERS; n++) {
        if (s->t[n].config & ~(uint64_t)TC_WRITABLE)
            return err_set(err, "impossible HPET comparator %u", n);
        arm(s, n, false);
    }
    hpet_update(s);
    return true;
}

static const StateDesc timer_state = {
    .name = "timer", .version = 1, .fields = (const StateField[]) {
        STATE_U64(HpetTimer, config), STATE_U64(HpetTimer, compare), STATE_U64(HpetTimer, period), STATE_END },
};

const DeviceClass hpet_class = {
    .name = "hpet", .desc = "high precision event timer", .category = DEVCAT_MISC, .bus = BUS_SYSTEM,
    .size = sizeof(Hpet), .internal = true, .no_hotplug = true,
    .realize = hpet_realize, .unrealize = hpet_unrealize, .reset = hpet_reset,
    .props = (const PropDesc[]) {
        PROP_U32(Hpet, intcap, 4, "bit map of I/O APIC inputs the comparators may use"), PROP_END },
    .state = &(const StateDesc) { .version = 1, .saving = hpet_saving, .loaded = hpet_loaded,
        .fields = (const StateField[]) {
            STATE_U64(Hpet, config), STATE_U64(Hpet, status), STATE_U64(Hpet, counter), STATE_I64(Hpet, started),
            STATE_STRUCTS(Hpet, t, &timer_state), STATE_F_(Hpet, legacy_level, STATE_BOOL, 1, 2), STATE_END } },
};
