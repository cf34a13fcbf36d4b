/*
 * Two vCPUs in long mode on the rig's tables, under policy `paranoid`, which compares everything
 * that was kept with the tables at every event; pages of data whose contents say which they are.
 */
#ifndef TESTS_UNIT_MMU_COHERENCY_RIG_H
#define TESTS_UNIT_MMU_COHERENCY_RIG_H

#include "mmu/shadow.h"
#include "mmu_rig.h"

#include <check.h>

#define AD       (PTE_A | PTE_D)
#define PRESENT  (RIG_RWU | AD)
#define DATA(n)  (0x800000u + (n)*0x1000u)
#define VALUE(n) (0xd000u + (n))

/* Where physical memory below 256 KiB is seen: the guest's window to its tables. */
#define TABLES 0x200000u

static struct rig r;
static struct mmu_context *const m = &r.m, *const other = &r.other;
static struct mmu_options options;

static inline void configure(void)
{
    mmu_configure(m, &options);
    mmu_configure(other, &options);
}

static inline void setup(void)
{
    ck_assert(rig_create(&r));
    options = mmu_default_options;
    options.policy = MMU_POLICY_PARANOID;
    options.paranoid = 1;
    configure();
    for (uint64_t n = 0; n < 64; n++) {
        rig_poke(&r, DATA(n), VALUE(n));
        rig_map(&r, TABLES + n * 0x1000, n * 0x1000, PRESENT);
    }
    rig_long_mode(&r, m);
    rig_long_mode(&r, other);
}

static inline void teardown(void)
{
    rig_destroy(&r);
}

static inline uint64_t load(struct mmu_context *c, uint64_t address)
{
    struct mmu_fault fault;
    uint64_t value = 0;

    ck_assert_int_eq(mmu_load(c, gva(address), 8, &value, &fault), MMU_OK);
    return value;
}

static inline bool faults(struct mmu_context *c, uint64_t address)
{
    struct mmu_fault fault;
    uint64_t value;

    return mmu_load(c, gva(address), 8, &value, &fault) == MMU_PAGE_FAULT;
}

static inline void store(struct mmu_context *c, uint64_t address, unsigned size, uint64_t value)
{
    struct mmu_fault fault;

    ck_assert_int_eq(mmu_store(c, gva(address), size, value, &fault), MMU_OK);
}

static inline enum mmu_status fetch(struct mmu_context *c, uint64_t address)
{
    struct mmu_fault fault;
    const uint8_t *host;
    mpa_t where;

    return mmu_fetch(c, gva(address), &host, &where, &fault);
}

static inline void map(uint64_t linear, unsigned n)
{
    rig_map(&r, linear, DATA(n), PRESENT);
}

static inline void event(struct mmu_context *c)
{
    mmu_invlpg(c, gva(0));
}

static inline uint32_t watch_of(uint64_t physical)
{
    return machine_memory_frame(r.memory, mpa(physical))->watch & FRAME_WATCH_PAGETABLE;
}

static inline uint64_t consumers_of(uint64_t physical)
{
    return machine_memory_frame(r.memory, mpa(physical))->sets[FRAME_CONSUMERS];
}

#endif
