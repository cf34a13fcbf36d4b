/*
 * A VM with a map from guest physical pages to machine frames: what becomes of everything derived
 * when a page leads elsewhere, on two vCPUs under each policy. That no map changes what a guest
 * sees is p2m_same_test.c's business.
 */
#include "coherency_rig.h"
#include "mmu/inspect.h"
#include "mmu/p2m.h"
#include "tests/unit/run_suite.h"

#define FRAME(n) (0x1000000u + (n)*0x1000u) /* machine frames that nothing uses at home */

static const uint64_t ram_pages = RIG_RAM / PAGE_SIZE, rom_pages = 0x10000 / PAGE_SIZE;
static struct p2m *map_of_vm;

/* Policies flush, coherent, paranoid=1, and paranoid=1 with consumers that forget. */
#define POLICIES 4

static void choose(int n)
{
    static const enum mmu_policy policies[POLICIES] = {MMU_POLICY_FLUSH, MMU_POLICY_COHERENT,
                                                       MMU_POLICY_PARANOID, MMU_POLICY_PARANOID};

    options.policy = policies[n];
    options.consumer = n == 3 ? MMU_CONSUMER_INVALIDATE : MMU_CONSUMER_APPLY;
    configure();
}

/* The VM gets an identity map. */
static void composed(int policy)
{
    choose(policy);
    map_of_vm = p2m_create_identity(r.memory);
    bus_set_p2m(r.bus, map_of_vm);
}

static void lead(uint64_t page, uint64_t frame)
{
    struct error err = {0};

    ck_assert_msg(p2m_set(map_of_vm, gpa(page), mpa(frame), &err), "%s", err.text);
}

static void copy_frame(uint64_t to, uint64_t from)
{
    memcpy(machine_memory_host(r.memory, mpa(to)), machine_memory_host(r.memory, mpa(from)),
           PAGE_SIZE);
}

/* --- Data --- */

START_TEST(a_page_of_data_moves_under_both_vcpus_and_all_spaces)
{
    composed(_i);
    map(0x10000, 1);
    map(0x11000, 2);
    rig_poke(&r, 0x20000, RIG_PDPT | RIG_RWU); /* a second root */
    rig_poke(&r, FRAME(1), 77);
    for (unsigned n = 0; n < 2; n++) {
        struct mmu_context *c = n == 0 ? m : other;

        mmu_set_cr3(c, 0x20000, false);
        store(c, 0x10008, 8, 1);
        mmu_set_privilege(c, 3, false);
        ck_assert_uint_eq(load(c, 0x10000), VALUE(1));
        mmu_set_cr3(c, RIG_PML4, false);
        store(c, 0x10008, 8, 1);
        ck_assert_ptr_nonnull(tlb_find_write(c, 0x10000, 8));
        ck_assert_uint_eq(load(c, 0x11000), VALUE(2));
    }
    lead(DATA(1), FRAME(1));
    for (unsigned n = 0; n < 2; n++) {
        struct mmu_context *c = n == 0 ? m : other;
        uint64_t walks = c->walks;

        ck_assert_ptr_null(tlb_find_read(c, 0x10000, 8));
        ck_assert_ptr_null(tlb_find_write(c, 0x10000, 8));
        ck_assert_uint_eq(load(c, 0x10000), 77);
        store(c, 0x10010, 8, 5 + n);
        mmu_set_cr3(c, 0x20000, false);
        ck_assert_uint_eq(load(c, 0x10000), 77);
        mmu_set_privilege(c, 0, false);
        ck_assert_uint_eq(load(c, 0x10000), 77);
        ck_assert_uint_eq(load(c, 0x11000), VALUE(2));
        /* The guest's tables are as they were: no walk is wanted. */
        ck_assert(options.policy == MMU_POLICY_FLUSH || c->walks == walks);
        ck_assert(options.policy == MMU_POLICY_FLUSH || c->stats.p2m_dropped >= 2);
    }
    ck_assert_uint_eq(rig_peek(&r, FRAME(1) + 0x10), 6);
    ck_assert_uint_eq(rig_peek(&r, DATA(1) + 0x10), 0);
}
END_TEST

