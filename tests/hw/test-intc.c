/* test-intc: 8259 pair, I/O APIC and local APIC: priorities, triggers, destinations, timers. */
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "target/x86/cpuid.h"
#include "tests/hw/bench.h"

static void level_changed(void *opaque, int n, int level)
{
    *(int *)opaque = level;
}

static void pic_init(Bench *b)
{
    static const uint16_t base[] = { 0x20, 0xa0 };

    for (unsigned i = 0; i < 2; i++) {
        bench_out8(b, base[i], 0x11);
        bench_out8(b, base[i] + 1, 0x30 + 8 * i);
        bench_out8(b, base[i] + 1, i ? 2 : 4);
        bench_out8(b, base[i] + 1, 1);
        bench_out8(b, base[i] + 1, 0);
    }
}

static Bench *pic_new(int *out)
{
    Bench *b = bench_new("isa-i8259", NULL);

    *out = 0;
    i8259_connect(b->dev, (IrqLine) { level_changed, out, 0 });
    pic_init(b);
    return b;
}

static void pic_edge_is_acknowledged_with_its_vector(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine l = i8259_input(b->dev, 4);

    irq_set(&l, 1);
    CHECK(out);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x34);
    CHECK(!out);
    irq_set(&l, 0);
    irq_set(&l, 1);
    CHECK(!out);                                /* still in service */
    bench_out8(b, 0x20, 0x20);
    CHECK(out);
    bench_free(b);
}

static void pic_slave_goes_through_the_cascade(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine l = i8259_input(b->dev, 12);

    irq_pulse(&l);
    CHECK(out);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x3c);
    bench_out8(b, 0x20, 0x0b);
    g_assert_cmpint(bench_in8(b, 0x20), ==, 1 << 2);
    bench_out8(b, 0xa0, 0x0b);
    g_assert_cmpint(bench_in8(b, 0xa0), ==, 1 << 4);
    bench_out8(b, 0xa0, 0x20);
    bench_out8(b, 0x20, 0x20);
    CHECK(!out);
    bench_free(b);
}

static void pic_higher_priority_interrupts_lower(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine low = i8259_input(b->dev, 7), high = i8259_input(b->dev, 1);

    irq_pulse(&low);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x37);
    irq_pulse(&high);
    CHECK(out);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x31);
    irq_pulse(&low);
    CHECK(!out);
    bench_free(b);
}

static void pic_rotation_moves_the_lowest_priority(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine a = i8259_input(b->dev, 3), c = i8259_input(b->dev, 5);

    bench_out8(b, 0x20, 0xc0 | 3);              /* input 3 lowest */
    irq_pulse(&a);
    irq_pulse(&c);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x35);
    bench_free(b);
}

static void pic_nothing_pending_gives_spurious_vector(void)
{
    int out;
    Bench *b = pic_new(&out);

    g_assert_cmpint(i8259_ack(b->dev), ==, 0x37);
    bench_free(b);
}

static void pic_level_input_asks_again_until_low(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine l = i8259_input(b->dev, 11);

    bench_out8(b, 0x4d1, 0x08);
    g_assert_cmpint(bench_in8(b, 0x4d1), ==, 0x08);
    bench_out8(b, 0x4d0, 0xff);
    g_assert_cmpint(bench_in8(b, 0x4d0), ==, 0xf8);     /* 0-2 are always edge */
    irq_set(&l, 1);
    g_assert_cmpint(i8259_ack(b->dev), ==, 0x3b);
    bench_out8(b, 0xa0, 0x20);
    bench_out8(b, 0x20, 0x20);
    CHECK(out);
    irq_set(&l, 0);
    CHECK(!out);
    bench_free(b);
}

static void pic_poll_acknowledges(void)
{
    int out;
    Bench *b = pic_new(&out);
    IrqLine l = i8259_input(b->dev, 6);

    irq_pulse(&l);
    bench_out8(b, 0x20, 0x0c);
    g_assert_cmpint(bench_in8(b, 0x20), ==, 0x86);
    CHECK(!out);
    bench_free(b);
}

/* --- I/O APIC --- */

static void ioapic_write(Bench *b, unsigned reg, uint32_t val)
{
    bench_st(b, 0xfec00000, 4, reg);
    bench_st(b, 0xfec00010, 4, val);
}

static uint32_t ioapic_read(Bench *b, unsigned reg)
{
    bench_st(b, 0xfec00000, 4, reg);
    return bench_ld(b, 0xfec00010, 4);
}

