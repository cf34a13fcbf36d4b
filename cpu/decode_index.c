#include "cpu/decode_index.h"

#include "base/check.h"
#include "base/host/host.h"

#include <stdlib.h>
#include <string.h>

static uint8_t imm_kind_of(const char *operand)
{
    static const struct {
        const char *token;
        uint8_t kind;
    } kinds[] = {
        {"Ib", IMM_B},     {"Ibs", IMM_BS},   {"Iw", IMM_W},  {"Iz", IMM_Z},
        {"Iv", IMM_V},     {"Jb", IMM_JB},    {"Jz", IMM_JZ}, {"Ap", IMM_FAR},
        {"Ob", IMM_MOFFS}, {"Ov", IMM_MOFFS}, {"Lx", IMM_B},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(kinds); n++)
        if (strcmp(operand, kinds[n].token) == 0)
            return kinds[n].kind;
    return IMM_NONE;
}

static void row_info_fill(struct row_info *info, const struct insn_row *row)
{
    char text[64], *rest = text, *token;

    CHECK(strlen(row->operands) < sizeof(text));
    strcpy(text, row->operands);
    while ((token = strsep(&rest, ",")) != NULL) {
        uint8_t imm = imm_kind_of(token);

        if (imm != IMM_NONE) {
            /* ENTER is the only row with two immediates. */
            CHECK(info->imm == IMM_NONE || (info->imm == IMM_W && imm == IMM_B));
            info->imm = info->imm == IMM_NONE ? imm : IMM_WB;
        }
        if (strcmp(token, "Eb") == 0 || strcmp(token, "Rb") == 0)
            info->rm_is_byte = true;
        if (strcmp(token, "Gb") == 0)
            info->reg_is_byte = true;
        info->rm_general |= token[0] == 'E' || token[0] == 'R';
        info->reg_general |= token[0] == 'G';
        info->mask_reg |= strcmp(token, "Kg") == 0;
        info->mask_rm |= strcmp(token, "Km") == 0;
        info->mask_vvvv |= strcmp(token, "Kv") == 0;
        if (token[0] == 'Z') {
            info->in_opcode = true;
            info->rm_is_byte = strcmp(token, "Zb") == 0;
        }
    }
    info->modrm = row->modrm_class != MODRM_NONE;
    info->mod_reg = row->attrs & A_MOD_REG;
    info->vsib = row->attrs & A_VSIB;
    info->ends = row->attrs & (A_END | A_JUMP | A_IO);
}

/* Appends an entry to the chain of an opcode. */
static void index_add(struct decoder *d, unsigned map, unsigned opcode, uint16_t row)
{
    uint16_t *link = &d->first[map][opcode];

    while (*link != NO_ENTRY)
        link = &d->entries[*link].next;
    *link = (uint16_t)d->entry_count;
    d->entries[d->entry_count++] = (struct entry){row, NO_ENTRY};
}

struct decoder *decoder_create(void)
{
    struct decoder *d = host_alloc(sizeof(*d));

    CHECK(insn_row_count < NO_ENTRY / 8);
    memset(d->first, 0xff, sizeof(d->first));
    d->info = host_alloc(insn_row_count * sizeof(d->info[0]));
    d->entries = host_alloc(insn_row_count * 8 * sizeof(d->entries[0]));
    for (unsigned n = 0; n < insn_row_count; n++) {
        const struct insn_row *row = &insn_rows[n];

        row_info_fill(&d->info[n], row);
        if (d->info[n].in_opcode)
            CHECK((row->opcode & 7) == 0);
        for (unsigned low = 0; low < (d->info[n].in_opcode ? 8u : 1u); low++)
            index_add(d, row->map, row->opcode + low, (uint16_t)n);
    }
    return d;
}

void decoder_destroy(struct decoder *d)
{
    if (d == NULL)
        return;
    free(d->info);
    free(d->entries);
    free(d);
}
