/*
 * String comparison of SSE4.2: PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM.
 * Source: Intel SDM volume 2, chapter 4.1.
 */
#include "cpu/sse_vec.h"

/* Fields of the immediate. */
#define STRING_WORDS     0x01
#define STRING_SIGNED    0x02
#define STRING_AGGREGATE 0x0c
#define STRING_NEGATIVE  0x10
#define STRING_MASKED    0x20 /* negation only of valid elements of the second string */
#define STRING_OUTPUT    0x40 /* the last index instead of the first; a mask of whole elements */

enum string_aggregate {
    STRING_EQUAL_ANY = 0x0,
    STRING_RANGES = 0x4,
    STRING_EQUAL_EACH = 0x8,
    STRING_EQUAL_ORDERED = 0xc,
};

static inline unsigned element_count(unsigned imm)
{
    return imm & STRING_WORDS ? 8 : 16;
}

static inline int32_t element(union vec v, unsigned n, unsigned imm)
{
    if (imm & STRING_WORDS)
        return imm & STRING_SIGNED ? (int16_t)VREG_W(v, n) : VREG_W(v, n);
    return imm & STRING_SIGNED ? (int8_t)VREG_B(v, n) : VREG_B(v, n);
}

/* Bit j: element j of b equals some element of a. */
static unsigned equal_any(union vec a, unsigned a_length, union vec b, unsigned b_length,
                          unsigned imm)
{
    unsigned r = 0;

    for (unsigned j = 0; j < b_length; j++)
        for (unsigned n = 0; n < a_length; n++)
            if (element(a, n, imm) == element(b, j, imm))
                r |= 1u << j;
    return r;
}

/* Bit j: element j of b lies in a range; a holds pairs of bounds. */
static unsigned ranges(union vec a, unsigned a_length, union vec b, unsigned b_length, unsigned imm)
{
    unsigned r = 0;

    for (unsigned j = 0; j < b_length; j++)
        for (unsigned n = 0; n + 1 < a_length; n += 2)
            if (element(a, n, imm) <= element(b, j, imm) &&
                element(b, j, imm) <= element(a, n + 1, imm))
                r |= 1u << j;
    return r;
}

/* Bit n: the elements n are equal, or both strings have ended. */
static unsigned equal_each(union vec a, unsigned a_length, union vec b, unsigned b_length,
                           unsigned imm)
{
    unsigned r = 0;

    for (unsigned n = 0; n < element_count(imm); n++) {
        bool a_valid = n < a_length, b_valid = n < b_length;

        if (a_valid && b_valid ? element(a, n, imm) == element(b, n, imm) : a_valid == b_valid)
            r |= 1u << n;
    }
    return r;
}

/* Bit j: a stands in b from element j on, as far as b's register goes. */
static unsigned equal_ordered(union vec a, unsigned a_length, union vec b, unsigned b_length,
                              unsigned imm)
{
    unsigned count = element_count(imm), r = 0;

    for (unsigned j = 0; j < count; j++) {
        bool same = true;

        for (unsigned n = 0; n < a_length && j + n < count; n++)
            same &= j + n < b_length && element(a, n, imm) == element(b, j + n, imm);
        r |= (unsigned)same << j;
    }
    return r;
}

/* IntRes2 of the manual: one bit for each element of b. */
static __attribute__((noinline)) unsigned compare(union vec a, unsigned a_length, union vec b,
                                                  unsigned b_length, unsigned imm)
{
    unsigned all = (1u << element_count(imm)) - 1, r;

    switch (imm & STRING_AGGREGATE) {
    case STRING_EQUAL_ANY:
        r = equal_any(a, a_length, b, b_length, imm);
        break;
    case STRING_RANGES:
        r = ranges(a, a_length, b, b_length, imm);
        break;
    case STRING_EQUAL_EACH:
        r = equal_each(a, a_length, b, b_length, imm);
        break;
    default:
        r = equal_ordered(a, a_length, b, b_length, imm);
        break;
    }
    if (imm & STRING_NEGATIVE)
        r ^= imm & STRING_MASKED ? (1u << b_length) - 1 : all;
    return r;
}

