/* Flat images, and what "-machine kernel-entry=" says. */
#include "tests/unit/machine/loader_rig.h"
#include "tests/unit/run_suite.h"

static struct loader_rig rig;

static void setup(void)
{
    loader_rig_create(&rig, 16, 0, "max");
}

static void teardown(void)
{
    loader_rig_destroy(&rig);
}

START_TEST(each_word_of_kernel_entry_has_its_meaning)
{
    static const struct {
        const char *word;
        enum loader_entry entry;
    } rows[] = {
        {"direct", LOADER_ENTRY_AUTO},   {"bzimage", LOADER_ENTRY_BZIMAGE},
        {"flat16", LOADER_ENTRY_FLAT16}, {"flat32", LOADER_ENTRY_FLAT32},
        {"flat64", LOADER_ENTRY_FLAT64},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        enum loader_entry entry;

        ck_assert(loader_parse_entry(rows[n].word, &entry, NULL));
        ck_assert_int_eq(entry, rows[n].entry);
    }
}
END_TEST

START_TEST(an_unknown_word_is_refused_and_the_known_ones_are_named)
{
    enum loader_entry entry;

    ck_assert(!loader_parse_entry("flat", &entry, &rig.err));
    ck_assert_ptr_nonnull(strstr(rig.err.text, "'flat'"));
    ck_assert_ptr_nonnull(strstr(rig.err.text, "flat16, flat32 or flat64"));
}
END_TEST

START_TEST(a_16_bit_image_starts_like_a_boot_sector)
{
    /* mov [600h], dl; mov [602h], sp; mov [604h], cs; mov [606h], ds; hlt */
    static const uint8_t code[] = {0x88, 0x16, 0x00, 0x06, 0x89, 0x26, 0x02, 0x06, 0x8c,
                                   0x0e, 0x04, 0x06, 0x8c, 0x1e, 0x06, 0x06, 0xf4};

    ck_assert_booted(&rig, code, sizeof(code), LOADER_ENTRY_FLAT16);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x7c00);
    ck_assert_uint_eq(rig.target.cpu->seg[SEG_CS].base, 0);
    ck_assert_uint_eq(rig.target.cpu->mmu.cr0 & CR0_PE, 0);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x600, 1), 0x80);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x602, 2), 0x7c00);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x604, 4), 0);
}
END_TEST

START_TEST(a_32_bit_image_starts_in_protected_mode)
{
    const struct vcpu *cpu = rig.target.cpu;

    ck_assert_booted(&rig, stub32, sizeof(stub32), LOADER_ENTRY_FLAT32);
    ck_assert_uint_eq(cpu->rip, MIB);
    ck_assert_uint_eq(cpu->gpr[GPR_RSP], 0x9f000);
    ck_assert_uint_eq(cpu->mmu.cr0, CR0_PE | CR0_ET);
    ck_assert_uint_eq(cpu->seg[SEG_DS].limit, UINT32_MAX);
    ck_assert_uint_eq(vcpu_rflags(cpu), EFLAGS_ONE);
    loader_rig_run(&rig);
    ck_assert_uint_eq(cpu->rip, MIB + sizeof(stub32));
}
END_TEST

START_TEST(segments_of_the_32_bit_entry_can_be_loaded_again)
{
    /* mov ax, 18h; mov ds, ax; mov ss, ax; jmp 10h:100010h; at 10h: hlt */
    static const uint8_t code[17] = {0x66, 0xb8, 0x18, 0x00, 0x8e, 0xd8, 0x8e, 0xd0, 0xea,
                                     0x10, 0x00, 0x10, 0x00, 0x10, 0x00, 0x90, 0xf4};

    ck_assert_booted(&rig, code, sizeof(code), LOADER_ENTRY_FLAT32);
    loader_rig_run(&rig);
    ck_assert_uint_eq(rig.target.cpu->rip, MIB + sizeof(code));
}
END_TEST

START_TEST(a_64_bit_image_starts_in_long_mode_with_4_gib_mapped)
{
    /* mov al, [0ffffffffh] (absolute, 64-bit); hlt: reads a byte that nobody answers */
    static const uint8_t code[] = {0xa0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xf4};
    const struct vcpu *cpu = rig.target.cpu;

    ck_assert_booted(&rig, code, sizeof(code), LOADER_ENTRY_FLAT64);
    ck_assert_uint_eq(cpu->rip, MIB);
    ck_assert_uint_eq(cpu->gpr[GPR_RSP], 0x9f000);
    ck_assert_uint_eq(cpu->mmu.efer, EFER_LME | EFER_LMA);
    loader_rig_run(&rig);
    ck_assert_uint_eq(cpu->gpr[GPR_RAX], 0xff);
}
END_TEST

