/*
 * Status flags for hosts without ones of their own that could be kept (cpu/flags_host.h). An
 * arithmetic op stores two words; whoever needs a flag computes it from them.
 *
 *   flags_result  the result, sign-extended from the operand size to 64 bits:
 *                 ZF = (result == 0), SF = sign ^ aux bit 0, PF = even parity of the low byte of
 *                 result ^ (aux >> 8)
 *   flags_aux     bit 31: CF.  bit 30: CF ^ OF (the carry into the sign bit).  bit 3: AF.
 *                 bits 8-15: parity correction.  bit 0: sign correction.
 *
 * The corrections are zero after arithmetic; they exist so that POPF, SAHF and friends can set any
 * combination. Source: Intel SDM volume 1, 3.4.3.1.
 */
#ifndef CPU_FLAGS_LAZY_H
#define CPU_FLAGS_LAZY_H

#include "cpu/cpu.h"

#define AUX_CF         0x80000000u
#define AUX_PO         0x40000000u
#define AUX_AF         0x00000008u
#define AUX_PF_SHIFT   8
#define AUX_SF         0x00000001u
#define AUX_CARRY_MASK 0xc0000008u

static inline bool flag_cf(const struct vcpu *cpu)
{
    return cpu->flags_aux >> 31;
}

static inline bool flag_of(const struct vcpu *cpu)
{
    return ((cpu->flags_aux >> 31) ^ (cpu->flags_aux >> 30)) & 1;
}

static inline bool flag_af(const struct vcpu *cpu)
{
    return (cpu->flags_aux >> 3) & 1;
}

static inline bool flag_zf(const struct vcpu *cpu)
{
    return cpu->flags_result == 0;
}

static inline bool flag_sf(const struct vcpu *cpu)
{
    return (cpu->flags_result >> 63) ^ (cpu->flags_aux & AUX_SF);
}

static inline bool flag_pf(const struct vcpu *cpu)
{
    return !__builtin_parity((uint8_t)(cpu->flags_result ^ (cpu->flags_aux >> AUX_PF_SHIFT)));
}

/* The six status flags as EFLAGS bits. */
static inline uint32_t flags_get(const struct vcpu *cpu)
{
    return (uint32_t)flag_cf(cpu) * EFLAGS_CF | (uint32_t)flag_pf(cpu) * EFLAGS_PF |
           (uint32_t)flag_af(cpu) * EFLAGS_AF | (uint32_t)flag_zf(cpu) * EFLAGS_ZF |
           (uint32_t)flag_sf(cpu) * EFLAGS_SF | (uint32_t)flag_of(cpu) * EFLAGS_OF;
}

/* Sets all six from EFLAGS bits; others are ignored. */
static inline void flags_set(struct vcpu *cpu, uint32_t f)
{
    bool zf = f & EFLAGS_ZF, pf = f & EFLAGS_PF;
    bool cf = f & EFLAGS_CF, of = f & EFLAGS_OF;
    uint32_t aux = 0;

    cpu->flags_result = !zf;
    /* The low byte is 0 (even) if ZF, else 1 (odd). */
    if (pf != zf)
        aux |= 1u << AUX_PF_SHIFT;
    if (f & EFLAGS_SF)
        aux |= AUX_SF;
    if (f & EFLAGS_AF)
        aux |= AUX_AF;
    if (cf)
        aux |= AUX_CF;
    if (cf != of)
        aux |= AUX_PO;
    cpu->flags_aux = aux;
}

/* Carry vectors to aux, by size: the top two carries to bits 31 and 30, that of bit 3 in place. */
#define AUX_FROM_CARRIES_8(c)                                                                      \
    (((uint32_t)(uint8_t)(c) << 24 | ((uint32_t)(c) & 8)) & AUX_CARRY_MASK)
#define AUX_FROM_CARRIES_16(c)                                                                     \
    (((uint32_t)(uint16_t)(c) << 16 | ((uint32_t)(c) & 8)) & AUX_CARRY_MASK)
