/* Names of addresses from System.map and ELF files, good and bad ones. */
#include "machine/symbols.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct symbols *parse(const char *text)
{
    struct error err = {0};
    struct symbols *s = symbols_parse("map", text, strlen(text), &err);

    ck_assert_msg(s != NULL, "%s", err.text);
    return s;
}

static const char *name(const struct symbols *s, uint64_t address)
{
    static char text[64];

    return symbols_text(s, address, text, sizeof(text));
}

static const char map[] = "0000000000000000 D per_cpu_start\n"
                          "ffffffff81000000 T _text\n"
                          "ffffffff81000200 t helper\n"
                          "ffffffff81000100 T startup_64\n"
                          "0000000000012345 A absolute\n"
                          "ffffffff82000000 d [module] data\n";

START_TEST(an_address_gets_the_symbol_before_it_and_the_distance)
{
    struct symbols *s = parse(map);

    ck_assert_str_eq(name(s, 0xffffffff81000000), "_text+0");
    ck_assert_str_eq(name(s, 0xffffffff810000ff), "_text+0xff");
    ck_assert_str_eq(name(s, 0xffffffff81000100), "startup_64+0");
    ck_assert_str_eq(name(s, 0xffffffff81000234), "helper+0x34");
    ck_assert_uint_eq(symbols_count(s), 5);
    symbols_destroy(s);
}
END_TEST

START_TEST(a_symbol_far_away_is_no_name)
{
    struct symbols *s = parse(map);

    ck_assert_str_eq(name(s, 0x12345), "per_cpu_start+0x12345"); /* not the absolute one */
    ck_assert_str_eq(name(s, 0x7f0000000000), "");
    ck_assert_str_eq(name(s, 0xffffffff80ffffff), "");
    ck_assert_str_eq(name(NULL, 0xffffffff81000000), "");
    symbols_destroy(s);
}
END_TEST

START_TEST(text_that_is_no_map_is_refused_by_name)
{
    static const char *const texts[] = {"",
                                        "hello\n",
                                        "ffffffff81000000\n",
                                        "12 T\n",
                                        "\n\n\n",
                                        "ffffffff81000000 T _text\nand then nonsense\n",
                                        "0000000000012345 A only_absolute\n"};

    for (size_t n = 0; n < sizeof(texts) / sizeof(texts[0]); n++) {
        struct error err = {0};

        ck_assert_ptr_null(symbols_parse("my.map", texts[n], strlen(texts[n]), &err));
        ck_assert_ptr_nonnull(strstr(err.text, "my.map"));
    }
}
END_TEST

/* An ELF file of a null section, a symbol table and its strings. */
struct elf {
    uint8_t header[64];
    uint8_t sections[3][64];
    uint8_t symbols[4][24];
    char strings[32];
};

static void put(uint8_t *at, uint64_t value, unsigned size)
{
    for (unsigned n = 0; n < size; n++)
        at[n] = (uint8_t)(value >> 8 * n);
}

static void put_symbol(uint8_t *at, unsigned string, unsigned type, unsigned section,
                       uint64_t value)
{
    put(at, string, 4);
    at[4] = (uint8_t)type;
    put(at + 6, section, 2);
    put(at + 8, value, 8);
}

static struct elf make_elf(void)
{
    struct elf e;

    memset(&e, 0, sizeof(e));
    memcpy(e.header, "\177ELF\2\1\1", 7);
    put(e.header + 40, offsetof(struct elf, sections), 8);
    put(e.header + 58, 64, 2);
    put(e.header + 60, 3, 2);
    put(e.sections[1] + 4, 2, 4); /* SHT_SYMTAB */
    put(e.sections[1] + 24, offsetof(struct elf, symbols), 8);
    put(e.sections[1] + 32, sizeof(e.symbols), 8);
    put(e.sections[1] + 40, 2, 4);
    put(e.sections[2] + 24, offsetof(struct elf, strings), 8);
    put(e.sections[2] + 32, sizeof(e.strings), 8);
    memcpy(e.strings, "\0main\0table\0file.c", 19);
    put_symbol(e.symbols[1], 1, 0x12, 1, 0x401000);  /* global function main */
    put_symbol(e.symbols[2], 6, 0x01, 1, 0x402000);  /* local object table */
    put_symbol(e.symbols[3], 12, 0x04, 1, 0x400000); /* a file name */
    return e;
}

START_TEST(functions_and_objects_of_an_elf_file_are_names)
{
    struct elf e = make_elf();
    struct error err = {0};
    struct symbols *s = symbols_parse("vmlinux", &e, sizeof(e), &err);

    ck_assert_msg(s != NULL, "%s", err.text);
    ck_assert_uint_eq(symbols_count(s), 2);
    ck_assert_str_eq(name(s, 0x401010), "main+0x10");
    ck_assert_str_eq(name(s, 0x402000), "table+0");
    symbols_destroy(s);
}
END_TEST

START_TEST(a_damaged_elf_file_is_an_error_or_has_fewer_names)
{
    for (size_t n = 0; n < 8 * sizeof(struct elf); n++) {
        struct elf e = make_elf();
        uint8_t *copy = malloc(sizeof(e));
        struct error err = {0};
        struct symbols *s;

        memcpy(copy, &e, sizeof(e));
        copy[n / 8] ^= (uint8_t)(1 << n % 8);
        s = symbols_parse("vmlinux", copy, sizeof(e), &err);
        ck_assert(s != NULL || err.set);
        symbols_destroy(s);
        memcpy(copy, &e, sizeof(e));
        err = (struct error){0};
        s = symbols_parse("vmlinux", copy, n / 8, &err); /* cut short */
        ck_assert(s != NULL || err.set);
        symbols_destroy(s);
        free(copy);
    }
}
END_TEST

START_TEST(a_file_that_is_not_there_is_an_error)
{
    struct error err = {0};

    ck_assert_ptr_null(symbols_read("/nonexistent/System.map", &err));
    ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/System.map"));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("symbols");

    tcase_add_test(tc, an_address_gets_the_symbol_before_it_and_the_distance);
    tcase_add_test(tc, a_symbol_far_away_is_no_name);
    tcase_add_test(tc, text_that_is_no_map_is_refused_by_name);
    tcase_add_test(tc, functions_and_objects_of_an_elf_file_are_names);
    tcase_add_test(tc, a_damaged_elf_file_is_an_error_or_has_fewer_names);
    tcase_add_test(tc, a_file_that_is_not_there_is_an_error);
    return run_suite("symbols", tc);
}
