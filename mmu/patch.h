/*
 * Patches and the channels that carry them: how whoever stores into a traced page table tells those
 * who derived something from it. A channel belongs to one producer and one consumer and is used by
 * the two alone: a set of addresses in a fixed array, lock free, neither side ever waits.
 *
 *   producer   store the entry, fence, read the frame's consumers, patch_post to each
 *   consumer   patch_take at its coherency events: copy the slot, free it, fence; only then does it
 *              read the guest's entry
 *
 * A slot is marked in use after its contents were written, and free after they were read. Posting
 * an address that is pending replaces what the patch carries. A store that the consumer's
 * read of the entry does not see therefore finds its slot free, and posts anew: no patch is lost.
 * A full channel is "rebuild": the consumer drops all that it derived.
 *
 * All channels together are the patch channel matrix: a row for each posting host thread (vCPUs,
 * the event loop, one behind a lock for everybody else), a column for each consumer.
 */
#ifndef MMU_PATCH_H
#define MMU_PATCH_H

#include "base/addr.h"
#include "mmu/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Rows of the matrix after those of the vCPUs, which have their numbers. */
enum patch_producer {
    /* Devices' DMA and loaders: the thread that holds the device lock. */
    PATCH_EVENT_LOOP = MACHINE_VCPU_MAX,
    PATCH_OTHERS, /* the debugger and the virtual machine monitor, behind a lock */
    PATCH_PRODUCERS,
};

#define PATCH_SLOTS      1024u /* of a channel; a power of two */
#define PATCH_PROBES     8u    /* slots in which an address may lie */
#define PATCH_DROP_FRAME 1u    /* in an address: the whole frame was, and will be, written */

struct patch {
    uint64_t address; /* machine address of the 8 bytes changed, or frame | PATCH_DROP_FRAME */
    uint64_t derived; /* normal form of the new entry (mmu/shadow.h), or 0: not derived */
    uint64_t raw;     /* validator: the guest's entry that `derived` was made of */
};

struct patch_slot {
    _Atomic uint64_t state; /* version << 2 | enum slot_state; the version moves with every post */
    _Atomic uint64_t address, derived, raw;
};

struct patch_channel {
    /* One bit a slot that may be in use; and one for each of those words that may be nonzero. */
    _Atomic uint64_t used[PATCH_SLOTS / 64];
    _Atomic uint64_t used_words;
    _Atomic bool rebuild;
    struct patch_slot slots[PATCH_SLOTS];
    /* Written by the producer alone. */
    _Atomic uint64_t posted, merged, overflows;
};

/* Producer: slots is how many are to be used, PATCH_SLOTS or a smaller power of two (tests). */
void patch_post(struct patch_channel *c, const struct patch *p, unsigned slots);

/* Producer: the consumer is to drop everything. */
void patch_post_rebuild(struct patch_channel *c);

/* Consumer: calls take for each pending patch, its slot being free again, after the fence; returns
 * true if the consumer is to drop everything instead. */
bool patch_take(struct patch_channel *c, void (*take)(void *opaque, const struct patch *p),
                void *opaque);

/*
 * A vCPU's patches to itself: producer and consumer are one thread, so that nothing is ordered and
 * nothing is locked. They carry addresses alone, for the entry can be read when they are taken. A
 * channel is used either in this way or in the other.
 */
void patch_post_own(struct patch_channel *c, uint64_t address, unsigned slots);
bool patch_take_own(struct patch_channel *c, void (*take)(void *opaque, const struct patch *p),
                    void *opaque);

#endif
