/* Special forms of ops do what the general ops do: each comparison or operation with each condition
 * after it, once as decoded and once with the forms. */
#include "cpu/special.h"

#include "cpu/flags.h"
#include "tests/unit/cpu/op_rig.h"
#include "tests/unit/run_suite.h"

#define BRANCH_BYTES 2
#define BRANCH_BY    0x10
#define BLOCK_BYTES  (sizeof(struct block) + 3 * sizeof(struct insn))

static struct rig *rig;
static struct special *special;
static struct block *block; /* two instructions, as decoded */
static struct block *forms; /* the same with their forms */

static void setup(void)
{
    rig = rig_create();
    special = special_create();
    block = calloc(1, BLOCK_BYTES);
    forms = calloc(1, BLOCK_BYTES);
}

static void teardown(void)
{
    free(block);
    free(forms);
    special_destroy(special);
    rig_destroy(rig);
}

/* What two instructions have left behind. */
struct outcome {
    uint64_t rip, rax, operand;
    uint32_t flags;
    ptrdiff_t slot; /* of block.chain, or -1 */
};

static struct outcome run(const struct block *which, uint64_t a, uint64_t b)
{
    struct vcpu *cpu = &rig->cpu;

    cpu->gpr[GPR_RAX] = a;
    cpu->gpr[GPR_RCX] = b;
    cpu->gpr[GPR_RDX] = 0;
    guest_store64(rig_operand(rig), a);
    flags_set(cpu, EFLAGS_CF | EFLAGS_AF);
    cpu->block = which;
    cpu->budget = 0;
    cpu->rip = 0;
    cpu->chain_slot = NULL;
    which->insns[0].op(cpu, &which->insns[0]);
    if (cpu->rip == 0) /* a build in which no op goes on to the next */
        which->insns[1].op(cpu, &which->insns[1]);
    return (struct outcome){
        .rip = cpu->rip,
        .rax = cpu->gpr[GPR_RAX],
        .operand = guest_load64(rig_operand(rig)),
        .flags = flags_get(cpu),
        .slot = cpu->chain_slot == NULL ? -1 : cpu->chain_slot - which->chain,
    };
}

/* Decodes the bytes and a branch after them. */
static void decode(const uint8_t *bytes, unsigned length, unsigned condition)
{
    const uint8_t branch[BRANCH_BYTES] = {(uint8_t)(0x70 | condition), BRANCH_BY};
    struct vcpu *cpu = &rig->cpu;
    uint32_t attrs;

    *block = (struct block){
        .start = RIG_CODE,
        .count = 2,
        .mode = cpu->mode,
        .chain = {&block_nowhere, &block_nowhere},
    };
    ck_assert_int_eq(decode_insn(cpu, cpu->mode, bytes, length, RIG_CODE, &block->insns[0], &attrs),
                     DECODE_OK);
    ck_assert_int_eq(decode_insn(cpu, cpu->mode, branch, sizeof(branch), RIG_CODE + length,
                                 &block->insns[1], &attrs),
                     DECODE_OK);
}

static const uint64_t values[] = {
    0,          1,          2,           0x7e,       0x7f,       0x80,       0xff,
    0x7fff,     0x8000,     0xffff,      0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff,
    1ull << 63, UINT64_MAX, 0x100000000, 0xffffff80,
};

static void compare_one(const uint8_t *bytes, unsigned condition, uint64_t a, uint64_t b)
{
    struct outcome general = run(block, a, b), special_one = run(forms, a, b);

    if (general.rip != special_one.rip || general.rax != special_one.rax ||
        general.operand != special_one.operand || general.flags != special_one.flags ||
        general.slot != special_one.slot)
        ck_abort_msg("%02x %02x %02x, condition %u, %#llx %#llx: flags %#x and %#x, rip %#llx and "
                     "%#llx",
                     bytes[0], bytes[1], bytes[2], condition, (unsigned long long)a,
                     (unsigned long long)b, general.flags, special_one.flags,
                     (unsigned long long)general.rip, (unsigned long long)special_one.rip);
}

static void compare(const uint8_t *bytes, unsigned length, bool immediate)
{
    for (unsigned condition = 0; condition < 16; condition++) {
        decode(bytes, length, condition);
        memcpy(forms, block, BLOCK_BYTES);
        special_apply(special, forms->insns, 2);
        for (unsigned n = 0; n < ARRAY_SIZE(values); n++)
            for (unsigned k = 0; k < (immediate ? 1 : ARRAY_SIZE(values)); k++)
                compare_one(bytes, condition, values[n], values[k]);
    }
}

