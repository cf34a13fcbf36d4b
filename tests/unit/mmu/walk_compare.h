/*
 * The oracle of walk_oracle.h beside a real struct mmu_context: the same registers and the same
 * memory, and one place that says whether a walk and the oracle's answer agree.
 */
#ifndef TESTS_UNIT_MMU_WALK_COMPARE_H
#define TESTS_UNIT_MMU_WALK_COMPARE_H

#include "mmu/guest_access.h"
#include "mmu/memory.h"
#include "mmu/mmu.h"
#include "mmu/walk.h"
#include "walk_oracle.h"

/* Entries outside RAM and ROM come from devices. */
static inline uint64_t oracle_read_memory(void *opaque, uint64_t physical, unsigned size)
{
    const struct mmu_context *m = opaque;

    if (machine_memory_kind(m->memory, mpa(physical)) == FRAME_HOLE)
        return bus_mmio_read(m->bus, gpa(physical), size);
    return guest_load(machine_memory_host(m->memory, mpa(physical)), size);
}

static inline enum oracle_mode oracle_mode_of(const struct mmu_context *m)
{
    if (!(m->cr0 >> 31 & 1))
        return ORACLE_NONE;
    if (!(m->cr4 >> 5 & 1))
        return ORACLE_32BIT;
    if (!(m->efer >> 10 & 1))
        return ORACLE_PAE;
    return m->cr4 >> 12 & 1 ? ORACLE_5LEVEL : ORACLE_4LEVEL;
}

/* The processor that the context describes; bit numbers as in SDM 3A 2.5. */
static inline struct oracle_cpu oracle_of(struct mmu_context *m)
{
    return (struct oracle_cpu){
        .mode = oracle_mode_of(m),
        .wp = m->cr0 >> 16 & 1,
        .pse = m->cr4 >> 4 & 1,
        .pge = m->cr4 >> 7 & 1,
        .smep = m->cr4 >> 20 & 1,
        .smap = m->cr4 >> 21 & 1,
        .pke = m->cr4 >> 22 & 1,
        .nxe = m->efer >> 11 & 1,
        .gib_pages = m->gib_pages,
        .maxphyaddr = m->physical_bits,
        .cr3 = m->cr3,
        .pdpte = {m->pdpte[0], m->pdpte[1], m->pdpte[2], m->pdpte[3]},
        .pkru = m->pkru,
        .a20_mask = m->a20_mask,
        .read = oracle_read_memory,
        .opaque = m,
    };
}

static inline enum oracle_who oracle_who_of(enum tlb_view view)
{
    return view == TLB_VIEW_USER ? ORACLE_USER
                                 : (view == TLB_VIEW_SUPERVISOR ? ORACLE_SUPERVISOR : ORACLE_AC);
}

static inline enum oracle_kind oracle_kind_of(enum mmu_access access)
{
    return access == MMU_READ ? ORACLE_LOAD : (access == MMU_WRITE ? ORACLE_STORE : ORACLE_FETCH);
}

static inline bool walk_mapping_agrees(const struct mmu_walk *w, const struct oracle_answer *a)
{
    const struct mmu_translation *t = &w->mapping;

    return w->gpa.v == a->physical && t->page.v == (a->physical & ~(uint64_t)0xfff) &&
           t->shift == a->page_bits && !!(t->rights & WALK_USER) == a->user &&
           !!(t->rights & WALK_WRITABLE) == a->writable &&
           !!(t->rights & WALK_EXECUTABLE) == a->executable && t->global == a->global &&
           t->dirty == a->dirty && t->pkey == a->key;
}

/* What the two disagree about, or NULL. `real`: the walk was mmu_walk, which sets A and D. */
static inline const char *walk_difference(const struct mmu_walk *w, const struct oracle_answer *a,
                                          bool real)
{
    struct oracle_answer expected = *a;
    bool denied = a->end == ORACLE_FAULT && a->mapped;

    if (!real && a->end == ORACLE_TRANSLATED && a->mapped && a->update_count > 0)
        expected.dirty = w->mapping.dirty; /* the oracle's is that after the access */
    switch (w->outcome) {
    case WALK_OK:
        if (a->end != ORACLE_TRANSLATED)
            return "translated, but should not be";
        break;
    case WALK_NOT_PRESENT:
        if (a->end != ORACLE_FAULT || a->mapped || (a->error & 1))
            return "not present, but should be something else";
        break;
    case WALK_RESERVED:
        if (a->end != ORACLE_FAULT || a->mapped || !(a->error & 8))
            return "a reserved bit, but should be something else";
        break;
    case WALK_DENIED:
        if (!denied)
            return "denied, but should be something else";
        break;
    case WALK_NOT_CANONICAL:
        return a->end == ORACLE_NOT_CANONICAL ? NULL : "not canonical, but is";
    default:
        return "an outcome that this access cannot have";
    }
    if (w->error_code != a->error)
        return "error codes differ";
    if (w->count != a->entries)
        return "number of levels differs";
    for (unsigned i = 0; i < w->count; i++)
        if (a->entry_at[i] != 0 && w->levels[i].address.v != a->entry_at[i])
            return "an entry was read elsewhere";
    if (a->mapped && !walk_mapping_agrees(w, &expected))
        return "mappings differ";
    return NULL;
}

#endif
