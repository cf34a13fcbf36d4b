/* What owners do to their entries, store by store. */
#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/walk.h"

#include <inttypes.h>

/* --- Stores --- */

static void require(struct actor *a, enum mmu_status status, uint64_t physical)
{
    if (status != MMU_OK)
        parallel_fail(a, "the window to the tables at %#" PRIx64 ": status %u", physical, status);
}

static void store_slow(struct actor *a, uint64_t physical, unsigned size, uint64_t value)
{
    struct mmu_fault fault;

    a->deeds[DEED_WRITE_SLOW]++;
    require(a, mmu_store(&a->m, gva(physical), size, value, &fault), physical);
}

/* As the processor does it: by the write tag, if there is one. */
static void store_fast(struct actor *a, uint64_t physical, unsigned size, uint64_t value)
{
    void *p = tlb_find_write(&a->m, physical, size);

    if (p == NULL) {
        store_slow(a, physical, size, value);
        return;
    }
    a->deeds[DEED_WRITE_FAST]++;
    guest_store(p, value, size);
}

/* A locked one; true if the bytes were *expected, which receives what they are. */
static bool exchange(struct actor *a, uint64_t physical, unsigned size, uint64_t *expected,
                     uint64_t desired)
{
    uint64_t wanted = *expected;
    struct mmu_fault fault;
    void *p = tlb_find_write(&a->m, physical, size);

    if (p != NULL) {
        a->deeds[DEED_WRITE_FAST]++;
        return guest_cas(p, size, expected, desired);
    }
    a->deeds[DEED_WRITE_SLOW]++;
    require(a, mmu_compare_exchange(&a->m, gva(physical), size, expected, desired, &fault),
            physical);
    return *expected == wanted;
}

static void store_by_device(struct actor *a, uint64_t physical, unsigned size, uint64_t value)
{
    uint8_t bytes[8];

    guest_store64(bytes, value);
    bus_write(a->world->bus, gpa(physical), bytes, size);
}

static bool writes_whole_entries(const struct actor *a)
{
    return a->world->entry_size == 8;
}

static bool is_device(const struct actor *a)
{
    return a->number == a->world->plan->vcpus;
}

void parallel_write(struct actor *a, uint64_t physical, unsigned size, uint64_t value)
{
    uint64_t old;

    if (is_device(a)) {
        store_by_device(a, physical, size, value);
        return;
    }
    /* Physical writes of less than 8 bytes may be seen in part. */
    switch (parallel_draw(a, size == 8 ? 8 : 7)) {
    case 0:
        store_slow(a, physical, size, value);
        break;
    case 1:
        old = 0; /* found at the first look */
        while (!exchange(a, physical, size, &old, value))
            ;
        break;
    case 7: {
        uint8_t bytes[8];

        guest_store64(bytes, value);
        mmu_write_physical(&a->m, gpa(physical), bytes, size);
        break;
    }
    default:
        store_fast(a, physical, size, value);
    }
}

static void write_entry(struct actor *a, uint64_t physical, uint64_t value)
{
    parallel_write(a, physical, a->world->entry_size, value);
}

static uint64_t entry_address(const struct world *w, uint64_t table, unsigned index)
{
    return table + index * w->entry_size;
}

/* --- Versions --- */

/* The next version whose number is of large frame `large`; small: LARGE_FRAMES. */
static uint64_t next_version(const struct leaf *l, unsigned large)
{
    uint64_t version = atomic_load(&l->started) + 1;

    while (large < LARGE_FRAMES ? version % VERSIONS != large * 16 + 15
                                : parallel_is_large(version))
        version++;
    return version;
}

static uint64_t begin_next(struct actor *a, unsigned page, enum leaf_kind kind, unsigned large)
{
    struct leaf *l = &a->world->leaf[page];
    uint64_t version = next_version(l, large);

    for (uint64_t v = atomic_load(&l->started) + 1; v < version; v++)
        atomic_store(&l->kind[v % VERSIONS], LEAF_NEVER);
    atomic_store(&l->kind[version % VERSIONS], kind);
    atomic_store(&l->started, version);
    return version;
}

static uint64_t begin(struct actor *a, unsigned page, enum leaf_kind kind)
{
    return begin_next(a, page, kind, LARGE_FRAMES);
}

