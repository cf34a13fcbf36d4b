/*
 * The map of a virtual machine from its guest physical pages to machine frames: GPA to MPA. It
 * belongs to the VM's bus, so that the VM's vCPUs and its devices' DMA go through the same one. A
 * bus without a map (NULL) is bare: GPA is MPA, and nothing is composed.
 *
 * What the guest's tables say stays in guest physical addresses: shadow words, the TLB's
 * translations, patches. The MPA is composed when a TLB slot is filled and where a walk reads an
 * entry. So a change of a page revokes: every vCPU of the VM drops what leads to the old frame
 * through that page, and all that came from tables there; then the map changes.
 *
 * Looking a page up is safe from any thread. A change holds all vCPUs (mmu/safepoint.h); it comes
 * with the device lock, from a thread on which none of them runs.
 */
#ifndef MMU_P2M_H
#define MMU_P2M_H

#include "base/addr.h"
#include "base/bits.h"
#include "base/error.h"
#include "base/state.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct machine_memory;

#define P2M_PRESENT BIT64(0) /* of a leaf; else it is 0, and the page is the bus's */

struct p2m {
    _Atomic uint64_t *leaves;      /* by GPA page, lazily allocated: address | P2M_PRESENT */
    uint64_t pages;                /* leaves; what lies behind is absent */
    uint64_t moved;                /* pages that are not as the identity map has them */
    uint64_t changes;              /* since creation, while it belonged to a bus */
    struct machine_memory *memory; /* of the machine */
    struct bus *bus;               /* that it belongs to; NULL: none yet */
};

/* A map of `size` bytes of guest physical addresses in which all is absent. NULL and err if the
 * size is no multiple of the page size, 0, or above 2^52. */
struct p2m *p2m_create(struct machine_memory *memory, uint64_t size, struct error *err);

/* RAM, ROM and SMRAM at GPA = MPA; absent where the machine has a hole. */
struct p2m *p2m_create_identity(struct machine_memory *memory);

/* The identity map with its RAM pages permuted; the seed says how. For tests. */
struct p2m *p2m_create_scattered(struct machine_memory *memory, uint64_t seed);

/* For one that no bus owns. NULL is allowed. */
void p2m_destroy(struct p2m *p);

/* Where the address lies in machine memory; NULL is the bare map. False, and *at is the same number
 * as a, if the page is absent. Presence does not say what kind of frame it is. */
static inline bool p2m_find(const struct p2m *p, gpa_t a, mpa_t *at)
{
    uint64_t leaf;

    *at = mpa(a.v);
    if (likely(p == NULL))
        return true;
    if (a.v >> PAGE_SHIFT >= p->pages)
        return false;
    leaf = atomic_load_explicit(&p->leaves[a.v >> PAGE_SHIFT], memory_order_acquire);
    if (!(leaf & P2M_PRESENT))
        return false;
    *at = mpa((leaf & PAGE_MASK) | (a.v & ~PAGE_MASK));
    return true;
}

/* Maps the page to a frame (both page aligned), in place of what was there; several pages may have
 * one frame. False and err, nothing changed: an address is no page's, the page lies behind the
 * map, the frame is a hole. */
bool p2m_set(struct p2m *p, gpa_t page, mpa_t frame, struct error *err);

/* Makes the page absent: the bus answers there. False and err as above. */
bool p2m_remove(struct p2m *p, gpa_t page, struct error *err);

/* Pages that the identity map of the whole machine has otherwise: 0 means that it is identity. */
static inline uint64_t p2m_moved_count(const struct p2m *p)
{
    return p->moved;
}

/* Saves the map, or loads it into one of the same size whose VM keeps nothing derived, or drops it
 * right afterwards. */
void p2m_serialize(struct p2m *p, struct state *s);

#endif
