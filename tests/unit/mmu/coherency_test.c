/*
 * What is kept and what goes: spaces over changes of CR3, tables that become data and data that
 * becomes tables, and what happens when there is no room.
 */
#include "coherency_rig.h"
#include "mmu/safepoint.h"
#include "tests/unit/run_suite.h"

#include <signal.h>

/* --- Spaces --- */

START_TEST(every_cr3_load_takes_patches_with_the_no_flush_bit_too)
{
    uint64_t switches = m->stats.space_switches;

    mmu_set_control(m, m->cr0, m->cr4 | CR4_PCIDE, m->efer);
    map(0x10000, 1);
    load(m, 0x10000);
    map(0x10000, 2);
    mmu_set_cr3(m, RIG_PML4 | 5, true); /* the same tables under another identifier */
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    map(0x10000, 3);
    mmu_set_cr3(m, BIT64(63) | RIG_PML4, true);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    ck_assert_uint_eq(m->stats.space_switches, switches);
}
END_TEST

/* Roots at 0x20000, 0x21000, ... of address spaces that have a page of their own at 512 GiB and
 * share everything else. */
#define OWN 0x8000000000u

static void make_root(unsigned n)
{
    uint64_t root = 0x20000 + n * 0x1000, tables = 0x30000 + n * 0x3000;

    rig_poke(&r, root, RIG_PDPT | RIG_RWU);
    rig_poke(&r, root + 8, tables | RIG_RWU);
    rig_poke(&r, tables, (tables + 0x1000) | RIG_RWU);
    rig_poke(&r, tables + 0x1000, (tables + 0x2000) | RIG_RWU);
    rig_poke(&r, tables + 0x2000, DATA(n) | PRESENT);
}

static void enter(unsigned n)
{
    mmu_set_cr3(m, 0x20000 + n * 0x1000, false);
}

START_TEST(a_space_that_comes_back_is_warm)
{
    uint64_t walks, warm;

    make_root(0);
    make_root(1);
    map(0x10000, 9);
    mmu_set_privilege(m, 3, false);
    for (unsigned n = 0; n < 2; n++) {
        enter(n);
        ck_assert_uint_eq(load(m, OWN), VALUE(n));
        ck_assert_uint_eq(load(m, 0x10000), VALUE(9));
    }
    walks = m->walks;
    warm = m->stats.space_switches_warm;
    for (unsigned n = 0; n < 20; n++) {
        enter(n & 1);
        ck_assert_ptr_nonnull(tlb_find_read(m, OWN, 8));
        ck_assert_uint_eq(load(m, OWN), VALUE(n & 1));
        ck_assert_uint_eq(load(m, 0x10000), VALUE(9));
    }
    ck_assert_uint_eq(m->walks, walks);
    ck_assert_uint_eq(m->stats.space_switches_warm, warm + 20);
    /* What is shared changes in both, at one event. */
    map(0x10000, 10);
    enter(0);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(10));
    enter(1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(10));
    ck_assert_uint_eq(m->walks, walks);
}
END_TEST

START_TEST(a_space_that_found_a_table_by_its_shadow_hears_of_its_changes)
{
    uint64_t walks;

    make_root(0);
    make_root(1);
    map(0x10000, 1);
    map(0x3f0000, 2);
    enter(0);
    load(m, 0x10000);
    load(m, 0x3f0000);
    enter(1);
    load(m, 0x10000);
    walks = m->walks;
    ck_assert_uint_eq(load(m, 0x3f0000), VALUE(2));
    ck_assert_uint_eq(m->walks, walks);
    map(0x3f0000, 3);
    event(m);
    ck_assert_uint_eq(load(m, 0x3f0000), VALUE(3));
}
END_TEST

START_TEST(the_space_not_used_for_longest_goes)
{
    uint64_t walks;

    options.spaces = 3 + (unsigned)_i; /* there are three from the start */
    configure();
    rig_long_mode(&r, m);
    for (unsigned n = 0; n < 5; n++)
        make_root(n);
    for (unsigned turn = 0; turn < 3; turn++)
        for (unsigned n = 0; n < 5; n++) {
            enter(n);
            ck_assert_uint_eq(load(m, OWN), VALUE(n));
        }
    ck_assert_uint_ge(m->stats.spaces_evicted, 10);
    ck_assert_uint_eq(m->tlb->space_count, options.spaces + 1); /* and the common one */
    walks = m->walks;
    enter(3);
    load(m, OWN);
    ck_assert_uint_eq(m->walks, walks);
    enter(4);
    load(m, OWN);
    ck_assert_uint_eq(m->walks, walks);
    enter(0);
    load(m, OWN);
    ck_assert_uint_eq(m->walks, walks + 1);
    /* Nothing is derived from the tables of a root that went, but for those shared. */
    ck_assert_uint_eq(consumers_of(0x21000), 0);
    ck_assert_uint_eq(watch_of(0x21000), 0);
}
END_TEST

START_TEST(look_ups_of_code_come_back_with_their_space)
{
    uint64_t first, second;

    make_root(0);
    make_root(1);
    mmu_set_privilege(m, 3, false);
    enter(0);
    ck_assert_int_eq(fetch(m, OWN), MMU_OK);
    first = m->code_epoch;
    enter(1);
    ck_assert_int_eq(fetch(m, OWN), MMU_OK);
    second = m->code_epoch;
    ck_assert_uint_ne(first, second);
    enter(0);
    ck_assert_uint_eq(m->code_epoch, first);
    enter(1);
    ck_assert_uint_eq(m->code_epoch, second);
    rig_poke(&r, 0x32000, DATA(8) | PRESENT); /* the first one's page of code */
    event(m);
    ck_assert_uint_eq(m->code_epoch, second);
    enter(0);
    ck_assert_uint_ne(m->code_epoch, first);
    ck_assert_uint_eq(load(m, OWN), VALUE(8));
}
END_TEST

/* --- What all spaces share --- */

#define GLOBAL 0x10000u

/* A global page in both roots, and CR4.PGE. */
static void make_global(uint64_t entry)
{
    make_root(0);
    make_root(1);
    rig_map(&r, GLOBAL, entry, PRESENT | PTE_G);
    mmu_set_control(m, m->cr0 | CR0_WP, m->cr4 | CR4_PGE, m->efer);
    enter(0);
}

START_TEST(the_supervisors_global_pages_are_there_in_every_space)
{
    uint64_t fills, epoch;

    make_global(DATA(1));
    ck_assert_int_eq(fetch(m, GLOBAL), MMU_OK);
    load(m, OWN);
    fills = m->fills;
    epoch = m->code_epoch;
    enter(1);
    ck_assert_uint_eq(load(m, GLOBAL), VALUE(1));
    ck_assert_ptr_nonnull(tlb_find_exec(m, GLOBAL));
    ck_assert_uint_eq(m->fills, fills);
    ck_assert_uint_eq(m->code_epoch, epoch);
    ck_assert_uint_eq(load(m, OWN), VALUE(1)); /* not what the first space had there */
    enter(0);
    ck_assert_uint_eq(load(m, OWN), VALUE(0));
}
END_TEST

START_TEST(a_global_page_goes_when_an_instruction_says_so)
{
    struct mmu_fault fault;
    uint64_t epoch;

    make_global(DATA(1));
    rig_map(&r, GLOBAL, DATA(1), RIG_RWU | PTE_A | PTE_G); /* clean: a store walks */
    ck_assert_int_eq(fetch(m, GLOBAL), MMU_OK);
    epoch = m->code_epoch;
    rig_map(&r, GLOBAL, DATA(2), PRESENT | PTE_G);
    enter(1);
    switch (_i) {
    case 0:
        mmu_invlpg(m, gva(GLOBAL));
        break;
    case 1:
        mmu_set_control(m, m->cr0, m->cr4 & ~CR4_PGE, m->efer);
        break;
    case 2:
        mmu_invpcid(m, 2, 0, gva(0));
        break;
    default:
        rig_map(&r, GLOBAL, DATA(2), PRESENT & ~PTE_RW & ~PTE_D);
        ck_assert_int_eq(mmu_store(m, gva(GLOBAL), 1, 0, &fault), MMU_PAGE_FAULT);
        break;
    }
    ck_assert_uint_ne(m->code_epoch, epoch);
    ck_assert_uint_eq(load(m, GLOBAL), VALUE(2));
    enter(0);
    ck_assert_uint_eq(load(m, GLOBAL), VALUE(2));
}
END_TEST

START_TEST(look_ups_through_other_pages_end_with_their_space)
{
    uint64_t epoch;

    make_global(DATA(1));
    ck_assert_int_eq(fetch(m, OWN), MMU_OK);
    epoch = m->code_epoch;
    enter(1);
    ck_assert_uint_ne(m->code_epoch, epoch);
    ck_assert_ptr_null(tlb_find_exec(m, OWN));
}
END_TEST

/* A kernel without global pages: what it uses comes back with its space. */
START_TEST(a_space_with_many_pages_that_are_not_global_gets_a_table_of_its_own)
{
    uint64_t fills;

    make_root(0);
    make_root(1);
    for (unsigned n = 0; n < 2 * TLB_COMMON_MAX; n++)
        map(0x10000 + n * PAGE_SIZE, n);
    for (unsigned space = 0; space < 2; space++) {
        enter(space);
        for (unsigned turn = 0; turn < 2; turn++)
            for (unsigned n = 0; n < 2 * TLB_COMMON_MAX; n++)
                ck_assert_uint_eq(load(m, 0x10000 + n * PAGE_SIZE), VALUE(n));
        ck_assert(m->tlb->space->own);
    }
    fills = m->fills;
    map(0x10000, 63);
    for (unsigned space = 0; space < 2; space++) {
        enter(space);
        for (unsigned n = 1; n < 2 * TLB_COMMON_MAX; n++)
            ck_assert_uint_eq(load(m, 0x10000 + n * PAGE_SIZE), VALUE(n));
        ck_assert_uint_eq(load(m, 0x10000), VALUE(63));
    }
    ck_assert_uint_eq(m->fills, fills + 2);
}
END_TEST

/* Kernel page-table isolation: the kernel's root forbids execution above tables that the user's
 * root shares with it. */
START_TEST(roots_may_give_shared_tables_different_rights)
{
    uint64_t user = 0x21000;

    rig_poke(&r, RIG_PML4, RIG_PDPT | RIG_RWU | PTE_XD);
    rig_poke(&r, user, RIG_PDPT | RIG_RWU);
    map(0x10000, 1);
    for (unsigned n = 0; n < 4; n++) {
        mmu_set_cr3(m, n & 1 ? user : RIG_PML4, false);
        ck_assert_int_eq(fetch(m, 0x10000), n & 1 ? MMU_OK : MMU_PAGE_FAULT);
        ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    }
    ck_assert_uint_eq(shadow_page_count(m->tlb->shadow), 5); /* two roots, three tables */
    rig_map(&r, 0x10000, DATA(2), PRESENT & ~PTE_RW);
    event(m);
    for (unsigned n = 0; n < 2; n++) {
        struct mmu_fault fault;

        mmu_set_cr3(m, n ? user : RIG_PML4, false);
        ck_assert_int_eq(fetch(m, 0x10000), n ? MMU_OK : MMU_PAGE_FAULT);
        ck_assert_int_eq(mmu_store(m, gva(0x10000), 1, 0, &fault), MMU_PAGE_FAULT);
        ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    }
    rig_poke(&r, user, RIG_PDPT | RIG_RWU | PTE_XD);
    event(m);
    ck_assert_int_eq(fetch(m, 0x10000), MMU_PAGE_FAULT);
}
END_TEST

/* --- Shared tables --- */

static void share(void)
{
    options.tables = MMU_TABLES_SHARED;
    configure();
    ck_assert_ptr_eq(m->tlb->shadow, other->tlb->shadow);
    map(0x10000, 1);
    map(0x1f0000, 2);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(m, 0x1f0000), VALUE(2));
}

START_TEST(what_one_vcpu_has_derived_serves_the_other)
{
    unsigned pages;
    uint64_t walks;

    share();
    pages = shadow_page_count(m->tlb->shadow);
    ck_assert_uint_eq(load(other, 0x10000), VALUE(1)); /* it becomes a consumer of the tables */
    walks = other->walks;
    ck_assert_uint_eq(load(other, 0x1f0000), VALUE(2));
    ck_assert_uint_eq(other->walks, walks);
    ck_assert_uint_eq(shadow_page_count(m->tlb->shadow), pages);
    ck_assert_uint_eq(consumers_of(RIG_PT), 3);
}
END_TEST

START_TEST(a_shared_word_is_mended_once_and_each_vcpu_drops_for_itself)
{
    uint64_t walks;

    share();
    load(other, 0x10000);
    load(other, 0x1f0000);
    walks = m->walks + other->walks;
    map(0x1f0000, 3);
    event(m);
    ck_assert_uint_eq(load(m, 0x1f0000), VALUE(3));
    ck_assert_uint_eq(load(other, 0x1f0000), VALUE(2)); /* its event is yet to come */
    event(other);
    ck_assert_uint_eq(load(other, 0x1f0000), VALUE(3));
    ck_assert_uint_eq(m->walks + other->walks, walks);
}
END_TEST

START_TEST(a_vcpu_that_joins_sees_what_others_have_patches_for)
{
    share();
    map(0x1f0000, 3); /* posted to the first alone */
    ck_assert_uint_eq(load(other, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(other, 0x1f0000), VALUE(3));
    event(m);
    ck_assert_uint_eq(load(m, 0x1f0000), VALUE(3));
}
END_TEST

/* While a device stores to the directory a vCPU that joins can know nothing of its entries. */
START_TEST(what_is_unknown_to_one_vcpu_does_not_end_what_the_other_traces)
{
    share();
    atomic_store(&r.memory->device_store, RIG_PD);
    ck_assert_uint_eq(load(other, 0x10000), VALUE(1));
    atomic_store(&r.memory->device_store, MEMORY_NO_FRAME);
    map(0x1f0000, 3);
    event(m);
    ck_assert_uint_eq(load(m, 0x1f0000), VALUE(3));
    ck_assert_uint_eq(load(other, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(other, 0x1f0000), VALUE(3));
    rig_poke(&r, RIG_PD, RIG_PT2 | RIG_RWU);
    event(m);
    ck_assert_uint_eq(consumers_of(RIG_PT), 0);
    event(other);
    ck_assert(faults(m, 0x1f0000) && faults(other, 0x1f0000));
}
END_TEST

START_TEST(a_vcpu_that_leaves_takes_its_part_only)
{
    uint64_t walks;

    share();
    load(other, 0x10000);
    mmu_flush_all(other);
    ck_assert_uint_eq(consumers_of(RIG_PT), 1);
    walks = m->walks;
    map(0x1f0000, 3);
    event(m);
    ck_assert_uint_eq(load(m, 0x1f0000), VALUE(3));
    ck_assert_uint_eq(m->walks, walks);
    mmu_flush_all(m);
    ck_assert_uint_eq(consumers_of(RIG_PT), 0);
    ck_assert_uint_eq(watch_of(RIG_PT), 0);
    ck_assert_uint_eq(shadow_page_count(m->tlb->shadow), 0);
}
END_TEST

/* --- Tables that are tables no longer --- */

START_TEST(a_table_that_nobody_uses_becomes_writable_again)
{
    map(0x10000, 1);
    load(m, 0x10000);
    load(other, 0x10000);
    ck_assert_uint_eq(consumers_of(RIG_PT), 3);
    store(m, TABLES + RIG_PT + 0x800, 8, 0);
    ck_assert_ptr_null(tlb_find_write(m, TABLES + RIG_PT, 8));
    rig_poke(&r, RIG_PD, 0);
    event(m);
    ck_assert_uint_eq(consumers_of(RIG_PT), 2);
    ck_assert_uint_ne(watch_of(RIG_PT), 0);
    event(other);
    ck_assert_uint_eq(consumers_of(RIG_PT), 0);
    ck_assert_uint_eq(watch_of(RIG_PT), 0);
    store(m, TABLES + RIG_PT, 8, 0);
    ck_assert_ptr_nonnull(tlb_find_write(m, TABLES + RIG_PT, 8));
    ck_assert_uint_eq(machine_memory_frame(r.memory, mpa(RIG_PT))->sets[FRAME_HOLDERS], 1);
}
END_TEST

START_TEST(a_frame_that_becomes_a_table_loses_its_write_tags)
{
    uint64_t table = 0x20000, asked;

    store(m, TABLES + table + 0x80, 8, DATA(1) | PRESENT);
    store(other, TABLES + table + 0x88, 8, DATA(2) | PRESENT);
    asked = mmu_times_asked(other);
    ck_assert_ptr_nonnull(tlb_find_write(m, TABLES + table, 8));
    ck_assert_ptr_nonnull(tlb_find_write(other, TABLES + table, 8));
    rig_poke(&r, RIG_PD, table | RIG_RWU);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_ptr_null(tlb_find_write(m, TABLES + table, 8));
    ck_assert_ptr_null(tlb_find_write(other, TABLES + table, 8));
    ck_assert_uint_eq(mmu_times_asked(other), asked + 1);
    ck_assert_uint_eq(mmu_times_asked(m), 0);
    store(other, TABLES + table + 0x80, 8, DATA(3) | PRESENT);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
}
END_TEST

START_TEST(a_flood_of_stores_gives_the_frame_up)
{
    options.flood = 4;
    configure();
    rig_long_mode(&r, m);
    rig_long_mode(&r, other);
    map(0x10000, 1);
    load(m, 0x10000);
    load(other, 0x10000);
    store(m, TABLES + rig_pte(0x1fe000), 8, 0);
    for (unsigned n = 0; n < 5; n++)
        store(m, TABLES + rig_pte(0x100000 + n * 0x1000), 8, DATA(n) | PRESENT);
    ck_assert_uint_eq(watch_of(RIG_PT), 0);
    store(m, TABLES + rig_pte(0x10000), 8, DATA(2) | PRESENT); /* not heard of any more */
    ck_assert_ptr_nonnull(tlb_find_write(m, TABLES + RIG_PT, 8));
    event(m);
    ck_assert_uint_eq(m->stats.frames_dropped, 1);
    ck_assert_uint_eq(consumers_of(RIG_PT), 2);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2)); /* traced again */
    ck_assert_uint_ne(watch_of(RIG_PT), 0);
    ck_assert_ptr_null(tlb_find_write(m, TABLES + RIG_PT, 8));
    event(other);
    ck_assert_uint_eq(load(other, 0x10000), VALUE(2));
    map(0x10000, 3);
    event(m);
    event(other);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    ck_assert_uint_eq(load(other, 0x10000), VALUE(3));
}
END_TEST

