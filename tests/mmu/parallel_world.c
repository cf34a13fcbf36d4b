#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/p2m.h"
#include "mmu/safepoint.h"
#include "mmu/walk.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void parallel_fail(const struct actor *a, const char *format, ...)
{
    const struct world *w = a->world;
    va_list arguments;

    fprintf(stderr,
            "parallel: %s, seed %" PRIu64 ", cpu%u, step %" PRIu64 ", root %u: ", w->plan->name,
            w->seed, a->number, a->step, a->root);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

uint64_t parallel_draw(struct actor *a, uint64_t below)
{
    a->random ^= a->random << 13;
    a->random ^= a->random >> 7;
    a->random ^= a->random << 17;
    return (a->random >> 16) % below;
}

/* --- Where things lie --- */

uint64_t parallel_linear(const struct world *w, unsigned page)
{
    return w->base + page / REGION_PAGES * w->span + page % REGION_PAGES * PAGE_SIZE;
}

static uint64_t small_frame(unsigned page, uint64_t version)
{
    return DATA_START + (uint64_t)(page * VERSIONS + version % VERSIONS) * PAGE_SIZE;
}

uint64_t parallel_frame(const struct world *w, unsigned page, uint64_t version)
{
    uint64_t large = page / REGION_PAGES * LARGE_FRAMES + version % VERSIONS / 16;

    if (parallel_is_large(version))
        return w->large_start + large * w->large_size + page % REGION_PAGES * PAGE_SIZE;
    return small_frame(page, version);
}

uint64_t parallel_leaf_entry(unsigned page, uint64_t version, enum leaf_kind kind, unsigned marks)
{
    return small_frame(page, version) | (kind != LEAF_ABSENT ? PTE_P : 0) |
           (kind == LEAF_WRITABLE ? PTE_RW : 0) | (parallel_is_user(page) ? PTE_US : 0) |
           (parallel_is_global(page) ? PTE_G : 0) | (marks & (PTE_A | PTE_D));
}

uint64_t parallel_upper_entry(const struct world *w, unsigned root, uint64_t table)
{
    bool narrow = w->upper_count > 1; /* else the root's own entry is */

    return table | PTE_P | (!narrow || parallel_root_writable(root) ? PTE_RW : 0) |
           (!narrow || parallel_root_user(root) ? PTE_US : 0);
}

uint64_t parallel_large_entry(const struct world *w, unsigned root, const struct region *r,
                              unsigned marks)
{
    unsigned number = (unsigned)(r - w->region);
    bool writable = w->upper_count == 1 || parallel_root_writable(root);

    return (w->large_start + (number * LARGE_FRAMES + r->large_frame) * w->large_size) | PTE_P |
           PTE_PS | (r->large_kind == LEAF_LARGE && writable ? PTE_RW : 0) |
           (number == GLOBAL_REGION ? PTE_G : 0) | (marks & (PTE_A | PTE_D));
}

static uint8_t *host(const struct world *w, uint64_t physical)
{
    mpa_t at;

    p2m_find(bus_p2m(w->bus), gpa(physical), &at);
    return machine_memory_host(w->memory, at);
}

uint64_t parallel_entry_at(const struct world *w, uint64_t physical)
{
    const uint8_t *p;
    uint64_t entry;

    do { /* until it has not moved meanwhile */
        p = host(w, physical);
        entry = w->entry_size == 4 ? guest_load32(p) : guest_load64(p);
        atomic_thread_fence(memory_order_seq_cst);
    } while (host(w, physical) != p);
    return entry;
}

uint64_t parallel_peek(const struct world *w, uint64_t physical)
{
    return guest_load64(host(w, physical));
}

/* --- Tables; nobody runs yet --- */

static void put(struct world *w, uint64_t table, unsigned index, uint64_t entry)
{
    uint8_t *p = machine_memory_host(w->memory, mpa(table + index * w->entry_size));

    if (w->entry_size == 4)
        guest_store32(p, (uint32_t)entry);
    else
        guest_store64(p, entry);
}

static uint64_t new_table(uint64_t *next)
{
    *next += PAGE_SIZE;
    return *next - PAGE_SIZE;
}

/* The linear window to the tables: one table for all roots. */
static uint64_t make_window(struct world *w, uint64_t *next)
{
    uint64_t table = new_table(next);

    for (unsigned n = 0; n < WINDOW_END / PAGE_SIZE; n++)
        put(w, table, n, n * PAGE_SIZE | PTE_P | PTE_RW | PTE_A | PTE_D);
    return table;
}

static void make_roots_4level(struct world *w, uint64_t window, uint64_t *next)
{
    uint64_t low = new_table(next), low_directory = new_table(next), directory;
    uint64_t side_pointers;

    w->shared_table = new_table(next);
    directory = w->plan->mode == PARALLEL_GIB ? w->shared_table : new_table(next);
    put(w, low, 0, low_directory | PTE_P | PTE_RW);
    put(w, low_directory, 0, window | PTE_P | PTE_RW);
    if (directory != w->shared_table)
        put(w, w->shared_table, 0, directory | PTE_P | PTE_RW | PTE_US);
    for (unsigned r = 0; r < ROOTS; r++) {
        w->root[r] = new_table(next);
        put(w, w->root[r], 0, low | PTE_P | PTE_RW);
        put(w, w->root[r], 1,
            w->shared_table | PTE_P | (parallel_root_writable(r) ? PTE_RW : 0) |
                (parallel_root_user(r) ? PTE_US : 0));
    }
    w->root[SIDE_ROOT] = new_table(next);
    w->side = new_table(next);
    side_pointers = new_table(next);
    put(w, w->root[SIDE_ROOT], 0, low | PTE_P | PTE_RW);
    put(w, w->root[SIDE_ROOT], 1, side_pointers | PTE_P | PTE_RW | PTE_US);
    if (directory == w->shared_table)
        w->side = side_pointers;
    else
        put(w, side_pointers, 0, w->side | PTE_P | PTE_RW | PTE_US);
    for (unsigned n = 0; n < REGIONS; n++)
        w->region[n].upper[0] = directory + n * 8;
}

static void make_roots_pae(struct world *w, uint64_t window, uint64_t *next)
{
    uint64_t pointers = new_table(next), low_directory = new_table(next);

    put(w, low_directory, 0, window | PTE_P | PTE_RW);
    for (unsigned r = 0; r <= SIDE_ROOT; r++) {
        uint64_t directory = new_table(next);

        w->root[r] = pointers + r * 32;
        put(w, w->root[r], 0, low_directory | PTE_P);
        put(w, w->root[r], 1, directory | PTE_P);
        for (unsigned n = 0; n < REGIONS && r < ROOTS; n++)
            w->region[n].upper[r] = directory + n * 8;
        w->side = directory;
    }
}

static void make_roots_32bit(struct world *w, uint64_t window, uint64_t *next)
{
    for (unsigned r = 0; r <= SIDE_ROOT; r++) {
        w->root[r] = new_table(next);
        put(w, w->root[r], 0, window | PTE_P | PTE_RW);
        for (unsigned n = 0; n < REGIONS && r < ROOTS; n++)
            w->region[n].upper[r] = w->root[r] + (256 + n) * 4;
        w->side = w->root[r] + 256 * 4;
    }
}

static void make_region(struct world *w, unsigned number, uint64_t *next)
{
    struct region *r = &w->region[number];

    r->table[0] = new_table(next);
    r->table[1] = new_table(next);
    memcpy(r->table_frame, r->table, sizeof(r->table));
    memcpy(r->target, r->table, sizeof(r->table));
    for (unsigned n = 0; n < 2 && w->plan->mode == PARALLEL_GIB; n++) {
        r->target[n] = new_table(next);
        put(w, r->target[n], 0, r->table[n] | PTE_P | PTE_RW | PTE_US);
    }
    r->linked = true;
    for (unsigned i = 0; i < REGION_PAGES; i++) {
        unsigned page = number * REGION_PAGES + i;

        put(w, r->table[0], i, parallel_leaf_entry(page, 0, LEAF_WRITABLE, 0));
        for (unsigned v = 0; v < VERSIONS; v++)
            guest_store32(host(w, parallel_frame(w, page, v)), PAGE_MARK | page << 6 | v);
        for (unsigned v = 0; v < VERSIONS; v++) /* the last bytes, for accesses that cross pages */
            guest_store32(host(w, parallel_frame(w, page, v) + PAGE_SIZE - 4),
                          PAGE_MARK | page << 6 | v);
    }
    for (unsigned c = 0; c < w->upper_count; c++)
        put(w, r->upper[c], 0, parallel_upper_entry(w, c, r->target[0]));
    put(w, w->side, number, r->target[0] | PTE_P | PTE_RW | PTE_US);
}

_Static_assert(PAGES *VERSIONS <= 0x1000, "the mark leaves twelve bits");

static void make_tables(struct world *w)
{
    uint64_t next = TABLES_START, window = make_window(w, &next);

    if (w->plan->mode < PARALLEL_PAE)
        make_roots_4level(w, window, &next);
    else if (w->plan->mode == PARALLEL_PAE)
        make_roots_pae(w, window, &next);
    else
        make_roots_32bit(w, window, &next);
    for (unsigned n = 0; n < REGIONS; n++)
        make_region(w, n, &next);
}

/* --- vCPUs --- */

static void interrupt(struct mmu_context *m)
{
    atomic_store(&container_of(m, struct actor, m)->asked, true);
}

static void lock_devices(struct mmu_context *m)
{
    struct world *w = container_of(m, struct actor, m)->world;

    if (mmu_is_parked(m)) {
        pthread_mutex_lock(&w->devices);
        return;
    }
    if (pthread_mutex_trylock(&w->devices) == 0)
        return;
    mmu_park(m);
    pthread_mutex_lock(&w->devices);
    while (!mmu_try_unpark(m)) { /* who holds it may want the lock */
        pthread_mutex_unlock(&w->devices);
        mmu_wait_free(m);
        pthread_mutex_lock(&w->devices);
    }
}

static void unlock_devices(struct mmu_context *m)
{
    pthread_mutex_unlock(&container_of(m, struct actor, m)->world->devices);
}

static void make_vcpu(struct world *w, struct actor *a)
{
    uint64_t cr4 = CR4_PGE | (w->plan->mode != PARALLEL_32BIT ? CR4_PAE : CR4_PSE), efer = 0;

    if (w->plan->mode != PARALLEL_32BIT)
        efer = EFER_NXE | (w->plan->mode < PARALLEL_PAE ? BIT64(8) | EFER_LMA : 0);
    mmu_init(&a->m, w->bus, w->memory, &w->log,
             parallel_has(w, PARALLEL_MANY) && a->number > 0 ? a->number + 62 : a->number);
    mmu_configure(&a->m, &w->plan->options);
    a->m.gib_pages = true;
    a->m.interrupt = interrupt;
    a->m.lock = lock_devices;
    a->m.unlock = unlock_devices;
    a->pge = true;
    if (w->plan->mode == PARALLEL_PAE && !mmu_load_pdptes(&a->m, w->root[0]))
        parallel_fail(a, "PDPTE registers");
    mmu_set_cr3(&a->m, w->root[0], false);
    mmu_set_control(&a->m, 1 | CR0_WP | CR0_PG, cr4, efer);
}

/* Of large frames there are no more bytes than pages in use. */
static struct machine_memory *make_memory(const struct world *w)
{
    uint64_t count = REGIONS * LARGE_FRAMES, end = w->large_start + count * w->large_size;
    struct machine_memory *memory = machine_memory_create(end, NULL);
    bool good = memory != NULL && machine_memory_add(memory, mpa(0), LARGE_START, FRAME_RAM, NULL);

    for (unsigned n = 0; n < count && good; n++)
        good = machine_memory_add(memory, mpa(w->large_start + n * w->large_size),
                                  REGION_PAGES * PAGE_SIZE, FRAME_RAM, NULL);
    if (!good) {
        fprintf(stderr, "parallel: no memory\n");
        abort();
    }
    return memory;
}

struct world *parallel_create(const struct parallel_plan *plan, uint64_t seed, uint64_t steps)
{
    struct world *w = calloc(1, sizeof(*w));

    if (w == NULL)
        abort();
    w->plan = plan;
    w->seed = seed;
    w->steps = steps;
    w->entry_size = plan->mode == PARALLEL_32BIT ? 4 : 8;
    w->upper_count = plan->mode < PARALLEL_PAE ? 1 : ROOTS;
    w->base = plan->mode < PARALLEL_PAE ? BIT64(39) : BIT64(30);
    w->span = plan->mode == PARALLEL_GIB ? GIB : BIT64(plan->mode == PARALLEL_32BIT ? 22 : 21);
    w->large_start = plan->mode == PARALLEL_GIB ? GIB : LARGE_START;
    w->large_size = plan->mode == PARALLEL_GIB ? GIB : LARGE_SIZE;
    log_init(&w->log);
    pthread_mutex_init(&w->devices, NULL);
    w->memory = make_memory(w);
    w->memory->parallel = true;
    w->memory->code_changed = parallel_code_changed;
    w->bus = bus_create(w->memory, &w->log);
    if (parallel_has(w, PARALLEL_MOVES))
        bus_set_p2m(w->bus, p2m_create_identity(w->memory));
    make_tables(w);
    w->table_spare = SPARES_START + SPARES * PAGE_SIZE;
    for (unsigned n = 0; n <= plan->vcpus; n++) {
        struct actor *a = &w->actor[n];

        a->world = w;
        a->number = n;
        a->random = (seed * VCPUS_MAX + n + 1) * 0x9e3779b97f4a7c15u;
        if (n < plan->vcpus)
            make_vcpu(w, a);
    }
    return w;
}

void parallel_destroy(struct world *w)
{
    for (unsigned n = 0; n < w->plan->vcpus; n++)
        mmu_destroy(&w->actor[n].m);
    bus_destroy(w->bus);
    machine_memory_destroy(w->memory);
    pthread_mutex_destroy(&w->devices);
    free(w);
}
