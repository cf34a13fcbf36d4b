/*
 * x87 arithmetic and comparisons: FADD, FMUL, FSUB, FSUBR, FDIV, FDIVR with every kind of operand;
 * FCOM, FUCOM, FCOMI, FICOM, FTST, FXAM. Source: Intel SDM volume 2A, there; volume
 * 1, 8.3.5, 8.3.6.
 */
#include "cpu/ops/x87.h"

/* ---- Two registers ------------------------------------------------------------------------- */

/* ST(dest) = ST(dest) op ST(other), or the reverse. */
static inline void arith_registers(struct vcpu *cpu, const struct insn *i, x87_host_binary_fn *host,
                                   x87_binary_fn *soft, unsigned dest, unsigned other, bool reverse,
                                   unsigned pops)
{
    struct float80 *d = x87_st(cpu, dest), *o = x87_st(cpu, other);
    bool stands;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (unlikely(x87_empty(cpu, dest) || x87_empty(cpu, other)))
        stands = x87_underflow(cpu, dest);
    else
        stands = x87_compute(cpu, host, soft, d, reverse ? o : d, reverse ? d : o);
    if (stands)
        x87_pop(cpu, pops);
}

/* ---- A register and memory ----------------------------------------------------------------- */

/* ST = ST op operand, in the soft-float. A denormal operand in memory counts unless something
 * worse, or a NaN, comes before it. */
static void arith_soft(struct vcpu *cpu, x87_binary_fn *fn, struct float80 operand,
                       unsigned denormal, bool reverse)
{
    struct float80 *st = x87_st(cpu, 0), r;
    unsigned happened;

    if (unlikely(x87_empty(cpu, 0))) {
        x87_underflow(cpu, 0);
        return;
    }
    happened =
        reverse ? fn(cpu->x87.control, &r, &operand, st) : fn(cpu->x87.control, &r, st, &operand);
    if (unlikely(denormal) && !(happened & (SW_IE | SW_ZE)) &&
        ((r.sign_exponent & 0x7fff) != 0x7fff || r.significand == BIT64(63)))
        happened |= denormal;
    if (x87_settle(cpu, happened, X87_BLOCKING))
        *st = r;
}

/* An operand in memory as an f80, and SW_DE if it was a denormal. */
static inline struct float80 widen_m32(uint32_t raw, unsigned *denormal)
{
    return x87_widen32(raw, denormal);
}

static inline struct float80 widen_m64(uint64_t raw, unsigned *denormal)
{
    return x87_widen64(raw, denormal);
}

static inline struct float80 widen_i16(uint16_t raw, unsigned *denormal)
{
    *denormal = 0;
    return sf80_from_i64((int16_t)raw);
}

static inline struct float80 widen_i32(uint32_t raw, unsigned *denormal)
{
    *denormal = 0;
    return sf80_from_i64((int32_t)raw);
}

