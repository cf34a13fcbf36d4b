/* Entry of every vector, TRY's way back, and the way to CPL 3 (32 and 64 bits). */
#include "segments.h"
#include "stubs.h"

#ifdef __x86_64__
#define W(n)    (8 * (n))
#define AX      %rax
#define CX      %rcx
#define DX      %rdx
#define BX      %rbx
#define SPR     %rsp
#define BPR     %rbp
#define SIR     %rsi
#define DIR     %rdi
#define PTR     .quad
#else
#define W(n)    (4 * (n))
#define AX      %eax
#define CX      %ecx
#define DX      %edx
#define BX      %ebx
#define SPR     %esp
#define BPR     %ebp
#define SIR     %esi
#define DIR     %edi
#define PTR     .long
#endif

    .text
    STUBS trap_stubs, common

common:
#ifdef __x86_64__
    PUSH_ALL
    CALL_HANDLER trap_handle
    test %rax, %rax
    jz 1f
    mov %rax, trap_target
    mov $SEL_DATA, %eax
    mov %eax, %ss
1:  POP_ALL
    cmpq $0, trap_target
    jne 2f
    add $16, %rsp
    iretq
2:  mov trap_target_sp, %rsp
    pushq $2
    popfq
    push trap_target
    movq $0, trap_target
    ret
#else
    pusha
    push %ds
    push %es
    push %fs
    push %gs
    mov $SEL_DATA, %eax
    mov %eax, %ds
    mov %eax, %es
    cld
    push %esp
    call trap_handle
    add $4, %esp
    test %eax, %eax
    jnz 1f
    pop %gs
    pop %fs
    pop %es
    pop %ds
    popa
    add $8, %esp
    iret
1:  mov %eax, trap_target
    add $16, %esp                       /* FS and GS are still as they were */
    popa
    push %eax
    mov $SEL_DATA, %eax
    mov %eax, %ss
    pop %eax                            /* the old stack's bytes are not used any more */
    mov trap_target_sp, %esp
    pushl $2
    popf
    jmp *trap_target
#endif

/* guest_call(function): an event outside TRY ends the function. */
    .globl guest_call
guest_call:
    push BPR
    push BX
#ifdef __x86_64__
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rax
#else
    push %esi
    push %edi
    mov 20(%esp), %eax
#endif
    mov SPR, case_sp
#ifdef __x86_64__
    movq $guest_call_end, case_resume
    sub $8, %rsp
#else
    movl $guest_call_end, case_resume
#endif
    call *AX
guest_call_end:
    mov case_sp, SPR
#ifdef __x86_64__
    pop %r15
    pop %r14
    pop %r13
    pop %r12
#else
    pop %edi
    pop %esi
#endif
    pop BX
    pop BPR
    ret

/* user_enter(frame): IRETs through a frame {ip, cs, flags, sp, ss}. */
    .globl user_enter
user_enter:
    push BPR
    push BX
#ifdef __x86_64__
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rdi, %rax
    movq $user_back, try_resume
#else
    push %esi
    push %edi
    mov 20(%esp), %eax
    movl $user_back, try_resume
#endif
    mov SPR, try_sp
    push W(4)(AX)
    push W(3)(AX)
    push W(2)(AX)
    push W(1)(AX)
    push W(0)(AX)
    mov user_regs + W(0), AX
    mov user_regs + W(1), CX
    mov user_regs + W(2), DX
    mov user_regs + W(3), BX
    mov user_regs + W(5), BPR
    mov user_regs + W(6), SIR
    mov user_regs + W(7), DIR
#ifdef __x86_64__
    iretq
#else
    push %eax
    mov $SEL_UDATA | 3, %eax
    mov %eax, %ds
    mov %eax, %es
    mov %eax, %fs
    mov %eax, %gs
    pop %eax
    iret
#endif
user_back:
#ifdef __x86_64__
    pop %r15
    pop %r14
    pop %r13
    pop %r12
#else
    pop %edi
    pop %esi
#endif
    pop BX
    pop BPR
    ret

    .bss
    .balign 8
    .globl trap_target, trap_target_sp
trap_target:
    .skip 8
trap_target_sp:
    .skip 8
