/* Loads, stores, probes and fetches by linear address: what they touch, and what they must not. */
#include "mmu/tlb.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <pthread.h>

#define READ_ONLY (PTE_P | PTE_US)
#define PATTERN   0x1122334455667788

static struct rig r;
static struct mmu_context *const m = &r.m;
static struct mmu_fault fault;

/* Pages 0x1000 and 0x2000 lie at 0x401000 and 0x402000, and so on, up to the device. */
#define PAGE_DEVICE 0x5000u
#define PAGE_ROM    0x6000u
#define PAGE_HOLE   0x7000u
#define PAGE_NONE   0x8000u

static void setup(void)
{
    ck_assert(rig_create(&r));
    rig_long_mode(&r, m);
    for (uint64_t page = 0x1000; page < PAGE_DEVICE; page += 0x1000)
        rig_map(&r, page, 0x400000 + page, RIG_RWU);
    rig_map(&r, PAGE_DEVICE, RIG_IO, RIG_RWU);
    rig_map(&r, PAGE_ROM, RIG_ROM, RIG_RWU);
    rig_map(&r, PAGE_HOLE, RIG_HOLE, RIG_RWU);
    fault = (struct mmu_fault){.error_code = 0xdead};
}

static void teardown(void)
{
    rig_destroy(&r);
}

static uint64_t load(uint64_t address, unsigned size)
{
    uint64_t value = 0;

    ck_assert_int_eq(mmu_load(m, gva(address), size, &value, &fault), MMU_OK);
    return value;
}

static void store(uint64_t address, unsigned size, uint64_t value)
{
    ck_assert_int_eq(mmu_store(m, gva(address), size, value, &fault), MMU_OK);
}

static bool clean(uint64_t page)
{
    return !(rig_peek(&r, rig_pte(page)) & PTE_D);
}

/* --- Plain memory --- */

START_TEST(a_value_reads_back_at_every_size_and_offset)
{
    for (unsigned size = 1; size <= 8; size *= 2)
        for (unsigned offset = 0xff0; offset < 0x1010; offset++) {
            uint64_t at = 0x1000 + offset;
            uint8_t bytes[16];

            memset(r.memory->base + 0x401fe0, 0xee, 0x40);
            memset(r.memory->base + 0x402000, 0xee, 0x40);
            store(at, size, PATTERN);
            ck_assert_uint_eq(load(at, size), PATTERN & size_mask(size));
            /* Little endian, and nothing around it. */
            for (unsigned i = 0; i < size; i++)
                ck_assert_uint_eq(load(at + i, 1), (uint8_t)(PATTERN >> 8 * i));
            memcpy(bytes, r.memory->base + 0x400000 + at - 1, 1);
            memcpy(bytes + 1, r.memory->base + 0x400000 + at + size, 1);
            ck_assert_uint_eq(bytes[0], 0xee);
            ck_assert_uint_eq(bytes[1], 0xee);
        }
}
END_TEST

START_TEST(a_crossing_access_joins_pages_that_lie_apart)
{
    rig_map(&r, 0x2000, 0x700000, RIG_RWU);
    store(0x1ffd, 8, PATTERN);
    ck_assert_uint_eq(rig_peek(&r, 0x401ff8) >> 40, 0x667788);
    ck_assert_uint_eq(rig_peek(&r, 0x700000), 0x1122334455);
    ck_assert_uint_eq(load(0x1ffd, 8), PATTERN);
}
END_TEST

START_TEST(a_fault_on_the_second_page_leaves_the_first_as_it_was)
{
    rig_map(&r, 0x2000, 0x402000, READ_ONLY);
    ck_assert_int_eq(mmu_store(m, gva(0x1ffe), 4, PATTERN, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.address.v, 0x2000);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_WRITE);
    ck_assert_uint_eq(rig_peek(&r, 0x401ff8), 0);
    ck_assert_uint_eq(rig_peek(&r, 0x402000), 0);
    ck_assert_int_eq(mmu_load(m, gva(0x1ffe), 4, &(uint64_t){0}, &fault), MMU_OK);
}
END_TEST

