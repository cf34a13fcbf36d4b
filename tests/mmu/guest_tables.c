/* What the guest does to its tables and pages. */
#include "tests/mmu/guest_inside.h"

#define ADDRESS(entry) ((entry)&0x000ffffffffff000ull)

static uint64_t mirror_entry(const struct guest *g, uint64_t at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, g->d->mirror + at, size);
    return le64toh(value);
}

static bool in_ram(const struct guest *g, uint64_t at)
{
    return at != 0 && model_kind(g->d, at) == FRAME_RAM;
}

static unsigned mode_entry_size(enum oracle_mode mode)
{
    return mode == ORACLE_32BIT ? 4 : 8;
}

/* What tables of the level are in the mode. */
static enum guest_role mode_role(enum oracle_mode mode, unsigned level)
{
    if (mode == ORACLE_32BIT)
        return level == 1 ? ROLE_NARROW1 : ROLE_NARROW2;
    return mode == ORACLE_PAE && level == 3 ? ROLE_PDPT : (enum guest_role)level;
}

static unsigned mode_levels(enum oracle_mode mode)
{
    static const uint8_t levels[] = {0, 2, 3, 4, 5};

    return levels[mode];
}

/* --- One entry --- */

/* By the guest's own store or exchange, if it sees the table somewhere. */
static bool write_through_alias(struct guest *g, uint64_t at, uint64_t value, unsigned size)
{
    uint64_t linear =
        guest_canonical(oracle_mode_of(g->d->v->m), g->alias[at >> 12] | (at & 0xfff));
    uint64_t expected = mirror_entry(g, at, size);
    struct oracle_answer a = guest_look(g, linear);
    enum mmu_status status;
    bool exchange = guest_chance(g, 25);

    if (a.end != ORACLE_TRANSLATED || a.physical != at)
        return false;
    if (exchange)
        status = driver_exchange(g->d, linear, size, &expected, value);
    else
        status = driver_store(g->d, linear, size, false, value);
    if (status != MMU_OK || mirror_entry(g, at, size) != (value & size_mask(size)))
        return false; /* no right to it, or gone elsewhere by what was cached */
    g->deeds[exchange ? DEED_WRITE_EXCHANGE : DEED_WRITE_GUEST]++;
    return true;
}

void guest_write_entry(struct guest *g, uint64_t at, uint64_t value, unsigned size)
{
    unsigned n = guest_below(g, 10), vcpu = g->d->v->m->vcpu;
    uint8_t bytes[8];

    guest_put(bytes, value, 8);
    if (n >= 4 && at >> 12 < GUEST_FRAMES && write_through_alias(g, at, value, size))
        return;
    if (n == 0 || n == 1) {
        driver_write_physical(g->d, at, bytes, size);
        g->deeds[DEED_WRITE_PHYSICAL]++;
    } else if (n == 2) {
        driver_select(g->d, !vcpu);
        driver_write_physical(g->d, at, bytes, size);
        driver_select(g->d, vcpu);
        g->deeds[DEED_WRITE_OTHER]++;
    } else {
        driver_dma(g->d, at, bytes, size);
        g->deeds[DEED_WRITE_DMA]++;
    }
}

/* The entry has changed that a linear address comes through: now what? */
static void follow_up(struct guest *g, uint64_t linear)
{
    unsigned n = guest_below(g, 100), vcpu = g->d->v->m->vcpu;

    linear &= PAGE_MASK;
    if (n < 20) {
        guest_access(g, linear);
    } else if (n < 60) {
        guest_invalidate(g, linear);
        guest_access(g, linear);
    } else if (n < 80) {
        driver_select(g->d, !vcpu);
        driver_invlpg(g->d, linear);
        g->deeds[DEED_INVLPG_OTHER]++;
        guest_access(g, linear);
        if (guest_chance(g, 70))
            driver_select(g->d, vcpu);
        guest_access(g, linear);
    }
}

static uint64_t changed_rights(struct guest *g, uint64_t entry, unsigned size)
{
    static const uint64_t wide[] = {PTE_RW, PTE_US, PTE_XD, PTE_G, BIT64(59), BIT64(60)};

    g->deeds[DEED_CHANGE_RIGHTS]++;
    return entry ^ wide[guest_below(g, size == 4 ? 2 : ARRAY_SIZE(wide))];
}

static uint64_t changed_size(struct guest *g, enum guest_role role, unsigned table, uint64_t entry)
{
    for (unsigned i = 0; i < 32; i++) {
        uint64_t other = guest_entry(g, role, table);

        if ((other & PTE_P) && ((other ^ entry) & PTE_PS)) {
            g->deeds[DEED_LEAF_SIZE]++;
            return other;
        }
    }
    return entry;
}

