/* Listings of mappings and of the TLB: complete, without effects, and with an end on any tables. */
#include "mmu/inspect.h"

#include "base/random.h"
#include "mmu/events.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <stdio.h>

static struct rig r;
static struct mmu_context *const m = &r.m;

static void setup(void)
{
    ck_assert(rig_create(&r));
    rig_long_mode(&r, m);
}

static void teardown(void)
{
    rig_destroy(&r);
}

#define MAPPINGS_MAX 65536

static struct mmu_mapping mappings[MAPPINGS_MAX];
static unsigned mapping_count;

/* Lists everything into `mappings`; answers how many walks that took. */
static uint64_t list(const struct mmu_context *context, uint64_t first, uint64_t last,
                     uint64_t budget, struct mmu_maps *s)
{
    mmu_maps_begin(s, context, first, last, budget);
    mapping_count = 0;
    while (mapping_count < MAPPINGS_MAX && mmu_maps_next(s, &mappings[mapping_count]))
        mapping_count++;
    return budget - s->budget;
}

/* --- What is listed --- */

START_TEST(pages_become_ranges)
{
    struct mmu_maps s;

    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    rig_map(&r, 0x2000, 0x402000, RIG_RWU);
    rig_map(&r, 0x3000, 0x600000, RIG_RWU);
    rig_map(&r, 0x4000, 0x403000, 1);
    rig_poke(&r, RIG_PD + 16, 0x800000 | 0x80 | RIG_RWU); /* 2 MiB at 4 MiB */
    list(m, 0, UINT64_MAX, 100000, &s);
    ck_assert(s.finished);
    ck_assert_uint_eq(mapping_count, 3);
    ck_assert_uint_eq(mappings[0].first, 0x1000);
    ck_assert_uint_eq(mappings[0].last, 0x3fff);
    ck_assert_uint_eq(mappings[0].gpa.v, 0x401000);
    ck_assert(!mappings[0].linear);
    ck_assert_uint_eq(mappings[0].rights, WALK_WRITABLE | WALK_USER | WALK_EXECUTABLE);
    ck_assert_uint_eq(mappings[1].first, 0x4000);
    ck_assert_uint_eq(mappings[1].rights, WALK_EXECUTABLE);
    ck_assert(mappings[1].linear);
    ck_assert_uint_eq(mappings[2].first, 0x400000);
    ck_assert_uint_eq(mappings[2].last, 0x5fffff);
    ck_assert_uint_eq(mappings[2].shift, 21);
}
END_TEST

START_TEST(ranges_split_where_physical_addresses_do_not_follow)
{
    struct mmu_maps s;
    struct mmu_mapping map;

    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    rig_map(&r, 0x2000, 0x402000, RIG_RWU);
    rig_map(&r, 0x3000, 0x600000, RIG_RWU);
    mmu_maps_begin(&s, m, 0, UINT64_MAX, 100000);
    s.split_physical = true;
    ck_assert(mmu_maps_next(&s, &map));
    ck_assert_uint_eq(map.last, 0x2fff);
    ck_assert(mmu_maps_next(&s, &map));
    ck_assert_uint_eq(map.first, 0x3000);
    ck_assert(!mmu_maps_next(&s, &map));
}
END_TEST

START_TEST(the_upper_half_is_reached)
{
    struct mmu_maps s;

    rig_poke(&r, RIG_PML4 + 8 * 511, RIG_PDPT | 3);
    rig_poke(&r, RIG_PDPT + 8 * 511, 0x83); /* the last GiB */
    list(m, 0x8000000000, UINT64_MAX, 100000, &s);
    ck_assert(s.finished);
    ck_assert_uint_eq(mappings[mapping_count - 1].first, 0xffffffffc0000000);
    ck_assert_uint_eq(mappings[mapping_count - 1].last, UINT64_MAX);
    list(m, UINT64_MAX, UINT64_MAX, 1, &s);
    ck_assert_uint_eq(mapping_count, 1);
    ck_assert_uint_eq(mappings[0].first, 0xfffffffffffff000);
    list(m, 0x900000000000, 0xa00000000000, 100, &s); /* not canonical at all */
    ck_assert(s.finished);
    ck_assert_uint_eq(mapping_count, 0);
}
END_TEST

START_TEST(other_modes_and_roots)
{
    struct mmu_context other;
    struct mmu_maps s;

    mmu_set_control(m, m->cr0 & ~CR0_PG, m->cr4, 0);
    rig_poke(&r, 0x20000, 0x21001); /* PAE: PDPTE, then a PD with one 2 MiB page */
    rig_poke(&r, 0x21000, 0x400083);
    mmu_set_cr3(m, 0x30000, false);
    mmu_set_control(m, m->cr0 | CR0_PG, CR4_PAE, 0);
    list(m, 0, UINT64_MAX, 100000, &s);
    ck_assert_uint_eq(mapping_count, 0);
    mmu_inspect_root(m, 0x20000, &other);
    list(&other, 0, UINT64_MAX, 100000, &s);
    ck_assert(s.finished);
    ck_assert_uint_eq(mapping_count, 1);
    ck_assert_uint_eq(mappings[0].gpa.v, 0x400000);
    mmu_inspect_root(m, RIG_HOLE, &other);
    list(&other, 0, UINT64_MAX, 100000, &s);
    ck_assert_uint_eq(mapping_count, 0);

    rig_poke32(&r, 0x22000, 0x800083); /* 32-bit: a 4 MiB page */
    rig_poke32(&r, 0x22ffc, 0xc00083);
    mmu_set_control(m, m->cr0, CR4_PSE, 0);
    mmu_inspect_root(m, 0x22000, &other);
    list(&other, 0, UINT64_MAX, 100000, &s);
    ck_assert(s.finished);
    ck_assert_uint_eq(mapping_count, 2);
    ck_assert_uint_eq(mappings[1].first, 0xffc00000);
    ck_assert_uint_eq(mappings[1].last, UINT32_MAX);
}
END_TEST

/* --- Hostile tables --- */

/* Every entry is the table itself. */
START_TEST(a_table_full_of_itself_is_seen_once)
{
    struct mmu_maps s;

    for (unsigned n = 0; n < 512; n++)
        rig_poke(&r, RIG_PML4 + 8 * n, RIG_PML4 | RIG_RWU);
    ck_assert_uint_lt(list(m, 0, UINT64_MAX, 100000, &s), 2 * 4 * 512); /* both halves */
    ck_assert(s.finished);
    ck_assert_uint_le(mapping_count, 16);
    ck_assert_uint_eq(mappings[0].last, 0x1fffff);
    ck_assert(mappings[1].repeated);
}
END_TEST

/* Two tables that take turns look different at each step: the budget ends it, and one can go on. */
START_TEST(tables_that_take_turns_use_up_the_budget)
{
    struct mmu_maps s;
    uint64_t before = 0;

    for (unsigned n = 0; n < 512; n++) {
        uint64_t entry = (n & 1 ? RIG_PML4 : RIG_PDPT) | RIG_RWU;

        rig_poke(&r, RIG_PML4 + 8 * n, entry);
        rig_poke(&r, RIG_PDPT + 8 * n, entry ^ (RIG_PML4 ^ RIG_PDPT));
    }
    for (unsigned n = 0; n < 5; n++) {
        ck_assert_uint_eq(list(m, before, UINT64_MAX, 10000, &s), 10000);
        ck_assert(!s.finished);
        ck_assert_uint_gt(s.next, before);
        before = s.next;
    }
}
END_TEST

START_TEST(tables_in_devices_and_holes_are_not_read)
{
    struct mmu_maps s;

    rig_poke(&r, RIG_PML4 + 8, RIG_IO | RIG_RWU);
    rig_poke(&r, RIG_PML4 + 16, RIG_HOLE | RIG_RWU);
    list(m, 0, UINT64_MAX, 100000, &s);
    ck_assert(s.finished);
    ck_assert_uint_eq(r.device_reads, 0);
}
END_TEST

