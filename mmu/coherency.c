#include "mmu/coherency.h"

#include "base/check.h"
#include "base/host/host.h"
#include "base/log.h"
#include "mmu/frame_set.h"
#include "mmu/guest_access.h"
#include "mmu/safepoint.h"
#include "mmu/shadow.h"

#include <string.h>

#define CONSUME_ROUNDS 16u /* of taking patches, at one event */

/* --- Producer --- */

/* Enters the producer of a store to the frame; false if it is not the only one. */
static bool mark_producer(struct frame *f, unsigned producer)
{
    uint16_t old = atomic_load(&f->shape), new;
    unsigned known, now, this = shadow_producer(producer);

    do {
        known = old >> SHADOW_PRODUCER_SHIFT;
        now = known == 0 || known == this ? this : SHADOW_PRODUCERS;
        new = (uint16_t)((old & SHADOW_SHAPE_MASK) | now << SHADOW_PRODUCER_SHIFT);
    } while (known != now && !atomic_compare_exchange_weak(&f->shape, &old, new));
    return now != SHADOW_PRODUCERS;
}

/* What the new entry says, if every consumer of the frame would read it alike. */
static struct patch make_patch(const struct mmu_context *consumer, const struct frame *f,
                               bool single, const uint8_t *host, uint64_t address)
{
    enum mmu_patch form = consumer->options.patch;
    unsigned shape = shadow_frame_shape(f);
    struct patch p = {.address = address};

    if (shape == 0 || form == MMU_PATCH_ADDRESS || !single)
        return p;
    if (walk_entry_size(shadow_shape_role(shape, 0).mode) == 4)
        return p; /* two entries */
    p.raw = guest_load64(host);
    p.derived = shadow_normal(shadow_shape_role(shape, consumer->physical_bits),
                              shadow_shape_level(shape), p.raw);
    if (p.derived != SHADOW_UNKNOWN)
        p.derived |= (uint64_t)shape << SHADOW_CHILD_SHIFT |
                     (form == MMU_PATCH_VALUE ? SHADOW_NO_VALIDATOR : 0);
    return p;
}

/* Says that a channel of the consumer has something; nobody but the consumer takes that back. */
static void announce(struct mmu_context *consumer, unsigned producer)
{
    uint64_t row = BIT64(producer % 64);

    if (producer != consumer->vcpu || !(atomic_load(&consumer->pending) & row))
        atomic_fetch_or(&consumer->pending, row);
}

static void post(struct machine_memory *memory, unsigned producer, struct mmu_context *consumer,
                 const struct patch *p)
{
    patch_post(&memory->channels[consumer->vcpu][producer], p, consumer->options.slots);
    announce(consumer, producer);
}

void coherency_post_rebuild(struct mmu_context *consumer, unsigned producer)
{
    patch_post_rebuild(&consumer->memory->channels[consumer->vcpu][producer]);
    announce(consumer, producer);
}

/* What a vCPU tells itself. */
static void post_own(struct mmu_context *m, uint64_t address)
{
    patch_post_own(&m->memory->channels[m->vcpu][m->vcpu], address, m->options.slots);
    announce(m, m->vcpu);
    MMU_EMIT(m, PATCH_POST, .mpa = address, .count = m->vcpu,
             .new_entry = address & PATCH_DROP_FRAME
                              ? 0
                              : guest_load64(machine_memory_host(m->memory, mpa(address))));
}

/* The frame's first consumer from *vcpu on, which becomes its number; NULL: there is no more. */
static struct mmu_context *next_consumer(const struct machine_memory *memory, mpa_t a,
                                         unsigned *vcpu)
{
    for (;; ++*vcpu) {
        *vcpu = frame_set_next(memory, a, FRAME_CONSUMERS, *vcpu);
        if (*vcpu == FRAME_SET_END)
            return NULL;
        if (memory->channels[*vcpu] != NULL) /* else it keeps nothing */
            return memory->contexts[*vcpu];
    }
}

/* Is the store to be answered by giving the frame up? By all of its consumers, then. */
static bool is_flood(const struct machine_memory *memory, mpa_t a, unsigned writes, unsigned length)
{
    bool flood = length > 64;
    struct mmu_context *consumer;

    for (unsigned n = 0; !flood && (consumer = next_consumer(memory, a, &n)) != NULL; n++)
        flood = writes >= consumer->options.flood;
    return flood;
}