static uint64_t changed_entry(struct guest *g, enum guest_role role, unsigned table, uint64_t entry)
{
    unsigned n = guest_below(g, 100), size = guest_entry_size(role);

    if (!(entry & PTE_P) && n < 60)
        return guest_entry(g, role, table);
    if (n < 15)
        return changed_rights(g, entry, size);
    if (n < 27) {
        g->deeds[DEED_CLEAR_A] += (entry & PTE_A) != 0;
        return entry & ~PTE_A;
    }
    if (n < 37) {
        g->deeds[DEED_CLEAR_D] += (entry & PTE_D) != 0;
        return entry & ~PTE_D;
    }
    if (n < 45)
        return entry ^ PTE_P;
    if (n < 60 && (role == ROLE_WIDE2 || role == ROLE_WIDE3 || role == ROLE_NARROW2))
        return changed_size(g, role, table, entry);
    if (n < 75 && !(entry & PTE_PS)) /* another frame, all else as it is */
        return (entry & ~(uint64_t)0xfffff000) | (guest_entry(g, role, table) & 0xfffff000);
    return guest_entry(g, role, table);
}

/* Is what lies there no table of the role? */
static bool is_strange(const struct guest *g, uint64_t at, enum guest_role role)
{
    return at >> 12 < GUEST_FRAMES && g->role[at >> 12] != role;
}

void guest_act_change(struct guest *g)
{
    enum oracle_mode mode = oracle_mode_of(g->d->v->m);
    uint64_t linear = guest_linear(g), at, entry;
    struct oracle_answer a = guest_look(g, linear);
    unsigned i, level, size = mode_entry_size(mode);

    if (a.entries == 0)
        return;
    i = guest_chance(g, 50) ? a.entries - 1 : guest_below(g, a.entries);
    while (i > 0 && is_strange(g, a.entry_at[i], mode_role(mode, mode_levels(mode) - i)) &&
           guest_chance(g, 80))
        i--; /* rather change what leads there */
    level = mode_levels(mode) - i;
    at = a.entry_at[i];
    if (mode == ORACLE_PAE && i == 0) /* the registers do not change with it */
        at = (g->d->v->m->cr3 & 0xffffffe0) + (linear >> 30 & 3) * 8;
    if (!in_ram(g, at))
        return;
    entry = changed_entry(g, mode_role(mode, level), (unsigned)(at >> 12) % GUEST_FRAMES,
                          mirror_entry(g, at, size));
    if (guest_chance(g, 10)) /* somebody else wrote it just before */
        guest_write_entry(g, at, entry ^ (PTE_RW | PTE_P), size);
    guest_write_entry(g, at, entry, size);
    g->deeds[DEED_CHANGE_LEVEL1 + level - 1]++;
    follow_up(g, linear);
}

/* --- Other tables --- */

static unsigned any_table(struct guest *g)
{
    unsigned frame = guest_below(g, GUEST_FRAMES);

    while (g->role[frame] == ROLE_DATA)
        frame = (frame + 1) % GUEST_FRAMES;
    return frame;
}

/* An entry of the table in the device; nobody hears of that. */
static void change_device(struct guest *g)
{
    uint8_t entry[8];

    guest_put(entry, guest_entry(g, ROLE_WIDE1, 0), 8);
    driver_dma(g->d, RIG_IO + guest_index(g, ROLE_WIDE1) * 8u, entry, 8);
    g->deeds[DEED_CHANGE_DEVICE]++;
    for (unsigned i = 0; i < 4; i++)
        guest_access(g, guest_linear(g));
}

void guest_act_scatter(struct guest *g)
{
    unsigned frame = any_table(g), size = guest_entry_size(g->role[frame]);
    uint64_t at = (uint64_t)frame << 12 | guest_index(g, g->role[frame]) * size;

    if (guest_chance(g, 25)) {
        change_device(g);
        return;
    }
    guest_write_entry(g, at, guest_entry(g, g->role[frame], frame), size);
}

/* Replaces the contents of a frame, at once or word by word. */
static void write_frame(struct guest *g, unsigned frame, const uint8_t *bytes, bool at_once)
{
    uint64_t base = (uint64_t)frame << 12;
    unsigned size = guest_chance(g, 50) ? 512 : PAGE_SIZE;

    for (unsigned at = 0; at_once && at < PAGE_SIZE; at += size)
        driver_dma(g->d, base + at, bytes + at, size);
    for (unsigned at = 0; !at_once && at < PAGE_SIZE; at += 8)
        if (memcmp(g->d->mirror + base + at, bytes + at, 8) != 0 &&
            (g->role[frame] != ROLE_DATA || guest_chance(g, 6)))
            guest_write_entry(g, base + at, le64toh(*(const uint64_t *)(bytes + at)), 8);
}

static void remake(struct guest *g, unsigned frame)
{
    _Alignas(8) uint8_t bytes[PAGE_SIZE];
    bool at_once = guest_chance(g, 50), table = g->role[frame] != ROLE_DATA;
    unsigned words = 0;

    guest_make_page(g, frame, bytes);
    for (unsigned at = 0; table && at < PAGE_SIZE; at += 8)
        words += memcmp(g->d->mirror + ((uint64_t)frame << 12) + at, bytes + at, 8) != 0;
    at_once = at_once || words > 32; /* it was something else */
    write_frame(g, frame, bytes, at_once);
    g->deeds[at_once ? DEED_REWRITE_DMA : DEED_REWRITE_WORDS] += table;
}

void guest_act_rewrite(struct guest *g)
{
    remake(g, any_table(g));
}

static void link_table(struct guest *g, unsigned table);

/* Makes data pages into tables until there are as many of each role as at the beginning. */
void guest_restock(struct guest *g)
{
    unsigned missing[ROLE_COUNT];

    memcpy(missing, guest_plan, sizeof(missing));
    for (unsigned frame = 0; frame < GUEST_FRAMES; frame++)
        if (missing[g->role[frame]] > 0)
            missing[g->role[frame]]--;
    for (enum guest_role role = ROLE_DATA + 1; role < ROLE_COUNT; role++) {
        for (; missing[role] > 0; missing[role]--) {
            unsigned frame = guest_frame(g, ROLE_DATA);

            if (g->role[frame] != ROLE_DATA)
                return;
            g->role[frame] = role;
            g->deeds[DEED_DATA_TO_TABLE]++;
            remake(g, frame);
            link_table(g, frame);
        }
    }
}

void guest_rebuild(struct guest *g)
{
    for (unsigned frame = 0; frame < GUEST_FRAMES; frame++)
        if (g->role[frame] != ROLE_DATA)
            remake(g, frame);
}

void guest_act_share(struct guest *g)
{
    static const enum guest_role roles[] = {ROLE_WIDE4, ROLE_WIDE3, ROLE_WIDE2, ROLE_NARROW2};
    enum guest_role role = roles[guest_below(g, ARRAY_SIZE(roles))];
    unsigned from = guest_frame(g, role), to = guest_frame(g, role), size = guest_entry_size(role);
    unsigned index = guest_index(g, role);
    uint64_t entry = mirror_entry(g, (uint64_t)from << 12 | index * size, size);

    if (g->role[from] != role || g->role[to] != role || !(entry & PTE_P))
        return;
    if (guest_chance(g, 30))
        index = guest_index(g, role);
    entry ^= guest_chance(g, 50) ? PTE_RW : PTE_US;
    if (size == 8 && guest_chance(g, 25))
        entry |= PTE_XD;
    guest_write_entry(g, (uint64_t)to << 12 | index * size, entry, size);
    g->deeds[DEED_SHARE]++;
}

/* As with kernel page-table isolation: both roots have the user's half, which the kernel's root
 * makes not executable; the user's root has little of the kernel's. */
void guest_act_isolate(struct guest *g)
{
    unsigned kernel = guest_frame(g, ROLE_WIDE4) & ~1u, user = kernel | 1;
    static const uint16_t places[] = {0, 1, 2, 511};

    if (g->role[kernel] != ROLE_WIDE4 || g->role[user] != ROLE_WIDE4)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++) {
        uint64_t at = (uint64_t)kernel << 12 | places[i] * 8u, entry = mirror_entry(g, at, 8);
        bool low = places[i] < 256;

        guest_write_entry(g, at ^ 0x1000, i == 2 ? 0 : entry & ~PTE_XD, 8);
        if (low && (g->d->v->m->efer & EFER_NXE))
            guest_write_entry(g, at, entry | PTE_XD, 8);
    }
    guest_invalidate(g, guest_linear(g));
}

/* --- Frames that change their use --- */

