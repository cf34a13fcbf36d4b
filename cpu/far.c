/* Far jumps, calls and returns, and IRET (SDM 3A 5.8, 6.12; SDM 2 "JMP", "CALL", "RET", "IRET"). */
#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/segment.h"
#include "cpu/system.h"
#include "cpu/v86.h"

_Noreturn static void raise_selector(struct vcpu *cpu, enum exception_vector vector,
                                     uint16_t selector)
{
    cpu_raise_code(cpu, NULL, vector, selector & 0xfffcu);
}

static uint64_t offset_mask(unsigned size)
{
    return size == 16 ? 0xffff : size == 32 ? UINT32_MAX : UINT64_MAX;
}

/* Is the target inside the code segment, or canonical in 64-bit code? */
static void check_target(struct vcpu *cpu, const struct descriptor *cs, uint64_t offset)
{
    if ((cpu->mode & MODE_LONG) && (cs->attributes & SEGMENT_LONG)) {
        if (!cpu_canonical(cpu, offset))
            cpu_raise_code(cpu, NULL, EXC_GP, 0);
    } else if (offset > cs->limit) {
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    }
}

/* Common checks of a code descriptor that is entered at the same level (JMP, CALL). */
static void check_code_same(struct vcpu *cpu, uint16_t selector, const struct descriptor *d)
{
    unsigned rpl = selector & 3, dpl = descriptor_dpl(d->attributes), cpl = cpu_cpl(cpu);

    if (d->attributes & SEGMENT_EXPAND_DOWN) { /* conforming */
        if (dpl > cpl)
            raise_selector(cpu, EXC_GP, selector);
    } else if (rpl > cpl || dpl != cpl) {
        raise_selector(cpu, EXC_GP, selector);
    }
    if (!(d->attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    if ((cpu->mode & MODE_LONG) && (d->attributes & SEGMENT_LONG) && (d->attributes & SEGMENT_DB))
        raise_selector(cpu, EXC_GP, selector);
}

static void far_real(struct vcpu *cpu, uint16_t selector, uint64_t offset)
{
    if (offset > 0xffff)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    segment_load_real(cpu, SEG_CS, selector);
    cpu->rip = offset;
}

/* A call gate, checked; target selector and offset. */
struct call_gate {
    uint16_t selector;
    uint64_t offset;
    unsigned size;       /* bits: 16, 32, 64 */
    unsigned parameters; /* to copy to an inner stack */
};

static struct call_gate call_gate_read(struct vcpu *cpu, uint16_t selector)
{
    bool wide = cpu->mode & MODE_LONG;
    struct descriptor d = descriptor_read(cpu, selector, wide, EXC_GP);
    unsigned dpl = descriptor_dpl(d.attributes);
    struct call_gate g;

    if (dpl < cpu_cpl(cpu) || dpl < (selector & 3u))
        raise_selector(cpu, EXC_GP, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    g.selector = (uint16_t)(d.raw >> 16);
    g.offset = (d.raw & 0xffff) | ((d.raw >> 32) & 0xffff0000);
    if (wide)
        g.offset |= (d.base >> 32) << 32;
    g.size = wide ? 64 : (d.attributes & SEGMENT_TYPE) == SYSTEM_CALL_GATE ? 32 : 16;
    if (g.size == 16)
        g.offset &= 0xffff;
    g.parameters = wide ? 0 : (d.raw >> 32) & 0x1f;
    return g;
}

/* The code segment behind a call gate. Only CALL may enter an inner level. */
static struct descriptor call_gate_target(struct vcpu *cpu, const struct call_gate *g, bool call)
{
    struct descriptor cs;
    bool inner;

    if ((g->selector & 0xfffc) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    cs = descriptor_read(cpu, g->selector, false, EXC_GP);
    if (!descriptor_is_code(cs.attributes) || descriptor_dpl(cs.attributes) > cpu_cpl(cpu))
        raise_selector(cpu, EXC_GP, g->selector);
    inner = !(cs.attributes & SEGMENT_EXPAND_DOWN) && descriptor_dpl(cs.attributes) < cpu_cpl(cpu);
    if (inner && !call)
        raise_selector(cpu, EXC_GP, g->selector);
    if (g->size == 64 && (cs.attributes & (SEGMENT_LONG | SEGMENT_DB)) != SEGMENT_LONG)
        raise_selector(cpu, EXC_GP, g->selector);
    if (!(cs.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, g->selector);
    return cs;
}

/* What a system descriptor's type asks a far JMP or CALL to do. */
enum far_kind { FAR_GATE, FAR_TASK_GATE, FAR_TSS };

static enum far_kind system_target(struct vcpu *cpu, uint16_t selector, const struct descriptor *d)
{
    bool wide = cpu->mode & MODE_LONG;
    unsigned rpl = selector & 3, dpl = descriptor_dpl(d->attributes);

    switch (d->attributes & SEGMENT_TYPE) {
    case SYSTEM_CALL_GATE:
        return FAR_GATE;
    case SYSTEM_CALL_GATE16:
        if (!wide)
            return FAR_GATE;
        break;
    case SYSTEM_TASK_GATE:
    case SYSTEM_TSS16:
    case SYSTEM_TSS:
        if (wide || dpl < cpu_cpl(cpu) || dpl < rpl)
            break;
        if (!(d->attributes & SEGMENT_PRESENT))
            raise_selector(cpu, EXC_NP, selector);
        return (d->attributes & SEGMENT_TYPE) == SYSTEM_TASK_GATE ? FAR_TASK_GATE : FAR_TSS;
    }
    raise_selector(cpu, EXC_GP, selector);
}

static uint16_t task_gate_tss(const struct descriptor *d)
{
    return (uint16_t)(d->raw >> 16);
}

static void jump_through_gate(struct vcpu *cpu, uint16_t selector)
{
    struct call_gate g = call_gate_read(cpu, selector);
    struct descriptor cs = call_gate_target(cpu, &g, false);

    check_target(cpu, &cs, g.offset);
    descriptor_set_accessed(cpu, &cs);
    segment_set_cs(cpu, g.selector, &cs, cpu_cpl(cpu));
    cpu->rip = g.offset;
}

void far_jump(struct vcpu *cpu, uint16_t selector, uint64_t offset, unsigned size)
{
    uint64_t next = cpu->rip;
    struct descriptor d;

    offset &= offset_mask(size);
    if (!(cpu->mode & MODE_PROT)) {
        far_real(cpu, selector, offset);
        return;
    }
    if ((selector & 0xfffc) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    d = descriptor_read(cpu, selector, false, EXC_GP);
    if (descriptor_is_code(d.attributes)) {
        check_code_same(cpu, selector, &d);
        check_target(cpu, &d, offset);
        descriptor_set_accessed(cpu, &d);
        segment_set_cs(cpu, selector, &d, cpu_cpl(cpu));
        cpu->rip = offset;
        return;
    }
    if (!descriptor_is_system(d.attributes))
        raise_selector(cpu, EXC_GP, selector);
    switch (system_target(cpu, selector, &d)) {
    case FAR_GATE:
        jump_through_gate(cpu, selector);
        break;
    case FAR_TASK_GATE:
        task_switch(cpu, task_gate_tss(&d), TASK_JUMP, next, NULL);
        break;
    case FAR_TSS:
        task_switch(cpu, selector, TASK_JUMP, next, NULL);
        break;
    }
}

/* Call gate to more privileged code: new stack, parameters copied (SDM 3A 5.8.5). */
static void call_inner(struct vcpu *cpu, const struct call_gate *g, struct descriptor *cs,
                       uint64_t next)
{
    unsigned cpl = descriptor_dpl(cs->attributes), bytes = g->size / 8;
    struct segment old_ss = cpu->seg[SEG_SS], new_ss;
    struct stack old = stack_current(cpu), s = {.cpl = cpl};
    uint64_t parameters[31];

    if (g->size == 64) {
        new_ss = (struct segment){
            .selector = (uint16_t)cpl,
            .attributes = (uint16_t)(cpl << SEGMENT_DPL_SHIFT),
        };
        s.rsp = tss_stack64(cpu, cpl);
        s.mask = UINT64_MAX;
    } else {
        uint16_t selector;
        uint32_t esp;

        tss_stack(cpu, cpl, &selector, &esp);
        segment_load_stack(cpu, selector, cpl);
        new_ss = cpu->seg[SEG_SS];
        cpu->seg[SEG_SS] = old_ss;
        s.ss = &new_ss;
        s.rsp = esp;
        s.code = selector & 0xfffc;
        s.mask = new_ss.attributes & SEGMENT_DB ? UINT32_MAX : 0xffff;
    }
    for (unsigned n = 0; n < g->parameters; n++)
        parameters[n] = stack_pop(cpu, &old, bytes);
    stack_push(cpu, &s, bytes, old_ss.selector);
    stack_push(cpu, &s, bytes, cpu->gpr[GPR_RSP]);
    for (unsigned n = g->parameters; n > 0; n--)
        stack_push(cpu, &s, bytes, parameters[n - 1]);
    stack_push(cpu, &s, bytes, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, bytes, next);
    check_target(cpu, cs, g->offset);
    descriptor_set_accessed(cpu, cs);
    cpu->seg[SEG_SS] = new_ss;
    stack_commit(cpu, &s);
    segment_set_cs(cpu, g->selector, cs, cpl);
    cpu->rip = g->offset;
}

static void call_through_gate(struct vcpu *cpu, uint16_t selector, uint64_t next)
{
    struct call_gate g = call_gate_read(cpu, selector);
    struct descriptor cs = call_gate_target(cpu, &g, true);
    struct stack s;

    if (!(cs.attributes & SEGMENT_EXPAND_DOWN) && descriptor_dpl(cs.attributes) < cpu_cpl(cpu)) {
        call_inner(cpu, &g, &cs, next);
        return;
    }
    s = stack_current(cpu);
    if (g.size == 64)
        s.mask = UINT64_MAX;
    stack_push(cpu, &s, g.size / 8, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, g.size / 8, next);
    check_target(cpu, &cs, g.offset);
    descriptor_set_accessed(cpu, &cs);
    stack_commit(cpu, &s);
    segment_set_cs(cpu, g.selector, &cs, cpu_cpl(cpu));
    cpu->rip = g.offset;
}

void far_call(struct vcpu *cpu, uint16_t selector, uint64_t offset, unsigned size, uint64_t next)
{
    struct stack s = stack_current(cpu);
    struct descriptor d;

    offset &= offset_mask(size);
    if (!(cpu->mode & MODE_PROT)) {
        if (offset > 0xffff)
            cpu_raise_code(cpu, NULL, EXC_GP, 0);
        stack_push(cpu, &s, size / 8, cpu->seg[SEG_CS].selector);
        stack_push(cpu, &s, size / 8, next);
        stack_commit(cpu, &s);
        far_real(cpu, selector, offset);
        return;
    }
    if ((selector & 0xfffc) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    d = descriptor_read(cpu, selector, false, EXC_GP);
    if (descriptor_is_code(d.attributes)) {
        check_code_same(cpu, selector, &d);
        stack_push(cpu, &s, size / 8, cpu->seg[SEG_CS].selector);
        stack_push(cpu, &s, size / 8, next);
        check_target(cpu, &d, offset);
        descriptor_set_accessed(cpu, &d);
        stack_commit(cpu, &s);
        segment_set_cs(cpu, selector, &d, cpu_cpl(cpu));
        cpu->rip = offset;
        return;
    }
    if (!descriptor_is_system(d.attributes))
        raise_selector(cpu, EXC_GP, selector);
    switch (system_target(cpu, selector, &d)) {
    case FAR_GATE:
        call_through_gate(cpu, selector, next);
        break;
    case FAR_TASK_GATE:
        task_switch(cpu, task_gate_tss(&d), TASK_CALL, next, NULL);
        break;
    case FAR_TSS:
        task_switch(cpu, selector, TASK_CALL, next, NULL);
        break;
    }
}

/* The code segment that a return goes to, checked. */
static struct descriptor return_code(struct vcpu *cpu, uint16_t selector)
{
    unsigned rpl = selector & 3, dpl;
    struct descriptor cs;

    if ((selector & 0xfffc) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    cs = descriptor_read(cpu, selector, false, EXC_GP);
    dpl = descriptor_dpl(cs.attributes);
    if (!descriptor_is_code(cs.attributes) || rpl < cpu_cpl(cpu))
        raise_selector(cpu, EXC_GP, selector);
    if (cs.attributes & SEGMENT_EXPAND_DOWN ? dpl > rpl : dpl != rpl)
        raise_selector(cpu, EXC_GP, selector);
    if ((cpu->mode & MODE_LONG) && (cs.attributes & SEGMENT_LONG) && (cs.attributes & SEGMENT_DB))
        raise_selector(cpu, EXC_GP, selector);
    if (!(cs.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    return cs;
}

/* The stack segment of an outer level. Returns it without touching the processor. */
static struct segment return_stack(struct vcpu *cpu, uint16_t selector, unsigned rpl,
                                   const struct descriptor *cs)
{
    bool to_64 = (cpu->mode & MODE_LONG) && (cs->attributes & SEGMENT_LONG);
    struct segment ss;
    struct descriptor d;

    if ((selector & 0xfffc) == 0) {
        if (!to_64 || rpl == 3 || (selector & 3u) != rpl)
            cpu_raise_code(cpu, NULL, EXC_GP, 0);
        return (struct segment){.selector = selector,
                                .attributes = (uint16_t)(rpl << SEGMENT_DPL_SHIFT)};
    }
    d = descriptor_read(cpu, selector, false, EXC_GP);
    if ((selector & 3u) != rpl || descriptor_dpl(d.attributes) != rpl ||
        !descriptor_is_data(d.attributes) || !(d.attributes & SEGMENT_WRITABLE))
        raise_selector(cpu, EXC_GP, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_SS, selector);
    descriptor_set_accessed(cpu, &d);
    segment_fill(&ss, selector, &d);
    return ss;
}

/* RSP of an outer level: as wide as its stack segment says. */
static void set_outer_stack(struct vcpu *cpu, const struct segment *ss, uint64_t rsp, bool to_64)
{
    uint64_t *reg = &cpu->gpr[GPR_RSP];

    cpu->seg[SEG_SS] = *ss;
    if (to_64)
        *reg = rsp;
    else if (ss->attributes & SEGMENT_DB)
        *reg = (uint32_t)rsp;
    else
        *reg = (*reg & ~0xffffull) | (rsp & 0xffff);
}

void far_return(struct vcpu *cpu, unsigned size, unsigned release)
{
    struct stack s = stack_current(cpu);
    uint64_t rip = stack_pop(cpu, &s, size / 8), rsp;
    uint16_t selector = (uint16_t)stack_pop(cpu, &s, size / 8), ss_selector;
    struct descriptor cs;
    struct segment ss;
    bool to_64;

    if (!(cpu->mode & MODE_PROT)) {
        if (rip > 0xffff)
            cpu_raise_code(cpu, NULL, EXC_GP, 0);
        s.rsp += release;
        stack_commit(cpu, &s);
        far_real(cpu, selector, rip);
        return;
    }
    cs = return_code(cpu, selector);
    check_target(cpu, &cs, rip);
    s.rsp = (s.rsp & ~s.mask) | ((s.rsp + release) & s.mask);
    if ((selector & 3u) == cpu_cpl(cpu)) {
        descriptor_set_accessed(cpu, &cs);
        stack_commit(cpu, &s);
        segment_set_cs(cpu, selector, &cs, cpu_cpl(cpu));
        cpu->rip = rip;
        return;
    }
    rsp = stack_pop(cpu, &s, size / 8);
    ss_selector = (uint16_t)stack_pop(cpu, &s, size / 8);
    to_64 = (cpu->mode & MODE_LONG) && (cs.attributes & SEGMENT_LONG);
    ss = return_stack(cpu, ss_selector, selector & 3, &cs);
    descriptor_set_accessed(cpu, &cs);
    set_outer_stack(cpu, &ss, rsp, to_64);
    cpu->gpr[GPR_RSP] += release;
    segment_set_cs(cpu, selector, &cs, selector & 3);
    cpu->rip = rip;
    segment_drop_privileged(cpu);
}

/* EFLAGS bits that IRET may change at this privilege. */
static uint32_t iret_mask(const struct vcpu *cpu, unsigned size, unsigned cpl)
{
    uint32_t mask = EFLAGS_STATUS | EFLAGS_TF | EFLAGS_DF | EFLAGS_NT;

    if (size != 16)
        mask |= EFLAGS_RF | EFLAGS_AC | EFLAGS_ID;
    if (cpl <= (cpu->eflags & EFLAGS_IOPL) >> 12)
        mask |= EFLAGS_IF;
    if (cpl == 0) {
        mask |= EFLAGS_IOPL;
        if (size != 16)
            mask |= EFLAGS_VIF | EFLAGS_VIP;
    }
    return mask;
}

/* IRET inside virtual-8086 mode: the flags that it changes, and *flags as they are to be loaded.
 * With CR4.VME the 16-bit form below IOPL 3 loads VIF, and faults where the monitor has to look
 * (SDM 3B 20.3.3.4). */
static uint32_t iret_v86(struct vcpu *cpu, unsigned size, uint32_t *flags)
{
    uint32_t mask = iret_mask(cpu, size, 3);

    if ((cpu->eflags & EFLAGS_IOPL) == EFLAGS_IOPL)
        return mask;
    if (size != 16 || !v86_virtual_if(cpu) || (*flags & EFLAGS_TF) ||
        ((*flags & EFLAGS_IF) && (cpu->eflags & EFLAGS_VIP)))
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    *flags = (uint16_t)*flags | (*flags & EFLAGS_IF ? EFLAGS_VIF : 0);
    return mask | EFLAGS_VIF;
}

static void iret_real(struct vcpu *cpu, unsigned size)
{
    struct stack s = stack_current(cpu);
    uint64_t rip = stack_pop(cpu, &s, size / 8);
    uint16_t selector = (uint16_t)stack_pop(cpu, &s, size / 8);
    uint32_t flags = (uint32_t)stack_pop(cpu, &s, size / 8);
    uint32_t mask = iret_mask(cpu, size, 0);

    if (cpu->mode & MODE_V86)
        mask = iret_v86(cpu, size, &flags);
    if (rip > 0xffff)
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    stack_commit(cpu, &s);
    far_real(cpu, selector, rip);
    cpu_write_eflags(cpu, flags, mask);
}

/* From CPL 0 to virtual-8086 mode: six more words on the stack. */
static void iret_to_v86(struct vcpu *cpu, struct stack *s, uint64_t rip, uint16_t cs,
                        uint32_t flags)
{
    static const uint8_t order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t rsp = stack_pop(cpu, s, 4);
    uint16_t ss = (uint16_t)stack_pop(cpu, s, 4), selectors[4];

    for (unsigned n = 0; n < 4; n++)
        selectors[n] = (uint16_t)stack_pop(cpu, s, 4);
    cpu->eflags |= EFLAGS_VM;
    cpu->mmu.cpl = 3;
    cpu->gpr[GPR_RSP] = (uint32_t)rsp;
    cpu->rip = rip & 0xffff;
    segment_load_real(cpu, SEG_CS, cs);
    segment_load_real(cpu, SEG_SS, ss);
    for (unsigned n = 0; n < 4; n++)
        segment_load_real(cpu, order[n], selectors[n]);
    cpu_write_eflags(cpu, flags, ~0u);
}

static void iret_protected(struct vcpu *cpu, unsigned size)
{
    struct stack s = stack_current(cpu);
    uint64_t rip = stack_pop(cpu, &s, size / 8), rsp = 0;
    uint16_t selector = (uint16_t)stack_pop(cpu, &s, size / 8), ss_selector = 0;
    uint32_t flags = (uint32_t)stack_pop(cpu, &s, size / 8);
    unsigned old_cpl = cpu_cpl(cpu), cpl = selector & 3;
    bool from_64 = cpu->mode & MODE_64, to_64;
    uint32_t mask = iret_mask(cpu, size, old_cpl);
    struct descriptor cs;
    struct segment ss = {0};

    if ((flags & EFLAGS_VM) && size == 32 && old_cpl == 0 && !(cpu->mode & MODE_LONG)) {
        iret_to_v86(cpu, &s, rip, selector, flags);
        return;
    }
    cs = return_code(cpu, selector);
    to_64 = (cpu->mode & MODE_LONG) && (cs.attributes & SEGMENT_LONG);
    if (from_64 || cpl != old_cpl) {
        rsp = stack_pop(cpu, &s, size / 8);
        ss_selector = (uint16_t)stack_pop(cpu, &s, size / 8);
        ss = return_stack(cpu, ss_selector, cpl, &cs);
    }
    check_target(cpu, &cs, rip);
    descriptor_set_accessed(cpu, &cs);
    if (from_64 || cpl != old_cpl)
        set_outer_stack(cpu, &ss, rsp, to_64);
    else
        stack_commit(cpu, &s);
    segment_set_cs(cpu, selector, &cs, cpl);
    cpu->rip = rip;
    if (cpl != old_cpl)
        segment_drop_privileged(cpu);
    cpu_write_eflags(cpu, flags, mask);
}

void interrupt_return(struct vcpu *cpu, unsigned size, uint64_t next)
{
    cpu->nmi_blocked = false;
    if (!(cpu->mode & MODE_PROT)) {
        iret_real(cpu, size);
    } else if (cpu->eflags & EFLAGS_NT) {
        uint16_t link;

        if (cpu->mode & MODE_LONG)
            cpu_raise_code(cpu, NULL, EXC_GP, 0);
        link = (uint16_t)mem_load_system(cpu, cpu->tr.base, 2);
        task_switch(cpu, link, TASK_IRET, next, NULL);
    } else {
        iret_protected(cpu, size);
    }
}
