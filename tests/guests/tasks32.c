/*
 * tasks32: hardware task switches (32- and 16-bit TSS; CALL, JMP, task gate, IRET, double fault)
 * and call gates with parameters.
 */
#include "guest32.h"

enum { TSS2 = 0x30, TSS16 = 0x38, GATE = 0x40, CGATE = 0x48, CGATE16 = 0x50, LDT = 0x58, TSS_BAD = 0x60, CONF = 0x68, GATE_NP = 0x70 };

static Tss32 tss2, tss_bad;
static uint16_t tss16[22];
static uint8_t stack2[4096], stack16[4096], stack_ring0[4096];
static volatile uint32_t ran, seen_link, seen_flags, seen_tr, seen_cr0, seen_args[3];

static uint32_t get_tr(void)
{
    uint32_t v = 0;
    __asm__ volatile("str %w0" : "=r"(v));
    return v & 0xffff;
}
static uint32_t type_of(unsigned sel) { return gdt[sel / 8] >> 40 & 0xff; }

__attribute__((used)) static void in_task2(void)
{
    ran++;
    seen_tr = get_tr();
    seen_link = tss2.link & 0xffff;
    __asm__ volatile("pushfl; popl %0" : "=r"(seen_flags));
    __asm__ volatile("movl %%cr0, %0; clts" : "=r"(seen_cr0));
}
__asm__("task2: call in_task2; iret; jmp task2");
__asm__("task16: call in_task2; iretw; jmp task16");
__asm__("task2_jmp: call in_task2; ljmp $0x28, $0; jmp task2_jmp");
__asm__("gate_body: movl 8(%esp), %eax; movl %eax, seen_args; movl 12(%esp), %eax; movl %eax, seen_args + 4; movw %cs, seen_args + 8; lret $8");
__asm__("conf_body: movw %cs, seen_args + 8; lret");
extern char task2[], task16[], task2_jmp[], gate_body[], conf_body[];

static void init_tss(Tss32 *t, uint32_t eip, uint8_t *stack)
{
    memset(t, 0, sizeof *t);
    t->eip = eip;
    t->eflags = 2;
    t->esp = (uint32_t)stack + 4096;
    t->cs = K_CODE;
    t->ss = t->ds = t->es = K_DATA;
    t->esp0 = t->esp;
    t->ss0 = K_DATA;
    t->iomap = sizeof *t;
}

static void show(const char *what)
{
    say(what, ran);
    say("  tr in task", seen_tr);
    say("  link", seen_link);
    say("  nt", seen_flags & 0x4000);
    say("  ts", seen_cr0 & 8);
    say("  tr after", get_tr());
    say("  type of old", type_of(TSS_SEL));
    say("  type of new", type_of(TSS2));
}

static void switches(void)
{
    set_gdt(TSS2, (uint32_t)&tss2, 0x67, T_TSS, 0);
    init_tss(&tss2, (uint32_t)task2, stack2);
    TRY("call tss", "lcall $0x30, $0");
    show("after call tss");
    TRY("call tss again", "lcall $0x30, $0");
    show("after second call");
    set_gdt(GATE, 0, 0, T_TASK, 0);
    gdt[GATE / 8] = (uint64_t)TSS2 << 16 | (uint64_t)T_TASK << 40;
    TRY("call task gate", "lcall $0x40, $0");
    show("after task gate");
    set_gate(0x28, TSS2, 0, T_TASK);
    TRY("int through task gate", "int $0x28");
    show("after int");
    init_tss(&tss2, (uint32_t)task2_jmp, stack2);
    TRY("jmp tss and back", "ljmp $0x30, $0");
    show("after jmp");
    set_gdt(TSS2, (uint32_t)&tss2, 0x67, T_TSS, 0);
}

static void bad_switches(void)
{
    set_gdt(TSS_BAD, (uint32_t)&tss_bad, 0x66, T_TSS, 0);
    TRY("tss too short", "lcall $0x60, $0");
    set_gdt(TSS_BAD, (uint32_t)&tss_bad, 0x67, T_TSS & ~0x80, 0);
    TRY("tss not present", "lcall $0x60, $0");
    TRY("tss busy", "lcall $0x28, $0");
    gdt[GATE_NP / 8] = (uint64_t)TSS2 << 16 | (uint64_t)(T_TASK & ~0x80) << 40;
    TRY("task gate not present", "lcall $0x70, $0");
}

