/*
 * Two vCPUs on one memory for the randomised tests of mmu/ (tests/mmu/driver.h), with what is known
 * about them: a mirror of memory, the translations that a processor may have cached (SDM 3A 4.10),
 * memory as it was when a vCPU last took patches, and the look-ups of code that a block cache may
 * still use.
 *
 * Where an access may go:
 *
 *   now         what the tables say at this moment
 *   history     policy `flush`: where an earlier access went, unless an invalidation since then
 *               covers it; the others: so for the supervisor's global pages, else where one went
 *               since the last coherency event, if slots without a trace are about
 *   instant     coherent policies: where a processor could have gone by a walk when patches were
 *               last taken
 *
 * Physical addresses are the guest's; the mirror lies as the machine's memory does, behind a model
 * of the VM's map.
 *
 * Nothing else is legal. So behind an event for which a processor drops a translation, what was
 * true before the event only is an error.
 */
#ifndef TESTS_MMU_MODEL_H
#define TESTS_MMU_MODEL_H

#include "base/bits.h"
#include "mmu/tlb.h"
#include "tests/unit/mmu/mmu_rig.h"
#include "tests/unit/mmu/walk_compare.h"

#include <stdio.h>

#define HISTORY_MAX  512u
#define LOOKUP_MAX   64u
#define HISTORY_ROOM (LOOKUP_MAX + 4)     /* more than that no operation enters */
#define MODEL_MEMORY (RIG_ROM + 0x10000u) /* RAM and ROM; both begin at multiples of 4 KiB */
#define MODEL_FRAMES (MODEL_MEMORY >> 12)

#define MODEL_NO_FRAME 0xffffu
#define MODEL_NOWHERE  UINT64_MAX

/* A translation that an access has used. */
struct cached {
    uint64_t base; /* linear, aligned to the page size */
    uint16_t pcid;
    struct oracle_answer page; /* physical: of the base */
};

/* What a look-up cache of blocks would hold: valid while the epoch stays. */
struct lookup {
    uint64_t page, physical, machine, epoch;
    enum tlb_view view;
};

/* A set of frames, to be gone through in time. */
struct frame_list {
    uint16_t list[MODEL_FRAMES];
    unsigned count;
    bool in[MODEL_FRAMES];
};

struct vcpu_model {
    struct mmu_context *m;
    struct cached history[HISTORY_MAX];
    unsigned count;
    struct lookup lookups[LOOKUP_MAX]; /* a ring */
    unsigned lookup_count;
    uint8_t *instant;        /* coherent: memory as it was when patches were last taken */
    struct frame_list behind; /* where it may differ from the mirror */
    /* The counters when the current operation began. */
    uint64_t walks, events, consumptions;
};

struct driver {
    struct rig r;
    uint8_t *mirror; /* RAM and ROM as they should be, by machine address */
    /* Machine frames of guest physical pages; MODEL_NO_FRAME, and what lies beyond, is the bus. */
    uint16_t map[RIG_END >> 12];
    struct vcpu_model vcpu[2];
    struct vcpu_model *v;     /* the one that runs */
    uint8_t device[4096];     /* at RIG_IO: it remembers... */
    uint8_t registers[4096];  /* ...what it should */
    unsigned window;          /* frames from 0 that are compared with the mirror every time */
    unsigned window_period;   /* ... of so many operations */
    struct frame_list touched; /* frames ever written since the reset */
    struct frame_list changed; /* frames to be compared at the end of the operation */
    uint64_t operations;
    bool full;  /* the history has no room: the caller has to invalidate, or to end */
    bool trace; /* print what is done */
    /* Told before a broken promise ends the program; may be NULL. */
    void (*failed)(void *opaque);
    void *failed_opaque;
    /* Of the current access. */
    unsigned pages;       /* it touches: 1 or 2 */
    uint64_t walks;       /* it took */
    unsigned code_writes; /* heard of during the current operation */
    /* Of the last access: where its first page was, what the tables said to the last page looked
     * at, and whether it went elsewhere. */
    uint64_t place;
    struct oracle_answer now;
    bool stale;
    uint64_t lookups; /* look-ups that were still good when they were checked, in all */
};

