/* What the guest does to registers and caches, and what it does next. */
#include "tests/mmu/guest_inside.h"

#include <inttypes.h>

/* --- CR3 --- */

bool guest_load_cr3(struct guest *g, uint64_t cr3, bool keep)
{
    const struct mmu_context *m = g->d->v->m;
    uint16_t pcid = model_pcid(m);

    keep = keep && (m->cr4 & CR4_PCIDE);
    if (!driver_cr3(g->d, cr3, keep)) {
        g->deeds[DEED_PDPTE_REFUSED]++;
        return false;
    }
    g->deeds[keep ? DEED_CR3_KEEP : DEED_CR3_FLUSH]++;
    g->deeds[DEED_PCID_SWITCH] += model_pcid(m) != pcid;
    return true;
}

static enum guest_role root_role(enum oracle_mode mode)
{
    static const enum guest_role roles[] = {ROLE_WIDE4, ROLE_NARROW2, ROLE_PDPT, ROLE_WIDE4,
                                            ROLE_WIDE5};

    return roles[mode];
}

/* Roots keep their PCID mostly; that of an odd root has bit 11, as that of a user's. */
static uint64_t cr3_of(struct guest *g, unsigned frame)
{
    uint64_t cr3 = (uint64_t)frame << 12;

    if (!(g->d->v->m->cr4 & CR4_PCIDE))
        return cr3;
    if (guest_chance(g, 10))
        return cr3 | guest_below(g, 4);
    return cr3 | (1 + (frame >> 1) % 4) | (frame & 1) << 11;
}

static void act_switch_space(struct guest *g)
{
    enum oracle_mode mode = oracle_mode_of(g->d->v->m);
    unsigned frame = guest_frame(g, root_role(mode));

    if (guest_chance(g, 2)) /* something that is no root */
        frame = guest_below(g, GUEST_FRAMES);
    guest_load_cr3(g, cr3_of(g, frame), guest_chance(g, 60));
}

/* Into the kernel by its root, and back, as with page-table isolation. */
static void act_isolation(struct guest *g)
{
    const struct mmu_context *m = g->d->v->m;
    unsigned frame = (unsigned)(m->cr3 >> 12);
    bool keep = guest_chance(g, 75);

    if (frame >= GUEST_FRAMES || oracle_mode_of(m) != ORACLE_4LEVEL ||
        g->role[frame] != ROLE_WIDE4 || g->role[frame ^ 1] != ROLE_WIDE4)
        return;
    if (!(frame & 1))
        guest_load_cr3(g, cr3_of(g, frame | 1), keep);
    driver_privilege(g->d, 3, false);
    for (unsigned i = 0; i < 3; i++)
        guest_access(g, guest_linear(g));
    driver_privilege(g->d, 0, false);
    guest_access(g, guest_linear(g)); /* the trampoline */
    guest_load_cr3(g, cr3_of(g, frame & ~1u), keep);
    for (unsigned i = 0; i < 3; i++)
        guest_access(g, guest_linear(g));
    guest_load_cr3(g, cr3_of(g, frame | 1), keep);
    driver_privilege(g->d, 3, false);
    g->deeds[DEED_ISOLATION]++;
}

/* --- Control registers --- */

/* Registers that go with the mode; all else as it is. */
static bool set_mode(struct guest *g, enum oracle_mode mode)
{
    const struct mmu_context *m = g->d->v->m;
    uint64_t cr4 = m->cr4 & ~(CR4_PAE | CR4_LA57);
    bool paging = mode != ORACLE_NONE, wide = mode >= ORACLE_4LEVEL;

    cr4 |= mode >= ORACLE_PAE ? CR4_PAE : 0;
    cr4 |= mode == ORACLE_5LEVEL ? CR4_LA57 : 0;
    if (!wide)
        cr4 &= ~(CR4_PCIDE | CR4_PKE);
    return driver_control(g->d, paging ? m->cr0 | CR0_PG : m->cr0 & ~CR0_PG, cr4,
                          wide ? m->efer | EFER_LMA : m->efer & ~EFER_LMA);
}

void guest_set_mode(struct guest *g, enum oracle_mode mode)
{
    uint64_t root = (uint64_t)guest_frame(g, root_role(mode)) << 12;

    if (guest_chance(g, 70))
        set_mode(g, ORACLE_NONE);
    if (!guest_load_cr3(g, root, false))
        return;
    if (!set_mode(g, mode))
        g->deeds[DEED_PDPTE_REFUSED]++;
    else
        g->deeds[DEED_MODE_NONE + mode]++;
}

