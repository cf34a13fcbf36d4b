/*
 * Addresses and registers that op functions compute beyond the plain ModRM operand: a memory
 * operand moved by some bytes, and registers that count in the address size.
 */
#ifndef CPU_OPS_OPERAND_H
#define CPU_OPS_OPERAND_H

#include "cpu/mem.h"

/* Linear address of the memory operand moved by `bytes`: bit strings, POP with an RSP base. The
 * effective address wraps to the address size after the move. */
static inline uint64_t mem_linear_moved(struct vcpu *cpu, const struct insn *i, int64_t bytes,
                                        unsigned size, enum mmu_access access)
{
    uint64_t ea = insn_ea(cpu, i) + (uint64_t)bytes;

    if (i->flags & (INSN_A32 | INSN_A16))
        ea = i->flags & INSN_A32 ? (uint32_t)ea : (uint16_t)ea;
    if (likely(i->flags & INSN_FLAT))
        return ea + cpu->seg[i->seg].base;
    return mem_segment_linear(cpu, i, i->seg, ea, size, access);
}

/* The bits of a register that count under the instruction's address size. */
static inline uint64_t address_mask(const struct insn *i)
{
    if (i->flags & INSN_A32)
        return UINT32_MAX;
    return i->flags & INSN_A16 ? UINT16_MAX : UINT64_MAX;
}

/* Writes an address or count register: 16 bits keep the upper ones, 32 bits clear them. */
static inline void address_register_set(struct vcpu *cpu, unsigned n, uint64_t mask, uint64_t v)
{
    cpu->gpr[n] = mask == UINT16_MAX ? (cpu->gpr[n] & ~mask) | (v & mask) : v & mask;
}

#endif
