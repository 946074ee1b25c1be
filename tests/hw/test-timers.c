/* test-timers: PIT, real-time clock, HPET and the PM timer under virtual time. */
#include "hw/acpi/piix4_pm.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"
#include "tests/hw/bench.h"

typedef struct Watch { int level; unsigned edges; } Watch;

static void watch_set(void *opaque, int n, int level)
{
    Watch *w = &((Watch *)opaque)[n];

    w->edges += level && !w->level;
    w->level = level;
}

/* --- PIT --- */

static void pit_mode2_ticks_at_the_programmed_rate(void)
{
    Bench *b = bench_new("isa-pit", NULL);
    Watch w = { 0 };

    i8254_connect(b->dev, (IrqLine) { watch_set, &w, 0 });
    bench_out8(b, 0x43, 0x34);
    bench_out8(b, 0x40, 11932 & 0xff);          /* 100 Hz */
    bench_out8(b, 0x40, 11932 >> 8);
    w.edges = 0;
    bench_step_ms(b, 1000);
    g_assert_cmpuint(w.edges, >=, 99);
    g_assert_cmpuint(w.edges, <=, 100);
    bench_free(b);
}

static void pit_mode0_raises_once_at_terminal_count(void)
{
    Bench *b = bench_new("isa-pit", NULL);
    Watch w = { 0 };

    i8254_connect(b->dev, (IrqLine) { watch_set, &w, 0 });
    bench_out8(b, 0x43, 0x30);
    bench_out8(b, 0x40, 1193 & 0xff);           /* 1 ms */
    bench_out8(b, 0x40, 1193 >> 8);
    CHECK(!w.level);
    bench_step_us(b, 999);
    CHECK(!w.level);
    bench_step_us(b, 2);
    CHECK(w.level);
    w.edges = 0;
    bench_step_ms(b, 100);
    g_assert_cmpuint(w.edges, ==, 0);
    bench_free(b);
}

static void pit_latch_and_readback_give_one_moment(void)
{
    Bench *b = bench_new("isa-pit", NULL);
    unsigned v, again;

    bench_out8(b, 0x43, 0xb4);                  /* channel 2, mode 2 */
    bench_out8(b, 0x42, 0);
    bench_out8(b, 0x42, 0);
    i8254_set_gate(b->dev, 2, true);
    bench_step_ms(b, 10);
    bench_out8(b, 0x43, 0x80);
    bench_step_ms(b, 3);
    v = bench_in8(b, 0x42);
    v |= bench_in8(b, 0x42) << 8;
    g_assert_cmpuint(v, >=, 0x10000 - 11933);
    g_assert_cmpuint(v, <=, 0x10000 - 11930);
    bench_out8(b, 0x43, 0xe8);                  /* read back status of channel 2 */
    g_assert_cmphex(bench_in8(b, 0x42) & 0x3f, ==, 0x34);
    again = bench_in8(b, 0x42);
    again |= bench_in8(b, 0x42) << 8;
    CHECK(again < v);
    bench_free(b);
}

static void pit_gate_freezes_channel_two(void)
{
    Bench *b = bench_new("isa-pit", NULL);

    bench_out8(b, 0x43, 0xb0);                  /* mode 0 */
    bench_out8(b, 0x42, 0xa9);
    bench_out8(b, 0x42, 0x04);                  /* 1193 */
    bench_step_ms(b, 50);
    CHECK(!i8254_out(b->dev, 2));               /* gate still low: no counting */
    i8254_set_gate(b->dev, 2, true);
    bench_step_us(b, 1100);
    CHECK(i8254_out(b->dev, 2));
    bench_free(b);
}

/* Every port, size and direction does something defined. CVE-2015-3214. */
static void pit_every_access_is_defined(void)
{
    Bench *b = bench_new("isa-pit", NULL);

    for (unsigned port = 0x40; port < 0x44; port++) {
        bench_in8(b, port);
        bench_in16(b, port);
        bench_in32(b, port);
        for (unsigned v = 0; v < 256; v++)
            bench_out8(b, port, v);
        bench_out32(b, port, 0xffffffff);
    }
    g_assert_cmphex(bench_in8(b, 0x43), ==, 0xff);
    bench_free(b);
}

