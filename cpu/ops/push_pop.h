/*
 * The stack as PUSH, POP, CALL and RET use it: SS:RSP, as wide as the mode says. 64-bit mode has
 * its own short way; the others go through the segment.
 */
#ifndef CPU_OPS_PUSH_POP_H
#define CPU_OPS_PUSH_POP_H

#include "cpu/mem.h"
#include "cpu/mode.h"

/* Mask of the stack pointer: 64-bit, or by SS.B. */
static inline uint64_t stack_mask(const struct vcpu *cpu)
{
    return cpu->mode & MODE_64 ? UINT64_MAX : cpu->mode & MODE_SS32 ? UINT32_MAX : 0xffff;
}

/* Sets the stack pointer in the width of the stack. */
static inline void stack_set(struct vcpu *cpu, uint64_t rsp)
{
    uint64_t mask = stack_mask(cpu);

    if (mask == 0xffff)
        cpu->gpr[GPR_RSP] = (cpu->gpr[GPR_RSP] & ~mask) | (rsp & mask);
    else
        cpu->gpr[GPR_RSP] = rsp & mask;
}

static inline void stack_adjust(struct vcpu *cpu, int64_t bytes)
{
    stack_set(cpu, cpu->gpr[GPR_RSP] + (uint64_t)bytes);
}

/* Linear address of RSP + offset, checked for size bytes. */
static inline uint64_t stack_address(struct vcpu *cpu, const struct insn *i, int64_t offset,
                                     unsigned size, enum mmu_access access)
{
    uint64_t rsp = (cpu->gpr[GPR_RSP] + (uint64_t)offset) & stack_mask(cpu);

    if (cpu->mode & (MODE_64 | MODE_FLAT))
        return rsp;
    return mem_segment_linear(cpu, i, SEG_SS, rsp, size, access);
}

/* Reads size bytes at RSP + offset; the stack pointer stays. */
static inline uint64_t stack_read(struct vcpu *cpu, const struct insn *i, int64_t offset,
                                  unsigned size)
{
    uint64_t linear = stack_address(cpu, i, offset, size, MMU_READ);

    return size == 2   ? mem_load16(cpu, i, linear)
           : size == 4 ? mem_load32(cpu, i, linear)
                       : mem_load64(cpu, i, linear);
}

/* Pushes size bytes (2, 4 or 8) in any mode. */
static inline void push_sized(struct vcpu *cpu, const struct insn *i, unsigned size,
                              uint64_t value)
{
    uint64_t linear = stack_address(cpu, i, -(int64_t)size, size, MMU_WRITE);

    if (size == 2)
        mem_store16(cpu, i, linear, (uint16_t)value);
    else if (size == 4)
        mem_store32(cpu, i, linear, (uint32_t)value);
    else
        mem_store64(cpu, i, linear, value);
    stack_adjust(cpu, -(int64_t)size);
}

/* Pushes 8 bytes in 64-bit mode. */
static inline void push64(struct vcpu *cpu, const struct insn *i, uint64_t value)
{
    uint64_t rsp = cpu->gpr[GPR_RSP] - 8;

    mem_store64(cpu, i, rsp, value);
    cpu->gpr[GPR_RSP] = rsp;
}

#endif
