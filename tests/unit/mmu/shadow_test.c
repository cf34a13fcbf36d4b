/*
 * Shadow pages and patches: who stores into a table and how, who has derived something from it, in
 * which format and at which places; what each sees before and behind its next coherency event.
 */
#include "coherency_rig.h"
#include "mmu/coherency.h"
#include "tests/unit/run_suite.h"

/* --- Who stores, who has derived, what the event is --- */

enum producer_kind { OWN_STORE, OTHER_STORE, DMA, PRODUCER_COUNT };
enum consumer_kind { FIRST, SECOND, BOTH, CONSUMER_COUNT };
enum event_kind { INVLPG, CR3, CR3_KEEP, CR4, INVPCID, FAULT, EVENT_COUNT };

static void produce(enum producer_kind producer, uint64_t at, uint64_t entry)
{
    switch (producer) {
    case OWN_STORE:
        store(m, TABLES + at, 8, entry);
        break;
    case OTHER_STORE:
        store(other, TABLES + at, 8, entry);
        break;
    default:
        entry = htole64(entry);
        bus_write(r.bus, gpa(at), &entry, 8);
        break;
    }
}

static void happen(struct mmu_context *c, enum event_kind kind)
{
    switch (kind) {
    case INVLPG:
        mmu_invlpg(c, gva(0x123000)); /* another page: all patches are taken */
        break;
    case CR3:
    case CR3_KEEP:
        mmu_set_cr3(c, RIG_PML4, kind == CR3_KEEP);
        break;
    case CR4:
        mmu_set_control(c, c->cr0, c->cr4 ^ CR4_PGE, c->efer);
        mmu_set_control(c, c->cr0, c->cr4 ^ CR4_PGE, c->efer);
        break;
    case INVPCID:
        mmu_invpcid(c, 3, 0, gva(0));
        break;
    default:
        ck_assert(faults(c, 0x1ff000));
        break;
    }
}

/* A page that the consumers have read moves; each notices at its event, and not before. */
static void move_page(enum producer_kind producer, enum consumer_kind who, enum event_kind kind,
                      uint64_t linear)
{
    struct mmu_context *consumers[2] = {m, other};
    bool invalidates = options.consumer == MMU_CONSUMER_INVALIDATE;

    map(linear, 1);
    for (unsigned n = 0; n < 2; n++)
        if (who == BOTH || who == n)
            ck_assert_uint_eq(load(consumers[n], linear), VALUE(1));
    produce(producer, rig_pte(linear), DATA(2) | PRESENT);
    for (unsigned n = 0; n < 2; n++) {
        struct mmu_context *c = consumers[n];
        uint64_t walks, taken = c->stats.patches_taken;
        struct mmu_stats before = c->stats;

        if (who != BOTH && who != n)
            continue;
        ck_assert_uint_eq(load(c, linear), VALUE(1));
        ck_assert_uint_eq(c->stats.patches_taken, taken);
        happen(c, kind);
        walks = c->walks;
        ck_assert_uint_eq(load(c, linear), VALUE(2));
        ck_assert_uint_eq(c->walks - walks, invalidates);
        ck_assert_uint_gt(c->stats.patches_taken, taken);
        ck_assert_uint_eq(c->stats.rebuilds, before.rebuilds);
        if (invalidates)
            ck_assert_uint_gt(c->stats.patches_invalidated, before.patches_invalidated);
        else if (options.patch == MMU_PATCH_VALIDATED && producer != n) /* not to itself */
            ck_assert_uint_gt(c->stats.patches_applied, before.patches_applied);
        else
            ck_assert_uint_gt(c->stats.patches_rederived, before.patches_rederived);
    }
}

