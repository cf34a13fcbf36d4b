/*
 * Multiboot header and entry of 32- and 64-bit programs. A multiboot loader enters in 32-bit
 * protected mode with flat segments; 64-bit programs go on to long mode with the low 4 GiB
 * identity mapped in 2 MiB pages, [user_start, user_end) open to CPL 3.
 */
#include "segments.h"

#define MULTIBOOT_MAGIC 0x1badb002

    .section .multiboot, "a"
    .balign 4
    .long MULTIBOOT_MAGIC, 0, -MULTIBOOT_MAGIC

    .text
    .code32
    .globl start
start:
    cli
    cld
    mov $stack_top, %esp
    pushl $2
    popfl
#ifdef __x86_64__
    /* Tables: one PML4, one PDPT, four page directories. */
    mov $page_directories, %edi
    mov $0x83, %eax                     /* present, writable, large */
    xor %edx, %edx
1:  mov %eax, (%edi)
    mov %edx, 4(%edi)
    cmp $user_start, %eax
    jb 2f
    cmp $user_end, %eax
    jae 2f
    orl $4, (%edi)                      /* user */
2:  add $8, %edi
    add $0x200000, %eax
    jnc 1b
    mov $pdpt, %edi
    mov $page_directories + 7, %eax
    mov $4, %ecx
3:  mov %eax, (%edi)
    add $8, %edi
    add $0x1000, %eax
    loop 3b
    movl $pdpt + 7, pml4
    mov $pml4, %eax
    mov %eax, %cr3
    mov $0x20, %eax                     /* PAE */
    mov %eax, %cr4
    mov $0x80000001, %eax
    cpuid
    mov %edx, %eax
    shr $9, %eax
    and $0x800, %eax                    /* NXE if there is NX, bit 20 */
    or $0x100, %eax                     /* LME */
    mov $0xc0000080, %ecx               /* EFER */
    xor %edx, %edx
    wrmsr
    mov $0x80010033, %eax               /* PG WP NE ET MP PE */
    mov %eax, %cr0
    lgdt boot_gdt_pointer
    ljmp $SEL_CODE, $start64
    .code64
start64:
    mov $stack_top, %rsp
#else
    mov $0x00010033, %eax               /* WP NE ET MP PE */
    mov %eax, %cr0
    xor %eax, %eax
    mov %eax, %cr4
    lgdt boot_gdt_pointer
    ljmp $SEL_CODE, $start32
start32:
#endif
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    mov %eax, %ss
    call segments_init
    call guest_main
    ud2

    .section .rodata
    .balign 8
boot_gdt:
    .quad 0
#ifdef __x86_64__
    .quad 0x00af9a000000ffff
#else
    .quad 0x00cf9a000000ffff
#endif
    .quad 0x00cf92000000ffff
boot_gdt_pointer:
    .word . - boot_gdt - 1
    .long boot_gdt
    .long 0

    .bss
    .balign 4096
#ifdef __x86_64__
    .globl pml4, pdpt, page_directories
pml4:
    .skip 4096
pdpt:
    .skip 4096
page_directories:
    .skip 4 * 4096
#endif
    .skip 16384
    .globl kernel_stack_top
kernel_stack_top:
    .skip 16384
stack_top:
    .skip 8192
    .globl fault_stack_top
fault_stack_top:
    .skip 16
