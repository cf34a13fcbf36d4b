/* Linux's boot protocol, with kernels of one page that store what they were given and halt. */
#include "tests/unit/machine/loader_rig.h"
#include "tests/unit/run_suite.h"

#include <zlib.h>

#define PARAMS  0x10000u
#define CODE    0x400u    /* of the protected-mode part in the file: one sector of setup code */
#define PAYLOAD 0x300u    /* in the protected-mode part */
#define ENTRY   0x200000u /* of the unpacked kernel */
#define DIRECT  LOADER_ENTRY_AUTO
#define BZIMAGE LOADER_ENTRY_BZIMAGE

/* Fields of the header, in file and boot_params. */
enum {
    SETUP_SECTS = 0x1f1,
    SYSSIZE = 0x1f4,
    VERSION = 0x206,
    TYPE_OF_LOADER = 0x210,
    LOADFLAGS = 0x211,
    RAMDISK_IMAGE = 0x218,
    RAMDISK_SIZE = 0x21c,
    CMD_LINE_PTR = 0x228,
    INITRD_ADDR_MAX = 0x22c,
    ALIGNMENT = 0x230,
    RELOCATABLE = 0x234,
    XLOADFLAGS = 0x236,
    CMDLINE_SIZE = 0x238,
    PAYLOAD_OFFSET = 0x248,
    PAYLOAD_LENGTH = 0x24c,
    SETUP_DATA = 0x250,
    PREF_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
};

static struct loader_rig rig;
static struct file elf, image;

static void setup(void)
{
    loader_rig_create(&rig, 16, 0, "max");
}

static void teardown(void)
{
    loader_rig_destroy(&rig);
}

static void use_machine(uint64_t low, uint64_t high, const char *cpu)
{
    loader_rig_destroy(&rig);
    loader_rig_create(&rig, low, high, cpu);
}

static size_t gzip(const struct file *from, uint8_t *to, size_t room)
{
    z_stream z = {0};

    ck_assert_int_eq(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (uint8_t *)from->bytes;
    z.avail_in = (unsigned)from->length;
    z.next_out = to;
    z.avail_out = (unsigned)room;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return room - z.avail_out;
}

/* Without payload: at 0 the 32-bit entry, at 200h the 64-bit one. */
static void make_header(void)
{
    static const uint8_t jump[] = {0xeb, 0x66}; /* to 268h, the end of the header */

    memset(&image, 0, sizeof(image));
    file_put(&image, SETUP_SECTS, "\1", 1);
    file_number(&image, 0x1fe, 2, 0xaa55);
    file_put(&image, 0x200, jump, 2);
    file_put(&image, 0x202, "HdrS", 4);
    file_number(&image, VERSION, 2, 0x20f);
    file_number(&image, LOADFLAGS, 1, 0xc1);
    file_number(&image, 0x214, 4, MIB);
    file_number(&image, INITRD_ADDR_MAX, 4, 0x7fffffff);
    file_number(&image, ALIGNMENT, 4, 0x200000);
    file_number(&image, RELOCATABLE, 1, 1);
    file_number(&image, XLOADFLAGS, 2, 3);
    file_number(&image, CMDLINE_SIZE, 4, 2047);
    file_number(&image, PREF_ADDRESS, 8, 0x400000);
    file_number(&image, INIT_SIZE, 4, 0x10000);
    file_put(&image, CODE, stub32, sizeof(stub32));
    file_put(&image, CODE + 0x200, stub64, sizeof(stub64));
    file_number(&image, SYSSIZE, 4, (image.length - CODE + 15) / 16);
}

static void set_payload(const void *bytes, size_t length)
{
    file_put(&image, CODE + PAYLOAD, bytes, length);
    file_number(&image, PAYLOAD_OFFSET, 4, PAYLOAD);
    file_number(&image, PAYLOAD_LENGTH, 4, length);
    file_number(&image, SYSSIZE, 4, (image.length - CODE + 15) / 16);
}

/* A kernel in the payload, of 64 or 32 bits, that takes a page of memory. */
static void make(bool wide)
{
    static uint8_t packed[8192];

    make_header();
    elf_begin(&elf, wide, wide ? ELF_X86_64 : ELF_386, ENTRY, 1);
    elf_segment(&elf, 0, ELF_LOAD, 0xc0000000 + ENTRY, ENTRY, wide ? stub64 : stub32,
                wide ? sizeof(stub64) : sizeof(stub32), 0x1000);
    set_payload(packed, gzip(&elf, packed, sizeof(packed)));
}

static uint64_t param(unsigned offset, unsigned size)
{
    return loader_rig_number(&rig, PARAMS + offset, size);
}

#define ck_assert_kernel_booted(entry) ck_assert_booted(&rig, image.bytes, image.length, entry)
#define ck_assert_kernel_refused(entry, words)                                                     \
    ck_assert_refused(&rig, image.bytes, image.length, entry, words)

/* ---- Entries ---- */

START_TEST(a_64_bit_kernel_is_unpacked_and_entered_in_long_mode)
{
    const struct vcpu *cpu = rig.target.cpu;

    make(true);
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(cpu->rip, ENTRY);
    ck_assert_uint_eq(cpu->mmu.efer, EFER_LME | EFER_LMA);
    ck_assert_uint_eq(cpu->seg[SEG_CS].selector, 0x10);
    ck_assert_uint_eq(cpu->seg[SEG_DS].selector, 0x18);
    ck_assert_uint_eq(vcpu_rflags(cpu), EFLAGS_ONE);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT, 8), PARAMS);
}
END_TEST