START_TEST(walks_between_stores_are_no_flood)
{
    options.flood = 4;
    configure();
    rig_long_mode(&r, m);
    for (unsigned n = 0; n < 100; n++) {
        map(0x10000 + n * 0x1000, n % 60);
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x1000), VALUE(n % 60));
    }
    ck_assert_uint_eq(m->stats.frames_dropped, 0);
}
END_TEST

START_TEST(a_flood_for_one_consumer_is_one_for_all)
{
    options.flood = 0;
    mmu_configure(other, &options);
    rig_long_mode(&r, other);
    map(0x10000, 1);
    load(m, 0x10000);
    load(other, 0x10000);
    for (unsigned n = 2; n < 5; n++) {
        map(0x10000, n);
        event(m);
        ck_assert_uint_eq(load(m, 0x10000), VALUE(n));
    }
    event(other);
    ck_assert_uint_eq(load(other, 0x10000), VALUE(4));
}
END_TEST

START_TEST(a_table_overwritten_as_a_whole_is_dropped_as_a_whole)
{
    uint64_t page[512];

    for (unsigned n = 0; n < 8; n++) {
        map(0x10000 + n * 0x1000, n);
        load(m, 0x10000 + n * 0x1000);
    }
    for (unsigned n = 0; n < 512; n++)
        page[n] = htole64(DATA(n % 60 + 1) | PRESENT);
    bus_write(r.bus, gpa(RIG_PT), page, sizeof(page));
    event(m);
    ck_assert_uint_eq(m->stats.frames_dropped, 1);
    for (unsigned n = 0; n < 8; n++)
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x1000), VALUE(0x10 + n + 1));
}
END_TEST

