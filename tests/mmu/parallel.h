/*
 * Several vCPUs at once, each on a host thread of its own, and devices beside them: what a guest
 * with several processors does to its page tables, and what it may rely on.
 *
 * Each leaf entry has one owner, who gives it ever newer versions: version v of page p leads to a
 * frame of its own, whose first word says which it is. Owners are the vCPUs (they store through a
 * linear window to the tables, past the slow way whenever there is a write tag) and a device. An
 * upper entry leads to one of two tables in turn, of which the other one is filled, with a newer
 * version for each page, before it is linked.
 *
 * So whatever an access finds has a version. Behind an invalidation it must be at least the newest
 * one that its owner had finished to store when the invalidation began, or that could be read from
 * the tables then; never one that nobody has begun to store. That is all that a processor promises
 * (SDM 3A 4.10.2 to 4.10.5). That an old entry is never used below a newer upper entry follows.
 *
 * In some plans an upper entry may be a large page: some numbers of versions are of its frames, and
 * all pages of the region get such a version at once. INVLPG of one of them drops what any of them
 * has of older large pages.
 *
 * In some there is code: words of which each has an owner, too, who stores ever greater numbers
 * there. Who has decoded one may use that until he serialises himself; then it must be at least
 * what had been said to be stored (SDM 3A 8.1.3). What he stores himself he sees at once.
 */
#ifndef TESTS_MMU_PARALLEL_H
#define TESTS_MMU_PARALLEL_H

#include "base/host/atomic128.h"
#include "base/log.h"
#include "mmu/mmu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VCPUS_MAX       4u
#define ROOTS           4u
#define SIDE_ROOT ROOTS /* in which each region has its first table for good */
#define REGIONS         8u /* upper entries */
#define REGION_PAGES    8u /* leaf entries in use of a table */
#define PAGES           (REGIONS * REGION_PAGES)
#define VERSIONS        64u /* frames of a page: versions are told apart modulo this */
#define TABLE_ENTRIES   512u /* of each table, although a 32-bit one has more */
#define GLOBAL_REGION   (REGIONS - 1)
#define COUNTERS        7u

/* Physical memory; tables and counters are seen at the linear address of the same number. */
#define TABLES_START    0x10000u
#define COUNTERS_START  0x100000u /* two pages */
#define CODE_START      0x102000u
#define WINDOW_END      0x200000u
#define DATA_START      0x400000u
#define SPARES_START    0x1800000u
#define SPARES          32u /* and one for tables */
#define LARGE_START     0x2000000u
#define LARGE_SIZE      0x400000u /* of each; a page of 2 MiB uses the first half */
#define LARGE_FRAMES    4u        /* of a region */
#define GIB             0x40000000ull /* of each, and of the first, for PARALLEL_GIB */

#define CODE_PAGES 12u
#define CODE_WORDS 24u

#define PAGE_MARK       0x70a6e000u /* in the first word of a frame, over its version */

/* PARALLEL_GIB: four levels, and a region has 1 GiB: a directory leads to its table. */
enum parallel_mode { PARALLEL_4LEVEL, PARALLEL_GIB, PARALLEL_PAE, PARALLEL_32BIT };

/* What else there is in a plan. */
enum parallel_extra {
    PARALLEL_PLAIN,
    PARALLEL_MOVES = 1 << 0, /* a monitor moves pages of the VM meanwhile */
    PARALLEL_LARGE = 1 << 1, /* large pages */
    PARALLEL_CODE = 1 << 2,  /* decoded code */
    PARALLEL_MANY = 1 << 3,  /* vCPUs 0, 63, 64, 65 of many: sets of more than one word */
};

struct parallel_plan {
    const char *name;
    enum parallel_mode mode;
    unsigned vcpus;
    bool one_thread; /* all take turns, none waits; answers come late */
    unsigned extras; /* enum parallel_extra */
    struct mmu_options options;
};

enum leaf_kind {
    LEAF_WRITABLE,
    LEAF_READ_ONLY,
    LEAF_ABSENT,
    LEAF_NEVER, /* a number that was left out */
    LEAF_LARGE, /* supervisor pages only */
    LEAF_LARGE_READ_ONLY,
};

/* A leaf entry. A version in [published, started] is on its way. */
struct leaf {
    _Atomic uint64_t started, published;
    _Atomic uint64_t marks; /* odd while the owner clears A or D */
    _Atomic uint8_t kind[VERSIONS];
};