static void publish(struct actor *a, unsigned page, uint64_t version)
{
    atomic_store(&a->world->leaf[page].published, version);
}

static enum leaf_kind draw_kind(struct actor *a)
{
    static const uint8_t kinds[] = {LEAF_WRITABLE, LEAF_WRITABLE,  LEAF_WRITABLE, LEAF_WRITABLE,
                                    LEAF_WRITABLE, LEAF_READ_ONLY, LEAF_ABSENT,   LEAF_WRITABLE};

    return (enum leaf_kind)kinds[parallel_draw(a, ARRAY_SIZE(kinds))];
}

static unsigned draw_marks(struct actor *a)
{
    return parallel_draw(a, 2) == 0 ? PTE_A | PTE_D : (unsigned)parallel_draw(a, 256);
}

static unsigned first_page(const struct world *w, const struct region *r)
{
    return (unsigned)(r - w->region) * REGION_PAGES;
}

static void write_leaf(struct actor *a, const struct region *r, unsigned table, unsigned i,
                       uint64_t version)
{
    struct world *w = a->world;
    unsigned page = first_page(w, r) + i;
    enum leaf_kind kind = (enum leaf_kind)atomic_load(&w->leaf[page].kind[version % VERSIONS]);

    write_entry(a, entry_address(w, r->table[table], i),
                parallel_leaf_entry(page, version, kind, draw_marks(a)));
}

/* --- One step --- */

static void new_leaf(struct actor *a, struct region *r)
{
    unsigned i = (unsigned)parallel_draw(a, REGION_PAGES), page = first_page(a->world, r) + i;
    uint64_t version = begin(a, page, draw_kind(a));

    a->deeds[DEED_LEAF]++;
    write_leaf(a, r, r->current, i, version);
    publish(a, page, version);
}

/* Two entries by one locked store of 16 bytes. */
static void new_pair(struct actor *a, struct region *r)
{
    struct world *w = a->world;
    unsigned i = (unsigned)parallel_draw(a, REGION_PAGES / 2) * 2, page = first_page(w, r) + i;
    uint64_t address = entry_address(w, r->table[r->current], i), old[2], wanted[2], new[2];
    uint64_t version[2];
    struct mmu_fault fault;

    for (unsigned n = 0; n < 2; n++) {
        enum leaf_kind kind = draw_kind(a);

        old[n] = parallel_entry_at(w, address + n * 8);
        version[n] = begin(a, page + n, kind);
        new[n] = parallel_leaf_entry(page + n, version[n], kind, draw_marks(a));
    }
    do { /* the walker may set A and D meanwhile */
        wanted[0] = old[0];
        wanted[1] = old[1];
        require(a, mmu_compare_exchange_pair(&a->m, gva(address), old, new, &fault), address);
    } while (old[0] != wanted[0] || old[1] != wanted[1]);
    a->deeds[DEED_LEAF] += 2;
    publish(a, page, version[0]);
    publish(a, page + 1, version[1]);
}

static void clear_marks_at(struct actor *a, uint64_t address)
{
    struct world *w = a->world;
    uint64_t keep = parallel_draw(a, 2) == 0 ? ~(uint64_t)PTE_D : ~(uint64_t)(PTE_A | PTE_D);
    uint64_t old = parallel_entry_at(w, address);

    if (is_device(a))
        store_by_device(a, address, 1, old & keep & 0xff);
    else
        while (!exchange(a, address, w->entry_size, &old, old & keep))
            ;
}

static void clear_marks(struct actor *a, struct region *r)
{
    struct world *w = a->world;
    unsigned i = (unsigned)parallel_draw(a, REGION_PAGES);
    struct leaf *l = &w->leaf[first_page(w, r) + i];

    a->deeds[DEED_CLEAR]++;
    atomic_fetch_add(&l->marks, 1);
    clear_marks_at(a, entry_address(w, r->table[r->current], i));
    atomic_fetch_add(&l->marks, 1);
}

/* The entries of a large page are those of all its pages. */
static void clear_large_marks(struct actor *a, struct region *r)
{
    struct world *w = a->world;
    struct leaf *l = &w->leaf[first_page(w, r)];

    a->deeds[DEED_CLEAR]++;
    for (unsigned i = 0; i < REGION_PAGES; i++)
        atomic_fetch_add(&l[i].marks, 1);
    for (unsigned c = 0; c < w->upper_count; c++)
        clear_marks_at(a, r->upper[c]);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        atomic_fetch_add(&l[i].marks, 1);
}

