/* The software TLB: what fills it, what a hit costs, what each invalidation drops and keeps. */
#include "mmu/tlb.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>

static struct rig r;
static struct mmu_context *const m = &r.m;

static void setup(void)
{
    ck_assert(rig_create(&r));
    rig_long_mode(&r, m);
    for (uint64_t page = 0; page < 0x200000; page += 0x1000)
        rig_map(&r, page, 0x400000 + page, RIG_RWU);
}

static void teardown(void)
{
    rig_destroy(&r);
}

static enum mmu_status load(uint64_t address)
{
    struct mmu_fault fault;
    uint64_t value;

    return mmu_load(m, gva(address), 1, &value, &fault);
}

static enum mmu_status store(uint64_t address)
{
    struct mmu_fault fault;

    return mmu_store(m, gva(address), 1, 0x55, &fault);
}

static enum mmu_status fetch(uint64_t address)
{
    struct mmu_fault fault;
    const uint8_t *host;
    mpa_t where;

    return mmu_fetch(m, gva(address), &host, &where, &fault);
}

/* Walks that a load takes. */
static uint64_t walks_of_load(uint64_t address)
{
    uint64_t before = m->walks;

    ck_assert_int_eq(load(address), MMU_OK);
    return m->walks - before;
}

static uint64_t walks_of_store(uint64_t address)
{
    uint64_t before = m->walks;

    ck_assert_int_eq(store(address), MMU_OK);
    return m->walks - before;
}

static bool epoch_moves(void (*action)(uint64_t), uint64_t argument)
{
    uint64_t before = m->code_epoch;

    action(argument);
    return m->code_epoch != before;
}

static void invlpg(uint64_t address)
{
    mmu_invlpg(m, gva(address));
}

static void load_cr3(uint64_t cr3)
{
    mmu_set_cr3(m, cr3, false);
}

/* --- Filling --- */

START_TEST(a_load_fills_the_read_tag_only)
{
    ck_assert_ptr_null(tlb_find_read(m, 0x1234, 1));
    ck_assert_uint_eq(walks_of_load(0x1234), 1);
    ck_assert_ptr_eq(tlb_find_read(m, 0x1238, 4), machine_memory_host(r.memory, mpa(0x401238)));
    ck_assert_ptr_null(tlb_find_write(m, 0x1238, 4));
    ck_assert_ptr_null(tlb_find_exec(m, 0x1238));
    ck_assert_uint_eq(walks_of_load(0x1fff), 0);
}
END_TEST

START_TEST(a_store_sets_d_and_fills_the_write_tag)
{
    load(0x1000);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x1000)) & PTE_D, 0);
    ck_assert_uint_eq(walks_of_store(0x1000), 1);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x1000)) & PTE_D, PTE_D);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x1000, 8));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1000, 8));
    ck_assert_uint_eq(walks_of_store(0x1008), 0);
}
END_TEST

START_TEST(a_load_of_a_dirty_page_fills_the_write_tag_too)
{
    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_A | PTE_D);
    load(0x1000);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x1000, 8));
}
END_TEST

START_TEST(a_fetch_fills_the_exec_tag)
{
    ck_assert_int_eq(fetch(0x1000), MMU_OK);
    ck_assert_ptr_eq(tlb_find_exec(m, 0x1010), machine_memory_host(r.memory, mpa(0x401010)));
    /* A later fill of the same slot for another kind of access keeps it. */
    store(0x1000);
    ck_assert_ptr_nonnull(tlb_find_exec(m, 0x1010));
}
END_TEST

START_TEST(no_probe_hits_across_a_page_boundary)
{
    load(0x1000);
    load(0x2000);
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1ff8, 8));
    ck_assert_ptr_null(tlb_find_read(m, 0x1ff9, 8));
    ck_assert_ptr_null(tlb_find_read(m, 0x1fff, 2));
    ck_assert_ptr_null(tlb_find_read(m, UINT64_MAX, 2));
}
END_TEST

