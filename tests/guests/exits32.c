/*
 * exits32: time stamp ticks that one exit of each kind takes: port write, reads of registers in and out
 * of the kernel, a virtio kick, and a kick with its answer and message interrupt (virtio-rng, legacy).
 */
#include "guest32.h"

enum { ROUNDS = 5000, TRIPS = 500, QUEUE_MAX = 1024, MSIX_BAR = 0xe0000000, VECTOR = 0x60 };
enum { FEATURES = 4, PFN = 8, NUM = 12, SEL = 14, NOTIFY = 16, STATUS = 18, QVECTOR = 22 };

static uint8_t ring[32768] __attribute__((aligned(4096)));
static uint8_t bytes[64];

static uint32_t rdtsc(void) { uint32_t a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d)); return a; }
static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void out16(uint16_t port, uint16_t v) { __asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port)); }
static void out32(uint16_t port, uint32_t v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port)); }
static uint16_t in16(uint16_t port) { uint16_t v; __asm__ volatile("inw %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static uint32_t in32(uint16_t port) { uint32_t v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port)); return v; }
static uint32_t pci_rd(unsigned slot, unsigned reg) { out32(0xcf8, 0x80000000u | slot << 11 | reg); return in32(0xcfc); }
static void pci_wr(unsigned slot, unsigned reg, uint32_t v) { out32(0xcf8, 0x80000000u | slot << 11 | reg); out32(0xcfc, v); }

static unsigned capability(unsigned slot, uint8_t id)
{
    unsigned at = pci_rd(slot, 0x34) & 0xfc;

    for (unsigned n = 0; at && n < 48; n++) {
        uint32_t w = pci_rd(slot, at);

        if ((w & 0xff) == id)
            return at;
        at = w >> 8 & 0xfc;
    }
    return 0;
}

static void message_interrupts(unsigned slot)
{
    volatile uint32_t *table = (volatile uint32_t *)MSIX_BAR;
    unsigned cap = capability(slot, 0x11);

    pci_wr(slot, 0x14, MSIX_BAR);
    pci_wr(slot, 4, 7);
    pci_wr(slot, cap, pci_rd(slot, cap) | 0x80000000u);
    for (unsigned v = 0; v < 2; v++) {
        table[4 * v] = 0xfee00000;
        table[4 * v + 1] = 0;
        table[4 * v + 2] = VECTOR + v;
        table[4 * v + 3] = 0;
    }
    *(volatile uint32_t *)0xfee000f0 = 0x1ff;
}

static void test_virtio(unsigned slot)
{
    uint16_t io = 0xc000, num;
    volatile uint16_t *avail;
    volatile uint8_t *used;
    uint32_t t;

    pci_wr(slot, 0x10, io);
    message_interrupts(slot);
    out8(io + STATUS, 0);
    out8(io + STATUS, 3);
    out32(io + FEATURES, 0);
    out16(io + SEL, 0);
    num = in16(io + NUM);
    if (!num || num > QUEUE_MAX)
        return;
    out32(io + PFN, (uint32_t)ring >> 12);
    out16(io + QVECTOR, 1);
    out8(io + STATUS, 7);
    avail = (volatile uint16_t *)(ring + 16 * num);
    used = ring + ((16 * num + 6 + 2 * num + 4095) & ~4095u);
    *(volatile uint32_t *)ring = (uint32_t)bytes;
    *(volatile uint32_t *)(ring + 8) = sizeof bytes;
    *(volatile uint32_t *)(ring + 12) = 2;              /* the device writes */
    t = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        out16(io + NOTIFY, 0);
    say("virtio kick", (rdtsc() - t) / ROUNDS);
    t = rdtsc();
    for (uint16_t i = 1; i <= TRIPS; i++) {
        uint32_t spins = 0;

        avail[2 + (i - 1) % num] = 0;
        avail[1] = i;
        out16(io + NOTIFY, 0);
        while (*(volatile uint16_t *)(used + 2) != i && ++spins < 100000000)
            __asm__ volatile("pause");
    }
    say("virtio round trip", (rdtsc() - t) / TRIPS);
    say("message interrupt", *(volatile uint32_t *)0xfee00230 >> 1 & 1);
}

void test(void)
{
    uint32_t t = rdtsc();

    for (unsigned i = 0; i < ROUNDS; i++)
        out8(0x80, 0);
    say("port write", (rdtsc() - t) / ROUNDS);
    t = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        (void)*(volatile uint32_t *)0xfec00000;
    say("ioapic read", (rdtsc() - t) / ROUNDS);
    t = rdtsc();
    for (unsigned i = 0; i < ROUNDS; i++)
        (void)*(volatile uint32_t *)0xfed000f0;
    say("hpet read", (rdtsc() - t) / ROUNDS);
    for (unsigned slot = 0; slot < 32; slot++) {
        if (pci_rd(slot, 0) == 0x10051af4)
            test_virtio(slot);
    }
}
