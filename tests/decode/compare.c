/* Decodes one encoding with the decoder and with Capstone. */
#include "decode_diff.h"

#include "base/check.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/mode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const difference_names[DIFFERENCE_KIND_COUNT] = {
    [DIFFERENCE_NONE] = "none",       [DIFFERENCE_MISSING] = "missing",
    [DIFFERENCE_PREFIX] = "prefix",   [DIFFERENCE_EXTRA] = "extra",
    [DIFFERENCE_NAME] = "name",       [DIFFERENCE_LENGTH] = "length",
    [DIFFERENCE_OPERAND] = "operand",
};

#define MODES 3 /* 16, 32, 64 */

struct comparer {
    struct vcpu cpu;
    struct decoder *decoder;
    struct cpu_model model;
    csh capstone[MODES];
    cs_insn *insn;
};

struct comparer *comparer_create(void)
{
    static const cs_mode modes[MODES] = {CS_MODE_16, CS_MODE_32, CS_MODE_64};
    struct comparer *c = calloc(1, sizeof(*c));
    struct error err;

    CHECK(c != NULL);
    CHECK(cpu_model_parse("max", &c->model, &err));
    memcpy(c->cpu.features, c->model.features, sizeof(c->cpu.features));
    c->decoder = decoder_create();
    c->cpu.decoder = c->decoder;
    for (unsigned n = 0; n < MODES; n++) {
        CHECK(cs_open(CS_ARCH_X86, modes[n], &c->capstone[n]) == CS_ERR_OK);
        CHECK(cs_option(c->capstone[n], CS_OPT_DETAIL, CS_OPT_ON) == CS_ERR_OK);
    }
    c->insn = cs_malloc(c->capstone[0]);
    CHECK(c->insn != NULL);
    return c;
}

void comparer_destroy(struct comparer *c)
{
    cs_free(c->insn, 1);
    for (unsigned n = 0; n < MODES; n++)
        cs_close(&c->capstone[n]);
    decoder_destroy(c->decoder);
    free(c);
}

/* Nothing but the encoding makes an instruction undefined: privileged, every unit enabled. */
static uint32_t mode_word(unsigned bits)
{
    uint32_t mode = MODE_PROT | MODE_CPL0 | MODE_OSFXSR | MODE_OSXSAVE | MODE_AVX | MODE_AVX512;

    if (bits == 64)
        return mode | MODE_64 | MODE_LONG | MODE_FLAT;
    return bits == 32 ? mode | MODE_CS32 | MODE_SS32 : mode;
}

static bool row_is_undefined(const struct insn_row *row, unsigned flags)
{
    return row->ops.reg[2] == op_ud && !(flags & INSN_LOCK); /* UD0, UD1, UD2 */
}

static void decode_ours(struct comparer *c, const struct encoding *e, struct decoded *d)
{
    uint32_t attrs;

    d->row = NULL;
    if (decode_insn(&c->cpu, mode_word(e->mode), e->bytes, sizeof(e->bytes), 0, &d->insn, &attrs) !=
        DECODE_OK)
        return;
    d->length = d->insn.ip_next;
    if (d->insn.row == INSN_ROW_NONE)
        return;
    if (d->insn.op != op_ud || row_is_undefined(&insn_rows[d->insn.row], d->insn.flags))
        d->row = &insn_rows[d->insn.row];
}

/* The name without what Capstone puts before it. */
static void strip_prefixes(const char *mnemonic, char *name, size_t size)
{
    const char *last = strrchr(mnemonic, ' ');

    snprintf(name, size, "%s", last != NULL ? last + 1 : mnemonic);
}

static void decode_theirs(struct comparer *c, const struct encoding *e, struct decoded *d)
{
    const uint8_t *code = e->bytes;
    size_t size = sizeof(e->bytes);
    uint64_t address = 0;

    d->theirs = NULL;
    d->capstone = c->capstone[e->mode / 32];
    d->name[0] = '\0';
    if (!cs_disasm_iter(d->capstone, &code, &size, &address, c->insn))
        return;
    d->theirs = c->insn;
    d->their_length = c->insn->size;
    strip_prefixes(c->insn->mnemonic, d->name, sizeof(d->name));
}

