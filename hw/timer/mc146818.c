/*
 * mc146818: real-time clock with alarm, periodic and update-ended interrupts, and CMOS memory.
 *
 * Motorola MC146818A data sheet; century byte as PC BIOSes use it. The time is a host or virtual
 * clock plus an offset, so nothing ticks unless an interrupt is enabled: flags that a guest polls
 * are worked out when register C is read. Left out: the square wave pin and daylight saving.
 * docs/hw/mc146818.md. Machine lock.
 */
#include "hw/timer/mc146818.h"

#include <stdio.h>
#include <time.h>

enum { R_SEC, R_SEC_ALARM, R_MIN, R_MIN_ALARM, R_HOUR, R_HOUR_ALARM, R_WDAY, R_MDAY, R_MONTH, R_YEAR,
       R_A, R_B, R_C, R_D, R_SHUTDOWN = 0x0f, R_CENTURY = 0x32, R_CENTURY_PS2 = 0x37 };
enum { A_UIP = 1 << 7, A_DIVIDER = 0x70, A_RATE = 0x0f, A_DIVIDER_RESET = 0x60, A_DEFAULT = 0x26 };
enum { B_24H = 1 << 1, B_BINARY = 1 << 2, B_UIE = 1 << 4, B_AIE = 1 << 5, B_PIE = 1 << 6, B_SET = 1 << 7 };
enum { C_UF = 1 << 4, C_AF = 1 << 5, C_PF = 1 << 6, C_IRQF = 1 << 7 };
enum { D_VALID = 1 << 7, SHUTDOWN_S3 = 0xfe };
enum { PM = 0x80, DAY_SECONDS = 86400 };
#define UIP_NS (244 * NS_PER_US)                /* update in progress shows this long before the second */

typedef struct Mc146818 {
    Device dev;
    Region io;
    IrqLine irq;
    Timer second_timer, periodic_timer;
    int32_t base_year;          /* properties */
    int clock;                  /* index of clock_names */
    uint8_t index;              /* state */
    uint8_t cmos[RTC_CMOS_SIZE];
    int64_t offset;             /* guest time (ns since 1970) less the clock's */
    int64_t seen;               /* guest ns up to which UF and AF are worked out */
    int64_t periodic_seen;      /* vm ns of the last periodic tick accounted for */
    bool stopped;               /* SET or divider reset: cmos holds the time */
} Mc146818;

static const char *const clock_names[] = { "host", "rt", "vm", NULL };
static const ClockKind clock_kinds[] = { CLOCK_HOST, CLOCK_RT, CLOCK_VM };

static ClockKind rtc_clock(const Mc146818 *s)
{
    return clock_kinds[s->clock];
}

