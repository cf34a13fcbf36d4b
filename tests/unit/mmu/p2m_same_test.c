/*
 * A guest sees no map: the same accesses on a bare VM, on one with the identity map and on one
 * whose frames are scattered give the same answers, leave the same guest physical memory, and cost
 * the same walks, fills, patches and events.
 */
#include "base/random.h"
#include "mmu/p2m.h"
#include "mmu/shadow.h"
#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>

/* The guest: tables at the rig's places in pages 0x10 to 0x1f of guest physical memory, which it
 * sees at WINDOW and on, data all over. */
#define WINDOW     0x200000u
#define STEPS      3000u
#define PAGES      48u
#define LARGE_DATA 0x800000u
#define POLICIES   5

struct vm {
    struct rig r;
    uint64_t random;
    uint64_t answers; /* a hash over all that came back */
};

static struct vm bare, composed;

static uint64_t next(struct vm *v, uint64_t below)
{
    return (random_next(&v->random) >> 33) % below;
}

static void note(struct vm *v, uint64_t value)
{
    v->answers = (v->answers ^ value) * 0x9e3779b97f4a7c15u;
    v->answers ^= v->answers >> 31;
}

static void write_gpa(struct vm *v, uint64_t at, uint64_t value)
{
    value = htole64(value);
    bus_write(v->r.bus, gpa(at), &value, 8);
}

static void create(struct vm *v, struct p2m *(*make)(struct machine_memory *memory), int policy)
{
    struct mmu_options o = mmu_default_options;
    struct mmu_context *const vcpus[2] = {&v->r.m, &v->r.other};

    v->random = 12345;
    v->answers = 0;
    ck_assert(rig_create(&v->r));
    bus_set_p2m(v->r.bus, make != NULL ? make(v->r.memory) : NULL); /* flushes once, either way */
    o.policy = policy == 0   ? MMU_POLICY_FLUSH
               : policy == 1 ? MMU_POLICY_COHERENT
                             : MMU_POLICY_PARANOID;
    o.paranoid = 1;
    o.patch = policy == 3 ? MMU_PATCH_ADDRESS : MMU_PATCH_VALIDATED;
    o.consumer = policy == 4 ? MMU_CONSUMER_INVALIDATE : MMU_CONSUMER_APPLY;
    o.pages = policy == 4 ? 16 : 64;
    o.flood = 4;
    for (uint64_t a = 0; a < 0x20000; a += 8)
        write_gpa(v, a + LARGE_DATA, a);
    write_gpa(v, RIG_PML4, RIG_PDPT | RIG_RWU);
    write_gpa(v, RIG_PDPT, RIG_PD | RIG_RWU);
    write_gpa(v, RIG_PD, RIG_PT | RIG_RWU);
    write_gpa(v, RIG_PD + 8, RIG_PT2 | RIG_RWU);
    write_gpa(v, RIG_PD + 16, LARGE_DATA | PTE_PS | RIG_RWU);
    for (uint64_t n = 0; n < 32; n++)
        write_gpa(v, RIG_PT2 + 8 * n, n << 12 | RIG_RWU);
    for (unsigned n = 0; n < 2; n++) {
        mmu_configure(vcpus[n], &o);
        mmu_set_cr3(vcpus[n], RIG_PML4, false);
        mmu_set_control(vcpus[n], 1 | CR0_WP | CR0_PG, CR4_PAE | CR4_PGE, EFER_LMA | EFER_NXE);
    }
}

static uint64_t some_address(struct vm *v)
{
    uint64_t offset = next(v, 2) ? 0xff9 + next(v, 7) : next(v, 512) * 8;

    if (next(v, 4) == 0)
        return 0x400000 + next(v, 32) * 0x1000 + offset;
    return (next(v, 8) == 0 ? WINDOW : 0) + next(v, PAGES) * 0x1000 + offset;
}

/* Pages of data, read-only ones, no page, ROM, a device, a hole, the tables themselves. */
static uint64_t some_entry(struct vm *v)
{
    static const uint64_t places[] = {RIG_ROM, RIG_IO, RIG_HOLE, RIG_PT, RIG_PT2};
    uint64_t base =
        next(v, 6) == 0 ? places[next(v, ARRAY_SIZE(places))] : LARGE_DATA + next(v, 32) * 0x1000;

    return base | next(v, 8) | (next(v, 4) ? RIG_RWU : 0) | (next(v, 4) == 0 ? PTE_G : 0) |
           (next(v, 8) == 0 ? PTE_XD : 0);
}

static void change_tables(struct vm *v, struct mmu_context *m)
{
    uint64_t at = RIG_PT + next(v, PAGES) * 8, entry = some_entry(v);
    struct mmu_fault fault;

    if (next(v, 16) == 0) {
        at = RIG_PD + next(v, 3) * 8;
        entry = next(v, 3) ? (RIG_PT + (at & 8) * 0x200) | RIG_RWU : LARGE_DATA | PTE_PS | RIG_RWU;
    }
    if (next(v, 2))
        write_gpa(v, at, entry);
    else
        note(v, mmu_store(m, gva(WINDOW + at), 8, entry, &fault));
}

