#include "cpu/v86.h"

#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/segment.h"
#include "cpu/system.h"

#define TSS_IO_MAP      0x66 /* where the address of the I/O bitmap is (SDM 3A figure 7-2) */
#define REDIRECTION_MAP 32   /* bytes, below the I/O bitmap */

static unsigned iopl(const struct vcpu *cpu)
{
    return (cpu->eflags & EFLAGS_IOPL) >> 12;
}

uint32_t v86_interrupt_flag(const struct vcpu *cpu)
{
    uint64_t virtual_bit = cpu->mode & MODE_V86 ? CR4_VME : CR4_PVI;

    if (cpu_cpl(cpu) <= iopl(cpu))
        return EFLAGS_IF;
    return cpu_cpl(cpu) == 3 && (cpu->mmu.cr4 & virtual_bit) ? EFLAGS_VIF : 0;
}

bool v86_virtual_if(const struct vcpu *cpu)
{
    return (cpu->mode & MODE_V86) && (cpu->mmu.cr4 & CR4_VME) && iopl(cpu) < 3;
}

/* Does the bit of the vector say that the task handles it itself? The bitmap must be there. */
static bool redirected(struct vcpu *cpu, const struct insn *i, uint8_t vector)
{
    uint32_t offset;

    cpu->current = i;
    if ((cpu->tr.attributes & SEGMENT_TYPE) < SYSTEM_TSS || cpu->tr.limit < TSS_IO_MAP + 1)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    offset = (uint32_t)mem_load_system(cpu, cpu->tr.base + TSS_IO_MAP, 2);
    offset += vector / 8u - REDIRECTION_MAP;
    if (offset > cpu->tr.limit)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    return !(mem_load_system(cpu, cpu->tr.base + offset, 1) >> (vector & 7) & 1);
}

/* As in real-address mode, with the table at linear address 0 and the rights of the task. */
static void deliver_inside(struct vcpu *cpu, const struct insn *i, uint8_t vector,
                           uint64_t return_rip)
{
    uint32_t flags = (uint32_t)vcpu_rflags(cpu), clear = EFLAGS_TF | EFLAGS_RF;
    uint32_t entry = mem_load32(cpu, i, vector * 4u);
    struct stack s = stack_current(cpu);

    if (v86_virtual_if(cpu)) {
        flags = (flags & ~EFLAGS_IF) | EFLAGS_IOPL | (flags & EFLAGS_VIF ? EFLAGS_IF : 0);
        clear |= EFLAGS_VIF;
    } else {
        clear |= EFLAGS_IF;
    }
    stack_push(cpu, &s, 2, flags);
    stack_push(cpu, &s, 2, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, 2, return_rip);
    stack_commit(cpu, &s);
    cpu->rip = entry & 0xffff;
    cpu->eflags &= ~clear;
    segment_load_real(cpu, SEG_CS, (uint16_t)(entry >> 16));
}

bool v86_software_interrupt(struct vcpu *cpu, const struct insn *i, uint8_t vector,
                            uint64_t return_rip)
{
    if ((cpu->mmu.cr4 & CR4_VME) && redirected(cpu, i, vector)) {
        deliver_inside(cpu, i, vector, return_rip);
        return true;
    }
    if (iopl(cpu) < 3)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    return false;
}
