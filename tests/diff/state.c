/* The state that a case starts in: registers before its encoding is known, memory after. */
#include "base/bits.h"
#include "cpu/insn.h"
#include "values.h"

#include <string.h>

#define POOL_LANES 2048u

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* What the source lanes of a vector row are. */
static enum value_kind kind_of(const struct insn_row *row, uint64_t *random)
{
    const char *name = row->mnemonic + (row->map >= MAP_VEX_0F && row->mnemonic[0] == 'v');
    size_t length = strlen(name);
    const char *type = length > 2 ? name + length - 2 : "";

    if (row->attrs & A_X87)
        return VALUE_MIXED;
    if (starts_with(name, "cvt"))
        type = name + 3 + (name[3] == 't');
    if (strncmp(type, "ps", 2) == 0 || strncmp(type, "ss", 2) == 0)
        return VALUE_SINGLE;
    if (strncmp(type, "pd", 2) == 0 || strncmp(type, "sd", 2) == 0)
        return VALUE_DOUBLE;
    return random_below(random, 4) == 0 ? VALUE_MIXED : VALUE_INTEGER;
}

unsigned state_row_weight(unsigned n)
{
    const struct insn_row *row = &insn_rows[n];
    uint64_t random = 0;

    if (row->attrs & A_X87)
        return 2;
    if (!(row->attrs & (A_SSE | A_AVX)))
        return 1;
    return kind_of(row, &random) == VALUE_SINGLE || kind_of(row, &random) == VALUE_DOUBLE ? 3 : 1;
}

/* Exception masks, one bit each: all set mostly, else without a few. */
static unsigned random_masks(uint64_t *random)
{
    unsigned masks = 0x3f;

    if (random_below(random, 4) == 0)
        for (unsigned n = 1 + random_below(random, 3); n > 0; n--)
            masks &= ~(1u << random_below(random, 6));
    return random_below(random, 32) == 0 ? (unsigned)random_next(random) & 0x3f : masks;
}

static uint32_t random_mxcsr(uint64_t *random)
{
    uint64_t v = random_next(random);
    uint32_t mxcsr = random_masks(random) << 7 | (uint32_t)(v & 0x6000);

    if ((v >> 32 & 3) == 0)
        mxcsr |= v & 0x8040; /* FTZ, DAZ */
    if ((v >> 34 & 3) == 0)
        mxcsr |= v & 0x3f;
    return mxcsr;
}

static uint16_t random_control(uint64_t *random)
{
    uint64_t v = random_next(random);
    unsigned control = random_masks(random) | 0x40 | (v & 0xc00) | 0x300;

    if ((v >> 32 & 3) == 0)
        control &= ~0x300u | (v & 0x300);
    return (uint16_t)control;
}

/* A status word that control word allows: ES and B say whether an unmasked exception is set. */
static uint16_t random_status(uint16_t control, uint64_t *random)
{
    uint64_t v = random_next(random);
    unsigned status = v & 0x7f00; /* conditions, TOP */

    if ((v >> 32 & 3) == 0)
        status |= v & 0x7f & (control | 0x40u);
    if ((v >> 34 & 31) == 0)
        status |= v & 0x3f;
    if (status & ~control & 0x3f)
        status |= 0x8080;
    return (uint16_t)status;
}

static uint8_t random_tags(unsigned top, uint64_t *random)
{
    uint64_t v = random_next(random);

    switch (v >> 32 & 7) {
    case 0:
    case 1:
        return 0xff;
    case 2:
        return (uint8_t)v;
    default: /* room for a push, and mostly the rest full */
        return (uint8_t) ~(1u << ((top + 7) & 7) | (v & v >> 8 & v >> 16 & v >> 24));
    }
}

static void random_avx512(struct diff_state *s, const struct value_theme *theme, uint64_t *random)
{
    for (unsigned n = 0; n < 32; n++)
        for (unsigned q = n < 16 ? 4 : 0; q < 8; q++)
            *diff_quad(s, n, q) = random_below(random, 16) == 0 ? 0 : value_lane(theme, random);
    /* Mostly a few of the low bits: those are the elements of small vectors. */
    for (unsigned n = 0; n < 8; n++)
        s->opmask[n] = random_below(random, 4) == 0 ? value_integer(random) : random_next(random);
}