START_TEST(two_pages_of_one_slot_push_each_other_out_but_do_not_walk_again)
{
    uint64_t far = 0x1000 + (uint64_t)TLB_SIZE * PAGE_SIZE;

    rig_poke(&r, RIG_PD + (far >> 21) * 8, RIG_PT2 | RIG_RWU);
    rig_poke(&r, RIG_PT2 + 8, 0x700000 | RIG_RWU);
    load(0x1000);
    ck_assert_uint_eq(walks_of_load(far), 1);
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    ck_assert_uint_eq(walks_of_load(0x1000), 0);
    ck_assert_ptr_null(tlb_find_read(m, far, 1));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1000, 1));
}
END_TEST

START_TEST(a_large_page_is_walked_once_for_all_its_pieces)
{
    static const uint8_t shifts[] = {21, 30};

    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = i == 0 ? 0x600000 : 0x40000000;

        rig_poke(&r, i == 0 ? RIG_PD + 24 : RIG_PDPT + 8, 0x0 | PTE_PS | RIG_RWU);
        ck_assert_uint_eq(walks_of_load(at), 1);
        for (uint64_t piece = 0x1000; piece < 0x10000; piece += 0x1000) {
            ck_assert_uint_eq(walks_of_load(at + piece), 0);
            ck_assert_ptr_eq(tlb_find_read(m, at + piece, 1),
                             machine_memory_host(r.memory, mpa(piece)));
        }
        mmu_invlpg(m, gva(at + (BIT64(shifts[i]) - 1)));
        for (uint64_t piece = 0; piece < 0x10000; piece += 0x1000)
            ck_assert_ptr_null(tlb_find_read(m, at + piece, 1));
        ck_assert_uint_eq(walks_of_load(at), 1);
    }
}
END_TEST

START_TEST(rom_has_no_write_tag_and_devices_have_none)
{
    rig_map(&r, 0x1000, RIG_ROM, RIG_RWU);
    rig_map(&r, 0x2000, RIG_IO, RIG_RWU);
    rig_map(&r, 0x3000, RIG_HOLE, RIG_RWU);
    for (uint64_t page = 0x1000; page <= 0x3000; page += 0x1000) {
        ck_assert_int_eq(store(page), MMU_OK);
        ck_assert_int_eq(load(page), MMU_OK);
        ck_assert_int_eq(fetch(page), MMU_OK);
        ck_assert_ptr_null(tlb_find_write(m, page, 1));
        /* Found again without a walk all the same. */
        ck_assert_uint_eq(walks_of_load(page), 0);
        ck_assert_uint_eq(walks_of_store(page), 0);
    }
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1000, 1));
    ck_assert_ptr_nonnull(tlb_find_exec(m, 0x1000));
    ck_assert_ptr_null(tlb_find_read(m, 0x2000, 1));
    ck_assert_ptr_null(tlb_find_exec(m, 0x2000));
    ck_assert_ptr_null(tlb_find_read(m, 0x3000, 1));
}
END_TEST

/* --- Faults --- */

START_TEST(a_fault_is_never_cached)
{
    rig_map(&r, 0x1000, 0x401000, 0);
    ck_assert_int_eq(load(0x1000), MMU_PAGE_FAULT);
    rig_map(&r, 0x1000, 0x401000, RIG_RWU);
    ck_assert_int_eq(load(0x1000), MMU_OK);
}
END_TEST

START_TEST(more_rights_need_no_invalidation)
{
    rig_map(&r, 0x1000, 0x401000, PTE_P);
    ck_assert_int_eq(load(0x1000), MMU_OK);
    ck_assert_int_eq(store(0x1000), MMU_PAGE_FAULT);
    ck_assert_int_eq(load(0x1000), MMU_OK);
    rig_map(&r, 0x1000, 0x401000, PTE_P | PTE_RW);
    ck_assert_int_eq(store(0x1000), MMU_OK);
}
END_TEST

