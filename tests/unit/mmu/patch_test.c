/*
 * Patch channels: a set of addresses that neither loses a post nor hands out half of one, alone and
 * with a producer and a consumer at work at the same time.
 */
#include "mmu/patch.h"

#include "base/bits.h"
#include "base/random.h"
#include "tests/unit/run_suite.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct patch_channel *channel;
static bool own; /* it is a vCPU's channel to itself */

/* What the last patch_take handed out. */
static struct patch taken[PATCH_SLOTS];
static unsigned taken_count;

/* For what is asserted a million times: an assertion of Check that holds tells the parent so. */
#define QUICK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_assert(condition);                                                                  \
    } while (0)
#define QUICK_EQ(a, b)                                                                             \
    do {                                                                                           \
        if ((a) != (b))                                                                            \
            ck_assert_uint_eq(a, b);                                                               \
    } while (0)

static void setup(void)
{
    channel = calloc(1, sizeof(*channel));
    ck_assert_ptr_nonnull(channel);
}

static void setup_own(void)
{
    setup();
    own = true;
}

static void teardown(void)
{
    free(channel);
}

static void keep(void *opaque, const struct patch *p)
{
    (void)opaque;
    QUICK(taken_count < PATCH_SLOTS);
    taken[taken_count++] = *p;
}

static bool take(void)
{
    taken_count = 0;
    return own ? patch_take_own(channel, keep, NULL) : patch_take(channel, keep, NULL);
}

static const struct patch *taken_at(uint64_t address)
{
    for (unsigned i = 0; i < taken_count; i++)
        if (taken[i].address == address)
            return &taken[i];
    return NULL;
}

static void post(uint64_t address, uint64_t raw, unsigned slots)
{
    struct patch p = {.address = address, .derived = raw + 1, .raw = raw};

    if (own)
        patch_post_own(channel, address, slots);
    else
        patch_post(channel, &p, slots);
}

/* What a patch for a raw entry brings. */
static void check_contents(const struct patch *p, uint64_t raw)
{
    QUICK(p != NULL);
    QUICK_EQ(p->raw, own ? 0 : raw);
    QUICK_EQ(p->derived, own ? 0 : raw + 1);
}

static uint64_t draw(uint64_t *state, uint64_t below)
{
    return (random_next(state) >> 33) % below;
}

/* --- One thread --- */

START_TEST(a_patch_is_taken_once_and_whole)
{
    post(0x1008, 0x77, PATCH_SLOTS);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 1);
    ck_assert_uint_eq(taken[0].address, 0x1008);
    check_contents(&taken[0], 0x77);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 0);
    ck_assert_uint_eq(channel->posted, 1);
}
END_TEST

START_TEST(an_empty_channel_has_nothing_and_asks_for_nothing)
{
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 0);
}
END_TEST

START_TEST(a_pending_address_is_replaced)
{
    for (uint64_t n = 0; n < 100; n++)
        post(0x2000, n, 2);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 1);
    check_contents(&taken[0], 99);
    ck_assert_uint_eq(channel->posted, 1);
    ck_assert_uint_eq(channel->merged, 99);
    ck_assert_uint_eq(channel->overflows, 0);
}
END_TEST

/* Eight slots and eight probes: an address has a place in each of them. */
START_TEST(a_channel_holds_as_many_addresses_as_it_has_slots)
{
    uint64_t random = (uint64_t)_i;

    for (unsigned n = 0; n < PATCH_PROBES; n++)
        post((draw(&random, 1000) * PATCH_PROBES + n) * 8, n, PATCH_PROBES);
    ck_assert_uint_eq(channel->overflows, 0);
    post(0x123456000, 0, PATCH_PROBES);
    ck_assert_uint_eq(channel->overflows, 1);
    ck_assert(take());
    for (unsigned n = 0; n < PATCH_PROBES; n++)
        post((draw(&random, 1000) * PATCH_PROBES + n) * 8, n, PATCH_PROBES);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, PATCH_PROBES);
}
END_TEST

