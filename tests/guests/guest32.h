/*
 * guest32: what the 32-bit bare-metal guests share: output, tables, traps that are recorded.
 */
#ifndef GUEST32_H
#define GUEST32_H

#include <stdint.h>

typedef struct Regs {
    uint32_t gs, fs, es, ds;
    uint32_t edi, esi, ebp, esp0, ebx, edx, ecx, eax;
    uint32_t vector, error, eip, cs, eflags;
    uint32_t esp, ss, v86_es, v86_ds, v86_fs, v86_gs;
} Regs;

typedef struct __attribute__((packed)) Tss32 {
    uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, iomap;
    uint8_t redir[32], io[8193];
} Tss32;

/* GDT: 08 code, 10 data, 1b user code, 23 user data, 28 TSS; the tests use 30 and up. */
enum { K_CODE = 0x08, K_DATA = 0x10, U_CODE = 0x1b, U_DATA = 0x23, TSS_SEL = 0x28, FREE_SEL = 0x30 };
extern uint64_t gdt[64], idt[256];
extern Tss32 tss;
extern volatile uint32_t last_vector, last_error, last_eip, last_cs, last_eflags, last_cr2, trap_count, resume_eip;
extern volatile Regs last_regs;

void *memset(void *p, int v, __SIZE_TYPE__ n);
void put(const char *s);
void puthex(uint32_t v, int digits);
void say(const char *name, uint32_t v);
/* "name: vec=0d err=0010" of the last trap, or "name: ok". */
void report(const char *name);
void set_gdt(unsigned sel, uint32_t base, uint32_t limit20, uint32_t type, uint32_t flags);
void set_gate(unsigned n, uint16_t sel, uint32_t off, uint32_t type);
void setup(void);
void test(void);
void trap(Regs *r);
void enter_user(const uint32_t *frame, unsigned n);
void leave_user(void);
/* Runs code at CPL 3; any trap there ends it. */
void run_user(void (*code)(void), uint32_t eflags);
extern const uint32_t stubs[64];

enum { T_CODE = 0x9a, T_DATA = 0x92, T_TSS = 0x89, T_TSS16 = 0x81, T_LDT = 0x82, T_CALL = 0x8c, T_CALL16 = 0x84, T_TASK = 0x85,
       T_INT = 0x8e, T_TRAP = 0x8f, DPL3 = 0x60, F_32 = 4, F_PAGES = 8 };

/* Executes asm with value in EBX (as %0, %w0); a fault in it resumes behind it. */
#define TRY_WITH(name, value, code) do { \
        last_vector = ~0u; \
        __asm__ volatile("movl $991f, resume_eip\n\t" code "\n991: movl $0, resume_eip" \
                         : : "b"(value) : "eax", "ecx", "edx", "memory", "cc"); \
        report(name); } while (0)
#define TRY(name, code) TRY_WITH(name, 0, code)

#endif
