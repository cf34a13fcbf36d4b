/*
 * Deferred coherency between the guest's page tables and what a vCPU has derived from them. Stores
 * to traced tables post patches; the consumer takes them at its coherency events, the instructions
 * and situations in which a processor would drop TLB entries (SDM 3A 4.10.4). Between events what
 * is derived may be stale, as it may be on a processor. Afterwards each entry that was kept equals
 * what a walk at that instant would give.
 *
 * Internal to mmu/.
 */
#ifndef MMU_COHERENCY_H
#define MMU_COHERENCY_H

#include "mmu/events.h"
#include "mmu/mmu.h"

/* An event of the vCPU: takes what is pending and drops what no trace covers. */
void coherency_event(struct mmu_context *m, enum mmu_event_cause cause);

/*
 * Takes what is pending, outside of an event: before a walk, so that what it finds and what was
 * derived before are of one instant. Else a table entry read now could be put above one that was
 * read before a store that the walk has seen: no processor does that.
 */
void coherency_catch_up(struct mmu_context *m);

/* A producer asks the consumer to drop all that it has derived. */
void coherency_post_rebuild(struct mmu_context *consumer, unsigned producer);

/* Drops all that the vCPU has derived, in all spaces; the current space becomes cold. */
void mmu_drop_derived(struct mmu_context *m, enum mmu_event_cause cause);

/* Compares what is derived with the guest's tables, within a budget: mmu/paranoid.c. */
void paranoid_check(struct mmu_context *m);

#endif
