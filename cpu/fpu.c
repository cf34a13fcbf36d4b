#include "cpu/fpu.h"

#include "base/log.h"

#if defined(__x86_64__)

static uint32_t host_mxcsr_get(void)
{
    uint32_t value;

    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

static void host_mxcsr_set(uint32_t value)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(value) : "memory");
}

static uint16_t host_x87_get(void)
{
    uint16_t value;

    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}

/* Empty stack, no flags. */
static void host_x87_set(uint16_t control)
{
    __asm__ volatile("fninit\n\tfldcw %0" : : "m"(control));
}

static bool host_has_fma(void)
{
    return __builtin_cpu_supports("fma");
}

static const bool host_has_units = true;

#else

/* All arithmetic runs on cpu/softfloat.h; what is in the vcpu is all there is. */
static uint32_t host_mxcsr_get(void)
{
    return 0;
}

static void host_mxcsr_set(uint32_t value)
{
    (void)value;
}

static uint16_t host_x87_get(void)
{
    return 0;
}

static void host_x87_set(uint16_t control)
{
    (void)control;
}

static bool host_has_fma(void)
{
    return false;
}

static const bool host_has_units = false;

#endif

/* What the host's MXCSR holds for the guest: its rounding, DAZ, FTZ and flags, all exceptions
 * masked. FTZ acts only while underflow is masked (SDM 1 10.2.3.3). */
static uint32_t host_mxcsr_value(uint32_t guest)
{
    uint32_t v = (guest & (MXCSR_RC | MXCSR_DAZ | MXCSR_FTZ | MXCSR_FLAGS)) | MXCSR_MASKS;

    if (!(guest & SW_UE << MXCSR_MASK_SHIFT))
        v &= ~MXCSR_FTZ;
    return v;
}

static void load_mxcsr(struct vcpu *cpu)
{
    if (cpu->host_fpu_loaded)
        host_mxcsr_set(host_mxcsr_value(cpu->mxcsr));
    cpu->sse_fast =
        cpu->host_fpu_loaded && !cpu->fpu_soft && (cpu->mxcsr & MXCSR_MASKS) == MXCSR_MASKS;
    cpu->fma_fast = cpu->sse_fast && host_has_fma();
}

static void load_x87(struct vcpu *cpu)
{
    uint16_t control = cpu->x87.control;

    if (cpu->host_fpu_loaded)
        host_x87_set((control & (CW_PC | CW_RC)) | CW_MASKS | CW_RESERVED);
    cpu->x87_fast = cpu->host_fpu_loaded && !cpu->fpu_soft && (control & CW_MASKS) == CW_MASKS;
}

void fpu_host_enter(struct vcpu *cpu)
{
    if (!host_has_units)
        return;
    cpu->host_mxcsr = host_mxcsr_get();
    cpu->host_fpu_control = host_x87_get();
    cpu->host_fpu_loaded = true;
    load_mxcsr(cpu);
    load_x87(cpu);
}

void fpu_host_leave(struct vcpu *cpu)
{
    if (!cpu->host_fpu_loaded)
        return;
    fpu_mxcsr_read(cpu);
    host_mxcsr_set(cpu->host_mxcsr);
    host_x87_set(cpu->host_fpu_control);
    cpu->host_fpu_loaded = cpu->sse_fast = cpu->fma_fast = cpu->x87_fast = false;
}

uint32_t fpu_mxcsr_read(struct vcpu *cpu)
{
    if (cpu->host_fpu_loaded)
        cpu->mxcsr = (cpu->mxcsr & ~MXCSR_FLAGS) | (host_mxcsr_get() & MXCSR_FLAGS);
    return cpu->mxcsr;
}

void fpu_mxcsr_write(struct vcpu *cpu, uint32_t value)
{
    cpu->mxcsr = value;
    load_mxcsr(cpu);
}

/* ES and B are the summary of the unmasked flags; FERR# falls with them, and IGNNE# with it. */
static void update_summary(struct vcpu *cpu)
{
    struct x87 *x = &cpu->x87;

    x->status &= (uint16_t) ~(SW_ES | SW_B);
    if (x->status & ~x->control & SW_EXCEPTIONS)
        x->status |= SW_ES | SW_B;
    else
        cpu->x87_error_pin = cpu->x87_ignore = false;
}

void fpu_x87_set_control(struct vcpu *cpu, uint16_t value)
{
    cpu->x87.control = (value & CW_WRITABLE) | CW_RESERVED;
    update_summary(cpu);
    load_x87(cpu);
}

void fpu_x87_set_status(struct vcpu *cpu, uint16_t value)
{
    cpu->x87.status = value & (uint16_t)~SW_TOP;
    cpu->x87.top = (value & SW_TOP) >> SW_TOP_SHIFT;
    update_summary(cpu);
    load_x87(cpu);
}