START_TEST(a_fault_drops_what_was_cached_for_the_page)
{
    load(0x1000);
    rig_map(&r, 0x1000, 0, 0);
    ck_assert_int_eq(load(0x1000), MMU_OK); /* stale, and legal */
    ck_assert_int_eq(store(0x1000), MMU_PAGE_FAULT);
    ck_assert_int_eq(load(0x1000), MMU_PAGE_FAULT);
}
END_TEST

START_TEST(a_fault_drops_a_stale_large_page_in_all_its_pieces)
{
    rig_poke(&r, RIG_PD + 24, PTE_PS | PTE_P);
    load(0x600000);
    load(0x601000);
    rig_poke(&r, RIG_PD + 24, 0);
    ck_assert_int_eq(load(0x601000), MMU_OK);
    ck_assert_int_eq(store(0x600000), MMU_PAGE_FAULT);
    ck_assert_int_eq(load(0x601000), MMU_PAGE_FAULT);
    ck_assert_int_eq(load(0x602000), MMU_PAGE_FAULT);
}
END_TEST

START_TEST(a_walk_replaces_what_it_finds_in_the_second_level)
{
    /* A 2 MiB page is split into small ones, and only one of those is invalidated. */
    rig_poke(&r, RIG_PD + 24, PTE_PS | RIG_RWU);
    load(0x600000);
    rig_poke(&r, RIG_PD + 24, RIG_PT | RIG_RWU);
    mmu_invlpg(m, gva(0x600000));
    load(0x600000);
    ck_assert_ptr_eq(tlb_find_read(m, 0x600000, 1), machine_memory_host(r.memory, mpa(0x400000)));
    load(0x601000);
    ck_assert_ptr_eq(tlb_find_read(m, 0x601000, 1), machine_memory_host(r.memory, mpa(0x401000)));
}
END_TEST

/* --- INVLPG and flushes --- */

START_TEST(invlpg_drops_its_page_in_every_view_and_no_other)
{
    load(0x1000);
    load(0x2000);
    mmu_set_privilege(m, 3, false);
    load(0x1000);
    load(0x2000);
    mmu_invlpg(m, gva(0x1abc));
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    ck_assert_uint_eq(walks_of_load(0x2000), 0);
    ck_assert_uint_eq(walks_of_load(0x1000), 1);
    mmu_set_privilege(m, 0, false);
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x2000, 1));
}
END_TEST

START_TEST(invlpg_drops_a_global_page_that_a_cr3_load_keeps)
{
    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_G);
    load(0x1000);
    load(0x2000);
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1000, 1));
    ck_assert_ptr_null(tlb_find_read(m, 0x2000, 1));
    ck_assert_uint_eq(walks_of_load(0x1000), 0);
    ck_assert_uint_eq(walks_of_load(0x2000), 1);
    mmu_invlpg(m, gva(0x1000));
    ck_assert_uint_eq(walks_of_load(0x1000), 1);
    mmu_flush_all(m);
    ck_assert_uint_eq(walks_of_load(0x1000), 1);
}
END_TEST

START_TEST(a_large_global_page_outlives_cr3_loads)
{
    rig_poke(&r, RIG_PD + 24, PTE_PS | PTE_G | RIG_RWU);
    load(0x600000);
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(walks_of_load(0x601000), 0);
    mmu_flush_all(m);
    ck_assert_uint_eq(walks_of_load(0x601000), 1);
}
END_TEST

START_TEST(a_flush_costs_what_was_filled_and_leaves_a_clean_table)
{
    struct tlb_table *table = &m->tlb->space->tables[TLB_VIEW_SUPERVISOR];

    for (uint64_t page = 0; page < 0x10000; page += 0x1000)
        load(page);
    mmu_invlpg(m, gva(0x1000));
    load(0x1000); /* logged once only */
    ck_assert_uint_eq(table->log[0].count, 16);
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(table->log[0].count, 0);
    for (unsigned i = 0; i < TLB_SIZE; i++) {
        ck_assert_uint_eq(table->entries[i].read_tag, TLB_NO_TAG);
        ck_assert(!tlb_side_live(&table->side[i]));
        ck_assert(!table->side[i].linked && table->side[i].logged == 0);
    }
}
END_TEST

