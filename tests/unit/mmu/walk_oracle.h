/*
 * Paging once more, for tests: what Intel's SDM volume 3A, chapter 4, says about one access, as
 * tables of bit fields (the manual's tables 4-3 to 4-20) and the rules of 4.6 to 4.8 as
 * sentences. Shares no type, no constant and no idea with mmu/walk.c; slow on purpose.
 *
 * Where the manual leaves a choice, the oracle says what Gnomon promises: an access that faults
 * sets neither A nor D bits.
 */
#ifndef TESTS_UNIT_MMU_WALK_ORACLE_H
#define TESTS_UNIT_MMU_WALK_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- The processor --- */

enum oracle_mode { ORACLE_NONE, ORACLE_32BIT, ORACLE_PAE, ORACLE_4LEVEL, ORACLE_5LEVEL };

struct oracle_cpu {
    enum oracle_mode mode;
    bool wp;
    bool pse, pge, smep, smap, pke;
    bool nxe;
    bool gib_pages;
    unsigned maxphyaddr;
    uint64_t cr3;
    uint64_t pdpte[4];
    uint32_t pkru;
    uint64_t a20_mask;
    /* The entry at a physical address, of 4 or 8 bytes. */
    uint64_t (*read)(void *opaque, uint64_t physical, unsigned size);
    void *opaque;
};

enum oracle_kind { ORACLE_LOAD, ORACLE_STORE, ORACLE_FETCH };

enum oracle_who {
    ORACLE_USER,       /* CPL 3 */
    ORACLE_SUPERVISOR, /* CPL below 3, EFLAGS.AC clear */
    ORACLE_AC,         /* CPL below 3, EFLAGS.AC set */
    ORACLE_IMPLICIT,   /* descriptor tables and the like, at any CPL */
};

/* --- The answer --- */

enum oracle_end { ORACLE_TRANSLATED, ORACLE_FAULT, ORACLE_NOT_CANONICAL };

/* An entry with the A and D bits that the access sets. */
struct oracle_update {
    uint64_t physical;
    unsigned size;
    uint64_t value;
};

struct oracle_answer {
    enum oracle_end end;
    uint32_t error;    /* FAULT: as pushed */
    bool mapped;       /* the walk reached a page, whether or not the access is allowed */
    uint64_t physical; /* mapped: where the linear address lies */
    unsigned page_bits;
    bool user, writable, executable, global, dirty;
    unsigned key;
    unsigned entries;     /* read from memory or from PDPTE registers */
    uint64_t entry_at[5]; /* where each lies; 0 for a register */
    unsigned update_count;
    struct oracle_update update[5];
};

/* --- Formats of entries --- */

enum oracle_meaning {
    ORACLE_END,
    ORACLE_ADDRESS,   /* of the same bits of the physical address */
    ORACLE_ADDRESS36, /* bits 20:13 of a 4 MByte page: bits 39:32 of the physical address */
    ORACLE_ZERO,      /* reserved */
    ORACLE_XD,        /* execute disable; reserved without EFER.NXE */
    ORACLE_KEY,
};

/* Field boundaries that depend on MAXPHYADDR (M). */
#define ORACLE_M  200
#define ORACLE_M1 201 /* M - 1 */
/* The 4 MByte page: bits 21:(M-19) are reserved, (M-20):13 are address; M is at most 40. */
#define ORACLE_M19 202
#define ORACLE_M20 203

struct oracle_field {
    uint8_t high, low;
    enum oracle_meaning meaning;
};

struct oracle_format {
    bool has_rights;   /* R/W and U/S are at bits 1 and 2 */
    bool has_accessed; /* A is at bit 5 */
    bool is_page;      /* D at bit 6, G at bit 8 */
    struct oracle_field fields[6];
};

static const struct oracle_format oracle_pde_4m = {
    true,
    true,
    true,
    {{31, 22, ORACLE_ADDRESS}, {ORACLE_M20, 13, ORACLE_ADDRESS36}, {21, ORACLE_M19, ORACLE_ZERO}}};
