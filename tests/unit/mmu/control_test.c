/* Control registers, privilege and invalidation instructions: what each keeps, drops and changes.
 */
#include "mmu/tlb.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>

#define PAGE        0x1000u /* not global */
#define PAGE_GLOBAL 0x2000u

static struct rig r;
static struct mmu_context *const m = &r.m;
static struct mmu_fault fault;

static void setup(void)
{
    ck_assert(rig_create(&r));
    rig_long_mode(&r, m);
    rig_map(&r, PAGE, 0x401000, RIG_RWU | PTE_D);
    rig_map(&r, PAGE_GLOBAL, 0x402000, RIG_RWU | PTE_D | PTE_G);
}

static void teardown(void)
{
    rig_destroy(&r);
}

static enum mmu_status load(uint64_t address)
{
    return mmu_load(m, gva(address), 1, &(uint64_t){0}, &fault);
}

static enum mmu_status store(uint64_t address)
{
    return mmu_store(m, gva(address), 1, 1, &fault);
}

static enum mmu_status fetch(uint64_t address)
{
    const uint8_t *host;
    mpa_t where;

    return mmu_fetch(m, gva(address), &host, &where, &fault);
}

/* Does the next load have to walk? */
static bool dropped(uint64_t page)
{
    uint64_t walks = m->walks;

    ck_assert_int_eq(load(page), MMU_OK);
    return m->walks != walks;
}

static void fill(void)
{
    ck_assert_int_eq(load(PAGE), MMU_OK);
    ck_assert_int_eq(load(PAGE_GLOBAL), MMU_OK);
}

START_TEST(a_new_context_is_a_processor_after_reset)
{
    struct mmu_context *n = &r.other;

    ck_assert_uint_eq(n->cr0, 0x60000010);
    ck_assert_uint_eq(n->cr3 | n->cr4 | n->efer, 0);
    ck_assert_uint_eq(n->cpl, 0);
    ck_assert_uint_eq(n->a20_mask, UINT64_MAX);
    ck_assert_int_eq(n->view, TLB_VIEW_SUPERVISOR);
    ck_assert_ptr_eq(r.memory->contexts[1], n);
    mmu_destroy(n);
    mmu_destroy(n); /* once more is nothing */
    ck_assert_ptr_null(r.memory->contexts[1]);
}
END_TEST

START_TEST(privilege_and_ac_select_the_view)
{
    for (unsigned cpl = 0; cpl <= 3; cpl++)
        for (unsigned ac = 0; ac < 2; ac++)
            for (unsigned smap = 0; smap < 2; smap++) {
                enum tlb_view expected =
                    cpl == 3 ? TLB_VIEW_USER
                             : (ac && smap ? TLB_VIEW_SUPERVISOR_AC : TLB_VIEW_SUPERVISOR);

                mmu_set_control(m, m->cr0, smap ? m->cr4 | CR4_SMAP : m->cr4 & ~CR4_SMAP, m->efer);
                mmu_set_privilege(m, cpl, ac);
                ck_assert_int_eq(m->view, expected);
                ck_assert_ptr_eq(m->table, m->tlb->space->tables[expected].entries);
            }
}
END_TEST

START_TEST(switching_the_view_drops_nothing)
{
    fill();
    for (unsigned i = 0; i < 3; i++) {
        mmu_set_privilege(m, 3, false);
        dropped(PAGE);
        mmu_set_privilege(m, 0, false);
        ck_assert(!dropped(PAGE));
        ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
    }
}
END_TEST

START_TEST(one_walk_serves_all_views)
{
    fill();
    mmu_set_privilege(m, 3, false);
    ck_assert(!dropped(PAGE));
}
END_TEST

/* --- Bits of control registers --- */

struct bit_rule {
    unsigned reg; /* 0: CR0, 4: CR4, 8: EFER */
    uint64_t bit;
    bool globals; /* global translations go too, at a change in either direction */
    bool others;
};

static const struct bit_rule bit_rules[] = {
    {0, BIT64(1), false, false},  /* MP */
    {0, BIT64(3), false, false},  /* TS */
    {0, CR0_WP, false, false},    /* takes effect, see below */
    {0, BIT64(18), false, false}, /* AM */
    {4, CR4_PGE, true, true},     {4, CR4_SMEP, true, true},   {4, CR4_PSE, true, true},
    {4, CR4_PCIDE, true, true},   {4, CR4_SMAP, false, false}, {4, CR4_PKE, false, false},
    {4, BIT64(9), false, false},  /* OSFXSR */
    {4, BIT64(18), false, false}, /* OSXSAVE */
    {8, BIT64(0), false, false},  /* SCE */
    {8, EFER_NXE, true, true},
};

