/*
 * start64: multiboot entry, identity map of the first GiB, and trap stubs of the 64-bit guest.
 */
    .section .multiboot, "a"
    .align 4
    .long 0x1badb002, 0, -0x1badb002

    .text
    .code32
    .globl _start, stubs, enter_user, leave_user, resume_rip, pml4, pdpt, pd, compat_entry
_start:
    movl $stack_top, %esp
    cld
    movl $pml4, %eax
    movl $(pdpt + 7), (%eax)
    movl $pdpt, %eax
    movl $(pd + 7), (%eax)
    movl $pd, %edi
    movl $0x87, %eax
    movl $512, %ecx
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b
    movl $0x20, %eax
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x901, %eax
    wrmsr
    movl $0x80010011, %eax
    movl %eax, %cr0
    lgdt boot_gdtr
    ljmp $8, $2f
    .code64
2:  call setup
    call test
    movl $0, %eax
    movl $0xf4, %edx
    outl %eax, %dx
1:  hlt
    jmp 1b

common:
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, %rdi
    cld
    call trap
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %r11
    popq %r10
    popq %r9
    popq %r8
    popq %rdi
    popq %rsi
    popq %rbp
    popq %rbx
    popq %rdx
    popq %rcx
    popq %rax
    addq $16, %rsp
    iretq

    .set i, 0
    .rept 64
    .if i == 8 || (i >= 10 && i <= 14) || i == 17
    .skip 2, 0x90
    .else
    pushq $0
    .endif
    pushq $i
    jmp common
    .balign 16
    .set i, i + 1
    .endr
    .globl stub_end
stub_end:

/* enter_user(const uint64_t frame[5]) */
enter_user:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    pushfq
    movq %rsp, saved_rsp
    pushq 32(%rdi)
    pushq 24(%rdi)
    pushq 16(%rdi)
    pushq 8(%rdi)
    pushq (%rdi)
    iretq
leave_user:
    movq saved_rsp, %rsp
    popfq
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret

    .section .data
    .align 16
boot_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
boot_gdtr: .word 23
    .quad boot_gdt
saved_rsp: .quad 0
    .bss
    .align 4096
pml4: .skip 4096
pdpt: .skip 4096
pd: .skip 4096
    .skip 16384
stack_top:
