/*
 * Saving and restoring x87, SSE and extended state: FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC,
 * XSAVES, XRSTOR, XRSTORS, XGETBV, XSETBV, LDMXCSR, STMXCSR. Source: Intel SDM volume 1, 10.5
 * (FXSAVE area), chapter 13 (XSAVE); volume 2, there.
 */
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "cpu/ops/ops.h"

/* The legacy region, which is also the FXSAVE area. */
#define AREA_CONTROL    0
#define AREA_STATUS     2
#define AREA_TAGS       4
#define AREA_OPCODE     6
#define AREA_IP         8
#define AREA_DP         16
#define AREA_MXCSR      24
#define AREA_MXCSR_MASK 28
#define AREA_ST         32
#define AREA_XMM        160
#define LEGACY_SIZE     512

/* The header of an XSAVE area. */
#define AREA_XSTATE_BV 512
#define AREA_XCOMP_BV  520
#define AREA_RESERVED  528 /* eight bytes that must be zero, too */

#define XCOMP_COMPACTED BIT64(63)

/* ---- An area in guest memory ------------------------------------------------------------------
 */

/* Opened for reading or for writing, after which no access to it faults. */
struct area {
    struct vcpu *cpu;
    const struct insn *i;
    uint64_t linear;
    uint8_t *host; /* where it is, if in one page of plain memory */
};

static struct area area_open(struct vcpu *cpu, const struct insn *i, unsigned size, unsigned align,
                             enum mmu_access access)
{
    struct area a = {.cpu = cpu, .i = i};

    a.linear = mem_linear(cpu, i, size, access);
    if (a.linear & (align - 1))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (access == MMU_WRITE) {
        a.host = tlb_find_write(&cpu->mmu, a.linear, size);
        if (a.host == NULL)
            mem_probe_write(cpu, i, a.linear, size);
    } else {
        a.host = tlb_find_read(&cpu->mmu, a.linear, size);
        if (a.host == NULL)
            mem_probe_read(cpu, i, a.linear, size);
    }
    return a;
}

#define AREA_DEFINE(bits)                                                                          \
    static uint##bits##_t get##bits(const struct area *a, unsigned offset)                         \
    {                                                                                              \
        if (likely(a->host != NULL))                                                               \
            return guest_load##bits(a->host + offset);                                             \
        return mem_load##bits(a->cpu, a->i, a->linear + offset);                                   \
    }                                                                                              \
    static void put##bits(const struct area *a, unsigned offset, uint##bits##_t value)             \
    {                                                                                              \
        if (likely(a->host != NULL))                                                               \
            guest_store##bits(a->host + offset, value);                                            \
        else                                                                                       \
            mem_store##bits(a->cpu, a->i, a->linear + offset, value);                              \
    }

AREA_DEFINE(16)
AREA_DEFINE(32)
AREA_DEFINE(64)
#undef AREA_DEFINE

/* ---- x87 and SSE ------------------------------------------------------------------------------
 */

static struct float80 *st(struct vcpu *cpu, unsigned n)
{
    return &cpu->x87.r[(cpu->x87.top + n) & 7];
}

/* wide: REX.W, the pointers have 64 bits and no selectors. */
static void x87_store(const struct area *a, bool wide)
{
    const struct x87 *x = &a->cpu->x87;

    put16(a, AREA_CONTROL, x->control);
    put16(a, AREA_STATUS, fpu_x87_status(a->cpu));
    put16(a, AREA_TAGS, x->valid); /* abridged: a bit is set for a register that is not empty */
    put16(a, AREA_OPCODE, x->opcode);
    put64(a, AREA_IP, wide ? x->ip : (uint32_t)x->ip | (uint64_t)x->cs << 32);
    put64(a, AREA_DP, wide ? x->dp : (uint32_t)x->dp | (uint64_t)x->ds << 32);
    for (unsigned n = 0; n < 8; n++) {
        put64(a, AREA_ST + 16 * n, st(a->cpu, n)->significand);
        put64(a, AREA_ST + 16 * n + 8, st(a->cpu, n)->sign_exponent);
    }
}

static void x87_load(const struct area *a, bool wide)
{
    struct x87 *x = &a->cpu->x87;
    uint64_t ip = get64(a, AREA_IP), dp = get64(a, AREA_DP);

    fpu_x87_set_control(a->cpu, get16(a, AREA_CONTROL));
    fpu_x87_set_status(a->cpu, get16(a, AREA_STATUS));
    x->valid = (uint8_t)get16(a, AREA_TAGS);
    x->opcode = get16(a, AREA_OPCODE) & 0x7ff;
    x->ip = wide ? ip : (uint32_t)ip;
    x->dp = wide ? dp : (uint32_t)dp;
    x->cs = wide ? 0 : (uint16_t)(ip >> 32);
    x->ds = wide ? 0 : (uint16_t)(dp >> 32);
    for (unsigned n = 0; n < 8; n++) {
        st(a->cpu, n)->significand = get64(a, AREA_ST + 16 * n);
        st(a->cpu, n)->sign_exponent = get16(a, AREA_ST + 16 * n + 8);
    }
}

static unsigned xmm_count(const struct vcpu *cpu)
{
    return cpu->mode & MODE_64 ? 16 : 8;
}

static void xmm_store(const struct area *a)
{
    for (unsigned n = 0; n < xmm_count(a->cpu); n++) {
        put64(a, AREA_XMM + 16 * n, a->cpu->vreg[n].q[0]);
        put64(a, AREA_XMM + 16 * n + 8, a->cpu->vreg[n].q[1]);
    }
}

static void xmm_load(const struct area *a)
{
    for (unsigned n = 0; n < xmm_count(a->cpu); n++) {
        a->cpu->vreg[n].q[0] = get64(a, AREA_XMM + 16 * n);
        a->cpu->vreg[n].q[1] = get64(a, AREA_XMM + 16 * n + 8);
    }
}

static void mxcsr_store(const struct area *a)
{
    put32(a, AREA_MXCSR, fpu_mxcsr_read(a->cpu));
    put32(a, AREA_MXCSR_MASK, MXCSR_WRITE_MASK);
}

/* The MXCSR of the area; #GP(0) if it sets reserved bits. Check before anything is loaded. */
static uint32_t mxcsr_get(const struct area *a)
{
    uint32_t value = get32(a, AREA_MXCSR);

    if (value & ~MXCSR_WRITE_MASK)
        cpu_raise_code(a->cpu, a->i, EXC_GP, 0);
    return value;
}

/* Bytes 288 to 415 are reserved outside 64-bit mode, and 464 to 511 belong to software: neither is
 * written, which the manual leaves open for the former. */
static void fxsave(struct vcpu *cpu, const struct insn *i, bool wide)
{
    struct area a = area_open(cpu, i, LEGACY_SIZE, 16, MMU_WRITE);

    x87_store(&a, wide);
    mxcsr_store(&a);
    xmm_store(&a);
}

static void fxrstor(struct vcpu *cpu, const struct insn *i, bool wide)
{
    struct area a = area_open(cpu, i, LEGACY_SIZE, 16, MMU_READ);
    uint32_t mxcsr = mxcsr_get(&a);

    x87_load(&a, wide);
    xmm_load(&a);
    fpu_mxcsr_write(cpu, mxcsr);
}

/* ---- Extended state ----------------------------------------------------------------------------
 */