START_TEST(a_32_bit_kernel_is_unpacked_and_entered_in_protected_mode)
{
    make(false);
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(rig.target.cpu->rip, ENTRY);
    ck_assert_uint_eq(rig.target.cpu->mmu.cr0, CR0_PE | CR0_ET);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT, 4), PARAMS);
}
END_TEST

START_TEST(a_64_bit_kernel_on_a_32_bit_processor_is_refused)
{
    use_machine(16, 0, "max,-lm");
    make(true);
    ck_assert_kernel_refused(DIRECT, "no long mode");
    make(false);
    ck_assert_kernel_booted(DIRECT);
}
END_TEST

START_TEST(a_kernel_that_unpacks_itself_is_entered_200h_after_its_start_in_long_mode)
{
    make(true);
    ck_assert_kernel_booted(BZIMAGE);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400200);
    ck_assert_uint_eq(param(0x214, 4), 0x400000);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT, 8), PARAMS);
}
END_TEST

START_TEST(without_a_64_bit_entry_it_is_the_32_bit_one)
{
    make(true);
    file_number(&image, XLOADFLAGS, 2, 0);
    ck_assert_kernel_booted(BZIMAGE);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400000);
    loader_rig_run(&rig);
    ck_assert_uint_eq(loader_rig_number(&rig, STUB_RESULT, 4), PARAMS);
    file_number(&image, XLOADFLAGS, 2, 1);
    use_machine(16, 0, "max,-lm");
    ck_assert_kernel_booted(BZIMAGE);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400000);
}
END_TEST

START_TEST(a_kernel_that_cannot_be_moved_lies_at_1_mib)
{
    make_header();
    file_number(&image, RELOCATABLE, 1, 0);
    ck_assert_kernel_booted(BZIMAGE);
    ck_assert_uint_eq(rig.target.cpu->rip, MIB + 0x200);
    file_number(&image, PREF_ADDRESS, 8, 0xff8000); /* where it would run: 64 KiB are not there */
    ck_assert_kernel_refused(BZIMAGE, "larger -m");
}
END_TEST

