/* NOP and hints, fences, cache line flushes, RDRAND and RDSEED. */
#include "cpu/ops/ops.h"

#include <stdatomic.h>

/* NOP E, PREFETCHx, ENDBR: the memory operand is not accessed. */
OP(nop)
{
    NEXT;
}

OP(pause)
{
    if (cpu->yields)
        cpu->attention |= VCPU_ATTENTION_YIELD;
    NEXT;
}

OP(lfence)
{
    atomic_thread_fence(memory_order_acquire);
    NEXT;
}

OP(sfence)
{
    atomic_thread_fence(memory_order_release);
    NEXT;
}

OP(mfence)
{
    atomic_thread_fence(memory_order_seq_cst);
    NEXT;
}

/* CLFLUSH, CLFLUSHOPT, CLWB: no caches here, but the access is checked as a load of one byte
 * (SDM 2A "CLFLUSH"). */
OP(clflush)
{
    uint64_t linear = mem_linear(cpu, i, 1, MMU_READ);

    if (tlb_find_read(&cpu->mmu, linear, 1) == NULL)
        mem_probe_read(cpu, i, linear, 1);
    NEXT;
}

/* xorshift64*: deterministic, so that a run can be repeated; never 0 once seeded. */
static uint64_t random_next(struct vcpu *cpu)
{
    uint64_t x = cpu->random_state != 0 ? cpu->random_state : 0x9e3779b97f4a7c15u;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    cpu->random_state = x;
    return x * 0x2545f4914f6cdd1du;
}

/* Always succeeds: CF set, the others clear. RDSEED is the same. */
#define RANDOM_FORMS(bits)                                                                         \
    OP(rdrand_##bits)                                                                              \
    {                                                                                              \
        reg_set##bits(cpu, i->rm, (uint##bits##_t)(random_next(cpu) >> (64 - bits)));              \
        flags_set(cpu, EFLAGS_CF);                                                                 \
        NEXT;                                                                                      \
    }

RANDOM_FORMS(16)
RANDOM_FORMS(32)
RANDOM_FORMS(64)
