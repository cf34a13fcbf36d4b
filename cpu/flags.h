/*
 * Status flags. Two ways to keep them, of the same meaning: as the host's own flags where those are
 * the guest's (cpu/flags_host.h), else lazily (cpu/flags_lazy.h). Each of them defines
 *
 *   flags_get, flags_set    the six status flags as EFLAGS bits; set ignores others
 *   flag_cf, flag_of, flag_af, flag_zf, flag_sf, flag_pf
 *   flags_add8(cpu, a, b, r) and so on   all six after r = a + b, a being of 8 to 64 bits
 *   flags_sub*                           after r = a - b
 *   flags_adc*, flags_sbb*               the same with a carry or borrow in
 *   flags_logic*(cpu, r)                 after AND, OR, XOR, TEST: CF, OF and AF clear
 *   flags_inc*, flags_dec*(cpu, a, r)    as add and sub of 1, CF kept
 *   flags_result_co*(cpu, r, cf, of)     SF, ZF, PF by the result, CF and OF as given, AF clear:
 *                                        shifts, multiplications
 *   flags_set_co(cpu, cf, of)            leaves the rest: rotates
 *
 * Source: Intel SDM volume 1, 3.4.3.1.
 */
#ifndef CPU_FLAGS_H
#define CPU_FLAGS_H

#if defined(__x86_64__)
#include "cpu/flags_host.h"
#else
#include "cpu/flags_lazy.h"
#endif

/* Replaces the flags in mask by those in f. */
static inline void flags_update(struct vcpu *cpu, uint32_t mask, uint32_t f)
{
    flags_set(cpu, (flags_get(cpu) & ~mask) | (f & mask));
}

/* Condition codes 0 to 15 of Jcc, SETcc, CMOVcc (SDM 1 appendix B). */
static inline bool flags_condition(const struct vcpu *cpu, unsigned cc)
{
    bool r;

    switch (cc >> 1) {
    case 0:
        r = flag_of(cpu);
        break;
    case 1:
        r = flag_cf(cpu);
        break;
    case 2:
        r = flag_zf(cpu);
        break;
    case 3:
        r = flag_cf(cpu) || flag_zf(cpu);
        break;
    case 4:
        r = flag_sf(cpu);
        break;
    case 5:
        r = flag_pf(cpu);
        break;
    case 6:
        r = flag_sf(cpu) != flag_of(cpu);
        break;
    default:
        r = flag_zf(cpu) || flag_sf(cpu) != flag_of(cpu);
        break;
    }
    return r ^ (cc & 1);
}

/* Sets CF, leaves the rest: BT, CLC, STC, CMC. */
static inline void flags_set_cf(struct vcpu *cpu, bool cf)
{
    flags_set_co(cpu, cf, flag_of(cpu));
}

/* Sets ZF, leaves the rest. */
static inline void flags_set_zf(struct vcpu *cpu, bool zf)
{
    flags_update(cpu, EFLAGS_ZF, zf ? EFLAGS_ZF : 0);
}

#endif
