/*
 * Guests of several processors for crew_test.c, in 64-bit mode. Each begins with CREW, which starts
 * the other processors; then all run the same code: r15 is the number of the processor, r14 how
 * many there are, rbx the local APIC, rsp a stack of one's own. A guest that finishes powers off.
 */
#ifndef TESTS_UNIT_MACHINE_CREW_GUESTS_H
#define TESTS_UNIT_MACHINE_CREW_GUESTS_H

#include "tests/unit/machine/guests.h"

/* What they have in memory; set to 0 by CREW but for STARTS and TOLD. */
#define STARTS  0x500    /* dword: how often the first processor has started */
#define TOLD    0x700    /* dword: not 0: the host wants it to finish */
#define COUNT   0x300000 /* qword: counted by locked instructions */
#define LOCK    0x300008
#define TURN    0x300010
#define GUARDED 0x300018 /* two qwords, counted by who has LOCK */
#define ERRORS  0x300028 /* dword */
#define OWN     0x300200 /* qword for each processor */

#define CREW_WORDS                                                                                 \
    ".set STARTS, 0x500\n .set TOLD, 0x700\n .set COUNT, 0x300000\n .set LOCK, 0x300008\n"         \
    ".set TURN, 0x300010\n .set GUARDED, 0x300018\n .set ERRORS, 0x300028\n"                       \
    ".set ARRIVED, 0x300100\n .set DONE, 0x300108\n .set OWN, 0x300200\n"

/* At 20000h: from real mode to 64-bit mode, with the CR3 of the first processor. */
#define CREW_TRAMPOLINE                                                                            \
    ".code16\n 90: cli\n mov %cs, %ax\n mov %ax, %ds\n lgdtl (95f-90b)\n"                          \
    "mov $0x620, %eax\n mov %eax, %cr4\n mov (97f-90b), %eax\n mov %eax, %cr3\n"                   \
    "mov $0xc0000080, %ecx\n rdmsr\n or $0x100, %eax\n wrmsr\n"                                    \
    "mov $0x80000033, %eax\n mov %eax, %cr0\n ljmpl $8, $(0x20000+94f-90b)\n"                      \
    ".code64\n 94: mov $16, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"               \
    "jmp *96f(%rip)\n"                                                                             \
    "95: .word 23\n .long 0x20000+93f-90b\n"                                                       \
    "93: .quad 0, 0xaf9a000000ffff, 0xcf92000000ffff\n 97: .long 0\n 96: .quad 0\n 99:\n"

#define CREW                                                                                       \
    CREW_WORDS                                                                                     \
    "cli\n incl STARTS\n xor %eax, %eax\n mov $COUNT, %edi\n mov $512, %ecx\n rep stosq\n"         \
    "lea 90f(%rip), %rsi\n mov $0x20000, %edi\n mov $(99f-90f), %ecx\n rep movsb\n"                \
    "mov $0x20000, %edi\n mov %cr3, %rax\n mov %eax, (97f-90f)(%rdi)\n"                            \
    "lea 98f(%rip), %rax\n mov %rax, (96f-90f)(%rdi)\n"                                            \
    "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n"                                            \
    "movl $0xc4500, 0x300(%rbx)\n movl $0xc4620, 0x300(%rbx)\n jmp 98f\n" CREW_TRAMPOLINE          \
    "98: mov $0xb, %eax\n mov $1, %ecx\n cpuid\n mov %ebx, %r14d\n"                                \
    "mov $0xfee00000, %ebx\n movl $0x1ff, 0xf0(%rbx)\n"                                            \
    "mov 0x20(%rbx), %r15d\n shr $24, %r15d\n"                                                     \
    "mov %r15d, %esp\n shl $16, %esp\n add $0x410000, %esp\n"

/* Nobody goes on before all are here; once. */
#define MEET "lock incl ARRIVED\n 89: pause\n cmp %r14d, ARRIVED\n jb 89b\n"

#define TAKE_LOCK "88: lock btsl $0, LOCK\n jnc 87f\n pause\n jmp 88b\n 87:\n"
#define DROP_LOCK "movl $0, LOCK\n"

/* The first processor powers off when all have come here. */
#define FINISH                                                                                     \
    "lock incl DONE\n test %r15d, %r15d\n jz 81f\n 80: cli\n hlt\n jmp 80b\n"                      \
    "81: pause\n cmp %r14d, DONE\n jne 81b\n"                                                      \
    "mov $0x604, %edx\n mov $0x2000, %eax\n out %ax, %dx\n 82: jmp 82b\n"