START_TEST(a_moved_page_is_seen_behind_the_event_and_not_before)
{
    uint64_t linear = 0x10000;

    options.patch = _i & 1 ? MMU_PATCH_VALIDATED : MMU_PATCH_ADDRESS;
    options.consumer = _i & 2 ? MMU_CONSUMER_INVALIDATE : MMU_CONSUMER_APPLY;
    options.flood = 255;
    configure();
    for (unsigned producer = 0; producer < PRODUCER_COUNT; producer++)
        for (unsigned who = 0; who < CONSUMER_COUNT; who++, linear += 0x1000) {
            ck_assert(faults(m, 0x1ff000) && faults(other, 0x1ff000));
            /* So that the stores themselves need no walk, which would take patches. */
            store(m, TABLES + rig_pte(0x1fe000), 8, 0);
            store(other, TABLES + rig_pte(0x1fe000), 8, 0);
            move_page(producer, who, (unsigned)_i / 4, linear);
        }
}
END_TEST

START_TEST(a_validated_value_that_is_overtaken_is_derived_again)
{
    map(0x10000, 1);
    load(m, 0x10000);
    map(0x10000, 2);
    /* The entry changes once more under a producer that is still on its way. */
    guest_store64(machine_memory_host(r.memory, mpa(rig_pte(0x10000))), DATA(3) | PRESENT);
    event(m);
    ck_assert_uint_eq(m->stats.patches_rederived, 1);
    ck_assert_uint_eq(m->stats.patches_applied, 0);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
}
END_TEST

static void map_all(unsigned to)
{
    for (uint64_t n = 0; n < 32; n++)
        map(0x10000 + n * 0x1000, to);
}

/* Of two vCPUs that share, one has given the frame up and walked again when the other takes a value
 * that was posted before; stores between went unheard. */
START_TEST(a_value_from_before_a_frame_was_given_up_is_not_used)
{
    options.patch = MMU_PATCH_VALUE;
    options.tables = MMU_TABLES_SHARED;
    options.flood = 32;
    configure();
    map_all(1);
    load(m, 0x10000);
    load(other, 0x10000);
    map_all(2);
    map(0x10000, 2); /* one too many */
    ck_assert_uint_eq(watch_of(RIG_PT), 0);
    map_all(3);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    event(other); /* takes some values before it gives up the frame */
    for (uint64_t n = 0; n < 32; n++)
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x1000), VALUE(3));
}
END_TEST

static struct patch late;

static void keep_late(void *opaque, const struct patch *p)
{
    (void)opaque;
    late = *p;
}

/* The shadow of the table has just been made: what is posted now was not there before the walk. */
static void post_late(void *opaque, const struct mmu_event *e)
{
    (void)opaque;
    if (e->kind != MMU_EVENT_SHADOW_PAGE || e->mpa != RIG_PT)
        return;
    patch_post(&r.memory->channels[0][1], &late, PATCH_SLOTS);
    atomic_fetch_or(&m->pending, BIT64(1));
}

/* A producer has seen a consumer that has dropped everything meanwhile, and is slow to post. */
START_TEST(a_value_that_is_posted_while_its_frame_is_traced_anew_is_not_used)
{
    options.patch = MMU_PATCH_VALUE;
    configure();
    map(0x10000, 1);
    load(m, 0x10000);
    event(m);
    store(other, TABLES + rig_pte(0x10000), 8, DATA(2) | PRESENT);
    patch_take(&r.memory->channels[0][1], keep_late, NULL);
    ck_assert_uint_eq(late.address, rig_pte(0x10000));
    ck_assert_uint_ne(late.derived & SHADOW_NO_VALIDATOR, 0);
    mmu_drop_derived(m, MMU_CAUSE_TOOL);
    event(m);
    map(0x10000, 3); /* unheard */
    m->events = mmu_events_create(16);
    m->events->notify = post_late;
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    ck_assert(mmu_events_close(m->events, NULL));
    m->events = NULL;
    store(other, TABLES + rig_pte(0x11000), 8, DATA(4) | PRESENT); /* the only one so far */
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
}
END_TEST

