/*
 * The software TLB behind struct mmu_context: internal to mmu/. Three stages answer a miss of the
 * inlined probe, cheapest first:
 *
 *   side array    one per slot: GPA, rights and backing of what the slot holds, so that device
 *                 pages, watched frames and ROM are found again without a walk
 *   second level  translations of 4 KiB pages and of whole large pages, shared by all views; it
 *                 keeps global ones over CR3 loads and catches what a slot lost to a collision
 *   walk          mmu/walk.h
 *
 * A processor has no second level of this size; it is legal because everything in it is dropped by
 * the instructions that drop TLB entries (SDM 3A 4.10.4).
 *
 * A slot belongs to a table (one per view), the tables to a space. Policy `flush` has one space;
 * the others keep several warm, and one that is common to all of them. Each table logs the slots
 * that it filled, so that a flush costs what was filled. Slots that may hold a write tag hang in
 * chains by frame, so that a watch finds them; with a p2m all slots do, so that a change of the map
 * finds them.
 */
#ifndef MMU_TLB_H
#define MMU_TLB_H

#include "mmu/events.h"
#include "mmu/walk.h"

enum tlb_backing {
    TLB_BACKING_RAM,
    TLB_BACKING_ROM,
    TLB_BACKING_IO,   /* a device or nobody: never has a tag */
    TLB_BACKING_CODE, /* RAM for fetches, a device for data: MMU_SMRAM_CODE */
};

#define TLB_NO_SLOT UINT32_MAX

/* What is known about the slot of the same index. */
struct tlb_side {
    uint64_t page; /* linear page */
    struct mmu_translation to; /* shift 0: the slot is empty */
    uint32_t frame;      /* number of the machine frame; where there is none, of the GPA page */
    uint8_t allowed;     /* bit 1 << enum mmu_access */
    uint8_t backing;     /* enum tlb_backing */
    uint8_t logged;      /* bit n: the table's log n holds it */
    bool linked;         /* in the chain of its frame: those that may be writable, all with a p2m */
    uint32_t next, prev; /* neighbours there: as tlb_slot_number, or TLB_NO_SLOT */
};

static inline bool tlb_side_live(const struct tlb_side *side)
{
    return side->to.shift != 0;
}

/* Indices of slots filled since they were last flushed. */
struct tlb_log {
    uint16_t *slots;
    unsigned count; /* never above TLB_SIZE: a slot is logged once */
};

struct tlb_table {
    struct tlb_entry *entries; /* TLB_SIZE */
    struct tlb_side *side;     /* TLB_SIZE */
    /* Of [0] other and [1] global translations: a CR3 load does not look at the latter. A slot that
     * held both is in both; what it holds now counts. */
    struct tlb_log log[2];
};

#define TLB_LOST_BITS 16384u

/* What look-up caches of code may hold for some of the views of a space. */
struct tlb_code {
    /* What mmu_context.code_epoch is while such a view is current: no two spaces have the same. */
    uint64_t epoch;
    /* Pages whose exec tag was lost to a collision since the epoch moved, so that no slot shows
     * them any more: a bit by hash of the page's address and size. */
    uint64_t lost[TLB_LOST_BITS / 64];
    bool any_lost[2]; /* of [0] other and [1] global translations */
};

/*
 * One translation context: a root and the control bits that say what its tables mean. Policy
 * `flush` has a single one, reused for every root; the others keep several warm.
 *
 * Space 0 is the common one: TLB_VIEW_SUPERVISOR of all spaces that have no such table of their
 * own. Kernels map themselves with global pages, and what was cached of these may be used under
 * every root until an instruction drops globals (SDM 3A 4.10.2.4): so a new space starts with a
 * warm kernel. Other translations in the common table belong to the current space and go when it
 * is left. A space that has too many of those (a kernel without global pages) gets its own table.
 */
