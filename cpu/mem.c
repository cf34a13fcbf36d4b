#include "cpu/mem.h"

#include "cpu/block.h"
#include "cpu/mode.h"

#include <string.h>

/* #SS for stack accesses, else #GP (SDM 1 3.3.7.1). PUSH, POP and CALL with a memory operand make
 * one of either kind. */
static bool is_stack_access(const struct vcpu *cpu, const struct insn *i, uint64_t linear)
{
    uint64_t distance = linear - cpu->gpr[GPR_RSP] + 8;
    bool stack;

    if (i == NULL || i->row >= insn_row_count)
        return false;
    stack = insn_rows[i->row].attrs & A_STACK;
    if (!(i->flags & INSN_MEM))
        return stack;
    if (stack && (cpu->mode & MODE_64 ? distance : (uint32_t)distance) <= 16)
        return true;
    if (!(cpu->mode & MODE_64))
        return i->seg == SEG_SS;
    return i->seg == SEG_NONE && (i->base == GPR_RSP || i->base == GPR_RBP);
}

/* Flat 32-bit segments end at 4 GiB, which the fast path does not check. */
static void check_4gib(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    if (unlikely(!(cpu->mode & MODE_64)) && linear + size - 1 > UINT32_MAX)
        cpu_raise_code(cpu, i, is_stack_access(cpu, i, linear) ? EXC_SS : EXC_GP, 0);
}

void mem_note_place(struct vcpu *cpu, const struct insn *i)
{
    if (likely(cpu->mmu.events == NULL))
        return;
    if (i != NULL)
        cpu->current = i;
    cpu->mmu.origin_rip = i != NULL ? cpu_insn_start(cpu, i) : cpu->rip;
    if (i != NULL || cpu->block == NULL)
        cpu->mmu.origin_instructions = vcpu_instructions(cpu) + cpu->clock_lead;
}

/* Makes time and place exact before the MMU may reach a device or record an event. */
static void slow_enter(struct vcpu *cpu, const struct insn *i)
{
    if (i != NULL) {
        cpu_sync_time(cpu, i);
        cpu->mmu.origin_rip = cpu_insn_start(cpu, i);
    } else {
        if (cpu->block == NULL)
            vcpu_set_clock(cpu);
        cpu->mmu.origin_rip = cpu->rip;
    }
    cpu->mmu.origin_instructions = vcpu_instructions(cpu) + cpu->clock_lead;
}

static void slow_leave(struct vcpu *cpu, const struct insn *i, enum mmu_status status,
                       const struct mmu_fault *fault)
{
    switch (status) {
    case MMU_OK:
        return;
    case MMU_PAGE_FAULT:
        cpu->cr2 = fault->address.v;
        cpu_raise_code(cpu, i, EXC_PF, fault->error_code);
    case MMU_NOT_CANONICAL:
        cpu_raise_code(cpu, i, is_stack_access(cpu, i, fault->address.v) ? EXC_SS : EXC_GP, 0);
    case MMU_RESTART:
        cpu_restart(cpu, i);
    }
}

/* Accesses that never are misaligned: exception classes 6 and 12 (SDM 2A 2.4). */
static bool exempt_from_alignment(const struct insn *i)
{
    const struct insn_row *row = &insn_rows[i->row];

    return (row->attrs & A_VSIB) || strncmp(row->mnemonic, "vmaskmovp", 9) == 0 ||
           strncmp(row->mnemonic, "vpmaskmov", 9) == 0;
}

/* Alignment checking is on whenever no access is fast. Page faults come first. */
static bool misaligned(const struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    return unlikely(cpu->mmu.all_slow) && (linear & (size - 1)) != 0 && !exempt_from_alignment(i);
}

uint64_t mem_load_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    struct mmu_fault fault;
    uint64_t value = 0;

    check_4gib(cpu, i, linear, size);
    if (unlikely(cpu->debug.data_count != 0))
        debug_data(cpu, i, linear, size, false);
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_load(&cpu->mmu, gva(linear), size, &value, &fault), &fault);
    if (misaligned(cpu, i, linear, size))
        cpu_raise_code(cpu, i, EXC_AC, 0);
    return value;
}

void mem_store_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, uint64_t value,
                    unsigned size)
{
    struct mmu_fault fault;

    check_4gib(cpu, i, linear, size);
    if (unlikely(cpu->debug.data_count != 0))
        debug_data(cpu, i, linear, size, true);
    if (misaligned(cpu, i, linear, size)) {
        mem_probe_write(cpu, i, linear, size);
        cpu_raise_code(cpu, i, EXC_AC, 0);
    }
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_store(&cpu->mmu, gva(linear), size, value, &fault), &fault);
}

void mem_probe_write(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    struct mmu_fault fault;

    check_4gib(cpu, i, linear, size);
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_probe_write(&cpu->mmu, gva(linear), size, &fault), &fault);
    if (size <= 8 && (size & (size - 1)) == 0 && misaligned(cpu, i, linear, size))
        cpu_raise_code(cpu, i, EXC_AC, 0);
}

