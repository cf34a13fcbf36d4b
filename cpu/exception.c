#include "cpu/exception.h"

#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/segment.h"
#include "cpu/system.h"

bool exception_has_error_code(uint8_t vector)
{
    switch (vector) {
    case EXC_DF:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP:
    case EXC_PF:
    case EXC_AC:
        return true;
    default:
        return false;
    }
}

static bool is_contributory(uint8_t vector)
{
    return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

enum fault_merge fault_merge(bool delivering, uint8_t first, uint8_t second)
{
    if (!delivering)
        return MERGE_SERIAL;
    if (first == EXC_DF)
        return MERGE_SHUTDOWN;
    if (is_contributory(first) && is_contributory(second))
        return MERGE_DOUBLE_FAULT;
    if (first == EXC_PF && (is_contributory(second) || second == EXC_PF))
        return MERGE_DOUBLE_FAULT;
    return MERGE_SERIAL;
}

/* RFLAGS as the event pushes it: faults set RF so that an instruction breakpoint does not hit
 * again (SDM 3B 17.3.1.1). */
static uint64_t pushed_flags(const struct vcpu *cpu, const struct event *e)
{
    uint64_t flags = vcpu_rflags(cpu);

    if (e->kind == EVENT_EXCEPTION && e->vector != EXC_DB && e->vector != EXC_DF)
        flags |= EFLAGS_RF;
    return flags;
}

static void deliver_real(struct vcpu *cpu, const struct event *e)
{
    struct stack s = stack_current(cpu);
    uint64_t entry;

    if (e->vector * 4u + 3 > cpu->idtr.limit)
        cpu_raise(cpu, NULL, EXC_GP);
    entry = mem_load_system(cpu, cpu->idtr.base + e->vector * 4u, 4);
    stack_push(cpu, &s, 2, vcpu_rflags(cpu));
    stack_push(cpu, &s, 2, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, 2, e->return_rip);
    stack_commit(cpu, &s);
    cpu->rip = entry & 0xffff;
    cpu->eflags &= ~(EFLAGS_IF | EFLAGS_TF | EFLAGS_AC | EFLAGS_RF);
    segment_load_real(cpu, SEG_CS, (uint16_t)(entry >> 16));
}

/* A gate of the IDT, checked. */
struct gate {
    uint16_t selector;
    uint64_t offset;
    uint8_t type; /* enum system_type */
    uint8_t ist;
};

static struct gate gate_read(struct vcpu *cpu, const struct event *e)
{
    bool wide = cpu->mode & MODE_LONG;
    unsigned size = wide ? 16 : 8;
    uint32_t code = e->vector * 8u + ERROR_IDT + cpu->event_ext;
    uint64_t address = cpu->idtr.base + e->vector * size, low, high = 0;
    struct gate g;

    if (e->vector * size + size - 1 > cpu->idtr.limit)
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    low = mem_load_system(cpu, address, 8);
    if (wide)
        high = mem_load_system(cpu, address + 8, 8);
    g.selector = (uint16_t)(low >> 16);
    g.offset = (low & 0xffff) | ((low >> 32) & 0xffff0000) | high << 32;
    g.type = (low >> 40) & 0x1f;
    g.ist = wide ? (low >> 32) & 7 : 0;
    switch (g.type) {
    case SYSTEM_TASK_GATE:
    case SYSTEM_INTERRUPT_GATE16:
    case SYSTEM_TRAP_GATE16:
        if (!wide)
            break;
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    case SYSTEM_INTERRUPT_GATE:
    case SYSTEM_TRAP_GATE:
        break;
    default:
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    }
    if (e->kind == EVENT_SOFTWARE && ((low >> 45) & 3) < cpu_cpl(cpu))
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    if (!((low >> 47) & 1))
        cpu_raise_code(cpu, NULL, EXC_NP, code);
    return g;
}

/* The handler's code segment; *cpl is the level that it runs on. */
static struct descriptor gate_target(struct vcpu *cpu, uint16_t selector, unsigned *cpl)
{
    struct descriptor d;
    uint32_t code = (selector & 0xfffcu) | cpu->event_ext;
    unsigned dpl;

    if ((selector & 0xfffc) == 0)
        cpu_raise_code(cpu, NULL, EXC_GP, cpu->event_ext);
    d = descriptor_read(cpu, selector, false, EXC_GP);
    dpl = descriptor_dpl(d.attributes);
    if (!descriptor_is_code(d.attributes) || dpl > cpu_cpl(cpu))
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    if ((cpu->mode & MODE_LONG) && (d.attributes & (SEGMENT_LONG | SEGMENT_DB)) != SEGMENT_LONG)
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    if (!(d.attributes & SEGMENT_PRESENT))
        cpu_raise_code(cpu, NULL, EXC_NP, code);
    *cpl = d.attributes & SEGMENT_EXPAND_DOWN ? cpu_cpl(cpu) : dpl; /* conforming keeps CPL */
    if ((cpu->mode & MODE_V86) && *cpl != 0)
        cpu_raise_code(cpu, NULL, EXC_GP, code);
    return d;
}

static uint32_t flags_cleared_by(const struct gate *g)
{
    uint32_t clear = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM;

    if (g->type == SYSTEM_INTERRUPT_GATE || g->type == SYSTEM_INTERRUPT_GATE16)
        clear |= EFLAGS_IF;
    return clear;
}

static void deliver_long(struct vcpu *cpu, const struct event *e, const struct gate *g)
{
    struct stack s = {.mask = UINT64_MAX};
    unsigned cpl, old = cpu_cpl(cpu);
    struct descriptor cs = gate_target(cpu, g->selector, &cpl);

    if (g->ist != 0)
        s.rsp = tss_stack64(cpu, 3 + g->ist);
    else if (cpl != old)
        s.rsp = tss_stack64(cpu, cpl);
    else
        s.rsp = cpu->gpr[GPR_RSP];
    s.cpl = cpl;
    s.rsp &= ~15ull;
    if (!cpu_canonical(cpu, g->offset))
        cpu_raise_code(cpu, NULL, EXC_GP, cpu->event_ext);
    stack_push(cpu, &s, 8, cpu->seg[SEG_SS].selector);
    stack_push(cpu, &s, 8, cpu->gpr[GPR_RSP]);
    stack_push(cpu, &s, 8, pushed_flags(cpu, e));
    stack_push(cpu, &s, 8, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, 8, e->return_rip);
    if (e->has_error_code)
        stack_push(cpu, &s, 8, e->error_code);
    descriptor_set_accessed(cpu, &cs);
    if (cpl != old)
        cpu->seg[SEG_SS] = (struct segment){
            .selector = (uint16_t)cpl,
            .attributes = (uint16_t)(cpl << SEGMENT_DPL_SHIFT),
        };
    cpu->gpr[GPR_RSP] = s.rsp;
    cpu->rip = g->offset;
    cpu->eflags &= ~flags_cleared_by(g);
    segment_set_cs(cpu, g->selector, &cs, cpl);
}

/* Pushes what virtual-8086 mode leaves behind and clears the data segments. */
static void leave_v86(struct vcpu *cpu, struct stack *s, unsigned size)
{
    static const uint8_t order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};

    for (unsigned n = 0; n < ARRAY_SIZE(order); n++)
        stack_push(cpu, s, size, cpu->seg[order[n]].selector);
}

