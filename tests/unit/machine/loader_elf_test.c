/* ELF files and PVH. */
#include "tests/unit/machine/loader_rig.h"
#include "tests/unit/run_suite.h"

#define ENTRY      0x200000u
#define START_INFO 0x10000u
#define ANY        LOADER_ENTRY_AUTO

static struct loader_rig rig;
static struct file elf;

static void setup(void)
{
    loader_rig_create(&rig, 16, 64, "max");
}

static void teardown(void)
{
    loader_rig_destroy(&rig);
}

/* A note of Xen's: type, descriptor. */
static size_t note(uint8_t *p, uint32_t type, const void *descriptor, uint32_t size)
{
    le32_put(p, 4);
    le32_put(p + 4, size);
    le32_put(p + 8, type);
    memcpy(p + 12, "Xen", 4);
    memcpy(p + 16, descriptor, size);
    return 16 + ((size + 3) & ~3u);
}

/* A kernel of one loaded segment of a page, and notes: another one, then the entry of `size`
 * bytes. */
static void make(bool wide, uint64_t entry, unsigned size)
{
    uint8_t notes[64] = {0}, descriptor[8];
    size_t length = note(notes, 6, "linux", 6);

    le64_put(descriptor, entry);
    length += note(notes + length, 18, descriptor, size);
    elf_begin(&elf, wide, wide ? ELF_X86_64 : ELF_386, ENTRY, 2);
    elf_segment(&elf, 0, ELF_NOTE, 0, 0, notes, length, length);
    elf_segment(&elf, 1, ELF_LOAD, 0xc0000000 + ENTRY, ENTRY, stub32, sizeof(stub32), 0x1000);
}

START_TEST(the_note_is_entered_with_start_info_in_ebx)
{
    for (unsigned wide = 0; wide < 2; wide++) {
        for (unsigned size = 4; size <= 8; size += 4) {
            make(wide, ENTRY, size);
            ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
            ck_assert_uint_eq(rig.target.cpu->mmu.cr0, CR0_PE | CR0_ET);
            ck_assert_uint_eq(rig.target.cpu->mmu.efer, 0);
            ck_assert_uint_eq(rig.target.cpu->tr.limit, 0x67);
            loader_rig_run(&rig);
            ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT + 8, 4), START_INFO);
        }
    }
}
END_TEST

START_TEST(start_info_names_command_line_initrd_acpi_and_memory)
{
    static const struct {
        uint64_t start, size, type;
    } expected[] = {
        {0, 0x9fc00, 1},    {0x9fc00, 0x400, 2},       {0xe0000, 0x20000, 2},
        {MIB, 15 * MIB, 1}, {4096 * MIB, 64 * MIB, 1},
    };
    uint64_t module, map;
    char text[256];

    make(true, ENTRY, 8);
    rig.initrd = (struct loader_file){"initrd", (const uint8_t *)"content", 8};
    rig.append = "console=ttyS0 quiet";
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO, 4), 0x336ec578);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO + 4, 4), 1);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO + 12, 4), 1);
    module = loader_rig_number(&rig, START_INFO + 16, 8);
    ck_assert_uint_eq(loader_rig_number(&rig, module + 8, 8), 8);
    ck_assert_uint_eq(loader_rig_number(&rig, module, 8), 16 * MIB - 0x1000);
    ck_assert_str_eq(loader_rig_text(&rig, loader_rig_number(&rig, module, 8), text), "content");
    ck_assert_str_eq(loader_rig_text(&rig, loader_rig_number(&rig, START_INFO + 24, 8), text),
                     rig.append);
    loader_rig_read(&rig, loader_rig_number(&rig, START_INFO + 32, 8), text, 8);
    ck_assert_mem_eq(text, "RSD PTR ", 8);
    map = loader_rig_number(&rig, START_INFO + 40, 8);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO + 48, 4), ARRAY_SIZE(expected));
    for (unsigned n = 0; n < ARRAY_SIZE(expected); n++) {
        ck_assert_uint_eq(loader_rig_number(&rig, map + 24 * n, 8), expected[n].start);
        ck_assert_uint_eq(loader_rig_number(&rig, map + 24 * n + 8, 8), expected[n].size);
        ck_assert_uint_eq(loader_rig_number(&rig, map + 24 * n + 16, 4), expected[n].type);
    }
}
END_TEST

