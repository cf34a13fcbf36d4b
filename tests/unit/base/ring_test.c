#include "base/ring.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static void push_numbers(struct ring *r, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        memcpy(ring_push(r), &i, sizeof(i));
}

START_TEST(the_capacity_is_rounded_up_to_a_power_of_two)
{
    struct ring r;

    ring_init(&r, 8, 5);
    ck_assert_uint_eq(r.capacity, 8);
    ring_destroy(&r);
    ring_init(&r, 8, 8);
    ck_assert_uint_eq(r.capacity, 8);
    ring_destroy(&r);
}
END_TEST

START_TEST(an_empty_ring_holds_no_record)
{
    struct ring r;

    ring_init(&r, 8, 4);
    ck_assert_uint_eq(ring_oldest(&r), 0);
    ck_assert_ptr_null(ring_at(&r, 0));
    ring_destroy(&r);
}
END_TEST

START_TEST(records_keep_their_numbers)
{
    struct ring r;

    ring_init(&r, sizeof(uint64_t), 4);
    push_numbers(&r, 3);
    for (uint64_t i = 0; i < 3; i++)
        ck_assert_uint_eq(*(const uint64_t *)ring_at(&r, i), i);
    ck_assert_ptr_null(ring_at(&r, 3));
    ring_destroy(&r);
}
END_TEST

START_TEST(a_full_ring_overwrites_the_oldest_record)
{
    struct ring r;

    ring_init(&r, sizeof(uint64_t), 4);
    push_numbers(&r, 11);
    ck_assert_uint_eq(ring_oldest(&r), 7);
    ck_assert_ptr_null(ring_at(&r, 6));
    for (uint64_t i = 7; i < 11; i++)
        ck_assert_uint_eq(*(const uint64_t *)ring_at(&r, i), i);
    ring_destroy(&r);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("ring");

    tcase_add_test(tc, the_capacity_is_rounded_up_to_a_power_of_two);
    tcase_add_test(tc, an_empty_ring_holds_no_record);
    tcase_add_test(tc, records_keep_their_numbers);
    tcase_add_test(tc, a_full_ring_overwrites_the_oldest_record);
    return run_suite("ring", tc);
}
