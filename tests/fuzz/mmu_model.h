/*
 * Two vCPUs on one memory for mmu_fuzz.c, with what is known about them: a mirror of memory, the
 * translations that a processor may have cached (SDM 3A 4.10), and the look-ups of code that a
 * block cache may still use.
 */
#ifndef TESTS_FUZZ_MMU_MODEL_H
#define TESTS_FUZZ_MMU_MODEL_H

#include "base/bits.h"
#include "mmu/tlb.h"
#include "tests/unit/mmu/mmu_rig.h"
#include "tests/unit/mmu/walk_compare.h"

#include <stdio.h>

#define FRAMES      9u /* from 0: six tables, three data pages; also where large pages begin */
#define TABLES      6u
#define WINDOW      (FRAMES * 4096u)
#define HISTORY_MAX 512u
#define LOOKUP_MAX  64u
#define TOUCHED_MAX 4096u

/* A translation that an access has used. */
struct cached {
    uint64_t base; /* linear, aligned to the page size */
    uint16_t pcid;
    struct oracle_answer page; /* physical: of the base */
};

/* What a look-up cache of blocks would hold: valid while the epoch stays. */
struct lookup {
    uint64_t page, physical, epoch;
    enum tlb_view view;
};

struct vcpu_model {
    struct mmu_context *m;
    struct cached history[HISTORY_MAX];
    unsigned count;
    struct lookup lookups[LOOKUP_MAX]; /* a ring */
    unsigned lookup_count;
    uint8_t *instant; /* coherent: the window as it was when patches were last taken */
};

struct fuzz {
    struct rig r;
    const uint8_t *data, *end;
    uint8_t *mirror; /* RAM and ROM as they should be */
    uint8_t *before; /* the window before the current operation, with its A and D bits */
    struct vcpu_model vcpu[2];
    struct vcpu_model *v; /* the one that runs */
    /* Of the current access. */
    unsigned pages;                /* it touches: 1 or 2 */
    uint64_t walks;                /* it took */
    unsigned code_writes;          /* heard of during the current operation */
    bool trace;                    /* GNOMON_FUZZ_TRACE is in the environment */
    uint64_t touched[TOUCHED_MAX]; /* pages written outside the window */
    unsigned touched_count;
};

#define REQUIRE(f, condition) require(f, condition, #condition, __LINE__)

static inline void require(const struct fuzz *f, bool condition, const char *text, int line)
{
    const struct mmu_context *m = f->v->m;

    if (condition)
        return;
    fprintf(stderr, "%s:%d: not true: %s\nvcpu %u, CR0 %llx CR3 %llx CR4 %llx EFER %llx\n",
            __FILE__, line, text, m->vcpu, (unsigned long long)m->cr0, (unsigned long long)m->cr3,
            (unsigned long long)m->cr4, (unsigned long long)m->efer);
    __builtin_trap();
}

#define TRACE(f, ...) ((f)->trace ? (void)fprintf(stderr, __VA_ARGS__) : (void)0)

static inline uint8_t next(struct fuzz *f)
{
    return f->data < f->end ? *f->data++ : 0;
}

/* --- The machine --- */

static inline uint64_t device_read(void *device, uint64_t offset, unsigned size)
{
    (void)device;
    return (offset * 0x0101010101010101 + 0x1020304050607080) & size_mask(size) & ~BIT64(0);
}

static inline void device_write(void *device, uint64_t offset, uint64_t value, unsigned size)
{
    (void)device, (void)offset, (void)value, (void)size;
}

static inline uint64_t mirror_read(void *opaque, uint64_t physical, unsigned size)
{
    const struct fuzz *f = opaque;
    uint64_t value = 0;

    if (machine_memory_kind(f->r.memory, mpa(physical)) == FRAME_HOLE)
        return bus_mmio_read(f->r.bus, gpa(physical), size);
    memcpy(&value, f->mirror + physical, size);
    return le64toh(value);
}