/* --- clock --- */

static uint8_t cmos_read(Bench *b, uint8_t reg)
{
    bench_out8(b, 0x70, reg);
    return bench_in8(b, 0x71);
}

static void cmos_write(Bench *b, uint8_t reg, uint8_t val)
{
    bench_out8(b, 0x70, reg);
    bench_out8(b, 0x71, val);
}

static Bench *rtc_new(const char *base, Watch *w)
{
    Bench *b = bench_new("mc146818rtc", "clock=vm");
    g_autoptr(GError) err = NULL;

    memset(w, 0, sizeof *w);
    mc146818_connect(b->dev, (IrqLine) { watch_set, w, 0 });
    CHECK(mc146818_set_base(b->dev, base, &err));
    return b;
}

static void rtc_counts_over_the_end_of_a_century(void)
{
    Watch w;
    Bench *b = rtc_new("1999-12-31T23:59:59", &w);

    g_assert_cmphex(cmos_read(b, 9), ==, 0x99);
    g_assert_cmphex(cmos_read(b, 0x32), ==, 0x19);
    g_assert_cmphex(cmos_read(b, 6), ==, 6);    /* a Friday */
    bench_step_ms(b, 1500);
    g_assert_cmphex(cmos_read(b, 0), ==, 0);
    g_assert_cmphex(cmos_read(b, 4), ==, 0);
    g_assert_cmphex(cmos_read(b, 7), ==, 1);
    g_assert_cmphex(cmos_read(b, 8), ==, 1);
    g_assert_cmphex(cmos_read(b, 9), ==, 0);
    g_assert_cmphex(cmos_read(b, 0x32), ==, 0x20);
    bench_free(b);
}

static void rtc_twelve_hour_and_binary_formats(void)
{
    Watch w;
    Bench *b = rtc_new("2026-02-28T23:15:00", &w);

    cmos_write(b, 0x0b, 0x04);                  /* binary, 12 hours */
    g_assert_cmpint(cmos_read(b, 4), ==, 0x80 | 11);
    g_assert_cmpint(cmos_read(b, 2), ==, 15);
    cmos_write(b, 4, 0x80 | 12);                /* noon */
    cmos_write(b, 0x0b, 0x02);
    g_assert_cmphex(cmos_read(b, 4), ==, 0x12);
    bench_free(b);
}

static void rtc_alarm_update_and_periodic_interrupts(void)
{
    Watch w;
    Bench *b = rtc_new("2026-03-01T10:00:00", &w);

    cmos_write(b, 1, 0x05);
    cmos_write(b, 3, 0xff);
    cmos_write(b, 5, 0xff);
    cmos_write(b, 0x0b, 0x22);                  /* alarm at each minute's fifth second */
    bench_step_ms(b, 4900);
    CHECK(!w.level);
    bench_step_ms(b, 200);
    CHECK(w.level);
    g_assert_cmphex(cmos_read(b, 0x0c) & ~0x40, ==, 0xb0);   /* the periodic flag runs along */
    CHECK(!w.level);
    g_assert_cmphex(cmos_read(b, 0x0c) & 0xb0, ==, 0);
    cmos_write(b, 0x0b, 0x12);                  /* update-ended */
    bench_step_ms(b, 1000);
    g_assert_cmphex(cmos_read(b, 0x0c) & 0x90, ==, 0x90);
    cmos_write(b, 0x0a, 0x26);
    cmos_write(b, 0x0b, 0x42);                  /* 1024 Hz */
    w.edges = 0;
    for (unsigned i = 0; i < 100; i++) {
        bench_step_us(b, 977);
        cmos_read(b, 0x0c);
    }
    g_assert_cmpuint(w.edges, >=, 99);
    bench_free(b);
}

