/*
 * A linear address, the entries that translate it in each paging mode, and the check of all
 * accesses to it against the oracle.
 */
#ifndef TESTS_UNIT_MMU_WALK_BENCH_H
#define TESTS_UNIT_MMU_WALK_BENCH_H

#include "mmu_rig.h"
#include "walk_compare.h"

#include <check.h>
#include <inttypes.h>
#include <stdio.h>

/* Sanitizers slow walks down; clang does not say so in a macro. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLOW_BUILD 13u
#endif
#elif defined(__SANITIZE_ADDRESS__) || !defined(__x86_64__)
#define SLOW_BUILD 13u
#endif
#ifndef SLOW_BUILD
#define SLOW_BUILD 1u
#endif

/* Tables lie at multiples of 2 MiB, and the level 2 table at 0, so that an entry which turns into a
 * large page by its PS bit has no reserved bits from its address. */
static const uint32_t table_at[6] = {0, 0x200000, 0, 0x400000, 0x600000, 0x800000};

struct path {
    const char *name;
    enum oracle_mode mode;
    unsigned top;  /* level of the root's entries */
    unsigned leaf; /* level of the page's entry */
};

static const struct path paths[] = {
    {"32-bit 4 KiB", ORACLE_32BIT, 2, 1},   {"32-bit 4 MiB", ORACLE_32BIT, 2, 2},
    {"PAE 4 KiB", ORACLE_PAE, 3, 1},        {"PAE 2 MiB", ORACLE_PAE, 3, 2},
    {"4-level 4 KiB", ORACLE_4LEVEL, 4, 1}, {"4-level 2 MiB", ORACLE_4LEVEL, 4, 2},
    {"4-level 1 GiB", ORACLE_4LEVEL, 4, 3}, {"5-level 4 KiB", ORACLE_5LEVEL, 5, 1},
    {"5-level 2 MiB", ORACLE_5LEVEL, 5, 2}, {"5-level 1 GiB", ORACLE_5LEVEL, 5, 3},
};

static const uint64_t linear_of[] = {
    [ORACLE_NONE] = 0x12345678,
    [ORACLE_32BIT] = 0x8acdef10,
    [ORACLE_PAE] = 0x8acdef10,
    [ORACLE_4LEVEL] = 0x00007654acdef101,
    [ORACLE_5LEVEL] = 0x00a97654acdef101,
};

struct bench {
    struct rig r;
    struct path path;
    uint64_t linear;
    uint64_t at[6];    /* where the entry of a level lies; 0: in a PDPTE register */
    uint64_t entry[6]; /* what it is set to */
    unsigned pdpte;    /* which PDPTE register is used */
    unsigned entry_size;
    unsigned stride; /* take one combination in so many */
    uint64_t combinations, cases;
};

/* Bits of the linear address that select the entry of a level. */
static inline unsigned index_of(const struct path *p, uint64_t linear, unsigned level)
{
    unsigned width = p->mode == ORACLE_32BIT ? 10 : (p->mode == ORACLE_PAE && level == 3 ? 2 : 9);
    unsigned shift = 12 + (level - 1) * (p->mode == ORACLE_32BIT ? 10 : 9);

    return (unsigned)(linear >> shift) & ((1u << width) - 1);
}

static inline void put(struct bench *b, unsigned level, uint64_t entry)
{
    b->entry[level] = entry;
    if (b->path.mode == ORACLE_PAE && level == 3)
        b->r.m.pdpte[b->pdpte] = entry;
    else
        guest_store(machine_memory_host(b->r.memory, mpa(b->at[level])), entry, b->entry_size);
}

/* Could the level's entry be what it is? A PDPTE register holds only what was loaded (4.4.1). */
static inline bool possible(struct bench *b)
{
    struct oracle_cpu cpu = oracle_of(&b->r.m);

    return b->path.mode != ORACLE_PAE || oracle_pdptes_loadable(&cpu, cpu.pdpte);
}

/* The address part of a level's entry: the next table, or a page that suits every size. */
static inline uint64_t address_part(const struct path *p, unsigned level)
{
    if (level > p->leaf)
        return table_at[level - 1];
    return p->mode == ORACLE_32BIT ? 0xc0000000 : 0x1c0000000;
}

/* An entry that allows everything. */
static inline uint64_t open_entry(const struct path *p, unsigned level)
{
    uint64_t bits = p->mode == ORACLE_PAE && level == 3 ? 1 : 0x27;

    if (level == p->leaf && level > 1)
        bits |= PTE_PS;
    return address_part(p, level) | bits;
}

/* Modes as the manual enters them; optional bits are for the caller. */
static inline void select_mode(struct mmu_context *m, enum oracle_mode mode)
{
    m->cr0 = mode == ORACLE_NONE ? 1 : CR0_PG | 1;
    m->cr4 = mode >= ORACLE_PAE ? CR4_PAE : CR4_PSE;
    m->cr4 |= mode == ORACLE_5LEVEL ? CR4_LA57 : 0;
    m->efer = mode >= ORACLE_4LEVEL ? EFER_LMA : 0;
}

