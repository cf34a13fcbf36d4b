/* Sets of vCPUs of a frame, in one word and in several. */
#include "mmu/frame_set.h"
#include "tests/unit/run_suite.h"

#include <check.h>

#define PAGE(n) mpa((n)*PAGE_SIZE)

static struct machine_memory *memory;

/* Memory of a machine whose highest vCPU has that number. */
static void create(unsigned last)
{
    memory = machine_memory_create(16 * PAGE_SIZE, NULL);
    ck_assert_ptr_nonnull(memory);
    ck_assert(machine_memory_add(memory, mpa(0), 16 * PAGE_SIZE, FRAME_RAM, NULL));
    machine_memory_reserve_vcpu(memory, last);
    memory->context_end = last + 1;
}

static void teardown(void)
{
    machine_memory_destroy(memory);
}

static bool has_others(unsigned but)
{
    return frame_set_has_others(memory, PAGE(3), FRAME_CONSUMERS, but);
}

static unsigned next(unsigned from)
{
    return frame_set_next(memory, PAGE(3), FRAME_CONSUMERS, from);
}

static const unsigned lasts[] = {0, 1, 63, 64, 127, 128, 300, MACHINE_VCPU_MAX - 1};

START_TEST(each_is_found_alone)
{
    unsigned last = lasts[_i];

    create(last);
    for (unsigned n = 0; n <= last; n++) {
        ck_assert(!has_others(FRAME_SET_END));
        ck_assert_uint_eq(next(0), FRAME_SET_END);
        frame_set_add(memory, PAGE(3), FRAME_CONSUMERS, n);
        for (unsigned k = 0; k <= last; k++)
            ck_assert_int_eq(frame_set_has(memory, PAGE(3), FRAME_CONSUMERS, k), k == n);
        ck_assert_uint_eq(next(0), n);
        ck_assert_uint_eq(next(n), n);
        ck_assert_uint_eq(next(n + 1), FRAME_SET_END);
        ck_assert(!has_others(n));
        ck_assert(has_others(FRAME_SET_END));
        ck_assert(has_others(n + 1));
        frame_set_remove(memory, PAGE(3), FRAME_CONSUMERS, n);
    }
}
END_TEST

START_TEST(all_are_found_in_order)
{
    unsigned last = lasts[_i];

    create(last);
    for (unsigned n = 0; n <= last; n++)
        frame_set_add(memory, PAGE(3), FRAME_CONSUMERS, n);
    for (unsigned n = 0; n < last; n++)
        ck_assert_uint_eq(next(n + 1), n + 1);
    ck_assert_uint_eq(next(last + 1), FRAME_SET_END);
    for (unsigned n = 0; n <= last; n++)
        ck_assert_int_eq(has_others(n), last > 0);
    for (unsigned n = 0; n < last; n++) {
        frame_set_remove(memory, PAGE(3), FRAME_CONSUMERS, n);
        ck_assert_uint_eq(next(0), n + 1);
    }
    ck_assert(!has_others(last));
}
END_TEST

START_TEST(frames_and_sets_are_apart)
{
    unsigned last = lasts[_i];

    create(last);
    frame_set_add(memory, PAGE(3), FRAME_HOLDERS, last);
    frame_set_add(memory, PAGE(4), FRAME_CONSUMERS, last);
    ck_assert_uint_eq(next(0), FRAME_SET_END);
    ck_assert(!frame_set_has(memory, PAGE(3), FRAME_DECODERS, last));
    ck_assert(!frame_set_has(memory, PAGE(4), FRAME_HOLDERS, last));
    ck_assert(frame_set_has(memory, PAGE(3), FRAME_HOLDERS, last));
}
END_TEST

/* Only a machine that has such vCPUs pays for them. */
START_TEST(words_of_the_others_exist_where_there_are_others)
{
    create(lasts[_i]);
    ck_assert_int_eq(memory->far != NULL, lasts[_i] >= 64);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("frame_set");

    tcase_add_checked_fixture(tc, NULL, teardown);
    tcase_add_loop_test(tc, each_is_found_alone, 0, ARRAY_SIZE(lasts));
    tcase_add_loop_test(tc, all_are_found_in_order, 0, ARRAY_SIZE(lasts));
    tcase_add_loop_test(tc, frames_and_sets_are_apart, 0, ARRAY_SIZE(lasts));
    tcase_add_loop_test(tc, words_of_the_others_exist_where_there_are_others, 0, ARRAY_SIZE(lasts));
    return run_suite("frame_set", tc);
}