START_TEST(a_root_overwritten_as_a_whole_is_dropped_in_both_halves)
{
    const uint64_t high = 0xffffff8000000000u; /* the root's last entry */
    uint64_t page[512];

    for (unsigned n = 1; n < 8; n++)
        map(0x10000 + n * 0x1000, n);
    rig_poke(&r, RIG_PML4 + 511 * 8, RIG_PDPT | RIG_RWU);
    ck_assert_uint_eq(load(m, high + 0x11000), VALUE(1));
    memset(page, 0, sizeof(page));
    page[0] = htole64(RIG_PDPT | RIG_RWU);
    bus_write(r.bus, gpa(RIG_PML4), page, sizeof(page));
    event(m);
    ck_assert_uint_eq(m->stats.frames_dropped, 1);
    ck_assert(faults(m, high + 0x11000));
    ck_assert_uint_eq(load(m, 0x11000), VALUE(1));
}
END_TEST

/* --- No room --- */

START_TEST(without_shadow_pages_everything_is_dropped_and_goes_on)
{
    uint64_t walks;

    options.pages = 16;
    configure();
    rig_long_mode(&r, m);
    for (unsigned n = 0; n < 20; n++)
        make_root(n % 5);
    for (uint64_t n = 0; n < 40; n++) {
        rig_poke(&r, RIG_PD + 16 + n * 8, (0x100000 + n * 0x1000) | RIG_RWU);
        rig_poke(&r, 0x100000 + n * 0x1000, DATA(n) | PRESENT);
    }
    for (unsigned turn = 0; turn < 3; turn++)
        for (uint64_t n = 0; n < 40; n++)
            ck_assert_uint_eq(load(m, 0x400000 + n * 0x200000), VALUE(n));
    ck_assert_uint_ge(m->stats.rebuilds, 2);
    ck_assert_uint_lt(shadow_page_count(m->tlb->shadow), 16);
    walks = m->walks;
    for (unsigned n = 0; n < 3; n++) { /* there is room again */
        event(m);
        ck_assert_uint_eq(load(m, 0x400000 + 39 * 0x200000), VALUE(39));
    }
    ck_assert_uint_le(m->walks, walks + 2);
    for (uint64_t n = 0; n < 40; n++)
        rig_poke(&r, 0x100000 + n * 0x1000, DATA(n + 1) | PRESENT);
    event(m);
    for (uint64_t n = 0; n < 40; n++)
        ck_assert_uint_eq(load(m, 0x400000 + n * 0x200000), VALUE(n + 1));
}
END_TEST

START_TEST(a_full_channel_drops_everything_at_the_event)
{
    options.slots = 2;
    options.flood = 255;
    configure();
    rig_long_mode(&r, m);
    for (unsigned n = 0; n < 6; n++) {
        map(0x10000 + n * 0x1000, n);
        load(m, 0x10000 + n * 0x1000);
    }
    event(m);
    m->stats.rebuilds = 0;
    for (unsigned n = 0; n < 6; n++)
        map(0x10000 + n * 0x1000, n + 10);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(0));
    event(m);
    ck_assert_uint_eq(m->stats.rebuilds, 1);
    ck_assert_uint_eq(shadow_page_count(m->tlb->shadow), 0);
    for (unsigned n = 0; n < 6; n++)
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x1000), VALUE(n + 10));
}
END_TEST

/* --- What no trace reaches --- */

START_TEST(what_comes_from_a_table_in_a_device_lasts_until_the_event)
{
    uint64_t walks, fills = m->tlb->transient_fills;

    rig_poke(&r, RIG_PD + 16, RIG_IO | RIG_RWU);
    guest_store64(r.device, DATA(1) | PRESENT);
    ck_assert_uint_eq(load(m, 0x400000), VALUE(1));
    guest_store64(r.device, DATA(2) | PRESENT);
    walks = m->walks;
    ck_assert_uint_eq(load(m, 0x400000), VALUE(1));
    ck_assert_uint_eq(m->walks, walks);
    event(m);
    ck_assert_uint_eq(load(m, 0x400000), VALUE(2));
    ck_assert_uint_eq(m->walks, walks + 1);
    ck_assert_uint_eq(m->tlb->transient_fills, fills + 2);
    guest_store64(r.device, 0);
    event(m);
    ck_assert(faults(m, 0x400000));
    guest_store64(r.device, DATA(3) | PRESENT);
    ck_assert_uint_eq(load(m, 0x400000), VALUE(3));
}
END_TEST