#define ARITH_MEMORY(name, unit, type, bits, reverse)                                              \
    OP(name##_##type)                                                                              \
    {                                                                                              \
        uint##bits##_t raw;                                                                        \
        x87_begin(cpu, i);                                                                         \
        raw = mem_read##bits(cpu, i);                                                              \
        x87_note(cpu, i);                                                                          \
        if (X87_FAST(cpu) && likely(!x87_empty(cpu, 0))) {                                         \
            x87_settle_masked(cpu, x87_host_##name##_##type(x87_st(cpu, 0), raw));                 \
        } else {                                                                                   \
            unsigned denormal;                                                                     \
            struct float80 operand = widen_##type(raw, &denormal);                                 \
            arith_soft(cpu, x87_soft_##unit, operand, denormal, reverse);                          \
        }                                                                                          \
        NEXT;                                                                                      \
    }

#define ARITH(name, unit, reverse)                                                                 \
    OP(name##_st0_sti)                                                                             \
    {                                                                                              \
        arith_registers(cpu, i, X87_UNIT(unit), 0, i->rm & 7, reverse, 0);                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_sti_st0)                                                                             \
    {                                                                                              \
        arith_registers(cpu, i, X87_UNIT(unit), i->rm & 7, 0, reverse, 0);                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##p)                                                                                    \
    {                                                                                              \
        arith_registers(cpu, i, X87_UNIT(unit), i->rm & 7, 0, reverse, 1);                         \
        NEXT;                                                                                      \
    }                                                                                              \
    ARITH_MEMORY(name, unit, m32, 32, reverse)                                                     \
    ARITH_MEMORY(name, unit, m64, 64, reverse)                                                     \
    ARITH_MEMORY(name, unit, i16, 16, reverse)                                                     \
    ARITH_MEMORY(name, unit, i32, 32, reverse)

ARITH(fadd, add, false)
ARITH(fmul, mul, false)
ARITH(fsub, sub, false)
ARITH(fsubr, sub, true)
ARITH(fdiv, div, false)
ARITH(fdivr, div, true)

/* ---- Comparisons --------------------------------------------------------------------------- */

static unsigned conditions_of(enum softfloat_relation relation)
{
    switch (relation) {
    case SOFTFLOAT_LESS:
        return SW_C0;
    case SOFTFLOAT_EQUAL:
        return SW_C3;
    case SOFTFLOAT_GREATER:
        return 0;
    default:
        return SW_C0 | SW_C2 | SW_C3;
    }
}

/* Compares ST with b, if both are there. The conditions are set even where an unmasked exception
 * keeps the stack from being popped: *conditions. */
static inline bool compare(struct vcpu *cpu, bool empty, const struct float80 *b, unsigned denormal,
                           bool quiet, unsigned *conditions)
{
    struct softfloat_env env = {0};
    enum softfloat_relation relation;

    if (unlikely(empty || x87_empty(cpu, 0))) {
        *conditions = conditions_of(SOFTFLOAT_UNORDERED);
        return x87_settle(cpu, X87_UNDERFLOW, X87_BLOCKING);
    }
    if (X87_FAST(cpu)) {
        unsigned happened = x87_host_compare(x87_st(cpu, 0), b, quiet);

        if (!(happened & SW_C2))
            happened |= denormal;
        *conditions = happened & X87_CONDITIONS;
        x87_settle_masked(cpu, happened);
        return true;
    }
    relation = sf80_compare(&env, *x87_st(cpu, 0), *b, quiet);
    if (relation != SOFTFLOAT_UNORDERED)
        env.flags |= denormal;
    *conditions = conditions_of(relation);
    return x87_settle(cpu, env.flags, X87_BLOCKING);
}

static inline void compare_registers(struct vcpu *cpu, const struct insn *i, unsigned n, bool quiet,
                                     unsigned pops)
{
    unsigned conditions;
    bool stands;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    stands = compare(cpu, x87_empty(cpu, n), x87_st(cpu, n), 0, quiet, &conditions);
    x87_set_conditions(cpu, conditions);
    if (stands)
        x87_pop(cpu, pops);
}

static inline void compare_memory(struct vcpu *cpu, const struct insn *i, struct float80 operand,
                                  unsigned denormal, unsigned pops)
{
    unsigned conditions;
    bool stands;

    x87_note(cpu, i);
    stands = compare(cpu, false, &operand, denormal, false, &conditions);
    x87_set_conditions(cpu, conditions);
    if (stands)
        x87_pop(cpu, pops);
}

/* FCOMI and friends: ZF, PF, CF in place of C3, C2, C0 (SDM 1 table 8-7). */
static inline void compare_to_eflags(struct vcpu *cpu, const struct insn *i, bool quiet,
                                     unsigned pops)
{
    unsigned n = i->rm & 7, conditions;
    bool stands;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    stands = compare(cpu, x87_empty(cpu, n), x87_st(cpu, n), 0, quiet, &conditions);
    flags_set(cpu, (conditions & SW_C3 ? EFLAGS_ZF : 0) | (conditions & SW_C2 ? EFLAGS_PF : 0) |
                       (conditions & SW_C0 ? EFLAGS_CF : 0));
    if (stands)
        x87_pop(cpu, pops);
}

#define COMPARE_REGISTERS(name, n, quiet, pops)                                                    \
    OP(name)                                                                                       \
    {                                                                                              \
        compare_registers(cpu, i, n, quiet, pops);                                                 \
        NEXT;                                                                                      \
    }

COMPARE_REGISTERS(fcom_sti, i->rm & 7, false, 0)
COMPARE_REGISTERS(fcomp_sti, i->rm & 7, false, 1)
COMPARE_REGISTERS(fcompp, 1, false, 2)
COMPARE_REGISTERS(fucom, i->rm & 7, true, 0)
COMPARE_REGISTERS(fucomp, i->rm & 7, true, 1)
COMPARE_REGISTERS(fucompp, 1, true, 2)

#define COMPARE_MEMORY(name, pops)                                                                 \
    OP(name##_m32)                                                                                 \
    {                                                                                              \
        struct float80 operand;                                                                    \
        unsigned denormal;                                                                         \
        x87_begin(cpu, i);                                                                         \
        operand = x87_widen32(mem_read32(cpu, i), &denormal);                                      \
        compare_memory(cpu, i, operand, denormal, pops);                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m64)                                                                                 \
    {                                                                                              \
        struct float80 operand;                                                                    \
        unsigned denormal;                                                                         \
        x87_begin(cpu, i);                                                                         \
        operand = x87_widen64(mem_read64(cpu, i), &denormal);                                      \
        compare_memory(cpu, i, operand, denormal, pops);                                           \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_i16)                                                                                 \
    {                                                                                              \
        x87_begin(cpu, i);                                                                         \
        compare_memory(cpu, i, sf80_from_i64((int16_t)mem_read16(cpu, i)), 0, pops);               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_i32)                                                                                 \
    {                                                                                              \
        x87_begin(cpu, i);                                                                         \
        compare_memory(cpu, i, sf80_from_i64((int32_t)mem_read32(cpu, i)), 0, pops);               \
        NEXT;                                                                                      \
    }

COMPARE_MEMORY(fcom, 0)
COMPARE_MEMORY(fcomp, 1)

OP(fcomi)
{
    compare_to_eflags(cpu, i, false, 0);
    NEXT;
}

OP(fcomip)
{
    compare_to_eflags(cpu, i, false, 1);
    NEXT;
}

OP(fucomi)
{
    compare_to_eflags(cpu, i, true, 0);
    NEXT;
}

OP(fucomip)
{
    compare_to_eflags(cpu, i, true, 1);
    NEXT;
}

OP(ftst)
{
    x87_begin(cpu, i);
    compare_memory(cpu, i, (struct float80){0}, 0, 0);
    NEXT;
}

OP(fxam)
{
    static const uint16_t conditions[] = {
        [SF80_UNSUPPORTED] = 0,
        [SF80_QNAN] = SW_C0,
        [SF80_SNAN] = SW_C0,
        [SF80_NORMAL] = SW_C2,
        [SF80_INFINITY] = SW_C2 | SW_C0,
        [SF80_ZERO] = SW_C3,
        [SF80_DENORMAL] = SW_C3 | SW_C2,
    };
    const struct float80 *st = x87_st(cpu, 0);

    x87_begin(cpu, i);
    x87_note(cpu, i);
    x87_set_conditions(cpu, x87_empty(cpu, 0) ? SW_C3 | SW_C0 : conditions[sf80_classify(*st)]);
    /* The sign, of empty registers too. */
    cpu->x87.status &= (uint16_t)~SW_C1;
    if (st->sign_exponent & 0x8000)
        cpu->x87.status |= SW_C1;
    NEXT;
}
