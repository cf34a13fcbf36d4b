#include "mmu/p2m.h"

#include "base/host/host.h"
#include "base/random.h"
#include "mmu/coherency.h"
#include "mmu/safepoint.h"
#include "mmu/shadow.h"

#include <stdlib.h>

#define NO_PAGE UINT64_MAX /* ends the list of pages in a saved state */

/* What the identity map has for the page. */
static uint64_t home_leaf(const struct p2m *p, uint64_t page)
{
    mpa_t frame = mpa(page << PAGE_SHIFT);

    return machine_memory_kind(p->memory, frame) != FRAME_HOLE ? frame.v | P2M_PRESENT : 0;
}

static uint64_t leaf_at(const struct p2m *p, uint64_t page)
{
    return atomic_load_explicit(&p->leaves[page], memory_order_relaxed);
}

/* Enters a leaf and counts. */
static void enter(struct p2m *p, uint64_t page, uint64_t leaf)
{
    uint64_t home = home_leaf(p, page);

    p->moved += (uint64_t)(leaf != home) - (leaf_at(p, page) != home);
    atomic_store_explicit(&p->leaves[page], leaf, memory_order_release);
}

static struct p2m *create(struct machine_memory *memory, uint64_t size)
{
    struct p2m *p = host_alloc(sizeof(*p));

    p->memory = memory;
    p->pages = size >> PAGE_SHIFT;
    p->leaves = host_alloc_lazy((size_t)p->pages * sizeof(*p->leaves));
    for (unsigned n = 0; n < memory->range_count; n++)
        p->moved += memory->ranges[n].size >> PAGE_SHIFT;
    return p;
}

struct p2m *p2m_create(struct machine_memory *memory, uint64_t size, struct error *err)
{
    if (size == 0 || (size & ~PAGE_MASK) != 0 || size > MEMORY_SIZE_LIMIT) {
        error_set(err, "a map of %#llx bytes: not a multiple of 4 KiB, or too large",
                  (unsigned long long)size);
        return NULL;
    }
    return create(memory, size);
}

/* Calls visit for each page with memory, in order. */
static void for_each_page(const struct machine_memory *memory, uint64_t pages,
                          void (*visit)(void *opaque, uint64_t page, enum frame_kind kind),
                          void *opaque)
{
    for (unsigned n = 0; n < memory->range_count; n++) {
        const struct memory_range *r = &memory->ranges[n];
        uint64_t first = r->start.v >> PAGE_SHIFT;

        for (uint64_t i = 0; i < r->size >> PAGE_SHIFT && first + i < pages; i++)
            visit(opaque, first + i, r->kind);
    }
}

static void enter_home(void *opaque, uint64_t page, enum frame_kind kind)
{
    struct p2m *p = opaque;

    (void)kind;
    enter(p, page, home_leaf(p, page));
}

struct p2m *p2m_create_identity(struct machine_memory *memory)
{
    struct p2m *p = create(memory, memory->size);

    for_each_page(memory, p->pages, enter_home, p);
    return p;
}

/* The RAM pages of a machine. */
struct ram_list {
    uint64_t *page, count;
};

static void list_ram(void *opaque, uint64_t page, enum frame_kind kind)
{
    struct ram_list *list = opaque;

    if (kind == FRAME_RAM)
        list->page[list->count++] = page;
}

struct p2m *p2m_create_scattered(struct machine_memory *memory, uint64_t seed)
{
    struct p2m *p = p2m_create_identity(memory);
    size_t bytes = (size_t)(MAX(memory->ram_size, PAGE_SIZE) >> PAGE_SHIFT) * sizeof(uint64_t);
    struct ram_list ram = {.page = host_alloc_lazy(bytes)};

    for_each_page(memory, p->pages, list_ram, &ram);
    for (uint64_t left = ram.count; left > 1; left--) { /* each with one before it, or itself */
        uint64_t a = ram.page[left - 1], b, leaf;

        b = ram.page[(random_next(&seed) >> 32) % left];
        leaf = leaf_at(p, a);
        enter(p, a, leaf_at(p, b));
        enter(p, b, leaf);
    }
    host_free_lazy(ram.page, bytes);
    return p;
}

void p2m_destroy(struct p2m *p)
{
    if (p == NULL)
        return;
    host_free_lazy((void *)p->leaves, (size_t)p->pages * sizeof(*p->leaves));
    free(p);
}

/* --- Changes --- */

/*
 * The vCPU loses what leads through the page: data, code and device slots of all spaces and views,
 * and what came from tables there, for which policy `flush` has no record.
 */