static const struct oracle_format oracle_pde_32 = {true, true, false, {{31, 12, ORACLE_ADDRESS}}};
static const struct oracle_format oracle_pte_32 = {true, true, true, {{31, 12, ORACLE_ADDRESS}}};

/* A PDPTE register: its reserved bits were checked when it was loaded. */
static const struct oracle_format oracle_pdpte_pae = {
    false, false, false, {{ORACLE_M1, 12, ORACLE_ADDRESS}}};
static const struct oracle_format oracle_pde_2m_pae = {true,
                                                       true,
                                                       true,
                                                       {{63, 63, ORACLE_XD},
                                                        {62, ORACLE_M, ORACLE_ZERO},
                                                        {ORACLE_M1, 21, ORACLE_ADDRESS},
                                                        {20, 13, ORACLE_ZERO}}};
static const struct oracle_format oracle_pde_pae = {
    true,
    true,
    false,
    {{63, 63, ORACLE_XD}, {62, ORACLE_M, ORACLE_ZERO}, {ORACLE_M1, 12, ORACLE_ADDRESS}}};
static const struct oracle_format oracle_pte_pae = {
    true,
    true,
    true,
    {{63, 63, ORACLE_XD}, {62, ORACLE_M, ORACLE_ZERO}, {ORACLE_M1, 12, ORACLE_ADDRESS}}};

/* A PML5E or PML4E, and a PDPTE where there are no 1 GByte pages: bit 7 is reserved. */
static const struct oracle_format oracle_upper = {true,
                                                  true,
                                                  false,
                                                  {{63, 63, ORACLE_XD},
                                                   {51, ORACLE_M, ORACLE_ZERO},
                                                   {ORACLE_M1, 12, ORACLE_ADDRESS},
                                                   {7, 7, ORACLE_ZERO}}};
/* A PDPTE or PDE that refers to a table. */
static const struct oracle_format oracle_table = {
    true,
    true,
    false,
    {{63, 63, ORACLE_XD}, {51, ORACLE_M, ORACLE_ZERO}, {ORACLE_M1, 12, ORACLE_ADDRESS}}};
static const struct oracle_format oracle_pdpte_1g = {true,
                                                     true,
                                                     true,
                                                     {{63, 63, ORACLE_XD},
                                                      {62, 59, ORACLE_KEY},
                                                      {51, ORACLE_M, ORACLE_ZERO},
                                                      {ORACLE_M1, 30, ORACLE_ADDRESS},
                                                      {29, 13, ORACLE_ZERO}}};
static const struct oracle_format oracle_pde_2m = {true,
                                                   true,
                                                   true,
                                                   {{63, 63, ORACLE_XD},
                                                    {62, 59, ORACLE_KEY},
                                                    {51, ORACLE_M, ORACLE_ZERO},
                                                    {ORACLE_M1, 21, ORACLE_ADDRESS},
                                                    {20, 13, ORACLE_ZERO}}};
static const struct oracle_format oracle_pte = {true,
                                                true,
                                                true,
                                                {{63, 63, ORACLE_XD},
                                                 {62, 59, ORACLE_KEY},
                                                 {51, ORACLE_M, ORACLE_ZERO},
                                                 {ORACLE_M1, 12, ORACLE_ADDRESS}}};

/* One step of a walk: which bits of the linear address select, and what PS chooses between. */
struct oracle_step {
    uint8_t high, low;
    bool in_register;
    const struct oracle_format *table;    /* PS clear, or PS means nothing here; NULL: a page */
    const struct oracle_format *page;     /* PS set; NULL: there is no such page */
    const struct oracle_format *pageless; /* instead of `table` where 1 GByte pages do not exist */
};

struct oracle_walk {
    unsigned entry_size;
    unsigned steps;
    uint8_t cr3_high, cr3_low;
    struct oracle_step step[5];
};