#define REQUIRE(d, condition) model_require(d, condition, #condition, __FILE__, __LINE__)
#define TRACE(d, ...)         ((d)->trace ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)

void model_require(const struct driver *d, bool condition, const char *text, const char *file,
                   int line);

/* --- The machine --- */

/* GNOMON_FUZZ_TRACE in the environment switches `trace` on. Everything as after model_reset. */
struct driver *model_create(void);
void model_destroy(struct driver *d);

/* Registers at reset, memory all zeroes, ROM as it was; nothing is derived or known. */
void model_reset(struct driver *d);

/* Writes memory and mirror, unheard of by any vCPU: for set-up. */
void model_poke(struct driver *d, uint64_t physical, const void *bytes, unsigned size);

/* Writes the mirror alone: the real code has written, or is to write, memory or the device. */
void model_write(struct driver *d, uint64_t physical, const void *bytes, unsigned size);
void model_write_machine(struct driver *d, uint64_t at, const void *bytes, unsigned size);

/* Is all memory that was written what it should be? */
void model_compare(struct driver *d, bool everything);

/* The machine address, MODEL_NOWHERE: the map has nothing there. */
static inline uint64_t model_machine(const struct driver *d, uint64_t physical)
{
    if (physical >= RIG_END || d->map[physical >> 12] == MODEL_NO_FRAME)
        return MODEL_NOWHERE;
    return (uint64_t)d->map[physical >> 12] << 12 | (physical & 0xfff);
}

static inline enum frame_kind model_kind(const struct driver *d, uint64_t physical)
{
    return machine_memory_kind(d->r.memory, mpa(model_machine(d, physical)));
}

/* Is there the device that remembers? */
static inline bool model_in_device(const struct driver *d, uint64_t physical)
{
    return physical >> 12 == RIG_IO >> 12 && model_kind(d, physical) == FRAME_HOLE;
}

/* A page of the VM's map changes, for both vCPUs; it gets one if it has none. */
void model_map(struct driver *d, uint64_t page, uint16_t frame);

/* The byte that should lie there, wherever that is. */
uint8_t model_byte(const struct driver *d, uint64_t physical);

/* The oracle's processor: registers of the vCPU that runs, and the mirror. */
struct oracle_cpu model_processor(struct driver *d);

/* --- What may be cached --- */

static inline uint16_t model_pcid(const struct mmu_context *m)
{
    return m->cr4 & CR4_PCIDE ? m->cr3 & 0xfff : 0;
}

static inline bool model_coherent(const struct vcpu_model *v)
{
    return v->m->options.policy != MMU_POLICY_FLUSH;
}

/* Begins an operation of the vCPU that runs, and tells what it has done to the derived state: to
 * be called behind each call of the real code, before the mirror changes. */
void model_begin(struct driver *d);
void model_follow(struct driver *d);

/* The mirror is what is derived now, and nothing else is. */
void model_take_instant(struct driver *d, struct vcpu_model *v);

/* An access of the vCPU that runs has used a translation. */
void model_remember(struct driver *d, uint64_t linear, const struct oracle_answer *a);

/* Forgets translations: of any PCID or the one; those for one linear address, or all. */
void model_forget(struct vcpu_model *v, bool globals, bool any_pcid, uint16_t pcid,
                  const uint64_t *linear);

/* May the access go there although the tables do not say so now? */
bool model_was_legal(struct driver *d, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                     enum oracle_who who);

/* An access to several pages may have used the page before the other one had patches taken: if it
 * is global, that remains. To be called before model_follow. */
void model_foresee(struct driver *d, uint64_t linear, enum oracle_kind kind, enum oracle_who who);

/* Does the walk still have A or D bits to set in RAM? */
bool model_unmarked(const struct driver *d, const struct oracle_answer *a);

/* Puts the bits that a walk has set into the mirror. */
void model_mark(struct driver *d, const struct oracle_answer *a);

#endif
