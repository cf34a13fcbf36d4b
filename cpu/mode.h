/*
 * The mode word: everything besides the bytes that decides how code is decoded and which op
 * functions a block holds. It is part of a block's key; mode_update computes it after any change of
 * the state that it summarises.
 */
#ifndef CPU_MODE_H
#define CPU_MODE_H

#include "cpu/cpu.h"

enum mode_bits {
    MODE_64 = 1 << 0,       /* 64-bit mode: EFER.LMA and CS.L */
    MODE_CS32 = 1 << 1,     /* default size 32 (CS.D); clear in 64-bit mode */
    MODE_SS32 = 1 << 2,     /* stack size 32 (SS.B) */
    MODE_FLAT = 1 << 3,     /* ES, CS, SS, DS: base 0, limit 4 GiB, usual rights; or 64-bit mode */
    MODE_PROT = 1 << 4,     /* protected mode, not virtual-8086 */
    MODE_V86 = 1 << 5,
    MODE_CPL0 = 1 << 6,
    MODE_CPL3 = 1 << 7,
    MODE_EM = 1 << 8,       /* CR0.EM */
    MODE_TS = 1 << 9,       /* CR0.TS */
    MODE_MP = 1 << 10,      /* CR0.MP */
    MODE_OSFXSR = 1 << 11,  /* CR4.OSFXSR */
    MODE_OSXSAVE = 1 << 12, /* CR4.OSXSAVE */
    MODE_LONG = 1 << 13,    /* EFER.LMA */
    MODE_SINGLE = 1 << 14,  /* one instruction per block: exact points, single step, shadows */
    MODE_AVX = 1 << 15,     /* AVX state is enabled: CR4.OSXSAVE, and SSE and AVX in XCR0 */
    MODE_AVX512 = 1 << 16,  /* and so is that of AVX-512: the three components in XCR0 */
    MODE_BITS = 17,
};

/* Recomputes vcpu.mode, vcpu.ip_mask and the MMU's privilege view. */
void mode_update(struct vcpu *cpu);

#endif
