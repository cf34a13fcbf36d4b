/*
 * x87 control: FNINIT, FNCLEX, control and status word, environment and state images, stack
 * pointer, FWAIT. Source: Intel SDM volume 2A, there; volume 1, 8.1.10 (images), 8.3.11.
 */
#include "cpu/mode.h"
#include "cpu/ops/x87.h"

#include <string.h>

/* ---- Words ----------------------------------------------------------------------------------- */

OP(fninit)
{
    fpu_x87_init(cpu);
    NEXT;
}

OP(fnclex)
{
    fpu_x87_set_status(cpu, fpu_x87_status(cpu) & (uint16_t) ~(SW_EXCEPTIONS | SW_SF));
    NEXT;
}

OP(fldcw)
{
    x87_begin(cpu, i);
    fpu_x87_set_control(cpu, mem_read16(cpu, i));
    NEXT;
}

OP(fnstcw)
{
    mem_write16(cpu, i, cpu->x87.control);
    NEXT;
}

OP(fnstsw_m16)
{
    mem_write16(cpu, i, fpu_x87_status(cpu));
    NEXT;
}

OP(fnstsw_ax)
{
    reg_set16(cpu, GPR_RAX, fpu_x87_status(cpu));
    NEXT;
}

/* ---- Nothing much ---------------------------------------------------------------------------- */

/* 9B. TS and MP together send it to the #NM handler, whatever EM says (SDM 1 8.3.11). */
OP(fwait)
{
    if ((cpu->mode & (MODE_TS | MODE_MP)) == (MODE_TS | MODE_MP))
        cpu_raise(cpu, i, EXC_NM);
    x87_begin(cpu, i);
    NEXT;
}

OP(fnop)
{
    x87_begin(cpu, i);
    x87_note(cpu, i);
    NEXT;
}

/* FNENI, FNDISI of the 8087 and FNSETPM of the 80287 do nothing on later processors. */
OP(fnop_old)
{
    NEXT;
}

OP(fincstp)
{
    x87_begin(cpu, i);
    x87_note(cpu, i);
    cpu->x87.top = (cpu->x87.top + 1) & 7;
    cpu->x87.status &= (uint16_t)~SW_C1;
    NEXT;
}

OP(fdecstp)
{
    x87_begin(cpu, i);
    x87_note(cpu, i);
    cpu->x87.top = (cpu->x87.top - 1) & 7;
    cpu->x87.status &= (uint16_t)~SW_C1;
    NEXT;
}

OP(ffree)
{
    x87_begin(cpu, i);
    x87_note(cpu, i);
    x87_free(cpu, i->rm & 7);
    cpu->x87.status &= (uint16_t)~SW_C1;
    NEXT;
}

OP(ffreep)
{
    x87_begin(cpu, i);
    x87_note(cpu, i);
    x87_free(cpu, i->rm & 7);
    x87_pop(cpu, 1);
    cpu->x87.status &= (uint16_t)~SW_C1;
    NEXT;
}

/* ---- Environment and state images ------------------------------------------------------------ */

/*
 * Seven fields of 16 or 32 bits:
 *   protected mode:  control, status, tags, IP, CS (32: and opcode above), DP, DS
 *   real mode:       control, status, tags, IP low, IP high and opcode, DP low, DP high
 * where in real mode IP and DP are linear addresses, of 20 bits in the 16-bit format. The upper
 * halves of 32-bit fields that hold 16 bits are stored as ones, as processors do.
 */
#define ENVIRONMENT_FIELDS 7
#define STATE_BYTES        80

static bool real_format(const struct vcpu *cpu)
{
    return !(cpu->mode & (MODE_PROT | MODE_64));
}

static unsigned environment_size(bool wide)
{
    return ENVIRONMENT_FIELDS * (wide ? 4 : 2);
}

static void put(uint8_t *image, bool wide, unsigned field, uint32_t value)
{
    if (wide)
        guest_store32(image + 4 * field, value);
    else
        guest_store16(image + 2 * field, (uint16_t)value);
}

static uint32_t get(const uint8_t *image, bool wide, unsigned field)
{
    return wide ? guest_load32(image + 4 * field) : guest_load16(image + 2 * field);
}

