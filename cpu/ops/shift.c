/*
 * SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD.
 *
 * Counts are masked to 5 bits, 6 for 64-bit operands; a masked count of 0 changes no flag. OF is
 * defined by the manual for a count of 1 only; for others it is what the same formula gives, as
 * processors do. Source: SDM 2B "SAL/SAR/SHL/SHR", "RCL/RCR/ROL/ROR", "SHLD", "SHRD".
 */
#include "cpu/ops/alu.h"

#define COUNT_MASK_8  31
#define COUNT_MASK_16 31
#define COUNT_MASK_32 31
#define COUNT_MASK_64 63

#define SHIFT_VALUES(bits)                                                                         \
    static inline bool msb##bits(uint##bits##_t v)                                                 \
    {                                                                                              \
        return v >> (bits - 1);                                                                    \
    }                                                                                              \
    static inline uint##bits##_t shl_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return (uint##bits##_t)((uint64_t)a << n);                                                 \
    }                                                                                              \
    static inline void shl_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        bool cf = n <= bits ? ((uint64_t)a >> (bits - n)) & 1 : 0;                                 \
        flags_result_co##bits(cpu, r, cf, msb##bits(r) ^ cf);                                      \
    }                                                                                              \
    static inline uint##bits##_t shr_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return (uint##bits##_t)((uint64_t)a >> n);                                                 \
    }                                                                                              \
    static inline void shr_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        bool cf = ((uint64_t)a >> (n - 1)) & 1;                                                    \
        flags_result_co##bits(cpu, r, cf, msb##bits(r) ^ msb##bits((uint##bits##_t)(r << 1)));     \
    }                                                                                              \
    static inline uint##bits##_t sar_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        (void)cpu;                                                                                 \
        return (uint##bits##_t)((int64_t)(int##bits##_t)a >> n);                                   \
    }                                                                                              \
    static inline void sar_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        bool cf = ((int64_t)(int##bits##_t)a >> (n - 1)) & 1;                                      \
        flags_result_co##bits(cpu, r, cf, false);                                                  \
    }                                                                                              \
    static inline uint##bits##_t rol_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        (void)cpu;                                                                                 \
        n &= bits - 1;                                                                             \
        return n == 0 ? a : (uint##bits##_t)((uint64_t)a << n | (uint64_t)a >> (bits - n));        \
    }                                                                                              \
    static inline void rol_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)n;                                                                                   \
        flags_set_co(cpu, r & 1, msb##bits(r) ^ (r & 1));                                          \
    }                                                                                              \
    static inline uint##bits##_t ror_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        return rol_value##bits(cpu, a, bits - (n & (bits - 1)));                                   \
    }                                                                                              \
    static inline void ror_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        (void)a;                                                                                   \
        (void)n;                                                                                   \
        flags_set_co(cpu, msb##bits(r), msb##bits(r) ^ msb##bits((uint##bits##_t)(r << 1)));       \
    }                                                                                              \
    /* RCL and RCR rotate bits + 1 positions; n is reduced modulo that; 0 leaves CF. */            \
    static inline uint##bits##_t rcl_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        uint64_t wide = a;                                                                         \
        if (n == 0)                                                                                \
            return a;                                                                              \
        return (uint##bits##_t)(wide << n | (uint64_t)flag_cf(cpu) << (n - 1) |                    \
                                (n > 1 ? wide >> (bits + 1 - n) : 0));                             \
    }                                                                                              \
    static inline void rcl_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        bool cf = n == 0 ? flag_cf(cpu) : ((uint64_t)a >> (bits - n)) & 1;                         \
        flags_set_co(cpu, cf, msb##bits(r) ^ cf);                                                  \
    }                                                                                              \
    static inline uint##bits##_t rcr_value##bits(const struct vcpu *cpu, uint##bits##_t a,         \
                                                 unsigned n)                                       \
    {                                                                                              \
        uint64_t wide = a;                                                                         \
        if (n == 0)                                                                                \
            return a;                                                                              \
        return (uint##bits##_t)(wide >> n | (uint64_t)flag_cf(cpu) << (bits - n) |                 \
                                (n > 1 ? wide << (bits + 1 - n) : 0));                             \
    }                                                                                              \
    static inline void rcr_flags##bits(struct vcpu *cpu, uint##bits##_t a, unsigned n,             \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        bool cf = n == 0 ? flag_cf(cpu) : ((uint64_t)a >> (n - 1)) & 1;                            \
        flags_set_co(cpu, cf, msb##bits(r) ^ msb##bits((uint##bits##_t)(r << 1)));                 \
    }