START_TEST(tables_in_rom_are_read_once)
{
    uint64_t walks, entry = DATA(1) | RIG_RWU;

    bus_load(r.bus, gpa(RIG_ROM), &(uint64_t){htole64(entry | AD)}, 8);
    rig_poke(&r, RIG_PD + 16, RIG_ROM | RIG_RWU);
    ck_assert_uint_eq(load(m, 0x400000), VALUE(1));
    event(m);
    walks = m->walks;
    ck_assert_uint_eq(load(m, 0x400000), VALUE(1));
    ck_assert_uint_eq(m->walks, walks);
    bus_load(r.bus, gpa(RIG_ROM), &(uint64_t){htole64(DATA(2) | PRESENT)}, 8);
    event(m);
    ck_assert_uint_eq(load(m, 0x400000), VALUE(2));
}
END_TEST

START_TEST(a_store_that_nobody_posts_is_found_by_paranoia)
{
    map(0x10000, 1);
    load(m, 0x10000);
    ck_assert_uint_gt(m->stats.events, 0);
    guest_store64(machine_memory_host(r.memory, mpa(rig_pte(0x10000))), DATA(2) | PRESENT);
    event(m);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("coherency");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, every_cr3_load_takes_patches_with_the_no_flush_bit_too);
    tcase_add_test(tc, a_space_that_comes_back_is_warm);
    tcase_add_test(tc, a_space_that_found_a_table_by_its_shadow_hears_of_its_changes);
    tcase_add_loop_test(tc, the_space_not_used_for_longest_goes, 0, 2);
    tcase_add_test(tc, look_ups_of_code_come_back_with_their_space);
    tcase_add_test(tc, the_supervisors_global_pages_are_there_in_every_space);
    tcase_add_loop_test(tc, a_global_page_goes_when_an_instruction_says_so, 0, 4);
    tcase_add_test(tc, look_ups_through_other_pages_end_with_their_space);
    tcase_add_test(tc, a_space_with_many_pages_that_are_not_global_gets_a_table_of_its_own);
    tcase_add_test(tc, what_one_vcpu_has_derived_serves_the_other);
    tcase_add_test(tc, a_shared_word_is_mended_once_and_each_vcpu_drops_for_itself);
    tcase_add_test(tc, a_vcpu_that_joins_sees_what_others_have_patches_for);
    tcase_add_test(tc, what_is_unknown_to_one_vcpu_does_not_end_what_the_other_traces);
    tcase_add_test(tc, a_vcpu_that_leaves_takes_its_part_only);
    tcase_add_test(tc, roots_may_give_shared_tables_different_rights);
    tcase_add_test(tc, a_table_that_nobody_uses_becomes_writable_again);
    tcase_add_test(tc, a_frame_that_becomes_a_table_loses_its_write_tags);
    tcase_add_test(tc, a_flood_of_stores_gives_the_frame_up);
    tcase_add_test(tc, walks_between_stores_are_no_flood);
    tcase_add_test(tc, a_flood_for_one_consumer_is_one_for_all);
    tcase_add_test(tc, a_table_overwritten_as_a_whole_is_dropped_as_a_whole);
    tcase_add_test(tc, a_root_overwritten_as_a_whole_is_dropped_in_both_halves);
    tcase_add_test(tc, without_shadow_pages_everything_is_dropped_and_goes_on);
    tcase_add_test(tc, a_full_channel_drops_everything_at_the_event);
    tcase_add_test(tc, what_comes_from_a_table_in_a_device_lasts_until_the_event);
    tcase_add_test(tc, tables_in_rom_are_read_once);
    tcase_add_test_raise_signal(tc, a_store_that_nobody_posts_is_found_by_paranoia, SIGABRT);
    return run_suite("coherency", tc);
}
