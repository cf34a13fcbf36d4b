/* What a vCPU may find. */
#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/walk.h"

#include <inttypes.h>

/* --- What can be known --- */

/* The table that all upper entries of the region lead to, or the large page, with PTE_PS; 0 if
 * there is none, or not one. */
static uint64_t linked_table(const struct world *w, const struct region *r)
{
    uint64_t table = 0;

    for (unsigned c = 0; c < w->upper_count; c++) {
        uint64_t upper = parallel_entry_at(w, r->upper[c]), here = upper & (PAGE_MASK | PTE_PS);

        if (!(upper & PTE_P) || (c > 0 && here != table))
            return 0;
        table = here;
    }
    for (unsigned n = 0; n < 2; n++)
        if (r->target[n] == table)
            return r->table[n];
    return table;
}

/* The page's entry there; of a large page as if it had one, with the marks that count in the
 * actor's root. */
static uint64_t linked_entry(const struct actor *a, uint64_t table, unsigned page)
{
    const struct world *w = a->world;
    unsigned copy = a->root < w->upper_count ? a->root : 0, i = page % REGION_PAGES;

    if (table & PTE_PS)
        return ((table & PAGE_MASK) + i * PAGE_SIZE) |
               (parallel_entry_at(w, parallel_region(a->world, page)->upper[copy]) & ~PAGE_MASK);
    return parallel_entry_at(w, table + i * w->entry_size);
}

/* The number of the version that an entry leads to. */
static unsigned version_number(const struct actor *a, unsigned page, uint64_t entry)
{
    const struct world *w = a->world;
    uint64_t frame = entry & PAGE_MASK;
    unsigned number = (unsigned)((frame - DATA_START) / PAGE_SIZE % VERSIONS);

    if (frame >= w->large_start)
        number = (unsigned)((frame - w->large_start) / w->large_size % LARGE_FRAMES * 16 + 15);
    if (frame != parallel_frame(w, page, number))
        parallel_fail(a, "page %u: the entry in memory is %#" PRIx64, page, entry);
    return number;
}

/*
 * The page's leaf entry, read from memory as any processor could. False if it does not come to be
 * linked, or the owner is too quick. A table that is linked behind the read holds what was read, or
 * newer entries: the owner fills it before he links it.
 */
static bool read_leaf(struct actor *a, unsigned page, uint64_t *entry, uint64_t *version)
{
    struct world *w = a->world;
    struct leaf *l = &w->leaf[page];
    struct region *r = parallel_region(w, page);
    uint64_t since = atomic_load(&l->published), table = linked_table(w, r), until;

    atomic_thread_fence(memory_order_seq_cst);
    if (table == 0)
        return false;
    *entry = linked_entry(a, table, page);
    atomic_thread_fence(memory_order_seq_cst);
    if (linked_table(w, r) != table)
        return false;
    until = atomic_load(&l->started);
    if (until - since >= VERSIONS)
        return false;
    *version = since + (version_number(a, page, *entry) - since) % VERSIONS;
    if (*version > until)
        parallel_fail(
            a, "page %u: the entry in memory is %#" PRIx64 ", not of [%" PRIu64 ", %" PRIu64 "]",
            page, *entry, since, until);
    return true;
}

uint64_t parallel_newest(struct actor *a, unsigned page)
{
    uint64_t newest = MAX(a->floor[page], atomic_load(&a->world->leaf[page].published));
    uint64_t entry, version;

    if (read_leaf(a, page, &entry, &version))
        newest = MAX(newest, version);
    return newest;
}

bool parallel_read_newest(struct actor *a, unsigned page, uint64_t *entry, uint64_t *version)
{
    return read_leaf(a, page, entry, version) &&
           atomic_load(&a->world->leaf[page].started) == *version;
}

void parallel_look_at(struct actor *a, unsigned page)
{
    a->next_links[page] = atomic_load(&parallel_region(a->world, page)->links);
    a->next_marks[page] = atomic_load(&a->world->leaf[page].marks);
    a->next_floor[page] = parallel_newest(a, page);
}

