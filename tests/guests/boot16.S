/*
 * boot16: boot sector of the real-mode guests: loads 64 sectors behind it and calls main.
 *
 * C code compiled with -m16 follows at 7e00h. Segments are flat: unreal() gives DS and ES a limit
 * of 4 GiB, which firmware calls may take away again.
 */
    .code16
    .section .boot, "ax"
    .globl _start
_start:
    ljmp $0, $1f
1:  cli
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $0x7c00, %esp
    movw $packet, %si
    movb $0x42, %ah
    sti
    int $0x13
    cli
    jc 2f
    calll unreal
    calll main
2:  hlt
    jmp 2b
packet:
    .byte 16, 0
    .word 64, 0x7e00, 0
    .quad 1
    .org 510
    .word 0xaa55

    .text
    .globl unreal, bios_video
unreal:
    pushl %eax
    lgdtl gdtr
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  movw $8, %ax
    movw %ax, %ds
    movw %ax, %es
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    xorw %ax, %ax
    movw %ax, %ds
    movw %ax, %es
    popl %eax
    retl

/* void bios_video(uint32_t ax, bx, cx, dx, bp): INT 10h with ES = 0. */
bios_video:
    pushal
    movl 36(%esp), %eax
    movl 40(%esp), %ebx
    movl 44(%esp), %ecx
    movl 48(%esp), %edx
    movl 52(%esp), %ebp
    sti
    int $0x10
    cli
    popal
    calll unreal
    retl

    .align 8
gdt:
    .quad 0, 0x00cf92000000ffff
gdtr:
    .word 15
    .long gdt
