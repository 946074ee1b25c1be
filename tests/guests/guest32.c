/* guest32: see guest32.h. */
#include "guest32.h"

uint64_t gdt[64] __attribute__((aligned(16))), idt[256] __attribute__((aligned(16)));
Tss32 tss __attribute__((aligned(4096)));
volatile uint32_t last_vector, last_error, last_eip, last_cs, last_eflags, last_cr2, trap_count, resume_eip;
volatile Regs last_regs;
static uint8_t trap_stack[8192] __attribute__((aligned(16))), user_stack[8192] __attribute__((aligned(16)));

void *memset(void *p, int v, __SIZE_TYPE__ n)
{
    uint8_t *b = p;

    while (n--)
        *b++ = (uint8_t)v;
    return p;
}

static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }

void put(const char *s)
{
    while (*s)
        out8(0xe9, *s++);
}

void puthex(uint32_t v, int digits)
{
    while (digits-- > 0)
        out8(0xe9, "0123456789abcdef"[v >> (4 * digits) & 15]);
}

void say(const char *name, uint32_t v)
{
    put(name);
    put(": ");
    puthex(v, 8);
    put("\n");
}

void report(const char *name)
{
    put(name);
    if (last_vector == ~0u) {
        put(": ok\n");
        return;
    }
    put(": vec=");
    puthex(last_vector, 2);
    put(" err=");
    puthex(last_error, 4);
    if (last_vector == 14) {
        put(" cr2=");
        puthex(last_cr2, 8);
    }
    put("\n");
}

void set_gdt(unsigned sel, uint32_t base, uint32_t limit, uint32_t type, uint32_t flags)
{
    gdt[sel / 8] = (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 |
                   (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

void set_gate(unsigned n, uint16_t sel, uint32_t off, uint32_t type)
{
    idt[n] = (off & 0xffff) | (uint64_t)sel << 16 | (uint64_t)type << 40 | (uint64_t)(off >> 16) << 48;
}

void trap(Regs *r)
{
    __asm__ volatile("movl %%cr2, %0" : "=r"(last_cr2));
    trap_count++;
    last_vector = r->vector;
    last_error = r->error;
    last_eip = r->eip;
    last_cs = r->cs;
    last_eflags = r->eflags;
    last_regs = *r;
    if ((r->cs & 3) || (r->eflags & 0x20000)) {
        leave_user();
        __builtin_unreachable();
    }
    if (r->vector == 1)
        r->eflags |= 0x10000;           /* past a code breakpoint */
    if (resume_eip && (r->vector < 16 || r->vector == 17)) {
        r->eip = resume_eip;
        r->eflags &= ~0x100u;
    }
}

void setup(void)
{
    struct __attribute__((packed)) { uint16_t limit; uint32_t base; } t;

    set_gdt(K_CODE, 0, 0xfffff, T_CODE, F_32 | F_PAGES);
    set_gdt(K_DATA, 0, 0xfffff, T_DATA, F_32 | F_PAGES);
    set_gdt(U_CODE & ~3, 0, 0xfffff, T_CODE | DPL3, F_32 | F_PAGES);
    set_gdt(U_DATA & ~3, 0, 0xfffff, T_DATA | DPL3, F_32 | F_PAGES);
    set_gdt(TSS_SEL, (uint32_t)&tss, sizeof tss - 1, T_TSS, 0);
    tss.esp0 = (uint32_t)(trap_stack + sizeof trap_stack);
    tss.ss0 = K_DATA;
    tss.iomap = __builtin_offsetof(Tss32, io);
    for (unsigned i = 0; i < 64; i++)
        set_gate(i, K_CODE, stubs[i], i == 3 || i == 4 || i >= 32 ? T_INT | DPL3 : T_INT);
    t.limit = sizeof gdt - 1;
    t.base = (uint32_t)gdt;
    __asm__ volatile("lgdt %0\n\tljmp $8, $1f\n1:\tmovw $0x10, %%ax\n\tmovw %%ax, %%ds\n\tmovw %%ax, %%es\n\t"
                     "movw %%ax, %%ss\n\tmovw %%ax, %%fs\n\tmovw %%ax, %%gs" : : "m"(t) : "eax", "memory");
    t.limit = sizeof idt - 1;
    t.base = (uint32_t)idt;
    __asm__ volatile("lidt %0\n\tltr %w1" : : "m"(t), "r"(TSS_SEL));
}

void run_user(void (*code)(void), uint32_t eflags)
{
    uint32_t frame[5] = { (uint32_t)code, U_CODE, eflags | 2, (uint32_t)(user_stack + sizeof user_stack), U_DATA };

    last_vector = ~0u;
    enter_user(frame, 5);
}
