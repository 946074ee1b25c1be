/*
 * excp32: every exception of 32-bit protected mode with its error code, gates by privilege,
 * segment limits, single step, breakpoints.
 */
#include "guest32.h"

uint8_t small[64];

static void segments(void)
{
    set_gdt(0x30, (uint32_t)small, 15, T_DATA, F_32);           /* 16 bytes */
    set_gdt(0x38, (uint32_t)small - 16, 15, T_DATA | 4, F_32);  /* expand-down: offsets from 16 up */
    set_gdt(0x40, 0, 0xfffff, T_DATA & ~0x80, F_32 | F_PAGES);  /* not present */
    set_gdt(0x48, 0, 0xfffff, 0x90, F_32 | F_PAGES);            /* read-only data */
    set_gdt(0x50, 0, 0xfffff, 0x98, F_32 | F_PAGES);            /* execute-only code */
    set_gdt(0x58, 0, 0xfffff, T_CODE & ~0x80, F_32 | F_PAGES);  /* code, not present */
    TRY_WITH("load null into ds", 0, "movw %w0, %%fs; movb %%fs:0, %%al");
    TRY_WITH("load beyond gdt", 0x1000, "movw %w0, %%fs");
    TRY_WITH("load not present", 0x40, "movw %w0, %%fs");
    TRY_WITH("load execute-only", 0x50, "movw %w0, %%fs");
    TRY_WITH("load ldt selector, no ldt", 0x34, "movw %w0, %%fs");
    TRY_WITH("ss null", 0, "movw %w0, %%ss");
    TRY_WITH("ss read-only", 0x48, "movw %w0, %%ss");
    TRY_WITH("ss wrong rpl", 0x13, "movw %w0, %%ss");
    TRY_WITH("ss not present", 0x40, "movw %w0, %%ss");
    TRY_WITH("limit last byte", 0x30, "movw %w0, %%fs; movb %%fs:15, %%al");
    TRY_WITH("limit crossed", 0x30, "movw %w0, %%fs; movw %%fs:15, %%ax");
    TRY_WITH("limit beyond", 0x30, "movw %w0, %%fs; movb %%fs:16, %%al");
    TRY_WITH("expand-down low", 0x38, "movw %w0, %%fs; movb %%fs:15, %%al");
    TRY_WITH("expand-down high", 0x38, "movw %w0, %%fs; movb %%fs:16, %%al");
    TRY_WITH("write read-only", 0x48, "movw %w0, %%fs; movb %%al, %%fs:0");
    TRY("write code segment", "movb %%al, %%cs:small");
    TRY("jmp null", "ljmp $0, $0");
    TRY("jmp data", "ljmp $0x10, $0");
    TRY("jmp not present", "ljmp $0x58, $0");
    TRY("jmp beyond limit", "ljmp $0x1008, $0");
}