#define ORACLE_LOWER_STEPS                                                                         \
    {38, 30, false, &oracle_table, &oracle_pdpte_1g, &oracle_upper},                               \
        {29, 21, false, &oracle_table, &oracle_pde_2m, NULL},                                      \
    {                                                                                              \
        20, 12, false, NULL, &oracle_pte, NULL                                                     \
    }

static const struct oracle_walk oracle_walks[] = {
    [ORACLE_32BIT] = {4,
                      2,
                      31,
                      12,
                      {{31, 22, false, &oracle_pde_32, &oracle_pde_4m, NULL},
                       {21, 12, false, NULL, &oracle_pte_32, NULL}}},
    [ORACLE_PAE] = {8,
                    3,
                    31,
                    5,
                    {{31, 30, true, &oracle_pdpte_pae, NULL, NULL},
                     {29, 21, false, &oracle_pde_pae, &oracle_pde_2m_pae, NULL},
                     {20, 12, false, NULL, &oracle_pte_pae, NULL}}},
    [ORACLE_4LEVEL] =
        {8, 4, ORACLE_M1, 12, {{47, 39, false, &oracle_upper, NULL, NULL}, ORACLE_LOWER_STEPS}},
    [ORACLE_5LEVEL] = {8,
                       5,
                       ORACLE_M1,
                       12,
                       {{56, 48, false, &oracle_upper, NULL, NULL},
                        {47, 39, false, &oracle_upper, NULL, NULL},
                        ORACLE_LOWER_STEPS}},
};

/* --- Bits --- */

/* Ones at high:low; nothing where high is below low. */
static inline uint64_t oracle_ones(int high, int low)
{
    uint64_t mask = 0;

    for (int bit = low; bit <= high; bit++)
        mask |= (uint64_t)1 << bit;
    return mask;
}

static inline int oracle_bound(const struct oracle_cpu *cpu, uint8_t bound)
{
    int m = (int)cpu->maxphyaddr, m40 = m < 40 ? m : 40;

    switch (bound) {
    case ORACLE_M:
        return m;
    case ORACLE_M1:
        return m - 1;
    case ORACLE_M19:
        return m40 - 19;
    case ORACLE_M20:
        return m40 - 20;
    default:
        return bound;
    }
}

/* The bits of a format that have the meaning. */
static inline uint64_t oracle_bits(const struct oracle_cpu *cpu, const struct oracle_format *f,
                                   enum oracle_meaning meaning)
{
    uint64_t mask = 0;

    for (const struct oracle_field *field = f->fields; field->meaning != ORACLE_END; field++)
        if (field->meaning == meaning)
            mask |= oracle_ones(oracle_bound(cpu, field->high), oracle_bound(cpu, field->low));
    return mask;
}

static inline bool oracle_reserved_bit_set(const struct oracle_cpu *cpu,
                                           const struct oracle_format *f, uint64_t entry)
{
    if (entry & oracle_bits(cpu, f, ORACLE_ZERO))
        return true;
    return !cpu->nxe && (entry & oracle_bits(cpu, f, ORACLE_XD));
}

static inline uint64_t oracle_address(const struct oracle_cpu *cpu, const struct oracle_format *f,
                                      uint64_t entry)
{
    return (entry & oracle_bits(cpu, f, ORACLE_ADDRESS)) |
           (entry & oracle_bits(cpu, f, ORACLE_ADDRESS36)) >> 13 << 32;
}

/* --- 4.6: access rights --- */

static inline bool oracle_user_mode(enum oracle_who who)
{
    return who == ORACLE_USER;
}

/* 4.6.2: does the key of a user-mode address forbid the data access? */
static inline bool oracle_key_forbids(const struct oracle_cpu *cpu, enum oracle_kind kind,
                                      enum oracle_who who, const struct oracle_answer *a)
{
    bool access_disable = cpu->pkru >> (2 * a->key) & 1;
    bool write_disable = cpu->pkru >> (2 * a->key + 1) & 1;

