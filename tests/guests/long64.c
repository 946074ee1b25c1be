/*
 * long64: long mode: faults and error codes, IST, user mode, SYSCALL, compatibility mode, call
 * gates, paging rights, SMEP, SMAP, PCID, double fault.
 */
#include <stdint.h>

typedef struct Regs {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
} Regs;
typedef struct __attribute__((packed)) Tss { uint32_t r0; uint64_t rsp[3], r1, ist[7], r2; uint16_t r3, iomap; } Tss;

enum { K_CODE = 0x08, K_DATA = 0x10, U_CODE32 = 0x1b, U_DATA = 0x23, U_CODE = 0x2b, TSS_SEL = 0x30, GATE = 0x40, K_CODE32 = 0x50 };
enum { P = 1, W = 2, U = 4, G = 0x100 };
#define NX (1ull << 63)

extern uint64_t pml4[], pdpt[], pd[];
extern const char stub_end[];
void setup(void);
void test(void);
void trap(Regs *r);
void enter_user(const uint64_t *frame);
void leave_user(void);
void *memset(void *p, int v, __SIZE_TYPE__ n);

static uint64_t gdt[16] __attribute__((aligned(16))), idt[512] __attribute__((aligned(16)));
static Tss tss __attribute__((aligned(128)));
static uint8_t trap_stack[8192] __attribute__((aligned(16))), ist_stack[8192] __attribute__((aligned(16)));
static uint8_t user_stack[8192] __attribute__((aligned(16)));
static uint64_t pt[512] __attribute__((aligned(4096)));
static volatile Regs last;
static volatile uint64_t last_vector, last_cr2, trap_rsp, trap_ss;
volatile uint64_t resume_rip;

void *memset(void *p, int v, __SIZE_TYPE__ n)
{
    uint8_t *b = p;

    while (n--)
        *b++ = (uint8_t)v;
    return p;
}
static void out8(uint16_t port, uint8_t v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port)); }
static void put(const char *s)
{
    while (*s)
        out8(0xe9, (uint8_t)*s++);
}
static void puthex(uint64_t v, int digits)
{
    while (digits-- > 0)
        out8(0xe9, (uint8_t)"0123456789abcdef"[v >> (4 * digits) & 15]);
}
static void say(const char *name, uint64_t v)
{
    put(name);
    put(": ");
    puthex(v, 16);
    put("\n");
}
static void report(const char *name)
{
    put(name);
    if (last_vector == ~0ull) {
        put(": ok\n");
        return;
    }
    put(": vec=");
    puthex(last_vector, 2);
    put(" err=");
    puthex(last.error, 4);
    if (last_vector == 14) {
        put(" cr2=");
        puthex(last_cr2, 16);
    }
    put("\n");
}

#define TRY_WITH(name, value, code) do { \
        last_vector = ~0ull; \
        __asm__ volatile("movq $991f, resume_rip\n\t" code "\n991: movq $0, resume_rip" \
                         : : "b"((uint64_t)(value)) : "rax", "rcx", "rdx", "rsi", "rdi", "r11", "memory", "cc"); \
        report(name); } while (0)
#define TRY(name, code) TRY_WITH(name, 0, code)

void trap(Regs *r)
{
    uint64_t cr2;

    __asm__ volatile("movq %%cr2, %0" : "=r"(cr2));
    last_cr2 = cr2;
    last = *r;
    last_vector = r->vector;
    trap_rsp = (uint64_t)r;
    __asm__ volatile("movw %%ss, %w0" : "=r"(cr2));
    trap_ss = cr2 & 0xffff;
    if (r->cs & 3)
        leave_user();
    if (resume_rip && r->vector < 32)
        r->rip = resume_rip;
}

static void set_gate(unsigned n, uint64_t off, unsigned type, unsigned ist)
{
    idt[2 * n] = (off & 0xffff) | (uint64_t)K_CODE << 16 | (uint64_t)ist << 32 | (uint64_t)type << 40 | (off >> 16 & 0xffff) << 48;
    idt[2 * n + 1] = off >> 32;
}

