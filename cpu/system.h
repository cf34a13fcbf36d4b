/*
 * Control state of the processor: control registers, EFLAGS, I/O permission, MSRs. The cpu_* calls
 * here make the manual's checks and raise at the instruction given or at vcpu.current.
 */
#ifndef CPU_SYSTEM_H
#define CPU_SYSTEM_H

#include "cpu/cpu.h"

/* MOV to CR0, CR3, CR4 (SDM 2B "MOV"), with all #GP checks and what follows from the change. */
void cpu_write_cr0(struct vcpu *cpu, uint64_t value);
void cpu_write_cr3(struct vcpu *cpu, uint64_t value);
void cpu_write_cr4(struct vcpu *cpu, uint64_t value);
/* The bits that exist in CR0, and in CR4 and EFER of this model. */
uint64_t cpu_cr0_known(void);
uint64_t cpu_cr4_known(const struct vcpu *cpu);
uint64_t cpu_efer_known(const struct vcpu *cpu);

uint64_t cpu_read_cr8(struct vcpu *cpu);
void cpu_write_cr8(struct vcpu *cpu, uint64_t value);

/* Replaces the EFLAGS bits in mask (status flags allowed) and updates what depends on them. */
void cpu_write_eflags(struct vcpu *cpu, uint32_t value, uint32_t mask);

/* CPL becomes cpl; the MMU's view and the mode word follow. */
void cpu_set_cpl(struct vcpu *cpu, unsigned cpl);

/* I/O permission: IOPL and the TSS bitmap (SDM 1 19.5). Raises #GP(0). */
void cpu_check_io(struct vcpu *cpu, const struct insn *i, uint16_t port, unsigned size);

/* RDMSR and WRMSR: false means #GP(0). */
bool cpu_read_msr(struct vcpu *cpu, uint32_t index, uint64_t *value);
bool cpu_write_msr(struct vcpu *cpu, uint32_t index, uint64_t value);

/* True if the address is canonical for the current paging depth. */
static inline bool cpu_canonical(const struct vcpu *cpu, uint64_t address)
{
    return sign_extend(address, cpu->mmu.cr4 & CR4_LA57 ? 56 : 47) == address;
}

/* True if a segment or table base, or an MSR that holds an address, may be this: canonical for the
 * widest paging that the processor has, whatever CR4.LA57 says (SDM 3A 3.4.4.1, 4.5.1). */
static inline bool cpu_canonical_base(const struct vcpu *cpu, uint64_t address)
{
    return sign_extend(address, cpu_has(cpu, FEATURE_LA57) ? 56 : 47) == address;
}

#endif
