/* XCHG, XADD, CMPXCHG, CMPXCHG8B, CMPXCHG16B. */
#include "base/host/atomic128.h"
#include "cpu/ops/alu.h"

/* XCHG with memory is locked with or without the prefix: the decoder sets INSN_LOCK (A_LOCKED). */
#define EXCHANGE_FORMS(bits)                                                                       \
    OP(xchg_EG_r##bits)                                                                            \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, i->rm), b = reg_get##bits(cpu, i->reg);              \
        reg_set##bits(cpu, i->rm, b);                                                              \
        reg_set##bits(cpu, i->reg, a);                                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(xchg_EG_m##bits)                                                                            \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), b = reg_get##bits(cpu, i->reg);        \
        while (!mem_rmw_commit##bits(cpu, i, &m, &a, b))                                           \
            continue;                                                                              \
        reg_set##bits(cpu, i->reg, a);                                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(xadd_r##bits)                                                                               \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, i->rm), b = reg_get##bits(cpu, i->reg);              \
        uint##bits##_t r = (uint##bits##_t)(a + b);                                                \
        reg_set##bits(cpu, i->reg, a);                                                             \
        reg_set##bits(cpu, i->rm, r);                                                              \
        flags_add##bits(cpu, a, b, r);                                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(xadd_m##bits)                                                                               \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), b = reg_get##bits(cpu, i->reg);        \
        while (!mem_rmw_commit##bits(cpu, i, &m, &a, (uint##bits##_t)(a + b)))                     \
            continue;                                                                              \
        reg_set##bits(cpu, i->reg, a);                                                             \
        flags_add##bits(cpu, a, b, (uint##bits##_t)(a + b));                                       \
        NEXT;                                                                                      \
    }

EXCHANGE_FORMS(8)
EXCHANGE_FORMS(16)
EXCHANGE_FORMS(32)
EXCHANGE_FORMS(64)

/* 90 to 97. With RAX itself it is NOP, which does not even clear the upper half of RAX. */
#define XCHG_ACCUMULATOR(bits)                                                                     \
    OP(xchg_Z_##bits)                                                                              \
    {                                                                                              \
        if (i->rm != GPR_RAX) {                                                                    \
            uint##bits##_t a = reg_get##bits(cpu, GPR_RAX);                                        \
            reg_set##bits(cpu, GPR_RAX, reg_get##bits(cpu, i->rm));                                \
            reg_set##bits(cpu, i->rm, a);                                                          \
        }                                                                                          \
        NEXT;                                                                                      \
    }

XCHG_ACCUMULATOR(16)
XCHG_ACCUMULATOR(32)
XCHG_ACCUMULATOR(64)

/* If the values differ, memory is written with what it held (SDM 2A "CMPXCHG"); a register is left
 * alone, upper half included. */
#define CMPXCHG_FORMS(bits)                                                                        \
    static inline void cmpxchg_finish##bits(struct vcpu *cpu, uint##bits##_t a,                    \
                                            uint##bits##_t found)                                  \
    {                                                                                              \
        if (a != found)                                                                            \
            reg_set##bits(cpu, ACCUMULATOR_##bits, found);                                         \
        flags_sub##bits(cpu, a, found, (uint##bits##_t)(a - found));                               \
    }                                                                                              \
    OP(cmpxchg_r##bits)                                                                            \
    {                                                                                              \
        uint##bits##_t a = reg_get##bits(cpu, ACCUMULATOR_##bits);                                 \
        uint##bits##_t found = reg_get##bits(cpu, i->rm);                                          \
        if (found == a)                                                                            \
            reg_set##bits(cpu, i->rm, reg_get##bits(cpu, i->reg));                                 \
        cmpxchg_finish##bits(cpu, a, found);                                                       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(cmpxchg_m##bits)                                                                            \
    {                                                                                              \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = reg_get##bits(cpu, ACCUMULATOR_##bits);                                 \
        uint##bits##_t found = mem_rmw_begin##bits(cpu, i, &m), r;                                 \
        do {                                                                                       \
            r = found == a ? reg_get##bits(cpu, i->reg) : found;                                   \
        } while (!mem_rmw_commit##bits(cpu, i, &m, &found, r));                                    \
        cmpxchg_finish##bits(cpu, a, found);                                                       \
        NEXT;                                                                                      \
    }

CMPXCHG_FORMS(8)
CMPXCHG_FORMS(16)
CMPXCHG_FORMS(32)
CMPXCHG_FORMS(64)

OP(cmpxchg8b_m32)
{
    uint64_t a = (uint64_t)reg_get32(cpu, GPR_RDX) << 32 | reg_get32(cpu, GPR_RAX);
    uint64_t b = (uint64_t)reg_get32(cpu, GPR_RCX) << 32 | reg_get32(cpu, GPR_RBX);
    struct mem_rmw m;
    uint64_t found = mem_rmw_begin64(cpu, i, &m);

    while (!mem_rmw_commit64(cpu, i, &m, &found, found == a ? b : found))
        continue;
    if (found != a) {
        reg_set32(cpu, GPR_RAX, (uint32_t)found);
        reg_set32(cpu, GPR_RDX, (uint32_t)(found >> 32));
    }
    flags_set_zf(cpu, found == a);
    NEXT;
}

/* Compares 16 bytes at linear with pair and stores replacement if they are equal; else loads them
 * into pair. The page is known to be writable. */
static bool compare_exchange_16(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                                uint64_t pair[2], const uint64_t replacement[2])
{
    void *host = tlb_find_write(&cpu->mmu, linear, 16);
    uint64_t found[2];
    bool equal;

    if (i->flags & INSN_LOCK)
        return host != NULL && HOST_CAS128
                   ? guest_cas128(host, pair, replacement)
                   : mem_compare_exchange_pair(cpu, i, linear, pair, replacement);
    mem_load128(cpu, i, linear, found);
    equal = found[0] == pair[0] && found[1] == pair[1];
    mem_store128(cpu, i, linear, equal ? replacement : found);
    pair[0] = found[0];
    pair[1] = found[1];
    return equal;
}

static OP_BODY(compare_exchange_pair)
{
    uint64_t pair[2] = {cpu->gpr[GPR_RAX], cpu->gpr[GPR_RDX]};
    uint64_t replacement[2] = {cpu->gpr[GPR_RBX], cpu->gpr[GPR_RCX]};
    uint64_t linear;
    bool equal;

    if (!cpu_has(cpu, FEATURE_CX16))
        cpu_raise(cpu, i, EXC_UD);
    linear = mem_linear(cpu, i, 16, MMU_WRITE);
    if (linear & 15)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (tlb_find_write(&cpu->mmu, linear, 16) == NULL)
        mem_probe_write(cpu, i, linear, 16);
    equal = compare_exchange_16(cpu, i, linear, pair, replacement);
    cpu->gpr[GPR_RAX] = pair[0];
    cpu->gpr[GPR_RDX] = pair[1];
    flags_set_zf(cpu, equal);
}

OP(cmpxchg8b_m64)
{
    compare_exchange_pair(cpu, i);
    NEXT;
}

/* No such size: SZ_Y is 32 or 64. */
OP(cmpxchg8b_m16)
{
    cpu_raise(cpu, i, EXC_UD);
}
