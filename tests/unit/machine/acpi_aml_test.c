#include "machine/acpi_aml.h"

#include "tests/unit/machine/tables_rig.h"

#define ROOM (17u << 20)

struct fixture {
    uint8_t *bytes;
    struct aml a;
};

static void fixture_create(struct fixture *f, size_t size)
{
    f->bytes = malloc(size);
    ck_assert(f->bytes != NULL);
    aml_init(&f->a, f->bytes, size);
}

static void fixture_destroy(struct fixture *f)
{
    free(f->bytes);
}

static void expect(struct fixture *f, const void *bytes, size_t length)
{
    ck_assert(aml_finish(&f->a));
    ck_assert_uint_eq(f->a.length, length);
    ck_assert_mem_eq(f->bytes, bytes, length);
}

#define EXPECT(f, ...)                                                                             \
    do {                                                                                           \
        static const uint8_t expected[] = {__VA_ARGS__};                                           \
        expect(f, expected, sizeof(expected));                                                     \
    } while (0)

/* As a reader does it, specification 20.2.4: the length, and how many bytes it takes. */
static size_t package_length(const uint8_t *p, size_t *width)
{
    size_t length;

    *width = 1u + (p[0] >> 6);
    if (*width == 1)
        return p[0] & 0x3f;
    ck_assert_uint_eq(p[0] & 0x30, 0);
    length = p[0] & 0x0f;
    for (size_t i = 1; i < *width; i++)
        length |= (size_t)p[i] << (8 * i - 4);
    return length;
}

/* A package of `content` bytes after its length has a length of `width` bytes. */
static void check_package(size_t content, size_t width)
{
    struct fixture f;
    size_t got;

    ck_assert_uint_ge(content, 1);
    fixture_create(&f, ROOM);
    aml_package(&f.a, 0xee);
    for (size_t i = 1; i < content; i++)
        aml_integer(&f.a, 1);
    aml_end(&f.a);
    aml_integer(&f.a, 0);
    ck_assert(aml_finish(&f.a));
    ck_assert_uint_eq(f.bytes[0], 0x12);
    ck_assert_uint_eq(package_length(f.bytes + 1, &got), width + content);
    ck_assert_uint_eq(got, width);
    ck_assert_uint_eq(f.bytes[1 + width], 0xee);
    ck_assert_uint_eq(f.a.length, 1 + width + content + 1);
    fixture_destroy(&f);
}

START_TEST(package_lengths_take_the_fewest_bytes)
{
    check_package(1, 1);
    check_package(0x3f - 1, 1);
    check_package(0x3f, 2);
    check_package(0xfff - 2, 2);
    check_package(0xfff - 1, 3);
    check_package(0xfffff - 3, 3);
    check_package(0xfffff - 2, 4);
    check_package(0xfffff + 1, 4);
    check_package(16u << 20, 4);
}
END_TEST

START_TEST(inner_packages_grow_outer_ones)
{
    struct fixture f;
    size_t outer, inner, width;

    /* The inner length takes two bytes, which makes the outer one take two as well. */
    fixture_create(&f, 4096);
    aml_scope(&f.a, "AAAA");
    aml_scope(&f.a, "BBBB");
    for (unsigned i = 0; i < 60; i++)
        aml_integer(&f.a, 0);
    aml_end(&f.a);
    aml_end(&f.a);
    ck_assert(aml_finish(&f.a));
    outer = package_length(f.bytes + 1, &width);
    ck_assert_uint_eq(width, 2);
    ck_assert_uint_eq(outer, f.a.length - 1);
    ck_assert_mem_eq(f.bytes + 3, "AAAA\x10", 5);
    inner = package_length(f.bytes + 8, &width);
    ck_assert_uint_eq(width, 2);
    ck_assert_uint_eq(inner, 2 + 4 + 60);
    ck_assert_uint_eq(8 + inner, f.a.length);
    fixture_destroy(&f);
}
END_TEST

START_TEST(integers_take_the_fewest_bytes)
{
    struct fixture f;

    fixture_create(&f, 64);
    aml_integer(&f.a, 0);
    aml_integer(&f.a, 1);
    aml_integer(&f.a, 2);
    aml_integer(&f.a, 0xff);
    aml_integer(&f.a, 0x100);
    aml_integer(&f.a, 0xffff);
    aml_integer(&f.a, 0x10000);
    aml_integer(&f.a, 0xffffffff);
    aml_integer(&f.a, 0x100000000);
    EXPECT(&f, 0x00, 0x01, 0x0a, 2, 0x0a, 0xff, 0x0b, 0, 1, 0x0b, 0xff, 0xff, 0x0c, 0, 0, 1, 0,
           0x0c, 0xff, 0xff, 0xff, 0xff, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0);
    fixture_destroy(&f);
}
END_TEST

