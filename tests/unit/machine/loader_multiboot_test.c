/* Multiboot kernels that store what they were given and halt. */
#include "tests/unit/machine/loader_rig.h"
#include "tests/unit/run_suite.h"

#define ENTRY  0x200000u
#define INFO   0x10000u
#define HEADER 0x400u /* of the multiboot header in files made here */
#define ANY    LOADER_ENTRY_AUTO

static struct loader_rig rig;
static struct file image;

static void setup(void)
{
    loader_rig_create(&rig, 16, 0, "max");
}

static void teardown(void)
{
    loader_rig_destroy(&rig);
}

static void put_header(size_t offset, uint32_t flags)
{
    file_number(&image, offset, 4, 0x1badb002);
    file_number(&image, offset + 4, 4, flags);
    file_number(&image, offset + 8, 4, (uint32_t) - (0x1badb002 + flags));
}

/* An ELF kernel that is linked for 3 GiB and says so in its entry. */
static void make_elf(bool wide, uint64_t entry)
{
    elf_begin(&image, wide, wide ? ELF_X86_64 : ELF_386, entry, 1);
    elf_segment(&image, 0, ELF_LOAD, 0xc0000000 + ENTRY, ENTRY, stub32, sizeof(stub32), 0x1000);
    put_header(HEADER, 3);
}

/* The same without ELF, 200h bytes after the start of the file: its header names the addresses. */
static void make_raw(uint32_t load_end, uint32_t bss_end, uint32_t entry)
{
    memset(&image, 0, sizeof(image));
    put_header(HEADER, 0x10000);
    file_number(&image, HEADER + 12, 4, ENTRY + HEADER - 0x200);
    file_number(&image, HEADER + 16, 4, ENTRY);
    file_number(&image, HEADER + 20, 4, load_end);
    file_number(&image, HEADER + 24, 4, bss_end);
    file_number(&image, HEADER + 28, 4, entry);
    file_put(&image, 0x200, stub32, sizeof(stub32));
}

static uint64_t info(unsigned offset)
{
    return loader_rig_number(&rig, INFO + offset, 4);
}

static const char *info_text(unsigned offset, char buffer[256])
{
    return loader_rig_text(&rig, info(offset), buffer);
}

static void check_run(void)
{
    ck_assert_uint_eq(rig.target.cpu->mmu.cr0, CR0_PE | CR0_ET);
    ck_assert_uint_eq(rig.target.cpu->rip, ENTRY);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT + 4, 4), 0x2badb002);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT + 8, 4), INFO);
}

START_TEST(an_elf_kernel_is_entered_at_the_physical_address_of_its_entry)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        make_elf(wide, 0xc0000000 + ENTRY);
        ck_assert_booted(&rig, image.bytes, image.length, ANY);
        check_run();
        make_elf(wide, ENTRY);
        ck_assert_booted(&rig, image.bytes, image.length, ANY);
        check_run();
    }
}
END_TEST

START_TEST(a_kernel_without_elf_goes_where_its_header_says)
{
    make_raw(0, 0, ENTRY);
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    check_run();
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + HEADER - 0x200, 4), 0x1badb002);
}
END_TEST

START_TEST(its_bss_is_cleared_and_nothing_else)
{
    const uint8_t rubbish[0x1000] = {[0x7ff] = 1, [0x800] = 2, [0xfff] = 3};

    make_raw(ENTRY + 0x100, ENTRY + 0x800, ENTRY);
    ck_assert(bus_write(rig.bus, gpa(ENTRY), rubbish, sizeof(rubbish)));
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + 0x7ff, 1), 0);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + 0x800, 1), 2);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + HEADER - 0x200, 4), 0);
}
END_TEST

START_TEST(the_information_has_memory_command_line_and_name)
{
    static const uint64_t rows[][3] = {
        {0, 0x9fc00, 1}, {0x9fc00, 0x400, 2}, {0xe0000, 0x20000, 2}, {MIB, 15 * MIB, 1}};
    char text[256];

    make_elf(false, ENTRY);
    rig.append = "one two";
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    ck_assert_uint_eq(info(0), 0x245);
    ck_assert_uint_eq(info(4), 639);
    ck_assert_uint_eq(info(8), 15 * 1024);
    ck_assert_str_eq(info_text(16, text), "kernel one two");
    ck_assert_str_eq(info_text(64, text), "Gnomon");
    ck_assert_uint_eq(info(44), 24 * ARRAY_SIZE(rows));
    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        uint64_t entry = info(48) + 24 * n;

        ck_assert_uint_eq(loader_rig_number(&rig, entry, 4), 20);
        ck_assert_uint_eq(loader_rig_number(&rig, entry + 4, 8), rows[n][0]);
        ck_assert_uint_eq(loader_rig_number(&rig, entry + 12, 8), rows[n][1]);
        ck_assert_uint_eq(loader_rig_number(&rig, entry + 20, 4), rows[n][2]);
    }
    rig.append = "";
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    ck_assert_str_eq(info_text(16, text), "kernel");
}
END_TEST