/* Everybody gives the frame up. Nobody uses beyond the next event what came from it, so that it
 * need not be watched. Its stores are not heard until somebody traces it again, while others who
 * share his pages may still have values of a producer who was alone before. */
static void post_drop(struct machine_memory *memory, unsigned producer, uint64_t frame)
{
    struct frame *f = machine_memory_frame(memory, mpa(frame));
    struct patch p = {.address = frame | PATCH_DROP_FRAME};
    struct mmu_context *consumer;

    machine_memory_lock_traces(memory);
    atomic_fetch_or(&f->shape, SHADOW_PRODUCERS << SHADOW_PRODUCER_SHIFT);
    for (unsigned n = 0; (consumer = next_consumer(memory, mpa(frame), &n)) != NULL; n++) {
        if (n == producer)
            post_own(consumer, p.address);
        else
            post(memory, producer, consumer, &p);
    }
    atomic_fetch_and(&f->watch, ~(uint32_t)FRAME_WATCH_PAGETABLE);
    machine_memory_unlock_traces(memory);
}

void machine_memory_announce_write(struct machine_memory *memory, unsigned producer, mpa_t a,
                                   unsigned length)
{
    struct mmu_context *consumer;

    for (unsigned n = 0; (consumer = next_consumer(memory, a, &n)) != NULL; n++) {
        if (n == producer)
            continue;
        for (uint64_t at = a.v & ~(uint64_t)7; at < a.v + length; at += 8)
            post(memory, producer, consumer, &(struct patch){.address = at});
    }
}

void machine_memory_device_begin(struct machine_memory *memory, mpa_t a, unsigned length)
{
    if (!memory->parallel)
        return;
    atomic_store(&memory->device_store, a.v & PAGE_MASK);
    if (atomic_load(&machine_memory_frame(memory, a)->watch) & FRAME_WATCH_PAGETABLE)
        machine_memory_announce_write(memory, PATCH_EVENT_LOOP, a, length);
}

void machine_memory_device_end(struct machine_memory *memory)
{
    if (memory->parallel)
        atomic_store(&memory->device_store, MEMORY_NO_FRAME);
}

void machine_memory_traced_write(struct machine_memory *memory, unsigned producer, mpa_t a,
                                 unsigned length)
{
    struct frame *f = machine_memory_frame(memory, a);
    unsigned writes = atomic_load_explicit(&f->writes, memory_order_relaxed);
    uint64_t first = a.v & ~(uint64_t)7;
    struct mmu_context *consumer;

    if (writes < UINT8_MAX)
        atomic_store_explicit(&f->writes, (uint8_t)(writes + 1), memory_order_relaxed);
    if (is_flood(memory, a, writes, length)) {
        post_drop(memory, producer, a.v & PAGE_MASK);
        return;
    }
    for (unsigned n = 0; (consumer = next_consumer(memory, a, &n)) != NULL; n++) {
        bool single = consumer->options.patch != MMU_PATCH_VALUE || mark_producer(f, producer);

        for (uint64_t at = first; at < a.v + length; at += 8) {
            struct patch p;

            if (n == producer) {
                if (shadow_knows(consumer, at))
                    post_own(consumer, at);
                continue;
            }
            p = make_patch(consumer, f, single, machine_memory_host(memory, mpa(at)), at);
            post(memory, producer, consumer, &p);
        }
    }
}

/* --- Consumer --- */

static void take(void *opaque, const struct patch *p)
{
    struct mmu_context *m = opaque;

    m->stats.patches_taken++;
    shadow_apply(m, p);
}

/* Takes what the channels hold; true: everything is to be dropped instead. */
static bool take_pending(struct mmu_context *m)
{
    uint64_t rows = atomic_exchange(&m->pending, 0);
    struct patch_channel *column = m->memory->channels[m->vcpu];
    bool rebuild = false;

    for (; rows != 0; rows &= rows - 1) {
        unsigned row = (unsigned)__builtin_ctzll(rows);

        for (unsigned n = row; n < m->memory->context_end; n += 64)
            rebuild |= n == m->vcpu ? patch_take_own(&column[n], take, m)
                                    : patch_take(&column[n], take, m);
        if (row < PATCH_PRODUCERS - PATCH_EVENT_LOOP)
            rebuild |= patch_take(&column[PATCH_EVENT_LOOP + row], take, m);
    }
    return rebuild;
}

