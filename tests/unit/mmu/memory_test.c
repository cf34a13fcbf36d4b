#include "mmu/memory.h"

#include "mmu/guest_access.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)

/* 8 MiB: RAM up to 3 MiB, a hole, ROM at 4 MiB, RAM at 6 MiB. */
static struct machine_memory *create(void)
{
    struct machine_memory *m = machine_memory_create(8 * MIB, NULL);

    ck_assert(machine_memory_add(m, mpa(0), 3 * MIB, FRAME_RAM, NULL));
    ck_assert(machine_memory_add(m, mpa(6 * MIB), 2 * MIB, FRAME_RAM, NULL));
    ck_assert(machine_memory_add(m, mpa(4 * MIB), MIB, FRAME_ROM, NULL));
    return m;
}

static void poke(struct machine_memory *m, uint64_t address, uint64_t value)
{
    guest_store64(machine_memory_host(m, mpa(address)), value);
}

static uint64_t peek(const struct machine_memory *m, uint64_t address)
{
    return guest_load64(machine_memory_host(m, mpa(address)));
}

START_TEST(new_memory_is_all_holes)
{
    struct machine_memory *m = machine_memory_create(MIB, NULL);

    ck_assert_int_eq(machine_memory_kind(m, mpa(0)), FRAME_HOLE);
    ck_assert(!machine_memory_contains(m, mpa(0), 1));
    ck_assert(machine_memory_contains(m, mpa(0), 0));
    ck_assert_uint_eq(m->ram_size, 0);
    machine_memory_destroy(m);
}
END_TEST

START_TEST(a_size_that_is_not_whole_pages_is_refused)
{
    struct error err = {0};

    ck_assert_ptr_null(machine_memory_create(4097, &err));
    ck_assert(err.set);
    ck_assert_ptr_null(machine_memory_create(0, NULL));
}
END_TEST

START_TEST(each_frame_knows_its_kind)
{
    struct machine_memory *m = create();

    ck_assert_int_eq(machine_memory_kind(m, mpa(3 * MIB - 1)), FRAME_RAM);
    ck_assert_int_eq(machine_memory_kind(m, mpa(3 * MIB)), FRAME_HOLE);
    ck_assert_int_eq(machine_memory_kind(m, mpa(4 * MIB)), FRAME_ROM);
    ck_assert_int_eq(machine_memory_kind(m, mpa(8 * MIB)), FRAME_HOLE);
    ck_assert_int_eq(machine_memory_kind(m, mpa(UINT64_MAX)), FRAME_HOLE);
    ck_assert_uint_eq(m->ram_size, 5 * MIB);
    machine_memory_destroy(m);
}
END_TEST

START_TEST(ranges_that_overlap_or_stick_out_are_refused)
{
    struct machine_memory *m = create();
    struct error err = {0};

    ck_assert(!machine_memory_add(m, mpa(2 * MIB), MIB, FRAME_RAM, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "overlaps"));
    ck_assert(!machine_memory_add(m, mpa(3 * MIB), 2 * MIB, FRAME_RAM, NULL));
    ck_assert(!machine_memory_add(m, mpa(7 * MIB), 2 * MIB, FRAME_RAM, NULL));
    ck_assert(!machine_memory_add(m, mpa(3 * MIB), 100, FRAME_RAM, NULL));
    ck_assert(!machine_memory_add(m, mpa(5 * MIB), 0, FRAME_RAM, NULL));
    ck_assert(!machine_memory_add(m, mpa(5 * MIB), UINT64_MAX & PAGE_MASK, FRAME_RAM, NULL));
    ck_assert(machine_memory_add(m, mpa(5 * MIB), MIB, FRAME_RAM, NULL));
    machine_memory_destroy(m);
}
END_TEST

START_TEST(contains_spans_adjacent_ranges_but_no_hole)
{
    struct machine_memory *m = create();

    ck_assert(machine_memory_add(m, mpa(5 * MIB), MIB, FRAME_RAM, NULL));
    ck_assert(machine_memory_contains(m, mpa(4 * MIB + 5), 4 * MIB - 5));
    ck_assert(!machine_memory_contains(m, mpa(4 * MIB + 5), 4 * MIB - 4));
    ck_assert(!machine_memory_contains(m, mpa(3 * MIB - 1), 2));
    ck_assert(!machine_memory_contains(m, mpa(4 * MIB - 1), 2));
    ck_assert(!machine_memory_contains(m, mpa(1), UINT64_MAX));
    machine_memory_destroy(m);
}
END_TEST

START_TEST(equal_contents_hash_equal)
{
    struct machine_memory *a = create(), *b = create();

    poke(a, 0x1238, 77);
    poke(b, 0x1238, 77);
    poke(b, 2 * MIB, 1); /* touched, then zero again */
    poke(b, 2 * MIB, 0);
    ck_assert_uint_eq(machine_memory_hash(a), machine_memory_hash(b));
    machine_memory_destroy(a);
    machine_memory_destroy(b);
}
END_TEST