static void deliver_protected(struct vcpu *cpu, const struct event *e, const struct gate *g)
{
    unsigned cpl, old_cpl = cpu_cpl(cpu), size = g->type >= SYSTEM_INTERRUPT_GATE ? 4 : 2;
    struct descriptor cs = gate_target(cpu, g->selector, &cpl);
    struct segment old_ss = cpu->seg[SEG_SS];
    uint64_t flags = pushed_flags(cpu, e);
    bool v86 = cpu->mode & MODE_V86;
    struct segment new_ss = old_ss;
    struct stack s;

    if (cpl != old_cpl) {
        uint16_t selector;
        uint32_t esp;

        tss_stack(cpu, cpl, &selector, &esp);
        segment_load_stack(cpu, selector, cpl);
        new_ss = cpu->seg[SEG_SS];
        cpu->seg[SEG_SS] = old_ss; /* until nothing can fault any more */
        s = (struct stack){.ss = &new_ss, .rsp = esp, .cpl = cpl, .code = selector & 0xfffc};
        s.mask = new_ss.attributes & SEGMENT_DB ? UINT32_MAX : 0xffff;
        if (v86)
            leave_v86(cpu, &s, size);
        stack_push(cpu, &s, size, old_ss.selector);
        stack_push(cpu, &s, size, cpu->gpr[GPR_RSP]);
    } else {
        s = stack_current(cpu);
    }
    stack_push(cpu, &s, size, flags);
    stack_push(cpu, &s, size, cpu->seg[SEG_CS].selector);
    stack_push(cpu, &s, size, e->return_rip);
    if (e->has_error_code)
        stack_push(cpu, &s, size, e->error_code);
    if ((size == 2 ? g->offset & 0xffff : g->offset) > cs.limit)
        cpu_raise_code(cpu, NULL, EXC_GP, cpu->event_ext);
    descriptor_set_accessed(cpu, &cs);
    cpu->seg[SEG_SS] = new_ss;
    stack_commit(cpu, &s);
    cpu->rip = size == 2 ? g->offset & 0xffff : (uint32_t)g->offset;
    cpu->eflags &= ~flags_cleared_by(g);
    if (v86)
        for (unsigned n = 0; n < SEG_NONE; n++)
            if (n != SEG_CS && n != SEG_SS)
                cpu->seg[n] = (struct segment){.selector = 0};
    segment_set_cs(cpu, g->selector, &cs, cpl);
}

/* The interrupted task's TSS gets the flags that a gate would push. */
static void deliver_task(struct vcpu *cpu, const struct event *e, const struct gate *g)
{
    cpu->eflags |= (uint32_t)pushed_flags(cpu, e) & EFLAGS_RF;
    task_switch(cpu, g->selector, TASK_GATE, e->return_rip,
                e->has_error_code ? &e->error_code : NULL);
}

void event_deliver(struct vcpu *cpu, const struct event *e)
{
    struct gate g;

    if (!(cpu->mmu.cr0 & CR0_PE)) {
        deliver_real(cpu, e);
        return;
    }
    cpu->event_ext = e->kind == EVENT_SOFTWARE ? 0 : ERROR_EXT;
    g = gate_read(cpu, e);
    if (cpu->mode & MODE_LONG)
        deliver_long(cpu, e, &g);
    else if (g.type == SYSTEM_TASK_GATE)
        deliver_task(cpu, e, &g);
    else
        deliver_protected(cpu, e, &g);
    cpu->event_ext = 0;
}