START_TEST(an_overflow_asks_for_a_rebuild_once_and_frees_the_channel)
{
    post(0x1000, 1, 2);
    post(0x2000, 2, 2);
    post(0x3000, 3, 2);
    ck_assert(take());
    ck_assert_uint_eq(taken_count, 0);
    ck_assert(!take());
    post(0x4000, 4, 2);
    post(0x5000, 5, 2);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 2);
    ck_assert_ptr_nonnull(taken_at(0x4000));
    ck_assert_ptr_nonnull(taken_at(0x5000));
}
END_TEST

START_TEST(a_rebuild_may_be_posted_alone)
{
    patch_post_rebuild(channel);
    ck_assert(take());
    ck_assert(!take());
}
END_TEST

START_TEST(a_whole_frame_is_not_its_first_entry)
{
    post(0x7000, 1, PATCH_SLOTS);
    post(0x7000 | PATCH_DROP_FRAME, 2, PATCH_SLOTS);
    post(0x7000 | PATCH_DROP_FRAME, 3, PATCH_SLOTS);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 2);
    check_contents(taken_at(0x7000), 1);
    check_contents(taken_at(0x7000 | PATCH_DROP_FRAME), 3);
}
END_TEST

START_TEST(the_order_of_posts_of_different_addresses_does_not_matter)
{
    enum { COUNT = 300 };
    uint64_t random = (uint64_t)_i;
    unsigned order[COUNT];

    for (unsigned n = 0; n < COUNT; n++)
        order[n] = n;
    for (unsigned n = COUNT - 1; n > 0; n--) {
        unsigned other = (unsigned)draw(&random, n + 1), was = order[n];

        order[n] = order[other];
        order[other] = was;
    }
    for (unsigned n = 0; n < COUNT; n++)
        post(0x10000 + order[n] * 8, order[n], PATCH_SLOTS);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, COUNT);
    for (unsigned n = 0; n < COUNT; n++)
        check_contents(taken_at(0x10000 + n * 8), n);
}
END_TEST

/* What the consumer meets in the middle of a replacement. */
START_TEST(a_busy_slot_tells_its_address_and_stays)
{
    struct patch_slot *slot;
    unsigned n = 0;

    post(0x3008, 5, PATCH_SLOTS);
    while (channel->slots[n].address != 0x3008)
        n++;
    slot = &channel->slots[n];
    slot->state = (slot->state & ~(uint64_t)3) | 2;
    slot->raw = 6; /* half written */
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 1);
    ck_assert_uint_eq(taken[0].address, 0x3008);
    ck_assert_uint_eq(taken[0].derived, 0);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 0);

    slot->derived = 7;
    slot->state = (slot->state & ~(uint64_t)3) + 4 + 1;
    channel->used[n / 64] |= BIT64(n % 64);
    channel->used_words |= BIT64(n / 64);
    ck_assert(!take());
    ck_assert_uint_eq(taken_count, 1);
    ck_assert_uint_eq(taken[0].raw, 6);
    ck_assert_uint_eq(taken[0].derived, 7);
    post(0x3008, 8, PATCH_SLOTS);
    ck_assert(!take());
    ck_assert_uint_eq(taken[0].raw, 8);
}
END_TEST

/* Against a set kept by other means. */
START_TEST(a_channel_is_a_set)
{
    enum { ADDRESSES = 48 };
    uint64_t random = (uint64_t)_i, raws[ADDRESSES];
    bool pending[ADDRESSES] = {false};
    unsigned slots = 2u << _i % 10;

    for (unsigned step = 0; step < 20000; step++) {
        unsigned n = (unsigned)draw(&random, ADDRESSES), count = 0;
        uint64_t overflows = channel->overflows;
        bool rebuild, full;

        if (draw(&random, 12) != 0) {
            raws[n] = step;
            pending[n] = true;
            post(0x5000 + n * 8, step, slots);
            if (channel->overflows == overflows)
                continue;
        }
        rebuild = channel->overflows != overflows;
        full = take();
        QUICK_EQ(full, rebuild);
        for (n = 0; n < ADDRESSES; n++)
            count += pending[n];
        QUICK_EQ(taken_count, rebuild ? 0 : count);
        for (n = 0; n < taken_count; n++) {
            uint64_t at = (taken[n].address - 0x5000) / 8;

            QUICK(pending[at]);
            check_contents(&taken[n], raws[at]);
        }
        memset(pending, 0, sizeof(pending));
    }
    ck_assert_uint_eq(channel->slots[0].address & 7, 0);
}
END_TEST

