/* test-serial: the 16550 and the parallel port as a guest sees them. */
#include "chardev/chardev.h"
#include "tests/hw/bench.h"

#include <string.h>

enum { COM1 = 0x3f8, LPT1 = 0x378 };

typedef struct Wire { Bench *b; ChardevSet *set; Chardev *chr; ChardevFe *fe; } Wire;

static Wire wire_new(const char *cls)
{
    Wire w;
    g_autofree char *props = g_strdup("chardev=c0");

    w.b = bench_new(NULL, NULL);
    w.set = chardevs_new(NULL);
    w.chr = chardev_parse(w.set, "ringbuf,id=c0,size=4096", NULL);
    bench_backend(w.b, "chardev", "c0", w.chr);
    bench_add(w.b, cls, props);
    return w;
}
static void wire_free(Wire *w)
{
    bench_free(w->b);
    chardevs_free(w->set);
}
static void sent_is(Wire *w, const char *text)
{
    g_autoptr(GByteArray) out = g_byte_array_new();

    CHECK(chardev_ringbuf_read(w->chr, out, 4096, NULL));
    g_byte_array_append(out, (const uint8_t *)"", 1);
    g_assert_cmpstr((const char *)out->data, ==, text);
}

static void serial_sends_bytes(void)
{
    Wire w = wire_new("isa-serial");

    g_assert_cmphex(bench_in8(w.b, COM1 + 5), ==, 0x60);
    for (const char *p = "hello"; *p; p++)
        bench_out8(w.b, COM1, *p);
    sent_is(&w, "hello");
    g_assert_cmphex(bench_in8(w.b, COM1 + 5), ==, 0x60);
    wire_free(&w);
}

static void serial_transmitter_interrupts_once(void)
{
    Wire w = wire_new("isa-serial");

    bench_out8(w.b, COM1 + 1, 2);               /* enabling tells of the empty transmitter */
    CHECK(bench_irq(w.b, 4));
    g_assert_cmphex(bench_in8(w.b, COM1 + 2), ==, 2);
    CHECK(!bench_irq(w.b, 4));
    g_assert_cmphex(bench_in8(w.b, COM1 + 2), ==, 1);
    bench_out8(w.b, COM1, 'x');
    CHECK(bench_irq(w.b, 4));
    bench_roundtrip(w.b);
    CHECK(bench_irq(w.b, 4));
    wire_free(&w);
}

static void serial_loopback_receives(void)
{
    Wire w = wire_new("isa-serial");
    Bench *b = w.b;

    bench_out8(b, COM1 + 2, 0x81);              /* FIFO, trigger level 8 */
    g_assert_cmphex(bench_in8(b, COM1 + 2), ==, 0xc1);
    bench_out8(b, COM1 + 4, 0x1f);
    g_assert_cmphex(bench_in8(b, COM1 + 6) & 0xf0, ==, 0xf0);
    bench_out8(b, COM1 + 4, 0x1a);
    g_assert_cmphex(bench_in8(b, COM1 + 6) & 0xf0, ==, 0x90);   /* RTS to CTS, OUT2 to DCD */
    bench_out8(b, COM1 + 1, 1);
    for (int i = 0; i < 7; i++)
        bench_out8(b, COM1, 'a' + i);
    CHECK(!bench_irq(b, 4));
    bench_step_ms(b, 100);                      /* below the level: after a time-out */
    CHECK(bench_irq(b, 4));
    g_assert_cmphex(bench_in8(b, COM1 + 2), ==, 0xcc);
    bench_roundtrip(b);
    CHECK(bench_irq(b, 4));
    g_assert_cmphex(bench_in8(b, COM1), ==, 'a');
    CHECK(!bench_irq(b, 4));
    bench_out8(b, COM1, 'h');
    bench_out8(b, COM1, 'i');
    g_assert_cmphex(bench_in8(b, COM1 + 2), ==, 0xc4);          /* eight bytes */
    for (int i = 0; i < 12; i++)
        bench_out8(b, COM1, '.');
    g_assert_cmphex(bench_in8(b, COM1 + 5) & 3, ==, 3);         /* overrun, once */
    g_assert_cmphex(bench_in8(b, COM1 + 5) & 3, ==, 1);
    sent_is(&w, "");
    bench_out8(b, COM1 + 2, 0);                 /* leaving FIFO mode empties it */
    g_assert_cmphex(bench_in8(b, COM1 + 5) & 1, ==, 0);
    wire_free(&w);
}

static void serial_divisor_latch_and_scratch(void)
{
    Wire w = wire_new("isa-serial");
    Bench *b = w.b;

    bench_out8(b, COM1 + 3, 0x83);
    bench_out8(b, COM1, 0);                     /* divisor 0 must not divide */
    bench_out8(b, COM1 + 1, 0);
    bench_out8(b, COM1 + 3, 3);
    bench_out8(b, COM1 + 2, 1);
    bench_out8(b, COM1 + 4, 0x10);
    bench_out8(b, COM1, 'z');
    g_assert_cmphex(bench_in8(b, COM1), ==, 'z');
    bench_out8(b, COM1 + 7, 0x5a);
    g_assert_cmphex(bench_in8(b, COM1 + 7), ==, 0x5a);
    bench_out8(b, COM1 + 3, 0x80);
    bench_out8(b, COM1, 0x34);
    bench_out8(b, COM1 + 1, 0x12);
    bench_roundtrip(b);
    g_assert_cmphex(bench_in8(b, COM1) | bench_in8(b, COM1 + 1) << 8, ==, 0x1234);
    wire_free(&w);
}

static void serial_second_port_has_its_own_place(void)
{
    Bench *b = bench_new("isa-serial", NULL);
    Device *d = bench_add(b, "isa-serial", NULL);

    CHECK(d);
    bench_out8(b, 0x2f8 + 7, 0x11);
    bench_out8(b, COM1 + 7, 0x22);
    g_assert_cmphex(bench_in8(b, 0x2f8 + 7), ==, 0x11);
    bench_out8(b, 0x2f8 + 1, 2);
    CHECK(bench_irq(b, 3));
    CHECK(!bench_irq(b, 4));
    bench_free(b);
}

static void parallel_prints_on_strobe(void)
{
    Wire w = wire_new("isa-parallel");
    Bench *b = w.b;

    g_assert_cmphex(bench_in8(b, LPT1 + 1) & 0xf8, ==, 0xd8);
    bench_out8(b, LPT1, 'P');
    sent_is(&w, "");
    bench_out8(b, LPT1 + 2, 0x1d);
    bench_out8(b, LPT1 + 2, 0x1c);
    sent_is(&w, "P");
    CHECK(bench_irq(b, 7));
    bench_in8(b, LPT1 + 1);
    CHECK(!bench_irq(b, 7));
    wire_free(&w);
}

static void debugcon_answers_and_prints(void)
{
    Wire w = wire_new("isa-debugcon");

    g_assert_cmphex(bench_in8(w.b, 0xe9), ==, 0xe9);
    bench_out8(w.b, 0xe9, '!');
    sent_is(&w, "!");
    wire_free(&w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serial/send", serial_sends_bytes);
    g_test_add_func("/serial/thr-interrupt", serial_transmitter_interrupts_once);
    g_test_add_func("/serial/loopback", serial_loopback_receives);
    g_test_add_func("/serial/divisor", serial_divisor_latch_and_scratch);
    g_test_add_func("/serial/second", serial_second_port_has_its_own_place);
    g_test_add_func("/parallel/strobe", parallel_prints_on_strobe);
    g_test_add_func("/debugcon/prints", debugcon_answers_and_prints);
    return g_test_run();
}