START_TEST(a_fault_on_the_first_page_names_the_address_itself)
{
    rig_map(&r, 0x1000, 0x401000, READ_ONLY);
    ck_assert_int_eq(mmu_store(m, gva(0x1ffe), 4, PATTERN, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.address.v, 0x1ffe);
    ck_assert(clean(0x2000));
    ck_assert_uint_eq(rig_peek(&r, 0x402000), 0);
    rig_map(&r, 0x2000, 0, 0); /* with both at fault the first is reported */
    ck_assert_int_eq(mmu_load(m, gva(0x0ffe), 4, &(uint64_t){0}, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.address.v, 0x0ffe);
}
END_TEST

START_TEST(a_load_that_faults_leaves_the_value)
{
    uint64_t value = 42;

    ck_assert_int_eq(mmu_load(m, gva(PAGE_NONE - 4), 8, &value, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.address.v, PAGE_NONE);
    ck_assert_uint_eq(fault.error_code, 0);
    ck_assert_uint_eq(value, 42);
}
END_TEST

START_TEST(an_access_over_the_edge_of_canonical_space_is_no_page_fault)
{
    static const uint64_t edges[] = {0x00007ffffffffffc, 0xffff7ffffffffffc, 0x0000800000000000,
                                     0xffff7ffffffffff0};

    for (unsigned i = 0; i < ARRAY_SIZE(edges); i++) {
        uint64_t walks = m->walks, value;

        ck_assert_int_eq(mmu_load(m, gva(edges[i]), 8, &value, &fault), MMU_NOT_CANONICAL);
        ck_assert_uint_eq(fault.address.v, edges[i]);
        ck_assert_int_eq(mmu_store(m, gva(edges[i]), 8, 0, &fault), MMU_NOT_CANONICAL);
        ck_assert_uint_le(m->walks, walks + 2);
    }
}
END_TEST

START_TEST(the_top_of_the_address_space_wraps_to_its_bottom)
{
    /* Canonical on both sides: linear addresses wrap at 64 bits. */
    uint64_t top = 0xfffffffffffffffc;

    rig_poke(&r, RIG_PML4 + 511 * 8, 0x20000 | RIG_RWU);
    rig_poke(&r, 0x20000 + 511 * 8, 0x21000 | RIG_RWU);
    rig_poke(&r, 0x21000 + 511 * 8, 0x22000 | RIG_RWU);
    rig_poke(&r, 0x22000 + 511 * 8, 0x703000 | RIG_RWU);
    rig_map(&r, 0, 0x704000, RIG_RWU);
    store(top, 8, PATTERN);
    ck_assert_uint_eq(rig_peek(&r, 0x703ff8) >> 32, PATTERN & 0xffffffff);
    ck_assert_uint_eq(rig_peek(&r, 0x704000), PATTERN >> 32);
    ck_assert_uint_eq(load(top, 8), PATTERN);
}
END_TEST

START_TEST(outside_long_mode_the_second_page_wraps_at_4_gib)
{
    rig_poke32(&r, 0x20000, 0x21000 | RIG_RWU);
    rig_poke32(&r, 0x20000 + 1023 * 4, 0x22000 | RIG_RWU);
    rig_poke32(&r, 0x21000, 0x705000 | RIG_RWU);
    rig_poke32(&r, 0x22000 + 1023 * 4, 0x706000 | RIG_RWU);
    mmu_set_cr3(m, 0x20000, false);
    mmu_set_control(m, 1 | CR0_PG, 0, 0);
    store(0xfffffffc, 8, PATTERN);
    ck_assert_uint_eq(rig_peek(&r, 0x706ff8) >> 32, PATTERN & 0xffffffff);
    ck_assert_uint_eq(rig_peek(&r, 0x705000), PATTERN >> 32);
}
END_TEST

START_TEST(without_paging_the_a20_gate_wraps_at_1_mib)
{
    mmu_set_control(m, 1, 0, 0);
    mmu_set_a20(m, false);
    store(0x100010, 4, 0x12345678);
    ck_assert_uint_eq(rig_peek(&r, 0x10) & 0xffffffff, 0x12345678);
    ck_assert_uint_eq(rig_peek(&r, 0x100010), 0);
    /* The first page behind 1 MiB is the first page of all. */
    store(0xffffe, 4, 0xaabbccdd);
    ck_assert_uint_eq(rig_peek(&r, 0xffff8) >> 48, 0xccdd);
    ck_assert_uint_eq(rig_peek(&r, 0) & 0xffff, 0xaabb);
    mmu_set_a20(m, true);
    ck_assert_uint_eq(load(0x100010, 4), 0);
}
END_TEST

/* --- Devices and ROM --- */

START_TEST(a_device_is_accessed_once_with_the_size_asked_for)
{
    store(PAGE_DEVICE + 8, 4, PATTERN);
    ck_assert_uint_eq(r.device_writes, 1);
    ck_assert_uint_eq(r.device_reads, 0);
    ck_assert_uint_eq(load(PAGE_DEVICE + 8, 8), PATTERN & 0xffffffff);
    ck_assert_uint_eq(r.device_reads, 1);
}
END_TEST

START_TEST(an_access_from_memory_into_a_device_takes_a_part_of_each)
{
    store(PAGE_DEVICE - 4, 8, PATTERN);
    ck_assert_uint_eq(rig_peek(&r, 0x404ff8) >> 32, PATTERN & 0xffffffff);
    ck_assert_uint_eq(guest_load32(r.device), PATTERN >> 32);
    ck_assert_uint_eq(r.device_writes, 1);
    ck_assert_uint_eq(load(PAGE_DEVICE - 4, 8), PATTERN);
    ck_assert_uint_eq(r.device_reads, 1);
}
END_TEST

START_TEST(a_fault_behind_a_device_leaves_the_device_alone)
{
    rig_map(&r, PAGE_ROM, 0, 0);
    ck_assert_int_eq(mmu_store(m, gva(PAGE_ROM - 4), 8, 1, &fault), MMU_PAGE_FAULT);
    ck_assert_int_eq(mmu_load(m, gva(PAGE_ROM - 4), 8, &(uint64_t){0}, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(r.device_writes + r.device_reads, 0);
}
END_TEST

START_TEST(probes_touch_no_device_and_no_memory)
{
    ck_assert_int_eq(mmu_probe_write(m, gva(PAGE_DEVICE - 2), 4, &fault), MMU_OK);
    ck_assert_int_eq(mmu_probe_read(m, gva(PAGE_DEVICE), 8, &fault), MMU_OK);
    ck_assert_uint_eq(r.device_writes + r.device_reads, 0);
    ck_assert_int_eq(mmu_probe_write(m, gva(0x1800), 4096, &fault), MMU_OK);
    ck_assert(!clean(0x1000) && !clean(0x2000));
    ck_assert_int_eq(mmu_probe_write(m, gva(PAGE_HOLE + 1), 4096, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.address.v, PAGE_NONE);
    ck_assert_int_eq(mmu_probe_read(m, gva(PAGE_HOLE), 4096, &fault), MMU_OK);
}
END_TEST

START_TEST(rom_reads_and_ignores_stores)
{
    rig_poke(&r, RIG_ROM + 8, PATTERN);
    store(PAGE_ROM + 8, 8, 0);
    ck_assert_uint_eq(load(PAGE_ROM + 8, 8), PATTERN);
    store(PAGE_ROM + 7, 2, 0xffff);
    ck_assert_uint_eq(load(PAGE_ROM + 8, 8), PATTERN);
}
END_TEST

START_TEST(a_hole_reads_as_ones)
{
    store(PAGE_HOLE, 8, 0);
    ck_assert_uint_eq(load(PAGE_HOLE, 4), 0xffffffff);
    ck_assert_uint_gt(bus_unclaimed_count(r.bus), 0);
}
END_TEST

/* --- Exact points --- */

START_TEST(a_device_waits_for_an_exact_point)
{
    uint64_t value = 42, expected = 0;

    m->exact = true;
    ck_assert_int_eq(mmu_load(m, gva(PAGE_DEVICE), 4, &value, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_store(m, gva(PAGE_DEVICE - 2), 4, 1, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_probe_write(m, gva(PAGE_DEVICE), 4, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_probe_read(m, gva(PAGE_HOLE), 4, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_compare_exchange(m, gva(PAGE_DEVICE), 4, &expected, 1, &fault),
                     MMU_RESTART);
    ck_assert_uint_eq(r.device_reads + r.device_writes, 0);
    ck_assert_uint_eq(value, 42);
    ck_assert_uint_eq(rig_peek(&r, 0x404ff8), 0);
    ck_assert_int_eq(mmu_load(m, gva(0x1000), 4, &value, &fault), MMU_OK);
    m->exact_point = true;
    ck_assert_int_eq(mmu_load(m, gva(PAGE_DEVICE), 4, &value, &fault), MMU_OK);
    m->exact = m->exact_point = false;
    ck_assert_int_eq(mmu_load(m, gva(PAGE_DEVICE), 4, &value, &fault), MMU_OK);
    ck_assert_uint_eq(r.device_reads, 2);
}
END_TEST

START_TEST(a_fault_comes_before_a_restart)
{
    m->exact = true;
    rig_map(&r, PAGE_ROM, 0, 0);
    ck_assert_int_eq(mmu_store(m, gva(PAGE_ROM - 1), 2, 1, &fault), MMU_PAGE_FAULT);
}
END_TEST

/* --- Watched frames --- */

struct heard {
    unsigned count;
    mpa_t address;
    unsigned length;
    uint64_t now;  /* what memory held then */
    bool overlaps; /* what code_overlaps answers */
};

static struct heard heard;

static void on_code_changed(struct mmu_context *who, mpa_t address, unsigned length)
{
    ck_assert_ptr_eq(who, m);
    heard.count++;
    heard.address = address;
    heard.length = length;
    heard.now = rig_peek(&r, address.v & ~(uint64_t)7);
}

static bool on_code_overlaps(struct mmu_context *who, mpa_t address, unsigned length)
{
    (void)who, (void)address, (void)length;
    return heard.overlaps;
}

static void watch_code(uint64_t frame)
{
    heard = (struct heard){.overlaps = true};
    r.memory->code_changed = on_code_changed;
    r.memory->code_overlaps = on_code_overlaps;
    mmu_frame_watch(m, mpa(frame), FRAME_WATCH_CODE);
}

START_TEST(a_store_into_code_is_heard_of_behind_it)
{
    store(0x1010, 8, PATTERN);
    watch_code(0x401000);
    store(0x1012, 2, 0xffff);
    ck_assert_uint_eq(heard.count, 1);
    ck_assert_uint_eq(heard.address.v, 0x401012);
    ck_assert_uint_eq(heard.length, 2);
    ck_assert_uint_eq(heard.now, (PATTERN & ~0xffff0000ull) | 0xffff0000);
    ck_assert_uint_eq(load(0x1012, 2), 0xffff);
    load(0x1010, 8);
    ck_assert_uint_eq(heard.count, 1);
}
END_TEST

START_TEST(a_crossing_store_is_heard_of_in_the_watched_frame_only)
{
    watch_code(0x402000);
    store(0x1ffd, 8, PATTERN);
    ck_assert_uint_eq(heard.count, 1);
    ck_assert_uint_eq(heard.address.v, 0x402000);
    ck_assert_uint_eq(heard.length, 5);
}
END_TEST

START_TEST(a_store_that_faults_is_not_heard_of)
{
    watch_code(0x404000);
    rig_map(&r, PAGE_DEVICE, 0, 0);
    ck_assert_int_eq(mmu_store(m, gva(PAGE_DEVICE - 1), 2, 0, &fault), MMU_PAGE_FAULT);
    ck_assert_int_eq(mmu_probe_write(m, gva(PAGE_DEVICE - 1), 1, &fault), MMU_OK);
    ck_assert_uint_eq(heard.count, 0);
}
END_TEST

START_TEST(a_store_into_running_code_waits_for_an_exact_point)
{
    watch_code(0x401000);
    m->exact = true;
    ck_assert_int_eq(mmu_store(m, gva(0x1000), 4, 1, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_store(m, gva(0x0fff + 0x1000), 2, 1, &fault), MMU_RESTART);
    ck_assert_int_eq(mmu_probe_write(m, gva(0x1000), 4, &fault), MMU_RESTART);
    ck_assert_uint_eq(heard.count, 0);
    ck_assert_uint_eq(rig_peek(&r, 0x401000), 0);
    load(0x1000, 4);
    /* Beside the decoded bytes it need not wait, and is still heard of. */
    heard.overlaps = false;
    store(0x1000, 4, 1);
    ck_assert_uint_eq(heard.count, 1);
    heard.overlaps = true;
    m->exact_point = true;
    store(0x1000, 4, 2);
    ck_assert_uint_eq(heard.count, 2);
    /* Nobody who can tell: assume so. */
    r.memory->code_overlaps = NULL;
    m->exact_point = false;
    ck_assert_int_eq(mmu_store(m, gva(0x1000), 4, 1, &fault), MMU_RESTART);
}
END_TEST

START_TEST(the_first_store_clears_a_dirty_watch_and_later_ones_are_fast)
{
    struct frame *frame = machine_memory_frame(r.memory, mpa(0x401000));

    store(0x1000, 1, 1);
    mmu_frame_watch(m, mpa(0x401000), FRAME_WATCH_DIRTY);
    ck_assert_ptr_null(tlb_find_write(m, 0x1000, 1));
    load(0x1000, 1);
    ck_assert_uint_eq(atomic_load(&frame->watch), FRAME_WATCH_DIRTY);
    store(0x1000, 1, 1);
    ck_assert_uint_eq(atomic_load(&frame->watch), 0);
    store(0x1000, 1, 1);
    ck_assert_ptr_nonnull(tlb_find_write(m, 0x1000, 1));
}
END_TEST

/* --- Compare and exchange --- */

START_TEST(compare_exchange_stores_only_on_a_match)
{
    for (unsigned size = 1; size <= 8; size *= 2)
        for (unsigned offset = 0; offset < 16; offset++) {
            uint64_t at = 0x1ff0 + offset, mask = size_mask(size), expected;

            store(at, size, PATTERN);
            expected = 1;
            ck_assert_int_eq(mmu_compare_exchange(m, gva(at), size, &expected, 2, &fault), MMU_OK);
            ck_assert_uint_eq(expected, PATTERN & mask);
            ck_assert_uint_eq(load(at, size), PATTERN & mask);
            expected = PATTERN; /* bits above the size do not count */
            ck_assert_int_eq(mmu_compare_exchange(m, gva(at), size, &expected, 2, &fault), MMU_OK);
            ck_assert_uint_eq(expected, PATTERN & mask);
            ck_assert_uint_eq(load(at, size), 2);
        }
}
END_TEST

START_TEST(compare_exchange_needs_the_right_to_write_even_if_it_will_not_match)
{
    uint64_t expected = 1;

    rig_map(&r, 0x1000, 0x401000, READ_ONLY);
    ck_assert_int_eq(mmu_compare_exchange(m, gva(0x1000), 4, &expected, 2, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_WRITE);
    ck_assert_uint_eq(expected, 1);
}
END_TEST

START_TEST(compare_exchange_works_on_devices_and_not_on_rom)
{
    uint64_t expected = 0;

    ck_assert_int_eq(mmu_compare_exchange(m, gva(PAGE_DEVICE), 4, &expected, 7, &fault), MMU_OK);
    ck_assert_uint_eq(guest_load32(r.device), 7);
    expected = 3; /* what it held when it was loaded */
    ck_assert_int_eq(mmu_compare_exchange(m, gva(PAGE_DEVICE), 4, &expected, 9, &fault), MMU_OK);
    ck_assert_uint_eq(expected, 3);
    ck_assert_uint_eq(guest_load32(r.device), 9);
    ck_assert_uint_eq(r.device_reads, 0);
    ck_assert_uint_eq(r.device_writes, 2);
    expected = 0;
    ck_assert_int_eq(mmu_compare_exchange(m, gva(PAGE_ROM), 4, &expected, 7, &fault), MMU_OK);
    ck_assert_uint_eq(expected, 0);
    ck_assert_uint_eq(load(PAGE_ROM, 4), 0);
}
END_TEST

#define COUNT 1000000u

static pthread_barrier_t start;

/* Adds 1 to the counter at 0x1008 many times. */
static void *count_up(void *opaque)
{
    struct mmu_context *n = opaque;
    struct mmu_fault f;

    pthread_barrier_wait(&start);
    for (unsigned i = 0; i < COUNT; i++) {
        uint64_t seen = 0, expected;

        do {
            expected = seen;
            if (mmu_compare_exchange(n, gva(0x1008), 8, &seen, expected + 1, &f) != MMU_OK)
                return opaque;
        } while (seen != expected);
    }
    return NULL;
}

START_TEST(compare_exchange_is_atomic_between_vcpus)
{
    pthread_t thread;
    void *result;

    rig_map(&r, 0x1000, 0x401000, RIG_RWU | PTE_A | PTE_D);
    rig_long_mode(&r, &r.other);
    store(0x1008, 8, 0);
    ck_assert_int_eq(mmu_store(&r.other, gva(0x1010), 8, 0, &fault), MMU_OK);
    pthread_barrier_init(&start, NULL, 2);
    ck_assert_int_eq(pthread_create(&thread, NULL, count_up, &r.other), 0);
    ck_assert_ptr_null(count_up(m));
    pthread_join(thread, &result);
    ck_assert_ptr_null(result);
    ck_assert_uint_eq(load(0x1008, 8), 2 * COUNT);
}
END_TEST

START_TEST(compare_exchange_into_code_is_heard_of)
{
    uint64_t expected = 0;

    watch_code(0x401000);
    mmu_compare_exchange(m, gva(0x1008), 8, &expected, 1, &fault);
    ck_assert_uint_eq(heard.count, 1);
    ck_assert_uint_eq(heard.length, 8);
}
END_TEST

/* --- Privilege --- */

START_TEST(system_accesses_are_supervisor_accesses_at_any_level)
{
    uint64_t value;

    rig_map(&r, 0x1000, 0x401000, PTE_P | PTE_RW);
    mmu_set_privilege(m, 3, true);
    ck_assert_int_eq(mmu_load(m, gva(0x1000), 8, &value, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_PRESENT | PF_USER);
    ck_assert_int_eq(mmu_load_system(m, gva(0x1000), 8, &value, &fault), MMU_OK);
    ck_assert_int_eq(mmu_store_system(m, gva(0x1000), 8, 1, &fault), MMU_OK);
    ck_assert_int_eq(mmu_load_system(m, gva(PAGE_NONE), 8, &value, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, 0);
}
END_TEST

START_TEST(smap_holds_for_system_accesses_whatever_ac_says)
{
    uint64_t value;

    mmu_set_control(m, m->cr0, m->cr4 | CR4_SMAP, m->efer);
    mmu_set_privilege(m, 0, true);
    ck_assert_int_eq(mmu_load(m, gva(0x1000), 8, &value, &fault), MMU_OK);
    ck_assert_int_eq(mmu_load_system(m, gva(0x1000), 8, &value, &fault), MMU_PAGE_FAULT);
    mmu_set_privilege(m, 0, false);
    ck_assert_int_eq(mmu_load(m, gva(0x1000), 8, &value, &fault), MMU_PAGE_FAULT);
}
END_TEST

/* --- Fetches --- */

START_TEST(a_fetch_names_the_byte_in_memory)
{
    const uint8_t *host;
    mpa_t where;

    ck_assert_int_eq(mmu_fetch(m, gva(0x1234), &host, &where, &fault), MMU_OK);
    ck_assert_uint_eq(where.v, 0x401234);
    ck_assert_ptr_eq(host, machine_memory_host(r.memory, where));
    ck_assert_int_eq(mmu_fetch(m, gva(PAGE_ROM + 1), &host, &where, &fault), MMU_OK);
    ck_assert_ptr_eq(host, machine_memory_host(r.memory, mpa(RIG_ROM + 1)));
    m->exact = true;
    ck_assert_int_eq(mmu_fetch(m, gva(PAGE_DEVICE + 4), &host, &where, &fault), MMU_OK);
    ck_assert_ptr_null(host);
    ck_assert_uint_eq(where.v, RIG_IO + 4);
    ck_assert_uint_eq(r.device_reads, 0);
    ck_assert_int_eq(mmu_fetch(m, gva(PAGE_NONE), &host, &where, &fault), MMU_PAGE_FAULT);
    ck_assert_uint_eq(fault.error_code, PF_FETCH);
}
END_TEST

static void add_special_tests(TCase *tc)
{
    tcase_add_test(tc, a_device_waits_for_an_exact_point);
    tcase_add_test(tc, a_fault_comes_before_a_restart);
    tcase_add_test(tc, a_store_into_code_is_heard_of_behind_it);
    tcase_add_test(tc, a_crossing_store_is_heard_of_in_the_watched_frame_only);
    tcase_add_test(tc, a_store_that_faults_is_not_heard_of);
    tcase_add_test(tc, a_store_into_running_code_waits_for_an_exact_point);
    tcase_add_test(tc, the_first_store_clears_a_dirty_watch_and_later_ones_are_fast);
    tcase_add_test(tc, compare_exchange_stores_only_on_a_match);
    tcase_add_test(tc, compare_exchange_needs_the_right_to_write_even_if_it_will_not_match);
    tcase_add_test(tc, compare_exchange_works_on_devices_and_not_on_rom);
    tcase_add_test(tc, compare_exchange_is_atomic_between_vcpus);
    tcase_add_test(tc, compare_exchange_into_code_is_heard_of);
    tcase_add_test(tc, system_accesses_are_supervisor_accesses_at_any_level);
    tcase_add_test(tc, smap_holds_for_system_accesses_whatever_ac_says);
    tcase_add_test(tc, a_fetch_names_the_byte_in_memory);
}

int main(void)
{
    TCase *tc = tcase_create("access");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_value_reads_back_at_every_size_and_offset);
    tcase_add_test(tc, a_crossing_access_joins_pages_that_lie_apart);
    tcase_add_test(tc, a_fault_on_the_second_page_leaves_the_first_as_it_was);
    tcase_add_test(tc, a_fault_on_the_first_page_names_the_address_itself);
    tcase_add_test(tc, a_load_that_faults_leaves_the_value);
    tcase_add_test(tc, an_access_over_the_edge_of_canonical_space_is_no_page_fault);
    tcase_add_test(tc, the_top_of_the_address_space_wraps_to_its_bottom);
    tcase_add_test(tc, outside_long_mode_the_second_page_wraps_at_4_gib);
    tcase_add_test(tc, without_paging_the_a20_gate_wraps_at_1_mib);
    tcase_add_test(tc, a_device_is_accessed_once_with_the_size_asked_for);
    tcase_add_test(tc, an_access_from_memory_into_a_device_takes_a_part_of_each);
    tcase_add_test(tc, a_fault_behind_a_device_leaves_the_device_alone);
    tcase_add_test(tc, probes_touch_no_device_and_no_memory);
    tcase_add_test(tc, rom_reads_and_ignores_stores);
    tcase_add_test(tc, a_hole_reads_as_ones);
    add_special_tests(tc);
    return run_suite("access", tc);
}