static void rtc_flags_are_seen_without_interrupts(void)
{
    Watch w;
    Bench *b = rtc_new("2026-03-01T10:00:00", &w);

    cmos_read(b, 0x0c);
    bench_step_ms(b, 1100);
    g_assert_cmphex(cmos_read(b, 0x0c) & 0x50, ==, 0x50);
    CHECK(!w.edges);
    bench_free(b);
}

static void rtc_set_bit_stops_the_clock(void)
{
    Watch w;
    Bench *b = rtc_new("2026-03-01T10:00:00", &w);

    cmos_write(b, 0x0b, 0x82);
    bench_step_ms(b, 5000);
    g_assert_cmphex(cmos_read(b, 0), ==, 0);
    cmos_write(b, 2, 0x30);
    cmos_write(b, 0x0b, 0x02);
    bench_step_ms(b, 2000);
    g_assert_cmphex(cmos_read(b, 0), ==, 2);
    g_assert_cmphex(cmos_read(b, 2), ==, 0x30);
    bench_free(b);
}

static void rtc_nonsense_dates_are_survived(void)
{
    Watch w;
    Bench *b = rtc_new("2026-03-01T10:00:00", &w);

    for (unsigned v = 0; v < 256; v++) {
        for (unsigned reg = 0; reg < 10; reg++)
            cmos_write(b, reg, v * 7 + reg);
        cmos_write(b, 0x0b, v & ~0x80);
        cmos_write(b, 0x0a, v);
        bench_step_us(b, 100);
        cmos_read(b, 0x0c);
    }
    bench_free(b);
}

static void rtc_base_texts_are_checked(void)
{
    static const char *const bad[] = { "", "yesterday", "2026-13-01", "2026-01-01T25:00:00", "2026-01-01x" };
    Bench *b = bench_new("mc146818rtc", NULL);

    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        g_autoptr(GError) err = NULL;

        CHECK(!mc146818_set_base(b->dev, bad[i], &err));
        CHECK(err);
    }
    bench_free(b);
}

static void rtc_suspend_leaves_word_for_firmware(void)
{
    Watch w;
    Bench *b = rtc_new("2026-03-01T10:00:00", &w);

    machine_emit(b->m, EVENT_SUSPEND, NULL);
    bench_reset(b);
    g_assert_cmphex(cmos_read(b, 0x0f), ==, 0xfe);
    bench_free(b);
}

/* --- HPET --- */

static Bench *hpet_new(Watch w[HPET_PINS])
{
    Bench *b = bench_new("hpet", NULL);
    IrqLine l[HPET_PINS];

    memset(w, 0, HPET_PINS * sizeof *w);
    for (int i = 0; i < HPET_PINS; i++)
        l[i] = (IrqLine) { watch_set, w, i };
    hpet_connect(b->dev, l);
    return b;
}

static void hpet_one_shot_and_periodic(void)
{
    Watch w[HPET_PINS];
    Bench *b = hpet_new(w);

    g_assert_cmphex(bench_ld(b, HPET_BASE, 4), ==, 0x8086a201);
    g_assert_cmpuint(bench_ld(b, HPET_BASE + 4, 4), ==, 10000000);
    bench_st(b, HPET_BASE + 0x120, 8, 1 << 2 | 2 << 9);         /* timer 1, input 2 */
    bench_st(b, HPET_BASE + 0x128, 8, 100000);                  /* 1 ms */
    bench_st(b, HPET_BASE + 0x10, 8, 1);
    bench_step_us(b, 999);
    g_assert_cmpuint(w[2].edges, ==, 0);
    bench_step_us(b, 1);
    g_assert_cmpuint(w[2].edges, ==, 1);
    bench_st(b, HPET_BASE + 0x100, 8, 1 << 2 | 1 << 3 | 1 << 6 | 2 << 9);
    bench_st(b, HPET_BASE + 0x108, 8, 200000);
    bench_st(b, HPET_BASE + 0x108, 8, 100000);
    w[2].edges = 0;
    bench_step_ms(b, 10);
    g_assert_cmpuint(w[2].edges, >=, 9);
    g_assert_cmpuint(w[2].edges, <=, 10);
    bench_free(b);
}

