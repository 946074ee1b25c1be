/*
 * start32: multiboot entry and trap stubs of the 32-bit guests.
 */
    .section .multiboot, "a"
    .align 4
    .long 0x1badb002, 0, -0x1badb002

    .text
    .globl _start, stubs, enter_user, leave_user, saved_esp, resume_eip
_start:
    movl $stack_top, %esp
    cld
    call setup
    call test
    movl $0, %eax
    movl $0xf4, %edx
    outl %eax, %dx
1:  hlt
    jmp 1b

/* Stack at `common`: vector, error, eip, cs, eflags [, esp, ss [, es, ds, fs, gs]]. */
common:
    pusha
    pushl %ds
    pushl %es
    pushl %fs
    pushl %gs
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movl %esp, %eax
    pushl %eax
    call trap
    addl $4, %esp
    popl %gs
    popl %fs
    popl %es
    popl %ds
    popa
    addl $8, %esp
    iret

    .macro stub n, has_err
stub\n:
    .if \has_err == 0
    pushl $0
    .endif
    pushl $\n
    jmp common
    .endm
    .altmacro
    .macro stubs_from a, b
    .set i, \a
    .rept \b - \a
    stub_i %i
    .set i, i + 1
    .endr
    .endm
    .macro stub_i n
    .if \n == 8 || (\n >= 10 && \n <= 14) || \n == 17
    stub \n 1
    .else
    stub \n 0
    .endif
    .endm
    stubs_from 0, 64
    .section .rodata
    .macro addr n
    .long stub\n
    .endm
stubs:
    .set i, 0
    .rept 64
    addr %i
    .set i, i + 1
    .endr

    .text
/* enter_user(const uint32_t frame[], n): an IRET frame of n words; comes back through leave_user. */
enter_user:
    pushl %ebp
    pushl %ebx
    pushl %esi
    pushl %edi
    pushfl
    movl 24(%esp), %esi
    movl 28(%esp), %ecx
    movl %esp, saved_esp
1:  pushl -4(%esi, %ecx, 4)
    decl %ecx
    jnz 1b
    testl $0x20000, 8(%esp)
    jnz 2f
    movw $0x23, %ax
    movw %ax, %ds
    movw %ax, %es
2:  iret
leave_user:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %fs
    movw %ax, %gs
    movl saved_esp, %esp
    popfl
    popl %edi
    popl %esi
    popl %ebx
    popl %ebp
    ret

    .bss
    .align 16
    .skip 16384
stack_top:
saved_esp: .long 0