static void random_fpu(struct diff_state *s, const struct value_theme *theme, uint64_t *random)
{
    for (unsigned n = 0; n < 16; n++)
        for (unsigned k = 0; k < 2; k++)
            s->xmm[n][k] = value_lane(theme, random);
    if (host_has_feature(FEATURE_AVX))
        for (unsigned n = 0; n < 16; n++)
            for (unsigned k = 0; k < 2; k++)
                s->ymm[n][k] = random_below(random, 16) == 0 ? 0 : value_lane(theme, random);
    if (host_has_feature(FEATURE_AVX512F))
        random_avx512(s, theme, random);
    s->mxcsr = random_mxcsr(random);
    s->fcw = random_control(random);
    s->fsw = random_status(s->fcw, random);
    s->ftw = random_tags((s->fsw >> 11) & 7, random);
    s->fop = random_next(random) & 0x7ff;
    s->fip = random_next(random) & 0xffffffff;
    s->fdp = random_next(random) & 0xffffffff;
    for (unsigned n = 0; n < 8; n++)
        s->st[n] = value_extended(theme, random);
}

void state_registers(struct diff_case *c, uint64_t *random)
{
    const struct insn_row *row = &insn_rows[c->row];
    struct diff_state *s = &c->in;
    bool string = strpbrk(row->operands, "XY") != NULL && !(row->attrs & (A_SSE | A_AVX));

    c->theme = value_theme(kind_of(row, random), random);
    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = value_integer(random);
    s->gpr[GPR_RCX] = random_below(random, 2) ? random_below(random, 70) : value_integer(random);
    s->gpr[GPR_RSP] = DATA_BASE + 0x800 + random_below(random, 0x400) * 4;
    s->rflags = 0x202 | (random_next(random) & 0x8d5);
    if (random_below(random, 4) == 0)
        s->rflags |= BIT(10); /* DF */
    /* Implicit pointers. */
    if (string || row->attrs & A_REP || strstr(row->mnemonic, "maskmov") != NULL) {
        s->gpr[GPR_RSI] = DATA_BASE + 0x700 + random_below(random, 0x1000);
        s->gpr[GPR_RDI] = DATA_BASE + 0x700 + random_below(random, 0x1000);
        s->gpr[GPR_RCX] = random_below(random, 100);
    }
    if (starts_with(row->mnemonic, "xlat"))
        s->gpr[GPR_RBX] = DATA_BASE + random_below(random, 0x1000);
    if (strcmp(row->mnemonic, "leave") == 0 || strcmp(row->mnemonic, "enter") == 0)
        s->gpr[GPR_RBP] = DATA_BASE + 0x800 + random_below(random, 0x400) * 4;
    if (starts_with(row->mnemonic, "xsave") || starts_with(row->mnemonic, "xrstor")) {
        /* x87 and SSE: every host has these */
        s->gpr[GPR_RAX] = random_below(random, host_has_feature(FEATURE_AVX) ? 8 : 4);
        s->gpr[GPR_RDX] = 0;
    }
    random_fpu(s, &c->theme, random);
}

/* ---- Memory -------------------------------------------------------------------------------- */

static void put(struct diff_case *c, unsigned offset, const void *bytes, size_t size)
{
    uint64_t at = c->target - DATA_BASE + offset;

    for (size_t n = 0; n < size; n++)
        if (at + n < DATA_SIZE)
            c->data[at + n] = ((const uint8_t *)bytes)[n];
}

static void put_number(struct diff_case *c, unsigned offset, uint64_t value, size_t size)
{
    put(c, offset, &value, size);
}

/* The data pages, out of a pool that is the same for all cases. */
static void fill(struct diff_case *c, uint64_t *random)
{
    static uint64_t pool[POOL_LANES];
    uint64_t seed = 1;

    if (pool[0] == 0) {
        for (unsigned n = 0; n < POOL_LANES; n++) {
            struct value_theme theme = value_theme(VALUE_MIXED, &seed);

            pool[n] = value_lane(&theme, &seed);
        }
        pool[0] = 1;
    }
    memcpy(c->data, pool + random_below(random, POOL_LANES - DATA_SIZE / 8), DATA_SIZE);
}

/* FLDENV and FRSTOR. */
static void put_environment(struct diff_case *c, bool wide, bool registers, uint64_t *random)
{
    unsigned field = wide ? 4 : 2;
    uint16_t control = random_control(random);

    put_number(c, 0, control | (random_next(random) & ~0x1f7full), field);
    put_number(c, field, random_status(control, random) | (random_next(random) & ~0xffffull),
               field);
    for (unsigned n = 2; n < 7; n++)
        put_number(c, n * field, random_next(random), field);
    for (unsigned n = 0; registers && n < 8; n++) {
        struct diff_float80 v = value_extended(&c->theme, random);

        put(c, 7 * field + 10 * n, &v.significand, 8);
        put(c, 7 * field + 10 * n + 8, &v.sign_exponent, 2);
    }
}