START_TEST(the_hash_sees_value_and_place_of_ram_only)
{
    struct machine_memory *m = create();
    uint64_t empty = machine_memory_hash(m), one, two;

    poke(m, 0x1000, 1);
    one = machine_memory_hash(m);
    poke(m, 0x1000, 0);
    poke(m, 0x2000, 1);
    two = machine_memory_hash(m);
    ck_assert_uint_ne(empty, one);
    ck_assert_uint_ne(one, two);
    poke(m, 4 * MIB, 5);
    ck_assert_uint_eq(machine_memory_hash(m), two);
    poke(m, 0x2000, 0);
    ck_assert_uint_eq(machine_memory_hash(m), empty);
    machine_memory_destroy(m);
}
END_TEST

START_TEST(the_hash_is_the_same_on_every_host)
{
    struct machine_memory *m = machine_memory_create(MIB, NULL);

    ck_assert(machine_memory_add(m, mpa(0), MIB, FRAME_RAM, NULL));
    poke(m, 0, 0x0123456789abcdef);
    poke(m, MIB - 8, 42);
    ck_assert_uint_eq(machine_memory_hash(m), 14974608721171910559u);
    machine_memory_destroy(m);
}
END_TEST

START_TEST(a_saved_memory_loads_ram_and_rom)
{
    struct machine_memory *a = create(), *b = create();
    struct state *save = state_create_saving(), *load;
    size_t length;
    const void *bytes;

    poke(a, 0x3000, 0xfeed);
    poke(a, 4 * MIB + 16, 0xbeef);
    poke(b, 0x5000, 1); /* must be zero after the load */
    machine_memory_serialize(a, save);
    ck_assert(state_finish(save, NULL));
    bytes = state_data(save, &length);
    ck_assert_uint_lt(length, 3 * PAGE_SIZE);
    load = state_create_loading(bytes, length);
    machine_memory_serialize(b, load);
    ck_assert(state_finish(load, NULL));
    ck_assert_uint_eq(peek(b, 0x3000), 0xfeed);
    ck_assert_uint_eq(peek(b, 4 * MIB + 16), 0xbeef);
    ck_assert_uint_eq(peek(b, 0x5000), 0);
    state_destroy(load);
    state_destroy(save);
    machine_memory_destroy(a);
    machine_memory_destroy(b);
}
END_TEST

static bool load_fails(struct machine_memory *m, const void *bytes, size_t length)
{
    struct state *load = state_create_loading(bytes, length);
    bool failed;

    machine_memory_serialize(m, load);
    failed = !state_finish(load, NULL);
    state_destroy(load);
    return failed;
}

START_TEST(another_layout_or_a_bad_page_number_does_not_load)
{
    struct machine_memory *a = create(), *b = machine_memory_create(8 * MIB, NULL);
    struct state *save = state_create_saving();
    size_t length;
    uint8_t *bytes;

    poke(a, 0, 1);
    machine_memory_serialize(a, save);
    state_data(save, &length);
    bytes = malloc(length);
    memcpy(bytes, state_data(save, &length), length);
    ck_assert(!load_fails(a, bytes, length));
    ck_assert(load_fails(b, bytes, length));
    ck_assert(load_fails(a, bytes, length - 9));
    bytes[length - 8 - PAGE_SIZE - 8 + 2] = 0x0f; /* a page far outside */
    ck_assert(load_fails(a, bytes, length));
    free(bytes);
    state_destroy(save);
    machine_memory_destroy(a);
    machine_memory_destroy(b);
}
END_TEST

START_TEST(the_first_write_clears_the_dirty_watch_and_no_other)
{
    struct machine_memory *m = create();
    struct frame *f = machine_memory_frame(m, mpa(0x1000));

    atomic_store(&f->watch, FRAME_WATCH_CODE | FRAME_WATCH_DIRTY);
    machine_memory_prepare_write(m, mpa(0x1010));
    ck_assert_uint_eq(atomic_load(&f->watch), FRAME_WATCH_CODE);
    machine_memory_destroy(m);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("memory");

    tcase_add_test(tc, new_memory_is_all_holes);
    tcase_add_test(tc, a_size_that_is_not_whole_pages_is_refused);
    tcase_add_test(tc, each_frame_knows_its_kind);
    tcase_add_test(tc, ranges_that_overlap_or_stick_out_are_refused);
    tcase_add_test(tc, contains_spans_adjacent_ranges_but_no_hole);
    tcase_add_test(tc, equal_contents_hash_equal);
    tcase_add_test(tc, the_hash_sees_value_and_place_of_ram_only);
    tcase_add_test(tc, the_hash_is_the_same_on_every_host);
    tcase_add_test(tc, a_saved_memory_loads_ram_and_rom);
    tcase_add_test(tc, another_layout_or_a_bad_page_number_does_not_load);
    tcase_add_test(tc, the_first_write_clears_the_dirty_watch_and_no_other);
    return run_suite("memory", tc);
}