/* Each counts that often. */
#define COUNTER_ROUNDS 20000
GUEST64(counter, CREW "mov $20000, %ecx\n"
                      "1: lock incq COUNT\n incq OWN(, %r15, 8)\n" TAKE_LOCK
                      "incq GUARDED\n incq GUARDED+8\n" DROP_LOCK "dec %ecx\n jnz 1b\n" FINISH);

/* Four instructions a round. */
#define UNTIL_TOLD_ROUND 4
GUEST64(until_told, CREW "1: lock incq COUNT\n incq OWN(, %r15, 8)\n cmpl $0, TOLD\n je 1b\n"
                    FINISH);

/* All come to guest_points_here again and again. */
#define POINTS_ROUNDS 25
extern const uint8_t guest_points_here[];
GUEST64(points, CREW MEET "mov $25, %r13d\n"
                          "1: mov $20000, %ecx\n 2: dec %ecx\n jnz 2b\n"
                          "mov $0x3fd, %edx\n in %dx, %al\n .globl guest_points_here\n"
                          "guest_points_here: incq OWN(, %r15, 8)\n dec %r13d\n jnz 1b\n" FINISH);

/*
 * The same, but in each round nobody goes on before TOLD has its number; then all come at once, and
 * no device is needed on the way. Who waits counts as SPINS, who goes on as COUNT.
 */
#define SPINS 0x300280 /* qword for each processor */
extern const uint8_t guest_together_here[];
GUEST64(together, CREW MEET "xor %r13d, %r13d\n"
                            "1: inc %r13d\n 2: incq 0x300280(, %r15, 8)\n cmp %r13d, TOLD\n"
                            "jb 2b\n lock incq COUNT\n .globl guest_together_here\n"
                            "guest_together_here: incq OWN(, %r15, 8)\n cmp $25, %r13d\n"
                            "jb 1b\n" FINISH);

/* Events of the MMU. */
#define SHOTS 25
GUEST64(shooters, CREW MEET "mov $25, %r13d\n"
                            "1: invlpg COUNT\n incq OWN(, %r15, 8)\n dec %r13d\n jnz 1b\n" FINISH);

/* The last processor sleeps with interrupts off until an NMI comes; the others wait for it. */
GUEST64(nmi, CREW "lea 1(%r15), %eax\n cmp %r14d, %eax\n jne 2f\n"
                  "lea 5f(%rip), %rax\n mov $0x500020, %ecx\n mov %ax, (%rcx)\n mov %cs, 2(%rcx)\n"
                  "movw $0x8e00, 4(%rcx)\n shr $16, %rax\n mov %ax, 6(%rcx)\n"
                  "sub $16, %rsp\n movw $0xfff, (%rsp)\n movq $0x500000, 2(%rsp)\n lidt (%rsp)\n"
                  "incl TURN\n 1: hlt\n cmpl $0, TOLD\n je 1b\n 2: pause\n cmpl $0, TOLD\n je 2b\n"
                  FINISH "5: movl $1, TOLD\n iretq\n");

/* Finishes at its third start; is busy before. */
GUEST64(restarted, CREW "cmpl $3, STARTS\n jae 1f\n 2: incq OWN(, %r15, 8)\n jmp 2b\n 1:" FINISH);

/* The last processor resets the machine, twice. */
GUEST64(resets, CREW "cmpl $3, STARTS\n jae 1f\n" MEET
                     "lea 1(%r15), %eax\n cmp %r14d, %eax\n jne 2f\n mov $0xfe, %al\n"
                     "out %al, $0x64\n 2: pause\n jmp 2b\n 1:" FINISH);

/* Shutdown: of the last processor while others are busy; of all. */
#define FALL "lidt 85f(%rip)\n ud2\n 85: .word 0\n .quad 0\n"
GUEST64(falls, CREW MEET "lea 1(%r15), %eax\n cmp %r14d, %eax\n jne 2f\n" FALL
                         "2: lock incq COUNT\n jmp 2b\n");
GUEST64(all_fall, CREW "cmpl $3, STARTS\n jae 1f\n" MEET FALL "1:" FINISH);

/* End by the exit port: by the last one while others are busy; by all. */
GUEST64(one_ends, CREW MEET "lea 1(%r15), %eax\n cmp %r14d, %eax\n jne 2f\n"
                            "mov $0x5f0, %edx\n mov $77, %eax\n out %eax, %dx\n"
                            "2: lock incq COUNT\n jmp 2b\n");