void setup(void)
{
    struct __attribute__((packed)) { uint16_t limit; uint64_t base; } t = { sizeof gdt - 1, (uint64_t)gdt };
    uint64_t base = (uint64_t)&tss;

    gdt[1] = 0x00af9b000000ffffull;
    gdt[2] = 0x00cf93000000ffffull;
    gdt[3] = 0x00cffb000000ffffull;
    gdt[4] = 0x00cff3000000ffffull;
    gdt[5] = 0x00affb000000ffffull;
    gdt[6] = (sizeof tss - 1) | (base & 0xffffff) << 16 | 0x89ull << 40 | (base >> 24 & 0xff) << 56;
    gdt[7] = base >> 32;
    gdt[10] = 0x00cf9b000000ffffull;
    tss.rsp[0] = (uint64_t)(trap_stack + sizeof trap_stack);
    tss.ist[0] = (uint64_t)(ist_stack + sizeof ist_stack);
    tss.iomap = sizeof tss;
    for (unsigned i = 0; i < 64; i++)
        set_gate(i, (uint64_t)stub_end - (64 - i) * 16, i == 3 || i >= 32 ? 0xee : 0x8e, i == 8 || i == 0x22 ? 1 : 0);
    __asm__ volatile("lgdt %0; movw $0x10, %%ax; movw %%ax, %%ds; movw %%ax, %%es; movw %%ax, %%ss; pushq $8; pushq $1f; lretq; 1:"
                     : : "m"(t) : "rax", "memory");
    t.limit = sizeof idt - 1;
    t.base = (uint64_t)idt;
    __asm__ volatile("lidt %0; ltr %w1" : : "m"(t), "r"(TSS_SEL));
    /* 0x3fe00000: 4 KiB pages onto 0x800000. */
    for (unsigned i = 0; i < 512; i++)
        pt[i] = (0x800000 + i * 4096ull) | P | W | U;
    pd[511] = (uint64_t)pt | P | W | U;
    __asm__ volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" : : : "rax", "memory");
}

static uint64_t rd_cr4(void)
{
    uint64_t v;
    __asm__ volatile("movq %%cr4, %0" : "=r"(v));
    return v;
}
static void wr_cr4(uint64_t v) { __asm__ volatile("movq %0, %%cr4" : : "r"(v) : "memory"); }
static void flush(void) { __asm__ volatile("movq %%cr3, %%rax; movq %%rax, %%cr3" : : : "rax", "memory"); }

static void faults(void)
{
    TRY_WITH("non-canonical load", 0x0000800000000000, "movq (%0), %%rax");
    TRY_WITH("non-canonical stack load", 0x0000800000000000, "movq %%ss:(%0), %%rax");
    TRY_WITH("non-canonical jump", 0x0000800000000000, "jmp *%0");
    TRY_WITH("unmapped", 0xffff800000000000, "movq (%0), %%rax");
    TRY_WITH("unmapped write", 0x7f0000000000, "movq %%rax, (%0)");
    TRY_WITH("unmapped fetch", 0x7f0000000000, "jmp *%0");
    TRY("clear paging", "movq %%cr0, %%rax; btrq $31, %%rax; movq %%rax, %%cr0");
    TRY("clear pae", "movq %%cr4, %%rax; btrq $5, %%rax; movq %%rax, %%cr4");
    TRY("cr0 high bits", "movq $0x100000011, %%rax; movq %%rax, %%cr0");
    TRY("cr4 reserved", "movq %%cr4, %%rax; btsq $31, %%rax; movq %%rax, %%cr4");
    TRY("cr8 reserved", "movq $16, %%rax; movq %%rax, %%cr8");
    TRY("dr7 high", "movq $0x100000400, %%rax; movq %%rax, %%dr7");
    TRY("efer reserved", "movl $0xc0000080, %%ecx; rdmsr; btsl $1, %%eax; wrmsr");
    TRY("lstar non-canonical", "movl $0xc0000082, %%ecx; movl $0x8000, %%edx; xorl %%eax, %%eax; wrmsr");
    TRY_WITH("load ss null", 0, "movw %w0, %%ss");
    TRY_WITH("load ss null rpl 3", 3, "movw %w0, %%ss");
    TRY_WITH("restore ss", K_DATA, "movw %w0, %%ss");
    TRY("int without gate", "int $0x50");
    TRY("rdfsbase without fsgsbase", "rdfsbase %%rax");
    TRY("cmpxchg16b misaligned", "leaq 8(%%rsp), %%rcx; andq $-16, %%rcx; lock cmpxchg16b 8(%%rcx)");
    TRY("iretq with nt", "pushfq; orq $0x4000, (%%rsp); popfq; iretq");
    __asm__ volatile("pushfq; andq $~0x4000, (%%rsp); popfq" : : : "memory", "cc");
    TRY("sysret without sce is fine", "movl $0xc0000080, %%ecx; rdmsr; andl $~1, %%eax; wrmsr; syscall");
    __asm__ volatile("movl $0xc0000080, %%ecx; rdmsr; orl $1, %%eax; wrmsr" : : : "rax", "rcx", "rdx");
}

