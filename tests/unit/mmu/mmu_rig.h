/*
 * Memory, a bus and two vCPUs' contexts for the tests of mmu/: 32 MiB of RAM, 64 KiB of ROM behind
 * it, a device page and holes, and helpers that build page tables there.
 */
#ifndef TESTS_UNIT_MMU_MMU_RIG_H
#define TESTS_UNIT_MMU_MMU_RIG_H

#include "base/log.h"
#include "mmu/bus.h"
#include "mmu/guest_access.h"
#include "mmu/memory.h"
#include "mmu/mmu.h"
#include "mmu/patch.h"

#include <stdlib.h>
#include <string.h>

#define RIG_RAM  (32u << 20)
#define RIG_ROM  0x2000000u /* 64 KiB */
#define RIG_IO   0x2100000u /* a device of one page that remembers */
#define RIG_HOLE 0x3000000u
#define RIG_END  0x4000000u

struct rig {
    struct log log;
    struct machine_memory *memory;
    struct bus *bus;
    struct mmu_context m, other; /* vCPU 0 and 1 */
    uint8_t device[4096];
    unsigned device_reads, device_writes;
};

static inline uint64_t rig_device_read(void *device, uint64_t offset, unsigned size)
{
    struct rig *r = device;

    r->device_reads++;
    return guest_load(r->device + offset, size);
}

static inline void rig_device_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    struct rig *r = device;

    r->device_writes++;
    guest_store(r->device + offset, value, size);
}

/* Gives both vCPUs the policy, other options as they are by default. */
static inline void rig_policy(struct rig *r, enum mmu_policy policy)
{
    struct mmu_options options = mmu_default_options;

    options.policy = policy;
    mmu_configure(&r->m, &options);
    mmu_configure(&r->other, &options);
}

/* Policy `flush`. False if the host has no memory for it. */
static inline bool rig_create(struct rig *r)
{
    static const struct bus_region_ops ops = {"rig", rig_device_read, rig_device_write, 8};

    memset(r, 0, sizeof(*r));
    log_init(&r->log);
    r->memory = machine_memory_create(RIG_END, NULL);
    if (r->memory == NULL || !machine_memory_add(r->memory, mpa(0), RIG_RAM, FRAME_RAM, NULL) ||
        !machine_memory_add(r->memory, mpa(RIG_ROM), 0x10000, FRAME_ROM, NULL))
        return false;
    r->bus = bus_create(r->memory, &r->log);
    if (!bus_add_mmio(r->bus, gpa(RIG_IO), 4096, &ops, r, NULL))
        return false;
    mmu_init(&r->m, r->bus, r->memory, &r->log, 0);
    mmu_init(&r->other, r->bus, r->memory, &r->log, 1);
    r->m.gib_pages = r->other.gib_pages = true;
    rig_policy(r, MMU_POLICY_FLUSH);
    return true;
}

static inline void rig_destroy(struct rig *r)
{
    mmu_destroy(&r->other);
    mmu_destroy(&r->m);
    bus_destroy(r->bus);
    machine_memory_destroy(r->memory);
}

static inline void rig_poke(struct rig *r, uint64_t physical, uint64_t value)
{
    guest_store64(machine_memory_host(r->memory, mpa(physical)), value);
    machine_memory_finish_write(r->memory, PATCH_OTHERS, mpa(physical), 8);
}

static inline uint64_t rig_peek(const struct rig *r, uint64_t physical)
{
    return guest_load64(machine_memory_host(r->memory, mpa(physical)));
}

static inline void rig_poke32(struct rig *r, uint64_t physical, uint32_t value)
{
    guest_store32(machine_memory_host(r->memory, mpa(physical)), value);
    machine_memory_finish_write(r->memory, PATCH_OTHERS, mpa(physical), 4);
}

/* 4-level tables of the rig, one under the other, all entries present, writable and user. */
#define RIG_PML4 0x10000u
#define RIG_PDPT 0x11000u
#define RIG_PD   0x12000u
#define RIG_PT   0x13000u /* maps the first 2 MiB of linear addresses */
#define RIG_PT2  0x14000u /* the next 2 MiB */

#define RIG_RWU 7u /* P, R/W, U/S */

/* Long mode with those tables and a context at CPL 0; nothing is mapped yet. */
static inline void rig_long_mode(struct rig *r, struct mmu_context *m)
{
    rig_poke(r, RIG_PML4, RIG_PDPT | RIG_RWU);
    rig_poke(r, RIG_PDPT, RIG_PD | RIG_RWU);
    rig_poke(r, RIG_PD, RIG_PT | RIG_RWU);
    rig_poke(r, RIG_PD + 8, RIG_PT2 | RIG_RWU);
    mmu_set_cr3(m, RIG_PML4, false);
    mmu_set_control(m, 1 | CR0_WP | CR0_PG, CR4_PAE | CR4_PGE, BIT64(8) | EFER_LMA | EFER_NXE);
    mmu_set_privilege(m, 0, false);
}

/* The linear address's PTE (below 4 MiB). */
static inline uint64_t rig_pte(uint64_t linear)
{
    return RIG_PT + (linear >> 12) * 8;
}

/* Maps a page below 4 MiB; drops nothing. */
static inline void rig_map(struct rig *r, uint64_t linear, uint64_t physical, uint64_t bits)
{
    rig_poke(r, rig_pte(linear), physical | bits);
}

#endif
