/* Segment registers, descriptor tables, and the instructions that look at descriptors. */
#include "cpu/segment.h"

#include "cpu/block.h"
#include "cpu/mode.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/push_pop.h"
#include "cpu/system.h"

/* UMIP: these instructions tell user programs nothing about the kernel (SDM 3A 2.5). */
static void check_umip(struct vcpu *cpu, const struct insn *i)
{
    if ((cpu->mmu.cr4 & CR4_UMIP) && cpu_cpl(cpu) > 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
}

/* ---- MOV, PUSH, POP, LDS and friends ---- */

static uint16_t selector_get(struct vcpu *cpu, const struct insn *i)
{
    if ((i->reg & 7) > SEG_GS)
        cpu_raise(cpu, i, EXC_UD);
    return cpu->seg[i->reg & 7].selector;
}

OP(mov_ES_r16)
{
    reg_set16(cpu, i->rm, selector_get(cpu, i));
    NEXT;
}

OP(mov_ES_r32)
{
    reg_set32(cpu, i->rm, selector_get(cpu, i));
    NEXT;
}

OP(mov_ES_r64)
{
    reg_set64(cpu, i->rm, selector_get(cpu, i));
    NEXT;
}

OP(mov_ES_m16)
{
    mem_write16(cpu, i, selector_get(cpu, i));
    NEXT;
}

OP(mov_ES_m32)
{
    mem_write16(cpu, i, selector_get(cpu, i));
    NEXT;
}

OP(mov_ES_m64)
{
    mem_write16(cpu, i, selector_get(cpu, i));
    NEXT;
}

static void load_selector(struct vcpu *cpu, const struct insn *i, unsigned n, uint16_t selector)
{
    cpu->current = i;
    segment_load(cpu, n, selector);
}

/* MOV SS and POP SS keep interrupts and debug exceptions back, LSS does not (SDM 3A 6.8.3). */
static void shadow_after(struct vcpu *cpu, unsigned n)
{
    if (n == SEG_SS)
        cpu->attention |= VCPU_ATTENTION_SHADOW | VCPU_ATTENTION_SHADOW_SS;
}

static void mov_to_segment(struct vcpu *cpu, const struct insn *i, uint16_t selector)
{
    load_selector(cpu, i, i->reg & 7, selector);
    shadow_after(cpu, i->reg & 7);
}

/* MOV to CS does not exist, nor do registers 6 and 7. */
static void check_target(struct vcpu *cpu, const struct insn *i)
{
    if ((i->reg & 7) > SEG_GS || (i->reg & 7) == SEG_CS)
        cpu_raise(cpu, i, EXC_UD);
}

OP(mov_SE_r)
{
    check_target(cpu, i);
    mov_to_segment(cpu, i, reg_get16(cpu, i->rm));
    NEXT;
}

OP(mov_SE_m)
{
    check_target(cpu, i);
    mov_to_segment(cpu, i, mem_read16(cpu, i));
    NEXT;
}

/* A 32-bit push of a segment register writes only its low 16 bits, as current processors do. */
static void push_segment(struct vcpu *cpu, const struct insn *i, unsigned n, unsigned size)
{
    uint64_t linear = stack_address(cpu, i, -(int64_t)size, size, MMU_WRITE);

    if (size == 8)
        mem_store64(cpu, i, linear, cpu->seg[n].selector);
    else
        mem_store16(cpu, i, linear, cpu->seg[n].selector);
    stack_adjust(cpu, -(int64_t)size);
}

static void pop_segment(struct vcpu *cpu, const struct insn *i, unsigned n, unsigned size)
{
    uint16_t selector = (uint16_t)stack_read(cpu, i, 0, size);
    uint64_t mask = stack_mask(cpu), rsp = cpu->gpr[GPR_RSP];

    load_selector(cpu, i, n, selector);
    /* POP SS: the pointer moves in the width of the old stack. */
    shadow_after(cpu, n);
    cpu->gpr[GPR_RSP] =
        mask == 0xffff ? (rsp & ~mask) | ((rsp + size) & mask) : (rsp + size) & mask;
}

#define SEGMENT_STACK(name, n, bits)                                                               \
    OP(push_##name##_##bits)                                                                       \
    {                                                                                              \
        push_segment(cpu, i, n, bits / 8);                                                         \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(pop_##name##_##bits)                                                                        \
    {                                                                                              \
        pop_segment(cpu, i, n, bits / 8);                                                          \
        NEXT;                                                                                      \
    }
#define SEGMENT_STACK_ALL(name, n)                                                                 \
    SEGMENT_STACK(name, n, 16)                                                                     \
    SEGMENT_STACK(name, n, 32)                                                                     \
    SEGMENT_STACK(name, n, 64)

SEGMENT_STACK_ALL(es, SEG_ES)
SEGMENT_STACK_ALL(ss, SEG_SS)
SEGMENT_STACK_ALL(ds, SEG_DS)
SEGMENT_STACK_ALL(fs, SEG_FS)
SEGMENT_STACK_ALL(gs, SEG_GS)

OP(push_cs_16)
{
    push_segment(cpu, i, SEG_CS, 2);
    NEXT;
}

OP(push_cs_32)
{
    push_segment(cpu, i, SEG_CS, 4);
    NEXT;
}

OP(push_cs_64)
{
    push_segment(cpu, i, SEG_CS, 8);
    NEXT;
}

#define LOAD_FAR(name, n, bits)                                                                    \
    OP(name##_m##bits)                                                                             \
    {                                                                                              \
        uint64_t linear = mem_linear(cpu, i, bits / 8 + 2, MMU_READ);                              \
        uint##bits##_t offset = mem_load##bits(cpu, i, linear);                                    \
        uint16_t selector = mem_load16(cpu, i, linear + bits / 8);                                 \
        load_selector(cpu, i, n, selector);                                                        \
        reg_set##bits(cpu, i->reg, offset);                                                        \
        NEXT;                                                                                      \
    }
#define LOAD_FAR_ALL(name, n)                                                                      \
    LOAD_FAR(name, n, 16)                                                                          \
    LOAD_FAR(name, n, 32)                                                                          \
    LOAD_FAR(name, n, 64)

LOAD_FAR_ALL(les, SEG_ES)
LOAD_FAR_ALL(lds, SEG_DS)
LOAD_FAR_ALL(lss, SEG_SS)
LOAD_FAR_ALL(lfs, SEG_FS)
LOAD_FAR_ALL(lgs, SEG_GS)

/* ---- FS and GS bases ---- */

OP(swapgs)
{
    uint64_t base = cpu->seg[SEG_GS].base;

    cpu->seg[SEG_GS].base = cpu->msr.kernel_gs_base;
    cpu->msr.kernel_gs_base = base;
    NEXT;
}

static void check_fsgsbase(struct vcpu *cpu, const struct insn *i)
{
    if (!(cpu->mmu.cr4 & CR4_FSGSBASE))
        cpu_raise(cpu, i, EXC_UD);
}

OP(rdfsbase_32)
{
    check_fsgsbase(cpu, i);
    reg_set32(cpu, i->rm, (uint32_t)cpu->seg[SEG_FS].base);
    NEXT;
}

OP(rdfsbase_64)
{
    check_fsgsbase(cpu, i);
    reg_set64(cpu, i->rm, cpu->seg[SEG_FS].base);
    NEXT;
}

OP(rdgsbase_32)
{
    check_fsgsbase(cpu, i);
    reg_set32(cpu, i->rm, (uint32_t)cpu->seg[SEG_GS].base);
    NEXT;
}

OP(rdgsbase_64)
{
    check_fsgsbase(cpu, i);
    reg_set64(cpu, i->rm, cpu->seg[SEG_GS].base);
    NEXT;
}

static void write_base(struct vcpu *cpu, const struct insn *i, unsigned n, uint64_t base)
{
    check_fsgsbase(cpu, i);
    if (!cpu_canonical_base(cpu, base))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->seg[n].base = base;
}

OP(wrfsbase_32)
{
    write_base(cpu, i, SEG_FS, reg_get32(cpu, i->rm));
    NEXT;
}

OP(wrfsbase_64)
{
    write_base(cpu, i, SEG_FS, reg_get64(cpu, i->rm));
    NEXT;
}

OP(wrgsbase_32)
{
    write_base(cpu, i, SEG_GS, reg_get32(cpu, i->rm));
    NEXT;
}

OP(wrgsbase_64)
{
    write_base(cpu, i, SEG_GS, reg_get64(cpu, i->rm));
    NEXT;
}

/* ---- GDTR, IDTR, LDTR, TR ---- */

static void store_table(struct vcpu *cpu, const struct insn *i, const struct descriptor_table *t)
{
    unsigned base_size = cpu->mode & MODE_64 ? 8 : 4;
    uint64_t linear;

    check_umip(cpu, i);
    linear = mem_linear(cpu, i, 2 + base_size, MMU_WRITE);
    mem_probe_write(cpu, i, linear, 2 + base_size);
    mem_store16(cpu, i, linear, t->limit);
    if (base_size == 8)
        mem_store64(cpu, i, linear + 2, t->base);
    else
        mem_store32(cpu, i, linear + 2, (uint32_t)t->base);
}

OP(sgdt)
{
    store_table(cpu, i, &cpu->gdtr);
    NEXT;
}

OP(sidt)
{
    store_table(cpu, i, &cpu->idtr);
    NEXT;
}

static void load_table(struct vcpu *cpu, const struct insn *i, struct descriptor_table *t,
                       bool short_base)
{
    unsigned base_size = cpu->mode & MODE_64 ? 8 : 4;
    uint64_t linear = mem_linear(cpu, i, 2 + base_size, MMU_READ), base;
    uint16_t limit = mem_load16(cpu, i, linear);

    cpu_serialize();
    if (base_size == 8)
        base = mem_load64(cpu, i, linear + 2);
    else
        base = mem_load32(cpu, i, linear + 2) & (short_base ? 0xffffff : UINT32_MAX);
    if (!cpu_canonical_base(cpu, base))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    *t = (struct descriptor_table){.base = base, .limit = limit};
}

OP(lgdt_m16)
{
    load_table(cpu, i, &cpu->gdtr, true);
    NEXT;
}

OP(lgdt_m32)
{
    load_table(cpu, i, &cpu->gdtr, false);
    NEXT;
}

OP(lgdt_m64)
{
    load_table(cpu, i, &cpu->gdtr, false);
    NEXT;
}

OP(lidt_m16)
{
    load_table(cpu, i, &cpu->idtr, true);
    NEXT;
}

OP(lidt_m32)
{
    load_table(cpu, i, &cpu->idtr, false);
    NEXT;
}

OP(lidt_m64)
{
    load_table(cpu, i, &cpu->idtr, false);
    NEXT;
}

#define STORE_WORD(name, expression)                                                               \
    OP(name##_r16)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        reg_set16(cpu, i->rm, (uint16_t)(expression));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_r32)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        reg_set32(cpu, i->rm, (uint32_t)(expression));                                             \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_r64)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        reg_set64(cpu, i->rm, (expression));                                                       \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m16)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        mem_write16(cpu, i, (uint16_t)(expression));                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m32)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        mem_write16(cpu, i, (uint16_t)(expression));                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m64)                                                                                 \
    {                                                                                              \
        check_umip(cpu, i);                                                                        \
        mem_write16(cpu, i, (uint16_t)(expression));                                               \
        NEXT;                                                                                      \
    }

STORE_WORD(sldt, cpu->ldtr.selector)
STORE_WORD(str, cpu->tr.selector)
STORE_WORD(smsw, cpu->mmu.cr0)

static void lldt(struct vcpu *cpu, const struct insn *i, uint16_t selector)
{
    struct descriptor d;

    cpu->current = i;
    cpu_serialize();
    if ((selector & 0xfffc) == 0) {
        cpu->ldtr = (struct segment){.selector = selector};
        return;
    }
    if (selector & 4)
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    d = descriptor_read(cpu, selector, cpu->mode & MODE_LONG, EXC_GP);
    if ((d.attributes & (SEGMENT_S | SEGMENT_TYPE)) != SYSTEM_LDT)
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    if (!(d.attributes & SEGMENT_PRESENT))
        cpu_raise_code(cpu, i, EXC_NP, selector & 0xfffcu);
    if (!cpu_canonical_base(cpu, d.base))
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    segment_fill(&cpu->ldtr, selector, &d);
}

OP(lldt_r)
{
    lldt(cpu, i, reg_get16(cpu, i->rm));
    NEXT;
}

OP(lldt_m)
{
    lldt(cpu, i, mem_read16(cpu, i));
    NEXT;
}

static void ltr(struct vcpu *cpu, const struct insn *i, uint16_t selector)
{
    struct descriptor d;
    unsigned type;

    cpu->current = i;
    cpu_serialize();
    if ((selector & 0xfffc) == 0)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (selector & 4)
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    d = descriptor_read(cpu, selector, cpu->mode & MODE_LONG, EXC_GP);
    type = d.attributes & (SEGMENT_S | SEGMENT_TYPE);
    if (type != SYSTEM_TSS && (type != SYSTEM_TSS16 || (cpu->mode & MODE_LONG)))
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    if (!(d.attributes & SEGMENT_PRESENT))
        cpu_raise_code(cpu, i, EXC_NP, selector & 0xfffcu);
    if (!cpu_canonical_base(cpu, d.base))
        cpu_raise_code(cpu, i, EXC_GP, selector & 0xfffcu);
    mem_store_system(cpu, d.address + 5, ((d.raw >> 40) & 0xff) | 2, 1);
    segment_fill(&cpu->tr, selector, &d);
    cpu->tr.attributes |= 2;
}

OP(ltr_r)
{
    ltr(cpu, i, reg_get16(cpu, i->rm));
    NEXT;
}

OP(ltr_m)
{
    ltr(cpu, i, mem_read16(cpu, i));
    NEXT;
}

/* ---- VERR, VERW, LAR, LSL, ARPL ---- */

/* Privilege check that all of these share. */
static bool visible(const struct vcpu *cpu, uint16_t selector, const struct descriptor *d)
{
    unsigned dpl = descriptor_dpl(d->attributes), rpl = selector & 3;

    if (descriptor_is_code(d->attributes) && (d->attributes & SEGMENT_EXPAND_DOWN))
        return true;
    return dpl >= cpu_cpl(cpu) && dpl >= rpl;
}

static void verify(struct vcpu *cpu, const struct insn *i, uint16_t selector, bool write)
{
    struct descriptor d;
    bool ok;

    cpu->current = i;
    ok = descriptor_try(cpu, selector, false, &d) && !descriptor_is_system(d.attributes) &&
         visible(cpu, selector, &d);
    if (ok && write)
        ok = descriptor_is_data(d.attributes) && (d.attributes & SEGMENT_WRITABLE);
    else if (ok)
        ok = descriptor_is_data(d.attributes) || (d.attributes & SEGMENT_WRITABLE);
    flags_set_zf(cpu, ok);
}

OP(verr_r)
{
    verify(cpu, i, reg_get16(cpu, i->rm), false);
    NEXT;
}

OP(verr_m)
{
    verify(cpu, i, mem_read16(cpu, i), false);
    NEXT;
}

OP(verw_r)
{
    verify(cpu, i, reg_get16(cpu, i->rm), true);
    NEXT;
}

OP(verw_m)
{
    verify(cpu, i, mem_read16(cpu, i), true);
    NEXT;
}

/* System types that LAR and LSL accept (SDM 2A, tables under "LAR" and "LSL"). */
static bool system_type_visible(const struct vcpu *cpu, unsigned type, bool limit)
{
    uint32_t gates =
        limit ? 0
              : BIT(SYSTEM_CALL_GATE) |
                    (cpu->mode & MODE_LONG ? 0 : BIT(SYSTEM_CALL_GATE16) | BIT(SYSTEM_TASK_GATE));
    uint32_t segments = BIT(SYSTEM_LDT) | BIT(SYSTEM_TSS) | BIT(SYSTEM_TSS_BUSY);

    if (!(cpu->mode & MODE_LONG))
        segments |= BIT(SYSTEM_TSS16) | BIT(SYSTEM_TSS16_BUSY);
    return (gates | segments) & BIT(type);
}

static bool inspect(struct vcpu *cpu, const struct insn *i, uint16_t selector, bool limit,
                    struct descriptor *d)
{
    cpu->current = i;
    if (!descriptor_try(cpu, selector, false, d))
        return false;
    if (descriptor_is_system(d->attributes) &&
        !system_type_visible(cpu, d->attributes & SEGMENT_TYPE, limit))
        return false;
    return visible(cpu, selector, d);
}

#define INSPECT(name, limit, value, form, bits, source)                                            \
    static OP_BODY(name##_##form##bits##_body)                                                     \
    {                                                                                              \
        struct descriptor d;                                                                       \
        bool ok = inspect(cpu, i, source, limit, &d);                                              \
        if (ok)                                                                                    \
            reg_set##bits(cpu, i->reg, (uint##bits##_t)(value));                                   \
        flags_set_zf(cpu, ok);                                                                     \
    }                                                                                              \
    OP(name##_##form##bits)                                                                        \
    {                                                                                              \
        name##_##form##bits##_body(cpu, i);                                                        \
        NEXT;                                                                                      \
    }
#define INSPECT_ALL(name, limit, value)                                                            \
    INSPECT(name, limit, value, r, 16, reg_get16(cpu, i->rm))                                      \
    INSPECT(name, limit, value, r, 32, reg_get16(cpu, i->rm))                                      \
    INSPECT(name, limit, value, r, 64, reg_get16(cpu, i->rm))                                      \
    INSPECT(name, limit, value, m, 16, mem_read16(cpu, i))                                         \
    INSPECT(name, limit, value, m, 32, mem_read16(cpu, i))                                         \
    INSPECT(name, limit, value, m, 64, mem_read16(cpu, i))

INSPECT_ALL(lar, false, (d.raw >> 32) & 0x00ffff00)
INSPECT_ALL(lsl, true, d.limit)

OP(arpl_r)
{
    uint16_t target = reg_get16(cpu, i->rm), source = reg_get16(cpu, i->reg);
    bool raise = (target & 3) < (source & 3);

    if (raise)
        reg_set16(cpu, i->rm, (uint16_t)((target & ~3) | (source & 3)));
    flags_set_zf(cpu, raise);
    NEXT;
}

OP(arpl_m)
{
    uint16_t source = reg_get16(cpu, i->reg), target;
    struct mem_rmw m;
    bool raise;

    target = mem_read16(cpu, i); /* only written if RPL changes */
    raise = (target & 3) < (source & 3);
    if (raise) {
        target = mem_rmw_begin16(cpu, i, &m);
        mem_rmw_commit16(cpu, i, &m, &target, (uint16_t)((target & ~3) | (source & 3)));
    }
    flags_set_zf(cpu, raise);
    NEXT;
}
