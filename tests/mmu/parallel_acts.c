/* What vCPUs do, step by step: accesses, invalidations, locked additions, safepoints. */
#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/safepoint.h"
#include "mmu/walk.h"

#include <inttypes.h>
#include <sched.h>
#include <string.h>

/* --- Accesses --- */

/* A fault invalidates its page (SDM 3A 4.10.4.1). */
static void check_status(struct actor *a, unsigned page, enum mmu_status status,
                         enum mmu_access access, bool user, const struct mmu_fault *fault)
{
    uint64_t at = fault->address.v;

    if (status != MMU_PAGE_FAULT)
        parallel_fail(a, "page %u: status %u", page, status);
    if ((at & PAGE_MASK) != parallel_linear(a->world, page))
        parallel_fail(a, "page %u: a fault at %#" PRIx64, page, at);
    parallel_check_fault(a, page, access, user, a->next_floor[page], fault);
    parallel_entitle_page(a, page);
}

static void load(struct actor *a, unsigned page, bool user)
{
    uint64_t linear = parallel_linear(a->world, page), value;
    const void *p = parallel_draw(a, 4) != 0 ? tlb_find_read(&a->m, linear, 4) : NULL;
    enum mmu_status status = MMU_OK;
    struct mmu_fault fault;

    a->deeds[DEED_LOAD]++;
    if (p != NULL) {
        a->deeds[DEED_FAST]++;
        value = guest_load32(p);
    } else {
        status = mmu_load(&a->m, gva(linear), 4, &value, &fault);
    }
    if (status == MMU_OK)
        parallel_check_hit(a, page, MMU_READ, user, (uint32_t)value);
    else
        check_status(a, page, status, MMU_READ, user, &fault);
}

static void fetch(struct actor *a, unsigned page, bool user)
{
    uint64_t linear = parallel_linear(a->world, page);
    const uint8_t *host = tlb_find_exec(&a->m, linear);
    enum mmu_status status = MMU_OK;
    struct mmu_fault fault;
    mpa_t where;

    a->deeds[DEED_FETCH]++;
    if (host == NULL || parallel_draw(a, 4) == 0)
        status = mmu_fetch(&a->m, gva(linear), &host, &where, &fault);
    if (status == MMU_OK)
        parallel_check_hit(a, page, MMU_FETCH, user, guest_load32(host));
    else
        check_status(a, page, status, MMU_FETCH, user, &fault);
}

static void store(struct actor *a, unsigned page, bool user)
{
    uint64_t linear = parallel_linear(a->world, page) + 64 + 8 * a->number;
    bool probed = parallel_draw(a, 4) == 0;
    enum mmu_status status = MMU_OK;
    struct mmu_fault fault;
    void *p;

    a->deeds[DEED_STORE]++;
    if (probed) {
        a->deeds[DEED_PROBE]++;
        status = mmu_probe_write(&a->m, gva(linear), 8, &fault);
    }
    a->token++;
    p = status == MMU_OK ? tlb_find_write(&a->m, linear, 8) : NULL;
    if (p != NULL) {
        a->deeds[DEED_FAST]++;
        guest_store64(p, a->token);
    } else if (status == MMU_OK) {
        status = mmu_store(&a->m, gva(linear), 8, a->token, &fault);
        if (probed && status != MMU_OK)
            parallel_fail(a, "page %u: a store faults behind its probe", page);
    }
    if (status == MMU_OK)
        parallel_check_store(a, page, user);
    else
        check_status(a, page, status, MMU_WRITE, user, &fault);
}

/* What came of an access to four bytes of the page and four of the next one. */
static void check_crossing(struct actor *a, unsigned page, enum mmu_status status,
                           enum mmu_access access, bool user, uint64_t value,
                           const struct mmu_fault *fault)
{
    uint64_t linear = parallel_linear(a->world, page);

    if (status == MMU_OK) {
        parallel_check_hit(a, page, access, user, (uint32_t)value);
        parallel_check_hit(a, page + 1, access, user, (uint32_t)(value >> 32));
        return;
    }
    page += (fault->address.v & PAGE_MASK) != (linear & PAGE_MASK);
    check_status(a, page, status, access, user, fault);
}

/* A load of the last bytes of a page and the first ones of the next. */
static void load_crossing(struct actor *a, unsigned page, bool user)
{
    uint64_t linear = parallel_linear(a->world, page) + PAGE_SIZE - 4, value;
    struct mmu_fault fault;
    enum mmu_status status = mmu_load(&a->m, gva(linear), 8, &value, &fault);

    a->deeds[DEED_CROSSING]++;
    check_crossing(a, page, status, MMU_READ, user, value, &fault);
}

/* A locked access across pages, which is done while the others are held; it changes nothing. */
static void exchange_crossing(struct actor *a, unsigned page)
{
    uint64_t linear = parallel_linear(a->world, page) + PAGE_SIZE - 4, found = 1;
    struct mmu_fault fault;
    enum mmu_status status = mmu_compare_exchange(&a->m, gva(linear), 8, &found, 1, &fault);

    a->deeds[DEED_EXCHANGE]++;
    check_crossing(a, page, status, MMU_WRITE, false, found, &fault);
}

