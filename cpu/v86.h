/*
 * Virtual interrupts: what CR4.VME changes in virtual-8086 mode and CR4.PVI at CPL 3. Software that
 * may not touch EFLAGS.IF gets VIF instead, and INT n of a virtual-8086 task may stay inside the
 * task. Source: Intel SDM volume 3B, 20.3 and 20.4.
 */
#ifndef CPU_V86_H
#define CPU_V86_H

#include "cpu/cpu.h"

/* The flag that CLI and STI change now: EFLAGS_IF, EFLAGS_VIF, or 0 for #GP(0) (SDM 2A "CLI", SDM
 * 2B "STI"). */
uint32_t v86_interrupt_flag(const struct vcpu *cpu);

/* True if VIF lets in the virtual interrupt that VIP announces: an instruction that begins so
 * raises #GP(0) (SDM 3B 20.3.2). */
static inline bool v86_interrupt_waits(const struct vcpu *cpu)
{
    const uint32_t both = EFLAGS_VIF | EFLAGS_VIP;

    return (cpu->eflags & both) == both && v86_interrupt_flag(cpu) == EFLAGS_VIF;
}

/* True if 16-bit PUSHF, POPF and IRET see VIF as IF: virtual-8086 mode, CR4.VME, IOPL below 3. */
bool v86_virtual_if(const struct vcpu *cpu);

/* INT n in virtual-8086 mode (not INT3 and INTO). True: the redirection bitmap of the TSS sent it
 * to the task's own vector table, RIP is the handler. False: it is for the IDT. Raises #GP(0) where
 * it is the monitor's (SDM 3B table 20-2). return_rip is the address behind the instruction. */
bool v86_software_interrupt(struct vcpu *cpu, const struct insn *i, uint8_t vector,
                            uint64_t return_rip);

#endif