/* Takes the table out of all tables above. */
static void unlink_table(struct guest *g, unsigned table)
{
    static const uint16_t places[] = {0, 1, 2, 3, 511, 1023};

    for (unsigned frame = 0; frame < GUEST_FRAMES; frame++) {
        unsigned size = guest_entry_size(g->role[frame]);

        if (guest_level(g->role[frame]) != guest_level(g->role[table]) + 1)
            continue;
        for (unsigned i = 0; i < ARRAY_SIZE(places) && places[i] * size < PAGE_SIZE; i++) {
            uint64_t at = (uint64_t)frame << 12 | places[i] * size;
            uint64_t entry = mirror_entry(g, at, size);

            if ((entry & PTE_P) && ADDRESS(entry) >> 12 == table)
                guest_write_entry(g, at, guest_chance(g, 50) ? 0 : entry & ~PTE_P, size);
        }
    }
}

/* Enters a new table in some table above. */
static void link_table(struct guest *g, unsigned table)
{
    /* Roots have nothing above: below, the frame found is not of the role. */
    enum guest_role role = g->role[table],
                    above = role == ROLE_NARROW1 ? ROLE_NARROW2 : (enum guest_role)(role + 1);
    unsigned frame = guest_frame(g, above), size = guest_entry_size(above);
    uint64_t at = (uint64_t)frame << 12 | guest_index(g, above) * size;

    if (g->role[frame] == above)
        guest_write_entry(g, at, (uint64_t)table << 12 | PTE_P | PTE_RW | PTE_US | PTE_A, size);
}

void guest_act_reuse(struct guest *g)
{
    static const enum guest_role roles[] = {ROLE_WIDE1, ROLE_WIDE1, ROLE_WIDE2, ROLE_WIDE3,
                                            ROLE_NARROW1};
    enum guest_role role = roles[guest_below(g, ARRAY_SIZE(roles))];
    unsigned table = guest_frame(g, role), data = guest_frame(g, ROLE_DATA);

    if (g->role[table] != role || g->role[data] != ROLE_DATA)
        return;
    if (guest_chance(g, 80))
        unlink_table(g, table);
    if (guest_chance(g, 80))
        guest_invalidate(g, guest_linear(g));
    g->role[table] = ROLE_DATA;
    g->deeds[DEED_TABLE_TO_DATA]++;
    remake(g, table);
    g->role[data] = role;
    g->deeds[DEED_DATA_TO_TABLE]++;
    remake(g, data);
    link_table(g, data);
}

/*
 * The first entry of a table of long mode is two entries of a 32-bit one, where the upper half's A
 * and D bits are address bits of the other.
 */
void guest_act_mixed(struct guest *g)
{
    unsigned vcpu = g->d->v->m->vcpu, path[5] = {0}, root = guest_frame(g, ROLE_NARROW2);
    uint64_t rwu = PTE_P | PTE_RW | PTE_US, low = (uint64_t)guest_frame(g, ROLE_DATA) << 12 | rwu;

    for (unsigned level = 4; level >= 1; level--) {
        path[level] = guest_frame(g, (enum guest_role)level);
        if (level < 4)
            guest_write_entry(g, (uint64_t)path[level + 1] << 12,
                              (uint64_t)path[level] << 12 | rwu | PTE_A, 8);
    }
    guest_write_entry(g, (uint64_t)path[1] << 12, low | PTE_A | (0x200000 | rwu) << 32, 8);
    guest_write_entry(g, (uint64_t)root << 12, (uint64_t)path[1] << 12 | rwu | PTE_A, 4);
    guest_set_mode(g, ORACLE_4LEVEL);
    guest_load_cr3(g, (uint64_t)path[4] << 12, false);
    guest_access(g, 0);
    driver_select(g->d, !vcpu);
    guest_set_mode(g, ORACLE_32BIT);
    guest_load_cr3(g, (uint64_t)root << 12, false);
    guest_store_at(g, 0x1000, 4, guest_random(g));
    driver_select(g->d, vcpu);
    guest_invalidate(g, 0);
    guest_access(g, 0);
    g->deeds[DEED_MIXED]++;
}

/* --- Swap --- */

static bool is_root(const struct guest *g, unsigned frame)
{
    return guest_level(g->role[frame]) > 3 || g->role[frame] == ROLE_PDPT ||
           g->role[frame] == ROLE_NARROW2;
}

