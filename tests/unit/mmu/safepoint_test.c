/* Answers to what others ask for that come late, and those that may not. */
#include "mmu/safepoint.h"

#include "mmu_rig.h"
#include "tests/unit/run_suite.h"

#include <check.h>

#define LINEAR 0x10000u
#define FRAME  0x801000u
#define MOST   5u

static struct rig r;
static unsigned interrupts, changes;

static void on_interrupt(struct mmu_context *m)
{
    interrupts += m == &r.other;
}

static void on_code_changed(struct mmu_context *m, mpa_t address, unsigned length)
{
    changes += m == &r.other && address.v == FRAME + 8 && length == 4;
}

static void setup(void)
{
    interrupts = changes = 0;
    ck_assert(rig_create(&r));
    rig_map(&r, LINEAR, FRAME, RIG_RWU);
    rig_long_mode(&r, &r.m);
    rig_long_mode(&r, &r.other);
    r.other.interrupt = on_interrupt;
    r.memory->code_changed = on_code_changed;
    mmu_delay_answers(&r.other, MOST, 1);
}

static void teardown(void)
{
    rig_destroy(&r);
}

/* The other vCPU gets a write tag for the frame. */
static void store(void)
{
    struct mmu_fault fault;

    ck_assert_int_eq(mmu_store(&r.other, gva(LINEAR), 8, 1, &fault), MMU_OK);
    ck_assert_ptr_nonnull(tlb_find_write(&r.other, LINEAR, 8));
}

static bool watch(void)
{
    return mmu_frame_watch(&r.m, mpa(FRAME), FRAME_WATCH_PAGETABLE);
}

static bool settled(void)
{
    return mmu_frame_settled(&r.m, mpa(FRAME));
}

/* Asks for the tag and counts the safepoints until it has gone. */
static unsigned lateness(void)
{
    unsigned n = 0;

    store();
    interrupts = 0;
    ck_assert(!watch()); /* parked, but late all the same */
    mmu_unpark(&r.other);
    ck_assert_uint_eq(interrupts, 1);
    for (; !settled(); n++) {
        ck_assert_ptr_nonnull(tlb_find_write(&r.other, LINEAR, 8));
        ck_assert_uint_le(n, MOST);
        if (n % 2 == 1) { /* its turn is over, and comes again */
            mmu_park(&r.other);
            mmu_unpark(&r.other);
        }
        interrupts = 0;
        mmu_answer(&r.other);
        ck_assert(settled() || interrupts > 0);
    }
    ck_assert_ptr_null(tlb_find_write(&r.other, LINEAR, 8));
    mmu_park(&r.other);
    mmu_frame_unwatch(&r.m, mpa(FRAME), FRAME_WATCH_PAGETABLE);
    return n;
}

START_TEST(a_write_tag_is_given_up_late_and_a_seed_says_when)
{
    unsigned first[32], found = 0;

    for (unsigned n = 0; n < ARRAY_SIZE(first); n++) {
        first[n] = lateness();
        found |= BIT(first[n]);
    }
    ck_assert_uint_gt(__builtin_popcount(found), 2);
    mmu_restart_answers(&r.other);
    for (unsigned n = 0; n < ARRAY_SIZE(first); n++)
        ck_assert_uint_eq(lateness(), first[n]);
}
END_TEST

START_TEST(who_waits_has_the_answer_at_once)
{
    for (unsigned n = 0; n < 32; n++) {
        store();
        mmu_unpark(&r.m);
        ck_assert(!watch());
        mmu_frame_wait(&r.m, mpa(FRAME));
        ck_assert(settled());
        ck_assert_ptr_null(tlb_find_write(&r.other, LINEAR, 8));
        mmu_park(&r.m);
        mmu_frame_unwatch(&r.m, mpa(FRAME), FRAME_WATCH_PAGETABLE);
    }
}
END_TEST

static void write_code(void)
{
    changes = 0;
    machine_memory_code_written(r.memory, r.m.vcpu, mpa(FRAME + 8), 4);
}

START_TEST(decoded_code_is_never_late)
{
    mmu_delay_answers(&r.other, 1000000, 1);
    store();
    ck_assert(!watch());
    mmu_unpark(&r.other);
    mmu_frame_watch(&r.other, mpa(FRAME), FRAME_WATCH_CODE);
    mmu_frame_unwatch(&r.m, mpa(FRAME), FRAME_WATCH_PAGETABLE);
    write_code();
    ck_assert_uint_eq(changes, 0);
    mmu_answer(&r.other);
    ck_assert_uint_eq(changes, 1);
    write_code();
    mmu_park(&r.other);
    ck_assert_uint_eq(changes, 1);
    write_code();
    ck_assert_uint_eq(changes, 1);
}
END_TEST

START_TEST(whoever_drops_everything_has_answered)
{
    for (unsigned n = 0; n < 32; n++) {
        store();
        ck_assert(!watch());
        mmu_flush_all(&r.other);
        ck_assert(settled());
        mmu_frame_unwatch(&r.m, mpa(FRAME), FRAME_WATCH_PAGETABLE);
    }
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("safepoint");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_write_tag_is_given_up_late_and_a_seed_says_when);
    tcase_add_test(tc, who_waits_has_the_answer_at_once);
    tcase_add_test(tc, decoded_code_is_never_late);
    tcase_add_test(tc, whoever_drops_everything_has_answered);
    return run_suite("safepoint", tc);
}
