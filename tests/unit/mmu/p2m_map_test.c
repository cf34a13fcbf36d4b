/*
 * The map from guest physical pages to machine frames by itself: what its functions take and
 * answer, and what is saved. What a change does to those who have derived something is in
 * p2m_test.c.
 */
#include "coherency_rig.h"
#include "mmu/p2m.h"
#include "tests/unit/run_suite.h"

static const uint64_t ram_pages = RIG_RAM / PAGE_SIZE, rom_pages = 0x10000 / PAGE_SIZE;

START_TEST(an_empty_map_has_nothing)
{
    struct p2m *p = p2m_create(r.memory, 0x5000, NULL);
    mpa_t at;

    for (uint64_t a = 0; a < 0x8000; a += 0x800) {
        ck_assert(!p2m_find(p, gpa(a), &at));
        ck_assert_uint_eq(at.v, a);
    }
    ck_assert(!p2m_find(p, gpa(UINT64_MAX), &at));
    ck_assert_uint_eq(p2m_moved_count(p), ram_pages + rom_pages);
    p2m_destroy(p);
    p2m_destroy(NULL);
}
END_TEST

START_TEST(a_bare_map_is_the_address_itself)
{
    mpa_t at;

    ck_assert(p2m_find(NULL, gpa(0xfffffffff123), &at));
    ck_assert_uint_eq(at.v, 0xfffffffff123);
    ck_assert_ptr_null(bus_p2m(r.bus));
}
END_TEST

START_TEST(sizes_that_are_none_are_refused)
{
    static const uint64_t sizes[] = {0, 1, 0xfff, 0x1001, MEMORY_SIZE_LIMIT + 0x1000, UINT64_MAX};
    struct error err = {0};

    for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
        ck_assert_ptr_null(p2m_create(r.memory, sizes[n], &err));
        ck_assert_ptr_nonnull(strstr(err.text, "4 KiB"));
    }
}
END_TEST

START_TEST(the_identity_map_has_memory_at_home_and_no_holes)
{
    struct p2m *p = p2m_create_identity(r.memory);
    mpa_t at;

    ck_assert_uint_eq(p2m_moved_count(p), 0);
    for (uint64_t a = 0x345; a < RIG_END; a += PAGE_SIZE) {
        bool memory = machine_memory_kind(r.memory, mpa(a)) != FRAME_HOLE;

        ck_assert_int_eq(p2m_find(p, gpa(a), &at), memory);
        ck_assert_uint_eq(at.v, a);
    }
    p2m_destroy(p);
}
END_TEST

START_TEST(pages_are_set_moved_and_removed)
{
    struct p2m *p = p2m_create_identity(r.memory);
    mpa_t at;

    ck_assert(p2m_set(p, gpa(0x3000), mpa(0x7000), NULL));
    ck_assert(p2m_find(p, gpa(0x3fff), &at));
    ck_assert_uint_eq(at.v, 0x7fff);
    ck_assert_uint_eq(p2m_moved_count(p), 1);
    ck_assert(p2m_set(p, gpa(0x4000), mpa(0x7000), NULL)); /* a second page of the frame */
    ck_assert_uint_eq(p2m_moved_count(p), 2);
    ck_assert(p2m_set(p, gpa(0x4000), mpa(RIG_ROM), NULL));
    ck_assert(p2m_remove(p, gpa(0x3000), NULL));
    ck_assert(!p2m_find(p, gpa(0x3000), &at));
    ck_assert(p2m_remove(p, gpa(RIG_HOLE), NULL)); /* it was absent */
    ck_assert_uint_eq(p2m_moved_count(p), 2);
    ck_assert(p2m_set(p, gpa(RIG_HOLE), mpa(0x3000), NULL));
    ck_assert_uint_eq(p2m_moved_count(p), 3);
    ck_assert(p2m_set(p, gpa(0x3000), mpa(0x3000), NULL));
    ck_assert(p2m_set(p, gpa(0x4000), mpa(0x4000), NULL));
    ck_assert(p2m_remove(p, gpa(RIG_HOLE), NULL));
    ck_assert_uint_eq(p2m_moved_count(p), 0);
    p2m_destroy(p);
}
END_TEST

START_TEST(what_is_no_page_or_no_frame_is_refused)
{
    static const struct {
        uint64_t page, frame;
    } bad[] = {
        {0x1001, 0},
        {RIG_END, 0},
        {UINT64_MAX & PAGE_MASK, 0},
        {0, 1},
        {0, RIG_HOLE},
        {0, RIG_END},
        {0, UINT64_MAX & PAGE_MASK},
        {0, RIG_IO},
        {BIT64(63), BIT64(63)},
    };
    struct p2m *p = p2m_create_identity(r.memory);

    bus_set_p2m(r.bus, p);
    for (unsigned n = 0; n < ARRAY_SIZE(bad); n++) {
        struct error err = {0};

        ck_assert(!p2m_set(p, gpa(bad[n].page), mpa(bad[n].frame), &err));
        ck_assert_ptr_nonnull(strstr(err.text, "address"));
        ck_assert(bad[n].page == 0 || !p2m_remove(p, gpa(bad[n].page), &err));
    }
    ck_assert_uint_eq(p2m_moved_count(p), 0);
    ck_assert_uint_eq(p->changes, 0);
}
END_TEST