static inline void code_write(void *opaque, mpa_t address, unsigned length)
{
    struct fuzz *f = opaque;

    (void)address, (void)length;
    f->code_writes++;
}

static inline struct oracle_cpu processor(struct fuzz *f)
{
    struct oracle_cpu cpu = oracle_of(f->v->m);

    cpu.read = mirror_read;
    cpu.opaque = f;
    return cpu;
}

/* Created once: a TLB takes longer to create than an input to run. */
static inline struct fuzz *create(void)
{
    static const struct bus_region_ops ops = {"fuzz", device_read, device_write, 8};
    struct fuzz *f = calloc(1, sizeof(*f));

    if (f == NULL || !rig_create(&f->r))
        __builtin_trap();
    bus_remove_mmio(f->r.bus, gpa(RIG_IO));
    bus_add_mmio(f->r.bus, gpa(RIG_IO), 4096, &ops, f, NULL);
    f->mirror = calloc(1, RIG_ROM + 0x10000);
    f->before = calloc(3, WINDOW);
    f->vcpu[0].instant = f->before + WINDOW;
    f->vcpu[1].instant = f->before + 2 * WINDOW;
    f->vcpu[0].m = &f->r.m;
    f->vcpu[1].m = &f->r.other;
    f->trace = getenv("GNOMON_FUZZ_TRACE") != NULL;
    f->r.memory->code_write = code_write;
    f->r.memory->code_write_opaque = f;
    return f;
}

static inline void reset_vcpu(struct vcpu_model *v)
{
    struct mmu_context *m = v->m;

    v->count = v->lookup_count = 0;
    m->a20_mask = UINT64_MAX;
    m->exact = m->exact_point = false;
    memset(m->pdpte, 0, sizeof(m->pdpte));
    mmu_set_control(m, 1, 0, 0);
    mmu_set_cr3(m, 0, false);
    mmu_set_pkru(m, 0);
    mmu_set_privilege(m, 0, false);
    mmu_flush_all(m);
}

static inline void reset(struct fuzz *f)
{
    mmu_flush_all(f->vcpu[0].m);
    mmu_flush_all(f->vcpu[1].m);
    for (unsigned i = 0; i < f->touched_count; i++) {
        memset(machine_memory_host(f->r.memory, mpa(f->touched[i])), 0, PAGE_SIZE);
        memset(f->mirror + f->touched[i], 0, PAGE_SIZE);
    }
    f->touched_count = 0;
    memset(f->mirror, 0, WINDOW);
    for (uint64_t i = TABLES * 512; i < FRAMES * 512; i++)
        memcpy(f->mirror + i * 8, &(uint64_t){htole64(i * 0x0001000100010000)}, 8);
    memcpy(f->r.memory->base, f->mirror, WINDOW);
    for (unsigned i = 0; i < FRAMES; i++)
        atomic_store(&machine_memory_frame(f->r.memory, mpa(i << 12))->watch, 0);
    f->v = &f->vcpu[0];
    reset_vcpu(&f->vcpu[0]);
    reset_vcpu(&f->vcpu[1]);
}

/* Writes the mirror, and remembers what to clean up. */
static inline void mirror_write(struct fuzz *f, uint64_t physical, const void *bytes, unsigned size)
{
    uint64_t page = physical & PAGE_MASK;

    memcpy(f->mirror + physical, bytes, size);
    if (physical < WINDOW || (f->touched_count > 0 && f->touched[f->touched_count - 1] == page))
        return;
    if (f->touched_count == TOUCHED_MAX)
        __builtin_trap(); /* an input has fewer bytes than that */
    f->touched[f->touched_count++] = page;
}

/* --- What may be cached --- */

static inline uint16_t current_pcid(const struct mmu_context *m)
{
    return m->cr4 & CR4_PCIDE ? m->cr3 & 0xfff : 0;
}

static inline bool covers(const struct cached *c, uint64_t linear)
{
    return linear >> c->page.page_bits == c->base >> c->page.page_bits;
}