/* A device that writes many entries at once. */
static void write_run(struct actor *a, struct region *r)
{
    struct world *w = a->world;
    unsigned size = w->entry_size, first = first_page(w, r);
    uint64_t version[REGION_PAGES];
    uint8_t bytes[24 * 8];

    for (unsigned i = 0; i < 24; i++) {
        uint64_t entry = parallel_draw(a, UINT32_MAX) << 12;

        if (i < REGION_PAGES) {
            enum leaf_kind kind = draw_kind(a);

            version[i] = begin(a, first + i, kind);
            entry = parallel_leaf_entry(first + i, version[i], kind, draw_marks(a));
        }
        guest_store(bytes + i * size, entry, size);
    }
    a->deeds[DEED_FLOOD]++;
    bus_write(w->bus, gpa(r->table[r->current]), bytes, 24 * size);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        publish(a, first + i, version[i]);
}

/* --- Jobs --- */

/* Another frame than now, for which the fewest numbers are left out. */
static unsigned draw_large(struct actor *a, const struct region *r)
{
    const struct leaf *l = &a->world->leaf[first_page(a->world, r)];
    uint64_t best = UINT64_MAX;
    unsigned frame = 0;

    for (unsigned large = 0; large < LARGE_FRAMES; large++) {
        uint64_t jump = 0;

        for (unsigned i = 0; i < REGION_PAGES; i++)
            jump = MAX(jump, next_version(&l[i], large) - atomic_load(&l[i].started));
        if (jump < best && large != r->large_frame)
            frame = large;
        if (large == frame)
            best = jump;
    }
    return frame;
}

static void start_large(struct actor *a, struct region *r)
{
    struct job *j = &a->job;

    *j = (struct job){.kind = JOB_LARGE, .region = r, .steps = a->world->upper_count};
    a->deeds[DEED_LARGE]++;
    r->large_frame = draw_large(a, r);
    r->large_kind = parallel_draw(a, 4) == 0 ? LEAF_LARGE_READ_ONLY : LEAF_LARGE;
    atomic_fetch_add(&r->links, 1);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        j->version[i] = begin_next(a, first_page(a->world, r) + i, r->large_kind, r->large_frame);
}

static void start_job(struct actor *a, struct region *r, enum job_kind kind)
{
    struct job *j = &a->job;
    unsigned first = first_page(a->world, r);

    *j = (struct job){.kind = kind, .region = r};
    if (kind == JOB_FLOOD) {
        a->deeds[DEED_FLOOD]++;
        j->steps = 4 + (unsigned)parallel_draw(a, 40);
        return;
    }
    a->deeds[kind == JOB_LINK ? DEED_LINK : DEED_UNLINK]++;
    j->steps = a->world->upper_count + (kind == JOB_LINK ? REGION_PAGES : 0);
    atomic_fetch_add(&r->links, 1);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        j->version[i] = begin(a, first + i, kind == JOB_LINK ? draw_kind(a) : LEAF_ABSENT);
}

/* The table that is not linked has data. */
static void flood(struct actor *a, const struct region *r)
{
    struct world *w = a->world;
    unsigned index = REGION_PAGES + (unsigned)parallel_draw(a, TABLE_ENTRIES - REGION_PAGES);
    uint64_t at = entry_address(w, r->table[r->linked ? !r->current : r->current], index);
    uint64_t value = (parallel_draw(a, UINT32_MAX) << 32 | parallel_draw(a, UINT32_MAX)) &
                     size_mask(w->entry_size),
             found;
    struct mmu_fault fault;

    if (is_device(a)) {
        store_by_device(a, at, w->entry_size, value);
        return;
    }
    store_fast(a, at, w->entry_size, value);
    require(a, mmu_load(&a->m, gva(at), w->entry_size, &found, &fault), at);
    if (found != value)
        parallel_fail(a, "data at %#" PRIx64 " reads as %#" PRIx64, at, found);
}