static void environment_store(const struct vcpu *cpu, uint8_t *image, bool wide)
{
    const struct x87 *x = &cpu->x87;
    uint32_t ones = 0xffff0000u;

    put(image, wide, 0, ones | x->control);
    put(image, wide, 1, ones | fpu_x87_status(cpu));
    put(image, wide, 2, ones | fpu_x87_tags(cpu));
    if (real_format(cpu)) {
        uint32_t ip = (uint32_t)(x->cs * 16u + x->ip), dp = (uint32_t)(x->ds * 16u + x->dp);
        uint32_t high = wide ? 0x0ffff000u : 0xf000u; /* where bits 16 and up go, from bit 12 */

        put(image, wide, 3, (wide ? ones : 0) | (ip & 0xffff));
        put(image, wide, 4, (ip >> 4 & high) | x->opcode);
        put(image, wide, 5, (wide ? ones : 0) | (dp & 0xffff));
        put(image, wide, 6, dp >> 4 & high);
        return;
    }
    put(image, wide, 3, (uint32_t)x->ip);
    put(image, wide, 4, (uint32_t)x->opcode << 16 | x->cs);
    put(image, wide, 5, (uint32_t)x->dp);
    put(image, wide, 6, ones | x->ds);
}

static void environment_load(struct vcpu *cpu, const uint8_t *image, bool wide)
{
    struct x87 *x = &cpu->x87;

    fpu_x87_set_control(cpu, (uint16_t)get(image, wide, 0));
    fpu_x87_set_status(cpu, (uint16_t)get(image, wide, 1));
    fpu_x87_set_tags(cpu, (uint16_t)get(image, wide, 2));
    if (real_format(cpu)) {
        uint32_t high = wide ? 0x0ffff000u : 0xf000u;

        x->ip = (get(image, wide, 3) & 0xffff) | (get(image, wide, 4) & high) << 4;
        x->dp = (get(image, wide, 5) & 0xffff) | (get(image, wide, 6) & high) << 4;
        x->opcode = get(image, wide, 4) & 0x7ff;
        x->cs = x->ds = 0;
        return;
    }
    x->ip = get(image, wide, 3);
    x->cs = (uint16_t)get(image, wide, 4);
    /* The 16-bit format has no room for the opcode. */
    x->opcode = wide ? get(image, wide, 4) >> 16 & 0x7ff : 0;
    x->dp = get(image, wide, 5);
    x->ds = (uint16_t)get(image, wide, 6);
}

static void store_environment(struct vcpu *cpu, const struct insn *i, bool wide)
{
    uint8_t image[4 * ENVIRONMENT_FIELDS];
    unsigned size = environment_size(wide);

    environment_store(cpu, image, wide);
    mem_store_bytes(cpu, i, mem_linear(cpu, i, size, MMU_WRITE), image, size);
    /* All exceptions are masked afterwards. */
    fpu_x87_set_control(cpu, cpu->x87.control | CW_MASKS);
}

static void load_environment(struct vcpu *cpu, const struct insn *i, bool wide)
{
    uint8_t image[4 * ENVIRONMENT_FIELDS];
    unsigned size = environment_size(wide);

    x87_begin(cpu, i);
    mem_load_bytes(cpu, i, mem_linear(cpu, i, size, MMU_READ), image, size);
    environment_load(cpu, image, wide);
}

static void save_state(struct vcpu *cpu, const struct insn *i, bool wide)
{
    uint8_t image[4 * ENVIRONMENT_FIELDS + STATE_BYTES];
    unsigned size = environment_size(wide);

    environment_store(cpu, image, wide);
    for (unsigned n = 0; n < 8; n++) {
        guest_store64(image + size + 10 * n, x87_st(cpu, n)->significand);
        guest_store16(image + size + 10 * n + 8, x87_st(cpu, n)->sign_exponent);
    }
    size += STATE_BYTES;
    mem_store_bytes(cpu, i, mem_linear(cpu, i, size, MMU_WRITE), image, size);
    fpu_x87_init(cpu);
}

static void restore_state(struct vcpu *cpu, const struct insn *i, bool wide)
{
    uint8_t image[4 * ENVIRONMENT_FIELDS + STATE_BYTES];
    unsigned size = environment_size(wide);

    x87_begin(cpu, i);
    mem_load_bytes(cpu, i, mem_linear(cpu, i, size + STATE_BYTES, MMU_READ), image,
                   size + STATE_BYTES);
    environment_load(cpu, image, wide);
    for (unsigned n = 0; n < 8; n++) {
        x87_st(cpu, n)->significand = guest_load64(image + size + 10 * n);
        x87_st(cpu, n)->sign_exponent = guest_load16(image + size + 10 * n + 8);
    }
}

/* REX.W changes nothing: the image stays the 32-bit one. */
#define IMAGE(name, function)                                                                      \
    OP(name##_m16)                                                                                 \
    {                                                                                              \
        function(cpu, i, false);                                                                   \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m32)                                                                                 \
    {                                                                                              \
        function(cpu, i, true);                                                                    \
        NEXT;                                                                                      \
    }                                                                                              \
    OP(name##_m64)                                                                                 \
    {                                                                                              \
        function(cpu, i, true);                                                                    \
        NEXT;                                                                                      \
    }

IMAGE(fnstenv, store_environment)
IMAGE(fldenv, load_environment)
IMAGE(fnsave, save_state)
IMAGE(frstor, restore_state)