START_TEST(a_kernel_whose_preferred_place_is_no_memory_lies_at_1_mib_if_it_can_be_moved)
{
    static const uint64_t places[] = {16 * MIB, 0xff8000, 0x8000, UINT64_MAX};

    for (unsigned n = 0; n < ARRAY_SIZE(places); n++) {
        make_header();
        file_number(&image, PREF_ADDRESS, 8, places[n]);
        ck_assert_kernel_booted(BZIMAGE);
        ck_assert_uint_eq(rig.target.cpu->rip, MIB + 0x200);
    }
    file_number(&image, INIT_SIZE, 4, 15 * MIB); /* runs at 2 MiB, its alignment */
    ck_assert_kernel_refused(BZIMAGE, "larger -m");
    file_number(&image, INIT_SIZE, 4, 14 * MIB);
    ck_assert_kernel_booted(BZIMAGE);
}
END_TEST

START_TEST(a_kernel_without_payload_is_entered_as_it_is)
{
    make_header();
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400200);
}
END_TEST

START_TEST(so_is_one_whose_payload_is_of_an_unknown_kind_or_no_elf_file)
{
    static uint8_t packed[4096];
    struct file text = {.bytes = "no ELF file", .length = 11};

    make_header();
    set_payload("\x89LZO\0\r\n\x1a\n", 9);
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400200);
    make_header();
    set_payload(packed, gzip(&text, packed, sizeof(packed)));
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(rig.target.cpu->rip, 0x400200);
}
END_TEST

START_TEST(a_second_boot_does_not_mind_what_the_guest_left)
{
    uint8_t *rubbish = malloc(0xa0000);

    make(true);
    ck_assert_kernel_booted(DIRECT);
    memset(rubbish, 0xa5, 0xa0000);
    ck_assert(bus_write(rig.bus, gpa(0), rubbish, 0xa0000));
    ck_assert(bus_write(rig.bus, gpa(ENTRY), rubbish, 0x1000));
    free(rubbish);
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(loader_rig_number(&rig, ENTRY + 0xff8, 8), 0);
    ck_assert_uint_eq(param(0x1ef, 1), 0); /* sentinel */
    ck_assert_uint_eq(loader_rig_number(&rig, 0x40e, 2), 0x9fc0);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x413, 2), 639);
    ck_assert_uint_eq(loader_rig_number(&rig, 0x400, 8), 0x2f803f8);
    loader_rig_run(&rig);
}
END_TEST

/* ---- boot_params ---- */

START_TEST(boot_params_are_the_header_and_what_the_loader_says)
{
    char text[256];

    make(true);
    file_number(&image, 0x264, 4, 0x12345678); /* the last field of the header */
    file_number(&image, 0x268, 4, 0xbad);      /* behind it */
    rig.append = "console=ttyS0";
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(param(0x202, 4), 0x53726448);
    ck_assert_uint_eq(param(VERSION, 2), 0x20f);
    ck_assert_uint_eq(param(0x264, 4), 0x12345678);
    ck_assert_uint_eq(param(0x268, 4), 0);
    ck_assert_uint_eq(param(TYPE_OF_LOADER, 1), 0xff);
    ck_assert_uint_eq(param(LOADFLAGS, 1), 1);
    ck_assert_uint_eq(param(0x1fa, 2), 0xffff);
    ck_assert_uint_eq(param(0x02, 2), 15 * 1024);
    ck_assert_uint_eq(param(0x1e0, 4), 15 * 1024);
    ck_assert_uint_eq(param(RAMDISK_IMAGE, 8), 0);
    loader_rig_read(&rig, param(0x70, 8), text, 8);
    ck_assert_mem_eq(text, "RSD PTR ", 8);
    ck_assert_str_eq(loader_rig_text(&rig, param(CMD_LINE_PTR, 4), text), "console=ttyS0");
}
END_TEST

static void check_e820(const uint64_t (*rows)[3], unsigned count)
{
    ck_assert_uint_eq(param(0x1e8, 1), count);
    for (unsigned n = 0; n < count; n++) {
        ck_assert_uint_eq(param(0x2d0 + 20 * n, 8), rows[n][0]);
        ck_assert_uint_eq(param(0x2d0 + 20 * n + 8, 8), rows[n][1]);
        ck_assert_uint_eq(param(0x2d0 + 20 * n + 16, 4), rows[n][2]);
    }
}

