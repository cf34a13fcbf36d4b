/* The state that a case starts in: registers before its encoding is known, memory after. */
#include "base/bits.h"
#include "cpu/insn.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

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

/* The upper parts of vector registers: what the lower ones hold somewhere, or 0. */
static void random_upper(struct diff_state *s, unsigned from, unsigned to, unsigned first_high,
                         uint64_t *random)
{
    for (unsigned n = 0; n < (first_high < 8 ? 32u : 16u); n++) {
        uint64_t v = random_next(random);

        for (unsigned q = n < 16 ? from : first_high; q < (n < 16 ? to : 8u); q++, v >>= 7)
            *diff_quad(s, n, q) = (v & 0x60) == 0x60 ? 0 : s->xmm[v & 15][v >> 4 & 1];
    }
}

static void random_avx512(struct diff_state *s, uint64_t *random)
{
    random_upper(s, 4, 8, 0, random);
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
        random_upper(s, 2, 4, 8, random);
    if (host_has_feature(FEATURE_AVX512F))
        random_avx512(s, random);
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

/* Segment registers; those of the local table can all be loaded. */
static void random_selectors(struct diff_case *c, unsigned slot, bool alone, uint64_t *random)
{
    static const uint16_t rare[] = {LDT_SELECTOR(LDT_READ), LDT_SELECTOR(LDT_DOWN), 0,
                                    SELECTOR_DATA};
    uint16_t *s = c->in.selector;
    bool wide = (c->mode == DIFF_32) != (random_below(random, 4) == 0);

    s[SEG_CS] = c->mode == DIFF_64 ? SELECTOR_CODE64 : SELECTOR_CODE32;
    s[SEG_DS] = s[SEG_ES] = s[SEG_SS] = SELECTOR_DATA;
    if (!mode_is_segmented(c))
        return;
    s[SEG_CS] = LDT_SELECTOR(LDT_SLOTS + 2 * slot + (c->mode == DIFF_32));
    s[SEG_SS] = LDT_SELECTOR(wide ? LDT_DATA32 : LDT_DATA16);
    for (unsigned n = 0; n < 2; n++) {
        uint16_t *data = &s[n == 0 ? SEG_DS : SEG_ES];

        *data = LDT_SELECTOR(random_below(random, 2) ? LDT_DATA16 : LDT_DATA32);
        if (random_below(random, alone ? 16 : 64) == 0)
            *data = rare[random_below(random, ARRAY_SIZE(rare))];
    }
}

/* What leads to an address in the data pages. */
static uint64_t pointer(const struct diff_case *c, uint64_t offset, uint64_t *random)
{
    uint64_t v = DATA_BASE + offset - case_data_base(c);

    /* 16-bit addresses come from the lower half. */
    if (c->mode == DIFF_16 && random_below(random, 8) == 0)
        v |= random_next(random) & 0xffff0000;
    return v;
}

static uint64_t stack_pointer(const struct diff_case *c, uint64_t *random)
{
    uint64_t v = DATA_BASE + 0x800 + random_below(random, 0x400) * 4 - case_data_base(c);

    if (c->in.selector[SEG_SS] == LDT_SELECTOR(LDT_DATA16)) /* SP, not ESP */
        v |= random_next(random) & 0xffff0000;
    if (random_below(random, 16) == 0)
        v ^= 1 + random_below(random, 3);
    return v;
}

void state_registers(struct diff_case *c, unsigned slot, bool alone, uint64_t *random)
{
    const struct insn_row *row = &insn_rows[c->row];
    struct diff_state *s = &c->in;
    bool string = strpbrk(row->operands, "XY") != NULL && !(row->attrs & (A_SSE | A_AVX));

    c->theme = value_theme(kind_of(row, random), random);
    random_selectors(c, slot, alone, random);
    for (unsigned n = 0; n < 16; n++)
        s->gpr[n] = value_integer(random);
    s->gpr[GPR_RCX] = random_below(random, 2) ? random_below(random, 70) : value_integer(random);
    s->gpr[GPR_RSP] = stack_pointer(c, random);
    s->fs_base = host_fs_base();
    s->gs_base = c->mode == DIFF_64 ? random_below(random, 64) * 16ull : 0;
    s->rflags = 0x202 | (random_next(random) & 0x8d5);
    if (random_below(random, 4) == 0)
        s->rflags |= BIT(10); /* DF */
    if (random_below(random, 32) == 0)
        s->rflags |= BIT(18); /* AC */
    /* Implicit pointers. */
    if (!alone || string || row->attrs & A_REP || strstr(row->mnemonic, "maskmov") != NULL) {
        s->gpr[GPR_RSI] = pointer(c, 0x700 + random_below(random, 0x1000), random);
        s->gpr[GPR_RDI] = pointer(c, 0x700 + random_below(random, 0x1000), random);
        s->gpr[GPR_RCX] = random_below(random, 100);
    }
    if (!alone || starts_with(row->mnemonic, "xlat"))
        s->gpr[GPR_RBX] = pointer(c, random_below(random, 0x1000), random);
    if (!alone || strcmp(row->mnemonic, "leave") == 0 || strcmp(row->mnemonic, "enter") == 0)
        s->gpr[GPR_RBP] = pointer(c, 0x800 + random_below(random, 0x400) * 4, random);
    if (strcmp(row->mnemonic, "xgetbv") == 0)
        s->gpr[GPR_RCX] = random_below(random, 4) == 0;
    if (starts_with(row->mnemonic, "xsave") || starts_with(row->mnemonic, "xrstor")) {
        /* x87 and SSE: every host has these */
        s->gpr[GPR_RAX] = random_below(random, host_has_feature(FEATURE_AVX) ? 8 : 4);
        s->gpr[GPR_RDX] = 0;
    }
    random_fpu(s, &c->theme, random);
}

/* ---- Memory -------------------------------------------------------------------------------- */

/* Bytes of the data pages that a case sets, one after the other. */
struct writer {
    struct diff_case *c;
    uint64_t target; /* linear address that offsets count from */
};

static void put(const struct writer *w, unsigned offset, const void *bytes, size_t size)
{
    struct diff_case *c = w->c;
    uint64_t at = w->target - DATA_BASE + offset;
    struct diff_patch *last = c->patch_count > 0 ? &c->patch[c->patch_count - 1] : NULL;

    if (at >= DATA_SIZE)
        return;
    size = MIN(size, (size_t)(DATA_SIZE - at));
    if (c->byte_count + size > PATCH_BYTES || c->patch_count == MAX_PATCHES)
        abort();
    memcpy(c->bytes + c->byte_count, bytes, size);
    if (last != NULL && last->offset + last->size == at)
        last->size = (uint16_t)(last->size + size);
    else
        c->patch[c->patch_count++] =
            (struct diff_patch){(uint16_t)at, (uint16_t)size, (uint16_t)c->byte_count};
    c->byte_count += (unsigned)size;
}

static void put_number(const struct writer *w, unsigned offset, uint64_t value, size_t size)
{
    put(w, offset, &value, size);
}

/* FLDENV and FRSTOR. */
static void put_environment(const struct writer *w, bool wide, bool registers, uint64_t *random)
{
    unsigned field = wide ? 4 : 2;
    uint16_t control = random_control(random);

    put_number(w, 0, control | (random_next(random) & ~0x1f7full), field);
    put_number(w, field, random_status(control, random) | (random_next(random) & ~0xffffull),
               field);
    for (unsigned n = 2; n < 7; n++)
        put_number(w, n * field, random_next(random), field);
    for (unsigned n = 0; registers && n < 8; n++) {
        struct diff_float80 v = value_extended(&w->c->theme, random);

        put(w, 7 * field + 10 * n, &v.significand, 8);
        put(w, 7 * field + 10 * n + 8, &v.sign_exponent, 2);
    }
}

/* XSTATE_BV, XCOMP_BV (mostly zero, or of the compacted format), zeros; now and then wrong. */
static void put_header(const struct writer *w, uint64_t *random)
{
    unsigned components = host_has_feature(FEATURE_AVX) ? 8 : 4;
    bool compacted = host_has_feature(FEATURE_XSAVEC) && random_below(random, 3) == 0;
    uint64_t present = random_below(random, components);
    uint64_t layout = compacted ? BIT64(63) | random_below(random, components) : 0;

    if (compacted && random_below(random, 8) != 0)
        layout |= present;
    put_number(w, 512, present | (random_below(random, 32) == 0 ? BIT64(62) : 0), 8);
    put_number(w, 520, layout | (random_below(random, 128) == 0), 8);
    for (unsigned n = 528; n < 576; n += 8)
        put_number(w, n, random_below(random, 128) == 0, 8);
    for (unsigned n = 576; n < 832; n += 8)
        put_number(w, n, value_lane(&w->c->theme, random), 8);
}

/* FXRSTOR and XRSTOR: the legacy region, and the header. */
static void put_area(const struct writer *w, uint64_t *random)
{
    uint16_t control = random_control(random);

    for (unsigned n = 0; n < 512; n += 8)
        put_number(w, n, random_next(random), 8);
    put_number(w, 0, control | (random_next(random) & ~0x1f7full), 2);
    put_number(w, 2, random_status(control, random), 2);
    put_number(w, 24, random_mxcsr(random), 4);
    if (random_below(random, 16) == 0) /* reserved bits; AMD's 17 has a meaning */
        put_number(w, 26, random_next(random) & 0xfffd, 2);
    for (unsigned n = 0; n < 8; n++) {
        struct diff_float80 v = value_extended(&w->c->theme, random);

        put(w, 32 + 16 * n, &v.significand, 8);
        put(w, 40 + 16 * n, &v.sign_exponent, 2);
    }
    put_header(w, random);
}

static void put_x87_operand(const struct writer *w, const struct insn_row *row, uint64_t *random)
{
    bool integer = row->mnemonic[0] == 'f' && row->mnemonic[1] == 'i';
    uint8_t bcd[10];

    if (strcmp(row->mnemonic, "fbld") == 0) {
        value_decimal(bcd, random);
        put(w, 0, bcd, sizeof(bcd));
    } else if (strcmp(row->operands, "Mt") == 0) {
        struct diff_float80 v = value_extended(&w->c->theme, random);

        put(w, 0, &v.significand, 8);
        put(w, 8, &v.sign_exponent, 2);
    } else if (integer || strcmp(row->operands, "Mw") == 0) {
        put_number(w, 0, value_integer(random), 8);
    } else if (strcmp(row->operands, "Md") == 0) {
        put_number(w, 0, value_single(&w->c->theme, random), 4);
    } else {
        put_number(w, 0, value_double(&w->c->theme, random), 8);
    }
}

static bool is_far(const struct insn_row *row)
{
    static const char *const names[] = {"ljmp", "lcall", "retf", "iret"};

    for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
        if (strcmp(row->mnemonic, names[n]) == 0)
            return true;
    return false;
}

/* A far pointer, and what IRET pops behind it: it leads into the case's own slot, by a segment with
 * that base or a flat one. width: of an offset. step: from field to field. */
static void put_far(const struct writer *w, unsigned slot, unsigned width, unsigned step,
                    uint64_t *random)
{
    static const uint16_t flat[] = {SELECTOR_CODE32, SELECTOR_CODE64};
    uint64_t offset = SLOT_ENTRY + BEHIND_CODE + random_below(random, 64);
    uint16_t selector = LDT_SELECTOR(LDT_SLOTS + 2 * slot + random_below(random, 2));

    if (!mode_is_segmented(w->c) && random_below(random, 2)) {
        selector = flat[random_below(random, 2)];
        offset += CODE_BASE + slot * SLOT_SIZE;
    }
    if (random_below(random, 4) == 0)
        selector = value_selector(slot, random);
    /* From segments that are not flat into 64-bit code: Linux never comes back from that. */
    if (mode_is_segmented(w->c) && (selector & ~3) == (SELECTOR_CODE64 & ~3))
        selector = SELECTOR_CODE32;
    put_number(w, 0, offset, width);
    put_number(w, step, selector, 2);
    if (step != width || strcmp(insn_rows[w->c->row].mnemonic, "iret") != 0)
        return;
    put_number(w, 2 * step, 0x202 | (random_next(random) & 0x244dd5), width);
    put_number(w, 3 * step, DATA_BASE + random_below(random, DATA_SIZE), width);
    put_number(w, 4 * step, random_below(random, 4) ? SELECTOR_DATA : value_selector(slot, random),
               2);
}

/* What instructions that deal with segments find in memory and on the stack. */
static void put_segments(const struct writer *w, const struct insn_row *row, unsigned slot,
                         unsigned operand_bits, uint64_t *random)
{
    const struct diff_state *s = &w->c->in;
    uint64_t sp = s->selector[SEG_SS] == LDT_SELECTOR(LDT_DATA16) ? s->gpr[GPR_RSP] & 0xffff
                                                                  : s->gpr[GPR_RSP];
    struct writer stack = {w->c, sp + case_data_base(w->c)};
    unsigned width = operand_bits / 8;

    if (w->target != 0 && is_far(row))
        put_far(w, slot, width, width, random);
    else if (is_far(row))
        put_far(&stack, slot, width, width, random);
    else if (strcmp(row->operands, "Gv,Mp") == 0)
        put_number(w, width, value_selector(slot, random), 2);
    else if (strstr(row->operands, "Ew") != NULL && w->target != 0)
        put_number(w, 0, value_selector(slot, random), 2);
    else if (strcmp(row->mnemonic, "pop") == 0 && row->operands[1] == 's')
        put_number(&stack, 0, value_selector(slot, random), 2);
    else if (strcmp(row->mnemonic, "ret") == 0)
        put_number(&stack, 0, case_entry(w->c, slot) + BEHIND_CODE + random_below(random, 64), 8);
    else if (strcmp(row->operands, "Ev") == 0 && w->target != 0 &&
             (strcmp(row->mnemonic, "jmp") == 0 || strcmp(row->mnemonic, "call") == 0))
        put_number(w, 0, case_entry(w->c, slot) + BEHIND_CODE + random_below(random, 64), width);
    else if (strcmp(row->mnemonic, "popf") == 0)
        put_number(&stack, 0, random_next(random), 8);
    else if (strcmp(row->mnemonic, "bound") == 0) {
        put_number(w, 0, random_below(random, 2) ? 1ull << (operand_bits - 1) : 0, width);
        put_number(w, width, (1ull << (operand_bits - 1)) - 1, width);
    }
}

void state_memory(struct diff_case *c, unsigned n, unsigned slot, const struct encoded *e,
                  uint64_t *random)
{
    const struct insn_row *row = &insn_rows[n];
    const struct writer writer = {c, e->target}, *w = &writer;
    const char *name = row->mnemonic;

    if (c->count == 1)
        put_segments(w, row, slot, e->operand_bits, random);
    if (e->target - DATA_BASE >= DATA_SIZE)
        return;
    if (strcmp(name, "fldenv") == 0 || strcmp(name, "frstor") == 0)
        put_environment(w, e->operand_bits != 16, name[1] == 'r', random);
    else if (strcmp(name, "fxrstor") == 0 || strcmp(name, "xrstor") == 0)
        put_area(w, random);
    else if (strcmp(name, "ldmxcsr") == 0 || strcmp(name, "vldmxcsr") == 0)
        put_number(w, 0,
                   random_mxcsr(random) |
                       (random_below(random, 16) == 0 ? random_next(random) & 0xfffd0000 : 0),
                   4);
    else if (row->attrs & A_X87)
        put_x87_operand(w, row, random);
    else if (row->attrs & (A_SSE | A_MMX | A_AVX))
        for (unsigned k = 0; k < 64; k += 8)
            put_number(w, k, value_lane(&c->theme, random), 8);
}

void state_image(uint8_t data[DATA_SIZE], uint64_t batch)
{
    for (unsigned n = 0; n < DATA_SIZE; n += 8) {
        struct value_theme theme = value_theme(VALUE_MIXED, &batch);
        uint64_t lane = value_lane(&theme, &batch);

        memcpy(data + n, &lane, 8);
    }
}
