/* Control and debug registers, MSRs, interrupt flag, halt, time, CPUID, TLB invalidation. */
#include "cpu/system.h"

#include "base/log.h"
#include "cpu/block.h"
#include "cpu/cpuid.h"
#include "cpu/mode.h"
#include "cpu/ops/ops.h"
#include "cpu/smm.h"
#include "cpu/v86.h"

#define MSR_APIC_BASE 0x1bu

/* ---- Interrupt flag and halt ---- */

OP(cli)
{
    uint32_t flag = v86_interrupt_flag(cpu);

    if (flag == 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->eflags &= ~flag;
    NEXT;
}

/* A virtual interrupt that waits is the monitor's business as soon as VIF would let it in. */
OP(sti)
{
    uint32_t flag = v86_interrupt_flag(cpu);

    if (flag == 0 || (flag == EFLAGS_VIF && (cpu->eflags & EFLAGS_VIP)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (flag == EFLAGS_IF && !(cpu->eflags & EFLAGS_IF))
        cpu->attention |= VCPU_ATTENTION_SHADOW;
    cpu->eflags |= flag;
    NEXT;
}

OP(hlt)
{
    cpu->attention |= VCPU_ATTENTION_HALTED;
    cpu->monitor_waits = false; /* that of an MWAIT which an SMI has ended */
    NEXT;
}

OP(rsm)
{
    if (!cpu->smm)
        cpu_raise(cpu, i, EXC_UD);
    cpu_serialize();
    smm_leave(cpu, i);
    if (cpu->attention & VCPU_ATTENTION_ALONE)
        cpu->attention |= VCPU_ATTENTION_STEPPED; /* a TF was the handler's */
}

/* Keeps where the monitored line is, and what is there. */
static void note_line(struct vcpu *cpu)
{
    struct machine_memory *memory = cpu->mmu.memory;
    const uint8_t *line = tlb_find_read(&cpu->mmu, cpu->monitor_address & ~63ull, 8);

    cpu->monitor_at = UINT64_MAX;
    if (line == NULL)
        return;
    cpu->monitor_at = (uint64_t)(line - machine_memory_host(memory, mpa(0)));
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->monitor_line); n++)
        cpu->monitor_line[n] = guest_load64(line + 8 * n);
}

OP(monitor)
{
    uint64_t offset = cpu->gpr[GPR_RAX];

    if (i->flags & INSN_A32)
        offset = (uint32_t)offset;
    if (cpu->gpr[GPR_RCX] != 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->monitor_address =
        mem_linear_at(cpu, i, i->seg == SEG_NONE ? SEG_DS : i->seg, offset, 1, MMU_READ);
    mem_load8(cpu, i, cpu->monitor_address);
    note_line(cpu);
    NEXT;
}

/* Waits for an interrupt or for a store that changes the line. Bit 0 of ECX, interrupts wake even
 * if masked, makes it return at once, which is allowed; and so does a line that is no RAM. */
OP(mwait)
{
    if (cpu->gpr[GPR_RCX] & ~1ull)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (cpu->monitor_address != UINT64_MAX && cpu->monitor_at != UINT64_MAX &&
        !(cpu->gpr[GPR_RCX] & 1)) {
        cpu->attention |= VCPU_ATTENTION_HALTED;
        cpu->monitor_waits = true;
    }
    cpu->monitor_address = UINT64_MAX;
    NEXT;
}

/* ---- Control registers ---- */

static void check_control_register(struct vcpu *cpu, const struct insn *i)
{
    if (i->reg > 8 || i->reg == 1 || (i->reg >= 5 && i->reg <= 7))
        cpu_raise(cpu, i, EXC_UD);
    cpu->current = i;
    mem_note_place(cpu, i);
}

OP(mov_RC)
{
    uint64_t value = 0;

    check_control_register(cpu, i);
    switch (i->reg) {
    case 0:
        value = cpu->mmu.cr0;
        break;
    case 2:
        value = cpu->cr2;
        break;
    case 3:
        value = cpu->mmu.cr3;
        break;
    case 4:
        value = cpu->mmu.cr4;
        break;
    case 8:
        value = cpu_read_cr8(cpu);
        break;
    }
    cpu->gpr[i->rm] = cpu->mode & MODE_64 ? value : (uint32_t)value;
    NEXT;
}

OP(mov_CR)
{
    uint64_t value = cpu->gpr[i->rm];

    cpu_serialize();
    check_control_register(cpu, i);
    if (!(cpu->mode & MODE_64))
        value = (uint32_t)value;
    switch (i->reg) {
    case 0:
        cpu_write_cr0(cpu, value);
        break;
    case 2:
        cpu->cr2 = value;
        break;
    case 3:
        cpu_write_cr3(cpu, value);
        break;
    case 4:
        cpu_write_cr4(cpu, value);
        break;
    case 8:
        cpu_write_cr8(cpu, value);
        break;
    }
    NEXT;
}

OP(lmsw_r)
{
    uint64_t low = reg_get16(cpu, i->rm) & 15;

    cpu->current = i;
    mem_note_place(cpu, i);
    /* LMSW sets PE, MP, EM and TS; it cannot clear PE. */
    cpu_write_cr0(cpu, (cpu->mmu.cr0 & ~14ull) | low);
    NEXT;
}

OP(lmsw_m)
{
    uint64_t low = mem_read16(cpu, i) & 15;

    cpu->current = i;
    mem_note_place(cpu, i);
    cpu_write_cr0(cpu, (cpu->mmu.cr0 & ~14ull) | low);
    NEXT;
}

OP(clts)
{
    mem_note_place(cpu, i);
    mmu_set_control(&cpu->mmu, cpu->mmu.cr0 & ~CR0_TS, cpu->mmu.cr4, cpu->mmu.efer);
    mode_update(cpu);
    NEXT;
}

/* ---- Debug registers ---- */

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE forbids (SDM 3B 17.2.2). */
static unsigned debug_register(struct vcpu *cpu, const struct insn *i)
{
    unsigned n = i->reg;

    if (n > 7 || ((n == 4 || n == 5) && (cpu->mmu.cr4 & CR4_DE)))
        cpu_raise(cpu, i, EXC_UD);
    if (cpu->dr[7] & DR7_GD) {
        cpu->dr[6] |= DR6_BD;
        cpu->dr[7] &= ~DR7_GD;
        cpu->eflags |= EFLAGS_RF; /* as every fault but the one of a breakpoint pushes it */
        cpu_raise(cpu, i, EXC_DB);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

OP(mov_RD)
{
    uint64_t value = cpu->dr[debug_register(cpu, i)];

    cpu->gpr[i->rm] = cpu->mode & MODE_64 ? value : (uint32_t)value;
    NEXT;
}

OP(mov_DR)
{
    unsigned n = debug_register(cpu, i);
    uint64_t value = cpu->gpr[i->rm];

    cpu_serialize();
    if (!(cpu->mode & MODE_64))
        value = (uint32_t)value;
    if (n >= 6 && value >> 32)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (n == 6)
        value = (value & 0xe00full) | DR6_RESET;
    if (n == 7)
        value = (value & 0xffff2bffull) | 0x400;
    cpu->dr[n] = value;
    if (n != 6)
        debug_registers_changed(cpu);
    NEXT;
}

/* ---- MSRs, time, identification ---- */

static uint64_t edx_eax(const struct vcpu *cpu)
{
    return cpu->gpr[GPR_RDX] << 32 | (uint32_t)cpu->gpr[GPR_RAX];
}

static void set_edx_eax(struct vcpu *cpu, uint64_t value)
{
    cpu->gpr[GPR_RAX] = (uint32_t)value;
    cpu->gpr[GPR_RDX] = value >> 32;
}

static OP_BODY(read_msr)
{
    uint64_t value;

    cpu_sync_time(cpu, i);
    if (!cpu_read_msr(cpu, (uint32_t)cpu->gpr[GPR_RCX], &value))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    set_edx_eax(cpu, value);
}

OP(rdmsr)
{
    read_msr(cpu, i);
    NEXT;
}

OP(wrmsr)
{
    cpu_serialize();
    cpu_sync_time(cpu, i);
    mem_note_place(cpu, i);
    if (!cpu_write_msr(cpu, (uint32_t)cpu->gpr[GPR_RCX], edx_eax(cpu)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    NEXT;
}

static void check_tsd(struct vcpu *cpu, const struct insn *i)
{
    if ((cpu->mmu.cr4 & CR4_TSD) && cpu_cpl(cpu) > 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
}

OP(rdtsc)
{
    check_tsd(cpu, i);
    cpu_sync_time(cpu, i);
    set_edx_eax(cpu, vcpu_tsc(cpu));
    NEXT;
}

OP(rdtscp)
{
    check_tsd(cpu, i);
    cpu_sync_time(cpu, i);
    set_edx_eax(cpu, vcpu_tsc(cpu));
    cpu->gpr[GPR_RCX] = (uint32_t)cpu->msr.tsc_aux;
    NEXT;
}

OP(rdpid)
{
    if (cpu->mode & MODE_64)
        cpu->gpr[i->rm] = cpu->msr.tsc_aux;
    else
        reg_set32(cpu, i->rm, (uint32_t)cpu->msr.tsc_aux);
    NEXT;
}

/* CPUID leaf 0Ah says that there are no counters. */
OP(rdpmc)
{
    cpu_raise_code(cpu, i, EXC_GP, 0);
}

static bool apic_disabled(struct vcpu *cpu)
{
    uint64_t base;

    return cpu->platform.apic_msr_read != NULL && cpu_read_msr(cpu, MSR_APIC_BASE, &base) &&
           !(base & BIT64(11));
}

static OP_BODY(identify)
{
    uint32_t out[4], leaf = (uint32_t)cpu->gpr[GPR_RAX];

    cpu_cpuid(cpu, leaf, (uint32_t)cpu->gpr[GPR_RCX], out);
    if (leaf == 1 && apic_disabled(cpu))
        out[3] &= ~BIT(9); /* SDM 3A 11.4.3 */
    cpu->gpr[GPR_RAX] = out[0];
    cpu->gpr[GPR_RBX] = out[1];
    cpu->gpr[GPR_RCX] = out[2];
    cpu->gpr[GPR_RDX] = out[3];
}

OP(cpuid)
{
    cpu_serialize();
    identify(cpu, i);
    NEXT;
}

/* ---- SMAP and protection keys ---- */

static void set_ac(struct vcpu *cpu, bool on)
{
    cpu->eflags = on ? cpu->eflags | EFLAGS_AC : cpu->eflags & ~EFLAGS_AC;
    mmu_set_privilege(&cpu->mmu, cpu_cpl(cpu), on);
}

OP(clac)
{
    set_ac(cpu, false);
    NEXT;
}

OP(stac)
{
    set_ac(cpu, true);
    NEXT;
}

static void check_pku(struct vcpu *cpu, const struct insn *i)
{
    if (!(cpu->mmu.cr4 & CR4_PKE))
        cpu_raise(cpu, i, EXC_UD);
    if ((uint32_t)cpu->gpr[GPR_RCX] != 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
}

OP(rdpkru)
{
    check_pku(cpu, i);
    set_edx_eax(cpu, cpu->mmu.pkru);
    NEXT;
}

OP(wrpkru)
{
    check_pku(cpu, i);
    if ((uint32_t)cpu->gpr[GPR_RDX] != 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    mem_note_place(cpu, i);
    mmu_set_pkru(&cpu->mmu, (uint32_t)cpu->gpr[GPR_RAX]);
    NEXT;
}

/* ---- TLB and caches ---- */

/* INVLPG: a non-canonical address in 64-bit mode does nothing (SDM 2A "INVLPG"). */
OP(invlpg)
{
    uint64_t linear = insn_ea(cpu, i) + cpu->seg[i->seg].base;

    if (!(cpu->mode & MODE_64))
        linear = (uint32_t)linear;
    mem_note_place(cpu, i);
    cpu_serialize();
    if (cpu_canonical(cpu, linear))
        mmu_invlpg(&cpu->mmu, gva(linear));
    NEXT;
}

OP(invpcid)
{
    uint64_t type = cpu->mode & MODE_64 ? cpu->gpr[i->reg] : (uint32_t)cpu->gpr[i->reg];
    uint64_t descriptor[2];

    mem_read128(cpu, i, descriptor);
    if (type > 3 || (descriptor[0] >> 12) != 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (type < 2 && descriptor[0] != 0 && !(cpu->mmu.cr4 & CR4_PCIDE))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (type == 0 && !cpu_canonical(cpu, descriptor[1]))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    mem_note_place(cpu, i);
    cpu_serialize();
    mmu_invpcid(&cpu->mmu, (unsigned)type, descriptor[0], gva(descriptor[1]));
    NEXT;
}

/* INVD, WBINVD, WBNOINVD: there are no caches to write back or drop. */
OP(cache_nop)
{
    cpu_serialize();
    NEXT;
}
