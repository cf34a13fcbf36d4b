/* Decoded code: as the processor's block cache has it, but of one word each. */
#include "tests/mmu/parallel.h"

#include "mmu/guest_access.h"
#include "mmu/safepoint.h"

#include <inttypes.h>

static unsigned page_of(unsigned n)
{
    return n % CODE_PAGES;
}

static uint64_t word_address(unsigned n)
{
    return CODE_START + page_of(n) * PAGE_SIZE + n * 64;
}

void parallel_code_changed(struct mmu_context *m, mpa_t address, unsigned length)
{
    struct actor *a = container_of(m, struct actor, m);

    for (unsigned n = 0; n < CODE_WORDS; n++)
        if (length == 0 ||
            (word_address(n) < address.v + length && address.v < word_address(n) + 4))
            a->decoded[n].valid = false;
}

void parallel_write_code(struct actor *a)
{
    struct world *w = a->world;
    unsigned owners = w->plan->vcpus + 1, count = (CODE_WORDS - a->number + owners - 1) / owners;
    unsigned n = a->number + (unsigned)parallel_draw(a, count) * owners;
    uint64_t value = atomic_load(&w->code[n].started) + 1;

    a->deeds[DEED_WRITE_CODE]++;
    atomic_store(&w->code[n].started, value);
    parallel_write(a, word_address(n), 4, value);
    if (a->decoded[n].valid && a->decoded[n].value != value)
        parallel_fail(a, "code %u: %u behind its own store of %" PRIu64, n, a->decoded[n].value,
                      value);
    atomic_store(&w->code[n].published, value);
}

/* As watch() in cpu/block.c. False: who takes turns cannot wait. */
static bool watch(struct actor *a, unsigned page, mpa_t where)
{
    if (a->code_watched[page])
        return true;
    if (!mmu_frame_watch(&a->m, where, FRAME_WATCH_CODE)) {
        if (a->world->plan->one_thread)
            return false;
        mmu_frame_wait(&a->m, where);
    }
    a->code_watched[page] = true;
    return true;
}

static void unwatch(struct actor *a, unsigned page)
{
    if (!a->code_watched[page])
        return;
    for (unsigned n = page; n < CODE_WORDS; n += CODE_PAGES)
        a->decoded[n].valid = false;
    a->code_watched[page] = false;
    mmu_frame_unwatch(&a->m, mpa(CODE_START + page * PAGE_SIZE), FRAME_WATCH_CODE);
}

static void unwatch_all(struct actor *a)
{
    for (unsigned page = 0; page < CODE_PAGES; page++)
        unwatch(a, page);
}

static void check(struct actor *a, unsigned n, uint64_t from)
{
    uint64_t until = atomic_load(&a->world->code[n].started), value = a->decoded[n].value;

    if (value < from || value > until)
        parallel_fail(a, "code %u: %" PRIu64 " is executed, of [%" PRIu64 ", %" PRIu64 "]", n,
                      value, from, until);
}

static void decode(struct actor *a, unsigned n)
{
    uint64_t from = MAX(a->code_floor[n], atomic_load(&a->world->code[n].published));
    struct mmu_fault fault;
    const uint8_t *host;
    mpa_t where;

    if (mmu_fetch(&a->m, gva(word_address(n)), &host, &where, &fault) != MMU_OK || host == NULL)
        parallel_fail(a, "code %u faults", n);
    if (!watch(a, page_of(n), where))
        return;
    a->deeds[DEED_DECODE]++;
    a->decoded[n] = (struct decoded){.valid = true, .value = guest_load32(host)};
    check(a, n, from);
}

static void execute(struct actor *a, unsigned n)
{
    mmu_set_privilege(&a->m, 0, false);
    if (!a->decoded[n].valid) {
        decode(a, n);
        return;
    }
    a->deeds[DEED_EXECUTE]++;
    check(a, n, a->code_floor[n]);
    a->deeds[DEED_OLD_CODE] += a->decoded[n].value < atomic_load(&a->world->code[n].published);
}

/* What has been said to be stored counts. */
static void serialise(struct actor *a)
{
    uint64_t published[CODE_WORDS];

    a->deeds[DEED_SERIALISE]++;
    for (unsigned n = 0; n < CODE_WORDS; n++)
        published[n] = atomic_load(&a->world->code[n].published);
    if (atomic_exchange(&a->asked, false))
        mmu_answer(&a->m);
    for (unsigned n = 0; n < CODE_WORDS; n++)
        a->code_floor[n] = published[n];
}

void parallel_code_act(struct actor *a)
{
    uint64_t what = parallel_draw(a, 64);

    if (what < 16)
        parallel_write_code(a);
    else if (what < 24)
        serialise(a);
    else if (what < 27) /* so that stores get write tags again */
        unwatch_all(a);
    else
        execute(a, (unsigned)parallel_draw(a, CODE_WORDS));
}

void parallel_check_code(struct actor *a)
{
    serialise(a);
    for (unsigned n = 0; n < CODE_WORDS; n++) {
        execute(a, n);
        if (a->decoded[n].valid && a->decoded[n].value != atomic_load(&a->world->code[n].started))
            parallel_fail(a, "code %u: not the newest at the end", n);
    }
}