START_TEST(paths_have_segments_of_four_characters)
{
    struct fixture f;

    fixture_create(&f, 128);
    aml_path(&f.a, "A");
    aml_path(&f.a, "\\_SB.PCI0");
    aml_path(&f.a, "^^A.BC.DEFG");
    aml_path(&f.a, "\\");
    expect(&f,
           "A___\\\x2e_SB_PCI0^^\x2f\x03"
           "A___BC__DEFG\\\0",
           4 + 10 + 16 + 2);
    fixture_destroy(&f);
}
END_TEST

START_TEST(eisa_identifiers_are_compressed)
{
    struct fixture f;

    fixture_create(&f, 16);
    aml_eisa_id(&f.a, "PNP0A03");
    aml_eisa_id(&f.a, "PNP0C0F");
    EXPECT(&f, 0x0c, 0x41, 0xd0, 0x0a, 0x03, 0x0c, 0x41, 0xd0, 0x0c, 0x0f);
    fixture_destroy(&f);
}
END_TEST

START_TEST(a_resource_template_says_its_size_and_ends)
{
    struct fixture f;

    fixture_create(&f, 64);
    aml_resources(&f.a);
    aml_io(&f.a, 0x3f8, 8);
    aml_irq_edge(&f.a, 1 << 4);
    aml_resources_end(&f.a);
    EXPECT(&f, 0x11, 3 + 13, 0x0a, 13, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x22, 0x10, 0, 0x79, 0);
    fixture_destroy(&f);
}
END_TEST

START_TEST(the_mask_of_an_irq_descriptor_is_where_it_is_said_to_be)
{
    struct fixture f;

    fixture_create(&f, 64);
    aml_irq_level(&f.a, 0xa5c3);
    ck_assert_uint_eq(le16_get(f.bytes + AML_IRQ_MASK_OFFSET), 0xa5c3);
    ck_assert_uint_eq(f.a.length, 4);
    fixture_destroy(&f);
}
END_TEST

START_TEST(windows_say_first_last_and_length)
{
    struct fixture f;

    fixture_create(&f, 64);
    aml_io_window(&f.a, 0xd00, 0xffff);
    aml_memory_window(&f.a, 0x80000000, 0xfebfffff, false);
    EXPECT(&f, 0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0x0d, 0xff, 0xff, 0, 0, 0, 0xf3, /* ports */
           0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xff, 0xbf, 0xfe, 0, 0, 0, 0,
           0, 0, 0xc0, 0x7e);
    fixture_destroy(&f);
}
END_TEST

static void write_device(struct aml *a)
{
    aml_device(a, "DEV");
    aml_name_eisa_id(a, "_HID", "PNP0501");
    aml_name(a, "_CRS");
    aml_resources(a);
    aml_io(a, 0x3f8, 8);
    aml_memory32(a, 0xfed00000, 0x400, false);
    aml_resources_end(a);
    aml_end(a);
}

START_TEST(a_full_writer_writes_no_more_and_says_so)
{
    struct fixture f;
    size_t needed;

    fixture_create(&f, 64);
    write_device(&f.a);
    needed = f.a.length;
    /* Every size that is too small, so that each kind of term meets the end. */
    for (size_t size = 0; size < 64; size++) {
        memset(f.bytes, 0xaa, 64);
        aml_init(&f.a, f.bytes, size);
        write_device(&f.a);
        ck_assert_int_eq(aml_finish(&f.a), size >= needed);
        for (size_t i = size; i < 64; i++)
            ck_assert_uint_eq(f.bytes[i], 0xaa);
    }
    fixture_destroy(&f);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("acpi_aml");

    tcase_add_test(tc, package_lengths_take_the_fewest_bytes);
    tcase_add_test(tc, inner_packages_grow_outer_ones);
    tcase_add_test(tc, integers_take_the_fewest_bytes);
    tcase_add_test(tc, paths_have_segments_of_four_characters);
    tcase_add_test(tc, eisa_identifiers_are_compressed);
    tcase_add_test(tc, a_resource_template_says_its_size_and_ends);
    tcase_add_test(tc, the_mask_of_an_irq_descriptor_is_where_it_is_said_to_be);
    tcase_add_test(tc, windows_say_first_last_and_length);
    tcase_add_test(tc, a_full_writer_writes_no_more_and_says_so);
    return run_suite("acpi_aml", tc);
}
