/*
 * Small guests for the machine's tests, as the assembler for x86-64 makes them; for other hosts
 * tests/portable/guests.sh does that. Each is a flat image:
 * GUEST16 runs at 0000:7c00 in real mode, GUEST64 at 100000h in long mode with the low 4 GiB
 * identity mapped. Labels are of use as differences and relative to the instruction pointer only.
 */
#ifndef TESTS_UNIT_MACHINE_GUESTS_H
#define TESTS_UNIT_MACHINE_GUESTS_H

#include <stdint.h>

#if defined(__x86_64__)
#define GUEST_CODE(text) __asm__(text)
#else
#define GUEST_CODE(text) struct vcpu /* nothing, with a semicolon behind it */
#endif

#define GUEST(name, code, body)                                                                    \
    extern const uint8_t guest_##name[], guest_##name##_end[];                                     \
    GUEST_CODE(".pushsection .rodata\n.globl guest_" #name "\nguest_" #name ":\n" code "\n" body   \
            "\n.globl guest_" #name "_end\nguest_" #name "_end:\n.code64\n.popsection\n")
#define GUEST16(name, body) GUEST(name, ".code16", body)
#define GUEST64(name, body) GUEST(name, ".code64", body)

GUEST64(power_off, "mov $0x604, %edx\n mov $0x2000, %eax\n out %ax, %dx\n 1: jmp 1b");

/* Counts its starts at 500h; powers off in the third. */
GUEST16(reset_twice, "incb 0x500\n cmpb $3, 0x500\n je 1f\n"
                     "mov $0xfe, %al\n out %al, $0x64\n 2: jmp 2b\n"
                     "1: mov $0x604, %dx\n mov $0x2000, %ax\n out %ax, %dx\n 3: jmp 3b");

GUEST16(debug_exit, "mov $0x21, %al\n out %al, $0xf4\n 1: jmp 1b");
GUEST16(exit_port, "mov $0x5f0, %dx\n mov $77, %eax\n out %eax, %dx\n 1: jmp 1b");
GUEST16(panic, "mov $0x505, %dx\n mov $1, %al\n out %al, %dx\n 1: jmp 1b");

/* A store to an address that nothing maps, without an IDT. */
GUEST64(triple_fault, "lidt no_idt(%rip)\n mov $0x8000001234, %rbx\n movb $1, (%rbx)\n"
                      "no_idt: .word 0\n .quad 0");
GUEST64(triple_once, "lidt no_idt2(%rip)\n incb 0x500\n cmpb $2, 0x500\n je 1f\n ud2\n"
                     "1: mov $0x604, %edx\n mov $0x2000, %eax\n out %ax, %dx\n 2: jmp 2b\n"
                     "no_idt2: .word 0\n .quad 0");

GUEST16(halt, "cli\n hlt\n");
GUEST16(sleep, "sti\n hlt\n");
GUEST16(spin, "1: inc %ax\n jmp 1b");

/* Waits for a byte at COM1 by interrupt 4 of the PIC and ends with its value. */
GUEST16(echo, "movw $(1f-guest_echo+0x7c00), 0x90\n movw $0, 0x92\n" /* vector 24h */
              "mov $0x11, %al\n out %al, $0x20\n mov $0x20, %al\n out %al, $0x21\n"
              "mov $4, %al\n out %al, $0x21\n mov $1, %al\n out %al, $0x21\n"
              "mov $0xef, %al\n out %al, $0x21\n"
              "mov $0x3f9, %dx\n mov $1, %al\n out %al, %dx\n"  /* IER: received data */
              "mov $0x3fc, %dx\n mov $8, %al\n out %al, %dx\n"  /* MCR: OUT2 */
              "sti\n 2: hlt\n jmp 2b\n"
              "1: mov $0x3f8, %dx\n in %dx, %al\n movzbl %al, %eax\n"
              "mov $0x5f0, %dx\n out %eax, %dx\n 3: jmp 3b");

/*
 * Does a bit of everything for 60 ticks of the PIT (about 1 ms each) and ends by the exit port:
 * random stores, SSE and x87 sums, page faults that map pages (of a region at 8000000000h, frames
 * from 800000h on, tables at 600000h and 601000h), code that rewrites itself, a letter on COM1 for
 * each tick, sleep for every other tick. r15 counts ticks, r14 is the random state.
 */
GUEST64(worker,
        /* IDT at 500000h: vector 14, and 32 for the timer. */
        "mov $0x500000, %edi\n lea 10f(%rip), %rax\n mov $14, %ecx\n call 5f\n"
        "lea 20f(%rip), %rax\n mov $32, %ecx\n call 5f\n"
        "movw $0xfff, 0x4ffff0\n movq $0x500000, 0x4ffff2\n lidt 0x4ffff0\n"
        /* PML4[1] -> 600000h -> 601000h -> page tables taken from 602000h on. */
        "mov %cr3, %rax\n movq $0x600003, 8(%rax)\n movq $0x601003, 0x600000\n"
        "mov $0x602000, %r12d\n mov $0x800000, %r13d\n"
        /* PIC at vectors 20h and 28h, timer only; local APIC passes it on; PIT at 1 kHz. */
        "mov $0x11, %al\n out %al, $0x20\n out %al, $0xa0\n"
        "mov $0x20, %al\n out %al, $0x21\n mov $0x28, %al\n out %al, $0xa1\n"
        "mov $4, %al\n out %al, $0x21\n mov $2, %al\n out %al, $0xa1\n"
        "mov $1, %al\n out %al, $0x21\n out %al, $0xa1\n"
        "mov $0xfe, %al\n out %al, $0x21\n mov $0xff, %al\n out %al, $0xa1\n"
        "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n movl $0x700, 0x350(%rbx)\n"
        "mov $0x34, %al\n out %al, $0x43\n mov $0xa9, %al\n out %al, $0x40\n"
        "mov $4, %al\n out %al, $0x40\n"
        "mov %cr0, %rax\n and $~4, %rax\n or $2, %rax\n mov %rax, %cr0\n"
        "mov %cr4, %rax\n or $0x600, %rax\n mov %rax, %cr4\n fninit\n fld1\n"
        "xor %r15d, %r15d\n mov $0x123456789abcdef, %r14\n sti\n"
        "1:\n"
        /* xorshift64, stores near its value, sums */
        "mov %r14, %rax\n shl $13, %rax\n xor %rax, %r14\n mov %r14, %rax\n shr $7, %rax\n"
        "xor %rax, %r14\n mov %r14, %rax\n shl $17, %rax\n xor %rax, %r14\n"
        "mov %r14, %rax\n and $0xfffff, %eax\n mov %r14, 0x700000(%rax)\n"
        "cvtsi2sd %r14d, %xmm0\n addsd %xmm0, %xmm1\n movsd %xmm1, 0x6f0000\n"
        "fildl 0x6f0000\n faddp\n fstl 0x6f0008\n"
        /* every 64th value: a page of the faulting region, and this code's own immediate */
        "test $0x3f, %r14b\n jnz 2f\n"
        "mov %r14, %rbx\n shr $20, %rbx\n and $0x1fffff8, %ebx\n mov $0x8000000000, %rcx\n"
        "mov %r14, (%rcx, %rbx)\n mov %r14d, 3f+1(%rip)\n"
        "3: mov $0, %eax\n add %eax, 0x6f0010\n rdtsc\n add %eax, 0x6f0014\n"
        "2: test $1, %r15b\n jz 4f\n hlt\n"
        "4: cmp $60, %r15d\n jb 1b\n"
        "cli\n mov $0x5f0, %edx\n xor %eax, %eax\n out %eax, %dx\n 6: jmp 6b\n"
        /* gate number ecx at rdi: interrupt gate to rax */
        "5: shl $4, %ecx\n add %rdi, %rcx\n mov %ax, (%rcx)\n mov %cs, 2(%rcx)\n"
        "movw $0x8e00, 4(%rcx)\n shr $16, %rax\n mov %ax, 6(%rcx)\n shr $16, %rax\n"
        "mov %eax, 8(%rcx)\n ret\n"
        /* #PF: maps the page; a new page table for each 2 MiB */
        "10: push %rax\n push %rbx\n push %rcx\n mov %cr2, %rax\n mov $0x8000000000, %rbx\n"
        "sub %rbx, %rax\n mov %rax, %rbx\n shr $21, %rbx\n lea 0x601000(, %rbx, 8), %rbx\n"
        "testb $1, (%rbx)\n jnz 11f\n lea 3(%r12), %rcx\n mov %rcx, (%rbx)\n add $0x1000, %r12\n"
        "11: mov (%rbx), %rbx\n and $~0xfff, %rbx\n shr $12, %rax\n and $0x1ff, %eax\n"
        "lea 3(%r13), %rcx\n mov %rcx, (%rbx, %rax, 8)\n add $0x1000, %r13\n"
        "pop %rcx\n pop %rbx\n pop %rax\n add $8, %rsp\n iretq\n"
        /* timer */
        "20: push %rax\n push %rdx\n inc %r15d\n mov %r15d, %eax\n and $15, %al\n add $'a', %al\n"
        "mov $0x3f8, %edx\n out %al, %dx\n mov $0x20, %al\n out %al, $0x20\n"
        "pop %rdx\n pop %rax\n iretq\n");

/* The first processor starts the other at 20000h, then does something for ever. */
#define START_OTHER_AND(something)                                                                 \
    "movw $(7f-5f), 8\n movw $0x2000, 10\n"                                                        \
    "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n"                                            \
    "lea 5f(%rip), %rsi\n mov $0x20000, %edi\n mov $(6f-5f), %ecx\n rep movsb\n"                   \
    "movl $0xc4500, 0x300(%rbx)\n movl $0xc4620, 0x300(%rbx)\n"                                    \
    "1: " something "\n jmp 1b\n .code16\n"

/* It counts at 300000h. */
#define START_OTHER START_OTHER_AND("incq 0x300000")

/* The handler of NMI, in real mode: counts at 608h. */
#define NMI_HANDLER "7: incl 0x608\n iret\n 6:\n"

/* Counts at 600h. */
GUEST64(pair, START_OTHER "5: mov $0x1234, %bx\n xor %ax, %ax\n mov %ax, %ds\n"
                          "2: incl 0x600\n jmp 2b\n" NMI_HANDLER);

/* Sleeps. */
GUEST64(sleeper,
        START_OTHER "5: xor %ax, %ax\n mov %ax, %ds\n 2: cli\n hlt\n jmp 2b\n" NMI_HANDLER);

/* Both have events for ever: CR3 loads and what follows them; changes of CR0.WP. */
GUEST64(loaders, START_OTHER_AND("mov %cr3, %rax\n mov %rax, %cr3\n incq 0x300000")
        "5: mov %cr0, %eax\n xor $0x10000, %eax\n mov %eax, %cr0\n jmp 5b\n" NMI_HANDLER);

#endif