static void write_upper(struct actor *a, const struct job *j, unsigned copy)
{
    const struct region *r = j->region;
    uint64_t upper = 0;

    if (j->kind == JOB_LARGE)
        upper = parallel_large_entry(a->world, copy, r, draw_marks(a));
    else if (j->kind == JOB_LINK)
        upper = parallel_upper_entry(a->world, copy, r->target[r->current]) |
                (parallel_draw(a, 2) == 0 ? PTE_A : 0);
    write_entry(a, r->upper[copy], upper);
}

static void finish_job(struct actor *a)
{
    struct job *j = &a->job;

    if (j->kind != JOB_FLOOD) {
        for (unsigned i = 0; i < REGION_PAGES; i++)
            publish(a, first_page(a->world, j->region) + i, j->version[i]);
        j->region->linked = j->kind == JOB_LINK;
        j->region->large = j->kind == JOB_LARGE;
        atomic_fetch_add(&j->region->links, 1);
    }
    j->kind = JOB_NONE;
}

static void go_on(struct actor *a)
{
    struct job *j = &a->job;
    struct region *r = j->region;
    unsigned leaves = j->kind == JOB_LINK ? REGION_PAGES : 0;

    if (j->kind == JOB_FLOOD)
        flood(a, r);
    else if (j->step < leaves)
        write_leaf(a, r, r->current, j->step, j->version[j->step]);
    else
        write_upper(a, j, j->step - leaves);
    if (++j->step == j->steps)
        finish_job(a);
}

/* The device is the one that may: it has the device lock. Walkers may mark the old frame in vain.
 */
static void move_table(struct actor *a, struct region *r)
{
    struct leaf *l = &a->world->leaf[first_page(a->world, r)];
    unsigned table = (unsigned)parallel_draw(a, 2);

    for (unsigned i = 0; i < REGION_PAGES; i++)
        atomic_fetch_add(&l[i].marks, 1);
    parallel_move(a, r->table[table], &r->table_frame[table], &a->world->table_spare, true);
    for (unsigned i = 0; i < REGION_PAGES; i++)
        atomic_fetch_add(&l[i].marks, 1);
}

/* A region of the actor's, at random. */
static struct region *draw_region(struct actor *a)
{
    unsigned owners = a->world->plan->vcpus + 1;
    unsigned count = (REGIONS - a->number + owners - 1) / owners;

    return &a->world->region[a->number + (unsigned)parallel_draw(a, count) * owners];
}

/* Looks at an entry; so the window gets its write tags by loads, too. */
static void read_window(struct actor *a, const struct region *r)
{
    uint64_t at = r->table[parallel_draw(a, 2)] & PAGE_MASK, value;
    struct mmu_fault fault;

    if (!is_device(a) && parallel_draw(a, 2) == 0 && tlb_find_read(&a->m, at, 4) == NULL)
        require(a, mmu_load(&a->m, gva(at), 4, &value, &fault), at);
}

void parallel_own(struct actor *a)
{
    struct region *r;
    uint64_t what;

    if (!is_device(a))
        mmu_set_privilege(&a->m, 0, false);
    if (a->job.kind != JOB_NONE) {
        go_on(a);
        return;
    }
    r = draw_region(a);
    if (is_device(a) && parallel_has(a->world, PARALLEL_MOVES) && parallel_draw(a, 8) == 0)
        move_table(a, r);
    read_window(a, r);
    what = parallel_draw(a, 32);
    if (is_device(a) && !writes_whole_entries(a)) {
        write_run(a, r);
        return;
    }
    if (r->large && what >= 4) { /* stays for a while */
        if (what < 8)
            clear_large_marks(a, r);
        return;
    }
    if (parallel_has(a->world, PARALLEL_LARGE) && (!r->linked || what == 0) &&
        parallel_draw(a, 2) == 0) {
        start_large(a, r);
    } else if (!r->linked || what == 0) {
        /* The other table, or, if none is linked, any. */
        if (r->linked || parallel_draw(a, 2) == 0)
            r->current = !r->current;
        start_job(a, r, JOB_LINK);
    } else if (what == 1) {
        start_job(a, r, JOB_UNLINK);
    } else if (what == 2) {
        start_job(a, r, JOB_FLOOD);
    } else if (what < 8) {
        clear_marks(a, r);
    } else if (what < 10 && is_device(a)) {
        write_run(a, r);
    } else if (what < 10 && a->world->entry_size == 8 && parallel_has_pairs(a->world)) {
        new_pair(a, r);
    } else {
        new_leaf(a, r);
    }
}