static inline uint64_t cached_physical(const struct fuzz *f, const struct cached *c,
                                       uint64_t linear)
{
    return (c->page.physical + (linear - c->base)) & f->v->m->a20_mask;
}

static inline bool was_so(struct fuzz *f, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                          enum oracle_who who);

/* May an earlier access have left this translation for the access? */
static inline bool in_history(struct fuzz *f, uint64_t linear, uint64_t physical,
                              enum oracle_kind kind, enum oracle_who who)
{
    const struct oracle_cpu cpu = processor(f);
    uint16_t pcid = current_pcid(f->v->m);

    for (unsigned i = 0; i < f->v->count; i++) {
        const struct cached *c = &f->v->history[i];

        if (covers(c, linear) && (c->page.global || c->pcid == pcid) &&
            cached_physical(f, c, linear) == physical &&
            oracle_allowed(&cpu, kind, who, &c->page) && (kind != ORACLE_STORE || c->page.dirty))
            return true;
    }
    return was_so(f, linear, physical, kind, who);
}

static inline bool is_known(const struct vcpu_model *v, const struct cached *c)
{
    for (unsigned i = 0; i < v->count; i++) {
        const struct cached *k = &v->history[i];

        if (k->base == c->base && k->pcid == c->pcid && k->page.physical == c->page.physical &&
            k->page.page_bits == c->page.page_bits && k->page.user == c->page.user &&
            k->page.writable == c->page.writable && k->page.executable == c->page.executable &&
            k->page.global == c->page.global && k->page.dirty == c->page.dirty &&
            k->page.key == c->page.key)
            return true;
    }
    return false;
}

static inline void remember(struct fuzz *f, uint64_t linear, const struct oracle_answer *a)
{
    uint64_t inside = linear & (BIT64(a->page_bits) - 1);
    struct cached c = {.base = linear - inside, .pcid = current_pcid(f->v->m), .page = *a};

    /* Behind the A20 gate the base may lie elsewhere than the masked address says. */
    c.page.physical -= inside & f->v->m->a20_mask;
    if (is_known(f->v, &c))
        return;
    if (f->v->count == HISTORY_MAX)
        f->data = f->end; /* enough: the input ends here */
    else
        f->v->history[f->v->count++] = c;
}

/* Forgets what the predicate names. */
static inline void forget(struct vcpu_model *v, bool globals, bool any_pcid, uint16_t pcid,
                          const uint64_t *linear)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < v->count; i++) {
        const struct cached *c = &v->history[i];
        bool goes = (c->page.global ? globals : any_pcid || c->pcid == pcid) &&
                    (linear == NULL || covers(c, *linear));

        if (!goes)
            v->history[kept++] = *c;
    }
    v->count = kept;
}

/* --- What coherent policies may use --- */

static inline uint64_t instant_read(void *opaque, uint64_t physical, unsigned size)
{
    const struct fuzz *f = opaque;
    uint64_t value = 0;

    if (physical + size > WINDOW)
        return mirror_read(opaque, physical, size);
    memcpy(&value, f->v->instant + physical, size);
    return le64toh(value);
}

/*
 * Could a processor have translated the page on speculation when patches were last taken? Then it
 * is legal until the next event (SDM 3A 4.10.2.3): no A bit was missing then, nor D for a store.
 */
static inline bool was_so(struct fuzz *f, uint64_t linear, uint64_t physical, enum oracle_kind kind,
                          enum oracle_who who)
{
    const struct oracle_cpu cpu = processor(f);
    struct oracle_cpu then = cpu;
    struct oracle_answer a;

    if (f->v->m->options.policy == MMU_POLICY_FLUSH)
        return false;
    then.read = instant_read;
    then.pkru = 0; /* whatever is allowed */
    then.smap = false;
    a = oracle_access(&then, linear, ORACLE_LOAD, ORACLE_SUPERVISOR);
    return a.end == ORACLE_TRANSLATED && a.update_count == 0 && a.physical == physical &&
           oracle_allowed(&cpu, kind, who, &a) && (kind != ORACLE_STORE || a.dirty);
}

#endif