GUEST64(all_end, CREW MEET "mov $0x5f0, %edx\n lea 77(%r15), %eax\n out %eax, %dx\n"
                           "2: pause\n jmp 2b\n");

/* All sleep: with interrupts off, and on. */
GUEST64(all_halt, CREW MEET "1: cli\n hlt\n jmp 1b\n");
GUEST64(all_sleep, CREW MEET "1: sti\n hlt\n jmp 1b\n");

/*
 * A turn goes round: who has it gives it to the next by an interrupt and sleeps until one comes. A
 * handler counts as OWN.
 */
#define RING_TURNS 4000
#define RING(work)                                                                                 \
    CREW "mov %r15d, %edi\n shl $12, %edi\n add $0x500000, %edi\n"                                 \
         "lea 5f(%rip), %rax\n lea 0x400(%rdi), %rcx\n mov %ax, (%rcx)\n mov %cs, 2(%rcx)\n"      \
         "movw $0x8e00, 4(%rcx)\n shr $16, %rax\n mov %ax, 6(%rcx)\n movq $0, 8(%rcx)\n"          \
         "sub $16, %rsp\n movw $0xfff, (%rsp)\n mov %rdi, 2(%rsp)\n lidt (%rsp)\n" MEET            \
         "1: cli\n mov TURN, %eax\n cmp $4000, %eax\n je 3f\n"                                    \
         "xor %edx, %edx\n div %r14d\n cmp %edx, %r15d\n je 2f\n sti\n hlt\n jmp 1b\n"           \
         /* mine */                                                                                \
         "2:" work "incl TURN\n cmpl $4000, TURN\n je 4f\n"                                       \
         "lea 1(%r15), %eax\n xor %edx, %edx\n div %r14d\n shl $24, %edx\n"                       \
         "mov %edx, 0x310(%rbx)\n movl $0x4040, 0x300(%rbx)\n jmp 1b\n"                           \
         "4: movl $0xc4040, 0x300(%rbx)\n 3:" FINISH                                              \
         "5: incq OWN(, %r15, 8)\n movl $0, 0xb0(%rbx)\n iretq\n"
GUEST64(ring, RING(""));

/* Who has the turn works for 0 to 131 us: those who wait begin to sleep or are about to when they
 * are woken. */
GUEST64(slow_ring,
        RING("imul $0x9e3779b1, TURN, %ecx\n shr $15, %ecx\n rdtsc\n mov %eax, %esi\n"
             "6: rdtsc\n sub %esi, %eax\n cmp %ecx, %eax\n jb 6b\n"));

/* The same by MWAIT, with interrupts off: only the store of who had its turn wakes the others. */
GUEST64(monitored, CREW MEET
        "1: mov $TURN, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n monitor\n"
        "mov TURN, %eax\n cmp $4000, %eax\n je 3f\n"
        "div %r14d\n cmp %edx, %r15d\n je 2f\n"
        "xor %eax, %eax\n mwait\n incq OWN(, %r15, 8)\n jmp 1b\n"
        "2: incl TURN\n jmp 1b\n 3:" FINISH);

/*
 * All use devices: a letter to port E9h; in turns a letter to COM1 and a byte to CMOS and back; the
 * HPET, which must not go back.
 */
#define LETTERS 200
GUEST64(letters, CREW TAKE_LOCK "mov $0xfed00000, %esi\n movl $1, 0x10(%rsi)\n" DROP_LOCK MEET
                 "mov $200, %ecx\n xor %r13d, %r13d\n"
                 "1: lea 'a'(%r15), %eax\n out %al, $0xe9\n"
                 "mov 0xf0(%rsi), %rax\n cmp %r13, %rax\n jae 2f\n lock incl ERRORS\n"
                 "2: mov %rax, %r13\n 88: lock btsl $0, LOCK\n jnc 3f\n pause\n jmp 88b\n"
                 "3: mov $0x3fd, %edx\n in %dx, %al\n test $0x20, %al\n jz 3b\n"
                 "mov $0x3f8, %edx\n lea 'a'(%r15), %eax\n out %al, %dx\n"
                 "mov $0x70, %al\n out %al, $0x70\n mov %cl, %al\n out %al, $0x71\n"
                 "mov $0x70, %al\n out %al, $0x70\n in $0x71, %al\n cmp %cl, %al\n je 4f\n"
                 "incl ERRORS\n 4:" DROP_LOCK "dec %ecx\n jnz 1b\n" FINISH);

#endif