static void act_mode(struct guest *g)
{
    static const enum oracle_mode modes[] = {
        ORACLE_NONE,   ORACLE_32BIT,  ORACLE_32BIT,  ORACLE_PAE,    ORACLE_PAE,   ORACLE_4LEVEL,
        ORACLE_4LEVEL, ORACLE_4LEVEL, ORACLE_4LEVEL, ORACLE_5LEVEL, ORACLE_5LEVEL};

    guest_set_mode(g, modes[guest_below(g, ARRAY_SIZE(modes))]);
}

static void act_control(struct guest *g)
{
    static const struct {
        uint64_t cr0, cr4, efer;
        enum guest_deed deed;
    } bits[] = {
        {CR0_WP, 0, 0, DEED_WP},    {0, CR4_SMEP, 0, DEED_SMEP},   {0, CR4_SMAP, 0, DEED_SMAP},
        {0, CR4_PKE, 0, DEED_PKE},  {0, CR4_PGE, 0, DEED_PGE},     {0, CR4_PSE, 0, DEED_PSE},
        {0, 0, EFER_NXE, DEED_NXE}, {0, CR4_PCIDE, 0, DEED_PCIDE},
    };
    const struct mmu_context *m = g->d->v->m;
    unsigned n = guest_below(g, ARRAY_SIZE(bits));

    if ((bits[n].cr4 & (CR4_PCIDE | CR4_PKE)) && !(m->efer & EFER_LMA))
        return;
    if ((m->efer & bits[n].efer) && guest_chance(g, 80)) /* else XD is a reserved bit */
        return;
    if ((bits[n].cr4 & ~m->cr4 & CR4_PCIDE) && (m->cr3 & 0xfff) != 0) /* SDM 3A 4.10.1 */
        guest_load_cr3(g, m->cr3 & PAGE_MASK, false);
    if (driver_control(g->d, m->cr0 ^ bits[n].cr0, m->cr4 ^ bits[n].cr4, m->efer ^ bits[n].efer))
        g->deeds[bits[n].deed]++;
    else
        g->deeds[DEED_PDPTE_REFUSED]++;
}

static void act_privilege(struct guest *g)
{
    const struct mmu_context *m = g->d->v->m;
    unsigned cpl = guest_chance(g, 40) ? 3 : 0;
    bool ac = guest_chance(g, 30);

    g->deeds[DEED_CPL] += cpl != m->cpl;
    g->deeds[DEED_AC] += ac != m->ac;
    driver_privilege(g->d, cpl, ac);
}

static void act_pkru(struct guest *g)
{
    driver_pkru(g->d, (uint32_t)(guest_random(g) & guest_random(g) & guest_random(g)));
    g->deeds[DEED_PKRU]++;
}

/* --- Invalidations --- */

void guest_invalidate(struct guest *g, uint64_t linear)
{
    const struct mmu_context *m = g->d->v->m;
    unsigned n = guest_below(g, 100);
    uint16_t pcid = model_pcid(m);

    if (n >= 55 && (m->cr4 & CR4_PCIDE) && guest_chance(g, 30))
        pcid = (uint16_t)(guest_below(g, 5) | guest_below(g, 2) << 11);
    if (n < 55) {
        driver_invlpg(g->d, linear);
        g->deeds[DEED_INVLPG]++;
    } else if (n < 83) {
        unsigned type = n < 65 ? 0 : n < 73 ? 1 : n < 77 ? 2 : 3;

        driver_invpcid(g->d, type, pcid, linear);
        g->deeds[DEED_INVPCID0 + type]++;
    } else if (n < 95) {
        guest_load_cr3(g, m->cr3, false);
    } else {
        driver_control(g->d, m->cr0, m->cr4 ^ CR4_PGE, m->efer);
        g->deeds[DEED_PGE]++;
    }
}

static void act_invalidate(struct guest *g)
{
    guest_invalidate(g, guest_linear(g));
}

/* --- The machine around --- */

void guest_other_vcpu(struct guest *g)
{
    driver_select(g->d, !g->d->v->m->vcpu);
    g->deeds[DEED_OTHER_VCPU]++;
}

/* For a while: the rest of the guest is not made for a wrap at 1 MiB. */
static void act_a20(struct guest *g)
{
    driver_a20(g->d, false);
    for (unsigned i = 0; i < 10; i++)
        guest_act_access(g);
    driver_a20(g->d, true);
    g->deeds[DEED_A20]++;
}