/* The opcode for bytes and words, with prefixes, and what follows it. */
static void compare_widths(uint8_t opcode, uint8_t modrm, int sib, unsigned immediate)
{
    for (unsigned width = 0; width < 4; width++) {
        static const uint8_t small[] = {0, 1, 0x7f, 0x80};

        for (unsigned k = 0; k < (immediate > 0 ? ARRAY_SIZE(small) : 1); k++) {
            /* Immediates of full size are so after 81, A9, F7 and kin: 83 is for bytes. */
            unsigned size = immediate == 1 || width == 0 ? 1 : width == 1 ? 2 : 4, length = 0;
            uint8_t bytes[16] = {0};

            if (width == 1)
                bytes[length++] = 0x66;
            if (width == 3)
                bytes[length++] = 0x48;
            bytes[length++] = width > 0 ? opcode : opcode == 0x83 ? 0x80 : (uint8_t)(opcode - 1);
            if (opcode != 0x3d && opcode != 0xa9)
                bytes[length++] = modrm;
            if (sib >= 0)
                bytes[length++] = (uint8_t)sib;
            if (immediate > 0) {
                bytes[length] = small[k];
                length += size;
            }
            compare(bytes, length, immediate > 0);
        }
    }
}

START_TEST(operations_on_registers_do_the_same_with_their_branch)
{
    compare_widths(0x39, 0xc8, -1, 0); /* cmp eax, ecx */
    compare_widths(0x3b, 0xc1, -1, 0);
    compare_widths(0x85, 0xc8, -1, 0); /* test */
    compare_widths(0x29, 0xc8, -1, 0); /* sub */
    compare_widths(0x01, 0xc8, -1, 0); /* add */
    compare_widths(0x11, 0xc8, -1, 0); /* adc: no form */
    compare_widths(0xff, 0xc8, -1, 0); /* dec */
    compare_widths(0xff, 0xc0, -1, 0); /* inc */
}
END_TEST

START_TEST(operations_on_immediates_do_the_same_with_their_branch)
{
    compare_widths(0x83, 0xf8, -1, 1); /* cmp eax, byte */
    compare_widths(0x83, 0xe8, -1, 1); /* sub */
    compare_widths(0x83, 0xe0, -1, 1); /* and */
    compare_widths(0x83, 0xc0, -1, 1); /* add */
    compare_widths(0xf7, 0xc0, -1, 4); /* test */
    compare_widths(0x3d, 0, -1, 4);    /* cmp eax */
    compare_widths(0xa9, 0, -1, 4);    /* test eax */
}
END_TEST

START_TEST(operations_on_memory_do_the_same_with_their_branch)
{
    compare_widths(0x39, 0x0b, -1, 0);   /* cmp [rbx], ecx */
    compare_widths(0x39, 0x0c, 0x13, 0); /* cmp [rbx + rdx], ecx */
    compare_widths(0x3b, 0x0b, -1, 0);   /* cmp ecx, [rbx] */
    compare_widths(0x83, 0x3b, -1, 1);   /* cmp [rbx], byte */
    compare_widths(0x83, 0x3c, 0x13, 1);
    compare_widths(0xf7, 0x03, -1, 4);   /* test [rbx], immediate */
    compare_widths(0x29, 0x0b, -1, 0);   /* sub [rbx], ecx */
    compare_widths(0x01, 0x0c, 0x13, 0); /* add [rbx + rdx], ecx */
    compare_widths(0x03, 0x03, -1, 0);   /* add eax, [rbx] */
    compare_widths(0xff, 0x0b, -1, 0);   /* dec [rbx] */
}
END_TEST

START_TEST(other_segments_and_address_sizes_keep_their_meaning)
{
    static const uint8_t fs[] = {0x64, 0x39, 0x0b}, short_address[] = {0x67, 0x39, 0x0b};

    rig->cpu.gpr[GPR_RBX] = RIG_OPERAND - 0x100;
    rig->cpu.seg[SEG_FS].base = 0x100;
    compare(fs, sizeof(fs), false);
    rig->cpu.gpr[GPR_RBX] = RIG_OPERAND | 0xabcdull << 32;
    compare(short_address, sizeof(short_address), false);
}
END_TEST

START_TEST(forms_are_there)
{
    static const uint8_t compare_memory[] = {0x39, 0x0b};
    op_fn *decoded;

    decode(compare_memory, sizeof(compare_memory), 4);
    decoded = block->insns[0].op;
    special_apply(special, block->insns, 1);
    ck_assert(block->insns[0].op != decoded);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("special");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, operations_on_registers_do_the_same_with_their_branch);
    tcase_add_test(tc, operations_on_immediates_do_the_same_with_their_branch);
    tcase_add_test(tc, operations_on_memory_do_the_same_with_their_branch);
    tcase_add_test(tc, other_segments_and_address_sizes_keep_their_meaning);
    tcase_add_test(tc, forms_are_there);
    return run_suite("special", tc);
}