static void set_bit(const struct bit_rule *rule, bool set)
{
    uint64_t regs[9] = {[0] = m->cr0, [4] = m->cr4, [8] = m->efer};

    regs[rule->reg] = set ? regs[rule->reg] | rule->bit : regs[rule->reg] & ~rule->bit;
    mmu_set_control(m, regs[0], regs[4], regs[8]);
}

START_TEST(a_control_bit_drops_what_it_must_and_no_more)
{
    const struct bit_rule *rule = &bit_rules[_i];

    rig_map(&r, PAGE, 0x401000, PTE_P | PTE_RW | PTE_D);
    rig_map(&r, PAGE_GLOBAL, 0x402000, PTE_P | PTE_RW | PTE_D | PTE_G);
    for (unsigned round = 0; round < 4; round++) {
        bool set = round & 1;

        set_bit(rule, !set);
        if (rule->bit == CR4_PGE && set) /* nothing is global before */
            continue;
        fill();
        set_bit(rule, set);
        ck_assert_int_eq(dropped(PAGE), rule->others);
        ck_assert_int_eq(dropped(PAGE_GLOBAL), rule->globals);
        set_bit(rule, set); /* no change */
        ck_assert(!dropped(PAGE) && !dropped(PAGE_GLOBAL));
    }
}
END_TEST

START_TEST(a_change_of_paging_mode_drops_everything)
{
    fill();
    mmu_set_control(m, m->cr0 & ~CR0_PG, m->cr4, m->efer & ~EFER_LMA);
    ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
    ck_assert_ptr_null(tlb_find_read(m, PAGE_GLOBAL, 1));
    ck_assert_int_eq(load(PAGE), MMU_OK);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(PAGE)));
    mmu_set_control(m, m->cr0 | CR0_PG, m->cr4, m->efer | EFER_LMA);
    ck_assert(dropped(PAGE));
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(0x401000)));
}
END_TEST

START_TEST(write_protect_takes_effect_at_once)
{
    rig_map(&r, PAGE, 0x401000, PTE_P | PTE_D);
    ck_assert_int_eq(store(PAGE), MMU_PAGE_FAULT);
    mmu_set_control(m, m->cr0 & ~CR0_WP, m->cr4, m->efer);
    ck_assert_int_eq(store(PAGE), MMU_OK);
    ck_assert_ptr_nonnull(tlb_find_write(m, PAGE, 1));
    mmu_set_control(m, m->cr0 | CR0_WP, m->cr4, m->efer);
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
    ck_assert_int_eq(store(PAGE), MMU_PAGE_FAULT);
}
END_TEST

START_TEST(smap_takes_effect_at_once)
{
    fill();
    mmu_set_control(m, m->cr0, m->cr4 | CR4_SMAP, m->efer);
    ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
    ck_assert_int_eq(load(PAGE), MMU_PAGE_FAULT);
    mmu_set_privilege(m, 0, true);
    ck_assert_int_eq(load(PAGE), MMU_OK);
    mmu_set_privilege(m, 0, false);
    mmu_set_control(m, m->cr0, m->cr4 & ~CR4_SMAP, m->efer);
    ck_assert_int_eq(load(PAGE), MMU_OK);
    ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
}
END_TEST

START_TEST(smep_takes_effect_at_once_and_look_ups_of_code_go)
{
    uint64_t epoch;

    ck_assert_int_eq(fetch(PAGE), MMU_OK);
    epoch = m->code_epoch;
    mmu_set_control(m, m->cr0, m->cr4 | CR4_SMEP, m->efer);
    ck_assert_uint_ne(m->code_epoch, epoch);
    ck_assert_ptr_null(tlb_find_exec(m, PAGE));
    ck_assert_int_eq(fetch(PAGE), MMU_PAGE_FAULT);
    mmu_set_privilege(m, 3, false);
    ck_assert_int_eq(fetch(PAGE), MMU_OK);
}
END_TEST