/* In the root that has each region's first table for good: nobody says what that holds while it is
 * not linked elsewhere, but that it leads to the page's frames. */
static void load_aside(struct actor *a, unsigned page)
{
    uint64_t linear = parallel_linear(a->world, page), value;
    struct mmu_fault fault;

    if (mmu_load(&a->m, gva(linear), 4, &value, &fault) == MMU_OK &&
        (value & ~(uint64_t)(VERSIONS - 1)) != (PAGE_MARK | page << 6))
        parallel_fail(a, "page %u: a frame with %#" PRIx64, page, value);
}

static void access_page(struct actor *a, unsigned page)
{
    bool user = parallel_draw(a, 2) == 0;
    uint64_t what = parallel_draw(a, 16);
    bool crossing = what == 0 && (page + 1) % REGION_PAGES != 0;
    bool held = crossing && !user && parallel_can_hold(a->world) && parallel_draw(a, 16) == 0;

    if (a->root == SIDE_ROOT) {
        if (!parallel_is_global(page)) /* would be used in the other roots, too */
            load_aside(a, page);
        return;
    }
    mmu_set_privilege(&a->m, user ? 3 : 0, false);
    parallel_look_at(a, page);
    if (crossing)
        parallel_look_at(a, page + 1);
    if (held)
        exchange_crossing(a, page);
    else if (crossing)
        load_crossing(a, page, user);
    else if (what < 7)
        load(a, page, user);
    else if (what < 9)
        fetch(a, page, user);
    else
        store(a, page, user);
    mmu_set_privilege(&a->m, 0, false);
}

/* --- Invalidations --- */

static void enter_root(struct actor *a, unsigned root)
{
    const struct world *w = a->world;

    if (w->plan->mode == PARALLEL_PAE && !mmu_load_pdptes(&a->m, w->root[root]))
        parallel_fail(a, "PDPTE registers");
    a->root = root;
    mmu_set_cr3(&a->m, w->root[root], false);
}

static void switch_globals(struct actor *a)
{
    mmu_set_control(&a->m, a->m.cr0, a->m.cr4 ^ CR4_PGE, a->m.efer);
    parallel_entitle(a, SCOPE_ALL, 0);
    a->pge = a->m.cr4 & CR4_PGE;
}

static void invalidate(struct actor *a)
{
    unsigned page = (unsigned)parallel_draw(a, PAGES);
    uint64_t what = parallel_draw(a, 16);

    parallel_look(a);
    if (what < 8) {
        mmu_invlpg(&a->m, gva(parallel_linear(a->world, page)));
        parallel_entitle(a, SCOPE_PAGE, page);
    } else if (what < 12) {
        enter_root(a, (unsigned)parallel_draw(a, ROOTS + 1));
        parallel_entitle(a, SCOPE_NO_GLOBALS, 0);
    } else if (what == 12 || (what == 13 && !a->pge)) {
        switch_globals(a);
    } else {
        static const enum scope scopes[] = {SCOPE_NO_GLOBAL_PAGE, SCOPE_NO_GLOBALS, SCOPE_ALL,
                                            SCOPE_NO_GLOBALS};
        unsigned type = (unsigned)parallel_draw(a, 4);

        mmu_invpcid(&a->m, type, 0, gva(parallel_linear(a->world, page)));
        parallel_entitle(a, scopes[type], page);
    }
}

/* --- Locked additions --- */

static const struct counter {
    unsigned offset, size;
    bool held; /* no compare-and-store of the host does it */
} counters[COUNTERS] = {
    {0, 8, false},    {60, 8, true},  {134, 4, true},
    {195, 2, false},  {68, 4, false}, {PAGE_SIZE - 3, 8, true},
    {256, 16, false},
};

#define PAIR_FACTOR 0x9e3779b97f4a7c15u

static bool add_pair(struct actor *a, uint64_t linear)
{
    uint64_t found[2] = {0, 0}, wanted[2], new[2];
    struct mmu_fault fault;

    for (unsigned tries = 0; tries < 4; tries++) {
        wanted[0] = found[0];
        wanted[1] = found[1];
        new[0] = found[0] + 1;
        new[1] = new[0] * PAIR_FACTOR;
        if (mmu_compare_exchange_pair(&a->m, gva(linear), found, new, &fault) != MMU_OK)
            parallel_fail(a, "a pair faults");
        if (found[0] == wanted[0] && found[1] == wanted[1])
            return true;
        if (found[1] != found[0] * PAIR_FACTOR)
            parallel_fail(a, "a pair is torn");
    }
    return false;
}

