/*
 * String instructions: their operands [segment:RSI] and [ES:RDI] in the instruction's address size,
 * stepping by EFLAGS.DF, and the frame of a repeated instruction:
 *
 *     for (uint64_t n = rep_begin(cpu, i, STRING_BOTH, size); n > 0; n--) {
 *         ...one element, which may raise...
 *         rep_count_down(cpu, i, 1);
 *     }
 *     rep_end(cpu, i, true);
 */
#ifndef CPU_OPS_STRING_H
#define CPU_OPS_STRING_H

#include "cpu/block.h"
#include "cpu/mode.h"
#include "cpu/ops/operand.h"

static inline uint64_t string_load(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                                   unsigned size)
{
    switch (size) {
    case 1:
        return mem_load8(cpu, i, linear);
    case 2:
        return mem_load16(cpu, i, linear);
    case 4:
        return mem_load32(cpu, i, linear);
    default:
        return mem_load64(cpu, i, linear);
    }
}

static inline void string_store(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                                uint64_t value, unsigned size)
{
    switch (size) {
    case 1:
        mem_store8(cpu, i, linear, (uint8_t)value);
        break;
    case 2:
        mem_store16(cpu, i, linear, (uint16_t)value);
        break;
    case 4:
        mem_store32(cpu, i, linear, (uint32_t)value);
        break;
    default:
        mem_store64(cpu, i, linear, value);
        break;
    }
}

/* Linear address of the element at RSI, in the operand's segment. */
static inline uint64_t string_source(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    return mem_linear_at(cpu, i, i->seg, cpu->gpr[GPR_RSI] & address_mask(i), size, MMU_READ);
}

/* Linear address of the element at ES:RDI. */
static inline uint64_t string_destination(struct vcpu *cpu, const struct insn *i, unsigned size,
                                          enum mmu_access access)
{
    return mem_linear_at(cpu, i, SEG_ES, cpu->gpr[GPR_RDI] & address_mask(i), size, access);
}

/* Moves RSI or RDI over count elements. */
static inline void string_advance(struct vcpu *cpu, const struct insn *i, unsigned reg,
                                  uint64_t count, unsigned size)
{
    uint64_t bytes = count * size;

    if (cpu->eflags & EFLAGS_DF)
        bytes = 0 - bytes;
    address_register_set(cpu, reg, address_mask(i), cpu->gpr[reg] + bytes);
}

/* Operands that a repeated instruction walks over. */
enum string_operands {
    STRING_SOURCE = 1,
    STRING_DESTINATION = 2,
    STRING_BOTH = 3,
};

/* How many elements, at least 1, begin at this operand before its page, or its address size, ends.
 * An element that crosses the end stands alone. */
static inline uint64_t string_room(uint64_t offset, uint64_t base, uint64_t mask, bool down,
                                   unsigned size)
{
    uint64_t in_page = (base + offset) & (PAGE_SIZE - 1);

    if (in_page + size > PAGE_SIZE)
        return 1;
    if (down) /* the sum cannot wrap, where offset is 2^64 - 1 and size 1 */
        return MIN(in_page / size, offset / size) + 1;
    return MIN((PAGE_SIZE - in_page) / size, MAX((mask - offset) / size, 1));
}

/* Number of iterations of this dispatch; 0 if the count register is 0. */
static inline uint64_t rep_begin(struct vcpu *cpu, const struct insn *i,
                                 enum string_operands operands, unsigned size)
{
    uint64_t mask = address_mask(i), n = cpu->gpr[GPR_RCX] & mask;
    bool down = cpu->eflags & EFLAGS_DF;

    if (n > 1 && ((cpu->eflags & EFLAGS_TF) || cpu->debug.data_count + cpu->debug.io_count != 0))
        n = 1;
    if (operands & STRING_SOURCE)
        n = MIN(n, string_room(cpu->gpr[GPR_RSI] & mask, cpu->seg[i->seg].base, mask, down, size));
    if (operands & STRING_DESTINATION)
        n = MIN(n, string_room(cpu->gpr[GPR_RDI] & mask,
                               cpu->mode & MODE_64 ? 0 : cpu->seg[SEG_ES].base, mask, down, size));
    return n;
}

static inline void rep_count_down(struct vcpu *cpu, const struct insn *i, uint64_t count)
{
    address_register_set(cpu, GPR_RCX, address_mask(i), cpu->gpr[GPR_RCX] - count);
}

/* Between two dispatches RF is set, so that a breakpoint at the instruction does not hit again and
 * events push it (SDM 3B 17.3.1.1). */
static inline void rep_again(struct vcpu *cpu, const struct insn *i)
{
    cpu->rip = cpu_insn_start(cpu, i);
    cpu->eflags |= EFLAGS_RF;
    cpu->attention |= VCPU_ATTENTION_RESUME;
}

/* Sets RIP: past the instruction if it is done or go_on is false, else back to its start. */
static inline void rep_end(struct vcpu *cpu, const struct insn *i, bool go_on)
{
    if (go_on && (cpu->gpr[GPR_RCX] & address_mask(i)) != 0)
        rep_again(cpu, i);
    else
        cpu->rip = cpu_insn_next(cpu, i);
}

#endif
