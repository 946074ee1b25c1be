/* exits32: how long one exit of each kind takes: port write, MMIO read, both to devices that do nothing. */
#include "guest32.h"

static uint32_t rdtsc(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return a; }
enum { ROUNDS = 20000 };

void test(void)
{
    uint32_t t = rdtsc();

    for (unsigned i = 0; i < ROUNDS; i++)
        __asm__ volatile("outb %%al, $0x80" : : "a"(0));
    say("port write", (rdtsc() - t) / ROUNDS);
    t = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        (void)*(volatile uint32_t *)0xfec00000;
    say("ioapic read", (rdtsc() - t) / ROUNDS);
    t = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        (void)*(volatile uint32_t *)0xfed000f0;
    say("hpet read", (rdtsc() - t) / ROUNDS);
}