static void sixteen(void)
{
    set_gdt(TSS16, (uint32_t)tss16, 0x2b, T_TSS16, 0);
    memset(tss16, 0, sizeof tss16);
    tss16[0x0e / 2] = (uint16_t)(uint32_t)task16;
    tss16[0x10 / 2] = 2;
    tss16[0x1a / 2] = (uint16_t)((uint32_t)stack16 + sizeof stack16);
    tss16[0x22 / 2] = K_DATA;
    tss16[0x24 / 2] = 0x78;
    tss16[0x26 / 2] = 0x80;
    tss16[0x28 / 2] = K_DATA;
    /* Code and stack based so that 16-bit offsets reach them. */
    set_gdt(0x78, (uint32_t)task16 & 0xffff0000u, 0xfffff, T_CODE, F_32 | F_PAGES);
    set_gdt(0x80, (uint32_t)stack16 + sizeof stack16 - ((uint32_t)stack16 + sizeof stack16) % 0x10000, 0xffff, T_DATA, 0);
    ran = 0;
    TRY("call tss", "lcall $0x38, $0");
    show("after 16-bit task");
    say("  type of 16-bit", type_of(TSS16));
    say("  saved ip moved", tss16[0x0e / 2] != (uint16_t)(uint32_t)task16);
}

static void gates(void)
{
    static const uint64_t ldt_desc = 0x00cf92000000ffffull;

    gdt[CGATE / 8] = ((uint32_t)gate_body & 0xffff) | (uint64_t)K_CODE << 16 | (uint64_t)((T_CALL | DPL3) << 8 | 2) << 32 |
                     (uint64_t)((uint32_t)gate_body >> 16) << 48;
    TRY("call gate same level", "pushl $0x2222; pushl $0x1111; lcall $0x48, $0");
    say("  cs", seen_args[2]);
    say("  arg 0", seen_args[0]);
    set_gdt(CONF, 0, 0xfffff, 0x9e, F_32 | F_PAGES);
    set_gdt(LDT, (uint32_t)&ldt_desc, 7, T_LDT, 0);
    TRY_WITH("lldt", LDT, "lldt %w0");
    TRY_WITH("load from ldt", 4, "movw %w0, %%fs; movw %%ds, %%ax; movw %%ax, %%fs");
    TRY_WITH("load beyond ldt", 12, "movw %w0, %%fs");
    TRY_WITH("lldt null", 0, "lldt %w0");
    TRY_WITH("load after null ldt", 4, "movw %w0, %%fs");
}

static void u_gate(void) { __asm__ volatile("pushl $0x4444; pushl $0x3333; lcall $0x48, $0; movl %esp, %ebx; int $0x30"); }
static void u_gate_dpl0(void) { __asm__ volatile("lcall $0x50, $0"); }
static void u_conf(void) { __asm__ volatile("lcall $0x68, $conf_body; int $0x30"); }
static void u_task(void) { __asm__ volatile("lcall $0x30, $0"); }
static void u_verr(void) { __asm__ volatile("movw $0x10, %ax; verr %ax; setz %cl; movw $0x23, %ax; verw %ax; setz %ch; larl %eax, %edx; lsll %eax, %eax; int $0x30"); }
static void u_arpl(void) { __asm__ volatile("movw $0x10, %ax; movw $3, %dx; arpl %dx, %ax; setz %cl; int $0x30"); }

static void from_user(void)
{
    tss.esp0 = (uint32_t)stack_ring0 + sizeof stack_ring0;
    gdt[CGATE16 / 8] = gdt[CGATE / 8] & ~((uint64_t)DPL3 << 40);
    seen_args[0] = seen_args[1] = seen_args[2] = 0;
    run_user(u_gate, 0);
    report("user call gate");
    say("  cs", seen_args[2] & 0xffff);
    say("  arg 0", seen_args[0]);
    say("  arg 1", seen_args[1]);
    say("  sp restored", last_regs.ebx == last_regs.esp);
    run_user(u_gate_dpl0, 0);
    report("user call gate dpl 0");
    run_user(u_conf, 0);
    report("user calls conforming code");
    say("  cs", seen_args[2] & 0xffff);
    run_user(u_task, 0);
    report("user calls tss dpl 0");
    run_user(u_verr, 0);
    say("verr kernel data, verw user data", last_regs.ecx & 0xffff);
    say("lar user data", last_regs.edx);
    say("lsl user data", last_regs.eax);
    run_user(u_arpl, 0);
    say("arpl", last_regs.eax & 0xffff);
    say("arpl zf", last_regs.ecx & 0xff);
}

void test(void)
{
    switches();
    bad_switches();
    sixteen();
    gates();
    from_user();
    put("done\n");
}
