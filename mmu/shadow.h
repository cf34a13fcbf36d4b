/*
 * Shadow pages: what a vCPU has derived from the guest's page tables, one page for each guest table
 * page and place in the linear address space. The software TLB is filled from them, and they
 * outlive changes of CR3: guest frames that something was derived from are traced, and every store
 * to one arrives as a patch (mmu/patch.h).
 *
 * A word is one guest entry in normal form, with that level's own rights; shadow_find combines them
 * from the root down, because tables are shared between roots with different rights above them. An
 * entry is unknown, known to be absent, a table or a page.
 *
 * The pages belong to one vCPU, or to all vCPUs of a VM that share them (MMU_TABLES_SHARED; each 64
 * neighbours have pages of their own, SHADOW_SHARERS). Who shares derives a table's words once for
 * all, but traces it, takes patches and drops TLB slots for itself: a page can be used by those
 * only who have entered themselves as its frame's consumers (`traced`), and a patch drops a vCPU's
 * slots even if another vCPU has already brought the word up to date. So words may be newer than a
 * vCPU's last event; before it fills from them it takes its own patches, so that all of them are of
 * one instant.
 *
 * All functions run on the vCPU's thread, or while it is parked. Pages of one vCPU are touched by
 * nobody else; those that are shared have a lock, which every function here takes. Words are atomic
 * so that a debugger may look. Internal to mmu/.
 */
#ifndef MMU_SHADOW_H
#define MMU_SHADOW_H

#include "mmu/patch.h"
#include "mmu/tlb.h"

/* --- Normal form --- */

enum shadow_state {
    SHADOW_UNKNOWN, /* look at the guest's entry */
    SHADOW_ABSENT,
    SHADOW_TABLE,
    SHADOW_LEAF,
};

#define SHADOW_STATE        3u
#define SHADOW_RIGHTS_SHIFT 2 /* enum walk_rights, three bits */
#define SHADOW_G            BIT64(5)
#define SHADOW_A            BIT64(6)
#define SHADOW_D            BIT64(7)
#define SHADOW_PKEY_SHIFT   8
#define SHADOW_BASE         0x000ffffffffff000ull /* GPA of the next table or of the page */
#define SHADOW_CHILD_SHIFT  52 /* TABLE: number of the shadow page below, 0: not linked */

#define SHADOW_PAGES_MAX 4096u /* numbers 1 to 4095: what the child field holds */

static inline enum shadow_state shadow_state(uint64_t word)
{
    return (enum shadow_state)(word & SHADOW_STATE);
}

/* The entry in normal form, without a child; SHADOW_UNKNOWN if a reserved bit is set. */
uint64_t shadow_normal(struct walk_role role, unsigned level, uint64_t raw);

/* How a frame's entries are to be read, in nine bits; 0 is no shape, or several. A patch's derived
 * value has the shape that it was made for in place of the child, and may be without validator. */
unsigned shadow_shape(struct walk_role role, unsigned level);
#define SHADOW_SHAPE_MASK   0x1ffu
#define SHADOW_NO_VALIDATOR BIT64(63)

/* Behind the shape in frame.shape, for consumers that take values without validator: who the
 * frame's producer is; 0: nobody has written it yet, SHADOW_PRODUCERS: several have, or one of a
 * high number, so that nobody knows whose value is newest. */
#define SHADOW_PRODUCER_SHIFT 9
#define SHADOW_PRODUCERS      127u

/* A producer as it is noted there: SHADOW_PRODUCERS from vCPU 124 on. */
static inline unsigned shadow_producer(unsigned producer)
{
    unsigned known = producer < PATCH_EVENT_LOOP ? producer + (PATCH_PRODUCERS - PATCH_EVENT_LOOP)
                                                 : producer - PATCH_EVENT_LOOP;

    return MIN(known + 1, SHADOW_PRODUCERS);
}

static inline unsigned shadow_frame_shape(const struct frame *f)
{
    return atomic_load(&f->shape) & SHADOW_SHAPE_MASK;
}

static inline unsigned shadow_frame_producer(const struct frame *f)
{
    return atomic_load(&f->shape) >> SHADOW_PRODUCER_SHIFT;
}
struct walk_role shadow_shape_role(unsigned shape, uint8_t physical_bits);

static inline unsigned shadow_shape_level(unsigned shape)
{
    return shape & 7;
}

/* Nothing that was derived from the old word need go: they mean the same, but for A and D bits that
 * were set meanwhile. */