static void hpet_legacy_mode_blocks_the_old_timers(void)
{
    Watch w[HPET_PINS];
    Bench *b = hpet_new(w);
    IrqLine pit = hpet_legacy_input(b->dev, 0);

    irq_pulse(&pit);
    g_assert_cmpuint(w[0].edges, ==, 1);
    bench_st(b, HPET_BASE + 0x10, 4, 3);
    irq_pulse(&pit);
    g_assert_cmpuint(w[0].edges, ==, 1);
    bench_st(b, HPET_BASE + 0x100, 4, 1 << 2);
    bench_st(b, HPET_BASE + 0x108, 4, 1000);
    bench_step_ms(b, 1);
    g_assert_cmpuint(w[0].edges, >=, 1);
    bench_free(b);
}

static void hpet_level_interrupt_holds_until_cleared(void)
{
    Watch w[HPET_PINS];
    Bench *b = hpet_new(w);

    bench_st(b, HPET_BASE + 0x120, 8, 1 << 1 | 1 << 2 | 20 << 9);
    bench_st(b, HPET_BASE + 0x128, 8, 1000);
    bench_st(b, HPET_BASE + 0x10, 8, 1);
    bench_step_ms(b, 1);
    CHECK(w[20].level);
    g_assert_cmphex(bench_ld(b, HPET_BASE + 0x20, 8), ==, 2);
    bench_st(b, HPET_BASE + 0x20, 8, 2);
    CHECK(!w[20].level);
    bench_free(b);
}

/* Guests leave a periodic comparator running with its interrupt off: it keeps its phase and wakes nobody up. */
static void hpet_silent_comparator_needs_no_timer(void)
{
    Watch w[HPET_PINS];
    Bench *b = hpet_new(w);

    bench_st(b, HPET_BASE + 0x100, 8, 1 << 2 | 1 << 3 | 1 << 6 | 1 << 8 | 2 << 9);
    bench_st(b, HPET_BASE + 0x108, 8, 30000);                   /* 0.3 ms */
    bench_st(b, HPET_BASE + 0x108, 8, 70000);                   /* then each 0.7 ms */
    bench_st(b, HPET_BASE + 0x10, 8, 1);
    bench_step_ms(b, 2);
    g_assert_cmpuint(w[2].edges, ==, 3);
    bench_st(b, HPET_BASE + 0x100, 8, 1 << 3 | 1 << 8 | 2 << 9);
    g_assert_cmpint(clocks_next_ns(b->m->clocks), ==, -1);
    bench_step_ms(b, 100000);                                   /* more than the 43 s of 32 bits */
    g_assert_cmpuint(bench_ld(b, HPET_BASE + 0x108, 4), ==, (uint32_t)(30000 + (100002ull * 100000 - 30000) / 70000 * 70000 + 70000));
    g_assert_cmpuint(w[2].edges, ==, 3);
    bench_st(b, HPET_BASE + 0x100, 8, 1 << 2 | 1 << 3 | 1 << 8 | 2 << 9);
    bench_step_ms(b, 7);
    g_assert_cmpuint(w[2].edges, ==, 13);
    bench_free(b);
}