/*
 * Until nothing is pending: then all that is known is of one instant. What was read of an entry may
 * be newer than its patch, but never newer than patches of stores that went before it. While others
 * store without an end everything goes.
 */
static void consume(struct mmu_context *m)
{
    bool rebuild = false;
    unsigned rounds = 0;

    m->stats.consumptions++;
    shadow_lock(m->tlb->shadow);
    do
        rebuild |= take_pending(m);
    while (atomic_load(&m->pending) != 0 && ++rounds < CONSUME_ROUNDS);
    rebuild |= rounds == CONSUME_ROUNDS;
    shadow_unlock(m->tlb->shadow);
    if (rebuild) {
        m->stats.rebuilds++;
        mmu_drop_derived(m, MMU_CAUSE_OVERFLOW);
    }
}

void coherency_catch_up(struct mmu_context *m)
{
    if (atomic_load_explicit(&m->pending, memory_order_acquire) != 0)
        consume(m);
}

/* While nobody stores: neither a vCPU nor a device. */
static void check(struct mmu_context *m)
{
    bool parked = mmu_is_parked(m);

    if (!parked)
        mmu_lock_devices(m);
    mmu_hold(m->memory, m);
    coherency_catch_up(m);
    paranoid_check(m);
    mmu_release(m->memory, m);
    if (!parked)
        mmu_unlock_devices(m);
}

void coherency_event(struct mmu_context *m, enum mmu_event_cause cause)
{
    m->stats.events++;
    MMU_EMIT(m, COHERENCY, .cause = (uint8_t)cause,
             .count = (uint32_t)__builtin_popcountll(atomic_load(&m->pending)));
    coherency_catch_up(m);
    if (m->tlb->transient_count > 0)
        tlb_drop_transient(m);
    if (unlikely(m->options.policy == MMU_POLICY_PARANOID) &&
        m->stats.events % m->options.paranoid == 0)
        check(m);
}

void mmu_drop_derived(struct mmu_context *m, enum mmu_event_cause cause)
{
    struct tlb *t = m->tlb;
    unsigned dropped = tlb_drop_all(m);

    if (t->shadow != NULL)
        shadow_drop_all(m);
    if (m->log != NULL)
        LOG(m->log, LOG_MMU, "cpu%u: %s drops all: %u TLB entries\n", m->vcpu,
            mmu_cause_word(cause), dropped);
    MMU_EMIT(m, TLB_FLUSH, .cause = (uint8_t)cause, .count = dropped);
}

/* --- Set-up --- */

void mmu_configure(struct mmu_context *m, const struct mmu_options *options)
{
    struct machine_memory *memory = m->memory;

    CHECK(options->spaces >= 2 && options->spaces < TLB_SPACES_MAX);
    CHECK(options->slots >= 2 && options->slots <= PATCH_SLOTS &&
          (options->slots & (options->slots - 1)) == 0);
    mmu_drop_derived(m, MMU_CAUSE_TOOL);
    shadow_detach(m);
    atomic_store(&m->pending, 0);
    if (memory->channels[m->vcpu] != NULL)
        host_free_lazy(memory->channels[m->vcpu], PATCH_PRODUCERS * sizeof(struct patch_channel));
    memory->channels[m->vcpu] = NULL;
    m->options = *options;
    if (options->policy != MMU_POLICY_FLUSH) {
        memory->channels[m->vcpu] = host_alloc_lazy(PATCH_PRODUCERS * sizeof(struct patch_channel));
        shadow_attach(m);
    }
    for (unsigned n = 0; n < m->tlb->space_count; n++)
        m->tlb->spaces[n]->own = false;
    if (m->tlb->shadow == NULL)
        space_make_own(m->tlb->space);
    mmu_flush_all(m);
}

const struct mmu_options mmu_default_options = {
    .policy = MMU_POLICY_COHERENT,
    .consumer = MMU_CONSUMER_APPLY,
    .patch = MMU_PATCH_VALIDATED,
    .spaces = 63,
    .slots = PATCH_SLOTS,
    .pages = SHADOW_PAGES_MAX,
    .flood = 8,
};