static inline void set_path(struct bench *b, const struct path *p)
{
    b->path = *p;
    b->linear = linear_of[p->mode];
    b->entry_size = p->mode == ORACLE_32BIT ? 4 : 8;
    select_mode(&b->r.m, p->mode);
    b->r.m.cr3 = table_at[p->top];
    b->pdpte = index_of(p, b->linear, 3);
    for (unsigned level = p->top; level >= p->leaf; level--) {
        b->at[level] = table_at[level] + index_of(p, b->linear, level) * b->entry_size;
        put(b, level, open_entry(p, level));
    }
}

static inline void mismatch(const struct bench *b, const char *why, const struct mmu_walk *w)
{
    const struct mmu_context *m = &b->r.m;

    mmu_walk_print(stderr, w);
    ck_abort_msg("%s: %s; CR0 %" PRIx64 " CR4 %" PRIx64 " EFER %" PRIx64 " PKRU %x M %u",
                 b->path.name, why, m->cr0, m->cr4, m->efer, m->pkru, m->physical_bits);
}

static inline uint64_t stored(const struct bench *b, unsigned level)
{
    if (b->path.mode == ORACLE_PAE && level == 3)
        return b->r.m.pdpte[b->pdpte];
    return guest_load(machine_memory_host(b->r.memory, mpa(b->at[level])), b->entry_size);
}

/* What the entry should be after the access. */
static inline uint64_t expected_entry(const struct bench *b, const struct oracle_answer *a,
                                      unsigned level)
{
    uint64_t value = b->entry[level];

    if (b->path.mode == ORACLE_PAE && level == 3)
        return value;
    for (unsigned i = 0; i < a->update_count; i++)
        if (a->update[i].physical == b->at[level])
            value = a->update[i].value;
    return value;
}

static inline void check_access(struct bench *b, const struct oracle_cpu *cpu,
                                enum mmu_access access, enum tlb_view view, enum oracle_who who)
{
    struct oracle_answer a = oracle_access(cpu, b->linear, oracle_kind_of(access), who);
    const char *why;
    struct mmu_walk w;

    b->cases++;
    mmu_walk(&b->r.m, gva(b->linear), access, view, &w);
    why = walk_difference(&w, &a, true);
    if (why != NULL)
        mismatch(b, why, &w);
    if (a.mapped) {
        unsigned allowed = mmu_rights_allowed(&b->r.m, view, &w.mapping);

        if (!!(allowed & 1u << access) != (a.end == ORACLE_TRANSLATED))
            mismatch(b, "mmu_rights_allowed differs", &w);
    }
    for (unsigned level = b->path.top; level >= b->path.leaf; level--) {
        if (stored(b, level) != expected_entry(b, &a, level))
            mismatch(b, "A or D bits differ", &w);
        if (a.update_count != 0)
            put(b, level, b->entry[level]);
    }
}

/* All kinds of access by everybody, as the machine is now. */
static inline void check_all_accesses(struct bench *b)
{
    struct oracle_cpu cpu;

    if (b->combinations++ % b->stride != 0)
        return;
    cpu = oracle_of(&b->r.m);
    for (enum mmu_access access = MMU_READ; access <= MMU_FETCH; access++) {
        check_access(b, &cpu, access, TLB_VIEW_USER, ORACLE_USER);
        check_access(b, &cpu, access, TLB_VIEW_SUPERVISOR, ORACLE_SUPERVISOR);
        check_access(b, &cpu, access, TLB_VIEW_SUPERVISOR_AC, ORACLE_AC);
    }
}

static inline struct bench *bench_create(unsigned stride)
{
    struct bench *b = calloc(1, sizeof(*b));

    ck_assert(b != NULL && rig_create(&b->r));
    b->stride = getenv("GNOMON_FULL") != NULL ? 1 : stride * SLOW_BUILD;
    return b;
}

static inline void bench_destroy(struct bench *b, const char *what)
{
    printf("walk: %s: %" PRIu64 " cases\n", what, b->cases);
    fflush(stdout);
    ck_assert_uint_gt(b->cases, 0);
    rig_destroy(&b->r);
    free(b);
}

/* --- Control bits --- */

/* Optional control bits of a mode as one number. */
enum {
    SET_WP = 1,
    SET_SMEP = 2,
    SET_SMAP = 4,
    SET_NXE = 8,
    SET_PGE = 16,
    SET_PKE = 32,
    SET_ALL = 64,
};

static inline void set_controls(struct mmu_context *m, enum oracle_mode mode, unsigned set)
{
    select_mode(m, mode);
    m->cr0 |= set & SET_WP ? CR0_WP : 0;
    m->cr4 |= (set & SET_SMEP ? CR4_SMEP : 0) | (set & SET_SMAP ? CR4_SMAP : 0) |
              (set & SET_PGE ? CR4_PGE : 0) | (set & SET_PKE ? CR4_PKE : 0);
    m->efer |= set & SET_NXE ? EFER_NXE : 0;
}

/* Bits of n, from the lowest, go to the positions listed. */
static inline uint64_t spread(unsigned n, const uint8_t *positions, unsigned count)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value |= (uint64_t)(n >> i & 1) << positions[i];
    return value;
}

#endif
