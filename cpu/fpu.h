/*
 * The floating-point environment. On x86 hosts guest SSE arithmetic runs on the host's SSE unit
 * with the guest's rounding, DAZ and FTZ settings loaded (all exceptions masked on the host), and
 * sticky flags collect in the host's MXCSR while the vCPU runs; elsewhere, and as the oracle, it
 * runs on cpu/softfloat.h. Source: Intel SDM volume 1, 8.1, 10.2.3, 11.5.
 */
#ifndef CPU_FPU_H
#define CPU_FPU_H

#include "cpu/cpu.h"

#define MXCSR_RESET       0x1f80u
#define MXCSR_FLAGS       0x003fu
#define MXCSR_DAZ         0x0040u
#define MXCSR_MASKS       0x1f80u
#define MXCSR_MASK_SHIFT  7
#define MXCSR_RC          0x6000u
#define MXCSR_RC_SHIFT    13
#define MXCSR_FTZ         0x8000u
#define MXCSR_WRITE_MASK  0xffffu

/* Called by vcpu_run on entry and exit (also when it is left by an exception): loads the guest's
 * environment into the host; stores the collected flags and restores the host's. */
void fpu_host_enter(struct vcpu *cpu);
void fpu_host_leave(struct vcpu *cpu);

/* MXCSR with sticky flags up to date; and setting it, host included. Reserved bits were checked. */
uint32_t fpu_mxcsr_read(struct vcpu *cpu);
void fpu_mxcsr_write(struct vcpu *cpu, uint32_t value);

/* FNINIT state and reset state (SDM 3A table 9-1) of x87; clears nothing else. */
void fpu_x87_init(struct vcpu *cpu);

/* FPU part of a snapshot: x87, vector registers, MXCSR, XCR0. */
void fpu_serialize(struct vcpu *cpu, struct state *s);

#endif