struct mmu_space {
    unsigned number;       /* index in tlb.spaces */
    bool own;              /* has a table of its own for TLB_VIEW_SUPERVISOR */
    uint64_t root;         /* CR3's address bits */
    uint64_t pdpte[4];     /* PAE paging, else 0 */
    struct walk_role role;
    uint16_t roots[4];     /* numbers of the shadow pages of the first level; PAE has four */
    uint64_t used;         /* when it last became current, counted in switches */
    uint64_t rights;       /* tlb.rights when its tags were made */
    struct tlb_table tables[TLB_VIEW_COUNT]; /* see tlb_has_table */
    struct tlb_code code[TLB_VIEW_COUNT];
};

#define TLB_SPACES_MAX 64u /* with the common one */
#define TLB_COMMON     0u  /* its number */

/* Translations in the common table that are not global, above which a space gets its own. */
#define TLB_COMMON_MAX 32u

#define TLB_SECOND_SIZE 4096u /* 4 KiB translations */
#define TLB_LARGE_SIZE  64u   /* translations per large page size */
#define TLB_LARGE_KINDS 3u    /* 2 MiB, 4 MiB, 1 GiB */
#define TLB_LARGE_LIVE  8192u

extern const uint8_t tlb_large_shifts[TLB_LARGE_KINDS];

static inline uint64_t tlb_page_base(uint64_t address, unsigned shift)
{
    return address & ~(BIT64(shift) - 1);
}

struct tlb_second {
    uint64_t page;       /* linear address of the page, aligned to its size */
    uint64_t generation; /* valid if equal to that of its kind: tlb.generation[global] */
    struct mmu_translation to; /* of the first 4 KiB, before the A20 mask */
};

#define TLB_CHAINS    4096u
#define TLB_TRANSIENT_MAX 256u

/* A page whose slots no trace keeps coherent: good until the next coherency event. */
struct tlb_transient {
    unsigned space;
    uint64_t page;
};

struct shadow;

struct tlb {
    struct mmu_space *space; /* the current one */
    struct mmu_space *spaces[TLB_SPACES_MAX];
    unsigned space_count; /* created so far, the common one included */
    uint64_t switches;
    uint64_t rights; /* moves when what decides about rights of all slots has changed */
    uint64_t last_epoch, ended_epochs; /* the newest code epoch; those up to this one are over */
    struct shadow *shadow; /* NULL under policy `flush` */
    struct tlb_transient transient[TLB_TRANSIENT_MAX];
    unsigned transient_count; /* above TLB_TRANSIENT_MAX: not all of them are noted */
    uint64_t transient_fills; /* a counter */

    struct tlb_entry *empty; /* TLB_SIZE slots without tags; NULL: never wanted yet */

    /* The second level, of policy `flush` only. */
    struct tlb_second second[TLB_SECOND_SIZE];
    struct tlb_second large[TLB_LARGE_KINDS][TLB_LARGE_SIZE];
    uint64_t generation[2]; /* of [0] other and [1] global translations; bumped to drop them */

    /* Slots that hold a piece of a large page, counted by the page's hash: 0 means that an INVLPG
     * there has no range to drop. */
    uint32_t large_live[TLB_LARGE_KINDS][TLB_LARGE_LIVE];

    uint32_t chains[TLB_CHAINS]; /* by frame: the first slot, or TLB_NO_SLOT */
};

/* Where an access goes. */
struct tlb_place {
    uint8_t *host; /* of the first byte; NULL for IO */
    gpa_t gpa;     /* of the first byte */
    mpa_t mpa;     /* of the first byte; for IO the same number as gpa */
    uint8_t backing;
};

struct tlb *tlb_create(void);
void tlb_destroy(struct tlb *t);

/* The space that holds the table of a view of the current one. */
static inline struct mmu_space *tlb_owner(const struct tlb *t, enum tlb_view view)
{
    return t->space->own || view != TLB_VIEW_SUPERVISOR ? t->space : t->spaces[TLB_COMMON];
}

