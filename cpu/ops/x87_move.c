/*
 * x87 loads, stores and exchanges: FLD, FST, FSTP, FILD, FIST, FISTP, FISTTP, FBLD, FBSTP, FXCH,
 * FCMOVcc. Source: Intel SDM volume 2A, there; volume 1, 8.3.3.
 */
#include "cpu/ops/x87.h"

/* ---- Loads ----------------------------------------------------------------------------------- */

/* Pushes what a load brought; memory has been read. A denormal is pushed even if it then raises its
 * exception: processors do, against the general rule. */
static inline void load(struct vcpu *cpu, const struct insn *i, struct float80 value,
                        unsigned happened)
{
    x87_note(cpu, i);
    if (unlikely(!x87_empty(cpu, 7))) {
        happened = X87_OVERFLOW;
        value = SF80_DEFAULT_NAN;
    }
    if (x87_settle(cpu, happened, SW_IE))
        x87_push(cpu, value);
}

static __attribute__((noinline)) void load_special32(struct vcpu *cpu, const struct insn *i,
                                                     uint32_t raw)
{
    struct softfloat_env env = {0};
    struct float80 value = sf32_to_f80(&env, raw);

    load(cpu, i, value, env.flags);
}

static __attribute__((noinline)) void load_special64(struct vcpu *cpu, const struct insn *i,
                                                     uint64_t raw)
{
    struct softfloat_env env = {0};
    struct float80 value = sf64_to_f80(&env, raw);

    load(cpu, i, value, env.flags);
}

OP(fld_m32)
{
    uint32_t raw, exponent;

    x87_begin(cpu, i);
    raw = mem_read32(cpu, i);
    exponent = raw >> 23 & 0xff;
    if (likely(exponent - 1 < 0xfe))
        load(cpu, i,
             (struct float80){BIT64(63) | (uint64_t)raw << 40,
                              (uint16_t)((raw >> 16 & 0x8000) | (exponent + 16383 - 127))},
             0);
    else
        load_special32(cpu, i, raw);
    NEXT;
}

OP(fld_m64)
{
    uint64_t raw;
    uint32_t exponent;

    x87_begin(cpu, i);
    raw = mem_read64(cpu, i);
    exponent = raw >> 52 & 0x7ff;
    if (likely(exponent - 1 < 0x7fe))
        load(cpu, i,
             (struct float80){BIT64(63) | raw << 11,
                              (uint16_t)((raw >> 48 & 0x8000) | (exponent + 16383 - 1023))},
             0);
    else
        load_special64(cpu, i, raw);
    NEXT;
}

static __attribute__((noinline)) void load_bytes(struct vcpu *cpu, const struct insn *i,
                                                 uint64_t linear)
{
    struct float80 value;
    uint8_t bytes[10];

    mem_load_bytes(cpu, i, linear, bytes, sizeof(bytes));
    value.significand = guest_load64(bytes);
    value.sign_exponent = guest_load16(bytes + 8);
    load(cpu, i, value, 0);
}

OP(fld_m80)
{
    struct float80 value;
    uint64_t linear;
    const uint8_t *p;

    x87_begin(cpu, i);
    linear = mem_linear(cpu, i, 10, MMU_READ);
    p = tlb_find_read(&cpu->mmu, linear, 10);
    if (likely(p != NULL)) {
        value.significand = guest_load64(p);
        value.sign_exponent = guest_load16(p + 8);
        load(cpu, i, value, 0);
    } else {
        load_bytes(cpu, i, linear);
    }
    NEXT;
}

OP(fld_sti)
{
    struct float80 value = *x87_st(cpu, i->rm & 7);

    x87_begin(cpu, i);
    if (likely(!x87_empty(cpu, i->rm & 7))) {
        load(cpu, i, value, 0);
    } else {
        /* Underflow, even if there is no room for the result either. */
        x87_note(cpu, i);
        if (x87_settle(cpu, X87_UNDERFLOW, SW_IE))
            x87_push(cpu, SF80_DEFAULT_NAN);
    }
    NEXT;
}

OP(fild_m16)
{
    x87_begin(cpu, i);
    load(cpu, i, sf80_from_i64((int16_t)mem_read16(cpu, i)), 0);
    NEXT;
}

OP(fild_m32)
{
    x87_begin(cpu, i);
    load(cpu, i, sf80_from_i64((int32_t)mem_read32(cpu, i)), 0);
    NEXT;
}

OP(fild_m64)
{
    x87_begin(cpu, i);
    load(cpu, i, sf80_from_i64((int64_t)mem_read64(cpu, i)), 0);
    NEXT;
}

static OP_BODY(load_decimal)
{
    uint8_t bcd[10];

    mem_load_bytes(cpu, i, mem_linear(cpu, i, sizeof(bcd), MMU_READ), bcd, sizeof(bcd));
    load(cpu, i, sf80_from_bcd(bcd), 0);
}

OP(fbld)
{
    x87_begin(cpu, i);
    load_decimal(cpu, i);
    NEXT;
}

