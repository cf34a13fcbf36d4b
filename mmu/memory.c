#include "mmu/memory.h"

#include "base/check.h"
#include "base/host/host.h"
#include "mmu/frame_set.h"
#include "mmu/guest_access.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE ((uint64_t)2 << 20) /* looked at as one when zeroes are given back */
#define PAGE_WORDS (PAGE_SIZE / 8)
#define NO_PAGE    UINT64_MAX /* ends the list of pages in a saved state */

static void release(struct machine_memory *m)
{
    pthread_mutex_destroy(&m->trace_lock);
    pthread_mutex_destroy(&m->hold_lock);
    free(m);
}

struct machine_memory *machine_memory_create(uint64_t size, struct error *err)
{
    struct machine_memory *m;

    if (size == 0 || (size & ~PAGE_MASK) != 0 || size > MIN(SIZE_MAX / 2, MEMORY_SIZE_LIMIT)) {
        error_set(err, "machine memory of %llu bytes: not a multiple of 4 KiB, or too large",
                  (unsigned long long)size);
        return NULL;
    }
    m = host_alloc(sizeof(*m));
    m->size = size;
    m->device_store = MEMORY_NO_FRAME;
    pthread_mutex_init(&m->trace_lock, NULL);
    pthread_mutex_init(&m->hold_lock, NULL);
    m->base = host_reserve((size_t)size, err);
    if (m->base == NULL) {
        release(m);
        return NULL;
    }
    m->frames = host_alloc_lazy((size_t)(size >> PAGE_SHIFT) * sizeof(*m->frames));
    return m;
}

void machine_memory_destroy(struct machine_memory *m)
{
    if (m == NULL)
        return;
    host_free_lazy(m->frames, (size_t)(m->size >> PAGE_SHIFT) * sizeof(*m->frames));
    if (m->far != NULL)
        host_free_lazy(m->far, (size_t)(m->size >> PAGE_SHIFT) * sizeof(*m->far));
    host_release(m->base, (size_t)m->size);
    release(m);
}

void machine_memory_reserve_vcpu(struct machine_memory *m, unsigned vcpu)
{
    CHECK(vcpu < MACHINE_VCPU_MAX);
    if (vcpu >= 64 && m->far == NULL)
        m->far = host_alloc_lazy((size_t)(m->size >> PAGE_SHIFT) * sizeof(*m->far));
}

/* The first number from `from` on whose bit is set in a word that begins with `first`. */
static unsigned next_in_word(uint64_t word, unsigned first, unsigned from)
{
    if (from > first)
        word &= UINT64_MAX << (from - first);
    return word != 0 ? first + (unsigned)__builtin_ctzll(word) : FRAME_SET_END;
}

unsigned frame_set_next(const struct machine_memory *m, mpa_t a, enum frame_set set, unsigned from)
{
    unsigned next = FRAME_SET_END, first = from & ~63u, end = m->far != NULL ? m->context_end : 64;

    for (; first < end && next == FRAME_SET_END; first += 64)
        next = next_in_word(atomic_load(frame_set_word(m, a, set, first)), first, from);
    return next;
}

_Static_assert(MACHINE_VCPU_MAX % 64 == 0, "sets of vCPUs are words");

/* The first range that ends above the address; range_count if there is none. */
static unsigned range_after(const struct machine_memory *m, uint64_t address)
{
    unsigned i = 0;

    while (i < m->range_count && m->ranges[i].start.v + m->ranges[i].size <= address)
        i++;
    return i;
}

bool machine_memory_add(struct machine_memory *m, mpa_t start, uint64_t size, enum frame_kind kind,
                        struct error *err)
{
    unsigned at = range_after(m, start.v);

    CHECK(kind == FRAME_RAM || kind == FRAME_ROM || kind == FRAME_SMRAM);
    if (size == 0 || ((start.v | size) & ~PAGE_MASK) != 0 || start.v >= m->size ||
        size > m->size - start.v)
        return error_set(err,
                         "memory at %#llx, %#llx bytes: not page aligned, or not inside the "
                         "machine's %#llx bytes",
                         (unsigned long long)start.v, (unsigned long long)size,
                         (unsigned long long)m->size);
    if (at < m->range_count && m->ranges[at].start.v < start.v + size)
        return error_set(err, "memory at %#llx, %#llx bytes: overlaps the memory at %#llx",
                         (unsigned long long)start.v, (unsigned long long)size,
                         (unsigned long long)m->ranges[at].start.v);
    if (m->range_count == MEMORY_RANGE_MAX)
        return error_set(err, "more than %d ranges of memory", MEMORY_RANGE_MAX);
    if (!host_commit(m->base, (size_t)start.v, (size_t)size, err))
        return false;
    memmove(&m->ranges[at + 1], &m->ranges[at], (m->range_count - at) * sizeof(m->ranges[0]));
    m->ranges[at] = (struct memory_range){start, size, kind};
    m->range_count++;
    for (uint64_t a = start.v; a < start.v + size; a += PAGE_SIZE)
        machine_memory_frame(m, mpa(a))->kind = (uint8_t)kind;
    if (kind == FRAME_RAM)
        m->ram_size += size;
    return true;
}

