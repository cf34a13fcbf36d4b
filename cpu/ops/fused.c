/*
 * A comparison, or an operation whose result is asked about, together with the conditional branch
 * after it: instruction i, and i[1] with the targets. The condition comes from the operands; the
 * flags are set as well. A miss in the TLB goes on with the op for i alone; that for i[1] is in its
 * place.
 */
#include "cpu/block.h"
#include "cpu/ops/alu.h"

#define SIGNED(bits, v) ((int##bits##_t)(v))

/* Conditions after a - b, and after a result that stands for r - 0. */
#define WHEN_e(bits, a, b)  ((a) == (b))
#define WHEN_ne(bits, a, b) ((a) != (b))
#define WHEN_b(bits, a, b)  ((a) < (b))
#define WHEN_ae(bits, a, b) ((a) >= (b))
#define WHEN_be(bits, a, b) ((a) <= (b))
#define WHEN_a(bits, a, b)  ((a) > (b))
#define WHEN_l(bits, a, b)  (SIGNED(bits, a) < SIGNED(bits, b))
#define WHEN_ge(bits, a, b) (SIGNED(bits, a) >= SIGNED(bits, b))
#define WHEN_le(bits, a, b) (SIGNED(bits, a) <= SIGNED(bits, b))
#define WHEN_g(bits, a, b)  (SIGNED(bits, a) > SIGNED(bits, b))
#define WHEN_s(bits, a, b)  (SIGNED(bits, (a) - (b)) < 0)
#define WHEN_ns(bits, a, b) (SIGNED(bits, (a) - (b)) >= 0)

/* What the op does, and whether the branch is taken. */
#define DO_cmp(condition, bits, a, b)                                                              \
    uint##bits##_t first = (a), second = (b);                                                      \
    bool taken = WHEN_##condition(bits, first, second);                                            \
    flags_sub##bits(cpu, first, second, (uint##bits##_t)(first - second))
#define DO_test(condition, bits, a, b)                                                             \
    uint##bits##_t r = (a) & (b);                                                                  \
    bool taken = WHEN_##condition(bits, r, 0);                                                     \
    flags_logic##bits(cpu, r)
#define DO_sub(condition, bits, a, b)                                                              \
    uint##bits##_t first = reg_get##bits(cpu, a), second = (b);                                    \
    uint##bits##_t r = (uint##bits##_t)(first - second);                                           \
    bool taken = WHEN_##condition(bits, first, second);                                            \
    reg_set##bits(cpu, a, r);                                                                      \
    flags_sub##bits(cpu, first, second, r)
#define DO_and(condition, bits, a, b)                                                              \
    uint##bits##_t r = reg_get##bits(cpu, a) & (b);                                                \
    bool taken = WHEN_##condition(bits, r, 0);                                                     \
    reg_set##bits(cpu, a, r);                                                                      \
    flags_logic##bits(cpu, r)
/* Only with conditions that ask about ZF and SF. */
#define DO_add(condition, bits, a, b)                                                              \
    uint##bits##_t first = reg_get##bits(cpu, a), second = (b);                                    \
    uint##bits##_t r = (uint##bits##_t)(first + second);                                           \
    bool taken = WHEN_##condition(bits, r, 0);                                                     \
    reg_set##bits(cpu, a, r);                                                                      \
    flags_add##bits(cpu, first, second, r)
#define DO_dec(condition, bits, a, b)                                                              \
    uint##bits##_t first = reg_get##bits(cpu, a), r = (uint##bits##_t)(first - (b));               \
    bool taken = WHEN_##condition(bits, r, 0);                                                     \
    reg_set##bits(cpu, a, r);                                                                      \
    flags_dec##bits(cpu, first, r)

#define OPERAND_r(op, bits)
#define OPERAND_MEMORY(op, linear, bits)                                                           \
    const void *p = tlb_find_read(&cpu->mmu, linear, bits / 8);                                    \
    uint##bits##_t m;                                                                              \
    if (unlikely(p == NULL)) {                                                                     \
        op_##op(cpu, i);                                                                           \
        return;                                                                                    \
    }                                                                                              \
    m = guest_load##bits(p);
#define OPERAND_b(op, bits) OPERAND_MEMORY(op, FAST_LINEAR_b, bits)
#define OPERAND_x(op, bits) OPERAND_MEMORY(op, FAST_LINEAR_x, bits)

#define FUSED(condition, op, form, what, bits, a, b)                                               \
    op_fn op_##op;                                                                                 \
    OP(op##_j_##condition)                                                                         \
    {                                                                                              \
        OPERAND_##form(op, bits) DO_##what(condition, bits, a, b);                                 \
        if (unlikely(taken && (uint64_t)i[1].imm >= PAGE_SIZE))                                    \
            i[1].op(cpu, &i[1]); /* the target may be not canonical */                             \
        else if (taken)                                                                            \
            block_chain(cpu, 1, (uint64_t)i[1].imm);                                               \
        else                                                                                       \
            block_chain(cpu, 0, i[1].ip_next);                                                     \
    }
#include "cpu/fused.def"
