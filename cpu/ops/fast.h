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

#define FAST_FORM(stem, kind, ready, pointer, find, bytes, ...)                                    \
    OP(stem##_##kind)                                                                              \
    {                                                                                              \
        uint64_t linear = FAST_LINEAR_##kind;                                                      \
        pointer p = find(&cpu->mmu, linear, bytes);                                                \
        if (unlikely(p == NULL) || unlikely(!(ready))) {                                           \
            op_##stem(cpu, i);                                                                     \
            return;                                                                                \
        }                                                                                          \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }
#define FAST_FORMS(stem, ...)                                                                      \
    op_fn op_##stem;                                                                               \
    FAST_FORM(stem, b, __VA_ARGS__)                                                                \
    FAST_FORM(stem, x, __VA_ARGS__)                                                                \
    FAST_FORM(stem, s, __VA_ARGS__)

/* What follows `bytes` are statements that use `p`, the host address of the operand. ready: what
 * must be true besides; it may use `linear`. */
#define FAST_READ_IF(stem, ready, bytes, ...)                                                      \
    FAST_FORMS(stem, ready, const void *, tlb_find_read, bytes, __VA_ARGS__)
#define FAST_WRITE_IF(stem, ready, bytes, ...)                                                     \
    FAST_FORMS(stem, ready, void *, tlb_find_write, bytes, __VA_ARGS__)
#define FAST_READ(stem, bytes, ...)  FAST_READ_IF(stem, true, bytes, __VA_ARGS__)
#define FAST_WRITE(stem, bytes, ...) FAST_WRITE_IF(stem, true, bytes, __VA_ARGS__)

#endif