START_TEST(only_what_leads_through_the_page_goes)
{
    composed(1);
    map(0x10000, 1);
    map(0x11000, 2);
    lead(DATA(2), DATA(1)); /* two pages, one frame */
    load(m, 0x10000);
    load(m, 0x11000);
    lead(DATA(2), FRAME(1));
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x10000, 8));
    ck_assert_ptr_null(tlb_find_read(m, 0x11000, 8));
    ck_assert_uint_eq(m->stats.p2m_dropped, 1);
    lead(DATA(2), FRAME(1)); /* nothing changes */
    ck_assert_uint_eq(map_of_vm->changes, 2);
}
END_TEST

START_TEST(two_pages_of_one_frame_are_one_memory)
{
    composed(_i);
    map(0x10000, 1);
    map(0x11000, 2);
    lead(DATA(2), DATA(1));
    store(m, 0x10018, 8, 0x1234);
    ck_assert_uint_eq(load(m, 0x11018), 0x1234);
    store(other, 0x11ffc, 4, 0x5678);
    ck_assert_uint_eq(load(m, 0x10ff8) >> 32, 0x5678);
    /* An access that goes from the last byte of the frame to its first. */
    store(m, 0x10ffe, 4, 0xaabbccdd);
    ck_assert_uint_eq(load(m, 0x11000) & 0xffff, 0xaabb);
    ck_assert_uint_eq(load(m, 0x10ff8) >> 48, 0xccdd);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x10000, 8));
    mmu_frame_watch(m, mpa(DATA(1)), FRAME_WATCH_CODE); /* finds both */
    ck_assert_ptr_null(tlb_find_write(m, 0x10000, 8));
    ck_assert_ptr_null(tlb_find_write(other, 0x11000, 8));
}
END_TEST

START_TEST(pieces_of_a_large_page_have_frames_of_their_own)
{
    composed(_i);
    rig_poke(&r, RIG_PD + 8, 0x800000 | RIG_RWU | PTE_PS | AD);
    for (unsigned n = 0; n < 8; n++)
        lead(DATA(n), FRAME(2 * (7 - n)));
    for (unsigned n = 0; n < 8; n++)
        rig_poke(&r, FRAME(2 * n), 1000 + n);
    for (unsigned n = 0; n < 8; n++)
        ck_assert_uint_eq(load(m, 0x200000 + n * 0x1000), 1000 + 7 - n);
    store(m, 0x200ffc, 8, 0x1122334455667788);
    ck_assert_uint_eq(rig_peek(&r, FRAME(14) + 0xff8) >> 32, 0x55667788);
    ck_assert_uint_eq(rig_peek(&r, FRAME(12)) & 0xffffffff, 0x11223344);
    lead(DATA(1), FRAME(20));
    ck_assert_uint_eq(load(m, 0x201000), 0);
    ck_assert_uint_eq(load(m, 0x202000), 1000 + 5);
    mmu_invlpg(m, gva(0x201000));
    ck_assert_uint_eq(load(m, 0x200000), 1000 + 7);
}
END_TEST

/* --- Code --- */

START_TEST(code_is_fetched_from_the_new_frame_and_look_ups_end)
{
    const uint8_t *host;
    struct mmu_fault fault;
    mpa_t where;

    composed(_i);
    map(0x10000, 1);
    for (unsigned n = 0; n < 2; n++) {
        struct mmu_context *c = n == 0 ? m : other;
        uint64_t user, epoch;

        lead(DATA(1), DATA(1));
        mmu_set_privilege(c, 3, false);
        ck_assert_int_eq(mmu_fetch(c, gva(0x10123), &host, &where, &fault), MMU_OK);
        ck_assert_uint_eq(where.v, DATA(1) + 0x123);
        user = c->code_epoch;
        mmu_set_privilege(c, 0, false);
        ck_assert_int_eq(mmu_fetch(c, gva(0x10123), &host, &where, &fault), MMU_OK);
        epoch = c->code_epoch;
        lead(DATA(1), FRAME(3));
        ck_assert_ptr_null(tlb_find_exec(c, 0x10123));
        ck_assert_uint_ne(c->code_epoch, epoch);
        ck_assert_int_eq(mmu_fetch(c, gva(0x10123), &host, &where, &fault), MMU_OK);
        ck_assert_uint_eq(where.v, FRAME(3) + 0x123);
        ck_assert_ptr_eq(host, machine_memory_host(r.memory, where));
        mmu_set_privilege(c, 3, false);
        ck_assert_uint_ne(c->code_epoch, user);
    }
}
END_TEST

/* --- Tables --- */

