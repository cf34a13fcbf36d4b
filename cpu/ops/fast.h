/*
 * Shorter forms of op functions for operands in memory as 64-bit code mostly has them: no address
 * wraps, no segment limits, no LOCK. cpu/special.c puts them in the place of the general op.
 *
 *   op_<stem>_b   base + displacement, or RIP-relative
 *   op_<stem>_x   base + index + displacement
 *   op_<stem>_s   the same in FS or GS
 *
 * They do the work if the TLB knows the page; else the general op does all of it. So they call
 * nothing that returns, and need neither a stack frame nor saved registers.
 */
#ifndef CPU_OPS_FAST_H
#define CPU_OPS_FAST_H

#include "cpu/ops/ops.h"

#define FAST_LINEAR_b (cpu->gpr[i->base] + (uint64_t)(int64_t)i->disp)
#define FAST_LINEAR_x (FAST_LINEAR_b + (cpu->gpr[i->index] << i->scale))
#define FAST_LINEAR_s (FAST_LINEAR_x + cpu->seg[i->seg].base)

#define FAST_FORM(stem, kind, pointer, find, bytes, ...)                                           \
    OP(stem##_##kind)                                                                              \
    {                                                                                              \
        uint64_t linear = FAST_LINEAR_##kind;                                                      \
        pointer p = find(&cpu->mmu, linear, bytes);                                                \
        if (unlikely(p == NULL)) {                                                                 \
            op_##stem(cpu, i);                                                                     \
            return;                                                                                \
        }                                                                                          \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }
#define FAST_FORMS(stem, pointer, find, bytes, ...)                                                \
    FAST_FORM(stem, b, pointer, find, bytes, __VA_ARGS__)                                          \
    FAST_FORM(stem, x, pointer, find, bytes, __VA_ARGS__)                                          \
    FAST_FORM(stem, s, pointer, find, bytes, __VA_ARGS__)

/* The rest are statements that use `p`, the host address of the operand, and `linear`. */
#define FAST_READ(stem, bytes, ...)                                                                \
    FAST_FORMS(stem, const void *, tlb_find_read, bytes, __VA_ARGS__)
#define FAST_WRITE(stem, bytes, ...) FAST_FORMS(stem, void *, tlb_find_write, bytes, __VA_ARGS__)

#endif