static enum difference_kind difference(const struct encoding *e, struct decoded *d)
{
    d->operand[0] = '\0';
    if (d->row == NULL)
        return d->theirs != NULL ? DIFFERENCE_MISSING : DIFFERENCE_NONE;
    if (d->theirs == NULL)
        return DIFFERENCE_EXTRA;
    if (!names_agree(d->row->mnemonic, d->name, d->bits))
        return DIFFERENCE_NAME;
    if (d->length != d->their_length)
        return DIFFERENCE_LENGTH;
    return operands_agree(e, d) ? DIFFERENCE_NONE : DIFFERENCE_OPERAND;
}

/* ---- What Capstone 4 must be asked in other words ------------------------------------------- */

/* It knows no mandatory prefixes in 16-bit mode. The same bytes behind an address-size prefix are
 * the same instruction in 32-bit mode, but for the operand size. */
static enum difference_kind ask_in_32_bits(struct comparer *c, const struct encoding *e,
                                           struct decoded *d)
{
    struct encoding other = *e;

    if (e->mode != 16 || e->map == MAP_1B || !(e->prefixes & (WITH_66 | WITH_F2 | WITH_F3)))
        return DIFFERENCE_EXTRA;
    other.mode = 32;
    other.bytes[0] = 0x67;
    memcpy(other.bytes + 1, e->bytes, sizeof(other.bytes) - 1);
    decode_theirs(c, &other, d);
    d->their_length--;
    d->bits = 0;
    return difference(e, d);
}

/* Of 66, F2 and F3 it looks at the last only. To processors 66 is the operand size, too, wherever
 * it stands; it never makes another instruction of one that F2 or F3 chose. */
static bool ask_in_other_order(const struct encoding *e, const struct decoded *d,
                               struct encoding *other)
{
    if (d->row == NULL || d->row->prefix == PFX_66 || d->row->prefix == PFX_NP ||
        !(e->prefixes & WITH_66) || !(e->prefixes & (WITH_F2 | WITH_F3)) || e->bytes[0] != 0x66)
        return false;
    *other = *e;
    other->bytes[0] = e->bytes[1];
    other->bytes[1] = 0x66;
    return true;
}

/* Whether it would be the instruction that Capstone says without 66, F2 and F3. */
static bool prefix_is_in_the_way(struct comparer *c, const struct encoding *e, struct decoded *d)
{
    struct encoding other = *e;
    struct decoded plain;
    unsigned n = 0, skip = 0;

    if (e->map >= MAP_VEX_0F)
        return false;
    /* First without F2 and F3, then without 66. */
    for (unsigned pass = 0; pass < 2; pass++) {
        for (n = skip = 0; skip < sizeof(e->bytes); skip++)
            if (skip > 1 || (e->bytes[skip] != 0xf2 && e->bytes[skip] != 0xf3 &&
                             (pass == 0 || e->bytes[skip] != 0x66)))
                other.bytes[n++] = e->bytes[skip];
        decode_ours(c, &other, &plain);
        if (plain.row != NULL && plain.row->prefix != PFX_ANY &&
            names_agree(plain.row->mnemonic, d->name, 0))
            return true;
    }
    return false;
}

static enum difference_kind ask(struct comparer *c, const struct encoding *e, struct decoded *d)
{
    enum difference_kind kind;

    d->bits = d->row != NULL ? operand_bits(d) : 0;
    decode_theirs(c, e, d);
    kind = difference(e, d);
    if (kind != DIFFERENCE_NONE && ask_in_32_bits(c, e, d) == DIFFERENCE_NONE)
        return DIFFERENCE_NONE;
    return kind;
}

enum difference_kind compare(struct comparer *c, const struct encoding *e, struct decoded *d)
{
    struct encoding other;
    enum difference_kind kind;

    decode_ours(c, e, d);
    kind = ask(c, e, d);
    if (kind != DIFFERENCE_NONE && ask_in_other_order(e, d, &other) &&
        ask(c, &other, d) == DIFFERENCE_NONE)
        return DIFFERENCE_NONE;
    if (kind == DIFFERENCE_NONE)
        return kind;
    /* For the report: what Capstone says to the question as it is. */
    d->bits = d->row != NULL ? operand_bits(d) : 0;
    decode_theirs(c, e, d);
    difference(e, d);
    if (kind == DIFFERENCE_MISSING && prefix_is_in_the_way(c, e, d))
        return DIFFERENCE_PREFIX;
    return kind;
}