static unsigned tag_of(const struct float80 *r)
{
    unsigned exponent = r->sign_exponent & 0x7fff;

    if (exponent == 0 && r->significand == 0)
        return 1;
    return exponent == 0 || exponent == 0x7fff || !(r->significand >> 63) ? 2 : 0;
}

uint16_t fpu_x87_tags(const struct vcpu *cpu)
{
    unsigned tags = 0;

    for (unsigned n = 0; n < 8; n++) {
        bool valid = (cpu->x87.valid >> n) & 1;

        tags |= (valid ? tag_of(&cpu->x87.r[n]) : 3) << (2 * n);
    }
    return (uint16_t)tags;
}

void fpu_x87_set_tags(struct vcpu *cpu, uint16_t tags)
{
    cpu->x87.valid = 0;
    for (unsigned n = 0; n < 8; n++)
        if (((tags >> (2 * n)) & 3) != 3)
            cpu->x87.valid |= (uint8_t)(1u << n);
}

/*
 * CR0.NE = 0, the PC-AT way (SDM 1 8.7.2 and D.2): the processor drives FERR# and stops in front of
 * the instruction, the chipset turns FERR# into IRQ 13, and the handler's write to port F0h answers
 * with IGNNE#, which lets x87 instructions run in spite of the error.
 */
void fpu_raise_pending(struct vcpu *cpu, const struct insn *i)
{
    if (cpu->mmu.cr0 & CR0_NE)
        cpu_raise(cpu, i, EXC_MF);
    if (cpu->platform.ferr == NULL || cpu->x87_ignore)
        return;
    if (!cpu->x87_error_pin) {
        if (cpu->mmu.exact && !cpu->mmu.exact_point)
            cpu_restart(cpu, i); /* devices are touched at exact points only */
        cpu_sync_time(cpu, i);
        cpu->x87_error_pin = true;
        cpu->platform.ferr(cpu->platform.opaque);
    }
    cpu_wait(cpu, i);
}

void fpu_x87_init(struct vcpu *cpu)
{
    struct x87 *x = &cpu->x87;

    x->control = CW_INIT;
    x->status = 0;
    x->top = 0;
    x->valid = 0;
    x->opcode = 0;
    x->ip = x->dp = 0;
    x->cs = x->ds = 0;
    cpu->x87_error_pin = cpu->x87_ignore = false;
    load_x87(cpu);
}

uint64_t fpu_xcr0_supported(const struct vcpu *cpu)
{
    return XSTATE_X87 | XSTATE_SSE | (cpu_has(cpu, FEATURE_AVX) ? XSTATE_AVX : 0);
}

unsigned fpu_xsave_size(uint64_t components)
{
    return components & XSTATE_AVX ? XSAVE_AVX_OFFSET + XSAVE_AVX_SIZE : XSAVE_HEADER_END;
}

static void serialize_x87(struct x87 *x, struct state *s)
{
    for (unsigned n = 0; n < ARRAY_SIZE(x->r); n++) {
        state_u64(s, &x->r[n].significand);
        state_u16(s, &x->r[n].sign_exponent);
    }
    state_u16(s, &x->control);
    state_u16(s, &x->status);
    state_u8(s, &x->top);
    state_u8(s, &x->valid);
    state_u16(s, &x->opcode);
    state_u64(s, &x->ip);
    state_u64(s, &x->dp);
    state_u16(s, &x->cs);
    state_u16(s, &x->ds);
    state_check(s, x->top < 8 && !(x->status & SW_TOP), "x87 stack top");
}

void fpu_serialize(struct vcpu *cpu, struct state *s)
{
    uint32_t mxcsr = fpu_mxcsr_read(cpu);

    state_section(s, "fpu", 3);
    serialize_x87(&cpu->x87, s);
    state_bool(s, &cpu->x87_error_pin);
    state_bool(s, &cpu->x87_ignore);
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->vreg); n++)
        for (unsigned k = 0; k < ARRAY_SIZE(cpu->vreg[n].q); k++)
            state_u64(s, &cpu->vreg[n].q[k]);
    for (unsigned n = 0; n < ARRAY_SIZE(cpu->opmask); n++)
        state_u64(s, &cpu->opmask[n]);
    state_u32(s, &mxcsr);
    state_u64(s, &cpu->xcr0);
    state_u64(s, &cpu->xss);
    state_check(s, !(mxcsr & ~MXCSR_WRITE_MASK), "MXCSR");
    state_check(s, (cpu->xcr0 & 1) && !(cpu->xcr0 & ~fpu_xcr0_supported(cpu)), "XCR0");
    state_check(s, cpu->xss == 0, "IA32_XSS");
    if (!state_is_loading(s))
        return;
    cpu->x87.control = (cpu->x87.control & (CW_WRITABLE | CW_RESERVED));
    cpu->x87.top &= 7;
    update_summary(cpu);
    load_x87(cpu);
    fpu_mxcsr_write(cpu, mxcsr & MXCSR_WRITE_MASK);
}
