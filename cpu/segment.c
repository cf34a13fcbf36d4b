#include "cpu/segment.h"

#include "cpu/block.h"
#include "cpu/exception.h"
#include "cpu/mem.h"
#include "cpu/mode.h"
#include "cpu/system.h"

static struct descriptor descriptor_decode(uint64_t low, uint64_t high, uint64_t address)
{
    struct descriptor d = {.raw = low, .address = address};

    d.attributes = (uint16_t)((low >> 40) & 0xf0ff);
    d.limit = (uint32_t)((low & 0xffff) | ((low >> 32) & 0xf0000));
    if (d.attributes & SEGMENT_GRANULARITY)
        d.limit = d.limit << 12 | 0xfff;
    d.base = ((low >> 16) & 0xffffff) | ((low >> 32) & 0xff000000) | high << 32;
    return d;
}

bool descriptor_try(struct vcpu *cpu, uint16_t selector, bool wide, struct descriptor *out)
{
    uint64_t base = cpu->gdtr.base, limit = cpu->gdtr.limit, high = 0, address;
    unsigned last = (selector | 7u) + (wide ? 8u : 0u);

    if ((selector & 0xfffc) == 0)
        return false;
    if (selector & 4) {
        base = cpu->ldtr.base;
        limit = cpu->ldtr.limit;
        if (!cpu->ldtr.usable)
            return false;
    }
    if (last > limit)
        return false;
    address = base + (selector & 0xfff8);
    if (!(cpu->mode & MODE_LONG))
        address = (uint32_t)address;
    if (wide)
        high = mem_load_system(cpu, address + 8, 8);
    if (high & 0x1f0000000000) /* the upper half's own type has to be 0 (SDM 3A 5.8.3.1) */
        return false;
    *out = descriptor_decode(mem_load_system(cpu, address, 8), high, address);
    return true;
}

struct descriptor descriptor_read(struct vcpu *cpu, uint16_t selector, bool wide,
                                  enum exception_vector vector)
{
    struct descriptor d;

    if (!descriptor_try(cpu, selector, wide, &d))
        cpu_raise_code(cpu, NULL, vector, (selector & 0xfffcu) | cpu->event_ext);
    return d;
}

_Noreturn static void raise_selector(struct vcpu *cpu, enum exception_vector vector,
                                     uint16_t selector)
{
    cpu_raise_code(cpu, NULL, vector, (selector & 0xfffcu) | cpu->event_ext);
}

void descriptor_set_accessed(struct vcpu *cpu, struct descriptor *d)
{
    if (d->attributes & SEGMENT_ACCESSED)
        return;
    d->attributes |= SEGMENT_ACCESSED;
    d->raw |= BIT64(40);
    mem_store_system(cpu, d->address + 5, (d->raw >> 40) & 0xff, 1);
}

void segment_fill(struct segment *s, uint16_t selector, const struct descriptor *d)
{
    s->selector = selector;
    s->base = d->base;
    s->limit = d->limit;
    s->attributes = d->attributes;
    s->usable = true;
}

void segment_load_real(struct vcpu *cpu, enum segment_index n, uint16_t selector)
{
    struct segment *s = &cpu->seg[n];

    s->selector = selector;
    s->base = (uint32_t)selector << 4;
    s->usable = true;
    if (cpu->eflags & EFLAGS_VM) {
        s->limit = 0xffff;
        s->attributes = SEGMENT_PRESENT | 3u << SEGMENT_DPL_SHIFT | SEGMENT_S | SEGMENT_WRITABLE |
                        SEGMENT_ACCESSED;
    } else if (n == SEG_CS) {
        s->limit = 0xffff;
        s->attributes = SEGMENT_PRESENT | SEGMENT_S | SEGMENT_WRITABLE | SEGMENT_ACCESSED;
    }
    mode_update(cpu);
}

