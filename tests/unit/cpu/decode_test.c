/*
 * What the decoder decides beyond names and lengths, which tests/decode/ holds against Capstone:
 * features, prefixes that make an instruction undefined, modes without VEX, the limit of 15 bytes.
 */
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define BITS_64 (MODE_64 | MODE_LONG | MODE_PROT | MODE_FLAT | MODE_OSFXSR | MODE_CPL0)
#define BITS_32 (MODE_CS32 | MODE_SS32 | MODE_PROT | MODE_FLAT | MODE_OSFXSR | MODE_CPL0)
#define REAL    MODE_CPL0

op_fn op_nop;

static struct rig *rig;
static struct insn insn;

static void setup(void)
{
    rig = rig_create();
}

static void teardown(void)
{
    rig_destroy(rig);
}

static enum decode_result decode(uint32_t mode, const uint8_t *bytes, unsigned length)
{
    uint32_t attrs;

    return decode_insn(&rig->cpu, mode, bytes, length, 0, &insn, &attrs);
}

/* Decodes one instruction of exactly these bytes. */
static op_fn *op_of(uint32_t mode, const uint8_t *bytes, unsigned length)
{
    ck_assert_int_eq(decode(mode, bytes, length), DECODE_OK);
    return insn.op;
}

static const char *name_of(uint32_t mode, const uint8_t *bytes, unsigned length)
{
    op_of(mode, bytes, length);
    return insn.row == INSN_ROW_NONE ? "-" : insn_rows[insn.row].mnemonic;
}

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

/* Its op; its name in the table, or "-". */
#define OP_OF(mode, ...)   op_of(mode, BYTES(__VA_ARGS__))
#define NAME_OF(mode, ...) name_of(mode, BYTES(__VA_ARGS__))

static void switch_off(enum cpu_feature f)
{
    rig->cpu.features[f / 64] &= ~BIT64(f % 64);
}

START_TEST(an_instruction_whose_feature_is_off_is_undefined)
{
    ck_assert_str_eq(NAME_OF(BITS_64, 0x0f, 0x38, 0xf9, 0x03), "movdiri");
    ck_assert_str_eq(NAME_OF(BITS_64, 0x66, 0x0f, 0x38, 0xf8, 0x03), "movdir64b");
    ck_assert_str_eq(NAME_OF(BITS_64, 0x0f, 0x01, 0xe8), "serialize");
    switch_off(FEATURE_MOVDIRI);
    switch_off(FEATURE_MOVDIR64B);
    switch_off(FEATURE_SERIALIZE);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x38, 0xf9, 0x03), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x66, 0x0f, 0x38, 0xf8, 0x03), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x01, 0xe8), op_ud);
}
END_TEST

START_TEST(what_is_not_in_the_table_is_a_gap)
{
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x01, 0xc1), op_gap);       /* VMCALL */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x01, 0xd9), op_gap);       /* VMMCALL */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x01, 0xfa), op_gap);       /* MONITORX */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x01, 0xfd), op_gap);       /* RDPRU */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf3, 0x0f, 0xae, 0xe8), op_gap); /* INCSSP */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf3, 0x0f, 0xae, 0xe0), op_gap); /* PTWRITE */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x0d, 0xc8), op_gap);       /* PREFETCHW of a register */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x0f, 0x0b), op_ud);              /* UD2 is known */
}
END_TEST

START_TEST(with_a_feature_off_a_prefix_means_less)
{
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0xbc, 0xc1), "tzcnt");
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0xbd, 0xc1), "lzcnt");
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0x09), "wbnoinvd");
    switch_off(FEATURE_BMI1);
    switch_off(FEATURE_LZCNT);
    switch_off(FEATURE_WBNOINVD);
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0xbc, 0xc1), "bsf");
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0xbd, 0xc1), "bsr");
    ck_assert_str_eq(NAME_OF(BITS_64, 0xf3, 0x0f, 0x09), "wbinvd");
}
END_TEST

START_TEST(privileged_instructions_are_general_protection_faults_elsewhere)
{
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0xf3, 0x0f, 0x09), op_gp0); /* WBNOINVD */
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0xf4), op_gp0);             /* HLT */
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0xf0, 0xf4), op_ud);        /* LOCK HLT */
}
END_TEST

START_TEST(some_privileged_instructions_are_undefined_elsewhere)
{
    ck_assert_ptr_ne(OP_OF(BITS_64, 0x0f, 0x01, 0xcb), op_ud); /* STAC */
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0x0f, 0x01, 0xcb), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0x0f, 0x01, 0xca), op_ud); /* CLAC */
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0x0f, 0x01, 0xc8), op_ud); /* MONITOR */
    ck_assert_ptr_eq(OP_OF(BITS_64 & ~MODE_CPL0, 0x0f, 0x01, 0xc9), op_ud); /* MWAIT */
}
END_TEST