START_TEST(without_an_initrd_there_is_no_module_and_the_command_line_is_empty)
{
    make(false, ENTRY, 4);
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO + 12, 4), 0);
    ck_assert_uint_eq(loader_rig_number(&rig, START_INFO + 16, 8), 0);
    ck_assert_uint_eq(loader_rig_number(&rig, loader_rig_number(&rig, START_INFO + 24, 8), 1), 0);
}
END_TEST

START_TEST(memory_behind_a_segment_is_cleared)
{
    const uint8_t rubbish[4] = {1, 2, 3, 4};

    make(true, ENTRY, 8);
    ck_assert(bus_write(rig.bus, gpa(ENTRY + 0xffc), rubbish, 4));
    ck_assert(bus_write(rig.bus, gpa(ENTRY + 0x1000), rubbish, 4));
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + 0xffc, 4), 0);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + 0x1000, 4), 0x04030201);
}
END_TEST

START_TEST(a_file_without_note_is_refused_with_what_is_missing)
{
    make(true, ENTRY, 8);
    file_number(&elf, elf_program_header(true, 0), 4, 0x6474e551);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "PHYS32_ENTRY note (Linux: CONFIG_PVH)");
    make(true, ENTRY, 2);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "PHYS32_ENTRY");
}
END_TEST

START_TEST(a_note_that_names_a_place_outside_the_kernel_is_refused)
{
    static const uint64_t bad[] = {0, ENTRY - 1, ENTRY + sizeof(stub32), 0x100000000 + ENTRY,
                                   UINT64_MAX};

    for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
        make(true, bad[n], 8);
        ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "PHYS32_ENTRY note names an entry");
    }
}
END_TEST

START_TEST(lying_file_headers_are_refused)
{
    static const struct {
        unsigned offset, size;
        uint64_t value;
        const char *words;
    } rows[] = {
        {4, 1, 3, "e_ident"},
        {5, 1, 2, "e_ident"},
        {18, 2, 183, "e_machine is 183"},
        {32, 8, UINT64_MAX, "e_phoff"},
        {32, 8, 1 << 20, "e_phoff"},
        {54, 2, 32, "e_phentsize"},
        {54, 2, 65535, "e_phnum"},
        {56, 2, 0, "e_phnum is 0"},
        {56, 2, 65535, "e_phnum"},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        make(true, ENTRY, 8);
        file_number(&elf, rows[n].offset, rows[n].size, rows[n].value);
        ck_assert_refused(&rig, elf.bytes, elf.length, ANY, rows[n].words);
    }
}
END_TEST

START_TEST(lying_segments_are_refused)
{
    static const struct {
        unsigned field;
        uint64_t value;
        const char *words;
    } rows[] = {
        {8, UINT64_MAX, "segment 1 (p_offset 0xffffffffffffffff"},
        {8, 0x7ffffffffffffff0, "segment 1"},
        {32, UINT64_MAX, "p_filesz 18446744073709551615"},
        {32, 65536, "segment 1"},
        {40, 1, "p_filesz of segment 1 is above p_memsz"},
        {40, UINT64_MAX, "ELF segment 1"},
        {40, 15 * MIB, "not in the machine's 80 MiB"},
        {24, UINT64_MAX, "ELF segment 1"},
        {24, 0x9fc00, "not in the machine's"},
        {24, 0xe0000, "not in the machine's"},
        {24, 16 * MIB, "not in the machine's"},
        {24, 0x10800, "overlaps start_info"},
        {24, 0x7000 - 0xfff, "overlaps the GDT"},
        {24, 0x2ffff, "overlaps the command line"},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        make(true, ENTRY, 8);
        file_number(&elf, elf_program_header(true, 1) + rows[n].field, 8, rows[n].value);
        ck_assert_refused(&rig, elf.bytes, elf.length, ANY, rows[n].words);
    }
}
END_TEST

START_TEST(segments_that_overlap_are_refused)
{
    make(true, ENTRY, 8);
    file_number(&elf, 56, 2, 3);
    elf_segment(&elf, 2, ELF_LOAD, 0, ENTRY + 0xfff, "x", 1, 1);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY,
                      "ELF segment 2 (address 0x200fff, 1 bytes) "
                      "overlaps ELF segment 1");
    file_number(&elf, elf_program_header(true, 2) + 24, 8, ENTRY + 0x1000);
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
}
END_TEST