START_TEST(nxe_takes_effect_at_once)
{
    rig_map(&r, PAGE, 0x401000, RIG_RWU | PTE_XD);
    ck_assert_int_eq(load(PAGE), MMU_OK);
    ck_assert_int_eq(fetch(PAGE), MMU_PAGE_FAULT);
    mmu_set_control(m, m->cr0, m->cr4, m->efer & ~EFER_NXE);
    ck_assert_int_eq(load(PAGE), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_RESERVED);
}
END_TEST

START_TEST(pkru_takes_effect_at_once_and_drops_nothing)
{
    rig_map(&r, PAGE, 0x401000, RIG_RWU | PTE_D | (uint64_t)5 << 59);
    mmu_set_control(m, m->cr0, m->cr4 | CR4_PKE, m->efer);
    ck_assert_int_eq(store(PAGE), MMU_OK);
    mmu_set_pkru(m, 2u << 10); /* WD of key 5 */
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
    ck_assert_int_eq(store(PAGE), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_WRITE | PF_PROTECTION_KEY);
    load(PAGE);
    mmu_set_pkru(m, 1u << 10); /* AD */
    ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
    ck_assert_int_eq(load(PAGE), MMU_PAGE_FAULT);
    mmu_set_pkru(m, 0);
    ck_assert_int_eq(load(PAGE), MMU_OK);
    ck_assert(!dropped(PAGE));
    mmu_set_pkru(m, 2u << 8); /* another key */
    ck_assert_ptr_nonnull(tlb_find_write(m, PAGE, 1));
    /* Without CR4.PKE the register means nothing. */
    mmu_set_pkru(m, UINT32_MAX);
    mmu_set_control(m, m->cr0, m->cr4 & ~CR4_PKE, m->efer);
    ck_assert_int_eq(store(PAGE), MMU_OK);
    mmu_set_control(m, m->cr0, m->cr4 | CR4_PKE, m->efer);
    ck_assert_int_eq(load(PAGE), MMU_PAGE_FAULT);
}
END_TEST

/* --- CR3 and PCIDs --- */

static void enable_pcids(void)
{
    mmu_set_control(m, m->cr0, m->cr4 | CR4_PCIDE, m->efer);
}

START_TEST(a_cr3_load_keeps_globals_only)
{
    fill();
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert(dropped(PAGE));
    ck_assert(!dropped(PAGE_GLOBAL));
}
END_TEST

START_TEST(without_pge_nothing_is_global)
{
    mmu_set_control(m, m->cr0, m->cr4 & ~CR4_PGE, m->efer);
    fill();
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert(dropped(PAGE_GLOBAL));
}
END_TEST

START_TEST(a_cr3_load_that_keeps_its_pcid_drops_nothing)
{
    enable_pcids();
    mmu_set_cr3(m, RIG_PML4 | 5, false);
    fill();
    mmu_set_cr3(m, RIG_PML4 | 5 | BIT64(63), true);
    ck_assert_uint_eq(m->cr3, RIG_PML4 | 5);
    ck_assert(!dropped(PAGE));
    ck_assert(!dropped(PAGE_GLOBAL));
    mmu_set_cr3(m, RIG_PML4 | 5, false);
    ck_assert(dropped(PAGE));
    ck_assert(!dropped(PAGE_GLOBAL));
}
END_TEST

START_TEST(another_pcid_sees_none_of_the_first_ones_translations)
{
    enable_pcids();
    mmu_set_cr3(m, RIG_PML4 | 5, false);
    fill();
    rig_map(&r, PAGE, 0x403000, RIG_RWU);
    rig_map(&r, PAGE_GLOBAL, 0x404000, RIG_RWU);
    mmu_set_cr3(m, RIG_PML4 | 6, true);
    load(PAGE);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(0x403000)));
    load(PAGE_GLOBAL);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE_GLOBAL, 1),
                     machine_memory_host(r.memory, mpa(0x402000)));
}
END_TEST

START_TEST(invpcid_drops_by_type)
{
    enable_pcids();
    mmu_set_cr3(m, RIG_PML4 | 5, false);
    for (unsigned type = 0; type <= 3; type++) {
        fill();
        mmu_invpcid(m, type, 5, gva(PAGE));
        ck_assert(dropped(PAGE));
        ck_assert_int_eq(dropped(PAGE_GLOBAL), type == 2);
    }
    /* One address of this PCID, and anything of another one. */
    fill();
    mmu_invpcid(m, 0, 5, gva(PAGE + 0x5000));
    mmu_invpcid(m, 0, 6, gva(PAGE));
    mmu_invpcid(m, 1, 6, gva(0));
    ck_assert(!dropped(PAGE));
    ck_assert(!dropped(PAGE_GLOBAL));
    mmu_invpcid(m, 3, 6, gva(0));
    ck_assert(dropped(PAGE));
}
END_TEST