    if (cpu->mode < ORACLE_4LEVEL || !cpu->pke || kind == ORACLE_FETCH || !a->user)
        return false;
    if (access_disable)
        return true;
    return write_disable && kind == ORACLE_STORE && (oracle_user_mode(who) || cpu->wp);
}

static inline bool oracle_fetch_allowed(const struct oracle_cpu *cpu, enum oracle_who who,
                                        const struct oracle_answer *a)
{
    if (oracle_user_mode(who))
        return a->user && a->executable;
    if (a->user && cpu->smep)
        return false;
    return a->executable;
}

static inline bool oracle_data_allowed(const struct oracle_cpu *cpu, enum oracle_kind kind,
                                       enum oracle_who who, const struct oracle_answer *a)
{
    if (oracle_key_forbids(cpu, kind, who, a))
        return false;
    if (oracle_user_mode(who))
        return a->user && (kind == ORACLE_LOAD || a->writable);
    if (a->user && cpu->smap && who != ORACLE_AC)
        return false;
    return kind == ORACLE_LOAD || a->writable || !cpu->wp;
}

/* May the access use the mapping that the answer describes? */
static inline bool oracle_allowed(const struct oracle_cpu *cpu, enum oracle_kind kind,
                                  enum oracle_who who, const struct oracle_answer *a)
{
    if (cpu->mode == ORACLE_NONE)
        return true;
    return kind == ORACLE_FETCH ? oracle_fetch_allowed(cpu, who, a)
                                : oracle_data_allowed(cpu, kind, who, a);
}

/* --- 4.7: error code --- */

static inline uint32_t oracle_error(const struct oracle_cpu *cpu, enum oracle_kind kind,
                                    enum oracle_who who, const struct oracle_answer *a,
                                    bool present, bool reserved)
{
    uint32_t error = 0;

    if (present)
        error |= 1;
    if (kind == ORACLE_STORE)
        error |= 2;
    if (oracle_user_mode(who))
        error |= 4;
    if (reserved)
        error |= 8;
    if (kind == ORACLE_FETCH && (cpu->smep || (cpu->mode >= ORACLE_PAE && cpu->nxe)))
        error |= 16;
    if (a->mapped && oracle_key_forbids(cpu, kind, who, a))
        error |= 32;
    return error;
}

/* --- 4.3 to 4.5: the walk --- */

static inline bool oracle_canonical(const struct oracle_cpu *cpu, uint64_t linear)
{
    unsigned width = cpu->mode == ORACLE_5LEVEL ? 57 : 48;
    uint64_t above = linear >> (width - 1);

    if (cpu->mode < ORACLE_4LEVEL)
        return true;
    return above == 0 || above == UINT64_MAX >> (width - 1);
}

static inline const struct oracle_format *
oracle_choose(const struct oracle_cpu *cpu, const struct oracle_step *step, uint64_t entry)
{
    bool ps = entry >> 7 & 1;

    if (step->table == NULL)
        return step->page;
    if (step->pageless != NULL && !cpu->gib_pages)
        return step->pageless;
    if (step->page == NULL || !ps)
        return step->table;
    if (cpu->mode == ORACLE_32BIT && !cpu->pse)
        return step->table;
    return step->page;
}

/* Marks one entry as used; the last one is the page's. */
static inline void oracle_use(struct oracle_answer *a, const struct oracle_format *f,
                              uint64_t physical, unsigned size, uint64_t entry,
                              enum oracle_kind kind)
{
    uint64_t value = entry;

    if (f->has_accessed)
        value |= 0x20;
    if (f->is_page && kind == ORACLE_STORE)
        value |= 0x40;
    if (value != entry)
        a->update[a->update_count++] = (struct oracle_update){physical, size, value};
}

