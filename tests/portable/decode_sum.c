/* Decodes byte strings in every kind of mode and prints a number over all that the decoder says: it
 * has to be the same on every host, whatever its byte order. Half of the strings begin like rows of
 * the instruction table.
 *
 *     decode_sum [strings]
 */
#include "cpu/cpu.h"
#include "cpu/decode.h"
#include "cpu/mode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRINGS 2000000u

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ull;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static void add(uint64_t *sum, uint64_t value)
{
    *sum = (*sum ^ value) * 0x100000001b3ull;
    *sum ^= *sum >> 29;
}

/* Byte registers are offsets into memory, mirrored on big-endian hosts. */
static uint8_t field(const struct insn *i, uint8_t value, const char *operand)
{
    bool is_byte = i->row < insn_row_count && strstr(insn_rows[i->row].operands, operand) != NULL;

    return (uint8_t)(is_byte ? LANE_FLIP(value, 8) : value);
}

static void add_insn(uint64_t *sum, const struct insn *i, uint32_t attrs)
{
    const char *in_rm =
        i->row < insn_row_count && strstr(insn_rows[i->row].operands, "Zb") != NULL ? "Zb" : "Eb";

    add(sum, i->row);
    add(sum, attrs);
    add(sum, (uint64_t)i->imm);
    add(sum, (uint32_t)i->disp);
    add(sum, i->ip_next);
    add(sum, field(i, i->reg, "Gb"));
    add(sum, i->flags & INSN_MEM ? i->rm : field(i, i->rm, in_rm));
    add(sum, (uint64_t)i->base | (uint64_t)i->index << 8 | (uint64_t)i->scale << 16 |
                 (uint64_t)i->seg << 24 | (uint64_t)i->vvvv << 32 | (uint64_t)i->flags << 40);
}

/* Opcode maps by their escape bytes; VEX and EVEX with any fields. */
static unsigned put_escape(uint8_t *out, const struct insn_row *row, uint64_t random)
{
    unsigned n = 0;

    if (row->map >= MAP_EVEX_0F) {
        out[n++] = 0x62;
        out[n++] = (uint8_t)((random & 0xf0) | (unsigned)(row->map - MAP_EVEX_0F + 1));
        out[n++] = (uint8_t)(random >> 8 | 4);
        out[n++] = (uint8_t)(random >> 16);
        return n;
    }
    if (row->map >= MAP_VEX_0F) {
        out[n++] = 0xc4;
        out[n++] = (uint8_t)((random & 0xe0) | (unsigned)(row->map - MAP_VEX_0F + 1));
        out[n++] = (uint8_t)(random >> 8);
        return n;
    }
    if (row->map != MAP_1B)
        out[n++] = 0x0f;
    if (row->map == MAP_0F38)
        out[n++] = 0x38;
    else if (row->map == MAP_0F3A)
        out[n++] = 0x3a;
    return n;
}

static void make_bytes(uint8_t bytes[INSN_MAX_LENGTH], uint64_t *random)
{
    static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3, 0x67, 0x2e, 0x64, 0xf0, 0x48};
    uint64_t choice = random_next(random);
    const struct insn_row *row = &insn_rows[(choice >> 32) % insn_row_count];
    unsigned n = 0;

    for (unsigned k = 0; k < INSN_MAX_LENGTH; k++)
        bytes[k] = (uint8_t)random_next(random);
    if (choice & 1)
        return;
    for (unsigned k = (choice >> 1) & 3; k > 1; k--)
        bytes[n++] = prefixes[random_next(random) % sizeof(prefixes)];
    n += put_escape(bytes + n, row, random_next(random));
    bytes[n] = row->opcode;
}

int main(int argc, char **argv)
{
    static const uint32_t modes[] = {
        MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | MODE_CPL0,
        MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | MODE_CPL3,
        MODE_PROT | MODE_CS32 | MODE_SS32 | MODE_FLAT | MODE_CPL0,
        MODE_PROT | MODE_CS32 | MODE_SS32 | MODE_LONG | MODE_CPL3,
        MODE_PROT | MODE_CPL0,
        0,
    };
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 0) : STRINGS;
    uint64_t random = 1, sum = 0, decoded = 0;
    struct vcpu *cpu = calloc(1, sizeof(*cpu));

    memset(cpu->features, 0xff, sizeof(cpu->features));
    cpu->decoder = decoder_create();
    for (unsigned long n = 0; n < count; n++) {
        uint32_t mode = modes[n % (sizeof(modes) / sizeof(modes[0]))], attrs = 0;
        uint8_t bytes[INSN_MAX_LENGTH];
        struct insn i;
        enum decode_result result;

        memset(&i, 0, sizeof(i));
        make_bytes(bytes, &random);
        result = decode_insn(cpu, mode | MODE_OSFXSR | MODE_OSXSAVE | MODE_AVX, bytes,
                             sizeof(bytes), (unsigned)(n & 4095), &i, &attrs);
        add(&sum, result);
        if (result != DECODE_OK)
            continue;
        decoded += i.row < insn_row_count;
        add_insn(&sum, &i, attrs);
    }
    printf("%lu strings, %" PRIu64 " instructions, sum %016" PRIx64 "\n", count, decoded, sum);
    decoder_destroy((struct decoder *)cpu->decoder);
    free(cpu);
    return 0;
}