START_TEST(stores_of_any_width_and_alignment_are_traced)
{
    struct mmu_fault fault;
    uint64_t expected = DATA(1) | PRESENT;

    for (unsigned n = 0; n < 4; n++) {
        map(0x10000 + n * 0x1000, 1);
        load(m, 0x10000 + n * 0x1000);
    }
    store(m, TABLES + rig_pte(0x10000) + 1, 1, (DATA(2) | PRESENT) >> 8 & 0xff);
    store(m, TABLES + rig_pte(0x11000) + 4, 8, 0); /* half of this one, half of the next */
    mmu_compare_exchange(m, gva(TABLES + rig_pte(0x13000)), 8, &expected, DATA(3) | PRESENT,
                         &fault);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    ck_assert_uint_eq(load(m, 0x11000), VALUE(1));
    ck_assert(faults(m, 0x12000));
    ck_assert_uint_eq(load(m, 0x13000), VALUE(3));
}
END_TEST

START_TEST(an_absent_entry_is_known_and_looked_at_before_the_fault)
{
    uint64_t walks;

    map(0x11000, 1);
    load(m, 0x11000); /* sets the A bits above */
    ck_assert(faults(m, 0x10000));
    walks = m->walks;
    ck_assert(faults(m, 0x10000));
    ck_assert_uint_eq(m->walks, walks);
    ck_assert_uint_eq(m->stats.faults_known, 1);
    map(0x10000, 1); /* no invalidation is asked for (SDM 3A 4.10.4.3) */
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
}
END_TEST

START_TEST(more_rights_need_no_invalidation)
{
    rig_map(&r, 0x10000, DATA(1), PRESENT & ~PTE_RW);
    load(m, 0x10000);
    map(0x10000, 1);
    store(m, 0x10000, 8, 5);
    ck_assert_uint_eq(rig_peek(&r, DATA(1)), 5);
}
END_TEST

/* --- Tables at several places --- */

START_TEST(one_table_at_two_places_has_two_shadows)
{
    rig_poke(&r, RIG_PD + 16, RIG_PT | RIG_RWU); /* at 4 MiB, too */
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(m, 0x410000), VALUE(1));
    map(0x10000, 2);
    event(m);
    ck_assert_uint_eq(m->stats.patches_applied, 2);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    ck_assert_uint_eq(load(m, 0x410000), VALUE(2));
    /* One of the places goes: the other keeps the trace. */
    rig_poke(&r, RIG_PD + 16, 0);
    event(m);
    ck_assert(faults(m, 0x410000));
    map(0x10000, 3);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
}
END_TEST

START_TEST(two_tables_with_four_shadows)
{
    for (unsigned n = 2; n < 4; n++)
        rig_poke(&r, RIG_PD + 8 * n, (n & 1 ? RIG_PT2 : RIG_PT) | RIG_RWU);
    map(0x10000, 1);
    map(0x3f0000, 2);
    for (unsigned n = 0; n < 2; n++) {
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x400000), VALUE(1));
        ck_assert_uint_eq(load(m, 0x3f0000 + n * 0x400000), VALUE(2));
    }
    map(0x10000, 3);
    map(0x3f0000, 4);
    event(m);
    ck_assert_uint_eq(m->stats.patches_applied, 4);
    for (unsigned n = 0; n < 2; n++) {
        ck_assert_uint_eq(load(m, 0x10000 + n * 0x400000), VALUE(3));
        ck_assert_uint_eq(load(m, 0x3f0000 + n * 0x400000), VALUE(4));
    }
}
END_TEST

/* The root's last entry points to the root: entries are seen as pages of the topmost 512 GiB. */
#define SELF(linear) (0xffffff8000000000u + ((linear) >> 12) * 8)

START_TEST(a_table_that_maps_itself_is_a_table_of_several_levels)
{
    rig_poke(&r, RIG_PML4 + 511 * 8, RIG_PML4 | RIG_RWU);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(m, SELF(0x10000)), DATA(1) | PRESENT);
    store(m, SELF(0x10000), 8, DATA(2) | PRESENT);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    /* The directory entry is one of a table, and of a page, at once. */
    guest_store64(machine_memory_host(r.memory, mpa(0x20000 + 0x10 * 8)), DATA(3) | PRESENT);
    rig_poke(&r, RIG_PD, 0x20000 | RIG_RWU);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
    ck_assert_uint_eq(load(m, SELF(0x10000)), DATA(3) | PRESENT);
}
END_TEST

