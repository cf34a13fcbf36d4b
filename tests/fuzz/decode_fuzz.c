/*
 * The decoder against Capstone, in 16, 32 and 64-bit code: whatever both take for an instruction
 * has the same length. What only one of them knows is not compared: Capstone lacks some prefix
 * combinations and knows extensions that are not here. The input is code; an instruction begins at
 * every byte.
 */
#include "cpu/cpu.h"
#include "cpu/cpuid.h"
#include "cpu/decode.h"
#include "cpu/mode.h"

#include <capstone/capstone.h>
#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COMMON (MODE_PROT | MODE_CPL0 | MODE_OSFXSR | MODE_OSXSAVE | MODE_AVX)

static const struct code_mode {
    uint32_t word; /* mode word */
    cs_mode capstone;
    const char *name;
} modes[] = {
    {COMMON, CS_MODE_16, "16-bit"},
    {COMMON | MODE_CS32 | MODE_SS32 | MODE_FLAT, CS_MODE_32, "32-bit"},
    {COMMON | MODE_LONG | MODE_64 | MODE_FLAT, CS_MODE_64, "64-bit"},
};

/* Prefixes before the opcode. */
struct prefixes {
    bool operand_size, address_size, rep;
    uint8_t rex;
};

static struct prefixes prefixes_of(const uint8_t *code, bool wide)
{
    struct prefixes p = {0};

    for (unsigned n = 0; n < INSN_MAX_LENGTH; n++) {
        uint8_t b = code[n];

        if (wide && (b & 0xf0) == 0x40) {
            p.rex = b;
            continue;
        }
        if (memchr("\x66\x67\xf0\xf2\xf3\x26\x2e\x36\x3e\x64\x65", b, 11) == NULL)
            break;
        p.rex = 0;
        p.operand_size |= b == 0x66;
        p.address_size |= b == 0x67;
        p.rep |= b == 0xf2 || b == 0xf3;
    }
    return p;
}

/* Where Capstone 4 reads another length than processors do. */
static bool explained(const struct insn_row *row, struct prefixes p, bool wide)
{
    /* Near branches in 64-bit mode: Intel's processors ignore 66, AMD's (and Capstone) do not; with
     * F2 or F3, Capstone forgets 66 in every mode; and it takes 67 with REX for 66. */
    if (strstr(row->operands, "Jz") != NULL)
        return (p.operand_size && (wide || p.rep)) || (p.address_size && p.rex != 0);
    /* The immediate of RET is a word whatever REX.W says. */
    if (row->map == MAP_1B && row->opcode == 0xc2)
        return p.rex & 8;
    /* PUSH imm16 with a further prefix. */
    if (row->map == MAP_1B && row->opcode == 0x68)
        return p.operand_size;
    return false;
}

static void compare(const struct vcpu *cpu, csh capstone, cs_insn *other, const uint8_t *code,
                    const struct code_mode *mode)
{
    bool wide = mode->word & MODE_64;
    const uint8_t *at = code;
    size_t left = INSN_MAX_LENGTH;
    uint64_t address = 0;
    uint32_t attrs;
    struct insn i;

    if (decode_insn(cpu, mode->word, code, INSN_MAX_LENGTH, 0, &i, &attrs) != DECODE_OK ||
        i.row == INSN_ROW_NONE || i.op == op_ud)
        return;
    if (!cs_disasm_iter(capstone, &at, &left, &address, other) || other->size == i.ip_next ||
        explained(&insn_rows[i.row], prefixes_of(code, wide), wide))
        return;
    fprintf(stderr, "%s %s: %u bytes; %s %s: %u bytes:", mode->name, insn_rows[i.row].id, i.ip_next,
            other->mnemonic, other->op_str, other->size);
    for (unsigned n = 0; n < INSN_MAX_LENGTH; n++)
        fprintf(stderr, " %02x", code[n]);
    fprintf(stderr, "\n");
    __builtin_trap();
}

/* A processor of which the decoder sees no more than the features. */
static struct vcpu *decoding_cpu(void)
{
    static struct vcpu cpu;
    struct cpu_model model;

    if (cpu.decoder != NULL)
        return &cpu;
    if (!cpu_model_parse("max", &model, NULL))
        __builtin_trap();
    memcpy(cpu.features, model.features, sizeof(cpu.features));
    cpu.decoder = decoder_create();
    return &cpu;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct vcpu *cpu = decoding_cpu();

    for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
        cs_insn *other;
        csh capstone;

        if (cs_open(CS_ARCH_X86, modes[m].capstone, &capstone) != CS_ERR_OK)
            __builtin_trap();
        other = cs_malloc(capstone);
        for (size_t n = 0; n < size; n++) {
            uint8_t code[INSN_MAX_LENGTH];

            memset(code, 0x90, sizeof(code));
            memcpy(code, data + n, MIN(sizeof(code), size - n));
            compare(cpu, capstone, other, code, &modes[m]);
        }
        cs_free(other, 1);
        cs_close(&capstone);
    }
    return 0;
}