static void check_enabled(struct vcpu *cpu, const struct insn *i)
{
    if (!(cpu->mmu.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, i, EXC_UD);
    if (cpu->mmu.cr0 & CR0_TS)
        cpu_raise(cpu, i, EXC_NM);
}

static uint64_t component_mask(const struct vcpu *cpu)
{
    return (uint64_t)(uint32_t)cpu->gpr[GPR_RDX] << 32 | (uint32_t)cpu->gpr[GPR_RAX];
}

/* RFBM: components that both XCR0 and EDX:EAX name; for XSAVES those of IA32_XSS, too. */
static uint64_t requested(const struct vcpu *cpu)
{
    return cpu->xcr0 & component_mask(cpu);
}

static uint64_t requested_supervisor(const struct vcpu *cpu)
{
    return (cpu->xcr0 | cpu->xss) & component_mask(cpu);
}

static bool x87_initial(const struct x87 *x)
{
    uint64_t used = 0;

    for (unsigned n = 0; n < 8; n++)
        used |= x->r[n].significand | x->r[n].sign_exponent;
    used |= x->status | x->top | x->valid | x->opcode | x->ip | x->dp | x->cs | x->ds;
    return used == 0 && x->control == CW_INIT;
}

/* XINUSE: components that are not in their initial state (SDM 1 13.6). MXCSR counts as part of SSE
 * here, as a processor may have it. */
static uint64_t in_use(struct vcpu *cpu)
{
    uint64_t xmm = 0, upper = 0, zmm = 0, high = 0, masks = 0, used = 0;

    for (unsigned n = 0; n < 16; n++) {
        xmm |= cpu->vreg[n].q[0] | cpu->vreg[n].q[1];
        upper |= cpu->vreg[n].q[2] | cpu->vreg[n].q[3];
        for (unsigned q = 4; q < 8; q++)
            zmm |= cpu->vreg[n].q[q];
        for (unsigned q = 0; q < 8; q++)
            high |= cpu->vreg[16 + n].q[q];
        masks |= cpu->opmask[n % 8];
    }
    if (!x87_initial(&cpu->x87))
        used |= XSTATE_X87;
    if (xmm != 0 || fpu_mxcsr_read(cpu) != MXCSR_RESET)
        used |= XSTATE_SSE;
    used |= upper != 0 ? XSTATE_AVX : 0;
    used |= masks != 0 ? XSTATE_OPMASK : 0;
    used |= zmm != 0 ? XSTATE_ZMM_HI256 : 0;
    used |= high != 0 ? XSTATE_HI16_ZMM : 0;
    return used;
}

/* Which quads of which registers make up a component of vectors; in an area they follow each other.
 * Outside 64-bit mode there are eight registers, whose places are the same. */
struct vector_part {
    unsigned first, count; /* registers */
    unsigned low, quads;
};

static struct vector_part vector_part(const struct vcpu *cpu, unsigned component)
{
    bool wide = cpu->mode & MODE_64;

    switch (component) {
    case XSAVE_AVX:
        return (struct vector_part){0, wide ? 16 : 8, 2, 2};
    case XSAVE_ZMM_HI256:
        return (struct vector_part){0, wide ? 16 : 8, 4, 4};
    default:
        return (struct vector_part){16, wide ? 16 : 0, 0, 8};
    }
}

static const uint8_t vector_components[] = {XSAVE_AVX, XSAVE_ZMM_HI256, XSAVE_HI16_ZMM};

/* Stores the components of `written` in an area of that layout (0: the standard format). */
static void extended_store(const struct area *a, uint64_t written, uint64_t layout)
{
    for (unsigned k = 0; k < ARRAY_SIZE(vector_components); k++) {
        unsigned component = vector_components[k], at = fpu_xsave_offset(component, layout);
        struct vector_part p = vector_part(a->cpu, component);

        for (unsigned n = 0; (written >> component & 1) && n < p.count * p.quads; n++)
            put64(a, at + 8 * n, a->cpu->vreg[p.first + n / p.quads].q[p.low + n % p.quads]);
    }
    for (unsigned n = 0; (written & XSTATE_OPMASK) && n < 8; n++)
        put64(a, fpu_xsave_offset(XSAVE_OPMASK, layout) + 8 * n, a->cpu->opmask[n]);
}

/* Loads the components of `wanted` that are `present`, and clears the others. */
static void extended_load(const struct area *a, uint64_t wanted, uint64_t present, uint64_t layout)
{
    for (unsigned k = 0; k < ARRAY_SIZE(vector_components); k++) {
        unsigned component = vector_components[k], at = fpu_xsave_offset(component, layout);
        struct vector_part p = vector_part(a->cpu, component);

        for (unsigned n = 0; (wanted >> component & 1) && n < p.count * p.quads; n++)
            a->cpu->vreg[p.first + n / p.quads].q[p.low + n % p.quads] =
                present >> component & 1 ? get64(a, at + 8 * n) : 0;
    }
    for (unsigned n = 0; (wanted & XSTATE_OPMASK) && n < 8; n++)
        a->cpu->opmask[n] =
            present & XSTATE_OPMASK ? get64(a, fpu_xsave_offset(XSAVE_OPMASK, layout) + 8 * n) : 0;
}

enum save_form {
    SAVE_PLAIN,     /* XSAVE */
    SAVE_OPTIMISED, /* XSAVEOPT: components in their initial state are left out */
    SAVE_COMPACTED, /* XSAVEC, XSAVES: likewise; MXCSR belongs to SSE */
};

static void xsave(struct vcpu *cpu, const struct insn *i, bool wide, enum save_form form,
                  uint64_t wanted)
{
    uint64_t used = in_use(cpu), written, old;
    struct area a;

    check_enabled(cpu, i);
    a = area_open(cpu, i, fpu_xsave_size(wanted, form == SAVE_COMPACTED), 64, MMU_WRITE);
    old = form == SAVE_COMPACTED ? 0 : get64(&a, AREA_XSTATE_BV);
    written = form == SAVE_PLAIN ? wanted : wanted & used;
    if (written & XSTATE_X87)
        x87_store(&a, wide);
    if (form == SAVE_COMPACTED ? written & XSTATE_SSE : wanted & (XSTATE_SSE | XSTATE_AVX))
        mxcsr_store(&a);
    if (written & XSTATE_SSE)
        xmm_store(&a);
    extended_store(&a, written, form == SAVE_COMPACTED ? XCOMP_COMPACTED | wanted : 0);
    put64(&a, AREA_XSTATE_BV, (old & ~wanted) | (used & wanted));
    if (form == SAVE_COMPACTED)
        put64(&a, AREA_XCOMP_BV, XCOMP_COMPACTED | wanted);
}

static void xmm_clear(struct vcpu *cpu)
{
    for (unsigned n = 0; n < xmm_count(cpu); n++)
        cpu->vreg[n].q[0] = cpu->vreg[n].q[1] = 0;
}

static void x87_clear(struct vcpu *cpu)
{
    fpu_x87_init(cpu);
    for (unsigned n = 0; n < 8; n++)
        cpu->x87.r[n] = (struct float80){0};
}

/* Is the header what XRSTOR (of components in `enabled`) takes? */
static bool header_valid(const struct area *a, uint64_t enabled, bool compacted)
{
    uint64_t present = get64(a, AREA_XSTATE_BV), layout = get64(a, AREA_XCOMP_BV), rest = 0;

    if (!compacted)
        return !(present & ~enabled) && layout == 0 && get64(a, AREA_RESERVED) == 0;
    for (unsigned offset = AREA_RESERVED; offset < XSAVE_HEADER_END; offset += 8)
        rest |= get64(a, offset);
    return cpu_has(a->cpu, FEATURE_XSAVEC) && rest == 0 &&
           !(layout & ~(enabled | XCOMP_COMPACTED)) && !(present & ~(layout & ~XCOMP_COMPACTED));
}

/* Where the last of these components ends. */
static unsigned area_end(uint64_t components, uint64_t layout)
{
    unsigned end = XSAVE_HEADER_END;

    for (unsigned n = XSAVE_AVX; n < XSAVE_COMPONENT_COUNT; n++)
        if (components >> n & 1)
            end = fpu_xsave_offset(n, layout) + fpu_xsave_component_size(n);
    return end;
}

/* XRSTOR and (supervisor) XRSTORS, which takes the compacted format only. */
static void xrstor(struct vcpu *cpu, const struct insn *i, bool wide, bool supervisor)
{
    uint64_t enabled = supervisor ? cpu->xcr0 | cpu->xss : cpu->xcr0;
    uint64_t wanted = enabled & component_mask(cpu), present, layout;
    uint32_t mxcsr = MXCSR_RESET;
    bool compacted, loads_mxcsr;
    struct area a;

    check_enabled(cpu, i);
    a = area_open(cpu, i, XSAVE_HEADER_END, 64, MMU_READ);
    layout = get64(&a, AREA_XCOMP_BV);
    compacted = layout & XCOMP_COMPACTED;
    if ((supervisor && !compacted) || !header_valid(&a, enabled, compacted))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    present = wanted & get64(&a, AREA_XSTATE_BV);
    a = area_open(cpu, i, area_end(compacted ? present : wanted, compacted ? layout : 0), 64,
                  MMU_READ);
    /* In the standard format MXCSR comes from memory even where the SSE state is to be the initial
     * one; in the compacted one it is part of that state. */
    loads_mxcsr = compacted ? wanted & XSTATE_SSE : wanted & (XSTATE_SSE | XSTATE_AVX);
    if (loads_mxcsr && (!compacted || (present & XSTATE_SSE)))
        mxcsr = mxcsr_get(&a);
    if (present & XSTATE_X87)
        x87_load(&a, wide);
    else if (wanted & XSTATE_X87)
        x87_clear(cpu);
    if (present & XSTATE_SSE)
        xmm_load(&a);
    else if (wanted & XSTATE_SSE)
        xmm_clear(cpu);
    extended_load(&a, wanted, present, compacted ? layout : 0);
    if (loads_mxcsr)
        fpu_mxcsr_write(cpu, mxcsr);
}

/* ---- Ops ----------------------------------------------------------------------------------------
 */

#define STATE_OP(name, ...)                                                                        \
    OP(name##_m16)                                                                                 \
    {                                                                                              \
        const bool wide = false;                                                                   \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m32)                                                                                 \
    {                                                                                              \
        const bool wide = false;                                                                   \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m64)                                                                                 \
    {                                                                                              \
        const bool wide = true;                                                                    \
        __VA_ARGS__;                                                                               \
        NEXT;                                                                                      \
    }

STATE_OP(fxsave, fxsave(cpu, i, wide))
STATE_OP(fxrstor, fxrstor(cpu, i, wide))
STATE_OP(xsave, xsave(cpu, i, wide, SAVE_PLAIN, requested(cpu)))
STATE_OP(xsaveopt, xsave(cpu, i, wide, SAVE_OPTIMISED, requested(cpu)))
STATE_OP(xsavec, xsave(cpu, i, wide, SAVE_COMPACTED, requested(cpu)))
STATE_OP(xsaves, xsave(cpu, i, wide, SAVE_COMPACTED, requested_supervisor(cpu)))
STATE_OP(xrstor, xrstor(cpu, i, wide, false))
STATE_OP(xrstors, xrstor(cpu, i, wide, true))

OP(ldmxcsr)
{
    uint32_t value = mem_read32(cpu, i);

    if (value & ~MXCSR_WRITE_MASK)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    fpu_mxcsr_write(cpu, value);
    NEXT;
}

OP(stmxcsr)
{
    mem_write32(cpu, i, fpu_mxcsr_read(cpu));
    NEXT;
}

OP(xgetbv)
{
    uint32_t index = reg_get32(cpu, GPR_RCX);
    uint64_t value = cpu->xcr0;

    if (!(cpu->mmu.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, i, EXC_UD);
    if (index > 1 || (index == 1 && !cpu_has(cpu, FEATURE_XGETBV1)))
        cpu_raise_code(cpu, i, EXC_GP, 0);
    if (index == 1)
        value &= in_use(cpu);
    reg_set32(cpu, GPR_RAX, (uint32_t)value);
    reg_set32(cpu, GPR_RDX, (uint32_t)(value >> 32));
    NEXT;
}

OP(xsetbv)
{
    uint64_t value = (uint64_t)reg_get32(cpu, GPR_RDX) << 32 | reg_get32(cpu, GPR_RAX);
    bool valid;

    if (!(cpu->mmu.cr4 & CR4_OSXSAVE))
        cpu_raise(cpu, i, EXC_UD);
    valid = cpu_cpl(cpu) == 0 && reg_get32(cpu, GPR_RCX) == 0 && (value & XSTATE_X87) &&
            !(value & ~fpu_xcr0_supported(cpu));
    /* AVX state is unthinkable without SSE state, and so on; that of AVX-512 is one. */
    if (value & XSTATE_AVX512)
        valid = valid && (value & XSTATE_AVX) && (value & XSTATE_AVX512) == XSTATE_AVX512;
    if (!valid || (value & (XSTATE_SSE | XSTATE_AVX)) == XSTATE_AVX)
        cpu_raise_code(cpu, i, EXC_GP, 0);
    cpu->xcr0 = value;
    mode_update(cpu);
    NEXT;
}