/* Not every space needs one for TLB_VIEW_SUPERVISOR, and the common one has no other; a table that
 * is not there has empty logs and nothing else. */
static inline bool tlb_has_table(const struct mmu_space *space, enum tlb_view view)
{
    return space->tables[view].entries != NULL;
}

/* Number of a slot among those of all spaces. */
static inline uint32_t tlb_slot_number(const struct mmu_space *space, enum tlb_view view,
                                       unsigned index)
{
    return (space->number * TLB_VIEW_COUNT + view) * TLB_SIZE + index;
}

/* Translates for an access, filling the slot and the second level. On MMU_PAGE_FAULT the fault is
 * filled and what was cached for the page is dropped (SDM 3A 4.10.4.1). */
enum mmu_status tlb_translate(struct mmu_context *m, uint64_t address, enum mmu_access access,
                              enum tlb_view view, struct tlb_place *place,
                              struct mmu_fault *fault);

/* Drops all translations, or all but the global ones; returns how many slots. Moves code_epoch if
 * a translation that was fetched through has gone. For the current space under policy `flush`, for
 * the common one under the others. */
unsigned tlb_flush(struct mmu_context *m, bool globals);

/* Drops what is cached for the page of the address in all views, whole large pages included;
 * returns how many slots. Moves code_epoch if the page was fetched through. Space as above. */
unsigned tlb_drop_page(struct mmu_context *m, uint64_t address);

/* Drops from the common table what is the current space's alone. */
void tlb_leave_common(struct mmu_context *m);

/* Drops what the spaces of the mask hold for [address, + size), size a power of two; global
 * translations of the common one are not among it. */
void tlb_drop_range(struct mmu_context *m, uint64_t spaces, uint64_t address, uint64_t size);

/* Empties all spaces. Returns how many slots. */
unsigned tlb_drop_all(struct mmu_context *m);

/* Drops the slots that are good until a coherency event only. */
void tlb_drop_transient(struct mmu_context *m);

/* Recomputes the tags of all slots of the current space, and of the others before they are used
 * again: CR0.WP, CR4.SMEP, CR4.SMAP, CR4.PKE, PKRU or the slow pages changed. */
void tlb_retag(struct mmu_context *m);

/* Does that for what the current space uses, if it was left before such a change. */
void tlb_retag_late(struct mmu_context *m);

/* Drops what leads to the frame (for an absent page, mpa of the same number: to the bus) through
 * the guest physical page, in all spaces and views. Only with a p2m. Look-ups of code are the
 * caller's business. */
void tlb_drop_gpa(struct mmu_context *m, gpa_t page, mpa_t frame);

/* Takes away every write tag for the frame. */
void tlb_revoke_write(struct mmu_context *m, mpa_t frame);

/* --- Look-ups of code: mmu/tlb_code.c --- */

/* A slot that was fetched through no longer says so. */
void tlb_lose_exec(struct mmu_space *space, enum tlb_view view, const struct tlb_side *side);

/* May a look-up cache hold code of a page at the address, although no slot shows it? */
bool tlb_exec_was_lost(const struct tlb_code *code, uint64_t address);

/* All look-ups made in the view of the space end. */
void tlb_end_lookups(struct mmu_context *m, struct mmu_space *space, enum tlb_view view);

/* Makes the view current: sets the context's view, table and code_epoch. */
void tlb_enter_view(struct mmu_context *m, enum tlb_view view);

/* --- Spaces: mmu/space.c --- */

struct mmu_space *space_create(struct tlb *t);
void space_destroy(struct mmu_space *space);

/* From now on it does not use the common table. */
void space_make_own(struct mmu_space *space);

/* Makes the space of the context's root and mode the current one, a warm one if it is there. The
 * view follows. */
void space_switch(struct mmu_context *m);

/* Empties a space; returns how many slots. */
unsigned space_empty(struct mmu_context *m, struct mmu_space *space);

#endif