/* The table's page leads to a copy in which one entry is another. */
START_TEST(a_page_of_tables_moves_and_what_came_of_the_old_frame_goes)
{
    static const uint64_t tables[] = {RIG_PT, RIG_PD, RIG_PDPT, RIG_PML4};

    composed(_i);
    for (unsigned n = 0; n < ARRAY_SIZE(tables); n++) {
        uint64_t linear = 0x10000 + n * 0x1000, table = FRAME(4 + n);

        map(linear, 1);
        ck_assert_uint_eq(load(m, linear), VALUE(1));
        store(other, linear + 8, 8, 1);
        /* Tables from this level down to another page, beside the old ones. */
        copy_frame(FRAME(10), RIG_PT);
        copy_frame(FRAME(11), RIG_PD);
        copy_frame(FRAME(12), RIG_PDPT);
        rig_poke(&r, FRAME(10) + (linear >> 12) * 8, DATA(2) | PRESENT);
        rig_poke(&r, FRAME(11), FRAME(10) | PRESENT);
        rig_poke(&r, FRAME(12), FRAME(11) | PRESENT);
        copy_frame(table, n == 0 ? FRAME(10) : tables[n]);
        if (n > 0)
            rig_poke(&r, table, (n == 1 ? FRAME(10) : n == 2 ? FRAME(11) : FRAME(12)) | PRESENT);
        lead(tables[n], table);
        ck_assert_uint_eq(load(m, linear), VALUE(2));
        ck_assert_uint_eq(load(other, linear), VALUE(2));
        ck_assert(!watch_of(tables[n]));
        rig_poke(&r, rig_pte(linear), DATA(3) | PRESENT); /* the old table: nobody cares */
        event(m);
        event(other);
        ck_assert_uint_eq(load(m, linear), VALUE(2));
        lead(tables[n], tables[n]);
        ck_assert_uint_eq(load(m, linear), VALUE(3));
        ck_assert_uint_eq(load(other, linear), VALUE(3));
    }
    ck_assert_uint_eq(p2m_moved_count(map_of_vm), 0);
}
END_TEST

START_TEST(global_pages_that_are_common_to_all_spaces_go_with_their_table)
{
    composed(_i);
    rig_map(&r, 0x10000, DATA(1), PRESENT | PTE_G);
    rig_poke(&r, 0x20000, RIG_PDPT | PRESENT);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    mmu_set_cr3(m, 0x20000, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    copy_frame(FRAME(5), RIG_PT);
    rig_poke(&r, FRAME(5) + 0x10 * 8, DATA(2) | PRESENT | PTE_G);
    lead(RIG_PT, FRAME(5));
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    rig_poke(&r, FRAME(1), 66);
    lead(DATA(2), FRAME(1));
    ck_assert_uint_eq(load(m, 0x10000), 66);
}
END_TEST

START_TEST(a_and_d_are_set_where_the_table_lies)
{
    composed(_i);
    rig_map(&r, 0x10000, DATA(1), RIG_RWU);
    copy_frame(FRAME(5), RIG_PT);
    lead(RIG_PT, FRAME(5));
    store(m, 0x10008, 8, 1);
    ck_assert_uint_eq(rig_peek(&r, rig_pte(0x10000)), DATA(1) | RIG_RWU);
    ck_assert_uint_eq(rig_peek(&r, FRAME(5) + 0x10 * 8), DATA(1) | PRESENT);
    ck_assert(options.policy == MMU_POLICY_FLUSH || watch_of(FRAME(5)));
}
END_TEST

/* By the table's own page, by another page of the frame, and by DMA to either. */
START_TEST(a_table_that_moved_is_changed_through_any_page_of_its_frame)
{
    composed(_i);
    copy_frame(FRAME(5), RIG_PT);
    lead(RIG_PT, FRAME(5));
    lead(0x30000, FRAME(5));
    for (unsigned how = 0; how < 4; how++) {
        uint64_t linear = 0x10000 + how * 0x1000, at = (how & 1 ? RIG_PT : 0x30000) + linear / 512;
        uint64_t entry = htole64(DATA(2) | PRESENT);

        rig_poke(&r, FRAME(5) + linear / 512, DATA(1) | PRESENT);
        event(m);
        event(other);
        ck_assert_uint_eq(load(m, linear), VALUE(1));
        ck_assert_uint_eq(load(other, linear), VALUE(1));
        if (how & 2)
            ck_assert(bus_write(r.bus, gpa(at), &entry, 8));
        else
            store(m, TABLES + at, 8, DATA(2) | PRESENT);
        mmu_invlpg(m, gva(linear));
        mmu_invlpg(other, gva(linear));
        ck_assert_uint_eq(load(m, linear), VALUE(2));
        ck_assert_uint_eq(load(other, linear), VALUE(2));
    }
}
END_TEST

/* Two roots reach one frame by two pages; then one of the pages leads elsewhere. */
START_TEST(an_alias_of_a_table_keeps_what_the_moved_page_loses)
{
    const uint64_t pd2 = 0x21000, pdpt2 = 0x22000, pml4 = 0x20000, alias = 0x23000;

    composed(_i);
    rig_poke(&r, pml4, pdpt2 | PRESENT);
    rig_poke(&r, pdpt2, pd2 | PRESENT);
    rig_poke(&r, pd2, alias | PRESENT);
    lead(alias, RIG_PT);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    mmu_set_cr3(m, pml4, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    copy_frame(FRAME(6), RIG_PT);
    rig_poke(&r, FRAME(6) + 0x10 * 8, DATA(2) | PRESENT);
    lead(RIG_PT, FRAME(6));
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1)); /* derives from the old frame anew */
    mmu_set_cr3(m, RIG_PML4, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    map(0x10000, 3); /* in the frame of the alias */
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
    mmu_set_cr3(m, pml4, false);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(3));
}
END_TEST