/* Routes beyond the wired inputs, tiny periods, every register: no effect outside, no flood. */
static void hpet_hostile_values_do_nothing_bad(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(5);
    Watch w[HPET_PINS];
    Bench *b = hpet_new(w);

    for (unsigned i = 0; i < 20000; i++) {
        bench_st(b, HPET_BASE + (g_rand_int_range(r, 0, 0x400) & ~7), 8, (uint64_t)g_rand_int(r) << 32 | g_rand_int(r));
        if (i % 32 == 0)
            bench_step_us(b, 20);
    }
    bench_st(b, HPET_BASE + 0x10, 8, 1);
    bench_st(b, HPET_BASE + 0x100, 8, 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    bench_st(b, HPET_BASE + 0x108, 8, 1);
    w[1].edges = 0;
    bench_step_ms(b, 10);
    g_assert_cmpuint(w[1].edges, <=, 10000 / 50 + 2);
    bench_free(b);
}

/* --- PM timer --- */

static Bench *pm_new(void)
{
    Bench *b = bench_new("PIIX4_PM", NULL);

    bench_cfg_write(b, b->dev, 0x40, 0x601, 4);
    bench_cfg_write(b, b->dev, 0x80, 1, 1);
    return b;
}

static void pm_timer_runs_at_its_rate(void)
{
    Bench *b = pm_new();
    uint32_t start = bench_in32(b, 0x608);

    bench_step_ms(b, 1000);
    g_assert_cmpuint((bench_in32(b, 0x608) - start) & 0xffffff, ==, 3579545);
    bench_free(b);
}

static void pm_power_button_raises_the_sci(void)
{
    Bench *b = pm_new();
    Watch w = { 0 };

    piix4_pm_connect(b->dev, (IrqLine) { watch_set, &w, 0 });
    bench_out8(b, 0xb2, 0xf1);                  /* ACPI on */
    CHECK(bench_in16(b, 0x604) & 1);
    bench_out16(b, 0x602, 1 << 8);
    machine_emit(b->m, EVENT_POWERDOWN, NULL);
    CHECK(w.level);
    CHECK(bench_in16(b, 0x600) & 1 << 8);
    bench_out16(b, 0x600, 1 << 8);
    CHECK(!w.level);
    bench_free(b);
}

static void pm_overflow_event_comes_each_half_turn(void)
{
    Bench *b = pm_new();
    Watch w = { 0 };

    piix4_pm_connect(b->dev, (IrqLine) { watch_set, &w, 0 });
    bench_out8(b, 0xb2, 0xf1);
    bench_out16(b, 0x602, 1);
    bench_step_ms(b, 2400);
    CHECK(w.level);
    bench_out16(b, 0x600, 1);
    CHECK(!w.level);
    bench_step_ms(b, 2400);
    CHECK(w.level);
    bench_free(b);
}

static void pm_soft_off_asks_for_shutdown(void)
{
    Bench *b = pm_new();

    bench_out16(b, 0x604, 1 << 13 | 5 << 10);   /* a type that is not offered */
    g_assert_cmphex(atomic_load(&b->m->requests), ==, 0);
    bench_out16(b, 0x604, 1 << 13);
    CHECK(atomic_load(&b->m->requests));
    g_assert_cmpint(b->m->shutdown_cause, ==, CAUSE_GUEST_SHUTDOWN);
    bench_free(b);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/hw/timers/" #f, f)
    T(pit_mode2_ticks_at_the_programmed_rate);
    T(pit_mode0_raises_once_at_terminal_count);
    T(pit_latch_and_readback_give_one_moment);
    T(pit_gate_freezes_channel_two);
    T(pit_every_access_is_defined);
    T(rtc_counts_over_the_end_of_a_century);
    T(rtc_twelve_hour_and_binary_formats);
    T(rtc_alarm_update_and_periodic_interrupts);
    T(rtc_flags_are_seen_without_interrupts);
    T(rtc_set_bit_stops_the_clock);
    T(rtc_nonsense_dates_are_survived);
    T(rtc_base_texts_are_checked);
    T(rtc_suspend_leaves_word_for_firmware);
    T(hpet_one_shot_and_periodic);
    T(hpet_legacy_mode_blocks_the_old_timers);
    T(hpet_level_interrupt_holds_until_cleared);
    T(hpet_silent_comparator_needs_no_timer);
    T(hpet_hostile_values_do_nothing_bad);
    T(pm_timer_runs_at_its_rate);
    T(pm_power_button_raises_the_sci);
    T(pm_overflow_event_comes_each_half_turn);
    T(pm_soft_off_asks_for_shutdown);
#undef T
    return g_test_run();
}
