/* Near branches, calls and returns, software interrupts, SYSCALL and SYSENTER; and the op functions
 * that stand for an instruction that may not run. */
#include "cpu/block.h"
#include "cpu/decode.h"
#include "cpu/exception.h"
#include "cpu/mode.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/push_pop.h"
#include "cpu/segment.h"
#include "cpu/system.h"
#include "cpu/v86.h"

#include <string.h>

/* ---- Instructions that may not run ---- */

void op_block_end(struct vcpu *cpu, const struct insn *i)
{
    uint64_t rip = (cpu->gpr[GPR_IP_BASE] + i->ip_next) & cpu->ip_mask;

    if (likely(cpu->mode & MODE_64))
        block_jump(cpu, rip);
    else
        cpu->rip = rip;
}

void op_ud(struct vcpu *cpu, const struct insn *i)
{
    cpu_raise(cpu, i, EXC_UD);
}

void op_nm(struct vcpu *cpu, const struct insn *i)
{
    cpu_raise(cpu, i, EXC_NM);
}

void op_gp0(struct vcpu *cpu, const struct insn *i)
{
    cpu_raise_code(cpu, i, EXC_GP, 0);
}

/* Remembers the bytes, for the report at exit. Every fetch has succeeded: the block was decoded. */
static void gap_record(struct vcpu *cpu, const struct insn *i)
{
    uint64_t start = cpu_insn_start(cpu, i), linear = start + cpu->seg[SEG_CS].base;
    unsigned length = (unsigned)(cpu_insn_next(cpu, i) - start);
    uint8_t bytes[15] = {0};

    cpu->current = i;
    cpu->gap_count++;
    length = MIN(length, (unsigned)sizeof(bytes));
    for (unsigned n = 0; n < length; n++) {
        const uint8_t *p = tlb_find_exec(&cpu->mmu, linear + n);

        bytes[n] = p != NULL ? guest_load8(p) : 0;
    }
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->gaps); n++) {
        if (cpu->gaps[n].count == 0) {
            memcpy(cpu->gaps[n].bytes, bytes, sizeof(bytes));
            cpu->gaps[n].length = (uint8_t)length;
            cpu->gaps[n].rip = start;
        } else if (memcmp(cpu->gaps[n].bytes, bytes, sizeof(bytes)) != 0) {
            continue;
        }
        cpu->gaps[n].count++;
        return;
    }
}

void op_gap(struct vcpu *cpu, const struct insn *i)
{
    gap_record(cpu, i);
    cpu_raise(cpu, i, EXC_UD);
}

/* ---- Near branches ---- */

/* Continues at target (already cut to the operand size), or #GP(0) if that is outside the code. */
static inline void branch(struct vcpu *cpu, const struct insn *i, uint64_t target)
{
    if (unlikely(!(i->flags & INSN_FLAT)) && target > cpu->seg[SEG_CS].limit)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->rip = target;
}

