/*
 * Sets of vCPUs that every frame of memory has: who may hold a write tag for it, who derived table
 * entries from it, who decoded instructions from it. The first 64 vCPUs have their bits in struct
 * frame; a machine with more has further words apart (machine_memory.far), so that nobody else pays
 * for them.
 *
 * Every function is atomic and sequentially consistent for each vCPU, but not for a set as a whole:
 * somebody may come or go while it is looked through. Who enters himself does so before he reads
 * what the others look at, and they the other way round, so that one of the two sees the other.
 * Any thread. Internal to mmu/.
 */
#ifndef MMU_FRAME_SET_H
#define MMU_FRAME_SET_H

#include "base/bits.h"
#include "mmu/memory.h"

#define FRAME_SET_END MACHINE_VCPU_MAX /* no vCPU has that number */

/* The word that has the vCPU's bit, number % 64, and those of its 63 neighbours. */
static inline _Atomic uint64_t *frame_set_word(const struct machine_memory *m, mpa_t a,
                                               enum frame_set set, unsigned vcpu)
{
    if (likely(vcpu < 64))
        return &machine_memory_frame(m, a)->sets[set];
    return &m->far[mpa_frame(a)].sets[set][vcpu / 64 - 1];
}

static inline bool frame_set_has(const struct machine_memory *m, mpa_t a, enum frame_set set,
                                 unsigned vcpu)
{
    return atomic_load(frame_set_word(m, a, set, vcpu)) >> vcpu % 64 & 1;
}

static inline void frame_set_add(const struct machine_memory *m, mpa_t a, enum frame_set set,
                                 unsigned vcpu)
{
    if (!frame_set_has(m, a, set, vcpu))
        atomic_fetch_or(frame_set_word(m, a, set, vcpu), BIT64(vcpu % 64));
}

static inline void frame_set_remove(const struct machine_memory *m, mpa_t a, enum frame_set set,
                                    unsigned vcpu)
{
    atomic_fetch_and(frame_set_word(m, a, set, vcpu), ~BIT64(vcpu % 64));
}

/* The first in the set from that number on; FRAME_SET_END: nobody. */
unsigned frame_set_next(const struct machine_memory *m, mpa_t a, enum frame_set set, unsigned from);

/* Is anybody in the set but that one? FRAME_SET_END: anybody at all? */
static inline bool frame_set_has_others(const struct machine_memory *m, mpa_t a,
                                        enum frame_set set, unsigned but)
{
    uint64_t near = atomic_load(&machine_memory_frame(m, a)->sets[set]);
    unsigned next;

    if (likely(m->far == NULL))
        return (but < 64 ? near & ~BIT64(but) : near) != 0;
    next = frame_set_next(m, a, set, 0);
    return (next != but ? next : frame_set_next(m, a, set, next + 1)) < FRAME_SET_END;
}

#endif
