/* LZCNT, TZCNT, BMI1, BMI2, ADX. */
#include "cpu/ops/ops.h"

/* op_<name>_r32 and so on: <name>32(cpu, i, a) with a the E operand does all of it. */
#define BMI_FORMS(name, bits)                                                                      \
    OP(name##_r##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i, reg_get##bits(cpu, i->rm));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m##bits)                                                                             \
    {                                                                                              \
        name##bits(cpu, i, mem_read##bits(cpu, i));                                                \
        NEXT;                                                                                      \
    }

/* ---- Counts ---------------------------------------------------------------------------------- */

static inline void count_done(struct vcpu *cpu, unsigned count, unsigned bits)
{
    flags_update(cpu, EFLAGS_CF | EFLAGS_ZF,
                 (count == bits ? EFLAGS_CF : 0) | (count == 0 ? EFLAGS_ZF : 0));
}

#define BMI_COUNTS(bits)                                                                           \
    static inline void tzcnt##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)       \
    {                                                                                              \
        unsigned n = a == 0 ? bits : (unsigned)__builtin_ctzll(a);                                 \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)n);                                             \
        count_done(cpu, n, bits);                                                                  \
    }                                                                                              \
    static inline void lzcnt##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)       \
    {                                                                                              \
        unsigned n = a == 0 ? bits : (unsigned)__builtin_clzll(a) - (64 - bits);                   \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)n);                                             \
        count_done(cpu, n, bits);                                                                  \
    }                                                                                              \
    BMI_FORMS(tzcnt, bits)                                                                         \
    BMI_FORMS(lzcnt, bits)

BMI_COUNTS(16)
BMI_COUNTS(32)
BMI_COUNTS(64)

/* ---- Bit fields ------------------------------------------------------------------------------ */

/* The bits of the source to the places of the mask's bits, and back. */
static inline uint64_t deposit(uint64_t source, uint64_t mask)
{
    uint64_t r = 0;

    for (; mask != 0; mask &= mask - 1, source >>= 1)
        r |= source & 1 ? mask & -mask : 0;
    return r;
}

static inline uint64_t extract(uint64_t source, uint64_t mask)
{
    uint64_t r = 0;

    for (uint64_t place = 1; mask != 0; mask &= mask - 1, place <<= 1)
        r |= source & mask & -mask ? place : 0;
    return r;
}

#define BMI_FIELDS(bits)                                                                           \
    static inline void andn##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        uint##bits##_t r = ~reg_get##bits(cpu, i->vvvv) & a;                                       \
        reg_set##bits(cpu, i->reg, r);                                                             \
        flags_logic##bits(cpu, r);                                                                 \
    }                                                                                              \
    static inline void bextr##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)       \
    {                                                                                              \
        unsigned start = reg_get##bits(cpu, i->vvvv) & 0xff;                                       \
        unsigned length = (reg_get##bits(cpu, i->vvvv) >> 8) & 0xff;                               \
        uint##bits##_t r = start < bits ? a >> start : 0;                                          \
        if (length < bits)                                                                         \
            r &= ((uint##bits##_t)1 << length) - 1;                                                \
        reg_set##bits(cpu, i->reg, r);                                                             \
        flags_logic##bits(cpu, r);                                                                 \
    }                                                                                              \
    static inline void bzhi##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        unsigned n = reg_get##bits(cpu, i->vvvv) & 0xff;                                           \
        uint##bits##_t r = n < bits ? a & (((uint##bits##_t)1 << n) - 1) : a;                      \
        reg_set##bits(cpu, i->reg, r);                                                             \
        flags_result_co##bits(cpu, r, n >= bits, false);                                           \
    }                                                                                              \
    static inline void blsr##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        uint##bits##_t r = a & (a - 1);                                                            \
        reg_set##bits(cpu, i->vvvv, r);                                                            \
        flags_result_co##bits(cpu, r, a == 0, false);                                              \
    }                                                                                              \
    static inline void blsmsk##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)      \
    {                                                                                              \
        uint##bits##_t r = a ^ (a - 1);                                                            \
        reg_set##bits(cpu, i->vvvv, r);                                                            \
        flags_result_co##bits(cpu, r, a == 0, false);                                              \
    }                                                                                              \
    static inline void blsi##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        uint##bits##_t r = a & -a;                                                                 \
        reg_set##bits(cpu, i->vvvv, r);                                                            \
        flags_result_co##bits(cpu, r, a != 0, false);                                              \
    }                                                                                              \
    static inline void pdep##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        uint64_t r = deposit(reg_get##bits(cpu, i->vvvv), a);                                      \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)r);                                             \
    }                                                                                              \
    static inline void pext##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        uint64_t r = extract(reg_get##bits(cpu, i->vvvv), a);                                      \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)r);                                             \
    }                                                                                              \
    BMI_FORMS(andn, bits)                                                                          \
    BMI_FORMS(bextr, bits)                                                                         \
    BMI_FORMS(bzhi, bits)                                                                          \
    BMI_FORMS(blsr, bits)                                                                          \
    BMI_FORMS(blsmsk, bits)                                                                        \
    BMI_FORMS(blsi, bits)                                                                          \
    BMI_FORMS(pdep, bits)                                                                          \
    BMI_FORMS(pext, bits)

BMI_FIELDS(32)
BMI_FIELDS(64)

/* ---- Shifts, multiplication, addition with one flag -------------------------------------------
 */

/* The lower half is written first: with one register for both it holds the upper half. */
#define BMI_ARITHMETIC(bits, wide)                                                                 \
    static inline void shlx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, a << (reg_get##bits(cpu, i->vvvv) & (bits - 1)));               \
    }                                                                                              \
    static inline void shrx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        reg_set##bits(cpu, i->reg, a >> (reg_get##bits(cpu, i->vvvv) & (bits - 1)));               \
    }                                                                                              \
    static inline void sarx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        unsigned n = reg_get##bits(cpu, i->vvvv) & (bits - 1);                                     \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)((int##bits##_t)a >> n));                       \
    }                                                                                              \
    static inline void rorx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        unsigned n = i->imm & (bits - 1);                                                          \
        reg_set##bits(cpu, i->reg, a >> n | a << (-n & (bits - 1)));                               \
    }                                                                                              \
    static inline void mulx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        wide product = (wide)reg_get##bits(cpu, GPR_RDX) * a;                                      \
        reg_set##bits(cpu, i->vvvv, (uint##bits##_t)product);                                      \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)(product >> bits));                             \
    }                                                                                              \
    static inline void adcx##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        wide sum = (wide)reg_get##bits(cpu, i->reg) + a + flag_cf(cpu);                            \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)sum);                                           \
        flags_set_co(cpu, (sum >> bits) != 0, flag_of(cpu));                                       \
    }                                                                                              \
    static inline void adox##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t a)        \
    {                                                                                              \
        wide sum = (wide)reg_get##bits(cpu, i->reg) + a + flag_of(cpu);                            \
        reg_set##bits(cpu, i->reg, (uint##bits##_t)sum);                                           \
        flags_set_co(cpu, flag_cf(cpu), (sum >> bits) != 0);                                       \
    }                                                                                              \
    BMI_FORMS(shlx, bits)                                                                          \
    BMI_FORMS(shrx, bits)                                                                          \
    BMI_FORMS(sarx, bits)                                                                          \
    BMI_FORMS(rorx, bits)                                                                          \
    BMI_FORMS(mulx, bits)                                                                          \
    BMI_FORMS(adcx, bits)                                                                          \
    BMI_FORMS(adox, bits)

BMI_ARITHMETIC(32, uint64_t)
BMI_ARITHMETIC(64, unsigned __int128)