static void ioapic_edge_becomes_a_message(void)
{
    Bench *b = bench_new("ioapic", NULL);
    IrqLine l = ioapic_input(b->dev, 4);

    irq_pulse(&l);
    g_assert_cmpint(b->msis->len, ==, 0);       /* masked: lost */
    ioapic_write(b, 0x19, 0x03000000);
    ioapic_write(b, 0x18, 0x41);
    g_assert_cmpint(b->msis->len, ==, 0);
    irq_pulse(&l);
    irq_pulse(&l);
    g_assert_cmpint(b->msis->len, ==, 2);
    g_assert_cmphex(g_array_index(b->msis, BenchMsi, 0).addr, ==, 0xfee03000);
    g_assert_cmphex(g_array_index(b->msis, BenchMsi, 0).data & 0xff, ==, 0x41);
    bench_free(b);
}

static void ioapic_level_waits_for_eoi(void)
{
    Bench *b = bench_new("ioapic", NULL);
    IrqLine l = ioapic_input(b->dev, 11);

    ioapic_write(b, 0x10 + 22, 0x8000 | 0x52);
    irq_set(&l, 1);
    g_assert_cmpint(b->msis->len, ==, 1);
    g_assert_cmphex(ioapic_read(b, 0x10 + 22) & 0x4000, ==, 0x4000);
    ioapic_eoi(b->dev, 0x51);
    g_assert_cmpint(b->msis->len, ==, 1);
    ioapic_eoi(b->dev, 0x52);
    g_assert_cmpint(b->msis->len, ==, 2);       /* still asserted */
    irq_set(&l, 0);
    ioapic_eoi(b->dev, 0x52);
    g_assert_cmpint(b->msis->len, ==, 2);
    bench_roundtrip(b);
    g_assert_cmphex(ioapic_read(b, 0x10 + 22), ==, 0x8052);
    bench_free(b);
}

static void ioapic_registers_beyond_the_table_read_zero(void)
{
    Bench *b = bench_new("ioapic", NULL);

    g_assert_cmphex(ioapic_read(b, 1), ==, 0x170020);
    for (unsigned reg = 0x40; reg < 0x100; reg += 7) {
        ioapic_write(b, reg, 0xffffffff);
        g_assert_cmphex(ioapic_read(b, reg), ==, 0);
    }
    bench_free(b);
}

/* --- local APIC --- */

typedef struct Apics {
    Bench *b;
    LapicBus *bus;
    X86Model *model;
    X86Cpu *cpu[3];
} Apics;

static void apics_new(Apics *a)
{
    g_autoptr(GError) err = NULL;

    a->b = bench_new(NULL, NULL);
    a->bus = lapic_bus_new(a->b->m);
    a->model = x86_model_parse(NULL, &err);
    g_assert_no_error(err);
    for (unsigned i = 0; i < 3; i++) {
        a->cpu[i] = x86_cpu_new(a->b->m, a->model, i, &err);
        g_assert_no_error(err);
        CHECK(lapic_create(a->bus, a->cpu[i], &err));
    }
    bench_reset(a->b);
    for (unsigned i = 0; i < 3; i++) {
        lapic_write(a->bus, i, 0xf0, 0x1ff);
        lapic_write(a->bus, i, 0xd0, 1u << (24 + i));
    }
}

static void apics_free(Apics *a)
{
    bench_free(a->b);
    x86_model_free(a->model);
}

static bool intr(const Apics *a, unsigned i)
{
    return atomic_load(&a->cpu[i]->vcpu.irq) & VCPU_IRQ_INTR;
}

static int take(Apics *a, unsigned i)
{
    return a->cpu[i]->apic_ops->ack(a->cpu[i]);
}

static void lapic_takes_the_highest_vector_first(void)
{
    Apics a;

    apics_new(&a);
    lapic_bus_message(a.bus, 0xfee01000, 0x41);
    lapic_bus_message(a.bus, 0xfee01000, 0x62);
    CHECK(intr(&a, 1) && !intr(&a, 0) && !intr(&a, 2));
    g_assert_cmphex(take(&a, 1), ==, 0x62);
    CHECK(!intr(&a, 1));                        /* 41h waits for the end of 62h */
    g_assert_cmpint(take(&a, 1), ==, -1);
    lapic_write(a.bus, 1, 0xb0, 0);
    CHECK(intr(&a, 1));
    g_assert_cmphex(take(&a, 1), ==, 0x41);
    apics_free(&a);
}