static int64_t guest_ns(const Mc146818 *s)
{
    return clock_ns(s->dev.machine->clocks, rtc_clock(s)) + s->offset;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of a proleptic Gregorian date. */
static int64_t days_from_date(int64_t y, unsigned m, unsigned d)
{
    int64_t shifted = m <= 2 ? y - 1 : y, era = floor_div(shifted, 400), yoe = shifted - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_from_days(int64_t days, int64_t *y, unsigned *m, unsigned *d)
{
    int64_t z = days + 719468, era = floor_div(z, 146097), doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;

    *d = doy - (153 * mp + 2) / 5 + 1;
    *m = mp < 10 ? mp + 3 : mp - 9;
    *y = yoe + era * 400 + (*m <= 2);
}

static uint8_t encode(const Mc146818 *s, unsigned v)
{
    return s->cmos[R_B] & B_BINARY ? v : v / 10 % 10 << 4 | v % 10;
}

static unsigned decode(const Mc146818 *s, uint8_t v)
{
    return s->cmos[R_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const Mc146818 *s, unsigned h)
{
    if (s->cmos[R_B] & B_24H)
        return encode(s, h);
    return encode(s, h % 12 ? h % 12 : 12) | (h >= 12 ? PM : 0);
}

static unsigned decode_hour(const Mc146818 *s, uint8_t v)
{
    if (s->cmos[R_B] & B_24H)
        return decode(s, v);
    return decode(s, v & ~PM) % 12 + (v & PM ? 12 : 0);
}

/* The clock registers from the running time. */
static void registers_from_time(Mc146818 *s)
{
    int64_t sec, days, tod, year;
    unsigned month, day;

    if (s->stopped)
        return;
    sec = floor_div(guest_ns(s), NS_PER_SEC);
    days = floor_div(sec, DAY_SECONDS);
    tod = sec - days * DAY_SECONDS;
    date_from_days(days, &year, &month, &day);
    s->cmos[R_SEC] = encode(s, tod % 60);
    s->cmos[R_MIN] = encode(s, tod / 60 % 60);
    s->cmos[R_HOUR] = encode_hour(s, tod / 3600);
    s->cmos[R_WDAY] = encode(s, ((days + 4) % 7 + 7) % 7 + 1);
    s->cmos[R_MDAY] = encode(s, day);
    s->cmos[R_MONTH] = encode(s, month);
    year -= s->base_year;
    s->cmos[R_YEAR] = encode(s, (year % 100 + 100) % 100);
    s->cmos[R_CENTURY] = s->cmos[R_CENTURY_PS2] = encode(s, ((year + s->base_year) / 100) % 100);
}

/* The running time from the clock registers, the second beginning phase ns ago. */
static void time_from_registers(Mc146818 *s, int64_t phase)
{
    unsigned month = decode(s, s->cmos[R_MONTH]), day = decode(s, s->cmos[R_MDAY]);
    int64_t year = decode(s, s->cmos[R_YEAR]) + decode(s, s->cmos[R_CENTURY]) * 100;
    int64_t sec, clock = clock_ns(s->dev.machine->clocks, rtc_clock(s));

    if (s->base_year)
        year = s->base_year + decode(s, s->cmos[R_YEAR]);
    month = CLAMP(month, 1, 12);
    day = CLAMP(day, 1, 31);
    year = CLAMP(year, 1900, 2200);
    sec = days_from_date(year, month, day) * DAY_SECONDS + (int64_t)decode_hour(s, s->cmos[R_HOUR]) * 3600 +
          decode(s, s->cmos[R_MIN]) * 60 + decode(s, s->cmos[R_SEC]);
    s->offset = sec * NS_PER_SEC + phase - clock;
    s->seen = guest_ns(s);
}

/* First second after `sec` whose time of day matches the alarm registers; wildcards are c0-ff. */
static int64_t next_alarm(const Mc146818 *s, int64_t sec)
{
    int hour = s->cmos[R_HOUR_ALARM] >= 0xc0 ? -1 : (int)decode_hour(s, s->cmos[R_HOUR_ALARM]);
    int min = s->cmos[R_MIN_ALARM] >= 0xc0 ? -1 : (int)decode(s, s->cmos[R_MIN_ALARM]);
    int second = s->cmos[R_SEC_ALARM] >= 0xc0 ? -1 : (int)decode(s, s->cmos[R_SEC_ALARM]);
    int64_t t = sec + 1;

    if (hour > 23 || min > 59 || second > 59)
        return INT64_MAX / NS_PER_SEC;
    for (unsigned budget = 24 + 60 + 60 + 3; budget > 0; budget--) {
        int64_t tod = t - floor_div(t, DAY_SECONDS) * DAY_SECONDS;

        if (hour >= 0 && tod / 3600 != hour)
            t += 3600 - tod % 3600;
        else if (min >= 0 && tod / 60 % 60 != min)
            t += 60 - tod % 60;
        else if (second >= 0 && tod % 60 != second)
            t++;
        else
            return t;
    }
    return INT64_MAX / NS_PER_SEC;
}

static unsigned periodic_ticks_32k(const Mc146818 *s)
{
    unsigned rate = s->cmos[R_A] & A_RATE;

    if (rate == 0 || (s->cmos[R_A] & A_DIVIDER) >= A_DIVIDER_RESET)
        return 0;
    return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static int64_t periodic_ns(const Mc146818 *s)
{
    return (int64_t)periodic_ticks_32k(s) * NS_PER_SEC / 32768;
}

/* Brings UF, AF and PF up to date with the clocks. */
static void flags_update(Mc146818 *s)
{
    int64_t period = periodic_ns(s), vm = device_now(&s->dev), now;

    if (period && vm - s->periodic_seen >= period) {
        s->cmos[R_C] |= C_PF;
        s->periodic_seen += (vm - s->periodic_seen) / period * period;
    }
    if (s->stopped)
        return;
    now = guest_ns(s);
    if (floor_div(now, NS_PER_SEC) > floor_div(s->seen, NS_PER_SEC)) {
        s->cmos[R_C] |= C_UF;
        if (next_alarm(s, floor_div(s->seen, NS_PER_SEC)) <= floor_div(now, NS_PER_SEC))
            s->cmos[R_C] |= C_AF;
    }
    s->seen = now;
}

/* The interrupt pin and both timers follow the registers. */
static void rtc_update(Mc146818 *s)
{
    int64_t period = periodic_ns(s), next = 0;

    flags_update(s);
    s->cmos[R_C] &= ~C_IRQF;
    if (s->cmos[R_C] & s->cmos[R_B] & (C_UF | C_AF | C_PF))
        s->cmos[R_C] |= C_IRQF;
    irq_set(&s->irq, s->cmos[R_C] & C_IRQF);

    timer_set(&s->periodic_timer, (s->cmos[R_B] & B_PIE) && period ? s->periodic_seen + period : 0);
    if (!s->stopped && (s->cmos[R_B] & (B_UIE | B_AIE))) {
        int64_t sec = floor_div(s->seen, NS_PER_SEC);
        int64_t at = s->cmos[R_B] & B_UIE ? sec + 1 : next_alarm(s, sec);

        next = at >= INT64_MAX / NS_PER_SEC ? 0 : at * NS_PER_SEC - s->offset;
    }
    timer_set(&s->second_timer, next > 0 ? next : 0);
}

static void rtc_expire(void *opaque)
{
    rtc_update(opaque);
}

static bool must_stop(const Mc146818 *s)
{
    return (s->cmos[R_B] & B_SET) || (s->cmos[R_A] & A_DIVIDER) >= A_DIVIDER_RESET;
}

static void rtc_changed(Mc146818 *s)
{
    g_autofree char *detail = NULL;
    int64_t real = clock_ns(s->dev.machine->clocks, CLOCK_HOST);

    detail = g_strdup_printf("{\"offset\": %lld}", (long long)floor_div(guest_ns(s) - real, NS_PER_SEC));
    machine_emit(s->dev.machine, EVENT_RTC_CHANGE, detail);
}

/* Registers A and B decide whether the clock runs. */
static void control_write(Mc146818 *s, unsigned reg, uint8_t val)
{
    bool was_reset = (s->cmos[R_A] & A_DIVIDER) >= A_DIVIDER_RESET;

    flags_update(s);
    registers_from_time(s);
    if (reg == R_A) {
        s->cmos[R_A] = val & ~A_UIP;
        s->periodic_seen = device_now(&s->dev);
    } else {
        if (val & B_SET)
            val &= ~B_UIE;
        if ((val & B_PIE) && !(s->cmos[R_B] & B_PIE))
            s->periodic_seen = device_now(&s->dev);
        s->cmos[R_B] = val;
    }
    if (must_stop(s)) {
        s->stopped = true;
    } else if (s->stopped) {
        s->stopped = false;
        time_from_registers(s, was_reset ? NS_PER_SEC / 2 : 0);
        rtc_changed(s);
    }
    rtc_update(s);
}

static void time_write(Mc146818 *s, unsigned reg, uint8_t val)
{
    int64_t now = guest_ns(s), phase = now - floor_div(now, NS_PER_SEC) * NS_PER_SEC;

    flags_update(s);
    registers_from_time(s);
    s->cmos[reg] = val;
    if (reg == R_CENTURY || reg == R_CENTURY_PS2)
        s->cmos[R_CENTURY] = s->cmos[R_CENTURY_PS2] = val;
    if (!s->stopped) {
        time_from_registers(s, phase);
        rtc_changed(s);
    }
    rtc_update(s);
}

static void rtc_write(void *opaque, uint64_t off, uint64_t val, unsigned size)
{
    Mc146818 *s = opaque;

    if (!(off & 1)) {
        s->index = val & 0x7f;
        return;
    }
    trace(mc146818_write, "reg=%#x val=%#x", s->index, (unsigned)val);
    switch (s->index) {
    case R_SEC: case R_MIN: case R_HOUR: case R_WDAY: case R_MDAY: case R_MONTH: case R_YEAR:
    case R_CENTURY: case R_CENTURY_PS2:
        time_write(s, s->index, val);
        break;
    case R_SEC_ALARM: case R_MIN_ALARM: case R_HOUR_ALARM:
        flags_update(s);
        s->cmos[s->index] = val;
        rtc_update(s);
        break;
    case R_A: case R_B:
        control_write(s, s->index, val);
        break;
    case R_C: case R_D:
        break;
    default:
        s->cmos[s->index] = val;
        break;
    }
}

static uint8_t read_a(const Mc146818 *s)
{
    int64_t now = guest_ns(s), into = now - floor_div(now, NS_PER_SEC) * NS_PER_SEC;
    bool updating = !s->stopped && into >= NS_PER_SEC - UIP_NS;

    return (s->cmos[R_A] & ~A_UIP) | (updating ? A_UIP : 0);
}

static uint8_t read_c(Mc146818 *s)
{
    uint8_t val;

    rtc_update(s);
    val = s->cmos[R_C];
    s->cmos[R_C] = 0;
    rtc_update(s);
    return val;
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned size)
{
    Mc146818 *s = opaque;

    if (!(off & 1))
        return 0xff;
    switch (s->index) {
    case R_A:
        return read_a(s);
    case R_C:
        return read_c(s);
    case R_D:
        return D_VALID;
    case R_SEC: case R_MIN: case R_HOUR: case R_WDAY: case R_MDAY: case R_MONTH: case R_YEAR:
    case R_CENTURY: case R_CENTURY_PS2:
        registers_from_time(s);
        break;
    }
    return s->cmos[s->index];
}

static const IoOps rtc_io = { rtc_read, rtc_write, .min = 1, .max = 4, .impl_min = 1, .impl_max = 1 };

void mc146818_connect(Device *dev, IrqLine irq8)
{
    ((Mc146818 *)dev)->irq = irq8;
}

void mc146818_set_cmos(Device *dev, unsigned index, uint8_t val)
{
    if (index > R_D && index < RTC_CMOS_SIZE)
        ((Mc146818 *)dev)->cmos[index] = val;
}

static int64_t local_offset(int64_t now)
{
    time_t t = now / NS_PER_SEC;
    struct tm tm = { 0 };

    localtime_r(&t, &tm);
    return (int64_t)tm.tm_gmtoff * NS_PER_SEC;
}

bool mc146818_set_base(Device *dev, const char *base, GError **err)
{
    Mc146818 *s = (Mc146818 *)dev;
    int64_t host = clock_ns(dev->machine->clocks, CLOCK_HOST), start = host;
    unsigned y, mo, d, h = 0, mi = 0, sec = 0;
    int n = 0;

    if (base && !strcmp(base, "localtime")) {
        start += local_offset(host);
    } else if (base && strcmp(base, "utc")) {
        bool full = sscanf(base, "%4u-%2u-%2uT%2u:%2u:%2u%n", &y, &mo, &d, &h, &mi, &sec, &n) == 6 && !base[n];

        if (!full) {
            h = mi = sec = 0;
            if (sscanf(base, "%4u-%2u-%2u%n", &y, &mo, &d, &n) != 3 || base[n])
                return err_set(err, "-rtc base '%s' is not utc, localtime, or a date such as 2026-01-31T12:00:00", base);
        }
        if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 59)
            return err_set(err, "-rtc base '%s': no such date", base);
        start = (days_from_date(y, mo, d) * DAY_SECONDS + h * 3600 + mi * 60 + sec) * NS_PER_SEC;
    }
    s->offset = start - clock_ns(dev->machine->clocks, rtc_clock(s));
    s->seen = guest_ns(s);
    return true;
}

static void rtc_reset(Device *dev)
{
    Mc146818 *s = (Mc146818 *)dev;

    flags_update(s);
    s->index = 0;
    s->cmos[R_B] &= ~(B_PIE | B_AIE | B_UIE);
    s->cmos[R_C] = 0;
    rtc_update(s);
}

/* Firmware learns from the shutdown status byte that a reset is the way out of suspend. */
static void machine_event(void *opaque, MachineEvent ev, const char *detail)
{
    if (ev == EVENT_SUSPEND)
        ((Mc146818 *)opaque)->cmos[R_SHUTDOWN] = SHUTDOWN_S3;
}

static bool rtc_realize(Device *dev, GError **err)
{
    Mc146818 *s = (Mc146818 *)dev;

    if (s->base_year && (s->base_year < 1900 || s->base_year > 2100))
        return err_set(err, "mc146818rtc: base_year %d is not 0 or 1900-2100", s->base_year);
    timer_init(&s->second_timer, dev->machine->clocks, rtc_clock(s), rtc_expire, s);
    device_timer_init(dev, &s->periodic_timer, rtc_expire);
    s->periodic_timer.any_thread = true;
    s->cmos[R_A] = A_DEFAULT;
    s->cmos[R_B] = B_24H;
    s->cmos[R_D] = D_VALID;
    if (!mc146818_set_base(dev, NULL, err))
        return false;
    s->periodic_seen = device_now(dev);
    device_init_io(dev, &s->io, "rtc", &rtc_io, 2);
    device_map_pio(dev, &s->io, 0x70);
    machine_listen(dev->machine, machine_event, s);
    return true;
}

static void rtc_unrealize(Device *dev)
{
    timer_del(&((Mc146818 *)dev)->second_timer);
    timer_del(&((Mc146818 *)dev)->periodic_timer);
}

static bool rtc_loaded(void *opaque, GError **err)
{
    Mc146818 *s = opaque;
    int64_t now = clock_ns(s->dev.machine->clocks, rtc_clock(s));

    if (s->offset > INT64_MAX / 2 || s->offset < INT64_MIN / 2 || s->periodic_seen < 0 ||
        s->periodic_seen > INT64_MAX / 2 || s->seen > INT64_MAX / 2 || s->seen < INT64_MIN / 2)
        return err_set(err, "impossible clock state");
    if (s->periodic_seen > device_now(&s->dev))
        s->periodic_seen = device_now(&s->dev);
    if (s->seen > now + s->offset)
        s->seen = now + s->offset;
    rtc_update(s);
    return true;
}

const DeviceClass mc146818_class = {
    .name = "mc146818rtc", .desc = "real-time clock and CMOS memory", .category = DEVCAT_MISC, .bus = BUS_ISA,
    .size = sizeof(Mc146818), .internal = true, .no_hotplug = true,
    .realize = rtc_realize, .unrealize = rtc_unrealize, .reset = rtc_reset,
    .props = (const PropDesc[]) {
        PROP_I32(Mc146818, base_year, 0, "year that register value 0 means; 0: as the century byte says"),
        PROP_ENUM(Mc146818, clock, 0, clock_names, "clock it runs by"),
        PROP_END },
    .state = &(const StateDesc) { .version = 1, .loaded = rtc_loaded,
        .fields = (const StateField[]) {
            STATE_UMAX(Mc146818, index, 0x7f), STATE_BUF(Mc146818, cmos), STATE_I64(Mc146818, offset),
            STATE_I64(Mc146818, seen), STATE_I64(Mc146818, periodic_seen), STATE_B(Mc146818, stopped), STATE_END } },
};