START_TEST(a_log_that_is_full_still_flushes_everything)
{
    const uint64_t all = (uint64_t)TLB_SIZE * PAGE_SIZE;

    for (uint64_t i = 0; i < all >> 21; i++)
        rig_poke(&r, RIG_PD + 8 * i, i << 21 | PTE_PS | RIG_RWU | PTE_A | PTE_D);
    for (unsigned round = 0; round < 2; round++) {
        for (uint64_t page = 0; page < all; page += 0x1000)
            load(page);
        for (uint64_t page = 0; page < all; page += 0x1000)
            ck_assert(tlb_find_read(m, page, 1) != NULL);
    }
    ck_assert_uint_eq(m->tlb->space->tables[0].log[0].count, TLB_SIZE);
    mmu_flush_all(m);
    for (uint64_t page = 0; page < all; page += 0x1000)
        ck_assert(tlb_find_read(m, page, 1) == NULL);
    for (unsigned kind = 0; kind < TLB_LARGE_KINDS; kind++)
        for (unsigned i = 0; i < TLB_LARGE_LIVE; i++)
            ck_assert(m->tlb->large_live[kind][i] == 0);
}
END_TEST

/* --- The epoch of look-up caches --- */

START_TEST(the_code_epoch_moves_only_when_code_may_have_gone)
{
    fetch(0x1000);
    load(0x2000);
    ck_assert(!epoch_moves(invlpg, 0x2000));
    ck_assert(!epoch_moves(invlpg, 0x3000));
    ck_assert(epoch_moves(invlpg, 0x1000));
    ck_assert(!epoch_moves(invlpg, 0x1000));
    load(0x2000);
    ck_assert(!epoch_moves(load_cr3, RIG_PML4));
    fetch(0x1000);
    ck_assert(epoch_moves(load_cr3, RIG_PML4));
}
END_TEST

START_TEST(a_page_fault_elsewhere_leaves_the_code_epoch_alone)
{
    uint64_t before;

    fetch(0x1000);
    rig_map(&r, 0x2000, 0, 0);
    before = m->code_epoch;
    ck_assert_int_eq(load(0x2000), MMU_PAGE_FAULT);
    ck_assert_uint_eq(m->code_epoch, before);
}
END_TEST

START_TEST(code_that_lost_its_slot_is_still_invalidated)
{
    uint64_t far = 0x1000 + (uint64_t)TLB_SIZE * PAGE_SIZE;

    rig_poke(&r, RIG_PD + (far >> 21) * 8, RIG_PT2 | RIG_RWU);
    rig_poke(&r, RIG_PT2 + 8, 0x700000 | RIG_RWU);
    fetch(0x1000);
    load(far);
    ck_assert_ptr_null(tlb_find_exec(m, 0x1000));
    ck_assert(!epoch_moves(invlpg, 0x2000)); /* of another page it is not */
    ck_assert(epoch_moves(invlpg, 0x1000));
    /* And by a flush. */
    fetch(0x1000);
    load(far);
    ck_assert(epoch_moves(load_cr3, RIG_PML4));
}
END_TEST

START_TEST(code_of_a_large_page_that_lost_its_slot_is_invalidated_from_anywhere_in_it)
{
    uint64_t far = 0x601000 + (uint64_t)TLB_SIZE * PAGE_SIZE;

    rig_poke(&r, RIG_PD + 24, PTE_PS | RIG_RWU);
    rig_poke(&r, RIG_PD + (far >> 21) * 8, RIG_PT2 | RIG_RWU);
    rig_poke(&r, RIG_PT2 + 8, 0x700000 | RIG_RWU);
    fetch(0x601000);
    load(far);
    ck_assert_ptr_null(tlb_find_exec(m, 0x601000));
    ck_assert(!epoch_moves(invlpg, 0x400000));
    ck_assert(epoch_moves(invlpg, 0x7ff000));
}
END_TEST

