/*
 * Segmentation: descriptors, loading segment registers, far transfers, stacks by privilege level.
 * Functions raise what the manual asks for at vcpu.current; those named *_check change nothing.
 * Source: Intel SDM volume 3A, chapters 3, 5 and 7.
 */
#ifndef CPU_SEGMENT_H
#define CPU_SEGMENT_H

#include "cpu/cpu.h"

/* A descriptor as read from a table. */
struct descriptor {
    uint64_t raw;         /* the 8 bytes */
    uint64_t base;        /* for system descriptors in long mode: all 64 bits */
    uint32_t limit;       /* expanded by G */
    uint16_t attributes;  /* SEGMENT_* */
    uint64_t address;     /* linear address it was read from */
};

/* System descriptor types (SDM 3A table 3-2). */
enum system_type {
    SYSTEM_TSS16 = 1,
    SYSTEM_LDT = 2,
    SYSTEM_TSS16_BUSY = 3,
    SYSTEM_CALL_GATE16 = 4,
    SYSTEM_TASK_GATE = 5,
    SYSTEM_INTERRUPT_GATE16 = 6,
    SYSTEM_TRAP_GATE16 = 7,
    SYSTEM_TSS = 9,
    SYSTEM_TSS_BUSY = 11,
    SYSTEM_CALL_GATE = 12,
    SYSTEM_INTERRUPT_GATE = 14,
    SYSTEM_TRAP_GATE = 15,
};

static inline unsigned descriptor_dpl(uint16_t attributes)
{
    return (attributes >> SEGMENT_DPL_SHIFT) & 3;
}

static inline bool descriptor_is_system(uint16_t attributes)
{
    return !(attributes & SEGMENT_S);
}

static inline bool descriptor_is_code(uint16_t attributes)
{
    return (attributes & (SEGMENT_S | SEGMENT_CODE)) == (SEGMENT_S | SEGMENT_CODE);
}

static inline bool descriptor_is_data(uint16_t attributes)
{
    return (attributes & (SEGMENT_S | SEGMENT_CODE)) == SEGMENT_S;
}

/* Reads the descriptor that a selector names; beyond the table: raises `vector` with the selector.
 * `wide`: a 16-byte system descriptor of long mode. */
struct descriptor descriptor_read(struct vcpu *cpu, uint16_t selector, bool wide,
                                  enum exception_vector vector);

/* The same without raising: false if the selector is null or beyond its table. For LAR, LSL,
 * VERR. */
bool descriptor_try(struct vcpu *cpu, uint16_t selector, bool wide, struct descriptor *out);

/* Sets the accessed bit in the table if it is clear. */
void descriptor_set_accessed(struct vcpu *cpu, struct descriptor *d);

/* MOV/POP to ES, SS, DS, FS, GS, with all checks; in real and virtual-8086 mode just base =
 * selector * 16. */
void segment_load(struct vcpu *cpu, enum segment_index n, uint16_t selector);

/* Real-address style load. */
void segment_load_real(struct vcpu *cpu, enum segment_index n, uint16_t selector);

/* The hidden part from a descriptor. */
void segment_fill(struct segment *s, uint16_t selector, const struct descriptor *d);

/* Loads SS for a privilege level that an inner transfer enters: checks as for TSS stacks, vector
 * #TS. In long mode a null selector is allowed. */
void segment_load_stack(struct vcpu *cpu, uint16_t selector, unsigned cpl);

/* Sets CS from a checked code descriptor, with CPL (RPL of the selector becomes it). */
void segment_set_cs(struct vcpu *cpu, uint16_t selector, const struct descriptor *d, unsigned cpl);

/* After a return to an outer level: data segments that CPL may no longer use become null. */
void segment_drop_privileged(struct vcpu *cpu);

/* JMP FAR, CALL FAR and RETF, IRET; size is the operand size in bits. next is the return RIP. */
void far_jump(struct vcpu *cpu, uint16_t selector, uint64_t offset, unsigned size);
void far_call(struct vcpu *cpu, uint16_t selector, uint64_t offset, unsigned size, uint64_t next);
void far_return(struct vcpu *cpu, unsigned size, unsigned release);
void interrupt_return(struct vcpu *cpu, unsigned size, uint64_t next);

/* SS:RSP of privilege level cpl from the TSS (protected mode), or RSP from the 64-bit TSS:
 * index 0 to 2 for the levels, 4 + n for IST n (1 to 7). */
void tss_stack(struct vcpu *cpu, unsigned cpl, uint16_t *ss, uint32_t *esp);
uint64_t tss_stack64(struct vcpu *cpu, unsigned index);

enum task_switch_source { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_GATE };

/* Hardware task switch to the TSS that the selector names (SDM 3A 7.3); next is the RIP to save.
 * error_code, if not NULL, is pushed on the new task's stack. */
void task_switch(struct vcpu *cpu, uint16_t selector, enum task_switch_source source,
                 uint64_t next, const uint32_t *error_code);

/* A stack being written or read by a far transfer: nothing of the registers changes until
 * stack_commit. Addresses wrap by the stack segment's size. */
struct stack {
    const struct segment *ss;
    uint64_t rsp;
    uint64_t mask;   /* 0xffff, 0xffffffff, ~0 */
    unsigned cpl;    /* privilege of the accesses */
    uint16_t code;   /* selector in the error code of #SS: that of an inner stack, else 0 */
};

/* The current stack of the processor. */
struct stack stack_current(struct vcpu *cpu);
void stack_push(struct vcpu *cpu, struct stack *s, unsigned size, uint64_t value);
uint64_t stack_pop(struct vcpu *cpu, struct stack *s, unsigned size);
void stack_commit(struct vcpu *cpu, const struct stack *s);

#endif