static void stacks(void)
{
    TRY("int on this stack", "int $0x21");
    say("  frame aligned", trap_rsp & 15);
    TRY("int on ist", "int $0x22");
    say("  on ist", trap_rsp > (uint64_t)ist_stack && trap_rsp < (uint64_t)ist_stack + sizeof ist_stack);
    TRY("int misaligned", "subq $3, %%rsp; int $0x21; addq $3, %%rsp");
    say("  frame aligned", trap_rsp & 15);
}

static void double_fault(void)
{
    uint64_t gp[2] = { idt[26], idt[27] };

    idt[26] &= ~(1ull << 47);                   /* #GP gate not present */
    TRY_WITH("double fault", 0x0000800000000000, "movq (%0), %%rax");
    idt[26] = gp[0];
    gp[0] = idt[28];
    idt[28] &= ~(1ull << 47);                   /* #PF gate not present */
    TRY_WITH("double fault from pf", 0x7f0000000000, "movq (%0), %%rax");
    idt[28] = gp[0];
}

#define USER(name, rf, ...) do { \
        extern char name[]; \
        const uint64_t f_[5] = { (uint64_t)name, U_CODE, (rf) | 2, (uint64_t)user_stack + sizeof user_stack, U_DATA }; \
        last_vector = ~0ull; \
        enter_user(f_); \
        report(#name); } while (0)

__asm__("u_int: int $0x30");
__asm__("u_cli: cli");
__asm__("u_kernel_read: movq 0x3fe01000, %rax; int $0x30");
__asm__("u_read: movq 0x3fe00000, %rax; int $0x30");
__asm__("u_write_ro: movq %rax, 0x3fe02000; int $0x30");
__asm__("u_nx: movl $0x3fe03000, %eax; jmp *%rax");
__asm__("u_rsvd: movq 0x3fe04000, %rax");
__asm__("u_syscall: movl $0x12345, %ebx; syscall; u_syscall_end: int $0x30");
__asm__("u_swapgs: swapgs");
__asm__("u_sysret: sysretq");
__asm__("u_rdmsr: rdmsr");
__asm__("u_gate: lcall *u_gate_ptr; int $0x30\n.pushsection .data\nu_gate_ptr: .long 0; .word 0x43\n.popsection");
__asm__("u_compat: lcall *u_compat_ptr; int $0x30\n.pushsection .data\nu_compat_ptr: .long u_code32; .word 0x1b\n.popsection\n"
        ".code32\nu_code32: movl $0x89abcdef, %eax; pushl %eax; popl %ecx; lret\n.code64");
__asm__("u_compat_fault: lcall *u_cf_ptr; int $0x30\n.pushsection .data\nu_cf_ptr: .long u_cf; .word 0x1b\n.popsection\n"
        ".code32\nu_cf: .byte 0x06; movl 0xf0000000, %eax\n.code64");
__asm__("u_compat_int: lcall *u_ci_ptr; int $0x30\n.pushsection .data\nu_ci_ptr: .long u_ci; .word 0x1b\n.popsection\n"
        ".code32\nu_ci: int $0x31\n.code64");
__asm__("gate_body: movw %cs, %ax; movw %ss, %dx; movq %rsp, %rsi; lretq");
__asm__("syscall_entry: movw %cs, %ax; movw %ss, %dx; sysretq");
extern char gate_body[], syscall_entry[], u_syscall_end[];

static void wrmsr(uint32_t n, uint64_t v) { __asm__ volatile("wrmsr" : : "c"(n), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))); }