START_TEST(a_page_that_turns_global_or_back_is_flushed_as_what_it_is)
{
    for (unsigned round = 0; round < 4; round++) {
        bool global = round & 1;

        rig_map(&r, 0x1000, 0x401000, RIG_RWU | (global ? PTE_G : 0));
        mmu_invlpg(m, gva(0x1000));
        load(0x1000);
        mmu_set_cr3(m, RIG_PML4, false);
        ck_assert_int_eq(tlb_find_read(m, 0x1000, 1) != NULL, global);
    }
    mmu_flush_all(m);
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    for (unsigned global = 0; global < 2; global++)
        ck_assert_uint_eq(m->tlb->space->tables[TLB_VIEW_SUPERVISOR].log[global].count, 0);
}
END_TEST

START_TEST(look_ups_at_cpl_3_and_elsewhere_end_apart)
{
    uint64_t kernel, user;

    rig_map(&r, 0x2000, 0x402000, RIG_RWU | PTE_G);
    fetch(0x2000);
    kernel = m->code_epoch;
    mmu_set_privilege(m, 3, false);
    fetch(0x1000);
    user = m->code_epoch;
    mmu_set_privilege(m, 0, false);
    mmu_set_cr3(m, RIG_PML4, false); /* kernel code is global */
    ck_assert_uint_eq(m->code_epoch, kernel);
    mmu_set_privilege(m, 3, false);
    ck_assert_uint_ne(m->code_epoch, user);
    /* Ending them from outside ends both. */
    mmu_end_lookups(m);
    user = m->code_epoch;
    mmu_set_privilege(m, 0, false);
    ck_assert_uint_ne(m->code_epoch, kernel);
    mmu_end_lookups(m);
    kernel = m->code_epoch;
    mmu_set_privilege(m, 3, false);
    ck_assert_uint_ne(m->code_epoch, user);
    mmu_set_privilege(m, 0, false);
    ck_assert_uint_eq(m->code_epoch, kernel);
}
END_TEST

START_TEST(global_code_that_lost_its_slot_keeps_its_look_ups_over_a_cr3_load)
{
    uint64_t far = 0x1000 + (uint64_t)TLB_SIZE * PAGE_SIZE;

    rig_poke(&r, RIG_PD + (far >> 21) * 8, RIG_PT2 | RIG_RWU);
    rig_poke(&r, RIG_PT2 + 8, 0x700000 | RIG_RWU);
    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_G);
    fetch(0x1000);
    load(far);
    ck_assert_ptr_null(tlb_find_exec(m, 0x1000));
    ck_assert(!epoch_moves(load_cr3, RIG_PML4));
    ck_assert(epoch_moves(invlpg, 0x1000));
}
END_TEST

START_TEST(a_slot_that_held_other_translations_before_is_kept_as_a_global_one)
{
    load(0x1000);
    load(0x2000);
    load(0x3000);
    mmu_invlpg(m, gva(0x1000));
    mmu_invlpg(m, gva(0x3000));
    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_G);
    load(0x1000); /* its slot is in both logs now */
    ck_assert_uint_eq(tlb_flush(m, false), 1);
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x1000, 1));
    ck_assert_uint_eq(tlb_flush(m, true), 1);
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    ck_assert_uint_eq(tlb_flush(m, true), 0);
}
END_TEST

START_TEST(global_code_keeps_its_look_ups_over_a_cr3_load)
{
    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_G);
    fetch(0x1000);
    load(0x2000);
    ck_assert(!epoch_moves(load_cr3, RIG_PML4));
    ck_assert_ptr_nonnull(tlb_find_exec(m, 0x1000));
}
END_TEST

START_TEST(code_in_a_large_page_is_invalidated_from_any_of_its_addresses)
{
    rig_poke(&r, RIG_PD + 24, PTE_PS | RIG_RWU);
    fetch(0x601000);
    ck_assert(epoch_moves(invlpg, 0x7ff000));
}
END_TEST

