/*
 * lapic_timer: the local APIC's timer: one-shot, periodic and TSC-deadline.
 *
 * Intel SDM 3A 11.5.4. The counter runs at 1 GHz before the divider, so a count is a number of
 * nanoseconds. Setting the host timer needs the machine lock; expiry runs on the main thread.
 */
#include "hw/intc/lapic_int.h"

#define MIN_PERIOD_NS (50 * NS_PER_US)          /* a guest may ask for 1 ns */
#define FAR_FUTURE (INT64_MAX / 2)

static unsigned divide_shift(const Lapic *s)
{
    unsigned v = (s->divide & 3) | (s->divide >> 1 & 4);

    return (v + 1) & 7;
}

static int64_t period_ns(const Lapic *s)
{
    return (int64_t)s->initial << divide_shift(s);
}

static unsigned timer_mode(const Lapic *s)
{
    return TIMER_MODE(peek(&s->lvt[LVT_TIMER]));
}

static void set_host_timer(Lapic *s, int64_t at)
{
    bool held = machine_lock_held();

    if ((s->timer_next == 0 && at == 0) || s->in_engine)
        return;
    if (!held)
        machine_lock();
    s->timer_next = at;
    timer_set(&s->timer, at);
    if (!held)
        machine_unlock();
}

uint32_t lapic_timer_current(const Lapic *s)
{
    int64_t period = period_ns(s), gone = device_now((Device *)&s->dev) - s->count_start;

    if (!period || gone < 0 || timer_mode(s) == TIMER_DEADLINE)
        return 0;
    if (timer_mode(s) == TIMER_PERIODIC)
        gone %= period;
    else if (gone >= period)
        return 0;
    return s->initial - (gone >> divide_shift(s));
}

/* After a write of the initial count (restart), the divider or the LVT entry. */
void lapic_timer_arm(Lapic *s, bool restart)
{
    int64_t now = device_now(&s->dev), period = period_ns(s), next;

    if (timer_mode(s) == TIMER_DEADLINE)
        return;
    if (restart)
        s->count_start = now;
    next = s->count_start + period;
    if (!period)
        next = 0;
    else if (timer_mode(s) == TIMER_PERIODIC && next < now)
        next = now + period - (now - s->count_start) % period;
    else if (next < now && !restart)
        next = 0;
    set_host_timer(s, next);
}

/* TSC ticks to come as vm ns; a deadline in the past fires at once. */
void lapic_set_deadline(Lapic *s, uint64_t tsc)
{
    uint64_t now_tsc = x86_rdtsc(s->cpu), hz = x86_tsc_hz();
    int64_t now = device_now(&s->dev);

    s->tsc_deadline = tsc;
    if (tsc == 0) {
        set_host_timer(s, 0);
    } else if (tsc <= now_tsc) {
        set_host_timer(s, 0);
        s->tsc_deadline = 0;
        lapic_local(s, LVT_TIMER);
    } else {
        __int128 ns = (__int128)(tsc - now_tsc) * NS_PER_SEC / hz + 1;

        set_host_timer(s, ns > FAR_FUTURE - now ? FAR_FUTURE : now + (int64_t)ns);
    }
}

void lapic_timer_expire(void *opaque)
{
    Lapic *s = opaque;
    int64_t now = device_now(&s->dev), period = period_ns(s), next = 0;

    if (timer_mode(s) == TIMER_PERIODIC && period) {
        s->count_start += (now - s->count_start) / period * period;
        next = MAX(s->count_start + period, now + MIN_PERIOD_NS);
    }
    if (timer_mode(s) == TIMER_DEADLINE)
        s->tsc_deadline = 0;
    s->timer_next = next;       /* once: the owner looks at it without the lock */
    timer_set(&s->timer, next);
    lapic_local(s, LVT_TIMER);
}