START_TEST(the_initrd_is_a_module)
{
    char text[256];
    uint64_t module, start;

    make_elf(false, ENTRY);
    rig.initrd = (struct loader_file){"some/module", (const uint8_t *)"content", 8};
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    ck_assert_uint_eq(info(0), 0x24d);
    ck_assert_uint_eq(info(20), 1);
    module = info(24);
    start = loader_rig_number(&rig, module, 4);
    ck_assert_uint_eq(start % 4096, 0);
    ck_assert_uint_eq(loader_rig_number(&rig, module + 4, 4), start + 8);
    ck_assert_str_eq(loader_rig_text(&rig, start, text), "content");
    ck_assert_str_eq(loader_rig_text(&rig, loader_rig_number(&rig, module + 8, 4), text),
                     "some/module");
}
END_TEST

START_TEST(a_long_module_name_is_cut)
{
    char *name = malloc(10001);

    memset(name, 'n', 10000);
    name[10000] = '\0';
    make_elf(false, ENTRY);
    rig.initrd = (struct loader_file){name, (const uint8_t *)"content", 8};
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x11ffe, 2), 'n');
    free(name);
}
END_TEST

START_TEST(the_header_is_found_in_the_first_8_kib_only)
{
    make_elf(false, ENTRY);
    memset(image.bytes + HEADER, 0, 12);
    put_header(8192 - 12, 0);
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
    memset(image.bytes + 8192 - 12, 0, 12);
    put_header(8192 - 8, 0);
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "nor a multiboot header");
    make_elf(false, ENTRY);
    memset(image.bytes + HEADER, 0, 12);
    put_header(HEADER + 2, 0);
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "nor a multiboot header");
    make_elf(false, ENTRY);
    image.bytes[HEADER + 8] ^= 1; /* checksum */
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "nor a multiboot header");
}
END_TEST

START_TEST(requirements_that_are_not_known_are_refused)
{
    make_elf(false, ENTRY);
    put_header(HEADER, 0x13);
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "flags 0x10");
    put_header(HEADER, 0x20007); /* a video mode, and something optional */
    ck_assert_booted(&rig, image.bytes, image.length, ANY);
}
END_TEST

START_TEST(a_kernel_without_elf_and_addresses_is_refused)
{
    make_raw(0, 0, ENTRY);
    put_header(HEADER, 0);
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "neither an ELF file");
}
END_TEST

START_TEST(lying_addresses_are_refused)
{
    static const struct {
        unsigned field;
        uint32_t value;
        const char *words;
    } rows[] = {
        {12, ENTRY - 1, "load_addr 0x200000 does not go with header_addr"},
        {12, ENTRY + HEADER + 1, "load_addr"},
        {16, ENTRY + HEADER, "load_addr"},
        {16, 0, "load_addr"},
        {20, ENTRY - 1, "load_end_addr"},
        {20, ENTRY + 0x1000, "load_end_addr"},
        {20, UINT32_MAX, "load_end_addr"},
        {24, ENTRY + 1, "bss_end_addr"},
        {24, UINT32_MAX, "not in the machine's 16 MiB"},
        {28, ENTRY - 1, "entry_addr"},
        {28, ENTRY + 0x1000, "entry_addr"},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        make_raw(0, 0, ENTRY);
        file_number(&image, HEADER + rows[n].field, 4, rows[n].value);
        ck_assert_refused(&rig, image.bytes, image.length, ANY, rows[n].words);
    }
    make_raw(0, 0, 0x10000);
    file_number(&image, HEADER + 12, 4, 0x10000 + HEADER - 0x200);
    file_number(&image, HEADER + 16, 4, 0x10000);
    ck_assert_refused(&rig, image.bytes, image.length, ANY, "overlaps the multiboot information");
}
END_TEST

START_TEST(an_elf_entry_outside_of_the_kernel_is_refused)
{
    static const uint64_t bad[] = {0, ENTRY + 0x1000, 0xc0000000 + ENTRY - 1, UINT64_MAX,
                                   0x100000000 + ENTRY};

    for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
        make_elf(true, bad[n]);
        ck_assert_refused(&rig, image.bytes, image.length, ANY, "is outside");
    }
}
END_TEST

START_TEST(a_truncated_file_never_does_harm)
{
    make_raw(0, 0, ENTRY);
    for (size_t length = 1; length < image.length; length++) {
        uint8_t *exact = malloc(length);

        memcpy(exact, image.bytes, length);
        ck_assert(!loader_rig_boot(&rig, exact, length, ANY));
        ck_assert_uint_gt(strlen(rig.err.text), 0);
        free(exact);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("multiboot");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_elf_kernel_is_entered_at_the_physical_address_of_its_entry);
    tcase_add_test(tc, a_kernel_without_elf_goes_where_its_header_says);
    tcase_add_test(tc, its_bss_is_cleared_and_nothing_else);
    tcase_add_test(tc, the_information_has_memory_command_line_and_name);
    tcase_add_test(tc, the_initrd_is_a_module);
    tcase_add_test(tc, a_long_module_name_is_cut);
    tcase_add_test(tc, the_header_is_found_in_the_first_8_kib_only);
    tcase_add_test(tc, requirements_that_are_not_known_are_refused);
    tcase_add_test(tc, a_kernel_without_elf_and_addresses_is_refused);
    tcase_add_test(tc, lying_addresses_are_refused);
    tcase_add_test(tc, an_elf_entry_outside_of_the_kernel_is_refused);
    tcase_add_test(tc, a_truncated_file_never_does_harm);
    return run_suite("loader_multiboot", tc);
}
