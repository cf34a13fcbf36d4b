#include "tests/mmu/guest_inside.h"

uint64_t guest_canonical(enum oracle_mode mode, uint64_t linear)
{
    if (mode < ORACLE_4LEVEL)
        return linear & 0xffffffff;
    return sign_extend(linear, mode == ORACLE_5LEVEL ? 56 : 47);
}

/* A page by an index for each level. */
static uint64_t any_page(struct guest *g, enum oracle_mode mode)
{
    uint64_t linear = 0;

    if (mode == ORACLE_NONE)
        return (uint64_t)guest_below(g, GUEST_FRAMES) << 12;
    if (mode == ORACLE_32BIT)
        return (uint64_t)guest_index(g, ROLE_NARROW2) << 22 | (uint64_t)guest_index(g, ROLE_NARROW1)
                                                                  << 12;
    for (unsigned level = 1; level <= 5; level++)
        linear |= (uint64_t)guest_index(g, (enum guest_role)level) << (3 + 9 * level);
    if (mode == ORACLE_PAE)
        return (linear & 0x3fffffff) | (uint64_t)guest_index(g, ROLE_PDPT) << 30;
    return guest_canonical(mode, linear);
}

uint64_t guest_linear(struct guest *g)
{
    enum oracle_mode mode = oracle_mode_of(g->d->v->m);
    unsigned n = guest_below(g, 100), level;
    uint64_t page = g->hot[guest_below(g, GUEST_HOT)];

    if (n < 70)
        return guest_canonical(mode, page);
    if (n >= 92)
        return any_page(g, mode);
    /* Another index at one level. */
    level = guest_below(g, 4);
    if (mode == ORACLE_32BIT) {
        level &= 1;
        page &= ~((uint64_t)0x3ff << (12 + 10 * level));
        page |= (uint64_t)guest_index(g, ROLE_NARROW1) << (12 + 10 * level);
    } else {
        page &= ~((uint64_t)0x1ff << (12 + 9 * level));
        page |= (uint64_t)guest_index(g, ROLE_WIDE1) << (12 + 9 * level);
    }
    return guest_canonical(mode, page);
}

struct oracle_answer guest_look(struct guest *g, uint64_t linear)
{
    struct oracle_cpu cpu = model_processor(g->d);

    return oracle_access(&cpu, linear, ORACLE_LOAD, ORACLE_SUPERVISOR);
}

/* --- What became of an access --- */

static void count_fault(struct guest *g)
{
    uint32_t error = g->d->now.error;

    if (error & PF_PROTECTION_KEY)
        g->deeds[DEED_FAULT_KEY]++;
    else if (error & PF_RESERVED)
        g->deeds[DEED_FAULT_RESERVED]++;
    else
        g->deeds[error & PF_PRESENT ? DEED_FAULT_DENIED : DEED_FAULT_ABSENT]++;
}

static void count_place(struct guest *g)
{
    const struct driver *d = g->d;
    const struct oracle_answer *now = &d->now;

    g->deeds[DEED_STALE] += d->stale;
    if (model_kind(d, d->place) == FRAME_HOLE)
        g->deeds[DEED_TO_DEVICE]++;
    else if (model_kind(d, d->place) == FRAME_ROM)
        g->deeds[DEED_TO_ROM]++;
    else if (d->place >> 12 < GUEST_FRAMES && g->role[d->place >> 12] != ROLE_DATA)
        g->deeds[DEED_TO_TABLE]++;
    if (d->stale || now->entries == 0)
        return;
    g->deeds[now->page_bits == 12   ? DEED_BY_4K
             : now->page_bits == 21 ? DEED_BY_2M
             : now->page_bits == 22 ? DEED_BY_4M
                                    : DEED_BY_1G]++;
    for (unsigned i = 0; i < now->entries; i++)
        if (now->entry_at[i] != 0 && model_kind(d, now->entry_at[i]) != FRAME_RAM)
            g->deeds[model_kind(d, now->entry_at[i]) == FRAME_ROM ? DEED_BY_ROM : DEED_BY_DEVICE]++;
}

