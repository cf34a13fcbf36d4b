#include "mmu/patch.h"

#include "base/bits.h"

/* BUSY: the producer replaces the contents; the address stays what it was. */
enum slot_state { SLOT_FREE, SLOT_USED, SLOT_BUSY };

#define STATE_MASK 3u
#define VERSION    4u

#define REBUILD_BIT BIT64(63) /* in used_words */

static unsigned hash(uint64_t address)
{
    return (unsigned)(address * 0x9e3779b97f4a7c15u >> 40);
}

static void write_contents(struct patch_slot *s, const struct patch *p)
{
    atomic_store_explicit(&s->address, p->address, memory_order_relaxed);
    atomic_store_explicit(&s->derived, p->derived, memory_order_relaxed);
    atomic_store_explicit(&s->raw, p->raw, memory_order_relaxed);
}

/* The consumer may have cleared the slot's bit at any time before: it is set behind the state, and
 * the word's bit behind that. */
static void announce(struct patch_channel *c, unsigned slot)
{
    atomic_fetch_or(&c->used[slot / 64], BIT64(slot % 64));
    atomic_fetch_or(&c->used_words, BIT64(slot / 64));
}

static void count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

/* Replaces what a pending patch carries; false if the consumer has taken it. */
static bool replace(struct patch_channel *c, unsigned slot, uint64_t state, const struct patch *p)
{
    struct patch_slot *s = &c->slots[slot];
    uint64_t busy = (state & ~(uint64_t)STATE_MASK) | SLOT_BUSY;

    if (!atomic_compare_exchange_strong(&s->state, &state, busy))
        return false;
    write_contents(s, p);
    atomic_store(&s->state, (busy + VERSION - SLOT_BUSY) | SLOT_USED);
    announce(c, slot);
    return true;
}

void patch_post(struct patch_channel *c, const struct patch *p, unsigned slots)
{
    unsigned first = hash(p->address), free_slot = PATCH_SLOTS;
    uint64_t state;

    for (unsigned n = 0; n < MIN(PATCH_PROBES, slots); n++) {
        unsigned slot = (first + n) & (slots - 1);
        struct patch_slot *s = &c->slots[slot];

        state = atomic_load(&s->state);
        if ((state & STATE_MASK) == SLOT_FREE) {
            if (free_slot == PATCH_SLOTS)
                free_slot = slot;
        } else if (atomic_load_explicit(&s->address, memory_order_relaxed) == p->address &&
                   replace(c, slot, state, p)) {
            count(&c->merged);
            return;
        }
    }
    if (free_slot == PATCH_SLOTS) {
        count(&c->overflows);
        patch_post_rebuild(c);
        return;
    }
    state = atomic_load_explicit(&c->slots[free_slot].state, memory_order_relaxed);
    write_contents(&c->slots[free_slot], p);
    atomic_store(&c->slots[free_slot].state, state + VERSION + SLOT_USED);
    announce(c, free_slot);
    count(&c->posted);
}

void patch_post_rebuild(struct patch_channel *c)
{
    atomic_store(&c->rebuild, true);
    atomic_fetch_or(&c->used_words, REBUILD_BIT);
}

_Static_assert(PATCH_SLOTS / 64 < 63, "the last bit of used_words says rebuild");

/* Takes a slot's patch. A slot that is being replaced stays: its producer announces it again. What
 * it is about has been stored before, so that the address is all that is needed now. */
static bool take_slot(struct patch_slot *s, struct patch *p)
{
    uint64_t state = atomic_load(&s->state), now;

    do {
        if ((state & STATE_MASK) == SLOT_FREE)
            return false;
        *p = (struct patch){
            .address = atomic_load_explicit(&s->address, memory_order_relaxed),
            .derived = atomic_load_explicit(&s->derived, memory_order_relaxed),
            .raw = atomic_load_explicit(&s->raw, memory_order_relaxed),
        };
        if ((state & STATE_MASK) == SLOT_BUSY) {
            p->derived = 0;
            return true;
        }
        now = state & ~(uint64_t)STATE_MASK;
    } while (!atomic_compare_exchange_strong(&s->state, &state, now | SLOT_FREE));
    return true;
}

bool patch_take(struct patch_channel *c, void (*take)(void *opaque, const struct patch *p),
                void *opaque)
{
    uint64_t words = atomic_load(&c->used_words) != 0 ? atomic_exchange(&c->used_words, 0) : 0;
    bool rebuild = (words & REBUILD_BIT) && atomic_exchange(&c->rebuild, false);

    for (words &= ~REBUILD_BIT; words != 0; words &= words - 1) {
        unsigned word = (unsigned)__builtin_ctzll(words);
        uint64_t bits = atomic_exchange(&c->used[word], 0);

        for (; bits != 0; bits &= bits - 1) {
            struct patch p;

            if (!take_slot(&c->slots[word * 64 + (unsigned)__builtin_ctzll(bits)], &p))
                continue;
            atomic_thread_fence(memory_order_seq_cst);
            if (!rebuild)
                take(opaque, &p);
        }
    }
    return rebuild;
}

/* --- A vCPU's patches to itself --- */

static uint64_t get(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void put(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

void patch_post_own(struct patch_channel *c, uint64_t address, unsigned slots)
{
    unsigned first = hash(address), slot = first & (slots - 1), probes = MIN(PATCH_PROBES, slots);

    for (unsigned n = 1; get(&c->slots[slot].state) != SLOT_FREE; n++) {
        if (get(&c->slots[slot].address) == address) {
            count(&c->merged);
            return;
        }
        if (n == probes) {
            count(&c->overflows);
            patch_post_rebuild(c);
            return;
        }
        slot = (first + n) & (slots - 1);
    }
    put(&c->slots[slot].address, address);
    put(&c->slots[slot].state, SLOT_USED);
    put(&c->used[slot / 64], get(&c->used[slot / 64]) | BIT64(slot % 64));
    put(&c->used_words, get(&c->used_words) | BIT64(slot / 64));
    count(&c->posted);
}

bool patch_take_own(struct patch_channel *c, void (*take)(void *opaque, const struct patch *p),
                    void *opaque)
{
    uint64_t words = get(&c->used_words);
    bool rebuild = words & REBUILD_BIT;

    put(&c->used_words, 0);
    atomic_store_explicit(&c->rebuild, false, memory_order_relaxed);
    for (words &= ~REBUILD_BIT; words != 0; words &= words - 1) {
        unsigned word = (unsigned)__builtin_ctzll(words);
        uint64_t bits = get(&c->used[word]);

        put(&c->used[word], 0);
        for (; bits != 0; bits &= bits - 1) {
            struct patch_slot *s = &c->slots[word * 64 + (unsigned)__builtin_ctzll(bits)];

            put(&s->state, SLOT_FREE);
            if (!rebuild)
                take(opaque, &(struct patch){.address = get(&s->address)});
        }
    }
    return rebuild;
}