SHIFT_VALUES(8)
SHIFT_VALUES(16)
SHIFT_VALUES(32)
SHIFT_VALUES(64)

/* Effective count of a masked count. */
static inline unsigned plain_count(unsigned n, unsigned bits)
{
    (void)bits;
    return n;
}

static inline unsigned through_carry_count(unsigned n, unsigned bits)
{
    return bits < 32 ? n % (bits + 1) : n;
}

/* Operand forms of one shift: reduce is the function that makes the effective count. */
#define SHIFT_FORMS(name, bits, reduce)                                                            \
    static inline void name##_reg##bits(struct vcpu *cpu, const struct insn *i, unsigned count)    \
    {                                                                                              \
        unsigned masked = count & COUNT_MASK_##bits, n = reduce(masked, bits);                     \
        uint##bits##_t a = reg_get##bits(cpu, i->rm);                                              \
        uint##bits##_t r = name##_value##bits(cpu, a, n);                                          \
        reg_set##bits(cpu, i->rm, r);                                                              \
        if (masked != 0)                                                                           \
            name##_flags##bits(cpu, a, n, r);                                                      \
    }                                                                                              \
    static inline void name##_mem##bits(struct vcpu *cpu, const struct insn *i, unsigned count)    \
    {                                                                                              \
        unsigned masked = count & COUNT_MASK_##bits, n = reduce(masked, bits);                     \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), r;                                     \
        do {                                                                                       \
            r = name##_value##bits(cpu, a, n);                                                     \
        } while (!mem_rmw_commit##bits(cpu, i, &m, &a, r));                                        \
        if (masked != 0)                                                                           \
            name##_flags##bits(cpu, a, n, r);                                                      \
    }                                                                                              \
    OP(name##_I_r##bits)                                                                           \
    {                                                                                              \
        name##_reg##bits(cpu, i, (unsigned)i->imm);                                                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_I_m##bits)                                                                           \
    {                                                                                              \
        name##_mem##bits(cpu, i, (unsigned)i->imm);                                                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_1_r##bits)                                                                           \
    {                                                                                              \
        name##_reg##bits(cpu, i, 1);                                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_1_m##bits)                                                                           \
    {                                                                                              \
        name##_mem##bits(cpu, i, 1);                                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_CL_r##bits)                                                                          \
    {                                                                                              \
        name##_reg##bits(cpu, i, reg_get8(cpu, REG_CL));                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_CL_m##bits)                                                                          \
    {                                                                                              \
        name##_mem##bits(cpu, i, reg_get8(cpu, REG_CL));                                           \
        NEXT;                                                                                      \
    }

#define SHIFT_ALL(name, reduce)                                                                    \
    SHIFT_FORMS(name, 8, reduce)                                                                   \
    SHIFT_FORMS(name, 16, reduce)                                                                  \
    SHIFT_FORMS(name, 32, reduce)                                                                  \
    SHIFT_FORMS(name, 64, reduce)

SHIFT_ALL(shl, plain_count)
SHIFT_ALL(shr, plain_count)
SHIFT_ALL(sar, plain_count)
SHIFT_ALL(rol, plain_count)
SHIFT_ALL(ror, plain_count)
SHIFT_ALL(rcl, through_carry_count)
SHIFT_ALL(rcr, through_carry_count)

/*
 * SHLD and SHRD shift a into the space that b's bits fill. n is 1 to bits - 1, but 16-bit operands
 * take counts to 31: beyond 16, where the manual says undefined, the bits come from b again
 * and CF is 0.
 */
static inline uint16_t shld_value16(uint16_t a, uint16_t b, unsigned n)
{
    return (uint16_t)(((uint64_t)a << 32 | (uint64_t)b << 16 | b) << n >> 32);
}

static inline uint16_t shrd_value16(uint16_t a, uint16_t b, unsigned n)
{
    return (uint16_t)(((uint64_t)b << 32 | (uint64_t)b << 16 | a) >> n);
}

/* The last bit shifted out. */
static inline bool shld_carry16(uint16_t a, uint16_t b, unsigned n)
{
    (void)b;
    return n <= 16 ? (a >> (16 - n)) & 1 : 0;
}

static inline bool shrd_carry16(uint16_t a, uint16_t b, unsigned n)
{
    (void)b;
    return (a >> (n - 1)) & 1;
}

#define DOUBLE_SHIFT_VALUES(bits)                                                                  \
    static inline uint##bits##_t shld_value##bits(uint##bits##_t a, uint##bits##_t b, unsigned n)  \
    {                                                                                              \
        return a << n | b >> (bits - n);                                                           \
    }                                                                                              \
    static inline uint##bits##_t shrd_value##bits(uint##bits##_t a, uint##bits##_t b, unsigned n)  \
    {                                                                                              \
        return a >> n | b << (bits - n);                                                           \
    }                                                                                              \
    static inline bool shld_carry##bits(uint##bits##_t a, uint##bits##_t b, unsigned n)            \
    {                                                                                              \
        (void)b;                                                                                   \
        return (a >> (bits - n)) & 1;                                                              \
    }                                                                                              \
    static inline bool shrd_carry##bits(uint##bits##_t a, uint##bits##_t b, unsigned n)            \
    {                                                                                              \
        (void)b;                                                                                   \
        return (a >> (n - 1)) & 1;                                                                 \
    }

DOUBLE_SHIFT_VALUES(32)
DOUBLE_SHIFT_VALUES(64)

/* OF as after the simple shifts: for a count of 1 it says that the sign changed. */
#define DOUBLE_SHIFT_FLAGS(bits)                                                                   \
    static inline void shld_flags##bits(struct vcpu *cpu, uint##bits##_t r, bool cf)               \
    {                                                                                              \
        flags_result_co##bits(cpu, r, cf, msb##bits(r) ^ cf);                                      \
    }                                                                                              \
    static inline void shrd_flags##bits(struct vcpu *cpu, uint##bits##_t r, bool cf)               \
    {                                                                                              \
        flags_result_co##bits(cpu, r, cf, msb##bits(r) ^ msb##bits((uint##bits##_t)(r << 1)));     \
    }

DOUBLE_SHIFT_FLAGS(16)
DOUBLE_SHIFT_FLAGS(32)
DOUBLE_SHIFT_FLAGS(64)

#define DOUBLE_SHIFT_FORMS(name, bits)                                                             \
    static inline void name##_reg##bits(struct vcpu *cpu, const struct insn *i, unsigned count)    \
    {                                                                                              \
        unsigned n = count & COUNT_MASK_##bits;                                                    \
        uint##bits##_t a = reg_get##bits(cpu, i->rm), b = reg_get##bits(cpu, i->reg);              \
        uint##bits##_t r = n == 0 ? a : name##_value##bits(a, b, n);                               \
        reg_set##bits(cpu, i->rm, r);                                                              \
        if (n != 0)                                                                                \
            name##_flags##bits(cpu, r, name##_carry##bits(a, b, n));                               \
    }                                                                                              \
    static inline void name##_mem##bits(struct vcpu *cpu, const struct insn *i, unsigned count)    \
    {                                                                                              \
        unsigned n = count & COUNT_MASK_##bits;                                                    \
        struct mem_rmw m;                                                                          \
        uint##bits##_t a = mem_rmw_begin##bits(cpu, i, &m), b = reg_get##bits(cpu, i->reg), r;     \
        do {                                                                                       \
            r = n == 0 ? a : name##_value##bits(a, b, n);                                          \
        } while (!mem_rmw_commit##bits(cpu, i, &m, &a, r));                                        \
        if (n != 0)                                                                                \
            name##_flags##bits(cpu, r, name##_carry##bits(a, b, n));                               \
    }                                                                                              \
    OP(name##_I_r##bits)                                                                           \
    {                                                                                              \
        name##_reg##bits(cpu, i, (unsigned)i->imm);                                                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_I_m##bits)                                                                           \
    {                                                                                              \
        name##_mem##bits(cpu, i, (unsigned)i->imm);                                                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_CL_r##bits)                                                                          \
    {                                                                                              \
        name##_reg##bits(cpu, i, reg_get8(cpu, REG_CL));                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_CL_m##bits)                                                                          \
    {                                                                                              \
        name##_mem##bits(cpu, i, reg_get8(cpu, REG_CL));                                           \
        NEXT;                                                                                      \
    }

DOUBLE_SHIFT_FORMS(shld, 16)
DOUBLE_SHIFT_FORMS(shld, 32)
DOUBLE_SHIFT_FORMS(shld, 64)
DOUBLE_SHIFT_FORMS(shrd, 16)
DOUBLE_SHIFT_FORMS(shrd, 32)
DOUBLE_SHIFT_FORMS(shrd, 64)
