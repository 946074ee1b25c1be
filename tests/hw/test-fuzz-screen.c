/*
 * test-fuzz-screen: a hostile driver for display and input devices.
 *
 * Random and half-right register accesses, descriptors and rings in memory, input from the user,
 * resets and time, until a time budget is used up. Means most under AddressSanitizer.
 */
#include "tests/hw/bench.h"
#include "ui/console.h"

#include <string.h>

enum { BUDGET_US = 700000, AREA = 0x10000, AREA_LEN = 0x8000, COMMON_CFG = 0x40 };
enum { PID_IN = 0x69, PID_OUT = 0xe1, PID_SETUP = 0x2d };

typedef struct Fuzz { Bench *b; Ui *ui; Device *pci; } Fuzz;

static unsigned rnd(unsigned n) { return (uint32_t)g_test_rand_int() % n; }

static uint32_t value(void)
{
    static const uint32_t edges[] = { 0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff };

    switch (rnd(6)) {
    case 0:
        return edges[rnd(G_N_ELEMENTS(edges))];
    case 1:
        return AREA + (rnd(AREA_LEN) & ~15u);
    case 2:
        return rnd(32);
    case 3:
        return rnd(0x1000);
    default:
        return (uint32_t)g_test_rand_int();
    }
}

/* Words that look like what a schedule or a ring of the device holds. */
static uint32_t memory_word(void)
{
    static const uint8_t pids[] = { PID_IN, PID_OUT, PID_SETUP, 0x11 };
    uint32_t pointer = AREA + (rnd(AREA_LEN) & ~15u);

    switch (rnd(7)) {
    case 0:
        return pointer | rnd(8);                                /* link */
    case 1:
        return 1u << 23 | rnd(4) << 27 | rnd(64) << 21 | 0x7ff; /* active transfer */
    case 2:
        return pids[rnd(4)] | rnd(4) << 8 | rnd(3) << 15 | rnd(2) << 19 | (rnd(3) ? rnd(64) : rnd(0x800)) << 21;
    case 3:
        return pointer;
    case 4:                                                     /* a request for a USB device */
        return (rnd(2) ? 0x80 : 0) | rnd(4) | (rnd(2) ? 0x20 : 0) | rnd(12) << 8 | rnd(0x100) << 16 | rnd(0x24) << 24;
    case 5:
        return rnd(64) | rnd(8) << 16;                          /* lengths, flags, next */
    default:
        return value();
    }
}

static void scribble(Fuzz *f)
{
    for (int i = 0; i < 48; i++)
        bench_st(f->b, AREA + (rnd(AREA_LEN) & ~3u), 4, memory_word());
}

static void touch_bar(Fuzz *f)
{
    PciDevice *pd = pci_device(f->pci);
    unsigned bar = rnd(PCI_BARS), size = 1u << rnd(3);
    uint64_t len = pd->bar[bar].size, off;

    if (!pd->bar[bar].region || !pd->bar[bar].is_mapped || !len)
        return;
    off = rnd(2) ? rnd(MIN(len, COMMON_CFG)) : rnd(MIN(len, 0x4000));
    off &= ~(uint64_t)(size - 1);
    if (pd->bar[bar].kind == PCI_BAR_IO) {
        uint16_t port = bench_bar(f->b, f->pci, bar) + off;

        rnd(4) ? size == 1 ? bench_out8(f->b, port, value()) : size == 2 ? bench_out16(f->b, port, value())
                                                                      : bench_out32(f->b, port, value())
               : (void)bench_in16(f->b, port);
    } else if (rnd(4)) {
        bench_st(f->b, bench_bar(f->b, f->pci, bar) + off, size, value());
    } else {
        bench_ld(f->b, bench_bar(f->b, f->pci, bar) + off, size);
    }
}

static void touch_vga(Fuzz *f)
{
    static const uint16_t pairs[] = { 0x3c4, 0x3ce, 0x3d4, 0x3b4 };

    switch (rnd(6)) {
    case 0:
        bench_out8(f->b, 0x3b0 + rnd(0x30), value());
        break;
    case 1:
        bench_out16(f->b, pairs[rnd(4)], rnd(0x20) | rnd(0x100) << 8);
        break;
    case 2:
        bench_out16(f->b, 0x1ce, rnd(12));
        bench_out16(f->b, 0x1cf, rnd(2) ? value() : rnd(0x800));
        break;
    case 3:
        bench_in8(f->b, 0x3da);
        bench_out8(f->b, 0x3c0, rnd(0x40));
        bench_out8(f->b, 0x3c0, value());
        bench_out8(f->b, 0x3c0, 0x20);
        break;
    case 4:
        bench_st(f->b, 0xa0000 + rnd(0x1fff8), 1u << rnd(4), value());
        break;
    default:
        bench_ld(f->b, 0xa0000 + rnd(0x1fff8), 1u << rnd(4));
    }
}

