/* Hardware task switches (SDM 3A 7.3). */
#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/segment.h"
#include "cpu/system.h"

/* Field offsets of a task-state segment (SDM 3A figures 7-2 and 7-10), by TSS size. */
struct tss_layout {
    unsigned limit; /* smallest allowed */
    unsigned width; /* bytes of a register slot */
    unsigned cr3, eip, eflags, gpr, seg, seg_count, ldt;
};

static const struct tss_layout layout32 = {0x67, 4, 0x1c, 0x20, 0x24, 0x28, 0x48, 6, 0x60};
static const struct tss_layout layout16 = {0x2b, 2, 0, 0x0e, 0x10, 0x12, 0x22, 4, 0x2a};

static const struct tss_layout *layout_of(uint16_t attributes)
{
    return (attributes & SEGMENT_TYPE) >= SYSTEM_TSS ? &layout32 : &layout16;
}

_Noreturn static void raise_selector(struct vcpu *cpu, enum exception_vector vector,
                                     uint16_t selector)
{
    cpu_raise_code(cpu, NULL, vector, (selector & 0xfffcu) | cpu->event_ext);
}

static void set_busy(struct vcpu *cpu, uint16_t selector, bool busy)
{
    uint64_t address = cpu->gdtr.base + (selector & 0xfff8) + 5;
    uint64_t byte = mem_load_system(cpu, address, 1);

    mem_store_system(cpu, address, busy ? byte | 2 : byte & ~2ull, 1);
}

static void save_state(struct vcpu *cpu, const struct tss_layout *l, uint64_t next, uint32_t eflags)
{
    uint64_t base = cpu->tr.base;

    mem_store_system(cpu, base + l->eip, next, l->width);
    mem_store_system(cpu, base + l->eflags, eflags, l->width);
    for (unsigned n = 0; n < 8; n++)
        mem_store_system(cpu, base + l->gpr + n * l->width, cpu->gpr[n], l->width);
    for (unsigned n = 0; n < l->seg_count; n++)
        mem_store_system(cpu, base + l->seg + n * l->width, cpu->seg[n].selector, 2);
}

/* What a new TSS holds, read whole before anything changes. */
struct task_image {
    uint32_t cr3, eip, eflags, gpr[8];
    uint16_t seg[6], ldt;
    bool trap;
};

static struct task_image load_image(struct vcpu *cpu, const struct tss_layout *l, uint64_t base)
{
    struct task_image t = {0};

    if (l->cr3 != 0)
        t.cr3 = (uint32_t)mem_load_system(cpu, base + l->cr3, 4);
    t.eip = (uint32_t)mem_load_system(cpu, base + l->eip, l->width);
    t.eflags = (uint32_t)mem_load_system(cpu, base + l->eflags, l->width);
    for (unsigned n = 0; n < 8; n++)
        t.gpr[n] = (uint32_t)mem_load_system(cpu, base + l->gpr + n * l->width, l->width);
    for (unsigned n = 0; n < l->seg_count; n++)
        t.seg[n] = (uint16_t)mem_load_system(cpu, base + l->seg + n * l->width, 2);
    t.ldt = (uint16_t)mem_load_system(cpu, base + l->ldt, 2);
    if (l == &layout32)
        t.trap = mem_load_system(cpu, base + 0x64, 2) & 1;
    return t;
}