START_TEST(two_producers_and_two_consumers)
{
    struct mmu_context *contexts[2] = {m, other};

    map(0x10000, 1);
    map(0x3f0000, 2);
    for (unsigned n = 0; n < 2; n++) {
        load(contexts[n], 0x10000);
        load(contexts[n], 0x3f0000);
        store(contexts[n], TABLES + rig_pte(0x1fe000), 8, 0);
        store(contexts[n], TABLES + rig_pte(0x3fe000), 8, 0);
    }
    event(m);
    event(other);
    store(m, TABLES + rig_pte(0x10000), 8, DATA(3) | PRESENT);
    store(other, TABLES + rig_pte(0x3f0000), 8, DATA(4) | PRESENT);
    store(other, TABLES + rig_pte(0x10000), 8, DATA(5) | PRESENT); /* the same entry again */
    for (unsigned n = 0; n < 2; n++) {
        ck_assert_uint_eq(load(contexts[n], 0x10000), VALUE(1));
        ck_assert_uint_eq(load(contexts[n], 0x3f0000), VALUE(2));
        event(contexts[n]);
        ck_assert_uint_eq(load(contexts[n], 0x10000), VALUE(5));
        ck_assert_uint_eq(load(contexts[n], 0x3f0000), VALUE(4));
    }
}
END_TEST

START_TEST(a_change_above_detaches_all_below_in_every_space)
{
    rig_poke(&r, 0x20000, RIG_PDPT | RIG_RWU); /* another root above the same tables */
    map(0x10000, 1);
    map(0x11000, 2);
    load(m, 0x10000);
    load(m, 0x11000);
    mmu_set_cr3(m, 0x20000, false);
    load(m, 0x10000);
    for (unsigned n = 0x10; n < 0x12; n++)
        rig_poke(&r, 0x21000 + n * 8, DATA(n) | PRESENT);
    rig_poke(&r, RIG_PD, 0x21000 | RIG_RWU);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(0x10));
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(0x10));
    ck_assert_uint_eq(load(m, 0x11000), VALUE(0x11));
    ck_assert_uint_eq(consumers_of(RIG_PT), 0);
}
END_TEST

START_TEST(a_change_of_the_root_is_one_of_half_a_tebibyte)
{
    rig_poke(&r, RIG_PML4 + 511 * 8, RIG_PDPT | RIG_RWU);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0xffffff8000010000), VALUE(1));
    map(0x21000, 2);
    ck_assert_uint_eq(load(m, 0x21000), VALUE(2));
    rig_poke(&r, RIG_PML4 + 511 * 8, 0);
    event(m);
    ck_assert(faults(m, 0xffffff8000010000));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x21000, 8));
}
END_TEST

/* --- Formats --- */

static void poke(uint64_t at, unsigned size, uint64_t entry)
{
    if (size == 8)
        rig_poke(&r, at, entry);
    else
        rig_poke32(&r, at, (uint32_t)entry);
}

/* A large page is split, and made whole again. */
static void large_page(uint64_t at, unsigned size, uint64_t linear, uint64_t table)
{
    for (unsigned n = 0; n < 2; n++) {
        poke(at, size, 0x800000 | PRESENT | PTE_PS);
        event(m);
        ck_assert_uint_eq(load(m, linear), VALUE(0));
        ck_assert_uint_eq(load(m, linear + 0x3000), VALUE(3));
        poke(table, size, DATA(9) | PRESENT);
        poke(at, size, table | RIG_RWU);
        event(m);
        ck_assert_uint_eq(load(m, linear), VALUE(9));
        ck_assert(faults(m, linear + 0x3000));
    }
}

START_TEST(a_page_of_2_mib_is_split_and_made_whole)
{
    large_page(RIG_PD + 24, 8, 0x600000, 0x20000);
}
END_TEST