/* PREFETCH, BNDxx, CLDEMOTE, ENDBR, RDSSP, NOP: with every ModRM byte, in every mode. */
START_TEST(the_opcodes_reserved_for_hints_do_nothing)
{
    static const uint8_t opcodes[] = {0x0d, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f};
    static const uint8_t prefixes[] = {0x2e, 0x66, 0xf2, 0xf3};
    static const uint32_t modes[] = {BITS_64, BITS_32, REAL};

    for (unsigned n = 0; n < ARRAY_SIZE(opcodes) * ARRAY_SIZE(prefixes) * 256; n++) {
        const uint8_t bytes[15] = {prefixes[n / 256 % 4], 0x0f, opcodes[n / 1024], (uint8_t)n};

        if (opcodes[n / 1024] == 0x0d && (n & 0xc0) == 0xc0)
            continue; /* undefined */
        for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
            ck_assert_int_eq(decode(modes[m], bytes, sizeof(bytes)), DECODE_OK);
            ck_assert_msg(insn.op == op_nop, "%02x 0f %02x %02x", bytes[0], bytes[2], bytes[3]);
        }
    }
}
END_TEST

START_TEST(lock_wants_a_destination_in_memory)
{
    ck_assert_ptr_ne(OP_OF(BITS_64, 0xf0, 0x01, 0x03), op_ud);       /* ADD [RBX], EAX */
    ck_assert_ptr_ne(OP_OF(BITS_64, 0xf0, 0x0f, 0xab, 0x03), op_ud); /* BTS [RBX], EAX */
    ck_assert_ptr_ne(OP_OF(BITS_64, 0xf0, 0x0f, 0xc7, 0x0b), op_ud); /* CMPXCHG8B [RBX] */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x01, 0xc3), op_ud);       /* ADD EBX, EAX */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x03, 0x03), op_ud);       /* ADD EAX, [RBX] */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x39, 0x03), op_ud);       /* CMP [RBX], EAX */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x0f, 0xa3, 0x03), op_ud); /* BT [RBX], EAX */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x89, 0x03), op_ud);       /* MOV [RBX], EAX */
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0x90), op_ud);             /* NOP */
}
END_TEST

/* SDM 2A 2.3.2 and 2.3.3. */
START_TEST(prefixes_of_old_before_vex_are_undefined)
{
    ck_assert_str_eq(NAME_OF(BITS_64, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), "andn");
    ck_assert_ptr_ne(OP_OF(BITS_64, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud);
    ck_assert_ptr_ne(OP_OF(BITS_64, 0x2e, 0x67, 0xc4, 0xe2, 0x60, 0xf2, 0x00), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x66, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf2, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf3, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0xf0, 0xc4, 0xe2, 0x60, 0xf2, 0x00), op_ud);
    ck_assert_ptr_eq(OP_OF(BITS_64, 0x40, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud);
}
END_TEST

START_TEST(real_mode_has_no_vex)
{
    ck_assert_str_eq(NAME_OF(BITS_32, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), "andn");
    ck_assert_ptr_eq(OP_OF(REAL, 0xc4, 0xe2, 0x60, 0xf2, 0xc0), op_ud); /* LES of a register */
    ck_assert_ptr_eq(OP_OF(REAL | MODE_V86, 0xc5, 0xf8, 0x77), op_ud);  /* LDS of a register */
    ck_assert_str_eq(NAME_OF(BITS_32, 0xc4, 0x03), "les");
    ck_assert_str_eq(NAME_OF(REAL, 0xc5, 0x07), "lds");
}
END_TEST

START_TEST(an_instruction_has_at_most_15_bytes)
{
    uint8_t bytes[16];

    memset(bytes, 0x66, sizeof(bytes));
    bytes[14] = 0x90;
    ck_assert_int_eq(decode(BITS_64, bytes, 14), DECODE_MORE);
    ck_assert_int_eq(decode(BITS_64, bytes, 15), DECODE_OK);
    ck_assert_uint_eq(insn.ip_next, 15);
    bytes[14] = 0x66;
    bytes[15] = 0x90;
    ck_assert_int_eq(decode(BITS_64, bytes, 15), DECODE_TOO_LONG);
    ck_assert_int_eq(decode(BITS_64, bytes, 16), DECODE_TOO_LONG);
    /* The 16th byte would be of the immediate. */
    memcpy(bytes + 9, (const uint8_t[]){0x81, 0x05, 0, 0, 0, 0, 1}, 7);
    ck_assert_int_eq(decode(BITS_64, bytes, 16), DECODE_TOO_LONG);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("decode");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_instruction_whose_feature_is_off_is_undefined);
    tcase_add_test(tc, what_is_not_in_the_table_is_a_gap);
    tcase_add_test(tc, with_a_feature_off_a_prefix_means_less);
    tcase_add_test(tc, privileged_instructions_are_general_protection_faults_elsewhere);
    tcase_add_test(tc, some_privileged_instructions_are_undefined_elsewhere);
    tcase_add_test(tc, the_opcodes_reserved_for_hints_do_nothing);
    tcase_add_test(tc, lock_wants_a_destination_in_memory);
    tcase_add_test(tc, prefixes_of_old_before_vex_are_undefined);
    tcase_add_test(tc, real_mode_has_no_vex);
    tcase_add_test(tc, an_instruction_has_at_most_15_bytes);
    return run_suite("decode", tc);
}