/* --- Producers and a consumer at the same time --- */

#define ENTRY_MAX    2048u
#define PRODUCER_MAX 3u

struct concurrent {
    unsigned entries, producers, posts, slots;
    bool validated;
    _Atomic uint64_t entry[ENTRY_MAX];
    _Atomic uint64_t posted[ENTRY_MAX]; /* the last value that has been posted */
    _Atomic unsigned finished;
    _Atomic uint64_t pending; /* bit by producer */
    struct patch_channel channel[PRODUCER_MAX];
    uint64_t derived[ENTRY_MAX], seen[ENTRY_MAX]; /* the consumer's; and of which value */
    uint64_t validated_count, events, rebuilds;
};

struct producer {
    struct concurrent *c;
    unsigned number;
    pthread_t thread;
};

static uint64_t derive(uint64_t raw)
{
    return ~raw * 0x9e3779b97f4a7c15u | 1;
}

/* Entry n belongs to producer n modulo their count, but for every eighth: all store there. */
static bool is_shared(const struct concurrent *c, uint64_t n)
{
    return c->producers > 1 && n % 8 == 7;
}

static void *produce(void *argument)
{
    struct producer *self = argument;
    struct concurrent *c = self->c;
    uint64_t random = self->number + 1;

    for (unsigned step = 1; step <= c->posts; step++) {
        uint64_t n = draw(&random, c->entries), raw = (uint64_t)step << 8 | self->number;
        struct patch p = {.address = 0x1000 + n * 8};

        if (!is_shared(c, n) && n % c->producers != self->number)
            continue;
        atomic_store_explicit(&c->entry[n], raw, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        if (c->validated) {
            p.raw = atomic_load_explicit(&c->entry[n], memory_order_relaxed);
            p.derived = derive(p.raw);
        }
        patch_post(&c->channel[self->number], &p, c->slots);
        atomic_fetch_or(&c->pending, BIT64(self->number));
        atomic_store_explicit(&c->posted[n], raw, memory_order_release);
    }
    atomic_fetch_add(&c->finished, 1);
    return NULL;
}

static void read_again(struct concurrent *c, uint64_t n)
{
    c->seen[n] = atomic_load_explicit(&c->entry[n], memory_order_relaxed);
    c->derived[n] = derive(c->seen[n]);
}

static void apply(void *opaque, const struct patch *p)
{
    struct concurrent *c = opaque;
    uint64_t n = (p->address - 0x1000) / 8;

    QUICK(n < c->entries);
    if (p->derived != 0)
        QUICK_EQ(p->derived, derive(p->raw)); /* not half of one patch, half of another */
    if (p->derived == 0 || p->raw != atomic_load_explicit(&c->entry[n], memory_order_relaxed)) {
        read_again(c, n);
        return;
    }
    c->seen[n] = p->raw;
    c->derived[n] = p->derived;
    c->validated_count++;
}

static void event(struct concurrent *c)
{
    uint64_t rows = atomic_exchange(&c->pending, 0);
    bool rebuild = false;

    c->events++;
    for (; rows != 0; rows &= rows - 1)
        rebuild |= patch_take(&c->channel[__builtin_ctzll(rows)], apply, c);
    c->rebuilds += rebuild;
    for (unsigned n = 0; rebuild && n < c->entries; n++)
        read_again(c, n);
}

#define LOOKED_AT 64u /* of the entries, at every event */

/* Values of an entry that belongs to one producer grow. */
static void checked_event(struct concurrent *c)
{
    uint64_t before[LOOKED_AT];
    unsigned count = MIN(c->entries, LOOKED_AT);

    for (unsigned n = 0; n < count; n++)
        before[n] = atomic_load_explicit(&c->posted[n], memory_order_acquire);
    event(c);
    for (unsigned n = 0; n < count; n++)
        if (!is_shared(c, n) && c->seen[n] < before[n])
            ck_abort_msg("entry %u: the patch of %llx was lost", n, (unsigned long long)before[n]);
}

/* The entries' number, that of producers, slots, and whether patches carry values. */
static const struct {
    unsigned entries, producers, slots;
    bool validated;
} mixes[] = {
    {1, 1, 2, true},    {1, 1, PATCH_SLOTS, true},    {4, 1, 8, true},      {64, 1, 2, true},
    {64, 1, 64, false}, {64, 1, PATCH_SLOTS, true},   {2048, 1, 512, true}, {24, 2, 32, true},
    {24, 3, 8, false},  {1000, 3, PATCH_SLOTS, true},
};

START_TEST(no_patch_is_lost)
{
    struct concurrent *c = calloc(1, sizeof(*c));
    struct producer producers[PRODUCER_MAX];
    uint64_t random = (uint64_t)_i;

    ck_assert_ptr_nonnull(c);
    c->entries = mixes[_i].entries;
    c->producers = mixes[_i].producers;
    c->slots = mixes[_i].slots;
    c->validated = mixes[_i].validated;
    c->posts = 500000;
    for (unsigned n = 0; n < c->entries; n++)
        c->derived[n] = derive(0);
    for (unsigned n = 0; n < c->producers; n++) {
        producers[n] = (struct producer){.c = c, .number = n};
        ck_assert_int_eq(pthread_create(&producers[n].thread, NULL, produce, &producers[n]), 0);
    }
    while (atomic_load(&c->finished) < c->producers) {
        for (uint64_t n = draw(&random, 400); n > 0; n--)
            atomic_load(&c->finished);
        checked_event(c);
    }
    for (unsigned n = 0; n < c->producers; n++)
        pthread_join(producers[n].thread, NULL);
    event(c);
    for (unsigned n = 0; n < c->entries; n++)
        ck_assert_msg(c->derived[n] == derive(c->entry[n]), "entry %u is stale", n);
    ck_assert_uint_eq(atomic_load(&c->pending), 0);
    if (!c->validated)
        ck_assert_uint_eq(c->validated_count, 0);
    free(c);
}
END_TEST

/* What holds for both kinds of channels. */
static TCase *common(const char *name, void (*set_up)(void))
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, set_up, teardown);
    tcase_add_test(tc, a_patch_is_taken_once_and_whole);
    tcase_add_test(tc, an_empty_channel_has_nothing_and_asks_for_nothing);
    tcase_add_test(tc, a_pending_address_is_replaced);
    tcase_add_loop_test(tc, a_channel_holds_as_many_addresses_as_it_has_slots, 0, 20);
    tcase_add_test(tc, an_overflow_asks_for_a_rebuild_once_and_frees_the_channel);
    tcase_add_test(tc, a_rebuild_may_be_posted_alone);
    tcase_add_test(tc, a_whole_frame_is_not_its_first_entry);
    tcase_add_loop_test(tc, the_order_of_posts_of_different_addresses_does_not_matter, 0, 10);
    tcase_add_loop_test(tc, a_channel_is_a_set, 0, 20);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("patch");
    TCase *tc = common("between two", setup);

    tcase_add_test(tc, a_busy_slot_tells_its_address_and_stays);
    tcase_add_loop_test(tc, no_patch_is_lost, 0, (int)ARRAY_SIZE(mixes));
    suite_add_tcase(suite, tc);
    suite_add_tcase(suite, common("own", setup_own));
    return run_all(suite);
}