START_TEST(pdpte_registers_are_loaded_through_the_map_and_stay)
{
    composed(_i);
    mmu_set_control(m, 1, 0, 0);
    rig_poke(&r, FRAME(7) + 0x40, RIG_PD | 1);
    for (unsigned n = 1; n < 4; n++)
        rig_poke(&r, FRAME(7) + 0x40 + n * 8, 0);
    lead(0x20000, FRAME(7));
    ck_assert(mmu_load_pdptes(m, 0x20040));
    ck_assert_uint_eq(m->pdpte[0], RIG_PD | 1);
    mmu_set_cr3(m, 0x20040, false);
    mmu_set_control(m, 1 | CR0_PG, CR4_PAE, 0);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    lead(0x20000, FRAME(8));
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    rig_poke(&r, FRAME(8) + 0x40, BIT64(63) | 1);
    ck_assert(!mmu_load_pdptes(m, 0x20040));
}
END_TEST

/* --- Absent pages --- */

START_TEST(an_absent_page_is_the_buses_and_memory_comes_back)
{
    uint64_t unclaimed;

    composed(_i);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert(p2m_remove(map_of_vm, gpa(DATA(1)), NULL));
    unclaimed = bus_unclaimed_count(r.bus);
    ck_assert_uint_eq(load(m, 0x10000), UINT64_MAX);
    store(m, 0x10000, 8, 4);
    ck_assert_uint_eq(bus_unclaimed_count(r.bus), unclaimed + 2);
    ck_assert_ptr_null(tlb_find_read(m, 0x10000, 8));
    ck_assert_uint_eq(load(other, 0x10000), UINT64_MAX);
    lead(DATA(1), FRAME(9));
    ck_assert_uint_eq(load(m, 0x10000), 0);
    ck_assert_uint_eq(load(other, 0x10000), 0);
    ck_assert_uint_eq(rig_peek(&r, DATA(1)), VALUE(1));
}
END_TEST

START_TEST(memory_comes_before_a_device_and_gives_it_back)
{
    uint64_t value;

    composed(_i);
    rig_map(&r, 0x10000, RIG_IO, PRESENT);
    store(m, 0x10020, 8, 0x11);
    store(other, 0x10028, 8, 0x22);
    ck_assert_uint_eq(r.device_writes, 2);
    lead(RIG_IO, FRAME(9));
    ck_assert_uint_eq(load(m, 0x10020), 0);
    ck_assert_uint_eq(load(other, 0x10028), 0);
    ck_assert_ptr_nonnull(tlb_find_read(m, 0x10020, 8));
    ck_assert(bus_read(r.bus, gpa(RIG_IO + 0x20), &value, 8));
    ck_assert_uint_eq(value, 0);
    ck_assert_uint_eq(r.device_reads, 0);
    ck_assert(p2m_remove(map_of_vm, gpa(RIG_IO), NULL));
    ck_assert_uint_eq(load(m, 0x10020), 0x11);
    ck_assert_uint_eq(load(other, 0x10028), 0x22);
}
END_TEST

