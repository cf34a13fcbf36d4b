/*
 * System management mode: entering by an SMI and leaving by RSM. The state save area has the AMD64
 * layout (AMD APM volume 2, table 10-1), revision 00030064h: SMBASE relocation and I/O instruction
 * restart. Firmware made for emulated boards knows it.
 *
 * Source: AMD APM volume 2, chapter 10; Intel SDM volume 3C, chapter 32, for what is the same.
 */
#ifndef CPU_SMM_H
#define CPU_SMM_H

#include "cpu/cpu.h"

#define SMM_BASE_RESET 0x30000u /* SMBASE after RESET */

/* Takes a pending SMI; between two instructions, not in SMM, no shadow of STI or MOV SS. Afterwards
 * the handler at SMBASE + 8000h is next. */
void smm_enter(struct vcpu *cpu);

/* RSM in SMM. A save area that no mode could have written ends in shutdown (APM 2 10.3.6): does
 * not return then. */
void smm_leave(struct vcpu *cpu, const struct insn *i);

/* Notes an I/O instruction before its access, for I/O instruction restart. `how` is a set of
 * SMM_IO_* bits; the clock is exact. */
#define SMM_IO_IN     (1u << 0)
#define SMM_IO_STRING (1u << 2)
#define SMM_IO_REP    (1u << 3)

static inline void smm_note_io(struct vcpu *cpu, uint64_t rip, uint16_t port, unsigned size,
                               unsigned how)
{
    cpu->io = (struct smm_io){
        .rip = rip,
        .rcx = cpu->gpr[GPR_RCX],
        .rsi = cpu->gpr[GPR_RSI],
        .rdi = cpu->gpr[GPR_RDI],
        .end = vcpu_instructions(cpu) + 1,
        .info = (uint32_t)port << 16 | size << 4 | how | 1u << 1, /* bit 1: valid */
    };
}

#endif