START_TEST(a_scattered_map_is_a_permutation_that_the_seed_decides)
{
    struct p2m *a = p2m_create_scattered(r.memory, 1), *b = p2m_create_scattered(r.memory, 1);
    struct p2m *c = p2m_create_scattered(r.memory, 2);
    uint8_t *seen = calloc(ram_pages, 1);
    uint64_t same = 0;
    mpa_t in_a, in_b, in_c;

    for (uint64_t page = 0; page < RIG_RAM; page += PAGE_SIZE) {
        ck_assert(p2m_find(a, gpa(page), &in_a) && p2m_find(b, gpa(page), &in_b) &&
                  p2m_find(c, gpa(page), &in_c));
        ck_assert_uint_eq(in_a.v, in_b.v);
        ck_assert_int_eq(machine_memory_kind(r.memory, in_a), FRAME_RAM);
        ck_assert_uint_eq(seen[mpa_frame(in_a)]++, 0);
        same += in_a.v == in_c.v;
    }
    ck_assert_uint_lt(same, 50);
    ck_assert_uint_gt(p2m_moved_count(a), ram_pages - 50);
    ck_assert(p2m_find(a, gpa(RIG_ROM), &in_a));
    ck_assert_uint_eq(in_a.v, RIG_ROM);
    free(seen);
    p2m_destroy(a);
    p2m_destroy(b);
    p2m_destroy(c);
}
END_TEST

static struct state *saved(struct p2m *p)
{
    struct state *s = state_create_saving();

    p2m_serialize(p, s);
    return s;
}

static bool loads(struct p2m *p, const void *bytes, size_t length)
{
    struct state *s = state_create_loading(bytes, length);
    struct error err = {0};
    bool ok;

    p2m_serialize(p, s);
    ok = state_finish(s, &err);
    state_destroy(s);
    return ok;
}

START_TEST(a_map_is_saved_and_loaded)
{
    struct p2m *a = p2m_create_scattered(r.memory, 3), *b = p2m_create_identity(r.memory);
    struct p2m *small = p2m_create(r.memory, 0x5000, NULL);
    struct state *s;
    const void *bytes;
    size_t length;
    mpa_t in_a, in_b;

    ck_assert(p2m_remove(a, gpa(0x9000), NULL));
    s = saved(a);
    bytes = state_data(s, &length);
    ck_assert(p2m_set(b, gpa(RIG_HOLE), mpa(0), NULL)); /* is not in the other */
    ck_assert(loads(b, bytes, length));
    ck_assert_uint_eq(p2m_moved_count(a), p2m_moved_count(b));
    for (uint64_t page = 0; page < RIG_END; page += PAGE_SIZE) {
        ck_assert_int_eq(p2m_find(a, gpa(page), &in_a), p2m_find(b, gpa(page), &in_b));
        ck_assert_uint_eq(in_a.v, in_b.v);
    }
    ck_assert(!loads(small, bytes, length));
    ck_assert(!loads(b, bytes, length - 9));
    state_destroy(s);
    p2m_destroy(a);
    p2m_destroy(b);
    p2m_destroy(small);
}
END_TEST

START_TEST(a_damaged_map_leads_nowhere_else)
{
    struct p2m *p = p2m_create(r.memory, 0x8000, NULL);
    struct state *s;
    const void *bytes;
    uint8_t *broken;
    size_t length;
    unsigned refused = 0;
    mpa_t at;

    for (uint64_t page = 0; page < 0x6000; page += 0x1000)
        ck_assert(p2m_set(p, gpa(page), mpa(0x5000 - page), NULL));
    s = saved(p);
    bytes = state_data(s, &length);
    broken = malloc(length);
    for (size_t n = 0; n < length * 8; n++) {
        memcpy(broken, bytes, length);
        broken[n / 8] ^= (uint8_t)BIT(n % 8);
        refused += !loads(p, broken, length);
        for (uint64_t page = 0; page < 0x8000; page += PAGE_SIZE)
            if (p2m_find(p, gpa(page), &at))
                ck_assert(machine_memory_kind(r.memory, at) != FRAME_HOLE);
    }
    ck_assert_uint_gt(refused, length * 4);
    free(broken);
    state_destroy(s);
    p2m_destroy(p);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("p2m_map");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_empty_map_has_nothing);
    tcase_add_test(tc, a_bare_map_is_the_address_itself);
    tcase_add_test(tc, sizes_that_are_none_are_refused);
    tcase_add_test(tc, the_identity_map_has_memory_at_home_and_no_holes);
    tcase_add_test(tc, pages_are_set_moved_and_removed);
    tcase_add_test(tc, what_is_no_page_or_no_frame_is_refused);
    tcase_add_test(tc, a_scattered_map_is_a_permutation_that_the_seed_decides);
    tcase_add_test(tc, a_map_is_saved_and_loaded);
    tcase_add_test(tc, a_damaged_map_leads_nowhere_else);
    return run_suite("p2m_map", tc);
}