START_TEST(looking_leaves_no_trace)
{
    uint64_t walks = m->walks, fills = m->fills, unclaimed = bus_unclaimed_count(r.bus), hash;
    struct mmu_walk w;
    struct mmu_maps s;
    uint32_t cursor = 0;
    struct mmu_tlb_line line;

    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    m->events = mmu_events_create(16);
    hash = machine_memory_hash(r.memory);
    list(m, 0, UINT64_MAX, 100000, &s);
    mmu_walk_inspect(m, gva(0x1000), MMU_WRITE, TLB_VIEW_USER, &w);
    ck_assert_int_eq(w.outcome, WALK_OK);
    ck_assert(!mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    ck_assert_uint_eq(machine_memory_hash(r.memory), hash);
    ck_assert_uint_eq(m->walks, walks);
    ck_assert_uint_eq(m->fills, fills);
    ck_assert_uint_eq(bus_unclaimed_count(r.bus), unclaimed);
    ck_assert_uint_eq(m->events->ring.written, 0);
    ck_assert(mmu_events_close(m->events, NULL));
    m->events = NULL;
}
END_TEST

/* --- The listing is what walks say --- */

static uint64_t random_state;

static uint64_t draw(uint64_t below)
{
    return (random_next(&random_state) >> 33) % below;
}

/* The range that an address belongs to, through repetitions; *where is the address there. */
static const struct mmu_mapping *find(uint64_t address, uint64_t *where)
{
    for (unsigned n = mapping_count; n-- > 0;) {
        const struct mmu_mapping *map = &mappings[n];

        if (address < map->first || address > map->last)
            continue;
        if (!map->repeated) {
            *where = address;
            return map;
        }
        address = map->first - (1ull << map->shift) +
                  (address & ((1ull << map->shift) - 1)); /* and on, in an earlier range */
    }
    return NULL;
}

static void compare(uint64_t address)
{
    const struct mmu_mapping *map;
    struct mmu_walk w;
    uint64_t where;

    mmu_walk_inspect(m, gva(address), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
    map = find(address, &where);
    if (w.outcome != WALK_OK && w.outcome != WALK_DENIED) {
        ck_assert_msg(map == NULL, "%#llx is listed", (unsigned long long)address);
        return;
    }
    ck_assert_msg(map != NULL, "%#llx is not listed", (unsigned long long)address);
    ck_assert_uint_eq(map->rights, w.mapping.rights);
    ck_assert_uint_eq(map->shift, w.mapping.shift);
    ck_assert_uint_eq(map->global, w.mapping.global);
    if (map->linear)
        ck_assert_uint_eq(map->gpa.v + (where - map->first), w.gpa.v);
}

/* Few tables, so that they meet on several paths and neighbours are alike. */
#define TABLES 4

static uint64_t random_entry(void)
{
    uint64_t entry = RIG_PML4 + PAGE_SIZE * draw(TABLES);

    entry |= draw(4) == 0 ? 0 : 1;
    entry |= draw(8) << 1 & 6;
    entry |= draw(6) == 0 ? 0x80 : 0;
    entry |= draw(4) == 0 ? BIT64(63) : 0;
    entry |= draw(4) == 0 ? 0x100 : 0;
    return entry | (draw(3) << 5);
}

START_TEST(random_tables_are_listed_as_they_are_walked)
{
    random_state = (uint64_t)_i + 1;
    for (unsigned t = 0; t < TABLES; t++) {
        uint64_t entry = random_entry();

        for (unsigned n = 0; n < 512; n++) {
            if (draw(64) == 0)
                entry = draw(2) == 0 ? 0 : random_entry();
            rig_poke(&r, RIG_PML4 + PAGE_SIZE * t + 8 * n, entry);
        }
    }
    for (unsigned round = 0; round < 8; round++) {
        struct mmu_maps s;
        uint64_t first = (draw(2) == 0 ? 0 : ~0ull << 47) | draw(1ull << 31) << 16, last, span;

        list(m, first, first | 0xfffffffffff, 30000, &s);
        last = s.finished ? s.last : s.next - 1;
        span = last - (first & PAGE_MASK);
        if (mapping_count == MAPPINGS_MAX || span == UINT64_MAX)
            continue;
        for (unsigned n = 0; n < 200; n++)
            compare((first & PAGE_MASK) + draw(span / PAGE_SIZE + 1) * PAGE_SIZE);
        for (unsigned n = 0; n < MIN(mapping_count, 200u); n++) {
            compare(mappings[n].first);
            compare(mappings[n].last);
        }
    }
}
END_TEST

/* --- TLB --- */

START_TEST(the_tlb_shows_what_hits)
{
    struct mmu_tlb_line line;
    struct mmu_fault fault;
    uint32_t cursor = 0;
    uint64_t value;

    rig_map(&r, 0x1000, 0x401000, RIG_RWU | BIT64(63));
    rig_map(&r, 0x2000, RIG_IO, RIG_RWU);
    ck_assert_int_eq(mmu_load(m, gva(0x1008), 8, &value, &fault), MMU_OK);
    ck_assert(mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    ck_assert_int_eq(line.view, TLB_VIEW_SUPERVISOR);
    ck_assert_uint_eq(line.page.v, 0x1000);
    ck_assert_uint_eq(line.to.page.v, 0x401000);
    ck_assert_uint_eq(line.tags, BIT(MMU_READ));
    ck_assert_str_eq(line.backing, "ram");
    ck_assert(!mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    ck_assert_int_eq(mmu_store(m, gva(0x1008), 8, 1, &fault), MMU_OK);
    mmu_set_privilege(m, 3, false);
    ck_assert_int_eq(mmu_load(m, gva(0x2000), 8, &value, &fault), MMU_OK);
    cursor = 0;
    ck_assert(mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    ck_assert_uint_eq(line.tags, BIT(MMU_READ) | BIT(MMU_WRITE));
    ck_assert(mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    ck_assert_int_eq(line.view, TLB_VIEW_USER);
    ck_assert_str_eq(line.backing, "io");
    ck_assert_uint_eq(line.tags, 0);
    ck_assert(!mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
}
END_TEST

START_TEST(spaces_show_what_each_of_them_holds)
{
    struct mmu_space_line spaces[8];
    struct mmu_tlb_line line;
    struct mmu_fault fault;
    uint32_t count = 0, next = 0, cursor = 0, roots = 0;
    uint64_t value;

    rig_policy(&r, MMU_POLICY_COHERENT);
    rig_long_mode(&r, m);
    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    mmu_set_privilege(m, 3, false);
    ck_assert_int_eq(mmu_load(m, gva(0x1008), 8, &value, &fault), MMU_OK);
    rig_poke(&r, 0x20000, RIG_PDPT | RIG_RWU);
    mmu_set_cr3(m, 0x20000, false);
    while (count < ARRAY_SIZE(spaces) && mmu_space_next(m, &next, &spaces[count]))
        count++;
    ck_assert(spaces[0].common);
    for (uint32_t n = 1; n < count; n++) { /* and perhaps one from before there were tables */
        bool old = spaces[n].root == RIG_PML4;

        roots += old || spaces[n].root == 0x20000;
        ck_assert_int_eq(spaces[n].current, spaces[n].root == 0x20000);
        cursor = 0;
        ck_assert_int_eq(mmu_tlb_next(m, spaces[n].number, &cursor, &line), old);
    }
    ck_assert_uint_eq(roots, 2);
    cursor = 0;
    ck_assert(!mmu_tlb_next(m, MMU_SPACE_CURRENT, &cursor, &line));
    rig_policy(&r, MMU_POLICY_FLUSH);
    next = 0;
    ck_assert(mmu_space_next(m, &next, &spaces[0]));
    ck_assert(!spaces[0].common && spaces[0].current);
    ck_assert_uint_eq(spaces[0].root, 0x20000);
    ck_assert_str_eq(spaces[0].paging, walk_mode_word(WALK_4LEVEL));
    ck_assert(!mmu_space_next(m, &next, &spaces[0]));
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("inspect");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, pages_become_ranges);
    tcase_add_test(tc, ranges_split_where_physical_addresses_do_not_follow);
    tcase_add_test(tc, the_upper_half_is_reached);
    tcase_add_test(tc, other_modes_and_roots);
    tcase_add_test(tc, a_table_full_of_itself_is_seen_once);
    tcase_add_test(tc, tables_that_take_turns_use_up_the_budget);
    tcase_add_test(tc, tables_in_devices_and_holes_are_not_read);
    tcase_add_test(tc, looking_leaves_no_trace);
    tcase_add_loop_test(tc, random_tables_are_listed_as_they_are_walked, 0, 40);
    tcase_add_test(tc, the_tlb_shows_what_hits);
    tcase_add_test(tc, spaces_show_what_each_of_them_holds);
    return run_suite("inspect", tc);
}
