/*
 * What a file of op functions includes: how ops are named and chained, and the OPS_* initialisers
 * by which rows of the instruction table name them.
 *
 * An op function is `OP(name) { ...; NEXT; }`. It runs instruction i completely. It may leave by
 * cpu_raise* before it has changed anything. A control transfer sets cpu->rip and returns.
 *
 * Chaining: in optimised builds NEXT is a tail call of the following op; a block ends with a
 * sentinel op that returns. In other builds (-O0, sanitizers) NEXT returns to a plain loop.
 */
#ifndef CPU_OPS_OPS_H
#define CPU_OPS_OPS_H

#include "cpu/cpu.h"
#include "cpu/flags.h"
#include "cpu/mem.h"

#if defined(GNOMON_THREADED)
/* The empty asm keeps the compiler from computing the address twice. */
#define NEXT                                                                                       \
    do {                                                                                           \
        const struct insn *next_ = i + 1;                                                          \
        __asm__("" : "+r"(next_));                                                                 \
        return next_->op(cpu, next_);                                                              \
    } while (0)
#else
#define NEXT return
#endif

#define OP(name)                                                                                   \
    void op_##name(struct vcpu *cpu, const struct insn *i);                                        \
    void op_##name(struct vcpu *cpu __attribute__((unused)),                                       \
                   const struct insn *i __attribute__((unused)))

/* A local whose address is known elsewhere keeps an op from ending in a tail call, and a chain of
 * such ops overflows the stack. What needs one goes into a function of its own. */
#define OP_BODY(name)                                                                              \
    __attribute__((noinline)) void name(struct vcpu *cpu,                                          \
                                        const struct insn *i __attribute__((unused)))

/* Byte, word, dword and qword registers by the number that struct insn holds. A 32-bit write
 * clears the upper half (SDM 1 3.4.1.1). */
static inline uint8_t reg_get8(const struct vcpu *cpu, unsigned byte_offset)
{
    return ((const uint8_t *)cpu->gpr)[byte_offset];
}

static inline void reg_set8(struct vcpu *cpu, unsigned byte_offset, uint8_t v)
{
    ((uint8_t *)cpu->gpr)[byte_offset] = v;
}

static inline uint16_t reg_get16(const struct vcpu *cpu, unsigned n)
{
    return (uint16_t)cpu->gpr[n];
}

static inline void reg_set16(struct vcpu *cpu, unsigned n, uint16_t v)
{
    cpu->gpr[n] = (cpu->gpr[n] & ~0xffffull) | v;
}

static inline uint32_t reg_get32(const struct vcpu *cpu, unsigned n)
{
    return (uint32_t)cpu->gpr[n];
}

static inline void reg_set32(struct vcpu *cpu, unsigned n, uint32_t v)
{
    cpu->gpr[n] = v;
}

static inline uint64_t reg_get64(const struct vcpu *cpu, unsigned n)
{
    return cpu->gpr[n];
}

static inline void reg_set64(struct vcpu *cpu, unsigned n, uint64_t v)
{
    cpu->gpr[n] = v;
}

/*
 * Initialisers for the ops column. s is the stem; the op functions are op_<s>_<suffix>.
 *   OPS_1(s)    one function op_s for every size, register or memory (it looks at INSN_MEM)
 *   OPS_RM(s)   op_s_r and op_s_m for every size
 *   OPS_M1(s)   only memory: op_s            OPS_R1(s)  only register: op_s
 *   OPS_B(s)    byte: op_s_r8, op_s_m8       OPS_BR(s)  register or none: op_s_8
 *   OPS_V(s)    op_s_r16/r32/r64/m16/m32/m64
 *   OPS_VM(s)   only memory: op_s_m16/m32/m64
 *   OPS_VR(s)   register or no ModRM: op_s_16/32/64
 *   OPS_V0(s)   op_s_16/32/64 for register and memory alike
 *   OPS_Y(s)    op_s_r32/r64/m32/m64         OPS_Y0(s)  only register: op_s_32/64
 *   OPS_L(s)    by VEX.L: op_s_x_r/x_m for 128 bits, op_s_y_r/y_m for 256
 *   OPS_LR(s)   only register: op_s_x/y      OPS_LM(s)  only memory: op_s_x/y
 */
#define OPS_1(s)                                                                                   \
    {                                                                                              \
        .reg = {op_##s, op_##s, op_##s, op_##s}, .mem = { op_##s, op_##s, op_##s, op_##s }         \
    }
#define OPS_RM(s)                                                                                  \
    {                                                                                              \
        .reg = {op_##s##_r, op_##s##_r, op_##s##_r, op_##s##_r}, .mem = {                          \
            op_##s##_m,                                                                            \
            op_##s##_m,                                                                            \
            op_##s##_m,                                                                            \
            op_##s##_m                                                                             \
        }                                                                                          \
    }
#define OPS_M1(s)                                                                                  \
    {                                                                                              \
        .mem = { op_##s, op_##s, op_##s, op_##s }                                                  \
    }
#define OPS_R1(s)                                                                                  \
    {                                                                                              \
        .reg = { op_##s, op_##s, op_##s, op_##s }                                                  \
    }
#define OPS_B(s)                                                                                   \
    {                                                                                              \
        .reg = {op_##s##_r8}, .mem = { op_##s##_m8 }                                               \
    }
#define OPS_BR(s)                                                                                  \
    {                                                                                              \
        .reg = { op_##s##_8 }                                                                      \
    }
#define OPS_V(s)                                                                                   \
    {                                                                                              \
        .reg = {0, op_##s##_r16, op_##s##_r32, op_##s##_r64}, .mem = {                             \
            0,                                                                                     \
            op_##s##_m16,                                                                          \
            op_##s##_m32,                                                                          \
            op_##s##_m64                                                                           \
        }                                                                                          \
    }
#define OPS_VM(s)                                                                                  \
    {                                                                                              \
        .mem = { 0, op_##s##_m16, op_##s##_m32, op_##s##_m64 }                                     \
    }
#define OPS_VR(s)                                                                                  \
    {                                                                                              \
        .reg = { 0, op_##s##_16, op_##s##_32, op_##s##_64 }                                        \
    }
#define OPS_V0(s)                                                                                  \
    {                                                                                              \
        .reg = {0, op_##s##_16, op_##s##_32, op_##s##_64}, .mem = {                                \
            0,                                                                                     \
            op_##s##_16,                                                                           \
            op_##s##_32,                                                                           \
            op_##s##_64                                                                            \
        }                                                                                          \
    }
#define OPS_L(s)                                                                                   \
    {                                                                                              \
        .reg = {op_##s##_x_r, op_##s##_y_r}, .mem = { op_##s##_x_m, op_##s##_y_m }                 \
    }
#define OPS_LR(s)                                                                                  \
    {                                                                                              \
        .reg = { op_##s##_x, op_##s##_y }                                                          \
    }
#define OPS_LM(s)                                                                                  \
    {                                                                                              \
        .mem = { op_##s##_x, op_##s##_y }                                                          \
    }
#define OPS_Y0(s)                                                                                  \
    {                                                                                              \
        .reg = { 0, 0, op_##s##_32, op_##s##_64 }                                                  \
    }
#define OPS_Y(s)                                                                                   \
    {                                                                                              \
        .reg = {0, 0, op_##s##_r32, op_##s##_r64}, .mem = { 0, 0, op_##s##_m32, op_##s##_m64 }     \
    }

#endif