static bool add_one(struct actor *a, const struct counter *c, uint64_t linear)
{
    bool fast = (c->offset & (c->size - 1)) == 0;
    uint64_t found, wanted;
    struct mmu_fault fault;

    if (mmu_load(&a->m, gva(linear), c->size, &found, &fault) != MMU_OK)
        parallel_fail(a, "a counter faults");
    for (unsigned tries = 0; tries < 4; tries++) {
        void *p = fast ? tlb_find_write(&a->m, linear, c->size) : NULL;

        wanted = found;
        if (p != NULL)
            guest_cas(p, c->size, &found, wanted + 1);
        else if (mmu_compare_exchange(&a->m, gva(linear), c->size, &found, wanted + 1, &fault) !=
                 MMU_OK)
            parallel_fail(a, "a counter faults");
        if (found == wanted)
            return true;
    }
    return false;
}

static void add(struct actor *a)
{
    unsigned n = (unsigned)parallel_draw(a, COUNTERS);
    const struct counter *c = &counters[n];
    uint64_t linear = COUNTERS_START + c->offset;

    if (c->held && (!parallel_can_hold(a->world) || parallel_draw(a, 8) != 0))
        return;
    if (c->size == 16 && !parallel_has_pairs(a->world))
        return;
    a->deeds[c->held ? DEED_COUNT_HELD : DEED_COUNT_ONE]++;
    if (c->size == 16 ? add_pair(a, linear) : add_one(a, c, linear))
        a->counted[n]++;
}

void parallel_check_counters(struct world *w)
{
    for (unsigned n = 0; n < COUNTERS; n++) {
        unsigned size = MIN(counters[n].size, 8);
        uint64_t sum = 0, found;

        for (unsigned i = 0; i < w->plan->vcpus; i++)
            sum += w->actor[i].counted[n];
        bus_read(w->bus, gpa(COUNTERS_START + counters[n].offset), &found, 8);
        found = guest_load64(&found);
        if (((found ^ sum) & size_mask(size)) != 0)
            parallel_fail(&w->actor[0], "counter %u is %" PRIu64 " after %" PRIu64 " additions", n,
                          found & size_mask(size), sum);
    }
}

/* --- Steps --- */

static void rest(struct actor *a)
{
    a->deeds[DEED_PARK]++;
    mmu_park(&a->m);
    if (!a->world->plan->one_thread)
        for (uint64_t n = parallel_draw(a, 8); n > 0; n--)
            sched_yield();
    mmu_unpark(&a->m);
}

/* Others wait, or another step may come before the answer. */
static void reach_safepoint(struct actor *a)
{
    if (!atomic_load(&a->asked) || (a->world->plan->one_thread && parallel_draw(a, 16) != 0))
        return;
    a->deeds[DEED_ANSWER]++;
    atomic_store(&a->asked, false);
    mmu_answer(&a->m);
}

void parallel_act(struct actor *a)
{
    uint64_t what = parallel_draw(a, 256);

    a->step++;
    if (parallel_has(a->world, PARALLEL_CODE) && parallel_draw(a, 4) == 0)
        parallel_code_act(a);
    else if (what < 64)
        parallel_own(a);
    else if (what < 84)
        invalidate(a);
    else if (what < 92)
        add(a);
    else if (what == 92)
        rest(a);
    else
        access_page(a, (unsigned)parallel_draw(a, PAGES));
    if (parallel_draw(a, 4) == 0)
        reach_safepoint(a);
}

void parallel_check_all(struct actor *a)
{
    struct world *w = a->world;

    mmu_unpark(&a->m);
    if (a->root == SIDE_ROOT)
        enter_root(a, 0);
    parallel_look(a);
    mmu_invpcid(&a->m, 2, 0, gva(0));
    parallel_entitle(a, SCOPE_ALL, 0);
    for (unsigned page = 0; page < PAGES; page++) {
        if (a->floor[page] != atomic_load(&w->leaf[page].started))
            parallel_fail(a, "page %u: not all of its versions are there", page);
        access_page(a, page);
    }
    parallel_check_code(a);
    mmu_park(&a->m);
}

void parallel_device_act(struct actor *a)
{
    struct world *w = a->world;
    uint8_t bytes[100], found[100];
    unsigned length = 1 + (unsigned)parallel_draw(a, sizeof(bytes));
    gpa_t at =
        gpa(parallel_frame(w, (unsigned)parallel_draw(a, PAGES), parallel_draw(a, VERSIONS)) +
            0x700 + parallel_draw(a, 64));

    a->step++;
    if (parallel_has(w, PARALLEL_CODE) && parallel_draw(a, 4) == 0)
        parallel_write_code(a);
    parallel_own(a);
    if (parallel_draw(a, 4) != 0)
        return;
    memset(bytes, (int)a->step, length);
    bus_write(w->bus, at, bytes, length);
    bus_read(w->bus, at, found, length);
    if (!parallel_has(w, PARALLEL_MOVES) && memcmp(bytes, found, length) != 0)
        parallel_fail(a, "%u bytes at %#" PRIx64 " are not what was written", length, at.v);
}