static void load_null(struct vcpu *cpu, enum segment_index n, uint16_t selector)
{
    if (n == SEG_SS &&
        (!(cpu->mode & MODE_64) || cpu_cpl(cpu) == 3 || (selector & 3u) != cpu_cpl(cpu)))
        cpu_raise_code(cpu, NULL, EXC_GP, 0);
    cpu->seg[n] = (struct segment){.selector = selector};
    if (n == SEG_SS)
        cpu->seg[n].attributes = (uint16_t)(cpu_cpl(cpu) << SEGMENT_DPL_SHIFT);
    mode_update(cpu);
}

void segment_load(struct vcpu *cpu, enum segment_index n, uint16_t selector)
{
    struct descriptor d;
    unsigned rpl = selector & 3, cpl = cpu_cpl(cpu), dpl;
    bool conforming;

    if (!(cpu->mode & MODE_PROT)) {
        segment_load_real(cpu, n, selector);
        return;
    }
    if ((selector & 0xfffc) == 0) {
        load_null(cpu, n, selector);
        return;
    }
    d = descriptor_read(cpu, selector, false, EXC_GP);
    dpl = descriptor_dpl(d.attributes);
    if (n == SEG_SS) {
        if (rpl != cpl || dpl != cpl || !descriptor_is_data(d.attributes) ||
            !(d.attributes & SEGMENT_WRITABLE))
            raise_selector(cpu, EXC_GP, selector);
        if (!(d.attributes & SEGMENT_PRESENT))
            raise_selector(cpu, EXC_SS, selector);
    } else {
        conforming = descriptor_is_code(d.attributes) && (d.attributes & SEGMENT_EXPAND_DOWN);
        if (descriptor_is_system(d.attributes) ||
            (descriptor_is_code(d.attributes) && !(d.attributes & SEGMENT_WRITABLE)) ||
            (!conforming && (rpl > dpl || cpl > dpl)))
            raise_selector(cpu, EXC_GP, selector);
        if (!(d.attributes & SEGMENT_PRESENT))
            raise_selector(cpu, EXC_NP, selector);
    }
    descriptor_set_accessed(cpu, &d);
    segment_fill(&cpu->seg[n], selector, &d);
    mode_update(cpu);
}

void segment_load_stack(struct vcpu *cpu, uint16_t selector, unsigned cpl)
{
    struct descriptor d;

    if ((selector & 0xfffc) == 0)
        raise_selector(cpu, EXC_TS, selector);
    d = descriptor_read(cpu, selector, false, EXC_TS);
    if ((selector & 3u) != cpl || descriptor_dpl(d.attributes) != cpl ||
        !descriptor_is_data(d.attributes) || !(d.attributes & SEGMENT_WRITABLE))
        raise_selector(cpu, EXC_TS, selector);
    if (!(d.attributes & SEGMENT_PRESENT))
        raise_selector(cpu, EXC_SS, selector);
    descriptor_set_accessed(cpu, &d);
    segment_fill(&cpu->seg[SEG_SS], selector, &d);
}

void segment_set_cs(struct vcpu *cpu, uint16_t selector, const struct descriptor *d, unsigned cpl)
{
    segment_fill(&cpu->seg[SEG_CS], (uint16_t)((selector & 0xfffc) | cpl), d);
    cpu->mmu.cpl = (uint8_t)cpl;
    mode_update(cpu);
}

void segment_drop_privileged(struct vcpu *cpu)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

    for (unsigned n = 0; n < ARRAY_SIZE(data); n++) {
        struct segment *s = &cpu->seg[data[n]];
        bool conforming = (s->attributes & (SEGMENT_CODE | SEGMENT_EXPAND_DOWN)) ==
                          (SEGMENT_CODE | SEGMENT_EXPAND_DOWN);

        if (s->usable && !conforming && descriptor_dpl(s->attributes) < cpu_cpl(cpu))
            *s = (struct segment){.selector = 0};
    }
    mode_update(cpu);
}

/* ---- TSS stacks ---- */