static void basic(void)
{
    static const uint32_t bounds[2] = { 0, 4 };

    TRY("divide error", "xorl %%ecx, %%ecx; movl $1, %%eax; cltd; divl %%ecx");
    TRY("int3", "int3");
    TRY("into", "movb $0x7f, %%al; addb $1, %%al; into");
    TRY_WITH("bound", bounds, "movl $5, %%eax; boundl %%eax, (%0)");
    TRY("ud2", "ud2");
    TRY("int 0x21 gate dpl 3", "int $0x21");
    TRY("int without gate", "int $0xf0");
    TRY("lock on register", ".byte 0xf0, 0x01, 0xc0");
    TRY("long instruction", ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
    TRY_WITH("ltr busy", TSS_SEL, "ltr %w0");
    TRY_WITH("lldt bad", 0x10, "lldt %w0");
    __asm__ volatile("movl %%cr0, %%eax; orl $8, %%eax; movl %%eax, %%cr0" : : : "eax");
    TRY("fpu with ts", "fninit");
    __asm__ volatile("clts");
    TRY("fpu without ts", "fninit");
}

static void step_code(void)
{
    uint32_t n;

    trap_count = 0;
    resume_eip = 0;
    __asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; nop; nop; nop; pushfl; andl $~0x100, (%%esp); popfl; nop" : : : "memory", "cc");
    n = trap_count;
    say("single steps", n);
    __asm__ volatile("movl %%dr6, %0" : "=r"(n));
    say("dr6", n & 0xe00f);
    __asm__ volatile("movl %0, %%dr6" : : "r"(0));
}

static void breakpoints(void)
{
    static volatile uint32_t watched[4];
    uint32_t dr6;

    trap_count = 0;
    __asm__ volatile("movl %0, %%dr0; movl %1, %%dr7" : : "r"(&watched[1]), "r"(0x400 | 1 | 1u << 16 | 3u << 18));
    watched[0] = 1;
    dr6 = watched[1];
    say("before write", trap_count);
    watched[1] = 2;
    __asm__ volatile("movl %%dr6, %0" : "=r"(dr6));
    say("data write", trap_count);
    say("dr6", dr6 & 0xe00f);
    __asm__ volatile("movl %0, %%dr6" : : "r"(0));
    trap_count = 0;
    __asm__ volatile("movl $1f, %%eax; movl %%eax, %%dr1; movl %0, %%dr7; nop; 1: nop; nop" : : "r"(0x400 | 4) : "eax");
    say("code breakpoints", trap_count);
    say("rf in image", last_eflags >> 16 & 1);
    __asm__ volatile("movl %%dr6, %0; movl %1, %%dr7" : "=r"(dr6) : "r"(0x400));
    say("dr6", dr6 & 0xe00f);
    TRY("icebp", ".byte 0xf1");
    TRY_WITH("gd", 0x2400, "movl %0, %%dr7; movl %%dr0, %%eax");
    __asm__ volatile("movl %%dr7, %0" : "=r"(dr6));
    say("dr7 after gd", dr6);
    __asm__ volatile("movl %0, %%dr7; movl %1, %%dr6" : : "r"(0x400), "r"(0));
}

static void u_cli(void) { __asm__ volatile("cli; int $0x30"); }
static void u_hlt(void) { __asm__ volatile("hlt"); }
static void u_in(void) { __asm__ volatile("inb $0x80, %%al" : : : "eax"); }
static void u_in_ok(void) { __asm__ volatile("inb $0x84, %%al; int $0x30" : : : "eax"); }
static void u_in_wide(void) { __asm__ volatile("inl $0x84, %%eax" : : : "eax"); }
static void u_cr0(void) { __asm__ volatile("movl %%cr0, %%eax" : : : "eax"); }
static void u_int21(void) { __asm__ volatile("int $0x21"); }
static void u_int8(void) { __asm__ volatile("int $8"); }
static void u_int3(void) { __asm__ volatile("int3"); }
static void u_kdata(void) { __asm__ volatile("movw $0x10, %%ax; movw %%ax, %%fs" : : : "eax"); }
static void u_kcode(void) { __asm__ volatile("ljmp $8, $0"); }
static void u_align(void) { __asm__ volatile("movl small+1, %%eax; int $0x30" : : : "eax"); }
static void u_popf(void) { __asm__ volatile("pushl $0x3202; popfl; pushfl; popl %%eax; int $0x30" : : : "eax"); }
static void u_iret(void) { __asm__ volatile("pushfl; pushl $8; pushl $0; iret"); }

static void user(void)
{
    uint32_t cr0;

    tss.io[0x80 / 8] = 0x01;
    tss.io[0x87 / 8] |= 0x80;
    run_user(u_cli, 0);
    report("user cli");
    run_user(u_cli, 0x3200);
    report("user cli with iopl 3");
    say("if", last_eflags & 0x200);
    run_user(u_hlt, 0);
    report("user hlt");
    run_user(u_in, 0);
    report("user in denied");
    run_user(u_in_ok, 0);
    report("user in allowed");
    run_user(u_in_wide, 0);
    report("user in half denied");
    run_user(u_cr0, 0);
    report("user mov cr0");
    run_user(u_int21, 0);
    report("user int 0x21");
    run_user(u_int8, 0);
    report("user int 8");
    run_user(u_int3, 0);
    report("user int3");
    run_user(u_kdata, 0);
    report("user loads kernel data");
    run_user(u_kcode, 0);
    report("user jumps to kernel code");
    run_user(u_iret, 0);
    report("user iret to kernel");
    run_user(u_popf, 0x200);
    say("user popf keeps iopl", last_regs.eax & 0x3200);
    __asm__ volatile("movl %%cr0, %0; orl $0x40000, %0; movl %0, %%cr0" : "=r"(cr0));
    run_user(u_align, 0x40000);
    report("user alignment check");
    run_user(u_align, 0);
    report("user alignment unchecked");
    __asm__ volatile("movl %%cr0, %0; andl $~0x40000, %0; movl %0, %%cr0" : "=r"(cr0));
}

void test(void)
{
    basic();
    segments();
    step_code();
    breakpoints();
    user();
    put("done\n");
}