/* The contents leave for the store, the frame is used for something else. */
static void swap_out(struct guest *g, struct guest_swapped *s, unsigned frame)
{
    unsigned size = mode_entry_size(s->mode), vcpu = g->d->v->m->vcpu;

    s->used = true;
    s->role = g->role[frame];
    s->entry = mirror_entry(g, s->entry_at, size);
    s->cookie = (uint64_t)(s - g->swapped + 1) << 12 | (guest_random(g) & 0xfe);
    guest_write_entry(g, s->entry_at, s->cookie, size);
    for (unsigned i = 0; i < 2; i++) {
        driver_select(g->d, i ^ vcpu ^ 1);
        if (s->table)
            driver_invpcid(g->d, 2, 0, 0);
        else
            driver_invlpg(g->d, s->linear);
    }
    bus_read(g->d->r.bus, gpa((uint64_t)frame << 12), s->bytes, PAGE_SIZE);
    g->role[frame] = ROLE_DATA;
    g->deeds[s->table ? DEED_SWAP_OUT_TABLE : DEED_SWAP_OUT_PAGE]++;
    if (guest_chance(g, 80))
        remake(g, frame);
    if (guest_chance(g, 30))
        guest_access(g, s->linear);
}

static void choose_victim(struct guest *g, struct guest_swapped *s)
{
    struct oracle_answer a;
    unsigned i, frame;

    s->mode = oracle_mode_of(g->d->v->m);
    s->cr3 = g->d->v->m->cr3 & PAGE_MASK;
    s->linear = guest_linear(g) & PAGE_MASK;
    s->table = guest_chance(g, 25);
    a = guest_look(g, s->linear);
    if (!a.mapped || a.entries == 0 || (!s->table && a.page_bits != 12) ||
        (s->table && a.entries == 1))
        return;
    i = s->table ? guest_below(g, a.entries - 1) : a.entries - 1;
    s->entry_at = a.entry_at[i];
    frame = (unsigned)MIN((s->table ? a.entry_at[i + 1] : a.physical) >> 12, GUEST_FRAMES);
    if (!in_ram(g, s->entry_at) || frame >= GUEST_FRAMES || s->entry_at >> 12 >= GUEST_FRAMES ||
        s->table != (g->role[frame] != ROLE_DATA) || is_root(g, frame))
        return;
    swap_out(g, s, frame);
}

/* The page is there again: what is in it? */
static void compare_page(struct guest *g, const struct guest_swapped *s, unsigned frame)
{
    struct oracle_answer a = guest_look(g, s->linear);

    for (unsigned i = 0; i < a.entries; i++)
        if (a.entry_at[i] >> 12 == frame)
            return; /* it was brought into a table that maps it: that has changed it */
    for (unsigned i = 0; i < 4; i++) {
        unsigned offset = guest_below(g, PAGE_SIZE / 8) * 8;
        uint64_t value, expected;

        if (driver_load(g->d, s->linear | offset, 8, false, &value) != MMU_OK ||
            g->d->place != ((uint64_t)frame << 12 | offset))
            return;
        memcpy(&expected, s->bytes + offset, 8);
        REQUIRE(g->d, value == le64toh(expected));
        g->deeds[DEED_SWAP_COMPARE]++;
    }
}

static void swap_in(struct guest *g, struct guest_swapped *s)
{
    unsigned size = mode_entry_size(s->mode), frame = guest_frame(g, ROLE_DATA);
    struct oracle_answer a = guest_look(g, s->linear);

    if (a.entries == 0 || a.entry_at[a.entries - 1] != s->entry_at ||
        mirror_entry(g, s->entry_at, size) != s->cookie || g->role[frame] != ROLE_DATA) {
        s->used = false; /* somebody else has changed the tables since */
        return;
    }
    guest_access(g, s->linear);
    g->role[frame] = s->role;
    driver_dma(g->d, (uint64_t)frame << 12, s->bytes, PAGE_SIZE);
    guest_write_entry(g, s->entry_at,
                      (s->entry & ~(uint64_t)0xfffff000) | (uint64_t)frame << 12 | PTE_US, size);
    g->deeds[s->table ? DEED_SWAP_IN_TABLE : DEED_SWAP_IN_PAGE]++;
    if (s->table)
        guest_access(g, s->linear);
    else
        compare_page(g, s, frame);
    s->used = false;
}

void guest_act_swap(struct guest *g)
{
    enum oracle_mode mode = oracle_mode_of(g->d->v->m);
    struct guest_swapped *s = &g->swapped[guest_below(g, GUEST_SWAP)];

    for (unsigned i = 0; i < GUEST_SWAP && guest_chance(g, 80); i++)
        if (s->used && (s->mode != mode || s->cr3 != (g->d->v->m->cr3 & PAGE_MASK)))
            s = &g->swapped[guest_below(g, GUEST_SWAP)];
    if (!s->used)
        choose_victim(g, s);
    else if (s->mode != mode)
        s->used = !guest_chance(g, 3);
    else if (s->cr3 == (g->d->v->m->cr3 & PAGE_MASK) || guest_load_cr3(g, s->cr3, false))
        swap_in(g, s);
}
