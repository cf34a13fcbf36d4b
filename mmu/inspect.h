/*
 * What a person asks of an MMU: the mappings of a root, range by range; a walk with every bit of
 * every entry; what the TLB holds. Everything here only reads: no A or D bit, no TLB fill, no
 * access to a device, no event, no counter. The vCPU does not run meanwhile.
 */
#ifndef MMU_INSPECT_H
#define MMU_INSPECT_H

#include "mmu/mmu.h"
#include "mmu/walk.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The context as it would be with another root, for the functions here and mmu_walk_inspect only.
 * With PAE paging the PDPTE registers are as loaded from there; what is no memory counts as not
 * present. */
void mmu_inspect_root(const struct mmu_context *m, uint64_t cr3, struct mmu_context *copy);

/* The walk, one line a level: where the entry lies and its index, the entry, its own bits, and the
 * rights combined from the root to there; machine addresses where they differ. */
void mmu_inspect_print_walk(const struct mmu_context *m, FILE *out, const struct mmu_walk *w);

/* "uwx", with '-' for what is missing; g: global. */
void mmu_inspect_print_rights(FILE *out, unsigned rights, bool global);

/* --- Mappings --- */

/* Neighbouring pages of one size with the same rights; or tables that came already. */
struct mmu_mapping {
    uint64_t first, last; /* linear, both included */
    gpa_t gpa;            /* of the first byte */
    uint8_t rights;       /* enum walk_rights */
    uint8_t shift;        /* size of the guest's pages */
    bool global;
    bool linear;   /* the physical addresses follow one another, too */
    bool repeated; /* [first, last] has the tables of the 1 << shift bytes before first: as there */
};

/* Goes through linear addresses from low to high. The tables may be hostile: they are walked as
 * the processor would, a table that follows itself is reported as a repetition, and the budget
 * bounds the rest. */
struct mmu_maps {
    struct mmu_context context;
    uint64_t first;      /* linear address where it began */
    uint64_t next, last; /* linear addresses that are left */
    uint64_t budget;     /* walks that may still be made */
    bool split_physical; /* pages whose physical addresses do not follow are not merged */
    bool finished;       /* all of [next, last] was looked at; else the budget is used up */

    struct mmu_walk walk; /* the one before */
    uint64_t shown;       /* last address of the last mapping found; UINT64_MAX: none yet */
    bool pending_valid;
    struct mmu_mapping pending;
};

/* The root is that of the context. */
void mmu_maps_begin(struct mmu_maps *s, const struct mmu_context *m, uint64_t first, uint64_t last,
                    uint64_t budget);

/* The next range, or false after the last one: see `finished`, and `next` where to go on. */
bool mmu_maps_next(struct mmu_maps *s, struct mmu_mapping *out);

/* --- TLB --- */

/* What a slot holds. */
struct mmu_tlb_line {
    enum tlb_view view;
    gva_t page;
    struct mmu_translation to;
    mpa_t at;            /* machine address of the page; of "io" the same number as to.page */
    uint8_t tags;        /* bit 1 << enum mmu_access: such an access hits at once */
    const char *backing; /* "ram", "rom", "io" or "smram" */
};

/* The space whose tables the processor uses now, which may be the common one in parts. */
#define MMU_SPACE_CURRENT UINT32_MAX

/* The first live slot of a space at or behind *cursor (0 at first, then as it was left); false:
 * none left. */
bool mmu_tlb_next(const struct mmu_context *m, uint32_t space, uint32_t *cursor,
                  struct mmu_tlb_line *line);

/* A space that is kept. */
struct mmu_space_line {
    uint32_t number; /* as mmu_print_spaces shows it */
    bool current;
    bool common;        /* of all spaces: it has no root */
    uint64_t root;      /* CR3's address bits */
    const char *paging; /* the mode's word */
};

/* The first one at or behind *cursor (0 at first); false: none left. */
bool mmu_space_next(const struct mmu_context *m, uint32_t *cursor, struct mmu_space_line *line);

/* --- What is derived: mmu/inspect_shadow.c --- */

/* The guest's entries for an address beside what the current space has derived from them. */
void mmu_print_shadow(const struct mmu_context *m, FILE *out, gva_t address);

/* The spaces that are kept, '*' before the current one. */
void mmu_print_spaces(const struct mmu_context *m, FILE *out);

/* Of the frame behind a guest physical address: its descriptor, its shadow pages, and the TLB slots
 * that lead to it. */
void mmu_print_frame(const struct mmu_context *m, FILE *out, gpa_t address);

#endif
