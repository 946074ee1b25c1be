/*
 * irq32: interrupts from every controller: PIT through the PIC and through the I/O APIC, local APIC
 * timer, self IPIs, NMI, message interrupts, HPET, priorities, HLT that wakes.
 */
#include "guest32.h"

enum { PIC_BASE = 0x20, V_TIMER = 0x30, V_IPI = 0x31, V_IOAPIC = 0x32, V_LOW = 0x31, V_HIGH = 0x3f, V_SPURIOUS = 0x3f };
enum { LAPIC = 0xfee00000, IOAPIC = 0xfec00000 };
enum { L_ID = 0x20, L_TPR = 0x80, L_EOI = 0xb0, L_SVR = 0xf0, L_ISR = 0x100, L_IRR = 0x200, L_ICR = 0x300, L_ICR_HIGH = 0x310,
       L_TIMER = 0x320, L_LINT0 = 0x350, L_INITIAL = 0x380, L_CURRENT = 0x390, L_DIVIDE = 0x3e0 };
#define SPINS 20000000u

static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static uint8_t in8(uint16_t port) { uint8_t v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static uint32_t rd(uint32_t a) { return *(volatile uint32_t *)a; }
static void wr(uint32_t a, uint32_t v) { *(volatile uint32_t *)a = v; }
static void ioapic_set(unsigned reg, uint32_t v) { wr(IOAPIC, reg); wr(IOAPIC + 16, v); }
static uint32_t ioapic_get(unsigned reg) { wr(IOAPIC, reg); return rd(IOAPIC + 16); }

static void pic_init(uint8_t mask)
{
    out8(0x20, 0x11); out8(0x21, PIC_BASE); out8(0x21, 4); out8(0x21, 1);
    out8(0xa0, 0x11); out8(0xa1, PIC_BASE + 8); out8(0xa1, 2); out8(0xa1, 1);
    out8(0x21, mask);
    out8(0xa1, 0xff);
}

static void pit_periodic(unsigned count)
{
    out8(0x43, 0x34);
    out8(0x40, count & 0xff);
    out8(0x40, count >> 8);
}

/* Sleeps until n more interrupts came. */
static void wait_traps(unsigned n)
{
    uint32_t until = trap_count + n;

    while ((int32_t)(trap_count - until) < 0)
        __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
}

static void one(const char *name)
{
    last_vector = ~0u;
    wait_traps(1);
    say(name, last_vector);
}

static void test_pic(void)
{
    pic_init(0xfe);
    pit_periodic(1193);
    for (int i = 0; i < 3; i++) {
        one("pit by pic");
        out8(0x20, 0x0b);
        say("  in service", in8(0x20));
        out8(0x20, 0x20);
        say("  after eoi", in8(0x20));
    }
    out8(0x21, 0xff);
    out8(0x20, 0x0a);
    for (uint32_t n = 0; n < SPINS && !(in8(0x20) & 1); n++)
        continue;
    say("masked request stays", in8(0x20) & 1);
    out8(0x43, 0x30);           /* one-shot, never loaded: no more ticks */
    pic_init(0xff);
}

static void lapic_on(void)
{
    wr(LAPIC + L_SVR, 0x100 | V_SPURIOUS);
    wr(LAPIC + L_LINT0, 0x10000);
    wr(LAPIC + L_TPR, 0);
}

static void eoi(void) { wr(LAPIC + L_EOI, 0); }

static void test_lapic_timer(void)
{
    wr(LAPIC + L_DIVIDE, 0xb);
    wr(LAPIC + L_TIMER, V_TIMER);
    wr(LAPIC + L_INITIAL, 1000000);
    one("lapic one-shot");
    say("  in service", rd(LAPIC + L_ISR + 0x10));
    eoi();
    say("  after eoi", rd(LAPIC + L_ISR + 0x10));
    say("  count left", rd(LAPIC + L_CURRENT));
    wr(LAPIC + L_TIMER, 0x20000 | V_TIMER);
    wr(LAPIC + L_INITIAL, 2000000);
    for (int i = 0; i < 3; i++) {
        one("lapic periodic");
        eoi();
    }
    wr(LAPIC + L_INITIAL, 0);
    wr(LAPIC + L_TIMER, 0x10000);
    __asm__ volatile("sti\n\tnop\n\tnop\n\tcli");         /* a tick that was on its way */
    eoi();
}

static void test_ipi(void)
{
    wr(LAPIC + L_ICR, 0x40000 | V_IPI);                 /* self */
    one("self ipi");
    eoi();
    wr(LAPIC + L_ICR_HIGH, rd(LAPIC + L_ID) & 0xff000000);
    wr(LAPIC + L_ICR, 0x4000 | 0x3e);             /* physical destination: me */
    one("ipi to my id");
    eoi();
    wr(LAPIC + L_TPR, 0x30);                            /* holds vectors 30-3f back */
    wr(LAPIC + L_ICR, 0x40000 | V_IPI);
    __asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
    say("held back by tpr", rd(LAPIC + L_IRR + 0x10));
    wr(LAPIC + L_TPR, 0);
    one("after tpr 0");
    eoi();
    wr(LAPIC + L_ICR, 0x40000 | V_LOW);
    wr(LAPIC + L_ICR, 0x40000 | 0x3e);
    one("higher vector first");
    eoi();
    one("then the lower");
    eoi();
    last_vector = ~0u;
    wr(LAPIC + L_ICR, 0x4400);                          /* to my id */
    for (uint32_t n = 0; n < SPINS && last_vector == ~0u; n++)
        continue;
    say("nmi", last_vector);
}

static void test_ioapic(void)
{
    say("ioapic version", ioapic_get(1));
    ioapic_set(0x15, 0);
    ioapic_set(0x14, V_IOAPIC);                         /* pin 2: where interrupt 0 goes */
    pit_periodic(1193);
    for (int i = 0; i < 3; i++) {
        one("pit by ioapic");
        eoi();
    }
    ioapic_set(0x14, 0x10000);
    out8(0x43, 0x30);
    say("entry", ioapic_get(0x14) & 0x1efff);
}

/* A level interrupt that stays up comes again after its EOI: the serial port's transmitter is empty. */
static void test_level(void)
{
    out8(0x3f9, 0);
    out8(0x3fc, 8);
    ioapic_set(0x10 + 2 * 4 + 1, 0);
    ioapic_set(0x10 + 2 * 4, 0x8000 | V_IOAPIC);
    out8(0x3f9, 2);
    one("level");
    say("  remote irr", ioapic_get(0x10 + 2 * 4) >> 14 & 1);
    eoi();
    one("level again");
    out8(0x3f9, 0);
    in8(0x3fa);
    eoi();
    last_vector = ~0u;
    __asm__ volatile("sti\n\tnop\n\tnop\n\tcli");
    say("level gone", last_vector);
    say("  remote irr", ioapic_get(0x10 + 2 * 4) >> 14 & 1);
    ioapic_set(0x10 + 2 * 4, 0x10000);
}

static void test_hpet(void)
{
    const uint32_t h = 0xfed00000;

    wr(h + 0x10, 0);
    wr(h + 0xf0, 0);
    wr(h + 0xf4, 0);
    ioapic_set(0x14, V_IOAPIC);
    wr(h + 0x100, 4);                                   /* one-shot, edge */
    wr(h + 0x108, 100000);                              /* 1 ms */
    wr(h + 0x10c, 0);
    wr(h + 0x10, 3);                                    /* legacy replacement: interrupt 0 */
    one("hpet for the pit");
    eoi();
    wr(h + 0x10, 0);
    ioapic_set(0x14, 0x10000);
}

void test(void)
{
    test_pic();
    lapic_on();
    test_lapic_timer();
    test_ipi();
    test_ioapic();
    test_level();
    test_hpet();
}