/* ---- Stores ---------------------------------------------------------------------------------- */

/* After the memory write, if there was one. */
static inline void stored(struct vcpu *cpu, const struct insn *i, unsigned happened, unsigned pops)
{
    x87_note(cpu, i);
    if (x87_settle(cpu, happened, X87_BLOCKING_STORE))
        x87_pop(cpu, pops);
}

/* A store that an unmasked exception prevents still faults if it cannot write. */
static void probe(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t linear = mem_linear(cpu, i, size, MMU_WRITE);

    if (tlb_find_write(&cpu->mmu, linear, size) == NULL)
        mem_probe_write(cpu, i, linear, size);
}

/* In the soft-float: `bits` of memory, the conversion of ST, what an empty register is stored as.
 */
#define STORE_SOFT(bits, conversion, indefinite, pops)                                             \
    do {                                                                                           \
        struct softfloat_env env = x87_env(cpu->x87.control);                                      \
        uint##bits##_t value;                                                                      \
        unsigned happened;                                                                         \
        x87_begin(cpu, i);                                                                         \
        if (likely(!x87_empty(cpu, 0))) {                                                          \
            struct float80 st = *x87_st(cpu, 0);                                                   \
            value = (uint##bits##_t)conversion;                                                    \
            happened = x87_env_status(&env);                                                       \
        } else {                                                                                   \
            value = (uint##bits##_t)indefinite;                                                    \
            happened = X87_UNDERFLOW;                                                              \
        }                                                                                          \
        if (likely(!x87_blocked(cpu, happened, X87_BLOCKING_STORE)))                               \
            mem_write##bits(cpu, i, value);                                                        \
        else                                                                                       \
            probe(cpu, i, bits / 8);                                                               \
        stored(cpu, i, happened, pops);                                                            \
    } while (0)

/* On the host, if nothing can fault any more: its flags must not get ahead of the guest's. */
#define STORE(name, bits, host, conversion, indefinite, pops)                                      \
    static OP_BODY(soft_##name)                                                                    \
    {                                                                                              \
        STORE_SOFT(bits, conversion, indefinite, pops);                                            \
    }                                                                                              \
    OP(name)                                                                                       \
    {                                                                                              \
        uint##bits##_t *p;                                                                         \
        x87_begin(cpu, i);                                                                         \
        p = tlb_find_write(&cpu->mmu, mem_linear(cpu, i, bits / 8, MMU_WRITE), bits / 8);          \
        if (X87_FAST(cpu) && likely(!x87_empty(cpu, 0)) && likely(p != NULL)) {                    \
            uint##bits##_t value;                                                                  \
            unsigned happened = x87_host_##host(x87_st(cpu, 0), &value);                           \
            guest_store##bits(p, value);                                                           \
            x87_note(cpu, i);                                                                      \
            x87_settle_masked(cpu, happened);                                                      \
            x87_pop(cpu, pops);                                                                    \
        } else {                                                                                   \
            soft_##name(cpu, i);                                                                   \
        }                                                                                          \
        NEXT;                                                                                      \
    }

#define RC ((enum softfloat_rounding)env.rounding)

STORE(fst_m32, 32, to_f32, sf80_to_f32(&env, st), SF32_DEFAULT_NAN, 0)
STORE(fstp_m32, 32, to_f32, sf80_to_f32(&env, st), SF32_DEFAULT_NAN, 1)
STORE(fst_m64, 64, to_f64, sf80_to_f64(&env, st), SF64_DEFAULT_NAN, 0)
STORE(fstp_m64, 64, to_f64, sf80_to_f64(&env, st), SF64_DEFAULT_NAN, 1)
STORE(fist_m16, 16, to_i16, sf80_to_i16(&env, st, RC), SF_INDEFINITE_I16, 0)
STORE(fistp_m16, 16, to_i16, sf80_to_i16(&env, st, RC), SF_INDEFINITE_I16, 1)
STORE(fist_m32, 32, to_i32, sf80_to_i32(&env, st, RC), SF_INDEFINITE_I32, 0)
STORE(fistp_m32, 32, to_i32, sf80_to_i32(&env, st, RC), SF_INDEFINITE_I32, 1)
STORE(fistp_m64, 64, to_i64, sf80_to_i64(&env, st, RC), SF_INDEFINITE_I64, 1)

/* Not on every x86-64 host: SSE3. */
#define STORE_TRUNCATED(name, bits)                                                                \
    OP(name)                                                                                       \
    {                                                                                              \
        STORE_SOFT(bits, sf80_to_i##bits(&env, st, SOFTFLOAT_ZERO), SF_INDEFINITE_I##bits, 1);     \
        NEXT;                                                                                      \
    }

STORE_TRUNCATED(fisttp_m16, 16)
STORE_TRUNCATED(fisttp_m32, 32)
STORE_TRUNCATED(fisttp_m64, 64)

static __attribute__((noinline)) void store_bytes(struct vcpu *cpu, const struct insn *i,
                                                  uint64_t linear, uint64_t significand,
                                                  uint16_t sign_exponent)
{
    uint8_t bytes[10];

    guest_store64(bytes, significand);
    guest_store16(bytes + 8, sign_exponent);
    mem_store_bytes(cpu, i, linear, bytes, sizeof(bytes));
}

OP(fstp_m80)
{
    struct float80 value = *x87_st(cpu, 0);
    unsigned happened = 0;

    x87_begin(cpu, i);
    if (unlikely(x87_empty(cpu, 0))) {
        value = SF80_DEFAULT_NAN;
        happened = X87_UNDERFLOW;
    }
    if (likely(!x87_blocked(cpu, happened, X87_BLOCKING_STORE))) {
        uint64_t linear = mem_linear(cpu, i, 10, MMU_WRITE);
        uint8_t *p = tlb_find_write(&cpu->mmu, linear, 10);

        if (likely(p != NULL)) {
            guest_store64(p, value.significand);
            guest_store16(p + 8, value.sign_exponent);
        } else {
            store_bytes(cpu, i, linear, value.significand, value.sign_exponent);
        }
    } else {
        probe(cpu, i, 10);
    }
    stored(cpu, i, happened, 1);
    NEXT;
}

static OP_BODY(store_decimal)
{
    struct softfloat_env env = x87_env(cpu->x87.control);
    /* Of an empty register: what a NaN gives, and no other flag. */
    struct float80 value = x87_empty(cpu, 0) ? SF80_DEFAULT_NAN : *x87_st(cpu, 0);
    uint8_t bcd[10];
    unsigned happened;

    sf80_to_bcd(&env, value, bcd);
    happened = x87_empty(cpu, 0) ? X87_UNDERFLOW : x87_env_status(&env);
    if (likely(!x87_blocked(cpu, happened, X87_BLOCKING_STORE)))
        mem_store_bytes(cpu, i, mem_linear(cpu, i, sizeof(bcd), MMU_WRITE), bcd, sizeof(bcd));
    else
        probe(cpu, i, sizeof(bcd));
    stored(cpu, i, happened, 1);
}

OP(fbstp)
{
    x87_begin(cpu, i);
    store_decimal(cpu, i);
    NEXT;
}

/* ---- Registers ------------------------------------------------------------------------------- */

static inline void store_register(struct vcpu *cpu, const struct insn *i, unsigned pops)
{
    unsigned n = i->rm & 7;
    bool stands = true;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (unlikely(x87_empty(cpu, 0))) {
        stands = x87_underflow(cpu, n);
    } else {
        x87_settle(cpu, 0, 0);
        x87_set(cpu, n, *x87_st(cpu, 0));
    }
    if (stands)
        x87_pop(cpu, pops);
}

OP(fst_sti)
{
    store_register(cpu, i, 0);
    NEXT;
}

OP(fstp_sti)
{
    store_register(cpu, i, 1);
    NEXT;
}

/* D9 D8+i, which differs from the documented FSTP: an empty register is just popped. */
OP(fstp1_sti)
{
    if (x87_empty(cpu, 0)) {
        x87_begin(cpu, i);
        x87_note(cpu, i);
        x87_settle(cpu, 0, 0);
        x87_pop(cpu, 1);
    } else {
        store_register(cpu, i, 1);
    }
    NEXT;
}

OP(fxch)
{
    unsigned n = i->rm & 7;
    struct float80 a, b;
    bool empty = x87_empty(cpu, 0) || x87_empty(cpu, n);

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (x87_settle(cpu, unlikely(empty) ? X87_UNDERFLOW : 0, X87_BLOCKING)) {
        a = x87_empty(cpu, 0) ? SF80_DEFAULT_NAN : *x87_st(cpu, 0);
        b = x87_empty(cpu, n) ? SF80_DEFAULT_NAN : *x87_st(cpu, n);
        x87_set(cpu, 0, b);
        x87_set(cpu, n, a);
    }
    NEXT;
}

/* Condition code of Jcc for B, E, BE, U, and the opposites. C1 stays, unless the stack is at fault.
 */
static inline void move_if(struct vcpu *cpu, const struct insn *i, unsigned condition)
{
    unsigned n = i->rm & 7;

    x87_begin(cpu, i);
    x87_note(cpu, i);
    if (unlikely(x87_empty(cpu, 0) || x87_empty(cpu, n))) {
        x87_underflow(cpu, 0);
        return;
    }
    if (flags_condition(cpu, condition))
        *x87_st(cpu, 0) = *x87_st(cpu, n);
}

#define MOVE_IF(name, condition)                                                                   \
    OP(name)                                                                                       \
    {                                                                                              \
        move_if(cpu, i, condition);                                                                \
        NEXT;                                                                                      \
    }

MOVE_IF(fcmovb, 2)
MOVE_IF(fcmovnb, 3)
MOVE_IF(fcmove, 4)
MOVE_IF(fcmovne, 5)
MOVE_IF(fcmovbe, 6)
MOVE_IF(fcmovnbe, 7)
MOVE_IF(fcmovu, 10)
MOVE_IF(fcmovnu, 11)
