/*
 * Multiboot header and entry of real-mode programs, and their interrupt handlers. The program runs
 * below 64 KiB with all segments at 0. `.code16gcc`: 16-bit code in which the compiler's calls,
 * pushes and pops are 32 bits wide.
 */
#define MULTIBOOT_MAGIC 0x1badb002
#define STACK_TOP       0xeff0
#define FAULT_STACK_TOP 0xfff0

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

    .section .boot, "ax"
    .code32
    .globl start
start:
    cli
    cld
    mov $low_load, %esi
    mov $low_start, %edi
    mov $low_end, %ecx
    sub %edi, %ecx
    rep movsb
    lgdt gdt_pointer
    ljmp $8, $protected16

    .text
    .code16gcc
/* Back to real mode by the book (SDM 3A 9.9.2): 16-bit segments with limits of 64 KiB first. */
protected16:
    mov $16, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $0x10, %eax                     /* ET */
    mov %eax, %cr0
    ljmpw $0, $real
real:
    xor %eax, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $STACK_TOP, %esp
    mov %eax, %cr4
    pushl $2
    popfl
    lidt idt_pointer
    xor %edi, %edi
    mov $stubs, %eax
1:  mov %eax, (%edi)                    /* segment 0 */
    add $4, %edi
    add $16, %eax
    cmp $0x400, %edi
    jne 1b
    call guest_main
    ud2

    .balign 16
stubs:
    .set n, 0
    .rept 256
    .balign 16
    .byte 0x66, 0x68                    /* PUSH imm32 */
    .long n
    .byte 0xe9                          /* JMP rel16 */
    .word common - . - 2
    .set n, n + 1
    .endr

/* struct frame of guest.h, reached by CS, which is 0 here. */
#define FRAME(n) %cs:frame + 4 * (n)

common:
    movl %eax, FRAME(0)
    movl %ebx, FRAME(1)
    movl %ecx, FRAME(2)
    movl %edx, FRAME(3)
    movl %esi, FRAME(4)
    movl %edi, FRAME(5)
    movl %ebp, FRAME(6)
    popl FRAME(8)                       /* vector */
    movl $0, FRAME(9)                   /* real mode has no error codes */
    xor %eax, %eax
    popw %ax
    movl %eax, FRAME(10)
    popw %ax
    movl %eax, FRAME(11)
    popw %ax
    movl %eax, FRAME(12)
    movl %esp, FRAME(7)
    movl %esp, FRAME(13)
    mov %ss, %eax
    movl %eax, FRAME(14)
    mov %ds, %eax
    movl %eax, FRAME(15)
    mov %es, %eax
    movl %eax, FRAME(16)
    xor %eax, %eax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $FAULT_STACK_TOP, %esp
    cld
    pushl $frame
    call trap_handle
    test %eax, %eax
    jnz 1f
    movl frame + 4 * 14, %eax
    mov %ax, %ss
    movl frame + 4 * 7, %esp
    pushw frame + 4 * 12
    pushw frame + 4 * 11
    pushw frame + 4 * 10
    movl frame + 4 * 15, %eax
    pushl frame + 4 * 0
    movl frame + 4 * 1, %ebx
    movl frame + 4 * 2, %ecx
    movl frame + 4 * 3, %edx
    movl frame + 4 * 4, %esi
    movl frame + 4 * 5, %edi
    movl frame + 4 * 6, %ebp
    mov %ax, %ds
    popl %eax
    movw FRAME(16), %es
    iretw
1:  movl %eax, trap_target
    movl trap_target_sp, %esp
    pushl $2
    popfl
    movl frame + 4 * 0, %eax
    movl frame + 4 * 1, %ebx
    movl frame + 4 * 2, %ecx
    movl frame + 4 * 3, %edx
    movl frame + 4 * 4, %esi
    movl frame + 4 * 5, %edi
    movl frame + 4 * 6, %ebp
    jmpl *trap_target

/* guest_call(function): an event outside TRY ends the function. */
    .globl guest_call
guest_call:
    push %ebp
    push %ebx
    push %esi
    push %edi
    mov 20(%esp), %eax
    mov %esp, case_sp
    movl $guest_call_end, case_resume
    call *%eax
guest_call_end:
    mov case_sp, %esp
    pop %edi
    pop %esi
    pop %ebx
    pop %ebp
    ret

    .data
    .balign 8
gdt:
    .quad 0, 0x00009b000000ffff, 0x000093000000ffff
gdt_pointer:
    .word . - gdt - 1
    .long gdt
    .globl idt_pointer
idt_pointer:
    .word 0x3ff
    .long 0

    .bss
    .balign 8
frame:
    .skip 17 * 4
    .globl trap_target, trap_target_sp
trap_target:
    .skip 4
trap_target_sp:
    .skip 4