/* What a driver does before its rings are looked at: modern virtio, rings in the area. */
static void start_virtio(Fuzz *f)
{
    PciDevice *pd = pci_device(f->pci);
    uint64_t cfg;

    if (!pd->bar[4].region || !pd->bar[4].is_mapped)
        return;
    cfg = bench_bar(f->b, f->pci, 4);
    bench_st(f->b, cfg + 0x14, 1, 0);
    bench_st(f->b, cfg + 0x14, 1, 3);
    bench_st(f->b, cfg + 8, 4, 1);
    bench_st(f->b, cfg + 12, 4, 1 | (rnd(2) ? 4 : 0));          /* VERSION_1, sometimes packed rings */
    bench_st(f->b, cfg + 0x14, 1, 11);
    for (int q = 0; q < 2; q++) {
        bench_st(f->b, cfg + 0x16, 2, q);
        bench_st(f->b, cfg + 0x18, 2, 1u << rnd(7));
        for (int ring = 0; ring < 3; ring++)
            bench_st(f->b, cfg + 0x20 + 8 * ring, 4, AREA + (rnd(AREA_LEN) & ~63u));
        bench_st(f->b, cfg + 0x1c, 2, 1);
    }
    bench_st(f->b, cfg + 0x14, 1, 15);
}

static void start_uhci(Fuzz *f)
{
    PciDevice *pd = pci_device(f->pci);
    uint16_t io;

    if (pd->bar[4].kind != PCI_BAR_IO || !pd->bar[4].is_mapped)
        return;
    io = bench_bar(f->b, f->pci, 4);
    for (int port = 0; port < 2; port++) {
        bench_out16(f->b, io + 16 + 2 * port, 0x200);
        bench_step_ms(f->b, 10);
        bench_out16(f->b, io + 16 + 2 * port, 0);
        bench_out16(f->b, io + 16 + 2 * port, 4);
    }
    bench_out32(f->b, io + 8, AREA);
    bench_out16(f->b, io, 1);
}

static void use_it(Fuzz *f)
{
    ui_key(f->ui, 1 + rnd(KEY_CODES - 1), rnd(2));
    ui_rel(f->ui, (int)rnd(2000) - 1000, (int)rnd(2000) - 1000);
    ui_abs(f->ui, rnd(1000), rnd(1000), 1000, 1000);
    ui_button(f->ui, rnd(BUTTONS), rnd(2));
    ui_wheel(f->ui, (int)rnd(3) - 1, (int)rnd(3) - 1);
    ui_sync(f->ui);
}

static void one_step(Fuzz *f)
{
    switch (rnd(20)) {
    case 0:
        use_it(f);
        break;
    case 1:
        bench_step_us(f->b, rnd(3000));
        break;
    case 2: case 3:
        scribble(f);
        break;
    case 4:
        if (!rnd(20))
            bench_reset(f->b);
        bench_cfg_write(f->b, f->pci, 4, 7, 2);
        break;
    case 5:
        if (!rnd(6)) {
            bench_pci_map(f->b, f->pci);
            start_virtio(f);
            start_uhci(f);
        }
        break;
    case 6:
        for (int i = 0; i < ui_console_count(f->ui) && !rnd(4); i++)
            console_refresh(ui_console(f->ui, i));
        break;
    case 7: case 8: case 9: case 10: case 11:
        touch_vga(f);
        break;
    default:
        touch_bar(f);
    }
}

static void fuzz(const void *names)
{
    g_auto(GStrv) list = g_strsplit(names, " ", -1);
    Fuzz f = { .b = bench_new(NULL, NULL), .ui = ui_new() };
    int64_t end = g_get_monotonic_time() + BUDGET_US;

    bench_backend(f.b, "ui", "ui", f.ui);
    for (int i = 0; list[i]; i++)
        bench_add(f.b, list[i], strstr(list[i], "VGA") || strstr(list[i], "vga") ? "romfile=" : NULL);
    bench_reset(f.b);
    f.pci = bench_dev(f.b, 0);
    bench_pci_map(f.b, f.pci);
    while (g_get_monotonic_time() < end)
        for (int i = 0; i < 50; i++)
            one_step(&f);
    bench_free(f.b);
    ui_free(f.ui);
}

int main(int argc, char **argv)
{
    static const char *const devices[] = {
        "VGA", "secondary-vga", "bochs-display", "piix3-usb-uhci usb-kbd usb-mouse", "piix3-usb-uhci usb-tablet usb-hub",
        "virtio-keyboard-pci", "virtio-mouse-pci", "virtio-tablet-pci",
    };

    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_autofree char *path = g_strdup_printf("/fuzz/%s", devices[i]);

        g_test_add_data_func(path, devices[i], fuzz);
    }
    return g_test_run();
}