bool shadow_same(uint64_t old, uint64_t new);

/* --- Pages --- */

/* vCPUs with the same number / SHADOW_SHARERS share pages: the width of the masks below. */
#define SHADOW_SHARERS 64u

/* Of a page that is unlinked at the next walk through it: its table lies elsewhere now. */
#define SHADOW_NO_FRAME PAGE_MASK

struct shadow_page {
    uint64_t frame;  /* machine address of the guest's table page, or SHADOW_NO_FRAME */
    uint64_t base;   /* linear address that its first entry maps */
    /* Bit n: the vCPU whose number is n modulo SHADOW_SHARERS is a consumer of its frame... */
    uint64_t traced;  /* ...and hears of all stores there; none: the page is empty */
    uint64_t waiting; /* ...but others may still store there unheard */
    struct walk_role role;
    uint8_t level;
    uint8_t shift;       /* an entry is about 1 << shift bytes of linear address space... */
    uint8_t entry_shift; /* ...and has 1 << entry_shift bytes itself */
    uint16_t known_from, known_to; /* all known words are in [known_from, known_to) */
    bool dying;                    /* nobody may point to it any more */
    uint32_t refs;                 /* words and roots that point to it */
    uint16_t next;                 /* of the same hash, or the next free one */
    _Atomic uint64_t *words;
};

static inline unsigned shadow_entry_count(const struct shadow_page *p)
{
    return PAGE_SIZE >> p->entry_shift;
}

/* Where the guest's entry lies. */
static inline uint64_t shadow_entry_address(const struct shadow_page *p, unsigned index)
{
    return p->frame + (index << p->entry_shift);
}

/* The entry that maps a linear address. */
static inline unsigned shadow_index(const struct shadow_page *p, uint64_t address)
{
    return (unsigned)(address >> p->shift) & (shadow_entry_count(p) - 1);
}

/* What the guest's entry is now. */
uint64_t shadow_raw(const struct mmu_context *m, const struct shadow_page *p, unsigned index);

struct shadow;

static inline bool shadow_traced(const struct mmu_context *m, const struct shadow_page *p)
{
    return p->traced >> m->vcpu % SHADOW_SHARERS & 1;
}

/* Gives a vCPU shadow pages, as its options say; it has none. */
void shadow_attach(struct mmu_context *m);

/* Takes them away, if it has any; nothing of the vCPU's is derived from them. */
void shadow_detach(struct mmu_context *m);

/* For several calls of which nobody else who shares the pages is to see a part; nested. */
void shadow_lock(struct shadow *s);
void shadow_unlock(struct shadow *s);

/* Pages in use. */
unsigned shadow_page_count(const struct shadow *s);

/* The page with that number, NULL if it is not in use: for inspection. */
const struct shadow_page *shadow_page_at(const struct shadow *s, unsigned number);

/* --- Look-up --- */

enum shadow_answer {
    SHADOW_MISS,  /* walk */
    SHADOW_FOUND, /* *to is what a walk would give; all A bits are set */
    SHADOW_FAULT, /* an entry on the way is known to be absent: it is at *at */
};

enum shadow_answer shadow_find(struct mmu_context *m, uint64_t address, struct mmu_translation *to,
                               mpa_t *at);

/*
 * Enters what a walk has read, level by level, and traces the frames. False if it could not be kept
 * as a whole (a table in a device, no room, changed meanwhile): what is filled from the walk is
 * good until the next coherency event only.
 */
bool shadow_learn(struct mmu_context *m, const struct mmu_walk *w);

/* Has the vCPU kept what one of the entries at 8 bytes said? Else nothing came of them. */
bool shadow_knows(const struct mmu_context *m, uint64_t address);

/* A patch has arrived: brings every word it is about up to date, or makes it unknown, and drops
 * what was filled from the old ones. */
void shadow_apply(struct mmu_context *m, const struct patch *p);

/* A guest physical page no longer leads to the frame: drops what was derived from tables there (by
 * every vCPU that shares the pages; with all globals of the common space), and nobody finds their
 * shadow pages again. */
void shadow_forget_frame(struct mmu_context *m, uint64_t frame);

/* The space gives up its root. */
void shadow_release(struct mmu_context *m, struct mmu_space *space);

/* Gives up all that the vCPU uses; the caller has emptied all of its spaces. */
void shadow_drop_all(struct mmu_context *m);

/* There is no room: as mmu_drop_derived, and who shares is asked to do the same. */
void shadow_make_room(struct mmu_context *m);

#endif
