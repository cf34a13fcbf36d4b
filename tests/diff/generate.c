/* Puts cases together: one instruction with a state made for it, or a sequence. */
#include "base/bits.h"
#include "cpu/insn.h"
#include "values.h"

#include <string.h>

static bool takes_selector(const struct insn_row *row)
{
    static const char *const names[] = {"lar", "lsl", "verr", "verw", "arpl"};

    for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
        if (strcmp(row->mnemonic, names[n]) == 0)
            return true;
    return strcmp(row->operands, "Sw,Ew") == 0;
}

/* The upper halves of registers that 32-bit code cannot see are zero, as the host leaves them. */
static void narrow_registers(struct diff_case *c)
{
    if (c->mode == DIFF_64)
        return;
    for (unsigned n = 0; n < 8; n++)
        c->in.gpr[n] = (uint32_t)c->in.gpr[n];
}

/* Operands that random ones would hardly ever be: indirect branches lead into the slot mostly, and
 * quotients fit mostly. */
static void direct_operands(struct diff_case *c, unsigned slot, uint64_t *random)
{
    const char *name = insn_rows[c->row].mnemonic;
    uint64_t *gpr = c->in.gpr;

    if (strcmp(name, "jmp") == 0 || strcmp(name, "call") == 0) {
        for (unsigned n = 0; n < 16; n++)
            if (n != GPR_RSP)
                gpr[n] = case_entry(c, slot) + BEHIND_CODE + random_below(random, 64);
    } else if (strcmp(name, "div") == 0 || strcmp(name, "idiv") == 0) {
        unsigned shift = random_below(random, 64);

        gpr[GPR_RAX] = (uint64_t)((int64_t)gpr[GPR_RAX] >> shift);
        gpr[GPR_RDX] = name[0] == 'i' ? (uint64_t)((int64_t)gpr[GPR_RAX] >> 63) : 0;
    }
}

static void generate_single(struct diff_case *c, unsigned slot, uint64_t *random)
{
    const struct insn_row *row = &insn_rows[c->row];
    struct encoded e;

    if (takes_selector(row))
        for (unsigned n = 0; n < 16; n++)
            c->in.gpr[n] = (c->in.gpr[n] & ~0xffffull) | value_selector(slot, random);
    if (random_below(random, 2) == 0)
        direct_operands(c, slot, random);
    c->count = 1;
    e = encode_step(c, c->row, slot, true, random);
    c->target = e.target;
    if (strcmp(row->mnemonic, "int") == 0 && c->code[c->length - 1] == 0x80)
        c->code[c->length - 1] = 0x81; /* the other is a system call of Linux */
    narrow_registers(c);
    state_memory(c, c->row, slot, &e, random);
}

/* Flags that are undefined behind an instruction, of those that are before it. `joined`: it may be
 * jumped over. */
static unsigned undefined_behind(const struct insn_row *row, unsigned before, bool joined)
{
    if (!joined && !(row->attrs & A_REP))
        before &= ~(unsigned)row->flags_written;
    return before | row->flags_undefined;
}

/* A row like the first one, or any; one that reads no flag that is undefined. */
static unsigned next_row(const struct diff_case *c, bool alike, unsigned undefined,
                         uint64_t *random)
{
    unsigned row;

    do
        row = rows_pick(c->mode, alike ? (int)c->row : -1, random);
    while (insn_rows[row].flags_read & undefined);
    return row;
}

/* Branches lead forward, to the start of one of the instructions or behind the last. */
static void set_branches(struct diff_case *c, const struct encoded *encoded, uint64_t *random)
{
    for (unsigned n = 0; n < c->count; n++) {
        unsigned to = n + 1 + random_below(random, c->count - n), size = encoded[n].jump_size;
        unsigned distance = (unsigned)(c->step[to].start - c->step[n + 1].start);

        for (unsigned k = 0; k < size; k++)
            c->code[encoded[n].jump_at + k] = (uint8_t)(distance >> (8 * k));
    }
}

static void generate_sequence(struct diff_case *c, unsigned slot, uint64_t *random)
{
    struct encoded encoded[MAX_SEQUENCE];
    bool alike = random_below(random, 3) != 0, joined = false;
    unsigned undefined = 0;

    c->count = 2 + random_below(random, MAX_SEQUENCE - 1);
    narrow_registers(c);
    for (unsigned n = 0; n < c->count; n++) {
        unsigned row = n == 0 ? c->row : next_row(c, alike, undefined, random);

        c->step[n] = (struct diff_step){
            .row = (uint16_t)row,
            .start = (uint8_t)c->length,
            .undefined_flags = (uint16_t)undefined,
        };
        encoded[n] = encode_step(c, row, slot, false, random);
        joined = joined || encoded[n].jump_size != 0;
        undefined = undefined_behind(&insn_rows[row], undefined, joined);
    }
    c->step[c->count].start = (uint8_t)c->length;
    c->step[c->count].undefined_flags = (uint16_t)undefined;
    set_branches(c, encoded, random);
    /* What LDMXCSR loads last, for most values are reserved. */
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned n = 0; n < c->count; n++)
            if ((strstr(insn_rows[c->step[n].row].mnemonic, "ldmxcsr") != NULL) == (pass == 1))
                state_memory(c, c->step[n].row, slot, &encoded[n], random);
}

void generate_case(struct diff_case *c, unsigned row, enum diff_mode mode, uint64_t seed,
                   unsigned slot)
{
    uint64_t random = seed;
    bool sequence = row_in_sequence(row) && random_below(&random, 3) == 0;

    c->seed = seed;
    c->row = row;
    c->mode = mode;
    c->length = c->patch_count = c->byte_count = 0;
    c->target = 0;
    memset(&c->in, 0, sizeof(c->in));
    state_registers(c, slot, !sequence, &random);
    if (sequence)
        generate_sequence(c, slot, &random);
    else
        generate_single(c, slot, &random);
}