static inline void oracle_combine(const struct oracle_cpu *cpu, struct oracle_answer *a,
                                  const struct oracle_format *f, uint64_t entry)
{
    if (f->has_rights) {
        a->writable = a->writable && (entry & 2);
        a->user = a->user && (entry & 4);
    }
    if (entry & oracle_bits(cpu, f, ORACLE_XD))
        a->executable = false;
}

static inline void oracle_page(const struct oracle_cpu *cpu, struct oracle_answer *a,
                               const struct oracle_format *f, const struct oracle_step *step,
                               uint64_t entry, uint64_t linear)
{
    a->mapped = true;
    a->page_bits = step->low;
    a->physical = oracle_address(cpu, f, entry) | (linear & oracle_ones(step->low - 1, 0));
    a->physical &= cpu->a20_mask;
    a->global = cpu->pge && (entry & 0x100);
    a->dirty = entry & 0x40;
    if (cpu->mode >= ORACLE_4LEVEL)
        a->key = (entry & oracle_bits(cpu, f, ORACLE_KEY)) >> 59;
}

/* What happens to one access of a byte. */
static inline struct oracle_answer oracle_access(const struct oracle_cpu *cpu, uint64_t linear,
                                                 enum oracle_kind kind, enum oracle_who who)
{
    struct oracle_answer a = {.user = true, .writable = true, .executable = true};
    const struct oracle_walk *walk = &oracle_walks[cpu->mode];
    uint64_t table;

    if (!oracle_canonical(cpu, linear)) {
        a.end = ORACLE_NOT_CANONICAL;
        return a;
    }
    if (cpu->mode == ORACLE_NONE) {
        a.mapped = true;
        a.physical = linear & cpu->a20_mask;
        a.page_bits = 12;
        a.dirty = true;
        return a;
    }
    table =
        cpu->cr3 & oracle_ones(oracle_bound(cpu, walk->cr3_high), oracle_bound(cpu, walk->cr3_low));
    for (unsigned n = 0; n < walk->steps; n++) {
        const struct oracle_step *step = &walk->step[n];
        uint64_t index = (linear & oracle_ones(step->high, step->low)) >> step->low;
        uint64_t physical = (table + index * walk->entry_size) & cpu->a20_mask;
        uint64_t entry = step->in_register ? cpu->pdpte[index]
                                           : cpu->read(cpu->opaque, physical, walk->entry_size);
        const struct oracle_format *f = oracle_choose(cpu, step, entry);
        bool present = entry & 1, reserved = present && oracle_reserved_bit_set(cpu, f, entry);

        a.entry_at[a.entries++] = step->in_register ? 0 : physical;
        if (!present || reserved) {
            a.end = ORACLE_FAULT;
            a.error = oracle_error(cpu, kind, who, &a, present, reserved);
            break;
        }
        oracle_combine(cpu, &a, f, entry);
        oracle_use(&a, f, physical, walk->entry_size, entry, kind);
        if (f->is_page) {
            oracle_page(cpu, &a, f, step, entry, linear);
            break;
        }
        table = oracle_address(cpu, f, entry);
    }
    if (a.mapped && !oracle_allowed(cpu, kind, who, &a)) {
        a.end = ORACLE_FAULT;
        a.error = oracle_error(cpu, kind, who, &a, true, false);
    }
    if (a.end != ORACLE_TRANSLATED)
        a.update_count = 0;
    a.dirty = a.dirty || (a.end == ORACLE_TRANSLATED && kind == ORACLE_STORE);
    return a;
}

/* 4.4.1: may the four values be loaded into the PDPTE registers? */
static inline bool oracle_pdptes_loadable(const struct oracle_cpu *cpu, const uint64_t pdpte[4])
{
    uint64_t reserved =
        oracle_ones(63, (int)cpu->maxphyaddr) | oracle_ones(8, 5) | oracle_ones(2, 1);

    for (unsigned n = 0; n < 4; n++)
        if ((pdpte[n] & 1) && (pdpte[n] & reserved))
            return false;
    return true;
}

#endif