/* Targets in 64-bit mode that come from a register or memory. */
static inline void check_target_64(struct vcpu *cpu, const struct insn *i, uint64_t target)
{
    if (unlikely(!cpu_canonical(cpu, target)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
}

static inline uint64_t target_64(const struct vcpu *cpu, const struct insn *i)
{
    return cpu->gpr[GPR_IP_BASE] + (uint64_t)i->imm;
}

/* Targets of direct branches in 64-bit mode; within the page they are as canonical as the code. */
static inline bool direct_is_canonical(const struct vcpu *cpu, const struct insn *i)
{
    return likely((uint64_t)i->imm < PAGE_SIZE) || cpu_canonical(cpu, target_64(cpu, i));
}

static inline void check_direct_64(struct vcpu *cpu, const struct insn *i)
{
    if (unlikely(!direct_is_canonical(cpu, i)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
}

#define JCC(name, cc)                                                                              \
    OP(j_##name##_64)                                                                              \
    {                                                                                              \
        if (flags_condition(cpu, cc)) {                                                            \
            check_direct_64(cpu, i);                                                               \
            block_chain(cpu, 1, (uint64_t)i->imm);                                                 \
        } else {                                                                                   \
            block_chain(cpu, 0, i->ip_next);                                                       \
        }                                                                                          \
    }                                                                                              \
    OP(j_##name##_32)                                                                              \
    {                                                                                              \
        if (flags_condition(cpu, cc))                                                              \
            branch(cpu, i, (uint32_t)target_64(cpu, i));                                           \
        else                                                                                       \
            cpu->rip = cpu_insn_next(cpu, i);                                                      \
    }                                                                                              \
    OP(j_##name##_16)                                                                              \
    {                                                                                              \
        if (flags_condition(cpu, cc))                                                              \
            branch(cpu, i, (uint16_t)target_64(cpu, i));                                           \
        else                                                                                       \
            cpu->rip = cpu_insn_next(cpu, i);                                                      \
    }

JCC(o, 0)
JCC(no, 1)
JCC(b, 2)
JCC(ae, 3)
JCC(e, 4)
JCC(ne, 5)
JCC(be, 6)
JCC(a, 7)
JCC(s, 8)
JCC(ns, 9)
JCC(p, 10)
JCC(np, 11)
JCC(l, 12)
JCC(ge, 13)
JCC(le, 14)
JCC(g, 15)

OP(jmp_J_64)
{
    check_direct_64(cpu, i);
    block_chain(cpu, 0, (uint64_t)i->imm);
}

OP(jmp_J_32)
{
    branch(cpu, i, (uint32_t)target_64(cpu, i));
}

OP(jmp_J_16)
{
    branch(cpu, i, (uint16_t)target_64(cpu, i));
}

OP(jmp_E_r64)
{
    uint64_t target = reg_get64(cpu, i->rm);

    check_target_64(cpu, i, target);
    block_jump(cpu, target);
}

OP(jmp_E_m64)
{
    uint64_t target = mem_read64(cpu, i);

    check_target_64(cpu, i, target);
    block_jump(cpu, target);
}

OP(call_J_64)
{
    check_direct_64(cpu, i);
    push64(cpu, i, cpu->gpr[GPR_IP_BASE] + i->ip_next);
    block_chain(cpu, 0, (uint64_t)i->imm);
}

OP(call_E_r64)
{
    uint64_t target = reg_get64(cpu, i->rm);

    check_target_64(cpu, i, target);
    push64(cpu, i, cpu->gpr[GPR_IP_BASE] + i->ip_next);
    block_jump(cpu, target);
}

OP(call_E_m64)
{
    uint64_t target = mem_read64(cpu, i);

    check_target_64(cpu, i, target);
    push64(cpu, i, cpu->gpr[GPR_IP_BASE] + i->ip_next);
    block_jump(cpu, target);
}

OP(ret_64)
{
    uint64_t rsp = cpu->gpr[GPR_RSP];
    uint64_t target = mem_load64(cpu, i, rsp);

    check_target_64(cpu, i, target);
    cpu->gpr[GPR_RSP] = rsp + 8 + (uint64_t)i->imm;
    block_jump(cpu, target);
}

/* The same on a page that the TLB knows; else the general op does all of it, and these call nothing
 * that returns (as in cpu/ops/fast.h). */
OP(call_J_64_fast)
{
    uint64_t rsp = cpu->gpr[GPR_RSP] - 8;
    void *p = tlb_find_write(&cpu->mmu, rsp, 8);

    if (unlikely(p == NULL) || unlikely(!direct_is_canonical(cpu, i))) {
        op_call_J_64(cpu, i);
        return;
    }
    guest_store64(p, cpu->gpr[GPR_IP_BASE] + i->ip_next);
    cpu->gpr[GPR_RSP] = rsp;
    block_chain(cpu, 0, (uint64_t)i->imm);
}

/* Only where a block that follows is known, too: its address is canonical. The IP base has moved on
 * by then. */
OP(call_E_r64_fast)
{
    uint64_t rsp = cpu->gpr[GPR_RSP] - 8, from = cpu->gpr[GPR_IP_BASE] + i->ip_next;
    void *p = tlb_find_write(&cpu->mmu, rsp, 8);
    const struct block *b;

    if (unlikely(p == NULL) || unlikely((b = block_follow(cpu, reg_get64(cpu, i->rm))) == NULL)) {
        op_call_E_r64(cpu, i);
        return;
    }
    guest_store64(p, from);
    cpu->gpr[GPR_RSP] = rsp;
    b->insns[0].op(cpu, &b->insns[0]);
}

OP(ret_64_fast)
{
    uint64_t rsp = cpu->gpr[GPR_RSP];
    const void *p = tlb_find_read(&cpu->mmu, rsp, 8);
    const struct block *b;

    if (unlikely(p == NULL) || unlikely((b = block_follow(cpu, guest_load64(p))) == NULL)) {
        op_ret_64(cpu, i);
        return;
    }
    cpu->gpr[GPR_RSP] = rsp + 8 + (uint64_t)i->imm;
    b->insns[0].op(cpu, &b->insns[0]);
}

OP(jmp_E_r64_fast)
{
    const struct block *b = block_follow(cpu, reg_get64(cpu, i->rm));

    if (likely(b != NULL))
        b->insns[0].op(cpu, &b->insns[0]);
    else
        op_jmp_E_r64(cpu, i);
}

#define NEAR_LEGACY(bits)                                                                          \
    OP(jmp_E_r##bits)                                                                              \
    {                                                                                              \
        branch(cpu, i, reg_get##bits(cpu, i->rm));                                                 \
    }                                                                                              \
    OP(jmp_E_m##bits)                                                                              \
    {                                                                                              \
        branch(cpu, i, mem_read##bits(cpu, i));                                                    \
    }                                                                                              \
    static void call_##bits(struct vcpu *cpu, const struct insn *i, uint##bits##_t target)         \
    {                                                                                              \
        if (unlikely(!(i->flags & INSN_FLAT)) && target > cpu->seg[SEG_CS].limit)                  \
            cpu_raise_code(cpu, i, EXC_GP, 0);                                                     \
        push_sized(cpu, i, bits / 8, cpu_insn_next(cpu, i));                                       \
        cpu->rip = target;                                                                         \
    }                                                                                              \
    OP(call_J_##bits)                                                                              \
    {                                                                                              \
        call_##bits(cpu, i, (uint##bits##_t)target_64(cpu, i));                                    \
    }                                                                                              \
    OP(call_E_r##bits)                                                                             \
    {                                                                                              \
        call_##bits(cpu, i, reg_get##bits(cpu, i->rm));                                            \
    }                                                                                              \
    OP(call_E_m##bits)                                                                             \
    {                                                                                              \
        call_##bits(cpu, i, mem_read##bits(cpu, i));                                               \
    }                                                                                              \
    OP(ret_##bits)                                                                                 \
    {                                                                                              \
        uint64_t target = stack_read(cpu, i, 0, bits / 8);                                         \
        branch(cpu, i, target);                                                                    \
        stack_adjust(cpu, bits / 8 + i->imm);                                                      \
    }

NEAR_LEGACY(16)
NEAR_LEGACY(32)

/* ---- LOOP and JCXZ: the counter is as wide as the address size ---- */

static uint64_t loop_counter(const struct vcpu *cpu, const struct insn *i)
{
    uint64_t rcx = cpu->gpr[GPR_RCX];

    return i->flags & INSN_A16 ? (uint16_t)rcx : i->flags & INSN_A32 ? (uint32_t)rcx : rcx;
}

static void branch_short(struct vcpu *cpu, const struct insn *i, bool taken)
{
    if (!taken) {
        cpu->rip = cpu_insn_next(cpu, i);
    } else if (cpu->mode & MODE_64) {
        check_direct_64(cpu, i);
        cpu->rip = target_64(cpu, i);
    } else if (cpu->mode & MODE_CS32) {
        branch(cpu, i, (uint32_t)target_64(cpu, i));
    } else {
        branch(cpu, i, (uint16_t)target_64(cpu, i));
    }
}

static void loop_while(struct vcpu *cpu, const struct insn *i, bool condition)
{
    uint64_t count = loop_counter(cpu, i) - 1;

    if (i->flags & INSN_A16)
        count = (uint16_t)count;
    else if (i->flags & INSN_A32)
        count = (uint32_t)count;
    branch_short(cpu, i, count != 0 && condition);
    if (i->flags & INSN_A16)
        reg_set16(cpu, GPR_RCX, (uint16_t)count);
    else
        cpu->gpr[GPR_RCX] = count;
}

OP(loop)
{
    loop_while(cpu, i, true);
}

OP(loope)
{
    loop_while(cpu, i, flag_zf(cpu));
}

OP(loopne)
{
    loop_while(cpu, i, !flag_zf(cpu));
}

OP(jcxz)
{
    branch_short(cpu, i, loop_counter(cpu, i) == 0);
}

/* ---- Software interrupts ---- */

static void software_interrupt(struct vcpu *cpu, const struct insn *i, enum event_kind kind,
                               uint8_t vector)
{
    struct event e = {.kind = kind, .vector = vector, .return_rip = cpu_insn_next(cpu, i)};

    cpu->current = i;
    event_deliver(cpu, &e);
    cpu_step_now(cpu);
}

OP(int3)
{
    software_interrupt(cpu, i, EVENT_SOFTWARE, EXC_BP);
}

OP(int_n)
{
    if ((cpu->mode & MODE_V86) &&
        v86_software_interrupt(cpu, i, (uint8_t)i->imm, cpu_insn_next(cpu, i))) {
        cpu_step_now(cpu);
        return;
    }
    software_interrupt(cpu, i, EVENT_SOFTWARE, (uint8_t)i->imm);
}

OP(into)
{
    if (flag_of(cpu))
        software_interrupt(cpu, i, EVENT_SOFTWARE, EXC_OF);
    else
        cpu->rip = cpu_insn_next(cpu, i);
}

OP(int1)
{
    software_interrupt(cpu, i, EVENT_ICEBP, EXC_DB);
}

/* ---- System calls ---- */

/* A flat code or stack segment as the fast system calls load it, without a descriptor. */
static struct segment flat_segment(uint16_t selector, unsigned dpl, bool code, bool long_mode)
{
    uint16_t attributes =
        SEGMENT_PRESENT | SEGMENT_S | SEGMENT_ACCESSED | SEGMENT_WRITABLE | SEGMENT_GRANULARITY;

    attributes |= (uint16_t)(dpl << SEGMENT_DPL_SHIFT);
    attributes |= code ? SEGMENT_CODE : 0;
    attributes |= code && long_mode ? SEGMENT_LONG : SEGMENT_DB;
    return (struct segment){
        .selector = selector,
        .limit = UINT32_MAX,
        .attributes = attributes,
        .usable = true,
    };
}

static void load_flat(struct vcpu *cpu, uint16_t cs, uint16_t ss, unsigned cpl, bool long_mode)
{
    cpu->seg[SEG_CS] = flat_segment(cs, cpl, true, long_mode);
    cpu->seg[SEG_SS] = flat_segment(ss, cpl, false, long_mode);
    cpu_set_cpl(cpu, cpl);
}

OP(syscall)
{
    uint16_t selector = (uint16_t)(cpu->msr.star >> 32) & 0xfffc;
    uint64_t flags = vcpu_rflags(cpu);

    if (!(cpu->mmu.efer & EFER_SCE))
        cpu_raise(cpu, i, EXC_UD);
    cpu->gpr[GPR_RCX] = cpu_insn_next(cpu, i);
    cpu->gpr[11] = flags & ~(uint64_t)EFLAGS_RF;
    cpu->rip = cpu->msr.lstar;
    flags &= ~cpu->msr.fmask & ~(uint64_t)EFLAGS_RF;
    load_flat(cpu, selector, (uint16_t)(selector + 8), 0, true);
    cpu_write_eflags(cpu, (uint32_t)flags, ~0u);
    cpu_step_now(cpu);
}

static void sysret(struct vcpu *cpu, const struct insn *i, bool to_64)
{
    uint16_t star = (uint16_t)(cpu->msr.star >> 48);
    uint64_t flags = cpu->gpr[11] & 0x3c7fd7;

    if (!(cpu->mmu.efer & EFER_SCE))
        cpu_raise(cpu, i, EXC_UD);
    if (to_64 && !cpu_canonical(cpu, cpu->gpr[GPR_RCX]))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->rip = to_64 ? cpu->gpr[GPR_RCX] : (uint32_t)cpu->gpr[GPR_RCX];
    load_flat(cpu, (uint16_t)((star + (to_64 ? 16 : 0)) | 3), (uint16_t)((star + 8) | 3), 3, to_64);
    cpu_write_eflags(cpu, (uint32_t)flags, ~(EFLAGS_RF | EFLAGS_VM));
    cpu_step_now(cpu);
}

OP(sysret_16)
{
    sysret(cpu, i, false);
}

OP(sysret_32)
{
    sysret(cpu, i, false);
}

OP(sysret_64)
{
    sysret(cpu, i, true);
}

OP(sysenter)
{
    uint16_t selector = (uint16_t)cpu->msr.sysenter_cs & 0xfffc;
    bool long_mode = cpu->mode & MODE_LONG;

    if (selector == 0 || !(cpu->mmu.cr0 & CR0_PE))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->rip = long_mode ? cpu->msr.sysenter_eip : (uint32_t)cpu->msr.sysenter_eip;
    cpu->gpr[GPR_RSP] = long_mode ? cpu->msr.sysenter_esp : (uint32_t)cpu->msr.sysenter_esp;
    cpu->eflags &= ~(EFLAGS_VM | EFLAGS_IF);
    load_flat(cpu, selector, (uint16_t)(selector + 8), 0, long_mode);
}

static void sysexit(struct vcpu *cpu, const struct insn *i, bool to_64)
{
    uint16_t base = (uint16_t)cpu->msr.sysenter_cs & 0xfffc;
    uint16_t selector = (uint16_t)(base + (to_64 ? 32 : 16));
    uint64_t rip = cpu->gpr[GPR_RDX], rsp = cpu->gpr[GPR_RCX];

    if (base == 0 || !(cpu->mmu.cr0 & CR0_PE))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (to_64 && (!cpu_canonical(cpu, rip) || !cpu_canonical(cpu, rsp)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->rip = to_64 ? rip : (uint32_t)rip;
    cpu->gpr[GPR_RSP] = to_64 ? rsp : (uint32_t)rsp;
    load_flat(cpu, selector | 3, (uint16_t)(selector + 8) | 3, 3, to_64);
}

OP(sysexit_16)
{
    sysexit(cpu, i, false);
}

OP(sysexit_32)
{
    sysexit(cpu, i, false);
}

OP(sysexit_64)
{
    sysexit(cpu, i, true);
}

/* ---- Far transfers: the checks are in cpu/far.c ---- */

/* Reads the far pointer in memory: offset, then selector. */
static uint64_t far_pointer(struct vcpu *cpu, const struct insn *i, unsigned bits,
                            uint16_t *selector)
{
    unsigned bytes = bits / 8;
    uint64_t linear = mem_linear(cpu, i, bytes + 2, MMU_READ);
    uint64_t offset = bits == 16   ? mem_load16(cpu, i, linear)
                      : bits == 32 ? mem_load32(cpu, i, linear)
                                   : mem_load64(cpu, i, linear);

    *selector = mem_load16(cpu, i, linear + bytes);
    return offset;
}

#define FAR_OPS(bits)                                                                              \
    OP(jmpf_A_##bits)                                                                              \
    {                                                                                              \
        cpu->current = i;                                                                          \
        cpu->rip = cpu_insn_next(cpu, i);                                                          \
        far_jump(cpu, (uint16_t)(i->imm >> 32), (uint64_t)i->imm &UINT32_MAX, bits);               \
    }                                                                                              \
    OP(jmpf_M_m##bits)                                                                             \
    {                                                                                              \
        uint16_t selector;                                                                         \
        uint64_t offset = far_pointer(cpu, i, bits, &selector);                                    \
        cpu->current = i;                                                                          \
        cpu->rip = cpu_insn_next(cpu, i);                                                          \
        far_jump(cpu, selector, offset, bits);                                                     \
    }                                                                                              \
    OP(callf_A_##bits)                                                                             \
    {                                                                                              \
        cpu->current = i;                                                                          \
        far_call(cpu, (uint16_t)(i->imm >> 32), (uint64_t)i->imm &UINT32_MAX, bits,                \
                 cpu_insn_next(cpu, i));                                                           \
    }                                                                                              \
    OP(callf_M_m##bits)                                                                            \
    {                                                                                              \
        uint16_t selector;                                                                         \
        uint64_t offset = far_pointer(cpu, i, bits, &selector);                                    \
        cpu->current = i;                                                                          \
        far_call(cpu, selector, offset, bits, cpu_insn_next(cpu, i));                              \
    }                                                                                              \
    OP(retf_##bits)                                                                                \
    {                                                                                              \
        cpu->current = i;                                                                          \
        far_return(cpu, bits, (uint16_t)i->imm);                                                   \
    }                                                                                              \
    OP(iret_##bits)                                                                                \
    {                                                                                              \
        cpu->current = i;                                                                          \
        cpu_serialize();                                                                           \
        interrupt_return(cpu, bits, cpu_insn_next(cpu, i));                                        \
    }

FAR_OPS(16)
FAR_OPS(32)
FAR_OPS(64)