START_TEST(counters_tell_flushes_from_page_invalidations)
{
    uint64_t flushes = m->flushes, pages = m->page_invalidations;

    mmu_invlpg(m, gva(PAGE));
    mmu_invpcid(m, 0, 0, gva(PAGE));
    ck_assert_uint_eq(m->page_invalidations, pages + 2);
    ck_assert_uint_eq(m->flushes, flushes);
    mmu_flush_all(m);
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(m->flushes, flushes + 2);
}
END_TEST

/* --- PDPTE registers, A20 --- */

START_TEST(pdptes_are_taken_from_registers_until_they_are_loaded_again)
{
    mmu_set_control(m, m->cr0 & ~CR0_PG, CR4_PAE, 0);
    rig_poke(&r, 0x30020, 0x31001);
    rig_poke(&r, 0x31000, 0x32000 | RIG_RWU);
    rig_poke(&r, 0x32000 + 8, 0x403000 | RIG_RWU);
    rig_poke(&r, 0x33000, 0x34000 | RIG_RWU);
    rig_poke(&r, 0x34000 + 8, 0x404000 | RIG_RWU);
    ck_assert(mmu_load_pdptes(m, 0x30020));
    mmu_set_cr3(m, 0x30020, false);
    mmu_set_control(m, m->cr0 | CR0_PG, m->cr4, m->efer);
    load(PAGE);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(0x403000)));
    rig_poke(&r, 0x30020, 0x33001); /* memory alone changes nothing, not even with a flush */
    mmu_flush_all(m);
    load(PAGE);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(0x403000)));
    ck_assert(mmu_load_pdptes(m, 0x30020));
    mmu_set_cr3(m, 0x30020, false);
    load(PAGE);
    ck_assert_ptr_eq(tlb_find_read(m, PAGE, 1), machine_memory_host(r.memory, mpa(0x404000)));
}
END_TEST

START_TEST(the_a20_gate_drops_everything_when_it_moves_and_only_then)
{
    fill();
    mmu_set_a20(m, true);
    ck_assert(!dropped(PAGE));
    mmu_set_a20(m, false);
    ck_assert(dropped(PAGE));
    ck_assert(dropped(PAGE_GLOBAL));
    mmu_set_a20(m, true);
    ck_assert(dropped(PAGE_GLOBAL));
}
END_TEST

START_TEST(a_large_page_respects_the_a20_gate_in_each_piece)
{
    rig_poke(&r, RIG_PD + 24, 0x200000 | PTE_PS | RIG_RWU);
    mmu_set_a20(m, false);
    for (uint64_t at = 0x600000; at < 0x800000; at += 0x40000) {
        ck_assert_int_eq(load(at), MMU_OK);
        ck_assert_ptr_eq(tlb_find_read(m, at, 1),
                         machine_memory_host(r.memory, mpa((at - 0x400000) & ~BIT64(20))));
    }
}
END_TEST

/* --- Watches --- */

START_TEST(watch_bits_add_up_and_go_one_by_one)
{
    struct frame *frame = machine_memory_frame(r.memory, mpa(0x401000));

    store(PAGE);
    ck_assert_uint_eq(atomic_load(&frame->sets[FRAME_HOLDERS]), 1);
    mmu_frame_watch(m, mpa(0x401fff), FRAME_WATCH_CODE);
    ck_assert_uint_eq(atomic_load(&frame->sets[FRAME_HOLDERS]), 0);
    mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_DIRTY);
    ck_assert_uint_eq(atomic_load(&frame->watch), FRAME_WATCH_CODE | FRAME_WATCH_DIRTY);
    mmu_frame_unwatch(m, mpa(0x401008), FRAME_WATCH_CODE);
    ck_assert_uint_eq(atomic_load(&frame->watch), FRAME_WATCH_DIRTY);
    mmu_frame_unwatch(m, mpa(0x401000), FRAME_WATCH_CODE);
    ck_assert_uint_eq(atomic_load(&frame->watch), FRAME_WATCH_DIRTY);
}
END_TEST