struct region {
    uint64_t upper[ROOTS]; /* where the upper entries lie; all lead to the same table */
    uint64_t table[2], table_frame[2]; /* the latter where the VM's map has it */
    uint64_t target[2]; /* what an upper entry holds that leads there */
    _Atomic uint64_t links; /* odd while an upper entry changes */
    /* The owner's: */
    bool linked;
    unsigned current; /* the table that is, or was, linked */
    bool large;
    enum leaf_kind large_kind;
    unsigned large_frame;
};

/* A word of code. */
struct code_word {
    _Atomic uint64_t started, published;
};

/* What a vCPU has decoded there. */
struct decoded {
    bool valid;
    uint32_t value;
};

enum job_kind { JOB_NONE, JOB_LINK, JOB_UNLINK, JOB_FLOOD, JOB_LARGE };

/* What an owner does in several steps. */
struct job {
    enum job_kind kind;
    struct region *region;
    unsigned step, steps;
    uint64_t version[REGION_PAGES];
};

enum deed {
    DEED_LOAD,
    DEED_STORE,
    DEED_FETCH,
    DEED_FAST,     /* past the slow way, any of these */
    DEED_CROSSING, /* a load */
    DEED_EXCHANGE, /* a locked access that crosses pages */
    DEED_PROBE,
    DEED_FAULT,  /* absent */
    DEED_DENIED, /* present */
    DEED_OLD,    /* a version was used that was no longer the newest one */
    DEED_UNSURE, /* the owner was too quick to tell */
    DEED_MARKS,  /* A or D missed because the owner had just cleared it */
    DEED_EVENT,
    DEED_WRITE_FAST, /* of an entry */
    DEED_WRITE_SLOW,
    DEED_LEAF,
    DEED_LINK,
    DEED_UNLINK,
    DEED_FLOOD,
    DEED_CLEAR,
    DEED_COUNT_ONE,
    DEED_COUNT_HELD,
    DEED_ANSWER,
    DEED_PARK,
    DEED_MOVE,
    DEED_LARGE,
    DEED_DECODE,
    DEED_EXECUTE,
    DEED_OLD_CODE, /* was executed */
    DEED_SERIALISE,
    DEED_WRITE_CODE,
    DEEDS
};

struct world;

/* A vCPU, or (number == vcpus) the device. */
struct actor {
    struct mmu_context m;
    struct world *world;
    unsigned number;
    uint64_t random, step;
    _Atomic bool asked; /* mmu_context.interrupt was called */
    unsigned root;
    bool pge;
    struct job job;
    uint64_t token; /* the last that was stored to a page */
    uint64_t counted[COUNTERS];
    uint64_t deeds[DEEDS];
    /* By page: what the vCPU is entitled to since its last event, `marks` and `links` then. */
    uint64_t floor[PAGES], marks[PAGES], links[PAGES];
    uint64_t next_floor[PAGES], next_marks[PAGES], next_links[PAGES];
    uint64_t large_floor[PAGES]; /* the same, of large pages only */
    struct decoded decoded[CODE_WORDS];
    uint64_t code_floor[CODE_WORDS]; /* since it has serialised itself */
    bool code_watched[CODE_PAGES];
};

struct world {
    const struct parallel_plan *plan;
    uint64_t seed, steps;
    struct log log;
    struct machine_memory *memory;
    struct bus *bus;
    unsigned entry_size, upper_count;
    uint64_t base, span; /* linear, of the regions */
    uint64_t large_start, large_size; /* physical, of large frames */
    uint64_t root[ROOTS + 1];
    uint64_t side; /* the upper entries of SIDE_ROOT */
    uint64_t shared_table; /* four levels: between the roots and the regions */
    struct leaf leaf[PAGES];
    struct region region[REGIONS];
    struct code_word code[CODE_WORDS];
    struct actor actor[VCPUS_MAX + 1];
    uint64_t table_spare; /* a frame that no page has; device lock */
    pthread_mutex_t devices; /* the device lock */
    _Atomic unsigned running; /* vCPUs that are not through */
    _Atomic bool over;
};

/* Another frame for the page, with what it holds, or only its first and last words; the old one is
 * the spare one then. Nobody stores to it meanwhile but walkers; device lock. */
void parallel_move(struct actor *a, uint64_t page, uint64_t *frame, uint64_t *spare, bool whole);

/* A whole run; ends the program at the first difference. */
void parallel_run(const struct parallel_plan *plan, uint64_t seed, uint64_t steps);

/* --- tests/mmu/parallel_world.c --- */

struct world *parallel_create(const struct parallel_plan *plan, uint64_t seed, uint64_t steps);
void parallel_destroy(struct world *w);