START_TEST(e820_has_all_ram_and_what_is_reserved_below_1_mib)
{
    static const uint64_t rows[][3] = {
        {0, 0x9fc00, 1},    {0x9fc00, 0x400, 2},       {0xe0000, 0x20000, 2},
        {MIB, 15 * MIB, 1}, {4096 * MIB, 32 * MIB, 1},
    };

    make(true);
    ck_assert_kernel_booted(DIRECT);
    check_e820(rows, 4);
    use_machine(16, 32, "max");
    ck_assert_kernel_booted(DIRECT);
    check_e820(rows, 5);
}
END_TEST

static void read_seed(uint8_t seed[32])
{
    uint64_t node = param(SETUP_DATA, 8);

    ck_assert_uint_eq(loader_rig_number(&rig, node, 8), 0);
    ck_assert_uint_eq(loader_rig_number(&rig, node + 8, 4), 9);
    ck_assert_uint_eq(loader_rig_number(&rig, node + 12, 4), 32);
    loader_rig_read(&rig, node + 16, seed, 32);
}

START_TEST(random_bytes_follow_from_the_seed)
{
    uint8_t first[32], again[32], other[32];

    make(true);
    ck_assert_kernel_booted(DIRECT);
    read_seed(first);
    ck_assert_kernel_booted(DIRECT);
    read_seed(again);
    ck_assert_mem_eq(first, again, 32);
    ck_assert_mem_ne(first, first + 8, 8);
    rig.target.seed = 2;
    ck_assert_kernel_booted(DIRECT);
    read_seed(other);
    ck_assert_mem_ne(first, other, 32);
}
END_TEST

START_TEST(a_kernel_that_does_not_know_setup_data_gets_none)
{
    make(true);
    file_number(&image, VERSION, 2, 0x208);
    ck_assert_kernel_booted(DIRECT);
    ck_assert_uint_eq(param(SETUP_DATA, 8), 0);
}
END_TEST

START_TEST(the_command_line_has_the_limit_of_the_kernel)
{
    char line[512] = {0};

    make(true);
    file_number(&image, CMDLINE_SIZE, 4, 300);
    rig.append = line;
    memset(line, 'x', 300);
    ck_assert_kernel_booted(DIRECT);
    line[300] = 'x';
    ck_assert_kernel_refused(DIRECT, "has 301 characters and this kernel takes 300");
    make_header();
    file_number(&image, VERSION, 2, 0x205);
    ck_assert_kernel_refused(DIRECT, "takes 255");
    line[255] = '\0';
    ck_assert_kernel_booted(DIRECT);
}
END_TEST

/* ---- initrd ---- */

static uint8_t initrd[0x3001];

static void give_initrd(size_t length)
{
    for (size_t n = 0; n < sizeof(initrd); n++)
        initrd[n] = (uint8_t)(n * 13);
    rig.initrd = (struct loader_file){"initrd", initrd, length};
}

static void check_initrd(uint64_t address)
{
    uint8_t got[sizeof(initrd)];

    ck_assert_uint_eq(param(RAMDISK_IMAGE, 4) | param(0xc0, 4) << 32, address);
    ck_assert_uint_eq(param(RAMDISK_SIZE, 4) | param(0xc4, 4) << 32, rig.initrd.length);
    loader_rig_read(&rig, address, got, rig.initrd.length);
    ck_assert_mem_eq(got, initrd, rig.initrd.length);
}

START_TEST(the_initrd_lies_page_aligned_at_the_end_of_memory)
{
    make(true);
    give_initrd(0x3001);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(16 * MIB - 0x4000);
    give_initrd(0x3000);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(16 * MIB - 0x3000);
}
END_TEST