static void revoke(struct mmu_context *m, gpa_t page, uint64_t leaf)
{
    uint64_t dropped = m->stats.p2m_dropped;

    if (m->tlb->shadow == NULL) {
        mmu_drop_derived(m, MMU_CAUSE_P2M);
        return;
    }
    tlb_drop_gpa(m, page, leaf & P2M_PRESENT ? mpa(leaf & PAGE_MASK) : mpa(page.v));
    if (leaf & P2M_PRESENT)
        shadow_forget_frame(m, leaf & PAGE_MASK);
    mmu_end_lookups(m);
    MMU_EMIT(m, P2M_REVOKE, .gpa = page.v, .count = (uint32_t)(m->stats.p2m_dropped - dropped));
}

/* Nobody runs meanwhile: first all vCPUs of the VM lose the old leaf, then there is the new one,
 * then what no trace covers goes. */
static void change_held(struct p2m *p, gpa_t page, uint64_t leaf)
{
    uint64_t old = leaf_at(p, page.v >> PAGE_SHIFT);
    struct mmu_context *const *contexts = p->memory->contexts;

    for (unsigned n = 0; n < p->memory->context_end && p->bus != NULL; n++)
        if (contexts[n] != NULL && contexts[n]->p2m == p)
            revoke(contexts[n], page, old);
    enter(p, page.v >> PAGE_SHIFT, leaf);
    if (p->bus == NULL)
        return;
    p->changes++;
    for (unsigned n = 0; n < p->memory->context_end; n++) {
        struct mmu_context *m = contexts[n];

        if (m == NULL || m->p2m != p)
            continue;
        MMU_EMIT(m, P2M_CHANGE, .gpa = page.v, .old_entry = old, .new_entry = leaf);
        if (m->tlb->shadow != NULL)
            coherency_event(m, MMU_CAUSE_P2M);
    }
}

static void change(struct p2m *p, gpa_t page, uint64_t leaf)
{
    if (leaf_at(p, page.v >> PAGE_SHIFT) == leaf)
        return;
    mmu_hold(p->memory, NULL);
    change_held(p, page, leaf);
    mmu_release(p->memory, NULL);
}

static bool check_page(const struct p2m *p, gpa_t page, struct error *err)
{
    if ((page.v & ~PAGE_MASK) != 0 || page.v >> PAGE_SHIFT >= p->pages)
        return error_set(err, "guest physical address %#llx: no page of a map of %#llx bytes",
                         (unsigned long long)page.v, (unsigned long long)p->pages << PAGE_SHIFT);
    return true;
}

bool p2m_set(struct p2m *p, gpa_t page, mpa_t frame, struct error *err)
{
    if (!check_page(p, page, err))
        return false;
    if ((frame.v & ~PAGE_MASK) != 0 || machine_memory_kind(p->memory, frame) == FRAME_HOLE)
        return error_set(err, "machine address %#llx: no frame of memory",
                         (unsigned long long)frame.v);
    change(p, page, frame.v | P2M_PRESENT);
    return true;
}

bool p2m_remove(struct p2m *p, gpa_t page, struct error *err)
{
    if (!check_page(p, page, err))
        return false;
    change(p, page, 0);
    return true;
}

/* --- Saving --- */

static bool leaf_is_good(const struct p2m *p, uint64_t leaf)
{
    return leaf == 0 || ((leaf & ~PAGE_MASK) == P2M_PRESENT &&
                         machine_memory_kind(p->memory, mpa(leaf & PAGE_MASK)) != FRAME_HOLE);
}

static void load(struct p2m *p, struct state *s)
{
    uint64_t page = 0, first = 0, leaf = 0;

    for (uint64_t n = 0; n < p->pages; n++)
        enter(p, n, home_leaf(p, n));
    for (;;) {
        state_u64(s, &page);
        if (page == NO_PAGE || state_failed(s))
            return;
        state_u64(s, &leaf);
        state_check(s, page >= first && page < p->pages && leaf_is_good(p, leaf),
                    "a page of the map is out of order or leads to no frame");
        if (state_failed(s))
            return;
        enter(p, page, leaf);
        first = page + 1;
    }
}

void p2m_serialize(struct p2m *p, struct state *s)
{
    uint64_t pages = p->pages, end = NO_PAGE;

    state_section(s, "p2m", 1);
    state_u64(s, &pages);
    state_check(s, pages == p->pages, "a map of another size");
    if (state_failed(s))
        return;
    if (state_is_loading(s)) {
        load(p, s);
        return;
    }
    for (uint64_t page = 0; page < p->pages; page++) {
        uint64_t leaf = leaf_at(p, page);

        if (leaf == home_leaf(p, page))
            continue;
        state_u64(s, &page);
        state_u64(s, &leaf);
    }
    state_u64(s, &end);
}