START_TEST(a_file_with_nothing_to_load_is_refused)
{
    make(true, ENTRY, 8);
    file_number(&elf, elf_program_header(true, 1), 4, 2);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "no PT_LOAD");
}
END_TEST

START_TEST(too_many_segments_are_refused)
{
    uint8_t notes[32], entry[4];

    elf_begin(&elf, true, ELF_X86_64, ENTRY, 100);
    elf.length = elf_program_header(true, 100);
    le32_put(entry, ENTRY);
    elf_segment(&elf, 0, ELF_NOTE, 0, 0, notes, note(notes, 18, entry, 4), 20);
    for (unsigned n = 1; n < 100; n++)
        elf_segment(&elf, n, ELF_LOAD, 0, ENTRY + n * 0x1000, "x", 1, 1);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "more than 40 parts");
}
END_TEST

/* Whatever it says: it ends, and errors have a text. */
START_TEST(a_truncated_file_never_does_harm)
{
    uint8_t *exact;

    for (unsigned wide = 0; wide < 2; wide++) {
        make(wide, ENTRY, 4);
        for (size_t length = 1; length < elf.length; length++) {
            exact = malloc(length);
            memcpy(exact, elf.bytes, length);
            ck_assert(!loader_rig_boot(&rig, exact, length, ANY));
            ck_assert_uint_gt(strlen(rig.err.text), 0);
            free(exact);
        }
    }
}
END_TEST

START_TEST(damaged_notes_are_no_notes)
{
    unsigned at = 0x200;

    for (unsigned n = 0; n < 2 * 12; n++) {
        make(true, ENTRY, 8);
        elf.bytes[at + n] ^= 0xff;
        loader_rig_boot(&rig, elf.bytes, elf.length, ANY);
    }
    make(true, ENTRY, 8);
    file_number(&elf, at, 4, UINT32_MAX);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "PHYS32_ENTRY");
    make(true, ENTRY, 8);
    file_number(&elf, at + 4, 4, UINT32_MAX);
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "PHYS32_ENTRY");
}
END_TEST

START_TEST(an_initrd_larger_than_memory_is_refused_by_its_name)
{
    size_t length = 15 * MIB;
    uint8_t *bytes = calloc(1, length);

    make(true, ENTRY, 8);
    rig.initrd = (struct loader_file){"initrd", bytes, length};
    ck_assert(!loader_rig_boot(&rig, elf.bytes, elf.length, ANY));
    ck_assert_ptr_nonnull(strstr(rig.err.text, "initrd: no room for its 15728640 bytes"));
    rig.initrd.length = 14 * MIB - 0x1000;
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x11000, 8), ENTRY + 0x1000);
    free(bytes);
}
END_TEST

START_TEST(the_command_line_has_a_limit)
{
    char *line = malloc(65537);

    make(true, ENTRY, 8);
    memset(line, 'a', 65536);
    line[65535] = '\0';
    rig.append = line;
    ck_assert_booted(&rig, elf.bytes, elf.length, ANY);
    line[65535] = 'a';
    line[65536] = '\0';
    ck_assert_refused(&rig, elf.bytes, elf.length, ANY, "65536 characters");
    free(line);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ELF and PVH");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_note_is_entered_with_start_info_in_ebx);
    tcase_add_test(tc, start_info_names_command_line_initrd_acpi_and_memory);
    tcase_add_test(tc, without_an_initrd_there_is_no_module_and_the_command_line_is_empty);
    tcase_add_test(tc, memory_behind_a_segment_is_cleared);
    tcase_add_test(tc, a_file_without_note_is_refused_with_what_is_missing);
    tcase_add_test(tc, a_note_that_names_a_place_outside_the_kernel_is_refused);
    tcase_add_test(tc, lying_file_headers_are_refused);
    tcase_add_test(tc, lying_segments_are_refused);
    tcase_add_test(tc, segments_that_overlap_are_refused);
    tcase_add_test(tc, a_file_with_nothing_to_load_is_refused);
    tcase_add_test(tc, too_many_segments_are_refused);
    tcase_add_test(tc, a_truncated_file_never_does_harm);
    tcase_add_test(tc, damaged_notes_are_no_notes);
    tcase_add_test(tc, an_initrd_larger_than_memory_is_refused_by_its_name);
    tcase_add_test(tc, the_command_line_has_a_limit);
    return run_suite("loader_elf", tc);
}