START_TEST(a_page_of_1_gib_splits_and_goes)
{
    rig_poke(&r, RIG_PDPT + 8, PRESENT | PTE_PS);
    ck_assert_uint_eq(load(m, 0x40000000 + DATA(7)), VALUE(7));
    ck_assert_uint_eq(load(m, 0x40000000 + RIG_PML4), rig_peek(&r, RIG_PML4));
    rig_poke(&r, RIG_PDPT + 8, RIG_PD | RIG_RWU);
    event(m);
    map(0x10000, 2);
    ck_assert_uint_eq(load(m, 0x40010000), VALUE(2));
    ck_assert(faults(m, 0x40000000 + DATA(7)));
}
END_TEST

static void mode_32bit(void)
{
    rig_poke32(&r, 0x20000, 0x21000 | RIG_RWU);
    mmu_set_cr3(m, 0x20000, false);
    mmu_set_control(m, 1 | CR0_WP | CR0_PG, CR4_PSE, 0);
}

START_TEST(a_patch_of_32_bit_tables_is_about_two_entries)
{
    mode_32bit();
    for (unsigned n = 0; n < 4; n++)
        rig_poke32(&r, 0x21000 + n * 4, DATA(n) | PRESENT);
    for (unsigned n = 0; n < 4; n++)
        ck_assert_uint_eq(load(m, n * 0x1000), VALUE(n));
    rig_poke32(&r, 0x21000 + 4, DATA(5) | PRESENT);
    rig_poke(&r, 0x21000 + 8, DATA(6) | PRESENT | (DATA(7) | PRESENT) << 32);
    event(m);
    ck_assert_uint_eq(load(m, 0), VALUE(0));
    ck_assert_uint_eq(load(m, 0x1000), VALUE(5));
    ck_assert_uint_eq(load(m, 0x2000), VALUE(6));
    ck_assert_uint_eq(load(m, 0x3000), VALUE(7));
}
END_TEST

START_TEST(a_page_of_4_mib_is_split_and_made_whole)
{
    mode_32bit();
    large_page(0x20000 + 8, 4, 0x800000, 0x22000);
}
END_TEST

START_TEST(pdpte_registers_are_part_of_the_space)
{
    uint64_t switches;

    rig_poke(&r, 0x20000, 0x21000 | PTE_P);
    rig_poke(&r, 0x20008, 0x21000 | PTE_P); /* the same directory at 1 GiB */
    rig_poke(&r, 0x21000, RIG_PT | RIG_RWU);
    rig_poke(&r, 0x22000, 0x23000 | RIG_RWU);
    rig_poke(&r, 0x23000 + 0x10 * 8, DATA(4) | PRESENT);
    map(0x10000, 1);
    ck_assert(mmu_load_pdptes(m, 0x20000));
    mmu_set_cr3(m, 0x20000, false);
    mmu_set_control(m, 1 | CR0_WP | CR0_PG, CR4_PAE, 0);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(m, 0x40010000), VALUE(1));
    map(0x10000, 2);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    ck_assert_uint_eq(load(m, 0x40010000), VALUE(2));
    /* Memory changes, the registers do not (SDM 3A 4.4.1). */
    rig_poke(&r, 0x20000, 0x22000 | PTE_P);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    switches = m->stats.space_switches;
    ck_assert(mmu_load_pdptes(m, 0x20000));
    mmu_set_cr3(m, 0x20000, false);
    ck_assert_uint_eq(m->stats.space_switches, switches + 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(4));
    ck_assert_uint_eq(load(m, 0x40010000), VALUE(2));
}
END_TEST

START_TEST(five_levels)
{
    rig_poke(&r, 0x20000, RIG_PML4 | RIG_RWU);
    rig_poke(&r, 0x20000 + 511 * 8, RIG_PML4 | RIG_RWU);
    map(0x10000, 1);
    mmu_set_control(m, 1, CR4_PAE, 0);
    mmu_set_cr3(m, 0x20000, false);
    mmu_set_control(m, 1 | CR0_WP | CR0_PG, CR4_PAE | CR4_LA57, EFER_LMA | EFER_NXE);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert_uint_eq(load(m, 0xffff000000010000), VALUE(1));
    map(0x10000, 2);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    ck_assert_uint_eq(load(m, 0xffff000000010000), VALUE(2));
    rig_poke(&r, 0x20000 + 511 * 8, 0);
    event(m);
    ck_assert(faults(m, 0xffff000000010000));
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
}
END_TEST