START_TEST(a_table_may_be_absent_and_come_back)
{
    struct mmu_fault fault;
    uint64_t value;

    composed(_i);
    map(0x10000, 1);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert(p2m_remove(map_of_vm, gpa(RIG_PT), NULL));
    /* All ones: the bus answers for nobody. */
    ck_assert_int_eq(mmu_load(m, gva(0x10000), 8, &value, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_RESERVED);
    lead(RIG_PT, RIG_PT);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    ck_assert(!faults(other, 0x10000));
}
END_TEST

START_TEST(a_table_in_a_device_gives_way_to_memory)
{
    composed(_i);
    guest_store64(r.device + 0x80, DATA(1) | PRESENT);
    rig_poke(&r, RIG_PD, RIG_IO | PRESENT);
    event(m);
    ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
    rig_poke(&r, FRAME(9) + 0x80, DATA(2) | PRESENT);
    lead(RIG_IO, FRAME(9));
    ck_assert_uint_eq(load(m, 0x10000), VALUE(2));
}
END_TEST

START_TEST(a_vm_may_have_less_than_the_machine)
{
    uint8_t bytes[8192];
    mpa_t at;

    choose(_i);
    map_of_vm = p2m_create(r.memory, 0x900000, NULL);
    for (uint64_t page = 0; page < 0x900000; page += PAGE_SIZE)
        lead(page, page);
    bus_set_p2m(r.bus, map_of_vm);
    ck_assert_uint_eq(p2m_moved_count(map_of_vm), ram_pages + rom_pages - 0x900);
    rig_map(&r, 0x10000, 0x8ff000, PRESENT);
    rig_map(&r, 0x11000, 0x900000, PRESENT);
    rig_map(&r, 0x12000, RIG_ROM, PRESENT);
    store(m, 0x10000, 8, 7);
    ck_assert_uint_eq(load(m, 0x10000), 7);
    store(m, 0x11000, 8, 7);
    ck_assert_uint_eq(load(m, 0x11000), UINT64_MAX);
    ck_assert_uint_eq(load(m, 0x12000), UINT64_MAX);
    ck_assert_uint_eq(rig_peek(&r, 0x900000), 0);
    ck_assert(!p2m_find(map_of_vm, gpa(0x900000), &at));
    memset(bytes, 1, sizeof(bytes));
    ck_assert(!bus_write(r.bus, gpa(0x8ff000), bytes, sizeof(bytes)));
    ck_assert_uint_eq(rig_peek(&r, 0x8ff000), 0x0101010101010101);
    ck_assert_uint_eq(rig_peek(&r, 0x900000), 0);
    ck_assert(!bus_read(r.bus, gpa(0x8ff000), bytes, sizeof(bytes)));
    ck_assert_int_eq(bytes[4095], 1);
    ck_assert_int_eq(bytes[4096], 0xff);
    ck_assert_int_eq(bytes[8191], 0xff);
}
END_TEST

/* --- DMA and the bus --- */

START_TEST(dma_goes_through_the_map_page_by_page)
{
    uint8_t out[3 * PAGE_SIZE], in[3 * PAGE_SIZE];

    composed(0);
    for (unsigned n = 0; n < sizeof(out); n++)
        out[n] = (uint8_t)(n * 7 + n / 256);
    lead(DATA(0), FRAME(3));
    lead(DATA(1), FRAME(1));
    lead(DATA(2), RIG_ROM);
    lead(DATA(3), FRAME(7));
    ck_assert(bus_write(r.bus, gpa(DATA(0) + 0x800), out, sizeof(out)));
    ck_assert(memcmp(machine_memory_host(r.memory, mpa(FRAME(3) + 0x800)), out, 0x800) == 0);
    ck_assert(memcmp(machine_memory_host(r.memory, mpa(FRAME(1))), out + 0x800, 0x1000) == 0);
    ck_assert_uint_eq(rig_peek(&r, RIG_ROM), 0);
    ck_assert(memcmp(machine_memory_host(r.memory, mpa(FRAME(7))), out + 0x2800, 0x800) == 0);
    ck_assert(bus_load(r.bus, gpa(DATA(0) + 0x800), out, sizeof(out)));
    ck_assert(bus_read(r.bus, gpa(DATA(0) + 0x800), in, sizeof(in)));
    ck_assert(memcmp(in, out, sizeof(in)) == 0);
    ck_assert_uint_eq(bus_mmio_read(r.bus, gpa(DATA(0) + 0xffc), 8), guest_load64(out + 0x7fc));
    bus_mmio_write(r.bus, gpa(DATA(0) + 0xffc), 0x1122334455667788, 8);
    ck_assert_uint_eq(rig_peek(&r, FRAME(1)) & 0xffffffff, 0x11223344);
    mmu_write_physical(m, gpa(DATA(0) + 0xffe), out, 8);
    mmu_read_physical(m, gpa(DATA(0) + 0xffe), in, 8);
    ck_assert(memcmp(in, out, 8) == 0);
    ck_assert(memcmp(machine_memory_host(r.memory, mpa(FRAME(1))), out + 2, 6) == 0);
}
END_TEST

START_TEST(holes_between_pages_are_answered_as_one)
{
    uint8_t bytes[5 * PAGE_SIZE];
    uint64_t unclaimed;

    composed(0);
    for (unsigned n = 1; n < 4; n++)
        ck_assert(p2m_remove(map_of_vm, gpa(DATA(n)), NULL));
    unclaimed = bus_unclaimed_count(r.bus);
    ck_assert(!bus_read(r.bus, gpa(DATA(0)), bytes, sizeof(bytes)));
    ck_assert_uint_eq(bus_unclaimed_count(r.bus), unclaimed + 1);
    ck_assert_int_eq(bytes[0], VALUE(0) & 0xff);
    ck_assert_int_eq(bytes[PAGE_SIZE], 0xff);
    ck_assert_int_eq(bytes[4 * PAGE_SIZE - 1], 0xff);
    ck_assert_int_eq(bytes[4 * PAGE_SIZE], VALUE(4) & 0xff);
    ck_assert(!bus_read(r.bus, gpa(UINT64_MAX - 15), bytes, 16)); /* the top of all addresses */
    ck_assert_uint_eq(bus_unclaimed_count(r.bus), unclaimed + 2);
}
END_TEST

START_TEST(a_device_may_lie_where_the_map_has_nothing)
{
    static const struct bus_region_ops ops = {"late", rig_device_read, rig_device_write, 8};
    struct error err = {0};
    uint64_t value = 0;

    composed(0);
    ck_assert(!bus_add_mmio(r.bus, gpa(DATA(1)), 4096, &ops, &r, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "RAM"));
    ck_assert(p2m_remove(map_of_vm, gpa(DATA(1)), NULL));
    ck_assert(!bus_add_mmio(r.bus, gpa(DATA(1)), 4097, &ops, &r, &err));
    ck_assert(bus_add_mmio(r.bus, gpa(DATA(1)), 4096, &ops, &r, &err));
    ck_assert(bus_read(r.bus, gpa(DATA(1)), &value, 8));
    ck_assert_uint_eq(r.device_reads, 1);
    ck_assert(p2m_set(map_of_vm, gpa(RIG_HOLE + 0x5000), mpa(0), NULL));
    ck_assert(!bus_add_mmio(r.bus, gpa(RIG_HOLE), 0x10000, &ops, &r, &err));
}
END_TEST

/* --- Attaching, counters, events, people --- */

START_TEST(a_bare_vm_composes_nothing_and_a_map_comes_and_goes)
{
    choose(_i);
    map(0x10000, 1);
    load(m, 0x10000);
    ck_assert_uint_eq(m->stats.compositions, 0);
    for (unsigned n = 0; n < 3; n++) {
        uint64_t compositions, fills;

        map_of_vm = p2m_create_identity(r.memory);
        lead(DATA(1), FRAME(2)); /* it is nobody's yet */
        ck_assert_uint_eq(map_of_vm->changes, 0);
        bus_set_p2m(r.bus, map_of_vm);
        ck_assert_ptr_eq(bus_p2m(r.bus), map_of_vm);
        fills = m->fills, compositions = m->stats.compositions;
        ck_assert_uint_eq(load(m, 0x10000), 0);
        ck_assert_uint_eq(m->stats.compositions - compositions, m->fills - fills);
        lead(DATA(1), DATA(1));
        ck_assert_uint_eq(p2m_moved_count(map_of_vm), 0);
        ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
        bus_set_p2m(r.bus, NULL);
        compositions = m->stats.compositions;
        ck_assert_uint_eq(load(m, 0x10000), VALUE(1));
        ck_assert_uint_eq(m->stats.compositions, compositions);
    }
}
END_TEST

START_TEST(a_vcpu_that_comes_later_has_the_map_of_its_bus)
{
    struct mmu_context *late = calloc(1, sizeof(*late));

    composed(2);
    lead(DATA(1), FRAME(1));
    rig_poke(&r, FRAME(1), 99);
    mmu_init(late, r.bus, r.memory, NULL, 5);
    mmu_configure(late, &options);
    ck_assert_uint_eq(load(late, DATA(1)), 99); /* paging is off */
    lead(DATA(1), FRAME(2));
    ck_assert_uint_eq(load(late, DATA(1)), 0);
    mmu_destroy(late);
    lead(DATA(1), FRAME(1));
    free(late);
}
END_TEST

START_TEST(people_are_shown_both_addresses)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    struct mmu_walk w;

    composed(1);
    map(0x10000, 1);
    copy_frame(FRAME(5), RIG_PT);
    lead(RIG_PT, FRAME(5));
    lead(DATA(1), FRAME(6));
    load(m, 0x10000);
    mmu_walk_inspect(m, gva(0x10123), MMU_READ, TLB_VIEW_SUPERVISOR, &w);
    mmu_inspect_print_walk(m, out, &w);
    mmu_print_frame(m, out, gpa(DATA(1)));
    mmu_print_frame(m, out, gpa(RIG_HOLE));
    fclose(out);
    ck_assert_ptr_nonnull(strstr(text, "(machine 0x1005080)"));
    ck_assert_ptr_nonnull(strstr(text, "physical 0x801123 (machine 0x1006123)"));
    ck_assert_ptr_null(strstr(text, "(machine 0x12000"));
    ck_assert_ptr_nonnull(strstr(text, "0x801000 lies at machine address 0x1006000"));
    ck_assert_ptr_nonnull(strstr(text, "supervisor: 0x10000"));
    ck_assert_ptr_nonnull(strstr(text, "the VM's map has nothing there"));
    free(text);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("p2m");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, a_page_of_data_moves_under_both_vcpus_and_all_spaces, 0, POLICIES);
    tcase_add_test(tc, only_what_leads_through_the_page_goes);
    tcase_add_loop_test(tc, two_pages_of_one_frame_are_one_memory, 0, POLICIES);
    tcase_add_loop_test(tc, pieces_of_a_large_page_have_frames_of_their_own, 0, POLICIES);
    tcase_add_loop_test(tc, code_is_fetched_from_the_new_frame_and_look_ups_end, 0, POLICIES);
    tcase_add_loop_test(tc, a_page_of_tables_moves_and_what_came_of_the_old_frame_goes, 0,
                        POLICIES);
    tcase_add_loop_test(tc, global_pages_that_are_common_to_all_spaces_go_with_their_table, 0,
                        POLICIES);
    tcase_add_loop_test(tc, a_and_d_are_set_where_the_table_lies, 0, POLICIES);
    tcase_add_loop_test(tc, a_table_that_moved_is_changed_through_any_page_of_its_frame, 0,
                        POLICIES);
    tcase_add_loop_test(tc, an_alias_of_a_table_keeps_what_the_moved_page_loses, 0, POLICIES);
    tcase_add_loop_test(tc, pdpte_registers_are_loaded_through_the_map_and_stay, 0, POLICIES);
    tcase_add_loop_test(tc, an_absent_page_is_the_buses_and_memory_comes_back, 0, POLICIES);
    tcase_add_loop_test(tc, memory_comes_before_a_device_and_gives_it_back, 0, POLICIES);
    tcase_add_loop_test(tc, a_table_may_be_absent_and_come_back, 0, POLICIES);
    tcase_add_loop_test(tc, a_table_in_a_device_gives_way_to_memory, 0, POLICIES);
    tcase_add_loop_test(tc, a_vm_may_have_less_than_the_machine, 0, POLICIES);
    tcase_add_test(tc, dma_goes_through_the_map_page_by_page);
    tcase_add_test(tc, holes_between_pages_are_answered_as_one);
    tcase_add_test(tc, a_device_may_lie_where_the_map_has_nothing);
    tcase_add_loop_test(tc, a_bare_vm_composes_nothing_and_a_map_comes_and_goes, 0, POLICIES);
    tcase_add_test(tc, a_vcpu_that_comes_later_has_the_map_of_its_bus);
    tcase_add_test(tc, people_are_shown_both_addresses);
    return run_suite("p2m", tc);
}
