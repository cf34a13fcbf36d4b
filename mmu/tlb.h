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
 * A slot belongs to a table (one per view), the tables to a space, so that several spaces can be
 * kept warm later; policy `flush` has one. Each table logs the slots that it filled, so that a
 * flush costs what was filled. Slots that may hold a write tag hang in chains by frame, so that a
 * watch finds them.
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

#define TLB_NO_SLOT UINT16_MAX

/* What is known about the slot of the same index. */
struct tlb_side {
    uint64_t page; /* linear page, or TLB_NO_TAG: the slot is empty */
    struct mmu_translation to;
    uint8_t allowed;     /* bit 1 << enum mmu_access */
    uint8_t backing;     /* enum tlb_backing */
    uint8_t logged;      /* bit n: the table's log n holds it */
    bool linked;         /* in the chain of its frame */
    uint16_t next, prev; /* neighbours there: view * TLB_SIZE + index, or TLB_NO_SLOT */
};

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

/* One translation context. Policy `flush` has a single one, reused for every root. */
struct mmu_space {
    struct tlb_table tables[TLB_VIEW_COUNT];
};

#define TLB_SECOND_SIZE 4096u /* 4 KiB translations */
#define TLB_LARGE_SIZE  64u   /* translations per large page size */
#define TLB_LARGE_KINDS 3u    /* 2 MiB, 4 MiB, 1 GiB */
#define TLB_LARGE_LIVE  8192u

struct tlb_second {
    uint64_t page;       /* linear address of the page, aligned to its size */
    uint64_t generation; /* valid if equal to that of its kind: tlb.generation[global] */
    struct mmu_translation to; /* of the first 4 KiB, before the A20 mask */
};

#define TLB_CHAINS    4096u
#define TLB_LOST_BITS 16384u

/* What look-up caches of code may hold for some of the views. */
struct tlb_code {
    /* What mmu_context.code_epoch is while such a view is current. */
    uint64_t epoch;
    /* Pages whose exec tag was lost to a collision since the epoch moved, so that no slot shows
     * them any more: a bit by hash of the page's address and size. */
    uint64_t lost[TLB_LOST_BITS / 64];
    bool any_lost[2]; /* of [0] other and [1] global translations */
};

struct tlb {
    struct mmu_space space;
    struct tlb_entry *empty; /* TLB_SIZE slots without tags; NULL: never wanted yet */
    struct tlb_second second[TLB_SECOND_SIZE];
    struct tlb_second large[TLB_LARGE_KINDS][TLB_LARGE_SIZE];
    uint64_t generation[2]; /* of [0] other and [1] global translations; bumped to drop them */

    /* Slots that hold a piece of a large page, counted by the page's hash: 0 means that an INVLPG
     * there has no range to drop. */
    uint32_t large_live[TLB_LARGE_KINDS][TLB_LARGE_LIVE];

    uint16_t chains[TLB_CHAINS]; /* by frame: the first slot, or TLB_NO_SLOT */

    struct tlb_code code[2]; /* of [0] supervisor and [1] user views */
};

/* Where an access goes. */
struct tlb_place {
    uint8_t *host; /* of the first byte; NULL for IO */
    gpa_t gpa;     /* of the first byte */
    mpa_t mpa;     /* of the first byte; RAM and ROM only */
    uint8_t backing;
};

struct tlb *tlb_create(void);
void tlb_destroy(struct tlb *t);

/* Translates for an access, filling the slot and the second level. On MMU_PAGE_FAULT the fault is
 * filled and what was cached for the page is dropped (SDM 3A 4.10.4.1). */
enum mmu_status tlb_translate(struct mmu_context *m, uint64_t address, enum mmu_access access,
                              enum tlb_view view, struct tlb_place *place,
                              struct mmu_fault *fault);

/* Drops all translations, or all but the global ones; returns how many slots. Moves code_epoch if
 * a translation that was fetched through has gone. */
unsigned tlb_flush(struct mmu_context *m, bool globals);

/* Drops what is cached for the page of the address in all views, whole large pages included;
 * returns how many slots. Moves code_epoch if the page was fetched through. */
unsigned tlb_drop_page(struct mmu_context *m, uint64_t address);

/* Recomputes the tags of all slots: CR0.WP, CR4.SMAP, CR4.PKE or PKRU changed. */
void tlb_retag(struct mmu_context *m);

/* Makes the view current: sets the context's view, table and code_epoch. */
void tlb_enter_view(struct mmu_context *m, enum tlb_view view);

/* Takes away every write tag for the frame. */
void tlb_revoke_write(struct mmu_context *m, mpa_t frame);

#endif
