/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE, PUSHF, POPF. */
#include "cpu/ops/operand.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/push_pop.h"
#include "cpu/system.h"
#include "cpu/v86.h"

/* A 64-bit operand exists only in 64-bit mode, where the stack is flat. */
static inline uint64_t pop64(struct vcpu *cpu, const struct insn *i)
{
    uint64_t v = mem_load64(cpu, i, cpu->gpr[GPR_RSP]);

    cpu->gpr[GPR_RSP] += 8;
    return v;
}

static inline void push32(struct vcpu *cpu, const struct insn *i, uint64_t value)
{
    push_sized(cpu, i, 4, value);
}

static inline void push16(struct vcpu *cpu, const struct insn *i, uint64_t value)
{
    push_sized(cpu, i, 2, value);
}

static inline uint32_t pop32(struct vcpu *cpu, const struct insn *i)
{
    uint32_t v = (uint32_t)stack_read(cpu, i, 0, 4);

    stack_adjust(cpu, 4);
    return v;
}

static inline uint16_t pop16(struct vcpu *cpu, const struct insn *i)
{
    uint16_t v = (uint16_t)stack_read(cpu, i, 0, 2);

    stack_adjust(cpu, 2);
    return v;
}

/* PUSH SP pushes the old value, POP SP keeps the popped one; POP to memory with an RSP base uses
 * the incremented RSP (SDM 2B "POP"). */