static void lapic_task_priority_holds_vectors_back(void)
{
    Apics a;

    apics_new(&a);
    a.cpu[0]->apic_ops->set_tpr(a.cpu[0], 5);
    lapic_bus_message(a.bus, 0xfee00000, 0x51);
    CHECK(!intr(&a, 0));
    lapic_bus_message(a.bus, 0xfee00000, 0x61);
    CHECK(intr(&a, 0));
    g_assert_cmphex(take(&a, 0), ==, 0x61);
    lapic_write(a.bus, 0, 0xb0, 0);
    CHECK(!intr(&a, 0));
    a.cpu[0]->apic_ops->set_tpr(a.cpu[0], 0);
    CHECK(intr(&a, 0));
    apics_free(&a);
}

static void lapic_logical_and_shorthand_destinations_match(void)
{
    Apics a;

    apics_new(&a);
    lapic_bus_message(a.bus, 0xfee00000 | 5 << 12 | 1 << 2, 0x71);      /* flat: 0 and 2 */
    CHECK(intr(&a, 0) && !intr(&a, 1) && intr(&a, 2));
    lapic_write(a.bus, 1, 0xe0, 0x0fffffff);    /* cluster model */
    lapic_write(a.bus, 1, 0xd0, 0x21000000);
    lapic_bus_message(a.bus, 0xfee00000 | 0x21 << 12 | 1 << 2, 0x72);
    CHECK(intr(&a, 1));
    take(&a, 0);
    take(&a, 1);
    take(&a, 2);
    lapic_write(a.bus, 0, 0x300, 0xc0000 | 0x83);       /* all but self */
    CHECK(!intr(&a, 0) && intr(&a, 1) && intr(&a, 2));
    apics_free(&a);
}

static void lapic_lowest_priority_picks_one(void)
{
    Apics a;

    apics_new(&a);
    a.cpu[0]->apic_ops->set_tpr(a.cpu[0], 8);
    a.cpu[1]->apic_ops->set_tpr(a.cpu[1], 4);
    lapic_bus_message(a.bus, 0xfee00000 | 7 << 12 | 1 << 2, 1 << 8 | 0xa1);
    CHECK(!intr(&a, 0) && !intr(&a, 1) && intr(&a, 2));
    apics_free(&a);
}

static void lapic_init_and_startup_reach_the_target(void)
{
    Apics a;

    apics_new(&a);
    lapic_write(a.bus, 0, 0x310, 2u << 24);
    lapic_write(a.bus, 0, 0x300, 0x4500);
    CHECK(atomic_load(&a.cpu[2]->vcpu.irq) & VCPU_IRQ_INIT);
    CHECK(!(atomic_load(&a.cpu[1]->vcpu.irq) & VCPU_IRQ_INIT));
    lapic_write(a.bus, 0, 0x300, 0x4600 | 0x9f);
    CHECK(atomic_load(&a.cpu[2]->vcpu.irq) & VCPU_IRQ_SIPI);
    g_assert_cmphex(a.cpu[2]->vcpu.sipi_vector, ==, 0x9f);
    a.cpu[2]->apic_ops->poll(a.cpu[2]);
    g_assert_cmphex(lapic_read(a.bus, 2, 0xf0), ==, 0xff);      /* INIT resets the registers */
    apics_free(&a);
}

static void lapic_timer_fires_once_and_periodically(void)
{
    Apics a;

    apics_new(&a);
    lapic_write(a.bus, 0, 0x3e0, 0xb);          /* divide by 1 */
    lapic_write(a.bus, 0, 0x320, 0xe0);
    lapic_write(a.bus, 0, 0x380, 1000000);
    bench_step_us(a.b, 400);
    g_assert_cmpint(lapic_read(a.bus, 0, 0x390), ==, 600000);
    bench_step_us(a.b, 599);
    CHECK(!intr(&a, 0));
    bench_step_us(a.b, 1);
    CHECK(intr(&a, 0));
    g_assert_cmpint(lapic_read(a.bus, 0, 0x390), ==, 0);
    take(&a, 0);
    lapic_write(a.bus, 0, 0xb0, 0);
    bench_step_ms(a.b, 5);
    CHECK(!intr(&a, 0));
    lapic_write(a.bus, 0, 0x320, 0x200e0);
    lapic_write(a.bus, 0, 0x380, 1000000);
    for (unsigned i = 0; i < 3; i++) {
        bench_step_ms(a.b, 1);
        g_assert_cmphex(take(&a, 0), ==, 0xe0);
        lapic_write(a.bus, 0, 0xb0, 0);
    }
    apics_free(&a);
}

