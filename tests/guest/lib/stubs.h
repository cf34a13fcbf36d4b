/*
 * Interrupt entries in assembler: a stub for each vector, and what handlers of 64 bits save.
 * Between PUSH_ALL and POP_ALL RSP points to a struct frame (guest.h).
 */
#ifndef GUEST_STUBS_H
#define GUEST_STUBS_H

/* 256 stubs of 16 bytes push an error code where the processor does not, then the vector. */
    .macro STUBS name, handler
    .balign 16
    .globl \name
\name:
    .set n, 0
    .rept 256
    .balign 16
    .if (n == 8) || ((n >= 10) && (n <= 14)) || (n == 17)
    .else
    push $0
    .endif
    .byte 0x68                          /* PUSH imm32 */
    .long n
    jmp \handler
    .set n, n + 1
    .endr
    .endm

#ifdef __x86_64__
    .macro PUSH_ALL
    .irp reg, rax, rcx, rdx, rbx, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
    push %\reg
    .endr
    .endm

    .macro POP_ALL
    .irp reg, r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax
    pop %\reg
    .endr
    .endm

/* The handler's only argument is the frame; what it returns is in RAX, the frame in RBX. */
    .macro CALL_HANDLER handler
    mov %rsp, %rdi
    mov %rsp, %rbx
    and $-16, %rsp
    cld
    call \handler
    mov %rbx, %rsp
    .endm
#endif

#endif
