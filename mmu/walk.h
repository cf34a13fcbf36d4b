/*
 * The page walker: what the guest's own tables say about one linear address, in every paging mode.
 * A walk ends in a translation with the rights combined from the root down, or in a page fault
 * with its exact error code; A and D bits are set only by a walk that succeeds.
 *
 * The same code serves the processor (mmu_walk) and people (mmu_walk_inspect): each level is kept
 * in the record, so that a debugger or crash report can show how an address came about.
 * Source: Intel SDM volume 3A, chapter 4.
 */
#ifndef MMU_WALK_H
#define MMU_WALK_H

#include "base/addr.h"
#include "mmu/mmu.h"
#include "mmu/p2m.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define PTE_P   BIT64(0)
#define PTE_RW  BIT64(1)
#define PTE_US  BIT64(2)
#define PTE_A   BIT64(5)
#define PTE_D   BIT64(6)
#define PTE_PS  BIT64(7)
#define PTE_G   BIT64(8)
#define PTE_XD  BIT64(63)

enum walk_mode {
    WALK_PAGING_OFF,
    WALK_32BIT,  /* SDM 3A 4.3 */
    WALK_PAE,    /* 4.4 */
    WALK_4LEVEL, /* 4.5 */
    WALK_5LEVEL,
};

enum walk_outcome {
    WALK_OK,
    WALK_NOT_PRESENT,   /* the last level read has P clear */
    WALK_RESERVED,      /* the last level read has a reserved bit set */
    WALK_DENIED,        /* translated, but the access is not allowed */
    WALK_NOT_CANONICAL, /* no page fault: #GP or #SS */
    WALK_RESTART,       /* a table lies in a device and this is no exact point: MMU_RESTART */
};

/* What all levels of a translation allow together. */
enum walk_rights {
    WALK_WRITABLE = 1 << 0,
    WALK_USER = 1 << 1,
    WALK_EXECUTABLE = 1 << 2,
};

/* Where a walk got an entry from. */
enum walk_source {
    WALK_FROM_RAM,
    WALK_FROM_ROM,      /* A and D cannot be set and are not missed */
    WALK_FROM_IO,       /* a device or nobody; mmu_walk_inspect takes it as all ones */
    WALK_FROM_REGISTER, /* one of the four PDPTE registers of PAE paging */
};

struct walk_level {
    gpa_t address;  /* of the entry; where it was loaded from for a PDPTE register */
    mpa_t at;       /* of the entry; RAM and ROM only */
    uint64_t entry; /* raw, with the A and D bits that the walk set */
    uint8_t level;  /* 1 holds 4 KiB pages; up to 5 */
    uint8_t rights; /* enum walk_rights, combined from the root to here */
    uint8_t source; /* enum walk_source */
};

/* What a successful walk found, for one 4 KiB page: it holds for every view. */
struct mmu_translation {
    gpa_t page;     /* guest physical address of the 4 KiB page, A20 mask applied */
    uint8_t rights; /* enum walk_rights */
    uint8_t pkey;   /* protection key; 0 where the mode has none */
    uint8_t shift;  /* size of the guest's page: 12, 21, 22 or 30 */
    bool global;    /* G of the leaf, with CR4.PGE */
    bool dirty;     /* D of the leaf */
};

struct mmu_walk {
    gva_t address;
    enum mmu_access access;
    enum tlb_view view;
    enum walk_mode mode;
    unsigned count; /* of levels read */
    struct walk_level levels[5];
    enum walk_outcome outcome;
    uint32_t error_code;            /* enum pf_error bits, where the outcome is a page fault */
    gpa_t gpa;                      /* of the address itself; OK and DENIED only */
    struct mmu_translation mapping; /* OK and DENIED only */
};

enum walk_mode mmu_walk_mode(const struct mmu_context *m);

/* All of the context that decides what an entry's bits mean. */
struct walk_role {
    enum walk_mode mode;
    bool nxe, pse, gib_pages;
    bool a20;            /* the gate is open */
    enum mmu_smram smram; /* what tables may lie in */
    uint8_t physical_bits;
};

struct walk_role mmu_walk_role(const struct mmu_context *m);

static inline bool walk_roles_equal(struct walk_role a, struct walk_role b)
{
    return a.mode == b.mode && a.nxe == b.nxe && a.pse == b.pse && a.gib_pages == b.gib_pages &&
           a.a20 == b.a20 && a.smram == b.smram && a.physical_bits == b.physical_bits;
}

enum walk_entry_kind {
    WALK_ENTRY_ABSENT,   /* P clear */
    WALK_ENTRY_RESERVED, /* a reserved bit set */
    WALK_ENTRY_TABLE,
    WALK_ENTRY_LEAF,
};

struct walk_entry {
    enum walk_entry_kind kind;
    uint8_t rights; /* enum walk_rights: this entry's alone */
    uint64_t base;  /* TABLE: of the next table; LEAF: of the page */
};

/* What a raw entry of a table of the level says. */
struct walk_entry walk_decode(struct walk_role role, unsigned level, uint64_t raw);

/* An entry of the level maps 1 << shift bytes. */
unsigned walk_level_shift(enum walk_mode mode, unsigned level);
unsigned walk_entry_size(enum walk_mode mode);

/* What an access by the context finds at a guest physical address: RAM, ROM or a hole; and at which
 * machine address. */
static inline enum frame_kind mmu_locate(const struct mmu_context *m, gpa_t physical,
                                         enum mmu_access access, mpa_t *at)
{
    enum frame_kind kind;

    if (!p2m_find(m->p2m, physical, at))
        return FRAME_HOLE;
    kind = machine_memory_kind(m->memory, *at);
    if (likely(kind != FRAME_SMRAM))
        return kind;
    return m->smram == MMU_SMRAM_OPEN || (m->smram == MMU_SMRAM_CODE && access == MMU_FETCH)
               ? FRAME_RAM
               : FRAME_HOLE;
}

/* True if the processor accepts the linear address at all (SDM 1 3.3.7.1). */
bool mmu_address_canonical(const struct mmu_context *m, uint64_t address);

/* Walks for a real access: sets A and, for a write, D (SDM 3A 4.8). */
void mmu_walk(struct mmu_context *m, gva_t address, enum mmu_access access, enum tlb_view view,
              struct mmu_walk *w);

/* The same answer without any effect: no A or D bit, no device read, no counter, no event. */
void mmu_walk_inspect(const struct mmu_context *m, gva_t address, enum mmu_access access,
                      enum tlb_view view, struct mmu_walk *w);

/* The error code of a fault that ends a walk with this outcome (SDM 3A 4.7); uses outcome, access,
 * view and, for WALK_DENIED, mapping. */
uint32_t mmu_walk_error_code(const struct mmu_context *m, const struct mmu_walk *w);

/* Bit 1 << access is set for each access that a view may make of a translation (SDM 3A 4.6). */
unsigned mmu_rights_allowed(const struct mmu_context *m, enum tlb_view view,
                            const struct mmu_translation *t);

/* The levels and the outcome, one line each. */
void mmu_walk_print(FILE *out, const struct mmu_walk *w);

const char *walk_mode_word(enum walk_mode mode);
const char *walk_outcome_word(enum walk_outcome outcome);

#endif