/* --- Revocation --- */

START_TEST(a_watch_takes_the_write_tag_of_every_alias_and_view)
{
    mpa_t frame = mpa(0x401000);

    rig_map(&r, 0x2000, frame.v, RIG_RWU);
    rig_map(&r, 0x3000, 0x400000 + TLB_CHAINS * PAGE_SIZE / 2, RIG_RWU);
    store(0x1000);
    store(0x2000);
    store(0x3000);
    mmu_set_privilege(m, 3, false);
    store(0x2000);
    mmu_frame_watch(m, mpa(frame.v + 0x123), FRAME_WATCH_CODE);
    ck_assert_ptr_null(tlb_find_write(m, 0x2000, 1));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x2000, 1));
    mmu_set_privilege(m, 0, false);
    ck_assert_ptr_null(tlb_find_write(m, 0x1000, 1));
    ck_assert_ptr_null(tlb_find_write(m, 0x2000, 1));
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x3000, 1));
    store(0x1000);
    ck_assert_ptr_null(tlb_find_write(m, 0x1000, 1));
    mmu_frame_unwatch(m, frame, FRAME_WATCH_CODE);
    store(0x1000);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x1000, 1));
}
END_TEST

START_TEST(frames_of_one_chain_are_told_apart)
{
    uint64_t frame = 0x401000, twin = frame + (uint64_t)TLB_CHAINS * PAGE_SIZE;

    rig_map(&r, 0x2000, twin, RIG_RWU);
    for (unsigned order = 0; order < 2; order++) {
        store(0x1000);
        store(0x2000);
        mmu_frame_watch(m, mpa(order ? twin : frame), FRAME_WATCH_CODE);
        ck_assert_int_eq(tlb_find_write(m, 0x1000, 1) == NULL, order == 0);
        ck_assert_int_eq(tlb_find_write(m, 0x2000, 1) == NULL, order == 1);
        mmu_frame_unwatch(m, mpa(order ? twin : frame), FRAME_WATCH_CODE);
    }
}
END_TEST

START_TEST(slots_leave_their_chain_when_they_are_dropped_or_reused)
{
    for (unsigned round = 0; round < 3; round++) {
        for (uint64_t page = 0x1000; page < 0x9000; page += 0x1000) {
            rig_map(&r, page, 0x401000, RIG_RWU | PTE_A | PTE_D);
            store(page);
        }
        mmu_invlpg(m, gva(0x3000));
        mmu_invlpg(m, gva(0x1000));
        mmu_invlpg(m, gva(0x8000));
        mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_CODE);
        for (uint64_t page = 0x1000; page < 0x9000; page += 0x1000)
            ck_assert(tlb_find_write(m, page, 1) == NULL);
        mmu_frame_unwatch(m, mpa(0x401000), FRAME_WATCH_CODE);
        if (round == 1)
            mmu_flush_all(m);
    }
}
END_TEST

START_TEST(a_watch_reaches_both_vcpus)
{
    mpa_t frame = mpa(0x401000);
    struct mmu_fault fault;

    rig_long_mode(&r, &r.other);
    store(0x1000);
    ck_assert_int_eq(mmu_store(&r.other, gva(0x1000), 1, 1, &fault), MMU_OK);
    ck_assert_ptr_nonnull(tlb_find_write(&r.other, 0x1000, 1));
    mmu_frame_watch(m, frame, FRAME_WATCH_CODE);
    ck_assert_ptr_null(tlb_find_write(m, 0x1000, 1));
    ck_assert_ptr_null(tlb_find_write(&r.other, 0x1000, 1));
    /* One of two watches goes: still watched. */
    mmu_frame_watch(&r.other, frame, FRAME_WATCH_PAGETABLE);
    mmu_frame_unwatch(m, frame, FRAME_WATCH_CODE);
    store(0x1000);
    ck_assert_ptr_null(tlb_find_write(m, 0x1000, 1));
    mmu_frame_unwatch(m, frame, FRAME_WATCH_PAGETABLE);
    ck_assert_int_eq(mmu_store(&r.other, gva(0x1000), 1, 1, &fault), MMU_OK);
    ck_assert_ptr_nonnull(tlb_find_write(&r.other, 0x1000, 1));
}
END_TEST