static void act_exact(struct guest *g)
{
    driver_exact(g->d, true, false);
    for (unsigned i = 0; i < 10; i++)
        guest_act_access(g);
    driver_exact(g->d, guest_chance(g, 50), true);
}

static void act_watch(struct guest *g)
{
    static const uint32_t watches[] = {FRAME_WATCH_CODE, FRAME_WATCH_DIRTY, FRAME_WATCH_COW};

    driver_watch(g->d, (uint64_t)guest_below(g, GUEST_FRAMES) << 12, watches[guest_below(g, 3)],
                 guest_chance(g, 40));
    g->deeds[DEED_WATCH]++;
}

static void act_flush_all(struct guest *g)
{
    driver_flush_all(g->d);
    g->deeds[DEED_FLUSH_ALL]++;
}

/* --- The virtual machine monitor --- */

/* Machine frames that pages move to, beside their own. */
#define SPARE_FRAMES 0x1800u

/* One that no page of the guest's has: there are twice as many as pages. */
static uint16_t free_frame(struct guest *g)
{
    for (;;) {
        unsigned n = guest_below(g, 2 * GUEST_FRAMES), page = 0;
        uint16_t frame = (uint16_t)(n < GUEST_FRAMES ? n : SPARE_FRAMES + n);

        while (page < GUEST_FRAMES && g->d->map[page] != frame)
            page++;
        if (page == GUEST_FRAMES)
            return frame;
    }
}

static void act_p2m(struct guest *g)
{
    unsigned page = guest_below(g, GUEST_FRAMES);
    uint64_t at = (uint64_t)page << 12;
    uint16_t frame = g->d->map[page];

    if (guest_chance(g, 80)) {
        driver_move_page(g->d, at, free_frame(g));
        g->deeds[DEED_P2M_MOVE]++;
        g->deeds[DEED_P2M_MOVE_TABLE] += g->role[page] != ROLE_DATA;
    } else if (guest_chance(g, 50)) {
        driver_p2m(g->d, at, MODEL_NO_FRAME);
        for (unsigned i = 0; i < 6; i++)
            guest_act_access(g);
        driver_p2m(g->d, at, frame);
        g->deeds[DEED_P2M_ABSENT]++;
    } else { /* with another page of the role, so that the guest is not broken */
        driver_p2m(g->d, at, g->d->map[guest_frame(g, g->role[page])]);
        g->deeds[DEED_P2M_SHARE]++;
    }
}

/* --- What comes next --- */

/* Tables that were broken by chance are made anew, a history without room is forgotten. */
static void keep_going(struct guest *g)
{
    if (g->d->v->count > HISTORY_MAX - HISTORY_ROOM)
        driver_invpcid(g->d, 2, 0, 0);
    if (g->recent_total < 400)
        return;
    if (g->recent_good * 3 < g->recent_total)
        guest_rebuild(g);
    else
        guest_restock(g);
    g->recent_good = g->recent_total = 0;
}

void guest_act(struct guest *g)
{
    static const struct {
        unsigned weight;
        void (*act)(struct guest *g);
    } acts[] = {
        {5500, guest_act_access}, {1500, guest_act_change}, {100, guest_act_scatter},
        {800, act_switch_space},  {120, act_isolation},     {500, act_invalidate},
        {400, act_privilege},     {100, act_control},       {100, act_pkru},
        {500, guest_other_vcpu},  {250, guest_act_swap},    {20, guest_act_reuse},
        {30, guest_act_rewrite},  {80, guest_act_share},    {10, guest_act_isolate},
        {40, act_watch},          {20, act_mode},           {2, act_a20},
        {5, act_exact},           {2, act_flush_all},       {6, guest_act_mixed},
    };
    unsigned total = 0, n;

    keep_going(g);
    if (g->p2m && guest_below(g, 100) == 0) {
        act_p2m(g);
        return;
    }
    if (!(g->d->v->m->cr0 & CR0_PG) && guest_chance(g, 4))
        act_mode(g);
    for (unsigned i = 0; i < ARRAY_SIZE(acts); i++)
        total += acts[i].weight;
    n = guest_below(g, total);
    for (unsigned i = 0; i < ARRAY_SIZE(acts); i++) {
        if (n < acts[i].weight) {
            acts[i].act(g);
            return;
        }
        n -= acts[i].weight;
    }
}
