/* The SMI handler: a stub that is copied to SMBASE + 8000h, and its way to C. */
#include "segments.h"

    .section .rodata
    .code16
    .globl smm_stub, smm_stub_end
smm_stub:
    movl $0x7000, %esp                  /* SS: base 0, 16 bits */
    pushfl
    movl %cr0, %eax
    pushl %eax
    movl %cr4, %eax
    pushl %eax
    movl %dr7, %eax
    pushl %eax
    xorl %eax, %eax
    movw %cs, %ax
    pushl %eax
    movw %ds, %ax
    pushl %eax
    movw %ss, %ax
    pushl %eax
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    .byte 0x66, 0xea                    /* LJMP ptr16:32 */
    .long smm_protected
    .word SEL_CODE32
smm_stub_end:

    .text
    .code32
smm_protected:
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %ss
    mov %esp, %eax
    push %eax
    call smm_handle
    rsm