START_TEST(the_initrd_ends_at_initrd_addr_max_at_most)
{
    make(true);
    give_initrd(0x1000);
    file_number(&image, INITRD_ADDR_MAX, 4, 0x800fff);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(0x800000);
    file_number(&image, INITRD_ADDR_MAX, 4, 0x800ffe);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(0x7ff000);
}
END_TEST

START_TEST(the_initrd_evades_the_kernel)
{
    make(true);
    give_initrd(0x1000);
    file_number(&image, INITRD_ADDR_MAX, 4, ENTRY + 0xfff);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(ENTRY - 0x1000);
    file_number(&image, INITRD_ADDR_MAX, 4, MIB + 0xffe);
    ck_assert(!loader_rig_boot(&rig, image.bytes, image.length, DIRECT));
    ck_assert_ptr_nonnull(strstr(rig.err.text, "initrd: no room for its 4096 bytes"));
}
END_TEST

START_TEST(an_initrd_without_room_below_4_gib_goes_above_if_the_kernel_takes_it)
{
    use_machine(16, 16, "max");
    make(true);
    give_initrd(0x3000);
    file_number(&image, INITRD_ADDR_MAX, 4, MIB + 0xfff);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(4096 * MIB + 16 * MIB - 0x3000);
    file_number(&image, XLOADFLAGS, 2, 1);
    ck_assert(!loader_rig_boot(&rig, image.bytes, image.length, DIRECT));
    make(false); /* a 32-bit kernel, whatever its flags say */
    file_number(&image, INITRD_ADDR_MAX, 4, MIB + 0xfff);
    ck_assert(!loader_rig_boot(&rig, image.bytes, image.length, DIRECT));
}
END_TEST

START_TEST(old_kernels_take_the_initrd_below_37ffffffh)
{
    use_machine(1024, 0, "max");
    make_header();
    give_initrd(0x1000);
    file_number(&image, VERSION, 2, 0x202);
    file_number(&image, INITRD_ADDR_MAX, 4, 0);
    ck_assert_kernel_booted(DIRECT);
    check_initrd(0x37fff000);
}
END_TEST

/* ---- Hostile files ---- */

START_TEST(lying_headers_are_refused)
{
    static const struct {
        unsigned offset, size;
        uint64_t value;
        const char *words;
    } rows[] = {
        {VERSION, 2, 0x201, "boot protocol is 2.01 (version)"},
        {SETUP_SECTS, 1, 255, "truncated: its setup code (setup_sects) has 131072 bytes"},
        {LOADFLAGS, 1, 0, "zImage (loadflags)"},
        {SYSSIZE, 4, UINT32_MAX, "truncated: its code (syssize) has 68719476720 bytes"},
        {PAYLOAD_OFFSET, 4, UINT32_MAX, "payload_offset"},
        {PAYLOAD_OFFSET, 4, PAYLOAD + 1, "payload_length"},
        {PAYLOAD_LENGTH, 4, UINT32_MAX, "payload_length"},
        {PAYLOAD_LENGTH, 4, 5, "damaged"},
        {0x214, 4, 0x8000, "not in the machine's 16 MiB"},
        {0x214, 4, 0xffffffff, "larger -m"},
        {ALIGNMENT, 4, 0xffffffff, "larger -m"},
        {INIT_SIZE, 4, 0xffffffff, "larger -m"},
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        make(true);
        if (rows[n].offset == 0x214 || rows[n].offset == ALIGNMENT)
            file_number(&image, PREF_ADDRESS, 8, 0);
        file_number(&image, rows[n].offset, rows[n].size, rows[n].value);
        ck_assert_kernel_refused(rows[n].offset == 0x214 || rows[n].offset == ALIGNMENT ||
                                         rows[n].offset == INIT_SIZE
                                     ? BZIMAGE
                                     : DIRECT,
                                 rows[n].words);
    }
}
END_TEST