void tss_stack(struct vcpu *cpu, unsigned cpl, uint16_t *ss, uint32_t *esp)
{
    bool wide = (cpu->tr.attributes & SEGMENT_TYPE) >= SYSTEM_TSS;
    unsigned offset = wide ? 4 + cpl * 8 : 2 + cpl * 4;
    unsigned size = wide ? 4 : 2;

    if (offset + size + 1 > cpu->tr.limit)
        raise_selector(cpu, EXC_TS, cpu->tr.selector);
    *esp = (uint32_t)mem_load_system(cpu, cpu->tr.base + offset, size);
    *ss = (uint16_t)mem_load_system(cpu, cpu->tr.base + offset + size, 2);
}

uint64_t tss_stack64(struct vcpu *cpu, unsigned index)
{
    /* RSP0 is at 4, IST1 at 36: both arrays hold 8-byte entries (SDM 3A figure 7-11). */
    unsigned offset = 4 + index * 8;
    uint64_t rsp;

    if (offset + 7 > cpu->tr.limit)
        raise_selector(cpu, EXC_TS, cpu->tr.selector);
    rsp = mem_load_system(cpu, cpu->tr.base + offset, 8);
    if (!cpu_canonical(cpu, rsp))
        cpu_raise_code(cpu, NULL, EXC_SS, cpu->event_ext);
    return rsp;
}

/* ---- Stacks of far transfers ---- */

struct stack stack_current(struct vcpu *cpu)
{
    struct stack s = {.ss = &cpu->seg[SEG_SS], .rsp = cpu->gpr[GPR_RSP], .cpl = cpu_cpl(cpu)};

    s.mask = cpu->mode & MODE_64 ? UINT64_MAX : cpu->mode & MODE_SS32 ? UINT32_MAX : 0xffff;
    return s;
}

static uint64_t stack_linear(struct vcpu *cpu, const struct stack *s, uint64_t offset,
                             unsigned size)
{
    const struct segment *ss = s->ss;
    uint64_t last = offset + size - 1;

    if (s->mask == UINT64_MAX) {
        if (!cpu_canonical(cpu, offset) || !cpu_canonical(cpu, last))
            cpu_raise_code(cpu, NULL, EXC_SS, s->code | cpu->event_ext);
        return offset;
    }
    if (ss->attributes & SEGMENT_EXPAND_DOWN) {
        if (offset <= ss->limit || last > (ss->attributes & SEGMENT_DB ? UINT32_MAX : 0xffffu))
            cpu_raise_code(cpu, NULL, EXC_SS, s->code | cpu->event_ext);
    } else if (last > ss->limit) {
        cpu_raise_code(cpu, NULL, EXC_SS, s->code | cpu->event_ext);
    }
    return (uint32_t)(ss->base + offset);
}

void stack_push(struct vcpu *cpu, struct stack *s, unsigned size, uint64_t value)
{
    uint64_t offset = (s->rsp - size) & s->mask;
    uint64_t linear = stack_linear(cpu, s, offset, size);

    if (s->cpl == 3)
        mem_store_slow(cpu, cpu->block != NULL ? cpu->current : NULL, linear, value, size);
    else
        mem_store_system(cpu, linear, value, size);
    s->rsp = (s->rsp & ~s->mask) | offset;
}

uint64_t stack_pop(struct vcpu *cpu, struct stack *s, unsigned size)
{
    uint64_t offset = s->rsp & s->mask;
    uint64_t linear = stack_linear(cpu, s, offset, size), value;

    if (s->cpl == 3)
        value = mem_load_slow(cpu, cpu->block != NULL ? cpu->current : NULL, linear, size);
    else
        value = mem_load_system(cpu, linear, size);
    s->rsp = (s->rsp & ~s->mask) | ((offset + size) & s->mask);
    return value;
}

void stack_commit(struct vcpu *cpu, const struct stack *s)
{
    uint64_t *rsp = &cpu->gpr[GPR_RSP];

    if (s->mask == 0xffff)
        *rsp = (*rsp & ~0xffffull) | (s->rsp & 0xffff);
    else
        *rsp = s->rsp & s->mask;
}