#define AUX_FROM_CARRIES_32(c) ((uint32_t)(c) & AUX_CARRY_MASK)
#define AUX_FROM_CARRIES_64(c)                                                                     \
    ((((uint32_t)((c) >> 32)) & (AUX_CF | AUX_PO)) | ((uint32_t)(c) & AUX_AF))

#define FLAGS_DEFINE(bits)                                                                         \
    static inline void flags_add##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,       \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        uint##bits##_t c = (a & b) | ((a | b) & (uint##bits##_t)~r);                               \
        cpu->flags_result = (uint64_t)(int64_t)(int##bits##_t)r;                                   \
        cpu->flags_aux = AUX_FROM_CARRIES_##bits(c);                                               \
    }                                                                                              \
    static inline void flags_sub##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,       \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        uint##bits##_t c = ((uint##bits##_t)~a & b) | ((uint##bits##_t)~(a ^ b) & r);              \
        cpu->flags_result = (uint64_t)(int64_t)(int##bits##_t)r;                                   \
        cpu->flags_aux = AUX_FROM_CARRIES_##bits(c);                                               \
    }                                                                                              \
    /* The carries of a + b + c follow from a, b and the result alone. */                          \
    static inline void flags_adc##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,       \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        flags_add##bits(cpu, a, b, r);                                                             \
    }                                                                                              \
    static inline void flags_sbb##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t b,       \
                                       uint##bits##_t r)                                           \
    {                                                                                              \
        flags_sub##bits(cpu, a, b, r);                                                             \
    }                                                                                              \
    static inline void flags_logic##bits(struct vcpu *cpu, uint##bits##_t r)                       \
    {                                                                                              \
        cpu->flags_result = (uint64_t)(int64_t)(int##bits##_t)r;                                   \
        cpu->flags_aux = 0;                                                                        \
    }                                                                                              \
    static inline void flags_keep_cf##bits(struct vcpu *cpu, uint32_t old_aux)                     \
    {                                                                                              \
        uint32_t now = cpu->flags_aux;                                                             \
        uint32_t of = (now ^ (now << 1)) & AUX_CF;                                                 \
        uint32_t cf = old_aux & AUX_CF;                                                            \
        cpu->flags_aux = (now & AUX_AF) | cf | ((cf ^ of) >> 1);                                   \
    }                                                                                              \
    static inline void flags_inc##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t r)       \
    {                                                                                              \
        uint32_t old = cpu->flags_aux;                                                             \
        flags_add##bits(cpu, a, 1, r);                                                             \
        flags_keep_cf##bits(cpu, old);                                                             \
    }                                                                                              \
    static inline void flags_dec##bits(struct vcpu *cpu, uint##bits##_t a, uint##bits##_t r)       \
    {                                                                                              \
        uint32_t old = cpu->flags_aux;                                                             \
        flags_sub##bits(cpu, a, 1, r);                                                             \
        flags_keep_cf##bits(cpu, old);                                                             \
    }                                                                                              \
    static inline void flags_result_co##bits(struct vcpu *cpu, uint##bits##_t r, bool cf, bool of) \
    {                                                                                              \
        cpu->flags_result = (uint64_t)(int64_t)(int##bits##_t)r;                                   \
        cpu->flags_aux = (uint32_t)cf << 31 | (uint32_t)(cf ^ of) << 30;                           \
    }

FLAGS_DEFINE(8)
FLAGS_DEFINE(16)
FLAGS_DEFINE(32)
FLAGS_DEFINE(64)
#undef FLAGS_DEFINE

/* Sets CF and OF, leaves the rest: rotates. */
static inline void flags_set_co(struct vcpu *cpu, bool cf, bool of)
{
    cpu->flags_aux = (cpu->flags_aux & ~(AUX_CF | AUX_PO)) | (uint32_t)cf << 31 |
                     (uint32_t)(cf ^ of) << 30;
}

#endif
