/*
 * rom: a BIOS of 64 KiB that is nothing but a guest: enters flat protected mode, copies the image
 * that build.sh put at its start (linked at 1 MiB) there, and jumps to the address that follows it.
 */
    .code16
    .section .rom, "ax"
    .globl rom
rom:                                    /* at f000:fe00 */
    cli
    movw $0xf000, %ax
    movw %ax, %ds
    lgdtl 0xfe00 + gdtr - rom
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $0xffe00 + flat - rom
    .code32
flat:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    cld
    movl $0x110000, %edi                /* .bss reaches this far at most */
    movl $0x10000 / 4 * 2, %ecx
    xorl %eax, %eax
    rep stosl
    movl $0xf0000, %esi
    movl $0x100000, %edi
    movl $0xfe00 / 4, %ecx
    rep movsl
    xorl %eax, %eax
    movl $0x200 / 4, %ecx
    rep stosl
    jmp *0xffdfc
    .align 8
gdt: .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr: .word 23
    .long 0xffe00 + gdt - rom
    .org 0x1f0
    .code16
    ljmp $0xf000, $0xfe00
    .org 0x200