static inline void set_flags(struct vcpu *cpu, unsigned result, unsigned a_length,
                             unsigned b_length, unsigned count)
{
    flags_set(cpu, (result != 0 ? EFLAGS_CF : 0) | (b_length < count ? EFLAGS_ZF : 0) |
                       (a_length < count ? EFLAGS_SF : 0) | (result & 1 ? EFLAGS_OF : 0));
}

/* The index form: ECX. */
static inline void set_index(struct vcpu *cpu, unsigned result, unsigned imm)
{
    unsigned index = element_count(imm);

    if (result != 0)
        index = imm & STRING_OUTPUT ? 31 - (unsigned)__builtin_clz(result)
                                    : (unsigned)__builtin_ctz(result);
    reg_set32(cpu, GPR_RCX, index);
}

/* The mask form: XMM0. */
static inline void set_mask(struct vcpu *cpu, unsigned result, unsigned imm)
{
    union vec mask = vec_from64(result, 0);

    if (imm & STRING_OUTPUT) {
        for (unsigned n = 0; n < 16; n++)
            VREG_B(mask, n) = (result >> (imm & STRING_WORDS ? n / 2 : n)) & 1 ? 0xff : 0;
    }
    xmm_set(cpu, 0, mask);
}

/* The same in AVX. */
static inline void set_mask_clear(struct vcpu *cpu, unsigned result, unsigned imm)
{
    set_mask(cpu, result, imm);
    xmm_set_clear(cpu, 0, xmm_get(cpu, 0));
}

/* ---- Explicit lengths: |rAX|, |rDX|, at most a registerful -------------------------------- */

static inline unsigned explicit_length(int64_t n, unsigned count)
{
    uint64_t magnitude = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    return magnitude < count ? (unsigned)magnitude : count;
}

#define EXPLICIT(name, suffix, T, read, set)                                                       \
    OP(name##_##suffix)                                                                            \
    {                                                                                              \
        unsigned imm = (uint8_t)i->imm, count = element_count(imm), result;                        \
        union vec a = xmm_get(cpu, i->reg), b = read;                                              \
        unsigned a_length = explicit_length((T)cpu->gpr[GPR_RAX], count);                          \
        unsigned b_length = explicit_length((T)cpu->gpr[GPR_RDX], count);                          \
        result = compare(a, a_length, b, b_length, imm);                                           \
        set(cpu, result, imm);                                                                     \
        set_flags(cpu, result, a_length, b_length, count);                                         \
        NEXT;                                                                                      \
    }
#define EXPLICIT_OPS(name, set)                                                                    \
    EXPLICIT(name, r32, int32_t, xmm_get(cpu, i->rm), set)                                         \
    EXPLICIT(name, r64, int64_t, xmm_get(cpu, i->rm), set)                                         \
    EXPLICIT(name, m32, int32_t, xmm_read(cpu, i), set)                                            \
    EXPLICIT(name, m64, int64_t, xmm_read(cpu, i), set)

EXPLICIT_OPS(pcmpestri, set_index)
EXPLICIT_OPS(pcmpestrm, set_mask)
EXPLICIT_OPS(vpcmpestrm, set_mask_clear)

/* ---- Implicit lengths: up to the first zero ----------------------------------------------- */

static inline unsigned implicit_length(union vec v, unsigned imm)
{
    unsigned n = 0;

    while (n < element_count(imm) && element(v, n, imm) != 0)
        n++;
    return n;
}

#define IMPLICIT(name, set)                                                                        \
    OP(name)                                                                                       \
    {                                                                                              \
        unsigned imm = (uint8_t)i->imm, a_length, b_length, result;                                \
        union vec a = xmm_get(cpu, i->reg), b;                                                     \
        b = i->flags & INSN_MEM ? xmm_read(cpu, i) : xmm_get(cpu, i->rm);                          \
        a_length = implicit_length(a, imm);                                                        \
        b_length = implicit_length(b, imm);                                                        \
        result = compare(a, a_length, b, b_length, imm);                                           \
        set(cpu, result, imm);                                                                     \
        set_flags(cpu, result, a_length, b_length, element_count(imm));                            \
        NEXT;                                                                                      \
    }

IMPLICIT(pcmpistri, set_index)
IMPLICIT(pcmpistrm, set_mask)
IMPLICIT(vpcmpistrm, set_mask_clear)
