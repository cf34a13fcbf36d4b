/*
 * What x87 op functions are made of: the register stack, the order of checks, exceptions.
 *
 * An op is
 *     x87_begin       #MF if an unmasked exception is pending (waiting instructions only)
 *     memory read     may fault; nothing has changed yet
 *     compute         results in locals, what happened as SW_* bits
 *     memory write    may fault; nothing has changed yet
 *     x87_note        last-instruction pointers
 *     x87_settle      flags; false: an unmasked exception of the operands, nothing else happens
 *     registers, pop
 *
 * Source: Intel SDM volume 1, 8.1.8 (pointers), 8.4 and 8.5 (exceptions), 8.5.1.1 (stack faults).
 */
#ifndef CPU_OPS_X87_H
#define CPU_OPS_X87_H

#include "cpu/block.h"
#include "cpu/fpu.h"
#include "cpu/ops/ops.h"
#include "cpu/ops/x87_unit.h"
#include "cpu/softfloat.h"

#define X87_CONDITIONS (SW_C0 | SW_C2 | SW_C3)

/* Exceptions that, unmasked, keep the operands and the stack as they are (SDM 1 8.6): always, and
 * where the result goes to memory. */
#define X87_BLOCKING       (SW_IE | SW_DE | SW_ZE)
#define X87_BLOCKING_STORE (X87_BLOCKING | SW_OE | SW_UE)

#define X87_UNDERFLOW (SW_IE | SW_SF)
#define X87_OVERFLOW  (SW_IE | SW_SF | SW_C1)

/* ---- The register stack ------------------------------------------------------------------- */

static inline unsigned x87_physical(const struct vcpu *cpu, unsigned n)
{
    return (cpu->x87.top + n) & 7;
}

static inline struct float80 *x87_st(struct vcpu *cpu, unsigned n)
{
    return &cpu->x87.r[x87_physical(cpu, n)];
}

static inline bool x87_empty(const struct vcpu *cpu, unsigned n)
{
    return !((cpu->x87.valid >> x87_physical(cpu, n)) & 1);
}

static inline void x87_set(struct vcpu *cpu, unsigned n, struct float80 value)
{
    *x87_st(cpu, n) = value;
    cpu->x87.valid |= (uint8_t)(1u << x87_physical(cpu, n));
}

static inline void x87_free(struct vcpu *cpu, unsigned n)
{
    cpu->x87.valid &= (uint8_t) ~(1u << x87_physical(cpu, n));
}

static inline void x87_push(struct vcpu *cpu, struct float80 value)
{
    cpu->x87.top = (cpu->x87.top - 1) & 7;
    x87_set(cpu, 0, value);
}

static inline void x87_pop(struct vcpu *cpu, unsigned count)
{
    for (; count > 0; count--) {
        x87_free(cpu, 0);
        cpu->x87.top = (cpu->x87.top + 1) & 7;
    }
}

/* ---- Before, and after ------------------------------------------------------------------- */

static inline void x87_begin(struct vcpu *cpu, const struct insn *i)
{
    if (unlikely(cpu->x87.status & SW_ES))
        fpu_raise_pending(cpu, i);
}

/* Every instruction but the control ones leaves its address and opcode; those with a memory operand
 * leave its address too. */
static inline void x87_note(struct vcpu *cpu, const struct insn *i)
{
    struct x87 *x = &cpu->x87;

    x->opcode = (uint16_t)i->imm;
    x->ip = cpu_insn_start(cpu, i);
    x->cs = cpu->seg[SEG_CS].selector;
    if (i->flags & INSN_MEM) {
        x->dp = insn_ea(cpu, i);
        x->ds = cpu->seg[i->seg != SEG_NONE ? i->seg : SEG_DS].selector;
    }
}

/* True if some exception in `happened` is unmasked and among `blocking`. */
static inline bool x87_blocked(const struct vcpu *cpu, unsigned happened, unsigned blocking)
{
    return happened & ~(unsigned)cpu->x87.control & blocking;
}

/*
 * Enters what happened into the status word; C1 is replaced. Returns false if the instruction ends
 * there: an unmasked exception among `blocking`. An unmasked one of another kind lets the result
 * stand and is raised by the next waiting instruction, as all are.
 */
static inline bool x87_settle(struct vcpu *cpu, unsigned happened, unsigned blocking)
{
    struct x87 *x = &cpu->x87;
    unsigned status = x->status & ~SW_C1;
    bool blocked;

    if (likely((happened & (SW_EXCEPTIONS | SW_C1)) == 0)) {
        x->status = (uint16_t)status;
        return true;
    }
    blocked = x87_blocked(cpu, happened, blocking);
    /* Whoever stops has no result to tell about. */
    if (blocked)
        happened &= happened & SW_SF ? X87_OVERFLOW : blocking;
    status |= happened & (SW_EXCEPTIONS | SW_SF | SW_C1);
    if (happened & ~(unsigned)x->control & SW_EXCEPTIONS)
        status |= SW_ES | SW_B;
    x->status = (uint16_t)status;
    return !blocked;
}

/* The same if every exception is masked. */
static inline void x87_settle_masked(struct vcpu *cpu, unsigned happened)
{
    cpu->x87.status = (uint16_t)((cpu->x87.status & ~SW_C1) | (happened & (SW_EXCEPTIONS | SW_C1)));
}

static inline void x87_set_conditions(struct vcpu *cpu, unsigned conditions)
{
    cpu->x87.status = (uint16_t)((cpu->x87.status & ~X87_CONDITIONS) | conditions);
}

/* ---- Results ------------------------------------------------------------------------------ */

/* *dest = a op b; false if an unmasked exception kept it. */
static inline bool x87_compute(struct vcpu *cpu, x87_host_binary_fn *host, x87_binary_fn *soft,
                               struct float80 *dest, const struct float80 *a,
                               const struct float80 *b)
{
    struct float80 r;

    if (X87_FAST(cpu)) {
        x87_settle_masked(cpu, host(dest, a, b));
        return true;
    }
    if (!x87_settle(cpu, soft(cpu->x87.control, &r, a, b), X87_BLOCKING))
        return false;
    *dest = r;
    return true;
}

/* Stack underflow of an instruction whose result goes to ST(n): the default NaN if masked. Returns
 * false if unmasked. */
static inline bool x87_underflow(struct vcpu *cpu, unsigned n)
{
    if (!x87_settle(cpu, X87_UNDERFLOW, X87_BLOCKING))
        return false;
    x87_set(cpu, n, SF80_DEFAULT_NAN);
    return true;
}

/* ---- Memory operands ---------------------------------------------------------------------- */

/* A short real as an operand of arithmetic. A signalling NaN stays one: the operation decides. A
 * denormal is an ordinary number afterwards, so *happened gets SW_DE for whom it concerns. */
static inline struct float80 x87_widen32(uint32_t raw, unsigned *happened)
{
    struct softfloat_env env = {0};
    struct float80 r = sf32_to_f80(&env, raw);

    if (unlikely(env.flags & SOFTFLOAT_INVALID))
        r.significand &= ~BIT64(62);
    *happened = env.flags & SOFTFLOAT_DENORMAL;
    return r;
}

static inline struct float80 x87_widen64(uint64_t raw, unsigned *happened)
{
    struct softfloat_env env = {0};
    struct float80 r = sf64_to_f80(&env, raw);

    if (unlikely(env.flags & SOFTFLOAT_INVALID))
        r.significand &= ~BIT64(62);
    *happened = env.flags & SOFTFLOAT_DENORMAL;
    return r;
}

#endif
