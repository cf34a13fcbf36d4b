/* Direct stores: MOVDIR64B; and SERIALIZE. MOVDIRI is a MOV. Source: Intel SDM volume 2. */
#include "cpu/ops/ops.h"

/* 64 bytes of the memory operand to ES:reg, which must be aligned to them. The stores are one by
 * one here: nobody else can see them half done while the instruction runs. */
static __attribute__((noinline)) void move_64_bytes(struct vcpu *cpu, const struct insn *i)
{
    uint64_t from = mem_linear(cpu, i, 64, MMU_READ), to = cpu->gpr[i->reg];
    uint8_t bytes[64];

    if (i->flags & (INSN_A32 | INSN_A16))
        to = i->flags & INSN_A32 ? (uint32_t)to : (uint16_t)to;
    to = mem_linear_at(cpu, i, SEG_ES, to, 64, MMU_WRITE);
    if (to & 63)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    mem_load_bytes(cpu, i, from, bytes, sizeof(bytes));
    mem_store_bytes(cpu, i, to, bytes, sizeof(bytes));
}

OP(movdir64b)
{
    move_64_bytes(cpu, i);
    NEXT;
}

/* Instructions are complete one after another anyway. */
OP(serialize)
{
    cpu_serialize();
    NEXT;
}