#define PUSH_POP_FORMS(bits)                                                                       \
    OP(push_Z_##bits)                                                                              \
    {                                                                                              \
        push##bits(cpu, i, reg_get##bits(cpu, i->rm));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(push_I_##bits)                                                                              \
    {                                                                                              \
        push##bits(cpu, i, (uint64_t)i->imm);                                                      \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(push_E_r##bits)                                                                             \
    {                                                                                              \
        push##bits(cpu, i, reg_get##bits(cpu, i->rm));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(push_E_m##bits)                                                                             \
    {                                                                                              \
        push##bits(cpu, i, mem_read##bits(cpu, i));                                                \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(pop_Z_##bits)                                                                               \
    {                                                                                              \
        uint##bits##_t v = pop##bits(cpu, i);                                                      \
        reg_set##bits(cpu, i->rm, v);                                                              \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(pop_E_r##bits)                                                                              \
    {                                                                                              \
        uint##bits##_t v = pop##bits(cpu, i);                                                      \
        reg_set##bits(cpu, i->rm, v);                                                              \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(pop_E_m##bits)                                                                              \
    {                                                                                              \
        int64_t moved = i->base == GPR_RSP ? bits / 8 : 0;                                         \
        uint##bits##_t v = (uint##bits##_t)stack_read(cpu, i, 0, bits / 8);                        \
        mem_store##bits(cpu, i, mem_linear_moved(cpu, i, moved, bits / 8, MMU_WRITE), v);          \
        stack_adjust(cpu, bits / 8);                                                               \
        NEXT;                                                                                      \
    }

PUSH_POP_FORMS(16)
PUSH_POP_FORMS(32)
PUSH_POP_FORMS(64)

/* 64-bit stack operations on a page that the TLB knows; else the general op does all of it, and
 * these call nothing that returns (as in cpu/ops/fast.h). */
#define PUSH_FAST(stem, value)                                                                     \
    OP(stem##_fast)                                                                                \
    {                                                                                              \
        uint64_t rsp = cpu->gpr[GPR_RSP] - 8;                                                      \
        void *p = tlb_find_write(&cpu->mmu, rsp, 8);                                               \
        if (unlikely(p == NULL)) {                                                                 \
            op_##stem(cpu, i);                                                                     \
            return;                                                                                \
        }                                                                                          \
        guest_store64(p, value);                                                                   \
        cpu->gpr[GPR_RSP] = rsp;                                                                   \
        NEXT;                                                                                      \
    }

PUSH_FAST(push_Z_64, reg_get64(cpu, i->rm))
PUSH_FAST(push_E_r64, reg_get64(cpu, i->rm))
PUSH_FAST(push_I_64, (uint64_t)i->imm)

OP(pop_Z_64_fast)
{
    uint64_t rsp = cpu->gpr[GPR_RSP];
    const void *p = tlb_find_read(&cpu->mmu, rsp, 8);

    if (unlikely(p == NULL)) {
        op_pop_Z_64(cpu, i);
        return;
    }
    cpu->gpr[GPR_RSP] = rsp + 8;
    reg_set64(cpu, i->rm, guest_load64(p));
    NEXT;
}

/* PUSHA: every write is probed before the first is done. */
static void push_all(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t linear[8];

    for (int n = 0; n < 8; n++) {
        linear[n] = stack_address(cpu, i, -(int64_t)size * (n + 1), size, MMU_WRITE);
        mem_probe_write(cpu, i, linear[n], size);
    }
    for (unsigned n = 0; n < 8; n++) {
        if (size == 2)
            mem_store16(cpu, i, linear[n], reg_get16(cpu, n));
        else
            mem_store32(cpu, i, linear[n], reg_get32(cpu, n));
    }
    stack_adjust(cpu, -8 * (int64_t)size);
}

OP(pusha_16)
{
    push_all(cpu, i, 2);
    NEXT;
}

OP(pusha_32)
{
    push_all(cpu, i, 4);
    NEXT;
}

/* Not in 64-bit mode. */
OP(pusha_64)
{
    cpu_raise(cpu, i, EXC_UD);
}

/* POPA skips the saved stack pointer. */
static void pop_all(struct vcpu *cpu, const struct insn *i, unsigned size, uint32_t values[8])
{
    for (int n = 0; n < 8; n++)
        values[7 - n] = (uint32_t)stack_read(cpu, i, (int64_t)size * n, size);
    stack_adjust(cpu, 8 * (int64_t)size);
}

OP(popa_16)
{
    uint32_t values[8];

    pop_all(cpu, i, 2, values);
    for (unsigned n = 0; n < 8; n++)
        if (n != GPR_RSP)
            reg_set16(cpu, n, (uint16_t)values[n]);
    NEXT;
}

OP(popa_32)
{
    uint32_t values[8];

    pop_all(cpu, i, 4, values);
    for (unsigned n = 0; n < 8; n++)
        if (n != GPR_RSP)
            reg_set32(cpu, n, values[n]);
    NEXT;
}

OP(popa_64)
{
    cpu_raise(cpu, i, EXC_UD);
}

/* Linear address of the frame pointer moved by `offset`, in the width of the stack. */
static uint64_t frame_address(struct vcpu *cpu, const struct insn *i, int64_t offset, unsigned size)
{
    uint64_t rbp = (cpu->gpr[GPR_RBP] + (uint64_t)offset) & stack_mask(cpu);

    return mem_linear_at(cpu, i, SEG_SS, rbp, size, MMU_READ);
}

static uint64_t load_sized(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size)
{
    return size == 2   ? mem_load16(cpu, i, linear)
           : size == 4 ? mem_load32(cpu, i, linear)
                       : mem_load64(cpu, i, linear);
}

static void store_sized(struct vcpu *cpu, const struct insn *i, uint64_t linear, unsigned size,
                        uint64_t value)
{
    if (size == 2)
        mem_store16(cpu, i, linear, (uint16_t)value);
    else if (size == 4)
        mem_store32(cpu, i, linear, (uint32_t)value);
    else
        mem_store64(cpu, i, linear, value);
}

/*
 * ENTER (SDM 2A "ENTER"): pushes RBP, then level - 1 pointers copied from the old frame and one to
 * the new, then makes room. The copies may overlap, so they are done one after another, with every
 * access probed before. The final RSP must be writable.
 */
static void enter(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    unsigned room = (uint16_t)i->imm, level = ((uint32_t)i->imm >> 16) & 31;
    int64_t step = size, depth = step * (level + 1);
    uint64_t mask = stack_mask(cpu), rsp = cpu->gpr[GPR_RSP];
    uint64_t frame = (rsp & ~mask) | ((rsp - size) & mask);

    for (int64_t n = 1; n <= level + 1; n++)
        mem_probe_write(cpu, i, stack_address(cpu, i, -step * n, size, MMU_WRITE), size);
    for (int64_t n = 1; n < level; n++)
        mem_probe_read(cpu, i, frame_address(cpu, i, -step * n, size), size);
    mem_probe_write(cpu, i, stack_address(cpu, i, -depth - room, size, MMU_WRITE), size);

    store_sized(cpu, i, stack_address(cpu, i, -step, size, MMU_WRITE), size, cpu->gpr[GPR_RBP]);
    for (int64_t n = 1; n < level; n++) {
        uint64_t v = load_sized(cpu, i, frame_address(cpu, i, -step * n, size), size);

        store_sized(cpu, i, stack_address(cpu, i, -step * (n + 1), size, MMU_WRITE), size, v);
    }
    if (level > 0)
        store_sized(cpu, i, stack_address(cpu, i, -depth, size, MMU_WRITE), size, frame);
    else
        depth = step;
    stack_adjust(cpu, -depth - room);
    if (size == 2)
        reg_set16(cpu, GPR_RBP, (uint16_t)frame);
    else
        reg_set64(cpu, GPR_RBP, size == 4 ? (uint32_t)frame : frame);
}

/* LEAVE: RSP = RBP in the width of the stack, then POP RBP in the operand's. */
static void leave(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint64_t v = load_sized(cpu, i, frame_address(cpu, i, 0, size), size);

    stack_set(cpu, cpu->gpr[GPR_RBP] + size);
    if (size == 2)
        reg_set16(cpu, GPR_RBP, (uint16_t)v);
    else
        reg_set64(cpu, GPR_RBP, v);
}

/* What PUSHF shows of EFLAGS: not VM and RF. Virtual-8086 mode below IOPL 3 faults, or with CR4.VME
 * and a 16-bit operand sees VIF as IF (SDM 2B "PUSHF", SDM 3B 20.3). */
static uint64_t pushf_image(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    uint32_t flags = (uint32_t)vcpu_rflags(cpu) & ~(EFLAGS_VM | EFLAGS_RF);

    if ((cpu->mode & MODE_V86) && (flags & EFLAGS_IOPL) != EFLAGS_IOPL) {
        if (size != 2 || !v86_virtual_if(cpu))
            cpu_raise_code(cpu, i, EXC_GP, 0);
        flags = (flags & ~EFLAGS_IF) | EFLAGS_IOPL | (flags & EFLAGS_VIF ? EFLAGS_IF : 0);
    }
    return flags;
}

#define POPF_ANY                                                                                   \
    (EFLAGS_STATUS | EFLAGS_TF | EFLAGS_DF | EFLAGS_NT | EFLAGS_AC | EFLAGS_ID | EFLAGS_RF)

/* The flags that POPF may change at this privilege (SDM 2B table 4-15). */
static uint32_t popf_mask(const struct vcpu *cpu, unsigned size)
{
    uint32_t mask = POPF_ANY, iopl = (cpu->eflags & EFLAGS_IOPL) >> 12;

    if (cpu_cpl(cpu) == 0 && !(cpu->mode & MODE_V86))
        mask |= EFLAGS_IOPL | EFLAGS_IF;
    else if (cpu_cpl(cpu) <= iopl)
        mask |= EFLAGS_IF;
    return size == 2 ? mask & (0xffff | EFLAGS_RF) : mask;
}

static void popf(struct vcpu *cpu, const struct insn *i, unsigned size)
{
    bool virtual_if = false;
    uint32_t value, mask;

    if ((cpu->mode & MODE_V86) && (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL) {
        if (size != 2 || !v86_virtual_if(cpu))
            cpu_raise_code(cpu, i, EXC_GP, 0);
        virtual_if = true;
    }
    value = (uint32_t)stack_read(cpu, i, 0, size) & ~EFLAGS_RF;
    mask = popf_mask(cpu, size);
    if (virtual_if) {
        if (((cpu->eflags & EFLAGS_VIP) && (value & EFLAGS_IF)) || (value & EFLAGS_TF))
            cpu_raise_code(cpu, i, EXC_GP, 0);
        mask = (mask & ~EFLAGS_IF) | EFLAGS_VIF;
        value = (value & 0xffff) | (value & EFLAGS_IF ? EFLAGS_VIF : 0);
    }
    stack_adjust(cpu, size);
    cpu_write_eflags(cpu, value, mask);
}

#define FRAME_FORMS(bits)                                                                          \
    OP(enter_##bits)                                                                               \
    {                                                                                              \
        enter(cpu, i, bits / 8);                                                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(leave_##bits)                                                                               \
    {                                                                                              \
        leave(cpu, i, bits / 8);                                                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(pushf_##bits)                                                                               \
    {                                                                                              \
        push##bits(cpu, i, pushf_image(cpu, i, bits / 8));                                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(popf_##bits)                                                                                \
    {                                                                                              \
        popf(cpu, i, bits / 8);                                                                    \
        NEXT;                                                                                      \
    }

FRAME_FORMS(16)
FRAME_FORMS(32)
FRAME_FORMS(64)
