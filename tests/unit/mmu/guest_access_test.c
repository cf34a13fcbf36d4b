#include "mmu/guest_access.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>

static _Alignas(8) uint8_t memory[64];

START_TEST(values_lie_little_endian_at_any_alignment)
{
    for (unsigned at = 0; at < 9; at++) {
        guest_store64(memory + at, 0x1122334455667788);
        ck_assert_uint_eq(memory[at], 0x88);
        ck_assert_uint_eq(memory[at + 7], 0x11);
        ck_assert_uint_eq(guest_load64(memory + at), 0x1122334455667788);
        ck_assert_uint_eq(guest_load32(memory + at), 0x55667788);
        ck_assert_uint_eq(guest_load16(memory + at), 0x7788);
        ck_assert_uint_eq(guest_load8(memory + at), 0x88);
    }
}
END_TEST

START_TEST(a_store_changes_exactly_its_size)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        memset(memory, 0xee, sizeof(memory));
        guest_store(memory + 3, 0, size);
        ck_assert_uint_eq(memory[2], 0xee);
        ck_assert_uint_eq(memory[3], 0);
        ck_assert_uint_eq(memory[3 + size - 1], 0);
        ck_assert_uint_eq(memory[3 + size], 0xee);
        ck_assert_uint_eq(guest_load(memory + 3, size), 0);
    }
}
END_TEST

START_TEST(a_compare_exchange_stores_only_on_a_match)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        uint64_t expected = 0x21;

        guest_store64(memory, 0x42);
        ck_assert(!guest_cas(memory, size, &expected, 7));
        ck_assert_uint_eq(expected, 0x42);
        ck_assert(guest_cas(memory, size, &expected, 7));
        ck_assert_uint_eq(guest_load64(memory), 7);
    }
}
END_TEST

START_TEST(copies_keep_every_byte_at_any_alignment)
{
    uint8_t in[40], out[40];

    for (unsigned i = 0; i < sizeof(in); i++)
        in[i] = (uint8_t)(i + 1);
    for (unsigned at = 0; at < 8; at++) {
        for (unsigned length = 0; length <= 40; length++) {
            memset(memory, 0, sizeof(memory));
            memset(out, 0, sizeof(out));
            guest_copy_in(memory + 8 + at, in, length);
            ck_assert_uint_eq(memory[8 + at + length], 0);
            ck_assert_uint_eq(memory[8 + at - 1], 0);
            guest_copy_out(out, memory + 8 + at, length);
            ck_assert(length == 0 || memcmp(in, out, length) == 0);
        }
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("guest_access");

    tcase_add_test(tc, values_lie_little_endian_at_any_alignment);
    tcase_add_test(tc, a_store_changes_exactly_its_size);
    tcase_add_test(tc, a_compare_exchange_stores_only_on_a_match);
    tcase_add_test(tc, copies_keep_every_byte_at_any_alignment);
    return run_suite("guest_access", tc);
}
