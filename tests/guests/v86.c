/*
 * v86: virtual-8086 tasks: entry, exits by faults and INT n, IOPL, I/O bitmap, VME.
 */
#include "guest32.h"

enum { V86_SEG = 0x2000, V86_SP = 0xff00, VM = 0x20000, VIF = 0x80000, VIP = 0x100000 };

static uint8_t *const code = (uint8_t *)(V86_SEG << 4);

/* Runs bytes at V86_SEG:0 with flags; they end with INT 0x30 unless they fault. */
static void run(const char *name, const uint8_t *bytes, unsigned n, uint32_t flags)
{
    uint32_t frame[9] = { 0, V86_SEG, flags | VM | 2, V86_SP, V86_SEG, 0x1111, 0x2222, 0x3333, 0x4444 };

    for (unsigned i = 0; i < n; i++)
        code[i] = bytes[i];
    code[n] = 0xcd;
    code[n + 1] = 0x30;
    last_vector = ~0u;
    enter_user(frame, 9);
    report(name);
    put("  ip ");
    puthex(last_eip, 4);
    put(" flags ");
    puthex(last_eflags, 8);
    put(" ax ");
    puthex(last_regs.eax, 4);
    put("\n");
}
#define RUN(name, flags, ...) do { static const uint8_t b_[] = { __VA_ARGS__ }; run(name, b_, sizeof b_, flags); } while (0)

static void plain(void)
{
    RUN("segments", 0x3000, 0x8c, 0xc8);                        /* mov ax, cs */
    say("  es", last_regs.v86_es);
    say("  ds", last_regs.v86_ds);
    say("  fs", last_regs.v86_fs);
    say("  gs", last_regs.v86_gs);
    say("  ss", last_regs.ss);
    say("  esp", last_regs.esp);
    say("  handler ds", last_regs.ds & 0xffff);
    RUN("segment load", 0x3000, 0xb8, 0x34, 0x12, 0x8e, 0xd8, 0x8c, 0xd8);
    say("  ds", last_regs.v86_ds);
    RUN("cli iopl 3", 0x3200, 0xfa);
    RUN("cli iopl 0", 0x0200, 0xfa);
    RUN("sti iopl 0", 0, 0xfb);
    RUN("pushf iopl 0", 0, 0x9c);
    RUN("pushf iopl 3", 0x3200, 0x9c, 0x58);
    RUN("popf iopl 3", 0x3000, 0x68, 0x02, 0x42, 0x9d, 0x9c, 0x58);
    RUN("popf iopl 0", 0, 0x9d);
    RUN("iret iopl 0", 0, 0xcf);
    RUN("iret iopl 3", 0x3000, 0x68, 0x02, 0x02, 0x68, 0x00, 0x20, 0x68, 0x0b, 0x00, 0xcf, 0x90, 0x90);
    RUN("int 0x21 iopl 0", 0, 0xcd, 0x21);
    RUN("int 0x21 iopl 3", 0x3000, 0xcd, 0x21);
    RUN("int3 iopl 0", 0, 0xcc);
    RUN("hlt", 0x3000, 0xf4);
    RUN("lgdt", 0x3000, 0x0f, 0x01, 0x16, 0x00, 0x00);
    RUN("mov cr0", 0x3000, 0x0f, 0x20, 0xc0);
    RUN("smsw", 0x3000, 0x0f, 0x01, 0xe0);
    RUN("lar", 0x3000, 0x0f, 0x02, 0xc0);
    RUN("ud2", 0x3000, 0x0f, 0x0b);
    RUN("limit", 0x3000, 0xa1, 0xff, 0xff);                     /* mov ax, [ffff] */
    RUN("stack limit", 0x3000, 0xbc, 0x01, 0x00, 0x50);         /* push at sp 1 */
    RUN("far jmp", 0x3000, 0xea, 0x05, 0x00, 0x00, 0x20, 0x90);
    RUN("in denied", 0x3000, 0xe4, 0x80);
    RUN("in allowed", 0, 0xe4, 0x84, 0xb0, 0x00);
}

static void vme(void)
{
    uint32_t cr4;
    uint16_t *ivt = 0;

    __asm__ volatile("movl %%cr4, %0; orl $1, %0; movl %0, %%cr4" : "=r"(cr4));
    for (unsigned i = 0; i < 32; i++)
        tss.redir[i] = 0;
    __asm__ volatile("" : "+r"(ivt));
    ivt[0x21 * 2] = 0x100;
    ivt[0x21 * 2 + 1] = V86_SEG;
    code[0x100] = 0xcd;                         /* the task's own INT 21 handler: INT 31 */
    code[0x101] = 0x31;
    tss.redir[0x30 / 8] = 0xff;                 /* 30-37 go to the monitor */
    tss.redir[0x22 / 8] |= 1 << 2;
    RUN("vme cli", VIF, 0xfa);
    RUN("vme sti", 0, 0xfb);
    RUN("vme sti with vip", VIP, 0xfb);
    RUN("vme pushf", VIF, 0x9c, 0x58);
    RUN("vme popf if", 0, 0x68, 0x02, 0x02, 0x9d);
    RUN("vme popf tf", 0, 0x68, 0x02, 0x01, 0x9d);
    RUN("vme int redirected", VIF, 0xcd, 0x21);
    RUN("vme int to monitor", VIF, 0xcd, 0x22);
    RUN("vme iret", 0, 0x68, 0x02, 0x02, 0x68, 0x00, 0x20, 0x68, 0x0b, 0x00, 0xcf, 0x90, 0x90);
    RUN("vme pushf 32", VIF, 0x66, 0x9c);
}

void test(void)
{
    tss.io[0x80 / 8] = 0x01;
    plain();
    vme();
    put("done\n");
}