static void lapic_virtual_wire_acknowledges_the_pic(void)
{
    int vector = 0x20;
    Apics a;
    IrqLine lint0;

    apics_new(&a);
    lint0 = lapic_bus_lint0(a.bus);
    irq_set(&lint0, 1);
    CHECK(intr(&a, 0) && !intr(&a, 1));         /* LINT0 of the boot processor only */
    lapic_write(a.bus, 0, 0x350, 0x10700);
    CHECK(!intr(&a, 0));
    lapic_write(a.bus, 0, 0x350, 0x700);
    CHECK(intr(&a, 0));
    irq_set(&lint0, 0);
    CHECK(!intr(&a, 0));
    g_assert_cmpint(vector, ==, 0x20);
    apics_free(&a);
}

static void lapic_x2apic_registers_are_checked(void)
{
    const X86ApicOps *ops;
    uint64_t v;
    Apics a;

    apics_new(&a);
    ops = a.cpu[1]->apic_ops;
    CHECK(!ops->rdmsr(a.cpu[1], 0x802, &v));    /* still xAPIC */
    CHECK(!ops->set_base(a.cpu[1], 0xfee00400));        /* x2APIC without enable */
    CHECK(ops->set_base(a.cpu[1], 0xfee00c00));
    CHECK(!ops->set_base(a.cpu[1], 0xfee00800));        /* back to xAPIC: not allowed */
    CHECK(ops->rdmsr(a.cpu[1], 0x802, &v) && v == 1);
    CHECK(ops->rdmsr(a.cpu[1], 0x80d, &v) && v == 2);
    CHECK(!ops->wrmsr(a.cpu[1], 0x802, 7));
    CHECK(!ops->wrmsr(a.cpu[1], 0x80b, 1));     /* EOI takes zero only */
    CHECK(!ops->rdmsr(a.cpu[1], 0x831, &v));
    CHECK(ops->wrmsr(a.cpu[1], 0x83f, 0x55));
    CHECK(intr(&a, 1));
    CHECK(ops->wrmsr(a.cpu[1], 0x830, (uint64_t)0 << 32 | 0x66));
    CHECK(!intr(&a, 0) || a.cpu[0]->apic_id == 0);
    apics_free(&a);
}

static void lapic_illegal_vectors_set_errors_once(void)
{
    Apics a;

    apics_new(&a);
    lapic_write(a.bus, 0, 0x370, 0x05);         /* error vector itself illegal: must not recurse */
    lapic_write(a.bus, 0, 0x300, 0x40000 | 0x03);
    lapic_bus_message(a.bus, 0xfee00000, 0x02);
    lapic_write(a.bus, 0, 0x280, 0);
    g_assert_cmphex(lapic_read(a.bus, 0, 0x280), ==, 0x60);
    CHECK(!intr(&a, 0));
    apics_free(&a);
}

static void lapic_random_writes_leave_a_loadable_state(void)
{
    g_autoptr(GRand) r = g_rand_new_with_seed(11);
    g_autoptr(GByteArray) s1 = NULL;
    Apics a;

    apics_new(&a);
    for (unsigned i = 0; i < 20000; i++) {
        lapic_write(a.bus, i % 3, g_rand_int_range(r, 0, 0x400) & ~15, g_rand_int(r));
        if (i % 64 == 0)
            bench_step_us(a.b, 10);
    }
    s1 = bench_save(a.b);
    CHECK(s1->len > 100);
    apics_free(&a);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define T(f) g_test_add_func("/hw/intc/" #f, f)
    T(pic_edge_is_acknowledged_with_its_vector);
    T(pic_slave_goes_through_the_cascade);
    T(pic_higher_priority_interrupts_lower);
    T(pic_rotation_moves_the_lowest_priority);
    T(pic_nothing_pending_gives_spurious_vector);
    T(pic_level_input_asks_again_until_low);
    T(pic_poll_acknowledges);
    T(ioapic_edge_becomes_a_message);
    T(ioapic_level_waits_for_eoi);
    T(ioapic_registers_beyond_the_table_read_zero);
    T(lapic_takes_the_highest_vector_first);
    T(lapic_task_priority_holds_vectors_back);
    T(lapic_logical_and_shorthand_destinations_match);
    T(lapic_lowest_priority_picks_one);
    T(lapic_init_and_startup_reach_the_target);
    T(lapic_timer_fires_once_and_periodically);
    T(lapic_virtual_wire_acknowledges_the_pic);
    T(lapic_x2apic_registers_are_checked);
    T(lapic_illegal_vectors_set_errors_once);
    T(lapic_random_writes_leave_a_loadable_state);
#undef T
    return g_test_run();
}