static void user(void)
{
    uint64_t off = (uint64_t)gate_body;

    pt[1] &= ~(uint64_t)U;
    pt[2] &= ~(uint64_t)W;
    pt[3] |= NX;
    pt[4] |= 1ull << 45;
    flush();
    USER(u_int, 0x200);
    say("  cs", last.cs);
    say("  ss", last.ss);
    say("  trap ss", trap_ss);
    say("  if", last.rflags & 0x200);
    USER(u_cli, 0);
    USER(u_kernel_read, 0);
    USER(u_read, 0);
    USER(u_write_ro, 0);
    USER(u_nx, 0);
    USER(u_rsvd, 0);
    wrmsr(0xc0000081, (uint64_t)(U_CODE32 & ~3) << 48 | (uint64_t)K_CODE << 32);
    wrmsr(0xc0000082, (uint64_t)syscall_entry);
    wrmsr(0xc0000084, 0x600);
    USER(u_syscall, 0x600);
    say("  cs in kernel", last.rax & 0xffff);
    say("  ss in kernel", last.rdx & 0xffff);
    say("  rcx", last.rcx == (uint64_t)u_syscall_end);
    say("  r11", last.r11);
    say("  flags after", last.rflags);
    say("  cs after", last.cs);
    say("  ss after", last.ss);
    USER(u_swapgs, 0);
    USER(u_sysret, 0);
    USER(u_rdmsr, 0);
    gdt[8] = (off & 0xffff) | (uint64_t)K_CODE << 16 | 0xecull << 40 | (off >> 16 & 0xffff) << 48;
    gdt[9] = off >> 32;
    USER(u_gate, 0);
    say("  cs in gate", last.rax & 0xffff);
    say("  ss in gate", last.rdx & 0xffff);
    say("  on rsp0", last.rsi > (uint64_t)trap_stack && last.rsi < (uint64_t)trap_stack + sizeof trap_stack);
    USER(u_compat, 0);
    say("  rax", last.rax);
    say("  rcx", last.rcx);
    USER(u_compat_fault, 0);
    say("  cs", last.cs);
    USER(u_compat_int, 0);
    say("  cs", last.cs);
}

static void rights(void)
{
    TRY("supervisor writes read-only, wp", "movq %%rax, 0x3fe02000");
    __asm__ volatile("movq %%cr0, %%rax; btrq $16, %%rax; movq %%rax, %%cr0" : : : "rax");
    TRY("supervisor writes read-only, no wp", "movq %%rax, 0x3fe02000");
    __asm__ volatile("movq %%cr0, %%rax; btsq $16, %%rax; movq %%rax, %%cr0" : : : "rax");
    say("dirty", pt[2] & 0x60);
    say("clean", pt[6] & 0x60);
    TRY("crossing into read-only", "movq %%rax, 0x3fe01ffc");
    __asm__ volatile("movb $0xc3, 0x3fe00000");
    TRY_WITH("supervisor runs user page", 0x3fe00000, "call *%0");
    /* All of low memory is user pages: make the kernel's supervisor first. */
    for (unsigned i = 0; i < 5; i++)
        pd[i] &= ~(uint64_t)U;
    flush();
    wr_cr4(rd_cr4() | 1u << 20);
    TRY_WITH("smep", 0x3fe00000, "jmp *%0");
    wr_cr4(rd_cr4() | 1u << 21);
    TRY("smap read", "movq 0x3fe00000, %%rax");
    TRY("smap write", "movq %%rax, 0x3fe00000");
    TRY("smap with ac", "stac; movq 0x3fe00000, %%rax; clac");
    TRY("smap supervisor page", "movq 0x3fe01000, %%rax");
    wr_cr4(rd_cr4() & ~(3ull << 20));
}

static void pcid(void)
{
    volatile uint64_t *p = (volatile uint64_t *)0x3fe05000;
    uint64_t desc[2] = { 0, 0 }, cr3;

    wr_cr4(rd_cr4() | 0x80);
    __asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
    wr_cr4(rd_cr4() | 1u << 17);
    *(volatile uint64_t *)0x805000 = 0x55;
    *(volatile uint64_t *)0x807000 = 0x77;
    __asm__ volatile("movq %0, %%cr3" : : "r"(cr3 | 1) : "memory");
    say("pcid 1 reads", *p);
    __asm__ volatile("movq %0, %%cr3" : : "r"(cr3 | 2) : "memory");
    pt[5] = 0x807000 | P | W | U;
    say("pcid 2 reads new", *p);
    desc[0] = 1;
    __asm__ volatile("invpcid %0, %1" : : "m"(desc), "r"(1ull) : "memory");
    __asm__ volatile("movq %0, %%cr3" : : "r"(cr3 | 1 | 1ull << 63) : "memory");
    say("pcid 1 reads after invpcid", *p);
    desc[0] = 0x1000;
    TRY_WITH("invpcid bad pcid", desc, "movl $1, %%eax; invpcid (%0), %%rax");
    TRY_WITH("invpcid bad type", desc, "movl $4, %%eax; invpcid (%0), %%rax");
    TRY("clear pcide keeps going", "movq %%cr4, %%rax; btrq $17, %%rax; movq %%rax, %%cr4");
    __asm__ volatile("movq %0, %%cr3" : : "r"(cr3) : "memory");
}

void test(void)
{
    faults();
    stacks();
    double_fault();
    user();
    rights();
    pcid();
    put("done\n");
}