bool machine_memory_contains(const struct machine_memory *m, mpa_t a, uint64_t length)
{
    uint64_t at = a.v;

    if (length == 0)
        return true;
    if (at >= m->size || length > m->size - at)
        return false;
    for (unsigned i = range_after(m, at); i < m->range_count; i++) {
        uint64_t end = m->ranges[i].start.v + m->ranges[i].size;

        if (at < m->ranges[i].start.v || m->ranges[i].kind == FRAME_SMRAM)
            return false;
        if (end - at >= length)
            return true;
        length -= end - at;
        at = end;
    }
    return false;
}

static bool page_is_zero(const uint8_t *page)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < PAGE_WORDS && any == 0; i += 8)
        for (unsigned k = 0; k < 8; k++)
            any |= guest_load64(page + 8 * (i + k));
    return any == 0;
}

/* Calls visit for every page of the range that is not all zeroes, in order. */
static void for_each_page(const struct machine_memory *m, const struct memory_range *range,
                          void (*visit)(void *opaque, uint64_t page, const uint8_t *bytes),
                          void *opaque)
{
    uint64_t end = range->start.v + range->size;

    for (uint64_t chunk = range->start.v; chunk < end; chunk += CHUNK_SIZE) {
        uint64_t chunk_end = MIN(chunk + CHUNK_SIZE, end);
        bool zero = true;

        for (uint64_t a = chunk; a < chunk_end; a += PAGE_SIZE) {
            const uint8_t *bytes = machine_memory_host(m, mpa(a));

            if (page_is_zero(bytes))
                continue;
            zero = false;
            visit(opaque, a >> PAGE_SHIFT, bytes);
        }
        /* Reading a page that was never touched may have allocated it. */
        if (zero)
            host_discard(machine_memory_host(m, mpa(chunk)), (size_t)(chunk_end - chunk));
    }
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

static void hash_page(void *opaque, uint64_t page, const uint8_t *bytes)
{
    uint64_t lane[4] = {page, ~page, page << 32, 1}, *hash = opaque;

    for (unsigned i = 0; i < PAGE_WORDS; i += 4)
        for (unsigned k = 0; k < 4; k++)
            lane[k] = mix(lane[k], guest_load64(bytes + 8 * (i + k)));
    for (unsigned k = 0; k < 4; k++)
        *hash = mix(*hash, lane[k]);
}

uint64_t machine_memory_hash(const struct machine_memory *m)
{
    uint64_t hash = 0;

    for (unsigned i = 0; i < m->range_count; i++) {
        if (m->ranges[i].kind != FRAME_RAM)
            continue;
        hash = mix(hash, m->ranges[i].start.v);
        hash = mix(hash, m->ranges[i].size);
        for_each_page(m, &m->ranges[i], hash_page, &hash);
    }
    return hash;
}

static void save_page(void *opaque, uint64_t page, const uint8_t *bytes)
{
    uint8_t buffer[PAGE_SIZE];

    guest_copy_out(buffer, bytes, PAGE_SIZE);
    state_u64(opaque, &page);
    state_bytes(opaque, buffer, PAGE_SIZE);
}

static void load_pages(struct machine_memory *m, struct state *s)
{
    uint64_t page = 0, first = 0;

    for (unsigned i = 0; i < m->range_count; i++)
        host_discard(machine_memory_host(m, m->ranges[i].start), (size_t)m->ranges[i].size);
    for (;;) {
        uint8_t buffer[PAGE_SIZE];
        bool known;

        state_u64(s, &page);
        if (page == NO_PAGE || state_failed(s))
            return;
        known = page >= first && page < m->size >> PAGE_SHIFT &&
                machine_memory_kind(m, mpa(page << PAGE_SHIFT)) != FRAME_HOLE;
        state_check(s, known, "a page lies outside memory or out of order");
        state_bytes(s, buffer, PAGE_SIZE);
        if (state_failed(s))
            return;
        guest_copy_in(machine_memory_host(m, mpa(page << PAGE_SHIFT)), buffer, PAGE_SIZE);
        first = page + 1;
    }
}

/* Saves the layout, or compares it with the one saved. */
static void serialize_layout(struct machine_memory *m, struct state *s)
{
    uint32_t count = m->range_count;

    state_u32(s, &count);
    state_check(s, count == m->range_count, "another number of memory ranges");
    for (unsigned i = 0; i < m->range_count && !state_failed(s); i++) {
        struct memory_range r = m->ranges[i];
        uint8_t kind = (uint8_t)r.kind;

        state_u64(s, &r.start.v);
        state_u64(s, &r.size);
        state_u8(s, &kind);
        state_check(s,
                    r.start.v == m->ranges[i].start.v && r.size == m->ranges[i].size &&
                        kind == m->ranges[i].kind,
                    "another memory layout");
    }
}

void machine_memory_serialize(struct machine_memory *m, struct state *s)
{
    uint64_t end = NO_PAGE;

    state_section(s, "memory", 1);
    serialize_layout(m, s);
    if (state_failed(s))
        return;
    if (state_is_loading(s)) {
        load_pages(m, s);
        return;
    }
    for (unsigned i = 0; i < m->range_count; i++)
        for_each_page(m, &m->ranges[i], save_page, s);
    state_u64(s, &end);
}