START_TEST(an_invalidation_is_the_vcpus_own)
{
    struct mmu_fault fault;
    uint64_t value;

    rig_long_mode(&r, &r.other);
    load(0x1000);
    mmu_load(&r.other, gva(0x1000), 1, &value, &fault);
    mmu_invlpg(m, gva(0x1000));
    ck_assert_ptr_null(tlb_find_read(m, 0x1000, 1));
    ck_assert_ptr_nonnull(tlb_find_read(&r.other, 0x1000, 1));
}
END_TEST

static void add_invalidation_tests(TCase *tc)
{
    tcase_add_test(tc, invlpg_drops_its_page_in_every_view_and_no_other);
    tcase_add_test(tc, invlpg_drops_a_global_page_that_a_cr3_load_keeps);
    tcase_add_test(tc, a_large_global_page_outlives_cr3_loads);
    tcase_add_test(tc, a_flush_costs_what_was_filled_and_leaves_a_clean_table);
    tcase_add_test(tc, a_log_that_is_full_still_flushes_everything);
    tcase_add_test(tc, the_code_epoch_moves_only_when_code_may_have_gone);
    tcase_add_test(tc, a_page_fault_elsewhere_leaves_the_code_epoch_alone);
    tcase_add_test(tc, code_that_lost_its_slot_is_still_invalidated);
    tcase_add_test(tc, code_of_a_large_page_that_lost_its_slot_is_invalidated_from_anywhere_in_it);
    tcase_add_test(tc, a_page_that_turns_global_or_back_is_flushed_as_what_it_is);
    tcase_add_test(tc, look_ups_at_cpl_3_and_elsewhere_end_apart);
    tcase_add_test(tc, global_code_that_lost_its_slot_keeps_its_look_ups_over_a_cr3_load);
    tcase_add_test(tc, a_slot_that_held_other_translations_before_is_kept_as_a_global_one);
    tcase_add_test(tc, global_code_keeps_its_look_ups_over_a_cr3_load);
    tcase_add_test(tc, code_in_a_large_page_is_invalidated_from_any_of_its_addresses);
    tcase_add_test(tc, a_watch_takes_the_write_tag_of_every_alias_and_view);
    tcase_add_test(tc, frames_of_one_chain_are_told_apart);
    tcase_add_test(tc, slots_leave_their_chain_when_they_are_dropped_or_reused);
    tcase_add_test(tc, a_watch_reaches_both_vcpus);
    tcase_add_test(tc, an_invalidation_is_the_vcpus_own);
}

int main(void)
{
    TCase *tc = tcase_create("tlb");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_load_fills_the_read_tag_only);
    tcase_add_test(tc, a_store_sets_d_and_fills_the_write_tag);
    tcase_add_test(tc, a_load_of_a_dirty_page_fills_the_write_tag_too);
    tcase_add_test(tc, a_fetch_fills_the_exec_tag);
    tcase_add_test(tc, no_probe_hits_across_a_page_boundary);
    tcase_add_test(tc, two_pages_of_one_slot_push_each_other_out_but_do_not_walk_again);
    tcase_add_test(tc, a_large_page_is_walked_once_for_all_its_pieces);
    tcase_add_test(tc, rom_has_no_write_tag_and_devices_have_none);
    tcase_add_test(tc, a_fault_is_never_cached);
    tcase_add_test(tc, more_rights_need_no_invalidation);
    tcase_add_test(tc, a_fault_drops_what_was_cached_for_the_page);
    tcase_add_test(tc, a_fault_drops_a_stale_large_page_in_all_its_pieces);
    tcase_add_test(tc, a_walk_replaces_what_it_finds_in_the_second_level);
    add_invalidation_tests(tc);
    return run_suite("tlb", tc);
}