/* XSTATE_BV, XCOMP_BV (mostly zero, or of the compacted format), zeros; now and then wrong. */
static void put_header(struct diff_case *c, uint64_t *random)
{
    unsigned components = host_has_feature(FEATURE_AVX) ? 8 : 4;
    bool compacted = host_has_feature(FEATURE_XSAVEC) && random_below(random, 3) == 0;
    uint64_t present = random_below(random, components);
    uint64_t layout = compacted ? BIT64(63) | random_below(random, components) : 0;

    if (compacted && random_below(random, 8) != 0)
        layout |= present;
    put_number(c, 512, present | (random_below(random, 32) == 0 ? BIT64(62) : 0), 8);
    put_number(c, 520, layout | (random_below(random, 128) == 0), 8);
    for (unsigned n = 528; n < 576; n += 8)
        put_number(c, n, random_below(random, 128) == 0, 8);
    for (unsigned n = 576; n < 832; n += 8)
        put_number(c, n, value_lane(&c->theme, random), 8);
}

/* FXRSTOR and XRSTOR: the legacy region, and the header. */
static void put_area(struct diff_case *c, uint64_t *random)
{
    uint16_t control = random_control(random);

    for (unsigned n = 0; n < 512; n += 8)
        put_number(c, n, random_next(random), 8);
    put_number(c, 0, control | (random_next(random) & ~0x1f7full), 2);
    put_number(c, 2, random_status(control, random), 2);
    put_number(c, 24, random_mxcsr(random), 4);
    if (random_below(random, 16) == 0) /* reserved bits; AMD's 17 has a meaning */
        put_number(c, 26, random_next(random) & 0xfffd, 2);
    for (unsigned n = 0; n < 8; n++) {
        struct diff_float80 v = value_extended(&c->theme, random);

        put(c, 32 + 16 * n, &v.significand, 8);
        put(c, 40 + 16 * n, &v.sign_exponent, 2);
    }
    put_header(c, random);
}

static void put_x87_operand(struct diff_case *c, const struct insn_row *row, uint64_t *random)
{
    bool integer = row->mnemonic[0] == 'f' && row->mnemonic[1] == 'i';
    uint8_t bcd[10];

    if (strcmp(row->mnemonic, "fbld") == 0) {
        value_decimal(bcd, random);
        put(c, 0, bcd, sizeof(bcd));
    } else if (strcmp(row->operands, "Mt") == 0) {
        struct diff_float80 v = value_extended(&c->theme, random);

        put(c, 0, &v.significand, 8);
        put(c, 8, &v.sign_exponent, 2);
    } else if (integer || strcmp(row->operands, "Mw") == 0) {
        put_number(c, 0, value_integer(random), 8);
    } else if (strcmp(row->operands, "Md") == 0) {
        put_number(c, 0, value_single(&c->theme, random), 4);
    } else {
        put_number(c, 0, value_double(&c->theme, random), 8);
    }
}

void state_memory(struct diff_case *c, unsigned operand_bits, uint64_t *random)
{
    const struct insn_row *row = &insn_rows[c->row];
    const char *name = row->mnemonic;

    fill(c, random);
    if (c->target - DATA_BASE >= DATA_SIZE)
        return;
    if (strcmp(name, "fldenv") == 0 || strcmp(name, "frstor") == 0)
        put_environment(c, operand_bits != 16, name[1] == 'r', random);
    else if (strcmp(name, "fxrstor") == 0 || strcmp(name, "xrstor") == 0)
        put_area(c, random);
    else if (strcmp(name, "ldmxcsr") == 0 || strcmp(name, "vldmxcsr") == 0)
        put_number(c, 0,
                   random_mxcsr(random) |
                       (random_below(random, 16) == 0 ? random_next(random) & 0xfffd0000 : 0),
                   4);
    else if (row->attrs & A_X87)
        put_x87_operand(c, row, random);
    else if (row->attrs & (A_SSE | A_MMX | A_AVX))
        for (unsigned n = 0; n < 64; n += 8)
            put_number(c, n, value_lane(&c->theme, random), 8);
}