void parallel_look(struct actor *a)
{
    for (unsigned page = 0; page < PAGES; page++)
        parallel_look_at(a, page);
}

/* Under policy `flush` an invalidation is about what the manual says; under the others it brings
 * all up to date that is not global. */
static bool concerns(const struct actor *a, enum scope scope, unsigned page, unsigned named)
{
    bool all = a->world->plan->options.policy != MMU_POLICY_FLUSH;

    if (scope == SCOPE_ALL || (scope == SCOPE_PAGE && page == named))
        return true;
    if (parallel_is_global(page) && a->pge)
        return false;
    return all || scope == SCOPE_NO_GLOBALS || page == named;
}

void parallel_entitle_page(struct actor *a, unsigned page)
{
    a->floor[page] = a->next_floor[page];
    a->marks[page] = a->next_marks[page];
    a->links[page] = a->next_links[page];
}

void parallel_entitle(struct actor *a, enum scope scope, unsigned page)
{
    a->deeds[DEED_EVENT]++;
    for (unsigned p = 0; p < PAGES; p++)
        if (concerns(a, scope, p, page))
            parallel_entitle_page(a, p);
    for (unsigned p = page / REGION_PAGES * REGION_PAGES, n = 0; n < REGION_PAGES; n++, p++)
        if (scope == SCOPE_PAGE)
            a->large_floor[p] = a->next_floor[p];
}

/* --- What was found --- */

/* Does a version of [from, until] allow the access (or, if `kind` is not writable, is one of that
 * kind)? True, too, if nobody can tell any more. */
static bool has_kind(struct actor *a, unsigned page, uint64_t from, uint64_t until,
                     enum leaf_kind kind)
{
    const struct leaf *l = &a->world->leaf[page];

    for (uint64_t v = from; v <= until; v++)
        if (atomic_load(&l->kind[v % VERSIONS]) == kind)
            return true;
    return atomic_load(&l->started) - from >= VERSIONS;
}

static bool rights_allow(const struct actor *a, unsigned page, enum mmu_access access, bool user)
{
    bool any_root = parallel_is_global(page) && a->pge; /* another one may have brought it */

    if (user && (!parallel_is_user(page) || !parallel_root_user(a->root)))
        return false;
    return access != MMU_WRITE || any_root || parallel_root_writable(a->root);
}

/* The version that was used had A, and D for a store, if it is still there and nobody has taken
 * them away. */
static void check_marks(struct actor *a, unsigned page, enum mmu_access access, uint64_t until)
{
    uint64_t wanted = PTE_A | (access == MMU_WRITE ? PTE_D : 0), entry, version;

    bool any_copy = a->world->upper_count > 1 && parallel_is_large(until) &&
                    parallel_is_global(page) && a->pge; /* another root's may be the one */

    if (any_copy || (a->marks[page] & 1) || !parallel_read_newest(a, page, &entry, &version) ||
        version != until || (entry & wanted) == wanted)
        return;
    if (atomic_load(&a->world->leaf[page].marks) == a->marks[page])
        parallel_fail(a, "page %u version %" PRIu64 ": used with the entry %#" PRIx64, page,
                      version, entry);
    a->deeds[DEED_MARKS]++;
}

static bool kind_allows(enum leaf_kind kind, enum mmu_access access, bool user)
{
    if (kind == LEAF_ABSENT || kind == LEAF_NEVER || (kind >= LEAF_LARGE && user))
        return false;
    return access != MMU_WRITE || kind == LEAF_WRITABLE || kind == LEAF_LARGE;
}