/* --- A and D --- */

START_TEST(a_cleared_a_bit_is_set_by_the_next_access_behind_the_event)
{
    map(0x10000, 1);
    load(m, 0x10000);
    rig_map(&r, 0x10000, DATA(1), PRESENT & ~PTE_A);
    event(m);
    load(m, 0x10000);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x10000)) & PTE_A, PTE_A);
    rig_poke(&r, RIG_PD, rig_peek(&r, RIG_PD) & ~PTE_A); /* above, too */
    event(m);
    load(m, 0x10000);
    ck_assert_uint_eq(rig_peek(&r, RIG_PD) & PTE_A, PTE_A);
}
END_TEST

START_TEST(a_cleared_d_bit_is_set_by_the_next_store_behind_the_event)
{
    map(0x10000, 1);
    store(m, 0x10000, 8, 1);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x10000, 8));
    rig_map(&r, 0x10000, DATA(1), PRESENT & ~PTE_D);
    event(m);
    ck_assert_ptr_null(tlb_find_write(m, 0x10000, 8));
    load(m, 0x10000);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x10000)) & PTE_D, 0);
    store(m, 0x10000, 8, 2);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x10000)) & PTE_D, PTE_D);
}
END_TEST

START_TEST(bits_that_the_walker_sets_are_no_news)
{
    rig_map(&r, 0x10000, DATA(1), RIG_RWU);
    load(m, 0x10000);
    load(other, 0x10000);
    store(other, 0x10000, 8, 3);
    ck_assert_uint_eq(atomic_load(&m->pending), 0);
    ck_assert_uint_eq(atomic_load(&other->pending), 0);
    store(m, 0x10000, 8, 4); /* and the D bit in memory suffices */
    ck_assert_uint_eq(rig_peek(&r, DATA(1)), 4);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("shadow");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_moved_page_is_seen_behind_the_event_and_not_before, 0,
                        4 * EVENT_COUNT);
    tcase_add_test(tc, a_validated_value_that_is_overtaken_is_derived_again);
    tcase_add_test(tc, a_value_from_before_a_frame_was_given_up_is_not_used);
    tcase_add_test(tc, a_value_that_is_posted_while_its_frame_is_traced_anew_is_not_used);
    tcase_add_test(tc, stores_of_any_width_and_alignment_are_traced);
    tcase_add_test(tc, an_absent_entry_is_known_and_looked_at_before_the_fault);
    tcase_add_test(tc, more_rights_need_no_invalidation);
    tcase_add_test(tc, one_table_at_two_places_has_two_shadows);
    tcase_add_test(tc, two_tables_with_four_shadows);
    tcase_add_test(tc, a_table_that_maps_itself_is_a_table_of_several_levels);
    tcase_add_test(tc, two_producers_and_two_consumers);
    tcase_add_test(tc, a_change_above_detaches_all_below_in_every_space);
    tcase_add_test(tc, a_change_of_the_root_is_one_of_half_a_tebibyte);
    tcase_add_test(tc, a_page_of_2_mib_is_split_and_made_whole);
    tcase_add_test(tc, a_page_of_1_gib_splits_and_goes);
    tcase_add_test(tc, a_patch_of_32_bit_tables_is_about_two_entries);
    tcase_add_test(tc, a_page_of_4_mib_is_split_and_made_whole);
    tcase_add_test(tc, pdpte_registers_are_part_of_the_space);
    tcase_add_test(tc, five_levels);
    tcase_add_test(tc, a_cleared_a_bit_is_set_by_the_next_access_behind_the_event);
    tcase_add_test(tc, a_cleared_d_bit_is_set_by_the_next_store_behind_the_event);
    tcase_add_test(tc, bits_that_the_walker_sets_are_no_news);
    return run_suite("shadow", tc);
}