START_TEST(a_kernel_larger_than_memory_is_refused)
{
    make(true);
    file_number(&image, image.length - 4, 4, 17 * MIB); /* size of the content */
    ck_assert_kernel_refused(DIRECT, "unpacks to 17825792 bytes, which do not fit");
}
END_TEST

START_TEST(a_damaged_payload_is_refused)
{
    make(true);
    image.bytes[CODE + PAYLOAD + 40] ^= 0xff;
    ck_assert_kernel_refused(DIRECT, "gzip payload is damaged");
}
END_TEST

START_TEST(an_entry_outside_of_the_kernel_is_refused)
{
    static uint8_t packed[4096];

    make_header();
    elf_begin(&elf, true, ELF_X86_64, ENTRY + sizeof(stub64), 1);
    elf_segment(&elf, 0, ELF_LOAD, 0, ENTRY, stub64, sizeof(stub64), 0x1000);
    set_payload(packed, gzip(&elf, packed, sizeof(packed)));
    ck_assert_kernel_refused(DIRECT, "its entry 0x200011 is outside");
}
END_TEST

START_TEST(a_truncated_file_never_does_harm)
{
    make(true);
    for (size_t length = 1; length < image.length; length++) {
        uint8_t *exact = malloc(length);

        memcpy(exact, image.bytes, length);
        ck_assert(!loader_rig_boot(&rig, exact, length, DIRECT));
        ck_assert_uint_gt(strlen(rig.err.text), 0);
        free(exact);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_64_bit_kernel_is_unpacked_and_entered_in_long_mode);
    tcase_add_test(tc, a_32_bit_kernel_is_unpacked_and_entered_in_protected_mode);
    tcase_add_test(tc, a_64_bit_kernel_on_a_32_bit_processor_is_refused);
    tcase_add_test(tc, a_kernel_that_unpacks_itself_is_entered_200h_after_its_start_in_long_mode);
    tcase_add_test(tc, without_a_64_bit_entry_it_is_the_32_bit_one);
    tcase_add_test(tc, a_kernel_that_cannot_be_moved_lies_at_1_mib);
    tcase_add_test(tc,
                   a_kernel_whose_preferred_place_is_no_memory_lies_at_1_mib_if_it_can_be_moved);
    tcase_add_test(tc, a_kernel_without_payload_is_entered_as_it_is);
    tcase_add_test(tc, so_is_one_whose_payload_is_of_an_unknown_kind_or_no_elf_file);
    tcase_add_test(tc, a_second_boot_does_not_mind_what_the_guest_left);
    tcase_add_test(tc, boot_params_are_the_header_and_what_the_loader_says);
    tcase_add_test(tc, e820_has_all_ram_and_what_is_reserved_below_1_mib);
    tcase_add_test(tc, random_bytes_follow_from_the_seed);
    tcase_add_test(tc, a_kernel_that_does_not_know_setup_data_gets_none);
    tcase_add_test(tc, the_command_line_has_the_limit_of_the_kernel);
    tcase_add_test(tc, the_initrd_lies_page_aligned_at_the_end_of_memory);
    tcase_add_test(tc, the_initrd_ends_at_initrd_addr_max_at_most);
    tcase_add_test(tc, the_initrd_evades_the_kernel);
    tcase_add_test(tc, an_initrd_without_room_below_4_gib_goes_above_if_the_kernel_takes_it);
    tcase_add_test(tc, old_kernels_take_the_initrd_below_37ffffffh);
    tcase_add_test(tc, lying_headers_are_refused);
    tcase_add_test(tc, a_kernel_larger_than_memory_is_refused);
    tcase_add_test(tc, a_damaged_payload_is_refused);
    tcase_add_test(tc, an_entry_outside_of_the_kernel_is_refused);
    tcase_add_test(tc, a_truncated_file_never_does_harm);
}

int main(void)
{
    TCase *tc = tcase_create("Linux");

    tcase_add_checked_fixture(tc, setup, teardown);
    add_tests(tc);
    return run_suite("loader_linux", tc);
}