START_TEST(a_64_bit_image_needs_long_mode)
{
    loader_rig_destroy(&rig);
    loader_rig_create(&rig, 16, 0, "max,-lm");
    ck_assert_refused(&rig, stub64, sizeof(stub64), LOADER_ENTRY_FLAT64, "no long mode");
}
END_TEST

START_TEST(an_image_that_does_not_fit_is_refused)
{
    size_t length = 15 * MIB + 1;
    uint8_t *image = calloc(1, length);

    ck_assert_booted(&rig, image, 0xa0000 - 0x7c00, LOADER_ENTRY_FLAT16);
    ck_assert_refused(&rig, image, 0xa0000 - 0x7c00 + 1, LOADER_ENTRY_FLAT16, "at most");
    ck_assert_booted(&rig, image, length - 1, LOADER_ENTRY_FLAT32);
    ck_assert_refused(&rig, image, length, LOADER_ENTRY_FLAT32, "16 MiB of memory");
    ck_assert_refused(&rig, image, length, LOADER_ENTRY_FLAT64, "16 MiB of memory");
    free(image);
}
END_TEST

START_TEST(an_image_takes_neither_initrd_nor_command_line)
{
    rig.append = "quiet";
    ck_assert_refused(&rig, stub32, sizeof(stub32), LOADER_ENTRY_FLAT32, "no command line");
    rig.append = "";
    ck_assert_booted(&rig, stub32, sizeof(stub32), LOADER_ENTRY_FLAT32);
    rig.initrd = (struct loader_file){"initrd", (const uint8_t *)"x", 1};
    ck_assert(!loader_rig_boot(&rig, stub32, sizeof(stub32), LOADER_ENTRY_FLAT32));
    ck_assert_str_eq(rig.err.text, "initrd: a flat image takes no initrd");
}
END_TEST

START_TEST(an_empty_or_unknown_file_is_refused)
{
    ck_assert_refused(&rig, "", 0, LOADER_ENTRY_AUTO, "empty");
    ck_assert_refused(&rig, "", 0, LOADER_ENTRY_FLAT16, "empty");
    ck_assert_refused(&rig, "#!/bin/sh\n", 10, LOADER_ENTRY_AUTO, "neither a Linux bzImage");
}
END_TEST

START_TEST(files_are_read_and_missing_ones_named)
{
    char path[] = "/tmp/gnomon-test-XXXXXX";
    struct boot_options options = {.kernel = path, .entry = LOADER_ENTRY_FLAT32};
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    fwrite(stub32, 1, sizeof(stub32), file);
    fclose(file);
    vcpu_reset(rig.target.cpu, false);
    ck_assert(loader_boot(&rig.target, &options, &rig.err));
    loader_rig_run(&rig);
    options.initrd = "/nonexistent/initrd";
    ck_assert(!loader_boot(&rig.target, &options, &rig.err));
    ck_assert_ptr_nonnull(strstr(rig.err.text, "/nonexistent/initrd"));
    remove(path);
    rig.err = (struct error){0};
    ck_assert(!loader_boot(&rig.target, &options, &rig.err));
    ck_assert_ptr_nonnull(strstr(rig.err.text, path));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("flat images");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, each_word_of_kernel_entry_has_its_meaning);
    tcase_add_test(tc, an_unknown_word_is_refused_and_the_known_ones_are_named);
    tcase_add_test(tc, a_16_bit_image_starts_like_a_boot_sector);
    tcase_add_test(tc, a_32_bit_image_starts_in_protected_mode);
    tcase_add_test(tc, segments_of_the_32_bit_entry_can_be_loaded_again);
    tcase_add_test(tc, a_64_bit_image_starts_in_long_mode_with_4_gib_mapped);
    tcase_add_test(tc, a_64_bit_image_needs_long_mode);
    tcase_add_test(tc, an_image_that_does_not_fit_is_refused);
    tcase_add_test(tc, an_image_takes_neither_initrd_nor_command_line);
    tcase_add_test(tc, an_empty_or_unknown_file_is_refused);
    tcase_add_test(tc, files_are_read_and_missing_ones_named);
    return run_suite("loader_flat", tc);
}
