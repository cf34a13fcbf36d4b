/*
 * The floating-point environment. On x86-64 hosts guest arithmetic runs on the host's SSE and x87
 * units as long as the guest masks all exceptions: with the guest's rounding, precision, DAZ and
 * FTZ loaded and everything masked. Elsewhere, while exceptions are unmasked, with vcpu.fpu_soft,
 * and as the oracle, it runs on cpu/softfloat.h.
 *
 * While a vCPU runs, the host's MXCSR holds the guest's sticky flags; the host's x87 stack is empty
 * between two ops, and its flags are some of those that the guest's status word has set. Code that
 * is called by ops finds the guest's rounding in force and must not use long double.
 * Source: Intel SDM volume 1, 8.1, 10.2.3, 11.5.
 */
#ifndef CPU_FPU_H
#define CPU_FPU_H

#include "cpu/cpu.h"

#define MXCSR_RESET      0x1f80u
#define MXCSR_FLAGS      0x003fu
#define MXCSR_DAZ        0x0040u
#define MXCSR_MASKS      0x1f80u
#define MXCSR_MASK_SHIFT 7
#define MXCSR_RC         0x6000u
#define MXCSR_RC_SHIFT   13
#define MXCSR_FTZ        0x8000u
#define MXCSR_WRITE_MASK 0xffffu

/* Called by vcpu_run on entry and exit (also when it is left by an exception): loads the guest's
 * environment into the host; stores the collected flags and restores the host's. Between the two
 * vcpu.mxcsr, x87.control and x87.status are set by the functions below and the ops only. */
void fpu_host_enter(struct vcpu *cpu);
void fpu_host_leave(struct vcpu *cpu);

/* MXCSR with sticky flags up to date; and setting it, host included. Reserved bits were checked. */
uint32_t fpu_mxcsr_read(struct vcpu *cpu);
void fpu_mxcsr_write(struct vcpu *cpu, uint32_t value);

/* x87 control word (SDM 1 8.1.5). The low six bits mask the exceptions of SW_*. */
#define CW_MASKS    0x003fu
#define CW_RESERVED 0x0040u /* always reads as 1 */
#define CW_PC       0x0300u
#define CW_PC_SHIFT 8
#define CW_RC       0x0c00u
#define CW_RC_SHIFT 10
#define CW_INIT     0x037fu
#define CW_WRITABLE 0x1f3fu

/* x87 status word (SDM 1 8.1.3). TOP is not kept in it: struct x87. */
#define SW_IE         0x0001u
#define SW_DE         0x0002u
#define SW_ZE         0x0004u
#define SW_OE         0x0008u
#define SW_UE         0x0010u
#define SW_PE         0x0020u
#define SW_EXCEPTIONS 0x003fu
#define SW_SF         0x0040u /* stack fault: C1 tells overflow from underflow */
#define SW_ES         0x0080u /* an unmasked exception is pending */
#define SW_C0         0x0100u
#define SW_C1         0x0200u
#define SW_C2         0x0400u
#define SW_TOP_SHIFT  11
#define SW_TOP        0x3800u
#define SW_C3         0x4000u
#define SW_B          0x8000u /* same as ES */

/* Control and status word, TOP included. Setting either brings ES and B and the host up to date. */
static inline uint16_t fpu_x87_status(const struct vcpu *cpu)
{
    return (uint16_t)(cpu->x87.status | cpu->x87.top << SW_TOP_SHIFT);
}
void fpu_x87_set_control(struct vcpu *cpu, uint16_t value);
void fpu_x87_set_status(struct vcpu *cpu, uint16_t value);

/* The tag word as FNSTENV stores it: two bits a physical register, 0 valid, 1 zero, 2 special, 3
 * empty. Setting it looks at empty or not only. */
uint16_t fpu_x87_tags(const struct vcpu *cpu);
void fpu_x87_set_tags(struct vcpu *cpu, uint16_t tags);

/* What waiting x87 and MMX instructions do first while SW_ES is set: #MF at i (SDM 1 8.7.1). With
 * CR0.NE = 0 the processor asks for help through FERR# and waits for an interrupt instead (SDM 1
 * 8.7.2); under IGNNE# the call returns. */
void fpu_raise_pending(struct vcpu *cpu, const struct insn *i);

/* Start of every MMX instruction but EMMS's last part, when nothing else in it can fault any more:
 * raises a pending exception, then the x87 stack is full and starts at register 0 (SDM 1 9.5.1).
 * An MMX register that is written gets the sign and exponent 0xffff besides. */
static inline void fpu_mmx_enter(struct vcpu *cpu, const struct insn *i)
{
    if (unlikely(cpu->x87.status & SW_ES))
        fpu_raise_pending(cpu, i);
    cpu->x87.top = 0;
    cpu->x87.valid = 0xff;
}

/* FNINIT: control, status, tags and pointers of x87; the registers keep their contents. */
void fpu_x87_init(struct vcpu *cpu);

/* Components that XCR0 may name, by CPUID; and how many bytes an XSAVE area with these components
 * has, the header included (SDM 1 13.4; the compacted format is no smaller for any set of these).
 */
uint64_t fpu_xcr0_supported(const struct vcpu *cpu);
unsigned fpu_xsave_size(uint64_t components);

#define XSAVE_HEADER_END 576u
#define XSAVE_AVX_OFFSET 576u /* upper halves of YMM0 to YMM15 */
#define XSAVE_AVX_SIZE   256u

/* FPU part of a snapshot: x87, vector registers, MXCSR, XCR0. */
void fpu_serialize(struct vcpu *cpu, struct state *s);

#endif
