/*
 * The trampoline of processors that a SIPI starts, and their interrupt entries.
 *
 * The trampoline runs at any page below 1 MiB: it reaches its own bytes by CS only. A lock lets one
 * processor through at a time; the library opens it (smp_identify) once the processor has its own
 * stack. Nothing is changed before it is noted, but flags and what the lock does to them.
 */
#include "smp.h"
#include "stubs.h"

    .section .rodata
    .code16
    .globl smp_trampoline, smp_trampoline_end
smp_trampoline:
    jmp begin
    .balign 4
note:                                   /* struct startup */
    .skip 96
handle:                                 /* of the tables */
    .word 0x1f
    .long ap_gdt
#define OWN(label) %cs:(label - smp_trampoline)
#define NOTE(offset) %cs:(note - smp_trampoline + offset)
begin:
    lock btsl $0, OWN(gate)
    jc begin
    movl %eax, NOTE(0)
    movl %ebx, NOTE(4)
    movl %ecx, NOTE(8)
    movl %edx, NOTE(12)
    movl %esi, NOTE(16)
    movl %edi, NOTE(20)
    movl %ebp, NOTE(24)
    movl %esp, NOTE(28)
    movl %cr0, %eax
    movl %eax, NOTE(36)
    movl %cr2, %eax
    movl %eax, NOTE(40)
    movl %cr3, %eax
    movl %eax, NOTE(44)
    movl %cr4, %eax
    movl %eax, NOTE(48)
    movl $0, %eax                       /* XOR would set ZF */
    movw %cs, %ax
    movl %eax, NOTE(52)
    movw %ds, %ax
    movl %eax, NOTE(56)
    movw %es, %ax
    movl %eax, NOTE(60)
    movw %fs, %ax
    movl %eax, NOTE(64)
    movw %gs, %ax
    movl %eax, NOTE(68)
    movw %ss, %ax
    movl %eax, NOTE(72)
    movl %dr6, %eax
    movl %eax, NOTE(76)
    movl %dr7, %eax
    movl %eax, NOTE(80)
    sgdtl NOTE(84)
    sidtl NOTE(90)
    movw %cs, %ax                       /* a stack behind the code */
    movw %ax, %ss
    movl $0xff0, %esp
    pushfl
    popl %eax
    movl %eax, NOTE(32)
    xorl %ebx, %ebx
    movw %cs, %bx
    shll $4, %ebx                       /* where the trampoline is */
    lgdtl OWN(handle)
    movl $0x11, %eax                    /* ET PE */
    movl %eax, %cr0
    movl $0x20, %eax                    /* PAE */
    movl %eax, %cr4
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0x80000001, %eax
    movl %ebx, %esi
    cpuid
    movl %edx, %eax
    shrl $9, %eax
    andl $0x800, %eax                   /* NXE if there is NX */
    orl $0x100, %eax                    /* LME */
    movl $0xc0000080, %ecx
    xorl %edx, %edx
    wrmsr
    movl $0x80010033, %eax              /* PG WP NE ET MP PE */
    movl %eax, %cr0
    ljmpl $SEL_CODE, $ap_start64
    .balign 4
gate:
    .long 0
smp_trampoline_end:
    .globl smp_gate, smp_note
    .set smp_gate, gate - smp_trampoline
    .set smp_note, note - smp_trampoline

    .text
    .code64
ap_start64:
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    mov $identify_stack_top, %rsp
    pushq $2
    popfq
    mov %esi, %edi
    call smp_identify                   /* struct cpu, or 0 */
    test %rax, %rax
    jz 1f
    mov CPU_STACK_TOP(%rax), %rsp
1:  mov smp_gate_address, %rcx
    movl $0, (%rcx)
    test %rax, %rax
    jz 2f
    mov %rax, %rdi
    call smp_main
2:  cli
    hlt
    jmp 2b

    STUBS smp_stubs, common
common:
    PUSH_ALL
    CALL_HANDLER smp_handle
    POP_ALL
    add $16, %rsp
    iretq

    .section .rodata
    .balign 8
ap_gdt:
    .quad 0
    .quad 0x00af9a000000ffff
    .quad 0x00cf92000000ffff
    .quad 0

    .bss
    .balign 16
    .skip 4096
identify_stack_top:
    .skip 8