void mem_probe_read(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    struct mmu_fault fault;

    check_4gib(cpu, i, linear, size);
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_probe_read(&cpu->mmu, gva(linear), size, &fault), &fault);
}

void mem_load_bytes(struct vcpu *cpu, const struct insn *i, uint64_t linear, void *buffer,
                    unsigned size)
{
    uint8_t *out = buffer;
    unsigned n = 0;

    if (tlb_find_read(&cpu->mmu, linear, size) == NULL)
        mem_probe_read(cpu, i, linear, size);
    for (; n + 8 <= size; n += 8) {
        uint64_t v = htole64(mem_load64(cpu, i, linear + n));

        memcpy(out + n, &v, 8);
    }
    for (; n < size; n++)
        out[n] = mem_load8(cpu, i, linear + n);
}

void mem_store_bytes(struct vcpu *cpu, const struct insn *i, uint64_t linear, const void *buffer,
                     unsigned size)
{
    const uint8_t *in = buffer;
    unsigned n = 0;

    if (tlb_find_write(&cpu->mmu, linear, size) == NULL)
        mem_probe_write(cpu, i, linear, size);
    for (; n + 8 <= size; n += 8) {
        uint64_t v;

        memcpy(&v, in + n, 8);
        mem_store64(cpu, i, linear + n, le64toh(v));
    }
    for (; n < size; n++)
        mem_store8(cpu, i, linear + n, in[n]);
}

uint64_t mem_rmw_begin_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    mem_probe_write(cpu, i, linear, size);
    return mem_load_slow(cpu, i, linear, size);
}

bool mem_rmw_commit_slow(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size,
                         uint64_t *old, uint64_t value)
{
    struct mmu_fault fault;
    uint64_t expected = *old;

    if (!(i->flags & INSN_LOCK)) {
        mem_store_slow(cpu, i, linear, value, size);
        return true;
    }
    if (unlikely(cpu->debug.data_count != 0))
        debug_data(cpu, i, linear, size, true);
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_compare_exchange(&cpu->mmu, gva(linear), size, old, value, &fault),
               &fault);
    return *old == expected;
}

bool mem_compare_exchange_pair(struct vcpu *cpu, const struct insn *i, uint64_t linear,
                               uint64_t pair[2], const uint64_t replacement[2])
{
    uint64_t wanted[2] = {pair[0], pair[1]};
    struct mmu_fault fault;

    if (unlikely(cpu->debug.data_count != 0))
        debug_data(cpu, i, linear, 16, true);
    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_compare_exchange_pair(&cpu->mmu, gva(linear), pair, replacement, &fault),
               &fault);
    return pair[0] == wanted[0] && pair[1] == wanted[1];
}

uint64_t mem_load_system(struct vcpu *cpu, uint64_t linear, unsigned size)
{
    struct mmu_fault fault;
    uint64_t value = 0;
    const struct insn *i = cpu->block != NULL ? cpu->current : NULL;

    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_load_system(&cpu->mmu, gva(linear), size, &value, &fault), &fault);
    return value;
}

void mem_store_system(struct vcpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    struct mmu_fault fault;
    const struct insn *i = cpu->block != NULL ? cpu->current : NULL;

    slow_enter(cpu, i);
    slow_leave(cpu, i, mmu_store_system(&cpu->mmu, gva(linear), size, value, &fault), &fault);
}

/* Is [offset, + size) inside the segment? (SDM 3A 5.3) */
static bool inside_limit(const struct segment *s, uint64_t offset, unsigned size)
{
    uint64_t last = offset + size - 1;

    if ((s->attributes & (SEGMENT_CODE | SEGMENT_EXPAND_DOWN)) == SEGMENT_EXPAND_DOWN) {
        uint64_t top = s->attributes & SEGMENT_DB ? UINT32_MAX : 0xffff;

        return offset > s->limit && last <= top;
    }
    return last <= s->limit;
}

static bool type_allows(const struct segment *s, enum mmu_access access)
{
    if (access == MMU_WRITE)
        return (s->attributes & (SEGMENT_CODE | SEGMENT_WRITABLE)) == SEGMENT_WRITABLE;
    return !(s->attributes & SEGMENT_CODE) || (s->attributes & SEGMENT_WRITABLE);
}

uint64_t mem_segment_linear(struct vcpu *cpu, const struct insn *i, unsigned seg, uint64_t offset,
                            unsigned size, enum mmu_access access)
{
    const struct segment *s = &cpu->seg[seg];

    if (cpu->mode & MODE_64)
        return offset + (seg >= SEG_FS ? s->base : 0);
    if (!s->usable || !inside_limit(s, offset, size) ||
        ((cpu->mode & MODE_PROT) && !type_allows(s, access)))
        cpu_raise_code(cpu, i, seg == SEG_SS ? EXC_SS : EXC_GP, 0);
    return (uint32_t)(s->base + offset);
}
