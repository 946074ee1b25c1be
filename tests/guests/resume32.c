/*
 * resume32: counts local APIC timer ticks while it keeps values in registers, XMM, x87 and segments:
 * saved in the middle and resumed elsewhere, it says the same as in one go.
 */
#include "guest32.h"

enum { LAPIC = 0xfee00000, VECTOR = 0x30, TICKS = 40 };
static void wr(uint32_t a, uint32_t v) { *(volatile uint32_t *)a = v; }

static uint32_t xmm_sum(uint32_t add)
{
    uint32_t v;

    __asm__ volatile("movd %1, %%xmm1\n\tpaddd %%xmm1, %%xmm7\n\tmovd %%xmm7, %0" : "=r"(v) : "r"(add));
    return v;
}

static uint32_t x87_sum(void)
{
    uint32_t v;

    __asm__ volatile("fld1\n\tfaddp\n\tfistl %0" : "=m"(v));
    return v;
}

void test(void)
{
    uint32_t sum = 0;

    __asm__ volatile("movl %%cr4, %%eax\n\torl $0x600, %%eax\n\tmovl %%eax, %%cr4\n\tfninit\n\tfldz\n\tpxor %%xmm7, %%xmm7" : : : "eax");
    set_gdt(FREE_SEL, 0x1234, 0xfff, T_DATA, 4);
    __asm__ volatile("movw %w0, %%fs" : : "r"(FREE_SEL));
    wr(LAPIC + 0xf0, 0x13f);
    wr(LAPIC + 0x350, 0x10000);
    wr(LAPIC + 0x3e0, 0xb);
    wr(LAPIC + 0x320, 0x20000 | VECTOR);
    wr(LAPIC + 0x380, 20000000);                        /* 20 ms */
    for (uint32_t n = 1; n <= TICKS; n++) {
        uint32_t until = trap_count + 1, fs;

        while ((int32_t)(trap_count - until) < 0)
            __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory");
        wr(LAPIC + 0xb0, 0);
        sum += n * n;
        put("tick ");
        puthex(n, 2);
        __asm__ volatile("movw %%fs, %w0" : "=r"(fs));
        put(" xmm ");
        puthex(xmm_sum(n), 8);
        put(" x87 ");
        puthex(x87_sum(), 8);
        put(" fs ");
        puthex(fs & 0xffff, 4);
        say(" sum", sum);
    }
}
