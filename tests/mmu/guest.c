#include "tests/mmu/guest_inside.h"

#define GUEST_DEED(name, text) text,
const char *const guest_deed_text[DEED_COUNT] = {GUEST_DEEDS(GUEST_DEED)};
#undef GUEST_DEED

/* --- Chance --- */

uint64_t guest_random(struct guest *g)
{
    uint64_t z = g->seed += 0x9e3779b97f4a7c15;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

unsigned guest_below(struct guest *g, unsigned n)
{
    return (unsigned)((guest_random(g) >> 32) * n >> 32);
}

bool guest_chance(struct guest *g, unsigned percent)
{
    return guest_below(g, 100) < percent;
}

/* --- Frames --- */

unsigned guest_frame(struct guest *g, enum guest_role role)
{
    unsigned first = guest_below(g, GUEST_FRAMES);

    for (unsigned i = 0; i < GUEST_FRAMES; i++)
        if (g->role[(first + i) % GUEST_FRAMES] == role)
            return (first + i) % GUEST_FRAMES;
    return first; /* none is left: something else than it should be */
}

unsigned guest_entry_size(enum guest_role role)
{
    return role == ROLE_NARROW1 || role == ROLE_NARROW2 ? 4 : 8;
}

unsigned guest_level(enum guest_role role)
{
    switch (role) {
    case ROLE_NARROW1:
        return 1;
    case ROLE_NARROW2:
        return 2;
    case ROLE_PDPT:
        return 3;
    default:
        return role;
    }
}

/* The role of the tables below. */
static enum guest_role role_below(enum guest_role role)
{
    switch (role) {
    case ROLE_NARROW2:
        return ROLE_NARROW1;
    case ROLE_PDPT:
        return ROLE_WIDE2;
    case ROLE_NARROW1:
        return ROLE_DATA;
    default:
        return role - 1;
    }
}

/* Few indices, so that tables, pages and slots are met again and again. */
unsigned guest_index(struct guest *g, enum guest_role role)
{
    static const uint16_t nine[] = {0, 1, 2, 511}, ten[] = {0, 1, 2, 1023};
    unsigned n = guest_below(g, 4);

    if (role == ROLE_PDPT)
        return n;
    return guest_entry_size(role) == 4 ? ten[n] : nine[n];
}

/* --- Entries --- */

static uint64_t random_rights(struct guest *g, enum guest_role role, bool page)
{
    uint64_t bits = PTE_P;

    bits |= guest_chance(g, 88) ? PTE_RW : 0;
    bits |= guest_chance(g, 90) ? PTE_US : 0;
    bits |= guest_chance(g, 65) ? PTE_A : 0;
    bits |= page && guest_chance(g, 50) ? PTE_D : 0;
    bits |= page && guest_chance(g, 20) ? PTE_G : 0;
    bits |= guest_below(g, 4) << 3; /* PWT, PCD */
    if (guest_entry_size(role) == 4)
        return bits;
    bits |= guest_chance(g, page ? 15 : 5) ? PTE_XD : 0;
    bits |= page && guest_chance(g, 20) ? (uint64_t)guest_below(g, 4) << 59 : 0;
    return bits;
}

/* A page of its level's size. */
static uint64_t large_entry(struct guest *g, enum guest_role role)
{
    static const uint32_t two[] = {0, 0, 0x200000, 0x400000, RIG_ROM, 0x1e00000};
    static const uint32_t four[] = {0, 0, 0x400000, 0x800000, 0x1c00000};
    uint64_t bits = random_rights(g, role, true) | PTE_PS;

    if (role == ROLE_NARROW2)
        return bits | four[guest_below(g, ARRAY_SIZE(four))];
    if (role == ROLE_WIDE2)
        return bits | two[guest_below(g, ARRAY_SIZE(two))];
    return bits | (guest_chance(g, 85) ? 0 : 0x40000000);
}

static uint64_t page_entry(struct guest *g, enum guest_role role)
{
    static const uint32_t far_pages[] = {0x200000, RIG_ROM + 0x4000, RIG_IO, RIG_HOLE, 0x100000};
    unsigned n = guest_below(g, 100);
    uint64_t bits = random_rights(g, role, true);

    if (n < 80)
        return bits | (uint64_t)guest_frame(g, ROLE_DATA) << 12;
    if (n < 94) /* a window to a table */
        return bits | (uint64_t)guest_below(g, GUEST_FRAMES) << 12;
    return bits | far_pages[guest_below(g, ARRAY_SIZE(far_pages))];
}

static uint64_t pdpte_entry(struct guest *g)
{
    unsigned n = guest_below(g, 100);
    uint64_t entry = (uint64_t)guest_frame(g, ROLE_WIDE2) << 12 | PTE_P | guest_below(g, 4) << 3;

    return n < 90 ? entry : n < 98 ? 0 : entry | BIT64(5 + guest_below(g, 4));
}

static uint64_t absent_entry(struct guest *g)
{
    return guest_chance(g, 50) ? 0 : guest_random(g) & ~(uint64_t)PTE_P;
}

/* Tables in a device (one of level 1) and in ROM (of levels 1 and 2). */
static uint64_t odd_table(struct guest *g, enum guest_role role)
{
    bool rom = role == ROLE_WIDE3 || (role == ROLE_WIDE2 && guest_chance(g, 50));
    uint64_t at = !rom ? RIG_IO : role == ROLE_WIDE3 ? RIG_ROM + 0x1000 : RIG_ROM;

    return random_rights(g, role, false) | at;
}

uint64_t guest_entry(struct guest *g, enum guest_role role, unsigned table)
{
    unsigned n = guest_below(g, 1000);
    bool can_be_large = role == ROLE_WIDE2 || role == ROLE_WIDE3 || role == ROLE_NARROW2;
    uint64_t bits;

    if (role == ROLE_PDPT)
        return pdpte_entry(g);
    if (n < 60)
        return absent_entry(g);
    if (n < 64) /* anything */
        return guest_random(g) & ~UINT64_C(0x000ffffff8000000);
    if (n < 70) /* a reserved bit */
        return guest_entry(g, role, table) | BIT64(guest_entry_size(role) == 4 ? 21 : 51);
    if (guest_level(role) == 1)
        return page_entry(g, role);
    if (can_be_large && n < 200)
        return large_entry(g, role);
    if ((role == ROLE_WIDE2 || role == ROLE_WIDE3) && n < 260)
        return odd_table(g, role);
    bits = random_rights(g, role, false);
    if (n < 275) {
        g->deeds[DEED_SELF_MAP]++;
        return bits | (uint64_t)table << 12;
    }
    if (n < 290)
        return bits | (uint64_t)guest_below(g, GUEST_FRAMES) << 12;
    return bits | (uint64_t)guest_frame(g, role_below(role)) << 12;
}

void guest_put(void *bytes, uint64_t value, unsigned size)
{
    value = htole64(value);
    memcpy(bytes, &value, size);
}

void guest_make_page(struct guest *g, unsigned frame, uint8_t *bytes)
{
    static const uint16_t places[] = {0, 1, 2, 3, 511, 1023};
    enum guest_role role = g->role[frame];
    unsigned size = guest_entry_size(role);

    memset(bytes, 0, PAGE_SIZE);
    if (role == ROLE_DATA) {
        for (unsigned at = 0; at < PAGE_SIZE; at += 8)
            guest_put(bytes + at, guest_random(g), 8);
        return;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
        if (places[i] * size < PAGE_SIZE)
            guest_put(bytes + places[i] * size, guest_entry(g, role, frame), size);
}

/* --- The beginning --- */

const unsigned guest_plan[ROLE_COUNT] = {
    [ROLE_WIDE1] = 8, [ROLE_WIDE2] = 5,   [ROLE_WIDE3] = 4, [ROLE_WIDE4] = 6,
    [ROLE_WIDE5] = 2, [ROLE_NARROW1] = 4, [ROLE_PDPT] = 3,  [ROLE_NARROW2] = 3,
};

/* Tables in the device and in ROM, all accessed bits set or none. */
static void build_odd_tables(struct guest *g)
{
    static const uint16_t places[] = {0, 1, 2, 511};
    uint64_t ad = PTE_A | PTE_D;

    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t rwu = PTE_P | PTE_RW | PTE_US, data = (uint64_t)guest_frame(g, ROLE_DATA) << 12;
        uint8_t entry[8];

        guest_put(entry, data | rwu | (i & 1 ? ad : 0), 8);
        model_poke(g->d, RIG_IO + places[i] * 8u, entry, 8);
        model_poke(g->d, RIG_ROM + places[i] * 8u, entry, 8);
        guest_put(entry, RIG_ROM | rwu | (i & 1 ? PTE_A : 0), 8);
        model_poke(g->d, RIG_ROM + 0x1000 + places[i] * 8u, entry, 8);
    }
}

void guest_create(struct guest *g, struct driver *d, uint64_t seed, bool p2m)
{
    uint8_t bytes[PAGE_SIZE];
    unsigned frame = 0;

    /* Roots of four levels come first: in pairs that differ by one bit of the address. */
    memset(g, 0, sizeof(*g));
    g->d = d;
    g->seed = seed;
    g->p2m = p2m;
    for (; frame < guest_plan[ROLE_WIDE4]; frame++)
        g->role[frame] = ROLE_WIDE4;
    for (enum guest_role role = ROLE_DATA + 1; role < ROLE_COUNT; role++)
        for (unsigned n = 0; role != ROLE_WIDE4 && n < guest_plan[role]; n++)
            g->role[frame++] = role;
    for (frame = 0; frame < GUEST_FRAMES; frame++) {
        guest_make_page(g, frame, bytes);
        model_poke(d, (uint64_t)frame << 12, bytes, PAGE_SIZE);
    }
    build_odd_tables(g);
    for (unsigned i = 0; i < GUEST_HOT; i++)
        g->hot[i] = guest_random(g) & 0x7f000; /* until there are better ones */
    for (unsigned i = 0; i < 2; i++) {
        driver_select(d, i);
        guest_set_mode(g, ORACLE_4LEVEL);
        driver_control(d, d->v->m->cr0, d->v->m->cr4, d->v->m->efer | EFER_NXE);
    }
}