__attribute__((format(printf, 2, 3))) _Noreturn void parallel_fail(const struct actor *a,
                                                                    const char *format, ...);

uint64_t parallel_draw(struct actor *a, uint64_t below);

static inline bool parallel_has(const struct world *w, enum parallel_extra extra)
{
    return w->plan->extras & extra;
}

/* Who holds the others has them wait, which those that take turns cannot. Some hosts need it for 16
 * bytes. */
static inline bool parallel_can_hold(const struct world *w)
{
    return !w->plan->one_thread;
}

static inline bool parallel_has_pairs(const struct world *w)
{
    return HOST_CAS128 || parallel_can_hold(w);
}

/* Versions with such a number are pieces of large frame (number / 16) % LARGE_FRAMES. */
static inline bool parallel_is_large(uint64_t version)
{
    return version % 16 == 15;
}

static inline struct region *parallel_region(struct world *w, unsigned page)
{
    return &w->region[page / REGION_PAGES];
}

static inline bool parallel_is_global(unsigned page)
{
    return page / REGION_PAGES == GLOBAL_REGION;
}

static inline bool parallel_is_user(unsigned page)
{
    return !parallel_is_global(page) && page % REGION_PAGES != 0;
}

/* What the root lets through, but to global pages that another one has brought. */
static inline bool parallel_root_writable(unsigned root)
{
    return root != 1;
}

static inline bool parallel_root_user(unsigned root)
{
    return root != 2;
}

uint64_t parallel_linear(const struct world *w, unsigned page);
uint64_t parallel_frame(const struct world *w, unsigned page, uint64_t version);
uint64_t parallel_leaf_entry(unsigned page, uint64_t version, enum leaf_kind kind, unsigned marks);
uint64_t parallel_upper_entry(const struct world *w, unsigned root, uint64_t table);
uint64_t parallel_large_entry(const struct world *w, unsigned root, const struct region *r,
                              unsigned marks);
uint64_t parallel_entry_at(const struct world *w, uint64_t physical);

/* The word at an offset of a page's frame, wherever the VM's map has it. */
uint64_t parallel_peek(const struct world *w, uint64_t physical);

/* --- tests/mmu/parallel_oracle.c --- */

/* The newest version that can be known to be there. */
uint64_t parallel_newest(struct actor *a, unsigned page);

/* The page's leaf entry as the tables have it, if its version is the newest, so far. */
bool parallel_read_newest(struct actor *a, unsigned page, uint64_t *entry, uint64_t *version);

/* What is known now; then an invalidation; then it counts. */
enum scope { SCOPE_ALL, SCOPE_NO_GLOBALS, SCOPE_PAGE, SCOPE_NO_GLOBAL_PAGE };
void parallel_look(struct actor *a);
void parallel_look_at(struct actor *a, unsigned page);
void parallel_entitle_page(struct actor *a, unsigned page);
void parallel_entitle(struct actor *a, enum scope scope, unsigned page);

/* An access that went to a frame; which one is said by its first word. */
void parallel_check_hit(struct actor *a, unsigned page, enum mmu_access access, bool user,
                        uint32_t word);

/* A store of a->token to a page. */
void parallel_check_store(struct actor *a, unsigned page, bool user);

/* A fault; `start` is the newest version that was known before. */
void parallel_check_fault(struct actor *a, unsigned page, enum mmu_access access, bool user,
                          uint64_t start, const struct mmu_fault *fault);

/* --- tests/mmu/parallel_owner.c --- */

/* A step of what the actor does to its entries. */
void parallel_own(struct actor *a);

/* A store of the actor's, one way or another. */
void parallel_write(struct actor *a, uint64_t physical, unsigned size, uint64_t value);

/* --- tests/mmu/parallel_code.c --- */

/* machine_memory.code_changed */
void parallel_code_changed(struct mmu_context *m, mpa_t address, unsigned length);

/* A step with code. */
void parallel_code_act(struct actor *a);

/* A new number for a word of the actor's. */
void parallel_write_code(struct actor *a);

/* The vCPU serialises itself; then all words must be as their owners have left them. */
void parallel_check_code(struct actor *a);

/* --- tests/mmu/parallel_acts.c --- */

/* A step of a vCPU; its context is not parked. */
void parallel_act(struct actor *a);

/* The vCPU brings itself up to date; then all pages must be as their owners have left them. */
void parallel_check_all(struct actor *a);

/* A step of the device. */
void parallel_device_act(struct actor *a);

/* All counters hold what was added to them. */
void parallel_check_counters(struct world *w);

#endif