static void access(struct vm *v, struct mmu_context *m)
{
    uint64_t address = some_address(v), value = next(v, UINT32_MAX);
    unsigned size = 1u << next(v, 4);
    struct mmu_fault fault = {.error_code = 0};
    const uint8_t *host = NULL;
    mpa_t where;

    switch (next(v, 6)) {
    case 0:
        note(v, mmu_fetch(m, gva(address), &host, &where, &fault));
        note(v, host != NULL ? guest_load8(host) : 0);
        break;
    case 1:
        note(v, mmu_compare_exchange(m, gva(address), size, &value, 1, &fault));
        note(v, value);
        break;
    case 2:
        note(v, mmu_store(m, gva(address), size, value, &fault));
        break;
    default:
        note(v, mmu_load(m, gva(address), size, &value, &fault));
        note(v, value);
        break;
    }
    note(v, fault.error_code);
}

static void event(struct vm *v, struct mmu_context *m)
{
    uint64_t keep = next(v, 2);

    switch (next(v, 6)) {
    case 0:
        mmu_set_cr3(m, RIG_PML4, keep);
        break;
    case 1:
        mmu_set_control(m, m->cr0, m->cr4 ^ CR4_PGE, m->efer);
        break;
    case 2:
        mmu_set_privilege(m, keep ? 3 : 0, false);
        break;
    case 3:
        mmu_set_cr3(m, RIG_PDPT, keep); /* another level as the root */
        break;
    default:
        mmu_invlpg(m, gva(some_address(v)));
        break;
    }
}

static void step(struct vm *v)
{
    struct mmu_context *m = next(v, 3) ? &v->r.m : &v->r.other;
    uint8_t bytes[3000];
    uint64_t n = next(v, 32);

    if (n < 5) {
        change_tables(v, m);
    } else if (n < 8) {
        event(v, m);
    } else if (n == 8) {
        memset(bytes, (int)next(v, 256), sizeof(bytes));
        note(v, bus_write(v->r.bus, gpa(LARGE_DATA + next(v, 0x18000)), bytes, next(v, 3000)));
    } else if (n == 9) {
        note(v, bus_read(v->r.bus, gpa(LARGE_DATA + next(v, 0x18000)), bytes, 3000));
        for (unsigned i = 0; i < sizeof(bytes); i += 8)
            note(v, guest_load64(bytes + i));
    } else {
        access(v, m);
    }
}

/* Everything that the two have counted, but for what a map adds. */
static void compare_counters(const struct mmu_context *a, const struct mmu_context *b,
                             bool same_addresses)
{
    struct mmu_stats left = a->stats, right = b->stats;

    ck_assert_uint_eq(a->walks, b->walks);
    ck_assert_uint_eq(a->fills, b->fills);
    ck_assert_uint_eq(a->flushes, b->flushes);
    ck_assert_uint_eq(a->page_invalidations, b->page_invalidations);
    ck_assert_uint_eq(left.compositions, 0);
    ck_assert_uint_eq(right.compositions, b->fills);
    right.compositions = 0;
    /* A channel gives its patches in an order that depends on addresses; that of a table and of the
     * one below it decides whether the latter is still there for the second, and which numbers
     * pages have, by which paranoia takes them. */
    if (!same_addresses) {
        left.patches_invalidated = right.patches_invalidated = 0;
        left.patches_dropped = right.patches_dropped = 0;
        left.frames_dropped = right.frames_dropped = 0;
        left.paranoid_checks = right.paranoid_checks = 0;
    }
    ck_assert_mem_eq(&left, &right, sizeof(left));
}

static void compare_memory(void)
{
    static uint8_t a[65536], b[65536];

    for (uint64_t at = 0; at < RIG_END; at += sizeof(a)) {
        ck_assert_int_eq(bus_read(bare.r.bus, gpa(at), a, sizeof(a)),
                         bus_read(composed.r.bus, gpa(at), b, sizeof(b)));
        ck_assert_msg(memcmp(a, b, sizeof(a)) == 0, "guest physical %#llx differs",
                      (unsigned long long)at);
    }
}

static struct p2m *scattered(struct machine_memory *memory)
{
    return p2m_create_scattered(memory, 99);
}

static void run_both(struct p2m *(*make)(struct machine_memory *memory), int policy)
{
    create(&bare, NULL, policy);
    create(&composed, make, policy);
    for (unsigned n = 0; n < STEPS; n++) {
        step(&bare);
        step(&composed);
        ck_assert_msg(bare.answers == composed.answers, "step %u answers otherwise", n);
    }
    compare_counters(&bare.r.m, &composed.r.m, make == p2m_create_identity);
    compare_counters(&bare.r.other, &composed.r.other, make == p2m_create_identity);
    ck_assert_uint_eq(bus_unclaimed_count(bare.r.bus), bus_unclaimed_count(composed.r.bus));
    ck_assert_uint_gt(bare.r.m.walks, 250);
    ck_assert_uint_gt(bare.r.device_reads, 10);
    ck_assert_uint_eq(bare.r.device_reads, composed.r.device_reads);
    compare_memory();
    rig_destroy(&bare.r);
    rig_destroy(&composed.r);
}

START_TEST(the_identity_map_is_seen_by_nobody)
{
    run_both(p2m_create_identity, _i);
}
END_TEST

START_TEST(scattered_frames_are_seen_by_nobody)
{
    run_both(scattered, _i);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("p2m_same");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, the_identity_map_is_seen_by_nobody, 0, POLICIES);
    tcase_add_loop_test(tc, scattered_frames_are_seen_by_nobody, 0, POLICIES);
    return run_suite("p2m_same", tc);
}
