/* The registers of machine/registers.def, got and set. */
#include "base/check.h"
#include "cpu/fpu.h"
#include "cpu/mode.h"
#include "machine/debug.h"
#include "machine/internal.h"

#include <stddef.h>
#include <string.h>

enum kind {
    KIND_GPR,
    KIND_RIP,
    KIND_FLAGS,
    KIND_SELECTOR,
    KIND_ST,
    KIND_X87,
    KIND_XMM,
    KIND_YMMH, /* upper 128 bits of a YMM register */
    KIND_ZMMH, /* upper 256 bits of a ZMM register */
    KIND_OPMASK,
    KIND_MXCSR,
    KIND_BASE,
    KIND_WORD, /* a 64-bit field of struct vcpu, at offset `index`; read only */
};

enum x87_word {
    X87_CONTROL,
    X87_STATUS,
    X87_TAGS,
    X87_CS,
    X87_IP,
    X87_DS,
    X87_DP,
    X87_OPCODE,
};

struct place {
    struct machine_register info;
    uint8_t kind; /* enum kind */
    uint32_t index;
};

static const struct place places[] = {
#define REGISTER(feature, name, bits, type, group, kind, index)                                    \
    {{feature, name, type, group, bits}, KIND_##kind, index},
#include "machine/registers.def"
#undef REGISTER
};

unsigned machine_register_count(void)
{
    return ARRAY_SIZE(places);
}

const struct machine_register *machine_register_info(unsigned n)
{
    CHECK(n < ARRAY_SIZE(places));
    return &places[n].info;
}

static void put(uint8_t *bytes, uint64_t value, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        bytes[n] = (uint8_t)(value >> (8 * n));
}

static uint64_t take(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;

    for (unsigned n = 0; n < count; n++)
        value |= (uint64_t)bytes[n] << (8 * n);
    return value;
}

static uint32_t x87_get(const struct vcpu *cpu, uint32_t word)
{
    switch (word) {
    case X87_CONTROL:
        return cpu->x87.control;
    case X87_STATUS:
        return fpu_x87_status(cpu);
    case X87_TAGS:
        return fpu_x87_tags(cpu);
    case X87_CS:
        return cpu->x87.cs;
    case X87_IP:
        return (uint32_t)cpu->x87.ip;
    case X87_DS:
        return cpu->x87.ds;
    case X87_DP:
        return (uint32_t)cpu->x87.dp;
    default:
        return cpu->x87.opcode;
    }
}

static bool x87_set(struct vcpu *cpu, uint32_t word, uint16_t value)
{
    switch (word) {
    case X87_CONTROL:
        fpu_x87_set_control(cpu, value);
        return true;
    case X87_STATUS:
        fpu_x87_set_status(cpu, value);
        return true;
    case X87_TAGS:
        fpu_x87_set_tags(cpu, value);
        return true;
    default:
        return false;
    }
}

static struct float80 *st(struct vcpu *cpu, uint32_t n)
{
    return &cpu->x87.r[(cpu->x87.top + n) & 7];
}

/* The quadwords of a vector register that a place stands for. */
static uint64_t *vector_part(struct vcpu *cpu, const struct place *p)
{
    unsigned first = p->kind == KIND_XMM ? 0 : p->kind == KIND_YMMH ? 2 : 4;

    return &cpu->vreg[p->index].q[first];
}

void machine_register_get(struct machine *m, unsigned n, uint8_t *bytes)
{
    const struct place *p = &places[n];
    struct vcpu *cpu = machine_looked_at(m);
    uint64_t word = 0;

    switch ((enum kind)p->kind) {
    case KIND_GPR:
        word = cpu->gpr[p->index];
        break;
    case KIND_RIP: /* linear, so that breakpoints match in every mode */
        word = cpu->mode & MODE_64 ? cpu->rip : (uint32_t)(cpu->rip + cpu->seg[SEG_CS].base);
        break;
    case KIND_FLAGS:
        word = vcpu_rflags(cpu);
        break;
    case KIND_SELECTOR:
        word = cpu->seg[p->index].selector;
        break;
    case KIND_ST:
        put(bytes, st(cpu, p->index)->significand, 8);
        put(bytes + 8, st(cpu, p->index)->sign_exponent, 2);
        return;
    case KIND_X87:
        word = x87_get(cpu, p->index);
        break;
    case KIND_XMM:
    case KIND_YMMH:
    case KIND_ZMMH:
        for (unsigned q = 0; q < p->info.bits / 64u; q++)
            put(bytes + 8 * q, vector_part(cpu, p)[q], 8);
        return;
    case KIND_OPMASK:
        word = cpu->opmask[p->index];
        break;
    case KIND_MXCSR:
        word = fpu_mxcsr_read(cpu);
        break;
    case KIND_BASE:
        word = cpu->seg[p->index].base;
        break;
    case KIND_WORD:
        memcpy(&word, (const uint8_t *)cpu + p->index, sizeof(word));
        break;
    }
    put(bytes, word, p->info.bits / 8);
}

bool machine_register_set(struct machine *m, unsigned n, const uint8_t *bytes)
{
    const struct place *p = &places[n];
    struct vcpu *cpu = machine_looked_at(m);
    uint64_t word = take(bytes, MIN(p->info.bits / 8u, 8u));

    switch ((enum kind)p->kind) {
    case KIND_GPR:
        cpu->gpr[p->index] = word;
        return true;
    case KIND_RIP:
        cpu->rip = cpu->mode & MODE_64 ? word : (uint32_t)(word - cpu->seg[SEG_CS].base);
        cpu->attention &= ~VCPU_ATTENTION_HALTED;
        return true;
    case KIND_FLAGS: /* VM would be a change of mode */
        vcpu_set_rflags(cpu, (word & ~EFLAGS_VM) | (cpu->eflags & EFLAGS_VM));
        return true;
    case KIND_ST:
        st(cpu, p->index)->significand = word;
        st(cpu, p->index)->sign_exponent = (uint16_t)take(bytes + 8, 2);
        return true;
    case KIND_X87:
        return x87_set(cpu, p->index, (uint16_t)word);
    case KIND_XMM:
    case KIND_YMMH:
    case KIND_ZMMH:
        for (unsigned q = 0; q < p->info.bits / 64u; q++)
            vector_part(cpu, p)[q] = take(bytes + 8 * q, 8);
        return true;
    case KIND_OPMASK:
        cpu->opmask[p->index] = word;
        return true;
    case KIND_MXCSR:
        if (word & ~(uint64_t)MXCSR_WRITE_MASK)
            return false;
        fpu_mxcsr_write(cpu, (uint32_t)word);
        return true;
    case KIND_BASE:
        cpu->seg[p->index].base = word;
        return true;
    case KIND_SELECTOR:
    case KIND_WORD:
        break;
    }
    return false;
}