static void conclude(struct guest *g, uint64_t linear, enum mmu_status status)
{
    g->recent_total++;
    switch (status) {
    case MMU_OK:
        g->recent_good++;
        count_place(g);
        g->hot[guest_below(g, GUEST_HOT)] = linear & PAGE_MASK;
        if (g->d->place >> 12 < GUEST_FRAMES)
            g->alias[g->d->place >> 12] = linear & PAGE_MASK;
        break;
    case MMU_PAGE_FAULT:
        count_fault(g);
        break;
    case MMU_NOT_CANONICAL:
        g->deeds[DEED_NOT_CANONICAL]++;
        break;
    case MMU_RESTART:
        g->deeds[DEED_RESTART]++;
        break;
    }
}

/* --- Accesses --- */

/* Stores to tables through the guest's own windows are mostly whole entries that make sense. */
static void store(struct guest *g, uint64_t linear, unsigned size, bool system)
{
    struct oracle_answer a = guest_look(g, linear);
    uint64_t frame = a.physical >> 12, value = guest_random(g);

    if (a.end == ORACLE_TRANSLATED && frame < GUEST_FRAMES && g->role[frame] != ROLE_DATA &&
        guest_chance(g, 90)) {
        enum guest_role role = g->role[frame];

        size = guest_entry_size(role);
        linear = (linear & PAGE_MASK) | guest_index(g, role) * size;
        value = guest_entry(g, role, (unsigned)frame);
    }
    g->deeds[DEED_STORE]++;
    conclude(g, linear, driver_store(g->d, linear, size, system, value));
}

void guest_store_at(struct guest *g, uint64_t linear, unsigned size, uint64_t value)
{
    g->deeds[DEED_STORE]++;
    conclude(g, linear, driver_store(g->d, linear, size, false, value));
}

static void exchange(struct guest *g, uint64_t linear, unsigned size)
{
    uint64_t expected = guest_random(g);
    enum mmu_status status;

    status = driver_exchange(g->d, linear, size, &expected, guest_random(g));
    conclude(g, linear, status);
    if (status == MMU_OK && guest_chance(g, 60)) /* the same value, but for a few bits */
        conclude(g, linear,
                 driver_exchange(g->d, linear, size, &expected, expected ^ guest_below(g, 256)));
}

void guest_access(struct guest *g, uint64_t linear)
{
    static const uint16_t offsets[] = {0, 8, 16, 0x123, 0x400, 0xff8, 0xffc, 0xffe};
    unsigned n = guest_below(g, 100), size = 1u << guest_below(g, 4);
    bool system = guest_chance(g, 5);
    uint64_t lookups = g->d->lookups, value;

    if (!(g->d->v->m->efer & EFER_LMA))
        linear &= 0xffffffff; /* it was another vCPU's or mode's */
    linear |= offsets[guest_below(g, guest_chance(g, 90) ? 6 : 8)];
    g->deeds[DEED_CROSSING] += (linear & 0xfff) + size > PAGE_SIZE;
    g->deeds[DEED_SYSTEM] += system && n < 80;
    if (n < 45) {
        g->deeds[DEED_LOAD]++;
        conclude(g, linear, driver_load(g->d, linear, size, system, &value));
    } else if (n < 65) {
        store(g, linear, size, system);
    } else if (n < 90) {
        g->deeds[DEED_FETCH]++;
        conclude(g, linear, driver_fetch(g->d, linear));
    } else if (n < 95) {
        exchange(g, linear, size);
    } else {
        g->deeds[DEED_PROBE]++;
        conclude(
            g, linear,
            driver_probe(g->d, linear, guest_chance(g, 20) ? 4096 : size, guest_chance(g, 50)));
    }
    g->deeds[DEED_LOOKUP] += g->d->lookups - lookups;
}

void guest_act_access(struct guest *g)
{
    if (guest_below(g, 500) == 0 && (g->d->v->m->efer & EFER_LMA))
        guest_access(g, guest_random(g) & PAGE_MASK);
    else
        guest_access(g, guest_linear(g));
}