START_TEST(a_change_of_rights_gives_no_write_tag_to_a_watched_frame)
{
    store(PAGE);
    mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_CODE);
    mmu_set_control(m, m->cr0 & ~CR0_WP, m->cr4, m->efer);
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    mmu_set_privilege(m, 3, false);
    store(PAGE);
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
}
END_TEST

/* --- Off the fast way --- */

START_TEST(a_slow_page_has_no_data_tags_and_works_all_the_same)
{
    const uint64_t pages[] = {PAGE, 0x7000, PAGE};

    store(PAGE);
    store(PAGE_GLOBAL);
    fetch(PAGE);
    mmu_set_slow_pages(m, pages, 3);
    ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    ck_assert_ptr_nonnull(tlb_find_exec(m, PAGE));
    ck_assert_ptr_nonnull(tlb_find_write(m, PAGE_GLOBAL, 1));
    ck_assert(!dropped(PAGE));
    ck_assert_int_eq(store(PAGE), MMU_OK);
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    mmu_flush_all(m);
    store(PAGE);
    ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    mmu_set_slow_pages(m, NULL, 0);
    ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
    ck_assert_ptr_nonnull(tlb_find_write(m, PAGE, 1));
}
END_TEST

START_TEST(everything_can_be_taken_off_the_fast_way_and_put_back)
{
    store(PAGE);
    fetch(PAGE);
    mmu_set_all_slow(m, true);
    for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
        mmu_set_privilege(m, cpl, false);
        ck_assert_int_eq(store(PAGE), MMU_OK);
        ck_assert_ptr_null(tlb_find_read(m, PAGE, 1));
        ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
        ck_assert_ptr_null(tlb_find_exec(m, PAGE));
        ck_assert(!dropped(PAGE));
    }
    mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_CODE);
    mmu_set_all_slow(m, false);
    ck_assert_ptr_nonnull(tlb_find_read(m, PAGE, 1));
    ck_assert_ptr_null(tlb_find_write(m, PAGE, 1));
    mmu_set_privilege(m, 0, false);
    ck_assert_ptr_nonnull(tlb_find_exec(m, PAGE));
}
END_TEST

static void add_cache_tests(TCase *tc)
{
    tcase_add_test(tc, a_slow_page_has_no_data_tags_and_works_all_the_same);
    tcase_add_test(tc, everything_can_be_taken_off_the_fast_way_and_put_back);
    tcase_add_test(tc, a_cr3_load_keeps_globals_only);
    tcase_add_test(tc, without_pge_nothing_is_global);
    tcase_add_test(tc, a_cr3_load_that_keeps_its_pcid_drops_nothing);
    tcase_add_test(tc, another_pcid_sees_none_of_the_first_ones_translations);
    tcase_add_test(tc, invpcid_drops_by_type);
    tcase_add_test(tc, counters_tell_flushes_from_page_invalidations);
    tcase_add_test(tc, pdptes_are_taken_from_registers_until_they_are_loaded_again);
    tcase_add_test(tc, the_a20_gate_drops_everything_when_it_moves_and_only_then);
    tcase_add_test(tc, a_large_page_respects_the_a20_gate_in_each_piece);
    tcase_add_test(tc, watch_bits_add_up_and_go_one_by_one);
    tcase_add_test(tc, a_change_of_rights_gives_no_write_tag_to_a_watched_frame);
}

int main(void)
{
    TCase *tc = tcase_create("control");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_new_context_is_a_processor_after_reset);
    tcase_add_test(tc, privilege_and_ac_select_the_view);
    tcase_add_test(tc, switching_the_view_drops_nothing);
    tcase_add_test(tc, one_walk_serves_all_views);
    tcase_add_loop_test(tc, a_control_bit_drops_what_it_must_and_no_more, 0, ARRAY_SIZE(bit_rules));
    tcase_add_test(tc, a_change_of_paging_mode_drops_everything);
    tcase_add_test(tc, write_protect_takes_effect_at_once);
    tcase_add_test(tc, smap_takes_effect_at_once);
    tcase_add_test(tc, smep_takes_effect_at_once_and_look_ups_of_code_go);
    tcase_add_test(tc, nxe_takes_effect_at_once);
    tcase_add_test(tc, pkru_takes_effect_at_once_and_drops_nothing);
    add_cache_tests(tc);
    return run_suite("control", tc);
}