/* The access used the version with this number. */
static void check_version(struct actor *a, unsigned page, enum mmu_access access, bool user,
                          unsigned number)
{
    const struct leaf *l = &a->world->leaf[page];
    uint64_t from = a->floor[page], until = atomic_load(&l->started), version;
    enum leaf_kind kind;

    if (until - from >= VERSIONS) {
        a->deeds[DEED_UNSURE]++;
        return;
    }
    version = from + (number - from) % VERSIONS;
    if (version > until)
        parallel_fail(a, "page %u: version %" PRIu64 " is used, of [%" PRIu64 ", %" PRIu64 "]",
                      page, version - VERSIONS, from, until);
    if (parallel_is_large(number) && version < a->large_floor[page])
        parallel_fail(a, "page %u: version %" PRIu64 " of a large page, before %" PRIu64, page,
                      version, a->large_floor[page]);
    kind = (enum leaf_kind)atomic_load(&l->kind[number]);
    if (atomic_load(&l->started) - from < VERSIONS && !kind_allows(kind, access, user))
        parallel_fail(a,
                      "page %u: version %" PRIu64 " is used of [%" PRIu64 ", %" PRIu64
                      "], but access %u to kind %u",
                      page, version, from, until, access, kind);
    a->deeds[DEED_OLD] += version < atomic_load(&l->published);
    if (version == until)
        check_marks(a, page, access, until);
}

void parallel_check_hit(struct actor *a, unsigned page, enum mmu_access access, bool user,
                        uint32_t word)
{
    if ((word & ~(VERSIONS - 1)) != (PAGE_MARK | page << 6))
        parallel_fail(a, "page %u: a frame with %#x", page, word);
    if (!rights_allow(a, page, access, user))
        parallel_fail(a, "page %u: the root forbids access %u", page, access);
    check_version(a, page, access, user, word % VERSIONS);
}

void parallel_check_store(struct actor *a, unsigned page, bool user)
{
    uint64_t until = atomic_load(&a->world->leaf[page].started);

    if (!rights_allow(a, page, MMU_WRITE, user))
        parallel_fail(a, "page %u: the root forbids the store", page);
    if (parallel_has(a->world, PARALLEL_MOVES))
        return;
    for (unsigned n = 0; n < VERSIONS; n++, until--) {
        uint64_t frame = parallel_frame(a->world, page, until);

        if (parallel_peek(a->world, frame + 64 + 8 * a->number) != a->token)
            continue;
        check_version(a, page, MMU_WRITE, user, until % VERSIONS);
        return;
    }
    parallel_fail(a, "page %u: no frame has what was stored", page);
}

/* A version whose absence may be told: those at the access, or, below an upper entry that was used
 * although it has changed since then, of those since the last event. */
static uint64_t absent_since(struct actor *a, unsigned page, uint64_t start)
{
    uint64_t links = a->links[page];

    if ((links & 1) || atomic_load(&parallel_region(a->world, page)->links) != links)
        return a->floor[page];
    return start;
}

void parallel_check_fault(struct actor *a, unsigned page, enum mmu_access access, bool user,
                          uint64_t start, const struct mmu_fault *fault)
{
    uint64_t until = atomic_load(&a->world->leaf[page].started);
    uint32_t code = (access == MMU_WRITE ? PF_WRITE : 0) | (user ? PF_USER : 0) |
                    (access == MMU_FETCH && (a->m.efer & EFER_NXE) ? PF_FETCH : 0);

    if (((fault->error_code ^ code) & ~(uint32_t)PF_PRESENT) != 0)
        parallel_fail(a, "page %u: error code %#x", page, fault->error_code);
    if (!(fault->error_code & PF_PRESENT)) {
        if (!has_kind(a, page, absent_since(a, page, start), until, LEAF_ABSENT))
            parallel_fail(a, "page %u: absent in none of [%" PRIu64 ", %" PRIu64 "]", page, start,
                          until);
        a->deeds[DEED_FAULT]++;
        return;
    }
    a->deeds[DEED_DENIED]++;
    if ((user && !(parallel_is_user(page) && parallel_root_user(a->root))) ||
        (access == MMU_WRITE && !parallel_root_writable(a->root)))
        return;
    if (user && (has_kind(a, page, start, until, LEAF_LARGE) ||
                 has_kind(a, page, start, until, LEAF_LARGE_READ_ONLY)))
        return;
    if (access != MMU_WRITE || (!has_kind(a, page, start, until, LEAF_READ_ONLY) &&
                                !has_kind(a, page, start, until, LEAF_LARGE_READ_ONLY)))
        parallel_fail(a, "page %u: denied by none of [%" PRIu64 ", %" PRIu64 "]", page, start,
                      until);
}