static void load_ldt(struct vcpu *cpu, uint16_t selector)
{
    struct descriptor d;

    cpu->ldtr = (struct segment){.selector = selector};
    if ((selector & 0xfffc) == 0)
        return;
    if ((selector & 4) || !descriptor_try(cpu, selector, false, &d) ||
        (d.attributes & (SEGMENT_S | SEGMENT_TYPE)) != SYSTEM_LDT ||
        !(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_TS, selector);
    segment_fill(&cpu->ldtr, selector, &d);
}

/* CS of the new task; faults are the new task's. */
static void load_cs(struct vcpu *cpu, uint16_t selector)
{
    unsigned rpl = selector & 3, dpl;
    struct descriptor d;

    if ((selector & 0xfffc) == 0)
        raise_selector(cpu, EXC_TS, selector);
    d = descriptor_read(cpu, selector, false, EXC_TS);
    dpl = descriptor_dpl(d.attributes);
    if (!descriptor_is_code(d.attributes) ||
        (d.attributes & SEGMENT_EXPAND_DOWN ? dpl > rpl : dpl != rpl))
        raise_selector(cpu, EXC_TS, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    descriptor_set_accessed(cpu, &d);
    segment_set_cs(cpu, selector, &d, rpl);
}

static void load_data(struct vcpu *cpu, enum segment_index n, uint16_t selector)
{
    unsigned rpl = selector & 3, dpl;
    struct descriptor d;
    bool conforming;

    cpu->seg[n] = (struct segment){.selector = selector};
    if ((selector & 0xfffc) == 0)
        return;
    d = descriptor_read(cpu, selector, false, EXC_TS);
    dpl = descriptor_dpl(d.attributes);
    conforming = descriptor_is_code(d.attributes) && (d.attributes & SEGMENT_EXPAND_DOWN);
    if (descriptor_is_system(d.attributes) ||
        (descriptor_is_code(d.attributes) && !(d.attributes & SEGMENT_WRITABLE)) ||
        (!conforming && (rpl > dpl || cpu_cpl(cpu) > dpl)))
        raise_selector(cpu, EXC_TS, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    descriptor_set_accessed(cpu, &d);
    segment_fill(&cpu->seg[n], selector, &d);
}

/* Segment registers of the new task, after its registers are in place: the switch is done, faults
 * belong to the new task. */
static void load_segments(struct vcpu *cpu, const struct task_image *t)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

    if (t->eflags & EFLAGS_VM) {
        cpu->mmu.cpl = 3;
        for (unsigned n = 0; n < SEG_NONE; n++)
            segment_load_real(cpu, n, t->seg[n]);
        return;
    }
    load_ldt(cpu, t->ldt);
    cpu->mmu.cpl = t->seg[SEG_CS] & 3;
    segment_load_stack(cpu, t->seg[SEG_SS], cpu->mmu.cpl);
    for (unsigned n = 0; n < ARRAY_SIZE(data); n++)
        load_data(cpu, data[n], t->seg[data[n]]);
    load_cs(cpu, t->seg[SEG_CS]);
}

/* The descriptor of the TSS that is switched to, checked. */
static struct descriptor target_tss(struct vcpu *cpu, uint16_t selector,
                                    enum task_switch_source source)
{
    enum exception_vector vector = source == TASK_IRET ? EXC_TS : EXC_GP;
    unsigned wanted = source == TASK_IRET ? 2 : 0; /* the busy bit */
    struct descriptor d;

    if ((selector & 4) || (selector & 0xfffc) == 0)
        raise_selector(cpu, vector, selector);
    d = descriptor_read(cpu, selector, false, vector);
    if (!descriptor_is_system(d.attributes) || (d.attributes & 5) != 1 ||
        (d.attributes & 2) != wanted)
        raise_selector(cpu, vector, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_NP, selector);
    if (d.limit < layout_of(d.attributes)->limit)
        raise_selector(cpu, EXC_TS, selector);
    return d;
}

static void push_error_code(struct vcpu *cpu, const struct tss_layout *l, uint32_t code)
{
    struct stack s = stack_current(cpu);

    stack_push(cpu, &s, l->width, code);
    stack_commit(cpu, &s);
}

void task_switch(struct vcpu *cpu, uint16_t selector, enum task_switch_source source, uint64_t next,
                 const uint32_t *error_code)
{
    struct descriptor d = target_tss(cpu, selector, source);
    const struct tss_layout *l = layout_of(d.attributes);
    bool nested = source == TASK_CALL || source == TASK_GATE;
    uint32_t old_flags = (uint32_t)vcpu_rflags(cpu);
    uint16_t old_selector = cpu->tr.selector;
    struct task_image t = load_image(cpu, l, d.base);

    if (source == TASK_IRET)
        old_flags &= ~EFLAGS_NT;
    save_state(cpu, layout_of(cpu->tr.attributes), next, old_flags);
    if (nested)
        mem_store_system(cpu, d.base, old_selector, 2);
    else
        set_busy(cpu, old_selector, false);
    if (source != TASK_IRET)
        set_busy(cpu, selector, true);
    segment_fill(&cpu->tr, selector, &d);
    cpu->tr.attributes |= 2;
    cpu->mmu.cr0 |= CR0_TS;
    mmu_set_control(&cpu->mmu, cpu->mmu.cr0, cpu->mmu.cr4, cpu->mmu.efer);
    if (l == &layout32 && (cpu->mmu.cr0 & CR0_PG))
        cpu_write_cr3(cpu, t.cr3);
    for (unsigned n = 0; n < 8; n++)
        cpu->gpr[n] = l->width == 4 ? t.gpr[n] : (cpu->gpr[n] & ~0xffffull) | t.gpr[n];
    cpu->eflags =
        (t.eflags & (EFLAGS_TF | EFLAGS_IF | EFLAGS_DF | EFLAGS_IOPL | EFLAGS_NT | EFLAGS_RF |
                     EFLAGS_VM | EFLAGS_AC | EFLAGS_ID | EFLAGS_VIF | EFLAGS_VIP)) |
        EFLAGS_ONE | (nested ? EFLAGS_NT : 0);
    cpu_write_eflags(cpu, t.eflags, EFLAGS_STATUS);
    cpu->dr[7] &= ~DR7_LOCALS;
    debug_registers_changed(cpu);
    cpu->block = NULL; /* from here on faults point at the new task's first instruction */
    cpu->rip = t.eip;
    load_segments(cpu, &t);
    mode_update(cpu);
    if (error_code != NULL)
        push_error_code(cpu, l, *error_code);
    if (t.trap) {
        cpu->dr[6] |= DR6_BT;
        cpu_raise(cpu, NULL, EXC_DB);
    }
}
